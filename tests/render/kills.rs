//! `kill -9` at every step: the target is the old file or the new one, whole, with its mode and owner, and what is left beside it
//! goes with the next rendering.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

use iaso::credentials::render::{Outcome, render};
use libtest_mimic::{Failed, Trial};

use crate::support::{Need, test};
use crate::{Verdict, scratch, target};

/// Names the target to the executable that runs as the writer.
pub const WRITER: &str = "IASO_TEST_RENDER_WRITER";
/// What rendering asks of the system. Each is counted by itself; a program's own start asks for some of it too.
const CALLS: [&str; 9] =
    ["openat", "newfstatat", "getdents64", "write", "fchown", "fchmod", "fsync", "renameat", "close"];
/// More of one call than a writer makes.
const MOST: u32 = 500;
const OLD: &[u8] = b"old";
/// Larger than what one write of a pipe's size takes.
static NEW: [u8; 100_000] = [b'n'; 100_000];

pub fn tests() -> Vec<Trial> {
    let needs = [Need::Program("strace")];
    vec![
        test("kills::at_every_call", &needs, at_every_call),
        test("kills::the_steps_come_in_their_order", &needs, the_steps_come_in_their_order),
        test("kills::a_reader_sees_old_or_new", &[Need::Nothing], a_reader_sees_old_or_new),
    ]
}

/// The writer: renders once, and says so.
pub fn write(path: PathBuf) -> ExitCode {
    render(&target(path), &NEW).unwrap();
    let mut out = std::io::stdout();
    out.write_all(b"rendered\n").unwrap();
    out.flush().unwrap();
    ExitCode::SUCCESS
}

/// Its bytes are old or new, and its mode and owner are right.
#[track_caller]
fn is_whole(path: &Path, when: &str) -> Vec<u8> {
    let (found, stat) = (fs::read(path).unwrap(), fs::metadata(path).unwrap());
    assert!(found == OLD || found == NEW, "{when}: {} bytes", found.len());
    let at_rest = fs::metadata(path.with_file_name("reference")).unwrap();
    assert_eq!(stat.mode() & 0o7777, 0o640, "{when}");
    assert_eq!((stat.uid(), stat.gid()), (at_rest.uid(), at_rest.gid()), "{when}");
    found
}

fn at_every_call() -> Verdict {
    let (mut old, mut new, mut left) = (0, 0, 0);
    for call in CALLS {
        let mut nth = 1;
        while let Some(killed) = killed_at(call, nth)? {
            *if killed.new { &mut new } else { &mut old } += 1;
            left += killed.left;
            nth += 1;
            assert!(nth < MOST, "the writer never came to its end");
        }
    }
    // The three calls between the first byte and the rename, and the rename itself, leave something beside it.
    assert!(old > 20 && new > 1 && left > 3, "killed too little: {old} old, {new} new, {left} left");
    Ok(())
}

/// What was found after a kill.
struct Killed {
    new: bool,
    left: u32,
}

/// Kills a writer at a call; none where it came to its end.
fn killed_at(call: &str, nth: u32) -> Result<Option<Killed>, Failed> {
    let dir = scratch();
    let path = dir.path().join("secret");
    render(&target(dir.path().join("reference")), OLD)?;
    render(&target(path.clone()), OLD)?;
    let output = Command::new("strace")
        .args(["-qqq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=KILL:when={nth}")])
        .arg(std::env::current_exe()?)
        .env(WRITER, &path)
        .output()?;
    let when = format!("killed at {call} {nth}");
    let new = is_whole(&path, &when) == NEW;
    let done = output.stdout == b"rendered\n";
    assert!(new || !done, "{when}: what was said to be rendered is not");
    let mut left = 0;
    for entry in fs::read_dir(dir.path())? {
        let (name, stat) = entry.and_then(|entry| Ok((entry.file_name(), entry.metadata()?)))?;
        if name != "secret" && name != "reference" {
            left += 1;
            // It is Iaso's alone until it is whole.
            let mode = stat.mode() & 0o7777;
            assert!(mode == 0o600 || mode == 0o640 && stat.len() == NEW.len() as u64, "{when}: {mode:o}");
        }
    }
    let again = render(&target(path.clone()), &NEW)?;
    let expected = if new { Outcome::Unchanged } else { Outcome::Replaced { bytes_changed: true } };
    assert_eq!(again, expected, "{when}");
    assert_eq!(is_whole(&path, &when), NEW, "{when}");
    assert_eq!(fs::read_dir(dir.path())?.count(), 2, "{when}: something is left");
    Ok((!output.status.success()).then_some(Killed { new, left }))
}

fn the_steps_come_in_their_order() -> Verdict {
    let dir = scratch();
    let (path, log) = (dir.path().join("secret"), dir.path().join("log"));
    let status = Command::new("strace")
        .args(["-y", "-qqq", "-e", "trace=openat,write,fchmod,fchown,fsync,renameat", "-o"])
        .arg(&log)
        .arg(std::env::current_exe()?)
        .env(WRITER, &path)
        .output()?
        .status;
    assert!(status.success());
    let log = fs::read_to_string(log)?;
    let steps: Vec<&str> = log
        .lines()
        .skip_while(|line| !line.contains(".secret.iaso-"))
        .filter_map(|line| line.split_once('(').map(|(call, _)| call))
        .collect();
    let give = if rustix::process::geteuid().is_root() { &["fchown"][..] } else { &[] };
    let expected = [&["openat", "write"][..], give, &["fchmod", "fsync", "renameat", "fsync", "write"]].concat();
    assert_eq!(steps, expected, "{log}");
    let made = log.lines().find(|line| line.contains(".secret.iaso-")).unwrap_or_default();
    assert!(["O_EXCL", "O_NOFOLLOW", "O_CLOEXEC", "0600"].iter().all(|part| made.contains(part)), "{made}");
    let synced: Vec<&str> = log.lines().filter(|line| line.starts_with("fsync")).collect();
    assert!(synced[0].contains(".secret.iaso-") && synced[1].contains(&format!("<{}>", dir.path().display())), "{log}");
    Ok(())
}

fn a_reader_sees_old_or_new() -> Verdict {
    let dir = scratch();
    let path = dir.path().join("secret");
    render(&target(dir.path().join("reference")), OLD)?;
    render(&target(path.clone()), OLD)?;
    let done = AtomicBool::new(false);
    let (looks, olds) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut looks, mut olds) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                looks += 1;
                olds += u32::from(is_whole(&path, "while it is rendered") == OLD);
            }
            (looks, olds)
        });
        for round in 0..100 {
            render(&target(path.clone()), if round % 2 == 0 { &NEW } else { OLD }).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(looks > 0, "nobody looked ({olds} saw the old one)");
    Ok(())
}
