//! Storms that this Iaso has not seen begin, those that go on and on, and outages that were to be expected.

use std::time::Duration;

use iaso_policy::Input;
use iaso_policy::id::ServiceId;
use iaso_policy::input::{CheckResult, HostLink, Order, Outcome, RestartPolicy};
use iaso_policy::record::{Event, Hold};
use iaso_policy::spec::{Condition, FleetSpec, MassFailure, Need, Restarts, ServiceSpec};

use crate::rig::{HEALTHY, RUNNING, Rig, UNHEALTHY, check, secs, spec};

const UP: HostLink = HostLink::Up { engine_started: false };

fn named(number: u32) -> ServiceSpec {
    spec(&format!("s{number}"))
}

fn checked(number: u32) -> ServiceSpec {
    ServiceSpec { checks: vec![check(u64::from(number))], ..named(number) }
}

/// As many services with a HEALTHCHECK, all well.
fn host_of(count: u32) -> Rig {
    let mut rig = Rig::new(FleetSpec::default());
    for number in 0..count {
        rig.add(ServiceId(number), named(number), RestartPolicy::No, HEALTHY);
    }
    rig
}

fn sicken(rig: &mut Rig, which: impl Iterator<Item = u32>) {
    for number in which {
        rig.becomes(ServiceId(number), UNHEALTHY);
        rig.pass(Duration::from_millis(50));
    }
}

fn get_well(rig: &mut Rig, which: &std::ops::Range<u32>) {
    for _ in 0..3 {
        for number in which.clone() {
            rig.becomes(ServiceId(number), HEALTHY);
            rig.look(ServiceId(number));
        }
        rig.pass(secs(6));
    }
}

fn maintain(rig: &mut Rig, which: std::ops::Range<u32>, span: Duration) {
    let until = rig.now.mono + span;
    for number in which {
        rig.order(ServiceId(number), Order::Maintain { until, everything: false });
    }
}

/// Iaso ends and another comes after `away`; the engine has told it of all before it is up.
fn restarts(rig: &mut Rig, count: u32, away: Duration, of: impl Fn(u32) -> ServiceSpec) {
    rig.killed(false, away);
    for number in 0..count {
        rig.declare(ServiceId(number), of(number));
    }
    rig.link(UP);
}

fn touched(rig: &Rig) -> Vec<u32> {
    rig.operations.iter().map(|operation| operation.service.0).collect()
}

/// The newest operation is carried out, and helps.
fn heal(rig: &mut Rig) {
    let service = rig.operations.last().unwrap().service;
    rig.starts(service, HEALTHY);
    rig.finish(Outcome::Done);
    rig.pass(secs(20));
}

fn hold(rig: &Rig, service: u32) -> Option<Hold> {
    rig.view(ServiceId(service)).hold.map(|hold| hold.reason)
}

fn began(rig: &Rig) -> Vec<(u32, u32)> {
    let of = |event| if let Event::StormBegan { failed, of, .. } = event { Some((failed, of)) } else { None };
    rig.events().filter_map(of).collect()
}

/// Ten of twelve are paused and fail within a second, which is a storm; so nothing is under way in it.
fn untouched_storm(of: impl Fn(u32) -> ServiceSpec) -> Rig {
    let mut rig = Rig::new(FleetSpec::default());
    for number in 0..12 {
        rig.add(ServiceId(number), of(number), RestartPolicy::No, HEALTHY);
        rig.order(ServiceId(number), Order::Pause);
    }
    sicken(&mut rig, 0..10);
    for number in 0..12 {
        rig.order(ServiceId(number), Order::Resume);
    }
    assert_eq!((touched(&rig), began(&rig)), (vec![], vec![(7, 12)]));
    rig
}

#[test]
fn a_storm_in_which_iaso_ends_is_one_for_the_next_iaso() {
    let mut rig = untouched_storm(named);
    rig.pass(secs(120));
    restarts(&mut rig, 12, secs(10), named);
    assert_eq!((touched(&rig), began(&rig)), (vec![], vec![(7, 12), (10, 12)]));
    assert!((0..10).all(|number| hold(&rig, number) == Some(Hold::MassFailure)));
    // Five minutes after the last of them failed, and not after Iaso's start.
    rig.pass(secs(165));
    assert!(touched(&rig).is_empty());
    rig.pass(secs(10));
    assert_eq!(touched(&rig), [0]);
    assert_eq!(hold(&rig, 1), Some(Hold::MassFailure));
}

