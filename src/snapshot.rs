//! The one picture of how things stand that metrics, `/health`, `status` and `explain` are made from. The supervisor
//! publishes it; nobody else makes one.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use iaso_policy::Now;
use iaso_policy::id::{Identity, IncidentId, ServiceId};
use iaso_policy::view::ServiceView;

use crate::config::secret::Secret;
use crate::config::validated::Severity;

mod credentials;
#[cfg(test)]
pub(crate) mod example;
mod inputs;

pub use self::credentials::{
    CredentialStatus, CredentialsPicture, OPERATION_BOUNDS, OperationCount, RotationStatus, VaultStatus,
};
pub use self::inputs::{INPUT_BUCKETS, InputTimes, QueueStatus};

/// How things stood at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When.
    pub at: Now,
    /// When Iaso started.
    pub started: Now,
    /// It decides and records, and never acts.
    pub observe: bool,
    /// The first round of checks was tried.
    pub ready: bool,
    /// Every engine.
    pub hosts: Vec<HostStatus>,
    /// Every watched service, by name. Consecutive snapshots share those that stand as before.
    pub services: Vec<Arc<ServiceStatus>>,
    /// Services of the configuration for which no container exists (yet).
    pub waiting: Vec<Arc<str>>,
    /// The store takes writes.
    pub store: ComponentStatus,
    /// The configuration as it was last read is in force.
    pub configuration: ComponentStatus,
    /// Queues that are full or have dropped something, and other trouble of the supervisor's own.
    pub supervisor: ComponentStatus,
    /// Every window of maintenance of the configuration.
    pub windows: Vec<WindowStatus>,
    /// Actions that a law forbade, by the law's number.
    pub law_violations: Vec<(u8, u64)>,
    /// Observations dropped as older than what was known.
    pub stale_inputs: u64,
    /// How long inputs took.
    pub inputs: InputTimes,
    /// Every queue into the supervisor, and out of it.
    pub queues: Vec<QueueStatus>,
}

impl Snapshot {
    /// The names of these services, by name; of those that are watched.
    pub fn names_of(&self, services: &[ServiceId]) -> impl Iterator<Item = &Arc<str>> {
        // Few are asked for ever, and mostly none.
        let asked = |known: &&Arc<ServiceStatus>| !services.is_empty() && services.contains(&known.view.service);
        self.services.iter().filter(asked).map(|known| &known.name)
    }

    /// Before the first step: nothing is known, and nothing is wrong.
    pub fn nothing(now: Now) -> Self {
        let fine = ComponentStatus { up: true, since: now, message: None };
        Self {
            at: now,
            started: now,
            observe: false,
            ready: false,
            hosts: Vec::new(),
            services: Vec::new(),
            waiting: Vec::new(),
            store: fine.clone(),
            configuration: fine.clone(),
            supervisor: fine,
            windows: Vec::new(),
            law_violations: Vec::new(),
            stale_inputs: 0,
            inputs: InputTimes::default(),
            queues: Vec::new(),
        }
    }
}

/// A part of Iaso, as `/health` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentStatus {
    /// It does its work.
    pub up: bool,
    /// Since when it is so.
    pub since: Now,
    /// What is wrong, for those who may know.
    pub message: Option<String>,
}

/// A `[[maintenance]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The hosts that it covers.
    pub hosts: Vec<String>,
    /// The services that it covers; without any, and without a host, it covers everything.
    pub services: Vec<String>,
    /// When it ends, while it is open; milliseconds since 1970.
    pub open_until: Option<i64>,
    /// When it opens next; likewise.
    pub next: Option<i64>,
}

/// One engine.
#[derive(Debug, Clone)]
pub struct HostStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The link to it.
    pub link: ComponentStatus,
    /// Its event stream is being read.
    pub events_connected: bool,
    /// Its version and the API version agreed on, once it was reached.
    pub version: Option<String>,
    /// What a proxy before it denies, each with what that costs.
    pub denied: Vec<String>,
    /// So much failed on it at once that recovery waits: since when.
    pub storm: Option<Now>,
    /// Its engine was lost: the incident, which goes on until the link has held again for a while.
    pub lost: Option<LostHost>,
    /// The disk that holds its data is full: since when.
    pub disk_full: Option<Now>,
}

/// The incident of a host whose engine was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostHost {
    /// Its id.
    pub incident: IncidentId,
    /// When the link broke.
    pub since: Now,
}

/// One watched service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceStatus {
    /// The name that people use.
    pub name: Arc<str>,
    /// What its memory is kept under.
    pub identity: Identity,
    /// Its host's name.
    pub host: Arc<str>,
    /// How bad its outage is.
    pub severity: Severity,
    /// Its container's name and image, where there is one.
    pub container: Option<ContainerStatus>,
    /// How the policy sees it.
    pub view: ServiceView,
    /// Where it waits for what nobody watches: the names of those containers.
    pub waits_for: Vec<Arc<str>>,
    /// Its checks, in the order of `view.checks`.
    pub checks: Vec<CheckStatus>,
}

/// A container, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Its name.
    pub name: String,
    /// Its image, as named when it was created.
    pub image: String,
    /// Its id.
    pub id: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What of its host it sees: the path there, and within.
    pub mounts: Vec<(PathBuf, PathBuf)>,
}

impl ContainerStatus {
    /// Its id's first twelve digits.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// A check, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Its type, such as `http`.
    pub kind: &'static str,
    /// Of a heartbeat: what a ping over TCP must carry.
    pub ping_token: Option<Secret>,
    /// It could not be made last, which says nothing of the service; `evidence` tells why.
    pub pending: bool,
    /// Its newest result in words, without the body it read: `status 500, expected 200-299`.
    pub evidence: Option<Arc<str>>,
    /// How long its newest probe took, in seconds.
    pub took: Option<f64>,
    /// Passed and failed so far, by this run of Iaso.
    pub counts: (u64, u64),
    /// When the certificate that its probes were shown ends, in seconds since 1970.
    pub certificate_expiry: Option<i64>,
}
