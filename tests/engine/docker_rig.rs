//! The rig over a real Docker engine. What it makes is named `iaso-test-` and removed when it is dropped, tests that fail
//! included.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, RestartPolicy as Wire, RestartPolicyNameEnum};
use bollard::query_parameters::{CreateContainerOptions, CreateImageOptions, RenameContainerOptions};
use futures_util::TryStreamExt;
use iaso::config::validated::HostAddress;
use iaso::engine::docker::Docker;
use iaso::engine::{Change, Changed, ContainerId, Engine, image};
use iaso::policy::input::RestartPolicy;
use iaso::system::clock::Clock;
use iaso::system::resolver::Resolver;
use iaso::system::tasks::Tasks;
use tokio::sync::OnceCell;

use crate::rig::{Hurt, PATIENCE, Patient, Rig};

const PROGRAM: &str = env!("CARGO_BIN_EXE_iaso");
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// A Docker engine, and the containers made on it.
pub struct DockerRig {
    pub docker: Arc<Docker>,
    socket: PathBuf,
    made: Mutex<Vec<String>>,
}

impl DockerRig {
    /// The machine's engine.
    pub async fn shared() -> Self {
        static IMPORTED: OnceCell<()> = OnceCell::const_new();
        let rig = Self::unprepared(Path::new(DEFAULT_SOCKET));
        IMPORTED.get_or_init(|| rig.import()).await;
        rig
    }

    /// An engine that a test started itself.
    pub async fn own(socket: &Path) -> Self {
        let rig = Self::unprepared(socket);
        rig.import().await;
        rig
    }

    fn unprepared(socket: &Path) -> Self {
        let address = HostAddress::Unix(socket.to_owned());
        Self::over(Docker::new(address, Resolver::system(Clock::new()), Tasks::new()).expect("a client"), socket)
    }

    /// The engine with this socket, by whatever way; the image is not there yet.
    pub fn over(docker: Docker, socket: &Path) -> Self {
        Self { docker: Arc::new(docker), socket: socket.to_owned(), made: Mutex::default() }
    }

