//! The `http` probe: one HTTP/1.1 request over a fresh connection, and what is expected of its answer.
//!
//! One time limit covers resolution, connection, TLS, redirects, the answer's head and its body. Only the body's first MiB is
//! read and judged. Proxies of the environment are ignored, nothing is retried (a retried probe hides a failure), and given
//! headers never follow a redirect to another origin.

mod judge;
mod texts;

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use hyper::http::response::Parts;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use url::{Position, Url};

use self::texts::Texts;
use crate::config::validated::{HttpMethod, HttpProbe, Trust, UrlHost, UrlPort};
use crate::in_use::{CredentialValues, Which};
use crate::probe::address::Endpoint;
use crate::probe::connect::Connector;
use crate::probe::report::{Report, Step, Verdict};
use crate::probe::run::{Failed, Run};
use crate::system::clock::stopwatch;
use crate::system::trust::tls_words;

/// Probes over HTTP.
#[derive(Debug, Clone)]
pub struct HttpProber {
    connector: Connector,
    values: Option<CredentialValues>,
}

impl HttpProber {
    /// Probes over the connections of this connector, each of which serves one request, with these values of credentials;
    /// none in a process that keeps none.
    pub fn new(connector: Connector, values: Option<CredentialValues>) -> Self {
        Self { connector, values }
    }

    /// Probes once, connecting to `endpoint` (what [`crate::probe::address::way`] found for the probe). Ends within
    /// `timeout`; twice that while a credential that it names changes.
    pub async fn probe(&self, probe: &HttpProbe, endpoint: &Endpoint, timeout: Duration) -> Report {
        let texts = |which| Texts::of(probe, self.values.as_ref(), which);
        let in_use = match texts(Which::InUse) {
            Ok(in_use) => in_use,
            Err(why) => return Report::pending(&why),
        };
        let report = self.once(probe, &in_use, endpoint, timeout).await;
        if report.verdict != Verdict::Failed {
            return report;
        }
        // While a value takes the place of another, a service may take the one or the other.
        match texts(Which::Other) {
            Ok(other) if other != in_use => self.once(probe, &other, endpoint, timeout).await,
            _ => report,
        }
    }

    async fn once(&self, probe: &HttpProbe, texts: &Texts, endpoint: &Endpoint, timeout: Duration) -> Report {
        let mut run = Run::new();
        // Boxed: its future is large, and many probes wait at once.
        let ended = tokio::time::timeout(timeout, Box::pin(self.run(probe, texts, endpoint, &mut run))).await;
        if let (Ok(Ok(())), Some(max)) = (&ended, probe.expect.max_latency) {
            let took = run.took();
            let detail = format!("took {} ms, expected at most {} ms", took.as_millis(), max.as_millis());
            run.steps.push(Step { name: "latency", took, detail, ok: took <= max });
        }
        run.report(&ended, timeout)
    }

    async fn run(&self, probe: &HttpProbe, texts: &Texts, endpoint: &Endpoint, run: &mut Run) -> Result<(), Failed> {
        let Texts { headers, body_contains, answers } = texts;
        let first = run.value("request", url_of(probe, endpoint))?;
        let headers = run.value("request", headers.as_ref().map_err(Clone::clone))?;
        let mut answer = self.ask(probe.method, &first, headers, &probe.trust, run).await?;
        let (mut at, mut method) = (first.clone(), probe.method);
        for followed in 0.. {
            let Some(next) = redirect_of(&answer, &at).filter(|_| probe.redirects > 0) else { break };
            let next = run.value("redirect", next)?;
            if followed == probe.redirects {
                return run.fail("redirect", format!("more than {} redirects", probe.redirects));
            }
            let same_host = next.host() == first.host();
            // Labels may only lead to the container itself, and so may what it answers (the check may come from a label).
            if to_container(probe) && !(same_host && next.port_or_known_default() == first.port_or_known_default()) {
                return run.fail(
                    "redirect",
                    "redirected to another address than the container's, which is not followed".into(),
                );
            }
            if matches!(answer.head.status, StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER)
                && method == HttpMethod::Post
            {
                method = HttpMethod::Get;
            }
            let none = HeaderMap::new();
            let headers = if next.origin() == first.origin() { headers } else { &none };
            // Another host bears its own name; whom to trust stays.
            let server_name = probe.trust.server_name.clone().filter(|_| same_host);
            let trust = Trust { server_name, ..probe.trust.clone() };
            answer = self.ask(method, &next, headers, &trust, run).await?;
            at = next;
        }
        judge::judge(answer, &probe.expect, body_contains.as_ref(), answers, run).await
    }

