//! Debian's HAProxy before an engine, with the rules of `docs/socket-proxy.md`.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What the tests of it need.
pub const PROGRAM: crate::support::Need = crate::support::Need::Program("haproxy");

/// The proxy; ended when it is dropped.
pub struct Haproxy {
    child: Child,
    dir: TempDir,
}

/// The rules of the documentation.
pub fn documented() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/socket-proxy.md");
    let text = fs::read_to_string(page).expect("the page about proxies");
    let rules = text.split_once("```haproxy\n").and_then(|(_, rest)| rest.split_once("```"));
    rules.expect("rules for HAProxy").0.to_owned()
}

impl Haproxy {
    /// With these rules, before the engine with this socket. It listens on `docker.sock` in a folder of its own.
    pub fn start(rules: &str, engine: &Path) -> Self {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let dir = TempDir::with_prefix_in("iaso-test-", scratch).expect("a directory");
        let ours = dir.path().join("docker.sock");
        let rules = rules
            .replace("unix@/run/iaso/docker.sock", &format!("unix@{}", ours.display()))
            .replace("unix@/var/run/docker.sock", &format!("unix@{}", engine.display()));
        let config = dir.path().join("haproxy.cfg");
        fs::write(&config, rules).expect("its configuration");
        let log = fs::File::create(dir.path().join("log")).expect("a log");
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f"]).arg(config).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().expect("the log")).stderr(log).spawn().expect("haproxy");
        let mut proxy = Self { child, dir };
        for _ in 0..600 {
            if UnixStream::connect(&ours).is_ok() {
                return proxy;
            }
            if let Ok(Some(ended)) = proxy.child.try_wait() {
                panic!(
                    "haproxy ended, {ended}: {}",
                    fs::read_to_string(proxy.dir.path().join("log")).unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("haproxy never listens");
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
