//! A fleet of 5,000 services: resident memory, and how long inputs wait for the supervisor and its step.
//!
//! `cargo bench --bench fleet [-- --services N]`, 9 minutes. Needs no engine: the whole daemon runs over a simulated one, in a
//! process of its own, and its probes are answered by this program. First with no and with 50 services, which is the floor;
//! then with 5,000: half of them from the file, half by labels, each with one check every 30 s, some of them failing, three of
//! ten in need of another. They start; nothing happens; three of five die within a second, which is a storm; the engine goes down
//! and comes back. Then 5,000 without checks: what they cost when nothing happens at all. The share of the simulated world is
//! what resident memory grew by while it was made.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(unreachable_pub, reason = "an executable's modules have no outside")]

mod rig;

use std::fmt::Write as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use iaso::app::Started;
use iaso::config::{Environment, load};
use iaso::probe::report::{Report, Step};
use iaso::probe::scheduler::Prober;
use iaso::sim::engine::SimEngine;
use iaso::sim::script::{Ailment, ContainerScript, Lives, RestartMode};
use iaso::sim::world::{Fault, World};
use iaso::snapshot::{INPUT_BUCKETS, InputTimes, Snapshot};
use rig::process::{processor_time_of_all, resident};
use rig::{PREFIX, Result, after};
use tempfile::TempDir;
use tokio::sync::watch;

