//! Several hosts: one that cannot be reached is one incident, and neither that nor a storm on it changes what is done elsewhere.

use std::time::Duration;

use iaso_policy::Action;
use iaso_policy::Input;
use iaso_policy::action::Trouble;
use iaso_policy::alert::AlertKey;
use iaso_policy::id::{HostId, IncidentId, ServiceId};
use iaso_policy::input::{HostLink, Outcome, RestartPolicy, State, Witness};
use iaso_policy::laws::Judges;
use iaso_policy::memory::Restored;
use iaso_policy::record::{AlertKind, Event, Health, Hold};
use iaso_policy::spec::{AfterGap, Condition, FleetSpec, Need, Restarts, ServiceSpec, Step};
use iaso_policy::time::Mono;
use proptest::prelude::*;

use crate::histories::config;
use crate::rig::{HEALTHY, HOST, RUNNING, Rig, UNHEALTHY, check, secs, spec, spec_on};

const NAS: HostId = HostId(1);
const UP: HostLink = HostLink::Up { engine_started: false };
const STARTED: HostLink = HostLink::Up { engine_started: true };

/// On the first host.
const WEB: ServiceId = ServiceId(0);
/// On the other.
const DB: ServiceId = ServiceId(1);
const API: ServiceId = ServiceId(2);

/// A web server here, a database and an API on another host; all well for long.
fn two_hosts() -> Rig {
    let mut rig = Rig::new(FleetSpec::default());
    rig.link_of(NAS, UP);
    rig.pass(secs(300));
    rig.add(WEB, spec("web"), RestartPolicy::No, RUNNING);
    rig.add(DB, spec_on(NAS, "db"), RestartPolicy::No, RUNNING);
    rig.add(API, spec_on(NAS, "api"), RestartPolicy::No, RUNNING);
    rig
}

/// What was told of hosts.
#[derive(Debug, PartialEq)]
enum Told {
    Lost(HostId, u32, Duration),
    Back(HostId, Duration),
}

fn told(rig: &Rig) -> Vec<Told> {
    let of_host = |event| match event {
        Event::HostLost { host, services, unreached } => Some(Told::Lost(host, services, unreached)),
        Event::HostBack { host, lasted } => Some(Told::Back(host, lasted)),
        _ => None,
    };
    rig.events().filter_map(of_host).collect()
}

/// The incidents that hosts are told under.
fn incidents(rig: &Rig) -> Vec<IncidentId> {
    let of_host = |event| matches!(event, Event::HostLost { .. } | Event::HostBack { .. });
    let records = rig.records.iter().filter(|record| of_host(record.event));
    records.map(|record| record.incident.expect("an incident of its own")).collect()
}

fn hold(rig: &Rig, service: ServiceId) -> Option<Hold> {
    rig.view(service).hold.map(|hold| hold.reason)
}

#[test]
fn a_lost_host_is_one_incident_however_many_services_it_has() {
    let mut rig = two_hosts();
    rig.link_of(NAS, HostLink::Down);
    assert_eq!([DB, API].map(|id| rig.view(id).health), [Health::Unknown; 2], "at once");
    rig.pass(secs(29));
    assert_eq!((told(&rig), rig.policy.host_loss(NAS)), (vec![], None), "it may be a break");
    rig.pass(secs(2));
    assert_eq!(told(&rig), [Told::Lost(NAS, 2, secs(30))]);
    let loss = rig.policy.host_loss(NAS).unwrap();
    assert_eq!((incidents(&rig), loss.back), (vec![loss.incident], None));
    assert_eq!(rig.records.last().unwrap().service, DB, "under the name of its first service");
    rig.pass(secs(3600));
    assert_eq!((told(&rig).len(), rig.said("incident_opened")), (1, 0));
    rig.link_of(NAS, UP);
    assert_eq!([DB, API].map(|id| rig.view(id).health), [Health::Healthy; 2], "looked at as ever");
    rig.pass(secs(119));
    assert_eq!(told(&rig).len(), 1, "it has not held for long");
    rig.pass(secs(2));
    let lasted = secs(3631);
    assert_eq!(told(&rig)[1..], [Told::Back(NAS, lasted)]);
    assert_eq!((incidents(&rig), rig.policy.host_loss(NAS)), (vec![loss.incident; 2], None));
    assert_eq!((rig.view(WEB).health, rig.operations.len()), (Health::Healthy, 0));
}

#[test]
fn a_short_break_is_none() {
    let mut rig = two_hosts();
    for _ in 0..20 {
        rig.link_of(NAS, HostLink::Down);
        rig.pass(secs(20));
        rig.link_of(NAS, UP);
        rig.pass(secs(20));
    }
    assert_eq!(told(&rig), []);
}

