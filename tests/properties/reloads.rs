//! What another configuration changes, and what it must not.

use iaso_policy::action::Answer;
use iaso_policy::id::{CheckId, ServiceId};
use iaso_policy::input::{CheckResult, Order, Outcome, RestartPolicy};
use iaso_policy::record::{Ending, Event, Health, Hold, Verdict};
use iaso_policy::spec::{Budget, FleetSpec, Mode, RecoverySpec, ServiceSpec, Threshold};
use iaso_policy::{Action, Input};

use crate::rig::{RUNNING, Rig, check, secs, spec};

const WEB: ServiceId = ServiceId(0);
const DB: ServiceId = ServiceId(1);

fn with_budget(max: u32) -> ServiceSpec {
    let restarts = Budget { max, window: secs(3600) };
    ServiceSpec { recovery: RecoverySpec { restarts, ..RecoverySpec::default() }, ..spec("web") }
}

/// Dies and is healed once.
fn heal(rig: &mut Rig, service: ServiceId) {
    rig.dies(service, 1);
    rig.carry_out();
    rig.pass(secs(60));
}

#[test]
fn what_was_spent_is_spent_by_a_service_that_comes_back() {
    let mut rig = Rig::with(with_budget(1), RestartPolicy::No);
    heal(&mut rig, WEB);
    for away in [0, 600] {
        rig.undeclare(WEB);
        assert_eq!(rig.policy.view(WEB), None);
        rig.pass(secs(away));
        rig.declare(WEB, with_budget(1));
        assert_eq!(rig.view(WEB).budget_remaining, 0);
    }
    rig.dies(WEB, 1);
    assert_eq!(rig.hold(), Some(Hold::Budget));
    assert_eq!(rig.operations.len(), 1);
    // And no longer than it would have been.
    rig.pass(secs(3600));
    assert_eq!(rig.operations.len(), 2);
}

#[test]
fn what_a_service_that_has_gone_had_spent_of_its_host_is_spent() {
    let host_budget = Budget { max: 1, window: secs(600) };
    let mut rig = Rig::new(FleetSpec { host_budget, ..FleetSpec::default() });
    rig.add(WEB, spec("web"), RestartPolicy::No, RUNNING);
    heal(&mut rig, WEB);
    rig.undeclare(WEB);
    rig.add(DB, spec("db"), RestartPolicy::No, RUNNING);
    rig.dies(DB, 1);
    assert_eq!(rig.view(DB).hold.map(|hold| hold.reason), Some(Hold::HostBudget));
}

#[test]
fn what_a_person_wanted_and_what_has_worked_outlive_the_absence() {
    let checked = ServiceSpec { checks: vec![check(7)], ..spec("web") };
    let mut rig = Rig::with(checked.clone(), RestartPolicy::No);
    rig.order(WEB, Order::Pause);
    rig.undeclare(WEB);
    rig.declare(WEB, checked.clone());
    assert!(rig.view(WEB).paused && rig.view(WEB).checks[0].proven);
    rig.order(WEB, Order::Resume);
    rig.stopped_by_a_person(WEB);
    rig.undeclare(WEB);
    rig.declare(WEB, checked);
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::OperatorStopped), 0));
}

#[test]
fn an_operation_under_way_ends_before_its_service_does_and_nothing_follows() {
    let mut rig = Rig::with(spec("web"), RestartPolicy::No);
    rig.dies(WEB, 1);
    rig.undeclare(WEB);
    assert_eq!(rig.verdicts(), []);
    assert_eq!(rig.order(WEB, Order::Restart { now: true }), Answer::NoTarget);
    // Failed or not even begun: nothing is tried again.
    rig.finish(Outcome::Uncharged);
    assert_eq!((rig.policy.view(WEB), rig.verdicts()), (None, vec![Verdict::Dropped]));
    rig.pass(secs(3600));
    assert_eq!(rig.operations.len(), 1);
    let closed = rig.events().any(|event| matches!(event, Event::IncidentClosed { ending: Ending::Gone, .. }));
    assert!(closed, "its outage is told to be over");
}

#[test]
fn a_service_that_comes_back_during_its_operation_goes_on() {
    let mut rig = Rig::with(spec("web"), RestartPolicy::No);
    rig.dies(WEB, 1);
    let outage = rig.view(WEB).incident.unwrap().incident;
    rig.undeclare(WEB);
    rig.declare(WEB, spec("web"));
    rig.pass(secs(5));
    assert_eq!(rig.operations.len(), 1, "a second one beside the first");
    rig.carry_out();
    rig.pass(secs(60));
    assert_eq!(rig.verdicts(), [Verdict::Healed]);
    assert!(rig.records.iter().all(|record| record.incident.is_none_or(|incident| incident == outage)));
}

