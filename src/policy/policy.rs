//! The whole: every service, every host, and the one function that moves them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::action::{Action, Answer};
use crate::backoff::Jitter;
use crate::check::Check;
use crate::id::{HostId, Identity, ServiceId};
use crate::input::{CheckResult, EngineHealth, HostLink, Input, State};
use crate::memory::{Memory, Restored};
use crate::record::{Ending, Health, Verdict};
use crate::review::Observation;
use crate::service::{Attempt, Cadence, Doing, Incident, Service};
use crate::spec::{FleetSpec, ServiceSpec};
use crate::time::{Mono, Now};
use crate::turn::{Host, Ids, Shared, Turn};
use crate::view::{IncidentView, QuarantineView, ServiceView};

/// Everything that Iaso knows and has decided.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Policy {
    now: Now,
    shared: Shared,
    services: Vec<Option<Box<Service>>>,
    timers: BTreeSet<(Mono, ServiceId)>,
    /// What the store remembered and nobody has claimed yet.
    remembered: BTreeMap<Identity, Memory>,
}

impl Policy {
    /// Begins with what the store held. `seed` makes ids and jitter: it must be random in a daemon, and may be chosen in a
    /// test, where the same seed gives the same run.
    pub fn restore(fleet: FleetSpec, seed: u64, restored: Restored, now: Now) -> Self {
        let unclean = !restored.clean;
        let shared = Shared {
            fleet,
            hosts: Vec::new(),
            jitter: Jitter::new(seed),
            ids: Ids::new(seed),
            started: now.mono,
            stopping: false,
            store_up: restored.store_up,
            intact: restored.intact,
            blind: unclean && !restored.store_up,
            gap_from: restored.last.filter(|_| unclean).map(|last| last.wall.0),
            stale: 0,
        };
        let remembered = restored.services.into_iter().map(|memory| (memory.identity.clone(), memory)).collect();
        Self { now, shared, services: Vec::new(), timers: BTreeSet::new(), remembered }
    }

