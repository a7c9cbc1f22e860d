//! The thread that writes history: records that change nothing when they are lost. It also ends what is too old.

use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::rows;
use super::shared::Shared;
use super::sync::Sync;
use super::writer::Write;
use crate::system::clock::stopwatch;

/// Records that may wait.
const QUEUE: usize = 4096;
/// Records in one transaction: few, for charges wait for its end.
const BATCH: usize = 64;
/// How long records and closed incidents are kept.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// How many records are kept.
const KEPT_RECORDS: i64 = 200_000;
/// Rows that one round of pruning deletes, at most.
const PRUNED: i64 = 200;
/// Between rounds of pruning.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// The handle to the thread.
#[derive(Debug)]
pub(super) struct History {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum Job {
    Keep(Write),
    Close(oneshot::Sender<()>),
}

pub(super) fn start(connection: Connection, shared: Arc<Shared>, sync: Sync) -> io::Result<History> {
    let (jobs, receiver) = mpsc::channel(QUEUE);
    let handle = History { jobs, shared: Arc::clone(&shared) };
    thread::Builder::new().name("store-history".to_owned()).spawn(move || run(connection, receiver, &shared, &sync))?;
    Ok(handle)
}

impl History {
    pub(super) fn keep(&self, write: Write) {
        if self.jobs.try_send(Job::Keep(write)).is_err() {
            self.shared.drop_history(1);
        }
    }

    pub(super) async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).await.is_ok() {
            // An error means that the thread is gone already.
            let _ = wait.await;
        }
    }
}

fn run(mut connection: Connection, mut jobs: mpsc::Receiver<Job>, shared: &Shared, sync: &Sync) {
    let mut queue = Vec::with_capacity(BATCH);
    let mut since_pruning: Option<Box<dyn Fn() -> Duration>> = None;
    while jobs.blocking_recv_many(&mut queue, BATCH) > 0 {
        let mut writes = Vec::with_capacity(queue.len());
        let mut closing = None;
        for job in queue.drain(..) {
            match job {
                Job::Keep(write) => writes.push(write),
                Job::Close(done) => closing = Some(done),
            }
        }
        match write_batch(&mut connection, &writes, shared) {
            Ok(()) => sync.written(writes.len()),
            // Charges tell whether the store is down; history is only lost.
            Err(error) => {
                tracing::debug!(%error, records = writes.len(), "history was not written");
                shared.drop_history(writes.len());
            }
        }
        if let Some(done) = closing {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
            return;
        }
        if since_pruning.as_ref().is_none_or(|elapsed| elapsed() >= PRUNE_EVERY) {
            let now = shared.now().wall.0;
            match prune(&mut connection, now, KEPT_RECORDS, shared) {
                Ok(rows) => sync.written(rows),
                Err(error) => tracing::debug!(%error, "old history was not pruned"),
            }
            since_pruning = Some(Box::new(stopwatch()));
        }
    }
}

fn write_batch(connection: &mut Connection, writes: &[Write], shared: &Shared) -> rusqlite::Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let _turn = shared.turn();
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for write in writes {
        rows::insert_record(&transaction, write.id, &write.identity, &write.record)?;
    }
    transaction.commit()
}

/// Deletes a few of the oldest records, where they are too old or too many, and closed incidents of that age; how many.
fn prune(connection: &mut Connection, now_wall: i64, keep: i64, shared: &Shared) -> rusqlite::Result<usize> {
    let before = now_wall.saturating_sub(i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX));
    let _turn = shared.turn();
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let records = transaction.execute(
        "DELETE FROM records WHERE id IN (SELECT id FROM records ORDER BY id LIMIT ?1)
         AND (wall < ?2 OR id <= (SELECT max(id) FROM records) - ?3)",
        params![PRUNED, before, keep],
    )?;
    let incidents = transaction.execute(
        "DELETE FROM incidents WHERE (id, identity) IN
         (SELECT id, identity FROM incidents WHERE opened_wall < ? AND closed IS NOT NULL LIMIT ?)",
        params![before, PRUNED],
    )?;
    transaction.commit()?;
    Ok(records + incidents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;
    use crate::system::clock::Clock;
    use iaso_policy::Now;
    use iaso_policy::id::{Identity, ServiceId};
    use iaso_policy::record::{Event, Record};
    use iaso_policy::time::{Boot, Mono, Wall};

    #[test]
    fn the_oldest_records_go_by_age_and_by_number() {
        const DAY: i64 = 86_400_000;
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        let shared = Shared::new(Clock::new(), None);
        let identity = Identity::container("local", "db").unwrap();
        let writes: Vec<Write> = (1..=10)
            .map(|id| {
                let now = Now { mono: Mono(0), wall: Wall(id * DAY), boot: Boot(1) };
                let record = Record { now, service: ServiceId(0), incident: None, event: Event::Settled };
                Write { id, identity: identity.clone(), record }
            })
            .collect();
        write_batch(&mut connection, &writes, &shared).unwrap();
        assert_eq!(prune(&mut connection, 30 * DAY, 100, &shared).unwrap(), 0);
        assert_eq!(prune(&mut connection, 34 * DAY, 100, &shared).unwrap(), 3, "days 1 to 3 are over 30 days old");
        assert_eq!(prune(&mut connection, 34 * DAY, 5, &shared).unwrap(), 2, "the newest five stay");
        let left: (i64, i64) = connection
            .query_row("SELECT min(id), max(id) FROM records", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(left, (6, 10));
    }
}
