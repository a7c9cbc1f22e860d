//! How often: the hour's caps, the wait after a failure, and the rate of requests.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::backoff::{self, Jitter};
use crate::spec::BackoffSpec;
use crate::time::Mono;

const HOUR: Duration = Duration::from_secs(3600);
/// No loop turns faster.
pub(super) const FLOOR: Duration = Duration::from_secs(1);
/// The longest wait after failures.
pub(super) const LONG: Duration = Duration::from_secs(300);
/// The longest wait for a server that certainly did nothing with what it was sent: asking costs it nothing, and all is to be
/// fresh within a minute of its return.
pub(super) const SHORT: Duration = Duration::from_secs(15);
/// `Retry-After` is honoured up to this.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// What lasts longer lasts this long: a server's number must not overflow a clock.
const AGES: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What was done in the last hour.
#[derive(Debug, Clone)]
pub(super) struct Hour(VecDeque<Mono>);

impl Hour {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// When it may be done again, under a cap an hour; `now` at the earliest.
    pub(super) fn free_at(&self, now: Mono, cap: u32) -> Mono {
        let cap = cap.max(1) as usize;
        match self.0.len().checked_sub(cap).and_then(|i| self.0.get(i)) {
            Some(&blocking) => now.max(blocking + HOUR),
            None => now,
        }
    }

    /// It is done now.
    pub(super) fn charge(&mut self, now: Mono) {
        while self.0.front().is_some_and(|&first| first + HOUR <= now) {
            self.0.pop_front();
        }
        let place = self.0.partition_point(|&at| at <= now);
        self.0.insert(place, now);
    }

    /// What still counts.
    pub(super) fn still(&self, now: Mono) -> impl Iterator<Item = Mono> + '_ {
        self.0.iter().copied().filter(move |&at| at + HOUR > now)
    }

    /// The last one certainly did not happen.
    pub(super) fn refund(&mut self) {
        self.0.pop_back();
    }
}

/// The wait after failures in a row.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    /// How many.
    pub(super) streak: u32,
    /// Nothing is tried before.
    pub(super) until: Mono,
}

impl Retry {
    pub(super) const fn new() -> Self {
        Self { streak: 0, until: Mono(i64::MIN) }
    }

    /// One more failure: the wait doubles from a second to `max`, varied by a quarter.
    pub(super) fn fail(&mut self, now: Mono, max: Duration, jitter: &mut Jitter) {
        self.fail_from(FLOOR, now, max, jitter);
    }

    /// Likewise, from another first wait.
    pub(super) fn fail_from(&mut self, base: Duration, now: Mono, max: Duration, jitter: &mut Jitter) {
        self.streak = self.streak.saturating_add(1);
        let spec = BackoffSpec { base, factor: 2.0, max: max.max(base), jitter: 0.25, reset_after: HOUR };
        self.until = now + backoff::delay(&spec, self.streak, jitter).max(FLOOR);
    }

    /// It went well.
    pub(super) const fn clear(&mut self) {
        *self = Self::new();
    }
}

/// The distance between requests to Vault, so that what is due together does not arrive together.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// The next request goes then at the earliest.
    pub(super) next: Mono,
    /// Closer together for a time: much is due, and soon.
    hurry: Option<(Duration, Mono)>,
}

impl Pace {
    /// Closer is not needed by few credentials.
    const WIDEST: Duration = Duration::from_millis(250);

    pub(super) const fn new(now: Mono) -> Self {
        Self { next: now, hurry: None }
    }

    /// `requests` are to be sent in the time `within`.
    pub(super) fn hurry(&mut self, now: Mono, requests: usize, within: Duration) {
        let gap = within / u32::try_from(requests).unwrap_or(u32::MAX).max(1);
        self.hurry = Some((gap.max(Duration::from_millis(1)), now + within));
    }

    /// A request is sent now; `mean` requests a second are what the credentials need over time.
    pub(super) fn sent(&mut self, now: Mono, mean: f64) {
        // Well under twice the mean: the session's own requests come on top.
        let mut gap = Self::WIDEST;
        if mean * 1.5 > 4.0 {
            gap = Duration::from_secs_f64(1.0 / (mean * 1.5));
        }
        match self.hurry {
            Some((closer, until)) if now < until => gap = gap.min(closer),
            _ => self.hurry = None,
        }
        self.next = now + gap.max(Duration::from_millis(1));
    }
}

/// The part of a time that lies between `low` and `high`, at random.
pub(super) fn part(of: Duration, low: f64, high: f64, jitter: &mut Jitter) -> Duration {
    of.min(AGES).mul_f64((low + high) / 2.0 + (high - low) / 2.0 * jitter.signed_unit())
}
