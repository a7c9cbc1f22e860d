//! The PKI engine: an authority, roles, and certificates with their keys.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, SerialNumber,
    date_time_ymd,
};
use serde_json::{Map, Value, json};

use super::call::{Call, Op};
use super::leases::Leased;
use super::reply::{Answer, Outcome, Refusal, data, done, not_found, refuse, unsupported_operation, unsupported_path};
use super::ttl::Limits;
use super::values::{Fields, SYSTEM_TTL, serial, until};

/// An authority and its roles.
#[derive(Debug, Clone, Default)]
pub(super) struct Pki {
    authority: Option<Authority>,
    roles: BTreeMap<String, Map<String, Value>>,
    issued: BTreeMap<String, Timestamp>,
}

#[derive(Clone)]
struct Authority {
    issuer: Arc<Issuer<'static, KeyPair>>,
    pem: String,
    expires: Timestamp,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// What Vault sets the start of a certificate back by, for clocks that differ.
const BACK: Duration = Duration::from_secs(30);

/// Sets the certificate's life and number; its number as Vault writes it.
fn bound(params: &mut CertificateParams, now: Timestamp, ends: Timestamp) -> String {
    let since_1970 = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(now - BACK);
    params.not_after = epoch + since_1970(ends);
    let number = serial();
    params.serial_number = Some(SerialNumber::from_slice(&number));
    number.map(|byte| format!("{byte:02x}")).join(":")
}

fn internal(error: &rcgen::Error) -> Refusal {
    refuse(500, error.to_string())
}

impl Pki {
    pub(super) fn answer(&mut self, call: &Call) -> Outcome {
        let Some((area, name)) = call.path.split_once('/') else {
            return match (call.path.as_str(), call.op) {
                ("revoke", Op::Write) => self.revoke(call),
                _ => Err(unsupported_path()),
            };
        };
        match (area, call.op) {
            ("root", Op::Write) if name.starts_with("generate/") => self.generate(call),
            ("config", Op::Write) => done(),
            ("roles", Op::Write) => {
                self.roles.insert(name.to_owned(), call.body.clone());
                done()
            }
            ("roles", Op::Read) => {
                let role = self.roles.get(name).ok_or_else(not_found)?;
                data(Value::Object(role.clone()))
            }
            ("roles", Op::Delete) => {
                self.roles.remove(name);
                done()
            }
            ("issue", Op::Write) => self.issue(call, name),
            ("root" | "config" | "roles" | "issue", _) => Err(unsupported_operation()),
            _ => Err(unsupported_path()),
        }
    }

    fn generate(&mut self, call: &Call) -> Outcome {
        let fields = call.fields();
        let name = fields.text("common_name").ok_or_else(|| refuse(400, "common_name must be specified"))?;
        let ttl = fields.duration("ttl")?.filter(|ttl| !ttl.is_zero()).unwrap_or(SYSTEM_TTL);
        let expires = call.now + ttl;
        let key = KeyPair::generate().map_err(|error| internal(&error))?;
        let mut params = CertificateParams::new(Vec::new()).map_err(|error| internal(&error))?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let number = bound(&mut params, call.now, expires);
        let pem = params.self_signed(&key).map_err(|error| internal(&error))?.pem().trim_end().to_owned();
        self.authority = Some(Authority { issuer: Arc::new(Issuer::new(params, key)), pem: pem.clone(), expires });
        data(json!({
            "certificate": pem,
            "issuing_ca": pem,
            "serial_number": number,
            "expiration": expires.as_second(),
        }))
    }

    fn issue(&mut self, call: &Call, name: &str) -> Outcome {
        let role = self.roles.get(name).ok_or_else(|| refuse(400, format!("unknown role: {name}")))?;
        let authority = self.authority.as_ref();
        let authority = authority
            .ok_or_else(|| refuse(500, "error fetching CA certificate: no default issuer currently configured"))?;
        let (role, fields) = (Fields(role), call.fields());
        let common = fields.text("common_name").ok_or_else(|| refuse(400, "the common_name field is required, or must be provided in a CSR with \"use_csr_common_name\" set to true, unless \"require_cn\" is set to false"))?;
        if !allows(role, common) {
            return Err(refuse(400, format!("common name {common} not allowed by this role")));
        }
        let mut names = vec![common.to_owned()];
        for other in fields.list("alt_names").unwrap_or_default() {
            if !allows(role, &other) {
                return Err(refuse(400, format!("subject alternate name {other} not allowed by this role")));
            }
            names.push(other);
        }
        names.dedup();
        let limits = Limits {
            ttl: role.duration("ttl")?.unwrap_or_default(),
            max: role.duration("max_ttl")?.unwrap_or_default(),
            ..Limits::default()
        };
        let (ttl, _) = limits.grant(fields.duration("ttl")?.unwrap_or_default(), call.now, call.now);
        let ttl = ttl.min(until(authority.expires, call.now));
        let ends = call.now + ttl;
        let mut params = CertificateParams::new(names).map_err(|error| internal(&error))?;
        params.distinguished_name.push(DnType::CommonName, common);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        for text in fields.list("ip_sans").unwrap_or_default() {
            let ip: IpAddr =
                text.parse().map_err(|_| refuse(400, format!("the value {text:?} is not a valid IP address")))?;
            params.subject_alt_names.push(SanType::IpAddress(ip));
        }
        let number = bound(&mut params, call.now, ends);
        let key = KeyPair::generate().map_err(|error| internal(&error))?;
        let cert = params.signed_by(&key, &authority.issuer).map_err(|error| internal(&error))?;
        let leased = role.flag("generate_lease") == Some(true);
        let issued = json!({
            "certificate": cert.pem().trim_end(),
            "issuing_ca": authority.pem,
            "ca_chain": [authority.pem],
            "private_key": key.serialize_pem().trim_end(),
            "private_key_type": "ec",
            "serial_number": number,
            "expiration": ends.as_second(),
        });
        self.issued.insert(number, ends);
        if leased {
            let limits = Limits { ttl, ..Limits::default() };
            return Ok(Answer::Leased(Box::new(Leased { data: issued, limits, renewable: false, user: None })));
        }
        data(issued)
    }

    fn revoke(&mut self, call: &Call) -> Outcome {
        let number = call.fields().text("serial_number").unwrap_or_default();
        let missing = || refuse(400, format!("certificate with serial {number} not found"));
        self.issued.remove(number).ok_or_else(missing)?;
        data(json!({ "revocation_time": call.now.as_second(), "revocation_time_rfc3339": call.now.to_string() }))
    }
}

fn allows(role: Fields<'_>, name: &str) -> bool {
    let domains = role.list("allowed_domains").unwrap_or_default();
    let bare = role.flag("allow_bare_domains") == Some(true);
    let below = role.flag("allow_subdomains") == Some(true);
    role.flag("allow_any_name") == Some(true)
        || (name == "localhost" && role.flag("allow_localhost") != Some(false))
        || domains.iter().any(|domain| {
            (bare && name == domain)
                || (below && name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.')))
        })
}
