//! Which container is which service, and what the engine's words mean to the policy.
//!
//! Foreign text ends here: names, labels and addresses stay in this table, numbers and closed types go on. A container has
//! one life at a time. Its life is named by its start on the engine's clock; where only an event told of the start, the
//! event's own stamp, which is slightly later, stands for it until the next start.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use iaso_policy::Input;
use iaso_policy::id::{CheckId, HostId, Identity, Instance, ServiceId};
use iaso_policy::input::{EngineHealth, Sight, State, Witness};
use iaso_policy::time::{Mono, Now};

use super::container::{Known, estimate, health_at_start, is_alive, state_of};
use crate::config::validated::{Config, Service};
use crate::config::watch::{self, Targets, Verdict};
use crate::engine::{ContainerDetail, ContainerId, ContainerState, EngineEvent, EventAction};
use crate::journal::Subject;

/// Every container and every service that is known.
pub(crate) struct Fleet {
    pub(super) config: Arc<Config>,
    /// Of `config`.
    targets: Targets,
    /// The container that Iaso itself runs in.
    own: Option<ContainerId>,
    hosts: Vec<BTreeMap<ContainerId, Known>>,
    pub(crate) services: Vec<Watched>,
    by_identity: HashMap<Identity, ServiceId>,
    /// Who was last given a name. It may have left since.
    by_name: HashMap<Arc<str>, ServiceId>,
    /// Label mistakes that were told already, as they were told.
    told: HashMap<ContainerId, usize>,
    /// Counts whatever may change what is told of containers that are as before.
    tellings: u64,
}

/// A service that has, or once had, a container.
pub(crate) struct Watched {
    pub(crate) subject: Arc<Subject>,
    pub(crate) host: HostId,
    pub(crate) service: Arc<Service>,
    /// It keeps data.
    pub(crate) stateful: bool,
    /// Its container; of several that claim it, the one that runs, or started last.
    pub(crate) container: Option<ContainerId>,
    /// Somebody asks for it: the file, or its container's labels.
    pub(crate) declared: bool,
    /// The policy has been told of it, as it is.
    defined: bool,
    /// By check: results of runs that began by then are about something else.
    other_until: Vec<Mono>,
    /// By check: since when it has been asked for as it is, without a break.
    pub(crate) asked_since: Vec<Mono>,
}

/// What follows from an engine's word: inputs for the policy, in order, and services whose probes have to be planned anew.
#[derive(Default)]
pub(crate) struct News {
    pub(crate) inputs: Vec<Input>,
    pub(crate) replan: Vec<ServiceId>,
    /// Who needs whom may have changed.
    pub(crate) rewired: bool,
}

impl Fleet {
    pub(crate) fn new(config: Arc<Config>, own: Option<ContainerId>) -> Self {
        let hosts = config.hosts.iter().map(|_| BTreeMap::new()).collect();
        let (by_identity, by_name, told) = (HashMap::new(), HashMap::new(), HashMap::new());
        let targets = Targets::new(&config);
        Self { config, targets, own, hosts, services: Vec::new(), by_identity, by_name, told, tellings: 1 }
    }

    /// A full list: what is on it is as it says, what is not is gone.
    pub(crate) fn listed(&mut self, host: HostId, containers: Vec<ContainerDetail>, began: Mono, now: Now) -> News {
        let mut news = News::default();
        let listed: HashSet<ContainerId> = containers.iter().map(|detail| detail.id.clone()).collect();
        // Iaso's own first: it tells which other one is the proxy.
        let (own, mut others): (Vec<_>, Vec<_>) =
            containers.into_iter().partition(|it| self.own.as_ref() == Some(&it.id));
        // Of several that ask for one name the same gets it whenever Iaso starts; who goes by its own comes first.
        others.sort_by_key(|detail| detail.labels.contains_key("iaso.name").then(|| detail.name.clone()));
        for detail in own.into_iter().chain(others) {
            self.found(host, detail, began, now, &mut news);
        }
        let gone: Vec<ContainerId> = self.known(host).keys().filter(|id| !listed.contains(id)).cloned().collect();
        for id in gone {
            self.removed(host, &id, began, &mut news);
        }
        news
    }

    /// The answer to a look.
    pub(crate) fn looked(
        &mut self,
        host: HostId,
        id: &ContainerId,
        detail: Option<ContainerDetail>,
        began: Mono,
        now: Now,
    ) -> News {
        let mut news = News::default();
        match detail {
            Some(detail) => self.found(host, detail, began, now, &mut news),
            None => self.removed(host, id, began, &mut news),
        }
        news
    }

