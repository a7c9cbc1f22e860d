//! Maintenance, by a calendar and by a person's order; and outages that a person takes care of.

use std::time::Duration;

use iaso_policy::Action;
use iaso_policy::Input;
use iaso_policy::action::{Answer, Cause, Operation, RolloutResult};
use iaso_policy::id::{CredentialKey, OrderId, RolloutId, ServiceId};
use iaso_policy::input::{Order, Outcome, RestartPolicy, RolloutStep, State};
use iaso_policy::record::{Event, Hold, Verdict};
use iaso_policy::spec::{Budget, OnQuarantine, Step};
use iaso_policy::time::Mono;

use crate::rig::{HEALTHY, RUNNING, Rig, UNHEALTHY, secs, spec};

const WEB: ServiceId = ServiceId(0);
const DB: ServiceId = ServiceId(1);
const HOUR: Duration = Duration::from_secs(3600);

fn web() -> Rig {
    Rig::with(spec("web"), RestartPolicy::No)
}

/// A calendar's window is open for so long from now.
fn opens(rig: &mut Rig, span: Duration) {
    let until = Some(rig.now.mono + span);
    rig.step(Input::Maintenance { service: WEB, until });
}

fn maintain(rig: &mut Rig, service: ServiceId, span: Duration, everything: bool) {
    let until = rig.now.mono + span;
    assert_eq!(rig.order(service, Order::Maintain { until, everything }), Answer::Done);
}

fn end(rig: &mut Rig, everything: bool) {
    assert_eq!(rig.order(WEB, Order::EndMaintenance { everything }), Answer::Done);
}

#[test]
fn what_breaks_in_a_window_is_left_alone_and_healed_at_its_end() {
    let mut rig = web();
    opens(&mut rig, HOUR);
    rig.dies(WEB, 1);
    rig.pass(HOUR - secs(1));
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Maintenance), 0));
    assert_eq!(rig.view(WEB).hold.unwrap().until, rig.view(WEB).maintained_until);
    rig.pass(secs(2));
    assert_eq!(rig.operations.len(), 1, "it ends by itself");
    rig.carry_out();
    rig.pass(secs(15));
    assert_eq!((rig.verdicts(), rig.view(WEB).maintained_until), (vec![Verdict::Healed], None));
}

#[test]
fn what_got_well_in_a_window_is_not_touched_at_its_end() {
    let mut rig = web();
    opens(&mut rig, HOUR);
    rig.becomes(WEB, UNHEALTHY);
    rig.pass(secs(600));
    rig.becomes(WEB, HEALTHY);
    rig.pass(HOUR);
    assert_eq!((rig.operations.len(), rig.view(WEB).incident), (0, None));
}

#[test]
fn a_window_that_is_told_anew_or_closed_early_counts_as_it_was_told_last() {
    let mut rig = web();
    opens(&mut rig, secs(60));
    rig.dies(WEB, 1);
    // The wall clock was set back: there is a day more of it.
    opens(&mut rig, 24 * HOUR);
    rig.pass(HOUR);
    assert_eq!(rig.operations.len(), 0);
    rig.step(Input::Maintenance { service: WEB, until: None });
    assert_eq!(rig.operations.len(), 1, "it was set forward: the window is over");
}

#[test]
fn a_person_may_restart_and_end_it_early_whoever_began_it() {
    let mut rig = web();
    opens(&mut rig, HOUR);
    maintain(&mut rig, WEB, HOUR, false);
    rig.dies(WEB, 1);
    assert!(matches!(rig.order(WEB, Order::Restart { now: false }), Answer::Begun(_)));
    rig.carry_out();
    rig.pass(secs(30));
    rig.dies(WEB, 1);
    rig.pass(secs(60));
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Maintenance), 1));
    end(&mut rig, false);
    assert_eq!((rig.operations.len(), rig.said("maintenance_ended")), (2, 1));
}

#[test]
fn an_attempt_under_way_is_finished_and_no_other_begun() {
    let mut rig = web();
    rig.dies(WEB, 1);
    maintain(&mut rig, WEB, HOUR, false);
    rig.starts(WEB, UNHEALTHY);
    rig.finish(Outcome::Done);
    rig.pass(secs(1800));
    assert_eq!(
        (rig.verdicts(), rig.hold(), rig.operations.len()),
        (vec![Verdict::NotHealed], Some(Hold::Maintenance), 1)
    );
    rig.pass(secs(1801));
    assert_eq!(rig.operations.len(), 2);
}

