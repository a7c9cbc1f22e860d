//! A container engine and its containers as a state machine in virtual time: no clock, no thread, no hidden chance.
//!
//! Whoever drives it alternates between [`World::advance`], which carries out everything due, and calls that change
//! something at the present moment. The sequences of events are those that a Docker engine (20.10) was seen to emit.
//! While the engine hangs nothing happens in the containers either: their deaths come when it thaws.

mod container;
mod faults;
mod operations;
mod person;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use iaso_policy::input::EngineHealth;

use crate::engine::{Changed, ContainerDetail, ContainerId, EngineError, EngineEvent, EventAction};
use crate::sim::random::Random;
use crate::sim::script::{ContainerScript, ProbeResult};

pub use faults::{Fault, Reach};
pub use person::{Act, Deployment};

use container::{Container, Phase};
use faults::{Faults, Power};
use operations::Operation;

/// Midnight of 1 January 2026 (UTC) in nanoseconds since the epoch: the engine's clock at virtual zero.
pub const EPOCH_NS: i64 = 1_767_225_600_000_000_000;

/// As many events as an engine keeps for those who ask for the past.
const RING: usize = 256;

/// One engine and its containers. Containers are named by their short id ([`ContainerId::short`]).
#[derive(Debug)]
pub struct World {
    now: i64,
    last_stamp: i64,
    random: Random,
    containers: BTreeMap<u128, Container>,
    /// What is to come, by time and order of entry.
    due: BTreeMap<(i64, u64), Due>,
    entries: u64,
    /// What came due while the engine hung.
    held: Vec<Due>,
    /// What happened and has not been handed out.
    happened: Vec<WorldEvent>,
    /// The newest events, for those who ask for the past.
    ring: VecDeque<EngineEvent>,
    /// No event is delivered before this moment: delays never change the order.
    last_delivery: i64,
    tickets: u64,
    events_lost: u64,
    faults: Faults,
}

/// One thing that reached those outside the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldEvent {
    /// When, in virtual milliseconds.
    pub at: i64,
    /// What.
    pub what: Happening,
}

/// What reached those outside the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// An event came through every open stream.
    Event(EngineEvent),
    /// Every open stream ended.
    StreamsEnded,
    /// The engine answers again after it was down.
    EngineUp,
    /// A change asked for with [`World::begin_change`] was answered.
    Answered {
        /// Which.
        ticket: Ticket,
        /// How.
        result: Result<Changed, EngineError>,
    },
}

/// Names one call of [`World::begin_change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How a container really is, whatever anybody has noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    /// Its process runs (perhaps frozen).
    pub running: bool,
    /// It is frozen.
    pub paused: bool,
    /// It runs and answers a probe as a healthy one does.
    pub serves: bool,
    /// The engine is at work on it: whatever else is asked for waits, and no event tells of it.
    pub busy: bool,
    /// A person stopped or killed it, or is about to, and nobody has started it since.
    pub stopped_by_person: bool,
    /// A tool is at work on replacing it.
    pub replaced: bool,
    /// Starts so far, failed ones included.
    pub lives: u32,
    /// When its newest life began that did not fail.
    pub since: i64,
    /// When it was last seen to begin or end running, freeze or thaw by whoever could see everything.
    pub changed: i64,
    /// What its HEALTHCHECK says.
    pub health: EngineHealth,
    /// Its HEALTHCHECK has found it unhealthy in this life.
    pub was_unhealthy: bool,
    /// Its exit code, where it has exited and nobody is about to start it.
    pub exited: Option<i32>,
}

/// Something to come.
#[derive(Debug)]
enum Due {
    /// A process ends, if it still lives that life.
    Exit { id: u128, life: u32, exit: Exit },
    /// A HEALTHCHECK begins.
    HealthBegins { id: u128, life: u32 },
    /// A HEALTHCHECK ends.
    HealthEnds { id: u128, life: u32, passed: bool },
    /// The engine starts what its restart policy wants.
    PolicyStart { id: u128, life: u32 },
    /// A stop's grace is over.
    GraceOver { id: u128, life: u32 },
    /// The start that the running operation asked for is through.
    Started { id: u128, life: u32 },
    /// A container that a deployment has replaced goes.
    Remove { id: u128 },
    /// An event reaches the streams.
    Deliver(EngineEvent),
    /// A change's answer reaches who asked.
    Answer { ticket: Ticket, result: Result<Changed, EngineError> },
    /// The engine's process starts.
    EngineStarts,
    /// The engine answers again.
    EngineServes,
    /// A hang ends.
    Thaw,
}

