//! How the supervisor keeps up: what waits for it, and for how long.

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::Now;

/// The upper bounds of the buckets that the times of inputs are counted in, in seconds.
pub const INPUT_BUCKETS: [f64; 14] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 1.0, 10.0];

/// How long inputs took, from when they were ready to the end of the step that took them in.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct InputTimes {
    /// How many took at most each bucket's bound.
    pub within: [u64; INPUT_BUCKETS.len()],
    /// All of them.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
    /// The longest since the snapshot before.
    pub longest: Duration,
}

impl InputTimes {
    /// One more.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (within, bound) in self.within.iter_mut().zip(INPUT_BUCKETS) {
            *within += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += seconds;
        self.longest = self.longest.max(took);
    }
}

/// A bounded queue, into the supervisor or out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStatus {
    /// Its name: `engine/HOST`, `checks`, `orders`, `credentials`, and of those that drop, `looks/HOST`, `history`, `flight`.
    pub name: Arc<str>,
    /// How many wait in it, and how many may; none for one that drops what it has no room for.
    pub waiting: Option<(usize, usize)>,
    /// How often it was found full where it had not been before; of those that drop, how many were dropped.
    pub full: u64,
    /// When it was last found full.
    pub last_full: Option<Now>,
}
