//! The commands that do not ask a running daemon: they are it, or do its work once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Edges, Ended, Started, own, run};
use crate::config::validated::{Config, Host, HostAddress};
use crate::config::{self, Loaded};
use crate::engine::Engine;
use crate::engine::docker::Docker;
use crate::probe::address::EngineSite;
use crate::probe::http::HttpProber;
use crate::probe::scheduler::prober;
use crate::system::clock::Clock;
use crate::system::heartbeat::Heartbeat;
use crate::system::resolver::Resolver;
use crate::system::signals::{self, Signal};
use crate::system::tasks::Tasks;
use crate::system::tls;
use crate::telemetry::logs;

/// Where the command line's socket is when nothing says otherwise.
const DEFAULT_SOCKET: &str = "/run/iaso/iaso.sock";

/// `iaso run`.
///
/// # Errors
/// In words, with the exit code that they ask for.
pub async fn daemon(config_file: Option<&Path>, observe: bool) -> Result<(), Failure> {
    let Loaded { mut config, file } = load(config_file)?;
    config.fleet.observe |= observe;
    logs::init(config.daemon.log_level, config.daemon.log_format)
        .map_err(|error| Failure::Internal(format!("the log cannot be set up: {error}")))?;
    tls::install_provider();
    let mut signals =
        signals::listen().map_err(|error| Failure::Internal(format!("signals cannot be caught: {error}")))?;
    let from =
        file.as_ref().map_or_else(|| "none: discovery by labels only".to_owned(), |file| file.display().to_string());
    tracing::info!(
        version = crate::system::build::VERSION,
        configuration = %from,
        hosts = config.hosts.len(),
        services = config.services.len(),
        observe = config.fleet.observe,
        "iaso starts"
    );
    let edges = real_edges(&config, &Tasks::new(), Clock::new())?;
    edges.heartbeat.watch().map_err(|error| Failure::Internal(format!("no thread for the heartbeat: {error}")))?;
    let asked_to_stop = async {
        loop {
            match signals.recv().await {
                Some(Signal::Stop) | None => return,
                Some(Signal::Reload) => {
                    tracing::warn!("this version does not read its configuration again; restart it to apply a change");
                }
            }
        }
    };
    match run(config, edges, asked_to_stop).await {
        Ok(Ended::InOrder) => tracing::info!("stopped"),
        Ok(Ended::Stragglers(tasks)) => tracing::warn!(?tasks, "stopped; these did not end in time"),
        Ok(Ended::SupervisorDied(why)) => return Err(Failure::Internal(format!("the supervisor died: {why}"))),
        Err(error) => return Err(Failure::Unavailable(error.to_string())),
    }
    Ok(())
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(String),
    /// Something it needs cannot be had.
    #[error("{0}")]
    Unavailable(String),
    /// The answer is "no".
    #[error("{0}")]
    No(String),
    /// A fault of Iaso's own.
    #[error("{0}")]
    Internal(String),
}

pub(super) fn load(file: Option<&Path>) -> Result<Loaded, Failure> {
    config::load(file, &|name| std::env::var(name).ok())
        .map_err(|mistakes| Failure::Configuration(mistakes.to_string()))
}

/// The socket of the daemon that is configured on this machine; the usual one where the configuration cannot be read.
pub fn socket() -> PathBuf {
    load(None).map_or_else(|_| PathBuf::from(DEFAULT_SOCKET), |loaded| loaded.config.daemon.socket)
}

/// The real world around the daemon.
fn real_edges(config: &Config, tasks: &Tasks, clock: Clock) -> Result<Edges, Failure> {
    let engines = config.hosts.iter().map(|host| {
        let docker = Docker::new(host.address.clone(), tasks.clone());
        let engine: Arc<dyn Engine> = Arc::new(docker.map_err(|error| Failure::Internal(error.to_string()))?);
        Ok((engine, site(host)))
    });
    let http = HttpProber::new(Resolver::system(clock), &[]).map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(Edges {
        engines: engines.collect::<Result<_, Failure>>()?,
        prober: prober(http),
        own: own::container(),
        listen: Some(config.api.listen),
        socket: Some(config.daemon.socket.clone()),
        data_dir: config.daemon.data_dir.clone(),
        heartbeat: Heartbeat::new(),
        listeners: Vec::new(),
        on_start: Box::new(|started: Started| {
            if let Some(address) = started.address {
                tracing::info!("health and metrics are served on http://{address}");
            }
        }),
    })
}

/// Where an engine is, as far as its address tells.
pub fn site(host: &Host) -> EngineSite {
    match &host.address {
        // A user's own engine keeps its networks in a namespace of its own.
        HostAddress::Unix(path) if path.starts_with("/run/user") => EngineSite::Apart,
        HostAddress::Unix(_) => EngineSite::Local,
        HostAddress::Tcp(address) => {
            let name = address.rsplit_once(':').map_or(address.as_str(), |(name, _)| name);
            let name = name.trim_start_matches('[').trim_end_matches(']');
            let loopback = name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
            if loopback { EngineSite::Local } else { EngineSite::Remote(name.to_owned()) }
        }
    }
}
