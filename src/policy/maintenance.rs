//! Maintenance: a calendar's windows, of which the policy hears, and those that a person orders, which it keeps.

use alloc::vec::Vec;

use crate::action::Action;
use crate::id::ServiceId;
use crate::memory::{Memory, OrderedMaintenance};
use crate::policy::Policy;
use crate::record::Event;
use crate::service::Service;
use crate::time::{Mono, Now};
use crate::turn::Turn;

/// A person's newest word on maintenance: where they ended it, `until` is when they did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Ordered {
    pub(crate) since: Mono,
    pub(crate) until: Mono,
    pub(crate) everything: bool,
}

impl Ordered {
    pub(crate) fn recalled(order: &OrderedMaintenance, now: Now) -> Self {
        let since = now.place(order.since);
        Self { since, until: since + order.lasting, everything: order.everything }
    }

    pub(crate) fn memory(&self, now: Now) -> OrderedMaintenance {
        let Self { since, until, everything } = *self;
        OrderedMaintenance { since: now.at(since), lasting: until.since(since), everything }
    }
}

/// The newest order for everything, be it an end, as far as any service remembers it. Who was not there when it was given
/// remembers an older one, which does not count any more.
pub(crate) fn of_everything(services: &mut [Memory], now: Now) -> Option<Ordered> {
    let all = services.iter_mut().map(|memory| &mut memory.maintenance);
    let all: Vec<_> = all.filter(|order| order.is_some_and(|order| order.everything)).collect();
    let since = |order: &Option<OrderedMaintenance>| order.map(|order| now.place(order.since));
    let newest = all.iter().max_by_key(|order| since(order)).and_then(|order| **order)?;
    for order in all {
        *order = Some(newest);
    }
    Some(Ordered::recalled(&newest, now))
}

impl Service {
    /// When its maintenance ends; none when it is not under any.
    pub(crate) fn maintained_until(&self, now: Mono) -> Option<Mono> {
        let ends = self.window.into_iter().chain(self.ordered.map(|order| order.until));
        ends.filter(|until| *until > now).max()
    }

    pub(crate) fn maintain(&mut self, turn: &mut Turn<'_>, until: Mono, everything: bool) {
        let since = turn.now.mono;
        self.ordered = Some(Ordered { since, until, everything });
        self.record(turn, Event::MaintenanceBegan { lasting: until.since(since), everything });
    }

    pub(crate) fn end_maintenance(&mut self, turn: &mut Turn<'_>, everything: bool) {
        let now = turn.now.mono;
        // One of them remembers the end of everything for those who are not there now.
        if self.maintained_until(now).is_some() || everything && turn.shared.everything.is_some() {
            self.record(turn, Event::MaintenanceEnded { everything });
        }
        (self.window, self.ordered) = (None, Some(Ordered { since: now, until: now, everything }));
    }
}

impl Policy {
    /// When a person last ended a service's maintenance, where that is their newest word on it.
    pub fn maintenance_ended(&self, service: ServiceId) -> Option<Mono> {
        let ordered = self.service(service)?.ordered?;
        (ordered.until == ordered.since).then_some(ordered.since)
    }

    /// A service that is declared while everything is under maintenance is under it as well, unless a person has said
    /// otherwise of it since.
    pub(crate) fn cover(&mut self, id: ServiceId, out: &mut Vec<Action>) {
        let Some(order) = self.shared.everything.filter(|order| order.until > self.now.mono) else { return };
        self.with(id, out, |service, turn| {
            if service.ordered.is_none_or(|own| own.since < order.since) {
                service.maintain(turn, order.until, true);
            }
        });
    }
}
