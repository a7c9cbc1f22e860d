//! One suite for the file and for its double: what a store gives back is the fold of the durable records it was given.

use std::path::PathBuf;
use std::sync::Arc;

use iaso::policy::Record;
use iaso::policy::action::Trouble;
use iaso::policy::id::{Identity, IncidentId};
use iaso::policy::memory::Restored;
use iaso::policy::record::{Ending, Event};
use iaso::store::memory::Double;
use iaso::store::{Store, StoreError};
use iaso::system::clock::Clock;
use libtest_mimic::Trial;
use proptest::test_runner::{Config, TestRunner};

use crate::records::{Entry, charge, fold, hold, last, record, sequences, web};
use crate::support::{Need, test};
use crate::{Verdict, scratch, wait};

/// A store under test, and the way to what its next run finds.
struct Subject {
    store: Store,
    after: After,
}

enum After {
    File(PathBuf),
    Double(Arc<Double>),
}

impl Subject {
    /// Ends it as a kill would, and starts anew.
    fn restart(self) -> Restored {
        match self.after {
            After::File(dir) => {
                drop(self.store);
                Store::open(&dir, Clock::new()).1
            }
            After::Double(double) => double.ledger().restored(),
        }
    }
}

/// Makes a new subject; the folder outlives it.
type Make = fn(&tempfile::TempDir) -> Subject;

fn file(dir: &tempfile::TempDir) -> Subject {
    let dir = tempfile::tempdir_in(dir.path()).unwrap().keep();
    let (store, restored) = Store::open(&dir, Clock::new());
    assert_eq!(restored, Restored::nothing());
    Subject { store, after: After::File(dir) }
}

fn double(_: &tempfile::TempDir) -> Subject {
    let (store, double) = Store::in_memory(Clock::new());
    Subject { store, after: After::Double(double) }
}

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for (name, make) in [("file", file as Make), ("double", double as Make)] {
        let mut add = |law: &str, run: fn(Make) -> Verdict| {
            tests.push(test(&format!("conformance::{name}::{law}"), &[Need::Nothing], move || run(make)));
        };
        add("gives_back_the_fold_of_any_prefix", gives_back_the_fold_of_any_prefix);
        add("goes_on_from_what_it_gave_back", goes_on_from_what_it_gave_back);
        add("an_orderly_end_is_told_from_a_kill", an_orderly_end_is_told_from_a_kill);
        add("the_past_can_be_asked_for", the_past_can_be_asked_for);
        add("outages_that_are_part_of_one_are_found", outages_that_are_part_of_one_are_found);
        add("a_closed_store_says_so", a_closed_store_says_so);
    }
    tests
}

/// Writes all, and waits until the last durable one is acknowledged.
fn write(store: &Store, entries: &[Entry]) {
    let waited = entries.iter().rposition(|(_, record)| record.event.is_durable());
    for (index, (identity, record)) in entries.iter().enumerate() {
        if Some(index) == waited {
            wait(store.charge(identity, record)).unwrap();
        } else {
            store.keep(identity, record);
        }
    }
}

fn gives_back_the_fold_of_any_prefix(make: Make) -> Verdict {
    let dir = scratch();
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    runner.run(&sequences(), |entries| {
        let subject = make(&dir);
        write(&subject.store, &entries);
        let restored = subject.restart();
        assert_eq!(restored.services, fold(&entries));
        assert_eq!(restored.last, last(&entries));
        assert!(restored.intact);
        Ok(())
    })?;
    Ok(())
}

/// The same over several runs of the file: each begins with what the one before left.
fn goes_on_from_what_it_gave_back(make: Make) -> Verdict {
    let dir = scratch();
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    runner.run(&sequences(), |entries| {
        let mut subject = make(&dir);
        for end in 0..entries.len().min(8) {
            let next = if end == 7 { &entries[end..] } else { &entries[end..=end] };
            write(&subject.store, next);
            if let After::File(path) = &subject.after {
                // The old one must let go of the folder first.
                subject.store = Store::in_memory(Clock::new()).0;
                let (store, restored) = Store::open(path, Clock::new());
                assert_eq!(restored.services, fold(&entries[..end + next.len()]));
                subject.store = store;
            }
        }
        assert_eq!(subject.restart().services, fold(&entries));
        Ok(())
    })?;
    Ok(())
}

