//! A container engine as the rest of Iaso sees it, and what may be asked of one.

pub mod answers;
mod connect;
pub mod denied;
pub mod docker;
mod events;
mod exec;
pub mod image;
pub mod operate;
#[cfg(test)]
pub(crate) mod scripted;
mod translate;
mod transport;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use iaso_policy::input::{EngineHealth, RestartPolicy};

use self::denied::Endpoint;
use crate::config::secret::Secret;

/// One engine. Every call is bounded by the caller; an implementation never retries a change.
pub trait Engine: Send + Sync {
    /// Asks for identity and versions, and agrees on the newest API version that both sides know.
    fn hello(&self) -> BoxFuture<'_, Result<EngineInfo, EngineError>>;

    /// Asks for a sign of life, cheaply.
    fn ping(&self) -> BoxFuture<'_, Result<(), EngineError>>;

    /// Every container, exited ones included.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ContainerDetail>, EngineError>>;

    /// One container, by id.
    fn inspect<'a>(&'a self, container: &'a ContainerId) -> BoxFuture<'a, Result<ContainerDetail, EngineError>>;

    /// Subscribes to container events. Once this is done nothing that happens is missed, until the stream ends or errs; what
    /// happened before is not told.
    fn events(&self) -> BoxFuture<'_, Result<EventStream, EngineError>>;

    /// Changes a container. `grace` is the stop grace to ask for; none leaves it to the engine.
    fn change<'a>(
        &'a self,
        container: &'a ContainerId,
        change: &'a Change,
        grace: Option<Duration>,
    ) -> BoxFuture<'a, Result<Changed, EngineError>>;

    /// Runs a command in a container and waits for its end, at most for `bound`. No shell reads the command; it runs as the
    /// container's user, in its working directory, without input.
    ///
    /// # Errors
    /// Among others [`EngineError::ContainerStopped`], [`EngineError::ContainerPaused`], [`EngineError::CannotExecute`],
    /// [`EngineError::NotPermitted`], and after `bound` [`EngineError::CommandGoesOn`], since an engine has no call that would
    /// end it, or [`EngineError::TimedOut`] where the engine did not even begin it.
    fn exec<'a>(
        &'a self,
        container: &'a ContainerId,
        command: &'a [String],
        bound: Duration,
    ) -> BoxFuture<'a, Result<ExecOutput, EngineError>>;

    /// The same, with `input` on the command's standard input, which then ends; a command need not read it. The input is in no
    /// error; that a command may print it is for the caller to know.
    ///
    /// # Errors
    /// As [`Engine::exec`]; and where a proxy before the engine does not let connections carry bytes both ways.
    fn exec_with_input<'a>(
        &'a self,
        container: &'a ContainerId,
        command: &'a [String],
        input: &'a Secret,
        bound: Duration,
    ) -> BoxFuture<'a, Result<ExecOutput, EngineError>>;

    /// Finds out, without changing anything, which calls a proxy before the engine denies.
    fn denied(&self) -> BoxFuture<'_, Result<Vec<&'static Endpoint>, EngineError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    /// How a container stands, with what its HEALTHCHECK printed when it last failed, where the engine keeps that.
    fn last_words<'a>(&'a self, container: &'a ContainerId) -> BoxFuture<'a, Result<LastWords, EngineError>> {
        async move { Ok(LastWords { detail: self.inspect(container).await?, healthcheck: None }) }.boxed()
    }

    /// The last `lines` lines of a container's output, whole ones and at most 64 KiB, both streams in order.
    fn logs<'a>(&'a self, container: &'a ContainerId, lines: u16) -> BoxFuture<'a, Result<String, EngineError>>;
}

/// Container events as they happen.
pub type EventStream = BoxStream<'static, Result<EngineEvent, EngineError>>;

/// A container's full id: 64 characters of lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// Takes the engine's spelling; none when it is not 64 hexadecimal digits.
    pub fn new(id: &str) -> Option<Self> {
        (id.len() == 64 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then(|| Self(id.to_owned()))
    }

    /// The engine's spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The policy's spelling: the first 128 bits.
    pub fn short(&self) -> u128 {
        u128::from_str_radix(&self.0[..32], 16).unwrap_or_default()
    }
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its product version.
    pub version: String,
    /// The API version agreed on.
    pub api: (u16, u16),
    /// Its id (`/info`), where it tells.
    pub id: Option<String>,
    /// The folder of its host where it keeps images, containers and volumes, where it tells.
    pub data_root: Option<PathBuf>,
}

/// One container, whole: foreign text included, so it stays outside the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDetail {
    /// Its id.
    pub id: ContainerId,
    /// Its name, without the leading slash.
    pub name: String,
    /// Its image, as named when it was created.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its state.
    pub state: ContainerState,
    /// When it last started, in nanoseconds since the epoch on the engine's clock; zero: never.
    pub started: i64,
    /// When it last ended, likewise.
    pub finished: i64,
    /// The kernel killed it, or a process of it, for want of memory.
    pub oom_killed: bool,
    /// The engine's own restart policy.
    pub restart: RestartPolicy,
    /// How often the engine restarted it by that policy.
    pub restart_count: u32,
    /// It removes itself when it exits.
    pub auto_remove: bool,
    /// Its HEALTHCHECK's timing; none without one.
    pub healthcheck: Option<Healthcheck>,
    /// The signal that asks it to stop, by number (15 where it names none).
    pub stop_signal: u8,
    /// Its stop grace, where it names one.
    pub stop_grace: Option<Duration>,
    /// Its networks by name, with its addresses there.
    pub networks: BTreeMap<String, Vec<IpAddr>>,
    /// `host`, `none`, `bridge`, `container:ID`, or a network's name.
    pub network_mode: String,
    /// Names of the containers that it is linked to.
    pub links: BTreeSet<String>,
    /// Its published ports: (container's TCP port, host's address, host's port).
    pub ports: Vec<(u16, IpAddr, u16)>,
    /// What of the host it sees, by destination.
    pub mounts: Vec<Mount>,
}

