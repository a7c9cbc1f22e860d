//! What outlives a run: last good values.
//!
//! Two entries a credential: the value in use, under its name, and one that was read and is not in use yet (`NAME~next`).

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

use futures_util::FutureExt;
use iaso_policy::credential::keeper::{Fact, LeaseKey, Recalled, Value as Known};
use iaso_policy::id::{CredentialId, Digest};

use super::holding::{Value, entry};
use super::ledger::Then;
use super::{Desk, Done, files, left};
use crate::config::validated::TargetFile;
use crate::credentials::kept::ledger::{Ledger, Lent};
use crate::credentials::kept::{Entry, Kept, KeptError, Loaded};
use crate::credentials::rotation::InUse;

/// What is to be written, in order and beside the desk: a disk that hangs keeps nobody from reading secrets. The ledger goes
/// first, and once for all who wait for it.
#[derive(Default)]
pub(super) struct Writing {
    waiting: VecDeque<Write>,
    busy: bool,
    /// The ledger is to be written, for these.
    recording: Option<Vec<Then>>,
    /// The ledger could not be read yet: it must not be written over.
    unread: bool,
    /// It was told that values, or the ledger, cannot be written.
    told: [bool; 2],
}

type Change = Box<dyn FnOnce(&Kept) -> Result<(), KeptError> + Send>;

/// One change of what is kept of a credential, and the fact that waits for it.
struct Write {
    credential: CredentialId,
    op: Change,
    then: Option<Fact>,
}

/// What came of writing.
pub(super) enum Written {
    Value {
        credential: CredentialId,
        then: Option<Fact>,
        done: Result<(), String>,
    },
    Ledger {
        then: Vec<Then>,
        done: Result<(), String>,
    },
    /// It was read at last, or not.
    LedgerRead(Result<(Ledger, Option<String>), String>),
}

impl Writing {
    pub(super) fn ledger_unread(&mut self, error: &KeptError) {
        self.unread = true;
        self.tell(1, Some(&error.to_string()));
    }

    /// One warning when it begins, one line when it is over.
    fn tell(&mut self, which: usize, wrong: Option<&str>) {
        let before = std::mem::replace(&mut self.told[which], wrong.is_some());
        match (wrong, which) {
            (Some(why), 0) if !before => {
                tracing::warn!("last good values are not kept, and a start without Vault would not have them: {why}");
            }
            (Some(why), _) if !before => {
                tracing::warn!("nothing new is made, and no login, until it is written down: {why}");
            }
            (None, 0) if before => tracing::info!("last good values are kept again"),
            (None, _) if before => tracing::info!("logins and leases are written down again"),
            _ => {}
        }
    }
}

impl Desk {
    /// Tells the keeper what was kept of a credential, and puts it back where it is missing.
    pub(super) fn recall(&mut self, id: CredentialId) {
        let Some(kept) = self.means.kept.clone() else { return };
        let (now, holding) = (self.ports.clock.now(), &self.holdings[&id]);
        let name = Arc::clone(&holding.spec.name);
        // The end that a renewal gave a lease may be in the ledger alone.
        let lent = self.earlier.leases.get(&*name).map_or(&[][..], Vec::as_slice);
        let newest = |mut entry: Entry| {
            if let Some(lease) = &mut entry.lease {
                let renewed = lent.iter().map(|lent| &lent.lease).find(|known| known.id == lease.id);
                if let Some(renewed) = renewed.filter(|renewed| renewed.ends > lease.ends) {
                    *lease = renewed.clone();
                }
            }
            entry
        };
        let load = |entry: &str| match kept.load(entry, now.wall) {
            Ok(Loaded::Entry(entry)) => Some(newest(entry)),
            Ok(Loaded::Nothing) => None,
            Ok(Loaded::PutAside { words }) => {
                tracing::warn!(credential = %name, "{words}");
                None
            }
            Err(error) => {
                tracing::warn!(credential = %name, %error, "what was kept cannot be read");
                None
            }
        };
        let next = load(&holding.next());
        // A rotation that was under way knows better what is in use.
        let current = match self.rotations.in_use(&name) {
            _ if self.rotations.is_unread(&name) => load(&name),
            Some(InUse { version, fields: Some(fields) }) => Some(entry(fields.clone(), Some(version), None, now.wall)),
            Some(InUse { fields: None, .. }) => None,
            None => load(&name),
        };
        // A run that ended while it wrote down that a value is in use left it under both names.
        let is_current = |next: &Entry| {
            let lease = |entry: &Entry| entry.lease.as_ref().map(|lease| lease.id.clone());
            current.as_ref().is_some_and(|current| current.fields == next.fields && lease(current) == lease(next))
        };
        let is_both = next.as_ref().is_some_and(is_current);
        let next = next.filter(|_| !is_both);
        // A run that ended while it put a value to use left it in the files, and those who use it with either.
        let is_begun = next.as_ref().is_some_and(|next| files::is_rendered(&holding.spec, next));
        // What the files hold instead of it could not be kept by the last run: nobody knows it, and there must be a new one.
        let is_known = |entry: &Entry| entry.lease.is_none() || !files::is_elsewhere(&holding.spec, entry);
        let current = current.filter(|entry| is_begun || is_known(entry));
        let (begun, unused) = if is_begun { (next, None) } else { (None, next) };
        if let Some(lease) = unused.and_then(|unused| unused.lease) {
            // Services may use it where the files hold it in another shape: it goes the way of what the ledger knows.
            let surplus = !self.holdings[&id].spec.files.iter().any(|file| file.path.exists());
            let lent = self.earlier.leases.entry(name.to_string()).or_default();
            match lent.iter_mut().find(|known| known.lease.id == lease.id) {
                Some(known) => known.surplus |= surplus,
                None => lent.push(Lent { lease, surplus }),
            }
        }
        if is_both {
            let next = self.holdings[&id].next();
            self.write(id, None, move |kept| kept.remove(&next));
        }
        match (begun, current) {
            (Some(begun), current) => self.recall_begun(id, begun, current),
            (None, Some(current)) => self.recall_value(id, current),
            (None, None) => {}
        }
    }

