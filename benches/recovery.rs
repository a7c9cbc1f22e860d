//! From failure to serving again: Iaso against the least that restarts what falls ill, on a real engine.
//!
//! `cargo bench --bench recovery [-- --runs N]`. Both sides run all the time, each behind a proxy of its own that stamps
//! the events it is told of and the calls it makes; they take turns, each turn with a container of its own. What the proxy
//! costs is in both. Says so and ends where there is no engine.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(unreachable_pub, reason = "an executable's modules have no outside")]

mod rig;

use std::process::ExitCode;
use std::time::Duration;

use iaso::system::tasks::Tasks;
use rig::daemon::{Daemon, bare};
use rig::figures::{Spans, heading, ratio};
use rig::proxy::{Passed, Proxy};
use rig::{Order, PREFIX, Patient, Result, Ward};
use tempfile::TempDir;

fn main() -> ExitCode {
    rig::main(measure, 30)
}

/// What one side came to.
#[derive(Default)]
struct Side {
    serving: Spans,
    event_to_call: Spans,
    event_to_look: Spans,
    look: Spans,
    look_to_call: Spans,
}

async fn measure(ward: Ward, runs: usize) -> Result<()> {
    let tasks = Tasks::new();
    let daemon = Daemon::start(&tasks).await?;
    let dir = TempDir::with_prefix_in(PREFIX, env!("CARGO_TARGET_TMPDIR"))?;
    let bare = bare(&dir, &tasks).await?;
    println!("{runs} runs each, in turns; a patient on the host's network");
    for (title, healthcheck, illness, event) in [
        ("it exits", false, "/exit?code=1", "die"),
        ("its HEALTHCHECK turns unhealthy (interval 1 s)", true, "/sick", "health_status: unhealthy"),
    ] {
        let (mut with_iaso, mut with_bare) = (Side::default(), Side::default());
        for run in 0..runs {
            let phase = Duration::from_secs(1).mul_f64(share(run, runs));
            for (value, proxy, side) in [("bare", &bare, &mut with_bare), ("iaso", &daemon.proxy, &mut with_iaso)] {
                let labels = [(&*Daemon::label(), value)];
                let patient = ward.admit(Order { labels: &labels, healthcheck, ..Order::default() }).await?;
                if value == "iaso" {
                    daemon.until_it_knows(&patient.id).await?;
                }
                let settled = Duration::from_secs(2);
                patient.grow(if healthcheck { settled + phase } else { settled }).await;
                proxy.forget();
                side.serving.push(patient.fall_ill(illness).await?);
                side.stamps(proxy, &patient, event)?;
                ward.discharge(&patient);
            }
        }
        report(title, &with_bare, &with_iaso);
    }
    Ok(())
}

/// Spreads the runs over one interval of the HEALTHCHECK.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn share(run: usize, runs: usize) -> f64 {
    run as f64 / runs as f64
}

impl Side {
    /// What the proxy saw of a recovery.
    fn stamps(&mut self, proxy: &Proxy, patient: &Patient, event: &str) -> Result<()> {
        let id = &patient.id;
        let asked = |what: String| proxy.when(&Passed::Asked(what));
        let event = proxy.when(&Passed::Event(format!("{event} {id}"))).ok_or("no event was told")?;
        let call = proxy.asked_to_heal(id).ok_or("no restart was asked for")?;
        self.event_to_call.push(call - event);
        let look = format!("GET /containers/{id}/json");
        let answered = proxy.when(&Passed::Answered(look.clone()));
        if let (Some(looked), Some(answered)) = (asked(look), answered.filter(|at| *at <= call)) {
            self.event_to_look.push(looked - event);
            self.look.push(answered - looked);
            self.look_to_call.push(call - answered);
        }
        Ok(())
    }
}

fn report(title: &str, bare: &Side, iaso: &Side) {
    println!("\n{}", heading(title));
    println!("{}", bare.serving.line("failure to serving again, bare"));
    println!("{}", iaso.serving.line("failure to serving again, Iaso"));
    println!("{}", bare.event_to_call.line("event to restart call, bare"));
    println!("{}", iaso.event_to_call.line("event to restart call, Iaso"));
    // What has exited is started without a look.
    if !iaso.look.is_empty() {
        println!("{}", iaso.event_to_look.line("  of it: event to look asked"));
        println!("{}", iaso.look.line("  of it: the engine's answer to the look"));
        println!("{}", iaso.look_to_call.line("  of it: look answered to restart call"));
        let own = iaso.event_to_look.median() + iaso.look_to_call.median();
        println!("Iaso's own share of it, without the engine's answer to the look: {own:.1} ms");
    }
    println!("ratio of medians, serving again: {} (target: at most 1.15)", ratio(&iaso.serving, &bare.serving));
    let added = iaso.event_to_call.median() - bare.event_to_call.median();
    println!("added from event to restart call, medians: {added:.1} ms (target: under 10)");
}
