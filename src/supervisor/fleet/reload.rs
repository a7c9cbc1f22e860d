//! Another configuration, for the containers as they are known: whatever it says nothing else about is not touched.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use iaso_policy::Input;
use iaso_policy::id::{HostId, ServiceId};
use iaso_policy::spec::ServiceSpec;
use iaso_policy::time::{Mono, Now};

use super::{Fleet, News, Watched};
use crate::config::validated::{Config, Service};
use crate::config::watch::Targets;
use crate::engine::{ContainerDetail, ContainerId};

impl Fleet {
    /// Takes on a configuration with the same hosts. Services that are no longer watched come last of what follows, so
    /// that nothing decided then is decided by half of it.
    pub(crate) fn reload(&mut self, config: Arc<Config>, now: Now) -> News {
        let targets = std::mem::replace(&mut self.targets, Targets::new(&config));
        let before = std::mem::replace(&mut self.config, config);
        self.tellings += 1;
        let changed = self.judged_otherwise(&before, &targets);
        // Their names are free for each other.
        for (host, id) in &changed {
            if let Some(service) = self.service_of(*host, id) {
                self.services[service.0 as usize].declared = false;
            }
        }
        let mut news = News::default();
        for (host, id) in &changed {
            self.adopt_anew(*host, id, now, &mut news);
        }
        let owners: HashSet<ServiceId> =
            self.hosts.iter().flat_map(BTreeMap::values).filter_map(|known| known.service).collect();
        for number in 0..self.services.len() {
            let service = ServiceId(u32::try_from(number).unwrap_or(u32::MAX));
            let watched = &mut self.services[number];
            watched.declared |= owners.contains(&service);
            if !watched.declared || self.has_left_the_file(service, &before) {
                self.part_with(service, &mut news);
            }
        }
        // Who there is, is known before it is decided how any of them is seen to be.
        news.inputs.sort_by_key(|input| match input {
            Input::Forget { .. } => 2,
            Input::Seen { .. } => 1,
            _ => 0,
        });
        // Of two with one name the first has it.
        self.by_name.clear();
        for (watched, number) in self.services.iter().zip(0..).filter(|(watched, _)| watched.declared) {
            self.by_name.entry(Arc::clone(&watched.subject.name)).or_insert(ServiceId(number));
        }
        news
    }

    /// The containers about which the two configurations differ; of several that claim one service the one that it is comes
    /// last, and has the last word about it.
    fn judged_otherwise(&self, before: &Config, targets: &Targets) -> Vec<(HostId, ContainerId)> {
        let mut changed = Vec::new();
        for ((host, containers), number) in before.hosts.iter().zip(&self.hosts).zip(0..) {
            for (id, known) in containers {
                let ContainerDetail { name, image, labels, .. } = &known.detail;
                let judged = |targets: &Targets, config| targets.judge(config, &host.name, name, image, labels);
                if judged(targets, before) != judged(&self.targets, &self.config) {
                    changed.push((HostId(number), id.clone()));
                }
            }
        }
        changed.sort_by_key(|(host, id)| {
            self.service_of(*host, id)
                .is_some_and(|service| self.services[service.0 as usize].container.as_ref() == Some(id))
        });
        changed
    }

    fn adopt_anew(&mut self, host: HostId, id: &ContainerId, now: Now, news: &mut News) {
        let Some(detail) = self.known(host).get(id).map(|known| known.detail.clone()) else { return };
        let service = self.adopt(host, &detail, now.mono);
        let Some(known) = self.hosts[usize::from(host.0)].get_mut(id) else { return };
        let (instance, changed) = (known.instance(), known.changed);
        let before = std::mem::replace(&mut known.service, service);
        if let Some(left) = before.filter(|left| Some(*left) != service)
            && self.known(host).values().any(|known| known.service == Some(left))
        {
            self.leave(host, left, id, instance, changed, news);
        }
        let Some(service) = service else { return };
        self.claim(service, id, news);
        if before.is_none() {
            // What is known of it is as old as what last told of it.
            self.tell(service, id, detail.state, changed, news);
        }
        news.replan.push(service);
    }

    /// It has no container by which to tell, and the file that waited for one does so no more.
    fn has_left_the_file(&self, service: ServiceId, before: &Config) -> bool {
        let Watched { service, container, .. } = &self.services[service.0 as usize];
        let waits = |config: &Config| {
            let wanted = config.services.get(&service.name);
            wanted.is_some_and(|wanted| wanted.host == service.host && wanted.target == service.target)
        };
        container.is_none() && waits(before) && !waits(&self.config)
    }

    fn part_with(&mut self, service: ServiceId, news: &mut News) {
        let watched = &mut self.services[service.0 as usize];
        (watched.container, watched.declared) = (None, false);
        if std::mem::take(&mut watched.defined) {
            news.inputs.push(Input::Forget { service });
            news.replan.push(service);
        }
    }
}

impl Watched {
    /// What the policy needs to know of it.
    pub(crate) fn spec(&self) -> ServiceSpec {
        self.service.spec(self.subject.identity.clone(), self.host, self.stateful)
    }

    /// What holds of its checks as they were, as which `before` has them, also holds of those that `service` and `spec` have
    /// in the same places.
    pub(super) fn keep_checks(&mut self, service: &Service, before: &ServiceSpec, spec: &ServiceSpec, now: Mono) {
        let kept = |known: &[Mono], is_same: &dyn Fn(usize) -> bool| -> Vec<Mono> {
            (0..spec.checks.len()).map(|at| known.get(at).filter(|_| is_same(at)).copied().unwrap_or(now)).collect()
        };
        let (before, wanted) = (&before.checks, &spec.checks);
        let other_until = kept(&self.other_until, &|at| before[at].fingerprint == wanted[at].fingerprint);
        let (before, wanted) = (&self.service.checks, &service.checks);
        // Nobody listened to one that was not watched meanwhile.
        let is_asked_as_before =
            |at: usize| self.defined && (&before[at].name, &before[at].probe) == (&wanted[at].name, &wanted[at].probe);
        let asked_since = kept(&self.asked_since, &is_asked_as_before);
        (self.other_until, self.asked_since) = (other_until, asked_since);
    }
}

#[cfg(test)]
mod tests;
