//! Hand-made pictures for tests.

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::{Identity, IncidentId, ServiceId};
use iaso_policy::record::{Event, Health, Hold};
use iaso_policy::spec::Step;
use iaso_policy::time::{Boot, Mono, Now, Wall};
use iaso_policy::view::{CheckView, HoldView, IncidentView, Phase, ServiceView};
use iaso_policy::{Record, action::Trouble};

use super::{
    CheckStatus, ComponentStatus, ContainerStatus, CredentialStatus, CredentialsPicture, HostStatus, InputTimes,
    OperationCount, RotationStatus, ServiceStatus, Snapshot, VaultStatus,
};
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
            denied: Vec::new(),
            storm: None,
            lost: None,
            disk_full: None,
        }],
        services: Vec::new(),
        waiting: Vec::new(),
        store: up(),
        configuration: up(),
        supervisor: up(),
        windows: Vec::new(),
        law_violations: Vec::new(),
        stale_inputs: 0,
        inputs: InputTimes::default(),
        queues: Vec::new(),
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
            id: "0123456789ab".repeat(5) + "cdef",
            addresses: Vec::new(),
            mounts: Vec::new(),
        }),
        view: ServiceView {
            service: ServiceId(0),
            health: Health::Healthy,
            since: at(-500).mono,
            trouble: None,
            incident: None,
            affected: Vec::new(),
            phase: Phase::Idle,
            hold: None,
            rollout: None,
            next_step: Some(Step::Restart),
            budget_remaining: 5,
            quarantine: None,
            paused: false,
            maintained_until: None,
            container: None,
            state: None,
            engine_restarts: 0,
            stateful: false,
            checks: vec![CheckView { passing: Some(true), failures: 0, proven: true, last: Some(at(-10).mono) }],
        },
        checks: vec![CheckStatus {
            name: Arc::from("api"),
            kind: "http",
            ping_token: None,
            pending: false,
            evidence: Some(Arc::from("status 200 in 3 ms")),
            took: Some(0.003),
            counts: (40, 2),
            certificate_expiry: None,
        }],
        waits_for: Vec::new(),
    }
}

/// The same, unhealthy for two minutes, in an outage.
pub(crate) fn broken(name: &str, trouble: Trouble) -> ServiceStatus {
    let mut service = service(name);
    service.view.health = Health::Unhealthy;
    service.view.since = at(-120).mono;
    service.view.trouble = Some(trouble);
    service.view.incident = Some(IncidentView {
        incident: INCIDENT,
        opened: at(-120),
        attempts: 0,
        failed: 0,
        acknowledged: None,
        root: None,
    });
    service
}

/// The outage of [`broken`].
pub(crate) const INCIDENT: IncidentId = IncidentId(0xab);

/// Held since a minute ago, for another `seconds`.
pub(crate) fn held(reason: Hold, seconds: Option<i64>) -> Option<HoldView> {
    Some(HoldView { reason, since: at(-60).mono, until: seconds.map(|s| at(s).mono), behind: None })
}

/// A credential from Vault that one service uses, read a minute ago and rotated every month.
pub(crate) fn credential(name: &str) -> CredentialStatus {
    let Wall(now) = at(0).wall;
    let mut refreshed = OperationCount::none("refresh", true);
    refreshed.add(secs(2));
    CredentialStatus {
        name: name.into(),
        kind: "kv2",
        component: up(),
        version: Some(7),
        fetched: Some(now - 60_000),
        changed: Some(now - 86_400_000),
        expires: Some(now + 3_600_000),
        kept: false,
        services: vec!["web".into()],
        files: vec![format!("/srv/web/{name}")],
        advice: Vec::new(),
        rotation: Some(RotationStatus {
            step: "idle",
            since: at(-500),
            next: Some(now + 86_400_000),
            last: Some("rotated".to_owned()),
            needs_a_person: false,
        }),
        reads: (12, 1),
        operations: vec![refreshed],
    }
}

/// Vault up with a token for another hour, and this credential.
pub(crate) fn credentials(credential: CredentialStatus) -> CredentialsPicture {
    let Wall(now) = at(0).wall;
    CredentialsPicture {
        vault: Some(VaultStatus { link: up(), token_ends: Some(now + 3_600_000) }),
        credentials: vec![credential.into()],
        tried: true,
    }
}

/// A record of the outage of [`broken`].
pub(crate) fn record(seconds: i64, event: Event) -> Record {
    Record { now: at(seconds), service: ServiceId(0), incident: Some(INCIDENT), event }
}

/// So many seconds.
pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
