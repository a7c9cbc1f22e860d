use iaso_policy::time::{Boot, Wall};

use super::*;
use crate::config;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// So long after 2026-06-01T00:00:00Z, a while after the machine's boot.
fn at(elapsed: i64, wall: i64) -> Now {
    Now { mono: Mono(500 + elapsed), wall: Wall(1_780_272_000_000 + wall), boot: Boot(1) }
}

/// From ten to eleven, every day.
fn calendars() -> Calendars {
    let text = "[[maintenance]]\nfrom = '10:00'\nto = '11:00'\ntime_zone = 'UTC'\n";
    Calendars::new(config::decode("iaso.toml", text, &|_| None).unwrap().maintenance)
}

#[test]
fn it_looks_at_the_moment_of_each_change_and_not_before() {
    let mut calendars = calendars();
    assert!(calendars.is_due(at(0, 0)));
    calendars.look(at(0, 0));
    assert_eq!(calendars.open, [None]);
    assert_eq!(calendars.rest(at(0, 0)), Some(Duration::from_secs(36_000)));
    assert!(!calendars.is_due(at(10 * HOUR - 1, 10 * HOUR - 1)));
    let now = at(10 * HOUR, 10 * HOUR);
    assert!(calendars.is_due(now) && !calendars.clock_was_set(now));
    calendars.look(now);
    assert_eq!(calendars.open, [Some((at(0, 10 * HOUR).wall.0, at(0, 11 * HOUR).wall.0))]);
    assert!(!calendars.is_due(at(11 * HOUR - 1, 11 * HOUR - 1)) && calendars.is_due(at(11 * HOUR, 11 * HOUR)));
}

#[test]
fn a_clock_that_is_set_by_a_day_either_way_is_looked_at_again() {
    let mut calendars = calendars();
    calendars.look(at(0, 9 * HOUR + HOUR / 2));
    for (wall, open) in [(10 * HOUR - DAY, true), (12 * HOUR + DAY, false), (10 * HOUR + DAY, true), (9 * HOUR, false)]
    {
        let now = at(1000, wall);
        assert!(calendars.is_due(now) && calendars.clock_was_set(now), "{wall}");
        calendars.look(now);
        assert_eq!(calendars.open[0].is_some(), open, "{wall}");
        assert!(!calendars.is_due(at(1001, wall + 1)), "{wall}");
    }
}

#[test]
fn other_windows_are_looked_at_anew_and_the_same_are_not() {
    let mut calendars = calendars();
    calendars.look(at(0, 0));
    calendars.replace(&calendars.windows.clone(), at(1, 1).mono);
    assert!(!calendars.is_due(at(1, 1)));
    calendars.replace(&[], at(1, 1).mono);
    assert!(calendars.is_due(at(1, 1)));
    calendars.look(at(1, 1));
    assert_eq!(calendars.rest(at(1, 1)), None);
    assert!(!calendars.is_due(at(DAY, DAY)));
}

#[test]
fn an_end_counts_for_what_had_opened_by_then_and_stands_in_the_configuration() {
    let config = config::decode("iaso.toml", "[services.web]\ncontainer = 'web'\n", &|_| None).unwrap();
    let fleet = crate::supervisor::rollouts::tests::fleet(&Arc::new(config), &[("web", None)]);
    let web = fleet.service(ServiceId(0)).unwrap();
    let mut calendars = calendars();
    let now = at(10 * HOUR, 10 * HOUR + HOUR / 2);
    calendars.look(now);
    let until = |calendars: &Calendars, ended: Option<i64>| {
        let ended = ended.map(|elapsed| now.at(Mono(500 + elapsed)));
        calendars.until(web, Some("local"), ended).is_some()
    };
    // It opened half an hour ago by the clock as it is set now.
    let opened = 10 * HOUR - HOUR / 2;
    assert!(until(&calendars, None) && until(&calendars, Some(opened - 1)));
    assert!(!until(&calendars, Some(opened)) && !until(&calendars, Some(10 * HOUR)));
    // One that is written anew is not meant by an end of before.
    let same = calendars.windows.clone();
    calendars.replace(&[], now.mono);
    calendars.replace(&same, now.mono + Duration::from_secs(1));
    calendars.look(now);
    assert!(until(&calendars, Some(10 * HOUR)));
}
