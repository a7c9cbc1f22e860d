//! Commands inside the containers of services, for credentials: by a service's name, as the supervisor last saw it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::config::secret::Secret;
use crate::credentials::rotation::{NotRun, Services};
use crate::engine::{ContainerId, Engine, EngineError};
use crate::snapshot::Snapshot;

/// The engines by their hosts' names, and which container is a service's.
pub(super) struct ServiceContainers {
    pub(super) engines: Vec<(Arc<str>, Arc<dyn Engine>)>,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl ServiceContainers {
    fn find(&self, service: &str) -> Option<(&dyn Engine, ContainerId)> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let known = snapshot.services.iter().find(|known| &*known.name == service)?;
        let id = ContainerId::new(&known.container.as_ref()?.id)?;
        let (_, engine) = self.engines.iter().find(|(host, _)| *host == known.host)?;
        Some((&**engine, id))
    }
}

impl Services for ServiceContainers {
    fn exec<'a>(
        &'a self,
        service: &'a str,
        command: &'a [String],
        input: &'a Secret,
        bound: Duration,
    ) -> BoxFuture<'a, Result<i64, NotRun>> {
        async move {
            let Some((engine, container)) = self.find(service) else {
                return Err(NotRun::NotBegun(format!("{service} has no container")));
            };
            // What it printed may hold the value: it is dropped.
            let ran = engine.exec_with_input(&container, command, input, bound).await;
            ran.map(|output| output.code).map_err(|error| not_run(&error))
        }
        .boxed()
    }
}

/// Only what surely keeps a program from running counts as not begun: the engine may fail after it has started one.
fn not_run(error: &EngineError) -> NotRun {
    let why = error.to_string();
    match error {
        EngineError::Conflict(_)
        | EngineError::ContainerStopped
        | EngineError::ContainerPaused
        | EngineError::CannotExecute { .. }
        | EngineError::NotPermitted(_)
        | EngineError::TimedOut(_)
        | EngineError::Unsupported(_) => NotRun::NotBegun(why),
        EngineError::NotFound
        | EngineError::NotRunning(_)
        | EngineError::Unreachable(_)
        | EngineError::CommandGoesOn(_)
        | EngineError::Broken(_)
        | EngineError::Failed { .. }
        | EngineError::Malformed(_) => NotRun::Lost(why),
    }
}
