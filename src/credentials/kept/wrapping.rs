//! What was in a wrapping, for the next run: a wrapping opens once.
//!
//! Which one Iaso opened is kept in any case, as a hash: where the secret-id itself may not be kept, a spent wrapping is then
//! no alarm.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iaso_policy::time::Wall;

use super::{Entry, FOLDER, Kept, KeptError, Loaded, io_error, read};
use crate::config::secret::Secret;
use crate::credentials::render::write_private;

/// The hash's file in the folder; no credential's, which all end otherwise.
const FILE: &str = "wrapping";
/// Under which the secret-id is kept. No credential's name has this character in it.
const NAME: &str = "~secret-id";
const MARK: &str = "wrapping";
const SECRET_ID: &str = "secret_id";

/// Where it lies.
#[derive(Debug, Clone)]
pub struct Wrapping {
    path: PathBuf,
    /// None where values may not be kept.
    kept: Option<Arc<Kept>>,
}

/// A secret-id, and which wrapping it was in.
#[derive(Debug, Clone)]
pub struct Unwrapped {
    /// The [`fingerprint`](crate::credentials::seal::fingerprint) of the wrapping.
    pub mark: String,
    /// What was in it.
    pub secret_id: Secret,
}

/// All of it blocks on the disk.
impl Wrapping {
    /// In this data directory; `kept` seals the secret-id, where that may be kept.
    pub fn of(data_dir: &Path, kept: Option<Arc<Kept>>) -> Self {
        Self { path: data_dir.join(FOLDER).join(FILE), kept }
    }

    /// What an earlier run has unwrapped; none where there is nothing that can be used.
    pub fn recall(&self) -> Option<Unwrapped> {
        let Ok(Loaded::Entry(mut entry)) = self.kept.as_ref()?.load(NAME, Wall(0)) else { return None };
        let mark = entry.fields.remove(MARK)?.expose().to_owned();
        Some(Unwrapped { mark, secret_id: entry.fields.remove(SECRET_ID)? })
    }

    /// The wrapping that Iaso opened last, or was about to.
    pub fn opened(&self) -> Option<String> {
        read(&self.path).ok().and_then(|text| String::from_utf8(text).ok())
    }

    /// Iaso is about to open this one.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn open(&self, mark: &str) -> Result<(), KeptError> {
        let folder = self.path.parent().unwrap_or(&self.path);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error(folder))?;
        Ok(write_private(&self.path, mark.as_bytes())?)
    }

    /// Iaso has not opened it after all: what was said `before` holds again.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn take_back(&self, before: Option<&str>) -> Result<(), KeptError> {
        match before {
            Some(mark) => self.open(mark),
            None => std::fs::remove_file(&self.path).map_err(io_error(&self.path)),
        }
    }

    /// Keeps what was in it, sealed, where that is allowed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, unwrapped: &Unwrapped) -> Result<(), KeptError> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let mark = (MARK.to_owned(), Secret::new(unwrapped.mark.clone()));
        let fields = BTreeMap::from([mark, (SECRET_ID.to_owned(), unwrapped.secret_id.clone())]);
        let (fetched, changed) = (Wall(0), Wall(0));
        kept.save(NAME, &Entry { fields, version: None, lease: None, not_after: None, fetched, changed })
    }

    /// What was in it is no good.
    pub fn forget(&self) {
        if let Some(Err(error)) = self.kept.as_ref().map(|kept| kept.remove(NAME)) {
            tracing::warn!(%error, "a secret-id that was refused could not be removed");
        }
    }
}
