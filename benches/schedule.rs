//! What keeping credentials fresh costs: a thousand of Vault's KV 2, read every 5 minutes by the whole daemon, each rendered
//! into a file of its own.
//!
//! `cargo bench --bench schedule [-- --every SECONDS]`, some 9 minutes by default: a start, at which all of them are due, and
//! then one period. Needs no engine. Three processes run beside each other and are measured over the same time: the daemon; the
//! daemon without credentials; and a loop that makes the same number of reads over one bare socket. Vault is the tests' double,
//! in this process, one for each that asks; what is counted is what it received.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::unwrap_used, reason = "the tests' double ends by a panic")]
#![allow(unreachable_pub, reason = "an executable's modules have no outside")]

mod rig;
#[path = "../tests/support/vault/mod.rs"]
mod vault;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use iaso::config::{Environment, load};
use iaso::sim::world::World;
use jiff::Timestamp;
use rig::process::{processor_time_of_all, resident};
use rig::{PREFIX, Result, after};
use serde_json::json;
use tempfile::TempDir;
use vault::{Entry, Options, Time, Vault};

const CREDENTIALS: u16 = 1000;
/// The default schedule, in seconds.
const EVERY: u64 = 300;
/// Of one core.
const TARGET_SHARE: f64 = 0.02;
/// Requests for each credential that is due.
const TARGET_REQUESTS: f64 = 1.2;
/// Of the mean rate, in any ten seconds.
const TARGET_BURST: f64 = 2.0;

