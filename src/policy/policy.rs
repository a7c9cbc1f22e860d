//! The whole: every service, every host, and the one function that moves them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::action::{Action, Answer};
use crate::backoff::Jitter;
use crate::check::Check;
use crate::id::{CredentialKey, HostId, Identity, ServiceId};
use crate::input::{CheckResult, EngineHealth, Input, Order, State};
use crate::maintenance::of_everything;
use crate::memory::{Memory, Restored};
use crate::needs::Graph;
use crate::record::Health;
use crate::review::Observation;
use crate::rollout::Rollout;
use crate::service::{Cadence, Doing, Service};
use crate::spec::{FleetSpec, ServiceSpec};
use crate::time::{Mono, Now};
use crate::turn::{Account, Host, Ids, Shared, Turn};
use crate::view::{IncidentView, ServiceView};

/// Everything that Iaso knows and has decided.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Policy {
    pub(crate) now: Now,
    pub(crate) shared: Shared,
    pub(crate) services: Vec<Option<Box<Service>>>,
    pub(crate) timers: BTreeSet<(Mono, ServiceId)>,
    /// Changed credentials on their way, in the order in which they were asked for.
    pub(crate) rollouts: Vec<Rollout>,
    /// Who needs whom.
    pub(crate) graph: Graph,
    /// What is known of identities that no service is declared for: from the store, or from one that was.
    pub(crate) remembered: BTreeMap<Identity, Memory>,
}

impl Policy {
    /// Begins with what the store held. `seed` makes ids and jitter: it must be random in a daemon, and may be chosen in a
    /// test, where the same seed gives the same run.
    pub fn restore(fleet: FleetSpec, seed: u64, mut restored: Restored, now: Now) -> Self {
        let unclean = !restored.clean;
        let shared = Shared {
            fleet,
            hosts: Vec::new(),
            credentials: credentials_of(&restored, now),
            ended: Vec::new(),
            freed: Vec::new(),
            jitter: Jitter::new(seed),
            ids: Ids::new(seed),
            started: now.mono,
            stopping: false,
            everything: of_everything(&mut restored.services, now),
            store_up: restored.store_up,
            intact: restored.intact,
            blind: unclean && !restored.store_up,
            gap_from: restored.last.filter(|_| unclean).map(|last| last.wall.0),
            needy: BTreeSet::new(),
            gated: VecDeque::new(),
            reborn: Vec::new(),
            outages: BTreeMap::new(),
            unsorted: BTreeSet::new(),
            tellable: BTreeSet::new(),
            moved: BTreeSet::new(),
            moves: 0,
            stirred: BTreeSet::new(),
            stale: 0,
            touched: Vec::new(),
        };
        let remembered = restored.services.into_iter().map(|memory| (memory.identity.clone(), memory)).collect();
        let (services, timers, rollouts) = (Vec::new(), BTreeSet::new(), Vec::new());
        Self { now, shared, services, timers, rollouts, graph: Graph::default(), remembered }
    }

