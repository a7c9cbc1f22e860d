//! The read model: what metrics, `/health`, `status` and `explain` are made from.

use alloc::vec::Vec;

use crate::action::Trouble;
use crate::id::{AttemptId, IncidentId, ServiceId};
use crate::input::{Container, State};
use crate::record::{Health, Hold};
use crate::spec::Step;
use crate::time::{Mono, Now};

/// One service, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Which.
    pub service: ServiceId,
    /// How it is.
    pub health: Health,
    /// Since when.
    pub since: Mono,
    /// What is wrong.
    pub trouble: Option<Trouble>,
    /// The outage it is in.
    pub incident: Option<IncidentView>,
    /// Whose outages are, or were, part of that one, those included that are well again.
    pub affected: Vec<ServiceId>,
    /// What Iaso is doing about it.
    pub phase: Phase,
    /// Why Iaso does not act.
    pub hold: Option<HoldView>,
    /// Why a changed credential waits before it, where one does.
    pub rollout: Option<HoldView>,
    /// The ladder's step that an automatic attempt would take next; none when no step fits the container's state.
    pub next_step: Option<Step>,
    /// Automatic operations left in the window, as things stand (halved budgets included).
    pub budget_remaining: u32,
    /// Quarantine in force.
    pub quarantine: Option<QuarantineView>,
    /// A person paused it.
    pub paused: bool,
    /// It is under maintenance until then.
    pub maintained_until: Option<Mono>,
    /// Its container, where there is one.
    pub container: Option<Container>,
    /// The state it was last seen in.
    pub state: Option<State>,
    /// Restarts by the engine's own policy within the last ten minutes.
    pub engine_restarts: u32,
    /// It keeps data, and is healed with care.
    pub stateful: bool,
    /// Its checks, in the order of their definition.
    pub checks: Vec<CheckView>,
}

/// An outage that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct IncidentView {
    /// Its id.
    pub incident: IncidentId,
    /// When it opened.
    pub opened: Now,
    /// Automatic attempts begun.
    pub attempts: u32,
    /// Attempts that ended without healing.
    pub failed: u32,
    /// A person takes care of it, since then.
    pub acknowledged: Option<Now>,
    /// The outage of something that it needs that it is, or was, part of.
    pub root: Option<IncidentId>,
}

/// What Iaso is doing about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    Idle,
    /// An engine call is in flight.
    Operating {
        /// The attempt.
        attempt: AttemptId,
        /// Its step.
        step: Step,
        /// Since when.
        since: Mono,
    },
    /// The call is done; its effect is being verified.
    Verifying {
        /// The attempt.
        attempt: AttemptId,
        /// Its step.
        step: Step,
        /// Since when.
        since: Mono,
        /// Healthy without a break since then.
        healthy_since: Option<Mono>,
        /// Not healed by then: the attempt has failed.
        until: Mono,
    },
}

/// The incident of a host whose engine was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLossView {
    /// Its id.
    pub incident: IncidentId,
    /// When the link broke.
    pub since: Mono,
    /// Since when it stands again, while it does: the incident ends once that has lasted.
    pub back: Option<Mono>,
}

/// Why Iaso does not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HoldView {
    /// The reason code.
    pub reason: Hold,
    /// Since when.
    pub since: Mono,
    /// When it looks at it again by itself.
    pub until: Option<Mono>,
    /// What it waits for, where it waits for another service.
    pub behind: Option<ServiceId>,
}

/// Quarantine in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QuarantineView {
    /// Since when.
    pub since: Mono,
    /// Half-open trials that failed.
    pub trials: u32,
    /// When the next trial comes; none: never.
    pub retry_at: Option<Mono>,
}

/// One check, as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CheckView {
    /// Its verdict: none before it has one in this life of the container.
    pub passing: Option<bool>,
    /// Failures without a pass between.
    pub failures: u32,
    /// It has passed once since its definition changed (law 16).
    pub proven: bool,
    /// When its newest result began.
    pub last: Option<Mono>,
}
