//! Another configuration while it runs: whole or not at all, and nothing else is touched.

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::{Daemon, Home, Settings, message};
use crate::site::Site;
use crate::support::{Need, test};
use crate::target::{Manner, Target};
use crate::until;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("reload::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        what_is_unchanged_goes_on_beside_what_is_changed_added_and_removed,
        a_changed_check_must_prove_itself_again,
        an_operation_in_flight_is_not_repeated_by_a_service_that_comes_back,
        what_was_spent_stays_spent,
        a_configuration_that_is_no_good_changes_nothing_and_is_seen,
        what_needs_a_restart_refuses_the_whole,
        the_last_of_many_holds,
        nothing_is_reloaded_while_it_stops,
        rules_discovery_and_the_log_s_level_are_taken_on,
    ]
}

const DONE: &str = "the configuration is reloaded";
const REFUSED: &str = "the configuration is not reloaded";

/// The file alone says what is watched.
fn settings(more: &str) -> Settings {
    Settings { more: format!("[recovery]\nquiet_start = \"0s\"\n{more}"), discovery: false, ..Settings::default() }
}

fn write(home: &Home, site: &Site, settings: &Settings) {
    home.configure(&site.engine, &site.label(), settings);
}

/// Writes another configuration and asks for it; returns how that is told once it is in force.
fn reload(daemon: &Daemon, home: &Home, site: &Site, settings: &Settings) -> Value {
    write(home, site, settings);
    let before = said(daemon, DONE);
    daemon.send(Signal::HUP);
    until("it is reloaded", || (said(daemon, DONE) > before).then_some(()));
    daemon.lines().into_iter().rfind(|line| message(line) == DONE).unwrap()
}

/// Lines of a daemon that begin so.
fn said(daemon: &Daemon, words: &str) -> usize {
    daemon.lines().iter().filter(|line| message(line).starts_with(words)).count()
}

fn service(site: &Site, short: &str, more: &str) -> String {
    format!("[services.{short}]\ncontainer = \"{}\"\n{more}\n", site.name(short))
}

fn check(short: &str, target: &Target, more: &str) -> String {
    format!(
        "[[services.{short}.checks]]\nname = \"api\"\ntype = \"http\"\nurl = \"http://127.0.0.1:{}/\"\ntimeout = \"30s\"\n\
         on_failure = \"heal\"\n{more}\n",
        target.port
    )
}

fn incident(daemon: &Daemon, service: &str) -> Option<String> {
    daemon.status(service)?["incident"].as_str().map(ToOwned::to_owned)
}

/// What a reload was told to have done to how many services: changed, begun, ended.
fn counts(told: &Value) -> [u64; 3] {
    ["changed", "begun", "ended"].map(|what| told[what].as_u64().unwrap())
}

fn what_is_unchanged_goes_on_beside_what_is_changed_added_and_removed() {
    let site = Site::shared();
    let well = || Target::new(Manner::Well("up"));
    let (rare, often, ill) = (well(), well(), well());
    let quiet = service(&site, "quiet", &check("quiet", &rare, "interval = \"1h\""));
    let sick = service(&site, "sick", "recovery = { mode = \"notify\" }\n") + &check("sick", &ill, "interval = \"1s\"");
    let tuned = |failures| {
        service(&site, "tuned", &check("tuned", &often, &format!("interval = \"1s\"\nfailure_threshold = {failures}")))
    };
    let (old, new) = (service(&site, "old", ""), service(&site, "new", ""));

    let home = Home::new(&site, &settings(&[&*quiet, &sick, &tuned(60), &old].concat()));
    let events = site.events();
    let daemon = home.start(&[]);
    site.patient("new", &["--network=none"], &[]);
    for short in ["quiet", "sick", "tuned", "old"] {
        site.patient(short, &["--network=none"], &[]);
        daemon.until_health(short, "healthy");
    }
    ill.behave(Manner::Sick("out"));
    daemon.until_health("sick", "unhealthy");
    let outage = incident(&daemon, "sick").unwrap();
    assert_eq!((rare.asked(), daemon.status("new")), (1, None));

    let told = reload(&daemon, &home, &site, &settings(&[&*quiet, &sick, &tuned(2), &new].concat()));
    assert_eq!(counts(&told), [1, 1, 1], "{told}");
    daemon.until_health("new", "healthy");
    until("its series end", || daemon.metric("iaso_quarantined", &[("service", "old")]).is_none().then_some(()));
    until("it is told no more", || daemon.status("old").is_none().then_some(()));
    // The same once more is nothing at all.
    let told = reload(&daemon, &home, &site, &settings(&[&*quiet, &sick, &tuned(2), &new].concat()));
    assert_eq!(counts(&told), [0, 0, 0], "{told}");

    assert_eq!(incident(&daemon, "sick").unwrap(), outage);
    assert_eq!(daemon.count("sick", "incident_opened"), 1);
    assert_eq!(rare.asked(), 1, "the check of an unchanged service was run again");
    assert_eq!(daemon.metric("iaso_checks_total", &[("service", "quiet"), ("result", "passed")]), Some(1.0));
    let failed = || daemon.metric("iaso_checks_total", &[("service", "tuned"), ("result", "failed")]);
    assert_eq!(failed(), Some(0.0), "{}", daemon.explain("tuned"));
    // The other threshold holds.
    often.behave(Manner::Sick("out"));
    daemon.until_event("tuned", "operation_begun", Some("check"));
    assert!(failed() < Some(60.0));
    often.behave(Manner::Well("up"));
    daemon.until_event("tuned", "incident_closed", None);
    // And the outage ends as it would have.
    ill.behave(Manner::Well("up"));
    let closed = daemon.until_event("sick", "incident_closed", None);
    assert_eq!(closed["incident"], outage.as_str(), "{closed}");
    // What is no longer watched is left alone.
    site.ask(&site.name("old"), "/exit?code=3");
    site.ask(&site.name("new"), "/exit?code=3");
    daemon.until_event("new", "incident_closed", Some("healed"));
    for (short, starts) in [("quiet", 1), ("sick", 1), ("old", 1), ("new", 2)] {
        events.come_to(&site.name(short), "start", starts);
    }
    daemon.stop();
}

