//! Changed credentials on their way: names become services, in the order of their needs, and what came of it becomes names
//! again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use iaso_policy::Input;
use iaso_policy::action::RolloutResult;
use iaso_policy::id::{Identity, RolloutId, ServiceId};
use iaso_policy::input::RolloutStep;
use iaso_policy::record::Hold;
use iaso_policy::spec::{Budget, Step};
use std::time::Duration;
use tokio::sync::oneshot;

use super::Supervisor;
use super::fleet::{Fleet, Watched};
use crate::config::validated::Config;
use crate::rollouts::{FromCredentials, RollOut, RolledOut};

/// The span of a credential's own cap.
const HOUR: Duration = Duration::from_secs(3600);

/// Who waits for the end of a rollout (false), and of its undoing (true).
#[derive(Default)]
pub(super) struct Waiting {
    ends: HashMap<(RolloutId, bool), Waiter>,
    /// Nobody is left to decide about these.
    pub(super) left: Vec<RolloutId>,
}

/// One who waits for an end.
struct Waiter {
    ended: oneshot::Sender<RolledOut>,
    /// Operations that all of it may take, and the credential's own cap.
    takes: u32,
    max_per_hour: u32,
}

impl Supervisor {
    pub(super) fn hear_credentials(&mut self, said: FromCredentials) {
        match said {
            FromCredentials::Told(entry) => {
                for listener in &mut self.listeners {
                    listener.hear_credential(&entry);
                }
            }
            FromCredentials::RollOut(asked) => self.roll_out(asked),
            FromCredentials::Undo { rollout, ended } => {
                self.waiting.ends.insert((rollout, true), Waiter { ended, takes: 0, max_per_hour: 0 });
                self.step(Input::Undo { rollout });
            }
            FromCredentials::Settle { rollout } => self.step(Input::Settle { rollout }),
        }
    }

    fn roll_out(&mut self, asked: RollOut) {
        let RollOut { rollout, credential, key, services, written, step, max_per_hour, splay, undoable, ended } = asked;
        for name in services.iter().filter(|name| all_named(&self.config, &self.fleet, name).is_empty()) {
            tracing::warn!(%credential, service = %name, "a service that uses the credential is not watched, or has no container: it is left out");
        }
        let steps = steps(&self.config, &self.fleet, &services, step, written);
        let cap = Budget { max: max_per_hour, window: HOUR };
        let takes = u32::try_from(steps.len()).unwrap_or(u32::MAX).saturating_mul(1 + u32::from(undoable));
        self.waiting.ends.insert((rollout, false), Waiter { ended, takes, max_per_hour });
        self.step(Input::RollOut { rollout, credential: key, steps, cap, splay, undoable });
    }

    pub(super) fn rolled_out(&mut self, rollout: RolloutId, undo: bool, result: RolloutResult) {
        let Some(Waiter { ended, takes, max_per_hour }) = self.waiting.ends.remove(&(rollout, undo)) else { return };
        let name =
            |service| self.fleet.service(service).map_or_else(|| Arc::from("?"), |it| Arc::clone(&it.subject.name));
        let told = match result {
            RolloutResult::Done => RolledOut::Done,
            RolloutResult::Left(service) => RolledOut::Left { service: name(service) },
            RolloutResult::Failed(service) => RolledOut::Failed { service: name(service) },
            RolloutResult::Refused(reason) => {
                RolledOut::Refused { why: refused(reason, takes, max_per_hour, self.config.fleet.host_budget) }
            }
            RolloutResult::Replaced => RolledOut::Replaced,
        };
        if ended.send(told).is_err() && !undo {
            self.waiting.left.push(rollout);
        }
    }
}

/// Why a rollout may never begin, with the numbers and what would help.
fn refused(reason: Hold, takes: u32, max_per_hour: u32, of_host: Budget) -> String {
    let all = format!("to tell every container, and again where it is put back, takes up to {takes} operations");
    match reason {
        Hold::Budget if takes > max_per_hour => {
            format!("{all}, and max_per_hour = {max_per_hour}; max_per_hour = {takes} would allow it")
        }
        Hold::HostBudget => {
            let Budget { max, window } = of_host;
            format!("{all}, and recovery.host_budget allows each host {max} in {} s", window.as_secs())
        }
        other => other.name().to_owned(),
    }
}

/// The containers of these services, with what they need before them. Those that were started after what is new was `written`
/// have it.
fn steps(config: &Config, fleet: &Fleet, services: &[Arc<str>], step: Step, written: Option<i64>) -> Vec<RolloutStep> {
    let mut ordered = Vec::new();
    let mut seen = BTreeSet::new();
    for name in services {
        needs_first(config, name, &mut seen, &mut ordered);
    }
    let users = ordered.into_iter().filter(|name| services.iter().any(|user| **user == **name));
    let has_it = |service| written.is_some_and(|written| started(fleet, service) > Some(written));
    let named = users.flat_map(|name| all_named(config, fleet, name));
    named.map(|service| RolloutStep { service, step, has_it: has_it(service) }).collect()
}

/// When the container of a service was started, in milliseconds since 1970.
fn started(fleet: &Fleet, service: ServiceId) -> Option<i64> {
    let watched = fleet.service(service)?;
    let known = fleet.known(watched.host).get(watched.container.as_ref()?)?;
    Some(known.started / 1_000_000)
}

/// Everything of this name: what is shown under it, every container of the service that is defined under it, and every
/// replica of a Compose service that nobody gave another name.
fn all_named(config: &Config, fleet: &Fleet, name: &str) -> Vec<ServiceId> {
    let first_host = config.hosts.first().map(|host| host.name.as_str());
    let is_it = |known: &Watched| known.declared && is_named(known, first_host, name);
    (0..).map(ServiceId).zip(&fleet.services).filter(|(_, known)| is_it(known)).map(|(id, _)| id).collect()
}

/// Whether it goes by this name, as [`all_named`] has it.
pub(super) fn is_named(known: &Watched, first_host: Option<&str>, name: &str) -> bool {
    let Watched { subject, service, .. } = known;
    let named = *subject.name == *name || service.name == name;
    let unnamed = *service.name == *subject.identity.short_name() && Some(subject.identity.host()) == first_host;
    named || unnamed && is_replica_of(&subject.identity, name)
}

/// Whether the identity is a replica of the Compose service that goes by this name, `PROJECT-SERVICE`.
fn is_replica_of(identity: &Identity, name: &str) -> bool {
    let mut parts = identity.as_str().split('/').skip(1);
    let (Some(project), Some(service), Some(_)) = (parts.next(), parts.next(), parts.next()) else { return false };
    name.strip_prefix(project).and_then(|rest| rest.strip_prefix('-')) == Some(service)
}

/// A service after everything that it needs, whether that uses the credential or not.
fn needs_first<'a>(config: &'a Config, name: &'a str, seen: &mut BTreeSet<&'a str>, ordered: &mut Vec<&'a str>) {
    if !seen.insert(name) {
        return;
    }
    for need in config.services.get(name).into_iter().flat_map(|service| &service.depends_on) {
        needs_first(config, need, seen, ordered);
    }
    ordered.push(name);
}

#[cfg(test)]
pub(super) mod tests;
