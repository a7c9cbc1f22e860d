//! The configuration that cannot be wrong. Only this leaves the folder.

mod composed;
mod credentials;
mod host;
mod maintenance;
mod probes;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::composed::Part;
pub use self::composed::{Composed, Reference};
pub use self::credentials::{
    Apply, Auth, AwsSecret, Call, Credential, Generator, OnChange, Owner, Rotation, SecretFrom, Source, TargetFile,
    Template, Vault,
};
pub use self::host::{ClientIdentity, Host, HostAddress, HostTls};
pub use self::maintenance::{When, Window, first_meant, last_meant};
pub use self::probes::{
    DnsProbe, DnsRecord, GrpcProbe, HeartbeatProbe, HttpExpect, HttpMethod, HttpProbe, Peer, Probe, TcpProbe, TlsProbe,
    Trust, UrlHost, UrlPort, UrlTemplate,
};

use self::probes::Program;
use super::secret::Secret;
use iaso_policy::spec::{AfterGap, FleetSpec, Lifecycle, OnFailure, RecoverySpec, Threshold};

/// Everything, with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[daemon]`.
    pub daemon: Daemon,
    /// `[hosts.NAME]`, in the order of the file; the first one's services need no `HOST.` before their names. Never empty.
    pub hosts: Vec<Host>,
    /// `[discovery]`.
    pub discovery: Discovery,
    /// `[defaults]`: what services found by labels inherit.
    pub defaults: Defaults,
    /// `[recovery]`.
    pub fleet: FleetSpec,
    /// With less than this many bytes free an engine's disk counts as full; zero: never.
    pub disk_full: u64,
    /// `[api]`.
    pub api: Api,
    /// `[services.NAME]`, by name.
    pub services: BTreeMap<String, Arc<Service>>,
    /// `[vault]`, where there is such a table or a credential that is read from Vault.
    pub vault: Option<Vault>,
    /// `[credentials.NAME]`, by name. Where one is read from Vault, `vault` is there.
    pub credentials: Vec<Arc<Credential>>,
    /// `[[maintenance]]`, in the order of the file.
    pub maintenance: Vec<Window>,
    /// Who is told what Iaso does; names are unique.
    pub reporters: Vec<Reporter>,
    /// The variables of autoheal's environment that are set.
    pub inherited: Vec<Inherited>,
}

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Where the store lives. `$STATE_DIRECTORY` wins.
    pub data_dir: PathBuf,
    /// The Unix socket of the command line.
    pub socket: PathBuf,
    /// The log.
    pub log: Log,
    /// How long an orderly end may take.
    pub shutdown_grace: Duration,
    /// How long the past is kept, and how much of it.
    pub history: History,
}

/// `[daemon] history`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// What is older goes, unless it belongs to an outage that goes on.
    pub keep: Duration,
    /// Of more than this the oldest goes, likewise; bytes of the store's file.
    pub max_bytes: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { keep: Duration::from_secs(30 * 86_400), max_bytes: 256 << 20 }
    }
}

/// `[daemon] log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The lowest level that is logged (`error`, `warn`, `info`, `debug`, `trace`).
    pub level: tracing::Level,
    /// How log lines look.
    pub format: LogFormat,
    /// Where they are kept as well, beside standard error.
    pub file: Option<PathBuf>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text to a terminal, else JSON; a file is no terminal.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// `[discovery]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Whether containers are found by labels at all.
    pub enabled: bool,
    /// A container that carries one of these is watched.
    pub labels: Vec<LabelMatch>,
    /// Beside those, what autoheal's environment asks for: acted on as autoheal does, and never started once it exited.
    pub autoheal: Option<AutohealLabel>,
}

/// What `AUTOHEAL_CONTAINER_LABEL` names. A container's own `autoheal=false` (`0`, `no`, `off`, in any case) beats it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AutohealLabel {
    /// Every container.
    All,
    /// Containers that carry this label with the value `true`, in any case.
    Named(String),
}

/// `KEY=VALUE`: the container carries this label with this value (compared without regard to case).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelMatch {
    /// The label's key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// One way to tell people or programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reporter {
    /// Its name in logs and metrics.
    pub name: String,
    /// What is sent.
    pub message: Message,
    /// Where it is sent to: an `http` or `https` URL, which may hold a token.
    pub url: Secret,
    /// How long it may take to tell one thing, every try counted in.
    pub timeout: Duration,
}

