//! The KV engine, in both its versions.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use iaso_policy::credential::Fault;
use iaso_policy::credential::rotation::Mark;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::sleep;
use vaultrs::api::kv1::requests::GetSecretRequest;
use vaultrs::api::kv2::requests::{ReadSecretMetadataRequest, ReadSecretRequest, SetSecretMetadataRequest};

use super::Vault;
use super::answer::{Asked, fields, text};
use super::marks::{Marks, SETTLED};
use super::request::{CheckAndSet, Kv2Write, Request};
use crate::config::secret::Secret;
use crate::credentials::provider::{Failure, Fetched, Fields, Lease};

/// What a KV v2 engine knows of a secret beside its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kv2Metadata {
    /// The newest version, also when it is deleted; 0: none was written.
    pub current_version: u64,
    /// The oldest version that is kept.
    pub oldest_version: u64,
    /// How many versions the secret itself asks to keep; 0: as the engine is set.
    pub max_versions: u64,
    /// Whether a write must name the version that it is based on.
    pub cas_required: bool,
    /// People's and programs' own notes.
    pub custom: BTreeMap<String, String>,
    /// The versions that are kept.
    pub versions: BTreeMap<u64, Kv2Version>,
}

/// One version of a KV v2 secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kv2Version {
    /// When it was or will be deleted, in seconds since 1970; none: never.
    pub deleted_at: Option<i64>,
    /// Its values are gone for good.
    pub destroyed: bool,
}

impl Kv2Version {
    /// Whether it can be read at `now`, in seconds since 1970 by the server's clock.
    pub fn is_readable(&self, now: i64) -> bool {
        !self.destroyed && self.deleted_at.is_none_or(|at| at > now)
    }
}

type RawFields = BTreeMap<String, Box<RawValue>>;

#[derive(Deserialize)]
struct Kv2Data {
    data: Option<RawFields>,
    metadata: VersionMetadata,
}

#[derive(Deserialize)]
struct VersionMetadata {
    version: u64,
    custom_metadata: Option<Box<RawValue>>,
}

/// A version as it is stored, and the marks beside it.
struct Kv2Raw {
    fields: RawFields,
    version: u64,
    marks: Marks,
}

/// The answer to a write.
#[derive(Deserialize)]
struct Written {
    version: u64,
}

#[derive(Deserialize)]
struct MetadataData {
    current_version: u64,
    oldest_version: Option<u64>,
    max_versions: Option<u64>,
    cas_required: Option<bool>,
    custom_metadata: Option<BTreeMap<String, String>>,
    versions: Option<BTreeMap<u64, VersionData>>,
}

#[derive(Deserialize)]
struct VersionData {
    deletion_time: Option<String>,
    destroyed: Option<bool>,
}

impl Vault {
    /// Reads a KV v2 secret; no version: the newest.
    ///
    /// # Errors
    /// [`Fault::NotFound`] where there is no such secret or version, [`Fault::Deleted`] where that version is deleted or
    /// destroyed; otherwise as the server says.
    pub async fn kv2_read(&self, mount: &str, path: &str, version: Option<u64>) -> Result<Fetched, Failure> {
        let raw = self.kv2_raw(mount, path, version).await?;
        fetched(mount, path, &raw)
    }

    /// Reads the version of a KV v2 secret that is in use: the newest, unless the [`Marks`] beside it say otherwise. Where they
    /// may be a moment behind, it takes that moment longer.
    ///
    /// # Errors
    /// As [`Vault::kv2_read`]; [`Fault::NotFound`] also where the marks name no version that is in use.
    pub async fn kv2_in_use(&self, mount: &str, path: &str) -> Result<Fetched, Failure> {
        let mut newest = self.kv2_raw(mount, path, None).await?;
        if newest.marks.mark(newest.version) == Mark::Behind {
            sleep(SETTLED).await;
            newest = self.kv2_raw(mount, path, None).await?;
        }
        let pending = newest.version;
        if newest.marks.mark(pending) != Mark::Pending {
            return fetched(mount, path, &newest);
        }
        let Some(current) = newest.marks.in_use_before(pending) else {
            let words = format!(
                "{mount}/data/{path}: a rotation has not published version {pending} yet, and there is none before"
            );
            return Err(Failure { fault: Fault::NotFound, words });
        };
        self.kv2_read(mount, path, Some(current)).await.map_err(|failure| Failure {
            words: format!("{}; version {current} is in use until {pending} is published", failure.words),
            ..failure
        })
    }

    async fn kv2_raw(&self, mount: &str, path: &str, version: Option<u64>) -> Result<Kv2Raw, Failure> {
        let request = kv2_request(mount, path, version)?;
        let path = request.path().to_owned();
        let envelope = self.ask(request).await?;
        let found = envelope.data::<Kv2Data>().and_then(|Kv2Data { data, metadata }| {
            // What is no text beside text is nobody's mark.
            let custom = metadata.custom_metadata.and_then(|custom| serde_json::from_str(custom.get()).ok());
            let marks = Marks::of(&custom.unwrap_or_default());
            Some(Kv2Raw { fields: data?, version: metadata.version, marks })
        });
        found.ok_or_else(|| malformed(&path, "the answer holds no secret of a KV engine of version 2"))
    }

