//! Docker's engine API, and whoever else speaks it, through bollard.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{
    KillContainerOptions, ListContainersOptions, LogsOptions, RestartContainerOptions, StopContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker as Client};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::time::timeout;

use super::denied::{self, Endpoint};
use super::exec::{self, Tail};
use super::transport::Transport;
use super::{
    Change, Changed, ContainerDetail, ContainerId, ContainerState, Engine, EngineError, EngineInfo, EventStream,
    ExecOutput, LastWords, events, translate,
};
use crate::config::secret::Secret;
use crate::config::validated::HostAddress;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;

/// The oldest API version that tells what Iaso needs.
const OLDEST_API: (u16, u16) = (1, 41);
/// Containers inspected at once for a list.
const INSPECTS: usize = 16;
/// How long one of them may take before the list goes on without it.
const INSPECT_BOUND: Duration = Duration::from_secs(5);
/// How long the engine's own id is waited for.
const INFO_BOUND: Duration = Duration::from_secs(2);
/// The most that is kept of a container's output, in bytes.
const LOG: usize = 64 << 10;
/// bollard's own timer, in seconds: never the one that rings, since it leaves bodies out.
const CLIENT_TIMEOUT: u64 = 86_400;

/// An engine that speaks Docker's API on a Unix socket or TCP, with or without TLS. Made without reaching it.
pub struct Docker {
    client: Client,
    transport: Arc<Transport>,
    /// What the last list told, for a container that does not let itself be inspected.
    last: Mutex<HashMap<ContainerId, ContainerDetail>>,
}

impl Docker {
    /// The engine at this address, which need not exist yet. Connections run as tasks `engine_connection`.
    ///
    /// # Errors
    /// When the address's certificates cannot be used; not for anything about the engine.
    pub fn new(address: HostAddress, resolver: Resolver, tasks: Tasks) -> Result<Self, EngineError> {
        let transport = Arc::new(Transport::new(address, resolver, tasks)?);
        let way = Arc::clone(&transport);
        let send = move |request: BollardRequest| {
            let way = Arc::clone(&way);
            async move { way.send(request).await }
        };
        let client =
            Client::connect_with_custom_transport(send, Some("http://engine"), CLIENT_TIMEOUT, API_DEFAULT_VERSION)
                .map_err(engine_error)?;
        Ok(Self { client, transport, last: Mutex::default() })
    }

    /// bollard's client on the same connection settings, for what is no part of healing: images, networks, and the creation
    /// and removal of containers for the demo and the tests.
    pub fn client(&self) -> &Client {
        &self.client
    }

    async fn hello(&self) -> Result<EngineInfo, EngineError> {
        let told = self.client.version().await.map_err(engine_error)?;
        let newest = (narrow(API_DEFAULT_VERSION.major_version), narrow(API_DEFAULT_VERSION.minor_version));
        let spoken =
            told.api_version.as_deref().and_then(api_version).ok_or_else(|| no_engine("it tells no API version"))?;
        let oldest = told.min_api_version.as_deref().and_then(api_version).unwrap_or(OLDEST_API);
        let api = spoken.min(newest);
        if api < OLDEST_API || api < oldest {
            let (low, high) = (oldest.max(OLDEST_API), spoken);
            return Err(EngineError::Unsupported(format!(
                "it speaks the API up to {}.{} and Iaso from {}.{} to {}.{}; {}.{} would be needed",
                high.0, high.1, OLDEST_API.0, OLDEST_API.1, newest.0, newest.1, low.0, low.1
            )));
        }
        self.transport.agree(api);
        // A proxy may deny this; nothing depends on it.
        let info = timeout(INFO_BOUND, self.client.info()).await.ok().and_then(Result::ok).unwrap_or_default();
        let data_root = info.docker_root_dir.map(PathBuf::from).filter(|path| path.is_absolute());
        Ok(EngineInfo { version: told.version.unwrap_or_default(), api, id: info.id, data_root })
    }

