//! The commands that do not ask a running daemon: they are it, or do its work once.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::probers::real_prober;
use super::reload::{Load, Reloads};
use super::{Edges, Ended, StartError, Started, own, run};
use crate::config::validated::{Config, Host, HostAddress, Inherited};
use crate::config::{self, Environment, Loaded, Mistake, Mistakes};
use crate::engine::docker::Docker;
use crate::engine::{ContainerDetail, Engine, EngineError};
use crate::in_use::CredentialValues;
use crate::probe::address::EngineSite;
use crate::probe::heartbeat::Heartbeats;
use crate::system::clock::Clock;
use crate::system::heartbeat::Heartbeat;
use crate::system::meters::Meters;
use crate::system::resolver::Resolver;
use crate::system::signals::{self, Signal};
use crate::system::systemd::Manager;
use crate::system::tasks::Tasks;
use crate::system::tls;
use crate::telemetry::logs;

/// Where the command line's socket is when nothing says otherwise.
const DEFAULT_SOCKET: &str = "/run/iaso/iaso.sock";

/// How long an engine may take for a sign of life.
const PING_BOUND: Duration = Duration::from_secs(10);
/// How long it may take to tell its containers.
const LIST_BOUND: Duration = Duration::from_secs(30);

/// Where health and metrics are served when nothing says otherwise.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9797);

/// `iaso run`.
///
/// # Errors
/// In words, with the exit code that they ask for.
pub async fn daemon(config_file: Option<&Path>, observe: bool) -> Result<(), Failure> {
    let Loaded { mut config, files, warnings } = load(config_file)?;
    config.fleet.observe |= observe;
    let clock = Clock::new();
    let meters = Meters::new(clock);
    let logs = logs::init(&config.daemon.log, &meters)
        .map_err(|error| Failure::Internal(format!("the log cannot be set up: {error}")))?;
    tls::install_provider();
    let mut signals =
        signals::listen().map_err(|error| Failure::Internal(format!("signals cannot be caught: {error}")))?;
    let from = match &files[..] {
        [] => "none: discovery by labels only".to_owned(),
        files => files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
    };
    tracing::info!(
        version = crate::system::build::VERSION,
        configuration = %from,
        hosts = config.hosts.len(),
        services = config.services.len(),
        observe = config.fleet.observe,
        "iaso starts"
    );
    warn_of(&warnings);
    tell_inherited(&config.inherited);
    let mut edges = real_edges(&config, &Tasks::new(), clock, meters)?;
    let (ask_to_reload, asked) = mpsc::unbounded_channel();
    let set_level = Box::new(logs.level_setter());
    edges.reloads = Some(Reloads { asked, load: reload(config_file, observe), set_level });
    edges
        .heartbeat
        .watch(edges.manager.clone())
        .map_err(|error| Failure::Internal(format!("no thread for the heartbeat: {error}")))?;
    let asked_to_stop = async {
        loop {
            match signals.recv().await {
                Some(Signal::Stop) | None => return,
                // Nobody listens any more only when the daemon has ended.
                Some(Signal::Reload) => drop(ask_to_reload.send(())),
            }
        }
    };
    match run(config, edges, asked_to_stop).await {
        Ok(Ended::InOrder) => tracing::info!("stopped"),
        Ok(Ended::Stragglers(tasks)) => tracing::warn!(?tasks, "stopped; these did not end in time"),
        Ok(Ended::SupervisorDied(why)) => return Err(Failure::Internal(format!("the supervisor died: {why}"))),
        Err(error) => {
            let why = error.to_string();
            return Err(match error {
                StartError::Listen { error, .. } if error.kind() == ErrorKind::PermissionDenied => {
                    Failure::NotPermitted(why)
                }
                _ => Failure::Unavailable(why),
            });
        }
    }
    Ok(())
}

/// Says which variables of autoheal's environment were read, and what each means here.
fn tell_inherited(inherited: &[Inherited]) {
    if inherited.is_empty() {
        return;
    }
    let said: Vec<String> = inherited.iter().map(|known| format!("{}: {}", known.variable, known.meaning)).collect();
    tracing::info!("autoheal's environment is honoured. {}", said.join("; "));
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong.
    #[error("the configuration cannot be used\n\n{0}")]
    Configuration(String),
    /// Something it needs cannot be had.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody else may, this user may not.
    #[error("{0}")]
    NotPermitted(String),
    /// The answer is "no".
    #[error("{0}")]
    No(String),
    /// A fault of Iaso's own.
    #[error("{0}")]
    Internal(String),
}

pub(super) fn load(file: Option<&Path>) -> Result<Loaded, Failure> {
    config::load(file, &environment()).map_err(|mistakes| Failure::Configuration(mistakes.to_string()))
}

