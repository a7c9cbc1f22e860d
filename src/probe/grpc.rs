//! The `grpc` probe: one call of `grpc.health.v1.Health/Check`, over HTTP/2 without negotiation, or over TLS.

use std::error::Error;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::config::validated::GrpcProbe;
use crate::probe::address::Endpoint;
use crate::probe::connect::Connector;
use crate::probe::report::Report;
use crate::probe::run::{Failed, Run};
use crate::system::clock::stopwatch;
use crate::system::tasks::Tasks;

/// The largest answer that is read, in bytes; the protocol's has two.
const ANSWER: usize = 4096;

/// Asks once, connecting to `endpoint` (what [`crate::probe::address::way`] found). Ends within `limit`.
pub(super) async fn probe(
    probe: &GrpcProbe,
    endpoint: &Endpoint,
    connector: &Connector,
    tasks: &Tasks,
    limit: Duration,
) -> Report {
    let mut run = Run::new();
    let ended = timeout(limit, Box::pin(call(probe, endpoint, connector, tasks, &mut run))).await;
    run.report(&ended, limit)
}

async fn call(
    probe: &GrpcProbe,
    endpoint: &Endpoint,
    connector: &Connector,
    tasks: &Tasks,
    run: &mut Run,
) -> Result<(), Failed> {
    let stream = connector.tcp(endpoint, run).await?;
    match &probe.tls {
        None => check(stream, "http", probe, endpoint, tasks, run).await,
        Some(trust) => {
            let (stream, _) = connector.tls(stream, &endpoint.host, trust, Some("h2"), run).await?;
            check(stream, "https", probe, endpoint, tasks, run).await
        }
    }
}

/// The call over a connection that stands.
async fn check<S>(
    stream: S,
    scheme: &str,
    probe: &GrpcProbe,
    endpoint: &Endpoint,
    tasks: &Tasks,
    run: &mut Run,
) -> Result<(), Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    run.doing("request", "the server did not answer the health call");
    let took = stopwatch();
    let host = if endpoint.host.contains(':') { format!("[{}]", endpoint.host) } else { endpoint.host.clone() };
    let Ok(origin) = format!("{scheme}://{host}:{}", endpoint.port).parse() else {
        return run.fail("request", format!("{host} cannot be named in a request"));
    };
    let beside = Beside { tasks: tasks.clone(), until: CancellationToken::new() };
    // However the call ends, nothing of its connection is left working.
    let _all = beside.until.clone().drop_guard();
    let (sender, connection) = match http2::handshake(beside, TokioIo::new(stream)).await {
        Ok(both) => both,
        Err(error) => return run.broke("request", took(), format!("no HTTP/2: {}", cause(&error))),
    };
    let channel = tower::service_fn(move |request| sender.clone().send_request(request));
    let mut client = HealthClient::with_origin(channel, origin).max_decoding_message_size(ANSWER);
    let asked = client.check(HealthCheckRequest { service: probe.service.clone() });
    let answer = tokio::select! {
        biased;
        answer = asked => answer,
        Err(error) = connection => {
            return run.broke("request", took(), format!("the connection broke: {}", cause(&error)));
        }
    };
    let status = match answer {
        Ok(answer) => answer.get_ref().status(),
        Err(status) => return run.broke("request", took(), refusal(&status, &probe.service)),
    };
    run.did("request", took(), "answered".to_owned());
    run.check("status", status == ServingStatus::Serving, words(status).to_owned())
}

/// Runs what a connection needs beside it as tasks, until it is over.
#[derive(Clone)]
struct Beside {
    tasks: Tasks,
    until: CancellationToken,
}

impl<F> Executor<F> for Beside
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let until = self.until.clone();
        self.tasks.spawn("probe-connection", async move {
            until.run_until_cancelled(future).await;
        });
    }
}

const fn words(status: ServingStatus) -> &'static str {
    match status {
        ServingStatus::Serving => "SERVING",
        ServingStatus::NotServing => "NOT_SERVING: the service says that it is not healthy",
        ServingStatus::Unknown => "UNKNOWN: the service has not told how it is",
        ServingStatus::ServiceUnknown => "SERVICE_UNKNOWN: the server does not know the service",
    }
}

/// A status other than OK. Its message is the peer's text and may hold anything, so it is not told.
fn refusal(status: &Status, service: &str) -> String {
    match status.code() {
        Code::NotFound => format!("NOT_FOUND: the server does not know the service {service:?}"),
        Code::Unimplemented => "UNIMPLEMENTED: the server does not offer the health protocol".to_owned(),
        Code::Unauthenticated => "UNAUTHENTICATED: the server asks for credentials".to_owned(),
        Code::PermissionDenied => "PERMISSION_DENIED: the server does not let Iaso ask".to_owned(),
        code => match status.source() {
            Some(error) => format!("the call failed: {}", cause(error)),
            None => format!("the call failed with gRPC code {} ({})", i32::from(code), code.description()),
        },
    }
}

/// The innermost cause in its own words.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
