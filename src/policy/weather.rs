//! The weather on a host: what of it runs and what fails, counted as it changes, so that a storm is weighed at the same cost
//! however many services there are.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;
use core::time::Duration;

use crate::id::{HostId, ServiceId};
use crate::input::State;
use crate::policy::Policy;
use crate::service::Service;
use crate::spec::OnFailure;
use crate::time::Mono;
use crate::turn::Turn;

/// What runs and fails on one host.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Weather {
    skies: BTreeMap<ServiceId, Sky>,
    /// Outages that count for a storm, by when each began.
    failures: BTreeSet<(Mono, ServiceId)>,
    /// Those of whom nothing is certain, by when their checks began to fail.
    suspects: BTreeSet<(Mono, ServiceId)>,
    /// Those under maintenance, by when it ends: then they count again.
    maintained: BTreeSet<(Mono, ServiceId)>,
    counts: Counts,
    /// Those that have begun to leave since then.
    leaving: Vec<ServiceId>,
    /// Failures that came since it was last found out who was dragged down.
    fresh: Vec<ServiceId>,
    /// Failures of which it has to be found out anew whether they were dragged down.
    unsure: BTreeSet<ServiceId>,
    /// When it has to be of all of them, since time alone may have changed it.
    unsure_at: Option<Mono>,
    /// Counts whatever changed.
    changes: u64,
    brewing: Option<Brewing>,
}

/// One service, as far as storms are concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Sky {
    /// It runs, or as good as, and is under no maintenance.
    up: bool,
    /// It will not be watched any more, unless it comes back.
    leaving: bool,
    /// When its outage began.
    failed: Option<Mono>,
    /// It is in no outage and under no maintenance, and its checks have begun to fail: since when.
    suspected: Option<Mono>,
    /// When its maintenance ends.
    maintained: Option<Mono>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Counts {
    up: u32,
    failed: u32,
    /// That have failed or run.
    of_failed: u32,
    /// That have failed or are suspected.
    failing: u32,
    /// That have failed, are suspected, or run.
    of_failing: u32,
}

/// Whether a storm was found to be brewing, and for how long that stays true.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Brewing {
    /// As many changes, here and in how services stand for each other.
    changes: (u64, u64),
    until: Option<Mono>,
    is: bool,
}

impl Weather {
    fn change(&mut self, id: ServiceId, change: impl FnOnce(&mut Sky)) {
        let before = self.skies.get(&id).copied().unwrap_or_default();
        let mut after = before;
        change(&mut after);
        if after == before {
            return;
        }
        self.changes += 1;
        self.counts.change(before, after);
        move_entry(&mut self.failures, id, before.failed, after.failed);
        move_entry(&mut self.suspects, id, before.suspected, after.suspected);
        move_entry(&mut self.maintained, id, before.maintained, after.maintained);
        if after == Sky::default() {
            self.skies.remove(&id);
        } else {
            self.skies.insert(id, after);
        }
    }

    /// An outage began.
    pub(crate) fn fail(&mut self, id: ServiceId, now: Mono) {
        self.change(id, |sky| sky.failed = Some(now));
        self.fresh.push(id);
    }

    /// It is not watched any more, or will not be, unless it comes back before anybody looks.
    pub(crate) fn leave(&mut self, id: ServiceId) {
        self.change(id, |sky| *sky = Sky { failed: sky.failed, leaving: true, ..Sky::default() });
        self.leaving.push(id);
    }

    /// Its outage does not count: it was dragged down.
    pub(crate) fn excuse(&mut self, id: ServiceId) {
        self.change(id, |sky| sky.failed = None);
    }

    /// What began so long ago does not count any more.
    pub(crate) fn expire(&mut self, now: Mono, window: Duration) {
        let is_old = |entry: &(Mono, ServiceId)| now.since(entry.0) >= window;
        while let Some((_, id)) = self.failures.first().copied().filter(is_old) {
            self.change(id, |sky| sky.failed = None);
        }
        while let Some((_, id)) = self.suspects.first().copied().filter(is_old) {
            self.change(id, |sky| sky.suspected = None);
        }
    }

    /// When its outage began that counts, be it too long ago or not.
    pub(crate) fn failed_at(&self, id: ServiceId) -> Option<Mono> {
        self.skies.get(&id)?.failed
    }

    pub(crate) fn has_failed(&self, id: ServiceId) -> bool {
        self.failed_at(id).is_some()
    }

    pub(crate) fn is_failing(&self, id: ServiceId) -> bool {
        self.skies.get(&id).is_some_and(|sky| sky.failed.is_some() || sky.suspected.is_some())
    }

