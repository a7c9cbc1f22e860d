//! What watching costs: resident memory and processor time of a daemon with nothing to heal.
//!
//! `cargo bench --bench footprint [-- --runs N]`: N windows of 30 s each with no, with 10 and with 100 services, each a real
//! container with one HTTP check at the shipped interval of 30 s. Says so and ends where there is no engine.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(unreachable_pub, reason = "an executable's modules have no outside")]

mod rig;

use std::process::ExitCode;
use std::time::Duration;

use iaso::system::tasks::Tasks;
use rig::daemon::Daemon;
use rig::figures::{Spans, heading};
use rig::process::{processor_time, resident};
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
        let (whole, own) = resident(daemon.process())?;
        let memory = format!("resident: {whole:.1} MiB, of which {own:.1} MiB not of files");
        println!("{}; {memory}", spent.line(&format!("  {services} services")));
    }
    Ok(())
}
