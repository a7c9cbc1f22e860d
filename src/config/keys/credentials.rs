//! The keys of `[vault]` and `[credentials.NAME]`.

use super::Sample::{Default, Hidden, Section, Unset};
use super::{DAY, HOUR, Key, Kind, MINUTE, SECOND, Types, key};

/// `[vault]`.
pub(in crate::config) static VAULT: &[Key] = &[
    key(
        "address",
        Kind::VaultAddress,
        Unset("\"https://vault.example.org:8200\""),
        "Vault or OpenBao; what this table leaves out comes from $BAO_ADDR, $VAULT_ADDR and their like",
    ),
    key("namespace", Kind::Text, Unset("\"team/apps\""), "sent with every request"),
    key(
        "ca_file",
        Kind::Text,
        Unset("\"ca.pem\""),
        "the only authorities that are trusted; unset: those of this machine",
    ),
    key("cert_file", Kind::Text, Hidden, "what Iaso shows to the server"),
    key("key_file", Kind::Text, Hidden, "its private key, without a passphrase"),
    key(
        "server_name",
        Kind::Text,
        Unset("\"vault.example.org\""),
        "that the certificate must bear; unset: the address's",
    ),
    key(
        "timeout",
        Kind::Duration(SECOND, 5 * MINUTE),
        Default("\"10s\""),
        "of one request, from the name to the last byte",
    ),
    key(
        "keep",
        Kind::Bool,
        Default("true"),
        "keeps last good values on disk, sealed with a key of this machine, for a start without Vault",
    ),
    key("logins_per_hour", Kind::Integer(1, 3600), Default("12"), "at most"),
    key(
        "auth",
        Kind::OneTyped(&AUTH),
        Section,
        "how Iaso logs in: approle | token | userpass | cert; unset: the token of $BAO_TOKEN or $VAULT_TOKEN",
    ),
];

static AUTH: Types = Types {
    common: &[TYPE],
    own: &[
        (
            "approle",
            &[
                key("mount", Kind::VaultPath, Default("\"approle\""), "where it is mounted"),
                key("role_id", Kind::Private, Unset("\"${file:/etc/iaso/role-id}\""), "or role_id_file = \"PATH\""),
                key("role_id_file", Kind::Text, Hidden, "read again at each login"),
                key("secret_id", Kind::Secret, Hidden, "unset, with secret_id_file: the role asks for none"),
                key(
                    "secret_id_file",
                    Kind::Text,
                    Unset("\"/etc/iaso/secret-id\""),
                    "read again at each login; \"${CREDENTIALS_DIRECTORY}/secret-id\" with systemd's LoadCredential",
                ),
                key(
                    "wrapped_at",
                    Kind::VaultPath,
                    Unset("\"auth/approle/role/iaso/secret-id\""),
                    "the secret-id comes wrapped, and must have been made at this path",
                ),
            ],
        ),
        (
            "token",
            &[
                key("token", Kind::Secret, Hidden, "unset, with token_file: $BAO_TOKEN, else $VAULT_TOKEN"),
                key("token_file", Kind::Text, Unset("\"/etc/iaso/vault.token\""), "read again at each login"),
            ],
        ),
        (
            "userpass",
            &[
                key("mount", Kind::VaultPath, Default("\"userpass\""), "where it is mounted"),
                key("username", Kind::Text, Unset("\"iaso\""), ""),
                key("password", Kind::Secret, Hidden, "or password_file"),
                key("password_file", Kind::Text, Unset("\"/etc/iaso/vault.password\""), "read again at each login"),
            ],
        ),
        (
            "cert",
            &[
                key(
                    "mount",
                    Kind::VaultPath,
                    Default("\"cert\""),
                    "where it is mounted; [vault] names the certificate",
                ),
                key("name", Kind::Text, Unset("\"iaso\""), "the role; unset: one that fits"),
            ],
        ),
    ],
};

