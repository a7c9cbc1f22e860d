//! Which run made a thing, and whether that run still lives: what a killed one left behind is removed by the next.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use iaso_policy::time::Wall;

use crate::system::clock::{Clock, random_u64};

/// On everything that a run makes: its [`RunId`]. Iaso watches nothing else during the demo.
pub(super) const LABEL: &str = "iaso-demo";
/// On the same things: the [`Maker`].
pub(super) const MADE_BY: &str = "iaso-demo.made-by";

/// What of an unknown process counts as left behind when it is older than this and nothing of it runs.
const STALE: Duration = Duration::from_secs(3600);

/// Names a run: eight hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunId(String);

impl RunId {
    pub(super) fn new() -> Self {
        Self(format!("{:08x}", random_u64() >> 32))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The process of a run, so that no other is taken for it: `BOOT/NAMESPACE/PID/START/SECONDS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Maker {
    /// The machine's boot and the namespace that process ids count in; empty where the machine does not tell.
    place: String,
    pid: u32,
    /// When the process started, in the kernel's ticks since boot.
    started: u64,
    /// When the run began, in seconds since the epoch.
    at: i64,
}

impl Maker {
    /// This process.
    pub(super) fn this(clock: &Clock) -> Self {
        let pid = std::process::id();
        Self { place: place(), pid, started: started(pid).unwrap_or_default(), at: seconds(clock.now().wall) }
    }

    /// Reads back what a label says.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(4, '/');
        let at = parts.next()?.parse().ok()?;
        let started = parts.next()?.parse().ok()?;
        let pid = parts.next()?.parse().ok()?;
        Some(Self { place: parts.next()?.to_owned(), pid, started, at })
    }

    /// Its process is no more. Where that cannot be seen from here (another machine's, another container's, or from before
    /// this boot): it is old, and `nothing_runs` of it.
    pub(super) fn is_gone(&self, clock: &Clock, nothing_runs: bool) -> bool {
        if !self.place.is_empty() && self.place == place() {
            return started(self.pid) != Some(self.started);
        }
        let age = seconds(clock.now().wall).saturating_sub(self.at);
        nothing_runs && u64::try_from(age).is_ok_and(|age| age > STALE.as_secs())
    }
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.place, self.pid, self.started, self.at)
    }
}

fn seconds(wall: Wall) -> i64 {
    wall.0 / 1000
}

fn place() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    if boot.is_empty() { String::new() } else { format!("{}/{}", boot.trim(), namespace.display()) }
}

/// When a process started, in ticks since boot; none when there is no such process, or it is dead and not yet buried.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    fields.nth(18).filter(|_| !matches!(state, "Z" | "X"))?.parse().ok()
}

/// The private folder of a run, removed with it.
#[derive(Debug)]
pub(super) struct Home(PathBuf);

const HOME_PREFIX: &str = "iaso-demo-";
const MADE_BY_FILE: &str = "made-by";

impl Home {
    /// Makes the folder, and removes those of runs that are gone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn make(run: &RunId, maker: &Maker, clock: &Clock) -> std::io::Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent, clock);
        let home = Self(parent.join(format!("{HOME_PREFIX}{run}")));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&home.0)?;
        std::fs::write(home.0.join(MADE_BY_FILE), maker.to_string())?;
        Ok(home)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What cannot be removed now, the next run removes.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sweep(parent: &Path, clock: &Clock) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(HOME_PREFIX));
        let maker = || std::fs::read_to_string(entry.path().join(MADE_BY_FILE)).ok();
        if ours && maker().and_then(|text| Maker::parse(&text)).is_some_and(|maker| maker.is_gone(clock, true)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maker_reads_back_and_lives() {
        let clock = Clock::new();
        let maker = Maker::this(&clock);
        assert_eq!(Maker::parse(&maker.to_string()), Some(maker.clone()));
        assert!(!maker.is_gone(&clock, true));
        for wrong in ["", "a/b/c", "a/1/2/x"] {
            assert_eq!(Maker::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_process_that_is_not_the_one_that_made_it_does_not_count() {
        let clock = Clock::new();
        let maker = Maker::this(&clock);
        let reused = Maker { started: maker.started + 1, ..maker };
        assert!(reused.is_gone(&clock, false));
    }

    #[test]
    fn what_cannot_be_seen_is_left_unless_it_is_old_and_still() {
        let clock = Clock::new();
        let elsewhere = Maker { place: "another/machine".to_owned(), ..Maker::this(&clock) };
        assert!(!elsewhere.is_gone(&clock, true));
        let old = Maker { at: elsewhere.at - 7200, ..elsewhere };
        assert!(old.is_gone(&clock, true) && !old.is_gone(&clock, false));
    }
}
