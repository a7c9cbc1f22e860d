//! The auth methods: AppRole, userpass and client certificates.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use super::call::{Call, Op, Presented};
use super::reply::{
    Answer, Outcome, Refusal, data, done, keys, not_found, refuse, unsupported_operation, unsupported_path,
};
use super::ttl::Limits;
use super::values::{Fields, random, seconds_until, uuid};

/// Who has logged in.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub params: TokenParams,
    pub metadata: Map<String, Value>,
    pub display_name: String,
    /// The role, the user or the certificate; it is read again at each renewal.
    pub role: String,
}

/// How a role wants its tokens.
#[derive(Debug, Clone, Default)]
pub(super) struct TokenParams {
    pub limits: Limits,
    pub policies: Vec<String>,
    pub num_uses: u64,
    pub batch: bool,
    pub no_default: bool,
}

impl TokenParams {
    fn set(&mut self, fields: Fields<'_>) -> Result<(), Refusal> {
        let limits = &mut self.limits;
        limits.ttl = fields.duration("token_ttl")?.unwrap_or(limits.ttl);
        limits.max = fields.duration("token_max_ttl")?.unwrap_or(limits.max);
        limits.explicit_max = fields.duration("token_explicit_max_ttl")?.unwrap_or(limits.explicit_max);
        limits.period = fields.duration("token_period")?.unwrap_or(limits.period);
        if let Some(policies) = fields.list("token_policies").or_else(|| fields.list("policies")) {
            self.policies = policies;
        }
        self.num_uses = fields.number("token_num_uses")?.unwrap_or(self.num_uses);
        self.batch = fields.text("token_type").map_or(self.batch, |kind| kind == "batch");
        self.no_default = fields.flag("token_no_default_policy").unwrap_or(self.no_default);
        Ok(())
    }

    fn shown(&self) -> Value {
        json!({
            "token_ttl": self.limits.ttl.as_secs(),
            "token_max_ttl": self.limits.max.as_secs(),
            "token_explicit_max_ttl": self.limits.explicit_max.as_secs(),
            "token_period": self.limits.period.as_secs(),
            "token_policies": self.policies,
            "token_num_uses": self.num_uses,
            "token_type": if self.batch { "batch" } else { "default" },
            "token_no_default_policy": self.no_default,
        })
    }
}

/// Five bad tries in a quarter of an hour lock an account for a quarter of an hour.
#[derive(Debug, Clone, Default)]
struct Lockout(BTreeMap<String, (u32, Timestamp)>);

const BAD_TRIES: u32 = 5;
const LOCKED_FOR: Duration = Duration::from_secs(900);

impl Lockout {
    fn check(&mut self, who: &str, now: Timestamp) -> Result<(), Refusal> {
        self.0.retain(|_, (_, last)| *last + LOCKED_FOR > now);
        match self.0.get(who) {
            Some((tries, _)) if *tries >= BAD_TRIES => Err(refuse(403, "permission denied")),
            _ => Ok(()),
        }
    }

    fn count(&mut self, who: &str, now: Timestamp) {
        let (tries, last) = self.0.entry(who.to_owned()).or_insert((0, now));
        *tries += 1;
        *last = now;
    }
}

/// AppRole.
#[derive(Debug, Clone, Default)]
pub(super) struct AppRole {
    pub roles: BTreeMap<String, Role>,
    lockout: Lockout,
}

#[derive(Debug, Clone)]
pub(super) struct Role {
    pub params: TokenParams,
    role_id: String,
    bind_secret_id: bool,
    secret_id_ttl: Duration,
    secret_id_num_uses: u64,
    bound_cidrs: Vec<String>,
    secret_ids: BTreeMap<String, SecretId>,
}

#[derive(Debug, Clone)]
struct SecretId {
    accessor: String,
    created: Timestamp,
    expires: Option<Timestamp>,
    /// None: any number.
    uses: Option<u64>,
    bound_cidrs: Vec<String>,
}

impl SecretId {
    fn shown(&self, now: Timestamp) -> Value {
        json!({
            "secret_id_accessor": self.accessor,
            "secret_id_num_uses": self.uses.unwrap_or(0),
            "secret_id_ttl": self.expires.map_or(0, |at| seconds_until(at, now)),
            "creation_time": self.created.to_string(),
            "expiration_time": self.expires.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string()),
            "cidr_list": self.bound_cidrs,
        })
    }
}

