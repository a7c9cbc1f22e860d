//! Whether the disks that hold the engines' data are full: measured where Iaso sees them, else as an engine's answers say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use iaso_policy::id::HostId;
use iaso_policy::input::{Input, Outcome};
use iaso_policy::spec::Step;
use iaso_policy::time::Mono;
use tokio::sync::mpsc;

use super::Supervisor;
use super::operations::Returned;
use crate::config::validated::HostAddress;
use crate::system::disk;
use crate::system::tasks::Tasks;

/// From one measurement to the next.
const EVERY: Duration = Duration::from_secs(10);
/// How long an engine's word that there is no room counts, unless it starts something sooner.
const BELIEVED: Duration = Duration::from_secs(600);
/// What the kernel says when there is none, in every engine's answer.
const NO_ROOM: &str = "no space left on device";

/// The disks of all hosts.
pub(super) struct Disks {
    tasks: Tasks,
    back: mpsc::UnboundedSender<Measured>,
    returned: mpsc::UnboundedReceiver<Measured>,
    hosts: Vec<Disk>,
}

#[derive(Default)]
struct Disk {
    /// What lies on it; none while nobody knows, and where it is another machine's.
    path: Option<PathBuf>,
    /// One measurement at a time: a disk that hangs keeps one thread.
    under_way: bool,
    due: Option<Mono>,
    free: Option<u64>,
    /// When its engine last said that there is no room.
    refused: Option<Mono>,
    /// As the policy has it.
    full: bool,
}

/// A disk, as it was measured.
pub(super) struct Measured {
    host: HostId,
    free: Option<u64>,
}

impl Disks {
    pub(super) fn new(tasks: Tasks, hosts: usize) -> Self {
        let (back, returned) = mpsc::unbounded_channel();
        let hosts = std::iter::repeat_with(Disk::default).take(hosts).collect();
        Self { tasks, back, returned, hosts }
    }

    /// The next measurement. Waits for ever while there is none.
    pub(super) async fn next(&mut self) -> Measured {
        match self.returned.recv().await {
            Some(measured) => measured,
            // The other end is held right here.
            None => std::future::pending().await,
        }
    }

    /// An engine was reached that keeps its data there.
    fn locate(&mut self, host: HostId, path: Option<PathBuf>) {
        let disk = &mut self.hosts[usize::from(host.0)];
        if disk.path != path {
            *disk = Disk { path, under_way: disk.under_way, full: disk.full, ..Disk::default() };
        }
    }

    fn take(&mut self, measured: &Measured, now: Mono) {
        let disk = &mut self.hosts[usize::from(measured.host.0)];
        (disk.under_way, disk.free, disk.due) = (false, measured.free, Some(now + EVERY));
    }

    fn measure_what_is_due(&mut self, now: Mono) {
        for (disk, number) in self.hosts.iter_mut().zip(0..) {
            if let Some(path) = disk.path.clone().filter(|_| !disk.under_way && disk.due.is_none_or(|due| due <= now)) {
                disk.under_way = true;
                let (host, back, stop) = (HostId(number), self.back.clone(), self.tasks.stop_token());
                self.tasks.spawn("disk", async move {
                    let free = tokio::select! {
                        free = tokio::task::spawn_blocking(move || disk::free(&path)) => free,
                        () = stop.cancelled() => return,
                    };
                    // A disk that cannot be measured says nothing.
                    let _ended = back.send(Measured { host, free: free.ok().and_then(Result::ok) });
                });
            }
        }
    }

    /// What the policy does not know yet. With less than `least` bytes free a disk is full, with a quarter more it is not.
    fn news(&mut self, least: u64, now: Mono) -> Vec<(HostId, bool)> {
        let mut news = Vec::new();
        for (disk, number) in self.hosts.iter_mut().zip(0..) {
            let full = match disk.free {
                _ if least == 0 => false,
                Some(free) => free < if disk.full { least.saturating_add(least / 4) } else { least },
                None => disk.refused.is_some_and(|at| now.since(at) < BELIEVED),
            };
            if disk.full != full {
                disk.full = full;
                news.push((HostId(number), full));
            }
        }
        news
    }
}

