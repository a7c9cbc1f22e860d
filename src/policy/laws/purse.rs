//! Law 1 for what is done for credentials' sake: all of it was set aside before the first of it.

use alloc::collections::{BTreeMap, VecDeque};

use super::{Judgement, Judges, Violation, within};
use crate::action::{Operation, RolloutResult};
use crate::id::{CredentialKey, HostId, RolloutId, ServiceId};
use crate::input::RolloutStep;
use crate::memory::Restored;
use crate::spec::Budget;
use crate::time::{Mono, Now};

/// What was asked for for a credential's sake.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) credential: CredentialKey,
    pub(super) steps: BTreeMap<ServiceId, RolloutStep>,
    pub(super) cap: Budget,
    pub(super) undoable: bool,
    /// Somebody asked for its undoing.
    pub(super) undo: bool,
    /// It has ended, and can only be undone.
    pub(super) over: bool,
}

/// What was charged to each credential before this run.
pub(super) fn credentials_of(restored: &Restored, now: Now) -> BTreeMap<CredentialKey, VecDeque<Mono>> {
    let mut charged: BTreeMap<CredentialKey, VecDeque<Mono>> = BTreeMap::new();
    for memory in &restored.services {
        for (credential, then) in &memory.credential_charges {
            charged.entry(*credential).or_default().push_back(now.place(*then));
        }
    }
    charged
}

impl Judges {
    pub(super) fn hear_rollout(&mut self, rollout: RolloutId, asked: Asked) {
        // One whose undoing was asked for goes on.
        self.asked.retain(|_, earlier| !(earlier.over && !earlier.undo && earlier.credential == asked.credential));
        self.set_aside.retain(|(id, ..)| self.asked.contains_key(id));
        self.asked.insert(rollout, asked);
    }

    /// Nothing of it is left.
    fn forget_rollout(&mut self, rollout: RolloutId) {
        self.asked.remove(&rollout);
        self.set_aside.retain(|(id, ..)| *id != rollout);
    }

    pub(super) fn hear_undo(&mut self, rollout: RolloutId) {
        if let Some(asked) = self.asked.get_mut(&rollout) {
            asked.undo = true;
        }
    }

    pub(super) fn hear_settled(&mut self, rollout: RolloutId) {
        let Some(asked) = self.asked.get_mut(&rollout).filter(|asked| !asked.undo) else { return };
        asked.undoable = false;
        if asked.over {
            self.forget_rollout(rollout);
        }
    }

    pub(super) fn hear_end(&mut self, rollout: RolloutId, undo: bool, result: RolloutResult) {
        let Some(asked) = self.asked.get_mut(&rollout) else { return };
        let refused = matches!(result, RolloutResult::Refused(_));
        if undo && refused {
            // The rollout itself goes on.
            asked.undo = false;
            return;
        }
        let may_be_undone = asked.undoable && !undo && !refused;
        if may_be_undone && (result != RolloutResult::Replaced || asked.undo) {
            asked.over = true;
        } else {
            self.forget_rollout(rollout);
        }
    }

    /// Something is set aside: it must have been asked for, and there must be room for it.
    pub(super) fn hear_reserved(
        &mut self,
        service: ServiceId,
        rollout: RolloutId,
        operations: u32,
        now: Mono,
    ) -> Judgement {
        let broken = |what| Err(Violation { law: 1, service, what });
        let Some(Asked { credential, cap, undoable, .. }) = self.asked.get(&rollout).cloned() else {
            return broken("set aside for a credential, and nobody asked for it");
        };
        // What loads the change by itself costs nothing but its undoing.
        if operations == 1 + u32::from(undoable) {
            self.set_aside.insert((rollout, service, false));
        } else if !(undoable && operations == 1) {
            return broken("the undoing is not set aside with the step");
        }
        if undoable {
            self.set_aside.insert((rollout, service, true));
        }
        let is_its = |id: &RolloutId| self.asked.get(id).is_some_and(|asked| asked.credential == credential);
        let aside = self.set_aside.iter().filter(|(id, ..)| is_its(id)).count();
        let spent = self.credentials.get(&credential).map_or(0, |charges| within(charges, cap.window, now));
        if spent + aside > self.allowed(cap, now) as usize {
            return broken("more was set aside than the credential's cap allows");
        }
        let Some(host) = self.services.get(&service).map(|account| account.host) else { return Ok(()) };
        let spent = self.hosts.get(&host).map_or(0, |host| within(&host.charges, self.host_budget.window, now));
        if spent + self.set_aside_on(host) > self.allowed(self.host_budget, now) as usize {
            return broken("more was set aside than the host's budget allows");
        }
        Ok(())
    }

    /// How much is set aside on a host.
    pub(super) fn set_aside_on(&self, host: HostId) -> usize {
        let on_it = |service: &ServiceId| self.services.get(service).is_some_and(|account| account.host == host);
        self.set_aside.iter().filter(|(_, service, _)| on_it(service)).count()
    }

    /// Nothing is done for a credential's sake that was not asked for and set aside; an undo alone goes on without the store.
    pub(super) fn law_1_for_credentials(
        &self,
        operation: &Operation,
        credential: CredentialKey,
        rollout: RolloutId,
        undo: bool,
    ) -> Judgement {
        let broken = |what| Err(Violation { law: 1, service: operation.service, what });
        let asked = self.asked.get(&rollout).filter(|asked| asked.credential == credential && (asked.undo || !undo));
        let step = asked.and_then(|asked| asked.steps.get(&operation.service));
        let Some(step) = step.filter(|asked| asked.step == operation.step) else {
            return broken("done for a credential, and nobody asked for it");
        };
        if step.has_it && !undo {
            return broken("done for a credential that its container has loaded");
        }
        if !self.set_aside.contains(&(rollout, operation.service, undo)) {
            return broken("done for a credential, and not set aside before");
        }
        if !undo && !self.store_up {
            return broken("done for a credential while the store is down");
        }
        Ok(())
    }
}
