//! `[vault]` and `[credentials.NAME]`.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::config::examine;
use crate::config::mistake::Level;
use crate::config::secret::Secret;
use crate::config::validated::{
    Apply, Auth, Call, Credential, Generator, OnChange, Owner, SecretFrom, Source, TargetFile, Template, Vault,
};

const VAULT: &str = "[vault]\naddress = \"https://vault.lan:8200\"\nauth = { type = \"token\", token_file = \"/t\" }\n";
const WEB: &str = "[services.web]\ncontainer = \"web\"\n";

/// One credential of a configuration in which there are a server and a service.
fn one(table: &str) -> Arc<Credential> {
    let source = format!("{VAULT}{WEB}[credentials.api]\n{table}\n");
    read(&source).unwrap_or_else(|mistakes| panic!("{mistakes}")).credentials.remove(0)
}

fn vault_of(source: &str, variables: &Environment) -> Result<Option<Vault>, Mistakes> {
    examined(source, variables).outcome.map(|config| config.vault)
}

fn examined(source: &str, variables: &Environment) -> Examined {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), source).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    examine(Some(file.path()), variables)
}

#[test]
fn every_mistake_about_credentials_is_told_at_once() {
    let source = r#"[vault]
adress = "https://vault.lan"
timeout = "1h"
auth = { type = "aprole", role_id = "x" }

[services.web]
container = "web"

[credentials.api]
type = "kv2"
services = ["wbe"]
refresh = "1s"
on_change = "reload"

[[credentials.api.files]]
path = "secrets/api"
mode = "0666"

[[credentials.api.files]]
path = "/srv/web/api"
template = "{{ value }}"
template_file = "api.tmpl"

[[credentials.api.files]]
path = "/srv/web/db"
owner = "web server"

[credentials.api.rotation]
generator = { type = "characters", length = 4, alphabet = "aab" }

[credentials.api.rotation.apply]
type = "exec"
service = "db"
command = ["psql", "{{ value }}"]

[credentials.db]
type = "dynamic"
on_change = "restart"
files = [{ path = "/srv/web/db" }]
rotation = {}

[credentials.old]
type = "kv3"

[credentials.pair]
type = "kv2"
path = "data/services/web/pair"
kind = "pair"

[credentials.tls]
type = "pki"
role = "web"
"#;
    let found = mistakes(source);
    let told: Vec<(usize, &str, Option<&str>)> = found
        .iter()
        .map(|mistake| {
            let place = mistake.place.as_ref().unwrap();
            (place.line, mistake.path.as_str(), mistake.suggestion.as_deref())
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, "vault", None),
            (2, "vault.adress", Some("address")),
            (3, "vault.timeout", None),
            (4, "vault.auth.type", Some("approle")),
            (11, "credentials.api.services[0]", Some("web")),
            (12, "credentials.api.refresh", None),
            (13, "credentials.api.on_change", None),
            (16, "credentials.api.files[0].path", None),
            (17, "credentials.api.files[0].mode", None),
            (22, "credentials.api.files[1].template_file", None),
            (26, "credentials.api.files[2].owner", None),
            (29, "credentials.api.rotation.generator.length", None),
            (29, "credentials.api.rotation.generator.alphabet", None),
            (33, "credentials.api.rotation.apply.service", None),
            (34, "credentials.api.rotation.apply.command", None),
            (36, "credentials.db", None),
            (38, "credentials.db.on_change", None),
            (39, "credentials.db.files[0].path", None),
            (43, "credentials.old.type", Some("kv2")),
            (48, "credentials.pair.kind", None),
            (50, "credentials.tls", None),
        ]
    );
}

