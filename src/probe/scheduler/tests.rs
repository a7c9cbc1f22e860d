use std::sync::Mutex;

use futures_util::FutureExt;

use super::*;
use crate::config::validated::{HttpExpect, HttpMethod, HttpProbe, Trust, UrlHost, UrlTemplate};
use crate::probe::address::Endpoint;
use crate::probe::example::probers;
use crate::probe::prober::prober;

/// The moments at which each check's runs began.
type Starts = Arc<Mutex<Vec<(u16, Instant)>>>;

fn planned(check: u16, interval: Duration) -> Planned {
    let url = UrlTemplate { https: false, host: UrlHost::Container, port: None, path: "/".to_owned() };
    let expect = HttpExpect { status: vec![], body_contains: None, json: vec![], headers: vec![], max_latency: None };
    Planned {
        check: CheckId(check),
        name: format!("check-{check}"),
        probe: Arc::new(Probe::Http(HttpProbe {
            url,
            method: HttpMethod::Get,
            headers: vec![],
            redirects: 0,
            expect,
            trust: Trust::default(),
        })),
        instance: Instance { container: 1, started: 1 },
        since: Mono(0),
        service: "web".into(),
        host: HostId(0),
        container: "c0".into(),
        way: Ok(Way::Port(Endpoint { host: "127.0.0.1".to_owned(), port: 1 })),
        timeout: Duration::from_secs(5),
        interval,
    }
}

fn passed() -> Report {
    Report::of(Vec::new(), Duration::ZERO)
}

/// A prober that notes each start and then does as `then` says.
fn noting<F>(then: F) -> (Prober, Starts)
where
    F: Fn(Arc<Planned>) -> BoxFuture<'static, Report> + Send + Sync + 'static,
{
    let starts = Starts::default();
    let noted = Arc::clone(&starts);
    let prober: Prober = Arc::new(move |planned| {
        noted.lock().unwrap().push((planned.check.0, Instant::now()));
        then(planned)
    });
    (prober, starts)
}

fn start(prober: Prober, room: usize) -> (Tasks, SchedulerHandle, mpsc::Receiver<Queued<Finished>>) {
    let tasks = Tasks::new();
    let (send, receive) = mpsc::channel(room);
    let handle = Scheduler::start(&tasks, Clock::new(), prober, send);
    (tasks, handle, receive)
}

const ONE: ServiceId = ServiceId(1);

#[tokio::test(start_paused = true)]
async fn starts_are_spread_over_slots_and_each_check_keeps_its_cadence() {
    for (count, interval) in
        [(1_u16, 1000_u64), (40, 30_000), (500, 30_000), (7, 250), (90, 5_000), (12, 100), (300, 600_000)]
    {
        let (prober, starts) = noting(|_| std::future::ready(passed()).boxed());
        let (tasks, handle, mut results) = start(prober, 1024);
        let interval = Duration::from_millis(interval);
        let zero = Instant::now();
        handle.set(ONE, (0..count).map(|check| planned(check, interval)).collect());
        let rounds = 4;
        let end = tokio::time::sleep(interval.max(SLOT) * rounds + Duration::from_secs(130));
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                Some(_) = results.recv() => {}
            }
        }
        let starts = starts.lock().unwrap().clone();
        let share = (u128::from(count) * SLOT.as_millis()).div_ceil(interval.max(SLOT).as_millis()) + 1;
        let mut slots: BTreeMap<u128, u128> = BTreeMap::new();
        let mut checks: BTreeMap<u16, Vec<Instant>> = BTreeMap::new();
        for (check, at) in starts {
            *slots.entry((at - zero).as_millis() / SLOT.as_millis()).or_default() += 1;
            checks.entry(check).or_default().push(at);
        }
        let most = slots.values().max().unwrap();
        assert!(*most <= share, "{most} of {count} every {interval:?} started in one slot, expected at most {share}");
        assert_eq!(checks.len(), usize::from(count), "every check ran");
        for times in checks.values() {
            // The first run may come early; the others are an interval apart.
            let apart = times.windows(2).skip(1).map(|pair| pair[1] - pair[0]);
            assert!(
                apart.clone().all(|gap| gap.abs_diff(interval.max(SLOT)) < SLOT),
                "{:?}",
                apart.collect::<Vec<_>>()
            );
        }
        assert!(tasks.end(Duration::from_secs(10)).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_run_does_not_wait_for_a_long_interval() {
    let (prober, starts) = noting(|_| std::future::ready(passed()).boxed());
    let (_tasks, handle, mut results) = start(prober, 16);
    let zero = Instant::now();
    handle.set(ONE, vec![planned(0, Duration::from_secs(3600)), planned(1, Duration::from_secs(3600))]);
    results.recv().await.unwrap();
    results.recv().await.unwrap();
    assert!(starts.lock().unwrap().iter().all(|(_, at)| *at - zero <= SLOT * 3));
}

#[tokio::test(start_paused = true)]
async fn hung_probes_delay_nobody_and_are_cut_in_the_end() {
    let hang = |planned: Arc<Planned>| match planned.check.0 {
        0..3 => std::future::pending().boxed(),
        _ => std::future::ready(passed()).boxed(),
    };
    let (prober, starts) = noting(hang);
    let (_tasks, handle, mut results) = start(prober, 1024);
    handle.set(ONE, (0..10).map(|check| planned(check, Duration::from_secs(1))).collect());
    let mut cut = BTreeMap::new();
    while cut.len() < 3 {
        let finished = results.recv().await.unwrap().what;
        assert_eq!(finished.verdict == Verdict::Passed, finished.check.0 >= 3);
        if finished.verdict == Verdict::Failed {
            cut.insert(finished.check.0, finished.evidence);
        }
    }
    assert!(cut.values().all(|evidence| evidence.contains("did not end within")), "{cut:?}");
    let starts = starts.lock().unwrap().clone();
    for check in 3..10 {
        let times: Vec<Instant> = starts.iter().filter(|(who, _)| *who == check).map(|(_, at)| *at).collect();
        assert!(times.len() >= 6, "check {check} went on meanwhile: {}", times.len());
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] < Duration::from_secs(1) + SLOT));
    }
    for check in 0..3 {
        assert!(starts.iter().filter(|(who, _)| *who == check).count() <= 2, "runs of one check do not overlap");
    }
}

