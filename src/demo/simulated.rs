//! The simulated stage, for machines without an engine: the same cast in the simulator's world, in real time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::cast::{CAST, EXIT_CODE, Illness};
use super::rules::HEALTHCHECK_INTERVAL;
use super::run::{LABEL, RunId};
use super::stage::{PORT, asks};
use crate::engine::Engine;
use crate::probe::address::Way;
use crate::probe::report::{Report, Step};
use crate::probe::scheduler::Prober;
use crate::sim::engine::SimEngine;
use crate::sim::script::{Ailment, ContainerScript, Lives, Manner, ProbeResult};
use crate::sim::world::{Act, World};
use crate::system::clock::{random_u64, stopwatch};

/// The simulated engine with its twelve containers.
#[derive(Debug)]
pub(super) struct SimStage {
    engine: SimEngine,
}

impl SimStage {
    pub(super) fn new(run: &RunId) -> Self {
        let mut world = World::new(random_u64());
        for member in &CAST {
            let mut script = ContainerScript::new(member.name).label(LABEL, &run.to_string());
            for (key, value) in asks(member) {
                script = script.label(key, value);
            }
            if member.healthcheck {
                script = script.healthcheck(HEALTHCHECK_INTERVAL, 3);
            }
            if member.illness == Some(Illness::CrashLoop) {
                let again = Ailment::Exits { code: i32::from(EXIT_CODE), after_ms: 500, lives: Lives::After(1) };
                script = script.ailment(again);
            }
            script.port = PORT;
            world.add(script);
        }
        Self { engine: SimEngine::new(world) }
    }

    pub(super) fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }

    /// Carries out checks in the simulated world.
    pub(super) fn prober(&self) -> Prober {
        let engine = self.engine.clone();
        Arc::new(move |planned| {
            let engine = engine.clone();
            async move {
                match &planned.way {
                    Ok(Way::Port(endpoint)) => {
                        probe(&engine, planned.instance.container, endpoint.port, planned.timeout).await
                    }
                    Ok(_) => {
                        Report::failed("probe", "the simulated engine knows checks of a port only", Duration::ZERO)
                    }
                    Err(none) => Report::failed("address", &none.to_string(), Duration::ZERO),
                }
            }
            .boxed()
        })
    }

    /// Lets a patient fall ill.
    pub(super) fn fall(&self, member: &str, illness: Illness) -> Result<(), String> {
        let (after_ms, lives) = (0, Lives::First(1));
        let sick = |manner| Ailment::Sick { manner, after_ms, for_ms: None, lives };
        let ailment = match illness {
            Illness::Answers500 | Illness::Unhealthy => sick(Manner::Status(500)),
            Illness::Hangs => sick(Manner::Hangs),
            Illness::Exits | Illness::CrashLoop => Ailment::Exits { code: i32::from(EXIT_CODE), after_ms, lives },
            Illness::Stopped => {
                let stopped = self.engine.with_world(|world| world.person(member, &Act::Stop));
                return stopped.map_err(|error| error.to_string());
            }
        };
        self.engine.with_world(|world| match world.find(member) {
            Some(id) => {
                world.afflict(id, ailment);
                Ok(())
            }
            None => Err("there is no such container".to_owned()),
        })
    }
}

async fn probe(engine: &SimEngine, container: u128, port: u16, limit: Duration) -> Report {
    let spent = stopwatch();
    match engine.with_world(|world| world.probe(container, port)) {
        ProbeResult::Answered { status, after_ms, .. } => {
            let wait = Duration::from_millis(u64::try_from(after_ms).unwrap_or_default());
            tokio::time::sleep(wait.min(limit)).await;
            let ok = (200..300).contains(&status) && wait <= limit;
            let detail = if ok { format!("status {status}") } else { format!("status {status}, expected 200-299") };
            Report::of(vec![Step { name: "status", took: spent(), detail, ok }], spent())
        }
        ProbeResult::Refused => Report::failed("connect", "connection refused", spent()),
        ProbeResult::Hung => {
            tokio::time::sleep(limit).await;
            Report::failed("request", &format!("no answer within {} s", limit.as_secs()), spent())
        }
    }
}
