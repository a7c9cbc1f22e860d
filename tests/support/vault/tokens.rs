//! Tokens: what each is, and what `auth/token` does with them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Flavour;
use super::call::{Call, Op};
use super::login::Login;
use super::reply::{Answer, Outcome, Refusal, Secret, data, done, refuse, unsupported_operation, unsupported_path};
use super::state::State;
use super::ttl::Limits;
use super::values::{random, seconds_until, uuid};

/// A token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub id: String,
    /// Empty for a batch token.
    pub accessor: String,
    pub parent: Option<String>,
    pub policies: Vec<String>,
    /// Where it was made.
    pub path: String,
    pub metadata: Option<Map<String, Value>>,
    pub display_name: String,
    /// Uses that are left; none: any number.
    pub uses: Option<u64>,
    pub created: Timestamp,
    pub creation_ttl: Duration,
    /// None: it never ends.
    pub expires: Option<Timestamp>,
    pub limits: Limits,
    pub renewable: bool,
    pub batch: bool,
    pub entity_id: String,
    pub last_renewal: Option<Timestamp>,
    pub namespace: String,
    /// The role that it was made by, where somebody logged in.
    pub role: Option<String>,
}

impl Token {
    pub(super) fn root(id: &str, now: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            accessor: random(24),
            parent: None,
            policies: vec!["root".into()],
            path: "auth/token/root".into(),
            metadata: None,
            display_name: "root".into(),
            uses: None,
            created: now,
            creation_ttl: Duration::ZERO,
            expires: None,
            limits: Limits::default(),
            renewable: false,
            batch: false,
            entity_id: String::new(),
            last_renewal: None,
            namespace: String::new(),
            role: None,
        }
    }

    pub(super) fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == "root")
    }

    fn kind(&self) -> &'static str {
        if self.batch { "batch" } else { "service" }
    }

    /// As a login, a creation or a renewal shows it.
    fn auth(&self, now: Timestamp) -> Value {
        let mut auth = json!({
            "client_token": self.id,
            "accessor": self.accessor,
            "policies": self.policies,
            "metadata": self.metadata,
            "lease_duration": self.expires.map_or(0, |at| seconds_until(at, now)),
            "renewable": self.renewable,
            "entity_id": self.entity_id,
            "token_type": self.kind(),
            "orphan": self.parent.is_none(),
            "mfa_requirement": null,
            "num_uses": self.uses.unwrap_or(0),
        });
        if !self.policies.is_empty() {
            auth["token_policies"] = json!(self.policies);
        }
        auth
    }

    /// As a look-up shows it.
    fn shown(&self, now: Timestamp) -> Value {
        let mut shown = json!({
            "id": self.id,
            "accessor": self.accessor,
            "policies": self.policies,
            "path": self.path,
            "meta": self.metadata,
            "display_name": self.display_name,
            "num_uses": self.uses.unwrap_or(0),
            "orphan": self.parent.is_none(),
            "creation_time": self.created.as_second(),
            "creation_ttl": self.creation_ttl.as_secs(),
            "expire_time": self.expires.map(|at| at.to_string()),
            "ttl": self.expires.map_or(0, |at| seconds_until(at, now)),
            "explicit_max_ttl": self.limits.explicit_max.as_secs(),
            "entity_id": self.entity_id,
            "type": self.kind(),
        });
        if self.expires.is_some() {
            shown["issue_time"] = self.created.to_string().into();
            shown["renewable"] = self.renewable.into();
        }
        if !self.limits.period.is_zero() {
            shown["period"] = self.limits.period.as_secs().into();
        }
        if let Some(at) = self.last_renewal {
            shown["last_renewal"] = at.to_string().into();
            shown["last_renewal_time"] = at.as_second().into();
        }
        shown
    }
}

fn answer_auth(token: &Token, now: Timestamp, warnings: Vec<String>) -> Outcome {
    let secret = Secret { auth: Some(token.auth(now)), warnings, ..Secret::default() };
    Ok(Answer::Secret(200, Box::new(secret)))
}

