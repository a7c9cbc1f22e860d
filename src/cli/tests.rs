//! Commands that ask a daemon, over a socket of the test's own.

mod help;
mod table;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iaso_policy::Record;
use iaso_policy::action::{Answer, Trouble};
use iaso_policy::id::{AttemptId, Identity, IncidentId};
use iaso_policy::input::Order;
use iaso_policy::record::{Ending, Hold};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::listen::{Limits, Listener, serve};
use crate::api::{ApiState, Timeline, router};
use crate::incidents::{Account, Outage, Page, Wanted};
use crate::orders::{CredentialOrder, CredentialReply, CredentialRequest, Reply, Request};
use crate::snapshot::example::{INCIDENT, at, broken, credential, credentials, held, secs, service, snapshot};
use crate::snapshot::{CredentialsPicture, Snapshot};
use crate::system::clock::Clock;
use crate::system::heartbeat::Heartbeat;
use crate::system::meters::Meters;
use crate::system::tasks::Tasks;
use crate::telemetry::explain::explain_json;
use crate::telemetry::incidents::{account_json, list_json};

struct Nothing;

impl Timeline for Nothing {
    fn newest<'a>(&'a self, _: &'a Identity, _: usize) -> BoxFuture<'a, Vec<Record>> {
        async { Vec::new() }.boxed()
    }

    fn outages(&self, wanted: Wanted) -> BoxFuture<'_, Result<Page, String>> {
        async move { Ok(Page { outages: vec![past(); wanted.limit.min(3)], within: Vec::new() }) }.boxed()
    }

    fn outage_ids<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<IncidentId>, String>> {
        async { Ok(vec![INCIDENT]) }.boxed()
    }

    fn identities_with_outages(&self) -> BoxFuture<'_, Result<Vec<Identity>, String>> {
        async { Ok(vec![past().identity]) }.boxed()
    }

    fn account(&self, id: IncidentId) -> BoxFuture<'_, Result<Option<Account>, String>> {
        let account = Account { outage: past(), records: Vec::new(), evidence: Vec::new(), within: Vec::new() };
        async move { Ok(Some(account).filter(|_| id == INCIDENT)) }.boxed()
    }
}

/// An outage of web that is over.
fn past() -> Outage {
    Outage {
        id: INCIDENT,
        identity: Identity::container("local", "web").unwrap(),
        opened: at(-100),
        trouble: Trouble::Exited { code: 7 },
        attempts: 1,
        failed: 0,
        acknowledged: None,
        closed: Some((at(-90), Ending::Healed)),
        lasted: Some(secs(10)),
        root: None,
    }
}

/// A daemon's socket, in a directory that goes with it.
struct Daemonish {
    dir: TempDir,
    heartbeat: Heartbeat,
    _snapshots: watch::Sender<Arc<Snapshot>>,
    pictures: watch::Sender<Arc<CredentialsPicture>>,
}

impl Daemonish {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (orders, receiver) = mpsc::channel(8);
        let mut picture = snapshot();
        picture.services = vec![service("api").into(), broken("web", Trouble::EngineUnhealthy).into()];
        let web = Arc::make_mut(&mut picture.services[1]);
        web.view.hold = held(Hold::Budget, None);
        web.container.as_mut().unwrap().name = "web-container".to_owned();
        picture.waiting = vec!["later".into()];
        let (sender, snapshots) = watch::channel(Arc::new(picture));
        let (pictures, kept) = watch::channel(Arc::new(credentials(credential("db"))));
        let (credential_orders, ordered) = mpsc::channel(8);
        let heartbeat = Heartbeat::new();
        let state = ApiState {
            snapshots,
            orders,
            credentials: kept,
            credential_orders,
            heartbeat: heartbeat.clone(),
            clock: Clock::new(),
            timeline: Arc::new(Nothing),
            metrics: Arc::new(Bytes::new),
            meters: Meters::new(Clock::new()),
            explain: explain_json,
            incidents: list_json,
            account: account_json,
            ping: Arc::new(|_, _| {}),
        };
        let tasks = Tasks::new();
        tasks.spawn("supervisor", obey(receiver));
        tasks.spawn("credentials", keep(ordered));
        let listener = Listener::unix(&dir.path().join("iaso.sock")).unwrap();
        let stop = CancellationToken::new();
        tasks.spawn("socket", serve(listener, router(state), tasks.clone(), stop, Limits::default()));
        Self { dir, heartbeat, _snapshots: sender, pictures }
    }

    async fn answer(&self, args: &[&str]) -> Result<Said, ClientError> {
        answer(&self.dir.path().join("iaso.sock"), args).await
    }
}

