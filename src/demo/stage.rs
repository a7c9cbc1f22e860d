//! The real stage: an image, a private network and twelve containers on the machine's engine, and their removal.
//!
//! Whatever is made carries the run's labels, and removal goes by them: what was made half, or by a run that was killed, is
//! found too.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, ContainerSummaryStateEnum, HealthConfig, HostConfig, NetworkCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, ListContainersOptions, ListImagesOptions, ListNetworksOptions,
    RemoveContainerOptions, RemoveImageOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Ended;
use super::cast::{CAST, EXIT_CODE, Illness, Member};
use super::patient;
use super::rules::HEALTHCHECK_INTERVAL;
use super::run::{LABEL, MADE_BY, Maker, RunId};
use crate::config::validated::Host;
use crate::engine::docker::Docker;
use crate::engine::{ContainerId, Engine, EngineInfo, image};
use crate::system::clock::{Clock, stopwatch};
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;

/// The port that every patient serves.
pub(super) const PORT: u16 = 8080;

/// How long an engine may take to say who it is.
const REACH: Duration = Duration::from_secs(2);
/// How long one step of the set-up may take; the import of the image is the longest.
const STEP: Duration = Duration::from_secs(60);
/// How long a started patient may take until it serves this machine.
const SERVES: Duration = Duration::from_secs(15);
/// How long removal may take.
const REMOVAL: Duration = Duration::from_secs(60);
/// Containers made at once.
const AT_ONCE: usize = 4;

/// The machine's engine, and what this run makes on it.
pub(super) struct DockerStage {
    docker: Arc<Docker>,
    /// `iaso-demo-RUN`, or with another beginning where `$IASO_DEMO_PREFIX` gives one: the name of the image and the network,
    /// and the beginning of each container's.
    name: String,
    run: RunId,
    made_by: Maker,
    clock: Clock,
    containers: BTreeMap<&'static str, ContainerId>,
    /// Something was made, or may have been.
    made: AtomicBool,
}

impl DockerStage {
    /// On the engine of this host, which is not reached yet.
    pub(super) fn new(host: &Host, tasks: &Tasks, run: &RunId, made_by: &Maker, clock: Clock) -> Result<Self, String> {
        let docker = Docker::new(host.address.clone(), Resolver::system(clock), tasks.clone());
        let docker = docker.map_err(|error| error.to_string())?;
        let prefix = std::env::var("IASO_DEMO_PREFIX").unwrap_or_else(|_| "iaso-demo".to_owned());
        Ok(Self {
            docker: Arc::new(docker),
            name: format!("{prefix}-{run}"),
            run: run.clone(),
            made_by: made_by.clone(),
            clock,
            containers: BTreeMap::new(),
            made: AtomicBool::new(false),
        })
    }

