//! Engines that are missing, go down, freeze, fail and break off.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use iaso::system::clock::stopwatch;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::{Daemon, Home, Settings};
use crate::own_dockerd::OwnDockerd;
use crate::proxy::{Manner, Proxy};
use crate::site::{Events, Site};
use crate::support::{Need, test};
use crate::{scratch, until, wait};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($need:expr; $($name:ident),+ $(,)?) => {
            vec![$(test(concat!("outage::", stringify!($name)), &[$need], || { $name(); Ok(()) })),+]
        };
    }
    let mut tests = suite![
        Need::OwnEngine;
        an_engine_that_was_down_brings_nothing_back_that_a_person_stopped,
        an_engine_that_freezes_is_told_as_down_and_thaws,
    ];
    tests.extend(suite![
        Need::Engine;
        a_socket_that_is_missing_at_start_is_waited_for_and_may_vanish_again,
        an_engine_that_fails_is_told_as_down_and_comes_back,
        what_falls_while_nobody_can_tell_follows_after_gap,
        an_event_stream_that_is_cut_again_and_again_costs_no_healing,
        a_proxy_that_denies_is_a_hold_and_no_failure,
    ]);
    tests
}

/// How the engine of the test's daemon is told in `/health`: the answer's status, the engine's, everything's.
fn told(daemon: &Daemon) -> (u16, String, String) {
    let (code, health) = daemon.health();
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (code, word(&health["components"]["docker/local"]["status"]), word(&health["status"]))
}

const UP: (u16, &str, &str) = (200, "healthy", "healthy");
const DOWN: (u16, &str, &str) = (503, "unhealthy", "unhealthy");

fn is(daemon: &Daemon, (code, engine, whole): (u16, &str, &str)) -> bool {
    told(daemon) == (code, engine.to_owned(), whole.to_owned())
}

fn until_told(daemon: &Daemon, wanted: (u16, &str, &str)) {
    until(&format!("/health tells {wanted:?}"), || is(daemon, wanted).then_some(()));
}

/// Makes it exit by itself, and waits until it is healed.
fn falls_and_is_healed(site: &Site, daemon: &Daemon, events: &Events, name: &str) {
    let (before, healed) = (events.count(name, "start"), heals(daemon, name));
    site.ask(name, "/exit?code=3");
    until("it runs again", || (events.count(name, "start") > before && site.runs(name)).then_some(()));
    until("it counts as healed", || (heals(daemon, name) > healed).then_some(()));
}

fn heals(daemon: &Daemon, name: &str) -> usize {
    let healed = |line: &&serde_json::Value| {
        line["service"] == name && line["event"] == "operation_ended" && line["reason"] == "healed"
    };
    daemon.lines().iter().filter(healed).count()
}

