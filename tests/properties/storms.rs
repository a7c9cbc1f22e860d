//! So much fails at once that it is more likely the host: nothing is recovered at first, then one service after the other.

use std::time::Duration;

use iaso_policy::action::{Cause, Operation, RolloutResult};
use iaso_policy::id::{CredentialKey, HostId, Identity, RolloutId, ServiceId};
use iaso_policy::input::{CheckResult, HostLink, Order, Outcome, RestartPolicy, RolloutStep, State};
use iaso_policy::laws::Judges;
use iaso_policy::memory::Restored;
use iaso_policy::record::{Event, Hold};
use iaso_policy::spec::{
    AfterGap, Budget, Condition, FleetSpec, MassFailure, Mode, Need, OnQuarantine, Restarts, ServiceSpec, Step,
};
use iaso_policy::{Action, Input};
use proptest::prelude::*;

use crate::histories::config;
use crate::rig::{HEALTHY, RUNNING, Rig, UNHEALTHY, check, secs, spec};

/// As many services with a HEALTHCHECK, all well.
fn host_of(count: u32) -> Rig {
    host_under(FleetSpec::default(), count)
}

fn host_under(fleet: FleetSpec, count: u32) -> Rig {
    let mut rig = Rig::new(fleet);
    for number in 0..count {
        rig.add(ServiceId(number), spec(&format!("s{number}")), RestartPolicy::No, HEALTHY);
    }
    rig
}

/// These sicken within a second, and what was begun before it was a storm has been carried out in vain.
fn all_sicken(rig: &mut Rig, which: std::ops::Range<u32>) {
    for number in which {
        rig.becomes(ServiceId(number), UNHEALTHY);
        rig.pass(Duration::from_millis(50));
    }
}

fn touched(rig: &Rig) -> Vec<u32> {
    rig.operations.iter().map(|operation| operation.service.0).collect()
}

fn hold(rig: &Rig, service: u32) -> Option<Hold> {
    rig.view(ServiceId(service)).hold.map(|hold| hold.reason)
}

fn carry_out(rig: &mut Rig, well: bool) {
    let service = rig.operations.last().unwrap().service;
    rig.starts(service, if well { HEALTHY } else { UNHEALTHY });
    rig.finish(Outcome::Done);
}

fn began(rig: &Rig) -> Vec<(u32, u32)> {
    let of = |event| if let Event::StormBegan { failed, of, .. } = event { Some((failed, of)) } else { None };
    rig.events().filter_map(of).collect()
}

/// Five of eight, of which the first four were begun before anybody could know; those are over, and did not help.
fn storm() -> Rig {
    let mut rig = host_of(8);
    all_sicken(&mut rig, 0..5);
    assert_eq!((touched(&rig), began(&rig)), (vec![0, 1, 2, 3], vec![(5, 8)]));
    assert_eq!(hold(&rig, 4), Some(Hold::MassFailure));
    for operation in rig.operations.clone() {
        let Operation { service, attempt, .. } = operation;
        rig.starts(service, UNHEALTHY);
        rig.step(Input::Finished { service, attempt, outcome: Outcome::Done });
    }
    rig
}

#[test]
fn five_of_eight_are_held_and_what_had_begun_ends() {
    let mut rig = storm();
    assert!((0..5).all(|number| hold(&rig, number) == Some(Hold::MassFailure)));
    rig.pass(secs(290));
    assert_eq!(touched(&rig).len(), 4, "nothing new");
    assert_eq!((rig.said("storm_began"), rig.said("storm_ended")), (1, 0));
}

#[test]
fn four_of_five_are_healed_as_ever() {
    let mut rig = host_of(5);
    all_sicken(&mut rig, 0..4);
    assert_eq!((touched(&rig), began(&rig)), (vec![0, 1, 2, 3], vec![]));
}

#[test]
fn five_of_ten_are_not_more_than_half() {
    let mut rig = host_of(10);
    all_sicken(&mut rig, 0..5);
    assert_eq!((touched(&rig).len(), began(&rig)), (5, vec![]));
}

#[test]
fn what_fails_over_more_than_a_minute_is_no_storm() {
    let mut rig = host_of(8);
    for number in 0..6 {
        rig.becomes(ServiceId(number), UNHEALTHY);
        rig.pass(secs(15));
    }
    assert_eq!((touched(&rig).len(), began(&rig)), (6, vec![]));
}

#[test]
fn what_has_long_been_stopped_makes_no_storm_smaller() {
    let mut rig = host_of(20);
    for number in 8..20 {
        rig.stopped_by_a_person(ServiceId(number));
    }
    all_sicken(&mut rig, 0..5);
    assert_eq!(began(&rig), [(5, 8)]);
}

