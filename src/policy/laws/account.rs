//! The judges' own account of each service, kept from what they hear alone.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::alert::Outage;
use super::storm::StormAccount;
use crate::action::Operation;
use crate::id::{AttemptId, HostId, Instance, ServiceId};
use crate::input::{CheckResult, Container, EngineHealth, Sight, State, Witness};
use crate::memory::{CHARGES_KEPT, Restored};
use crate::record::Hold;
use crate::spec::{Budget, OnFailure, Step};
use crate::time::{Mono, Now};

#[derive(Debug, Clone, Default)]
pub(super) struct HostAccount {
    pub(super) up: bool,
    pub(super) charges: VecDeque<Mono>,
    pub(super) down_since: Option<Mono>,
    /// How many services it has.
    pub(super) declared: usize,
    /// Outages that count for a storm, and when each was told; old ones among them.
    pub(super) failures: BTreeMap<ServiceId, Mono>,
    /// When each service's newest outage ended.
    pub(super) closed: BTreeMap<ServiceId, Mono>,
    /// Whose recovery is not over.
    pub(super) recovering: BTreeSet<ServiceId>,
    pub(super) storm: Option<StormAccount>,
    /// It was told as lost, and not yet as back.
    pub(super) lost: bool,
    pub(super) disk_full: bool,
}

/// What the judges know of one service.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) host: HostId,
    pub(super) budget: Budget,
    pub(super) stateful: bool,
    pub(super) stable: Duration,
    pub(super) checks: Vec<CheckAccount>,
    /// Checks that passed once, those included that are not declared now.
    pub(super) proven: BTreeSet<u64>,
    pub(super) charges: VecDeque<Mono>,
    pub(super) container: Option<Container>,
    pub(super) life: Option<Instance>,
    pub(super) state: Option<State>,
    pub(super) changed: Mono,
    pub(super) ran: bool,
    pub(super) paused: bool,
    /// When a calendar's window ends.
    pub(super) window: Option<Mono>,
    /// When the maintenance ends that a person ordered.
    pub(super) ordered: Option<Mono>,
    pub(super) stop: Option<(Instance, Mono)>,
    pub(super) stop_signal: Option<(Instance, Mono)>,
    /// The life that an operation last asked the engine to end, whatever came of it and was asked for since.
    pub(super) asked_to_end: Option<Instance>,
    /// A life that ended under the hands of an operation.
    pub(super) own_end: Option<Instance>,
    /// The exit was found by a look, long enough after it, or first of all.
    pub(super) looked_at_exit: bool,
    /// The operation in flight, and when it was charged.
    pub(super) in_flight: Option<(Operation, Mono)>,
    /// The newest operation that was carried out, and when its answer came.
    pub(super) answered: Option<(Operation, Mono)>,
    pub(super) open: Option<AttemptId>,
    /// Good observations in a row: how many, from when, to when.
    pub(super) good: Option<(u32, Mono, Mono)>,
    /// What began before the newest operation was answered says nothing of what it has done.
    pub(super) good_from: Mono,
    pub(super) unhealthy: bool,
    /// It is in an outage, which may go on although it looks well again.
    pub(super) outage: bool,
    /// Why it is not acted on.
    pub(super) held: Option<Hold>,
    /// Somebody still wants it watched.
    pub(super) declared: bool,
}

/// What the judges know of one check.
#[derive(Debug, Clone)]
pub(super) struct CheckAccount {
    pub(super) fingerprint: u64,
    pub(super) on_failure: OnFailure,
    pub(super) proven: bool,
    /// When its newest result began.
    pub(super) newest: Option<Mono>,
}

/// What the store remembered that judges must know.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub(super) charges: Vec<Mono>,
    pub(super) credential_charges: Vec<Mono>,
    pub(super) proven: Vec<u64>,
    pub(super) ran: bool,
    pub(super) paused: bool,
    pub(super) ordered: Option<Mono>,
    pub(super) stop: Option<(Instance, Mono)>,
    pub(super) open: Option<AttemptId>,
    pub(super) outage: Option<Outage>,
}

impl Account {
    /// It was not declared for a while: what was seen of it before may be old, what it has spent is spent.
    pub(super) fn begin_anew(&mut self) {
        (self.container, self.life, self.state) = (None, None, None);
        (self.stop_signal, self.asked_to_end, self.own_end) = (None, None, None);
        (self.answered, self.good) = (None, None);
        (self.changed, self.looked_at_exit) = (Mono(i64::MIN), false);
        (self.unhealthy, self.held, self.outage) = (false, None, false);
        self.window = None;
    }

