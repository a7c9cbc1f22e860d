//! Runs checks: their starts spread over slots, each at the interval that the supervisor asks for, none delayed by another.
//!
//! One task owns the plan. Each run is a task of its own, so that a probe that panics or hangs is a failed check and nothing
//! more. A run of a check never overlaps another of the same check. Results go out through a bounded channel; while it is
//! full the newest of each check waits here.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use iaso_policy::id::{CheckId, HostId, Instance, ServiceId};
use iaso_policy::time::Mono;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::config::validated::Probe;
use crate::probe::address::{NoAddress, Way};
use crate::probe::report::{Report, Verdict};
use crate::probe::slots::Slots;
use crate::system::clock::Clock;
use crate::system::queue::Queued;
use crate::system::tasks::Tasks;

/// Waking up is what a check costs: those of one slot share one.
const SLOT: Duration = Duration::from_millis(250);
/// Probes of one host's services under way at once. Bounds sockets and memory; far above what a slot starts. Each host has its
/// own: those of a dead one hang, every one of them.
const IN_FLIGHT: usize = 256;
/// A probe that outlives its own time limit by this much is cut.
const OVERDUE: Duration = Duration::from_secs(1);

/// Carries out one probe. Expected to end within [`Planned::timeout`].
pub type Prober = Arc<dyn Fn(Arc<Planned>) -> BoxFuture<'static, Report> + Send + Sync>;

/// One check of one service, ready to be run. Without `Debug`: its headers may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its position in its service's definition.
    pub check: CheckId,
    /// Its name, for log lines.
    pub name: String,
    /// What is probed.
    pub probe: Arc<Probe>,
    /// The life of the container that results are about.
    pub instance: Instance,
    /// Since when that life can have answered: its beginning, or the check's own where that came later; on Iaso's clock.
    pub since: Mono,
    /// Its service's name.
    pub service: Arc<str>,
    /// The engine that the container lives on.
    pub host: HostId,
    /// The container's id, all 64 digits.
    pub container: Arc<str>,
    /// Where the probe goes ([`crate::probe::address::way`]). Without a way each run fails and says why.
    pub way: Result<Way, NoAddress>,
    /// A run's whole time.
    pub timeout: Duration,
    /// The usual cadence, rounded to slots of 250 ms, at least one.
    pub interval: Duration,
}

/// A run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Whose check.
    pub service: ServiceId,
    /// Which.
    pub check: CheckId,
    /// The life it looked at.
    pub instance: Instance,
    /// When it began.
    pub began: Mono,
    /// How it ended.
    pub verdict: Verdict,
    /// One line, 300 characters at most.
    pub evidence: Arc<str>,
    /// How long.
    pub took: Duration,
    /// When the certificate that was shown ends, in seconds since 1970.
    pub certificate_expiry: Option<i64>,
}

/// Gives the scheduler its orders. None of them waits; once the scheduler has ended they do nothing.
#[derive(Debug, Clone)]
pub struct SchedulerHandle {
    commands: mpsc::UnboundedSender<Command>,
}

enum Command {
    Set(ServiceId, Vec<Planned>),
    Cadence(ServiceId, CheckId, Duration),
    ProbeNow(ServiceId, CheckId),
    Remove(ServiceId),
}

impl SchedulerHandle {
    /// From now on these are the service's checks. A new one, and one whose definition or instance changed, runs as soon as a
    /// slot has room (one per slot beyond its share); an equal one goes on undisturbed. A cadence asked for earlier stays,
    /// unless the check's usual interval changed.
    pub fn set(&self, service: ServiceId, checks: Vec<Planned>) {
        self.send(Command::Set(service, checks));
    }

    /// Runs a check at this interval from now on. A check that is not there is passed over.
    pub fn cadence(&self, service: ServiceId, check: CheckId, every: Duration) {
        self.send(Command::Cadence(service, check, every));
    }

    /// Runs a check at once. While such a run is under way its result serves all who ask; while a run of the usual cadence is
    /// under way (it began before the question) another follows it.
    pub fn probe_now(&self, service: ServiceId, check: CheckId) {
        self.send(Command::ProbeNow(service, check));
    }

    /// The service has no checks any more. Its runs under way are cut and tell nothing.
    pub fn remove(&self, service: ServiceId) {
        self.send(Command::Remove(service));
    }

    /// Returns once the scheduler has ended: asked to stop, by a panic, or because nobody takes its results.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    fn send(&self, command: Command) {
        let _ended = self.commands.send(command);
    }
}

type Key = (ServiceId, CheckId);

