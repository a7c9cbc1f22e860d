//! The thread that writes history: records that change nothing when they are lost, and what was seen of broken services. It also
//! ends what is too old, or too much.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, thread};

use rusqlite::{Connection, Transaction, TransactionBehavior, named_params};
use tokio::sync::{mpsc, oneshot};

use super::rows;
use super::shared::Shared;
use super::sync::Sync;
use super::writer::Write;
use crate::config::validated::History as Retention;
use crate::incidents::Evidence;
use crate::system::clock::stopwatch;

/// Records that may wait.
const QUEUE: usize = 16_384;
/// Pieces of evidence among them: each may be as large as a hundred records.
const PIECES: usize = 64;
/// Records in one transaction: few, for charges wait for its end.
const BATCH: usize = 64;
/// Pieces of evidence in one, likewise.
const BATCH_OF_PIECES: usize = 8;
/// Rows that one round of pruning deletes of a table, at most.
const PRUNED: i64 = 200;
/// Pieces of evidence that it deletes.
const PRUNED_PIECES: i64 = 16;
/// Between rounds of pruning, while not too much is kept.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// The handle to the thread.
#[derive(Debug)]
pub(super) struct History {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    /// Pieces of evidence that wait.
    pieces: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Job {
    Keep(Write),
    Piece(Box<Evidence>),
    Retain(Retention),
    Prune,
    Close(oneshot::Sender<()>),
}

pub(super) fn start(connection: Connection, shared: Arc<Shared>, sync: Sync) -> io::Result<History> {
    let (jobs, receiver) = mpsc::channel(QUEUE);
    let pieces = Arc::default();
    let handle = History { jobs, shared: Arc::clone(&shared), pieces: Arc::clone(&pieces) };
    let writer = Writer { connection, shared, sync, pieces, retention: Retention::default() };
    thread::Builder::new().name("store-history".to_owned()).spawn(move || writer.run(receiver))?;
    Ok(handle)
}

impl History {
    pub(super) fn keep(&self, write: Write) {
        if self.jobs.try_send(Job::Keep(write)).is_err() {
            self.shared.drop_history(1);
        }
    }

    pub(super) fn keep_piece(&self, piece: Evidence) {
        let waiting = self.pieces.fetch_add(1, Ordering::Relaxed);
        if waiting >= PIECES || self.jobs.try_send(Job::Piece(Box::new(piece))).is_err() {
            self.pieces.fetch_sub(1, Ordering::Relaxed);
            self.shared.drop_history(1);
        }
    }

    pub(super) fn retain(&self, retention: Retention) {
        // A full queue is at its start already: then the next order says it.
        let _full = self.jobs.try_send(Job::Retain(retention));
    }

    pub(super) fn prune(&self) {
        // A full queue is written, and with it comes a round.
        let _full = self.jobs.try_send(Job::Prune);
    }

    pub(super) async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).await.is_ok() {
            // An error means that the thread is gone already.
            let _ = wait.await;
        }
    }
}

struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    sync: Sync,
    pieces: Arc<AtomicUsize>,
    retention: Retention,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut queue = Vec::with_capacity(BATCH);
        let mut since_pruning: Option<Box<dyn Fn() -> Duration>> = None;
        while jobs.blocking_recv_many(&mut queue, BATCH) > 0 {
            let (mut writes, mut pieces) = (Vec::with_capacity(queue.len()), Vec::new());
            let mut closing = None;
            for job in queue.drain(..) {
                match job {
                    Job::Keep(write) => writes.push(write),
                    Job::Piece(piece) => pieces.push(piece),
                    Job::Retain(retention) => self.retention = retention,
                    Job::Prune => since_pruning = None,
                    Job::Close(done) => closing = Some(done),
                }
            }
            self.pieces.fetch_sub(pieces.len(), Ordering::Relaxed);
            let written = write_batch(&mut self.connection, &writes, &self.shared);
            self.written(writes.len(), written);
            for pieces in pieces.chunks(BATCH_OF_PIECES) {
                let written = write_pieces(&mut self.connection, pieces, &self.shared);
                self.written(pieces.len(), written);
            }
            if let Some(done) = closing {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
                return;
            }
            if since_pruning.as_ref().is_none_or(|elapsed| elapsed() >= PRUNE_EVERY) {
                let now = self.shared.now().wall.0;
                let pruned = prune(&mut self.connection, now, self.retention, &self.shared);
                // While too much is kept, each batch is followed by a round: it deletes more than the batch has added.
                let again = matches!(pruned, Ok(Pruned { rows: 1.., too_much: true }));
                since_pruning = if again { None } else { Some(Box::new(stopwatch())) };
                match pruned {
                    Ok(Pruned { rows, .. }) => self.sync.written(rows),
                    Err(error) => tracing::debug!(%error, "old history was not pruned"),
                }
            }
        }
    }

    /// Charges tell whether the store is down; history is only lost.
    fn written(&self, rows: usize, result: rusqlite::Result<()>) {
        match result {
            Ok(()) => self.sync.written(rows),
            Err(error) => {
                tracing::debug!(%error, rows, "history was not written");
                self.shared.drop_history(rows);
            }
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

fn write_pieces(connection: &mut Connection, pieces: &[Box<Evidence>], shared: &Shared) -> rusqlite::Result<()> {
    let _turn = shared.turn();
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for piece in pieces {
        rows::write_evidence(&transaction, piece)?;
    }
    transaction.commit()
}

/// What a round of pruning came to.
#[derive(Debug, PartialEq, Eq)]
struct Pruned {
    /// Rows that are gone.
    rows: usize,
    /// The file held more than it may.
    too_much: bool,
}

/// Deletes a few of the oldest records and pieces of evidence that are too old, or where too much is kept; and closed incidents
/// of that age. What belongs to an open incident stays.
fn prune(
    connection: &mut Connection,
    now_wall: i64,
    retention: Retention,
    shared: &Shared,
) -> rusqlite::Result<Pruned> {
    let Retention { keep, max_bytes } = retention;
    let before = now_wall.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
    let _turn = shared.turn();
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let too_much = size(&transaction)? > max_bytes;
    let mut rows = 0;
    for (table, limit) in [("evidence", PRUNED_PIECES), ("records", PRUNED)] {
        rows += transaction.execute(
            &format!(
                "DELETE FROM {table} WHERE id IN (
                     SELECT id FROM {table} WHERE incident IS NULL
                     OR incident NOT IN (SELECT incident FROM services WHERE incident IS NOT NULL)
                     ORDER BY id LIMIT :limit
                 ) AND (:too_much OR wall < :before)"
            ),
            named_params! { ":limit": limit, ":too_much": too_much, ":before": before },
        )?;
    }
    // They are small, and what is left when all else is gone.
    let any_age = too_much && rows == 0;
    let gone = transaction.execute(
        "DELETE FROM incidents WHERE (id, identity) IN (
             SELECT id, identity FROM incidents WHERE closed IS NOT NULL AND (:any_age OR opened_wall < :before)
             ORDER BY opened_wall LIMIT :limit
         )",
        named_params! { ":limit": PRUNED, ":any_age": any_age, ":before": before },
    )?;
    if gone > 0 {
        transaction.execute(
            "DELETE FROM incident_parts WHERE NOT EXISTS
             (SELECT 1 FROM incidents WHERE incidents.id = incident_parts.id AND incidents.identity = incident_parts.identity)",
            [],
        )?;
    }
    transaction.commit()?;
    Ok(Pruned { rows: rows + gone, too_much })
}

