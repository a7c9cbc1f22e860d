//! What happened so far: counts over the stream of decisions, and what clients and operations counted of themselves.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use iaso_policy::action::Cause;
use iaso_policy::id::AttemptId;
use iaso_policy::record::{Ending, Event, Verdict};
use iaso_policy::time::Mono;
use prometheus::proto::MetricFamily;

use super::credentials::Done;
use super::series::histogram;
use super::state::seconds;
use super::{lock, names};
use crate::journal::{Entry, Listener};
use crate::snapshot::{CredentialsPicture, Snapshot};
use crate::system::meters::{Meters, OPERATION_BUCKETS, Operation, Status};
use crate::system::tasks::Tasks;

/// The upper bounds of [`names::TIME_TO_RECOVER`]'s buckets, in seconds.
const RECOVER_BUCKETS: [f64; 8] = [5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// What was decided so far.
pub(super) struct Counts {
    meters: Meters,
    /// How long outages lasted until they were healed, in seconds: at most each bucket's bound, and in sum.
    recovered_within: [u64; RECOVER_BUCKETS.len()],
    recovered: u64,
    recovered_sum: f64,
    services: BTreeMap<Arc<str>, ServiceCounts>,
    /// By host.
    storms: BTreeMap<Arc<str>, u64>,
    /// Likewise.
    host_losses: BTreeMap<Arc<str>, u64>,
}

/// What was decided so far about one service.
#[derive(Default)]
struct ServiceCounts {
    /// When it was last heard of: one that the snapshot does not know yet is kept.
    heard: Option<Mono>,
    /// The operation in flight, and why it was begun.
    open: Option<(AttemptId, Cause)>,
    recoveries: BTreeMap<(&'static str, &'static str), u64>,
    holds: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Nothing yet; operations that end are counted in `meters`.
    pub(super) fn new(meters: Meters) -> Self {
        let recovered_within = [0; RECOVER_BUCKETS.len()];
        Self {
            meters,
            recovered_within,
            recovered: 0,
            recovered_sum: 0.0,
            services: BTreeMap::new(),
            storms: BTreeMap::new(),
            host_losses: BTreeMap::new(),
        }
    }

    pub(super) fn count(&mut self, entry: &Entry) {
        if let Event::IncidentClosed { ending: Ending::Healed | Ending::Recovered, lasted } = entry.record.event {
            let lasted = lasted.as_secs_f64();
            for (within, bound) in self.recovered_within.iter_mut().zip(RECOVER_BUCKETS) {
                *within += u64::from(lasted <= bound);
            }
            self.recovered += 1;
            self.recovered_sum += lasted;
        }
        let of_hosts = match entry.record.event {
            Event::StormBegan { .. } => Some(&mut self.storms),
            Event::HostLost { .. } => Some(&mut self.host_losses),
            _ => None,
        };
        if let Some(counts) = of_hosts {
            *counts.entry(Arc::clone(&entry.subject.host)).or_default() += 1;
        }
        let name = &entry.subject.name;
        let service = self.services.entry(Arc::clone(name)).or_default();
        service.heard = Some(entry.record.now.mono);
        match entry.record.event {
            Event::Held { reason, .. } | Event::RolloutHeld { reason, .. } => {
                *service.holds.entry(reason.name()).or_default() += 1;
            }
            Event::Begun { attempt, cause, .. } => service.open = Some((attempt, cause)),
            Event::Ended { attempt, step, verdict, took } => {
                // An attempt of an earlier run was begun out of hearing; a person's are the ones that end as done.
                let cause = match service.open.take_if(|(open, _)| *open == attempt) {
                    Some((_, cause)) => cause,
                    None if verdict == Verdict::Done => Cause::Operator,
                    None => Cause::Recovery,
                };
                let operation = match cause {
                    Cause::Recovery => {
                        *service.recoveries.entry((step.name(), verdict.name())).or_default() += 1;
                        Operation::Recovery
                    }
                    Cause::Operator => Operation::Operator,
                    Cause::Credential { .. } => Operation::Credential,
                };
                self.meters.operated(name, operation, status(verdict), took);
            }
            _ => {}
        }
    }

    /// The series of the services that the snapshot knows; those of the others end.
    pub(super) fn families(&mut self, snapshot: &Snapshot) -> [MetricFamily; 5] {
        let known = known(snapshot);
        self.services.retain(|name, counts| {
            known.contains(&**name) || counts.heard.is_some_and(|heard| heard > snapshot.at.mono)
        });
        let services = || self.services.iter();
        [
            names::RECOVERIES.family(services().flat_map(|(name, counts)| {
                let recoveries = counts.recoveries.iter();
                recoveries.map(move |((action, result), count)| ([&**name, *action, *result], *count as f64))
            })),
            names::HOLDS.family(services().flat_map(|(name, counts)| {
                counts.holds.iter().map(move |(reason, count)| ([&**name, *reason], *count as f64))
            })),
            names::TIME_TO_RECOVER.histograms([(
                [],
                histogram(&RECOVER_BUCKETS, &self.recovered_within, self.recovered, self.recovered_sum),
            )]),
            names::STORMS.family(self.storms.iter().map(|(host, count)| ([&**host], *count as f64))),
            names::HOST_LOSSES.family(self.host_losses.iter().map(|(host, count)| ([&**host], *count as f64))),
        ]
    }
}

/// Hears the stream of decisions.
pub(super) struct Counting(pub(super) Arc<Mutex<Counts>>);

impl Listener for Counting {
    fn hear(&mut self, entry: &Entry) {
        lock(&self.0).count(entry);
    }
}

/// What clients and operations counted of themselves, and what was done about credentials. Operations end with their service.
pub(super) fn metered(meters: &Meters, snapshot: &Snapshot, credentials: &CredentialsPicture) -> Vec<MetricFamily> {
    let known = known(snapshot);
    meters.retain(|service, heard| known.contains(service) || heard > snapshot.at.mono);
    let readings = meters.readings();
    let operations = || readings.operations.iter();
    let reading = readings.configuration;
    let of_credentials = Done::of(credentials);
    let ended = operations().flat_map(|(service, operations)| {
        let ended = operations.ended.iter();
        ended.map(|((operation, status), count)| ([operation.name(), &**service, status.name()], *count as f64))
    });
    let took = operations().flat_map(|(service, operations)| {
        operations.took.iter().map(|(operation, took)| {
            let durations = histogram(&OPERATION_BUCKETS, &took.within, took.count, took.sum);
            ([operation.name(), &**service], durations)
        })
    });
    vec![
        names::OPERATIONS.family(ended.chain(of_credentials.ended())),
        names::OPERATION_DURATION.histograms(took.chain(of_credentials.durations())),
        names::NOTIFICATIONS.family(readings.notifications.iter().flat_map(|(reporter, (delivered, failed))| {
            [([reporter.as_str(), "delivered"], *delivered as f64), ([reporter.as_str(), "failed"], *failed as f64)]
        })),
        names::BREAKER_STATE.family(readings.breakers.iter().map(|(client, state)| ([client.as_str()], state.value()))),
        names::RELOAD_SUCCESSFUL.family(reading.iter().map(|reading| ([], if reading.successful { 1.0 } else { 0.0 }))),
        names::RELOAD_TIME.family(reading.iter().map(|reading| ([], seconds(reading.succeeded)))),
        names::LOG_LINES_LOST.family(readings.lost_lines.iter().map(|(sink, count)| ([*sink], *count as f64))),
    ]
}

/// Panics of tasks.
pub(super) fn panics(tasks: &Tasks) -> MetricFamily {
    let panics = tasks.panics();
    names::TASK_RESTARTS.family(panics.iter().map(|(task, count)| ([task.as_str()], *count as f64)))
}

fn known(snapshot: &Snapshot) -> HashSet<&str> {
    snapshot.services.iter().map(|service| &*service.name).collect()
}

/// What was wanted was reached, was not, or it was not carried out to its end.
const fn status(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Healed | Verdict::Done => Status::Success,
        Verdict::NotHealed | Verdict::OperationFailed | Verdict::Denied => Status::Failure,
        Verdict::Moot | Verdict::Superseded | Verdict::Dropped => Status::Skipped,
    }
}
