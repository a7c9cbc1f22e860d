//! The way of a request through the server.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::call::{Call, Op, Request};
use super::policy;
use super::reply::{Answer, Outcome, Refusal, Reply, envelope, refuse};
use super::state::{Engine, State};
use super::tokens::Token;
use super::{Denial, Flavour, Role, values};

/// What came of a request.
#[derive(Debug)]
pub(super) struct Handled {
    pub reply: Reply,
    /// Whether a user or a certificate was made.
    pub minted: bool,
}

impl State {
    pub(super) fn handle(&mut self, request: &Request, now: Timestamp) -> Handled {
        self.pass(now);
        let kind = (self.flavour == Flavour::Vault).then(|| self.kind_of(request));
        let mut minted = false;
        let reply = match self.route(request, now, &mut minted) {
            Ok(Answer::Empty(status)) => Reply { status, body: None },
            Ok(Answer::Raw(status, body)) => Reply { status, body: Some(body) },
            Ok(Answer::Secret(status, secret)) => Reply { status, body: Some(envelope(*secret, kind.as_deref())) },
            Ok(Answer::Login(_) | Answer::Leased(_)) => unreachable!("both have become a secret on their way"),
            Err(refusal) => refusal.into(),
        };
        Handled { reply, minted }
    }

    fn kind_of(&self, request: &Request) -> String {
        let space = self.spaces.get(&request.namespace);
        let mount = space.and_then(|space| space.mounts.get(space.mount_of(&request.path)?));
        mount.map(|mount| mount.kind.clone()).unwrap_or_default()
    }

    fn route(&mut self, request: &Request, now: Timestamp, minted: &mut bool) -> Outcome {
        if let Some(outcome) = self.sealed_too(request, now) {
            return outcome;
        }
        if self.sealed {
            return Err(refuse(503, "Vault is sealed"));
        }
        if matches!(self.role, Role::CutOff | Role::Uninitialized) {
            return Err(refuse(503, "no active Vault instance found"));
        }
        let call = self.call(request, now)?;
        let open = self.is_open(&call);
        let caller = if open { None } else { Some(self.spend(call.token.as_deref(), &call.namespace)?) };
        let allowed = caller.as_ref().map_or(Ok(()), |caller| self.permit(caller, &request.path, call.op));
        let found = allowed.and_then(|()| self.dispatch(&call, &request.path, minted));
        let found = found.map(|answer| match (answer, call.wrap) {
            (Answer::Secret(200, secret), Some(ttl)) => {
                Answer::Secret(200, Box::new(self.wrap(*secret, ttl, &request.path, now)))
            }
            (answer, _) => answer,
        });
        match caller {
            Some(caller) if caller.uses == Some(0) => self.last_use(&caller, found),
            _ => found,
        }
    }

    /// A token whose last use this was ends; what is leased to it cannot be had.
    fn last_use(&mut self, caller: &Token, found: Outcome) -> Outcome {
        self.revoke_token(&caller.id);
        match found {
            Ok(Answer::Secret(_, secret)) if !secret.lease_id.is_empty() => Err(refuse(
                400,
                "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.",
            )),
            found => found,
        }
    }

    fn call(&self, request: &Request, now: Timestamp) -> Result<Call, Refusal> {
        let space = self.spaces.get(&request.namespace).ok_or_else(|| refuse(404, "namespace not found"))?;
        let op = operation(request)?;
        let wrap = match request.wrap_ttl.as_deref() {
            None => None,
            Some(text) => {
                let ttl = values::duration(&Value::from(text)).ok_or_else(|| refuse(400, "invalid wrap TTL"))?;
                Some(ttl).filter(|ttl| !ttl.is_zero())
            }
        };
        let mount = space.mount_of(&request.path).unwrap_or_default().to_owned();
        Ok(Call {
            op,
            path: request.path.strip_prefix(mount.as_str()).unwrap_or_default().to_owned(),
            mount,
            query: request.query.clone(),
            body: if matches!(op, Op::Read | Op::List) { Map::new() } else { fields(&request.body)? },
            namespace: request.namespace.clone(),
            token: request.token.clone(),
            now,
            certificate: request.certificate.clone(),
            wrap,
        })
    }

    /// Whether nobody needs to say who calls.
    fn is_open(&self, call: &Call) -> bool {
        let mount = self.spaces.get(&call.namespace).and_then(|space| space.mounts.get(&call.mount));
        match mount.map(|mount| &mount.engine) {
            Some(Engine::AppRole(_) | Engine::Userpass(_) | Engine::Cert(_)) => {
                call.path == "login" || call.path.starts_with("login/")
            }
            Some(Engine::System) => {
                call.path == "wrapping/lookup" || (call.path == "wrapping/unwrap" && !call.body.contains_key("token"))
            }
            _ => false,
        }
    }