    async fn list(&self) -> Result<Vec<ContainerDetail>, EngineError> {
        let options = ListContainersOptions { all: true, ..Default::default() };
        let summaries = self.client.list_containers(Some(options)).await.map_err(engine_error)?;
        let ids = summaries.into_iter().filter_map(|summary| ContainerId::new(&summary.id?));
        let details: Vec<ContainerDetail> = stream::iter(ids)
            .map(|id| async move { self.inspect_for_list(&id).await })
            .buffer_unordered(INSPECTS)
            .try_filter_map(|detail| async move { Ok(detail) })
            .try_collect()
            .await?;
        let by_id = details.iter().map(|detail| (detail.id.clone(), detail.clone())).collect();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = by_id;
        Ok(details)
    }

    /// One container of a list; none when it vanished meanwhile. One that hangs is told as it was last seen: it must neither
    /// stop the list nor look gone.
    async fn inspect_for_list(&self, id: &ContainerId) -> Result<Option<ContainerDetail>, EngineError> {
        match timeout(INSPECT_BOUND, self.inspect(id)).await {
            Ok(Ok(detail)) => Ok(Some(detail)),
            Ok(Err(EngineError::NotFound)) => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                tracing::warn!(container = id.as_str(), "the engine does not let this container be inspected");
                Ok(self.last.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned())
            }
        }
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerDetail, EngineError> {
        let found = self.client.inspect_container(id.as_str(), None).await.map_err(engine_error)?;
        translate::detail(found).ok_or_else(|| no_engine("a container without an id or a state"))
    }

    async fn last_words(&self, id: &ContainerId) -> Result<LastWords, EngineError> {
        let mut found = self.client.inspect_container(id.as_str(), None).await.map_err(engine_error)?;
        let healthcheck = translate::failed_healthcheck(&mut found);
        let detail = translate::detail(found).ok_or_else(|| no_engine("a container without an id or a state"))?;
        Ok(LastWords { detail, healthcheck })
    }

    async fn change(
        &self,
        container: &ContainerId,
        change: &Change,
        grace: Option<Duration>,
    ) -> Result<Changed, EngineError> {
        let id = container.as_str();
        let t = grace.map(whole_seconds);
        let done = match change {
            Change::Start => self.client.start_container(id, None).await,
            Change::Stop => {
                self.client.stop_container(id, Some(StopContainerOptions { t, ..Default::default() })).await
            }
            Change::Restart => {
                self.client.restart_container(id, Some(RestartContainerOptions { t, ..Default::default() })).await
            }
            Change::Signal(number) => {
                self.client.kill_container(id, Some(KillContainerOptions { signal: number.to_string() })).await
            }
            Change::Exec(command) => {
                let code = self.exec(container, command, None, &AtomicBool::new(false)).await?.code;
                return Ok(if code == 0 { Changed::Done } else { Changed::CommandFailed(code) });
            }
        };
        match done {
            Ok(()) => Ok(Changed::Done),
            Err(Error::DockerResponseServerError { status_code: 304, .. }) => Ok(Changed::Already),
            Err(error) => Err(engine_error(error)),
        }
    }

    /// A conflict says in words only what forbids a command; a look says it for sure.
    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        input: Option<&Secret>,
        begun: &AtomicBool,
    ) -> Result<ExecOutput, EngineError> {
        let (client, transport, container) = (&self.client, &self.transport, id.as_str());
        let ran = match input {
            None => exec::run(client, transport, container, command, begun).await,
            Some(input) => exec::run_with_input(client, transport, container, command, input, begun).await,
        };
        match ran {
            Err(EngineError::Conflict(why)) => Err(match self.inspect(id).await?.state {
                ContainerState::Running(_) => EngineError::Conflict(why),
                ContainerState::Paused => EngineError::ContainerPaused,
                _ => EngineError::ContainerStopped,
            }),
            ran => ran,
        }
    }

    async fn exec_bounded(
        &self,
        id: &ContainerId,
        command: &[String],
        input: Option<&Secret>,
        bound: Duration,
    ) -> Result<ExecOutput, EngineError> {
        let begun = AtomicBool::new(false);
        let ran = timeout(bound, self.exec(id, command, input, &begun)).await;
        ran.unwrap_or_else(|_| match begun.into_inner() {
            true => Err(EngineError::CommandGoesOn(bound)),
            false => Err(EngineError::TimedOut(bound)),
        })
    }

    async fn logs(&self, id: &ContainerId, lines: u16) -> Result<String, EngineError> {
        let options = LogsOptions { stdout: true, stderr: true, tail: lines.to_string(), ..Default::default() };
        let mut output = self.client.logs(id.as_str(), Some(options));
        let mut tail = Tail::of(LOG);
        while let Some(piece) = output.try_next().await.map_err(engine_error)? {
            tail.push(&piece.into_bytes());
        }
        Ok(tail.into_whole_lines())
    }
}

