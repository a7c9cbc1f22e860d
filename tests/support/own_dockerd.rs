//! A dockerd of the test's own, in a network of its own, with every file under `target/`: what may be stopped and frozen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use iaso::config::validated::HostAddress;
use iaso::engine::Engine;
use iaso::engine::docker::Docker;
use iaso::system::clock::Clock;
use iaso::system::resolver::Resolver;
use iaso::system::tasks::Tasks;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long an engine may take to answer after its start.
const PATIENCE: Duration = Duration::from_secs(120);

/// The engine; ended, and its files removed, when it is dropped.
pub struct OwnDockerd {
    dir: TempDir,
    child: Option<Child>,
    /// Arguments beyond the usual ones.
    more: Vec<String>,
    /// The network that it lives in, as a file; none: a new one at each start.
    network: Option<PathBuf>,
}

impl OwnDockerd {
    /// Started, and answering.
    pub async fn start() -> Self {
        Self::with(Vec::new()).await
    }

    /// The same, with more arguments.
    pub async fn with(more: Vec<String>) -> Self {
        Self::of(more, None).await
    }

    /// The same, in a network that the test made.
    #[allow(dead_code, reason = "each executable uses some")]
    pub async fn within(network: PathBuf, more: Vec<String>) -> Self {
        Self::of(more, Some(network)).await
    }

    async fn of(more: Vec<String>, network: Option<PathBuf>) -> Self {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let dir = TempDir::with_prefix_in("iaso-test-", scratch).expect("a directory");
        fs::write(dir.path().join("daemon.json"), "{}").expect("an empty configuration");
        let mut dockerd = Self { dir, child: None, more, network };
        dockerd.start_again().await;
        dockerd
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Its network, as a file that leads there.
    #[allow(dead_code, reason = "each executable uses some")]
    pub fn network(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.child.as_ref().expect("it runs").id()).into()
    }

    /// Starts it on the files that it left, and waits until it answers. In a network of its own: a dockerd without a bridge
    /// deletes the `docker0` of whoever shares its network.
    pub async fn start_again(&mut self) {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let log = fs::OpenOptions::new().create(true).append(true).open(at("log")).expect("a log");
        let mut command = match &self.network {
            None => Command::new("unshare"),
            Some(_) => Command::new("nsenter"),
        };
        let net = self.network.as_ref().map_or_else(|| "--net".to_owned(), |net| format!("--net={}", net.display()));
        let child = command
            .args([&net, "dockerd", "--bridge=none", "--iptables=false", "--ip-forward=false"])
            .args(["--config-file", &at("daemon.json"), "--data-root", &at("data"), "--exec-root", &at("exec")])
            .args(["--pidfile", &at("pid"), "--host", &format!("unix://{}", at("docker.sock"))])
            .args(&self.more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .expect("unshare or nsenter");
        let pid = child.id();
        self.child = Some(child);
        let docker = Docker::new(HostAddress::Unix(self.socket()), Resolver::system(Clock::new()), Tasks::new())
            .expect("a client");
        let answers = async {
            while docker.ping().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, answers).await.is_err() {
            panic!("dockerd does not answer:\n{}", fs::read_to_string(at("log")).unwrap_or_default());
        }
        let network = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).expect("a network");
        assert_ne!(network(&pid.to_string()), network("self"), "dockerd is in the network of this machine");
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(&mut self) {
        self.send(Signal::TERM);
        self.stopped().await;
    }

    /// Waits until it has ended.
    pub async fn stopped(&mut self) {
        while self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|ended| ended.is_none())) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.child = None;
        // A killed dockerd takes its containerd along, but where nobody reaps that, the next one believes it alive.
        let _ = fs::remove_file(self.dir.path().join("exec/containerd/containerd.pid"));
    }

    /// Sends dockerd a signal (`unshare` or `nsenter` has become it).
    pub fn send(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(child.id().try_into().expect("a process id")).expect("a process id");
        kill_process(pid, signal).expect("a signal");
    }
}

impl Drop for OwnDockerd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            for signal in [Signal::CONT, Signal::TERM] {
                let _ = pid.map(|pid| kill_process(pid, signal));
            }
            let ended = (0..600).any(|_| {
                std::thread::sleep(Duration::from_millis(50));
                !matches!(child.try_wait(), Ok(None))
            });
            if !ended {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        let beneath = self.dir.path().display().to_string();
        let containerd = fs::read_to_string(self.dir.path().join("exec/containerd/containerd.pid")).unwrap_or_default();
        if let Some(pid) = containerd.trim().parse().ok().and_then(Pid::from_raw) {
            // Only if the number is still that of the containerd on our files.
            let command = fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            if command.contains(&beneath) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&beneath));
        for at in ours {
            let _ = Command::new("umount").args(["-l", at]).status();
        }
    }
}
