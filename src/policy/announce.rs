//! One alert per outage (law 9): what is healed quietly is quiet, what is not healed is told, once, with everyone who is
//! affected; then again every few hours as long as it lasts, and its end once. Whoever is part of another's outage is listed
//! there and not told; so are a host's services while the host itself is in trouble.
//!
//! | Iaso does nothing since | it is told |
//! | --- | --- |
//! | `notice` | at once |
//! | `quarantine`, `mode` (`notify`), `never_succeeded`, `not_permitted`, `unknown_stop`, `orchestrated`, `self`, `internal`, a budget that allows nothing | at once; two minutes after the beginning where what it needs may yet turn out to be the cause |
//! | `paused`, `container_paused`, `operator_stopped`, `maintenance`, `planned_change`, `completed`, `mode` (`off`), or somebody acknowledged it | not, as long as that is so |
//! | anything else, or it is being healed | when it has lasted 15 minutes |
//!
//! That a check has never worked is told of one outage, and of another one four hours later at the earliest, until it has worked:
//! a program that dies and comes back every minute would tell it every minute.
//!
//! What was decided and not delivered is announced again after a restart, under the same key.

use alloc::vec::Vec;
use core::time::Duration;

use crate::action::Action;
use crate::alert::{self, Alert, AlertKey, Announced};
use crate::id::{HostId, IncidentId, ServiceId};
use crate::input::Exempt;
use crate::outage::Incident;
use crate::policy::Policy;
use crate::record::{AlertKind, Ending, Event, Hold, Record};
use crate::service::Service;
use crate::spec::Mode;
use crate::time::{Mono, Now};
use crate::turn::Turn;

/// An outage that lasts so long is told, whatever is being done about it.
const LASTS: Duration = Duration::from_secs(900);

/// What something it needs may yet turn out to be the cause of is told only then.
const CAUSE_FOUND: Duration = Duration::from_secs(120);

/// Between one reminder and the next.
const REMINDS: Duration = Duration::from_secs(4 * 3600);

/// After its start Iaso first finds out how things stand.
const LEARNS: Duration = Duration::from_secs(30);

/// A host that was lost, and cannot be reached for so long, is told.
const LOST: Duration = Duration::from_secs(300);

/// How loud it is that nothing is done.
enum Loudness {
    AtOnce,
    IfItLasts,
    Never,
}

/// A host's own trouble that was told.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct HostAlert {
    pub(crate) incident: IncidentId,
    pub(crate) opened: Now,
    pub(crate) reason: Hold,
}

impl Policy {
    /// A reporter has taken an announcement. Whom it is about may not be watched any more.
    pub(crate) fn delivered(&mut self, service: ServiceId, key: AlertKey, out: &mut Vec<Action>) {
        if self.service(service).is_some() {
            self.with(service, out, |service, turn| {
                if service.alerts.iter().any(|known| known.key == key && !known.delivered) {
                    alert::deliver(&mut service.alerts, key);
                    service.record(turn, Event::Delivered { key });
                }
            });
            return;
        }
        let is_open = |known: &Announced| known.key == key && !known.delivered;
        if let Some(memory) = self.remembered.values_mut().find(|memory| memory.alerts.iter().any(is_open)) {
            alert::deliver(&mut memory.alerts, key);
            let record = Record { now: self.now, service, incident: None, event: Event::Delivered { key } };
            out.push(Action::Record(record));
        }
    }

    /// When a host that was lost is to be told of.
    pub(crate) fn losses_due(&self) -> impl Iterator<Item = Mono> {
        self.shared.hosts.iter().filter_map(|host| host.loss_to_tell().map(|(_, since)| since + LOST))
    }

    /// Tells of hosts that have been lost for long, each under the incident of its loss.
    pub(crate) fn tell_losses(&mut self, out: &mut Vec<Action>) {
        for place in 0..self.shared.hosts.len() {
            let host = HostId(u16::try_from(place).unwrap_or(u16::MAX));
            let slot = &mut self.shared.hosts[place];
            if let Some((incident, since)) = slot.loss_to_tell().filter(|(_, since)| *since + LOST <= self.now.mono) {
                slot.loss_is_told();
                let opened = self.now.at(since);
                self.announce_host(host, HostAlert { incident, opened, reason: Hold::HostDown }, None, out);
            }
        }
    }

    /// Tells of a host, in the name of a service of its own: of this one, or else of the first.
    pub(crate) fn announce_host(
        &mut self,
        host: HostId,
        alert: HostAlert,
        first: Option<ServiceId>,
        out: &mut Vec<Action>,
    ) {
        self.host_slot(host).alert = Some(alert);
        self.tell_of_host(host, alert.incident, first, out);
    }

