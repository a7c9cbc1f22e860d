//! Root first: nothing is recovered while what it needs is down, being recovered or not yet stable.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::account::Account;
use super::{Judgement, Judges, Violation};
use crate::action::Operation;
use crate::id::ServiceId;
use crate::input::State;
use crate::spec::{Condition, Step};

impl Judges {
    pub(super) fn law_3(&self, operation: &Operation) -> Judgement {
        // To stop what is broken for good is no recovery.
        if operation.step == Step::Stop {
            return Ok(());
        }
        let (mut walked, mut next) = (BTreeSet::new(), Vec::from([operation.service]));
        while let Some(id) = next.pop() {
            for need in self.needs.get(&id).into_iter().flatten() {
                // What was never heard of meets every need.
                let is_met =
                    |on: &ServiceId| self.services.get(on).is_none_or(|account| self.meets(account, need.until));
                let is_known = !need.on.is_empty() || need.unwatched.is_some();
                if is_known && need.unwatched != Some(true) && !need.on.iter().any(is_met) {
                    return Err(Violation { law: 3, service: operation.service, what: "what it needs is not well" });
                }
                if let ([only], None | Some(false)) = (&need.on[..], need.unwatched)
                    && walked.insert(*only)
                {
                    next.push(*only);
                }
            }
        }
        Ok(())
    }

    fn meets(&self, account: &Account, condition: Condition) -> bool {
        let is_up = self.hosts.get(&account.host).is_some_and(|host| host.up);
        let Some(state) = account.state.filter(|_| is_up && account.declared) else { return true };
        match (state, condition) {
            (State::Running(_), Condition::Started | Condition::Healthy) => {
                !account.unhealthy && !account.outage && account.open.is_none()
            }
            (State::Exited { code: 0, .. } | State::Gone, _) => true,
            _ => false,
        }
    }
}
