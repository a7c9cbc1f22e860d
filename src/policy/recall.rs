//! What outlives a service: given back to the one that is declared, taken from the one that is not declared any more.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::action::Action;
use crate::id::ServiceId;
use crate::maintenance::Ordered;
use crate::memory::{Memory, QuarantineMemory};
use crate::outage::Incident;
use crate::policy::Policy;
use crate::record::{Ending, Verdict};
use crate::service::{Attempt, Service};
use crate::spec::ServiceSpec;
use crate::time::Now;
use crate::turn::Turn;
use crate::view::QuarantineView;

impl Policy {
    /// With a host's first service comes what was charged to all of that host's, those included that are gone.
    pub(crate) fn recall_host(&mut self, spec: &ServiceSpec) {
        if core::mem::replace(&mut self.host_slot(spec.host).recalled, true) {
            return;
        }
        let host = &mut self.shared.hosts[usize::from(spec.host.0)];
        for memory in self.remembered.values().filter(|memory| memory.identity.host() == spec.identity.host()) {
            let for_credentials = memory.credential_charges.iter().map(|(_, charge)| charge);
            for charge in memory.charges.iter().chain(for_credentials) {
                host.charges.add(self.now.place(*charge));
            }
        }
    }

    /// Ends a service that is not declared any more. Should it come back, it has spent what it had spent.
    pub(crate) fn part_with(&mut self, id: ServiceId, out: &mut Vec<Action>) {
        self.leave_out(id, out);
        let Some(mut service) = self.services.get_mut(id.0 as usize).and_then(Option::take) else { return };
        if let Some(at) = service.timer {
            self.timers.remove(&(at, id));
        }
        let mut turn = Turn { now: self.now, shared: &mut self.shared, out };
        if let Some(attempt) = service.attempt() {
            service.end(&mut turn, attempt, Verdict::Superseded);
        }
        service.close_incident(&mut turn, Ending::Gone);
        service.let_go(&mut turn);
        self.shared.hosts[usize::from(service.spec.host.0)].weather.leave(id);
        self.remembered.insert(service.spec.identity.clone(), service.memory(self.now));
        self.stands_otherwise(id);
    }
}

impl Service {
    /// A newly declared service, with what is remembered of it.
    pub(crate) fn recalled(id: ServiceId, spec: Box<ServiceSpec>, memory: Option<Memory>, now: Now) -> Self {
        let mut service = Self::new(id, spec, now.mono);
        if let Some(memory) = memory {
            service.recall(memory, now);
        }
        service
    }

    fn recall(&mut self, memory: Memory, now: Now) {
        for charge in memory.charges {
            self.charges.add(now.place(charge));
        }
        for check in &mut self.checks {
            check.proven = memory.proven.contains(&check.spec.fingerprint);
        }
        self.proven = memory.proven;
        self.incident = memory.incident.map(|incident| Incident {
            id: incident.incident,
            opened: incident.opened,
            attempts: incident.attempts,
            failed: incident.failed,
            asked: None,
            noticed: None,
            dragged: false,
            acknowledged: incident.acknowledged,
            root: incident.root,
            muted: incident.root.is_some(),
            counts_from: None,
        });
        self.part_of = memory.part_of;
        self.untold = memory.alerts.iter().any(|announced| !announced.delivered);
        self.alerts = memory.alerts;
        self.streak = memory.streak;
        self.last_ended = memory.last_ended.map(|ended| now.place(ended));
        self.quarantine = memory.quarantine.map(|quarantine| {
            let since = now.place(quarantine.since);
            QuarantineView {
                since,
                trials: quarantine.trials,
                retry_at: quarantine.retry_after.map(|after| since + after),
            }
        });
        self.stopped = memory.stopped.map(|(instance, at)| (instance, now.place(at)));
        self.exited = memory.exited;
        self.healed_life = memory.healed_life;
        self.seen_running = memory.seen_running;
        self.paused = memory.paused;
        self.ordered = memory.maintenance.map(|order| Ordered::recalled(&order, now));
        if let Some(open) = memory.attempt {
            let begun = now.place(open.begun);
            let attempt = Attempt {
                id: open.attempt,
                step: open.step,
                cause: open.cause,
                instance: open.instance,
                was_well: false,
                undoable: false,
                begun,
                backstop: begun,
            };
            self.resolve(now.mono, attempt);
        }
    }

    /// The same as the store remembers it. Its attempt and its incident are over; what it was charged for credentials' sake
    /// stays on their own accounts and its host's.
    fn memory(&self, now: Now) -> Memory {
        Memory {
            identity: self.spec.identity.clone(),
            charges: self.charges.iter().map(|charge| now.at(charge)).collect(),
            credential_charges: Vec::new(),
            attempt: None,
            incident: None,
            part_of: self.part_of,
            alerts: self.alerts.clone(),
            streak: self.streak,
            last_ended: self.last_ended.map(|ended| now.at(ended)),
            quarantine: self.quarantine.map(|quarantine| QuarantineMemory {
                since: now.at(quarantine.since),
                trials: quarantine.trials,
                retry_after: quarantine.retry_at.map(|retry| retry.since(quarantine.since)),
            }),
            stopped: self.stopped.map(|(instance, at)| (instance, now.at(at))),
            exited: self.exited,
            healed_life: self.healed_life,
            seen_running: self.seen_running,
            paused: self.paused,
            maintenance: self.ordered.map(|order| order.memory(now)),
            proven: self.proven.clone(),
        }
    }
}
