//! The laws that can be told from what goes in and what comes out. The same judges sit in property tests, in the simulator
//! and in the daemon, where a refused action does not leave.
//!
//! They share no code with the rules they judge: each keeps its own, bounded, account of what it has heard.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::action::{Action, Cause, Operation, Trouble};
use crate::id::{AttemptId, HostId, Identity, Instance, ServiceId};
use crate::input::{
    CheckResult, Container, EngineHealth, HostLink, Input, Order, Outcome, RestartPolicy, State, Witness,
};
use crate::memory::Restored;
use crate::record::{Ending, Event, Health, Record, Verdict};
use crate::spec::{Budget, FleetSpec, OnFailure, ServiceSpec, Step};
use crate::time::{Mono, Now};

/// A law was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The law's number.
    pub law: u8,
    /// By what was done to whom.
    pub service: ServiceId,
    /// In words.
    pub what: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "law {}: {} (service {})", self.law, self.what, self.service.0)
    }
}

impl core::error::Error for Violation {}

/// Stops this shortly before the newest news of a host that then went down may have been the engine's own. Wider than the
/// rule's: when exactly the engine went down is not told here.
const SHUTDOWN: Duration = Duration::from_secs(120);

type Judgement = Result<(), Violation>;

/// All judges, and what they have heard.
#[derive(Debug, Clone)]
pub struct Judges {
    host_budget: Budget,
    store_up: bool,
    intact: bool,
    blind: bool,
    started: Mono,
    stopping: bool,
    hosts: BTreeMap<HostId, HostAccount>,
    services: BTreeMap<ServiceId, Account>,
    past: BTreeMap<Identity, Past>,
    touched: Vec<ServiceId>,
}

#[derive(Debug, Clone, Default)]
struct HostAccount {
    charges: VecDeque<Mono>,
    down_since: Option<Mono>,
}

/// What the judges know of one service.
#[derive(Debug, Clone)]
struct Account {
    host: HostId,
    budget: Budget,
    stable: Duration,
    checks: Vec<CheckAccount>,
    /// Checks that passed once, those included that are not declared now.
    proven: BTreeSet<u64>,
    charges: VecDeque<Mono>,
    container: Option<Container>,
    life: Option<Instance>,
    state: Option<State>,
    changed: Mono,
    ran: bool,
    paused: bool,
    stop: Option<(Instance, Mono)>,
    stop_signal: Option<(Instance, Mono)>,
    /// A life that ended under the hands of an operation.
    own_end: Option<Instance>,
    /// The exit was found by a look, long enough after it, or first of all.
    looked_at_exit: bool,
    /// The operation in flight, and when it was charged.
    in_flight: Option<(Operation, Mono)>,
    /// The newest operation that was carried out, and when its answer came.
    answered: Option<(Operation, Mono)>,
    open: Option<AttemptId>,
    /// Good observations in a row: how many, from when, to when.
    good: Option<(u32, Mono, Mono)>,
    /// What began before the newest operation was answered says nothing of what it has done.
    good_from: Mono,
    unhealthy: bool,
    held: bool,
}

/// What the judges know of one check.
#[derive(Debug, Clone)]
struct CheckAccount {
    fingerprint: u64,
    on_failure: OnFailure,
    proven: bool,
    /// When its newest result began.
    newest: Option<Mono>,
}

/// What the store remembered that judges must know.
#[derive(Debug, Clone)]
struct Past {
    charges: Vec<Mono>,
    proven: Vec<u64>,
    ran: bool,
    paused: bool,
    stop: Option<(Instance, Mono)>,
    open: Option<AttemptId>,
}

impl Judges {
    /// Judges that know what the policy was restored from.
    pub fn new(fleet: &FleetSpec, restored: &Restored, now: Now) -> Self {
        let past = restored.services.iter().map(|memory| {
            let past = Past {
                charges: memory.charges.iter().map(|then| now.place(*then)).collect(),
                proven: memory.proven.clone(),
                ran: memory.seen_running,
                paused: memory.paused,
                stop: memory.stopped.map(|(life, at)| (life, now.place(at))),
                open: memory.attempt.map(|attempt| attempt.attempt),
            };
            (memory.identity.clone(), past)
        });
        Self {
            host_budget: fleet.host_budget,
            store_up: restored.store_up,
            intact: restored.intact,
            blind: !restored.clean && !restored.store_up,
            started: now.mono,
            stopping: false,
            hosts: BTreeMap::new(),
            services: BTreeMap::new(),
            past: past.collect(),
            touched: Vec::new(),
        }
    }

