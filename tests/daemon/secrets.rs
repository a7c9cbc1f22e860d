//! What must not be told: secrets planted where Iaso passes by are searched for in everything that it leaves or says. And what
//! must not be opened: the C library's resolver.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use crate::daemon::{Home, PROGRAM, Settings};
use crate::site::Site;
use crate::support::{Need, test};
use crate::target::{Manner, Target};
use crate::until;

pub fn tests() -> Vec<Trial> {
    let traced = [Need::Engine, Need::Program("strace")];
    vec![
        test("secrets::none_is_found_in_anything_that_it_says_or_leaves", &[Need::Engine], || {
            none_is_found_in_anything_that_it_says_or_leaves();
            Ok(())
        }),
        test("secrets::names_are_never_resolved_by_the_c_library", &traced, || {
            names_are_never_resolved_by_the_c_library();
            Ok(())
        }),
    ]
}

/// Every planted secret has this in it.
const SECRET: &str = "s3cret-0f-a-test";

fn none_is_found_in_anything_that_it_says_or_leaves() {
    let site = Site::shared();
    let target = Target::new(Manner::Well("token=s3cret-0f-a-test-body"));
    let (web, leaving) = (site.name("web"), site.name("leaving"));
    let more = format!(
        "[recovery]\nquiet_start = \"0s\"\n\
         [services.web]\ncontainer = \"{web}\"\n[[services.web.checks]]\ntype = \"http\"\ninterval = \"1s\"\n\
         on_failure = \"heal\"\nurl = \"http://127.0.0.1:{}/?key={SECRET}-query\"\n\
         headers = {{ Authorization = \"Bearer {SECRET}-header\" }}\n\
         expect = {{ json = {{ \"/token\" = \"{SECRET}-expected\" }}, status = \"200\" }}\non_failure = \"heal\"\n",
        target.port
    );
    // A check that expects JSON fails on this body until it is told otherwise; its evidence must not quote either.
    let more = more.replacen("on_failure = \"heal\"\n", "", 1);
    let home = Home::new(&site, &Settings { level: "trace", more, ..Settings::default() });
    let daemon = home.start(&[]);
    let env = format!("--env=PASSWORD={SECRET}-environment");
    let header = format!("--label=iaso.check.api.headers=Authorization: Bearer {SECRET}-label");
    let label = format!("--label=traefik.http.middlewares.auth.basicauth.users={SECRET}-users");
    site.patient("web", &["--network=none", &env, &label], &[]);
    // Its argument is wrong, so that it ends at once with the secret in its log.
    let order = format!("--{SECRET}-argument");
    site.patient("leaving", &["--network=none", &env, &header, &label], &[&order]);
    daemon.until_event(&leaving, "quarantined", None);
    daemon.until_event("web", "held", Some("never_succeeded"));
    target.behave(Manner::Sick("token=s3cret-0f-a-test-sick"));
    daemon.until_explained("web", &["500"]);
    let mut said = vec![
        ("the log", daemon.text()),
        ("/metrics", daemon.get("/metrics").1),
        ("/health", daemon.get("/health").1),
        ("explain web", daemon.explain("web")),
        ("explain leaving", daemon.explain(&leaving)),
        ("status", home.iaso(&["status", "--output", "json"]).out),
    ];
    for path in ["/health", "/api/v1/services", "/api/v1/services/web", &format!("/api/v1/services/{leaving}")] {
        let mut stream = UnixStream::connect(home.socket()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: iaso\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        said.push(("an answer of the API", answer));
    }
    daemon.kill();
    for (what, text) in said {
        assert!(!text.contains(SECRET), "{what} tells a secret: {text}");
    }
    let left = files(home.data());
    for kind in ["iaso.db", "iaso.db-wal", ".jsonl"] {
        assert!(left.iter().any(|path| path.to_string_lossy().ends_with(kind)), "no {kind} among {left:?}");
    }
    for path in left {
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!found, "{} holds a secret", path.display());
    }
}

/// Every file beneath a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn names_are_never_resolved_by_the_c_library() {
    let site = Site::shared();
    let target = Target::new(Manner::Well("up"));
    let more = format!(
        "[recovery]\nquiet_start = \"0s\"\n[services.web]\ncontainer = \"{}\"\n[[services.web.checks]]\ntype = \"http\"\n\
         url = \"http://localhost:{}/\"\ninterval = \"1s\"\non_failure = \"heal\"\n",
        site.name("web"),
        target.port
    );
    let home = Home::new(&site, &Settings { more, ..Settings::default() });
    let trace = home.path().join("trace");
    let mut command = Command::new("strace");
    // With -D the daemon is the process that the test started, and strace its neighbour.
    command.args(["-D", "-f", "-qq", "-e", "trace=open,openat,openat2", "-o", trace.to_str().unwrap(), PROGRAM]);
    let daemon = home.start_by(command, &[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health("web", "healthy");
    target.behave(Manner::Sick("sick"));
    daemon.until_event("web", "operation_begun", None);
    target.behave(Manner::Well("up"));
    daemon.until_event("web", "incident_closed", None);
    site.ask(&name, "/exit?code=3");
    until("it runs again", || site.runs(&name).then_some(()));
    daemon.stop();
    let trace = fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("iaso.toml"), "nothing was traced: {trace}");
    assert!(trace.contains("/etc/hosts") || trace.contains("/etc/resolv.conf"), "no name was resolved");
    assert!(!trace.contains("nsswitch.conf"), "the C library resolved a name");
}
