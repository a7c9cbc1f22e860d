//! Root first: what needs what, and who waits for whom.

use std::time::Duration;

use iaso_policy::action::{Cause, Trouble};
use iaso_policy::id::{HostId, ServiceId};
use iaso_policy::input::{CheckResult, HostLink, Order, Outcome, RestartPolicy, State, Witness};
use iaso_policy::record::{Event, Health, Hold};
use iaso_policy::spec::{Condition, FleetSpec, Lifecycle, Need, OnQuarantine, Restarts, ServiceSpec, Step};
use iaso_policy::{Action, Input};
use proptest::prelude::*;

use crate::histories::config;
use crate::rig::{HEALTHY, RUNNING, Rig, UNHEALTHY, check, secs, spec};

const DB: ServiceId = ServiceId(0);
const API: ServiceId = ServiceId(1);
const WEB: ServiceId = ServiceId(2);

fn need(on: &[ServiceId], until: Condition) -> Need {
    Need { on: on.to_vec(), unwatched: None, until, restarts: Restarts::Never }
}

/// A database, an API that needs it, and a page that needs the API. All have a HEALTHCHECK, and are well.
fn stack() -> Rig {
    let mut rig = Rig::new(FleetSpec::default());
    for (service, name) in [(DB, "db"), (API, "api"), (WEB, "web")] {
        rig.add(service, spec(name), RestartPolicy::No, HEALTHY);
    }
    needs(&mut rig, API, vec![need(&[DB], Condition::Healthy)]);
    needs(&mut rig, WEB, vec![need(&[API], Condition::Healthy)]);
    rig
}

fn needs(rig: &mut Rig, service: ServiceId, needs: Vec<Need>) {
    rig.step(Input::Needs { service, needs });
}

fn hold(rig: &Rig, service: ServiceId) -> Option<(Hold, Option<ServiceId>)> {
    rig.view(service).hold.map(|hold| (hold.reason, hold.behind))
}

fn touched(rig: &Rig) -> Vec<ServiceId> {
    rig.operations.iter().map(|operation| operation.service).collect()
}

fn carry_out_healthy(rig: &mut Rig) {
    let service = rig.operations.last().unwrap().service;
    rig.starts(service, HEALTHY);
    rig.finish(Outcome::Done);
}

#[test]
fn the_root_is_healed_first_then_who_is_still_broken_and_nobody_else() {
    let mut rig = stack();
    rig.dies(DB, 1);
    rig.becomes(API, UNHEALTHY);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(touched(&rig), [DB]);
    assert_eq!(hold(&rig, API), Some((Hold::Dependency, Some(DB))));
    assert_eq!(hold(&rig, WEB), Some((Hold::Dependency, Some(DB))), "the root is named, not the next");
    carry_out_healthy(&mut rig);
    rig.pass(secs(5));
    assert_eq!(touched(&rig), [DB], "it is not stable yet");
    // One gets well by itself meanwhile.
    rig.becomes(API, HEALTHY);
    rig.pass(secs(20));
    assert_eq!((rig.view(DB).health, rig.view(DB).incident), (Health::Healthy, None));
    assert_eq!(touched(&rig), [DB, WEB], "who is still broken follows");
    carry_out_healthy(&mut rig);
    rig.pass(secs(30));
    assert!([DB, API, WEB].iter().all(|service| rig.view(*service).incident.is_none()));
    assert_eq!(touched(&rig), [DB, WEB]);
}

#[test]
fn dependents_follow_in_order() {
    let mut rig = stack();
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(touched(&rig), [WEB], "what it needs was asked, and is well");
    carry_out_healthy(&mut rig);
    rig.pass(secs(30));
    for service in [WEB, API, DB] {
        rig.becomes(service, UNHEALTHY);
        rig.pass(Duration::from_millis(1));
    }
    // The page was quicker than the news of the others, and is being recovered; they go from the root up.
    assert_eq!(touched(&rig), [WEB, WEB, API, DB]);
}

#[test]
fn what_was_seen_before_the_outage_is_asked_before_the_first_recovery() {
    let mut rig = stack();
    rig.pass(secs(60));
    // Nobody has told of it yet.
    rig.secretly(DB, UNHEALTHY);
    rig.becomes(API, UNHEALTHY);
    assert_eq!(touched(&rig), [DB], "the look found it");
    assert_eq!(hold(&rig, API), Some((Hold::Dependency, Some(DB))));
}