/// How a process ends.
#[derive(Debug, Clone, Copy)]
struct Exit {
    code: i32,
    /// The kernel killed it for want of memory.
    oom: bool,
    /// Frozen processes end too.
    killed: bool,
}

impl World {
    /// An engine without containers, at virtual zero. The seed decides ids and nothing else.
    pub fn new(seed: u64) -> Self {
        Self {
            now: 0,
            last_stamp: EPOCH_NS,
            random: Random::new(seed),
            containers: BTreeMap::new(),
            due: BTreeMap::new(),
            entries: 0,
            held: Vec::new(),
            happened: Vec::new(),
            ring: VecDeque::new(),
            last_delivery: 0,
            tickets: 0,
            events_lost: 0,
            faults: Faults::new(seed),
        }
    }

    /// The present, in virtual milliseconds.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// `docker run` that takes no time: creates a container and starts it. Names are the caller's to keep unique
    /// ([`World::find`]).
    pub fn add(&mut self, script: ContainerScript) -> ContainerId {
        let id = self.create(script);
        self.bring_to_life(id.short());
        id
    }

    /// `docker create`: the container is there and was never started.
    pub fn create(&mut self, script: ContainerScript) -> ContainerId {
        let name = script.name.clone();
        self.create_named(script, name)
    }

    fn create_named(&mut self, script: ContainerScript, name: String) -> ContainerId {
        let digits: String = (0..4).map(|_| format!("{:016x}", self.random.bits())).collect();
        // Sixteen digits four times over are an id by construction.
        let Some(id) = ContainerId::new(&digits) else { unreachable!("{digits} is an id") };
        let address =
            u32::from(Ipv4Addr::new(172, 30, 0, 2)) + u32::try_from(self.entries).unwrap_or_default() % 60_000;
        self.entries += 1;
        let container = Container::new(id.clone(), name, script, IpAddr::V4(Ipv4Addr::from(address)));
        self.containers.insert(id.short(), container);
        self.emit(id.short(), EventAction::Create);
        id
    }

    /// Carries out everything due up to `to` (virtual milliseconds) and appends what reached those outside, in order.
    pub fn advance(&mut self, to: i64, out: &mut Vec<WorldEvent>) {
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= to
        {
            let ((at, _), due) = entry.remove_entry();
            self.now = self.now.max(at);
            self.carry_out(due);
        }
        self.now = self.now.max(to);
        out.append(&mut self.happened);
    }

    /// The next moment at which something happens by itself; none when nothing ever will.
    pub fn next_due(&self) -> Option<i64> {
        if self.happened.is_empty() { self.due.first_key_value().map(|((at, _), _)| *at) } else { Some(self.now) }
    }

    /// The short id of every container there is, ascending.
    pub fn ids(&self) -> Vec<u128> {
        self.containers.keys().copied().collect()
    }

    /// Every container as an inspection would show it, by id.
    pub fn list(&self) -> Vec<ContainerDetail> {
        self.containers.values().map(Container::detail).collect()
    }

    /// One container as an inspection would show it.
    pub fn inspect(&self, container: u128) -> Option<ContainerDetail> {
        self.containers.get(&container).map(Container::detail)
    }

    /// The short id of the container that has this name now.
    pub fn find(&self, name: &str) -> Option<u128> {
        self.containers.iter().find(|(_, c)| c.name == name).map(|(id, _)| *id)
    }

    /// What a probe meets that begins now.
    pub fn probe(&self, container: u128, port: u16) -> ProbeResult {
        let known = self.containers.get(&container).filter(|_| self.faults.lets_serve(self.now));
        known.map_or(ProbeResult::Refused, |c| self.ask(c, port))
    }

    /// What the program answers, and what it needs makes of that.
    fn ask(&self, container: &Container, port: u16) -> ProbeResult {
        match container.probe(self.now, port) {
            ProbeResult::Answered { status: 200..=299, after_ms, body } if self.is_let_down(container) => {
                ProbeResult::Answered { status: 503, after_ms, body }
            }
            answer => answer,
        }
    }

    fn is_let_down(&self, container: &Container) -> bool {
        container.script.relies_on.iter().any(|reliance| {
            let needed = self.containers.values().find(|c| c.name == reliance.on);
            needed
                .is_none_or(|needed| !self.serves(needed) || !reliance.reconnects && needed.is_younger_than(container))
        })
    }

