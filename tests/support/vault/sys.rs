//! `sys`: health and seal, mounts, auth methods, policies, leases, wrapping, namespaces.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::call::{Call, Op, Request};
use super::policy::{self, Policy};
use super::reply::{
    Answer, Outcome, Refusal, Secret, data, done, keys, not_found, refuse, unsupported_operation, unsupported_path,
};
use super::state::{Engine, Mount, Space, State};
use super::values::SYSTEM_TTL;
use super::{Flavour, Role};

impl State {
    /// What is answered while the server is sealed too, to everybody.
    pub(super) fn sealed_too(&mut self, request: &Request, now: Timestamp) -> Option<Outcome> {
        match (request.path.as_str(), request.method.as_str()) {
            ("sys/health", "GET" | "HEAD") => Some(self.health(request, now)),
            ("sys/seal-status", "GET") => Some(Ok(Answer::Raw(200, self.seal_status()))),
            ("sys/init", "GET") => {
                Some(Ok(Answer::Raw(200, json!({ "initialized": self.role != Role::Uninitialized }))))
            }
            ("sys/unseal", "POST" | "PUT") => {
                let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                Some(match body.get("key").and_then(Value::as_str) {
                    Some(key) if key == self.unseal_key => {
                        self.sealed = false;
                        Ok(Answer::Raw(200, self.seal_status()))
                    }
                    Some(_) => Err(refuse(400, "Unseal failed, invalid key")),
                    None if body.get("reset") == Some(&Value::Bool(true)) => Ok(Answer::Raw(200, self.seal_status())),
                    None => Err(refuse(400, "'key' must be specified in request body as JSON, or 'reset' set to true")),
                })
            }
            _ => None,
        }
    }

    fn health(&self, request: &Request, now: Timestamp) -> Outcome {
        let asked = |name: &str| request.query.get(name).map(String::as_str);
        let code = |name: &str, usual: u16| asked(name).and_then(|code| code.parse().ok()).unwrap_or(usual);
        let forgiven = |name: &str| asked(name).is_some_and(|value| value.is_empty() || value == "true");
        let status = match self.role {
            Role::Uninitialized => code("uninitcode", 501),
            _ if self.sealed => code("sealedcode", 503),
            Role::Active => code("activecode", 200),
            Role::DrSecondary => code("drsecondarycode", 472),
            Role::PerformanceStandby if forgiven("perfstandbyok") => code("activecode", 200),
            Role::PerformanceStandby => code("performancestandbycode", 473),
            Role::CutOff => code("haunhealthycode", 474),
            Role::Standby if forgiven("standbyok") => code("activecode", 200),
            Role::Standby => code("standbycode", 429),
        };
        let mut body = json!({
            "initialized": self.role != Role::Uninitialized,
            "sealed": self.sealed,
            "standby": !matches!(self.role, Role::Active | Role::Uninitialized),
            "replication_performance_mode": "disabled",
            "replication_dr_mode": if self.role == Role::DrSecondary { "secondary" } else { "disabled" },
            "server_time_utc": now.as_second(),
            "version": self.version(),
        });
        if self.flavour == Flavour::Vault {
            body["performance_standby"] = (self.role == Role::PerformanceStandby).into();
        }
        if !self.sealed {
            body["cluster_name"] = "iaso-test".into();
            body["cluster_id"] = "0e3f7a52-6b1d-4f0e-9c57-2d9a1c6f4b11".into();
        }
        Ok(Answer::Raw(status, body))
    }

