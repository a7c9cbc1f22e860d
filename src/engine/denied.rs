//! What Iaso asks of an engine, and what it costs where a proxy before it denies that. One table, for the start's log and for
//! `docs/socket-proxy.md`.

use std::fmt;

use bollard::errors::Error;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::CONTENT_TYPE;

use super::EngineError;
use super::docker::engine_error;
use super::transport::Transport;

/// A call of the engine's API.
#[derive(Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Its path, in which `ID` stands for a container's or a command's.
    pub path: &'static str,
    /// What is lost where it is denied.
    pub cost: &'static str,
    /// What makes the question end at once, and harmlessly.
    query: &'static str,
}

/// As people write it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

const NO_WATCH: &str = "this engine cannot be watched";
const NO_EXEC: &str = "`exec:` steps hold (not_permitted), `exec` checks tell nothing";

/// Every call, in the order in which a start makes them.
pub static ENDPOINTS: &[Endpoint] = &[
    get("/version", NO_WATCH, ""),
    get("/info", "the engine's own id is not known; nothing else", ""),
    get("/events", NO_WATCH, "?since=0&until=1"),
    get("/containers/json", NO_WATCH, "?limit=1"),
    get("/containers/ID/json", NO_WATCH, ""),
    get("/containers/ID/logs", "an outage tells nothing of what its container printed", "?stdout=1&tail=0"),
    get("/_ping", "the link counts as lost whenever nothing happens for 5 s", ""),
    post("/containers/ID/start", "`start` steps, and restarts of what has ended, hold (not_permitted)"),
    post("/containers/ID/restart", "`restart` steps hold (not_permitted)"),
    post("/containers/ID/stop", "`stop` steps hold (not_permitted)"),
    post("/containers/ID/kill", "`signal:` steps hold (not_permitted)"),
    post("/containers/ID/exec", NO_EXEC),
    post("/exec/ID/start", NO_EXEC),
    get("/exec/ID/json", NO_EXEC, ""),
];

const fn get(path: &'static str, cost: &'static str, query: &'static str) -> Endpoint {
    Endpoint { method: "GET", path, cost, query }
}

const fn post(path: &'static str, cost: &'static str) -> Endpoint {
    Endpoint { method: "POST", path, cost, query: "" }
}

/// No container has this id, so that whoever lets a change of it through answers 404.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Asks for everything that Iaso will ask for, about a container that does not exist: the calls that are denied.
pub(super) async fn find(transport: &Transport) -> Result<Vec<&'static Endpoint>, EngineError> {
    let mut denied = Vec::new();
    for endpoint in ENDPOINTS {
        if is_denied(transport, endpoint).await? {
            denied.push(endpoint);
        }
    }
    Ok(denied)
}

async fn is_denied(transport: &Transport, endpoint: &Endpoint) -> Result<bool, EngineError> {
    let request = endpoint.request().map_err(|err| engine_error(Error::HttpClientError { err }))?;
    match transport.send(request).await.map_err(engine_error) {
        Err(EngineError::NotPermitted(_)) => Ok(true),
        // Anything else that is an answer has passed the proxy.
        Ok(_) | Err(EngineError::NotFound | EngineError::Conflict(_) | EngineError::Failed { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Endpoint {
    fn request(&self) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let target = format!("{}{}", self.path.replace("ID", NOBODY), self.query);
        let request = Request::builder().method(self.method).uri(target);
        // What runs a command reads what to run before it looks for where.
        let body = if self.path.contains("exec") && self.method == "POST" { r#"{"Cmd":["true"]}"# } else { "" };
        request.header(CONTENT_TYPE, "application/json").body(Full::from(body))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_page_about_proxies_lists_every_call() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/socket-proxy.md");
        let text = std::fs::read_to_string(&page).unwrap();
        let row = |endpoint: &Endpoint| format!("| `{endpoint}` | {} |\n", endpoint.cost);
        let made: String = ENDPOINTS.iter().map(row).collect();
        let (head, rest) = text.split_once("| --- | --- |\n").unwrap();
        let (_, tail) = rest.split_once("\n\n").unwrap();
        let made = format!("{head}| --- | --- |\n{made}\n{tail}");
        if std::env::var_os("IASO_UPDATE_DOCS").is_some() {
            std::fs::write(&page, &made).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&page).unwrap(),
            made,
            "IASO_UPDATE_DOCS=1 cargo test --lib engine:: writes it anew"
        );
    }
}
