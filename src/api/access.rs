//! Who asks, under which id, and what they may.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use tracing::Instrument;

use super::problem::Problem;
use crate::system::clock::{random_u64, stopwatch};

/// Who asks. The listener says so; nothing in a request can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal {
    /// A process on this machine that may open the Unix socket.
    Socket {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its process, where the system tells.
        pid: Option<i32>,
    },
    /// Anybody.
    Anonymous,
}

impl Principal {
    /// The name for the audit log.
    pub(super) fn name(self) -> String {
        match self {
            Self::Socket { uid, .. } => format!("uid {uid}"),
            Self::Anonymous => "anonymous".to_owned(),
        }
    }

    /// Who sent this request: nobody known, where no listener said so.
    pub(super) fn of(request: &axum::http::Extensions) -> Self {
        request.get().copied().unwrap_or(Self::Anonymous)
    }
}

/// A request's id, in every log line and answer about it.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Lets through what is open to anyone, and anything from the Unix socket.
pub(super) async fn authorize(request: Request, next: Next) -> Response {
    match Principal::of(request.extensions()) {
        Principal::Socket { .. } => next.run(request).await,
        Principal::Anonymous if is_open(request.method(), request.uri().path()) => next.run(request).await,
        // Its own token opens it.
        Principal::Anonymous if request.uri().path().starts_with(super::pings::PATH) => next.run(request).await,
        Principal::Anonymous => Problem::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED")
            .detail("this needs the daemon's Unix socket; open to anyone are /livez, /readyz, /health and /metrics")
            .into_response(),
    }
}

fn is_open(method: &Method, path: &str) -> bool {
    let reads = method == Method::GET || method == Method::HEAD;
    reads && (matches!(path, "/livez" | "/readyz" | "/health" | "/metrics") || path.starts_with("/health/services/"))
}

/// Gives each request its id, and each answer the id, the usual headers and, where it is an error, its problem document.
/// Every log line that is written while it is answered carries the id.
pub(super) async fn identify(mut request: Request, next: Next) -> Response {
    let id = given_id(&request).unwrap_or_else(|| format!("{:016x}", random_u64()));
    request.extensions_mut().insert(RequestId(id.clone()));
    // As an error, for a span that the log's level leaves out lends its id to no line.
    let span = tracing::error_span!("request", request_id = %id);
    let mut response = Problem::complete(answer(request, next).instrument(span).await, &id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}

async fn answer(request: Request, next: Next) -> Response {
    let took = stopwatch();
    let (method, by) = (request.method().clone(), Principal::of(request.extensions()).name());
    // The route, not the path: what a client writes there is its own.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let (status, millis) = (response.status().as_u16(), took().as_millis());
    tracing::debug!(%method, route, status, by, millis, "request answered");
    response
}

/// The id that the client gave, where it is fit for a log line: 1 to 64 of `[A-Za-z0-9_.-]`.
fn given_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let fit = (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    fit.then(|| id.to_owned())
}
