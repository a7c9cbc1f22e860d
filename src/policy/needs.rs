//! Root first (law 3): nothing is recovered while what it needs is down, being recovered, or not yet stable. Whoever waited
//! follows when that is firm again; whoever got well by then is not touched.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::{Action, Trouble};
use crate::id::{CheckId, Instance, ServiceId};
use crate::input::{EngineHealth, State};
use crate::policy::Policy;
use crate::record::Hold;
use crate::service::{Doing, Down, Service, check_id};
use crate::spec::{Condition, Need, OnFailure, Step};
use crate::time::Mono;

/// What was asked how it is has so long to answer: longer than any probe may take. Then nobody waits for it any more.
const ANSWERED_BY: Duration = Duration::from_secs(90);

/// What many need is asked for all of them, not more often than this. What was seen this shortly before an outage was noticed
/// counts as seen after it began.
const ASKED_AT_MOST: Duration = Duration::from_secs(1);

/// Who needs whom.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Graph {
    needs: BTreeMap<ServiceId, Vec<Need>>,
    needed_by: BTreeMap<ServiceId, BTreeSet<ServiceId>>,
    /// When each was last asked how it is.
    asked: BTreeMap<ServiceId, Mono>,
}

/// How a service stands for those who need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Footing {
    /// Nobody knows, or there is none. That holds nobody: one host that cannot be reached never delays another.
    Unknown,
    /// It is just about to be told how it is: who needs it and who is needed come one after the other.
    Unseen,
    /// It does not run, is broken or failing, or is being recovered.
    Down,
    /// It has done its work.
    Completed,
    /// It runs, and nothing has spoken for it yet.
    Starting,
    /// It runs well.
    Firm,
}

/// A footing, of which life, and since when it is known to be so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    footing: Footing,
    life: Option<Instance>,
    /// When the oldest of what speaks for it began.
    told: Mono,
    /// When it holds nobody any more, though nothing is heard of it.
    free_at: Option<Mono>,
}

/// What a walk down the needs of a service came to.
struct Walk {
    /// Something is not met.
    is_barred: bool,
    /// The root of that, where it is watched.
    root: Option<ServiceId>,
    /// When that may have changed by itself.
    until: Option<Mono>,
    /// All that is broken where something is not met, the root of it first.
    broken: Vec<ServiceId>,
    /// What is met as far as it was last seen before the outage began.
    stale: BTreeSet<ServiceId>,
    /// Before then time alone changes nothing of what is barred.
    turns_at: Option<Mono>,
}

/// Why a service that could be recovered waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Barrier {
    pub(crate) reason: Hold,
    /// For whom: the root, whose own needs are met; none where that is not watched.
    pub(crate) behind: Option<ServiceId>,
    pub(crate) until: Option<Mono>,
}

impl Graph {
    fn set(&mut self, service: ServiceId, needs: Vec<Need>) {
        for needed in self.needs.remove(&service).iter().flatten().flat_map(|need| &need.on) {
            if let Some(dependents) = self.needed_by.get_mut(needed) {
                dependents.remove(&service);
                if dependents.is_empty() {
                    self.needed_by.remove(needed);
                }
            }
        }
        for needed in needs.iter().flat_map(|need| &need.on) {
            self.needed_by.entry(*needed).or_default().insert(service);
        }
        if !needs.is_empty() {
            self.needs.insert(service, needs);
        }
    }

