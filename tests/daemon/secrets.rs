//! What must not be told: secrets planted where Iaso passes by are searched for in everything that it leaves or says. And what
//! must not be opened: the C library's resolver.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use crate::daemon::{Home, PROGRAM, Said, Settings, message};
use crate::site::Site;
use crate::support::{Need, test};
use crate::target::{Manner, Target};
use crate::{scratch, until};

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

/// A configuration that holds a secret wherever one may stand, in `folder`; and a line of a private key that it reads past.
fn planted(folder: &Path, container: &str, port: u16) -> (String, String) {
    fs::write(folder.join("key.txt"), format!("{SECRET}-file\n")).unwrap();
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = authority.signing_key.serialize_pem();
    fs::write(folder.join("ca.pem"), format!("{key}{}", authority.cert.pem())).unwrap();
    // A check that expects JSON fails on a body that is none; its evidence must not quote either.
    let more = format!(
        r#"[recovery]
quiet_start = "0s"
[services.web]
container = "{container}"
[[services.web.checks]]
name = "api"
type = "http"
interval = "1s"
on_failure = "heal"
url = "http://127.0.0.1:{port}/?key={SECRET}-query"
headers = {{ Authorization = "Bearer {SECRET}-header", X-Key = "${{file:key.txt}}", X-Other = "${{PLANTED}}" }}
expect = {{ json = {{ "/token" = "{SECRET}-expected" }}, status = "200" }}
[[services.web.checks]]
name = "front"
type = "http"
interval = "1s"
on_failure = "alert"
url = "http://127.0.0.1:{port}/?key={SECRET}-query"
expect = {{ headers = {{ Set-Cookie = "{SECRET}-wanted" }} }}
[[services.web.checks]]
name = "safe"
type = "http"
interval = "1s"
on_failure = "alert"
url = "https://127.0.0.1:{port}/?key={SECRET}-query"
headers = {{ Authorization = "Bearer {SECRET}-header" }}
ca_file = "ca.pem"
[[services.web.checks]]
name = "said"
type = "tcp"
interval = "1s"
on_failure = "alert"
address = "127.0.0.1:{port}"
send = "AUTH {SECRET}-send"
expect = "+OK"
[[services.web.checks]]
name = "beat"
type = "heartbeat"
on_failure = "alert"
token = "{SECRET}-token"
"#
    );
    (more, key.lines().nth(1).unwrap().to_owned())
}

