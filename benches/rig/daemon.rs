//! The two that heal: `iaso run` as a process, and the least that restarts what falls ill.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::process::{Child, Command};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt;
use iaso::system::tasks::Tasks;
use tempfile::TempDir;

use super::proxy::{Passed, Proxy};
use super::{PREFIX, PROGRAM, Result, client};

/// The daemon, behind a proxy. Killed when it is dropped.
pub struct Daemon {
    /// What it asks of the engine, and what it is told.
    pub proxy: Proxy,
    child: Child,
    _dir: TempDir,
}

impl Daemon {
    /// The label of the containers that it cares for: it must not touch anybody else's.
    pub fn label() -> String {
        format!("{}-{}", PREFIX, std::process::id())
    }

    /// Starts it with the shipped defaults but for the budgets, which many runs within minutes would use up, for storms, which
    /// many outages at once would be, and for the quiet start, which a benchmark of its probes would wait for.
    pub async fn start(tasks: &Tasks) -> Result<Self> {
        let dir = TempDir::with_prefix_in(PREFIX, env!("CARGO_TARGET_TMPDIR"))?;
        let at = |name: &str| dir.path().join(name);
        let proxy = Proxy::listen(at("engine.sock"), tasks)?;
        let config = format!(
            "daemon = {{ data_dir = {:?}, socket = {:?} }}\n\
             hosts.local.url = \"unix://{}\"\n\
             discovery.labels = [\"{}=iaso\"]\n\
             recovery = {{ host_budget = {{ max = 100000, window = \"10m\" }}, quiet_start = \"0s\", \
             mass_failure = {{ ratio = 1.0 }} }}\n\
             api.listen = \"127.0.0.1:0\"\n",
            at("data"),
            at("iaso.sock"),
            proxy.socket().display(),
            Self::label()
        );
        std::fs::create_dir(at("data"))?;
        std::fs::write(at("iaso.toml"), config)?;
        let mut command = Command::new(PROGRAM);
        command.args(["run", "--config"]).arg(at("iaso.toml"));
        let log = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.log", Self::label()));
        let child = command.stderr(File::create(log)?).env_clear().spawn()?;
        let daemon = Self { proxy, child, _dir: dir };
        daemon.proxy.until(&Passed::Answered("GET /containers/json".to_owned())).await?;
        Ok(daemon)
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has looked at a container that was just started.
    pub async fn until_it_knows(&self, id: &str) -> Result<()> {
        self.proxy.until(&Passed::Answered(format!("GET /containers/{id}/json"))).await.map(drop)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Restarts each container that carries the daemon's label with the value `bare` when it dies or turns unhealthy, once.
/// Returns the proxy that it works through.
pub async fn bare(dir: &TempDir, tasks: &Tasks) -> Result<Proxy> {
    let proxy = Proxy::listen(dir.path().join("engine.sock"), tasks)?;
    let engine = client(proxy.socket())?;
    let filters = HashMap::from([
        ("label".to_owned(), vec![format!("{}=bare", Daemon::label())]),
        ("event".to_owned(), vec!["die".to_owned(), "health_status".to_owned()]),
    ]);
    let options = EventsOptions { filters: Some(filters), ..Default::default() };
    let spawner = tasks.clone();
    tasks.spawn("bare", async move {
        let mut restarted = HashSet::new();
        let mut events = engine.events(Some(options));
        while let Some(Ok(event)) = events.next().await {
            if let Some(id) = ill(event).filter(|id| restarted.insert(id.clone())) {
                let engine = engine.clone();
                spawner.spawn("restart", async move { engine.restart_container(&id, None).await });
            }
        }
    });
    proxy.until(&Passed::Asked("GET /events".to_owned())).await?;
    Ok(proxy)
}

fn ill(event: EventMessage) -> Option<String> {
    matches!(event.action?.as_str(), "die" | "health_status: unhealthy").then_some(event.actor?.id?)
}
