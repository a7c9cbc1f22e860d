//! The main stories, one by one.

use std::time::Duration;

use iaso_policy::Input;
use iaso_policy::action::{Answer, Charge, Trouble};
use iaso_policy::id::{HostId, Identity, ServiceId};
use iaso_policy::input::{CheckResult, Exempt, HostLink, Order, Outcome, RestartPolicy, State, Witness};
use iaso_policy::record::{Event, Health, Hold, Verdict};
use iaso_policy::spec::{AfterGap, Budget, FleetSpec, Lifecycle, Mode, OnQuarantine, ServiceSpec, Step};
use iaso_policy::time::Mono;

use crate::rig::{HEALTHY, HOST, RUNNING, Rig, UNHEALTHY, check, secs, spec};

const WEB: ServiceId = ServiceId(0);

fn web() -> Rig {
    Rig::with(spec("web"), RestartPolicy::No)
}

fn web_with_check() -> Rig {
    let mut checked = spec("web");
    checked.checks = vec![check(1)];
    Rig::with(checked, RestartPolicy::No)
}

fn fail(rig: &mut Rig, times: u32) {
    for _ in 0..times {
        rig.check(WEB, 0, CheckResult::Failed);
    }
}

/// Lets it crash right after each restart until `count` operations were begun.
fn crash_until(rig: &mut Rig, count: usize) {
    while rig.operations.len() < count {
        if matches!(rig.truth[&WEB].state, State::Running(_)) {
            rig.dies(WEB, 1);
        }
        rig.pass(secs(1));
        if matches!(rig.policy.view(WEB).unwrap().phase, iaso_policy::view::Phase::Operating { .. }) {
            rig.carry_out();
        }
    }
}

#[test]
fn a_crash_is_healed_from_the_event_and_verified() {
    let mut rig = web();
    rig.dies(WEB, 1);
    assert_eq!(rig.operations.len(), 1, "no time has passed");
    assert_eq!(rig.operations[0].trouble, Some(Trouble::Exited { code: 1 }));
    assert_eq!((rig.operations[0].step, rig.operations[0].charge), (Step::Restart, Charge::Stored));
    rig.carry_out();
    assert_eq!(rig.verdicts(), []);
    rig.pass(secs(9));
    assert_eq!(rig.verdicts(), [], "verify_stable is 10 s");
    rig.pass(secs(5));
    assert_eq!(rig.verdicts(), [Verdict::Healed]);
    assert_eq!((rig.health(), rig.view(WEB).incident), (Health::Healthy, None));
}

#[test]
fn an_unhealthy_healthcheck_is_healed() {
    let mut rig = web();
    rig.becomes(WEB, HEALTHY);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(rig.operations[0].trouble, Some(Trouble::EngineUnhealthy));
    rig.starts(WEB, State::Running(iaso_policy::input::EngineHealth::Starting));
    rig.finish(Outcome::Done);
    rig.pass(secs(20));
    assert_eq!(rig.verdicts(), [], "not while the image's own check has not decided");
    rig.becomes(WEB, HEALTHY);
    rig.pass(secs(14));
    assert_eq!(rig.verdicts(), [Verdict::Healed]);
}

#[test]
fn another_healer_s_start_period_quiets_healthchecks_until_it_is_over() {
    // The rig begins ten minutes after Iaso's start.
    let fleet = FleetSpec { quiet_start_healthcheck: secs(900), ..FleetSpec::default() };
    let mut rig = Rig::new(fleet);
    rig.add(WEB, spec("web"), RestartPolicy::No, RUNNING);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(rig.hold(), Some(Hold::QuietStart));
    rig.pass(secs(299));
    assert!(rig.operations.is_empty());
    rig.pass(secs(2));
    assert_eq!(rig.operations[0].trouble, Some(Trouble::EngineUnhealthy));
}

#[test]
fn failing_checks_heal_and_one_that_fails_again_after_it_has_not_healed() {
    let mut rig = web_with_check();
    fail(&mut rig, 2);
    assert!(rig.operations.is_empty());
    fail(&mut rig, 1);
    assert!(matches!(rig.operations[0].trouble, Some(Trouble::Check(_))));
    rig.carry_out();
    rig.pass(secs(120));
    assert_eq!(rig.verdicts(), [Verdict::NotHealed], "the check never passed in the new life");
}

#[test]
fn one_pass_is_not_yet_healed() {
    let mut rig = web_with_check();
    fail(&mut rig, 3);
    rig.looks_answered = false;
    rig.carry_out();
    rig.check(WEB, 0, CheckResult::Passed);
    rig.pass(secs(30));
    assert_eq!(rig.verdicts(), []);
    rig.check(WEB, 0, CheckResult::Passed);
    assert_eq!(rig.verdicts(), [Verdict::Healed]);
}

