//! A way to the machine's engine that can be closed, cut and made to refuse.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::scratch;

/// What it does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Hands it on.
    Open,
    /// Answers 500 to everything.
    Failing,
    /// Answers 403 with a page of its own to whatever would change something; hands on the rest.
    ReadOnly,
    /// Takes requests for a container's log and never answers them; hands on the rest.
    WithoutLogs,
}

/// The proxy; its socket is gone when it is dropped.
pub struct Proxy {
    dir: tempfile::TempDir,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    manner: Manner,
    /// The first line of every request.
    asked: Vec<String>,
    /// Both ends of every connection.
    open: Vec<UnixStream>,
    /// How often they were all ended.
    cuts: usize,
}

impl Proxy {
    pub fn open() -> Self {
        let dir = scratch();
        let listener = UnixListener::bind(dir.path().join("engine.sock")).unwrap();
        let shared =
            Arc::new(Mutex::new(Shared { manner: Manner::Open, asked: Vec::new(), open: Vec::new(), cuts: 0 }));
        let ours = Arc::clone(&shared);
        spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&ours);
                // A connection that breaks concerns its two ends only.
                spawn(move || drop(serve(client, &shared)));
            }
        });
        Self { dir, shared }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    pub fn behave(&self, manner: Manner) {
        self.lock().manner = manner;
        self.cut();
    }

    /// Whether a request was made whose first line has this in it.
    pub fn was_asked(&self, part: &str) -> bool {
        self.lock().asked.iter().any(|line| line.contains(part))
    }

    /// Ends every connection.
    pub fn cut(&self) {
        let mut shared = self.lock();
        shared.cuts += 1;
        for stream in shared.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads end with their connections, the accepting one with the test's process.
fn spawn(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().spawn(work).unwrap();
}

fn serve(mut client: UnixStream, shared: &Mutex<Shared>) -> io::Result<()> {
    let mut head = vec![0; 65536];
    let length = client.read(&mut head)?;
    let head = &head[..length];
    let line = String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned();
    let is_for_logs = line.contains("/logs?");
    let (manner, cuts) = {
        let mut shared = shared.lock().unwrap();
        shared.asked.push(line);
        (shared.manner, shared.cuts)
    };
    let answer = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    match manner {
        Manner::Failing => {
            return client.write_all(answer("500 Internal Server Error", "<h1>out of order</h1>").as_bytes());
        }
        Manner::ReadOnly if head.starts_with(b"POST") => {
            return client.write_all(answer("403 Forbidden", "<h1>not here</h1>").as_bytes());
        }
        Manner::WithoutLogs if is_for_logs => {
            shared.lock().unwrap().open.push(client.try_clone()?);
            return io::copy(&mut client, &mut io::sink()).map(drop);
        }
        Manner::Open | Manner::ReadOnly | Manner::WithoutLogs => {}
    }
    let mut engine = UnixStream::connect("/var/run/docker.sock")?;
    engine.write_all(head)?;
    {
        let mut shared = shared.lock().unwrap();
        if shared.cuts > cuts {
            return Ok(());
        }
        shared.open.extend([client.try_clone()?, engine.try_clone()?]);
    }
    let (mut from, mut to) = (client.try_clone()?, engine.try_clone()?);
    spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let copied = io::copy(&mut engine, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    copied.map(drop)
}