    /// It answers as a healthy one does, whatever all share.
    fn serves(&self, container: &Container) -> bool {
        self.ask(container, container.script.port).passes(Duration::from_secs(5))
    }

    /// What a container was made to be; none when there is none.
    pub fn script(&self, container: u128) -> Option<&ContainerScript> {
        self.containers.get(&container).map(|c| &c.script)
    }

    /// How a container really is; none when there is none.
    pub fn truth(&self, container: u128) -> Option<Truth> {
        self.containers.get(&container).map(|c| Truth { serves: self.serves(c), ..c.truth() })
    }

    /// The last `lines` lines of a container's output: one for each start, the planted secret in it.
    pub fn logs(&self, container: u128, lines: u16) -> Option<String> {
        let container = self.containers.get(&container)?;
        let (name, secret) = (&container.script.name, &container.script.secret);
        let first = container.starts.saturating_sub(lines.into()) + 1;
        let said = (first..=container.starts).map(|n| format!("{name} start {n}: connecting with password {secret}\n"));
        Some(said.collect())
    }

    /// The events that the engine still keeps from `since` on (nanoseconds on its clock): at most 256.
    pub fn events_since(&self, since: i64) -> Vec<EngineEvent> {
        self.ring.iter().filter(|event| event.time >= since).cloned().collect()
    }

    /// How many events nobody was told of.
    pub fn events_lost(&self) -> u64 {
        self.events_lost
    }

    /// Every container's short id and name, by id.
    pub fn names(&self) -> impl Iterator<Item = (u128, &str)> {
        self.containers.iter().map(|(id, c)| (*id, &*c.name))
    }

    fn carry_out(&mut self, due: Due) {
        if self.faults.hangs && !matches!(due, Due::Thaw) {
            self.held.push(due);
            return;
        }
        match due {
            Due::Exit { id, life, exit } => self.exit(id, life, exit),
            Due::HealthBegins { id, life } => self.health_begins(id, life),
            Due::HealthEnds { id, life, passed } => self.health_ends(id, life, passed),
            Due::PolicyStart { id, life } => self.policy_start(id, life),
            Due::GraceOver { id, life } => self.grace_over(id, life),
            Due::Started { id, life } => self.started(id, life),
            Due::Remove { id } => self.remove_replaced(id),
            Due::Deliver(event) => self.deliver(event),
            Due::Answer { ticket, result } => self.tell(Happening::Answered { ticket, result }),
            Due::EngineStarts => self.engine_starts(),
            Due::EngineServes => self.engine_serves(),
            Due::Thaw => self.thaw(),
        }
    }

    fn after(&mut self, ms: i64, due: Due) {
        self.at(self.now + ms.max(0), due);
    }

    fn at(&mut self, at: i64, due: Due) {
        self.entries += 1;
        self.due.insert((at, self.entries), due);
    }

    fn tell(&mut self, what: Happening) {
        self.happened.push(WorldEvent { at: self.now, what });
    }

    /// This moment on the engine's clock; never the same twice.
    fn stamp(&mut self) -> i64 {
        self.last_stamp = (self.last_stamp + 1).max(EPOCH_NS + self.now * 1_000_000);
        self.last_stamp
    }

    /// Makes an event of what has just happened to a container, and sends it on its way through the faults in force.
    fn emit(&mut self, id: u128, action: EventAction) {
        let time = self.stamp();
        let Some(container) = self.containers.get(&id) else { return };
        let (name, labels) = (Some(container.name.clone()), container.script.labels.clone());
        let event = EngineEvent { container: container.id.clone(), name, labels, time, action };
        if self.faults.loses(self.now) {
            self.events_lost += 1;
            return;
        }
        let repeats = self.faults.repeats(self.now);
        let arrives = self.last_delivery.max(self.now + self.faults.event_delay(self.now));
        if arrives == self.now && !repeats {
            self.deliver(event);
            return;
        }
        if repeats {
            self.at(arrives + 1, Due::Deliver(event.clone()));
        }
        self.last_delivery = arrives;
        self.at(arrives, Due::Deliver(event));
    }

    fn deliver(&mut self, event: EngineEvent) {
        if self.faults.power == Power::Off {
            return;
        }
        self.keep(event.clone());
        if self.faults.power != Power::Starting {
            self.tell(Happening::Event(event));
        }
    }

    fn keep(&mut self, event: EngineEvent) {
        if self.ring.len() == RING {
            self.ring.pop_front();
        }
        self.ring.push_back(event);
    }
}

#[cfg(test)]
mod tests;
