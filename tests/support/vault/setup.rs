//! What a test sets up and looks at, as root, past the log and the faults.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Vault;
use super::call::Request;
use super::state::Engine;

/// What logs in through AppRole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSecret {
    pub role_id: String,
    pub secret_id: String,
}

impl Vault {
    /// A call as root: its status, and its body (null where there is none).
    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call_in("", method, path, body)
    }

    /// A call as root in a namespace (with its slash; empty: the root's).
    pub fn call_in(&self, namespace: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: BTreeMap::new(),
            namespace: namespace.to_owned(),
            token: Some(self.root_token.clone()),
            wrap_ttl: None,
            content_type: "application/merge-patch+json".to_owned(),
            body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
            certificate: None,
        };
        let mut inner = self.shared.lock();
        let now = inner.clock.now();
        let reply = inner.state.handle(&request, now).reply;
        (reply.status, reply.body.unwrap_or_default())
    }

    /// A write that succeeds, and its body.
    #[expect(clippy::needless_pass_by_value, reason = "reads as a request")]
    pub fn write(&self, path: &str, body: Value) -> Value {
        let (status, reply) = self.call("POST", path, &body);
        assert!(status < 300, "POST {path}: {status} {reply}");
        reply
    }

    /// A read's body; none where nothing is (404).
    pub fn read(&self, path: &str) -> Option<Value> {
        let (status, reply) = self.call("GET", path, &Value::Null);
        assert!(status < 300 || status == 404, "GET {path}: {status} {reply}");
        (status < 300).then_some(reply)
    }

    /// A removal that succeeds.
    pub fn delete(&self, path: &str) {
        let (status, reply) = self.call("DELETE", path, &Value::Null);
        assert!(status < 300, "DELETE {path}: {status} {reply}");
    }

    /// Mounts an engine (`database`) or an auth method (`auth/approle`) under its own name, where nothing is yet.
    fn mounted(&self, at: &str) {
        if !self.shared.lock().state.spaces[""].mounts.contains_key(&format!("{at}/")) {
            let area = if at.starts_with("auth/") { "sys" } else { "sys/mounts" };
            self.write(&format!("{area}/{at}"), json!({ "type": at.trim_start_matches("auth/") }));
        }
    }

    /// A role of AppRole (mounted at `approle`), with these fields, and a secret-id of it.
    pub fn approle(&self, name: &str, fields: Value) -> RoleSecret {
        self.mounted("auth/approle");
        let role = format!("auth/approle/role/{name}");
        self.write(&role, fields);
        let role_id = self.read(&format!("{role}/role-id")).expect("the role")["data"]["role_id"].clone();
        let secret_id = self.write(&format!("{role}/secret-id"), json!({}))["data"]["secret_id"].clone();
        let text = |value: Value| value.as_str().expect("text").to_owned();
        RoleSecret { role_id: text(role_id), secret_id: text(secret_id) }
    }

    /// A user of userpass (mounted at `userpass`), with these fields of its tokens.
    pub fn userpass(&self, name: &str, password: &str, fields: Value) {
        self.mounted("auth/userpass");
        let mut fields = object(fields);
        fields.insert("password".into(), password.into());
        self.write(&format!("auth/userpass/users/{name}"), Value::Object(fields));
    }

    /// A role of the client certificates (mounted at `cert`) that this authority has signed.
    pub fn cert_role(&self, name: &str, authority_pem: &str, fields: Value) {
        self.mounted("auth/cert");
        let mut fields = object(fields);
        fields.insert("certificate".into(), authority_pem.into());
        self.write(&format!("auth/cert/certs/{name}"), Value::Object(fields));
    }

    /// A token with these fields, as `auth/token/create` takes them.
    pub fn token(&self, fields: Value) -> String {
        self.write("auth/token/create", fields)["auth"]["client_token"].as_str().expect("a token").to_owned()
    }

    /// A role of the database engine (mounted at `database`): `GET database/creds/NAME` makes a user.
    pub fn database(&self, name: &str, fields: Value) {
        self.mounted("database");
        self.write(&format!("database/roles/{name}"), fields);
    }

    /// Whether the service lets this user in: made by Vault, not revoked, not ended, with this password.
    pub fn database_accepts(&self, username: &str, password: &str) -> bool {
        self.users().get(username).is_some_and(|known| known == password)
    }

    /// The service's users.
    pub fn database_users(&self) -> Vec<String> {
        self.users().into_keys().collect()
    }

    fn users(&self) -> BTreeMap<String, String> {
        let mut inner = self.shared.lock();
        let now = inner.clock.now();
        inner.state.pass(now);
        let mounts = inner.state.spaces.values().flat_map(|space| space.mounts.values());
        let users = mounts.filter_map(|mount| match &mount.engine {
            Engine::Database(database) => Some(database.users.clone()),
            _ => None,
        });
        users.flatten().collect()
    }

    /// A role of the PKI engine (mounted at `pki`, with an authority of ten years); the authority's certificate.
    pub fn pki(&self, name: &str, fields: Value) -> String {
        self.mounted("pki");
        self.write(&format!("pki/roles/{name}"), fields);
        let made = self.write("pki/root/generate/internal", json!({ "common_name": "iaso-test", "ttl": "87600h" }));
        made["data"]["certificate"].as_str().expect("PEM").to_owned()
    }

    /// A policy: paths (`*` at the end, `+` for a segment) and what may be done there.
    pub fn policy(&self, name: &str, rules: &[(&str, &[&str])]) {
        let paths = rules.iter().map(|(path, may)| ((*path).to_owned(), json!({ "capabilities": may })));
        let policy = json!({ "path": Value::Object(paths.collect()) });
        self.write(&format!("sys/policies/acl/{name}"), json!({ "policy": policy.to_string() }));
    }
}

fn object(fields: Value) -> Map<String, Value> {
    match fields {
        Value::Object(fields) => fields,
        other => panic!("not an object: {other}"),
    }
}