/// The task that runs checks.
pub struct Scheduler {
    tasks: Tasks,
    clock: Clock,
    prober: Prober,
    permits: BTreeMap<HostId, Arc<Semaphore>>,
    checks: BTreeMap<Key, Check>,
    slots: Slots<Key>,
    /// Checks that wait for their first run, which a long interval must not delay.
    fresh: VecDeque<Key>,
    /// The ends of runs: whose, which, and what came of it unless it was cut.
    running: FuturesUnordered<BoxFuture<'static, (Key, u64, Option<Finished>)>>,
    runs: u64,
    outbox: Outbox,
}

struct Check {
    planned: Arc<Planned>,
    run: Option<Run>,
    /// It has not run since it was set.
    fresh: bool,
    /// Somebody asked during a run that began before the question.
    again: bool,
}

/// A run under way; dropped, it is cut.
struct Run {
    id: u64,
    asked_for: bool,
    task: tokio::task::AbortHandle,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Results that the channel had no room for: the newest of each check, oldest check first.
#[derive(Default)]
struct Outbox {
    newest: BTreeMap<Key, Queued<Finished>>,
    order: VecDeque<Key>,
}

impl Outbox {
    fn put(&mut self, key: Key, finished: Finished) {
        if self.newest.insert(key, Queued::now(finished)).is_none() {
            self.order.push_back(key);
        }
    }

    fn pop(&mut self) -> Option<Queued<Finished>> {
        let key = self.order.pop_front()?;
        self.newest.remove(&key)
    }
}

impl Scheduler {
    /// Starts it as the task `scheduler`; each run is a task `probe`. Ends when the tasks are asked to stop.
    pub fn start(
        tasks: &Tasks,
        clock: Clock,
        prober: Prober,
        results: mpsc::Sender<Queued<Finished>>,
    ) -> SchedulerHandle {
        let (commands, orders) = mpsc::unbounded_channel();
        let scheduler = Self {
            tasks: tasks.clone(),
            clock,
            prober,
            permits: BTreeMap::new(),
            checks: BTreeMap::new(),
            slots: Slots::new(),
            fresh: VecDeque::new(),
            running: FuturesUnordered::new(),
            runs: 0,
            outbox: Outbox::default(),
        };
        // A panic of it shows in `ended` and in the registry's count.
        drop(tasks.spawn("scheduler", scheduler.run(orders, results)));
        SchedulerHandle { commands }
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Command>, results: mpsc::Sender<Queued<Finished>>) {
        let stop = self.tasks.stop_token();
        // When slot 0 began, and the last slot that is over or begun.
        let (mut zero, mut slot) = (Instant::now(), 0_u64);
        loop {
            let first = (!self.fresh.is_empty()).then_some(slot + 1);
            let next = first.into_iter().chain(self.slots.next()).min();
            let due = zero + SLOT * u32::try_from(next.unwrap_or_default()).unwrap_or(u32::MAX);
            tokio::select! {
                () = stop.cancelled() => return,
                command = orders.recv() => match command {
                    None => return,
                    Some(command) => {
                        // Nothing wakes up in a slot without a start: what is new must not be planned into one that is over,
                        // nor, after a freeze, behind what is still due.
                        let now = slot_at(zero);
                        slot = slot.max(next.map_or(now, |next| now.min(next)));
                        self.obey(command, slot);
                    }
                },
                Some((key, run, finished)) = self.running.next() => self.ended(key, run, finished),
                permit = results.reserve(), if !self.outbox.order.is_empty() => match (permit, self.outbox.pop()) {
                    (Ok(permit), Some(finished)) => permit.send(finished),
                    (Ok(_), None) => {}
                    (Err(_), _) => return,
                },
                () = tokio::time::sleep_until(due), if next.is_some() => {
                    let begun = next.unwrap_or(slot);
                    slot = slot.max(begun);
                    // After a freeze the plan goes on where it stopped: what was missed does not start all at once.
                    let late = due.elapsed();
                    if late > SLOT {
                        zero += late;
                    }
                    self.begin_slot(begun);
                }
            }
        }
    }

    fn obey(&mut self, command: Command, slot: u64) {
        match command {
            Command::Set(service, checks) => self.set(service, checks, slot),
            Command::Remove(service) => self.set(service, Vec::new(), slot),
            Command::ProbeNow(service, check) => self.begin((service, check), true),
            Command::Cadence(service, check, every) => {
                if self.checks.contains_key(&(service, check)) {
                    self.slots.join((service, check), in_slots(every), slot);
                }
            }
        }
    }

