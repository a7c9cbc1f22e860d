//! The policy under random and chosen histories, judged by its laws.
//!
//! What holds of credentials, and the tests that would fail if it did not, wherever they are; `tests/house` looks whether they
//! exist. Those of this folder have a patch each in `tests/broken`.
//!
//! | | property | tests |
//! | --- | --- | --- |
//! | 1 | some value that the service accepts can always be had from a journal, Vault or the file | `whatever_fails_and_wherever_iaso_ends_nothing_is_lost_and_it_comes_to_rest`, `an_end_of_iaso_at_any_point_is_made_up_for` |
//! | 2 | at rest the service accepts what Vault calls current, the file holds it, the containers have loaded it | `whatever_fails_and_wherever_iaso_ends_nothing_is_lost_and_it_comes_to_rest`, `a_rotation_reaches_the_store_the_service_and_the_file`, `a_rotation_is_carried_through` |
//! | 3 | a file is the old or the new one, whole, with its mode and owner from its first instant | `at_every_call`, `a_reader_sees_old_or_new`, `the_steps_come_in_their_order`, `a_file_belongs_to_whom_it_should` |
//! | 4 | recovery may be repeated, and ends | `whatever_fails_and_wherever_iaso_ends_nothing_is_lost_and_it_comes_to_rest`, `an_end_of_iaso_at_any_point_is_made_up_for` |
//! | 5 | one value is made for a rotation; logins and mints are bounded under any fault | `whatever_fails_and_wherever_iaso_ends_nothing_is_lost_and_it_comes_to_rest`, `law_1_logins_and_mints_are_bounded_under_any_fault` |
//! | 6 | of two Iasos one wins, and the other changes nothing and renders nothing early | `of_two_that_rotate_one_wins_and_the_other_changes_nothing`, `of_two_one_rotates_and_the_other_touches_nothing`, `what_another_rotates_is_read_only_once_it_is_published`, `what_another_takes_back_was_never_there`, `a_version_that_a_rotation_has_not_published_is_not_the_value` |
//! | 7 | the old value is retired after every consumer is healthy | `whatever_fails_and_wherever_iaso_ends_nothing_is_lost_and_it_comes_to_rest`, `a_rollout_that_fails_is_undone` |
//! | 8 | a change restarts a container once at most, and not at all where its bytes are the same | `whatever_fails_and_wherever_iaso_ends_nothing_is_lost_and_it_comes_to_rest`, `a_changed_secret_reaches_the_container_that_uses_it_by_one_restart`, `a_stored_secret_is_read_at_its_pace_and_published_only_when_it_changes`, `a_file_is_made_changed_and_then_left_alone` |
//! | 9 | errors of Vault's alone stop no container | `a_day_without_vault_changes_nothing_and_all_is_fresh_within_a_minute_of_its_return`, `a_sealed_day_restarts_nothing_spins_nowhere_and_ends_within_a_minute`, `a_vault_that_is_away_stops_nothing_and_a_start_without_it_uses_what_was_kept` |
//! | 10 | no secret is in logs, errors, a journal's clear text, arguments or the environment | `words_quote_nothing_that_was_sent`, `nothing_that_is_shown_holds_a_secret`, `law_10_no_secret_of_these_tables_is_shown_by_debug`, `a_command_gets_the_value_on_its_input_alone` |
//! | 11 | every lease is tracked, kept or revoked, none is renewed past its end, and a token is replaced before its leases need it | `law_7_the_keeper_holds_its_rules_under_any_fault`, `law_7_nothing_in_use_ends_while_vault_is_well`, `leases_are_renewed_replaced_and_given_back_also_across_a_restart` |
//! | 12 | nothing wakes in the past, and no loop turns without a wait | `law_7_the_keeper_holds_its_rules_under_any_fault`, `law_1_logins_and_mints_are_bounded_under_any_fault`, `whatever_fails_and_wherever_iaso_ends_nothing_is_lost_and_it_comes_to_rest` |
//! | 13 | a clock that jumps ends nothing early | `law_7_a_wall_clock_that_jumps_changes_no_task` |
#![expect(clippy::unwrap_used, reason = "what a test expects and does not find fails it")]

mod aftermath;
mod alerts;
mod clocks;
mod credentials;
mod evidence;
mod histories;
mod hosts;
mod maintenance;
mod needs;
mod reasons;
mod reloads;
mod rig;
mod rollouts;
mod rotations;
mod simulated;
mod stateful;
mod stories;
mod storms;
