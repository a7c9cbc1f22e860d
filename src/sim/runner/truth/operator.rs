//! Law 5 by the world's truth: what a person stopped, froze or put under maintenance is neither started nor restarted once Iaso
//! could have known.

use iaso_policy::action::{Cause, Operation};
use iaso_policy::id::Identity;

use super::Books;
use crate::engine::ContainerDetail;
use crate::sim::scenario::OrderKind;
use crate::sim::world::{Act, World};

/// A deployment is waited for no longer than this.
const DEPLOYMENT: i64 = 300_000;

/// What people last ordered of a service.
#[derive(Debug, Default)]
pub(super) struct Orders {
    paused: bool,
    maintained_until: i64,
}

impl Books {
    /// Hears what a person is about to do to a container.
    /// While Iaso is stopping it itself, nobody can tell whose signal it was that it got.
    pub(in super::super) fn acted(&mut self, world: &World, container: u128, act: &Act, is_being_stopped: bool) {
        self.taken_in_hand(container);
        let runs = world.truth(container).is_some_and(|truth| truth.running && !truth.busy) && !is_being_stopped;
        match act {
            // `rm -f` kills outright; where it goes through, there is nothing left to judge.
            Act::Kill(9) | Act::Remove => drop(self.untold.insert(container)),
            Act::Stop | Act::Kill(_) if !runs => drop(self.untold.insert(container)),
            Act::Stop | Act::Start | Act::Restart => drop(self.untold.remove(&container)),
            Act::Deploy(_) => drop(self.deployed.insert(container, world.now())),
            _ => {}
        }
    }

    /// Hears what a person orders of Iaso.
    pub(in super::super) fn ordered(&mut self, identity: &Identity, at: i64, order: OrderKind) {
        let orders = self.orders.entry(identity.clone()).or_default();
        match order {
            OrderKind::Pause => orders.paused = true,
            OrderKind::Resume => orders.paused = false,
            OrderKind::Maintain { for_ms } => orders.maintained_until = at + for_ms,
            OrderKind::EndMaintenance => orders.maintained_until = 0,
            OrderKind::Acknowledge | OrderKind::Restart { .. } => {}
        }
    }

    /// A container is under maintenance until then.
    pub(in super::super) fn maintains(&mut self, id: u128, until: i64) {
        let known = self.maintained.entry(id).or_insert(until);
        *known = until.max(*known);
    }

    /// Iaso hears that a process ended. Without the stop signal before it, that looks as if it had ended by itself.
    pub(super) fn heard_to_die(&mut self, id: u128, life: i64) {
        if self.told.get(&id).is_some_and(|told| told.stop_signal != Some(life)) {
            self.untold.insert(id);
        }
    }

    /// A tool has begun to replace it, not too long ago, and Iaso has heard of it since.
    fn is_to_be_awaited(&self, world: &World, id: u128) -> bool {
        self.deployed.get(&id).is_some_and(|begun| {
            let has_heard = self.told.get(&id).is_some_and(|told| told.has_come_after(*begun));
            has_heard && world.now() - begun < DEPLOYMENT
        })
    }

    pub(super) fn against_the_operator(
        &self,
        world: &World,
        detail: &ContainerDetail,
        operation: &Operation,
        identity: &Identity,
        maintained: bool,
    ) -> Vec<String> {
        let mut objections = Vec::new();
        let id = detail.id.short();
        if let Some(truth) = world.truth(id) {
            let is_told = !self.untold.contains(&id);
            if truth.stopped_by_person && !truth.running && is_told {
                objections.push("a person had stopped it".to_owned());
            }
            if truth.replaced && !truth.running && is_told && self.is_to_be_awaited(world, id) {
                objections.push("a deployment is replacing it".to_owned());
            }
            if truth.paused {
                objections.push("it is frozen".to_owned());
            }
        }
        let orders = self.orders.get(identity);
        if orders.is_some_and(|orders| orders.paused) {
            objections.push("a person had paused it".to_owned());
        }
        let ordered = orders.is_some_and(|orders| orders.maintained_until > world.now());
        if (ordered || maintained) && !matches!(operation.cause, Cause::Credential { undo: true, .. }) {
            objections.push("it is under maintenance".to_owned());
        }
        objections
    }
}
