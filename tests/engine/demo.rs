//! `iaso demo` as a person runs it: on the machine's engine, simulated, interrupted, killed, and with nobody reading.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::docker_rig::block_on;
use crate::fake::{Fake, Manner};
use crate::support::{Need, test};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($need:expr; $($name:ident),+ $(,)?) => {
            [$(test(concat!("demo::", stringify!($name)), &[$need], || { $name(); Ok(()) })),+]
        };
    }
    let simulated = suite![Need::Nothing; the_simulated_one_handles_everyone, on_an_engine_that_denies_it_it_is_simulated, without_an_engine_it_is_simulated_and_says_why];
    let real = suite![
        Need::Engine;
        the_real_one_handles_everyone_and_leaves_nothing,
        interrupted_it_leaves_nothing,
        ended_while_it_sets_up_it_leaves_nothing,
        without_a_reader_it_ends_and_leaves_nothing,
        what_a_killed_one_left_goes_with_the_next,
    ];
    simulated.into_iter().chain(real).collect()
}

/// What each patient comes to, in the summary's words.
const ENDS: [(&str, &str); 6] = [
    ("api", "healed in"),
    ("importer", "quarantined"),
    ("mailer", "healed in"),
    ("cache", "healed in"),
    ("search", "healed in"),
    ("reports", "left stopped"),
];

/// A demo under way. Whatever it leaves is removed when this is dropped.
struct Demo {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    told: String,
    name: String,
}

/// How a demo ended.
struct Ended {
    code: Option<i32>,
    told: String,
    complained: String,
}

impl Demo {
    /// Starts one whose things are named as no other's. `home` is where its folder goes.
    fn start(home: &tempfile::TempDir, args: &[&str], env: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("iaso-test-demo-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut child = Command::new(env!("CARGO_BIN_EXE_iaso"))
            .arg("demo")
            .args(args)
            .env_remove("DOCKER_HOST")
            .env("IASO_DEMO_PREFIX", &name)
            .env("TMPDIR", home.path())
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the demo");
        let out = Some(BufReader::new(child.stdout.take().expect("its output")));
        Self { child, out, told: String::new(), name }
    }

    /// Reads on until a line holds this.
    fn until(&mut self, wanted: &str) {
        let out = self.out.as_mut().expect("its output");
        loop {
            let before = self.told.len();
            let read = out.read_line(&mut self.told).expect("a line");
            assert_ne!(read, 0, "{wanted:?} never came:\n{}", self.told);
            if self.told[before..].contains(wanted) {
                return;
            }
        }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal");
    }

    fn end(&mut self) -> Ended {
        if let Some(mut out) = self.out.take() {
            out.read_to_string(&mut self.told).expect("the rest");
        }
        let mut complained = String::new();
        self.child.stderr.take().expect("its errors").read_to_string(&mut complained).expect("its errors");
        let code = self.child.wait().expect("its end").code();
        Ended { code, told: std::mem::take(&mut self.told), complained }
    }

    /// The containers, networks and images that carry its name.
    fn left(&self) -> Vec<String> {
        let image = format!("reference={}-*", self.name);
        let name = format!("name={}", self.name);
        let kinds = [["ps", "-aq", "--filter", &name], ["network", "ls", "-q", &format!("--filter={name}")]];
        let images = ["image", "ls", "-q", &format!("--filter={image}")];
        kinds.iter().chain([&images]).flat_map(|args| docker(args)).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let name = format!("name={}", self.name);
        for (find, remove) in [
            (vec!["ps", "-aq", "--filter", &name], vec!["rm", "-fv"]),
            (vec!["network", "ls", "-q", "--filter", &name], vec!["network", "rm"]),
            (vec!["image", "ls", "-q", "--filter", &format!("reference={}-*", self.name)], vec!["rmi", "-f"]),
        ] {
            for id in docker(&find) {
                let _ = Command::new("docker").args(&remove).arg(id).output();
            }
        }
    }
}

/// The words that `docker` prints; none where there is no engine.
fn docker(args: &[&str]) -> Vec<String> {
    let output = Command::new("docker").args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn is_empty(home: &tempfile::TempDir) -> bool {
    home.path().read_dir().expect("the folder").next().is_none()
}

/// Everybody came to the promised end, in a text that fits a terminal.
fn assert_everyone_handled(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}{}", ended.told, ended.complained);
    let (_, summary) = ended.told.split_once("every patient was handled").expect("a summary");
    for (name, end) in ENDS {
        let row = summary.lines().find(|line| line.trim_start().starts_with(name)).expect("its row");
        assert!(row.contains(end), "{row}");
    }
    assert!(summary.contains("neighbours were never touched"), "{summary}");
    assert!(summary.contains("(quarantine, since") && summary.contains("(operator_stopped, since"), "{summary}");
    assert_eq!(ended.complained, "");
    assert!(!ended.told.contains('\u{1b}'), "colours are for terminals");
    let widest = ended.told.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?}:\n{}", ended.told);
}

