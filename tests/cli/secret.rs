//! A value that a person types is seen by nobody.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::PROGRAM;
use crate::support::{Need, test};

pub fn tests() -> Vec<Trial> {
    vec![test("secret::a_value_is_asked_for_and_not_shown", &[Need::Program("script")], || {
        a_value_is_asked_for_and_not_shown();
        Ok(())
    })]
}

fn a_value_is_asked_for_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    // `script` gives it a terminal; nothing listens at this socket, so that it ends after the question.
    let line = format!("{PROGRAM} --socket none.sock credentials set db; echo ended $?; stty -a");
    let mut script = Command::new("script")
        .args(["--quiet", "--command", &line, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = Vec::new();
    let mut out = script.stdout.take().unwrap();
    while !String::from_utf8_lossy(&shown).contains("The value of db: ") {
        let mut byte = [0];
        assert_eq!(out.read(&mut byte).unwrap(), 1, "no question: {}", String::from_utf8_lossy(&shown));
        shown.extend(byte);
    }
    // The question comes once nothing is shown any more.
    script.stdin.as_mut().unwrap().write_all(b"hunter2\n").unwrap();
    out.read_to_end(&mut shown).unwrap();
    script.wait().unwrap();
    let shown = String::from_utf8_lossy(&shown);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("ended 69") && shown.contains("no daemon answers"), "{shown}");
    assert!(shown.contains(" echo ") && !shown.contains("-echo "), "the terminal is as it was: {shown}");
}
