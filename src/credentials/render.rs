//! Puts bytes into a file, so that whoever looks sees the old file or the new one, whole, with its final mode and owner from
//! the first moment on, also after a crash.
//!
//! The new bytes go into a file of an unpredictable name beside the target, which nobody else may read; it gets owner and
//! mode, is synced, and takes the target's name; then the folder is synced. A target that holds the same bytes already is not
//! touched. The target's own folder must not be a symbolic link, nor one in which everybody may replace what belongs to
//! others. Symbolic links further up are followed: they are the operator's, as `/var/run` is the system's.

mod owner;
mod place;

use std::io;
use std::path::{Path, PathBuf};

use self::owner::Ids;
use self::place::Place;
use crate::config::validated::TargetFile;

/// What became of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was so already, and was not touched.
    Unchanged,
    /// It held these bytes; mode or owner was put right in place.
    Mended,
    /// There was none.
    Created,
    /// A new file took its place.
    Replaced {
        /// Not so where the old one held the same bytes, but others could have written to it.
        bytes_changed: bool,
    },
}

impl Outcome {
    /// Whether a reader of the file finds other bytes than before.
    pub const fn bytes_changed(self) -> bool {
        matches!(self, Self::Created | Self::Replaced { bytes_changed: true })
    }

    /// Whether the name stands for another file than before: who has mounted the file itself still sees the old one.
    pub const fn inode_changed(self) -> bool {
        matches!(self, Self::Replaced { .. })
    }
}

/// Why a target was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// Its path has no last part.
    #[error("{0} names no file; expected a folder and a file's name")]
    NoName(PathBuf),
    /// Its folder is missing.
    #[error("{path}: the folder {folder} does not exist; Iaso makes none")]
    NoFolder {
        /// The target.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// Its folder is something else.
    #[error("{path}: {folder} is {found}; expected the folder itself")]
    NotAFolder {
        /// The target.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// Everybody may replace files in its folder.
    #[error(
        "{path}: everybody may replace files in {folder} (mode {mode:04o}); expected one that others may not write to, or \
         with the sticky bit"
    )]
    OpenFolder {
        /// The target.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
        /// The folder's permissions.
        mode: u32,
    },
    /// Something else stands in its place.
    #[error("{path} is {found}; expected a regular file, or nothing")]
    NotAFile {
        /// The target.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// Another file cannot take its name.
    #[error("{0} is a mount of its own, which no new file can replace; mount its folder instead")]
    Mounted(PathBuf),
    /// The machine knows no such user or group.
    #[error("{path}: {why}")]
    Owner {
        /// The target.
        path: PathBuf,
        /// Who is missing, and from where.
        why: String,
    },
    /// The system refused a step.
    #[error("{path}: cannot {step}: {error}")]
    Io {
        /// The target.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// The system's answer.
        error: io::Error,
    },
}

/// Puts these bytes into a target. It blocks on the disk.
pub fn render(target: &TargetFile, contents: &[u8]) -> Result<Outcome, RenderError> {
    let ids =
        owner::resolve(target.owner.as_ref()).map_err(|why| RenderError::Owner { path: target.path.clone(), why })?;
    put(&target.path, contents, target.mode, ids)
}

/// Writes a file of Iaso's own data directory, which nobody else may read, in the same way; the directory itself may be a
/// symbolic link. It blocks on the disk.
pub fn write_private(path: &Path, contents: &[u8]) -> Result<(), RenderError> {
    let real = path.parent().and_then(|folder| folder.canonicalize().ok()).zip(path.file_name());
    let real = real.map_or_else(|| path.to_owned(), |(folder, name)| folder.join(name));
    put(&real, contents, 0o600, Ids::own()).map(|_| ())
}

fn put(path: &Path, contents: &[u8], mode: u32, ids: Ids) -> Result<Outcome, RenderError> {
    let place = Place::find(path)?;
    place.sweep();
    let Some(standing) = place.standing(contents)? else {
        place.write(contents, mode, ids)?;
        return Ok(Outcome::Created);
    };
    if !standing.same_bytes {
        place.write(contents, mode, ids)?;
        return Ok(Outcome::Replaced { bytes_changed: true });
    }
    if standing.mode == mode && standing.ids == ids {
        return Ok(Outcome::Unchanged);
    }
    // What has a second name, or belongs to somebody else, who may hold it open, is not made ours.
    if standing.has_one_name && (standing.ids.user == ids.user || standing.ids.user == Ids::own().user) {
        place.mend(&standing, mode, ids)?;
        return Ok(Outcome::Mended);
    }
    place.write(contents, mode, ids)?;
    Ok(Outcome::Replaced { bytes_changed: false })
}

#[cfg(test)]
mod tests;
