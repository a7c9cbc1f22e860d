//! Outages, looked back on.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use iaso_policy::id::{Identity, IncidentId};
use serde::Deserialize;

use super::ApiState;
use super::problem::Problem;
use super::services::{fit, not_found, unavailable};
use crate::incidents::Wanted;
use crate::snapshot::Snapshot;

/// The most outages of one answer.
pub const MOST: usize = 500;
/// How many it holds when nothing is said.
pub const USUAL: usize = 20;

/// What may stand behind the `?`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    service: Option<String>,
    #[serde(default)]
    open: bool,
    limit: Option<usize>,
    before: Option<String>,
}

/// `GET /api/v1/incidents`: newest first; `service=NAME`, `open=true`, `limit=N`, and `before=ID` for those that are older.
pub(super) async fn list(
    State(state): State<ApiState>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(asked) = asked.map_err(|error| wrong(error.body_text()))?;
    let limit = asked.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(wrong(format!("expected limit from 1 to {MOST}, found {limit}")));
    }
    let before = match asked.before.as_deref() {
        None => None,
        Some(id) => Some(whole(id).ok_or_else(|| wrong("expected before: an outage's id, 16 hexadecimal digits"))?),
    };
    let snapshot = state.snapshot();
    let identity = match asked.service.as_deref() {
        None => None,
        Some(name) => Some(identity(&state, &snapshot, name).await?),
    };
    // One more than is shown, to know whether there is more.
    let wanted = Wanted { identity, open: asked.open, before, limit: limit + 1 };
    let page = state.timeline.outages(wanted).await.map_err(|why| unread(&why))?;
    Ok(Json((state.incidents)(&snapshot, &page, limit, state.clock.now())).into_response())
}

/// `GET /api/v1/incidents/ID`; the first digits do where no other outage's id begins with them.
pub(super) async fn one(State(state): State<ApiState>, Path(digits): Path<String>) -> Result<Response, Problem> {
    let digits = digits.to_ascii_lowercase();
    let id = match whole(&digits) {
        Some(id) => id,
        None if is_hexadecimal(&digits) && digits.len() < WHOLE => of_digits(&state, &digits).await?,
        None => return Err(wrong("expected an outage's id: up to 16 hexadecimal digits")),
    };
    let account = state.timeline.account(id).await.map_err(|why| unread(&why))?.ok_or_else(unknown)?;
    Ok(Json((state.account)(&state.snapshot(), &account, state.clock.now())).into_response())
}

/// Digits of a whole id.
const WHOLE: usize = 16;

fn whole(id: &str) -> Option<IncidentId> {
    let id = Some(id).filter(|id| id.len() == WHOLE && is_hexadecimal(id))?;
    u64::from_str_radix(id, 16).ok().map(IncidentId)
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The one outage whose id begins so.
async fn of_digits(state: &ApiState, digits: &str) -> Result<IncidentId, Problem> {
    let ids = state.timeline.outage_ids(digits).await.map_err(|why| unread(&why))?;
    match ids[..] {
        [] => Err(unknown()),
        [id] => Ok(id),
        _ => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let problem = Problem::new(StatusCode::CONFLICT, "AMBIGUOUS_ID");
            Err(problem.detail(format!("several outages' ids begin so, among them {}", ids.join(", "))))
        }
    }
}

/// Whom a name is of: a service that is watched, else one that is not any more and had outages that are still known.
async fn identity(state: &ApiState, snapshot: &Snapshot, name: &str) -> Result<Identity, Problem> {
    if let Some(service) = snapshot.services.iter().find(|service| *service.name == *name) {
        return Ok(service.identity.clone());
    }
    if !fit(name) {
        return Err(not_found(name));
    }
    let known = state.timeline.identities_with_outages().await.map_err(|why| unread(&why))?;
    known.into_iter().find(|identity| *identity.short_name() == *name).ok_or_else(|| not_found(name))
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "INCIDENT_NOT_FOUND")
        .detail("there is no outage of this id, or nothing is kept of it any more")
}

fn unread(why: &str) -> Problem {
    tracing::warn!(error = %why, "outages cannot be read");
    unavailable("STORE_UNAVAILABLE", "the store cannot be read now")
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "BAD_REQUEST").detail(detail)
}
