//! One alert per outage: whose outage is part of whose, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use iaso_policy::Input;
use iaso_policy::alert::Alert;
use iaso_policy::id::{IncidentId, ServiceId};
use iaso_policy::input::{CheckResult, HostLink, Order, Outcome, RestartPolicy, State};
use iaso_policy::record::{AlertKind, Ending, Event, Hold};
use iaso_policy::spec::{Budget, Condition, FleetSpec, MassFailure, Mode, Need, Restarts, ServiceSpec};
use proptest::prelude::*;

use crate::histories::config;
use crate::rig::{HEALTHY, HOST, RUNNING, Rig, UNHEALTHY, check, secs, spec};

const DB: ServiceId = ServiceId(0);
const API: ServiceId = ServiceId(1);
const WEB: ServiceId = ServiceId(2);
const WORKER: ServiceId = ServiceId(3);
const OTHER: ServiceId = ServiceId(4);
const NAMES: [(ServiceId, &str); 5] = [(DB, "db"), (API, "api"), (WEB, "web"), (WORKER, "worker"), (OTHER, "other")];

fn need(on: &[ServiceId]) -> Vec<Need> {
    let one =
        |on: &ServiceId| Need { on: vec![*on], unwatched: None, until: Condition::Healthy, restarts: Restarts::Never };
    on.iter().map(one).collect()
}

/// A database, an API and a worker that need it, a page that needs the API, and another that needs nothing. All are well.
fn stack() -> Rig {
    let mut rig = Rig::new(FleetSpec::default());
    for (service, name) in NAMES {
        rig.add(service, spec(name), RestartPolicy::No, HEALTHY);
    }
    wire(&mut rig);
    rig
}

fn wire(rig: &mut Rig) {
    for (service, on) in [(API, DB), (WEB, API), (WORKER, DB)] {
        rig.step(Input::Needs { service, needs: need(&[on]) });
    }
}

fn outage(rig: &Rig, service: ServiceId) -> IncidentId {
    rig.view(service).incident.unwrap().incident
}

fn root(rig: &Rig, service: ServiceId) -> Option<IncidentId> {
    rig.view(service).incident.and_then(|incident| incident.root)
}

fn carry_out_healthy(rig: &mut Rig) {
    let service = rig.operations.last().unwrap().service;
    rig.starts(service, HEALTHY);
    rig.finish(Outcome::Done);
}

#[test]
fn what_a_root_drags_down_is_part_of_its_outage() {
    let mut rig = stack();
    rig.dies(DB, 1);
    let db = outage(&rig, DB);
    for service in [API, WEB, WORKER, OTHER] {
        rig.becomes(service, UNHEALTHY);
    }
    let roots = [DB, API, WEB, WORKER, OTHER].map(|service| root(&rig, service));
    assert_eq!(roots, [None, Some(db), Some(db), Some(db), None]);
    assert_eq!(rig.view(DB).affected, [API, WEB, WORKER]);
    // One gets well, and is listed all the same.
    rig.becomes(WORKER, HEALTHY);
    rig.pass(secs(20));
    rig.look(WORKER);
    assert_eq!(rig.view(WORKER).incident, None);
    assert_eq!(rig.view(DB).affected, [API, WEB, WORKER]);
}

#[test]
fn a_root_that_is_noticed_later_takes_in_whoever_failed_before() {
    let mut rig = stack();
    rig.looks_answered = false;
    for service in [WEB, WORKER, API] {
        rig.becomes(service, UNHEALTHY);
        rig.pass(secs(20));
    }
    assert_eq!(root(&rig, WEB), Some(outage(&rig, API)), "all that is known so far");
    assert_eq!((root(&rig, API), root(&rig, WORKER)), (None, None));
    rig.dies(DB, 1);
    let db = outage(&rig, DB);
    assert_eq!([API, WEB, WORKER].map(|service| root(&rig, service)), [Some(db); 3]);
    assert_eq!(rig.view(DB).affected, [API, WEB, WORKER]);
}

