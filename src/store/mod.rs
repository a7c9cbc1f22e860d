//! What Iaso remembers across restarts: charges, attempts, incidents, proofs and the timeline, in one SQLite file.
//!
//! A charge is handed to the operating system before its future resolves; a commit never waits for the disk. Durable
//! records are never dropped: while the file cannot be written they wait in order and are tried again. Everything else is
//! history, which a full disk or a full queue costs first. Without any file the store runs from memory, and says so.

pub mod flight;
pub mod memory;

mod history;
mod open;
mod read;
mod rows;
mod schema;
mod shared;
mod sync;
mod writer;

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use iaso_policy::id::{Identity, IncidentId};
use iaso_policy::memory::Restored;
use iaso_policy::record::{Ending, Event};
use iaso_policy::{Now, Record};
use tokio::sync::watch;

use crate::system::clock::Clock;
use memory::Double;
use shared::Shared;

/// The store. Clones share it; when the last is dropped without [`Store::close`], the next start counts as unclean.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    File(Arc<writer::Threads>),
    Memory(Arc<Double>),
}

/// Whether the store takes writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// The newest write succeeded.
    pub up: bool,
    /// Since when it is so.
    pub since: Now,
    /// What is wrong, or was found wrong at the start.
    pub message: Option<String>,
}

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A write or a read failed; durable records are tried again.
    #[error("the store failed: {0}")]
    Failed(String),
    /// There is no file: everything is in memory alone.
    #[error("the store runs from memory: {0}")]
    MemoryOnly(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Too many reads wait already.
    #[error("the store is busy with other reads")]
    Busy,
}

/// A record of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in the order of decisions.
    pub id: i64,
    /// About whom.
    pub identity: Identity,
    /// When.
    pub now: Now,
    /// Within which outage.
    pub incident: Option<IncidentId>,
    /// What.
    pub event: Event,
}

/// An outage, open or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIncident {
    /// Its id.
    pub id: IncidentId,
    /// Whose.
    pub identity: Identity,
    /// When it opened.
    pub opened: Now,
    /// What was wrong then.
    pub trouble: iaso_policy::action::Trouble,
    /// Automatic attempts begun within it.
    pub attempts: u32,
    /// Attempts that ended without healing.
    pub failed: u32,
    /// When and how it closed; none while it goes on.
    pub closed: Option<(Now, Ending)>,
    /// The newest outage of something that it needs that it is, or was, part of.
    pub root: Option<IncidentId>,
}

impl Store {
    /// Opens `dir/iaso.db`, or makes it. Never fails: a damaged file is moved aside, and where no file can be written, or
    /// a newer iaso wrote it, the store runs from memory; [`Store::status`] and a warning say so. Blocks while it reads.
    pub fn open(dir: &Path, clock: Clock) -> (Self, Restored) {
        match Self::open_file(dir, clock) {
            Ok(opened) => opened,
            Err(message) => {
                tracing::warn!(%message, "the store runs from memory");
                let shared = Arc::new(Shared::new(clock, Some(message.clone())));
                let backend = Backend::Memory(Arc::new(Double::without_file(Arc::clone(&shared), message)));
                let restored =
                    Restored { store_up: false, intact: false, clean: false, last: None, services: Vec::new() };
                (Self { shared, backend }, restored)
            }
        }
    }

