//! Law 3 by the world's truth: nothing is recovered while what it needs, as its labels say how, is down or was started less than
//! `verify_stable` ago.
//!
//! What counts as down is what Iaso was told since it is so: that it does not run or is frozen, by an event, a list or a look;
//! that its HEALTHCHECK finds it unhealthy, likewise; that Iaso's own check failed in its present life, the newest time. No delay
//! is granted beyond that: a fact decides in the same step that it comes in.

use std::collections::BTreeSet;

use iaso_policy::input::EngineHealth;
use iaso_policy::spec::Condition;

use super::{Books, is_watched};
use crate::engine::ContainerDetail;
use crate::sim::scenario::{Needed, PORT};
use crate::sim::world::World;

/// The shipped `verify_stable`.
const STABLE: i64 = 10_000;

impl Books {
    pub(super) fn before_its_root(&self, world: &World, detail: &ContainerDetail) -> Option<String> {
        let first = world.script(detail.id.short())?.name.clone();
        let (mut walked, mut next) = (BTreeSet::from([first.clone()]), vec![first]);
        while let Some(name) = next.pop() {
            for needed in self.needs.get(&name).into_iter().flatten().filter(|needed| needed.counts) {
                let stand_ins = stand_ins(world, needed);
                // What is not there holds nobody.
                if stand_ins.is_empty() {
                    continue;
                }
                let whys: Option<Vec<&str>> = stand_ins.iter().map(|id| self.unmet(world, *id, needed)).collect();
                if let Some(why) = whys.as_ref().and_then(|whys| whys.first()) {
                    return Some(format!("{name} needs {}, which {why}", needed.on));
                }
                // What nobody watches is read from the engine, and what that needs in turn is not followed.
                let is_followed =
                    stand_ins.iter().any(|id| world.inspect(*id).is_some_and(|detail| is_watched(&detail)));
                if is_followed && walked.insert(needed.on.clone()) {
                    next.push(needed.on.clone());
                }
            }
        }
        None
    }

    /// Why a container does not meet a need, as far as Iaso could have known.
    pub(super) fn unmet(&self, world: &World, id: u128, needed: &Needed) -> Option<&'static str> {
        let (truth, told) = (world.truth(id)?, self.told.get(&id)?);
        let detail = world.inspect(id)?;
        let is_watched = is_watched(&detail);
        // That it has done its work, or is about to leave, is not judged here.
        if truth.exited == Some(0) || truth.replaced {
            return None;
        }
        if told.knows_down(&truth) {
            return Some("does not run");
        }
        match needed.until {
            Condition::Started => None,
            Condition::Completed => (truth.running && told.knows_life(&truth)).then_some("has not ended"),
            Condition::Healthy => {
                let is_unhealthy = truth.health == EngineHealth::Unhealthy && told.unhealthy;
                let fails = told.failing_since.is_some() && told.probe == Some((truth.lives, false));
                let still = || !world.probe(id, PORT).passes(std::time::Duration::from_secs(5));
                let is_young = world.now() - truth.since < STABLE && told.knows_life(&truth);
                if truth.running && is_unhealthy {
                    Some("is unhealthy")
                } else if truth.running && is_watched && fails && still() {
                    Some("fails its check")
                } else {
                    (truth.running && is_watched && is_young).then_some("has only just been started")
                }
            }
        }
    }
}

/// Every container that a name in a label may stand for.
pub(super) fn stand_ins(world: &World, needed: &Needed) -> Vec<u128> {
    let is_it = |id: &u128, shown: &str| {
        let Some(script) = world.script(*id) else { return false };
        match script.labels.get("com.docker.compose.service").filter(|_| needed.by_compose) {
            Some(service) => *service == needed.on,
            None => shown == needed.on || script.name == needed.on,
        }
    };
    world.names().filter(|(id, shown)| is_it(id, shown)).map(|(id, _)| id).collect()
}
