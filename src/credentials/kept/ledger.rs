//! What counts across runs and is no secret: logins and mints of the last hour, leases that live, values that failed.
//!
//! One small file beside the sealed ones, replaced whole. It holds the server's names for leases and keyed digests, never a
//! value, so it is kept where values are not.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use iaso_policy::Now;
use iaso_policy::id::Digest;
use iaso_policy::time::Wall;
use serde::{Deserialize, Serialize};

use super::{FOLDER, KeptError, KeptLease, io_error, put_aside, read};
use crate::credentials::render::write_private;

/// The file in the folder; no credential's, which all end otherwise.
const FILE: &str = "ledger";

/// What it holds, by the names of credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Logins of the last hour.
    pub logins: Vec<Now>,
    /// What was made in the last hour.
    pub mints: BTreeMap<String, Vec<Now>>,
    /// Leases that were got and have neither ended nor been given back.
    pub leases: BTreeMap<String, Vec<Lent>>,
    /// Values that services did not become healthy with.
    pub rejected: BTreeMap<String, Digest>,
}

/// A lease of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lent {
    /// Which.
    pub lease: KeptLease,
    /// Nothing uses it.
    pub surplus: bool,
}

/// Where it lies.
#[derive(Debug, Clone)]
pub struct LedgerFile {
    path: PathBuf,
}

impl LedgerFile {
    /// In this data directory, whether it can be written or not.
    pub fn of(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FOLDER).join(FILE) }
    }

    /// What was written last, and words for people where that cannot be used: it is moved aside then, under a name with
    /// `now` in it. It blocks on the disk.
    ///
    /// # Errors
    /// When it cannot be read, which may pass: it stays where it is.
    pub fn load(&self, now: Wall) -> Result<(Ledger, Option<String>), KeptError> {
        let text = match read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Ledger::default(), None)),
            Err(error) => return Err(io_error(&self.path)(error)),
        };
        if let Ok(ledger) = serde_json::from_slice(&text) {
            return Ok((ledger, None));
        }
        let aside = put_aside(&self.path, now).map_err(io_error(&self.path))?;
        let words = format!(
            "{} is damaged and was moved to {}: leases of earlier runs are not given back, and the hour's logins and mints \
             are counted anew",
            self.path.display(),
            aside.display()
        );
        Ok((Ledger::default(), Some(words)))
    }

    /// Replaces it. It blocks until the disk has it.
    ///
    /// # Errors
    /// When it cannot be written: what was there stays.
    pub fn save(&self, ledger: &Ledger) -> Result<(), KeptError> {
        let folder = self.path.parent().unwrap_or(&self.path);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error(folder))?;
        let text = serde_json::to_vec(ledger).map_err(|error| io_error(&self.path)(error.into()))?;
        Ok(write_private(&self.path, &text)?)
    }
}
