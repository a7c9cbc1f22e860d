//! The way forward: from a new value to the retirement of the old one.

use alloc::vec::Vec;

use super::{
    Action, Call, Ending, Halt, Input, Look, Made, Origin, Outcome, Rolled, Rotation, Run, Side, Step, Stored, Tried,
    Trouble,
};
use crate::time::Now;

impl Rotation {
    pub(super) fn heard(&mut self, now: Now, run: Run, call: Call, input: Input, out: &mut Vec<Action>) {
        match (run.step, input) {
            (Step::Begun, Input::Made(made)) => self.made(now, run, made, out),
            (Step::Generated, Input::Stored(stored)) => self.stored(now, run, stored, out),
            (Step::Generated, Input::Looked(look)) => self.looked_for_it(now, run, look, out),
            (Step::Stored, Input::Marked(Outcome::Done | Outcome::Refused)) => self.next(Call::Look),
            (Step::Stored, Input::Looked(look)) => self.looked_again(now, run, look, out),
            (Step::Stored, Input::Applied(outcome)) => self.applied(now, run, outcome, out),
            (Step::Stored, Input::Tried(tried)) => self.tried_unsure(now, run, call, tried, out),
            (Step::Applied, Input::Tried(tried)) => self.tried(now, run, tried, out),
            (Step::Verified, Input::Published(outcome)) => self.published(now, run, outcome, out),
            (Step::Published, Input::RolledOut(rolled)) => self.rolled_out(now, run, rolled, out),
            (Step::Published, Input::Tried(tried)) => self.tried(now, run, tried, out),
            (Step::RolledOut, Input::Looked(look)) => self.looked_at_last(now, run, look, out),
            (Step::RolledOut, Input::Tried(Tried::Accepted)) => self.retire(now, run, out),
            (Step::RolledOut, Input::Tried(_)) => self.later(now, Call::Look, out),
            (Step::Retiring, Input::Retired(Outcome::Done)) => self.end(now, Ending::Rotated, out),
            (Step::Retiring, Input::Retired(_)) if self.worn() => self.end(now, Ending::OldRemains, out),
            _ => self.later(now, call, out),
        }
    }

    fn made(&mut self, now: Now, run: Run, made: Made, out: &mut Vec<Action>) {
        match made {
            Made::Value(new) if run.old == Some(new) => self.end(now, Ending::Unchanged, out),
            Made::Value(new) => self.reach(now, Run { new: Some(new), ..run }, Step::Generated, Call::Store, out),
            Made::Impossible => self.end(now, Ending::Failed(Trouble::NotMade), out),
            Made::NotDone => self.later(now, Call::Make, out),
        }
    }

    /// Whatever is not certain is looked at: a store that was answered by a conflict or a refusal may be the second of two, and
    /// the first have landed.
    fn stored(&mut self, now: Now, run: Run, stored: Stored, out: &mut Vec<Action>) {
        match stored {
            Stored::Landed => self.reach(now, run, Step::Stored, Call::Mark, out),
            Stored::NotDone => self.later(now, Call::Store, out),
            Stored::Ambiguous => self.later(now, Call::Look, out),
            Stored::Conflict => self.call = Some(Call::Look),
            Stored::Refused => (self.call, self.refused) = (Some(Call::Look), true),
        }
    }

    fn looked_for_it(&mut self, now: Now, run: Run, look: Look, out: &mut Vec<Action>) {
        match look {
            Look::Unknown => self.later(now, Call::Look, out),
            look if is_new(&run, look) => self.reach(now, run, Step::Stored, Call::Mark, out),
            look if is_base(&run, look) && self.refused => self.end(now, Ending::Failed(Trouble::NotStored), out),
            // After a wait: a look may show what has been for a moment longer.
            look if is_base(&run, look) => self.later(now, Call::Store, out),
            _ => self.end(now, Ending::Failed(Trouble::Conflict), out),
        }
    }

    /// Nobody else may have written since: the service is told of the newest version only.
    fn looked_again(&mut self, now: Now, run: Run, look: Look, out: &mut Vec<Action>) {
        match look {
            look if is_new(&run, look) => self.apply(now, run, out),
            Look::Unknown => self.later(now, Call::Look, out),
            look if is_base(&run, look) => self.later(now, Call::Look, out),
            _ => self.end(now, Ending::Failed(Trouble::Conflict), out),
        }
    }

    fn apply(&mut self, now: Now, run: Run, out: &mut Vec<Action>) {
        if !self.spec.apply {
            self.verified(now, run, out);
        } else if run.origin != Origin::Set {
            self.state.run = Some(Run { applied: true, ..run });
            self.journal(out);
            (self.unsure, self.refused) = (false, false);
            self.next(Call::Apply(Side::New));
        } else if self.spec.verify {
            self.reach(now, run, Step::Applied, Call::Try(Side::New), out);
        } else {
            self.verified(now, run, out);
        }
    }

    fn applied(&mut self, now: Now, run: Run, outcome: Outcome, out: &mut Vec<Action>) {
        let untouched = Run { applied: self.unsure, ..run };
        match outcome {
            Outcome::Done if self.spec.verify => self.reach(now, run, Step::Applied, Call::Try(Side::New), out),
            Outcome::Done => self.verified(now, run, out),
            Outcome::NotDone if self.worn() => self.turn_back(now, untouched, Trouble::NotApplied, out),
            Outcome::NotDone => self.later(now, Call::Apply(Side::New), out),
            Outcome::Refused if self.spec.verify => {
                (self.call, self.refused) = (Some(Call::Try(Side::New)), true);
            }
            Outcome::Refused => self.turn_back(now, untouched, Trouble::ApplyRefused, out),
            Outcome::Ambiguous if self.spec.verify => {
                self.unsure = true;
                self.call = Some(Call::Try(Side::New));
            }
            Outcome::Ambiguous if self.worn() => self.turn_back(now, run, Trouble::NotApplied, out),
            Outcome::Ambiguous => {
                self.unsure = true;
                self.later(now, Call::Apply(Side::New), out);
            }
        }
    }

