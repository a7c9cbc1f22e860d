//! The rig over the simulated engine, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use iaso::engine::{ContainerId, Engine};
use iaso::policy::input::RestartPolicy;
use iaso::sim::engine::SimEngine;
use iaso::sim::script::{Ailment, ContainerScript, Lives, Manner, OnStop, RestartMode};
use iaso::sim::world::{Act, World};

use crate::rig::{Hurt, Patient, Rig};

/// A simulated engine of its own.
pub struct SimRig {
    engine: SimEngine,
    names: AtomicU32,
}

impl SimRig {
    fn new() -> Self {
        Self { engine: SimEngine::new(World::new(1)), names: AtomicU32::new(0) }
    }

    /// Something befalls this life of the container, from now on.
    fn afflict(&self, id: &ContainerId, ailment: impl FnOnce(Lives) -> Ailment) {
        self.engine.with_world(|world| {
            let life = world.truth(id.short()).expect("a container").lives;
            world.afflict(id.short(), ailment(Lives::First(life)));
        });
    }

    /// A person acts.
    fn person(&self, id: &ContainerId, act: &Act) {
        self.engine.with_world(|world| {
            let name = world.inspect(id.short()).expect("a container").name;
            world.person(&name, act).expect("the person's hand");
        });
    }

    /// A person ends its process.
    async fn end(&self, id: &ContainerId, act: &Act) {
        self.person(id, act);
        while self.engine.with_world(|world| world.truth(id.short())).is_some_and(|truth| truth.running) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Rig for SimRig {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }

    async fn make(&self, patient: Patient) -> ContainerId {
        let mut script = ContainerScript::new(&self.free_name()).restart(match patient.restart {
            RestartPolicy::No => RestartMode::No,
            RestartPolicy::Always => RestartMode::Always,
            RestartPolicy::OnFailure(most) => RestartMode::OnFailure(most),
        });
        if patient.healthcheck {
            script = script.healthcheck(Duration::from_millis(100), 2);
        }
        if patient.ignores_term {
            script.on_stop = OnStop::Ignores;
        }
        script.stop_grace = patient.stop_grace;
        script.labels = patient.labels;
        script.secret = "s3cret-in-environment".to_owned();
        self.engine.with_world(|world| world.add(script))
    }

    async fn hurt(&self, id: &ContainerId, hurt: Hurt) {
        match hurt {
            Hurt::Exit(code) => {
                self.afflict(id, |lives| Ailment::Exits { code: code.into(), after_ms: 0, lives });
            }
            Hurt::Sick => {
                let manner = Manner::Status(500);
                self.afflict(id, |lives| Ailment::Sick { manner, after_ms: 0, for_ms: None, lives });
            }
            Hurt::Stop => self.end(id, &Act::Stop).await,
            Hurt::Kill => self.end(id, &Act::Kill(9)).await,
            Hurt::Remove => self.end(id, &Act::Remove).await,
            Hurt::Pause => self.person(id, &Act::Pause),
            Hurt::Unpause => self.person(id, &Act::Unpause),
            Hurt::Rename(name) => self.person(id, &Act::Rename(name)),
        }
    }

    fn command(&self, ends_well: bool) -> Vec<String> {
        vec![ends_well.to_string()]
    }

    fn endless_command(&self) -> Vec<String> {
        ["sleep", "infinity"].map(str::to_owned).to_vec()
    }

    fn echo_command(&self) -> Vec<String> {
        vec!["cat".to_owned()]
    }

    fn free_name(&self) -> String {
        format!("patient-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }
}

/// Runs a test with a rig over a new simulated engine, without waiting for time to pass.
pub fn with_sim<F>(test: impl FnOnce(SimRig) -> F) -> Result<(), libtest_mimic::Failed>
where
    F: Future<Output = ()>,
{
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build()?;
    runtime.block_on(async { test(SimRig::new()).await });
    Ok(())
}
