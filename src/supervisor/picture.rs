//! Puts together the snapshot: what the policy thinks, with the names, evidence and counts that only people need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::{HostId, ServiceId};
use iaso_policy::record::Hold;
use iaso_policy::time::Now;
use iaso_policy::{Policy, view::ServiceView};

use super::Supervisor;
use super::fleet::{Fleet, Watched};
use super::needs::Needs;
use super::queues::Queues;
use crate::config::secret::Secret;
use crate::config::validated::{Check, Config, Probe};
use crate::engine::EngineInfo;
use crate::engine::denied::Endpoint;
use crate::probe::report::Verdict;
use crate::snapshot::{
    CheckStatus, ComponentStatus, ContainerStatus, HostStatus, InputTimes, LostHost, ServiceStatus, Snapshot,
    WindowStatus,
};
use crate::store::StoreStatus;

/// After this, Iaso counts as ready whatever has not answered yet.
const PATIENCE: Duration = Duration::from_secs(30);

/// Snapshots are made at most this often.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(250);

/// So many services are looked at for a snapshot at most: first those that something was learned of, then the others in turn.
/// With thousands, a look at each delays what comes meanwhile by tens of milliseconds.
const LOOKS: usize = 500;

/// So many have their turn however much was learned of others.
const IN_TURN: usize = 100;

/// What only people need to know.
pub(super) struct Picture {
    started: Now,
    observe: bool,
    ready: bool,
    hosts: Vec<HostStatus>,
    store: ComponentStatus,
    configuration: ComponentStatus,
    checks: BTreeMap<(ServiceId, Arc<str>), Seen>,
    /// As the newest snapshot has them, by number.
    services: Vec<Option<Arc<ServiceStatus>>>,
    /// The numbers of those that are there, by name.
    by_name: Vec<usize>,
    /// Services that may stand otherwise than in it, and that the policy does not tell of.
    touched: BTreeSet<ServiceId>,
    /// More was learned than could be looked at for it.
    lags: bool,
    /// Whose turn it is to be looked at.
    turn: usize,
    /// Services of the file that have no container.
    waiting: Vec<Arc<str>>,
    violations: BTreeMap<u8, u64>,
    /// As the newest snapshot has it.
    supervisor: ComponentStatus,
    inputs: InputTimes,
    windows: Vec<WindowStatus>,
    /// Services of the file that were said to be waited for.
    waited_for: BTreeSet<String>,
}

/// What the probes of one check came to.
#[derive(Default)]
struct Seen {
    evidence: Option<Arc<str>>,
    /// It could not be made.
    pending: bool,
    took: Duration,
    counts: (u64, u64),
    certificate_expiry: Option<i64>,
}

