//! Whoever used autoheal changes the image and nothing else: its documented ways to start it, its environment and labels, and
//! what it fails at.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::daemon::{Home, PROGRAM, Settings, message};
use crate::own_dockerd::OwnDockerd;
use crate::proxy::Proxy;
use crate::site::Site;
use crate::support::{Need, test};
use crate::{scratch, until, wait};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident: $needs:expr),+ $(,)?) => {
            vec![$(test(concat!("autoheal::", stringify!($name)), &$needs, || { $name(); Ok(()) })),+]
        };
    }
    suite![
        its_run_line_with_another_image_heals_everything_that_does_not_refuse: [Need::OwnEngine],
        its_compose_example_with_another_image_heals: [Need::OwnEngine, Need::Program("docker-compose")],
        a_socket_that_is_missing_at_start_or_vanishes_is_waited_for: [Need::Engine, Need::OwnEngine],
        stop_timeouts_are_honoured_to_their_end_and_told_in_valid_json: [Need::Engine],
    ]
}

const NONE: &str = "--network=none";

/// Iaso in a container.
struct Healer<'s> {
    site: &'s Site,
    name: String,
}

impl Healer<'_> {
    fn text(&self) -> String {
        let output = Command::new("docker").args(["-H", &self.site.engine, "logs", &self.name]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Waits for a line of its log.
    fn until_line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            let text = self.text();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            lines.find(|line| wanted(line))
        })
    }

    /// The line that says which variables were read.
    fn inherited(&self) -> String {
        let line =
            self.until_line("it says what it inherits", |line| message(line).starts_with("autoheal's environment"));
        message(&line).to_owned()
    }

    fn until_event(&self, service: &str, event: &str) {
        self.until_line(&format!("{service}: {event}"), |line| line["service"] == service && line["event"] == event);
    }

    /// Waits until it watches a container.
    fn until_watched(&self, service: &str) {
        until(&format!("{service} is watched"), || self.ask(&["explain", service]).is_ok().then_some(()));
    }

    fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        self.site.try_docker(&[&["exec", &self.name, "/iaso"], arguments].concat())
    }
}

impl Drop for Healer<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let text = self.text();
            let tail: Vec<&str> = text.lines().rev().take(40).collect();
            eprintln!("its last lines:");
            for line in tail.iter().rev() {
                eprintln!("  {line}");
            }
        }
        let _ = self.site.try_docker(&["rm", "-f", "-v", &self.name]);
    }
}

fn is_unhealthy(site: &Site, name: &str) {
    let status = || site.inspect(name, ".State.Health.Status");
    until(&format!("{name} is unhealthy"), || (status() == "unhealthy").then_some(()));
}

fn its_run_line_with_another_image_heals_everything_that_does_not_refuse() {
    let dockerd = wait(OwnDockerd::start());
    let site = Site::own(&dockerd.socket());
    let events = site.events();
    let name = site.name("autoheal");
    let socket = format!("{}:/var/run/docker.sock", dockerd.socket().display());
    site.docker(&[
        &["run", "-d", "--name", &name, "--restart=always", "-e", "AUTOHEAL_CONTAINER_LABEL=all", "-v", &socket][..],
        &[&site.image("daemon")],
    ]
    .concat());
    let healer = Healer { site: &site, name };
    assert!(
        healer.inherited().contains("AUTOHEAL_CONTAINER_LABEL: every container is watched"),
        "{}",
        healer.inherited()
    );

    let sick = site.checked_patient("sick", &[NONE], &[]);
    let exited = site.patient("exited", &[NONE], &[]);
    let refusing = ["false", "FALSE", "False"]
        .map(|no| site.checked_patient(&no.replace('F', "f-"), &[NONE, &format!("--label=autoheal={no}")], &[]));
    // It is never well, and autoheal would restart it for ever.
    let bounds = ["max_attempts=2", "verify_timeout=2s", "backoff.base=200ms"];
    let bounds = bounds.map(|bound| format!("--label=iaso.recovery.{bound}"));
    let hopeless =
        site.patient_of("checked", "hopeless", &[NONE, &bounds[0], &bounds[1], &bounds[2]], &["--sick-after", "0s"]);
    for name in [&sick, &exited, &hopeless] {
        healer.until_watched(name);
    }

    site.ask(&exited, "/exit?code=3");
    for name in &refusing {
        site.ask(name, "/sick");
        is_unhealthy(&site, name);
    }
    // What a person stops while it is unhealthy, autoheal starts again.
    healer.until_event(&hopeless, "quarantined");
    is_unhealthy(&site, &hopeless);
    site.docker(&["stop", "-t", "1", &hopeless]);
    for healed in 1..=2 {
        site.ask(&sick, "/sick");
        until("it is restarted", || (events.count(&sick, "restart") >= healed).then_some(()));
        until("it is healthy", || (site.inspect(&sick, ".State.Health.Status") == "healthy").then_some(()));
    }
    events.come_to(&hopeless, "restart", 2);
    assert!(!site.runs(&hopeless), "what a person stopped was started: {:?}", events.all());
    // What exited was not started.
    events.come_to(&exited, "start", 1);
    for name in &refusing {
        assert!(healer.ask(&["explain", name]).is_err(), "{name} is watched");
        events.come_to(name, "restart", 0);
    }
    for own in [&["health"][..], &["health", "--address", "127.0.0.1:9797"]] {
        assert_eq!(healer.ask(own).as_deref(), Ok("alive"), "{own:?}");
    }
    until("it is healthy itself", || (site.inspect(&healer.name, ".State.Health.Status") == "healthy").then_some(()));
    assert_eq!(site.inspect(&healer.name, ".RestartCount"), "0");
}