#[test]
fn what_a_person_stopped_or_a_gap_is_no_failure() {
    let mut rig = Rig::new(FleetSpec::default());
    for number in 0..8 {
        let started = ServiceSpec { after_gap: AfterGap::Start, ..spec(&format!("s{number}")) };
        rig.add(ServiceId(number), started, RestartPolicy::No, HEALTHY);
    }
    for number in 0..5 {
        rig.stopped_by_a_person(ServiceId(number));
    }
    // The engine itself went down: that was no person.
    rig.link(HostLink::Down);
    rig.link(HostLink::Up { engine_started: true });
    assert_eq!((touched(&rig), began(&rig)), (vec![0, 1, 2, 3, 4], vec![]));
}

fn need(on: u32) -> Vec<Need> {
    vec![Need { on: vec![ServiceId(on)], until: Condition::Healthy, restarts: Restarts::Never, unwatched: None }]
}

#[test]
fn those_whom_one_root_drags_down_do_not_count() {
    let mut rig = host_of(8);
    for number in 1..7 {
        rig.step(Input::Needs { service: ServiceId(number), needs: need(number / 3) });
    }
    all_sicken(&mut rig, 0..7);
    assert_eq!((touched(&rig), began(&rig)), (vec![0], vec![]));
    assert!((1..7).all(|number| hold(&rig, number) == Some(Hold::Dependency)));
}

#[test]
fn a_root_that_is_found_broken_last_ends_what_looked_like_a_storm() {
    let mut rig = host_of(8);
    for number in 1..7 {
        rig.step(Input::Needs { service: ServiceId(number), needs: need(0) });
    }
    rig.pass(secs(60));
    rig.looks_answered = false;
    all_sicken(&mut rig, 1..7);
    assert_eq!((touched(&rig), began(&rig)), (vec![], vec![(5, 8)]));
    rig.becomes(ServiceId(0), UNHEALTHY);
    assert_eq!((touched(&rig), rig.said("storm_ended")), (vec![0], 1));
    assert!((1..7).all(|number| hold(&rig, number) == Some(Hold::Dependency)));
}

#[test]
fn after_five_minutes_one_is_tried_then_the_others_one_at_a_time() {
    let mut rig = storm();
    rig.pass(secs(301));
    assert_eq!(touched(&rig)[4..], [4], "who was not tried yet goes first");
    assert!((0..4).all(|number| hold(&rig, number) == Some(Hold::MassFailure)));
    for expected in 0..4 {
        carry_out(&mut rig, true);
        rig.pass(secs(5));
        assert_eq!(touched(&rig).len(), 5 + expected, "it is not stable yet");
        rig.pass(secs(15));
        let next = u32::try_from(expected).unwrap();
        assert_eq!(touched(&rig)[5 + expected..], [next], "then whoever failed first");
    }
    carry_out(&mut rig, true);
    rig.pass(secs(20));
    assert_eq!((touched(&rig).len(), rig.said("storm_ended")), (9, 1));
    assert!((0..8).all(|number| rig.view(ServiceId(number)).incident.is_none()));
}

#[test]
fn a_canary_that_fails_lets_five_minutes_pass_again() {
    let mut rig = storm();
    rig.pass(secs(301));
    for tried in [4, 0, 1] {
        assert_eq!(touched(&rig).last(), Some(&tried));
        let before = touched(&rig).len();
        carry_out(&mut rig, false);
        rig.pass(secs(299));
        assert_eq!(touched(&rig).len(), before);
        assert_eq!(hold(&rig, tried), Some(Hold::MassFailure));
        rig.pass(secs(2));
    }
}

#[test]
fn the_network_comes_back_and_nothing_is_touched() {
    let mut rig = Rig::new(FleetSpec::default());
    for number in 0..12 {
        let mut checked = spec(&format!("s{number}"));
        checked.checks = vec![check(u64::from(number))];
        rig.add(ServiceId(number), checked, RestartPolicy::No, RUNNING);
    }
    // Each fails once before the first of them has failed for the third time.
    for _ in 0..3 {
        for number in 0..10 {
            rig.check(ServiceId(number), 0, CheckResult::Failed);
        }
        rig.pass(secs(5));
    }
    assert_eq!((touched(&rig), began(&rig)), (vec![], vec![(7, 12)]));
    assert!((0..10).all(|number| hold(&rig, number) == Some(Hold::MassFailure)));
    for _ in 0..10 {
        for number in 0..10 {
            rig.check(ServiceId(number), 0, CheckResult::Passed);
        }
        rig.pass(secs(2));
    }
    assert_eq!((touched(&rig), rig.said("storm_ended")), (vec![], 1));
    assert_eq!(rig.said("incident_closed"), 10);
}

