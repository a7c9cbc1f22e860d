//! How it ends, and what the next start makes of it.

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::daemon::{Daemon, Home, Settings, message};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("shutdown::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        a_restart_that_outlives_the_grace_is_on_record_and_not_repeated,
        a_restart_that_ends_in_time_is_waited_for,
        a_second_signal_ends_it_at_once,
        only_an_unclean_end_charges_for_what_started_meanwhile,
    ]
}

/// A patient whose restart takes this many seconds, and is under way on return.
fn being_restarted(site: &Site, home: &Home, seconds: u32) -> (String, Daemon) {
    let daemon = home.start(&[]);
    let grace = format!("--label=iaso.recovery.stop_timeout={seconds}s");
    let name = site.checked_patient("stubborn", &["--network=none", &grace], &["--ignore-term"]);
    daemon.until_health(&name, "healthy");
    site.ask(&name, "/sick");
    daemon.until_event(&name, "operation_begun", None);
    (name, daemon)
}

fn a_restart_that_outlives_the_grace_is_on_record_and_not_repeated() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings { grace: "2s", ..Settings::default() });
    let events = site.events();
    let (name, mut daemon) = being_restarted(&site, &home, 15);
    until("the engine is at it", || (events.count(&name, "kill") > 0).then_some(()));
    daemon.send(Signal::TERM);
    assert_eq!(daemon.ended().code(), Some(0), "{}", daemon.text());
    assert_eq!(events.count(&name, "restart"), 0, "it waited for the restart beyond its grace");
    assert!(daemon.text().contains("an operation is still in flight"), "{}", daemon.text());

    let daemon = home.start(&[]);
    let ended = daemon.until_event(&name, "operation_ended", None);
    assert_eq!(ended["reason"], "healed", "{ended}");
    daemon.until_event(&name, "incident_closed", Some("healed"));
    assert_eq!(daemon.count(&name, "operation_begun"), 0, "repeated");
    events.come_to(&name, "restart", 1);
    events.come_to(&name, "start", 2);
    daemon.stop();
}

fn a_restart_that_ends_in_time_is_waited_for() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings { grace: "30s", ..Settings::default() });
    let events = site.events();
    let (name, mut daemon) = being_restarted(&site, &home, 10);
    until("the engine is at it", || (events.count(&name, "kill") > 0).then_some(()));
    daemon.send(Signal::TERM);
    assert_eq!(daemon.ended().code(), Some(0), "{}", daemon.text());
    events.come_to(&name, "restart", 1);
    assert!(!daemon.text().contains("still in flight"), "{}", daemon.text());
    assert_eq!(message(daemon.lines().last().unwrap()), "stopped");

    let daemon = home.start(&[]);
    daemon.until_event(&name, "incident_closed", Some("healed"));
    assert_eq!((daemon.count(&name, "operation_begun"), daemon.count(&name, "charged_for_gap")), (0, 0));
    daemon.stop();
}

fn a_second_signal_ends_it_at_once() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings { grace: "60s", ..Settings::default() });
    let events = site.events();
    let (name, mut daemon) = being_restarted(&site, &home, 20);
    daemon.send(Signal::TERM);
    daemon.until_line("it is stopping", |line| line["message"] == "stopping");
    daemon.send(Signal::TERM);
    assert_eq!(daemon.ended().code(), Some(128 + 15));
    assert_eq!(events.count(&name, "restart"), 0, "it waited");
}

fn only_an_unclean_end_charges_for_what_started_meanwhile() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let name = site.patient("web", &["--network=none"], &[]);
    let daemon = home.start(&[]);
    daemon.until_health(&name, "healthy");
    daemon.stop();
    site.docker(&["restart", "-t", "1", &name]);

    let daemon = home.start(&[]);
    daemon.until_health(&name, "healthy");
    assert_eq!(daemon.count(&name, "charged_for_gap"), 0, "after a clean end");
    daemon.kill();
    site.docker(&["restart", "-t", "1", &name]);

    let daemon = home.start(&[]);
    daemon.until_event(&name, "charged_for_gap", None);
    let left = || daemon.metric("iaso_restart_budget_remaining", &[("service", &name)]);
    until("one is charged", || (left() == Some(4.0)).then_some(()));
    daemon.stop();

    let daemon = home.start(&[]);
    daemon.until_health(&name, "healthy");
    assert_eq!(daemon.count(&name, "charged_for_gap"), 0, "charged twice");
    let left = || daemon.metric("iaso_restart_budget_remaining", &[("service", &name)]);
    until("the charge is remembered", || (left() == Some(4.0)).then_some(()));
    daemon.stop();
}