#[test]
fn what_was_broken_long_before_has_a_cause_of_its_own() {
    let mut rig = stack();
    rig.becomes(WORKER, UNHEALTHY);
    for _ in 0..8 {
        rig.finish(Outcome::Failed);
        rig.pass(secs(100));
    }
    rig.dies(DB, 1);
    assert_eq!((root(&rig, WORKER), rig.view(DB).affected), (None, vec![]));
}

#[test]
fn whoever_is_still_broken_when_the_root_is_well_stays_listed_and_may_be_part_of_its_next_outage() {
    let mut rig = stack();
    rig.dies(DB, 1);
    let first = outage(&rig, DB);
    rig.becomes(API, UNHEALTHY);
    carry_out_healthy(&mut rig);
    rig.pass(secs(30));
    assert_eq!((rig.view(DB).incident, root(&rig, API)), (None, Some(first)));
    rig.finish(Outcome::Failed);
    rig.pass(secs(600));
    rig.dies(DB, 1);
    let second = outage(&rig, DB);
    assert!(first != second);
    assert_eq!((root(&rig, API), rig.view(DB).affected), (Some(second), vec![API]));
}

#[test]
fn a_restart_of_iaso_forgets_nobody() {
    let mut rig = stack();
    rig.dies(DB, 1);
    let db = outage(&rig, DB);
    for service in [API, WORKER] {
        rig.becomes(service, UNHEALTHY);
    }
    rig.becomes(WORKER, HEALTHY);
    rig.pass(secs(20));
    rig.look(WORKER);
    assert_eq!(rig.view(WORKER).incident, None);
    rig.killed(false, secs(1));
    for (service, name) in [NAMES[3], NAMES[1], NAMES[2], NAMES[0], NAMES[4]] {
        rig.step(Input::Define { service, spec: Box::new(spec(name)) });
    }
    wire(&mut rig);
    for (service, _) in NAMES {
        rig.describe(service);
        rig.look(service);
    }
    rig.link(HostLink::Up { engine_started: false });
    rig.pass(Duration::from_secs(1));
    assert_eq!((outage(&rig, DB), root(&rig, API)), (db, Some(db)));
    assert_eq!(rig.view(DB).affected, [API, WORKER]);
    assert_eq!(rig.events().filter(|event| matches!(event, Event::Joined { .. })).count(), 2, "told once");
}

const HOUR: u64 = 3600;

/// What was told: of whom, what, and how often before.
fn told(rig: &Rig) -> Vec<(ServiceId, AlertKind, u32)> {
    rig.alerts.iter().map(|alert| (alert.service, alert.key.kind, alert.key.ordinal)).collect()
}

/// Its newest operation fails at the engine, as often as it takes.
fn is_given_up(rig: &mut Rig, service: ServiceId) {
    for _ in 0..10 {
        if rig.view(service).quarantine.is_some() {
            return;
        }
        if rig.operations.last().is_some_and(|operation| operation.service == service) {
            rig.finish(Outcome::Failed);
        }
        rig.pass(secs(301));
    }
    panic!("never given up: {:?}", rig.view(service));
}

fn loses_patience() -> ServiceSpec {
    let mut made = spec("db");
    made.recovery.max_attempts = 2;
    made.recovery.quarantine_retry = None;
    made.recovery.restarts = Budget { max: 100, window: secs(60) };
    made
}

/// The stack, whose database is given up soon.
fn hopeless() -> Rig {
    let mut rig = stack();
    rig.step(Input::Define { service: DB, spec: Box::new(loses_patience()) });
    rig.dies(DB, 1);
    rig
}

fn gets_well(rig: &mut Rig, service: ServiceId) {
    rig.becomes(service, HEALTHY);
    rig.pass(secs(20));
    rig.look(service);
    assert_eq!(rig.view(service).incident, None);
}

#[test]
fn what_is_healed_soon_is_told_to_nobody() {
    let mut rig = stack();
    rig.dies(DB, 1);
    rig.becomes(API, UNHEALTHY);
    gets_well(&mut rig, API);
    carry_out_healthy(&mut rig);
    rig.pass(secs(30));
    rig.pass(secs(24 * HOUR));
    assert_eq!(told(&rig), []);
}

