//! A daemon as a process of its own, its files, and the command line that asks it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::site::Site;
use crate::{scratch, until};

/// What stands before the address in the line that tells it.
const SERVED: &str = "are served on http://";

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_iaso");

/// The configuration of a test's daemon: everything soon, and only what the test made.
pub struct Settings {
    /// The log's level.
    pub level: &'static str,
    /// Where the log is kept beside standard error.
    pub log_file: Option<PathBuf>,
    /// `[daemon] shutdown_grace`.
    pub grace: &'static str,
    /// Keys of `[defaults]`.
    pub defaults: &'static str,
    /// Keys of `[defaults.recovery]`.
    pub recovery: &'static str,
    /// Whether what carries the test's label is watched without being named.
    pub discovery: bool,
    /// Whole sections.
    pub more: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: "info",
            log_file: None,
            grace: "8s",
            defaults: "interval = \"1s\"\nstart_period = \"0s\"\n",
            recovery: "stop_timeout = \"1s\"\nverify_stable = \"1s\"\nverify_timeout = \"60s\"\n\
                       backoff = { base = \"200ms\", factor = 1.0, max = \"1s\", jitter = 0.0, reset_after = \"10m\" }\n",
            discovery: true,
            more: String::new(),
        }
    }
}

/// A daemon's folder: configuration, data, socket and logs, which outlive each of its runs.
pub struct Home {
    dir: tempfile::TempDir,
    data: PathBuf,
    lives: AtomicU32,
}

impl Home {
    pub fn new(site: &Site, settings: &Settings) -> Self {
        Self::with_engine(&site.engine, &site.label(), settings)
    }

    pub fn with_engine(engine: &str, label: &str, settings: &Settings) -> Self {
        let dir = scratch();
        let data = dir.path().join("data");
        let home = Self { dir, data, lives: AtomicU32::new(0) };
        home.configure(engine, label, settings);
        home
    }

    /// With its data somewhere else than in its folder.
    pub fn with_data(site: &Site, data: &Path, settings: &Settings) -> Self {
        let home = Self { dir: scratch(), data: data.to_owned(), lives: AtomicU32::new(0) };
        home.configure(&site.engine, &site.label(), settings);
        home
    }

