//! Each exit code, brought about, and the words that come with it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::{Need, test};
use crate::{PROGRAM, Said, command, iaso};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($needs:expr; $($name:ident),+ $(,)?) => {
            vec![$(test(concat!("exits::", stringify!($name)), $needs, || { $name(); Ok(()) })),+]
        };
    }
    let mut tests = suite![&[];
        what_is_done_is_0,
        a_no_is_1,
        a_wrong_command_line_is_2_and_names_the_mistake,
        without_a_daemon_it_is_69_and_says_what_to_do,
        without_an_engine_it_is_69_and_names_it,
        an_answer_of_somebody_else_is_70,
        what_cannot_be_written_is_70,
        a_wrong_configuration_is_78,
        health_is_asked_where_the_configuration_says,
    ];
    tests.extend(suite![&[Need::Root, Need::Program("su")]; what_is_for_others_is_77]);
    tests
}

fn what_is_done_is_0() {
    let text = iaso(&["version"]);
    assert_eq!((text.code, &*text.err), (0, ""));
    assert!(text.out.starts_with(concat!("iaso ", env!("CARGO_PKG_VERSION"), " (")), "{text:?}");
    let json: serde_json::Value = serde_json::from_str(&iaso(&["version", "--output", "json"]).out).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    for args in [&["--help"][..], &["help"], &["help", "restart"], &["--version"], &["status", "--help"]] {
        let said = iaso(args);
        assert!(said.code == 0 && said.err.is_empty() && !said.out.is_empty(), "{args:?}: {said:?}");
    }
}

fn a_no_is_1() {
    let dir = tempfile::tempdir().unwrap();
    let said = iaso(&["health", "--address", "127.0.0.1:1"]);
    assert!(said.code == 1 && said.out.starts_with("not alive: "), "{said:?}");
    let said = iaso(&["replay", dir.path().join("none").to_str().unwrap()]);
    assert!(said.code == 1 && said.err.contains("none"), "{said:?}");
    let there = dir.path().join("iaso.toml");
    fs::write(&there, "# mine\n").unwrap();
    let said = iaso(&["init", "--output", there.to_str().unwrap()]);
    assert!(said.code == 1 && said.err.contains("--force"), "{said:?}");
    assert_eq!(fs::read_to_string(&there).unwrap(), "# mine\n");
}

fn a_wrong_command_line_is_2_and_names_the_mistake() {
    let cases: [(&[&str], &str); 9] = [
        (&["restrat", "web"], "restart"),
        (&["status", "--outptu", "json"], "--output"),
        (&["status", "--output", "yaml"], "json"),
        (&["explain"], "<SERVICE>"),
        (&["explain", "../x"], "letter or digit"),
        (&["explain", "web", "--json", "--output", "table"], "--json"),
        (&["--socket", "/x", "run"], "[daemon] socket"),
        (&["health", "--address", "localhost"], "127.0.0.1:9797"),
        (&[], "Usage"),
    ];
    for (args, part) in cases {
        let said = iaso(args);
        assert!(said.code == 2 && said.err.contains(part) && said.out.is_empty(), "{args:?}: {said:?}");
    }
}

fn without_a_daemon_it_is_69_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none.sock");
    // One that nobody listens on any more.
    let stale = dir.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    for socket in [&none, &stale, &dir.path().to_owned()] {
        let socket = socket.to_str().unwrap();
        for args in [&["status"][..], &["status", "--watch"], &["explain", "web"], &["pause", "web"]] {
            let said = Said::of(command(args).args(["--socket", socket]).output().unwrap());
            assert!(said.code == 69 && said.out.is_empty(), "{args:?}: {said:?}");
            assert!(said.err.contains(socket) && said.err.contains("iaso run"), "{said:?}");
        }
    }
    // The socket may be named before the command, and in the environment; an empty name counts as none.
    let before = iaso(&["--socket", none.to_str().unwrap(), "status"]);
    assert!(before.code == 69 && before.err.contains("none.sock"), "{before:?}");
    let named = Said::of(command(&["status"]).env("IASO_SOCKET", &none).output().unwrap());
    assert!(named.code == 69 && named.err.contains("none.sock"), "{named:?}");
    let empty = Said::of(command(&["version"]).env("IASO_SOCKET", "").output().unwrap());
    assert_eq!(empty.code, 0, "{empty:?}");
}