impl Supervisor {
    /// An engine was reached. Its disk is seen where it is this machine's; from within a container of its own, as Iaso's root.
    pub(super) fn found_disk(&mut self, host: HostId, data_root: Option<&Path>) {
        let is_local = matches!(self.config.hosts[usize::from(host.0)].address, HostAddress::Unix(_));
        let path = match self.fleet.own_on(host) {
            Some(_) => Some(PathBuf::from("/")),
            None => data_root.filter(|_| is_local).map(Path::to_owned),
        };
        self.disks.locate(host, path);
    }

    pub(super) fn measured(&mut self, measured: &Measured) {
        self.disks.take(measured, self.clock.mono());
    }

    /// What an operation's answer says of its host's disk.
    pub(super) fn disk_of(&mut self, done: &Returned) {
        let Returned { operation, operated } = done;
        let disk = &mut self.disks.hosts[usize::from(operation.host.0)];
        if operated.outcome == Outcome::Failed && operated.detail.contains(NO_ROOM) {
            disk.refused = Some(self.clock.mono());
        } else if operated.outcome == Outcome::Done && matches!(operation.step, Step::Start | Step::Restart) {
            disk.refused = None;
        }
    }

    /// Measures what is due, and tells the policy what is news.
    pub(super) fn look_at_disks(&mut self) {
        let now = self.clock.mono();
        self.disks.measure_what_is_due(now);
        for (host, full) in self.disks.news(self.config.disk_full, now) {
            self.step(Input::Disk { host, full });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostId = HostId(0);
    const LEAST: u64 = 1000;

    fn disks() -> Disks {
        let mut disks = Disks::new(Tasks::new(), 1);
        disks.locate(HOST, Some(PathBuf::from("/")));
        disks
    }

    #[test]
    fn a_disk_is_full_below_the_limit_until_there_is_a_quarter_more() {
        let mut disks = disks();
        let mut told = |free, least| {
            disks.take(&Measured { host: HOST, free }, Mono(0));
            disks.news(least, Mono(0)).pop().map(|(_, full)| full)
        };
        assert_eq!(told(None, LEAST), None, "nothing is known");
        assert_eq!(told(Some(1000), LEAST), None);
        assert_eq!(told(Some(999), LEAST), Some(true));
        assert_eq!((told(Some(0), LEAST), told(Some(1249), LEAST)), (None, None), "once");
        assert_eq!(told(Some(1250), LEAST), Some(false));
        assert_eq!(told(Some(0), 0), None, "switched off");
    }

    #[test]
    fn an_engine_is_believed_for_a_while_where_nobody_can_measure() {
        let mut disks = Disks::new(Tasks::new(), 1);
        disks.hosts[0].refused = Some(Mono(0));
        assert_eq!(disks.news(LEAST, Mono(1)), [(HOST, true)]);
        assert_eq!(disks.news(LEAST, Mono(599_999)), []);
        assert_eq!(disks.news(LEAST, Mono(600_000)), [(HOST, false)]);
        disks.hosts[0].refused = Some(Mono(600_000));
        disks.take(&Measured { host: HOST, free: Some(LEAST) }, Mono(600_000));
        assert_eq!(disks.news(LEAST, Mono(600_001)), [], "what is seen is believed first: it spoke of another disk");
    }

    #[tokio::test]
    async fn it_is_measured_again_and_again_and_never_twice_at_once() {
        let mut disks = disks();
        for due in [0, 10_000] {
            disks.measure_what_is_due(Mono(due));
            disks.measure_what_is_due(Mono(due + 60_000));
            let measured = disks.next().await;
            assert!(measured.free.is_some());
            assert!(disks.returned.try_recv().is_err(), "one at a time");
            disks.take(&measured, Mono(due));
            disks.measure_what_is_due(Mono(due + 9_999));
            assert!(!disks.hosts[0].under_way);
        }
    }
}
