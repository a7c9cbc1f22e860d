//! Every metric's name, and the exposition made of them.
//!
//! State comes from the published snapshot, counts from the stream of decisions; both end with their service.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iaso_policy::action::Cause;
use iaso_policy::id::AttemptId;
use iaso_policy::record::{Ending, Event, Health, Verdict};
use iaso_policy::time::Mono;
use prometheus::core::Collector;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, Histogram, HistogramOpts, Registry, TextEncoder};
use tokio::sync::watch;

use crate::config::validated::Severity;
use crate::journal::{Entry, Listener};
use crate::snapshot::Snapshot;
use crate::system::build::{REVISION, VERSION};
use crate::system::clock::Clock;
use crate::system::tasks::Tasks;

const BUILD_INFO: &str = "iaso_build_info";
const SERVICE_STATE: &str = "iaso_service_state";
const SERVICE_HEALTH: &str = "service_health_status";
const BUDGET_REMAINING: &str = "iaso_restart_budget_remaining";
const QUARANTINED: &str = "iaso_quarantined";
const INCIDENTS_OPEN: &str = "iaso_incidents_open";
const HOST_UP: &str = "iaso_host_up";
const EVENTS_CONNECTED: &str = "iaso_engine_events_connected";
const CHECKS: &str = "iaso_checks_total";
const CHECK_DURATION: &str = "iaso_check_duration_seconds";
const LAW_VIOLATIONS: &str = "iaso_law_violations_total";
const TASK_RESTARTS: &str = "iaso_task_restarts_total";
const OPERATIONS: &str = "automation_operations_total";
const OPERATION_DURATION: &str = "automation_operation_duration_seconds";
const RECOVERIES: &str = "iaso_recoveries_total";
const HOLDS: &str = "iaso_holds_total";
const TIME_TO_RECOVER: &str = "iaso_time_to_recover_seconds";

/// An exposition is made anew after this long: at most two a second.
const SHARED_FOR: Duration = Duration::from_millis(500);

/// Makes the exposition. Clones share one.
#[derive(Clone)]
pub struct Metrics {
    clock: Clock,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    tasks: Tasks,
    registry: Registry,
    counts: Arc<Mutex<Counts>>,
    made: Arc<Mutex<Option<Exposition>>>,
}

/// A text exposition, and when it was made.
type Exposition = (Mono, Bytes);

impl Metrics {
    /// Metrics of the daemon whose pictures come from `snapshots` and whose tasks `tasks` keeps.
    ///
    /// # Errors
    /// When a metric cannot be registered: a fault of this file.
    pub fn new(clock: Clock, snapshots: watch::Receiver<Arc<Snapshot>>, tasks: Tasks) -> prometheus::Result<Self> {
        let counts = Counts::new()?;
        let registry = Registry::new();
        registry.register(Box::new(counts.time_to_recover.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self { clock, snapshots, tasks, registry, counts: Arc::new(Mutex::new(counts)), made: Arc::default() })
    }

    /// What counts the stream of decisions.
    pub fn listener(&self) -> impl Listener + use<> {
        Counting(Arc::clone(&self.counts))
    }

    /// The text exposition (format 0.0.4), made at most twice a second.
    pub fn exposition(&self) -> Bytes {
        let mut made = lock(&self.made);
        let now = self.clock.mono();
        if let Some((when, text)) = &*made
            && now.since(*when) < SHARED_FOR
        {
            return text.clone();
        }
        let text = Bytes::from(self.encode());
        *made = Some((now, text.clone()));
        text
    }

    fn encode(&self) -> Vec<u8> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let mut families = self.registry.gather();
        families.extend(state(&snapshot));
        families.extend(checks(&snapshot));
        families.push(counter(
            TASK_RESTARTS,
            "Panics of tasks, each followed by a new start where the task is kept.",
            self.tasks.panics().iter().map(|(task, count)| (labels(&[("task", task)]), *count as f64)).collect(),
        ));
        families.extend(lock(&self.counts).families(&snapshot));
        // The encoder refuses families without a series.
        families.retain(|family| !family.get_metric().is_empty());
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::error!(%error, "the metrics cannot be encoded");
        }
        text
    }
}

