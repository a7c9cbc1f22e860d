//! What becomes of a changed credential on its way to the services that use it.

use std::time::Duration;

use iaso_policy::action::{Answer, Cause, Charge, RolloutResult};
use iaso_policy::id::{CredentialKey, HostId, Identity, RolloutId, ServiceId};
use iaso_policy::input::{CheckResult, Exempt, HostLink, Order, Outcome, RestartPolicy, RolloutStep, Sight, State};
use iaso_policy::laws::Judges;
use iaso_policy::memory::Restored;
use iaso_policy::record::{Event, Hold, Verdict};
use iaso_policy::spec::{Budget, FleetSpec, Mode, ServiceSpec, Step};
use iaso_policy::time::Now;
use iaso_policy::{Action, Input, Record};

use crate::rig::{HEALTHY, RUNNING, Rig, Truth, UNHEALTHY, check, secs, spec};

const DB: ServiceId = ServiceId(0);
const API: ServiceId = ServiceId(1);
const WEB: ServiceId = ServiceId(2);
const FAR: ServiceId = ServiceId(3);
const ALL: [ServiceId; 3] = [DB, API, WEB];

const KEY: CredentialKey = CredentialKey(7);
const FIRST: RolloutId = RolloutId(1);
const SECOND: RolloutId = RolloutId(2);

const SPLAY: Duration = Duration::from_secs(5);

/// Three services that run well.
fn rig() -> Rig {
    rig_of(FleetSpec::default())
}

fn rig_of(fleet: FleetSpec) -> Rig {
    let mut rig = Rig::new(fleet);
    for (service, name) in ALL.into_iter().zip(["db", "api", "web"]) {
        rig.add(service, spec(name), RestartPolicy::No, RUNNING);
    }
    rig
}

fn ask(rig: &mut Rig, rollout: RolloutId, services: &[ServiceId], max: u32, undoable: bool) {
    ask_for(rig, rollout, services, Step::Restart, max, undoable);
}

const fn told(service: ServiceId, step: Step) -> RolloutStep {
    RolloutStep { service, step, has_it: false }
}

/// Asks for one that some of the services have loaded already.
fn ask_where(rig: &mut Rig, has_it: &[ServiceId], services: &[ServiceId], undoable: bool) {
    let step = |service: &ServiceId| RolloutStep { has_it: has_it.contains(service), ..told(*service, Step::Restart) };
    let (steps, cap) = (services.iter().map(step).collect(), Budget { max: 6, window: secs(3600) });
    rig.step(Input::RollOut { rollout: FIRST, credential: KEY, steps, cap, splay: SPLAY, undoable });
}

/// Another credential's.
fn ask_other(rig: &mut Rig, rollout: RolloutId, services: &[ServiceId]) {
    let steps = services.iter().map(|service| told(*service, Step::Restart)).collect();
    let (credential, cap) = (CredentialKey(8), Budget { max: 20, window: secs(3600) });
    rig.step(Input::RollOut { rollout, credential, steps, cap, splay: SPLAY, undoable: true });
}

fn ask_for(rig: &mut Rig, rollout: RolloutId, services: &[ServiceId], step: Step, max: u32, undoable: bool) {
    let steps = services.iter().map(|service| told(*service, step)).collect();
    let cap = Budget { max, window: secs(3600) };
    rig.step(Input::RollOut { rollout, credential: KEY, steps, cap, splay: SPLAY, undoable });
}

/// Carries out the newest operation and lets it prove itself, and the splay pass.
fn carry_through(rig: &mut Rig) {
    rig.carry_out();
    rig.pass(secs(14) + SPLAY);
}

/// Carries out the newest operation, after which the service is broken.
fn break_it(rig: &mut Rig) {
    let service = rig.operations.last().unwrap().service;
    rig.starts(service, UNHEALTHY);
    rig.finish(Outcome::Done);
}

fn holds(rig: &Rig) -> Vec<Hold> {
    rig.events()
        .filter_map(|event| if let Event::RolloutHeld { reason, .. } = event { Some(reason) } else { None })
        .collect()
}

fn skips(rig: &Rig) -> Vec<Option<Hold>> {
    let skip = |event| if let Event::RolloutSkipped { reason, .. } = event { Some(reason) } else { None };
    rig.events().filter_map(skip).collect()
}

fn results(rig: &Rig) -> Vec<RolloutResult> {
    rig.rolled_out.iter().map(|(_, _, result)| *result).collect()
}

fn services(rig: &Rig) -> Vec<ServiceId> {
    rig.for_credentials().into_iter().map(|(service, ..)| service).collect()
}

#[test]
fn it_goes_through_in_the_order_asked_for_one_at_a_time_each_verified_before_the_next() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &ALL, 6, true);
    assert_eq!(services(&rig), [DB], "without delay");
    assert_eq!(rig.operations[0].charge, Charge::Stored);
    rig.pass(secs(60));
    assert_eq!(services(&rig), [DB], "not answered yet");
    rig.carry_out();
    rig.pass(secs(9));
    assert_eq!(rig.verdicts(), [], "not yet healthy for long enough");
    rig.pass(secs(5));
    assert_eq!((rig.verdicts(), services(&rig)), (vec![Verdict::Healed], vec![DB]), "the splay is not over");
    rig.pass(SPLAY);
    assert_eq!(services(&rig), [DB, API]);
    carry_through(&mut rig);
    assert_eq!(results(&rig), []);
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!((services(&rig), results(&rig)), (ALL.to_vec(), vec![RolloutResult::Done]));
    rig.pass(secs(7200));
    assert_eq!(services(&rig), ALL, "once for each container");
    assert_eq!(rig.view(DB).incident, None);
}

