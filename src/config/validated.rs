//! The configuration that cannot be wrong. Only this leaves the folder.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// `[api]`.
    pub api: Api,
    /// `[services.NAME]`, by name.
    pub services: BTreeMap<String, Service>,
}

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Where the store lives. `$STATE_DIRECTORY` wins.
    pub data_dir: PathBuf,
    /// The Unix socket of the command line.
    pub socket: PathBuf,
    /// The lowest level that is logged (`error`, `warn`, `info`, `debug`, `trace`).
    pub log_level: tracing::Level,
    /// How log lines look.
    pub log_format: LogFormat,
    /// How long an orderly end may take.
    pub shutdown_grace: Duration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text to a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// One engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `[A-Za-z0-9][A-Za-z0-9_.-]{0,254}`.
    pub name: String,
    /// How to reach it.
    pub address: HostAddress,
}

/// How an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain TCP, for a socket proxy: `host:port`.
    Tcp(String),
}

/// `[discovery]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Whether containers are found by labels at all.
    pub enabled: bool,
    /// A container that carries one of these is watched.
    pub labels: Vec<LabelMatch>,
}

/// `KEY=VALUE`: the container carries this label with this value (compared without regard to case).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMatch {
    /// The label's key.
    pub key: String,
    /// Its value.
    pub value: String,
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
    /// How services are healed.
    pub recovery: Recovery,
}

/// How a service is healed: the policy's part, and the commands that its `exec` steps name by index.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recovery {
    /// The policy's part.
    pub spec: RecoverySpec,
    /// The argument vector of each [`iaso_policy::spec::Step::Exec`].
    pub commands: Vec<Vec<String>>,
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
    /// Whether an exit may be natural.
    pub lifecycle: Lifecycle,
    /// What to do with what stopped in a gap.
    pub after_gap: AfterGap,
    /// Whether an exit is for Iaso to heal (not for containers with only another healer's label).
    pub heal_exits: bool,
    /// Forgives failures of Iaso's own checks after a container's start.
    pub start_period: Duration,
}

/// Which containers a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub probe: Probe,
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

/// What a check probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// An HTTP request.
    Http(HttpProbe),
}

/// An HTTP request and what is expected of its answer.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// The URL, in which `{address}` and `{port:N}` stand for the container's own.
    pub url: UrlTemplate,
    /// `GET`, `HEAD` or `POST`.
    pub method: HttpMethod,
    /// Headers to send, names in lower case; `host` replaces the one made from the URL.
    pub headers: Vec<(String, String)>,
    /// Redirects to follow, 0 to 10.
    pub redirects: u8,
    /// What must hold.
    pub expect: HttpExpect,
}

/// Headers may hold credentials: only their names are shown.
impl fmt::Debug for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, method, headers, redirects, expect } = self;
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("HttpProbe")
            .field("url", url)
            .field("method", method)
            .field("headers", &names)
            .field("redirects", redirects)
            .field("expect", expect)
            .finish()
    }
}

/// The method of an HTTP probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`, without a body.
    Post,
}

/// What must hold of an HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpExpect {
    /// Accepted statuses, as inclusive ranges.
    pub status: Vec<(u16, u16)>,
    /// The body (its first MiB) contains this.
    pub body_contains: Option<String>,
    /// The body is JSON in which this pointer (RFC 6901) leads to this value.
    pub json: Vec<(String, serde_json::Value)>,
    /// Headers that must be there, with a value that contains the given text.
    pub headers: Vec<(String, String)>,
    /// Longest time from the start to the body's end.
    pub max_latency: Option<Duration>,
}

/// A URL with placeholders, split so that filling it in cannot fail on its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    /// `http` or `https`.
    pub https: bool,
    /// Where to connect.
    pub host: UrlHost,
    /// The port; none is the scheme's own.
    pub port: Option<UrlPort>,
    /// Path and query, beginning with `/`.
    pub path: String,
}

/// The host of a [`UrlTemplate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlHost {
    /// `{address}`: the container's own address.
    Container,
    /// A name or address as written (IPv6 without brackets).
    Fixed(String),
}

/// The port of a [`UrlTemplate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlPort {
    /// A number as written; with `{address}` it is the container's own port.
    Number(u16),
    /// `{port:N}`: the host's port that the container's port N is published on.
    Published(u16),
}
