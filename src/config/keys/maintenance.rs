//! The keys of `[[maintenance]]`.

use super::Sample::{Hidden, Unset};
use super::{DAY, Key, Kind, MINUTE, key};

pub(in crate::config) static MAINTENANCE: &[Key] = &[
    key("name", Kind::Text, Unset("\"backup\""), "for logs and lists"),
    key("services", Kind::Names, Unset("[\"homepage\"]"), "services that it covers"),
    key("hosts", Kind::Names, Unset("[\"local\"]"), "hosts that it covers; without either key: everything"),
    key("days", Kind::Days, Unset("[\"sat\", \"sun\"]"), "on which it begins; unset: every day"),
    key(
        "from",
        Kind::Moment,
        Unset("\"23:00\""),
        "a time of day; or, for once, a date with a time: \"2026-12-24T22:00\", with an offset or in time_zone",
    ),
    key("to", Kind::Moment, Unset("\"04:00\""), "likewise; on the next day where it is not later than from"),
    key(
        "time_zone",
        Kind::TimeZone,
        Unset("\"Europe/Berlin\""),
        "whose clocks these are; unset: this machine's ($TZ, else /etc/localtime)",
    ),
    key("cron", Kind::Cron, Hidden, "rather than from and to: when it begins, such as \"0 3 * * sun\", with duration"),
    key("duration", Kind::Duration(MINUTE, 31 * DAY), Hidden, "how long it lasts after each moment that cron names"),
];
