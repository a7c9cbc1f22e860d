//! An engine, a person's hands on it, and the containers of one test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use iaso::engine::image;
use serde_json::Value;

use crate::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_iaso");
const DEFAULT_ENGINE: &str = "unix:///var/run/docker.sock";
/// The label that says which test a container belongs to.
const RUN: &str = "iaso-test.run";

/// One test's place on an engine. Its containers are removed when it is dropped.
pub struct Site {
    /// The engine's address, as `DOCKER_HOST` has it.
    pub engine: String,
    /// What tells this test's containers from all others.
    pub run: String,
}

impl Site {
    /// On the machine's engine.
    pub fn shared() -> Self {
        static IMPORTED: LazyLock<()> = LazyLock::new(|| import(DEFAULT_ENGINE));
        LazyLock::force(&IMPORTED);
        Self::at(DEFAULT_ENGINE.to_owned())
    }

    /// On an engine that the test started itself.
    pub fn own(socket: &Path) -> Self {
        let engine = format!("unix://{}", socket.display());
        import(&engine);
        Self::at(engine)
    }

    fn at(engine: String) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self { engine, run: format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)) }
    }

    /// The label by which Iaso finds this test's containers.
    pub fn label(&self) -> String {
        format!("{RUN}={}", self.run)
    }

    /// A container's whole name.
    pub fn name(&self, short: &str) -> String {
        format!("iaso-test-{}-{short}", self.run)
    }

    /// `docker ARGUMENTS`, which must succeed; what it printed.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = self.try_docker(arguments);
        output.unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"))
    }

    /// `docker ARGUMENTS`; what it complained about where it failed.
    pub fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("docker").args(["-H", &self.engine]).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Creates and starts a patient; returns its name. `flags` are `docker run`'s, `orders` are the patient's.
    pub fn patient(&self, short: &str, flags: &[&str], orders: &[&str]) -> String {
        self.made("run", "1", short, flags, orders)
    }

    /// The same with a HEALTHCHECK, every 200 ms, two failures; it is healthy on return.
    pub fn checked_patient(&self, short: &str, flags: &[&str], orders: &[&str]) -> String {
        let name = self.made("run", "checked", short, flags, orders);
        until("the HEALTHCHECK passes", || (self.inspect(&name, ".State.Health.Status") == "healthy").then_some(()));
        name
    }

    fn made(&self, how: &str, tag: &str, short: &str, flags: &[&str], orders: &[&str]) -> String {
        let (name, label) = (self.name(short), self.label());
        let image = format!("{}:{tag}", repository());
        let mut arguments = vec![how, "--name", &name, "--label", &label];
        arguments.extend((how == "run").then_some("--detach"));
        arguments.extend(flags);
        arguments.extend([&*image, "patient"]);
        arguments.extend(orders);
        self.docker(&arguments);
        name
    }

    /// Asks a patient for something, from inside.
    pub fn ask(&self, name: &str, path: &str) {
        let url = format!("http://127.0.0.1:8080{path}");
        let probe = ["exec", name, image::EXECUTABLE, "patient", "--probe", &url];
        until("the patient can be asked", || {
            // One that leaves at once may take its answer along.
            let asked = self.try_docker(&probe);
            (asked.is_ok() || path.starts_with("/exit") || path == "/sick" || path == "/hang").then_some(())
        });
    }

    /// One field of `docker inspect`.
    pub fn inspect(&self, name: &str, field: &str) -> String {
        self.try_docker(&["inspect", "--format", &format!("{{{{{field}}}}}"), name]).unwrap_or_default()
    }

    /// Whether the container runs.
    pub fn runs(&self, name: &str) -> bool {
        self.inspect(name, ".State.Status") == "running"
    }

    /// Everything that happens to this test's containers, from now on.
    pub fn events(&self) -> Events {
        Events::open(self)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let ours = self.try_docker(&["ps", "-aq", "--filter", &format!("label={}", self.label())]).unwrap_or_default();
        let ours: Vec<&str> = ours.lines().collect();
        if !ours.is_empty() {
            let _ = self.try_docker(&[&["rm", "-f", "-v"], &*ours].concat());
        }
    }
}

/// What happened to the containers of a test, seen by somebody else than Iaso.
pub struct Events {
    child: Child,
    seen: Arc<Mutex<Vec<Happening>>>,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Happening {
    /// To which container.
    pub name: String,
    /// What.
    pub action: String,
    /// When, on the engine's clock.
    pub nanos: i64,
}

impl Events {
    fn open(site: &Site) -> Self {
        // What came before the stream was open is sent after it.
        let since = clock().as_secs_f64().to_string();
        let mut command = Command::new("docker");
        command.args(["-H", &site.engine, "events", "--since", &since, "--format", "{{json .}}"]);
        command.args(["--filter", "type=container", "--filter", &format!("label={}", site.label())]);
        for action in ["create", "start", "restart", "stop", "die", "kill", "pause", "unpause", "destroy"] {
            command.args(["--filter", &format!("event={action}")]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let seen = Arc::<Mutex<Vec<Happening>>>::default();
        let (lines, list) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(&seen));
        std::thread::Builder::new()
            .spawn(move || {
                for line in lines.map_while(Result::ok) {
                    let event: Value = serde_json::from_str(&line).unwrap();
                    let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    list.lock().unwrap().push(Happening {
                        name: field(&event["Actor"]["Attributes"]["name"]),
                        action: field(&event["Action"]),
                        nanos: event["timeNano"].as_i64().unwrap(),
                    });
                }
            })
            .unwrap();
        Self { child, seen }
    }

    /// How often this happened to a container.
    pub fn count(&self, name: &str, action: &str) -> usize {
        self.of(name).iter().filter(|seen| *seen == action).count()
    }

    /// Everything that happened to a container, in order.
    pub fn of(&self, name: &str) -> Vec<String> {
        self.timed().into_iter().filter(|event| event.name == name).map(|event| event.action).collect()
    }

    /// Everything that happened, in order.
    pub fn timed(&self) -> Vec<Happening> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything, by container: for the message of a failed test.
    pub fn all(&self) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for event in self.timed() {
            all.entry(event.name).or_default().push(event.action);
        }
        all
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the engine's events are asked for by wall time")]
fn clock() -> Duration {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn repository() -> String {
    format!("iaso-test-daemon-{}", std::process::id())
}

/// Two images of the executable: a plain one, and one with a HEALTHCHECK.
fn import(engine: &str) {
    static PACKED: LazyLock<image::Image> = LazyLock::new(|| image::pack(Path::new(PROGRAM)).unwrap());
    let probe = "[\"/iaso\", \"patient\", \"--probe\", \"http://127.0.0.1:8080/health\"]";
    let check = format!("HEALTHCHECK --interval=200ms --timeout=5s --retries=2 CMD {probe}");
    for (tag, more) in [("1", None), ("checked", Some(check))] {
        let mut command = Command::new("docker");
        command.args(["-H", engine, "import"]);
        for change in PACKED.changes.iter().chain(&more) {
            command.args(["--change", change]);
        }
        let mut child = command
            .args(["-", &format!("{}:{tag}", repository())])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&PACKED.layer).unwrap();
        assert!(child.wait().unwrap().success(), "docker import");
    }
}

/// Removes the images from the machine's engine.
pub fn remove_images() {
    for tag in ["1", "checked"] {
        let _ = Command::new("docker").args(["rmi", "-f", &format!("{}:{tag}", repository())]).output();
    }
}
