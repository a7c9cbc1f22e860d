//! The real policy, its judges and simulated engines in virtual time, with Iaso killed at any point.
//!
//! This drives the policy as the supervisor does: events, lists, looks and probes go in; operations are charged in the store
//! and then asked of the engine. A kill leaves only what the store then held.

mod decisions;
mod ending;
mod life;
mod maintenance;
mod rollouts;
mod senses;
mod truth;
mod turns;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
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

use super::scenario::{Deed, OrderKind, PORT, Scenario, Turn};
use super::script::{Ailment, Lives, OnStop, ProbeResult};
use super::world::{Act, EPOCH_NS, Happening, Reach, Ticket, World, WorldEvent};
use crate::config::{self, validated::Config};
use crate::engine::operate::{answered, obstacle};
use crate::engine::{ContainerId, EngineEvent, EventAction};
use crate::supervisor::change_of;
use crate::supervisor::fleet::{Fleet, News, Watched};
use crate::supervisor::needs::Needs;
use crate::system::tasks::Tasks;
use life::Iaso;
use maintenance::Windows;
use truth::Books;

/// Between full lists.
const LIST_EVERY: i64 = 300_000;

/// Between attempts to reach the engine.
const RECONNECT: i64 = 1_000;

/// How long the worlds are left in peace at the end.
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
    /// Changes that the engines were asked for.
    pub operations: u64,
    /// Incidents that were closed as healed.
    pub healed: u64,
    /// Operations for a credential's sake that the engines were asked for.
    pub for_credentials: u64,
    /// Undoings of a credential's change that went through.
    pub undone: u64,
    /// Times that so much failed at once that recovery waited.
    pub storms: u64,
    /// Lives of Iaso that were cut short.
    pub kills: u64,
    /// Hosts beside the first.
    pub more_hosts: u64,
    /// Times that the link to a host was lost.
    pub lost_hosts: u64,
    /// Events that never came.
    pub lost_events: u64,
    /// Holds for what a service needs.
    pub behind: u64,
    /// Things that people did to a container while Iaso's operation on it was on its way.
    pub met: u64,
    /// Holds for a deployment's sake.
    pub planned: u64,
    /// Holds for maintenance.
    pub maintained: u64,
    /// Outages of what all containers of a host share that its services told of in time, and that were judged.
    pub common_causes: u64,
    /// Outages that were found to be part of another.
    pub joined: u64,
    /// Outages that people were told of.
    pub alerts: u64,
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
    runner.report.lost_events = runner.worlds.iter().map(World::events_lost).sum();
    runner.report.common_causes = runner.books.common_causes();
    runner.report.alerts = runner.books.loud_alerts();
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
    /// One for each host, all at the same moment.
    worlds: Vec<World>,
    store: Store,
    books: Books,
    windows: Windows,
    /// What people are about to do to whatever Iaso has an engine change next.
    meetings: VecDeque<Deed>,
    iaso: Option<Iaso>,
    starts_at: i64,
    clean: bool,
    lives: u64,
    wall_offset: i64,
    /// By host.
    engine_starts: Vec<u64>,
    /// Changes of credentials so far.
    rollouts: u64,
    config: Arc<Config>,
    report: Report,
}

/// The shipped rules: containers say by their labels what they ask for.
fn config(hosts: usize) -> Config {
    let others = (1..hosts).map(|host| format!("\nhosts.host{host}.url = 'unix:///simulated{host}'"));
    let text = format!("hosts.local.url = 'unix:///simulated'{}", others.collect::<String>());
    config::decode("simulated", &text, &|_| None).unwrap_or_else(|mistakes| unreachable!("{mistakes}"))
}

/// The number that the policy knows a host by.
fn id_of(host: usize) -> HostId {
    HostId(u16::try_from(host).unwrap_or(u16::MAX))
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
        let report = Report { seed: scenario.seed, more_hosts: scenario.hosts as u64 - 1, ..Report::default() };
        Self {
            scenario,
            worlds: scenario.worlds(),
            store: Store::default(),
            books: Books::new(scenario),
            windows: Windows::default(),
            meetings: VecDeque::new(),
            iaso: None,
            starts_at: 500,
            clean: true,
            lives: 0,
            wall_offset: 0,
            engine_starts: vec![0; scenario.hosts],
            rollouts: 0,
            config: Arc::new(config(scenario.hosts)),
            report,
        }
    }

    /// The present, in virtual milliseconds.
    fn at(&self) -> i64 {
        self.worlds[0].now()
    }

    fn now(&self) -> Now {
        let now = self.at();
        Now { mono: Mono(now), wall: Wall(EPOCH_NS / 1_000_000 + now + self.wall_offset), boot: Boot(1) }
    }

    /// Where the container of this name is, and its short id.
    fn find(&self, name: &str) -> Option<(usize, u128)> {
        self.worlds.iter().zip(0..).find_map(|(world, host)| Some((host, world.find(name)?)))
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
            let of_worlds = self.worlds.iter().filter_map(World::next_due);
            let next = due.into_iter().chain(of_worlds).min().unwrap_or(to).max(self.at());
            if next > to {
                break;
            }
            self.let_pass(next);
            self.act_on_time();
        }
        self.let_pass(to);
    }

    fn let_pass(&mut self, to: i64) {
        let mut happened = Vec::new();
        for (world, host) in self.worlds.iter_mut().zip(0..) {
            let mut here = Vec::new();
            world.advance(to, &mut here);
            happened.extend(here.into_iter().map(|event| (host, event)));
        }
        for (host, event) in happened {
            self.hear(host, event);
        }
    }

    fn act_on_time(&mut self) {
        let now = self.at();
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
            self.carry_out(due);
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
}
