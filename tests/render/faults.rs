//! What a disk, an owner or a mount refuses: the words name the file, and it stays as it was.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use iaso::config::validated::{Owner, TargetFile};
use iaso::credentials::render::{Outcome, RenderError, render};
use libtest_mimic::Trial;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::mount::Mount;
use crate::support::{Need, test};
use crate::{Verdict, scratch};

/// Nobody's number, and another's.
const NOBODY: u32 = 65_534;
const SOMEBODY: u32 = 54_321;

pub fn tests() -> Vec<Trial> {
    let root = |name: &str, run: fn() -> Verdict| test(&format!("faults::{name}"), &[Need::Root], run);
    let mounted =
        |name: &str, run: fn() -> Verdict| test(&format!("faults::{name}"), &[Need::Root, Need::Program("mount")], run);
    vec![
        root("a_file_belongs_to_whom_it_should", a_file_belongs_to_whom_it_should),
        root("what_somebody_else_may_hold_open_is_replaced", what_somebody_else_may_hold_open_is_replaced),
        root("without_root_nothing_is_given_away", without_root_nothing_is_given_away),
        root("what_cannot_be_read_is_replaced", what_cannot_be_read_is_replaced),
        root("a_folder_that_may_not_be_written_to", a_folder_that_may_not_be_written_to),
        root("a_device_is_left_alone", a_device_is_left_alone),
        mounted("a_full_disk", a_full_disk),
        mounted("a_read_only_disk", a_read_only_disk),
        mounted("a_file_that_is_a_mount", a_file_that_is_a_mount),
    ]
}

fn target(path: &Path, user: Option<u32>, group: Option<u32>) -> TargetFile {
    let owner = Owner { user: user.map(|user| user.to_string()), group: group.map(|group| group.to_string()) };
    TargetFile { path: path.to_owned(), mode: 0o640, owner: Some(owner), template: None }
}

fn plain(path: &Path) -> TargetFile {
    TargetFile { path: path.to_owned(), mode: 0o640, owner: None, template: None }
}

fn stands(path: &Path) -> (u32, u32, u32) {
    let stat = fs::metadata(path).unwrap();
    (stat.mode() & 0o7777, stat.uid(), stat.gid())
}

#[track_caller]
fn refused(target: &TargetFile, contents: &[u8], words: &str) {
    let error = render(target, contents).unwrap_err().to_string();
    assert!(error.starts_with(&target.path.display().to_string()) && error.contains(words), "{error}");
}

fn alone_in(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().count() == 1
}

/// Runs this as nobody, in a thread of its own.
fn as_nobody(run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
            set_thread_res_gid(group, group, group).unwrap();
            set_thread_res_uid(user, user, user).unwrap();
            run();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn a_file_belongs_to_whom_it_should() -> Verdict {
    let dir = scratch();
    let path = dir.path().join("secret");
    for (user, group, expected) in [
        (Some(NOBODY), Some(SOMEBODY), (0o640, NOBODY, SOMEBODY)),
        (None, Some(SOMEBODY), (0o640, 0, SOMEBODY)),
        (Some(NOBODY), None, (0o640, NOBODY, 0)),
    ] {
        let _ = fs::remove_file(&path);
        assert_eq!(render(&target(&path, user, group), b"one")?, Outcome::Created);
        assert_eq!(stands(&path), expected);
        assert_eq!(render(&target(&path, user, group), b"one")?, Outcome::Unchanged);
        assert_eq!(render(&target(&path, user, group), b"two")?, Outcome::Replaced { bytes_changed: true });
        assert_eq!(stands(&path), expected);
        fs::write(&path, "one")?;
    }
    // Another owner, and a mode that giving away would clear.
    let setuid = TargetFile { mode: 0o4750, ..target(&path, Some(NOBODY), Some(NOBODY)) };
    std::os::unix::fs::chown(&path, Some(0), Some(0))?;
    let before = fs::metadata(&path)?;
    assert_eq!(render(&setuid, b"one")?, Outcome::Mended);
    assert_eq!(stands(&path), (0o4750, NOBODY, NOBODY));
    assert_eq!((before.ino(), before.mtime_nsec()), (fs::metadata(&path)?.ino(), fs::metadata(&path)?.mtime_nsec()));
    // A folder that hands down its group changes nothing.
    std::os::unix::fs::chown(dir.path(), None, Some(SOMEBODY))?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o2755))?;
    fs::remove_file(&path)?;
    render(&plain(&path), b"one")?;
    assert_eq!(stands(&path), (0o640, 0, 0));
    Ok(())
}

