//! One credential: what is in use, what was read and is not in use yet, and when it is read again.

use core::time::Duration;

use super::pace::{FLOOR, Hour, LONG, Retry, part};
use super::seam::{CredentialSpec, CredentialView, Event, Kind, LeaseKey, Value};
use crate::backoff::Jitter;
use crate::credential::Fault;
use crate::id::{CredentialId, Digest};
use crate::time::Mono;

/// A publication that is not answered is asked for again.
pub(super) const PUBLISHING: Duration = Duration::from_secs(3600);
/// The first wait after Vault's policy denies it; nothing changes that but people.
const DENIED: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) spec: CredentialSpec,
    /// What is in use.
    pub(super) current: Option<Good>,
    /// What was read and is not in use yet.
    pub(super) candidate: Option<Good>,
    pub(super) publishing: Option<Mono>,
    pub(super) publication: Retry,
    /// A read was sent then.
    pub(super) busy: Option<Mono>,
    /// It is read then, unless something holds it.
    pub(super) due: Mono,
    /// It was to be read by then, by the plan made when it was read last.
    planned: Mono,
    /// A person asked for it.
    pub(super) ordered: bool,
    pub(super) retry: Retry,
    pub(super) mints: Hour,
    pub(super) held_told: bool,
    /// A read that was sent then was denied, and it is not known yet whether for the token or by policy.
    pub(super) doubted: Option<Mono>,
    pub(super) fault: Option<Fault>,
    not_allowed_told: bool,
    missing_told: bool,
    stale_told: bool,
    kept: bool,
    changed: Option<Mono>,
    reads: (u64, u64),
}

/// A value that was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Good {
    pub(super) digest: Digest,
    version: Option<u64>,
    pub(super) lease: Option<LeaseKey>,
    /// When it was last read, or confirmed by a renewal.
    pub(super) read: Mono,
    /// When it ends without a lease.
    ends: Option<Mono>,
    warned: bool,
    ended: bool,
}

impl Good {
    pub(super) fn new(began: Mono, value: Value) -> Self {
        Self {
            digest: value.digest,
            version: value.version,
            lease: value.lease.map(|lease| lease.key),
            read: began,
            ends: value.ends_in.map(|left| began + left),
            warned: false,
            ended: false,
        }
    }
}

impl Kept {
    pub(super) const fn new(spec: CredentialSpec, now: Mono) -> Self {
        Self {
            spec,
            current: None,
            candidate: None,
            publishing: None,
            publication: Retry::new(),
            busy: None,
            due: now,
            planned: now,
            ordered: false,
            retry: Retry::new(),
            mints: Hour::new(),
            held_told: false,
            doubted: None,
            fault: None,
            not_allowed_told: false,
            missing_told: false,
            stale_told: false,
            kept: false,
            changed: None,
            reads: (0, 0),
        }
    }

    pub(super) fn newest(&self) -> Option<&Good> {
        self.candidate.as_ref().or(self.current.as_ref())
    }

    /// What the services use, as far as is known.
    pub(super) fn used(&self) -> Option<&Good> {
        self.current.as_ref().or(self.candidate.as_ref())
    }

    fn used_mut(&mut self) -> Option<&mut Good> {
        self.current.as_mut().or(self.candidate.as_mut())
    }

    fn newest_mut(&mut self) -> Option<&mut Good> {
        self.candidate.as_mut().or(self.current.as_mut())
    }

    /// Whether this lease belongs to a value that is in use, or will be.
    pub(super) fn needs(&self, lease: LeaseKey) -> bool {
        [&self.current, &self.candidate].into_iter().flatten().any(|good| good.lease == Some(lease))
    }

    pub(super) fn recall(&mut self, now: Mono, good: Good, in_place: bool) {
        self.kept = true;
        if in_place {
            self.current = Some(good);
        } else {
            self.candidate = Some(good);
            self.publication.until = now;
        }
    }

    /// When it is read by its own plan: nothing but time speaks for it. `changed`: the last read brought another value.
    pub(super) fn plan(&mut self, began: Mono, value: &Value, changed: bool, jitter: &mut Jitter) {
        let regular = part(self.spec.refresh, 0.9, 1.1, jitter);
        let wait = match (self.spec.kind, value.ends_in) {
            // Reading it mints nothing after all: Vault rotates it when its time is over.
            (Kind::Minted, Some(left)) if !changed => left + FLOOR,
            (Kind::Minted, Some(left)) => part(left, 0.70, 0.85, jitter),
            _ => regular,
        };
        self.read_by(began + wait.max(FLOOR));
    }

