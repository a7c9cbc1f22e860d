//! The session: logging in, the token's life, and the server's health.

use std::path::Path;
use std::time::Duration;

use iaso_policy::credential::Fault;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::userpass::requests::LoginRequest as UserpassLogin;
use vaultrs::api::sys::requests::{ReadHealthRequest, UnwrapRequest, WrappingLookupRequest};
use vaultrs::api::token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest, RevokeTokenSelfRequest};

use super::answer::{Asked, Envelope, judge};
use super::request::{CertLogin, Request, increment};
use super::wire::{Answer, Body, token_header};
use super::{Vault, With};
use crate::config::secret::Secret;
use crate::config::validated::{Auth, SecretFrom};
use crate::credentials::kept::wrapping::{Unwrapped, Wrapping};
use crate::credentials::provider::Failure;
use crate::credentials::seal::fingerprint;
use crate::system::retry::{Fault as Try, Repeat};

/// The largest file that a secret for logging in is read from, in bytes.
const MAX_FILE: u64 = 64 << 10;

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// How long it lasts from when it was told; none: it never ends.
    pub ttl: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// The server's name for it.
    pub accessor: String,
    /// What it may do, by the names of policies.
    pub policies: Vec<String>,
    /// A batch token: it cannot be renewed or revoked.
    pub batch: bool,
    /// How often it may still be used; none: as often as one likes.
    pub uses: Option<u64>,
}

/// A login that worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// What is known of the token.
    pub token: Token,
    /// It is the token that was in use before, out of a file that has not changed: leases stay with it.
    pub same: bool,
}

/// A server that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// It is a standby, and forwards.
    pub standby: bool,
    /// The software's version, as it says.
    pub version: Option<String>,
}

/// `auth` of a login or a renewal.
#[derive(Deserialize)]
struct AuthBlock {
    client_token: Option<String>,
    accessor: Option<String>,
    policies: Option<Vec<String>>,
    lease_duration: Option<u64>,
    renewable: Option<bool>,
    token_type: Option<String>,
    num_uses: Option<u64>,
}

impl AuthBlock {
    fn facts(&self) -> Token {
        Token {
            ttl: lasting(self.lease_duration),
            renewable: self.renewable.unwrap_or(false),
            accessor: self.accessor.clone().unwrap_or_default(),
            policies: self.policies.clone().unwrap_or_default(),
            batch: self.token_type.as_deref() == Some("batch"),
            uses: self.num_uses.filter(|uses| *uses > 0),
        }
    }
}

/// `data` of a look at a token.
#[derive(Deserialize)]
struct TokenData {
    accessor: Option<String>,
    policies: Option<Vec<String>>,
    ttl: u64,
    renewable: Option<bool>,
    #[serde(rename = "type")]
    kind: Option<String>,
    num_uses: Option<u64>,
}

#[derive(Deserialize)]
struct WrappingData {
    creation_path: String,
}

#[derive(Deserialize)]
struct SecretIdData {
    secret_id: String,
}

#[derive(Deserialize)]
struct HealthBody {
    initialized: bool,
    sealed: bool,
    standby: Option<bool>,
    version: Option<String>,
}

