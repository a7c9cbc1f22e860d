//! The one place that says whether Iaso may act now, and if not, why not. The first reason that holds is given.

use crate::action::Trouble;
use crate::id::HostId;
use crate::input::{Exempt, State};
use crate::record::Hold;
use crate::service::Service;
use crate::spec::{Mode, OnQuarantine, Step};
use crate::time::Mono;
use crate::turn::Turn;

/// What may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Act(Step),
    Hold { reason: Hold, until: Option<Mono>, step: Option<Step> },
}

const fn hold(reason: Hold, until: Option<Mono>) -> Decision {
    Decision::Hold { reason, until, step: None }
}

impl Service {
    /// Whether Iaso may act on this trouble now.
    pub(crate) fn decide(&self, turn: &Turn<'_>, trouble: Trouble) -> Decision {
        let held = self.never_a_target(trouble).or_else(|| self.in_a_storm(turn));
        held.or_else(|| self.not_now(turn, trouble)).unwrap_or_else(|| self.affordable(turn))
    }

    /// Reasons that only a person, or another container, can change.
    fn never_a_target(&self, trouble: Trouble) -> Option<Decision> {
        let reason = match self.container.and_then(|container| container.exempt) {
            Some(Exempt::Itself) => Hold::Itself,
            Some(Exempt::Orchestrated) => Hold::Orchestrated,
            Some(Exempt::AutoRemove | Exempt::Disabled) => Hold::Mode,
            None if self.spec.recovery.mode != Mode::Auto => Hold::Mode,
            None if !self.spec.heal_exits && !matches!(trouble, Trouble::EngineUnhealthy | Trouble::Check(_)) => {
                Hold::Mode
            }
            None if self.paused => Hold::Paused,
            None if trouble == Trouble::EngineRestarting => Hold::EngineRestarting,
            None if !self.seen_running => Hold::UnknownStop,
            None => return None,
        };
        Some(hold(reason, None))
    }

    /// So much failed on its host at once that nothing is recovered now, or something else is.
    fn in_a_storm(&self, turn: &Turn<'_>) -> Option<Decision> {
        let until = turn.host(self.spec.host).storm.as_ref()?.holds(turn.now.mono)?;
        Some(hold(Hold::MassFailure, until))
    }

    /// Reasons that pass with time.
    fn not_now(&self, turn: &Turn<'_>, trouble: Trouble) -> Option<Decision> {
        let now = turn.now.mono;
        let ahead = |until: Option<Mono>| until.filter(|until| *until > now);
        let quiet = self.quiet_until(turn, trouble);
        let reasons = [
            (Hold::Maintenance, self.maintained_until(now)),
            (Hold::InFlight, ahead(self.kept_until)),
            (Hold::PlannedChange, ahead(self.change_until)),
            (Hold::QuietStart, ahead(quiet)),
            (Hold::NotPermitted, ahead(self.denied_until)),
            (Hold::Internal, ahead(self.refused_until)),
        ];
        if let Some((reason, until)) = reasons.into_iter().find(|(_, until)| until.is_some()) {
            return Some(hold(reason, until));
        }
        if let Some(quarantine) = self.quarantine
            && quarantine.retry_at.is_none_or(|retry| retry > now)
            && !self.is_to_be_stopped()
        {
            return Some(hold(Hold::Quarantine, quarantine.retry_at));
        }
        if let Some(until) = ahead(self.backoff_until).filter(|_| !self.is_to_be_stopped()) {
            return Some(hold(Hold::Backoff, Some(until)));
        }
        if turn.host(self.spec.host).disk_full.is_some()
            && self.spec.stateful
            && matches!(self.next_step(), Some(Step::Start | Step::Restart))
        {
            return Some(hold(Hold::DiskFull, None));
        }
        self.notice(turn, trouble)
    }