    /// Tells of a trouble that the host has.
    pub(crate) fn tell_of_host(
        &mut self,
        host: HostId,
        incident: IncidentId,
        first: Option<ServiceId>,
        out: &mut Vec<Action>,
    ) {
        let first = first.or_else(|| self.ids(|service| service.spec.host == host).first().copied());
        if let Some(first) = first.filter(|_| !self.shared.stopping) {
            self.with(first, out, |service, turn| {
                let key = AlertKey { incident, kind: AlertKind::NotHealed, ordinal: 1 };
                let announced = service.announced(turn, key, None);
                service.say(turn, announced);
                turn.shared.tellable.insert(service.id);
            });
        }
    }

    /// The host is itself again: that is told by whoever told of its trouble.
    pub(crate) fn host_is_well(&mut self, host: HostId, reason: Hold) {
        let Some(alert) = self.host_slot(host).alert.take_if(|alert| alert.reason == reason) else { return };
        self.tell_end_of(host, alert.incident);
    }

    /// A trouble that the host had is over.
    pub(crate) fn tell_end_of(&mut self, host: HostId, incident: IncidentId) {
        let tellers = self.ids(|service| alert::told(&service.alerts, incident).is_some());
        let held = self.ids(|service| service.spec.host == host && service.incident.is_some());
        self.shared.tellable.extend(tellers.into_iter().chain(held));
    }
}

impl Service {
    /// Tells what is due, and says when to look at it again.
    pub(crate) fn announce(&mut self, turn: &mut Turn<'_>) {
        self.tell_at = None;
        let now = turn.now.mono;
        let learned = turn.shared.started + LEARNS;
        if turn.shared.stopping || self.leaving || (self.incident.is_none() && self.alerts.is_empty()) {
            return;
        }
        if now < learned {
            self.tell_at = Some(learned);
        } else {
            self.tell_again(turn);
            self.tell_ends_that_died(turn);
            self.tell_ends_again(turn);
            self.tell_end_of_its_host(turn);
            self.remind_of_its_host(turn);
            if let Some(incident) = self.incident {
                self.tell_of_its_outage(turn, incident);
            }
        }
        self.schedule(turn);
    }

    /// What a run before this one had decided and could not deliver.
    fn tell_again(&mut self, turn: &mut Turn<'_>) {
        if !core::mem::take(&mut self.untold) {
            return;
        }
        let is_muted = self.incident.is_none_or(|incident| self.is_muted(turn, &incident));
        for known in self.alerts.clone() {
            // What asks for attention is told while it may be; what has ended meanwhile is told as ended.
            let is_of_its_own = self.incident.is_some_and(|incident| incident.id == known.key.incident);
            let may_be_told = known.key.kind == AlertKind::Resolved || (is_of_its_own && !is_muted);
            if !known.delivered && may_be_told {
                let alert = self.alert(turn, &known);
                turn.out.push(Action::Announce(alert));
            }
        }
    }

    /// What has ended, and a run before this one died before it could say so.
    fn tell_ends_that_died(&mut self, turn: &mut Turn<'_>) {
        while let Some(known) = alert::untold_end(&self.alerts).copied() {
            let key = AlertKey { kind: AlertKind::Resolved, ordinal: 1, ..known.key };
            self.say(turn, Announced { key, at: turn.now, reason: None, delivered: false, ..known });
        }
    }

    /// An end that nobody has taken is told again as seldom as a reminder.
    fn tell_ends_again(&mut self, turn: &mut Turn<'_>) {
        for place in 0..self.alerts.len() {
            let known = self.alerts[place];
            if known.key.kind != AlertKind::Resolved || known.delivered {
                continue;
            }
            let due = turn.now.place(known.at) + REMINDS;
            if turn.now.mono >= due {
                self.alerts[place].at = turn.now;
                let alert = self.alert(turn, &known);
                turn.out.push(Action::Announce(alert));
            }
            self.tell_by(if turn.now.mono >= due { turn.now.mono + REMINDS } else { due });
        }
    }

    fn tell_by(&mut self, at: Mono) {
        self.tell_at = Some(self.tell_at.map_or(at, |known| known.min(at)));
    }