    /// Goes on with a value that was on its way; the one before keeps its lease until that has arrived.
    fn recall_begun(&mut self, id: CredentialId, begun: Entry, current: Option<Entry>) {
        let before = current.map(|entry| Value { digest: self.means.sealer.digest(&entry.fields), entry });
        if let Some(lease) = before.as_ref().and_then(|before| before.entry.lease.clone()) {
            self.leave_over(id, lease);
        }
        let (digest, recalled) = self.recalled(id, &begun, false);
        let Some(holding) = self.holdings.get_mut(&id) else { return };
        holding.current = before;
        holding.fresh = Some(Value { digest, entry: begun });
        self.step(Fact::Recalled { credential: id, recalled });
    }

    fn recalled(&mut self, id: CredentialId, entry: &Entry, in_place: bool) -> (Digest, Recalled) {
        let now = self.ports.clock.now();
        let digest = self.means.sealer.digest(&entry.fields);
        let ends_in = entry.not_after.map(|seconds| left(now, seconds.saturating_mul(1000)));
        let lease = entry.lease.clone().map(|lease| {
            let ttl = left(now, lease.ends.0);
            self.track(id, lease, ttl)
        });
        let token_ends_in = entry.lease.as_ref().and_then(|lease| lease.token_ends).map(|ends| left(now, ends.0));
        let age = left(iaso_policy::Now { wall: entry.fetched, ..now }, now.wall.0);
        let value = Known { digest, version: entry.version, lease, ends_in };
        (digest, Recalled { value, age, token_ends_in, in_place })
    }

    fn recall_value(&mut self, id: CredentialId, entry: Entry) {
        let (digest, recalled) = self.recalled(id, &entry, true);
        let Some(holding) = self.holdings.get_mut(&id) else { return };
        holding.current = Some(Value { digest, entry });
        if !self.ports.observe {
            self.fill_in(id);
        }
        self.step(Fact::Recalled { credential: id, recalled });
    }

    /// Makes files that are missing, as after a boot where they live in memory. What is there stays, and nobody is told: it may be
    /// newer than what was kept, and the source is asked soon.
    fn fill_in(&mut self, id: CredentialId) {
        let Some(holding) = self.holdings.get(&id) else { return };
        let Some(value) = holding.current.clone() else { return };
        let missing = |file: &TargetFile| matches!(file.path.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound);
        let rendered = files::render_some(&holding.spec, &value, missing);
        for words in &rendered.failed {
            tracing::warn!(credential = %holding.spec.name, "{words}");
        }
        self.tell_rendered(id, &value, &rendered);
    }

    /// Changes what is kept, after everything that was asked before; then the fact is told, whether that went well or not.
    fn write(
        &mut self,
        credential: CredentialId,
        then: Option<Fact>,
        op: impl FnOnce(&Kept) -> Result<(), KeptError> + Send + 'static,
    ) {
        if self.means.kept.is_none() {
            // Nothing is kept.
            return then.into_iter().for_each(|fact| self.step(fact));
        }
        self.writing.waiting.push_back(Write { credential, op: Box::new(op), then });
        self.write_next();
    }

