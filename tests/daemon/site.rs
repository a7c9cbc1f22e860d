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

    /// Creates and starts one that exits with 7 soon after each of its starts, and is never taken for healed in between: a
    /// busy machine may let it live longer than it should.
    pub fn crashing(&self, short: &str) -> String {
        let flags = ["--network=none", "--label=iaso.recovery.verify_stable=30s"];
        self.patient(short, &flags, &["--exit-after", "300ms:7"])
    }

    /// The same with a HEALTHCHECK, every 200 ms, two failures; it is healthy on return.
    pub fn checked_patient(&self, short: &str, flags: &[&str], orders: &[&str]) -> String {
        let name = self.made("run", "checked", short, flags, orders);
        until("the HEALTHCHECK passes", || (self.inspect(&name, ".State.Health.Status") == "healthy").then_some(()));
        name
    }

    /// A patient of one of the images, as it is made.
    pub fn patient_of(&self, tag: &str, short: &str, flags: &[&str], orders: &[&str]) -> String {
        self.made("run", tag, short, flags, orders)
    }

    fn made(&self, how: &str, tag: &str, short: &str, flags: &[&str], orders: &[&str]) -> String {
        let (name, label) = (self.name(short), self.label());
        let image = self.image(tag);
        let mut arguments = vec![how, "--name", &name, "--label", &label];
        arguments.extend((how == "run").then_some("--detach"));
        arguments.extend(flags);
        arguments.extend([&*image, "patient"]);
        arguments.extend(orders);
        self.docker(&arguments);
        name
    }

    /// One of the images.
    pub fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", repository())
    }

    /// Asks a patient for something, from inside.
    pub fn ask(&self, name: &str, path: &str) {
        /// It was not asked: it does not run, or does not listen yet.
        const UNASKED: [&str; 4] = ["is not running", "is restarting", "OCI runtime", "onnection refused"];
        let url = format!("http://127.0.0.1:8080{path}");
        let probe = ["exec", name, image::EXECUTABLE, "patient", "--probe", &url];
        until(&format!("{name} is asked for {path}"), || match self.try_docker(&probe) {
            Ok(_) => Some(()),
            Err(why) if UNASKED.iter().any(|words| why.contains(words)) => None,
            // One that leaves at once may take its answer along, and one that has no time for it has heard all the same.
            Err(_) => (path.starts_with("/exit") || path == "/sick" || path == "/hang").then_some(()),
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
    pub fn events(&self) -> Events<'_> {
        Events::open(self)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let labelled =
            |label: String| self.try_docker(&["ps", "-aq", "--filter", &format!("label={label}")]).unwrap_or_default();
        let ours = [labelled(self.label()), labelled(format!("{RUN}={}", mark_of(&self.run)))];
        let ours: Vec<&str> = ours.iter().flat_map(|ids| ids.lines()).collect();
        if !ours.is_empty() {
            let _ = self.try_docker(&[&["rm", "-f", "-v"], &*ours].concat());
        }
    }
}

/// The label's value for containers that only mark a place in the events of a test.
fn mark_of(run: &str) -> String {
    format!("{run}-mark")
}

/// What happened to the containers of a test, seen by somebody else than Iaso. It comes by another way than what Iaso tells,
/// and may come later: what a test asks of it, it waits for.
pub struct Events<'s> {
    site: &'s Site,
    child: Child,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    happened: Vec<Happening>,
    /// The names of the marks that were seen.
    marks: Vec<String>,
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

impl<'s> Events<'s> {
    fn open(site: &'s Site) -> Self {
        let mut command = Command::new("docker");
        command.args(["-H", &site.engine, "events", "--format", "{{json .}}"]);
        command.args(["--filter", "type=container", "--filter", &format!("label={RUN}")]);
        for action in ["create", "start", "restart", "stop", "die", "kill", "pause", "unpause", "destroy"] {
            command.args(["--filter", &format!("event={action}")]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let (lines, list) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(&seen));
        let (run, mark) = (site.run.clone(), mark_of(&site.run));
        std::thread::Builder::new()
            .spawn(move || {
                for line in lines.map_while(Result::ok) {
                    let event: Value = serde_json::from_str(&line).unwrap();
                    let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let attributes = &event["Actor"]["Attributes"];
                    let name = field(&attributes["name"]);
                    let mut seen = list.lock().unwrap();
                    // Other tests have their own.
                    if attributes[RUN] == *mark {
                        seen.marks.push(name);
                    } else if attributes[RUN] == *run {
                        let (action, nanos) = (field(&event["Action"]), event["timeNano"].as_i64().unwrap());
                        seen.happened.push(Happening { name, action, nanos });
                    }
                }
            })
            .unwrap();
        let events = Self { site, child, seen };
        events.catch_up();
        events
    }

    /// Waits until everything that has happened by now is known here: a container is made as a mark, and what is told before
    /// its creation happened before it.
    pub fn catch_up(&self) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let label = format!("--label={RUN}={}", mark_of(&self.site.run));
        until("the events have come", || {
            let mark = self.site.name(&format!("mark-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
            let made = ["create", "--name", &mark, "--network=none", &label, &self.site.image("1"), "patient"];
            self.site.docker(&made);
            self.site.docker(&["rm", &mark]);
            // Where the stream was not open yet, another mark is needed.
            let come = || self.seen().marks.contains(&mark);
            (0..100).find_map(|_| if come() { Some(()) } else { nap() })
        });
    }

    /// Waits until something has happened to a container so often. More often, then or by now, fails.
    pub fn come_to(&self, name: &str, action: &str, times: usize) {
        until(&format!("{name}: {action}, {times} times"), || (self.count(name, action) >= times).then_some(()));
        self.catch_up();
        assert_eq!(self.count(name, action), times, "{name}: {action}: {:?}", self.all());
    }

    /// Waits until just this has happened to a container, in this order.
    pub fn are(&self, name: &str, actions: &[&str]) {
        until(&format!("{name}: {actions:?}"), || (self.of(name).len() >= actions.len()).then_some(()));
        self.catch_up();
        assert_eq!(self.of(name), actions, "{name}: {:?}", self.all());
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often this happened to a container, as far as is known here.
    pub fn count(&self, name: &str, action: &str) -> usize {
        self.of(name).iter().filter(|seen| *seen == action).count()
    }

    /// Everything that happened to a container, in order, as far as is known here.
    pub fn of(&self, name: &str) -> Vec<String> {
        self.timed().into_iter().filter(|event| event.name == name).map(|event| event.action).collect()
    }

    /// Everything that happened, in order, as far as is known here.
    pub fn timed(&self) -> Vec<Happening> {
        self.seen().happened.clone()
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

/// A moment between two looks.
fn nap<T>() -> Option<T> {
    std::thread::sleep(Duration::from_millis(20));
    None
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the engine's events: {:?}", self.all());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates end at a wall time")]
pub fn clock() -> Duration {
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn repository() -> String {
    format!("iaso-test-daemon-{}", std::process::id())
}

/// Three images of the executable: a patient, one with a HEALTHCHECK, and the daemon, as the published image makes it.
const TAGS: [&str; 3] = ["1", "checked", "daemon"];

fn import(engine: &str) {
    static PACKED: LazyLock<image::Image> = LazyLock::new(|| image::pack(Path::new(PROGRAM)).unwrap());
    let probe = "[\"/iaso\", \"patient\", \"--probe\", \"http://127.0.0.1:8080/health\"]";
    let check = format!("HEALTHCHECK --interval=200ms --timeout=5s --retries=2 CMD {probe}");
    let daemon = ["CMD [\"run\"]", "ENV IASO_API_LISTEN=[::]:9797", "EXPOSE 9797"].map(str::to_owned);
    let alive = "HEALTHCHECK --interval=5s --timeout=5s CMD [\"/iaso\", \"health\"]".to_owned();
    let more = [vec![], vec![check], [&daemon[..], &[alive]].concat()];
    for (tag, more) in TAGS.into_iter().zip(more) {
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
    for tag in TAGS {
        let _ = Command::new("docker").args(["rmi", "-f", &format!("{}:{tag}", repository())]).output();
    }
}
