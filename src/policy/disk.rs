//! A full disk under an engine: what keeps data there is not restarted, since a database that cannot write while it starts is
//! worse off than one that cannot write while it runs. Everything else is healed as ever.

use alloc::vec::Vec;

use crate::action::Action;
use crate::announce::HostAlert;
use crate::id::{HostId, ServiceId};
use crate::policy::Policy;
use crate::record::{Event, Hold, Record};
use crate::time::Mono;

impl Policy {
    /// Since when the disk of a host's engine is full, while it is.
    pub fn disk_full_since(&self, host: HostId) -> Option<Mono> {
        let full = self.shared.hosts.get(usize::from(host.0))?.disk_full?;
        Some(self.now.place(full.opened))
    }

    pub(crate) fn disk(&mut self, host: HostId, full: bool, out: &mut Vec<Action>) {
        match (self.host_slot(host).disk_full, full) {
            (None, true) => {
                let incident = self.shared.ids.incident();
                let alert = HostAlert { incident, opened: self.now, reason: Hold::DiskFull };
                self.host_slot(host).disk_full = Some(alert);
                self.record_disk(host, Event::DiskFilled { host }, out);
                self.tell_of_host(host, incident, self.keeper_of_data(host), out);
            }
            (Some(alert), false) => {
                self.host_slot(host).disk_full = None;
                let lasted = self.now.mono.since(self.now.place(alert.opened));
                self.record_disk(host, Event::DiskFreed { host, lasted }, out);
                self.tell_end_of(host, alert.incident);
            }
            _ => return,
        }
        for id in self.ids(|service| service.spec.host == host && service.trouble.is_some()) {
            self.with(id, out, |service, turn| service.review(turn, None));
        }
    }

    /// In whose name a host's full disk is told: of the first service that it holds, else of the first that there is.
    fn keeper_of_data(&self, host: HostId) -> Option<ServiceId> {
        let here = self.services.iter().flatten().filter(|service| service.spec.host == host && !service.leaving);
        here.min_by_key(|service| (!service.spec.stateful, service.id)).map(|service| service.id)
    }

    fn record_disk(&self, host: HostId, event: Event, out: &mut Vec<Action>) {
        if let Some(service) = self.keeper_of_data(host) {
            out.push(Action::Record(Record { now: self.now, service, incident: None, event }));
        }
    }
}