    pub(super) fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.docker) as Arc<dyn Engine>
    }

    /// Asks the engine who it is; an error says why it cannot be reached.
    pub(super) async fn reach(&self) -> Result<EngineInfo, String> {
        match timeout(REACH, Engine::hello(&*self.docker)).await {
            Ok(told) => told.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the engine did not answer within {} s", REACH.as_secs())),
        }
    }

    /// Makes the network, the image and the containers, and sees that they serve this machine. Ends between two steps when
    /// `quit` is cancelled: none is left half-way, unknown to the removal that follows.
    pub(super) async fn build(&mut self, quit: &CancellationToken) -> Result<(), Ended> {
        self.step("making the network", self.make_network()).await?;
        go_on(quit)?;
        self.step("importing the image", self.import()).await?;
        go_on(quit)?;
        let made: Vec<_> = stream::iter(&CAST)
            .map(|member| async {
                go_on(quit)?;
                let id = self.step("starting a container", self.start(member)).await?;
                Ok::<_, Ended>((member.name, id))
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        // The first fault is told only when every step under way has ended.
        self.containers = made.into_iter().collect::<Result<_, _>>()?;
        for member in &CAST {
            go_on(quit)?;
            self.serves(member.name).await.map_err(Ended::Unfit)?;
        }
        Ok(())
    }

    async fn step<T>(&self, what: &str, step: impl Future<Output = Result<T, String>>) -> Result<T, Ended> {
        match timeout(STEP, step).await {
            Ok(done) => done.map_err(|why| Ended::Unfit(format!("{what}: {why}"))),
            Err(_) => Err(Ended::Unfit(format!("{what} took more than {} s", STEP.as_secs()))),
        }
    }

    fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(LABEL.to_owned(), self.run.to_string()), (MADE_BY.to_owned(), self.made_by.to_string())])
    }

    async fn make_network(&self) -> Result<(), String> {
        let request = NetworkCreateRequest {
            name: self.name.clone(),
            internal: Some(true),
            labels: Some(self.labels()),
            ..Default::default()
        };
        self.made.store(true, Ordering::Relaxed);
        let made = self.docker.client().create_network(request).await;
        // Who denies this may deny removal, and even looking, too.
        let refused = matches!(made, Err(bollard::errors::Error::DockerResponseServerError { .. }));
        self.made.store(!refused, Ordering::Relaxed);
        made.map(drop).map_err(|error| error.to_string())
    }

    async fn import(&self) -> Result<(), String> {
        let packed = tokio::task::spawn_blocking(|| image::pack(&std::env::current_exe()?)).await;
        let image = packed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let labels = self.labels().into_iter().map(|(key, value)| format!("LABEL {key}={value}"));
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(self.name.clone()),
            tag: Some("latest".to_owned()),
            changes: image.changes.into_iter().chain(labels).collect(),
            ..Default::default()
        };
        let told = self.docker.client().create_image(Some(options), Some(bollard::body_full(image.layer)), None);
        told.try_collect::<Vec<_>>().await.map(drop).map_err(|error| error.to_string())
    }

    async fn start(&self, member: &'static Member) -> Result<ContainerId, String> {
        let fate: &[&str] = match member.illness {
            Some(Illness::CrashLoop) => &["--exit-after", "500ms:3", "--relapse"],
            _ => &[],
        };
        let probe = ["CMD", image::EXECUTABLE, "patient", "--probe", "http://127.0.0.1:8080/health"];
        let healthcheck = HealthConfig {
            test: Some(probe.map(str::to_owned).to_vec()),
            interval: i64::try_from(HEALTHCHECK_INTERVAL.as_nanos()).ok(),
            retries: Some(3),
            ..Default::default()
        };
        let mut labels = self.labels();
        labels.extend(asks(member).map(|(key, value)| (key.to_owned(), value.to_owned())));
        let body = ContainerCreateBody {
            image: Some(format!("{}:latest", self.name)),
            cmd: Some(["patient"].iter().chain(fate).map(|&word| word.to_owned()).collect()),
            labels: Some(labels),
            healthcheck: member.healthcheck.then_some(healthcheck),
            host_config: Some(HostConfig { network_mode: Some(self.name.clone()), ..Default::default() }),
            ..Default::default()
        };
        let client = self.docker.client();
        let options = CreateContainerOptions { name: Some(self.container(member.name)), ..Default::default() };
        let made = client.create_container(Some(options), body).await.map_err(|error| error.to_string())?;
        client.start_container(&made.id, None).await.map_err(|error| error.to_string())?;
        ContainerId::new(&made.id).ok_or_else(|| format!("{:?} is no container's id", made.id))
    }

    /// With what the name of everything on it begins.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn container(&self, member: &str) -> String {
        format!("{}-{member}", self.name)
    }

    /// Waits until a container answers this machine.
    async fn serves(&self, member: &str) -> Result<(), String> {
        let spent = stopwatch();
        loop {
            match self.ask(member, "health").await {
                Ok(()) => return Ok(()),
                Err(why) if spent() > SERVES => {
                    return Err(format!("the addresses of its containers do not lead there from here ({why})"));
                }
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Asks a container's program for something, at its own address.
    async fn ask(&self, member: &str, path: &str) -> Result<(), String> {
        let id = self.containers.get(member).ok_or("it was never made")?;
        let detail = timeout(STEP, Engine::inspect(&*self.docker, id)).await;
        let detail = detail.map_err(|_| "the engine does not answer")?.map_err(|error| error.to_string())?;
        let address = detail.networks.values().flatten().next().ok_or("it has no address")?;
        let url = format!("http://{}/{path}", std::net::SocketAddr::new(*address, PORT));
        let asked = tokio::task::spawn_blocking(move || patient::probe(&url)).await;
        asked.map_err(|error| error.to_string())?.map(drop).map_err(|error| error.to_string())
    }

    /// Lets a patient fall ill.
    pub(super) async fn fall(&self, member: &str, illness: Illness) -> Result<(), String> {
        let path = match illness {
            Illness::Stopped => {
                let stopped = timeout(STEP, self.docker.client().stop_container(&self.container(member), None)).await;
                return stopped.map_err(|_| "the engine does not answer")?.map_err(|error| error.to_string());
            }
            Illness::Exits | Illness::CrashLoop => {
                // It may be gone before it has answered; what becomes of it is seen anyway.
                let _ = self.ask(member, &format!("exit?code={EXIT_CODE}")).await;
                return Ok(());
            }
            Illness::Answers500 | Illness::Unhealthy => "sick",
            Illness::Hangs => "hang",
        };
        self.ask(member, path).await
    }

    /// Removes everything of this run; whether there was anything.
    ///
    /// # Errors
    /// What is left, and how to remove it by hand.
    pub(super) async fn remove(&self) -> Result<bool, String> {
        if !self.made.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mine = [format!("{LABEL}={}", self.run)];
        let left = match timeout(REMOVAL, remove_all(&self.docker, &mine)).await {
            Ok(Ok(())) => return Ok(true),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the engine did not do it within {} s", REMOVAL.as_secs()),
        };
        Err(format!(
            "not everything could be removed: {left}. The next `iaso demo` does it; by hand: docker rm -fv $(docker ps \
             -aqf label={LABEL}={}), docker network rm {name}, docker rmi {name}",
            self.run,
            name = self.name
        ))
    }

    /// Removes what runs that are gone left behind: killed ones, and those whose engine went away.
    pub(super) async fn sweep(&self) -> Result<(), String> {
        let swept = timeout(REMOVAL, async {
            let mut runs: BTreeMap<String, bool> = BTreeMap::new();
            let client = self.docker.client();
            for container in client.list_containers(Some(containers(&[MADE_BY.to_owned()]))).await? {
                let runs_still = matches!(container.state, Some(ContainerSummaryStateEnum::RUNNING));
                let maker = container.labels.and_then(|mut labels| labels.remove(MADE_BY)).unwrap_or_default();
                *runs.entry(maker).or_default() |= runs_still;
            }
            for network in client.list_networks(Some(networks(&[MADE_BY.to_owned()]))).await? {
                let maker = network.labels.and_then(|mut labels| labels.remove(MADE_BY)).unwrap_or_default();
                runs.entry(maker).or_default();
            }
            for mut image in client.list_images(Some(images(&[MADE_BY.to_owned()]))).await? {
                runs.entry(image.labels.remove(MADE_BY).unwrap_or_default()).or_default();
            }
            for (maker, runs_still) in runs {
                if Maker::parse(&maker).is_some_and(|maker| maker.is_gone(&self.clock, !runs_still)) {
                    remove_all(&self.docker, &[format!("{MADE_BY}={maker}")]).await?;
                }
            }
            Ok::<_, bollard::errors::Error>(())
        });
        match swept.await {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the engine did not do it within {} s", REMOVAL.as_secs())),
        }
    }
}

/// What a member's labels ask Iaso for: its name, and a check of its own where it has no HEALTHCHECK.
pub(super) fn asks(member: &Member) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    let check = [("iaso.check.web.type", "http"), ("iaso.check.web.url", "http://{address}:8080/health")];
    let checks = if member.healthcheck { &check[..0] } else { &check };
    [("iaso.name", member.name)].into_iter().chain(checks.to_vec())
}

fn go_on(quit: &CancellationToken) -> Result<(), Ended> {
    if quit.is_cancelled() { Err(Ended::Interrupted) } else { Ok(()) }
}

fn labelled(labels: &[String]) -> Option<HashMap<String, Vec<String>>> {
    Some(HashMap::from([("label".to_owned(), labels.to_vec())]))
}

fn containers(labels: &[String]) -> ListContainersOptions {
    ListContainersOptions { all: true, filters: labelled(labels), ..Default::default() }
}

fn networks(labels: &[String]) -> ListNetworksOptions {
    ListNetworksOptions { filters: labelled(labels) }
}

fn images(labels: &[String]) -> ListImagesOptions {
    ListImagesOptions { filters: labelled(labels), ..Default::default() }
}

/// Removes containers with their anonymous volumes, then networks, then images that carry these labels, until none is left:
/// a call that was given up may still have made something. Bounded by the caller.
async fn remove_all(docker: &Docker, labels: &[String]) -> Result<(), bollard::errors::Error> {
    let client = docker.client();
    let mut rounds = 0;
    loop {
        let left = client.list_containers(Some(containers(labels))).await?;
        let ids: Vec<String> = left.into_iter().filter_map(|container| container.id).collect();
        let networks = client.list_networks(Some(networks(labels))).await?;
        let images = client.list_images(Some(images(labels))).await?;
        if ids.is_empty() && networks.is_empty() && images.is_empty() {
            return Ok(());
        }
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        let mut done = Vec::new();
        // One after the other: Docker 20.10 may lock itself up for good when several leave a network at the same time.
        for id in ids {
            done.push(client.remove_container(&id, Some(options.clone())).await);
        }
        for network in networks {
            done.push(client.remove_network(network.id.as_deref().unwrap_or_default()).await);
        }
        for image in images {
            let options = RemoveImageOptions { force: true, ..Default::default() };
            done.push(client.remove_image(&image.id, Some(options), None).await.map(drop));
        }
        // One that is on its way out already is refused once, and gone the next time.
        rounds += 1;
        if rounds >= 20 {
            done.into_iter().collect::<Result<(), _>>()?;
        }
        sleep(Duration::from_millis(if rounds == 1 { 0 } else { 500 })).await;
    }
}