fn a_changed_check_must_prove_itself_again() {
    let site = Site::shared();
    let (well, wrong) = (Target::new(Manner::Well("up")), Target::new(Manner::Garbage));
    let of =
        |target| settings(&service(&site, "web", &check("web", target, "interval = \"1s\"\nfailure_threshold = 1")));
    let home = Home::new(&site, &of(&well));
    let events = site.events();
    let name = site.patient("web", &["--network=none"], &[]);
    let daemon = home.start(&[]);
    daemon.until_health("web", "healthy");
    reload(&daemon, &home, &site, &of(&wrong));
    daemon.until_event("web", "held", Some("never_succeeded"));
    let failed = || daemon.metric("iaso_checks_total", &[("service", "web"), ("result", "failed")]);
    until("it has failed often", || (failed() >= Some(8.0)).then_some(()));
    events.are(&name, &["create", "start"]);
    reload(&daemon, &home, &site, &of(&well));
    daemon.until_health("web", "healthy");
    well.behave(Manner::Garbage);
    until("the one that has worked still may", || (events.count(&name, "restart") > 0).then_some(()));
    daemon.stop();
}

fn an_operation_in_flight_is_not_repeated_by_a_service_that_comes_back() {
    let site = Site::shared();
    let slow = service(&site, "web", "recovery = { stop_timeout = \"20s\" }");
    let (with, without) = (settings(&slow), settings(""));
    let home = Home::new(&site, &with);
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.checked_patient("web", &["--network=none"], &["--ignore-term"]);
    daemon.until_health("web", "healthy");
    site.ask(&name, "/sick");
    let outage = daemon.until_event("web", "operation_begun", None)["incident"].clone();
    // Something else changes, then the service goes and comes back: all while the engine is at it.
    let told = reload(&daemon, &home, &site, &settings(&(slow + "[services.other]\ncontainer = \"iaso-test-no\"\n")));
    assert_eq!(counts(&told), [0, 0, 0], "{told}");
    let told = reload(&daemon, &home, &site, &without);
    assert_eq!(counts(&told), [0, 0, 1], "{told}");
    until("it is told no more", || daemon.status("web").is_none().then_some(()));
    reload(&daemon, &home, &site, &with);
    assert_eq!(events.count(&name, "restart"), 0, "too late to prove anything");
    let closed = daemon.until_event("web", "incident_closed", Some("healed"));
    assert_eq!(closed["incident"], outage);
    assert_eq!(daemon.count("web", "operation_begun"), 1);
    events.come_to(&name, "restart", 1);

    // Gone for good while the engine is at it: the attempt ends with the engine's answer, and nothing follows.
    site.ask(&name, "/sick");
    until("it is restarted again", || (daemon.count("web", "operation_begun") == 2).then_some(()));
    reload(&daemon, &home, &site, &without);
    assert_eq!(events.count(&name, "restart"), 1, "too late to prove anything");
    until("its outage is over", || (daemon.count("web", "incident_closed") == 2).then_some(()));
    assert_eq!(daemon.count("web", "operation_ended"), 2);
    events.come_to(&name, "restart", 2);
    let restarted = events.timed().into_iter().rfind(|event| event.name == name && event.action == "restart").unwrap();
    let over = daemon.lines().into_iter().rfind(|line| line["event"] == "incident_closed").unwrap();
    let over: jiff::Timestamp = over["timestamp"].as_str().unwrap().parse().unwrap();
    let to_the_millisecond = restarted.nanos / 1_000_000;
    assert!(over.as_millisecond() >= to_the_millisecond, "over before the engine had answered: {:?}", events.all());
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
}

