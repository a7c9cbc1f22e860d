//! Leases, and what `sys/leases` does with them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::call::{Call, Op};
use super::reply::{Answer, Outcome, Secret, data, refuse, unsupported_operation, unsupported_path};
use super::state::{Engine, State};
use super::ttl::Limits;
use super::values::{random, seconds_until};

/// What was minted and needs a lease.
#[derive(Debug, Clone)]
pub(super) struct Leased {
    pub data: Value,
    pub limits: Limits,
    pub renewable: bool,
    /// The user to be removed at its end; none for a certificate.
    pub user: Option<String>,
}

/// A lease.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    /// Whose it is; it ends with that token.
    pub token: String,
    pub namespace: String,
    pub mount: String,
    pub issued: Timestamp,
    pub expires: Timestamp,
    pub last_renewal: Option<Timestamp>,
    pub limits: Limits,
    pub renewable: bool,
    pub user: Option<String>,
}

impl State {
    /// A lease of the caller's for what was minted.
    pub(super) fn lease(&mut self, leased: Leased, call: &Call) -> Outcome {
        let id = format!("{}{}/{}", call.mount, call.path, random(24));
        let (ttl, warning) = leased.limits.grant(Duration::ZERO, call.now, call.now);
        let lease = Lease {
            token: call.token.clone().unwrap_or_default(),
            namespace: call.namespace.clone(),
            mount: call.mount.clone(),
            issued: call.now,
            expires: call.now + ttl,
            last_renewal: None,
            limits: leased.limits,
            renewable: leased.renewable,
            user: leased.user,
        };
        self.leases.insert(id.clone(), lease);
        let secret = Secret {
            lease_id: id,
            renewable: leased.renewable,
            lease_duration: ttl.as_secs(),
            data: Some(leased.data),
            warnings: warning.into_iter().collect(),
            ..Secret::default()
        };
        Ok(Answer::Secret(200, Box::new(secret)))
    }

    /// Ends the leases that `which` says, and what they stand for.
    pub(super) fn revoke_leases(&mut self, which: impl Fn(&Lease) -> bool) {
        let ending = self.leases.iter().filter(|(_, lease)| which(lease)).map(|(id, _)| id.clone()).collect::<Vec<_>>();
        ending.iter().for_each(|id| self.revoke_lease(id));
    }

    fn revoke_lease(&mut self, id: &str) {
        let Some(lease) = self.leases.remove(id) else { return };
        let mount = self.spaces.get_mut(&lease.namespace).and_then(|space| space.mounts.get_mut(&lease.mount));
        if let Some(Engine::Database(database)) = mount.map(|mount| &mut mount.engine)
            && let Some(user) = lease.user
        {
            database.users.remove(&user);
        }
    }

    /// A call under `sys/leases/`.
    pub(super) fn lease_call(&mut self, what: &str, call: &Call) -> Outcome {
        let (what, in_path) = what.split_once('/').unwrap_or((what, ""));
        if call.op != Op::Write {
            return Err(unsupported_operation());
        }
        let fields = call.fields();
        let id = if in_path.is_empty() { fields.text("lease_id").unwrap_or_default() } else { in_path };
        let revoked = if fields.flag("sync") == Some(true) { 204 } else { 202 };
        match what {
            "renew" | "revoke" | "lookup" if id.is_empty() => Err(refuse(400, "lease_id must be specified")),
            "renew" => self.renew_lease(id, call),
            "lookup" => {
                let lease = self.leases.get(id).ok_or_else(|| refuse(400, "invalid lease"))?;
                data(json!({
                    "id": id,
                    "issue_time": lease.issued.to_string(),
                    "expire_time": lease.expires.to_string(),
                    "last_renewal": lease.last_renewal.map(|at| at.to_string()),
                    "renewable": lease.renewable,
                    "ttl": seconds_until(lease.expires, call.now),
                }))
            }
            "revoke" => {
                self.revoke_lease(id);
                Ok(Answer::Empty(revoked))
            }
            "revoke-prefix" | "revoke-force" => {
                let under: Vec<String> = self.leases.keys().filter(|id| id.starts_with(in_path)).cloned().collect();
                under.iter().for_each(|id| self.revoke_lease(id));
                Ok(Answer::Empty(revoked))
            }
            _ => Err(unsupported_path()),
        }
    }

    fn renew_lease(&mut self, id: &str, call: &Call) -> Outcome {
        let asked = call.fields().duration("increment")?.unwrap_or_default();
        let lease = self.leases.get_mut(id).ok_or_else(|| refuse(400, "lease not found"))?;
        if !lease.renewable {
            return Err(refuse(400, "lease is not renewable"));
        }
        let (ttl, warning) = lease.limits.grant(asked, lease.issued, call.now);
        lease.expires = call.now + ttl;
        lease.last_renewal = Some(call.now);
        let secret = Secret {
            lease_id: id.to_owned(),
            renewable: true,
            lease_duration: ttl.as_secs(),
            warnings: warning.into_iter().collect(),
            ..Secret::default()
        };
        Ok(Answer::Secret(200, Box::new(secret)))
    }
}
