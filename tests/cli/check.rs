//! `iaso check`: every mistake in one run, and 78.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::support::test;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("check::", stringify!($name)), &[], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        ten_mistakes_are_told_in_one_run,
        ten_mistakes_are_told_to_programs,
        the_daemon_tells_the_same_mistakes_and_does_not_start,
        the_daemon_tells_warnings_as_it_starts,
        what_is_right_says_what_it_is,
        warnings_alone_are_accepted_unless_strict,
        the_environment_is_judged_too,
        files_that_are_none_are_named_with_the_reason,
    ]
}

/// What a run said on standard output, and how it ended.
struct Said {
    text: String,
    code: Option<i32>,
}

/// Runs it without the variables of whoever runs the test.
fn check(args: &[&str], variables: &[(&str, &str)]) -> Said {
    let output = Command::new(crate::PROGRAM)
        .arg("check")
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("the executable does not start");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    Said { text: String::from_utf8(output.stdout).unwrap(), code: output.status.code() }
}

fn check_file(path: &Path) -> Said {
    check(&["--config", path.to_str().unwrap()], &[])
}

fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("iaso.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

const TEN: &str = r#"[daemon]
shutdown_grase = "8s"
log = { level = "verbose" }

[defaults]
interval = "30 seconds"
success_threshold = 0

[services.web]
host = "nas"
compose = "shop/web"
depends_on = ["databse"]

[services.database]
container = "db"
depends_on = ["cache"]

[[services.web.checks]]
type = "htp"
url = "http://{address}/"

[[services.database.checks]]
type = "http"

[services.cache]
compose = "shop/web"
depends_on = ["database"]
"#;

/// Line, key and suggestion of each mistake in it.
const TOLD: [(u64, &str, Option<&str>); 10] = [
    (2, "daemon.shutdown_grase", Some("shutdown_grace")),
    (3, "daemon.log.level", None),
    (6, "defaults.interval", None),
    (7, "defaults.success_threshold", None),
    (10, "services.web.host", None),
    (12, "services.web.depends_on[0]", Some("database")),
    (16, "services.database.depends_on[0]", None),
    (19, "services.web.checks[0].type", Some("http")),
    (22, "services.database.checks[0]", None),
    (25, "services.cache", None),
];

fn ten_mistakes_are_told_in_one_run() {
    let (_dir, path) = file(TEN);
    let said = check_file(&path);
    assert_eq!(said.code, Some(78), "{}", said.text);
    for (line, key, suggestion) in TOLD {
        let place = format!(" --> {}:{line}:", path.display());
        let block = said.text.split("\n\n").find(|block| block.contains(&format!("error: {key}: ")));
        let block = block.unwrap_or_else(|| panic!("nothing about {key}: {}", said.text));
        let excerpt = format!("{line} | ");
        assert!(block.contains(&place) && block.contains(&excerpt) && block.contains("^ expected "), "{block}");
        let help = suggestion.map(|name| format!("help: did you mean `{name}`?"));
        assert_eq!(block.contains("help"), help.is_some(), "{block}");
        assert!(help.is_none_or(|help| block.contains(&help)), "{block}");
    }
    assert_eq!(said.text.matches("error: ").count(), 10, "{}", said.text);
    assert!(said.text.contains("a circle: database -> cache -> database"), "{}", said.text);
    assert!(said.text.ends_with("\n10 mistakes\n"), "{}", said.text);
    assert!(!said.text.contains('\u{1b}'), "colour without a terminal");
}

fn ten_mistakes_are_told_to_programs() {
    let (_dir, path) = file(TEN);
    let said = check(&["--output", "json", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(said.code, Some(78));
    let list: Vec<serde_json::Value> = serde_json::from_str(&said.text).unwrap();
    let told: Vec<_> = list.iter().filter(|told| told["severity"] == "error").collect();
    assert_eq!((told.len(), list.len()), (10, 10));
    for (told, (line, key, suggestion)) in told.iter().zip(TOLD) {
        assert_eq!((told["line"].as_u64(), told["key"].as_str()), (Some(line), Some(key)));
        assert_eq!((told["suggestion"].as_str(), told["file"].as_str()), (suggestion, path.to_str()));
        assert!(
            told["column"].as_u64() > Some(0) && told["found"].is_string() && told["expected"].is_string(),
            "{told}"
        );
    }
}

fn the_daemon_tells_the_same_mistakes_and_does_not_start() {
    let (_dir, path) = file(TEN);
    let output = Command::new(crate::PROGRAM)
        .args(["run", "--config", path.to_str().unwrap()])
        .env_clear()
        .output()
        .expect("the executable does not start");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(TOLD.iter().all(|(_, key, _)| text.contains(key)) && text.contains("\n10 mistakes"), "{text}");
}

fn the_daemon_tells_warnings_as_it_starts() {
    let (dir, path) = file("");
    let home = dir.path().display();
    let text = format!(
        "[daemon]\ndata_dir = \"{home}/data\"\nsocket = \"{home}/iaso.sock\"\nlog.format = \"text\"\n\
         [api]\nlisten = \"127.0.0.1:0\"\n[hosts.none]\nurl = \"unix://{home}/none.sock\"\n\
         [services.web]\ncontainer = \"web\"\n\
         checks = [{{ type = \"http\", url = \"http://{{address}}\", headers = {{ Cookie = \"hunter2\" }} }}]\n"
    );
    std::fs::write(&path, text).unwrap();
    let mut daemon = Command::new(crate::PROGRAM)
        .args(["run", "--config", path.to_str().unwrap()])
        .env_clear()
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable does not start");
    let lines = BufReader::new(daemon.stderr.take().unwrap()).lines().map_while(Result::ok);
    // The log ends, and with it the search, should the daemon end before.
    let said =
        lines.inspect(|line| assert!(!line.contains("hunter2"), "{line}")).find(|line| line.contains("plain text"));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let said = said.expect("the warning is not in the log");
    assert!(said.contains("WARN") && said.contains(":11:"), "{said}");
    assert!(said.contains("services.web.checks[0].headers.Cookie: a secret in plain text"), "{said}");
}

fn what_is_right_says_what_it_is() {
    let (_dir, path) = file("[services.web]\ncontainer = \"web\"\nchecks = [{ type = \"docker\" }]\n");
    let said = check_file(&path);
    assert_eq!((said.text, said.code), (format!("ok: {}: 1 service, 1 check, 1 host\n", path.display()), Some(0)));
    let (_dir, path) = file("");
    let said = check_file(&path);
    assert_eq!((said.text, said.code), (format!("ok: {}: 0 services, 0 checks, 1 host\n", path.display()), Some(0)));
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");
    let said = check(&["--strict", "--config", example], &[]);
    assert_eq!(said.code, Some(0), "{}", said.text);
}

fn warnings_alone_are_accepted_unless_strict() {
    let check_of =
        "checks = [{ type = \"http\", url = \"http://{address}\", headers = { Authorization = \"hunter2\" } }]";
    let (_dir, path) = file(format!("[services.web]\ncontainer = \"web\"\n{check_of}\n"));
    let path = path.to_str().unwrap();
    let said = check(&["--config", path], &[]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(said.text.contains("warning: services.web.checks[0].headers.Authorization"), "{}", said.text);
    assert!(!said.text.contains("hunter2"), "{}", said.text);
    assert_eq!(check(&["--strict", "--config", path], &[]).code, Some(78));
    let json = check(&["--output", "json", "--config", path], &[]).text;
    assert!(json.contains("\"severity\": \"warning\"") && !json.contains("hunter2"), "{json}");
}

fn the_environment_is_judged_too() {
    let (_dir, path) = file("[api]\nlisten = \"127.0.0.1:1\"\n[services.web]\ncontainer = \"${NAME}\"\n");
    let path = path.to_str().unwrap();
    let variables = [("IASO_CONFIG", path), ("IASO_API_LISTEN", "localhost"), ("IASO_DEAMON_SOCKET", "/x")];
    let said = check(&[], &variables);
    assert_eq!(said.code, Some(78));
    for part in ["--> $IASO_API_LISTEN\n", "did you mean `IASO_DAEMON_SOCKET`?", "${NAME}", "\n3 mistakes\n"] {
        assert!(said.text.contains(part), "no {part}: {}", said.text);
    }
    assert_eq!(check(&[], &[("IASO_CONFIG", path), ("IASO_API_LISTEN", "[::]:1"), ("NAME", "web")]).code, Some(0));
}

fn files_that_are_none_are_named_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("big"), vec![b'#'; 10 << 20]).unwrap();
    std::fs::write(path("latin"), b"[api]\n\n# caf\xe9\n").unwrap();
    symlink(path("loop"), path("loop")).unwrap();
    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    for (name, why) in [
        ("big", "larger than 1 MiB"),
        ("latin", "line 3 is not UTF-8"),
        ("loop", "symbolic links"),
        ("pipe", "not a regular file"),
        ("absent", "No such file"),
        (".", "not a regular file"),
    ] {
        let said = check_file(&path(name));
        assert_eq!(said.code, Some(78), "{name}");
        assert!(said.text.contains(&*path(name).to_string_lossy()) && said.text.contains(why), "{}", said.text);
    }
}
