//! A key that one patient checks and another uses, for what Iaso does about credentials.
//!
//! The lock (`--key FILE`) keeps its key, and the one before it until that is retired, as two lines of the file. `GET /open` with
//! the header `x-key` is answered 200 or 401. With a valid key `PUT /key` puts the body in the key's place (422 where it is longer
//! than `--longest-key` characters), and `DELETE /previous` retires the one before it.
//!
//! The user (`--uses FILE --at ADDRESS:PORT`) reads its key from a file when it starts and on SIGHUP, and is well while the lock at
//! that address opens for it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the lock may take to answer a user.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request, as far as a lock needs it.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) key: &'a str,
    pub(super) body: &'a str,
}

/// What a lock is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) file: PathBuf,
    pub(super) longest: usize,
}

impl Lock {
    /// The answer's status; none for what does not concern a lock.
    pub(super) fn answer(&self, asked: &Asked<'_>) -> io::Result<Option<u16>> {
        let wanted = matches!((asked.method, asked.path), ("GET", "/open") | ("PUT", "/key") | ("DELETE", "/previous"));
        if !wanted {
            return Ok(None);
        }
        let kept = std::fs::read_to_string(&self.file)?;
        let current = kept.lines().next().unwrap_or_default();
        if asked.key.is_empty() || !kept.lines().any(|valid| valid == asked.key) {
            return Ok(Some(401));
        }
        match asked.method {
            "PUT" if asked.body.is_empty() || asked.body.len() > self.longest => return Ok(Some(422)),
            "PUT" if asked.body != current => std::fs::write(&self.file, format!("{}\n{current}\n", asked.body))?,
            "DELETE" => std::fs::write(&self.file, format!("{current}\n"))?,
            _ => {}
        }
        Ok(Some(200))
    }
}

/// What a user is made of.
#[derive(Debug)]
pub(super) struct User {
    file: PathBuf,
    lock: SocketAddr,
    key: Mutex<String>,
}

impl User {
    /// One that has read its key; a file that is not there yet is an empty key.
    pub(super) fn new(file: PathBuf, lock: SocketAddr) -> Self {
        let user = Self { file, lock, key: Mutex::default() };
        user.read_again();
        user
    }

    /// Reads its key from the file.
    pub(super) fn read_again(&self) {
        let key = std::fs::read_to_string(&self.file).unwrap_or_default();
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key.trim_end().to_owned();
    }

    /// Whether the lock opens for it.
    pub(super) async fn is_let_in(&self) -> bool {
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = timeout(PATIENCE, async {
            let mut stream = TcpStream::connect(self.lock).await?;
            let request = format!("GET /open HTTP/1.1\r\nhost: lock\r\nx-key: {key}\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.take(64).read_to_end(&mut answer).await?;
            io::Result::Ok(answer.starts_with(b"HTTP/1.1 200"))
        });
        matches!(asked.await, Ok(Ok(true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_takes_a_new_key_and_keeps_the_old_until_it_is_retired() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock { file: dir.path().join("key"), longest: 8 };
        std::fs::write(&lock.file, "first\n").unwrap();
        let ask = |method, path, key, body| lock.answer(&Asked { method, path, key, body }).unwrap();
        assert_eq!(ask("GET", "/open", "first", ""), Some(200));
        assert_eq!((ask("GET", "/open", "other", ""), ask("GET", "/open", "", "")), (Some(401), Some(401)));
        assert_eq!(ask("PUT", "/key", "other", "second"), Some(401));
        assert_eq!(ask("PUT", "/key", "first", "far too long"), Some(422));
        assert_eq!(ask("GET", "/open", "first", ""), Some(200), "a refused key changes nothing");
        for _ in 0..2 {
            assert_eq!(ask("PUT", "/key", "first", "second"), Some(200), "done twice is done once");
        }
        assert_eq!((ask("GET", "/open", "second", ""), ask("GET", "/open", "first", "")), (Some(200), Some(200)));
        assert_eq!(ask("DELETE", "/previous", "second", ""), Some(200));
        assert_eq!((ask("GET", "/open", "second", ""), ask("GET", "/open", "first", "")), (Some(200), Some(401)));
        assert_eq!(ask("GET", "/health", "", ""), None);
    }
}