#[test]
fn a_host_that_comes_and_goes_is_one_incident() {
    let mut rig = two_hosts();
    for _ in 0..10 {
        rig.link_of(NAS, HostLink::Down);
        rig.pass(secs(40));
        rig.link_of(NAS, UP);
        rig.pass(secs(100));
    }
    assert_eq!(told(&rig), [Told::Lost(NAS, 2, secs(30))]);
    rig.pass(secs(30));
    assert_eq!(told(&rig)[1..], [Told::Back(NAS, secs(9 * 140 + 40))]);
    // Lost once more, it is another one.
    rig.link_of(NAS, HostLink::Down);
    rig.pass(secs(31));
    let all = incidents(&rig);
    assert_eq!((told(&rig).len(), all[0] == all[1], all[1] == all[2]), (3, true, false));
}

#[test]
fn people_are_alerted_of_a_lasting_loss_once_and_of_its_end() {
    let mut rig = two_hosts();
    let alerts = |rig: &Rig| rig.alerts.iter().map(|alert| (alert.host, alert.key)).collect::<Vec<_>>();
    rig.link_of(NAS, HostLink::Down);
    rig.pass(secs(290));
    assert_eq!(alerts(&rig), []);
    rig.pass(secs(20));
    let incident = rig.policy.host_loss(NAS).unwrap().incident;
    let key = |kind| (Some(NAS), AlertKey { incident, kind, ordinal: 1 });
    assert_eq!(alerts(&rig), [key(AlertKind::NotHealed)]);
    for _ in 0..5 {
        rig.link_of(NAS, UP);
        rig.pass(secs(100));
        rig.link_of(NAS, HostLink::Down);
        rig.pass(secs(400));
    }
    rig.link_of(NAS, UP);
    assert_eq!(alerts(&rig).len(), 1);
    rig.pass(secs(121));
    assert_eq!(alerts(&rig), [key(AlertKind::NotHealed), key(AlertKind::Resolved)]);
}

#[test]
fn one_that_was_never_reached_is_not_lost_and_one_without_services_is_not_told() {
    let mut rig = Rig::new(FleetSpec::default());
    rig.link_of(NAS, HostLink::Down);
    rig.pass(secs(300));
    assert_eq!(rig.policy.host_loss(NAS), None);
    rig.link(HostLink::Down);
    rig.pass(secs(300));
    assert!(rig.policy.host_loss(HOST).is_some());
    rig.link(UP);
    rig.pass(secs(300));
    assert_eq!((told(&rig), rig.policy.host_loss(HOST)), (vec![], None));
}

#[test]
fn what_no_longer_has_a_service_of_a_lost_host_is_told_no_more() {
    let mut rig = two_hosts();
    rig.link_of(NAS, HostLink::Down);
    rig.pass(secs(60));
    for service in [DB, API] {
        rig.undeclare(service);
    }
    rig.link_of(NAS, UP);
    rig.pass(secs(300));
    assert_eq!(told(&rig).len(), 1);
    rig.declare(DB, spec_on(NAS, "db"));
    rig.link_of(NAS, HostLink::Down);
    rig.pass(secs(60));
    assert_eq!(told(&rig)[1..], [Told::Lost(NAS, 1, secs(30))]);
}

#[test]
fn an_outage_goes_on_and_none_begins_while_nobody_can_see() {
    let mut rig = two_hosts();
    rig.dies(DB, 1);
    assert_eq!(rig.operations.len(), 1);
    rig.finish(Outcome::Failed);
    let before = rig.view(DB).incident.unwrap().incident;
    rig.link_of(NAS, HostLink::Down);
    // What a probe finds, or an event that comes late, says nothing now.
    rig.becomes(API, UNHEALTHY);
    rig.pass(secs(3600));
    assert_eq!((hold(&rig, DB), rig.view(DB).health), (Some(Hold::HostDown), Health::Unknown));
    assert_eq!(rig.view(DB).incident.map(|incident| incident.incident), Some(before));
    assert_eq!((rig.view(API).incident, hold(&rig, API), rig.operations.len()), (None, None, 1));
    rig.link_of(NAS, UP);
    assert_eq!(rig.operations[1..].iter().map(|o| o.service).collect::<Vec<_>>(), [DB, API], "both are broken");
    assert_eq!(rig.view(DB).incident.map(|incident| incident.incident), Some(before));
}

#[test]
fn a_service_of_a_lost_host_holds_nobody() {
    let mut rig = two_hosts();
    let needs = vec![Need { on: vec![DB], until: Condition::Healthy, restarts: Restarts::Never, unwatched: None }];
    rig.step(Input::Needs { service: WEB, needs });
    rig.looks_answered = false;
    // It is down, which is waited for; then it is out of sight, which is not.
    rig.dies(DB, 1);
    rig.dies(WEB, 1);
    assert_eq!((hold(&rig, WEB), rig.operations.len()), (Some(Hold::Dependency), 1));
    rig.link_of(NAS, HostLink::Down);
    rig.looks_answered = true;
    assert_eq!((hold(&rig, WEB), rig.operations.last().unwrap().service), (None, WEB));
    rig.carry_out();
    rig.pass(secs(60));
    rig.dies(WEB, 1);
    rig.pass(secs(60));
    assert_eq!(rig.operations.iter().filter(|operation| operation.service == WEB).count(), 2, "lost for good by now");
}

