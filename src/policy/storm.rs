//! A storm is not healed by more storm (law 6): so much fails on one host at once that the host, its network or Iaso itself is
//! more likely what is broken. Nothing is recovered then, until five minutes have passed, or half a minute since most of it is
//! well again; then one service is, to see whether that helps, and the others one after the other. After one that did not help,
//! five minutes pass again.
//!
//! What counts are outages that began within the window, whether they are over or not, of services that nothing which they need
//! has dragged down; what stopped in a gap, or by a person's hand, is no failure. It is compared with the services of the host
//! that run, or have just failed. Those whose checks have begun to fail count too as long as nothing is certain: then the next
//! few probes are waited for.
//!
//! A storm ends when none of those who failed in it is in an outage any more, or nothing will be done about those who are.
//! Whoever was in it all the same and would be recovered later (Iaso was started anew, a pause was ended) finds it again, as old
//! as it is: the outages themselves tell.
//!
//! A pause says nothing of what comes: who is paused counts. Maintenance says that outages are to be expected: who is under it
//! tells nothing of the host, be it well or not.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::{Action, Cause, Trouble};
use crate::announce::HostAlert;
use crate::id::{HostId, ServiceId};
use crate::outage::Incident;
use crate::policy::Policy;
use crate::record::{Event, Hold, Record, Verdict};
use crate::service::Service;
use crate::time::Mono;
use crate::turn::Host;

/// How long nothing is recovered, unless most of it gets well before.
const WAIT: Duration = Duration::from_secs(300);

/// Where much fails again and again, the wait begins anew for so long at most since something was last recovered.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How long the others have, once most are well, to be found well too: an engine looks every 30 s where nobody says otherwise.
const FOLLOW: Duration = Duration::from_secs(30);

/// Much has failed on one host at once.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Storm {
    began: Mono,
    /// When so much was last found to have failed at once.
    struck: Mono,
    /// Who failed in it, and when.
    pub(crate) members: BTreeMap<ServiceId, Mono>,
    /// Whose recovery is not over: one at most, but for those that had begun before.
    recovering: BTreeSet<ServiceId>,
    /// Since when nothing was recovered in it.
    idle: Mono,
    /// Nothing new begins before then.
    opens: Mono,
    /// Most of them got well since it struck.
    eased: bool,
    /// When the host is to be looked at by itself.
    pub(crate) wake: Option<Mono>,
    /// Those whom it holds have not been told until when.
    untold: bool,
}

impl Storm {
    /// One of these outages, in which nothing is recovered before it `opens`.
    fn of(members: BTreeMap<ServiceId, Mono>, opens: Mono) -> Self {
        let times = || members.values().copied();
        let (began, struck) = (times().min().unwrap_or(opens), times().max().unwrap_or(opens));
        let recovering = BTreeSet::new();
        Self { began, struck, members, recovering, idle: began, opens, eased: false, wake: None, untold: true }
    }

    /// Why nothing is recovered now, and until when where that is known; none: one may be.
    pub(crate) fn holds(&self, now: Mono) -> Option<Option<Mono>> {
        if now < self.opens {
            return Some(Some(self.opens));
        }
        (!self.recovering.is_empty()).then_some(None)
    }

    const fn wait_until(&mut self, opens: Mono) {
        self.opens = opens;
        self.wake = Some(opens);
        self.untold = true;
    }
}

/// Whether an outage of this kind may be the host's: what stopped in a gap is none, and what the engine starts again, or must
/// follow another, is its own.
const fn counts(trouble: Trouble) -> bool {
    !matches!(trouble, Trouble::StoppedInGap | Trouble::Outlived | Trouble::EngineRestarting)
}

impl Host {
    /// An outage began; `is_watched` unless the service leaves.
    pub(crate) fn note_failure(&mut self, service: ServiceId, trouble: Trouble, is_watched: bool, now: Mono) {
        if !counts(trouble) {
            return;
        }
        if is_watched {
            self.weather.fail(service, now);
        }
        if let Some(storm) = &mut self.storm {
            storm.members.insert(service, now);
        }
    }

    pub(crate) fn note_recovery(&mut self, service: ServiceId, now: Mono) {
        if let Some(storm) = &mut self.storm {
            storm.recovering.insert(service);
            storm.idle = now;
        }
    }

    /// A recovery is over. One that did not help was one too many.
    pub(crate) fn note_verdict(&mut self, service: ServiceId, verdict: Verdict, now: Mono) {
        if let Some(storm) = &mut self.storm
            && storm.recovering.remove(&service)
            && verdict.failed()
            && now >= storm.opens
        {
            storm.wait_until(now + WAIT);
        }
    }
}

