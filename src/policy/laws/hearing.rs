//! What the judges hear, before the policy does.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use super::Judges;
use super::account::{Account, CheckAccount, push_bounded, take_back};
use super::purse::Asked;
use crate::action::{Cause, Operation};
use crate::id::{AttemptId, HostId, ServiceId};
use crate::input::{HostLink, Input, Order, Outcome};
use crate::spec::{ServiceSpec, Step};
use crate::time::Mono;

/// Stops this shortly before the newest news of a host that then went down may have been the engine's own. Wider than the
/// rule's: when exactly the engine went down is not told here.
const SHUTDOWN: Duration = Duration::from_secs(120);

impl Judges {
    /// Hears an input, before the policy takes it.
    pub fn hear(&mut self, input: &Input) {
        match input {
            Input::Define { service, spec } => self.hear_definition(*service, spec),
            Input::Forget { service } => {
                if let Some(account) = self.services.get_mut(service).filter(|account| account.declared) {
                    account.declared = false;
                    self.hosts.entry(account.host).or_default().declared -= 1;
                }
                self.hear_forgotten(*service);
            }
            Input::Needs { service, needs } => {
                self.needs.insert(*service, needs.clone());
            }
            Input::Rules { fleet } => {
                (self.host_budget, self.mass_failure) = (fleet.host_budget, fleet.mass_failure);
            }
            Input::Host { host, link } => self.hear_link(*host, *link),
            Input::Disk { host, full } => self.hosts.entry(*host).or_default().disk_full = *full,
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
            Input::Maintenance { service, until } => {
                if let Some(account) = self.services.get_mut(service) {
                    account.window = *until;
                }
            }
            Input::Finished { service, attempt, outcome } => self.hear_outcome(*service, *attempt, *outcome),
            Input::Delivered { key, .. } => self.told.hear_delivered(*key),
            Input::Order { service, order, .. } => {
                self.told.hear_order(*service, order);
                if matches!(order, Order::EndMaintenance { everything: true }) {
                    // Also of those who are not there.
                    for past in self.past.values_mut() {
                        past.ordered = None;
                    }
                    for account in self.services.values_mut().filter(|account| !account.declared) {
                        account.ordered = None;
                    }
                }
                // Of what is not declared any more nothing can be ordered.
                if let Some(account) = self.services.get_mut(service).filter(|account| account.declared) {
                    match order {
                        Order::Pause => account.paused = true,
                        Order::Resume => account.paused = false,
                        Order::Maintain { until, everything } => {
                            account.ordered = Some(*until);
                            self.everything_until = everything.then_some(*until).or(self.everything_until);
                        }
                        Order::EndMaintenance { everything } => {
                            (account.window, account.ordered) = (None, None);
                            self.everything_until = self.everything_until.filter(|_| !everything);
                        }
                        Order::Acknowledge { .. } | Order::Restart { .. } => {}
                    }
                }
            }
            Input::RollOut { rollout, credential, steps, cap, undoable, .. } => {
                let steps = steps.iter().rev().map(|asked| (asked.service, *asked)).collect();
                let (credential, cap, undoable) = (*credential, *cap, *undoable);
                self.hear_rollout(*rollout, Asked { credential, steps, cap, undoable, undo: false, over: false });
            }
            Input::Undo { rollout } => self.hear_undo(*rollout),
            Input::Settle { rollout } => self.hear_settled(*rollout),
            Input::Store { up } => self.store_up = *up,
            Input::Stopping => self.stopping = true,
            Input::Change { .. } | Input::Tick => {}
        }
    }

    pub(super) fn hear_definition(&mut self, id: ServiceId, spec: &ServiceSpec) {
        let past = self.past.remove(&spec.identity);
        self.told.hear_outage(id, past.as_ref().and_then(|past| past.outage));
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
            if !account.declared && account.open.is_none() {
                account.begin_anew();
            }
            if !account.declared {
                account.declared = true;
                self.hosts.entry(account.host).or_default().declared += 1;
            }
            account.checks = checks;
            account.budget = spec.recovery.restarts;
            account.stateful = spec.stateful;
            account.stable = spec.recovery.verify_stable;
            return;
        }
        let charges: VecDeque<Mono> = past.iter().flat_map(|past| past.charges.iter().copied()).collect();
        let for_credentials = past.iter().flat_map(|past| past.credential_charges.iter());
        let host = self.hosts.entry(spec.host).or_default();
        host.charges.extend(charges.iter().chain(for_credentials));
        host.declared += 1;
        let account = Account {
            host: spec.host,
            budget: spec.recovery.restarts,
            stateful: spec.stateful,
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
            window: None,
            ordered: past.as_ref().map_or(self.everything_until, |past| past.ordered),
            stop: past.as_ref().and_then(|past| past.stop),
            stop_signal: None,
            asked_to_end: None,
            own_end: None,
            looked_at_exit: false,
            in_flight: None,
            answered: None,
            open: past.as_ref().and_then(|past| past.open),
            good: None,
            good_from: Mono(i64::MIN),
            unhealthy: false,
            outage: false,
            held: None,
            declared: true,
        };
        self.services.insert(id, Box::new(account));
    }

    pub(super) fn hear_link(&mut self, host: HostId, link: HostLink) {
        let account = self.hosts.entry(host).or_default();
        // When it went down is not told: the newest thing heard of the host's services is the latest it can have been.
        let newest = self.services.values().filter(|account| account.host == host).map(|account| account.changed).max();
        account.up = matches!(link, HostLink::Up { .. });
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

    pub(super) fn hear_outcome(&mut self, id: ServiceId, attempt: AttemptId, outcome: Outcome) {
        let Some(account) = self.services.get_mut(&id) else { return };
        let Some((operation, charged)) = account.in_flight.take_if(|(operation, _)| operation.attempt == attempt)
        else {
            return;
        };
        let undone = match operation.cause {
            Cause::Operator => false,
            Cause::Recovery => matches!(outcome, Outcome::Uncharged | Outcome::Refused | Outcome::LeftAlone),
            Cause::Credential { .. } => {
                matches!(
                    outcome,
                    Outcome::Uncharged | Outcome::Refused | Outcome::LeftAlone | Outcome::Moot | Outcome::NotFound
                )
            }
        };
        if undone {
            match operation.cause {
                Cause::Credential { credential, rollout, undo } => {
                    self.credentials.entry(credential).and_modify(|charges| take_back(charges, charged));
                    if self.asked.contains_key(&rollout) {
                        self.set_aside.insert((rollout, id, undo));
                    }
                }
                Cause::Recovery | Cause::Operator => take_back(&mut account.charges, charged),
            }
            if let Some(host) = self.hosts.get_mut(&operation.host) {
                take_back(&mut host.charges, charged);
            }
            self.store_up &= outcome != Outcome::Uncharged;
        }
        if matches!(operation.step, Step::Restart | Step::Stop) {
            account.asked_to_end = Some(operation.instance);
        }
        account.answered = Some((operation, account.changed));
        account.good = None;
    }

    pub(super) fn note_operation(&mut self, operation: &Operation, now: Mono) {
        let Some(account) = self.services.get_mut(&operation.service) else { return };
        account.in_flight = Some((*operation, now));
        account.good = None;
        match operation.cause {
            Cause::Operator => return,
            Cause::Recovery => push_bounded(&mut account.charges, now),
            Cause::Credential { credential, rollout, undo } => {
                push_bounded(self.credentials.entry(credential).or_default(), now);
                self.set_aside.remove(&(rollout, operation.service, undo));
            }
        }
        let host = self.hosts.entry(operation.host).or_default();
        push_bounded(&mut host.charges, now);
    }
}
