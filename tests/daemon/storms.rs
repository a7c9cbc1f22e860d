//! Much that fails at once, on real containers.

use std::fmt::Write;
use std::process::Command;

use libtest_mimic::Trial;

use crate::daemon::{Home, PROGRAM, Settings};
use crate::own_dockerd::OwnDockerd;
use crate::site::Site;
use crate::support::{Need, test};
use crate::target::{Manner, Target};
use crate::{until, wait};

pub fn tests() -> Vec<Trial> {
    let own = [Need::OwnEngine, Need::Program("nsenter"), Need::Program("ip")];
    vec![
        test("storms::ten_of_twelve_that_fail_at_once_are_left_alone_until_all_is_well", &[Need::Engine], || {
            ten_of_twelve_that_fail_at_once_are_left_alone_until_all_is_well();
            Ok(())
        }),
        test("storms::ten_of_twelve_whose_network_is_cut_are_left_alone_and_resolve_when_it_is_back", &own, || {
            ten_of_twelve_whose_network_is_cut_are_left_alone_and_resolve_when_it_is_back();
            Ok(())
        }),
    ]
}

fn ten_of_twelve_that_fail_at_once_are_left_alone_until_all_is_well() {
    let site = Site::shared();
    let (shared, other) = (Target::new(Manner::Well("up")), Target::new(Manner::Well("up")));
    let services: Vec<(String, &Target)> =
        (0..12).map(|number| (format!("s{number}"), if number < 10 { &shared } else { &other })).collect();
    let mut more = "[recovery]\nquiet_start = \"0s\"\n".to_owned();
    for (short, target) in &services {
        site.patient(short, &["--network=none"], &[]);
        // Failing for so long before it counts, every one has failed once before the first of them is in an outage.
        write!(
            more,
            "[services.{short}]\ncontainer = \"{}\"\n[[services.{short}.checks]]\ntype = \"http\"\n\
             url = \"http://127.0.0.1:{}/\"\ninterval = \"1s\"\ntimeout = \"30s\"\nfailure_threshold = 10\n\
             on_failure = \"heal\"\n",
            site.name(short),
            target.port
        )
        .unwrap();
    }
    let settings = Settings { more, recovery: "verify_stable = \"4s\"\n", discovery: false, ..Settings::default() };
    let home = Home::new(&site, &settings);
    let events = site.events();
    let daemon = home.start(&[]);
    for (short, _) in &services {
        daemon.until_health(short, "healthy");
    }
    let component = || daemon.health().1["components"]["docker/local"]["status"].as_str().map(ToOwned::to_owned);
    // What the ten share goes away.
    shared.behave(Manner::Reset);
    let began = daemon.until_line("the storm", |line| line["event"] == "storm_began");
    assert_eq!((&began["host"], &began["reason"]), (&"local".into(), &"mass_failure".into()), "{began}");
    until("/health tells it", || component().filter(|status| status == "degraded"));
    for (short, _) in &services[..10] {
        daemon.until_event(short, "held", Some("mass_failure"));
    }
    daemon.until_explained("s3", &["mass_failure", "which points to the host or the network"]);
    for (short, _) in &services[10..] {
        assert_eq!(daemon.count(short, "incident_opened"), 0, "{short}");
    }
    until("it is counted", || daemon.metric("iaso_storms_total", &[("host", "local")]));
    // It is back.
    shared.behave(Manner::Well("up"));
    for (short, _) in &services[..10] {
        daemon.until_event(short, "incident_closed", Some("recovered"));
    }
    daemon.until_line("its end", |line| line["event"] == "storm_ended");
    until("/health tells it", || component().filter(|status| status == "healthy"));
    assert_eq!(daemon.metric("iaso_storms_total", &[("host", "local")]), Some(1.0));
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    for (short, _) in &services {
        assert_eq!(daemon.count(short, "operation_begun"), 0, "{short}");
        events.are(&site.name(short), &[]);
    }
    daemon.stop();
}

/// The bridge of the ten, in the network namespace of the test's own engine.
const BRIDGE: &str = "iaso-test0";

fn ten_of_twelve_whose_network_is_cut_are_left_alone_and_resolve_when_it_is_back() {
    let dockerd = wait(OwnDockerd::start());
    let site = Site::own(&dockerd.socket());
    // Where containers' own addresses lead to them.
    let inside = |program: &str| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", dockerd.network().display())).arg(program);
        command
    };
    let ip = |arguments: &[&str]| assert!(inside("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
    ip(&["link", "set", "lo", "up"]);
    let (network, bridge) = (site.name("net"), format!("com.docker.network.bridge.name={BRIDGE}"));
    site.docker(&["network", "create", "--opt", &bridge, &network]);
    let mut more = "[recovery]\nquiet_start = \"0s\"\n".to_owned();
    let services: Vec<String> = (0..12).map(|number| format!("s{number}")).collect();
    for (number, short) in services.iter().enumerate() {
        let cut = number < 10;
        let on = if cut { &*network } else { "none" };
        site.patient(short, &[&format!("--network={on}")], &[]);
        write!(more, "[services.{short}]\ncontainer = \"{}\"\n", site.name(short)).unwrap();
        if cut {
            write!(
                more,
                "[[services.{short}.checks]]\ntype = \"http\"\nurl = \"http://{{address}}:8080/health\"\n\
                 interval = \"1s\"\ntimeout = \"2s\"\nfailure_threshold = 5\n"
            )
            .unwrap();
        }
    }
    let settings = Settings { more, recovery: "verify_stable = \"4s\"\n", discovery: false, ..Settings::default() };
    let home = Home::new(&site, &settings);
    let events = site.events();
    let daemon = home.start_by(inside(PROGRAM), &[]);
    for short in &services {
        daemon.until_health(short, "healthy");
    }
    ip(&["link", "set", BRIDGE, "down"]);
    daemon.until_line("the storm", |line| line["event"] == "storm_began");
    for short in &services[..10] {
        daemon.until_event(short, "held", Some("mass_failure"));
        daemon.until_explained(short, &["is unhealthy", "nothing (mass_failure"]);
    }
    ip(&["link", "set", BRIDGE, "up"]);
    for short in &services[..10] {
        daemon.until_event(short, "incident_closed", Some("recovered"));
    }
    daemon.until_line("its end", |line| line["event"] == "storm_ended");
    let told = |event: &str| daemon.lines().iter().filter(|line| line["event"] == event).count();
    assert_eq!((told("storm_began"), told("storm_ended"), told("incident_opened")), (1, 1, 10));
    assert_eq!(told("operation_begun"), 0);
    for short in &services {
        daemon.until_health(short, "healthy");
        events.are(&site.name(short), &[]);
    }
    daemon.stop();
    drop(events);
    // This engine has locked itself up for good when many left one network at once.
    for short in &services {
        site.docker(&["rm", "--force", &site.name(short)]);
    }
    site.docker(&["network", "rm", &network]);
}
