use std::collections::BTreeMap;
use std::sync::Mutex as Lock;

use futures_util::FutureExt;
use iaso_policy::action::Trouble;
use iaso_policy::id::{Identity, ServiceId};
use iaso_policy::record::{Ending, Verdict};
use iaso_policy::time::{Boot, Mono, Wall};
use iaso_policy::{Record, id::AttemptId, spec::Step};

use super::*;
use crate::config::secret::Secret;
use crate::config::validated::Severity;
use crate::in_use::CredentialValues;
use crate::journal::Subject;
use crate::redact::KEPT_BACK;

const STARTED: i64 = 1000;

/// Engines whose hosts answer, or hang where they are called so.
#[derive(Default)]
struct Scripted {
    life: Option<Life>,
    log: String,
    /// Hosts that were asked for a log, and of how many lines.
    asked: Lock<Vec<(String, u16)>>,
}

impl Containers for Scripted {
    fn life<'a>(&'a self, host: &'a str, _: &'a str) -> BoxFuture<'a, Result<Life, String>> {
        match (host, &self.life) {
            ("hangs", _) => std::future::pending().boxed(),
            (_, Some(life)) => async { Ok(life.clone()) }.boxed(),
            (_, None) => async { Err("no such container".to_owned()) }.boxed(),
        }
    }

    fn log<'a>(&'a self, host: &'a str, _: &'a str, lines: u16) -> BoxFuture<'a, Result<String, String>> {
        self.asked.lock().unwrap().push((host.to_owned(), lines));
        if host == "hangs" { std::future::pending().boxed() } else { async { Ok(self.log.clone()) }.boxed() }
    }
}

struct Rig {
    gatherer: Gatherer,
    kept: mpsc::UnboundedReceiver<Evidence>,
    engines: Arc<Scripted>,
    _tasks: Tasks,
}

impl Rig {
    fn new(engines: Scripted) -> Self {
        let values = CredentialValues::default();
        let fields = BTreeMap::from([("value".to_owned(), Secret::new("hunter2!"))]);
        values.put(&Arc::from("db-key"), Some(fields), None);
        let (sender, kept) = mpsc::unbounded_channel();
        let keep: Keep = Arc::new(move |piece| sender.send(piece).unwrap());
        let (engines, tasks) = (Arc::new(engines), Tasks::new());
        let hosts = ["local", "hangs"].map(Arc::from);
        let containers: Arc<dyn Containers> = engines.clone();
        let gatherer = Gatherer::start(hosts, &containers, &Redactor::new(values), &keep, &tasks);
        Self { gatherer, kept, engines, _tasks: tasks }
    }

    fn hear(&mut self, host: &str, millis: i64, event: Event, scene: &Scene) {
        self.gatherer.hear_scene(&entry(host, millis, event), scene);
    }

    async fn next(&mut self) -> Evidence {
        self.kept.recv().await.unwrap()
    }
}

fn entry(host: &str, millis: i64, event: Event) -> Entry {
    let now = Now { mono: Mono(millis), wall: Wall(millis), boot: Boot(1) };
    let subject = Subject {
        name: Arc::from("web"),
        identity: Identity::container(host, "web").unwrap(),
        host: Arc::from(host),
        severity: Severity::Warning,
        checks: vec![Arc::from("api")],
    };
    let record = Record { now, service: ServiceId(0), incident: Some(IncidentId(0xab)), event };
    Entry { record, subject: Arc::new(subject) }
}

const OPENED: Event = Event::IncidentOpened { trouble: Trouble::EngineUnhealthy };

fn scene(log_lines: u16) -> Scene {
    Scene {
        checks: vec![CheckScene {
            name: Arc::from("api"),
            kind: "http",
            passing: Some(false),
            failures: 3,
            output: Some(Arc::from("status 500, not \u{1b}[31mhunter2!")),
        }],
        container: Some(ContainerScene {
            id: "0123456789abcdef".repeat(4),
            name: "shop-web".to_owned(),
            image: "shop:1".to_owned(),
            state: "exited",
            exit_code: Some(137),
            oom_killed: false,
            started: STARTED,
        }),
        engine_error: Some("the engine answered 500: token hunter2".to_owned()),
        log_lines,
    }
}

fn life(started: i64) -> Option<Life> {
    let healthcheck = Some((1, "got\nhunter2! there".to_owned()));
    Some(Life { started, exit_code: Some(9), oom_killed: true, healthcheck })
}