/// The process's own environment. What is no UTF-8 is kept as far as it can be read, so that a mistake can name it.
pub fn environment() -> Environment {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// Reads the configuration as it was read at the start.
fn reload(config_file: Option<&Path>, observe: bool) -> Load {
    let file = config_file.map(Path::to_owned);
    Arc::new(move || {
        let loaded = config::load(file.as_deref(), &environment());
        let Loaded { mut config, warnings, .. } =
            loaded.map_err(|Mistakes(all)| all.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        warn_of(&warnings);
        config.fleet.observe |= observe;
        Ok(config)
    })
}

fn warn_of(warnings: &[Mistake]) {
    for warning in warnings {
        tracing::warn!("configuration: {warning}");
    }
}

/// The socket of the daemon that is configured on this machine; the usual one where the configuration cannot be read.
pub fn socket() -> PathBuf {
    load(None).map_or_else(|_| PathBuf::from(DEFAULT_SOCKET), |loaded| loaded.config.daemon.socket)
}

/// The address at which that daemon serves health and metrics, seen from this machine.
pub fn address() -> SocketAddr {
    let mut address = load(None).map_or(DEFAULT_LISTEN, |loaded| loaded.config.api.listen);
    // One that listens everywhere is asked here.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Every container of a host's engine, asked once.
///
/// # Errors
/// When the engine cannot be reached, or does not answer in time.
pub(super) async fn containers(
    host: &Host,
    resolver: &Resolver,
    tasks: &Tasks,
) -> Result<Vec<ContainerDetail>, Failure> {
    let docker = Docker::new(host.address.clone(), resolver.clone(), tasks.clone())
        .map_err(|error| Failure::Internal(error.to_string()))?;
    // A list may take long, so whether anybody is there is asked first.
    let answer = match bounded(PING_BOUND, docker.ping()).await {
        Ok(()) => bounded(LIST_BOUND, Engine::list(&docker)).await,
        Err(error) => Err(error),
    };
    answer.map_err(|error| {
        let why = format!("host {}: {error}", host.name);
        match (&host.address, &error) {
            (_, EngineError::NotPermitted(_)) => Failure::NotPermitted(why),
            (HostAddress::Unix(path), _) if is_denied(path) => {
                Failure::NotPermitted(format!("{why}; it is for root and the members of the socket's group"))
            }
            _ => Failure::Unavailable(why),
        }
    })
}

async fn bounded<T>(bound: Duration, call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    tokio::time::timeout(bound, call).await.unwrap_or(Err(EngineError::TimedOut(bound)))
}

/// Whether a socket is there and not for this user.
fn is_denied(socket: &Path) -> bool {
    rustix::fs::access(socket, Access::WRITE_OK) == Err(Errno::ACCESS)
}

/// The real world around the daemon.
fn real_edges(config: &Config, tasks: &Tasks, clock: Clock, meters: Meters) -> Result<Edges, Failure> {
    let (resolver, heartbeats) = (Resolver::system(clock), Heartbeats::new(clock));
    let engines = engines(config, &resolver, tasks)?;
    let in_use = CredentialValues::default();
    let (pings, values) = (Some(heartbeats.clone()), Some(in_use.clone()));
    let prober = real_prober(engines.clone(), pings, values, resolver.clone(), clock, tasks);
    Ok(Edges {
        engines: engines.into_iter().zip(config.hosts.iter().map(site)).collect(),
        prober,
        heartbeats,
        in_use,
        own: own::container(),
        listen: Some(config.api.listen),
        socket: Some(config.daemon.socket.clone()),
        data_dir: config.daemon.data_dir.clone(),
        heartbeat: Heartbeat::new(),
        manager: Manager::of_environment(),
        reloads: None,
        meters,
        listeners: Vec::new(),
        on_start: Box::new(|started: Started| {
            if let Some(address) = started.address {
                tracing::info!("health and metrics are served on http://{address}");
            }
        }),
    })
}

/// The engine of each host.
pub(super) fn engines(config: &Config, resolver: &Resolver, tasks: &Tasks) -> Result<Vec<Arc<dyn Engine>>, Failure> {
    let made = config.hosts.iter().map(|host| Docker::new(host.address.clone(), resolver.clone(), tasks.clone()));
    made.map(|made| Ok(Arc::new(made.map_err(|error| Failure::Internal(error.to_string()))?) as _)).collect()
}

/// Where an engine is, as far as its address tells.
pub fn site(host: &Host) -> EngineSite {
    match &host.address {
        // A user's own engine keeps its networks in a namespace of its own.
        HostAddress::Unix(path) if path.starts_with("/run/user") => EngineSite::Apart,
        HostAddress::Unix(_) => EngineSite::Local,
        HostAddress::Tcp(address) | HostAddress::Tls { address, .. } => {
            let name = address.rsplit_once(':').map_or(address.as_str(), |(name, _)| name);
            let name = name.trim_start_matches('[').trim_end_matches(']');
            let loopback = name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
            if loopback { EngineSite::Local } else { EngineSite::Remote(name.to_owned()) }
        }
    }
}