#[test]
fn what_looks_well_again_is_not_told_while_that_is_verified() {
    let mut rig = stack();
    rig.rules(FleetSpec { observe: true, ..FleetSpec::default() });
    rig.becomes(OTHER, UNHEALTHY);
    rig.pass(secs(895));
    rig.becomes(OTHER, HEALTHY);
    rig.pass(secs(60));
    rig.look(OTHER);
    assert_eq!((rig.view(OTHER).incident, told(&rig)), (None, vec![]));
}

#[test]
fn a_root_that_is_given_up_is_told_once_with_everyone_and_its_end_once() {
    let mut rig = hopeless();
    for service in [API, WEB, WORKER] {
        rig.becomes(service, UNHEALTHY);
    }
    gets_well(&mut rig, WORKER);
    is_given_up(&mut rig, DB);
    let alert = rig.alerts[0].clone();
    let Alert { reason, attempts, failed, ref affected, opened, .. } = alert;
    assert_eq!((reason, attempts, failed, &affected[..]), (Some(Hold::Quarantine), 2, 2, &[API, WEB, WORKER][..]));
    assert!(rig.now.mono.since(opened.mono) >= secs(300), "since its beginning");
    rig.pass(secs(HOUR));
    assert_eq!(told(&rig), [(DB, AlertKind::NotHealed, 1)]);
    rig.starts(DB, HEALTHY);
    rig.pass(secs(30));
    rig.look(DB);
    assert_eq!(told(&rig)[1..], [(DB, AlertKind::Resolved, 1)]);
    assert_eq!(rig.alerts[1].ending, Some(Ending::Recovered));
    assert_eq!(rig.alerts[1].affected, [API, WEB, WORKER]);
    assert_eq!(rig.memory[&DB].alerts, [], "nothing is left to tell");
}

#[test]
fn who_is_still_broken_when_the_root_is_well_is_told_on_its_own_account() {
    let mut rig = hopeless();
    rig.becomes(WORKER, UNHEALTHY);
    is_given_up(&mut rig, DB);
    rig.order(WORKER, Order::Pause);
    rig.starts(DB, HEALTHY);
    rig.pass(secs(30));
    rig.look(DB);
    rig.pass(secs(HOUR));
    assert_eq!(told(&rig), [(DB, AlertKind::NotHealed, 1), (DB, AlertKind::Resolved, 1)], "a person left it alone");
    rig.order(WORKER, Order::Resume);
    while rig.view(WORKER).incident.is_some_and(|incident| incident.attempts < 5) {
        rig.finish(Outcome::Failed);
        rig.pass(secs(100));
    }
    rig.pass(secs(HOUR));
    assert_eq!(told(&rig)[2..], [(WORKER, AlertKind::NotHealed, 1)]);
}

#[test]
fn reminders_come_every_four_hours_and_not_while_somebody_takes_care() {
    let mut rig = hopeless();
    is_given_up(&mut rig, DB);
    rig.pass(secs(9 * HOUR));
    let expected = [(DB, AlertKind::NotHealed, 1), (DB, AlertKind::Reminder, 1), (DB, AlertKind::Reminder, 2)];
    assert_eq!(told(&rig), expected);
    rig.order(DB, Order::Acknowledge { until: Some(rig.now.mono + secs(24 * HOUR)) });
    rig.pass(secs(23 * HOUR));
    assert_eq!(told(&rig).len(), 3);
    rig.pass(secs(2 * HOUR));
    assert_eq!(told(&rig)[3..], [(DB, AlertKind::Reminder, 3)], "nobody has come");
    rig.order(DB, Order::Acknowledge { until: None });
    rig.pass(secs(48 * HOUR));
    rig.order(DB, Order::Maintain { until: rig.now.mono + secs(HOUR), everything: false });
    rig.starts(DB, HEALTHY);
    rig.pass(secs(30));
    rig.look(DB);
    assert_eq!(told(&rig)[4..], [(DB, AlertKind::Resolved, 1)], "its end is told all the same");
}

