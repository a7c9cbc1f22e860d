//! Outages as they are looked back on: what is known of each, what was decided, and what was seen of the broken service. All
//! foreign text in here is redacted and bounded by whoever made it.

use std::time::Duration;

use iaso_policy::action::Trouble;
use iaso_policy::id::{Identity, IncidentId};
use iaso_policy::memory::Acknowledged;
use iaso_policy::record::Ending;
use iaso_policy::{Now, Record};
use serde::{Deserialize, Serialize};

/// An outage, open or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Its id.
    pub id: IncidentId,
    /// Whose.
    pub identity: Identity,
    /// When it opened.
    pub opened: Now,
    /// What was wrong then.
    pub trouble: Trouble,
    /// Automatic attempts begun within it.
    pub attempts: u32,
    /// Attempts that ended without healing.
    pub failed: u32,
    /// A person took care of it.
    pub acknowledged: Option<Acknowledged>,
    /// When and how it closed; none while it goes on.
    pub closed: Option<(Now, Ending)>,
    /// How long it lasted, once it has closed.
    pub lasted: Option<Duration>,
    /// The newest outage of something that it needs that it is, or was, part of.
    pub root: Option<IncidentId>,
}

/// Which outages are asked for, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Only those of this identity.
    pub identity: Option<Identity>,
    /// Only those that go on.
    pub open: bool,
    /// Only those that are older than this one.
    pub before: Option<IncidentId>,
    /// So many at most.
    pub limit: usize,
}

/// An outage, and all that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The outage.
    pub outage: Outage,
    /// What was decided and what changed, oldest first.
    pub records: Vec<Record>,
    /// What was seen, oldest first.
    pub evidence: Vec<Evidence>,
    /// The outages that are, or were, part of it, in the order in which they began.
    pub within: Vec<Outage>,
}

/// Outages that were asked for, and those that are, or were, part of any of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub outages: Vec<Outage>,
    /// By the outage that they are part of, in the order in which they began; each with that one's id.
    pub within: Vec<(IncidentId, Outage)>,
}

/// What was seen of a broken service at one moment of its outage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Of which outage.
    pub incident: IncidentId,
    /// Of whom.
    pub identity: Identity,
    /// When.
    pub now: Now,
    /// The decision that it belongs to: a record's word, such as `incident_opened`.
    pub event: String,
    /// Its checks as they stood.
    pub checks: Vec<CheckSeen>,
    /// Its container, where there was one.
    pub container: Option<ContainerSeen>,
    /// What the engine said to the operation that failed.
    pub engine_error: Option<String>,
    /// The end of what the container printed.
    pub log: LogTail,
}

/// A check, as it stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSeen {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its verdict, where it had one.
    pub passing: Option<bool>,
    /// Failures in a row.
    pub failures: u32,
    /// What its newest probe came to.
    pub output: Option<String>,
}

/// A container, as it stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSeen {
    /// Its name.
    pub name: String,
    /// Its image, as named when it was created.
    pub image: String,
    /// The first twelve digits of its id.
    pub id: String,
    /// The engine's word for its state.
    pub state: String,
    /// How its last life ended, where it has.
    pub exit_code: Option<i64>,
    /// The kernel killed it, or a process in it, for want of memory.
    pub oom_killed: bool,
    /// What its own HEALTHCHECK printed last, and the code that it returned.
    pub healthcheck: Option<(i64, String)>,
}

/// The end of what a container printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTail {
    /// Nobody wants it.
    NotAsked,
    /// The engine is being asked; where this stays, Iaso ended before the answer came.
    Asked,
    /// It could not be had; why.
    Missing(String),
    /// The newest lines, oldest first, without those that may hold a secret.
    Lines(String),
}
