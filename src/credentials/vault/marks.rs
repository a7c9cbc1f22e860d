//! The marks that Iaso leaves beside a secret's versions, in its custom metadata: which version is in use, and which is stored but
//! not published yet, since a rotation has still to tell the service that checks it.
//!
//! What they say of the newest version, and so what a reader takes for the value:
//! - No mark, or `pending` is another version: the newest is in use. So whatever is written after the pending version ends its
//!   wait: the old data that a rotation puts back, or a person's.
//! - `pending` is the newest: `current` is in use, until that changes, however long it takes. Where `current` is no older
//!   version, or cannot be read (pruned, deleted, destroyed), there is no value: the read fails, and what was read before
//!   stays. The pending one never takes its place.
//! - `pending` is not the newest, and `current` is neither: a person has written it, or a rotation a moment ago and its mark is on
//!   its way. After [`SETTLED`] it is looked at once more, and then counts as a person's.
//! - Marks of which `managed-by` does not say that they are Iaso's count as none.
//!
//! A rotation of a secret without marks marks the version in use before it stores the next, so that no reader takes that one in
//! the moment before its own mark.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso_policy::credential::rotation::Mark;

const MANAGED_BY: &str = "managed-by";
const OWNER: &str = "iaso";
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
const PENDING: &str = "pending";

/// A rotation marks what it has stored sooner than this.
pub(super) const SETTLED: Duration = Duration::from_secs(1);

/// Iaso's marks beside a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    current: Option<u64>,
    previous: Option<u64>,
    pending: Option<u64>,
}

impl Marks {
    /// Reads them out of a secret's custom metadata.
    pub fn of(custom: &BTreeMap<String, String>) -> Self {
        if custom.get(MANAGED_BY).is_none_or(|owner| owner != OWNER) {
            return Self::default();
        }
        let number = |key: &str| custom.get(key).and_then(|number| number.parse().ok());
        Self { current: number(CURRENT), previous: number(PREVIOUS), pending: number(PENDING) }
    }

    /// The changes of the custom metadata that set them; no `previous` leaves the one that is there.
    pub fn changes(current: u64, previous: Option<u64>, pending: Option<u64>) -> BTreeMap<String, Option<String>> {
        let mut changes = BTreeMap::from([
            (MANAGED_BY.to_owned(), Some(OWNER.to_owned())),
            (CURRENT.to_owned(), Some(current.to_string())),
            (PENDING.to_owned(), pending.map(|pending| pending.to_string())),
        ]);
        changes.extend(previous.map(|previous| (PREVIOUS.to_owned(), Some(previous.to_string()))));
        changes
    }

    /// What they say of the newest version.
    pub fn mark(self, newest: u64) -> Mark {
        match self.current {
            _ if self.pending == Some(newest) => Mark::Pending,
            Some(current) if current != newest => Mark::Behind,
            _ => Mark::Current,
        }
    }

    /// There is a mark that names the version in use.
    pub const fn say_what_is_in_use(self) -> bool {
        self.current.is_some()
    }

    /// The version in use while `pending` is not published; none: there is none.
    pub(super) fn in_use_before(self, pending: u64) -> Option<u64> {
        self.current.filter(|current| (1..pending).contains(current))
    }

    /// The version that was in use before the one that is.
    pub const fn previous(self) -> Option<u64> {
        self.previous
    }
}
