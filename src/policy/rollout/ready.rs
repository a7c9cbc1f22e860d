//! Whether one service may learn of a changed credential now.

use core::time::Duration;

use crate::action::{Cause, Trouble};
use crate::id::{AttemptId, HostId};
use crate::input::{Exempt, State};
use crate::record::{Health, Hold};
use crate::recover::ENGINE_GRACE;
use crate::service::{Doing, Service};
use crate::spec::{Mode, Step};
use crate::time::Mono;
use crate::turn::Turn;

/// After a stop's grace the engine kills; this much later the end of the container has been told.
const STOPPED_BY_THEN: Duration = Duration::from_secs(5);

/// What may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    Act,
    /// It runs and is to be left alone, for this reason: it goes on with what it has.
    Left(Option<Hold>),
    /// It does not run, or is not there: it loads what there is when it starts.
    Down(Option<Hold>),
    Wait(Hold, Option<Mono>),
}

/// How a service stands after a person has taken it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aftermath {
    Well,
    Broken,
    /// It does not run, or is not watched any more.
    Gone,
    Unclear(Hold),
}

impl Service {
    /// Whether the step may be taken now. An undo waits only for what makes it impossible, and for another operation.
    pub(super) fn readiness(&self, turn: &Turn<'_>, step: Step, undo: bool) -> Readiness {
        let exempt = match self.container.and_then(|container| container.exempt) {
            Some(Exempt::Itself) => Some(Hold::Itself),
            Some(Exempt::Orchestrated) => Some(Hold::Orchestrated),
            Some(Exempt::AutoRemove | Exempt::Disabled) => Some(Hold::Mode),
            None if self.leaving || self.spec.recovery.mode != Mode::Auto => Some(Hold::Mode),
            None if self.paused => Some(Hold::Paused),
            None => None,
        };
        let state = self.sight.map(|sight| sight.state);
        if exempt.is_some() {
            let runs = matches!(state, Some(State::Running(_) | State::Paused));
            return if runs { Readiness::Left(exempt) } else { Readiness::Down(exempt) };
        }
        if !turn.host(self.spec.host).up {
            return Readiness::Wait(Hold::HostDown, None);
        }
        if !matches!(self.phase, Doing::Nothing) {
            return Readiness::Wait(Hold::InFlight, None);
        }
        match state {
            Some(State::Running(_)) => self.running(turn, step, undo),
            Some(State::Paused) => Readiness::Left(Some(Hold::ContainerPaused)),
            Some(State::Restarting) => Readiness::Down(Some(Hold::EngineRestarting)),
            Some(State::Exited { .. }) => self.exited(turn, step, undo),
            Some(State::Gone | State::Created | State::Removing) | None => Readiness::Down(None),
        }
    }

    /// It is down: left out, but for one that broke so often that nobody starts it; what is new may be its cure.
    fn exited(&self, turn: &Turn<'_>, step: Step, undo: bool) -> Readiness {
        let diagnosis = self.diagnose(turn);
        match diagnosis.trouble {
            None => Readiness::Down(diagnosis.calm.map(|(reason, _)| reason)),
            Some(Trouble::EngineRestarting) => Readiness::Down(Some(Hold::EngineRestarting)),
            Some(_)
                if self.quarantine.is_some() && step == Step::Restart && self.seen_running && self.spec.heal_exits =>
            {
                self.running(turn, step, undo)
            }
            Some(_) => Readiness::Down(self.hold.map(|hold| hold.reason)),
        }
    }

    /// It may be changed, unless a reason holds that passes with time.
    fn running(&self, turn: &Turn<'_>, step: Step, undo: bool) -> Readiness {
        let now = turn.now.mono;
        let (host, fleet) = (turn.host(self.spec.host), &turn.shared.fleet);
        let ahead = |until: Option<Mono>| until.filter(|until| *until > now);
        if let Some(until) = ahead(self.change_until) {
            return Readiness::Wait(Hold::PlannedChange, Some(until));
        }
        if let Some(until) = ahead(self.person_stops_until()) {
            return Readiness::Wait(Hold::OperatorStopped, Some(until));
        }
        if undo {
            return Readiness::Act;
        }
        if let Some(until) = self.maintained_until(now) {
            return Readiness::Wait(Hold::Maintenance, Some(until));
        }
        if self.spec.stateful && step == Step::Restart && host.disk_full.is_some() {
            return Readiness::Wait(Hold::DiskFull, None);
        }
        if let Some(until) = ahead(host.quiet_until.max(Some(turn.shared.started + fleet.quiet_start))) {
            return Readiness::Wait(Hold::QuietStart, Some(until));
        }
        if let Some(until) = host.storm.as_ref().and_then(|storm| storm.holds(now)) {
            return Readiness::Wait(Hold::MassFailure, until);
        }
        // Nobody knows yet whether it was well before.
        let settles = self.spec.start_period.max(self.spec.settles_within);
        let healthcheck = self.container.and_then(|container| container.healthcheck);
        let decided_by =
            self.sight.map(|sight| sight.since + self.spec.recovery.verify_timeout_for(settles, healthcheck));
        if let Some(until) = ahead(decided_by)
            && matches!(self.health, Health::Starting | Health::Unknown)
        {
            return Readiness::Wait(Hold::StartPeriod, Some(until));
        }
        if fleet.observe {
            Readiness::Wait(Hold::Observe, None)
        } else if !turn.shared.store_up {
            Readiness::Wait(Hold::Store, None)
        } else if host.in_flight >= fleet.max_concurrent {
            Readiness::Wait(Hold::Concurrency, None)
        } else {
            Readiness::Act
        }
    }

    /// Until when its container's stop, asked for by a person in this life, may still be on its way.
    fn person_stops_until(&self) -> Option<Mono> {
        let grace = self.container.and_then(|container| container.stop_grace).unwrap_or(ENGINE_GRACE);
        let asked = self.stop_signal.filter(|(life, _)| Some(*life) == self.instance());
        asked.map(|(_, at)| at + grace + STOPPED_BY_THEN)
    }

    /// Begins an operation for a credential's sake. Its id, and whether the service was healthy before.
    pub(super) fn begin_for_credential(
        &mut self,
        turn: &mut Turn<'_>,
        step: Step,
        cause: Cause,
        undoable: bool,
    ) -> Option<(AttemptId, bool)> {
        self.kept_until = None;
        let was_well = Self::is_well(self.health) && self.incident.is_none() && self.quarantine.is_none();
        let attempt = self.begin(turn, step, cause, self.trouble)?;
        self.phase = Doing::Operating(crate::service::Attempt { was_well, undoable, ..attempt });
        Some((attempt.id, was_well))
    }

    pub(super) fn aftermath(&self, turn: &Turn<'_>) -> Aftermath {
        let runs = self.sight.is_some_and(|sight| matches!(sight.state, State::Running(_)));
        if self.leaving {
            Aftermath::Gone
        } else if !turn.host(self.spec.host).up {
            Aftermath::Unclear(Hold::HostDown)
        } else if !matches!(self.phase, Doing::Nothing) {
            Aftermath::Unclear(Hold::InFlight)
        } else if !runs {
            Aftermath::Gone
        } else if Self::is_well(self.health) {
            Aftermath::Well
        } else {
            Aftermath::Broken
        }
    }

    /// Whether it waits for what has just become free on one of these hosts.
    pub(super) fn waits_for_budget(&self, freed: &[HostId]) -> bool {
        self.hold.is_some_and(|hold| hold.reason == Hold::HostBudget) && freed.contains(&self.spec.host)
    }
}
