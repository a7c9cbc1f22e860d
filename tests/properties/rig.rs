//! A policy with its judges, a clock that a test moves, and one container per service that a test breaks and mends.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso_policy::action::{Answer, Cause, Operation, RolloutResult};
use iaso_policy::alert::Alert;
use iaso_policy::id::{CheckId, HostId, Identity, Instance, OrderId, RolloutId, ServiceId};
use iaso_policy::input::{
    CheckResult, Container, EngineHealth, HostLink, Order, Outcome, RestartPolicy, Sight, State, Witness,
};
use iaso_policy::laws::{Judges, Violation};
use iaso_policy::memory::{Memory, Restored};
use iaso_policy::record::{Event, Health, Hold, Verdict};
use iaso_policy::spec::{CheckSpec, FleetSpec, OnFailure, ServiceSpec, Step, Threshold};
use iaso_policy::time::{Boot, Mono, Now, Wall};
use iaso_policy::view::ServiceView;
use iaso_policy::{Action, Input, Policy, Record};

pub(crate) const HOST: HostId = HostId(0);
/// The wall clock at mono zero.
const EPOCH: i64 = 1_700_000_000_000;

pub(crate) const RUNNING: State = State::Running(EngineHealth::None);
pub(crate) const HEALTHY: State = State::Running(EngineHealth::Healthy);
pub(crate) const UNHEALTHY: State = State::Running(EngineHealth::Unhealthy);

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A service by name on the first host, with every default.
pub(crate) fn spec(name: &str) -> ServiceSpec {
    ServiceSpec::new(Identity::container("local", name).unwrap(), HOST)
}

/// The same on another host.
pub(crate) fn spec_on(host: HostId, name: &str) -> ServiceSpec {
    ServiceSpec::new(Identity::container(&format!("host-{}", host.0), name).unwrap(), host)
}

/// A check with the contract's defaults whose failure heals.
pub(crate) fn check(fingerprint: u64) -> CheckSpec {
    CheckSpec {
        fingerprint,
        on_failure: OnFailure::Heal,
        failure: Threshold::in_a_row(3),
        success_threshold: 1,
        interval: secs(30),
    }
}

/// What is true of a service's container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Truth {
    pub(crate) container: Container,
    pub(crate) state: State,
    pub(crate) since: Mono,
}

pub(crate) struct Rig {
    pub(crate) now: Now,
    pub(crate) policy: Policy,
    pub(crate) judges: Judges,
    /// What a store would hold.
    pub(crate) memory: BTreeMap<ServiceId, Memory>,
    pub(crate) newest: Option<Now>,
    pub(crate) truth: BTreeMap<ServiceId, Truth>,
    pub(crate) records: Vec<Record>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) answers: Vec<(OrderId, Answer)>,
    /// Rollouts that are over; true: it was the undoing.
    pub(crate) rolled_out: Vec<(RolloutId, bool, RolloutResult)>,
    pub(crate) alerts: Vec<Alert>,
    /// Somebody takes every announcement at once.
    pub(crate) alerts_taken: bool,
    /// The actions of the newest step.
    pub(crate) out: Vec<Action>,
    pub(crate) violations: Vec<Violation>,
    /// A look is answered at once with the truth.
    pub(crate) looks_answered: bool,
    /// Every step's actions.
    pub(crate) log: Vec<Action>,
    /// Each service as it was seen after the newest step.
    shown: BTreeMap<ServiceId, ServiceView>,
    fleet: FleetSpec,
    lives: i64,
    kills: u64,
}

impl Rig {
    /// A daemon that started ten minutes ago on a host that has long been up.
    pub(crate) fn new(fleet: FleetSpec) -> Self {
        let mut rig = Self::restored(fleet, &Restored::nothing(), 0);
        rig.link(HostLink::Up { engine_started: false });
        rig.pass(secs(600));
        rig
    }

