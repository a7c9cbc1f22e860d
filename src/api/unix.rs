//! The Unix socket of the command line: for root and group `iaso`, from its first instant.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The group whose members may use the socket.
const GROUP: &str = "iaso";

/// The socket's file, removed again when dropped, if it is still this one.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A daemon listens there.
    #[error("another daemon listens on {0}")]
    InUse(PathBuf),
    /// Something that is no socket is there.
    #[error("{0} exists and is not a socket: expected nothing, or a socket that nobody listens on any more")]
    NotASocket(PathBuf),
    /// The operating system refuses.
    #[error("cannot {what} {path}: {error}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// The refusal.
        error: io::Error,
    },
}

impl SocketFile {
    /// Listens on a new socket at `path`: mode 0660, group `iaso` where there is one and this process may give it away. The
    /// socket of a dead process is replaced, a living one's never; a missing directory is made.
    ///
    /// # Errors
    /// When the place is taken, or the operating system refuses.
    pub fn listen(path: &Path) -> Result<(UnixListener, Self), SocketError> {
        let refused = |what, error: io::Error| SocketError::Refused { what, path: path.to_owned(), error };
        make_way(path)?;
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(|error| refused("make the directory of", error))?;
        }
        let socket = new_socket().map_err(|error| refused("make the socket", error.into()))?;
        let address = SocketAddrUnix::new(path).map_err(|error| refused("name the socket", error.into()))?;
        rustix::net::bind(&socket, &address).map_err(|error| refused("make the socket", error.into()))?;
        // Nobody can connect before `listen`, so nobody slips in before its mode and group are right.
        rustix::fs::chmod(path, Mode::from_raw_mode(0o660))
            .map_err(|error| refused("set the mode of", error.into()))?;
        if let Some(group) = group_id(&fs::read_to_string("/etc/group").unwrap_or_default(), GROUP)
            && let Err(error) = rustix::fs::chown(path, None, Some(Gid::from_raw(group)))
        {
            tracing::warn!(%error, path = %path.display(), "cannot give the socket to group {GROUP}: only its owner may use it");
        }
        rustix::net::listen(&socket, 128).map_err(|error| refused("listen on", error.into()))?;
        let metadata = fs::symlink_metadata(path).map_err(|error| refused("look at", error))?;
        let file = Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
        Ok((UnixListener::from(socket), file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| metadata.dev() == self.device && metadata.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket");
        }
    }
}

/// Removes the socket of a dead process: one that refuses connections.
fn make_way(path: &Path) -> Result<(), SocketError> {
    let refused = |what, error| SocketError::Refused { what, path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused("look at", error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match try_connect(path) {
        // One that is too busy to take a connection lives too.
        Ok(()) | Err(Errno::AGAIN) => Err(SocketError::InUse(path.to_owned())),
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(|error| refused("remove the dead socket", error)),
        Err(error) => Err(refused("try the socket that is already at", error.into())),
    }
}

/// Connects without waiting: a frozen daemon with a full backlog would never answer.
fn try_connect(path: &Path) -> Result<(), Errno> {
    rustix::net::connect(&new_socket()?, &SocketAddrUnix::new(path)?)
}

fn new_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// The number of a group, from the text of `/etc/group`.
fn group_id(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_mode_is_right_and_the_file_goes_with_its_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/iaso.sock");
        let (listener, file) = SocketFile::listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        drop((listener, file));
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_process_s_socket_is_replaced_and_a_living_one_s_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("iaso.sock");
        // The standard listener leaves its file behind, as a killed process does.
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, file) = SocketFile::listen(&path).unwrap();
        assert!(matches!(SocketFile::listen(&path), Err(SocketError::InUse(_))));
        assert!(UnixStream::connect(&path).is_ok(), "the living one was harmed");
        // Another daemon's new socket at the same path is not this one's to remove.
        fs::remove_file(&path).unwrap();
        let _newer = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_frozen_daemon_s_socket_is_not_waited_for_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("iaso.sock");
        let frozen = new_socket().unwrap();
        rustix::net::bind(&frozen, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&frozen, 0).unwrap();
        let mut waiting = Vec::new();
        while let Ok(client) = connect_one(&path) {
            waiting.push(client);
        }
        assert!(matches!(SocketFile::listen(&path), Err(SocketError::InUse(_))));
    }

    fn connect_one(path: &Path) -> Result<OwnedFd, Errno> {
        let client = new_socket()?;
        rustix::net::connect(&client, &SocketAddrUnix::new(path)?)?;
        Ok(client)
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        fs::write(&path, "kept").unwrap();
        assert!(matches!(SocketFile::listen(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        let error = SocketFile::listen(&path.join("below.sock")).unwrap_err();
        assert!(matches!(error, SocketError::Refused { .. }), "{error}");
    }

    #[test]
    fn groups_are_read_without_the_c_library() {
        let text = "root:x:0:\niasology:x:7:\niaso:x:990:alice,bob\nbad:x:\n";
        assert_eq!((group_id(text, "iaso"), group_id(text, "bad"), group_id(text, "none")), (Some(990), None, None));
    }
}