#[test]
fn a_crash_loop_backs_off_and_ends_in_quarantine_with_trials_ever_further_apart() {
    let mut rig = web();
    crash_until(&mut rig, 5);
    let begun: Vec<Mono> = rig
        .records
        .iter()
        .filter(|record| matches!(record.event, Event::Begun { .. }))
        .map(|record| record.now.mono)
        .collect();
    let waits: Vec<u64> = begun.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    for (wait, expected) in waits.iter().zip([10, 20, 40, 80]) {
        assert!(wait.abs_diff(expected) <= expected / 10 + 2, "{waits:?}");
    }
    rig.dies(WEB, 1);
    assert_eq!(rig.hold(), Some(Hold::Quarantine));
    for minutes in [30, 60, 120, 240] {
        let before = rig.operations.len();
        rig.pass(secs(60 * minutes - 5));
        assert_eq!(rig.operations.len(), before);
        rig.pass(secs(10));
        assert_eq!(rig.operations.len(), before + 1, "a trial after {minutes} minutes");
        rig.carry_out();
        rig.dies(WEB, 1);
        assert_eq!(rig.hold(), Some(Hold::Quarantine));
    }
}

#[test]
fn a_trial_that_heals_ends_the_quarantine() {
    let mut rig = web();
    crash_until(&mut rig, 5);
    rig.dies(WEB, 1);
    rig.pass(secs(1810));
    rig.carry_out();
    rig.pass(secs(20));
    assert_eq!((rig.health(), rig.view(WEB).quarantine), (Health::Healthy, None));
    assert_eq!(rig.said("released"), 1);
}

#[test]
fn what_flaps_ends_at_its_budget() {
    let mut flapping = spec("web");
    flapping.recovery.backoff.max = secs(10);
    let mut rig = Rig::with(flapping, RestartPolicy::No);
    while rig.hold() != Some(Hold::Budget) {
        rig.dies(WEB, 1);
        rig.pass(secs(12));
        if rig.hold().is_none() {
            rig.carry_out();
            rig.pass(secs(20));
        }
        assert!(rig.operations.len() <= 5);
    }
    assert_eq!(rig.operations.len(), 5);
    assert!(rig.verdicts().iter().all(|verdict| *verdict == Verdict::Healed));
    rig.pass(secs(600));
    assert_eq!(rig.operations.len(), 6, "what left the window may be spent again");
}

#[test]
fn what_a_person_stops_stays_stopped_until_a_person_starts_it() {
    let mut rig = web();
    rig.stopped_by_a_person(WEB);
    rig.pass(secs(86_400));
    assert_eq!((rig.health(), rig.hold()), (Health::Stopped, Some(Hold::OperatorStopped)));
    assert!(rig.operations.is_empty() && rig.view(WEB).incident.is_none());
    rig.starts(WEB, RUNNING);
    assert_eq!((rig.health(), rig.hold()), (Health::Healthy, None));
    rig.dies(WEB, 1);
    assert_eq!(rig.operations.len(), 1);
}

#[test]
fn a_stop_during_verification_wins() {
    let mut rig = web();
    rig.dies(WEB, 1);
    rig.carry_out();
    rig.stopped_by_a_person(WEB);
    assert_eq!((rig.verdicts(), rig.hold()), (vec![Verdict::Superseded], Some(Hold::OperatorStopped)));
    rig.pass(secs(86_400));
    assert_eq!(rig.operations.len(), 1);
}

#[test]
fn what_stopped_in_a_gap_is_left_or_started_as_the_operator_wishes() {
    for (after_gap, operations) in [(AfterGap::Leave, 0), (AfterGap::Start, 1)] {
        let mut gapped = spec("web");
        gapped.after_gap = after_gap;
        let mut rig = Rig::with(gapped, RestartPolicy::No);
        rig.link(HostLink::Down);
        assert_eq!(rig.health(), Health::Unknown);
        rig.secretly(WEB, State::Exited { code: 143, witness: Witness::Look });
        rig.pass(secs(10));
        rig.look(WEB);
        rig.link(HostLink::Up { engine_started: false });
        assert_eq!(rig.operations.len(), operations);
        if operations == 0 {
            assert_eq!(rig.hold(), Some(Hold::UnknownStop));
        }
    }
}

