//! Opens `iaso.db`, whatever is found in its place.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use iaso_policy::time::Wall;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::rows::{self, Loaded};
use super::schema;

/// How long a connection waits for another process's lock: a person with `sqlite3`.
const BUSY: Duration = Duration::from_secs(1);

/// A file that can be written, and what it held.
pub(super) struct Opened {
    /// Held as long as the file is in use.
    pub(super) lock: fs::File,
    pub(super) connection: Connection,
    pub(super) loaded: Loaded,
    /// Where a damaged file was moved to, and what was wrong with it.
    pub(super) damaged: Option<String>,
}

/// Why there is no file to write to.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("{path} was written by a newer iaso (schema {found}; this one knows up to {known}): left as it is")]
    Newer { path: String, found: u32, known: u32 },
    #[error("{path} cannot be written: {why}")]
    Unwritable { path: String, why: String },
}

/// What went wrong with one try.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("schema {0}")]
    Newer(u32),
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The file within the data directory.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("iaso.db")
}

/// Opens the file for reading and writing; a damaged one is moved aside first.
pub(super) fn open(dir: &Path, wall: Wall) -> Result<Opened, OpenError> {
    let path = file(dir);
    let name = path.display().to_string();
    let fail = |fault: Fault| match fault {
        Fault::Newer(found) => OpenError::Newer { path: name.clone(), found, known: schema::newest() },
        other => OpenError::Unwritable { path: name.clone(), why: other.to_string() },
    };
    let lock = lock(dir).map_err(|error| fail(error.into()))?;
    match attempt(&path) {
        Ok((connection, loaded)) => Ok(Opened { lock, connection, loaded, damaged: None }),
        Err(fault) => {
            let Some(why) = damage(&fault) else { return Err(fail(fault)) };
            let aside = move_aside(&path, wall).map_err(|error| fail(error.into()))?;
            let (connection, loaded) = attempt(&path).map_err(fail)?;
            Ok(Opened {
                lock,
                connection,
                loaded,
                damaged: Some(format!("{name} is damaged ({why}): moved to {aside}")),
            })
        }
    }
}

fn attempt(path: &Path) -> Result<(Connection, Loaded), Fault> {
    create_private(path)?;
    refuse_newer(header_version(path)?)?;
    let mut connection = connect(path)?;
    refuse_newer(schema::version(&connection)?)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    tune(&connection)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Fault::Damaged(verdict));
    }
    schema::migrate(&mut connection)?;
    let loaded = rows::load(&connection)?;
    Ok((connection, loaded))
}

/// Keeps a second daemon off the folder: each would spend the whole budget.
fn lock(dir: &Path) -> io::Result<fs::File> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join("iaso.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(io::Error::other("another iaso is using it")),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Another connection to a file that [`open`] has opened.
pub(super) fn another(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    tune(&connection)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    // Whoever closes last would checkpoint, into a file of a newer schema too. The sync thread does it where it is wanted.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    // KiB of pages, for each of the connections; what is read again lies in the operating system's cache as well.
    connection.pragma_update(None, "cache_size", -256)?;
    Ok(connection)
}

/// Commits are handed to the operating system and never wait for the disk: syncs and checkpoints are another thread's.
fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)
}

/// Makes the file readable by its owner alone before anything is in it; SQLite gives `-wal` and `-shm` the same mode.
fn create_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    for path in with_companions(path) {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The schema version in the file's own header, so that a newer file is not even opened by SQLite, which may write to it.
fn header_version(path: &Path) -> io::Result<u32> {
    let mut header = Vec::with_capacity(64);
    fs::File::open(path)?.take(64).read_to_end(&mut header)?;
    let version = header.strip_prefix(b"SQLite format 3\0").and_then(|rest| rest.get(44..48));
    Ok(version.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes))
}

fn refuse_newer(version: u32) -> Result<(), Fault> {
    if version > schema::newest() { Err(Fault::Newer(version)) } else { Ok(()) }
}

/// What is wrong with the file itself; none when it may be sound, and only out of reach.
fn damage(fault: &Fault) -> Option<String> {
    use rusqlite::Error as E;
    let damaged = match fault {
        Fault::Damaged(_) => true,
        Fault::Newer(_) | Fault::Io(_) => false,
        Fault::Sqlite(error) => match error {
            E::SqliteFailure(cause, _) => {
                // An SQL error in a file of the right version: its tables are not the ones that this program made.
                matches!(cause.code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown)
            }
            E::SqlInputError { .. }
            | E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnName(_)
            | E::InvalidColumnType(..)
            | E::QueryReturnedNoRows => true,
            _ => false,
        },
    };
    damaged.then(|| fault.to_string())
}

/// Renames the file and its companions, never over anything; the new name.
fn move_aside(path: &Path, wall: Wall) -> io::Result<String> {
    let stamp = jiff::Timestamp::from_millisecond(wall.0).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
    let base = format!("{}.damaged-{stamp}", path.display());
    let aside = (1..1000)
        .map(|n| if n == 1 { base.clone() } else { format!("{base}-{n}") })
        .find(|name| !Path::new(name).exists())
        .ok_or_else(|| io::Error::other("too many damaged files lie beside it"))?;
    // The companions first: a new file must never meet an old file's log.
    for companion in ["-wal", "-shm", "-journal"] {
        match fs::rename(with_suffix(path, companion), format!("{aside}{companion}")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn with_companions(path: &Path) -> [PathBuf; 3] {
    [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-shm")]
}

/// The path of a companion file.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
