//! One alert per outage: whose outage is part of whose.

use std::time::Duration;

use iaso_policy::Input;
use iaso_policy::id::{IncidentId, ServiceId};
use iaso_policy::input::{HostLink, Outcome, RestartPolicy};
use iaso_policy::record::Event;
use iaso_policy::spec::{Condition, FleetSpec, Need, Restarts};

use crate::rig::{HEALTHY, Rig, UNHEALTHY, secs, spec};

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