/// What is told of an outage within a quarter of an hour, and later.
fn soon_and_later(mode: Mode, before: impl FnOnce(&mut Rig)) -> (usize, usize) {
    let mut rig = stack();
    let mut made = spec("other");
    made.recovery.mode = mode;
    rig.step(Input::Define { service: OTHER, spec: Box::new(made) });
    before(&mut rig);
    rig.becomes(OTHER, UNHEALTHY);
    let soon = rig.alerts.len();
    rig.pass(secs(890));
    assert_eq!(rig.alerts.len(), soon);
    rig.pass(secs(20));
    (soon, rig.alerts.len())
}

#[test]
fn how_loud_it_is_depends_on_why_nothing_is_done() {
    let spent = FleetSpec { host_budget: Budget { max: 0, window: secs(600) }, ..FleetSpec::default() };
    assert_eq!(soon_and_later(Mode::Notify, |_| {}), (1, 1));
    assert_eq!(soon_and_later(Mode::Off, |_| {}), (0, 0));
    assert_eq!(
        soon_and_later(Mode::Auto, |rig| assert_eq!(rig.order(OTHER, Order::Pause), iaso_policy::action::Answer::Done)),
        (0, 0)
    );
    assert_eq!(soon_and_later(Mode::Auto, |rig| rig.rules(spent)), (1, 1), "a budget that allows nothing");
    assert_eq!(soon_and_later(Mode::Auto, |_| {}), (0, 1), "an operation that never ends");
    let observes = FleetSpec { observe: true, ..FleetSpec::default() };
    assert_eq!(soon_and_later(Mode::Auto, |rig| rig.rules(observes)), (0, 1));
    let maintained = |rig: &mut Rig| {
        let until = Some(rig.now.mono + secs(HOUR));
        rig.step(Input::Maintenance { service: OTHER, until });
    };
    assert_eq!(soon_and_later(Mode::Notify, maintained), (0, 0));
}

#[test]
fn what_may_have_its_cause_elsewhere_is_told_two_minutes_later() {
    let mut rig = stack();
    rig.looks_answered = false;
    let mut made = spec("api");
    made.recovery.mode = Mode::Notify;
    rig.step(Input::Define { service: API, spec: Box::new(made) });
    rig.becomes(API, UNHEALTHY);
    rig.pass(secs(110));
    assert_eq!(told(&rig), []);
    rig.dies(DB, 1);
    rig.pass(secs(60));
    assert_eq!((told(&rig), root(&rig, API)), (vec![], Some(outage(&rig, DB))));
}

#[test]
fn what_nobody_took_is_told_again_after_a_restart_and_what_was_taken_is_not() {
    for taken in [false, true] {
        let mut rig = hopeless();
        rig.alerts_taken = taken;
        is_given_up(&mut rig, DB);
        let first = rig.alerts[0].clone();
        for _ in 0..2 {
            rig.killed(false, secs(1));
            rig.step(Input::Define { service: DB, spec: Box::new(loses_patience()) });
            rig.describe(DB);
            rig.look(DB);
            rig.link(HostLink::Up { engine_started: false });
            rig.pass(secs(60));
        }
        let again: Vec<_> = rig.alerts[1..].iter().map(|alert| (alert.key, alert.opened, alert.reason)).collect();
        let expected = (first.key, first.opened, first.reason);
        assert_eq!(again, if taken { vec![] } else { vec![expected; 2] });
        assert_eq!(rig.said("announced"), 1, "it was decided once");
    }
}

#[test]
fn what_nobody_takes_is_told_again_instead_of_a_reminder() {
    let mut rig = hopeless();
    rig.alerts_taken = false;
    is_given_up(&mut rig, DB);
    rig.pass(secs(5 * HOUR));
    assert_eq!(told(&rig), [(DB, AlertKind::NotHealed, 1); 2]);
    rig.starts(DB, HEALTHY);
    rig.pass(secs(30));
    rig.look(DB);
    rig.pass(secs(5 * HOUR));
    assert_eq!(told(&rig)[2..], [(DB, AlertKind::Resolved, 1); 2], "and so is its end");
    let key = rig.alerts[3].key;
    rig.step(Input::Delivered { service: DB, key });
    rig.pass(secs(24 * HOUR));
    assert_eq!((rig.alerts.len(), &rig.memory[&DB].alerts[..]), (4, &[][..]));
}

