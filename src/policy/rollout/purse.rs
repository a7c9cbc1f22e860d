//! What a rollout costs: set aside whole before it begins, spent operation by operation, and given back where it is not needed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Rollout;
use crate::action::Action;
use crate::id::{HostId, ServiceId};
use crate::policy::Policy;
use crate::record::{Event, Hold};
use crate::time::Mono;
use crate::turn::Account;

/// Why a rollout cannot be paid for.
pub(super) enum Lack {
    /// Not at this moment.
    ForNow(Hold, Option<Mono>),
    /// It is more than the whole budget.
    ForGood(Hold),
}

impl Policy {
    /// What is lacking for everything from this leg on, and for undoing that and what those before it load by themselves.
    pub(super) fn lacks(&self, rollout: &Rollout, from: usize) -> Option<Lack> {
        let now = self.now.mono;
        let legs = &rollout.legs[from..];
        let each = 1 + u32::from(rollout.undoable);
        let mut hosts: BTreeMap<HostId, u32> = BTreeMap::new();
        for leg in legs {
            *hosts.entry(leg.host).or_default() += each;
        }
        for leg in rollout.legs[..from].iter().filter(|leg| leg.loads && rollout.undoable) {
            *hosts.entry(leg.host).or_default() += 1;
        }
        let nothing = Account::default();
        let account = self.shared.credentials.get(&rollout.credential).unwrap_or(&nothing);
        let own = (Hold::Budget, rollout.cap, hosts.values().sum::<u32>(), &account.charges, account.reserved);
        let of_hosts = hosts.iter().map(|(id, need)| {
            let host = &self.shared.hosts[usize::from(id.0)];
            (Hold::HostBudget, self.shared.fleet.host_budget, *need, &host.charges, host.reserved)
        });
        for (reason, whole, need, charges, reserved) in core::iter::once(own).chain(of_hosts) {
            if need > whole.max {
                return Some(Lack::ForGood(reason));
            }
            let budget = self.shared.host_budget(whole, now);
            if charges.remaining(now, budget) < need + reserved {
                let unsure = (!self.shared.intact).then_some(self.shared.started + whole.window);
                let free = charges.free_at(now, budget, need + reserved).into_iter().chain(unsure);
                return Some(Lack::ForNow(reason, free.filter(|at| *at > now).min()));
            }
        }
        None
    }

    /// Sets aside everything from this leg on, and its undoing, also of those before it that load what is new by themselves.
    pub(super) fn reserve(&mut self, rollout: &mut Rollout, from: usize, out: &mut Vec<Action>) {
        let Rollout { id, credential, undoable, .. } = *rollout;
        for (place, leg) in rollout.legs.iter_mut().enumerate().filter(|(place, leg)| *place >= from || leg.loads) {
            (leg.for_step, leg.for_undo) = (place >= from, undoable);
            let operations = u32::from(leg.for_step) + u32::from(undoable);
            if operations == 0 {
                continue;
            }
            self.shared.hosts[usize::from(leg.host.0)].reserved += operations;
            self.shared.credentials.entry(credential).or_default().reserved += operations;
            self.tell(leg.service, Event::Reserved { rollout: id, credential, operations }, out);
        }
        rollout.begun = true;
    }

    /// No step is to come any more.
    pub(super) fn give_back_steps(&mut self, rollout: &mut Rollout, out: &mut Vec<Action>) {
        for place in 0..rollout.legs.len() {
            self.give_back(rollout, place, false, out);
        }
    }

    /// Nothing is to be undone any more.
    pub(super) fn give_back_undo(&mut self, rollout: &mut Rollout, out: &mut Vec<Action>) {
        for place in 0..rollout.legs.len() {
            self.give_back(rollout, place, true, out);
        }
    }

    /// One operation is not needed, where it was set aside and not spent.
    pub(super) fn give_back(&mut self, rollout: &mut Rollout, place: usize, undo: bool, out: &mut Vec<Action>) {
        let Rollout { id, credential, .. } = *rollout;
        let leg = &mut rollout.legs[place];
        if !core::mem::take(if undo { &mut leg.for_undo } else { &mut leg.for_step }) {
            return;
        }
        let host = &mut self.shared.hosts[usize::from(leg.host.0)];
        host.reserved = host.reserved.saturating_sub(1);
        let account = self.shared.credentials.entry(credential).or_default();
        account.reserved = account.reserved.saturating_sub(1);
        self.shared.freed.push(leg.host);
        self.tell(leg.service, Event::GivenBack { rollout: id, credential, undo }, out);
    }

    /// A service is not declared any more: nothing is kept for it.
    pub(crate) fn leave_out(&mut self, service: ServiceId, out: &mut Vec<Action>) {
        let mut rollouts = core::mem::take(&mut self.rollouts);
        for rollout in &mut rollouts {
            for place in 0..rollout.legs.len() {
                if rollout.legs[place].service == service {
                    self.give_back(rollout, place, false, out);
                    self.give_back(rollout, place, true, out);
                }
            }
        }
        self.rollouts = rollouts;
    }

    /// Nothing of it is left: what it has set aside is free, and so are the services that it broke.
    pub(super) fn free(&mut self, rollout: &mut Rollout, out: &mut Vec<Action>) {
        self.give_back_steps(rollout, out);
        self.give_back_undo(rollout, out);
        for leg in &rollout.legs {
            self.with(leg.service, out, |service, turn| {
                if service.kept_until.take().is_some() {
                    service.review(turn, None);
                }
            });
        }
    }
}