/// `[credentials.NAME]`.
pub(in crate::config) static CREDENTIALS: Types = Types {
    common: &[
        TYPE,
        key(
            "refresh",
            Kind::Duration(10 * SECOND, 30 * DAY),
            Default("\"5m\""),
            "from one read to the next, varied by a tenth; what has a lease or an end is renewed by that",
        ),
        key(
            "warn_before",
            Kind::Duration(0, 365 * DAY),
            Unset("\"7d\""),
            "people are warned this long before it ends; unset: 7d, of type dynamic 10m, of pki a tenth of its ttl, 7d at most",
        ),
        key("services", Kind::Names, Unset("[\"homepage\"]"), "names of services that use it"),
        key(
            "on_change",
            Kind::OnChange,
            Default("\"none\""),
            "none | restart | signal:HUP: what they are told when its bytes have changed",
        ),
        key("splay", Kind::Duration(0, HOUR), Default("\"5s\""), "between two of them"),
        key(
            "max_per_hour",
            Kind::Integer(1, 1000),
            Default("6"),
            "restarts and signals for its sake, all services together",
        ),
        key(
            "mints_per_hour",
            Kind::Integer(1, 1000),
            Default("6"),
            "reads that make a new one: of types dynamic and pki",
        ),
        key(
            "files",
            Kind::Tables(FILE),
            Section,
            "what it is written into; whole or not at all, and only when bytes changed",
        ),
        key("rotation", Kind::Table(ROTATION), Section, "how it is replaced by a new one; of type kv2 alone"),
    ],
    own: &[
        (
            "kv2",
            &[
                KV_MOUNT,
                key(
                    "path",
                    Kind::VaultPath,
                    Unset("\"services/homepage/api-key\""),
                    "unset: services/SERVICE/KIND, with the first of services, and kind",
                ),
                key("kind", Kind::VaultPath, Hidden, "the end of the path; unset: this table's name"),
                KV_FIELD,
            ],
        ),
        ("kv1", &[KV_MOUNT, key("path", Kind::VaultPath, Unset("\"homepage/api-key\""), "within the mount"), KV_FIELD]),
        (
            "dynamic",
            &[
                key(
                    "path",
                    Kind::VaultPath,
                    Unset("\"database/creds/homepage\""),
                    "the whole path; each read makes a new one",
                ),
                key("field", Kind::Text, Default("\"password\""), "what is its value where one text is asked for"),
            ],
        ),
        (
            "pki",
            &[
                key("mount", Kind::VaultPath, Default("\"pki\""), "where the engine is mounted"),
                key("role", Kind::VaultPath, Unset("\"internal\""), ""),
                key("common_name", Kind::Text, Unset("\"homepage.example.org\""), ""),
                key("alt_names", Kind::Texts, Unset("[\"www.example.org\"]"), "more names"),
                key("ip_sans", Kind::Texts, Unset("[\"192.0.2.1\"]"), "addresses"),
                key("ttl", Kind::Duration(MINUTE, 3650 * DAY), Unset("\"30d\""), "unset: the role's"),
                key(
                    "field",
                    Kind::Text,
                    Default("\"certificate\""),
                    "certificate | private_key | ca_chain | issuing_ca",
                ),
            ],
        ),
        ("aws", AWS),
        ("environment", &[key("variable", Kind::Text, Unset("\"API_KEY\""), "of Iaso's own environment")]),
        ("file", &[key("path", Kind::Text, Unset("\"/run/secrets/api-key\""), "without the line break at its end")]),
        (
            "directory",
            &[
                key(
                    "path",
                    Kind::Text,
                    Unset("\"/run/secrets\""),
                    "each file in it is a field: Docker's, or systemd's",
                ),
                key(
                    "field",
                    Kind::Text,
                    Default("\"value\""),
                    "the file that is its value where one text is asked for",
                ),
            ],
        ),
    ],
};

/// The words of the key `type` are those of the table that it is in; `decode` knows.
const TYPE: Key = key("type", Kind::Text, Unset("\"kv2\""), "one of the types below");
const KV_MOUNT: Key = key("mount", Kind::VaultPath, Default("\"secret\""), "where the engine is mounted");
const KV_FIELD: Key = key("field", Kind::Text, Default("\"value\""), "what is its value where one text is asked for");

/// A secret of AWS Secrets Manager.
static AWS: &[Key] = &[
    key("secret_id", Kind::AwsSecret, Unset("\"homepage/api-key\""), "its name or ARN; only in a build with AWS"),
    key("region", Kind::Name, Unset("\"eu-west-1\""), "unset: the ARN's, else that of AWS's own settings"),
    key("version_stage", Kind::Text, Default("\"AWSCURRENT\""), "the label of the version that is read"),
    key(
        "endpoint",
        Kind::AwsEndpoint,
        Unset("\"https://vpce-0a1b.secretsmanager.eu-west-1.vpce.amazonaws.com\""),
        "unset: the region's",
    ),
    KV_FIELD,
];