    fn set(&mut self, service: ServiceId, checks: Vec<Planned>, slot: u64) {
        let known: Vec<Key> = self.checks.range(keys_of(service)).map(|(key, _)| *key).collect();
        for key in known.into_iter().filter(|(_, check)| checks.iter().all(|planned| planned.check != *check)) {
            self.slots.leave(key, slot);
            self.checks.remove(&key);
        }
        for planned in checks {
            let key = (service, planned.check);
            let before = self.checks.get(&key).map(|check| &check.planned);
            if before.is_some_and(|before| **before == planned) {
                continue;
            }
            if before.is_none_or(|before| before.interval != planned.interval) {
                self.slots.join(key, in_slots(planned.interval), slot);
            }
            // A run of the old definition is cut: it is about something else.
            self.checks.insert(key, Check { planned: Arc::new(planned), run: None, fresh: true, again: false });
            self.fresh.push_back(key);
        }
    }

    fn begin_slot(&mut self, slot: u64) {
        while let Some(key) = self.slots.due(slot) {
            self.begin(key, false);
        }
        while let Some(key) = self.fresh.pop_front() {
            if self.checks.get(&key).is_some_and(|check| check.fresh) {
                self.begin(key, false);
                break;
            }
        }
    }

    fn begin(&mut self, key: Key, asked_for: bool) {
        let Some(check) = self.checks.get_mut(&key) else { return };
        if let Some(run) = &check.run {
            check.again |= asked_for && !run.asked_for;
            return;
        }
        check.fresh = false;
        self.runs += 1;
        let (id, planned, clock) = (self.runs, Arc::clone(&check.planned), self.clock);
        let asked = clock.mono();
        let permits = self.permits.entry(planned.host).or_insert_with(|| Arc::new(Semaphore::new(IN_FLIGHT)));
        let task = self
            .tasks
            .spawn("probe", probe(key.0, Arc::clone(&planned), Arc::clone(&self.prober), Arc::clone(permits), clock));
        check.run = Some(Run { id, asked_for, task: task.abort_handle() });
        let ended = async move {
            let finished = match task.await {
                Ok(Ok(finished)) => Some(finished),
                Ok(Err(_panicked)) => {
                    let took = clock.mono().since(asked);
                    let report =
                        Report::failed("probe", "the probe itself broke (a fault of Iaso's; its log says more)", took);
                    Some(finished(key.0, &planned, asked, report))
                }
                Err(_cut) => None,
            };
            (key, id, finished)
        };
        self.running.push(ended.boxed());
    }

    fn ended(&mut self, key: Key, id: u64, finished: Option<Finished>) {
        let Some(check) = self.checks.get_mut(&key).filter(|check| check.run.as_ref().is_some_and(|run| run.id == id))
        else {
            return;
        };
        check.run = None;
        let again = std::mem::take(&mut check.again);
        if let Some(finished) = finished {
            self.outbox.put(key, finished);
        }
        if again {
            self.begin(key, true);
        }
    }
}

/// One run, with its place among those in flight.
async fn probe(
    service: ServiceId,
    planned: Arc<Planned>,
    prober: Prober,
    permits: Arc<Semaphore>,
    clock: Clock,
) -> Finished {
    // Never closed, so this only waits.
    let _permit = permits.acquire().await;
    let began = clock.mono();
    let limit = planned.timeout + OVERDUE;
    let report = match tokio::time::timeout(limit, prober(Arc::clone(&planned))).await {
        Ok(report) => report,
        Err(_) => Report::failed("probe", "the probe did not end within its timeout", limit),
    };
    finished(service, &planned, began, report)
}

fn finished(service: ServiceId, planned: &Planned, began: Mono, report: Report) -> Finished {
    let Report { verdict, evidence, took, certificate_expiry, .. } = report;
    let Planned { check, instance, .. } = *planned;
    Finished { service, check, instance, began, verdict, evidence: evidence.into(), took, certificate_expiry }
}

fn keys_of(service: ServiceId) -> std::ops::RangeInclusive<Key> {
    (service, CheckId(0))..=(service, CheckId(u16::MAX))
}

/// The slot of this moment.
fn slot_at(zero: Instant) -> u64 {
    u64::try_from(zero.elapsed().as_millis() / SLOT.as_millis()).unwrap_or(u64::MAX)
}

fn in_slots(every: Duration) -> NonZeroU64 {
    let slots = u64::try_from(every.as_millis() / SLOT.as_millis()).unwrap_or(u64::MAX);
    NonZeroU64::new(slots).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests;
