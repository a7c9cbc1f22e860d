//! Facts come in: what was seen, and what it means that it was seen.

use crate::alert;
use crate::id::{CheckId, Instance};
use crate::input::{CheckResult, Container, RestartPolicy, Sight, State, Witness};
use crate::record::Event;
use crate::review::Observation;
use crate::service::{Doing, Down, ENGINE_FIRST, LOOP, LOOP_WINDOW, Service};
use crate::spec::{AfterGap, Lifecycle, OnFailure, Step};
use crate::time::Mono;
use crate::turn::Turn;

/// An engine's own shutdown sends the same stop signals as a person: a stop this shortly before the engine went down counts
/// as the engine's.
const SHUTDOWN: core::time::Duration = core::time::Duration::from_secs(60);

/// How long a deployment is waited for.
const DEPLOYMENT: core::time::Duration = core::time::Duration::from_secs(300);

/// What a stop signal may leave: 0 of a program that heeds it, 128 + SIGKILL, 128 + SIGTERM.
const LEFT_BY_A_STOP: [i32; 3] = [0, 137, 143];

impl Service {
    /// What does not change within a life of the container.
    pub(crate) fn describe(&mut self, container: Container) {
        if !self.is_of_an_earlier_life(container.instance) {
            self.container = Some(container);
        }
    }

    /// A container was seen in a state. False: it was old news and changed nothing.
    pub(crate) fn see(&mut self, turn: &mut Turn<'_>, sight: Sight) -> bool {
        if sight.began < self.latest || self.is_of_an_earlier_life(sight.instance) {
            turn.shared.stale += 1;
            return false;
        }
        self.seen_at = sight.began;
        let before = self.sight.replace(sight);
        let same_life = before.is_some_and(|before| before.instance == sight.instance);
        if same_life && before.is_some_and(|before| is_same_fact(before.state, sight.state)) {
            // The best witness stays.
            self.sight = before;
            self.look_closer(turn, &sight);
            return true;
        }
        self.latest = sight.began;
        if !same_life {
            self.begin_life(turn, before, &sight);
        }
        match sight.state {
            State::Running(_) => self.run(turn, before, &sight),
            State::Exited { code, witness } => self.exit(turn, sight.instance, code, witness),
            State::Restarting if self.down.is_none() => self.down = Some(Down::Crash),
            _ => {}
        }
        true
    }

    fn is_of_an_earlier_life(&self, life: Instance) -> bool {
        self.sight
            .is_some_and(|known| known.instance.container == life.container && life.started < known.instance.started)
    }

    /// The same fact again can still tell something: an exit that a look finds unchanged, although the engine's restart
    /// policy was in force, is one that the engine has given up on.
    fn look_closer(&mut self, turn: &Turn<'_>, sight: &Sight) {
        let exited_and_looked = matches!(sight.state, State::Exited { witness: Witness::Look, .. });
        if exited_and_looked && sight.began >= self.latest + ENGINE_FIRST && turn.host(self.spec.host).up {
            self.engine_gave_up = true;
        }
    }

    fn begin_life(&mut self, turn: &mut Turn<'_>, before: Option<Sight>, sight: &Sight) {
        for check in &mut self.checks {
            check.reset();
        }
        self.stable = None;
        (self.outlived, self.follows) = (false, None);
        if turn.shared.needy.contains(&self.id) {
            turn.shared.reborn.push(self.id);
        }
        self.engine_gave_up = false;
        self.denied_until = None;
        self.refused_until = None;
        let is_deployed = before.is_none_or(|before| {
            before.instance.container != sight.instance.container || before.state == State::Created
        });
        if is_deployed && matches!(sight.state, State::Running(_) | State::Exited { .. }) {
            self.change_until = None;
        }
        self.charge_for_gap(turn, sight);
    }

    /// Law 1: after an unclean stop, a container that started after the last record may have been started by Iaso.
    fn charge_for_gap(&mut self, turn: &mut Turn<'_>, sight: &Sight) {
        let Some(from) = turn.shared.gap_from else { return };
        let started_after = sight.instance.started / 1_000_000 > from;
        // What starts from now on is seen as it happens.
        let before_this_run = sight.since < turn.shared.started;
        let is_accounted_for = matches!(self.phase, Doing::Resolving { .. });
        if started_after && before_this_run && !is_accounted_for {
            self.charges.add(turn.now.mono);
            let now = turn.now.mono;
            turn.host_mut(self.spec.host).charges.add(now);
            self.record(turn, Event::ChargedForGap { instance: sight.instance });
        }
    }

