//! `[[maintenance]]`: when Iaso leaves services alone.

use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// One `[[maintenance]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Its name in logs and lists.
    pub name: String,
    /// When it is open.
    pub when: When,
    /// The names of the hosts that it covers.
    pub hosts: Vec<String>,
    /// The names of the services that it covers; without any, and without a host, it covers everything.
    pub services: Vec<String>,
}

/// When a window is open. It begins at the first moment of its start and is over at its end.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// Once.
    Once {
        /// Its start.
        from: Timestamp,
        /// Its end, which is later.
        to: Timestamp,
    },
    /// Every week.
    Weekly {
        /// The days on which it begins, each once; at least one.
        days: Vec<Weekday>,
        /// When it begins on such a day.
        from: Time,
        /// When it ends: on the next day where that is not later than `from`.
        to: Time,
        /// Whose clock this is.
        zone: TimeZone,
    },
    /// From each moment that the expression names.
    Cron {
        /// The expression, of five fields.
        cron: Box<Cron>,
        /// How long it is open, on a clock that nobody sets.
        lasting: Duration,
        /// Whose clock the expression is for.
        zone: TimeZone,
    },
}

/// The first moment that this time can mean: the change, where clocks skip it. None at the end of all calendars.
pub fn first_meant(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let meant = zone.to_ambiguous_timestamp(at);
    match meant.offset() {
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => meant.earlier().ok(),
        // With the later offset it lies before the change.
        AmbiguousOffset::Gap { .. } => {
            let before = meant.earlier().ok()?;
            zone.following(before).next().map(|change| change.timestamp())
        }
    }
}

/// The last moment that this time can mean: as late after the change as it would have been, where clocks skip it.
pub fn last_meant(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(at).later().ok()
}
