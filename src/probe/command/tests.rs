use std::fs;
use std::path::Path;

use rustix::process::test_kill_process;

use super::*;
use crate::config::validated::Probe;
use crate::probe::example::{PATIENCE, SHORT, planned};
use crate::probe::report::Verdict;

fn sh(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

async fn run(argv: &[String], limit: Duration) -> Report {
    probe(argv, &planned(Probe::Command(argv.to_vec()), limit)).await
}

/// The process whose number a script left in a file.
fn pid_in(file: &Path) -> Option<Pid> {
    fs::read_to_string(file).ok()?.trim().parse().ok().and_then(Pid::from_raw)
}

/// Waits until a process is gone, reaped and all.
async fn until_gone(pid: Pid) {
    let gone = async {
        while test_kill_process(pid).is_ok() && !is_zombie_of_another(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if timeout(PATIENCE, gone).await.is_err() {
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        panic!("process {pid:?} was left running");
    }
}

/// Dead, and waiting for a parent that is not this process: whoever took over the orphan may take its time.
fn is_zombie_of_another(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    fields.first() == Some(&"Z") && fields.get(1) != Some(&&*std::process::id().to_string())
}

#[tokio::test]
async fn the_exit_code_decides_and_the_last_line_tells() {
    let report = run(&sh("echo fine"), PATIENCE).await;
    assert_eq!((report.verdict, &*report.evidence), (Verdict::Passed, "exit code 0: fine"));
    let report = run(&sh("echo fine; echo no route >&2; exit 3"), PATIENCE).await;
    assert_eq!((report.verdict, &*report.evidence), (Verdict::Failed, "exit code 3: no route"));
    let report = run(&sh("kill -9 $$"), PATIENCE).await;
    assert_eq!((report.verdict, &*report.evidence), (Verdict::Failed, "exit code 137, and it printed nothing"));
    let report = run(&["/nonexistent/check".to_owned()], PATIENCE).await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert!(report.evidence.contains("/nonexistent/check cannot be started"), "{}", report.evidence);
}

#[tokio::test]
async fn it_gets_no_input_no_shell_and_nothing_of_iaso_s_environment() {
    let report =
        run(&sh("test -z \"$CARGO_MANIFEST_DIR$HOME\" && cat && echo $IASO_SERVICE/$IASO_CHECK"), PATIENCE).await;
    assert_eq!((report.verdict, &*report.evidence), (Verdict::Passed, "exit code 0: web/check"));
    let report = run(&["/bin/echo".to_owned(), "$HOME; false".to_owned()], PATIENCE).await;
    assert_eq!(report.evidence, "exit code 0: $HOME; false");
}

#[tokio::test]
async fn endless_output_is_neither_kept_nor_waited_for() {
    let report = run(&sh("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end"), PATIENCE).await;
    assert_eq!(report.evidence, "exit code 0: end");
    let report = run(&sh("yes"), SHORT).await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert!(report.evidence.contains("was killed"), "{}", report.evidence);
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let (own, child) = (dir.path().join("own"), dir.path().join("child"));
    let script = format!("echo $$ >{}; sleep 1000 & echo $! >{}; wait", own.display(), child.display());
    let argv = sh(&script);
    let started = async {
        while pid_in(&child).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Cut as the scheduler cuts a run: the probe is dropped half-way.
    tokio::select! {
        _ = run(&argv, PATIENCE) => panic!("it ended by itself"),
        () = started => {}
    }
    until_gone(pid_in(&own).unwrap()).await;
    until_gone(pid_in(&child).unwrap()).await;
    let report = run(&argv, SHORT).await;
    assert!(report.evidence.contains("with all that it started"), "{}", report.evidence);
    until_gone(pid_in(&own).unwrap()).await;
    until_gone(pid_in(&child).unwrap()).await;
}

#[tokio::test]
async fn what_it_leaves_in_the_background_neither_delays_nor_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("left");
    // It keeps the output open, as careless daemons do.
    let report = run(&sh(&format!("sleep 1000 & echo $! >{}; echo done", left.display())), PATIENCE).await;
    assert_eq!((report.verdict, &*report.evidence), (Verdict::Passed, "exit code 0: done"));
    assert!(report.took < PATIENCE);
    until_gone(pid_in(&left).unwrap()).await;
}