/// Iaso's own stop explains the end of a life while the engine may be at it, and not ever after.
#[test]
fn what_ran_on_after_a_restart_that_came_to_nothing_is_left_after_a_gap_like_any_other() {
    for (later, operations, hold) in [(10, 2, None), (600, 1, Some(Hold::UnknownStop))] {
        let mut rig = Rig::with(spec("web"), RestartPolicy::No);
        rig.becomes(WEB, UNHEALTHY);
        rig.finish(Outcome::TimedOut);
        rig.becomes(WEB, HEALTHY);
        rig.pass(secs(later));
        rig.link(HostLink::Down);
        rig.secretly(WEB, State::Exited { code: 255, witness: Witness::Look });
        rig.pass(secs(20));
        rig.look(WEB);
        rig.link(HostLink::Up { engine_started: true });
        rig.pass(secs(120));
        assert_eq!((rig.operations.len(), rig.hold()), (operations, hold), "{later} s later");
    }
}

#[test]
fn exit_0_in_a_gap_is_a_stop_for_whoever_wants_stops_ended_and_else_the_end_of_the_work() {
    let found_after_a_gap = |after_gap| {
        let mut gapped = spec("web");
        gapped.after_gap = after_gap;
        let mut rig = Rig::with(gapped, RestartPolicy::No);
        rig.link(HostLink::Down);
        rig.secretly(WEB, State::Exited { code: 0, witness: Witness::Look });
        rig.look(WEB);
        rig.link(HostLink::Up { engine_started: false });
        (rig.hold(), rig.operations.len())
    };
    assert_eq!(found_after_a_gap(AfterGap::Leave), (Some(Hold::Completed), 0));
    assert_eq!(found_after_a_gap(AfterGap::Start), (None, 1));
}

#[test]
fn work_that_was_seen_to_be_done_is_not_begun_again_by_a_restart_of_iaso() {
    let mut gapped = spec("job");
    gapped.after_gap = AfterGap::Start;
    let mut rig = Rig::with(gapped.clone(), RestartPolicy::No);
    rig.dies(WEB, 0);
    assert_eq!(rig.hold(), Some(Hold::Completed));
    rig.killed(true, secs(60));
    rig.resumes(gapped);
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Completed), 0));
}

#[test]
fn the_engine_goes_first_and_a_loop_is_reported() {
    let mut rig = Rig::with(spec("web"), RestartPolicy::Always);
    for _ in 0..4 {
        rig.dies(WEB, 1);
        assert_eq!(rig.hold(), Some(Hold::EngineRestarting));
        rig.becomes(WEB, State::Restarting);
        rig.pass(secs(2));
        rig.starts(WEB, RUNNING);
        rig.pass(secs(1));
    }
    assert!(rig.operations.is_empty());
    assert!(rig.events().any(|event| event == Event::EngineRestarted { recently: 3, looping: true }));
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(rig.operations.len(), 1, "it runs and is unhealthy");
}

#[test]
fn an_exhausted_restart_policy_is_told_by_a_look() {
    let mut rig = Rig::with(spec("web"), RestartPolicy::OnFailure(3));
    rig.dies(WEB, 1);
    assert_eq!(rig.hold(), Some(Hold::EngineRestarting));
    rig.pass(secs(1));
    assert!(rig.operations.is_empty());
    rig.pass(secs(10));
    assert_eq!(rig.operations.len(), 1);
}

#[test]
fn exits_that_are_natural_ends() {
    let table = [
        (Lifecycle::Auto, 0, RestartPolicy::No, false, true),
        (Lifecycle::Auto, 1, RestartPolicy::No, false, false),
        (Lifecycle::Auto, 1, RestartPolicy::No, true, true),
        (Lifecycle::Running, 0, RestartPolicy::No, false, false),
        (Lifecycle::Completed, 1, RestartPolicy::No, false, true),
        (Lifecycle::Auto, 0, RestartPolicy::OnFailure(3), false, true),
    ];
    for (lifecycle, code, restart, one_off, completes) in table {
        let mut job = spec("job");
        job.lifecycle = lifecycle;
        let mut rig = Rig::with(job, restart);
        rig.truth.get_mut(&WEB).unwrap().container.one_off = one_off;
        rig.describe(WEB);
        rig.dies(WEB, code);
        assert_eq!(rig.hold() == Some(Hold::Completed), completes, "{lifecycle:?} {code} {restart:?} {one_off}");
        assert_eq!(rig.operations.is_empty(), completes);
    }
}

#[test]
fn a_check_that_never_succeeded_heals_nothing() {
    let mut rig = web();
    let mut checked = spec("web");
    checked.checks = vec![check(7)];
    rig.step(Input::Define { service: WEB, spec: Box::new(checked) });
    fail(&mut rig, 10);
    assert_eq!((rig.health(), rig.hold()), (Health::Degraded, Some(Hold::NeverSucceeded)));
    rig.check(WEB, 0, CheckResult::Passed);
    fail(&mut rig, 3);
    assert_eq!(rig.operations.len(), 1);
}