    /// Outages that count, and when each began.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (ServiceId, Mono)> {
        self.failures.iter().map(|(at, id)| (*id, *at))
    }

    /// How many of them began later than `since`, and how many services have failed or run.
    pub(crate) fn failed(&self, since: Option<Mono>) -> (u32, u32) {
        let Some(since) = since else { return (self.counts.failed, self.counts.of_failed) };
        let later = self.failures.range((Bound::Excluded((since, ServiceId(u32::MAX))), Bound::Unbounded)).count();
        (u32::try_from(later).unwrap_or(u32::MAX), self.counts.of_failed)
    }

    /// How many run or are among these, each of which is told once and none of which leaves.
    pub(crate) fn count_with(&self, others: impl Iterator<Item = ServiceId>) -> u32 {
        let others = others.filter(|id| self.skies.get(id).is_none_or(|sky| !sky.up)).count();
        self.counts.up + u32::try_from(others).unwrap_or(u32::MAX)
    }

    /// Those who have failed or are suspected; some may be told twice.
    pub(crate) fn failing(&self) -> impl Iterator<Item = ServiceId> {
        let suspects = self.suspects.iter().filter(|(_, id)| !self.has_failed(*id));
        self.failures.iter().chain(suspects).map(|(_, id)| *id)
    }

    /// How many have failed or are suspected, and how many have failed, are suspected, or run.
    pub(crate) const fn count_failing(&self) -> (u32, u32) {
        (self.counts.failing, self.counts.of_failing)
    }

    /// Whether a storm is brewing, where nothing has changed since that was found out.
    pub(crate) fn known_brewing(&self, moves: u64, now: Mono) -> Option<bool> {
        let known = self.brewing.filter(|known| known.changes == (self.changes, moves));
        known.filter(|known| known.until.is_none_or(|until| now < until)).map(|known| known.is)
    }

    /// Found out: it is or is not, and time alone changes nothing of it before `until`.
    pub(crate) fn note_brewing(&mut self, moves: u64, is: bool, until: Option<Mono>) {
        self.brewing = Some(Brewing { changes: (self.changes, moves), until, is });
    }
}

impl Counts {
    fn change(&mut self, before: Sky, after: Sky) {
        let kinds = |sky: Sky| {
            let failing = sky.failed.is_some() || sky.suspected.is_some();
            let (of_failed, of_failing) = (sky.failed.is_some() || sky.up, failing || sky.up);
            let up = sky.up && !sky.leaving;
            [up, sky.failed.is_some(), of_failed && !sky.leaving, failing, of_failing && !sky.leaving].map(u32::from)
        };
        let counts = [&mut self.up, &mut self.failed, &mut self.of_failed, &mut self.failing, &mut self.of_failing];
        for ((count, was), is) in counts.into_iter().zip(kinds(before)).zip(kinds(after)) {
            *count = *count + is - was;
        }
    }
}

fn move_entry(entries: &mut BTreeSet<(Mono, ServiceId)>, id: ServiceId, from: Option<Mono>, to: Option<Mono>) {
    if from != to {
        if let Some(at) = from {
            entries.remove(&(at, id));
        }
        entries.extend(to.map(|at| (at, id)));
    }
}

impl Policy {
    /// A service stands otherwise for those who need it, or they need others: whether it drags them down is found out anew.
    pub(crate) fn stands_otherwise(&mut self, id: ServiceId) {
        self.shared.moves += 1;
        for dependent in self.graph.dependents(id) {
            self.be_unsure_of(dependent);
        }
    }

    /// Whether this one was dragged down is found out anew, where it has failed.
    pub(crate) fn be_unsure_of(&mut self, id: ServiceId) {
        let Some(host) = self.service(id).map(|service| service.spec.host) else { return };
        let weather = &mut self.host_slot(host).weather;
        if weather.has_failed(id) {
            weather.unsure.insert(id);
        }
    }

    /// Whose maintenance is over by now counts again.
    pub(crate) fn end_maintenances(&mut self, host: HostId) {
        let now = self.now;
        let is_over = |entry: &(Mono, ServiceId)| entry.0 <= now.mono;
        while let Some((_, id)) = self.host_slot(host).weather.maintained.first().copied().filter(is_over) {
            self.host_slot(host).weather.change(id, |sky| sky.maintained = None);
            if let Some(service) = self.services.get_mut(id.0 as usize).and_then(Option::as_deref_mut) {
                service.show_sky(&mut Turn { now, shared: &mut self.shared, out: &mut Vec::new() });
            }
        }
    }