impl State {
    /// A call under `auth/token/`.
    pub(super) fn token_call(&mut self, call: &Call) -> Outcome {
        let own = call.token.clone().unwrap_or_default();
        let named = call.fields().text("token").map(str::to_owned);
        let by_accessor = || {
            let accessor = call.fields().text("accessor").unwrap_or_default();
            let found = self.tokens.values().find(|token| !accessor.is_empty() && token.accessor == accessor);
            found.map(|token| token.id.clone()).ok_or_else(|| refuse(403, "invalid accessor"))
        };
        match (call.path.as_str(), call.op) {
            ("create" | "create-orphan", Op::Write) => self.create_token(call),
            ("lookup-self", Op::Read | Op::Write) => self.look_up_token(&own, call.now),
            ("lookup", Op::Write) => self.look_up_token(&named.unwrap_or(own), call.now),
            ("lookup-accessor", Op::Write) => {
                let mut found = self.look_up_token(&by_accessor()?, call.now)?;
                if let Answer::Secret(_, secret) = &mut found
                    && let Some(shown) = &mut secret.data
                {
                    shown["id"] = "".into();
                }
                Ok(found)
            }
            ("renew-self", Op::Write) => self.renew_token(&own, call),
            ("renew", Op::Write) => self.renew_token(&named.unwrap_or(own), call),
            ("revoke-self", Op::Write) => self.revoke_asked(&own),
            ("revoke", Op::Write) => self.revoke_asked(&named.ok_or_else(|| refuse(400, "missing token"))?),
            ("revoke-accessor", Op::Write) => self.revoke_asked(&by_accessor()?),
            ("revoke-orphan", Op::Write) => {
                let id = named.ok_or_else(|| refuse(400, "missing token"))?;
                self.tokens.values_mut().filter(|child| child.parent.as_ref() == Some(&id)).for_each(|child| {
                    child.parent = None;
                });
                self.revoke_asked(&id)
            }
            (
                "create" | "create-orphan" | "lookup-self" | "lookup" | "lookup-accessor" | "renew-self" | "renew"
                | "revoke-self" | "revoke" | "revoke-accessor" | "revoke-orphan",
                _,
            ) => Err(unsupported_operation()),
            _ => Err(unsupported_path()),
        }
    }

    fn create_token(&mut self, call: &Call) -> Outcome {
        let fields = call.fields();
        let parent = call.token.as_ref().and_then(|id| self.tokens.get(id)).cloned();
        let parent = parent.ok_or_else(|| refuse(400, "parent token lookup failed: no parent found"))?;
        if parent.batch {
            return Err(refuse(400, "batch tokens cannot create more tokens"));
        }
        let mut policies = fields.list("policies").unwrap_or_else(|| parent.policies.clone());
        let root = policies.iter().any(|policy| policy == "root");
        if root && !parent.is_root() {
            return Err(refuse(400, "root tokens may not be created without parent token being root"));
        }
        if !parent.is_root() && policies.iter().any(|policy| policy != "default" && !parent.policies.contains(policy)) {
            return Err(refuse(400, "child policies must be subset of parent"));
        }
        if !root && fields.flag("no_default_policy") != Some(true) {
            policies.push("default".into());
        }
        policies.sort();
        policies.dedup();
        let batch = fields.text("type") == Some("batch");
        let uses = fields.number("num_uses")?.filter(|uses| *uses > 0);
        if batch && uses.is_some() {
            return Err(refuse(400, "batch tokens cannot have \"num_uses\" set"));
        }
        let limits = Limits {
            ttl: fields.duration("ttl")?.unwrap_or_default(),
            max: Duration::ZERO,
            explicit_max: fields.duration("explicit_max_ttl")?.unwrap_or_default(),
            period: fields.duration("period")?.unwrap_or_default(),
        };
        let orphan = fields.flag("no_parent") == Some(true) || call.path == "create-orphan";
        let endless = root && limits == Limits::default();
        let display_name = match fields.text("display_name") {
            Some(name) => format!("token-{name}"),
            None => "token".to_owned(),
        };
        let token = Token {
            id: match fields.text("id") {
                Some(id) => id.to_owned(),
                None => self.token_id(batch),
            },
            parent: (!orphan).then_some(parent.id),
            policies,
            path: format!("auth/token/{}", call.path),
            metadata: fields.get("meta").and_then(Value::as_object).cloned(),
            display_name,
            uses,
            limits,
            renewable: !batch && !endless && fields.flag("renewable") != Some(false),
            batch,
            entity_id: String::new(),
            namespace: call.namespace.clone(),
            role: None,
            ..Token::root("", call.now)
        };
        self.add_token(token, endless, call.now)
    }

    fn token_id(&self, batch: bool) -> String {
        match (self.flavour, batch) {
            (Flavour::OpenBao, false) => format!("s.{}", random(24)),
            (Flavour::OpenBao, true) => format!("b.{}", random(120)),
            (Flavour::Vault, false) => format!("hvs.{}", random(92)),
            (Flavour::Vault, true) => format!("hvb.{}", random(120)),
        }
    }

