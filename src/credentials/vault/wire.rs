//! The way to the server: one client over `reqwest`, without proxies, retries, or redirects to another host.

use std::error::Error;
use std::time::Duration;

use reqwest::Client as Http;
use reqwest::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use url::{Host, Position, Url};

use super::request::Request;
use crate::config::secret::Secret;
use crate::config::validated::{HostTls, Vault as Settings};
use crate::system::resolver::{ResolveError, Resolver};
use crate::system::tls;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 2 << 20;
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

const TOKEN: &str = "x-vault-token";
const NAMESPACE: &str = "x-vault-namespace";
/// Servers and proxies may insist on it: a browser that is led astray cannot send it.
const REQUEST: &str = "x-vault-request";

/// A client for the server cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address is none.
    #[error("the address of Vault cannot be used: it must be http:// or https://, with a host")]
    Address,
    /// The other name is none that a certificate's name could be compared with.
    #[error("the server name of Vault must be a host name, not an address")]
    ServerName,
    /// The namespace cannot be sent.
    #[error("the namespace of Vault has a character that no namespace has")]
    Namespace,
    /// Roots, certificate or key are unusable.
    #[error("TLS to Vault cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP library refuses its settings.
    #[error("the HTTP client cannot be made: {0}")]
    Http(#[from] reqwest::Error),
}

/// How the server is reached.
pub(super) struct Wire {
    http: Http,
    /// As configured, with the path that all requests begin with: `/prefix/v1`.
    address: Url,
    /// Where the client is sent: the same with the server name in the host's place.
    base: Url,
    /// The configured host, where the client is sent by the server name.
    host: Option<HeaderValue>,
    namespace: Option<HeaderValue>,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// `Retry-After`, where it counts seconds.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Body,
}

/// The body of an answer.
pub(super) enum Body {
    Whole(Vec<u8>),
    /// It broke off; why.
    Broken(String),
    TooLarge,
}

/// Nothing came back that could be read; in words without values.
pub(in crate::credentials) enum Lost {
    /// The request surely did not arrive.
    NotSent(String),
    /// It may have arrived.
    Unanswered(String),
    /// A redirect that must not be followed.
    Elsewhere(String),
}

impl Wire {
    pub(super) fn new(settings: &Settings, resolver: &Resolver) -> Result<Self, SetupError> {
        let mut address = Url::parse(&settings.address).map_err(|_| SetupError::Address)?;
        if !matches!(address.scheme(), "http" | "https") || address.cannot_be_a_base() {
            return Err(SetupError::Address);
        }
        let host = match address.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(number)) => number.to_string(),
            Some(Host::Ipv6(number)) => number.to_string(),
            None => return Err(SetupError::Address),
        };
        address.set_path(&format!("{}/v1", address.path().trim_end_matches('/')));
        let tls = HostTls {
            authorities: (!settings.roots.is_empty()).then(|| settings.roots.clone()),
            identity: settings.identity.clone(),
        };
        let mut http = Http::builder()
            .tls_backend_preconfigured((*tls::engine_config(&tls)?).clone())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            // A connection that the server has given up in the meantime would leave open whether a request arrived.
            .pool_max_idle_per_host(0)
            .referer(false)
            .user_agent(concat!("iaso/", env!("CARGO_PKG_VERSION")))
            // Well below the time for the whole, so that what runs out of that was sent.
            .connect_timeout(settings.timeout / 2);
        let (mut base, mut host_header) = (address.clone(), None);
        match settings.server_name.as_deref().filter(|_| address.scheme() == "https") {
            // The library takes the name for TLS from the URL alone: it gets the other name there, and the configured host's
            // addresses for it.
            Some(name) => {
                if !matches!(Host::parse(name), Ok(Host::Domain(_))) || base.set_host(Some(name)).is_err() {
                    return Err(SetupError::ServerName);
                }
                host_header = HeaderValue::from_str(&address[Position::BeforeHost..Position::AfterPort]).ok();
                http = http.dns_resolver(At { host, resolver: resolver.clone() });
            }
            None => http = http.dns_resolver(resolver.clone()),
        }
        let namespace = settings.namespace.as_deref().map(|text| header(text).ok_or(SetupError::Namespace));
        Ok(Self { http: http.build()?, address, base, host: host_header, namespace: namespace.transpose()? })
    }

    /// Asks once; a standby's redirect to the same host is followed once.
    pub(super) async fn send(&self, request: &Request, token: Option<&Secret>) -> Result<Answer, Lost> {
        let first = self.ask(request, &request.target, token).await?;
        if !first.status().is_redirection() {
            return Ok(read(first).await);
        }
        let target = self.redirected(&request.target, first.status(), first.headers()).map_err(Lost::Elsewhere)?;
        let second = self.ask(request, &target, token).await?;
        if second.status().is_redirection() {
            return Err(Lost::Elsewhere("it redirects again and again".to_owned()));
        }
        Ok(read(second).await)
    }

    async fn ask(&self, request: &Request, target: &str, token: Option<&Secret>) -> Result<Response, Lost> {
        let mut asked = self.http.request(request.method.clone(), under(&self.base, target)).header(REQUEST, "true");
        if let Some(token) = token {
            let token = token_header(token).ok_or_else(|| Lost::NotSent("the token cannot be sent".to_owned()))?;
            asked = asked.header(TOKEN, token);
        }
        if let Some(host) = &self.host {
            asked = asked.header(HOST, host);
        }
        // A server answers for its health in no namespace but its root.
        if let Some(namespace) = self.namespace.as_ref().filter(|_| !request.target.starts_with("/sys/health")) {
            asked = asked.header(NAMESPACE, namespace);
        }
        if !request.body.is_empty() {
            asked = asked.header(CONTENT_TYPE, "application/json").body(request.body.clone());
        }
        asked.send().await.map_err(|error| lost(&error))
    }

    /// Where a redirect leads, as path and query below ours.
    ///
    /// # Errors
    /// When it is none of a standby's, or leads away from the configured host, to another path than the server's, or to
    /// none at all: the token must not go there.
    fn redirected(&self, target: &str, status: StatusCode, headers: &HeaderMap) -> Result<String, String> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let url = location.and_then(|location| Url::parse(&under(&self.address, target)).ok()?.join(location).ok());
        let url = url.ok_or_else(|| format!("status {}: a redirect to nowhere", status.as_u16()))?;
        if status != StatusCode::TEMPORARY_REDIRECT || url.origin() != self.address.origin() {
            let to = url.origin().ascii_serialization();
            return Err(format!("status {}: a redirect to {to}, which is not followed", status.as_u16()));
        }
        let rest = url[Position::BeforePath..Position::AfterQuery].strip_prefix(self.address.path());
        let rest = rest.filter(|rest| rest.starts_with('/'));
        rest.map(str::to_owned).ok_or_else(|| "a redirect to another path, which is not followed".to_owned())
    }
}