    fn permit(&self, caller: &Token, path: &str, op: Op) -> Result<(), Refusal> {
        // That one looks at the policies itself.
        if caller.is_root() || path.starts_with("sys/internal/ui/mounts") {
            return Ok(());
        }
        let listed = format!("{}/", path.trim_end_matches('/'));
        let granted = self.capabilities(caller, path);
        let allowed =
            policy::allows(&granted, op) || (op == Op::List && policy::allows(&self.capabilities(caller, &listed), op));
        if allowed { Ok(()) } else { Err(Denial::Policy.refusal()) }
    }

    /// What a token may do on a path.
    pub(super) fn capabilities(&self, token: &Token, path: &str) -> Vec<String> {
        if token.is_root() {
            return vec!["root".to_owned()];
        }
        let policies = self.spaces.get(&token.namespace).map(|space| &space.policies);
        let held = policies.into_iter().flatten().filter(|(name, _)| token.policies.contains(name));
        policy::capabilities(held.map(|(_, policy)| policy), path)
    }

    fn dispatch(&mut self, call: &Call, path: &str, minted: &mut bool) -> Outcome {
        let mounts = self.spaces.get_mut(&call.namespace).map(|space| &mut space.mounts);
        let mount = mounts.and_then(|mounts| mounts.get_mut(&call.mount));
        let mount =
            mount.ok_or_else(|| refuse(404, format!("no handler for route {path:?}. route entry not found.")))?;
        let answer = match &mut mount.engine {
            Engine::Kv1(engine) => engine.answer(call),
            Engine::Kv2(engine) => engine.answer(call),
            Engine::Pki(engine) => {
                let answer = engine.answer(call);
                *minted = call.path.starts_with("issue/") && answer.is_ok();
                answer
            }
            Engine::Database(engine) => {
                let answer = engine.answer(call);
                *minted = call.path.starts_with("creds/") && answer.is_ok();
                answer
            }
            Engine::AppRole(engine) => engine.answer(call),
            Engine::Userpass(engine) => engine.answer(call),
            Engine::Cert(engine) => engine.answer(call),
            Engine::Tokens => self.token_call(call),
            Engine::System => self.system_call(call),
        };
        let answer = match answer? {
            Answer::Login(login) => self.log_in(*login, call),
            Answer::Leased(leased) => self.lease(*leased, call),
            answer => Ok(answer),
        };
        answer.map(|answer| ignored(answer, path, call))
    }
}

/// Adds the warning about fields of a body that nothing reads, where the double knows the fields.
fn ignored(mut answer: Answer, path: &str, call: &Call) -> Answer {
    let known: &[&str] = match (path, call.op) {
        ("auth/token/renew-self", _) => &["increment", "token"],
        ("sys/leases/renew", _) => &["lease_id", "increment", "url_lease_id"],
        _ if path.starts_with("auth/") && path.ends_with("/login") => &["role_id", "secret_id", "name", "password"],
        _ => return answer,
    };
    if let Answer::Secret(_, secret) = &mut answer {
        let unknown: Vec<&str> = call.body.keys().map(String::as_str).filter(|field| !known.contains(field)).collect();
        if !unknown.is_empty() {
            secret.warnings.push(format!("Endpoint ignored these unrecognized parameters: [{}]", unknown.join(" ")));
        }
    }
    answer
}

fn operation(request: &Request) -> Result<Op, Refusal> {
    let listed = request.query.get("list").is_some_and(|list| list == "true");
    let op = match request.method.as_str() {
        "GET" if listed => Op::List,
        "GET" | "HEAD" => Op::Read,
        "LIST" => Op::List,
        "POST" | "PUT" => Op::Write,
        "DELETE" => Op::Delete,
        "PATCH" if request.content_type != "application/merge-patch+json" => {
            return Err(refuse(415, "PATCH requires Content-Type of application/merge-patch+json"));
        }
        "PATCH" => Op::Patch,
        _ => return Err(refuse(405, "method not allowed")),
    };
    if op == Op::Write && request.path.ends_with('/') {
        return Err(refuse(400, "cannot write to a path ending in '/'"));
    }
    Ok(op)
}

fn fields(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(body).map_err(|error| refuse(400, format!("error parsing JSON: {error}")))
}
