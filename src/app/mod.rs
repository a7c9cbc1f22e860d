//! Puts the daemon together: edges around a supervisor, started in order, ended in order.

pub mod commands;
mod containers;
pub mod init;
mod own;
mod past;
pub mod probe;
pub mod probers;
pub mod reload;
pub mod replay;
mod status;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::api::listen::{Limits, Listener as Socket, serve};
use crate::api::{ApiState, router};
use crate::app::containers::ServiceContainers;
use crate::app::past::{Engines, StoreTimeline};
use crate::app::reload::Reloads;
use crate::config::validated::Config;
use crate::credentials;
use crate::engine::watch::Watch;
use crate::engine::{ContainerId, Engine};
use crate::evidence::{Containers, Gatherer, Keep};
use crate::in_use::CredentialValues;
use crate::journal::Listener;
use crate::probe::address::EngineSite;
use crate::probe::heartbeat::Heartbeats;
use crate::probe::scheduler::{Prober, Scheduler};
use crate::redact::Redactor;
use crate::report::Reporters;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::store::flight::{self, Recorder};
use crate::supervisor::{HostPort, Ports, Supervisor};
use crate::system::clock::{Clock, random_u64, stopwatch};
use crate::system::heartbeat::Heartbeat;
use crate::system::meters::Meters;
use crate::system::resolver::Resolver;
use crate::system::retry::Client;
use crate::system::systemd::Manager;
use crate::system::tasks::Tasks;
use crate::telemetry::logs::LogLines;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{explain, incidents};

/// What an engine may tell before it has to wait for the supervisor.
const UPDATES: usize = 4096;
/// What probes may tell likewise.
const RESULTS: usize = 4096;
/// Orders that may wait.
const ORDERS: usize = 64;

/// Words from `credentials/` that may wait for the supervisor.
const CREDENTIALS: usize = 64;

/// The world outside, as the daemon meets it: real in `iaso run`, simulated or made for the purpose in demo and tests.
pub struct Edges {
    /// One for each host of the configuration, in its order, and where it is.
    pub engines: Vec<(Arc<dyn Engine>, EngineSite)>,
    /// Carries out probes.
    pub prober: Prober,
    /// Where pings of the services are noted, and what the prober reads.
    pub heartbeats: Heartbeats,
    /// Where the values of credentials are noted, and what the prober reads.
    pub in_use: CredentialValues,
    /// The container that Iaso runs in.
    pub own: Option<ContainerId>,
    /// Where `/health` and `/metrics` are served; none: nowhere.
    pub listen: Option<SocketAddr>,
    /// The command line's socket; none: there is none.
    pub socket: Option<PathBuf>,
    /// Where the store and the flight recordings live.
    pub data_dir: PathBuf,
    /// Shows that the supervisor steps.
    pub heartbeat: Heartbeat,
    /// The service manager that started it.
    pub manager: Manager,
    /// How it comes to another configuration; none: not at all.
    pub reloads: Option<Reloads>,
    /// What the clients of foreign systems and reloads count.
    pub meters: Meters,
    /// Who else hears what is decided.
    pub listeners: Vec<Box<dyn Listener>>,
    /// Told, once, where it listens and how to follow what it sees.
    pub on_start: Box<dyn FnOnce(Started) + Send>,
}

/// A daemon that runs.
#[derive(Debug, Clone)]
pub struct Started {
    /// The address that `/health` is served on.
    pub address: Option<SocketAddr>,
    /// How things stand.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
}

/// How a daemon ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// As it was asked to, and in time.
    InOrder,
    /// As it was asked to, but these tasks did not end within the grace.
    Stragglers(Vec<String>),
    /// The supervisor died; the panic's message.
    SupervisorDied(String),
}

/// The configured address could not be listened on, or the like: nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The HTTP address.
    #[error("cannot listen on {address} ([api] listen): {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The metrics registry.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the daemon until `shutdown` resolves, or the supervisor dies.
