//! What the policy is told. Closed types, numbers and validated names only: no foreign text crosses here.
//!
//! Facts are levels: an event, a HEALTHCHECK, a probe and a list that report one death are one death. Each names the
//! instance it is about and when the observation began, so that what is old or late can be told from news.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use crate::alert::AlertKey;
use crate::id::{AttemptId, CheckId, CredentialKey, HostId, Instance, OrderId, RolloutId, ServiceId};
use crate::spec::{Budget, FleetSpec, Need, ServiceSpec, Step};
use crate::time::Mono;

/// One service on the way of a changed credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RolloutStep {
    /// Which.
    pub service: ServiceId,
    /// What tells it: only [`Step::Restart`] and [`Step::Signal`].
    pub step: Step,
    /// Its container was started after the change was written: nothing tells it, but for the undoing.
    pub has_it: bool,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Input {
    /// A service is declared, or declared anew: an equal check keeps its proof, a changed one must prove itself again.
    /// Declared as it is already, nothing changes.
    Define {
        /// Which.
        service: ServiceId,
        /// As what.
        spec: Box<ServiceSpec>,
    },
    /// A service is no longer declared. What is under way ends first; then its state is dropped, but for what would have
    /// outlived a restart of Iaso: that waits for the identity to be declared again.
    Forget {
        /// Which.
        service: ServiceId,
    },
    /// What a service needs, from now on; none: nothing. Circles are cut by whoever tells it: a service is never asked to wait
    /// for itself.
    Needs {
        /// Whose.
        service: ServiceId,
        /// All of them.
        needs: Vec<Need>,
    },
    /// The rules across services are these from now on; what was charged stays charged. Comes first of a configuration's
    /// inputs, and decides nothing by itself: a tick after the last of them does.
    Rules {
        /// All of them.
        fleet: FleetSpec,
    },
    /// The link to an engine changed.
    Host {
        /// Which.
        host: HostId,
        /// How.
        link: HostLink,
    },
    /// The disk that holds an engine's data is full, or has room again.
    Disk {
        /// Whose.
        host: HostId,
        /// It is full.
        full: bool,
    },
    /// What does not change within a container's life. Comes before its first sight.
    Described {
        /// Whose container.
        service: ServiceId,
        /// The container.
        container: Container,
    },
    /// A container was seen in a state.
    Seen {
        /// Whose container.
        service: ServiceId,
        /// The state.
        sight: Sight,
    },
    /// Somebody sent the container its stop signal (an engine's `kill` event). Iaso tells its own from a person's.
    StopSignal {
        /// Whose container.
        service: ServiceId,
        /// Which life of it.
        instance: Instance,
        /// When the event came.
        at: Mono,
    },
    /// A container of this identity was created, renamed or destroyed by somebody: a deployment may be under way.
    Change {
        /// Whose.
        service: ServiceId,
    },
    /// A check ended.
    Checked {
        /// Whose.
        service: ServiceId,
        /// Which.
        check: CheckId,
        /// The life it looked at.
        instance: Instance,
        /// When it began.
        began: Mono,
        /// What came of it.
        result: CheckResult,
    },
    /// An operation ended, or never began.
    Finished {
        /// Whose.
        service: ServiceId,
        /// Which.
        attempt: AttemptId,
        /// How.
        outcome: Outcome,
    },
    /// A window of maintenance that a calendar names is open for this service, or no longer.
    Maintenance {
        /// Whose.
        service: ServiceId,
        /// When it ends, unless something else is told before; none: no window is open.
        until: Option<Mono>,
    },
    /// A reporter has taken an announcement.
    Delivered {
        /// In whose name it was.
        service: ServiceId,
        /// Which.
        key: AlertKey,
    },
    /// A person's order.
    Order {
        /// For whom.
        service: ServiceId,
        /// Echoed in the answer.
        id: OrderId,
        /// What.
        order: Order,
    },
    /// A credential changed: the services that use it are to learn of it, one after the other. A rollout of the same
    /// credential that has not begun is replaced; one that has begun ends first.
    RollOut {
        /// Its number.
        rollout: RolloutId,
        /// What its operations are charged to.
        credential: CredentialKey,
        /// What is done to whom, in this order; the first of a service counts.
        steps: Vec<RolloutStep>,
        /// Operations for this credential's sake.
        cap: Budget,
        /// The wait from one service's verdict to the next service.
        splay: Duration,
        /// As many operations again are reserved to undo it, until [`Input::Undo`] or [`Input::Settle`].
        undoable: bool,
    },
    /// The credential was put back as it was: whoever learned of the change learns of that, in the same order.
    Undo {
        /// The rollout of the change.
        rollout: RolloutId,
    },
    /// The change stays: what was reserved to undo it is given back.
    Settle {
        /// The rollout of the change.
        rollout: RolloutId,
    },
    /// Whether the store takes writes.
    Store {
        /// It does.
        up: bool,
    },
    /// Iaso is stopping: no new operations.
    Stopping,
    /// Time passed; a deadline may be due.
    Tick,
}

