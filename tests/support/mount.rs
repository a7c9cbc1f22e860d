//! A file system of a test's own, unmounted when it is dropped: what may be full, read-only or frozen.
#![allow(dead_code, reason = "each executable uses some")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use iaso::system::clock::stopwatch;

use crate::scratch;

/// Only a hang takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The file system.
pub struct Mount {
    /// Where it is mounted.
    pub at: PathBuf,
    _dir: tempfile::TempDir,
}

impl Mount {
    pub fn tmpfs(size: &str) -> Self {
        let dir = scratch();
        let at = dir.path().join("iaso-test-mount");
        fs::create_dir(&at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "iaso-test", at.to_str().unwrap()]);
        Self { at, _dir: dir }
    }

    pub fn ext4() -> Self {
        Self::ext4_of(32 << 20)
    }

    /// Of so many bytes, which it takes from the real disk only as they are written.
    pub fn ext4_of(bytes: u64) -> Self {
        let dir = scratch();
        let (image, at) = (dir.path().join("image"), dir.path().join("iaso-test-mount"));
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        fs::create_dir(&at).unwrap();
        run("mkfs.ext4", &["-q", image.to_str().unwrap()]);
        run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
        Self { at, _dir: dir }
    }

    /// Changes an option of it.
    pub fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        until_let_go(&options, || {
            let output = Command::new("mount").args(["-o", &options]).arg(&self.at).output().unwrap();
            let why = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || why.contains("busy"), "mount -o {options}: {why}");
            output.status.success()
        });
    }

    /// Waits until all of it but so many bytes is free again after something was removed.
    pub fn until_free_but(&self, bytes: u64) {
        until_let_go("free", || {
            let all = rustix::fs::statvfs(&self.at).unwrap();
            (all.f_blocks - all.f_bfree) * all.f_frsize <= bytes
        });
    }

    /// From now on every write hangs, until what is returned is dropped.
    pub fn freeze(&self) -> Frozen<'_> {
        run("fsfreeze", &["-f", self.at.to_str().unwrap()]);
        Frozen(self)
    }
}

/// A file system whose writes hang, so that a process that writes cannot even be killed.
#[must_use]
pub struct Frozen<'m>(&'m Mount);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").args(["-u".as_ref(), self.0.at.as_os_str()]).output();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l".as_ref(), self.at.as_os_str()]).output();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A process that another test is starting has its parent's files open until it has become its own program.
fn until_let_go(what: &str, mut done: impl FnMut() -> bool) {
    let waited = stopwatch();
    while !done() {
        assert!(waited() < PATIENCE, "a file is held open: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