impl Vault {
    /// Logs in as configured, and uses the new token from then on. Files are read again; a wrapped secret-id is unwrapped
    /// once and kept, over restarts too, until its file holds another or it is refused. The former token stays as it is at the server. One at a time.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for a file that is missing, empty, or holds what cannot be sent; [`Fault::Tampered`] for a
    /// wrapped secret-id that was opened before or made elsewhere; otherwise as the server says. The former token stays.
    pub async fn login(&self) -> Result<Login, Failure> {
        let mut unwrapped = self.unwrapped.lock().await;
        let (request, secrets) = match &self.settings.auth {
            Auth::Token(from) => return self.adopt(read(from, "the token").await?).await,
            Auth::AppRole { mount, role_id, secret_id, wrapped_at } => {
                let role_id = read(role_id, "the role-id").await?;
                let secret_id = match (secret_id, wrapped_at) {
                    (None, _) => None,
                    (Some(from), None) => Some(read(from, "the secret-id").await?),
                    (Some(from), Some(made_at)) => Some(self.unwrap(from, made_at, &mut unwrapped).await?),
                };
                let request = Request::of(&LoginWithApproleRequest {
                    mount: mount.clone(),
                    role_id: role_id.expose().to_owned(),
                    secret_id: secret_id.as_ref().map_or("", Secret::expose).to_owned(),
                })?;
                (request, [Some(role_id), secret_id])
            }
            Auth::Userpass { mount, username, password } => {
                let password = read(password, "the password").await?;
                let request = Request::of(&UserpassLogin {
                    mount: mount.clone(),
                    username: username.clone(),
                    password: password.expose().to_owned(),
                })?;
                (request, [Some(password), None])
            }
            Auth::Cert { mount, name } => {
                let login = CertLogin { name: name.as_deref() };
                (Request::post(&format!("auth/{mount}/login"), &login)?, [None, None])
            }
        };
        let secrets: Vec<&Secret> = secrets.iter().flatten().collect();
        let answer = self.call(&request, With::Nothing, Repeat::Never, &secrets).await;
        if answer.as_ref().is_err_and(|failure| failure.fault == Fault::Refused) && unwrapped.take().is_some() {
            // What was in the wrapping is no good.
            self.memory(Wrapping::forget).await;
        }
        let envelope = answer?;
        let auth = envelope.auth::<AuthBlock>().ok_or_else(|| malformed(&request, "the answer holds no token"))?;
        let facts = auth.facts();
        let token = auth.client_token.map(Secret::new).filter(|token| token_header(token).is_some());
        self.swap(Some(token.ok_or_else(|| malformed(&request, "the answer holds no token that can be sent"))?));
        Ok(Login { token: facts, same: false })
    }

    /// Whether there is a token, good or not.
    pub fn is_logged_in(&self) -> bool {
        self.session().is_some()
    }

    /// What the server knows of the session's token.
    ///
    /// # Errors
    /// [`Fault::Denied`] when the token is dead; otherwise as the server says.
    pub async fn lookup_self(&self) -> Result<Token, Failure> {
        self.look(With::Session).await
    }

    /// Has the session's token last longer: `increment` from now, in whole seconds, where the server allows it; none (zero) is
    /// as the server likes. A small one shortens it. How long it lasts then is in the answer.
    ///
    /// # Errors
    /// [`Fault::Refused`] when it cannot be renewed; otherwise as the server says.
    pub async fn renew_self(&self, wanted: Duration) -> Result<Token, Failure> {
        let increment = increment(wanted).map(|seconds| format!("{seconds}s"));
        let request = Request::of(&RenewTokenSelfRequest { increment })?;
        let envelope = self.call(&request, With::Session, Repeat::Allowed, &[]).await?;
        let auth = envelope.auth::<AuthBlock>().filter(|auth| auth.lease_duration.is_some());
        Ok(auth.ok_or_else(|| malformed(&request, "the answer tells nothing of the token"))?.facts())
    }

    /// Ends the session's token, and with it what was lent to it. Iaso is logged out then.
    ///
    /// # Errors
    /// As the server says; Iaso stays logged in then.
    pub async fn revoke_self(&self) -> Result<(), Failure> {
        self.change(Request::of(&RevokeTokenSelfRequest {})?, &[]).await?;
        self.swap(None);
        Ok(())
    }

    /// Whether the server serves. Asked once, without a token, whether the breaker is open or not; a good answer closes it.
    ///
    /// # Errors
    /// [`Fault::Sealed`] when it is sealed or not initialised, [`Fault::Standby`] when it is a standby that cannot serve, and
    /// others when the server is not heard.
    pub async fn health(&self) -> Result<Health, Failure> {
        let sought = ReadHealthRequest { standbyok: Some(true), perfstandbyok: Some(true), ..Default::default() };
        let request = Request::of(&sought)?;
        let asked = Asked::new(&request, false, &[]);
        let told = self.once(asked, &request, None, |answer| healthy(asked, answer));
        match tokio::time::timeout(self.settings.timeout, told).await {
            Ok(Ok(health)) => {
                self.client.answered();
                Ok(health)
            }
            Ok(Err(Try::Passing(failure) | Try::Lasting(failure))) => Err(failure),
            Err(_) => Err(asked.failure(Fault::Ambiguous, "no answer in time")),
        }
    }

