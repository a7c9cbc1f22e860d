//! `kill -9` at every write: whatever was acknowledged is there afterwards, in order, and nothing is damaged.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use iaso::store::Store;
use iaso::system::clock::Clock;
use libtest_mimic::Trial;

use crate::records::{charge, hold, web};
use crate::support::{Need, test};
use crate::{Verdict, scratch, wait};

/// Names the data directory to the executable that runs as the writer.
pub const WRITER: &str = "IASO_TEST_STORE_WRITER";
/// Charges that a writer makes.
const CHARGES: i64 = 4;
/// What changes a file or waits for the disk. Each thread counts its own.
const CALLS: &str = "write,pwrite64,ftruncate,fsync,fdatasync,rename,unlink";
/// More writes than any thread of a writer makes.
const WRITES: u32 = 400;

pub fn tests() -> Vec<Trial> {
    let needs = [Need::Program("strace")];
    vec![
        test("kills::while_the_file_is_made", &needs, || at_every_write(false)),
        test("kills::while_charges_are_written", &needs, || at_every_write(true)),
    ]
}

/// The writer: charges one by one, and says after each that it was acknowledged.
pub fn write(dir: &Path) -> ExitCode {
    let (store, restored) = Store::open(dir, Clock::new());
    let before = restored.services.first().map_or(0, |memory| memory.charges.len());
    let first = i64::try_from(before).unwrap() + 1;
    for n in first..first + CHARGES {
        store.keep(&web(), &hold(n));
        wait(store.charge(&web(), &charge(n))).unwrap();
        let mut out = io::stdout();
        writeln!(out, "acknowledged {n}").unwrap();
        out.flush().unwrap();
    }
    wait(store.close());
    println!("closed");
    ExitCode::SUCCESS
}

/// `reuse`: each run goes on with the file that the one before left, so that the kills meet the writer's thread.
fn at_every_write(reuse: bool) -> Verdict {
    let whole = scratch();
    for nth in 1..WRITES {
        let dir = if reuse { whole.path().to_owned() } else { whole.path().join(nth.to_string()) };
        let output = Command::new("strace")
            .args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={CALLS}")])
            .args(["-e", &format!("inject={CALLS}:signal=KILL:when={nth}")])
            .arg(std::env::current_exe()?)
            .env(WRITER, &dir)
            .output()?;
        let said = String::from_utf8(output.stdout)?;
        let acknowledged: i64 =
            said.lines().filter_map(|line| line.strip_prefix("acknowledged ")).next_back().map_or(Ok(0), str::parse)?;
        let (store, restored) = Store::open(&dir, Clock::new());
        assert!(restored.intact && restored.store_up, "killed at write {nth}: {:?}", store.status().borrow());
        let charges: Vec<_> = restored.services.iter().flat_map(|memory| memory.charges.clone()).collect();
        let count = i64::try_from(charges.len())?;
        let expected: Vec<_> = (1..=count).map(|n| charge(n).now).collect();
        assert_eq!(charges, expected, "killed at write {nth}: not a prefix of what was written");
        assert!(count >= acknowledged, "killed at write {nth}: {acknowledged} acknowledged, {count} kept");
        wait(store.close());
        if said.contains("closed") {
            assert!(nth > 10, "strace killed nothing: {}", String::from_utf8_lossy(&output.stderr));
            return Ok(());
        }
    }
    Err("the writer never came to its end".into())
}
