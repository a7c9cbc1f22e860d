//! Iaso as people install it: the unit, the Debian package under a real systemd, the image, and what is shipped to deploy it
//! with. All of it is made from the executable that the tests are built with.
#![allow(unreachable_pub, reason = "an executable of several files has no other public")]
#![allow(clippy::unwrap_used, reason = "a test ends by a panic")]

#[allow(dead_code, reason = "the daemon's tests use the rest")]
#[path = "../daemon/daemon.rs"]
mod daemon;
mod debian;
mod documents;
#[path = "../support/haproxy.rs"]
mod haproxy;
mod image;
mod machine;
#[allow(dead_code, reason = "other tests stop theirs")]
#[path = "../support/own_dockerd.rs"]
mod own_dockerd;
mod prometheus;
#[allow(dead_code, reason = "the daemon's tests use the rest")]
#[path = "../daemon/site.rs"]
mod site;
#[path = "../support/mod.rs"]
mod support;
mod unit;
#[path = "../support/waiting.rs"]
mod waiting;
mod walk;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use waiting::{scratch, until, wait};

/// The executable that everything is made from.
const PROGRAM: &str = env!("CARGO_BIN_EXE_iaso");

fn main() -> ExitCode {
    let mut tests = debian::tests();
    tests.extend(image::tests());
    tests.extend(prometheus::tests());
    tests.extend(documents::tests());
    tests.extend(unit::tests());
    tests.extend(walk::tests());
    let code = support::conclude_at_once(3, tests);
    site::remove_images();
    image::remove();
    machine::remove();
    code
}

/// A file of the repository.
fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a command printed; it must succeed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.trim().to_owned()
}