#[test]
fn after_the_reboot_of_a_host_nothing_is_taken_for_a_persons_stop() {
    let mut rig = Rig::new(FleetSpec::default());
    rig.link_of(NAS, UP);
    rig.pass(secs(300));
    let starts = ServiceSpec { after_gap: AfterGap::Start, ..spec_on(NAS, "db") };
    rig.add(DB, starts, RestartPolicy::No, RUNNING);
    rig.add(API, spec_on(NAS, "api"), RestartPolicy::No, RUNNING);
    let (always, stopped) = (ServiceId(3), ServiceId(4));
    rig.add(always, spec_on(NAS, "always"), RestartPolicy::Always, RUNNING);
    rig.add(stopped, ServiceSpec { after_gap: AfterGap::Start, ..spec_on(NAS, "stopped") }, RestartPolicy::No, RUNNING);
    rig.stopped_by_a_person(stopped);
    rig.pass(secs(120));
    // Its shutdown stops them as a person would.
    for service in [DB, API, always] {
        rig.stopped_by_a_person(service);
    }
    rig.pass(secs(5));
    rig.link_of(NAS, HostLink::Down);
    rig.pass(secs(90));
    rig.secretly_starts(always, RUNNING);
    for service in [DB, API, always, stopped] {
        rig.describe(service);
        rig.look(service);
    }
    rig.link_of(NAS, STARTED);
    assert_eq!(hold(&rig, stopped), Some(Hold::OperatorStopped), "long before");
    assert_eq!((hold(&rig, API), rig.view(always).health), (Some(Hold::UnknownStop), Health::Healthy));
    assert_eq!(rig.operations.iter().map(|o| (o.service, o.step)).collect::<Vec<_>>(), [(DB, Step::Restart)]);
    rig.pass(secs(300));
    assert_eq!(told(&rig), [Told::Lost(NAS, 4, secs(30)), Told::Back(NAS, secs(90))]);
}

#[test]
fn after_the_start_of_an_engine_verdicts_wait() {
    let mut rig = two_hosts();
    let checked = ServiceSpec { checks: vec![check(1)], ..spec_on(NAS, "checked") };
    rig.add(ServiceId(3), checked, RestartPolicy::No, HEALTHY);
    rig.link_of(NAS, HostLink::Down);
    rig.pass(secs(60));
    rig.secretly(ServiceId(3), UNHEALTHY);
    rig.look(ServiceId(3));
    rig.link_of(NAS, STARTED);
    rig.pass(secs(119));
    assert_eq!((hold(&rig, ServiceId(3)), rig.operations.len()), (Some(Hold::QuietStart), 0));
    rig.becomes(WEB, UNHEALTHY);
    assert_eq!(rig.operations.last().unwrap().service, WEB, "the other host has not started");
    rig.pass(secs(2));
    assert_eq!(rig.operations.last().unwrap().service, ServiceId(3));
}

#[test]
fn an_engine_that_was_left_alone_is_asked_again_soon_and_that_costs_nothing() {
    let mut rig = two_hosts();
    rig.dies(DB, 1);
    for _ in 0..20 {
        rig.finish(Outcome::LeftAlone);
        assert_eq!((rig.view(DB).budget_remaining, hold(&rig, DB)), (5, Some(Hold::Backoff)));
        rig.pass(secs(6));
    }
    assert_eq!((rig.operations.len(), rig.view(DB).incident.unwrap().attempts), (21, 1));
    rig.carry_out();
    rig.pass(secs(20));
    assert_eq!(rig.view(DB).incident, None);
}

#[test]
fn the_bound_is_the_operators() {
    let mut rig = two_hosts();
    rig.rules(FleetSpec { host_lost_after: secs(5), ..FleetSpec::default() });
    rig.link_of(NAS, HostLink::Down);
    rig.pass(secs(6));
    rig.link_of(NAS, UP);
    rig.pass(secs(21));
    assert_eq!(told(&rig), [Told::Lost(NAS, 2, secs(5)), Told::Back(NAS, secs(6))]);
}

