//! A full disk under an engine: what keeps data there is not restarted, since a database that cannot write while it starts is
//! worse off than one that cannot write while it runs. Everything else is healed as ever.

use alloc::vec::Vec;

use crate::action::Action;
use crate::id::HostId;
use crate::policy::Policy;
use crate::record::{Event, Record};
use crate::time::Mono;

impl Policy {
    /// Since when the disk of a host's engine is full, while it is.
    pub fn disk_full_since(&self, host: HostId) -> Option<Mono> {
        self.shared.hosts.get(usize::from(host.0))?.disk_full
    }

    pub(crate) fn disk(&mut self, host: HostId, full: bool, out: &mut Vec<Action>) {
        let now = self.now.mono;
        let slot = self.host_slot(host);
        let event = match (slot.disk_full, full) {
            (None, true) => {
                slot.disk_full = Some(now);
                Event::DiskFilled { host }
            }
            (Some(since), false) => {
                slot.disk_full = None;
                Event::DiskFreed { host, lasted: now.since(since) }
            }
            _ => return,
        };
        self.record_disk(host, event, out);
        for id in self.ids(|service| service.spec.host == host && service.trouble.is_some()) {
            self.with(id, out, |service, turn| service.review(turn, None));
        }
    }

    /// Tells of it once for the host, under the name of the first service that it holds, else of the first there is.
    fn record_disk(&self, host: HostId, event: Event, out: &mut Vec<Action>) {
        let here = self.services.iter().flatten().filter(|service| service.spec.host == host && !service.leaving);
        let Some(service) = here.min_by_key(|service| (!service.spec.stateful, service.id)) else { return };
        out.push(Action::Record(Record { now: self.now, service: service.id, incident: None, event }));
    }
}