fn none_is_found_in_anything_that_it_says_or_leaves() {
    let site = Site::shared();
    let target = Target::new(Manner::Well("token=s3cret-0f-a-test-body"));
    let (web, leaving) = (site.name("web"), site.name("leaving"));
    let folder = scratch();
    let (more, key) = planted(folder.path(), &web, target.port);
    let log_file = folder.path().join("log/iaso.log");
    let settings = Settings { level: "trace", log_file: Some(log_file.clone()), more, ..Settings::default() };
    let home = Home::new(&site, &settings);
    for file in ["key.txt", "ca.pem"] {
        fs::copy(folder.path().join(file), home.path().join(file)).unwrap();
    }
    let program = || {
        let mut command = Command::new(PROGRAM);
        command.env("PLANTED", format!("{SECRET}-variable"));
        for variable in ["WEBHOOK_URL", "APPRISE_URL"] {
            // Nobody listens there, which is complained about.
            command.env(variable, format!("http://{SECRET}-user:{SECRET}-word@127.0.0.1:1/{SECRET}-path"));
        }
        command
    };
    let daemon = home.start_by(program(), &[]);
    let env = format!("--env=PASSWORD={SECRET}-environment");
    let header = format!("--label=iaso.check.api.headers=Authorization: Bearer {SECRET}-label");
    let user = format!("--label=iaso.check.user.url=http://me:{SECRET}-userinfo@{{address}}/");
    let label = format!("--label=traefik.http.middlewares.auth.basicauth.users={SECRET}-users");
    site.patient("web", &["--network=none", &env, &label], &[]);
    // It ends at once, with the secret in its log, where it is named as one: a bare word that looks like any other is kept.
    let says = format!("opened with password {SECRET}-argument");
    let slow = "--label=iaso.recovery.verify_stable=30s";
    site.patient(
        "leaving",
        &["--network=none", slow, &env, &header, &user, &label],
        &["--says", &says, "--exit-after", "1ms:2"],
    );
    daemon.until_event(&leaving, "quarantined", None);
    daemon.until_event("web", "held", Some("never_succeeded"));
    target.behave(Manner::Sick("token=s3cret-0f-a-test-sick"));
    daemon.until_explained("web", &["500"]);
    daemon.until_line("a notification fails", |line| message(line).contains("a notification was not delivered"));
    let config = home.config();
    let command = |words: &[&str]| {
        let said = Said::of(program().args(words).args(["--config", config.to_str().unwrap()]));
        format!("{words:?} ended with {}:\n{}{}", said.code, said.out, said.err)
    };
    let wrong = home.path().join("wrong.toml");
    let written = fs::read_to_string(&config).unwrap();
    fs::write(&wrong, written.replace("http://127.0.0.1", &format!("http://me:{SECRET}-userinfo@127.0.0.1"))).unwrap();
    let refused = Said::of(program().args(["run", "--config", wrong.to_str().unwrap()]));
    assert_eq!(refused.code, 78, "{refused:?}");
    let replayed = home.iaso(&["replay", home.data().join("flight").to_str().unwrap(), "--anyway"]);
    let mut said = vec![
        ("the log", daemon.text()),
        ("/metrics", daemon.get("/metrics").1),
        ("/health", daemon.get("/health").1),
        ("explain web", daemon.explain("web")),
        ("explain leaving", daemon.explain(&leaving)),
        ("status", home.iaso(&["status", "--output", "json"]).out),
        ("status for people", home.iaso(&["status"]).out),
        ("the outages", home.iaso(&["incidents", "--output", "json"]).out),
        ("a check of the configuration", command(&["check"])),
        ("a probe by hand", command(&["probe", "web"])),
        ("a refused configuration", format!("{refused:?}")),
        ("a replayed night", replayed.out + &replayed.err),
        ("its command line", fs::read_to_string(format!("/proc/{}/cmdline", daemon.pid())).unwrap()),
    ];
    let outage = daemon.until_event(&leaving, "incident_opened", None)["incident"].as_str().unwrap().to_owned();
    let told = home.iaso(&["incidents", &outage]).out;
    assert!(told.contains("a line is kept back"), "{told}");
    said.push(("an outage", told));
    for path in ["/health", "/api/v1/services", "/api/v1/services/web", &format!("/api/v1/services/{leaving}")] {
        let mut stream = UnixStream::connect(home.socket()).unwrap();
        write!(stream, "GET {path}?key={SECRET}-asked HTTP/1.1\r\nhost: iaso\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        said.push(("an answer of the API", answer));
    }
    daemon.stop();
    said.push(("the log", fs::read_to_string(home.path().join("log-0")).unwrap()));
    said.push(("the log file", fs::read_to_string(&log_file).unwrap()));
    for (what, text) in said {
        assert!(!text.is_empty(), "{what} says nothing");
        assert!(!text.contains(SECRET) && !text.contains(&key), "{what} tells a secret: {text}");
    }
    let left = files(home.data());
    for kind in ["iaso.db", ".jsonl"] {
        assert!(left.iter().any(|path| path.to_string_lossy().ends_with(kind)), "no {kind} among {left:?}");
    }
    for path in left {
        let bytes = fs::read(&path).unwrap();
        let holds = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        assert!(!holds(SECRET) && !holds(&key), "{} holds a secret", path.display());
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
    until("it is healed", || (daemon.count("web", "incident_closed") == 2).then_some(()));
    daemon.stop();
    let trace = fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("iaso.toml"), "nothing was traced: {trace}");
    assert!(trace.contains("/etc/hosts") || trace.contains("/etc/resolv.conf"), "no name was resolved");
    assert!(!trace.contains("nsswitch.conf"), "the C library resolved a name");
}
