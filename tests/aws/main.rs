//! AWS Secrets Manager: the client and the daemon against moto, which stands in for AWS's server, and against servers that are unwell.
#![allow(unreachable_pub, reason = "an executable of several files has no other public")]
#![allow(clippy::unwrap_used, reason = "a test ends by a panic")]

mod daemon;
mod moto;
mod reader;
mod reads;
mod strange;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

/// How long a test waits for what must happen. Only what is broken takes that long.
const PATIENCE: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    iaso::system::tls::install_provider();
    if std::env::var_os(reader::MARK).is_some() {
        return reader::serve();
    }
    let mut tests = reads::tests();
    tests.extend(strange::tests());
    tests.extend(daemon::tests());
    let code = support::conclude_at_once(8, tests);
    moto::end_shared();
    code
}

/// The first thing that `look` finds.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let waited = iaso::system::clock::stopwatch();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(waited() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Runs a future to its end.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A folder of the test's own under the target directory, removed when it is dropped.
fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("iaso-test-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
