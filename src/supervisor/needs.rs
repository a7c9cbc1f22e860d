//! Who needs whom: what the file, labels, Compose and the engine say becomes numbers whenever that may have changed.

mod circles;
mod directory;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iaso_policy::Input;
use iaso_policy::id::ServiceId;
use iaso_policy::input::{EngineHealth, RestartPolicy};
use iaso_policy::spec::{Condition, Need, Restarts};

use self::circles::break_up;
use self::directory::{Directory, Found};
use self::files::{Files, FilesRead};
use super::Supervisor;
use super::container::Known;
use super::fleet::{Fleet, Watched};
use crate::config::{depends, watch};
use crate::engine::ContainerState;
use crate::system::tasks::Tasks;

/// What was told of needs.
pub(crate) struct Needs {
    /// The files of Compose projects.
    pub(super) files: Files,
    /// What each service needs, as the policy has it.
    told: BTreeMap<ServiceId, Vec<Need>>,
    /// Those who need each other in a circle, as people were told.
    circles: BTreeSet<Vec<ServiceId>>,
    /// By service: what it needs, and is not as it must be, of what nobody watches.
    unwatched: BTreeMap<ServiceId, Vec<Arc<str>>>,
    /// What labels name and nobody is, as people were told.
    unknown: BTreeSet<(ServiceId, String)>,
}

/// Who needs whom, as it is now.
#[derive(Default)]
struct Wiring {
    /// Of those who need something; without circles.
    needs: BTreeMap<ServiceId, Vec<Need>>,
    /// Who was in a circle.
    circles: BTreeSet<Vec<ServiceId>>,
    unwatched: BTreeMap<ServiceId, Vec<Arc<str>>>,
    unknown: BTreeSet<(ServiceId, String)>,
}

/// A need, and who says so.
#[derive(Debug, PartialEq)]
struct Wanted {
    by: By,
    need: Need,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    /// The file, which has no circles.
    File,
    /// The engine: it lives in the network of the other, or is linked to it.
    Engine,
    /// A label, which anybody may have written.
    Label,
}

impl Needs {
    /// Nothing was told yet. Files of Compose projects are read in `tasks`, where containers name any.
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self {
            files: Files::new(tasks),
            told: BTreeMap::new(),
            circles: BTreeSet::new(),
            unwatched: BTreeMap::new(),
            unknown: BTreeSet::new(),
        }
    }

    /// What the policy is to be told: what has changed in who needs whom.
    pub(crate) fn news(&mut self, fleet: &Fleet) -> Vec<Input> {
        self.files.keep_up(fleet);
        let Wiring { needs: mut news, circles, unwatched, unknown } = wiring(fleet, &self.files);
        for circle in circles.difference(&self.circles) {
            let names = circle.iter().filter_map(|id| Some(&*fleet.service(*id)?.subject.name));
            let names = names.collect::<Vec<_>>().join(", ");
            tracing::warn!("labels say that these need each other in a circle, which does not count: {names}");
        }
        for (service, name) in unknown.difference(&self.unknown) {
            let service = fleet.service(*service).map(|watched| &*watched.subject.name);
            tracing::warn!(
                service,
                "its label iaso.depends_on names `{name}`, and nothing on its host goes by that name: it waits for nobody"
            );
        }
        (self.circles, self.unwatched, self.unknown) = (circles, unwatched, unknown);
        for (service, known) in &self.told {
            match news.get(service) {
                Some(needs) if needs == known => drop(news.remove(service)),
                Some(_) => {}
                None if known.is_empty() => {}
                None => drop(news.insert(*service, Vec::new())),
            }
        }
        self.told.extend(news.iter().map(|(service, needs)| (*service, needs.clone())));
        news.into_iter().map(|(service, needs)| Input::Needs { service, needs }).collect()
    }

    /// The containers that nobody watches and that a service waits for, directly or through what it needs.
    pub(super) fn waits_for(&self, service: ServiceId) -> Vec<Arc<str>> {
        let (mut walked, mut next) = (BTreeSet::from([service]), vec![service]);
        let mut names = BTreeSet::new();
        while let Some(id) = next.pop() {
            names.extend(self.unwatched.get(&id).into_iter().flatten().cloned());
            let on = self.told.get(&id).into_iter().flatten().flat_map(|need| need.on.iter().copied());
            next.extend(on.filter(|on| walked.insert(*on)));
        }
        names.into_iter().collect()
    }
}

