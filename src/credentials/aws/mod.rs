//! AWS Secrets Manager, in builds with the feature `aws`. What is asked, signed and understood is by AWS's own client, and so is
//! the search for credentials and region (environment, profile, roles, the instance); the way there is our own ([`wire`]), and
//! so is when to ask again: nothing in the client repeats a read.

mod answer;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_secretsmanager::Client as Sdk;
use aws_sdk_secretsmanager::config::Builder;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iaso_policy::credential::Fault;
use tokio::time::timeout;
use url::Url;

pub use self::wire::SetupError;
use self::wire::Wire;
use super::provider::{Failure, Fetched, Provider};
use crate::config::validated::{AwsSecret, Source};
use crate::system::meters::Meters;
use crate::system::resolver::Resolver;
use crate::system::retry::{CallError, Client, Fault as Try, Repeat};

/// How long one read may take, repetitions and the search for credentials included.
const TOTAL: Duration = Duration::from_secs(10);
/// How long the search for a region may take, and that for credentials: an instance's metadata service may hang.
const SEARCH: Duration = Duration::from_secs(4);

/// Secrets Manager, wherever credentials name it. Whatever it is asked ends within ten seconds.
pub struct Aws {
    http: SharedHttpClient,
    meters: Meters,
    /// Each is told well or unwell by itself.
    sites: Mutex<BTreeMap<Place, Arc<Site>>>,
}

/// Region and endpoint, where they are configured.
type Place = (Option<String>, Option<String>);

/// Secrets Manager in one place.
struct Site {
    client: Client,
    /// With region and credentials found; none yet, or not any more since they were refused. Held while they are searched for.
    sdk: tokio::sync::Mutex<Option<Sdk>>,
}

impl Aws {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When TLS or the HTTP client cannot be set up.
    pub fn new(resolver: &Resolver, meters: Meters) -> Result<Self, SetupError> {
        let http = SharedHttpClient::new(Wire::new(resolver)?);
        Ok(Self { http, meters, sites: Mutex::default() })
    }

    fn site(&self, secret: &AwsSecret) -> Arc<Site> {
        let place = (secret.region.clone(), secret.endpoint.clone());
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let client = Client::new(&name(secret), self.meters.clone());
            Arc::new(Site { client, sdk: tokio::sync::Mutex::default() })
        };
        Arc::clone(sites.entry(place).or_insert_with(new))
    }

    async fn get(&self, secret: &AwsSecret) -> Result<Fetched, Failure> {
        let site = self.site(secret);
        let called = site.client.call(TOTAL, Repeat::Allowed, async || self.once(&site, secret).await).await;
        called.map_err(|error| {
            let (fault, words) = match error {
                CallError::Failed { error, tries: 1 } => return error,
                CallError::Failed { error: Failure { fault, words }, tries } => {
                    return Failure { fault, words: format!("{words} ({tries} tries)") };
                }
                CallError::Open { .. } => (Fault::Unreachable, error.to_string()),
                CallError::TimedOut { ref last, .. } => {
                    (last.as_ref().map_or(Fault::Ambiguous, |last| last.fault), error.to_string())
                }
            };
            Failure { fault, words: format!("{}: {words}", secret.secret_id) }
        })
    }

    /// One try.
    async fn once(&self, site: &Site, secret: &AwsSecret) -> Result<Fetched, Try<Failure>> {
        let failed = |(fault, words): (Fault, String)| {
            let failure = Failure { fault, words: format!("{}: {words}", secret.secret_id) };
            // One that says how long to wait is not asked before.
            let passes = fault.is_outage() && !matches!(fault, Fault::RateLimited { after: Some(_) });
            if passes { Try::Passing(failure) } else { Try::Lasting(failure) }
        };
        let sdk = self.sdk(site, secret).await.map_err(failed)?;
        let asked = sdk.get_secret_value().secret_id(&secret.secret_id).version_stage(&secret.version_stage);
        let fields = match Box::pin(asked.send()).await {
            Ok(output) => answer::fields(&output),
            Err(error) => Err(answer::failure(&error, secret)),
        };
        if matches!(fields, Err((Fault::Denied, _))) {
            // A profile's keys may have been replaced: they are read anew with the next read.
            *site.sdk.lock().await = None;
        }
        let fields = fields.map_err(failed)?;
        Ok(Fetched { fields, version: None, lease: None, not_after: None })
    }

    /// The client with its region; made anew where there is none.
    async fn sdk(&self, site: &Site, secret: &AwsSecret) -> Result<Sdk, (Fault, String)> {
        let mut sdk = site.sdk.lock().await;
        if let Some(sdk) = &*sdk {
            return Ok(sdk.clone());
        }
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .identity_cache(IdentityCache::lazy().load_timeout(SEARCH).build());
        let loader = match &secret.region {
            Some(region) => loader.region(Region::new(region.clone())),
            None => loader,
        };
        let Ok(config) = timeout(SEARCH, Box::pin(loader.load())).await else {
            return Err((Fault::Unreachable, format!("its region is not configured, and not found within {SEARCH:?}")));
        };
        if config.region().is_none() {
            let words = "its region is not configured: region = \"...\", $AWS_REGION, or a profile with one";
            return Err((Fault::Refused, words.to_owned()));
        }
        let mut builder = Builder::from(&config);
        if let Some(endpoint) = &secret.endpoint {
            builder.set_endpoint_url(Some(endpoint.clone()));
        }
        Ok(sdk.insert(Sdk::from_conf(builder.build())).clone())
    }
}

/// What a place is called among the clients: `aws`, `aws/REGION`, `aws/HOST`.
fn name(secret: &AwsSecret) -> String {
    let host = secret.endpoint.as_deref().and_then(|endpoint| Url::parse(endpoint).ok()?.host_str().map(str::to_owned));
    host.or_else(|| secret.region.clone()).map_or_else(|| "aws".to_owned(), |place| format!("aws/{place}"))
}

impl Provider for Aws {
    fn read<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Fetched, Failure>> {
        async move {
            match source {
                Source::Aws(secret) => self.get(secret).await,
                other => {
                    let words = format!("a source of type {} is not read from AWS", other.kind());
                    Err(Failure { fault: Fault::Refused, words })
                }
            }
        }
        .boxed()
    }
}

/// Nothing that it holds.
impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").finish_non_exhaustive()
    }
}
