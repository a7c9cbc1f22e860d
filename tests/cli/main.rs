//! The real executable, as a shell sees it.

use std::process::{Command, Output};

fn iaso(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iaso"));
    command.args(args).env_remove("IASO_SOCKET").output().expect("the executable does not start")
}

#[test]
fn version_names_the_build() {
    let output = iaso(&["version"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.starts_with(concat!("iaso ", env!("CARGO_PKG_VERSION"), " (")), "{text}");
}

#[test]
fn a_wrong_command_line_is_2_and_names_the_mistake() {
    let output = iaso(&["restrat", "web"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("restart"), "no suggestion: {text}");
    assert_eq!(iaso(&[]).status.code(), Some(2));
    assert_eq!(iaso(&["--help"]).status.code(), Some(0));
}

#[test]
fn without_a_daemon_it_is_69_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let output = iaso(&["status", "--socket", socket.to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(text.contains("none.sock") && text.contains("iaso run"), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn health_without_a_daemon_is_1() {
    assert_eq!(iaso(&["health", "--address", "127.0.0.1:1"]).status.code(), Some(1));
}