    /// Hears an input, before the policy takes it.
    pub fn hear(&mut self, input: &Input) {
        match input {
            Input::Define { service, spec } => self.hear_definition(*service, spec),
            Input::Forget { service } => {
                self.services.remove(service);
            }
            Input::Host { host, link } => self.hear_link(*host, *link),
            Input::Described { service, container } => {
                if let Some(account) = self.services.get_mut(service)
                    && !account.is_of_an_earlier_life(container.instance)
                {
                    account.container = Some(*container);
                }
            }
            Input::Seen { service, sight } => {
                if let Some(account) = self.services.get_mut(service) {
                    account.hear_sight(sight);
                }
            }
            Input::StopSignal { service, instance, at } => {
                if let Some(account) = self.services.get_mut(service).filter(|account| *at >= account.changed)
                    && !account.is_at_work_on(*instance)
                    && !account.is_of_an_earlier_life(*instance)
                {
                    account.stop_signal = Some((*instance, *at));
                }
            }
            Input::Checked { service, check, instance, began, result } => {
                if let Some(account) = self.services.get_mut(service).filter(|account| account.life == Some(*instance))
                {
                    account.hear_check(usize::from(check.0), *began, *result);
                }
            }
            Input::Finished { service, attempt, outcome } => self.hear_outcome(*service, *attempt, *outcome),
            Input::Order { service, order, .. } => {
                if let Some(account) = self.services.get_mut(service) {
                    match order {
                        Order::Pause => account.paused = true,
                        Order::Resume => account.paused = false,
                        Order::Restart { .. } => {}
                    }
                }
            }
            Input::Store { up } => self.store_up = *up,
            Input::Stopping => self.stopping = true,
            Input::Change { .. } | Input::Tick => {}
        }
    }

    /// Judges an action of the policy's, in the order in which it gave them. What is refused must not be carried out.
    ///
    /// # Errors
    /// The law that it breaks.
    pub fn judge(&mut self, now: Now, action: &Action) -> Judgement {
        match action {
            Action::Operate(operation) => {
                let Some(account) = self.services.get(&operation.service) else { return Ok(()) };
                law_2(account, operation)?;
                if operation.cause == Cause::Recovery {
                    self.law_1(account, operation, now.mono)?;
                    law_5(account, operation)?;
                    law_16(account, operation)?;
                    law_17(account, operation)?;
                    law_18(account, operation)?;
                }
                self.note_operation(operation, now.mono);
                Ok(())
            }
            Action::Record(record) => self.judge_record(record, now),
            Action::Probe { .. } | Action::Look { .. } | Action::Cadence { .. } | Action::Answer { .. } => Ok(()),
        }
    }

    /// Judges what a step has left undone; to be called after each.
    ///
    /// # Errors
    /// Law 8: a service is broken, and it was neither acted on nor said why not.
    pub fn conclude(&mut self) -> Judgement {
        let touched = core::mem::take(&mut self.touched);
        if self.stopping {
            return Ok(());
        }
        for id in touched {
            let Some(account) = self.services.get(&id) else { continue };
            if account.unhealthy && !account.held && account.open.is_none() {
                return Err(Violation {
                    law: 8,
                    service: id,
                    what: "broken, and neither acted on nor held with a reason",
                });
            }
        }
        Ok(())
    }