/// How things stand.
fn state(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let services = || snapshot.services.iter().map(|service| (&*service.name, &service.view));
    let hosts = || snapshot.hosts.iter();
    let severities = [Severity::Info, Severity::Warning, Severity::Critical].map(|severity| {
        let open = snapshot.services.iter().filter(|s| s.severity == severity && s.view.incident.is_some()).count();
        (labels(&[("severity", severity_name(severity))]), open as f64)
    });
    vec![
        gauge(BUILD_INFO, "The running build; always 1.", {
            vec![(labels(&[("version", VERSION), ("revision", REVISION)]), 1.0)]
        }),
        gauge(SERVICE_STATE, "1 for the state that the service is in, 0 for the others.", {
            services()
                .flat_map(|(name, view)| {
                    Health::ALL.iter().map(move |&state| {
                        (labels(&[("service", name), ("state", state.name())]), is(view.health == state))
                    })
                })
                .collect()
        }),
        gauge(SERVICE_HEALTH, "1 healthy or degraded, 0 unhealthy; absent otherwise.", {
            services()
                .filter_map(|(name, view)| match view.health {
                    Health::Healthy | Health::Degraded => Some((labels(&[("service", name)]), 1.0)),
                    Health::Unhealthy => Some((labels(&[("service", name)]), 0.0)),
                    Health::Unknown | Health::Starting | Health::Stopped | Health::Paused => None,
                })
                .collect()
        }),
        gauge(BUDGET_REMAINING, "Automatic operations left in the service's window.", {
            services().map(|(name, view)| (labels(&[("service", name)]), f64::from(view.budget_remaining))).collect()
        }),
        gauge(QUARANTINED, "1 while recovery of the service is given up.", {
            services().map(|(name, view)| (labels(&[("service", name)]), is(view.quarantine.is_some()))).collect()
        }),
        gauge(INCIDENTS_OPEN, "Outages that go on.", severities.into()),
        gauge(HOST_UP, "1 while the engine answers.", {
            hosts().map(|host| (labels(&[("host", &host.name)]), is(host.link.up))).collect()
        }),
        gauge(EVENTS_CONNECTED, "1 while the engine's event stream is read.", {
            hosts().map(|host| (labels(&[("host", &host.name)]), is(host.events_connected))).collect()
        }),
        counter(LAW_VIOLATIONS, "Decisions that a law forbade, and that were dropped.", {
            let laws = snapshot.law_violations.iter();
            laws.map(|(law, count)| (labels(&[("law", &law.to_string())]), *count as f64)).collect()
        }),
    ]
}

/// What the checks said.
fn checks(snapshot: &Snapshot) -> [MetricFamily; 2] {
    let (mut results, mut durations) = (Vec::new(), Vec::new());
    for service in &snapshot.services {
        for check in &service.checks {
            let of = |result| labels(&[("service", &service.name), ("check", &check.name), ("result", result)]);
            results.push((of("passed"), check.counts.0 as f64));
            results.push((of("failed"), check.counts.1 as f64));
            if let Some(took) = check.took {
                durations.push((labels(&[("service", &service.name), ("check", &check.name)]), took));
            }
        }
    }
    [
        counter(CHECKS, "Results of checks.", results),
        gauge(CHECK_DURATION, "How long the newest probe of the check took.", durations),
    ]
}

/// What was decided so far.
struct Counts {
    time_to_recover: Histogram,
    services: BTreeMap<Arc<str>, ServiceCounts>,
}

