//! A changed credential on its way to the services that use it: one after the other, each verified before the next, and all
//! of it set aside before the first.
//!
//! ```text
//!              all of it fits: set aside                answered, verified           no service left, or one broke
//!   Waiting ─────────────────────────────▶ Operating ◀───────────────────▶ Going ─────────────────────────▶ Over
//!                                              ▲                                                              │ undo
//!                                              └──────────────────────────────────────────────────────────────┘
//! ```

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::{Action, Cause, RolloutResult};
use crate::id::{AttemptId, CredentialKey, HostId, Instance, RolloutId, ServiceId};
use crate::input::RolloutStep;
use crate::policy::Policy;
use crate::record::{Event, Hold};
use crate::spec::{Budget, Step};
use crate::time::Mono;
use crate::view::HoldView;
use purse::Lack;
use ready::Readiness;

mod purse;
mod ready;
mod tell;
mod verdict;

/// A step that was never carried out is tried so often.
const TRIES: u8 = 3;

#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Rollout {
    id: RolloutId,
    credential: CredentialKey,
    cap: Budget,
    splay: Duration,
    undoable: bool,
    legs: Vec<Leg>,
    stage: Stage,
    /// Its charges were set aside.
    begun: bool,
    undo: Undo,
    failed: Option<ServiceId>,
    /// It runs, and was not told.
    left: Option<ServiceId>,
    /// The reason that was told last, and about whom.
    held: Option<(ServiceId, HoldView)>,
    /// When it is to be looked at by itself.
    pub(crate) wake: Option<Mono>,
}

/// One service on its way.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Leg {
    service: ServiceId,
    host: HostId,
    step: Step,
    /// The life that it was in when the change was asked for: another one began with the change.
    life: Option<Instance>,
    /// It has loaded what is new already.
    has_it: bool,
    /// It has, or will load, what is new without a step: only the undoing may have to reach it.
    loads: bool,
    /// Its step was begun.
    touched: bool,
    /// It was healthy before its step.
    was_well: bool,
    tries: u8,
    /// Set aside and not spent.
    for_step: bool,
    for_undo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Stage {
    /// This leg is next, not before `from`.
    Going { leg: usize, from: Mono },
    /// This leg's operation is in flight, or being verified.
    Operating { leg: usize, attempt: AttemptId },
    /// A person's hand took the place of this leg's operation: what came of that counts.
    Following { leg: usize },
    /// Told, and neither settled nor undone.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Undo {
    No,
    /// Asked for while an operation of the rollout was under way.
    Asked,
    UnderWay,
}

/// What became of a leg whose turn it was.
enum Tried {
    /// It was begun or left out.
    Moved,
    /// It waits, until then at the latest if that is known, and the others go first.
    PassedOver(Option<Mono>),
    Waits,
}

impl Rollout {
    pub(crate) fn new(
        id: RolloutId,
        credential: CredentialKey,
        steps: Vec<(RolloutStep, HostId, Option<Instance>)>,
        cap: Budget,
        splay: Duration,
        undoable: bool,
    ) -> Self {
        let mut seen = BTreeSet::new();
        let legs = steps.into_iter().filter(|(asked, ..)| seen.insert(asked.service)).map(|(asked, host, life)| Leg {
            service: asked.service,
            host,
            step: asked.step,
            life,
            has_it: asked.has_it,
            loads: false,
            touched: false,
            was_well: false,
            tries: 0,
            for_step: false,
            for_undo: false,
        });
        Self {
            id,
            credential,
            cap,
            splay,
            undoable,
            legs: legs.collect(),
            stage: Stage::Going { leg: 0, from: Mono(i64::MIN) },
            begun: false,
            undo: Undo::No,
            failed: None,
            left: None,
            held: None,
            wake: None,
        }
    }

    const fn is_undo(&self) -> bool {
        matches!(self.undo, Undo::UnderWay)
    }

    /// This leg is done with; the next one's turn comes.
    fn go_on(&mut self, leg: usize, now: Mono, waits: bool) {
        let from = if waits && !self.is_undo() { now + self.splay } else { now };
        self.stage = Stage::Going { leg: leg + 1, from };
    }
}

impl Policy {
    /// The services that there are, with what a leg needs to know; steps that no credential asks for are left out.
    pub(crate) fn with_hosts(&self, steps: Vec<RolloutStep>) -> Vec<(RolloutStep, HostId, Option<Instance>)> {
        let fits = |asked: &RolloutStep| matches!(asked.step, Step::Restart | Step::Signal(_));
        let legs = steps
            .into_iter()
            .filter(fits)
            .filter_map(|asked| self.service(asked.service).map(|it| (asked, it.spec.host, it.instance())));
        legs.collect()
    }