    /// Writes a KV v2 secret as a new version, when `cas` is its newest so far (0: it was never written). Fields that are
    /// the same as in version `cas` stay what they are in JSON: a number stays a number. Returns the new version.
    ///
    /// # Errors
    /// [`Fault::Conflict`] when there is a newer version; otherwise as the server says.
    pub async fn kv2_write(&self, mount: &str, path: &str, fields: &Fields, cas: u64) -> Result<u64, Failure> {
        let before = match cas {
            0 => RawFields::new(),
            // What cannot be read leaves its types unknown, no more.
            _ => match self.kv2_raw(mount, path, Some(cas)).await {
                Ok(before) => before.fields,
                Err(failure) if matches!(failure.fault, Fault::NotFound | Fault::Deleted | Fault::Denied) => {
                    RawFields::new()
                }
                Err(failure) => return Err(failure),
            },
        };
        let data = fields.iter().map(|(name, value)| {
            let same = before.get(name).filter(|before| text(before).as_ref() == Some(value)).cloned();
            Some((name.as_str(), same.or_else(|| to_raw_value(value.expose()).ok())?))
        });
        let path = format!("{mount}/data/{path}");
        let data = data.collect::<Option<_>>().ok_or_else(|| malformed(&path, "a field cannot be sent"))?;
        let request = Request::post(&path, &Kv2Write { options: CheckAndSet { cas }, data })?;
        let secrets: Vec<&Secret> = fields.values().collect();
        let envelope = self.change(request, &secrets).await?;
        envelope.data::<Written>().map(|written| written.version).ok_or_else(|| Failure {
            fault: Fault::Ambiguous,
            words: format!("{path}: the answer to the write does not tell its version"),
        })
    }

    /// What a KV v2 engine knows of a secret beside its values.
    ///
    /// # Errors
    /// [`Fault::NotFound`] where nothing was ever written; otherwise as the server says.
    pub async fn kv2_metadata(&self, mount: &str, path: &str) -> Result<Kv2Metadata, Failure> {
        let request = Request::of(&ReadSecretMetadataRequest { mount: mount.to_owned(), path: path.to_owned() })?;
        let path = request.path().to_owned();
        let found = self.ask(request).await?.data::<MetadataData>();
        let found = found.ok_or_else(|| malformed(&path, "the answer holds no metadata"))?;
        let versions = found.versions.unwrap_or_default().into_iter().map(|(number, version)| {
            let deleted_at = match version.deletion_time.as_deref() {
                None | Some("") => None,
                Some(time) => Some(time.parse::<jiff::Timestamp>().ok()?.as_second()),
            };
            Some((number, Kv2Version { deleted_at, destroyed: version.destroyed.unwrap_or(false) }))
        });
        let versions: Option<_> = versions.collect();
        Ok(Kv2Metadata {
            current_version: found.current_version,
            oldest_version: found.oldest_version.unwrap_or(0),
            max_versions: found.max_versions.unwrap_or(0),
            cas_required: found.cas_required.unwrap_or(false),
            custom: found.custom_metadata.unwrap_or_default(),
            versions: versions.ok_or_else(|| malformed(&path, "a time in the answer is none"))?,
        })
    }

    /// Changes a secret's custom metadata: sets what has a value, removes what has none, and leaves other keys as they are
    /// when it looks. Where nothing would change, nothing is written.
    ///
    /// # Errors
    /// [`Fault::NotFound`] where the secret was never written; otherwise as the server says.
    pub async fn kv2_annotate(
        &self,
        mount: &str,
        path: &str,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), Failure> {
        let before = self.kv2_metadata(mount, path).await?.custom;
        let mut after = before.clone();
        for (key, value) in changes {
            match value {
                Some(value) => after.insert(key.clone(), value.clone()),
                None => after.remove(key),
            };
        }
        if after == before {
            return Ok(());
        }
        let request = Request::of(&SetSecretMetadataRequest {
            mount: mount.to_owned(),
            path: path.to_owned(),
            custom_metadata: Some(after.into_iter().collect::<HashMap<_, _>>()),
            ..Default::default()
        })?;
        self.change(request, &[]).await?;
        Ok(())
    }

    /// Reads a KV v1 secret. It has a time to live only where its own field `ttl` gives one: without, servers tell the
    /// engine's default, which says nothing of the secret.
    pub(super) async fn kv1_read(&self, mount: &str, path: &str) -> Result<Fetched, Failure> {
        let request = Request::of(&GetSecretRequest { mount: mount.to_owned(), path: path.to_owned() })?;
        let path = request.path().to_owned();
        let envelope = self.ask(request).await?;
        let found = envelope.data::<RawFields>().ok_or_else(|| malformed(&path, "the answer holds no secret"))?;
        let fields = fields(Asked { path: &path, changes: false, secrets: &[] }, &found)?;
        let ttl = envelope.ttl().filter(|ttl| fields.contains_key("ttl") && *ttl > Duration::ZERO);
        let lease = ttl.map(|ttl| Lease { id: String::new(), ttl, renewable: false });
        Ok(Fetched { fields, version: None, lease, not_after: None })
    }
}

fn kv2_request(mount: &str, path: &str, version: Option<u64>) -> Result<Request, Failure> {
    Request::of(&ReadSecretRequest { mount: mount.to_owned(), path: path.to_owned(), version })
}

fn fetched(mount: &str, path: &str, raw: &Kv2Raw) -> Result<Fetched, Failure> {
    let request = kv2_request(mount, path, None)?;
    let fields = fields(Asked::new(&request, false, &[]), &raw.fields)?;
    Ok(Fetched { fields, version: Some(raw.version), lease: None, not_after: None })
}

fn malformed(path: &str, words: &str) -> Failure {
    Failure { fault: Fault::Malformed, words: format!("{path}: {words}") }
}