impl Engine for Docker {
    fn hello(&self) -> BoxFuture<'_, Result<EngineInfo, EngineError>> {
        self.hello().boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        async { self.client.ping().await.map(drop).map_err(engine_error) }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ContainerDetail>, EngineError>> {
        self.list().boxed()
    }

    fn inspect<'a>(&'a self, container: &'a ContainerId) -> BoxFuture<'a, Result<ContainerDetail, EngineError>> {
        self.inspect(container).boxed()
    }

    fn events(&self) -> BoxFuture<'_, Result<EventStream, EngineError>> {
        events::subscribe(&self.transport).boxed()
    }

    fn change<'a>(
        &'a self,
        container: &'a ContainerId,
        change: &'a Change,
        grace: Option<Duration>,
    ) -> BoxFuture<'a, Result<Changed, EngineError>> {
        self.change(container, change, grace).boxed()
    }

    fn exec<'a>(
        &'a self,
        container: &'a ContainerId,
        command: &'a [String],
        bound: Duration,
    ) -> BoxFuture<'a, Result<ExecOutput, EngineError>> {
        self.exec_bounded(container, command, None, bound).boxed()
    }

    fn exec_with_input<'a>(
        &'a self,
        container: &'a ContainerId,
        command: &'a [String],
        input: &'a Secret,
        bound: Duration,
    ) -> BoxFuture<'a, Result<ExecOutput, EngineError>> {
        self.exec_bounded(container, command, Some(input), bound).boxed()
    }

    fn denied(&self) -> BoxFuture<'_, Result<Vec<&'static Endpoint>, EngineError>> {
        denied::find(&self.transport).boxed()
    }

    fn last_words<'a>(&'a self, container: &'a ContainerId) -> BoxFuture<'a, Result<LastWords, EngineError>> {
        self.last_words(container).boxed()
    }

    fn logs<'a>(&'a self, container: &'a ContainerId, lines: u16) -> BoxFuture<'a, Result<String, EngineError>> {
        self.logs(container, lines).boxed()
    }
}

/// What an error of bollard's means here. Its text is not passed on where it may quote an answer's body.
pub(super) fn engine_error(error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => match status_code {
            // Some proxies deny by 405; an engine knows each method of what it is asked for.
            401 | 403 | 405 => EngineError::NotPermitted(message),
            404 => EngineError::NotFound,
            409 => EngineError::Conflict(message),
            status => EngineError::Failed { status, message },
        },
        Error::IOError { err } => match err.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => EngineError::NotRunning(err.to_string()),
            _ => EngineError::Unreachable(err.to_string()),
        },
        Error::HyperResponseError { err } if err.is_parse() => no_engine("it is not HTTP"),
        Error::HyperResponseError { err } => EngineError::Broken(err.to_string()),
        Error::RequestTimeoutError => EngineError::TimedOut(Duration::from_secs(CLIENT_TIMEOUT)),
        Error::JsonDataError { column, .. } => no_engine(&format!("unexpected JSON at column {column}")),
        Error::JsonSerdeError { err } => no_engine(&format!("unexpected JSON at column {}", err.column())),
        _ => no_engine("it could not be read"),
    }
}

pub(super) fn no_engine(why: &str) -> EngineError {
    EngineError::Malformed(why.to_owned())
}

fn api_version(text: &str) -> Option<(u16, u16)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn narrow(part: usize) -> u16 {
    u16::try_from(part).unwrap_or(u16::MAX)
}

/// The engine takes whole seconds; a part of one counts as one.
fn whole_seconds(grace: Duration) -> i32 {
    let up = u64::from(grace.subsec_nanos() > 0);
    i32::try_from(grace.as_secs().saturating_add(up)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_is_never_shortened() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(10)), 10);
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }

    #[test]
    fn what_json_said_is_not_passed_on() {
        let error = serde_json::from_str::<u8>("\"s3cret\"").unwrap_err();
        let told = engine_error(Error::JsonSerdeError { err: error }).to_string();
        assert!(!told.contains("s3cret") && told.contains("column"), "{told}");
    }
}
