//! One attempt from its begin to its verdict, and what many failed ones lead to.

use core::time::Duration;

use crate::action::{Action, Cause, Charge, Operation, Trouble};
use crate::backoff;
use crate::input::{Outcome, Sight, State};
use crate::intake::stops;
use crate::record::{Ending, Event, Health, Release, Verdict};
use crate::review::Observation;
use crate::service::{Attempt, Cadence, Diagnosis, Doing, Down, Service, Stable};
use crate::spec::Step;
use crate::time::Mono;
use crate::turn::Turn;
use crate::view::QuarantineView;

/// The engine's stop grace where nobody names one.
pub(crate) const ENGINE_GRACE: Duration = Duration::from_secs(10);

/// The edge gives a call its stop grace and 5 s; an answer this much later will not come.
const NO_ANSWER: Duration = Duration::from_secs(120);

/// A step that was denied, or refused by a law, is not tried again before this.
const DENIED: Duration = Duration::from_secs(600);

/// How long whoever changed a credential has to decide whether the service that it broke gets the old one back.
const DECISION: Duration = Duration::from_secs(60);

/// The longest wait for a half-open trial.
const LONGEST_QUARANTINE: Duration = Duration::from_secs(86_400);

/// Passes that "healed" takes at least.
const PASSES: u32 = 2;

impl Service {
    fn grace(&self) -> Option<Duration> {
        let own = self.container.and_then(|container| container.stop_grace);
        let least = Some(self.spec.recovery.least_grace).filter(|least| !least.is_zero());
        self.spec.recovery.stop_timeout.or(own.max(least))
    }