    /// Takes in one input and pushes what follows from it. Never waits, and never fails: what names something unknown
    /// changes nothing. A monotonic clock that seems to run backwards stands still.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Action>) {
        self.now = Now { mono: now.mono.max(self.now.mono), ..now };
        match input {
            Input::Checked { service, check, instance, began, result } => {
                self.with(service, out, |service, turn| {
                    let steady = service.is_steady() && result == CheckResult::Passed;
                    if service.checked(turn, check, instance, began, result) && !steady {
                        let observation = service.weigh(check, began, result);
                        service.review(turn, observation);
                    }
                });
            }
            Input::Seen { service, sight } => self.with(service, out, |service, turn| {
                let known = service.sight;
                if service.see(turn, sight) && !(service.is_steady() && known == service.sight) {
                    let good = matches!(sight.state, State::Running(EngineHealth::None | EngineHealth::Healthy));
                    service.review(turn, Some(Observation { began: sight.began, good }));
                }
            }),
            Input::Described { service, container } => {
                self.with(service, out, |service, _| service.describe(container));
            }
            Input::StopSignal { service, instance, at } => {
                self.with(service, out, |service, turn| service.stop_signal(turn, instance, at));
            }
            Input::Change { service } => self.with(service, out, |service, turn| {
                service.change(turn.now.mono);
                service.review(turn, None);
            }),
            Input::Finished { service, attempt, outcome } => {
                let host = self.service(service).map(|service| service.spec.host);
                self.with(service, out, |service, turn| {
                    if service.finished(turn, attempt, outcome) {
                        service.review(turn, None);
                    }
                });
                if let Some(host) = host {
                    self.call_up_waiting(host, out);
                }
            }
            Input::Order { service, id, order } => {
                if self.service(service).is_none() {
                    out.push(Action::Answer { order: id, answer: Answer::NoTarget });
                }
                self.with(service, out, |service, turn| {
                    service.order(turn, id, order);
                    service.review(turn, None);
                });
            }
            Input::Define { service, spec } => self.define(service, spec, out),
            Input::Forget { service } => self.forget(service, out),
            Input::Host { host, link } => self.link(host, link, out),
            Input::Store { up } => {
                self.shared.store_up = up;
                self.review_troubled(out);
            }
            Input::Stopping => self.shared.stopping = true,
            Input::Tick => self.tick(out),
        }
    }

    /// When the next [`Input::Tick`] is due; none when only news can change anything. After a tick it lies ahead.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Observations dropped so far because they were older than what was known.
    pub const fn stale_inputs(&self) -> u64 {
        self.shared.stale
    }

    /// Every defined service, by number.
    pub fn views(&self) -> impl Iterator<Item = ServiceView> {
        self.services.iter().flatten().map(|service| self.view_of(service))
    }

    /// What each defined service's memory is kept under.
    pub fn identities(&self) -> impl Iterator<Item = (ServiceId, &Identity)> {
        self.services.iter().flatten().map(|service| (service.id, &service.spec.identity))
    }

    /// One service.
    pub fn view(&self, service: ServiceId) -> Option<ServiceView> {
        self.service(service).map(|service| self.view_of(service))
    }

    fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.0 as usize)?.as_deref()
    }

    fn with(&mut self, id: ServiceId, out: &mut Vec<Action>, act: impl FnOnce(&mut Service, &mut Turn<'_>)) {
        let Some(service) = self.services.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else { return };
        let mut turn = Turn { now: self.now, shared: &mut self.shared, out };
        act(service, &mut turn);
        place_timer(&mut self.timers, service);
    }

    fn host_slot(&mut self, host: HostId) -> &mut Host {
        let place = usize::from(host.0);
        if self.shared.hosts.len() <= place {
            self.shared.hosts.resize_with(place + 1, Host::default);
        }
        &mut self.shared.hosts[place]
    }

    fn define(&mut self, id: ServiceId, spec: Box<ServiceSpec>, out: &mut Vec<Action>) {
        self.recall_host(&spec);
        let place = id.0 as usize;
        if self.services.len() <= place {
            self.services.resize_with(place + 1, || None);
        }
        if self.services[place].is_some() {
            self.with(id, out, |service, turn| {
                redefine(service, spec);
                service.review(turn, None);
            });
            return;
        }
        let mut service = Box::new(Service::new(id, spec, self.now.mono));
        if let Some(memory) = self.remembered.remove(&service.spec.identity) {
            self.recall(&mut service, memory);
        }
        self.services[place] = Some(service);
        self.with(id, out, |service, turn| {
            service.schedule_next(turn);
            service.review(turn, None);
        });
    }

    /// With a host's first service comes what was charged to all of that host's, those included that are gone.
    fn recall_host(&mut self, spec: &ServiceSpec) {
        if core::mem::replace(&mut self.host_slot(spec.host).recalled, true) {
            return;
        }
        let host = &mut self.shared.hosts[usize::from(spec.host.0)];
        for memory in self.remembered.values().filter(|memory| memory.identity.host() == spec.identity.host()) {
            for charge in &memory.charges {
                host.charges.add(self.now.place(*charge));
            }
        }
    }

    /// Gives a newly defined service what the store remembered of it.
    fn recall(&mut self, service: &mut Service, memory: Memory) {
        let now = self.now;
        for charge in memory.charges {
            service.charges.add(now.place(charge));
        }
        for check in &mut service.checks {
            check.proven = memory.proven.contains(&check.spec.fingerprint);
        }
        service.proven = memory.proven;
        service.incident = memory.incident.map(|incident| Incident {
            id: incident.incident,
            opened: incident.opened,
            attempts: incident.attempts,
            failed: incident.failed,
        });
        service.streak = memory.streak;
        service.last_ended = memory.last_ended.map(|ended| now.place(ended));
        service.quarantine = memory.quarantine.map(|quarantine| {
            let since = now.place(quarantine.since);
            QuarantineView {
                since,
                trials: quarantine.trials,
                retry_at: quarantine.retry_after.map(|after| since + after),
            }
        });
        service.stopped = memory.stopped.map(|(instance, at)| (instance, now.place(at)));
        service.exited = memory.exited.map(|(instance, _)| instance);
        service.seen_running = memory.seen_running;
        service.paused = memory.paused;
        if let Some(open) = memory.attempt {
            let begun = now.place(open.begun);
            let attempt = Attempt {
                id: open.attempt,
                step: open.step,
                cause: open.cause,
                instance: open.instance,
                begun,
                backstop: begun,
            };
            service.resolve(now.mono, attempt);
        }
    }

    fn forget(&mut self, id: ServiceId, out: &mut Vec<Action>) {
        let mut host = None;
        self.with(id, out, |service, turn| {
            if matches!(service.phase, Doing::Operating(_)) {
                service.give_back_place(turn);
            }
            if let Some(attempt) = service.attempt() {
                service.end(turn, attempt, Verdict::Superseded);
            }
            service.close_incident(turn, Ending::Gone);
            service.wanted = None;
            host = Some(service.spec.host);
        });
        if let Some(service) = self.services.get_mut(id.0 as usize).and_then(Option::take)
            && let Some(at) = service.timer
        {
            self.timers.remove(&(at, id));
        }
        if let Some(host) = host {
            self.call_up_waiting(host, out);
        }
    }

    fn link(&mut self, host: HostId, link: HostLink, out: &mut Vec<Action>) {
        let now = self.now.mono;
        let quiet = now + self.shared.fleet.quiet_engine_start;
        let slot = self.host_slot(host);
        let mut engine_went_down = None;
        match link {
            HostLink::Down => {
                slot.up = false;
                slot.down_since = slot.down_since.or(Some(now));
            }
            HostLink::Up { engine_started } => {
                let down_since = slot.down_since.take();
                slot.up = true;
                if engine_started {
                    slot.quiet_until = Some(quiet);
                    engine_went_down = Some(down_since.unwrap_or(now));
                }
            }
        }
        for id in self.ids(|service| service.spec.host == host) {
            self.with(id, out, |service, turn| {
                if let Some(at) = engine_went_down {
                    service.take_back_stop(turn, at);
                }
                service.review(turn, None);
            });
        }
    }

    fn tick(&mut self, out: &mut Vec<Action>) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= self.now.mono) {
            self.timers.remove(&(at, id));
            let now = self.now.mono;
            self.with(id, out, |service, turn| {
                service.timer = None;
                if service.wanted.is_some_and(|wanted| wanted <= now) {
                    service.review(turn, None);
                }
            });
        }
        // A call that never answered has given its place back.
        for place in 0..self.shared.hosts.len() {
            self.call_up_waiting(HostId(u16::try_from(place).unwrap_or(u16::MAX)), out);
        }
    }

    /// Places have become free: those that wait are reviewed in order.
    fn call_up_waiting(&mut self, host: HostId, out: &mut Vec<Action>) {
        let limit = self.shared.fleet.max_concurrent;
        while let Some(slot) = self.shared.hosts.get_mut(usize::from(host.0))
            && slot.in_flight < limit
            && let Some(id) = slot.queue.pop_front()
        {
            self.with(id, out, |service, turn| {
                service.queued = false;
                if service.waits_for_a_place(host) {
                    service.review(turn, None);
                }
            });
        }
    }

    /// Something that holds many has changed.
    fn review_troubled(&mut self, out: &mut Vec<Action>) {
        for id in self.ids(|service| service.trouble.is_some()) {
            self.with(id, out, |service, turn| service.review(turn, None));
        }
    }

    fn ids(&self, which: impl Fn(&Service) -> bool) -> Vec<ServiceId> {
        self.services.iter().flatten().filter(|service| which(service)).map(|service| service.id).collect()
    }

    fn view_of(&self, service: &Service) -> ServiceView {
        let now = self.now.mono;
        let budget = self.shared.service_budget(service.spec.recovery.restarts, now);
        ServiceView {
            service: service.id,
            health: service.health,
            since: service.health_since,
            trouble: service.trouble,
            incident: service.incident.map(|incident| IncidentView {
                incident: incident.id,
                opened: incident.opened,
                attempts: incident.attempts,
                failed: incident.failed,
            }),
            phase: service.view_phase(),
            hold: service.hold,
            next_step: service.next_step(),
            budget_remaining: service.charges.remaining(now, budget),
            quarantine: service.quarantine,
            paused: service.paused,
            container: service.container.filter(|_| service.instance().is_some()),
            state: service.sight.map(|sight| sight.state).filter(|state| *state != State::Gone),
            engine_restarts: service.recent_engine_restarts(now),
            checks: service.checks.iter().map(Check::view).collect(),
        }
    }
}

