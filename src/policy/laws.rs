//! The laws that can be told from what goes in and what comes out. The same judges sit in property tests, in the simulator
//! and in the daemon, where a refused action does not leave.
//!
//! They share no code with the rules they judge: each keeps its own, bounded, account of what it has heard.

mod account;
mod alert;
mod hearing;
mod host;
mod purse;
mod root;
mod storm;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;

use crate::action::{Action, Cause, Charge, Operation, Trouble};
use crate::id::{AttemptId, CredentialKey, HostId, Identity, RolloutId, ServiceId};
use crate::input::{RestartPolicy, State};
use crate::memory::{OrderedMaintenance, Restored};
use crate::record::{Ending, Event, Health, Record, Verdict};
use crate::spec::{Budget, FleetSpec, MassFailure, Need, Step};
use crate::time::{Mono, Now};
use account::{Account, HostAccount, Past};
use alert::{Outage, Told};
use purse::Asked;

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

type Judgement = Result<(), Violation>;

/// All judges, and what they have heard.
#[derive(Debug, Clone)]
pub struct Judges {
    host_budget: Budget,
    mass_failure: MassFailure,
    store_up: bool,
    intact: bool,
    blind: bool,
    started: Mono,
    stopping: bool,
    hosts: BTreeMap<HostId, HostAccount>,
    /// When operations for each credential's sake were charged.
    credentials: BTreeMap<CredentialKey, VecDeque<Mono>>,
    /// What was asked for for credentials' sake, and is not over.
    asked: BTreeMap<RolloutId, Asked>,
    /// What is set aside for it: on whom, and whether it is the undoing.
    set_aside: BTreeSet<(RolloutId, ServiceId, bool)>,
    /// Boxed: the nodes of the map have room for several, whether there are any or not.
    services: BTreeMap<ServiceId, Box<Account>>,
    past: BTreeMap<Identity, Past>,
    /// When maintenance of everything ends, as a person ordered it.
    everything_until: Option<Mono>,
    needs: BTreeMap<ServiceId, Vec<Need>>,
    touched: Vec<ServiceId>,
    told: Told,
}

impl Judges {
    /// Judges that know what the policy was restored from.
    pub fn new(fleet: &FleetSpec, restored: &Restored, now: Now) -> Self {
        let everything_until = account::everything_until(restored, now);
        let past = restored.services.iter().map(|memory| {
            // Who was not there has not heard of a newer order for everything.
            let until =
                |order: OrderedMaintenance| everything_until.filter(|_| order.everything).unwrap_or(order.until(now));
            let past = Past {
                charges: memory.charges.iter().map(|then| now.place(*then)).collect(),
                credential_charges: memory.credential_charges.iter().map(|(_, then)| now.place(*then)).collect(),
                proven: memory.proven.clone(),
                ran: memory.seen_running,
                paused: memory.paused,
                ordered: memory.maintenance.map(until),
                stop: memory.stopped.map(|(life, at)| (life, now.place(at))),
                open: memory.attempt.map(|attempt| attempt.attempt),
                outage: memory.incident.map(|open| Outage::remembered(&open, now)),
            };
            (memory.identity.clone(), past)
        });
        Self {
            host_budget: fleet.host_budget,
            mass_failure: fleet.mass_failure,
            store_up: restored.store_up,
            intact: restored.intact,
            blind: !restored.clean && !restored.store_up,
            started: now.mono,
            stopping: false,
            hosts: BTreeMap::new(),
            credentials: purse::credentials_of(restored, now),
            asked: BTreeMap::new(),
            set_aside: BTreeSet::new(),
            services: BTreeMap::new(),
            past: past.collect(),
            everything_until,
            needs: BTreeMap::new(),
            touched: Vec::new(),
            told: Told::restored(restored.services.iter()),
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
                law_11(account, operation)?;
                match operation.cause {
                    Cause::Operator => {}
                    Cause::Recovery => {
                        self.law_1(account, operation, now.mono)?;
                        self.law_3(operation)?;
                        self.law_6(operation, now.mono)?;
                        law_16(account, operation)?;
                    }
                    Cause::Credential { credential, rollout, undo } => {
                        self.law_1_for_credentials(operation, credential, rollout, undo)?;
                    }
                }
                if operation.cause != Cause::Operator {
                    charged(operation)?;
                    self.full_disk(account, operation)?;
                    law_5(account, operation, now.mono)?;
                    law_17(account, operation)?;
                    law_18(account, operation)?;
                }
                self.note_operation(operation, now.mono);
                Ok(())
            }
            Action::Record(record) => {
                let reached = self.law_7(record);
                let judgement = self.judge_record(record, now);
                self.weigh_storm(record, now.mono);
                judgement.and(reached)
            }
            Action::Announce(alert) => self.law_9(alert, now.mono),
            Action::RolledOut { rollout, undo, result } => {
                self.hear_end(*rollout, *undo, *result);
                Ok(())
            }
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
            if account.declared && account.unhealthy && account.held.is_none() && account.open.is_none() {
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
        self.told.hear_record(record);
        match record.event {
            Event::Reserved { rollout, operations, .. } => {
                return self.hear_reserved(record.service, rollout, operations, now.mono);
            }
            Event::GivenBack { rollout, undo, .. } => {
                self.set_aside.remove(&(rollout, record.service, undo));
                return Ok(());
            }
            _ => {}
        }
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
            Event::Held { reason, .. } => account.held = Some(reason),
            Event::Unheld { .. } => account.held = None,
            Event::Begun { attempt, cause, trouble, .. } => {
                if account.open.replace(attempt).is_some() {
                    return Err(Violation { law: 2, service: record.service, what: "an earlier attempt is not over" });
                }
                if cause == Cause::Recovery && trouble.is_none() {
                    return Err(Violation { law: 8, service: record.service, what: "acted without a reason" });
                }
            }
            Event::Ended { attempt, verdict, .. } => {
                let unanswered = account.in_flight.take_if(|(operation, _)| operation.attempt == attempt);
                account.open = None;
                let undone = unanswered.is_some_and(|(operation, _)| is_undo(&operation));
                if undone && verdict == Verdict::Superseded {
                    return Err(Violation { law: 2, service: record.service, what: "an undo was superseded" });
                }
                if verdict == Verdict::Healed {
                    return law_4(account, record.service, Some(attempt), started);
                }
            }
            Event::IncidentOpened { .. } => account.outage = true,
            Event::IncidentClosed { ending, .. } => {
                account.outage = false;
                if ending == Ending::Recovered {
                    return law_4(account, record.service, None, started);
                }
            }
            Event::ChargedForGap { .. } => account.charges.push_back(now.mono),
            _ => {}
        }
        Ok(())
    }