    /// The host's trouble that was told in this service's name may be over.
    fn tell_end_of_its_host(&mut self, turn: &mut Turn<'_>) {
        let host = turn.host(self.spec.host);
        let goes_on = |incident: IncidentId| host.troubles().any(|alert| alert.incident == incident);
        if !host.up {
            return;
        }
        let ended: Vec<Announced> = self
            .alerts
            .iter()
            .filter(|known| known.of_host && known.key.kind != AlertKind::Resolved)
            .filter(|known| !goes_on(known.key.incident) && !self.is_resolved(known.key.incident))
            .copied()
            .collect();
        for known in ended {
            let key = AlertKey { kind: AlertKind::Resolved, ordinal: 1, ..known.key };
            self.say(turn, Announced { key, at: turn.now, ending: Some(Ending::Recovered), delivered: false, ..known });
        }
    }

    /// The host's trouble that was told in this service's name goes on.
    fn remind_of_its_host(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let troubles: Vec<IncidentId> = turn.host(self.spec.host).troubles().map(|alert| alert.incident).collect();
        for incident in troubles {
            let Some(told) = alert::told(&self.alerts, incident).copied() else { continue };
            let due = turn.now.place(told.at) + REMINDS;
            if now >= due {
                self.remind(turn, told);
            }
            self.tell_by(if now >= due { now + REMINDS } else { due });
        }
    }

    fn tell_of_its_outage(&mut self, turn: &mut Turn<'_>, incident: Incident) {
        let now = turn.now.mono;
        let is_muted = self.is_muted(turn, &incident);
        let counts_from = match incident.muted {
            true if !is_muted => now,
            _ => incident.counts_from.unwrap_or_else(|| turn.now.place(incident.opened)),
        };
        if let Some(incident) = &mut self.incident {
            (incident.muted, incident.counts_from) = (is_muted, Some(counts_from));
        }
        if is_muted {
            // It holds until then, unless it is taken back.
            if let Some(until) = incident.acknowledged_until(turn.now) {
                self.tell_by(until);
            }
            return;
        }
        let told = alert::told(&self.alerts, incident.id).copied();
        let due = match (&told, self.loudness()) {
            (_, Loudness::Never) => return,
            (Some(told), _) => (turn.now.place(told.at) + REMINDS).max(counts_from + LASTS),
            (None, Loudness::IfItLasts) => counts_from + LASTS,
            (None, Loudness::AtOnce) if self.cause_may_be_found(turn) => counts_from + CAUSE_FOUND,
            (None, Loudness::AtOnce) => counts_from,
        };
        let due = due.max(self.unproven_again(turn).unwrap_or(due));
        if now < due {
            self.tell_by(due);
            return;
        }
        if self.stable.is_some() {
            // It looks well, and the next observation says whether it stays so.
            return;
        }
        match told {
            None => self.say_next(turn, incident.id, AlertKind::NotHealed, 1),
            Some(told) => self.remind(turn, told),
        }
        self.tell_by(now + REMINDS);
    }

    /// Tells again of what people were told of, and what goes on.
    fn remind(&mut self, turn: &mut Turn<'_>, told: Announced) {
        let AlertKey { incident, kind, ordinal } = told.key;
        if told.delivered {
            self.say_next(
                turn,
                incident,
                AlertKind::Reminder,
                if kind == AlertKind::Reminder { ordinal + 1 } else { 1 },
            );
            return;
        }
        // Nobody has taken it: the same again, rather than a reminder of what nobody has heard.
        for known in self.alerts.iter_mut().filter(|known| known.key == told.key) {
            known.at = turn.now;
        }
        let alert = self.alert(turn, &told);
        turn.out.push(Action::Announce(alert));
    }

    /// Tells the end of an outage that people were told of.
    pub(crate) fn announce_end(&mut self, turn: &mut Turn<'_>, incident: IncidentId, ending: Ending) {
        if alert::told(&self.alerts, incident).is_some() && !self.is_resolved(incident) {
            let key = AlertKey { incident, kind: AlertKind::Resolved, ordinal: 1 };
            let announced = self.announced(turn, key, Some(ending));
            self.say(turn, announced);
        }
    }

    fn is_resolved(&self, incident: IncidentId) -> bool {
        self.alerts.iter().any(|known| known.key.incident == incident && known.key.kind == AlertKind::Resolved)
    }

    /// It is told elsewhere, or to be left alone.
    fn is_muted(&self, turn: &Turn<'_>, incident: &Incident) -> bool {
        let host = turn.host(self.spec.host);
        incident.root.is_some_and(|root| turn.shared.goes_on(root))
            || host.storm.is_some()
            || !host.up
            || self.paused
            || self.maintained_until(turn.now.mono).is_some()
            || incident.acknowledged_at(turn.now).is_some()
            || matches!(self.loudness(), Loudness::Never)
    }

    /// When it may be told again that a check has never worked, where that is the reason.
    fn unproven_again(&self, turn: &Turn<'_>) -> Option<Mono> {
        self.hold.filter(|hold| hold.reason == Hold::NeverSucceeded)?;
        let told = alert::told_unproven(&self.alerts)?;
        Some(turn.now.place(told.at) + REMINDS)
    }

