//! What time brings: answers that do not come, ends, verdicts, and what is due and may be sent.

use alloc::vec::Vec;

use super::kept::Kept;
use super::lease::{self, Parent};
use super::pace::SHORT;
use super::seam::{Event, Kind, LeaseKey, Task};
use super::session::PATIENCE;
use super::{CATCH_UP, Keeper, note};
use crate::credential::Fault;
use crate::id::CredentialId;
use crate::time::Mono;

/// A request to Vault for a credential or a lease.
#[derive(Debug, Clone, Copy)]
enum Request {
    Read(CredentialId),
    Lease(LeaseKey, lease::Errand),
}

impl Keeper {
    /// What happens by time alone.
    pub(super) fn pass(&mut self, out: &mut Vec<Task>) {
        if self.session.pass(self.now, &mut self.jitter, out) {
            self.leave_token(self.session.before, true);
        }
        self.give_up_answers(out);
        self.end_leases(out);
        self.judge(out);
    }

    fn give_up_answers(&mut self, out: &mut Vec<Task>) {
        let now = self.now;
        let late = |since: Option<Mono>| since.filter(|&since| since + PATIENCE <= now);
        let reads: Vec<_> =
            self.credentials.iter().filter_map(|(&id, kept)| late(kept.busy).map(|since| (id, since))).collect();
        for (id, since) in reads {
            self.read_failed(id, since, Fault::Ambiguous, out);
        }
        let busy = |tracked: &lease::Tracked| late(tracked.busy.map(|(_, since)| since));
        let leases: Vec<_> =
            self.leases.iter().filter_map(|(&key, tracked)| busy(tracked).map(|since| (key, since))).collect();
        for (key, since) in leases {
            self.lease_renew_failed(key, since, Fault::Ambiguous, out);
        }
    }