#[test]
fn all_of_it_is_set_aside_before_the_first_step_or_it_does_not_begin() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &ALL, 6, true);
    let names: Vec<&str> = rig.out_names();
    let begun = names.iter().position(|name| *name == "operation_begun").unwrap();
    assert_eq!(names[..begun].iter().filter(|name| **name == "operations_reserved").count(), 3);
    for _ in ALL {
        carry_through(&mut rig);
    }
    assert_eq!(results(&rig), [RolloutResult::Done]);
    // Three are spent, and three are still set aside for the undo.
    rig.step(Input::Settle { rollout: FIRST });
    ask(&mut rig, SECOND, &[DB, API], 6, true);
    assert_eq!((services(&rig).len(), holds(&rig)), (3, vec![Hold::Budget]));
    rig.pass(secs(3550));
    assert_eq!(
        (services(&rig).len(), holds(&rig)),
        (4, vec![Hold::Budget]),
        "when the oldest leave the window, and told once"
    );
}

#[test]
fn more_than_the_whole_cap_is_refused() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &ALL, 5, true);
    assert_eq!((results(&rig), services(&rig)), (vec![RolloutResult::Refused(Hold::Budget)], vec![]));
    ask(&mut rig, SECOND, &ALL, 5, false);
    assert_eq!(services(&rig), [DB]);
}

#[test]
fn a_host_has_room_for_all_of_it_or_it_waits_and_what_is_set_aside_is_not_anothers() {
    let host_budget = Budget { max: 5, window: secs(600) };
    let mut rig = rig_of(FleetSpec { host_budget, ..FleetSpec::default() });
    rig.dies(WEB, 1);
    rig.carry_out();
    rig.pass(secs(14));
    rig.dies(WEB, 1);
    rig.pass(secs(20));
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!(rig.operations.len(), 2);
    ask(&mut rig, FIRST, &[DB, API], 20, true);
    assert_eq!((holds(&rig), services(&rig)), (vec![Hold::HostBudget], vec![]));
    rig.pass(secs(600));
    assert_eq!(services(&rig), [DB]);
    // One is spent and three are set aside: one is left.
    rig.pass(secs(1));
    rig.becomes(WEB, HEALTHY);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(rig.operations.len(), 4);
    break_it(&mut rig);
    rig.pass(secs(30));
    assert_eq!(rig.view(WEB).hold.unwrap().reason, Hold::HostBudget);
    rig.operations.retain(|operation| operation.service == DB);
    rig.carry_out();
    rig.pass(secs(14));
    rig.step(Input::Settle { rollout: FIRST });
    assert_eq!(rig.operations.last().unwrap().service, WEB, "what was given back is free at once");
}

#[test]
fn with_the_store_down_it_waits_and_an_undo_does_not() {
    let mut rig = rig();
    rig.step(Input::Store { up: false });
    ask(&mut rig, FIRST, &[DB], 6, true);
    assert_eq!((holds(&rig), services(&rig)), (vec![Hold::Store], vec![]));
    rig.step(Input::Store { up: true });
    assert_eq!(services(&rig), [DB]);
    rig.finish(Outcome::Uncharged);
    rig.pass(secs(60));
    assert_eq!((holds(&rig), services(&rig)), (vec![Hold::Store, Hold::Store], vec![DB]));
    rig.step(Input::Store { up: true });
    assert_eq!(services(&rig), [DB, DB], "the first was never carried out");
    break_it(&mut rig);
    assert_eq!(results(&rig), [RolloutResult::Failed(DB)]);
    rig.step(Input::Store { up: false });
    rig.step(Input::Undo { rollout: FIRST });
    assert_eq!(rig.for_credentials().last(), Some(&(DB, Step::Restart, true)));
    assert_eq!(rig.operations.last().unwrap().charge, Charge::Memory);
}

#[test]
fn one_that_breaks_ends_it_and_is_left_alone_until_it_is_decided_whether_it_is_undone() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &ALL, 6, true);
    carry_through(&mut rig);
    break_it(&mut rig);
    assert_eq!((rig.verdicts().last(), results(&rig)), (Some(&Verdict::NotHealed), vec![RolloutResult::Failed(API)]));
    assert_eq!(rig.view(API).hold.unwrap().reason, Hold::InFlight);
    rig.pass(secs(59));
    assert_eq!(services(&rig), [DB, API], "the rest is not touched");
    assert_eq!(rig.operations.len(), 2, "nor is it healed");
    rig.pass(secs(2));
    assert_eq!(
        rig.operations.last().map(|operation| (operation.service, operation.cause)),
        Some((API, Cause::Recovery))
    );
}

