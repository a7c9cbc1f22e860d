//! How answers reach a terminal, a pipe, and nobody.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use libtest_mimic::Trial;

use crate::support::{Need, test};
use crate::{PROGRAM, Said, command, shell};

pub fn tests() -> Vec<Trial> {
    let bash = [Need::Program("bash")];
    vec![
        test("output::a_reader_that_leaves_is_no_failure", &bash, || {
            a_reader_that_leaves_is_no_failure();
            Ok(())
        }),
        test("output::a_closed_standard_output_is_no_panic", &bash, || {
            a_closed_standard_output_is_no_panic();
            Ok(())
        }),
        test("output::a_terminal_gets_colours_and_lines_that_fit", &[Need::Program("script")], || {
            a_terminal_gets_colours_and_lines_that_fit();
            Ok(())
        }),
        test("output::a_watch_goes_on_until_nobody_reads_it", &bash, || {
            a_watch_goes_on_until_nobody_reads_it();
            Ok(())
        }),
        test("output::a_pipe_gets_plain_text", &[], || {
            a_pipe_gets_plain_text();
            Ok(())
        }),
    ]
}

fn a_reader_that_leaves_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    for args in ["--help", "completions bash", "man", "version", "run --help"] {
        let script = format!("set -o pipefail; \"$IASO\" {args} | true; echo \"code ${{PIPESTATUS[0]}}\"");
        let said = shell("bash", &script, dir.path());
        assert_eq!((&*said.out, &*said.err), ("code 0\n", ""), "{args}");
    }
}

fn a_closed_standard_output_is_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    for args in ["--help", "version", "man", "completions zsh", "status --socket none", "health --socket none"] {
        let said = shell("bash", &format!("\"$IASO\" {args} >&-; echo $? >&2"), dir.path());
        assert!(!said.err.contains("panicked"), "{args}: {said:?}");
        let said = shell("bash", &format!("\"$IASO\" {args} >&- 2>&-; echo $?"), dir.path());
        assert!(["0", "1", "69"].contains(&said.out.trim()), "{args}: {said:?}");
    }
}

/// A daemon that knows one service, which is unhealthy and has a long name.
struct Daemonish {
    dir: tempfile::TempDir,
}

const LONG: &str = "a-service-whose-name-is-far-longer-than-any-terminal-of-this-test-is-wide";

impl Daemonish {
    fn start() -> Self {
        Self::for_requests(usize::MAX)
    }

    /// One that is gone after so many requests; the answer of `status` takes two.
    fn for_requests(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        std::thread::Builder::new()
            .spawn(move || {
                for stream in listener.incoming().take(count) {
                    let mut stream = stream.unwrap();
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        head.push(byte[0]);
                    }
                    let body = if head.starts_with(b"GET /health ") { health() } else { services() };
                    let head =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                    // The client may have gone.
                    let _ = stream.write_all((head + &body).as_bytes());
                }
            })
            .unwrap();
        Self { dir }
    }

    fn status(&self, extra: &str) -> String {
        format!("{PROGRAM} status --socket {}/sock {extra}", self.dir.path().display())
    }
}

fn services() -> String {
    serde_json::json!({
        "at": "2026-01-01T00:00:00Z", "observe": false, "waiting": [],
        "services": [{
            "name": LONG, "host": "local", "health": "unhealthy", "since": "2026-01-01T00:00:00Z", "age_seconds": 90,
            "trouble": "exited", "incident": null, "phase": "idle", "hold": "quarantine", "hold_until": null,
            "budget_remaining": 0, "quarantined": true, "paused": false, "container": "web", "image": "web:1",
        }],
    })
    .to_string()
}

fn health() -> String {
    let part = serde_json::json!({ "status": "unhealthy", "since": "2026-01-01T00:00:00Z", "message": "not there" });
    serde_json::json!({ "status": "unhealthy", "components": { "docker/local": part } }).to_string()
}

/// What a terminal of 60 columns is sent.
fn on_a_terminal(dir: &Path, environment: &str, line: &str) -> String {
    let script = format!("{environment} script -qec 'stty cols 60; {line}' /dev/null </dev/null");
    let said = shell("sh", &script, dir);
    assert_eq!(said.code, 0, "{said:?}");
    said.out.replace('\r', "")
}

const RED: &str = "\u{1b}[31m";

fn a_terminal_gets_colours_and_lines_that_fit() {
    let daemon = Daemonish::start();
    let dir = daemon.dir.path();
    let seen = on_a_terminal(dir, "TERM=xterm", &daemon.status(""));
    assert!(seen.contains(RED) && !seen.contains(LONG) && seen.contains('…'), "{seen:?}");
    assert!(seen.contains("docker/local is unhealthy"), "{seen:?}");
    let visible = seen.replace(RED, "").replace("\u{1b}[0m", "");
    for line in visible.lines().take(2) {
        assert!(line.chars().count() <= 60, "{line:?}");
    }
    for (environment, extra) in [("TERM=dumb", ""), ("TERM=xterm NO_COLOR=1", ""), ("TERM=xterm", "--color never")] {
        let seen = on_a_terminal(dir, environment, &daemon.status(extra));
        assert!(!seen.contains('\u{1b}') && seen.contains("unhealthy"), "{environment} {extra}: {seen:?}");
    }
}

fn a_watch_goes_on_until_nobody_reads_it() {
    let daemon = Daemonish::for_requests(4);
    let watch = daemon.status("--watch --output json");
    let script = format!("set -o pipefail; {watch} | head -n 3; echo \"code ${{PIPESTATUS[0]}}\"");
    let said = shell("bash", &script, daemon.dir.path());
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!((lines.len(), lines[3]), (4, "code 0"), "{said:?}");
    let frames: Vec<serde_json::Value> = lines[..3].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(frames[..2].iter().all(|frame| frame["services"][0]["name"] == LONG), "{frames:?}");
    assert!(frames[2]["error"].as_str().unwrap().contains("no daemon answers"), "{frames:?}");
}

fn a_pipe_gets_plain_text() {
    let daemon = Daemonish::start();
    let socket = daemon.dir.path().join("sock");
    let status = |args: &[&str]| {
        let said = Said::of(command(args).arg("--socket").arg(&socket).env("TERM", "xterm").output().unwrap());
        assert_eq!((said.code, &*said.err), (0, ""));
        said.out
    };
    let plain = status(&["status"]);
    assert!(plain.contains(LONG) && !plain.contains('\u{1b}') && !plain.contains('…'), "{plain}");
    assert!(status(&["status", "--color", "always"]).contains(RED));
    let json: serde_json::Value = serde_json::from_str(&status(&["status", "--output", "json"])).unwrap();
    assert_eq!(json["services"][0]["name"], LONG);
    assert_eq!(json["components"]["docker/local"]["message"], "not there");
}
