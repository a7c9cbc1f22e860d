//! Maintenance by order and by calendar, and outages that somebody takes care of.

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::daemon::{Daemon, Home, Settings, message};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("maintenance::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        what_dies_under_maintenance_is_left_alone_also_by_the_next_iaso_and_healed_when_it_is_ended,
        a_window_of_the_configuration_holds_until_it_is_taken_out,
        what_a_reload_says_of_windows_and_of_services_counts_at_once,
        an_outage_is_acknowledged_until_it_is_over,
    ]
}

fn is_under_maintenance(daemon: &Daemon, service: &str) -> bool {
    daemon.status(service).is_some_and(|known| known["maintenance_until"].is_string())
}

fn what_dies_under_maintenance_is_left_alone_also_by_the_next_iaso_and_healed_when_it_is_ended() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    let said = home.iaso(&["maintenance", "start", "nobody", "--for", "1d"]);
    assert!(said.code == 1 && said.err.contains("there is no service `nobody`"), "{said:?}");
    let said = home.iaso(&["maintenance", "start", &name, "--for", "1d", "--comment", "new disk"]);
    assert!(said.code == 0 && said.out.contains("is under maintenance until"), "{said:?}");
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "held", Some("maintenance"));
    daemon.until_explained(&name, &["is unhealthy", "Under maintenance until", "nothing (maintenance"]);
    daemon.until_line("the log tells why", |line| line["comment"] == "new disk");
    let listed = home.iaso(&["maintenance"]).out;
    assert!(listed.contains(&format!("{name} is under maintenance until")), "{listed}");
    daemon.kill();

    let daemon = home.start(&[]);
    until("the next one knows", || is_under_maintenance(&daemon, &name).then_some(()));
    daemon.until_event(&name, "held", Some("maintenance"));
    assert_eq!(daemon.count(&name, "operation_begun"), 0);
    events.come_to(&name, "start", 1);
    assert!(!site.runs(&name));
    let said = home.iaso(&["maintenance", "end", &name]);
    assert!(said.code == 0, "{said:?}");
    daemon.until_event(&name, "incident_closed", Some("healed"));
    events.come_to(&name, "start", 2);
    until("it is over", || (!is_under_maintenance(&daemon, &name)).then_some(()));
    daemon.stop();
}

fn a_window_of_the_configuration_holds_until_it_is_taken_out() {
    let site = Site::shared();
    let window = "[[maintenance]]\nname = 'long'\nfrom = '2000-01-01T00:00Z'\nto = '2200-01-01T00:00Z'\n";
    let with = |more: &str| Settings { more: more.to_owned(), ..Settings::default() };
    let home = Home::new(&site, &with(window));
    let daemon = home.start(&[]);
    let sick = site.patient("sick", &["--network=none"], &[]);
    let early = site.patient("early", &["--network=none"], &[]);
    for name in [&sick, &early] {
        daemon.until_health(name, "healthy");
        until("it is told of the window", || is_under_maintenance(&daemon, name).then_some(()));
        site.ask(name, "/exit?code=3");
        daemon.until_event(name, "held", Some("maintenance"));
    }
    let listed = home.iaso(&["maintenance", "list"]).out;
    assert!(listed.contains("long (everything): open until 2200-01-01 00:00Z"), "{listed}");
    // Ended early for one, the other goes on waiting.
    assert_eq!(home.iaso(&["maintenance", "end", &early]).code, 0);
    daemon.until_event(&early, "incident_closed", Some("healed"));
    assert_eq!(daemon.count(&sick, "operation_begun"), 0);
    // The next Iaso knows, too.
    daemon.kill();
    let daemon = home.start(&[]);
    until("it is told of the window", || is_under_maintenance(&daemon, &sick).then_some(()));
    daemon.until_health(&early, "healthy");
    site.ask(&early, "/exit?code=3");
    daemon.until_event(&early, "incident_closed", Some("healed"));
    assert_eq!(daemon.count(&sick, "operation_begun"), 0);
    home.configure(&site.engine, &site.label(), &with(""));
    daemon.send(Signal::HUP);
    daemon.until_line("it is reloaded", |line| message(line) == "the configuration is reloaded");
    daemon.until_event(&sick, "incident_closed", Some("healed"));
    daemon.stop();
}

fn an_outage_is_acknowledged_until_it_is_over() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    let said = home.iaso(&["ack", &name]);
    assert!(said.code == 1 && said.err.contains("is in no outage"), "{said:?}");
    assert_eq!(home.iaso(&["pause", &name]).code, 0);
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "held", Some("paused"));
    until("the outage is seen", || daemon.status(&name)?["incident"].as_str().map(drop));
    let said = home.iaso(&["ack", &name, "--comment", "on my way"]);
    assert!(said.code == 0 && said.out.contains("is acknowledged until it is over"), "{said:?}");
    daemon.until_event(&name, "acknowledged", None);
    daemon.until_explained(&name, &["acknowledged at"]);
    assert!(home.iaso(&["status"]).out.contains("acknowledged"));
    assert_eq!(home.iaso(&["resume", &name]).code, 0);
    daemon.until_event(&name, "incident_closed", Some("healed"));
    let acknowledged = || daemon.status(&name).map(|known| known["acknowledged"] == true);
    until("it is over", || (acknowledged() == Some(false)).then_some(()));
    daemon.stop();
}

/// Of two that are broken, one comes under maintenance as it may be healed, and one may be healed no more as its maintenance ends.
fn what_a_reload_says_of_windows_and_of_services_counts_at_once() {
    let site = Site::shared();
    let (comes, goes) = (site.name("comes"), site.name("goes"));
    let with = |covered: &str, modes: [&str; 2]| {
        let service = |name: &str, container: &str, mode: &str| {
            format!("[services.{name}]\ncontainer = \"{container}\"\n[services.{name}.recovery]\nmode = \"{mode}\"\n")
        };
        let window = format!(
            "[[maintenance]]\nfrom = '2000-01-01T00:00Z'\nto = '2200-01-01T00:00Z'\nservices = ['{covered}']\n"
        );
        let more = service("comes", &comes, modes[0]) + &service("goes", &goes, modes[1]) + &window;
        Settings { more, discovery: false, ..Settings::default() }
    };
    let home = Home::new(&site, &with("goes", ["notify", "auto"]));
    let events = site.events();
    let daemon = home.start(&[]);
    for (short, reason) in [("comes", "mode"), ("goes", "maintenance")] {
        let name = site.patient(short, &["--network=none"], &[]);
        daemon.until_health(short, "healthy");
        site.ask(&name, "/exit?code=3");
        daemon.until_event(short, "held", Some(reason));
    }
    home.configure(&site.engine, &site.label(), &with("comes", ["auto", "notify"]));
    daemon.send(Signal::HUP);
    daemon.until_event("comes", "held", Some("maintenance"));
    daemon.until_event("goes", "held", Some("mode"));
    for (short, name) in [("comes", &comes), ("goes", &goes)] {
        events.come_to(name, "start", 1);
        assert_eq!(daemon.count(short, "operation_begun"), 0, "{short}");
    }
    daemon.stop();
}