impl Service {
    /// Healthy, with nothing under way: more of the same changes nothing.
    fn is_steady(&self) -> bool {
        self.health == Health::Healthy
            && self.incident.is_none()
            && self.hold.is_none()
            && self.quarantine.is_none()
            && matches!(self.phase, Doing::Nothing)
            && self.checks.iter().all(|check| check.verdict() == Some(true) && check.view().failures == 0)
    }
}

/// An equal check keeps its proof and its results; a changed one must prove itself again.
fn redefine(service: &mut Service, spec: Box<ServiceSpec>) {
    let mut known = core::mem::take(&mut service.checks);
    for wanted in &spec.checks {
        let kept = known.iter().position(|check| check.spec.fingerprint == wanted.fingerprint);
        let proven = service.proven.contains(&wanted.fingerprint);
        let mut check = kept.map_or_else(|| Check::new(*wanted, proven), |place| known.swap_remove(place));
        check.spec = *wanted;
        service.checks.push(check);
    }
    service.spec = spec;
    // Whoever runs the checks begins them anew at their usual interval.
    service.cadence = Cadence::Usual;
}

/// Moves a service's timer forward where it wants to be reviewed earlier; a timer that is too early is corrected when it
/// fires, so that putting a deadline off costs nothing.
fn place_timer(timers: &mut BTreeSet<(Mono, ServiceId)>, service: &mut Service) {
    let Some(wanted) = service.wanted else { return };
    match service.timer {
        Some(at) if at <= wanted => {}
        placed => {
            if let Some(at) = placed {
                timers.remove(&(at, service.id));
            }
            timers.insert((wanted, service.id));
            service.timer = Some(wanted);
        }
    }
}
