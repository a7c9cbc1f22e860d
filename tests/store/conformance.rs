//! One suite for the file and for its double: what a store gives back is the fold of the durable records it was given.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use iaso::incidents::{CheckSeen, ContainerSeen, Evidence, LogTail, Outage, Page, Wanted};
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

use crate::records::{Entry, at, charge, fold, hold, last, record, sequences, web};
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
        add("outages_are_paged_and_chosen", outages_are_paged_and_chosen);
        add("evidence_is_given_back_in_its_newest_form", evidence_is_given_back_in_its_newest_form);
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
    let open = wait(store.account(id)).unwrap().unwrap().outage;
    assert_eq!((open.attempts, open.closed, open.trouble), (1, None, Trouble::Exited { code: 3 }));
    let closed = record(4, Event::IncidentClosed { ending: Ending::Healed, lasted: Duration::from_millis(3) });
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
    let account = wait(store.account(id)).unwrap().unwrap();
    let outage = account.outage;
    assert_eq!((outage.closed, outage.lasted), (Some((closed.now, Ending::Healed)), Some(Duration::from_millis(3))));
    assert_eq!(account.records, [opened, hold(2), charge(3), closed]);
    assert_eq!((account.evidence, account.within), (vec![], vec![]));
    assert_eq!(wait(store.outages(wanted(5))).unwrap(), Page { outages: vec![outage], within: vec![] });
    assert_eq!(wait(store.account(IncidentId(9))).unwrap(), None);
    Ok(())
}

fn outages_that_are_part_of_one_are_found(make: Make) -> Verdict {
    let dir = scratch();
    let Subject { store, .. } = &make(&dir);
    let within = |at, id, event| Record { incident: Some(IncidentId(id)), ..record(at, event) };
    let opened = Event::IncidentOpened { trouble: Trouble::EngineUnhealthy };
    let joined = Event::Joined { root: IncidentId(7) };
    let closed = Event::IncidentClosed { ending: Ending::Recovered, lasted: Duration::from_millis(3) };
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
    let of_page = wait(store.account(IncidentId(9))).unwrap().unwrap().outage;
    assert_eq!(of_page.root, Some(IncidentId(8)));
    assert_eq!(wait(store.account(IncidentId(7))).unwrap().unwrap().within, parts);
    let pairs =
        |root: u64, parts: &[Outage]| parts.iter().map(|part| (IncidentId(root), part.clone())).collect::<Vec<_>>();
    let all = [pairs(8, &parts[1..]), pairs(7, &parts)].concat();
    assert_eq!(wait(store.outages(wanted(9))).unwrap().within, all, "the newest outage first");
    Ok(())
}

/// Every outage, so many at most.
fn wanted(limit: usize) -> Wanted {
    Wanted { identity: None, open: false, before: None, limit }
}

/// An outage of its own for each of these services, in this order, and what was said of it.
fn outages_are_paged_and_chosen(make: Make) -> Verdict {
    let dir = scratch();
    let store = make(&dir).store;
    let named = |name: &str| Identity::container("local", name).unwrap();
    let about = |id: u64, millis: i64, event: Event| Record { incident: Some(IncidentId(id)), ..record(millis, event) };
    let opened = |id: u64, millis| about(id, millis, Event::IncidentOpened { trouble: Trouble::EngineUnhealthy });
    // Two of one moment, too.
    for (id, name, millis) in [(0xa1, "db", 10), (0xa2, "web", 20), (0xb3, "api", 20)] {
        store.keep(&named(name), &opened(id, millis));
    }
    store.keep(&named("db"), &about(0xa1, 25, Event::Acknowledged { lasting: None }));
    let closed = Event::IncidentClosed { ending: Ending::Recovered, lasted: Duration::from_millis(20) };
    store.keep(&named("db"), &about(0xa1, 30, closed));
    wait(store.charge(&named("db"), &opened(0xa4, 40))).unwrap();
    let ids = |wanted: Wanted| -> Vec<u64> {
        wait(store.outages(wanted)).unwrap().outages.into_iter().map(|outage| outage.id.0).collect()
    };
    assert_eq!(ids(wanted(9)), [0xa4, 0xb3, 0xa2, 0xa1]);
    assert_eq!(ids(wanted(2)), [0xa4, 0xb3]);
    assert_eq!(ids(Wanted { before: Some(IncidentId(0xb3)), ..wanted(9) }), [0xa2, 0xa1]);
    let older = ids(Wanted { before: Some(IncidentId(9)), ..wanted(9) });
    assert!(older.is_empty(), "nothing is older than what is not known: {older:x?}");
    assert_eq!(ids(Wanted { open: true, ..wanted(9) }), [0xa4, 0xb3, 0xa2]);
    assert_eq!(ids(Wanted { identity: Some(named("db")), ..wanted(9) }), [0xa4, 0xa1]);
    let first = wait(store.account(IncidentId(0xa1))).unwrap().unwrap().outage;
    assert_eq!(first.acknowledged.map(|by| by.since), Some(at(25)), "also when it is over");
    let found = |digits: &str| wait(store.outage_ids(digits)).unwrap();
    assert_eq!(found("00000000000000a"), [0xa1, 0xa2, 0xa4].map(IncidentId));
    assert_eq!(found("00000000000000b3"), [IncidentId(0xb3)]);
    assert_eq!(found("f"), []);
    assert_eq!(wait(store.identities_with_outages()).unwrap(), [named("api"), named("db"), named("web")]);
    Ok(())
}

/// History is written behind.
fn until_kept(is_there: impl Fn() -> bool) {
    while !is_there() {
        std::thread::yield_now();
    }
}

fn piece(millis: i64, event: &str, log: &str) -> Evidence {
    Evidence {
        incident: record(0, Event::Settled).incident.unwrap(),
        identity: web(),
        now: at(millis),
        event: event.to_owned(),
        checks: vec![CheckSeen {
            name: "api".to_owned(),
            kind: "http".to_owned(),
            passing: Some(false),
            failures: 3,
            output: Some("status 500, expected 200-299".to_owned()),
        }],
        container: Some(ContainerSeen {
            name: "web".to_owned(),
            image: "shop:1".to_owned(),
            id: "0123456789ab".to_owned(),
            state: "exited".to_owned(),
            exit_code: Some(137),
            oom_killed: true,
            healthcheck: Some((1, "\u{e9} 'quoted' \"twice\"".to_owned())),
        }),
        engine_error: None,
        log: LogTail::Lines(log.to_owned()),
    }
}

fn evidence_is_given_back_in_its_newest_form(make: Make) -> Verdict {
    let dir = scratch();
    let store = make(&dir).store;
    wait(store.charge(&web(), &record(1, Event::IncidentOpened { trouble: Trouble::EngineUnhealthy }))).unwrap();
    store.keep_evidence(piece(1, "incident_opened", "asked for"));
    store.keep_evidence(piece(2, "operation_ended", "one\ntwo"));
    store.keep_evidence(piece(1, "incident_opened", "came"));
    let id = piece(0, "", "").incident;
    let evidence = || wait(store.account(id)).unwrap().unwrap().evidence;
    let expected = [piece(1, "incident_opened", "came"), piece(2, "operation_ended", "one\ntwo")];
    until_kept(|| evidence() == expected);
    wait(store.close());
    store.keep_evidence(piece(3, "quarantined", "too late"));
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
