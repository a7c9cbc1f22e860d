//! `[[maintenance]]`: what a window may be, and every mistake in one with its place.

use super::*;
use crate::config::validated::{When, Window};

fn windows(source: &str) -> Vec<Window> {
    read(source).unwrap_or_else(|mistakes| panic!("{mistakes}")).maintenance
}

/// The mistakes of a file with one window, as `path: got, expected`.
fn wrong(keys: &str) -> Vec<String> {
    let source = format!(
        "[hosts.local]\nurl = 'unix:///d'\n[services.web]\ncontainer = 'web'\n[[maintenance]]\n{keys}\n[discovery]\nenabled = false\n"
    );
    let told = |mistake: &Mistake| {
        assert!(mistake.place.is_some(), "{mistake:?}");
        format!("{}: {}, {}", mistake.path, mistake.got, mistake.expected)
    };
    mistakes(&source).iter().map(told).collect()
}

#[test]
fn each_kind_of_window_is_read() {
    let all = windows(
        "[services.web]\ncontainer = 'web'\n\
         [[maintenance]]\nname = 'move'\nfrom = 2026-12-24T22:00:00+01:00\nto = '2026-12-25T02:00:00Z'\nservices = ['web']\n\
         [[maintenance]]\ndays = ['sun', 'sat', 'sun']\nfrom = 23:00:00\nto = '04:00'\ntime_zone = 'Europe/Berlin'\nhosts = ['local']\n\
         [[maintenance]]\ncron = '0 3 * * sun'\nduration = '2h'\ntime_zone = 'UTC'\n",
    );
    let names: Vec<&str> = all.iter().map(|window| window.name.as_str()).collect();
    assert_eq!(names, ["move", "window 2", "window 3"]);
    assert_eq!((&*all[0].services, &*all[1].hosts), (&["web".to_owned()][..], &["local".to_owned()][..]));
    assert!(matches!(&all[0].when, When::Once { .. }));
    assert!(matches!(&all[1].when, When::Weekly { days, .. } if days.len() == 2), "{:?}", all[1].when);
    assert!(matches!(&all[2].when, When::Cron { lasting, .. } if lasting.as_secs() == 7200));
}

#[test]
fn each_mistake_is_told_with_its_place_and_what_was_expected() {
    let rows = [
        ("from = '22:00'\nto = '23:00'\ntime_zone = 'Europe/Berln'", "maintenance[0].time_zone", "\"Europe/Berlin\""),
        ("cron = '0 3 * *'\nduration = '1h'", "maintenance[0].cron", "a cron expression"),
        ("cron = '61 3 * * *'\nduration = '1h'", "maintenance[0].cron", "a cron expression"),
        ("cron = '0 3 30 2 *'\nduration = '1h'", "maintenance[0].cron", "a day which comes"),
        ("cron = '0 3 * * *'\nduration = '1s'", "maintenance[0].duration", "a duration from \"1m\""),
        ("cron = '0 3 * * *'", "maintenance[0]", "cron and duration"),
        ("from = '22:00'", "maintenance[0]", "from and to"),
        ("name = 'x'", "maintenance[0]", "none of them"),
        (
            "cron = '0 3 * * *'\nduration = '1h'\nfrom = '22:00'\nto = '23:00'",
            "maintenance[0]",
            "cron and duration and from and to",
        ),
        ("from = '25:00'\nto = '23:00'", "maintenance[0].from", "a time of day"),
        ("from = '2026-12-24T22:00'\nto = '23:00'", "maintenance[0].to", "a date with a time"),
        ("from = '22:00'\nto = '2026-12-24T22:00'", "maintenance[0].to", "a time of day"),
        ("from = '2026-12-24T22:00Z'\nto = '2026-12-24T22:00Z'", "maintenance[0].to", "it ends before it begins"),
        ("from = '2026-12-24T22:00Z'\nto = '2026-12-25T22:00Z'\ndays = ['mon']", "maintenance[0]", "days beside dates"),
        ("from = '22:00'\nto = '23:00'\ndays = ['monday']", "maintenance[0].days[0]", "mon, tue"),
        ("from = '22:00'\nto = '23:00'\nservices = []", "maintenance[0].services", "found none"),
        ("from = '22:00'\nto = '23:00'\nservices = ['wbe']", "maintenance[0].services[0]", "unknown service \"wbe\""),
        (
            "from = '22:00'\nto = '23:00'\nservices = ['other']",
            "maintenance[0].services[0]",
            "unknown service \"other\"",
        ),
        ("from = '22:00'\nto = '23:00'\nhosts = ['nas']", "maintenance[0].hosts[0]", "unknown host \"nas\""),
    ];
    for (keys, path, part) in rows {
        let told = wrong(keys);
        assert!(
            told.len() == 1 && told[0].starts_with(&format!("{path}: ")) && told[0].contains(part),
            "{keys}: {told:?}"
        );
    }
}

#[test]
fn a_service_that_labels_may_name_is_warned_of_and_no_mistake() {
    let source =
        "[services.web]\ncontainer = 'web'\n[[maintenance]]\nfrom = '22:00'\nto = '23:00'\nservices = ['shop-api']\n";
    assert_eq!(windows(source)[0].services, ["shop-api"]);
}
