//! How tests wait, and where they keep their files.

use std::time::Duration;

use iaso::system::clock::stopwatch;

/// How long a test waits for what must happen. Only what is broken takes that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first thing that `look` finds.
#[allow(dead_code, reason = "each executable uses some")]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let waited = stopwatch();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(waited() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Runs a future to its end.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A folder of the test's own under the target directory, removed when it is dropped.
#[allow(dead_code, reason = "each executable uses some")]
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("iaso-test-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
