//! Everything that the server knows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::database::Database;
use super::kv::{Kv1, Kv2};
use super::leases::Lease;
use super::login::{AppRole, Cert, TokenParams, Userpass};
use super::pki::Pki;
use super::policy::{self, Policy};
use super::tokens::Token;
use super::values::{random, uuid};
use super::wrapping::Wrapped;
use super::{Flavour, Role};

/// The server.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub flavour: Flavour,
    pub sealed: bool,
    pub role: Role,
    pub unseal_key: String,
    pub tokens: BTreeMap<String, Token>,
    pub leases: BTreeMap<String, Lease>,
    pub wrapped: BTreeMap<String, Wrapped>,
    /// The namespaces, by path with its slash; the root's is empty.
    pub spaces: BTreeMap<String, Space>,
}

/// A namespace.
#[derive(Debug, Clone)]
pub(super) struct Space {
    /// By path with its slash: `secret/`, `auth/approle/`.
    pub mounts: BTreeMap<String, Mount>,
    pub policies: BTreeMap<String, Policy>,
}

/// An engine and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Mount {
    pub kind: String,
    pub options: Option<Map<String, Value>>,
    pub description: String,
    pub accessor: String,
    pub uuid: String,
    pub engine: Engine,
}

#[derive(Debug, Clone)]
pub(super) enum Engine {
    Kv1(Kv1),
    Kv2(Kv2),
    Database(Database),
    Pki(Box<Pki>),
    AppRole(AppRole),
    Userpass(Userpass),
    Cert(Cert),
    Tokens,
    System,
}

impl Space {
    pub(super) fn new() -> Self {
        let default = Policy::parse(policy::DEFAULT).expect("a policy");
        let system = Mount::new("system", Engine::System);
        let tokens = Mount::new("token", Engine::Tokens);
        Self {
            mounts: BTreeMap::from([("sys/".to_owned(), system), ("auth/token/".to_owned(), tokens)]),
            policies: BTreeMap::from([("default".to_owned(), default)]),
        }
    }

    /// How a role of an auth mount wants its tokens now; none: it is gone.
    pub(super) fn role_params(&self, mount: &str, role: &str) -> Option<&TokenParams> {
        match &self.mounts.get(mount)?.engine {
            Engine::AppRole(engine) => engine.roles.get(role).map(|role| &role.params),
            Engine::Userpass(engine) => engine.users.get(role).map(|user| &user.params),
            Engine::Cert(engine) => engine.roles.get(role).map(|role| &role.params),
            _ => None,
        }
    }

    /// The mount that a path is under.
    pub(super) fn mount_of(&self, path: &str) -> Option<&str> {
        let under = |mount: &&String| path.starts_with(mount.as_str()) || format!("{path}/") == **mount;
        self.mounts.keys().filter(under).max_by_key(|mount| mount.len()).map(String::as_str)
    }
}

impl Mount {
    pub(super) fn new(kind: &str, engine: Engine) -> Self {
        Self {
            kind: kind.to_owned(),
            options: None,
            description: String::new(),
            accessor: format!("{kind}_{}", random(8).to_lowercase()),
            uuid: uuid(),
            engine,
        }
    }
}

impl State {
    pub(super) fn new(flavour: Flavour, root_token: &str, unseal_key: &str, now: Timestamp) -> Self {
        let mut root = Space::new();
        let mut secret = Mount::new("kv", Engine::Kv2(Kv2::default()));
        secret.options = Some(Map::from_iter([("version".to_owned(), "2".into())]));
        root.mounts.insert("secret/".into(), secret);
        Self {
            flavour,
            sealed: false,
            role: Role::Active,
            unseal_key: unseal_key.to_owned(),
            tokens: BTreeMap::from([(root_token.to_owned(), Token::root(root_token, now))]),
            leases: BTreeMap::new(),
            wrapped: BTreeMap::new(),
            spaces: BTreeMap::from([(String::new(), root)]),
        }
    }

    /// Lets what has ended by now end.
    pub(super) fn pass(&mut self, now: Timestamp) {
        let ended = |token: &&Token| token.expires.is_some_and(|at| at <= now);
        let dead: Vec<String> = self.tokens.values().filter(ended).map(|token| token.id.clone()).collect();
        dead.iter().for_each(|id| self.revoke_token(id));
        self.revoke_leases(|lease| lease.expires <= now);
        self.wrapped.retain(|_, wrapped| wrapped.expires > now);
        for mount in self.spaces.values_mut().flat_map(|space| space.mounts.values_mut()) {
            if let Engine::Database(database) = &mut mount.engine {
                database.rotate(now);
            }
        }
    }
}
