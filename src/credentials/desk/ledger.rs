//! The ledger: logins, mints and leases are on disk before anything comes of them, so that a run that is killed at any moment
//! and started again spends no more than one that was not, and loses no lease.

use futures_util::FutureExt;
use iaso_policy::Now;
use iaso_policy::credential::Fault;
use iaso_policy::credential::keeper::{Fact, Kind, Lease, LeaseKey, PATIENCE, Task};
use iaso_policy::id::CredentialId;
use std::collections::BTreeSet;
use std::time::Duration;

use super::holding::LeaseRecord;
use super::perform::Answer;
use super::{Desk, Done, files, left, spec_of};
use crate::credentials::kept::KeptLease;
use crate::credentials::kept::ledger::{Ledger, Lent};
use crate::credentials::provider::Failure;

/// So many living leases of one credential at most: more are only made by failures, and each must be given back first.
pub(super) const MOST_LEASES: usize = 16;
/// A lease of an earlier run is given back even if it should have ended, for so long: its last renewal may be on no record.
const AT_LEAST: Duration = Duration::from_secs(3600);
const HOUR: Duration = Duration::from_secs(3600);

/// What waits for the ledger to be on disk; the words say why it is not.
pub(super) type Then = Box<dyn FnOnce(&mut Desk, Result<(), String>) + Send>;

impl Desk {
    /// Reads what earlier runs wrote. Until that is possible, nothing is recorded, and so nothing is made.
    pub(super) fn open_ledger(&mut self) {
        match self.means.ledger.load(self.ports.clock.now().wall) {
            Ok(read) => self.take_ledger(read),
            Err(error) => self.writing.ledger_unread(&error),
        }
    }

    /// Like [`Desk::open_ledger`], for one that could not be read at once.
    pub(super) fn take_late_ledger(&mut self, read: (Ledger, Option<String>)) {
        self.take_ledger(read);
        for id in self.holdings.keys().copied().collect::<Vec<_>>() {
            if self.ports.observe && self.mints(id) {
                continue;
            }
            self.recall_charges(id);
            self.recall_leases(id);
        }
    }

    fn take_ledger(&mut self, (mut ledger, words): (Ledger, Option<String>)) {
        if let Some(words) = words {
            tracing::error!("{words}");
        }
        let now = self.ports.clock.now();
        for at in std::mem::take(&mut ledger.logins) {
            self.step(Fact::Charged { credential: None, at: now.place(at) });
        }
        for holding in self.holdings.values_mut() {
            let rejected = ledger.rejected.remove(&*holding.spec.name);
            if !holding.judged {
                holding.rejected = rejected;
            }
        }
        self.earlier = ledger;
    }

    /// What was minted in the last hour counts.
    pub(super) fn recall_charges(&mut self, id: CredentialId) {
        let now = self.ports.clock.now();
        for at in self.earlier.mints.remove(&*self.holdings[&id].spec.name).unwrap_or_default() {
            self.step(Fact::Charged { credential: Some(id), at: now.place(at) });
        }
    }

    /// Leases that belong to nothing that was recalled are given back: at once, where the files hold a value that is known, or
    /// an earlier run knew that nothing uses them; otherwise something may use them until there is a new one.
    pub(super) fn recall_leases(&mut self, id: CredentialId) {
        let now = self.ports.clock.now();
        let holding = &self.holdings[&id];
        let Some(leases) = self.earlier.leases.remove(&*holding.spec.name) else { return };
        let known = [&holding.fresh, &holding.current];
        let in_files = known.iter().copied().flatten().any(|value| files::is_rendered(&holding.spec, &value.entry));
        for Lent { lease, surplus } in leases {
            if self.leases.values().any(|record| record.credential == id && record.lease.id == lease.id) {
                continue;
            }
            if !in_files && !surplus {
                self.leave_over(id, lease);
            } else {
                let ttl = left(now, lease.ends.0).max(AT_LEAST);
                let lease = self.track(id, lease, ttl);
                self.step(Fact::Leftover(lease));
            }
        }
    }

    /// Keeps a lease of an earlier run that something may still use.
    pub(super) fn leave_over(&mut self, credential: CredentialId, lease: KeptLease) {
        let now = self.ports.clock.now();
        let (ttl, token) = (left(now, lease.ends.0), lease.token_ends);
        let lease = self.track(credential, lease, ttl.max(AT_LEAST));
        if let Some(holding) = self.holdings.get_mut(&credential) {
            holding.left_over.push(lease);
        }
        // What should have ended is only given back.
        if ttl > Duration::ZERO {
            let (lease, token_ends_in) = (Lease { ttl, ..lease }, token.map(|ends| left(now, ends.0)));
            self.step(Fact::StillUsed { credential, lease, token_ends_in });
        }
    }

    /// Gives a lease a number by which the keeper knows it.
    pub(super) fn track(&mut self, credential: CredentialId, lease: KeptLease, ttl: Duration) -> Lease {
        let (key, renewable) = (LeaseKey(self.next_number()), lease.renewable);
        self.leases.insert(key, LeaseRecord { credential, lease, told: false, surplus: false });
        Lease { key, ttl, renewable }
    }

