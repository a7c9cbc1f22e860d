//! Judges of what Iaso did to the world, by the world's own truth and across Iaso's lives.

use std::collections::{BTreeMap, BTreeSet};

use iaso_policy::action::{Cause, Operation};
use iaso_policy::id::{Identity, RolloutId};
use iaso_policy::spec::{Budget, FleetSpec, ServiceSpec};

use crate::engine::ContainerDetail;
use crate::sim::world::{Act, World};

/// What was done, kept outside of Iaso.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// When the engine was asked by itself for a change, by identity.
    calls: BTreeMap<Identity, Vec<i64>>,
    /// Charges that Iaso could only remember and that died with it: so many more calls may follow.
    lost: BTreeMap<Identity, u32>,
    /// Stopped by a person in a way that no event tells: killed outright, or stopped when it did not run, or behind another
    /// operation that does not end.
    untold: BTreeSet<u128>,
    /// Who was told of a credential's change, or of its undoing.
    told: BTreeSet<(RolloutId, bool, u128)>,
    /// Rollouts and undoings that have ended.
    ended: BTreeSet<(RolloutId, bool)>,
    pub(super) problems: Vec<String>,
}

impl Books {
    pub(super) fn charge_lost(&mut self, identity: &Identity) {
        *self.lost.entry(identity.clone()).or_default() += 1;
    }

    /// Hears that a rollout, or its undoing, is over; it may be so once.
    pub(super) fn rolled_out(&mut self, at: i64, rollout: RolloutId, undo: bool) {
        if !self.ended.insert((rollout, undo)) {
            self.problems.push(format!("{at} ms: {rollout:?} ended twice"));
        }
    }

    /// Hears what a person is about to do to a container.
    pub(super) fn acted(&mut self, container: u128, act: &Act, runs: bool) {
        match act {
            Act::Kill(9) => drop(self.untold.insert(container)),
            Act::Stop | Act::Kill(_) if !runs => drop(self.untold.insert(container)),
            Act::Stop | Act::Start | Act::Restart => drop(self.untold.remove(&container)),
            _ => {}
        }
    }

    /// Judges a call to the engine at the moment when it is made.
    pub(super) fn call(&mut self, world: &World, detail: &ContainerDetail, operation: &Operation, spec: &ServiceSpec) {
        let at = world.now();
        if let Cause::Credential { rollout, undo, .. } = operation.cause
            && !self.told.insert((rollout, undo, detail.id.short()))
        {
            self.problems.push(format!("{at} ms: {} learns twice of one change, {rollout:?}", detail.name));
        }
        if operation.cause == Cause::Operator {
            return;
        }
        let mut object = |what: &str| {
            self.problems.push(format!(
                "{at} ms: {what}: {:?} of {} ({})",
                operation.step,
                detail.name,
                operation.cause.name()
            ));
        };
        if let Some(truth) = world.truth(detail.id.short()) {
            if truth.stopped_by_person && !truth.running && !self.untold.contains(&detail.id.short()) {
                object("a person had stopped it");
            }
            if truth.paused {
                object("it is frozen");
            }
        }
        if is_exempt(detail) || !is_asked_for(detail) {
            object("it is none of Iaso's");
        }
        if operation.cause != Cause::Recovery {
            return;
        }
        self.calls.entry(spec.identity.clone()).or_default().push(at);
        let spent = |calls: &[i64], budget: Budget| {
            let window = i64::try_from(budget.window.as_millis()).unwrap_or(i64::MAX);
            u32::try_from(calls.iter().filter(|then| at - **then < window).count()).unwrap_or(u32::MAX)
        };
        let budget = spec.recovery.restarts;
        if spent(&self.calls[&spec.identity], budget) > budget.max + self.lost.get(&spec.identity).copied().unwrap_or(0)
        {
            self.problems
                .push(format!("{at} ms: the budget of {} is exceeded: {:?}", detail.name, self.calls[&spec.identity]));
        }
        let all: Vec<i64> = self.calls.values().flatten().copied().collect();
        let host_budget = FleetSpec::default().host_budget;
        if spent(&all, host_budget) > host_budget.max + self.lost.values().sum::<u32>() {
            self.problems.push(format!("{at} ms: the host's budget is exceeded"));
        }
    }
}

/// Whether somebody asked for this container to be healed.
fn is_asked_for(detail: &ContainerDetail) -> bool {
    ["iaso.enable", "autoheal"].iter().any(|key| detail.labels.get(*key).is_some_and(|value| value == "true"))
}

/// Whether it must be left alone whoever asks.
fn is_exempt(detail: &ContainerDetail) -> bool {
    let disabled = detail
        .labels
        .get("iaso.enable")
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "false" | "0" | "no" | "off"));
    disabled || detail.labels.contains_key("com.docker.swarm.task.id") || detail.auto_remove
}
