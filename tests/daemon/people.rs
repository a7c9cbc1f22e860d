//! What people ask and order, and what they are told.

use std::process::Command;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::daemon::{Daemon, Home, PROGRAM, Said, Settings, message};
use crate::site::Site;
use crate::support::{Need, test};
use crate::{scratch, until};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("people::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        observing_decides_and_touches_nothing,
        orders_are_carried_out_and_answered,
        a_restart_waits_for_the_one_in_flight_unless_it_is_urgent,
        what_a_person_does_at_the_engine_is_left_so,
        each_exit_code_means_one_thing,
        a_recording_replays_to_the_very_decisions_of_the_log,
    ]
}

fn observing_decides_and_touches_nothing() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let daemon = home.start(&["--observe"]);
    let crash = site.patient("crash", &["--network=none"], &["--exit-after", "500ms:3"]);
    let sick = site.checked_patient("sick", &["--network=none"], &[]);
    site.ask(&sick, "/sick");
    for name in [&crash, &sick] {
        let told = daemon.until_event(name, "held", Some("observe"));
        assert!(message(&told).contains("would restart now"), "{told}");
        daemon.until_explained(name, &["is unhealthy", "would restart", "without `--observe` it would restart"]);
        let held = || daemon.metric("iaso_holds_total", &[("service", name), ("reason", "observe")]);
        until("the metric tells it", || (held() == Some(1.0)).then_some(()));
        assert_eq!(daemon.metric("iaso_recoveries_total", &[("service", name)]), None);
        assert_eq!(daemon.count(name, "operation_begun"), 0);
    }
    assert_eq!(daemon.health().1["observe"], true);
    assert!(home.iaso(&["status"]).out.contains("it decides and touches nothing"));
    daemon.stop();
    events.are(&crash, &["create", "start", "die"]);
    events.are(&sick, &["create", "start"]);
}

fn orders_are_carried_out_and_answered() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    assert_eq!(home.iaso(&["health"]).code, 0);

    let said = home.iaso(&["pause", &name]);
    assert!(said.code == 0 && said.out.contains("is paused"), "{said:?}");
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "held", Some("paused"));
    daemon.until_explained(&name, &["is unhealthy", "nothing (paused"]);
    events.come_to(&name, "start", 1);
    assert!(!site.runs(&name));
    let said = home.iaso(&["resume", &name]);
    assert!(said.code == 0 && said.out.contains("is in Iaso's care again"), "{said:?}");
    daemon.until_event(&name, "incident_closed", Some("healed"));
    events.come_to(&name, "start", 2);

    let said = home.iaso(&["restart", &name]);
    assert!(said.code == 0 && said.out.contains("is being restarted (attempt "), "{said:?}");
    events.come_to(&name, "start", 3);
    until("it is verified, too", || (daemon.count(&name, "operation_ended") == 2).then_some(()));
    // A person's order is free.
    let left = || daemon.metric("iaso_restart_budget_remaining", &[("service", &name)]);
    until("the metric tells what is left", || (left() == Some(4.0)).then_some(()));
    let orders = daemon.lines().into_iter().filter(|line| line["message"] == "order taken");
    let by: Vec<String> = orders.map(|line| line["by"].as_str().unwrap().to_owned()).collect();
    let own = format!("uid {}", rustix::process::getuid().as_raw());
    assert_eq!(by, [own.as_str(); 3]);
    daemon.stop();
}

fn a_restart_waits_for_the_one_in_flight_unless_it_is_urgent() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let grace = "--label=iaso.recovery.stop_timeout=15s";
    let name = site.checked_patient("stubborn", &["--network=none", grace], &["--ignore-term"]);
    daemon.until_health(&name, "healthy");
    site.ask(&name, "/sick");
    daemon.until_event(&name, "operation_begun", None);
    let said = home.iaso(&["restart", &name]);
    assert!(said.code == 1 && said.err.contains("is in flight"), "{said:?}");
    let said = home.iaso(&["restart", &name, "--now"]);
    assert!(said.code == 0, "{said:?}");
    daemon.until_event(&name, "operation_ended", Some("superseded"));
    daemon.until_event(&name, "operation_ended", Some("healed"));
    daemon.until_health(&name, "healthy");
    daemon.until_event(&name, "incident_closed", None);
    assert_eq!(daemon.count(&name, "operation_begun"), 2, "{:?}", events.all());
    daemon.stop();
}

fn what_a_person_does_at_the_engine_is_left_so() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let stubborn = site.patient("stubborn", &["--network=none"], &["--ignore-term"]);
    let restarted = site.patient("restarted", &["--network=none"], &[]);
    let killed = site.patient("killed", &["--network=none"], &[]);
    for name in [&stubborn, &restarted, &killed] {
        daemon.until_health(name, "healthy");
    }
    // It does not end on its stop signal, and the engine kills it in the end: a stop all the same.
    site.docker(&["stop", "-t", "1", &stubborn]);
    site.docker(&["restart", "-t", "1", &restarted]);
    daemon.until_event(&stubborn, "operator_stopped", None);
    daemon.until_health(&restarted, "healthy");
    // A kill is no stop: it is how people try whether it heals.
    site.docker(&["kill", &killed]);
    daemon.until_event(&killed, "incident_closed", Some("healed"));
    for (name, starts) in [(&stubborn, 1), (&restarted, 2), (&killed, 2)] {
        events.come_to(name, "start", starts);
    }
    assert_eq!(daemon.count(&restarted, "operation_begun"), 0);
    // Started by the person, it is in care again.
    site.docker(&["start", &stubborn]);
    daemon.until_event(&stubborn, "operator_stop_ended", None);
    site.ask(&stubborn, "/exit?code=3");
    daemon.until_event(&stubborn, "incident_closed", Some("healed"));
    daemon.stop();
}

