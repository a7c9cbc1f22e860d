//! A stateful double of Vault's HTTP API, and of OpenBao's where the two differ. It is shown to be one by `tests/vault`, whose
//! contract suite runs against it always, and against a real server where one is named.
//!
//! Simulated: the envelope and the errors; KV 1 and 2; AppRole, userpass, and client certificates; tokens with their tree;
//! leases; a database engine together with the one service that checks its users; PKI; response wrapping; policies;
//! namespaces; health, seal, mounts, auth methods. One clock moves all of it. Faults strike before or after what is asked is
//! done, and every request is logged.
//!
//! Not simulated: storage, audit, plugins and their own configuration (`database/config/NAME` accepts anything), cubbyholes,
//! entities and groups, the leases of tokens, control groups, MFA, quotas (429 is a fault), tuning, `rewrap`, subkeys, `metadata_cas`, CRLs and the
//! signing of foreign requests, policy parameters and templates, whether a write creates or updates, clusters (a standby is a
//! health code, a stale read, a redirection), limits of mounts. A chain of client certificates is verified by TLS against the
//! authority that the double was given, and the `cert` method compares names alone. Addresses that a role is bound to
//! are compared with 127.0.0.1 by eye.
//!
//! ```ignore
//! let vault = Vault::start().await;
//! vault.write("secret/data/db", json!({ "data": { "value": "s3cret" } }));
//! vault.inject(Rule::on("GET", "secret/").times(2), Fault::Html503);
//! // ... GET {vault.address}/v1/secret/data/db with X-Vault-Token: {vault.root_token}
//! assert_eq!(vault.count(|entry| entry.path == "secret/data/db"), 3);
//! ```
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each executable uses some")]

mod call;
mod database;
mod faults;
mod kv;
mod leases;
mod login;
mod pki;
mod policy;
mod reply;
mod route;
mod serve;
mod setup;
mod state;
mod sys;
mod tokens;
mod ttl;
mod values;
mod wrapping;

use std::fmt;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use self::faults::Injected;
pub use self::faults::{Asked, Denial, Fault, Rule};
use self::serve::{Clock, Inner, Shared};
pub use self::setup::RoleSecret;
use self::state::State;

/// Whose habits are followed where they differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flavour {
    /// OpenBao 2.6: a dead token is `permission denied`.
    #[default]
    OpenBao,
    /// Vault 1.20: a dead token is `2 errors occurred`, the envelope names the engine, and health says
    /// `performance_standby`.
    Vault,
}

/// How the double's clock goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Time {
    /// It stands still until it is advanced.
    #[default]
    Still,
    /// It goes with tokio's: the real one, or a paused test's virtual one. On a thread of its own: the real one.
    Running,
}

/// What the server is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// 200.
    Active,
    /// 429; it forwards, so all else is answered as ever.
    Standby,
    /// 473; it forwards.
    PerformanceStandby,
    /// 474; all else is 503.
    CutOff,
    /// 472.
    DrSecondary,
    /// 501; all else is 503.
    Uninitialized,
}

/// TLS at the listener.
#[derive(Clone)]
pub struct Tls {
    /// For `localhost`.
    pub cert_pem: String,
    /// Its key.
    pub key_pem: String,
    /// Whose client certificates are accepted; they are asked for, and need not come. None: nobody is asked.
    pub clients: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("clients", &self.clients.is_some()).finish_non_exhaustive()
    }
}

/// How a double is started.
#[derive(Debug, Clone)]
pub struct Options {
    pub flavour: Flavour,
    pub time: Time,
    /// What its clock starts at; none: this machine's time.
    pub starts_at: Option<Timestamp>,
    /// Before `/v1/`, as behind a proxy: `/vault`.
    pub prefix: String,
    pub tls: Option<Tls>,
    /// The longest body of a request, in bytes; above: 413.
    pub max_body: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            flavour: Flavour::default(),
            time: Time::default(),
            starts_at: None,
            prefix: String::new(),
            tls: None,
            max_body: 32 << 20,
        }
    }
}

/// A request that the double has received over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1.
    pub number: u64,
    /// On the double's clock.
    pub at: Timestamp,
    pub method: String,
    /// Without `/v1/`, without a query.
    pub path: String,
    /// With its slash; empty: the root's.
    pub namespace: String,
    /// Of the token that asked, where that was alive.
    pub accessor: Option<String>,
    /// What was sent; none: nothing.
    pub status: Option<u16>,
    /// An attempt to log in, with success or without.
    pub login: bool,
    /// It has made a user or a certificate, whatever was sent.
    pub minted: bool,
    /// A fault has struck it.
    pub fault: bool,
}