#[test]
fn failures_within_the_start_period_are_forgiven_until_one_has_passed() {
    let mut rig = web_with_check();
    rig.stopped_by_a_person(WEB);
    rig.starts(WEB, RUNNING);
    fail(&mut rig, 5);
    assert_eq!((rig.health(), rig.hold()), (Health::Starting, Some(Hold::StartPeriod)));
    rig.pass(secs(61));
    assert_eq!(rig.operations.len(), 1, "the start period is over");

    let mut rig = web_with_check();
    rig.stopped_by_a_person(WEB);
    rig.starts(WEB, RUNNING);
    rig.check(WEB, 0, CheckResult::Passed);
    fail(&mut rig, 3);
    assert_eq!(rig.operations.len(), 1, "it has passed once in this life");
}

#[test]
fn after_iasos_own_start_probes_wait_and_exits_do_not() {
    let mut checked = spec("web");
    checked.checks = vec![check(1)];
    for exits in [false, true] {
        let mut rig = Rig::restored(FleetSpec::default(), &iaso_policy::memory::Restored::nothing(), 0);
        rig.link(HostLink::Up { engine_started: false });
        rig.add(WEB, checked.clone(), RestartPolicy::No, RUNNING);
        if exits {
            rig.dies(WEB, 1);
            assert_eq!(rig.operations.len(), 1);
        } else {
            fail(&mut rig, 3);
            assert_eq!(rig.hold(), Some(Hold::QuietStart));
            rig.pass(secs(30));
            assert_eq!(rig.operations.len(), 1);
        }
    }
}

#[test]
fn after_an_engines_start_its_healthcheck_waits_too() {
    let mut rig = web();
    rig.link(HostLink::Down);
    rig.link(HostLink::Up { engine_started: true });
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(rig.hold(), Some(Hold::QuietStart));
    rig.pass(secs(121));
    assert_eq!(rig.operations.len(), 1);
}

#[test]
fn a_frozen_container_is_left_alone() {
    let mut rig = web();
    rig.becomes(WEB, State::Paused);
    rig.pass(secs(3600));
    assert_eq!((rig.health(), rig.hold()), (Health::Paused, Some(Hold::ContainerPaused)));
    rig.becomes(WEB, RUNNING);
    assert_eq!((rig.health(), rig.hold()), (Health::Healthy, None));
}

#[test]
fn one_that_thaws_is_not_judged_by_how_it_was_frozen() {
    let mut rig = web_with_check();
    rig.pass(secs(120));
    rig.becomes(WEB, State::Paused);
    fail(&mut rig, 3);
    rig.becomes(WEB, RUNNING);
    assert_eq!((rig.health(), rig.operations.len()), (Health::Healthy, 0));
    fail(&mut rig, 3);
    assert_eq!(rig.operations.len(), 1, "what fails now is its own");
}

#[test]
fn a_persons_restart_is_free_and_waits_for_what_is_in_flight_unless_told() {
    let mut rig = web();
    rig.dies(WEB, 1);
    let first = rig.operations[0].attempt;
    assert_eq!(rig.order(WEB, Order::Restart { now: false }), Answer::Busy(first));
    let Answer::Begun(second) = rig.order(WEB, Order::Restart { now: true }) else { panic!("not begun") };
    assert_eq!(rig.operations[1].attempt, second);
    assert_eq!(rig.operations[1].charge, Charge::Free);
    assert_eq!(rig.view(WEB).budget_remaining, 4);
    rig.step(Input::Finished { service: WEB, attempt: first, outcome: Outcome::Done });
    assert_eq!(rig.out, [], "a late answer changes nothing");
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!(rig.verdicts(), [Verdict::Superseded, Verdict::Healed]);
}

#[test]
fn orders_that_cannot_be_done_are_answered() {
    let mut rig = web();
    assert_eq!(rig.order(ServiceId(9), Order::Pause), Answer::NoTarget);
    rig.link(HostLink::Down);
    assert_eq!(rig.order(WEB, Order::Restart { now: false }), Answer::HostDown);
    rig.link(HostLink::Up { engine_started: false });
    rig.becomes(WEB, State::Gone);
    assert_eq!(rig.order(WEB, Order::Restart { now: false }), Answer::NoTarget);
    rig.step(Input::Stopping);
    assert_eq!(rig.order(WEB, Order::Restart { now: false }), Answer::Stopping);
}

#[test]
fn a_paused_service_is_left_alone_until_resumed() {
    let mut rig = web();
    assert_eq!(rig.order(WEB, Order::Pause), Answer::Done);
    rig.dies(WEB, 1);
    rig.pass(secs(3600));
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Paused), 0));
    assert_eq!(rig.order(WEB, Order::Resume), Answer::Done);
    assert_eq!(rig.operations.len(), 1);
}