    const fn version(&self) -> &'static str {
        match self.flavour {
            Flavour::OpenBao => "2.6.0",
            Flavour::Vault => "1.20.0",
        }
    }

    fn seal_status(&self) -> Value {
        let mut body = json!({
            "type": "shamir",
            "initialized": self.role != Role::Uninitialized,
            "sealed": self.sealed,
            "t": 1,
            "n": 1,
            "progress": 0,
            "nonce": "",
            "version": self.version(),
            "migration": false,
            "recovery_seal": false,
            "storage_type": "inmem",
        });
        if !self.sealed {
            body["cluster_name"] = "iaso-test".into();
            body["cluster_id"] = "0e3f7a52-6b1d-4f0e-9c57-2d9a1c6f4b11".into();
        }
        body
    }

    /// A call under `sys/`.
    pub(super) fn system_call(&mut self, call: &Call) -> Outcome {
        let (area, rest) = call.path.split_once('/').unwrap_or((&call.path, ""));
        let rest = rest.trim_end_matches('/');
        match (area, rest, call.op) {
            ("seal", "", Op::Write) => {
                self.sealed = true;
                done()
            }
            ("wrapping", "lookup", _) => self.look_up_wrapped(call),
            ("wrapping", "unwrap", Op::Write) => self.unwrap(call),
            ("wrapping", "wrap", Op::Write) if call.wrap.is_some() => data(Value::Object(call.body.clone())),
            ("wrapping", "wrap", Op::Write) => Err(refuse(400, "endpoint requires response wrapping to be used")),
            ("leases", what, _) => self.lease_call(what, call),
            ("renew" | "revoke", id, Op::Write) => {
                let what = if id.is_empty() { area.to_owned() } else { format!("{area}/{id}") };
                self.lease_call(&what, call)
            }
            ("capabilities-self", "", Op::Write) => self.own_capabilities(call),
            ("internal", _, Op::Read) if rest.starts_with("ui/mounts") => {
                self.preflight(rest.trim_start_matches("ui/mounts").trim_start_matches('/'), call)
            }
            ("namespaces", _, _) => self.namespace_call(rest, call),
            ("mounts", _, _) => self.mounts_call("", rest, call),
            ("auth", _, _) => self.mounts_call("auth/", rest, call),
            ("policies", _, _) if rest == "acl" || rest.starts_with("acl/") => {
                self.policy_call(rest.trim_start_matches("acl").trim_start_matches('/'), call)
            }
            ("policy", _, _) => self.policy_call(rest, call),
            ("seal", _, _) => Err(unsupported_operation()),
            _ => Err(unsupported_path()),
        }
    }

    fn space(&mut self, call: &Call) -> Result<&mut Space, Refusal> {
        self.spaces.get_mut(&call.namespace).ok_or_else(|| refuse(404, "namespace not found"))
    }

    fn own_capabilities(&self, call: &Call) -> Outcome {
        let token = call.token.as_ref().and_then(|id| self.tokens.get(id)).ok_or_else(|| refuse(403, "bad token"))?;
        let paths = call.fields().list("paths").or_else(|| call.fields().list("path")).unwrap_or_default();
        let shown = paths.iter().map(|path| (path.clone(), self.capabilities(token, path).into()));
        let mut shown: Map<String, Value> = shown.collect();
        if let [path] = paths.as_slice() {
            shown.insert("capabilities".into(), shown[path].clone());
        }
        repeated(Value::Object(shown))
    }

    /// What kind of mount a path is under, for who may do anything there; no word about whether it exists for others.
    fn preflight(&self, path: &str, call: &Call) -> Outcome {
        let denied = || {
            let error = format!(
                "preflight capability check returned 403, please ensure client's policies grant access to path {:?}",
                format!("{path}/")
            );
            refuse(403, error)
        };
        let token = call.token.as_ref().and_then(|id| self.tokens.get(id)).ok_or_else(denied)?;
        let space = self.spaces.get(&call.namespace).ok_or_else(denied)?;
        let mount = space.mount_of(path).ok_or_else(denied)?;
        let held = space.policies.iter().filter(|(name, _)| token.policies.contains(name)).map(|(_, policy)| policy);
        if !token.is_root() && !policy::reach(held, mount) {
            return Err(denied());
        }
        let mut shown = space.mounts[mount].shown();
        shown["path"] = mount.into();
        data(shown)
    }

    fn namespace_call(&mut self, name: &str, call: &Call) -> Outcome {
        let path = format!("{}{name}/", call.namespace);
        match call.op {
            Op::Write if !name.is_empty() => {
                self.spaces.entry(path.clone()).or_insert_with(Space::new);
                data(json!({ "path": path }))
            }
            Op::Read => {
                self.spaces.get(&path).ok_or_else(not_found)?;
                data(json!({ "path": path }))
            }
            Op::Delete => {
                self.spaces.remove(&path);
                done()
            }
            Op::List => {
                let below = self.spaces.keys().filter_map(|path| path.strip_prefix(call.namespace.as_str()));
                keys(below.filter(|rest| !rest.is_empty()).map(str::to_owned))
            }
            Op::Write | Op::Patch => Err(unsupported_operation()),
        }
    }

    fn mounts_call(&mut self, prefix: &str, name: &str, call: &Call) -> Outcome {
        let name = name.strip_suffix("/tune").map_or((name, false), |name| (name, true));
        let ((name, tune), op) = (name, call.op);
        let path = format!("{prefix}{name}/");
        let space = self.space(call)?;
        let missing = || {
            refuse(400, format!("No {} at: {name}/", if prefix.is_empty() { "secret engine" } else { "auth engine" }))
        };
        match op {
            Op::Read if name.is_empty() => {
                let here = |path: &&String| path.starts_with("auth/") != prefix.is_empty();
                let shown = space.mounts.iter().filter(|(path, _)| here(path));
                let shown = shown.map(|(path, mount)| (path[prefix.len()..].to_owned(), mount.shown())).collect();
                repeated(Value::Object(shown))
            }
            Op::Read => repeated(space.mounts.get(&path).ok_or_else(missing)?.shown()),
            Op::Write if tune => space.mounts.get(&path).map(|_| Answer::Empty(204)).ok_or_else(missing),
            Op::Write if space.mounts.contains_key(&path) => {
                Err(refuse(400, format!("path is already in use at {name}/")))
            }
            Op::Write if !name.is_empty() => {
                let mount = new_mount(prefix, call)?;
                space.mounts.insert(path, mount);
                done()
            }
            Op::Delete => {
                space.mounts.remove(&path);
                self.revoke_leases(|lease| lease.mount == path && lease.namespace == call.namespace);
                let made_there = |token: &&super::tokens::Token| {
                    token.path.starts_with(&path) && !prefix.is_empty() && token.namespace == call.namespace
                };
                let dying: Vec<String> =
                    self.tokens.values().filter(made_there).map(|token| token.id.clone()).collect();
                dying.iter().for_each(|id| self.revoke_token(id));
                done()
            }
            Op::Write | Op::List | Op::Patch => Err(unsupported_operation()),
        }
    }

    fn policy_call(&mut self, name: &str, call: &Call) -> Outcome {
        let policies = &mut self.space(call)?.policies;
        match call.op {
            Op::Write => {
                let text = call
                    .fields()
                    .text("policy")
                    .ok_or_else(|| refuse(400, "'policy' parameter not supplied or empty"))?;
                policies.insert(name.to_lowercase(), Policy::parse(text)?);
                done()
            }
            Op::Read if !name.is_empty() => {
                let policy = policies.get(name).ok_or_else(not_found)?;
                repeated(json!({ "name": name, "policy": policy.text }))
            }
            Op::Read | Op::List => keys(policies.keys().cloned().chain(["root".to_owned()])),
            Op::Delete => {
                policies.remove(name);
                done()
            }
            Op::Patch => Err(unsupported_operation()),
        }
    }
}