    /// Takes a token that somebody else made, when the server knows it.
    async fn adopt(&self, token: Secret) -> Result<Login, Failure> {
        if token_header(&token).is_none() {
            let words = "the token has a space, a line break or another byte that no token has".to_owned();
            return Err(Failure { fault: Fault::Malformed, words });
        }
        let facts = self.look(With::Token(&token)).await?;
        let same = self.session().is_some_and(|before| *before == token);
        self.swap(Some(token));
        Ok(Login { token: facts, same })
    }

    async fn look(&self, with: With<'_>) -> Result<Token, Failure> {
        let request = Request::of(&LookupTokenSelfRequest {})?;
        let envelope = self.call(&request, with, Repeat::Allowed, &[]).await?;
        let data = envelope.data::<TokenData>().ok_or_else(|| malformed(&request, "the answer tells of no token"))?;
        Ok(Token {
            ttl: lasting(Some(data.ttl)),
            renewable: data.renewable.unwrap_or(false),
            accessor: data.accessor.unwrap_or_default(),
            policies: data.policies.unwrap_or_default(),
            batch: data.kind.as_deref() == Some("batch"),
            uses: data.num_uses.filter(|uses| *uses > 0),
        })
    }

    /// The secret-id out of its wrapping. It was made where it should be, and nobody has opened it before.
    async fn unwrap(&self, from: &SecretFrom, made_at: &str, held: &mut Option<Unwrapped>) -> Result<Secret, Failure> {
        if held.is_none() {
            *held = self.memory(Wrapping::recall).await.flatten();
        }
        let wrapping = match (read(from, "the wrapped secret-id").await, &*held) {
            (Ok(found), Some(held)) if held.mark == fingerprint(&found) => return Ok(held.secret_id.clone()),
            (Ok(found), _) => found,
            // Whoever put it there may have taken it away again.
            (Err(_), Some(held)) => return Ok(held.secret_id.clone()),
            (Err(failure), None) => return Err(failure),
        };
        if token_header(&wrapping).is_none() {
            let words = "the wrapped secret-id is not the token of a wrapping".to_owned();
            return Err(Failure { fault: Fault::Malformed, words });
        }
        let mark = fingerprint(&wrapping);
        let opened = self.memory(Wrapping::opened).await.flatten();
        let ours = opened.as_ref().is_some_and(|opened| *opened == mark);
        let request = Request::of(&WrappingLookupRequest { token: wrapping.expose().to_owned() })?;
        let envelope = self.call(&request, With::Nothing, Repeat::Allowed, &[&wrapping]).await;
        let data = envelope.map_err(|failure| spent(failure, ours))?.data::<WrappingData>();
        let data = data.ok_or_else(|| malformed(&request, "the answer does not tell where it was made"))?;
        if data.creation_path != made_at {
            let words = "the wrapped secret-id was not made at the path that wrapped_at names".to_owned();
            return Err(Failure { fault: Fault::Tampered, words });
        }
        // That Iaso itself opens it is on disk before: a later run must not take it for somebody else.
        let opening = mark.clone();
        if let Some(Err(error)) = self.memory(move |memory| memory.open(&opening)).await {
            let words = format!("not unwrapped, since that could not be written down first: {error}");
            return Err(Failure { fault: Fault::Unrecorded, words });
        }
        let request = Request::of(&UnwrapRequest { token: None })?;
        let envelope = self.call(&request, With::Token(&wrapping), Repeat::Never, &[]).await;
        if envelope.as_ref().is_err_and(|failure| is_not_done(failure.fault)) {
            // It did not arrive: who opens this wrapping now is somebody else.
            let taken = self.memory(move |memory| memory.take_back(opened.as_deref())).await;
            if let Some(Err(error)) = taken {
                tracing::warn!(%error, "if somebody else opens the wrapping now, it is taken for Iaso's own doing");
            }
        }
        let data = envelope.map_err(|failure| spent(failure, ours))?.data::<SecretIdData>();
        let data = data.ok_or_else(|| malformed(&request, "there is no secret-id in it"))?;
        let unwrapped = Unwrapped { mark, secret_id: Secret::new(data.secret_id) };
        let secret_id = unwrapped.secret_id.clone();
        *held = Some(unwrapped.clone());
        if let Some(Err(error)) = self.memory(move |memory| memory.keep(&unwrapped)).await {
            tracing::warn!(
                "after a restart a new wrapping token is needed, since the secret-id cannot be kept: {error}"
            );
        }
        Ok(secret_id)
    }