fn an_orderly_end_is_told_from_a_kill(make: Make) -> Verdict {
    let dir = scratch();
    let killed = make(&dir);
    wait(killed.store.charge(&web(), &charge(1))).unwrap();
    assert!(!killed.restart().clean);
    let ended = make(&dir);
    ended.store.keep(&web(), &charge(1));
    wait(ended.store.close());
    let restored = ended.restart();
    assert!(restored.clean);
    assert_eq!(restored.services[0].charges.len(), 1, "what was queued was written before the end");
    Ok(())
}

fn the_past_can_be_asked_for(make: Make) -> Verdict {
    let dir = scratch();
    let subject = make(&dir);
    let store = &subject.store;
    let opened = record(1, Event::IncidentOpened { trouble: Trouble::Exited { code: 3 } });
    let id = opened.incident.unwrap();
    store.keep(&web(), &opened);
    store.keep(&web(), &hold(2));
    wait(store.charge(&web(), &charge(3))).unwrap();
    let open = wait(store.incident(id)).unwrap().unwrap().0;
    assert_eq!((open.attempts, open.closed, open.trouble), (1, None, Trouble::Exited { code: 3 }));
    let closed =
        record(4, Event::IncidentClosed { ending: Ending::Healed, lasted: std::time::Duration::from_millis(3) });
    wait(store.charge(&web(), &closed)).unwrap();
    // History is written behind: wait for it.
    let timeline = loop {
        let timeline = wait(store.timeline(&web(), 10)).unwrap();
        if timeline.len() == 4 {
            break timeline;
        }
        std::thread::yield_now();
    };
    let told: Vec<_> = timeline.iter().map(|stored| (stored.now, stored.event)).collect();
    assert_eq!(told, [opened, hold(2), charge(3), closed].map(|record| (record.now, record.event)));
    assert_eq!(wait(store.timeline(&web(), 2)).unwrap(), timeline[2..]);
    let (incident, records) = wait(store.incident(id)).unwrap().unwrap();
    assert_eq!(incident.closed, Some((closed.now, Ending::Healed)));
    assert_eq!(records, timeline);
    assert_eq!(wait(store.incidents(5)).unwrap(), [incident]);
    assert_eq!(wait(store.incident(IncidentId(9))).unwrap(), None);
    Ok(())
}

fn outages_that_are_part_of_one_are_found(make: Make) -> Verdict {
    let dir = scratch();
    let Subject { store, .. } = &make(&dir);
    let within = |at, id, event| Record { incident: Some(IncidentId(id)), ..record(at, event) };
    let opened = Event::IncidentOpened { trouble: Trouble::EngineUnhealthy };
    let joined = Event::Joined { root: IncidentId(7) };
    let closed = Event::IncidentClosed { ending: Ending::Recovered, lasted: std::time::Duration::from_millis(3) };
    let [db, api, page] = ["db", "api", "page"].map(|name| Identity::container("local", name).unwrap());
    for (identity, record) in [
        (&db, within(1, 7, opened)),
        (&api, within(2, 8, opened)),
        (&page, within(3, 9, opened)),
        (&page, within(4, 9, joined)),
        (&api, within(4, 8, joined)),
        (&db, within(5, 7, closed)),
        // With the database well again, the page is the API's.
        (&page, within(6, 9, Event::Joined { root: IncidentId(8) })),
        (&api, within(7, 8, closed)),
    ] {
        wait(store.charge(identity, &record)).unwrap();
    }
    let parts = wait(store.incidents_within(IncidentId(7))).unwrap();
    let found: Vec<_> = parts.iter().map(|part| (&part.identity, part.root, part.closed.is_some())).collect();
    assert_eq!(found, [(&api, Some(IncidentId(7)), true), (&page, Some(IncidentId(8)), false)], "it lists them all");
    assert_eq!(wait(store.incidents_within(IncidentId(8))).unwrap(), parts[1..]);
    assert_eq!(wait(store.incidents_within(IncidentId(9))).unwrap(), []);
    let of_page = wait(store.incident(IncidentId(9))).unwrap().unwrap().0;
    assert_eq!(of_page.root, Some(IncidentId(8)));
    Ok(())
}

fn a_closed_store_says_so(make: Make) -> Verdict {
    let dir = scratch();
    let subject = make(&dir);
    wait(subject.store.close());
    assert_eq!(wait(subject.store.charge(&web(), &charge(1))), Err(StoreError::Closed));
    subject.store.keep(&web(), &charge(2));
    subject.store.keep(&web(), &hold(3));
    let restored = subject.restart();
    assert!(restored.clean);
    assert_eq!(restored.services, []);
    Ok(())
}
