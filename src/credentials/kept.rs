//! The last good values on disk, for a start while their source is away: one sealed file for each credential.

pub mod ledger;
pub mod wrapping;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iaso_policy::time::Wall;
use rustix::fs::OFlags;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use super::provider::Fields;
use super::render::{RenderError, write_private};
use super::seal::Sealer;
use crate::config::secret::Secret;

/// The folder in the data directory.
const FOLDER: &str = "credentials";
const SUFFIX: &str = ".sealed";
/// The largest file that is read, in bytes: a hundred times a large credential.
const LARGEST: u64 = 128 << 20;

/// Where the values are.
#[derive(Debug, Clone)]
pub struct Kept {
    folder: PathBuf,
    sealer: Arc<Sealer>,
}

/// What is kept of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its fields.
    pub fields: Fields,
    /// Its version, where the source counts versions.
    pub version: Option<u64>,
    /// Its lease, where it has one.
    pub lease: Option<KeptLease>,
    /// When it ends by itself without a lease, in seconds since 1970.
    pub not_after: Option<i64>,
    /// When it was last read.
    pub fetched: Wall,
    /// When its fields last changed.
    pub changed: Wall,
}

/// What is kept of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLease {
    /// The server's name for it.
    pub id: String,
    /// When it ends, on this machine's wall clock.
    pub ends: Wall,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// When the token ends that it was got with, and it at the latest; none: never.
    #[serde(default)]
    pub token_ends: Option<Wall>,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Nothing.
    Nothing,
    /// The values.
    Entry(Entry),
    /// A file that cannot be used. It was moved aside.
    PutAside {
        /// For people: where it is, and what is wrong with it.
        words: String,
    },
}

/// Why something could not be kept, or be looked at.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// No file can have this name.
    #[error("{0:?} is no name of a credential")]
    Name(String),
    /// It cannot be written.
    #[error(transparent)]
    Unwritable(#[from] RenderError),
    /// Another step failed.
    #[error("{path}: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
}

/// As it is written, before it is sealed.
#[derive(Serialize)]
struct Written<'e> {
    fields: Vec<(&'e str, &'e str)>,
    version: Option<u64>,
    lease: Option<&'e KeptLease>,
    not_after: Option<i64>,
    fetched: Wall,
    changed: Wall,
}

/// As it is read.
#[derive(Deserialize)]
struct AsRead {
    fields: Vec<(String, String)>,
    version: Option<u64>,
    lease: Option<KeptLease>,
    not_after: Option<i64>,
    fetched: Wall,
    changed: Wall,
}

impl Kept {
    /// Makes the folder in the data directory where there is none. It blocks on the disk, as all that follows.
    pub fn open(data_dir: &Path, sealer: Arc<Sealer>) -> Result<Self, KeptError> {
        let folder = data_dir.join(FOLDER);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io_error(&folder))?;
        Ok(Self { folder, sealer })
    }

    /// Removes what earlier runs have kept, aside or not: the operator wants nothing on the disk. How many files it were.
    pub fn forbid(data_dir: &Path) -> Result<usize, KeptError> {
        let folder = data_dir.join(FOLDER);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(io_error(&folder)(error)),
        };
        let mut removed = 0;
        for entry in entries {
            let path = entry.map_err(io_error(&folder))?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains(SUFFIX)) {
                fs::remove_file(&path).map_err(io_error(&path))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Keeps a credential's values in place of those before.
    pub fn save(&self, name: &str, entry: &Entry) -> Result<(), KeptError> {
        let path = self.file(name)?;
        let written = Written {
            fields: entry.fields.iter().map(|(name, value)| (name.as_str(), value.expose())).collect(),
            version: entry.version,
            lease: entry.lease.as_ref(),
            not_after: entry.not_after,
            fetched: entry.fetched,
            changed: entry.changed,
        };
        let plain = serde_json::to_vec(&written).map_err(|error| io_error(&path)(error.into()))?;
        let plain = Zeroizing::new(plain);
        Ok(write_private(&path, &self.sealer.seal(name, &plain))?)
    }

    /// What is kept of a credential. `now` names the file that something is moved to.
    pub fn load(&self, name: &str, now: Wall) -> Result<Loaded, KeptError> {
        let path = self.file(name)?;
        let sealed = match read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Nothing),
            Err(error) => return Err(io_error(&path)(error)),
        };
        let opened = match self.sealer.unseal(name, &sealed) {
            Ok(plain) => entry(&plain).ok_or_else(|| "it does not hold what it should".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match opened {
            Ok(entry) => Ok(Loaded::Entry(entry)),
            Err(why) => {
                let aside = put_aside(&path, now).map_err(io_error(&path))?;
                let words = format!("{} cannot be used, {why}: moved to {}", path.display(), aside.display());
                Ok(Loaded::PutAside { words })
            }
        }
    }

    /// Forgets a credential.
    pub fn remove(&self, name: &str) -> Result<(), KeptError> {
        let path = self.file(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn file(&self, name: &str) -> Result<PathBuf, KeptError> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(KeptError::Name(name.to_owned()));
        }
        Ok(self.folder.join(format!("{name}{SUFFIX}")))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut sealed = Vec::new();
    // One that is cut off here does not open.
    file.take(LARGEST).read_to_end(&mut sealed)?;
    Ok(sealed)
}

fn entry(plain: &[u8]) -> Option<Entry> {
    let read: AsRead = serde_json::from_slice(plain).ok()?;
    Some(Entry {
        fields: read.fields.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
        version: read.version,
        lease: read.lease,
        not_after: read.not_after,
        fetched: read.fetched,
        changed: read.changed,
    })
}

/// Renames a file, never over another; its new name.
fn put_aside(path: &Path, now: Wall) -> io::Result<PathBuf> {
    let stamp = jiff::Timestamp::from_millisecond(now.0).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
    let base = format!("{}.damaged-{stamp}", path.display());
    let aside = (1..1000)
        .map(|n| PathBuf::from(if n == 1 { base.clone() } else { format!("{base}-{n}") }))
        .find(|name| !name.exists())
        .ok_or_else(|| io::Error::other("too many damaged files lie beside it"))?;
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> KeptError {
    move |error| KeptError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests;
