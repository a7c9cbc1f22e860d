//! After news, or when a deadline has come: how does the service stand, and what follows?

use crate::action::{Action, Cause, Trouble};
use crate::decide::Decision;
use crate::input::State;
use crate::needs::Barrier;
use crate::record::{Ending, Event, Health, Hold, Release};
use crate::service::{Cadence, Diagnosis, Doing, Down, ENGINE_FIRST, Service};
use crate::time::Mono;
use crate::turn::Turn;

/// An observation that counts for or against "healed".
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation {
    /// When it began.
    pub(crate) began: Mono,
    /// It speaks for the service by itself.
    pub(crate) good: bool,
}

impl Service {
    /// Takes in that something was learned, and acts on it.
    pub(crate) fn review(&mut self, turn: &mut Turn<'_>, observed: Option<Observation>) {
        let mut diagnosis = self.diagnose(turn);
        if let Some(observation) = observed {
            self.observe(observation, diagnosis.health);
        }
        self.judge_attempt(turn, &diagnosis);
        if self.is_busy() {
            self.let_go(turn);
        } else {
            diagnosis = self.diagnose(turn);
            self.change_health(turn, &diagnosis);
            self.follow(turn, &diagnosis);
        }
        self.plan_ahead(turn);
    }

    /// What its needs, and its host, say to what was decided.
    pub(crate) fn pass_gate(&mut self, turn: &mut Turn<'_>, barrier: Option<Barrier>) {
        let Some(trouble) = self.trouble.filter(|_| !self.is_busy()) else { return };
        match (self.decide(turn, trouble), barrier) {
            (Decision::Act(_), Some(Barrier { reason, behind, until })) => {
                self.hold_behind(turn, reason, until, None, behind);
            }
            (decision, _) => self.carry_out(turn, trouble, decision),
        }
        self.plan_ahead(turn);
    }

    fn plan_ahead(&mut self, turn: &mut Turn<'_>) {
        self.settle(turn);
        self.set_cadence(turn, self.wanted_cadence());
        self.look_when_due(turn);
        if self.incident.is_some() || !self.alerts.is_empty() {
            turn.shared.tellable.insert(self.id);
        }
        self.schedule(turn);
    }

    /// An operation is under way, or what it did is not to be seen yet: how the service looks is not how it is.
    fn is_busy(&self) -> bool {
        matches!(self.phase, Doing::Operating(_) | Doing::Verifying { .. } | Doing::Resolving { .. })
    }

    fn change_health(&mut self, turn: &mut Turn<'_>, diagnosis: &Diagnosis) {
        self.trouble = diagnosis.trouble;
        if self.health != diagnosis.health {
            let (from, to) = (self.health, diagnosis.health);
            self.health = to;
            self.health_since = turn.now.mono;
            if let Some(trouble) = diagnosis.trouble {
                self.open_incident(turn, trouble);
            }
            self.record(turn, Event::Health { from, to, trouble: diagnosis.trouble });
        }
    }

    /// Acts on trouble, or says why not; ends the incident where there is none any more.
    fn follow(&mut self, turn: &mut Turn<'_>, diagnosis: &Diagnosis) {
        if let Some(trouble) = diagnosis.trouble {
            self.open_incident(turn, trouble);
            if !turn.shared.stopping {
                self.act_or_hold(turn, trouble);
            }
            return;
        }
        match diagnosis.calm {
            Some((reason, until)) => self.hold(turn, reason, until, None),
            None => self.let_go(turn),
        }
        let gone = self.sight.is_some_and(|sight| sight.state == State::Gone);
        if gone {
            self.close_incident(turn, Ending::Gone);
        } else if diagnosis.health == Health::Stopped && self.down != Some(Down::Unknown) {
            self.close_incident(turn, Ending::Stopped);
        } else if Self::is_well(diagnosis.health) && self.is_stable() {
            self.release(turn, Release::Healthy);
            self.close_incident(turn, Ending::Recovered);
        }
    }

