//! The services, and what people order for them.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use iaso_policy::action::Answer;
use iaso_policy::input::Order;
use iaso_policy::time::{Mono, Now, Wall};
use iaso_policy::view::Phase;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::access::RequestId;
use super::problem::Problem;
use super::{ApiState, Principal};
use crate::orders::{Reply, Request};
use crate::snapshot::{ServiceStatus, Snapshot};

/// The newest records that an explanation is made from.
const EXPLAINED: usize = 200;

/// The store has this long to read them; an explanation without history is better than none.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(1);

/// The answer of `/api/v1/services`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Services {
    /// When it was so, ISO 8601.
    pub at: String,
    /// Iaso only observes.
    pub observe: bool,
    /// Every watched service, by name.
    pub services: Vec<Summary>,
    /// Services of the configuration for which no container exists yet.
    pub waiting: Vec<String>,
}

/// One service, in short. Times are ISO 8601, words are the policy's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Its host's name.
    pub host: String,
    /// How it is.
    pub health: String,
    /// Since when.
    pub since: String,
    /// The same as an age, in seconds.
    pub age_seconds: u64,
    /// What is wrong.
    pub trouble: Option<String>,
    /// The outage that goes on.
    pub incident: Option<String>,
    /// What Iaso is doing: `idle`, `operating` or `verifying`.
    pub phase: String,
    /// Why Iaso does not act.
    pub hold: Option<String>,
    /// When it looks at that again by itself.
    pub hold_until: Option<String>,
    /// Automatic operations left in the window.
    pub budget_remaining: u32,
    /// Recovery is given up for now.
    pub quarantined: bool,
    /// A person paused it.
    pub paused: bool,
    /// When its maintenance ends, while it is under any.
    #[serde(default)]
    pub maintenance_until: Option<String>,
    /// A person takes care of the outage that goes on.
    #[serde(default)]
    pub acknowledged: bool,
    /// The outage of something that it needs that its own is, or was, part of.
    #[serde(default)]
    pub part_of: Option<String>,
    /// The services whose outages are, or were, part of its own, those included that are well again.
    #[serde(default)]
    pub affected: Vec<String>,
    /// Its container's name.
    pub container: Option<String>,
    /// Its container's image.
    pub image: Option<String>,
}

/// One service, whole.
#[derive(Debug, Serialize)]
struct Detail {
    #[serde(flatten)]
    summary: Summary,
    identity: String,
    checks: Vec<Check>,
    explain: serde_json::Value,
}

#[derive(Debug, Serialize)]
struct Check {
    name: String,
    kind: &'static str,
    passing: Option<bool>,
    failures: u32,
    proven: bool,
    last: Option<String>,
    took_seconds: Option<f64>,
    evidence: Option<String>,
    passed: u64,
    failed: u64,
}

