//! Real sockets: receivers that answer well, late, badly, endlessly or not at all.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex as StdMutex;
use std::thread;
use std::time::Duration;

use iaso_policy::action::Charge;
use iaso_policy::alert::{Alert, AlertKey};
use iaso_policy::id::{CheckId, HostId, Identity, IncidentId, ServiceId};
use iaso_policy::input::Outcome;
use iaso_policy::record::{AlertKind, Ending, Hold};
use serde_json::Value;

use super::*;
use crate::config::Loaded;
use crate::config::validated::Severity;
use crate::journal::Subject;
use crate::snapshot::example::{at, record, secs, service, snapshot};
use crate::system::clock::{Clock, stopwatch};
use crate::system::meters::Breaker;

/// Part of every receiver's path, and of nothing that Iaso may show.
const TOKEN: &str = "t0ken-of-the-receiver";

/// A server; its threads end with the test's process.
struct Receiver {
    port: u16,
    bodies: Arc<StdMutex<Vec<String>>>,
}

impl Receiver {
    /// One that hands every connection and the number of those before it to `answer`.
    fn new(answer: impl Fn(&mut TcpStream, usize) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (bodies, answer) = (Arc::<StdMutex<Vec<String>>>::default(), Arc::new(answer));
        let ours = Arc::clone(&bodies);
        let accept = move || {
            for (nth, mut stream) in listener.incoming().map_while(std::io::Result::ok).enumerate() {
                let (bodies, answer) = (Arc::clone(&ours), Arc::clone(&answer));
                let serve = move || {
                    if let Some(body) = read(&mut stream) {
                        bodies.lock().unwrap().push(body);
                    }
                    // A client that hangs up is what some of these ask for.
                    let _ = answer(&mut stream, nth);
                };
                thread::Builder::new().spawn(serve).unwrap();
            }
        };
        thread::Builder::new().spawn(accept).unwrap();
        Self { port, bodies }
    }

    fn answering(status: &'static str) -> Self {
        Self::new(move |stream, _| write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{TOKEN}", self.port)
    }

    fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }
}

/// A request's body.
fn read(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece).ok().filter(|length| *length > 0)?;
        request.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("POST /") && head.contains("content-type: application/json"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(body.to_owned());
        }
    }
}

/// Reporters as autoheal's environment makes them.
fn configured(env: &[(&str, &str)]) -> Vec<Reporter> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let Loaded { config, .. } = crate::config::load(None, &env).unwrap();
    config.reporters
}

struct Rig {
    reporters: Reporters,
    meters: Meters,
    delivered: mpsc::UnboundedReceiver<Delivered>,
    /// Keeps the pictures coming.
    _pictures: watch::Sender<Arc<Snapshot>>,
    tasks: Tasks,
}

impl Rig {
    fn new(env: &[(&str, &str)]) -> Self {
        let picture = Snapshot { services: vec![service("web").into()], ..snapshot() };
        let (pictures, seen) = watch::channel(Arc::new(picture));
        let (clock, tasks) = (Clock::new(), Tasks::new());
        let meters = Meters::new(clock);
        let resolver = Resolver::system(clock);
        let (taken, delivered) = mpsc::unbounded_channel();
        let reporters = Reporters::start(&configured(env), &tasks, &resolver, &seen, &meters, &taken).unwrap();
        Self { reporters, meters, delivered, _pictures: pictures, tasks }
    }

    fn webhook(receiver: &Receiver) -> Self {
        Self::new(&[("WEBHOOK_URL", &receiver.url())])
    }

    fn hear(&mut self, event: Event) {
        let status = service("web");
        let subject = Subject {
            name: status.name,
            identity: Identity::container("local", "web").unwrap(),
            host: status.host,
            severity: Severity::Warning,
            checks: vec!["api".into()],
        };
        self.reporters.hear(&Entry { record: record(0, event), subject: Arc::new(subject) });
    }

    /// An attempt that ends so at the engine.
    fn attempt(&mut self, trouble: Trouble, outcome: Outcome) {
        self.hear(begun(Cause::Recovery, trouble));
        self.hear(Event::Finished { attempt: AttemptId(7), outcome });
    }

    fn restart(&mut self) {
        self.attempt(Trouble::EngineUnhealthy, Outcome::Done);
    }

    /// How many of the reporter's messages were delivered and how many not, once there are so many.
    async fn counted(&self, reporter: &str, all: u64) -> (u64, u64) {
        until(|| {
            let counts = self.meters.readings().notifications.get(reporter).copied().unwrap_or_default();
            (counts.0 + counts.1 >= all).then_some(counts)
        })
        .await
    }
}