    fn add_token(&mut self, mut token: Token, endless: bool, now: Timestamp) -> Outcome {
        let mut warnings = Vec::new();
        if !endless {
            let (ttl, warning) = token.limits.grant(Duration::ZERO, now, now);
            warnings.extend(warning);
            token.creation_ttl = ttl;
            token.expires = Some(now + ttl);
        }
        if token.batch {
            token.accessor = String::new();
        }
        let answer = answer_auth(&token, now, warnings);
        self.tokens.insert(token.id.clone(), token);
        answer
    }

    /// The token of who has logged in.
    pub(super) fn log_in(&mut self, login: Login, call: &Call) -> Outcome {
        let params = login.params;
        let mut policies = params.policies.clone();
        if !params.no_default {
            policies.push("default".into());
        }
        policies.sort();
        policies.dedup();
        let token = Token {
            id: self.token_id(params.batch),
            policies,
            path: format!("{}{}", call.mount, call.path),
            metadata: Some(login.metadata),
            display_name: login.display_name,
            uses: Some(params.num_uses).filter(|uses| *uses > 0),
            limits: params.limits,
            renewable: !params.batch,
            batch: params.batch,
            entity_id: uuid(),
            namespace: call.namespace.clone(),
            role: Some(login.role),
            ..Token::root("", call.now)
        };
        self.add_token(token, false, call.now)
    }

    fn look_up_token(&self, id: &str, now: Timestamp) -> Outcome {
        let token = self.tokens.get(id).ok_or_else(|| refuse(403, "bad token"))?;
        data(token.shown(now))
    }

    fn renew_token(&mut self, id: &str, call: &Call) -> Outcome {
        let asked = call.fields().duration("increment")?.unwrap_or_default();
        let token = self.tokens.get(id).ok_or_else(|| refuse(403, "bad token"))?;
        if token.batch {
            return Err(refuse(400, "batch tokens cannot be renewed"));
        }
        if !token.renewable {
            return Err(refuse(400, "lease is not renewable"));
        }
        let mut limits = token.limits;
        if let Some(role) = &token.role {
            let mount = token.path.split("login").next().unwrap_or_default();
            let params = self.spaces.get(&token.namespace).and_then(|space| space.role_params(mount, role));
            let params = params.ok_or_else(|| refuse(500, format!("could not find role {role:?} on renewal")))?;
            limits = Limits { explicit_max: limits.explicit_max, ..params.limits };
        }
        let (ttl, warning) = limits.grant(asked, token.created, call.now);
        let Some(token) = self.tokens.get_mut(id) else { return Err(refuse(403, "bad token")) };
        token.expires = Some(call.now + ttl);
        token.last_renewal = Some(call.now);
        answer_auth(token, call.now, warning.into_iter().collect())
    }

    fn revoke_asked(&mut self, id: &str) -> Outcome {
        if self.tokens.get(id).is_some_and(|token| token.batch) {
            return Err(refuse(400, "batch tokens cannot be revoked"));
        }
        self.revoke_token(id);
        done()
    }

    /// Ends a token, its children and its leases.
    pub(super) fn revoke_token(&mut self, id: &str) {
        let mut dying = vec![id.to_owned()];
        while let Some(id) = dying.pop() {
            self.tokens.remove(&id);
            dying.extend(
                self.tokens.values().filter(|child| child.parent.as_ref() == Some(&id)).map(|child| child.id.clone()),
            );
            self.revoke_leases(|lease| lease.token == id);
        }
    }

    /// The token of a request; each look at it is a use.
    pub(super) fn spend(&mut self, id: Option<&str>, namespace: &str) -> Result<Token, Refusal> {
        let dead = match self.flavour {
            Flavour::OpenBao => super::Denial::DeadOpenBao,
            Flavour::Vault => super::Denial::DeadVault,
        };
        let id = id.ok_or_else(|| super::Denial::DeadOpenBao.refusal())?;
        let token = self.tokens.get_mut(id).ok_or_else(|| dead.refusal())?;
        if !namespace.starts_with(&token.namespace) {
            return Err(super::Denial::Policy.refusal());
        }
        if let Some(uses) = &mut token.uses {
            if *uses == 0 {
                return Err(dead.refusal());
            }
            *uses -= 1;
        }
        Ok(token.clone())
    }
}