    /// Takes in one input and pushes what follows from it. Never waits, and never fails: what names something unknown
    /// changes nothing. A monotonic clock that seems to run backwards stands still.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Action>) {
        self.now = Now { mono: now.mono.max(self.now.mono), ..now };
        // What else the configuration says comes first.
        let decides = !matches!(input, Input::Define { .. } | Input::Forget { .. } | Input::Rules { .. });
        self.take(input, out);
        self.root_first(out);
        if decides {
            self.advance_rollouts(out);
            self.root_first(out);
        }
    }

    fn take(&mut self, input: Input, out: &mut Vec<Action>) {
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
            Input::Maintenance { service, until } => self.with(service, out, |service, turn| {
                service.window = until;
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
            Input::Delivered { service, key } => self.delivered(service, key, out),
            Input::Order { service, id, order } => {
                if matches!(order, Order::EndMaintenance { everything: true }) {
                    // Also for what is not declared now.
                    for memory in self.remembered.values_mut() {
                        memory.maintenance.take_if(|maintenance| maintenance.everything);
                    }
                }
                if self.service(service).is_none_or(|service| service.leaving) {
                    out.push(Action::Answer { order: id, answer: Answer::NoTarget });
                    return;
                }
                self.with(service, out, |service, turn| {
                    service.order(turn, id, order);
                    service.review(turn, None);
                });
            }
            Input::Define { service, spec } => self.define(service, spec, out),
            Input::Forget { service } => self.with(service, out, |service, turn| {
                service.leaving = true;
                service.sky = None;
                turn.host_mut(service.spec.host).weather.leave(service.id);
            }),
            Input::Needs { service, needs } => self.need(service, needs, out),
            Input::Rules { fleet } => self.rule(fleet, out),
            Input::Host { host, link } => self.link(host, link, out),
            Input::Disk { host, full } => self.disk(host, full, out),
            Input::RollOut { rollout, credential, steps, cap, splay, undoable } => {
                let steps = self.with_hosts(steps);
                self.roll_out(Rollout::new(rollout, credential, steps, cap, splay, undoable), out);
            }
            Input::Undo { rollout } => self.undo(rollout, out),
            Input::Settle { rollout } => self.settle_rollout(rollout, out),
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
        let rollouts = self.rollouts.iter().filter_map(|rollout| rollout.wake);
        let hosts = self.storms_wake().chain(self.hosts_wake()).chain(self.losses_due());
        self.timers.first().map(|(at, _)| *at).into_iter().chain(rollouts).chain(hosts).min()
    }

    /// Observations dropped so far because they were older than what was known.
    pub const fn stale_inputs(&self) -> u64 {
        self.shared.stale
    }

    /// Every defined service, by number.
    pub fn views(&self) -> impl Iterator<Item = ServiceView> {
        self.services.iter().flatten().map(|service| self.view_of(service))
    }

    /// Adds services whose view may be another since they were last taken, or that are gone: `most` of them, in the order in which
    /// that came. True: there are more. What time alone changes of the views of others is not counted: what is left of a budget,
    /// and until when a person's word holds; nor whose outage others are part of, and what a rollout waits for.
    pub fn take_touched(&mut self, most: usize, touched: &mut Vec<ServiceId>) -> bool {
        let taken = most.min(self.shared.touched.len());
        for id in self.shared.touched.drain(..taken) {
            if let Some(service) = self.services.get_mut(id.0 as usize).and_then(Option::as_deref_mut) {
                service.touched = false;
            }
            touched.push(id);
        }
        !self.shared.touched.is_empty()
    }

    /// What each defined service's memory is kept under.
    pub fn identities(&self) -> impl Iterator<Item = (ServiceId, &Identity)> {
        self.services.iter().flatten().map(|service| (service.id, &service.spec.identity))
    }

    /// One service.
    pub fn view(&self, service: ServiceId) -> Option<ServiceView> {
        self.service(service).map(|service| self.view_of(service))
    }

    pub(crate) fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.0 as usize)?.as_deref()
    }

    pub(crate) fn with(&mut self, id: ServiceId, out: &mut Vec<Action>, act: impl FnOnce(&mut Service, &mut Turn<'_>)) {
        let before = if self.graph.is_needed(id) { self.standing(id) } else { None };
        let Some(service) = self.services.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else { return };
        let mut turn = Turn { now: self.now, shared: &mut self.shared, out };
        act(service, &mut turn);
        service.show_sky(&mut turn);
        if !core::mem::replace(&mut service.touched, true) {
            turn.shared.touched.push(id);
        }
        place_timer(&mut self.timers, service);
        if before.is_some() && before != self.standing(id) {
            self.shared.moved.insert(id);
            self.shared.moves += 1;
        }
        let Some(service) = self.service(id) else { return };
        if service.leaving && !service.is_under_way() {
            let host = service.spec.host;
            self.part_with(id, out);
            self.call_up_waiting(host, out);
        }
    }

    pub(crate) fn host_slot(&mut self, host: HostId) -> &mut Host {
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
        if let Some(known) = &self.services[place] {
            if known.leaving || known.spec != spec {
                let returns = known.leaving;
                self.with(id, out, |service, turn| {
                    redefine(service, spec);
                    service.review(turn, None);
                    service.tell_cadence(turn);
                });
                if returns {
                    self.cover(id, out);
                }
            }
            return;
        }
        let memory = self.remembered.remove(&spec.identity);
        self.services[place] = Some(Box::new(Service::recalled(id, spec, memory, self.now)));
        self.recall_outage(id);
        self.stands_otherwise(id);
        self.cover(id, out);
        self.with(id, out, |service, turn| {
            service.schedule_next(turn);
            service.review(turn, None);
        });
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
        self.wake_storms();
        self.wake_hosts(out);
        self.tell_losses(out);
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
            // Whether it takes the place is decided before the next one is asked.
            self.root_first(out);
        }
    }

    /// Other rules. Whoever is in trouble is reviewed at the next tick: what else the configuration says comes first.
    fn rule(&mut self, fleet: FleetSpec, out: &mut Vec<Action>) {
        if self.shared.fleet == fleet {
            return;
        }
        self.shared.fleet = fleet;
        self.look_up();
        for id in self.ids(|service| service.cadence != Cadence::Usual) {
            self.with(id, out, |service, turn| service.tell_cadence(turn));
        }
        for id in self.ids(|service| service.trouble.is_some()) {
            self.with(id, out, |service, turn| service.wanted = Some(turn.now.mono));
        }
    }

    /// Something that holds many has changed.
    fn review_troubled(&mut self, out: &mut Vec<Action>) {
        for id in self.ids(|service| service.trouble.is_some()) {
            self.with(id, out, |service, turn| service.review(turn, None));
        }
    }

    pub(crate) fn ids(&self, which: impl Fn(&Service) -> bool) -> Vec<ServiceId> {
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
                acknowledged: incident.acknowledged_at(self.now),
                root: incident.root,
            }),
            affected: self.affected_by(service),
            phase: service.view_phase(),
            hold: service.hold,
            rollout: self.held_rollout(service.id),
            next_step: service.next_step(),
            budget_remaining: service.charges.remaining(now, budget),
            quarantine: service.quarantine,
            paused: service.paused,
            maintained_until: service.maintained_until(now),
            container: service.container.filter(|_| service.instance().is_some()),
            state: service.sight.map(|sight| sight.state).filter(|state| *state != State::Gone),
            engine_restarts: service.recent_engine_restarts(now),
            stateful: service.spec.stateful,
            checks: service.checks.iter().map(Check::view).collect(),
        }
    }
}

/// What was charged to each credential before.
fn credentials_of(restored: &Restored, now: Now) -> BTreeMap<CredentialKey, Account> {
    let mut accounts: BTreeMap<CredentialKey, Account> = BTreeMap::new();
    for (credential, charge) in restored.services.iter().flat_map(|memory| &memory.credential_charges) {
        accounts.entry(*credential).or_default().charges.add(now.place(*charge));
    }
    accounts
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
    service.leaving = false;
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