fn begun(cause: Cause, trouble: Trouble) -> Event {
    Event::Begun {
        attempt: AttemptId(7),
        step: Step::Restart,
        cause,
        trouble: Some(trouble),
        instance: Instance { container: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, started: 1 },
        charge: Charge::Stored,
        ordinal: 2,
    }
}

async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let waited = stopwatch();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(waited() < Duration::from_secs(60), "never");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn text_of(body: &str, key: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {body}")).to_owned()
}

#[tokio::test]
async fn a_restart_is_told_in_autoheal_s_words_and_more() {
    let (webhook, apprise) = (Receiver::answering("204 No Content"), Receiver::answering("200 OK"));
    let mut rig = Rig::new(&[("WEBHOOK_URL", &webhook.url()), ("APPRISE_URL", &apprise.url())]);
    rig.restart();
    assert_eq!((rig.counted("webhook", 1).await, rig.counted("apprise", 1).await), ((1, 0), (1, 0)));
    let text = "Container web (0123456789ab) found to be unhealthy. Successfully restarted the container! \
                Host local, service web, attempt 2, incident 00000000000000ab.";
    for key in ["text", "content"] {
        assert_eq!(text_of(&webhook.bodies()[0], key), text);
    }
    assert_eq!(
        (text_of(&apprise.bodies()[0], "title"), text_of(&apprise.bodies()[0], "body")),
        ("Autoheal".into(), text.into())
    );
    assert_eq!(rig.tasks.end(Duration::from_secs(5)).await, Vec::<String>::new());
}

/// The database's outage of twelve minutes, or its end.
pub(super) fn announcement(kind: AlertKind) -> Announcement {
    let is_over = kind == AlertKind::Resolved;
    Announcement {
        now: at(0),
        alert: Alert {
            key: AlertKey { incident: IncidentId(0xab), kind, ordinal: 1 },
            service: ServiceId(3),
            host: None,
            opened: at(-720),
            trouble: Some(Trouble::Exited { code: 1 }),
            reason: Some(Hold::Quarantine),
            until: Some(at(1800).mono),
            attempts: 5,
            failed: 5,
            affected: vec![ServiceId(1), ServiceId(2)],
            ending: is_over.then_some(Ending::Recovered),
        },
        subject: Arc::new(Subject {
            name: "db".into(),
            identity: Identity::container("local", "db").unwrap(),
            host: "local".into(),
            severity: Severity::Warning,
            checks: vec!["api".into()],
        }),
        affected: vec!["api".into(), "web".into()],
    }
}

fn of_host(kind: AlertKind, reason: Option<Hold>) -> Announcement {
    let told = announcement(kind);
    let alert = Alert { host: Some(HostId(0)), trouble: None, reason, until: None, ..told.alert };
    Announcement { alert, ..told }
}

#[tokio::test]
async fn an_announcement_says_what_when_why_and_who_and_is_delivered_when_it_was_taken() {
    let receiver = Receiver::answering("200 OK");
    let mut rig = Rig::webhook(&receiver);
    let all = [
        announcement(AlertKind::NotHealed),
        announcement(AlertKind::Reminder),
        announcement(AlertKind::Resolved),
        of_host(AlertKind::NotHealed, Some(Hold::MassFailure)),
        of_host(AlertKind::NotHealed, Some(Hold::HostDown)),
        of_host(AlertKind::Resolved, None),
    ];
    for told in &all {
        rig.reporters.announce(told);
    }
    assert_eq!(rig.counted("webhook", 6).await, (6, 0));
    let texts: Vec<String> = receiver.bodies().iter().map(|body| text_of(body, "text")).collect();
    let (what, tried) = (
        "its container exited by itself with code 1, since 2026-03-01 13:48:00Z (12 min)",
        "Tried: 5 attempts, 5 failed",
    );
    let now = "Now: recovery has failed too often, it waits for a person (quarantine); looked at again in 30 min. Affected: api, web";
    let tail = |key: &str| format!("Host local, incident 00000000000000ab, key 00000000000000ab/{key}/1.");
    let expected = [
        format!("Service db is not healed: {what}. {tried}. {now}. {}", tail("not_healed")),
        format!("Service db is still not healed: {what}. {tried}. {now}. {}", tail("reminder")),
        format!("Service db is well again, after 12 min. Affected: api, web. {}", tail("resolved")),
        format!(
            "Host local: 2 of its services failed at once: api, web. Look at the host, its network or Iaso itself: nothing is \
             recovered for 5 min, or until most are well, and then one after the other. {}",
            tail("not_healed")
        ),
        format!(
            "Host local cannot be reached, since 2026-03-01 13:48:00Z (12 min): nothing on it is watched or healed. {}",
            tail("not_healed")
        ),
        format!("Host local is itself again, after 12 min. {}", tail("resolved")),
    ];
    assert_eq!(texts, expected);
    for told in &all {
        let delivered = Delivered { service: ServiceId(3), key: told.alert.key };
        assert_eq!(rig.delivered.recv().await, Some(delivered));
    }
}

