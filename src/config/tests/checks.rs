//! Checks of every type, generated from the tables of their keys.

use super::*;
use crate::config::keys::checks::{CHECKS, LABEL_CHECKS};
use crate::config::keys::{Key, Kind, Sample};
use crate::config::validated::{Check, Peer, Trust, UrlHost};
use crate::config::watch::{Verdict, Watched, judge};

/// What each type needs, in the file.
const NEEDED: [(&str, &str); 10] = [
    ("http", "url = \"http://{address}:3000/\""),
    ("tcp", "address = \"{address}:6379\""),
    ("tls", "address = \"{address}:443\""),
    ("dns", "query = \"web.example\""),
    ("grpc", "address = \"{address}:50051\""),
    ("icmp", ""),
    ("exec", "command = [\"true\"]"),
    ("command", "command = [\"true\"]"),
    ("docker", ""),
    ("heartbeat", ""),
];

fn needed(kind: &str) -> &'static str {
    NEEDED.iter().find(|(name, _)| *name == kind).unwrap_or_else(|| panic!("{kind} is a type without a test")).1
}

/// A service with one check of these lines, the check's name on line 5.
fn file(kind: &str, lines: &str) -> String {
    format!(
        "daemon.allow_commands = true\n[services.web]\ncontainer = \"web\"\n[[services.web.checks]]\nname = \"it\"\n\
         type = \"{kind}\"\n{lines}\n"
    )
}

fn check(kind: &str, lines: &str) -> Check {
    let config = read(&file(kind, lines)).unwrap_or_else(|mistakes| panic!("{kind}, {lines}: {mistakes}"));
    config.services["web"].checks[0].clone()
}

fn keys_of(kind: &str) -> impl Iterator<Item = &'static Key> {
    CHECKS.of(kind).unwrap().iter()
}

#[test]
fn every_type_decodes_and_what_is_the_container_s_own_heals() {
    use OnFailure::{Alert, Heal};
    let rows = [
        ("http", "url = \"http://{address}:3000/\"", Heal),
        ("http", "url = \"https://{address}:{port:443}/\"", Heal),
        ("http", "url = \"http://nas.lan:{port:80}/\"", Heal),
        ("http", "url = \"http://nas.lan/\"", Alert),
        ("tcp", "address = \"{address}:6379\"", Heal),
        ("tcp", "address = \"nas.lan:{port:6379}\"", Heal),
        ("tcp", "address = \"nas.lan:6379\"", Alert),
        ("grpc", "address = \"{address}:50051\"", Heal),
        ("grpc", "address = \"nas.lan:{port:50051}\"\ntls = true", Heal),
        ("grpc", "address = \"nas.lan:50051\"", Alert),
        ("tls", "address = \"{address}:443\"", Alert),
        ("tls", "address = \"home.example:443\"", Alert),
        ("dns", "query = \"web.example\"", Alert),
        ("dns", "query = \"web.example\"\nserver = \"{address}:53\"", Alert),
        ("icmp", "", Alert),
        ("icmp", "address = \"nas.lan\"", Alert),
        ("exec", "command = [\"pg_isready\"]", Heal),
        ("command", "command = \"check-nas --all\"", Alert),
        ("docker", "", Heal),
        ("heartbeat", "", Heal),
    ];
    for (kind, lines, usual) in rows {
        let found = check(kind, lines);
        assert_eq!((found.probe.kind(), found.on_failure), (kind, usual), "{lines}");
        for (word, wanted) in [("heal", Heal), ("alert", Alert)] {
            let said = check(kind, &format!("{lines}\non_failure = \"{word}\""));
            assert_eq!(said.on_failure, wanted, "{kind} says so itself");
        }
    }
    let types: Vec<&str> = CHECKS.words().collect();
    assert!(types.iter().all(|kind| rows.iter().any(|(row, ..)| row == kind)), "{types:?}");
    assert_eq!(types, NEEDED.map(|(kind, _)| kind));
}

