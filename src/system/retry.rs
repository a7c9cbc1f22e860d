//! How long to wait before trying a foreign system again. The only user of the `backoff` crate.

use std::time::{Duration, Instant};

use backoff::backoff::Backoff;
use backoff::exponential::ExponentialBackoff;

/// Growing waits between tries, without an end: doubling, each varied by up to 10 %, never over the cap.
#[derive(Debug)]
pub struct Pacing(ExponentialBackoff<TokioClock>);

impl Pacing {
    /// From `base`, doubling, up to `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self(ExponentialBackoff {
            current_interval: base,
            initial_interval: base,
            randomization_factor: 0.1,
            multiplier: 2.0,
            max_interval: cap,
            start_time: TokioClock.now_std(),
            // The crate gives up after 15 minutes by default; what we watch may be away for a night.
            max_elapsed_time: None,
            clock: TokioClock,
        })
    }

    /// The wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let cap = self.0.max_interval;
        // The crate varies a wait after capping it.
        self.0.next_backoff().unwrap_or(cap).min(cap)
    }

    /// The next wait is the first again: a try succeeded.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// Tokio's clock, which tests can pause.
#[derive(Debug)]
struct TokioClock;

impl TokioClock {
    fn now_std(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl backoff::Clock for TokioClock {
    fn now(&self) -> Instant {
        self.now_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_begin_anew_after_a_success() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut pacing = Pacing::new(base, cap);
        for expected in [100, 200, 400, 800] {
            let wait = pacing.next_wait().as_millis();
            assert!((expected * 9 / 10..=expected * 11 / 10).contains(&wait), "{wait} for {expected}");
        }
        for _ in 0..1000 {
            let wait = pacing.next_wait();
            assert!(wait <= cap && wait >= cap.mul_f64(0.89), "{wait:?}");
        }
        pacing.reset();
        assert!(pacing.next_wait() <= base.mul_f64(1.1));
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_gives_up() {
        let mut pacing = Pacing::new(Duration::from_secs(1), Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert!(pacing.next_wait() > Duration::ZERO);
    }
}