    /// Something happened, at `received` on Iaso's clock.
    pub(crate) fn event(
        &mut self,
        host: HostId,
        event: &EngineEvent,
        detail: Option<ContainerDetail>,
        received: Mono,
        now: Now,
    ) -> News {
        let mut news = News::default();
        match event.action {
            EventAction::Create | EventAction::Rename => {
                if let Some(mut detail) = detail {
                    // It had not run when the event was sent. What became of it since, its next events tell, with the cause.
                    if event.action == EventAction::Create && !self.known(host).contains_key(&event.container) {
                        (detail.state, detail.started) = (ContainerState::Created, 0);
                    }
                    self.found(host, detail, received, now, &mut news);
                }
                // What came before the start of the life that is known by now, be it from a list, is not waited for any more.
                let known = self.known(host).get(&event.container);
                let known = known.filter(|known| !known.is_old_news(event.time, received));
                let service = known.and_then(|known| known.service);
                news.inputs.extend(service.map(|service| Input::Change { service }));
            }
            EventAction::Start => self.started(host, event, detail, received, now, &mut news),
            EventAction::Destroy => {
                let service = self.service_of(host, &event.container);
                let current =
                    service.filter(|id| self.services[id.0 as usize].container.as_ref() == Some(&event.container));
                // First that more may be under way: what has gone for good holds nobody who needs it.
                news.inputs.extend(current.map(|service| Input::Change { service }));
                self.removed(host, &event.container, received, &mut news);
            }
            EventAction::Die(code) => self.transition(host, event, received, ContainerState::Exited(code), &mut news),
            EventAction::Pause => {
                self.transition(host, event, received, ContainerState::Paused, &mut news);
            }
            EventAction::Unpause => {
                let health = self
                    .known(host)
                    .get(&event.container)
                    .map_or(EngineHealth::None, |known| health_at_start(&known.detail));
                self.transition(host, event, received, ContainerState::Running(health), &mut news);
            }
            EventAction::Health(health) => {
                self.transition(host, event, received, ContainerState::Running(health), &mut news);
            }
            EventAction::Kill(signal) => {
                let stop = self.known(host).get(&event.container);
                let stop =
                    stop.filter(|known| known.detail.stop_signal == signal && !known.is_old_news(event.time, received));
                if let Some((known, service)) = stop.and_then(|known| Some((known, known.service?))) {
                    news.inputs.push(Input::StopSignal { service, instance: known.instance(), at: received });
                }
            }
            EventAction::Oom => self.out_of_memory(host, event),
            EventAction::Stop | EventAction::Restart => {}
        }
        news
    }

    pub(crate) fn known(&self, host: HostId) -> &BTreeMap<ContainerId, Known> {
        &self.hosts[usize::from(host.0)]
    }

    /// The service that a container is.
    fn service_of(&self, host: HostId, id: &ContainerId) -> Option<ServiceId> {
        self.known(host).get(id).and_then(|known| known.service)
    }

    pub(crate) fn service(&self, id: ServiceId) -> Option<&Watched> {
        self.services.get(id.0 as usize)
    }

