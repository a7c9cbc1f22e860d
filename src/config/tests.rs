//! The file as people write it, with their mistakes.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use iaso_policy::id::{HostId, Identity};
use iaso_policy::spec::{BackoffSpec, FleetSpec, Mode, OnFailure, Step, Threshold};
use proptest::prelude::*;

use super::validated::{Defaults, HostAddress, Probe, Severity, Target};
use super::{Config, Mistake, Mistakes, decode, example, load, usual_host};

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
        "iaso.toml:2:2: daemon.shutdown_grase: unknown key \"shutdown_grase\"; expected data_dir, socket, log or \
         shutdown_grace\n 2 |  shutdown_grase = \"**\"\n   |  ^^^^^^^^^^^^^^\n help: did you mean `shutdown_grace`?\n\n1 mistake"
            .replace("\"**\"", "****")
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
    if std::env::var_os("IASO_UPDATE_EXAMPLE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), made, "IASO_UPDATE_EXAMPLE=1 cargo test writes it anew");
    assert_eq!(load(Some(&path), &no_env).unwrap_or_else(|mistakes| panic!("{mistakes}")).config, read("").unwrap());
    let uncommented: String = made
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    let config = read(&uncommented).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let without_defaults = r#"
[services.homepage]
compose = "dashboard/homepage"
recovery = { max_restarts = 3, stop_timeout = "30s", verify_timeout = "2m" }
[[services.homepage.checks]]
name = "api"
type = "http"
url = "http://{address}:3000/api/healthcheck"
headers = { Host = "localhost:3000" }
expect = { body_contains = "up", max_latency = "2s" }
on_failure = "heal"
"#;
    assert_eq!(config.services, read(without_defaults).unwrap().services, "the table's defaults are the code's");
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
    let Probe::Http(http) = &web.checks[0].probe;
    assert_eq!(http.expect.status, [(200, 200), (300, 399)]);
    assert_eq!(http.expect.max_latency, Some(Duration::from_secs(2)));
    let db = &config.services["db"];
    assert_eq!((db.recovery.spec.ladder.as_slice(), db.recovery.commands.len()), (&[Step::Start][..], 0));
    let spec = web.spec(Identity::container("zeta", "x").unwrap(), HostId(0));
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
        ("[recovery]\nmass_failure = {}\n", "recovery.mass_failure"),
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
    let told = |path: &Path| load(Some(path), &no_env).unwrap_err().to_string();
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
    match load(Some(&path), &no_env) {
        Ok(loaded) => assert!(rustix::process::geteuid().is_root() && loaded.file == Some(path)),
        Err(mistakes) => assert!(mistakes.to_string().contains("Permission denied"), "{mistakes}"),
    }
}

#[test]
fn the_named_file_comes_before_the_environments() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
    std::fs::write(&first, "").unwrap();
    std::fs::write(&second, "[api]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let env = |name: &str| match name {
        "IASO_CONFIG" => Some(second.display().to_string()),
        "STATE_DIRECTORY" => Some("/var/lib/private/iaso:/other".to_owned()),
        _ => None,
    };
    assert_eq!(load(Some(&first), &env).unwrap().file, Some(first));
    let config = load(None, &env).unwrap().config;
    assert_eq!(config.api.listen.port(), 1);
    assert_eq!(config.daemon.data_dir, Path::new("/var/lib/private/iaso"));
}

#[test]
fn the_usual_host_is_the_environments_or_the_first_socket_there() {
    let unix = |path: &str| HostAddress::Unix(path.into());
    let find = |name: &'static str, value: &'static str, there: &'static str| {
        let env = move |asked: &str| (asked == name).then(|| value.to_owned());
        usual_host(&env, &|path| path == Path::new(there)).map(|host| host.address)
    };
    assert_eq!(find("DOCKER_HOST", "tcp://nas:2375", ""), Ok(HostAddress::Tcp("nas:2375".into())));
    assert!(find("DOCKER_HOST", "ssh://me:secret@nas", "").is_err_and(|error| !error.to_string().contains("secret")));
    assert_eq!(find("XDG_RUNTIME_DIR", "/run/user/7", "/run/user/7/docker.sock"), Ok(unix("/run/user/7/docker.sock")));
    assert_eq!(find("", "", "/run/podman/podman.sock"), Ok(unix("/run/podman/podman.sock")));
    assert_eq!(find("", "", ""), Ok(unix("/var/run/docker.sock")));
    let env = |asked: &str| (asked == "DOCKER_HOST").then(|| "ssh://nas".to_owned());
    assert!(decode("f", "", &env).is_err());
    assert!(decode("f", "[hosts.a]\nurl = \"unix:///a\"\n", &env).is_ok(), "the file's hosts make the variable moot");
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
