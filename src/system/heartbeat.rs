//! Notices the supervisor's death: a thread outside the runtime counts its own wake-ups in a row without a beat.
//!
//! It reads no clock: a machine that was frozen for an hour and thawed has not missed a single beat.
#![expect(clippy::disallowed_methods, reason = "this file owns the end of the process")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::systemd::Manager;

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

    /// Starts the thread that looks every second and ends the process with 70 after 30 looks in a row without a beat. As long
    /// as [`Heartbeat::is_alive`] says so, it tells the service manager as often as that one wants to hear it.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn watch(&self, manager: Manager) -> io::Result<()> {
        self.watch_every(Duration::from_secs(1), manager)
    }

    fn watch_every(&self, period: Duration, manager: Manager) -> io::Result<()> {
        let heart = self.clone();
        let rhythm = Rhythm::new(period, manager.alive_every());
        thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            for wake_up in 1_u64.. {
                thread::sleep(rhythm.sleep);
                if wake_up.is_multiple_of(rhythm.per_look) && heart.miss() >= DEAD {
                    say_and_end();
                }
                if rhythm.per_word.is_some_and(|every| wake_up.is_multiple_of(every)) && heart.is_alive() {
                    manager.alive();
                }
                manager.send_waiting();
            }
        })?;
        Ok(())
    }

    /// Counts one wake-up; how many there were in a row without a beat.
    pub(crate) fn miss(&self) -> u32 {
        self.missed.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

/// How the thread sleeps, and what it does at which of its wake-ups.
#[derive(Debug, PartialEq, Eq)]
struct Rhythm {
    sleep: Duration,
    per_look: u64,
    /// Wake-ups between two words to the service manager; none where it does not want any.
    per_word: Option<u64>,
}

impl Rhythm {
    /// Looks every `look`, and words at least every `word`.
    fn new(look: Duration, word: Option<Duration>) -> Self {
        let sleep = word.map_or(look, |word| word.min(look)).max(Duration::from_millis(1));
        let times = |span: Duration| u64::try_from(span.as_nanos() / sleep.as_nanos()).unwrap_or(u64::MAX).max(1);
        // A look too late is harmless, a word too late is not.
        let per_look = times(look + sleep - Duration::from_nanos(1));
        Self { sleep, per_look, per_word: word.map(times) }
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
    use std::os::unix::net::UnixDatagram;
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

    #[test]
    fn the_manager_hears_it_often_enough_however_the_looks_fall() {
        let (second, millis) = (Duration::from_secs(1), Duration::from_millis);
        let rhythm = |word: Option<Duration>| Rhythm::new(second, word);
        let of = |sleep, per_look, per_word| Rhythm { sleep, per_look, per_word };
        assert_eq!(rhythm(None), of(second, 1, None));
        assert_eq!(rhythm(Some(millis(15_000))), of(second, 1, Some(15)));
        assert_eq!(rhythm(Some(millis(2_500))), of(second, 1, Some(2)));
        assert_eq!(rhythm(Some(millis(400))), of(millis(400), 3, Some(1)));
        assert_eq!(rhythm(Some(Duration::from_nanos(1))), of(millis(1), 1000, Some(1)));
    }

    /// Run by the tests below in a process of its own.
    #[test]
    #[ignore = "ends its process: the tests below run it in one of its own"]
    fn child_that_hangs() {
        Heartbeat::new().watch_every(Duration::from_millis(20), Manager::of_environment()).unwrap();
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

    #[test]
    fn the_manager_hears_nothing_more_of_a_supervisor_that_hangs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "system::heartbeat::tests::child_that_hangs", "--ignored"])
            .env("NOTIFY_SOCKET", &path)
            // At every wake-up.
            .env("WATCHDOG_USEC", "40000")
            .env_remove("WATCHDOG_PID")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (mut words, mut buffer) = (0, [0; 64]);
        while child.try_wait().unwrap().is_none() {
            words += u32::from(manager.recv(&mut buffer).is_ok_and(|length| &buffer[..length] == b"WATCHDOG=1"));
        }
        // None from the look on at which it is doubtful; one that waited for another is left out.
        assert!((1..DOUBTFUL).contains(&words), "{words}");
    }
}