#[test]
fn who_fails_for_the_first_time_is_waited_for_and_not_told_of() {
    let mut rig = Rig::new(FleetSpec::default());
    for number in 0..8 {
        let mut checked = spec(&format!("s{number}"));
        checked.checks = vec![check(u64::from(number))];
        rig.add(ServiceId(number), checked, RestartPolicy::No, HEALTHY);
    }
    for number in 1..5 {
        rig.check(ServiceId(number), 0, CheckResult::Failed);
    }
    rig.dies(ServiceId(0), 1);
    assert_eq!((touched(&rig), hold(&rig, 0)), (vec![], Some(Hold::MassFailure)));
    for number in 1..5 {
        rig.check(ServiceId(number), 0, CheckResult::Passed);
    }
    rig.pass(secs(5));
    assert_eq!((touched(&rig), began(&rig)), (vec![0], vec![]));
}

#[test]
fn when_most_are_well_again_the_rest_is_healed_soon_one_at_a_time() {
    let mut rig = Rig::new(FleetSpec::default());
    for number in 0..10 {
        rig.add(ServiceId(number), spec(&format!("s{number}")), RestartPolicy::No, HEALTHY);
        rig.order(ServiceId(number), Order::Pause);
    }
    all_sicken(&mut rig, 0..9);
    for number in 0..9 {
        rig.order(ServiceId(number), Order::Resume);
    }
    assert_eq!((touched(&rig), began(&rig)), (vec![], vec![(6, 10)]));
    rig.pass(secs(30));
    for _ in 0..3 {
        for number in 0..5 {
            rig.becomes(ServiceId(number), HEALTHY);
            rig.look(ServiceId(number));
        }
        rig.pass(secs(10));
    }
    assert_eq!(touched(&rig).len(), 0);
    rig.pass(secs(30));
    assert_eq!(touched(&rig), [5]);
    carry_out(&mut rig, true);
    rig.pass(secs(20));
    assert_eq!(touched(&rig), [5, 6]);
}

#[test]
fn another_wave_is_waited_for_anew() {
    let mut rig = storm();
    rig.pass(secs(200));
    all_sicken(&mut rig, 5..8);
    for number in 0..5 {
        for _ in 0..3 {
            rig.becomes(ServiceId(number), HEALTHY);
            rig.look(ServiceId(number));
            rig.pass(secs(6));
        }
    }
    rig.pass(secs(30));
    // Most got well, and one of the others is tried.
    assert_eq!(touched(&rig)[4..], [5]);
    carry_out(&mut rig, true);
    rig.pass(secs(1));
    let before = touched(&rig).len();
    all_sicken(&mut rig, 0..5);
    rig.pass(secs(290));
    assert_eq!(touched(&rig).len(), before);
    rig.pass(secs(20));
    assert_eq!(touched(&rig).len(), before + 1);
    assert_eq!(rig.said("storm_began"), 1, "it is the same storm");
}

#[test]
fn a_person_s_order_is_free_of_it() {
    let mut rig = storm();
    rig.order(ServiceId(2), Order::Restart { now: false });
    let last = rig.operations.last().map(|operation| (operation.service, operation.cause));
    assert_eq!(last, Some((ServiceId(2), Cause::Operator)));
}

#[test]
fn what_nothing_is_done_about_keeps_no_storm_alive() {
    let mut rig = Rig::new(FleetSpec::default());
    for number in 0..8 {
        let mut left = spec(&format!("s{number}"));
        left.recovery.mode = Mode::Notify;
        rig.add(ServiceId(number), left, RestartPolicy::No, HEALTHY);
    }
    all_sicken(&mut rig, 0..6);
    assert_eq!((rig.said("storm_began"), rig.said("storm_ended")), (1, 0));
    rig.pass(secs(301));
    assert_eq!(rig.said("storm_ended"), 1);
}