static FILE: &[Key] = &[
    key(
        "path",
        Kind::Absolute,
        Unset("\"/srv/homepage/secrets/api-key\""),
        "its folder must exist; mount the folder, not the file",
    ),
    key("mode", Kind::FileMode, Default("\"0600\""), "from its first instant"),
    key(
        "owner",
        Kind::Owner,
        Unset("\"1000:1000\""),
        "USER, USER:GROUP or :GROUP, as names or numbers; unset: Iaso's own",
    ),
    key(
        "template",
        Kind::Private,
        Unset("\"API_KEY={{ value }}\\n\""),
        "unset: the field alone; or template_file = \"PATH\"; a field that is not there is an error",
    ),
    key("template_file", Kind::Text, Hidden, "read at each rendering"),
];

static ROTATION: &[Key] = &[
    key("every", Kind::Duration(HOUR, 3650 * DAY), Unset("\"30d\""), "unset: by command alone"),
    key(
        "grace",
        Kind::Duration(0, 90 * DAY),
        Default("\"1h\""),
        "the old one stays valid this long after everything uses the new one",
    ),
    key(
        "retry",
        Kind::Duration(MINUTE, DAY),
        Default("\"15m\""),
        "after a rotation that failed, then doubling to a day",
    ),
    key(
        "verify",
        Kind::OneTyped(&CALL),
        Unset(
            "{ type = \"http\", url = \"https://auth.example.org/api/v3/core/users/me/\", headers = { Authorization = \"Bearer {{ value }}\" } }",
        ),
        "tries the new one: a call of type http or exec; unset: the services' own checks alone",
    ),
    key(
        "retire",
        Kind::OneTyped(&CALL),
        Hidden,
        "ends the old one after the grace: a call of type http or exec; unset: the new one has replaced it",
    ),
    key("generator", Kind::OneTyped(&GENERATOR), Section, "how the new one is made: characters | passphrase | uuid"),
    key(
        "apply",
        Kind::OneTyped(&APPLY),
        Section,
        "how whoever checks it learns of the new one: http | exec | render (the default: from the files alone); its texts \
         are templates of value, old, field and credential, as for a token of Authentik's",
    ),
];

static GENERATOR: Types = Types {
    common: &[TYPE],
    own: &[
        (
            "characters",
            &[
                key("length", Kind::Integer(8, 4096), Default("32"), "characters"),
                key(
                    "alphabet",
                    Kind::Alphabet,
                    Default("\"alphanumeric\""),
                    "alphanumeric | hex | base64url | printable, or the characters themselves",
                ),
                key(
                    "at_least",
                    Kind::Counts,
                    Unset("{ lower = 1, upper = 1, digits = 1 }"),
                    "how many of lower | upper | digits | symbols, or of the characters themselves",
                ),
            ],
        ),
        (
            "passphrase",
            &[
                key("words", Kind::Integer(4, 64), Default("6"), ""),
                key("separator", Kind::Text, Default("\"-\""), "between the words"),
            ],
        ),
        ("uuid", &[]),
    ],
};

static APPLY: Types = Types { common: &[TYPE, CALL_TIMEOUT], own: &[("http", HTTP), ("exec", EXEC), ("render", &[])] };
static CALL: Types = Types { common: &[TYPE, CALL_TIMEOUT], own: &[("http", HTTP), ("exec", EXEC)] };

const CALL_TIMEOUT: Key = key("timeout", Kind::Duration(100, 5 * MINUTE), Default("\"30s\""), "of the whole call");

static HTTP: &[Key] = &[
    key(
        "method",
        Kind::Word(&["GET", "POST", "PUT", "PATCH", "DELETE"]),
        Unset("\"POST\""),
        "GET | POST | PUT | PATCH | DELETE; unset: POST with a body, else GET",
    ),
    key(
        "url",
        Kind::CallUrl,
        Unset("\"https://auth.example.org/api/v3/core/tokens/homepage/set_key/\""),
        "shown in logs: no secret in it",
    ),
    key(
        "headers",
        Kind::CallHeaders,
        Unset("{ Authorization = \"Bearer ${file:/etc/iaso/authentik.token}\", Content-Type = \"application/json\" }"),
        "",
    ),
    key("body", Kind::Private, Unset("'{\"key\": \"{{ value }}\"}'"), ""),
    key("expect", Kind::Statuses, Default("\"200-299\""), "statuses that mean success"),
    key("ca_file", Kind::Text, Hidden, "trusted instead of this machine's roots; PEM, beside this file"),
];

static EXEC: &[Key] = &[
    key("service", Kind::Name, Unset("\"homepage\""), "whose container it runs in"),
    key(
        "command",
        Kind::Argv,
        Unset("[\"psql\", \"-U\", \"postgres\"]"),
        "exit 0 is success; no template: arguments can be read by others",
    ),
    key("input", Kind::Private, Unset("\"ALTER ROLE app PASSWORD '{{ value }}'\""), "what it reads; unset: the value"),
];