#[test]
fn resuming_ends_a_quarantine() {
    let mut rig = web();
    crash_until(&mut rig, 5);
    rig.dies(WEB, 1);
    rig.pass(secs(700));
    assert_eq!(rig.hold(), Some(Hold::Quarantine));
    rig.order(WEB, Order::Resume);
    assert_eq!(rig.operations.len(), 6);
}

#[test]
fn with_the_store_down_half_the_budget_counts() {
    let mut patient = spec("web");
    patient.recovery.max_attempts = 50;
    patient.recovery.backoff.max = secs(1);
    let mut rig = Rig::with(patient, RestartPolicy::No);
    rig.step(Input::Store { up: false });
    assert_eq!(rig.view(WEB).budget_remaining, 2);
    crash_until(&mut rig, 2);
    rig.dies(WEB, 1);
    rig.pass(secs(60));
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Budget), 2));
    assert!(rig.operations.iter().all(|operation| operation.charge == Charge::Memory));
    rig.step(Input::Store { up: true });
    assert_eq!(rig.operations.len(), 3);
}

#[test]
fn an_uncharged_operation_is_decided_anew_without_the_store() {
    let mut rig = web();
    rig.dies(WEB, 1);
    rig.finish(Outcome::Uncharged);
    assert_eq!(rig.operations.len(), 2);
    assert_eq!(rig.operations[1].charge, Charge::Memory);
    assert_eq!((rig.verdicts(), rig.view(WEB).budget_remaining), (vec![Verdict::Dropped], 1));
}

#[test]
fn while_one_operation_is_under_way_there_is_no_other() {
    let mut rig = web_with_check();
    rig.dies(WEB, 1);
    assert_eq!(rig.operations.len(), 1);
    rig.pass(secs(5));
    rig.look(WEB);
    rig.starts(WEB, RUNNING);
    fail(&mut rig, 3);
    assert_eq!(rig.operations.len(), 1, "the engine has not answered yet");
}

#[test]
fn a_hold_is_told_once_with_its_reason() {
    let mut rig = web();
    rig.order(WEB, Order::Pause);
    rig.dies(WEB, 1);
    rig.pass(secs(3600));
    rig.look(WEB);
    let held: Vec<Event> = rig.events().filter(|event| matches!(event, Event::Held { .. })).collect();
    assert_eq!(held, [Event::Held { reason: Hold::Paused, until: None, step: None, behind: None }]);
}

#[test]
fn a_denied_step_is_not_tried_again_for_long() {
    let mut rig = web();
    rig.dies(WEB, 1);
    rig.finish(Outcome::NotPermitted);
    assert_eq!(rig.hold(), Some(Hold::NotPermitted));
    rig.pass(secs(590));
    assert_eq!(rig.operations.len(), 1);
    rig.pass(secs(20));
    assert_eq!(rig.operations.len(), 2);
}

#[test]
fn what_a_law_refuses_is_held_as_a_fault_of_iasos_own() {
    let mut rig = web();
    rig.dies(WEB, 1);
    rig.finish(Outcome::Refused);
    assert_eq!((rig.hold(), rig.view(WEB).budget_remaining), (Some(Hold::Internal), 5));
}

#[test]
fn a_decision_that_fitted_nothing_any_more_waits_for_the_look() {
    for outcome in [Outcome::Moot, Outcome::NotFound] {
        let mut rig = web();
        rig.looks_answered = false;
        rig.dies(WEB, 1);
        rig.finish(outcome);
        assert_eq!((rig.verdicts(), rig.operations.len()), (vec![Verdict::Moot], 1));
        rig.becomes(WEB, State::Gone);
        rig.pass(secs(60));
        assert_eq!((rig.operations.len(), rig.view(WEB).incident), (1, None));
    }
}

#[test]
fn observing_decides_everything_and_touches_nothing() {
    let mut rig = Rig::new(FleetSpec { observe: true, ..FleetSpec::default() });
    rig.add(WEB, spec("web"), RestartPolicy::No, RUNNING);
    rig.dies(WEB, 1);
    rig.pass(secs(3600));
    assert!(rig.operations.is_empty());
    assert!(rig.events().any(|e| matches!(e, Event::Held { reason: Hold::Observe, step: Some(Step::Restart), .. })));
}

fn three() -> Vec<ServiceId> {
    (0..3).map(ServiceId).collect()
}

fn rig_of_three(fleet: FleetSpec) -> Rig {
    let mut rig = Rig::new(fleet);
    for (service, name) in three().into_iter().zip(["web", "db", "cache"]) {
        rig.add(service, spec(name), RestartPolicy::No, RUNNING);
    }
    rig
}

