use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::config;

/// The window of a `[[maintenance]]` with these keys.
fn window(keys: &str) -> When {
    let text = format!("[[maintenance]]\n{keys}\n");
    config::decode("iaso.toml", &text, &|_| None).unwrap().maintenance.remove(0).when
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Where the window is open from `from` for `hours`, found by asking every minute.
fn open(when: &When, from: &str, hours: i64) -> Vec<(String, String)> {
    let (mut now, mut spans) = (at(from), Vec::new());
    let last = now + SignedDuration::from_hours(hours);
    let mut since: Option<Timestamp> = None;
    while now < last {
        match (open_until(when, now), since) {
            (Some(_), None) => since = Some(now),
            (None, Some(start)) => {
                spans.push((start.to_string(), now.to_string()));
                since = None;
            }
            _ => {}
        }
        now += SignedDuration::from_mins(1);
    }
    assert_eq!(since, None, "still open at {last}");
    spans
}

fn spans(found: &[(String, String)]) -> Vec<(&str, &str)> {
    found.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect()
}

#[test]
fn once_is_from_its_first_moment_to_its_last() {
    let when = window("from = 2026-12-24T22:00:00+01:00\nto = '2026-12-25T02:00'\ntime_zone = 'Europe/Berlin'");
    assert_eq!(when, When::Once { from: at("2026-12-24T21:00:00Z"), to: at("2026-12-25T01:00:00Z") });
    let outlook = |now| outlook([&when], at(now));
    let change = |open_until, next_change| Outlook { open_until: vec![open_until], next_change };
    let (from, to) = (Some(at("2026-12-24T21:00:00Z")), Some(at("2026-12-25T01:00:00Z")));
    assert_eq!(outlook("2026-12-24T20:59:59.999Z"), change(None, from));
    assert_eq!(outlook("2026-12-24T21:00:00Z"), change(to, to));
    assert_eq!(outlook("2026-12-25T00:59:59.999Z"), change(to, to));
    assert_eq!(outlook("2026-12-25T01:00:00Z"), change(None, None));
}

#[test]
fn a_date_whose_time_is_skipped_or_comes_twice_is_read_as_a_window_of_every_week_is() {
    let berlin = |from: &str, to: &str| window(&format!("from = '{from}'\nto = '{to}'\ntime_zone = 'Europe/Berlin'"));
    let spring = berlin("2026-03-29T02:10", "2026-03-29T02:40");
    assert_eq!(spring, When::Once { from: at("2026-03-29T01:00:00Z"), to: at("2026-03-29T01:40:00Z") });
    let autumn = berlin("2026-10-25T02:10", "2026-10-25T02:40");
    assert_eq!(autumn, When::Once { from: at("2026-10-25T00:10:00Z"), to: at("2026-10-25T01:40:00Z") });
}

#[test]
fn a_window_across_midnight_belongs_to_the_day_on_which_it_begins() {
    let when = window("days = ['sat']\nfrom = '23:00'\nto = '01:30'\ntime_zone = 'UTC'");
    let found = open(&when, "2026-06-01T00:00:00Z", 14 * 24);
    let expected = [("2026-06-06T23:00:00Z", "2026-06-07T01:30:00Z"), ("2026-06-13T23:00:00Z", "2026-06-14T01:30:00Z")];
    assert_eq!(spans(&found), expected);
    assert_eq!(next_start(&when, at("2026-06-06T23:00:00Z")), Some(at("2026-06-13T23:00:00Z")));
}

#[test]
fn without_days_it_is_every_day_and_an_equal_end_is_a_day_later() {
    let daily = window("from = '22:00'\nto = '23:00'\ntime_zone = 'UTC'");
    assert_eq!(open(&daily, "2026-06-01T00:00:00Z", 72).len(), 3);
    let always = window("from = '22:00'\nto = '22:00'\ntime_zone = 'UTC'");
    assert_eq!(open_until(&always, at("2026-06-01T21:59:59Z")), Some(at("2026-06-01T22:00:00Z")));
    assert_eq!(open_until(&always, at("2026-06-01T22:00:00Z")), Some(at("2026-06-02T22:00:00Z")));
}

/// In Berlin 02:00 becomes 03:00 on 2026-03-29, at 01:00 in UTC.
#[test]
fn where_clocks_go_forward_a_window_is_as_wide_as_it_can_be_read() {
    let berlin = |from: &str, to: &str| {
        let when = window(&format!("from = '{from}'\nto = '{to}'\ntime_zone = 'Europe/Berlin'"));
        open(&when, "2026-03-28T12:00:00Z", 24)
    };
    // Across the change it is an hour shorter than its clocks say.
    assert_eq!(spans(&berlin("23:00", "04:00")), [("2026-03-28T22:00:00Z", "2026-03-29T02:00:00Z")]);
    // Its start is skipped: it begins with the change. Its end is skipped: it ends as late after the change.
    assert_eq!(spans(&berlin("02:30", "05:00")), [("2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z")]);
    assert_eq!(spans(&berlin("01:00", "02:30")), [("2026-03-29T00:00:00Z", "2026-03-29T01:30:00Z")]);
    assert_eq!(spans(&berlin("02:10", "02:40")), [("2026-03-29T01:00:00Z", "2026-03-29T01:40:00Z")]);
}

/// In Berlin 03:00 becomes 02:00 on 2026-10-25, at 01:00 in UTC.
#[test]
fn where_clocks_go_back_a_window_is_as_wide_as_it_can_be_read() {
    let berlin = |from: &str, to: &str| {
        let when = window(&format!("from = '{from}'\nto = '{to}'\ntime_zone = 'Europe/Berlin'"));
        open(&when, "2026-10-24T12:00:00Z", 24)
    };
    assert_eq!(spans(&berlin("23:00", "04:00")), [("2026-10-24T21:00:00Z", "2026-10-25T03:00:00Z")]);
    // From the first 02:10 to the second 02:40, without a break.
    assert_eq!(spans(&berlin("02:10", "02:40")), [("2026-10-25T00:10:00Z", "2026-10-25T01:40:00Z")]);
    assert_eq!(spans(&berlin("01:00", "02:30")), [("2026-10-24T23:00:00Z", "2026-10-25T01:30:00Z")]);
    assert_eq!(spans(&berlin("02:30", "05:00")), [("2026-10-25T00:30:00Z", "2026-10-25T04:00:00Z")]);
}

#[test]
fn a_cron_expression_starts_a_window_that_lasts_as_long_as_it_says() {
    let when = window("cron = '30 2 * * *'\nduration = '90m'\ntime_zone = 'Europe/Berlin'");
    // Skipped: made up for with the change. Twice: once, at the first. The length is what it is.
    let found = open(&when, "2026-03-28T12:00:00Z", 24);
    assert_eq!(spans(&found), [("2026-03-29T01:00:00Z", "2026-03-29T02:30:00Z")]);
    let found = open(&when, "2026-10-24T12:00:00Z", 24);
    assert_eq!(spans(&found), [("2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z")]);
    let hourly = window("cron = '0 * * * *'\nduration = '10m'\ntime_zone = 'Europe/Berlin'");
    assert_eq!(open(&hourly, "2026-10-24T20:30:00Z", 10).len(), 10);
    let last = window("cron = '0 3 L * *'\nduration = '1d'\ntime_zone = 'UTC'");
    assert_eq!(next_start(&last, at("2028-02-01T00:00:00Z")), Some(at("2028-02-29T03:00:00Z")));
}

#[test]
fn where_a_day_is_left_out_its_window_is_no_trap() {
    // Samoa went from Thursday, 29 December 2011 to Saturday.
    let when = window("days = ['thu', 'fri']\nfrom = '22:00'\nto = '02:00'\ntime_zone = 'Pacific/Apia'");
    let found = open(&when, "2011-12-29T00:00:00Z", 48 + 24);
    assert_eq!(spans(&found)[0].0, "2011-12-30T08:00:00Z");
    assert!(
        found.iter().all(|(from, to)| at(to).duration_since(at(from)) <= SignedDuration::from_hours(29)),
        "{found:?}"
    );
}

#[test]
fn several_windows_change_when_the_first_of_them_does() {
    let night = window("from = '22:00'\nto = '23:00'\ntime_zone = 'UTC'");
    let hourly = window("cron = '0 * * * *'\nduration = '30m'\ntime_zone = 'UTC'");
    let seen = outlook([&night, &hourly], at("2026-06-01T22:10:00Z"));
    let ends = vec![Some(at("2026-06-01T23:00:00Z")), Some(at("2026-06-01T22:30:00Z"))];
    assert_eq!(seen, Outlook { open_until: ends, next_change: Some(at("2026-06-01T22:30:00Z")) });
    assert_eq!(outlook([], at("2026-06-01T22:10:00Z")), Outlook { open_until: vec![], next_change: None });
}

#[test]
fn at_either_end_of_time_nothing_is_open() {
    let weekly = window("from = '22:00'\nto = '23:00'\ntime_zone = 'Europe/Berlin'");
    let cron = window("cron = '0 * * * *'\nduration = '31d'\ntime_zone = 'Europe/Berlin'");
    for now in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
        let _ = outlook([&weekly, &cron], now);
    }
    assert_eq!(next_start(&weekly, Timestamp::MAX), None);
}

