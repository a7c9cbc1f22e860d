//! What can happen to the file and to the disk under it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use iaso::store::{Store, StoreError};
use iaso::system::clock::Clock;
use libtest_mimic::Trial;
use rusqlite::Connection;

use crate::mount::Mount;
use crate::records::{charge, hold, web};
use crate::support::{Need, test};
use crate::{Verdict, scratch, wait};

pub fn tests() -> Vec<Trial> {
    let nothing = |name: &str, run: fn() -> Verdict| test(&format!("faults::{name}"), &[Need::Nothing], run);
    let mounted = [Need::Root, Need::Program("mount")];
    let frozen = [Need::Root, Need::Program("mkfs.ext4"), Need::Program("fsfreeze"), Need::Program("mount")];
    vec![
        nothing("random_bytes_are_moved_aside_and_kept", random_bytes_are_moved_aside_and_kept),
        nothing("a_page_overwritten_is_noticed", a_page_overwritten_is_noticed),
        nothing("foreign_tables_are_damage", foreign_tables_are_damage),
        nothing("a_newer_file_is_left_untouched", a_newer_file_is_left_untouched),
        nothing("an_empty_file_is_filled", an_empty_file_is_filled),
        nothing("without_a_folder_it_runs_from_memory", without_a_folder_it_runs_from_memory),
        nothing("only_the_owner_may_read", only_the_owner_may_read),
        nothing("a_lock_held_by_another_is_waited_out", a_lock_held_by_another_is_waited_out),
        nothing("a_second_daemon_is_kept_off", a_second_daemon_is_kept_off),
        nothing("a_person_can_read_it", a_person_can_read_it),
        test("faults::a_read_only_disk", &mounted, a_read_only_disk),
        test("faults::a_full_disk_costs_history_only", &mounted, a_full_disk_costs_history_only),
        test("faults::a_stalled_disk_stalls_nobody_else", &frozen, a_stalled_disk_stalls_nobody_else),
    ]
}

fn open(dir: &Path) -> (Store, iaso::policy::memory::Restored) {
    Store::open(dir, Clock::new())
}

fn message(store: &Store) -> String {
    store.status().borrow().message.clone().unwrap_or_default()
}

/// A folder with a file that holds some charges, closed in order.
fn used(charges: i64) -> tempfile::TempDir {
    let dir = scratch();
    let (store, _) = open(dir.path());
    for n in 1..=charges {
        store.keep(&web(), &charge(n));
    }
    wait(store.close());
    dir
}

fn damaged_files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("iaso.db.damaged-") && name.ends_with('Z')
    });
    found
}

/// The store began anew, said so, works, and the old bytes are still there.
fn judge_damage(dir: &Path, bytes: &[u8]) {
    let (store, restored) = open(dir);
    assert!(restored.store_up && !restored.intact && !restored.clean, "{restored:?}");
    assert_eq!(restored.services, []);
    let aside = damaged_files(dir);
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(&aside[0]).unwrap(), bytes);
    assert!(message(&store).contains("is damaged") && message(&store).contains("moved to"), "{}", message(&store));
    wait(store.charge(&web(), &charge(1))).unwrap();
    drop(store);
    let (_, restored) = open(dir);
    assert!(restored.intact);
    assert_eq!(restored.services.len(), 1);
}

