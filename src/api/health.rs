//! Is Iaso alive, is it ready, does it do its work; and is one service well.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use iaso_policy::record::Health;
use serde::{Deserialize, Serialize};

use super::credentials;
use super::services::{not_found, time};
use super::{ApiState, Principal};
use crate::snapshot::{ComponentStatus, HostStatus, Snapshot};
use crate::system::build::VERSION;

/// What is told of a host in a storm.
const STORM: &str = "much of it failed at once: recovery waits, or goes on one service at a time";
/// What is told of an engine whose disk is full.
const DISK_FULL: &str = "its disk is full: what keeps data there is not restarted";

/// How Iaso, or a part of it, does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should.
    Healthy,
    /// With something missing.
    Degraded,
    /// Not at all.
    Unhealthy,
}

/// The answer of `/health`.
#[derive(Debug, Serialize)]
struct Report {
    status: Status,
    version: &'static str,
    uptime_seconds: u64,
    timestamp: String,
    observe: bool,
    components: BTreeMap<String, Component>,
    services: BTreeMap<&'static str, usize>,
}

#[derive(Debug, Serialize)]
struct Component {
    status: Status,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Strictness {
    #[serde(default)]
    strict: bool,
}

/// 200 while the process makes progress.
pub(super) async fn livez(State(state): State<ApiState>) -> Response {
    yes_or_no(state.heartbeat.is_alive(), "alive", "hanging")
}

/// 200 once the first round of checks, and of credentials, was tried.
pub(super) async fn readyz(State(state): State<ApiState>) -> Response {
    let credentials = state.credentials();
    let tried = state.snapshot().ready && (credentials.tried || credentials.credentials.is_empty());
    yes_or_no(state.heartbeat.is_alive() && tried, "ready", "starting")
}

/// 200 while Iaso can do its work; `?strict=true`: and no service is unhealthy.
pub(super) async fn health(
    State(state): State<ApiState>,
    Query(asked): Query<Strictness>,
    principal: Option<Extension<Principal>>,
) -> Response {
    let snapshot = state.snapshot();
    let now = state.clock.now();
    let may_read_messages = matches!(principal, Some(Extension(Principal::Socket { .. })));
    let component = |status, part: &ComponentStatus| Component {
        status,
        since: time(now, now.place(part.since)),
        message: part.message.clone().filter(|_| may_read_messages),
    };
    let supervisor = supervisor_status(&snapshot, state.heartbeat.is_alive());
    let mut components = BTreeMap::from([
        ("supervisor".to_owned(), component(supervisor, &snapshot.supervisor)),
        ("store".to_owned(), component(healthy_or_degraded(&snapshot.store), &snapshot.store)),
        ("configuration".to_owned(), component(healthy_or_degraded(&snapshot.configuration), &snapshot.configuration)),
    ]);
    for (name, goes_through, since) in state.meters.clients() {
        let (status, message) = if goes_through {
            (Status::Healthy, None)
        } else {
            (Status::Unhealthy, Some("its calls failed in a row; it is tried again now and then".to_owned()))
        };
        let since = time(now, since);
        components.insert(name, Component { status, since, message: message.filter(|_| may_read_messages) });
    }
    // After the clients: the link to an engine, and the session with Vault, tell more than whether calls go through.
    for host in &snapshot.hosts {
        let (mut status, part) = host_part(host, &snapshot);
        let name = format!("docker/{}", host.name);
        let changes = components.remove(&name).filter(|changes| changes.status == Status::Unhealthy);
        if let Some(changes) = changes.filter(|_| status == Status::Healthy) {
            status = Status::Degraded;
            components.insert(name, Component { status, ..changes });
        } else {
            components.insert(name, component(status, &part));
        }
    }
    let credentials = state.credentials();
    if let Some(vault) = &credentials.vault {
        components.insert("vault".to_owned(), component(credentials::vault_health(vault), &vault.link));
    }
    for credential in &credentials.credentials {
        let name = format!("credential/{}", credential.name);
        components.insert(name, component(credentials::health(credential), &credential.component));
    }
    let status = overall(&snapshot, supervisor, components.values().map(|part| part.status));
    let services = counts(&snapshot);
    let strict_failure = asked.strict && services["unhealthy"] > 0;
    let code = match status {
        Status::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
        _ if strict_failure => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    let report = Report {
        status,
        version: VERSION,
        uptime_seconds: now.mono.since(now.place(snapshot.started)).as_secs(),
        timestamp: time(now, now.mono),
        observe: snapshot.observe,
        components,
        services,
    };
    (code, Json(report)).into_response()
}

/// An engine, as far as the link to it goes, and what has befallen its host.
fn host_part(host: &HostStatus, snapshot: &Snapshot) -> (Status, ComponentStatus) {
    if host.link.up && host.events_connected {
        let lacks = [(host.storm, STORM), (host.disk_full, DISK_FULL)];
        return match lacks.into_iter().find_map(|(since, what)| Some((since?, what))) {
            None => (Status::Healthy, host.link.clone()),
            Some((since, what)) => {
                (Status::Degraded, ComponentStatus { up: true, since, message: Some(what.to_owned()) })
            }
        };
    }
    let status = if host.link.up { Status::Degraded } else { Status::Unhealthy };
    let Some(lost) = host.lost else { return (status, host.link.clone()) };
    let services = snapshot.services.iter().filter(|service| service.host == host.name).count();
    let why = host.link.message.as_deref().unwrap_or("it does not answer");
    let message = format!(
        "{why}; the host is lost, and nobody knows how its services are ({services}): incident {}",
        lost.incident
    );
    (status, ComponentStatus { message: Some(message), ..host.link.clone() })
}

/// 200 for a service that is healthy or degraded, else 503: for a load balancer or a monitor.
pub(super) async fn service(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    let snapshot = state.snapshot();
    let Some(service) = snapshot.services.iter().find(|service| *service.name == *name) else {
        return not_found(&name).into_response();
    };
    let code = match service.view.health {
        Health::Healthy | Health::Degraded => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let since = time(state.clock.now(), service.view.since);
    let body = serde_json::json!({ "service": name, "health": service.view.health.name(), "since": since });
    (code, Json(body)).into_response()
}

fn yes_or_no(yes: bool, yes_word: &str, no_word: &str) -> Response {
    let (code, word) = if yes { (StatusCode::OK, yes_word) } else { (StatusCode::SERVICE_UNAVAILABLE, no_word) };
    (code, Json(serde_json::json!({ "status": word }))).into_response()
}

fn supervisor_status(snapshot: &Snapshot, alive: bool) -> Status {
    match (alive, snapshot.supervisor.up) {
        (false, _) => Status::Unhealthy,
        (true, false) => Status::Degraded,
        (true, true) => Status::Healthy,
    }
}

/// A store that is down costs history and half of the budgets, a configuration that was refused what it says: never healing.
const fn healthy_or_degraded(part: &ComponentStatus) -> Status {
    if part.up { Status::Healthy } else { Status::Degraded }
}

/// Iaso cannot do its work without its supervisor, or when no engine at all can be reached; anything less is a lack.
fn overall(snapshot: &Snapshot, supervisor: Status, parts: impl Iterator<Item = Status>) -> Status {
    let no_engine = !snapshot.hosts.is_empty() && snapshot.hosts.iter().all(|host| !host.link.up);
    if supervisor == Status::Unhealthy || no_engine {
        return Status::Unhealthy;
    }
    parts.max().map_or(Status::Healthy, |worst| worst.min(Status::Degraded))
}

/// Services by health, and how many are quarantined, held, under maintenance, and not there yet.
fn counts(snapshot: &Snapshot) -> BTreeMap<&'static str, usize> {
    let mut counts: BTreeMap<&'static str, usize> = Health::ALL.iter().map(|health| (health.name(), 0)).collect();
    for service in &snapshot.services {
        *counts.entry(service.view.health.name()).or_default() += 1;
    }
    let count = |is: fn(&iaso_policy::view::ServiceView) -> bool| {
        snapshot.services.iter().filter(|service| is(&service.view)).count()
    };
    counts.insert("total", snapshot.services.len());
    counts.insert("quarantined", count(|view| view.quarantine.is_some()));
    counts.insert("held", count(|view| view.hold.is_some()));
    counts.insert("maintenance", count(|view| view.maintained_until.is_some()));
    counts.insert("waiting", snapshot.waiting.len());
    counts
}