#[tokio::test]
async fn what_was_refused_is_not_delivered_and_where_nobody_is_told_nothing_waits() {
    let refusing = Receiver::answering("404 Nothing here");
    let mut rig = Rig::webhook(&refusing);
    rig.reporters.announce(&announcement(AlertKind::NotHealed));
    assert_eq!(rig.counted("webhook", 1).await, (0, 1));
    rig.delivered.try_recv().unwrap_err();
    // It waits for its next try already.
    rig.reporters.announce(&announcement(AlertKind::NotHealed));
    rig.restart();
    assert_eq!(rig.counted("webhook", 2).await, (0, 2));
    assert_eq!(refusing.bodies().len(), 2, "the announcement and the restart");
    let mut nobody = Rig::new(&[]);
    nobody.reporters.announce(&announcement(AlertKind::NotHealed));
    nobody.delivered.try_recv().unwrap();
}

#[tokio::test]
async fn every_key_and_every_text_makes_valid_json() {
    let receiver = Receiver::answering("200 OK");
    let key = "a \"quoted\" \\ key";
    let mut rig = Rig::new(&[("WEBHOOK_URL", &receiver.url()), ("WEBHOOK_JSON_KEY", key)]);
    rig.restart();
    rig.counted("webhook", 1).await;
    assert!(text_of(&receiver.bodies()[0], key).starts_with("Container web"));
    let odd = "it's \"it\"\n{}\u{1}";
    let body = message::json(&crate::config::validated::Message::Apprise, odd);
    assert_eq!(text_of(std::str::from_utf8(&body).unwrap(), "body"), odd);
}

