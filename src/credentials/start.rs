//! Starting: what the desk needs is opened here, and what cannot be opened is said and done without.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use iaso_policy::Now;

use super::desk::{Desk, Means, Ports};
use super::kept::Kept;
use super::kept::ledger::LedgerFile;
use super::kept::wrapping::Wrapping;
use super::provider::Provider;
use super::rotation::{Rotations, Services, Setup as RotationSetup, share_a_service};
use super::seal::Sealer;
use super::vault::{SetupError, Vault};
use crate::config::validated::{self, Auth, Config, Credential, SecretFrom};
use crate::snapshot::{ComponentStatus, CredentialStatus, CredentialsPicture, VaultStatus};
use crate::system::meters::Meters;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;

/// What the task is made with, besides its [`Ports`].
pub struct Setup {
    /// Where keys, last good values and journals live.
    pub data_dir: PathBuf,
    /// Commands inside containers.
    pub services: Arc<dyn Services>,
    /// Names.
    pub resolver: Resolver,
    /// What clients count.
    pub meters: Meters,
    /// Where the task runs.
    pub tasks: Tasks,
}

/// Credentials cannot be kept at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Those of Vault.
    #[error("the client for Vault cannot be made: {0}")]
    Vault(#[from] SetupError),
    /// Those of AWS.
    #[cfg(feature = "aws")]
    #[error("the client for AWS cannot be made: {0}")]
    Aws(#[from] super::aws::SetupError),
}

/// Starts the task that keeps the configuration's credentials, where there are any. A disk that cannot be written costs what
/// is kept over a restart, and rotations, which are nothing without their journals.
///
/// # Errors
/// When a client cannot be made. A server that is away is no such thing.
pub async fn start(config: &Config, setup: Setup, ports: Ports) -> Result<(), StartError> {
    if config.credentials.is_empty() {
        return Ok(());
    }
    // Until the desk has looked, nobody may take it that there are none.
    ports.pictures.send_replace(Arc::new(nothing(config, ports.clock.now(), "not read yet")));
    let sealer = Sealer::open(&setup.data_dir)
        .inspect_err(|error| tracing::warn!(%error, "nothing is kept of credentials, and none is rotated"))
        .map(Arc::new);
    let keep = config.vault.as_ref().is_none_or(|vault| vault.keep);
    let kept = sealer.as_ref().ok().and_then(|sealer| kept(&setup.data_dir, sealer, keep));
    let vault = match &config.vault {
        Some(settings) => {
            let vault = Vault::new(settings, &setup.resolver, setup.meters.clone())?;
            Some(Arc::new(vault.remembering(Wrapping::of(&setup.data_dir, kept.clone()))))
        }
        None => None,
    };
    let means = Means {
        vault: vault.clone(),
        aws: aws(config, &setup)?,
        kept,
        ledger: LedgerFile::of(&setup.data_dir),
        sealer: sealer.as_ref().map_or_else(|_| Arc::new(Sealer::of_this_run()), Arc::clone),
        login_files: config.vault.as_ref().map(login_files).unwrap_or_default(),
        logins_per_hour: config.vault.as_ref().map_or(0, |vault| vault.logins_per_hour),
        login_makes: config.vault.as_ref().is_some_and(|vault| !matches!(vault.auth, Auth::Token(_))),
    };
    let rotations = RotationSetup {
        folder: setup.data_dir.join("rotation"),
        sealer: Arc::clone(&means.sealer),
        services: setup.services,
        resolver: setup.resolver,
        clock: ports.clock,
        together: share_a_service,
    };
    let rotated = vault.filter(|_| !ports.observe && sealer.is_ok());
    let rotations = Rotations::recover(rotations, &config.credentials, rotated.as_ref()).await;
    let (stop, pictures) = (setup.tasks.stop_token(), ports.pictures.clone());
    let dead = nothing(config, ports.clock.now(), "the task that keeps it has died: restart Iaso");
    let credentials = config.credentials.clone();
    let keeping = async move {
        // What was kept is read, and files that are missing are made, before anything else.
        let desk = tokio::task::spawn_blocking(move || Desk::new(&credentials, means, rotations, ports)).await;
        match desk {
            Ok(desk) => desk.run(stop).await,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    };
    let kept = setup.tasks.spawn("credentials", keeping);
    setup.tasks.spawn("credentials-guard", async move {
        // What it published last would be believed for ever.
        if let Ok(Err(panicked)) = kept.await {
            tracing::error!("credentials are not kept any more: their task {panicked}");
            pictures.send_replace(Arc::new(dead));
        }
    });
    Ok(())
}

/// AWS Secrets Manager, where a credential is from there.
#[cfg(feature = "aws")]
fn aws(config: &Config, setup: &Setup) -> Result<Option<Arc<dyn Provider>>, StartError> {
    let is_there = config.credentials.iter().any(|credential| matches!(credential.source, validated::Source::Aws(_)));
    let client = is_there.then(|| super::aws::Aws::new(&setup.resolver, setup.meters.clone())).transpose()?;
    Ok(client.map(|client| Arc::new(client) as Arc<dyn Provider>))
}

/// The configuration has refused such credentials.
#[cfg(not(feature = "aws"))]
fn aws(_: &Config, _: &Setup) -> Result<Option<Arc<dyn Provider>>, StartError> {
    Ok(None)
}

/// Every credential, of which nothing is known, and why.
fn nothing(config: &Config, now: Now, why: &str) -> CredentialsPicture {
    let unknown = || ComponentStatus { up: false, since: now, message: Some(why.to_owned()) };
    let status = |credential: &Arc<Credential>| {
        Arc::new(CredentialStatus {
            name: Arc::clone(&credential.name),
            kind: credential.source.kind(),
            component: unknown(),
            version: None,
            fetched: None,
            changed: None,
            expires: None,
            kept: false,
            services: credential.services.clone(),
            files: credential.files.iter().map(|file| file.path.display().to_string()).collect(),
            advice: Vec::new(),
            rotation: None,
            reads: (0, 0),
            operations: Vec::new(),
        })
    };
    CredentialsPicture {
        vault: config.vault.as_ref().map(|_| VaultStatus { link: unknown(), token_ends: None }),
        credentials: config.credentials.iter().map(status).collect(),
        tried: false,
    }
}

/// The place for last good values; none where it is forbidden, or cannot be had.
fn kept(data_dir: &Path, sealer: &Arc<Sealer>, keep: bool) -> Option<Arc<Kept>> {
    if !keep {
        match Kept::forbid(data_dir) {
            Ok(0) => {}
            Ok(removed) => tracing::info!("{removed} credentials that earlier runs kept on disk were removed"),
            Err(error) => tracing::error!(%error, "what earlier runs kept on disk could not be removed"),
        }
        return None;
    }
    let opened = Kept::open(data_dir, Arc::clone(sealer));
    opened.inspect_err(|error| tracing::warn!(%error, "last good values are not kept")).ok().map(Arc::new)
}

/// The files that are read at each login.
fn login_files(vault: &validated::Vault) -> Vec<PathBuf> {
    let secrets = match &vault.auth {
        Auth::Token(token) => vec![token],
        Auth::AppRole { role_id, secret_id, .. } => [role_id].into_iter().chain(secret_id).collect(),
        Auth::Userpass { password, .. } => vec![password],
        Auth::Cert { .. } => Vec::new(),
    };
    let file = |from: &&SecretFrom| match from {
        SecretFrom::File(path) => Some(path.clone()),
        SecretFrom::Text(_) => None,
    };
    secrets.iter().filter_map(file).collect()
}
