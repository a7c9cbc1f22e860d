//! Checks that look at a container from inside, through its engine, or wait for it to speak up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use iaso::engine::image::EXECUTABLE;
use libtest_mimic::Trial;

use crate::daemon::{Home, Settings};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("checks::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        a_container_is_asked_from_inside_and_healed_and_programs_of_the_host_only_alert,
        a_heartbeat_that_falls_silent_is_healed_and_one_that_never_came_is_not,
    ]
}

const TOKEN: &str = "correct-horse-battery-staple";
const QUIET: &str = "[recovery]\nquiet_start = \"0s\"\n";

/// A service of the file with these checks.
fn service(site: &Site, short: &str, checks: &[&str]) -> String {
    let checks = checks.iter().map(|lines| format!("[[services.{short}.checks]]\n{lines}\n")).collect::<String>();
    format!("[services.{short}]\ncontainer = \"{}\"\n{checks}", site.name(short))
}

fn a_container_is_asked_from_inside_and_healed_and_programs_of_the_host_only_alert() {
    let site = Site::shared();
    let inside = format!("[{EXECUTABLE:?}, \"patient\", \"--probe\", \"http://127.0.0.1:8080/health\"]");
    let exec = format!("type = \"exec\"\ncommand = {inside}\ninterval = \"1s\"\ntimeout = \"30s\"");
    let web = service(&site, "web", &[&exec, "type = \"docker\"\ninterval = \"1s\"\ntimeout = \"30s\""]);
    let command = "type = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"echo $IASO_SERVICE is unwell; exit 4\"]";
    let other = service(&site, "other", &[&format!("{command}\ninterval = \"1s\"\ntimeout = \"30s\"")]);
    let home = Home::new(&site, &Settings { more: format!("{QUIET}{web}{other}"), ..Settings::default() });
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), text.replacen("[daemon]\n", "[daemon]\nallow_commands = true\n", 1)).unwrap();
    let events = site.events();
    let daemon = home.start(&[]);
    // No network: only the engine leads inside.
    let name = site.patient("web", &["--network=none"], &[]);
    let spared = site.patient("other", &["--network=none"], &[]);
    daemon.until_health("web", "healthy");
    site.ask(&name, "/sick");
    daemon.until_event("web", "operation_begun", Some("check"));
    daemon.until_event("web", "incident_closed", Some("healed"));
    events.come_to(&name, "restart", 1);
    daemon.until_explained("other", &["is degraded", "exit code 4: other is unwell"]);
    let probed = home.iaso(&["probe", "web", "--config", home.config().to_str().unwrap()]);
    assert_eq!(probed.code, 0, "{probed:?}");
    for words in ["exec: passed", "exit code 0", "docker: passed", "it has no HEALTHCHECK"] {
        assert!(probed.out.contains(words), "{words} is not in {}", probed.out);
    }
    events.are(&spared, &["create", "start"]);
    daemon.stop();
}

/// The status that a ping is answered with.
fn ping(mut stream: impl Read + Write, path: &str, token: Option<&str>) -> u16 {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!("POST /api/v1/heartbeat/{path} HTTP/1.1\r\nhost: iaso\r\n{token}connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A job that pings, twice each time, while it is told to. It ends when it is dropped.
struct Job {
    pings: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Job {
    fn start(socket: &Path) -> Self {
        let mut job = Self { pings: Arc::new(AtomicBool::new(true)), over: Arc::default(), thread: None };
        let (pings, over, socket) = (Arc::clone(&job.pings), Arc::clone(&job.over), socket.to_owned());
        let work = move || {
            while !over.load(Ordering::Relaxed) {
                for path in ["jobs", "jobs/nightly"].iter().filter(|_| pings.load(Ordering::Relaxed)) {
                    assert_eq!(ping(UnixStream::connect(&socket).unwrap(), path, None), 204);
                }
                thread::sleep(Duration::from_millis(200));
            }
        };
        job.thread = Some(thread::Builder::new().name("job".to_owned()).spawn(work).unwrap());
        job
    }

    fn pings(&self, yes: bool) {
        self.pings.store(yes, Ordering::Relaxed);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // What it asks for last may still be under way, and the daemon must be there for it.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

fn a_heartbeat_that_falls_silent_is_healed_and_one_that_never_came_is_not() {
    let site = Site::shared();
    let beat = |name: &str| {
        format!("type = \"heartbeat\"\nname = \"{name}\"\nmax_age = \"10s\"\ninterval = \"1s\"\ntoken = \"{TOKEN}\"")
    };
    let more =
        format!("{QUIET}{}{}", service(&site, "jobs", &[&beat("nightly")]), service(&site, "mute", &[&beat("it")]));
    let home = Home::new(&site, &Settings { more, ..Settings::default() });
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.patient("jobs", &["--network=none"], &[]);
    let mute = site.patient("mute", &["--network=none"], &[]);
    // Never: told, and left alone.
    daemon.until_event("mute", "held", Some("never_succeeded"));
    daemon.until_event("jobs", "held", Some("never_succeeded"));
    // From anywhere only with the token, which opens nothing else.
    let tcp = || TcpStream::connect(&daemon.address).unwrap();
    assert_eq!(ping(tcp(), "jobs", None), 401);
    assert_eq!(ping(tcp(), "jobs", Some("wrong-horse-battery-staple")), 401);
    assert_eq!(ping(tcp(), "nobody", Some(TOKEN)), 401);
    assert_eq!(ping(tcp(), "jobs/nightly", Some(TOKEN)), 204);
    assert_eq!(ping(UnixStream::connect(home.socket()).unwrap(), "nobody", None), 404);
    // Twice is once.
    let job = Job::start(&home.socket());
    daemon.until_health("jobs", "healthy");
    events.are(&name, &["create", "start"]);
    let probed = home.iaso(&["probe", "jobs", "--config", home.config().to_str().unwrap()]);
    assert!(probed.code == 0 && probed.out.contains("only the daemon knows"), "{probed:?}");
    // Silent: healed once it speaks again.
    job.pings(false);
    daemon.until_event("jobs", "operation_begun", Some("check"));
    events.come_to(&name, "restart", 1);
    job.pings(true);
    daemon.until_event("jobs", "incident_closed", Some("healed"));
    daemon.until_health("jobs", "healthy");
    // Another Iaso waits as long again before it says anything.
    drop(job);
    daemon.stop();
    let daemon = home.start(&[]);
    daemon.until_event("jobs", "incident_opened", None);
    until("it is explained", || {
        let explained = daemon.explain("jobs");
        (explained.contains("no ping came for") || explained.contains("restart")).then_some(())
    });
    events.are(&mute, &["create", "start"]);
    assert!(!daemon.text().contains(TOKEN));
    daemon.stop();
}