    /// Budgets hold.
    fn law_1(&self, account: &Account, operation: &Operation, now: Mono) -> Judgement {
        let allowed = |budget| self.allowed(budget, now);
        let broken = |what| Err(Violation { law: 1, service: operation.service, what });
        let blind = self.blind && now.since(self.started) < account.budget.window;
        let limit = if blind { allowed(account.budget).min(1) } else { allowed(account.budget) };
        if within(&account.charges, account.budget.window, now) >= limit as usize {
            return broken("the service's budget is spent");
        }
        let spent = self.hosts.get(&account.host).map(|host| within(&host.charges, self.host_budget.window, now));
        let whole = allowed(self.host_budget) as usize;
        let aside = match self.set_aside_on(account.host) {
            // Set aside from twice as much: one at least is left for healing.
            aside if !self.store_up && aside >= whole => whole.saturating_sub(1),
            aside => aside,
        };
        if spent.is_some_and(|spent| spent + aside >= whole) {
            return broken("the host's budget is spent");
        }
        Ok(())
    }

    /// What a full disk does to a host is no outage of its services: law 6. Who keeps data there is not restarted meanwhile.
    fn full_disk(&self, account: &Account, operation: &Operation) -> Judgement {
        let full = self.hosts.get(&account.host).is_some_and(|host| host.disk_full);
        if full && account.stateful && matches!(operation.step, Step::Start | Step::Restart) && !is_undo(operation) {
            return Err(Violation { law: 6, service: operation.service, what: "it keeps data, and its disk is full" });
        }
        Ok(())
    }

    /// What a budget allows while the store can or cannot vouch for what was spent.
    fn allowed(&self, budget: Budget, now: Mono) -> u32 {
        let unsure = !self.store_up || (!self.intact && now.since(self.started) < budget.window);
        match budget.max {
            0 | 1 => budget.max,
            max if unsure => max / 2,
            max => max,
        }
    }
}

/// How many of these charges lie within the window.
fn within(charges: &VecDeque<Mono>, window: core::time::Duration, now: Mono) -> usize {
    charges.iter().filter(|then| now.since(**then) < window).count()
}

/// Everything automatic is charged.
fn charged(operation: &Operation) -> Judgement {
    match operation.charge {
        Charge::Free => Err(Violation { law: 1, service: operation.service, what: "automatic, and not charged" }),
        Charge::Stored | Charge::Memory => Ok(()),
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
fn law_5(account: &Account, operation: &Operation, now: Mono) -> Judgement {
    let broken = |what| Err(Violation { law: 5, service: operation.service, what });
    let for_credential = matches!(operation.cause, Cause::Credential { .. });
    let stopped = account.stop.is_some_and(|(life, _)| account.life.is_some_and(|now| now.container == life.container));
    match account.state {
        _ if account.paused => broken("a person has paused it"),
        _ if !is_undo(operation) && account.is_maintained(now) => broken("it is under maintenance"),
        Some(State::Paused) => broken("a person has frozen the container"),
        Some(State::Exited { .. }) if stopped => broken("a person has stopped the container"),
        Some(State::Running(_)) if for_credential && account.is_being_stopped(now) => {
            broken("a person is stopping the container")
        }
        _ => Ok(()),
    }
}

/// Whether it puts a credential back as it was: that is never held.
const fn is_undo(operation: &Operation) -> bool {
    matches!(operation.cause, Cause::Credential { undo: true, .. })
}

/// What a reload has ended is left alone.
fn law_11(account: &Account, operation: &Operation) -> Judgement {
    if account.declared {
        return Ok(());
    }
    Err(Violation { law: 11, service: operation.service, what: "it is not watched any more" })
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
