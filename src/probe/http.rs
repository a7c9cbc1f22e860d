//! The `http` probe: one request over a fresh connection, and what is expected of its answer.
//!
//! One time limit covers resolution, connection, TLS, redirects, the answer's head and its body. Only the body's first MiB is
//! read and judged. Proxies of the environment are ignored, nothing is retried (a retried probe hides a failure), and
//! redirects are followed here, not by the client: given headers never go to another origin.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;

use crate::config::validated::{HttpExpect, HttpMethod, HttpProbe, UrlHost, UrlPort};
use crate::probe::address::Endpoint;
use crate::probe::report::{Report, Step};
use crate::system::clock::stopwatch;
use crate::system::resolver::Resolver;
use crate::system::tls;

/// How much of a body is read.
const BODY: usize = 1024 * 1024;

/// Probes over HTTP. Clones share one client, which keeps no connection.
#[derive(Debug, Clone)]
pub struct HttpProber {
    client: Client,
    resolver: Resolver,
}

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A root certificate is unusable.
    #[error(transparent)]
    Root(#[from] tls::BadRoot),
    /// The HTTP library refuses its settings.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
}

impl HttpProber {
    /// Trusts the machine's roots and `extra_roots`.
    ///
    /// # Errors
    /// When one of `extra_roots` cannot be used.
    pub fn new(resolver: Resolver, extra_roots: &[CertificateDer<'static>]) -> Result<Self, SetupError> {
        let client = Client::builder()
            .tls_backend_preconfigured((*tls::client_config(extra_roots)?).clone())
            .dns_resolver(resolver.clone())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .referer(false)
            .user_agent(concat!("iaso/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, resolver })
    }

    /// Probes once, connecting to `endpoint` (what [`crate::probe::address::endpoint`] found for the probe's URL). Ends
    /// within `timeout`.
    pub async fn probe(&self, probe: &HttpProbe, endpoint: &Endpoint, timeout: Duration) -> Report {
        let mut run = Run { steps: Vec::new(), phase: "resolve", total: Box::new(stopwatch()) };
        // Boxed: the client's futures are large, and many probes wait at once.
        let ended = tokio::time::timeout(timeout, Box::pin(self.run(probe, endpoint, &mut run))).await;
        let took = (run.total)();
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(Failed)) => return Report::of(run.steps, took),
            Err(_) => {
                let doing = match run.phase {
                    "resolve" => "the name was being resolved",
                    "body" => "the body was being read",
                    _ => "waiting for the answer",
                };
                let step = Step {
                    name: run.phase,
                    took,
                    detail: format!("no whole answer within {timeout:?}: {doing}"),
                    ok: false,
                };
                run.steps.push(step);
                return Report::of(run.steps, took);
            }
        }
        if let Some(max) = probe.expect.max_latency {
            let detail = format!("took {} ms, expected at most {} ms", took.as_millis(), max.as_millis());
            run.steps.push(Step { name: "latency", took, detail, ok: took <= max });
        }
        Report::of(run.steps, took)
    }

    async fn run(&self, probe: &HttpProbe, endpoint: &Endpoint, run: &mut Run) -> Result<(), Failed> {
        let first = run.value("request", url_of(probe, endpoint))?;
        let headers = run.value("request", headers_of(probe))?;
        let mut answer = self.ask(probe.method, &first, &headers, run).await?;
        let (mut at, mut method) = (first.clone(), probe.method);
        for followed in 0.. {
            let Some(next) = redirect_of(&answer, &at).filter(|_| probe.redirects > 0) else { break };
            let next = run.value("redirect", next)?;
            if followed == probe.redirects {
                return run.fail("redirect", format!("more than {} redirects", probe.redirects));
            }
            // Labels may only lead to the container itself, and so may what it answers (the check may come from a label).
            if to_container(probe)
                && (next.host() != first.host() || next.port_or_known_default() != first.port_or_known_default())
            {
                return run.fail(
                    "redirect",
                    "redirected to another address than the container's, which is not followed".into(),
                );
            }
            if matches!(answer.status(), StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER)
                && method == HttpMethod::Post
            {
                method = HttpMethod::Get;
            }
            let none = HeaderMap::new();
            let own = next.origin() == first.origin();
            answer = self.ask(method, &next, if own { &headers } else { &none }, run).await?;
            at = next;
        }
        judge(answer, &probe.expect, run).await
    }

    /// Resolves, connects, asks, and reads the answer's head.
    async fn ask(&self, method: HttpMethod, url: &Url, headers: &HeaderMap, run: &mut Run) -> Result<Response, Failed> {
        let host = url.host_str().unwrap_or_default();
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_err() {
            run.phase = "resolve";
            let took = stopwatch();
            // The client asks the same resolver again, and is answered from its cache.
            let found = self.resolver.lookup(host).await.map_err(|error| error.to_string());
            let found = run.value("resolve", found)?;
            let detail = found.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
            run.steps.push(Step { name: "resolve", took: took(), detail, ok: true });
        }
        run.phase = "request";
        let took = stopwatch();
        let method = match method {
            HttpMethod::Get => Method::GET,
            HttpMethod::Head => Method::HEAD,
            HttpMethod::Post => Method::POST,
        };
        match self.client.request(method, url.clone()).headers(headers.clone()).send().await {
            Ok(answer) => {
                let detail = answer.remote_addr().map(|address| format!("answered by {address}")).unwrap_or_default();
                run.steps.push(Step { name: "request", took: took(), detail, ok: true });
                Ok(answer)
            }
            Err(error) => {
                let (name, detail) = words(&error);
                run.steps.push(Step { name, took: took(), detail, ok: false });
                Err(Failed)
            }
        }
    }
}

/// A probe under way.
struct Run {
    steps: Vec<Step>,
    /// What is being done, for a timeout's words.
    phase: &'static str,
    total: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// The last step says how.
struct Failed;

impl Run {
    fn fail<T>(&mut self, name: &'static str, detail: String) -> Result<T, Failed> {
        self.steps.push(Step { name, took: Duration::ZERO, detail, ok: false });
        Err(Failed)
    }

