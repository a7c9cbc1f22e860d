//! The real probes, and the engines that some of them ask.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iaso_policy::id::HostId;
use iaso_policy::input::EngineHealth;

use crate::engine::{ContainerDetail, ContainerId, ContainerState, Engine, EngineError, ExecOutput};
use crate::in_use::CredentialValues;
use crate::probe::heartbeat::Heartbeats;
use crate::probe::inside::{Containers, Ran, Seen, Unanswered};
use crate::probe::prober::{Probers, prober};
use crate::probe::scheduler::Prober;
use crate::system::clock::Clock;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;

/// Carries out checks of every type. `engines` are those of the configuration's hosts, in its order; without `heartbeats`
/// nobody's pings are known, without `values` no credential's value.
pub fn real_prober(
    engines: Vec<Arc<dyn Engine>>,
    heartbeats: Option<Heartbeats>,
    values: Option<CredentialValues>,
    resolver: Resolver,
    clock: Clock,
    tasks: &Tasks,
) -> Prober {
    let engines = Arc::new(Engines(engines));
    prober(Probers::new(resolver, clock, engines, heartbeats, values, tasks.clone()))
}

/// One engine for each host of the configuration, in its order.
struct Engines(Vec<Arc<dyn Engine>>);

impl Engines {
    fn find(&self, host: HostId, container: &str) -> Result<(&dyn Engine, ContainerId), Unanswered> {
        let engine = self.0.get(usize::from(host.0)).map(|engine| &**engine);
        let both = engine.zip(ContainerId::new(container));
        both.ok_or_else(|| Unanswered::ByEngine("there is no such host".to_owned()))
    }
}

impl Containers for Engines {
    fn exec<'a>(
        &'a self,
        host: HostId,
        container: &'a str,
        argv: &'a [String],
        bound: Duration,
    ) -> BoxFuture<'a, Result<Ran, Unanswered>> {
        async move {
            let (engine, id) = self.find(host, container)?;
            let ran = engine.exec(&id, argv, bound).await;
            let ExecOutput { code, output } = ran.map_err(|error| unanswered(&error))?;
            Ok(Ran { code, output })
        }
        .boxed()
    }

    fn look<'a>(&'a self, host: HostId, container: &'a str) -> BoxFuture<'a, Result<Seen, Unanswered>> {
        async move {
            let (engine, id) = self.find(host, container)?;
            engine.inspect(&id).await.map(|detail| seen(&detail)).map_err(|error| unanswered(&error))
        }
        .boxed()
    }
}

fn seen(detail: &ContainerDetail) -> Seen {
    let (state, healthy) = match detail.state {
        ContainerState::Running(EngineHealth::Healthy) => ("running", Some(true)),
        ContainerState::Running(EngineHealth::Unhealthy) => ("running", Some(false)),
        ContainerState::Running(EngineHealth::None | EngineHealth::Starting) => ("running", None),
        ContainerState::Created => ("created", None),
        ContainerState::Paused => ("paused", None),
        ContainerState::Restarting => ("restarting", None),
        ContainerState::Exited(_) => ("exited", None),
        ContainerState::Removing => ("removing", None),
        ContainerState::Dead => ("dead", None),
    };
    Seen { state, healthy, oom_killed: detail.oom_killed }
}

fn unanswered(error: &EngineError) -> Unanswered {
    let why = error.to_string();
    match error {
        EngineError::NotFound
        | EngineError::Conflict(_)
        | EngineError::ContainerStopped
        | EngineError::ContainerPaused
        | EngineError::CommandGoesOn(_)
        | EngineError::CannotExecute { .. } => Unanswered::ByContainer(why),
        EngineError::NotRunning(_)
        | EngineError::Unreachable(_)
        | EngineError::Broken(_)
        | EngineError::TimedOut(_)
        | EngineError::NotPermitted(_)
        | EngineError::Failed { .. }
        | EngineError::Unsupported(_)
        | EngineError::Malformed(_) => Unanswered::ByEngine(why),
    }
}
