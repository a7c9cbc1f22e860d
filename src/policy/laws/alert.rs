//! One alert per outage: nothing is told twice under another key, nothing while a person takes care of it or while the outage
//! that it is part of was told, and an end only of what was told.

use alloc::collections::{BTreeMap, BTreeSet};

use super::{Judgement, Judges, Violation};
use crate::alert::{Alert, AlertKey};
use crate::id::{IncidentId, ServiceId};
use crate::input::Order;
use crate::memory::{Memory, OpenIncident};
use crate::record::{AlertKind, Event, Record};
use crate::time::{Mono, Now};

/// Histories that are kept before those that are over are forgotten.
const HISTORIES: usize = 10_000;

/// What the judges know of outages, and of what was told of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    outages: BTreeMap<ServiceId, Outage>,
    going_on: BTreeSet<IncidentId>,
    /// Of each outage that was told: which reminder is the newest, and what was taken.
    told: BTreeMap<IncidentId, History>,
}

/// The outage that a service is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    incident: IncidentId,
    root: Option<IncidentId>,
    /// A person takes care of it until then.
    acknowledged: Option<Mono>,
}

#[derive(Debug, Clone, Default)]
struct History {
    reminders: u32,
    ended: bool,
    taken: BTreeSet<AlertKey>,
}

impl Outage {
    pub(super) fn remembered(open: &OpenIncident, now: Now) -> Self {
        let until = |lasting: Option<_>, since| lasting.map_or(Mono(i64::MAX), |lasting| now.place(since) + lasting);
        let acknowledged = open.acknowledged.map(|by| until(by.lasting, by.since));
        Self { incident: open.incident, root: open.root, acknowledged }
    }
}

impl Told {
    /// What was told before this run.
    pub(super) fn restored<'a>(services: impl Iterator<Item = &'a Memory>) -> Self {
        let mut told = Self::default();
        for announced in services.flat_map(|memory| &memory.alerts) {
            let history = told.told.entry(announced.key.incident).or_default();
            history.note(announced.key);
            if announced.delivered {
                history.taken.insert(announced.key);
            }
        }
        told
    }

    pub(super) fn hear_outage(&mut self, service: ServiceId, outage: Option<Outage>) {
        if let Some(outage) = outage {
            self.going_on.insert(outage.incident);
            self.outages.insert(service, outage);
        }
    }

    pub(super) fn hear_delivered(&mut self, key: AlertKey) {
        if key.kind == AlertKind::Resolved {
            self.told.remove(&key.incident);
        } else if let Some(history) = self.told.get_mut(&key.incident) {
            history.taken.insert(key);
        }
    }

    pub(super) fn hear_order(&mut self, service: ServiceId, order: &Order) {
        if let (Order::Acknowledge { until }, Some(outage)) = (order, self.outages.get_mut(&service)) {
            outage.acknowledged = Some(until.unwrap_or(Mono(i64::MAX)));
        }
    }

    pub(super) fn hear_record(&mut self, record: &Record) {
        match record.event {
            Event::IncidentOpened { .. } => {
                let outage = |incident| Outage { incident, root: None, acknowledged: None };
                self.hear_outage(record.service, record.incident.map(outage));
            }
            Event::Joined { root } => {
                if let Some(outage) = self.outages.get_mut(&record.service) {
                    outage.root = Some(root);
                }
            }
            Event::IncidentClosed { .. } => {
                if let Some(outage) = self.outages.remove(&record.service) {
                    self.going_on.remove(&outage.incident);
                }
            }
            _ => {}
        }
    }
}

impl History {
    fn note(&mut self, key: AlertKey) {
        match key.kind {
            AlertKind::NotHealed => {}
            AlertKind::Reminder => self.reminders = self.reminders.max(key.ordinal),
            AlertKind::Resolved => self.ended = true,
        }
    }
}

impl Judges {
    pub(super) fn law_9(&mut self, alert: &Alert, now: Mono) -> Judgement {
        let broken = |what| Err(Violation { law: 9, service: alert.service, what });
        let Alert { key, service, host, .. } = *alert;
        let is_loud = key.kind != AlertKind::Resolved;
        let history = self.told.told.get(&key.incident);
        if history.is_some_and(|history| history.taken.contains(&key)) {
            return broken("told again what was taken already");
        }
        if is_loud && history.is_some_and(|history| history.ended) {
            return broken("told of an outage whose end was told");
        }
        if is_loud && host.is_none() {
            let Some(outage) = self.told.outages.get(&service).filter(|outage| outage.incident == key.incident) else {
                return broken("told of an outage that the service is not in");
            };
            if outage.acknowledged.is_some_and(|until| until > now) {
                return broken("told of an outage that a person takes care of");
            }
            if self.services.get(&service).is_some_and(|account| account.is_maintained(now)) {
                return broken("told of what is under maintenance");
            }
            let is_told = |root: &IncidentId| self.told.told.get(root).is_some_and(|history| !history.ended);
            if outage.root.is_some_and(|root| self.told.going_on.contains(&root) && is_told(&root)) {
                return broken("told of an outage that is part of one that was told");
            }
        }
        let is_next = key.ordinal > 0
            && match (key.kind, history) {
                (AlertKind::NotHealed, history) => {
                    key.ordinal == 1 && history.is_none_or(|history| history.reminders == 0)
                }
                (AlertKind::Reminder, Some(history)) => {
                    (history.reminders..=history.reminders + 1).contains(&key.ordinal)
                }
                (AlertKind::Resolved, Some(_)) => key.ordinal == 1 && !self.told.going_on.contains(&key.incident),
                (AlertKind::Reminder | AlertKind::Resolved, None) => false,
            };
        // Ends that nobody takes must not pile up.
        if self.told.told.len() >= HISTORIES {
            self.told.told.retain(|_, history| !history.ended);
        }
        if !is_next {
            return broken("told something that does not follow from what was told before");
        }
        self.told.told.entry(key.incident).or_default().note(key);
        Ok(())
    }
}
