//! One lease: how long it lasts, when it is renewed, and when it is revoked.

use core::time::Duration;

use super::pace::{FLOOR, LONG, Retry, part};
use super::seam::Lease;
use super::session::PATIENCE;
use crate::backoff::Jitter;
use crate::id::CredentialId;
use crate::time::Mono;

/// Which token a lease ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// The present one.
    Present,
    /// One that is not renewed any more; none: it never ends.
    Earlier(Option<Mono>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errand {
    Renew,
    Revoke,
}

#[derive(Debug)]
pub(super) struct Tracked {
    /// Whose it is; none: left over from the last run.
    pub(super) credential: Option<CredentialId>,
    /// By itself; its token may end sooner.
    own_end: Mono,
    /// The longest it was given.
    full: Duration,
    pub(super) parent: Parent,
    /// Renewing it gives it more time.
    renewable: bool,
    renew_at: Mono,
    pub(super) busy: Option<(Errand, Mono)>,
    pub(super) retry: Retry,
    /// Something may still use it, though what is newest of its credential came without it.
    pub(super) still_used: bool,
    /// Nothing needs it any more: it is revoked.
    surplus: bool,
    /// A renewal that was sent then was denied.
    pub(super) doubted: Option<Mono>,
    /// That it is not renewed, or not revoked, was told.
    pub(super) told: bool,
}

impl Tracked {
    pub(super) fn new(
        credential: Option<CredentialId>,
        began: Mono,
        lease: Lease,
        parent: Parent,
        jitter: &mut Jitter,
    ) -> Self {
        Self {
            credential,
            own_end: began + lease.ttl,
            full: lease.ttl,
            parent,
            renewable: lease.renewable,
            renew_at: began + part(lease.ttl, 0.62, 0.70, jitter),
            busy: None,
            retry: Retry::new(),
            still_used: false,
            surplus: false,
            doubted: None,
            told: false,
        }
    }

    /// When it ends, by itself or with its token; `token` is the end of the present one.
    pub(super) fn end(&self, token: Option<Mono>) -> Mono {
        let with = match self.parent {
            Parent::Present => token,
            Parent::Earlier(end) => end,
        };
        with.map_or(self.own_end, |end| end.min(self.own_end))
    }

    /// When its credential is to be read anew, to have something else before it ends.
    pub(super) fn replace_at(&self, began: Mono, jitter: &mut Jitter) -> Mono {
        let left = self.own_end.since(began);
        // The renewals from two thirds on may fail for a while before that.
        let (low, high) = if self.renewable { (0.82, 0.88) } else { (0.85, 0.95) };
        began + part(left, low, high, jitter).max(FLOOR)
    }

    /// It was renewed. True: it has got as much as was asked for.
    pub(super) fn renewed(&mut self, began: Mono, lease: Lease, jitter: &mut Jitter) -> bool {
        let capped = lease.ttl + FLOOR < self.full;
        self.own_end = began + lease.ttl;
        self.full = self.full.max(lease.ttl);
        self.renewable = lease.renewable && !capped;
        self.renew_at = began + part(lease.ttl, 0.62, 0.70, jitter);
        self.retry.clear();
        self.doubted = None;
        self.told = false;
        !capped
    }

    /// It is from the last run: whether it is still good is asked at once.
    pub(super) const fn recalled(&mut self, now: Mono) {
        self.renew_at = now;
    }

    /// Nothing needs it any more.
    pub(super) fn give_up(&mut self) {
        self.still_used = false;
        if !self.surplus {
            self.surplus = true;
            self.told = false;
            self.retry.clear();
        }
    }

    /// How long it lasts at the longest.
    pub(super) const fn full(&self) -> Duration {
        self.full
    }

    /// How long it is to last from now on: never less than what is left.
    pub(super) fn increment(&self, now: Mono) -> Duration {
        self.full.max(self.own_end.since(now))
    }

    pub(super) fn failed(&mut self, now: Mono, jitter: &mut Jitter) {
        self.busy = None;
        self.retry.fail(now, LONG, jitter);
    }

    /// Renewing is denied to the token by its policy.
    pub(super) const fn stop_renewing(&mut self) {
        self.renewable = false;
        self.doubted = None;
    }

    /// What is to be done next, and when.
    pub(super) fn next(&self, token: Option<Mono>) -> Option<(Errand, Mono)> {
        if self.busy.is_some() {
            None
        } else if self.surplus {
            Some((Errand::Revoke, self.retry.until))
        } else if self.renewable && self.doubted.is_none() {
            Some((Errand::Renew, self.renew_at.max(self.retry.until))).filter(|&(_, at)| at < self.end(token))
        } else {
            None
        }
    }

    /// When its answer is given up, or it ends.
    pub(super) fn passes(&self, token: Option<Mono>) -> Mono {
        self.busy.map_or_else(|| self.end(token), |(_, since)| since + PATIENCE)
    }
}