#[test]
fn what_contradicts_or_lacks_is_told_of_credentials_too() {
    let api = |table: &str| format!("{VAULT}{WEB}[credentials.api]\n{table}\n");
    let rotation = |keys: &str| api(&format!("type = \"kv2\"\npath = \"a\"\nrotation = {{ {keys} }}"));
    for (source, path, got) in [
        ("[credentials.api]\ntype = \"kv1\"\npath = \"a\"\n".to_owned(), "vault", "no address"),
        (api("type = \"kv1\""), "credentials.api", "no path"),
        (api("type = \"kv2\""), "credentials.api", "no path"),
        (api("path = \"a\""), "credentials.api", "no type"),
        (api("type = \"kv2\"\npath = \"data/a\""), "credentials.api.path", "begins with data/"),
        (api("type = \"file\""), "credentials.api", "no path"),
        (api("type = \"environment\""), "credentials.api", "no variable"),
        (api("type = \"environment\"\nvariable = \"X\"\nfield = \"x\""), "credentials.api.field", "unknown key"),
        (api("type = \"pki\"\ncommon_name = \"a\""), "credentials.api", "no role"),
        (
            api("type = \"pki\"\nrole = \"r\"\ncommon_name = \"a\"\nalt_names = [\"a,b\"]"),
            "credentials.api.alt_names",
            "comma",
        ),
        (api("type = \"file\"\npath = \"/a\"\nrotation = {}"), "credentials.api.rotation", "of type file"),
        (
            api("type = \"file\"\npath = \"/a\"\nservices = [\"web\", \"web\"]"),
            "credentials.api.services[1]",
            "second time",
        ),
        (api("type = \"file\"\npath = \"/a\"\nfiles = [{ mode = \"0600\" }]"), "credentials.api.files[0]", "no path"),
        (
            api("type = \"file\"\npath = \"/a\"\nfiles = [{ path = \"/b\" }, { path = \"/b\" }]"),
            "credentials.api.files[1].path",
            "the same file as credentials.api.files[0]",
        ),
        (
            api("type = \"file\"\npath = \"/a\"\nfiles = [{ path = \"/b\", template_file = \"/absent\" }]"),
            "credentials.api.files[0].template_file",
            "No such file",
        ),
        (rotation("apply = { type = \"http\" }"), "credentials.api.rotation.apply", "no url"),
        (rotation("verify = { url = \"https://a\" }"), "credentials.api.rotation.verify", "no type"),
        (rotation("verify = { type = \"render\" }"), "credentials.api.rotation.verify.type", "unknown type"),
        (
            rotation("retire = { type = \"http\", url = \"https://{{ value }}/\" }"),
            "credentials.api.rotation.retire.url",
            "",
        ),
        (rotation("generator = { length = 9 }"), "credentials.api.rotation.generator", "no type"),
        (
            rotation("generator = { type = \"characters\", alphabet = \"hex\", at_least = { symbols = 1 } }"),
            "credentials.api.rotation.generator.at_least",
            "nothing of \"symbols\"",
        ),
        (
            rotation("generator = { type = \"characters\", length = 20, at_least = { upper = 11, digits = 10 } }"),
            "credentials.api.rotation.generator.at_least",
            "more characters than length",
        ),
        (api("").replace("auth = {", "auth = { mount = \"a/../b\","), "vault.auth.mount", "unknown key"),
        (
            VAULT.replace("token_file = \"/t\"", "token_file = \"/t\", token = \"${T}\""),
            "vault.auth.token_file",
            "beside token",
        ),
        (VAULT.replace("type = \"token\", ", ""), "vault.auth", "no type"),
        (VAULT.replace("token\", token_file = \"/t\"", "cert\""), "vault.auth.type", "no certificate"),
        (
            VAULT.replace("token\", token_file = \"/t\"", "userpass\", password_file = \"/t\""),
            "vault.auth",
            "no username",
        ),
        (
            VAULT.replace("token\", token_file = \"/t\"", "approle\", role_id_file = \"/t\", wrapped_at = \"auth/a\""),
            "vault.auth.wrapped_at",
            "no secret-id",
        ),
        (format!("{VAULT}cert_file = \"a\"\n"), "vault.key_file", "without its key"),
        (format!("{VAULT}server_name = \"a b\"\n"), "vault.server_name", "another text"),
        ("[vault]\naddress = \"https://a\"\n".to_owned(), "vault", "no auth"),
    ] {
        let found = examined(&source, &env([("T", "x")])).outcome.unwrap_err().0;
        assert!(found.iter().any(|mistake| mistake.path == path && mistake.got.contains(got)), "{source}: {found:?}");
    }
}

