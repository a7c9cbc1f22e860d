//! The one stream of what was decided. It feeds the log line, the metric, the timeline, the store and `explain`.

use core::time::Duration;

use crate::action::{Cause, Charge, RolloutResult, Trouble};
use crate::id::{AttemptId, CheckId, CredentialKey, HostId, IncidentId, Instance, RolloutId, ServiceId};
use crate::input::Outcome;
use crate::spec::Step;
use crate::time::{Mono, Now};

/// One decision or transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// When.
    pub now: Now,
    /// About whom.
    pub service: ServiceId,
    /// Within which outage.
    pub incident: Option<IncidentId>,
    /// What.
    pub event: Event,
}

/// What was decided or has changed. Those with [`Event::is_durable`] change what is restored after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// The service's health changed.
    Health {
        /// Before.
        from: Health,
        /// Now.
        to: Health,
        /// What is wrong, where something is.
        trouble: Option<Trouble>,
    },
    /// Durable. An outage began.
    IncidentOpened {
        /// What is wrong.
        trouble: Trouble,
    },
    /// Durable. The outage is over: the service was verified healthy, or a person or its own end took it out of care.
    IncidentClosed {
        /// Why.
        ending: Ending,
        /// How long it lasted.
        lasted: Duration,
    },
    /// Durable. An operation was decided and charged; it is now in flight.
    Begun {
        /// Its id.
        attempt: AttemptId,
        /// What.
        step: Step,
        /// Why it may be done.
        cause: Cause,
        /// What is wrong.
        trouble: Option<Trouble>,
        /// On which life.
        instance: Instance,
        /// How it is paid for.
        charge: Charge,
        /// Its number within the incident, from 1.
        ordinal: u32,
    },
    /// Durable. The engine call ended; verification begins where it was done.
    Finished {
        /// Its id.
        attempt: AttemptId,
        /// How.
        outcome: Outcome,
    },
    /// Durable. An attempt is over.
    Ended {
        /// Its id.
        attempt: AttemptId,
        /// Its step.
        step: Step,
        /// What came of it.
        verdict: Verdict,
        /// From its begin to its verdict.
        took: Duration,
    },
    /// Iaso does not act, for this reason.
    Held {
        /// Why not.
        reason: Hold,
        /// When it will look at it again by itself; none when only an event can change it.
        until: Option<Mono>,
        /// What it would do, where it got as far as deciding.
        step: Option<Step>,
        /// What it waits for, where it waits for another service.
        behind: Option<ServiceId>,
    },
    /// Iaso is free to act again, or has nothing to do.
    Unheld {
        /// What held it.
        reason: Hold,
    },
    /// Durable. Recovery has failed too often.
    Quarantined {
        /// Half-open trials that failed before, in this quarantine.
        trials: u32,
        /// When the next trial comes, from now; none: never.
        retry_after: Option<Duration>,
    },
    /// Durable. Quarantine ended.
    Released {
        /// Why.
        by: Release,
    },
    /// Durable. Health was sustained long enough: the backoff counts anew.
    Settled,
    /// Durable. A person stopped this container.
    OperatorStopped {
        /// This life of it.
        instance: Instance,
    },
    /// Durable. That stop no longer counts: the container runs again, or the engine itself went down just after it.
    OperatorStopEnded,
    /// Durable. It was seen, or is known from what Iaso itself did, that this life did not end by a person's hand.
    Exited {
        /// This life of it.
        instance: Instance,
        /// Its exit code.
        code: i32,
    },
    /// Durable. Its container was seen running, for the first time.
    SeenRunning,
    /// Durable. A check passed, for the first time since its definition changed.
    Proven {
        /// The check.
        check: CheckId,
        /// Its definition.
        fingerprint: u64,
    },
    /// Durable. A person paused automatic operations.
    Paused,
    /// Durable. A person resumed them.
    Resumed,
    /// Durable. A person put it under maintenance.
    MaintenanceBegan {
        /// How long, from now.
        lasting: Duration,
        /// It is for everything.
        everything: bool,
    },
    /// Durable. A person ended its maintenance.
    MaintenanceEnded,
    /// Durable. A person takes care of the outage.
    Acknowledged {
        /// How long, from now; none: until it is over.
        lasting: Option<Duration>,
    },
    /// The engine restarted the container by its own policy.
    EngineRestarted {
        /// How often within the last ten minutes.
        recently: u32,
        /// That is three or more: a loop.
        looping: bool,
    },
    /// Durable. A container was found that started after the last record before an unclean stop: one charge, for it may
    /// have been Iaso's doing.
    ChargedForGap {
        /// The life that was found.
        instance: Instance,
    },
    /// Operations on this service for a credential's sake were set aside, before the first of them: no other operation
    /// may spend them. What lasts is the charge of each, when it begins.
    Reserved {
        /// The credential's change.
        rollout: RolloutId,
        /// What they are charged to.
        credential: CredentialKey,
        /// How many: the step, where one is needed, and its undoing where that may come.
        operations: u32,
    },
    /// One operation that was set aside was not needed.
    GivenBack {
        /// The credential's change.
        rollout: RolloutId,
        /// What it would have been charged to.
        credential: CredentialKey,
        /// It was the undoing's.
        undo: bool,
    },
    /// A credential's change waits before this service, for this reason.
    RolloutHeld {
        /// The credential's change.
        rollout: RolloutId,
        /// The credential.
        credential: CredentialKey,
        /// Why it waits.
        reason: Hold,
        /// When it is looked at again by itself; none when only an event can change it.
        until: Option<Mono>,
        /// What it would do.
        step: Step,
    },
    /// A credential's change leaves this service out.
    RolloutSkipped {
        /// The credential's change.
        rollout: RolloutId,
        /// The credential.
        credential: CredentialKey,
        /// Why; none: it has loaded what is new, or loads it when it starts.
        reason: Option<Hold>,
    },
    /// A credential's change, or its undoing, is over; this service was the last that it was about.
    RolloutEnded {
        /// The credential's change.
        rollout: RolloutId,
        /// The credential.
        credential: CredentialKey,
        /// It is the undoing that is over.
        undo: bool,
        /// How.
        result: RolloutResult,
    },
    /// So much failed on a host at once that it is more likely the host; this service was the first of it.
    StormBegan {
        /// The host.
        host: HostId,
        /// How many failed, each by itself.
        failed: u32,
        /// Of how many that run, or ran until then.
        of: u32,
    },
    /// That is over.
    StormEnded {
        /// The host.
        host: HostId,
        /// How many failed in it, those included that others dragged down.
        failed: u32,
        /// How long it lasted.
        lasted: Duration,
    },
}