    pub(crate) fn of(&self, service: ServiceId) -> &[Need] {
        self.needs.get(&service).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_needed(&self, service: ServiceId) -> bool {
        self.needed_by.contains_key(&service)
    }

    pub(crate) fn direct_dependents(&self, service: ServiceId) -> impl Iterator<Item = ServiceId> {
        self.needed_by.get(&service).into_iter().flatten().copied()
    }

    /// Whatever this one needs, directly or through others; not itself.
    pub(crate) fn everything_needed(&self, service: ServiceId) -> BTreeSet<ServiceId> {
        let mut found = BTreeSet::new();
        let mut next = Vec::from([service]);
        while let Some(id) = next.pop() {
            let needed = self.of(id).iter().flat_map(|need| &need.on);
            next.extend(needed.filter(|needed| **needed != service && found.insert(**needed)));
        }
        found
    }

    /// Whoever needs this one, directly or through others; not itself.
    pub(crate) fn dependents(&self, service: ServiceId) -> BTreeSet<ServiceId> {
        let mut found = BTreeSet::new();
        let mut next = Vec::from([service]);
        while let Some(id) = next.pop() {
            let direct = self.needed_by.get(&id).into_iter().flatten();
            next.extend(direct.filter(|dependent| **dependent != service && found.insert(**dependent)));
        }
        found
    }
}

impl Policy {
    /// What a service needs from now on.
    pub(crate) fn need(&mut self, service: ServiceId, needs: Vec<Need>, out: &mut Vec<Action>) {
        if needs.is_empty() {
            self.shared.needy.remove(&service);
        } else {
            self.shared.needy.insert(service);
        }
        self.graph.set(service, needs);
        self.stands_otherwise(service);
        self.be_unsure_of(service);
        if self.graph.is_needed(service) {
            self.shared.moved.insert(service);
        }
        self.with(service, out, |service, turn| {
            if service.trouble.is_some() {
                service.review(turn, None);
            }
        });
        self.compare_lives(service, out);
    }

    /// Decides for those whose needs decide, and wakes those who waited for what has moved.
    pub(crate) fn root_first(&mut self, out: &mut Vec<Action>) {
        loop {
            if let Some(id) = self.shared.reborn.pop() {
                self.compare_lives(id, out);
            } else if let Some(host) = self.shared.stirred.pop_first() {
                self.weigh_storm(host, out);
            } else if let Some(id) = self.shared.unsorted.pop_first() {
                self.sort_outage(id, out);
            } else if let Some(id) = self.next_gated(out) {
                let barrier = self.barrier(id, out);
                self.with(id, out, |service, turn| service.pass_gate(turn, barrier));
            } else if let Some(id) = self.shared.moved.pop_first() {
                for follower in self.followers(id) {
                    self.compare_lives(follower, out);
                }
                for dependent in self.graph.dependents(id) {
                    self.be_unsure_of(dependent);
                    let waits = |service: &Service| service.hold.is_some_and(|hold| hold.reason == Hold::Dependency);
                    if self.service(dependent).is_some_and(waits) {
                        self.shared.unsorted.insert(dependent);
                        self.with(dependent, out, |service, turn| service.review(turn, None));
                    }
                }
            } else if let Some(id) = self.shared.tellable.pop_first() {
                // What follows from what is known: whose outage it is part of, and whether it is its host.
                self.with(id, out, Service::announce);
            } else {
                return;
            }
        }
    }

    /// What keeps a service from being recovered now, though it could be: its host, or what it needs.
    fn barrier(&mut self, id: ServiceId, out: &mut Vec<Action>) -> Option<Barrier> {
        let service = self.service(id)?;
        // To stop what is broken for good is no recovery.
        if service.next_step() == Some(Step::Stop) {
            return None;
        }
        let host = service.spec.host;
        let storm = self.shared.hosts[usize::from(host.0)].storm.as_ref();
        match storm.map(|storm| storm.holds(self.now.mono).is_some()) {
            Some(true) => return None,
            None if self.is_brewing(host) => {
                let until = Some(self.now.mono + self.shared.fleet.failing_interval);
                return Some(Barrier { reason: Hold::MassFailure, behind: None, until });
            }
            _ => {}
        }
        match self.waits_for(id, out) {
            Some((behind, until)) => Some(Barrier { reason: Hold::Dependency, behind, until }),
            None => self.waits_for_another_follower(id),
        }
    }

