//! The one task that owns the policy: what happens comes in by bounded queues, drained in turn; what is decided goes out.
//!
//! A step is synchronous and awaits nothing foreign. Engine calls, probes and writes run in tasks and threads of their own,
//! and come back as inputs.

mod announce;
mod asked;
mod calendars;
pub(crate) mod container;
mod disks;
mod ear;
pub(crate) mod fleet;
mod hearing;
pub(crate) mod needs;
mod operations;
mod orders;
mod picture;
pub(crate) mod plan;
mod queues;
mod reload;
mod rollouts;
mod scene;

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::Policy;
use iaso_policy::action::{Action, Charge, Operation};
use iaso_policy::id::ServiceId;
use iaso_policy::input::{CheckResult, Input, Outcome};
use iaso_policy::laws::{Judges, Violation};
use iaso_policy::memory::Restored;
use iaso_policy::record::{Event, Record};
use iaso_policy::time::{Mono, Now};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::validated::Config;
use crate::engine::watch::{Update, WatchHandle};
use crate::engine::{ContainerId, Engine};
use crate::journal::{Delivered, Entry, Listener, Subject};
use crate::orders::Request;
use crate::probe::address::EngineSite;
use crate::probe::report::Verdict;
use crate::probe::scheduler::{Finished, SchedulerHandle};
use crate::rollouts::FromCredentials;
use crate::snapshot::Snapshot;
use crate::store::flight::Recorder;
use crate::store::{Store, StoreStatus};
use crate::system::clock::Clock;
use crate::system::heartbeat::Heartbeat;
use crate::system::queue::Queued;
use crate::system::retry::Client;
use crate::system::tasks::Tasks;
use calendars::Calendars;
use disks::Disks;
pub use ear::Ear;
use fleet::Fleet;
use hearing::next_update;
use needs::Needs;
pub(crate) use operations::change_of;
use operations::{Operations, Returned, is_charge_of};
use orders::Orders;
use picture::{CheckNews, Picture};
use queues::Queues;
pub use reload::Reread;

/// The supervisor steps at least this often, so that its heartbeat can be told from silence.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// One engine, and everything that leads to it.
pub struct HostPort {
    /// For changes.
    pub engine: Arc<dyn Engine>,
    /// What they go through.
    pub breaker: Arc<Client>,
    /// For looks.
    pub watch: WatchHandle,
    /// What the watch tells.
    pub updates: mpsc::Receiver<Queued<Update>>,
    /// Where it is, for probes.
    pub site: EngineSite,
}

/// Everything that the supervisor is connected to.
pub struct Ports {
    /// One for each host of the configuration, in its order.
    pub hosts: Vec<HostPort>,
    /// Runs checks.
    pub probes: SchedulerHandle,
    /// What came of them.
    pub results: mpsc::Receiver<Queued<Finished>>,
    /// Keeps records.
    pub store: Store,
    /// Takes down every input.
    pub recorder: Option<Recorder>,
    /// What people want.
    pub orders: mpsc::Receiver<Request>,
    /// Changed credentials, and what is told of them.
    pub credentials: mpsc::Receiver<FromCredentials>,
    /// The configuration, whenever it was read again.
    pub rereads: mpsc::Receiver<Reread>,
    /// Announcements that a reporter has taken.
    pub delivered: mpsc::UnboundedReceiver<Delivered>,
    /// Hear every record.
    pub listeners: Vec<Box<dyn Listener>>,
    /// Where the picture is published.
    pub snapshots: watch::Sender<Arc<Snapshot>>,
    /// Shows that it steps.
    pub heartbeat: Heartbeat,
    /// Where operations run.
    pub tasks: Tasks,
    /// The time.
    pub clock: Clock,
}

/// The supervisor.
pub struct Supervisor {
    config: Arc<Config>,
    policy: Policy,
    judges: Judges,
    fleet: Fleet,
    hosts: Vec<HostPort>,
    /// The host whose updates are asked for first.
    turn: usize,
    probes: SchedulerHandle,
    results: mpsc::Receiver<Queued<Finished>>,
    queues: Queues,
    store: Store,
    store_status: watch::Receiver<StoreStatus>,
    recorder: Option<Recorder>,
    orders: Orders,
    credentials: mpsc::Receiver<FromCredentials>,
    /// Who waits for their end.
    waiting: rollouts::Waiting,
    rereads: mpsc::Receiver<Reread>,
    delivered: mpsc::UnboundedReceiver<Delivered>,
    calendars: Calendars,
    /// What each service needs, as it was told last.
    needs: Needs,
    disks: Disks,
    listeners: Vec<Box<dyn Listener>>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    picture: Picture,
    /// When a snapshot is due, if anything has changed.
    snapshot_due: Option<Mono>,
    /// When the newest was made.
    published: Mono,
    heartbeat: Heartbeat,
    clock: Clock,
    operations: Operations,
    /// The record of a charge whose operation follows it.
    charge: Option<Record>,
    /// What the engine said to the operation whose end is being taken in, where that failed.
    said: Option<scene::Said>,
    actions: Vec<Action>,
    stopping: bool,
}