impl AppRole {
    pub(super) fn answer(&mut self, call: &Call) -> Outcome {
        if call.path == "login" {
            return if call.op == Op::Write { self.log_in(call) } else { Err(unsupported_operation()) };
        }
        if call.path.trim_end_matches('/') == "role" && call.op == Op::List {
            return keys(self.roles.keys().cloned());
        }
        let Some(rest) = call.path.strip_prefix("role/") else { return Err(unsupported_path()) };
        let (name, what) = rest.split_once('/').unwrap_or((rest, ""));
        let fields = call.fields();
        if what.is_empty() && call.op == Op::Write {
            let role = self.roles.entry(name.to_owned()).or_insert_with(Role::new);
            role.set(fields)?;
            return done();
        }
        if what.is_empty() && call.op == Op::Delete {
            self.roles.remove(name);
            return done();
        }
        let role = self.roles.get_mut(name);
        let role = role.ok_or_else(|| match call.op {
            Op::Read => not_found(),
            _ => refuse(400, format!("role {name:?} does not exist")),
        })?;
        match (what, call.op) {
            ("", Op::Read) => data(role.shown()),
            ("role-id", Op::Read) => data(json!({ "role_id": role.role_id })),
            ("role-id", Op::Write) => {
                role.role_id = fields.text("role_id").ok_or_else(|| refuse(400, "missing role_id"))?.to_owned();
                done()
            }
            ("secret-id" | "custom-secret-id", Op::Write) => role.make_secret_id(call),
            ("secret-id", Op::List) => keys(role.secret_ids.values().map(|secret_id| secret_id.accessor.clone())),
            ("secret-id/lookup", Op::Write) => {
                let found = role.secret_ids.get(fields.text("secret_id").unwrap_or_default());
                found.map_or_else(done, |found| data(found.shown(call.now)))
            }
            ("secret-id/destroy", Op::Write | Op::Delete) => {
                role.secret_ids.remove(fields.text("secret_id").unwrap_or_default());
                done()
            }
            ("secret-id-accessor/lookup", Op::Write) => {
                let accessor = fields.text("secret_id_accessor").unwrap_or_default();
                let found = role.secret_ids.values().find(|secret_id| secret_id.accessor == accessor);
                found.map_or_else(|| Err(not_found()), |found| data(found.shown(call.now)))
            }
            ("secret-id-accessor/destroy", Op::Write | Op::Delete) => {
                let accessor = fields.text("secret_id_accessor").unwrap_or_default();
                role.secret_ids.retain(|_, secret_id| secret_id.accessor != accessor);
                done()
            }
            _ => Err(unsupported_path()),
        }
    }

    fn log_in(&mut self, call: &Call) -> Outcome {
        let fields = call.fields();
        let given = |name: &str| fields.text(name).filter(|text| !text.is_empty());
        let role_id = given("role_id").ok_or_else(|| refuse(400, "missing role_id"))?;
        let invalid = || refuse(400, "invalid role or secret ID");
        self.lockout.check(role_id, call.now)?;
        let found = self.roles.iter_mut().find(|(_, role)| role.role_id == role_id);
        let (name, role) = found.ok_or_else(invalid)?;
        if role.bind_secret_id {
            let secret_id = given("secret_id").ok_or_else(|| refuse(400, "missing secret_id"))?;
            role.secret_ids.retain(|_, secret_id| secret_id.expires.is_none_or(|at| at > call.now));
            let Some(known) = role.secret_ids.get_mut(secret_id) else {
                self.lockout.count(role_id, call.now);
                return Err(invalid());
            };
            let bound = known.bound_cidrs.clone();
            if let Some(uses) = &mut known.uses {
                *uses -= 1;
                if *uses == 0 {
                    role.secret_ids.remove(secret_id);
                }
            }
            check_source(&bound)?;
        }
        check_source(&role.bound_cidrs)?;
        self.lockout.0.remove(role_id);
        let metadata = Map::from_iter([("role_name".to_owned(), name.clone().into())]);
        let display_name = call.mount.trim_start_matches("auth/").trim_end_matches('/').to_owned();
        let login = Login { params: role.params.clone(), metadata, display_name, role: name.clone() };
        Ok(Answer::Login(Box::new(login)))
    }
}

