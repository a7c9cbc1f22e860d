//! Keys of `[defaults.recovery]` and of `[recovery]`.

use super::Sample::{Default, Hidden, Unset};
use super::{DAY, HOUR, Key, Kind, MINUTE, SECOND, key};

/// `[defaults.recovery]`, `[services.NAME.recovery]`, and the label `iaso.recovery.KEY`.
pub(in crate::config) static RECOVERY: &[Key] = &[
    key(
        "mode",
        Kind::Word(&["auto", "notify", "off"]),
        Default("\"auto\""),
        "auto | notify (tells people, never acts) | off (watches only)",
    ),
    key(
        "ladder",
        Kind::Ladder,
        Default("[\"restart\"]"),
        "start | restart | stop | signal:HUP | exec:COMMAND LINE (inside the container); the last step repeats; \
         restart-dependents after it: once it is healed by a start, whatever needs it is restarted, in order",
    ),
    key(
        "notice",
        Kind::Duration(0, HOUR),
        Unset("\"1m\""),
        "told before the first attempt while its process is there, so that a person may take it over; unset: 1m for what keeps \
         data, else none",
    ),
    key(
        "stop_timeout",
        Kind::Duration(0, HOUR),
        Unset("\"30s\""),
        "unset: the container's own stop grace, else the engine's",
    ),
    key(
        "verify_timeout",
        Kind::Duration(SECOND, DAY),
        Unset("\"2m\""),
        "unset: the longest of start_period, the HEALTHCHECK's own and a heartbeat's max_age, plus verify_stable, plus 30s",
    ),
    key("verify_stable", Kind::Duration(0, HOUR), Default("\"10s\""), "healthy this long counts as healed"),
    key("max_attempts", Kind::Integer(1, 1000), Default("5"), "failed recoveries in one incident, then quarantine"),
    key("max_restarts", Kind::Integer(0, 1000), Default("5"), "in the window: for what flaps"),
    key("window", Kind::Duration(SECOND, DAY), Default("\"10m\""), "at most a day"),
    key(
        "backoff",
        Kind::Table(BACKOFF),
        Default("{ base = \"10s\", factor = 2.0, max = \"5m\", jitter = 0.1, reset_after = \"10m\" }"),
        "the wait before the second and later attempts",
    ),
    key(
        "quarantine_retry",
        Kind::DurationOrNever(MINUTE, DAY),
        Default("\"30m\""),
        "one trial, then doubling to a day; \"never\" for what must not be tried",
    ),
    key("on_quarantine", Kind::Word(&["leave", "stop"]), Default("\"leave\""), "leave | stop"),
];

static BACKOFF: &[Key] = &[
    key("base", Kind::Duration(0, DAY), Hidden, "before the second attempt"),
    key("factor", Kind::Number(1.0, 100.0), Hidden, "from one wait to the next"),
    key("max", Kind::Duration(0, DAY), Hidden, "the longest wait"),
    key("jitter", Kind::Number(0.0, 1.0), Hidden, "by chance a wait is longer or shorter by up to this part of it"),
    key("reset_after", Kind::Duration(0, 7 * DAY), Hidden, "healthy this long begins anew"),
];

pub(super) static FLEET: &[Key] = &[
    key("max_concurrent", Kind::Integer(1, 1000), Default("8"), "engine calls in flight per host"),
    key(
        "host_budget",
        Kind::Table(BUDGET),
        Default("{ max = 20, window = \"10m\" }"),
        "automatic operations per host; window at most a day",
    ),
    key(
        "mass_failure",
        Kind::Table(MASS_FAILURE),
        Default("{ min = 5, ratio = 0.5, window = \"60s\" }"),
        "so much at once on a host is a storm: nothing is recovered for 5 min, or until most is well, then one at a time",
    ),
    key(
        "quiet_start",
        Kind::Duration(0, HOUR),
        Default("\"30s\""),
        "after Iaso's start, before a verdict of its probes may lead to a restart",
    ),
    key(
        "host_lost_after",
        Kind::Duration(SECOND, HOUR),
        Default("\"30s\""),
        "an engine that was reached, and then was not for so long, is lost: one incident of its host, which ends after four times as long",
    ),
    key(
        "disk_full",
        Kind::Size(0),
        Default("\"256MiB\""),
        "with less than this free on the engine's disk, what keeps data is not restarted; \"0\": whatever is free",
    ),
];

static BUDGET: &[Key] = &[
    key("max", Kind::Integer(0, 100_000), Hidden, "in the window"),
    key("window", Kind::Duration(SECOND, DAY), Hidden, "which slides"),
];

static MASS_FAILURE: &[Key] = &[
    key(
        "min",
        Kind::Integer(2, 100_000),
        Hidden,
        "services that fail, each by itself: what others drag down does not count",
    ),
    key(
        "ratio",
        Kind::Number(0.0, 1.0),
        Hidden,
        "more than this part of the host's services that run or ran until then; 1.0: never",
    ),
    key("window", Kind::Duration(SECOND, HOUR), Hidden, "within this time"),
];