fn zones() -> impl Strategy<Value = &'static str> {
    let all = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Havana",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Asia/Kolkata",
    ];
    prop::sample::select(all.to_vec())
}

fn whens() -> impl Strategy<Value = When> {
    let weekly = (
        zones(),
        prop::sample::subsequence(vec!["mon", "tue", "wed", "thu", "fri", "sat", "sun"], 1..=7),
        0..1440_i64,
        0..1440_i64,
    );
    let weekly = weekly.prop_map(|(zone, days, from, to)| {
        let time = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
        window(&format!("days = {days:?}\nfrom = '{}'\nto = '{}'\ntime_zone = '{zone}'", time(from), time(to)))
    });
    let fields = prop::sample::select(vec![
        "30 2 * * *",
        "0 * * * *",
        "*/20 1-3 * * sun",
        "15 0 1 * *",
        "0 3 * * 1-5",
        "0 0 13 * fri",
    ]);
    let cron = (zones(), fields, 1..3000_i64).prop_map(|(zone, cron, minutes)| {
        window(&format!("cron = '{cron}'\nduration = '{minutes}m'\ntime_zone = '{zone}'"))
    });
    prop_oneof![weekly, cron]
}

proptest! {
    /// Whoever looks only at the changes that were foretold sees what whoever looks all the time does.
    #[test]
    fn between_the_changes_that_are_foretold_nothing_changes(
        when in whens(),
        start in 1_700_000_000_i64..1_900_000_000,
        later in prop::collection::vec(0.0_f64..1.0, 4),
    ) {
        let mut now = Timestamp::from_second(start).unwrap();
        for _ in 0..12 {
            let Outlook { open_until, next_change } = outlook([&when], now);
            let Some(next) = next_change else { break };
            prop_assert!(next > now);
            let ends = open_until[0];
            prop_assert!(ends.is_none_or(|ends| ends >= next));
            for part in &later {
                let between = now + (next.duration_since(now)).mul_f64(*part);
                prop_assert_eq!(super::open_until(&when, between), ends, "at {}", between);
            }
            let then = super::open_until(&when, next);
            prop_assert!(then != ends || ends.is_none(), "{next}: nothing changed from {ends:?}");
            now = next;
        }
    }
}
