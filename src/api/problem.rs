//! Errors as RFC 9457 problem documents, each with a stable code and the request's id.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use iaso_policy::id::AttemptId;
use serde::{Deserialize, Serialize};

/// What went wrong, for programs (`code`) and people (`detail`). Never internals.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// A short name of the status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable word, such as `SERVICE_NOT_FOUND`.
    pub code: String,
    /// What, where and what was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The attempt in flight that stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// The id that the log lines of this request carry.
    pub request_id: Option<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &str) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: None,
            attempt: None,
            request_id: None,
        }
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(super) fn attempt(mut self, attempt: AttemptId) -> Self {
        self.attempt = Some(attempt.to_string());
        self
    }

    /// The answer with its problem document, where it is an error that has no JSON of its own.
    pub(super) fn complete(mut response: Response, request_id: &str) -> Response {
        let status = response.status();
        let own_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
        let problem = match response.extensions_mut().remove::<Self>() {
            Some(problem) => problem,
            None if own_json || !(status.is_client_error() || status.is_server_error()) => return response,
            None => Self::of_status(status),
        };
        let problem = Self { request_id: Some(request_id.to_owned()), ..problem };
        let mut headers = std::mem::take(response.headers_mut());
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        (status, headers, body).into_response()
    }

    /// The problem behind a status that a layer gave without words.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::new(status, "NOT_FOUND").detail("there is nothing at this path"),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "METHOD_NOT_ALLOWED").detail("the Allow header names the methods of this path")
            }
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, "BODY_TOO_LARGE").detail("expected at most 10 MiB"),
            StatusCode::SERVICE_UNAVAILABLE => Self::new(status, "TIMEOUT").detail("no answer was ready within 4 s"),
            StatusCode::BAD_REQUEST => {
                Self::new(status, "BAD_REQUEST").detail("the path or the query is not as expected")
            }
            status if status.is_client_error() => Self::new(status, "BAD_REQUEST"),
            status => Self::new(status, "INTERNAL").detail("a fault of Iaso's own; the log tells more under this id"),
        }
    }
}

impl IntoResponse for Problem {
    /// Without a body: the outermost layer writes it, for it knows the request's id.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