impl Supervisor {
    /// A supervisor that goes on where the store left off. `own` is the container that Iaso runs in, `seed` makes ids and
    /// jitter and must be random.
    pub fn new(config: Arc<Config>, own: Option<ContainerId>, seed: u64, restored: Restored, ports: Ports) -> Self {
        let now = ports.clock.now();
        let store_status = ports.store.status();
        let picture = Picture::new(now, config.fleet.observe, &config, store_status.borrow().clone());
        Self {
            judges: Judges::new(&config.fleet, &restored, now),
            policy: Policy::restore(config.fleet, seed, restored, now),
            fleet: Fleet::new(Arc::clone(&config), own),
            calendars: Calendars::new(config.maintenance.clone()),
            disks: Disks::new(ports.tasks.clone(), config.hosts.len()),
            queues: Queues::new(&config),
            config,
            hosts: ports.hosts,
            turn: 0,
            probes: ports.probes,
            results: ports.results,
            store: ports.store,
            store_status,
            recorder: ports.recorder,
            orders: Orders::new(ports.orders),
            credentials: ports.credentials,
            waiting: rollouts::Waiting::default(),
            rereads: ports.rereads,
            delivered: ports.delivered,
            needs: Needs::new(ports.tasks.clone()),
            listeners: ports.listeners,
            snapshots: ports.snapshots,
            picture,
            snapshot_due: None,
            published: now.mono,
            heartbeat: ports.heartbeat,
            clock: ports.clock,
            operations: Operations::new(ports.tasks),
            charge: None,
            said: None,
            actions: Vec::new(),
            stopping: false,
        }
    }

    /// Steps until `stop` is cancelled and no operation is in flight any more. The caller bounds the wait; what is in flight
    /// then is on record, and the next start resolves it.
    pub async fn run(mut self, stop: CancellationToken) {
        self.publish();
        while !(self.stopping && self.operations.in_flight() == 0) {
            self.heartbeat.beat();
            self.look_at_calendars();
            self.look_at_disks();
            self.look_at_queues();
            let rest = self.rest();
            tokio::select! {
                () = stop.cancelled(), if !self.stopping => self.stop(),
                done = self.operations.next() => self.returned(&done),
                (host, update) = next_update(&mut self.hosts, &mut self.turn) => {
                    self.update(host, update.what);
                    self.took(update.since);
                }
                Some(request) = self.orders.requests.recv() => self.order(request),
                Some(said) = self.credentials.recv() => self.hear_credentials(said),
                Some(reread) = self.rereads.recv(), if !self.stopping => self.reload(reread),
                Some(Delivered { service, key }) = self.delivered.recv() => self.step(Input::Delivered { service, key }),
                Some(result) = self.results.recv() => self.checked(&result),
                read = self.needs.files.next() => self.compose_files(read),
                measured = self.disks.next() => self.measured(&measured),
                Ok(()) = self.store_status.changed() => self.store_changed(),
                () = tokio::time::sleep(rest) => self.step(Input::Tick),
            }
            self.reply();
            if self.snapshot_due.is_some_and(|due| due <= self.clock.mono()) {
                self.publish();
            }
        }
        if let Some(recorder) = &self.recorder {
            recorder.close().await;
        }
    }

    /// How long nothing needs to be done unless something happens.
    fn rest(&self) -> Duration {
        let now = self.clock.now();
        let deadlines = self.policy.next_deadline().into_iter().chain(self.snapshot_due);
        let rests = deadlines.map(|at| at.since(now.mono)).chain(self.calendars.rest(now));
        rests.min().map_or(LONGEST_REST, |rest| rest.max(Duration::from_millis(1)).min(LONGEST_REST))
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.step(Input::Stopping);
    }

    fn checked(&mut self, result: &Queued<Finished>) {
        self.check(&result.what);
        self.took(result.since);
    }

    fn check(&mut self, result: &Finished) {
        let Some(name) = self.fleet.check(result.service, result.check, result.began) else { return };
        self.picture.check(CheckNews {
            service: result.service,
            check: Arc::clone(name),
            verdict: result.verdict,
            evidence: Arc::clone(&result.evidence),
            took: result.took,
            certificate_expiry: result.certificate_expiry,
        });
        let outcome = match result.verdict {
            Verdict::Failed => CheckResult::Failed,
            Verdict::Late => CheckResult::Late,
            Verdict::Passed => CheckResult::Passed,
            Verdict::Pending => return self.changed(),
        };
        self.step(Input::Checked {
            service: result.service,
            check: result.check,
            instance: result.instance,
            began: result.began,
            result: outcome,
        });
    }

    fn returned(&mut self, done: &Queued<Returned>) {
        self.finished(&done.what);
        self.took(done.since);
    }

