//! The credentials and what people order for them. No answer ever holds a value.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use iaso_policy::time::{Now, Wall};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::access::RequestId;
use super::health::Status;
use super::problem::Problem;
use super::services::{fit, moment, stopping, time, unavailable};
use super::{ApiState, Principal};
use crate::config::mistake::nearest;
use crate::config::secret::Secret;
use crate::orders::{CredentialOrder, CredentialReply, CredentialRequest};
use crate::snapshot::{CredentialStatus, RotationStatus, VaultStatus};

/// The largest value that is taken, in bytes.
pub const LARGEST_VALUE: usize = 1024 * 1024;

/// The answer of `/api/v1/credentials`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// Vault, where a credential is read from it.
    pub vault: Option<Vault>,
    /// Every credential, by name.
    pub credentials: Vec<Credential>,
}

/// The session with Vault. Times are ISO 8601.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vault {
    /// `healthy` or `unhealthy`.
    pub health: Status,
    /// Since when.
    pub since: String,
    /// What is wrong.
    pub message: Option<String>,
    /// When Iaso's token ends.
    pub token_ends: Option<String>,
}

/// One credential. Times are ISO 8601.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// The word under `type`.
    pub kind: String,
    /// `healthy`; `degraded`: it is old, and still in use; `unhealthy`: there is none.
    pub health: Status,
    /// Since when.
    pub since: String,
    /// What is wrong.
    pub message: Option<String>,
    /// The version in use, where its source counts versions.
    pub version: Option<u64>,
    /// How long ago its source last confirmed it, in seconds.
    pub age_seconds: Option<u64>,
    /// The same as a time.
    pub fetched: Option<String>,
    /// When its value last changed.
    pub changed: Option<String>,
    /// When it ends.
    pub expires: Option<String>,
    /// It comes from the last run of Iaso, and its source has not confirmed it yet.
    pub kept: bool,
    /// The services that use it.
    pub services: Vec<String>,
    /// The files it is written into.
    pub files: Vec<String>,
    /// What an operator should know.
    pub advice: Vec<String>,
    /// Where its rotation stands.
    pub rotation: Option<Rotation>,
}

/// Where a rotation stands. Times are ISO 8601.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rotation {
    /// The word of its step; `idle` between rotations.
    pub step: String,
    /// Since when.
    pub since: String,
    /// When the next one is due; none: by command alone.
    pub next: Option<String>,
    /// How the last one ended.
    pub last: Option<String>,
    /// It has stopped and needs a person.
    pub needs_a_person: bool,
}

/// The answer to an order that was taken.
#[derive(Debug, Serialize, Deserialize)]
pub struct Taken {
    /// The credential.
    pub credential: String,
    /// What is done, or was.
    pub words: String,
}

/// What a rotation would do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The credential.
    pub credential: String,
    /// A line each.
    pub plan: Vec<String>,
}

/// `GET /api/v1/credentials`.
pub(super) async fn list(State(state): State<ApiState>) -> Json<Credentials> {
    let (picture, now) = (state.credentials(), state.clock.now());
    Json(Credentials {
        vault: picture.vault.as_ref().map(|vault| self::vault(vault, now)),
        credentials: picture.credentials.iter().map(|status| credential(status, now)).collect(),
    })
}

/// `GET /api/v1/credentials/NAME`.
pub(super) async fn one(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    let picture = state.credentials();
    match picture.credentials.iter().find(|credential| *credential.name == *name) {
        Some(status) => Json(credential(status, state.clock.now())).into_response(),
        None => not_found(&state, &name).into_response(),
    }
}

/// `POST /api/v1/credentials/NAME/refresh`.
pub(super) async fn refresh(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
) -> Response {
    order(&state, name, CredentialOrder::Refresh, *who, &id.0.0).await
}

/// `POST /api/v1/credentials/NAME/rotate`.
pub(super) async fn rotate(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
) -> Response {
    order(&state, name, CredentialOrder::Rotate, *who, &id.0.0).await
}

/// `POST /api/v1/credentials/NAME/rollback`.
pub(super) async fn rollback(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
) -> Response {
    order(&state, name, CredentialOrder::Rollback, *who, &id.0.0).await
}

/// `GET /api/v1/credentials/NAME/plan`.
pub(super) async fn plan(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
) -> Response {
    order(&state, name, CredentialOrder::Plan, *who, &id.0.0).await
}

