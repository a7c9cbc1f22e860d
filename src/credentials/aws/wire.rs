//! The way to AWS, its metadata and its token services: one client over `reqwest`, without proxies, redirects or repetitions, with
//! names and trust as everywhere in Iaso.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use iaso_policy::credential::Fault;
use reqwest::{Client as Http, Request};
use tokio::time::timeout;

use crate::credentials::vault::wire::{self, Lost as Way};
use crate::system::resolver::Resolver;
use crate::system::tls::{self, BadRoot};

/// The largest answer that is read, in bytes; a secret has 64 KiB at most.
const MAX_ANSWER: usize = 2 << 20;
/// How long a connection may take, TLS included.
const CONNECT: Duration = Duration::from_secs(3);

/// The client for AWS cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The machine's roots are unusable.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] BadRoot),
    /// The HTTP library refuses its settings.
    #[error("the HTTP client cannot be made: {0}")]
    Http(#[from] reqwest::Error),
}

/// Nothing came back that could be read: what that amounts to, and in words without values.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct Lost {
    pub(super) fault: Fault,
    pub(super) words: String,
}

/// How AWS is reached.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    http: Http,
    /// From the connection to the last byte; none: whoever asks sees to it.
    limit: Option<Duration>,
}

impl Wire {
    pub(super) fn new(resolver: &Resolver) -> Result<Self, SetupError> {
        let http = Http::builder()
            .tls_backend_preconfigured((*tls::client_config(&[])?).clone())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .referer(false)
            .connect_timeout(CONNECT)
            .dns_resolver(resolver.clone());
        Ok(Self { http: http.build()?, limit: None })
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // Without a time to read there is one for the whole elsewhere.
        let limit = settings.read_timeout().map(|read| read + settings.connect_timeout().unwrap_or(CONNECT));
        SharedHttpConnector::new(Self { http: self.http.clone(), limit })
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, limit) = (self.http.clone(), self.limit);
        HttpConnectorFuture::new(async move {
            let request = plain(request)?;
            let host = request.url().host_str().unwrap_or_default().to_owned();
            let lost = |fault: Fault, words: String| Lost { fault, words: format!("{host}: {words}") };
            let asked = ask(&http, request, &lost);
            let answer = match limit {
                Some(limit) => timeout(limit, asked).await.map_err(|_| {
                    let words = format!("no answer within {limit:?}");
                    ConnectorError::timeout(lost(Fault::Ambiguous, words).into())
                })?,
                None => asked.await,
            };
            answer.map_err(|lost| ConnectorError::io(lost.into()))
        })
    }
}

/// A request as the library has it. Its body is in memory: nothing that is asked is a stream.
fn plain(request: HttpRequest) -> Result<Request, ConnectorError> {
    let unfit = |error: Box<dyn std::error::Error + Send + Sync>| ConnectorError::user(error);
    let request = request.try_into_http1x().map_err(|error| unfit(error.into()))?;
    let request = request.map(|body| body.bytes().map(<[u8]>::to_vec).unwrap_or_default());
    Request::try_from(request).map_err(|error| unfit(error.into()))
}

async fn ask(http: &Http, request: Request, lost: &impl Fn(Fault, String) -> Lost) -> Result<HttpResponse, Lost> {
    let broken = |error: &reqwest::Error| match wire::lost(error) {
        Way::NotSent(why) => lost(Fault::Unreachable, why),
        Way::Unanswered(why) | Way::Elsewhere(why) => lost(Fault::Ambiguous, why),
    };
    let mut answer = http.execute(request).await.map_err(|error| broken(&error))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| broken(&error))? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(lost(Fault::Malformed, "the answer is larger than 2 MiB".to_owned()));
        }
        bytes.extend_from_slice(&chunk);
    }
    let unfit = || lost(Fault::Malformed, "the answer's head cannot be read".to_owned());
    let status = answer.status().as_u16().try_into().map_err(|_| unfit())?;
    let mut response = HttpResponse::new(status, bytes.into());
    *response.headers_mut() = std::mem::take(answer.headers_mut()).try_into().map_err(|_| unfit())?;
    Ok(response)
}