#[test]
fn an_undo_goes_first_to_whom_the_change_broke_and_then_to_whoever_learned_of_it_without_delay() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &ALL, 6, true);
    carry_through(&mut rig);
    break_it(&mut rig);
    rig.pass(secs(30));
    rig.step(Input::Undo { rollout: FIRST });
    assert_eq!(rig.for_credentials().last(), Some(&(API, Step::Restart, true)));
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!(rig.for_credentials().last(), Some(&(DB, Step::Restart, true)), "no splay");
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!(rig.rolled_out.last(), Some(&(FIRST, true, RolloutResult::Done)));
    assert_eq!((services(&rig), rig.view(API).incident), (vec![DB, API, API, DB], None), "web had learned of nothing");
}

#[test]
fn a_lost_host_holds_its_own_services_alone() {
    let mut rig = rig();
    let far = HostId(1);
    let spec = ServiceSpec::new(Identity::container("far", "far").unwrap(), far);
    rig.step(Input::Host { host: far, link: HostLink::Down });
    rig.add(FAR, spec, RestartPolicy::No, RUNNING);
    ask(&mut rig, FIRST, &[FAR, DB, API], 6, true);
    assert_eq!((services(&rig), holds(&rig)), (vec![DB], vec![]));
    carry_through(&mut rig);
    carry_through(&mut rig);
    assert_eq!((services(&rig), holds(&rig), results(&rig)), (vec![DB, API], vec![Hold::HostDown], vec![]));
    rig.step(Input::Host { host: far, link: HostLink::Up { engine_started: false } });
    assert_eq!(services(&rig), [DB, API, FAR]);
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!(results(&rig), [RolloutResult::Done]);
}

#[test]
fn an_undo_goes_on_beside_a_deployment_and_comes_back_to_it() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 6, true);
    carry_through(&mut rig);
    carry_through(&mut rig);
    rig.step(Input::Change { service: DB });
    rig.step(Input::Undo { rollout: FIRST });
    assert_eq!(rig.for_credentials().last(), Some(&(API, Step::Restart, true)));
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!((holds(&rig), services(&rig)), (vec![Hold::PlannedChange], vec![DB, API, API]));
    rig.pass(secs(300));
    assert_eq!(services(&rig), [DB, API, API, DB]);
}

#[test]
fn what_a_rollout_that_is_over_had_set_aside_is_free_to_the_judge() {
    let host_budget = Budget { max: 1, window: secs(600) };
    let fleet = FleetSpec { host_budget, ..FleetSpec::default() };
    let mut judges = Judges::new(&fleet, &Restored::nothing(), rig().now);
    let now = rig().now;
    judges.hear(&Input::Define { service: DB, spec: Box::new(spec("db")) });
    for rollout in [FIRST, SECOND] {
        let (steps, cap) = (vec![told(DB, Step::Restart)], Budget { max: 1, window: secs(3600) });
        judges.hear(&Input::RollOut { rollout, credential: KEY, steps, cap, splay: SPLAY, undoable: false });
    }
    for rollout in [FIRST, SECOND] {
        let event = Event::Reserved { rollout, credential: KEY, operations: 1 };
        let reserved = Action::Record(Record { now, service: DB, incident: None, event });
        assert_eq!(judges.judge(now, &reserved), Ok(()));
        let over = Action::RolledOut { rollout, undo: false, result: RolloutResult::Done };
        assert_eq!(judges.judge(now, &over), Ok(()));
    }
}

#[test]
fn an_undo_that_does_not_help_goes_on_with_the_others_and_says_so() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 6, true);
    carry_through(&mut rig);
    break_it(&mut rig);
    rig.step(Input::Undo { rollout: FIRST });
    break_it(&mut rig);
    assert_eq!(services(&rig), [DB, API, API, DB]);
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!(rig.rolled_out.last(), Some(&(FIRST, true, RolloutResult::Failed(API))));
}

#[test]
fn an_undo_is_held_by_no_budget_no_backoff_and_no_quarantine() {
    let mut troubled = spec("db");
    troubled.recovery.max_attempts = 1;
    let mut rig = Rig::new(FleetSpec { host_budget: Budget { max: 3, window: secs(86_400) }, ..FleetSpec::default() });
    rig.add(DB, troubled, RestartPolicy::No, RUNNING);
    ask(&mut rig, FIRST, &[DB], 2, true);
    break_it(&mut rig);
    rig.pass(secs(61));
    break_it(&mut rig);
    rig.pass(secs(1));
    assert!(rig.view(DB).quarantine.is_some());
    rig.step(Input::Undo { rollout: FIRST });
    assert_eq!(rig.for_credentials().last(), Some(&(DB, Step::Restart, true)));
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!(rig.rolled_out.last(), Some(&(FIRST, true, RolloutResult::Done)));
    assert!(rig.view(DB).quarantine.is_none());
}

#[test]
fn an_undo_that_comes_while_a_step_is_under_way_waits_for_it() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 6, true);
    rig.step(Input::Undo { rollout: FIRST });
    assert_eq!(services(&rig), [DB]);
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!(rig.for_credentials(), [(DB, Step::Restart, false), (DB, Step::Restart, true)]);
    assert_eq!(rig.rolled_out, [(FIRST, false, RolloutResult::Replaced)]);
}

#[test]
fn what_was_never_set_aside_is_not_undone() {
    let mut rig = rig();
    rig.step(Input::Undo { rollout: FIRST });
    ask(&mut rig, SECOND, &[DB], 6, false);
    rig.step(Input::Undo { rollout: SECOND });
    let refused = RolloutResult::Refused(Hold::Budget);
    assert_eq!(rig.rolled_out, [(FIRST, true, refused), (SECOND, true, refused)]);
    rig.carry_out();
    rig.pass(secs(20));
    assert_eq!((results(&rig).last(), services(&rig)), (Some(&RolloutResult::Done), vec![DB]));
}