/// The answer to an order that was taken.
#[derive(Debug, Serialize, Deserialize)]
pub struct Accepted {
    /// The attempt that was begun, else the request's id.
    pub id: String,
    /// The service.
    pub service: String,
    /// Whether an attempt was begun that now runs; else all is done.
    pub begun: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Urgency {
    #[serde(default)]
    now: bool,
}

/// `GET /api/v1/services`.
pub(super) async fn list(State(state): State<ApiState>) -> Json<Services> {
    let (snapshot, now) = (state.snapshot(), state.clock.now());
    Json(Services {
        at: time(now, now.place(snapshot.at)),
        observe: snapshot.observe,
        services: snapshot.services.iter().map(|service| summary(&snapshot, service, now)).collect(),
        waiting: snapshot.waiting.iter().map(ToString::to_string).collect(),
    })
}

/// `GET /api/v1/services/NAME`.
pub(super) async fn one(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    let (snapshot, now) = (state.snapshot(), state.clock.now());
    let Some(service) = find(&snapshot, &name) else { return not_found(&name).into_response() };
    let read = state.timeline.newest(&service.identity, EXPLAINED);
    let timeline = tokio::time::timeout(HISTORY_TIMEOUT, read).await.unwrap_or_default();
    let explain = (state.explain)(&snapshot, service, &timeline, now);
    let checks = service.view.checks.iter().zip(&service.checks).map(|(view, status)| Check {
        name: status.name.to_string(),
        kind: status.kind,
        passing: view.passing,
        failures: view.failures,
        proven: view.proven,
        last: view.last.map(|last| time(now, last)),
        took_seconds: status.took,
        evidence: status.evidence.as_deref().map(ToOwned::to_owned),
        passed: status.counts.0,
        failed: status.counts.1,
    });
    let detail = Detail {
        summary: summary(&snapshot, service, now),
        identity: service.identity.to_string(),
        checks: checks.collect(),
        explain,
    };
    Json(detail).into_response()
}

/// `POST /api/v1/services/NAME/restart`; `?now=true` ends an attempt in flight.
pub(super) async fn restart(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    Query(urgency): Query<Urgency>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
) -> Response {
    order(&state, name, Order::Restart { now: urgency.now }, *who, &id.0.0).await
}

/// `POST /api/v1/services/NAME/pause`.
pub(super) async fn pause(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
) -> Response {
    order(&state, name, Order::Pause, *who, &id.0.0).await
}

/// `POST /api/v1/services/NAME/resume`.
pub(super) async fn resume(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
) -> Response {
    order(&state, name, Order::Resume, *who, &id.0.0).await
}

async fn order(state: &ApiState, service: String, order: Order, who: Principal, request_id: &str) -> Response {
    match give(state, Some(&service), order, None, who, request_id).await {
        Err(problem) => problem.into_response(),
        Ok(Reply::NoSuchService) => not_found(&service).into_response(),
        Ok(Reply::Answered(answer)) => answered(answer, service, request_id),
    }
}

/// Gives the supervisor an order for a service, or for every one, and waits for the answer.
pub(super) async fn give(
    state: &ApiState,
    service: Option<&str>,
    order: Order,
    comment: Option<String>,
    who: Principal,
    request_id: &str,
) -> Result<Reply, Problem> {
    let by = who.name();
    let (reply, answer) = oneshot::channel();
    let named = service.map(str::to_owned);
    let request = Request { service: named, order, comment, request_id: request_id.to_owned(), by: by.clone(), reply };
    match state.orders.try_send(request) {
        Ok(()) => {}
        Err(mpsc::error::TrySendError::Full(_)) => {
            return Err(unavailable("TOO_MANY_ORDERS", "the supervisor has more orders waiting than it takes"));
        }
        Err(mpsc::error::TrySendError::Closed(_)) => return Err(stopping()),
    }
    let reply = answer.await.map_err(|_| stopping())?;
    tracing::debug!(by, service, ?order, ?reply, "order answered");
    Ok(reply)
}

pub(super) fn answered(answer: Answer, service: String, request_id: &str) -> Response {
    let conflict = |code, detail: String| Problem::new(StatusCode::CONFLICT, code).detail(detail);
    match answer {
        Answer::Begun(attempt) => accepted(attempt.to_string(), service, true),
        Answer::Done => accepted(request_id.to_owned(), service, false),
        Answer::Busy(attempt) => conflict(
            "OPERATION_IN_FLIGHT",
            format!("attempt {attempt} for `{service}` is in flight; wait for it, or order with now=true"),
        )
        .attempt(attempt)
        .into_response(),
        Answer::NoTarget => {
            conflict("NO_CONTAINER", format!("`{service}` has no container to do it to")).into_response()
        }
        Answer::NoIncident => conflict("NO_INCIDENT", format!("`{service}` is in no outage")).into_response(),
        Answer::HostDown => {
            unavailable("HOST_DOWN", format!("the engine of `{service}` cannot be reached")).into_response()
        }
        Answer::Stopping => stopping().into_response(),
    }
}

fn accepted(id: String, service: String, begun: bool) -> Response {
    (StatusCode::ACCEPTED, Json(Accepted { id, service, begun })).into_response()
}

pub(super) fn unavailable(code: &str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code).detail(detail)
}

pub(super) fn stopping() -> Problem {
    unavailable("STOPPING", "Iaso is stopping and takes no orders")
}

/// The problem of a name that no service has. Only a fit name is repeated.
pub(super) fn not_found(name: &str) -> Problem {
    let detail =
        if fit(name) { format!("there is no service `{name}`") } else { "this is no service's name".to_owned() };
    Problem::new(StatusCode::NOT_FOUND, "SERVICE_NOT_FOUND").detail(detail)
}

/// Whether a text may be a name.
pub(super) fn fit(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a ServiceStatus> {
    snapshot.services.iter().map(|service| &**service).find(|service| *service.name == *name)
}

fn summary(snapshot: &Snapshot, service: &ServiceStatus, now: Now) -> Summary {
    let view = &service.view;
    Summary {
        name: service.name.to_string(),
        host: service.host.to_string(),
        health: view.health.name().to_owned(),
        since: time(now, view.since),
        age_seconds: now.mono.since(view.since).as_secs(),
        trouble: view.trouble.map(|trouble| trouble.name().to_owned()),
        incident: view.incident.map(|incident| incident.incident.to_string()),
        phase: match view.phase {
            Phase::Idle => "idle",
            Phase::Operating { .. } => "operating",
            Phase::Verifying { .. } => "verifying",
        }
        .to_owned(),
        hold: view.hold.map(|hold| hold.reason.name().to_owned()),
        hold_until: view.hold.and_then(|hold| hold.until).map(|until| time(now, until)),
        budget_remaining: view.budget_remaining,
        quarantined: view.quarantine.is_some(),
        paused: view.paused,
        maintenance_until: view.maintained_until.map(|until| time(now, until)),
        acknowledged: view.incident.is_some_and(|incident| incident.acknowledged.is_some()),
        part_of: view.incident.and_then(|incident| incident.root).map(|root| root.to_string()),
        affected: snapshot.names_of(&view.affected).map(ToString::to_string).collect(),
        container: service.container.as_ref().map(|container| container.name.clone()),
        image: service.container.as_ref().map(|container| container.image.clone()),
    }
}

/// The moment `mono` on the wall clock of `now`, ISO 8601 in UTC to the millisecond.
pub(super) fn time(now: Now, mono: Mono) -> String {
    let Wall(wall) = now.wall;
    moment(wall.saturating_add(mono.0.saturating_sub(now.mono.0)))
}

/// So many milliseconds after 1970, likewise.
pub(super) fn moment(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map(|time| format!("{time:.3}")).unwrap_or_default()
}
