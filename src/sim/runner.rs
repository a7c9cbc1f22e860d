//! The real policy, its judges and a simulated engine in virtual time, with Iaso killed at any point.
//!
//! This drives the policy as the supervisor does: events, lists, looks and probes go in; operations are charged in the store
//! and then asked of the engine. A kill leaves only what the store then held.

mod decisions;
mod rollouts;
mod senses;
mod truth;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::action::{Action, Cause, Charge, Operation};
use iaso_policy::alert::AlertKey;
use iaso_policy::id::{AttemptId, CheckId, HostId, Identity, Instance, OrderId, RolloutId, ServiceId};
use iaso_policy::input::{CheckResult, HostLink, Input, Order, Outcome, State};
use iaso_policy::laws::Judges;
use iaso_policy::memory::{Memory, Restored};
use iaso_policy::record::{Event, Health, Hold};
use iaso_policy::time::{Boot, Mono, Now, Wall};
use iaso_policy::{Policy, Record};

use super::scenario::{OrderKind, PORT, Scenario, Turn};
use super::script::{Ailment, Lives, OnStop, ProbeResult};
use super::world::{EPOCH_NS, Happening, Reach, Ticket, World, WorldEvent};
use crate::config::{self, validated::Config};
use crate::engine::operate::{answered, obstacle};
use crate::engine::{ContainerId, EngineEvent, EventAction};
use crate::supervisor::change_of;
use crate::supervisor::fleet::{Fleet, News};
use truth::Books;

const HOST: HostId = HostId(0);

/// Between full lists.
const LIST_EVERY: i64 = 300_000;

/// Between attempts to reach the engine.
const RECONNECT: i64 = 1_000;

/// How long the world is left in peace at the end.
const QUIET: i64 = 2 * HOUR;

const HOUR: i64 = 3_600_000;

/// How long a reporter takes for an announcement.
const DELIVERED_AFTER: i64 = 500;

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What it was drawn from.
    pub seed: u64,
    /// Inputs that the policy took.
    pub inputs: u64,
    /// Changes that the engine was asked for.
    pub operations: u64,
    /// Incidents that were closed as healed.
    pub healed: u64,
    /// Operations for a credential's sake that the engine was asked for.
    pub for_credentials: u64,
    /// Undoings of a credential's change that went through.
    pub undone: u64,
    /// Times that so much failed at once that recovery waited.
    pub storms: u64,
    /// Lives of Iaso that were cut short.
    pub kills: u64,
    /// What a judge objected to; empty in a good run.
    pub problems: Vec<String>,
}

/// Runs the scenario of this seed to its end and a quiet stretch beyond.
pub fn run(seed: u64) -> Report {
    let scenario = Scenario::random(seed);
    let mut runner = Runner::new(&scenario);
    for moment in &scenario.timeline {
        runner.advance(moment.at);
        runner.befall(&moment.turn);
    }
    runner.advance(scenario.length_ms + QUIET);
    if !runner.unwell().is_empty() {
        // An ailment that strikes after hours may just have struck.
        runner.advance(scenario.length_ms + QUIET + HOUR);
    }
    runner.report.problems = runner.unwell();
    runner.report.problems.append(&mut runner.books.problems);
    runner.report
}

/// What survives Iaso.
#[derive(Debug, Default)]
struct Store {
    memories: BTreeMap<Identity, Memory>,
    last: Option<Now>,
    refuses_until: i64,
}

struct Runner<'a> {
    scenario: &'a Scenario,
    world: World,
    store: Store,
    books: Books,
    iaso: Option<Iaso>,
    starts_at: i64,
    clean: bool,
    lives: u64,
    wall_offset: i64,
    engine_starts: u64,
    /// Changes of credentials so far.
    rollouts: u64,
    config: Arc<Config>,
    report: Report,
}

