//! The wait before an attempt, and the seeded generator of its jitter.

use core::time::Duration;

use crate::spec::BackoffSpec;

/// A small generator (SplitMix64): the same seed gives the same run.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from -1 to 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds")]
    pub(crate) fn signed_unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

/// The wait after `streak` attempts without sustained health; none after none. Never over `max`, jitter included.
pub(crate) fn delay(spec: &BackoffSpec, streak: u32, jitter: &mut Jitter) -> Duration {
    if streak == 0 {
        return Duration::ZERO;
    }
    let max = spec.max.as_secs_f64();
    let mut wait = spec.base.as_secs_f64();
    for _ in 1..streak {
        if wait >= max {
            break;
        }
        wait *= spec.factor;
    }
    let varied = wait.min(max) * (1.0 + spec.jitter * jitter.signed_unit());
    Duration::from_secs_f64(varied.clamp(0.0, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_from_the_base_and_stays_under_the_cap_with_jitter() {
        let spec = BackoffSpec::default();
        let mut jitter = Jitter::new(1);
        for (streak, expected) in
            [(0, 0.0), (1, 10.0), (2, 20.0), (3, 40.0), (6, 300.0), (40, 300.0), (u32::MAX, 300.0)]
        {
            for _ in 0..200 {
                let wait = delay(&spec, streak, &mut jitter).as_secs_f64();
                assert!(wait <= 300.0 && (wait - expected).abs() <= expected * 0.1 + 1e-6, "{streak}: {wait}");
            }
        }
    }

    #[test]
    fn jitter_spreads_and_repeats_with_its_seed() {
        let spec = BackoffSpec::default();
        let draw = |seed| {
            let mut jitter = Jitter::new(seed);
            core::array::from_fn::<_, 8, _>(|_| delay(&spec, 1, &mut jitter))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
