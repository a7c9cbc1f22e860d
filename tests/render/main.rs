//! Rendering into files on real file systems: what a kill at any step leaves, and what a disk, an owner or a mount refuses.
#![allow(unreachable_pub, reason = "an executable of several files has no other public")]
#![allow(clippy::unwrap_used, reason = "a test ends by a panic")]

mod faults;
mod kills;
#[path = "../support/mount.rs"]
mod mount;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::ExitCode;

use iaso::config::validated::{Owner, TargetFile};
use libtest_mimic::Failed;

/// What every test returns.
type Verdict = Result<(), Failed>;

fn main() -> ExitCode {
    if let Some(path) = std::env::var_os(kills::WRITER) {
        return kills::write(path.into());
    }
    let mut tests = faults::tests();
    tests.extend(kills::tests());
    support::conclude(tests)
}

/// A folder of the test's own under the target directory, removed when it is dropped.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("iaso-test-render-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A target of mode 0640, of a group that is nobody's first where root asks.
fn target(path: PathBuf) -> TargetFile {
    let root = rustix::process::geteuid().is_root();
    let owner = root.then(|| Owner { user: Some("nobody".to_owned()), group: Some("daemon".to_owned()) });
    TargetFile { path, mode: 0o640, owner, template: None }
}
