//! The file as people write it, with their mistakes.

mod checks;
mod credentials;
mod documents;
mod environment;
mod files;
mod hosts;
mod law_13;
mod maintenance;
mod references;
mod targets;
mod unwise;
mod whole;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use iaso_policy::id::{HostId, Identity};
use iaso_policy::spec::{BackoffSpec, FleetSpec, Mode, OnFailure, Step, Threshold};
use proptest::prelude::*;

use super::validated::{Defaults, HostAddress, LogFormat, Probe, Severity, Target};
use super::{Config, Environment, Examined, Mistake, Mistakes, decode, examine_at, example, load, usual_host};

fn no_env(_: &str) -> Option<String> {
    None
}

fn read(source: &str) -> Result<Config, Mistakes> {
    decode("iaso.toml", source, &no_env)
}

fn mistakes(source: &str) -> Vec<Mistake> {
    read(source).unwrap_err().0
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_the_nearest_name() {
    let source = r#"[daemon]
shutdown_grase = "8s"
log = { level = "verbose" }

[hosts.local]
url = "unix:///var/run/docker.sock"

[defaults]
interval = "30 seconds"
success_threshold = 0

[defaults.recovery]
ladder = ["restrat"]
max_attempts = "5"

[services.web]
host = "locl"
container = "web"
compose = "shop/web"

[services.db]
severity = "criticl"

[[services.web.checks]]
name = "api"
type = "http"
url = "ftp://{address}/"
failure_threshold = "11/10"

[[services.web.checks]]
name = "ui"
type = "http"
url = "http://{address}/"

[[services.web.checks]]
name = "ui"
type = "http"
url = "http://{address}/"
"#;
    let found = mistakes(source);
    let told: Vec<(usize, usize, &str, Option<&str>)> = found
        .iter()
        .map(|mistake| {
            let place = mistake.place.as_ref().unwrap();
            (place.line, place.column, mistake.path.as_str(), mistake.suggestion.as_deref())
        })
        .collect();
    assert_eq!(
        told,
        [
            (2, 1, "daemon.shutdown_grase", Some("shutdown_grace")),
            (3, 17, "daemon.log.level", None),
            (9, 12, "defaults.interval", None),
            (10, 21, "defaults.success_threshold", None),
            (13, 11, "defaults.recovery.ladder[0]", None),
            (14, 16, "defaults.recovery.max_attempts", None),
            (16, 11, "services.web", None),
            (17, 8, "services.web.host", Some("local")),
            (21, 11, "services.db", None),
            (22, 12, "services.db.severity", Some("critical")),
            (27, 7, "services.web.checks[0].url", None),
            (28, 21, "services.web.checks[0].failure_threshold", None),
            (36, 8, "services.web.checks[2].name", None),
        ]
    );
}

#[test]
fn a_mistake_reads_well() {
    let text = Mistakes(mistakes("[daemon]\n\tshutdown_grase = \"8s\"\n")).to_string();
    assert_eq!(
        text,
        "error: daemon.shutdown_grase: unknown key \"shutdown_grase\"\n --> iaso.toml:2:2\n  |\n2 |  shutdown_grase = ****\n  |  \
         ^^^^^^^^^^^^^^ expected data_dir, socket, log, shutdown_grace, history or allow_commands\n  = help: did you mean `shutdown_grace`?\n\n1 mistake"
    );
}

#[test]
fn broken_syntax_is_told_beside_other_mistakes() {
    let found = mistakes("[api]\nlisten = \n[daemon]\nsocket = 3\n[api]\n");
    let lines: Vec<usize> = found.iter().map(|mistake| mistake.place.as_ref().unwrap().line).collect();
    assert!(lines.contains(&2) && lines.contains(&4) && lines.contains(&5), "{found:?}");
}

#[test]
fn secrets_are_not_shown() {
    for source in [
        "[services.web]\ncontainer = \"web\"\nchecks = [{ type = \"htp\", url = \"http://a\", headers = { Authorization = \"hunter2\" } }]",
        "[services.web]\ncontainer = \"web\"\nchecks = [{ type = \"htp\", url = \"http://a\", haeders = { Authorization = \"hunter2\" } }]",
        "[services.web]\ncontainer = \"web\"\nchecks = [{ type = \"http\", url = \"http://me:hunter2@a\" }]",
        "[services.web.checks.headers]\nAuthorization = \"hunter2\" oops",
        "[services.web]\ncontainer = \"web\"\nchecks = [{ type = \"http\", url = \"http://a\", headers = { X = \"hunter2\\n\" } }]",
    ] {
        let found = Mistakes(mistakes(source));
        assert!(!found.to_string().contains("hunter2"), "{found}");
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }
    let fine = "[services.web]\ncontainer = \"web\"\nchecks = [{ type = \"http\", url = \"http://a\", headers = { X = \"hunter2\" } }]";
    assert!(!format!("{:?}", read(fine).unwrap()).contains("hunter2"));
}

#[test]
fn an_empty_file_has_every_default() {
    let config = read("").unwrap();
    assert_eq!(config.defaults, Defaults::default());
    assert_eq!(config.fleet, FleetSpec::default());
    assert_eq!(config.hosts.len(), 1);
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:9797");
    assert!(config.services.is_empty() && config.discovery.enabled);
}

#[test]
fn the_example_is_current_and_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    let made = example();
    if is_updating() {
        std::fs::write(&path, &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), made, "IASO_UPDATE_EXAMPLE=1 cargo test writes it anew");
    assert_eq!(
        load(Some(&path), &Environment::new()).unwrap_or_else(|mistakes| panic!("{mistakes}")).config,
        read("").unwrap()
    );
    let (dir, uncommented) = whole_example();
    let file = dir.path().join("iaso.toml");
    let accepted = |source: &str| {
        std::fs::write(&file, source).unwrap();
        load(Some(&file), &Environment::new()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    };
    let whole = accepted(&uncommented);
    assert_eq!(whole.warnings, []);
    let without_defaults = r#"
[defaults.recovery]
notice = "1m"
stop_timeout = "30s"
verify_timeout = "2m"
[services.homepage]
compose = "dashboard/homepage"
preset = "homepage"
stateful = true
start_period = "60s"
recovery = { max_restarts = 3 }
[[services.homepage.checks]]
name = "api"
type = "http"
url = "http://{address}:3000/api/healthcheck"
headers = { Host = "localhost:3000" }
expect = { body_contains = "up", max_latency = "2s" }
on_failure = "heal"
TRUST
[[services.homepage.checks]]
type = "tcp"
address = "{address}:5432"
send = "PING\r\n"
expect = "+PONG"
[[services.homepage.checks]]
type = "tls"
address = "{address}:5432"
TRUST
[[services.homepage.checks]]
type = "dns"
query = "db.example.org"
server = "{address}:53"
expect = ["192.0.2.1"]
[[services.homepage.checks]]
type = "grpc"
address = "{address}:5432"
service = "shop.v1.Cart"
tls = true
TRUST
[[services.homepage.checks]]
type = "icmp"
address = "{address}"
[[services.homepage.checks]]
type = "exec"
command = ["pg_isready"]
[[services.homepage.checks]]
type = "command"
command = ["/usr/local/bin/check-nas"]
[[services.homepage.checks]]
type = "docker"
[[services.homepage.checks]]
type = "heartbeat"
token = "${file:ping.token}"
[vault]
address = "https://vault.example.org:8200"
namespace = "team/apps"
ca_file = "ca.pem"
server_name = "vault.example.org"
[vault.auth]
type = "approle"
role_id = "${file:role-id}"
secret_id_file = "secret-id"
wrapped_at = "auth/approle/role/iaso/secret-id"
[credentials.homepage-key]
type = "kv2"
path = "services/homepage/api-key"
services = ["homepage"]
[[credentials.homepage-key.files]]
path = "/srv/homepage/secrets/api-key"
owner = "1000:1000"
template = "API_KEY={{ value }}\n"
[credentials.homepage-key.rotation]
every = "30d"
generator = { type = "characters", at_least = { lower = 1, upper = 1, digits = 1 } }
verify = { type = "http", url = "https://auth.example.org/api/v3/core/users/me/", headers = { Authorization = "Bearer {{ value }}" } }
[credentials.homepage-key.rotation.apply]
type = "http"
url = "https://auth.example.org/api/v3/core/tokens/homepage/set_key/"
headers = { Authorization = "Bearer ${file:authentik.token}", Content-Type = "application/json" }
body = '{"key": "{{ value }}"}'
[credentials.kv1]
type = "kv1"
path = "homepage/api-key"
[credentials.dynamic]
type = "dynamic"
path = "database/creds/homepage"
[credentials.pki]
type = "pki"
role = "internal"
common_name = "homepage.example.org"
alt_names = ["www.example.org"]
ip_sans = ["192.0.2.1"]
ttl = "30d"
[credentials.aws]
type = "aws"
secret_id = "homepage/api-key"
region = "eu-west-1"
endpoint = "https://vpce-0a1b.secretsmanager.eu-west-1.vpce.amazonaws.com"
[credentials.environment]
type = "environment"
variable = "API_KEY"
[credentials.file]
type = "file"
path = "/run/secrets/api-key"
[credentials.directory]
type = "directory"
path = "/run/secrets"
[daemon]
allow_commands = true
"#;
    let trust = "ca_file = \"ca.pem\"\npin_sha256 = [\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]\nserver_name = \"db.example.org\"";
    let without_defaults = accepted(&as_built(&without_defaults.replace("TRUST", trust)));
    assert_eq!(whole.config.services, without_defaults.config.services, "the table's defaults are the code's");
    assert_eq!(whole.config.credentials, without_defaults.config.credentials);
    assert_eq!(whole.config.vault, without_defaults.config.vault);
}

/// Whether what is made from the table of keys is to be written anew.
fn is_updating() -> bool {
    ["IASO_UPDATE_EXAMPLE", "IASO_UPDATE_DOCS"].iter().any(|name| std::env::var_os(name).is_some())
}

/// The example with everything in it, and a folder with the files that it names.
fn whole_example() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let ca = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
    std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
    for name in ["ping.token", "role-id", "secret-id", "authentik.token"] {
        std::fs::write(folder.path().join(name), "0123456789abcdef\n").unwrap();
        std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let uncommented: String = example()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    // It says "false" where a check of type command needs "true".
    let whole = uncommented
        .replace("allow_commands = false", "allow_commands = true")
        .replace("tls = false", "tls = true")
        .replace("/etc/iaso/", "");
    (folder, as_built(&whole))
}

/// Without what this build does not have.
fn as_built(text: &str) -> String {
    if cfg!(feature = "aws") {
        return text.to_owned();
    }
    let (before, rest) = text.split_once("[credentials.aws]").unwrap();
    let (_, after) = rest.split_once("[credentials.environment]").unwrap();
    format!("{before}[credentials.environment]{after}")
}

#[test]
fn services_inherit_and_override() {
    let config = read(
        r#"
[hosts.zeta]
url = "unix:///z.sock"
[hosts.alpha]
url = "tcp://proxy:2375"
[defaults]
interval = "10s"
start_period = "5s"
[defaults.recovery]
ladder = ["exec:nginx -s reload", "signal:HUP", "restart"]
backoff = { base = "1s" }
quarantine_retry = "never"
[services.web]
compose = "shop/web"
severity = "critical"
recovery.max_attempts = 2
[[services.web.checks]]
type = "http"
url = "http://{address}:80/"
failure_threshold = "3/10"
expect = { status = [200, "300-399"], max_latency = "2s", json = { "/n" = 1 } }
[[services.web.checks]]
name = "outside"
type = "http"
url = "http://example.org/"
[services.db]
host = "alpha"
selector = { label = "app=db" }
recovery.ladder = ["start"]
"#,
    )
    .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["zeta", "alpha"]);
    let web = &config.services["web"];
    assert_eq!(
        (web.host.as_str(), web.severity, web.start_period),
        ("zeta", Severity::Critical, Duration::from_secs(5))
    );
    assert_eq!(web.target, Target::Compose { project: "shop".into(), service: "web".into() });
    assert_eq!(web.recovery.spec.ladder, [Step::Exec(0), Step::Signal(1), Step::Restart]);
    assert_eq!(web.recovery.commands, [["nginx", "-s", "reload"]]);
    assert_eq!((web.recovery.spec.max_attempts, web.recovery.spec.quarantine_retry), (2, None));
    let backoff = BackoffSpec { base: Duration::from_secs(1), ..BackoffSpec::default() };
    assert_eq!(web.recovery.spec.backoff, backoff);
    let checks: Vec<_> = web.checks.iter().map(|check| (check.name.as_str(), check.on_failure)).collect();
    assert_eq!(checks, [("http", OnFailure::Heal), ("outside", OnFailure::Alert)]);
    assert_eq!(web.checks[0].failure, Threshold { failures: 3, of: 10 });
    assert_eq!(web.checks[0].interval, Duration::from_secs(10));
    let Probe::Http(http) = &*web.checks[0].probe else { panic!() };
    assert_eq!(http.expect.status, [(200, 200), (300, 399)]);
    assert_eq!(http.expect.max_latency, Some(Duration::from_secs(2)));
    let db = &config.services["db"];
    assert_eq!((db.recovery.spec.ladder.as_slice(), db.recovery.commands.len()), (&[Step::Start][..], 0));
    let spec = web.spec(Identity::container("zeta", "x").unwrap(), HostId(0), false);
    assert_eq!((spec.checks.len(), spec.recovery.mode), (2, Mode::Auto));
    assert_ne!(spec.checks[0].fingerprint, spec.checks[1].fingerprint);
}