#[tokio::test]
async fn what_failed_is_told_and_nothing_else() {
    let receiver = Receiver::answering("200 OK");
    let mut rig = Rig::webhook(&receiver);
    rig.attempt(Trouble::Check(CheckId(0)), Outcome::Failed);
    rig.hear(Event::Quarantined { trials: 0, retry_after: Some(secs(1800)) });
    rig.attempt(Trouble::Exited { code: 3 }, Outcome::Done);
    rig.attempt(Trouble::EngineUnhealthy, Outcome::Moot);
    rig.hear(Event::IncidentClosed { ending: Ending::Healed, lasted: secs(9) });
    rig.hear(begun(Cause::Operator, Trouble::EngineUnhealthy));
    rig.hear(Event::Finished { attempt: AttemptId(7), outcome: Outcome::Done });
    rig.restart();
    rig.counted("webhook", 3).await;
    let texts: Vec<String> = receiver.bodies().iter().map(|body| text_of(body, "text")).collect();
    let after = " Host local, service web, attempt 2, incident 00000000000000ab.";
    let start = "Container web (0123456789ab)";
    let unhealthy = format!("{start} found to be unhealthy");
    assert_eq!(
        texts,
        [
            format!(
                "{unhealthy} by its check api. Failed to restart the container! Why: the engine refused it.{after}"
            ),
            format!("{start} exited by itself with code 3. Successfully restarted the container!{after}"),
            format!("{unhealthy}. Successfully restarted the container!{after}"),
        ]
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_credential_and_what_was_taken_back_is_told_and_nothing_else() {
    use tracing::Level;
    let receiver = Receiver::answering("200 OK");
    let mut rig = Rig::webhook(&receiver);
    let entries = [
        (Level::INFO, "read", "it has changed"),
        (Level::WARN, "read_failed", "status 500; the last value stays in use"),
        (Level::ERROR, "rejected", "web did not become healthy with the new value; the one before it is in use again"),
        (Level::INFO, "rolled_back", "the old value is back: a person wanted it"),
        (Level::WARN, "rolled_back", "the old value is back: a service did not become healthy"),
        (Level::WARN, "expiring", "it ends at 2026-11-22 05:00:00Z"),
        (Level::WARN, "not_in_use", "web runs and is to be left alone"),
        (Level::ERROR, "expired", "it has ended, and there is no newer one"),
    ];
    for (level, what, words) in entries {
        let credential = Arc::from("key");
        let now = record(0, Event::Settled).now;
        rig.reporters.hear_credential(&CredentialEntry { now, credential, what, level, words: words.to_owned() });
    }
    rig.counted("webhook", 5).await;
    let texts: Vec<String> = receiver.bodies().iter().map(|body| text_of(body, "text")).collect();
    assert_eq!(
        texts,
        [
            "Credential key (rejected): web did not become healthy with the new value; the one before it is in use again.",
            "Credential key (rolled back): the old value is back: a service did not become healthy.",
            "Credential key (expiring): it ends at 2026-11-22 05:00:00Z.",
            "Credential key (not in use): web runs and is to be left alone.",
            "Credential key (expired): it has ended, and there is no newer one.",
        ]
    );
}

#[tokio::test]
async fn a_receiver_that_stumbles_is_asked_again() {
    let receiver = Receiver::new(|stream, nth| {
        let status = ["503 Later", "429 Slowly", "200 OK"][nth.min(2)];
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
    });
    let mut rig = Rig::webhook(&receiver);
    rig.restart();
    assert_eq!(rig.counted("webhook", 1).await, (1, 0));
    assert_eq!(receiver.bodies().len(), 3);
}

#[tokio::test]
async fn a_refusal_and_a_redirect_are_final() {
    let elsewhere = Receiver::answering("200 OK");
    let to = elsewhere.url();
    let redirecting = Receiver::new(move |stream, _| {
        write!(stream, "HTTP/1.1 307 Over there\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
    });
    for receiver in [redirecting, Receiver::answering("404 Nothing here")] {
        let mut rig = Rig::webhook(&receiver);
        rig.restart();
        assert_eq!(rig.counted("webhook", 1).await, (0, 1));
        assert_eq!(receiver.bodies().len(), 1);
        assert_eq!(rig.meters.readings().breakers["reporter/webhook"], Breaker::Closed);
    }
    assert_eq!(elsewhere.bodies(), Vec::<String>::new());
}

#[tokio::test]
async fn what_an_answer_carries_is_not_read() {
    let receiver = Receiver::new(|stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let piece = vec![b'x'; 1 << 20];
        loop {
            stream.write_all(&piece)?;
        }
    });
    let mut rig = Rig::webhook(&receiver);
    rig.restart();
    assert_eq!(rig.counted("webhook", 1).await, (1, 0));
}

/// What this thread logs from now on, as the daemon would at its most talkative, until the guard is dropped.
fn listen_in() -> (Arc<StdMutex<Vec<u8>>>, tracing::subscriber::DefaultGuard) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt;

    struct Lines(Arc<StdMutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    crate::system::others_listen_too();
    let heard = Arc::<StdMutex<Vec<u8>>>::default();
    let ours = Arc::clone(&heard);
    let layer = tracing_subscriber::fmt::layer().with_writer(move || Lines(Arc::clone(&ours)));
    let allowed = Targets::new().with_default(LevelFilter::WARN).with_target("iaso", LevelFilter::TRACE);
    (heard, tracing::subscriber::set_default(tracing_subscriber::registry().with(layer).with(allowed)))
}

#[tokio::test]
async fn a_receiver_that_is_silent_garbled_or_gone_costs_its_own_messages_only() {
    let (heard, _guard) = listen_in();
    let silent = Receiver::new(|_, _| {
        thread::sleep(Duration::from_secs(600));
        Ok(())
    });
    let garbled = Receiver::new(|stream, _| stream.write_all(b"\x16\x03\x01 no HTTP\r\n\r\n"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{nobody}/{TOKEN}");
    for url in [
        silent.url(),
        garbled.url(),
        nobody,
        format!("http://{TOKEN}.invalid/"),
        format!("https://{TOKEN}@127.0.0.1:1/"),
    ] {
        let well = Receiver::answering("200 OK");
        let mut rig = Rig::new(&[("WEBHOOK_URL", &url), ("APPRISE_URL", &well.url()), ("CURL_TIMEOUT", "0.5")]);
        rig.restart();
        assert_eq!(rig.counted("apprise", 1).await, (1, 0), "{url}");
        assert_eq!(rig.counted("webhook", 1).await, (0, 1), "{url}");
    }
    let said = || String::from_utf8(heard.lock().unwrap().clone()).unwrap();
    for why in ["no answer within 500ms", "not HTTP", "no connection: ", "its name does not resolve"] {
        until(|| said().contains(why).then_some(())).await;
    }
    assert!(!said().contains(TOKEN), "{}", said());
}

#[tokio::test]
async fn what_nobody_takes_waits_up_to_a_bound_and_is_then_dropped_and_counted() {
    let receiver = Receiver::new(|_, _| {
        thread::sleep(Duration::from_secs(600));
        Ok(())
    });
    let mut rig = Rig::webhook(&receiver);
    // Nothing is taken out of the queue while this task does not wait.
    for _ in 0..QUEUE + 10 {
        rig.restart();
    }
    assert_eq!(rig.meters.readings().notifications["webhook"], (0, 10));
    assert_eq!(rig.tasks.end(Duration::from_secs(5)).await, Vec::<String>::new(), "an end waits for no receiver");
}