    /// Before the first attempt a person is told, and may take it over; nobody is waited for where nothing runs any more.
    fn notice(&self, turn: &Turn<'_>, trouble: Trouble) -> Option<Decision> {
        let (notice, now) = (self.spec.recovery.notice, turn.now);
        let incident = self.incident.filter(|incident| incident.attempts == 0 && !notice.is_zero())?;
        if matches!(trouble, Trouble::Exited { .. } | Trouble::StoppedInGap) {
            return None;
        }
        if let Some(by) = incident.cared_for(now) {
            return Some(hold(Hold::Notice, by.lasting.map(|lasting| now.place(by.since) + lasting)));
        }
        let until = incident.noticed.unwrap_or(now.mono) + notice;
        (until > now.mono).then_some(hold(Hold::Notice, Some(until)))
    }

    fn quiet_until(&self, turn: &Turn<'_>, trouble: Trouble) -> Option<Mono> {
        let engine = turn.host(self.spec.host).quiet_until;
        let (started, fleet) = (turn.shared.started, &turn.shared.fleet);
        match trouble {
            Trouble::Check(_) => engine.max(Some(started + fleet.quiet_start)),
            Trouble::EngineUnhealthy => engine.max(Some(started + fleet.quiet_start_healthcheck)),
            Trouble::Exited { .. } | Trouble::StoppedInGap | Trouble::EngineRestarting | Trouble::Outlived => None,
        }
    }

    /// It is quarantined, runs, and is to be stopped then; once in this life.
    fn is_to_be_stopped(&self) -> bool {
        self.quarantine.is_some_and(|quarantine| quarantine.trials == 0)
            && self.own_stop.map(|(life, _)| life) != self.instance()
            && self.spec.recovery.on_quarantine == OnQuarantine::Stop
            && self.sight.is_some_and(|sight| matches!(sight.state, State::Running(_)))
    }

    /// Budgets and places, and then the step.
    fn affordable(&self, turn: &Turn<'_>) -> Decision {
        let now = turn.now.mono;
        let host = turn.host(self.spec.host);
        let Some(step) = self.next_step() else { return hold(Hold::Mode, None) };

        let budget = turn.shared.service_budget(self.spec.recovery.restarts, now);
        if self.charges.remaining(now, budget) == 0 {
            return hold(Hold::Budget, self.charges.free_at(now, budget, 1));
        }
        let host_budget = turn.shared.host_budget(turn.shared.fleet.host_budget, now);
        // The store's loss halves the budget after it was set aside from the whole: that must not end all healing.
        let most = if turn.shared.store_up { u32::MAX } else { host_budget.max.saturating_sub(1) };
        let reserved = host.reserved.min(most);
        if host.charges.remaining(now, host_budget) <= reserved {
            return hold(Hold::HostBudget, host.charges.free_at(now, host_budget, reserved + 1));
        }
        if turn.shared.fleet.observe {
            return Decision::Hold { reason: Hold::Observe, until: None, step: Some(step) };
        }
        if host.in_flight >= turn.shared.fleet.max_concurrent {
            return hold(Hold::Concurrency, None);
        }
        Decision::Act(step)
    }

    /// The ladder's step for the next attempt: the one whose turn it is, or the first after it that fits the container's
    /// state, else the last that does. None: no step of the ladder fits.
    pub(crate) fn next_step(&self) -> Option<Step> {
        let running = self.sight.is_some_and(|sight| matches!(sight.state, State::Running(_)));
        if self.is_to_be_stopped() {
            return Some(Step::Stop);
        }
        let fits = |step: &&Step| match step {
            Step::Restart => true,
            Step::Start => !running,
            Step::Signal(_) | Step::Exec(_) | Step::Stop => running,
        };
        let ladder = &self.spec.recovery.ladder;
        let turn = self.incident.map_or(0, |incident| incident.attempts as usize).min(ladder.len().saturating_sub(1));
        ladder[turn..].iter().find(fits).or_else(|| ladder.iter().rev().find(fits)).copied()
    }

    /// Whether a hold ends when an engine call of this host does.
    pub(crate) fn waits_for_a_place(&self, host: HostId) -> bool {
        self.spec.host == host && self.hold.is_some_and(|hold| hold.reason == Hold::Concurrency)
    }
}
