//! One container: its state, its process's life, its HEALTHCHECK.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use iaso_policy::input::EngineHealth;

use super::operations::Kind;
use super::{Due, Exit, Operation, Power, Truth, World};
use crate::engine::{ContainerDetail, ContainerId, ContainerState, EventAction};
use crate::sim::script::{Ailment, ContainerScript, Manner, ProbeResult, RestartMode};

/// The wait before the engine's first restart by policy, which doubles with each up to [`LONGEST_WAIT_MS`].
const FIRST_WAIT_MS: i64 = 100;
const LONGEST_WAIT_MS: i64 = 60_000;
/// A life of this length sets the wait back to the first.
const LONG_LIFE_MS: i64 = 10_000;

#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) name: String,
    pub(super) script: ContainerScript,
    pub(super) phase: Phase,
    /// Starts so far, failed ones included.
    pub(super) life: u32,
    /// Starts that did not fail.
    pub(super) starts: u32,
    /// Stopped or signalled on somebody's request since its last start: the restart policy is off.
    pub(super) stopped_on_request: bool,
    pub(super) stopped_by_person: bool,
    pub(super) running: Option<Operation>,
    pub(super) waiting: VecDeque<Operation>,
    pub(super) restart_count: u32,
    address: IpAddr,
    started_ms: i64,
    started: i64,
    finished: i64,
    oom_killed: bool,
    health: EngineHealth,
    failures: u32,
    was_unhealthy: bool,
    changed_ms: i64,
    /// A cure has worked in this life.
    cured: bool,
    policy_wait_ms: i64,
    /// Ends of the process that came due while it was frozen.
    frozen: Vec<Exit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Created,
    Running,
    Paused,
    /// The engine will start it by its policy; it exited with this code.
    Waiting(i32),
    Exited(i32),
}

impl Container {
    pub(super) fn new(id: ContainerId, name: String, script: ContainerScript, address: IpAddr) -> Self {
        Self {
            id,
            name,
            script,
            phase: Phase::Created,
            life: 0,
            starts: 0,
            stopped_on_request: false,
            stopped_by_person: false,
            running: None,
            waiting: VecDeque::new(),
            restart_count: 0,
            address,
            started_ms: 0,
            started: 0,
            finished: 0,
            oom_killed: false,
            health: EngineHealth::None,
            failures: 0,
            was_unhealthy: false,
            changed_ms: 0,
            cured: false,
            policy_wait_ms: 0,
            frozen: Vec::new(),
        }
    }

    pub(super) fn detail(&self) -> ContainerDetail {
        let state = match self.phase {
            Phase::Created => ContainerState::Created,
            Phase::Running => ContainerState::Running(self.health),
            Phase::Paused => ContainerState::Paused,
            Phase::Waiting(_) => ContainerState::Restarting,
            Phase::Exited(code) => ContainerState::Exited(code),
        };
        let addresses = if self.alive() { vec![self.address] } else { Vec::new() };
        let published = (self.script.published && self.alive()).then_some((
            self.script.port,
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            self.script.port,
        ));
        ContainerDetail {
            id: self.id.clone(),
            name: self.name.clone(),
            image: self.script.image.clone(),
            labels: self.script.labels.clone(),
            state,
            started: self.started,
            finished: self.finished,
            oom_killed: self.oom_killed,
            restart: self.script.restart.policy(),
            restart_count: self.restart_count,
            auto_remove: self.script.auto_remove,
            healthcheck: self.script.healthcheck,
            stop_signal: self.script.stop_signal,
            stop_grace: self.script.stop_grace,
            networks: BTreeMap::from([("bridge".to_owned(), addresses)]),
            network_mode: "bridge".to_owned(),
            links: BTreeSet::new(),
            ports: published.into_iter().collect(),
            mounts: Vec::new(),
        }
    }