#[test]
fn what_is_to_be_stopped_in_quarantine_is_not_stopped_in_a_window() {
    let mut stopped = spec("web");
    stopped.recovery.max_attempts = 1;
    stopped.recovery.on_quarantine = OnQuarantine::Stop;
    let mut rig = Rig::with(stopped, RestartPolicy::No);
    rig.becomes(WEB, UNHEALTHY);
    rig.starts(WEB, UNHEALTHY);
    opens(&mut rig, 2 * HOUR);
    rig.finish(Outcome::Done);
    rig.pass(HOUR);
    assert_eq!(rig.operations.iter().filter(|operation| operation.step == Step::Stop).count(), 0);
    rig.pass(HOUR + secs(1));
    assert_eq!(rig.operations.last().unwrap().step, Step::Stop);
}

#[test]
fn ordered_maintenance_outlives_iaso_and_a_wall_clock_that_jumps_changes_nothing() {
    let mut rig = web();
    maintain(&mut rig, WEB, HOUR, false);
    let until = rig.view(WEB).maintained_until;
    rig.wall_jumps(86_400_000);
    rig.killed(false, secs(60));
    rig.resumes(spec("web"));
    assert_eq!(rig.view(WEB).maintained_until, until);
    rig.pass(secs(60));
    rig.dies(WEB, 1);
    rig.pass(HOUR - secs(125));
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Maintenance), 0));
    rig.pass(secs(10));
    assert_eq!(rig.operations.len(), 1);
}

#[test]
fn maintenance_of_everything_covers_what_comes_later_also_after_a_restart_of_iaso() {
    let mut rig = web();
    maintain(&mut rig, WEB, HOUR, true);
    rig.add(DB, spec("db"), RestartPolicy::No, RUNNING);
    assert_eq!(rig.view(DB).maintained_until, rig.view(WEB).maintained_until);
    rig.killed(true, secs(1));
    rig.resumes(spec("web"));
    let cache = ServiceId(2);
    rig.add(cache, spec("cache"), RestartPolicy::No, RUNNING);
    assert_eq!(rig.view(cache).maintained_until, rig.view(WEB).maintained_until);
    end(&mut rig, true);
    let late = ServiceId(3);
    rig.add(late, spec("late"), RestartPolicy::No, RUNNING);
    assert_eq!(rig.view(late).maintained_until, None);
}

#[test]
fn a_persons_newest_word_of_a_service_counts_more_than_an_older_one_of_everything() {
    let mut rig = web();
    rig.add(DB, spec("db"), RestartPolicy::No, RUNNING);
    for service in [WEB, DB] {
        maintain(&mut rig, service, HOUR, true);
    }
    rig.pass(secs(10));
    end(&mut rig, false);
    rig.killed(true, secs(1));
    rig.resumes(spec("web"));
    rig.declare(DB, spec("db"));
    assert_eq!(rig.view(WEB).maintained_until, None);
    assert!(rig.view(DB).maintained_until.is_some());
}

#[test]
fn law_5_an_operation_under_maintenance_is_refused_by_the_judge_and_an_undo_is_not() {
    let mut rig = web();
    rig.dies(WEB, 1);
    rig.carry_out();
    rig.pass(secs(30));
    let operation = rig.operations[0];
    opens(&mut rig, secs(60));
    let judge = |rig: &Rig, cause| {
        let operation = Operation { cause, ..operation };
        rig.judges.clone().judge(rig.now, &Action::Operate(operation)).err().map(|violation| violation.law)
    };
    let credential = |undo| Cause::Credential { credential: CredentialKey(7), rollout: RolloutId(1), undo };
    let steps = vec![RolloutStep { service: WEB, step: Step::Restart, has_it: false }];
    let cap = Budget { max: 6, window: HOUR };
    rig.judges.hear(&Input::RollOut {
        rollout: RolloutId(1),
        credential: CredentialKey(7),
        steps,
        cap,
        splay: Duration::ZERO,
        undoable: true,
    });
    assert_eq!(judge(&rig, Cause::Recovery), Some(5));
    assert_eq!(judge(&rig, Cause::Operator), None);
    assert_ne!(judge(&rig, credential(true)), Some(5));
    rig.skip(secs(60));
    assert_eq!(judge(&rig, Cause::Recovery), None, "it is over");
    rig.judges.hear(&Input::Order {
        service: WEB,
        id: OrderId(9),
        order: Order::Maintain { until: Mono(rig.now.mono.0 + 1), everything: false },
    });
    assert_eq!(judge(&rig, Cause::Recovery), Some(5));
}