    /// The number of every service that has, or once had, a container.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = ServiceId> + Clone {
        (0..u32::try_from(self.services.len()).unwrap_or(u32::MAX)).map(ServiceId)
    }

    /// The name of the check that a run was of, which began at `began`; none when another has taken its place since.
    pub(crate) fn check(&self, service: ServiceId, check: CheckId, began: Mono) -> Option<&Arc<str>> {
        let (watched, place) = (self.service(service)?, usize::from(check.0));
        watched.subject.checks.get(place).filter(|_| watched.other_until.get(place).is_some_and(|until| *until < began))
    }

    /// A service's container.
    pub(crate) fn container_of(&self, service: &Watched) -> Option<&Known> {
        self.known(service.host).get(service.container.as_ref()?)
    }

    /// The container with this id on a host, for those who live in its network namespace.
    pub(crate) fn detail(&self, host: HostId, id: &str) -> Option<&ContainerDetail> {
        let id = ContainerId::new(id)?;
        self.known(host).get(&id).map(|known| &known.detail)
    }

    /// The container that Iaso runs in, where it is one of this host's.
    pub(crate) fn own_on(&self, host: HostId) -> Option<&ContainerDetail> {
        self.known(host).get(self.own.as_ref()?).map(|known| &known.detail)
    }

    /// Services of the file for which there is no container.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Service> {
        let there = self.services.iter().filter(|watched| watched.container.is_some());
        let there: HashSet<_> = there.map(|watched| (&watched.service.name, &watched.service.host)).collect();
        let wanted = self.config.services.values().map(Arc::as_ref);
        wanted.filter(move |wanted| !there.contains(&(&wanted.name, &wanted.host)))
    }

    /// A container as it is.
    fn found(&mut self, host: HostId, mut detail: ContainerDetail, began: Mono, now: Now, news: &mut News) {
        if self.tell_the_same(host, &detail, began, news) {
            return;
        }
        let id = detail.id.clone();
        if self.own.as_ref() == Some(&id) {
            // What it can reach, and what it reaches the engine through, is judged by it.
            self.tellings += 1;
        }
        let before = self.hosts[usize::from(host.0)].remove(&id);
        let Some(before) = before else {
            news.rewired = true;
            let service = self.adopt(host, &detail, now.mono);
            let since = estimate(detail.started, began, now);
            let state = detail.state;
            let (started, learned) = (detail.started, began);
            let known = Known { started, learned, since, changed: began, detail, service, told: 0 };
            self.hosts[usize::from(host.0)].insert(id.clone(), known);
            self.claim_and_tell(host, &id, state, began, news);
            return;
        };
        if began < before.changed {
            self.hosts[usize::from(host.0)].insert(id, before);
            return;
        }
        // Names change by a rename only, and labels never do.
        let renamed = before.detail.name != detail.name;
        // How those stand that nobody watches is told to those who need them.
        news.rewired |= renamed || before.service.is_none() && before.detail.state != detail.state;
        let service = if renamed { self.adopt(host, &detail, now.mono) } else { before.service };
        let (instance, left) = (before.instance(), before.service.filter(|left| Some(*left) != service));
        let (mut started, mut learned, mut since) = (before.started, before.learned, before.since);
        if before.is_over(detail.started, began) {
            // Whatever the engine's clock shows: after all that is known of the life before.
            since = estimate(detail.started, began, now).max(before.changed.max(before.learned));
            (started, learned) = (detail.started.max(started + 1), began);
        } else {
            // Where only an event told of the start, its stamp stays.
            detail.started = before.detail.started;
        }
        let known = Known { started, learned, since, changed: before.changed, detail, service, told: 0 };
        let state = known.detail.state;
        self.hosts[usize::from(host.0)].insert(id.clone(), known);
        if let Some(left) = left {
            self.leave(host, left, &id, instance, began, news);
        }
        self.claim_and_tell(host, &id, state, began, news);
    }

    fn claim_and_tell(&mut self, host: HostId, id: &ContainerId, state: ContainerState, began: Mono, news: &mut News) {
        if let Some(service) = self.service_of(host, id) {
            self.claim(service, id, news);
            self.tell(service, id, state, began, news);
        }
    }

    /// Which service a container is, if any.
    fn adopt(&mut self, host: HostId, detail: &ContainerDetail, now: Mono) -> Option<ServiceId> {
        let config = Arc::clone(&self.config);
        let host_name = &config.hosts[usize::from(host.0)].name;
        match self.targets.judge(&config, host_name, &detail.name, &detail.image, &detail.labels) {
            Verdict::Disabled => None,
            Verdict::Unwatched(mistakes) => {
                self.tell_mistakes(detail, &mistakes);
                None
            }
            Verdict::Watched(watched) => {
                self.tell_mistakes(detail, &watched.mistakes);
                Some(self.register(host, *watched, now))
            }
        }
    }

    fn tell_mistakes(&mut self, detail: &ContainerDetail, mistakes: &[crate::config::labels::LabelMistake]) {
        if !mistakes.is_empty() && self.told.insert(detail.id.clone(), mistakes.len()).is_none() {
            for mistake in mistakes {
                tracing::warn!(container = %detail.name, "{mistake}");
            }
        }
    }

    fn register(&mut self, host: HostId, watched: watch::Watched, now: Mono) -> ServiceId {
        let host_name = Arc::from(self.config.hosts[usize::from(host.0)].name.as_str());
        let spec = watched.service.spec(watched.identity.clone(), host, watched.stateful);
        let subject = Arc::new(Subject {
            name: self.free_name(&watched),
            identity: watched.identity.clone(),
            host: host_name,
            severity: watched.service.severity,
            checks: watched.service.checks.iter().map(|check| Arc::from(check.name.as_str())).collect(),
        });
        if let Some(id) = self.by_identity.get(&watched.identity).copied() {
            self.by_name.insert(Arc::clone(&subject.name), id);
            let known = &mut self.services[id.0 as usize];
            let before = known.spec();
            known.keep_checks(&watched.service, &before, &spec, now);
            known.defined &= before == spec;
            (known.subject, known.service, known.stateful) = (subject, watched.service, watched.stateful);
            known.declared = true;
            return id;
        }
        let id = ServiceId(u32::try_from(self.services.len()).unwrap_or(u32::MAX));
        let (other_until, asked_since) = (vec![Mono(i64::MIN); spec.checks.len()], vec![now; spec.checks.len()]);
        self.by_name.insert(Arc::clone(&subject.name), id);
        let (service, stateful, container) = (watched.service, watched.stateful, None);
        let (declared, defined) = (true, false);
        let entry =
            Watched { subject, host, service, stateful, container, declared, defined, other_until, asked_since };
        self.services.push(entry);
        self.by_identity.insert(watched.identity, id);
        id
    }

    /// Makes a container its service's, unless another one has the better claim.
    fn claim(&mut self, service: ServiceId, id: &ContainerId, news: &mut News) {
        let watched = &self.services[service.0 as usize];
        let known = self.known(watched.host);
        let rank = |id: &ContainerId| known.get(id).map(|known| (is_alive(known.detail.state), known.started));
        let best = watched.container.as_ref().filter(|held| rank(held) > rank(id)).unwrap_or(id).clone();
        let watched = &mut self.services[service.0 as usize];
        watched.container = Some(best);
        if !watched.defined {
            watched.defined = true;
            let spec = Box::new(watched.spec());
            news.inputs.push(Input::Define { service, spec });
        }
    }

    /// A container is not this service's any more: another that claims it takes its place, or there is none.
    fn leave(
        &mut self,
        host: HostId,
        service: ServiceId,
        id: &ContainerId,
        instance: Instance,
        began: Mono,
        news: &mut News,
    ) {
        if self.services[service.0 as usize].container.as_ref() != Some(id) {
            return;
        }
        let heirs = self.known(host).iter().filter(|(other, known)| known.service == Some(service) && *other != id);
        let heir =
            heirs.max_by_key(|(_, known)| (is_alive(known.detail.state), known.started)).map(|(id, _)| id.clone());
        self.services[service.0 as usize].container.clone_from(&heir);
        if let Some(heir) = heir {
            let state = self.known(host)[&heir].detail.state;
            self.tell(service, &heir, state, began, news);
        } else {
            let sight = Sight { instance, began, since: began, state: State::Gone };
            news.inputs.push(Input::Seen { service, sight });
            news.replan.push(service);
        }
    }

    fn removed(&mut self, host: HostId, id: &ContainerId, began: Mono, news: &mut News) {
        let known = self.known(host).get(id).filter(|known| began >= known.changed);
        let Some((instance, service)) = known.map(|known| (known.instance(), known.service)) else { return };
        if let Some(service) = service {
            self.leave(host, service, id, instance, began, news);
        }
        self.hosts[usize::from(host.0)].remove(id);
        news.rewired = true;
        self.told.remove(id);
    }

    fn started(
        &mut self,
        host: HostId,
        event: &EngineEvent,
        detail: Option<ContainerDetail>,
        received: Mono,
        now: Now,
        news: &mut News,
    ) {
        if let Some(known) = self.hosts[usize::from(host.0)].get_mut(&event.container) {
            known.changed = known.changed.max(received);
        }
        if let Some(mut detail) = detail {
            // It ran when the event was sent. What became of it since, its next event tells, with the cause.
            if matches!(detail.state, ContainerState::Exited(_)) {
                detail.state = ContainerState::Running(health_at_start(&detail));
            }
            self.found(host, detail, received, now, news);
        } else if let Some(known) = self.hosts[usize::from(host.0)].get_mut(&event.container) {
            // A list that came first may have told of this very start.
            let is_another = event.time != known.detail.started && !known.is_old_news(event.time, received);
            if !is_alive(known.detail.state) && is_another {
                let started = event.time.max(known.started + 1);
                (known.started, known.learned, known.since) = (started, received, received);
                (known.detail.started, known.detail.oom_killed, known.told) = (event.time, false, 0);
            }
            let health = health_at_start(&known.detail);
            self.transition(host, event, received, ContainerState::Running(health), news);
        }
    }

    /// An event moved a container into another state. One from before its present life is old news.
    fn transition(
        &mut self,
        host: HostId,
        event: &EngineEvent,
        received: Mono,
        state: ContainerState,
        news: &mut News,
    ) {
        let Some(known) = self.hosts[usize::from(host.0)].get_mut(&event.container) else { return };
        if known.is_old_news(event.time, received) {
            return;
        }
        known.changed = received;
        known.detail.state = state;
        let service = known.service;
        news.rewired |= service.is_none();
        if let Some(service) = service {
            self.push_sight(service, &event.container, state_of(state, Witness::Event), received, news);
        }
    }
}

mod names;
mod oom;
mod reload;
mod telling;
#[cfg(test)]
mod tests;
