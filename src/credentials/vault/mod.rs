//! Vault and OpenBao: logging in, reading and writing secrets, leases. What is asked is mostly from `vaultrs`; the way there and the
//! reading of answers are our own, since nothing may follow a redirect with the token, and no error may show a value.

mod answer;
mod kv;
mod lease;
mod marks;
mod request;
mod session;
pub(super) mod wire;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iaso_policy::credential::Fault;

use self::answer::{Asked, Envelope, judge};
pub use self::kv::{Kv2Metadata, Kv2Version};
pub use self::lease::Mount;
pub use self::marks::Marks;
use self::request::Request;
pub use self::session::{Health, Login, Token};
pub use self::wire::SetupError;
use self::wire::{Answer, Body, Lost, Wire};
use super::kept::wrapping::{Unwrapped, Wrapping};
use super::provider::{Failure, Fetched, Provider};
use crate::config::secret::Secret;
use crate::config::validated::{Source, Vault as Settings};
use crate::system::meters::Meters;
use crate::system::resolver::Resolver;
use crate::system::retry::{CallError, Client, Fault as Try, Repeat};

/// While the breaker is open, the server's health is asked for once in this time at most, and only when somebody wants something.
const LOOK: Duration = Duration::from_secs(10);

/// The one server. Shared by all who ask it; whatever it is asked ends within the configured time, repetitions included (while
/// it is down, after a look at its health that may take as long), and nothing else repeats it. What logs in, mints or writes is
/// tried once.
///
/// A [`Fault::Failing`] of such a call may hide that it was carried out, as a [`Fault::Ambiguous`] does: a proxy may have lost
/// the answer.
pub struct Vault {
    settings: Settings,
    wire: Wire,
    client: Client,
    /// Swapped whole; the old one is wiped when the last call that uses it has ended.
    token: RwLock<Option<Arc<Secret>>>,
    /// The secret-id that was unwrapped. Held while logging in, so that nothing is unwrapped twice.
    unwrapped: tokio::sync::Mutex<Option<Unwrapped>>,
    /// Where what was unwrapped outlives this run; none: nowhere.
    wrapping: Option<Wrapping>,
    /// When its health was last asked for while the breaker was open, and what was found.
    looked: Mutex<Option<(tokio::time::Instant, Fault)>>,
}

/// With which token something is asked.
#[derive(Clone, Copy)]
enum With<'a> {
    /// The session's.
    Session,
    /// This one.
    Token(&'a Secret),
    /// None.
    Nothing,
}

impl Vault {
    /// Not logged in, and nothing asked yet.
    ///
    /// # Errors
    /// When address, server name, namespace or certificates cannot be used.
    pub fn new(settings: &Settings, resolver: &Resolver, meters: Meters) -> Result<Self, SetupError> {
        Ok(Self {
            settings: settings.clone(),
            wire: Wire::new(settings, resolver)?,
            client: Client::new("vault", meters),
            token: RwLock::default(),
            unwrapped: tokio::sync::Mutex::default(),
            wrapping: None,
            looked: Mutex::default(),
        })
    }

    /// With a memory of what earlier runs have unwrapped.
    #[must_use]
    pub fn remembering(self, wrapping: Wrapping) -> Self {
        Self { wrapping: Some(wrapping), ..self }
    }

    /// Asks for what may be asked twice.
    async fn ask(&self, request: Request) -> Result<Envelope, Failure> {
        self.call(&request, With::Session, Repeat::Allowed, &[]).await
    }

    /// Asks for what is done once: it mints or changes something. `secrets` are those in the request.
    async fn change(&self, request: Request, secrets: &[&Secret]) -> Result<Envelope, Failure> {
        self.call(&request, With::Session, Repeat::Never, secrets).await
    }

    async fn call(
        &self,
        request: &Request,
        with: With<'_>,
        repeat: Repeat,
        secrets: &[&Secret],
    ) -> Result<Envelope, Failure> {
        let session = self.session();
        let token = match with {
            With::Nothing => None,
            With::Token(token) => Some(token),
            With::Session => match session.as_deref() {
                Some(token) => Some(token),
                None => {
                    let words = format!("{}: not asked, since Iaso is not logged in", request.path());
                    return Err(Failure { fault: Fault::Denied, words });
                }
            },
        };
        let secrets = [secrets, token.as_slice()].concat();
        let asked = Asked::new(request, repeat == Repeat::Never, &secrets);
        self.exchange(asked, request, token, repeat, |answer| judge(asked, answer)).await
    }