#[test]
fn a_storm_is_told_once_for_its_host_and_its_services_are_not() {
    let fleet =
        FleetSpec { mass_failure: MassFailure { min: 3, ratio: 0.5, window: secs(60) }, ..FleetSpec::default() };
    let mut rig = Rig::new(fleet);
    for number in 0..4 {
        let mut made = spec(&format!("s{number}"));
        made.recovery.mode = if number == 0 { Mode::Notify } else { Mode::Auto };
        rig.add(ServiceId(number), made, RestartPolicy::No, HEALTHY);
    }
    for number in 1..4 {
        rig.becomes(ServiceId(number), UNHEALTHY);
    }
    rig.becomes(ServiceId(0), UNHEALTHY);
    let alert = rig.alerts[0].clone();
    assert_eq!((alert.host, alert.reason), (Some(HOST), Some(Hold::MassFailure)));
    assert_eq!(alert.affected, [1, 2, 3].map(ServiceId));
    rig.pass(secs(30));
    for number in 0..4 {
        rig.starts(ServiceId(number), HEALTHY);
    }
    rig.pass(secs(30));
    for number in 0..4 {
        rig.look(ServiceId(number));
    }
    rig.pass(secs(HOUR));
    let told: Vec<_> = rig.alerts.iter().map(|alert| (alert.host, alert.key.incident, alert.key.kind)).collect();
    let incident = alert.key.incident;
    assert_eq!(told, [(Some(HOST), incident, AlertKind::NotHealed), (Some(HOST), incident, AlertKind::Resolved)]);
}

#[test]
fn a_lost_host_is_told_reminded_of_and_its_return_told_also_by_the_next_run() {
    for dies in [false, true] {
        let mut rig = hopeless();
        rig.link(HostLink::Down);
        rig.pass(secs(290));
        assert_eq!(told(&rig), []);
        rig.pass(secs(9 * HOUR));
        assert_eq!(
            told(&rig),
            [(DB, AlertKind::NotHealed, 1), (DB, AlertKind::Reminder, 1), (DB, AlertKind::Reminder, 2)]
        );
        let of_this = (Some(HOST), rig.alerts[0].key.incident, Some(Hold::HostDown));
        assert!(rig.alerts.iter().all(|alert| (alert.host, alert.key.incident, alert.reason) == of_this));
        if dies {
            rig.killed(true, secs(1));
            for (service, name) in NAMES {
                rig.step(Input::Define { service, spec: Box::new(spec(name)) });
            }
        }
        for (service, _) in NAMES {
            rig.describe(service);
            rig.look(service);
        }
        rig.link(HostLink::Up { engine_started: false });
        // The link must have held for a while.
        rig.pass(secs(130));
        let of_host: Vec<_> =
            rig.alerts.iter().filter(|alert| alert.host.is_some()).map(|alert| alert.key.kind).collect();
        let reminded = AlertKind::Reminder;
        assert_eq!(of_host, [AlertKind::NotHealed, reminded, reminded, AlertKind::Resolved], "{dies}");
    }
}

#[test]
fn an_end_is_told_by_the_next_run_where_this_one_dies_between_writing_it_down_and_telling_it() {
    let mut rig = hopeless();
    is_given_up(&mut rig, DB);
    assert_eq!(told(&rig), [(DB, AlertKind::NotHealed, 1)]);
    let mut memory = rig.memory[&DB].clone();
    rig.becomes(DB, HEALTHY);
    rig.pass(secs(20));
    let closed = rig.records.iter().rfind(|record| matches!(record.event, Event::IncidentClosed { .. }));
    memory.apply(closed.unwrap());
    rig.memory.insert(DB, memory);
    rig.alerts.clear();
    for told_again in [true, false] {
        rig.killed(false, secs(1));
        rig.resumes(loses_patience());
        rig.pass(secs(29));
        assert_eq!(told(&rig), []);
        rig.pass(secs(300));
        let ends = rig.alerts.drain(..).map(|alert| (alert.key.kind, alert.key.ordinal, alert.ending));
        let expected = told_again.then_some((AlertKind::Resolved, 1, Some(Ending::Recovered)));
        assert_eq!(ends.collect::<Vec<_>>(), Vec::from_iter(expected));
    }
}