#[test]
fn what_contradicts_or_lacks_is_told() {
    for (source, path) in [
        ("[hosts.a]\n", "hosts.a"),
        ("[services.a]\ncontainer = \"\"\n", "services.a.container"),
        ("[services.a]\nselector = {}\n", "services.a.selector"),
        ("[services.\"a b\"]\ncontainer = \"x\"\n", "services.\"a b\""),
        ("[services.a]\ncontainer = \"x\"\n[[services.a.checks]]\ntype = \"http\"\n", "services.a.checks[0]"),
        ("[services.a]\ncontainer = \"x\"\n[[services.a.checks]]\nurl = \"http://a\"\n", "services.a.checks[0]"),
        ("[services.a]\ncontainer = \"x\"\nchecks = 3\n", "services.a.checks"),
        ("[services.a]\ncontainer = \"x\"\nrecovery.backoff = { base = \"1h\" }\n", "services.a.recovery.backoff"),
        ("[defaults.recovery]\nbackoff = { factor = 0.5 }\n", "defaults.recovery.backoff.factor"),
        ("[defaults.recovery]\nbackoff = { factor = nan }\n", "defaults.recovery.backoff.factor"),
        ("[defaults.recovery]\nladder = []\n", "defaults.recovery.ladder"),
        ("[recovery]\nmass_failure = { ratio = 1.5 }\n", "recovery.mass_failure.ratio"),
        ("[recovery]\nmax_concurrent = 99999999999999999999\n", "recovery.max_concurrent"),
        ("[api]\nlisten = \"localhost\"\n", "api.listen"),
        ("[discovery]\nlabels = [\"x\"]\n", "discovery.labels[0]"),
        ("daemon = 3\n", "daemon"),
        ("hosts = []\n", "hosts"),
    ] {
        let found = mistakes(source);
        assert_eq!(found.iter().map(|mistake| mistake.path.as_str()).collect::<Vec<_>>(), [path], "{source}");
    }
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("big"), vec![b'#'; 10 << 20]).unwrap();
    std::fs::write(path("latin"), b"[api]\n# caf\xe9\n").unwrap();
    symlink("/proc/self/mem", path("mem")).unwrap();
    symlink(path("loop"), path("loop")).unwrap();
    let told = |path: &Path| load(Some(path), &Environment::new()).unwrap_err().to_string();
    for (file, words) in [
        (path("absent"), "No such file"),
        (dir.path().to_owned(), "not a regular file"),
        ("/dev/zero".into(), "not a regular file"),
        (path("big"), "larger than 1 MiB"),
        (path("latin"), "line 2 is not UTF-8"),
        (path("mem"), "expected a file that Iaso may read"),
        (path("loop"), "symbolic links"),
    ] {
        let text = told(&file);
        assert!(text.contains(words) && text.contains(&file.display().to_string()), "{text}");
    }
}

