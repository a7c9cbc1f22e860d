//! The `command` probe: a program on Iaso's own host, which the configuration must have allowed. It gets no shell, no input,
//! no environment but `PATH` and two names, and a process group of its own, which ends with the check however that ends.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::probe::output::words;
use crate::probe::report::Report;
use crate::probe::run::{Failed, Run};
use crate::probe::scheduler::Planned;
use crate::system::clock::stopwatch;

/// Where programs are looked for when Iaso's own environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of the output's end is kept.
const OUTPUT: usize = 4096;
/// How long the rest of the output may take once the program has ended.
const REST: Duration = Duration::from_millis(100);

/// Runs the program; exit code 0 passes. Ends within the check's timeout, and no process of its group outlives it.
pub(super) async fn probe(argv: &[String], planned: &Planned) -> Report {
    let mut run = Run::new();
    let ended = timeout(planned.timeout, execute(argv, planned, &mut run)).await;
    run.report(&ended, planned.timeout)
}

async fn execute(argv: &[String], planned: &Planned, run: &mut Run) -> Result<(), Failed> {
    run.doing("command", "the program did not end, and was killed with all that it started");
    let took = stopwatch();
    let [program, arguments @ ..] = argv else { return run.fail("command", "there is no program".to_owned()) };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH.into()))
        .env("IASO_SERVICE", &*planned.service)
        .env("IASO_CHECK", &planned.name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        // Whoever is cut short leaves the reaping to the runtime.
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return run.broke("command", took(), format!("{program} cannot be started: {error}")),
    };
    let group = Group::of(&child);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    {
        let reading = async { tokio::join!(fill(&mut out, stdout), fill(&mut err, stderr)) };
        tokio::pin!(reading);
        // What the program leaves in the background may hold its output open: its own end decides.
        tokio::select! {
            () = exited(&group) => { let _rest = timeout(REST, &mut reading).await; }
            _ = &mut reading => exited(&group).await,
        }
    }
    // Before the program is reaped, when its group's number cannot yet be another's.
    drop(group);
    let status = match child.wait().await {
        Ok(status) => status,
        Err(error) => return run.broke("command", took(), format!("its end cannot be learnt: {error}")),
    };
    // Complaints tell more than results.
    let printed = String::from_utf8_lossy(if err.is_empty() { &out } else { &err });
    let words = words(code(status), &printed);
    if !status.success() {
        return run.broke("command", took(), words);
    }
    run.did("command", took(), words);
    Ok(())
}

/// The process group of a program that was not reaped yet. Killed when it is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _nobody_left = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Returns once the program has ended, without reaping it.
async fn exited(group: &Group) {
    let (Some(pid), Ok(mut some_child_ended)) = (group.0, signal(SignalKind::child())) else {
        // The time limit ends what cannot be watched.
        return std::future::pending().await;
    };
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while let Ok(None) = waitid(WaitId::Pid(pid), look) {
        some_child_ended.recv().await;
    }
}

/// 128 and the signal's number where a signal ended it, as shells have it.
fn code(status: ExitStatus) -> i64 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1).into()
}

async fn fill(tail: &mut Vec<u8>, stream: Option<impl AsyncRead + Unpin>) {
    let Some(mut stream) = stream else { return };
    let mut piece = [0; OUTPUT];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        tail.extend_from_slice(&piece[..length]);
        tail.drain(..tail.len().saturating_sub(OUTPUT));
    }
}

#[cfg(test)]
mod tests;
