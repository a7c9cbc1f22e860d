//! What stands behind a decision, put together for those who keep it as evidence.

use iaso_policy::id::AttemptId;
use iaso_policy::record::{Event, Record};

use super::Supervisor;
use crate::engine::ContainerState;
use crate::journal::{CheckScene, ContainerScene, Scene};

/// What the engine said to an operation that has just failed.
pub(super) struct Said {
    pub(super) attempt: AttemptId,
    pub(super) detail: String,
}

impl Supervisor {
    /// The scene of a record, where it is worth one.
    pub(super) fn scene(&self, record: &Record) -> Option<Scene> {
        if record.incident.is_none() || !Scene::is_worth_one(&record.event) {
            return None;
        }
        let watched = self.fleet.service(record.service)?;
        let view = self.policy.view(record.service);
        let views = view.map(|view| view.checks).unwrap_or_default();
        let checks = watched.service.checks.iter().zip(&watched.subject.checks).zip(views);
        let checks = checks.map(|((check, name), view)| CheckScene {
            name: name.clone(),
            kind: check.probe.kind(),
            passing: view.passing,
            failures: view.failures,
            output: self.picture.evidence(record.service, name),
        });
        let container = self.fleet.container_of(watched).map(|known| ContainerScene {
            id: known.detail.id.as_str().to_owned(),
            name: known.detail.name.clone(),
            image: known.detail.image.clone(),
            state: word(known.detail.state),
            exit_code: match known.detail.state {
                ContainerState::Exited(code) => Some(code),
                _ => None,
            },
            oom_killed: known.detail.oom_killed,
            started: known.instance().started,
        });
        let engine_error = self.said.as_ref().filter(|said| is_of(&record.event, said.attempt));
        Some(Scene {
            checks: checks.collect(),
            container,
            engine_error: engine_error.map(|said| said.detail.clone()),
            log_lines: watched.service.incident_log_lines,
        })
    }
}

/// Whether an event is about the end of this attempt.
fn is_of(event: &Event, wanted: AttemptId) -> bool {
    matches!(event, Event::Finished { attempt, .. } | Event::Ended { attempt, .. } if *attempt == wanted)
}

/// The engine's word for a state.
const fn word(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running(_) => "running",
        ContainerState::Paused => "paused",
        ContainerState::Restarting => "restarting",
        ContainerState::Exited(_) => "exited",
        ContainerState::Removing => "removing",
        ContainerState::Dead => "dead",
    }
}
