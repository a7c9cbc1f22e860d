//! Maintenance, and outages that somebody takes care of.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use iaso_policy::action::Answer;
use iaso_policy::input::Order;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::access::RequestId;
use super::problem::Problem;
use super::services::{answered, give, moment, not_found, time};
use super::{ApiState, Principal};
use crate::orders::Reply;

/// The longest maintenance that can be ordered, in seconds: 31 days.
pub const LONGEST: u64 = 31 * 86_400;

/// The longest comment, in characters.
const LONGEST_COMMENT: usize = 500;

/// The answer of `GET /api/v1/maintenance`. Times are ISO 8601.
#[derive(Debug, Serialize, Deserialize)]
pub struct Maintenance {
    /// The windows of the configuration, in its order.
    pub windows: Vec<Window>,
    /// Every service that is under maintenance now, by name.
    pub services: Vec<Maintained>,
}

/// A window of the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub struct Window {
    /// Its name.
    pub name: String,
    /// The hosts that it covers.
    pub hosts: Vec<String>,
    /// The services that it covers; without any, and without a host, it covers everything.
    pub services: Vec<String>,
    /// When it ends, while it is open.
    pub open_until: Option<String>,
    /// When it opens next.
    pub next: Option<String>,
}

/// A service under maintenance.
#[derive(Debug, Serialize, Deserialize)]
pub struct Maintained {
    /// Its name.
    pub service: String,
    /// When that ends.
    pub until: String,
}

/// An order for maintenance, or for its end.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaintenanceOrder {
    /// For these services.
    pub services: Vec<String>,
    /// For every service, and for those that come meanwhile.
    pub everything: bool,
    /// How long, from now, in seconds: 1 to [`LONGEST`]. Not for an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    /// Why; for the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The answer to such an order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ordered {
    /// The services that were named; none: all.
    pub services: Vec<String>,
    /// When it ends; none: now.
    pub until: Option<String>,
}

/// Somebody takes care of an outage.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acknowledgement {
    /// Only so long, in seconds: 1 to [`LONGEST`]; none: until it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    /// Why; for the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// `GET /api/v1/maintenance`.
pub(super) async fn list(State(state): State<ApiState>) -> Json<Maintenance> {
    let (snapshot, now) = (state.snapshot(), state.clock.now());
    let windows = snapshot.windows.iter().map(|window| Window {
        name: window.name.to_string(),
        hosts: window.hosts.clone(),
        services: window.services.clone(),
        open_until: window.open_until.map(moment),
        next: window.next.map(moment),
    });
    let under = snapshot.services.iter().filter_map(|service| {
        let until = service.view.maintained_until.filter(|until| *until > now.mono)?;
        Some(Maintained { service: service.name.to_string(), until: time(now, until) })
    });
    Json(Maintenance { windows: windows.collect(), services: under.collect() })
}

/// `POST /api/v1/maintenance`.
pub(super) async fn start(
    State(state): State<ApiState>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
    body: Bytes,
) -> Result<Response, Problem> {
    let order: MaintenanceOrder = read(&body).map_err(wrong)?;
    let lasting =
        span(order.for_seconds).map_err(wrong)?.ok_or_else(|| wrong("expected for_seconds: how long it lasts"))?;
    let now = state.clock.now();
    let until = now.mono + lasting;
    let everything = order.everything;
    carry_out(&state, order, Order::Maintain { until, everything }, Some(time(now, until)), *who, &id.0.0).await
}

/// `POST /api/v1/maintenance/end`.
pub(super) async fn end(
    State(state): State<ApiState>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
    body: Bytes,
) -> Result<Response, Problem> {
    let order: MaintenanceOrder = read(&body).map_err(wrong)?;
    if order.for_seconds.is_some() {
        return Err(wrong("an end has no for_seconds: it is now"));
    }
    let everything = order.everything;
    carry_out(&state, order, Order::EndMaintenance { everything }, None, *who, &id.0.0).await
}

/// `POST /api/v1/incidents/ID/ack`.
pub(super) async fn acknowledge(
    State(state): State<ApiState>,
    Path(incident): Path<String>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
    body: Bytes,
) -> Result<Response, Problem> {
    let asked: Acknowledgement =
        if body.is_empty() { Acknowledgement::default() } else { read(&body).map_err(wrong)? };
    let comment = comment(asked.comment).map_err(wrong)?;
    let until = span(asked.for_seconds).map_err(wrong)?.map(|lasting| state.clock.now().mono + lasting);
    let snapshot = state.snapshot();
    let in_it = snapshot
        .services
        .iter()
        .find(|service| service.view.incident.is_some_and(|known| known.incident.to_string() == incident));
    let Some(service) = in_it.map(|service| service.name.to_string()) else {
        let problem = Problem::new(StatusCode::NOT_FOUND, "INCIDENT_NOT_FOUND");
        return Err(problem.detail("there is no outage of this id that goes on"));
    };
    let reply = give(&state, Some(&service), Order::Acknowledge { until }, comment, *who, &id.0.0).await?;
    Ok(match reply {
        Reply::NoSuchService => not_found(&service).into_response(),
        Reply::Answered(answer) => answered(answer, service, &id.0.0),
    })
}

/// For all that are named, or for none.
async fn carry_out(
    state: &ApiState,
    asked: MaintenanceOrder,
    order: Order,
    until: Option<String>,
    who: Principal,
    request_id: &str,
) -> Result<Response, Problem> {
    let MaintenanceOrder { services, everything, comment: said, .. } = asked;
    let said = comment(said).map_err(wrong)?;
    if services.is_empty() != everything {
        return Err(wrong("expected services, or everything = true"));
    }
    let snapshot = state.snapshot();
    let known = |name: &String| snapshot.services.iter().any(|service| *service.name == **name);
    if let Some(unknown) = services.iter().find(|name| !known(name)) {
        return Err(not_found(unknown));
    }
    let named = services.iter().map(|name| Some(name.as_str()));
    let targets: Vec<Option<&str>> = if everything { vec![None] } else { named.collect() };
    for service in targets {
        match give(state, service, order, said.clone(), who, request_id).await? {
            Reply::Answered(Answer::Done) => {}
            Reply::Answered(answer) => return Ok(answered(answer, service.unwrap_or_default().to_owned(), request_id)),
            Reply::NoSuchService if everything => {
                let problem = Problem::new(StatusCode::CONFLICT, "NO_SERVICES");
                return Err(problem.detail("no service is watched yet"));
            }
            Reply::NoSuchService => return Err(not_found(service.unwrap_or_default())),
        }
    }
    Ok((StatusCode::ACCEPTED, Json(Ordered { services, until })).into_response())
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "BAD_REQUEST").detail(detail)
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body is not the JSON that is expected: {error}"))
}

fn span(seconds: Option<u64>) -> Result<Option<Duration>, String> {
    match seconds {
        Some(seconds) if !(1..=LONGEST).contains(&seconds) => {
            Err(format!("expected for_seconds from 1 to {LONGEST}, found {seconds}"))
        }
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

fn comment(said: Option<String>) -> Result<Option<String>, String> {
    let fits = |text: &String| text.chars().count() <= LONGEST_COMMENT && !text.chars().any(char::is_control);
    if said.as_ref().is_none_or(fits) {
        Ok(said)
    } else {
        Err(format!("expected a comment of at most {LONGEST_COMMENT} characters on one line"))
    }
}