    fn value<T>(&mut self, name: &'static str, value: Result<T, String>) -> Result<T, Failed> {
        value.or_else(|why| self.fail(name, why))
    }

    fn check(&mut self, name: &'static str, ok: bool, detail: String) -> Result<(), Failed> {
        self.steps.push(Step { name, took: Duration::ZERO, detail, ok });
        if ok { Ok(()) } else { Err(Failed) }
    }
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

fn headers_of(probe: &HttpProbe) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &probe.headers {
        let key: HeaderName = name.parse().map_err(|_| format!("{name:?} is not a header's name"))?;
        // The value may be a secret: it is marked so, and no error shows it.
        let mut value =
            HeaderValue::from_str(value).map_err(|_| format!("the header {name} has a value that cannot be sent"))?;
        value.set_sensitive(key != HOST);
        headers.append(key, value);
    }
    Ok(headers)
}

/// Where the answer redirects to; none when it does not.
fn redirect_of(answer: &Response, at: &Url) -> Option<Result<Url, String>> {
    let redirects = [301, 302, 303, 307, 308].contains(&answer.status().as_u16());
    let location = answer.headers().get(LOCATION).filter(|_| redirects)?;
    let next = location.to_str().ok().and_then(|text| at.join(text).ok());
    Some(match next {
        Some(next) if matches!(next.scheme(), "http" | "https") => Ok(next),
        _ => Err("redirected to something that is no http or https URL".to_owned()),
    })
}

/// Compares the answer with what is expected, reading its body.
async fn judge(mut answer: Response, expect: &HttpExpect, run: &mut Run) -> Result<(), Failed> {
    let status = answer.status().as_u16();
    let accepted = expect.status.iter().any(|(low, high)| (*low..=*high).contains(&status));
    let detail = if accepted {
        format!("status {status}")
    } else {
        format!("status {status}, expected {}", ranges(&expect.status))
    };
    run.check("status", accepted, detail)?;
    for (name, part) in &expect.headers {
        let mut values = answer.headers().get_all(name.as_str()).iter().peekable();
        let there = values.peek().is_some();
        let holds = values.any(|value| String::from_utf8_lossy(value.as_bytes()).contains(part.as_str()));
        let detail = match (there, holds) {
            (_, true) => format!("header {name} holds the expected text"),
            (true, false) => format!("header {name} does not hold the expected text"),
            (false, false) => format!("header {name} is not there"),
        };
        run.check("header", holds, detail)?;
    }
    run.phase = "body";
    let took = stopwatch();
    let (body, whole) = match read(&mut answer).await {
        Ok(read) => read,
        Err(error) => return run.fail("body", format!("the body broke off: {}", words(&error).1)),
    };
    // Whatever lies beyond the first MiB is not waited for.
    drop(answer);
    let detail = format!("{} bytes read{}", body.len(), if whole { "" } else { ", the rest not asked for" });
    run.steps.push(Step { name: "body", took: took(), detail, ok: true });
    if let Some(text) = &expect.body_contains {
        let found = text.is_empty() || body.windows(text.len()).any(|window| window == text.as_bytes());
        let detail = match (found, whole) {
            (true, _) => "the body holds the expected text",
            (false, true) => "the body does not hold the expected text",
            (false, false) => "the body's first 1 MiB does not hold the expected text",
        };
        run.check("body", found, detail.to_owned())?;
    }
    if !expect.json.is_empty() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&body);
        let value = run.value("json", parsed.map_err(|_| not_json(whole)))?;
        for (pointer, wanted) in &expect.json {
            let found = value.pointer(pointer);
            let detail = match found {
                Some(found) if found == wanted => format!("JSON {pointer:?} is as expected"),
                Some(found) if kind(found) == kind(wanted) => {
                    format!("JSON {pointer:?} is another {} than expected ({wanted})", kind(found))
                }
                Some(found) => format!("JSON {pointer:?} is a value of type {}, expected {wanted}", kind(found)),
                None => format!("JSON {pointer:?} is not there, expected {wanted}"),
            };
            run.check("json", found == Some(wanted), detail)?;
        }
    }
    Ok(())
}

/// The body's first MiB, and whether that is all of it.
async fn read(answer: &mut Response) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}

fn not_json(whole: bool) -> String {
    if whole {
        "the body is not JSON".to_owned()
    } else {
        "the body is longer than 1 MiB, so it cannot be read as JSON".to_owned()
    }
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "boolean",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    }
}

fn ranges(accepted: &[(u16, u16)]) -> String {
    let spelled =
        accepted.iter().map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") });
    spelled.collect::<Vec<_>>().join(", ")
}

/// Which step a request broke in, and its cause's own words, without the URL (its query may hold a secret).
fn words(error: &reqwest::Error) -> (&'static str, String) {
    let mut cause: &(dyn Error + 'static) = error;
    let mut tls = None;
    while let Some(next) = below(cause) {
        cause = next;
        tls = tls.or_else(|| cause.downcast_ref::<rustls::Error>());
    }
    match tls {
        Some(tls) => ("tls", format!("TLS: {tls}")),
        None if error.is_connect() => ("connect", format!("no connection: {cause}")),
        None if std::ptr::addr_eq(cause, error) => ("request", "the request failed".to_owned()),
        None => ("request", cause.to_string()),
    }
}

/// The next cause. An I/O error names what it wraps only through `get_ref`: its `source` is already the one below that.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests;
