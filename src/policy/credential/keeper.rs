//! What keeps credentials fresh: when to log in, to read, to renew, to revoke, to publish and to warn, and when to wait.
//!
//! Facts go in with the moment they are about, tasks come out. There are two rules for what Vault denies and does not have: a
//! 403 is judged by one look at the token (it is dead, or its policy says no), and what is missing never takes the place of
//! what is in use. While Vault is unwell there is one question at a time, about the token, which makes nothing.

mod act;
mod kept;
mod lease;
mod pace;
mod seam;
mod session;
#[cfg(test)]
mod tests;
mod token;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use kept::{Good, Kept};
use lease::{Parent, Tracked};
use pace::{Pace, part};
pub use seam::{
    CredentialSpec, CredentialView, Event, Fact, Kind, Lease, LeaseKey, Recalled, SessionSpec, SessionView, Task,
    Token, Value,
};
pub use session::PATIENCE;
use session::Session;

use super::Fault;
use crate::backoff::Jitter;
use crate::id::CredentialId;
use crate::time::{Mono, Now};

/// What is due when Vault comes back is read within this time.
const CATCH_UP: Duration = Duration::from_secs(40);

/// Keeps credentials, and the session with Vault that they need, fresh.
#[derive(Debug)]
pub struct Keeper {
    now: Mono,
    jitter: Jitter,
    session: Session,
    credentials: BTreeMap<CredentialId, Kept>,
    leases: BTreeMap<LeaseKey, Tracked>,
    pace: Pace,
    /// Requests had to wait for the session, and people know.
    waited: bool,
    stopping: bool,
}

impl Keeper {
    /// One that keeps nothing yet. The same facts and seed give the same tasks.
    pub const fn new(spec: SessionSpec, seed: u64, now: Mono) -> Self {
        Self {
            now,
            jitter: Jitter::new(seed),
            session: Session::new(spec, now),
            credentials: BTreeMap::new(),
            leases: BTreeMap::new(),
            pace: Pace::new(now),
            waited: false,
            stopping: false,
        }
    }

    /// The session is configured anew.
    pub const fn set_session(&mut self, spec: SessionSpec) {
        self.session.spec = spec;
    }

    /// Takes in a fact and adds what is to be done to `out`. Each fact also does what [`Fact::Tick`] does.
    pub fn step(&mut self, now: Now, fact: Fact, out: &mut Vec<Task>) {
        self.now = self.now.max(now.mono);
        self.take(fact, out);
        self.pass(out);
        if !self.stopping {
            self.act(out);
        }
    }

