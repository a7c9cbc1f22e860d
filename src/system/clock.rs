//! The only reader of the machine's clocks and of its random source.
#![expect(clippy::disallowed_methods, reason = "this file owns the clock")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant, SystemTime};

use iaso_policy::time::{Boot, Mono, Now, Wall};

/// Reads the time. Cheap to copy; every copy tells the same boot.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    boot: Boot,
    started: Instant,
    base: Mono,
    /// Tokio's clock, which a test may stop, and the wall clock's time at its beginning.
    #[cfg(test)]
    paused: Option<(tokio::time::Instant, Wall)>,
}

impl Clock {
    /// One that follows tokio's clock.
    #[cfg(test)]
    pub(crate) fn of_tokio() -> Self {
        Self { paused: Some((tokio::time::Instant::now(), wall())), ..Self::new() }
    }

    #[cfg(test)]
    fn elapsed(&self) -> Option<(Duration, Wall)> {
        self.paused.map(|(start, wall)| (start.elapsed(), wall))
    }

    /// Learns which boot this is: Linux's `boot_id`; elsewhere each run counts as a boot of its own.
    pub fn new() -> Self {
        let mut hasher = DefaultHasher::new();
        match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            Ok(id) => id.trim().hash(&mut hasher),
            Err(_) => random_u64().hash(&mut hasher),
        }
        Self {
            boot: Boot(hasher.finish()),
            started: Instant::now(),
            base: boottime(),
            #[cfg(test)]
            paused: None,
        }
    }

    /// This moment.
    pub fn now(&self) -> Now {
        #[cfg(test)]
        if let Some((elapsed, start)) = self.elapsed() {
            let wall = Wall(start.0 + i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX));
            return Now { mono: self.base + elapsed, wall, boot: self.boot };
        }
        Now { mono: self.mono(), wall: wall(), boot: self.boot }
    }

    /// Milliseconds since the machine's boot, suspended time included.
    pub fn mono(&self) -> Mono {
        #[cfg(test)]
        if let Some((elapsed, _)) = self.elapsed() {
            return self.base + elapsed;
        }
        if cfg!(target_os = "linux") { boottime() } else { self.base + self.started.elapsed() }
    }

    /// The moment `mono` on the wall clock, as it is set now.
    pub fn wall_at(&self, mono: Mono) -> Wall {
        let now = self.now();
        Wall(now.wall.0.saturating_add(mono.0.saturating_sub(now.mono.0)))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_os = "linux")]
fn boottime() -> Mono {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Mono(time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000))
}

#[cfg(not(target_os = "linux"))]
fn boottime() -> Mono {
    Mono(0)
}

fn wall() -> Wall {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Wall(match since_epoch {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    })
}

/// A moment to measure a span from, for durations that only people and metrics see.
pub fn stopwatch() -> impl Fn() -> Duration {
    let start = Instant::now();
    move || start.elapsed()
}

/// When something came, for spans that only people and metrics see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival(Instant);

impl Arrival {
    /// It came just now.
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// How long ago that was.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Sixty-four bits from the operating system's random source.
///
/// # Panics
/// When the operating system has none: nothing can be kept apart then.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .unwrap_or_else(|_| panic!("the operating system's random source does not answer"));
    u64::from_ne_bytes(bytes)
}
