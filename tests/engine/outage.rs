//! A real engine that goes down, freezes and dies under the watch.

use std::sync::Arc;

use iaso::engine::{Change, Changed, ContainerState, Engine, EventAction};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::docker_rig::{DockerRig, block_on};
use crate::faults::Watched;
use crate::own_dockerd::OwnDockerd;
use crate::rig::{Hurt, Patient, Rig, inspect};
use crate::support::{Need, test};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("outage::", stringify!($name)), &[Need::OwnEngine], || { block_on($name()); Ok(()) })),+]
        };
    }
    suite![
        an_engine_that_stops_and_starts_is_told_as_started_and_watched_again,
        an_engine_that_freezes_is_down_and_not_told_as_started,
        an_engine_that_is_killed_is_told_as_started,
    ]
}

async fn an_engine_that_stops_and_starts_is_told_as_started_and_watched_again() {
    let mut dockerd = OwnDockerd::start().await;
    let rig = DockerRig::own(&dockerd.socket()).await;
    let id = rig.make(Patient::default()).await;
    let mut watched = Watched::over(rig.engine());
    assert_eq!(watched.until_up().await, (false, 1));

    dockerd.stop().await;
    watched.until_down().await;
    dockerd.start_again().await;
    assert_eq!(watched.until_up().await, (true, 1));

    // Its shutdown stopped the container; nobody else did.
    assert!(matches!(inspect(&rig, &id).await.state, ContainerState::Exited(_)));
    assert_eq!(rig.docker.change(&id, &Change::Start, None).await, Ok(Changed::Done));
    watched.until_event(&id, EventAction::Start).await;
    rig.hurt(&id, Hurt::Kill).await;
    watched.until_event(&id, EventAction::Die(137)).await;
}

async fn an_engine_that_freezes_is_down_and_not_told_as_started() {
    let dockerd = OwnDockerd::start().await;
    let rig = DockerRig::own(&dockerd.socket()).await;
    let mut watched = Watched::over(Arc::clone(&rig.docker) as Arc<dyn Engine>);
    assert_eq!(watched.until_up().await, (false, 0));
    dockerd.send(Signal::STOP);
    let why = watched.until_down().await;
    assert!(why.contains("did not answer"), "{why}");
    dockerd.send(Signal::CONT);
    assert_eq!(watched.until_up().await, (false, 0));
}

async fn an_engine_that_is_killed_is_told_as_started() {
    let mut dockerd = OwnDockerd::start().await;
    let rig = DockerRig::own(&dockerd.socket()).await;
    let mut watched = Watched::over(rig.engine());
    assert_eq!(watched.until_up().await, (false, 0));
    dockerd.send(Signal::KILL);
    let why = watched.until_down().await;
    dockerd.stopped().await;
    // One that the disk keeps from dying hangs first, and is seen to be gone only then.
    if why.contains("did not answer") {
        watched.until_down().await;
    }
    dockerd.start_again().await;
    assert_eq!(watched.until_up().await, (true, 0));
}
