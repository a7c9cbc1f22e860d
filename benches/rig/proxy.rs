//! A proxy in front of the engine's socket that writes down what passes, and when.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use iaso::system::tasks::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{ENGINE, Result, in_time};

/// Something that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// A request: method and path, without the API's version and the query.
    Asked(String),
    /// The beginning of the answer to it.
    Answered(String),
    /// An event: its name, a space, the container's id.
    Event(String),
}

/// The proxy; clones share it.
#[derive(Clone)]
pub struct Proxy {
    socket: PathBuf,
    seen: Arc<Mutex<Vec<(Instant, Passed)>>>,
}

impl Proxy {
    /// Listens on this socket until the tasks end.
    pub fn listen(socket: PathBuf, tasks: &Tasks) -> Result<Self> {
        let listener = UnixListener::bind(&socket)?;
        let proxy = Self { socket, seen: Arc::default() };
        let (shared, connections) = (proxy.clone(), tasks.clone());
        tasks.spawn("proxy", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let proxy = shared.clone();
                connections.spawn("connection", async move { proxy.pass(stream).await });
            }
        });
        Ok(proxy)
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// When this first passed; none when it has not.
    pub fn when(&self, what: &Passed) -> Option<Instant> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|(_, seen)| seen == what)
            .map(|(at, _)| *at)
    }

    /// When the engine was first asked to heal a container: to restart it, or to start it where it has exited.
    pub fn asked_to_heal(&self, id: &str) -> Option<Instant> {
        let asked = |what| self.when(&Passed::Asked(format!("POST /containers/{id}/{what}")));
        [asked("restart"), asked("start")].into_iter().flatten().min()
    }

    /// Waits until this has passed.
    pub async fn until(&self, what: &Passed) -> Result<Instant> {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.when(what) {
                return Ok(at);
            }
            in_time(begun).map_err(|error| format!("{what:?}: {error}"))?;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Forgets everything.
    pub fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn stamp(&self, passed: Passed) {
        let at = Instant::now();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push((at, passed));
    }

    /// One connection: both sides make one for each request.
    async fn pass(&self, mut client: UnixStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if client.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let request = request(&head);
        self.stamp(Passed::Asked(request.clone()));
        let mut engine = UnixStream::connect(ENGINE).await?;
        engine.write_all(&head).await?;
        let ((mut from_client, mut to_client), (mut from_engine, mut to_engine)) = (client.split(), engine.split());
        let asking = async {
            tokio::io::copy(&mut from_client, &mut to_engine).await?;
            to_engine.shutdown().await
        };
        let answering = async {
            let (mut piece, mut lines, mut answered) = (vec![0; 1 << 16], Vec::new(), false);
            loop {
                let length = from_engine.read(&mut piece).await?;
                if length == 0 {
                    return to_client.shutdown().await;
                }
                if !std::mem::replace(&mut answered, true) {
                    self.stamp(Passed::Answered(request.clone()));
                }
                if request == "GET /events" {
                    lines.extend_from_slice(&piece[..length]);
                    self.stamp_events(&mut lines);
                }
                to_client.write_all(&piece[..length]).await?;
            }
        };
        tokio::try_join!(asking, answering).map(drop)
    }

    /// Stamps each event of the whole lines; lines that are no event belong to the transfer's chunks.
    fn stamp_events(&self, lines: &mut Vec<u8>) {
        while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = lines.drain(..=end).collect();
            let event = serde_json::from_slice::<serde_json::Value>(&line).unwrap_or_default();
            if let (Some(name), Some(id)) = (event["status"].as_str(), event["id"].as_str()) {
                self.stamp(Passed::Event(format!("{name} {id}")));
            }
        }
    }
}

/// `POST /containers/ID/restart` from a request's head.
fn request(head: &[u8]) -> String {
    let head = String::from_utf8_lossy(head);
    let mut words = head.split([' ', '?']);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let unversioned = path.strip_prefix("/v").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    format!("{method} {}", unversioned.filter(|_| path.starts_with("/v1.")).unwrap_or(path))
}
