use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iaso_policy::Record;
use iaso_policy::action::{Answer, Trouble};
use iaso_policy::id::{AttemptId, Identity};
use iaso_policy::input::Order;
use iaso_policy::record::Hold;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::listen::{Limits, Listener, serve};
use crate::api::{ApiState, Timeline, router};
use crate::orders::{Reply, Request};
use crate::snapshot::Snapshot;
use crate::snapshot::example::{broken, held, service, snapshot};
use crate::system::clock::Clock;
use crate::system::heartbeat::Heartbeat;
use crate::system::tasks::Tasks;
use crate::telemetry::explain::explain_json;

struct Nothing;

impl Timeline for Nothing {
    fn newest<'a>(&'a self, _: &'a Identity, _: usize) -> BoxFuture<'a, Vec<Record>> {
        async { Vec::new() }.boxed()
    }
}

/// A daemon's socket, in a directory that goes with it.
struct Daemonish {
    dir: TempDir,
    heartbeat: Heartbeat,
    _snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Daemonish {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (orders, receiver) = mpsc::channel(8);
        let mut picture = snapshot();
        picture.services = vec![service("api"), broken("web", Trouble::EngineUnhealthy)];
        picture.services[1].view.hold = held(Hold::Budget, None);
        picture.waiting = vec!["later".into()];
        let (sender, snapshots) = watch::channel(Arc::new(picture));
        let heartbeat = Heartbeat::new();
        let state = ApiState {
            snapshots,
            orders,
            heartbeat: heartbeat.clone(),
            clock: Clock::new(),
            timeline: Arc::new(Nothing),
            metrics: Arc::new(Bytes::new),
            explain: explain_json,
        };
        let tasks = Tasks::new();
        tasks.spawn("supervisor", obey(receiver));
        let listener = Listener::unix(&dir.path().join("iaso.sock")).unwrap();
        let stop = CancellationToken::new();
        tasks.spawn("socket", serve(listener, router(state), tasks.clone(), stop, Limits::default()));
        Self { dir, heartbeat, _snapshots: sender }
    }

    async fn answer(&self, args: &[&str]) -> Result<Said, ClientError> {
        answer(&self.dir.path().join("iaso.sock"), args).await
    }
}

/// Begins a restart with `now`, is busy without, and does the rest.
async fn obey(mut orders: mpsc::Receiver<Request>) {
    while let Some(request) = orders.recv().await {
        let reply = match (&*request.service, request.order) {
            ("web", Order::Restart { now: true }) => Reply::Answered(Answer::Begun(AttemptId(7))),
            ("web", Order::Restart { now: false }) => Reply::Answered(Answer::Busy(AttemptId(6))),
            ("web", _) => Reply::Answered(Answer::Done),
            _ => Reply::NoSuchService,
        };
        let _ = request.reply.send(reply);
    }
}

async fn asked(cli: Cli, colour: bool) -> Result<Said, ClientError> {
    let Command::Ask(ask) = cli.command else { panic!("not a question to a daemon: {:?}", cli.command) };
    run(ask, cli.socket.unwrap(), colour).await
}

async fn answer(socket: &Path, args: &[&str]) -> Result<Said, ClientError> {
    let socket = socket.to_str().unwrap();
    let cli = Cli::try_parse_from(["iaso", "--socket", socket].iter().chain(args)).unwrap();
    asked(cli, false).await
}

#[tokio::test]
async fn status_is_a_table_or_json() {
    let daemon = Daemonish::start();
    let table = daemon.answer(&["status"]).await.unwrap();
    let lines: Vec<&str> = table.text.lines().collect();
    assert!(lines[0].starts_with("SERVICE  HEALTH     FOR"), "{}", table.text);
    assert!(lines[1].starts_with("api      healthy    "), "{}", table.text);
    assert!(lines[2].starts_with("web      unhealthy  ") && lines[2].ends_with("holding (budget)"), "{}", table.text);
    assert_eq!(lines[3], "later is configured, and no container of it exists yet.");
    let json = daemon.answer(&["status", "--output", "json"]).await.unwrap();
    let document: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!(document["services"][1]["hold"], "budget");
}

