//! HTTP/1.1 to one engine: a connection per request, so that an engine that comes back needs no reset; the API version in every path; answers other than success as errors, their bodies bounded and never kept whole.

use std::error::Error as _;
use std::io;
use std::sync::{Mutex, PoisonError};

use bollard::errors::Error;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::EngineError;
use super::connect::{Connection, Way, at, tls_error};
use crate::config::validated::HostAddress;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;

/// The most that is read of an error's body.
const ERROR_BODY: usize = 64 << 10;
/// The most that is kept of an error's message, in characters.
const MESSAGE: usize = 500;
/// How an engine with TLS answers what came without.
const NEEDS_TLS: &[u8] = b"Client sent an HTTP request to an HTTPS server";

/// The way to one engine.
pub(super) struct Transport {
    way: Way,
    tasks: Tasks,
    /// The API version agreed on; none before the first agreement.
    api: Mutex<Option<(u16, u16)>>,
}

impl Transport {
    /// # Errors
    /// When the address or its certificates cannot be used.
    pub(super) fn new(address: HostAddress, resolver: Resolver, tasks: Tasks) -> Result<Self, EngineError> {
        Ok(Self { way: Way::new(address, resolver)?, tasks, api: Mutex::new(None) })
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
        let response = self.ask(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }

    /// Sends one request whose connection, once it is answered, carries bytes both ways.
    ///
    /// # Errors
    /// As [`Transport::send`]; `IOError` also when the engine, or a proxy before it, answers on the same footing as ever.
    pub(super) async fn upgrade<B>(&self, mut request: Request<B>) -> Result<Upgraded, Error>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.address_request(&mut request)?;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
        let response = self.ask(request).await?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => Ok(hyper::upgrade::on(response).await?),
            status if status.is_success() => {
                let why = "it does not upgrade the connection, so that nothing can be sent";
                Err(Error::IOError { err: io::Error::new(io::ErrorKind::Unsupported, why) })
            }
            _ => Err(refusal(response).await),
        }
    }

    async fn ask<B>(&self, request: Request<B>) -> Result<Response<Incoming>, Error>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.way.connect().await.map_err(|err| Error::IOError { err })? {
            Connection::Unix(stream) => self.converse(stream, request).await,
            Connection::Tcp(stream) => self.converse(stream, request).await,
            Connection::Tls(stream) => self.converse(stream, request).await,
        }
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
        self.tasks.spawn("engine_connection", connection.with_upgrades());
        sender.send_request(request).await.map_err(|error| self.refused_by_tls(&error).unwrap_or(error.into()))
    }

    /// An engine judges Iaso's certificate after the connection stands; its refusal ends the first request, unheard.
    fn refused_by_tls(&self, error: &hyper::Error) -> Option<Error> {
        let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
        let refusal = causes.find_map(|cause| tls_error(cause.downcast_ref::<io::Error>()?))?;
        Some(Error::IOError { err: at(self.way.authority(), &refusal) })
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
        let host = HeaderValue::from_str(self.way.authority()).map_err(|error| invalid(error.to_string()))?;
        request.headers_mut().insert(HOST, host);
        Ok(())
    }
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
        Err(_) if body.starts_with(NEEDS_TLS) => "it speaks TLS; give ca_file, or https:// in its url".to_owned(),
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
