//! What is remembered of an identity, as rows, and back.

use std::collections::BTreeMap;

use iaso_policy::Now;
use iaso_policy::id::{CredentialKey, Identity, IncidentId};
use iaso_policy::memory::{Memory, OpenIncident};
use iaso_policy::record::{Event, Record};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::incidents::Evidence;

/// What a file held.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) services: BTreeMap<Identity, Memory>,
    pub(super) last: Option<Now>,
    pub(super) clean: bool,
    /// The number for the next record.
    pub(super) next_id: i64,
}

/// The JSON of a value of the policy's.
pub(super) fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn maybe_json<T: Serialize>(value: Option<&T>) -> rusqlite::Result<Option<String>> {
    value.map(json).transpose()
}

/// The value whose JSON a column holds.
pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    from_maybe_json(row, column)?.ok_or_else(|| unreadable("a value, found none".into()))
}

pub(super) fn from_maybe_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| unreadable(error.into()))
}

/// A row that this program cannot have written.
pub(super) fn unreadable(why: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, why)
}

/// The identity in a row's column of that name.
pub(super) fn identity(row: &Row<'_>) -> rusqlite::Result<Identity> {
    let text: String = row.get("identity")?;
    Identity::parse(&text).map_err(|error| unreadable(error.into()))
}

/// Reads back [`IncidentId`]'s spelling.
pub(super) fn incident_id(text: &str) -> rusqlite::Result<IncidentId> {
    u64::from_str_radix(text, 16).map(IncidentId).map_err(|error| unreadable(error.into()))
}

/// The outage that a column names, where it names one.
pub(super) fn maybe_incident_id(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<IncidentId>> {
    let text: Option<String> = row.get(column)?;
    text.as_deref().map(incident_id).transpose()
}

/// Adds one record to the timeline.
pub(super) fn insert_record(
    transaction: &Transaction<'_>,
    id: i64,
    identity: &Identity,
    record: &Record,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO records (id, identity, wall, at, incident, kind, event) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            id,
            identity.as_str(),
            record.now.wall.0,
            json(&record.now)?,
            record.incident.map(|incident| incident.to_string()),
            record.event.name(),
            json(&record.event)?,
        ])?;
    Ok(())
}

/// Keeps a piece of evidence, in the place of an earlier one about the same decision.
pub(super) fn write_evidence(transaction: &Transaction<'_>, piece: &Evidence) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO evidence (incident, identity, wall, kind, piece) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (incident, identity, wall, kind) DO UPDATE SET piece = excluded.piece",
        )?
        .execute(params![
            piece.incident.to_string(),
            piece.identity.as_str(),
            piece.now.wall.0,
            piece.event,
            json(piece)?,
        ])?;
    Ok(())
}

/// Writes what one durable record changed: `before` is in the tables, `after` shall be.
pub(super) fn write_change(
    transaction: &Transaction<'_>,
    before: Option<&Memory>,
    after: &Memory,
    record: &Record,
) -> rusqlite::Result<()> {
    let new;
    let before = match before {
        Some(memory) => memory,
        None => {
            write_service(transaction, after)?;
            new = Memory::new(after.identity.clone());
            &new
        }
    };
    if (&before.charges, &before.proven, &before.attempt, &before.incident)
        != (&after.charges, &after.proven, &after.attempt, &after.incident)
    {
        write_charges(transaction, before, after)?;
        write_proven(transaction, before, after)?;
        write_attempt(transaction, before, after)?;
        write_incident(transaction, before, after, record)?;
    }
    if before.credential_charges != after.credential_charges {
        write_credential_charges(transaction, after)?;
    }
    if !same_service(before, after) {
        write_service(transaction, after)?;
    }
    let last = json(&record.now)?;
    transaction.prepare_cached("UPDATE run SET last = ?")?.execute([last])?;
    Ok(())
}

/// Whether the two have the same row in `services`.
fn same_service(a: &Memory, b: &Memory) -> bool {
    let outages = |memory: &Memory| (memory.incident.map(|incident| incident.incident), memory.part_of);
    (a.paused, a.maintenance, a.seen_running, a.streak, a.last_ended, a.quarantine, a.stopped, a.exited)
        == (b.paused, b.maintenance, b.seen_running, b.streak, b.last_ended, b.quarantine, b.stopped, b.exited)
        && (outages(a), a.healed_life, &a.alerts) == (outages(b), b.healed_life, &b.alerts)
}