#[test]
fn a_persons_restart_takes_the_place_of_a_step_and_never_of_an_undo() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 6, true);
    assert!(matches!(rig.order(DB, Order::Restart { now: false }), Answer::Busy(_)));
    assert!(matches!(rig.order(DB, Order::Restart { now: true }), Answer::Begun(_)));
    rig.carry_out();
    rig.pass(secs(14) + SPLAY);
    assert_eq!(services(&rig), [DB, API], "what the person did counts, and is not done again");
    break_it(&mut rig);
    rig.step(Input::Undo { rollout: FIRST });
    assert!(matches!(rig.order(API, Order::Restart { now: true }), Answer::Busy(_)));
    assert_eq!(rig.for_credentials().last(), Some(&(API, Step::Restart, true)));
}

#[test]
fn a_service_that_a_persons_restart_leaves_broken_has_failed() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 6, true);
    rig.order(DB, Order::Restart { now: true });
    break_it(&mut rig);
    assert_eq!(results(&rig), [], "it is healed first");
    break_it(&mut rig);
    rig.pass(secs(50));
    assert_eq!(rig.view(DB).hold.unwrap().reason, Hold::InFlight);
    assert_eq!((results(&rig), services(&rig)), (vec![RolloutResult::Failed(DB)], vec![DB]));
}

#[test]
fn what_a_person_has_stopped_paused_or_frozen_is_left_out_and_nothing_is_paid_for_it() {
    let mut rig = rig();
    rig.stopped_by_a_person(DB);
    rig.becomes(API, State::Paused);
    rig.order(WEB, Order::Pause);
    ask(&mut rig, FIRST, &ALL, 6, true);
    assert_eq!(skips(&rig), [Some(Hold::OperatorStopped), Some(Hold::ContainerPaused), Some(Hold::Paused)]);
    assert_eq!((results(&rig), rig.said("operations_reserved")), (vec![RolloutResult::Left(API)], 0));
}

#[test]
fn what_is_stopped_on_the_way_is_left_out_and_its_charge_given_back() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 4, true);
    rig.stopped_by_a_person(API);
    carry_through(&mut rig);
    assert_eq!((services(&rig), results(&rig)), (vec![DB], vec![RolloutResult::Done]));
    assert_eq!(rig.said("operation_given_back"), 1, "the step; its undo is kept until it is decided");
    // One is spent: three fit still, once whoever asks for the next has left it at that.
    ask(&mut rig, SECOND, &[DB], 3, true);
    assert_eq!(services(&rig), [DB, DB]);
}

#[test]
fn a_person_who_stops_it_while_it_is_verified_wins() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 4, true);
    rig.carry_out();
    rig.pass(secs(3));
    rig.stopped_by_a_person(DB);
    rig.pass(SPLAY);
    assert_eq!((rig.verdicts(), services(&rig)), (vec![Verdict::Superseded], vec![DB, API]));
}

#[test]
fn only_what_iaso_may_act_on_is_touched() {
    let observed: Vec<fn(&mut ServiceSpec)> =
        vec![|spec| spec.recovery.mode = Mode::Notify, |spec| spec.recovery.mode = Mode::Off, |_| {}];
    let mut rig = Rig::new(FleetSpec::default());
    for (service, change) in ALL.into_iter().zip(observed) {
        let mut changed = spec(["db", "api", "web"][service.0 as usize]);
        change(&mut changed);
        rig.add(service, changed, RestartPolicy::No, RUNNING);
    }
    rig.truth.get_mut(&WEB).unwrap().container.exempt = Some(Exempt::Itself);
    rig.describe(WEB);
    ask(&mut rig, FIRST, &ALL, 6, true);
    assert_eq!(skips(&rig), [Some(Hold::Mode), Some(Hold::Mode), Some(Hold::Itself)]);
    assert_eq!(
        (results(&rig), services(&rig)),
        (vec![RolloutResult::Left(DB)], vec![]),
        "they run on with what they had"
    );
}

#[test]
fn who_runs_and_is_left_alone_is_told_and_who_does_not_run_is_not() {
    let frozen: fn(&mut Rig) = |rig| rig.becomes(API, State::Paused);
    let paused: fn(&mut Rig) = |rig| {
        rig.order(API, Order::Pause);
    };
    let down: fn(&mut Rig) = |rig| rig.stopped_by_a_person(API);
    let both: fn(&mut Rig) = |rig| {
        rig.order(API, Order::Pause);
        rig.stopped_by_a_person(API);
    };
    let left = RolloutResult::Left(API);
    for (how, ends) in [(frozen, left), (paused, left), (down, RolloutResult::Done), (both, RolloutResult::Done)] {
        let mut rig = rig();
        how(&mut rig);
        ask(&mut rig, FIRST, &[DB, API], 6, true);
        carry_through(&mut rig);
        assert_eq!((services(&rig), results(&rig)), (vec![DB], vec![ends]));
        rig.step(Input::Undo { rollout: FIRST });
        carry_through(&mut rig);
        assert_eq!(
            rig.rolled_out.last(),
            Some(&(FIRST, true, RolloutResult::Done)),
            "who was left out has nothing to undo"
        );
    }
}

