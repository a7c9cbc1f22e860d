//! The stream of decisions on its way out of the supervisor: each record with the names that people know it by.

use std::sync::Arc;

use iaso_policy::alert::{Alert, AlertKey};
use iaso_policy::id::{Identity, ServiceId};
use iaso_policy::input::Outcome;
use iaso_policy::record::Event;
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

/// What stood behind a decision within an outage, as the supervisor saw it at that moment. Foreign text as it came: it may hold
/// secrets, and is for those alone who redact it.
#[derive(Clone, PartialEq, Eq)]
pub struct Scene {
    /// The service's checks, as they stood.
    pub checks: Vec<CheckScene>,
    /// Its container, where there is one.
    pub container: Option<ContainerScene>,
    /// What the engine said to the operation that failed.
    pub engine_error: Option<String>,
    /// How many lines of the container's log are wanted.
    pub log_lines: u16,
}

/// A check in a [`Scene`].
#[derive(Clone, PartialEq, Eq)]
pub struct CheckScene {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: &'static str,
    /// Its verdict, where it has one.
    pub passing: Option<bool>,
    /// Failures in a row.
    pub failures: u32,
    /// What its newest probe came to.
    pub output: Option<Arc<str>>,
}

/// A container in a [`Scene`].
#[derive(Clone, PartialEq, Eq)]
pub struct ContainerScene {
    /// Its whole id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image, as named when it was created.
    pub image: String,
    /// The engine's word for its state.
    pub state: &'static str,
    /// How it ended, where it has.
    pub exit_code: Option<i32>,
    /// The kernel killed it, or a process in it, for want of memory.
    pub oom_killed: bool,
    /// When this life of it began, in nanoseconds since the epoch on the engine's clock.
    pub started: i64,
}

impl Scene {
    /// Whether a decision is worth one: those that begin or end an outage, and those that tell that an attempt failed.
    pub const fn is_worth_one(event: &Event) -> bool {
        match event {
            Event::IncidentOpened { .. } | Event::IncidentClosed { .. } | Event::Quarantined { .. } => true,
            Event::Finished { outcome, .. } => !matches!(outcome, Outcome::Done | Outcome::Moot),
            Event::Ended { verdict, .. } => verdict.failed(),
            _ => false,
        }
    }
}

/// Hears every entry, in order, on the supervisor's own task: it must return at once, and never block.
pub trait Listener: Send {
    /// Takes in one entry.
    fn hear(&mut self, entry: &Entry);

    /// Takes in what people are to be told, after the entry that says so.
    fn announce(&mut self, _announcement: &Announcement) {}

    /// Takes in what stood behind an entry that it has just heard, where that [is worth it](Scene::is_worth_one).
    fn hear_scene(&mut self, _entry: &Entry, _scene: &Scene) {}

    /// Takes in what was done about a credential.
    fn hear_credential(&mut self, _entry: &CredentialEntry) {}
}
