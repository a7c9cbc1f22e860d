//! How a rotation begins: by schedule, by order, or where a journal left it.

use alloc::vec::Vec;
use core::time::Duration;

use super::{
    Action, Answer, Call, Ending, Event, Input, Look, Mark, Order, Origin, Rotation, RotationId, Run, Side, Step,
    Trouble,
};
use crate::backoff::{Jitter, delay};
use crate::spec::BackoffSpec;
use crate::time::{Mono, Now};

/// The longest wait after a failure.
const DAY: Duration = Duration::from_secs(86_400);
/// What [`super::Spec::per_hour`] counts in.
const HOUR: Duration = Duration::from_secs(3600);
/// The next rotation comes up to a tenth early, so that those set up together do not stay together.
const EARLY: f64 = 0.05;

impl Rotation {
    /// When the next one begins by itself.
    pub fn due(&self, now: Now) -> Option<Mono> {
        let every = self.spec.every?;
        let due = match (self.state.failures, self.state.last) {
            (failures, Some((_, ended))) if failures > 0 => {
                let doubled = self.spec.retry.saturating_mul(1 << (failures - 1).min(20));
                now.place(ended) + doubled.min(DAY)
            }
            _ => {
                let middle = every.mul_f64(1.0 - EARLY);
                let spread =
                    BackoffSpec { base: middle, factor: 1.0, max: every, jitter: EARLY, ..BackoffSpec::default() };
                // Drawn from what stays the same until the next one, so that asking twice gives one answer.
                let mut jitter = Jitter::new(self.seed ^ self.state.count);
                now.place(self.state.settled) + delay(&spread, 1, &mut jitter)
            }
        };
        let most = usize::try_from(self.spec.per_hour).unwrap_or(usize::MAX).max(1);
        let recent = &self.state.recent;
        let full = recent.len().checked_sub(most).map(|first| now.place(recent[first]) + HOUR);
        Some(full.map_or(due, |free| due.max(free)))
    }

    /// Takes a person's order.
    pub fn order(&mut self, now: Now, order: Order, out: &mut Vec<Action>) -> Answer {
        let answer = match (self.state.run, order) {
            // One that is about to begin by itself gives way, its look in flight serves the other as well.
            (None, _) if self.begin.is_some_and(|origin| origin != Origin::Scheduled) => Answer::Busy,
            (None, _) => {
                (self.state.halt, self.state.failures) = (None, 0);
                self.want(match order {
                    Order::Rotate => Origin::Ordered,
                    Order::Rollback => Origin::Rollback,
                    Order::Set => Origin::Set,
                });
                Answer::Taken
            }
            (Some(run), Order::Rollback) => self.roll_back(now, run, out),
            (Some(_), _) if self.state.halt.is_none() => Answer::Busy,
            (Some(run), Order::Rotate) => self.go_on(now, run, out),
            // The person's value takes the place of both.
            (Some(run), Order::Set) => {
                self.state.halt = None;
                if run.rolled {
                    out.push(Action::Settle);
                }
                self.end(now, Ending::Returned(Trouble::Ordered), out);
                self.want(Origin::Set);
                Answer::Taken
            }
        };
        self.go(out);
        answer
    }

    fn roll_back(&mut self, now: Now, run: Run, out: &mut Vec<Action>) -> Answer {
        let halted = self.state.halt.take().is_some();
        match run.step {
            Step::Retiring => return Answer::TooLate,
            step if step.is_back() && !halted => return Answer::Taken,
            step if step.is_back() => self.resume(now, out),
            // A rollout may be held for long; its undoing ends it.
            _ if self.in_flight && self.call != Some(Call::RollOut) => self.back_wanted = true,
            _ => self.return_by_order(now, out),
        }
        Answer::Taken
    }

    pub(super) fn return_by_order(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(run) = self.state.run.filter(|run| !run.step.is_back() && run.step != Step::Retiring) else { return };
        self.in_flight = false;
        self.turn_back(now, run, Trouble::Ordered, out);
    }

    /// A person has put the service right, for the new value.
    fn go_on(&mut self, now: Now, run: Run, out: &mut Vec<Action>) -> Answer {
        match run.step {
            Step::Restoring | Step::Republishing | Step::Unrolling => Answer::TooLate,
            step => {
                self.state.halt = None;
                let step = if step == Step::Reapplying { Step::Stored } else { step };
                self.state.run = Some(Run { step, trouble: None, ..run });
                self.journal(out);
                self.resume(now, out);
                Answer::Taken
            }
        }
    }

    pub(super) const fn want(&mut self, origin: Origin) {
        self.begin = Some(origin);
        self.next(Call::Look);
    }

    /// What a rotation that is about to begin sees.
    pub(super) fn looked_first(&mut self, now: Now, input: Input, out: &mut Vec<Action>) {
        let (Some(origin), Input::Looked(look)) = (self.begin, input) else { return };
        let generates = matches!(origin, Origin::Scheduled | Origin::Ordered);
        let (base, old) = match look {
            Look::Unknown => return self.later(now, Call::Look, out),
            Look::Found { mark: Mark::Pending, .. } if generates => {
                return self.end(now, Ending::Failed(Trouble::Elsewhere), out);
            }
            // A rotation elsewhere marks it soon; a person does not.
            Look::Found { mark: Mark::Behind, .. } if generates && !self.worn() => {
                return self.later(now, Call::Look, out);
            }
            Look::Found { version, digest, .. } => (version, Some(digest)),
            Look::Nothing { version } => (version, None),
        };
        self.begin = None;
        self.state.count += 1;
        self.state.recent.retain(|begun| now.mono.since(now.place(*begun)) < HOUR);
        self.state.recent.push(now);
        let run = Run {
            id: RotationId(self.state.count),
            origin,
            base,
            old,
            new: None,
            step: Step::Begun,
            since: now,
            applied: false,
            published: false,
            rolled: false,
            trouble: None,
            put_back: base,
        };
        (self.unsure, self.refused) = (false, false);
        self.state.run = Some(run);
        self.next(Call::Make);
        self.journal(out);
        out.push(Action::Tell(Event::Began(origin)));
    }

    /// Goes on from the state, as if nothing else were known.
    pub(super) fn resume(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(run) = self.state.run else { return };
        self.unsure = true;
        let call = match run.step {
            // The value, if there was one, is lost; nobody has seen it.
            Step::Begun => return self.end(now, Ending::Failed(Trouble::Interrupted), out),
            Step::Generated | Step::Restoring => Call::Look,
            Step::Stored if !run.applied => Call::Mark,
            Step::Stored if self.spec.verify => Call::Try(Side::New),
            Step::Stored => Call::Apply(Side::New),
            Step::Applied => Call::Try(Side::New),
            Step::Verified | Step::Republishing => Call::Publish,
            Step::Published => Call::RollOut,
            Step::RolledOut => Call::Wait,
            Step::Retiring => Call::Retire,
            Step::Reapplying => Call::Apply(Side::Old),
            Step::Unrolling => Call::Undo,
        };
        self.next(call);
        self.go(out);
    }
}