fn random_bytes_are_moved_aside_and_kept() -> Verdict {
    let dir = scratch();
    let bytes: Vec<u8> = (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    fs::write(dir.path().join("iaso.db"), &bytes)?;
    fs::write(dir.path().join("iaso.db-wal"), &bytes)?;
    judge_damage(dir.path(), &bytes);
    Ok(())
}

fn a_page_overwritten_is_noticed() -> Verdict {
    let dir = used(2000);
    let path = dir.path().join("iaso.db");
    let mut bytes = fs::read(&path)?;
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(&path, &bytes)?;
    judge_damage(dir.path(), &bytes);
    Ok(())
}

fn foreign_tables_are_damage() -> Verdict {
    let dir = used(1);
    let path = dir.path().join("iaso.db");
    Connection::open(&path)?.execute_batch("UPDATE services SET exit = 'hello'; PRAGMA wal_checkpoint(TRUNCATE)")?;
    judge_damage(dir.path(), &fs::read(&path)?);
    Ok(())
}

fn a_newer_file_is_left_untouched() -> Verdict {
    let dir = used(3);
    let path = dir.path().join("iaso.db");
    for checkpoint in ["", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        let writer = Connection::open(&path)?;
        writer.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        writer.execute_batch(&format!("PRAGMA user_version = 99; {checkpoint}"))?;
        drop(writer);
        let wal = dir.path().join("iaso.db-wal");
        let before = (fs::read(&path)?, fs::read(&wal)?);
        let (store, restored) = open(dir.path());
        assert!(!restored.store_up);
        assert!(message(&store).contains("schema 99; this one knows up to 7"), "{}", message(&store));
        assert!(matches!(wait(store.charge(&web(), &charge(4))), Err(StoreError::MemoryOnly(_))));
        wait(store.close());
        assert!(before == (fs::read(&path)?, fs::read(&wal)?), "the newer file was changed");
    }
    Ok(())
}

fn an_empty_file_is_filled() -> Verdict {
    let dir = scratch();
    fs::write(dir.path().join("iaso.db"), b"")?;
    let (store, restored) = open(dir.path());
    assert!(restored.intact && restored.store_up);
    wait(store.charge(&web(), &charge(1)))?;
    Ok(())
}

fn without_a_folder_it_runs_from_memory() -> Verdict {
    let dir = scratch();
    let file = dir.path().join("file");
    fs::write(&file, b"")?;
    let (store, restored) = open(&file.join("data"));
    assert!(!restored.store_up && !store.status().borrow().up);
    assert!(message(&store).contains("iaso.db cannot be written"), "{}", message(&store));
    assert!(matches!(wait(store.charge(&web(), &charge(1))), Err(StoreError::MemoryOnly(_))));
    store.keep(&web(), &hold(2));
    assert_eq!(wait(store.timeline(&web(), 10))?.len(), 2, "the past of this run can still be asked for");
    assert!(!store.status().borrow().up);
    Ok(())
}

fn only_the_owner_may_read() -> Verdict {
    let dir = scratch();
    let data = dir.path().join("deep/data");
    let (store, _) = open(&data);
    wait(store.charge(&web(), &charge(1)))?;
    let judge = || {
        for name in ["iaso.db", "iaso.db-wal", "iaso.db-shm"] {
            let mode = fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
    };
    judge();
    wait(store.close());
    drop(store);
    fs::set_permissions(data.join("iaso.db"), fs::Permissions::from_mode(0o644))?;
    let _store = open(&data);
    judge();
    Ok(())
}

fn a_lock_held_by_another_is_waited_out() -> Verdict {
    let dir = scratch();
    let (store, _) = open(dir.path());
    let person = Connection::open(dir.path().join("iaso.db"))?;
    person.execute_batch("BEGIN IMMEDIATE")?;
    wait(async {
        let waited = tokio::time::timeout(Duration::from_millis(100), store.charge(&web(), &charge(1))).await;
        assert!(waited.is_err());
        assert!(!store.status().borrow().up, "a charge that was given up counts as the store being down");
        assert!(matches!(store.charge(&web(), &charge(2)).await, Err(StoreError::Failed(_))));
        person.execute_batch("COMMIT").unwrap();
        store.status().wait_for(|status| status.up).await.unwrap();
    });
    drop(store);
    assert_eq!(open(dir.path()).1.services[0].charges.len(), 2, "what could not be written at first was tried again");
    Ok(())
}

fn a_second_daemon_is_kept_off() -> Verdict {
    let dir = scratch();
    let (first, _) = open(dir.path());
    let (second, restored) = open(dir.path());
    assert!(!restored.store_up);
    assert!(message(&second).contains("another iaso is using it"), "{}", message(&second));
    wait(first.charge(&web(), &charge(1)))?;
    drop(first);
    assert!(open(dir.path()).1.store_up);
    Ok(())
}

fn a_person_can_read_it() -> Verdict {
    let dir = used(1);
    let person = Connection::open(dir.path().join("iaso.db"))?;
    let (time, kind): (String, String) =
        person.query_row("SELECT time, kind FROM timeline", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    assert_eq!((time.as_str(), kind.as_str()), ("2030-03-17T17:46:40.001Z", "operation_begun"));
    person.query_row("SELECT count(*) FROM outages", [], |_| Ok(()))?;
    Ok(())
}

fn a_read_only_disk() -> Verdict {
    let mount = Mount::tmpfs("4m");
    mount.remount("ro");
    let (store, restored) = open(&mount.at);
    assert!(!restored.store_up);
    assert!(message(&store).contains("Read-only file system"), "{}", message(&store));
    Ok(())
}

fn a_full_disk_costs_history_only() -> Verdict {
    let mount = Mount::tmpfs("1m");
    let (store, _) = open(&mount.at);
    wait(store.charge(&web(), &charge(1)))?;
    let filler = mount.at.join("filler");
    fs::write(&filler, vec![0; 2 << 20]).unwrap_err();
    // The log's last page may still take a few.
    let mut charges = 1;
    loop {
        charges += 1;
        assert!(charges < 1000, "a full disk takes every charge");
        match wait(store.charge(&web(), &charge(charges))) {
            Ok(()) => {}
            Err(StoreError::Failed(why)) => {
                assert!(why.contains("full"), "{why}");
                break;
            }
            Err(other) => return Err(other.into()),
        }
    }
    assert!(!store.status().borrow().up);
    store.keep(&web(), &hold(5));
    while store.history_dropped() == 0 {
        std::thread::yield_now();
    }
    store.keep(&web(), &charge(charges + 1));
    fs::remove_file(&filler)?;
    wait(async { store.status().wait_for(|status| status.up).await.map(drop) })?;
    wait(store.charge(&web(), &charge(charges + 2)))?;
    wait(store.close());
    drop(store);
    let restored = open(&mount.at).1;
    assert!(restored.intact && restored.clean);
    assert_eq!(i64::try_from(restored.services[0].charges.len())?, charges + 2, "no charge was lost");
    Ok(())
}

fn a_stalled_disk_stalls_nobody_else() -> Verdict {
    let mount = Mount::ext4();
    let (store, _) = open(&mount.at);
    wait(store.charge(&web(), &charge(1)))?;
    let frozen = mount.freeze();
    wait(async {
        let waited = tokio::time::timeout(Duration::from_millis(100), store.charge(&web(), &charge(2))).await;
        assert!(waited.is_err(), "a commit on a frozen disk cannot have been handed over");
        assert!(!store.status().borrow().up);
        for n in 3..20_000 {
            store.keep(&web(), &hold(n));
        }
        assert!(store.history_dropped() > 0, "the queue of history is bounded");
        store.keep(&web(), &charge(3));
        drop(frozen);
        store.status().wait_for(|status| status.up).await.unwrap();
        store.charge(&web(), &charge(4)).await.unwrap();
        store.close().await;
    });
    drop(store);
    let restored = open(&mount.at).1;
    assert!(restored.intact && restored.clean);
    assert_eq!(restored.services[0].charges.len(), 4);
    Ok(())
}