    /// For whom a service waits, among what it needs and what that needs, and until when. Before the first recovery of an
    /// outage, what was last seen before it began is asked how it is.
    fn waits_for(&mut self, id: ServiceId, out: &mut Vec<Action>) -> Option<(Option<ServiceId>, Option<Mono>)> {
        let service = self.service(id).filter(|_| self.shared.needy.contains(&id))?;
        let incident = service.incident?;
        let noticed =
            || Mono(self.now.place(incident.opened).0 - i64::try_from(ASKED_AT_MOST.as_millis()).unwrap_or(0));
        let Walk { is_barred, root, until, stale, .. } = self.walk(id, service.began_to_fail().unwrap_or_else(noticed));
        if is_barred {
            return Some((root, until));
        }
        let behind = *stale.first().filter(|_| incident.attempts == 0)?;
        let now = self.now.mono;
        let until = match incident.asked {
            Some(asked) => asked + ANSWERED_BY,
            None => {
                self.with(id, out, |service, turn| {
                    if let Some(incident) = &mut service.incident {
                        incident.asked = Some(turn.now.mono);
                    }
                });
                for needed in stale {
                    self.ask(needed, out);
                }
                now + ANSWERED_BY
            }
        };
        (until > now).then_some((Some(behind), Some(until)))
    }

    /// Whether something that a service needs, directly or through others, is down or has failed too, as `failed` tells; and
    /// until when time alone changes nothing of it.
    pub(crate) fn is_dragged_down(&self, id: ServiceId, failed: impl Fn(ServiceId) -> bool) -> (bool, Option<Mono>) {
        let direct = self.graph.of(id);
        if direct.iter().flat_map(|need| &need.on).any(|needed| *needed != id && failed(*needed)) {
            return (true, None);
        }
        if direct.is_empty() {
            return (false, None);
        }
        if self.graph.everything_needed(id).into_iter().any(failed) {
            return (true, None);
        }
        let Walk { is_barred, turns_at, .. } = self.walk(id, Mono(i64::MIN));
        (is_barred, turns_at)
    }

    /// What a service needs, directly or through others, and is broken so that a need is not met: the root of it first.
    pub(crate) fn broken_needs(&self, id: ServiceId) -> Vec<ServiceId> {
        let Walk { root, broken, .. } = self.walk(id, Mono(i64::MIN));
        root.into_iter().chain(broken).collect()
    }

    /// Looks at everything that a service needs whose outage began then. No recursion: needs may be a chain of any length.
    fn walk(&self, id: ServiceId, began: Mono) -> Walk {
        let now = self.now.mono;
        let (mut walked, mut stale, mut until) = (BTreeSet::from([id]), BTreeSet::new(), None);
        let (mut is_barred, mut unmet, mut waiting) = (false, Vec::new(), BTreeSet::new());
        let mut all_broken = Vec::new();
        let mut turns_at = None;
        let mut next = Vec::from([id]);
        while let Some(id) = next.pop() {
            for need in self.graph.of(id) {
                let known = need.on.iter().filter_map(|needed| Some((*needed, self.standing(*needed)?)));
                let known = known.inspect(|(_, standing)| {
                    let turns = standing.free_at.filter(|at| *at > now);
                    turns_at = [turns_at, turns].into_iter().flatten().min();
                });
                let (met, broken): (Vec<_>, Vec<_>) = known.partition(|(_, standing)| standing.meets(need.until, now));
                let is_old = |(_, standing): &&(ServiceId, Standing)| {
                    standing.told < began && standing.footing != Footing::Unknown
                };
                stale.extend(met.iter().filter(is_old).map(|(needed, _)| *needed));
                let is_met = !met.is_empty() || need.unwatched == Some(true);
                if !is_met && (!broken.is_empty() || need.unwatched.is_some()) {
                    is_barred = true;
                    unmet.extend(broken.first().map(|(needed, _)| *needed));
                    all_broken.extend(broken.iter().map(|(needed, _)| *needed));
                    waiting.insert(id);
                    let free_at =
                        broken.iter().filter_map(|(_, standing)| standing.free_at).filter(|at| *at > now).min();
                    until = [until, free_at].into_iter().flatten().min();
                }
                // One of several is enough, and then it is the one whose own needs count.
                let below = if is_met { met } else { broken };
                next.extend(below.into_iter().map(|(needed, _)| needed).filter(|needed| walked.insert(*needed)));
            }
        }
        let root = unmet.iter().find(|needed| !waiting.contains(needed)).or(unmet.first()).copied();
        Walk { is_barred, root, until, broken: all_broken, stale, turns_at }
    }