#[test]
fn a_host_does_so_much_at_once_and_the_rest_in_order() {
    let mut rig = rig_of_three(FleetSpec { max_concurrent: 1, ..FleetSpec::default() });
    for service in three() {
        rig.dies(service, 1);
    }
    assert_eq!(rig.operations.len(), 1);
    assert_eq!(rig.view(ServiceId(2)).hold.map(|hold| hold.reason), Some(Hold::Concurrency));
    for expected in [1, 2] {
        rig.carry_out();
        assert_eq!(rig.operations.last().unwrap().service, ServiceId(expected));
    }
}

#[test]
fn a_call_that_hangs_gives_its_place_back() {
    let mut rig = rig_of_three(FleetSpec { max_concurrent: 1, ..FleetSpec::default() });
    rig.dies(WEB, 1);
    rig.dies(ServiceId(1), 1);
    rig.pass(secs(600));
    assert_eq!(rig.operations[1].service, ServiceId(1));
}

#[test]
fn a_hosts_budget_is_shared() {
    let host_budget = Budget { max: 2, window: secs(600) };
    let mut rig = rig_of_three(FleetSpec { host_budget, ..FleetSpec::default() });
    for service in three() {
        rig.dies(service, 1);
    }
    assert_eq!(rig.operations.len(), 2);
    assert_eq!(rig.view(ServiceId(2)).hold.map(|hold| hold.reason), Some(Hold::HostBudget));
    rig.carry_out();
    rig.pass(secs(601));
    assert!(rig.operations[2..].iter().any(|operation| operation.service == ServiceId(2)));
}

#[test]
fn an_engines_own_shutdown_is_nobodys_stop() {
    // The signal alone was seen, or the exit too.
    for exit_seen in [false, true] {
        let mut gapped = spec("web");
        gapped.after_gap = AfterGap::Start;
        let mut rig = Rig::with(gapped, RestartPolicy::No);
        rig.stop_signal(WEB);
        if exit_seen {
            rig.dies(WEB, 143);
        }
        rig.pass(secs(5));
        rig.link(HostLink::Down);
        rig.secretly(WEB, State::Exited { code: 143, witness: Witness::Look });
        rig.pass(secs(60));
        rig.link(HostLink::Up { engine_started: true });
        rig.look(WEB);
        assert_eq!(rig.operations.len(), 1, "the exit was seen: {exit_seen}");
        assert_eq!(rig.operations[0].trouble, Some(Trouble::StoppedInGap));
    }
}

#[test]
fn what_a_person_stopped_long_before_the_engine_did_stays_stopped() {
    let mut gapped = spec("web");
    gapped.after_gap = AfterGap::Start;
    let mut rig = Rig::with(gapped, RestartPolicy::No);
    rig.add(ServiceId(1), spec("other"), RestartPolicy::No, RUNNING);
    rig.stopped_by_a_person(WEB);
    rig.pass(secs(300));
    rig.becomes(ServiceId(1), State::Paused);
    rig.link(HostLink::Down);
    rig.pass(secs(60));
    rig.link(HostLink::Up { engine_started: true });
    rig.look(WEB);
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::OperatorStopped), 0));
}

#[test]
fn some_are_never_targets() {
    for (exempt, reason) in [
        (Exempt::Itself, Hold::Itself),
        (Exempt::Orchestrated, Hold::Orchestrated),
        (Exempt::AutoRemove, Hold::Mode),
        (Exempt::Disabled, Hold::Mode),
    ] {
        let mut rig = web();
        rig.truth.get_mut(&WEB).unwrap().container.exempt = Some(exempt);
        rig.describe(WEB);
        rig.dies(WEB, 1);
        rig.pass(secs(3600));
        assert_eq!((rig.hold(), rig.operations.len()), (Some(reason), 0));
    }
}

#[test]
fn modes_and_other_healers_labels_hold() {
    let set: [fn(&mut ServiceSpec); 3] =
        [|s| s.recovery.mode = Mode::Notify, |s| s.recovery.mode = Mode::Off, |s| s.heal_exits = false];
    for set in set {
        let mut held = spec("web");
        set(&mut held);
        let mut rig = Rig::with(held, RestartPolicy::No);
        rig.dies(WEB, 1);
        assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Mode), 0));
    }
    let mut autoheal = spec("web");
    autoheal.heal_exits = false;
    let mut rig = Rig::with(autoheal, RestartPolicy::No);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(rig.operations.len(), 1);
}

#[test]
fn nothing_is_started_that_was_never_seen_running() {
    let mut gapped = spec("web");
    gapped.after_gap = AfterGap::Start;
    let mut rig = Rig::new(FleetSpec::default());
    rig.add(WEB, gapped, RestartPolicy::No, State::Exited { code: 1, witness: Witness::Look });
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::UnknownStop), 0));
}

