//! A false engine on a Unix socket: enough of the API to be believed, and every way to misbehave.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use iaso::system::tasks::Tasks;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;

/// How it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// As an engine does.
    Proper,
    /// Connections are accepted and nothing is ever answered.
    Silent,
    /// Everything gets this status, content type and body.
    Refusing(u16, &'static str, &'static str),
    /// Bytes that are not HTTP.
    Garbage,
    /// Half of an answer, then the end.
    Cut,
    /// A change is denied, as by a proxy; the rest is proper.
    DeniedChange,
    /// A change is accepted and never answered; the rest is proper.
    StuckChange,
    /// The container does not let itself be inspected; the rest is proper.
    StuckInspect,
}

struct Shared {
    manner: Manner,
    /// The API versions it tells: oldest, newest.
    api: (String, String),
    /// Every path it was asked for.
    asked: Vec<String>,
}

/// The false engine. Its socket is there until it is dropped.
pub struct Fake {
    dir: TempDir,
    shared: Arc<Mutex<Shared>>,
    events: broadcast::Sender<Option<String>>,
    tasks: Tasks,
}

/// The one container it has.
pub const CONTAINER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

impl Fake {
    /// Not listening yet.
    pub fn new() -> Self {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let shared = Shared { manner: Manner::Proper, api: ("1.24".to_owned(), "1.47".to_owned()), asked: Vec::new() };
        Self {
            dir: TempDir::with_prefix_in("iaso-test-", scratch).expect("a directory"),
            shared: Arc::new(Mutex::new(shared)),
            events: broadcast::channel(64).0,
            tasks: Tasks::new(),
        }
    }

    /// Listening, and proper.
    pub fn listening() -> Self {
        let fake = Self::new();
        fake.listen();
        fake
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    pub fn listen(&self) {
        let listener = UnixListener::bind(self.socket()).expect("a socket");
        let (shared, events, tasks) = (Arc::clone(&self.shared), self.events.clone(), self.tasks.clone());
        self.tasks.spawn("fake", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, told) = (Arc::clone(&shared), events.subscribe());
                tasks.spawn("answer", async move { answer(stream, &shared, told).await });
            }
        });
    }

    pub fn behave(&self, manner: Manner) {
        lock(&self.shared).manner = manner;
    }

    pub fn speak(&self, oldest: &str, newest: &str) {
        lock(&self.shared).api = (oldest.to_owned(), newest.to_owned());
    }

    /// What it was asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared).asked)
    }

    /// Sends these bytes to whoever listens to the events.
    pub fn tell(&self, text: &str) {
        self.events.send(Some(text.to_owned())).expect("somebody listens");
    }

    /// Ends every event stream.
    pub fn end_events(&self) {
        self.events.send(None).expect("somebody listens");
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    mut stream: UnixStream,
    shared: &Mutex<Shared>,
    mut told: broadcast::Receiver<Option<String>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let request = String::from_utf8_lossy(&request);
    let (method, path) =
        request.split_once(' ').map_or(("", ""), |(method, rest)| (method, rest.split(' ').next().unwrap_or("")));
    let (manner, api) = {
        let mut shared = lock(shared);
        shared.asked.push(path.to_owned());
        (shared.manner.clone(), shared.api.clone())
    };
    match manner {
        Manner::Silent => return std::future::pending().await,
        Manner::DeniedChange if method == "POST" => {
            return stream.write_all(&response(403, "text/html", "<html>403 Forbidden</html>")).await;
        }
        Manner::StuckChange if method == "POST" => return std::future::pending().await,
        Manner::StuckInspect if path.ends_with("/json") && path.contains(CONTAINER) => {
            return std::future::pending().await;
        }
        Manner::Garbage => return stream.write_all(b"\x16\x03\x01\x02 not HTTP\r\n\r\n").await,
        Manner::Cut => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n[{\"Id\":").await,
        Manner::Refusing(status, kind, body) => return stream.write_all(&response(status, kind, body)).await,
        Manner::Proper if is_too_old(path, &api.0) => {
            let body = r#"{"message":"client version is too old"}"#;
            return stream.write_all(&response(400, "application/json", body)).await;
        }
        Manner::Proper | Manner::DeniedChange | Manner::StuckChange | Manner::StuckInspect => {}
    }
    let bare = path.strip_prefix("/v").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(path);
    let bare = bare.split('?').next().unwrap_or(bare);
    let state = r#"{"Status":"running","Running":true,"StartedAt":"2026-01-01T00:00:00Z"}"#;
    let body = match bare {
        "/version" => format!(r#"{{"Version":"fake","ApiVersion":"{}","MinAPIVersion":"{}"}}"#, api.1, api.0),
        "/info" => r#"{"ID":"fake"}"#.to_owned(),
        "/_ping" => "OK".to_owned(),
        "/containers/json" => format!(r#"[{{"Id":"{CONTAINER}"}}]"#),
        "/events" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n").await?;
            while let Ok(Some(text)) = told.recv().await {
                stream.write_all(text.as_bytes()).await?;
            }
            return Ok(());
        }
        _ if method == "POST" => return stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await,
        _ => format!(
            r#"{{"Id":"{CONTAINER}","Name":"/web","State":{state},"Config":{{"Env":["PASSWORD=s3cret"]}},"HostConfig":{{}}}}"#
        ),
    };
    stream.write_all(&response(200, "application/json", &body)).await
}

/// Whether a path names an older version than the oldest. One without a version means the newest.
fn is_too_old(path: &str, oldest: &str) -> bool {
    let minor = |version: &str| version.strip_prefix("1.").and_then(|minor| minor.parse::<u16>().ok());
    let named = path.strip_prefix("/v").and_then(|rest| minor(rest.split('/').next()?));
    named.is_some_and(|named| Some(named) < minor(oldest))
}

fn response(status: u16, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} fake\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
