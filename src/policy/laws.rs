//! The laws that can be told from what goes in and what comes out. The same judges sit in property tests, in the simulator
//! and in the daemon, where a refused action does not leave.
//!
//! They share no code with the rules they judge: each keeps its own, bounded, account of what it has heard.

mod account;
mod hearing;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

use crate::action::{Action, Cause, Operation, Trouble};
use crate::id::{AttemptId, HostId, Identity, ServiceId};
use crate::input::{RestartPolicy, State};
use crate::memory::Restored;
use crate::record::{Ending, Event, Health, Record, Verdict};
use crate::spec::{Budget, FleetSpec, Step};
use crate::time::{Mono, Now};
use account::{Account, HostAccount, Past};

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
