//! What fails again and again is tried within its budget, and then said to be given up.

use libtest_mimic::Trial;

use crate::daemon::{Daemon, Home, Settings};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("loops::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        a_crash_loop_is_tried_within_its_budget_and_given_up_aloud,
        ten_kills_of_iaso_never_buy_another_attempt,
        a_container_that_the_engine_restarts_is_the_engines,
    ]
}

fn a_crash_loop_is_tried_within_its_budget_and_given_up_aloud() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.crashing("loop");
    let told = daemon.until_event(&name, "quarantined", None);
    assert_eq!(told["level"], "ERROR");

    // One start is the test's own; the budget and the attempts are five.
    events.come_to(&name, "start", 1 + 5);
    let quarantined = || daemon.metric("iaso_quarantined", &[("service", &name)]);
    until("the metric tells it", || (quarantined() == Some(1.0)).then_some(()));
    let counts =
        |metric: &str, labels: [(&str, &str); 2]| daemon.metric(metric, &[&labels[..], &[("service", &name)]].concat());
    assert_eq!(counts("iaso_recoveries_total", [("action", "restart"), ("result", "not_healed")]), Some(5.0));
    let held = |reason| daemon.metric("iaso_holds_total", &[("service", &name), ("reason", reason)]);
    assert_eq!((held("quarantine"), held("backoff")), (Some(1.0), Some(4.0)));
    let (code, health) = daemon.health();
    assert_eq!((code, &health["services"]["quarantined"]), (200, &1.into()), "{health}");
    assert_eq!(daemon.get("/health?strict=true").0, 503);
    assert_eq!(daemon.get(&format!("/health/services/{name}")).0, 503);
    daemon.until_explained(
        &name,
        &[
            "is unhealthy",
            "exited with code 7",
            "5 attempts, 5 failed",
            "quarantined: recovery has failed too often",
            "one trial (restart)",
        ],
    );
    daemon.stop();
    events.come_to(&name, "start", 1 + 5);
}

fn ten_kills_of_iaso_never_buy_another_attempt() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    // The first one sees it run and die, and lives until that is on record: what nobody saw is left to a person.
    let daemon = home.start(&[]);
    let name = site.crashing("loop");
    let starts = || events.count(&name, "start");
    let decided = |daemon: &Daemon, wanted: &[&str]| {
        daemon.find(|line| {
            line["service"] == *name && wanted.iter().any(|word| line["event"] == *word || line["reason"] == *word)
        })
    };
    until("it is tried once", || (starts() > 1).then_some(()));
    daemon.kill();
    for life in 1..10 {
        let before = starts();
        let daemon = home.start(&[]);
        // Each is killed at another moment.
        until("the moment to kill it", || {
            let over = decided(&daemon, &["quarantine", "budget"]).is_some();
            let now = match life % 4 {
                // It has just come up.
                0 => true,
                // It asks the engine.
                1 => decided(&daemon, &["operation_begun"]).is_some(),
                // The engine has done it.
                2 => starts() > before,
                // It failed, and the next attempt waits.
                _ => decided(&daemon, &["operation_ended"]).is_some(),
            };
            (over || now).then_some(())
        });
        daemon.kill();
    }
    let daemon = home.start(&[]);
    until("nothing is tried any more", || decided(&daemon, &["quarantine", "budget"]));
    events.catch_up();
    assert!(starts() > 2, "hardly anything was tried: {:?}", events.all());
    daemon.kill();
    // Nor does the next one forget.
    let daemon = home.start(&[]);
    until("nothing is tried any more", || decided(&daemon, &["quarantine", "budget"]));
    events.catch_up();
    assert!(starts() <= 1 + 5, "{:?}", events.all());
    assert_eq!(daemon.count(&name, "operation_begun"), 0);
    daemon.stop();
}

fn a_container_that_the_engine_restarts_is_the_engines() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let daemon = home.start(&[]);
    let name = site.patient("engines", &["--network=none", "--restart=unless-stopped"], &["--exit-after", "100ms:7"]);
    let told = daemon.until_line("the loop is told", |line| {
        line["service"] == *name && line["event"] == "engine_restarted" && line["level"] == "WARN"
    });
    assert!(told["message"].as_str().unwrap().contains("it loops"), "{told}");
    daemon.until_event(&name, "held", Some("engine_restarting"));
    until("it is explained", || {
        let said = daemon.explain(&name);
        // Between its lives it waits for the engine, in them it looks well.
        (said.contains("The engine itself restarted it") && said.contains("engine_restarting")).then_some(())
    });
    assert_eq!(daemon.count(&name, "operation_begun"), 0);
    assert_eq!(daemon.metric("iaso_recoveries_total", &[("service", &name)]), None);
    daemon.stop();
}
