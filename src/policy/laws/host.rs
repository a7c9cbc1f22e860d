//! A host that cannot be reached is told once, nothing is said to have befallen its services meanwhile, and nobody waits for them.

use super::{Judgement, Judges, Violation};
use crate::id::ServiceId;
use crate::record::{Event, Hold, Record};

impl Judges {
    /// One dead host never delays another, and is one incident.
    pub(super) fn law_7(&mut self, record: &Record) -> Judgement {
        let broken = |law, what| Err(Violation { law, service: record.service, what });
        match record.event {
            Event::IncidentOpened { .. } if self.is_out_of_reach(record.service) => {
                broken(7, "an outage began of what nobody can see")
            }
            Event::Begun { cause: crate::action::Cause::Recovery, .. } if self.is_out_of_reach(record.service) => {
                broken(7, "recovered on a host that cannot be reached")
            }
            Event::Held { reason: Hold::Dependency, behind: Some(root), .. } if self.is_out_of_reach(root) => {
                broken(7, "waits for what is on a host that cannot be reached")
            }
            Event::HostLost { host, .. } => {
                let account = self.hosts.entry(host).or_default();
                if account.up {
                    return broken(7, "told as lost, and its link stands");
                }
                if core::mem::replace(&mut account.lost, true) {
                    return broken(9, "a host was told as lost twice in one incident");
                }
                Ok(())
            }
            Event::HostBack { host, .. } => {
                let account = self.hosts.entry(host).or_default();
                account.lost = false;
                if account.up { Ok(()) } else { broken(7, "told as back, and its link is broken") }
            }
            _ => Ok(()),
        }
    }

    fn is_out_of_reach(&self, id: ServiceId) -> bool {
        let host = self.services.get(&id).and_then(|account| self.hosts.get(&account.host));
        host.is_some_and(|host| !host.up)
    }

    /// There is nobody left under whose name a host's return could be told.
    pub(super) fn hear_forgotten(&mut self, id: ServiceId) {
        let Some(host) = self.services.get(&id).map(|account| account.host) else { return };
        let is_left = self.services.values().any(|account| account.host == host && account.declared);
        if !is_left && let Some(host) = self.hosts.get_mut(&host) {
            host.lost = false;
        }
    }
}
