//! Puts together the snapshot: what the policy thinks, with the names, evidence and counts that only people need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::{CheckId, HostId, ServiceId};
use iaso_policy::time::Now;
use iaso_policy::{Policy, view::ServiceView};

use super::fleet::{Fleet, Watched};
use crate::config::validated::{Config, Probe};
use crate::engine::EngineInfo;
use crate::snapshot::{CheckStatus, ComponentStatus, ContainerStatus, HostStatus, ServiceStatus, Snapshot};
use crate::store::StoreStatus;

/// After this, Iaso counts as ready whatever has not answered yet.
const PATIENCE: Duration = Duration::from_secs(30);

/// What only people need to know.
pub(super) struct Picture {
    started: Now,
    observe: bool,
    ready: bool,
    hosts: Vec<HostStatus>,
    store: ComponentStatus,
    checks: BTreeMap<(ServiceId, CheckId), Seen>,
    violations: BTreeMap<u8, u64>,
    /// Services of the file that were said to be waited for.
    waited_for: BTreeSet<String>,
}

/// What the probes of one check came to.
#[derive(Default)]
struct Seen {
    evidence: Option<Arc<str>>,
    took: Duration,
    counts: (u64, u64),
}

/// A probe has ended.
pub(super) struct CheckNews {
    pub(super) service: ServiceId,
    pub(super) check: CheckId,
    pub(super) passed: bool,
    pub(super) evidence: Arc<str>,
    pub(super) took: Duration,
}

/// A link has changed.
pub(super) enum HostNews {
    Up(EngineInfo),
    Down(String),
}

impl Picture {
    pub(super) fn new(now: Now, observe: bool, config: &Config, store: StoreStatus) -> Self {
        let unreached = || ComponentStatus { up: false, since: now, message: Some("not reached yet".to_owned()) };
        let hosts = config.hosts.iter().map(|host| HostStatus {
            name: Arc::from(host.name.as_str()),
            link: unreached(),
            events_connected: false,
            version: None,
        });
        Self {
            started: now,
            observe,
            ready: false,
            hosts: hosts.collect(),
            store: component(store),
            checks: BTreeMap::new(),
            violations: BTreeMap::new(),
            waited_for: BTreeSet::new(),
        }
    }

    pub(super) fn host_name(&self, host: HostId) -> &str {
        &self.hosts[usize::from(host.0)].name
    }

    pub(super) fn host(&mut self, host: HostId, now: Now, news: HostNews) {
        let status = &mut self.hosts[usize::from(host.0)];
        let (up, message) = match news {
            HostNews::Up(info) => {
                status.version = Some(format!("{} (API {}.{})", info.version, info.api.0, info.api.1));
                (true, None)
            }
            HostNews::Down(error) => (false, Some(error)),
        };
        status.events_connected = up;
        let since = if status.link.up == up && status.link.message.as_deref() != Some("not reached yet") {
            status.link.since
        } else {
            now
        };
        status.link = ComponentStatus { up, since, message };
    }

    pub(super) fn store(&mut self, status: StoreStatus) {
        self.store = component(status);
    }

    pub(super) fn check(&mut self, news: CheckNews) {
        let seen = self.checks.entry((news.service, news.check)).or_default();
        seen.evidence = Some(news.evidence);
        seen.took = news.took;
        if news.passed { seen.counts.0 += 1 } else { seen.counts.1 += 1 }
    }

    pub(super) fn violation(&mut self, law: u8) {
        *self.violations.entry(law).or_default() += 1;
    }

    /// Whether it was not said before that this service is waited for.
    pub(super) fn is_first_wait_of(&mut self, service: &str) -> bool {
        self.waited_for.insert(service.to_owned())
    }

    pub(super) fn snapshot(&mut self, now: Now, policy: &Policy, fleet: &Fleet) -> Snapshot {
        let mut services: Vec<ServiceStatus> = policy
            .views()
            .filter_map(|view| fleet.service(view.service).map(|watched| self.service(watched, view, fleet)))
            .collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        self.ready = self.ready || self.is_ready(now, &services);
        Snapshot {
            at: now,
            started: self.started,
            observe: self.observe,
            ready: self.ready,
            hosts: self.hosts.clone(),
            services,
            waiting: fleet.waiting().map(|service| Arc::from(service.name.as_str())).collect(),
            store: self.store.clone(),
            supervisor: self.supervisor(now),
            law_violations: self.violations.iter().map(|(law, count)| (*law, *count)).collect(),
            stale_inputs: policy.stale_inputs(),
        }
    }

    /// Every engine was reached, and every check that can run has had a result.
    fn is_ready(&self, now: Now, services: &[ServiceStatus]) -> bool {
        let reached = self.hosts.iter().all(|host| host.link.up);
        let running =
            |status: &&ServiceStatus| matches!(status.view.state, Some(iaso_policy::input::State::Running(_)));
        let tried =
            services.iter().filter(running).all(|status| status.checks.iter().all(|check| check.evidence.is_some()));
        (reached && tried) || now.mono.since(self.started.mono) >= PATIENCE
    }

    fn supervisor(&self, now: Now) -> ComponentStatus {
        let faults: u64 = self.violations.values().sum();
        let message =
            (faults > 0).then(|| format!("{faults} actions were refused because they would have broken a law"));
        ComponentStatus { up: faults == 0, since: if faults == 0 { self.started } else { now }, message }
    }

    fn service(&self, watched: &Watched, view: ServiceView, fleet: &Fleet) -> ServiceStatus {
        let container = fleet.container_of(watched).map(|known| ContainerStatus {
            name: known.detail.name.clone(),
            image: known.detail.image.clone(),
            short_id: known.detail.id.as_str()[..12].to_owned(),
            addresses: known.detail.networks.values().flatten().copied().collect(),
        });
        let checks =
            watched.service.checks.iter().zip(&watched.subject.checks).zip(0..).map(|((check, name), number)| {
                let seen = self.checks.get(&(view.service, CheckId(number)));
                let Probe::Http(_) = &check.probe;
                CheckStatus {
                    name: Arc::clone(name),
                    kind: "http",
                    evidence: seen.and_then(|seen| seen.evidence.clone()),
                    took: seen.map(|seen| seen.took.as_secs_f64()),
                    counts: seen.map_or((0, 0), |seen| seen.counts),
                }
            });
        ServiceStatus {
            name: Arc::clone(&watched.subject.name),
            identity: watched.subject.identity.clone(),
            host: Arc::clone(&watched.subject.host),
            severity: watched.subject.severity,
            container,
            checks: checks.collect(),
            view,
        }
    }
}

fn component(status: StoreStatus) -> ComponentStatus {
    ComponentStatus { up: status.up, since: status.since, message: status.message }
}
