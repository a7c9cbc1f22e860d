//! From an engine's words to the policy's.

use std::time::Duration;

use iaso_policy::action::Operation;
use iaso_policy::id::{HostId, Identity, Instance};
use iaso_policy::input::{Container, Exempt, Outcome, State, Witness};
use iaso_policy::spec::{CheckSpec, OnFailure, ServiceSpec, Step, Threshold};

use crate::engine::{Change, Changed, ContainerDetail, ContainerState, EngineError};
use crate::sim::scenario::{Healer, Member};

pub(super) const HOST: HostId = HostId(0);

/// The identity of a container by its labels, else by its name.
pub(super) fn identity(detail: &ContainerDetail) -> Option<Identity> {
    let label = |key: &str| detail.labels.get(key).map(String::as_str);
    match (label("com.docker.compose.project"), label("com.docker.compose.service")) {
        (Some(project), Some(service)) => {
            let number = label("com.docker.compose.container-number").and_then(|n| n.parse().ok()).unwrap_or(1);
            Identity::compose("local", project, service, number).ok()
        }
        _ => Identity::container("local", &detail.name).ok(),
    }
}

/// Whether somebody asked for this container to be healed, and then who.
pub(super) fn healer(detail: &ContainerDetail) -> Healer {
    let says = |key: &str| detail.labels.get(key).is_some_and(|value| value == "true");
    match (says("iaso.enable"), says("autoheal")) {
        (true, _) => Healer::Iaso,
        (false, true) => Healer::Autoheal,
        (false, false) => Healer::Nobody,
    }
}

pub(super) fn spec(identity: Identity, healer: Healer, member: &Member) -> ServiceSpec {
    let mut spec = ServiceSpec::new(identity, HOST);
    spec.heal_exits = healer == Healer::Iaso;
    if !member.script.cures.is_empty() {
        spec.recovery.ladder = vec![Step::Signal(1), Step::Restart];
    }
    spec.checks.extend(member.check.map(|check| CheckSpec {
        fingerprint: 1,
        on_failure: if check.heals { OnFailure::Heal } else { OnFailure::Alert },
        failure: Threshold::in_a_row(check.failures),
        success_threshold: 1,
        interval: check.interval,
    }));
    spec
}

pub(super) fn instance(detail: &ContainerDetail) -> Instance {
    Instance { container: detail.id.short(), started: detail.started }
}

pub(super) fn container(detail: &ContainerDetail) -> Container {
    let disabled = detail
        .labels
        .get("iaso.enable")
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "false" | "0" | "no" | "off"));
    let exempt = match () {
        () if disabled => Some(Exempt::Disabled),
        () if detail.labels.contains_key("com.docker.swarm.task.id") => Some(Exempt::Orchestrated),
        () if detail.auto_remove => Some(Exempt::AutoRemove),
        () => None,
    };
    Container {
        instance: instance(detail),
        restart: detail.restart,
        exempt,
        one_off: detail.labels.get("com.docker.compose.oneoff").is_some_and(|value| value == "True"),
        healthcheck: detail.healthcheck.map(|check| check.start_period + check.interval * check.retries),
        stop_grace: detail.stop_grace,
    }
}

pub(super) fn state(detail: &ContainerDetail) -> State {
    match detail.state {
        ContainerState::Created => State::Created,
        ContainerState::Running(health) => State::Running(health),
        ContainerState::Paused => State::Paused,
        ContainerState::Restarting => State::Restarting,
        ContainerState::Exited(code) => State::Exited { code, witness: Witness::Look },
        ContainerState::Removing | ContainerState::Dead => State::Removing,
    }
}

pub(super) fn change(step: Step) -> Change {
    match step {
        Step::Start => Change::Start,
        Step::Restart => Change::Restart,
        Step::Signal(signal) => Change::Signal(signal),
        Step::Exec(_) => Change::Exec(vec!["cure".to_owned()]),
        Step::Stop => Change::Stop,
    }
}

pub(super) fn outcome(result: &Result<Changed, EngineError>) -> Outcome {
    match result {
        Ok(Changed::Done | Changed::Already) => Outcome::Done,
        Ok(Changed::CommandFailed(_)) => Outcome::CommandFailed,
        Err(EngineError::Unreachable(_) | EngineError::NotRunning(_) | EngineError::Broken(_)) => Outcome::Unreachable,
        Err(EngineError::TimedOut(_)) => Outcome::TimedOut,
        Err(EngineError::NotFound) => Outcome::NotFound,
        Err(EngineError::NotPermitted(_)) => Outcome::NotPermitted,
        Err(
            EngineError::Conflict(_)
            | EngineError::Failed { .. }
            | EngineError::Unsupported(_)
            | EngineError::Malformed(_),
        ) => Outcome::Failed,
    }
}

/// How long a call may take: the stop grace and 5 s.
pub(super) fn bound(operation: &Operation) -> Duration {
    operation.stop_grace.unwrap_or(Duration::from_secs(10)) + Duration::from_secs(5)
}