    /// Something that it needs may turn out to be the cause. A notice cannot wait for that.
    fn cause_may_be_found(&self, turn: &Turn<'_>) -> bool {
        turn.shared.needy.contains(&self.id) && self.hold.is_none_or(|hold| hold.reason != Hold::Notice)
    }

    fn loudness(&self) -> Loudness {
        let Some(hold) = self.hold else { return Loudness::IfItLasts };
        match hold.reason {
            Hold::Paused
            | Hold::ContainerPaused
            | Hold::OperatorStopped
            | Hold::Maintenance
            | Hold::PlannedChange
            | Hold::Completed => Loudness::Never,
            Hold::Mode if self.spec.recovery.mode == Mode::Off || self.is_disabled() => Loudness::Never,
            Hold::Mode if self.spec.recovery.mode == Mode::Notify => Loudness::AtOnce,
            Hold::Budget | Hold::HostBudget if hold.until.is_none() => Loudness::AtOnce,
            Hold::Quarantine
            | Hold::Notice
            | Hold::NeverSucceeded
            | Hold::NotPermitted
            | Hold::UnknownStop
            | Hold::Orchestrated
            | Hold::Itself
            | Hold::Internal => Loudness::AtOnce,
            Hold::Mode
            | Hold::Budget
            | Hold::HostBudget
            | Hold::DiskFull
            | Hold::Dependency
            | Hold::Backoff
            | Hold::Concurrency
            | Hold::StartPeriod
            | Hold::QuietStart
            | Hold::MassFailure
            | Hold::HostDown
            | Hold::InFlight
            | Hold::EngineRestarting
            | Hold::Observe
            | Hold::Store => Loudness::IfItLasts,
        }
    }

    fn is_disabled(&self) -> bool {
        self.container.is_some_and(|container| container.exempt == Some(Exempt::Disabled))
    }

    fn say_next(&mut self, turn: &mut Turn<'_>, incident: IncidentId, kind: AlertKind, ordinal: u32) {
        let announced = self.announced(turn, AlertKey { incident, kind, ordinal }, None);
        self.say(turn, announced);
    }

    /// What is to be told of its own outage, or, under another outage's id, of its host.
    fn announced(&self, turn: &Turn<'_>, key: AlertKey, ending: Option<Ending>) -> Announced {
        let own = self.incident.filter(|incident| incident.id == key.incident);
        let of_host =
            turn.host(self.spec.host).troubles().find(|alert| own.is_none() && alert.incident == key.incident);
        let opened = own.map(|own| own.opened).or(of_host.map(|alert| alert.opened)).unwrap_or(turn.now);
        let reason = match own {
            Some(_) => self.hold.map(|hold| hold.reason),
            None => of_host.map(|alert| alert.reason),
        };
        let reason = reason.filter(|_| ending.is_none());
        Announced { key, at: turn.now, opened, of_host: own.is_none(), reason, ending, delivered: false }
    }

    /// On record first: what is recorded and not delivered is announced again.
    fn say(&mut self, turn: &mut Turn<'_>, announced: Announced) {
        let Announced { key, opened, of_host, reason, ending, .. } = announced;
        alert::decide(&mut self.alerts, announced);
        self.record(turn, Event::Announced { key, opened, of_host, reason, ending });
        let alert = self.alert(turn, &announced);
        turn.out.push(Action::Announce(alert));
    }

    fn alert(&self, turn: &Turn<'_>, announced: &Announced) -> Alert {
        let Announced { key, opened, of_host, reason, ending, .. } = *announced;
        let own = self.incident.filter(|incident| incident.id == key.incident);
        let affected = turn.shared.outages.get(&key.incident);
        let mut affected: Vec<ServiceId> = affected.iter().flat_map(|outage| &outage.affected).copied().collect();
        let host = turn.host(self.spec.host);
        let is_storm = host.alert.is_some_and(|alert| of_host && alert.incident == key.incident);
        if let Some(storm) = host.storm.as_ref().filter(|_| is_storm) {
            affected.extend(storm.members.keys());
        }
        Alert {
            key,
            service: self.id,
            host: of_host.then_some(self.spec.host),
            opened,
            trouble: own.and(self.trouble),
            reason,
            until: own.and(self.hold).filter(|hold| Some(hold.reason) == reason).and_then(|hold| hold.until),
            attempts: own.map_or(0, |own| own.attempts),
            failed: own.map_or(0, |own| own.failed),
            affected,
            ending,
        }
    }
}