    /// It is to be read then.
    pub(super) const fn read_by(&mut self, at: Mono) {
        self.due = at;
        self.planned = at;
    }

    /// It is to be read then at the latest.
    pub(super) fn read_before(&mut self, at: Mono) {
        self.due = self.due.min(at);
    }

    /// A lease of its own ended then.
    pub(super) fn lost(&mut self, lease: LeaseKey, end: Mono) {
        for good in [&mut self.current, &mut self.candidate].into_iter().flatten() {
            if good.lease == Some(lease) {
                good.lease = None;
                good.ends = Some(end);
            }
        }
    }

    /// It was read. True: its value is another one than what is in use, or on its way.
    pub(super) fn read(&mut self, now: Mono, good: Good) -> bool {
        self.reads.0 += 1;
        self.fault = None;
        self.retry.clear();
        self.doubted = None;
        self.not_allowed_told = false;
        self.missing_told = false;
        self.stale_told = false;
        self.kept = false;
        if let Some(newest) = self.newest_mut()
            && newest.digest == good.digest
        {
            // The same value may come with another end or lease.
            let told = (newest.warned, newest.ended);
            *newest = good;
            if newest.ends.is_none_or(|ends| ends > now) {
                (newest.warned, newest.ended) = told;
            }
            return false;
        }
        self.candidate = Some(good);
        self.publishing = None;
        self.publication = Retry::new();
        true
    }

    /// A renewal of its lease shows that it is as good as when it was read.
    pub(super) fn confirm(&mut self, began: Mono, lease: LeaseKey) {
        self.kept = false;
        for good in [&mut self.current, &mut self.candidate].into_iter().flatten() {
            if good.lease == Some(lease) {
                good.read = began;
            }
        }
    }

    /// It was not read.
    pub(super) fn read_failed(&mut self, now: Mono, began: Mono, fault: Fault, jitter: &mut Jitter) -> Option<Event> {
        self.reads.1 += 1;
        self.fault = Some(fault);
        if self.spec.kind == Kind::Minted && !may_have_minted(fault) {
            self.mints.refund();
        }
        match fault {
            Fault::NotFound | Fault::Deleted => {
                // It is not an outage that passes: people are asked, and it is looked for at its usual pace.
                self.retry.clear();
                self.due = now + part(self.spec.refresh, 0.9, 1.1, jitter).max(FLOOR);
                let told = core::mem::replace(&mut self.missing_told, true);
                Some(Event::Missing { deleted: fault == Fault::Deleted }).filter(|_| !told)
            }
            Fault::Denied if self.spec.kind != Kind::Local => {
                self.doubted = Some(began);
                None
            }
            _ => {
                self.retry.fail(now, LONG, jitter);
                None
            }
        }
    }

    /// The token is well: a policy denies it. Waits of minutes, growing to its refresh.
    pub(super) fn not_allowed(&mut self, now: Mono, jitter: &mut Jitter) -> Option<Event> {
        self.doubted = None;
        self.retry.fail_from(DENIED, now, self.spec.refresh.max(LONG), jitter);
        let told = core::mem::replace(&mut self.not_allowed_told, true);
        Some(Event::NotAllowed).filter(|_| !told)
    }

    /// When it may be read, but for the session and the pace; none: it is being read, or waits for the token to be judged.
    pub(super) fn read_at(&self, now: Mono) -> Option<Mono> {
        if self.busy.is_some() || self.doubted.is_some() {
            return None;
        }
        Some(self.wanted_at().max(self.mint_from(now)))
    }

    /// Likewise, but for the cap of mints.
    pub(super) fn wanted_at(&self) -> Mono {
        if self.ordered { self.due } else { self.due.max(self.retry.until) }
    }

    /// When the cap of mints allows one; long ago where reading mints nothing.
    pub(super) fn mint_from(&self, now: Mono) -> Mono {
        match self.spec.kind {
            Kind::Minted => self.mints.free_at(now, self.spec.mints_per_hour),
            Kind::Local | Kind::Stored => Mono(i64::MIN),
        }
    }