    fn run(&mut self, turn: &mut Turn<'_>, before: Option<Sight>, sight: &Sight) {
        if !self.seen_running {
            self.seen_running = true;
            self.record(turn, Event::SeenRunning);
        }
        let another_life = before.is_none_or(|before| before.instance != sight.instance);
        // The life after the one that Iaso worked on is its own doing; the next after that is not.
        let ended = before.map(|before| before.instance);
        let by_iaso = self.attempt().is_some_and(|attempt| attempt.begins_a_life() && Some(attempt.instance) == ended);
        if another_life && !by_iaso && before.is_some() {
            self.started_by_another(turn, before);
        }
        self.down = None;
        if self.stopped.take().is_some() {
            self.record(turn, Event::OperatorStopEnded);
        }
    }

    /// A life began that Iaso did not ask for: the engine's own policy, or a person.
    fn started_by_another(&mut self, turn: &mut Turn<'_>, before: Option<Sight>) {
        let lived_before = before.is_some_and(|before| {
            let same_container = self.sight.is_some_and(|sight| sight.instance.container == before.instance.container);
            same_container && before.state != State::Created
        });
        let has_policy = self.container.is_some_and(|container| container.restart != RestartPolicy::No);
        let was_stopped =
            self.stopped.is_some() || before.is_some_and(|before| self.was_asked_to_stop(before.instance));
        if lived_before && has_policy && !was_stopped && !self.engine_gave_up {
            self.engine_restarted(turn);
        } else {
            self.started_by_a_person(turn);
        }
    }

    fn engine_restarted(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        self.engine_restarts.push_back(now);
        while self.engine_restarts.front().is_some_and(|then| now.since(*then) >= LOOP_WINDOW) {
            self.engine_restarts.pop_front();
        }
        let recently = self.recent_engine_restarts(now);
        self.record(turn, Event::EngineRestarted { recently, looping: recently >= LOOP });
    }

    pub(crate) fn recent_engine_restarts(&self, now: Mono) -> u32 {
        let recent = self.engine_restarts.iter().filter(|then| now.since(**then) < LOOP_WINDOW).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }

    /// The container exited, or was found exited: why?
    fn exit(&mut self, turn: &mut Turn<'_>, life: Instance, code: i32, witness: Witness) {
        let at_work = self.attempt().is_some_and(|attempt| {
            attempt.instance == life && !matches!(self.phase, Doing::Resolving { .. }) && stops(attempt.step)
        });
        // Not seen running since a person stopped it: whatever happened between, that stop is the last that is known.
        let stays_stopped = self.stopped.is_some_and(|(stopped, _)| stopped.container == life.container);
        let witnessed = witness == Witness::Event || self.is_known_to_have_ended(life);
        let why = if self.was_asked_to_stop(life) || stays_stopped {
            Down::Operator
        } else if at_work || self.own_stop.is_some_and(|(ended, _)| ended == life) {
            Down::Own
        } else if self.completes(code) && (witnessed || !self.starts_after_gap()) {
            Down::Completed
        } else if witnessed || self.is_failed_attempt(life, code) {
            Down::Crash
        } else {
            Down::Unknown
        };
        self.down = Some(why);
        // An exit heard of just now is one that the engine may still answer.
        self.engine_gave_up &= witness == Witness::Look;
        match why {
            Down::Operator if self.stopped.is_none() => {
                self.stopped = Some((life, turn.now.mono));
                self.record(turn, Event::OperatorStopped { instance: life });
            }
            Down::Crash => self.ended_by_itself(turn, life, code),
            Down::Completed if witnessed => self.ended_by_itself(turn, life, code),
            _ => {}
        }
    }

    /// It is known that no person ended this life.
    pub(crate) fn ended_by_itself(&mut self, turn: &mut Turn<'_>, life: Instance, code: i32) {
        if !self.is_known_to_have_ended(life) {
            self.exited = Some((life, code));
            self.record(turn, Event::Exited { instance: life, code });
        }
    }

    fn is_known_to_have_ended(&self, life: Instance) -> bool {
        self.exited.is_some_and(|(exited, _)| is_life(exited, life))
    }

    /// A program that heeds its stop signal exits with 0 when its engine shuts down: found so after a gap, that is no proof
    /// that it had done its work, and the operator wants what stopped in a gap started.
    fn starts_after_gap(&self) -> bool {
        let is_job = self.container.is_some_and(|container| container.one_off);
        self.spec.after_gap == AfterGap::Start && self.spec.lifecycle == Lifecycle::Auto && !is_job
    }

    /// Iaso itself had begun this life, or was about to, and was away when it ended; an exit code that no stop signal
    /// leaves says that it broke again.
    fn is_failed_attempt(&self, life: Instance, code: i32) -> bool {
        self.attempt().is_some_and(|attempt| attempt.instance.container == life.container)
            && !LEFT_BY_A_STOP.contains(&code)
    }

