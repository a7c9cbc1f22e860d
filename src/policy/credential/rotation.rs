//! The rotation of one credential that is kept in versions: a new value is made, stored, told to the service that checks it,
//! published, and the old one retired once everything runs on the new; or all of that is taken back.
//!
//! [`State`] is what is kept on disk. Each step is kept before what it leads to is begun, so that a crash between any two
//! leaves a state that can be gone on from: what may have been begun is found out by looking, or done again where that does no
//! harm. Values never come here: they are told apart by their side and compared by digest.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

mod back;
mod begin;
mod forward;
mod seam;
mod state;
mod turns;

pub use self::seam::{Action, Answer, Event, Input, Look, Made, Mark, Order, Outcome, Rolled, Spec, Stored, Tried};
pub use self::state::{Ending, Halt, Origin, RotationId, Run, Side, State, Step, Trouble};
pub use self::turns::Turns;
use crate::backoff::{Jitter, delay};
use crate::spec::BackoffSpec;
use crate::time::{Mono, Now};

/// Failed rotations in a row after which none begins by itself.
pub const BREAKER: u32 = 5;
/// How often something is tried before it counts as failed, or as worth telling.
pub const TRIES: u32 = 5;
/// From one trial of the same call to the next: first, and longest.
const AGAIN: BackoffSpec = BackoffSpec {
    base: Duration::from_secs(2),
    factor: 2.0,
    max: Duration::from_secs(300),
    jitter: 0.1,
    reset_after: Duration::MAX,
};

/// A call that a step makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Look,
    Make,
    Store,
    Mark,
    Apply(Side),
    Try(Side),
    Publish,
    RollOut,
    /// No call: the grace.
    Wait,
    Undo,
    Retire,
}

/// The rotation of one credential.
#[derive(Debug, Clone)]
pub struct Rotation {
    spec: Spec,
    state: State,
    seed: u64,
    jitter: Jitter,
    /// A rotation that looks before it begins.
    begin: Option<Origin>,
    /// The call to make next, or that is in flight.
    call: Option<Call>,
    in_flight: bool,
    /// When the call is made again.
    again: Option<Mono>,
    /// How often it was made in vain.
    tries: u32,
    /// An earlier call may have reached the service.
    unsure: bool,
    /// The service, or the store, has said no to it.
    refused: bool,
    /// A person wants it taken back as soon as the call in flight has ended.
    back_wanted: bool,
}

impl Rotation {
    /// Goes on where the journal says, or begins one. The seed decides jitter alone; the
    /// same for a credential in every run keeps its schedule.
    pub fn restore(spec: Spec, seed: u64, kept: Option<State>, now: Now, out: &mut Vec<Action>) -> Self {
        let fresh = kept.is_none();
        let state = kept.unwrap_or_else(|| State::new(now));
        let mut rotation = Self {
            spec,
            seed,
            jitter: Jitter::new(seed),
            state,
            begin: None,
            call: None,
            in_flight: false,
            again: None,
            tries: 0,
            unsure: true,
            refused: false,
            back_wanted: false,
        };
        if fresh {
            rotation.journal(out);
        }
        rotation.resume(now, out);
        rotation
    }

    /// What is kept of it.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Nothing is under way and nothing has been begun.
    pub const fn is_idle(&self) -> bool {
        self.state.run.is_none() && self.begin.is_none()
    }

    /// It goes on failing, or not being possible, at its step; people were told.
    pub const fn is_held(&self) -> bool {
        self.tries >= TRIES
    }

    /// Takes another definition, when nothing is under way.
    pub const fn redefine(&mut self, spec: Spec) -> bool {
        if self.is_idle() {
            self.spec = spec;
        }
        self.is_idle()
    }

    /// When it wants a [`Input::Tick`]; never in the past. None: only facts or orders move it.
    pub fn next_deadline(&self, now: Now) -> Option<Mono> {
        if self.state.halt.is_some() || self.in_flight {
            return None;
        }
        let deadline = self.again.or_else(|| match self.state.run {
            Some(run) if self.call == Some(Call::Wait) => Some(now.place(run.since) + self.spec.grace),
            Some(_) => None,
            None => self.due(now),
        });
        deadline.map(|deadline| deadline.max(now.mono))
    }

