//! Talks to the running daemon.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::exit::Exit;
use crate::api::problem::Problem;

/// A request's whole time. The daemon answers within 5 s.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer that is read: 10,000 services take about 6 MiB.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// Where the daemon listens.
#[derive(Debug, Clone)]
pub enum Daemon {
    /// On its Unix socket.
    Socket(PathBuf),
    /// On TCP, where only what is open to anyone is answered.
    Tcp(SocketAddr),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers at {at}: {error} (is `iaso run` up? --socket or IASO_SOCKET name another socket)")]
    NoDaemon {
        /// Where.
        at: String,
        /// What the system says.
        error: io::Error,
    },
    /// The socket is not for this user.
    #[error("not permitted to use {0}: it is for root and the members of group iaso")]
    NotPermitted(PathBuf),
    /// It listens and does not answer.
    #[error("the daemon at {0} does not answer within {TIMEOUT:?}")]
    TimedOut(String),
    /// It answers something else than Iaso would.
    #[error("the answer from {at} is not a daemon of this version's: {error}")]
    Malformed {
        /// Where.
        at: String,
        /// What is wrong with it.
        error: String,
    },
    /// It answers with an error.
    #[error("{}", .0.detail.as_deref().unwrap_or(&.0.title))]
    Refused(Box<Problem>),
}

impl ClientError {
    /// The exit code that tells it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoDaemon { .. } | Self::TimedOut(_) => Exit::Unavailable,
            Self::NotPermitted(_) => Exit::NotPermitted,
            Self::Malformed { .. } => Exit::Internal,
            Self::Refused(problem) => match problem.status {
                401 | 403 => Exit::NotPermitted,
                404 | 409 => Exit::No,
                503 => Exit::Unavailable,
                _ => Exit::Internal,
            },
        }
    }
}

impl Daemon {
    /// Asks for a document.
    ///
    /// # Errors
    /// When no daemon answers, or it answers with an error or with something else.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.exchange(Method::GET, path).await
    }

    /// Gives an order.
    ///
    /// # Errors
    /// When no daemon answers, or it refuses.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.exchange(Method::POST, path).await
    }

    async fn exchange<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, ClientError> {
        let (status, body) = tokio::time::timeout(TIMEOUT, self.send(method, path))
            .await
            .map_err(|_| ClientError::TimedOut(self.place()))??;
        if !status.is_success() {
            return Err(match serde_json::from_slice(&body) {
                Ok(problem) => ClientError::Refused(Box::new(problem)),
                Err(_) => self.malformed(format!("status {status} without a problem document")),
            });
        }
        serde_json::from_slice(&body).map_err(|error| self.malformed(error))
    }

    /// The status of the answer alone.
    ///
    /// # Errors
    /// When no daemon answers.
    pub async fn status(&self, path: &str) -> Result<StatusCode, ClientError> {
        let answer = tokio::time::timeout(TIMEOUT, self.send(Method::GET, path)).await;
        answer.map_err(|_| ClientError::TimedOut(self.place()))?.map(|(status, _)| status)
    }

    async fn send(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), ClientError> {
        let answer = match self {
            Self::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| unreached(socket, error))?;
                exchange(stream, method, path).await
            }
            Self::Tcp(address) => {
                let connected = TcpStream::connect(address).await;
                let stream = connected.map_err(|error| ClientError::NoDaemon { at: self.place(), error })?;
                exchange(stream, method, path).await
            }
        };
        answer.map_err(|error| self.malformed(error))
    }

    fn malformed(&self, error: impl Into<Failure>) -> ClientError {
        ClientError::Malformed { at: self.place(), error: error.into().to_string() }
    }

    fn place(&self) -> String {
        match self {
            Self::Socket(path) => path.display().to_string(),
            Self::Tcp(address) => address.to_string(),
        }
    }
}

fn unreached(socket: &Path, error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::NotPermitted(socket.to_owned()),
        _ => ClientError::NoDaemon { at: socket.display().to_string(), error },
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One request and its whole answer on a connection of its own.
async fn exchange<S>(stream: S, method: Method, path: &str) -> Result<(StatusCode, Bytes), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder().method(method).uri(path).header("host", "iaso").body(Empty::<Bytes>::new())?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await?.to_bytes();
        Ok((status, body))
    };
    // The connection does the work, and ends when the exchange has let go of it.
    let (answer, _) = futures_util::future::join(exchange, connection).await;
    answer
}