impl Event {
    /// Whether it changes what is restored after a restart.
    pub const fn is_durable(&self) -> bool {
        !matches!(
            self,
            Self::Health { .. }
                | Self::Held { .. }
                | Self::Unheld { .. }
                | Self::EngineRestarted { .. }
                | Self::Reserved { .. }
                | Self::GivenBack { .. }
                | Self::RolloutHeld { .. }
                | Self::RolloutSkipped { .. }
                | Self::RolloutEnded { .. }
                | Self::StormBegan { .. }
                | Self::StormEnded { .. }
        )
    }

    /// The word for logs and answers.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Health { .. } => "health",
            Self::IncidentOpened { .. } => "incident_opened",
            Self::IncidentClosed { .. } => "incident_closed",
            Self::Begun { .. } => "operation_begun",
            Self::Finished { .. } => "operation_finished",
            Self::Ended { .. } => "operation_ended",
            Self::Held { .. } => "held",
            Self::Unheld { .. } => "unheld",
            Self::Quarantined { .. } => "quarantined",
            Self::Released { .. } => "released",
            Self::Settled => "settled",
            Self::OperatorStopped { .. } => "operator_stopped",
            Self::OperatorStopEnded => "operator_stop_ended",
            Self::Exited { .. } => "exited",
            Self::SeenRunning => "seen_running",
            Self::Proven { .. } => "check_proven",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::MaintenanceBegan { .. } => "maintenance_began",
            Self::MaintenanceEnded => "maintenance_ended",
            Self::Acknowledged { .. } => "acknowledged",
            Self::EngineRestarted { .. } => "engine_restarted",
            Self::ChargedForGap { .. } => "charged_for_gap",
            Self::Reserved { .. } => "operations_reserved",
            Self::GivenBack { .. } => "operation_given_back",
            Self::RolloutHeld { .. } => "rollout_held",
            Self::RolloutSkipped { .. } => "rollout_skipped",
            Self::RolloutEnded { .. } => "rollout_ended",
            Self::StormBegan { .. } => "storm_began",
            Self::StormEnded { .. } => "storm_ended",
        }
    }
}

