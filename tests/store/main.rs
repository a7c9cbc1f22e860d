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

use std::process::ExitCode;

use libtest_mimic::Failed;

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

/// Runs a future to its end.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A folder of the test's own under the target directory, removed when it is dropped.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("iaso-test-store-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