    /// Writes its configuration, also anew.
    pub fn configure(&self, engine: &str, label: &str, settings: &Settings) {
        let Settings { level, log_file, grace, defaults, recovery, discovery, more } = settings;
        let file = log_file.as_ref().map(|path| format!(", file = \"{}\"", path.display())).unwrap_or_default();
        let (data, socket) = (self.data.display(), self.socket());
        let text = format!(
            "[daemon]\ndata_dir = \"{data}\"\nsocket = \"{}\"\nshutdown_grace = \"{grace}\"\n\
             log = {{ level = \"{level}\", format = \"json\"{file} }}\n\
             [hosts.local]\nurl = \"{engine}\"\n[discovery]\nenabled = {discovery}\nlabels = [\"{label}\"]\n\
             [api]\nlisten = \"127.0.0.1:0\"\n\
             [defaults]\n{defaults}\n[defaults.recovery]\n{recovery}\n{more}",
            socket.display()
        );
        fs::write(self.config(), text).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("iaso.toml")
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// Starts the daemon, and returns once it has said where it listens.
    pub fn start(&self, arguments: &[&str]) -> Daemon {
        self.start_by(Command::new(PROGRAM), arguments)
    }

    /// The same, by a command that runs the executable.
    pub fn start_by(&self, command: Command, arguments: &[&str]) -> Daemon {
        let log = self.dir.path().join(format!("log-{}", self.lives.fetch_add(1, Ordering::Relaxed)));
        let stderr = fs::File::create(&log).unwrap();
        self.start_with(command, arguments, stderr.into(), log)
    }

    /// The same, with its standard error somewhere; `log` is the file that its lines are read from.
    pub fn start_with(&self, mut command: Command, arguments: &[&str], stderr: Stdio, log: PathBuf) -> Daemon {
        command.args(["run", "--config", self.config().to_str().unwrap()]).args(arguments);
        let mut daemon = Daemon::start(command, stderr, log, self.socket());
        daemon.address = until("the daemon says where it listens", || {
            let line = daemon.find(|line| message(line).contains(SERVED))?;
            message(&line).split_once(SERVED).map(|(_, address)| address.to_owned())
        });
        daemon
    }

    /// Asks the daemon by the command line.
    pub fn iaso(&self, arguments: &[&str]) -> Said {
        asked(&self.socket(), arguments)
    }

    /// The folder, with every log of every run.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn asked(socket: &Path, arguments: &[&str]) -> Said {
    Said::of(Command::new(PROGRAM).args(arguments).env("IASO_SOCKET", socket))
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(command: &mut Command) -> Self {
        let output = command.env_remove("NO_COLOR").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A daemon that runs; killed when it is dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// Where it serves health and metrics.
    pub address: String,
    /// Where the command line reaches it.
    socket: PathBuf,
}

impl Daemon {
    /// Any command that becomes a daemon, and the file that its log is read from.
    pub fn start(mut command: Command, stderr: Stdio, log: PathBuf, socket: PathBuf) -> Self {
        for name in ["IASO_CONFIG", "STATE_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            if command.get_envs().all(|(given, _)| given != name) {
                command.env_remove(name);
            }
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Self { child, log, address: String::new(), socket }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// How it ended.
    pub fn ended(&mut self) -> ExitStatus {
        until("the daemon ends", || self.child.try_wait().unwrap())
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        self.send(Signal::TERM);
        let ended = self.ended();
        assert_eq!(ended.code(), Some(0), "{}", self.text());
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its log so far.
    pub fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its log so far, line by line; what is no JSON is no line.
    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first line that is as wanted, so far.
    pub fn find(&self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        self.lines().into_iter().find(wanted)
    }

    /// Waits for a line.
    pub fn until_line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, || self.find(&wanted))
    }

    /// Waits for a decision about a service.
    pub fn until_event(&self, service: &str, event: &str, reason: Option<&str>) -> Value {
        let what = format!("{service}: {event} {reason:?}");
        self.until_line(&what, |line| {
            is_event(line, service, event) && reason.is_none_or(|reason| line["reason"] == reason)
        })
    }

    /// How often something was decided about a service.
    pub fn count(&self, service: &str, event: &str) -> usize {
        self.lines().iter().filter(|line| is_event(line, service, event)).count()
    }

    /// `GET`; the status and the body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let stream = TcpStream::connect(&self.address).and_then(|stream| {
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            Ok(stream)
        });
        let answer = stream.and_then(|stream| Self::ask(stream, path));
        answer.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Asks whether it lives, 500 times on one connection.
    pub fn ask_often(&self) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = "GET /livez HTTP/1.1\r\nhost: iaso\r\n";
        let all = format!("{request}\r\n").repeat(499) + request + "connection: close\r\n\r\n";
        stream.write_all(all.as_bytes()).unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    }

    fn ask(mut stream: impl Read + Write, path: &str) -> std::io::Result<(u16, String)> {
        write!(stream, "GET {path} HTTP/1.1\r\nhost: iaso\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        Ok((head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), body.to_owned()))
    }

    /// `/health` as the command line's socket tells it, with messages.
    pub fn whole_health(&self) -> Value {
        let (_, body) = Self::ask(UnixStream::connect(&self.socket).unwrap(), "/health").unwrap();
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"))
    }

    /// `/health`, with its status.
    pub fn health(&self) -> (u16, Value) {
        let (code, body) = self.get("/health");
        (code, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body:?}")))
    }

    /// The value of the metric's series that has all these labels; none where there is no such series.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let (_, text) = self.get("/metrics");
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let mut series = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let line = series.find(|line| labels.iter().all(|label| line.contains(label)))?;
        line.rsplit_once(' ').map(|(_, value)| value.parse().unwrap())
    }

    /// What `iaso status` says of a service.
    pub fn status(&self, service: &str) -> Option<Value> {
        let said = asked(&self.socket, &["status", "--output", "json"]);
        let status: Value = serde_json::from_str(&said.out).ok()?;
        status["services"].as_array()?.iter().find(|known| known["name"] == service).cloned()
    }

    /// What `iaso explain` says of a service.
    pub fn explain(&self, service: &str) -> String {
        let said = asked(&self.socket, &["explain", service]);
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    /// The beginnings of attempts that were carried out, in order: one whose charge the store did not take in time never was,
    /// and another is made in its place.
    pub fn attempts(&self) -> Vec<Value> {
        let lines = self.lines();
        let dropped = |attempt: &Value| {
            let is_its_end = |line: &&Value| line["event"] == "operation_ended" && line["attempt"] == *attempt;
            lines.iter().filter(is_its_end).any(|line| line["reason"] == "dropped")
        };
        let begun = lines.iter().filter(|line| line["event"] == "operation_begun");
        begun.filter(|line| !dropped(&line["attempt"])).cloned().collect()
    }

    /// Waits until `iaso explain` says all of this.
    pub fn until_explained(&self, service: &str, parts: &[&str]) {
        until(&format!("{service} is explained by {parts:?}"), || {
            let said = self.explain(service);
            parts.iter().all(|part| said.contains(part)).then_some(())
        });
    }

    /// Waits until `iaso status` tells this health of a service.
    pub fn until_health(&self, service: &str, health: &str) {
        until(&format!("{service} is {health}"), || {
            self.status(service).filter(|known| known["health"] == health).map(drop)
        });
    }
}

fn is_event(line: &Value, service: &str, event: &str) -> bool {
    line["service"] == service && line["event"] == event
}

/// A line's message.
pub fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let text = self.text();
            let tail: Vec<&str> = text.lines().rev().take(40).collect();
            eprintln!("the daemon's last lines:");
            for line in tail.iter().rev() {
                eprintln!("  {line}");
            }
        }
    }
}
