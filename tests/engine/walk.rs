//! `docs/walk.md` is true: the functions it names exist, and a failed probe leaves what it says, in that order, on the real
//! engine or, without one, on the simulated one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use iaso::app::probers::real_prober;
use iaso::app::{self, Edges, Ended};
use iaso::config::{Environment, load};
use iaso::engine::Engine;
use iaso::journal::{Entry, Listener};
use iaso::policy::record::{Event, Verdict};
use iaso::probe::address::EngineSite;
use iaso::probe::heartbeat::Heartbeats;
use iaso::probe::report::Report;
use iaso::probe::scheduler::Prober;
use iaso::sim::engine::SimEngine;
use iaso::sim::script::{Ailment, ContainerScript, Lives, Manner};
use iaso::sim::world::World;
use iaso::system::clock::Clock;
use iaso::system::resolver::Resolver;
use iaso::system::tasks::Tasks;
use iaso::system::tls;
use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::docker_rig::{DockerRig, block_on};
use crate::rig::{Hurt, PATIENCE, Patient, Rig};
use crate::support::{Need, test};

const PAGE: &str = include_str!("../../docs/walk.md");
/// The most functions that a person follows.
const STEPS: usize = 8;

pub fn tests() -> Vec<Trial> {
    vec![
        test("walk::names_functions_that_exist", &[Need::Nothing], names_functions_that_exist),
        test("walk::a_failed_probe_goes_this_way_on_the_real_engine", &[Need::Engine], || {
            block_on(on_the_real_engine())
        }),
        test("walk::a_failed_probe_goes_this_way_on_the_simulated_engine", &[Need::Nothing], || {
            block_on(on_the_simulated_engine())
        }),
    ]
}

/// What stands between backquotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn names_functions_that_exist() -> Result<(), Failed> {
    let steps: Vec<Vec<&str>> =
        PAGE.lines().filter_map(|line| line.strip_prefix("## ")).map(|step| quoted(step).collect()).collect();
    assert!((1..=STEPS).contains(&steps.len()), "{} steps", steps.len());
    for step in steps {
        let [function, file] = step[..] else {
            return Err(format!("expected a function and its file: {step:?}").into());
        };
        let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
        let defined = source.lines().any(|line| {
            line.split_once("fn ").is_some_and(|(_, rest)| rest.split(['(', '<']).next() == Some(function))
        });
        assert!(defined, "{file} has no function {function}");
    }
    Ok(())
}

/// What is left behind, in order, as the page says.
fn promised() -> Vec<&'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix("Leaves ")).flat_map(quoted).collect()
}

/// Hears what is decided, and shows it to the test.
struct Heard(Arc<watch::Sender<Vec<Event>>>);

impl Listener for Heard {
    fn hear(&mut self, entry: &Entry) {
        self.0.send_modify(|events| events.push(entry.record.event));
    }
}

/// Waits until something such was decided, or nothing more will be.
async fn until(events: &mut watch::Receiver<Vec<Event>>, wanted: fn(&Event) -> bool) {
    let _daemon_ended = events.wait_for(|seen| seen.iter().any(wanted)).await.map(drop);
}

/// Runs the daemon until an incident has closed, makes the patient ill once its check has passed, and compares.
async fn walk(
    engine: Arc<dyn Engine>,
    prober: Prober,
    label: &str,
    fall_ill: impl AsyncFnOnce(),
) -> Result<(), Failed> {
    let dir = TempDir::with_prefix_in("iaso-test-", env!("CARGO_TARGET_TMPDIR"))?;
    let file = dir.path().join("iaso.toml");
    let config = format!(
        "discovery.labels = [\"{label}\"]\n\
         recovery.quiet_start = \"0s\"\n\
         defaults = {{ interval = \"1s\", timeout = \"30s\", failure_threshold = 1, recovery = {{ verify_stable = \"1s\" }} }}\n"
    );
    std::fs::write(&file, config)?;
    let config = load(Some(&file), &Environment::new())?.config;
    let (heard, mut events) = watch::channel(Vec::new());
    let edges = Edges {
        engines: vec![(engine, EngineSite::Local)],
        prober,
        heartbeats: Heartbeats::new(Clock::new()),
        in_use: iaso::in_use::CredentialValues::default(),
        own: None,
        listen: None,
        socket: None,
        data_dir: dir.path().to_owned(),
        heartbeat: iaso::system::heartbeat::Heartbeat::new(),
        manager: iaso::system::systemd::Manager::none(),
        reloads: None,
        meters: iaso::system::meters::Meters::new(Clock::new()),
        listeners: vec![Box::new(Heard(Arc::new(heard)))],
        on_start: Box::new(drop),
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_by_now = Arc::clone(&seen);
    let until_closed = async move {
        let story = async {
            until(&mut events, |event| matches!(event, Event::Proven { .. })).await;
            fall_ill().await;
            until(&mut events, |event| matches!(event, Event::IncidentClosed { .. })).await;
        };
        let _never_came = tokio::time::timeout(PATIENCE, story).await;
        *seen_by_now.lock().unwrap_or_else(PoisonError::into_inner) = events.borrow().clone();
    };
    assert_eq!(app::run(config, edges, until_closed).await?, Ended::InOrder);
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let promised = promised();
    let way = seen.iter().skip_while(|event| !matches!(event, Event::IncidentOpened { .. }));
    let left: Vec<&str> = way.map(Event::name).filter(|name| promised.contains(name)).collect();
    assert!(left.starts_with(&promised), "the page promises {promised:?}; it was {left:?}, of {seen:#?}");
    assert!(
        seen.iter().any(|event| matches!(event, Event::Ended { verdict: Verdict::Healed, .. })),
        "healed at the first attempt: {seen:#?}"
    );
    println!("{PAGE}");
    Ok(())
}

async fn on_the_real_engine() -> Result<(), Failed> {
    tls::install_provider();
    let rig = DockerRig::shared().await;
    let (key, value) = ("iaso-test-walk", std::process::id().to_string());
    let labels = [(key, &*value), ("iaso.check.web.type", "http"), ("iaso.check.web.port", "8080")];
    let labels: BTreeMap<String, String> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let id = rig.make(Patient { bridged: true, labels, ..Patient::default() }).await;
    let clock = Clock::new();
    let prober = real_prober(vec![rig.engine()], None, None, Resolver::system(clock), clock, &Tasks::new());
    walk(rig.engine(), prober, &format!("{key}={value}"), async || rig.hurt(&id, Hurt::Sick).await).await
}

async fn on_the_simulated_engine() -> Result<(), Failed> {
    let mut world = World::new(1);
    let sick = Ailment::Sick { manner: Manner::Status(500), after_ms: 3000, for_ms: None, lives: Lives::First(1) };
    let web = ContainerScript::new("web").label("walk", "yes").label("iaso.check.web.type", "http");
    world.add(web.label("iaso.check.web.port", "80").ailment(sick));
    let engine = SimEngine::new(world);
    let asked = engine.clone();
    let prober: Prober = Arc::new(move |planned| {
        let met = asked.with_world(|world| world.probe(planned.instance.container, 80));
        let report = if met.passes(planned.timeout) {
            Report::of(Vec::new(), Duration::from_millis(3))
        } else {
            Report::failed("status", "status 500, expected 200-299", Duration::from_millis(3))
        };
        async move { report }.boxed()
    });
    walk(Arc::new(engine), prober, "walk=yes", async || {}).await
}
