//! What checks cost: a thousand HTTP checks every 10 s, each over a fresh connection.
//!
//! `cargo bench --bench checks [-- --runs N]`, 2 min 40 s with the 5 runs it makes by default. Needs no engine. First Iaso's
//! scheduler and probes take turns with a bare loop over sockets that makes the same requests in the same slots, each in a
//! process of its own that is frozen while the other has its turn: processor time per check. Then the whole daemon, for a
//! thousand services on a simulated engine, stands beside Debian's blackbox exporter (driven by Prometheus) and Monit, where
//! they are installed, with the same thousand targets each: memory and processor time. The server is this process.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(unreachable_pub, reason = "an executable's modules have no outside")]

mod rig;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use iaso::app::probers::real_prober;
use iaso::config::validated::{HttpExpect, HttpMethod, HttpProbe, Probe, Trust, UrlHost, UrlPort, UrlTemplate};
use iaso::config::{Environment, load};
use iaso::policy::id::{CheckId, HostId, Instance, ServiceId};
use iaso::probe::address::{Endpoint, Way};
use iaso::probe::scheduler::{Planned, Scheduler};
use iaso::sim::script::ContainerScript;
use iaso::sim::world::World;
use iaso::system::clock::Clock;
use iaso::system::resolver::Resolver;
use iaso::system::tasks::Tasks;
use rig::figures::{Spans, heading, ratio};
use rig::process::{processor_time, resident};
use rig::{PREFIX, Result, after};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const CHECKS: u16 = 1000;
const INTERVAL: Duration = Duration::from_secs(10);
/// As the scheduler's own.
const SLOT: Duration = Duration::from_millis(250);
/// Until every check has run once, and the plan is even.
const SETTLE: Duration = Duration::from_secs(12);
/// What was frozen first meets what it has missed.
const THAW: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let port = after("--port").and_then(|port| port.parse().ok()).unwrap_or_default();
    let done = match after("--as").as_deref() {
        Some("probes") => runtime().and_then(|runtime| runtime.block_on(probes(port))),
        Some("daemon") => runtime().and_then(|runtime| runtime.block_on(daemon(port))),
        Some("bare") => bare(port),
        _ => measure(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As the daemon's own.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn measure() -> Result<()> {
    let runs = after("--runs").and_then(|runs| runs.parse().ok()).unwrap_or(5);
    let runtime = runtime()?;
    let server = runtime.block_on(Server::start())?;
    println!("{CHECKS} checks every {INTERVAL:?}, {runs} turns of {INTERVAL:?} each");
    in_turns(&server, runs)?;
    side_by_side(&server)
}

/// The bare loop and Iaso's probes.
fn in_turns(server: &Server, runs: usize) -> Result<()> {
    let sides = [("bare", Running::role("bare", server.port)?), ("probes", Running::role("probes", server.port)?)];
    sleep(SETTLE);
    sides.iter().try_for_each(|(_, side)| side.send(Signal::STOP))?;
    let mut spent = [Spans::default(), Spans::default()];
    for _ in 0..runs {
        for ((name, side), spent) in sides.iter().zip(&mut spent) {
            side.send(Signal::CONT)?;
            sleep(THAW);
            let (before, answered) = (processor_time(side.id())?, server.answered(name));
            sleep(INTERVAL);
            let (after, answered) = (processor_time(side.id())?, server.answered(name) - answered);
            side.send(Signal::STOP)?;
            // A busy machine delays some into the next turn.
            if answered < u64::from(CHECKS) / 2 {
                return Err(format!("{name}: {answered} checks in {INTERVAL:?}").into());
            }
            spent.push((after - before) * CHECKS.into() / u32::try_from(answered)?);
        }
    }
    let [bare, probes] = spent;
    println!("{}", heading("processor time of 1,000 checks"));
    println!("{}", bare.line("  bare sockets"));
    println!("{}", probes.line("  Iaso's scheduler and probes"));
    println!("  ratio: {}", ratio(&probes, &bare));
    Ok(())
}

/// The whole daemon and others, all at once.
fn side_by_side(server: &Server) -> Result<()> {
    let dir = TempDir::with_prefix_in(PREFIX, env!("CARGO_TARGET_TMPDIR"))?;
    let mut sides = vec![
        ("daemon", "Iaso, the whole daemon", Running::role("daemon", server.port)?),
        ("probes", "Iaso's scheduler and probes", Running::role("probes", server.port)?),
    ];
    // Prometheus asks the exporter, and is no part of what is measured.
    let mut driver = None;
    match (program("prometheus-blackbox-exporter"), program("prometheus")) {
        (Some(exporter), Some(prometheus)) => {
            let port = free_port()?;
            sides.push(("blackbox", "blackbox exporter", blackbox(&exporter, port, dir.path())?));
            driver = Some(scraper(&prometheus, port, server.port, dir.path())?);
        }
        _ => println!("  not run: prometheus-blackbox-exporter and prometheus are not both installed"),
    }
    match program("monit") {
        Some(monit) => sides.push(("monit", "Monit", watcher(&monit, server.port, dir.path())?)),
        None => println!("  not run: monit is not installed"),
    }
    sleep(SETTLE + INTERVAL);
    let before: Vec<_> = sides
        .iter()
        .map(|(key, _, side)| Ok((processor_time(side.id())?, server.answered(key))))
        .collect::<Result<_>>()?;
    let window = 2 * INTERVAL;
    sleep(window);
    println!("{:<44} {:>9} {:>9} {:>9} {:>12}", "side by side", "MiB", "own MiB", "checks/s", "us per check");
    let mut memory = BTreeMap::new();
    for ((key, name, side), (spent, answered)) in sides.iter().zip(before) {
        let (spent, answered) = (processor_time(side.id())? - spent, server.answered(key) - answered);
        let (whole, own) = resident(side.id())?;
        let answered = f64::from(u32::try_from(answered)?);
        let (rate, each) = (answered / window.as_secs_f64(), spent.as_secs_f64() * 1e6 / answered);
        println!("  {name:<42} {whole:>9.1} {own:>9.1} {rate:>9.1} {each:>12.0}");
        memory.insert(*key, whole);
    }
    for side in ["daemon", "probes"] {
        if let (Some(ours), Some(theirs)) = (memory.get(side), memory.get("blackbox")) {
            println!("  ratio to the blackbox exporter's memory, {side}: {:.2}", ours / theirs);
        }
    }
    drop(driver);
    Ok(())
}

/// A process that ends when this is dropped.
struct Running(Child);

impl Running {
    /// This program in another role.
    fn role(role: &str, port: u16) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--as", role, "--port", &port.to_string()]).stdin(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    fn quietly(command: &mut Command) -> Result<Self> {
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    fn send(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(self.id().try_into()?).ok_or("a process has no id")?;
        Ok(kill_process(id, signal)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Answers every request with 200, and counts by the first part of the path.
struct Server {
    port: u16,
    answered: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Server {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Self { port: listener.local_addr()?.port(), answered: Arc::default() };
        let (tasks, answered) = (Tasks::new(), Arc::clone(&server.answered));
        let each = tasks.clone();
        tasks.spawn("server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                each.spawn("answer", answer(stream, Arc::clone(&answered)));
            }
        });
        Ok(server)
    }

    fn answered(&self, who: &str) -> u64 {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).get(who).copied().unwrap_or(0)
    }
}

async fn answer(mut stream: tokio::net::TcpStream, answered: Arc<Mutex<BTreeMap<String, u64>>>) {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        if !stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {
            return;
        }
    }
    let head = String::from_utf8_lossy(&head);
    let who = head.split('/').nth(1).unwrap_or_default().to_owned();
    *answered.lock().unwrap_or_else(PoisonError::into_inner).entry(who).or_default() += 1;
    let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nup").await;
}

