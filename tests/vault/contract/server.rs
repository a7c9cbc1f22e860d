//! A server under test, by raw HTTP.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::vault::{Flavour, Options, Time, Vault};

pub struct Server {
    address: String,
    pub token: String,
    client: Client,
    /// What to delete at the end.
    made: RefCell<Vec<String>>,
    /// Ends with the test.
    _double: Option<Vault>,
}

/// A request being made.
pub struct Ask(RequestBuilder);

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Null where there is none.
    pub body: Value,
}

impl Server {
    pub async fn double(flavour: Flavour) -> Self {
        let vault = Vault::start_with(Options { flavour, time: Time::Running, ..Options::default() }).await;
        Self::at(vault.address.clone(), vault.root_token.clone(), Some(vault))
    }

    /// The one that the environment names.
    pub fn real() -> Option<Self> {
        let (address, token) = (std::env::var("IASO_TEST_VAULT_ADDR"), std::env::var("IASO_TEST_VAULT_TOKEN"));
        Some(Self::at(address.ok()?.trim_end_matches('/').to_owned(), token.ok()?, None))
    }

    fn at(address: String, token: String, double: Option<Vault>) -> Self {
        let client = Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { address, token, client, made: RefCell::default(), _double: double }
    }

    /// A request as root.
    pub fn ask(&self, method: &str, path: &str) -> Ask {
        self.ask_as(&self.token, method, path)
    }

    /// A request with this token.
    pub fn ask_as(&self, token: &str, method: &str, path: &str) -> Ask {
        let Ask(request) = self.ask_anonymously(method, path);
        Ask(request.header("X-Vault-Token", token))
    }

    /// A request without a token.
    pub fn ask_anonymously(&self, method: &str, path: &str) -> Ask {
        Ask(self.client.request(method.parse().unwrap(), format!("{}/v1/{path}", self.address)))
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path).send().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask("POST", path).json(body).send().await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.ask("DELETE", path).send().await
    }

    /// A name that nothing else has.
    pub fn name(&self) -> String {
        static LAST: AtomicU64 = AtomicU64::new(0);
        format!("iaso-test-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed))
    }

    /// An engine of its own; where it is mounted.
    pub async fn engine(&self, body: Value) -> String {
        let name = self.name();
        let versioned = body["options"]["version"] == "2";
        self.made.borrow_mut().push(format!("sys/mounts/{name}"));
        self.post(&format!("sys/mounts/{name}"), body).await.is(204);
        // A real one prepares its versions for a moment.
        while versioned && self.get(&format!("{name}/config")).await.status == 400 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        name
    }

    pub async fn kv2(&self) -> String {
        self.engine(json!({ "type": "kv", "options": { "version": "2" } })).await
    }

    /// An auth method of its own; where it is mounted (`auth/NAME`).
    pub async fn auth(&self, kind: &str) -> String {
        let name = self.name();
        self.made.borrow_mut().push(format!("sys/auth/{name}"));
        self.post(&format!("sys/auth/{name}"), json!({ "type": kind })).await.is(204);
        format!("auth/{name}")
    }

    /// A policy of its own that allows this on a path.
    pub async fn policy(&self, path: &str, capabilities: &[&str]) -> String {
        let name = self.name();
        self.made.borrow_mut().push(format!("sys/policies/acl/{name}"));
        let policy = json!({ "path": { path: { "capabilities": capabilities } } }).to_string();
        self.post(&format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await.is(204);
        name
    }

    /// A token with these fields; where they name no policy, with the default one alone.
    pub async fn token_with(&self, mut fields: Value) -> String {
        if fields.get("policies").is_none() {
            fields["policies"] = json!(["default"]);
        }
        text(&self.post("auth/token/create", fields).await.is(200).body["auth"]["client_token"])
    }

    /// An authority with a role `web` whose certificates have leases; where it is mounted.
    pub async fn leasing_pki(&self) -> String {
        let pki = self.engine(json!({ "type": "pki" })).await;
        let root = json!({ "common_name": "iaso-test", "ttl": "24h" });
        self.post(&format!("{pki}/root/generate/internal"), root).await.is(200);
        let role = json!({ "allow_any_name": true, "max_ttl": "1h", "generate_lease": true, "key_type": "ec", "key_bits": 256 });
        let made = self.post(&format!("{pki}/roles/web"), role).await.status;
        assert!(made == 200 || made == 204, "{made}");
        pki
    }

    /// Removes what the test has made; what is left nonetheless.
    pub async fn clean(&self) -> Vec<String> {
        let mut left = Vec::new();
        for path in self.made.take() {
            self.delete(&path).await;
            if self.get(&path).await.status == 200 {
                left.push(path);
            }
        }
        left
    }
}

impl Ask {
    #[expect(clippy::needless_pass_by_value, reason = "reads as a request")]
    pub fn json(self, body: Value) -> Self {
        Self(self.0.header("Content-Type", "application/json").body(body.to_string()))
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads as a request")]
    pub fn merge_patch(self, body: Value) -> Self {
        Self(self.0.header("Content-Type", "application/merge-patch+json").body(body.to_string()))
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    pub async fn send(self) -> Reply {
        let response = self.0.send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Reply { status, body }
    }
}

impl Reply {
    /// Asserts its status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// Asserts its status, and that its one error holds these words.
    #[track_caller]
    pub fn fails(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body.as_object().unwrap().len(), 1, "{}", self.body);
        let errors = self.body["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{}", self.body);
        assert!(errors[0].as_str().unwrap().contains(words), "{}", self.body);
    }

    /// Asserts a 404 that tells nothing.
    #[track_caller]
    pub fn finds_nothing(&self) {
        assert_eq!((self.status, &self.body), (404, &json!({ "errors": [] })));
    }

    /// Asserts no body.
    #[track_caller]
    pub fn is_empty(&self, status: u16) {
        assert_eq!((self.status, &self.body), (status, &Value::Null));
    }

    /// Asserts that a token is dead; the shape of either server.
    #[track_caller]
    pub fn is_of_a_dead_token(&self) {
        let shapes = ["permission denied", "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"];
        assert_eq!(self.status, 403, "{}", self.body);
        assert!(shapes.iter().any(|shape| self.body == json!({ "errors": [shape] })), "{}", self.body);
    }

    /// Asserts that no policy allows it.
    #[track_caller]
    pub fn is_denied(&self) {
        let shape = "1 error occurred:\n\t* permission denied\n\n";
        assert_eq!((self.status, &self.body), (403, &json!({ "errors": [shape] })));
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Asks again until the reply is such; in vain: it fails after half a minute.
pub async fn until(ask: impl AsyncFn() -> Reply, such: impl Fn(&Reply) -> bool) -> Reply {
    let asking = async {
        loop {
            let reply = ask().await;
            if such(&reply) {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("it comes about")
}