    pub(crate) fn restored(fleet: FleetSpec, restored: &Restored, at: i64) -> Self {
        let now = Now { mono: Mono(at), wall: Wall(EPOCH + at), boot: Boot(1) };
        Self {
            now,
            policy: Policy::restore(fleet, 1 << 30, restored.clone(), now),
            judges: Judges::new(&fleet, restored, now),
            memory: BTreeMap::new(),
            newest: None,
            truth: BTreeMap::new(),
            records: Vec::new(),
            operations: Vec::new(),
            answers: Vec::new(),
            rolled_out: Vec::new(),
            alerts: Vec::new(),
            alerts_taken: true,
            out: Vec::new(),
            violations: Vec::new(),
            looks_answered: true,
            log: Vec::new(),
            shown: BTreeMap::new(),
            fleet,
            lives: at,
            kills: 0,
        }
    }

    /// A rig with one service that runs well, its checks proven.
    pub(crate) fn with(spec: ServiceSpec, restart: RestartPolicy) -> Self {
        let mut rig = Self::new(FleetSpec::default());
        rig.add(ServiceId(0), spec, restart, RUNNING);
        rig
    }

    /// Declares a service whose container is in `state` for long, and whose checks have passed once.
    pub(crate) fn add(&mut self, service: ServiceId, spec: ServiceSpec, restart: RestartPolicy, state: State) {
        let checks = spec.checks.len();
        self.add_unproven(service, spec, restart, state);
        for number in 0..checks {
            self.check(service, number, CheckResult::Passed);
        }
    }

    /// Declares a service whose container is in `state` for long.
    pub(crate) fn add_unproven(&mut self, service: ServiceId, spec: ServiceSpec, restart: RestartPolicy, state: State) {
        self.memory.insert(service, Memory::new(spec.identity.clone()));
        self.step(Input::Define { service, spec: Box::new(spec) });
        self.lives += 1;
        let instance =
            Instance { container: u128::from(service.0) + 1, started: (EPOCH - 900_000 + self.lives) * 1_000_000 };
        let container = Container {
            instance,
            restart,
            exempt: None,
            one_off: false,
            healthcheck: None,
            stop_grace: None,
            stop_signal: 15,
        };
        self.truth.insert(service, Truth { container, state, since: Mono(-900_000) });
        self.describe(service);
        self.look(service);
    }

    /// Takes one step, judged; what a person of law would object to is collected.
    pub(crate) fn step(&mut self, input: Input) {
        self.judges.hear(&input);
        let mut out = Vec::new();
        self.policy.step(self.now, input, &mut out);
        for action in &out {
            self.violations.extend(self.judges.judge(self.now, action).err());
            match action {
                Action::Operate(operation) => self.operations.push(*operation),
                Action::Record(record) => {
                    if record.event.is_durable() {
                        self.newest = Some(record.now);
                        if let Some(memory) = self.memory.get_mut(&record.service) {
                            memory.apply(record);
                        }
                    }
                    self.records.push(*record);
                }
                Action::Answer { order, answer } => self.answers.push((*order, *answer)),
                Action::RolledOut { rollout, undo, result } => self.rolled_out.push((*rollout, *undo, *result)),
                Action::Announce(alert) => self.alerts.push(alert.clone()),
                Action::Look { .. } | Action::Probe { .. } | Action::Cadence { .. } => {}
            }
        }
        self.violations.extend(self.judges.conclude().err());
        self.miss_no_change();
        self.out.clone_from(&out);
        self.log.extend_from_slice(&out);
        if self.alerts_taken {
            for action in &out {
                if let Action::Announce(alert) = action {
                    self.step(Input::Delivered { service: alert.service, key: alert.key });
                }
            }
            self.out.clone_from(&out);
        }
        if self.looks_answered {
            for action in &out {
                if let Action::Look { service } = action {
                    self.look(*service);
                }
            }
        }
    }

    /// Whoever is not told to stand otherwise stands as before, but for what time alone changes and what is others' doing.
    fn miss_no_change(&mut self) {
        let mut touched = Vec::new();
        assert!(!self.policy.take_touched(usize::MAX, &mut touched));
        assert!(touched.iter().enumerate().all(|(place, id)| !touched[..place].contains(id)), "{touched:?}");
        let shown: BTreeMap<ServiceId, ServiceView> = self.policy.views().map(|view| (view.service, view)).collect();
        let all = shown.keys().chain(self.shown.keys()).filter(|service| !touched.contains(service));
        for service in all {
            let (Some(before), Some(view)) = (self.shown.get(service), shown.get(service)) else {
                panic!("nothing tells that {service:?} has come or gone");
            };
            let mut expected = ServiceView {
                affected: view.affected.clone(),
                rollout: view.rollout,
                budget_remaining: view.budget_remaining,
                maintained_until: view.maintained_until,
                engine_restarts: view.engine_restarts,
                ..before.clone()
            };
            if let (Some(incident), Some(known)) = (view.incident, &mut expected.incident) {
                known.acknowledged = incident.acknowledged;
            }
            assert_eq!(*view, expected, "nothing tells that it stands otherwise");
        }
        self.shown = shown;
    }

