//! The thread that answers questions about the past.

use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::time::Duration;
use std::{fmt, io, thread};

use iaso_policy::id::{Identity, IncidentId};
use iaso_policy::record::Ending;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use tokio::sync::oneshot;

use super::rows::{self, from_json};
use super::{StoreError, StoredRecord};
use crate::incidents::{Account, Outage, Page, Wanted};

/// Reads that may wait.
const QUEUE: usize = 16;
/// Records of one incident that are told, at most.
const RECORDS_OF_INCIDENT: usize = 10_000;
/// Pieces of evidence of one that are told, at most.
const PIECES_OF_INCIDENT: usize = 100;
/// Outages that are told to be part of one, at most.
const INCIDENTS_WITHIN: usize = 10_000;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The handle to the thread.
pub(super) struct Reads(SyncSender<Job>);

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reads")
    }
}

pub(super) fn start(connection: Connection) -> io::Result<Reads> {
    let (sender, jobs) = mpsc::sync_channel::<Job>(QUEUE);
    thread::Builder::new().name("store-read".to_owned()).spawn(move || {
        for job in jobs {
            job(&connection);
        }
    })?;
    Ok(Reads(sender))
}

impl Reads {
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(read(connection));
        });
        self.0.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        let answer = answer.await.map_err(|_| StoreError::Closed)?;
        answer.map_err(|error| StoreError::Failed(error.to_string()))
    }
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn timeline(
    connection: &Connection,
    identity: &Identity,
    limit: usize,
) -> rusqlite::Result<Vec<StoredRecord>> {
    let mut newest_first: Vec<StoredRecord> = connection
        .prepare_cached("SELECT * FROM records WHERE identity = ? ORDER BY id DESC LIMIT ?")?
        .query_map(params![identity.as_str(), limit_of(limit)], record)?
        .collect::<Result<_, _>>()?;
    newest_first.reverse();
    Ok(newest_first)
}

/// The outages that are asked for, newest first, and those that are part of them.
pub(super) fn outages(connection: &Connection, wanted: &Wanted) -> rusqlite::Result<Page> {
    let outages: Vec<Outage> = connection
        .prepare_cached(
            "SELECT * FROM incidents WHERE (:identity IS NULL OR identity = :identity) AND (NOT :open OR closed IS NULL)
             AND (:before IS NULL OR (opened_wall, id) < (SELECT opened_wall, id FROM incidents WHERE id = :before))
             ORDER BY opened_wall DESC, id DESC LIMIT :limit",
        )?
        .query_map(
            named_params! {
                ":identity": wanted.identity.as_ref().map(Identity::as_str),
                ":open": wanted.open,
                ":before": wanted.before.map(|id| id.to_string()),
                ":limit": limit_of(wanted.limit),
            },
            outage,
        )?
        .collect::<Result<_, _>>()?;
    let mut within = Vec::new();
    for outage in &outages {
        within.extend(incidents_within(connection, outage.id)?.into_iter().map(|part| (outage.id, part)));
    }
    Ok(Page { outages, within })
}

/// The ids of outages that begin with these digits, `limit` at most.
pub(super) fn ids(connection: &Connection, digits: &str, limit: usize) -> rusqlite::Result<Vec<IncidentId>> {
    connection
        .prepare_cached("SELECT DISTINCT id FROM incidents WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id LIMIT ?2")?
        .query_map(params![digits, limit_of(limit)], |row| rows::incident_id(&row.get::<_, String>(0)?))?
        .collect()
}

/// Everyone who was in an outage that is still known.
pub(super) fn identities(connection: &Connection) -> rusqlite::Result<Vec<Identity>> {
    connection
        .prepare_cached("SELECT DISTINCT identity FROM incidents ORDER BY identity")?
        .query_map([], rows::identity)?
        .collect()
}

/// An outage, and all that is kept of it.
pub(super) fn account(connection: &Connection, id: IncidentId) -> rusqlite::Result<Option<Account>> {
    let found = connection
        .prepare_cached("SELECT * FROM incidents WHERE id = ? LIMIT 1")?
        .query_row([id.to_string()], outage)
        .optional()?;
    let Some(outage) = found else { return Ok(None) };
    let stored: Vec<StoredRecord> = connection
        .prepare_cached("SELECT * FROM records WHERE incident = ? ORDER BY id LIMIT ?")?
        .query_map(params![id.to_string(), limit_of(RECORDS_OF_INCIDENT)], record)?
        .collect::<Result<_, _>>()?;
    let evidence = connection
        .prepare_cached("SELECT piece FROM evidence WHERE incident = ? ORDER BY id LIMIT ?")?
        .query_map(params![id.to_string(), limit_of(PIECES_OF_INCIDENT)], |row| from_json(row, "piece"))?
        .collect::<Result<_, _>>()?;
    let records = stored.iter().map(StoredRecord::record).collect();
    Ok(Some(Account { outage, records, evidence, within: incidents_within(connection, id)? }))
}

/// In the order in which they began.
pub(super) fn incidents_within(connection: &Connection, root: IncidentId) -> rusqlite::Result<Vec<Outage>> {
    connection
        .prepare_cached(
            "SELECT incidents.* FROM incident_parts AS part JOIN incidents USING (id, identity) WHERE part.root = ?
             ORDER BY opened_wall, id, identity LIMIT ?",
        )?
        .query_map(params![root.to_string(), limit_of(INCIDENTS_WITHIN)], outage)?
        .collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<StoredRecord> {
    Ok(StoredRecord {
        id: row.get("id")?,
        identity: rows::identity(row)?,
        now: from_json(row, "at")?,
        incident: rows::maybe_incident_id(row, "incident")?,
        event: from_json(row, "event")?,
    })
}

fn outage(row: &Row<'_>) -> rusqlite::Result<Outage> {
    let id: String = row.get("id")?;
    let ending: Option<String> = row.get("ending")?;
    let closed = match ending {
        Some(word) => Some((from_json(row, "closed")?, ending_of(&word)?)),
        None => None,
    };
    let lasted: Option<i64> = row.get("lasted_ms")?;
    Ok(Outage {
        id: rows::incident_id(&id)?,
        identity: rows::identity(row)?,
        opened: from_json(row, "opened")?,
        trouble: from_json(row, "trouble")?,
        attempts: row.get("attempts")?,
        failed: row.get("failed")?,
        acknowledged: rows::from_maybe_json(row, "acknowledged")?,
        closed,
        root: rows::maybe_incident_id(row, "root")?,
        lasted: lasted.map(|millis| Duration::from_millis(millis.unsigned_abs())),
    })
}

fn ending_of(word: &str) -> rusqlite::Result<Ending> {
    let found = Ending::ALL.iter().copied().find(|ending| ending.name() == word);
    found.ok_or_else(|| rows::unreadable(format!("{word} is no ending of an incident").into()))
}
