//! What the server makes anew and lends: dynamic secrets, certificates, and their leases.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso_policy::credential::Fault;
use serde::Deserialize;
use serde_json::value::RawValue;
use vaultrs::api::pki::requests::GenerateCertificateRequest;

use super::Vault;
use super::answer::{Asked, fields};
use super::request::{OnLease, Request, increment};
use crate::config::secret::Secret;
use crate::credentials::provider::{Failure, Fetched, Lease};

/// Where an engine is mounted, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its path, with a slash at its end.
    pub path: String,
    /// The engine's type: `kv`, `database`, `pki`.
    pub kind: String,
    /// The version of a KV engine.
    pub version: Option<u64>,
}

#[derive(Deserialize)]
struct LeaseData {
    id: String,
    ttl: u64,
    renewable: Option<bool>,
}

#[derive(Deserialize)]
struct MountData {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    options: Option<BTreeMap<String, String>>,
}

type RawFields = BTreeMap<String, Box<RawValue>>;

impl Vault {
    /// Has a lease last longer: `wanted` from now, in whole seconds, where the server allows it; zero: as the server likes.
    ///
    /// # Errors
    /// [`Fault::Refused`] when there is no such lease any more, or it cannot be renewed: what it lent must be had anew.
    /// [`Fault::Failing`] also when the engine behind it is down. Otherwise as the server says.
    pub async fn renew_lease(&self, id: &str, wanted: Duration) -> Result<Lease, Failure> {
        let body = OnLease { lease_id: id, increment: increment(wanted), sync: false };
        let envelope = self.ask(Request::post("sys/leases/renew", &body)?).await?;
        envelope.lease().ok_or_else(|| malformed("sys/leases/renew", "the answer holds no lease"))
    }

    /// Ends a lease, and waits until what it lent is gone. One that is gone already is no failure.
    ///
    /// # Errors
    /// As the server says.
    pub async fn revoke_lease(&self, id: &str) -> Result<(), Failure> {
        // What has a time to live and no lease: there is nothing to end.
        if id.is_empty() {
            return Ok(());
        }
        let body = OnLease { lease_id: id, increment: None, sync: true };
        self.ask(Request::post("sys/leases/revoke", &body)?).await?;
        Ok(())
    }

    /// What the server knows of a lease.
    ///
    /// # Errors
    /// [`Fault::Refused`] when there is none of that name; otherwise as the server says.
    pub async fn lookup_lease(&self, id: &str) -> Result<Lease, Failure> {
        let body = OnLease { lease_id: id, increment: None, sync: false };
        let found = self.ask(Request::post("sys/leases/lookup", &body)?).await?.data::<LeaseData>();
        let found = found.ok_or_else(|| malformed("sys/leases/lookup", "the answer holds no lease"))?;
        let ttl = Duration::from_secs(found.ttl);
        Ok(Lease { id: found.id, ttl, renewable: found.renewable.unwrap_or(false) })
    }

    /// Which engine serves a path.
    ///
    /// # Errors
    /// [`Fault::Denied`] also when there is none: the server does not tell these apart.
    pub async fn mount_of(&self, path: &str) -> Result<Mount, Failure> {
        let asked = format!("sys/internal/ui/mounts/{path}");
        let found = self.ask(Request::get(&asked)?).await?.data::<MountData>();
        let found = found.ok_or_else(|| malformed(&asked, "the answer tells of no mount"))?;
        let version = found.options.and_then(|options| options.get("version")?.parse().ok());
        Ok(Mount { path: found.path, kind: found.kind, version })
    }

    /// Reads what the server makes anew at each read. What it keeps itself and replaces at times (a static role) has a
    /// time to live in a field, and no lease that could be renewed.
    pub(super) async fn mint(&self, path: &str) -> Result<Fetched, Failure> {
        let envelope = self.change(Request::get(path)?, &[]).await?;
        let found = envelope.data::<RawFields>().ok_or_else(|| malformed(path, "the answer holds no secret"))?;
        let fields = fields(Asked { path, changes: true, secrets: &[] }, &found)?;
        let kept = fields.contains_key("rotation_period") || fields.contains_key("rotation_schedule");
        let ttl = fields.get("ttl").filter(|_| kept).and_then(|ttl| ttl.expose().parse().ok());
        // The server replaces it when that has passed: a moment later it is the new one.
        let ends = ttl.map(|ttl: u64| Duration::from_secs(ttl.saturating_add(1)));
        let lease = envelope.lease().or(ends.map(|ttl| Lease { id: String::new(), ttl, renewable: false }));
        Ok(Fetched { fields, version: None, lease, not_after: None })
    }

    /// Has a certificate made. Certificates that come as a list become one text, one after the other.
    pub(super) async fn issue(
        &self,
        mount: &str,
        role: &str,
        wanted: &BTreeMap<String, String>,
    ) -> Result<Fetched, Failure> {
        let asked_for = |key: &str| wanted.get(key).cloned();
        let request = Request::of(&GenerateCertificateRequest {
            mount: mount.to_owned(),
            role: role.to_owned(),
            common_name: asked_for("common_name"),
            alt_names: asked_for("alt_names"),
            ip_sans: asked_for("ip_sans"),
            ttl: asked_for("ttl"),
            ..Default::default()
        })?;
        let path = request.path().to_owned();
        let envelope = self.change(request, &[]).await?;
        let found = envelope.data::<RawFields>().filter(|found| found.contains_key("certificate"));
        let found = found.ok_or_else(|| malformed(&path, "the answer holds no certificate"))?;
        let mut fields = fields(Asked { path: &path, changes: true, secrets: &[] }, &found)?;
        if let Some(chain) =
            found.get("ca_chain").and_then(|chain| serde_json::from_str::<Vec<String>>(chain.get()).ok())
        {
            fields.insert("ca_chain".to_owned(), Secret::new(chain.join("\n")));
        }
        let not_after = found.get("expiration").and_then(|end| end.get().trim_matches('"').parse().ok());
        if not_after.is_none() {
            return Err(malformed(&path, "the answer does not tell when the certificate ends"));
        }
        Ok(Fetched { fields, version: None, lease: envelope.lease(), not_after })
    }
}

fn malformed(path: &str, words: &str) -> Failure {
    Failure { fault: Fault::Malformed, words: format!("{path}: {words}") }
}
