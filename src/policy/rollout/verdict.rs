//! What an operation of a rollout came to, and what follows from it.

use alloc::vec::Vec;
use core::time::Duration;

use super::ready::Aftermath;
use super::{Leg, Rollout, Stage, TRIES, Undo};
use crate::action::{Action, RolloutResult};
use crate::id::AttemptId;
use crate::policy::Policy;
use crate::record::Verdict;

impl Policy {
    /// What came of an operation of this rollout's.
    pub(super) fn hear_verdict(
        &mut self,
        rollout: &mut Rollout,
        ended: AttemptId,
        verdict: Verdict,
        out: &mut Vec<Action>,
    ) {
        let Stage::Operating { leg: place, attempt } = rollout.stage else { return };
        if attempt != ended {
            return;
        }
        match verdict {
            Verdict::Healed | Verdict::Done => rollout.go_on(place, self.now.mono, true),
            Verdict::Superseded => rollout.stage = Stage::Following { leg: place },
            Verdict::Dropped => self.try_again(rollout, place),
            Verdict::NotHealed | Verdict::OperationFailed | Verdict::Denied | Verdict::Moot => {
                self.broken(rollout, place);
            }
        }
        if rollout.undo == Undo::Asked {
            if let Some(failed) = rollout.failed {
                self.tell_end(rollout, RolloutResult::Failed(failed), out);
                rollout.stage = Stage::Over;
            }
            self.begin_undo(rollout, out);
        }
    }

    /// It was never carried out, and what it costs is set aside again.
    pub(super) fn try_again(&self, rollout: &mut Rollout, place: usize) {
        let undo = rollout.is_undo();
        let leg = &mut rollout.legs[place];
        let store_up = self.shared.store_up;
        if undo {
            leg.for_undo = true;
        } else {
            (leg.for_step, leg.touched) = (true, false);
        }
        // A store that is down holds the next try, but for an undo's.
        leg.tries += u8::from(store_up || undo);
        if leg.tries >= TRIES {
            return self.broken(rollout, place);
        }
        let wait = if store_up { self.shared.fleet.failing_interval } else { Duration::ZERO };
        rollout.stage = Stage::Going { leg: place, from: self.now.mono + wait };
    }

    /// It is not healthy afterwards.
    pub(super) fn broken(&self, rollout: &mut Rollout, place: usize) {
        let Leg { service, was_well, .. } = rollout.legs[place];
        if was_well {
            rollout.failed.get_or_insert(service);
        }
        if was_well && !rollout.is_undo() {
            rollout.stage = Stage::Going { leg: rollout.legs.len(), from: self.now.mono };
        } else {
            rollout.go_on(place, self.now.mono, true);
        }
    }

    /// A person has taken the service over, with the credential as it is now: how does it stand after that?
    pub(super) fn follow(&mut self, rollout: &mut Rollout, place: usize, out: &mut Vec<Action>) -> bool {
        let mut aftermath = Aftermath::Gone;
        self.with(rollout.legs[place].service, out, |service, turn| aftermath = service.aftermath(turn));
        match aftermath {
            Aftermath::Unclear(reason) => {
                self.wait(rollout, place, reason, None, out);
                return false;
            }
            Aftermath::Gone => rollout.go_on(place, self.now.mono, false),
            Aftermath::Well => rollout.go_on(place, self.now.mono, true),
            Aftermath::Broken => {
                self.broken(rollout, place);
                let service = rollout.legs[place].service;
                if rollout.undoable && !rollout.is_undo() && rollout.failed == Some(service) {
                    self.with(service, out, |service, turn| {
                        service.keep(turn.now.mono);
                        service.review(turn, None);
                    });
                }
            }
        }
        true
    }
}
