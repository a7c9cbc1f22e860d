//! What the operator asked for, validated: the policy's configuration. The defaults are the contract's.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{HostId, Identity, ServiceId};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// At most `max` in any `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Budget {
    /// How many; zero forbids.
    pub max: u32,
    /// The sliding window; at most one day.
    pub window: Duration,
}

/// When failures on one host are a storm: so many of them, and so many of its services, in so short a time.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MassFailure {
    /// So many at least.
    pub min: u32,
    /// More than this share of the services that run or have just failed: `0.0..=1.0`; 1 is never.
    pub ratio: f64,
    /// Within this time.
    pub window: Duration,
}

impl Eq for MassFailure {}

/// Rules across the services of every host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FleetSpec {
    /// Decide and record everything, touch nothing (`--observe`).
    pub observe: bool,
    /// Engine calls in flight per host.
    pub max_concurrent: u32,
    /// Automatic operations per host.
    pub host_budget: Budget,
    /// When so much fails on a host at once that it is not healed one by one.
    pub mass_failure: MassFailure,
    /// After Iaso's own start, before verdicts of its probes may lead to an operation.
    pub quiet_start: Duration,
    /// The same for verdicts of the engine's own HEALTHCHECK; zero unless another healer's environment asks for it.
    pub quiet_start_healthcheck: Duration,
    /// The same after an engine's or a host's start, for the engine's own HEALTHCHECK verdicts too.
    pub quiet_engine_start: Duration,
    /// An engine that could be reached, and then could not for so long, is lost: one incident of its host's.
    pub host_lost_after: Duration,
    /// The cadence of checks on a service that fails.
    pub failing_interval: Duration,
    /// The cadence of checks and looks while an operation is verified.
    pub verify_interval: Duration,
}

impl Default for FleetSpec {
    fn default() -> Self {
        Self {
            observe: false,
            max_concurrent: 8,
            host_budget: Budget { max: 20, window: secs(600) },
            mass_failure: MassFailure { min: 5, ratio: 0.5, window: secs(60) },
            quiet_start: secs(30),
            quiet_start_healthcheck: Duration::ZERO,
            quiet_engine_start: secs(120),
            host_lost_after: secs(30),
            failing_interval: secs(5),
            verify_interval: secs(2),
        }
    }
}

/// One watched identity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServiceSpec {
    /// What its memory is kept under.
    pub identity: Identity,
    /// The engine it lives on.
    pub host: HostId,
    /// Iaso's own checks; the engine's HEALTHCHECK needs none.
    pub checks: Vec<CheckSpec>,
    /// How it is healed.
    pub recovery: RecoverySpec,
    /// Whether an exit may be its natural end.
    pub lifecycle: Lifecycle,
    /// What to do with what ran before a gap and is exited after it.
    pub after_gap: AfterGap,
    /// Whether an exit is for Iaso to heal at all. False for containers that only carry another healer's label: those
    /// restart what runs and is unhealthy, and never start what exited.
    pub heal_exits: bool,
    /// Forgives failures of Iaso's own checks, counted from the container's start, until one has passed in that life.
    pub start_period: Duration,
    /// The longest that a healing check may leave open, after a start, how the service is: a heartbeat waits that long for
    /// its first ping. A verification waits for it.
    pub settles_within: Duration,
    /// It keeps data that a restart at a bad moment harms: while its engine's disk is full it is not restarted.
    pub stateful: bool,
}

impl ServiceSpec {
    /// A service with every default of the contract and no checks of its own.
    pub fn new(identity: Identity, host: HostId) -> Self {
        Self {
            identity,
            host,
            checks: Vec::new(),
            recovery: RecoverySpec::default(),
            lifecycle: Lifecycle::Auto,
            after_gap: AfterGap::Leave,
            heal_exits: true,
            start_period: secs(60),
            settles_within: Duration::ZERO,
            stateful: false,
        }
    }
}

/// Something that a service needs before it can be well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Need {
    /// What is needed: one of these is enough. None of them: nobody knows what it is, which holds nothing.
    pub on: Vec<ServiceId>,
    /// For what would do as well and is not watched: whether, as the engine has it, it is as it must be.
    pub unwatched: Option<bool>,
    /// How it must be.
    pub until: Condition,
    /// When the service, well or not, is to be started anew because of it.
    pub restarts: Restarts,
}

/// After what of something that it needs a service is to be started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Restarts {
    /// Nothing.
    Never,
    /// Once Iaso has healed it by a start, which was verified.
    Healed,
    /// Each start, whoever did it, as whoever lives in another's network must be.
    Started,
}

/// How something must be for those who need it. Whatever is wanted of it: what is broken, failing or being recovered is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Condition {
    /// It runs.
    Started,
    /// It runs well.
    Healthy,
    /// It has ended with 0.
    Completed,
}

/// One probe of a service, as far as decisions need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CheckSpec {
    /// Changes whenever the check's definition does: a changed check must prove itself again (law 16).
    pub fingerprint: u64,
    /// Whether its failure leads to healing.
    pub on_failure: OnFailure,
    /// When failures become a verdict.
    pub failure: Threshold,
    /// Passes in a row that end a failing verdict; at least 1.
    pub success_threshold: u8,
    /// The usual cadence.
    pub interval: Duration,
}