#[test]
fn a_credential_that_says_little_has_every_default() {
    let expected = Credential {
        name: "api".into(),
        source: Source::Kv2 { mount: "secret".into(), path: "services/web/api".into() },
        field: "value".into(),
        refresh: Duration::from_secs(300),
        warn_before: Duration::from_secs(7 * 86_400),
        files: Vec::new(),
        services: vec!["web".into()],
        on_change: OnChange::None,
        splay: Duration::from_secs(5),
        max_per_hour: 6,
        mints_per_hour: 6,
        rotation: None,
    };
    assert_eq!(*one("type = \"kv2\"\nservices = [\"web\"]"), expected);
    let kind = Source::Kv2 { mount: "kv/apps".into(), path: "services/web/token".into() };
    assert_eq!(one("type = \"kv2\"\nservices = [\"web\"]\nkind = \"token\"\nmount = \"/kv/apps/\"").source, kind);
    let rotation = one("type = \"kv2\"\npath = \"a\"\nrotation = {}").rotation.clone().unwrap();
    assert_eq!((rotation.every, &rotation.apply, &rotation.verify), (None, &Apply::Render, &None));
    let Generator::Characters { length, alphabet, at_least } = &rotation.generator else { panic!("{rotation:?}") };
    assert_eq!((*length, alphabet.len(), at_least.len()), (32, 62, 0));
    assert_eq!((rotation.grace, rotation.retry), (Duration::from_secs(3600), Duration::from_secs(900)));
}

#[test]
fn each_source_is_read() {
    let source = |table: &str| one(table).source.clone();
    assert_eq!(source("type = \"kv1\"\npath = \"/a/b\""), Source::Kv1 { mount: "secret".into(), path: "a/b".into() });
    let dynamic = one("type = \"dynamic\"\npath = \"database/creds/app\"");
    assert_eq!(dynamic.source, Source::Dynamic { path: "database/creds/app".into() });
    assert_eq!((dynamic.field.as_str(), dynamic.warn_before), ("password", Duration::from_secs(600)));
    let pki = one(
        "type = \"pki\"\nrole = \"web\"\ncommon_name = \"web.lan\"\nalt_names = [\"a.lan\", \"b.lan\"]\nttl = \"1d\"",
    );
    let Source::Pki { mount, request, .. } = &pki.source else { panic!("{pki:?}") };
    let request: Vec<(&str, &str)> = request.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(request, [("alt_names", "a.lan,b.lan"), ("common_name", "web.lan"), ("ttl", "86400s")]);
    assert_eq!((mount.as_str(), pki.field.as_str()), ("pki", "certificate"));
    assert_eq!(pki.warn_before, Duration::from_secs(8640), "a tenth of its life");
    assert_eq!(source("type = \"environment\"\nvariable = \"X\""), Source::Environment { variable: "X".into() });
    assert_eq!(source("type = \"file\"\npath = \"/a\""), Source::File { path: "/a".into() });
    assert_eq!(source("type = \"directory\"\npath = \"a\""), Source::Directory { path: "a".into() });
}

/// The mistakes in a credential of type aws with these lines.
fn aws_mistakes(lines: &str) -> Vec<(String, String)> {
    let source = format!("[credentials.api]\ntype = \"aws\"\n{lines}");
    let found = examined(&source, &env([])).outcome.err().map(|mistakes| mistakes.0).unwrap_or_default();
    found.into_iter().map(|mistake| (mistake.path, format!("{}; {}", mistake.got, mistake.expected))).collect()
}

