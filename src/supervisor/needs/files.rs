//! The files of Compose projects whose containers carry no label of what they need. They are read beside the supervisor, and
//! again whenever such a container is new: Compose may have made it from another text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use iaso_policy::id::HostId;
use tokio::sync::mpsc;

use super::super::fleet::Fleet;
use crate::config::depends::compose_file::{self, Project, Unreadable};
use crate::config::depends::{self, Dependency};
use crate::config::validated::HostAddress;
use crate::config::watch::{self, Labels};
use crate::engine::ContainerId;
use crate::system::tasks::Tasks;

/// So many projects are read at a time: each read that a disk holds up holds up a thread.
const AT_ONCE: usize = 4;

/// A read that takes this long is told.
const SLOW: Duration = Duration::from_secs(10);

type Read = fn(&[PathBuf]) -> Result<Project, Unreadable>;

/// What was read, and what is being read.
pub(in crate::supervisor) struct Files {
    tasks: Tasks,
    read: Read,
    back: mpsc::UnboundedSender<FilesRead>,
    returned: mpsc::UnboundedReceiver<FilesRead>,
    projects: BTreeMap<Vec<PathBuf>, Known>,
}

/// What is known of a project by its files.
#[derive(Default)]
struct Known {
    project: Project,
    /// The containers for whose sake it was read last.
    read_for: BTreeSet<ContainerId>,
    under_way: bool,
    /// Why it could not be read, as people were told.
    told: Option<Unreadable>,
}

/// A project's files, as they were read.
pub(in crate::supervisor) struct FilesRead {
    paths: Vec<PathBuf>,
    read: Result<Project, Unreadable>,
}

impl Files {
    pub(in crate::supervisor) fn new(tasks: Tasks) -> Self {
        Self::by(tasks, compose_file::read)
    }

    pub(super) fn by(tasks: Tasks, read: Read) -> Self {
        let (back, returned) = mpsc::unbounded_channel();
        Self { tasks, read, back, returned, projects: BTreeMap::new() }
    }

    /// The next ones that were read. Waits for ever while there are none.
    pub(in crate::supervisor) async fn next(&mut self) -> FilesRead {
        match self.returned.recv().await {
            Some(read) => read,
            // The other end is held right here.
            None => std::future::pending().await,
        }
    }

    /// Has the files read that containers are new of; those for which there is no room now, when one of the others was read.
    pub(super) fn keep_up(&mut self, fleet: &Fleet) {
        let wanted = wanted(fleet);
        self.projects.retain(|paths, known| known.under_way || wanted.contains_key(paths));
        let mut room = AT_ONCE.saturating_sub(self.projects.values().filter(|known| known.under_way).count());
        for (paths, containers) in wanted {
            let known = self.projects.entry(paths.clone()).or_default();
            if room == 0 || known.under_way || containers.is_subset(&known.read_for) {
                continue;
            }
            room -= 1;
            (known.read_for, known.under_way) = (containers, true);
            self.read(paths);
        }
    }

    fn read(&self, paths: Vec<PathBuf>) {
        let (back, stop, read) = (self.back.clone(), self.tasks.stop_token(), self.read);
        self.tasks.spawn("compose-files", async move {
            let asked = paths.clone();
            let mut reads = tokio::task::spawn_blocking(move || read(&asked));
            let mut is_told = false;
            let read = loop {
                tokio::select! {
                    read = &mut reads => break read,
                    () = tokio::time::sleep(SLOW), if !is_told => is_told = tell_slow(&paths),
                    () = stop.cancelled() => return,
                }
            };
            // A panic is the reader's, and tells nothing of what is needed.
            let read = read.unwrap_or_else(|_| Ok(Project::new()));
            let _ended = back.send(FilesRead { paths, read });
        });
    }

    /// What was read counts from now on; what cannot be read is told once, and what was known of it before stays.
    pub(super) fn take(&mut self, FilesRead { paths, read }: FilesRead) {
        let Some(known) = self.projects.get_mut(&paths) else { return };
        known.under_way = false;
        match read {
            Ok(project) => (known.project, known.told) = (project, None),
            Err(unreadable) => {
                if known.told.as_ref() != Some(&unreadable) {
                    tracing::info!(
                        "what the services of a Compose project need is not known from its file: {unreadable}"
                    );
                }
                known.told = Some(unreadable);
            }
        }
    }

    /// Everything is to be read again.
    pub(in crate::supervisor) fn forget(&mut self) {
        for known in self.projects.values_mut() {
            known.read_for.clear();
        }
    }

    /// By project: whether it is being read.
    #[cfg(test)]
    pub(super) fn projects(&self) -> impl Iterator<Item = bool> {
        self.projects.values().map(|known| known.under_way)
    }

    /// What a container needs by its project's files.
    pub(super) fn of(&self, labels: &Labels) -> &[Dependency] {
        let known = compose_file::files_of(labels).and_then(|paths| self.projects.get(&paths));
        let service = watch::compose(labels).map(|(_, service)| service);
        known.zip(service).and_then(|(known, service)| known.project.get(service)).map_or(&[], Vec::as_slice)
    }
}

/// Says that a read takes long.
fn tell_slow(paths: &[PathBuf]) -> bool {
    let file = paths.first().map_or_else(String::new, |path| compose_file::printed(path));
    tracing::warn!(
        "{file} has not been read for {} s, as on a disk that hangs: what the services of its Compose project need is not known \
         from it meanwhile",
        SLOW.as_secs()
    );
    true
}

/// Files of another machine are not at hand: only the engines behind Unix sockets are this one's.
pub(super) fn are_at_hand(fleet: &Fleet, host: HostId) -> bool {
    matches!(fleet.config.hosts[usize::from(host.0)].address, HostAddress::Unix(_))
}

/// Every project whose files say what no label says, and its containers.
fn wanted(fleet: &Fleet) -> BTreeMap<Vec<PathBuf>, BTreeSet<ContainerId>> {
    let mut wanted: BTreeMap<Vec<PathBuf>, BTreeSet<ContainerId>> = BTreeMap::new();
    for watched in fleet.services.iter().filter(|watched| watched.declared) {
        let known = fleet.container_of(watched).filter(|_| are_at_hand(fleet, watched.host));
        let Some(detail) = known.map(|known| &known.detail) else { continue };
        if depends::of_label(&detail.labels).is_none()
            && let Some(paths) = compose_file::files_of(&detail.labels)
        {
            wanted.entry(paths).or_default().insert(detail.id.clone());
        }
    }
    wanted
}
