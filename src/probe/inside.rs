//! The probes that ask the engine: `exec` runs a program inside the container, `docker` looks at the container.

use std::time::Duration;

use futures_util::future::BoxFuture;
use iaso_policy::id::HostId;
use tokio::time::timeout;

use crate::probe::output::words;
use crate::probe::report::{Report, Step};
use crate::probe::run::{Failed, Run};
use crate::probe::scheduler::Planned;
use crate::system::clock::stopwatch;

/// What these probes ask of the engines. The application, which knows both sides, answers.
pub trait Containers: Send + Sync {
    /// Runs a program in a container, without a shell, for `bound` at most.
    ///
    /// # Errors
    /// When it did not run to its end.
    fn exec<'a>(
        &'a self,
        host: HostId,
        container: &'a str,
        argv: &'a [String],
        bound: Duration,
    ) -> BoxFuture<'a, Result<Ran, Unanswered>>;

    /// Looks at a container.
    ///
    /// # Errors
    /// When there is nothing to be seen.
    fn look<'a>(&'a self, host: HostId, container: &'a str) -> BoxFuture<'a, Result<Seen, Unanswered>>;
}

/// How a program ended. Without `Debug`: what it printed may hold secrets.
pub struct Ran {
    /// Its exit code.
    pub code: i64,
    /// The end of what it printed.
    pub output: String,
}

/// A container, as its engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its state, in the engine's word: `running`, `exited`.
    pub state: &'static str,
    /// What its HEALTHCHECK says; none without one.
    pub healthy: Option<bool>,
    /// The kernel killed a process of it for want of memory, in this life.
    pub oom_killed: bool,
}

/// Why nothing was seen or run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// The engine cannot be asked, or denies it: that says nothing of the container.
    ByEngine(String),
    /// The container cannot do it.
    ByContainer(String),
}

/// How much later than the check's own timeout an engine that answers nothing at all is given up.
const ENGINE_LATE: Duration = Duration::from_millis(500);

/// Runs a program inside the container; exit code 0 passes. Ends within the check's timeout.
pub(super) async fn exec(containers: &dyn Containers, planned: &Planned, argv: &[String]) -> Report {
    let limit = planned.timeout;
    let took = stopwatch();
    match timeout(limit + ENGINE_LATE, containers.exec(planned.host, &planned.container, argv, limit)).await {
        Ok(Ok(Ran { code, output })) => {
            let step = Step { name: "exec", took: took(), detail: words(code, &output), ok: code == 0 };
            Report::of(vec![step], took())
        }
        Ok(Err(Unanswered::ByContainer(why))) => Report::failed("exec", &why, took()),
        Ok(Err(Unanswered::ByEngine(why))) => Report::pending(&why),
        Err(_) => Report::pending(&format!("the engine did not answer within {limit:?}")),
    }
}

/// Looks at the container: it passes while it runs, its HEALTHCHECK does not say that it is unhealthy, and no process of it
/// was killed for want of memory.
pub(super) async fn look(containers: &dyn Containers, planned: &Planned) -> Report {
    let (limit, took) = (planned.timeout, stopwatch());
    match timeout(limit, containers.look(planned.host, &planned.container)).await {
        Ok(Ok(seen)) => {
            let mut run = Run::new();
            let ended = judge(&seen, took(), &mut run);
            run.report(&Ok(ended), limit)
        }
        Ok(Err(Unanswered::ByContainer(why))) => Report::failed("look", &why, took()),
        Ok(Err(Unanswered::ByEngine(why))) => Report::pending(&why),
        Err(_) => Report::pending(&format!("the engine did not answer within {limit:?}")),
    }
}

fn judge(seen: &Seen, took: Duration, run: &mut Run) -> Result<(), Failed> {
    if seen.state != "running" {
        return run.broke("look", took, format!("its state is {}, expected running", seen.state));
    }
    run.did("look", took, "running".to_owned());
    let (healthy, words) = match seen.healthy {
        Some(true) => (true, "its HEALTHCHECK passes"),
        Some(false) => (false, "its HEALTHCHECK says unhealthy"),
        None => (true, "it has no HEALTHCHECK, or none that has decided"),
    };
    run.check("health", healthy, words.to_owned())?;
    let words = if seen.oom_killed { "a process of it was killed for want of memory" } else { "never out of memory" };
    run.check("memory", !seen.oom_killed, words.to_owned())
}

#[cfg(test)]
mod tests;
