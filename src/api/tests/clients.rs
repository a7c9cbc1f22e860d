//! The listener against clients of every kind.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::api::listen::{Limits, Listener, serve};

/// A server on a free port, with limits short enough for a test.
struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), crate::system::tasks::Panicked>>,
}

const SHORT: Duration = Duration::from_millis(100);

async fn started(state: ApiState, limits: Limits) -> Server {
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, stop) = (Tasks::new(), CancellationToken::new());
    let ended = tasks.spawn("http", serve(listener, router(state), tasks.clone(), stop.clone(), limits));
    Server { address, stop, ended }
}

impl Server {
    async fn exchange(&self, sent: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is the server's good right.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn lives(&self) {
        let asked = self.exchange(b"GET /livez HTTP/1.1\r\nHost: iaso\r\nConnection: close\r\n\r\n");
        let answer = tokio::time::timeout(Duration::from_secs(30), asked).await.expect("others hold every place");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn garbage_is_answered_400_and_harms_nobody() {
    let server = started(Rig::new().state, Limits::default()).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\r\n\0\0\xff\xfe rubbish\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let answer = server.exchange(garbage).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200_000));
    let answer = server.exchange(long.as_bytes()).await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.lives().await;
}

#[tokio::test]
async fn who_sends_nothing_or_too_slowly_loses_the_place() {
    let server = started(Rig::new().state, Limits { connections: 2, head: SHORT, ..Limits::default() }).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost:").await.unwrap();
    server.lives().await;
}

#[tokio::test]
async fn who_never_reads_loses_the_place() {
    let mut rig = Rig::new();
    rig.state.metrics = Arc::new(|| Bytes::from(vec![b'x'; 64 << 20]));
    let limits = Limits { connections: 1, age: SHORT, last: SHORT, ..Limits::default() };
    let server = started(rig.state.clone(), limits).await;
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: iaso\r\n\r\n").await.unwrap();
    server.lives().await;
}

#[tokio::test]
async fn the_server_ends_in_order_with_idle_clients() {
    let server = started(Rig::new().state, Limits::default()).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: iaso\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    server.stop.cancel();
    server.ended.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn who_comes_by_the_socket_is_known_and_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("iaso.sock");
    let listener = Listener::unix(&path).unwrap();
    let (tasks, stop) = (Tasks::new(), CancellationToken::new());
    let state = Rig::new().state;
    let ended = tasks.spawn("socket", serve(listener, router(state), tasks.clone(), stop.clone(), Limits::default()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /api/v1/services HTTP/1.1\r\nHost: iaso\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"name\":\"web\""), "{answer}");
    stop.cancel();
    ended.await.unwrap().unwrap();
    assert!(!path.exists(), "the socket stayed behind");
}