/// Defines a closed list of words: the enum, its spelling, and the list of all.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
        pub enum $name { $($(#[$item])* $variant,)+ }

        impl $name {
            /// Every one, in the order of its definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for logs, metric labels and answers.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// How a service is.
    Health {
        /// Nothing is known, or its host cannot be reached.
        Unknown = "unknown",
        /// It runs, and nothing has spoken for it yet.
        Starting = "starting",
        /// It runs, and everything speaks for it.
        Healthy = "healthy",
        /// Only an alert-check fails, or a verdict is uncertain.
        Degraded = "degraded",
        /// It is broken.
        Unhealthy = "unhealthy",
        /// It does not run, and that is nobody's fault.
        Stopped = "stopped",
        /// The engine froze it.
        Paused = "paused",
    }
}

words! {
    /// Why Iaso does not act.
    Hold {
        /// Something it depends on is down.
        Dependency = "dependency",
        /// The wait before the next attempt.
        Backoff = "backoff",
        /// The service's restart budget is spent.
        Budget = "budget",
        /// The host's budget is spent.
        HostBudget = "host_budget",
        /// Too many engine calls are in flight.
        Concurrency = "concurrency",
        /// Recovery has failed too often.
        Quarantine = "quarantine",
        /// A maintenance window.
        Maintenance = "maintenance",
        /// A person paused Iaso for this service.
        Paused = "paused",
        /// A person froze the container.
        ContainerPaused = "container_paused",
        /// A person stopped the container.
        OperatorStopped = "operator_stopped",
        /// It stopped, and nobody saw why.
        UnknownStop = "unknown_stop",
        /// It has done its work.
        Completed = "completed",
        /// A deployment is under way.
        PlannedChange = "planned_change",
        /// It is still within its start period.
        StartPeriod = "start_period",
        /// Iaso, the engine or the host has just started.
        QuietStart = "quiet_start",
        /// Too much failed at once.
        MassFailure = "mass_failure",
        /// Its host cannot be reached.
        HostDown = "host_down",
        /// An operation is in flight, or being verified.
        InFlight = "in_flight",
        /// The engine's own restart policy goes first.
        EngineRestarting = "engine_restarting",
        /// The failing check has never succeeded: it is more likely the check that is wrong.
        NeverSucceeded = "never_succeeded",
        /// The service's mode is not `auto`.
        Mode = "mode",
        /// Iaso only observes.
        Observe = "observe",
        /// It is Iaso itself.
        Itself = "self",
        /// Another orchestrator owns it.
        Orchestrated = "orchestrated",
        /// The engine or a proxy denies the step.
        NotPermitted = "not_permitted",
        /// The store is down.
        Store = "store",
        /// A law forbade what was decided: a fault of Iaso's own.
        Internal = "internal",
    }
}

words! {
    /// What came of an attempt.
    Verdict {
        /// Healthy, and stayed so.
        Healed = "healed",
        /// Not healthy in time, or broken again while verified.
        NotHealed = "not_healed",
        /// The operation itself failed.
        OperationFailed = "failed",
        /// It was not needed any more when its turn came.
        Moot = "moot",
        /// The engine or a proxy denied it.
        Denied = "not_permitted",
        /// A person's order, or a person's own hand, took its place.
        Superseded = "superseded",
        /// A person ordered it and it was done.
        Done = "done",
        /// It was never carried out.
        Dropped = "dropped",
    }
}

impl Verdict {
    /// Whether an attempt that ended so counts against the incident's attempts.
    pub const fn failed(self) -> bool {
        matches!(self, Self::NotHealed | Self::OperationFailed)
    }

    /// Whether an attempt that ended so lengthens the wait before the next.
    pub const fn counts(self) -> bool {
        self.failed() || matches!(self, Self::Healed)
    }
}

words! {
    /// Why an incident closed.
    Ending {
        /// Verified healthy after an attempt of Iaso's.
        Healed = "healed",
        /// Healthy again without Iaso.
        Recovered = "recovered",
        /// A person stopped it, or it completed.
        Stopped = "stopped",
        /// Its container is gone, or it is no longer declared.
        Gone = "gone",
    }
}

words! {
    /// Why a quarantine ended.
    Release {
        /// The service is healthy.
        Healthy = "healthy",
        /// A person resumed or restarted it.
        Operator = "operator",
        /// A person started its container.
        Started = "started",
        /// It is gone, or no longer declared.
        Gone = "gone",
    }
}