    fn open_file(dir: &Path, clock: Clock) -> Result<(Self, Restored), String> {
        let opened = open::open(dir, clock.now().wall).map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared::new(clock, None));
        if let Some(message) = &opened.damaged {
            tracing::error!(%message, "the store begins anew");
            shared.remark(message.clone());
        }
        let mut restored = Restored {
            store_up: true,
            intact: opened.damaged.is_none(),
            clean: opened.loaded.clean && opened.damaged.is_none(),
            last: opened.loaded.last,
            services: opened.loaded.services.values().cloned().collect(),
        };
        let threads = writer::Threads::start(&open::file(dir), opened, &shared)
            .map_err(|error: io::Error| format!("{}: {error}", open::file(dir).display()))?;
        restored.store_up = shared.status().borrow().up;
        Ok((Self { shared, backend: Backend::File(Arc::new(threads)) }, restored))
    }

    /// A store without a file, for the simulator and for tests: it works like one with a file until it is told not to.
    pub fn in_memory(clock: Clock) -> (Self, Arc<Double>) {
        let shared = Arc::new(Shared::new(clock, None));
        let double = Arc::new(Double::working(Arc::clone(&shared)));
        (Self { shared, backend: Backend::Memory(Arc::clone(&double)) }, double)
    }

    /// Keeps a record that an operation waits for. It is queued at once, in order with [`Store::keep`]; the future resolves
    /// when its commit was handed to the operating system, and may be dropped: then the store counts as down until a write
    /// succeeds, and the record is still written.
    ///
    /// # Errors
    /// When this write failed, there is no file, or the store is closed.
    pub fn charge(
        &self,
        identity: &Identity,
        record: &Record,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let waiting = match &self.backend {
            Backend::File(threads) => threads.charge(identity, record),
            Backend::Memory(double) => double.charge(identity, record),
        };
        waiting.wait(Arc::clone(&self.shared))
    }

    /// Keeps a record behind the caller's back; never blocks. Durable records wait for as long as it takes, others are
    /// dropped and counted when too many wait.
    pub fn keep(&self, identity: &Identity, record: &Record) {
        match &self.backend {
            Backend::File(threads) => threads.keep(identity, record),
            Backend::Memory(double) => double.keep(identity, record),
        }
    }

    /// Whether writes succeed, now and from now on.
    pub fn status(&self) -> watch::Receiver<StoreStatus> {
        self.shared.status()
    }

    /// Records that are not durable and were dropped, since the start.
    pub fn history_dropped(&self) -> u64 {
        self.shared.dropped()
    }

    /// Writes what is queued, marks the end as orderly, and brings everything to the disk. Later records are dropped. Takes
    /// as long as the disk does: the caller bounds it. When durable records could not be written, the end is not orderly.
    pub async fn close(&self) {
        match &self.backend {
            Backend::File(threads) => threads.close().await,
            Backend::Memory(double) => double.close(),
        }
    }

    /// The newest `limit` records about an identity, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read, or too many reads wait.
    pub async fn timeline(&self, identity: &Identity, limit: usize) -> Result<Vec<StoredRecord>, StoreError> {
        match &self.backend {
            Backend::File(threads) => {
                let identity = identity.clone();
                threads.read(move |connection| read::timeline(connection, &identity, limit)).await
            }
            Backend::Memory(double) => Ok(double.ledger().timeline(identity, limit)),
        }
    }

    /// An outage and its records, oldest first; none when there is no such outage (any more).
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub async fn incident(&self, id: IncidentId) -> Result<Option<(StoredIncident, Vec<StoredRecord>)>, StoreError> {
        match &self.backend {
            Backend::File(threads) => threads.read(move |connection| read::incident(connection, id)).await,
            Backend::Memory(double) => Ok(double.ledger().incident(id)),
        }
    }

    /// The newest `limit` outages, newest first.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub async fn incidents(&self, limit: usize) -> Result<Vec<StoredIncident>, StoreError> {
        match &self.backend {
            Backend::File(threads) => threads.read(move |connection| read::incidents(connection, limit)).await,
            Backend::Memory(double) => Ok(double.ledger().incidents(limit)),
        }
    }

    /// The outages that are, or were, part of this one, in the order in which they began.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub async fn incidents_within(&self, root: IncidentId) -> Result<Vec<StoredIncident>, StoreError> {
        match &self.backend {
            Backend::File(threads) => threads.read(move |connection| read::incidents_within(connection, root)).await,
            Backend::Memory(double) => Ok(double.ledger().incidents_within(root)),
        }
    }
}