#[test]
fn who_comes_after_the_five_minutes_recovers_one_at_a_time() {
    let mut rig = untouched_storm(named);
    restarts(&mut rig, 12, secs(3600), named);
    assert_eq!(touched(&rig), [0]);
    for next in 1..10 {
        assert_eq!(hold(&rig, next), Some(Hold::MassFailure));
        heal(&mut rig);
        assert_eq!(touched(&rig).last(), Some(&next));
    }
    heal(&mut rig);
    assert_eq!((touched(&rig).len(), rig.said("storm_ended")), (10, 1));
}

#[test]
fn verdicts_of_checks_that_come_one_by_one_find_the_storm_of_before() {
    let mut rig = Rig::new(FleetSpec::default());
    for number in 0..12 {
        rig.add(ServiceId(number), checked(number), RestartPolicy::No, RUNNING);
        rig.order(ServiceId(number), Order::Pause);
    }
    for _ in 0..3 {
        for number in 0..10 {
            rig.check(ServiceId(number), 0, CheckResult::Failed);
        }
    }
    for number in 0..12 {
        rig.order(ServiceId(number), Order::Resume);
    }
    restarts(&mut rig, 12, secs(10), checked);
    rig.pass(secs(60));
    // The others are not asked before this one's verdict: nothing but their open outages speaks for a storm.
    for _ in 0..3 {
        rig.check(ServiceId(3), 0, CheckResult::Failed);
    }
    assert_eq!((touched(&rig), hold(&rig, 3)), (vec![], Some(Hold::MassFailure)));
}

#[test]
fn who_is_well_again_by_then_is_no_storm() {
    let mut rig = untouched_storm(named);
    for number in 0..9 {
        rig.secretly(ServiceId(number), HEALTHY);
    }
    restarts(&mut rig, 12, secs(10), named);
    get_well(&mut rig, &(0..9));
    rig.pass(secs(40));
    assert_eq!(touched(&rig), [9]);
    heal(&mut rig);
    assert_eq!((touched(&rig).len(), rig.said("storm_ended")), (1, 1));
}

#[test]
fn outages_that_began_one_after_the_other_are_no_storm_for_the_next_iaso() {
    let mut rig = host_of(8);
    for number in 0..6 {
        rig.order(ServiceId(number), Order::Pause);
        rig.becomes(ServiceId(number), UNHEALTHY);
        rig.pass(secs(20));
    }
    for number in 0..6 {
        rig.order(ServiceId(number), Order::Resume);
    }
    assert_eq!(touched(&rig), [0, 1, 2, 3, 4, 5]);
    rig.operations.clear();
    restarts(&mut rig, 8, secs(3600), named);
    assert!(began(&rig).is_empty());
}

/// Once for a link that was lost, and once for a person's pause of all: the storm had ended before, as nothing was to be done.
#[test]
fn what_was_left_alone_at_the_end_of_a_storm_is_not_healed_all_at_once_later() {
    let mut rig = untouched_storm(named);
    for number in 0..10 {
        rig.order(ServiceId(number), Order::Pause);
    }
    rig.pass(secs(310));
    assert_eq!(rig.said("storm_ended"), 1);
    rig.link(HostLink::Down);
    rig.pass(secs(60));
    for number in 0..10 {
        rig.order(ServiceId(number), Order::Resume);
    }
    rig.link(UP);
    assert_eq!(touched(&rig), [0]);
    assert!((1..10).all(|number| hold(&rig, number) == Some(Hold::MassFailure)));
}

#[test]
fn what_fails_in_step_again_and_again_puts_the_first_recovery_off_for_ten_minutes_at_most() {
    let mut rig = untouched_storm(named);
    let storm = rig.now.mono;
    // Most of them get well and fail again together, every time before it would be somebody's turn; the others stay broken.
    while touched(&rig).is_empty() {
        get_well(&mut rig, &(3..10));
        sicken(&mut rig, 3..10);
        assert!(rig.now.mono.since(storm) < secs(660), "it is never anybody's turn");
    }
    assert!(rig.now.mono.since(storm) > secs(300), "it was put off");
    assert_eq!((touched(&rig), rig.said("storm_began")), (vec![0], 1));
    assert!((1..3).all(|number| hold(&rig, number) == Some(Hold::MassFailure)), "one at a time");
}

