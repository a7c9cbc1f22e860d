//! Containers that are not there yet, fall while they are healed, do not let themselves be stopped, or are frozen.

use libtest_mimic::Trial;

use crate::daemon::{Home, Settings, message};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("containers::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        one_that_does_not_exist_yet_is_waited_for_and_then_healed,
        one_that_lives_for_a_millisecond_is_given_up_within_the_budget,
        one_that_ignores_sigterm_gets_its_grace_and_delays_nobody,
        a_paused_one_is_left_alone,
    ]
}

fn one_that_does_not_exist_yet_is_waited_for_and_then_healed() {
    let site = Site::shared();
    let name = site.name("later");
    let more = format!("[services.later]\ncontainer = \"{name}\"\n");
    let home = Home::new(&site, &Settings { more, ..Settings::default() });
    let events = site.events();
    let daemon = home.start(&[]);
    let waits = |line: &serde_json::Value| message(line).contains("does not exist yet");
    let told = daemon.until_line("it is waited for", waits);
    assert!(message(&told).contains(&name), "{told}");
    until("it is counted", || (daemon.health().1["services"]["waiting"] == 1).then_some(()));
    assert!(home.iaso(&["status"]).out.contains("later is configured, and no container of it exists yet"));
    assert_eq!(home.iaso(&["explain", "later"]).code, 1);

    for round in 1..=2 {
        site.patient("later", &["--network=none"], &[]);
        daemon.until_health("later", "healthy");
        site.ask(&name, "/exit?code=3");
        events.come_to(&name, "start", 2 * round);
        until("it is healed", || (daemon.count("later", "incident_closed") == round).then_some(()));
        daemon.until_health("later", "healthy");
        assert_eq!(daemon.health().1["services"]["waiting"], 0);
        site.docker(&["rm", "-f", &name]);
        until("it is waited for again", || (daemon.health().1["services"]["waiting"] == 1).then_some(()));
    }
    assert_eq!(daemon.lines().iter().filter(|line| waits(line)).count(), 1, "it is said once");
    daemon.stop();
}

fn one_that_lives_for_a_millisecond_is_given_up_within_the_budget() {
    let site = Site::shared();
    // Five fall five times each, which is a storm where nobody says otherwise.
    let more = "[recovery]\nhost_budget = { max = 100, window = \"10m\" }\nmass_failure = { ratio = 1.0 }\n".to_owned();
    let home = Home::new(&site, &Settings { more, ..Settings::default() });
    let events = site.events();
    let daemon = home.start(&[]);
    // Each falls before anybody could look, and is seen to fall all the same. Never is it healed in between.
    let flags = ["--network=none", "--label=iaso.recovery.verify_stable=30s"];
    let brief = (0..5).map(|nth| site.patient(&format!("brief-{nth}"), &flags, &["--exit-after", "1ms:9"]));
    for brief in brief.collect::<Vec<_>>() {
        daemon.until_event(&brief, "quarantined", None);
        events.come_to(&brief, "start", 1 + 5);
        let waits = |line: &serde_json::Value| line["service"] == *brief && line["reason"] == "backoff";
        assert!(daemon.find(waits).is_some(), "one attempt followed the other at once");
    }
    // One that only falls once is healed.
    let once = site.patient("once", &["--network=none"], &["--exit-after", "1ms:9", "--once"]);
    daemon.until_event(&once, "incident_closed", Some("healed"));
    events.come_to(&once, "start", 2);
    daemon.stop();
}

fn one_that_ignores_sigterm_gets_its_grace_and_delays_nobody() {
    const GRACE_NANOS: i64 = 15_000_000_000;
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let grace = "--label=iaso.recovery.stop_timeout=15s";
    let stubborn = site.checked_patient("stubborn", &["--network=none", grace], &["--ignore-term"]);
    let other = site.patient("other", &["--network=none"], &[]);
    daemon.until_health(&stubborn, "healthy");
    daemon.until_health(&other, "healthy");
    site.ask(&stubborn, "/sick");
    daemon.until_event(&stubborn, "operation_begun", None);
    site.ask(&other, "/exit?code=3");
    daemon.until_event(&stubborn, "incident_closed", Some("healed"));
    daemon.until_event(&other, "incident_closed", Some("healed"));

    events.come_to(&stubborn, "restart", 1);
    events.come_to(&other, "start", 2);
    let all = events.timed();
    let nth = |name: &str, action: &str, nth: usize| {
        let found = all.iter().filter(|event| event.name == name && event.action == action).nth(nth);
        found.unwrap_or_else(|| panic!("no {action} of {name} in {all:?}")).nanos
    };
    let (asked, killed) = (nth(&stubborn, "kill", 0), nth(&stubborn, "kill", 1));
    assert!(killed - asked >= GRACE_NANOS, "killed after {} ns", killed - asked);
    assert!(nth(&other, "start", 1) < killed, "the other one waited: {all:?}");
    daemon.stop();
}

fn a_paused_one_is_left_alone() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.checked_patient("frozen", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    site.docker(&["pause", &name]);
    daemon.until_event(&name, "held", Some("container_paused"));
    daemon.until_explained(&name, &["is frozen", "container_paused"]);
    assert_eq!(daemon.health().1["services"]["paused"], 1);
    site.docker(&["unpause", &name]);
    daemon.until_health(&name, "healthy");
    assert_eq!(daemon.count(&name, "operation_begun"), 0);
    events.are(&name, &["create", "start", "pause", "unpause"]);
    daemon.stop();
}
