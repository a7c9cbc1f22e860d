//! Law 9 by the world's truth: one outage is told loudly once, and not at all where that of what it needs was; what a reporter has
//! taken does not come again, but for what Iaso's end kept it from writing down.

use std::collections::BTreeSet;

use iaso_policy::alert::{Alert, AlertKey};
use iaso_policy::record::AlertKind;
use iaso_policy::spec::Condition;
use iaso_policy::time::Mono;

use super::root::stand_ins;
use super::{Books, is_watched};
use crate::sim::scenario::PORT;
use crate::sim::world::World;

/// The outage of a container that was told.
#[derive(Debug)]
pub(super) struct Loud {
    alert: Alert,
    /// The container has served, or was taken out of care, since.
    was_well: bool,
    /// Its end was told.
    resolved: bool,
    /// Its engine stopped it on its own way down: until that is gone, it is as if a person had, and told so.
    was_shut_down: bool,
}

/// What reporters have taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    in_this_life: BTreeSet<AlertKey>,
    /// The store knows that it was.
    kept: BTreeSet<AlertKey>,
}

impl Taken {
    pub(super) fn life_ended(&mut self) {
        self.in_this_life.clear();
    }
}

impl Books {
    pub(in super::super) fn taken(&mut self, key: AlertKey) {
        self.taken.in_this_life.insert(key);
    }

    pub(in super::super) fn taking_kept(&mut self, key: AlertKey) {
        self.taken.kept.insert(key);
    }

    /// What was told may be told anew: who is watched has been decided anew, or a record of it was lost.
    pub(in super::super) fn forget_told(&mut self) {
        self.loud.clear();
    }

    /// Judges an announcement about this container.
    pub(in super::super) fn announced(&mut self, world: &World, id: u128, alert: &Alert) {
        let mut objections = Vec::new();
        if self.taken.in_this_life.contains(&alert.key) || self.taken.kept.contains(&alert.key) {
            objections.push("was taken before".to_owned());
        }
        let is_loud = alert.key.kind == AlertKind::NotHealed && alert.host.is_none();
        if is_loud {
            let before = self.loud.get(&id);
            let is_over = |it: &Loud| it.was_well || (it.resolved && it.was_shut_down);
            if let Some(before) = before.filter(|it| it.alert.key.incident != alert.key.incident && !is_over(it)) {
                objections.push(format!("is of the outage that {} told of", before.alert.key));
            }
            objections.extend(self.root_that_was_told(world, id, alert));
            // What has only just been made has had no outage: it is told of whoever had its name before.
            let is_news = self.told.get(&id).is_none_or(|told| !told.is_known_to_have_run());
            let was_well = is_news && world.truth(id).is_some_and(|truth| truth.lives <= 1);
            self.loud.insert(id, Loud { alert: alert.clone(), was_well, resolved: false, was_shut_down: false });
            self.loud_alerts += 1;
        } else if let Some(loud) = self.loud.get_mut(&id).filter(|loud| loud.alert.key.incident == alert.key.incident) {
            loud.resolved |= alert.key.kind == AlertKind::Resolved;
        }
        let (at, name) = (world.now(), world.script(id).map(|script| script.name.clone()).unwrap_or_default());
        self.problems.extend(objections.iter().map(|what| format!("{at} ms: {} about {name} {what}", alert.key)));
    }

    /// Something it needs was told to be broken, is so still, and was so first.
    fn root_that_was_told(&self, world: &World, id: u128, alert: &Alert) -> Option<String> {
        let first = world.script(id)?.name.clone();
        let (mut walked, mut next) = (BTreeSet::from([first.clone()]), vec![first]);
        while let Some(name) = next.pop() {
            let needs = self.needs.get(&name).into_iter().flatten();
            for needed in needs.filter(|needed| needed.counts && needed.until == Condition::Healthy) {
                let stand_ins = stand_ins(world, needed);
                let is_told = |id: &u128| {
                    let loud = self.loud.get(id).filter(|loud| !loud.resolved && !loud.was_well);
                    loud.is_some_and(|loud| loud.alert.opened.mono <= Mono(alert.opened.mono.0))
                        && self.unmet(world, *id, needed).is_some()
                };
                if !stand_ins.is_empty() && stand_ins.iter().all(is_told) {
                    return Some(format!("is about a dependent of {}, whose outage was told", needed.on));
                }
                if stand_ins.iter().any(|id| world.inspect(*id).is_some_and(|it| is_watched(&it)))
                    && walked.insert(needed.on.clone())
                {
                    next.push(needed.on.clone());
                }
            }
        }
        None
    }

    /// A person takes it into their hands.
    pub(super) fn taken_in_hand(&mut self, id: u128) {
        if let Some(loud) = self.loud.get_mut(&id) {
            loud.was_well = true;
        }
    }

    /// An engine shuts down.
    pub(super) fn shuts_down(&mut self, world: &World) {
        for id in world.ids().into_iter().filter(|id| world.truth(*id).is_some_and(|truth| truth.running)) {
            if let Some(loud) = self.loud.get_mut(&id) {
                loud.was_shut_down = true;
            }
        }
    }

    /// How many outages were told loudly.
    pub(in super::super) const fn loud_alerts(&self) -> u64 {
        self.loud_alerts
    }

    /// A container that was told of may be well by now.
    pub(super) fn note_wellness(&mut self, world: &World, id: u128) {
        let Some(loud) = self.loud.get_mut(&id) else { return };
        let Some(truth) = world.truth(id) else { return };
        // Nobody sees more of what is not checked than that it runs.
        let is_checked = world.script(id).is_some_and(|script| {
            let on_failure = script.labels.get("iaso.check.app.on_failure");
            script.healthcheck.is_some() || on_failure.is_some_and(|on_failure| on_failure == "heal")
        });
        let passes = || world.probe(id, PORT).passes(std::time::Duration::from_secs(5));
        let serves = truth.running && (!is_checked || passes());
        let out_of_care = truth.paused || truth.stopped_by_person || truth.replaced || truth.exited == Some(0);
        loud.was_well |= serves || out_of_care;
    }
}