#[test]
fn outages_under_maintenance_are_no_storm() {
    let mut rig = host_of(12);
    maintain(&mut rig, 0..8, secs(3600));
    sicken(&mut rig, 0..8);
    assert!(began(&rig).is_empty());
    assert!((0..8).all(|number| hold(&rig, number) == Some(Hold::Maintenance)));
    // Who is not under it is healed as ever.
    sicken(&mut rig, 8..9);
    assert_eq!(touched(&rig), [8]);
}

#[test]
fn who_is_under_maintenance_makes_no_storm_of_the_others_smaller() {
    let mut rig = host_of(14);
    maintain(&mut rig, 0..6, secs(3600));
    sicken(&mut rig, 6..11);
    assert_eq!(began(&rig), [(5, 8)]);
}

#[test]
fn who_is_out_of_maintenance_is_one_of_the_host_s_again_though_nothing_is_heard_of_it() {
    let mut rig = host_of(14);
    maintain(&mut rig, 0..6, secs(600));
    rig.skip(secs(600));
    sicken(&mut rig, 6..11);
    assert_eq!((touched(&rig), began(&rig)), (vec![6, 7, 8, 9, 10], vec![]));
}

#[test]
fn what_broke_together_under_maintenance_is_healed_one_at_a_time_at_its_end() {
    let mut rig = host_of(12);
    maintain(&mut rig, 0..8, secs(1800));
    sicken(&mut rig, 0..8);
    rig.pass(secs(1801));
    assert_eq!((touched(&rig), began(&rig)), (vec![0], vec![(8, 12)]));
    assert!((1..8).all(|number| hold(&rig, number) == Some(Hold::MassFailure)));
}

/// Each is told by itself that it is over.
#[test]
fn what_broke_together_before_the_end_of_a_window_or_of_everything_is_healed_one_at_a_time() {
    for by_order in [true, false] {
        let mut rig = host_of(12);
        let until = rig.now.mono + secs(1800);
        for service in (0..8).map(ServiceId) {
            if by_order {
                rig.order(service, Order::Maintain { until, everything: true });
            } else {
                rig.step(Input::Maintenance { service, until: Some(until) });
            }
        }
        sicken(&mut rig, 0..8);
        rig.skip(secs(if by_order { 600 } else { 1800 }));
        for service in (0..8).map(ServiceId) {
            if by_order {
                rig.order(service, Order::EndMaintenance { everything: true });
            } else {
                rig.step(Input::Maintenance { service, until: None });
            }
        }
        assert_eq!((touched(&rig), began(&rig)), (vec![0], vec![(8, 12)]), "by an order: {by_order}");
    }
}

/// They are no outages of their own, however long they waited.
#[test]
fn those_who_follow_a_root_that_was_healed_are_no_storm() {
    let mut rig = host_of(8);
    let need = Need { on: vec![ServiceId(0)], until: Condition::Healthy, restarts: Restarts::Never, unwatched: None };
    for number in 1..7 {
        rig.step(Input::Needs { service: ServiceId(number), needs: vec![need.clone()] });
    }
    rig.order(ServiceId(0), Order::Pause);
    sicken(&mut rig, 0..7);
    rig.pass(secs(120));
    rig.order(ServiceId(0), Order::Resume);
    heal(&mut rig);
    assert_eq!((touched(&rig), began(&rig)), (vec![0, 1, 2, 3, 4, 5, 6], vec![]));
}

#[test]
fn maintenance_keeps_no_storm_alive() {
    let mut rig = untouched_storm(named);
    maintain(&mut rig, 0..10, secs(7200));
    rig.pass(secs(310));
    assert_eq!((touched(&rig), rig.said("storm_ended")), (vec![], 1));
    sicken(&mut rig, 10..11);
    assert_eq!(touched(&rig), [10]);
}

#[test]
fn the_paused_count() {
    let mut rig = host_of(8);
    for number in 0..4 {
        rig.order(ServiceId(number), Order::Pause);
    }
    sicken(&mut rig, 0..5);
    assert_eq!((touched(&rig), began(&rig)), (vec![], vec![(5, 8)]));
}

/// A fleet whose operator wants no storms has none, whatever was open.
#[test]
fn where_nothing_is_a_storm_nothing_was_one() {
    let mut rig = untouched_storm(named);
    let never = MassFailure { min: 5, ratio: 1.0, window: secs(60) };
    rig.killed(false, secs(10));
    rig.step(Input::Rules { fleet: FleetSpec { mass_failure: never, ..FleetSpec::default() } });
    for number in 0..12 {
        rig.declare(ServiceId(number), named(number));
    }
    rig.link(UP);
    assert_eq!(touched(&rig).len(), 8, "as many as may be in flight");
}
