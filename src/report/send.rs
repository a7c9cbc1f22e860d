//! Sending a notification: one POST of JSON. An answer of 2xx is a delivery, its body is not read, and a redirect is not
//! followed: the URL is a secret between Iaso and its receiver, and no error shows it.

use std::error::Error;
use std::sync::Arc;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client as Http, StatusCode};
use rustls::CertificateError;
use tokio::sync::{mpsc, watch};

use super::alert;
use super::later::Later;
use super::message::{Notice, Told, credential_text, json};
use crate::config::validated::Reporter;
use crate::journal::Delivered;
use crate::snapshot::Snapshot;
use crate::system::clock::stopwatch;
use crate::system::meters::Meters;
use crate::system::resolver::{ResolveError, Resolver};
use crate::system::retry::{CallError, Client, Fault, Repeat};
use crate::system::tls;

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The roots are unusable.
    #[error(transparent)]
    Roots(#[from] tls::BadRoot),
    /// The HTTP library refuses its settings.
    #[error("the HTTP client cannot be made: {0}")]
    Http(#[from] reqwest::Error),
}

/// Sends one reporter's notices.
pub(super) struct Sender {
    reporter: Reporter,
    http: Http,
    client: Client,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    meters: Meters,
    delivered: mpsc::UnboundedSender<Delivered>,
}

impl Sender {
    pub(super) fn new(
        reporter: &Reporter,
        resolver: &Resolver,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        meters: Meters,
        delivered: mpsc::UnboundedSender<Delivered>,
    ) -> Result<Self, SetupError> {
        let http = Http::builder()
            .tls_backend_preconfigured((*tls::client_config(&[])?).clone())
            .dns_resolver(resolver.clone())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .referer(false)
            .user_agent(concat!("iaso/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let client = Client::new(&format!("reporter/{}", reporter.name), meters.clone());
        Ok(Self { reporter: reporter.clone(), http, client, snapshots, meters, delivered })
    }

    /// Sends what comes, in order, for ever.
    pub(super) async fn run(&self, notices: &mut mpsc::Receiver<Notice>) {
        let mut later = Later::default();
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(notice) if later.has(&notice) => {}
                    Some(notice) => self.try_to_send(notice, 1, &mut later).await,
                    None => return,
                },
                (notice, tries) = later.next() => self.try_to_send(notice, tries + 1, &mut later).await,
            }
        }
    }

    /// Sends one notice. An announcement that nobody took is tried again later.
    async fn try_to_send(&self, notice: Notice, tries: u32, later: &mut Later) {
        let took = stopwatch();
        let sent = self.send(&notice).await;
        self.meters.notified(&self.reporter.name, notice.service(), sent.is_ok(), took());
        match (sent, &notice) {
            (Ok(()), Notice::Announcement(told)) => {
                let delivered = Delivered { service: told.alert.service, key: told.alert.key };
                let _stopping = self.delivered.send(delivered);
            }
            (Ok(()), _) => {}
            (Err(error), _) => {
                let (reporter, about) = (&self.reporter.name, notice.about());
                let incident = notice.incident().map(tracing::field::display);
                tracing::warn!(%reporter, %about, incident, "a notification was not delivered: {error}");
                later.put(notice, tries);
            }
        }
    }

    /// Sends one notice. While the receiver is left alone, the notice waits for the next trial.
    async fn send(&self, notice: &Notice) -> Result<(), CallError<String>> {
        let text = match notice {
            Notice::Attempt(told) => told.text(&self.container_of(told)),
            Notice::Announcement(told) => alert::text(told),
            Notice::Credential(entry) => credential_text(entry),
        };
        let body = json(&self.reporter.message, &text);
        loop {
            // A message that comes twice is better than one that never comes.
            let sent = self.client.call(self.reporter.timeout, Repeat::Allowed, || self.post(body.clone())).await;
            match sent {
                Err(CallError::Open { wait }) => tokio::time::sleep(wait).await,
                ended => return ended,
            }
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), Fault<String>> {
        let url = self.reporter.url.expose();
        let answer = self.http.post(url).header(CONTENT_TYPE, "application/json").body(body).send().await;
        let status = match answer {
            Ok(answer) => answer.status(),
            Err(error) => return Err(Fault::Passing(words(&error))),
        };
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => {
                Err(Fault::Lasting(format!("status {}: a redirect, which is not followed", status.as_u16())))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Fault::Passing(said(status))),
            status if status.is_server_error() => Err(Fault::Passing(said(status))),
            status => Err(Fault::Lasting(said(status))),
        }
    }

    /// The container's name; the service's, where the container is gone.
    fn container_of(&self, told: &Told) -> String {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let known = snapshot.services.iter().find(|known| known.identity == told.subject.identity);
        let container = known.and_then(|known| known.container.as_ref());
        container.map_or_else(|| told.subject.name.to_string(), |container| container.name.clone())
    }
}

fn said(status: StatusCode) -> String {
    format!("status {}", status.as_u16())
}

/// Why a request failed, without the URL and the names in it.
fn words(error: &reqwest::Error) -> String {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(next) = below(cause) {
        if let Some(unresolved) = next.downcast_ref::<ResolveError>() {
            return format!("its name does not resolve: {}", unresolved.cause);
        }
        if let Some(tls) = next.downcast_ref() {
            return tls_words(tls);
        }
        cause = next;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) if error.is_connect() => format!("no connection: {io}"),
        Some(io) => format!("the connection broke: {io}"),
        None if error.is_connect() => "no connection".to_owned(),
        None => "the answer is not HTTP, or broke off".to_owned(),
    }
}

fn tls_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }) => {
            "TLS: the certificate is for another name".to_owned()
        }
        error => format!("TLS: {error}"),
    }
}

/// The next cause. An I/O error names what it wraps only through `get_ref`.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    #[test]
    fn a_certificate_for_another_name_is_told_without_the_names() {
        let error = rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("t0ken.example.org").unwrap(),
            presented: vec!["other.example.org".to_owned()],
        });
        assert!(error.to_string().contains("t0ken"), "why it is not passed on");
        assert_eq!(tls_words(&error), "TLS: the certificate is for another name");
    }
}
