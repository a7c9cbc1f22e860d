//! What Iaso logs in with, watched for changes while it is not let in.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::Desk;

/// What shows that a file is another one, or was written anew; none where there is no such file.
pub(super) type Stamp = Option<(u64, u64, i64, i64)>;

/// How the files stand now.
pub(super) fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let seen = std::fs::metadata(file).ok()?;
        Some((seen.ino(), seen.len(), seen.mtime(), seen.mtime_nsec()))
    };
    files.iter().map(stamp).collect()
}

impl Desk {
    /// Whether what Iaso logs in with has changed since this was asked last. Files are looked at only while the session does
    /// not stand: a login reads them anyway.
    pub(super) fn login_changed(&mut self) -> bool {
        if self.keeper.session(self.ports.clock.mono()).up {
            return false;
        }
        let now = stamps(&self.means.login_files);
        std::mem::replace(&mut self.login_files, now) != self.login_files
    }
}
