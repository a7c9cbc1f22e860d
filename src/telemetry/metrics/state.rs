//! How things stand: gauges and counts that the snapshot holds.

use iaso_policy::record::Health;
use iaso_policy::time::Wall;
use prometheus::proto::MetricFamily;

use super::names;
use super::series::histogram;
use crate::config::validated::Severity;
use crate::snapshot::{INPUT_BUCKETS, Snapshot};
use crate::system::build::{REVISION, VERSION};

/// What the snapshot tells.
pub(super) fn families(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let services = || snapshot.services.iter().map(|service| (&*service.name, &service.view));
    let hosts = || snapshot.hosts.iter();
    let checks =
        || snapshot.services.iter().flat_map(|service| service.checks.iter().map(|check| (&*service.name, check)));
    let open = |severity: Severity| {
        let open = snapshot.services.iter().filter(|s| s.severity == severity && s.view.incident.is_some()).count();
        ([severity_name(severity)], open as f64)
    };
    let inputs = &snapshot.inputs;
    let bounded = || snapshot.queues.iter().filter_map(|queue| Some((&*queue.name, queue.waiting?, queue.full)));
    let dropping = snapshot.queues.iter().filter(|queue| queue.waiting.is_none());
    let laws: Vec<_> = snapshot.law_violations.iter().map(|(law, count)| (law.to_string(), *count as f64)).collect();
    vec![
        names::SERVICE_HEALTH.family(services().filter_map(|(name, view)| match view.health {
            Health::Healthy | Health::Degraded => Some(([name], 1.0)),
            Health::Unhealthy => Some(([name], 0.0)),
            Health::Unknown | Health::Starting | Health::Stopped | Health::Paused => None,
        })),
        names::BUILD_INFO.family([([VERSION, REVISION], 1.0)]),
        names::SERVICE_STATE.family(services().flat_map(|(name, view)| {
            Health::ALL.iter().map(move |&state| ([name, state.name()], is(view.health == state)))
        })),
        names::QUARANTINED.family(services().map(|(name, view)| ([name], is(view.quarantine.is_some())))),
        names::BUDGET_REMAINING.family(services().map(|(name, view)| ([name], f64::from(view.budget_remaining)))),
        names::CHECKS.family(checks().flat_map(|(service, check)| {
            let (passed, failed) = check.counts;
            [([service, &*check.name, "passed"], passed as f64), ([service, &*check.name, "failed"], failed as f64)]
        })),
        names::CHECK_DURATION
            .family(checks().filter_map(|(service, check)| Some(([service, &*check.name], check.took?)))),
        names::CERTIFICATE_EXPIRY.family(
            checks().filter_map(|(service, check)| Some(([service, &*check.name], check.certificate_expiry? as f64))),
        ),
        names::INCIDENTS_OPEN.family([Severity::Info, Severity::Warning, Severity::Critical].map(open)),
        names::HOST_UP.family(hosts().map(|host| ([&*host.name], is(host.link.up)))),
        names::DISK_FULL.family(hosts().map(|host| ([&*host.name], is(host.disk_full.is_some())))),
        names::EVENTS_CONNECTED.family(hosts().map(|host| ([&*host.name], is(host.events_connected)))),
        names::INPUT_DURATION.histograms([([], histogram(&INPUT_BUCKETS, &inputs.within, inputs.count, inputs.sum))]),
        names::QUEUE_LENGTH.family(bounded().map(|(name, (waiting, _), _)| ([name], waiting as f64))),
        names::QUEUE_CAPACITY.family(bounded().map(|(name, (_, room), _)| ([name], room as f64))),
        names::QUEUE_FULL.family(bounded().map(|(name, _, full)| ([name], full as f64))),
        names::QUEUE_DROPPED.family(dropping.map(|queue| ([&*queue.name], queue.full as f64))),
        names::LAW_VIOLATIONS.family(laws.iter().map(|(law, count)| ([law.as_str()], *count))),
    ]
}

const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

const fn is(fact: bool) -> f64 {
    if fact { 1.0 } else { 0.0 }
}

/// Seconds since the Unix epoch.
pub(super) fn seconds(Wall(millis): Wall) -> f64 {
    millis as f64 / 1000.0
}
