//! The accept loops: what a client sends, or does not send, harms nobody else.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Principal;
use super::unix::{SocketError, SocketFile};
use crate::system::tasks::Tasks;

/// Where requests come from.
#[derive(Debug)]
pub enum Listener {
    /// From anybody.
    Tcp(TcpListener),
    /// From processes on this machine that may open the socket.
    Unix(UnixListener, SocketFile),
}

/// What one client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; further ones wait to be accepted. Each may hold one exposition (megabytes) in memory.
    pub connections: u32,
    /// For a request's head to arrive.
    pub head: Duration,
    /// For a connection to live; it may then end its last request.
    pub age: Duration,
    /// For the last request to end.
    pub last: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            head: Duration::from_secs(5),
            age: Duration::from_secs(60),
            last: Duration::from_secs(5),
        }
    }
}

impl Listener {
    /// Listens on a TCP address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub async fn tcp(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self::Tcp)
    }

    /// Listens on a Unix socket ([`SocketFile::listen`]).
    ///
    /// # Errors
    /// When the place is taken, or the operating system refuses.
    pub fn unix(path: &Path) -> Result<Self, SocketError> {
        let (listener, file) = SocketFile::listen(path)?;
        let listener = UnixListener::from_std(listener).map_err(|error| SocketError::Refused {
            what: "listen on",
            path: path.to_owned(),
            error,
        })?;
        Ok(Self::Unix(listener, file))
    }

    /// The TCP address, with the port that was taken.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

/// Serves until `stop`, then lets what is under way end, within `limits.last`.
pub async fn serve(listener: Listener, router: Router, tasks: Tasks, stop: CancellationToken, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections as usize));
    let server = Server { router, tasks, stop: stop.clone(), limits };
    while let Some(Ok(place)) = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await {
        let accepted = match &listener {
            Listener::Tcp(listener) => stop
                .run_until_cancelled(listener.accept())
                .await
                .map(|accepted| accepted.map(|(stream, _)| server.start(stream, Principal::Anonymous, place))),
            Listener::Unix(listener, _) => stop.run_until_cancelled(listener.accept()).await.map(|accepted| {
                let (stream, _) = accepted?;
                let peer = stream.peer_cred()?;
                let principal = Principal::Socket { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() };
                server.start(stream, principal, place);
                Ok(())
            }),
        };
        if let Some(Err(error)) = accepted {
            // Out of descriptors, most likely: accepting at once again would only spin.
            tracing::warn!(%error, "cannot accept a connection");
            stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(500))).await;
        }
    }
    drop(listener);
    let all_ended = places.acquire_many(limits.connections);
    if tokio::time::timeout(limits.last * 2, all_ended).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
}

struct Server {
    router: Router,
    tasks: Tasks,
    stop: CancellationToken,
    limits: Limits,
}

impl Server {
    /// Serves one connection on a task of its own, which gives its place back however it ends.
    fn start<S>(&self, stream: S, principal: Principal, place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, stop, limits) = (self.router.clone(), self.stop.clone(), self.limits);
        self.tasks.spawn("http-connection", async move {
            let _place = place;
            let service = service_fn(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(principal);
                router.clone().oneshot(request)
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head)
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = pin!(connection);
            // What a client breaks is its own affair: no error is worth a line.
            tokio::select! {
                _ = connection.as_mut() => return,
                () = stop.cancelled() => {}
                () = tokio::time::sleep(limits.age) => {}
            }
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(limits.last, connection).await;
        });
    }
}
