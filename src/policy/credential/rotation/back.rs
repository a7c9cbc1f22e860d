//! The way back: the service first, then the store, then the files and whoever reads them.

use alloc::vec::Vec;

use super::forward::{is_base, is_new};
use super::{
    Action, Call, Ending, Event, Halt, Input, Look, Outcome, Rolled, Rotation, Run, Side, Step, Stored, Tried, Trouble,
};
use crate::time::Now;

impl Rotation {
    /// Begins to take a rotation back.
    pub(super) fn turn_back(&mut self, now: Now, run: Run, trouble: Trouble, out: &mut Vec<Action>) {
        let run = Run { trouble: Some(trouble), ..run };
        match run.step {
            Step::Begun => self.end(now, Ending::Failed(trouble), out),
            _ if run.old.is_none() => {
                self.state.run = Some(run);
                if run.rolled {
                    // Nothing is left to undo: what was set aside for that is free.
                    out.push(Action::Settle);
                }
                self.halt(Halt::NoOld, out);
            }
            _ => {
                out.push(Action::Tell(Event::GoingBack(trouble)));
                let (step, call) = if run.applied {
                    (Step::Reapplying, Call::Apply(Side::Old))
                } else {
                    (Step::Restoring, Call::Look)
                };
                let put_back = if run.step == Step::Generated { run.base } else { run.version() + 1 };
                self.reach(now, Run { put_back, ..run }, step, call, out);
            }
        }
    }

    /// Nothing here is given up while a server does not answer: what is half taken back has to be taken back.
    pub(super) fn heard_back(&mut self, now: Now, run: Run, call: Call, input: Input, out: &mut Vec<Action>) {
        match (run.step, input) {
            (Step::Reapplying, Input::Applied(outcome)) => self.reapplied(now, run, outcome, out),
            (Step::Reapplying, Input::Tried(Tried::Accepted)) => self.restore_data(now, run, out),
            (Step::Reapplying, Input::Tried(Tried::Refused)) if self.worn() => self.halt(Halt::NeitherAccepted, out),
            (Step::Reapplying, Input::Tried(Tried::Refused)) => self.later(now, Call::Apply(Side::Old), out),
            (Step::Restoring, Input::Looked(look)) => self.looked_back(now, run, look, out),
            (Step::Restoring, Input::Stored(Stored::Landed)) => self.republish(now, run, run.version() + 1, out),
            (Step::Restoring, Input::Stored(_)) => self.later(now, Call::Look, out),
            (Step::Republishing, Input::Published(Outcome::Done)) if run.rolled => {
                self.reach(now, run, Step::Unrolling, Call::Undo, out);
            }
            (Step::Republishing, Input::Published(Outcome::Done)) => self.returned(now, run, None, out),
            (Step::Unrolling, Input::Undone(Rolled::Done)) => self.returned(now, run, None, out),
            (Step::Unrolling, Input::Undone(Rolled::Left)) => self.wait_for_left(now, Call::Undo, out),
            (Step::Unrolling, Input::Undone(Rolled::Failed | Rolled::Refused)) => {
                self.returned(now, run, Some(Halt::StillUnhealthy), out);
            }
            _ => self.later(now, call, out),
        }
    }

    fn reapplied(&mut self, now: Now, run: Run, outcome: Outcome, out: &mut Vec<Action>) {
        match outcome {
            Outcome::NotDone => self.later(now, Call::Apply(Side::Old), out),
            // Whatever it answered: it is what it accepts that counts.
            _ if self.spec.verify => self.call = Some(Call::Try(Side::Old)),
            Outcome::Done => self.restore_data(now, run, out),
            Outcome::Refused if self.worn() => self.halt(Halt::NeitherAccepted, out),
            Outcome::Refused | Outcome::Ambiguous => self.later(now, Call::Apply(Side::Old), out),
        }
    }

    fn restore_data(&mut self, now: Now, run: Run, out: &mut Vec<Action>) {
        self.reach(now, run, Step::Restoring, Call::Look, out);
    }

    fn looked_back(&mut self, now: Now, run: Run, look: Look, out: &mut Vec<Action>) {
        // Set when the way back began before the new version was known to be stored.
        let perhaps_unstored = run.put_back == run.base;
        match look {
            Look::Unknown => self.later(now, Call::Look, out),
            look if is_new(&run, look) => self.call = Some(Call::Store),
            Look::Found { version, digest, .. } if version == run.version() + 1 && run.old == Some(digest) => {
                self.republish(now, run, version, out);
            }
            look if is_base(&run, look) && perhaps_unstored => self.republish(now, run, run.base, out),
            look if is_base(&run, look) => self.later(now, Call::Look, out),
            _ => self.halt(Halt::Conflict, out),
        }
    }

    fn republish(&mut self, now: Now, run: Run, version: u64, out: &mut Vec<Action>) {
        self.reach(now, Run { put_back: version, ..run }, Step::Republishing, Call::Publish, out);
    }

    fn returned(&mut self, now: Now, run: Run, halt: Option<Halt>, out: &mut Vec<Action>) {
        let ending = Ending::Returned(run.trouble.unwrap_or(Trouble::Ordered));
        self.end_and_halt(now, ending, halt, out);
    }
}