#[test]
fn what_does_not_answer_is_waited_for_and_not_for_ever() {
    let mut rig = stack();
    rig.pass(secs(60));
    rig.looks_answered = false;
    rig.becomes(WEB, UNHEALTHY);
    let looks = |rig: &Rig| rig.log.iter().filter(|action| matches!(action, Action::Look { .. })).count();
    let asked = looks(&rig);
    assert_eq!((touched(&rig), hold(&rig, WEB)), (vec![], Some((Hold::Dependency, Some(DB)))));
    rig.pass(secs(60));
    assert_eq!((touched(&rig), looks(&rig)), (vec![], asked), "asked once");
    rig.look(DB);
    assert_eq!(hold(&rig, WEB), Some((Hold::Dependency, Some(API))), "the other has not answered");
    rig.pass(secs(31));
    assert_eq!(touched(&rig), [WEB]);
}

#[test]
fn healing_checks_are_asked_too_and_a_first_failure_is_enough_to_wait() {
    let mut rig = Rig::new(FleetSpec::default());
    let mut checked = spec("db");
    checked.checks = vec![check(1)];
    rig.add(DB, checked, RestartPolicy::No, RUNNING);
    rig.add(API, spec("api"), RestartPolicy::No, HEALTHY);
    needs(&mut rig, API, vec![need(&[DB], Condition::Started)]);
    rig.pass(secs(30));
    rig.becomes(API, UNHEALTHY);
    assert!(rig.log.iter().any(|action| matches!(action, Action::Probe { service: DB, .. })));
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![], Some((Hold::Dependency, Some(DB)))));
    rig.check(DB, 0, CheckResult::Failed);
    rig.pass(secs(120));
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![], Some((Hold::Dependency, Some(DB)))));
    rig.check(DB, 0, CheckResult::Passed);
    assert_eq!(touched(&rig), [API], "it was only a hiccup");
}

#[test]
fn whoever_started_the_root_it_is_stable_only_after_a_while() {
    let mut rig = stack();
    rig.stopped_by_a_person(DB);
    rig.becomes(API, UNHEALTHY);
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![], Some((Hold::Dependency, Some(DB)))));
    rig.starts(DB, HEALTHY);
    rig.pass(secs(9));
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![], Some((Hold::Dependency, Some(DB)))), "it may fail again");
    rig.pass(secs(1));
    assert_eq!(touched(&rig), [API], "nothing has to be heard of it for that");
    assert_eq!(rig.violations, []);
}

#[test]
fn who_is_told_before_what_it_needs_waits_for_the_rest() {
    let mut rig = Rig::new(FleetSpec::default());
    rig.looks_answered = false;
    needs(&mut rig, API, vec![need(&[DB], Condition::Healthy)]);
    rig.step(Input::Define { service: DB, spec: Box::new(spec("db")) });
    rig.add(API, spec("api"), RestartPolicy::No, UNHEALTHY);
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![], Some((Hold::Dependency, Some(DB)))));
    rig.add(DB, spec("db"), RestartPolicy::No, UNHEALTHY);
    assert_eq!(touched(&rig), [DB]);
    assert_eq!(hold(&rig, API), Some((Hold::Dependency, Some(DB))));
}

#[test]
fn a_condition_is_met_by_what_it_says() {
    let met = |state: State, lifecycle: Lifecycle, until: Condition| {
        let mut rig = Rig::new(FleetSpec::default());
        let job = ServiceSpec { lifecycle, ..spec("job") };
        rig.add_unproven(DB, job, RestartPolicy::No, RUNNING);
        if !matches!(state, State::Running(_)) {
            rig.becomes(DB, state);
        }
        rig.add(API, spec("api"), RestartPolicy::No, HEALTHY);
        needs(&mut rig, API, vec![need(&[DB], until)]);
        rig.becomes(API, UNHEALTHY);
        touched(&rig).contains(&API)
    };
    let ended = |code| State::Exited { code, witness: Witness::Event };
    use Condition::{Completed, Healthy, Started};
    for (state, lifecycle, expected) in [
        (ended(0), Lifecycle::Auto, [true, true, true]),
        (ended(1), Lifecycle::Completed, [false, false, false]),
        (ended(1), Lifecycle::Running, [false, false, false]),
        (State::Gone, Lifecycle::Auto, [true, true, true]),
        (RUNNING, Lifecycle::Auto, [true, true, false]),
    ] {
        let found = [Started, Healthy, Completed].map(|until| met(state, lifecycle, until));
        assert_eq!(found, expected, "{state:?}, {lifecycle:?}");
    }
}

