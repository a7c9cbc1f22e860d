//! Moments, time zones and cron expressions.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::{self, TimeZone};

use super::Read;
use crate::config::mistake::nearest;

/// When a window begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Moment {
    /// On each of its days.
    Daily(Time),
    /// On the clocks of its time zone.
    Local(DateTime),
    /// Anywhere.
    Exact(Timestamp),
}

/// `22:00`, `2026-12-24T22:00`, or with an offset.
pub(in crate::config) fn moment(text: &str) -> Read<Moment> {
    // A date alone leaves open which end of the day is meant.
    let read = text.contains(':').then(|| {
        let daily = if text.contains('-') { None } else { text.parse::<Time>().ok().map(Moment::Daily) };
        let exact = || text.parse().ok().map(Moment::Exact);
        daily.or_else(exact).or_else(|| text.parse().ok().map(Moment::Local))
    });
    read.flatten().ok_or_else(|| {
        "a time of day such as \"22:00\", or a date with one such as \"2026-12-24T22:00\" or \"2026-12-24T22:00:00+01:00\""
            .to_owned()
    })
}

/// `mon` to `sun`.
pub(in crate::config) fn day(text: &str) -> Read<Weekday> {
    let days = Weekday::Monday.cycle_forward().zip(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]);
    let mut known = days.filter(|(_, word)| *word == text);
    known.next().map(|(day, _)| day).ok_or_else(|| "mon, tue, wed, thu, fri, sat or sun".to_owned())
}

/// A name of the IANA database.
pub(in crate::config) fn time_zone(name: &str) -> Read<TimeZone> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> = tz::db().available().map(|known| known.to_string()).collect();
        let near = nearest(name, known.iter().map(String::as_str)).unwrap_or("Europe/Berlin");
        format!("a time zone of the IANA database, such as \"{near}\"")
    })
}

/// Five fields, and a day that comes.
pub(in crate::config) fn cron(text: &str) -> Read<Cron> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(text).map_err(|_| {
        "a cron expression: minute, hour, day of the month, month and day of the week, such as \"0 3 * * sun\""
            .to_owned()
    })?;
    let once = cron.find_next_occurrence(&DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true);
    once.map_err(|_| "a cron expression that names a day which comes".to_owned())?;
    Ok(cron)
}
