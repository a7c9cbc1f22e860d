//! `${credential:NAME}` in the file's texts.

use std::sync::Arc;

use super::*;
use crate::config::examine;
use crate::config::keys::{Key, Kind, ROOT};
use crate::config::validated::Composed;

const KEYS: &str = r#"
[credentials.api]
type = "file"
path = "/run/secrets/api"
[credentials."db.main"]
type = "kv2"
path = "services/db/main"
field = "password"
[vault]
address = "https://vault.example.org"
auth = { type = "token", token_file = "/etc/iaso/token" }
"#;

fn examined(source: &str) -> Examined {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), source).unwrap();
    examine(Some(file.path()), &Environment::new())
}

/// The probe of a service with this check.
fn probe(check: &str) -> Arc<Probe> {
    let examined = examined(&format!("[services.web]\ncontainer = \"web\"\nchecks = [{{ {check} }}]\n{KEYS}"));
    let config = examined.outcome.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Arc::clone(&config.services["web"].checks[0].probe)
}

fn refused(source: &str) -> Vec<Mistake> {
    examined(&format!("{source}{KEYS}")).outcome.expect_err(source).0
}

/// What each text names, as `CREDENTIAL FIELD`.
fn named(probe: &Probe) -> Vec<String> {
    let of =
        |text: &Composed| text.references().map(|at| format!("{} {}", at.credential, at.field)).collect::<Vec<_>>();
    probe.texts().flat_map(of).collect()
}

#[test]
fn what_a_check_sends_and_expects_may_name_credentials() {
    let http = probe(
        r#"type = "http", url = "http://{address}:1/", headers = { Authorization = "Bearer ${credential:api}" },
           expect = { body_contains = "${credential:db.main}", headers = { x-of = "${credential:db.main.user}-1" } }"#
            .replace('\n', " ")
            .as_str(),
    );
    assert_eq!(named(&http), ["api value", "db.main user", "db.main password"]);
    let tcp = probe(
        r#"type = "tcp", address = "{address}:1", send = "AUTH ${credential:api.value}", expect = "$${credential:api}""#,
    );
    assert_eq!(named(&tcp), ["api value"]);
    let Probe::Tcp(tcp) = &*tcp else { panic!() };
    assert_eq!(tcp.expect, Some("${credential:api}".into()), "an escape names none");
    let filled = tcp.send.as_ref().unwrap().fill(|_| Ok::<_, ()>("hunter2".into()));
    assert_eq!(filled, Ok("AUTH hunter2".into()));
}

#[test]
fn elsewhere_a_credential_is_a_mistake_that_says_where_it_may_be_named() {
    let web = |keys: &str| format!("[services.web]\ncontainer = \"web\"\n{keys}\n");
    let check = |keys: &str| web(&format!("checks = [{{ type = \"http\", url = \"http://a\", {keys} }}]"));
    for (source, path) in [
        ("[services.web]\ncontainer = \"${credential:api}\"\n".to_owned(), "services.web.container"),
        (web("recovery.ladder = [\"exec:x ${credential:api}\"]"), "services.web.recovery.ladder[0]"),
        (web("checks = [{ type = \"exec\", command = [\"a\", \"${credential:api}\"] }]"), "services.web.checks[0].command[1]"),
        (web("checks = [{ type = \"http\", url = \"http://a/?key=${credential:api}\" }]"), "services.web.checks[0].url"),
        (check("expect.json = { \"/key\" = \"${credential:api}\" }"), "services.web.checks[0].expect.json.\"/key\""),
        (check("timeout = \"${credential:api}\""), "services.web.checks[0].timeout"),
        (
            "[credentials.own]\ntype = \"file\"\npath = \"/x\"\nfiles = [{ path = \"/y\", template = \"a ${credential:api}\" }]\n".to_owned(),
            "credentials.own.files[0].template",
        ),
    ] {
        let told = refused(&source);
        assert_eq!(told.len(), 1, "{source}: {told:?}");
        assert_eq!((told[0].path.as_str(), told[0].got.as_str()), (path, "a credential cannot be named here"), "{source}");
        let block = told[0].block(false);
        assert!(block.contains("${credential:api}") || told[0].path.contains("template"), "{block}");
        assert!(block.contains("^^^^^^^^^^^^^^^^^"), "{block}");
        for key in ["headers", "body_contains", "send", "expect"] {
            assert!(told[0].expected.contains(key), "{}", told[0].expected);
        }
    }
}

