//! A request as the double's engines see it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::values::Fields;

/// What a request asks to do; POST and PUT are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Read,
    Write,
    Delete,
    List,
    Patch,
}

/// A request, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub method: String,
    /// Without `/v1/`.
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Empty: that of the root.
    pub namespace: String,
    pub token: Option<String>,
    pub wrap_ttl: Option<String>,
    pub content_type: String,
    pub body: Vec<u8>,
    /// What the client has shown on its connection.
    pub certificate: Option<Presented>,
}

/// A client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Presented {
    pub der: Vec<u8>,
    /// Its common name and its DNS names.
    pub names: Vec<String>,
    /// Who signed it, as X.509 prints it.
    pub issuer: String,
}

/// What an engine is asked.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub op: Op,
    /// The mount, with its slash: `secret/`, `auth/approle/`.
    pub mount: String,
    /// Within the mount.
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub body: Map<String, Value>,
    pub namespace: String,
    /// Whose call it is; none where nobody needs to say.
    pub token: Option<String>,
    pub now: Timestamp,
    pub certificate: Option<Presented>,
    /// How long the reply is to be wrapped.
    pub wrap: Option<Duration>,
}

impl Call {
    pub(super) const fn fields(&self) -> Fields<'_> {
        Fields(&self.body)
    }
}