#[test]
#[cfg(not(feature = "aws"))]
fn a_build_without_aws_says_so() {
    let found = aws_mistakes("secret_id = \"a\"\n");
    let [(path, words)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(path, "credentials.api.type");
    assert!(words.contains("no support of AWS") && words.contains("--features aws"), "{words}");
}

#[test]
#[cfg(feature = "aws")]
fn a_secret_of_aws_is_read() {
    let source = |lines: &str| match &one(&format!("type = \"aws\"\n{lines}")).source {
        Source::Aws(secret) => secret.clone(),
        other => panic!("{other:?}"),
    };
    let least = source("secret_id = \"a/b\"");
    assert_eq!(
        (&*least.secret_id, &*least.version_stage, least.region, least.endpoint),
        ("a/b", "AWSCURRENT", None, None)
    );
    let arn = "secret_id = \"arn:aws:secretsmanager:eu-west-1:1:secret:a-AbCdEf\"\n";
    assert_eq!(source(arn).region.as_deref(), Some("eu-west-1"));
    let most =
        source("secret_id = \"a\"\nregion = \"x-1\"\nversion_stage = \"OLD\"\nendpoint = \"http://127.0.0.1:1/\"");
    assert_eq!((most.region.as_deref(), &*most.version_stage), (Some("x-1"), "OLD"));
    assert_eq!(most.endpoint.as_deref(), Some("http://127.0.0.1:1"));
    for (lines, path, word) in [
        (String::new(), "credentials.api", "no secret_id"),
        (format!("{arn}region = \"us-east-1\"\n"), "credentials.api.region", "eu-west-1"),
        ("secret_id = \"a b\"\n".to_owned(), "credentials.api.secret_id", "its ARN"),
        ("secret_id = \"a\"\nendpoint = \"ftp://a\"\n".to_owned(), "credentials.api.endpoint", "address"),
        ("secret_id = \"a\"\nrotation = {}\n".to_owned(), "credentials.api.rotation", "of type aws cannot be written"),
    ] {
        let found = aws_mistakes(&lines);
        let [(told, words)] = &found[..] else { panic!("{lines}: {found:?}") };
        assert!(told == path && words.contains(word), "{lines}: {found:?}");
    }
    let warned =
        examined("[credentials.api]\ntype = \"aws\"\nsecret_id = \"a\"\nendpoint = \"http://a.lan\"\n", &env([]));
    assert_eq!(warned.warnings.iter().map(|warning| &*warning.path).collect::<Vec<_>>(), ["credentials.api.endpoint"]);
}

#[test]
fn files_have_modes_owners_and_templates() {
    let files = "type = \"environment\"\nvariable = \"X\"\non_change = \"signal:HUP\"\nservices = [\"web\"]\n\
                 files = [{ path = \"/srv/a\" }, { path = \"/srv/b\", mode = \"0640\", owner = \":web\", template = \"{{ value }}\" }]";
    let credential = one(files);
    let owner = Some(Owner { user: None, group: Some("web".into()) });
    let template = Some(Template::Text("{{ value }}".into()));
    assert_eq!(
        credential.files,
        [
            TargetFile { path: "/srv/a".into(), mode: 0o600, owner: None, template: None },
            TargetFile { path: "/srv/b".into(), mode: 0o640, owner, template },
        ]
    );
    assert_eq!(credential.on_change, OnChange::Signal(1));
}

#[test]
fn a_template_that_is_none_is_told_with_its_line() {
    let source = "[credentials.api]\ntype = \"file\"\npath = \"/a\"\n[[credentials.api.files]]\npath = \"/b\"\n\
                  template = \"user={{ user }}\\nkey={{ value\"\n";
    let [mistake] = &mistakes(source)[..] else { panic!("one") };
    assert_eq!(mistake.path, "credentials.api.files[0].template");
    assert!(mistake.got.starts_with("line 2: "), "{mistake:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t");
    std::fs::write(&file, "{% if value %}").unwrap();
    let named = source.lines().take(5).collect::<Vec<_>>().join("\n");
    let named = format!("{named}\ntemplate_file = \"{}\"\n", file.display());
    let [mistake] = &mistakes(&named)[..] else { panic!("one") };
    assert!(mistake.got.contains("/t: line 1: "), "{mistake:?}");
}

#[test]
fn calls_of_a_rotation_are_read() {
    let rotation = one(
        "type = \"kv2\"\npath = \"a\"\n[credentials.api.rotation]\nevery = \"30d\"\n\
         generator = { type = \"characters\", alphabet = \"hex\", length = 40, at_least = { digits = 2, lower = 3, '@f' = 1 } }\n\
         apply = { type = \"exec\", service = \"web\", command = \"psql -U postgres\" }\n\
         verify = { type = \"http\", url = \"https://a.lan/me\", headers = { Authorization = \"Bearer {{ value }}\" } }\n\
         retire = { type = \"http\", url = \"https://a.lan/old\", body = \"{{ old }}\", expect = [204, \"300-399\"], timeout = \"5s\" }\n",
    )
    .rotation
    .clone()
    .unwrap();
    let Generator::Characters { at_least, .. } = &rotation.generator else { panic!("{rotation:?}") };
    let mut classes: Vec<(&str, usize)> = at_least.iter().map(|(class, count)| (class.as_str(), *count)).collect();
    classes.sort_unstable();
    assert_eq!(classes, [("0123456789", 2), ("abcdef", 3), ("f", 1)], "as far as the alphabet has them");
    let exec = Call::Exec {
        service: "web".into(),
        command: ["psql", "-U", "postgres"].map(str::to_owned).into(),
        input: Some("{{ value }}".into()),
        timeout: Duration::from_secs(30),
    };
    assert_eq!(rotation.apply, Apply::Call(exec));
    let Some(Call::Http { method, headers, expect, .. }) = &rotation.verify else { panic!("{rotation:?}") };
    assert_eq!((method.as_str(), expect.as_slice()), ("GET", &[(200, 299)][..]));
    assert_eq!(*headers, [("authorization".to_owned(), Secret::new("Bearer {{ value }}"))]);
    let Some(Call::Http { method, expect, timeout, .. }) = &rotation.retire else { panic!("{rotation:?}") };
    assert_eq!((method.as_str(), timeout.as_secs()), ("POST", 5));
    assert_eq!(*expect, [(204, 204), (300, 399)]);
}

#[test]
fn the_environment_fills_what_the_table_leaves_out() {
    let made = rcgen::generate_simple_self_signed(["vault.lan".to_owned()]).unwrap();
    let needs = "[credentials.api]\ntype = \"kv1\"\npath = \"a\"\n";
    let variables = env([
        ("VAULT_ADDR", "https://vault.lan:8200/"),
        ("BAO_TOKEN", "bao\n"),
        ("VAULT_TOKEN", "vault"),
        ("VAULT_NAMESPACE", "team/"),
        ("VAULT_CACERT_BYTES", &made.cert.pem()),
        ("VAULT_TLS_SERVER_NAME", "other.lan"),
        ("VAULT_CLIENT_TIMEOUT", "7"),
        ("VAULT_SKIP_VERIFY", "false"),
    ]);
    let vault = vault_of(needs, &variables).unwrap().unwrap();
    assert_eq!((vault.address.as_str(), vault.namespace.as_deref()), ("https://vault.lan:8200", Some("team")));
    assert_eq!(vault.auth, Auth::Token(SecretFrom::Text("bao".into())), "BAO_X comes first");
    assert_eq!((vault.roots.len(), vault.server_name.as_deref()), (1, Some("other.lan")));
    assert_eq!((vault.timeout.as_secs(), vault.keep, vault.logins_per_hour), (7, true, 12));
    let table = format!("{needs}{VAULT}timeout = \"3s\"\nnamespace = \"own\"\nserver_name = \"own.lan\"\n");
    let vault = vault_of(&table, &env([("VAULT_CLIENT_TIMEOUT", "x"), ("BAO_NAMESPACE", "x"), ("BAO_TOKEN", "x")]));
    let vault = vault.unwrap().unwrap();
    assert_eq!((vault.timeout.as_secs(), vault.namespace.as_deref()), (3, Some("own")), "the table beats it");
    assert_eq!(vault.auth, Auth::Token(SecretFrom::File(PathBuf::from("/t"))));
    assert_eq!(vault_of("", &variables), Ok(None), "nobody asks for it");

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let files = [
        ("VAULT_ADDR", "https://vault.lan".to_owned()),
        ("VAULT_CACERT", file("ca.pem", &made.cert.pem())),
        ("VAULT_CLIENT_CERT", file("cert.pem", &made.cert.pem())),
        ("VAULT_CLIENT_KEY", file("key.pem", &made.signing_key.serialize_pem())),
    ];
    let variables = env(files.each_ref().map(|(name, value)| (*name, value.as_str())));
    let vault = vault_of(&format!("{needs}[vault.auth]\ntype = \"cert\"\n"), &variables).unwrap().unwrap();
    assert!(vault.roots.len() == 1 && vault.identity.is_some(), "{vault:?}");
    assert_eq!(vault.auth, Auth::Cert { mount: "cert".into(), name: None });
}

#[test]
fn a_variable_that_is_wrong_is_named_and_not_shown() {
    let needs = "[credentials.api]\ntype = \"kv1\"\npath = \"a\"\n";
    for (name, value) in [
        ("BAO_ADDR", "hunter2"),
        ("BAO_ADDR", "https://me:hunter2@vault.lan"),
        ("VAULT_CACERT_BYTES", "hunter2"),
        ("VAULT_CLIENT_TIMEOUT", "hunter2"),
        ("VAULT_CLIENT_TIMEOUT", "0"),
        ("VAULT_TLS_SERVER_NAME", "hunter2 "),
        ("VAULT_CACERT", "/absent"),
        ("VAULT_SKIP_VERIFY", "true"),
        ("VAULT_SKIP_VERIFY", "hunter2"),
    ] {
        let told =
            vault_of(needs, &env([("VAULT_ADDR", "https://vault.lan"), ("VAULT_TOKEN", "hunter2"), (name, value)]));
        let mistakes = told.unwrap_err();
        let origins: Vec<&str> = mistakes.0.iter().map(|mistake| mistake.origin.as_str()).collect();
        assert_eq!(origins, [format!("${name}")], "{mistakes}");
        assert!(!format!("{mistakes} {mistakes:?}").contains("hunter2"), "{mistakes}");
    }
    let told = vault_of(needs, &env([("VAULT_ADDR", "https://a"), ("VAULT_TOKEN", "x"), ("VAULT_SKIP_VERIFY", "1")]));
    assert!(told.unwrap_err().to_string().contains("ca_file"), "what to do instead is said");
}

#[test]
fn what_is_unwise_about_credentials_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open");
    std::fs::write(&open, "hunter2").unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o604)).unwrap();
    let closed = folder.path().join("closed");
    std::fs::write(&closed, "hunter2").unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o600)).unwrap();
    let vault = |address: &str, auth: &str| format!("[vault]\naddress = \"{address}\"\nauth = {{ {auth} }}\n");
    let token = |path: &Path| format!("type = \"token\", token_file = \"{}\"", path.display());
    let fine = vault("https://vault.lan", &token(&closed));
    let kv2 = |keys: &str| format!("{fine}[credentials.api]\ntype = \"kv2\"\npath = \"a\"\n{keys}\n");
    let verified = |keys: &str| {
        let verify = "rotation.verify = { type = \"http\", url = \"https://auth.example.org/\" }";
        kv2(&format!("{verify}\n{keys}"))
    };
    for (source, path, got) in [
        (vault("http://vault.lan", &token(&closed)), "vault.address", "plain HTTP"),
        (vault("http://10.0.0.1", &token(&closed)), "vault.address", "plain HTTP"),
        (vault("https://vault.lan", &token(&open)), "vault.auth.token_file", "mode 0604"),
        (vault("https://vault.lan", &token(Path::new("/absent"))), "vault.auth.token_file", "No such file"),
        (vault("https://vault.lan", "type = \"token\", token = \"hunter2\""), "vault.auth.token", "plain text"),
        ("[vault]\nkeep = false\n".to_owned(), "vault", "nothing is read"),
        (kv2("rotation = {}"), "credentials.api.rotation", "nothing shows"),
        (kv2("files = [{ path = \"/a\", mode = \"0644\" }]"), "credentials.api.files[0].mode", "everybody"),
        (
            verified("rotation.apply = { type = \"http\", url = \"http://auth.example.org/\" }"),
            "credentials.api.rotation.apply.url",
            "plain HTTP",
        ),
        (
            verified(
                "rotation.apply = { type = \"http\", url = \"http://auth/\", headers = { X-Token = \"hunter2\" } }",
            ),
            "credentials.api.rotation.apply.headers.X-Token",
            "plain text",
        ),
        (
            verified("rotation.generator = { type = \"characters\", alphabet = \"hex\", length = 15 }"),
            "credentials.api.rotation.generator",
            "60 bits",
        ),
    ] {
        let Examined { outcome, warnings, .. } = examined(&source, &Environment::new());
        outcome.unwrap_or_else(|mistakes| panic!("{source}: {mistakes}"));
        assert_eq!(warnings.iter().map(|warning| warning.path.as_str()).collect::<Vec<_>>(), [path], "{source}");
        assert!(warnings[0].level == Level::Warning && warnings[0].got.contains(got), "{warnings:?}");
        assert!(!format!("{warnings:?}{}", warnings[0].block(false)).contains("hunter2"), "{warnings:?}");
    }
    for source in [
        fine.clone(),
        vault("http://127.0.0.1:8200", &token(&closed)),
        vault("http://[::1]:8200", &token(&closed)),
        vault("http://localhost", "type = \"token\", token = \"${T}\""),
        kv2(
            "rotation.verify = { type = \"http\", url = \"http://auth:9000/\", headers = { X-Token = \"{{ value }}\" } }",
        ),
    ] {
        assert_eq!(examined(&source, &env([("T", "x")])).warnings, [], "{source}");
    }
}

