//! The log file: rotated by size, opened anew when it or its folder has gone. None of the published rotating writers comes
//! back from a full disk or a folder that vanished, and each brings a calendar along; renaming is all that is needed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The size at which a file is put aside, in bytes.
const LARGEST: u64 = 10 * 1024 * 1024;

/// How many that were put aside are kept: `iaso.log.1`, the newest, to `iaso.log.5`.
const KEPT: u32 = 5;

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    largest: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// The device and the inode, which tell whether the path still leads here.
    id: (u64, u64),
    size: u64,
}

impl LogFile {
    /// At this path. Nothing is opened before the first line.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, largest: LARGEST, open: None }
    }

    /// Appends a line, whole or not at all. The next call tries again whatever went wrong in this one.
    ///
    /// # Errors
    /// In words that name the file.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.try_append(line).map_err(|error| {
            self.open = None;
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        })
    }

    fn try_append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        let mut open = self.opened()?;
        if open.size > 0 && open.size.saturating_add(length) > self.largest {
            self.put_aside()?;
            open = self.opened()?;
        }
        let size = open.size;
        if let Err(error) = open.file.write_all(line) {
            // A part of a line would spoil the next one.
            let _ = open.file.set_len(size);
            return Err(error);
        }
        open.size += length;
        self.open = Some(open);
        Ok(())
    }

    /// The file that the path leads to now: somebody may have moved or removed what was open.
    fn opened(&mut self) -> io::Result<Open> {
        if let Some(open) = self.open.take()
            && fs::metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == open.id)
        {
            return Ok(open);
        }
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&self.path)?;
        let there = file.metadata()?;
        Ok(Open { id: (there.dev(), there.ino()), size: there.len(), file })
    }

    /// Renames `iaso.log` to `iaso.log.1`, that to `.2`, and so on; the oldest goes.
    fn put_aside(&self) -> io::Result<()> {
        for number in (1..KEPT).rev() {
            match fs::rename(aside(&self.path, number), aside(&self.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, aside(&self.path, 1))
    }
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn small(folder: &Path) -> LogFile {
        LogFile { path: folder.join("iaso.log"), largest: 10, open: None }
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn it_is_put_aside_before_it_is_too_large_and_five_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = small(folder.path());
        for number in 0..15 {
            log.append(format!("{number:03}\n").as_bytes()).unwrap();
        }
        assert_eq!(text(&log.path), "014\n");
        let kept: Vec<String> = (1..=KEPT).map(|number| text(&aside(&log.path, number))).collect();
        assert_eq!(kept, ["012\n013\n", "010\n011\n", "008\n009\n", "006\n007\n", "004\n005\n"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
        // One line that is larger than a whole file is still written.
        log.append(b"far too long a line\n").unwrap();
        assert_eq!(text(&log.path), "far too long a line\n");
        let mode = fs::metadata(&log.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
    }

    #[test]
    fn what_was_there_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        small(folder.path()).append(b"one\n").unwrap();
        let mut again = small(folder.path());
        again.append(b"two\n").unwrap();
        assert_eq!(text(&again.path), "one\ntwo\n");
        again.append(b"three\n").unwrap();
        assert_eq!(text(&again.path), "three\n", "its size before this start counts");
    }

    #[test]
    fn it_follows_its_path_when_the_file_or_its_folder_goes() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("log");
        let mut log = small(&inner);
        log.append(b"one\n").unwrap();
        fs::rename(&log.path, folder.path().join("moved")).unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(text(&log.path), "two\n");
        fs::remove_dir_all(&inner).unwrap();
        log.append(b"three\n").unwrap();
        assert_eq!(text(&log.path), "three\n");
    }

    #[test]
    fn one_that_cannot_be_written_is_named_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("log");
        fs::write(&inner, "a file where the folder should be").unwrap();
        let mut log = small(&inner);
        let error = log.append(b"one\n").unwrap_err().to_string();
        assert!(error.contains("log/iaso.log"), "{error}");
        fs::remove_file(&inner).unwrap();
        log.append(b"two\n").unwrap();
        assert_eq!(text(&log.path), "two\n");
    }
}