    /// Which value the service has is not known: the new one is tried, then the old.
    fn tried_unsure(&mut self, now: Now, run: Run, call: Call, tried: Tried, out: &mut Vec<Action>) {
        match (call, tried) {
            (Call::Try(Side::New), Tried::Accepted) => self.verified(now, run, out),
            (Call::Try(Side::New), Tried::Refused) if run.old.is_some() => self.call = Some(Call::Try(Side::Old)),
            (Call::Try(Side::New), Tried::Refused) if !self.worn() && !self.refused => {
                self.later(now, Call::Apply(Side::New), out);
            }
            (_, Tried::Accepted) if self.refused || self.worn() => {
                let trouble = if self.refused { Trouble::ApplyRefused } else { Trouble::NotApplied };
                self.turn_back(now, Run { applied: false, ..run }, trouble, out);
            }
            (_, Tried::Accepted) => self.later(now, Call::Apply(Side::New), out),
            (_, Tried::Unknown) if self.worn() => self.turn_back(now, run, Trouble::NotVerified, out),
            (_, Tried::Refused) if self.worn() => self.halt(Halt::NeitherAccepted, out),
            // It may be starting: once more before a person is called.
            _ => self.later(now, Call::Try(Side::New), out),
        }
    }

    /// Whether the service accepts what it was told, or has read.
    fn tried(&mut self, now: Now, run: Run, tried: Tried, out: &mut Vec<Action>) {
        match tried {
            Tried::Accepted if run.step == Step::Applied => self.verified(now, run, out),
            Tried::Accepted => self.reach(now, run, Step::RolledOut, Call::Wait, out),
            Tried::Refused if self.worn() => self.turn_back(now, run, Trouble::NotAccepted, out),
            Tried::Unknown if self.worn() => self.turn_back(now, run, Trouble::NotVerified, out),
            Tried::Refused | Tried::Unknown => self.later(now, Call::Try(Side::New), out),
        }
    }

    fn verified(&mut self, now: Now, run: Run, out: &mut Vec<Action>) {
        self.reach(now, Run { published: true, ..run }, Step::Verified, Call::Publish, out);
    }

    fn published(&mut self, now: Now, run: Run, outcome: Outcome, out: &mut Vec<Action>) {
        match outcome {
            Outcome::Done => self.reach(now, Run { rolled: true, ..run }, Step::Published, Call::RollOut, out),
            Outcome::Refused => self.turn_back(now, run, Trouble::NotPublished, out),
            Outcome::Ambiguous | Outcome::NotDone => self.later(now, Call::Publish, out),
        }
    }

    fn rolled_out(&mut self, now: Now, run: Run, rolled: Rolled, out: &mut Vec<Action>) {
        match rolled {
            Rolled::Done if self.spec.verify && !self.spec.apply => self.next(Call::Try(Side::New)),
            Rolled::Done => self.reach(now, run, Step::RolledOut, Call::Wait, out),
            Rolled::Left => self.wait_for_left(now, Call::RollOut, out),
            Rolled::Failed => self.turn_back(now, run, Trouble::Unhealthy, out),
            Rolled::Refused => {
                let rolled = self.unsure;
                self.turn_back(now, Run { rolled, ..run }, Trouble::RolloutRefused, out);
            }
            Rolled::Replaced => self.later(now, Call::RollOut, out),
        }
    }

    /// The old value is no longer needed, unless the new one has stopped working meanwhile, or has been replaced itself: then
    /// nobody knows here what still works.
    pub(super) fn grace_is_over(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(run) = self.state.run.filter(|run| run.step == Step::RolledOut) else { return };
        if self.spec.retire && run.old.is_some() {
            self.next(Call::Look);
        } else {
            out.push(Action::Settle);
            self.end(now, Ending::Rotated, out);
        }
    }

    fn looked_at_last(&mut self, now: Now, run: Run, look: Look, out: &mut Vec<Action>) {
        match look {
            look if is_new(&run, look) && self.spec.verify => self.call = Some(Call::Try(Side::New)),
            look if is_new(&run, look) => self.retire(now, run, out),
            Look::Found { version, .. } if version > run.version() => {
                out.push(Action::Settle);
                self.end(now, Ending::OldRemains, out);
            }
            Look::Found { .. } | Look::Nothing { .. } | Look::Unknown => self.later(now, Call::Look, out),
        }
    }

    fn retire(&mut self, now: Now, run: Run, out: &mut Vec<Action>) {
        self.reach(now, run, Step::Retiring, Call::Retire, out);
        out.push(Action::Settle);
    }
}

/// The new data is the newest version.
pub(super) fn is_new(run: &Run, look: Look) -> bool {
    matches!(look, Look::Found { version, digest, .. } if version == run.version() && run.new == Some(digest))
}

/// The newest version is still the one that the rotation is based on.
pub(super) fn is_base(run: &Run, look: Look) -> bool {
    match look {
        Look::Found { version, digest, .. } => version == run.base && run.old == Some(digest),
        Look::Nothing { version } => version == run.base && run.old.is_none(),
        Look::Unknown => false,
    }
}