    /// Charges and begins an operation. The container is known.
    pub(crate) fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        step: Step,
        cause: Cause,
        trouble: Option<Trouble>,
    ) -> Option<Attempt> {
        let instance = self.instance()?;
        let now = turn.now.mono;
        self.let_go(turn);
        let charge = match cause {
            Cause::Operator => Charge::Free,
            Cause::Recovery | Cause::Credential { .. } if turn.shared.store_up => Charge::Stored,
            Cause::Recovery | Cause::Credential { .. } => Charge::Memory,
        };
        match cause {
            Cause::Operator => {}
            Cause::Recovery => {
                self.charges.prune(now);
                self.charges.add(now);
                let host = turn.host_mut(self.spec.host);
                host.charges.prune(now);
                host.charges.add(now);
                host.note_recovery(self.id, now);
            }
            Cause::Credential { credential, .. } => turn.shared.spend(credential, self.spec.host, now),
        }
        let mut ordinal = 0;
        if cause == Cause::Recovery
            && let Some(incident) = &mut self.incident
        {
            incident.attempts += 1;
            ordinal = incident.attempts;
        }
        let grace = self.grace();
        let attempt = Attempt {
            id: turn.shared.ids.attempt(),
            step,
            cause,
            instance,
            was_well: false,
            undoable: false,
            begun: now,
            backstop: now + grace.unwrap_or(ENGINE_GRACE) + NO_ANSWER,
        };
        turn.host_mut(self.spec.host).in_flight += 1;
        self.phase = Doing::Operating(attempt);
        self.stable = None;
        // A credential's change is no recovery: the wait for the next one goes on.
        self.backoff_until.take_if(|_| !matches!(cause, Cause::Credential { .. }));
        self.record(turn, Event::Begun { attempt: attempt.id, step, cause, trouble, instance, charge, ordinal });
        turn.out.push(Action::Operate(Operation {
            service: self.id,
            host: self.spec.host,
            attempt: attempt.id,
            incident: self.incident.map(|incident| incident.id),
            instance,
            step,
            cause,
            trouble,
            stop_grace: grace,
            charge,
        }));
        Some(attempt)
    }

    /// The edge's answer. A late one, of an attempt that is over, changes nothing (law 2).
    pub(crate) fn finished(&mut self, turn: &mut Turn<'_>, id: crate::id::AttemptId, outcome: Outcome) -> bool {
        let Doing::Operating(attempt) = self.phase else { return false };
        if attempt.id != id {
            return false;
        }
        self.give_back_place(turn);
        self.record(turn, Event::Finished { attempt: id, outcome });
        let may_be_done =
            matches!(outcome, Outcome::Done | Outcome::TimedOut | Outcome::Unreachable | Outcome::Crashed);
        if may_be_done && stops(attempt.step) {
            self.own_stop = Some((attempt.instance, turn.now.mono));
        }
        // What a rollout or a person may not do says nothing of the steps that heal.
        let denied_until = (attempt.cause == Cause::Recovery).then_some(turn.now.mono + DENIED);
        match outcome {
            _ if may_be_done && attempt.step != Step::Stop => self.verify(turn, attempt),
            Outcome::Done => self.end(turn, attempt, Verdict::Done),
            Outcome::TimedOut | Outcome::Unreachable | Outcome::Crashed | Outcome::Failed | Outcome::CommandFailed => {
                self.end(turn, attempt, Verdict::OperationFailed);
            }
            Outcome::Moot | Outcome::NotFound => {
                // Nothing was done: a rollout tries again with what it has set aside for it.
                match attempt.cause {
                    Cause::Credential { .. } => self.refund(turn, attempt),
                    Cause::Recovery | Cause::Operator => self.end(turn, attempt, Verdict::Moot),
                }
                self.wait_for_look(turn);
            }
            Outcome::NotPermitted => {
                self.denied_until = denied_until.or(self.denied_until);
                self.end(turn, attempt, Verdict::Denied);
            }
            Outcome::Uncharged => {
                turn.shared.store_up = false;
                self.refund(turn, attempt);
            }
            Outcome::LeftAlone => {
                self.refund(turn, attempt);
                self.wait_for_look(turn);
            }
            Outcome::Refused => {
                self.refused_until = denied_until.or(self.refused_until);
                self.refund(turn, attempt);
            }
        }
        // Whatever the engine said: look at what is there.
        turn.out.push(Action::Look { service: self.id });
        true
    }

    pub(crate) fn give_back_place(&self, turn: &mut Turn<'_>) {
        let host = turn.host_mut(self.spec.host);
        host.in_flight = host.in_flight.saturating_sub(1);
    }

    /// The engine has done nothing.
    fn refund(&mut self, turn: &mut Turn<'_>, attempt: Attempt) {
        match attempt.cause {
            Cause::Operator => {}
            Cause::Recovery => {
                self.charges.refund(attempt.begun);
                turn.host_mut(self.spec.host).charges.refund(attempt.begun);
                if let Some(incident) = &mut self.incident {
                    incident.attempts = incident.attempts.saturating_sub(1);
                }
            }
            Cause::Credential { credential, .. } => {
                turn.shared.unspend(credential, self.spec.host, attempt.begun);
            }
        }
        self.end(turn, attempt, Verdict::Dropped);
    }

    fn verify(&mut self, turn: &mut Turn<'_>, attempt: Attempt) {
        let healthcheck = self.container.and_then(|container| container.healthcheck);
        let limit =
            self.spec.recovery.verify_timeout_for(self.spec.start_period.max(self.spec.settles_within), healthcheck);
        let since = turn.now.mono;
        self.stable = None;
        self.phase = Doing::Verifying { attempt, since, until: since + limit };
    }

    /// The last run of Iaso left this attempt open: wait until the engine can be done with it, then look.
    pub(crate) fn resolve(&mut self, now: Mono, attempt: Attempt) {
        let until = (attempt.begun + self.grace().unwrap_or(ENGINE_GRACE) + Duration::from_secs(5)).max(now);
        self.phase = Doing::Resolving { attempt, until };
    }

    /// The attempt is over.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>, attempt: Attempt, verdict: Verdict) {
        let now = turn.now.mono;
        self.phase = Doing::Nothing;
        let took = now.since(attempt.begun);
        self.record(turn, Event::Ended { attempt: attempt.id, step: attempt.step, verdict, took });
        // Stopped by Iaso's own hand and not started again: no person's stop, whoever asks later.
        if let Some(Sight { instance, state: State::Exited { code, .. }, .. }) = self.sight
            && self.down == Some(Down::Own)
        {
            self.ended_by_itself(turn, instance, code);
        }
        match attempt.cause {
            Cause::Operator => {}
            Cause::Recovery => {
                self.streak = self.streak.saturating_add(u32::from(verdict.counts()));
                self.last_ended = Some(now);
                self.schedule_next(turn);
                if verdict.failed() {
                    self.failed_again(turn);
                }
                turn.host_mut(self.spec.host).note_verdict(self.id, verdict, now);
                turn.shared.stirred.insert(self.spec.host);
            }
            Cause::Credential { rollout, undo, .. } => {
                turn.shared.ended.push((rollout, attempt.id, verdict));
                if verdict.failed() && attempt.was_well && attempt.undoable {
                    self.keep(now);
                }
                // In quarantine the new credential was the half-open trial.
                if verdict.failed() && self.quarantine.is_some() && !undo {
                    self.failed_again(turn);
                }
            }
        }
    }

    /// Leaves it alone while it is decided whether the credential that broke it is put back.
    pub(crate) fn keep(&mut self, now: Mono) {
        self.kept_until = Some(now + DECISION);
    }

    /// When the next attempt may begin.
    pub(crate) fn schedule_next(&mut self, turn: &mut Turn<'_>) {
        let wait = backoff::delay(&self.spec.recovery.backoff, self.streak, &mut turn.shared.jitter);
        self.backoff_until = self.last_ended.map(|ended| ended + wait).filter(|_| self.streak > 0);
    }

    /// What was decided did not fit what the engine found: nothing is decided anew before the look has been answered.
    fn wait_for_look(&mut self, turn: &Turn<'_>) {
        let answered = turn.now.mono + turn.shared.fleet.failing_interval;
        self.backoff_until = Some(self.backoff_until.map_or(answered, |until| until.max(answered)));
    }

    fn failed_again(&mut self, turn: &mut Turn<'_>) {
        let Some(incident) = &mut self.incident else { return };
        incident.failed += 1;
        let trials = match self.quarantine {
            None if incident.failed < self.spec.recovery.max_attempts => return,
            None => 0,
            Some(quarantine) => quarantine.trials + 1,
        };
        let retry_after = self.spec.recovery.quarantine_retry.map(|first| {
            let doubled = 1_u32.checked_shl(trials).and_then(|times| first.checked_mul(times));
            doubled.unwrap_or(LONGEST_QUARANTINE).min(LONGEST_QUARANTINE.max(first))
        });
        let now = turn.now.mono;
        self.quarantine = Some(QuarantineView { since: now, trials, retry_at: retry_after.map(|after| now + after) });
        self.record(turn, Event::Quarantined { trials, retry_after });
    }

    pub(crate) fn release(&mut self, turn: &mut Turn<'_>, by: Release) {
        if self.quarantine.take().is_some() {
            if let Some(incident) = &mut self.incident {
                incident.failed = 0;
            }
            self.record(turn, Event::Released { by });
        }
    }

    /// A person started the container: whatever Iaso had given up on begins anew.
    pub(crate) fn started_by_a_person(&mut self, turn: &mut Turn<'_>) {
        self.release(turn, Release::Started);
        self.backoff_until = None;
    }

    /// Looks at the attempt in the light of what was just learned.
    pub(crate) fn judge_attempt(&mut self, turn: &mut Turn<'_>, diagnosis: &Diagnosis) {
        let now = turn.now.mono;
        match self.phase {
            Doing::Nothing => {}
            Doing::Operating(attempt) => {
                if now >= attempt.backstop {
                    self.finished(turn, attempt.id, Outcome::TimedOut);
                }
            }
            Doing::Resolving { attempt, until } => self.judge_open_attempt(turn, attempt, until),
            Doing::Verifying { attempt, until, .. } => self.judge_verification(turn, attempt, until, diagnosis),
        }
    }

    fn judge_open_attempt(&mut self, turn: &mut Turn<'_>, attempt: Attempt, until: Mono) {
        let Some(sight) = self.sight.filter(|_| turn.host(self.spec.host).up) else { return };
        let gone = sight.state == State::Gone || sight.instance.container != attempt.instance.container;
        if gone {
            self.end(turn, attempt, Verdict::Superseded);
        } else if attempt.step == Step::Stop && !matches!(sight.state, State::Running(_)) {
            self.end(turn, attempt, Verdict::Done);
        } else if sight.instance.started > attempt.instance.started
            || matches!(attempt.step, Step::Signal(_) | Step::Exec(_))
        {
            self.verify(turn, attempt);
        } else if turn.now.mono >= until && self.seen_at >= until {
            // It was not carried out: nothing is repeated blindly, but decided anew.
            self.end(turn, attempt, Verdict::Moot);
        }
    }

    fn judge_verification(&mut self, turn: &mut Turn<'_>, attempt: Attempt, until: Mono, diagnosis: &Diagnosis) {
        let host_up = turn.host(self.spec.host).up;
        let broken_again = diagnosis.trouble.is_some() && self.is_judged_on_this(attempt, diagnosis);
        let out_of_care = matches!(diagnosis.health, Health::Stopped | Health::Paused)
            || self.sight.is_some_and(|sight| sight.state == State::Gone);
        if host_up && out_of_care && self.is_past(attempt) {
            self.end(turn, attempt, Verdict::Superseded);
        } else if broken_again {
            self.end(turn, attempt, Verdict::NotHealed);
        } else if self.is_stable() && self.is_past(attempt) {
            if attempt.cause == Cause::Recovery
                && attempt.begins_a_life()
                && let Some(instance) = self.instance()
            {
                self.healed_life = Some(instance);
                self.record(turn, Event::LifeHealed { instance });
            }
            self.end(turn, attempt, Verdict::Healed);
            self.close_incident(turn, Ending::Healed);
        } else if turn.now.mono >= until && !host_up && matches!(attempt.cause, Cause::Credential { .. }) {
            // Nobody could look: a rollout does not go on, nor back, before somebody has.
            self.verify(turn, attempt);
        } else if turn.now.mono >= until {
            let verdict = if host_up { Verdict::NotHealed } else { Verdict::Moot };
            self.end(turn, attempt, verdict);
        }
    }

    /// What is seen is the attempt's doing: the life that it began, or, where it begins none, any.
    fn is_past(&self, attempt: Attempt) -> bool {
        let seen_after = |sight: Sight| sight.state == State::Gone || sight.instance != attempt.instance;
        !attempt.begins_a_life() || self.sight.is_some_and(seen_after)
    }

    /// Trouble that proves the attempt failed. A step within the same life leaves the old verdict standing until its time
    /// is up, unless that was a good one; a new life that is broken already has failed.
    fn is_judged_on_this(&self, attempt: Attempt, diagnosis: &Diagnosis) -> bool {
        let exited = matches!(diagnosis.trouble, Some(Trouble::Exited { .. } | Trouble::EngineRestarting));
        if attempt.begins_a_life() { self.is_past(attempt) } else { exited || attempt.was_well }
    }

    /// Counts a healthy observation, or starts over.
    pub(crate) fn observe(&mut self, observation: Observation, health: Health) {
        let counts = match self.phase {
            Doing::Verifying { attempt, since, .. } => observation.began >= since && self.is_past(attempt),
            Doing::Nothing => true,
            Doing::Operating(_) | Doing::Resolving { .. } => false,
        };
        if !counts {
            return;
        }
        let began = observation.began;
        self.stable = match self.stable {
            _ if !observation.good || !Self::is_well(health) => None,
            None => Some(Stable { passes: 1, first: began, last: began }),
            Some(stable) => {
                Some(Stable { passes: stable.passes.saturating_add(1), last: stable.last.max(began), ..stable })
            }
        };
    }

    /// Healthy for long enough, by observations and not by silence.
    pub(crate) fn is_stable(&self) -> bool {
        self.stable.is_some_and(|stable| {
            stable.passes >= PASSES && stable.last.since(stable.first) >= self.spec.recovery.verify_stable
        })
    }

    /// Checks run as often as the moment asks.
    pub(crate) fn set_cadence(&mut self, turn: &mut Turn<'_>, cadence: Cadence) {
        if self.cadence == cadence {
            return;
        }
        self.cadence = cadence;
        self.tell_cadence(turn);
    }

    /// Says how often each check is to run, whatever was said before.
    pub(crate) fn tell_cadence(&self, turn: &mut Turn<'_>) {
        for (number, check) in self.checks.iter().enumerate() {
            let usual = check.spec.interval;
            let every = match self.cadence {
                Cadence::Usual => usual,
                Cadence::Failing => usual.min(turn.shared.fleet.failing_interval),
                Cadence::Verifying => usual.min(turn.shared.fleet.verify_interval),
            };
            turn.out.push(Action::Cadence { service: self.id, check: crate::service::check_id(number), every });
        }
    }
}