    fn finished(&mut self, done: &Returned) {
        let Returned { operation, operated } = done;
        self.disk_of(done);
        if operated.outcome != Outcome::Done
            && let Some(watched) = self.fleet.service(operation.service)
        {
            let _request_id = self.operations.asked.span_of(operation.attempt).entered();
            tracing::warn!(
                service = %watched.subject.name,
                incident = operation.incident.map(tracing::field::display),
                attempt = %operation.attempt,
                step = operation.step.name(),
                outcome = ?operated.outcome,
                "{}", operated.detail
            );
            self.said = Some(scene::Said { attempt: operation.attempt, detail: operated.detail.clone() });
        }
        self.step(Input::Finished {
            service: operation.service,
            attempt: operation.attempt,
            outcome: operated.outcome,
        });
        self.said = None;
    }

    fn store_changed(&mut self) {
        let status = self.store_status.borrow_and_update().clone();
        self.step(Input::Store { up: status.up });
        self.picture.store(status);
    }

    /// One step of the policy, judged by the laws, and what follows from it.
    fn step(&mut self, input: Input) {
        let now = self.clock.now();
        if let Some(recorder) = &self.recorder {
            recorder.record(now, &input, || self.policy.clone());
        }
        self.judges.hear(&input);
        let mut actions = std::mem::take(&mut self.actions);
        self.policy.step(now, input, &mut actions);
        let mut refused = Vec::new();
        for action in actions.drain(..) {
            match self.judges.judge(now, &action) {
                Ok(()) => self.carry_out(now, action),
                Err(violation) => {
                    self.broken(violation);
                    match action {
                        // It does not leave; the service holds.
                        Action::Operate(operation) => refused.push(operation),
                        // A record tells what the policy believes: keeping it from the store would make two truths of it.
                        // Nobody is told.
                        Action::Announce(_) => {}
                        other => self.carry_out(now, other),
                    }
                }
            }
        }
        self.actions = actions;
        if let Err(violation) = self.judges.conclude() {
            self.broken(violation);
        }
        self.changed();
        for operation in refused {
            self.charge = None;
            let (service, attempt) = (operation.service, operation.attempt);
            self.step(Input::Finished { service, attempt, outcome: Outcome::Refused });
        }
        for rollout in std::mem::take(&mut self.waiting.left) {
            self.step(Input::Settle { rollout });
        }
    }

    fn broken(&mut self, violation: Violation) {
        tracing::error!(law = violation.law, "an internal fault: {violation}; the action is not carried out");
        self.picture.violation(violation.law);
    }

    fn carry_out(&mut self, now: Now, action: Action) {
        match action {
            Action::Operate(operation) => self.operate(operation),
            Action::Record(record) => self.record(record),
            Action::Probe { service, check } => self.probes.probe_now(service, check),
            Action::Look { service } => self.look(service),
            Action::Cadence { service, check, every } => self.probes.cadence(service, check, every),
            Action::Answer { order, answer } => self.answer(order, answer),
            Action::Announce(alert) => self.announce(now, alert),
            Action::RolledOut { rollout, undo, result } => self.rolled_out(rollout, undo, result),
        }
    }

    fn record(&mut self, record: Record) {
        let Some(subject) = self.subject(record.service) else { return };
        match record.event {
            Event::Begun { charge: Charge::Stored, .. } => self.charge = Some(record),
            _ => self.store.keep(&subject.identity, &record),
        }
        let _request_id = self.operations.asked.hear(&record.event).entered();
        let scene = self.scene(&record);
        let entry = Entry { record, subject };
        for listener in &mut self.listeners {
            listener.hear(&entry);
            if let Some(scene) = &scene {
                listener.hear_scene(&entry, scene);
            }
        }
    }

    fn subject(&self, service: ServiceId) -> Option<Arc<Subject>> {
        self.fleet.service(service).map(|watched| Arc::clone(&watched.subject))
    }

    /// Begins an engine call in a task of its own. Its charge is handed to the store first; the look before the call runs
    /// beside that.
    fn operate(&mut self, operation: Operation) {
        let Some(watched) = self.fleet.service(operation.service) else { return };
        let known =
            self.fleet.container_of(watched).filter(|known| known.detail.id.short() == operation.instance.container);
        let target = known.map(|known| (known.detail.id.clone(), known.expected(operation.instance)));
        let change = change_of(operation.step, &watched.service.recovery.commands);
        let host = &self.hosts[usize::from(operation.host.0)];
        let (engine, breaker) = (Arc::clone(&host.engine), Arc::clone(&host.breaker));
        let charge = self.charge.take().filter(|record| is_charge_of(record, operation.attempt));
        let charged = charge.map(|record| self.store.charge(&watched.subject.identity, &record));
        self.operations.begin(operation, (engine, breaker), target, change, charged);
    }
}

#[cfg(test)]
mod tests;