fn write_service(transaction: &Transaction<'_>, memory: &Memory) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO services
             (identity, paused, maintenance, seen_running, streak, last_ended, quarantine, operator_stop, exit, healed_life,
             incident, part_of, alerts)
             VALUES (:identity, :paused, :maintenance, :seen_running, :streak, :last_ended, :quarantine, :operator_stop, :exit,
             :healed_life, :incident, :part_of, :alerts)",
        )?
        .execute(named_params! {
            ":identity": memory.identity.as_str(),
            ":paused": memory.paused,
            ":maintenance": maybe_json(memory.maintenance.as_ref())?,
            ":seen_running": memory.seen_running,
            ":streak": memory.streak,
            ":last_ended": maybe_json(memory.last_ended.as_ref())?,
            ":quarantine": maybe_json(memory.quarantine.as_ref())?,
            ":operator_stop": maybe_json(memory.stopped.as_ref())?,
            ":exit": maybe_json(memory.exited.as_ref())?,
            ":healed_life": maybe_json(memory.healed_life.as_ref())?,
            ":incident": memory.incident.map(|open| open.incident.to_string()),
            ":part_of": memory.part_of.map(|root| root.to_string()),
            ":alerts": maybe_json(Some(&memory.alerts).filter(|alerts| !alerts.is_empty()))?,
        })?;
    Ok(())
}

/// Charges are added at the end and leave the window from the front; where a clock that jumped took some from the middle,
/// all rows are written anew.
fn write_charges(transaction: &Transaction<'_>, before: &Memory, after: &Memory) -> rusqlite::Result<()> {
    let identity = after.identity.as_str();
    let kept =
        (0..=before.charges.len()).find_map(|gone| Some((gone, after.charges.strip_prefix(&before.charges[gone..])?)));
    let (gone, added) = kept.unwrap_or((before.charges.len(), &after.charges));
    if gone > 0 {
        transaction
            .prepare_cached(
                "DELETE FROM charges WHERE id IN (SELECT id FROM charges WHERE identity = ? ORDER BY id LIMIT ?)",
            )?
            .execute(params![identity, i64::try_from(gone).unwrap_or(i64::MAX)])?;
    }
    for charge in added {
        transaction
            .prepare_cached("INSERT INTO charges (identity, at) VALUES (?, ?)")?
            .execute(params![identity, json(charge)?])?;
    }
    Ok(())
}

/// They are few: all rows are written anew.
fn write_credential_charges(transaction: &Transaction<'_>, after: &Memory) -> rusqlite::Result<()> {
    let identity = after.identity.as_str();
    transaction.prepare_cached("DELETE FROM credential_charges WHERE identity = ?")?.execute([identity])?;
    for (credential, charge) in &after.credential_charges {
        transaction
            .prepare_cached("INSERT INTO credential_charges (identity, credential, at) VALUES (?, ?, ?)")?
            .execute(params![identity, format!("{:016x}", credential.0), json(charge)?])?;
    }
    Ok(())
}

fn write_proven(transaction: &Transaction<'_>, before: &Memory, after: &Memory) -> rusqlite::Result<()> {
    for fingerprint in after.proven.iter().filter(|one| !before.proven.contains(one)) {
        transaction
            .prepare_cached("INSERT OR REPLACE INTO proven (identity, fingerprint) VALUES (?, ?)")?
            .execute(params![after.identity.as_str(), format!("{fingerprint:016x}")])?;
    }
    Ok(())
}

fn write_attempt(transaction: &Transaction<'_>, before: &Memory, after: &Memory) -> rusqlite::Result<()> {
    let identity = after.identity.as_str();
    match &after.attempt {
        Some(open) if before.attempt != after.attempt => {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO attempts (identity, open) VALUES (?, ?)")?
                .execute(params![identity, json(open)?])?;
        }
        None if before.attempt.is_some() => {
            transaction.prepare_cached("DELETE FROM attempts WHERE identity = ?")?.execute([identity])?;
        }
        Some(_) | None => {}
    }
    Ok(())
}

fn write_incident(
    transaction: &Transaction<'_>,
    before: &Memory,
    after: &Memory,
    record: &Record,
) -> rusqlite::Result<()> {
    if before.incident == after.incident {
        return Ok(());
    }
    let identity = after.identity.as_str();
    if let (Some(open), Event::IncidentClosed { ending, lasted }) = (&before.incident, &record.event) {
        transaction
            .prepare_cached("UPDATE incidents SET closed = ?, ending = ?, lasted_ms = ? WHERE id = ? AND identity = ?")?
            .execute(params![
                json(&record.now)?,
                ending.name(),
                i64::try_from(lasted.as_millis()).unwrap_or(i64::MAX),
                open.incident.to_string(),
                identity,
            ])?;
    }
    if let (Some(open), Event::Joined { root }) = (&after.incident, record.event) {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO incident_parts (root, id, identity) VALUES (?, ?, ?)")?
            .execute(params![root.to_string(), open.incident.to_string(), identity])?;
    }
    if let Some(open) = &after.incident {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO incidents (id, identity, opened_wall, opened, trouble, attempts, failed, acknowledged,
                 root) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                open.incident.to_string(),
                identity,
                open.opened.wall.0,
                json(&open.opened)?,
                json(&open.trouble)?,
                open.attempts,
                open.failed,
                maybe_json(open.acknowledged.as_ref())?,
                open.root.map(|root| root.to_string()),
            ])?;
    }
    Ok(())
}