/// Begins a restart with `now`, is busy without, and does the rest.
async fn obey(mut orders: mpsc::Receiver<Request>) {
    while let Some(request) = orders.recv().await {
        let reply = match (request.service.as_deref(), request.order) {
            (Some("web"), Order::Restart { now: true }) => Reply::Answered(Answer::Begun(AttemptId(7))),
            (Some("web"), Order::Restart { now: false }) => Reply::Answered(Answer::Busy(AttemptId(6))),
            (Some("web") | None, _) => Reply::Answered(Answer::Done),
            _ => Reply::NoSuchService,
        };
        let _ = request.reply.send(reply);
    }
}

/// Keeps `db` alone: refuses to roll it back, and says of a value how long it is.
async fn keep(mut orders: mpsc::Receiver<CredentialRequest>) {
    while let Some(request) = orders.recv().await {
        let reply = match (&*request.credential, request.order) {
            ("db", CredentialOrder::Refresh) => CredentialReply::Taken("read; it has not changed".to_owned()),
            ("db", CredentialOrder::Rotate) => CredentialReply::Taken("rotation 7 has begun".to_owned()),
            ("db", CredentialOrder::Rollback) => CredentialReply::Refused("there is no version before it".to_owned()),
            ("db", CredentialOrder::Plan) => CredentialReply::Planned(vec!["make".to_owned(), "store".to_owned()]),
            ("db", CredentialOrder::Set(value)) => {
                CredentialReply::Taken(format!("stored {} bytes", value.expose().len()))
            }
            _ => CredentialReply::NoSuchCredential,
        };
        let _ = request.reply.send(reply);
    }
}

async fn asked(cli: Cli, colour: bool) -> Result<Said, ClientError> {
    let Command::Ask(ask) = cli.command else { panic!("not a question to a daemon: {:?}", cli.command) };
    ask::run(ask, cli.connection.socket.unwrap(), Look { colour, erases: false, width: None }).await
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
    assert!(lines[1].starts_with("web      unhealthy  ") && lines[1].ends_with("holding (budget)"), "{}", table.text);
    assert!(lines[2].starts_with("api      healthy    "), "{}", table.text);
    assert_eq!(lines[3], "2 services: 1 unhealthy, 1 healthy.");
    assert_eq!(*lines.last().unwrap(), "later is configured, and no container of it exists yet.");
    let json = daemon.answer(&["status", "--output", "json"]).await.unwrap();
    let document: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!(document["services"][1]["hold"], "budget");
    assert_eq!(document["components"]["supervisor"]["status"], "healthy");
}

