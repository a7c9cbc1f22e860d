//! What an answer amounts to: the envelope that all answers share, or a failure with its class and words.

use std::time::Duration;

use iaso_policy::credential::Fault;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::request::Request;
use super::wire::{Answer, Body};
use crate::config::secret::Secret;
use crate::credentials::provider::{Failure, Fields, Lease};

/// The most characters of a server's own words that are passed on.
const WORDS: usize = 200;
/// The most of them that are looked at.
const HEARD: usize = 4096;
/// So many characters of a secret in a row give it away.
const TELLING: usize = 8;
/// The largest secret, all its fields together, in bytes.
pub(super) const MAX_SECRET: usize = 1 << 20;

/// What all answers share. Servers leave fields out, say `null`, and add others.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope {
    lease_id: Option<String>,
    lease_duration: Option<u64>,
    renewable: Option<bool>,
    data: Option<Box<RawValue>>,
    auth: Option<Box<RawValue>>,
}

impl Envelope {
    /// What is in `data`; none where there is nothing, or something else.
    pub(super) fn data<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.data.as_deref()?.get()).ok()
    }

    /// What is in `auth`.
    pub(super) fn auth<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.auth.as_deref()?.get()).ok()
    }

    /// The lease, where there is one.
    pub(super) fn lease(&self) -> Option<Lease> {
        let id = self.lease_id.clone().filter(|id| !id.is_empty())?;
        Some(Lease { id, ttl: self.ttl()?, renewable: self.renewable.unwrap_or(false) })
    }

    /// How long what was lent lasts.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.lease_duration.map(Duration::from_secs)
    }
}

/// What was asked, as far as its answer's meaning depends on it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) path: &'a str,
    /// It mints or changes something.
    pub(super) changes: bool,
    /// What was sent and must not come back in words.
    pub(super) secrets: &'a [&'a Secret],
}

impl<'a> Asked<'a> {
    pub(super) fn new(request: &'a Request, changes: bool, secrets: &'a [&'a Secret]) -> Self {
        Self { path: request.path(), changes, secrets }
    }

    pub(super) fn failure(&self, fault: Fault, words: impl std::fmt::Display) -> Failure {
        Failure { fault, words: format!("{}: {words}", self.path) }
    }
}

/// The errors and warnings of an answer that is no success.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    errors: Option<Vec<String>>,
    warnings: Option<Vec<String>>,
    data: Option<RefusedData>,
}

#[derive(Deserialize)]
struct RefusedData {
    /// Of a KV v2 secret without a living version.
    metadata: Option<Box<RawValue>>,
}

/// What an answer amounts to.
///
/// # Errors
/// When it is no success, or one that cannot be read.
pub(super) fn judge(asked: Asked<'_>, answer: Answer) -> Result<Envelope, Failure> {
    let Answer { status, retry_after, body } = answer;
    if status.is_success() {
        return read(asked, body);
    }
    let bytes = match body {
        Body::Whole(bytes) => bytes,
        Body::Broken(_) | Body::TooLarge => Vec::new(),
    };
    let refusal: Option<Refusal> = serde_json::from_slice(&bytes).ok();
    let foreign = refusal.is_none() && !bytes.iter().all(u8::is_ascii_whitespace);
    let refusal = refusal.unwrap_or_default();
    let fault = fault(status, retry_after, foreign, &refusal);
    let said = [refusal.errors.unwrap_or_default(), refusal.warnings.unwrap_or_default()].concat();
    let said = match said.is_empty() {
        false => presentable(&said.join("; "), asked.secrets),
        true if foreign => "a page that is not the server's, perhaps a proxy's".to_owned(),
        true if fault == Fault::Deleted => "the newest version is deleted or destroyed".to_owned(),
        true if fault == Fault::NotFound => "there is nothing".to_owned(),
        true => return Err(asked.failure(fault, format_args!("status {}", status.as_u16()))),
    };
    Err(asked.failure(fault, format_args!("status {}: {said}", status.as_u16())))
}

fn read(asked: Asked<'_>, body: Body) -> Result<Envelope, Failure> {
    // The server did what it was asked; only what came of it is lost.
    let fault = if asked.changes { Fault::Ambiguous } else { Fault::Malformed };
    match body {
        Body::Whole(bytes) if bytes.is_empty() => Ok(Envelope::default()),
        // The library's error quotes the answer.
        Body::Whole(bytes) => serde_json::from_slice(&bytes)
            .map_err(|_| asked.failure(fault, "the answer is not the JSON of such a server, or not all of it")),
        Body::Broken(why) => Err(asked.failure(fault, why)),
        Body::TooLarge => Err(asked.failure(fault, "the answer is larger than 2 MiB")),
    }
}

fn fault(status: StatusCode, after: Option<Duration>, foreign: bool, refusal: &Refusal) -> Fault {
    let says = |words: &str| refusal.errors.iter().flatten().any(|error| error.contains(words));
    match status.as_u16() {
        429 => Fault::RateLimited { after },
        503 if says("Vault is sealed") || says("no active Vault instance") || says("not initialized") => Fault::Sealed,
        _ if foreign => Fault::Failing,
        403 => Fault::Denied,
        404 if refusal.errors.is_none() && refusal.data.as_ref().is_some_and(|data| data.metadata.is_some()) => {
            Fault::Deleted
        }
        404 => Fault::NotFound,
        // Consistency that a later try finds.
        408 | 412 => Fault::Failing,
        400 if says("check-and-set parameter did not match") => Fault::Conflict,
        400 if says("wrapping token is not valid") => Fault::Tampered,
        // The way older servers say 403.
        400 if says("missing client token") => Fault::Denied,
        // A backend that is down, and an engine that changes its version, pass.
        400 if says("failed to renew entry") || says("Upgrading from non-versioned") => Fault::Failing,
        400..=499 => Fault::Refused,
        _ => Fault::Failing,
    }
}

/// A server's words on one line and bounded; none of them where they quote a part of a secret.
fn presentable(said: &str, secrets: &[&Secret]) -> String {
    let heard: String = said.chars().take(HEARD).collect();
    if secrets.iter().any(|secret| quotes(&heard, secret.expose())) {
        return "the server's words quote what was sent, and are withheld".to_owned();
    }
    let plain: String = heard.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WORDS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Whether words hold a secret, or enough of one: quoting marks may stand in its midst.
fn quotes(words: &str, secret: &str) -> bool {
    if secret.len() <= TELLING {
        return !secret.is_empty() && words.contains(secret);
    }
    words.as_bytes().windows(TELLING).any(|part| memchr::memmem::find(secret.as_bytes(), part).is_some())
}

/// A secret's fields as texts: what is no text in JSON becomes its JSON text, and `null` is none.
///
/// # Errors
/// When they are too large.
pub(super) fn fields<'a>(
    asked: Asked<'_>,
    data: impl IntoIterator<Item = (&'a String, &'a Box<RawValue>)>,
) -> Result<Fields, Failure> {
    let mut size = 0;
    let mut fields = Fields::new();
    for (name, value) in data {
        let Some(text) = text(value) else { continue };
        size += text.expose().len();
        if size > MAX_SECRET {
            return Err(asked.failure(Fault::Malformed, "the secret is larger than 1 MiB"));
        }
        fields.insert(name.clone(), text);
    }
    Ok(fields)
}

/// A JSON value as text; none for `null`.
pub(super) fn text(value: &RawValue) -> Option<Secret> {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw).ok().map(Secret::new),
        Some(b'n') => None,
        _ => Some(Secret::new(raw)),
    }
}