/// A container, and what it had to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWords {
    /// The container.
    pub detail: ContainerDetail,
    /// The code that its HEALTHCHECK returned when it last failed, and the beginning of what it printed, as far as the engine
    /// keeps it (4 KiB). May hold secrets.
    pub healthcheck: Option<(i64, String)>,
}

/// A file or folder of the engine's host in a container. What has no source, such as a tmpfs, is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its path on the engine's host.
    pub source: PathBuf,
    /// Its path in the container.
    pub destination: PathBuf,
}

/// A HEALTHCHECK's timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Healthcheck {
    /// Between checks.
    pub interval: Duration,
    /// Of one check.
    pub timeout: Duration,
    /// Failures that make it unhealthy.
    pub retries: u32,
    /// Failures at first that do not count.
    pub start_period: Duration,
}

/// The engine's word for a container's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Created, never started.
    Created,
    /// Running.
    Running(EngineHealth),
    /// Frozen.
    Paused,
    /// Waiting to be restarted by the engine.
    Restarting,
    /// Exited with this code.
    Exited(i32),
    /// Being removed.
    Removing,
    /// Dead in the engine's sense: half removed.
    Dead,
}

/// One container event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// Which container.
    pub container: ContainerId,
    /// Its name, where the event tells it.
    pub name: Option<String>,
    /// Its labels, as far as the event tells them.
    pub labels: BTreeMap<String, String>,
    /// When, in nanoseconds since the epoch on the engine's clock.
    pub time: i64,
    /// What.
    pub action: EventAction,
}

/// What happened to a container. Events outside this list are not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventAction {
    /// Created.
    Create,
    /// Started.
    Start,
    /// A signal was sent to it.
    Kill(u8),
    /// Its process ended with this code.
    Die(i32),
    /// A stop was carried out (comes after the die).
    Stop,
    /// A restart was carried out (comes after the start).
    Restart,
    /// Frozen.
    Pause,
    /// Thawed.
    Unpause,
    /// The kernel killed something in it for want of memory.
    Oom,
    /// The HEALTHCHECK's verdict changed.
    Health(EngineHealth),
    /// Renamed.
    Rename,
    /// Removed.
    Destroy,
}

/// A change to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Start it.
    Start,
    /// Stop it with its grace.
    Stop,
    /// Stop it with its grace, then start it.
    Restart,
    /// Send it a signal, by number.
    Signal(u8),
    /// Run a command in it and wait for its end.
    Exec(Vec<String>),
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It was done.
    Done,
    /// The container was in that state already.
    Already,
    /// The command ran and returned this code, not 0.
    CommandFailed(i64),
}

/// What came of a command that ran in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code; 128 and a signal's number where that ended it.
    pub code: i64,
    /// The end of what it printed, at most 16 KiB, both streams in the order in which they came. May hold secrets.
    pub output: String,
}

/// Why an engine did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens: the socket is missing or refuses. The engine is down, not merely the way to it.
    #[error("the engine is not running: {0}")]
    NotRunning(String),
    /// Nobody answers.
    #[error("the engine cannot be reached: {0}")]
    Unreachable(String),
    /// It took the call and then the connection broke.
    #[error("the connection to the engine broke: {0}")]
    Broken(String),
    /// It did not answer in time.
    #[error("the engine did not answer within {0:?}")]
    TimedOut(Duration),
    /// There is no such container.
    #[error("no such container")]
    NotFound,
    /// The engine, or a proxy before it, denies the call.
    #[error("not permitted: {0}")]
    NotPermitted(String),
    /// The container's state forbids it (HTTP 409), such as a restart of one being removed.
    #[error("the container's state forbids it: {0}")]
    Conflict(String),
    /// A command cannot run in the container, since it does not run itself.
    #[error("the container does not run")]
    ContainerStopped,
    /// A command cannot run in the container, since it is paused.
    #[error("the container is paused")]
    ContainerPaused,
    /// The command's program cannot be run in the container: it is not there (127) or no executable (126).
    #[error("the command cannot be run in the container (code {code}): {message}")]
    CannotExecute {
        /// 126 or 127.
        code: i64,
        /// What was said of it, shortened to 500 characters.
        message: String,
    },
    /// The command did not end in time, and goes on inside the container.
    #[error("the program did not end within {0:?}, and goes on inside the container")]
    CommandGoesOn(Duration),
    /// The engine failed at it.
    #[error("the engine answered {status}: {message}")]
    Failed {
        /// The HTTP status.
        status: u16,
        /// The engine's message, shortened to 500 characters.
        message: String,
    },
    /// It speaks no API version that Iaso speaks.
    #[error("this engine is not supported: {0}")]
    Unsupported(String),
    /// The answer was not the engine's API.
    #[error("the answer is not that of a container engine: {0}")]
    Malformed(String),
}
