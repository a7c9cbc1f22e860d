//! Every key of the configuration: its type, bounds, default and words. The decoder, the suggestions and
//! `config.example.toml` are made from this one table.

pub(super) mod checks;
pub(super) mod credentials;
mod daemon;
mod maintenance;
mod recovery;

use checks::{CHECKS, LABEL_CHECKS};
use credentials::{CREDENTIALS, VAULT};
use daemon::DAEMON;
use maintenance::MAINTENANCE;
use recovery::FLEET;
pub(super) use recovery::RECOVERY;

use Sample::{Commented, Default, Hidden, Named, Section, Unset};

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
    /// A name of a preset, or `none`.
    Preset,
    /// Bytes in KiB, MiB, GiB or TiB, at least so many MiB; from none on also `0`.
    Size(u64),
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
    /// `unix://`, `tcp://` or `https://`.
    HostUrl,
    /// `KEY=VALUE`.
    Label,
    /// A list of `KEY=VALUE`.
    Labels,
    /// A list of names.
    Names,
    /// `PROJECT/SERVICE`.
    Compose,
    /// An HTTP URL with placeholders.
    HttpUrl,
    /// `HOST:PORT` with placeholders.
    Peer,
    /// `{address}`, or a name or address without a port.
    Host,
    /// A program and its arguments, as one line or as a list.
    Argv,
    /// Texts, none of them empty.
    Texts,
    /// A text that is never shown, and should not be typed into the file.
    Secret,
    /// A text that is never shown.
    Private,
    /// A text that is never shown, and that may name credentials.
    Composed,
    /// SHA-256 hashes of public keys, in base64.
    Pins,
    /// `204`, `"200-299"`, or a list of these.
    Statuses,
    /// JSON pointers and the values they must lead to.
    Json,
    /// Header names and values, which may be secret and may name credentials.
    Headers,
    /// Header names and templates of their values, which may be secret.
    CallHeaders,
    /// A URL whose path and query may be templates.
    CallUrl,
    /// `http://` or `https://`, and a path before `/v1`.
    VaultAddress,
    /// A path within Vault.
    VaultPath,
    /// `http://` or `https://`.
    AwsEndpoint,
    /// The name of a secret of AWS's, or its ARN.
    AwsSecret,
    /// The whole path of a file.
    Absolute,
    /// A file's permissions in octal digits.
    FileMode,
    /// `USER:GROUP`.
    Owner,
    /// `none`, `restart` or `signal:NAME`.
    OnChange,
    /// A set of characters.
    Alphabet,
    /// Classes of characters, and how many of each.
    Counts,
    /// `mon` to `sun`, in a list.
    Days,
    /// A time of day, or a date with one.
    Moment,
    /// A name of the IANA database.
    TimeZone,
    /// A cron expression.
    Cron,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table of tables with these keys, each with a name of the user's.
    Named(&'static [Key]),
    /// A list of tables, each with the keys of its type.
    Typed(&'static Types),
    /// One such table.
    OneTyped(&'static Types),
    /// A list of tables with these keys.
    Tables(&'static [Key]),
    /// A table of such tables with types, each with a name of the user's.
    NamedTyped(&'static Types),
}

/// Tables whose keys depend on the word under `type`.
#[derive(Debug)]
pub(super) struct Types {
    /// What every type has; `type` itself among them.
    pub(super) common: &'static [Key],
    /// Each type's own.
    pub(super) own: &'static [(&'static str, &'static [Key])],
}

impl Types {
    /// Every type.
    pub(super) fn words(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.own.iter().map(|(word, _)| *word)
    }

    /// The own keys of a type.
    pub(super) fn of(&self, word: &str) -> Option<&'static [Key]> {
        self.own.iter().find(|(name, _)| *name == word).map(|(_, keys)| *keys)
    }
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
    /// The same, in comments.
    Commented,
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
    key(
        "maintenance",
        Kind::Tables(MAINTENANCE),
        Commented,
        "when services are left alone: at times of day, once, or from each moment that cron names",
    ),
    key("vault", Kind::Table(VAULT), Commented, "the one server that credentials are read from"),
    key(
        "credentials",
        Kind::NamedTyped(&CREDENTIALS),
        Named("homepage-key"),
        "secrets that are kept fresh, each by a name of your own: kv2 | kv1 | dynamic | pki (of Vault) | aws | environment | file \
         | directory",
    ),
    key("api", Kind::Table(API), Section, "what is served over HTTP"),
];

static HOST: &[Key] = &[
    key(
        "url",
        Kind::HostUrl,
        Unset("\"unix:///var/run/docker.sock\""),
        "or tcp://HOST:PORT; with ca_file, cert_file, key_file (PEM, from this folder) or as https:// it has TLS",
    ),
    key("ca_file", Kind::Text, Hidden, "the only authorities that are trusted; unset: those of this machine"),
    key("cert_file", Kind::Text, Hidden, "what Iaso shows to the engine"),
    key("key_file", Kind::Text, Hidden, "its private key, without a passphrase"),
];

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
const INCIDENT_LOG_LINES: Key = key(
    "incident_log_lines",
    Kind::Integer(0, 500),
    Default("50"),
    "lines of the container's log that are kept with an outage, without those that may hold a secret; 0: none",
);
const PRESET: Key = key(
    "preset",
    Kind::Preset,
    Unset("\"homepage\""),
    "a known application, with its checks and whether it keeps data; \"none\": whatever its image, it does not",
);
const STATEFUL: Key = key(
    "stateful",
    Kind::Bool,
    Unset("true"),
    "whether it keeps data and is healed with care; unset: as its preset or its image is known to",
);
const RECOVERY_KEY: Key = key("recovery", Kind::Table(RECOVERY), Section, "how services are healed");

pub(super) static DEFAULTS: &[Key] = &[
    INTERVAL,
    TIMEOUT,
    FAILURE_THRESHOLD,
    SUCCESS_THRESHOLD,
    START_PERIOD,
    LIFECYCLE,
    AFTER_GAP,
    INCIDENT_LOG_LINES,
    RECOVERY_KEY,
];

static SERVICE: &[Key] = &[
    key("host", Kind::Name, Unset("\"local\""), "unset: the first host"),
    key(
        "compose",
        Kind::Compose,
        Unset("\"dashboard/homepage\""),
        "PROJECT/SERVICE; or container = \"NAME\", or selector = { label = \"KEY=VALUE\" }",
    ),
    key("container", Kind::Text, Hidden, "a container by its name"),
    key("selector", Kind::Table(SELECTOR), Hidden, ""),
    key(
        "depends_on",
        Kind::Names,
        Unset("[]"),
        "names of services that this one needs: it is not healed before they are well",
    ),
    PRESET,
    STATEFUL,
    SEVERITY,
    INTERVAL,
    TIMEOUT,
    FAILURE_THRESHOLD,
    SUCCESS_THRESHOLD,
    START_PERIOD,
    LIFECYCLE,
    AFTER_GAP,
    INCIDENT_LOG_LINES,
    key("recovery", Kind::Table(RECOVERY), Unset("{ max_restarts = 3 }"), "any key of [defaults.recovery]"),
    key(
        "checks",
        Kind::Typed(&CHECKS),
        Section,
        "http | tcp | tls | dns | grpc | icmp | exec | command | docker | heartbeat",
    ),
];

static SELECTOR: &[Key] = &[key("label", Kind::Label, Hidden, "every container that carries it")];

static API: &[Key] =
    &[key("listen", Kind::Listen, Default("\"127.0.0.1:9797\""), "where /health and /metrics are served")];

/// What follows `iaso.` in a container's label: what a foreigner may ask for. No URL beyond the container itself, no redirect
/// that could lead elsewhere, no host, no target.
pub(super) static LABELS: &[Key] = &[
    key("enable", Kind::Flag, Hidden, "watch it, or never touch it"),
    key("name", Kind::Name, Hidden, "unset: PROJECT-SERVICE of Compose, else the container's own"),
    key(
        "depends_on",
        Kind::Names,
        Hidden,
        "services of its Compose project, watched services or containers of its own host that it needs to be well",
    ),
    PRESET,
    STATEFUL,
    SEVERITY,
    START_PERIOD,
    LIFECYCLE,
    AFTER_GAP,
    RECOVERY_KEY,
    key("check", Kind::NamedTyped(&LABEL_CHECKS), Hidden, ""),
];

/// The types of checks that labels may ask for.
pub(super) fn label_check_types() -> impl Iterator<Item = &'static str> + Clone {
    LABEL_CHECKS.words()
}