#[test]
fn an_attempt_that_is_being_verified_ends_with_its_service() {
    let mut rig = Rig::with(spec("web"), RestartPolicy::No);
    rig.dies(WEB, 1);
    rig.carry_out();
    rig.undeclare(WEB);
    assert_eq!((rig.policy.view(WEB), rig.verdicts()), (None, vec![Verdict::Superseded]));
}

#[test]
fn an_outage_goes_on_under_another_threshold() {
    let failing = |failures| {
        let mut made = with_budget(5);
        made.checks = vec![iaso_policy::spec::CheckSpec { failure: Threshold::in_a_row(failures), ..check(7) }];
        made
    };
    let mut rig = Rig::with(failing(3), RestartPolicy::No);
    for _ in 0..3 {
        rig.check(WEB, 0, CheckResult::Failed);
    }
    rig.finish(Outcome::Failed);
    let before = rig.view(WEB);
    rig.declare(WEB, failing(2));
    let after = rig.view(WEB);
    assert_eq!((before.incident, before.budget_remaining), (after.incident, after.budget_remaining));
    assert_eq!((before.checks, before.hold), (after.checks, after.hold));
    assert_eq!(after.health, Health::Unhealthy);
}

#[test]
fn checks_are_told_their_cadence_anew_when_they_are_changed() {
    let with = |interval| {
        let mut made = spec("web");
        made.checks = vec![iaso_policy::spec::CheckSpec { interval: secs(interval), ..check(7) }];
        made
    };
    let mut rig = Rig::with(with(30), RestartPolicy::No);
    rig.check(WEB, 0, CheckResult::Failed);
    rig.step(Input::Define { service: WEB, spec: Box::new(with(60)) });
    let every = |every| Action::Cadence { service: WEB, check: CheckId(0), every: secs(every) };
    assert!(rig.out.contains(&every(5)), "it fails: {:?}", rig.out);
    rig.check(WEB, 0, CheckResult::Passed);
    assert!(rig.out.contains(&every(60)), "{:?}", rig.out);
    let quick = FleetSpec { failing_interval: secs(2), ..FleetSpec::default() };
    rig.check(WEB, 0, CheckResult::Failed);
    rig.step(Input::Rules { fleet: quick });
    assert_eq!(rig.out, [every(2)]);
}

#[test]
fn the_same_definition_once_more_is_nothing() {
    let made = ServiceSpec { checks: vec![check(7)], ..spec("web") };
    let mut rig = Rig::with(made.clone(), RestartPolicy::No);
    rig.check(WEB, 0, CheckResult::Failed);
    rig.step(Input::Define { service: WEB, spec: Box::new(made) });
    assert_eq!(rig.out, []);
}

#[test]
fn looser_rules_set_free_and_stricter_ones_hold() {
    let max = |max| FleetSpec { host_budget: Budget { max, window: secs(600) }, ..FleetSpec::default() };
    let mut rig = Rig::new(max(0));
    rig.add(WEB, spec("web"), RestartPolicy::No, RUNNING);
    rig.dies(WEB, 1);
    assert_eq!(rig.hold(), Some(Hold::HostBudget));
    rig.rules(max(1));
    assert_eq!(rig.operations.len(), 1);
    rig.carry_out();
    rig.pass(secs(60));
    rig.rules(max(5));
    rig.rules(FleetSpec { observe: true, ..max(5) });
    rig.dies(WEB, 1);
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Observe), 1));
    // One of five is spent: that is not forgotten by the rules in between.
    rig.rules(max(1));
    assert_eq!(rig.hold(), Some(Hold::HostBudget));
}

#[test]
fn another_configuration_is_taken_on_whole_before_anything_is_decided_by_it() {
    let mode = |mode| ServiceSpec { recovery: RecoverySpec { mode, ..RecoverySpec::default() }, ..spec("web") };
    let rules = |observe| FleetSpec { observe, ..FleetSpec::default() };
    // What held is lifted, while what did not hold before does: by neither half alone might it act.
    let mut rig = Rig::new(rules(true));
    rig.add(WEB, mode(Mode::Auto), RestartPolicy::No, RUNNING);
    rig.dies(WEB, 1);
    rig.step(Input::Rules { fleet: rules(false) });
    rig.step(Input::Define { service: WEB, spec: Box::new(mode(Mode::Off)) });
    rig.pass(secs(60));
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Mode), 0));
    rig.step(Input::Rules { fleet: rules(true) });
    rig.step(Input::Define { service: WEB, spec: Box::new(mode(Mode::Auto)) });
    rig.pass(secs(60));
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Observe), 0));
    rig.rules(rules(false));
    assert_eq!(rig.operations.len(), 1);
}