/// One life of Iaso.
struct Iaso {
    policy: Policy,
    judges: Judges,
    fleet: Fleet,
    probes: BTreeMap<ServiceId, Probes>,
    calls: BTreeMap<Ticket, (ServiceId, AttemptId)>,
    /// What is to come, by time and order of entry.
    due: BTreeMap<(i64, u64), Due>,
    entries: u64,
    linked: bool,
    engine_starts: Option<u64>,
    store_up: bool,
    /// Durable records that the store has not taken.
    backlog: Vec<Record>,
    /// Killed after so many more actions, for so long.
    doomed: Option<(u32, i64)>,
}

/// The probes of a service's own check.
struct Probes {
    interval: Duration,
    /// The newest probe that was planned; earlier plans are void.
    plan: u64,
}

enum Due {
    Connect,
    Connected,
    List,
    Looked(ContainerId, Mono),
    Probe(ServiceId, u64),
    Probed {
        service: ServiceId,
        instance: Instance,
        began: Mono,
        result: CheckResult,
    },
    TimesOut(Ticket),
    Answered(ServiceId, AttemptId, Outcome),
    /// A reporter has taken an announcement.
    Delivered(ServiceId, AlertKey),
    /// It stays, or is undone.
    Decided(RolloutId, bool),
}

/// The shipped rules: containers say by their labels what they ask for.
fn config() -> Config {
    let host = "hosts.local.url = 'unix:///simulated'";
    config::decode("simulated", host, &|_| None).unwrap_or_else(|mistakes| unreachable!("{mistakes}"))
}