    /// Time passes; deadlines are kept.
    pub(crate) fn pass(&mut self, span: Duration) {
        let target = self.now.mono + span;
        while let Some(due) = self.policy.next_deadline().filter(|due| *due <= target) {
            self.clock(due.max(self.now.mono));
            self.step(Input::Tick);
            assert!(self.policy.next_deadline().is_none_or(|next| next > self.now.mono), "a busy loop");
        }
        self.clock(target);
    }

    fn clock(&mut self, mono: Mono) {
        self.now = Now { mono, wall: Wall(self.now.wall.0 + (mono.0 - self.now.mono.0)), boot: self.now.boot };
    }

    /// Other rules across services.
    pub(crate) fn rules(&mut self, fleet: FleetSpec) {
        self.fleet = fleet;
        self.step(Input::Rules { fleet });
        self.pass(Duration::ZERO);
    }

    /// A reload that no longer has the service.
    pub(crate) fn undeclare(&mut self, service: ServiceId) {
        self.step(Input::Forget { service });
    }

    /// A reload that has the service (again): it is told what is known of its container.
    pub(crate) fn declare(&mut self, service: ServiceId, spec: ServiceSpec) {
        self.step(Input::Define { service, spec: Box::new(spec) });
        self.describe(service);
        self.look(service);
    }

    pub(crate) fn link(&mut self, link: HostLink) {
        self.step(Input::Host { host: HOST, link });
    }

    pub(crate) fn link_of(&mut self, host: HostId, link: HostLink) {
        self.step(Input::Host { host, link });
    }

    pub(crate) fn describe(&mut self, service: ServiceId) {
        let container = self.truth[&service].container;
        self.step(Input::Described { service, container });
    }

    /// Tells the truth as a look does.
    pub(crate) fn look(&mut self, service: ServiceId) {
        let Truth { container, state, since } = self.truth[&service];
        let state = match state {
            State::Exited { code, .. } => State::Exited { code, witness: Witness::Look },
            other => other,
        };
        let sight = Sight { instance: container.instance, began: self.now.mono, since, state };
        self.step(Input::Seen { service, sight });
    }

    /// The container's state changes, and an event tells it.
    pub(crate) fn becomes(&mut self, service: ServiceId, state: State) {
        let now = self.now.mono;
        let truth = self.truth.get_mut(&service).unwrap();
        truth.state = state;
        let sight = Sight { instance: truth.container.instance, began: now, since: truth.since, state };
        self.step(Input::Seen { service, sight });
    }

    pub(crate) fn dies(&mut self, service: ServiceId, code: i32) {
        self.becomes(service, State::Exited { code, witness: Witness::Event });
    }

    /// The container's state changes unseen.
    pub(crate) fn secretly(&mut self, service: ServiceId, state: State) {
        self.truth.get_mut(&service).unwrap().state = state;
    }

    /// Another life of the container begins, and an event tells it.
    pub(crate) fn starts(&mut self, service: ServiceId, state: State) {
        self.secretly_starts(service, state);
        self.describe(service);
        self.becomes(service, state);
    }

    pub(crate) fn secretly_starts(&mut self, service: ServiceId, state: State) {
        let truth = self.truth.get_mut(&service).unwrap();
        truth.container.instance.started = (EPOCH + self.now.mono.0) * 1_000_000 + self.lives;
        truth.since = self.now.mono;
        truth.state = state;
        self.lives += 1;
    }

    pub(crate) fn stop_signal(&mut self, service: ServiceId) {
        let instance = self.truth[&service].container.instance;
        self.step(Input::StopSignal { service, instance, at: self.now.mono });
    }