#[test]
fn who_was_told_and_is_left_alone_when_it_is_undone_is_told() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 6, true);
    carry_through(&mut rig);
    rig.order(DB, Order::Pause);
    break_it(&mut rig);
    rig.pass(secs(20));
    rig.step(Input::Undo { rollout: FIRST });
    carry_through(&mut rig);
    assert_eq!(rig.rolled_out.last(), Some(&(FIRST, true, RolloutResult::Left(DB))));
}

#[test]
fn who_has_it_already_takes_no_step_and_learns_of_the_undoing() {
    for has_it in [[DB], [WEB]] {
        let mut rig = rig();
        ask_where(&mut rig, &has_it, &ALL, true);
        while results(&rig).is_empty() {
            carry_through(&mut rig);
        }
        let others: Vec<ServiceId> = ALL.into_iter().filter(|service| !has_it.contains(service)).collect();
        assert_eq!((services(&rig), results(&rig)), (others, vec![RolloutResult::Done]));
        rig.step(Input::Undo { rollout: FIRST });
        for _ in ALL {
            carry_through(&mut rig);
        }
        assert_eq!(
            (services(&rig)[2..].to_vec(), rig.rolled_out.last()),
            (ALL.to_vec(), Some(&(FIRST, true, RolloutResult::Done)))
        );
        assert_eq!(rig.violations, []);
    }
}

#[test]
fn where_everybody_has_it_nothing_is_set_aside_and_nothing_can_be_undone() {
    let mut rig = rig();
    ask_where(&mut rig, &ALL, &ALL, true);
    assert_eq!((services(&rig), results(&rig)), (vec![], vec![RolloutResult::Done]));
    rig.step(Input::Undo { rollout: FIRST });
    assert_eq!(
        rig.rolled_out.last(),
        Some(&(FIRST, true, RolloutResult::Refused(Hold::Budget))),
        "it is to be rolled out anew"
    );
}

#[test]
fn observing_says_what_would_be_done_and_refuses() {
    let mut rig = rig_of(FleetSpec { observe: true, ..FleetSpec::default() });
    ask(&mut rig, FIRST, &[DB, API], 6, true);
    assert_eq!(holds(&rig), [Hold::Observe, Hold::Observe]);
    assert_eq!((results(&rig), services(&rig)), (vec![RolloutResult::Refused(Hold::Observe)], vec![]));
}

#[test]
fn a_deployment_a_fresh_start_of_the_engine_and_a_lost_host_are_waited_for_and_told_once() {
    let mut rig = rig();
    rig.step(Input::Change { service: DB });
    ask(&mut rig, FIRST, &[DB], 6, true);
    rig.pass(secs(299));
    assert_eq!((holds(&rig), services(&rig)), (vec![Hold::PlannedChange], vec![]));
    rig.pass(secs(1));
    assert_eq!(services(&rig), [DB]);
    let mut rig = self::rig();
    rig.link(HostLink::Down);
    ask(&mut rig, FIRST, &[DB], 6, true);
    rig.pass(secs(3600));
    rig.link(HostLink::Up { engine_started: true });
    rig.pass(secs(119));
    assert_eq!((holds(&rig), services(&rig)), (vec![Hold::HostDown, Hold::QuietStart], vec![]));
    rig.pass(secs(1));
    assert_eq!(services(&rig), [DB]);
}

#[test]
fn what_the_engine_restarts_loads_what_is_new_by_itself_holds_nobody_and_is_undone_all_the_same() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &ALL, 6, true);
    rig.becomes(API, State::Restarting);
    carry_through(&mut rig);
    assert_eq!((skips(&rig), services(&rig)), (vec![Some(Hold::EngineRestarting)], vec![DB, WEB]));
    rig.starts(API, RUNNING);
    break_it(&mut rig);
    rig.pass(secs(30));
    rig.step(Input::Undo { rollout: FIRST });
    for _ in 0..2 {
        rig.carry_out();
        rig.pass(secs(14));
    }
    assert_eq!(rig.for_credentials().iter().filter(|done| **done == (API, Step::Restart, true)).count(), 1);
}

#[test]
fn what_is_stopped_and_started_on_the_way_is_undone_too() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &ALL, 6, true);
    rig.stopped_by_a_person(API);
    carry_through(&mut rig);
    assert_eq!((skips(&rig), services(&rig)), (vec![Some(Hold::OperatorStopped)], vec![DB, WEB]));
    rig.starts(API, RUNNING);
    break_it(&mut rig);
    rig.pass(secs(30));
    rig.step(Input::Undo { rollout: FIRST });
    for _ in 0..2 {
        rig.carry_out();
        rig.pass(secs(14));
    }
    assert_eq!(rig.for_credentials().iter().filter(|done| **done == (API, Step::Restart, true)).count(), 1);
}

#[test]
fn a_person_who_is_stopping_it_wins() {
    let mut rig = rig();
    rig.stop_signal(DB);
    ask(&mut rig, FIRST, &[DB], 6, true);
    rig.pass(secs(14));
    assert_eq!((holds(&rig), services(&rig)), (vec![Hold::OperatorStopped], vec![]));
    // It did not heed the signal, or the signal was no stop.
    rig.pass(secs(1));
    assert_eq!(services(&rig), [DB]);
    break_it(&mut rig);
    rig.stop_signal(DB);
    rig.step(Input::Undo { rollout: FIRST });
    assert_eq!(services(&rig), [DB]);
    rig.dies(DB, 0);
    assert_eq!((services(&rig), skips(&rig)), (vec![DB], vec![Some(Hold::OperatorStopped)]));
}

