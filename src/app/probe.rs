//! `iaso probe SERVICE`: runs a service's checks once, without a daemon, and shows every step.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::{HostId, ServiceId};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::commands::{Failure, containers, engines, load, site};
use super::own;
use super::probers::real_prober;
use crate::config;
use crate::probe::report::{Report, Verdict};
use crate::supervisor::fleet::Fleet;
use crate::supervisor::plan::plan;
use crate::system::clock::Clock;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;
use crate::system::tls;

/// Finds the service on its engine and runs each of its checks once; tells every step, or one JSON document at the end.
///
/// # Errors
/// When there is no such service, its engine cannot be reached, or a check fails.
pub async fn once(config_file: Option<&Path>, wanted: &str, as_json: bool) -> Result<(), Failure> {
    let config = Arc::new(load(config_file)?.config);
    tls::install_provider();
    let (clock, tasks) = (Clock::new(), Tasks::new());
    let resolver = Resolver::system(clock);
    let mut fleet = Fleet::new(Arc::clone(&config), own::container());
    for (host, number) in config.hosts.iter().zip(0..) {
        let began = clock.mono();
        let found = containers(host, &resolver, &tasks).await?;
        fleet.listed(HostId(number), found, began, clock.now());
    }
    let found = fleet.services.iter().zip(0..).find(|(watched, _)| *watched.subject.name == *wanted);
    let Some((watched, number)) = found else {
        let known: Vec<&str> = fleet.services.iter().map(|watched| &*watched.subject.name).collect();
        let hint = match config::nearest(wanted, known.iter().copied()) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None if known.is_empty() => "there are none".to_owned(),
            None => format!("watched services: {}", known.join(", ")),
        };
        return Err(Failure::No(format!("no service is named {wanted}; {hint}")));
    };
    let planned = plan(&fleet, ServiceId(number), &site(&config.hosts[usize::from(watched.host.0)]));
    if planned.is_empty() {
        let why =
            if watched.service.checks.is_empty() { "has no checks of its own" } else { "has no running container" };
        return Err(Failure::No(format!("{wanted} {why}: there is nothing to probe")));
    }
    // Pings come to the daemon, not to this process, and it alone keeps credentials.
    let probe = real_prober(engines(&config, &resolver, &tasks)?, None, None, resolver, clock, &tasks);
    let mut failed = Vec::new();
    let mut documents = Vec::new();
    for check in planned {
        let name = check.name.clone();
        let report = probe(Arc::new(check)).await;
        if as_json {
            documents.push(document(&name, &report));
        } else {
            let _reader_gone = std::io::stdout().write_all(steps(&name, &report).as_bytes());
        }
        if report.verdict == Verdict::Failed {
            failed.push(name);
        }
    }
    if as_json {
        let whole = json!({ "service": wanted, "passed": failed.is_empty(), "checks": documents });
        let _reader_gone = writeln!(std::io::stdout(), "{whole:#}");
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::No(format!("failed: {}", failed.join(", ")))) }
}

fn steps(name: &str, report: &Report) -> String {
    let verdict = match report.verdict {
        Verdict::Passed => "passed",
        Verdict::Late => "passed, but late",
        Verdict::Failed => "FAILED",
        Verdict::Pending => "waiting",
    };
    let mut text = format!("{name}: {verdict} in {:.1} ms ({})\n", millis(report.took), report.evidence);
    for step in &report.steps {
        let mark = if step.ok { "ok  " } else { "FAIL" };
        let _infallible = writeln!(text, "  {mark} {:<8} {:>8.1} ms  {}", step.name, millis(step.took), step.detail);
    }
    text
}

/// The same for programs: spans in seconds, moments in ISO 8601.
fn document(name: &str, report: &Report) -> Value {
    let steps = report.steps.iter().map(|step| {
        json!({ "name": step.name, "ok": step.ok, "took_seconds": step.took.as_secs_f64(), "detail": step.detail })
    });
    let result = match report.verdict {
        Verdict::Passed => "passed",
        Verdict::Late => "late",
        Verdict::Failed => "failed",
        Verdict::Pending => "pending",
    };
    let expiry = report.certificate_expiry.and_then(|at| Timestamp::from_second(at).ok());
    json!({
        "name": name,
        "result": result,
        "took_seconds": report.took.as_secs_f64(),
        "evidence": report.evidence,
        "certificate_expiry": expiry.map(|at| at.to_string()),
        "steps": steps.collect::<Vec<Value>>(),
    })
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
