//! Judges of what Iaso did to the worlds, by the worlds' own truth and across Iaso's lives.
//!
//! They ask of the policy only what it could have known: each keeps account of what Iaso was told, by whatever way, and a fact
//! counts from the moment when it was. None looks at what the policy made of it.

mod alerts;
mod hosts;
mod known;
mod operator;
mod root;
mod storm;
mod vigil;

use std::collections::{BTreeMap, BTreeSet};

use iaso_policy::action::{Cause, Charge, Operation, Trouble};
use iaso_policy::id::{AttemptId, Identity, RolloutId};
use iaso_policy::record::Event;
use iaso_policy::spec::{Budget, FleetSpec, ServiceSpec, Step};

use self::alerts::{Loud, Taken};
use self::known::Told;
use self::operator::Orders;
use self::storm::CommonCause;
use crate::engine::ContainerDetail;
use crate::sim::scenario::{Needed, Scenario};
use crate::sim::world::World;

/// What was done, and what Iaso was told, kept outside of Iaso.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// When the engine was asked by itself for a change, by identity.
    calls: BTreeMap<Identity, Vec<i64>>,
    /// Charges that Iaso could only remember and that died with it: so many more calls may follow.
    lost: BTreeMap<Identity, u32>,
    /// Stopped by a person in a way that no event tells: killed outright, or stopped when it did not run, or behind another
    /// operation that does not end.
    untold: BTreeSet<u128>,
    /// When a tool last set about replacing a container.
    deployed: BTreeMap<u128, i64>,
    /// What people ordered, by identity.
    orders: BTreeMap<Identity, Orders>,
    /// Until when each container is or was under maintenance at the latest, by whoever said so, unless it was ended sooner.
    maintained: BTreeMap<u128, i64>,
    /// What each container needs by its labels, by the name it had at first.
    needs: BTreeMap<String, Vec<Needed>>,
    /// What this life of Iaso was told, by container.
    told: BTreeMap<u128, Told>,
    /// Whose check Iaso knows to have worked.
    proven: BTreeSet<Identity>,
    /// The names of those that this life of Iaso was told had failed, by host.
    failed: Vec<BTreeSet<String>>,
    /// Operations that Iaso waits for, by host.
    in_flight: Vec<BTreeSet<AttemptId>>,
    /// What all containers of a host share and is away, by host.
    causes: Vec<Option<CommonCause>>,
    common_causes: u64,
    /// What is broken for Iaso to see: in which life, and since when.
    broken: BTreeMap<u128, (u32, i64)>,
    /// Of which containers' outages people were told last.
    loud: BTreeMap<u128, Loud>,
    loud_alerts: u64,
    taken: Taken,
    /// Who was told of a credential's change, or of its undoing.
    heard: BTreeSet<(RolloutId, bool, u128)>,
    /// Rollouts and undoings that have ended.
    ended: BTreeSet<(RolloutId, bool)>,
    pub(super) problems: Vec<String>,
}

