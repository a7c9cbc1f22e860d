//! The store: one conformance suite for the file and for its double, and what can happen to a file.
#![allow(unreachable_pub, reason = "an executable of several files has no other public")]
#![allow(clippy::unwrap_used, reason = "a test ends by a panic")]

mod conformance;
mod faults;
mod kills;
#[path = "../support/mount.rs"]
mod mount;
mod records;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/waiting.rs"]
mod waiting;

use std::process::ExitCode;

use libtest_mimic::Failed;

use waiting::{scratch, wait};

/// What every test returns.
type Verdict = Result<(), Failed>;

fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(kills::WRITER) {
        return kills::write(dir.as_ref());
    }
    let mut tests = conformance::tests();
    tests.extend(faults::tests());
    tests.extend(kills::tests());
    support::conclude(tests)
}
