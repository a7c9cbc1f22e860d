//! What the benchmarks on a real engine share: patients, a daemon or a bare restarter that heals them, each behind a proxy
//! of its own that stamps what passes, and the arithmetic of medians.
#![allow(dead_code, reason = "each benchmark uses some of it")]

pub mod daemon;
pub mod figures;
pub mod process;
pub mod proxy;
pub mod simulated;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HealthConfig, HealthStatusEnum, HostConfig};
use bollard::query_parameters::{CreateContainerOptions, CreateImageOptions};
use futures_util::TryStreamExt;
use iaso::engine::image;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What everything that a benchmark makes begins with.
pub const PREFIX: &str = "iaso-test-bench";
/// The program that the patients run and that is measured.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_iaso");
/// The machine's engine.
pub const ENGINE: &str = "/var/run/docker.sock";
/// How long anything is waited for. Only a fault takes that long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks whether a patient serves.
const LOOK: Duration = Duration::from_millis(3);

/// Errors end the benchmark with their words.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs a benchmark where there is an engine, and says so where there is none.
pub fn main<F: Future<Output = Result<()>>>(measure: impl FnOnce(Ward, usize) -> F, runs: usize) -> ExitCode {
    let answers = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    if !answers.is_ok_and(|answer| answer.status.success()) {
        println!("not run: no container engine answers `docker version`");
        return ExitCode::SUCCESS;
    }
    let runs = after("--runs").and_then(|runs| runs.parse().ok()).unwrap_or(runs);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            let ward = Ward::open().await?;
            tokio::select! {
                done = measure(ward.clone(), runs) => done,
                _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The argument that follows this one.
pub fn after(flag: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != flag).nth(1)
}

/// Where patients are made. When the last clone is dropped, all of them are removed, and their image.
#[derive(Clone)]
pub struct Ward(Arc<Made>);

struct Made {
    client: bollard::Docker,
    names: Mutex<Vec<String>>,
}

/// A patient to be made.
#[derive(Default)]
pub struct Order<'a> {
    /// Beside the program's own: such as `--ignore-term`.
    pub args: &'a [&'a str],
    /// Its labels; `PORT` in a value stands for its port.
    pub labels: &'a [(&'a str, &'a str)],
    /// It has a HEALTHCHECK, each second, of which one failure decides.
    pub healthcheck: bool,
}

/// A patient that serves on this machine's own network.
pub struct Patient {
    /// Its container's id.
    pub id: String,
    port: u16,
    made: Instant,
}

impl Ward {
    async fn open() -> Result<Self> {
        let client = client(Path::new(ENGINE))?;
        let image = image::pack(Path::new(PROGRAM))?;
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repository()),
            tag: Some("1".to_owned()),
            changes: image.changes,
            ..Default::default()
        };
        let ward = Self(Arc::new(Made { client, names: Mutex::default() }));
        let import = ward.0.client.create_image(Some(options), Some(bollard::body_full(image.layer)), None);
        import.try_collect::<Vec<_>>().await?;
        Ok(ward)
    }

    /// Makes a patient and waits until it serves and, where it has a HEALTHCHECK, until that has passed.
    pub async fn admit(&self, order: Order<'_>) -> Result<Patient> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let name = format!("{PREFIX}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut command: Vec<String> = vec!["patient".to_owned(), "--port".to_owned(), port.to_string()];
        command.extend(order.args.iter().map(|arg| (*arg).to_owned()));
        let labels: HashMap<String, String> = order
            .labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.replace("PORT", &port.to_string())))
            .collect();
        let url = format!("http://127.0.0.1:{port}/health");
        let body = ContainerCreateBody {
            image: Some(format!("{}:1", repository())),
            cmd: Some(command),
            labels: Some(labels),
            healthcheck: order.healthcheck.then(|| HealthConfig {
                test: Some(["CMD", image::EXECUTABLE, "patient", "--probe", &url].map(str::to_owned).to_vec()),
                interval: Some(1_000_000_000),
                timeout: Some(5_000_000_000),
                retries: Some(1),
                ..Default::default()
            }),
            host_config: Some(HostConfig { network_mode: Some("host".to_owned()), ..Default::default() }),
            ..Default::default()
        };
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        let options = CreateContainerOptions { name: Some(name), ..Default::default() };
        let id = self.0.client.create_container(Some(options), body).await?.id;
        self.0.client.start_container(&id, None).await?;
        let patient = Patient { id, port, made: Instant::now() };
        patient.until(200).await?;
        while order.healthcheck && !self.is_healthy(&patient).await? {
            in_time(patient.made)?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(patient)
    }

    async fn is_healthy(&self, patient: &Patient) -> Result<bool> {
        let state = self.0.client.inspect_container(&patient.id, None).await?.state;
        Ok(state.and_then(|state| state.health?.status) == Some(HealthStatusEnum::HEALTHY))
    }

    /// Removes a patient.
    pub fn discharge(&self, patient: &Patient) {
        remove(std::slice::from_ref(&patient.id));
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        remove(&self.names.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = Command::new("docker").args(["rmi", "-f", &format!("{}:1", repository())]).output();
    }
}

fn remove(containers: &[String]) {
    if !containers.is_empty() {
        let _ = Command::new("docker").args(["rm", "-f", "-v"]).args(containers).output();
    }
}

fn repository() -> String {
    format!("{PREFIX}-{}", std::process::id())
}

/// A plain client of an engine, bollard's own.
pub fn client(socket: &Path) -> Result<bollard::Docker> {
    let path = socket.to_str().ok_or("the socket's path is not text")?;
    Ok(bollard::Docker::connect_with_unix(path, 120, bollard::API_DEFAULT_VERSION)?)
}

impl Patient {
    /// Asks it for something; the status of its answer.
    pub async fn ask(&self, path: &str) -> io::Result<u16> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: patient\r\n\r\n").as_bytes()).await?;
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).await?;
        let status =
            std::str::from_utf8(&status_line).ok().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.parse().ok());
        status.ok_or_else(|| io::Error::other("the patient does not speak HTTP"))
    }

    /// Makes it fall ill, and measures the time until it serves again.
    pub async fn fall_ill(&self, illness: &str) -> Result<Duration> {
        let fell = Instant::now();
        self.ask(illness).await?;
        while self.ask("/health").await.is_ok_and(|status| status == 200) {
            in_time(fell)?;
        }
        self.until(200).await?;
        Ok(fell.elapsed())
    }

    /// Waits until it answers so.
    async fn until(&self, wanted: u16) -> Result<()> {
        let begun = Instant::now();
        while self.ask("/health").await.ok() != Some(wanted) {
            in_time(begun)?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until it is this old: its HEALTHCHECK is then where another's was at that age.
    pub async fn grow(&self, age: Duration) {
        tokio::time::sleep(age.saturating_sub(self.made.elapsed())).await;
    }
}

/// An error when what began then should long have ended.
pub fn in_time(begun: Instant) -> Result<()> {
    if begun.elapsed() < PATIENCE { Ok(()) } else { Err(format!("nothing came within {PATIENCE:?}").into()) }
}