/// A running double. It ends, with its connections, when it is dropped.
#[derive(Debug)]
pub struct Vault {
    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`, with the prefix.
    pub address: String,
    pub root_token: String,
    pub unseal_key: String,
    shared: Arc<Shared>,
    _running: Running,
}

#[derive(Debug)]
enum Running {
    Here(#[expect(dead_code, reason = "its drop ends it")] JoinSet<()>),
    Thread(Thread),
}

#[derive(Debug)]
struct Thread {
    stop: Option<oneshot::Sender<()>>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of it has been printed, and one more while panicking would hide it.
        let _ended = self.handle.take().map(JoinHandle::join);
    }
}

#[expect(clippy::disallowed_methods, reason = "the double starts at the machine's time, and no decision rests on it")]
fn machine_time() -> Timestamp {
    Timestamp::now()
}

impl Vault {
    /// One in the caller's runtime, on a clock that stands still.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// One in the caller's runtime.
    pub async fn start_with(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (shared, root_token, unseal_key) = shared(&options);
        let tls = options.tls.as_ref().map(serve::acceptor);
        let mut running = JoinSet::new();
        running.spawn(serve::serve(listener, tls, Arc::clone(&shared)));
        let address = address(&options, port);
        Self { address, root_token, unseal_key, shared, _running: Running::Here(running) }
    }

    /// One with a thread and a runtime of its own, for tests that block.
    pub fn on_a_thread() -> Self {
        Self::on_a_thread_with(Options::default())
    }

    /// One with a thread and a runtime of its own.
    #[expect(clippy::needless_pass_by_value, reason = "as the other one takes them")]
    pub fn on_a_thread_with(options: Options) -> Self {
        let (shared, root_token, unseal_key) = shared(&options);
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, port) = mpsc::channel();
        let (served, tls) = (Arc::clone(&shared), options.tls.as_ref().map(serve::acceptor));
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                ready.send(listener.local_addr().expect("an address").port()).expect("the starter waits");
                tokio::select! {
                    () = serve::serve(listener, tls, served) => {}
                    _ = stopped => {}
                }
            });
        };
        let handle = thread::Builder::new().name("vault double".into()).spawn(run).expect("a thread");
        let address = address(&options, port.recv().expect("it listens"));
        let thread = Thread { stop: Some(stop), handle: Some(handle) };
        Self { address, root_token, unseal_key, shared, _running: Running::Thread(thread) }
    }

    /// Moves the clock on; what ends on the way has ended when this returns.
    pub fn advance(&self, by: Duration) {
        let mut inner = self.shared.lock();
        inner.clock.advanced += by;
        let now = inner.clock.now();
        inner.state.pass(now);
    }

    /// The time on its clock.
    pub fn now(&self) -> Timestamp {
        self.shared.lock().clock.now()
    }

    /// From now on this goes wrong where the rule says; of several rules that fit, the oldest that is not spent counts.
    pub fn inject(&self, rule: Rule, fault: Fault) {
        let mut inner = self.shared.lock();
        let injected = Injected::new(rule, fault, &inner.state);
        inner.faults.push(injected);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.shared.lock().faults.clear();
    }

    /// As an operator would.
    pub fn seal(&self) {
        self.shared.lock().state.sealed = true;
    }

    /// As an operator would.
    pub fn unseal(&self) {
        self.shared.lock().state.sealed = false;
    }

    /// Gives it another place in its cluster.
    pub fn role(&self, role: Role) {
        self.shared.lock().state.role = role;
    }

    /// The requests received over HTTP, oldest first.
    pub fn requests(&self) -> Vec<Entry> {
        self.shared.lock().log.clone()
    }

    /// How many of them are such.
    pub fn count(&self, such: impl Fn(&Entry) -> bool) -> usize {
        self.shared.lock().log.iter().filter(|entry| such(entry)).count()
    }

    /// Attempts to log in, with success or without.
    pub fn logins(&self) -> usize {
        self.count(|entry| entry.login)
    }

    /// Requests that have made a user or a certificate, whether the reply arrived or not.
    pub fn mints(&self) -> usize {
        self.count(|entry| entry.minted)
    }

    /// Empties the log.
    pub fn forget_requests(&self) {
        self.shared.lock().log.clear();
    }

    /// Waits until a request has made this hold. It has no end of its own.
    pub async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut told = self.shared.told.subscribe();
        while !holds(self) {
            told.changed().await.expect("the double holds the sender");
        }
    }
}

fn address(options: &Options, port: u16) -> String {
    match options.tls {
        Some(_) => format!("https://localhost:{port}{}", options.prefix),
        None => format!("http://127.0.0.1:{port}{}", options.prefix),
    }
}

fn shared(options: &Options) -> (Arc<Shared>, String, String) {
    let (root_token, unseal_key) = (format!("root.{}", values::random(24)), values::random(44));
    let start = options.starts_at.unwrap_or_else(machine_time);
    let running = (options.time == Time::Running).then(tokio::time::Instant::now);
    let inner = Inner {
        state: State::new(options.flavour, &root_token, &unseal_key, start),
        clock: Clock { start, running, advanced: Duration::ZERO },
        faults: Vec::new(),
        log: Vec::new(),
        received: 0,
    };
    let shared = Shared {
        inner: Mutex::new(inner),
        told: watch::Sender::new(0),
        prefix: options.prefix.clone(),
        max_body: options.max_body,
    };
    (Arc::new(shared), root_token, unseal_key)
}
