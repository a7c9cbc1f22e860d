//! What scrapes cost: the time of one, once a second, and the memory that ten thousand leave behind. The whole daemon runs in
//! a process of its own, over a simulated engine with 1,000 services whose checks change its picture a thousand times a second.
//!
//! `cargo bench --bench metrics [-- --runs N]`: N scrapes, one a second.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::print_stdout, reason = "a benchmark reports on its output")]
#![allow(unreachable_pub, reason = "an executable's modules have no outside")]

#[path = "rig/figures.rs"]
#[allow(dead_code, reason = "each benchmark uses some of it")]
mod figures;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use figures::{Spans, heading};
use futures_util::FutureExt;
use iaso::app::{Edges, run};
use iaso::config;
use iaso::probe::address::EngineSite;
use iaso::probe::report::{Report, Step};
use iaso::probe::scheduler::Prober;
use iaso::sim::engine::SimEngine;
use iaso::sim::script::ContainerScript;
use iaso::sim::world::World;
use iaso::system::clock::Clock;
use iaso::system::heartbeat::Heartbeat;
use iaso::system::meters::Meters;

const SERVICES: usize = 1000;
/// Scrapes before memory is looked at first.
const WARM: usize = 1000;
/// Scrapes between that look and the last.
const MANY: usize = 10_000;
/// From one of these to the next: slow enough that the exposition is made anew some two hundred times.
const PACE: Duration = Duration::from_millis(10);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let serve = std::env::args().any(|arg| arg == "--serve");
    match if serve { daemon() } else { measure() } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The daemon's process: it says where it listens, and runs until its standard input ends.
fn daemon() -> Result<()> {
    let dir = tempfile::TempDir::with_prefix_in("iaso-test-bench-", env!("CARGO_TARGET_TMPDIR"))?;
    let file = dir.path().join("iaso.toml");
    let config = "hosts.local.url = \"unix:///nowhere.sock\"\ndiscovery.labels = [\"iaso.enable=true\"]\n";
    fs::write(&file, config)?;
    let config = config::load(Some(&file), &BTreeMap::new())?.config;
    let mut world = World::new(1);
    for number in 0..SERVICES {
        let script = ContainerScript::new(&format!("service-{number:04}"))
            .label("iaso.enable", "true")
            .label("iaso.check.web.type", "http")
            .label("iaso.check.web.port", "80")
            .label("iaso.check.web.interval", "1s");
        world.add(script);
    }
    let edges = Edges {
        engines: vec![(Arc::new(SimEngine::new(world)), EngineSite::Local)],
        prober: prober(),
        own: None,
        listen: Some(([127, 0, 0, 1], 0).into()),
        socket: None,
        data_dir: dir.path().join("data"),
        heartbeat: Heartbeat::new(),
        heartbeats: iaso::probe::heartbeat::Heartbeats::new(Clock::new()),
        in_use: iaso::in_use::CredentialValues::default(),
        manager: iaso::system::systemd::Manager::none(),
        reloads: None,
        meters: Meters::new(Clock::new()),
        listeners: Vec::new(),
        on_start: Box::new(|started| {
            if let Some(address) = started.address {
                println!("{address}");
            }
        }),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let over = async {
        let mut nothing = Vec::new();
        let _ended = tokio::task::spawn_blocking(move || std::io::stdin().read_to_end(&mut nothing)).await;
    };
    runtime.block_on(run(config, edges, over))?;
    Ok(())
}

/// Passes three times of four, so that counts, durations and evidence change and nothing is restarted.
fn prober() -> Prober {
    let asked = AtomicU64::new(0);
    Arc::new(move |_| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        let ok = !number.is_multiple_of(4);
        let took = Duration::from_micros(number % 10_000);
        let detail = format!("status {}", if ok { 200 } else { 500 });
        async move { Report::of(vec![Step { name: "status", took, detail, ok }], took) }.boxed()
    })
}

struct Daemon {
    child: Child,
    address: String,
}

impl Daemon {
    fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }

    /// A scrape over a fresh connection: the exposition, and how long it took.
    fn scrape(&self) -> Result<(String, Duration)> {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: iaso\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let took = begun.elapsed();
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(format!("not scraped: {}", answer.lines().next().unwrap_or_default()).into());
        }
        Ok((answer, took))
    }

    /// Its resident memory, and the part of it that is no file's, in MiB.
    fn resident(&self) -> Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
        };
        Ok((mib("VmRSS:"), mib("RssAnon:")))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure() -> Result<()> {
    let mut args = std::env::args().skip_while(|arg| arg != "--runs").skip(1);
    let runs: usize = args.next().and_then(|runs| runs.parse().ok()).unwrap_or(60);
    let daemon = Daemon::start()?;
    let known = |text: &str| text.lines().filter(|line| line.starts_with("service_health_status{")).count();
    while known(&daemon.scrape()?.0) < SERVICES {
        std::thread::sleep(Duration::from_millis(500));
    }
    let (mut spans, mut sizes, mut last) = (Spans::default(), Vec::new(), String::new());
    for _ in 0..runs {
        std::thread::sleep(Duration::from_secs(1));
        let (text, took) = daemon.scrape()?;
        if text == last {
            return Err("the exposition did not change within a second".into());
        }
        spans.push(took);
        sizes.push(text.len());
        last = text;
    }
    println!("{}", heading(&format!("{runs} scrapes of {SERVICES} services, one a second")));
    println!("{}; {} KiB each", spans.line("  a scrape"), sizes.iter().max().unwrap_or(&0) / 1024);
    let many = |count| -> Result<()> {
        (0..count).try_for_each(|_| {
            std::thread::sleep(PACE);
            daemon.scrape().map(drop)
        })
    };
    many(WARM)?;
    let (before, anonymous_before) = daemon.resident()?;
    println!("resident after {WARM} more: {before:.1} MiB, of which {anonymous_before:.1} MiB not of files");
    many(MANY)?;
    let (after, anonymous_after) = daemon.resident()?;
    println!("resident after {MANY} more: {after:.1} MiB, of which {anonymous_after:.1} MiB not of files");
    println!("growth: {:.1} %", (anonymous_after / anonymous_before - 1.0) * 100.0);
    Ok(())
}