#[tokio::test(start_paused = true)]
async fn what_is_seen_is_kept_at_once_and_again_with_what_the_engine_tells() {
    let log = "up\npassword=x\ngot hunter2! here\n".to_owned();
    let mut rig = Rig::new(Scripted { life: life(STARTED), log, ..Scripted::default() });
    rig.hear("local", 1, OPENED, &scene(50));
    let first = rig.next().await;
    let second = rig.next().await;
    assert_eq!((first.event.as_str(), &first.log), ("incident_opened", &LogTail::Asked));
    assert_eq!(first.checks[0].output.as_deref(), Some("status 500, not [credential db-key]"));
    assert_eq!(first.engine_error.as_deref(), Some(KEPT_BACK));
    let container = second.container.clone().unwrap();
    assert_eq!((container.id.as_str(), container.exit_code, container.oom_killed), ("0123456789ab", Some(137), true));
    assert_eq!(container.healthcheck, Some((1, "got [credential db-key] there".to_owned())));
    assert_eq!(second.log, LogTail::Lines(format!("up\n{KEPT_BACK}\ngot [credential db-key] here")));
    assert_eq!((second.now, second.event, second.checks), (first.now, first.event, first.checks));
    assert_eq!(*rig.engines.asked.lock().unwrap(), [("local".to_owned(), 50)]);
}

#[tokio::test(start_paused = true)]
async fn the_story_of_a_later_life_is_not_told_as_this_one_s() {
    let mut rig = Rig::new(Scripted { life: life(STARTED + 1), ..Scripted::default() });
    let mut scene = scene(50);
    scene.container.as_mut().unwrap().exit_code = None;
    rig.hear("local", 1, OPENED, &scene);
    let _first = rig.next().await;
    let container = rig.next().await.container.unwrap();
    assert_eq!((container.exit_code, container.oom_killed), (None, false));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_costs_its_own_part_and_nobody_else_s() {
    let mut rig = Rig::new(Scripted { log: "fine".to_owned(), ..Scripted::default() });
    let most = i64::try_from(QUEUE + AT_ONCE).unwrap();
    for millis in 0..most + 5 {
        rig.hear("hangs", millis, OPENED, &scene(5));
        // The task of the host takes what it can.
        tokio::task::yield_now().await;
    }
    rig.hear("local", 1, OPENED, &scene(5));
    let (mut asked, mut full) = (0, 0);
    let other = loop {
        let piece = rig.next().await;
        match &piece.log {
            LogTail::Lines(_) => break piece,
            LogTail::Missing(why) => {
                full += 1;
                assert_eq!(why, "too many outages at once");
            }
            _ => asked += 1,
        }
    };
    assert_eq!(other.log, LogTail::Lines("fine".to_owned()), "another host's comes before any of these");
    assert_eq!((asked, full), (most + 1, 5), "what is not asked for any more is kept all the same");
    let late = rig.next().await;
    assert_eq!(late.log, LogTail::Missing("the engine did not answer within 3 s".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_that_nobody_wants_to_know() {
    let mut rig = Rig::new(Scripted { life: life(STARTED), log: "up".to_owned(), ..Scripted::default() });
    rig.hear("local", 1, OPENED, &scene(0));
    assert_eq!(rig.next().await.log, LogTail::NotAsked);
    let second = rig.next().await;
    assert_eq!(second.log, LogTail::NotAsked);
    assert!(second.container.unwrap().oom_killed, "the engine is asked for the rest");
    let closed = Event::IncidentClosed { ending: Ending::Healed, lasted: Duration::from_secs(1) };
    rig.hear("local", 2, closed, &scene(50));
    assert_eq!(rig.next().await.log, LogTail::NotAsked);
    assert!(rig.engines.asked.lock().unwrap().is_empty());
    // What is decided at one moment is one piece.
    let ended = Event::Ended {
        attempt: AttemptId(1),
        step: Step::Restart,
        verdict: Verdict::NotHealed,
        took: Duration::from_secs(1),
    };
    rig.hear("local", 3, ended, &scene(0));
    rig.hear("local", 3, Event::Quarantined { trials: 0, retry_after: None }, &scene(0));
    assert_eq!(rig.next().await.event, "operation_ended");
    assert_eq!(rig.next().await.event, "operation_ended");
    assert!(rig.kept.try_recv().is_err());
}

#[test]
fn only_decisions_that_tell_of_trouble_are_worth_a_piece() {
    use iaso_policy::input::Outcome;
    let finished = |outcome| Event::Finished { attempt: AttemptId(1), outcome };
    let ended =
        |verdict| Event::Ended { attempt: AttemptId(1), step: Step::Restart, verdict, took: Duration::from_secs(1) };
    for event in [OPENED, finished(Outcome::Failed), ended(Verdict::NotHealed), ended(Verdict::OperationFailed)] {
        assert!(Scene::is_worth_one(&event), "{event:?}");
    }
    for event in [finished(Outcome::Done), finished(Outcome::Moot), ended(Verdict::Healed), Event::Settled] {
        assert!(!Scene::is_worth_one(&event), "{event:?}");
    }
}