fn without_an_engine_it_is_69_and_names_it() {
    let said = iaso(&["init", "--host", "unix:///nonexistent/docker.sock", "--output", "-"]);
    assert!(said.code == 69 && said.out.is_empty(), "{said:?}");
    assert!(said.err.contains("/nonexistent/docker.sock") && said.err.contains("--host"), "{said:?}");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("iaso.toml");
    fs::write(&config, "[hosts.local]\nurl = \"unix:///nonexistent/docker.sock\"\n").unwrap();
    let said = iaso(&["probe", "web", "--config", config.to_str().unwrap()]);
    assert!(said.code == 69 && said.err.contains("/nonexistent/docker.sock"), "{said:?}");
}

fn an_answer_of_somebody_else_is_70() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("mail.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::Builder::new()
        .spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b"220 mail ESMTP\r\n").unwrap();
        })
        .unwrap();
    let said = iaso(&["status", "--socket", socket.to_str().unwrap()]);
    server.join().unwrap();
    assert!(said.code == 70 && said.err.contains("mail.sock"), "{said:?}");
}

fn what_cannot_be_written_is_70() {
    for args in [&["version"][..], &["--help"], &["completions", "bash"], &["man"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let said = Said::of(command(args).stdout(full).output().unwrap());
        assert!(said.code == 70 && said.err.contains("No space left"), "{args:?}: {said:?}");
    }
}

fn a_wrong_configuration_is_78() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("iaso.toml");
    fs::write(&config, "[defaults]\ninterva = \"30s\"\n").unwrap();
    let config = config.to_str().unwrap();
    for args in [&["run", "--config", config][..], &["probe", "web", "--config", config]] {
        let said = iaso(args);
        assert!(said.code == 78 && said.err.contains("interval"), "{args:?}: {said:?}");
    }
    let said = iaso(&["check", "--output", "json", "--config", config]);
    let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &found[0]["suggestion"]), (78, &"interval".into()));
    let said = iaso(&["init", "--output", "-", "--host", "docker.sock"]);
    assert!(said.code == 78 && said.err.contains("unix:///"), "{said:?}");
    let said = Said::of(command(&["init", "--output", "-"]).env("DOCKER_HOST", "ssh://me@nas").output().unwrap());
    assert!(said.code == 78 && said.err.contains("DOCKER_HOST") && !said.err.contains("me@nas"), "{said:?}");
}

/// Where there is no socket, as in a container that shares none.
fn health_is_asked_where_the_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = dir.path().join("iaso.toml");
    let (port, socket) = (listener.local_addr().unwrap().port(), dir.path().join("none.sock"));
    let text = format!("[daemon]\nsocket = \"{}\"\n[api]\nlisten = \"0.0.0.0:{port}\"\n", socket.display());
    fs::write(&config, text).unwrap();
    let server = std::thread::Builder::new()
        .spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8_lossy(&head).into_owned()
        })
        .unwrap();
    let said = Said::of(command(&["health"]).env("IASO_CONFIG", &config).output().unwrap());
    assert_eq!((said.code, &*said.out), (0, "alive\n"), "{said:?}");
    assert_eq!(server.join().unwrap(), "GET /livez H");
}

/// As `nobody`, with the executable where everybody may run it.
fn what_is_for_others_is_77() {
    let dir = tempfile::Builder::new().prefix("iaso-test-").tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("iaso");
    fs::copy(PROGRAM, &program).unwrap();
    let socket = dir.path().join("iaso.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o660)).unwrap();
    let (program, socket) = (program.display(), socket.display());
    let as_nobody = |script: &str| {
        let mut su = Command::new("su");
        su.args(["nobody", "-s", "/bin/sh", "-c", script]).env_remove("DOCKER_HOST").current_dir(dir.path());
        Said::of(su.output().unwrap())
    };
    let said = as_nobody(&format!("{program} status --socket {socket}"));
    assert!(said.code == 77 && said.err.contains("group iaso"), "{said:?}");
    let said = as_nobody(&format!("{program} init --host unix://{socket} --output -"));
    assert!(said.code == 77 && said.err.contains("the socket's group"), "{said:?}");
    let config = dir.path().join("iaso.toml");
    fs::write(&config, "[daemon]\ndata_dir = \"/nonexistent\"\n[api]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let said = as_nobody(&format!("{program} run --observe --config {}", config.display()));
    assert!(said.code == 77 && said.err.contains("[api] listen"), "{said:?}");
    let said = as_nobody(&format!("{program} man --output-dir {}", dir.path().display()));
    assert!(said.code == 77 && said.err.contains("Permission denied"), "{said:?}");
}
