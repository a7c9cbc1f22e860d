//! Services that keep data: told first, stopped gently, never tried for ever, left alone on a full disk; and what follows a
//! service once that is healed.

use std::time::Duration;

use iaso_policy::action::{Operation, Trouble};
use iaso_policy::id::{HostId, ServiceId};
use iaso_policy::input::{CheckResult, HostLink, Order, Outcome, RestartPolicy};
use iaso_policy::record::{AlertKind, Event, Health, Hold};
use iaso_policy::spec::{Condition, FleetSpec, Need, RecoverySpec, Restarts, ServiceSpec, Step};
use iaso_policy::{Action, Input};

use crate::rig::{HEALTHY, HOST, RUNNING, Rig, UNHEALTHY, check, secs, spec};

const DB: ServiceId = ServiceId(0);
const API: ServiceId = ServiceId(1);
const WEB: ServiceId = ServiceId(2);

/// A database as a preset makes it.
fn database() -> ServiceSpec {
    let recovery =
        RecoverySpec { notice: secs(60), least_grace: secs(60), quarantine_retry: None, ..RecoverySpec::default() };
    ServiceSpec { start_period: secs(300), stateful: true, recovery, ..spec("db") }
}

fn hold(rig: &Rig, service: ServiceId) -> Option<Hold> {
    rig.view(service).hold.map(|hold| hold.reason)
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
fn a_person_is_told_first_and_then_it_is_healed() {
    let mut rig = Rig::with(database(), RestartPolicy::No);
    rig.becomes(DB, UNHEALTHY);
    assert_eq!((touched(&rig), hold(&rig, DB)), (vec![], Some(Hold::Notice)));
    let told = rig.events().filter(|event| matches!(event, Event::Held { reason: Hold::Notice, .. })).count();
    assert_eq!(told, 1);
    let [alert] = &rig.alerts[..] else { panic!("{:?}", rig.alerts) };
    assert_eq!((alert.service, alert.reason, alert.until), (DB, Some(Hold::Notice), Some(rig.now.mono + secs(60))));
    rig.pass(secs(59));
    assert_eq!(touched(&rig), []);
    rig.pass(secs(1));
    assert_eq!(touched(&rig), [DB]);
    // Once in an outage.
    rig.starts(DB, UNHEALTHY);
    rig.finish(Outcome::Done);
    rig.pass(secs(20));
    assert_eq!(touched(&rig), [DB, DB], "the second attempt waits for its backoff alone");
}

#[test]
fn nobody_is_waited_for_where_nothing_runs_any_more() {
    let mut rig = Rig::with(database(), RestartPolicy::No);
    rig.dies(DB, 1);
    assert_eq!(touched(&rig), [DB]);
}

#[test]
fn who_takes_the_outage_over_has_it() {
    let mut rig = Rig::with(database(), RestartPolicy::No);
    rig.becomes(DB, UNHEALTHY);
    rig.pass(secs(30));
    let until = rig.now.mono + secs(600);
    rig.order(DB, Order::Acknowledge { until: Some(until) });
    rig.pass(secs(599));
    assert_eq!((touched(&rig), hold(&rig, DB)), (vec![], Some(Hold::Notice)));
    rig.pass(secs(2));
    assert_eq!(touched(&rig), [DB], "it is Iaso's again");

    let mut rig = Rig::with(database(), RestartPolicy::No);
    rig.becomes(DB, UNHEALTHY);
    rig.order(DB, Order::Acknowledge { until: None });
    rig.pass(secs(86_400));
    assert_eq!((touched(&rig), hold(&rig, DB)), (vec![], Some(Hold::Notice)));
    assert_eq!(rig.alerts.len(), 1, "nobody is reminded of what somebody takes care of: {:?}", rig.alerts);
    rig.becomes(DB, HEALTHY);
    rig.pass(secs(60));
    assert_eq!(rig.view(DB).incident, None);
    rig.becomes(DB, UNHEALTHY);
    rig.pass(secs(61));
    assert_eq!(touched(&rig), [DB], "the next outage is another one");

    let mut rig = Rig::with(database(), RestartPolicy::No);
    rig.becomes(DB, UNHEALTHY);
    rig.order(DB, Order::Pause);
    rig.pass(secs(86_400));
    assert_eq!((touched(&rig), hold(&rig, DB)), (vec![], Some(Hold::Paused)));
}

#[test]
fn the_notice_is_told_before_it_is_waited_out() {
    let mut rig = Rig::with(database(), RestartPolicy::No);
    rig.order(DB, Order::Maintain { until: rig.now.mono + secs(600), everything: false });
    rig.becomes(DB, UNHEALTHY);
    rig.pass(secs(600));
    assert_eq!((touched(&rig), hold(&rig, DB)), (vec![], Some(Hold::Notice)), "nobody was told of it yet");
    rig.pass(secs(60));
    assert_eq!(touched(&rig), [DB]);
}

#[test]
fn others_are_healed_at_once_unless_they_ask_for_it() {
    let mut rig = Rig::with(spec("web"), RestartPolicy::No);
    rig.becomes(DB, UNHEALTHY);
    assert_eq!(touched(&rig), [DB]);
    let asked = ServiceSpec { recovery: RecoverySpec { notice: secs(5), ..RecoverySpec::default() }, ..spec("web") };
    let mut rig = Rig::with(asked, RestartPolicy::No);
    rig.becomes(DB, UNHEALTHY);
    assert_eq!(touched(&rig), []);
    rig.pass(secs(5));
    assert_eq!(touched(&rig), [DB]);
}

#[test]
fn it_has_its_time_to_stop() {
    let grace = |least: u64, said: Option<u64>, own: Option<u64>| {
        let mut made = database();
        (made.recovery.least_grace, made.recovery.stop_timeout) = (secs(least), said.map(secs));
        let mut rig = Rig::with(made, RestartPolicy::No);
        rig.truth.get_mut(&DB).unwrap().container.stop_grace = own.map(secs);
        rig.describe(DB);
        rig.becomes(DB, UNHEALTHY);
        rig.pass(secs(60));
        rig.operations[0].stop_grace.map(|grace| grace.as_secs())
    };
    assert_eq!([grace(60, None, None), grace(60, None, Some(10)), grace(60, None, Some(120))], [60, 60, 120].map(Some));
    assert_eq!(grace(60, Some(5), Some(120)), Some(5), "who says so of this very service is heard");
    assert_eq!([grace(0, None, None), grace(0, None, Some(7))], [None, Some(7)]);
}

#[test]
fn it_has_its_time_to_start_and_is_not_tried_for_ever() {
    let mut made = database();
    made.checks = vec![check(1)];
    made.recovery.max_attempts = 1;
    let mut rig = Rig::with(made, RestartPolicy::No);
    rig.pass(secs(1));
    rig.dies(DB, 1);
    rig.carry_out();
    rig.pass(secs(1));
    for _ in 0..3 {
        rig.check(DB, 0, CheckResult::Failed);
        rig.pass(secs(30));
    }
    assert_eq!(touched(&rig), [DB], "it is still starting");
    rig.pass(secs(240));
    assert_eq!(rig.view(DB).quarantine.map(|quarantine| quarantine.retry_at), Some(None));
    rig.pass(secs(30 * 86_400));
    assert_eq!((touched(&rig), hold(&rig, DB)), (vec![DB], Some(Hold::Quarantine)));
}

fn disk(rig: &mut Rig, full: bool) {
    rig.step(Input::Disk { host: HOST, full });
}

#[test]
fn on_a_full_disk_what_keeps_data_is_not_restarted_and_everything_else_is() {
    let mut rig = Rig::new(FleetSpec::default());
    rig.add(API, spec("api"), RestartPolicy::No, RUNNING);
    rig.add(DB, database(), RestartPolicy::No, RUNNING);
    disk(&mut rig, true);
    rig.dies(DB, 1);
    rig.dies(API, 1);
    assert_eq!((touched(&rig), hold(&rig, DB)), (vec![API], Some(Hold::DiskFull)));
    assert_eq!(rig.policy.disk_full_since(HOST), Some(rig.now.mono));
    rig.pass(secs(3600));
    assert_eq!(rig.operations.iter().filter(|operation| operation.service == DB).count(), 0);
    disk(&mut rig, true);
    assert_eq!((rig.said("disk_filled"), rig.said("disk_freed")), (1, 0), "told once");
    let of_host = |rig: &Rig| -> Vec<_> {
        let alerts = rig.alerts.iter().filter(|alert| alert.host == Some(HOST));
        alerts.map(|alert| (alert.service, alert.key.kind, alert.reason)).collect()
    };
    assert_eq!(of_host(&rig), [(DB, AlertKind::NotHealed, Some(Hold::DiskFull))]);
    let told = rig.records.iter().find(|record| record.event.name() == "disk_filled").unwrap();
    assert_eq!(told.service, DB, "under the name of one that it holds");
    disk(&mut rig, false);
    assert_eq!(rig.operations.last().map(|operation| operation.service), Some(DB));
    assert!(rig.events().any(|event| matches!(event, Event::DiskFreed { lasted, .. } if lasted == secs(3600))));
    assert_eq!(rig.policy.disk_full_since(HOST), None);
    assert_eq!(of_host(&rig)[1..], [(DB, AlertKind::Resolved, Some(Hold::DiskFull))]);
}

#[test]
fn another_host_s_disk_is_its_own_and_a_person_may_do_what_they_want() {
    let mut rig = Rig::with(database(), RestartPolicy::No);
    rig.step(Input::Disk { host: HostId(1), full: true });
    rig.dies(DB, 1);
    assert_eq!(touched(&rig), [DB]);
    rig.carry_out();
    rig.pass(secs(60));
    disk(&mut rig, true);
    rig.becomes(DB, UNHEALTHY);
    rig.pass(secs(600));
    assert_eq!((touched(&rig), hold(&rig, DB)), (vec![DB], Some(Hold::DiskFull)));
    rig.order(DB, Order::Restart { now: false });
    assert_eq!(touched(&rig), [DB, DB]);
}

#[test]
fn what_restarts_nothing_goes_on_on_a_full_disk() {
    let mut made = database();
    (made.recovery.ladder, made.recovery.notice) = (vec![Step::Signal(1), Step::Restart], Duration::ZERO);
    let mut rig = Rig::with(made, RestartPolicy::No);
    disk(&mut rig, true);
    rig.becomes(DB, UNHEALTHY);
    assert_eq!(rig.operations.last().map(|operation| operation.step), Some(Step::Signal(1)));
    rig.finish(Outcome::Done);
    rig.pass(secs(900));
    assert_eq!((touched(&rig), hold(&rig, DB)), (vec![DB], Some(Hold::DiskFull)));
}

fn need(on: &[ServiceId]) -> Need {
    Need { on: on.to_vec(), unwatched: None, until: Condition::Started, restarts: Restarts::Never }
}

fn needs(rig: &mut Rig, service: ServiceId, on: &[ServiceId]) {
    rig.step(Input::Needs { service, needs: vec![need(on)] });
}

/// A database that has whatever needs it follow, an API on top of it, and a page on top of the API.
fn stack() -> Rig {
    let mut rig = Rig::new(FleetSpec::default());
    let recovery = RecoverySpec { restart_dependents: true, ..RecoverySpec::default() };
    rig.add(DB, ServiceSpec { recovery, ..spec("db") }, RestartPolicy::No, HEALTHY);
    rig.add(API, spec("api"), RestartPolicy::No, HEALTHY);
    rig.add(WEB, spec("web"), RestartPolicy::No, HEALTHY);
    needs(&mut rig, API, &[DB]);
    needs(&mut rig, WEB, &[API]);
    rig.pass(secs(10));
    rig
}

#[test]
fn what_needs_it_follows_in_order_once_it_is_healed() {
    let mut rig = stack();
    rig.dies(DB, 1);
    carry_out_healthy(&mut rig);
    rig.pass(secs(5));
    assert_eq!(touched(&rig), [DB], "it is not healed yet");
    rig.pass(secs(7));
    assert_eq!(touched(&rig), [DB, API]);
    assert_eq!(hold(&rig, WEB), Some(Hold::Dependency));
    let Operation { step, trouble, .. } = *rig.operations.last().unwrap();
    assert_eq!((step, trouble), (Step::Restart, Some(Trouble::Outlived)));
    assert_eq!(rig.view(API).budget_remaining, 4, "each pays for itself");
    carry_out_healthy(&mut rig);
    rig.pass(secs(15));
    assert_eq!(touched(&rig), [DB, API, WEB]);
    carry_out_healthy(&mut rig);
    rig.pass(secs(3600));
    assert_eq!(touched(&rig), [DB, API, WEB], "once");
    assert!([DB, API, WEB].iter().all(|service| rig.view(*service).incident.is_none()));
}

#[test]
fn what_needs_it_follows_also_where_iaso_died_just_then() {
    for away in [1, 3600] {
        let mut rig = stack();
        rig.order(API, Order::Pause);
        rig.dies(DB, 1);
        carry_out_healthy(&mut rig);
        rig.pass(secs(12));
        assert_eq!((touched(&rig), rig.view(DB).incident), (vec![DB], None));
        rig.killed(false, secs(away));
        let recovery = RecoverySpec { restart_dependents: true, ..RecoverySpec::default() };
        rig.resumes(ServiceSpec { recovery, ..spec("db") });
        for (service, name) in [(API, "api"), (WEB, "web")] {
            rig.step(Input::Define { service, spec: Box::new(spec(name)) });
            rig.describe(service);
            rig.look(service);
        }
        needs(&mut rig, API, &[DB]);
        needs(&mut rig, WEB, &[API]);
        rig.pass(secs(300));
        rig.order(API, Order::Resume);
        rig.pass(secs(1));
        assert_eq!(touched(&rig), [DB, API]);
        carry_out_healthy(&mut rig);
        rig.pass(secs(15));
        assert_eq!(touched(&rig), [DB, API, WEB]);
        carry_out_healthy(&mut rig);
        rig.pass(secs(3600));
        assert_eq!(touched(&rig), [DB, API, WEB], "once");
    }
}

#[test]
fn those_who_follow_go_one_after_the_other() {
    let mut rig = stack();
    needs(&mut rig, WEB, &[DB]);
    rig.dies(DB, 1);
    carry_out_healthy(&mut rig);
    rig.pass(secs(12));
    assert_eq!(touched(&rig), [DB, API]);
    let waits = rig.view(WEB).hold.unwrap();
    assert_eq!((waits.reason, waits.behind), (Hold::Dependency, Some(API)));
    carry_out_healthy(&mut rig);
    rig.pass(secs(5));
    assert_eq!(touched(&rig), [DB, API], "it is verified before the next one goes");
    rig.pass(secs(10));
    assert_eq!(touched(&rig), [DB, API, WEB]);
}

#[test]
fn one_that_does_not_come_up_again_does_not_stop_the_others() {
    let mut rig = stack();
    needs(&mut rig, WEB, &[DB]);
    rig.dies(DB, 1);
    carry_out_healthy(&mut rig);
    rig.pass(secs(12));
    rig.starts(API, UNHEALTHY);
    rig.finish(Outcome::Done);
    rig.pass(secs(3));
    assert_eq!(touched(&rig), [DB, API, WEB]);
}

#[test]
fn who_is_held_is_left_out_with_its_reason() {
    let mut rig = stack();
    rig.order(API, Order::Pause);
    rig.dies(DB, 1);
    carry_out_healthy(&mut rig);
    rig.pass(secs(600));
    assert_eq!((touched(&rig), hold(&rig, API)), (vec![DB], Some(Hold::Paused)));
    rig.order(API, Order::Resume);
    assert_eq!(touched(&rig), [DB, API], "it follows later");
}

#[test]
fn nothing_follows_what_healed_by_itself_was_started_by_a_person_or_got_a_signal() {
    let mut rig = stack();
    rig.becomes(DB, UNHEALTHY);
    rig.finish(Outcome::Moot);
    rig.becomes(DB, HEALTHY);
    rig.pass(secs(60));
    rig.starts(DB, HEALTHY);
    rig.pass(secs(60));
    rig.order(DB, Order::Restart { now: false });
    carry_out_healthy(&mut rig);
    rig.pass(secs(600));
    assert!(touched(&rig).iter().all(|service| *service == DB), "{:?}", touched(&rig));
    let mut rig = stack();
    let recovery = RecoverySpec {
        ladder: vec![Step::Signal(1), Step::Restart],
        restart_dependents: true,
        ..RecoverySpec::default()
    };
    rig.declare(DB, ServiceSpec { recovery, ..spec("db") });
    rig.becomes(DB, UNHEALTHY);
    rig.finish(Outcome::Done);
    rig.becomes(DB, HEALTHY);
    rig.pass(secs(600));
    assert_eq!((touched(&rig), rig.view(DB).health), (vec![DB], Health::Healthy));
}

#[test]
fn what_follows_on_another_host_goes_by_iaso_s_own_clock() {
    let mut rig = stack();
    let elsewhere = HostId(1);
    rig.step(Input::Host { host: elsewhere, link: HostLink::Up { engine_started: false } });
    let far = ServiceId(3);
    rig.add(far, ServiceSpec { host: elsewhere, ..spec("far") }, RestartPolicy::No, HEALTHY);
    // Its engine's clock is a day ahead.
    rig.truth.get_mut(&far).unwrap().container.instance.started += 86_400 * 1_000_000_000;
    rig.describe(far);
    rig.look(far);
    needs(&mut rig, far, &[DB]);
    needs(&mut rig, API, &[]);
    needs(&mut rig, WEB, &[]);
    rig.dies(DB, 1);
    carry_out_healthy(&mut rig);
    rig.pass(secs(12));
    assert_eq!(touched(&rig), [DB, far]);
    assert!(rig.log.iter().any(|action| matches!(action, Action::Operate(operation) if operation.host == elsewhere)));
}