fn what_was_spent_stays_spent() {
    let site = Site::shared();
    let web =
        |max| settings(&service(&site, "web", &format!("recovery = {{ max_restarts = {max}, window = \"1h\" }}")));
    let home = Home::new(&site, &web(1));
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health("web", "healthy");
    site.ask(&name, "/exit?code=3");
    daemon.until_event("web", "incident_closed", Some("healed"));
    assert_eq!(counts(&reload(&daemon, &home, &site, &settings(""))), [0, 0, 1]);
    assert_eq!(counts(&reload(&daemon, &home, &site, &web(1))), [0, 1, 0]);
    daemon.until_health("web", "healthy");
    site.ask(&name, "/exit?code=3");
    daemon.until_event("web", "held", Some("budget"));
    events.come_to(&name, "start", 2);
    // More is allowed from now on, and what was spent counts: one is left.
    assert_eq!(counts(&reload(&daemon, &home, &site, &web(2))), [1, 0, 0]);
    until("it is healed", || (daemon.count("web", "incident_closed") == 2).then_some(()));
    let left = || daemon.metric("iaso_restart_budget_remaining", &[("service", "web")]);
    until("nothing is left", || (left() == Some(0.0)).then_some(()));
    daemon.stop();
}

fn a_configuration_that_is_no_good_changes_nothing_and_is_seen() {
    let site = Site::shared();
    let target = Target::new(Manner::Well("up"));
    let home = Home::new(&site, &settings(&service(&site, "web", &check("web", &target, "interval = \"1h\""))));
    let daemon = home.start(&[]);
    site.patient("web", &["--network=none"], &[]);
    daemon.until_health("web", "healthy");
    let good = fs::read_to_string(home.config()).unwrap();
    let succeeded = || daemon.metric("iaso_config_last_reload_success_timestamp_seconds", &[]).unwrap();
    let successful = || daemon.metric("iaso_config_last_reload_successful", &[]);
    let at_start = succeeded();
    assert_eq!(successful(), Some(1.0));

    let ten: String = (0..10).map(|n| format!("unknown_{n} = {n}\n")).collect::<String>() + &good;
    let huge = good.clone() + &"# much\n".repeat(1_600_000);
    assert!(huge.len() > 10 << 20);
    let path = home.config();
    let write = |bytes: &[u8]| fs::write(&path, bytes).unwrap();
    let ills: [(&str, &str, &dyn Fn()); 9] = [
        ("a syntax error", "iaso.toml:1:", &|| write(("services.web = = 1\n".to_owned() + &good).as_bytes())),
        ("ten mistakes", "unknown_9", &|| write(ten.as_bytes())),
        // Right by itself, and otherwise than what cannot be changed.
        ("nothing at all", "need a restart", &|| write(b"")),
        ("10 MiB", "larger than 1 MiB", &|| write(huge.as_bytes())),
        ("bytes that are no text", "UTF-8", &|| write(&[good.as_bytes(), b"# \xff\n"].concat())),
        ("a directory", "not a regular file", &|| fs::create_dir(&path).unwrap()),
        ("a pipe", "not a regular file", &|| {
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        }),
        ("what nobody can read", "symbolic links", &|| std::os::unix::fs::symlink(&path, &path).unwrap()),
        ("no file", "No such file", &|| {}),
    ];
    for (number, (what, words, make)) in (1..).zip(ills) {
        remove(&path);
        make();
        daemon.send(Signal::HUP);
        until(what, || (said(&daemon, REFUSED) == number).then_some(()));
        let lines = daemon.lines();
        let newest = lines.iter().rposition(|line| message(line).starts_with(REFUSED)).unwrap();
        let reasons = usize::try_from(lines[newest]["reasons"].as_u64().unwrap()).unwrap();
        assert!(reasons >= if what == "ten mistakes" { 10 } else { 1 }, "{what}: {reasons}");
        let told =
            lines.iter().take(newest).rev().filter(|line| message(line).starts_with("configuration: ")).take(reasons);
        let told: Vec<&Value> = told.collect();
        assert!(told.iter().any(|line| message(line).contains(words)), "{what}: {told:?}");
        // It is published after it is said.
        until(&format!("{what} is told by /health"), || {
            let component = &daemon.whole_health()["components"]["configuration"];
            let says_why = component["message"].as_str().is_some_and(|message| message.contains(words));
            (component["status"] == "degraded" && says_why).then_some(())
        });
        until("the metric tells it", || (successful() == Some(0.0)).then_some(()));
        let (code, health) = daemon.health();
        assert_eq!((code, &health["status"]), (200, &"degraded".into()), "{what}: {health}");
        assert_eq!(daemon.status("web").unwrap()["health"], "healthy", "{what}");
        assert_eq!((target.asked(), succeeded()), (1, at_start), "{what}");
    }
    write(good.as_bytes());
    daemon.send(Signal::HUP);
    until("it is well again", || (successful() == Some(1.0)).then_some(()));
    let component = || daemon.whole_health()["components"]["configuration"]["status"].clone();
    until("/health tells it", || (component() == "healthy").then_some(()));
    assert!(succeeded() > at_start && target.asked() == 1);
    daemon.stop();
}