#[tokio::test(start_paused = true)]
async fn the_probes_of_a_dead_host_leave_another_host_s_their_places() {
    let (prober, _starts) = noting(|planned: Arc<Planned>| match planned.host {
        HostId(0) => std::future::ready(passed()).boxed(),
        _ => std::future::pending().boxed(),
    });
    let (_tasks, handle, mut results) = start(prober, 4096);
    // As many as have a place, each of which hangs for all of its time.
    let dead = |check| Planned { host: HostId(1), ..planned(check, Duration::from_secs(1)) };
    handle.set(ServiceId(2), (0..u16::try_from(IN_FLIGHT).unwrap()).map(dead).collect());
    tokio::time::sleep(Duration::from_secs(100)).await;
    handle.set(ONE, vec![planned(0, Duration::from_secs(1))]);
    let begun = Instant::now();
    while results.recv().await.unwrap().what.service != ONE {}
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_a_failed_check_and_counted() {
    let (prober, _) = noting(|planned| match planned.check.0 {
        0 => async { panic!("a fault") }.boxed(),
        1 => panic!("a fault before the first await"),
        _ => std::future::ready(passed()).boxed(),
    });
    let (tasks, handle, mut results) = start(prober, 16);
    handle.set(ONE, (0..3).map(|check| planned(check, Duration::from_secs(10))).collect());
    let mut verdicts = BTreeMap::new();
    while verdicts.len() < 3 {
        let finished = results.recv().await.unwrap().what;
        verdicts.insert(finished.check.0, finished.verdict == Verdict::Passed);
    }
    assert_eq!(verdicts, BTreeMap::from([(0, false), (1, false), (2, true)]));
    assert!(tasks.panics()["probe"] >= 2);
    assert!(!tasks.panics().contains_key("scheduler"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_asked_for_serves_all_who_ask_meanwhile() {
    let slow = |_| tokio::time::sleep(Duration::from_secs(2)).map(|()| passed()).boxed();
    let (prober, starts) = noting(slow);
    let (_tasks, handle, mut results) = start(prober, 16);
    handle.set(ONE, vec![planned(0, Duration::from_secs(3600))]);
    while starts.lock().unwrap().is_empty() {
        tokio::time::sleep(SLOT).await;
    }
    // The first run began before the question: another follows it, one for all three.
    for _ in 0..3 {
        handle.probe_now(ONE, CheckId(0));
    }
    results.recv().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(starts.lock().unwrap().len(), 2);
    handle.probe_now(ONE, CheckId(0));
    results.recv().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(starts.lock().unwrap().len(), 2);
    assert!(results.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cadence_that_was_asked_for_stays_until_the_interval_changes() {
    let (prober, starts) = noting(|_| std::future::ready(passed()).boxed());
    let (_tasks, handle, _results) = start(prober, 16);
    let runs = async |over: u64| {
        starts.lock().unwrap().clear();
        tokio::time::sleep(Duration::from_secs(over)).await;
        starts.lock().unwrap().len()
    };
    handle.set(ONE, vec![planned(0, Duration::from_secs(30))]);
    runs(60).await;
    assert!((9..=11).contains(&runs(300).await));
    handle.cadence(ONE, CheckId(0), Duration::from_secs(5));
    assert!((59..=61).contains(&runs(300).await));
    let mut other = planned(0, Duration::from_secs(30));
    other.instance.started = 2;
    handle.set(ONE, vec![other.clone()]);
    assert!((59..=62).contains(&runs(300).await), "another life keeps the cadence, with one run at once");
    other.interval = Duration::from_secs(10);
    handle.set(ONE, vec![other]);
    assert!((29..=32).contains(&runs(300).await));
    handle.remove(ONE);
    handle.probe_now(ONE, CheckId(0));
    handle.cadence(ONE, CheckId(0), Duration::from_secs(1));
    assert_eq!(runs(300).await, 0);
}

#[tokio::test(start_paused = true)]
async fn another_life_cuts_the_run_of_the_old_one() {
    let socket = Arc::new(());
    let held = Arc::clone(&socket);
    let (prober, starts) = noting(move |planned| match (planned.instance.started, Arc::clone(&held)) {
        (1, held) => async move {
            std::future::pending::<()>().await;
            drop(held);
            passed()
        }
        .boxed(),
        _ => std::future::ready(passed()).boxed(),
    });
    let (_tasks, handle, mut results) = start(prober, 16);
    let mut check = planned(0, Duration::from_secs(3600));
    handle.set(ONE, vec![check.clone()]);
    while starts.lock().unwrap().is_empty() {
        tokio::time::sleep(SLOT).await;
    }
    check.instance.started = 2;
    let asked = Instant::now();
    handle.set(ONE, vec![check]);
    let finished = results.recv().await.unwrap().what;
    assert_eq!((finished.instance.started, finished.verdict), (2, Verdict::Passed));
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert_eq!(Arc::strong_count(&socket), 2, "what the cut run held is free, though its time was not up");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(results.try_recv().is_err(), "the cut run tells nothing");
}

#[tokio::test(start_paused = true)]
async fn results_that_nobody_takes_coalesce_and_hold_up_no_probe() {
    let (prober, starts) = noting(|_| std::future::ready(passed()).boxed());
    let (_tasks, handle, mut results) = start(prober, 1);
    handle.set(ONE, (0..4).map(|check| planned(check, Duration::from_secs(1))).collect());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(starts.lock().unwrap().len() >= 4 * 58, "probes went on");
    let mut taken: BTreeMap<u16, Vec<Mono>> = BTreeMap::new();
    handle.remove(ONE);
    tokio::time::sleep(SLOT).await;
    while let Ok(Queued { what: finished, .. }) = results.try_recv() {
        taken.entry(finished.check.0).or_default().push(finished.began);
        tokio::time::sleep(SLOT).await;
    }
    assert_eq!(taken.len(), 4, "the newest of each check waited");
    assert!(taken.values().map(Vec::len).sum::<usize>() <= 5);
}

#[tokio::test(start_paused = true)]
async fn after_a_freeze_the_missed_starts_do_not_come_at_once() {
    let (prober, starts) = noting(|_| std::future::ready(passed()).boxed());
    let (_tasks, handle, _results) = start(prober, 1024);
    handle.set(ONE, (0..40).map(|check| planned(check, Duration::from_secs(10))).collect());
    tokio::time::sleep(Duration::from_secs(30)).await;
    starts.lock().unwrap().clear();
    // Everything stands still while the clock goes on.
    tokio::time::advance(Duration::from_secs(600)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let count = starts.lock().unwrap().len();
    assert!((1..=6).contains(&count), "{count} started within a second");
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_asked_and_when_nobody_takes_results() {
    let (prober, _) = noting(|_| std::future::pending().boxed());
    let (tasks, handle, _results) = start(prober, 16);
    tasks.stop_token().cancel();
    handle.ended().await;

    let (prober, _) = noting(|_| std::future::ready(passed()).boxed());
    let (_tasks, handle, results) = start(prober, 16);
    drop(results);
    handle.set(ONE, vec![planned(0, Duration::from_secs(1))]);
    handle.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_check_without_a_way_fails_and_names_the_cure() {
    let (_tasks, handle, mut results) = start(prober(probers()), 16);
    let mut check = planned(0, Duration::from_secs(10));
    check.way = Err(NoAddress::NotPublished(80));
    handle.set(ONE, vec![check]);
    let finished = results.recv().await.unwrap().what;
    assert!(finished.verdict == Verdict::Failed && finished.evidence.contains("publish it"), "{}", finished.evidence);
}