#[test]
fn each_key_that_is_missing_of_another_type_or_ill_typed_is_one_mistake_at_its_place() {
    for kind in CHECKS.words() {
        let fine = needed(kind);
        check(kind, fine);
        if let Some((key, _)) = fine.split_once(" = ") {
            let found = mistakes(&file(kind, ""));
            let [one] = &found[..] else { panic!("{kind} without {key}: {found:?}") };
            assert_eq!((&*one.path, &*one.got), ("services.web.checks[0]", &*format!("no {key}")), "{kind}");
        }
        for key in CHECKS.common.iter().chain(keys_of(kind)) {
            // No key is a date.
            let others = fine.lines().filter(|line| !line.starts_with(&format!("{} ", key.name)));
            let lines: String = others.map(|line| format!("{line}\n")).collect();
            let mut source = file(kind, &format!("{lines}{} = 1979-05-27", key.name));
            if key.name == "type" || key.name == "name" {
                let own = format!("\n{} = \"", key.name);
                let at = source.find(&own).unwrap();
                let end = at + 1 + source[at + 1..].find('\n').unwrap();
                source.replace_range(at..end, "");
            }
            let line = source.lines().position(|line| line.ends_with("1979-05-27")).unwrap() + 1;
            let found = mistakes(&source);
            let [one] = &found[..] else { panic!("{kind}.{}: {found:?}", key.name) };
            let place = one.place.as_ref().unwrap();
            assert_eq!((place.line, &*one.path), (line, &*format!("services.web.checks[0].{}", key.name)), "{kind}");
        }
        let own: Vec<&str> = keys_of(kind).chain(CHECKS.common).map(|key| key.name).collect();
        let others = CHECKS.own.iter().flat_map(|(_, keys)| keys.iter()).filter(|key| !own.contains(&key.name));
        for other in others {
            let source = file(kind, &format!("{fine}\n{} = {}", other.name, sample(other)));
            let found = mistakes(&source);
            let [one] = &found[..] else { panic!("{kind} with {}: {found:?}", other.name) };
            assert_eq!(one.path, format!("services.web.checks[0].{}", other.name));
        }
    }
}

#[test]
fn programs_of_this_host_are_run_only_where_the_file_allows_them() {
    let source = file("command", "command = [\"true\"]").replace("allow_commands = true", "allow_commands = false");
    let found = mistakes(&source);
    let [one] = &found[..] else { panic!("{found:?}") };
    assert_eq!(one.path, "services.web.checks[0].type");
    assert!(one.expected.contains("allow_commands = true"), "{one:?}");
}

/// A value for the key that is not its default, as the file spells it.
fn sample(key: &Key) -> String {
    match (&key.sample, &key.kind) {
        (_, Kind::Bool) => "true".to_owned(),
        (_, Kind::Integer(_, most)) => most.to_string(),
        (_, Kind::Word(words)) => format!("\"{}\"", words[words.len() - 1]),
        (_, Kind::Duration(..)) => "\"1h\"".to_owned(),
        (_, Kind::Secret) => "\"0123456789abcdef\"".to_owned(),
        (Sample::Unset(text) | Sample::Default(text), _) => (*text).to_owned(),
        _ => panic!("no sample of {}", key.name),
    }
}