    /// Somebody sent the container its stop signal.
    pub(crate) fn stop_signal(&mut self, turn: &mut Turn<'_>, instance: Instance, at: Mono) {
        if at < self.latest || self.is_of_an_earlier_life(instance) {
            turn.shared.stale += 1;
        } else if !self.is_own_signal(instance, at) {
            self.stop_signal = Some((instance, at));
        }
    }

    /// Iaso's own operation sends the same signal, at its beginning; the event may come a little later than the answer.
    fn is_own_signal(&self, instance: Instance, at: Mono) -> bool {
        let by_attempt = self.attempt().is_some_and(|attempt| {
            let sent_until = match self.phase {
                Doing::Verifying { since, .. } => since + ENGINE_FIRST,
                Doing::Resolving { .. } => attempt.begun + ENGINE_FIRST,
                Doing::Operating(_) | Doing::Nothing => attempt.backstop,
            };
            let sends = match attempt.step {
                Step::Signal(number) => self.container.is_none_or(|container| container.stop_signal == number),
                step => stops(step),
            };
            attempt.instance == instance && sends && at < sent_until
        });
        by_attempt || self.own_stop.is_some_and(|(life, ended)| life == instance && at < ended + ENGINE_FIRST)
    }

    fn was_asked_to_stop(&self, life: Instance) -> bool {
        self.stop_signal.is_some_and(|(asked, _)| asked == life)
    }

    /// The engine went down just after this stop: it was the engine's own shutdown, not a person.
    pub(crate) fn take_back_stop(&mut self, turn: &mut Turn<'_>, engine_down: Mono) {
        self.stop_signal.take_if(|(_, at)| *at + SHUTDOWN >= engine_down);
        if self.stopped.take_if(|(_, at)| *at + SHUTDOWN >= engine_down).is_some() {
            if self.down == Some(Down::Operator) {
                self.down = Some(Down::Unknown);
            }
            self.record(turn, Event::OperatorStopEnded);
        }
    }

    /// The link is lost. What ran on after Iaso's own stop had come to nothing is, if it is exited after the gap, like any
    /// other: somebody may have stopped it.
    pub(crate) fn forget_own_stop(&mut self) {
        let runs = self.attempt().is_none() && self.sight.is_some_and(|sight| matches!(sight.state, State::Running(_)));
        let seen_at = self.seen_at;
        self.own_stop.take_if(|(_, ended)| runs && seen_at >= *ended + ENGINE_FIRST);
    }

    /// A deployment may have begun.
    pub(crate) fn change(&mut self, now: Mono) {
        let under_way = self.change_until.filter(|until| *until > now);
        self.change_until = Some(under_way.unwrap_or(now + DEPLOYMENT));
    }

    /// A check ended. False: it was about another life, or old news, and changed nothing.
    pub(crate) fn checked(
        &mut self,
        turn: &mut Turn<'_>,
        number: CheckId,
        instance: Instance,
        began: Mono,
        result: CheckResult,
    ) -> bool {
        // A frozen program cannot answer: that says nothing of how it is.
        let current = self
            .sight
            .is_some_and(|sight| sight.instance == instance && began >= self.latest && sight.state != State::Paused);
        let Some(check) = self.checks.get_mut(usize::from(number.0)) else { return false };
        if !current || check.is_stale(began) {
            turn.shared.stale += 1;
            return false;
        }
        let was_proven = check.proven;
        check.take(began, result);
        if check.proven && !was_proven {
            let fingerprint = check.spec.fingerprint;
            if let Err(place) = self.proven.binary_search(&fingerprint) {
                self.proven.insert(place, fingerprint);
            }
            self.record(turn, Event::Proven { check: number, fingerprint });
            alert::prove(&mut self.alerts, self.incident.map(|incident| incident.id));
        }
        true
    }

    /// What a check's result says for or against "healed": one that only alerts, or has never succeeded, says nothing.
    pub(crate) fn weigh(&self, number: CheckId, began: Mono, result: CheckResult) -> Option<Observation> {
        let check = self.checks.get(usize::from(number.0))?;
        let counts = check.proven && check.spec.on_failure == OnFailure::Heal;
        counts.then_some(Observation { began, good: result != CheckResult::Failed })
    }
}

/// A stored life and a seen one: what was learned from an event carries a slightly later start than a look tells.
pub(crate) fn is_life(stored: Instance, seen: Instance) -> bool {
    stored.container == seen.container && seen.started <= stored.started
}

/// Whether a step ends the life it is carried out on.
pub(crate) const fn stops(step: Step) -> bool {
    matches!(step, Step::Restart | Step::Stop)
}

/// Whether two states of one life tell the same: who witnessed an exit aside, unless the newer witness is the better one.
fn is_same_fact(before: State, after: State) -> bool {
    match (before, after) {
        (State::Exited { code: a, witness }, State::Exited { code: b, witness: newer }) => {
            a == b && !(witness == Witness::Look && newer == Witness::Event)
        }
        _ => before == after,
    }
}