fn what_somebody_else_may_hold_open_is_replaced() -> Verdict {
    let dir = scratch();
    let path = dir.path().join("secret");
    fs::write(&path, "one")?;
    std::os::unix::fs::chown(&path, Some(SOMEBODY), None)?;
    let held = fs::File::options().append(true).open(&path)?;
    assert_eq!(render(&target(&path, Some(NOBODY), None), b"one")?, Outcome::Replaced { bytes_changed: false });
    std::io::Write::write_all(&mut &held, b"evil")?;
    assert_eq!((fs::read(&path)?, stands(&path).1), (b"one".to_vec(), NOBODY));
    Ok(())
}

/// A folder that nobody may reach and write to.
fn for_nobody() -> tempfile::TempDir {
    // Not under the target directory, which nobody else may be able to reach.
    let dir = tempfile::Builder::new().prefix("iaso-test-render-").tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    dir
}

fn without_root_nothing_is_given_away() -> Verdict {
    let dir = for_nobody();
    let path = dir.path().join("secret");
    as_nobody(|| {
        assert_eq!(render(&plain(&path), b"one").unwrap(), Outcome::Created);
        for contents in [b"one", b"two"] {
            refused(&target(&path, Some(0), None), contents, "cannot give it to its owner: Operation not permitted");
        }
        assert_eq!(render(&target(&path, Some(NOBODY), Some(NOBODY)), b"one").unwrap(), Outcome::Unchanged);
    });
    assert_eq!((fs::read(&path)?, stands(&path)), (b"one".to_vec(), (0o640, NOBODY, NOBODY)));
    assert!(alone_in(dir.path()));
    Ok(())
}

fn what_cannot_be_read_is_replaced() -> Verdict {
    let dir = for_nobody();
    let path = dir.path().join("secret");
    fs::write(&path, "one")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    as_nobody(|| assert_eq!(render(&plain(&path), b"one").unwrap(), Outcome::Replaced { bytes_changed: true }));
    assert_eq!(stands(&path), (0o640, NOBODY, NOBODY));
    Ok(())
}

fn a_folder_that_may_not_be_written_to() -> Verdict {
    let dir = for_nobody();
    let path = dir.path().join("secret");
    as_nobody(|| render(&plain(&path), b"one").map(drop).unwrap());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500))?;
    as_nobody(|| refused(&plain(&path), b"two", "cannot make a file beside it: Permission denied"));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o000))?;
    as_nobody(|| refused(&plain(&path), b"two", "cannot open its folder: Permission denied"));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700))?;
    assert_eq!(fs::read(&path)?, b"one");
    Ok(())
}

fn a_device_is_left_alone() -> Verdict {
    refused(&plain(Path::new("/dev/null")), b"one", "is a device; expected a regular file, or nothing");
    Ok(())
}

fn a_full_disk() -> Verdict {
    let mount = Mount::tmpfs("64k");
    fs::set_permissions(&mount.at, fs::Permissions::from_mode(0o755))?;
    let target = plain(&mount.at.join("secret"));
    render(&target, b"one")?;
    refused(&target, &[b'x'; 100_000], "cannot write it: No space left on device");
    assert_eq!(fs::read(&target.path)?, b"one");
    assert!(alone_in(&mount.at));
    mount.until_free_but(8 << 10);
    assert_eq!(render(&target, b"two")?, Outcome::Replaced { bytes_changed: true });
    Ok(())
}

fn a_read_only_disk() -> Verdict {
    let mount = Mount::tmpfs("1m");
    fs::set_permissions(&mount.at, fs::Permissions::from_mode(0o755))?;
    let target = plain(&mount.at.join("secret"));
    render(&target, b"one")?;
    mount.remount("ro");
    refused(&target, b"two", "cannot make a file beside it: Read-only file system");
    assert_eq!(render(&target, b"one")?, Outcome::Unchanged);
    refused(&TargetFile { mode: 0o600, ..target.clone() }, b"one", "cannot set its mode: Read-only file system");
    mount.remount("rw");
    assert_eq!(render(&target, b"two")?, Outcome::Replaced { bytes_changed: true });
    Ok(())
}

fn a_file_that_is_a_mount() -> Verdict {
    let mount = Mount::tmpfs("1m");
    fs::set_permissions(&mount.at, fs::Permissions::from_mode(0o755))?;
    let target = plain(&mount.at.join("secret"));
    render(&target, b"one")?;
    // It goes with the file system that it is in.
    let bound = Command::new("mount").arg("--bind").args([&target.path, &target.path]).output()?;
    assert!(bound.status.success(), "{bound:?}");
    let error = render(&target, b"two").unwrap_err();
    assert!(matches!(error, RenderError::Mounted(_)) && error.to_string().contains("mount its folder"), "{error}");
    assert_eq!(fs::read(&target.path)?, b"one");
    assert!(alone_in(&mount.at));
    Ok(())
}
