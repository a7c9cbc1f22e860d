//! A small seeded generator (SplitMix64): the same seed gives the same numbers on every machine and in every version.

use std::ops::RangeInclusive;

/// Draws numbers from a seed. Not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins the sequence of `seed`; every seed is good.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the range, both ends included; its start when the range is empty.
    pub fn between(&mut self, range: RangeInclusive<i64>) -> i64 {
        let (low, high) = range.into_inner();
        let span = u128::from(high.max(low).abs_diff(low)) + 1;
        let offset = (u128::from(self.bits()) * span) >> 64;
        low.saturating_add(i64::try_from(offset).unwrap_or(i64::MAX))
    }

    /// True in `percent` of a hundred draws.
    pub fn chance(&mut self, percent: i64) -> bool {
        self.between(0..=99) < percent
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let last = i64::try_from(choices.len()).unwrap_or(i64::MAX) - 1;
        &choices[usize::try_from(self.between(0..=last)).unwrap_or_default()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_splitmix64() {
        let mut random = Random::new(1_234_567);
        assert_eq!(
            [random.bits(), random.bits(), random.bits()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn a_range_is_drawn_whole_and_never_left() {
        let mut random = Random::new(7);
        let draws: Vec<i64> = (0..500).map(|_| random.between(-2..=2)).collect();
        assert!((-2..=2).all(|n| draws.contains(&n)));
        assert!(draws.iter().all(|n| (-2..=2).contains(n)));
    }
}
