//! The keys of checks: those of every type, and each type's own, in the file and in labels.

use super::Sample::{Default, Hidden, Unset};
use super::{DAY, FAILURE_THRESHOLD, INTERVAL, Key, Kind, MINUTE, SECOND, SUCCESS_THRESHOLD, TIMEOUT, Types, key};

/// `[[services.NAME.checks]]`.
pub(in crate::config) static CHECKS: Types = Types {
    common: &[
        key("name", Kind::Name, Unset("\"api\""), "unset: its type"),
        TYPE,
        INTERVAL,
        TIMEOUT,
        ON_FAILURE,
        FAILURE_THRESHOLD,
        SUCCESS_THRESHOLD,
    ],
    own: &[
        ("http", HTTP),
        ("tcp", TCP),
        ("tls", TLS),
        ("dns", DNS),
        ("grpc", GRPC),
        ("icmp", ICMP),
        ("exec", EXEC),
        ("command", COMMAND),
        ("docker", &[]),
        ("heartbeat", HEARTBEAT),
    ],
};

/// `iaso.check.NAME.KEY`: no way beyond the container itself, no redirect that could lead elsewhere, no file and no program of
/// the host.
pub(in crate::config) static LABEL_CHECKS: Types = Types {
    common: &[TYPE, INTERVAL, TIMEOUT, ON_FAILURE, FAILURE_THRESHOLD, SUCCESS_THRESHOLD],
    own: &[
        (
            "http",
            &[
                key("url", Kind::Text, Hidden, "http://{address}:3000/health, or a path beside a port"),
                PORT,
                METHOD,
                HEADERS,
                EXPECT_HTTP,
                PINS,
                SERVER_NAME,
            ],
        ),
        ("tcp", &[OWN_ADDRESS, PORT, SEND, EXPECT_TEXT]),
        ("tls", &[OWN_ADDRESS, PORT, MIN_DAYS_LEFT, PINS, SERVER_NAME]),
        ("dns", &[QUERY, RECORD, key("server", Kind::Peer, Hidden, "{address}:53 when unset")]),
        ("grpc", &[OWN_ADDRESS, PORT, GRPC_SERVICE, GRPC_TLS, PINS, SERVER_NAME]),
        ("icmp", &[]),
        ("exec", EXEC),
        ("docker", &[]),
        ("heartbeat", HEARTBEAT),
    ],
};

static HTTP: &[Key] = &[
    key(
        "url",
        Kind::HttpUrl,
        Unset("\"http://{address}:3000/api/healthcheck\""),
        "{address}: the container's own; {port:3000}: the published port",
    ),
    METHOD,
    HEADERS,
    EXPECT_HTTP,
    key("redirects", Kind::Integer(0, 10), Default("0"), "followed, at most 10"),
    CA_FILE,
    PINS,
    SERVER_NAME,
];
static TCP: &[Key] = &[ADDRESS, SEND, EXPECT_TEXT];
static TLS: &[Key] = &[ADDRESS, MIN_DAYS_LEFT, CA_FILE, PINS, SERVER_NAME];
static DNS: &[Key] = &[
    QUERY,
    RECORD,
    key("server", Kind::Peer, Unset("\"{address}:53\""), "unset: the resolvers of this machine"),
    key("expect", Kind::Texts, Unset("[\"192.0.2.1\"]"), "each must be among the answers"),
];
static GRPC: &[Key] = &[ADDRESS, GRPC_SERVICE, GRPC_TLS, CA_FILE, PINS, SERVER_NAME];
static ICMP: &[Key] = &[key("address", Kind::Host, Unset("\"{address}\""), "or a name or address")];
static EXEC: &[Key] = &[key("command", Kind::Argv, Unset("[\"pg_isready\"]"), "inside the container; exit 0 passes")];
static COMMAND: &[Key] = &[key(
    "command",
    Kind::Argv,
    Unset("[\"/usr/local/bin/check-nas\"]"),
    "on this host, without a shell; exit 0 passes",
)];
static HEARTBEAT: &[Key] = &[
    key("max_age", Kind::Duration(SECOND, 7 * DAY), Default("\"5m\""), "the longest time from one ping to the next"),
    key(
        "token",
        Kind::Secret,
        Unset("\"${file:/etc/iaso/ping.token}\""),
        "what pings over TCP must carry, 16 characters or more",
    ),
];

/// The words of the key `type` are those of the table that it is in; `decode` knows.
const TYPE: Key = key("type", Kind::Text, Unset("\"http\""), "one of the types below");
const METHOD: Key =
    key("method", Kind::Word(&["GET", "HEAD", "POST"]), Default("\"GET\""), "GET | HEAD | POST (without a body)");
const HEADERS: Key = key("headers", Kind::Headers, Unset("{ Host = \"localhost:3000\" }"), "");
const EXPECT_HTTP: Key = key(
    "expect",
    Kind::Table(EXPECT),
    Unset("{ status = \"200-299\", body_contains = \"up\", max_latency = \"2s\" }"),
    "also json = { \"/pointer\" = VALUE }, headers = { NAME = \"part of its value\" }",
);
const ON_FAILURE: Key = key(
    "on_failure",
    Kind::Word(&["heal", "alert"]),
    Unset("\"heal\""),
    "unset: heal when it goes to {address} or {port:N}, else alert; max_latency alone alerts",
);
const ADDRESS: Key = key(
    "address",
    Kind::Peer,
    Unset("\"{address}:5432\""),
    "{address}: the container's own; {port:5432}: the published port; or HOST:PORT",
);
const OWN_ADDRESS: Key = key("address", Kind::Peer, Hidden, "{address}:PORT or {port:PORT}");
const PORT: Key = key("port", Kind::Integer(1, 65_535), Hidden, "the container's own");
const SEND: Key = key("send", Kind::Composed, Unset("\"PING\\r\\n\""), "once the connection is open");
const EXPECT_TEXT: Key = key("expect", Kind::Composed, Unset("\"+PONG\""), "what the answer contains");
const MIN_DAYS_LEFT: Key = key("min_days_left", Kind::Integer(0, 3650), Default("14"), "of the certificate");
const CA_FILE: Key =
    key("ca_file", Kind::Text, Unset("\"ca.pem\""), "trusted instead of this machine's roots; PEM, beside this file");
const PINS: Key = key(
    "pin_sha256",
    Kind::Pins,
    Unset("[\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]"),
    "public keys, one of which the certificate must have; without ca_file that is all it must",
);
const SERVER_NAME: Key = key("server_name", Kind::Text, Unset("\"db.example.org\""), "that the certificate must bear");
const QUERY: Key = key("query", Kind::Text, Unset("\"db.example.org\""), "the name to ask for");
const RECORD: Key = key(
    "record",
    Kind::Word(&["A", "AAAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT"]),
    Default("\"A\""),
    "A | AAAA | CNAME | MX | NS | PTR | SRV | TXT",
);
const GRPC_SERVICE: Key = key("service", Kind::Text, Unset("\"shop.v1.Cart\""), "unset: the server as a whole");
const GRPC_TLS: Key = key("tls", Kind::Bool, Default("false"), "whether the server speaks TLS");

static EXPECT: &[Key] = &[
    key("status", Kind::Statuses, Hidden, "unset: 200-299"),
    key("body_contains", Kind::Composed, Hidden, "in the first MiB of the body"),
    key("json", Kind::Json, Hidden, "what each pointer leads to in a body of JSON"),
    key("headers", Kind::Headers, Hidden, "a part of each header's value"),
    key("max_latency", Kind::Duration(1, 5 * MINUTE), Hidden, "from the start to the body's end"),
];