    /// Asks what outlives a run, beside the tasks; none where nothing does.
    async fn memory<T: Send + 'static>(&self, ask: impl FnOnce(&Wrapping) -> T + Send + 'static) -> Option<T> {
        let wrapping = self.wrapping.clone()?;
        tokio::task::spawn_blocking(move || ask(&wrapping)).await.ok()
    }
}

/// Whether a call that failed so has surely changed nothing.
const fn is_not_done(fault: Fault) -> bool {
    matches!(fault, Fault::Unreachable | Fault::Sealed | Fault::Standby | Fault::RateLimited { .. })
}

/// A wrapping that was opened before is an alarm, unless Iaso itself has opened it.
fn spent(failure: Failure, ours: bool) -> Failure {
    if !ours || failure.fault != Fault::Tampered {
        return failure;
    }
    let words =
        "an earlier run of Iaso opened this wrapping, and what was in it is not there any more (it is not kept, was \
                 refused, or that run ended at that moment): put a new wrapping token there"
            .to_owned();
    Failure { fault: Fault::Malformed, words }
}

/// Reads the answer to a look at the server's health: its status says more than its class.
fn healthy(asked: Asked<'_>, answer: Answer) -> Result<Health, Failure> {
    let told: Option<HealthBody> = match &answer.body {
        Body::Whole(bytes) => serde_json::from_slice(bytes).ok(),
        Body::Broken(_) | Body::TooLarge => None,
    };
    let Some(told) = told else {
        let envelope: Envelope = judge(asked, answer)?;
        drop(envelope);
        return Err(asked.failure(Fault::Malformed, "the answer tells nothing of the server's health"));
    };
    let status = answer.status.as_u16();
    match status {
        _ if !told.initialized => Err(asked.failure(Fault::Sealed, "the server is not initialised")),
        _ if told.sealed => Err(asked.failure(Fault::Sealed, "the server is sealed")),
        200 | 429 | 473 => Ok(Health { standby: status != 200 || told.standby == Some(true), version: told.version }),
        472 => Err(asked.failure(Fault::Standby, "the server is a secondary for disasters")),
        474 => Err(asked.failure(Fault::Standby, "the server is a standby that does not reach the active one")),
        _ => Err(asked.failure(Fault::Failing, format_args!("status {status}"))),
    }
}

/// A time to live as servers tell it: zero is for ever.
fn lasting(seconds: Option<u64>) -> Option<Duration> {
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

fn malformed(request: &Request, words: &str) -> Failure {
    Asked::new(request, false, &[]).failure(Fault::Malformed, words)
}

/// A secret of the configuration; a file's is without the line breaks at its end.
async fn read(from: &SecretFrom, what: &str) -> Result<Secret, Failure> {
    let failure = |words: String| Failure { fault: Fault::Malformed, words };
    let (secret, of) = match from {
        SecretFrom::Text(secret) => (secret.clone(), what.to_owned()),
        SecretFrom::File(path) => {
            let of = format!("{what} in {}", path.display());
            let bytes = file(path).await.map_err(|error| failure(format!("{of}: {error}")))?;
            if bytes.len() as u64 > MAX_FILE {
                return Err(failure(format!("{of}: more than {MAX_FILE} bytes")));
            }
            let text = String::from_utf8(bytes).map_err(|_| failure(format!("{of}: no UTF-8")))?;
            (Secret::new(text.trim_end_matches(['\r', '\n'])), of)
        }
    };
    if secret.expose().is_empty() { Err(failure(format!("{of}: empty"))) } else { Ok(secret) }
}

async fn file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    tokio::fs::File::open(path).await?.take(MAX_FILE + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
