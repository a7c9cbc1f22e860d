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

use iaso_policy::id::{Identity, IncidentId, ServiceId};
use iaso_policy::memory::Restored;
use iaso_policy::record::Event;
use iaso_policy::{Now, Record};
use tokio::sync::watch;

use crate::config::validated::History;
use crate::incidents::{Account, Evidence, Outage, Page, Wanted};
use crate::system::clock::Clock;
use memory::Double;
use shared::Shared;

/// How many ids are told that begin alike.
const IDS: usize = 5;

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

impl StoredRecord {
    /// The record. The number of the service was its run's own and means nothing to a reader.
    pub const fn record(&self) -> Record {
        Record { now: self.now, service: ServiceId(0), incident: self.incident, event: self.event }
    }
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

    /// Keeps a piece of evidence behind the caller's back, in the place of an earlier one about the same decision; never blocks.
    /// It is the first to be dropped when too much waits or the disk is full.
    pub fn keep_evidence(&self, piece: Evidence) {
        match &self.backend {
            Backend::File(threads) => threads.keep_evidence(piece),
            Backend::Memory(double) => double.keep_evidence(piece),
        }
    }

    /// How long, and how much, history is kept from now on. A store without a file keeps a number of each.
    pub fn retain(&self, retention: History) {
        if let Backend::File(threads) = &self.backend {
            threads.retain(retention);
        }
    }

    /// Ends a little of what is too old, if anything is; that happens beside writes too, but there may be none for long.
    pub fn prune(&self) {
        if let Backend::File(threads) = &self.backend {
            threads.prune();
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

    /// The outages that are asked for, newest first, and those that are part of them.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub async fn outages(&self, wanted: Wanted) -> Result<Page, StoreError> {
        match &self.backend {
            Backend::File(threads) => threads.read(move |connection| read::outages(connection, &wanted)).await,
            Backend::Memory(double) => Ok(double.ledger().outages(&wanted)),
        }
    }

    /// The ids of outages that begin with these digits, a few at most.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub async fn outage_ids(&self, digits: &str) -> Result<Vec<IncidentId>, StoreError> {
        match &self.backend {
            Backend::File(threads) => {
                let digits = digits.to_owned();
                threads.read(move |connection| read::ids(connection, &digits, IDS)).await
            }
            Backend::Memory(double) => Ok(double.ledger().outage_ids(digits, IDS)),
        }
    }

    /// Everyone who was in an outage that is still known.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub async fn identities_with_outages(&self) -> Result<Vec<Identity>, StoreError> {
        match &self.backend {
            Backend::File(threads) => threads.read(read::identities).await,
            Backend::Memory(double) => Ok(double.ledger().identities_with_outages()),
        }
    }

    /// An outage and all that is kept of it; none when there is no such outage (any more).
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub async fn account(&self, id: IncidentId) -> Result<Option<Account>, StoreError> {
        match &self.backend {
            Backend::File(threads) => threads.read(move |connection| read::account(connection, id)).await,
            Backend::Memory(double) => Ok(double.ledger().account(id)),
        }
    }

    /// The outages that are, or were, part of this one, in the order in which they began.
    ///
    /// # Errors
    /// As [`Store::timeline`].
    pub async fn incidents_within(&self, root: IncidentId) -> Result<Vec<Outage>, StoreError> {
        match &self.backend {
            Backend::File(threads) => threads.read(move |connection| read::incidents_within(connection, root)).await,
            Backend::Memory(double) => Ok(double.ledger().incidents_within(root)),
        }
    }
}