impl Policy {
    /// Since when there is a storm on a host, while there is one.
    pub fn storm_since(&self, host: HostId) -> Option<Mono> {
        self.shared.hosts.get(usize::from(host.0))?.storm.as_ref().map(|storm| storm.began)
    }

    /// When a storm is to be looked at by itself.
    pub(crate) fn storms_wake(&self) -> impl Iterator<Item = Mono> {
        self.shared.hosts.iter().filter_map(|host| host.storm.as_ref()?.wake)
    }

    pub(crate) fn wake_storms(&mut self) {
        let now = self.now.mono;
        for (host, number) in self.shared.hosts.iter_mut().zip(0..) {
            if host.storm.as_mut().is_some_and(|storm| storm.wake.take_if(|at| *at <= now).is_some()) {
                self.shared.stirred.insert(HostId(number));
            }
        }
    }

    /// Whoever wants to be recovered, and whose turn it is: in a storm whoever was tried least, then whoever failed first.
    pub(crate) fn next_gated(&mut self, out: &mut Vec<Action>) -> Option<ServiceId> {
        let first = *self.shared.gated.front()?;
        self.look_back(first, out);
        let host = self.service(first).map(|service| service.spec.host);
        let storm = host.and_then(|host| self.shared.hosts[usize::from(host.0)].storm.as_ref());
        let mut place = 0;
        if let Some(storm) = storm.filter(|storm| storm.holds(self.now.mono).is_none()) {
            let here = self.shared.gated.iter().enumerate().filter_map(|(place, id)| Some((place, self.service(*id)?)));
            let here = here.filter(|(_, service)| Some(service.spec.host) == host);
            let by_turn = here.min_by_key(|(_, service)| {
                let tried = service.incident.map_or(0, |incident| incident.attempts);
                (tried, storm.members.get(&service.id).copied(), service.id)
            });
            place = by_turn.map_or(0, |(place, _)| place);
        }
        self.shared.gated.remove(place)
    }

    /// Something has changed on a host with which a storm may begin, give way, or end.
    pub(crate) fn weigh_storm(&mut self, host: HostId, out: &mut Vec<Action>) {
        self.clear_weather(host);
        let was_one = self.host_slot(host).storm.is_some();
        self.strike(host, out);
        self.ease(host);
        if self.is_over(host) {
            self.end_storm(host, out);
        }
        let now = self.now.mono;
        let storm = self.host_slot(host).storm.as_mut();
        let tells = storm.is_none_or(|storm| core::mem::take(&mut storm.untold) || storm.holds(now).is_none());
        if was_one && tells {
            let held = |service: &Service| service.hold.is_some_and(|hold| hold.reason == Hold::MassFailure);
            for id in self.ids(|service| service.spec.host == host && held(service)) {
                self.with(id, out, |service, turn| service.review(turn, None));
            }
        }
    }

    /// Whether so many failures, of so many services, are a storm.
    fn is_much(&self, (failures, of): (u32, u32)) -> bool {
        let rule = self.shared.fleet.mass_failure;
        failures >= rule.min && f64::from(failures) > rule.ratio * f64::from(of)
    }

    /// Begins a storm, or lets one that goes on begin anew, where much has failed since.
    fn strike(&mut self, host: HostId, out: &mut Vec<Action>) {
        let (now, window) = (self.now.mono, self.shared.fleet.mass_failure.window);
        let slot = &self.shared.hosts[usize::from(host.0)];
        let since = slot.storm.as_ref().map(|storm| storm.struck);
        let (recent, of) = slot.weather.failed(since);
        if !self.is_much((recent, of)) {
            return;
        }
        let mut members: BTreeMap<ServiceId, Mono> = slot.weather.failures().collect();
        let before = slot.storm.as_ref().map(|storm| (storm.began, storm.idle, &storm.members));
        let (began, idle) = before.map_or((now, now), |(began, idle, _)| (began, idle));
        for service in self.services.iter().flatten().filter(|service| service.spec.host == host) {
            // Those who were dragged down are healed as late as the others.
            let Some(incident) = service.incident else { continue };
            let opened = self.now.place(incident.opened);
            if now.since(opened) < window || before.is_some_and(|(.., members)| members.contains_key(&service.id)) {
                members.entry(service.id).or_insert(opened);
            }
        }
        let opens = (now + WAIT).min(idle + LONGEST_WAIT);
        let tells = since.is_none().then_some(Event::StormBegan { host, failed: recent, of });
        self.begin_storm(host, Storm { began, struck: now, idle, ..Storm::of(members, opens) }, tells, out);
    }

