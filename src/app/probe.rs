//! `iaso probe SERVICE`: runs a service's checks once, without a daemon, and shows every step.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::{HostId, ServiceId};

use super::commands::{Failure, load, site};
use super::own;
use crate::engine::docker::Docker;
use crate::engine::{Engine, EngineError};
use crate::probe::http::HttpProber;
use crate::probe::report::Report;
use crate::probe::scheduler::prober;
use crate::supervisor::fleet::Fleet;
use crate::supervisor::plan::plan;
use crate::system::clock::Clock;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;
use crate::system::tls;

/// How long an engine may take to tell its containers.
const LIST_BOUND: Duration = Duration::from_secs(30);

/// Finds the service on its engine and runs each of its checks once.
///
/// # Errors
/// When there is no such service, its engine cannot be reached, or a check fails.
pub async fn once(config_file: Option<&Path>, wanted: &str) -> Result<(), Failure> {
    let config = Arc::new(load(config_file)?.config);
    tls::install_provider();
    let (clock, tasks) = (Clock::new(), Tasks::new());
    let mut fleet = Fleet::new(Arc::clone(&config), own::container());
    for (host, number) in config.hosts.iter().zip(0..) {
        let docker =
            Docker::new(host.address.clone(), tasks.clone()).map_err(|error| Failure::Internal(error.to_string()))?;
        let began = clock.mono();
        let listed = tokio::time::timeout(LIST_BOUND, Engine::list(&docker)).await;
        let containers = listed.unwrap_or(Err(EngineError::TimedOut(LIST_BOUND)));
        let containers = containers.map_err(|error| Failure::Unavailable(format!("host {}: {error}", host.name)))?;
        fleet.listed(HostId(number), containers, began, clock.now());
    }
    let found = fleet.services.iter().zip(0..).find(|(watched, _)| *watched.subject.name == *wanted);
    let Some((watched, number)) = found else {
        let known: Vec<&str> = fleet.services.iter().map(|watched| &*watched.subject.name).collect();
        let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
        return Err(Failure::No(format!("no service is named {wanted}; watched services: {known}")));
    };
    let planned = plan(&fleet, ServiceId(number), &site(&config.hosts[usize::from(watched.host.0)]));
    if planned.is_empty() {
        let why =
            if watched.service.checks.is_empty() { "has no checks of its own" } else { "has no running container" };
        return Err(Failure::No(format!("{wanted} {why}: there is nothing to probe")));
    }
    let http = HttpProber::new(Resolver::system(clock), &[]).map_err(|error| Failure::Internal(error.to_string()))?;
    let probe = prober(http);
    let mut failed = Vec::new();
    for check in planned {
        let name = check.name.clone();
        let report = probe(Arc::new(check)).await;
        let _reader_gone = std::io::stdout().write_all(steps(&name, &report).as_bytes());
        if !report.passed {
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::No(format!("failed: {}", failed.join(", ")))) }
}

fn steps(name: &str, report: &Report) -> String {
    let verdict = match (report.passed, report.late) {
        (true, false) => "passed",
        (true, true) => "passed, but late",
        (false, _) => "FAILED",
    };
    let mut text = format!("{name}: {verdict} in {:.1} ms ({})\n", millis(report.took), report.evidence);
    for step in &report.steps {
        let mark = if step.ok { "ok  " } else { "FAIL" };
        let _infallible = writeln!(text, "  {mark} {:<8} {:>8.1} ms  {}", step.name, millis(step.took), step.detail);
    }
    text
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}
