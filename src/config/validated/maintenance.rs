//! `[[maintenance]]`: when Iaso leaves services alone.

use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

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