    /// Finds the storm that outages were which began at once, but which none counts: they were open when Iaso started, or
    /// nothing was to be done about them until now.
    fn look_back(&mut self, id: ServiceId, out: &mut Vec<Action>) {
        let (now, window) = (self.now.mono, self.shared.fleet.mass_failure.window);
        let of_its_own = |incident: &Incident| !incident.dragged && incident.root.is_none();
        let opened = |service: &Service| Some(self.now.place(service.incident.filter(of_its_own)?.opened));
        let Some((host, began)) = self.service(id).and_then(|service| Some((service.spec.host, opened(service)?)))
        else {
            return;
        };
        let slot = &self.shared.hosts[usize::from(host.0)];
        if slot.storm.is_some() || slot.weather.failed_at(id).is_some_and(|at| now.since(at) < window) {
            return;
        }
        let is_open = |service: &Service| {
            let is_left = service.is_left_as_it_is() && !self.is_out_of_maintenance(service);
            let is_hosts = service.trouble.is_none_or(counts) && !service.leaving && service.spec.host == host;
            let at = opened(service).filter(|_| is_hosts && !is_left)?;
            (at.since(began) < window && began.since(at) < window).then_some((at, service.id))
        };
        let mut open: Vec<(Mono, ServiceId)> =
            self.services.iter().flatten().filter_map(|service| is_open(service)).collect();
        open.sort_unstable();
        // Within a window, as many as can be.
        let end = |first: usize| open.partition_point(|(at, _)| at.since(open[first].0) < window);
        let Some(first) = (0..open.len()).max_by_key(|first| end(*first) - first) else { return };
        let members: BTreeMap<ServiceId, Mono> = open[first..end(first)].iter().map(|(at, id)| (*id, *at)).collect();
        let is_own = |id: &&ServiceId| !self.is_dragged_down(**id, |needed| members.contains_key(&needed)).0;
        let failed = u32::try_from(members.keys().filter(is_own).count()).unwrap_or(u32::MAX);
        self.end_maintenances(host);
        let of = self.shared.hosts[usize::from(host.0)].weather.count_with(members.keys().copied());
        if !self.is_much((failed, of)) {
            return;
        }
        let storm = Storm::of(members, open[end(first) - 1].0 + WAIT);
        self.begin_storm(host, storm, Some(Event::StormBegan { host, failed, of }), out);
    }

    /// Its maintenance is over, and its turn to be told so may come after others'.
    fn is_out_of_maintenance(&self, service: &Service) -> bool {
        let all_ended = service.ordered.is_some_and(|order| order.everything) && self.shared.everything.is_none();
        service.hold.is_some_and(|hold| hold.reason == Hold::Maintenance)
            && (all_ended || service.maintained_until(self.now.mono).is_none())
    }

    fn begin_storm(&mut self, host: HostId, mut storm: Storm, tells: Option<Event>, out: &mut Vec<Action>) {
        let under_way = |service: &Service| service.attempt().is_some_and(|attempt| attempt.cause == Cause::Recovery);
        storm.recovering = self.ids(|service| service.spec.host == host && under_way(service)).into_iter().collect();
        if storm.opens > self.now.mono {
            storm.wait_until(storm.opens);
        }
        let is_news = tells.is_some();
        if let Some(event) = tells {
            self.record_storm(&storm, event, out);
        }
        let first = self.first_of(&storm).map(|service| service.id);
        self.host_slot(host).storm = Some(storm);
        if is_news {
            let incident = self.shared.ids.incident();
            self.announce_host(host, HostAlert { incident, opened: self.now, reason: Hold::MassFailure }, first, out);
        }
    }

    /// Once most of them are well again, whatever it was is gone.
    fn ease(&mut self, host: HostId) {
        let now = self.now.mono;
        let storm = self.shared.hosts[usize::from(host.0)].storm.as_ref();
        let Some(storm) = storm.filter(|storm| !storm.eased) else { return };
        let well = storm.members.keys().filter(|id| self.is_out_of_trouble(**id)).count();
        let gives_way = 2 * well > storm.members.len();
        if let Some(storm) = self.host_slot(host).storm.as_mut().filter(|_| gives_way) {
            storm.eased = true;
            if storm.opens > now + FOLLOW {
                storm.wait_until(now + FOLLOW);
            }
        }
    }