    /// The keeper learns of a lease by this fact.
    pub(super) fn mark_told(&mut self, fact: &Fact) {
        let lease = match fact {
            Fact::Read { value, .. } => value.lease,
            Fact::Recalled { recalled, .. } => recalled.value.lease,
            Fact::Leftover(lease) | Fact::StillUsed { lease, .. } => Some(*lease),
            _ => None,
        };
        if let Some(record) = lease.and_then(|lease| self.leases.get_mut(&lease.key)) {
            record.told = true;
            record.surplus = matches!(fact, Fact::Leftover(_));
        }
    }

    /// A lease is no more.
    pub(super) fn forget_lease(&mut self, lease: LeaseKey) {
        if self.leases.remove(&lease).is_some() {
            self.record(None);
        }
    }

    /// Lets go of leases that have ended.
    fn drop_ended(&mut self) {
        let (living, now) = (self.keeper.leases().collect::<BTreeSet<_>>(), self.ports.clock.now().wall);
        self.leases.retain(|key, record| if record.told { living.contains(key) } else { record.lease.ends > now });
        for leases in self.earlier.leases.values_mut() {
            leases.retain(|lent| lent.lease.ends > now);
        }
    }

    /// What the ledger is to hold now.
    pub(super) fn ledger(&mut self) -> Ledger {
        self.drop_ended();
        let now = self.ports.clock.now();
        // What is said of credentials that are not configured now, or not kept under --observe, stays as it is.
        let mut ledger = self.earlier.clone();
        for minted in ledger.mints.values_mut() {
            minted.retain(|at: &Now| now.mono.since(now.place(*at)) < HOUR);
        }
        let name = |id: CredentialId| self.holdings[&id].spec.name.to_string();
        for (credential, at) in self.keeper.charges(now.mono) {
            match credential {
                None if self.means.login_makes => ledger.logins.push(now.at(at)),
                None => {}
                Some(id) => ledger.mints.entry(name(id)).or_default().push(now.at(at)),
            }
        }
        for record in self.leases.values() {
            ledger
                .leases
                .entry(name(record.credential))
                .or_default()
                .push(Lent { lease: record.lease.clone(), surplus: record.surplus });
        }
        for holding in self.holdings.values() {
            ledger.rejected.extend(holding.rejected.map(|digest| (holding.spec.name.to_string(), digest)));
        }
        ledger.mints.retain(|_, minted| !minted.is_empty());
        ledger.leases.retain(|_, leases| !leases.is_empty());
        ledger
    }

    /// A login counts before it is sent, where it makes a token.
    pub(super) fn log_in(&mut self) {
        if !self.means.login_makes {
            return self.ask_session(Task::Login);
        }
        self.record(Some(Box::new(|desk, recorded| match recorded {
            _ if desk.stopping => {}
            Ok(()) => desk.ask_session(Task::Login),
            Err(why) => desk.session_told(Task::Login, desk.ports.clock.mono(), Err(unrecorded(&why))),
        })));
    }

    /// Whether reading a credential makes a new one.
    pub(super) fn mints(&self, credential: CredentialId) -> bool {
        self.holdings.get(&credential).is_some_and(|holding| spec_of(&holding.spec).kind == Kind::Minted)
    }

    /// What is made counts before it is asked for, and there must be room for its lease.
    pub(super) fn mint(&mut self, credential: CredentialId) {
        self.drop_ended();
        let wall = self.ports.clock.now().wall;
        let living = |record: &&LeaseRecord| record.credential == credential && record.lease.ends > wall;
        if self.leases.values().filter(living).count() >= MOST_LEASES {
            let words = format!("{MOST_LEASES} leases of it wait to be given back: nothing new is made before");
            return self.not_made(credential, Failure { fault: Fault::Unrecorded, words });
        }
        let began = self.ports.clock.mono();
        self.record(Some(Box::new(move |desk, recorded| match recorded {
            _ if desk.stopping => {}
            // The disk took so long that the keeper has given this one up, and may have asked for another.
            Ok(()) if desk.ports.clock.mono() >= began + PATIENCE => {}
            Ok(()) => desk.read(credential),
            Err(why) => desk.not_made(credential, unrecorded(&why)),
        })));
    }

    fn not_made(&mut self, credential: CredentialId, failure: Failure) {
        let now = self.ports.clock.now();
        let (began, at, took) = (now.mono, now.wall, Duration::ZERO);
        let answer = Answer::Read { credential, began, at, took, read: Err(failure) };
        self.jobs.push(async move { Done::Answered(answer) }.boxed());
    }

    /// Tells the keeper what was read. A lease is on disk before; where it cannot be, it is given back instead.
    pub(super) fn tell_read(&mut self, credential: CredentialId, fact: Fact) {
        let Fact::Read { began, value, .. } = fact else { return };
        let Some(lease) = value.lease else { return self.step(fact) };
        self.record(Some(Box::new(move |desk, recorded| match recorded {
            Ok(()) => desk.keep_fresh(credential, fact),
            Err(why) => {
                if let Some(holding) = desk.holdings.get_mut(&credential) {
                    holding.words = Some(format!("its lease could not be written down, so it is given back: {why}"));
                }
                desk.step(Fact::Leftover(lease));
                // It was made, and counts.
                desk.step(Fact::ReadFailed { credential, began, fault: Fault::Malformed });
            }
        })));
    }
}

fn unrecorded(why: &str) -> Failure {
    let words = format!("not asked, since it could not be written down first: {why}");
    Failure { fault: Fault::Unrecorded, words }
}