    /// What failed too long ago, or because of something else, does not count.
    pub(crate) fn clear_weather(&mut self, host: HostId) {
        let (now, window) = (self.now.mono, self.shared.fleet.mass_failure.window);
        self.end_maintenances(host);
        let weather = &mut self.host_slot(host).weather;
        weather.expire(now, window);
        for id in core::mem::take(&mut weather.leaving) {
            weather.change(id, |sky| *sky = if sky.leaving { Sky::default() } else { *sky });
        }
        let fresh = core::mem::take(&mut weather.fresh);
        for id in &fresh {
            self.be_unsure_of(*id);
        }
        // Those that moved just now, too: nobody who needs them has heard of it yet.
        let moved = self.shared.moved.iter().chain(&fresh).copied();
        let moved = moved.filter(|id| self.graph.is_needed(*id));
        let dependents: BTreeSet<ServiceId> = moved.flat_map(|id| self.graph.dependents(id)).collect();
        for dependent in dependents {
            self.be_unsure_of(dependent);
        }
        let weather = &mut self.host_slot(host).weather;
        let mut unsure = core::mem::take(&mut weather.unsure);
        if weather.unsure_at.take_if(|at| *at <= now).is_some() {
            unsure.extend(weather.failures.iter().map(|(_, id)| *id));
        }
        let (mut dragged, mut turns_at) = (Vec::new(), weather.unsure_at);
        let weather = &self.shared.hosts[usize::from(host.0)].weather;
        for id in unsure.into_iter().filter(|id| weather.has_failed(*id)) {
            let (is_dragged, until) = self.is_dragged_down(id, |needed| weather.has_failed(needed));
            turns_at = [turns_at, until].into_iter().flatten().min();
            dragged.extend(is_dragged.then_some(id));
        }
        let weather = &mut self.host_slot(host).weather;
        weather.unsure_at = turns_at;
        for id in dragged {
            weather.excuse(id);
        }
    }

    /// After other rules: what was too old to count may do so again.
    pub(crate) fn look_up(&mut self) {
        for service in self.services.iter_mut().flatten() {
            service.sky = None;
            let mut turn = Turn { now: self.now, shared: &mut self.shared, out: &mut Vec::new() };
            service.show_sky(&mut turn);
        }
    }
}

impl Service {
    /// Has its host count it as it is.
    pub(crate) fn show_sky(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let maintained = self.maintained_until(now).filter(|_| !self.leaving);
        let counts = !self.leaving && maintained.is_none();
        let state = self.sight.map(|sight| sight.state);
        let up = counts && matches!(state, Some(State::Running(_) | State::Paused | State::Restarting));
        let suspected = if counts && self.incident.is_none() { self.fails_since() } else { None };
        let sky = Sky { up, leaving: self.leaving, failed: None, suspected, maintained };
        if self.sky.replace(sky) == Some(sky) {
            return;
        }
        let window = turn.shared.fleet.mass_failure.window;
        let suspected = suspected.filter(|at| now.since(*at) < window);
        let weather = &mut turn.host_mut(self.spec.host).weather;
        weather.change(self.id, |known| *known = Sky { failed: known.failed, suspected, ..sky });
    }

    /// When the first of its checks that may heal began to fail, be it a verdict or not yet.
    fn fails_since(&self) -> Option<Mono> {
        let checks = self.checks.iter().filter(|check| check.proven && check.spec.on_failure == OnFailure::Heal);
        checks.filter_map(crate::check::Check::failing_since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    /// Numbers that look random, the same each time.
    struct Dice(u64);

    impl Dice {
        fn throw(&mut self, sides: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % sides
        }
    }

    /// The same, counted from the beginning each time.
    fn counted(skies: &BTreeMap<ServiceId, Sky>) -> [u32; 5] {
        let count = |is: fn(&Sky) -> bool| u32::try_from(skies.values().filter(|sky| is(sky)).count()).unwrap();
        [
            count(|sky| !sky.leaving && sky.up),
            count(|sky| sky.failed.is_some()),
            count(|sky| !sky.leaving && (sky.failed.is_some() || sky.up)),
            count(|sky| sky.failed.is_some() || sky.suspected.is_some()),
            count(|sky| !sky.leaving && (sky.failed.is_some() || sky.suspected.is_some() || sky.up)),
        ]
    }

    #[test]
    fn what_is_counted_as_it_changes_is_what_there_is() {
        let (mut dice, mut weather, mut now) = (Dice(1), Weather::default(), Mono(0));
        for _ in 0..20_000 {
            now = now + Duration::from_millis(dice.throw(4_000));
            let id = ServiceId(u32::try_from(dice.throw(40)).unwrap());
            let suspected = (dice.throw(3) == 0).then_some(now);
            match dice.throw(5) {
                0 => weather.fail(id, now),
                1 => weather.excuse(id),
                2 => weather.leave(id),
                _ => weather.change(id, |sky| (sky.up, sky.suspected, sky.leaving) = (!sky.up, suspected, false)),
            }
            weather.expire(now, WINDOW);
            weather.fresh.clear();
            let Counts { up, failed, of_failed, failing, of_failing } = weather.counts;
            assert_eq!([up, failed, of_failed, failing, of_failing], counted(&weather.skies));
            let ids: BTreeSet<ServiceId> = weather.failing().collect();
            assert_eq!((ids.len(), weather.failing().count()), (failing as usize, failing as usize));
            assert!(ids.iter().all(|id| weather.is_failing(*id)));
            let is_recent = |at: Mono| now.since(at) < WINDOW;
            assert!(weather.failures().all(|(id, at)| is_recent(at) && weather.has_failed(id)));
            let later = weather.failures().filter(|(_, at)| *at > now - WINDOW / 2).count();
            assert_eq!(weather.failed(Some(now - WINDOW / 2)).0 as usize, later);
        }
    }
}