impl Books {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let needs = scenario.fleet.iter().map(|member| (member.script.name.clone(), member.needs.clone()));
        let (in_flight, failed) = (vec![BTreeSet::new(); scenario.hosts], vec![BTreeSet::new(); scenario.hosts]);
        let causes = (0..scenario.hosts).map(|_| None).collect();
        Self { needs: needs.collect(), failed, in_flight, causes, ..Self::default() }
    }

    /// A record that the store had not taken died with Iaso.
    pub(super) fn record_lost(&mut self, identity: &Identity, event: &Event) {
        match event {
            Event::Begun { charge: Charge::Stored | Charge::Memory, .. } => {
                *self.lost.entry(identity.clone()).or_default() += 1;
            }
            Event::Proven { .. } => drop(self.proven.remove(identity)),
            Event::IncidentOpened { .. } | Event::Joined { .. } | Event::Announced { .. } => self.forget_told(),
            Event::Paused | Event::MaintenanceBegan { .. } => drop(self.orders.remove(identity)),
            _ => {}
        }
    }

    /// What this life of Iaso was told, the next one is told anew.
    pub(super) fn life_ended(&mut self) {
        self.told.clear();
        self.broken.clear();
        self.taken.life_ended();
        self.in_flight.iter_mut().for_each(BTreeSet::clear);
        self.failed.iter_mut().for_each(BTreeSet::clear);
        self.causes.iter_mut().for_each(|cause| *cause = None);
    }

    /// Hears that a rollout, or its undoing, is over; it may be so once.
    pub(super) fn rolled_out(&mut self, at: i64, rollout: RolloutId, undo: bool) {
        if !self.ended.insert((rollout, undo)) {
            self.problems.push(format!("{at} ms: {rollout:?} ended twice"));
        }
    }

    /// Judges a call to the engine at the moment when it is made. A calendar says whether the service is under maintenance.
    pub(super) fn call(
        &mut self,
        world: &World,
        host: usize,
        detail: &ContainerDetail,
        operation: &Operation,
        spec: &ServiceSpec,
        maintained: bool,
    ) {
        let at = world.now();
        if let Cause::Credential { rollout, undo, .. } = operation.cause
            && !self.heard.insert((rollout, undo, detail.id.short()))
        {
            self.problems.push(format!("{at} ms: {} learns twice of one change, {rollout:?}", detail.name));
        }
        if operation.cause == Cause::Operator {
            return;
        }
        let mut objections = self.against_the_operator(world, detail, operation, &spec.identity, maintained);
        if !is_watched(detail) {
            objections.push("it is none of Iaso's".to_owned());
        }
        if operation.cause == Cause::Recovery {
            objections.extend(self.beyond_budgets(at, operation, spec));
            if operation.step != Step::Stop {
                objections.extend(self.before_its_root(world, detail));
                objections.extend(self.amid_the_storm(world, host, detail.id.short()));
                objections.extend(self.without_need(world, detail, operation));
            }
        }
        for what in objections {
            let (step, name, cause) = (operation.step, &detail.name, operation.cause.name());
            self.problems.push(format!("{at} ms: {what}: {step:?} of {name} ({cause})"));
        }
    }

    /// Law 1, across Iaso's lives.
    fn beyond_budgets(&mut self, at: i64, operation: &Operation, spec: &ServiceSpec) -> Vec<String> {
        self.calls.entry(spec.identity.clone()).or_default().push(at);
        let spent = |calls: &[i64], budget: Budget| {
            let window = i64::try_from(budget.window.as_millis()).unwrap_or(i64::MAX);
            u32::try_from(calls.iter().filter(|then| at - **then < window).count()).unwrap_or(u32::MAX)
        };
        let mut objections = Vec::new();
        let (budget, own) = (spec.recovery.restarts, &self.calls[&spec.identity]);
        if spent(own, budget) > budget.max + self.lost.get(&spec.identity).copied().unwrap_or(0) {
            objections.push(format!("its budget is exceeded for {:?}: {own:?}", operation.attempt));
        }
        let here = |identity: &Identity| identity.host() == spec.identity.host();
        let all: Vec<i64> =
            self.calls.iter().filter(|(identity, _)| here(identity)).flat_map(|(_, calls)| calls).copied().collect();
        let lost: u32 = self.lost.iter().filter(|(identity, _)| here(identity)).map(|(_, lost)| lost).sum();
        let host_budget = FleetSpec::default().host_budget;
        if spent(&all, host_budget) > host_budget.max + lost {
            objections.push("the host's budget is exceeded".to_owned());
        }
        objections
    }

    /// One death is healed once: what has not failed in its present life needs no other.
    fn without_need(&self, world: &World, detail: &ContainerDetail, operation: &Operation) -> Option<String> {
        let id = detail.id.short();
        let truth = world.truth(id)?;
        let has_failed = !truth.running
            || truth.was_unhealthy
            || self.told.get(&id).is_some_and(|told| told.failed_in == Some(truth.lives));
        let is_asked = operation.trouble == Some(Trouble::Outlived);
        (!has_failed && !is_asked).then(|| "it has not failed in this life".to_owned())
    }
}

/// Whether somebody asked for this container to be healed, and nothing forbids it.
fn is_watched(detail: &ContainerDetail) -> bool {
    is_asked_for(detail) && !is_exempt(detail)
}

/// Whether somebody asked for this container to be healed.
fn is_asked_for(detail: &ContainerDetail) -> bool {
    ["iaso.enable", "autoheal"].iter().any(|key| detail.labels.get(*key).is_some_and(|value| value == "true"))
}

/// Whether it must be left alone whoever asks.
fn is_exempt(detail: &ContainerDetail) -> bool {
    is_disabled(detail) || detail.labels.contains_key("com.docker.swarm.task.id") || detail.auto_remove
}

fn is_disabled(detail: &ContainerDetail) -> bool {
    let word = detail.labels.get("iaso.enable").map(|value| value.to_ascii_lowercase());
    word.is_some_and(|word| matches!(word.as_str(), "false" | "0" | "no" | "off"))
}
