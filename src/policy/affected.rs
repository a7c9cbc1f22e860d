//! Whose outage is part of whose: while something that a service needs is in an outage and drags it down, the service's own
//! outage belongs to that one, whichever of the two began first. The root lists everyone who was part of its outage, those
//! included that have got well meanwhile.
//!
//! Whoever is still broken when the root is well stays listed there, and is on its own account from then on. An outage that
//! began long before the root's has a cause of its own, and belongs to nobody.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::Action;
use crate::alert;
use crate::id::{IncidentId, ServiceId};
use crate::policy::Policy;
use crate::record::Event;
use crate::service::Service;
use crate::time::Mono;
use crate::turn::{Shared, Turn};

/// A dependent may be noticed so much sooner than its root: a check of the root's may be as slow as that.
const NOTICED_BEFORE: Duration = Duration::from_secs(300);

/// An outage that goes on.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Outage {
    pub(crate) opened: Mono,
    /// Whoever is or was part of it.
    pub(crate) affected: BTreeSet<ServiceId>,
}

impl Shared {
    /// Whether this outage goes on.
    pub(crate) fn goes_on(&self, incident: IncidentId) -> bool {
        self.outages.contains_key(&incident)
    }

    /// From now on it goes on.
    pub(crate) fn note_outage(&mut self, service: ServiceId, incident: IncidentId, opened: Mono) {
        self.outages.insert(incident, Outage { opened, affected: BTreeSet::new() });
        self.unsorted.insert(service);
    }

    /// It is over: whoever was part of it may be part of another's.
    pub(crate) fn end_outage(&mut self, incident: IncidentId) {
        let ended = self.outages.remove(&incident);
        for affected in ended.into_iter().flat_map(|outage| outage.affected) {
            self.unsorted.insert(affected);
            self.tellable.insert(affected);
        }
    }
}

impl Policy {
    /// Tells whose outage a service's is part of, and whose are part of it.
    pub(crate) fn sort_outage(&mut self, id: ServiceId, out: &mut Vec<Action>) {
        self.join(id, out);
        for dependent in self.graph.dependents(id) {
            self.join(dependent, out);
        }
    }

    /// Takes in the outage that a service was in when Iaso ended, and whose it was part of. The root may be declared later.
    pub(crate) fn recall_outage(&mut self, id: ServiceId) {
        let Some(service) = self.service(id) else { return };
        let (incident, part_of) = (service.incident, service.part_of);
        if let Some(incident) = incident {
            let opened = self.now.place(incident.opened);
            self.shared.note_outage(id, incident.id, opened);
            let parts = self.ids(|service| service.part_of == Some(incident.id));
            if let Some(outage) = self.shared.outages.get_mut(&incident.id) {
                outage.affected.extend(parts);
            }
        }
        if let Some(outage) = part_of.and_then(|root| self.shared.outages.get_mut(&root)) {
            outage.affected.insert(id);
        }
    }

    /// Whose outages are, or were, part of the one that this service is in.
    pub(crate) fn affected_by(&self, service: &Service) -> Vec<ServiceId> {
        let outage = service.incident.and_then(|incident| self.shared.outages.get(&incident.id));
        outage.map(|outage| outage.affected.iter().copied().collect()).unwrap_or_default()
    }

    fn join(&mut self, id: ServiceId, out: &mut Vec<Action>) {
        let Some((own, root)) = self.root_of(id) else { return };
        self.with(id, out, |service, turn| service.join(turn, root));
        // Whoever was part of its outage is part of the same one now.
        let parts = self.shared.outages.get(&own).map(|outage| outage.affected.clone()).unwrap_or_default();
        for part in parts {
            self.with(part, out, |service, turn| {
                if service.incident.is_some_and(|incident| incident.root == Some(own)) {
                    service.join(turn, root);
                }
            });
        }
    }

    /// The outage that a service is in, and the one that it is from now on part of.
    fn root_of(&self, id: ServiceId) -> Option<(IncidentId, IncidentId)> {
        let service = self.service(id)?;
        let incident = service.incident?;
        let shared = &self.shared;
        let goes_on = |root: &IncidentId| shared.goes_on(*root);
        // Of what people were told on its own account they are told the end on its own account.
        if incident.root.as_ref().is_some_and(goes_on) || alert::told(&service.alerts, incident.id).is_some() {
            return None;
        }
        let opened = self.now.place(incident.opened);
        let fits = |root: &IncidentId| {
            let began = shared.outages.get(root).map(|outage| outage.opened);
            *root != incident.id
                && began.is_some_and(|began| incident.root.is_some() || began.since(opened) <= NOTICED_BEFORE)
        };
        let theirs = |needed: ServiceId| {
            let incident = self.service(needed)?.incident?;
            Some(incident.root.filter(goes_on).unwrap_or(incident.id))
        };
        let root = self.broken_needs(id).into_iter().filter_map(theirs).find(fits)?;
        Some((incident.id, root))
    }
}

impl Service {
    fn join(&mut self, turn: &mut Turn<'_>, root: IncidentId) {
        let Some(incident) = &mut self.incident else { return };
        incident.root = Some(root);
        self.part_of = Some(root);
        if let Some(outage) = turn.shared.outages.get_mut(&root) {
            outage.affected.insert(self.id);
        }
        self.record(turn, Event::Joined { root });
    }
}
