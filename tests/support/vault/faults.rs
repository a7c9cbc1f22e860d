//! What can go wrong, and when.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::reply::{Refusal, refuse, several};
use super::state::State;

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends without a reply.
    Drop,
    /// The connection stays open, and nothing comes.
    Hang,
    /// The reply comes as ever, but later.
    Delay(Duration),
    /// So many bytes of the reply's body come, then the connection ends.
    Truncate(usize),
    /// A proxy's page of this status.
    Html(u16),
    /// A proxy's page of status 503.
    Html503,
    /// This status, with these errors.
    Errors(u16, Vec<&'static str>),
    /// Status 500 and Vault's own words.
    Internal500,
    /// Status 307 to there, without a body.
    Redirect(String),
    /// Status 412.
    MissingIndex412,
    /// Status 429, with or without how many seconds to wait.
    RateLimited {
        /// The `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// Status 403.
    Denied(Denial),
    /// What the server knew when the fault was injected is answered from; a standby that has not caught up does so. A change
    /// is lost.
    Stale,
    /// Status 503, as of a sealed server.
    Sealed,
    /// Status 200 and a body that is no JSON.
    NotJson,
    /// Status 200 and a body of so many bytes.
    Huge(usize),
    /// The reply comes as ever, but so many bytes of its body at a time, with a pause between.
    Drip {
        /// At a time.
        bytes: usize,
        /// The pause.
        every: Duration,
    },
}

/// The shapes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// No policy allows it.
    Policy,
    /// OpenBao, or an older Vault, does not know the token.
    DeadOpenBao,
    /// A newer Vault does not know the token.
    DeadVault,
}

impl Denial {
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Policy => refuse(403, several(&["permission denied"])),
            Self::DeadOpenBao => refuse(403, "permission denied"),
            Self::DeadVault => refuse(403, several(&["permission denied", "invalid token"])),
        }
    }
}

/// What a predicate may look at.
#[derive(Debug)]
pub struct Asked<'a> {
    /// `GET`, `LIST`...
    pub method: &'a str,
    /// Without `/v1/`.
    pub path: &'a str,
    /// The body, where it is JSON; null else.
    pub body: &'a Value,
    /// The namespace, with its slash; empty for the root.
    pub namespace: &'a str,
}

/// Whether a request is meant.
type Predicate = Arc<dyn Fn(&Asked<'_>) -> bool + Send + Sync>;

/// Which requests a fault strikes.
#[derive(Clone)]
pub struct Rule {
    method: Option<String>,
    prefix: String,
    skip: usize,
    /// None: without end.
    times: Option<usize>,
    after: bool,
    when: Option<Predicate>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, prefix, skip, times, after, when } = self;
        let when = when.is_some();
        write!(f, "Rule {{ {method:?} {prefix:?} skip {skip} times {times:?} after {after} when {when} }}")
    }
}

impl Rule {
    /// Requests of this method (`*`: any) whose path, without `/v1/`, starts so. Before they are done, and without end,
    /// unless said otherwise.
    pub fn on(method: &str, prefix: &str) -> Self {
        let method = (method != "*").then(|| method.to_owned());
        Self { method, prefix: prefix.to_owned(), skip: 0, times: None, after: false, when: None }
    }

    /// Every request.
    pub fn any() -> Self {
        Self::on("*", "")
    }

    /// The first of them alone.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// The first `times` of them alone.
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Not the first `skip` of them.
    pub fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// What is asked is done, and the reply goes wrong.
    pub fn after_commit(self) -> Self {
        Self { after: true, ..self }
    }

    /// Those alone for which this holds.
    pub fn when(self, when: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self { when: Some(Arc::new(when)), ..self }
    }

    fn fits(&self, asked: &Asked<'_>) -> bool {
        self.method.as_deref().is_none_or(|method| method == asked.method)
            && asked.path.starts_with(&self.prefix)
            && self.when.as_ref().is_none_or(|when| when(asked))
    }
}

/// A rule with its fault, and for a stale one what was known.
#[derive(Debug, Clone)]
pub(super) struct Injected {
    rule: Rule,
    fault: Fault,
    pub stale: Option<Box<State>>,
}

/// What strikes a request.
#[derive(Debug)]
pub(super) struct Strike {
    pub fault: Fault,
    /// What is asked is done nonetheless.
    pub after: bool,
    pub stale: Option<Box<State>>,
}

impl Injected {
    pub(super) fn new(rule: Rule, fault: Fault, known: &State) -> Self {
        let stale = (fault == Fault::Stale).then(|| Box::new(known.clone()));
        Self { rule, fault, stale }
    }
}

/// The first rule that fits and is not spent strikes.
pub(super) fn strike(injected: &mut [Injected], asked: &Asked<'_>) -> Option<Strike> {
    for one in injected {
        if one.rule.times == Some(0) || !one.rule.fits(asked) {
            continue;
        }
        if one.rule.skip > 0 {
            one.rule.skip -= 1;
            continue;
        }
        one.rule.times = one.rule.times.map(|times| times - 1);
        return Some(Strike { fault: one.fault.clone(), after: one.rule.after, stale: one.stale.clone() });
    }
    None
}

/// A reply as bytes: status, headers, body.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Written {
    pub(super) fn json(status: u16, body: Option<&Value>) -> Self {
        match body {
            Some(body) => Self {
                status,
                headers: vec![("content-type", "application/json".into())],
                body: format!("{body}\n").into_bytes(),
            },
            None => Self { status, headers: Vec::new(), body: Vec::new() },
        }
    }

    fn errors(status: u16, errors: &[&str]) -> Self {
        Self::json(status, Some(&json!({ "errors": errors })))
    }

    /// A proxy's page.
    pub(super) fn html(status: u16) -> Self {
        let body =
            format!("<html><body><h1>{status} No server is available to handle this request.</h1></body></html>\n");
        Self { status, headers: vec![("content-type", "text/html".into())], body: body.into_bytes() }
    }
}

/// What is written in a reply's place; none: the reply itself.
pub(super) fn instead(fault: &Fault, path: &str) -> Option<Written> {
    Some(match fault {
        Fault::Html(status) => Written::html(*status),
        Fault::Html503 => Written::html(503),
        Fault::Errors(status, errors) => Written::errors(*status, errors),
        Fault::Internal500 => Written::errors(500, &["internal error"]),
        Fault::Redirect(location) => {
            Written { status: 307, headers: vec![("location", location.clone())], body: Vec::new() }
        }
        Fault::MissingIndex412 => Written::errors(412, &["required index state not present"]),
        Fault::RateLimited { retry_after } => {
            let error = format!("request path {path:?}: rate limit quota exceeded");
            let mut written = Written::errors(429, &[&error]);
            written.headers.extend(retry_after.map(|seconds| ("retry-after", seconds.to_string())));
            written
        }
        Fault::Denied(denial) => {
            let errors = denial.refusal().errors;
            Written::errors(403, &errors.iter().map(String::as_str).collect::<Vec<_>>())
        }
        Fault::Sealed => Written::errors(503, &["Vault is sealed"]),
        Fault::NotJson => Written {
            status: 200,
            headers: vec![("content-type", "application/json".into())],
            body: b"{\"data\": {\"val".to_vec(),
        },
        Fault::Huge(bytes) => Written {
            status: 200,
            headers: vec![("content-type", "application/json".into())],
            body: vec![b' '; *bytes],
        },
        Fault::Drop | Fault::Hang | Fault::Delay(_) | Fault::Truncate(_) | Fault::Stale | Fault::Drip { .. } => {
            return None;
        }
    })
}