/// autoheal's documented example, with another image, and the engine of the test.
const COMPOSE: &str = "\
services:
  app:
    extends:
      file: ${PWD}/services.yml
      service: app
    labels:
      autoheal-app: true

  autoheal:
    deploy:
      replicas: 1
    environment:
      AUTOHEAL_CONTAINER_LABEL: autoheal-app
    image: IMAGE
    network_mode: none
    restart: always
    volumes:
      - /etc/localtime:/etc/localtime:ro
      - SOCKET:/var/run/docker.sock
";

fn its_compose_example_with_another_image_heals() {
    let dockerd = wait(OwnDockerd::start());
    let site = Site::own(&dockerd.socket());
    let events = site.events();
    let folder = scratch();
    let socket = dockerd.socket().display().to_string();
    let compose = COMPOSE.replace("IMAGE", &site.image("daemon")).replace("SOCKET", &socket);
    let services = format!(
        "services:\n  app:\n    image: {}\n    command: patient\n    network_mode: none\n    labels:\n      iaso-test.run: {}\n",
        site.image("checked"),
        site.run
    );
    fs::write(folder.path().join("docker-compose.yml"), compose).unwrap();
    fs::write(folder.path().join("services.yml"), services).unwrap();
    let project = site.name("compose");
    let output = Command::new("docker-compose")
        .args(["-H", &site.engine, "-p", &project, "up", "-d"])
        .current_dir(folder.path())
        .env("PWD", folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let (app, service) = (format!("{project}_app_1"), format!("{project}-app"));
    let healer = Healer { site: &site, name: format!("{project}_autoheal_1") };
    let said = healer.inherited();
    assert!(said.contains("containers with the label \"autoheal-app\" of the value true"), "{said}");
    // The label of another autoheal, and none.
    let others = site.checked_patient("others", &[NONE, "--label=autoheal=true"], &[]);
    let plain = site.checked_patient("plain", &[NONE], &[]);
    healer.until_watched(&service);
    for name in [&others, &plain] {
        site.ask(name, "/sick");
        is_unhealthy(&site, name);
    }
    for healed in 1..=2 {
        site.ask(&app, "/sick");
        until("it is restarted", || (events.count(&app, "restart") >= healed).then_some(()));
        until("it is healthy", || (site.inspect(&app, ".State.Health.Status") == "healthy").then_some(()));
    }
    for name in [&others, &plain] {
        events.come_to(name, "restart", 0);
    }
    site.ask(&app, "/exit?code=3");
    healer.until_line("its exit is left alone", |line| line["service"] == *service && line["reason"] == "mode");
    assert!(!site.runs(&app), "{:?}", events.all());
}

fn a_socket_that_is_missing_at_start_or_vanishes_is_waited_for() {
    let mut dockerd = wait(OwnDockerd::start());
    let (ours, theirs) = (Site::shared(), Site::own(&dockerd.socket()));
    let sick = theirs.checked_patient("sick", &[NONE, "--restart=always", "--label=autoheal=true"], &[]);
    wait(dockerd.stop());
    let _ = fs::remove_file(dockerd.socket());
    let (name, label) = (ours.name("autoheal"), format!("--label={}", ours.label()));
    let folder = format!("{}:/engine", dockerd.socket().parent().unwrap().display());
    ours.docker(
        &[
            &["run", "-d", "--name", &name, &label, "--restart=always", NONE, "-v", &folder][..],
            &["-e", "DOCKER_SOCK=/engine/docker.sock", "-e", "AUTOHEAL_INTERVAL=1", &ours.image("daemon")],
        ]
        .concat(),
    );
    let healer = Healer { site: &ours, name };
    let said = healer.inherited();
    assert!(said.contains("AUTOHEAL_INTERVAL: not needed") && said.contains("DOCKER_SOCK: the engine"), "{said}");
    healer.until_line("it says that there is no engine", |line| line["level"] == "WARN" && line["host"] == "local");

    wait(dockerd.start_again());
    healer.until_watched(&sick);
    wait(dockerd.stop());
    until("it knows that the engine is away", || {
        healer.ask(&["explain", &sick]).is_ok_and(|said| said.contains("unknown")).then_some(())
    });
    wait(dockerd.start_again());
    until("it runs again", || theirs.runs(&sick).then_some(()));
    theirs.ask(&sick, "/sick");
    // An engine that has just started is given two minutes before its HEALTHCHECKs count.
    healer.until_line("it would be healed", |line| line["service"] == *sick && line["reason"] == "quiet_start");
    assert_eq!(ours.inspect(&healer.name, ".RestartCount"), "0");
}

/// What a webhook was sent; its threads end with the test's process.
pub fn webhook() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let bodies = Arc::<Mutex<Vec<String>>>::default();
    let ours = Arc::clone(&bodies);
    let accept = move || {
        for client in listener.incoming().map_while(Result::ok) {
            ours.lock().unwrap().extend(body(client));
        }
    };
    thread::Builder::new().spawn(accept).unwrap();
    (url, bodies)
}

