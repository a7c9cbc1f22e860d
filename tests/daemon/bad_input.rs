//! Names that two containers claim or nobody has, and a clock that jumps.

use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;

use crate::daemon::{Home, PROGRAM, Settings, message};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($needs:expr; $($name:ident),+ $(,)?) => {
            vec![$(test(concat!("bad_input::", stringify!($name)), $needs, || { $name(); Ok(()) })),+]
        };
    }
    let mut tests = suite![
        &[Need::Engine];
        of_two_containers_that_claim_one_name_each_is_healed_for_itself,
        a_label_that_names_nobody_is_told_and_holds_nobody,
    ];
    tests.extend(suite![
        &[Need::Engine, Need::Program("faketime")];
        a_wall_clock_that_jumps_by_a_day_either_way_changes_nothing,
    ]);
    tests
}

const NONE: &str = "--network=none";

fn of_two_containers_that_claim_one_name_each_is_healed_for_itself() {
    let site = Site::shared();
    let label = "--label=iaso.name=shop";
    let (first, second) = (site.patient("a", &[NONE, label], &[]), site.patient("b", &[NONE, label], &[]));
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let named = ["shop".to_owned(), format!("shop-{second}")];
    // Whoever has it keeps it, also for the next Iaso.
    for life in 1..=2 {
        let daemon = home.start(&[]);
        for (name, container) in named.iter().zip([&first, &second]) {
            daemon.until_health(name, "healthy");
            daemon.until_explained(name, &[&format!("Container {container} (")]);
        }
        let told =
            daemon.until_line("that the name is taken", |line| message(line).contains("is named `shop` already"));
        assert!(message(&told).contains(&format!("this one goes by `{}`", named[1])), "{told}");
        for (name, container) in named.iter().zip([&first, &second]) {
            site.ask(container, "/exit?code=3");
            daemon.until_event(name, "incident_closed", Some("healed"));
            events.come_to(container, "start", life);
            daemon.until_health(name, "healthy");
        }
        assert_eq!(
            daemon.lines().iter().filter(|line| message(line).contains("is named `shop`")).count(),
            1,
            "said once"
        );
        for name in &named {
            assert_eq!(daemon.count(name, "operation_begun"), 1, "{name}: {:?}", events.all());
        }
        daemon.stop();
    }
}

fn a_label_that_names_nobody_is_told_and_holds_nobody() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let daemon = home.start(&[]);
    let name = site.patient("web", &[NONE, "--label=iaso.depends_on=datbase"], &[]);
    daemon.until_health(&name, "healthy");
    let told = daemon.until_line("that there is none", |line| message(line).contains("names `datbase`"));
    assert_eq!((&told["service"], &told["level"]), (&name.as_str().into(), &"WARN".into()), "{told}");
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "incident_closed", Some("healed"));
    let waited = daemon.find(|line| line["event"] == "held" && line["reason"] == "dependency");
    assert_eq!(waited, None);
    daemon.stop();
}

/// The library that Debian's `faketime` loads. The command itself would stand between the test and its daemon.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let mut found = folders.map(|folder| folder.unwrap().path().join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.exists()).unwrap()
}

/// The daemon with a wall clock of its own, which goes by the offset in a file: a monotonic clock is never set.
fn a_wall_clock_that_jumps_by_a_day_either_way_changes_nothing() {
    let site = Site::shared();
    let settings = Settings {
        recovery: "stop_timeout = \"1s\"\nverify_stable = \"1s\"\nmax_restarts = 3\nwindow = \"10m\"\n\
                   backoff = { base = \"100ms\", factor = 1.0, max = \"100ms\", jitter = 0.0 }\n",
        ..Settings::default()
    };
    let home = Home::new(&site, &settings);
    let offset = home.path().join("offset");
    let set = |text: &str| std::fs::write(&offset, text).unwrap();
    set("+0d");
    let mut command = Command::new(PROGRAM);
    command.env("LD_PRELOAD", faketime()).env("FAKETIME_TIMESTAMP_FILE", &offset).env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let daemon = home.start_by(command, &[]);
    let events = site.events();
    let name = site.patient("web", &[NONE], &[]);
    let kept = site.patient("kept", &[NONE], &[]);
    for name in [&name, &kept] {
        daemon.until_health(name, "healthy");
    }
    assert_eq!(home.iaso(&["maintenance", "start", &kept, "--for", "2h"]).code, 0);
    site.ask(&kept, "/exit?code=3");
    daemon.until_event(&kept, "held", Some("maintenance"));
    for (healed, jump) in [(1, "+1d"), (2, "-1d"), (3, "+0d")] {
        site.ask(&name, "/exit?code=3");
        until("it is healed", || (daemon.count(&name, "incident_closed") == healed).then_some(()));
        events.come_to(&name, "start", 1 + healed);
        let day = |line: &serde_json::Value| line["timestamp"].as_str().unwrap_or_default()[..10].to_owned();
        let before = daemon.lines().last().map(day).unwrap();
        set(jump);
        daemon.until_explained(&kept, &["nothing (maintenance"]);
        daemon.send(rustix::process::Signal::HUP);
        until("the jump is seen in the log", || {
            let seen = daemon.lines().last().map(day).unwrap();
            (seen != before).then_some(())
        });
    }
    // Three in ten minutes are spent, however many days the clock says have passed.
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "held", Some("budget"));
    events.come_to(&name, "start", 1 + 3);
    events.come_to(&kept, "start", 1);
    let lasted = daemon.lines().into_iter().filter(|line| line["event"] == "incident_closed");
    for line in lasted {
        assert!(message(&line).contains(" s") && !message(&line).contains("day"), "{line}");
    }
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
}