#[tokio::test]
async fn credentials_are_a_table_or_json() {
    let daemon = Daemonish::start();
    for args in [&["credentials"][..], &["credentials", "list"]] {
        let table = daemon.answer(args).await.unwrap();
        let lines: Vec<&str> = table.text.lines().collect();
        let head = ["CREDENTIAL", "TYPE", "HEALTH", "VERSION", "AGE", "EXPIRES", "ROTATION"];
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), head, "{}", table.text);
        assert!(lines[1].starts_with("db          kv2   healthy  7 "), "{}", table.text);
        assert_eq!((lines.len(), table.exit), (2, Exit::Done), "{}", table.text);
    }
    let json = daemon.answer(&["credentials", "list", "-o", "json"]).await.unwrap();
    let document: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!(document["credentials"][0]["rotation"]["step"], "idle");

    let mut sick = credential("db");
    sick.component = crate::snapshot::example::down("Vault is\nsealed");
    sick.advice = vec!["web mounts the file alone".to_owned()];
    sick.kept = true;
    sick.rotation.as_mut().unwrap().needs_a_person = true;
    let mut picture = credentials(sick);
    picture.vault.as_mut().unwrap().link = crate::snapshot::example::down("sealed");
    daemon.pictures.send_replace(Arc::new(picture));
    let text = daemon.answer(&["credentials"]).await.unwrap().text;
    for part in
        ["degraded", "needs a person", "db: Vault is sealed\n", "db: web mounts", "last run", "vault is unhealthy"]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    daemon.pictures.send_replace(Arc::default());
    assert!(daemon.answer(&["credentials"]).await.unwrap().text.starts_with("No credential is configured"));
}

#[tokio::test]
async fn credentials_are_refreshed_rotated_and_set() {
    let daemon = Daemonish::start();
    for (args, words) in [
        (&["credentials", "refresh", "db"][..], "db: read; it has not changed\n"),
        (&["credentials", "rotate", "db"], "db: rotation 7 has begun\n"),
        (&["credentials", "plan", "db"], "make\nstore\n"),
    ] {
        let said = daemon.answer(args).await.unwrap();
        assert_eq!((&*said.text, said.exit), (words, Exit::Done), "{args:?}");
    }
    let refused = daemon.answer(&["credentials", "rollback", "db"]).await.unwrap_err();
    assert_eq!((refused.to_string(), refused.exit()), ("there is no version before it".to_owned(), Exit::No));
    let unknown = daemon.answer(&["credentials", "rotate", "dc"]).await.unwrap_err();
    assert!(unknown.to_string().contains("did you mean `db`?"), "{unknown}");
    assert_eq!(unknown.exit(), Exit::No);

    let file = daemon.dir.path().join("value");
    let set = async |content: &[u8]| {
        std::fs::write(&file, content).unwrap();
        daemon.answer(&["credentials", "set", "db", "--file", file.to_str().unwrap(), "-o", "json"]).await
    };
    for (content, stored) in [(&b"hunter2"[..], 7), (b"hunter2\n", 7), (b"hunter2\r\n", 7), (b"a\n\n", 2)] {
        assert!(set(content).await.unwrap().text.contains(&format!("stored {stored} bytes")), "{content:?}");
    }
    for (content, why) in [(&b""[..], "empty"), (b"\n", "empty"), (b"\xff", "UTF-8"), (&[b'x'; (1 << 20) + 2], "1 MiB")]
    {
        let error = set(content).await.unwrap_err();
        assert!(error.to_string().contains(why) && error.exit() == Exit::No, "{error}");
    }
    std::fs::remove_file(&file).unwrap();
    let error = daemon.answer(&["credentials", "set", "db", "--file", file.to_str().unwrap()]).await.unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(Cli::try_parse_from(["iaso", "credentials", "set", "db", "hunter2"]).is_err(), "never in the arguments");
}

