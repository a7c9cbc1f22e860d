//! A file's place in its folder. Everything goes through the opened folder, so that nobody can exchange it meanwhile.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, fsync, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use secrecy::zeroize::Zeroizing;

use super::RenderError;
use super::owner::Ids;
use crate::system::clock::random_u64;

/// Between a target's name and the random part of the name that its next contents have until they are whole.
const MARK: &str = ".iaso-";
const RANDOM_DIGITS: usize = 16;

/// Where a file is, or shall be.
pub(super) struct Place<'a> {
    path: &'a Path,
    name: &'a OsStr,
    folder: OwnedFd,
}

/// The file that stands there.
pub(super) struct Standing {
    file: Option<File>,
    pub(super) same_bytes: bool,
    pub(super) mode: u32,
    pub(super) ids: Ids,
    /// It has no other name, by which somebody else may know it.
    pub(super) has_one_name: bool,
}

impl<'a> Place<'a> {
    pub(super) fn find(path: &'a Path) -> Result<Self, RenderError> {
        let (Some(name), Some(folder)) = (path.file_name(), path.parent()) else {
            return Err(RenderError::NoName(path.to_owned()));
        };
        let owned = || (path.to_owned(), folder.to_owned());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match rustix::fs::open(folder, flags, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => {
                let (path, folder) = owned();
                return Err(RenderError::NoFolder { path, folder });
            }
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let (path, folder) = owned();
                let found = rustix::fs::lstat(&folder).map_or("not a folder", |stat| kind(&stat));
                return Err(RenderError::NotAFolder { path, folder, found });
            }
            Err(error) => return Err(io_error(path, "open its folder")(error)),
        };
        let mode = fstat(&opened).map_err(io_error(path, "look at its folder"))?.st_mode & 0o7777;
        if mode & 0o1002 == 0o0002 {
            let (path, folder) = owned();
            return Err(RenderError::OpenFolder { path, folder, mode });
        }
        Ok(Self { path, name, folder: opened })
    }

    /// Removes what an Iaso that was killed while it wrote this file has left. Only its own user could read that, and what
    /// cannot be removed now is met again the next time.
    pub(super) fn sweep(&self) {
        let Ok(entries) = Dir::read_from(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if self.is_leftover(name) {
                let _ = unlinkat(&self.folder, name, AtFlags::empty());
            }
        }
    }

    fn is_leftover(&self, name: &OsStr) -> bool {
        let random = name
            .as_bytes()
            .strip_prefix(b".")
            .and_then(|name| name.strip_prefix(self.name.as_bytes()))
            .and_then(|name| name.strip_prefix(MARK.as_bytes()));
        random.is_some_and(|random| random.len() == RANDOM_DIGITS && random.iter().all(u8::is_ascii_hexdigit))
    }

    /// What stands there, compared with what shall stand there; none where nothing does.
    pub(super) fn standing(&self, contents: &[u8]) -> Result<Option<Standing>, RenderError> {
        // Opening a device can do something by itself, so that it is looked at before.
        match statat(&self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.regular(&stat)?,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(io_error(self.path, "look at it")(error)),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, self.name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            // It cannot be compared, and can be replaced.
            Err(Errno::ACCESS) => {
                let ids = Ids::own();
                return Ok(Some(Standing { file: None, same_bytes: false, mode: 0, ids, has_one_name: true }));
            }
            Err(error) => return Err(io_error(self.path, "open it")(error)),
        };
        let stat = fstat(&file).map_err(io_error(self.path, "look at it"))?;
        self.regular(&stat)?;
        let same_bytes = u64::try_from(stat.st_size).is_ok_and(|size| size == contents.len() as u64)
            && holds(&file, contents).map_err(|error| self.error("read it", error))?;
        let ids = Ids { user: stat.st_uid, group: stat.st_gid };
        // A number of another width on each architecture.
        let has_one_name = stat.st_nlink == 1;
        Ok(Some(Standing { file: Some(file), same_bytes, mode: stat.st_mode & 0o7777, ids, has_one_name }))
    }

    fn regular(&self, stat: &Stat) -> Result<(), RenderError> {
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            return Ok(());
        }
        Err(RenderError::NotAFile { path: self.path.to_owned(), found: kind(stat) })
    }

    /// Gives the file that stands there another mode and owner; nobody may read it on the way who may not in the end.
    pub(super) fn mend(&self, standing: &Standing, mode: u32, ids: Ids) -> Result<(), RenderError> {
        let Some(file) = &standing.file else { return Ok(()) };
        fchmod(file, Mode::from_raw_mode(standing.mode & mode)).map_err(io_error(self.path, "set its mode"))?;
        self.give(file, standing.ids, ids)?;
        fchmod(file, Mode::from_raw_mode(mode)).map_err(io_error(self.path, "set its mode"))?;
        file.sync_all().map_err(|error| self.error("sync it", error))
    }

    /// Writes a file beside it, which takes its name once it is whole.
    pub(super) fn write(&self, contents: &[u8], mode: u32, ids: Ids) -> Result<(), RenderError> {
        let mut name = OsString::from(".");
        name.push(self.name);
        name.push(format!("{MARK}{:0RANDOM_DIGITS$x}", random_u64()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = openat(&self.folder, &name, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(created.map_err(io_error(self.path, "make a file beside it"))?);
        let unfinished = Unfinished { folder: &self.folder, name: &name };
        file.write_all(contents).map_err(|error| self.error("write it", error))?;
        let made = fstat(&file).map_err(io_error(self.path, "look at the new file"))?;
        self.give(&file, Ids { user: made.st_uid, group: made.st_gid }, ids)?;
        fchmod(&file, Mode::from_raw_mode(mode)).map_err(io_error(self.path, "set its mode"))?;
        file.sync_all().map_err(|error| self.error("sync it", error))?;
        match renameat(&self.folder, &name, &self.folder, self.name) {
            Ok(()) => std::mem::forget(unfinished),
            Err(Errno::BUSY) => return Err(RenderError::Mounted(self.path.to_owned())),
            Err(error) => return Err(io_error(self.path, "put the new file in its place")(error)),
        }
        fsync(&self.folder).map_err(io_error(self.path, "sync its folder"))
    }

    fn give(&self, file: &File, from: Ids, to: Ids) -> Result<(), RenderError> {
        if from == to {
            return Ok(());
        }
        // What stays is not named: to give away what one has already can be refused too.
        let user = (from.user != to.user).then(|| Uid::from_raw(to.user));
        let group = (from.group != to.group).then(|| Gid::from_raw(to.group));
        fchown(file, user, group).map_err(io_error(self.path, "give it to its owner"))
    }

    fn error(&self, step: &'static str, error: io::Error) -> RenderError {
        RenderError::Io { path: self.path.to_owned(), step, error }
    }
}

/// A new file without its final name: it goes when this is dropped.
struct Unfinished<'a> {
    folder: &'a OwnedFd,
    name: &'a OsStr,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(self.folder, self.name, AtFlags::empty());
    }
}

/// Whether a file of the same size holds these bytes.
fn holds(mut file: &File, contents: &[u8]) -> io::Result<bool> {
    let mut found = Zeroizing::new(Vec::with_capacity(contents.len()));
    Read::take(&mut file, contents.len() as u64).read_to_end(&mut found)?;
    Ok(*found == contents)
}

fn kind(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something unknown",
    }
}

fn io_error(path: &Path, step: &'static str) -> impl FnOnce(Errno) -> RenderError {
    move |error| RenderError::Io { path: path.to_owned(), step, error: error.into() }
}
