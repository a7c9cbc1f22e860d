//! Data that is damaged, newer, nowhere, on a full disk or on one that hangs: healing goes on, and `/health` says so.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use iaso::system::clock::stopwatch;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::daemon::{Daemon, Home, Settings};
use crate::mount::Mount;
use crate::site::{Events, Site};
use crate::support::{Need, test};
use crate::{scratch, until};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($needs:expr; $($name:ident),+ $(,)?) => {
            vec![$(test(concat!("disk::", stringify!($name)), $needs, || { $name(); Ok(()) })),+]
        };
    }
    let mounted = [Need::Engine, Need::Root, Need::Program("mount")];
    let frozen =
        [Need::Engine, Need::Root, Need::Program("mkfs.ext4"), Need::Program("fsfreeze"), Need::Program("mount")];
    let mut tests = suite![
        &[Need::Engine];
        random_bytes_are_moved_aside_and_cost_half_the_budget,
        a_newer_database_is_left_alone,
        data_that_cannot_be_written_are_kept_in_memory,
    ];
    tests.extend(suite![&mounted; a_full_disk_costs_no_healing]);
    tests.extend(suite![&frozen; a_disk_that_hangs_costs_no_healing, a_stall_of_ten_seconds_delays_no_healing]);
    tests
}

/// The store as `/health` tells it to a person at the socket.
fn store(home: &Home) -> Value {
    let mut stream = UnixStream::connect(home.socket()).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: iaso\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let health: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    health["components"]["store"].clone()
}

/// Waits until the store is told so, with this in its message.
fn until_store(home: &Home, status: &str, part: &str) {
    until(&format!("the store is {status}: {part}"), || {
        let store = store(home);
        let message = store["message"].as_str().unwrap_or_default();
        (store["status"] == status && message.contains(part)).then_some(())
    });
}

/// It falls, and is healed.
fn heals(site: &Site, daemon: &Daemon, events: &Events, name: &str) {
    let (before, healed) = (events.count(name, "start"), daemon.count(name, "incident_closed"));
    site.ask(name, "/exit?code=3");
    until("it runs again", || (events.count(name, "start") > before && site.runs(name)).then_some(()));
    until("it is healed", || (daemon.count(name, "incident_closed") > healed).then_some(()));
}

/// Crashes again and again until it is given up; how often it was tried.
fn tries(site: &Site, daemon: &Daemon, events: &Events) -> usize {
    let name = site.crashing("loop");
    until("it is held for good", || {
        let held = |line: &Value| {
            line["service"] == *name
                && line["event"] == "held"
                && (line["reason"] == "budget" || line["reason"] == "quarantine")
        };
        daemon.find(held)
    });
    events.catch_up();
    events.count(&name, "start") - 1
}

fn random_bytes_are_moved_aside_and_cost_half_the_budget() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    fs::create_dir(home.data()).unwrap();
    let bytes: Vec<u8> = (0..50_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    fs::write(home.data().join("iaso.db"), &bytes).unwrap();
    let events = site.events();
    let daemon = home.start(&[]);
    until_store(&home, "healthy", "is damaged");
    assert!(store(&home)["message"].as_str().unwrap().contains("moved to"), "{}", store(&home));
    let aside = fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<_> = aside.filter(|path| path.to_string_lossy().contains("damaged")).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(fs::read(&aside[0]).unwrap(), bytes);
    assert_eq!(tries(&site, &daemon, &events), 2, "half of five: {:?}", events.all());
    daemon.stop();
}

fn a_newer_database_is_left_alone() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    home.start(&[]).stop();
    let path = home.data().join("iaso.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let before = fs::read(&path).unwrap();
    let events = site.events();
    let daemon = home.start(&[]);
    until_store(&home, "degraded", "schema 99");
    until("the engine is connected", || (daemon.health().0 == 200).then_some(()));
    let (_, health) = daemon.health();
    assert_eq!(health["status"], "degraded");
    assert!(health["components"]["store"].get("message").is_none(), "messages are not for everybody: {health}");
    // Whether the last stop was a clean one cannot be known: one recovery in the first window.
    assert!(tries(&site, &daemon, &events) <= 2, "{:?}", events.all());
    daemon.stop();
    assert!(fs::read(&path).unwrap() == before, "the newer file was changed");
}