    /// Writes the ledger as it is then, and goes on with `then`.
    pub(super) fn record(&mut self, then: Option<Then>) {
        self.writing.recording.get_or_insert_default().extend(then);
        self.write_next();
    }

    fn write_next(&mut self) {
        if self.writing.busy {
            return;
        }
        let job = if self.writing.recording.is_some() && self.writing.unread {
            let (file, wall) = (self.means.ledger.clone(), self.ports.clock.now().wall);
            let job = async move { Written::LedgerRead(beside(move || file.load(wall)).await) };
            job.boxed()
        } else if let Some(then) = self.writing.recording.take() {
            let (file, ledger) = (self.means.ledger.clone(), self.ledger());
            async move { Written::Ledger { then, done: beside(move || file.save(&ledger)).await } }.boxed()
        } else {
            let Some(kept) = self.means.kept.clone() else { return };
            let Some(Write { credential, op, then }) = self.writing.waiting.pop_front() else { return };
            async move { Written::Value { credential, then, done: beside(move || op(&kept)).await } }.boxed()
        };
        self.writing.busy = true;
        self.jobs.push(job.map(Done::Written).boxed());
    }

    pub(super) fn written(&mut self, written: Written) {
        self.writing.busy = false;
        match written {
            Written::Value { credential, then, done } => {
                let wrong = done.err();
                self.writing.tell(0, wrong.as_deref());
                if let Some(holding) = self.holdings.get_mut(&credential) {
                    holding.unkept =
                        wrong.map(|why| format!("in use, but a start without its source would not have it: {why}"));
                }
                self.write_next();
                then.into_iter().for_each(|fact| self.step(fact));
            }
            Written::Ledger { then, done } => {
                self.writing.tell(1, done.as_ref().err().map(String::as_str));
                self.write_next();
                then.into_iter().for_each(|then| then(self, done.clone()));
            }
            Written::LedgerRead(Ok(read)) => {
                self.writing.unread = false;
                self.take_late_ledger(read);
                self.write_next();
            }
            Written::LedgerRead(Err(why)) => {
                let then = self.writing.recording.take().unwrap_or_default();
                self.write_next();
                then.into_iter().for_each(|then| then(self, Err(why.clone())));
            }
        }
        self.changed();
    }

    /// Writes down a value that was just read, and then tells of it.
    pub(super) fn keep_fresh(&mut self, id: CredentialId, fact: Fact) {
        let Some(holding) = self.holdings.get(&id) else { return };
        let Some(fresh) = &holding.fresh else { return self.step(fact) };
        let (name, entry) = (holding.next(), fresh.entry.clone());
        self.write(id, Some(fact), move |kept| kept.save(&name, &entry));
    }

    /// Writes down what is in use now.
    pub(super) fn keep_current(&mut self, id: CredentialId) {
        let Some(holding) = self.holdings.get(&id) else { return };
        let Some(current) = &holding.current else { return };
        let (name, next, entry) = (holding.spec.name.to_string(), holding.next(), current.entry.clone());
        // A newer one that is on its way stays.
        let is_newest = holding.fresh.is_none();
        self.write(id, None, move |kept| {
            kept.save(&name, &entry)?;
            if is_newest { kept.remove(&next) } else { Ok(()) }
        });
    }

    /// Likewise, where that could not be done.
    pub(super) fn keep_again(&mut self, id: CredentialId) {
        if self.holdings.get(&id).is_some_and(|holding| holding.unkept.is_some()) {
            self.keep_current(id);
        }
    }

    /// Writes down a lease's new end.
    pub(super) fn keep_lease(&mut self, lease: LeaseKey) {
        let Some(record) = self.leases.get(&lease) else { return };
        let (id, renewed) = (record.credential, record.lease.clone());
        self.record(None);
        let Some(current) = self.holdings.get_mut(&id).and_then(|holding| holding.current.as_mut()) else { return };
        if current.entry.lease.as_ref().is_some_and(|known| known.id == renewed.id) {
            current.entry.lease = Some(renewed);
            self.keep_current(id);
        }
    }
}

/// Does what blocks on the disk; why not, in words.
async fn beside<T: Send + 'static>(op: impl FnOnce() -> Result<T, KeptError> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(op).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panicked) => Err(panicked.to_string()),
    }
}
