use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::config::validated::Owner;

fn target(path: PathBuf) -> TargetFile {
    TargetFile { path, mode: 0o640, owner: None, template: None }
}

fn in_folder() -> (TempDir, TargetFile) {
    let dir = tempfile::tempdir().unwrap();
    let target = target(dir.path().join("secret"));
    (dir, target)
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn long_ago(path: &Path) {
    let times = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    fs::File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

#[test]
fn a_file_is_made_changed_and_then_left_alone() {
    let (dir, target) = in_folder();
    assert_eq!(render(&target, b"one").unwrap(), Outcome::Created);
    assert_eq!(fs::metadata(&target.path).unwrap().mode() & 0o7777, 0o640);
    let changed = render(&target, b"two").unwrap();
    assert_eq!(changed, Outcome::Replaced { bytes_changed: true });
    assert!(changed.bytes_changed() && changed.inode_changed() && !Outcome::Created.inode_changed());
    long_ago(&target.path);
    let before = fs::metadata(&target.path).unwrap();
    assert_eq!(render(&target, b"two").unwrap(), Outcome::Unchanged);
    let after = fs::metadata(&target.path).unwrap();
    assert_eq!((before.ino(), before.mtime(), before.ctime_nsec()), (after.ino(), after.mtime(), after.ctime_nsec()));
    assert_eq!(fs::read(&target.path).unwrap(), b"two");
    assert_eq!(render(&target, b"").unwrap(), Outcome::Replaced { bytes_changed: true });
    assert_eq!(names(&dir), ["secret"]);
}

#[test]
fn a_wrong_mode_is_mended_in_place() {
    let (_dir, target) = in_folder();
    render(&target, b"one").unwrap();
    for mode in [0o600, 0o666, 0o000, 0o4777] {
        long_ago(&target.path);
        fs::set_permissions(&target.path, fs::Permissions::from_mode(mode)).unwrap();
        let before = fs::metadata(&target.path).unwrap();
        let outcome = render(&target, b"one").unwrap();
        let after = fs::metadata(&target.path).unwrap();
        assert_eq!(after.mode() & 0o7777, 0o640, "{mode:o}");
        // Only root can compare what nobody may read.
        if mode != 0 || rustix::process::geteuid().is_root() {
            assert_eq!(outcome, Outcome::Mended, "{mode:o}");
            assert_eq!((before.ino(), before.mtime()), (after.ino(), after.mtime()), "{mode:o}");
            assert!(!outcome.bytes_changed() && !outcome.inode_changed());
        }
    }
}

#[test]
fn a_file_with_another_name_is_not_made_ours() {
    let (dir, target) = in_folder();
    let other = dir.path().join("other");
    fs::write(&other, "one").unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o604)).unwrap();
    fs::hard_link(&other, &target.path).unwrap();
    assert_eq!(render(&target, b"one").unwrap(), Outcome::Replaced { bytes_changed: false });
    assert_eq!(fs::metadata(&other).unwrap().mode() & 0o7777, 0o604);
    assert_eq!(fs::metadata(&target.path).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn what_a_killed_iaso_left_of_this_file_is_removed_and_nothing_else() {
    let (dir, target) = in_folder();
    render(&target, b"one").unwrap();
    let kept = [
        ".other.iaso-0123456789abcdef",
        ".secret.iaso-0123456789abcde",
        ".secret.iaso-0123456789abcdeg",
        ".secret.iaso-0123456789abcdef.bak",
        "secret.iaso-0123456789abcdef",
    ];
    for name in kept.into_iter().chain([".secret.iaso-0123456789abcdef", ".secret.iaso-ffffffffffffffff"]) {
        fs::write(dir.path().join(name), "left").unwrap();
    }
    assert_eq!(render(&target, b"one").unwrap(), Outcome::Unchanged);
    let mut expected = kept.to_vec();
    expected.push("secret");
    expected.sort_unstable();
    assert_eq!(names(&dir), expected);
}

#[track_caller]
fn refused(target: &TargetFile, words: &str) {
    let error = render(target, b"planted").unwrap_err().to_string();
    assert!(error.contains(words) && error.contains(&target.path.display().to_string()), "{error}");
    assert!(!error.contains("planted"), "{error}");
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let (dir, target) = in_folder();
    let place = &target.path;
    fs::write(dir.path().join("elsewhere"), "mine").unwrap();
    symlink(dir.path().join("elsewhere"), place).unwrap();
    refused(&target, "is a symbolic link; expected a regular file, or nothing");
    assert_eq!(fs::read_to_string(dir.path().join("elsewhere")).unwrap(), "mine");
    fs::remove_file(place).unwrap();
    symlink("nowhere", place).unwrap();
    refused(&target, "is a symbolic link");
    fs::remove_file(place).unwrap();
    fs::create_dir(place).unwrap();
    refused(&target, "is a folder");
    fs::remove_dir(place).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, place, rustix::fs::Mode::RUSR).unwrap();
    refused(&target, "is a named pipe");
    fs::remove_file(place).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place).unwrap();
    refused(&target, "is a socket");
    assert_eq!(names(&dir), ["elsewhere", "secret"]);
}

#[test]
fn its_folder_must_be_one_that_others_cannot_exchange_files_in() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    let inside = target(folder.join("secret"));
    refused(&inside, "folder does not exist; Iaso makes none");
    fs::write(&folder, "").unwrap();
    refused(&inside, "folder is a regular file; expected the folder itself");
    fs::remove_file(&folder).unwrap();

    fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", &folder).unwrap();
    refused(&inside, "folder is a symbolic link; expected the folder itself");
    // Further up it is the operator's.
    fs::create_dir(dir.path().join("real/below")).unwrap();
    assert_eq!(render(&target(folder.join("below/secret")), b"x").unwrap(), Outcome::Created);
    fs::remove_file(&folder).unwrap();

    fs::create_dir(&folder).unwrap();
    for (mode, open) in [(0o777, true), (0o702, true), (0o1777, false), (0o770, false)] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        match open {
            true => refused(&inside, &format!("(mode {mode:04o}); expected one that others may not write to")),
            false => assert!(render(&inside, format!("{mode}").as_bytes()).is_ok(), "{mode:o}"),
        }
    }
    for path in ["/", "", ".."] {
        assert!(matches!(render(&target(path.into()), b"x"), Err(RenderError::NoName(_))), "{path}");
    }
}

#[test]
fn nothing_is_left_where_the_owner_is_unknown_or_the_name_too_long() {
    let (dir, mut target) = in_folder();
    target.owner = Some(Owner { user: Some("nobody-of-that-name".to_owned()), group: None });
    refused(&target, "there is no user nobody-of-that-name in /etc/passwd");
    target.owner = None;
    target.path = dir.path().join("n".repeat(250));
    refused(&target, "cannot make a file beside it: File name too long");
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn a_file_of_iasos_own_is_nobody_elses_even_behind_a_link() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", dir.path().join("link")).unwrap();
    write_private(&dir.path().join("link/journal"), b"x").unwrap();
    let file = dir.path().join("real/journal");
    assert_eq!((fs::read(&file).unwrap(), fs::metadata(&file).unwrap().mode() & 0o7777), (b"x".to_vec(), 0o600));
}
