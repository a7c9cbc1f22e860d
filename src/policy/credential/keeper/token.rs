//! One token of Vault's: how long it lasts, when it is renewed, and how often it may be used.

use core::time::Duration;

use super::pace::{FLOOR, Retry, part};
use super::seam::Token;
use crate::backoff::Jitter;
use crate::time::Mono;

/// A token, and what is planned with it.
#[derive(Debug)]
pub(super) struct Held {
    /// When it was first told; requests that were sent before went with the one before it.
    pub(super) since: Mono,
    /// When the login that gave it was sent.
    pub(super) got: Mono,
    pub(super) ends: Option<Mono>,
    /// When the last request that it was good for was sent.
    pub(super) proved: Option<Mono>,
    /// The longest it was given.
    full: Duration,
    pub(super) renew_at: Option<Mono>,
    pub(super) login_at: Option<Mono>,
    pub(super) renewal: Retry,
    uses: Option<u32>,
    /// It was made for so few uses that none can be kept back.
    pub(super) few: bool,
}

impl Held {
    /// A token as it was told now; `earlier`: it is the one that was first told then.
    pub(super) fn new(now: Mono, began: Mono, told: Token, earlier: Option<Mono>, jitter: &mut Jitter) -> Self {
        let mut token = Self {
            since: earlier.unwrap_or(now),
            got: began,
            ends: None,
            proved: earlier.is_some().then_some(began),
            full: told.ttl.unwrap_or_default(),
            renew_at: None,
            login_at: None,
            renewal: Retry::new(),
            uses: told.uses_left,
            few: told.uses_left.is_some_and(|left| left < 2),
        };
        token.plan(began, told.ttl, told.renewable, jitter);
        token
    }

    /// It was renewed. True: its longest life is near, and no renewal gives it more.
    pub(super) fn renewed(&mut self, began: Mono, told: Token, jitter: &mut Jitter) -> bool {
        self.renewal.clear();
        // Less than was asked for.
        let capped = told.ttl.is_some_and(|ttl| ttl + FLOOR < self.full);
        self.count(told);
        self.full = self.full.max(told.ttl.unwrap_or_default());
        self.plan(began, told.ttl, told.renewable && !capped, jitter);
        capped
    }

    /// How many uses are left, as it was told; never more than were counted.
    pub(super) fn count(&mut self, told: Token) {
        if let Some(left) = told.uses_left {
            self.uses = Some(left.min(self.uses.unwrap_or(left)));
        }
    }

    /// How long it is to last from now on: never less than what is left.
    pub(super) fn increment(&self, now: Mono) -> Duration {
        self.full.max(self.ends.map_or(Duration::ZERO, |ends| ends.since(now)))
    }

    /// Plans for a token of which so much is left; `renewable`: and renewing gives it more.
    fn plan(&mut self, began: Mono, ttl: Option<Duration>, renewable: bool, jitter: &mut Jitter) {
        self.ends = ttl.map(|ttl| began + ttl);
        (self.renew_at, self.login_at) = match ttl {
            None => (None, None),
            // The renewals from two thirds on may fail for a while; then there is still time to replace the leases.
            Some(ttl) if renewable => {
                (Some(began + part(ttl, 0.60, 0.70, jitter)), Some(began + part(ttl, 0.80, 0.85, jitter)))
            }
            Some(ttl) => (None, Some(began + part(ttl, 0.60, 0.70, jitter))),
        };
    }

    /// Whether it may be used once more. The last use ends a token, and its leases with it.
    pub(super) fn may_spend(&self, harmless: bool) -> bool {
        self.uses.is_none_or(|left| left >= 2 || (left == 1 && self.few && harmless))
    }

    pub(super) fn spent(&self) -> bool {
        self.uses.is_some_and(|left| left == 0 || (left == 1 && !self.few))
    }

    /// One use is sent.
    pub(super) const fn spend(&mut self) {
        if let Some(left) = &mut self.uses {
            *left = left.saturating_sub(1);
        }
    }
}
