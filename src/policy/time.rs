//! Time as the policy sees it: handed in with each input, never read.

use core::ops::{Add, Sub};
use core::time::Duration;

/// Milliseconds on a clock that never jumps and counts suspended time (Linux `CLOCK_BOOTTIME`).
///
/// Signed, because what is restored after a reboot lies before this boot's zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Mono(pub i64);

impl Mono {
    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

impl Sub<Duration> for Mono {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the Unix epoch, as the machine believes; may jump either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Wall(pub i64);

/// One boot of the machine (a hash of Linux's `boot_id`). [`Mono`] values compare only within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Boot(pub u64);

/// The moment of a step, and the stamp of what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Now {
    /// Decides every window, delay and deadline.
    pub mono: Mono,
    /// For people, and for ages across a reboot.
    pub wall: Wall,
    /// Says whether a stored `mono` may be compared with today's.
    pub boot: Boot,
}

impl Now {
    /// Where the stored moment `then` lies on this moment's monotonic clock.
    ///
    /// Within one boot that is exact whatever the wall clock did. Across a reboot the wall clock is all there is: an age
    /// that it makes negative counts as zero, so that what was spent is forgiven late, never early.
    pub fn place(self, then: Self) -> Mono {
        if self.boot == then.boot {
            return if then.mono > self.mono { self.mono } else { then.mono };
        }
        let age = self.wall.0.saturating_sub(then.wall.0).max(0);
        Mono(self.mono.0.saturating_sub(age))
    }

    /// The moment `mono` of this boot, by the wall clock as it is set now. [`Now::place`] gives `mono` back.
    pub const fn at(self, mono: Mono) -> Self {
        let wall = Wall(self.wall.0.saturating_sub(self.mono.0.saturating_sub(mono.0)));
        Self { mono, wall, boot: self.boot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono: i64, wall: i64, boot: u64) -> Now {
        Now { mono: Mono(mono), wall: Wall(wall), boot: Boot(boot) }
    }

    #[test]
    fn a_wall_clock_that_jumps_within_a_boot_changes_nothing() {
        assert_eq!(at(5_000, 86_400_000_000, 1).place(at(3_000, 10, 1)), Mono(3_000));
        assert_eq!(at(5_000, 0, 1).place(at(3_000, 86_400_000_000, 1)), Mono(3_000));
    }

    #[test]
    fn across_a_reboot_the_wall_clock_gives_the_age_and_a_negative_one_counts_as_none() {
        assert_eq!(at(1_000, 60_000, 2).place(at(900_000, 50_000, 1)), Mono(-9_000));
        assert_eq!(at(1_000, 60_000, 2).place(at(900_000, 70_000, 1)), Mono(1_000));
    }
}