#[test]
fn what_was_removed_holds_nobody_for_longer_than_a_deployment_takes() {
    for until in [Condition::Started, Condition::Healthy, Condition::Completed] {
        let mut rig = stack();
        needs(&mut rig, API, vec![need(&[DB], until)]);
        rig.becomes(DB, State::Gone);
        rig.step(Input::Change { service: DB });
        rig.becomes(API, UNHEALTHY);
        assert_eq!(touched(&rig), [], "{until:?}");
        rig.pass(secs(301));
        assert_eq!(touched(&rig), [API], "{until:?}");
    }
}

#[test]
fn what_nothing_has_spoken_for_yet_has_started_and_is_not_healthy() {
    let starting = State::Running(iaso_policy::input::EngineHealth::Starting);
    for (until, acts) in [(Condition::Started, true), (Condition::Healthy, false)] {
        let mut rig = stack();
        needs(&mut rig, API, vec![need(&[DB], until)]);
        rig.starts(DB, starting);
        rig.becomes(API, UNHEALTHY);
        assert_eq!(touched(&rig).contains(&API), acts, "{until:?}");
    }
}

#[test]
fn one_of_several_is_enough() {
    let mut rig = stack();
    needs(&mut rig, WEB, vec![need(&[DB, API], Condition::Healthy)]);
    needs(&mut rig, API, vec![]);
    rig.dies(DB, 1);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(touched(&rig), [DB, WEB]);
    rig.becomes(API, UNHEALTHY);
    assert_eq!(touched(&rig), [DB, WEB, API]);
}

#[test]
fn what_nobody_knows_holds_nobody() {
    let elsewhere = HostId(1);
    let mut rig = stack();
    rig.step(Input::Host { host: elsewhere, link: HostLink::Up { engine_started: false } });
    rig.add(ServiceId(3), ServiceSpec { host: elsewhere, ..spec("far") }, RestartPolicy::No, HEALTHY);
    needs(&mut rig, API, vec![need(&[ServiceId(3)], Condition::Healthy), need(&[], Condition::Healthy)]);
    needs(&mut rig, WEB, vec![need(&[ServiceId(77)], Condition::Healthy)]);
    rig.step(Input::Host { host: elsewhere, link: HostLink::Down });
    rig.becomes(API, UNHEALTHY);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(touched(&rig), [API, WEB]);
}

#[test]
fn what_nobody_watches_holds_as_the_engine_has_it() {
    let as_seen = |unwatched: Option<bool>| Need { unwatched, ..need(&[], Condition::Healthy) };
    let mut rig = stack();
    needs(&mut rig, API, vec![as_seen(Some(false))]);
    rig.becomes(API, UNHEALTHY);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![], Some((Hold::Dependency, None))));
    assert_eq!(hold(&rig, WEB), Some((Hold::Dependency, Some(API))));
    needs(&mut rig, API, vec![as_seen(Some(true))]);
    assert_eq!(touched(&rig), [API]);
    carry_out_healthy(&mut rig);
    rig.pass(secs(30));
    assert_eq!(touched(&rig), [API, WEB]);

    // Who needs it through others waits as well, and is woken as well.
    let mut rig = stack();
    needs(&mut rig, API, vec![as_seen(Some(false))]);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!((touched(&rig), hold(&rig, WEB)), (vec![], Some((Hold::Dependency, None))));
    needs(&mut rig, API, vec![as_seen(None)]);
    assert_eq!(touched(&rig), [WEB]);

    // One of several is enough, watched or not.
    let mut rig = stack();
    needs(&mut rig, API, vec![Need { on: vec![DB], ..as_seen(Some(true)) }]);
    needs(&mut rig, WEB, vec![Need { on: vec![DB], ..as_seen(Some(false)) }]);
    rig.stopped_by_a_person(DB);
    rig.becomes(API, UNHEALTHY);
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!((touched(&rig), hold(&rig, WEB)), (vec![API], Some((Hold::Dependency, Some(DB)))));
}