    /// A credential changed.
    pub(crate) fn roll_out(&mut self, rollout: Rollout, out: &mut Vec<Action>) {
        let mut known = core::mem::take(&mut self.rollouts);
        known.retain_mut(|earlier| match earlier.stage {
            _ if earlier.credential != rollout.credential => true,
            // Who asks for the next has left it at that.
            Stage::Over => {
                self.free(earlier, out);
                false
            }
            _ if earlier.begun => true,
            _ => {
                self.tell_end(earlier, RolloutResult::Replaced, out);
                false
            }
        });
        self.rollouts = known;
        if self.shared.fleet.observe {
            for leg in &rollout.legs {
                self.tell_hold(&rollout, leg, Hold::Observe, None, out);
            }
            return self.tell_end(&rollout, RolloutResult::Refused(Hold::Observe), out);
        }
        self.rollouts.push(rollout);
    }

    /// The credential was put back as it was.
    pub(crate) fn undo(&mut self, id: RolloutId, out: &mut Vec<Action>) {
        let place = self.rollouts.iter().position(|rollout| rollout.id == id);
        let Some(place) = place.filter(|place| !self.rollouts[*place].begun || self.rollouts[*place].undoable) else {
            // Nothing was set aside for it.
            let result = RolloutResult::Refused(Hold::Budget);
            return out.push(Action::RolledOut { rollout: id, undo: true, result });
        };
        let rollout = &mut self.rollouts[place];
        match (rollout.begun, rollout.undo, rollout.stage) {
            (false, _, _) => {
                let rollout = self.rollouts.remove(place);
                self.tell_end(&rollout, RolloutResult::Replaced, out);
                out.push(Action::RolledOut { rollout: id, undo: true, result: RolloutResult::Done });
            }
            (true, Undo::No, Stage::Operating { .. }) => rollout.undo = Undo::Asked,
            (true, Undo::No, _) => {
                let mut rollout = self.rollouts.remove(place);
                self.begin_undo(&mut rollout, out);
                self.rollouts.insert(place, rollout);
            }
            (true, Undo::Asked | Undo::UnderWay, _) => {}
        }
    }

    fn begin_undo(&mut self, rollout: &mut Rollout, out: &mut Vec<Action>) {
        if rollout.stage != Stage::Over {
            self.tell_end(rollout, RolloutResult::Replaced, out);
        }
        self.give_back_steps(rollout, out);
        // Whom it broke needs it most.
        if let Some(broken) = rollout.legs.iter().position(|leg| rollout.failed == Some(leg.service)) {
            rollout.legs[..=broken].rotate_right(1);
        }
        (rollout.undo, rollout.failed, rollout.left, rollout.held) = (Undo::UnderWay, None, None, None);
        for leg in &mut rollout.legs {
            leg.tries = 0;
        }
        rollout.stage = Stage::Going { leg: 0, from: self.now.mono };
    }

    /// The change stays.
    pub(crate) fn settle_rollout(&mut self, id: RolloutId, out: &mut Vec<Action>) {
        let Some(place) = self.rollouts.iter().position(|rollout| rollout.id == id && rollout.undo == Undo::No) else {
            return;
        };
        let mut rollout = self.rollouts.remove(place);
        rollout.undoable = false;
        if rollout.stage == Stage::Over {
            self.free(&mut rollout, out);
            return;
        }
        self.give_back_undo(&mut rollout, out);
        self.rollouts.insert(place, rollout);
    }

    /// Moves every rollout on as far as it goes now.
    pub(crate) fn advance_rollouts(&mut self, out: &mut Vec<Action>) {
        if self.rollouts.is_empty() && self.shared.freed.is_empty() {
            // What a run before had begun may have ended.
            self.shared.ended.clear();
            return;
        }
        loop {
            let mut rollouts = core::mem::take(&mut self.rollouts);
            for (id, attempt, verdict) in core::mem::take(&mut self.shared.ended) {
                if let Some(rollout) = rollouts.iter_mut().find(|rollout| rollout.id == id) {
                    self.hear_verdict(rollout, attempt, verdict, out);
                }
            }
            let before = rollouts.len();
            let mut under_way = BTreeSet::new();
            rollouts.retain_mut(|rollout| {
                let is_first = under_way.insert(rollout.credential);
                self.advance(rollout, is_first, out)
            });
            // Where one is over, the next of its credential may begin.
            let is_one_over = rollouts.len() < before;
            self.rollouts = rollouts;
            let freed = core::mem::take(&mut self.shared.freed);
            if !freed.is_empty() {
                for id in self.ids(|service| service.waits_for_budget(&freed)) {
                    self.with(id, out, |service, turn| service.review(turn, None));
                }
            }
            if freed.is_empty() && self.shared.ended.is_empty() && !is_one_over {
                return;
            }
        }
    }

