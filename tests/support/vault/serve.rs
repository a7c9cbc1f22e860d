//! The listener, its connections, and what a fault does to a reply on its way out.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;

use super::call::{Presented, Request};
use super::faults::{Asked, Fault, Injected, Strike, Written, instead, strike};
use super::state::State;
use super::{Entry, Tls};

/// What the handle and the connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub inner: Mutex<Inner>,
    /// Changes with each entry of the log, and once more when its outcome is known.
    pub told: watch::Sender<u64>,
    pub prefix: String,
    pub max_body: usize,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub state: State,
    pub clock: Clock,
    pub faults: Vec<Injected>,
    pub log: Vec<Entry>,
    pub received: u64,
}

/// The one clock.
#[derive(Debug)]
pub(super) struct Clock {
    pub start: Timestamp,
    /// When it began to run; none: it stands still.
    pub running: Option<tokio::time::Instant>,
    pub advanced: Duration,
}

impl Clock {
    pub(super) fn now(&self) -> Timestamp {
        self.start + self.advanced + self.running.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's side of TLS.
pub(super) fn acceptor(tls: &Tls) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.expect("ring speaks TLS");
    let builder = match &tls.clients {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(
                CertificateDer::pem_slice_iter(pem.as_bytes()).map(|cert| cert.expect("PEM")),
            );
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().expect("roots"))
        }
    };
    let chain = CertificateDer::pem_slice_iter(tls.cert_pem.as_bytes()).map(|cert| cert.expect("PEM")).collect();
    let key = PemObject::from_pem_slice(tls.key_pem.as_bytes()).expect("a key in PEM");
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a certificate and its key")))
}

/// Serves until it is dropped, and its connections with it.
pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let Some(tls) = tls else { return converse(stream, None, shared).await };
            let Ok(stream) = tls.accept(stream).await else { return };
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| presented(chain.first()?));
            converse(stream, shown, shared).await;
        });
    }
}

fn presented(leaf: &CertificateDer<'_>) -> Option<Presented> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok().map(str::to_owned));
    let mut names: Vec<String> = common.collect();
    if let Ok(Some(others)) = parsed.subject_alternative_name() {
        names.extend(others.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }));
    }
    Some(Presented { der: leaf.to_vec(), names, issuer: parsed.issuer().to_string() })
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, shown: Option<Presented>, shared: Arc<Shared>) {
    let service = service_fn(|request| answer(request, shown.clone(), Arc::clone(&shared)));
    // A client that goes away, and a connection that a fault ends, are no errors of the double.
    let _ended = http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: axum::http::Request<Incoming>,
    certificate: Option<Presented>,
    shared: Arc<Shared>,
) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let path = percent_decoded(parts.uri.path());
    let Some(path) = path.strip_prefix(&shared.prefix).and_then(|path| path.strip_prefix("/v1/")) else {
        return Ok(written(Written::html(404)));
    };
    let Ok(body) = to_bytes(Body::new(body), shared.max_body).await else {
        return Ok(written(Written::json(
            413,
            Some(&serde_json::json!({ "errors": ["http: request body too large"] })),
        )));
    };
    let header = |name: &str| text(&parts.headers, name);
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let namespace = header("x-vault-namespace").unwrap_or_default();
    let namespace = namespace.trim_matches('/');
    let bearer = header("authorization").and_then(|text| text.strip_prefix("Bearer ").map(str::to_owned));
    let request = Request {
        method: parts.method.to_string(),
        path: path.to_owned(),
        query: query.into_owned().collect(),
        namespace: if namespace.is_empty() { String::new() } else { format!("{namespace}/") },
        token: header("x-vault-token").filter(|token| !token.is_empty()).or(bearer),
        wrap_ttl: header("x-vault-wrap-ttl"),
        content_type: header("content-type").unwrap_or_default(),
        body: body.to_vec(),
        certificate,
    };
    let (number, struck) = receive(&shared, &request);
    let Some(Strike { fault, after, stale }) = struck else {
        return Ok(written(handle(&shared, &request, number)));
    };
    if let (Fault::Delay(delay), false) = (&fault, after) {
        tokio::time::sleep(*delay).await;
    }
    let replaced = instead(&fault, &request.path);
    let undone = !after && (replaced.is_some() || matches!(fault, Fault::Drop | Fault::Hang));
    let reply = match (stale, undone) {
        (Some(mut known), _) => {
            let mut inner = shared.lock();
            let reply = known.handle(&request, inner.clock.now()).reply;
            inner.conclude(number, Some(reply.status), false);
            Some(Written::json(reply.status, reply.body.as_ref()))
        }
        (None, true) => None,
        (None, false) => Some(handle(&shared, &request, number)),
    };
    let sent = replaced.or(reply);
    let dropped = matches!(fault, Fault::Drop | Fault::Hang);
    let status = sent.as_ref().filter(|_| !dropped).map(|sent| sent.status);
    shared.lock().rewrite(number, status);
    shared.told.send_modify(|told| *told += 1);
    match (fault, sent) {
        (Fault::Hang, _) => {
            std::future::pending::<Infallible>().await;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        (Fault::Drop, _) | (_, None) => Err(io::ErrorKind::ConnectionAborted.into()),
        (Fault::Truncate(bytes), Some(sent)) => Ok(truncated(sent, bytes)),
        (Fault::Drip { bytes, every }, Some(sent)) => Ok(dripping(sent, bytes, every)),
        (Fault::Delay(delay), Some(sent)) if after => {
            tokio::time::sleep(delay).await;
            Ok(written(sent))
        }
        (_, Some(sent)) => Ok(written(sent)),
    }
}