#[test]
fn who_is_given_up_keeps_no_storm_alive() {
    let mut rig = host_of(8);
    for number in 0..8 {
        let mut left = spec(&format!("s{number}"));
        (left.recovery.max_attempts, left.recovery.quarantine_retry) = (1, None);
        left.recovery.on_quarantine = OnQuarantine::Leave;
        rig.step(Input::Define { service: ServiceId(number), spec: Box::new(left) });
    }
    all_sicken(&mut rig, 0..5);
    for operation in rig.operations.clone() {
        let Operation { service, attempt, .. } = operation;
        rig.starts(service, UNHEALTHY);
        rig.step(Input::Finished { service, attempt, outcome: Outcome::Done });
    }
    rig.pass(secs(301));
    carry_out(&mut rig, false);
    assert_eq!(rig.said("storm_ended"), 0);
    rig.pass(secs(301));
    assert_eq!((touched(&rig).len(), rig.said("storm_ended")), (5, 1));
    rig.becomes(ServiceId(7), UNHEALTHY);
    assert_eq!(touched(&rig).last(), Some(&7), "who fails later is healed as ever");
}

#[test]
fn who_is_not_watched_any_more_is_not_waited_for() {
    let mut rig = storm();
    for number in 0..5 {
        rig.undeclare(ServiceId(number));
    }
    assert_eq!(touched(&rig).len(), 4);
    rig.becomes(ServiceId(7), UNHEALTHY);
    assert_eq!(touched(&rig).last(), Some(&7));
}

#[test]
fn a_changed_credential_waits_for_the_end_of_it() {
    let mut rig = storm();
    let step = RolloutStep { service: ServiceId(7), step: Step::Restart, has_it: false };
    rig.step(Input::RollOut {
        rollout: RolloutId(1),
        credential: CredentialKey(1),
        steps: vec![step],
        cap: Budget { max: 6, window: secs(3600) },
        splay: Duration::ZERO,
        undoable: false,
    });
    rig.pass(secs(200));
    assert_eq!(rig.for_credentials(), []);
    for _ in 0..3 {
        for number in 0..5 {
            rig.becomes(ServiceId(number), HEALTHY);
            rig.look(ServiceId(number));
        }
        rig.pass(secs(6));
    }
    assert_eq!(touched(&rig)[..4], [0, 1, 2, 3]);
    assert_eq!(rig.for_credentials(), [(ServiceId(7), Step::Restart, false)]);
    carry_out(&mut rig, true);
    rig.pass(secs(30));
    assert_eq!(rig.rolled_out, [(RolloutId(1), false, RolloutResult::Done)]);
}

#[test]
fn another_host_is_not_held() {
    let mut rig = storm();
    let elsewhere = HostId(1);
    rig.step(Input::Host { host: elsewhere, link: HostLink::Up { engine_started: false } });
    let other = ServiceSpec::new(Identity::container("other", "s").unwrap(), elsewhere);
    rig.add(ServiceId(8), other, RestartPolicy::No, HEALTHY);
    rig.becomes(ServiceId(8), UNHEALTHY);
    assert_eq!(touched(&rig).last(), Some(&8));
}

#[test]
fn the_rule_is_the_operator_s() {
    let never =
        FleetSpec { mass_failure: MassFailure { min: 5, ratio: 1.0, window: secs(60) }, ..FleetSpec::default() };
    let mut rig = host_under(never, 6);
    all_sicken(&mut rig, 0..6);
    assert_eq!((touched(&rig).len(), began(&rig)), (6, vec![]));
    let soon = FleetSpec { mass_failure: MassFailure { min: 2, ratio: 0.2, window: secs(60) }, ..FleetSpec::default() };
    let mut rig = host_under(soon, 6);
    all_sicken(&mut rig, 0..3);
    assert_eq!((touched(&rig), began(&rig)), (vec![0], vec![(2, 6)]));
}

/// The judge is no friend of the rule: without it, it objects.
#[test]
fn the_judge_objects_to_a_restart_too_many() {
    let mut rig = storm();
    let operation = *rig.operations.last().unwrap();
    let mut judges: Judges = rig.judges.clone();
    let another = Operation { service: ServiceId(4), attempt: iaso_policy::id::AttemptId(1), ..operation };
    let objection = judges.judge(rig.now, &Action::Operate(another)).unwrap_err();
    assert_eq!((objection.law, objection.service), (6, ServiceId(4)));
    rig.pass(secs(10));
    // One that knows nothing of the storm does not.
    let mut judges = Judges::new(&FleetSpec::default(), &Restored::nothing(), rig.now);
    judges.judge(rig.now, &Action::Operate(another)).unwrap();
}