#[tokio::test]
async fn maintenance_is_listed_begun_and_ended() {
    let daemon = Daemonish::start();
    for args in [&["maintenance"][..], &["maintenance", "list"]] {
        let said = daemon.answer(args).await.unwrap();
        assert!(
            said.text.starts_with("No window is configured")
                && said.text.ends_with("Nothing is under maintenance now.\n")
        );
    }
    let begun = daemon.answer(&["maintenance", "start", "web", "--for", "2h", "--comment", "new disk"]).await.unwrap();
    assert!(begun.text.starts_with("web is under maintenance until 20"), "{}", begun.text);
    for (args, words) in [
        (&["maintenance", "end", "web"][..], "web is under maintenance no longer\n"),
        (&["maintenance", "end", "--all"], "everything is under maintenance no longer\n"),
    ] {
        assert_eq!(daemon.answer(args).await.unwrap().text, words);
    }
    let unknown = daemon.answer(&["maintenance", "end", "web", "wbe"]).await.unwrap_err();
    assert_eq!((unknown.to_string(), unknown.exit()), ("there is no service `wbe`".to_owned(), Exit::No));
    for wrong in [
        &["maintenance", "start", "web"][..],
        &["maintenance", "start", "--for", "2h"],
        &["maintenance", "start", "web", "--all", "--for", "2h"],
        &["maintenance", "start", "web", "--for", "32d"],
        &["maintenance", "start", "web", "--for", "10ms"],
        &["maintenance", "end"],
    ] {
        assert!(Cli::try_parse_from(["iaso"].iter().chain(wrong)).is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn an_outage_is_acknowledged_by_its_service_or_its_id() {
    let daemon = Daemonish::start();
    let said = daemon.answer(&["ack", "web"]).await.unwrap();
    assert_eq!(said.text, "the outage of web is acknowledged until it is over\n");
    let said = daemon.answer(&["ack", "00000000000000ab", "--for", "3h"]).await.unwrap();
    assert_eq!(said.text, "the outage of web is acknowledged for 3 h 0 min\n");
    let said = daemon.answer(&["ack", "00000000000000A"]).await.unwrap();
    assert_eq!(said.text, "the outage of web is acknowledged until it is over\n", "the first digits do");
    let well = daemon.answer(&["ack", "api"]).await.unwrap_err();
    assert_eq!(
        (well.to_string(), well.exit()),
        ("api is in no outage: there is nothing to acknowledge".to_owned(), Exit::No)
    );
    let unknown = daemon.answer(&["ack", "nobody"]).await.unwrap_err();
    assert_eq!(unknown.exit(), Exit::No);
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

#[tokio::test]
async fn explain_is_the_colleague_s_answer() {
    let daemon = Daemonish::start();
    let said = daemon.answer(&["explain", "web"]).await.unwrap();
    assert!(said.text.starts_with("web is unhealthy since "), "{}", said.text);
    assert!(said.text.contains("Its restart budget is spent;"), "{}", said.text);
    let json = daemon.answer(&["explain", "web", "--json"]).await.unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.text).unwrap()["hold"], "budget");
    let same = daemon.answer(&["explain", "web", "--output", "json"]).await.unwrap();
    assert_eq!(same.text, json.text);
    let error = daemon.answer(&["explain", "none"]).await.unwrap_err();
    assert_eq!((error.exit(), &*error.to_string()), (Exit::No, "there is no service `none`"));
}

#[tokio::test]
async fn who_mistypes_a_name_is_told_the_nearest() {
    let daemon = Daemonish::start();
    let cases = [
        (&["explain", "wbe"], "there is no service `wbe`; did you mean `web`?"),
        (&["pause", "ap"], "there is no service `ap`; did you mean `api`?"),
        (&["restart", "later"], "there is no service `later`; it is configured, and no container of it exists yet"),
        (
            &["resume", "web-container"],
            "there is no service `web-container`; the container of that name is service `web`",
        ),
    ];
    for (args, told) in cases {
        let error = daemon.answer(args).await.unwrap_err();
        assert_eq!((error.exit(), &*error.to_string()), (Exit::No, told));
    }
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
    let json = daemon.answer(&["restart", "web", "--now", "-o", "json"]).await.unwrap().text;
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&document["service"], &document["id"]), (&"web".into(), &"0000000000000007".into()));
}