    fn judge_record(&mut self, record: &Record, now: Now) -> Judgement {
        let started = self.started;
        if let Event::Finished { attempt, outcome } = record.event {
            // No answer came, and the policy has given up waiting for it.
            self.hear_outcome(record.service, attempt, outcome);
            if let Some(account) = self.services.get_mut(&record.service) {
                account.good_from = now.mono;
            }
        }
        let Some(account) = self.services.get_mut(&record.service) else { return Ok(()) };
        self.touched.push(record.service);
        match record.event {
            Event::Health { to, .. } => account.unhealthy = to == Health::Unhealthy,
            Event::Held { .. } => account.held = true,
            Event::Unheld { .. } => account.held = false,
            Event::Begun { attempt, cause, trouble, .. } => {
                if account.open.replace(attempt).is_some() {
                    return Err(Violation { law: 2, service: record.service, what: "an earlier attempt is not over" });
                }
                if cause == Cause::Recovery && trouble.is_none() {
                    return Err(Violation { law: 8, service: record.service, what: "acted without a reason" });
                }
            }
            Event::Ended { attempt, verdict, .. } => {
                if account.in_flight.is_some_and(|(operation, _)| operation.attempt == attempt) {
                    account.in_flight = None;
                }
                account.open = None;
                if verdict == Verdict::Healed {
                    return law_4(account, record.service, Some(attempt), started);
                }
            }
            Event::IncidentClosed { ending: Ending::Recovered, .. } => {
                return law_4(account, record.service, None, started);
            }
            Event::ChargedForGap { .. } => account.charges.push_back(now.mono),
            _ => {}
        }
        Ok(())
    }

    fn hear_definition(&mut self, id: ServiceId, spec: &ServiceSpec) {
        let past = self.past.remove(&spec.identity);
        let known = self.services.get(&id);
        let proven = |fingerprint: u64| {
            known.is_some_and(|account| account.proven.contains(&fingerprint))
                || past.as_ref().is_some_and(|past| past.proven.contains(&fingerprint))
        };
        let known_checks = known.map(|account| account.checks.clone()).unwrap_or_default();
        let checks = spec.checks.iter().map(|check| CheckAccount {
            fingerprint: check.fingerprint,
            on_failure: check.on_failure,
            proven: proven(check.fingerprint),
            newest: known_checks.iter().find(|known| known.fingerprint == check.fingerprint).and_then(|c| c.newest),
        });
        let checks = checks.collect();
        if let Some(account) = self.services.get_mut(&id) {
            account.checks = checks;
            account.budget = spec.recovery.restarts;
            account.stable = spec.recovery.verify_stable;
            return;
        }
        let charges: VecDeque<Mono> = past.iter().flat_map(|past| past.charges.iter().copied()).collect();
        self.hosts.entry(spec.host).or_default().charges.extend(&charges);
        let account = Account {
            host: spec.host,
            budget: spec.recovery.restarts,
            stable: spec.recovery.verify_stable,
            checks,
            proven: past.iter().flat_map(|past| past.proven.iter().copied()).collect(),
            charges,
            container: None,
            life: None,
            state: None,
            changed: Mono(i64::MIN),
            ran: past.as_ref().is_some_and(|past| past.ran),
            paused: past.as_ref().is_some_and(|past| past.paused),
            stop: past.as_ref().and_then(|past| past.stop),
            stop_signal: None,
            own_end: None,
            looked_at_exit: false,
            in_flight: None,
            answered: None,
            open: past.as_ref().and_then(|past| past.open),
            good: None,
            good_from: Mono(i64::MIN),
            unhealthy: false,
            held: false,
        };
        self.services.insert(id, account);
    }

    fn hear_link(&mut self, host: HostId, link: HostLink) {
        let account = self.hosts.entry(host).or_default();
        // When it went down is not told: the newest thing heard of the host's services is the latest it can have been.
        let newest = self.services.values().filter(|account| account.host == host).map(|account| account.changed).max();
        match link {
            HostLink::Down => account.down_since = account.down_since.or(newest),
            HostLink::Up { engine_started } => {
                let down = account.down_since.take().or(newest);
                if engine_started {
                    // Its own shutdown sends the same signals: what lies near enough may not be held against the policy.
                    let near = |at: Mono| down.is_none_or(|down| at + SHUTDOWN >= down);
                    for service in self.services.values_mut().filter(|account| account.host == host) {
                        service.stop.take_if(|(_, at)| near(*at));
                        service.stop_signal.take_if(|(_, at)| near(*at));
                    }
                }
            }
        }
    }

    fn hear_outcome(&mut self, id: ServiceId, attempt: AttemptId, outcome: Outcome) {
        let Some(account) = self.services.get_mut(&id) else { return };
        let Some((operation, charged)) = account.in_flight.take_if(|(operation, _)| operation.attempt == attempt)
        else {
            return;
        };
        if matches!(outcome, Outcome::Uncharged | Outcome::Refused) && operation.cause == Cause::Recovery {
            take_back(&mut account.charges, charged);
            if let Some(host) = self.hosts.get_mut(&operation.host) {
                take_back(&mut host.charges, charged);
            }
            self.store_up &= outcome != Outcome::Uncharged;
        }
        account.answered = Some((operation, account.changed));
        account.good = None;
    }