/// When failures become a verdict: `failures` of the last `of` results. Equal numbers mean "in a row".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Threshold {
    /// At least 1.
    pub failures: u8,
    /// `failures..=64`.
    pub of: u8,
}

impl Threshold {
    /// `n` failures in a row.
    pub const fn in_a_row(n: u8) -> Self {
        Self { failures: n, of: n }
    }
}

/// What a failing check asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OnFailure {
    /// The service is unhealthy and is healed.
    Heal,
    /// The service is degraded; people are told.
    Alert,
}

/// Whether an exit may be a service's natural end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Lifecycle {
    /// It must run; exit 0 is a failure too.
    Running,
    /// It is a job; any exit is its end.
    Completed,
    /// Exit 0, and one-off containers, have completed; another exit is a failure.
    Auto,
}

/// What to do with what ran before a gap (of the engine's, the host's, or Iaso's own) and is exited after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AfterGap {
    /// Nobody saw why it stopped: leave it to a person.
    Leave,
    /// Start it.
    Start,
}

/// How a service is healed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RecoverySpec {
    /// Whether Iaso acts.
    pub mode: Mode,
    /// Steps in order; the last repeats. Never empty.
    pub ladder: Vec<Step>,
    /// Once a start or a restart has healed it, whatever needs it, directly or through others, is started anew after it:
    /// what is needed before who needs it, and one after the other.
    pub restart_dependents: bool,
    /// Before the first attempt in an outage in which its process is still there, this is told and so long waited for a
    /// person; zero: not at all.
    pub notice: Duration,
    /// Unset: the container's own stop grace, else the engine's.
    pub stop_timeout: Option<Duration>,
    /// Where `stop_timeout` is unset the stop grace is at least this; zero: whatever the container says.
    pub least_grace: Duration,
    /// How long an operation may take to prove itself. Unset: [`RecoverySpec::verify_timeout_for`] says.
    pub verify_timeout: Option<Duration>,
    /// How long it must stay healthy to count as healed, with at least two passes.
    pub verify_stable: Duration,
    /// Failed recoveries in one incident before quarantine; at least 1.
    pub max_attempts: u32,
    /// Automatic operations in a window, for what flaps.
    pub restarts: Budget,
    /// The wait before the second and later attempts.
    pub backoff: BackoffSpec,
    /// The first half-open trial after quarantine, then doubling to a day. Unset: never.
    pub quarantine_retry: Option<Duration>,
    /// What to do with a container when it is quarantined.
    pub on_quarantine: OnQuarantine,
}

impl Default for RecoverySpec {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            ladder: vec![Step::Restart],
            restart_dependents: false,
            notice: Duration::ZERO,
            stop_timeout: None,
            least_grace: Duration::ZERO,
            verify_timeout: None,
            verify_stable: secs(10),
            max_attempts: 5,
            restarts: Budget { max: 5, window: secs(600) },
            backoff: BackoffSpec::default(),
            quarantine_retry: Some(secs(1800)),
            on_quarantine: OnQuarantine::Leave,
        }
    }
}

impl RecoverySpec {
    /// The verification's time limit: the configured one, else the longer of the service's own time to settle (its start
    /// period, or the wait for a heartbeat) and the image's (HEALTHCHECK start period plus interval times retries), plus
    /// `verify_stable`, plus 30 s.
    pub fn verify_timeout_for(&self, settles: Duration, healthcheck: Option<Duration>) -> Duration {
        self.verify_timeout
            .unwrap_or_else(|| settles.max(healthcheck.unwrap_or_default()) + self.verify_stable + secs(30))
    }
}

/// Whether Iaso acts on a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Mode {
    /// It heals.
    Auto,
    /// It opens incidents and tells people, and never acts.
    Notify,
    /// It watches, and never acts.
    Off,
}

/// One step of a ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Step {
    /// Start the container.
    Start,
    /// Stop it with its grace, then start it.
    Restart,
    /// Send it a signal, by number (1 to 64).
    Signal(u8),
    /// Run a command inside it: the index of the command in the service's configuration.
    Exec(u16),
    /// Stop it with its grace.
    Stop,
}

impl Step {
    /// The word for logs, metric labels and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Signal(_) => "signal",
            Self::Exec(_) => "exec",
            Self::Stop => "stop",
        }
    }
}

/// The wait before an attempt: `base * factor^n`, at most `max`, varied by up to `jitter` either way, never over `max`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BackoffSpec {
    /// Before the second attempt.
    pub base: Duration,
    /// Growth, at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// `0.0..=1.0`.
    pub jitter: f64,
    /// Health sustained this long starts the count anew.
    pub reset_after: Duration,
}

impl Eq for BackoffSpec {}

impl Default for BackoffSpec {
    fn default() -> Self {
        Self { base: secs(10), factor: 2.0, max: secs(300), jitter: 0.1, reset_after: secs(600) }
    }
}

/// What to do with a container that is quarantined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OnQuarantine {
    /// Leave it as it is.
    Leave,
    /// Stop it.
    Stop,
}