    fn act_or_hold(&mut self, turn: &mut Turn<'_>, trouble: Trouble) {
        match self.decide(turn, trouble) {
            // What else is going on is told first.
            Decision::Act(_) => turn.shared.gated.push_back(self.id),
            decision => self.carry_out(turn, trouble, decision),
        }
    }

    fn carry_out(&mut self, turn: &mut Turn<'_>, trouble: Trouble, decision: Decision) {
        match decision {
            Decision::Act(step) => {
                self.begin(turn, step, Cause::Recovery, Some(trouble));
            }
            Decision::Hold { reason, until, step } => {
                if let Some(incident) = self.incident.as_mut().filter(|_| reason == Hold::Notice) {
                    incident.noticed.get_or_insert(turn.now.mono);
                }
                self.hold(turn, reason, until, step);
                let host = turn.host_mut(self.spec.host);
                if reason == Hold::Concurrency && !self.queued {
                    self.queued = true;
                    host.queue.push_back(self.id);
                }
            }
        }
    }

    /// Counters start over on sustained health only.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        if self.settles_at().is_some_and(|at| turn.now.mono >= at) {
            self.streak = 0;
            self.last_ended = None;
            self.backoff_until = None;
            self.record(turn, Event::Settled);
        }
    }

    fn settles_at(&self) -> Option<Mono> {
        let counts = self.streak > 0 && Self::is_well(self.health) && matches!(self.phase, Doing::Nothing);
        counts.then(|| {
            self.health_since.max(self.last_ended.unwrap_or(self.health_since)) + self.spec.recovery.backoff.reset_after
        })
    }

    fn wanted_cadence(&self) -> Cadence {
        match self.phase {
            Doing::Verifying { .. } | Doing::Resolving { .. } => Cadence::Verifying,
            Doing::Operating(_) => self.cadence,
            Doing::Nothing if self.is_recovering() => Cadence::Verifying,
            Doing::Nothing if self.health == Health::Unhealthy || self.has_failures() => Cadence::Failing,
            Doing::Nothing => Cadence::Usual,
        }
    }

    /// Healthy, and not yet for long enough to forget what was wrong.
    fn is_recovering(&self) -> bool {
        Self::is_well(self.health) && (self.incident.is_some() || self.quarantine.is_some())
    }

    fn has_failures(&self) -> bool {
        self.checks.iter().any(|check| check.view().failures > 0)
    }

    /// The engine's word is asked for again while something depends on it.
    fn look_when_due(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        if !turn.host(self.spec.host).up {
            self.look_at = None;
            return;
        }
        let fleet = &turn.shared.fleet;
        let every = match self.phase {
            Doing::Verifying { .. } | Doing::Resolving { .. } => fleet.verify_interval,
            Doing::Nothing if self.is_recovering() => fleet.verify_interval,
            Doing::Nothing if self.trouble == Some(Trouble::EngineRestarting) && self.look_at.is_none() => ENGINE_FIRST,
            Doing::Nothing if self.trouble == Some(Trouble::EngineRestarting) => fleet.failing_interval,
            Doing::Nothing | Doing::Operating(_) => {
                self.look_at = None;
                return;
            }
        };
        match self.look_at {
            None => self.look_at = Some(now + every),
            Some(at) if at <= now => {
                turn.out.push(Action::Look { service: self.id });
                self.look_at = Some(now + every);
            }
            Some(at) => self.look_at = Some(at.min(now + every)),
        }
    }

    /// When this service wants to be reviewed by itself. Always ahead: a deadline that has come was dealt with just now.
    pub(crate) fn schedule(&mut self, turn: &Turn<'_>) {
        let now = turn.now.mono;
        let phase = match self.phase {
            Doing::Nothing => None,
            Doing::Operating(attempt) => Some(attempt.backstop),
            Doing::Verifying { until, .. } | Doing::Resolving { until, .. } => Some(until),
        };
        let hold = self.hold.and_then(|hold| hold.until);
        let candidates = [phase, hold, self.look_at, self.settles_at(), self.tell_at];
        let next = candidates.into_iter().flatten().filter(|at| *at > now).min();
        self.wanted = next;
    }
}
