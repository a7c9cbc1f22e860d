//! The real executable, as a shell sees it.
#![allow(unreachable_pub, reason = "an executable of several files has no other public")]
#![allow(clippy::unwrap_used, reason = "a test ends by a panic")]

mod check;
mod exits;
mod generated;
mod output;
mod secret;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, ExitCode, Output};

fn main() -> ExitCode {
    let mut tests = exits::tests();
    tests.extend(check::tests());
    tests.extend(output::tests());
    tests.extend(generated::tests());
    tests.extend(secret::tests());
    support::conclude(tests)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_iaso");

/// What a command said, and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The executable, with nothing in its environment that would change what it says.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    for name in ["IASO_SOCKET", "IASO_CONFIG", "DOCKER_HOST", "NO_COLOR", "TERM"] {
        command.env_remove(name);
    }
    command
}

fn iaso(args: &[&str]) -> Said {
    Said::of(command(args).output().unwrap())
}

/// A shell's script, in which `$IASO` is the executable.
fn shell(program: &str, script: &str, folder: &Path) -> Said {
    let mut command = Command::new(program);
    command.args(["-c", script]).env("IASO", PROGRAM).current_dir(folder).env_remove("NO_COLOR");
    Said::of(command.output().unwrap())
}
