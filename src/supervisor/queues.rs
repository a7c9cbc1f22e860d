//! Whether the supervisor keeps up: its queues, full ones above all. Nothing that is full is hidden (law 7).

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::{HostId, ServiceId};
use iaso_policy::time::Now;
use tokio::sync::mpsc;

use super::Supervisor;
use crate::config::validated::Config;
use crate::snapshot::QueueStatus;
use crate::system::clock::Arrival;

/// So long after a queue was last full it is still told of, so that who looks now and then sees it.
const TOLD_FOR: Duration = Duration::from_secs(60);

/// What is known of the queues.
pub(super) struct Queues {
    engines: Vec<Queue>,
    checks: Queue,
    orders: Queue,
    credentials: Queue,
    /// What left no room for more.
    looks: Vec<Queue>,
    history: Queue,
    flight: Queue,
}

struct Queue {
    status: QueueStatus,
    is_full: bool,
}

impl Queues {
    pub(super) fn new(config: &Config) -> Self {
        let of_hosts = |what: &str| {
            let hosts = config.hosts.iter();
            hosts.map(|host| Queue::new(&format!("{what}/{}", host.name))).collect()
        };
        Self {
            engines: of_hosts("engine"),
            checks: Queue::new("checks"),
            orders: Queue::new("orders"),
            credentials: Queue::new("credentials"),
            looks: of_hosts("looks"),
            history: Queue::new("history"),
            flight: Queue::new("flight"),
        }
    }

    /// A host's queue of looks had no room for one.
    pub(super) fn look_dropped(&mut self, host: HostId, now: Now) {
        let queue = &mut self.looks[usize::from(host.0)];
        queue.dropped(queue.status.full + 1, now);
    }

    /// Every queue.
    pub(super) fn statuses(&self) -> Vec<QueueStatus> {
        let into = self.engines.iter().chain([&self.checks, &self.orders, &self.credentials]);
        let out = self.looks.iter().chain([&self.history, &self.flight]);
        into.chain(out).map(|queue| queue.status.clone()).collect()
    }

    /// What people are told of queues that are full, or were just now.
    pub(super) fn trouble(&self, now: Now) -> Option<String> {
        let all = self.statuses();
        let recent = all.iter().filter(|queue| queue.last_full.is_some_and(|at| now.mono.since(at.mono) < TOLD_FOR));
        let told: Vec<String> = recent
            .map(|queue| match queue.waiting {
                Some((_, room)) => format!("the queue {} was full ({room} waited)", queue.name),
                None => format!("the queue {} was full ({} dropped so far)", queue.name, queue.full),
            })
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

impl Queue {
    fn new(name: &str) -> Self {
        let status = QueueStatus { name: Arc::from(name), waiting: None, full: 0, last_full: None };
        Self { status, is_full: false }
    }

    /// Whoever wants to put more into a full queue waits; nothing is lost.
    fn look<T>(&mut self, receiver: &mpsc::Receiver<T>, now: impl FnOnce() -> Now) {
        let full = receiver.capacity() == 0;
        if full {
            self.status.full += u64::from(!self.is_full);
            self.status.last_full = Some(now());
        }
        self.is_full = full;
    }

    fn measure<T>(&mut self, receiver: &mpsc::Receiver<T>) {
        self.status.waiting = Some((receiver.len(), receiver.max_capacity()));
    }

    fn dropped(&mut self, so_far: u64, now: Now) {
        if so_far > self.status.full {
            self.status.full = so_far;
            self.status.last_full = Some(now);
        }
    }
}

impl Supervisor {
    /// Looks whether a queue is full, before something is taken out of it.
    pub(super) fn look_at_queues(&mut self) {
        let clock = self.clock;
        let now = || clock.now();
        for (queue, host) in self.queues.engines.iter_mut().zip(&self.hosts) {
            queue.look(&host.updates, now);
        }
        self.queues.checks.look(&self.results, now);
        self.queues.orders.look(&self.orders.requests, now);
        self.queues.credentials.look(&self.credentials, now);
    }

    /// How long the queues are, for the snapshot.
    pub(super) fn measure_queues(&mut self, now: Now) {
        for (queue, host) in self.queues.engines.iter_mut().zip(&self.hosts) {
            queue.measure(&host.updates);
        }
        self.queues.checks.measure(&self.results);
        self.queues.orders.measure(&self.orders.requests);
        self.queues.credentials.measure(&self.credentials);
        self.queues.history.dropped(self.store.history_dropped(), now);
        if let Some(recorder) = &self.recorder {
            self.queues.flight.dropped(recorder.dropped(), now);
        }
    }

    /// Has a service's container looked at.
    pub(super) fn look(&mut self, service: ServiceId) {
        let Some(watched) = self.fleet.service(service) else { return };
        if let Some(container) = &watched.container {
            let host = watched.host;
            // The list that comes anyway makes up for a look that finds no room.
            if !self.hosts[usize::from(host.0)].watch.look(container.clone()) {
                self.queues.look_dropped(host, self.clock.now());
            }
        }
    }

    /// An input was taken in.
    pub(super) fn took(&mut self, since: Arrival) {
        self.picture.took(since.elapsed());
    }
}
