//! Notices the supervisor's death: a thread outside the runtime counts its own wake-ups in a row without a beat.
//!
//! It reads no clock: a machine that was frozen for an hour and thawed has not missed a single beat.
#![expect(clippy::disallowed_methods, reason = "this file owns the end of the process")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Wake-ups without a beat after which the process is not alive for `/livez` any more: three times the supervisor's longest
/// wait between two steps.
const DOUBTFUL: u32 = 15;

/// Wake-ups without a beat after which the process is ended.
const DEAD: u32 = 30;

/// The exit code of an internal failure.
const INTERNAL_FAILURE: i32 = 70;

/// The supervisor's sign of life. Clones are the same heart.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    missed: Arc<AtomicU32>,
}

impl Heartbeat {
    /// A heart that has just beaten, and that nobody watches yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One step of the supervisor's.
    pub fn beat(&self) {
        self.missed.store(0, Ordering::Relaxed);
    }

    /// Whether the last beat is recent enough: fewer than 15 wake-ups (seconds, on a machine that runs) ago.
    pub fn is_alive(&self) -> bool {
        self.missed.load(Ordering::Relaxed) < DOUBTFUL
    }

    /// Starts the thread that wakes up every second and ends the process with 70 after 30 wake-ups in a row without a beat.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn watch(&self) -> io::Result<()> {
        self.watch_every(Duration::from_secs(1))
    }

    fn watch_every(&self, period: Duration) -> io::Result<()> {
        let heart = self.clone();
        thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            loop {
                thread::sleep(period);
                if heart.miss() >= DEAD {
                    say_and_end();
                }
            }
        })?;
        Ok(())
    }

    /// Counts one wake-up; how many there were in a row without a beat.
    pub(crate) fn miss(&self) -> u32 {
        self.missed.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

/// Says why on a thread of its own, for whoever hangs may hold the log's lock, or nobody may read the log; then ends.
fn say_and_end() -> ! {
    let said = thread::Builder::new().name("last-words".to_owned()).spawn(|| {
        tracing::error!(wakeups = DEAD, "the supervisor has not stepped for too long: ending the process");
    });
    if said.is_ok() {
        thread::sleep(Duration::from_millis(200));
    }
    end_process(INTERNAL_FAILURE)
}

/// Ends the process at once with this exit code, running no destructor: for a hang, and for a person's second signal.
pub fn end_process(code: i32) -> ! {
    std::process::exit(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn it_counts_wake_ups_in_a_row() {
        let heart = Heartbeat::new();
        for _ in 1..DOUBTFUL {
            heart.miss();
        }
        assert!(heart.is_alive());
        heart.miss();
        assert!(!heart.is_alive(), "after {DOUBTFUL}");
        heart.beat();
        assert!(heart.is_alive(), "a beat makes up for all");
        for count in 1..=DEAD {
            assert_eq!(heart.miss(), count);
        }
    }

    /// Run by the test below in a process of its own.
    #[test]
    #[ignore = "ends its process"]
    fn child_that_hangs() {
        Heartbeat::new().watch_every(Duration::from_millis(5)).unwrap();
        loop {
            thread::park();
        }
    }

    #[test]
    fn a_supervisor_that_hangs_ends_the_process_with_70() {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "system::heartbeat::tests::child_that_hangs", "--ignored"])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(70));
    }
}