/// A probe has ended.
pub(super) struct CheckNews {
    pub(super) service: ServiceId,
    pub(super) check: Arc<str>,
    pub(super) verdict: Verdict,
    pub(super) evidence: Arc<str>,
    pub(super) took: Duration,
    pub(super) certificate_expiry: Option<i64>,
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
            denied: Vec::new(),
            storm: None,
            lost: None,
            disk_full: None,
        });
        Self {
            started: now,
            observe,
            ready: false,
            hosts: hosts.collect(),
            store: component(store),
            configuration: ComponentStatus { up: true, since: now, message: None },
            checks: BTreeMap::new(),
            services: Vec::new(),
            by_name: Vec::new(),
            touched: BTreeSet::new(),
            lags: false,
            turn: 0,
            waiting: Vec::new(),
            violations: BTreeMap::new(),
            supervisor: ComponentStatus { up: true, since: now, message: None },
            inputs: InputTimes::default(),
            windows: Vec::new(),
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

    /// What a host's proxy denies: what of it is news.
    pub(super) fn denied(&mut self, host: HostId, denied: &[&Endpoint]) -> Vec<String> {
        let status = &mut self.hosts[usize::from(host.0)];
        let told = denied.iter().map(|endpoint| format!("{endpoint}: {}", endpoint.cost)).collect();
        let before = std::mem::replace(&mut status.denied, told);
        status.denied.iter().filter(|told| !before.contains(told)).cloned().collect()
    }

    pub(super) fn store(&mut self, status: StoreStatus) {
        self.store = component(status);
    }

    pub(super) fn check(&mut self, news: CheckNews) {
        if news.verdict == Verdict::Pending {
            // Nobody else hears of it.
            self.touched.insert(news.service);
        }
        let seen = self.checks.entry((news.service, news.check)).or_default();
        seen.evidence = Some(news.evidence);
        seen.pending = news.verdict == Verdict::Pending;
        seen.took = news.took;
        seen.certificate_expiry = news.certificate_expiry.or(seen.certificate_expiry);
        match news.verdict {
            Verdict::Passed | Verdict::Late => seen.counts.0 += 1,
            Verdict::Failed => seen.counts.1 += 1,
            Verdict::Pending => {}
        }
    }

    /// What the newest probe of a check came to.
    pub(super) fn evidence(&self, service: ServiceId, check: &Arc<str>) -> Option<Arc<str>> {
        self.checks.get(&(service, Arc::clone(check))).and_then(|seen| seen.evidence.clone())
    }

    /// Another configuration is in force, or, with what is wrong with it, is not.
    pub(super) fn configuration(&mut self, now: Now, refused: Option<String>) {
        let up = refused.is_none();
        let since = if self.configuration.up == up { self.configuration.since } else { now };
        self.configuration = ComponentStatus { up, since, message: refused };
    }

    /// What `fleet` no longer has is forgotten.
    pub(super) fn reconfigured(&mut self, config: &Config, fleet: &Fleet) {
        self.observe = config.fleet.observe;
        self.touched.extend(fleet.numbers());
        self.checks.retain(|(service, check), _| {
            fleet.service(*service).is_some_and(|watched| watched.declared && watched.subject.checks.contains(check))
        });
        self.waited_for.retain(|name| config.services.contains_key(name));
    }

    pub(super) fn windows(&mut self, windows: Vec<WindowStatus>) {
        self.windows = windows;
    }

    /// How long an input took.
    pub(super) fn took(&mut self, took: Duration) {
        self.inputs.observe(took);
    }

    pub(super) fn violation(&mut self, law: u8) {
        *self.violations.entry(law).or_default() += 1;
    }

    /// Whether it was not said before that this service is waited for.
    pub(super) fn is_first_wait_of(&mut self, service: &str) -> bool {
        self.waited_for.insert(service.to_owned())
    }

    pub(super) fn snapshot(
        &mut self,
        now: Now,
        policy: &mut Policy,
        fleet: &Fleet,
        needs: &Needs,
        queues: &Queues,
    ) -> Snapshot {
        let all = fleet.services.len();
        self.services.resize(all, None);
        let mut touched = Vec::new();
        while touched.len() < LOOKS
            && let Some(service) = self.touched.pop_first()
        {
            touched.push(service);
        }
        self.lags = policy.take_touched(LOOKS - touched.len(), &mut touched) || !self.touched.is_empty();
        let in_turn = (LOOKS - touched.len()).max(IN_TURN).min(all);
        let round_ends = self.turn + in_turn >= all;
        let others = fleet.numbers().cycle().skip(self.turn).take(in_turn);
        let mut is_same_list = true;
        for service in touched.into_iter().chain(others) {
            is_same_list &= self.look_at(service, policy.view(service), fleet, needs);
        }
        self.turn = (self.turn + in_turn).checked_rem(all).unwrap_or_default();
        if !is_same_list {
            self.by_name = (0..all).filter(|place| self.services[*place].is_some()).collect();
            self.by_name.sort_by_key(|place| self.services[*place].as_ref().map(|status| Arc::clone(&status.name)));
        }
        if round_ends || !is_same_list {
            self.waiting = fleet.waiting().map(|service| Arc::from(service.name.as_str())).collect();
        }
        let services: Vec<_> = self.by_name.iter().filter_map(|place| self.services[*place].clone()).collect();
        self.ready = self.ready || self.is_ready(now, &services);
        for (host, number) in self.hosts.iter_mut().zip(0..) {
            host.storm = policy.storm_since(HostId(number)).map(|since| now.at(since));
            let loss = policy.host_loss(HostId(number));
            host.lost = loss.map(|loss| LostHost { incident: loss.incident, since: now.at(loss.since) });
            host.disk_full = policy.disk_full_since(HostId(number)).map(|since| now.at(since));
        }
        self.judge_supervisor(now, queues);
        let inputs = InputTimes { longest: std::mem::take(&mut self.inputs.longest), ..self.inputs };
        Snapshot {
            at: now,
            started: self.started,
            observe: self.observe,
            ready: self.ready,
            hosts: self.hosts.clone(),
            services,
            waiting: self.waiting.clone(),
            store: self.store.clone(),
            configuration: self.configuration.clone(),
            supervisor: self.supervisor.clone(),
            windows: self.windows.clone(),
            law_violations: self.violations.iter().map(|(law, count)| (*law, *count)).collect(),
            stale_inputs: policy.stale_inputs(),
            inputs,
            queues: queues.statuses(),
        }
    }

    /// Shows a service as it stands. False: it is new, gone, or goes by another name.
    fn look_at(&mut self, service: ServiceId, view: Option<ServiceView>, fleet: &Fleet, needs: &Needs) -> bool {
        let place = service.0 as usize;
        let before = self.services[place].take();
        let name = before.as_ref().map(|known| Arc::clone(&known.name));
        let watched = fleet.service(service).filter(|watched| watched.declared);
        self.services[place] = view.zip(watched).map(|(view, watched)| {
            let same = before.filter(|known| self.is_as_before(known, watched, &view, fleet, needs));
            same.unwrap_or_else(|| Arc::new(self.service(watched, view, fleet, needs)))
        });
        self.services[place].as_ref().map(|status| &status.name) == name.as_ref()
    }

    /// Every engine was reached, and every check that can run has had a result.
    fn is_ready(&self, now: Now, services: &[Arc<ServiceStatus>]) -> bool {
        let reached = self.hosts.iter().all(|host| host.link.up) && !self.lags;
        let running =
            |status: &&Arc<ServiceStatus>| matches!(status.view.state, Some(iaso_policy::input::State::Running(_)));
        let tried =
            services.iter().filter(running).all(|status| status.checks.iter().all(|check| check.evidence.is_some()));
        (reached && tried) || now.mono.since(self.started.mono) >= PATIENCE
    }

    fn judge_supervisor(&mut self, now: Now, queues: &Queues) {
        let faults: u64 = self.violations.values().sum();
        let refused =
            (faults > 0).then(|| format!("{faults} actions were refused because they would have broken a law"));
        let told: Vec<String> = refused.into_iter().chain(queues.trouble(now)).collect();
        let up = told.is_empty();
        let since = if self.supervisor.up == up { self.supervisor.since } else { now };
        self.supervisor = ComponentStatus { up, since, message: (!up).then(|| told.join("; ")) };
    }

    /// Whether [`Picture::service`] would come to the same. Most do, each time, and to make it costs more than to compare.
    fn is_as_before(
        &self,
        before: &ServiceStatus,
        watched: &Watched,
        view: &ServiceView,
        fleet: &Fleet,
        needs: &Needs,
    ) -> bool {
        let (subject, known) = (&watched.subject, fleet.container_of(watched));
        let is_same_container = match (&before.container, known.map(|known| &known.detail)) {
            (Some(before), Some(detail)) => {
                before.id == detail.id.as_str()
                    && before.name == detail.name
                    && before.image == detail.image
                    && before.addresses.iter().eq(detail.networks.values().flatten())
                    && before
                        .mounts
                        .iter()
                        .map(|(source, destination)| (source, destination))
                        .eq(detail.mounts.iter().map(|mount| (&mount.source, &mount.destination)))
            }
            (before, known) => before.is_none() && known.is_none(),
        };
        let is_same_check = |(before, (check, name)): (&CheckStatus, (&Check, &Arc<str>))| {
            let nothing = Seen::default();
            let seen = self.checks.get(&(view.service, Arc::clone(name)));
            let took = seen.map(|seen| seen.took.as_secs_f64());
            let seen = seen.unwrap_or(&nothing);
            before.name == *name
                && before.kind == check.probe.kind()
                && before.ping_token.as_ref() == ping_token(check)
                && before.pending == seen.pending
                && before.evidence == seen.evidence
                && before.took == took
                && before.counts == seen.counts
                && before.certificate_expiry == seen.certificate_expiry
        };
        before.view == *view
            && before.name == subject.name
            && before.host == subject.host
            && before.severity == subject.severity
            && before.identity == subject.identity
            && before.waits_for == waits_for(view, needs)
            && is_same_container
            && before.checks.len() == watched.service.checks.len()
            && before.checks.iter().zip(watched.service.checks.iter().zip(&subject.checks)).all(is_same_check)
    }

    fn service(&self, watched: &Watched, view: ServiceView, fleet: &Fleet, needs: &Needs) -> ServiceStatus {
        let container = fleet.container_of(watched).map(|known| ContainerStatus {
            name: known.detail.name.clone(),
            image: known.detail.image.clone(),
            id: known.detail.id.as_str().to_owned(),
            addresses: known.detail.networks.values().flatten().copied().collect(),
            mounts: known.detail.mounts.iter().map(|mount| (mount.source.clone(), mount.destination.clone())).collect(),
        });
        let checks = watched.service.checks.iter().zip(&watched.subject.checks).map(|(check, name)| {
            let seen = self.checks.get(&(view.service, Arc::clone(name)));
            CheckStatus {
                name: Arc::clone(name),
                kind: check.probe.kind(),
                ping_token: ping_token(check).cloned(),
                pending: seen.is_some_and(|seen| seen.pending),
                evidence: seen.and_then(|seen| seen.evidence.clone()),
                took: seen.map(|seen| seen.took.as_secs_f64()),
                counts: seen.map_or((0, 0), |seen| seen.counts),
                certificate_expiry: seen.and_then(|seen| seen.certificate_expiry),
            }
        });
        ServiceStatus {
            name: Arc::clone(&watched.subject.name),
            identity: watched.subject.identity.clone(),
            host: Arc::clone(&watched.subject.host),
            severity: watched.subject.severity,
            container,
            checks: checks.collect(),
            waits_for: waits_for(&view, needs),
            view,
        }
    }
}