    /// Brings the patients' image to the engine.
    pub async fn import(&self) {
        let image = image::pack(Path::new(PROGRAM)).expect("an image of the executable");
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repository()),
            tag: Some("1".to_owned()),
            changes: image.changes,
            ..Default::default()
        };
        let body = bollard::body_full(image.layer);
        self.docker
            .client()
            .create_image(Some(options), Some(body), None)
            .try_collect::<Vec<_>>()
            .await
            .expect("import");
    }

    /// Creates a patient without starting it.
    pub async fn create(&self, patient: Patient) -> ContainerId {
        let mut command = vec!["patient".to_owned()];
        command.extend(patient.ignores_term.then(|| "--ignore-term".to_owned()));
        let (name, most) = match patient.restart {
            RestartPolicy::No => (RestartPolicyNameEnum::NO, 0),
            RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, 0),
            RestartPolicy::OnFailure(most) => (RestartPolicyNameEnum::ON_FAILURE, i64::from(most)),
        };
        let probe = ["CMD", image::EXECUTABLE, "patient", "--probe", "http://127.0.0.1:8080/health"];
        let body = ContainerCreateBody {
            image: Some(format!("{}:1", repository())),
            cmd: Some(command),
            labels: Some(patient.labels.into_iter().collect()),
            env: Some(vec!["PASSWORD=s3cret-in-environment".to_owned()]),
            stop_timeout: patient.stop_grace.map(|grace| grace.as_secs().try_into().expect("a short grace")),
            healthcheck: patient.healthcheck.then(|| HealthConfig {
                test: Some(probe.map(str::to_owned).to_vec()),
                interval: Some(100_000_000),
                timeout: Some(5_000_000_000),
                retries: Some(2),
                ..Default::default()
            }),
            host_config: Some(HostConfig {
                network_mode: Some(if patient.bridged { "bridge" } else { "none" }.to_owned()),
                restart_policy: Some(Wire { name: Some(name), maximum_retry_count: Some(most) }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let name = self.free_name();
        let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
        let made = self.docker.client().create_container(Some(options), body).await.expect("create");
        self.made.lock().expect("the list of what was made").push(made.id.clone());
        ContainerId::new(&made.id).expect("an id")
    }

    /// Waits until a patient answers its own probe.
    async fn until_it_serves(&self, id: &ContainerId) {
        let command = Change::Exec(probe("/health"));
        let serves = async {
            while self.docker.change(id, &command, None).await != Ok(Changed::Done) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, serves).await.expect("it never serves");
    }

    /// On a busy machine the kernel may not freeze a container at once; runc then gives up.
    async fn pause(&self, id: &ContainerId) -> Result<(), bollard::errors::Error> {
        let mut tries = 0;
        loop {
            match self.docker.client().pause_container(id.as_str()).await {
                Err(error) if tries < 10 && error.to_string().contains("unable to freeze") => tries += 1,
                paused => return paused,
            }
        }
    }

    /// Asks a patient for something, from inside, once it can hear.
    async fn ask(&self, id: &ContainerId, path: &str) {
        self.until_it_serves(id).await;
        let command = probe(path);
        // The patient may be gone before the command that asked it to go.
        let _ = self.docker.change(id, &Change::Exec(command), None).await;
    }
}

fn probe(path: &str) -> Vec<String> {
    let url = format!("http://127.0.0.1:8080{path}");
    [image::EXECUTABLE, "patient", "--probe", &url].map(str::to_owned).to_vec()
}

impl Rig for DockerRig {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.docker) as Arc<dyn Engine>
    }

    async fn make(&self, patient: Patient) -> ContainerId {
        let id = self.create(patient).await;
        self.docker.change(&id, &Change::Start, None).await.expect("start");
        self.until_it_serves(&id).await;
        id
    }

    async fn hurt(&self, id: &ContainerId, hurt: Hurt) {
        let client = self.docker.client();
        let done = match hurt {
            Hurt::Exit(code) => return self.ask(id, &format!("/exit?code={code}")).await,
            Hurt::Sick => return self.ask(id, "/sick").await,
            Hurt::Stop => client.stop_container(id.as_str(), None).await,
            Hurt::Kill => client.kill_container(id.as_str(), None).await,
            Hurt::Pause => self.pause(id).await,
            Hurt::Unpause => client.unpause_container(id.as_str()).await,
            Hurt::Rename(name) => client.rename_container(id.as_str(), RenameContainerOptions { name }).await,
            Hurt::Remove => {
                let options = bollard::query_parameters::RemoveContainerOptions { force: true, ..Default::default() };
                client.remove_container(id.as_str(), Some(options)).await
            }
        };
        done.expect("the person's hand");
    }

    fn command(&self, ends_well: bool) -> Vec<String> {
        // Neither needs the patient's time.
        let words: &[&str] = if ends_well { &["--version"] } else { &["patient", "--nonsense"] };
        [image::EXECUTABLE].iter().chain(words).map(|word| (*word).to_owned()).collect()
    }

    fn endless_command(&self) -> Vec<String> {
        [image::EXECUTABLE, "patient", "--port", "0"].map(str::to_owned).to_vec()
    }

    fn echo_command(&self) -> Vec<String> {
        [image::EXECUTABLE, "patient", "--echo"].map(str::to_owned).to_vec()
    }

    fn free_name(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("iaso-test-engine-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for DockerRig {
    fn drop(&mut self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if !made.is_empty() {
            let host = format!("unix://{}", self.socket.display());
            // The engine of a test may be gone already, with all that was in it.
            let _ = Command::new("docker").args(["-H", &host, "rm", "-f", "-v"]).args(made).output();
        }
    }
}

fn repository() -> String {
    format!("iaso-test-engine-{}", std::process::id())
}

/// Removes the image from the machine's engine.
pub fn remove_image() {
    let _ = Command::new("docker").args(["rmi", "-f", &format!("{}:1", repository())]).output();
}

/// Runs a test with the rig over the machine's engine.
pub fn with_shared<F>(test: impl FnOnce(DockerRig) -> F) -> Result<(), libtest_mimic::Failed>
where
    F: Future<Output = ()>,
{
    block_on(async { test(DockerRig::shared().await).await });
    Ok(())
}

/// A runtime for one test.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(test)
}
