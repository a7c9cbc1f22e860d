//! What is kept of an outage, on real containers: the story of each is told whole, and without secrets.

use std::fs;
use std::net::TcpListener;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::daemon::{Daemon, Home, Settings};
use crate::proxy::{Manner, Proxy};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("incidents::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        a_crash_is_told_whole_and_without_secrets,
        a_container_that_ran_out_of_memory_is_told_so,
        a_check_that_fails_tells_its_streak_and_what_it_saw,
        a_healthcheck_tells_what_it_printed,
        an_engine_that_hangs_on_logs_delays_nothing,
    ]
}

const SECRET: &str = "hunter2-planted";
const KEPT_BACK: &str = "[a line is kept back: it may hold a secret]";

/// The id of the outage that was healed.
fn healed(daemon: &Daemon, service: &str) -> String {
    let closed = daemon.until_event(service, "incident_closed", Some("healed"));
    closed["incident"].as_str().unwrap().to_owned()
}

/// The story of an outage, as soon as all of this is in it: evidence is written behind.
fn story(home: &Home, id: &str, parts: &[&str]) -> String {
    until(&format!("the story of {id} has all of {parts:?}"), || {
        let said = home.iaso(&["incidents", id]);
        assert_eq!(said.code, 0, "{said:?}");
        parts.iter().all(|part| said.out.contains(part)).then_some(said.out)
    })
}

/// The same for programs.
fn document(home: &Home, arguments: &[&str]) -> Value {
    let said = home.iaso(&[arguments, &["--output", "json"]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    serde_json::from_str(&said.out).unwrap()
}

fn a_crash_is_told_whole_and_without_secrets() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let daemon = home.start(&[]);
    let says = ["--says", "opening the shop", "--says", &format!("with password {SECRET}")];
    let fate = ["--exit-after", "1s:7", "--once"];
    let name = site.patient("crash", &["--network=none"], &[&says[..], &fate].concat());
    let id = healed(&daemon, &name);
    let parts = [
        "exit code 7",
        "    | opening the shop",
        &format!("    | {KEPT_BACK}"),
        "1 attempt, 0 failed",
        "Time to recover: ",
        "incident_opened [exited]",
        "operation_ended [healed]",
        "incident_closed [healed]",
    ];
    let told = story(&home, &id, &parts);
    assert!(!told.contains(SECRET), "{told}");

    let list = home.iaso(&["incidents", "--service", &name]);
    let line = list.out.lines().find(|line| line.starts_with(&id)).unwrap_or_else(|| panic!("{list:?}"));
    for part in [&*name, "exited by itself with code 7", "  1  ", "healed"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let account = document(&home, &["incidents", &id]);
    assert_eq!(
        (&account["attempts"], &account["ending"], &account["trouble"]),
        (&1.into(), &"healed".into(), &"exited".into())
    );
    assert!(account["time_to_recover_seconds"].as_u64().unwrap() < 60, "{account}");
    let first = &account["evidence"][0];
    assert_eq!((&first["event"], &first["container"]["exit_code"]), (&"incident_opened".into(), &7.into()), "{first}");
    assert_eq!(document(&home, &["incidents", "--open"])["incidents"], Value::Array(Vec::new()));

    // What was seen outlives a kill, and the secret is nowhere.
    daemon.kill();
    let daemon = home.start(&[]);
    story(&home, &id, &parts);
    assert_eq!(home.iaso(&["incidents", "0000000000000000"]).code, 1);
    assert_eq!(home.iaso(&["ack", &id]).code, 1, "it is over");
    daemon.stop();
    for file in ["iaso.db", "iaso.db-wal"] {
        let bytes = fs::read(home.data().join(file)).unwrap_or_default();
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{file}");
    }
}

fn a_container_that_ran_out_of_memory_is_told_so() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let daemon = home.start(&[]);
    let limits = ["--network=none", "--memory=64m", "--memory-swap=64m"];
    let name = site.patient("hungry", &limits, &["--swell-after", "1s", "--once"]);
    let id = healed(&daemon, &name);
    story(&home, &id, &["exit code 137; out of memory: the kernel killed it", "Time to recover: "]);
    daemon.stop();
}

fn a_check_that_fails_tells_its_streak_and_what_it_saw() {
    let site = Site::shared();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let name = site.patient("web", &["--publish", &format!("127.0.0.1:{port}:8080")], &["--says", "open"]);
    let more = format!(
        "[services.web]\ncontainer = \"{name}\"\nincident_log_lines = 0\n[[services.web.checks]]\nname = \"page\"\n\
         type = \"http\"\nurl = \"http://127.0.0.1:{port}/\"\non_failure = \"heal\"\nfailure_threshold = 3\n\
         [recovery]\nquiet_start = \"0s\"\n"
    );
    let home = Home::new(&site, &Settings { more, discovery: false, ..Settings::default() });
    let daemon = home.start(&[]);
    daemon.until_health("web", "healthy");
    site.ask(&name, "/sick");
    let id = healed(&daemon, "web");
    let seen = "Check page (http) has failed 3 times in a row: status 500, expected 200-299";
    let told = story(&home, &id, &[seen, "incident_opened [check]: an outage began: its check `page` fails"]);
    assert!(!told.contains("printed"), "no line of its log is wanted: {told}");
    daemon.stop();
}

fn a_healthcheck_tells_what_it_printed() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let daemon = home.start(&[]);
    let name = site.checked_patient("own", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    site.ask(&name, "/sick");
    let id = healed(&daemon, &name);
    story(&home, &id, &["Its HEALTHCHECK returned 1: iaso patient: answered 500", "    | serving on port 8080"]);
    daemon.stop();
}

fn an_engine_that_hangs_on_logs_delays_nothing() {
    let (site, proxy) = (Site::shared(), Proxy::open());
    let home = Home::with_engine(&format!("unix://{}", proxy.socket().display()), &site.label(), &Settings::default());
    proxy.behave(Manner::WithoutLogs);
    let daemon = home.start(&[]);
    // More than are asked about at once.
    let names =
        ["a", "b", "c", "d"].map(|short| site.patient(short, &["--network=none"], &["--exit-after", "1s:7", "--once"]));
    for name in &names {
        let id = healed(&daemon, name);
        let told = story(&home, &id, &["exit code 7", "What it printed could not be had: the engine did not answer"]);
        assert!(!told.contains("The last that it printed"), "{told}");
    }
    assert!(proxy.was_asked("/logs?"), "nobody asked for a log");
    daemon.stop();
}