    /// It has a process, frozen or not.
    pub(super) fn alive(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Paused)
    }

    pub(super) fn cure(&mut self) {
        self.cured = true;
    }

    pub(super) fn wont_start(&self) -> bool {
        self.script.ailments.iter().any(|a| matches!(a, Ailment::WontStart { lives } if lives.contains(self.life)))
    }

    pub(super) fn probe(&self, now: i64, port: u16) -> ProbeResult {
        if self.phase == Phase::Paused {
            return ProbeResult::Hung;
        }
        if self.phase != Phase::Running || port != self.script.port || now < self.started_ms + self.script.boot_ms {
            return ProbeResult::Refused;
        }
        let answered = |status, after_ms| {
            let body = format!("{{\"status\":{status},\"token\":\"{}\"}}", self.script.secret);
            ProbeResult::Answered { status, after_ms, body }
        };
        match self.sickness(now) {
            None => answered(200, self.script.latency_ms),
            Some(Manner::Status(status)) => answered(status, self.script.latency_ms),
            Some(Manner::Slow(ms)) => answered(200, ms),
            Some(Manner::Hangs) => ProbeResult::Hung,
            Some(Manner::Refuses) => ProbeResult::Refused,
        }
    }

    pub(super) fn is_younger_than(&self, other: &Self) -> bool {
        self.started > other.started
    }

    pub(super) fn set_phase(&mut self, phase: Phase, now: i64) {
        (self.phase, self.changed_ms) = (phase, now);
    }

    /// As far as it can be told without the others.
    pub(super) fn truth(&self) -> Truth {
        let replaces = |operation: &Operation| matches!(operation.kind, Kind::Replace(_));
        Truth {
            running: self.alive(),
            paused: self.phase == Phase::Paused,
            serves: false,
            busy: self.running.is_some(),
            stopped_by_person: self.stopped_by_person,
            replaced: self.running.iter().chain(&self.waiting).any(replaces),
            lives: self.life,
            since: self.started_ms,
            changed: self.changed_ms,
            health: self.health,
            was_unhealthy: self.was_unhealthy,
            exited: if let Phase::Exited(code) = self.phase { Some(code) } else { None },
        }
    }

    fn sickness(&self, now: i64) -> Option<Manner> {
        if self.cured {
            return None;
        }
        let age = now - self.started_ms;
        self.script.ailments.iter().find_map(|ailment| match *ailment {
            Ailment::Sick { manner, after_ms, for_ms, lives } => {
                let over = for_ms.is_some_and(|span| age >= after_ms + span);
                (lives.contains(self.life) && age >= after_ms && !over).then_some(manner)
            }
            _ => None,
        })
    }
}

impl World {
    /// Starts a container's process now. A start that the restart policy made leaves its count alone; so does this.
    pub(super) fn bring_to_life(&mut self, id: u128) {
        let (now, stamp) = (self.now, self.stamp());
        let Some(c) = self.containers.get_mut(&id) else { return };
        c.life += 1;
        c.starts += 1;
        c.set_phase(Phase::Running, now);
        (c.started_ms, c.started) = (now, stamp);
        (c.oom_killed, c.cured, c.failures, c.was_unhealthy) = (false, false, 0, false);
        (c.stopped_on_request, c.stopped_by_person) = (false, false);
        c.frozen.clear();
        c.health = if c.script.healthcheck.is_some() { EngineHealth::Starting } else { EngineHealth::None };
        let life = c.life;
        let health_interval = c.script.healthcheck.map(|check| millis(check.interval));
        let ends: Vec<(i64, Exit)> = c.script.ailments.iter().filter_map(|ailment| end_by(ailment, life)).collect();
        self.emit(id, EventAction::Start);
        for (after, exit) in ends {
            self.after(after, Due::Exit { id, life, exit });
        }
        if let Some(interval) = health_interval {
            self.after(interval, Due::HealthBegins { id, life });
        }
    }

    /// From now on the container has this ailment too. Its times count from the container's start, as ever: what is past
    /// befalls it at once.
    pub fn afflict(&mut self, container: u128, ailment: Ailment) {
        let now = self.now;
        let Some(c) = self.containers.get_mut(&container) else { return };
        c.script.ailments.push(ailment);
        let (life, age) = (c.life, now - c.started_ms);
        if let Some((after, exit)) = end_by(&ailment, life).filter(|_| c.alive()) {
            self.after(after - age, Due::Exit { id: container, life, exit });
        }
    }

    /// A process ends, by itself or because it was told to.
    pub(super) fn exit(&mut self, id: u128, life: u32, exit: Exit) {
        let now = self.now;
        let Some(c) = self.containers.get_mut(&id) else { return };
        if c.life != life || !c.alive() {
            return;
        }
        if c.phase == Phase::Paused && !exit.killed {
            c.frozen.push(exit);
            return;
        }
        c.set_phase(Phase::Exited(exit.code), now);
        c.oom_killed = exit.oom;
        if exit.oom {
            self.emit(id, EventAction::Oom);
        }
        self.emit(id, EventAction::Die(exit.code));
        let finished = self.stamp();
        if let Some(c) = self.containers.get_mut(&id) {
            c.finished = finished;
        }
        if self.stop_went_through(id) {
            return;
        }
        if self.containers.get(&id).is_some_and(|c| c.script.auto_remove) {
            self.destroy(id);
        } else if self.faults.power != Power::Stopping {
            self.consider_policy(id, exit.code);
        }
    }

