//! The thread that writes durable records, and the handle to all of the file's threads.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;
use std::{io, thread};

use iaso_policy::Record;
use iaso_policy::id::Identity;
use iaso_policy::memory::Memory;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::history::{self, History};
use super::open::Opened;
use super::read::{self, Reads};
use super::rows;
use super::shared::{Shared, Waiting};
use super::sync::{self, Sync};
use super::{StoreError, open};
use crate::config::validated::History as Retention;
use crate::incidents::Evidence;

/// How often a failed write is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Records in one transaction, at most.
const BATCH: usize = 256;

/// The threads of one file. They end once this is dropped and what was queued is written.
#[derive(Debug)]
pub(super) struct Threads {
    _lock: File,
    durable: Sender<Job>,
    history: History,
    reads: Reads,
    sync: Sync,
    next_id: AtomicI64,
}

/// One record on its way to the file.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) id: i64,
    pub(super) identity: Identity,
    pub(super) record: Record,
}

enum Job {
    Keep(Write, Option<Reply>),
    Close(oneshot::Sender<()>),
}

type Reply = oneshot::Sender<Result<(), StoreError>>;

impl Threads {
    pub(super) fn start(path: &Path, opened: Opened, shared: &Arc<Shared>) -> io::Result<Self> {
        let Opened { lock, connection, loaded, .. } = opened;
        let another = || open::another(path).map_err(io::Error::other);
        let next_id = AtomicI64::new(loaded.next_id);
        let sync = sync::start(path, another()?, Arc::clone(shared))?;
        let history = history::start(another()?, Arc::clone(shared), sync.clone())?;
        let reads = read::start(another()?)?;
        let (durable, jobs) = mpsc::channel();
        let mut writer = Writer {
            connection,
            services: boxed(loaded.services).collect(),
            pending: VecDeque::new(),
            marked: false,
            shared: Arc::clone(shared),
            sync: sync.clone(),
        };
        // Before anything is decided: from here on an end without `close` is an unclean one.
        writer.flush();
        thread::Builder::new().name("store-durable".to_owned()).spawn(move || writer.run(&jobs))?;
        Ok(Self { _lock: lock, durable, history, reads, sync, next_id })
    }

    pub(super) fn charge(&self, identity: &Identity, record: &Record) -> Waiting {
        let (reply, waiting) = oneshot::channel();
        // A thread that is gone drops the reply, which reads as closed.
        drop(self.durable.send(Job::Keep(self.number(identity, record), Some(reply))));
        Waiting(waiting)
    }

    pub(super) fn keep(&self, identity: &Identity, record: &Record) {
        let write = self.number(identity, record);
        if record.event.is_durable() {
            drop(self.durable.send(Job::Keep(write, None)));
        } else {
            self.history.keep(write);
        }
    }

    pub(super) fn keep_evidence(&self, piece: Evidence) {
        self.history.keep_piece(piece);
    }

    pub(super) fn retain(&self, retention: Retention) {
        self.history.retain(retention);
    }

    pub(super) fn prune(&self) {
        self.history.prune();
    }

    fn number(&self, identity: &Identity, record: &Record) -> Write {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Write { id, identity: identity.clone(), record: *record }
    }

    pub(super) async fn close(&self) {
        self.history.close().await;
        let (done, wait) = oneshot::channel();
        drop(self.durable.send(Job::Close(done)));
        // An error means that the thread is gone already.
        let _ = wait.await;
        self.sync.close().await;
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.reads.run(read).await
    }
}

struct Writer {
    connection: Connection,
    /// What the tables hold. Boxed: the nodes of the map have room for several, whether there are any or not.
    services: BTreeMap<Identity, Box<Memory>>,
    /// What they do not hold yet, in order.
    pending: VecDeque<(Write, Option<Reply>)>,
    /// The mark of an orderly end was taken away.
    marked: bool,
    shared: Arc<Shared>,
    sync: Sync,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let waits = !self.pending.is_empty() || !self.marked;
            let first = if waits { jobs.recv_timeout(RETRY) } else { jobs.recv().map_err(RecvTimeoutError::from) };
            let ended = matches!(first, Err(RecvTimeoutError::Disconnected));
            for job in first.into_iter().chain(jobs.try_iter()) {
                match job {
                    Job::Keep(write, reply) => self.pending.push_back((write, reply)),
                    Job::Close(done) => {
                        self.flush();
                        self.mark_orderly_end();
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(());
                        return;
                    }
                }
            }
            self.flush();
            if ended {
                return;
            }
        }
    }

    /// Writes all that waits, in order, until a write fails.
    fn flush(&mut self) {
        while !self.marked || !self.pending.is_empty() {
            match self.write_batch() {
                Ok((written, changed)) => {
                    self.marked = true;
                    self.services.extend(boxed(changed));
                    for (_, reply) in self.pending.drain(..written) {
                        answer(reply, Ok(()));
                    }
                    // Many wait at the first start only.
                    self.pending.shrink_to(BATCH);
                    self.shared.up();
                    self.sync.written(written);
                }
                Err(error) => {
                    let error = StoreError::Failed(error.to_string());
                    for (_, reply) in &mut self.pending {
                        answer(reply.take(), Err(error.clone()));
                    }
                    self.shared.down(&error.to_string());
                    return;
                }
            }
        }
    }

    /// One transaction: how many records it wrote, and what is remembered after it.
    fn write_batch(&mut self) -> rusqlite::Result<(usize, BTreeMap<Identity, Memory>)> {
        let mut changed: BTreeMap<Identity, Memory> = BTreeMap::new();
        let count = self.pending.len().min(BATCH);
        let _turn = self.shared.turn();
        let transaction = Transaction::new(&mut self.connection, TransactionBehavior::Immediate)?;
        if !self.marked {
            transaction.execute("UPDATE run SET clean = 0", [])?;
        }
        for (write, _) in self.pending.range(..count) {
            let before = changed.get(&write.identity).or_else(|| self.services.get(&write.identity).map(Box::as_ref));
            let mut after = before.cloned().unwrap_or_else(|| Memory::new(write.identity.clone()));
            after.apply(&write.record);
            rows::write_change(&transaction, before, &after, &write.record)?;
            rows::insert_record(&transaction, write.id, &write.identity, &write.record)?;
            changed.insert(write.identity.clone(), after);
        }
        transaction.commit()?;
        Ok((count, changed))
    }

    fn mark_orderly_end(&self) {
        if !self.pending.is_empty() {
            tracing::error!(records = self.pending.len(), "the store ends with records that could not be written");
            return;
        }
        let _turn = self.shared.turn();
        if let Err(error) = self.connection.execute("UPDATE run SET clean = 1", []) {
            tracing::warn!(%error, "the store could not mark an orderly end");
        }
    }
}

fn boxed(services: BTreeMap<Identity, Memory>) -> impl Iterator<Item = (Identity, Box<Memory>)> {
    services.into_iter().map(|(identity, memory)| (identity, Box::new(memory)))
}

fn answer(reply: Option<Reply>, result: Result<(), StoreError>) {
    if let Some(reply) = reply {
        // Whoever asked may have stopped waiting.
        let _ = reply.send(result);
    }
}