#[test]
fn who_waits_for_a_host_that_is_lost_goes_on() {
    let elsewhere = HostId(1);
    let mut rig = stack();
    rig.step(Input::Host { host: elsewhere, link: HostLink::Up { engine_started: false } });
    rig.add(ServiceId(3), ServiceSpec { host: elsewhere, ..spec("far") }, RestartPolicy::No, HEALTHY);
    needs(&mut rig, API, vec![need(&[ServiceId(3)], Condition::Healthy)]);
    rig.stopped_by_a_person(ServiceId(3));
    rig.becomes(API, UNHEALTHY);
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![], Some((Hold::Dependency, Some(ServiceId(3))))));
    rig.step(Input::Host { host: elsewhere, link: HostLink::Down });
    assert_eq!(touched(&rig), [API]);
}

#[test]
fn checks_that_cannot_be_made_are_waited_for_as_long_as_a_start_may_take() {
    let mut rig = stack();
    let mut checked = spec("db");
    checked.checks = vec![check(1)];
    rig.step(Input::Define { service: DB, spec: Box::new(checked) });
    rig.starts(DB, RUNNING);
    rig.becomes(API, UNHEALTHY);
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![], Some((Hold::Dependency, Some(DB)))));
    rig.pass(secs(59));
    assert_eq!(touched(&rig), []);
    rig.pass(secs(2));
    assert_eq!(touched(&rig), [API]);
}

#[test]
fn what_many_need_is_asked_once() {
    let mut rig = stack();
    needs(&mut rig, WEB, vec![need(&[DB], Condition::Healthy)]);
    rig.pass(secs(60));
    rig.looks_answered = false;
    rig.becomes(API, UNHEALTHY);
    rig.becomes(WEB, UNHEALTHY);
    let asked = rig.log.iter().filter(|action| matches!(action, Action::Look { service: DB })).count();
    assert_eq!((asked, touched(&rig)), (1, vec![]));
    rig.look(DB);
    assert_eq!(touched(&rig), [API, WEB]);
}

#[test]
fn what_is_given_up_is_stopped_where_asked_whatever_it_needs() {
    let mut rig = stack();
    let mut stopped = spec("api");
    stopped.recovery.max_attempts = 1;
    stopped.recovery.on_quarantine = OnQuarantine::Stop;
    rig.step(Input::Define { service: API, spec: Box::new(stopped) });
    rig.becomes(API, UNHEALTHY);
    rig.starts(API, HEALTHY);
    rig.finish(Outcome::Done);
    rig.dies(DB, 1);
    rig.becomes(API, UNHEALTHY);
    rig.pass(secs(1));
    let steps: Vec<_> = rig.operations.iter().map(|operation| (operation.service, operation.step)).collect();
    assert_eq!(steps, [(API, Step::Restart), (DB, Step::Restart), (API, Step::Stop)]);
}

#[test]
fn what_a_person_stopped_holds_those_who_need_it_until_it_runs_well_again() {
    let mut rig = stack();
    rig.stopped_by_a_person(DB);
    rig.becomes(API, UNHEALTHY);
    rig.pass(secs(3600));
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![], Some((Hold::Dependency, Some(DB)))));
    rig.starts(DB, HEALTHY);
    rig.pass(secs(10));
    assert_eq!(touched(&rig), [API]);
}

#[test]
fn what_got_well_by_itself_holds_until_it_has_stayed_so() {
    let mut rig = stack();
    rig.order(DB, Order::Pause);
    rig.becomes(DB, UNHEALTHY);
    rig.becomes(API, UNHEALTHY);
    rig.becomes(DB, HEALTHY);
    rig.pass(secs(5));
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![], Some((Hold::Dependency, Some(DB)))));
    rig.pass(secs(10));
    assert_eq!(touched(&rig), [API]);
}