fn the_simulated_one_handles_everyone() {
    let home = home();
    let mut demo = Demo::start(&home, &["--simulated", "--keep"], &[]);
    demo.until("--simulated");
    demo.until("Going on until Ctrl-C");
    demo.send(Signal::INT);
    assert_everyone_handled(&demo.end());
    assert!(is_empty(&home));
}

fn without_an_engine_it_is_simulated_and_says_why() {
    let home = home();
    for (host, why) in [("unix:///nowhere/docker.sock", "/nowhere/docker.sock"), ("ssh://elsewhere", "DOCKER_HOST")] {
        let mut demo = Demo::start(&home, &[], &[("DOCKER_HOST", host)]);
        demo.until("This is a simulation");
        demo.until("What happens");
        assert!(demo.told.split_once("Iaso itself").expect("a second sentence").0.contains(why), "{}", demo.told);
        demo.send(Signal::TERM);
        let ended = demo.end();
        assert_eq!(ended.code, Some(1));
        assert!(ended.complained.contains("interrupted"), "{}", ended.complained);
    }
    assert!(is_empty(&home));
}

fn on_an_engine_that_denies_it_it_is_simulated() {
    block_on(async {
        let (home, fake) = (home(), Fake::listening());
        fake.behave(Manner::DeniedChange);
        let mut demo = Demo::start(&home, &[], &[("DOCKER_HOST", &format!("unix://{}", fake.socket().display()))]);
        demo.until("This is a simulation");
        demo.until("What happens");
        assert!(demo.told.contains("the network") && demo.told.contains("403"), "{}", demo.told);
        demo.send(Signal::INT);
        let ended = demo.end();
        assert_eq!(ended.code, Some(1));
        assert!(ended.complained.contains("interrupted") && !ended.told.contains("Removed"), "{}", ended.complained);
        assert!(is_empty(&home));
    });
}

fn the_real_one_handles_everyone_and_leaves_nothing() {
    let home = home();
    let mut demo = Demo::start(&home, &[], &[]);
    let ended = demo.end();
    assert_everyone_handled(&ended);
    assert!(ended.told.contains("Removed: "), "{}", ended.told);
    assert_eq!(demo.left(), Vec::<String>::new());
    assert!(is_empty(&home));
}

fn interrupted_it_leaves_nothing() {
    let home = home();
    let mut demo = Demo::start(&home, &[], &[]);
    demo.until("down again");
    let containers = docker(&["ps", "-aq", "--filter", &format!("name={}", demo.name)]);
    assert_eq!(containers.len(), 12);
    for container in containers {
        assert_eq!(docker(&["inspect", "-f", "{{len .Mounts}}", &container]), ["0"], "a volume to leave behind");
    }
    demo.send(Signal::INT);
    let ended = demo.end();
    assert_eq!(ended.code, Some(1), "{}", ended.told);
    assert!(ended.complained.contains("interrupted"), "{}", ended.complained);
    assert_eq!(demo.left(), Vec::<String>::new());
    assert!(is_empty(&home));
}

fn ended_while_it_sets_up_it_leaves_nothing() {
    let home = home();
    let mut demo = Demo::start(&home, &[], &[]);
    demo.until("What happens");
    while demo.left().is_empty() {}
    demo.send(Signal::TERM);
    assert_eq!(demo.end().code, Some(1));
    assert_eq!(demo.left(), Vec::<String>::new());
    assert!(is_empty(&home));
}

fn without_a_reader_it_ends_and_leaves_nothing() {
    let home = home();
    let mut demo = Demo::start(&home, &[], &[]);
    demo.until("all twelve are healthy");
    drop(demo.out.take());
    let ended = demo.end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.complained.contains("cannot be printed"), "{}", ended.complained);
    assert_eq!(demo.left(), Vec::<String>::new());
    assert!(is_empty(&home));
}

fn what_a_killed_one_left_goes_with_the_next() {
    let home = home();
    let mut killed = Demo::start(&home, &[], &[]);
    killed.until("all twelve are healthy");
    killed.send(Signal::KILL);
    killed.end();
    assert_eq!(killed.left().len(), 14, "twelve containers, a network, an image");
    assert!(!is_empty(&home));
    let mut next = Demo::start(&home, &[], &[]);
    next.until("What happens");
    assert_eq!(killed.left(), Vec::<String>::new());
    next.send(Signal::INT);
    assert_eq!(next.end().code, Some(1));
    assert_eq!(next.left(), Vec::<String>::new());
    assert!(is_empty(&home));
}
