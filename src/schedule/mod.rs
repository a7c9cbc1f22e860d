//! Calendars: from windows and a moment to what is open, until when, and when that changes next. Nothing here reads a clock.
//!
//! Where clocks are set forward or back, a window is as wide as its words can be read, since whatever is to happen in it is
//! timed by the same clocks. A time that is skipped counts, as a start, as the moment of the change, which is when cron makes up
//! for it; as an end, it counts as late after the change as it would have been without it. A time that comes twice is the
//! first as a start and the second as an end. A window by a cron expression lasts as long as it says, whatever clocks do; one
//! at a fixed time begins once.

#[cfg(test)]
mod tests;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::config::validated::{When, first_meant, last_meant};

/// How windows stand at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// When each window that is open ends, in the order of the windows; none for one that is not.
    pub open_until: Vec<Option<Timestamp>>,
    /// The next moment at which one of them opens or ends; none when that never comes.
    pub next_change: Option<Timestamp>,
}

/// How these windows stand at `now`.
pub fn outlook<'w>(windows: impl IntoIterator<Item = &'w When>, now: Timestamp) -> Outlook {
    let mut changes = Vec::new();
    let open_until = windows.into_iter().map(|when| {
        let ends = open_until(when, now);
        changes.extend(ends.into_iter().chain(next_start(when, now)));
        ends
    });
    let open_until = open_until.collect();
    Outlook { open_until, next_change: changes.into_iter().min() }
}

/// When the window ends that is open at `now`; none when it is not open. Where it has opened again meanwhile, its later end.
pub fn open_until(when: &When, now: Timestamp) -> Option<Timestamp> {
    opening(when, now).map(|(_, end)| end)
}

/// When the window opened that is open at `now`; none when it is not open. Where it has opened again meanwhile, the last time.
pub fn open_since(when: &When, now: Timestamp) -> Option<Timestamp> {
    opening(when, now).map(|(start, _)| start)
}

fn opening(when: &When, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let newest = match when {
        When::Once { from, to } => (*from <= now).then_some((*from, *to)),
        When::Weekly { days, from, to, zone } => {
            let begun = spans(days, *from, *to, zone, now).filter(|(start, _)| *start <= now);
            begun.max_by_key(|(_, end)| *end)
        }
        When::Cron { cron, lasting, zone } => {
            let start = cron.find_previous_occurrence(&second_of(now)?.to_zoned(zone.clone()), true).ok()?.timestamp();
            start.checked_add(*lasting).ok().map(|end| (start, end))
        }
    };
    newest.filter(|(_, end)| *end > now)
}

/// When the window opens next, after `now`; none when it never does.
pub fn next_start(when: &When, now: Timestamp) -> Option<Timestamp> {
    match when {
        When::Once { from, .. } => (*from > now).then_some(*from),
        When::Weekly { days, from, to, zone } => {
            let ahead = spans(days, *from, *to, zone, now).filter(|(start, _)| *start > now);
            ahead.map(|(start, _)| start).min()
        }
        When::Cron { cron, zone, .. } => {
            let start = cron.find_next_occurrence(&second_of(now)?.to_zoned(zone.clone()), false).ok()?;
            Some(start.timestamp())
        }
    }
}

/// Expressions name whole seconds.
fn second_of(now: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(now.as_millisecond().div_euclid(1000)).ok()
}

/// The starts and ends of a weekly window from shortly before `now` to more than a week after it.
fn spans<'w>(
    days: &'w [Weekday],
    from: Time,
    to: Time,
    zone: &'w TimeZone,
    now: Timestamp,
) -> impl Iterator<Item = (Timestamp, Timestamp)> + 'w {
    let today = zone.to_datetime(now).date();
    let near = (-2..=8).filter_map(move |offset: i64| today.checked_add(offset.days()).ok());
    near.filter(|date| days.contains(&date.weekday())).filter_map(move |date| span(date, from, to, zone))
}

fn span(date: Date, from: Time, to: Time, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let last = if to > from { date } else { date.tomorrow().ok()? };
    let (start, end) = (first_meant(date.to_datetime(from), zone)?, last_meant(last.to_datetime(to), zone)?);
    (start < end).then_some((start, end))
}