#[test]
fn a_need_that_is_not_any_more_holds_nobody() {
    let mut rig = stack();
    rig.stopped_by_a_person(DB);
    rig.becomes(API, UNHEALTHY);
    assert_eq!(touched(&rig), []);
    needs(&mut rig, API, vec![]);
    assert_eq!(touched(&rig), [API]);
}

#[test]
fn a_person_s_order_does_not_wait_for_a_need() {
    let mut rig = stack();
    rig.stopped_by_a_person(DB);
    rig.becomes(API, UNHEALTHY);
    rig.order(API, Order::Restart { now: false });
    assert_eq!(rig.operations.last().map(|operation| operation.cause), Some(Cause::Operator));
}

#[test]
fn who_lives_on_another_starts_anew_after_it_once_and_pays_for_it() {
    let mut rig = stack();
    needs(&mut rig, API, vec![Need { restarts: Restarts::Started, ..need(&[DB], Condition::Started) }]);
    assert_eq!(touched(&rig), [], "it began after what it lives on");
    rig.pass(secs(1));
    rig.starts(DB, HEALTHY);
    rig.pass(secs(15));
    assert_eq!(touched(&rig), [API]);
    let operation = *rig.operations.last().unwrap();
    assert_eq!((operation.step, operation.trouble), (Step::Restart, Some(Trouble::Outlived)));
    assert_eq!(rig.view(API).budget_remaining, 4);
    carry_out_healthy(&mut rig);
    rig.pass(secs(600));
    assert_eq!(touched(&rig), [API], "once");
    assert!(rig.events().any(|event| matches!(event, Event::IncidentClosed { .. })));
    // While what it lives on is down it waits.
    rig.dies(DB, 1);
    assert_eq!(touched(&rig), [API, DB]);
    carry_out_healthy(&mut rig);
    assert_eq!(hold(&rig, API), Some((Hold::Dependency, Some(DB))), "it is not stable yet");
    rig.pass(secs(20));
    assert_eq!(touched(&rig), [API, DB, API]);
}

#[test]
fn who_is_to_follow_a_recovery_starts_anew_after_it_and_after_nothing_else() {
    let mut rig = stack();
    needs(&mut rig, API, vec![Need { restarts: Restarts::Healed, ..need(&[DB], Condition::Healthy) }]);
    rig.pass(secs(1));
    rig.starts(DB, HEALTHY);
    rig.pass(secs(60));
    rig.order(DB, Order::Restart { now: false });
    carry_out_healthy(&mut rig);
    rig.pass(secs(60));
    assert_eq!(touched(&rig), [DB], "what a person did, by Iaso or not, is a person's to complete");
    rig.dies(DB, 1);
    carry_out_healthy(&mut rig);
    rig.pass(secs(5));
    assert_eq!(touched(&rig), [DB, DB], "it is not verified yet");
    rig.pass(secs(15));
    assert_eq!(touched(&rig), [DB, DB, API]);
    let operation = *rig.operations.last().unwrap();
    assert_eq!((operation.step, operation.trouble), (Step::Restart, Some(Trouble::Outlived)));
    assert_eq!(rig.view(API).budget_remaining, 4, "it is charged");
    carry_out_healthy(&mut rig);
    rig.pass(secs(600));
    assert_eq!(touched(&rig), [DB, DB, API], "once");
}

#[test]
fn what_only_another_healer_s_labels_ask_for_does_not_follow() {
    let mut rig = stack();
    rig.step(Input::Define { service: API, spec: Box::new(ServiceSpec { heal_exits: false, ..spec("api") }) });
    needs(&mut rig, API, vec![Need { restarts: Restarts::Started, ..need(&[DB], Condition::Started) }]);
    rig.pass(secs(1));
    rig.starts(DB, HEALTHY);
    rig.pass(secs(60));
    assert_eq!((touched(&rig), rig.view(API).health), (vec![], Health::Healthy));
}

/// Its next life begins by a clock that was set back by hours: later than its last by a trifle only.
fn starts_by_a_clock_set_back(rig: &mut Rig, service: ServiceId) {
    let before = rig.truth[&service].container.instance.started;
    rig.secretly_starts(service, HEALTHY);
    rig.truth.get_mut(&service).unwrap().container.instance.started = before + 1;
    rig.describe(service);
    rig.becomes(service, HEALTHY);
}