#[test]
fn a_file_closed_to_iaso_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("closed.toml");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads it all the same; what matters is that nobody gets defaults in silence.
    match load(Some(&path), &Environment::new()) {
        Ok(loaded) => assert!(rustix::process::geteuid().is_root() && loaded.files == [path]),
        Err(mistakes) => assert!(mistakes.to_string().contains("Permission denied"), "{mistakes}"),
    }
}

/// Variables by name.
fn env<const N: usize>(pairs: [(&str, &str); N]) -> Environment {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_named_file_comes_before_the_environments() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
    std::fs::write(&first, "").unwrap();
    std::fs::write(&second, "[api]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let env = env([("IASO_CONFIG", second.to_str().unwrap()), ("STATE_DIRECTORY", "/var/lib/private/iaso:/other")]);
    assert_eq!(load(Some(&first), &env).unwrap().files, [first]);
    let config = load(None, &env).unwrap().config;
    assert_eq!(config.api.listen.port(), 1);
    assert_eq!(config.daemon.data_dir, Path::new("/var/lib/private/iaso"));
}

#[test]
fn a_file_of_nothing_but_mistakes_ends() {
    let lines = "a = \"b\"\n[api.x]\n".repeat(2000);
    let keys: String = (0..2000).map(|n| format!("k{n} = 1, ")).collect();
    for source in [
        lines,
        format!("[services]\nx = {{ {keys} }}\n"),
        "]".repeat(50_000),
        "[".repeat(50_000),
        format!("x = {}", "[".repeat(50_000)),
        format!("x = {}", "{a=".repeat(50_000)),
        format!("{}a = 1", "a.".repeat(50_000)),
        format!("[{}a]", "a.".repeat(50_000)),
    ] {
        assert!((1..=1001).contains(&mistakes(&source).len()));
    }
}

/// Pieces of the file's language, so that arbitrary text gets past the parser.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[services.web]\n".to_owned()),
        Just("[[services.web.checks]]\n".to_owned()),
        Just("[defaults.recovery]\n".to_owned()),
        Just("[hosts.é]\n".to_owned()),
        Just("\n".to_owned()),
        "(url|type|name|headers|expect|ladder|backoff|window|failure_threshold|container|labels) = ",
        "\"[a-z0-9:/{}$@.~-]{0,12}\"\n?",
        "(\\[|\\]|\\{|\\}|=|,|'|\"\"\"|-?[0-9]{1,20}|1e999|nan|true|1979-05-27)",
        "\\PC{0,8}",
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    // A failure's seed is printed; a file of seeds would land in the tree's root.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_the_reader(source in prop_oneof![any::<String>(), pieces()]) {
        match read(&source) {
            Ok(config) => prop_assert!(!config.hosts.is_empty()),
            Err(mistakes) => prop_assert!(!mistakes.0.is_empty() && !mistakes.to_string().is_empty()),
        }
    }
}