    fn consider_policy(&mut self, id: u128, code: i32) {
        let now = self.now;
        let Some(c) = self.containers.get_mut(&id) else { return };
        if c.stopped_on_request || !c.script.restart.restarts(code, c.restart_count) {
            return;
        }
        let fresh = c.policy_wait_ms == 0 || now - c.started_ms >= LONG_LIFE_MS;
        c.policy_wait_ms = if fresh { FIRST_WAIT_MS } else { (c.policy_wait_ms * 2).min(LONGEST_WAIT_MS) };
        c.restart_count += 1;
        c.phase = Phase::Waiting(code);
        let (life, wait) = (c.life, c.policy_wait_ms + c.script.start_ms);
        self.after(wait, Due::PolicyStart { id, life });
    }

    pub(super) fn policy_start(&mut self, id: u128, life: u32) {
        let Some(c) = self.containers.get_mut(&id) else { return };
        if c.life != life || !matches!(c.phase, Phase::Waiting(_)) {
            return;
        }
        self.bring_to_life(id);
    }

    /// The engine has started anew: what its policy wants runs again.
    pub(super) fn revive_by_policy(&mut self, id: u128) {
        let Some(c) = self.containers.get_mut(&id) else { return };
        let Phase::Exited(code) = c.phase else { return };
        let wanted =
            c.script.restart.restarts(code, 0) && (c.script.restart == RestartMode::Always || !c.stopped_on_request);
        if wanted {
            (c.restart_count, c.policy_wait_ms, c.stopped_by_person) = (0, 0, false);
            c.phase = Phase::Waiting(code);
            let (life, wait) = (c.life, c.script.start_ms);
            self.after(wait, Due::PolicyStart { id, life });
        }
    }

    /// All processes end without a trace: the machine lost its power.
    pub(super) fn everything_dies(&mut self) {
        let (now, finished) = (self.now, self.stamp());
        for c in self.containers.values_mut() {
            if c.alive() {
                c.set_phase(Phase::Exited(255), now);
                c.finished = finished;
            } else if let Phase::Waiting(code) = c.phase {
                c.phase = Phase::Exited(code);
            }
        }
    }

    pub(super) fn forget_policy_restarts(&mut self, id: u128) {
        if let Some(c) = self.containers.get_mut(&id) {
            (c.restart_count, c.policy_wait_ms) = (0, 0);
        }
    }

    pub(super) fn thaw_process(&mut self, id: u128) {
        let now = self.now;
        let Some(c) = self.containers.get_mut(&id) else { return };
        c.set_phase(Phase::Running, now);
        let (life, ends) = (c.life, std::mem::take(&mut c.frozen));
        self.emit(id, EventAction::Unpause);
        for exit in ends {
            self.after(0, Due::Exit { id, life, exit });
        }
    }

    pub(super) fn health_begins(&mut self, id: u128, life: u32) {
        let Some(c) = self.containers.get(&id) else { return };
        let Some(check) = c.script.healthcheck else { return };
        if c.life != life || !c.alive() {
            return;
        }
        if c.phase == Phase::Paused {
            self.after(millis(check.interval), Due::HealthBegins { id, life });
            return;
        }
        let result = self.probe(id, c.script.port);
        let passed = result.passes(check.timeout);
        let took = match result {
            ProbeResult::Answered { after_ms, .. } => after_ms.min(millis(check.timeout)),
            ProbeResult::Hung => millis(check.timeout),
            ProbeResult::Refused => 1,
        };
        self.after(took, Due::HealthEnds { id, life, passed });
    }

    pub(super) fn health_ends(&mut self, id: u128, life: u32, passed: bool) {
        let now = self.now;
        let Some(c) = self.containers.get_mut(&id) else { return };
        let Some(check) = c.script.healthcheck else { return };
        if c.life != life || !c.alive() {
            return;
        }
        let forgiven = c.health == EngineHealth::Starting && now - c.started_ms < millis(check.start_period);
        let before = c.health;
        if passed {
            (c.health, c.failures) = (EngineHealth::Healthy, 0);
        } else if !forgiven {
            c.failures += 1;
            if c.failures >= check.retries {
                (c.health, c.was_unhealthy) = (EngineHealth::Unhealthy, true);
            }
        }
        let after = c.health;
        if after != before {
            self.emit(id, EventAction::Health(after));
        }
        self.after(millis(check.interval), Due::HealthBegins { id, life });
    }
}

/// The end that an ailment brings to this life, and how long after its start.
fn end_by(ailment: &Ailment, life: u32) -> Option<(i64, Exit)> {
    match *ailment {
        Ailment::Exits { code, after_ms, lives } if lives.contains(life) => {
            Some((after_ms, Exit { code, oom: false, killed: false }))
        }
        Ailment::OutOfMemory { after_ms, lives } if lives.contains(life) => {
            Some((after_ms, Exit { code: 137, oom: true, killed: false }))
        }
        _ => None,
    }
}

pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