#[test]
fn an_engine_whose_clock_was_set_back_hides_no_restart_and_makes_none_up() {
    let mut rig = stack();
    needs(&mut rig, API, vec![Need { restarts: Restarts::Started, ..need(&[DB], Condition::Started) }]);
    rig.stopped_by_a_person(API);
    rig.pass(secs(600));
    rig.starts(DB, HEALTHY);
    rig.pass(secs(600));
    starts_by_a_clock_set_back(&mut rig, API);
    rig.pass(secs(60));
    assert_eq!(touched(&rig), [], "it began ten minutes after what it lives on");
    rig.pass(secs(600));
    starts_by_a_clock_set_back(&mut rig, DB);
    rig.pass(secs(15));
    assert_eq!(touched(&rig), [API], "what it lives on began ten minutes after it");
}

/// What happens to one of six services.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Dies(i32),
    Sickens,
    RecoversByItself,
    Starts,
    Stopped,
    Fails,
    Passes,
    Answered(bool),
    Time(u16),
    LooksStop(bool),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        (0..3).prop_map(Happens::Dies),
        Just(Happens::Sickens),
        Just(Happens::RecoversByItself),
        Just(Happens::Starts),
        Just(Happens::Stopped),
        Just(Happens::Fails),
        Just(Happens::Passes),
        any::<bool>().prop_map(Happens::Answered),
        (1..200_u16).prop_map(Happens::Time),
        any::<bool>().prop_map(Happens::LooksStop),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![Just(Condition::Started), Just(Condition::Healthy), Just(Condition::Completed)]
}

fn restarts() -> impl Strategy<Value = Restarts> {
    prop_oneof![Just(Restarts::Never), Just(Restarts::Healed), Just(Restarts::Started)]
}

/// Mostly, what is needed is watched.
fn unwatched() -> impl Strategy<Value = Option<bool>> {
    prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)]
}

proptest! {
    #![proptest_config(config())]

    /// The judges see to it that no root is passed over, that nothing is done twice and that every hold has its reason.
    #[test]
    fn no_history_makes_a_dependent_go_first(
        edges in prop::collection::vec((0..6_u32, 0..6_u32, condition(), restarts(), unwatched()), 0..10),
        history in prop::collection::vec((0..6_u32, happens()), 1..80),
    ) {
        let mut rig = Rig::new(FleetSpec::default());
        for number in 0..6 {
            let mut checked = spec(&format!("s{number}"));
            checked.checks = vec![check(u64::from(number))];
            checked.recovery.restart_dependents = number % 3 == 0;
            rig.add(ServiceId(number), checked, RestartPolicy::No, HEALTHY);
        }
        for number in 0..6 {
            let of = edges.iter().filter(|(from, to, ..)| *from == number && to < from);
            let all = of.map(|(_, to, until, restarts, unwatched)| {
                Need { restarts: *restarts, unwatched: *unwatched, ..need(&[ServiceId(*to)], *until) }
            });
            needs(&mut rig, ServiceId(number), all.collect());
        }
        for (number, what) in history {
            let service = ServiceId(number);
            let runs = matches!(rig.truth[&service].state, State::Running(_));
            match what {
                Happens::Dies(code) if runs => rig.dies(service, code),
                Happens::Sickens if runs => rig.becomes(service, UNHEALTHY),
                Happens::RecoversByItself if runs => rig.becomes(service, HEALTHY),
                Happens::Starts => rig.starts(service, HEALTHY),
                Happens::Stopped if runs => rig.stopped_by_a_person(service),
                Happens::Fails if runs => rig.check(service, 0, CheckResult::Failed),
                Happens::Passes if runs => rig.check(service, 0, CheckResult::Passed),
                Happens::Answered(well) if !rig.operations.is_empty() => {
                    if well {
                        carry_out_healthy(&mut rig);
                    } else {
                        rig.finish(Outcome::Failed);
                    }
                }
                Happens::Time(seconds) => rig.pass(secs(seconds.into())),
                Happens::LooksStop(answered) => rig.looks_answered = answered,
                _ => {}
            }
        }
    }
}