/// Reads everything that is remembered.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Loaded> {
    let mut services = BTreeMap::new();
    let mut statement = connection.prepare("SELECT * FROM services")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let memory = load_service(connection, row)?;
        services.insert(memory.identity.clone(), memory);
    }
    for_each(connection, "SELECT identity, at FROM charges ORDER BY id", |row| {
        of(&mut services, row)?.charges.push(from_json(row, "at")?);
        Ok(())
    })?;
    for_each(connection, "SELECT identity, credential, at FROM credential_charges ORDER BY id", |row| {
        let text: String = row.get("credential")?;
        let credential = u64::from_str_radix(&text, 16).map_err(|error| unreadable(error.into()))?;
        of(&mut services, row)?.credential_charges.push((CredentialKey(credential), from_json(row, "at")?));
        Ok(())
    })?;
    for_each(connection, "SELECT identity, open FROM attempts", |row| {
        of(&mut services, row)?.attempt = from_json(row, "open")?;
        Ok(())
    })?;
    for_each(connection, "SELECT identity, fingerprint FROM proven ORDER BY identity, fingerprint", |row| {
        let text: String = row.get("fingerprint")?;
        let fingerprint = u64::from_str_radix(&text, 16).map_err(|error| unreadable(error.into()))?;
        of(&mut services, row)?.proven.push(fingerprint);
        Ok(())
    })?;
    let (clean, last) = connection
        .query_row("SELECT clean, last FROM run", [], |row| Ok((row.get("clean")?, from_maybe_json(row, "last")?)))?;
    let next_id = connection.query_row("SELECT coalesce(max(id), 0) + 1 FROM records", [], |row| row.get(0))?;
    Ok(Loaded { services, last, clean, next_id })
}

fn for_each(
    connection: &Connection,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

/// The memory that a row of another table belongs to.
fn of<'a>(services: &'a mut BTreeMap<Identity, Memory>, row: &Row<'_>) -> rusqlite::Result<&'a mut Memory> {
    let identity = identity(row)?;
    services.get_mut(&identity).ok_or_else(|| unreadable(format!("{identity} has rows, but none in services").into()))
}

fn load_service(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Memory> {
    let identity = identity(row)?;
    let incident: Option<String> = row.get("incident")?;
    let incident = match incident {
        Some(id) => Some(load_incident(connection, &identity, &id)?),
        None => None,
    };
    Ok(Memory {
        charges: Vec::new(),
        credential_charges: Vec::new(),
        attempt: None,
        incident,
        part_of: maybe_incident_id(row, "part_of")?,
        alerts: from_maybe_json(row, "alerts")?.unwrap_or_default(),
        streak: row.get("streak")?,
        last_ended: from_maybe_json(row, "last_ended")?,
        quarantine: from_maybe_json(row, "quarantine")?,
        stopped: from_maybe_json(row, "operator_stop")?,
        exited: from_maybe_json(row, "exit")?,
        healed_life: from_maybe_json(row, "healed_life")?,
        seen_running: row.get("seen_running")?,
        paused: row.get("paused")?,
        maintenance: from_maybe_json(row, "maintenance")?,
        proven: Vec::new(),
        identity,
    })
}

fn load_incident(connection: &Connection, identity: &Identity, id: &str) -> rusqlite::Result<OpenIncident> {
    let found = connection
        .prepare_cached("SELECT * FROM incidents WHERE id = ? AND identity = ?")?
        .query_row([id, identity.as_str()], |row| {
            Ok(OpenIncident {
                incident: incident_id(id)?,
                opened: from_json(row, "opened")?,
                trouble: from_json(row, "trouble")?,
                attempts: row.get("attempts")?,
                failed: row.get("failed")?,
                acknowledged: from_maybe_json(row, "acknowledged")?,
                root: maybe_incident_id(row, "root")?,
            })
        })
        .optional()?;
    found.ok_or_else(|| unreadable(format!("{identity} is in incident {id}, which has no row").into()))
}