/// Its program dies, its engine starts it again, and its check fails.
fn comes_back_and_fails(rig: &mut Rig) {
    rig.dies(DB, 1);
    rig.pass(secs(1));
    rig.starts(DB, RUNNING);
    for _ in 0..3 {
        rig.check(DB, 0, CheckResult::Failed);
    }
    rig.pass(secs(90));
    assert_eq!(rig.view(DB).incident, None);
}

#[test]
fn that_a_check_has_never_worked_is_told_once_however_often_its_program_dies() {
    let checked = |fingerprint| ServiceSpec { checks: vec![check(fingerprint)], ..spec("db") };
    let mut rig = Rig::new(FleetSpec::default());
    rig.add_unproven(DB, checked(7), RestartPolicy::Always, RUNNING);
    let began = rig.now.mono;
    let mut rounds = 0;
    while rig.now.mono < began + secs(4 * HOUR - 200) {
        rounds += 1;
        if rounds == 60 {
            rig.killed(true, secs(1));
            rig.resumes(checked(7));
            rig.pass(secs(60));
        }
        comes_back_and_fails(&mut rig);
    }
    let once = [(DB, AlertKind::NotHealed, 1), (DB, AlertKind::Resolved, 1)];
    assert_eq!((told(&rig), rig.alerts[0].reason), (once.to_vec(), Some(Hold::NeverSucceeded)));
    (0..5).for_each(|_| comes_back_and_fails(&mut rig));
    assert_eq!(told(&rig), once.repeat(2), "four hours later");
    // It works once, and another check never does: that is another story.
    rig.check(DB, 0, CheckResult::Passed);
    assert_eq!(rig.memory[&DB].alerts, []);
    rig.step(Input::Define { service: DB, spec: Box::new(checked(8)) });
    comes_back_and_fails(&mut rig);
    assert_eq!(rig.alerts.len(), 6);
}

#[test]
fn what_is_not_watched_any_more_is_told_as_over_and_its_delivery_is_kept() {
    let mut rig = hopeless();
    is_given_up(&mut rig, DB);
    rig.undeclare(DB);
    assert_eq!(told(&rig)[1..], [(DB, AlertKind::Resolved, 1)]);
    assert_eq!(rig.alerts[1].ending, Some(Ending::Gone));
    assert_eq!(rig.memory[&DB].alerts, []);
}

/// What happens to one of five services, or to Iaso.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Dies,
    Sickens,
    GetsWell,
    Starts,
    Answered(bool),
    Time(u32),
    Ordered(Order),
    Maintained(bool),
    Taken(bool),
    Link(bool),
    Killed,
}

fn happens() -> impl Strategy<Value = Happens> {
    let order = prop_oneof![
        Just(Order::Pause),
        Just(Order::Resume),
        Just(Order::Acknowledge { until: None }),
        Just(Order::Restart { now: true })
    ];
    prop_oneof![
        3 => Just(Happens::Dies),
        3 => Just(Happens::Sickens),
        2 => Just(Happens::GetsWell),
        2 => Just(Happens::Starts),
        4 => prop::bool::weighted(0.3).prop_map(Happens::Answered),
        6 => prop_oneof![1_u32..100, 1_u32..2_000, 1_u32..40_000].prop_map(Happens::Time),
        2 => order.prop_map(Happens::Ordered),
        1 => any::<bool>().prop_map(Happens::Maintained),
        1 => any::<bool>().prop_map(Happens::Taken),
        1 => any::<bool>().prop_map(Happens::Link),
        1 => Just(Happens::Killed),
    ]
}