fn an_engine_that_was_down_brings_nothing_back_that_a_person_stopped() {
    let mut dockerd = wait(OwnDockerd::start());
    let site = Site::own(&dockerd.socket());
    let home = Home::new(&site, &Settings::default());
    let mut daemon = home.start(&[]);
    until_told(&daemon, UP);
    let none = "--network=none";
    let stopped = site.patient("stopped", &[none], &[]);
    let plain = site.patient("plain", &[none], &[]);
    let always = site.patient("always", &[none, "--restart=always"], &[]);
    for name in [&stopped, &plain, &always] {
        daemon.until_health(name, "healthy");
    }
    site.docker(&["stop", "-t", "1", &stopped]);
    daemon.until_event(&stopped, "operator_stopped", None);
    let long = std::env::var_os("IASO_TEST_LONG").is_some();
    if long {
        // A stop less than a minute before the engine's end may have been the engine's own.
        std::thread::sleep(Duration::from_secs(61));
    }

    wait(dockerd.stop());
    until_told(&daemon, DOWN);
    let (down, spent) = (Duration::from_secs(if long { 60 } else { 15 }), stopwatch());
    while spent() < down {
        assert!(is(&daemon, DOWN), "{:?}", daemon.health());
        assert_eq!(daemon.get("/livez").0, 200);
        assert!(daemon.runs());
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(daemon.health().1["components"]["store"]["status"], "healthy");
    assert_eq!(daemon.metric("iaso_host_up", &[("host", "local")]), Some(0.0));

    wait(dockerd.start_again());
    until_told(&daemon, UP);
    until("its engine has started it", || site.runs(&always).then_some(()));
    let events = site.events();
    daemon.until_health(&always, "healthy");
    // What falls now is healed, after everything that the engine's start might have asked for.
    let later = site.patient("later", &[none], &[]);
    daemon.until_health(&later, "healthy");
    falls_and_is_healed(&site, &daemon, &events, &later);
    falls_and_is_healed(&site, &daemon, &events, &later);
    let stop = if long { "operator_stopped" } else { "unknown_stop" };
    for (name, reason) in [(&stopped, stop), (&plain, "unknown_stop")] {
        assert!(!site.runs(name), "{name} came back");
        daemon.until_explained(name, &[reason]);
    }
    for name in [&stopped, &plain, &always] {
        assert_eq!(daemon.count(name, "operation_begun"), 0, "{name}");
        events.come_to(name, "start", 0);
    }
    assert!(site.runs(&always));
    daemon.stop();
}

fn an_engine_that_freezes_is_told_as_down_and_thaws() {
    let dockerd = wait(OwnDockerd::start());
    let site = Site::own(&dockerd.socket());
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let mut daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    let pid: i32 = site.inspect(&name, ".State.Pid").parse().unwrap();

    dockerd.send(Signal::STOP);
    until_told(&daemon, DOWN);
    assert!(daemon.runs() && daemon.get("/livez").0 == 200);
    // It dies while nobody can tell.
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let said = home.iaso(&["restart", &name]);
    assert_eq!(said.code, 69, "{said:?}");
    dockerd.send(Signal::CONT);
    until_told(&daemon, UP);
    // The engine tells of it before or after it is listened to again: a crash, or an end that nobody saw.
    until("its end is known: healed, or held with a reason", || {
        let healed = daemon.count(&name, "incident_closed") > 0;
        (healed || daemon.explain(&name).contains("unknown_stop")).then_some(())
    });
    if !site.runs(&name) {
        // Beside Iaso, which may start it, too.
        let _ = site.try_docker(&["start", &name]);
    }
    daemon.until_health(&name, "healthy");
    falls_and_is_healed(&site, &daemon, &events, &name);
    daemon.stop();
}

fn a_socket_that_is_missing_at_start_is_waited_for_and_may_vanish_again() {
    let site = Site::shared();
    let dir = scratch();
    let socket = dir.path().join("engine.sock");
    let home = Home::with_engine(&format!("unix://{}", socket.display()), &site.label(), &Settings::default());
    let events = site.events();
    let name = site.patient("web", &["--network=none"], &[]);
    let mut daemon = home.start(&[]);
    until_told(&daemon, DOWN);
    assert_eq!(daemon.get("/livez").0, 200);
    assert_ne!(daemon.get("/readyz").0, 200);
    let complaint =
        daemon.until_line("the log tells it", |line| crate::daemon::message(line).contains("not reachable"));
    assert!(complaint["error"].as_str().unwrap().contains("engine.sock"), "{complaint}");
    for _ in 0..2 {
        symlink("/var/run/docker.sock", &socket).unwrap();
        until_told(&daemon, UP);
        falls_and_is_healed(&site, &daemon, &events, &name);
        fs::remove_file(&socket).unwrap();
        until_told(&daemon, DOWN);
    }
    assert!(daemon.runs());
    daemon.stop();
}

fn an_engine_that_fails_is_told_as_down_and_comes_back() {
    let (site, proxy) = (Site::shared(), Proxy::open());
    let home = Home::with_engine(&format!("unix://{}", proxy.socket().display()), &site.label(), &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    falls_and_is_healed(&site, &daemon, &events, &name);
    proxy.behave(Manner::Failing);
    until_told(&daemon, DOWN);
    daemon.until_health(&name, "unknown");
    proxy.behave(Manner::Open);
    until_told(&daemon, UP);
    daemon.until_health(&name, "healthy");
    falls_and_is_healed(&site, &daemon, &events, &name);
    assert!(!daemon.text().contains("out of order"), "a foreign page is quoted");
    daemon.stop();
}

fn what_falls_while_nobody_can_tell_follows_after_gap() {
    for (after_gap, comes_back) in [("leave", false), ("start", true)] {
        let (site, proxy) = (Site::shared(), Proxy::open());
        let more = format!("[services.web]\ncontainer = \"{}\"\nafter_gap = \"{after_gap}\"\n", site.name("web"));
        let settings = Settings { more, ..Settings::default() };
        let home = Home::with_engine(&format!("unix://{}", proxy.socket().display()), &site.label(), &settings);
        let daemon = home.start(&[]);
        let name = site.patient("web", &["--network=none"], &[]);
        daemon.until_health("web", "healthy");
        proxy.behave(Manner::Failing);
        until_told(&daemon, DOWN);
        site.ask(&name, "/exit?code=3");
        until("it has ended", || (!site.runs(&name)).then_some(()));
        proxy.behave(Manner::Open);
        if comes_back {
            until("it is started", || site.runs(&name).then_some(()));
            daemon.until_health("web", "healthy");
        } else {
            daemon.until_explained("web", &["unknown_stop", "after_gap"]);
            assert!(!site.runs(&name));
        }
        daemon.stop();
    }
}

fn an_event_stream_that_is_cut_again_and_again_costs_no_healing() {
    let (site, proxy) = (Site::shared(), Proxy::open());
    let home = Home::with_engine(&format!("unix://{}", proxy.socket().display()), &site.label(), &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    let connected = || daemon.lines().iter().filter(|line| line["message"] == "engine connected").count();
    for _ in 0..4 {
        let before = connected();
        proxy.cut();
        until("the link is made again", || (connected() > before).then_some(()));
        falls_and_is_healed(&site, &daemon, &events, &name);
    }
    daemon.stop();
}

fn a_proxy_that_denies_is_a_hold_and_no_failure() {
    let (site, proxy) = (Site::shared(), Proxy::open());
    let home = Home::with_engine(&format!("unix://{}", proxy.socket().display()), &site.label(), &Settings::default());
    let events = site.events();
    proxy.behave(Manner::ReadOnly);
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "held", Some("not_permitted"));
    daemon.until_explained(&name, &["not_permitted"]);
    proxy.behave(Manner::Open);
    until_told(&daemon, UP);
    // A person who resumes it says that the cause is gone.
    assert_eq!(home.iaso(&["resume", &name]).code, 0);
    until("it runs again", || site.runs(&name).then_some(()));
    events.come_to(&name, "start", 2);
    daemon.stop();
}