fn remove(path: &Path) {
    if path.is_dir() { fs::remove_dir(path).unwrap() } else { fs::remove_file(path).unwrap() }
}

fn what_needs_a_restart_refuses_the_whole() {
    let site = Site::shared();
    let home = Home::new(&site, &settings(""));
    let daemon = home.start(&[]);
    site.patient("web", &["--network=none"], &[]);
    write(&home, &site, &settings(&service(&site, "web", "")));
    let file = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), file.replace("127.0.0.1:0", "127.0.0.1:1") + "[hosts.nas]\nurl = \"tcp://127.0.0.1:1\"\n")
        .unwrap();
    daemon.send(Signal::HUP);
    let told = daemon.until_line("it is refused", |line| message(line).contains("a restart"));
    assert_eq!(message(&told), "configuration: hosts.nas, api.listen need a restart; nothing was changed");
    assert_eq!(daemon.status("web"), None);
    fs::write(home.config(), file).unwrap();
    daemon.send(Signal::HUP);
    daemon.until_health("web", "healthy");
    daemon.stop();
}

fn the_last_of_many_holds() {
    let site = Site::shared();
    let one = |short: &str| settings(&service(&site, short, ""));
    let home = Home::new(&site, &one("a"));
    let daemon = home.start(&[]);
    for short in ["a", "b"] {
        site.patient(short, &["--network=none"], &[]);
    }
    daemon.until_health("a", "healthy");
    for _ in 0..10 {
        for short in ["a", "b"] {
            write(&home, &site, &one(short));
            daemon.send(Signal::HUP);
        }
    }
    daemon.until_health("b", "healthy");
    until("only the last holds", || (daemon.status("a").is_none() && daemon.status("b").is_some()).then_some(()));
    daemon.stop();
}

fn nothing_is_reloaded_while_it_stops() {
    let site = Site::shared();
    let slow = settings(&service(&site, "web", "recovery = { stop_timeout = \"8s\" }"));
    let slow = Settings { grace: "30s", ..slow };
    let home = Home::new(&site, &slow);
    let mut daemon = home.start(&[]);
    let name = site.checked_patient("web", &["--network=none"], &["--ignore-term"]);
    daemon.until_health("web", "healthy");
    site.ask(&name, "/sick");
    daemon.until_event("web", "operation_begun", None);
    daemon.send(Signal::TERM);
    daemon.until_line("it is stopping", |line| line["message"] == "stopping");
    fs::write(home.config(), "wrong").unwrap();
    daemon.send(Signal::HUP);
    assert_eq!(daemon.ended().code(), Some(0), "{}", daemon.text());
    assert_eq!((said(&daemon, "configuration"), said(&daemon, REFUSED)), (0, 0), "{}", daemon.text());
}

fn rules_discovery_and_the_log_s_level_are_taken_on() {
    let site = Site::shared();
    let found = |level, rules: &str| Settings { level, more: rules.to_owned(), ..Settings::default() };
    let home = Home::new(&site, &settings(""));
    let events = site.events();
    let name = site.patient("web", &["--network=none"], &[]);
    let daemon = home.start(&["--observe"]);
    daemon.until_line("it is connected", |line| message(line) == "engine connected");
    assert_eq!(counts(&reload(&daemon, &home, &site, &found("info", ""))), [0, 1, 0]);
    daemon.until_health(&name, "healthy");
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "held", Some("observe"));
    let debugged = || daemon.lines().iter().filter(|line| line["level"] == "DEBUG").count();
    assert_eq!(debugged(), 0);
    // What was asked for by the command line still holds.
    reload(&daemon, &home, &site, &found("debug", "[recovery]\nhost_budget = { max = 0, window = \"10m\" }\n"));
    daemon.until_event(&name, "held", Some("host_budget"));
    reload(&daemon, &home, &site, &found("debug", ""));
    until("it is only observed again", || (daemon.count(&name, "held") == 3).then_some(()));
    events.are(&name, &["create", "start", "die"]);
    site.docker(&["rm", "-f", &name]);
    until("details are told", || (debugged() > 0).then_some(()));
    daemon.stop();
}
