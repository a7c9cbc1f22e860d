//! What is held of one credential.

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::credential::keeper::Lease;
use iaso_policy::id::{CredentialId, Digest, RolloutId};
use iaso_policy::time::{Mono, Now, Wall};

use super::left::Left;
use super::publish::Publishing;
use crate::config::validated::Credential;
use crate::credentials::kept::{Entry, KeptLease};
use crate::credentials::provider::Fields;
use crate::snapshot::OperationCount;

/// One credential.
pub(super) struct Holding {
    pub(super) spec: Arc<Credential>,
    /// What is in use.
    pub(super) current: Option<Value>,
    /// What was in use before: some may still use it while a rotation is under way.
    pub(super) before: Option<Value>,
    /// What was read and is not in use yet.
    pub(super) fresh: Option<Value>,
    /// The rollout of a rotation's value, until it is settled or undone.
    pub(super) rollout: Option<RolloutId>,
    /// When a rotation last put a value to use: what was asked for before may be one that it has replaced.
    pub(super) rotated: Option<Mono>,
    /// A rotation's value that waits until the one on its way has arrived.
    pub(super) for_rotation: Option<Value>,
    /// Its files were seen to hold what is in use, in this run.
    pub(super) checked: bool,
    /// Leases of earlier runs that something may still use: given back when everything uses a value of this run.
    pub(super) left_over: Vec<Lease>,
    /// A value on its way.
    pub(super) publishing: Option<Publishing>,
    /// The keeper asked for this value while a rotation had the credential in hand.
    pub(super) put_off: Option<Digest>,
    /// Services that run were left alone with this value: everybody else uses it.
    pub(super) left: Option<Left>,
    /// What uses it did not become healthy with this value: it is not tried again until there is another, or a person asks.
    pub(super) rejected: Option<Digest>,
    /// This run, or a person in it, has decided what is rejected: what an earlier run wrote of it counts no more.
    pub(super) judged: bool,
    /// Why the last call about it failed, in words.
    pub(super) words: Option<String>,
    /// Why it could not be put to use, in words.
    pub(super) unpublished: Option<String>,
    /// Why what is in use is not on disk, in words.
    pub(super) unkept: Option<String>,
    /// What an operator should know.
    pub(super) advice: Vec<String>,
    pub(super) counts: Vec<OperationCount>,
    /// Whether it was well in the newest picture, and since when it is so.
    pub(super) well: (bool, Now),
}

/// A value of a credential.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) digest: Digest,
    pub(super) entry: Entry,
}

/// A lease that Iaso has to look after.
#[derive(Debug, Clone)]
pub(super) struct LeaseRecord {
    pub(super) credential: CredentialId,
    pub(super) lease: KeptLease,
    /// The keeper knows it: when it is over the keeper says so.
    pub(super) told: bool,
    /// Nothing uses it: it is given back.
    pub(super) surplus: bool,
}

impl Holding {
    pub(super) fn new(spec: Arc<Credential>, now: Now) -> Self {
        Self {
            spec,
            current: None,
            before: None,
            fresh: None,
            rollout: None,
            rotated: None,
            for_rotation: None,
            checked: false,
            left_over: Vec::new(),
            publishing: None,
            put_off: None,
            left: None,
            rejected: None,
            judged: false,
            words: None,
            unpublished: None,
            unkept: None,
            advice: Vec::new(),
            counts: Vec::new(),
            well: (false, now),
        }
    }

    /// The value of this digest.
    pub(super) fn value(&self, digest: Digest) -> Option<&Value> {
        [&self.fresh, &self.current].into_iter().flatten().find(|value| value.digest == digest)
    }

    /// Nothing is rejected any more; whether anything was.
    pub(super) fn forgive(&mut self) -> bool {
        self.judged = true;
        self.rejected.take().is_some()
    }

    /// Counts something that was done.
    pub(super) fn count(&mut self, operation: &'static str, ok: bool, took: Duration) {
        let place = self.counts.iter().position(|count| count.operation == operation && count.ok == ok);
        let place = place.unwrap_or_else(|| {
            self.counts.push(OperationCount::none(operation, ok));
            self.counts.len() - 1
        });
        self.counts[place].add(took);
    }

    /// The name under which a value is kept that is not in use yet.
    pub(super) fn next(&self) -> String {
        // No credential's name has this character in it.
        format!("{}~next", self.spec.name)
    }
}

/// A value as it is kept on disk.
pub(super) fn entry(fields: Fields, version: Option<u64>, not_after: Option<i64>, at: Wall) -> Entry {
    Entry { fields, version, lease: None, not_after, fetched: at, changed: at }
}