#[test]
fn whatever_changes_what_is_probed_or_expected_makes_another_check() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert;
    std::fs::write(&ca, certificate.pem()).unwrap();
    for kind in CHECKS.words() {
        // Whom a plain connection trusts would be a mistake.
        let mut lines = needed(kind).to_owned() + if kind == "grpc" { "\ntls = true" } else { "" };
        let before = check(kind, &lines).fingerprint();
        assert_ne!(check(kind, &format!("{lines}\ntimeout = \"7s\"")).fingerprint(), before, "{kind}.timeout");
        let renamed = file(kind, &lines).replace("name = \"it\"", "name = \"other\"");
        assert_ne!(read(&renamed).unwrap().services["web"].checks[0].fingerprint(), before, "{kind}.name");
        for same in ["interval = \"1m\"", "on_failure = \"alert\"", "failure_threshold = 9", "success_threshold = 2"] {
            let relaxed = check(kind, &format!("{lines}\n{same}"));
            assert_eq!(relaxed.fingerprint(), before, "{kind}: {same}");
        }
        for key in keys_of(kind) {
            let value = match (kind, key.name) {
                ("http", "url") => "\"http://{address}:3000/other\"".to_owned(),
                (_, "address") => if kind == "icmp" { "\"nas.lan\"" } else { "\"{address}:1\"" }.to_owned(),
                (_, "command") => "[\"false\"]".to_owned(),
                (_, "ca_file") => format!("{:?}", ca.to_str().unwrap()),
                ("grpc", "tls") => "false".to_owned(),
                (_, "query") => "\"db.example\"".to_owned(),
                _ => sample(key),
            };
            let others = lines.lines().filter(|line| !line.starts_with(&format!("{} =", key.name)));
            let changed =
                others.map(|line| format!("{line}\n")).collect::<String>() + &format!("{} = {value}", key.name);
            let after = check(kind, &changed).fingerprint();
            // A ping is a ping, however often it must come and whatever opens the door for it.
            assert_eq!(after == before, kind == "heartbeat", "{kind}.{} = {value}", key.name);
        }
        // What is inside `expect` counts too.
        if kind == "http" {
            lines.push_str("\nexpect = { status = 204 }");
            assert_ne!(check(kind, &lines).fingerprint(), before);
        }
    }
}

fn watched(labels: &[(String, String)]) -> Watched {
    let all = labels.iter().cloned().chain([("iaso.enable".to_owned(), "true".to_owned())]).collect();
    match judge(&read("").unwrap(), "local", "web", "example/web", &all) {
        Verdict::Watched(watched) => *watched,
        other => panic!("{labels:?}: {other:?}"),
    }
}

/// Whether a check looks at its own container and nothing else, judged without the reader's own rules.
fn stays_at_home(probe: &Probe) -> bool {
    let own = |peer: &Peer| peer.host == UrlHost::Container;
    let no_file = |trust: &Trust| trust.roots.is_empty();
    match probe {
        Probe::Http(http) => http.url.host == UrlHost::Container && http.redirects == 0 && no_file(&http.trust),
        Probe::Tcp(tcp) => own(&tcp.peer),
        Probe::Tls(tls) => own(&tls.peer) && no_file(&tls.trust),
        Probe::Grpc(grpc) => own(&grpc.peer) && grpc.tls.as_ref().is_none_or(no_file),
        Probe::Dns(dns) => dns.server.as_ref().is_some_and(own),
        Probe::Icmp(host) => *host == UrlHost::Container,
        Probe::Exec(_) | Probe::Docker | Probe::Heartbeat(_) => true,
        Probe::Command(_) => false,
    }
}

/// What each type needs, in labels.
fn label_needs(kind: &str) -> &'static [(&'static str, &'static str)] {
    match kind {
        "http" | "tcp" | "tls" | "grpc" => &[("port", "8080")],
        "dns" => &[("query", "web.example")],
        "exec" => &[("command", "true")],
        _ => &[],
    }
}