fn data_that_cannot_be_written_are_kept_in_memory() {
    let (site, dir) = (Site::shared(), scratch());
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let home = Home::with_data(&site, &file.join("data"), &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    until_store(&home, "degraded", "cannot be written");
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    heals(&site, &daemon, &events, &name);
    daemon.until_explained(&name, &["restart (attempt 1): it healed"]);
    daemon.stop();
}

fn a_full_disk_costs_no_healing() {
    let (site, mount) = (Site::shared(), Mount::tmpfs("1m"));
    let home = Home::with_data(&site, &mount.at, &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    let other = site.patient("other", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    daemon.until_health(&other, "healthy");
    heals(&site, &daemon, &events, &name);
    fill(&mount.at);
    heals(&site, &daemon, &events, &other);
    heals(&site, &daemon, &events, &name);
    // Half of five, the first one counted, is spent.
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "held", Some("budget"));
    assert_eq!(daemon.get("/livez").0, 200);
    fs::remove_file(mount.at.join("filler")).unwrap();
    until_store(&home, "healthy", "");
    until("the whole budget counts again", || site.runs(&name).then_some(()));
    daemon.stop();

    // And from the start.
    let mount = Mount::tmpfs("1m");
    fill(&mount.at);
    let home = Home::with_data(&site, &mount.at, &Settings::default());
    let daemon = home.start(&[]);
    until_store(&home, "degraded", "full");
    daemon.until_health(&name, "healthy");
    heals(&site, &daemon, &events, &name);
    daemon.stop();
}

/// Leaves no room.
fn fill(dir: &Path) {
    fs::write(dir.join("filler"), vec![0; 2 << 20]).unwrap_err();
}

/// Law 1: what dies while the disk takes nothing is healed meanwhile, and what was charged for it is not lost.
fn a_stall_of_ten_seconds_delays_no_healing() {
    const STALL: Duration = Duration::from_secs(10);
    let (site, mount) = (Site::shared(), Mount::ext4());
    let home = Home::with_data(&site, &mount.at.join("data"), &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let names = [site.patient("web", &["--network=none"], &[]), site.patient("other", &["--network=none"], &[])];
    names.iter().for_each(|name| daemon.until_health(name, "healthy"));
    let frozen = mount.freeze();
    let stalled = stopwatch();
    for name in &names {
        site.ask(name, "/exit?code=3");
        until("it runs again", || (events.count(name, "start") > 1 && site.runs(name)).then_some(()));
    }
    assert!(stalled() < STALL, "healing took as long as the stall: {:?}", stalled());
    std::thread::sleep(STALL.saturating_sub(stalled()));
    drop(frozen);
    until_store(&home, "healthy", "");
    for name in &names {
        until("it is healed", || (daemon.count(name, "incident_closed") > 0).then_some(()));
    }
    daemon.stop();
    // The next run knows of both.
    let daemon = home.start(&[]);
    for name in &names {
        daemon.until_health(name, "healthy");
        daemon.until_explained(name, &["(attempt 1): it healed"]);
    }
    daemon.stop();
}

fn a_disk_that_hangs_costs_no_healing() {
    let (site, mount) = (Site::shared(), Mount::ext4());
    let home = Home::with_data(&site, &mount.at.join("data"), &Settings::default());
    let events = site.events();
    let mut daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    let other = site.patient("other", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    daemon.until_health(&other, "healthy");
    heals(&site, &daemon, &events, &name);
    let frozen = mount.freeze();
    heals(&site, &daemon, &events, &name);
    heals(&site, &daemon, &events, &other);
    until_store(&home, "degraded", "");
    assert_eq!((daemon.get("/livez").0, daemon.health().0), (200, 200));
    daemon.until_explained(&name, &["is healthy"]);
    drop(frozen);
    until_store(&home, "healthy", "");
    heals(&site, &daemon, &events, &other);

    // It ends in time although its disk does not: all of it but what waits in the kernel.
    let frozen = mount.freeze();
    daemon.send(rustix::process::Signal::TERM);
    daemon.until_line("it has ended its work", |line| crate::daemon::message(line).starts_with("stopped"));
    drop(frozen);
    assert_eq!(daemon.ended().code(), Some(0));
}
