use std::future::{pending, ready};

use futures_util::FutureExt;

use super::*;
use crate::config::validated::Probe;
use crate::probe::example::{PATIENCE, SHORT, planned, steps};
use crate::probe::report::Verdict;

/// An engine with one container, which is so, and in which every program ends so. None: it never answers.
struct Told {
    seen: Option<Result<Seen, Unanswered>>,
    ran: Option<Result<(i64, &'static str), Unanswered>>,
}

impl Containers for Told {
    fn exec<'a>(
        &'a self,
        host: HostId,
        container: &'a str,
        argv: &'a [String],
        _: Duration,
    ) -> BoxFuture<'a, Result<Ran, Unanswered>> {
        assert_eq!((host, container, argv), (HostId(0), "c0", &["pg_isready".to_owned()][..]));
        match self.ran.clone() {
            Some(ran) => ready(ran.map(|(code, output)| Ran { code, output: output.to_owned() })).boxed(),
            None => pending().boxed(),
        }
    }

    fn look<'a>(&'a self, host: HostId, container: &'a str) -> BoxFuture<'a, Result<Seen, Unanswered>> {
        assert_eq!((host, container), (HostId(0), "c0"));
        self.seen.clone().map_or_else(|| pending().boxed(), |seen| ready(seen).boxed())
    }
}

async fn ran(ran: Option<Result<(i64, &'static str), Unanswered>>) -> Report {
    let limit = if ran.is_none() { SHORT } else { PATIENCE };
    let argv = vec!["pg_isready".to_owned()];
    let planned = planned(Probe::Exec(argv.clone()), limit);
    exec(&Told { seen: None, ran }, &planned, &argv).await
}

async fn saw(seen: Option<Result<Seen, Unanswered>>) -> Report {
    let limit = if seen.is_none() { SHORT } else { PATIENCE };
    look(&Told { seen, ran: None }, &planned(Probe::Docker, limit)).await
}

#[tokio::test]
async fn the_exit_code_inside_decides_and_the_last_line_tells() {
    let report = ran(Some(Ok((0, "accepting connections\n")))).await;
    assert_eq!((report.verdict, &*report.evidence), (Verdict::Passed, "exit code 0: accepting connections"));
    let report = ran(Some(Ok((2, "password hunter2 is wrong")))).await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert!(!format!("{report:?}").contains("hunter2"), "{report:?}");
    // An engine that hangs says nothing of the container.
    let report = ran(None).await;
    assert_eq!(report.verdict, Verdict::Pending);
    assert!(report.evidence.contains("the engine did not answer"), "{}", report.evidence);
}

#[tokio::test]
async fn an_engine_that_cannot_be_asked_says_nothing_of_the_container() {
    let unanswered = || Unanswered::ByEngine("the engine is not running".to_owned());
    for report in [ran(Some(Err(unanswered()))).await, saw(Some(Err(unanswered()))).await] {
        assert_eq!((report.verdict, &*report.evidence), (Verdict::Pending, "the engine is not running"));
    }
    assert_eq!(saw(None).await.verdict, Verdict::Pending);
    let unable = || Unanswered::ByContainer("the container is paused".to_owned());
    for report in [ran(Some(Err(unable()))).await, saw(Some(Err(unable()))).await] {
        assert_eq!((report.verdict, &*report.evidence), (Verdict::Failed, "the container is paused"));
    }
}

#[tokio::test]
async fn a_container_passes_while_it_runs_is_not_unhealthy_and_was_not_short_of_memory() {
    let running = Seen { state: "running", healthy: None, oom_killed: false };
    let rows = [
        (running.clone(), "look health memory", "never out of memory"),
        (Seen { healthy: Some(true), ..running.clone() }, "look health memory", "never out of memory"),
        (Seen { healthy: Some(false), ..running.clone() }, "look health!", "unhealthy"),
        (Seen { oom_killed: true, ..running.clone() }, "look health memory!", "want of memory"),
        (Seen { state: "restarting", ..running }, "look!", "its state is restarting, expected running"),
    ];
    for (seen, wanted, words) in rows {
        let report = saw(Some(Ok(seen))).await;
        assert_eq!(steps(&report), wanted);
        assert_eq!(report.verdict == Verdict::Failed, wanted.ends_with('!'));
        assert!(report.evidence.contains(words), "{}", report.evidence);
    }
}
