//! A storm is not healed by more storm: after much has failed on a host at once nothing is recovered for a while, and then one
//! service at a time.
//!
//! Judged less strictly than the rule: only who needs nothing counts as failing by itself, every declared service counts as one
//! of the host's, and the wait is shorter by the window in which the rule may have begun to count.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::account::HostAccount;
use super::{Judgement, Judges, Violation};
use crate::action::{Operation, Trouble};
use crate::id::{HostId, ServiceId};
use crate::record::{Event, Hold, Record};
use crate::time::Mono;

const WAIT: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub(super) struct StormAccount {
    began: Mono,
    members: BTreeSet<ServiceId>,
    /// More than half of those who were members then got well.
    eased: bool,
}

impl HostAccount {
    fn is_mostly_well(&self, window: Duration) -> bool {
        let Some(storm) = &self.storm else { return false };
        let well = self.closed.values().filter(|at| **at + 2 * window >= storm.began).count();
        storm.eased || 2 * well > storm.members.len()
    }
}

impl Judges {
    pub(super) fn law_6(&self, operation: &Operation, now: Mono) -> Judgement {
        let broken = |what| Err(Violation { law: 6, service: operation.service, what });
        let Some(host) = self.hosts.get(&operation.host) else { return Ok(()) };
        let Some(storm) = &host.storm else { return Ok(()) };
        if storm.members.iter().filter(|id| self.fails_by_itself(**id)).count() < self.mass_failure.min as usize {
            return Ok(());
        }
        if host.recovering.iter().any(|id| *id != operation.service) {
            return broken("another is being recovered in the same storm");
        }
        let window = self.mass_failure.window;
        if now.since(storm.began) + window < WAIT && !host.is_mostly_well(window) {
            return broken("much has just failed on its host at once");
        }
        Ok(())
    }

    fn fails_by_itself(&self, id: ServiceId) -> bool {
        self.needs.get(&id).is_none_or(alloc::vec::Vec::is_empty)
            && self.services.get(&id).is_some_and(|account| account.declared)
    }

    /// Hears what the outages and recoveries of a host's services come to.
    pub(super) fn weigh_storm(&mut self, record: &Record, now: Mono) {
        let (id, rule) = (record.service, self.mass_failure);
        let Some(on) = self.services.get(&id).map(|account| account.host) else { return };
        let by_itself = self.fails_by_itself(id);
        let is_expected = self.services.get(&id).is_some_and(|account| account.is_maintained(now));
        let host = self.hosts.entry(on).or_default();
        match record.event {
            Event::Begun { cause: crate::action::Cause::Recovery, .. } => {
                host.recovering.insert(id);
            }
            Event::Ended { .. } => {
                host.recovering.remove(&id);
            }
            Event::IncidentClosed { .. } => {
                host.closed.insert(id, now);
                let eased = host.is_mostly_well(rule.window);
                if let Some(storm) = &mut host.storm {
                    storm.eased = eased;
                }
            }
            Event::IncidentOpened { trouble } if counts(trouble) && by_itself && !is_expected => {
                host.failures.insert(id, now);
                let is_storm = |failed| failed >= rule.min as usize && is_more(failed, rule.ratio, host.declared);
                // What is old is left out when it would matter.
                if is_storm(host.failures.len()) {
                    let is_declared = |id: &ServiceId| self.services.get(id).is_some_and(|account| account.declared);
                    host.failures.retain(|id, at| now.since(*at) < rule.window && is_declared(id));
                }
                if let Some(storm) = &mut host.storm {
                    storm.members.insert(id);
                } else if is_storm(host.failures.len()) {
                    let members = host.failures.keys().copied().collect();
                    host.storm = Some(StormAccount { began: now, members, eased: false });
                }
            }
            _ => {}
        }
        self.end_storm(on);
    }

    /// It is over when nobody in it is in an outage that something will be done about.
    fn end_storm(&mut self, on: HostId) {
        let Some(HostAccount { storm: Some(storm), .. }) = self.hosts.get(&on) else { return };
        let goes_on = storm
            .members
            .iter()
            .filter_map(|id| self.services.get(id))
            .any(|account| account.declared && account.outage && account.held.is_none_or(passes));
        if !goes_on && let Some(host) = self.hosts.get_mut(&on) {
            host.storm = None;
        }
    }
}

const fn counts(trouble: Trouble) -> bool {
    !matches!(trouble, Trouble::StoppedInGap | Trouble::Outlived | Trouble::EngineRestarting)
}

fn is_more(failed: usize, ratio: f64, of: usize) -> bool {
    let as_number = |count| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    as_number(failed) > ratio * as_number(of)
}

/// What holds it is over by itself at some time.
const fn passes(hold: Hold) -> bool {
    !matches!(
        hold,
        Hold::Dependency
            | Hold::Budget
            | Hold::HostBudget
            | Hold::NotPermitted
            | Hold::Notice
            | Hold::DiskFull
            | Hold::Quarantine
            | Hold::Maintenance
            | Hold::HostDown
            | Hold::EngineRestarting
            | Hold::Paused
            | Hold::ContainerPaused
            | Hold::OperatorStopped
            | Hold::UnknownStop
            | Hold::Completed
            | Hold::NeverSucceeded
            | Hold::Mode
            | Hold::Observe
            | Hold::Itself
            | Hold::Orchestrated
    )
}