    /// Takes a fact. One that answers no call in flight changes nothing.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Action>) {
        if let Input::Tick { may_begin } = input {
            return self.tick(now, may_begin, out);
        }
        let Some(call) = self.call.filter(|call| self.in_flight && answers(input, *call)) else { return };
        self.in_flight = false;
        match self.state.run {
            None => self.looked_first(now, input, out),
            Some(run) if run.step.is_back() => self.heard_back(now, run, call, input, out),
            Some(run) => self.heard(now, run, call, input, out),
        }
        if core::mem::take(&mut self.back_wanted) {
            self.return_by_order(now, out);
        }
        self.go(out);
    }

    fn tick(&mut self, now: Now, may_begin: bool, out: &mut Vec<Action>) {
        if self.in_flight || self.next_deadline(now).is_none_or(|deadline| deadline > now.mono) {
            return;
        }
        if self.again.take().is_some() {
            return self.go(out);
        }
        if self.state.run.is_some() {
            self.grace_is_over(now, out);
        } else if may_begin {
            self.want(Origin::Scheduled);
        }
        self.go(out);
    }

    /// Makes the call that is due, if one is.
    fn go(&mut self, out: &mut Vec<Action>) {
        if self.in_flight || self.again.is_some() || self.state.halt.is_some() {
            return;
        }
        let Some(call) = self.call.filter(|call| *call != Call::Wait) else { return };
        let action = match (call, self.state.run) {
            (_, None) => Action::Look,
            (call, Some(run)) => run_action(call, &run),
        };
        self.in_flight = true;
        out.push(action);
    }

    /// The next call, at once and as if for the first time.
    const fn next(&mut self, call: Call) {
        self.call = Some(call);
        self.again = None;
        self.tries = 0;
    }

    /// This call, after a wait. Tells once that it takes long.
    fn later(&mut self, now: Now, call: Call, out: &mut Vec<Action>) {
        self.call = Some(call);
        self.tries = self.tries.saturating_add(1);
        self.again = Some(now.mono + delay(&AGAIN, self.tries, &mut self.jitter));
        if let (TRIES, Some(run)) = (self.tries, self.state.run) {
            out.push(Action::Tell(Event::Held(run.step)));
        }
    }

    /// A consumer that runs is to be left alone, and goes on with the other value: that stays valid, and people are told at once,
    /// for nothing but them may move it.
    fn wait_for_left(&mut self, now: Now, call: Call, out: &mut Vec<Action>) {
        if self.tries < TRIES
            && let Some(run) = self.state.run
        {
            out.push(Action::Tell(Event::Held(run.step)));
        }
        self.tries = self.tries.max(TRIES);
        self.later(now, call, out);
    }

    /// Whether it was tried often enough.
    const fn worn(&self) -> bool {
        self.tries + 1 >= TRIES
    }

    fn journal(&self, out: &mut Vec<Action>) {
        out.push(Action::Journal(Box::new(self.state.clone())));
    }

    /// Comes to a step, which is kept before its call is made.
    fn reach(&mut self, now: Now, run: Run, step: Step, call: Call, out: &mut Vec<Action>) {
        self.state.run = Some(Run { step, since: now, ..run });
        (self.unsure, self.refused) = (false, false);
        self.next(call);
        self.journal(out);
        out.push(Action::Tell(Event::Reached(step)));
    }

    /// Waits for a person, with all that is known kept.
    fn halt(&mut self, halt: Halt, out: &mut Vec<Action>) {
        self.state.halt = Some(halt);
        self.again = None;
        self.journal(out);
        out.push(Action::Tell(Event::Halted(halt)));
    }

    /// Ends the run, whatever it was.
    fn end(&mut self, now: Now, ending: Ending, out: &mut Vec<Action>) {
        let halt = (ending == Ending::Failed(Trouble::Conflict)).then_some(Halt::Conflict);
        self.end_and_halt(now, ending, halt, out);
    }

    /// Both are kept at once: a crash between them would forget that a person is waited for.
    fn end_and_halt(&mut self, now: Now, ending: Ending, halt: Option<Halt>, out: &mut Vec<Action>) {
        self.state.run = None;
        (self.begin, self.call, self.again, self.tries) = (None, None, None, 0);
        self.state.last = Some((ending, now));
        match ending {
            Ending::Rotated | Ending::OldRemains | Ending::Unchanged | Ending::Returned(Trouble::Ordered) => {
                (self.state.failures, self.state.settled) = (0, now);
            }
            Ending::Returned(_) | Ending::Failed(_) => self.state.failures = self.state.failures.saturating_add(1),
        }
        let halt = halt.or_else(|| (self.state.failures >= BREAKER).then_some(Halt::Breaker));
        self.state.halt = halt;
        self.journal(out);
        out.push(Action::Tell(Event::Ended(ending)));
        out.extend(halt.map(|halt| Action::Tell(Event::Halted(halt))));
    }
}

/// The call as an action.
fn run_action(call: Call, run: &Run) -> Action {
    match call {
        Call::Look | Call::Wait => Action::Look,
        Call::Make => Action::Make { id: run.id, origin: run.origin },
        Call::Store if run.step.is_back() => Action::Store { side: Side::Old, cas: run.version() },
        Call::Store => Action::Store { side: Side::New, cas: run.base },
        Call::Mark => Action::Mark { current: run.base, pending: run.version() },
        Call::Apply(side) => Action::Apply(side),
        Call::Try(side) => Action::Try(side),
        Call::Publish if run.step.is_back() => Action::Publish { side: Side::Old, version: run.put_back },
        Call::Publish => Action::Publish { side: Side::New, version: run.version() },
        Call::RollOut => Action::RollOut { published: run.since },
        Call::Undo => Action::Undo,
        Call::Retire => Action::Retire,
    }
}

/// Whether a fact is the answer to a call.
const fn answers(input: Input, call: Call) -> bool {
    matches!(
        (input, call),
        (Input::Looked(_), Call::Look)
            | (Input::Made(_), Call::Make)
            | (Input::Stored(_), Call::Store)
            | (Input::Marked(_), Call::Mark)
            | (Input::Applied(_), Call::Apply(_))
            | (Input::Tried(_), Call::Try(_))
            | (Input::Published(_), Call::Publish)
            | (Input::RolledOut(_), Call::RollOut)
            | (Input::Undone(_), Call::Undo)
            | (Input::Retired(_), Call::Retire)
    )
}
