//! The closed lists of words that records are made of: each has one spelling in logs, metric labels, answers and documents.

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
        /// A person is told of it first, and may take it over.
        Notice = "notice",
        /// The disk that holds the engine's data is full, and it keeps data itself.
        DiskFull = "disk_full",
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
    /// What is told of an outage.
    AlertKind {
        /// It is not healed, and asks for attention.
        NotHealed = "not_healed",
        /// That is still so.
        Reminder = "reminder",
        /// It is over.
        Resolved = "resolved",
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
