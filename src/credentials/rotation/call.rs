//! Calls that set, try or retire a value: an HTTP request, or a command in a service's container. Whatever they are made of is
//! a secret: no error shows more than a status, an exit code, or how far the connection came.

use std::error::Error;
use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use iaso_policy::credential::rotation::{Outcome, Tried};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Method};
use rustls::pki_types::CertificateDer;

use crate::config::secret::Secret;
use crate::config::validated::{Call, HostTls};
use crate::credentials::template::{self, Context};
use crate::system::resolver::Resolver;
use crate::system::tls;

/// What rotations ask of the containers. The application, which knows services and engines, answers.
pub trait Services: Send + Sync {
    /// Runs a program in the running container of the service of this name, without a shell, `input` on its standard input,
    /// for `bound` at most. Returns its exit code.
    ///
    /// # Errors
    /// When it did not run to its end; without anything that it printed.
    fn exec<'a>(
        &'a self,
        service: &'a str,
        command: &'a [String],
        input: &'a Secret,
        bound: Duration,
    ) -> BoxFuture<'a, Result<i64, NotRun>>;
}

/// Why a program did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRun {
    /// It did not begin.
    NotBegun(String),
    /// It may have begun, and what came of it is not known.
    Lost(String),
}

/// How a call ended, and in words without any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) outcome: Outcome,
    /// The other side has answered, and its answer was no.
    answered: bool,
    pub(super) words: String,
}

impl Called {
    fn new(outcome: Outcome, words: impl Into<String>) -> Self {
        Self { outcome, answered: outcome == Outcome::Refused, words: words.into() }
    }

    /// The same for a call that only tries a value: what is not an answer says nothing of the value.
    pub(super) const fn tried(&self) -> Tried {
        match self.outcome {
            Outcome::Done => Tried::Accepted,
            _ if self.answered => Tried::Refused,
            _ => Tried::Unknown,
        }
    }
}

/// Makes a call. `place` is where it stands in the configuration.
pub(super) async fn make(
    call: &Call,
    place: &str,
    context: &Context<'_>,
    services: &dyn Services,
    resolver: &Resolver,
) -> Called {
    match call {
        Call::Exec { service, command, input, timeout } => {
            let input = match input.as_ref().map(|text| text_of(place, "input", text.expose(), context)) {
                Some(Err(mistake)) => return mistake,
                Some(Ok(input)) => input,
                None => Secret::new(""),
            };
            match services.exec(service, command, &input, *timeout).await {
                Ok(0) => Called::new(Outcome::Done, "exit code 0"),
                Ok(code) => Called::new(Outcome::Refused, format!("exit code {code}")),
                Err(NotRun::NotBegun(why)) => Called::new(Outcome::NotDone, why),
                Err(NotRun::Lost(why)) => Called::new(Outcome::Ambiguous, why),
            }
        }
        Call::Http { method, url, headers, body, expect, roots, timeout } => {
            let request = match request(place, context, resolver, *timeout, method, url, headers, body.as_ref(), roots)
            {
                Ok(request) => request,
                Err(mistake) => return mistake,
            };
            match tokio::time::timeout(*timeout, request.send()).await {
                Ok(Ok(answer)) => judge(answer.status().as_u16(), expect),
                Ok(Err(error)) => broken(&error),
                Err(_) => Called::new(Outcome::Ambiguous, format!("no answer within {timeout:?}")),
            }
        }
    }
}

/// What a status means. Only what the service itself must have said counts as its refusal; a proxy says the others as well.
fn judge(status: u16, expect: &[(u16, u16)]) -> Called {
    let words = format!("status {status}");
    let outcome = match status {
        status if expect.iter().any(|(first, last)| (*first..=*last).contains(&status)) => Outcome::Done,
        429 => Outcome::NotDone,
        300..=399 => return Called::new(Outcome::Refused, format!("{words}: a redirect, which is not followed")),
        408 | 500..=599 | 100..=299 => Outcome::Ambiguous,
        _ => Outcome::Refused,
    };
    Called::new(outcome, words)
}

fn broken(error: &reqwest::Error) -> Called {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let io = causes.find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match (error.is_connect(), io) {
        (true, Some(kind)) => Called::new(Outcome::NotDone, format!("no connection: {kind}")),
        (true, None) => Called::new(Outcome::NotDone, "no connection"),
        (false, Some(kind)) => Called::new(Outcome::Ambiguous, format!("the connection broke: {kind}")),
        (false, None) => Called::new(Outcome::Ambiguous, "the answer is not HTTP, or broke off"),
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of a request, borrowed from its enum")]
fn request(
    place: &str,
    context: &Context<'_>,
    resolver: &Resolver,
    timeout: Duration,
    method: &str,
    url: &str,
    headers: &[(String, Secret)],
    body: Option<&Secret>,
    roots: &[CertificateDer<'static>],
) -> Result<reqwest::RequestBuilder, Called> {
    let unfit = |what: &str| Called::new(Outcome::NotDone, format!("{place}: {what}"));
    let authorities = (!roots.is_empty()).then(|| roots.to_vec());
    let tls = HostTls { authorities, identity: None };
    let tls = tls::engine_config(&tls).map_err(|error| unfit(&error.to_string()))?;
    let client = Client::builder()
        .tls_backend_preconfigured((*tls).clone())
        .dns_resolver(resolver.clone())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0)
        .referer(false)
        // Well below the time for the whole, so that what runs out of that was sent.
        .connect_timeout(timeout / 2)
        .user_agent(concat!("iaso/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| unfit("the HTTP client cannot be made"))?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| unfit("its method is none"))?;
    let url = text_of(place, "url", url, context)?;
    let url = reqwest::Url::parse(url.expose()).map_err(|_| unfit("its url is none once it is filled in"))?;
    let mut request = client.request(method, url);
    for (name, value) in headers {
        let text = text_of(place, &format!("headers.{name}"), value.expose(), context)?;
        let named = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(text.expose()).ok());
        let (name, mut value) = named.ok_or_else(|| unfit("a header is none once it is filled in"))?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.body(text_of(place, "body", body.expose(), context)?.expose().to_owned());
    }
    Ok(request)
}

fn text_of(place: &str, part: &str, text: &str, context: &Context<'_>) -> Result<Secret, Called> {
    template::render(&format!("{place}.{part}"), text, context)
        .map_err(|mistake| Called::new(Outcome::NotDone, mistake.to_string()))
}