/// The JSON that a reporter sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The text under each of these keys.
    Text {
        /// At least one.
        keys: Vec<String>,
    },
    /// Apprise's `title` and `body`.
    Apprise,
}

/// A variable of autoheal's environment that is set. Never holds a value that may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inherited {
    /// Its name.
    pub variable: &'static str,
    /// What it means here.
    pub meaning: String,
}

/// `[api]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Where `/health` and `/metrics` are served.
    pub listen: SocketAddr,
}

/// `[defaults]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Cadence of checks.
    pub interval: Duration,
    /// A check's whole time: resolution, connection, TLS and body.
    pub timeout: Duration,
    /// When failures become a verdict.
    pub failure: Threshold,
    /// Passes in a row that end a failing verdict.
    pub success_threshold: u8,
    /// Forgives failures of Iaso's own checks after a container's start.
    pub start_period: Duration,
    /// Whether an exit may be natural.
    pub lifecycle: Lifecycle,
    /// What to do with what stopped in a gap.
    pub after_gap: AfterGap,
    /// Lines of the container's log that are kept with an outage; none where zero.
    pub incident_log_lines: u16,
    /// How services are healed.
    pub recovery: Recovery,
}

/// How a service is healed: the policy's part, and the commands that its `exec` steps name by index.
#[derive(Clone, PartialEq, Default)]
pub struct Recovery {
    /// The policy's part.
    pub spec: RecoverySpec,
    /// The argument vector of each [`iaso_policy::spec::Step::Exec`].
    pub commands: Vec<Vec<String>>,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec, commands } = self;
        let commands: Vec<Program> = commands.iter().map(|argv| Program(argv)).collect();
        f.debug_struct("Recovery").field("spec", spec).field("commands", &commands).finish()
    }
}

/// One service: from `[services.NAME]`, or from a container's labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// `[A-Za-z0-9][A-Za-z0-9_.-]{0,254}`.
    pub name: String,
    /// The name of its host.
    pub host: String,
    /// Which containers it is.
    pub target: Target,
    /// How bad its outage is.
    pub severity: Severity,
    /// Its checks; names are unique within it.
    pub checks: Vec<Check>,
    /// How it is healed.
    pub recovery: Recovery,
    /// What it needs: it is not healed before they are well. In the file, names of other services of the file, without
    /// cycles. From a label, names of whatever is on its own host; they may be nobody's, and lead in a circle.
    pub depends_on: Vec<String>,
    /// Whether an exit may be natural.
    pub lifecycle: Lifecycle,
    /// What to do with what stopped in a gap.
    pub after_gap: AfterGap,
    /// Whether an exit is for Iaso to heal (not for containers with only another healer's label).
    pub heal_exits: bool,
    /// Forgives failures of Iaso's own checks after a container's start.
    pub start_period: Duration,
    /// Lines of the container's log that are kept with an outage; none where zero.
    pub incident_log_lines: u16,
    /// Whether it keeps data, where somebody has said so; none: its image tells.
    pub stateful: Option<bool>,
    /// What holds of it instead if it does.
    pub careful: Careful,
}

/// How a service that keeps data is watched and healed, where that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Careful {
    /// Forgives failures of Iaso's own checks after a container's start.
    pub start_period: Duration,
    /// Its stop grace, where somebody said so of this very service.
    pub stop_timeout: Option<Duration>,
    /// Else it has at least this long to stop.
    pub least_grace: Duration,
    /// The first half-open trial after quarantine; none: never.
    pub quarantine_retry: Option<Duration>,
    /// How long a person is waited for before the first attempt.
    pub notice: Duration,
}

/// Which containers a service is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The container of this name.
    Container(String),
    /// Every replica of a Compose service.
    Compose {
        /// The project.
        project: String,
        /// The service.
        service: String,
    },
    /// Every container with this label.
    Selector(LabelMatch),
}

/// How bad an outage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth looking at.
    Warning,
    /// Worth getting up for.
    Critical,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Unique within its service.
    pub name: String,
    /// What is probed.
    pub probe: Arc<Probe>,
    /// Cadence.
    pub interval: Duration,
    /// The whole time of one probe.
    pub timeout: Duration,
    /// What its failure asks for.
    pub on_failure: OnFailure,
    /// When failures become a verdict.
    pub failure: Threshold,
    /// Passes in a row that end a failing verdict.
    pub success_threshold: u8,
}