/// The double is reached from 127.0.0.1 alone.
fn check_source(bound: &[String]) -> Result<(), Refusal> {
    if bound.is_empty() || bound.iter().any(|cidr| cidr.starts_with("127.") || cidr == "0.0.0.0/0") {
        return Ok(());
    }
    Err(refuse(400, "source address \"127.0.0.1\" unauthorized through CIDR restrictions on the secret ID"))
}

impl Role {
    fn new() -> Self {
        Self {
            params: TokenParams::default(),
            role_id: uuid(),
            bind_secret_id: true,
            secret_id_ttl: Duration::ZERO,
            secret_id_num_uses: 0,
            bound_cidrs: Vec::new(),
            secret_ids: BTreeMap::new(),
        }
    }

    fn set(&mut self, fields: Fields<'_>) -> Result<(), Refusal> {
        self.params.set(fields)?;
        self.bind_secret_id = fields.flag("bind_secret_id").unwrap_or(self.bind_secret_id);
        self.secret_id_ttl = fields.duration("secret_id_ttl")?.unwrap_or(self.secret_id_ttl);
        self.secret_id_num_uses = fields.number("secret_id_num_uses")?.unwrap_or(self.secret_id_num_uses);
        if let Some(bound) = fields.list("token_bound_cidrs").or_else(|| fields.list("secret_id_bound_cidrs")) {
            self.bound_cidrs = bound;
        }
        if let Some(role_id) = fields.text("role_id") {
            self.role_id = role_id.to_owned();
        }
        Ok(())
    }

    fn shown(&self) -> Value {
        let mut shown = self.params.shown();
        shown["bind_secret_id"] = self.bind_secret_id.into();
        shown["secret_id_ttl"] = self.secret_id_ttl.as_secs().into();
        shown["secret_id_num_uses"] = self.secret_id_num_uses.into();
        shown
    }

    fn make_secret_id(&mut self, call: &Call) -> Outcome {
        if !self.bind_secret_id {
            return Err(refuse(400, "bind_secret_id is not set on the role"));
        }
        let fields = call.fields();
        let ttl = fields.duration("ttl")?.unwrap_or(self.secret_id_ttl);
        let num_uses = fields.number("num_uses")?.unwrap_or(self.secret_id_num_uses);
        let accessor = uuid();
        let made = SecretId {
            accessor: accessor.clone(),
            created: call.now,
            expires: (!ttl.is_zero()).then(|| call.now + ttl),
            uses: Some(num_uses).filter(|uses| *uses > 0),
            bound_cidrs: fields.list("cidr_list").unwrap_or_default(),
        };
        let secret_id = fields.text("secret_id").map_or_else(uuid, str::to_owned);
        self.secret_ids.insert(secret_id.clone(), made);
        data(json!({
            "secret_id": secret_id,
            "secret_id_accessor": accessor,
            "secret_id_ttl": ttl.as_secs(),
            "secret_id_num_uses": num_uses,
        }))
    }
}

/// Users with passwords.
#[derive(Debug, Clone, Default)]
pub(super) struct Userpass {
    pub users: BTreeMap<String, User>,
    lockout: Lockout,
}

#[derive(Debug, Clone, Default)]
pub(super) struct User {
    pub params: TokenParams,
    password: String,
}

impl Userpass {
    pub(super) fn answer(&mut self, call: &Call) -> Outcome {
        let fields = call.fields();
        if call.path.trim_end_matches('/') == "users" && call.op == Op::List {
            return keys(self.users.keys().cloned());
        }
        match (call.path.split_once('/'), call.op) {
            (Some(("login", name)), Op::Write) => self.log_in(&name.to_lowercase(), call),
            (Some(("users", name)), Op::Write) => {
                let name = name.to_lowercase();
                let password = fields.text("password");
                if password.is_none() && !self.users.contains_key(&name) {
                    return Err(refuse(400, "missing password"));
                }
                let user = self.users.entry(name).or_default();
                user.params.set(fields)?;
                user.password = password.map_or_else(|| user.password.clone(), str::to_owned);
                done()
            }
            (Some(("users", name)), Op::Read) => {
                self.users.get(name).ok_or_else(not_found).and_then(|user| data(user.params.shown()))
            }
            (Some(("users", name)), Op::Delete) => {
                self.users.remove(name);
                done()
            }
            _ => Err(unsupported_path()),
        }
    }