/// So that the words of the mistake and the documents stay true.
#[test]
fn the_keys_that_may_name_credentials_are_those_of_checks() {
    fn find(keys: &[Key], found: &mut Vec<&'static str>) {
        for key in keys {
            match &key.kind {
                Kind::Headers | Kind::Composed => found.push(key.name),
                Kind::Table(inner) | Kind::Named(inner) | Kind::Tables(inner) => find(inner, found),
                Kind::Typed(types) | Kind::OneTyped(types) | Kind::NamedTyped(types) => {
                    find(types.common, found);
                    types.own.iter().for_each(|(_, keys)| find(keys, found));
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    find(ROOT, &mut found);
    assert_eq!(found, ["headers", "body_contains", "headers", "send", "expect"]);
}

#[test]
fn a_name_that_is_none_is_told_with_the_nearest_and_underlined() {
    let header = |text: &str| {
        refused(&format!(
            "[services.web]\ncontainer = \"web\"\nchecks = [{{ type = \"http\", url = \"http://a\", headers = {{ x-key = \"{text}\" }} }}]\n"
        ))
    };
    for (text, got, suggestion) in [
        ("${credential:apj}", "unknown credential \"apj\"", Some("api")),
        ("Bearer ${credential:db.mian}", "unknown credential \"db.mian\"", Some("db.main")),
        ("${credential:db.mian.password}", "unknown credential \"db.mian\"", Some("db.main")),
        ("${credential:something-else}", "unknown credential \"something-else\"", None),
        ("${credential:api.user}", "what is of type file has no field of its own", None),
    ] {
        let told = header(text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].got.as_str(), told[0].suggestion.as_deref()), (got, suggestion), "{text}");
        assert_eq!(told[0].path, "services.web.checks[0].headers.x-key");
        let block = told[0].block(false);
        let reference = &text[text.find('$').unwrap()..];
        assert!(block.contains(reference), "{block}");
        assert!(block.contains(&"^".repeat(reference.len())), "{block}");
        assert!(!block.contains("Bearer"), "what stands beside it may be secret: {block}");
    }
    assert_eq!(header("${credential:}")[0].got, "no credential");
}

#[test]
fn the_longest_name_wins_and_the_rest_is_a_field() {
    let both = "[credentials.db]\ntype = \"kv2\"\npath = \"services/db\"\n";
    let source = |text: &str| {
        format!(
            "[services.web]\ncontainer = \"web\"\nchecks = [{{ type = \"tcp\", address = \"a:1\", send = \"{text}\" }}]\n{KEYS}{both}"
        )
    };
    for (text, found) in [
        ("${credential:db}", "db value"),
        ("${credential:db.user}", "db user"),
        ("${credential:db.main}", "db.main password"),
        ("${credential:db.main.tls.crt}", "db.main tls.crt"),
        ("${credential:db.mainly}", "db mainly"),
    ] {
        let config = examined(&source(text)).outcome.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(named(&config.services["web"].checks[0].probe), [found], "{text}");
    }
}

#[test]
fn a_credential_may_be_there_for_checks_alone() {
    let warned = |check: &str, credential: &str| {
        let examined = examined(&format!(
            "[services.web]\ncontainer = \"web\"\nchecks = [{{ type = \"http\", url = \"http://a\", {check} }}]\n\
             [credentials.api]\ntype = \"file\"\npath = \"/run/secrets/api\"\n{credential}"
        ));
        let config = examined.outcome.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(config.credentials[0].files.is_empty() != credential.contains("files"));
        examined.warnings.iter().map(|warning| format!("{}: {}", warning.path, warning.got)).collect::<Vec<_>>()
    };
    let named = "headers = { Authorization = \"Bearer ${credential:api}\" }";
    assert_eq!(warned(named, ""), [""; 0], "neither files nor services are needed, and it is no secret in plain text");
    let told = "services = [\"web\"]\non_change = \"restart\"\nfiles = [{ path = \"/srv/api\" }]\n";
    assert_eq!(warned(named, told), [""; 0], "during its rollout the check is made with either value");
}

#[test]
fn a_value_is_no_part_of_what_a_check_is() {
    let source = |text: &str| {
        format!(
            "[services.web]\ncontainer = \"web\"\nchecks = [{{ type = \"tcp\", address = \"a:1\", send = \"{text}\" }}]\n{KEYS}"
        )
    };
    let print = |text: &str| examined(&source(text)).outcome.unwrap().services["web"].checks[0].fingerprint();
    let all = [
        "${credential:api}",
        "${credential:db.main}",
        "${credential:db.main.user}",
        "x${credential:api}",
        "$${credential:api}",
    ];
    let prints: std::collections::BTreeSet<u64> = all.iter().map(|text| print(text)).collect();
    assert_eq!(prints.len(), all.len());
    assert_eq!(print("${credential:api}"), print("${credential:api.value}"), "two spellings of one thing");
}