    fn end_leases(&mut self, out: &mut Vec<Task>) {
        let (now, token) = (self.now, self.session.end());
        let ended: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, tracked)| tracked.busy.is_none() && tracked.end(token) <= now)
            .map(|(&key, tracked)| (key, tracked.credential, tracked.end(token)))
            .collect();
        for (key, credential, end) in ended {
            self.leases.remove(&key);
            let Some(id) = credential else { continue };
            let Some(kept) = self.credentials.get_mut(&id).filter(|kept| kept.needs(key)) else { continue };
            if kept.newest().is_some_and(|good| good.lease == Some(key)) {
                kept.read_before(now);
                note(out, id, Event::LeaseLost);
            }
            kept.lost(key, end);
        }
    }

    /// What was denied is judged as soon as it is known whether the token is good.
    fn judge(&mut self, out: &mut Vec<Task>) {
        let now = self.now;
        for (&id, kept) in &mut self.credentials {
            match kept.doubted.map(|denied| self.session.is_good_since(denied)) {
                Some(Some(true)) => {
                    if let Some(event) = kept.not_allowed(now, &mut self.jitter) {
                        note(out, id, event);
                    }
                }
                // It was another token: it is tried with the new one.
                Some(None) => {
                    kept.doubted = None;
                    kept.read_before(now);
                }
                Some(Some(false)) | None => {}
            }
        }
        for tracked in self.leases.values_mut() {
            match tracked.doubted.map(|denied| self.session.is_good_since(denied)) {
                Some(Some(true)) => {
                    tracked.stop_renewing();
                    let event = Event::LeaseNotRenewed { fault: Fault::Denied };
                    out.push(Task::Note { credential: tracked.credential, event });
                }
                Some(None) => tracked.doubted = None,
                Some(Some(false)) | None => {}
            }
        }
    }

    fn is_doubted(&self) -> bool {
        self.credentials.values().any(|kept| kept.doubted.is_some())
            || self.leases.values().any(|tracked| tracked.doubted.is_some())
    }

    /// Whether requests for credentials may be sent.
    fn is_open(&self) -> bool {
        self.session.is_open() && !self.is_doubted()
    }

    /// Sends what is due and may be sent.
    pub(super) fn act(&mut self, out: &mut Vec<Task>) {
        let now = self.now;
        self.publish(out);
        self.read_local(out);
        self.catch_up();
        if self.is_open() {
            self.tell_holds(out);
            while let Some((request, ordered, at)) = self.first_request()
                && at <= now
                && (ordered || self.pace.next <= now)
            {
                self.send(request, out);
            }
        }
        // Last, since what was sent may have left the token with too few uses.
        if self.needs_session() {
            self.session.act(now, self.is_doubted(), out);
        }
        for (&id, kept) in &mut self.credentials {
            let lease = kept.used().and_then(|good| good.lease).and_then(|key| self.leases.get(&key));
            let ends = kept.ends(lease.map(|tracked| tracked.end(self.session.end())));
            while let Some(event) = kept.age(now, ends) {
                note(out, id, event);
            }
        }
    }

    fn publish(&mut self, out: &mut Vec<Task>) {
        for (&credential, kept) in &mut self.credentials {
            if let Some((digest, at)) = kept.publish_at()
                && at <= self.now
            {
                kept.publishing = Some(self.now);
                out.push(Task::Publish { credential, digest });
            }
        }
    }

    fn read_local(&mut self, out: &mut Vec<Task>) {
        let now = self.now;
        for (&credential, kept) in self.credentials.iter_mut().filter(|(_, kept)| kept.spec.kind == Kind::Local) {
            if kept.read_at(now).is_some_and(|at| at <= now) {
                kept.busy = Some(now);
                out.push(Task::Read { credential });
            }
        }
    }

    /// What has waited for Vault is read within a time of its return, evenly.
    fn catch_up(&mut self) {
        let now = self.now;
        if !self.is_open() {
            self.waited |= self.session.is_waiting();
            return;
        }
        if !core::mem::take(&mut self.waited) {
            return;
        }
        let soon = now + CATCH_UP;
        let mut requests = 0;
        for kept in self.credentials.values_mut().filter(|kept| kept.spec.kind != Kind::Local) {
            if kept.fault.is_some_and(Fault::is_outage) {
                kept.retry.until = kept.retry.until.min(now + SHORT);
            }
            requests += usize::from(kept.read_at(now).is_some_and(|at| at <= soon));
        }
        let token = self.session.end();
        requests += self.leases.values().filter(|t| t.next(token).is_some_and(|(_, at)| at <= soon)).count();
        self.pace.hurry(now, requests, CATCH_UP);
    }

    fn tell_holds(&mut self, out: &mut Vec<Task>) {
        let now = self.now;
        for (&id, kept) in &mut self.credentials {
            let until = kept.mint_from(now);
            if until > now && !kept.held_told && kept.read_at(now).is_some() && kept.wanted_at() <= now {
                kept.held_told = true;
                note(out, id, Event::MintsHeld { until });
            }
        }
    }

    /// Whether the token may be used for it: the last use of one that may be used a few times only ends its leases too.
    fn may_spend(&self, harmless: bool) -> bool {
        let alone = || !self.leases.values().any(|tracked| tracked.parent == Parent::Present);
        self.session.token.as_ref().is_some_and(|token| token.may_spend(harmless && alone()))
    }

    /// The request that goes next, whether a person waits for it, and when it is due.
    fn first_request(&self) -> Option<(Request, bool, Mono)> {
        let token = self.session.end();
        let (any, harmless) = (self.may_spend(false), self.may_spend(true));
        let reads = self.credentials.iter().filter_map(|(&id, kept)| {
            let allowed = match kept.spec.kind {
                Kind::Local => false,
                Kind::Stored => harmless,
                Kind::Minted => any,
            };
            kept.read_at(self.now).filter(|_| allowed).map(|at| (Request::Read(id), kept.ordered, at))
        });
        let leases = self.leases.iter().filter(|_| any).filter_map(|(&key, tracked)| {
            let (errand, at) = tracked.next(token)?;
            let needed =
                errand == lease::Errand::Revoke || tracked.still_used || self.is_needed(key, tracked.credential);
            needed.then_some((Request::Lease(key, errand), false, at))
        });
        // Where the hour's mints are used up a person waits like everybody else.
        reads.chain(leases).min_by_key(|&(_, ordered, at)| (!(ordered && at <= self.now), at))
    }

    fn is_needed(&self, lease: LeaseKey, credential: Option<CredentialId>) -> bool {
        credential.and_then(|id| self.credentials.get(&id)).is_some_and(|kept| kept.needs(lease))
    }

    fn send(&mut self, request: Request, out: &mut Vec<Task>) {
        let now = self.now;
        match request {
            Request::Read(credential) => {
                let Some(kept) = self.credentials.get_mut(&credential) else { return };
                kept.busy = Some(now);
                if kept.spec.kind == Kind::Minted {
                    kept.mints.charge(now);
                    kept.held_told = false;
                }
                out.push(Task::Read { credential });
            }
            Request::Lease(key, errand) => {
                let Some(tracked) = self.leases.get_mut(&key) else { return };
                tracked.busy = Some((errand, now));
                out.push(match errand {
                    lease::Errand::Renew => Task::RenewLease { lease: key, increment: tracked.increment(now) },
                    lease::Errand::Revoke => Task::Revoke { lease: key },
                });
            }
        }
        if let Some(token) = &mut self.session.token {
            token.spend();
        }
        let mean = self.credentials.values().map(|kept| kept.rate(self.lease_of(kept))).sum();
        self.pace.sent(now, mean);
    }

    fn lease_of(&self, kept: &Kept) -> Option<core::time::Duration> {
        let lease = kept.newest().and_then(|good| good.lease).and_then(|key| self.leases.get(&key));
        lease.map(lease::Tracked::full)
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let (now, token) = (self.now, self.session.end());
        let mut next = Vec::new();
        if self.needs_session() {
            next.extend(self.session.deadline(now, self.is_doubted()));
        }
        next.extend(token);
        let open = self.is_open();
        if open {
            next.extend(self.first_request().map(|(_, _, at)| at.max(self.pace.next)));
        }
        for kept in self.credentials.values() {
            next.extend(kept.busy.map(|since| since + PATIENCE));
            next.extend(kept.publish_at().map(|(_, at)| at));
            next.extend(kept.age_at(self.end_of(kept)));
            if kept.spec.kind == Kind::Local {
                next.extend(kept.read_at(now));
            } else if open && !kept.held_told && kept.mint_from(now) > now && kept.read_at(now).is_some() {
                next.push(kept.wanted_at());
            }
        }
        next.extend(self.leases.values().map(|tracked| tracked.passes(token)));
        next.into_iter().min()
    }
}