const SERVICES: usize = 5000;
const FLOOR: usize = 50;
/// Until every check has run once.
const START: Duration = Duration::from_secs(50);
/// How long nothing happens.
const CALM: Duration = Duration::from_secs(60);
/// From the daemon's start to the storm.
const STORM_AT: Duration = Duration::from_secs(115);
/// From the storm on.
const STORM: Duration = Duration::from_secs(50);
/// The engine is away for the first of it.
const OUTAGE: Duration = Duration::from_secs(60);
const AWAY_MS: i64 = 15_000;
/// An idle fleet, and how long it settles before.
const IDLE: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let services = after("--services").and_then(|count| count.parse().ok());
    let done = match after("--as").as_deref() {
        Some(role) => run(role, services.unwrap_or(SERVICES)),
        None => measure(services.unwrap_or(SERVICES)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(services: usize) -> Result<()> {
    println!("targets: under 100 MiB resident without the simulated world, 99 % of the inputs within 10 ms");
    for count in [0, FLOOR, services] {
        println!("{count} services");
        let mut child = Running::role("fleet", count)?;
        if !child.0.wait()?.success() {
            return Err("the fleet's process failed".into());
        }
    }
    println!("without checks, when nothing happens");
    for count in [0, services] {
        let child = Running::role("idle", count)?;
        std::thread::sleep(SETTLE);
        let before = processor_time_of_all(child.0.id())?;
        std::thread::sleep(IDLE);
        let spent = processor_time_of_all(child.0.id())? - before;
        let (whole, own) = resident(child.0.id())?;
        let share = spent.as_secs_f64() / IDLE.as_secs_f64() * 100.0;
        println!(
            "  {count:>5} services: {spent:?} of processor time in {IDLE:?}, {share:.2} % of a core; {whole:.1} MiB resident, {own:.1} MiB of it no file's"
        );
    }
    Ok(())
}

/// A process that ends when this is dropped.
struct Running(Child);

impl Running {
    fn role(role: &str, services: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--as", role, "--services", &services.to_string()]).stdin(Stdio::null());
        // As the systemd unit and the image say.
        command.env("MALLOC_ARENA_MAX", "1");
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(role: &str, services: usize) -> Result<()> {
    let with_checks = role == "fleet";
    let dir = TempDir::with_prefix_in(PREFIX, env!("CARGO_TARGET_TMPDIR"))?;
    let file = dir.path().join("iaso.toml");
    std::fs::write(&file, configuration(services, with_checks)?)?;
    let config = load(Some(&file), &Environment::new())?.config;
    let (_, before) = resident(std::process::id())?;
    let engine = SimEngine::new(world(services, with_checks));
    let (_, after) = resident(std::process::id())?;
    // As the daemon's own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let falls_ill = Arc::new(AtomicBool::new(false));
        let (tell, told) = tokio::sync::oneshot::channel();
        let on_start = move |started| {
            let _daemon_alone = tell.send(started);
        };
        let edges =
            rig::simulated::edges(engine.clone(), prober(Arc::clone(&falls_ill)), dir.path().to_owned(), on_start);
        let over = async {
            let Started { snapshots, .. } = told.await?;
            if with_checks {
                Story { services, snapshots, world: after - before }.tell(&engine, &falls_ill).await
            } else {
                std::future::pending().await
            }
        };
        let mut ended = Ok(());
        iaso::app::run(config, edges, async { ended = over.await }).await?;
        ended
    })
}

fn name(number: usize) -> String {
    format!("service-{number:04}")
}

/// Three of ten need another: two of them one that lives on, one of them one that dies in the storm.
fn needs(number: usize) -> Option<String> {
    let needed = match number % 10 {
        1 => 3,
        2 => 8,
        4 => 0,
        _ => return None,
    };
    Some(name(number - number % 10 + needed))
}

/// Every second service is the file's.
fn is_of_file(number: usize) -> bool {
    number.is_multiple_of(2)
}

fn configuration(services: usize, with_checks: bool) -> Result<String> {
    let mut text = "discovery.labels = [\"iaso.enable=true\"]\nhosts.local.url = \"unix:///nowhere.sock\"\n".to_owned();
    for number in (0..services).filter(|number| is_of_file(*number)) {
        let name = name(number);
        write!(text, "[services.{name}]\ncontainer = \"{name}\"\n")?;
        if let Some(needed) = needs(number) {
            writeln!(text, "depends_on = [\"{needed}\"]")?;
        }
        if with_checks {
            write!(text, "[[services.{name}.checks]]\ntype = \"http\"\nurl = \"http://{{address}}:80/health\"\n")?;
        }
    }
    Ok(text)
}

fn world(services: usize, with_checks: bool) -> World {
    let mut world = World::new(1);
    for number in 0..services {
        let mut script = ContainerScript::new(&name(number));
        if !is_of_file(number) {
            script = script.label("iaso.enable", "true");
            if with_checks {
                script = script.label("iaso.check.web.type", "http").label("iaso.check.web.port", "80");
            }
            if let Some(needed) = needs(number) {
                script = script.label("iaso.depends_on", &needed);
            }
        }
        let dies = with_checks && number % 5 < 3;
        script = if dies {
            let after_ms = i64::try_from(STORM_AT.as_millis()).unwrap_or(i64::MAX);
            let spread = i64::try_from(number * 1000 / services).unwrap_or_default();
            script.ailment(Ailment::Exits { code: 1, after_ms: after_ms + spread, lives: Lives::First(1) })
        } else {
            script.restart(RestartMode::Always)
        };
        world.add(script);
    }
    world
}

/// Answers after two milliseconds. One service in a hundred fails now and then; in the storm, one in ten fails.
fn prober(falls_ill: Arc<AtomicBool>) -> Prober {
    let begun = Instant::now();
    Arc::new(move |planned| {
        let number: usize =
            planned.service.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or_default();
        let flaps = number % 100 == 9 && begun.elapsed().as_secs() / 40 % 2 == 1;
        let ok = !(flaps || number % 10 == 4 && falls_ill.load(Ordering::Relaxed));
        async move {
            let took = Duration::from_millis(2);
            tokio::time::sleep(took).await;
            let detail = format!("status {}", if ok { 200 } else { 500 });
            Report::of(vec![Step { name: "status", took, detail, ok }], took)
        }
        .boxed()
    })
}

/// What befalls the fleet.
struct Story {
    services: usize,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// MiB that are the simulated world's.
    world: f64,
}

impl Story {
    async fn tell(mut self, engine: &SimEngine, falls_ill: &AtomicBool) -> Result<()> {
        println!(
            "  {:<34} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9}",
            "", "inputs", "p50 ms", "p99 ms", "max ms", "MiB", "of it own"
        );
        let begun = Instant::now();
        self.phase("start", START).await?;
        let known = self.snapshots.borrow().services.len();
        if known != self.services {
            return Err(format!("{known} of {} services are known", self.services).into());
        }
        self.phase("nothing happens", CALM).await?;
        tokio::time::sleep((STORM_AT - Duration::from_secs(1)).saturating_sub(begun.elapsed())).await;
        falls_ill.store(true, Ordering::Relaxed);
        self.phase("three of five die within a second", STORM).await?;
        let storms = self.snapshots.borrow().hosts.iter().filter(|host| host.storm.is_some()).count();
        engine.with_world(|world| world.fault(Fault::Shutdown { down_ms: AWAY_MS }));
        self.phase("the engine goes and comes", OUTAGE).await?;
        let snapshot = self.snapshots.borrow().clone();
        let full: Vec<String> = snapshot
            .queues
            .iter()
            .filter(|queue| queue.full > 0)
            .map(|queue| format!("{} {}", queue.name, queue.full))
            .collect();
        println!(
            "  {storms} storm; queues found full, or dropped: {}; laws broken: {:?}; simulated world: {:.1} MiB",
            if full.is_empty() { "none".to_owned() } else { full.join(", ") },
            snapshot.law_violations,
            self.world
        );
        Ok(())
    }

    /// One line: what came during it, and the memory at its end.
    async fn phase(&mut self, title: &str, lasts: Duration) -> Result<()> {
        let before = self.snapshots.borrow_and_update().inputs;
        let mut longest = Duration::ZERO;
        let over = tokio::time::sleep(lasts);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => break,
                changed = self.snapshots.changed() => {
                    changed?;
                    longest = longest.max(self.snapshots.borrow_and_update().inputs.longest);
                }
            }
        }
        let after = self.snapshots.borrow().inputs;
        let (whole, own) = resident(std::process::id())?;
        let (median, most) = (quantile(&before, &after, 50), quantile(&before, &after, 99));
        println!(
            "  {title:<34} {:>8} {median:>8} {most:>8} {:>9.1} {whole:>9.1} {:>9.1}",
            after.count - before.count,
            longest.as_secs_f64() * 1000.0,
            own - self.world
        );
        Ok(())
    }
}

/// The upper bound of the bucket in which so many percent of what came between the two are reached.
fn quantile(before: &InputTimes, after: &InputTimes, percent: u64) -> String {
    let wanted = ((after.count - before.count) * percent).div_ceil(100);
    let within = after.within.iter().zip(before.within).map(|(after, before)| after - before);
    let bound = INPUT_BUCKETS.iter().zip(within).find(|(_, within)| *within >= wanted);
    bound.map_or_else(|| "more".to_owned(), |(bound, _)| format!("<={}", bound * 1000.0))
}
