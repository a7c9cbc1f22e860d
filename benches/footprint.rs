//! What watching costs: resident memory and processor time of a daemon with nothing to heal.
//!
//! `cargo bench --bench footprint [-- --runs N]`: N windows of 30 s each with no, with 10 and with 100 services, each a real
//! container with one HTTP check at the shipped interval of 30 s. Says so and ends where there is no engine.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(unreachable_pub, reason = "an executable's modules have no outside")]

mod rig;

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use iaso::system::tasks::Tasks;
use rig::daemon::Daemon;
use rig::figures::{Spans, heading};
use rig::{Order, Result, Ward};

const WINDOW: Duration = Duration::from_secs(30);
/// After the last container was made, until its first checks are over.
const SETTLE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    rig::main(measure, 3)
}

async fn measure(ward: Ward, runs: usize) -> Result<()> {
    let tasks = Tasks::new();
    let daemon = Daemon::start(&tasks).await?;
    let label = Daemon::label();
    let labels = [(&*label, "iaso"), ("iaso.check.web.type", "http"), ("iaso.check.web.port", "PORT")];
    println!("{runs} windows of {WINDOW:?} each");
    println!("{}", heading("processor time in a window"));
    let mut made = 0;
    for services in [0, 10, 100] {
        while made < services {
            let patient = ward.admit(Order { labels: &labels, ..Order::default() }).await?;
            daemon.until_it_knows(&patient.id).await?;
            made += 1;
        }
        tokio::time::sleep(SETTLE).await;
        let mut spent = Spans::default();
        for _ in 0..runs {
            let before = processor_time(daemon.process())?;
            tokio::time::sleep(WINDOW).await;
            spent.push(processor_time(daemon.process())? - before);
        }
        println!("{}; resident: {}", spent.line(&format!("  {services} services")), resident(daemon.process())?);
    }
    Ok(())
}

/// What all its threads have spent so far. One that has ended takes its share with it; the daemon's stay.
fn processor_time(process: u32) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let statistics = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += statistics.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Its resident memory, and the part of it that is no file's.
fn resident(process: u32) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    Ok(format!("{:.1} MiB, of which {:.1} MiB not of files", kib("VmRSS:") / 1024.0, kib("RssAnon:") / 1024.0))
}