#[test]
fn law_5_an_operation_for_a_credential_waits_for_a_persons_stop() {
    for (after, objects) in [(14, true), (15, false)] {
        let mut rig = rig();
        ask(&mut rig, FIRST, &[DB], 6, true);
        let mut judges = Judges::new(&FleetSpec::default(), &Restored::nothing(), rig.now);
        let steps = vec![told(DB, Step::Restart)];
        let cap = Budget { max: 6, window: secs(3600) };
        let heard = Input::RollOut { rollout: FIRST, credential: KEY, steps, cap, splay: SPLAY, undoable: true };
        let Truth { container, state, since } = rig.truth[&DB];
        let (instance, at) = (container.instance, rig.now.mono);
        let inputs = [
            Input::Define { service: DB, spec: Box::new(spec("db")) },
            Input::Described { service: DB, container },
            Input::Seen { service: DB, sight: Sight { instance, began: at, since, state } },
            Input::StopSignal { service: DB, instance, at },
            heard,
        ];
        for input in &inputs {
            judges.hear(input);
        }
        let now = Now { mono: at + secs(after), ..rig.now };
        let told: Vec<_> = rig.out.iter().filter_map(|action| judges.judge(now, action).err()).collect();
        assert_eq!(told.iter().map(|violation| violation.law).collect::<Vec<_>>(), [5].repeat(usize::from(objects)));
    }
}

#[test]
fn what_a_rollout_may_not_do_says_nothing_of_the_steps_that_heal() {
    for outcome in [Outcome::NotPermitted, Outcome::Refused] {
        let mut rig = rig();
        ask_for(&mut rig, FIRST, &[DB], Step::Signal(1), 6, false);
        rig.finish(outcome);
        rig.dies(DB, 1);
        assert_eq!(rig.operations.last().map(|operation| operation.cause), Some(Cause::Recovery), "{outcome:?}");
    }
}

#[test]
fn one_with_an_open_incident_was_not_well() {
    let mut rig = rig();
    rig.becomes(DB, UNHEALTHY);
    break_it(&mut rig);
    rig.pass(secs(1));
    // It looks well, and has not done so for long enough.
    rig.becomes(DB, HEALTHY);
    assert!(rig.view(DB).incident.is_some());
    ask(&mut rig, FIRST, &[DB, API], 6, true);
    assert_eq!(services(&rig), [DB]);
    break_it(&mut rig);
    rig.pass(SPLAY);
    assert_eq!((services(&rig), results(&rig)), (vec![DB, API], vec![]));
}

#[test]
fn the_judge_keeps_nothing_aside_for_what_is_forgotten() {
    let host_budget = Budget { max: 6, window: secs(600) };
    let mut rig = rig_of(FleetSpec { host_budget, ..FleetSpec::default() });
    ask(&mut rig, FIRST, &ALL, 20, true);
    rig.undeclare(API);
    rig.undeclare(WEB);
    rig.declare(WEB, spec("web"));
    carry_through(&mut rig);
    assert_eq!((services(&rig), results(&rig)), (vec![DB], vec![RolloutResult::Done]), "what comes back is another");
    // One is spent and one is set aside for its undoing: four are left, and all judges agree.
    ask_other(&mut rig, SECOND, &[DB, WEB]);
    assert_eq!(services(&rig), [DB, DB]);
    assert_eq!(rig.violations, []);
}

#[test]
fn the_judge_remembers_what_is_being_undone_when_the_next_is_asked_for() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 20, true);
    carry_through(&mut rig);
    carry_through(&mut rig);
    assert_eq!(results(&rig), [RolloutResult::Done]);
    rig.step(Input::Undo { rollout: FIRST });
    ask(&mut rig, SECOND, &[WEB], 20, true);
    for _ in 0..2 {
        rig.carry_out();
        rig.pass(secs(14));
    }
    assert_eq!(services(&rig), [DB, API, DB, API, WEB]);
    assert_eq!(rig.violations, []);
}

#[test]
fn a_recovery_and_a_rollout_wait_for_each_other() {
    let mut rig = rig();
    rig.dies(DB, 1);
    ask(&mut rig, FIRST, &[DB], 6, true);
    assert_eq!((holds(&rig), services(&rig)), (vec![Hold::InFlight], vec![]));
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!(services(&rig), [DB]);
    rig.becomes(DB, UNHEALTHY);
    rig.pass(secs(30));
    assert_eq!(rig.operations.len(), 2, "nothing else while it is in flight");
}

#[test]
fn a_lost_host_proves_nothing_of_what_was_done() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB], 6, true);
    rig.carry_out();
    rig.link(HostLink::Down);
    rig.pass(secs(3600));
    assert_eq!(results(&rig), []);
    rig.link(HostLink::Up { engine_started: false });
    rig.pass(secs(20));
    assert_eq!(results(&rig), [RolloutResult::Done]);
}

