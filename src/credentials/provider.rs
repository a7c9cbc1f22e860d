//! Where credentials come from: one trait for all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use iaso_policy::credential::Fault;

use crate::config::secret::Secret;
use crate::config::validated::Source;

/// A place that credentials are read from.
pub trait Provider: Send + Sync {
    /// Reads what a source names: of a secret that is kept in versions, the one in use. Of what mints (a dynamic secret, a certificate) each call makes a new one: it is never
    /// repeated behind the caller's back.
    fn read<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Fetched, Failure>>;
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The secret's fields; one named `value` where the source has no fields of its own.
    pub fields: Fields,
    /// Its version, where the source counts versions.
    pub version: Option<u64>,
    /// Its lease, where it has one.
    pub lease: Option<Lease>,
    /// When it ends by itself without a lease (a certificate), in seconds since 1970.
    pub not_after: Option<i64>,
}

/// A secret's fields by name.
pub type Fields = BTreeMap<String, Secret>;

/// What a server lends for a time.
#[derive(Clone, PartialEq, Eq)]
pub struct Lease {
    /// The server's name for it, which is no secret to those who may read state files, and is not logged.
    pub id: String,
    /// How long it lasts from when it was told.
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("ttl", &self.ttl).field("renewable", &self.renewable).finish_non_exhaustive()
    }
}

/// Why nothing was read: what it amounts to, and in words without any value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Failure {
    /// What the policy needs to know.
    pub fault: Fault,
    /// For people: the path, the status, the server's own words as far as they cannot hold a secret. One line.
    pub words: String,
}
