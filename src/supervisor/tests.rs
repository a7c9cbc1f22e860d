//! The whole supervisor over a scripted engine, in virtual time.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use iaso_policy::id::{CheckId, HostId, Instance};
use iaso_policy::input::Order;
use tokio::sync::oneshot;

use super::*;
use crate::config::decode;
use crate::engine::scripted::{Scripted, event, id, running};
use crate::engine::watch::Watch;
use crate::engine::{Change, EventAction};
use crate::orders::Reply;
use crate::probe::report::Report;
use crate::probe::scheduler::{Prober, Scheduler};
use crate::system::meters::Meters;

/// As in the daemon.
const QUEUE: usize = 4096;
/// More than any queue holds.
const FLOOD: usize = 20_000;

/// A supervisor that does not run yet, over an engine with one container with a check every second.
struct Rig {
    engine: Arc<Scripted>,
    results: mpsc::Sender<Queued<Finished>>,
    orders: mpsc::Sender<Request>,
    supervisor: Supervisor,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    probed: Arc<AtomicU64>,
    tasks: Tasks,
    clock: Clock,
}

fn rig() -> Rig {
    let text = "discovery.labels = [\"iaso.enable=true\"]\nhosts.local.url = \"unix:///nowhere.sock\"\n";
    let config = Arc::new(decode("iaso.toml", text, &|_| None).unwrap());
    let (clock, tasks, engine) = (Clock::of_tokio(), Tasks::new(), Arc::new(Scripted::default()));
    let mut web = running(id('a'), 100);
    for (key, value) in [
        ("iaso.enable", "true"),
        ("iaso.check.web.type", "tcp"),
        ("iaso.check.web.port", "80"),
        ("iaso.check.web.interval", "1s"),
    ] {
        web.labels.insert(key.to_owned(), value.to_owned());
    }
    web.networks.insert("bridge".to_owned(), vec![[172, 17, 0, 2].into()]);
    engine.containers.lock().unwrap().insert(id('a'), web);
    let (updates, updated) = mpsc::channel(QUEUE);
    let (watch, handle) = Watch::new(Arc::clone(&engine) as Arc<dyn Engine>, clock, updates);
    tasks.spawn("watch", async move { watch.run().await });
    let probed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&probed);
    let prober: Prober = Arc::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Report::of(Vec::new(), Duration::from_millis(1)) }.boxed()
    });
    let (results, finished) = mpsc::channel(QUEUE);
    let probes = Scheduler::start(&tasks, clock, prober, results.clone());
    let (orders, ordered) = mpsc::channel(1);
    let (snapshots, seen) = watch::channel(Arc::new(Snapshot::nothing(clock.now())));
    let ports = Ports {
        hosts: vec![HostPort {
            engine: Arc::clone(&engine) as Arc<dyn Engine>,
            breaker: Arc::new(Client::new("docker/local", Meters::new(clock))),
            watch: handle,
            updates: updated,
            site: EngineSite::Local,
        }],
        probes,
        results: finished,
        store: Store::in_memory(clock).0,
        recorder: None,
        orders: ordered,
        credentials: mpsc::channel(1).1,
        rereads: mpsc::channel(1).1,
        delivered: mpsc::unbounded_channel().1,
        listeners: Vec::new(),
        snapshots,
        heartbeat: Heartbeat::new(),
        tasks: tasks.clone(),
        clock,
    };
    let supervisor = Supervisor::new(config, None, 1, Restored::nothing(), ports);
    Rig { engine, results, orders, supervisor, snapshots: seen, probed, tasks, clock }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_events_hides_no_death_loses_no_result_and_is_told() {
    let Rig { engine, supervisor, mut snapshots, probed, tasks, clock, .. } = rig();
    // While the supervisor does not run, the link is made and the queue fills.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for number in 0..FLOOD {
        engine.tell(event(id('a'), EventAction::Kill(1)));
        if number == FLOOD / 2 {
            engine.tell(crate::engine::EngineEvent { time: 200, ..event(id('a'), EventAction::Die(3)) });
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    tasks.spawn("supervisor", supervisor.run(CancellationToken::new()));
    let flooded = snapshots
        .wait_for(|snapshot| snapshot.queues.iter().any(|queue| &*queue.name == "engine/local" && queue.full > 0));
    let flooded = Arc::clone(&flooded.await.unwrap());
    assert!(!flooded.supervisor.up);
    let message = flooded.supervisor.message.clone().unwrap();
    assert_eq!(message, "the queue engine/local was full (4096 waited)");

    // It died among all that, and is healed.
    while !engine.asked.lock().unwrap().contains(&Change::Start) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Nothing comes any more: what is told lasts for a minute, so that who looks now and then sees it.
    let calm = snapshots.wait_for(|snapshot| snapshot.supervisor.up);
    let calm = Arc::clone(&calm.await.unwrap());
    let since = flooded.queues[0].last_full.unwrap();
    assert!(clock.mono().since(since.mono) >= Duration::from_secs(60));
    assert!(calm.inputs.count > u64::try_from(FLOOD).unwrap(), "{:?}", calm.inputs);
    // Each result that came of a probe was counted.
    let (passed, failed) = calm.services[0].checks[0].counts;
    let (all, told) = (probed.load(Ordering::Relaxed), passed + failed);
    assert!(told > 0 && (told..=told + 1).contains(&all), "{told} of {all}");
}

/// What a probe came to that began then.
fn passed(began: Mono) -> Finished {
    Finished {
        service: ServiceId(0),
        check: CheckId(0),
        instance: Instance { container: 1, started: 100 },
        began,
        verdict: Verdict::Passed,
        evidence: Arc::from("status 200"),
        took: Duration::from_millis(1),
        certificate_expiry: None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_does_not_wait_for_a_list_of_thousands() {
    let Rig { results, mut supervisor, snapshots, clock, .. } = rig();
    let container = |number: u128| {
        let mut detail = running(ContainerId::new(&format!("{number:064x}")).unwrap(), 100);
        detail.name = format!("web-{number}");
        detail.labels.insert("iaso.enable".to_owned(), "true".to_owned());
        detail
    };
    results.try_send(Queued::now(passed(clock.mono()))).unwrap();
    let containers = (1..=3000).map(container).collect();
    supervisor.update(HostId(0), Update::Listed { containers, began: clock.mono() });
    assert_eq!(supervisor.policy.views().count(), 3000);
    assert_eq!(supervisor.results.len(), 0, "it was taken in between");
    // Nor does what comes next wait until all of them are shown.
    let shown: Vec<usize> = (0..7)
        .map(|_| {
            supervisor.publish();
            snapshots.borrow().services.len()
        })
        .collect();
    assert_eq!(shown, [500, 1000, 1500, 2000, 2500, 3000, 3000]);
    assert_eq!(supervisor.snapshot_due, None, "there is no more to be shown");
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_after_an_answer_sees_what_was_ordered() {
    let Rig { orders, supervisor, mut snapshots, tasks, clock, .. } = rig();
    tasks.spawn("supervisor", supervisor.run(CancellationToken::new()));
    snapshots.wait_for(|snapshot| snapshot.services.len() == 1).await.unwrap();
    let until = clock.mono() + Duration::from_secs(1800);
    for (order, paused, maintained) in [
        (Order::Pause, true, None),
        (Order::Maintain { until, everything: true }, true, Some(until)),
        (Order::Resume, false, Some(until)),
        (Order::EndMaintenance { everything: true }, false, None),
    ] {
        let (reply, answer) = oneshot::channel();
        let (request_id, by) = ("1".to_owned(), "uid 0".to_owned());
        let request = Request { service: Some("web".to_owned()), order, comment: None, request_id, by, reply };
        orders.send(request).await.unwrap();
        assert!(matches!(answer.await.unwrap(), Reply::Answered(_)), "{order:?}");
        let shown = Arc::clone(&snapshots.borrow().services[0]);
        assert_eq!((shown.view.paused, shown.view.maintained_until), (paused, maintained), "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_is_shown_at_once_and_four_times_a_second_at_most() {
    let Rig { results, supervisor, mut snapshots, tasks, clock, .. } = rig();
    tasks.spawn("supervisor", supervisor.run(CancellationToken::new()));
    snapshots.wait_for(|snapshot| snapshot.services.len() == 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5500)).await;
    let mut shown = Vec::new();
    for _ in 0..100 {
        snapshots.mark_unchanged();
        results.send(Queued::now(passed(clock.mono()))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        shown.push(snapshots.has_changed().unwrap());
    }
    assert!(shown[0], "at once");
    let times = shown.iter().filter(|is| **is).count();
    assert!((7..=9).contains(&times), "{times} in two seconds");
}
