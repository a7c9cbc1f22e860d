use super::*;
use crate::config::validated::Probe;
use crate::probe::example::planned;
use crate::probe::report::Verdict;

const AGE: Duration = Duration::from_secs(60);

/// The moment of a book's opening, so that tests may go back in time from it.
struct Told {
    book: Heartbeats,
    planned: Planned,
    probe: HeartbeatProbe,
}

impl Told {
    /// A container that started an hour before this Iaso did.
    fn new() -> Self {
        let probe = HeartbeatProbe { max_age: AGE, token: None };
        let book = Heartbeats::new(Clock::new());
        let mut planned = planned(Probe::Heartbeat(probe.clone()), Duration::from_secs(5));
        planned.since = Mono(book.opened.0 - 3_600_000);
        Self { book, planned, probe }
    }

    fn pinged(&self, ago: Duration) {
        self.book.ping("web", "check");
        let now = self.book.clock.mono();
        let mut newest = self.book.newest.lock().unwrap();
        for at in newest.values_mut() {
            *at = Mono(now.0 - i64::try_from(ago.as_millis()).unwrap());
        }
    }

    fn verdict(&self) -> Verdict {
        probe(&self.probe, &self.planned, Some(&self.book)).verdict
    }

    fn words(&self) -> String {
        probe(&self.probe, &self.planned, Some(&self.book)).evidence
    }
}

#[test]
fn a_ping_counts_for_its_age_and_two_are_one() {
    let told = Told::new();
    told.book.ping("web", "check");
    told.book.ping("web", "check");
    assert_eq!((told.verdict(), told.book.newest.lock().unwrap().len()), (Verdict::Passed, 1));
    assert!(told.words().contains("ago, expected one every 60 s"), "{}", told.words());
    told.pinged(AGE - Duration::from_secs(1));
    assert_eq!(told.verdict(), Verdict::Passed);
    told.pinged(AGE + Duration::from_secs(1));
    assert_eq!(told.verdict(), Verdict::Failed);
    assert_eq!(told.words(), "the last ping came 61 s ago, expected one every 60 s");
    told.book.ping("web", "check");
    assert_eq!(told.verdict(), Verdict::Passed, "late is not never");
}

#[test]
fn the_first_ping_is_waited_for_from_the_container_s_start_or_iaso_s_whichever_came_later() {
    let mut told = Told::new();
    assert_eq!(told.verdict(), Verdict::Pending, "this Iaso heard none yet, whatever the one before it did");
    assert!(told.words().contains("up to 60 s"), "{}", told.words());
    told.book.opened = Mono(told.book.opened.0 - 61_000);
    assert_eq!(told.verdict(), Verdict::Failed);
    assert_eq!(told.words(), "no ping came for 61 s, expected one every 60 s");
    told.planned.since = Mono(told.book.clock.mono().0 - 59_000);
    assert_eq!(told.verdict(), Verdict::Pending);
}

#[test]
fn a_ping_of_an_earlier_life_is_none() {
    let mut told = Told::new();
    told.pinged(Duration::from_secs(10));
    assert_eq!(told.verdict(), Verdict::Passed);
    told.planned.since = Mono(told.book.clock.mono().0 - 5_000);
    assert_eq!(told.verdict(), Verdict::Pending);
    told.planned.since = Mono(told.book.clock.mono().0 - 15_000);
    assert_eq!(told.verdict(), Verdict::Passed);
}

#[test]
fn checks_that_are_gone_are_forgotten() {
    let told = Told::new();
    told.pinged(LONGEST + AGE);
    told.book.ping("web", "other");
    assert_eq!(told.book.newest.lock().unwrap().len(), 1);
}

#[test]
fn another_s_ping_is_none_and_only_the_daemon_knows() {
    let told = Told::new();
    told.book.ping("web", "other");
    told.book.ping("api", "check");
    assert_eq!(told.verdict(), Verdict::Pending);
    let report = probe(&told.probe, &told.planned, None);
    assert_eq!(report.verdict, Verdict::Pending);
    assert!(report.evidence.contains("only the daemon knows"), "{}", report.evidence);
}
