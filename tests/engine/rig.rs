//! An engine with ways to make patients in it and to hurt them, whichever engine it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use iaso::engine::{ContainerDetail, ContainerId, ContainerState, Engine, EventAction, EventStream};
use iaso::policy::input::RestartPolicy;

/// How long a test waits for what must happen. Only a hang takes that long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A patient to be made.
#[derive(Debug, Clone)]
pub struct Patient {
    /// It has a HEALTHCHECK (every 100 ms, two failures).
    pub healthcheck: bool,
    /// It has an address; else it has no network.
    pub bridged: bool,
    /// It does not end on SIGTERM.
    pub ignores_term: bool,
    /// The engine's own restart policy.
    pub restart: RestartPolicy,
    /// Its own stop grace.
    pub stop_grace: Option<Duration>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Default for Patient {
    fn default() -> Self {
        Self {
            healthcheck: false,
            bridged: false,
            ignores_term: false,
            restart: RestartPolicy::No,
            stop_grace: None,
            labels: BTreeMap::new(),
        }
    }
}

/// What befalls a patient, by itself or by a person's hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hurt {
    /// It ends with this code.
    Exit(u8),
    /// Its HEALTHCHECK fails from now on, in this life.
    Sick,
    /// A person stops it.
    Stop,
    /// A person kills it.
    Kill,
    /// A person pauses it.
    Pause,
    /// A person unpauses it.
    Unpause,
    /// A person renames it.
    Rename(String),
    /// A person removes it, running or not.
    Remove,
}

/// An engine that can be worked on. Everything made is gone when it is dropped.
pub trait Rig {
    /// The engine.
    fn engine(&self) -> Arc<dyn Engine>;
    /// Makes and starts a patient.
    fn make(&self, patient: Patient) -> impl Future<Output = ContainerId>;
    /// Hurts it, and returns once that is done.
    fn hurt(&self, id: &ContainerId, hurt: Hurt) -> impl Future<Output = ()>;
    /// A command that ends with 0 (`true`) or with another code (`false`) when it is run in a patient.
    fn command(&self, ends_well: bool) -> Vec<String>;
    /// A command that does not end by itself.
    fn endless_command(&self) -> Vec<String>;
    /// A command that says what it hears.
    fn echo_command(&self) -> Vec<String>;
    /// A name that no container has.
    fn free_name(&self) -> String;
}

/// The container as it is.
pub async fn inspect<R: Rig>(rig: &R, id: &ContainerId) -> ContainerDetail {
    rig.engine().inspect(id).await.expect("inspect")
}

/// Waits until the container's state is as wanted.
pub async fn until_state<R: Rig>(
    rig: &R,
    id: &ContainerId,
    wanted: impl Fn(ContainerState) -> bool,
) -> ContainerDetail {
    tokio::time::timeout(PATIENCE, async {
        loop {
            let detail = inspect(rig, id).await;
            if wanted(detail.state) {
                return detail;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the state never came")
}

/// What happens to `id`, up to and with `last`; with the engine's times.
pub async fn story(events: &mut EventStream, id: &ContainerId, last: EventAction) -> Vec<(EventAction, i64)> {
    let mut story = Vec::new();
    let read = async {
        loop {
            let event = events.next().await.expect("the event stream ended").expect("an event");
            if event.container == *id {
                story.push((event.action, event.time));
                if event.action == last {
                    return;
                }
            }
        }
    };
    if tokio::time::timeout(PATIENCE, read).await.is_err() {
        panic!("{last:?} never came; only {story:?}");
    }
    story
}

/// The story without its times.
pub fn actions(story: &[(EventAction, i64)]) -> Vec<EventAction> {
    story.iter().map(|(action, _)| *action).collect()
}