fn repeated(shown: Value) -> Outcome {
    Ok(Answer::Secret(200, Box::new(Secret { data: Some(shown), repeated: true, ..Secret::default() })))
}

fn new_mount(prefix: &str, call: &Call) -> Result<Mount, Refusal> {
    let fields = call.fields();
    let kind = fields.text("type").unwrap_or_default();
    let options = fields.get("options").and_then(Value::as_object);
    let version = options.and_then(|options| options.get("version")).map(|version| match version {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let engine = match (prefix, kind) {
        ("", "kv-v2") => Engine::Kv2(super::kv::Kv2::default()),
        ("", "kv") if version.as_deref() == Some("2") => Engine::Kv2(super::kv::Kv2::default()),
        ("", "kv") => Engine::Kv1(super::kv::Kv1::default()),
        ("", "database") => Engine::Database(super::database::Database::default()),
        ("", "pki") => Engine::Pki(Box::default()),
        ("auth/", "approle") => Engine::AppRole(super::login::AppRole::default()),
        ("auth/", "userpass") => Engine::Userpass(super::login::Userpass::default()),
        ("auth/", "cert") => Engine::Cert(super::login::Cert::default()),
        _ => return Err(refuse(400, format!("plugin not found in the catalog: {kind}"))),
    };
    let versioned = match &engine {
        Engine::Kv2(_) => Some("2"),
        Engine::Kv1(_) => Some("1"),
        _ => None,
    };
    let mut mount = Mount::new(if kind == "kv-v2" { "kv" } else { kind }, engine);
    mount.options = versioned.map(|version| Map::from_iter([("version".to_owned(), version.into())]));
    mount.description = fields.text("description").unwrap_or_default().to_owned();
    Ok(mount)
}

impl Mount {
    fn shown(&self) -> Value {
        json!({
            "type": self.kind,
            "description": self.description,
            "accessor": self.accessor,
            "uuid": self.uuid,
            "options": self.options,
            "local": false,
            "seal_wrap": false,
            "external_entropy_access": false,
            "config": { "default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": false },
            "default_lease_ttl": SYSTEM_TTL.as_secs(),
            "max_lease_ttl": SYSTEM_TTL.as_secs(),
        })
    }
}
