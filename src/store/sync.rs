//! The thread that waits for the disk, so that no commit has to: it syncs the log within a second of a write, and moves a
//! long log into the file.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;
use std::{io, thread};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::open;
use super::shared::Shared;

/// From the first write to the sync: several writes share one.
const DELAY: Duration = Duration::from_millis(300);
/// Rows written since the last checkpoint that ask for one.
const CHECKPOINT_ROWS: usize = 1000;

/// The handle to the thread.
#[derive(Debug, Clone)]
pub(super) struct Sync {
    jobs: Sender<Job>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The thread knows that there is something to sync.
    told: AtomicBool,
    /// Rows written since the last checkpoint.
    rows: AtomicUsize,
}

#[derive(Debug)]
enum Job {
    Written,
    Close(oneshot::Sender<()>),
}

pub(super) fn start(path: &Path, connection: Connection, shared: Arc<Shared>) -> io::Result<Sync> {
    // SQLite takes no locks on the log, so that closing this handle releases none.
    let log = File::open(open::with_suffix(path, "-wal"))?;
    let (jobs, receiver) = mpsc::channel();
    let state = Arc::new(State::default());
    let worker = Worker { log, connection, shared, state: Arc::clone(&state) };
    thread::Builder::new().name("store-sync".to_owned()).spawn(move || worker.run(&receiver))?;
    Ok(Sync { jobs, state })
}

impl Sync {
    /// That many rows were committed.
    pub(super) fn written(&self, rows: usize) {
        self.state.rows.fetch_add(rows, Ordering::Relaxed);
        if !self.state.told.swap(true, Ordering::AcqRel) {
            // An error means that the store was closed.
            let _ = self.jobs.send(Job::Written);
        }
    }

    pub(super) async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).is_ok() {
            // An error means that the thread is gone already.
            let _ = wait.await;
        }
    }
}

struct Worker {
    log: File,
    connection: Connection,
    shared: Arc<Shared>,
    state: Arc<State>,
}

impl Worker {
    fn run(self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let job = match job {
                Job::Written => jobs.recv_timeout(DELAY),
                close @ Job::Close(_) => Ok(close),
            };
            match job {
                Ok(Job::Close(done)) => {
                    if let Err(error) = checkpoint(&self.connection, "TRUNCATE") {
                        tracing::warn!(%error, "the store's log was not moved into its file");
                    }
                    // Whoever asked may have stopped waiting.
                    let _ = done.send(());
                    return;
                }
                Ok(Job::Written) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.sync(),
            }
        }
    }

    fn sync(&self) {
        self.state.told.store(false, Ordering::Release);
        if let Err(error) = self.log.sync_data() {
            tracing::warn!(%error, "the store's log could not be synced");
            return;
        }
        if self.state.rows.load(Ordering::Relaxed) < CHECKPOINT_ROWS {
            return;
        }
        self.state.rows.store(0, Ordering::Relaxed);
        if let Err(error) = checkpoint(&self.connection, "PASSIVE").and_then(|()| self.restart_log()) {
            tracing::warn!(%error, "the store's log was not moved into its file");
        }
    }

    /// The first write after a checkpoint syncs the log's header. This one takes that on itself, while the disk is known to
    /// answer, so that no charge has to.
    fn restart_log(&self) -> rusqlite::Result<()> {
        let _turn = self.shared.turn();
        self.connection.execute("UPDATE run SET checkpoints = checkpoints + 1", []).map(drop)
    }
}

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}
