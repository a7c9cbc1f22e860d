//! Talks to the running daemon.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
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
    #[error("no daemon answers at {at}: {error}")]
    NoDaemon {
        /// Where.
        at: String,
        /// What the system says.
        error: io::Error,
    },
    /// The socket is not for this user.
    #[error("not permitted to use {0}")]
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
    /// It knows no service of this name.
    #[error("{detail}{}", .hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    NoSuchService {
        /// What the daemon says.
        detail: String,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// What should be handed over cannot be.
    #[error("{0}")]
    NoValue(String),
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
            Self::NoSuchService { .. } | Self::NoValue(_) => Exit::No,
            Self::Refused(problem) => match problem.status {
                401 | 403 => Exit::NotPermitted,
                404 | 409 => Exit::No,
                503 => Exit::Unavailable,
                _ => Exit::Internal,
            },
        }
    }

    /// What can be done about it, where that is not plain.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoDaemon { .. } => Some(
                "Is it running? `systemctl status iaso` tells, `iaso run` starts it; --socket or IASO_SOCKET name \
                 another socket.",
            ),
            Self::NotPermitted(_) => {
                Some("It is for root and the members of group iaso: use sudo, or join the group and sign in again.")
            }
            Self::TimedOut(_) => Some("Its log may tell why: `journalctl -u iaso`. A restart of it is safe."),
            Self::Malformed { .. } => Some("`iaso version` tells this version; is it Iaso that listens there?"),
            Self::NoSuchService { hint: None, .. } => Some("`iaso status` lists them."),
            Self::NoSuchService { .. } | Self::NoValue(_) | Self::Refused(_) => None,
        }
    }
}

impl Daemon {
    /// Asks for a document.
    ///
    /// # Errors
    /// When no daemon answers, or it answers with an error or with something else.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.exchange(Method::GET, path, Bytes::new()).await
    }

    /// Gives an order.
    ///
    /// # Errors
    /// When no daemon answers, or it refuses.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.exchange(Method::POST, path, Bytes::new()).await
    }

    /// Gives an order that says more than its path.
    ///
    /// # Errors
    /// When no daemon answers, or it refuses.
    pub async fn order<T: DeserializeOwned>(&self, path: &str, order: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(order).map_err(|error| self.malformed(error))?;
        self.exchange(Method::POST, path, body.into()).await
    }

    /// Hands something over.
    ///
    /// # Errors
    /// When no daemon answers, or it refuses.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: Bytes) -> Result<T, ClientError> {
        self.exchange(Method::PUT, path, body).await
    }

    async fn exchange<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let (status, body) = self.answer(method, path, body).await?;
        if !status.is_success() {
            return Err(match serde_json::from_slice(&body) {
                Ok(problem) => ClientError::Refused(Box::new(problem)),
                Err(_) => self.malformed(format!("status {status} without a problem document")),
            });
        }
        serde_json::from_slice(&body).map_err(|error| self.malformed(error))
    }

    /// Asks for a document that tells of trouble by its status too.
    ///
    /// # Errors
    /// When no daemon answers, or with something else.
    pub async fn report<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let (_, body) = self.answer(Method::GET, path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(|error| self.malformed(error))
    }

    /// The status of the answer alone.
    ///
    /// # Errors
    /// When no daemon answers.
    pub async fn status(&self, path: &str) -> Result<StatusCode, ClientError> {
        self.answer(Method::GET, path, Bytes::new()).await.map(|(status, _)| status)
    }

    async fn answer(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        let answer = tokio::time::timeout(TIMEOUT, self.send(method, path, body)).await;
        answer.map_err(|_| ClientError::TimedOut(self.place()))?
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
        let answer = match self {
            Self::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| unreached(socket, error))?;
                exchange(stream, method, path, body).await
            }
            Self::Tcp(address) => {
                let connected = TcpStream::connect(address).await;
                let stream = connected.map_err(|error| ClientError::NoDaemon { at: self.place(), error })?;
                exchange(stream, method, path, body).await
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
    // The system says of a file that is no socket only that the connection was refused.
    let other = std::fs::metadata(socket).is_ok_and(|found| !found.file_type().is_socket());
    match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::NotPermitted(socket.to_owned()),
        _ if other => {
            ClientError::NoDaemon { at: socket.display().to_string(), error: io::Error::other("this is no socket") }
        }
        _ => ClientError::NoDaemon { at: socket.display().to_string(), error },
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One request and its whole answer on a connection of its own.
async fn exchange<S>(stream: S, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder().method(method).uri(path).header("host", "iaso").body(Full::new(body))?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| if error.is::<LengthLimitError>() { "it is larger than 64 MiB".into() } else { error })?;
        Ok((status, body.to_bytes()))
    };
    // The connection does the work, and ends when the exchange has let go of it.
    let (answer, _) = futures_util::future::join(exchange, connection).await;
    answer
}