#[test]
fn a_label_s_check_reaches_nothing_but_its_own_container() {
    let away = [
        "example.org",
        "example.org:80",
        "127.0.0.1:80",
        "[::1]:80",
        "127.0.0.1:{port:80}",
        "nas.lan:{port:80}",
        "{address}.example.org:80",
        "{address}@example.org:80",
        "http://example.org/",
        "http://127.0.0.1:{port:80}/",
        "http://{address}@example.org/",
        "https://{address}.example.org/",
        "//example.org/",
        "@example.org/",
        ".example.org/",
        "/etc/passwd",
        "${HOME}",
    ];
    let file_only = ["ca_file", "redirects", "allow_commands", "container", "host"];
    for kind in LABEL_CHECKS.words() {
        let label = |key: &str, value: &str| (format!("iaso.check.it.{key}"), value.to_owned());
        let with = |more: &[(&str, &str)]| {
            let mut labels = vec![label("type", kind)];
            labels.extend(more.iter().map(|(key, value)| label(key, value)));
            watched(&labels)
        };
        let fine = with(label_needs(kind));
        assert_eq!(fine.mistakes, [], "{kind}");
        let [plain] = &fine.service.checks[..] else { panic!("{kind}: {:?}", fine.service.checks) };
        assert!(plain.probe.kind() == kind && stays_at_home(&plain.probe), "{plain:?}");
        let names = LABEL_CHECKS.of(kind).unwrap().iter().map(|key| key.name);
        for name in names.chain(["url", "address", "server"]) {
            for value in away {
                let needs: Vec<_> = label_needs(kind).iter().copied().filter(|(key, _)| *key != name).collect();
                // Beside its port, and instead of it.
                for others in [needs.clone(), needs.into_iter().filter(|(key, _)| *key != "port").collect()] {
                    let found = with(&[&others[..], &[(name, value)]].concat());
                    for check in &found.service.checks {
                        assert!(stays_at_home(&check.probe), "{kind}.{name} = {value}: {check:?}");
                    }
                }
            }
        }
        for name in file_only {
            let found = with(&[label_needs(kind), &[(name, "x")]].concat());
            let keys: Vec<&str> = found.mistakes.iter().map(|mistake| &*mistake.key).collect();
            assert_eq!(keys, [format!("iaso.check.it.{name}")], "{kind}");
            assert_eq!(found.service.checks, fine.service.checks, "a mistake changes nothing");
        }
    }
    for kind in CHECKS.words().filter(|kind| LABEL_CHECKS.of(kind).is_none()) {
        assert_eq!(kind, "command", "a type that only the file may use");
        let labels = [("iaso.check.it.type", kind), ("iaso.check.it.command", "reboot")];
        let found = watched(&labels.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(found.service.checks.is_empty() && !found.mistakes.is_empty(), "{found:?}");
    }
}

#[test]
fn a_heartbeat_that_heals_is_given_its_whole_time_after_a_restart() {
    let service = |lines: &str| read(&file("heartbeat", lines)).unwrap().services["web"].clone();
    let limit = |lines: &str| {
        let spec = service(lines).spec(Identity::container("local", "web").unwrap(), HostId(0), false);
        spec.recovery.verify_timeout_for(spec.start_period.max(spec.settles_within), None)
    };
    // Its age, `verify_stable` and 30 s; else the usual minute of the start period in its place.
    assert_eq!(limit("max_age = \"1h\""), Duration::from_secs(3600 + 10 + 30));
    assert_eq!(limit("max_age = \"1h\"\non_failure = \"alert\""), Duration::from_secs(60 + 10 + 30));
    assert_eq!(limit("max_age = \"30s\""), Duration::from_secs(60 + 10 + 30));
}

#[test]
fn debug_shows_no_argument_and_no_expected_text() {
    let source = r#"
daemon.allow_commands = true
[services.web]
container = "web"
recovery.ladder = ["exec:reload --password hunter2"]
checks = [
    { type = "exec", command = ["pg_isready", "postgres://hunter2@db"] },
    { type = "command", command = "curl -u hunter2 example.org" },
    { type = "tcp", address = "{address}:6379", expect = "hunter2" },
    { type = "http", url = "http://{address}/", expect = { body_contains = "hunter2", json = { "/key" = "hunter2" } } },
]
"#;
    let config = decode("iaso.toml", source, &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    for part in ["\"pg_isready\" and 1 arguments", "\"curl\" and 3", "\"reload\" and 2", "/key"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}