    /// The digest that is to be published, and when.
    pub(super) fn publish_at(&self) -> Option<(Digest, Mono)> {
        let good = self.candidate.as_ref()?;
        Some((good.digest, self.publishing.map_or(self.publication.until, |since| since + PUBLISHING)))
    }

    /// True: what was read last is in use now.
    pub(super) fn published(&mut self, now: Mono, digest: Digest, ok: bool, jitter: &mut Jitter) -> bool {
        if self.candidate.is_none_or(|good| good.digest != digest) || self.publishing.is_none() {
            return false;
        }
        self.publishing = None;
        if !ok {
            self.publication.fail(now, LONG, jitter);
            return false;
        }
        self.publication.clear();
        if self.current.is_none_or(|good| good.digest != digest) {
            self.changed = Some(now);
        }
        self.current = self.candidate.take();
        true
    }

    /// When what the services use ends; `lease`: the end of its lease.
    pub(super) fn ends(&self, lease: Option<Mono>) -> Option<Mono> {
        let own = self.used().and_then(|good| good.ends);
        own.into_iter().chain(lease).min()
    }

    fn stale_at(&self) -> Option<Mono> {
        let good = self.newest()?;
        (self.spec.kind != Kind::Minted).then(|| good.read + self.spec.refresh * 2)
    }

    /// What people are to hear of its age; `ends`: when it ends.
    pub(super) fn age(&mut self, now: Mono, ends: Option<Mono>) -> Option<Event> {
        if self.stale_at().is_some_and(|at| at <= now) && !self.stale_told {
            self.stale_told = true;
            return self.newest().map(|good| Event::Stale { age: now.since(good.read) });
        }
        let ends = ends?;
        let warn = self.warn_at(ends);
        let good = self.used_mut()?;
        if ends <= now {
            let told = core::mem::replace(&mut good.ended, true);
            return Some(Event::Expired).filter(|_| !told);
        }
        if warn <= now {
            let told = core::mem::replace(&mut good.warned, true);
            return Some(Event::Expiring { ends }).filter(|_| !told);
        }
        None
    }

    /// Of what Iaso replaces by itself people hear only when that has not worked: later than its plan by a good part of what
    /// was left then.
    fn warn_at(&self, ends: Mono) -> Mono {
        let asked = ends - self.spec.warn_before;
        if self.spec.kind == Kind::Minted { asked.max(self.planned + ends.since(self.planned) / 3) } else { asked }
    }

    /// When [`Kept::age`] has something to say next.
    pub(super) fn age_at(&self, ends: Option<Mono>) -> Option<Mono> {
        let good = self.used()?;
        let stale = self.stale_at().filter(|_| !self.stale_told);
        let warn = ends.map(|ends| self.warn_at(ends)).filter(|_| !good.warned && !good.ended);
        stale.into_iter().chain(warn).chain(ends.filter(|_| !good.ended)).min()
    }

    /// Requests a second that it needs of Vault over time; `lease`: how long its lease lasts.
    pub(super) fn rate(&self, lease: Option<Duration>) -> f64 {
        match self.spec.kind {
            Kind::Local => 0.0,
            Kind::Stored => 1.0 / self.spec.refresh.max(FLOOR).as_secs_f64(),
            Kind::Minted => lease.map_or(0.0, |ttl| 1.5 / ttl.max(FLOOR).as_secs_f64()),
        }
    }

    pub(super) fn view(
        &self,
        credential: CredentialId,
        now: Mono,
        ends: Option<Mono>,
        waiting: bool,
    ) -> CredentialView {
        let used = self.current.as_ref();
        let held = self.mint_from(now);
        CredentialView {
            credential,
            tried: self.reads != (0, 0) || self.held_told || (waiting && self.spec.kind != Kind::Local),
            digest: used.map(|good| good.digest),
            version: used.and_then(|good| good.version),
            read: self.newest().map(|good| good.read),
            changed: self.changed,
            ends,
            kept: self.kept,
            publishing: self.candidate.is_some(),
            stale: self.stale_at().is_some_and(|at| at <= now) || ends.is_some_and(|ends| ends <= now),
            fault: self.fault,
            held_until: Some(held).filter(|&until| until > now && self.held_told),
            reads: self.reads,
        }
    }
}

/// Whether a new one may have been made although nothing came back.
const fn may_have_minted(fault: Fault) -> bool {
    matches!(fault, Fault::Ambiguous | Fault::Failing | Fault::Malformed)
}