/// How long a call may take: the stop grace and 5 s.
fn bound(operation: &Operation) -> Duration {
    operation.stop_grace.unwrap_or(Duration::from_secs(10)) + Duration::from_secs(5)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl<'a> Runner<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            world: scenario.world(),
            store: Store::default(),
            books: Books::default(),
            iaso: None,
            starts_at: 500,
            clean: true,
            lives: 0,
            wall_offset: 0,
            engine_starts: 0,
            rollouts: 0,
            config: Arc::new(config()),
            report: Report { seed: scenario.seed, ..Report::default() },
        }
    }

    fn now(&self) -> Now {
        let now = self.world.now();
        Now { mono: Mono(now), wall: Wall(EPOCH_NS / 1_000_000 + now + self.wall_offset), boot: Boot(1) }
    }

    /// Lets time pass until `to`.
    fn advance(&mut self, to: i64) {
        loop {
            let due = match &self.iaso {
                None => Some(self.starts_at),
                Some(iaso) => {
                    let tick = iaso.policy.next_deadline().map(|at| at.0);
                    let own = iaso.due.keys().next().map(|(at, _)| *at);
                    let store = (!iaso.store_up).then_some(self.store.refuses_until);
                    [tick, own, store].into_iter().flatten().min()
                }
            };
            let next = [due, self.world.next_due()].into_iter().flatten().min().unwrap_or(to).max(self.world.now());
            if next > to {
                break;
            }
            let mut happened = Vec::new();
            self.world.advance(next, &mut happened);
            for event in happened {
                self.hear(event);
            }
            self.act_on_time();
        }
        let mut happened = Vec::new();
        self.world.advance(to, &mut happened);
        for event in happened {
            self.hear(event);
        }
    }

    fn act_on_time(&mut self) {
        let now = self.world.now();
        let Some(iaso) = &mut self.iaso else {
            if self.starts_at <= now {
                self.start();
            }
            return;
        };
        if !iaso.store_up && self.store.refuses_until <= now {
            iaso.store_up = true;
            for record in std::mem::take(&mut iaso.backlog) {
                self.keep(&record);
            }
            self.step(Input::Store { up: true });
        }
        while let Some(iaso) = &mut self.iaso
            && let Some(entry) = iaso.due.first_entry().filter(|entry| entry.key().0 <= now)
        {
            let due = entry.remove();
            self.carry_out(&due);
        }
        if self.iaso.as_ref().is_some_and(|iaso| iaso.policy.next_deadline().is_some_and(|at| at.0 <= now)) {
            self.step(Input::Tick);
            let next = self.iaso.as_ref().and_then(|iaso| iaso.policy.next_deadline());
            if next.is_some_and(|at| at.0 <= now) {
                self.books.problems.push(format!("{now} ms: a busy loop"));
                self.iaso = None;
                self.starts_at = i64::MAX;
            }
        }
    }

    fn start(&mut self) {
        let now = self.now();
        self.lives += 1;
        let store_up = self.store.refuses_until <= now.mono.0;
        let restored = Restored {
            store_up,
            intact: true,
            clean: self.clean,
            last: self.store.last,
            services: self.store.memories.values().cloned().collect(),
        };
        let fleet = self.config.fleet;
        let seed = (self.scenario.seed << 32) ^ (self.lives << 24);
        self.clean = false;
        self.iaso = Some(Iaso {
            judges: Judges::new(&fleet, &restored, now),
            policy: Policy::restore(fleet, seed, restored, now),
            fleet: Fleet::new(Arc::clone(&self.config), None),
            probes: BTreeMap::new(),
            calls: BTreeMap::new(),
            due: BTreeMap::new(),
            entries: 0,
            linked: false,
            engine_starts: None,
            store_up,
            backlog: Vec::new(),
            doomed: None,
        });
        self.plan(0, Due::Connect);
    }

    fn end(&mut self, clean: bool, down_ms: i64) {
        let Some(iaso) = self.iaso.take() else { return };
        self.report.kills += u64::from(!clean);
        for record in iaso.backlog {
            let charged = matches!(record.event, Event::Begun { charge: Charge::Stored | Charge::Memory, .. });
            if let Some(watched) = iaso.fleet.service(record.service).filter(|_| charged) {
                self.books.charge_lost(&watched.subject.identity);
            }
        }
        self.clean = clean;
        self.starts_at = self.world.now() + down_ms.max(1);
    }

    fn plan(&mut self, after: i64, due: Due) {
        let at = self.world.now() + after.max(0);
        if let Some(iaso) = &mut self.iaso {
            iaso.entries += 1;
            iaso.due.insert((at, iaso.entries), due);
        }
    }

    fn befall(&mut self, turn: &Turn) {
        // An engine that does not answer does nothing for anybody.
        if let Turn::Person { container, act } = turn
            && let (Some(id), Reach::After(_)) = (self.world.find(container), self.world.reach())
        {
            let runs = self.world.truth(id).is_some_and(|truth| truth.running && !truth.busy);
            self.books.acted(id, act, runs);
        }
        if turn.befall(&mut self.world) {
            return;
        }
        match turn {
            Turn::Order { container, order } => self.order(container, *order),
            Turn::KillIaso { after_actions: 0, down_ms } => self.end(false, *down_ms),
            Turn::KillIaso { after_actions, down_ms } => {
                if let Some(iaso) = &mut self.iaso {
                    iaso.doomed = Some((*after_actions, *down_ms));
                }
            }
            Turn::StopIaso { down_ms } => {
                self.step(Input::Stopping);
                self.end(true, *down_ms);
            }
            Turn::StoreRefuses { for_ms } => self.store.refuses_until = self.world.now() + for_ms,
            Turn::WallJumps { by_ms } => self.wall_offset += by_ms,
            Turn::Reload { discovery } => self.reload(*discovery),
            Turn::RollOut(change) => self.roll_out(change),
            Turn::Undo(back) => self.step(Input::Undo { rollout: RolloutId(self.rollouts.saturating_sub(*back)) }),
            Turn::Engine(_) | Turn::Person { .. } | Turn::Make(_) => {}
        }
    }

    fn order(&mut self, container: &str, order: OrderKind) {
        let Some(detail) = self.world.find(container).and_then(|id| self.world.inspect(id)) else { return };
        let known = self.iaso.as_ref().and_then(|iaso| iaso.fleet.known(HOST).get(&detail.id));
        let Some(service) = known.and_then(|known| known.service) else { return };
        let order = match order {
            OrderKind::Pause => Order::Pause,
            OrderKind::Resume => Order::Resume,
            OrderKind::Restart { now } => Order::Restart { now },
        };
        self.step(Input::Order { service, id: OrderId(1), order });
    }

    fn carry_out(&mut self, due: &Due) {
        match *due {
            Due::Connect => match self.world.reach() {
                Reach::After(ms) => self.plan(ms, Due::Connected),
                Reach::Refused | Reach::Hangs => self.plan(RECONNECT, Due::Connect),
            },
            Due::Connected => {
                let Reach::After(_) = self.world.reach() else { return self.plan(RECONNECT, Due::Connect) };
                self.list();
                let starts = self.engine_starts;
                let Some(iaso) = &mut self.iaso else { return };
                let engine_started = iaso.engine_starts.replace(starts).is_some_and(|known| known != starts);
                iaso.linked = true;
                self.step(Input::Host { host: HOST, link: HostLink::Up { engine_started } });
                self.plan(LIST_EVERY, Due::List);
            }
            Due::List => {
                if self.iaso.as_ref().is_some_and(|iaso| iaso.linked) {
                    self.list();
                    self.plan(LIST_EVERY, Due::List);
                }
            }
            Due::Looked(ref id, began) => self.looked(id, began),
            Due::Probe(service, plan) => self.probe(service, Some(plan)),
            Due::Probed { service, instance, began, result } => {
                self.step(Input::Checked { service, check: CheckId(0), instance, began, result });
            }
            Due::TimesOut(ticket) => {
                if let Some((service, attempt)) = self.iaso.as_mut().and_then(|iaso| iaso.calls.remove(&ticket)) {
                    self.step(Input::Finished { service, attempt, outcome: Outcome::TimedOut });
                }
            }
            Due::Decided(rollout, true) => self.step(Input::Settle { rollout }),
            Due::Decided(rollout, false) => self.step(Input::Undo { rollout }),
            Due::Delivered(service, key) => self.step(Input::Delivered { service, key }),
            Due::Answered(service, attempt, outcome) => self.step(Input::Finished { service, attempt, outcome }),
        }
    }

    /// What is not healthy though it can be healed, and no reason says why it is left alone.
    fn unwell(&self) -> Vec<String> {
        let mut unwell = Vec::new();
        let Some(iaso) = &self.iaso else { return unwell };
        for (service, known) in iaso.fleet.known(HOST).values().filter_map(|known| Some((known.service?, known))) {
            let held = iaso.fleet.service(service).and_then(|watched| watched.container.as_ref());
            let Some(view) = iaso.policy.view(service).filter(|_| held == Some(&known.detail.id)) else { continue };
            let id = known.detail.id.short();
            let Some(script) = self.world.script(id) else { continue };
            let ends = |ailment: &Ailment| {
                let (Ailment::Exits { lives, .. }
                | Ailment::OutOfMemory { lives, .. }
                | Ailment::Sick { lives, .. }
                | Ailment::WontStart { lives }) = ailment;
                matches!(lives, Lives::First(n) if *n <= 3)
            };
            let healable = script.ailments.iter().all(ends) && script.on_stop != OnStop::Stuck && view.state.is_some();
            let truth = self.world.truth(id);
            let known_truth = truth
                .is_none_or(|truth| truth.running == matches!(view.state, Some(State::Running(_) | State::Paused)));
            let left_alone = [
                Hold::OperatorStopped,
                Hold::UnknownStop,
                Hold::Completed,
                Hold::Paused,
                Hold::ContainerPaused,
                Hold::NeverSucceeded,
                Hold::Mode,
                Hold::Orchestrated,
            ];
            let fine = matches!(view.health, Health::Healthy | Health::Degraded | Health::Stopped)
                || view.hold.is_some_and(|hold| left_alone.contains(&hold.reason));
            if !known_truth || (healable && !fine) {
                let name = &known.detail.name;
                unwell.push(format!("in the end {name} is not well: {truth:?} {view:?}"));
            }
        }
        unwell
    }
}
