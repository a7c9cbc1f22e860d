//! Asked from outside: health and metrics for anyone, everything else for whoever may.
//!
//! One router serves every listener. The listener says who asks ([`Principal`]), one layer decides what they may.

mod access;
pub mod credentials;
pub mod health;
pub mod incidents;
pub mod listen;
pub mod maintenance;
mod pings;
pub mod problem;
pub mod services;
#[cfg(test)]
mod tests;
pub mod unix;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use iaso_policy::id::{Identity, IncidentId};
use iaso_policy::{Now, Record};
use tokio::sync::{mpsc, watch};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

pub use access::Principal;

use crate::incidents::{Account, Page, Wanted};
use crate::orders;
use crate::snapshot::{CredentialsPicture, ServiceStatus, Snapshot};
use crate::system::clock::Clock;
use crate::system::heartbeat::Heartbeat;
use crate::system::meters::Meters;

/// A request that takes longer is answered 503.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// A larger request body is answered 413.
const LARGEST_BODY: usize = 10 * 1024 * 1024;

/// What the router asks of the rest of Iaso.
#[derive(Clone)]
pub struct ApiState {
    /// How things stand.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The supervisor's ear.
    pub orders: mpsc::Sender<orders::Request>,
    /// How credentials stand.
    pub credentials: watch::Receiver<Arc<CredentialsPicture>>,
    /// The ear of what keeps them.
    pub credential_orders: mpsc::Sender<orders::CredentialRequest>,
    /// The supervisor's sign of life.
    pub heartbeat: Heartbeat,
    /// The time.
    pub clock: Clock,
    /// What was decided so far.
    pub timeline: Arc<dyn Timeline>,
    /// Makes the metrics' exposition.
    pub metrics: Arc<dyn Fn() -> Bytes + Send + Sync>,
    /// What the clients of foreign systems tell of them.
    pub meters: Meters,
    /// Explains a service from its newest records, as JSON.
    pub explain: fn(&Snapshot, &ServiceStatus, &[Record], Now) -> serde_json::Value,
    /// Tells of outages as JSON: of so many at most, and whether there are more.
    pub incidents: fn(&Snapshot, &Page, usize, Now) -> serde_json::Value,
    /// Tells all of one, likewise.
    pub account: fn(&Snapshot, &Account, Now) -> serde_json::Value,
    /// Takes a service's ping for one of its checks.
    pub ping: Arc<Ping>,
}

/// Takes a ping: the service's name, and its check's.
pub type Ping = dyn Fn(&str, &str) + Send + Sync;

/// Reads what was decided.
pub trait Timeline: Send + Sync {
    /// The newest `limit` records about `identity`, oldest first; none where they cannot be read.
    fn newest<'a>(&'a self, identity: &'a Identity, limit: usize) -> BoxFuture<'a, Vec<Record>>;

    /// The outages that are asked for, newest first, and those that are part of them.
    ///
    /// # Errors
    /// Like those that follow, when they cannot be read; in words.
    fn outages(&self, wanted: Wanted) -> BoxFuture<'_, Result<Page, String>>;

    /// The ids of outages that begin with these digits, a few at most.
    fn outage_ids<'a>(&'a self, digits: &'a str) -> BoxFuture<'a, Result<Vec<IncidentId>, String>>;

    /// Everyone who was in an outage that is still known.
    fn identities_with_outages(&self) -> BoxFuture<'_, Result<Vec<Identity>, String>>;

    /// An outage and all that is kept of it; none when there is no such outage (any more).
    fn account(&self, id: IncidentId) -> BoxFuture<'_, Result<Option<Account>, String>>;
}

impl ApiState {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    fn credentials(&self) -> Arc<CredentialsPicture> {
        Arc::clone(&self.credentials.borrow())
    }
}

/// The router behind every listener.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/health", get(health::health))
        .route("/health/services/{name}", get(health::service))
        .route("/metrics", get(metrics))
        .route("/api/v1/services", get(services::list))
        .route("/api/v1/services/{name}", get(services::one))
        .route("/api/v1/services/{name}/restart", post(services::restart))
        .route("/api/v1/services/{name}/pause", post(services::pause))
        .route("/api/v1/services/{name}/resume", post(services::resume))
        .route("/api/v1/maintenance", get(maintenance::list).post(maintenance::start))
        .route("/api/v1/maintenance/end", post(maintenance::end))
        .route("/api/v1/incidents", get(incidents::list))
        .route("/api/v1/incidents/{id}", get(incidents::one))
        .route("/api/v1/incidents/{id}/ack", post(maintenance::acknowledge))
        .route("/api/v1/credentials", get(credentials::list))
        .route("/api/v1/credentials/{name}", get(credentials::one))
        .route("/api/v1/credentials/{name}/plan", get(credentials::plan))
        .route("/api/v1/credentials/{name}/refresh", post(credentials::refresh))
        .route("/api/v1/credentials/{name}/rotate", post(credentials::rotate))
        .route("/api/v1/credentials/{name}/rollback", post(credentials::rollback))
        .route(
            "/api/v1/credentials/{name}/value",
            put(credentials::set).layer(DefaultBodyLimit::max(credentials::LARGEST_VALUE)),
        )
        .route("/api/v1/heartbeat/{name}", post(pings::service))
        .route("/api/v1/heartbeat/{name}/{check}", post(pings::check))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(from_fn(access::authorize))
        .layer(RequestBodyLimitLayer::new(LARGEST_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::new())
        .layer(from_fn(access::identify))
        .with_state(state)
}

async fn metrics(State(state): State<ApiState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (state.metrics)())
}
