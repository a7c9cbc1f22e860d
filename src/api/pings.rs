//! `POST /api/v1/heartbeat/SERVICE[/CHECK]`: a service says that it lives. Over the Unix socket anyone may say so, over TCP
//! whoever knows the check's token.

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use super::services::not_found;
use super::{ApiState, Principal};
use crate::config::mistake::nearest;
use crate::snapshot::{CheckStatus, ServiceStatus, Snapshot};

/// What the paths begin with.
pub(super) const PATH: &str = "/api/v1/heartbeat/";

/// For every heartbeat of the service that the asker may speak for.
pub(super) async fn service(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    who: Extension<Principal>,
    headers: HeaderMap,
) -> Response {
    ping(&state, &name, None, *who, &headers)
}

/// For one of them.
pub(super) async fn check(
    State(state): State<ApiState>,
    Path((name, check)): Path<(String, String)>,
    who: Extension<Principal>,
    headers: HeaderMap,
) -> Response {
    ping(&state, &name, Some(&check), *who, &headers)
}

fn ping(state: &ApiState, name: &str, check: Option<&str>, who: Principal, headers: &HeaderMap) -> Response {
    let snapshot = state.snapshot();
    let service = snapshot.services.iter().map(|service| &**service).find(|service| *service.name == *name);
    let meant = service.into_iter().flat_map(heartbeats).filter(|beat| check.is_none_or(|check| *beat.name == *check));
    let meant: Vec<&CheckStatus> = match who {
        Principal::Socket { .. } => meant.collect(),
        Principal::Anonymous => {
            let token = bearer(headers).unwrap_or_default();
            meant.filter(|beat| opens(beat, token)).collect()
        }
    };
    for beat in &meant {
        (state.ping)(name, &beat.name);
    }
    match (meant.is_empty(), who) {
        (false, _) => StatusCode::NO_CONTENT.into_response(),
        // The same whether there is such a service or not.
        (true, Principal::Anonymous) => Problem::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED")
            .detail("a ping over TCP needs the check's token (Authorization: Bearer TOKEN), over the Unix socket none")
            .into_response(),
        (true, Principal::Socket { .. }) => unknown(&snapshot, service, name).into_response(),
    }
}

fn heartbeats(service: &ServiceStatus) -> impl Iterator<Item = &CheckStatus> {
    service.checks.iter().filter(|check| check.kind == "heartbeat")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether the token is this check's, in a time that does not tell how nearly.
fn opens(beat: &CheckStatus, token: &str) -> bool {
    let own = beat.ping_token.as_ref();
    own.is_some_and(|own| own.expose().as_bytes().ct_eq(token.as_bytes()).into())
}

/// What there is instead.
fn unknown(snapshot: &Snapshot, service: Option<&ServiceStatus>, name: &str) -> Problem {
    let Some(service) = service else {
        let known = snapshot.services.iter().map(|service| &*service.name);
        let problem = not_found(name);
        return match nearest(name, known) {
            Some(nearest) => problem.detail(format!("there is no such service; did you mean `{nearest}`?")),
            None => problem,
        };
    };
    let names: Vec<&str> = heartbeats(service).map(|beat| &*beat.name).collect();
    let detail = if names.is_empty() {
        format!("`{name}` has no check of type heartbeat")
    } else {
        format!("`{name}` has no such heartbeat; it has {}", names.join(", "))
    };
    Problem::new(StatusCode::NOT_FOUND, "HEARTBEAT_NOT_FOUND").detail(detail)
}