/// `PUT /api/v1/credentials/NAME/value`: the body is the value, as text.
pub(super) async fn set(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    who: Extension<Principal>,
    id: Extension<RequestId>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    // Whoever else may give orders some day may not send secrets over the network.
    if !matches!(*who, Principal::Socket { .. }) {
        let detail = "a value is taken over the daemon's Unix socket alone";
        return Problem::new(StatusCode::FORBIDDEN, "SOCKET_ONLY").detail(detail).into_response();
    }
    let wrong = |status, code, detail: &str| Problem::new(status, code).detail(detail).into_response();
    let value = match body.map(|body| String::from_utf8(body.into())) {
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return wrong(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", "expected a value of at most 1 MiB");
        }
        Err(_) => return wrong(StatusCode::BAD_REQUEST, "BAD_REQUEST", "the value did not arrive whole"),
        Ok(Err(_)) => return wrong(StatusCode::BAD_REQUEST, "VALUE_IS_NO_TEXT", "expected a value in UTF-8"),
        Ok(Ok(value)) if value.is_empty() => {
            return wrong(StatusCode::BAD_REQUEST, "VALUE_IS_EMPTY", "expected a value as the request's body");
        }
        Ok(Ok(value)) => value,
    };
    order(&state, name, CredentialOrder::Set(Secret::new(value)), *who, &id.0.0).await
}

async fn order(state: &ApiState, name: String, order: CredentialOrder, who: Principal, request_id: &str) -> Response {
    let by = who.name();
    let (reply, answer) = oneshot::channel();
    // Of `Set` nothing but that is shown.
    let what = format!("{order:?}");
    let request =
        CredentialRequest { credential: name.clone(), order, by: by.clone(), request_id: request_id.to_owned(), reply };
    match state.credential_orders.try_send(request) {
        Ok(()) => {}
        Err(mpsc::error::TrySendError::Full(_)) => {
            return unavailable("TOO_MANY_ORDERS", "more orders are waiting than are taken").into_response();
        }
        // Without credentials nobody keeps any.
        Err(mpsc::error::TrySendError::Closed(_)) if state.credentials().credentials.is_empty() => {
            return not_found(state, &name).into_response();
        }
        Err(mpsc::error::TrySendError::Closed(_)) => return stopping().into_response(),
    }
    let Ok(reply) = answer.await else { return stopping().into_response() };
    tracing::debug!(by, credential = name, order = what, ?reply, "order answered");
    match reply {
        CredentialReply::Taken(words) => {
            (StatusCode::ACCEPTED, Json(Taken { credential: name, words })).into_response()
        }
        CredentialReply::Planned(plan) => Json(Plan { credential: name, plan }).into_response(),
        CredentialReply::Refused(why) => {
            Problem::new(StatusCode::CONFLICT, "CREDENTIAL_REFUSED").detail(why).into_response()
        }
        CredentialReply::NoSuchCredential => not_found(state, &name).into_response(),
    }
}

/// The problem of a name that no credential has, with the one that was probably meant.
fn not_found(state: &ApiState, name: &str) -> Problem {
    let picture = state.credentials();
    let known = picture.credentials.iter().map(|credential| &*credential.name);
    let meant = nearest(name, known).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    let detail = if fit(name) {
        format!("there is no credential `{name}`{meant}")
    } else {
        "this is no credential's name".to_owned()
    };
    Problem::new(StatusCode::NOT_FOUND, "CREDENTIAL_NOT_FOUND").detail(detail)
}

/// As `/health` and the list tell it.
pub(super) const fn health(credential: &CredentialStatus) -> Status {
    match (credential.component.up, credential.fetched) {
        (true, _) => Status::Healthy,
        // What was read last stays in use.
        (false, Some(_)) => Status::Degraded,
        (false, None) => Status::Unhealthy,
    }
}

/// Of the session with Vault.
pub(super) const fn vault_health(vault: &VaultStatus) -> Status {
    if vault.link.up { Status::Healthy } else { Status::Unhealthy }
}

fn vault(vault: &VaultStatus, now: Now) -> Vault {
    Vault {
        health: vault_health(vault),
        since: time(now, now.place(vault.link.since)),
        message: vault.link.message.clone(),
        token_ends: vault.token_ends.map(moment),
    }
}

fn credential(status: &CredentialStatus, now: Now) -> Credential {
    let Wall(wall) = now.wall;
    let texts = |texts: &[std::sync::Arc<str>]| texts.iter().map(ToString::to_string).collect();
    Credential {
        name: status.name.to_string(),
        kind: status.kind.to_owned(),
        health: health(status),
        since: time(now, now.place(status.component.since)),
        message: status.component.message.clone(),
        version: status.version,
        age_seconds: status.fetched.map(|at| u64::try_from(wall.saturating_sub(at) / 1000).unwrap_or(0)),
        fetched: status.fetched.map(moment),
        changed: status.changed.map(moment),
        expires: status.expires.map(moment),
        kept: status.kept,
        services: texts(&status.services),
        files: status.files.clone(),
        advice: status.advice.clone(),
        rotation: status.rotation.as_ref().map(|rotation| self::rotation(rotation, now)),
    }
}

fn rotation(status: &RotationStatus, now: Now) -> Rotation {
    Rotation {
        step: status.step.to_owned(),
        since: time(now, now.place(status.since)),
        next: status.next.map(moment),
        last: status.last.clone(),
        needs_a_person: status.needs_a_person,
    }
}