/// A request's body, answered well.
fn body(mut client: TcpStream) -> Option<String> {
    let mut request = String::new();
    let mut piece = [0; 4096];
    while !request.ends_with('}') {
        let length = client.read(&mut piece).ok().filter(|length| *length > 0)?;
        request.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    client.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    request.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

fn stop_timeouts_are_honoured_to_their_end_and_told_in_valid_json() {
    let site = Site::shared();
    let (engine, events) = (Proxy::open(), site.events());
    let (url, bodies) = webhook();
    let recovery = "verify_stable = \"1s\"\nverify_timeout = \"60s\"\n";
    let settings = Settings { recovery, ..Settings::default() };
    let home = Home::with_engine(&format!("unix://{}", engine.socket().display()), &site.label(), &settings);
    let mut command = Command::new(PROGRAM);
    let key = "the \"text\"";
    for (variable, value) in [
        ("AUTOHEAL_DEFAULT_STOP_TIMEOUT", "2"),
        ("CURL_TIMEOUT", "30"),
        ("WEBHOOK_URL", &url),
        ("WEBHOOK_JSON_KEY", key),
    ] {
        command.env(variable, value);
    }
    let daemon = home.start_by(command, &[]);
    let short = site.checked_patient("short", &[NONE], &["--ignore-term"]);
    // Longer than the time that autoheal gives the engine, after which it tells a failure.
    let long = site.checked_patient("long", &[NONE, "--label=autoheal.stop.timeout=33"], &["--ignore-term"]);
    for name in [&short, &long] {
        daemon.until_health(name, "healthy");
        site.ask(name, "/sick");
    }
    for (name, timeout) in [(&short, 2), (&long, 33)] {
        let asked = format!("/containers/{}/restart?t={timeout}", site.inspect(name, ".Id"));
        until(&asked, || engine.was_asked(&asked).then_some(()));
        daemon.until_event(name, "operation_ended", Some("healed"));
        events.come_to(name, "restart", 1);
        let said = format!(
            "Container {name} ({}) found to be unhealthy. Successfully restarted the container!",
            &site.inspect(name, ".Id")[..12]
        );
        until(&said, || {
            let bodies = bodies.lock().unwrap();
            let mut texts = bodies.iter().map(|body| serde_json::from_str::<Value>(body).unwrap()[key].to_string());
            texts.any(|text| text.contains(&said)).then_some(())
        });
    }
    let told = |result| daemon.metric("iaso_notifications_total", &[("reporter", "webhook"), ("result", result)]);
    until("the metric counts them", || (told("delivered") == Some(2.0)).then_some(()));
    daemon.stop();
}