#[tokio::test]
async fn colours_are_for_terminals() {
    let daemon = Daemonish::start();
    let socket = daemon.dir.path().join("iaso.sock");
    for colour in [true, false] {
        let cli = Cli::try_parse_from(["iaso", "--socket", socket.to_str().unwrap(), "status"]).unwrap();
        let text = asked(cli, colour).await.unwrap().text;
        assert_eq!(text.contains("\u{1b}[31munhealthy\u{1b}[0m"), colour, "{text}");
        assert_eq!(text.contains('\u{1b}'), colour, "{text}");
    }
}

#[test]
fn an_empty_house_says_how_to_begin() {
    let answer = Services { at: String::new(), observe: true, services: Vec::new(), waiting: Vec::new() };
    assert_eq!(
        table::services(&answer, true),
        "No service is watched yet: label a container with iaso.enable=true or autoheal=true.\n\
         Iaso runs with --observe: it decides and touches nothing.\n"
    );
}

#[tokio::test]
async fn explain_is_the_colleague_s_answer() {
    let daemon = Daemonish::start();
    let said = daemon.answer(&["explain", "web"]).await.unwrap();
    assert!(said.text.starts_with("web is unhealthy since "), "{}", said.text);
    assert!(said.text.contains("Its restart budget is spent;"), "{}", said.text);
    let json = daemon.answer(&["explain", "web", "--json"]).await.unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.text).unwrap()["hold"], "budget");
    let error = daemon.answer(&["explain", "none"]).await.unwrap_err();
    assert_eq!((error.exit(), &*error.to_string()), (Exit::No, "there is no service `none`"));
}

#[tokio::test]
async fn orders_are_given_and_refused_in_words() {
    let daemon = Daemonish::start();
    let begun = daemon.answer(&["restart", "web", "--now"]).await.unwrap();
    assert_eq!(begun.text, "web is being restarted (attempt 0000000000000007)\n");
    let busy = daemon.answer(&["restart", "web"]).await.unwrap_err();
    assert_eq!(busy.exit(), Exit::No);
    assert!(busy.to_string().contains("attempt 0000000000000006"), "{busy}");
    assert_eq!(daemon.answer(&["resume", "web"]).await.unwrap().text, "web is in Iaso's care again\n");
    assert_eq!(daemon.answer(&["pause", "none"]).await.unwrap_err().exit(), Exit::No);
}

#[tokio::test]
async fn health_is_yes_or_no() {
    let daemon = Daemonish::start();
    assert_eq!(daemon.answer(&["health"]).await.unwrap(), Said { text: "alive\n".to_owned(), exit: Exit::Done });
    while daemon.heartbeat.is_alive() {
        daemon.heartbeat.miss();
    }
    assert_eq!(daemon.answer(&["health"]).await.unwrap().exit, Exit::No);
}

#[tokio::test]
async fn who_answers_nonsense_is_told_from_who_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("iaso.sock");
    assert_eq!(answer(&path, &["status"]).await.unwrap_err().exit(), Exit::Unavailable);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    Tasks::new().spawn("nonsense", async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(b"220 mail ESMTP\r\n").await.unwrap();
    });
    assert_eq!(answer(&path, &["status"]).await.unwrap_err().exit(), Exit::Internal);
}

#[test]
fn names_that_are_none_are_refused_before_anything_is_asked() {
    for bad in ["", "..", "a/b", "-x", "a b", "é"] {
        assert!(Cli::try_parse_from(["iaso", "explain", "--", bad]).is_err(), "{bad}");
    }
    assert!(Cli::try_parse_from(["iaso", "explain", "shop-web_2.x"]).is_ok());
}