#[test]
fn a_changed_credential_waits_for_the_end_of_the_window_and_an_undo_does_not() {
    let mut rig = web();
    rig.add(DB, spec("db"), RestartPolicy::No, RUNNING);
    let step = |service| RolloutStep { service, step: Step::Restart, has_it: false };
    let first = RolloutId(1);
    maintain(&mut rig, DB, HOUR, false);
    rig.step(Input::RollOut {
        rollout: first,
        credential: CredentialKey(7),
        steps: vec![step(WEB), step(DB)],
        cap: Budget { max: 6, window: HOUR },
        splay: Duration::ZERO,
        undoable: true,
    });
    rig.carry_out();
    rig.pass(secs(60));
    let waits = |event| if let Event::RolloutHeld { reason, .. } = event { Some(reason) } else { None };
    assert_eq!(rig.events().filter_map(waits).collect::<Vec<_>>(), [Hold::Maintenance]);
    assert_eq!(rig.for_credentials(), [(WEB, Step::Restart, false)]);
    opens(&mut rig, HOUR);
    rig.pass(HOUR);
    rig.carry_out();
    rig.pass(secs(30));
    assert_eq!(rig.rolled_out, [(first, false, RolloutResult::Done)]);
    maintain(&mut rig, WEB, HOUR, false);
    rig.step(Input::Undo { rollout: first });
    rig.carry_out();
    rig.pass(secs(30));
    rig.carry_out();
    rig.pass(secs(30));
    assert_eq!(rig.rolled_out.last(), Some(&(first, true, RolloutResult::Done)));
    assert!(rig.for_credentials().contains(&(WEB, Step::Restart, true)));
}

#[test]
fn an_outage_is_acknowledged_until_it_is_over_or_for_as_long_as_was_said() {
    let acknowledged = |rig: &Rig| rig.view(WEB).incident.and_then(|incident| incident.acknowledged).is_some();
    let mut rig = web();
    assert_eq!(rig.order(WEB, Order::Acknowledge { until: None }), Answer::NoIncident);
    rig.order(WEB, Order::Pause);
    rig.dies(WEB, 1);
    assert!(!acknowledged(&rig));
    assert_eq!(rig.order(WEB, Order::Acknowledge { until: None }), Answer::Done);
    assert!(acknowledged(&rig));
    rig.killed(false, secs(600));
    rig.resumes(spec("web"));
    assert!(acknowledged(&rig), "also after a restart of Iaso");
    rig.starts(WEB, RUNNING);
    rig.pass(secs(30));
    assert_eq!(rig.view(WEB).incident, None);
    rig.becomes(WEB, State::Exited { code: 1, witness: iaso_policy::input::Witness::Event });
    assert!(!acknowledged(&rig), "another outage");
    let until = Some(rig.now.mono + HOUR);
    rig.order(WEB, Order::Acknowledge { until });
    rig.pass(HOUR - secs(1));
    assert!(acknowledged(&rig));
    rig.pass(secs(2));
    rig.step(Input::Tick);
    assert!(!acknowledged(&rig));
}

#[test]
fn the_end_of_everything_reaches_who_is_not_there_also_across_a_restart_of_iaso() {
    for restarts in [false, true] {
        let mut rig = web();
        rig.add(DB, spec("db"), RestartPolicy::No, RUNNING);
        for service in [WEB, DB] {
            maintain(&mut rig, service, HOUR, true);
        }
        rig.undeclare(DB);
        rig.pass(secs(10));
        end(&mut rig, true);
        if restarts {
            rig.killed(false, secs(10));
            rig.resumes(spec("web"));
        }
        rig.declare(DB, spec("db"));
        let late = ServiceId(2);
        rig.add(late, spec("late"), RestartPolicy::No, RUNNING);
        for service in [WEB, DB, late] {
            assert_eq!(rig.view(service).maintained_until, None, "{service:?}, restarts: {restarts}");
        }
        rig.dies(DB, 1);
        assert_eq!(rig.operations.len(), 1, "restarts: {restarts}");
    }
}

#[test]
fn a_newer_order_for_everything_counts_more_than_its_end_before() {
    let mut rig = web();
    rig.add(DB, spec("db"), RestartPolicy::No, RUNNING);
    maintain(&mut rig, WEB, HOUR, true);
    maintain(&mut rig, DB, HOUR, true);
    rig.undeclare(DB);
    end(&mut rig, true);
    rig.pass(secs(10));
    maintain(&mut rig, WEB, 2 * HOUR, true);
    rig.killed(false, secs(10));
    rig.resumes(spec("web"));
    rig.declare(DB, spec("db"));
    assert!(rig.view(WEB).maintained_until.is_some());
    assert_eq!(rig.view(DB).maintained_until, rig.view(WEB).maintained_until);
}

#[test]
fn that_a_person_ended_a_window_is_remembered_across_a_restart_of_iaso() {
    let mut rig = web();
    opens(&mut rig, HOUR);
    assert_eq!(rig.policy.maintenance_ended(WEB), None);
    end(&mut rig, false);
    let ended = Some(rig.now.mono);
    rig.wall_jumps(-86_400_000);
    rig.killed(false, secs(60));
    rig.resumes(spec("web"));
    assert_eq!(rig.policy.maintenance_ended(WEB), ended);
    // Their newest word is another.
    maintain(&mut rig, WEB, HOUR, false);
    assert_eq!(rig.policy.maintenance_ended(WEB), None);
}
