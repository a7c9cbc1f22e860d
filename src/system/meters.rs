//! What the clients of foreign systems, operations and reloads count of themselves, for the metrics.
//!
//! What the supervisor knows is in its snapshot; this is for what passes it by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iaso_policy::time::{Mono, Wall};

use super::clock::Clock;

/// The upper bounds of the buckets that operations' durations are counted in, in seconds.
pub const OPERATION_BUCKETS: [f64; 5] = [1.0, 5.0, 15.0, 60.0, 300.0];

/// Takes counts. Clones share one.
#[derive(Debug, Clone)]
pub struct Meters {
    clock: Clock,
    readings: Arc<Mutex<Readings>>,
}

/// What was counted so far.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// Every client's circuit breaker.
    pub breakers: BTreeMap<String, Breaker>,
    /// Since when each client's calls go through, or no longer do; a trial changes nothing of it.
    pub turned: BTreeMap<String, Mono>,
    /// Notifications by reporter: delivered, and not delivered.
    pub notifications: BTreeMap<String, (u64, u64)>,
    /// The newest reading of the configuration, once there was one.
    pub configuration: Option<Configuration>,
    /// Operations by service.
    pub operations: BTreeMap<Arc<str>, Operations>,
    /// Log lines dropped, by where they should have gone.
    pub lost_lines: BTreeMap<&'static str, u64>,
}

/// How a circuit breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    /// Calls go through.
    Closed,
    /// One trial call is let through.
    HalfOpen,
    /// Calls fail at once.
    Open,
}

/// What came of reading the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// The newest reading was taken over.
    pub successful: bool,
    /// When one last was.
    pub succeeded: Wall,
}

/// What kind of thing Iaso did for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// An automatic attempt to heal it.
    Recovery,
    /// A person's order.
    Operator,
    /// For a credential's sake.
    Credential,
    /// A message about it.
    Notification,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// What was wanted was reached.
    Success,
    /// It was not.
    Failure,
    /// It was not carried out to its end.
    Skipped,
}

/// One service's operations that have ended.
#[derive(Debug, Clone)]
pub struct Operations {
    /// When the newest ended.
    pub heard: Mono,
    /// How many ended how.
    pub ended: BTreeMap<(Operation, Status), u64>,
    /// How long they took.
    pub took: BTreeMap<Operation, Durations>,
}

/// A histogram over [`OPERATION_BUCKETS`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Durations {
    /// How many took at most as long as the bucket of the same place says.
    pub within: [u64; OPERATION_BUCKETS.len()],
    /// How many in all.
    pub count: u64,
    /// How long in all, in seconds.
    pub sum: f64,
}

impl Meters {
    /// Nothing counted yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, readings: Arc::default() }
    }

    /// A client's circuit breaker now stands so. Clients' names are few and fixed: they become a label.
    pub fn breaker(&self, client: &str, state: Breaker) {
        let now = self.clock.mono();
        let mut readings = self.lock();
        let before = readings.breakers.insert(client.to_owned(), state);
        if before.is_none_or(|before| (before == Breaker::Closed) != (state == Breaker::Closed)) {
            readings.turned.insert(client.to_owned(), now);
        }
    }

    /// A message, about `service` or about none, was delivered by a reporter (its name in the configuration), or given up.
    pub fn notified(&self, reporter: &str, service: Option<&Arc<str>>, delivered: bool, took: Duration) {
        let mut readings = self.lock();
        let counts = readings.notifications.entry(reporter.to_owned()).or_default();
        if delivered {
            counts.0 += 1;
        } else {
            counts.1 += 1;
        }
        drop(readings);
        let status = if delivered { Status::Success } else { Status::Failure };
        if let Some(service) = service {
            self.operated(service, Operation::Notification, status, took);
        }
    }

    /// The configuration was read, and taken over or not. The first reading, at the start, counts as well.
    pub fn configured(&self, successful: bool) {
        let now = self.clock.now().wall;
        let mut readings = self.lock();
        let before = readings.configuration.map_or(now, |known| known.succeeded);
        let succeeded = if successful { now } else { before };
        readings.configuration = Some(Configuration { successful, succeeded });
    }

    /// An operation for `service` has ended.
    pub fn operated(&self, service: &Arc<str>, operation: Operation, status: Status, took: Duration) {
        let now = self.clock.mono();
        let mut readings = self.lock();
        let of = readings.operations.entry(Arc::clone(service)).or_insert_with(|| Operations {
            heard: now,
            ended: BTreeMap::new(),
            took: BTreeMap::new(),
        });
        of.heard = now;
        *of.ended.entry((operation, status)).or_default() += 1;
        of.took.entry(operation).or_default().observe(took);
    }

    /// So many log lines were dropped that should have gone to `sink`.
    pub fn lost_lines(&self, sink: &'static str, count: u64) {
        *self.lock().lost_lines.entry(sink).or_default() += count;
    }

    /// Keeps the operations of the services for which `keep` says so.
    pub fn retain(&self, mut keep: impl FnMut(&str, Mono) -> bool) {
        self.lock().operations.retain(|service, operations| keep(service, operations.heard));
    }

    /// Every client, whether calls go through to its system, and since when that is so.
    pub fn clients(&self) -> Vec<(String, bool, Mono)> {
        let readings = self.lock();
        let standing = |(client, since): (&String, &Mono)| {
            let goes_through = readings.breakers.get(client) == Some(&Breaker::Closed);
            (client.clone(), goes_through, *since)
        };
        readings.turned.iter().map(standing).collect()
    }

    /// What was counted so far.
    pub fn readings(&self) -> Readings {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Durations {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (within, bound) in self.within.iter_mut().zip(OPERATION_BUCKETS) {
            *within += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += seconds;
    }
}

impl Breaker {
    /// The metric's value: 0 closed, 1 half-open, 2 open.
    pub const fn value(self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen => 1.0,
            Self::Open => 2.0,
        }
    }
}

impl Operation {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
            Self::Operator => "operator",
            Self::Credential => "credential",
            Self::Notification => "notification",
        }
    }
}

impl Status {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_reload_keeps_the_time_of_the_last_good_one() {
        let meters = Meters::new(Clock::new());
        assert_eq!(meters.readings().configuration, None);
        meters.configured(true);
        let good = meters.readings().configuration.unwrap();
        meters.configured(false);
        assert_eq!(meters.readings().configuration, Some(Configuration { successful: false, ..good }));
    }

    #[test]
    fn a_notification_counts_for_its_reporter_and_as_an_operation_of_its_service() {
        let meters = Meters::new(Clock::new());
        let web = Arc::from("web");
        meters.notified("mail", Some(&web), true, Duration::from_secs(1));
        meters.notified("mail", Some(&web), false, Duration::from_secs(20));
        let readings = meters.readings();
        assert_eq!(readings.notifications["mail"], (1, 1));
        let operations = &readings.operations["web"];
        assert_eq!(operations.ended[&(Operation::Notification, Status::Failure)], 1);
        let took = operations.took[&Operation::Notification];
        assert_eq!((took.within, took.count, took.sum), ([1, 1, 1, 2, 2], 2, 21.0));
        meters.retain(|service, _| service != "web");
        assert!(meters.readings().operations.is_empty());
    }
}
