//! A host whose engine cannot be reached is one incident, however many services it has (law 7): nobody can tell how they are,
//! so each is `unknown`, none begins an outage and none is acted on.
//!
//! A break shorter than [`crate::spec::FleetSpec::host_lost_after`] is none: an engine that is upgraded, or a link that is made
//! again, is told in `/health` and by nobody else. The incident ends once the link has held [`HOLDS`] times as long, so that a
//! host that comes and goes is told once. It does not outlive Iaso.

use alloc::vec::Vec;

use crate::action::Action;
use crate::id::{HostId, IncidentId, ServiceId};
use crate::input::HostLink;
use crate::policy::Policy;
use crate::record::{Event, Hold, Record};
use crate::spec::FleetSpec;
use crate::time::Mono;
use crate::turn::Host;
use crate::view::HostLossView;

/// A host is back once its link has held so many times as long as it takes to count as lost.
const HOLDS: u32 = 4;

/// A host that was up cannot be reached, or has only just come back.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Loss {
    id: IncidentId,
    /// When the link broke.
    since: Mono,
    /// Since when it stands again, while it does.
    back: Option<Mono>,
    /// There was a service to tell of it.
    told: bool,
    /// People were alerted: once, whatever else befalls the host meanwhile.
    alerted: bool,
}

impl Host {
    /// When what has become of the link is to be looked at by itself.
    fn loss_wake(&self, fleet: &FleetSpec) -> Option<Mono> {
        let lost_after = fleet.host_lost_after;
        match &self.loss {
            Some(loss) => loss.back.map(|back| back + lost_after * HOLDS),
            None if self.reached && !self.up => self.down_since.map(|since| since + lost_after),
            None => None,
        }
    }

    /// Its loss, while nobody was alerted and it cannot be reached: the incident, and since when.
    pub(crate) fn loss_to_tell(&self) -> Option<(IncidentId, Mono)> {
        let loss = self.loss.as_ref().filter(|loss| loss.back.is_none() && !loss.alerted && self.alert.is_none())?;
        Some((loss.id, loss.since))
    }

    pub(crate) fn loss_is_told(&mut self) {
        if let Some(loss) = &mut self.loss {
            loss.alerted = true;
        }
    }
}

impl Policy {
    /// The incident of a host that was lost, while it goes on.
    pub fn host_loss(&self, host: HostId) -> Option<HostLossView> {
        let slot = self.shared.hosts.get(usize::from(host.0))?;
        slot.loss.as_ref().map(|loss| HostLossView { incident: loss.id, since: loss.since, back: loss.back })
    }

    /// When a host is to be looked at by itself.
    pub(crate) fn hosts_wake(&self) -> impl Iterator<Item = Mono> {
        self.shared.hosts.iter().filter_map(|host| host.loss_wake(&self.shared.fleet))
    }

    /// The link to an engine has changed.
    pub(crate) fn link(&mut self, host: HostId, link: HostLink, out: &mut Vec<Action>) {
        let now = self.now.mono;
        let quiet = now + self.shared.fleet.quiet_engine_start;
        let slot = self.host_slot(host);
        let mut engine_went_down = None;
        match link {
            HostLink::Down => {
                slot.up = false;
                slot.down_since = slot.down_since.or(Some(now));
                if let Some(loss) = &mut slot.loss {
                    loss.back = None;
                }
            }
            HostLink::Up { engine_started } => {
                let down_since = slot.down_since.take();
                (slot.up, slot.reached) = (true, true);
                if engine_started {
                    slot.quiet_until = Some(quiet);
                    engine_went_down = Some(down_since.unwrap_or(now));
                }
                if let Some(loss) = &mut slot.loss {
                    loss.back = loss.back.or(Some(now));
                }
            }
        }
        for id in self.ids(|service| service.spec.host == host) {
            if self.graph.is_needed(id) {
                self.shared.moved.insert(id);
                self.shared.moves += 1;
            }
            self.with(id, out, |service, turn| {
                if let Some(at) = engine_went_down {
                    service.take_back_stop(turn, at);
                }
                if link == HostLink::Down {
                    service.forget_own_stop();
                }
                service.review(turn, None);
            });
        }
    }

    /// A link has been broken, or has held, for long enough.
    pub(crate) fn wake_hosts(&mut self, out: &mut Vec<Action>) {
        let now = self.now.mono;
        for place in 0..self.shared.hosts.len() {
            if self.shared.hosts[place].loss_wake(&self.shared.fleet).is_some_and(|at| at <= now) {
                let host = HostId(u16::try_from(place).unwrap_or(u16::MAX));
                match self.shared.hosts[place].loss.take() {
                    None => self.lose(host, out),
                    Some(loss) => self.regain(host, &loss, out),
                }
            }
        }
    }

    fn lose(&mut self, host: HostId, out: &mut Vec<Action>) {
        let (id, now) = (self.shared.ids.incident(), self.now.mono);
        let services = self.ids(|service| service.spec.host == host && !service.leaving);
        let slot = self.host_slot(host);
        let since = slot.down_since.unwrap_or(now);
        slot.loss = Some(Loss { id, since, back: None, told: !services.is_empty(), alerted: false });
        if let Some(first) = services.first() {
            let services = u32::try_from(services.len()).unwrap_or(u32::MAX);
            self.record_of_host(*first, id, Event::HostLost { host, services, unreached: now.since(since) }, out);
        }
    }

    fn regain(&mut self, host: HostId, loss: &Loss, out: &mut Vec<Action>) {
        self.host_is_well(host, Hold::HostDown);
        let first = self.services.iter().flatten().find(|service| service.spec.host == host && !service.leaving);
        if let Some(first) = first.filter(|_| loss.told) {
            let lasted = loss.back.unwrap_or(self.now.mono).since(loss.since);
            self.record_of_host(first.id, loss.id, Event::HostBack { host, lasted }, out);
        }
    }

    /// A record of it, under the name of the host's first service.
    fn record_of_host(&self, first: ServiceId, incident: IncidentId, event: Event, out: &mut Vec<Action>) {
        out.push(Action::Record(Record { now: self.now, service: first, incident: Some(incident), event }));
    }
}