/// The least that makes the same requests in the same slots.
fn bare(port: u16) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let slots = INTERVAL.as_millis() / SLOT.as_millis();
    let share = u128::from(CHECKS) / slots;
    let mut next = Instant::now();
    let mut answer = Vec::new();
    loop {
        for number in 0..share {
            let request = format!(
                "GET /bare/{number} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: */*\r\nuser-agent: iaso\r\n\
                 connection: close\r\n\r\n"
            );
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(request.as_bytes())?;
            answer.clear();
            stream.read_to_end(&mut answer)?;
            if !answer.starts_with(b"HTTP/1.1 200 ") {
                return Err("another answer than 200".into());
            }
        }
        next = (next + SLOT).max(Instant::now());
        sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Iaso's scheduler and probes, and nothing else.
async fn probes(port: u16) -> Result<()> {
    let (tasks, clock) = (Tasks::new(), Clock::new());
    let (results, mut finished) = mpsc::channel(4096);
    let prober = real_prober(Vec::new(), None, None, Resolver::system(clock), clock, &tasks);
    let scheduler = Scheduler::start(&tasks, clock, prober, results);
    for number in 0..CHECKS {
        scheduler.set(ServiceId(number.into()), vec![planned(number, port)]);
    }
    while finished.recv().await.is_some() {}
    Ok(())
}

fn planned(number: u16, port: u16) -> Planned {
    let host = Ipv4Addr::LOCALHOST.to_string();
    let url = UrlTemplate {
        https: false,
        host: UrlHost::Fixed(host.clone()),
        port: Some(UrlPort::Number(port)),
        path: format!("/probes/{number}"),
    };
    let probe = HttpProbe {
        url,
        method: HttpMethod::Get,
        headers: Vec::new(),
        redirects: 0,
        expect: HttpExpect::default(),
        trust: Trust::default(),
    };
    Planned {
        check: CheckId(0),
        name: "web".to_owned(),
        probe: Arc::new(Probe::Http(probe)),
        instance: Instance { container: number.into(), started: 1 },
        since: iaso_policy::time::Mono(0),
        service: format!("web-{number}").into(),
        host: HostId(0),
        container: "0".repeat(64).into(),
        way: Ok(Way::Port(Endpoint { host, port })),
        timeout: Duration::from_secs(5),
        interval: INTERVAL,
    }
}

/// The daemon with a thousand services, on a simulated engine.
async fn daemon(port: u16) -> Result<()> {
    let dir = TempDir::with_prefix_in(PREFIX, env!("CARGO_TARGET_TMPDIR"))?;
    let mut text = format!("api.listen = \"127.0.0.1:0\"\ndefaults.interval = \"{}s\"\n", INTERVAL.as_secs());
    let mut world = World::new(1);
    for number in 0..CHECKS {
        write!(
            text,
            "[services.web-{number}]\ncontainer = \"web-{number}\"\n[[services.web-{number}.checks]]\ntype = \"http\"\n\
             url = \"http://127.0.0.1:{port}/daemon/{number}\"\n"
        )?;
        world.add(ContainerScript::new(&format!("web-{number}")));
    }
    let file = dir.path().join("iaso.toml");
    std::fs::write(&file, text)?;
    let config = load(Some(&file), &Environment::new())?.config;
    rig::simulated::daemon(config, world, dir.path().to_owned()).await
}

/// Where a program is, as Debian installs it.
fn program(name: &str) -> Option<String> {
    ["/usr/bin", "/usr/sbin"].map(|dir| format!("{dir}/{name}")).into_iter().find(|path| Path::new(path).exists())
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn blackbox(exporter: &str, port: u16, dir: &Path) -> Result<Running> {
    let file = dir.join("blackbox.yml");
    std::fs::write(
        &file,
        "modules:\n  web:\n    prober: http\n    timeout: 5s\n    http:\n      preferred_ip_protocol: ip4\n",
    )?;
    let listen = format!("--web.listen-address=127.0.0.1:{port}");
    Running::quietly(Command::new(exporter).arg(format!("--config.file={}", file.display())).arg(listen))
}

fn scraper(prometheus: &str, exporter: u16, server: u16, dir: &Path) -> Result<Running> {
    let mut text = format!(
        "scrape_configs:\n- job_name: web\n  scrape_interval: {0}s\n  scrape_timeout: 5s\n  metrics_path: /probe\n  params:\n    \
         module: [web]\n  relabel_configs:\n  - source_labels: [__address__]\n    target_label: __param_target\n  \
         - source_labels: [__address__]\n    target_label: instance\n  - target_label: __address__\n    replacement: \
         127.0.0.1:{exporter}\n  static_configs:\n  - targets:\n",
        INTERVAL.as_secs()
    );
    for number in 0..CHECKS {
        writeln!(text, "    - http://127.0.0.1:{server}/blackbox/{number}")?;
    }
    let file = dir.join("prometheus.yml");
    std::fs::write(&file, text)?;
    let mut command = Command::new(prometheus);
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()));
    Running::quietly(command.arg(format!("--web.listen-address=127.0.0.1:{}", free_port()?)))
}

fn watcher(monit: &str, server: u16, dir: &Path) -> Result<Running> {
    let mut text = format!("set daemon {}\n", INTERVAL.as_secs());
    for what in ["pidfile", "idfile", "statefile"] {
        writeln!(text, "set {what} {}", dir.join(what).display())?;
    }
    for number in 0..CHECKS {
        writeln!(
            text,
            "check host web-{number} with address 127.0.0.1 if failed port {server} protocol http request \"/monit/{number}\" \
             then alert"
        )?;
    }
    let file = dir.join("monitrc");
    std::fs::write(&file, text)?;
    // It refuses a file that others may read.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    Running::quietly(Command::new(monit).arg("-I").arg("-c").arg(&file))
}
