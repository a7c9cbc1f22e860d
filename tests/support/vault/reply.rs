//! What a call comes to, and how Vault writes it: the envelope and the errors.

use serde_json::{Map, Value, json};

use super::leases::Leased;
use super::login::Login;
use super::values::uuid;

/// What an engine does with a call.
pub(super) type Outcome = Result<Answer, Refusal>;

/// What a call comes to.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// No body.
    Empty(u16),
    /// The envelope.
    Secret(u16, Box<Secret>),
    /// A body without the envelope, as `sys/health` has it.
    Raw(u16, Value),
    /// A token is to be made for who has logged in.
    Login(Box<Login>),
    /// A lease is to be made for what was minted.
    Leased(Box<Leased>),
}

/// What the envelope holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Secret {
    pub lease_id: String,
    pub renewable: bool,
    pub lease_duration: u64,
    pub data: Option<Value>,
    pub auth: Option<Value>,
    pub wrap_info: Option<Value>,
    pub warnings: Vec<String>,
    /// The keys of the data stand beside it too, as some `sys` reads have them.
    pub repeated: bool,
}

/// Why a call is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    pub errors: Vec<String>,
}

/// A reply, ready to be written.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub status: u16,
    /// None: no body.
    pub body: Option<Value>,
}

pub(super) fn refuse(status: u16, error: impl Into<String>) -> Refusal {
    Refusal { status, errors: vec![error.into()] }
}

/// As several errors are printed.
pub(super) fn several(errors: &[&str]) -> String {
    let listed: String = errors.iter().map(|error| format!("\t* {error}\n")).collect();
    let noun = if errors.len() == 1 { "error" } else { "errors" };
    format!("{} {noun} occurred:\n{listed}\n", errors.len())
}

/// A read or a list that found nothing.
pub(super) const fn not_found() -> Refusal {
    Refusal { status: 404, errors: Vec::new() }
}

pub(super) fn unsupported_operation() -> Refusal {
    refuse(405, several(&["unsupported operation"]))
}

pub(super) fn unsupported_path() -> Refusal {
    refuse(404, several(&["unsupported path"]))
}

/// A write that answers nothing.
pub(super) const fn done() -> Outcome {
    Ok(Answer::Empty(204))
}

pub(super) fn data(data: Value) -> Outcome {
    Ok(Answer::Secret(200, Box::new(Secret { data: Some(data), ..Secret::default() })))
}

/// A list of keys; none are a 404.
pub(super) fn keys(keys: impl IntoIterator<Item = String>) -> Outcome {
    let keys: Vec<String> = keys.into_iter().collect();
    if keys.is_empty() { Err(not_found()) } else { data(json!({ "keys": keys })) }
}

/// The envelope, written. Vault names the engine in it; OpenBao does not.
pub(super) fn envelope(secret: Secret, mount_type: Option<&str>) -> Value {
    let request_id = if secret.wrap_info.is_some() { String::new() } else { uuid() };
    let mut body = Map::new();
    if secret.repeated
        && let Some(Value::Object(fields)) = &secret.data
    {
        body.extend(fields.clone());
    }
    body.insert("request_id".into(), request_id.into());
    body.insert("lease_id".into(), secret.lease_id.into());
    body.insert("renewable".into(), secret.renewable.into());
    body.insert("lease_duration".into(), secret.lease_duration.into());
    body.insert("data".into(), secret.data.unwrap_or_default());
    body.insert("wrap_info".into(), secret.wrap_info.unwrap_or_default());
    let warnings = if secret.warnings.is_empty() { Value::Null } else { secret.warnings.into() };
    body.insert("warnings".into(), warnings);
    body.insert("auth".into(), secret.auth.unwrap_or_default());
    if let Some(mount_type) = mount_type {
        body.insert("mount_type".into(), mount_type.into());
    }
    Value::Object(body)
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self { status: refusal.status, body: Some(json!({ "errors": refusal.errors })) }
    }
}