    /// When the next [`Fact::Tick`] is needed; after a step it lies ahead. None: only a fact brings something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.stopping { None } else { self.deadline() }
    }

    /// How the session stands.
    pub fn session(&self, now: Mono) -> SessionView {
        self.session.view(now, self.needs_session())
    }

    /// How each credential stands, in the order of their numbers.
    pub fn credentials(&self, now: Mono) -> impl Iterator<Item = CredentialView> + '_ {
        let waiting = self.session.is_waiting();
        self.credentials.iter().map(move |(&id, kept)| kept.view(id, now, self.end_of(kept), waiting))
    }

    /// The logins (none) and the mints of the last hour. They are to be on disk before [`Task::Login`], or a minting
    /// [`Task::Read`], is carried out: the next run is told of them by [`Fact::Charged`].
    pub fn charges(&self, now: Mono) -> impl Iterator<Item = (Option<CredentialId>, Mono)> + '_ {
        let mints =
            self.credentials.iter().flat_map(move |(&id, kept)| kept.mints.still(now).map(move |at| (Some(id), at)));
        self.session.charges(now).map(|at| (None, at)).chain(mints)
    }

    /// Every lease that was got and has neither ended nor been revoked.
    pub fn leases(&self) -> impl Iterator<Item = LeaseKey> + '_ {
        self.leases.keys().copied()
    }

    fn take(&mut self, fact: Fact, out: &mut Vec<Task>) {
        let now = self.now;
        match fact {
            Fact::Tick => {}
            Fact::Define { credential, spec } => self.define(credential, spec),
            Fact::Forget { credential } => {
                self.credentials.remove(&credential);
                self.give_up_leases(credential);
            }
            Fact::Recalled { credential, recalled } => self.recall(credential, recalled),
            Fact::Leftover(lease) => {
                let tracked = Tracked::new(None, now, lease, Parent::Earlier(None), &mut self.jitter);
                self.leases.entry(lease.key).or_insert(tracked).give_up();
            }
            Fact::StillUsed { credential, lease, token_ends_in } => {
                let parent = Parent::Earlier(token_ends_in.map(|left| now + left));
                let mut tracked = Tracked::new(Some(credential), now, lease, parent, &mut self.jitter);
                tracked.still_used = true;
                tracked.recalled(now);
                self.leases.insert(lease.key, tracked);
            }
            Fact::Charged { credential: None, at } => self.session.charged(at),
            Fact::Charged { credential: Some(credential), at } => {
                if let Some(kept) = self.credentials.get_mut(&credential) {
                    kept.mints.charge(at);
                }
            }
            Fact::LoggedIn { began, token, same } => {
                self.session.logged_in(now, began, token, same, &mut self.jitter, out);
                if !same {
                    self.leave_token(self.session.before, false);
                }
            }
            Fact::LoginFailed { fault } => self.session.login_failed(now, fault, &mut self.jitter, out),
            Fact::TokenRenewed { began, token } => self.session.renewed(now, began, token, &mut self.jitter, out),
            Fact::TokenRenewFailed { fault } => self.session.renew_failed(now, fault, &mut self.jitter, out),
            Fact::TokenLookedUp { result } => {
                if self.session.looked_up(now, result, &mut self.jitter, out) {
                    self.leave_token(self.session.before, true);
                }
            }
            Fact::Read { credential, began, value } => self.read(credential, began, value, out),
            Fact::ReadFailed { credential, began, fault } => self.read_failed(credential, began, fault, out),
            Fact::LeaseRenewed { began, lease } => self.lease_renewed(began, lease, out),
            Fact::LeaseRenewFailed { lease, began, fault } => self.lease_renew_failed(lease, began, fault, out),
            Fact::Revoked { lease } => {
                if let Some(tracked) = self.leases.remove(&lease)
                    && let Some((_, since)) = tracked.busy
                {
                    self.session.proved(now, since, out);
                }
            }
            Fact::RevokeFailed { lease, fault } => self.revoke_failed(lease, fault, out),
            Fact::Published { credential, digest, ok } => self.published(credential, digest, ok, out),
            Fact::Refresh { credential } => {
                if let Some(kept) = self.credentials.get_mut(&credential) {
                    kept.due = now;
                    kept.ordered = true;
                    self.session.hasten(now, false);
                }
            }
            Fact::LoginChanged => self.session.hasten(now, true),
            Fact::Stopping => self.stopping = true,
        }
    }

    fn define(&mut self, credential: CredentialId, spec: CredentialSpec) {
        let now = self.now;
        let kept = self.credentials.entry(credential).or_insert_with(|| Kept::new(spec, now));
        if spec.kind != Kind::Minted {
            kept.read_before(now + spec.refresh);
        }
        kept.spec = spec;
    }

    fn recall(&mut self, credential: CredentialId, recalled: Recalled) {
        let now = self.now;
        let Some(kept) = self.credentials.get_mut(&credential).filter(|kept| kept.newest().is_none()) else { return };
        let Recalled { mut value, age, token_ends_in, in_place } = recalled;
        let began = now - age;
        if let Some(left) = value.ends_in {
            value.ends_in = Some(left + age);
        }
        if kept.spec.kind == Kind::Minted {
            kept.plan(began, &value, true, &mut self.jitter);
        }
        kept.recall(now, Good::new(began, value), in_place);
        if let Some(lease) = value.lease {
            let parent = Parent::Earlier(token_ends_in.map(|left| now + left));
            let whole = Lease { ttl: lease.ttl + age, ..lease };
            let mut tracked = Tracked::new(Some(credential), began, whole, parent, &mut self.jitter);
            kept.read_by(tracked.replace_at(began, &mut self.jitter));
            if let Some(left) = token_ends_in {
                kept.read_before(now + part(left, 0.5, 0.7, &mut self.jitter));
            }
            tracked.recalled(now);
            self.leases.insert(lease.key, tracked);
        }
    }

    fn read(&mut self, credential: CredentialId, began: Mono, value: Value, out: &mut Vec<Task>) {
        let now = self.now;
        let parent = self.parent_at(began);
        let tracked = value.lease.map(|lease| Tracked::new(Some(credential), began, lease, parent, &mut self.jitter));
        if let (Some(lease), Some(tracked)) = (value.lease, tracked) {
            self.leases.insert(lease.key, tracked);
        }
        let Some(kept) = self.credentials.get_mut(&credential) else { return self.give_up_leases(credential) };
        if kept.spec.kind != Kind::Local {
            self.session.proved(now, began, out);
        }
        let answers = kept.busy.take_if(|since| *since <= began).is_some();
        if !answers && kept.newest().is_some_and(|good| good.read >= began) {
            // Something newer took its place; what came with it is needed by nothing.
            if let Some(tracked) = value.lease.and_then(|lease| self.leases.get_mut(&lease.key)) {
                tracked.give_up();
            }
            return;
        }
        kept.ordered = false;
        let replaced = kept.candidate.and_then(|candidate| candidate.lease);
        let changed = kept.read(now, Good::new(began, value));
        // It may have been put to use where not everybody could be told.
        if let Some(tracked) = replaced.filter(|_| changed).and_then(|lease| self.leases.get_mut(&lease)) {
            tracked.still_used = true;
        }
        kept.plan(began, &value, changed, &mut self.jitter);
        if let Some(tracked) = value.lease.and_then(|lease| self.leases.get(&lease.key)) {
            kept.read_by(tracked.replace_at(began, &mut self.jitter));
            if let Parent::Earlier(Some(end)) = tracked.parent {
                kept.read_before(now + end.since(now) / 2);
            }
        }
        note(out, credential, Event::Read { changed });
    }

    fn read_failed(&mut self, credential: CredentialId, began: Mono, fault: Fault, out: &mut Vec<Task>) {
        let now = self.now;
        let Some(kept) = self.credentials.get_mut(&credential) else { return };
        if kept.busy.take_if(|since| *since <= began).is_none() {
            // It was given up.
            return;
        }
        kept.ordered = false;
        note(out, credential, Event::ReadFailed { fault });
        if let Some(event) = kept.read_failed(now, began, fault, &mut self.jitter) {
            note(out, credential, event);
        }
        if kept.spec.kind != Kind::Local {
            self.heard(now, began, fault, out);
        }
    }

    /// A request for a credential or a lease failed.
    fn heard(&mut self, now: Mono, began: Mono, fault: Fault, out: &mut Vec<Task>) {
        if fault.is_outage() {
            self.session.suspect(now, fault, false, &mut self.jitter, out);
        } else if matches!(fault, Fault::NotFound | Fault::Deleted) {
            self.session.proved(now, began, out);
        }
    }

    fn lease_renewed(&mut self, began: Mono, lease: Lease, out: &mut Vec<Task>) {
        let now = self.now;
        self.session.proved(now, began, out);
        let parent = self.parent_at(began);
        let Some(tracked) = self.leases.get_mut(&lease.key) else {
            // It was taken for ended, or was revoked meanwhile: something may still use it, so it lasts as long as it lasts.
            self.leases.insert(lease.key, Tracked::new(None, began, lease, parent, &mut self.jitter));
            return;
        };
        tracked.busy.take_if(|(errand, _)| *errand == lease::Errand::Renew);
        let whole = tracked.renewed(began, lease, &mut self.jitter);
        let Some(id) = tracked.credential else { return };
        let Some(kept) = self.credentials.get_mut(&id).filter(|kept| kept.needs(lease.key)) else { return };
        kept.confirm(began, lease.key);
        note(out, id, Event::LeaseRenewed);
        let newest = kept.newest().is_some_and(|good| good.lease == Some(lease.key));
        if newest && !kept.ordered {
            let by = if whole {
                tracked.replace_at(began, &mut self.jitter)
            } else {
                began + part(lease.ttl, 0.62, 0.70, &mut self.jitter).max(pace::FLOOR)
            };
            let before = kept.due;
            kept.read_by(by);
            if tracked.parent != Parent::Present {
                kept.read_before(before);
            }
        }
    }

    fn lease_renew_failed(&mut self, lease: LeaseKey, began: Mono, fault: Fault, out: &mut Vec<Task>) {
        let now = self.now;
        let Some(tracked) = self.leases.get_mut(&lease).filter(|tracked| tracked.busy.is_some()) else { return };
        tracked.failed(now, &mut self.jitter);
        if fault == Fault::Denied {
            tracked.doubted = Some(began);
        } else if !fault.is_outage() && !core::mem::replace(&mut tracked.told, true) {
            out.push(Task::Note { credential: tracked.credential, event: Event::LeaseNotRenewed { fault } });
        }
        self.heard(now, began, fault, out);
    }

    fn revoke_failed(&mut self, lease: LeaseKey, fault: Fault, out: &mut Vec<Task>) {
        let now = self.now;
        let Some(tracked) = self.leases.get_mut(&lease).filter(|tracked| tracked.busy.is_some()) else { return };
        tracked.failed(now, &mut self.jitter);
        if !fault.is_outage() && !core::mem::replace(&mut tracked.told, true) {
            out.push(Task::Note { credential: tracked.credential, event: Event::LeaseNotRevoked { fault } });
        }
        self.heard(now, now, fault, out);
    }

    fn published(&mut self, credential: CredentialId, digest: crate::id::Digest, ok: bool, out: &mut Vec<Task>) {
        let now = self.now;
        let Some(kept) = self.credentials.get_mut(&credential) else { return };
        let done = kept.published(now, digest, ok, &mut self.jitter);
        if !done {
            if !ok && kept.publication.streak == 1 {
                note(out, credential, Event::PublishFailed);
            }
            return;
        }
        note(out, credential, Event::Published);
        // Only now does nothing use the leases of earlier values any more.
        for (key, tracked) in &mut self.leases {
            if tracked.credential == Some(credential) && !kept.needs(*key) {
                tracked.give_up();
            }
        }
    }

    fn give_up_leases(&mut self, credential: CredentialId) {
        for tracked in self.leases.values_mut().filter(|tracked| tracked.credential == Some(credential)) {
            tracked.give_up();
        }
    }

    /// Which token a lease that was asked for then ends with.
    fn parent_at(&self, began: Mono) -> Parent {
        match &self.session.token {
            Some(token) if token.since <= began => Parent::Present,
            _ => Parent::Earlier(self.session.before),
        }
    }

    /// Leases end with the token that they were asked for with: they are replaced under the new one before.
    fn leave_token(&mut self, end: Option<Mono>, lost: bool) {
        let now = self.now;
        let mut left = 0;
        for (key, tracked) in self.leases.iter_mut().filter(|(_, tracked)| tracked.parent == Parent::Present) {
            tracked.parent = Parent::Earlier(end);
            let kept = tracked.credential.and_then(|id| self.credentials.get_mut(&id));
            if let Some(kept) = kept.filter(|kept| kept.needs(*key) && (lost || end.is_some())) {
                kept.read_before(now);
                left += 1;
            }
        }
        if left > 0 {
            let within = end.map_or(CATCH_UP, |end| (end.since(now) / 4).min(CATCH_UP)).max(pace::FLOOR);
            self.pace.hurry(now, left, within);
        }
    }

    fn needs_session(&self) -> bool {
        !self.leases.is_empty() || self.credentials.values().any(|kept| kept.spec.kind != Kind::Local)
    }

    /// When what the services use ends.
    fn end_of(&self, kept: &Kept) -> Option<Mono> {
        let lease = kept.used().and_then(|good| good.lease).and_then(|key| self.leases.get(&key));
        kept.ends(lease.map(|tracked| tracked.end(self.session.end())))
    }
}

fn note(out: &mut Vec<Task>, credential: CredentialId, event: Event) {
    out.push(Task::Note { credential: Some(credential), event });
}