/// What happens to one of twelve services.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Dies,
    Sickens,
    GetsWell,
    Stopped,
    Fails,
    Passes,
    Ordered,
    Paused(bool),
    Answered(bool),
    ManySicken(u32),
    ManyGetWell,
    Undeclared,
    Declared,
    Time(u16),
    Link(bool),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        2 => Just(Happens::Dies),
        3 => Just(Happens::Sickens),
        2 => Just(Happens::GetsWell),
        1 => Just(Happens::Stopped),
        2 => Just(Happens::Fails),
        2 => Just(Happens::Passes),
        1 => Just(Happens::Ordered),
        1 => any::<bool>().prop_map(Happens::Paused),
        6 => any::<bool>().prop_map(Happens::Answered),
        3 => (4..12_u32).prop_map(Happens::ManySicken),
        2 => Just(Happens::ManyGetWell),
        1 => Just(Happens::Undeclared),
        1 => Just(Happens::Declared),
        6 => (1..200_u16).prop_map(Happens::Time),
        1 => any::<bool>().prop_map(Happens::Link),
    ]
}

fn checked(number: u32) -> ServiceSpec {
    let mut checked = spec(&format!("s{number}"));
    checked.checks = vec![check(u64::from(number))];
    checked
}

fn runs(rig: &Rig, service: ServiceId) -> bool {
    matches!(rig.truth[&service].state, State::Running(_))
}

fn get_well(rig: &mut Rig) {
    for _ in 0..3 {
        for number in 0..12 {
            if runs(rig, ServiceId(number)) {
                rig.becomes(ServiceId(number), HEALTHY);
            } else {
                rig.starts(ServiceId(number), HEALTHY);
            }
            rig.look(ServiceId(number));
            rig.check(ServiceId(number), 0, CheckResult::Passed);
        }
        rig.pass(secs(6));
    }
}

proptest! {
    #![proptest_config(config())]

    /// The judges see to it that no storm is healed by more, and that every hold has its reason; and no storm lasts for ever.
    #[test]
    fn no_history_heals_a_storm_by_more_storm(
        edges in prop::collection::vec((0..12_u32, 0..12_u32), 0..6),
        history in prop::collection::vec((0..12_u32, happens()), 1..80),
    ) {
        let mut rig = Rig::new(FleetSpec::default());
        for number in 0..12 {
            rig.add(ServiceId(number), checked(number), RestartPolicy::No, HEALTHY);
        }
        for number in 0..12 {
            let of = edges.iter().filter(|(from, to)| *from == number && to < from);
            let needs = of.flat_map(|(_, to)| need(*to)).collect();
            rig.step(Input::Needs { service: ServiceId(number), needs });
        }
        for (number, what) in history {
            let service = ServiceId(number);
            if matches!(what, Happens::Ordered | Happens::Paused(_)) && rig.policy.view(service).is_none() {
                continue;
            }
            match what {
                Happens::Dies if runs(&rig, service) => rig.dies(service, 1),
                Happens::Sickens if runs(&rig, service) => rig.becomes(service, UNHEALTHY),
                Happens::GetsWell if runs(&rig, service) => rig.becomes(service, HEALTHY),
                Happens::GetsWell => rig.starts(service, HEALTHY),
                Happens::Stopped if runs(&rig, service) => rig.stopped_by_a_person(service),
                Happens::Fails if runs(&rig, service) => rig.check(service, 0, CheckResult::Failed),
                Happens::Passes if runs(&rig, service) => rig.check(service, 0, CheckResult::Passed),
                Happens::Ordered => drop(rig.order(service, Order::Restart { now: true })),
                Happens::Paused(paused) => drop(rig.order(service, if paused { Order::Pause } else { Order::Resume })),
                Happens::Answered(well) if !rig.operations.is_empty() => {
                    if well {
                        carry_out(&mut rig, true);
                    } else {
                        rig.finish(Outcome::Failed);
                    }
                }
                Happens::ManySicken(many) => {
                    for id in (0..many).map(ServiceId) {
                        if runs(&rig, id) {
                            rig.becomes(id, UNHEALTHY);
                        }
                    }
                }
                Happens::ManyGetWell => get_well(&mut rig),
                Happens::Undeclared => {
                    rig.undeclare(service);
                    rig.step(Input::Needs { service, needs: Vec::new() });
                }
                Happens::Declared => rig.declare(service, checked(number)),
                Happens::Time(seconds) => rig.pass(secs(seconds.into())),
                Happens::Link(true) => rig.link(HostLink::Up { engine_started: false }),
                Happens::Link(false) => rig.link(HostLink::Down),
                _ => {}
            }
        }
        rig.link(HostLink::Up { engine_started: false });
        for operation in rig.operations.clone() {
            let Operation { service, attempt, .. } = operation;
            rig.step(Input::Finished { service, attempt, outcome: Outcome::Failed });
        }
        get_well(&mut rig);
        get_well(&mut rig);
        rig.pass(secs(900));
        get_well(&mut rig);
        prop_assert_eq!(rig.said("storm_began"), rig.said("storm_ended"));
    }
}