impl Supervisor {
    /// A Compose project's files were read.
    pub(super) fn compose_files(&mut self, read: FilesRead) {
        self.needs.files.take(read);
        self.tell_needs();
    }

    /// Tells the policy what has changed in who needs whom.
    pub(super) fn tell_needs(&mut self) {
        for input in self.needs.news(&self.fleet) {
            self.step(input);
        }
    }
}

fn wiring(fleet: &Fleet, files: &Files) -> Wiring {
    let (directory, mut wiring) = (Directory::new(fleet), Wiring::default());
    let mut all = BTreeMap::new();
    for (id, watched) in (0..).map(ServiceId).zip(&fleet.services).filter(|(_, watched)| watched.declared) {
        let wanted = wanted_by(fleet, files, &directory, (id, watched), &mut wiring);
        if !wanted.is_empty() {
            all.insert(id, wanted);
        }
    }
    wiring.circles = break_up(&mut all);
    let needs = all.into_iter().map(|(id, wanted)| (id, wanted.into_iter().map(|wanted| wanted.need).collect()));
    wiring.needs = needs.filter(|(_, needs): &(_, Vec<Need>)| !needs.is_empty()).collect();
    wiring
}

/// What a service needs; what of it nobody watches, or nobody is, is noted.
fn wanted_by(
    fleet: &Fleet,
    files: &Files,
    directory: &Directory<'_>,
    (id, watched): (ServiceId, &Watched),
    noted: &mut Wiring,
) -> Vec<Wanted> {
    let Wiring { unwatched, unknown, .. } = noted;
    let mut need = |found: Found<'_>, until, restarts| {
        let need = need(&found, until, restarts);
        if need.unwatched == Some(false) {
            let names = found.unwatched.iter().map(|known| Arc::from(known.detail.name.as_str()));
            unwatched.entry(id).or_default().extend(names);
        }
        need
    };
    let known = fleet.container_of(watched);
    let project = known.and_then(|known| watch::compose(&known.detail.labels)).map(|(project, _)| project);
    let host = watched.host;
    let of_file = directory::is_of_file(fleet, watched);
    let named = watched.service.depends_on.iter().map(|name| {
        let (by, found) = if of_file {
            (By::File, directory.of_file(name))
        } else {
            let found = directory.named(host, project, name);
            if found.watched.is_empty() && found.unwatched.is_empty() {
                unknown.insert((id, name.clone()));
            }
            (By::Label, found)
        };
        Wanted { by, need: need(found, Condition::Healthy, Restarts::Never) }
    });
    let mut all: Vec<Wanted> = named.collect();
    let Some(known) = known else { return all };
    let labels = &known.detail.labels;
    // Compose 1 writes no label.
    let of_files = || if files::are_at_hand(fleet, host) { files.of(labels).to_vec() } else { Vec::new() };
    for wanted in depends::of_label(labels).unwrap_or_else(of_files) {
        let found = project.map(|project| directory.of_project(host, project, &wanted.service)).unwrap_or_default();
        let restarts = if wanted.restart { Restarts::Healed } else { Restarts::Never };
        all.push(Wanted { by: By::Label, need: need(found, wanted.until, restarts) });
    }
    if let Some(owner) = known.detail.network_mode.strip_prefix("container:") {
        let found = directory.container(host, owner);
        all.push(Wanted { by: By::Engine, need: need(found, Condition::Started, Restarts::Started) });
    }
    for name in &known.detail.links {
        let found = directory.container(host, name);
        all.push(Wanted { by: By::Engine, need: need(found, Condition::Started, Restarts::Never) });
    }
    all
}

/// Of several instances one is enough: whoever needs a service that was scaled asks whichever answers.
fn need(found: &Found<'_>, until: Condition, restarts: Restarts) -> Need {
    let is_met = || found.unwatched.iter().any(|known| meets(known, until));
    let unwatched = (!found.unwatched.is_empty()).then(is_met);
    Need { on: found.watched.clone(), unwatched, until, restarts }
}

/// Whether a container that nobody watches is as it must be, as far as the engine tells.
fn meets(known: &Known, until: Condition) -> bool {
    match known.detail.state {
        // A job that has done its work; none that its engine starts again, or would unless somebody had stopped it.
        ContainerState::Exited(0) => known.detail.restart != RestartPolicy::Always,
        ContainerState::Running(health) => match until {
            Condition::Started => true,
            Condition::Healthy => matches!(health, EngineHealth::None | EngineHealth::Healthy),
            Condition::Completed => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests;