    fn note_operation(&mut self, operation: &Operation, now: Mono) {
        let Some(account) = self.services.get_mut(&operation.service) else { return };
        account.in_flight = Some((*operation, now));
        account.good = None;
        if operation.cause == Cause::Recovery {
            push_bounded(&mut account.charges, now, account.budget.max);
            let host = self.hosts.entry(operation.host).or_default();
            push_bounded(&mut host.charges, now, self.host_budget.max);
        }
    }

    /// Budgets hold.
    fn law_1(&self, account: &Account, operation: &Operation, now: Mono) -> Judgement {
        let unsure = |budget: Budget| !self.store_up || (!self.intact && now.since(self.started) < budget.window);
        let allowed = |budget: Budget| match budget.max {
            0 | 1 => budget.max,
            max if unsure(budget) => max / 2,
            max => max,
        };
        let within =
            |charges: &VecDeque<Mono>, window| charges.iter().filter(|then| now.since(**then) < window).count();
        let broken = |what| Err(Violation { law: 1, service: operation.service, what });
        let blind = self.blind && now.since(self.started) < account.budget.window;
        let limit = if blind { allowed(account.budget).min(1) } else { allowed(account.budget) };
        if within(&account.charges, account.budget.window) >= limit as usize {
            return broken("the service's budget is spent");
        }
        let host = self.hosts.get(&account.host);
        if host.is_some_and(|host| within(&host.charges, self.host_budget.window) >= allowed(self.host_budget) as usize)
        {
            return broken("the host's budget is spent");
        }
        Ok(())
    }
}

impl Account {
    fn is_at_work_on(&self, life: Instance) -> bool {
        let touches = |operation: &Operation| operation.instance == life && operation.step != Step::Start;
        let ends = |operation: &Operation| matches!(operation.step, Step::Restart | Step::Stop);
        self.in_flight.as_ref().is_some_and(|(operation, _)| touches(operation))
            || self
                .answered
                .as_ref()
                .is_some_and(|(operation, _)| touches(operation) && (self.open.is_some() || ends(operation)))
    }

    fn is_of_an_earlier_life(&self, life: Instance) -> bool {
        self.life.is_some_and(|known| known.container == life.container && life.started < known.started)
    }

    fn hear_sight(&mut self, sight: &crate::input::Sight) {
        if sight.began < self.changed || self.is_of_an_earlier_life(sight.instance) {
            return;
        }
        let new_life = self.life != Some(sight.instance);
        let was_exited = !new_life && matches!(self.state, Some(State::Exited { .. }));
        let exits = matches!(sight.state, State::Exited { .. });
        let looked = matches!(sight.state, State::Exited { witness: Witness::Look, .. });
        if new_life || self.state != Some(sight.state) && !(was_exited && looked) {
            self.changed = sight.began;
            self.looked_at_exit = looked && (new_life || !was_exited);
        } else if was_exited && looked && sight.began.since(self.changed) >= Duration::from_secs(1) {
            self.looked_at_exit = true;
        }
        let tells_anew = self.state != Some(sight.state) && !looked;
        if exits && (!was_exited || tells_anew) {
            if self.is_at_work_on(sight.instance) {
                self.own_end = Some(sight.instance);
            } else if self.stop_signal.is_some_and(|(life, _)| life == sight.instance) {
                self.stop = Some((sight.instance, sight.began));
            }
        }
        if let State::Running(_) = sight.state {
            self.ran = true;
            self.stop = None;
        }
        if !(was_exited && looked) {
            self.state = Some(sight.state);
        }
        self.life = Some(sight.instance);
        let good = matches!(sight.state, State::Running(EngineHealth::None | EngineHealth::Healthy));
        self.observe(sight.began, good);
    }

    fn hear_check(&mut self, number: usize, began: Mono, result: CheckResult) {
        if began < self.changed {
            return;
        }
        let Some(CheckAccount { fingerprint, on_failure, proven, newest }) = self.checks.get_mut(number) else {
            return;
        };
        if newest.is_some_and(|newest| began <= newest) {
            return;
        }
        *newest = Some(began);
        let passed = result != CheckResult::Failed;
        *proven |= passed;
        if passed && !self.proven.contains(fingerprint) {
            self.proven.insert(*fingerprint);
        }
        if *proven && *on_failure == OnFailure::Heal {
            self.observe(began, passed);
        }
    }