fn each_exit_code_means_one_thing() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    assert_eq!(home.iaso(&["status"]).code, 69, "no daemon");
    assert_eq!(home.iaso(&["health"]).code, 1, "no daemon is not alive");
    let daemon = home.start(&[]);
    assert_eq!(home.iaso(&["status"]).code, 0);
    let said = home.iaso(&["explain", "nobody"]);
    assert!(said.code == 1 && said.err.contains("there is no service `nobody`"), "{said:?}");
    assert_eq!(home.iaso(&["restart", "nobody"]).code, 1);
    assert_eq!(home.iaso(&["explain", "../x"]).code, 2);
    assert_eq!(home.iaso(&["health", "--address", &daemon.address]).code, 0);
    daemon.stop();

    let dir = scratch();
    let wrong = dir.path().join("wrong.toml");
    std::fs::write(&wrong, "[defaults]\ninterva = \"30s\"\ntimeout = \"5\"\n").unwrap();
    for command in ["run", "probe"] {
        let mut arguments = vec![command, "--config", wrong.to_str().unwrap()];
        arguments.extend((command == "probe").then_some("web"));
        let said = Said::of(Command::new(PROGRAM).args(&arguments));
        assert_eq!(said.code, 78, "{said:?}");
        for part in ["wrong.toml", "interva", "interval", "timeout"] {
            assert!(said.err.contains(part), "{part} is not in {}", said.err);
        }
    }
    let said = Said::of(Command::new(PROGRAM).args(["run", "--config", "/nonexistent/iaso.toml"]));
    assert_eq!(said.code, 78, "{said:?}");
    let nowhere = Settings {
        more: "[hosts.gone]\nurl = \"unix:///nonexistent/docker.sock\"\n".to_owned(),
        ..Settings::default()
    };
    let home = Home::new(&site, &nowhere);
    let said = home.iaso(&["probe", "web", "--config", home.config().to_str().unwrap()]);
    assert_eq!(said.code, 69, "{said:?}");
}

fn a_recording_replays_to_the_very_decisions_of_the_log() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings { level: "debug", ..Settings::default() });
    let daemon = home.start(&[]);
    let loops = site.crashing("loop");
    let sick = site.checked_patient("sick", &["--network=none"], &[]);
    let stopped = site.patient("stopped", &["--network=none"], &[]);
    for name in [&sick, &stopped] {
        daemon.until_health(name, "healthy");
    }
    site.ask(&sick, "/sick");
    site.docker(&["stop", "-t", "1", &stopped]);
    daemon.until_event(&sick, "incident_closed", Some("healed"));
    daemon.until_event(&loops, "quarantined", None);
    assert_eq!(home.iaso(&["pause", &sick]).code, 0);
    assert_eq!(home.iaso(&["restart", &sick]).code, 0);
    until("it is restarted", || (daemon.count(&sick, "operation_ended") == 2).then_some(()));
    assert_eq!(home.iaso(&["resume", &loops]).code, 0);
    daemon.until_event(&loops, "released", None);
    daemon.until_line("another attempt", |line| {
        line["service"] == *loops && line["event"] == "held" && line["reason"] == "budget"
    });
    let log = ended(daemon);

    let flight = home.data().join("flight");
    let said = home.iaso(&["replay", flight.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    let replayed: Vec<String> = said.out.lines().filter_map(replayed).collect();
    let logged: Vec<String> = log.iter().filter_map(logged).collect();
    assert!(logged.len() > 30, "{logged:#?}");
    assert_eq!(replayed, logged);

    let json = home.iaso(&["replay", flight.to_str().unwrap(), "--output", "json"]);
    assert_eq!((json.code, json.out.lines().count()), (0, said.out.lines().count()));
    let lines: Vec<Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ended = lines.iter().find(|line| line["event"] == "quarantined").unwrap();
    assert!(ended["service"] == *loops && ended["incident"].is_string() && ended["at"].is_string(), "{ended}");
}

/// Ends the daemon; every line of its log.
fn ended(mut daemon: Daemon) -> Vec<Value> {
    daemon.send(rustix::process::Signal::TERM);
    assert_eq!(daemon.ended().code(), Some(0));
    daemon.lines()
}

/// A decision as `iaso replay` prints it, without its time and span.
fn replayed(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("Z  ")?;
    Some(match rest.split_once(" after ") {
        Some((before, after)) => before.to_owned() + after.find(" [").map_or("", |at| &after[at..]),
        None => rest.to_owned(),
    })
}

/// The same decision, from its line in the log.
fn logged(line: &Value) -> Option<String> {
    let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let (event, service) = (line["event"].as_str()?, field("service"));
    let said = message(line).strip_prefix(&format!("{service}: ")).unwrap_or_default();
    let what = match event {
        "operation_begun" => {
            let ordinal = said.rsplit_once("attempt ").map_or("0", |(_, ordinal)| ordinal);
            format!("begins {} (attempt {ordinal}, {})", field("step"), field("attempt"))
        }
        "operation_ended" => format!("ends {}: {}", field("step"), field("reason")),
        "health" => {
            let (to, from) = said.split_once(", was ").unwrap();
            format!("is {to} (was {})", from.split(':').next().unwrap())
        }
        "held" => format!("holds: {}", field("reason")),
        "unheld" => format!("holds no more: {}", field("reason")),
        other => other.replace('_', " "),
    };
    let incident = line["incident"].as_str().map(|incident| format!(" [{incident}]")).unwrap_or_default();
    Some(format!("{service}  {what}{incident}"))
}
