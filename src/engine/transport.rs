//! HTTP/1.1 to one engine: a connection per request over its Unix socket or TCP, so that an engine that comes back needs no
//! reset; the API version in every path; answers other than success as errors, their bodies bounded and never kept whole.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use bollard::errors::Error;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::config::validated::HostAddress;
use crate::system::tasks::Tasks;

/// The most that is read of an error's body.
const ERROR_BODY: usize = 64 << 10;
/// The most that is kept of an error's message, in characters.
const MESSAGE: usize = 500;

/// The way to one engine.
pub(super) struct Transport {
    address: HostAddress,
    tasks: Tasks,
    /// The API version agreed on; none before the first agreement.
    api: Mutex<Option<(u16, u16)>>,
}

impl Transport {
    pub(super) fn new(address: HostAddress, tasks: Tasks) -> Self {
        Self { address, tasks, api: Mutex::new(None) }
    }

    /// Names this version in every path from now on.
    pub(super) fn agree(&self, api: (u16, u16)) {
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = Some(api);
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// `IOError` when the engine cannot be reached; `DockerResponseServerError` for any status but success, 304 included.
    pub(super) async fn send<B>(&self, mut request: Request<B>) -> Result<Response<Incoming>, Error>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.address_request(&mut request)?;
        let response = match &self.address {
            HostAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.at_address(&error))?;
                self.converse(stream, request).await?
            }
            HostAddress::Tcp(address) => {
                let stream = TcpStream::connect(numeric(address)?).await.map_err(|error| self.at_address(&error))?;
                self.converse(stream, request).await?
            }
        };
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    async fn converse<S, B>(&self, stream: S, request: Request<B>) -> Result<Response<Incoming>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer's body, or when whoever waits for the answer gives up.
        self.tasks.spawn("engine_connection", connection);
        Ok(sender.send_request(request).await?)
    }

    /// Gives the request its `Host` and its path with the version in front.
    fn address_request<B>(&self, request: &mut Request<B>) -> Result<(), Error> {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let unversioned = target.starts_with("/version") || target.starts_with("/_ping");
        let target = match *self.api.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((major, minor)) if !unversioned => format!("/v{major}.{minor}{target}"),
            _ => target.to_owned(),
        };
        *request.uri_mut() = target.parse()?;
        let host = match &self.address {
            HostAddress::Unix(_) => HeaderValue::from_static("localhost"),
            HostAddress::Tcp(address) => {
                HeaderValue::from_str(address).map_err(|_| invalid(format!("{address:?} is not an address")))?
            }
        };
        request.headers_mut().insert(HOST, host);
        Ok(())
    }

    fn at_address(&self, error: &io::Error) -> Error {
        let address = match &self.address {
            HostAddress::Unix(path) => path.clone(),
            HostAddress::Tcp(address) => PathBuf::from(address),
        };
        Error::IOError { err: io::Error::new(error.kind(), format!("{}: {error}", address.display())) }
    }
}

/// Names are not for the C library to resolve.
fn numeric(address: &str) -> Result<std::net::SocketAddr, Error> {
    address.parse().map_err(|_| invalid(format!("{address:?} is not an address and a port, such as 192.0.2.7:2375")))
}

fn invalid(why: String) -> Error {
    Error::IOError { err: io::Error::new(io::ErrorKind::InvalidInput, why) }
}

/// The error that an answer stands for.
async fn refusal(response: Response<Incoming>) -> Error {
    let status_code = response.status().as_u16();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let body = Limited::new(response.into_body(), ERROR_BODY).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Error::DockerResponseServerError { status_code, message: message(&kind, &body) }
}

/// What an error's body says: the engine's own words, and nothing of a body that is not the engine's.
fn message(content_type: &str, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Words {
        message: String,
    }
    let words = match serde_json::from_slice::<Words>(body) {
        Ok(words) => words.message,
        Err(_) if body.is_empty() => return "without a message".to_owned(),
        Err(_) if content_type.starts_with("text/plain") => String::from_utf8_lossy(body).into_owned(),
        Err(_) => return "with a body that is not the engine's".to_owned(),
    };
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_the_engines_words_only() {
        assert_eq!(message("application/json", br#"{"message":"no such\ncontainer"}"#), "no such container");
        assert_eq!(message("text/plain; charset=utf-8", b"page not found\n"), "page not found");
        assert_eq!(message("text/html", b"<html>Request forbidden</html>"), "with a body that is not the engine's");
        assert_eq!(message("", b""), "without a message");
        let long = format!("{{\"message\":\"{}\"}}", "x".repeat(9000));
        assert_eq!(message("application/json", long.as_bytes()).len(), MESSAGE);
    }
}