    fn is_out_of_trouble(&self, id: ServiceId) -> bool {
        self.service(id).is_none_or(|service| service.incident.is_none())
    }

    /// All is well, nothing will be done about what is not, or it was no storm: most of it was dragged down by something that
    /// was found to have failed only later.
    fn is_over(&self, host: HostId) -> bool {
        let Some(storm) = &self.shared.hosts[usize::from(host.0)].storm else { return false };
        let may_act = self.now.mono >= storm.opens;
        let is_left = |id: &ServiceId| may_act && self.service(*id).is_some_and(Service::is_left_as_it_is);
        let is_own = |id: &&ServiceId| !self.is_dragged_down(**id, |needed| storm.members.contains_key(&needed)).0;
        let min = self.shared.fleet.mass_failure.min as usize;
        storm.members.keys().all(|id| self.is_out_of_trouble(*id) || is_left(id))
            || storm.members.keys().filter(is_own).take(min).count() < min
    }

    fn end_storm(&mut self, host: HostId, out: &mut Vec<Action>) {
        let Some(storm) = self.host_slot(host).storm.take() else { return };
        let failed = u32::try_from(storm.members.len()).unwrap_or(u32::MAX);
        let lasted = self.now.mono.since(storm.began);
        self.record_storm(&storm, Event::StormEnded { host, failed, lasted }, out);
        self.host_is_well(host, Hold::MassFailure);
    }

    /// Tells of it under the name of whoever failed first and is still there.
    fn record_storm(&self, storm: &Storm, event: Event, out: &mut Vec<Action>) {
        let Some(service) = self.first_of(storm) else { return };
        let incident = service.incident.map(|incident| incident.id);
        out.push(Action::Record(Record { now: self.now, service: service.id, incident, event }));
    }

    /// Whoever failed first in it and is still there.
    fn first_of(&self, storm: &Storm) -> Option<&Service> {
        let known = storm.members.iter().filter_map(|(id, at)| Some((*at, self.service(*id)?)));
        known.min_by_key(|(at, service)| (*at, service.id)).map(|(_, service)| service)
    }

    /// Whether a storm may be about to begin: so much fails, if what fails but is not certain counts too.
    pub(crate) fn is_brewing(&mut self, host: HostId) -> bool {
        let (now, window, moves) = (self.now.mono, self.shared.fleet.mass_failure.window, self.shared.moves);
        self.end_maintenances(host);
        let weather = &mut self.host_slot(host).weather;
        weather.expire(now, window);
        let counts = weather.count_failing();
        let known = weather.known_brewing(moves, now);
        if !self.is_much(counts) {
            return false;
        }
        known.unwrap_or_else(|| {
            let (is, until) = self.brews(host, counts.1);
            self.host_slot(host).weather.note_brewing(moves, is, until);
            is
        })
    }

    /// Whether enough of what fails was not dragged down, and until when time alone changes nothing of it.
    fn brews(&self, host: HostId, of: u32) -> (bool, Option<Mono>) {
        let weather = &self.shared.hosts[usize::from(host.0)].weather;
        let (needy, alone): (Vec<_>, Vec<_>) = weather.failing().partition(|id| !self.graph.of(*id).is_empty());
        let mut own = u32::try_from(alone.len()).unwrap_or(u32::MAX);
        let mut until = None;
        for id in needy {
            if self.is_much((own, of)) {
                break;
            }
            let (is_dragged, turns_at) = self.is_dragged_down(id, |needed| weather.is_failing(needed));
            until = [until, turns_at].into_iter().flatten().min();
            own += u32::from(!is_dragged);
        }
        (self.is_much((own, of)), until)
    }
}

impl Service {
    /// It is in an outage, and only news of another kind than a storm's end can change that nothing is done about it.
    pub(crate) fn is_left_as_it_is(&self) -> bool {
        let Some(hold) = self.hold else { return false };
        match hold.reason {
            // Where a budget allows nothing ever.
            Hold::Budget | Hold::HostBudget => hold.until.is_none(),
            // A person has taken it over.
            Hold::Notice => hold.until.is_none(),
            Hold::MassFailure
            | Hold::Backoff
            | Hold::Concurrency
            | Hold::PlannedChange
            | Hold::QuietStart
            | Hold::StartPeriod
            | Hold::InFlight
            | Hold::Store
            | Hold::Internal
            | Hold::HostDown
            | Hold::EngineRestarting => false,
            _ => true,
        }
    }
}