/// What was decided so far about one service.
#[derive(Default)]
struct ServiceCounts {
    /// When it was last heard of: one that the snapshot does not know yet is kept.
    heard: Option<Mono>,
    /// The operation in flight, and why it was begun.
    open: Option<(AttemptId, Cause)>,
    operations: BTreeMap<(&'static str, &'static str), u64>,
    durations: BTreeMap<&'static str, Histogram>,
    recoveries: BTreeMap<(&'static str, &'static str), u64>,
    holds: BTreeMap<&'static str, u64>,
}

impl Counts {
    fn new() -> prometheus::Result<Self> {
        let recover = HistogramOpts::new(TIME_TO_RECOVER, "From the beginning of an outage to verified health.")
            .buckets(vec![5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0]);
        Ok(Self { time_to_recover: Histogram::with_opts(recover)?, services: BTreeMap::new() })
    }

    fn count(&mut self, entry: &Entry) {
        if let Event::IncidentClosed { ending: Ending::Healed | Ending::Recovered, lasted } = entry.record.event {
            self.time_to_recover.observe(lasted.as_secs_f64());
        }
        let service = self.services.entry(Arc::clone(&entry.subject.name)).or_default();
        service.heard = Some(entry.record.now.mono);
        match entry.record.event {
            Event::Held { reason, .. } => *service.holds.entry(reason.name()).or_default() += 1,
            Event::Begun { attempt, cause, .. } => service.open = Some((attempt, cause)),
            Event::Ended { attempt, step, verdict, took } => {
                // An attempt of an earlier run was begun out of hearing; a person's are the ones that end as done.
                let cause = match service.open.take_if(|(open, _)| *open == attempt) {
                    Some((_, cause)) => cause,
                    None if verdict == Verdict::Done => Cause::Operator,
                    None => Cause::Recovery,
                };
                *service.operations.entry((cause.name(), status(verdict))).or_default() += 1;
                if cause == Cause::Recovery {
                    *service.recoveries.entry((step.name(), verdict.name())).or_default() += 1;
                }
                service.observe(&entry.subject.name, cause.name(), took);
            }
            _ => {}
        }
    }

    /// The series of the services that the snapshot knows; those of the others end.
    fn families(&mut self, snapshot: &Snapshot) -> [MetricFamily; 4] {
        let known: HashSet<&str> = snapshot.services.iter().map(|service| &*service.name).collect();
        self.services.retain(|name, counts| {
            known.contains(&**name) || counts.heard.is_some_and(|heard| heard > snapshot.at.mono)
        });
        let (mut operations, mut durations, mut recoveries, mut holds) = (vec![], vec![], vec![], vec![]);
        for (name, counts) in &self.services {
            for ((operation, status), count) in &counts.operations {
                let labels = labels(&[("operation", operation), ("service", name), ("status", status)]);
                operations.push((labels, *count as f64));
            }
            for ((action, result), count) in &counts.recoveries {
                recoveries.push((labels(&[("service", name), ("action", action), ("result", result)]), *count as f64));
            }
            for (reason, count) in &counts.holds {
                holds.push((labels(&[("service", name), ("reason", reason)]), *count as f64));
            }
            for histogram in counts.durations.values() {
                durations.extend(histogram.collect().iter_mut().flat_map(MetricFamily::take_metric));
            }
        }
        let took = "How long operations took, from their beginning to their verdict.";
        [
            counter(OPERATIONS, "Operations that ended.", operations),
            family(OPERATION_DURATION, took, MetricType::HISTOGRAM, durations),
            counter(RECOVERIES, "Automatic attempts that ended.", recoveries),
            counter(HOLDS, "Decisions not to act.", holds),
        ]
    }
}