/// A target below an address.
fn under(address: &Url, target: &str) -> String {
    format!("{}{target}", &address[..Position::AfterPath])
}

async fn read(mut response: Response) -> Answer {
    let status = response.status();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
    let mut bytes = Vec::new();
    let body = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > MAX_ANSWER => break Body::TooLarge,
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break Body::Whole(bytes),
            Err(error) => break Body::Broken(words(&error)),
        }
    };
    Answer { status, retry_after, body }
}

/// A token as a header that no log shows; none where it has a byte that no token has.
pub(super) fn token_header(token: &Secret) -> Option<HeaderValue> {
    header(token.expose())
}

fn header(text: &str) -> Option<HeaderValue> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::from_str(text).ok().filter(|_| plain)?;
    value.set_sensitive(true);
    Some(value)
}

/// Resolves every name to one host's addresses.
struct At {
    host: String,
    resolver: Resolver,
}

impl reqwest::dns::Resolve for At {
    fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (host, resolver) = (self.host.clone(), self.resolver.clone());
        Box::pin(async move {
            let found = resolver.lookup(&host).await?;
            let addresses: reqwest::dns::Addrs =
                Box::new(found.into_iter().map(|address| std::net::SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// What a request that failed amounts to.
pub(in crate::credentials) fn lost(error: &reqwest::Error) -> Lost {
    // An alert ends the handshake, also where it comes after our half of it: a server that wants another certificate.
    let refused = matches!(deepest(error), Cause::Tls(rustls::Error::AlertReceived(_)));
    if error.is_connect() || refused { Lost::NotSent(words(error)) } else { Lost::Unanswered(words(error)) }
}

/// Why a request failed, without what was sent.
fn words(error: &reqwest::Error) -> String {
    match deepest(error) {
        Cause::Name(unresolved) => unresolved.to_string(),
        Cause::Tls(tls) => format!("TLS: {tls}"),
        Cause::Io(io) if error.is_connect() => format!("no connection: {io}"),
        Cause::Io(io) => format!("the connection broke: {io}"),
        Cause::Other if error.is_connect() && error.is_timeout() => "no connection in time".to_owned(),
        Cause::Other if error.is_connect() => "no connection".to_owned(),
        Cause::Other => "the answer is not HTTP, or broke off".to_owned(),
    }
}

enum Cause<'a> {
    Name(&'a ResolveError),
    Tls(&'a rustls::Error),
    Io(&'a std::io::Error),
    Other,
}

fn deepest(error: &reqwest::Error) -> Cause<'_> {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(next) = below(cause) {
        if let Some(unresolved) = next.downcast_ref() {
            return Cause::Name(unresolved);
        }
        if let Some(tls) = next.downcast_ref() {
            return Cause::Tls(tls);
        }
        cause = next;
    }
    cause.downcast_ref().map_or(Cause::Other, Cause::Io)
}

/// The next cause. An I/O error names what it wraps only through `get_ref`.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}
