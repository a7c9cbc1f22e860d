//! Hand-made pictures for tests.

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::{Identity, IncidentId, ServiceId};
use iaso_policy::record::{Event, Health, Hold};
use iaso_policy::spec::Step;
use iaso_policy::time::{Boot, Mono, Now, Wall};
use iaso_policy::view::{CheckView, HoldView, IncidentView, Phase, ServiceView};
use iaso_policy::{Record, action::Trouble};

use super::{CheckStatus, ComponentStatus, ContainerStatus, HostStatus, ServiceStatus, Snapshot};
use crate::config::validated::Severity;

/// 2026-03-01 14:00:00 UTC, one hour after the machine's boot, `seconds` later (or earlier).
pub(crate) fn at(seconds: i64) -> Now {
    Now { mono: Mono(3_600_000 + seconds * 1000), wall: Wall(1_772_373_600_000 + seconds * 1000), boot: Boot(1) }
}

/// Everything up, nothing watched, started ten minutes ago.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        at: at(0),
        started: at(-600),
        observe: false,
        ready: true,
        hosts: vec![HostStatus {
            name: "local".into(),
            link: up(),
            events_connected: true,
            version: Some("29.1.0 (API 1.52)".to_owned()),
        }],
        services: Vec::new(),
        waiting: Vec::new(),
        store: up(),
        supervisor: up(),
        law_violations: Vec::new(),
        stale_inputs: 0,
    }
}

/// A component that has been up since Iaso's start.
pub(crate) fn up() -> ComponentStatus {
    ComponentStatus { up: true, since: at(-600), message: None }
}

/// A component that went down a minute ago.
pub(crate) fn down(message: &str) -> ComponentStatus {
    ComponentStatus { up: false, since: at(-60), message: Some(message.to_owned()) }
}

/// A healthy service with one HTTP check.
pub(crate) fn service(name: &str) -> ServiceStatus {
    ServiceStatus {
        name: name.into(),
        identity: Identity::container("local", name).unwrap(),
        host: "local".into(),
        severity: Severity::Warning,
        container: Some(ContainerStatus {
            name: name.to_owned(),
            image: "shop:1".to_owned(),
            short_id: "0123456789ab".to_owned(),
            addresses: Vec::new(),
        }),
        view: ServiceView {
            service: ServiceId(0),
            health: Health::Healthy,
            since: at(-500).mono,
            trouble: None,
            incident: None,
            phase: Phase::Idle,
            hold: None,
            next_step: Some(Step::Restart),
            budget_remaining: 5,
            quarantine: None,
            paused: false,
            container: None,
            state: None,
            engine_restarts: 0,
            checks: vec![CheckView { passing: Some(true), failures: 0, proven: true, last: Some(at(-10).mono) }],
        },
        checks: vec![CheckStatus {
            name: Arc::from("api"),
            kind: "http",
            evidence: Some(Arc::from("status 200 in 3 ms")),
            took: Some(0.003),
            counts: (40, 2),
        }],
    }
}

/// The same, unhealthy for two minutes, in an outage.
pub(crate) fn broken(name: &str, trouble: Trouble) -> ServiceStatus {
    let mut service = service(name);
    service.view.health = Health::Unhealthy;
    service.view.since = at(-120).mono;
    service.view.trouble = Some(trouble);
    service.view.incident = Some(IncidentView { incident: INCIDENT, opened: at(-120), attempts: 0, failed: 0 });
    service
}

/// The outage of [`broken`].
pub(crate) const INCIDENT: IncidentId = IncidentId(0xab);

/// Held since a minute ago, for another `seconds`.
pub(crate) fn held(reason: Hold, seconds: Option<i64>) -> Option<HoldView> {
    Some(HoldView { reason, since: at(-60).mono, until: seconds.map(|s| at(s).mono) })
}

/// A record of the outage of [`broken`].
pub(crate) fn record(seconds: i64, event: Event) -> Record {
    Record { now: at(seconds), service: ServiceId(0), incident: Some(INCIDENT), event }
}

/// So many seconds.
pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