#[test]
fn a_deployment_is_waited_for_five_minutes_at_most() {
    let mut rig = web();
    rig.step(Input::Change { service: WEB });
    rig.dies(WEB, 1);
    assert_eq!(rig.hold(), Some(Hold::PlannedChange));
    rig.pass(secs(200));
    rig.step(Input::Change { service: WEB });
    rig.pass(secs(99));
    assert!(rig.operations.is_empty());
    rig.pass(secs(2));
    assert_eq!(rig.operations.len(), 1);
}

#[test]
fn what_a_deployment_stops_is_a_planned_change_and_a_persons_stop_is_not() {
    let mut rig = web();
    rig.stopped_by_a_person(WEB);
    assert_eq!((rig.health(), rig.hold()), (Health::Stopped, Some(Hold::OperatorStopped)));
    // Its container is renamed: another takes its place.
    rig.step(Input::Change { service: WEB });
    assert_eq!((rig.health(), rig.hold()), (Health::Stopped, Some(Hold::PlannedChange)));
    // Nothing came of it.
    rig.pass(secs(301));
    assert_eq!((rig.health(), rig.hold()), (Health::Stopped, Some(Hold::OperatorStopped)));
    assert!(rig.operations.is_empty());
}

#[test]
fn a_deployment_is_over_once_its_container_was_started_however_short_its_life() {
    let mut rig = Rig::new(FleetSpec::default());
    rig.add(WEB, spec("web"), RestartPolicy::No, State::Created);
    rig.step(Input::Change { service: WEB });
    // A list finds it exited before its start is told.
    let code = 9;
    rig.secretly_starts(WEB, State::Exited { code, witness: Witness::Look });
    rig.describe(WEB);
    rig.look(WEB);
    rig.becomes(WEB, RUNNING);
    rig.dies(WEB, code);
    assert_eq!((rig.hold(), rig.operations.len()), (None, 1));
}

#[test]
fn with_the_host_down_an_incident_is_held() {
    let mut rig = web();
    rig.order(WEB, Order::Pause);
    rig.dies(WEB, 1);
    rig.link(HostLink::Down);
    assert_eq!((rig.health(), rig.hold()), (Health::Unknown, Some(Hold::HostDown)));
}

#[test]
fn a_quarantined_container_is_stopped_where_asked_and_tried_again() {
    let mut stopping = spec("web");
    stopping.recovery.on_quarantine = OnQuarantine::Stop;
    stopping.recovery.max_attempts = 1;
    let mut rig = Rig::with(stopping, RestartPolicy::No);
    rig.becomes(WEB, UNHEALTHY);
    rig.carry_out();
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(rig.operations[1].step, Step::Stop);
    // The answer comes before its events.
    rig.looks_answered = false;
    rig.finish(Outcome::Done);
    rig.stop_signal(WEB);
    rig.dies(WEB, 0);
    assert_eq!(rig.hold(), Some(Hold::Quarantine));
    rig.pass(secs(1810));
    assert_eq!(rig.operations.len(), 3, "the trial");
}

#[test]
fn the_ladder_is_climbed_and_its_last_step_repeats() {
    let mut laddered = spec("web");
    laddered.recovery.ladder = vec![Step::Signal(1), Step::Restart];
    laddered.recovery.verify_timeout = Some(secs(5));
    let mut rig = Rig::with(laddered, RestartPolicy::No);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(rig.operations[0].step, Step::Signal(1));
    rig.finish(Outcome::Done);
    rig.pass(secs(20));
    assert_eq!(rig.verdicts(), [Verdict::NotHealed]);
    for _ in 0..2 {
        assert_eq!(rig.operations.last().unwrap().step, Step::Restart);
        rig.starts(WEB, UNHEALTHY);
        rig.finish(Outcome::Done);
        rig.pass(secs(25));
    }
}

#[test]
fn a_person_who_stops_it_after_a_signal_step_wins() {
    let mut laddered = spec("web");
    laddered.recovery.ladder = vec![Step::Signal(1)];
    let mut rig = Rig::with(laddered, RestartPolicy::No);
    rig.becomes(WEB, UNHEALTHY);
    rig.finish(Outcome::Done);
    rig.pass(secs(10));
    rig.stopped_by_a_person(WEB);
    rig.pass(secs(3600));
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::OperatorStopped), 1));
}