fn befall(rig: &mut Rig, service: ServiceId, what: Happens) {
    let runs = matches!(rig.truth[&service].state, State::Running(_));
    match what {
        Happens::Dies if runs => rig.dies(service, 1),
        Happens::Sickens if runs => rig.becomes(service, UNHEALTHY),
        Happens::GetsWell if runs => rig.becomes(service, HEALTHY),
        Happens::Starts => rig.starts(service, HEALTHY),
        Happens::Answered(well) if !rig.operations.is_empty() => {
            if well {
                carry_out_healthy(rig);
            } else {
                rig.finish(Outcome::Failed);
            }
        }
        Happens::Time(seconds) => rig.pass(secs(seconds.into())),
        Happens::Ordered(order) => {
            rig.order(service, order);
        }
        Happens::Maintained(is) => {
            let until = is.then(|| rig.now.mono + secs(HOUR));
            rig.step(Input::Maintenance { service, until });
        }
        Happens::Taken(taken) => rig.alerts_taken = taken,
        Happens::Link(true) => {
            for (service, _) in NAMES {
                rig.look(service);
            }
            rig.link(HostLink::Up { engine_started: false });
        }
        Happens::Link(false) => rig.link(HostLink::Down),
        Happens::Killed => {
            rig.killed(false, secs(1));
            for (service, name) in NAMES {
                rig.step(Input::Define { service, spec: Box::new(spec(name)) });
            }
            wire(rig);
            for (service, _) in NAMES {
                rig.describe(service);
            }
            befall(rig, DB, Happens::Link(true));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(config())]

    /// Beside the judges: every outage that was told is told as over, each thing under one key, and nothing that was taken is
    /// said again.
    #[test]
    fn whatever_happens_what_was_told_is_told_as_over(history in prop::collection::vec((0..5_u32, happens()), 1..120)) {
        let mut rig = stack();
        for (number, what) in history {
            befall(&mut rig, ServiceId(number), what);
        }
        rig.alerts_taken = true;
        befall(&mut rig, DB, Happens::Link(true));
        // All is well at last.
        for _ in 0..3 {
            for (service, _) in NAMES {
                befall(&mut rig, service, Happens::Ordered(Order::Resume));
                rig.starts(service, HEALTHY);
            }
            rig.pass(secs(30));
            for (service, _) in NAMES {
                rig.look(service);
            }
            rig.pass(secs(24 * HOUR));
        }
        prop_assert!(NAMES.iter().all(|(service, _)| rig.view(*service).incident.is_none()));
        let mut outages: BTreeMap<IncidentId, BTreeSet<AlertKind>> = BTreeMap::new();
        for alert in &rig.alerts {
            outages.entry(alert.key.incident).or_default().insert(alert.key.kind);
        }
        for (incident, kinds) in outages {
            prop_assert!(kinds.contains(&AlertKind::NotHealed) && kinds.contains(&AlertKind::Resolved), "{incident} {kinds:?}");
        }
        for memory in rig.memory.values() {
            prop_assert_eq!(&memory.alerts[..], &[][..], "{}", memory.identity);
        }
        // No outage of a service was told while the one that it was part of went on.
        let mut roots: BTreeMap<IncidentId, IncidentId> = BTreeMap::new();
        let mut going_on: BTreeSet<IncidentId> = BTreeSet::new();
        for record in &rig.records {
            let Some(incident) = record.incident else { continue };
            match record.event {
                Event::IncidentOpened { .. } => {
                    going_on.insert(incident);
                }
                Event::IncidentClosed { .. } => {
                    going_on.remove(&incident);
                }
                Event::Joined { root } => {
                    roots.insert(incident, root);
                }
                Event::Announced { key, of_host: false, .. } if key.kind != AlertKind::Resolved => {
                    let is_part = roots.get(&incident).is_some_and(|root| going_on.contains(root));
                    prop_assert!(!is_part, "{key} was told of a part");
                }
                _ => {}
            }
        }
    }
}
