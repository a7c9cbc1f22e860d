//! The one stream of what was decided. It feeds the log line, the metric, the timeline, the store and `explain`.

use core::time::Duration;

mod words;

pub use words::{AlertKind, Ending, Health, Hold, Release, Verdict};

use crate::action::{Cause, Charge, RolloutResult, Trouble};
use crate::alert::AlertKey;
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
    /// Durable. This life was begun by a recovery and was verified: what is to follow such a one may do so.
    LifeHealed {
        /// This life of it.
        instance: Instance,
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
    MaintenanceEnded {
        /// That of everything.
        everything: bool,
    },
    /// Durable. A person takes care of the outage.
    Acknowledged {
        /// How long, from now; none: until it is over.
        lasting: Option<Duration>,
    },
    /// Durable. Its outage is part of the outage of something that it needs.
    Joined {
        /// That one.
        root: IncidentId,
    },
    /// Durable. People are to be told.
    Announced {
        /// Of what.
        key: AlertKey,
        /// When the outage began.
        opened: Now,
        /// It is about its host.
        of_host: bool,
        /// Why nothing more is done.
        reason: Option<Hold>,
        /// How the outage ended, once it has.
        ending: Option<Ending>,
    },
    /// Durable. A reporter has taken that.
    Delivered {
        /// What.
        key: AlertKey,
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
    /// The disk that holds an engine's data is full; this service is one that is not restarted meanwhile, where there is one.
    DiskFilled {
        /// The host.
        host: HostId,
    },
    /// There is room on it again.
    DiskFreed {
        /// The host.
        host: HostId,
        /// How long it was full.
        lasted: Duration,
    },
    /// A storm is over.
    StormEnded {
        /// The host.
        host: HostId,
        /// How many failed in it, those included that others dragged down.
        failed: u32,
        /// How long it lasted.
        lasted: Duration,
    },
    /// A host's engine can no longer be reached: nobody knows how its services are, of which this is the first. The incident is
    /// the host's own.
    HostLost {
        /// The host.
        host: HostId,
        /// How many services it has.
        services: u32,
        /// For how long it has not been reached.
        unreached: Duration,
    },
    /// It is reached again, and that has held for a while.
    HostBack {
        /// The host.
        host: HostId,
        /// From when it was last reached before to when it was reached again.
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
                | Self::HostLost { .. }
                | Self::HostBack { .. }
                | Self::DiskFilled { .. }
                | Self::DiskFreed { .. }
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
            Self::LifeHealed { .. } => "life_healed",
            Self::SeenRunning => "seen_running",
            Self::Proven { .. } => "check_proven",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::MaintenanceBegan { .. } => "maintenance_began",
            Self::MaintenanceEnded { .. } => "maintenance_ended",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Joined { .. } => "joined",
            Self::Announced { .. } => "announced",
            Self::Delivered { .. } => "delivered",
            Self::EngineRestarted { .. } => "engine_restarted",
            Self::ChargedForGap { .. } => "charged_for_gap",
            Self::Reserved { .. } => "operations_reserved",
            Self::GivenBack { .. } => "operation_given_back",
            Self::RolloutHeld { .. } => "rollout_held",
            Self::RolloutSkipped { .. } => "rollout_skipped",
            Self::RolloutEnded { .. } => "rollout_ended",
            Self::StormBegan { .. } => "storm_began",
            Self::StormEnded { .. } => "storm_ended",
            Self::HostLost { .. } => "host_lost",
            Self::HostBack { .. } => "host_back",
            Self::DiskFilled { .. } => "disk_filled",
            Self::DiskFreed { .. } => "disk_freed",
        }
    }
}
