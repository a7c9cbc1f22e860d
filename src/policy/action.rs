//! What the policy asks for.

use core::time::Duration;

use crate::alert::Alert;
use crate::id::{AttemptId, CheckId, CredentialKey, HostId, IncidentId, Instance, OrderId, RolloutId, ServiceId};
use crate::record::{Hold, Record};
use crate::spec::Step;

/// One thing to do. Order matters: the record of a charge comes before the operation it pays for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Action {
    /// Change something on an engine.
    Operate(Operation),
    /// Run a check now, outside its cadence.
    Probe {
        /// Whose.
        service: ServiceId,
        /// Which.
        check: CheckId,
    },
    /// Inspect the service's container now and tell what is seen.
    Look {
        /// Whose.
        service: ServiceId,
    },
    /// Run a check at this interval from now on.
    Cadence {
        /// Whose.
        service: ServiceId,
        /// Which.
        check: CheckId,
        /// The interval.
        every: Duration,
    },
    /// Say and keep what was decided.
    Record(Record),
    /// Answer a person's order.
    Answer {
        /// The order.
        order: OrderId,
        /// The answer.
        answer: Answer,
    },
    /// Tell people. Comes again, under the same key, as long as no reporter has taken it ([`crate::Input::Delivered`]).
    Announce(Alert),
    /// A rollout, or its undoing, is over.
    RolledOut {
        /// Which.
        rollout: RolloutId,
        /// It is the undoing that is over.
        undo: bool,
        /// How.
        result: RolloutResult,
    },
}

/// How a rollout, or its undoing, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RolloutResult {
    /// Every service that runs has learned of it; those that were well still are.
    Done,
    /// Likewise, but for this one: it runs and is to be left alone, so that it goes on with what it had. It may not be the only one.
    Left(ServiceId),
    /// This service was well before and not after it. A rollout ends there; its undoing goes on with the others.
    Failed(ServiceId),
    /// It may not begin, for a reason that does not pass with time; nothing was done.
    Refused(Hold),
    /// Before it began a newer rollout of the same credential took its place, or before it ended its own undoing did.
    Replaced,
}

impl RolloutResult {
    /// The word for logs and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Left(_) => "left",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
            Self::Replaced => "replaced",
        }
    }
}

/// A change to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Operation {
    /// For whom.
    pub service: ServiceId,
    /// On which engine.
    pub host: HostId,
    /// Its id; the outcome names it.
    pub attempt: AttemptId,
    /// The outage it belongs to.
    pub incident: Option<IncidentId>,
    /// The life it was decided for. The look before it must find this one.
    pub instance: Instance,
    /// What to do.
    pub step: Step,
    /// Why it may be done.
    pub cause: Cause,
    /// What is wrong; none when a person ordered it.
    pub trouble: Option<Trouble>,
    /// The stop grace to ask for; none leaves it to the engine (10 s).
    pub stop_grace: Option<Duration>,
    /// Whether its charge must be in the store's hands first.
    pub charge: Charge,
}

/// Why an operation may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Cause {
    /// To heal.
    Recovery,
    /// A person ordered it.
    Operator,
    /// A credential changed, and its user is to learn of it.
    Credential {
        /// Which. The operation is charged to it and to the host, not to the service.
        credential: CredentialKey,
        /// The change on its way.
        rollout: RolloutId,
        /// The credential was put back as it was.
        undo: bool,
    },
}

impl Cause {
    /// The word for logs, metric labels and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
            Self::Operator => "operator",
            Self::Credential { .. } => "credential",
        }
    }
}

/// How an operation is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Charge {
    /// A person's order: free.
    Free,
    /// The record of the charge must have been handed to the operating system before the engine is asked, within 100 ms.
    Stored,
    /// The store is down: charged in memory alone, at half the budget; or undone, which was reserved before.
    Memory,
}

/// What is wrong with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Trouble {
    /// Its container exited by itself.
    Exited {
        /// With this code.
        code: i32,
    },
    /// Its container exited in a gap, and the operator wants such ones started.
    StoppedInGap,
    /// The engine waits to start it again, or has just done so.
    EngineRestarting,
    /// The engine's HEALTHCHECK says unhealthy.
    EngineUnhealthy,
    /// What it needs has started anew after it, and it is to start anew then.
    Outlived,
    /// One of Iaso's own checks fails.
    Check(CheckId),
}

impl Trouble {
    /// The word for logs, metric labels and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exited { .. } => "exited",
            Self::StoppedInGap => "stopped_in_gap",
            Self::EngineRestarting => "engine_restarting",
            Self::EngineUnhealthy => "healthcheck",
            Self::Outlived => "outlived",
            Self::Check(_) => "check",
        }
    }
}

/// The answer to a person's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Answer {
    /// An operation was begun.
    Begun(AttemptId),
    /// Done, at once.
    Done,
    /// An operation is in flight; try again, or order with `now`.
    Busy(AttemptId),
    /// There is nothing to do it to: no such service, or it has no container.
    NoTarget,
    /// It is in no outage.
    NoIncident,
    /// Its host cannot be reached.
    HostDown,
    /// Iaso is stopping.
    Stopping,
}