    /// Moves one on; false: it is over, and nothing is left of it.
    fn advance(&mut self, rollout: &mut Rollout, is_first: bool, out: &mut Vec<Action>) -> bool {
        rollout.wake = None;
        // Legs that wait for what may take long, one after the other, since the last that did not.
        let mut passed_over = 0;
        let mut wake: Option<Mono> = None;
        loop {
            let moved = match rollout.stage {
                Stage::Over | Stage::Operating { .. } => return true,
                Stage::Going { leg, .. } if leg == rollout.legs.len() => return self.end(rollout, out),
                Stage::Following { leg } => self.follow(rollout, leg, out),
                Stage::Going { from, .. } if from > self.now.mono => {
                    rollout.wake = Some(from);
                    return true;
                }
                // One that has begun ends first.
                Stage::Going { .. } if self.shared.stopping || !is_first => return true,
                Stage::Going { leg, .. } => match self.try_leg(rollout, leg, passed_over, out) {
                    Ok(Tried::Moved) => {
                        (passed_over, wake) = (0, None);
                        true
                    }
                    Ok(Tried::PassedOver(until)) => {
                        passed_over += 1;
                        wake = wake.into_iter().chain(until).min();
                        true
                    }
                    Ok(Tried::Waits) => {
                        rollout.wake = rollout.wake.into_iter().chain(wake).min();
                        false
                    }
                    Err(reason) => {
                        self.tell_end(rollout, RolloutResult::Refused(reason), out);
                        return false;
                    }
                },
            };
            if !moved {
                return true;
            }
        }
    }

    /// What became of the leg, after so many were passed over; the error says why the rollout never may begin.
    fn try_leg(
        &mut self,
        rollout: &mut Rollout,
        place: usize,
        passed_over: usize,
        out: &mut Vec<Action>,
    ) -> Result<Tried, Hold> {
        let Leg { service: id, step, life, has_it, touched, for_step, for_undo, .. } = rollout.legs[place];
        let undo = rollout.is_undo();
        let began_another_life = self.service(id).is_some_and(|service| service.instance() != life);
        let is_left_out =
            if undo { !(for_undo && (touched || has_it || began_another_life)) } else { rollout.begun && !for_step };
        if is_left_out {
            rollout.go_on(place, self.now.mono, false);
            return Ok(Tried::Moved);
        }
        let mut readiness = Readiness::Down(None);
        if undo || !has_it {
            self.with(id, out, |service, turn| readiness = service.readiness(turn, step, undo));
        }
        match readiness {
            Readiness::Left(reason) | Readiness::Down(reason) => {
                let Rollout { id: rollout_id, credential, .. } = *rollout;
                self.tell(id, Event::RolloutSkipped { rollout: rollout_id, credential, reason }, out);
                self.give_back(rollout, place, false, out);
                // What starts later has what is new, and may have to learn of the undoing.
                rollout.legs[place].loads = !undo && matches!(readiness, Readiness::Down(_));
                if !rollout.legs[place].loads {
                    self.give_back(rollout, place, true, out);
                }
                if matches!(readiness, Readiness::Left(_)) {
                    rollout.left.get_or_insert(id);
                }
                rollout.go_on(place, self.now.mono, false);
                return Ok(Tried::Moved);
            }
            Readiness::Wait(reason, until)
                if (reason == Hold::HostDown || undo && reason == Hold::PlannedChange)
                    && passed_over < rollout.legs.len() - place =>
            {
                rollout.legs[place..].rotate_left(1);
                return Ok(Tried::PassedOver(until));
            }
            Readiness::Wait(reason, until) => {
                self.wait(rollout, place, reason, until, out);
                return Ok(Tried::Waits);
            }
            Readiness::Act => {}
        }
        if !rollout.begun {
            match self.lacks(rollout, place) {
                Some(Lack::ForGood(reason)) => return Err(reason),
                Some(Lack::ForNow(reason, until)) => {
                    self.wait(rollout, place, reason, until, out);
                    return Ok(Tried::Waits);
                }
                None => self.reserve(rollout, place, out),
            }
        }
        self.operate(rollout, place, out);
        Ok(Tried::Moved)
    }

    fn operate(&mut self, rollout: &mut Rollout, place: usize, out: &mut Vec<Action>) {
        let undo = rollout.is_undo();
        let cause = Cause::Credential { credential: rollout.credential, rollout: rollout.id, undo };
        let undoable = rollout.undoable && !undo;
        let leg = &mut rollout.legs[place];
        let mut begun = None;
        self.with(leg.service, out, |service, turn| {
            begun = service.begin_for_credential(turn, leg.step, cause, undoable);
            service.review(turn, None);
        });
        let Some((attempt, was_well)) = begun else { return rollout.go_on(place, self.now.mono, false) };
        if undo {
            leg.for_undo = false;
        } else {
            (leg.for_step, leg.touched, leg.was_well) = (false, true, was_well);
        }
        rollout.held = None;
        rollout.stage = Stage::Operating { leg: place, attempt };
    }

    /// No service is left, or one broke.
    fn end(&mut self, rollout: &mut Rollout, out: &mut Vec<Action>) -> bool {
        let left = rollout.left.map_or(RolloutResult::Done, RolloutResult::Left);
        let result = rollout.failed.map_or(left, RolloutResult::Failed);
        self.tell_end(rollout, result, out);
        // Nothing was set aside: who loads what is new by itself could not be reached by an undoing.
        rollout.undoable &= rollout.begun || !rollout.legs.iter().any(|leg| leg.loads);
        if rollout.is_undo() || !rollout.undoable {
            self.free(rollout, out);
            return false;
        }
        self.give_back_steps(rollout, out);
        (rollout.stage, rollout.begun) = (Stage::Over, true);
        true
    }
}
