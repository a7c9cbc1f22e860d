//! What a name may stand for, on its host.

use std::collections::BTreeMap;

use iaso_policy::id::{HostId, ServiceId};

use super::super::container::Known;
use super::super::fleet::{Fleet, Watched};
use crate::config::watch;
use crate::engine::{ContainerId, ContainerState};

/// Every name.
pub(super) struct Directory<'f> {
    fleet: &'f Fleet,
    of_file: BTreeMap<&'f str, Vec<ServiceId>>,
    hosts: Vec<Names<'f>>,
}

/// The names of one host.
#[derive(Default)]
struct Names<'f> {
    /// By Compose project and service.
    compose: BTreeMap<(&'f str, &'f str), Found<'f>>,
    services: BTreeMap<&'f str, Vec<ServiceId>>,
    containers: BTreeMap<&'f str, &'f Known>,
}

/// What a name stands for.
#[derive(Default, Clone)]
pub(super) struct Found<'f> {
    pub(super) watched: Vec<ServiceId>,
    pub(super) unwatched: Vec<&'f Known>,
}

impl<'f> Directory<'f> {
    pub(super) fn new(fleet: &'f Fleet) -> Self {
        let mut of_file: BTreeMap<&str, Vec<ServiceId>> = BTreeMap::new();
        let mut hosts: Vec<Names<'_>> = fleet.config.hosts.iter().map(|_| Names::default()).collect();
        for (id, watched) in (0..).map(ServiceId).zip(&fleet.services).filter(|(_, watched)| watched.declared) {
            let names = &mut hosts[usize::from(watched.host.0)];
            let (shown, given) = (&*watched.subject.name, &*watched.service.name);
            names.services.entry(shown).or_default().push(id);
            if given != shown {
                names.services.entry(given).or_default().push(id);
            }
            // Also while it has no container.
            if let Some(compose) = watched.subject.identity.compose_service() {
                names.compose.entry(compose).or_default().watched.push(id);
            }
            if is_of_file(fleet, watched) {
                of_file.entry(given).or_default().push(id);
            }
        }
        for (names, number) in hosts.iter_mut().zip(0..) {
            for known in fleet.known(HostId(number)).values() {
                names.containers.insert(&known.detail.name, known);
                let labels = &known.detail.labels;
                if is_unwatched(known)
                    && !watch::is_one_off(labels)
                    && let Some(compose) = watch::compose(labels)
                {
                    names.compose.entry(compose).or_default().unwatched.push(known);
                }
            }
        }
        Self { fleet, of_file, hosts }
    }

    /// A service of the file.
    pub(super) fn of_file(&self, name: &str) -> Found<'f> {
        Found { watched: self.of_file.get(name).cloned().unwrap_or_default(), unwatched: Vec::new() }
    }

    /// A service of a Compose project: all its replicas.
    pub(super) fn of_project(&self, host: HostId, project: &str, service: &str) -> Found<'f> {
        self.hosts[usize::from(host.0)].compose.get(&(project, service)).cloned().unwrap_or_default()
    }

    /// A container by its id or its name.
    pub(super) fn container(&self, host: HostId, name: &str) -> Found<'f> {
        let by_id = || self.fleet.known(host).get(&ContainerId::new(name)?);
        let by_name = self.hosts[usize::from(host.0)].containers.get(name).copied();
        let Some(known) = by_name.or_else(by_id) else { return Found::default() };
        let unwatched = is_unwatched(known).then_some(known);
        Found { watched: known.service.into_iter().collect(), unwatched: unwatched.into_iter().collect() }
    }

    /// What a label of a container, of a Compose project or none, means: its own project's first, then services that are
    /// watched, then any container.
    pub(super) fn named(&self, host: HostId, project: Option<&str>, name: &str) -> Found<'f> {
        let names = &self.hosts[usize::from(host.0)];
        if let Some(found) = project.and_then(|project| names.compose.get(&(project, name))) {
            return found.clone();
        }
        match names.services.get(name) {
            Some(watched) => Found { watched: watched.clone(), unwatched: Vec::new() },
            None => self.container(host, name),
        }
    }
}

/// Whether it is the file that asks for it. Nobody else's name stands for a service of the file.
pub(super) fn is_of_file(fleet: &Fleet, watched: &Watched) -> bool {
    fleet.config.services.get(&watched.service.name).is_some_and(|wanted| *wanted == watched.service)
}

/// Nobody watches it, and it is not on its way out.
fn is_unwatched(known: &Known) -> bool {
    known.service.is_none() && !matches!(known.detail.state, ContainerState::Removing | ContainerState::Dead)
}