/// Logs the request, and finds the fault that strikes it.
fn receive(shared: &Shared, request: &Request) -> (u64, Option<Strike>) {
    let mut inner = shared.lock();
    let inner = &mut *inner;
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let asked = Asked { method: &request.method, path: &request.path, body: &body, namespace: &request.namespace };
    let struck = strike(&mut inner.faults, &asked);
    inner.received += 1;
    let now = inner.clock.now();
    inner.state.pass(now);
    let token = request.token.as_ref().and_then(|id| inner.state.tokens.get(id));
    inner.log.push(Entry {
        number: inner.received,
        at: now,
        method: request.method.clone(),
        path: request.path.clone(),
        namespace: request.namespace.clone(),
        accessor: token.map(|token| token.accessor.clone()),
        status: None,
        login: request.path.starts_with("auth/")
            && (request.path.ends_with("/login") || request.path.contains("/login/")),
        minted: false,
        fault: struck.is_some(),
    });
    (inner.received, struck)
}

/// Does what is asked.
fn handle(shared: &Shared, request: &Request, number: u64) -> Written {
    let mut inner = shared.lock();
    let now = inner.clock.now();
    let handled = inner.state.handle(request, now);
    inner.conclude(number, Some(handled.reply.status), handled.minted);
    drop(inner);
    shared.told.send_modify(|told| *told += 1);
    Written::json(handled.reply.status, handled.reply.body.as_ref())
}

impl Inner {
    /// Notes what came of a request, where the log still has it.
    fn conclude(&mut self, number: u64, status: Option<u16>, minted: bool) {
        if let Some(entry) = self.log.iter_mut().rev().find(|entry| entry.number == number) {
            entry.status = status;
            entry.minted = minted;
        }
    }

    /// Notes what was really sent.
    fn rewrite(&mut self, number: u64, status: Option<u16>) {
        if let Some(entry) = self.log.iter_mut().rev().find(|entry| entry.number == number) {
            entry.status = status;
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn percent_decoded(path: &str) -> String {
    let (mut decoded, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        let escaped = (*byte == b'%').then(|| after.get(..2)).flatten();
        let escaped = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn head(sent: &Written) -> axum::http::response::Builder {
    let mut head = Response::builder().status(sent.status);
    for (name, value) in &sent.headers {
        head = head.header(*name, value);
    }
    head.header("cache-control", "no-store")
}

fn written(sent: Written) -> Response<Body> {
    head(&sent).body(Body::from(sent.body)).expect("a response")
}

fn truncated(sent: Written, bytes: usize) -> Response<Body> {
    let head = head(&sent).header("content-length", sent.body.len());
    let mut part = sent.body;
    part.truncate(bytes);
    let part = stream::once(async { Ok(Bytes::from(part)) });
    // What was written goes out when the body is waited for, and not when it fails.
    let end = stream::once(async {
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    head.body(Body::from_stream(part.chain(end))).expect("a response")
}

fn dripping(sent: Written, bytes: usize, every: Duration) -> Response<Body> {
    let head = head(&sent).header("content-length", sent.body.len());
    let drops = stream::unfold(Bytes::from(sent.body), move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(every).await;
        let drop = left.split_to(bytes.clamp(1, left.len()));
        Some((Ok::<_, Infallible>(drop), left))
    });
    head.body(Body::from_stream(drops)).expect("a response")
}
