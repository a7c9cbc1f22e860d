//! The whole daemon over a simulated engine.

use std::path::PathBuf;
use std::sync::Arc;

use iaso::app::probers::real_prober;
use iaso::app::{self, Edges, Started};
use iaso::config::validated::Config;
use iaso::in_use::CredentialValues;
use iaso::probe::address::EngineSite;
use iaso::probe::heartbeat::Heartbeats;
use iaso::probe::scheduler::Prober;
use iaso::sim::engine::SimEngine;
use iaso::sim::world::World;
use iaso::system::clock::Clock;
use iaso::system::heartbeat::Heartbeat;
use iaso::system::meters::Meters;
use iaso::system::resolver::Resolver;
use iaso::system::systemd::Manager;
use iaso::system::tasks::Tasks;

use super::Result;

/// Runs it, with its real probes, until its process ends.
pub async fn daemon(config: Config, world: World, data_dir: PathBuf) -> Result<()> {
    let clock = Clock::new();
    let prober = real_prober(Vec::new(), None, None, Resolver::system(clock), clock, &Tasks::new());
    let edges = edges(SimEngine::new(world), prober, data_dir, drop);
    app::run(config, edges, std::future::pending()).await?;
    Ok(())
}

/// Its edges over one simulated engine; nobody listens to it, and it listens to nobody.
pub fn edges(
    engine: SimEngine,
    prober: Prober,
    data_dir: PathBuf,
    on_start: impl FnOnce(Started) + Send + 'static,
) -> Edges {
    let clock = Clock::new();
    Edges {
        engines: vec![(Arc::new(engine), EngineSite::Local)],
        prober,
        heartbeats: Heartbeats::new(clock),
        in_use: CredentialValues::default(),
        own: None,
        listen: None,
        socket: None,
        data_dir,
        heartbeat: Heartbeat::new(),
        manager: Manager::none(),
        reloads: None,
        meters: Meters::new(clock),
        listeners: Vec::new(),
        on_start: Box::new(on_start),
    }
}