#[test]
fn a_person_who_stops_it_during_a_signal_step_wins() {
    for (number, expected) in [(1, Hold::OperatorStopped), (15, Hold::Backoff)] {
        let mut laddered = spec("web");
        laddered.recovery.ladder = vec![Step::Signal(number), Step::Restart];
        let mut rig = Rig::with(laddered, RestartPolicy::No);
        rig.becomes(WEB, UNHEALTHY);
        rig.stop_signal(WEB);
        rig.dies(WEB, 143);
        rig.finish(Outcome::Done);
        assert_eq!(rig.hold(), Some(expected), "only a step that sends the stop signal itself may have sent it");
    }
}

#[test]
fn an_open_attempt_is_resolved_by_looking() {
    // It was carried out while Iaso was away.
    let mut rig = web();
    rig.becomes(WEB, UNHEALTHY);
    rig.secretly_starts(WEB, RUNNING);
    rig.killed(false, secs(5));
    rig.resumes(spec("web"));
    rig.pass(secs(20));
    assert_eq!((rig.operations.len(), rig.verdicts()), (1, vec![Verdict::Healed]));

    // It was not: after the time that it could have taken it is decided anew.
    let mut rig = web();
    rig.becomes(WEB, UNHEALTHY);
    rig.killed(false, secs(5));
    rig.resumes(spec("web"));
    rig.pass(secs(9));
    assert_eq!(rig.operations.len(), 1);
    rig.pass(secs(10));
    assert_eq!((rig.operations.len(), rig.verdicts()), (2, vec![Verdict::Moot]));
}

#[test]
fn a_quarantine_whose_incident_is_over_ends_on_health() {
    let mut rig = web();
    crash_until(&mut rig, 5);
    rig.dies(WEB, 1);
    rig.becomes(WEB, State::Gone);
    crash_until_quarantined_then_stopped(&mut rig);
    rig.secretly_starts(WEB, RUNNING);
    rig.killed(true, secs(60));
    rig.resumes(spec("web"));
    assert!(rig.view(WEB).quarantine.is_some());
    rig.pass(secs(15));
    assert_eq!(rig.view(WEB).quarantine, None);
}

fn crash_until_quarantined_then_stopped(rig: &mut Rig) {
    rig.pass(secs(700));
    rig.starts(WEB, RUNNING);
    let before = rig.operations.len();
    crash_until(rig, before + 5);
    rig.dies(WEB, 1);
    assert_eq!(rig.hold(), Some(Hold::Quarantine));
    rig.stop_signal(WEB);
    rig.dies(WEB, 0);
    rig.looks_answered = true;
}

#[test]
fn what_the_store_held_still_holds_after_a_kill() {
    let mut rig = web();
    crash_until(&mut rig, 5);
    rig.dies(WEB, 1);
    let before = rig.view(WEB);
    rig.killed(false, Duration::from_millis(500));
    rig.resumes(spec("web"));
    let after = rig.view(WEB);
    assert_eq!(
        (after.hold.map(|h| h.reason), after.budget_remaining),
        (Some(Hold::Quarantine), before.budget_remaining)
    );
    assert_eq!(after.quarantine, before.quarantine);
    assert_eq!(after.incident, before.incident);
    rig.pass(secs(1700));
    assert_eq!(rig.operations.len(), 5);
    rig.pass(secs(110));
    assert_eq!(rig.operations.len(), 6);
}

#[test]
fn after_an_unclean_end_what_has_started_since_is_charged() {
    let mut rig = web();
    rig.pass(secs(60));
    rig.secretly_starts(WEB, RUNNING);
    rig.killed(false, secs(5));
    rig.resumes(spec("web"));
    assert_eq!((rig.view(WEB).budget_remaining, rig.said("charged_for_gap")), (4, 1));
}

#[test]
fn a_hosts_budget_remembers_services_that_are_gone() {
    let budget = Budget { max: 1, window: secs(600) };
    let fleet = FleetSpec { host_budget: budget, ..FleetSpec::default() };
    let mut gone = iaso_policy::memory::Memory::new(Identity::container("local", "gone").unwrap());
    let mut rig = Rig::new(fleet);
    gone.charges.push(rig.now);
    let restored = iaso_policy::memory::Restored { services: vec![gone], ..iaso_policy::memory::Restored::nothing() };
    rig = Rig::restored(fleet, &restored, rig.now.mono.0 + 1000);
    rig.link(HostLink::Up { engine_started: false });
    rig.add(WEB, spec("web"), RestartPolicy::No, RUNNING);
    rig.dies(WEB, 1);
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::HostBudget), 0));
}

#[test]
fn unknown_names_change_nothing() {
    let mut rig = web();
    rig.step(Input::Forget { service: ServiceId(77) });
    rig.step(Input::Change { service: ServiceId(77) });
    rig.step(Input::Host { host: HostId(9), link: HostLink::Down });
    assert_eq!((rig.out.len(), rig.health(), HOST), (0, Health::Healthy, HostId(0)));
}
