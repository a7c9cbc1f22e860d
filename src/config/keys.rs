//! Every key of the configuration: its type, bounds, default and words. The decoder, the suggestions and
//! `config.example.toml` are made from this one table.

use Sample::{Default, Hidden, Named, Section, Unset};

/// A key of a table.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) sample: Sample,
    /// What it means, for the example's comment.
    pub(super) note: &'static str,
}

/// What a key's value must be.
#[derive(Debug)]
pub(super) enum Kind {
    Bool,
    /// `true`, `1`, `yes`, `on` or their opposites, as labels spell it.
    Flag,
    /// Any text but the empty one.
    Text,
    /// A name of a host, a service or a check.
    Name,
    /// Milliseconds, both ends included.
    Duration(u64, u64),
    /// Like `Duration`, or `"never"`.
    DurationOrNever(u64, u64),
    /// Both ends included.
    Integer(i64, i64),
    /// Both ends included.
    Number(f64, f64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `3`, or `"3/10"`.
    Threshold,
    /// Steps of a ladder.
    Ladder,
    /// `ADDRESS:PORT`.
    Listen,
    /// `unix://` or `tcp://`.
    HostUrl,
    /// `KEY=VALUE`.
    Label,
    /// A list of `KEY=VALUE`.
    Labels,
    /// `PROJECT/SERVICE`.
    Compose,
    /// An HTTP URL with placeholders.
    HttpUrl,
    /// `204`, `"200-299"`, or a list of these.
    Statuses,
    /// JSON pointers and the values they must lead to.
    Json,
    /// Header names and values, which may be secret.
    Headers,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table of tables with these keys, each with a name of the user's.
    Named(&'static [Key]),
    /// A list of tables with these keys.
    Tables(&'static [Key]),
}

/// What the example shows.
#[derive(Debug)]
pub(super) enum Sample {
    /// The value that holds when the key is not there.
    Default(&'static str),
    /// A value, commented out: the key has no default.
    Unset(&'static str),
    /// A table of its own under a header, commented out or not; its keys show themselves.
    Section,
    /// The same, in comments, with this name.
    Named(&'static str),
    /// Nothing: another key's note speaks of it.
    Hidden,
}

const fn key(name: &'static str, kind: Kind, sample: Sample, note: &'static str) -> Key {
    Key { name, kind, sample, note }
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The whole file.
pub(super) static ROOT: &[Key] = &[
    key("daemon", Kind::Table(DAEMON), Section, "the daemon itself"),
    key(
        "hosts",
        Kind::Named(HOST),
        Named("local"),
        "container engines; without any: $DOCKER_HOST, else the usual sockets",
    ),
    key("discovery", Kind::Table(DISCOVERY), Section, "containers found by their labels"),
    key("defaults", Kind::Table(DEFAULTS), Section, "what every service inherits"),
    key("recovery", Kind::Table(FLEET), Section, "rules across services"),
    key("services", Kind::Named(SERVICE), Named("homepage"), "services, each by a name of your own"),
    key("api", Kind::Table(API), Section, "what is served over HTTP"),
];

static DAEMON: &[Key] = &[
    key("data_dir", Kind::Text, Default("\"/var/lib/iaso\""), "where its database lives; $STATE_DIRECTORY wins"),
    key("socket", Kind::Text, Default("\"/run/iaso/iaso.sock\""), "the Unix socket of the command line"),
    key(
        "log",
        Kind::Table(LOG),
        Default("{ level = \"info\", format = \"auto\" }"),
        "error | warn | info | debug | trace; auto (text to a terminal, else json) | json | text",
    ),
    key("shutdown_grace", Kind::Duration(SECOND, HOUR), Default("\"8s\""), "under the 10 s of `docker stop`"),
];

static LOG: &[Key] = &[
    key("level", Kind::Word(&["error", "warn", "info", "debug", "trace"]), Hidden, ""),
    key("format", Kind::Word(&["auto", "json", "text"]), Hidden, ""),
];

static HOST: &[Key] = &[key(
    "url",
    Kind::HostUrl,
    Unset("\"unix:///var/run/docker.sock\""),
    "or tcp://HOST:PORT, which has no TLS and is for a socket proxy",
)];

static DISCOVERY: &[Key] = &[
    key("enabled", Kind::Bool, Default("true"), "whether labels are looked at"),
    key(
        "labels",
        Kind::Labels,
        Default("[\"iaso.enable=true\", \"autoheal=true\", \"deunhealth.restart.on.unhealthy=true\"]"),
        "a container that carries one of these is watched",
    ),
];

// What more than one table has.
const INTERVAL: Key = key("interval", Kind::Duration(SECOND, DAY), Default("\"30s\""), "from one probe to the next");
const TIMEOUT: Key = key(
    "timeout",
    Kind::Duration(100, 5 * MINUTE),
    Default("\"5s\""),
    "of a whole probe: name, connection, TLS and body",
);
const FAILURE_THRESHOLD: Key =
    key("failure_threshold", Kind::Threshold, Default("3"), "in a row; or \"3/10\": three of the last ten");
const SUCCESS_THRESHOLD: Key = key("success_threshold", Kind::Integer(1, 64), Default("1"), "in a row");
const START_PERIOD: Key = key(
    "start_period",
    Kind::Duration(0, DAY),
    Default("\"60s\""),
    "forgives failures of Iaso's own probes, counted from the container's start",
);
const LIFECYCLE: Key = key(
    "lifecycle",
    Kind::Word(&["running", "completed", "auto"]),
    Default("\"auto\""),
    "running | completed | auto (exit 0 is an end, another exit a failure)",
);
const AFTER_GAP: Key = key(
    "after_gap",
    Kind::Word(&["leave", "start"]),
    Default("\"leave\""),
    "leave | start: what stopped while nobody watched",
);
const SEVERITY: Key =
    key("severity", Kind::Word(&["info", "warning", "critical"]), Default("\"warning\""), "info | warning | critical");
const TYPE: Key = key("type", Kind::Word(&["http"]), Unset("\"http\""), "");
const METHOD: Key =
    key("method", Kind::Word(&["GET", "HEAD", "POST"]), Default("\"GET\""), "GET | HEAD | POST (without a body)");
const ON_FAILURE: Key = key(
    "on_failure",
    Kind::Word(&["heal", "alert"]),
    Unset("\"heal\""),
    "unset: heal when it goes to {address} or {port:N}, else alert; max_latency alone alerts",
);
const RECOVERY_KEY: Key = key("recovery", Kind::Table(RECOVERY), Section, "how services are healed");

static DEFAULTS: &[Key] =
    &[INTERVAL, TIMEOUT, FAILURE_THRESHOLD, SUCCESS_THRESHOLD, START_PERIOD, LIFECYCLE, AFTER_GAP, RECOVERY_KEY];

/// `[defaults.recovery]`, `[services.NAME.recovery]`, and the label `iaso.recovery.KEY`.
pub(super) static RECOVERY: &[Key] = &[
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
        "start | restart | stop | signal:HUP | exec:COMMAND LINE (inside the container); the last step repeats",
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
        "unset: the longer of start_period and the HEALTHCHECK's own, plus verify_stable, plus 30s",
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
    key("base", Kind::Duration(0, DAY), Hidden, ""),
    key("factor", Kind::Number(1.0, 100.0), Hidden, ""),
    key("max", Kind::Duration(0, DAY), Hidden, ""),
    key("jitter", Kind::Number(0.0, 1.0), Hidden, ""),
    key("reset_after", Kind::Duration(0, 7 * DAY), Hidden, ""),
];

static FLEET: &[Key] = &[
    key("max_concurrent", Kind::Integer(1, 1000), Default("8"), "engine calls in flight per host"),
    key(
        "host_budget",
        Kind::Table(BUDGET),
        Default("{ max = 20, window = \"10m\" }"),
        "automatic operations per host; window at most a day",
    ),
    key(
        "quiet_start",
        Kind::Duration(0, HOUR),
        Default("\"30s\""),
        "after Iaso's start, before a verdict of its probes may lead to a restart",
    ),
];

static BUDGET: &[Key] =
    &[key("max", Kind::Integer(0, 100_000), Hidden, ""), key("window", Kind::Duration(SECOND, DAY), Hidden, "")];

static SERVICE: &[Key] = &[
    key("host", Kind::Name, Unset("\"local\""), "unset: the first host"),
    key(
        "compose",
        Kind::Compose,
        Unset("\"dashboard/homepage\""),
        "PROJECT/SERVICE; or container = \"NAME\", or selector = { label = \"KEY=VALUE\" }",
    ),
    key("container", Kind::Text, Hidden, ""),
    key("selector", Kind::Table(SELECTOR), Hidden, ""),
    SEVERITY,
    START_PERIOD,
    LIFECYCLE,
    AFTER_GAP,
    key("recovery", Kind::Table(RECOVERY), Unset("{ max_restarts = 3 }"), "any key of [defaults.recovery]"),
    key("checks", Kind::Tables(CHECK), Section, ""),
];

static SELECTOR: &[Key] = &[key("label", Kind::Label, Hidden, "")];

static CHECK: &[Key] = &[
    key("name", Kind::Name, Unset("\"api\""), "unset: its type"),
    TYPE,
    key(
        "url",
        Kind::HttpUrl,
        Unset("\"http://{address}:3000/api/healthcheck\""),
        "{address}: the container's own; {port:3000}: the published port",
    ),
    METHOD,
    key("headers", Kind::Headers, Unset("{ Host = \"localhost:3000\" }"), ""),
    key(
        "expect",
        Kind::Table(EXPECT),
        Unset("{ status = \"200-299\", body_contains = \"up\", max_latency = \"2s\" }"),
        "also json = { \"/pointer\" = VALUE }, headers = { NAME = \"part of its value\" }",
    ),
    key("redirects", Kind::Integer(0, 10), Default("0"), "followed, at most 10"),
    INTERVAL,
    TIMEOUT,
    ON_FAILURE,
    FAILURE_THRESHOLD,
    SUCCESS_THRESHOLD,
];

static EXPECT: &[Key] = &[
    key("status", Kind::Statuses, Hidden, ""),
    key("body_contains", Kind::Text, Hidden, ""),
    key("json", Kind::Json, Hidden, ""),
    key("headers", Kind::Headers, Hidden, ""),
    key("max_latency", Kind::Duration(1, 5 * MINUTE), Hidden, ""),
];

static API: &[Key] =
    &[key("listen", Kind::Listen, Default("\"127.0.0.1:9797\""), "where /health and /metrics are served")];

/// What follows `iaso.` in a container's label: what a foreigner may ask for. No URL beyond the container itself, no redirect
/// that could lead elsewhere, no host, no target.
pub(super) static LABELS: &[Key] = &[
    key("enable", Kind::Flag, Hidden, ""),
    key("name", Kind::Name, Hidden, ""),
    SEVERITY,
    START_PERIOD,
    LIFECYCLE,
    AFTER_GAP,
    RECOVERY_KEY,
    key("check", Kind::Named(LABEL_CHECK), Hidden, ""),
];

static LABEL_CHECK: &[Key] = &[
    TYPE,
    key("url", Kind::Text, Hidden, ""),
    key("port", Kind::Integer(1, 65_535), Hidden, ""),
    METHOD,
    key("headers", Kind::Headers, Hidden, ""),
    key("expect", Kind::Table(EXPECT), Hidden, ""),
    INTERVAL,
    TIMEOUT,
    ON_FAILURE,
    FAILURE_THRESHOLD,
    SUCCESS_THRESHOLD,
];