impl Supervisor {
    /// Something has changed: a snapshot is due, at once where the last one is old enough.
    pub(super) fn changed(&mut self) {
        self.snapshot_due = Some((self.published + SNAPSHOT_EVERY).max(self.clock.mono()));
    }

    pub(super) fn publish(&mut self) {
        let now = self.clock.now();
        (self.snapshot_due, self.published) = (None, now.mono);
        self.measure_queues(now);
        let snapshot = self.picture.snapshot(now, &mut self.policy, &self.fleet, &self.needs, &self.queues);
        self.snapshots.send_replace(Arc::new(snapshot));
        if self.picture.lags {
            self.changed();
        }
    }
}

/// The containers that nobody watches and that a service waits for.
fn waits_for(view: &ServiceView, needs: &Needs) -> Vec<Arc<str>> {
    let waits = view.hold.is_some_and(|hold| hold.reason == Hold::Dependency && hold.behind.is_none());
    if waits { needs.waits_for(view.service) } else { Vec::new() }
}

/// What a ping must carry, of a heartbeat.
fn ping_token(check: &Check) -> Option<&Secret> {
    match &*check.probe {
        Probe::Heartbeat(heartbeat) => heartbeat.token.as_ref(),
        _ => None,
    }
}

fn component(status: StoreStatus) -> ComponentStatus {
    ComponentStatus { up: status.up, since: status.since, message: status.message }
}