/// The state of the link to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HostLink {
    /// Connected, and the full list has been told.
    Up {
        /// The engine itself was found to have started anew since the link was last up (not merely the link).
        engine_started: bool,
    },
    /// Lost.
    Down,
}

/// What does not change within one life of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Container {
    /// This life.
    pub instance: Instance,
    /// The engine's own restart policy.
    pub restart: RestartPolicy,
    /// Why it is never a target (law 18), where it is not.
    pub exempt: Option<Exempt>,
    /// A one-off container of Compose (`docker compose run`).
    pub one_off: bool,
    /// Its HEALTHCHECK's start period plus interval times retries; none without a HEALTHCHECK.
    pub healthcheck: Option<Duration>,
    /// Its own stop grace, where it names one.
    pub stop_grace: Option<Duration>,
    /// The signal that asks it to stop, by number.
    pub stop_signal: u8,
}

/// The engine's own restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RestartPolicy {
    /// Never.
    No,
    /// `always` and `unless-stopped`.
    Always,
    /// On an exit code other than 0; at most this many times, 0 for no limit.
    OnFailure(u32),
}

/// Why a container is never a target of an automatic operation (law 18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Exempt {
    /// Iaso's own container, or the proxy it talks through.
    Itself,
    /// A task of Swarm or of another orchestrator.
    Orchestrated,
    /// It removes itself when it exits (`--rm`).
    AutoRemove,
    /// It says `iaso.enable=false`.
    Disabled,
}

/// A container seen in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sight {
    /// The life that was seen.
    pub instance: Instance,
    /// When the observation began: for an event, when it was received; for a list or a look, before it was asked.
    pub began: Mono,
    /// When this life began, on Iaso's clock (an estimate for what was already running).
    pub since: Mono,
    /// The state.
    pub state: State,
}

/// The state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum State {
    /// There is no container of this identity.
    Gone,
    /// Created, never started.
    Created,
    /// Running.
    Running(EngineHealth),
    /// Frozen by the engine.
    Paused,
    /// Exited, and the engine waits to start it again.
    Restarting,
    /// Exited.
    Exited {
        /// The process's exit code, 128 + N for signal N.
        code: i32,
        /// How it was learned.
        witness: Witness,
    },
    /// Being removed, or dead in the engine's sense.
    Removing,
}

/// What the engine's HEALTHCHECK says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EngineHealth {
    /// There is none.
    None,
    /// It has not decided yet.
    Starting,
    /// Healthy.
    Healthy,
    /// Unhealthy: the image author's threshold is met.
    Unhealthy,
}

/// How an exit was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Witness {
    /// From the event stream as it happened: every stop signal before it was seen too.
    Event,
    /// From a list or a look: whatever led to it may have been missed.
    Look,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum CheckResult {
    /// It passed.
    Passed,
    /// It passed, but took longer than its `max_latency`: a reason to tell people, never to act.
    Late,
    /// It failed.
    Failed,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Outcome {
    /// The engine says that it did it. Whether it helped is another matter (law 4).
    Done,
    /// The look before it found another life or state than the one it was decided for; nothing was done.
    Moot,
    /// The engine refused or failed it.
    Failed,
    /// The command of an `exec` step ran and returned another code than 0.
    CommandFailed,
    /// The engine or a proxy does not permit this step.
    NotPermitted,
    /// There is no such container any more.
    NotFound,
    /// The call outlived its bound and gave its place back; the engine may still finish it.
    TimedOut,
    /// The engine could not be reached.
    Unreachable,
    /// The store did not take the charge in time; the engine was not asked (law 1).
    Uncharged,
    /// A law forbade it; the engine was not asked.
    Refused,
    /// Too many calls in a row had not reached the engine; it was not asked.
    LeftAlone,
    /// The task that carried it out died.
    Crashed,
}

/// A person's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Order {
    /// No automatic operations until resumed.
    Pause,
    /// Ends a pause and a quarantine.
    Resume,
    /// Maintenance: no automatic operations until then. Takes the place of an earlier order, not of a calendar's window.
    Maintain {
        /// When it ends.
        until: Mono,
        /// It is for everything: what is declared before its end is covered too.
        everything: bool,
    },
    /// Ends maintenance now, a calendar's window included.
    EndMaintenance {
        /// It is for everything: what is declared from now on is not covered.
        everything: bool,
    },
    /// Somebody takes care of the outage: it is not told again, and where a notice was to be waited out it is left to them.
    Acknowledge {
        /// Only until then; none: until it is over.
        until: Option<Mono>,
    },
    /// Restart now (or start, what is stopped), uncharged. `now` ends an attempt in flight.
    Restart {
        /// Supersede an operation in flight rather than be refused.
        now: bool,
    },
}