#[test]
fn a_quarantined_service_gets_it_as_its_half_open_trial() {
    for cures in [true, false] {
        let mut troubled = spec("db");
        troubled.recovery.max_attempts = 1;
        let mut rig = rig();
        rig.declare(DB, troubled);
        rig.becomes(DB, UNHEALTHY);
        break_it(&mut rig);
        rig.pass(secs(60));
        let quarantine = rig.view(DB).quarantine.unwrap();
        ask(&mut rig, FIRST, &[DB, API], 6, true);
        assert_eq!(services(&rig), [DB]);
        if cures {
            carry_through(&mut rig);
            assert!(rig.view(DB).quarantine.is_none());
        } else {
            break_it(&mut rig);
            rig.pass(secs(14) + SPLAY);
            let after = rig.view(DB).quarantine.unwrap();
            assert!(after.trials == 1 && after.retry_at > quarantine.retry_at, "a trial that failed");
        }
        assert_eq!((services(&rig), results(&rig)), (vec![DB, API], vec![]), "it was broken before: that ends nothing");
    }
}

#[test]
fn a_quarantined_service_that_is_down_gets_it_too() {
    let mut troubled = spec("db");
    troubled.recovery.max_attempts = 1;
    let mut rig = Rig::with(troubled, RestartPolicy::No);
    rig.dies(DB, 1);
    rig.starts(DB, RUNNING);
    rig.finish(Outcome::Done);
    rig.dies(DB, 1);
    assert!(rig.view(DB).quarantine.is_some());
    ask(&mut rig, FIRST, &[DB], 6, true);
    assert_eq!(services(&rig), [DB]);
    carry_through(&mut rig);
    assert!(rig.view(DB).quarantine.is_none());
}

#[test]
fn one_that_crashed_and_waits_for_its_next_start_is_left_to_that() {
    let mut rig = rig();
    rig.dies(DB, 1);
    rig.carry_out();
    rig.dies(DB, 1);
    assert_eq!(rig.hold(), Some(Hold::Backoff));
    ask(&mut rig, FIRST, &[DB], 6, true);
    assert_eq!((skips(&rig), results(&rig)), (vec![Some(Hold::Backoff)], vec![RolloutResult::Done]));
}

#[test]
fn an_unhealthy_one_in_backoff_gets_it_and_its_backoff_goes_on() {
    let mut rig = rig();
    rig.becomes(DB, UNHEALTHY);
    break_it(&mut rig);
    assert_eq!(rig.hold(), Some(Hold::Backoff));
    ask(&mut rig, FIRST, &[DB], 6, false);
    break_it(&mut rig);
    assert_eq!((services(&rig), results(&rig)), (vec![DB], vec![RolloutResult::Done]));
    assert_eq!((rig.hold(), rig.operations.len()), (Some(Hold::Backoff), 2));
}

#[test]
fn one_that_has_just_started_is_judged_first() {
    let mut checked = spec("db");
    checked.checks = vec![check(1)];
    let mut rig = Rig::with(checked, RestartPolicy::No);
    rig.starts(DB, RUNNING);
    ask(&mut rig, FIRST, &[DB], 6, true);
    assert_eq!((holds(&rig), services(&rig)), (vec![Hold::StartPeriod], vec![]));
    rig.check(DB, 0, CheckResult::Passed);
    assert_eq!(services(&rig), [DB]);
}

#[test]
fn a_signal_begins_no_life_and_is_verified_all_the_same() {
    let mut checked = spec("db");
    checked.checks = vec![check(1)];
    let mut rig = Rig::with(checked, RestartPolicy::No);
    ask_for(&mut rig, FIRST, &[DB], Step::Signal(1), 6, true);
    rig.finish(Outcome::Done);
    rig.pass(secs(1));
    assert_eq!(results(&rig), [], "it was healthy before, which proves nothing");
    for _ in 0..12 {
        rig.pass(secs(1));
        rig.check(DB, 0, CheckResult::Passed);
    }
    assert_eq!(results(&rig), [RolloutResult::Done]);
    ask_for(&mut rig, SECOND, &[DB], Step::Signal(1), 6, true);
    rig.finish(Outcome::Done);
    for _ in 0..3 {
        rig.pass(secs(1));
        rig.check(DB, 0, CheckResult::Failed);
    }
    assert_eq!(results(&rig).last(), Some(&RolloutResult::Failed(DB)));
}

#[test]
fn a_newer_one_replaces_what_has_not_begun_and_waits_for_what_has() {
    let mut rig = rig();
    rig.link(HostLink::Down);
    ask(&mut rig, FIRST, &[DB], 6, true);
    ask(&mut rig, SECOND, &[API], 6, true);
    assert_eq!(rig.rolled_out, [(FIRST, false, RolloutResult::Replaced)]);
    rig.link(HostLink::Up { engine_started: false });
    assert_eq!(services(&rig), [API]);
    ask(&mut rig, RolloutId(3), &[DB], 6, true);
    rig.carry_out();
    rig.pass(secs(600));
    assert_eq!(services(&rig), [API], "it may still be undone");
    rig.step(Input::Settle { rollout: SECOND });
    assert_eq!(services(&rig), [API, DB]);
    rig.carry_out();
    rig.pass(secs(14));
    assert_eq!(rig.rolled_out[1..], [(SECOND, false, RolloutResult::Done), (RolloutId(3), false, RolloutResult::Done)]);
    ask(&mut rig, RolloutId(4), &[DB], 6, true);
    assert_eq!(services(&rig), [API, DB, DB], "whoever asks for the next has left the one before at that");
}