    fn log_in(&mut self, name: &str, call: &Call) -> Outcome {
        let password = call.fields().text("password").filter(|password| !password.is_empty());
        let password = password.ok_or_else(|| refuse(400, "missing password"))?;
        self.lockout.check(name, call.now)?;
        let Some(user) = self.users.get(name).filter(|user| user.password == password) else {
            self.lockout.count(name, call.now);
            return Err(refuse(400, "invalid username or password"));
        };
        self.lockout.0.remove(name);
        let metadata = Map::from_iter([("username".to_owned(), name.into())]);
        let display_name = format!("{}-{name}", call.mount.trim_start_matches("auth/").trim_end_matches('/'));
        Ok(Answer::Login(Box::new(Login {
            params: user.params.clone(),
            metadata,
            display_name,
            role: name.to_owned(),
        })))
    }
}

/// Client certificates. The chain is the TLS layer's to verify; here its issuer's name is compared, and its own names.
#[derive(Debug, Clone, Default)]
pub(super) struct Cert {
    pub roles: BTreeMap<String, Trusted>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Trusted {
    pub params: TokenParams,
    der: Vec<u8>,
    subject: String,
    allowed_names: Vec<String>,
}

impl Trusted {
    fn matches(&self, shown: &Presented) -> bool {
        let signed = shown.der == self.der || shown.issuer == self.subject;
        let named = self.allowed_names.is_empty() || self.allowed_names.iter().any(|name| shown.names.contains(name));
        signed && named
    }
}

impl Cert {
    pub(super) fn answer(&mut self, call: &Call) -> Outcome {
        let fields = call.fields();
        if call.path == "login" && call.op == Op::Write {
            return self.log_in(call);
        }
        match (call.path.split_once('/'), call.op) {
            (Some(("certs", name)), Op::Write) => {
                let pem = fields.text("certificate").unwrap_or_default();
                let der = CertificateDer::from_pem_slice(pem.as_bytes());
                let der = der.map_err(|_| refuse(400, "failed to parse certificate"))?;
                let (_, parsed) = x509_parser::parse_x509_certificate(&der)
                    .map_err(|_| refuse(400, "failed to parse certificate"))?;
                let names = ["allowed_common_names", "allowed_dns_sans", "allowed_names"];
                let mut trusted = Trusted {
                    params: TokenParams::default(),
                    der: der.to_vec(),
                    subject: parsed.subject().to_string(),
                    allowed_names: names.into_iter().filter_map(|name| fields.list(name)).flatten().collect(),
                };
                trusted.params.set(fields)?;
                self.roles.insert(name.to_owned(), trusted);
                done()
            }
            (Some(("certs", name)), Op::Read) => {
                self.roles.get(name).ok_or_else(not_found).and_then(|role| data(role.params.shown()))
            }
            (Some(("certs", name)), Op::Delete) => {
                self.roles.remove(name);
                done()
            }
            _ => Err(unsupported_path()),
        }
    }

    fn log_in(&self, call: &Call) -> Outcome {
        let shown = call.certificate.as_ref().ok_or_else(|| refuse(400, "client certificate must be supplied"))?;
        let wanted = call.fields().text("name").filter(|name| !name.is_empty());
        let mut roles = self.roles.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name.as_str()));
        let found = roles.find(|(_, role)| role.matches(shown));
        let (name, role) = found.ok_or_else(|| refuse(400, "invalid certificate or no client certificate supplied"))?;
        let metadata = Map::from_iter([
            ("cert_name".to_owned(), name.clone().into()),
            ("common_name".to_owned(), shown.names.first().cloned().unwrap_or_default().into()),
        ]);
        let display_name = format!("cert-{name}");
        Ok(Answer::Login(Box::new(Login { params: role.params.clone(), metadata, display_name, role: name.clone() })))
    }
}

/// A password that the double makes up.
pub(super) fn password() -> String {
    format!("{}-{}", random(12), random(12))
}