    /// One request through the breaker, with what is made of its answer.
    async fn exchange<T>(
        &self,
        asked: Asked<'_>,
        request: &Request,
        token: Option<&Secret>,
        repeat: Repeat,
        judge: impl Fn(Answer) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let call = async || {
            let once = async || self.once(asked, request, token, &judge).await;
            self.client.call(self.settings.timeout, repeat, once).await
        };
        let mut called = call().await;
        if let Err(CallError::Open { .. }) = called {
            match self.serves_again().await {
                Ok(()) => called = call().await,
                Err(fault) => return Err(asked.failure(fault, "not asked, since the server does not serve")),
            }
        }
        called.map_err(|error| {
            let words = error.to_string();
            match error {
                CallError::Failed { error, .. } => Failure { fault: error.fault, words },
                CallError::Open { .. } => asked.failure(Fault::Unreachable, words),
                // Connecting is given half the time: what took all of it was sent.
                CallError::TimedOut { last, .. } => {
                    asked.failure(last.map_or(Fault::Ambiguous, |last| last.fault), words)
                }
            }
        })
    }

    /// One try.
    async fn once<T>(
        &self,
        asked: Asked<'_>,
        request: &Request,
        token: Option<&Secret>,
        judge: impl Fn(Answer) -> Result<T, Failure>,
    ) -> Result<T, Try<Failure>> {
        let (fault, why) = match self.wire.send(request, token).await {
            Ok(answer) => {
                let broke_off = matches!(answer.body, Body::Broken(_));
                return judge(answer).map_err(|failure| match broke_off || passes(failure.fault) {
                    true => Try::Passing(failure),
                    false => Try::Lasting(failure),
                });
            }
            Err(Lost::NotSent(why)) => (Fault::Unreachable, why),
            Err(Lost::Unanswered(why)) => (Fault::Ambiguous, why),
            Err(Lost::Elsewhere(why)) => (Fault::Standby, why),
        };
        Err(Try::Passing(asked.failure(fault, why)))
    }

    /// While the breaker is open: asks for the server's health, which costs it nothing, so that it need not be waited for
    /// longer than it is down. A good answer closes the breaker.
    ///
    /// # Errors
    /// Why it does not serve; one of the faults that mean that nothing was done.
    async fn serves_again(&self) -> Result<(), Fault> {
        let now = tokio::time::Instant::now();
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let (at, fault) = looked.unwrap_or((now, Fault::Unreachable));
            if looked.is_some() && now < at + LOOK {
                return Err(fault);
            }
            *looked = Some((now, fault));
        }
        let Err(failure) = self.health().await else { return Ok(()) };
        let fault = match failure.fault {
            fault @ (Fault::Sealed | Fault::Standby | Fault::RateLimited { .. }) => fault,
            _ => Fault::Unreachable,
        };
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, fault));
        Err(fault)
    }

    fn session(&self) -> Option<Arc<Secret>> {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn swap(&self, token: Option<Secret>) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token.map(Arc::new);
    }
}

/// Whether asking again may help, and the server counts as unwell. One that says how long to wait is not asked before.
const fn passes(fault: Fault) -> bool {
    !matches!(fault, Fault::RateLimited { after: Some(_) }) && fault.is_outage()
}

impl Provider for Vault {
    fn read<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Fetched, Failure>> {
        async move {
            match source {
                Source::Kv2 { mount, path } => self.kv2_in_use(mount, path).await,
                Source::Kv1 { mount, path } => self.kv1_read(mount, path).await,
                Source::Dynamic { path } => self.mint(path).await,
                Source::Pki { mount, role, request } => self.issue(mount, role, request).await,
                Source::Aws(_) | Source::Environment { .. } | Source::File { .. } | Source::Directory { .. } => {
                    let words = format!("a source of type {} is not read from Vault", source.kind());
                    Err(Failure { fault: Fault::Refused, words })
                }
            }
        }
        .boxed()
    }
}

/// Whom it asks, and nothing that it holds.
impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("address", &self.settings.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