    fn observe(&mut self, began: Mono, good: bool) {
        if began < self.good_from {
            return;
        }
        self.good = match self.good {
            _ if !good => None,
            None => Some((1, began, began)),
            Some((count, first, last)) => Some((count.saturating_add(1), first, last.max(began))),
        };
    }
}

/// One at a time.
fn law_2(account: &Account, operation: &Operation) -> Judgement {
    match account.in_flight {
        Some(_) => Err(Violation { law: 2, service: operation.service, what: "another operation is in flight" }),
        None => Ok(()),
    }
}

/// Healed means verified.
fn law_4(account: &Account, service: ServiceId, attempt: Option<AttemptId>, started: Mono) -> Judgement {
    let broken = |what| Err(Violation { law: 4, service, what });
    let Some((passes, first, last)) = account.good else { return broken("called healed while it was not healthy") };
    if passes < 2 || last.since(first) < account.stable {
        return broken("called healed before it stayed healthy long enough, with two passes");
    }
    // An attempt of the last run was answered before this one began.
    let answered = account.answered.filter(|(operation, _)| Some(operation.attempt) == attempt);
    let same_life = answered.is_some_and(|(operation, _)| {
        matches!(operation.step, Step::Start | Step::Restart) && account.life == Some(operation.instance)
    });
    if same_life || (attempt.is_some() && answered.is_none() && first < started) {
        return broken("called healed by what was seen before the operation was done");
    }
    Ok(())
}

/// The operator wins.
fn law_5(account: &Account, operation: &Operation) -> Judgement {
    let broken = |what| Err(Violation { law: 5, service: operation.service, what });
    let stopped = account.stop.is_some_and(|(life, _)| account.life.is_some_and(|now| now.container == life.container));
    match account.state {
        _ if account.paused => broken("a person has paused it"),
        Some(State::Paused) => broken("a person has frozen the container"),
        Some(State::Exited { .. }) if stopped => broken("a person has stopped the container"),
        _ => Ok(()),
    }
}

/// A check must have worked before it may kill.
fn law_16(account: &Account, operation: &Operation) -> Judgement {
    match operation.trouble {
        Some(Trouble::Check(check)) if !account.checks.get(usize::from(check.0)).is_some_and(|check| check.proven) => {
            Err(Violation { law: 16, service: operation.service, what: "the failing check has never succeeded" })
        }
        _ => Ok(()),
    }
}

/// The engine's own policy goes first.
fn law_17(account: &Account, operation: &Operation) -> Judgement {
    let broken =
        || Err(Violation { law: 17, service: operation.service, what: "the engine's restart policy is in force" });
    let own = account.own_end.is_some() && account.own_end == account.life;
    match (account.state, account.container.map(|container| container.restart)) {
        (Some(State::Restarting), _) => broken(),
        (Some(State::Exited { .. }), Some(RestartPolicy::Always)) if !account.looked_at_exit && !own => broken(),
        (Some(State::Exited { code, .. }), Some(RestartPolicy::OnFailure(_)))
            if code != 0 && !account.looked_at_exit && !own =>
        {
            broken()
        }
        _ => Ok(()),
    }
}

/// Some are never targets.
fn law_18(account: &Account, operation: &Operation) -> Judgement {
    let broken = |what| Err(Violation { law: 18, service: operation.service, what });
    match account.state {
        _ if account.container.is_some_and(|container| container.exempt.is_some()) => broken("it is never a target"),
        None | Some(State::Gone | State::Created | State::Removing) => {
            broken("it is not there, or not yet, or hardly any more")
        }
        _ if !account.ran => broken("it was never seen running"),
        _ => Ok(()),
    }
}

fn take_back(charges: &mut VecDeque<Mono>, charged: Mono) {
    if let Some(place) = charges.iter().rposition(|then| *then == charged) {
        charges.remove(place);
    }
}

fn push_bounded(charges: &mut VecDeque<Mono>, now: Mono, max: u32) {
    charges.push_back(now);
    while charges.len() > max as usize + 1 {
        charges.pop_front();
    }
}
