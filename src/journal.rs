//! The stream of decisions on its way out of the supervisor: each record with the names that people know it by.

use std::sync::Arc;

use iaso_policy::alert::{Alert, AlertKey};
use iaso_policy::id::{Identity, ServiceId};
use iaso_policy::{Now, Record};

use crate::config::validated::Severity;
use crate::rollouts::CredentialEntry;

/// A record, and whom it is about.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What was decided.
    pub record: Record,
    /// About whom.
    pub subject: Arc<Subject>,
}

/// Whom a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The service's name.
    pub name: Arc<str>,
    /// What its memory is kept under.
    pub identity: Identity,
    /// Its host's name.
    pub host: Arc<str>,
    /// How bad its outage is.
    pub severity: Severity,
    /// The names of its checks, by number.
    pub checks: Vec<Arc<str>>,
}

/// What people are to be told.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// When.
    pub now: Now,
    /// What.
    pub alert: Alert,
    /// About whom, or in whose name about its host.
    pub subject: Arc<Subject>,
    /// The names of all that are or were affected, in order.
    pub affected: Vec<Arc<str>>,
}

/// A reporter has taken an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// In whose name it was.
    pub service: ServiceId,
    /// Which.
    pub key: AlertKey,
}

/// Hears every entry, in order, on the supervisor's own task: it must return at once, and never block.
pub trait Listener: Send {
    /// Takes in one entry.
    fn hear(&mut self, entry: &Entry);

    /// Takes in what people are to be told, after the entry that says so.
    fn announce(&mut self, _announcement: &Announcement) {}

    /// Takes in what was done about a credential.
    fn hear_credential(&mut self, _entry: &CredentialEntry) {}
}