    pub(super) fn is_at_work_on(&self, life: Instance) -> bool {
        let touches = |operation: &Operation| operation.instance == life && operation.step != Step::Start;
        self.asked_to_end == Some(life)
            || self.in_flight.as_ref().is_some_and(|(operation, _)| touches(operation))
            || self.answered.as_ref().is_some_and(|(operation, _)| touches(operation) && self.open.is_some())
    }

    /// A person's stop signal was heard in this life, and the engine may not be done with it: its grace, 10 s where none is
    /// named, and 5 s for the news of the end.
    pub(super) fn is_being_stopped(&self, now: Mono) -> bool {
        let grace = self.container.and_then(|container| container.stop_grace).unwrap_or(Duration::from_secs(10));
        let lately = |at: Mono| now.since(at) < grace + Duration::from_secs(5);
        self.stop_signal.is_some_and(|(life, at)| self.life == Some(life) && lately(at))
    }

    pub(super) fn is_maintained(&self, now: Mono) -> bool {
        self.window.max(self.ordered).is_some_and(|until| until > now)
    }

    pub(super) fn is_of_an_earlier_life(&self, life: Instance) -> bool {
        self.life.is_some_and(|known| known.container == life.container && life.started < known.started)
    }

    pub(super) fn hear_sight(&mut self, sight: &Sight) {
        if sight.began < self.changed || self.is_of_an_earlier_life(sight.instance) {
            return;
        }
        let new_life = self.life != Some(sight.instance);
        let was_exited = !new_life && matches!(self.state, Some(State::Exited { .. }));
        let exits = matches!(sight.state, State::Exited { .. });
        let looked = matches!(sight.state, State::Exited { witness: Witness::Look, .. });
        if new_life || self.state != Some(sight.state) && !(was_exited && looked) {
            self.changed = sight.began;
            self.looked_at_exit = looked && (new_life || !was_exited);
        } else if was_exited && looked && sight.began.since(self.changed) >= Duration::from_secs(1) {
            self.looked_at_exit = true;
        }
        let tells_anew = self.state != Some(sight.state) && !looked;
        if exits && (!was_exited || tells_anew) {
            if self.is_at_work_on(sight.instance) {
                self.own_end = Some(sight.instance);
            } else if self.stop_signal.is_some_and(|(life, _)| life == sight.instance) {
                self.stop = Some((sight.instance, sight.began));
            }
        }
        if let State::Running(_) = sight.state {
            self.ran = true;
            self.stop = None;
        }
        if !(was_exited && looked) {
            self.state = Some(sight.state);
        }
        self.life = Some(sight.instance);
        let good = matches!(sight.state, State::Running(EngineHealth::None | EngineHealth::Healthy));
        self.observe(sight.began, good);
    }

    pub(super) fn hear_check(&mut self, number: usize, began: Mono, result: CheckResult) {
        if began < self.changed {
            return;
        }
        let Some(CheckAccount { fingerprint, on_failure, proven, newest }) = self.checks.get_mut(number) else {
            return;
        };
        if newest.is_some_and(|newest| began <= newest) {
            return;
        }
        *newest = Some(began);
        let passed = result != CheckResult::Failed;
        *proven |= passed;
        if passed && !self.proven.contains(fingerprint) {
            self.proven.insert(*fingerprint);
        }
        if *proven && *on_failure == OnFailure::Heal {
            self.observe(began, passed);
        }
    }

    pub(super) fn observe(&mut self, began: Mono, good: bool) {
        if began < self.good_from {
            return;
        }
        self.good = match self.good {
            _ if !good => None,
            None => Some((1, began, began)),
            Some((count, first, last)) => Some((count.saturating_add(1), first, last.max(began))),
        };
    }
}

/// When the newest maintenance of everything ends that any service remembers.
pub(super) fn everything_until(restored: &Restored, now: Now) -> Option<Mono> {
    let orders = restored.services.iter().filter_map(|memory| memory.maintenance.filter(|order| order.everything));
    let newest = orders.max_by_key(|order| now.place(order.since))?;
    Some(newest.until(now))
}

pub(super) fn take_back(charges: &mut VecDeque<Mono>, charged: Mono) {
    if let Some(place) = charges.iter().rposition(|then| *then == charged) {
        charges.remove(place);
    }
}

/// Another configuration may look further back than this one does: what no window can reach is forgotten.
pub(super) fn push_bounded(charges: &mut VecDeque<Mono>, now: Mono) {
    charges.push_back(now);
    while charges.front().is_some_and(|then| now.since(*then) >= CHARGES_KEPT) {
        charges.pop_front();
    }
}