fn main() -> ExitCode {
    let folder = after("--in").unwrap_or_default();
    let done = match after("--as").as_deref() {
        Some("daemon") => daemon(Path::new(&folder)),
        Some("bare") => bare(Path::new(&folder)),
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

fn measure() -> Result<()> {
    let every = Duration::from_secs(after("--every").and_then(|every| every.parse().ok()).unwrap_or(EVERY));
    let mean = f64::from(CREDENTIALS) / every.as_secs_f64();
    println!("{CREDENTIALS} credentials every {every:?}: {mean:.2} a second at the mean");
    let dir = TempDir::with_prefix_in(PREFIX, env!("CARGO_TARGET_TMPDIR"))?;
    let sides = [
        Side::start(dir.path(), "daemon", every, CREDENTIALS)?,
        Side::start(dir.path(), "idle", every, 0)?,
        Side::start(dir.path(), "bare", every, CREDENTIALS)?,
    ];
    let [daemon, idle, bare] = &sides;
    let began = Instant::now();
    daemon.until_each_was_read(1, 2 * every)?;
    let start = began.elapsed();
    println!("start: each was read once within {:.0} s", start.as_secs_f64());
    println!("  the daemon's processor time in it: {:.0} ms", millis(daemon.spent()?));
    bursts("the start", &daemon.vault.requests(), mean);

    let (before, since) = (spent(&sides)?, Instant::now());
    sleep(every);
    let (after, period) = (spent(&sides)?, since.elapsed().as_secs_f64());
    println!("{:<44} {:>9} {:>12} {:>9} {:>9}", "one period", "ms", "% of a core", "MiB", "own MiB");
    for ((side, before), after) in [(daemon, before[0]), (idle, before[1]), (bare, before[2])].into_iter().zip(after) {
        let (spent, (whole, own)) = (after - before, resident(side.child.id())?);
        let share = 100.0 * spent.as_secs_f64() / period;
        println!("  {:<42} {:>9.0} {share:>12.2} {whole:>9.1} {own:>9.1}", side.name, millis(spent));
    }
    let share = (after[0] - before[0]).as_secs_f64() / period;
    let more = (after[0] - before[0]).saturating_sub(after[1] - before[1]);
    let (all, each) = (millis(after[0] - before[0]), f64::from(CREDENTIALS));
    let floor = millis(after[2] - before[2]);
    println!(
        "  ratio to the bare socket: {:.1}; without what the idle daemon takes: {:.1}",
        all / floor,
        millis(more) / floor
    );
    println!("  of it for a credential's read: {:.0} us", millis(more) * 1000.0 / each);
    verdict("  under 2 % of one core", share < TARGET_SHARE);

    daemon.until_each_was_read(2, 2 * every)?;
    let requests = daemon.vault.requests();
    let due = due(&requests, every);
    let ratio = requests.len() as f64 / due as f64;
    println!("requests in the whole run: {} for {due} that were due, {ratio:.3} each", requests.len());
    verdict("  at most 1.2", ratio <= TARGET_REQUESTS);
    println!(
        "  logins {}, answers other than 200 {}",
        daemon.vault.logins(),
        requests.iter().filter(|entry| entry.status != Some(200)).count()
    );
    bursts("the whole run", &requests, mean);
    Ok(())
}

/// Somebody who asks, and whom it asks.
struct Side {
    name: &'static str,
    vault: Vault,
    child: Child,
}

impl Side {
    fn start(dir: &Path, name: &'static str, every: Duration, credentials: u16) -> Result<Self> {
        let folder = dir.join(name);
        fs::create_dir_all(folder.join("secrets"))?;
        let vault = Vault::on_a_thread_with(Options { time: Time::Running, ..Options::default() });
        for number in 0..CREDENTIALS {
            vault.write(&path(number), json!({ "data": { "value": format!("the-secret-of-{number:04}") } }));
        }
        vault.write("sys/policies/acl/app", json!({ "policy": "path \"secret/*\" { capabilities = [\"read\"] }" }));
        let role = json!({ "token_ttl": "10m", "token_max_ttl": "4h", "token_policies": ["app"] });
        let login = vault.approle("iaso", role);
        fs::write(folder.join("role-id"), &login.role_id)?;
        fs::write(folder.join("secret-id"), &login.secret_id)?;
        let role = if name == "bare" { "bare" } else { "daemon" };
        if role == "bare" {
            let (address, token) = (&vault.address, &vault.root_token);
            fs::write(folder.join("plan"), format!("{address}\n{token}\n{}", every.as_millis()))?;
        } else {
            fs::write(folder.join("iaso.toml"), configuration(&folder, &vault.address, every, credentials)?)?;
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--as", role, "--in"]).arg(&folder).stdin(Stdio::null());
        Ok(Self { name, vault, child: command.spawn()? })
    }

    fn spent(&self) -> Result<Duration> {
        processor_time_of_all(self.child.id())
    }

    /// Waits until each credential was read so often.
    fn until_each_was_read(&self, times: usize, patience: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < patience {
            let mut read: BTreeMap<String, usize> = BTreeMap::new();
            for entry in self.vault.requests().into_iter().filter(is_read) {
                *read.entry(entry.path).or_default() += 1;
            }
            if read.len() == usize::from(CREDENTIALS) && read.values().all(|&count| count >= times) {
                return Ok(());
            }
            sleep(Duration::from_millis(250));
        }
        Err(format!("{}: not every credential was read {times} times within {patience:?}", self.name).into())
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn path(number: u16) -> String {
    format!("secret/data/services/web/key-{number:04}")
}

fn is_read(entry: &Entry) -> bool {
    entry.path.starts_with("secret/data/") && entry.status == Some(200)
}

fn configuration(folder: &Path, vault: &str, every: Duration, credentials: u16) -> Result<String> {
    let at = |name: &str| folder.join(name).display().to_string();
    let mut text = format!(
        "discovery.labels = [\"iaso.enable=true\"]\n[vault]\naddress = {vault:?}\nauth = {{ type = \"approle\", \
         role_id_file = {:?}, secret_id_file = {:?} }}\n",
        at("role-id"),
        at("secret-id")
    );
    for number in 0..credentials {
        write!(
            text,
            "[credentials.key-{number:04}]\ntype = \"kv2\"\npath = \"services/web/key-{number:04}\"\nrefresh = \"{}s\"\n\
             [[credentials.key-{number:04}.files]]\npath = {:?}\n",
            every.as_secs(),
            at(&format!("secrets/{number:04}"))
        )?;
    }
    Ok(text)
}

fn spent(sides: &[Side; 3]) -> Result<[Duration; 3]> {
    let [first, second, third] = sides;
    Ok([first.spent()?, second.spent()?, third.spent()?])
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

fn verdict(what: &str, met: bool) {
    println!("{what}: {}", if met { "yes" } else { "no" });
}

/// Reads that were due: the first of each credential, and each that came no earlier than the schedule's jitter allows.
fn due(requests: &[Entry], every: Duration) -> usize {
    let earliest = every.mul_f64(0.89);
    let mut last: BTreeMap<&str, Timestamp> = BTreeMap::new();
    let reads = requests.iter().filter(|entry| is_read(entry));
    reads
        .filter(|entry| {
            let before = last.insert(&entry.path, entry.at);
            before.is_none_or(|before| entry.at.duration_since(before).unsigned_abs() >= earliest)
        })
        .count()
}

/// The most requests in any stretch of a second and of ten.
fn bursts(when: &str, requests: &[Entry], mean: f64) {
    for seconds in [1, 10] {
        let window = Duration::from_secs(seconds);
        let most = (0..requests.len()).map(|first| {
            let inside = |entry: &&Entry| entry.at.duration_since(requests[first].at).unsigned_abs() < window;
            requests[first..].iter().take_while(inside).count()
        });
        let rate = most.max().unwrap_or(0) as f64 / window.as_secs_f64();
        println!("{when}, the busiest {seconds} s: {rate:.1} requests a second, {:.2} times the mean", rate / mean);
        if seconds == 10 {
            verdict("  at most twice the mean", rate <= TARGET_BURST * mean);
        }
    }
}

/// The daemon, over a simulated engine without containers.
fn daemon(folder: &Path) -> Result<()> {
    let config = load(Some(&folder.join("iaso.toml")), &Environment::new())?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    iaso::system::tls::install_provider();
    runtime.block_on(rig::simulated::daemon(config, World::new(1), folder.join("data")))
}

/// The least that reads the same: one connection, kept, and each answer read to its end.
fn bare(folder: &Path) -> Result<()> {
    let plan = fs::read_to_string(folder.join("plan"))?;
    let [address, token, every] = plan.lines().collect::<Vec<_>>()[..] else { return Err("no plan".into()) };
    let authority = address.trim_start_matches("http://");
    let gap = Duration::from_millis(every.parse()?) / u32::from(CREDENTIALS);
    let mut stream = BufReader::new(TcpStream::connect(authority)?);
    let mut next = Instant::now();
    for number in (0..CREDENTIALS).cycle() {
        let request =
            format!("GET /v1/{} HTTP/1.1\r\nhost: {authority}\r\nx-vault-token: {token}\r\n\r\n", path(number));
        stream.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        if !body.starts_with(b"{") {
            return Err("no JSON".into());
        }
        next += gap;
        sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