#[tokio::test]
async fn health_is_yes_or_no() {
    let daemon = Daemonish::start();
    assert_eq!(daemon.answer(&["health"]).await.unwrap(), Said { text: "alive\n".to_owned(), exit: Exit::Done });
    let alive = |said: &Said| serde_json::from_str::<serde_json::Value>(&said.text).unwrap()["alive"].clone();
    assert_eq!(alive(&daemon.answer(&["health", "--output", "json"]).await.unwrap()), true);
    while daemon.heartbeat.is_alive() {
        daemon.heartbeat.miss();
    }
    assert_eq!(daemon.answer(&["health"]).await.unwrap().exit, Exit::No);
    let said = daemon.answer(&["health", "--output", "json"]).await.unwrap();
    assert_eq!((alive(&said), said.exit), (false.into(), Exit::No));
}

/// Somebody else's socket: answers the first request with these bytes, and then with these again and again.
fn stranger(path: &Path, answer: &'static [u8], more: &'static [u8]) {
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    Tasks::new().spawn("stranger", async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(answer).await.unwrap();
        while !more.is_empty() && stream.write_all(more).await.is_ok() {}
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn who_answers_nonsense_is_told_from_who_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("iaso.sock");
    let error = answer(&path, &["status"]).await.unwrap_err();
    assert!(error.exit() == Exit::Unavailable && error.advice().unwrap().contains("iaso run"), "{error}");
    stranger(&path, b"220 mail ESMTP\r\n", b"");
    assert_eq!(answer(&path, &["status"]).await.unwrap_err().exit(), Exit::Internal);
    let error = answer(dir.path(), &["status"]).await.unwrap_err();
    assert!(error.exit() == Exit::Unavailable && error.to_string().ends_with("this is no socket"), "{error}");
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("iaso.sock");
    stranger(&path, b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", &[b' '; 1 << 16]);
    let error = answer(&path, &["status"]).await.unwrap_err();
    assert!(error.exit() == Exit::Internal && error.to_string().contains("larger than 64 MiB"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_never_answers_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("iaso.sock");
    stranger(&path, b"", b"");
    let error = answer(&path, &["status"]).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut(_)) && error.exit() == Exit::Unavailable, "{error}");
}

#[test]
fn names_that_are_none_are_refused_before_anything_is_asked() {
    for bad in ["", "..", "a/b", "-x", "a b", "é"] {
        assert!(Cli::try_parse_from(["iaso", "explain", "--", bad]).is_err(), "{bad}");
    }
    assert!(Cli::try_parse_from(["iaso", "explain", "shop-web_2.x"]).is_ok());
}

#[tokio::test]
async fn outages_are_told_in_a_table_and_one_whole() {
    let daemon = Daemonish::start();
    let said = daemon.answer(&["incidents", "--limit", "1"]).await.unwrap();
    let lines: Vec<&str> = said.text.lines().collect();
    assert!(lines[0].starts_with("ID                SERVICE  BEGAN"), "{}", said.text);
    assert!(lines[1].starts_with("00000000000000ab  web      2026-03-01 "), "{}", said.text);
    assert!(lines[1].contains("10 s") && lines[1].ends_with("1         healed"), "{}", said.text);
    assert_eq!(lines[2], "There are older ones: --limit shows more.");
    let said = daemon.answer(&["incidents", "ab", "-o", "json"]).await.unwrap();
    let account: serde_json::Value = serde_json::from_str(&said.text).unwrap();
    assert_eq!((&account["service"], &account["time_to_recover_seconds"]), (&"web".into(), &10.into()));
    let said = daemon.answer(&["incidents", "ab"]).await.unwrap();
    assert!(said.text.starts_with("Outage 00000000000000ab of web on host local (warning): its container"), "{said:?}");
    let unknown = daemon.answer(&["incidents", "00000000000000ff"]).await.unwrap_err();
    assert_eq!((unknown.exit(), unknown.to_string().starts_with("there is no outage of this id")), (Exit::No, true));
    let nobody = daemon.answer(&["incidents", "--service", "wob"]).await.unwrap_err();
    assert_eq!((nobody.exit(), nobody.to_string().ends_with("did you mean `web`?")), (Exit::No, true));
}