    /// `docker stop`.
    pub(crate) fn stopped_by_a_person(&mut self, service: ServiceId) {
        self.stop_signal(service);
        self.dies(service, 0);
    }

    pub(crate) fn check(&mut self, service: ServiceId, number: usize, result: CheckResult) {
        self.pass(Duration::from_millis(10));
        let check = CheckId(u16::try_from(number).unwrap());
        let instance = self.truth[&service].container.instance;
        self.step(Input::Checked { service, check, instance, began: self.now.mono, result });
    }

    pub(crate) fn order(&mut self, service: ServiceId, order: Order) -> Answer {
        let id = OrderId(self.answers.len() as u64);
        self.step(Input::Order { service, id, order });
        let (answered, answer) = *self.answers.last().unwrap();
        assert_eq!(answered, id);
        answer
    }

    /// The newest operation that a credential's change led to, and every one before it.
    pub(crate) fn for_credentials(&self) -> Vec<(ServiceId, Step, bool)> {
        let of = |operation: &Operation| match operation.cause {
            Cause::Credential { undo, .. } => Some((operation.service, operation.step, undo)),
            Cause::Recovery | Cause::Operator => None,
        };
        self.operations.iter().filter_map(of).collect()
    }

    /// The newest operation's answer.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        let Operation { service, attempt, .. } = *self.operations.last().unwrap();
        self.step(Input::Finished { service, attempt, outcome });
    }

    /// The newest operation is carried out well: another life begins.
    pub(crate) fn carry_out(&mut self) {
        let service = self.operations.last().unwrap().service;
        self.starts(service, RUNNING);
        self.finish(Outcome::Done);
    }

    pub(crate) fn view(&self, service: ServiceId) -> ServiceView {
        self.policy.view(service).unwrap()
    }

    pub(crate) fn health(&self) -> Health {
        self.view(ServiceId(0)).health
    }

    pub(crate) fn hold(&self) -> Option<Hold> {
        self.view(ServiceId(0)).hold.map(|hold| hold.reason)
    }

    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        self.events()
            .filter_map(|event| if let Event::Ended { verdict, .. } = event { Some(verdict) } else { None })
            .collect()
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        self.records.iter().map(|record| record.event)
    }

    /// The names of the records of the newest step.
    pub(crate) fn out_names(&self) -> Vec<&'static str> {
        let name = |action: &Action| if let Action::Record(record) = action { Some(record.event.name()) } else { None };
        self.out.iter().filter_map(name).collect()
    }

    pub(crate) fn said(&self, name: &str) -> usize {
        self.events().filter(|event| event.name() == name).count()
    }

    /// Kills this Iaso and starts another from what the store then held, after `away`.
    pub(crate) fn killed(&mut self, clean: bool, away: Duration) {
        let services = self.memory.values().cloned().collect();
        let restored = Restored { store_up: true, intact: true, clean, last: self.newest, services };
        self.clock(self.now.mono + away);
        // No two runs have the same, also where no time passes between them or a boot's clock begins anew.
        self.kills += 1;
        let seed = (self.kills << 52) ^ (u64::try_from(self.now.mono.0).unwrap_or(0) << 25);
        self.policy = Policy::restore(self.fleet, seed, restored.clone(), self.now);
        self.judges = Judges::new(&self.fleet, &restored, self.now);
        self.shown.clear();
    }

    /// The machine starts anew: another boot, whose clock begins at zero.
    pub(crate) fn reboots(&mut self) {
        self.now = Now { mono: Mono(1000), wall: self.now.wall, boot: Boot(self.now.boot.0 + 1) };
    }

    pub(crate) fn wall_jumps(&mut self, by: i64) {
        self.now.wall.0 += by;
    }

    /// Time passes and nobody notices yet.
    pub(crate) fn skip(&mut self, span: Duration) {
        self.clock(self.now.mono + span);
    }

    /// Declares service 0 anew after a kill, connects, and lists.
    pub(crate) fn resumes(&mut self, spec: ServiceSpec) {
        self.step(Input::Define { service: ServiceId(0), spec: Box::new(spec) });
        self.describe(ServiceId(0));
        self.look(ServiceId(0));
        self.link(HostLink::Up { engine_started: false });
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.violations, [], "the judges object");
        }
    }
}