/// Every text of these tables that may be filled in, by a reference of its own.
const WITH_SECRETS: &str = r#"
[vault]
address = "https://vault.lan"
auth = AUTH
[services.web]
container = "web"
[credentials.api]
type = "kv2"
path = "a"
files = [{ path = "/srv/a", template = "x=${S} {{ value }}" }]
[credentials.api.rotation]
apply = { type = "http", url = "https://a.lan/?x=${S}", headers = { X-Key = "${S}" }, body = "${S}" }
verify = { type = "exec", service = "web", command = ["psql", "${S}"], input = "${S}" }
retire = { type = "http", url = "https://a.lan/", headers = { X-Key = "k${S}" } }
"#;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn law_10_no_secret_of_these_tables_is_shown_by_debug(
        secret in "[A-Za-z0-9]{12,24}",
        auth in 0_usize..3,
        broken in proptest::option::of(0_usize..24),
    ) {
        let auth = [
            "{ type = \"token\", token = \"${S}\" }",
            "{ type = \"approle\", role_id = \"${S}\", secret_id = \"${S}\" }",
            "{ type = \"userpass\", username = \"iaso\", password = \"${S}\" }",
        ][auth];
        let source = WITH_SECRETS.replace("AUTH", auth);
        let lines = source.lines().enumerate();
        let source: String = lines
            .map(|(at, line)| if broken == Some(at) { format!("{line} x\n") } else { format!("{line}\n") })
            .collect();
        let told = examined(&source, &env([("S", &secret)]));
        let said = match &told.outcome {
            Ok(config) => format!("{config:?}"),
            Err(mistakes) => format!("{mistakes} {mistakes:?}"),
        };
        prop_assert_eq!(told.outcome.is_ok(), broken.is_none_or(|at| at >= source.lines().count()), "{}", said);
        prop_assert!(!said.contains(&secret) && !format!("{:?}", told.warnings).contains(&secret), "{}", said);
    }
}
