//! How credentials stand: published by `credentials/`, read by metrics, `/health`, the API and the command line. Never a value.

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::Now;

use super::ComponentStatus;

/// Every credential and the session with Vault, at one moment.
#[derive(Debug, Clone, Default)]
pub struct CredentialsPicture {
    /// Vault, where a credential is read from it.
    pub vault: Option<VaultStatus>,
    /// Every credential, by name. Consecutive pictures share those that stand as before.
    pub credentials: Vec<Arc<CredentialStatus>>,
    /// Each credential was tried once.
    pub tried: bool,
}

/// The session with Vault.
#[derive(Debug, Clone)]
pub struct VaultStatus {
    /// It answers and lets Iaso in.
    pub link: ComponentStatus,
    /// When its token ends, on Iaso's wall clock in milliseconds; none: it has none, or one that never ends.
    pub token_ends: Option<i64>,
}

/// One credential.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The word under `type`.
    pub kind: &'static str,
    /// It is there, and as fresh as it should be.
    pub component: ComponentStatus,
    /// The version that is in use, where its source counts versions.
    pub version: Option<u64>,
    /// When it was last read, on Iaso's wall clock in milliseconds; none: never.
    pub fetched: Option<i64>,
    /// When its value last changed, likewise.
    pub changed: Option<i64>,
    /// When it ends, likewise; none: never, as far as is known.
    pub expires: Option<i64>,
    /// What is in use comes from the last run of Iaso, and the source has not confirmed it yet.
    pub kept: bool,
    /// The services that use it.
    pub services: Vec<Arc<str>>,
    /// The files it is rendered into.
    pub files: Vec<String>,
    /// What an operator should know, such as a mount that hides a changed file.
    pub advice: Vec<String>,
    /// Where its rotation stands; none: it has none.
    pub rotation: Option<RotationStatus>,
    /// Reads that brought something, and that did not, in this run.
    pub reads: (u64, u64),
    /// Every operation so far by its word (`refresh`, `render`, `rotation`) and whether it went well, and the time they took.
    pub operations: Vec<OperationCount>,
}

/// The upper bounds of the buckets that operations' durations are counted in, in seconds; those of every other operation.
pub const OPERATION_BOUNDS: [f64; 5] = [1.0, 5.0, 15.0, 60.0, 300.0];

/// How often something was done.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationCount {
    /// `refresh`, `render`, `rotation`.
    pub operation: &'static str,
    /// It went well.
    pub ok: bool,
    /// How often.
    pub count: u64,
    /// How long they took together.
    pub took: Duration,
    /// How many took at most as long as the bound of the same place says.
    pub within: [u64; OPERATION_BOUNDS.len()],
}

impl OperationCount {
    /// It was not done yet.
    pub fn none(operation: &'static str, ok: bool) -> Self {
        Self { operation, ok, count: 0, took: Duration::ZERO, within: [0; OPERATION_BOUNDS.len()] }
    }

    /// It was done once more.
    pub fn add(&mut self, took: Duration) {
        self.count += 1;
        self.took += took;
        for (within, bound) in self.within.iter_mut().zip(OPERATION_BOUNDS) {
            *within += u64::from(took.as_secs_f64() <= bound);
        }
    }
}

/// Where a rotation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationStatus {
    /// The word of its step; `idle` between rotations.
    pub step: &'static str,
    /// Since when.
    pub since: Now,
    /// When the next one is due, on Iaso's wall clock in milliseconds; none: by command alone.
    pub next: Option<i64>,
    /// Why the one under way waits, or how the last one ended; none: there was none.
    pub last: Option<String>,
    /// It has stopped and needs a person.
    pub needs_a_person: bool,
}