    /// Connects, asks, and reads the answer's head.
    async fn ask(
        &self,
        method: HttpMethod,
        url: &Url,
        headers: &HeaderMap,
        trust: &Trust,
        run: &mut Run,
    ) -> Result<Answer, Failed> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let endpoint = Endpoint { host, port: url.port_or_known_default().unwrap_or_default() };
        let request = run.value("request", request_of(method, url, headers))?;
        let stream = self.connector.tcp(&endpoint, run).await?;
        if url.scheme() == "https" {
            let (stream, _) = self.connector.tls(stream, &endpoint.host, trust, Some("http/1.1"), run).await?;
            exchange(stream, request, run).await
        } else {
            exchange(stream, request, run).await
        }
    }
}

/// An answer whose head was read, and the connection that its body comes over.
struct Answer {
    head: Parts,
    body: Incoming,
    connection: Connection,
}

/// What moves a connection on, until it ends. Its errors reach those who wait for the head and the body.
type Connection = Fuse<BoxFuture<'static, ()>>;

impl Answer {
    /// The next piece of the body.
    async fn chunk(&mut self) -> hyper::Result<Option<Bytes>> {
        while let Some(frame) = beside(self.body.frame(), &mut self.connection).await {
            if let Ok(piece) = frame?.into_data() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>, run: &mut Run) -> Result<Answer, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    run.doing("request", "waiting for the answer");
    let took = stopwatch();
    let asked = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut connection = connection.map(drop).boxed().fuse();
        let (head, body) = beside(sender.send_request(request), &mut connection).await?.into_parts();
        Ok(Answer { head, body, connection })
    };
    match asked.await {
        Ok(answer) => {
            run.did("request", took(), "answered".to_owned());
            Ok(answer)
        }
        Err(error) => {
            let (name, detail) = words(&error);
            run.broke(name, took(), detail)
        }
    }
}

/// Does some work while the connection that it waits for is moved on.
async fn beside<T>(work: impl Future<Output = T>, connection: &mut Connection) -> T {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let _ended_or_not = connection.poll_unpin(context);
        work.as_mut().poll(context)
    })
    .await
}

/// Whether the probe's way is the container's own (such checks heal, and labels may declare them).
fn to_container(probe: &HttpProbe) -> bool {
    probe.url.host == UrlHost::Container || matches!(probe.url.port, Some(UrlPort::Published(_)))
}

fn url_of(probe: &HttpProbe, endpoint: &Endpoint) -> Result<Url, String> {
    let scheme = if probe.url.https { "https" } else { "http" };
    let host = match endpoint.host.parse() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
        _ => endpoint.host.clone(),
    };
    Url::parse(&format!("{scheme}://{host}:{}{}", endpoint.port, probe.url.path))
        .map_err(|error| format!("the URL cannot be used: {error}"))
}

fn request_of(method: HttpMethod, url: &Url, given: &HeaderMap) -> Result<Request<Empty<Bytes>>, String> {
    let unusable = |error: &dyn Error| format!("the request cannot be made: {error}");
    let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]);
    let mut headers = given.clone();
    for (name, value) in [
        (HOST, host.map_err(|error| unusable(&error))?),
        (ACCEPT, HeaderValue::from_static("*/*")),
        (USER_AGENT, HeaderValue::from_static(concat!("iaso/", env!("CARGO_PKG_VERSION")))),
        (CONNECTION, HeaderValue::from_static("close")),
    ] {
        headers.entry(name).or_insert(value);
    }
    let method = match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Post => {
            headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
            Method::POST
        }
    };
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let request = Request::builder().method(method).uri(path).body(Empty::new());
    let mut request = request.map_err(|error| unusable(&error))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Where the answer redirects to; none when it does not.
fn redirect_of(answer: &Answer, at: &Url) -> Option<Result<Url, String>> {
    let redirects = [301, 302, 303, 307, 308].contains(&answer.head.status.as_u16());
    let location = answer.head.headers.get(LOCATION).filter(|_| redirects)?;
    let next = location.to_str().ok().and_then(|text| at.join(text).ok());
    Some(match next {
        Some(next) if matches!(next.scheme(), "http" | "https") => Ok(next),
        _ => Err("redirected to something that is no http or https URL".to_owned()),
    })
}

/// Which step a request broke in, and its cause's own words.
fn words(error: &hyper::Error) -> (&'static str, String) {
    let mut cause: &(dyn Error + 'static) = error;
    loop {
        if let Some(refused) = cause.downcast_ref().and_then(tls_words) {
            return ("tls", format!("TLS: {}", refused.why));
        }
        match cause.source() {
            Some(next) => cause = next,
            None => return ("request", cause.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
