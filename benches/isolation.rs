//! Whether others' slow cases delay a healing: a victim alone, and the same beside three stuck restarts, or beside three
//! checks that hang.
//!
//! `cargo bench --bench isolation [-- --runs N]`. The two take turns. Says so and ends where there is no engine.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(unreachable_pub, reason = "an executable's modules have no outside")]

mod rig;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use iaso::system::tasks::Tasks;
use rig::daemon::Daemon;
use rig::figures::{Spans, heading, ratio};
use rig::proxy::Passed;
use rig::{Order, Patient, Result, Ward};

/// How many are slow at once.
const SLOW: usize = 3;

/// A check of the patient's own port, each second, of which one failure decides.
const CHECK: [(&str, &str); 4] = [
    ("iaso.check.web.type", "http"),
    ("iaso.check.web.port", "PORT"),
    ("iaso.check.web.interval", "1s"),
    ("iaso.check.web.failure_threshold", "1"),
];

fn main() -> ExitCode {
    rig::main(measure, 15)
}

async fn measure(ward: Ward, runs: usize) -> Result<()> {
    let tasks = Tasks::new();
    let daemon = Daemon::start(&tasks).await?;
    println!("{runs} runs each, in turns; a patient on the host's network");

    let (mut alone, mut beside) = (Healing::default(), Healing::default());
    for _ in 0..runs {
        alone.measure(&ward, &daemon, Illness::Exit).await?;
        let stuck = stuck_restarts(&ward, &daemon).await?;
        beside.measure(&ward, &daemon, Illness::Exit).await?;
        let still = stuck.iter().all(|patient| daemon.proxy.when(&answered_restart(patient)).is_none());
        discharge(&ward, &stuck);
        if !still {
            return Err("a stuck restart ended before the victim was healed: nothing was measured".into());
        }
    }
    report("it exits; three restarts are stuck in their 10 s of grace", &alone, &beside);

    let (mut alone, mut beside) = (Healing::default(), Healing::default());
    for _ in 0..runs {
        alone.measure(&ward, &daemon, Illness::Answers500).await?;
        let hanging = hanging_checks(&ward, &daemon).await?;
        beside.measure(&ward, &daemon, Illness::Answers500).await?;
        discharge(&ward, &hanging);
    }
    report("it answers 500 to a check each second; three checks hang for 5 s", &alone, &beside);
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Illness {
    Exit,
    Answers500,
}

/// How a victim is healed.
#[derive(Default)]
struct Healing {
    /// From failure to Iaso's call, which the engine has no part in when a check finds the failure.
    to_call: Spans,
    to_serving: Spans,
}

impl Healing {
    async fn measure(&mut self, ward: &Ward, daemon: &Daemon, illness: Illness) -> Result<()> {
        let label = Daemon::label();
        let mut labels = vec![(&*label, "iaso")];
        if illness == Illness::Answers500 {
            labels.extend(CHECK);
        }
        let victim = ward.admit(Order { labels: &labels, ..Order::default() }).await?;
        daemon.until_it_knows(&victim.id).await?;
        // A check must have passed before it may heal; three intervals are enough.
        victim.grow(Duration::from_secs(3)).await;
        let fell = Instant::now();
        self.to_serving.push(victim.fall_ill(if illness == Illness::Exit { "/exit?code=1" } else { "/sick" }).await?);
        let call = daemon.proxy.asked_to_heal(&victim.id);
        self.to_call.push(call.ok_or("the victim serves again without a restart")? - fell);
        ward.discharge(&victim);
        Ok(())
    }
}

/// Three whose restarts wait for the whole grace, since they ignore SIGTERM. A check of Iaso's finds them ill: a HEALTHCHECK
/// would keep the engine busy and measure that.
async fn stuck_restarts(ward: &Ward, daemon: &Daemon) -> Result<Vec<Patient>> {
    let label = Daemon::label();
    let mut labels = CHECK.to_vec();
    labels.push((&label, "iaso"));
    let mut stuck = Vec::new();
    for _ in 0..SLOW {
        stuck.push(ward.admit(Order { args: &["--ignore-term"], labels: &labels, ..Order::default() }).await?);
    }
    for patient in &stuck {
        daemon.until_it_knows(&patient.id).await?;
        patient.grow(Duration::from_secs(3)).await;
        patient.ask("/sick").await?;
    }
    for patient in &stuck {
        daemon.proxy.until(&Passed::Asked(format!("POST /containers/{}/restart", patient.id))).await?;
    }
    Ok(stuck)
}

fn answered_restart(patient: &Patient) -> Passed {
    Passed::Answered(format!("POST /containers/{}/restart", patient.id))
}

/// Three whose checks never get an answer. They only alert, so that they stay as they are.
async fn hanging_checks(ward: &Ward, daemon: &Daemon) -> Result<Vec<Patient>> {
    let label = Daemon::label();
    let mut labels = CHECK.to_vec();
    labels.extend([("iaso.check.web.on_failure", "alert"), (&label, "iaso")]);
    let mut hanging = Vec::new();
    for _ in 0..SLOW {
        hanging.push(ward.admit(Order { labels: &labels, ..Order::default() }).await?);
    }
    for patient in &hanging {
        daemon.until_it_knows(&patient.id).await?;
        patient.ask("/hang").await?;
    }
    Ok(hanging)
}

fn discharge(ward: &Ward, patients: &[Patient]) {
    for patient in patients {
        ward.discharge(patient);
    }
}

fn report(title: &str, alone: &Healing, beside: &Healing) {
    println!("\n{title}");
    for (what, alone, beside) in [
        ("failure to restart call", &alone.to_call, &beside.to_call),
        ("failure to serving again", &alone.to_serving, &beside.to_serving),
    ] {
        println!("{}", heading(what));
        println!("{}", alone.line("  alone"));
        println!("{}", beside.line("  beside the three"));
        println!("  ratio of medians: {}", ratio(beside, alone));
    }
}