    /// Has a service looked at and its healing checks made, now.
    fn ask(&mut self, id: ServiceId, out: &mut Vec<Action>) {
        let now = self.now.mono;
        if self.graph.asked.get(&id).is_some_and(|asked| now.since(*asked) < ASKED_AT_MOST) {
            return;
        }
        self.graph.asked.insert(id, now);
        let Some(service) = self.service(id) else { return };
        out.push(Action::Look { service: id });
        out.extend(service.healing_checks().map(|check| Action::Probe { service: id, check }));
    }

    pub(crate) fn standing(&self, id: ServiceId) -> Option<Standing> {
        let service = self.service(id)?;
        Some(service.standing(self.shared.hosts[usize::from(service.spec.host.0)].up, self.now.mono))
    }
}

impl Standing {
    const UNSEEN: Self = Self { footing: Footing::Unseen, life: None, told: Mono(i64::MIN), free_at: None };

    fn meets(self, condition: Condition, now: Mono) -> bool {
        matches!(
            (self.footing, condition),
            (Footing::Unknown | Footing::Unseen | Footing::Completed, _)
                | (Footing::Starting, Condition::Started)
                | (Footing::Firm, Condition::Started | Condition::Healthy)
        ) || (condition != Condition::Completed && self.free_at.is_some_and(|at| at <= now))
    }
}

impl Service {
    fn standing(&self, host_up: bool, now: Mono) -> Standing {
        let Some(sight) = self.sight.filter(|_| host_up) else {
            return if host_up { Standing::UNSEEN } else { Standing { footing: Footing::Unknown, ..Standing::UNSEEN } };
        };
        // Whoever started it: what has only just begun may fail again.
        let stable_at = sight.since + self.spec.recovery.verify_stable;
        let quiet = self.incident.is_none() && self.trouble.is_none() && matches!(self.phase, Doing::Nothing);
        let footing = match sight.state {
            State::Gone if self.change_until.is_none_or(|until| until <= now) => Footing::Unknown,
            State::Exited { code: 0, .. } if self.down == Some(Down::Completed) => Footing::Completed,
            State::Running(EngineHealth::Unhealthy) => Footing::Down,
            State::Running(_) if !quiet || self.is_failing() => Footing::Down,
            State::Running(_) if Self::is_well(self.health) && stable_at <= now => Footing::Firm,
            State::Running(_) => Footing::Starting,
            _ => Footing::Down,
        };
        let checks = self.checks.iter().filter(|check| check.proven && check.spec.on_failure == OnFailure::Heal);
        let told = checks.map(|check| check.view().last.unwrap_or(Mono(i64::MIN))).fold(self.seen_at, Mono::min);
        // Checks that cannot be made say nothing, and are not waited for longer than one that can would take.
        let free_at = match sight.state {
            State::Running(EngineHealth::None | EngineHealth::Healthy) if footing == Footing::Starting => {
                let settles = self.spec.start_period.max(self.spec.settles_within);
                Some(if Self::is_well(self.health) { stable_at } else { stable_at.max(sight.since + settles) })
            }
            State::Gone => self.change_until,
            _ => None,
        };
        Standing { footing, life: Some(sight.instance), told, free_at }
    }

    /// The newest result of one of its checks that may heal is a failure, be it a verdict or not yet.
    fn is_failing(&self) -> bool {
        self.checks
            .iter()
            .any(|check| check.proven && check.spec.on_failure == OnFailure::Heal && check.view().failures > 0)
    }

    fn healing_checks(&self) -> impl Iterator<Item = CheckId> {
        let numbered = self.checks.iter().enumerate();
        numbered.filter(|(_, check)| check.spec.on_failure == OnFailure::Heal).map(|(number, _)| check_id(number))
    }

    /// When the check that is its trouble began to fail.
    fn began_to_fail(&self) -> Option<Mono> {
        let Some(Trouble::Check(number)) = self.trouble else { return None };
        self.checks.get(usize::from(number.0))?.failing_since()
    }
}