#[test]
fn the_next_one_begins_at_once_when_the_one_before_is_over_for_good() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB], 6, false);
    ask(&mut rig, SECOND, &[API], 6, false);
    rig.carry_out();
    rig.looks_answered = false;
    rig.pass(secs(2));
    rig.look(DB);
    rig.pass(secs(12));
    rig.look(DB);
    assert_eq!((results(&rig), services(&rig)), (vec![RolloutResult::Done], vec![DB, API]));
}

#[test]
fn the_same_step_is_tried_again_when_nothing_was_done_and_not_for_ever() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB], 2, true);
    rig.finish(Outcome::Moot);
    assert_eq!(services(&rig), [DB], "the look is answered first");
    rig.pass(secs(5));
    assert_eq!(services(&rig), [DB, DB]);
    rig.finish(Outcome::Refused);
    rig.pass(secs(5));
    rig.finish(Outcome::Moot);
    rig.pass(secs(60));
    assert_eq!((services(&rig).len(), results(&rig)), (3, vec![RolloutResult::Failed(DB)]));
}

#[test]
fn a_denied_step_has_failed() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 6, true);
    rig.finish(Outcome::NotPermitted);
    assert_eq!((results(&rig), services(&rig)), (vec![RolloutResult::Failed(DB)], vec![DB]));
}

#[test]
fn what_was_spent_is_spent_after_a_kill_for_the_credential_and_for_the_host_and_not_for_the_service() {
    let host_budget = Budget { max: 3, window: secs(600) };
    let fleet = FleetSpec { host_budget, ..FleetSpec::default() };
    let mut rig = Rig::new(fleet);
    rig.add(DB, spec("db"), RestartPolicy::No, RUNNING);
    let whole = rig.view(DB).budget_remaining;
    ask(&mut rig, FIRST, &[DB], 3, false);
    carry_through(&mut rig);
    ask(&mut rig, SECOND, &[DB], 3, false);
    assert_eq!(services(&rig), [DB, DB]);
    rig.killed(false, secs(1));
    rig.secretly_starts(DB, RUNNING);
    rig.resumes(spec("db"));
    rig.pass(secs(60));
    assert_eq!(rig.view(DB).budget_remaining, whole);
    ask(&mut rig, FIRST, &[DB], 3, true);
    assert_eq!((holds(&rig), services(&rig).len()), (vec![Hold::Budget], 2), "one is left, and two are needed");
    ask(&mut rig, SECOND, &[DB], 4, true);
    assert_eq!((holds(&rig), services(&rig).len()), (vec![Hold::Budget, Hold::HostBudget], 2));
    rig.pass(secs(600));
    assert_eq!(services(&rig).len(), 3);
}

#[test]
fn an_open_step_is_resolved_by_looking_after_a_kill_and_the_rollout_is_forgotten() {
    let mut rig = Rig::new(FleetSpec::default());
    rig.add(DB, spec("db"), RestartPolicy::No, RUNNING);
    ask(&mut rig, FIRST, &[DB], 3, true);
    rig.killed(false, secs(1));
    rig.secretly_starts(DB, RUNNING);
    rig.resumes(spec("db"));
    ask(&mut rig, FIRST, &[DB], 3, true);
    assert_eq!(holds(&rig), [Hold::InFlight]);
    rig.pass(secs(31));
    assert_eq!((rig.verdicts(), results(&rig)), (vec![Verdict::Healed], vec![]));
    assert_eq!(services(&rig), [DB, DB], "the same number again is another rollout");
}

#[test]
fn what_leaves_the_configuration_on_the_way_is_left_out() {
    let mut rig = rig();
    ask(&mut rig, FIRST, &[DB, API], 6, true);
    rig.carry_out();
    rig.undeclare(DB);
    rig.undeclare(API);
    rig.pass(SPLAY);
    rig.step(Input::Tick);
    assert_eq!((services(&rig), results(&rig)), (vec![DB], vec![RolloutResult::Done]));
}

#[test]
fn nothing_begins_while_iaso_stops() {
    let mut rig = rig();
    rig.step(Input::Stopping);
    ask(&mut rig, FIRST, &[DB], 6, true);
    assert_eq!((services(&rig), results(&rig)), (vec![], vec![]));
}

#[test]
fn what_is_set_aside_leaves_one_operation_for_healing_while_the_store_is_down() {
    let host_budget = Budget { max: 4, window: secs(600) };
    let mut rig = rig_of(FleetSpec { host_budget, ..FleetSpec::default() });
    ask(&mut rig, FIRST, &[DB, API], 20, true);
    rig.finish(Outcome::Uncharged);
    // Four are set aside, and two are all that may be spent now.
    rig.dies(WEB, 1);
    assert_eq!(
        rig.operations.last().map(|operation| (operation.service, operation.cause)),
        Some((WEB, Cause::Recovery))
    );
    rig.carry_out();
    rig.pass(secs(14));
    rig.dies(WEB, 1);
    rig.pass(secs(60));
    assert_eq!((rig.operations.len(), rig.view(WEB).hold.unwrap().reason), (2, Hold::HostBudget));
}
