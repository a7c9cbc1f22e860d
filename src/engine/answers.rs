//! An engine's raw answers, as text that somebody has at hand: the one place where an event's line becomes an event, and what the
//! fuzz targets ask without an engine.

use bollard::models::{ContainerInspectResponse, EventMessage};

use super::{ContainerDetail, EngineEvent, translate};

/// A container from the answer to an inspection; none when it lacks an id that is one, or a state.
///
/// # Errors
/// When it is no JSON, or not of the shape that the API promises.
pub fn container(json: &[u8]) -> Result<Option<ContainerDetail>, serde_json::Error> {
    serde_json::from_slice::<ContainerInspectResponse>(json).map(translate::detail)
}

/// A container's event from one line of the stream; none for what was not asked for.
///
/// # Errors
/// Likewise.
pub fn event(json: &[u8]) -> Result<Option<EngineEvent>, serde_json::Error> {
    serde_json::from_slice::<EventMessage>(json).map(translate::event)
}