impl ServiceCounts {
    fn observe(&mut self, service: &str, operation: &'static str, took: Duration) {
        let histogram = match self.durations.get(operation) {
            Some(known) => known.clone(),
            None => {
                let options = HistogramOpts::new(OPERATION_DURATION, "seconds")
                    .const_label("operation", operation)
                    .const_label("service", service)
                    .buckets(vec![1.0, 5.0, 15.0, 60.0, 300.0]);
                match Histogram::with_opts(options) {
                    Ok(new) => self.durations.entry(operation).or_insert(new).clone(),
                    Err(error) => return tracing::error!(%error, "a duration cannot be counted"),
                }
            }
        };
        histogram.observe(took.as_secs_f64());
    }
}

/// `success`: what was wanted was reached; `failure`: it was not; `skipped`: it was not carried out to its end.
const fn status(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healed | Verdict::Done => "success",
        Verdict::NotHealed | Verdict::OperationFailed | Verdict::Denied => "failure",
        Verdict::Moot | Verdict::Superseded | Verdict::Dropped => "skipped",
    }
}

const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

struct Counting(Arc<Mutex<Counts>>);

impl Listener for Counting {
    fn hear(&mut self, entry: &Entry) {
        lock(&self.0).count(entry);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn is(fact: bool) -> f64 {
    if fact { 1.0 } else { 0.0 }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    pairs.iter().map(pair).collect()
}

fn gauge(name: &str, help: &str, series: Vec<(Vec<LabelPair>, f64)>) -> MetricFamily {
    let metric = |(labels, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(labels);
        metric.set_gauge(gauge);
        metric
    };
    family(name, help, MetricType::GAUGE, series.into_iter().map(metric).collect())
}

fn counter(name: &str, help: &str, series: Vec<(Vec<LabelPair>, f64)>) -> MetricFamily {
    let metric = |(labels, value)| {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::from_label(labels);
        metric.set_counter(counter);
        metric
    };
    family(name, help, MetricType::COUNTER, series.into_iter().map(metric).collect())
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use iaso_policy::action::{Charge, Trouble};
    use iaso_policy::id::Instance;
    use iaso_policy::record::Hold;
    use iaso_policy::spec::Step;

    use crate::journal::Subject;
    use crate::snapshot::ServiceStatus;
    use crate::snapshot::example::{broken, record, secs, service, snapshot};

    fn entry(status: &ServiceStatus, event: Event) -> Entry {
        let subject = Subject {
            name: Arc::clone(&status.name),
            identity: status.identity.clone(),
            host: Arc::clone(&status.host),
            severity: status.severity,
            checks: Vec::new(),
        };
        Entry { record: record(-1, event), subject: Arc::new(subject) }
    }

    fn history(status: &ServiceStatus, listener: &mut impl Listener) {
        let (attempt, step) = (AttemptId(7), Step::Restart);
        for event in [
            Event::Held { reason: Hold::Backoff, until: None, step: None },
            Event::Begun {
                attempt,
                step,
                cause: Cause::Recovery,
                trouble: Some(Trouble::EngineUnhealthy),
                instance: Instance { container: 1, started: 1 },
                charge: Charge::Stored,
                ordinal: 1,
            },
            Event::Ended { attempt, step, verdict: Verdict::Healed, took: secs(12) },
            Event::IncidentClosed { ending: Ending::Healed, lasted: secs(40) },
        ] {
            listener.hear(&entry(status, event));
        }
    }

    #[test]
    fn the_exposition_tells_state_and_counts_by_their_names() {
        let mut picture = snapshot();
        picture.services = vec![service("api"), broken("web", Trouble::EngineUnhealthy)];
        picture.law_violations = vec![(2, 1)];
        let (_sender, receiver) = watch::channel(Arc::new(picture));
        let metrics = Metrics::new(Clock::new(), receiver, Tasks::new()).unwrap();
        history(&service("web"), &mut metrics.listener());
        let text = String::from_utf8(metrics.exposition().to_vec()).unwrap();
        for line in [
            "iaso_service_state{service=\"web\",state=\"unhealthy\"} 1",
            "iaso_service_state{service=\"web\",state=\"healthy\"} 0",
            "service_health_status{service=\"api\"} 1",
            "service_health_status{service=\"web\"} 0",
            "iaso_restart_budget_remaining{service=\"web\"} 5",
            "iaso_quarantined{service=\"web\"} 0",
            "iaso_incidents_open{severity=\"warning\"} 1",
            "iaso_incidents_open{severity=\"critical\"} 0",
            "iaso_host_up{host=\"local\"} 1",
            "iaso_engine_events_connected{host=\"local\"} 1",
            "iaso_checks_total{service=\"api\",check=\"api\",result=\"passed\"} 40",
            "iaso_check_duration_seconds{service=\"api\",check=\"api\"} 0.003",
            "iaso_law_violations_total{law=\"2\"} 1",
            "automation_operations_total{operation=\"recovery\",service=\"web\",status=\"success\"} 1",
            "automation_operation_duration_seconds_bucket{operation=\"recovery\",service=\"web\",le=\"15\"} 1",
            "automation_operation_duration_seconds_sum{operation=\"recovery\",service=\"web\"} 12",
            "iaso_recoveries_total{service=\"web\",action=\"restart\",result=\"healed\"} 1",
            "iaso_holds_total{service=\"web\",reason=\"backoff\"} 1",
            "iaso_time_to_recover_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
        let names: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let own: Vec<&str> = names.into_iter().filter(|name| !name.starts_with("process_")).collect();
        assert_eq!(
            own,
            [
                OPERATION_DURATION,
                OPERATIONS,
                BUILD_INFO,
                CHECK_DURATION,
                CHECKS,
                EVENTS_CONNECTED,
                HOLDS,
                HOST_UP,
                INCIDENTS_OPEN,
                LAW_VIOLATIONS,
                QUARANTINED,
                RECOVERIES,
                BUDGET_REMAINING,
                SERVICE_STATE,
                TIME_TO_RECOVER,
                SERVICE_HEALTH,
            ]
        );
        assert!(cfg!(not(target_os = "linux")) || text.contains("process_resident_memory_bytes "), "{text}");
    }

    #[test]
    fn series_end_with_their_service() {
        let mut counts = Counts::new().unwrap();
        let mut picture = snapshot();
        picture.services = vec![service("web")];
        for event in [
            Event::Held { reason: Hold::Budget, until: None, step: None },
            Event::Ended { attempt: AttemptId(1), step: Step::Start, verdict: Verdict::Healed, took: secs(1) },
        ] {
            counts.count(&entry(&service("web"), event));
        }
        assert!(counts.families(&picture).iter().all(|family| family.get_metric().len() == 1));
        picture.services.clear();
        assert!(counts.families(&picture).iter().all(|family| family.get_metric().is_empty()));
    }

    #[test]
    fn a_service_newer_than_the_snapshot_keeps_its_counts() {
        let mut counts = Counts::new().unwrap();
        let mut news = entry(&service("new"), Event::Held { reason: Hold::Budget, until: None, step: None });
        news.record.now = crate::snapshot::example::at(1);
        counts.count(&news);
        assert_eq!(counts.families(&snapshot())[3].get_metric().len(), 1);
    }

    #[test]
    fn scrapes_share_one_exposition() {
        let (sender, receiver) = watch::channel(Arc::new(snapshot()));
        let metrics = Metrics::new(Clock::new(), receiver, Tasks::new()).unwrap();
        let first = metrics.exposition();
        let made = lock(&metrics.made).as_ref().unwrap().0;
        sender.send_replace(Arc::new(Snapshot { services: vec![service("late")], ..snapshot() }));
        // As if it had been made this very moment.
        *lock(&metrics.made) = Some((metrics.clock.mono(), first.clone()));
        assert_eq!(first.as_ptr(), metrics.exposition().as_ptr());
        *lock(&metrics.made) = Some((made - secs(1), first));
        assert!(String::from_utf8_lossy(&metrics.exposition()).contains("late"));
    }
}