#[test]
fn the_judges_object_to_what_is_told_of_a_host_out_of_reach() {
    let spec = spec_on(NAS, "db");
    let now = two_hosts().now;
    let record = |event| {
        let (service, incident) = (DB, Some(IncidentId(1)));
        Action::Record(iaso_policy::Record { now, service, incident, event })
    };
    let lost = Event::HostLost { host: NAS, services: 1, unreached: secs(30) };
    let opened = Event::IncidentOpened { trouble: Trouble::EngineUnhealthy };
    let waits = Event::Held { reason: Hold::Dependency, until: None, step: None, behind: Some(DB) };
    let judged = |links: &[HostLink], events: &[Event]| {
        let mut judges = Judges::new(&FleetSpec::default(), &Restored::nothing(), now);
        judges.hear(&Input::Define { service: DB, spec: Box::new(spec.clone()) });
        links.iter().for_each(|link| judges.hear(&Input::Host { host: NAS, link: *link }));
        let laws = events.iter().map(|event| judges.judge(now, &record(*event)).err().map(|violation| violation.law));
        laws.collect::<Vec<_>>()
    };
    assert_eq!(judged(&[UP, HostLink::Down], &[lost, lost]), [None, Some(9)]);
    assert_eq!(judged(&[UP], &[lost, opened, waits]), [Some(7), None, None]);
    assert_eq!(judged(&[UP, HostLink::Down], &[opened, waits]), [Some(7), Some(7)]);
}

/// What happens on a host at some moment.
#[derive(Debug, Clone, Copy)]
enum Happens {
    /// The link.
    Down,
    Up,
    Started,
    /// One of its services, by number within the host.
    Dies(u32),
    Sickens(u32),
    Mends(u32),
    /// All of them at once: their network.
    AllSicken,
    AllMend,
}

const EACH: u32 = 6;

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        2 => Just(Happens::Down),
        2 => Just(Happens::Up),
        1 => Just(Happens::Started),
        3 => (0..EACH).prop_map(Happens::Dies),
        2 => (0..EACH).prop_map(Happens::Sickens),
        3 => (0..EACH).prop_map(Happens::Mends),
        1 => Just(Happens::AllSicken),
        1 => Just(Happens::AllMend),
    ]
}

/// A history on the given host alone, or on all three; what was begun and told on the first, and when.
fn on_the_first(history: &[(u32, u16, Happens)], all: bool) -> Vec<(Mono, u32, &'static str)> {
    let mut rig = Rig::new(FleetSpec::default());
    for host in 0..3 {
        rig.link_of(HostId(host), UP);
    }
    rig.pass(secs(300));
    for number in 0..3 * EACH {
        let host = HostId(u16::try_from(number / EACH).unwrap());
        let mut spec = spec_on(host, &format!("s{number}"));
        // By chance waits differ, and what happens elsewhere draws from the same chance.
        spec.recovery.backoff.jitter = 0.0;
        rig.add(ServiceId(number), spec, RestartPolicy::No, HEALTHY);
    }
    for (wait, host, what) in history {
        rig.pass(Duration::from_millis(u64::from(*wait)));
        if all || *host == 0 {
            befall(&mut rig, HostId(*host), *what);
        }
    }
    rig.pass(secs(1200));
    let mine = rig.records.iter().filter(|record| record.service.0 < EACH);
    mine.map(|record| (record.now.mono, record.service.0, record.event.name())).collect()
}

fn befall(rig: &mut Rig, host: HostId, what: Happens) {
    let of = |number: u32| ServiceId(u32::from(host.0) * EACH + number);
    match what {
        Happens::Down => rig.link_of(host, HostLink::Down),
        Happens::Up | Happens::Started => {
            let link = if matches!(what, Happens::Up) { UP } else { STARTED };
            (0..EACH).for_each(|number| rig.look(of(number)));
            rig.link_of(host, link);
        }
        Happens::Dies(number) => become_of(rig, of(number), State::Exited { code: 1, witness: Witness::Event }),
        Happens::Sickens(number) => become_of(rig, of(number), UNHEALTHY),
        Happens::Mends(number) => mend(rig, of(number)),
        Happens::AllSicken => (0..EACH).for_each(|number| become_of(rig, of(number), UNHEALTHY)),
        Happens::AllMend => (0..EACH).for_each(|number| mend(rig, of(number))),
    }
}

fn become_of(rig: &mut Rig, service: ServiceId, state: State) {
    if matches!(rig.truth[&service].state, State::Running(_)) {
        rig.becomes(service, state);
    }
}

/// It starts anew; an operation under way is done by that.
fn mend(rig: &mut Rig, service: ServiceId) {
    rig.starts(service, HEALTHY);
    let open = rig.operations.iter().rev().find(|operation| operation.service == service).map(|o| o.attempt);
    if let Some(attempt) = open {
        rig.step(Input::Finished { service, attempt, outcome: Outcome::Done });
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn law_7_what_befalls_other_hosts_changes_nothing_on_this_one(
        history in proptest::collection::vec((0_u32..40_000, 0_u16..3, happens()), 1..80),
    ) {
        prop_assert_eq!(on_the_first(&history, true), on_the_first(&history, false));
    }
}