/// What is in use of the file, in bytes.
fn size(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    Ok(pages.saturating_mul(number("page_size")?).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidents::LogTail;
    use crate::store::schema;
    use crate::system::clock::Clock;
    use iaso_policy::Now;
    use iaso_policy::id::{Identity, IncidentId, ServiceId};
    use iaso_policy::record::{Event, Record};
    use iaso_policy::time::{Boot, Mono, Wall};

    const DAY: i64 = 86_400_000;
    const ROOM: u64 = 256 << 20;

    fn retention(days: u64, max_bytes: u64) -> Retention {
        Retention { keep: Duration::from_secs(days * 86_400), max_bytes }
    }

    fn identity() -> Identity {
        Identity::container("local", "db").unwrap()
    }

    fn day(number: i64) -> Now {
        Now { mono: Mono(0), wall: Wall(number * DAY), boot: Boot(1) }
    }

    fn write(id: i64, incident: Option<IncidentId>) -> Write {
        let record = Record { now: day(id), service: ServiceId(0), incident, event: Event::Settled };
        Write { id, identity: identity(), record }
    }

    fn piece(number: i64, incident: IncidentId) -> Box<Evidence> {
        Box::new(Evidence {
            incident,
            identity: identity(),
            now: day(number),
            event: "quarantined".to_owned(),
            checks: Vec::new(),
            container: None,
            engine_error: None,
            log: LogTail::Lines("x".repeat(8000)),
        })
    }

    fn database() -> (Connection, Shared) {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        (connection, Shared::new(Clock::new(), None))
    }

    fn left(connection: &Connection, table: &str) -> Vec<i64> {
        let mut statement = connection.prepare(&format!("SELECT wall / {DAY} FROM {table} ORDER BY id")).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn the_oldest_go_by_age() {
        let (mut connection, shared) = database();
        let writes: Vec<Write> = (1..=10).map(|id| write(id, None)).collect();
        write_batch(&mut connection, &writes, &shared).unwrap();
        write_pieces(&mut connection, &[piece(2, IncidentId(1)), piece(9, IncidentId(1))], &shared).unwrap();
        let mut pruned = |now, keep| prune(&mut connection, now * DAY, keep, &shared).unwrap();
        assert_eq!(pruned(30, retention(30, ROOM)), Pruned { rows: 0, too_much: false });
        assert_eq!(pruned(34, retention(30, ROOM)), Pruned { rows: 4, too_much: false }, "over 30 days old");
        assert_eq!(left(&connection, "records"), [4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(left(&connection, "evidence"), [9]);
    }

    #[test]
    fn too_much_goes_whatever_its_age_until_there_is_room() {
        let (mut connection, shared) = database();
        let pieces: Vec<_> = (1..=200).map(|number| piece(number, IncidentId(1))).collect();
        write_pieces(&mut connection, &pieces, &shared).unwrap();
        let full = size(&connection).unwrap();
        let keep = retention(1000, full / 2);
        let mut rounds = 0;
        while prune(&mut connection, DAY, keep, &shared).unwrap().too_much {
            rounds += 1;
        }
        assert!((5..15).contains(&rounds), "{rounds}");
        assert!(size(&connection).unwrap() <= full / 2);
        let left = left(&connection, "evidence");
        assert!(left.len() > 80 && left.ends_with(&[199, 200]), "{left:?}");
    }

    #[test]
    fn what_belongs_to_an_open_incident_stays() {
        let (mut connection, shared) = database();
        let (open, closed) = (IncidentId(1), IncidentId(2));
        let service = format!(
            "INSERT INTO services (identity, paused, seen_running, streak, incident) VALUES ('local//db', 0, 1, 0, '{open}')"
        );
        connection.execute(&service, []).unwrap();
        let writes: Vec<Write> = (1..=300).map(|id| write(id, Some(if id <= 250 { open } else { closed }))).collect();
        write_batch(&mut connection, &writes, &shared).unwrap();
        write_pieces(&mut connection, &[piece(1, open), piece(2, closed)], &shared).unwrap();
        for keep in [retention(1, ROOM), retention(1000, 0)] {
            let _pruned = prune(&mut connection, 400 * DAY, keep, &shared).unwrap();
            assert_eq!(left(&connection, "records").len(), 250);
            assert_eq!(left(&connection, "evidence"), [1]);
        }
        let nothing = prune(&mut connection, 400 * DAY, retention(1000, 0), &shared).unwrap();
        assert_eq!(nothing, Pruned { rows: 0, too_much: true }, "there is nothing left to delete");
    }

    #[test]
    fn a_piece_takes_the_place_of_its_earlier_self() {
        let (mut connection, shared) = database();
        let mut second = piece(1, IncidentId(1));
        second.log = LogTail::Lines("the log came later".to_owned());
        write_pieces(&mut connection, &[piece(1, IncidentId(1)), second], &shared).unwrap();
        let kept: Vec<String> = {
            let mut statement = connection.prepare("SELECT piece FROM evidence").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert!(kept.len() == 1 && kept[0].contains("the log came later"), "{kept:?}");
    }
}
