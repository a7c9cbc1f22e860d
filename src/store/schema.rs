//! The tables of `iaso.db`, and how an older file becomes today's.
//!
//! Moments and other values of the policy's are kept as the JSON of their types; ids in the hexadecimal that logs show.
//! The views `timeline` and `outages` are for people with `sqlite3`.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// Each entry brings a file from the schema version of its index to the next. Never edit one that was released: append.
const MIGRATIONS: &[&str] = &[
    "
    -- One row: whether the last run ended in order, and the newest durable record's moment.
    CREATE TABLE run (id INTEGER PRIMARY KEY CHECK (id = 1), clean INTEGER NOT NULL, last TEXT, checkpoints INTEGER NOT NULL);
    INSERT INTO run VALUES (1, 1, NULL, 0);

    -- What is remembered of each identity, beside the three tables that follow.
    CREATE TABLE services (
        identity TEXT PRIMARY KEY,
        paused INTEGER NOT NULL,
        seen_running INTEGER NOT NULL,
        streak INTEGER NOT NULL,
        last_ended TEXT,
        quarantine TEXT,
        operator_stop TEXT,
        exit TEXT,
        incident TEXT
    ) WITHOUT ROWID;
    CREATE TABLE charges (id INTEGER PRIMARY KEY, identity TEXT NOT NULL, at TEXT NOT NULL);
    CREATE INDEX charges_of ON charges (identity);
    CREATE TABLE attempts (identity TEXT PRIMARY KEY, open TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE proven (identity TEXT NOT NULL, fingerprint TEXT NOT NULL, PRIMARY KEY (identity, fingerprint)) WITHOUT ROWID;

    -- Every outage, open ones too; services.incident says which is open.
    CREATE TABLE incidents (
        id TEXT NOT NULL,
        identity TEXT NOT NULL,
        opened_wall INTEGER NOT NULL,
        opened TEXT NOT NULL,
        trouble TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        closed TEXT,
        ending TEXT,
        lasted_ms INTEGER,
        PRIMARY KEY (id, identity)
    ) WITHOUT ROWID;
    CREATE INDEX incidents_by_time ON incidents (opened_wall);

    -- Everything that was decided, numbered in the order of decision.
    CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        identity TEXT NOT NULL,
        wall INTEGER NOT NULL,
        at TEXT NOT NULL,
        incident TEXT,
        kind TEXT NOT NULL,
        event TEXT NOT NULL
    );
    CREATE INDEX records_of ON records (identity, id);
    CREATE INDEX records_of_incident ON records (incident, id) WHERE incident IS NOT NULL;

    CREATE VIEW timeline AS
        SELECT id, strftime('%Y-%m-%dT%H:%M:%fZ', wall / 1000.0, 'unixepoch') AS time, identity, kind, incident, event
        FROM records ORDER BY id;
    CREATE VIEW outages AS
        SELECT id, strftime('%Y-%m-%dT%H:%M:%fZ', opened_wall / 1000.0, 'unixepoch') AS opened, identity, trouble, attempts,
            failed, coalesce(ending, 'open') AS ending, lasted_ms / 1000.0 AS lasted_s
        FROM incidents ORDER BY opened_wall;
    ",
    "
    -- What was done for credentials' sake: charged to the credential, under its number, and to the identity's host.
    CREATE TABLE credential_charges (id INTEGER PRIMARY KEY, identity TEXT NOT NULL, credential TEXT NOT NULL, at TEXT NOT NULL);
    CREATE INDEX credential_charges_of ON credential_charges (identity);
    ",
    "
    -- A person's newest word on maintenance, and who takes care of an outage.
    ALTER TABLE services ADD COLUMN maintenance TEXT;
    ALTER TABLE incidents ADD COLUMN acknowledged TEXT;
    ",
    "
    -- The outage of something that it needs that an outage was part of; the newest such of each identity.
    ALTER TABLE incidents ADD COLUMN root TEXT;
    CREATE INDEX incidents_by_root ON incidents (root) WHERE root IS NOT NULL;
    ALTER TABLE services ADD COLUMN part_of TEXT;
    ",
    "
    -- Announcements that nobody has taken yet, and of each outage that goes on the newest.
    ALTER TABLE services ADD COLUMN alerts TEXT;

    -- Every outage that an outage was ever part of; incidents.root is the newest.
    CREATE TABLE incident_parts (root TEXT NOT NULL, id TEXT NOT NULL, identity TEXT NOT NULL, PRIMARY KEY (root, id, identity)) WITHOUT ROWID;
    INSERT INTO incident_parts SELECT root, id, identity FROM incidents WHERE root IS NOT NULL;
    DROP INDEX incidents_by_root;
    ",
    "
    -- What was seen of a broken service: a piece for each decision that is worth one, redacted before it came here.
    CREATE TABLE evidence (
        id INTEGER PRIMARY KEY,
        incident TEXT NOT NULL,
        identity TEXT NOT NULL,
        wall INTEGER NOT NULL,
        kind TEXT NOT NULL,
        piece TEXT NOT NULL,
        UNIQUE (incident, identity, wall, kind)
    );
    ",
    "
    -- The newest life that a recovery began and that was verified.
    ALTER TABLE services ADD COLUMN healed_life TEXT;
    ",
];

/// The schema version that this program writes.
pub(super) fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The schema version of an open file; zero for a new one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings the file to the newest schema, all steps or none.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    migrate_along(connection, MIGRATIONS)
}

fn migrate_along(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let from = usize::try_from(version(connection)?).unwrap_or(usize::MAX);
    let steps = migrations.get(from..).unwrap_or_default();
    if steps.is_empty() {
        return Ok(());
    }
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", u32::try_from(migrations.len()).unwrap_or(u32::MAX))?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: &[&str] = &[
        "CREATE TABLE charges (identity TEXT); INSERT INTO charges VALUES ('a')",
        "ALTER TABLE charges ADD COLUMN cost INTEGER NOT NULL DEFAULT 1",
        "UPDATE charges SET cost = cost + 1",
    ];

    #[test]
    fn an_older_file_takes_only_the_steps_it_lacks() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_along(&mut connection, &LATER[..1]).unwrap();
        connection.execute_batch("INSERT INTO charges VALUES ('b')").unwrap();
        for _ in 0..2 {
            migrate_along(&mut connection, LATER).unwrap();
            assert_eq!(version(&connection).unwrap(), 3);
            let costs: (u32, u32) = connection
                .query_row("SELECT count(*), sum(cost) FROM charges", [], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap();
            assert_eq!(costs, (2, 4));
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_along(&mut connection, &LATER[..1]).unwrap();
        let broken = [LATER[0], LATER[1], "UPDATE nowhere SET x = 1"];
        migrate_along(&mut connection, &broken).unwrap_err();
        assert_eq!(version(&connection).unwrap(), 1);
        connection.query_row("SELECT cost FROM charges", [], |_| Ok(())).unwrap_err();
    }
}