///
/// # Errors
/// When it cannot be started at all. What fails later is shown in `/health`, and does not end it.
pub async fn run(config: Config, edges: Edges, shutdown: impl Future<Output = ()>) -> Result<Ended, StartError> {
    let grace = config.daemon.shutdown_grace;
    let (clock, tasks, heartbeat) = (Clock::new(), Tasks::new(), edges.heartbeat);
    let heartbeats = edges.heartbeats;
    let http = match edges.listen {
        Some(address) => Some(Socket::tcp(address).await.map_err(|error| StartError::Listen { address, error })?),
        None => None,
    };
    let address = http.as_ref().and_then(Socket::local_addr);
    let socket = edges.socket.as_deref().and_then(|path| {
        let opened = Socket::unix(path);
        opened.inspect_err(|error| tracing::warn!("the command line cannot reach this daemon: {error}")).ok()
    });

    let (store, restored) = Store::open(&edges.data_dir, clock);
    store.retain(config.daemon.history);
    tasks.spawn("prune", tasks.stop_token().run_until_cancelled_owned(past::prune(store.clone())));
    let seed = random_u64();
    let recorder = Recorder::start(&edges.data_dir.join("flight"), seed, flight::Limits::default())
        .inspect_err(|error| tracing::warn!(%error, "no flight recorder"))
        .ok();
    let (results, checked) = mpsc::channel(RESULTS);
    let probes = Scheduler::start(&tasks, clock, edges.prober, results);
    let names = config.hosts.iter().map(|host| Arc::from(host.name.as_str()));
    let engines: Vec<_> = names.zip(edges.engines.iter().map(|(engine, _)| Arc::clone(engine))).collect();
    let watched = config.hosts.iter().zip(edges.engines).map(|(host, (engine, site))| {
        let breaker = Arc::new(Client::new(&format!("docker/{}", host.name), edges.meters.clone()));
        watch_host(&tasks, clock, engine, breaker, site)
    });
    let hosts = watched.collect();
    let (orders, ordered) = mpsc::channel(ORDERS);
    let (rereads, reread) = mpsc::channel(1);
    let (to_supervisor, from_credentials) = mpsc::channel(CREDENTIALS);
    let config = Arc::new(config);
    let (snapshots, seen) = watch::channel(Arc::new(Snapshot::nothing(clock.now())));
    edges.meters.configured(true);
    let (pictures, pictured) = watch::channel(Arc::default());
    let (credential_orders, credentials_ordered) = mpsc::channel(ORDERS);
    let metrics = Metrics::new(clock, seen.clone(), pictured.clone(), tasks.clone(), edges.meters.clone())?;
    let mut listeners: Vec<Box<dyn Listener>> = vec![Box::new(LogLines::new()), Box::new(metrics.listener())];
    let (taken, delivered) = mpsc::unbounded_channel();
    let resolver = Resolver::system(clock);
    match Reporters::start(&config.reporters, &tasks, &resolver, &seen, &edges.meters, &taken) {
        Ok(reporters) => listeners.push(Box::new(reporters)),
        // Healing matters more than telling.
        Err(error) => tracing::error!(%error, "nobody is told what is done"),
    }
    let (keeper, redactor) = (store.clone(), Redactor::new(edges.in_use.clone()));
    let keep: Keep = Arc::new(move |piece| keeper.keep_evidence(piece));
    let containers: Arc<dyn Containers> = Arc::new(Engines(engines.clone()));
    let hosts_of = engines.iter().map(|(host, _)| Arc::clone(host));
    listeners.push(Box::new(Gatherer::start(hosts_of, &containers, &redactor, &keep, &tasks)));
    listeners.extend(edges.listeners);
    let ports = Ports {
        hosts,
        probes,
        results: checked,
        store: store.clone(),
        recorder,
        orders: ordered,
        credentials: from_credentials,
        rereads: reread,
        delivered,
        listeners,
        snapshots,
        heartbeat: heartbeat.clone(),
        tasks: tasks.clone(),
        clock,
    };
    let supervisor = Supervisor::new(Arc::clone(&config), edges.own, seed, restored, ports);

    let stop_supervisor = CancellationToken::new();
    let mut supervising = tasks.spawn("supervisor", supervisor.run(stop_supervisor.clone()));
    let setup = credentials::start::Setup {
        data_dir: edges.data_dir,
        services: Arc::new(ServiceContainers { engines, snapshots: seen.clone() }),
        resolver: Resolver::system(clock),
        meters: edges.meters.clone(),
        tasks: tasks.clone(),
    };
    let ports = credentials::Ports {
        supervisor: to_supervisor,
        orders: credentials_ordered,
        pictures,
        in_use: edges.in_use,
        snapshots: seen.clone(),
        clock,
        observe: config.fleet.observe,
        seed,
    };
    // Healing goes on without credentials; what uses them goes on with what it has.
    if let Err(error) = credentials::start::start(&config, setup, ports).await {
        tracing::error!(%error, "credentials are not kept");
    }
    let state = ApiState {
        snapshots: seen.clone(),
        orders,
        credentials: pictured,
        credential_orders,
        heartbeat,
        clock,
        timeline: Arc::new(StoreTimeline(store.clone())),
        metrics: Arc::new(move || metrics.exposition()),
        meters: edges.meters.clone(),
        explain: explain::explain_json,
        incidents: incidents::list_json,
        account: incidents::account_json,
        ping: Arc::new(move |service, check| heartbeats.ping(service, check)),
    };
    for listener in http.into_iter().chain(socket) {
        let serving = serve(listener, router(state.clone()), tasks.clone(), tasks.stop_token(), Limits::default());
        tasks.spawn("http", serving);
    }
    let (manager, stop) = (edges.manager, tasks.stop_token());
    manager.ready();
    let telling = status::tell(seen.clone(), manager.clone());
    tasks.spawn("status", stop.clone().run_until_cancelled_owned(telling));
    if let Some(reloads) = edges.reloads {
        let reloading = reloads.run(rereads, manager.clone(), edges.meters);
        tasks.spawn("reload", stop.run_until_cancelled_owned(reloading));
    }
    (edges.on_start)(Started { address, snapshots: seen });

    let died = tokio::select! {
        ended = &mut supervising => Some(death(ended)),
        () = shutdown => None,
    };
    manager.stopping();
    let spent = stopwatch();
    let left = || grace.saturating_sub(spent());
    let died = match died {
        Some(died) => Some(died),
        // In order: the supervisor lets operations in flight end, then everything else ends.
        None => {
            tracing::info!("stopping");
            stop_supervisor.cancel();
            match tokio::time::timeout(left(), &mut supervising).await {
                Ok(Ok(Ok(()))) => None,
                Ok(ended) => Some(death(ended)),
                Err(_) => {
                    tracing::warn!("an operation is still in flight: it is on record, and the next start resolves it");
                    None
                }
            }
        }
    };
    let stragglers = tasks.end(left().max(Duration::from_millis(200))).await;
    if tokio::time::timeout(left().max(Duration::from_secs(1)), store.close()).await.is_err() {
        tracing::warn!("the store did not close in time: the next start counts as one after a crash");
    }
    Ok(match died {
        Some(message) => Ended::SupervisorDied(message),
        None if stragglers.is_empty() => Ended::InOrder,
        None => Ended::Stragglers(stragglers),
    })
}

fn death<E: std::fmt::Display>(ended: Result<Result<(), crate::system::tasks::Panicked>, E>) -> String {
    match ended {
        Ok(Ok(())) => "it ended by itself".to_owned(),
        Ok(Err(panicked)) => panicked.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Starts the watch over an engine; it is made anew should it panic.
fn watch_host(
    tasks: &Tasks,
    clock: Clock,
    engine: Arc<dyn Engine>,
    breaker: Arc<Client>,
    site: EngineSite,
) -> HostPort {
    let (updates, updated) = mpsc::channel(UPDATES);
    let (watch, handle) = Watch::new(Arc::clone(&engine), clock, updates);
    let (watch, stop) = (Arc::new(watch.closing(Arc::clone(&breaker))), tasks.stop_token());
    tasks.keep("engine-watch", move || {
        let (watch, stop) = (Arc::clone(&watch), stop.clone());
        async move {
            stop.run_until_cancelled(watch.run()).await;
        }
    });
    HostPort { engine, breaker, watch: handle, updates: updated, site }
}
