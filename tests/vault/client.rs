//! Iaso's own client against the double: each way to log in, each call, each fault at each of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use iaso::config::secret::Secret;
use iaso::config::validated::{Auth, ClientIdentity, SecretFrom, Source, Vault as Settings};
use iaso::credentials::provider::{Failure, Fields, Provider};
use iaso::credentials::vault::Vault as Client;
use iaso::system::clock::Clock;
use iaso::system::meters::Meters;
use iaso::system::resolver::Resolver;
use iaso_policy::credential::Fault as Class;
use libtest_mimic::Trial;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::authority::{Authority, Valid};
use crate::support::{Need, test};
use crate::vault::{Denial, Fault, Flavour, Options, Role, Rule, Tls, Vault};
use crate::wait;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("client::", stringify!($name)), &[Need::Nothing], || { wait($name()); Ok(()) })),+]
        };
    }
    suite![
        each_method_logs_in,
        a_wrapped_secret_id_serves_once,
        a_token_lives_and_dies,
        versions_are_written_and_deleted,
        what_is_lent_is_renewed_and_revoked,
        each_fault_at_each_step_has_its_class,
        what_was_carried_out_is_not_repeated,
        a_read_outlasts_a_short_fault,
        a_private_authority_and_a_client_certificate,
        a_namespace_and_a_prefix,
        a_token_follows_no_redirect_to_another_host,
        a_role_in_the_cluster_is_told,
        nothing_waits_longer_than_the_server_is_down,
    ]
}

const SECOND: Duration = Duration::from_secs(1);

fn text(text: &str) -> SecretFrom {
    SecretFrom::Text(Secret::new(text))
}

/// One try fits into the time, and not the wait before a second.
fn settings(address: &str, auth: Auth) -> Settings {
    Settings {
        address: address.to_owned(),
        namespace: None,
        roots: Vec::new(),
        identity: None,
        server_name: None,
        timeout: Duration::from_millis(900),
        auth,
        keep: false,
        logins_per_hour: 10,
    }
}

fn client(settings: &Settings) -> Client {
    let clock = Clock::new();
    Client::new(settings, &Resolver::system(clock), Meters::new(clock)).unwrap()
}

/// Logged in as root.
async fn root(vault: &Vault) -> Client {
    let client = client(&settings(&vault.address, Auth::Token(text(&vault.root_token))));
    client.login().await.unwrap();
    client
}

fn approle(vault: &Vault, role: &str) -> Auth {
    let role = vault.approle(role, json!({ "token_ttl": "1h", "token_max_ttl": "4h", "token_policies": ["app"] }));
    Auth::AppRole {
        mount: "approle".to_owned(),
        role_id: text(&role.role_id),
        secret_id: Some(text(&role.secret_id)),
        wrapped_at: None,
    }
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

fn class<T>(result: Result<T, Failure>) -> Result<T, Class> {
    result.map_err(|failure| failure.fault)
}

async fn each_method_logs_in() {
    let vault = Vault::start().await;
    vault.userpass("bob", "hunter2", json!({ "token_ttl": "30m" }));
    let userpass = |password: &str| Auth::Userpass {
        mount: "userpass".to_owned(),
        username: "bob".to_owned(),
        password: text(password),
    };
    let made = vault.token(json!({ "ttl": "2h", "renewable": false }));
    for (auth, ttl, renewable) in [
        (approle(&vault, "web"), Some(3600), true),
        (userpass("hunter2"), Some(1800), true),
        (Auth::Token(text(&made)), Some(7200), false),
        (Auth::Token(text(&vault.root_token)), None, false),
    ] {
        let client = client(&settings(&vault.address, auth));
        let login = client.login().await.unwrap();
        assert_eq!((login.token.ttl, login.token.renewable), (ttl.map(Duration::from_secs), renewable));
        assert!(!login.token.accessor.is_empty() && !login.token.policies.is_empty());
        assert_eq!(client.lookup_self().await.unwrap().accessor, login.token.accessor);
    }
    assert_eq!(vault.logins(), 2);
    let wrong = client(&settings(&vault.address, userpass("hunter3")));
    let failure = wrong.login().await.unwrap_err();
    assert_eq!(failure.fault, Class::Refused);
    assert!(failure.words.contains("invalid username or password") && !failure.words.contains("hunter"), "{failure}");
    let dead = client(&settings(&vault.address, Auth::Token(text("hvs.dead"))));
    assert_eq!(class(dead.login().await), Err(Class::Denied));
    assert!(!wrong.is_logged_in() && !dead.is_logged_in());
}

/// Has a new secret-id made, in a wrapping; the wrapping's token.
async fn wrapped(vault: &Vault, role: &str) -> String {
    let asked = reqwest::Client::new().post(format!("{}/v1/auth/approle/role/{role}/secret-id", vault.address));
    let asked = asked.header("x-vault-token", &vault.root_token).header("x-vault-wrap-ttl", "10m");
    let answer = asked.send().await.unwrap().bytes().await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    answer["wrap_info"]["token"].as_str().unwrap().to_owned()
}

async fn a_wrapped_secret_id_serves_once() {
    let vault = Vault::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("wrapped");
    let Auth::AppRole { role_id, .. } = approle(&vault, "web") else { panic!("AppRole") };
    approle(&vault, "other");
    let auth = Auth::AppRole {
        mount: "approle".to_owned(),
        role_id,
        secret_id: Some(SecretFrom::File(file.clone())),
        wrapped_at: Some("auth/approle/role/web/secret-id".to_owned()),
    };
    let first = client(&settings(&vault.address, auth.clone()));
    let wrapping = wrapped(&vault, "web").await;
    std::fs::write(&file, format!("{wrapping}\n")).unwrap();
    vault.forget_requests();
    for _ in 0..3 {
        first.login().await.unwrap();
    }
    assert_eq!(vault.count(|asked| asked.path == "sys/wrapping/unwrap"), 1);
    assert_eq!(vault.logins(), 3);

    // Somebody else comes later, or came before.
    let second = client(&settings(&vault.address, auth.clone()));
    assert_eq!(class(second.login().await), Err(Class::Tampered));
    // It was made for another role: nothing is opened.
    std::fs::write(&file, wrapped(&vault, "other").await).unwrap();
    vault.forget_requests();
    assert_eq!(class(second.login().await), Err(Class::Tampered));
    assert_eq!(vault.count(|asked| asked.path == "sys/wrapping/unwrap"), 0);
    // The next good one is taken.
    std::fs::write(&file, wrapped(&vault, "web").await).unwrap();
    second.login().await.unwrap();
    first.login().await.unwrap_err();
    // An answer that is lost may have opened it.
    std::fs::write(&file, wrapped(&vault, "web").await).unwrap();
    vault.inject(Rule::on("*", "sys/wrapping/unwrap").after_commit().once(), Fault::Drop);
    assert_eq!(class(second.login().await), Err(Class::Ambiguous));
    assert_eq!(class(second.login().await), Err(Class::Tampered));
}

async fn a_token_lives_and_dies() {
    for flavour in [Flavour::OpenBao, Flavour::Vault] {
        let vault = Vault::start_with(Options { flavour, ..Options::default() }).await;
        let client = client(&settings(&vault.address, approle(&vault, "web")));
        client.login().await.unwrap();
        vault.advance(600 * SECOND);
        assert_eq!(client.lookup_self().await.unwrap().ttl, Some(3000 * SECOND));
        assert_eq!(client.renew_self(7200 * SECOND).await.unwrap().ttl, Some(7200 * SECOND));
        // No longer than its longest life.
        vault.advance(7000 * SECOND);
        let left = client.renew_self(14400 * SECOND).await.unwrap().ttl;
        assert_eq!(left, Some((14400 - 7600) * SECOND));
        client.revoke_self().await.unwrap();
        assert!(!client.is_logged_in());
        client.login().await.unwrap();
        vault.advance(3601 * SECOND);
        for dead in [class(client.lookup_self().await), class(client.renew_self(SECOND).await)] {
            assert_eq!(dead.map(|_| ()), Err(Class::Denied));
        }
        assert_eq!(class(client.kv2_read("secret", "x", None).await), Err(Class::Denied));
        client.login().await.unwrap();
        assert_eq!(class(client.kv2_read("secret", "x", None).await), Err(Class::Denied), "its policy");
        assert!(client.lookup_self().await.is_ok());
    }
}

async fn versions_are_written_and_deleted() {
    let vault = Vault::start().await;
    let client = root(&vault).await;
    let (mount, path) = ("secret", "services/web/api");
    let read = async |version| class(client.kv2_read(mount, path, version).await).map(|found| found.fields);
    assert_eq!(read(None).await, Err(Class::NotFound));
    assert_eq!(class(client.kv2_metadata(mount, path).await), Err(Class::NotFound));
    let (one, two) = (fields(&[("value", "one")]), fields(&[("value", "two"), ("note", "")]));
    assert_eq!(class(client.kv2_write(mount, path, &one, 0).await), Ok(1));
    assert_eq!(class(client.kv2_write(mount, path, &two, 0).await), Err(Class::Conflict));
    assert_eq!(class(client.kv2_write(mount, path, &two, 1).await), Ok(2));
    assert_eq!(read(None).await, Ok(two.clone()));
    assert_eq!(read(Some(1)).await, Ok(one.clone()));
    assert_eq!(read(Some(3)).await, Err(Class::NotFound));

    vault.delete(&format!("secret/data/{path}"));
    assert_eq!(read(None).await, Err(Class::Deleted));
    assert_eq!(class(client.kv2_write(mount, path, &one, 0).await), Err(Class::Conflict), "deleted is not new");
    vault.write(&format!("secret/destroy/{path}"), json!({ "versions": [1] }));
    assert_eq!(read(Some(1)).await, Err(Class::Deleted));
    let metadata = client.kv2_metadata(mount, path).await.unwrap();
    assert_eq!((metadata.current_version, metadata.custom.len()), (2, 0));
    let now = vault.now().as_second();
    assert!(metadata.versions[&1].destroyed && !metadata.versions[&2].destroyed);
    assert!(!metadata.versions[&2].is_readable(now) && metadata.versions[&2].is_readable(now - 1));
    assert_eq!(class(client.kv2_write(mount, path, &one, 2).await), Ok(3));
    vault.write(&format!("secret/undelete/{path}"), json!({ "versions": [2] }));
    assert_eq!(read(Some(2)).await, Ok(two.clone()));

    // Numbers stay numbers beside what changes.
    vault.write("secret/data/typed", json!({ "data": { "port": 5432, "value": "old" } }));
    let changed = fields(&[("port", "5432"), ("value", "new")]);
    assert_eq!(class(client.kv2_write(mount, "typed", &changed, 1).await), Ok(2));
    let stored = vault.read("secret/data/typed").unwrap();
    assert_eq!(stored["data"]["data"], json!({ "port": 5432, "value": "new" }));

    // A deletion that lies ahead.
    vault.write("secret/metadata/brief", json!({ "delete_version_after": "1h" }));
    assert_eq!(class(client.kv2_write(mount, "brief", &one, 0).await), Ok(1));
    assert!(client.kv2_read(mount, "brief", None).await.is_ok());
    let version = client.kv2_metadata(mount, "brief").await.unwrap().versions[&1];
    assert_eq!(version.deleted_at, Some(now + 3600));
    vault.advance(3601 * SECOND);
    assert_eq!(class(client.kv2_read(mount, "brief", None).await), Err(Class::Deleted));

    // Notes of others stay.
    vault
        .write(&format!("secret/metadata/{path}"), json!({ "custom_metadata": { "owner": "ann" }, "max_versions": 7 }));
    let note = |value: Option<&str>| BTreeMap::from([("current".to_owned(), value.map(str::to_owned))]);
    client.kv2_annotate(mount, path, &note(Some("3"))).await.unwrap();
    let metadata = client.kv2_metadata(mount, path).await.unwrap();
    let expected = [("current", "3"), ("owner", "ann")];
    assert!(metadata.custom.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));
    assert_eq!(metadata.max_versions, 7);
    client.kv2_annotate(mount, path, &note(None)).await.unwrap();
    assert_eq!(client.kv2_metadata(mount, path).await.unwrap().custom.len(), 1);
    assert_eq!(class(client.kv2_annotate(mount, "none", &note(Some("1"))).await), Err(Class::NotFound));

    // The wrong version of the engine is told in the server's words.
    let kv1 = Source::Kv1 { mount: mount.to_owned(), path: path.to_owned() };
    let failure = client.read(&kv1).await.unwrap_err();
    assert!(failure.fault == Class::NotFound && failure.words.contains("versioned"), "{failure}");
    assert_eq!(client.mount_of("secret/x").await.unwrap().version, Some(2));
    assert_eq!(class(client.mount_of("nothing/x").await), Err(Class::Denied));
}

async fn what_is_lent_is_renewed_and_revoked() {
    let vault = Vault::start().await;
    let client = root(&vault).await;
    vault.database("app", json!({ "default_ttl": "1h", "max_ttl": "3h" }));
    let dynamic = Source::Dynamic { path: "database/creds/app".to_owned() };
    let found = client.read(&dynamic).await.unwrap();
    let accepts = || vault.database_accepts(found.fields["username"].expose(), found.fields["password"].expose());
    let lease = found.lease.clone().unwrap();
    assert!(accepts() && lease.renewable && lease.ttl == 3600 * SECOND);
    vault.advance(3000 * SECOND);
    assert_eq!(client.renew_lease(&lease.id, 7200 * SECOND).await.unwrap().ttl, 7200 * SECOND);
    vault.advance(3600 * SECOND);
    assert_eq!(client.lookup_lease(&lease.id).await.unwrap().ttl, 3600 * SECOND);
    assert!(accepts(), "renewed");
    client.revoke_lease(&lease.id).await.unwrap();
    client.revoke_lease(&lease.id).await.unwrap();
    assert!(!accepts());
    assert_eq!(class(client.renew_lease(&lease.id, SECOND).await), Err(Class::Refused));
    assert_eq!(class(client.lookup_lease(&lease.id).await), Err(Class::Refused));
    let unknown = Source::Dynamic { path: "database/creds/none".to_owned() };
    assert_eq!(class(client.read(&unknown).await), Err(Class::Refused));

    let authority = vault.pki("web", json!({ "allow_any_name": true, "max_ttl": "72h" }));
    let request =
        BTreeMap::from([("common_name".to_owned(), "web.example".to_owned()), ("ttl".to_owned(), "24h".to_owned())]);
    let pki = Source::Pki { mount: "pki".to_owned(), role: "web".to_owned(), request };
    let found = client.read(&pki).await.unwrap();
    let left = found.not_after.unwrap() - vault.now().as_second();
    assert!((86_000..=86_500).contains(&left), "{left}");
    assert!(found.fields["private_key"].expose().contains("PRIVATE KEY"));
    assert_eq!(found.fields["issuing_ca"].expose().trim(), authority.trim());
    assert_eq!(vault.mints(), 2);

    vault.write("sys/mounts/kv1", json!({ "type": "kv", "options": { "version": "1" } }));
    vault.write("kv1/plain", json!({ "value": "a" }));
    vault.write("kv1/brief", json!({ "value": "a", "ttl": "30m" }));
    let kv1 = |path: &str| Source::Kv1 { mount: "kv1".to_owned(), path: path.to_owned() };
    let found = client.read(&kv1("plain")).await.unwrap();
    assert_eq!((found.fields, found.version, found.lease), (fields(&[("value", "a")]), None, None));
    assert_eq!(client.read(&kv1("brief")).await.unwrap().lease.unwrap().ttl, 1800 * SECOND);
}

/// Something that the client does with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Login,
    Lookup,
    Renew,
    Read,
    Write,
    Mint,
    Issue,
    RenewLease,
    RevokeLease,
    Metadata,
    Health,
}

impl Step {
    const ALL: [Self; 11] = [
        Self::Login,
        Self::Lookup,
        Self::Renew,
        Self::Read,
        Self::Write,
        Self::Mint,
        Self::Issue,
        Self::RenewLease,
        Self::RevokeLease,
        Self::Metadata,
        Self::Health,
    ];

    /// A lost answer leaves open whether there is something new.
    fn changes(self) -> bool {
        matches!(self, Self::Login | Self::Write | Self::Mint | Self::Issue)
    }

    async fn run(self, client: &Client, lease: &str) -> Result<(), Failure> {
        match self {
            Self::Login => client.login().await.map(|_| ()),
            Self::Lookup => client.lookup_self().await.map(|_| ()),
            Self::Renew => client.renew_self(60 * SECOND).await.map(|_| ()),
            Self::Read => client.kv2_read("secret", "app", None).await.map(|_| ()),
            Self::Write => {
                client.kv2_write("secret", "new", &fields(&[("value", "planted-v4lue")]), 0).await.map(|_| ())
            }
            Self::Mint => client.read(&Source::Dynamic { path: "database/creds/app".to_owned() }).await.map(|_| ()),
            Self::Issue => {
                let request = BTreeMap::from([("common_name".to_owned(), "web.example".to_owned())]);
                let pki = Source::Pki { mount: "pki".to_owned(), role: "web".to_owned(), request };
                client.read(&pki).await.map(|_| ())
            }
            Self::RenewLease => client.renew_lease(lease, 60 * SECOND).await.map(|_| ()),
            Self::RevokeLease => client.revoke_lease(lease).await,
            Self::Metadata => client.kv2_metadata("secret", "app").await.map(|_| ()),
            Self::Health => client.health().await.map(|_| ()),
        }
    }
}

/// A server with all that the steps need.
async fn furnished() -> Vault {
    let vault = Vault::start().await;
    vault.policy("app", &[("*", &["create", "read", "update", "delete", "list", "sudo"])]);
    vault.write("secret/data/app", json!({ "data": { "value": "planted-v4lue" } }));
    vault.database("app", json!({ "default_ttl": "1h", "max_ttl": "3h" }));
    vault.pki("web", json!({ "allow_any_name": true, "max_ttl": "72h" }));
    vault
}

async fn each_fault_at_each_step_has_its_class() {
    let vault = furnished().await;
    let auth = approle(&vault, "web");
    let faults: [(Fault, Class); 15] = [
        (Fault::Drop, Class::Ambiguous),
        (Fault::Hang, Class::Ambiguous),
        (Fault::Html(502), Class::Failing),
        (Fault::Html503, Class::Failing),
        (Fault::Internal500, Class::Failing),
        (Fault::Errors(503, vec!["no active Vault instance found"]), Class::Sealed),
        (Fault::MissingIndex412, Class::Failing),
        (Fault::RateLimited { retry_after: None }, Class::RateLimited { after: None }),
        (Fault::RateLimited { retry_after: Some(30) }, Class::RateLimited { after: Some(30 * SECOND) }),
        (Fault::Denied(Denial::Policy), Class::Denied),
        (Fault::Denied(Denial::DeadOpenBao), Class::Denied),
        (Fault::Denied(Denial::DeadVault), Class::Denied),
        (Fault::Sealed, Class::Sealed),
        (Fault::NotJson, Class::Malformed),
        (Fault::Huge(3 << 20), Class::Malformed),
    ];
    for step in Step::ALL {
        let prepared = client(&settings(&vault.address, auth.clone()));
        prepared.login().await.unwrap();
        let lease = prepared.read(&Source::Dynamic { path: "database/creds/app".to_owned() }).await.unwrap().lease;
        let lease = lease.unwrap().id;
        for (fault, class) in faults.clone() {
            // Its own breaker, and its own session.
            let client = client(&settings(&vault.address, auth.clone()));
            client.login().await.unwrap();
            let (mints, logins) = (vault.mints(), vault.logins());
            vault.inject(Rule::any(), fault.clone());
            let failure = step.run(&client, &lease).await.unwrap_err();
            vault.heal();
            let lost = class == Class::Malformed && step.changes();
            assert_eq!(failure.fault, if lost { Class::Ambiguous } else { class }, "{step:?} {fault:?}: {failure}");
            let shown = format!("{failure} {failure:?}");
            assert!(!shown.contains("planted") && !shown.contains("hvs."), "{shown}");
            assert!(client.is_logged_in(), "the former token stays");
            assert_eq!((vault.mints(), vault.logins()), (mints, logins + usize::from(step == Step::Login)));
        }
        // Nothing of it lasts, and what is slow is no fault.
        for slow in [Fault::Delay(SECOND / 10), Fault::Drip { bytes: 100, every: Duration::from_millis(5) }] {
            vault.delete("secret/metadata/new");
            vault.inject(Rule::any(), slow);
            step.run(&prepared, &lease).await.unwrap();
            vault.heal();
        }
        vault.delete("secret/metadata/new");
    }
}

async fn what_was_carried_out_is_not_repeated() {
    let vault = furnished().await;
    let mut patient = settings(&vault.address, approle(&vault, "web"));
    // More tries would fit into the time.
    patient.timeout = 3 * SECOND;
    for fault in [Fault::Drop, Fault::Truncate(20), Fault::Html(504), Fault::Drip { bytes: 1, every: SECOND }] {
        let client = client(&patient);
        client.login().await.unwrap();
        let (mints, logins) = (vault.mints(), vault.logins());
        vault.inject(Rule::any().after_commit(), fault.clone());
        for step in [Step::Write, Step::Mint, Step::Issue, Step::Login] {
            let failure = step.run(&client, "").await.unwrap_err();
            let open = matches!(failure.fault, Class::Ambiguous | Class::Failing);
            assert!(open, "{step:?} {fault:?}: {failure}");
        }
        vault.heal();
        assert_eq!((vault.mints(), vault.logins()), (mints + 2, logins + 1));
        assert_eq!(vault.read("secret/data/new").unwrap()["data"]["metadata"]["version"], 1);
        vault.delete("secret/metadata/new");
    }
}

async fn a_read_outlasts_a_short_fault() {
    let vault = furnished().await;
    let mut patient = settings(&vault.address, Auth::Token(text(&vault.root_token)));
    patient.timeout = 10 * SECOND;
    let client = client(&patient);
    client.login().await.unwrap();
    for (fault, tries) in [(Fault::Html503, 2), (Fault::Truncate(9), 2), (Fault::MissingIndex412, 2)] {
        vault.forget_requests();
        vault.inject(Rule::on("GET", "secret/").once(), fault);
        client.kv2_read("secret", "app", None).await.unwrap();
        assert_eq!(vault.requests().len(), tries);
    }
    // What will not pass is asked once.
    vault.forget_requests();
    vault.inject(Rule::on("GET", "secret/").once(), Fault::Denied(Denial::Policy));
    assert_eq!(class(client.kv2_read("secret", "app", None).await), Err(Class::Denied));
    vault.inject(Rule::on("GET", "secret/").once(), Fault::RateLimited { retry_after: Some(1) });
    assert!(client.kv2_read("secret", "app", None).await.is_err());
    assert_eq!(vault.requests().len(), 2);
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

async fn a_private_authority_and_a_client_certificate() {
    let (authority, other) = (Authority::new("iaso-test"), Authority::new("iaso-test-other"));
    let signed = authority.server(&["vault.internal"], Valid::Now);
    let tls = Tls { cert_pem: signed.cert, key_pem: signed.key, clients: Some(authority.pem.clone()) };
    let vault = Vault::start_with(Options { tls: Some(tls), ..Options::default() }).await;
    vault.cert_role("web", &authority.pem, json!({ "token_ttl": "1h" }));
    let own = authority.client(Valid::Now);
    let identity =
        ClientIdentity { chain: vec![der(&own.cert)], key: PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap() };
    let mut with = settings(&vault.address, Auth::Cert { mount: "cert".to_owned(), name: Some("web".to_owned()) });
    with.server_name = Some("vault.internal".to_owned());
    with.roots = vec![der(&authority.pem)];
    with.identity = Some(identity.clone());
    let good = client(&with);
    assert_eq!(good.login().await.unwrap().token.ttl, Some(3600 * SECOND));
    assert!(good.lookup_self().await.is_ok());

    with.identity = None;
    assert_eq!(class(client(&with).login().await), Err(Class::Refused), "no certificate is shown");
    let made = vault.logins();
    with.identity = Some(identity);
    with.server_name = None;
    let failure = client(&with).login().await.unwrap_err();
    assert!(failure.fault == Class::Unreachable && failure.words.contains("TLS"), "{failure}");
    with.server_name = Some("vault.internal".to_owned());
    for roots in [vec![der(&other.pem)], Vec::new()] {
        with.roots = roots;
        let failure = client(&with).login().await.unwrap_err();
        assert!(failure.fault == Class::Unreachable && failure.words.contains("TLS"), "{failure}");
    }
    // One that the server's authority has not signed: the server ends the handshake.
    let foreign = other.client(Valid::Now);
    with.roots = vec![der(&authority.pem)];
    with.identity = Some(ClientIdentity {
        chain: vec![der(&foreign.cert)],
        key: PrivateKeyDer::from_pem_slice(foreign.key.as_bytes()).unwrap(),
    });
    let failure = client(&with).login().await.unwrap_err();
    assert_eq!(failure.fault, Class::Unreachable, "{failure}");
    assert_eq!(vault.logins(), made);
}

async fn a_namespace_and_a_prefix() {
    let vault = Vault::start_with(Options { prefix: "/behind/a/proxy".to_owned(), ..Options::default() }).await;
    vault.write("sys/namespaces/team", json!({}));
    let mount = json!({ "type": "kv", "options": { "version": "2" } });
    assert!(vault.call_in("team/", "POST", "sys/mounts/secret", &mount).0 < 300);
    let mut with = settings(&vault.address, Auth::Token(text(&vault.root_token)));
    let plain = client(&with);
    with.namespace = Some("team".to_owned());
    let inside = client(&with);
    for client in [&plain, &inside] {
        client.login().await.unwrap();
    }
    inside.kv2_write("secret", "app", &fields(&[("value", "inside")]), 0).await.unwrap();
    assert_eq!(class(plain.kv2_read("secret", "app", None).await), Err(Class::NotFound));
    assert!(inside.kv2_read("secret", "app", None).await.is_ok());
    assert!(inside.health().await.is_ok());
    assert_eq!(vault.count(|asked| asked.path == "sys/health" && asked.namespace.is_empty()), 1);
    assert_eq!(vault.count(|asked| asked.namespace == "team/"), 3);
    with.namespace = Some("nobody".to_owned());
    let failure = client(&with).login().await.unwrap_err();
    assert!(failure.fault == Class::NotFound && failure.words.contains("namespace not found"), "{failure}");
}

async fn a_token_follows_no_redirect_to_another_host() {
    let (standby, active) = (furnished().await, furnished().await);
    let client = root(&standby).await;
    for step in [Step::Read, Step::Write, Step::Mint] {
        let path = match step {
            Step::Read => "secret/data/app",
            Step::Write => "secret/data/new",
            _ => "database/creds/app",
        };
        let there = Fault::Redirect(format!("{}/v1/{path}", active.address));
        standby.inject(Rule::any().once(), there);
        let failure = step.run(&client, "").await.unwrap_err();
        assert_eq!(failure.fault, Class::Standby, "{failure}");
        let here = Fault::Redirect(format!("{}/v1/{path}", standby.address));
        standby.inject(Rule::any().once(), here);
        step.run(&client, "").await.unwrap();
        standby.inject(Rule::any().once(), Fault::Redirect(format!("/v1/{path}")));
        standby.delete("secret/metadata/new");
        step.run(&client, "").await.unwrap();
    }
    assert!(active.requests().is_empty(), "nothing has arrived");
    assert_eq!(standby.mints(), 2);
}

async fn a_role_in_the_cluster_is_told() {
    let vault = Vault::start().await;
    let client = client(&settings(&vault.address, Auth::Token(text(&vault.root_token))));
    for (role, expected) in [
        (Role::Active, Ok(false)),
        (Role::Standby, Ok(true)),
        (Role::PerformanceStandby, Ok(true)),
        (Role::CutOff, Err(Class::Standby)),
        (Role::DrSecondary, Err(Class::Standby)),
        (Role::Uninitialized, Err(Class::Sealed)),
    ] {
        vault.role(role);
        assert_eq!(class(client.health().await).map(|health| health.standby), expected, "{role:?}");
    }
    vault.role(Role::Active);
    vault.seal();
    assert_eq!(class(client.health().await), Err(Class::Sealed));
    assert_eq!(class(client.login().await), Err(Class::Sealed));
    vault.unseal();
    assert!(client.health().await.unwrap().version.is_some());
    client.login().await.unwrap();
}

async fn nothing_waits_longer_than_the_server_is_down() {
    let vault = furnished().await;
    let client = root(&vault).await;
    vault.seal();
    vault.forget_requests();
    for _ in 0..50 {
        assert_eq!(class(client.kv2_read("secret", "app", None).await), Err(Class::Sealed));
    }
    assert!(vault.requests().len() <= 6, "it is left alone");
    vault.unseal();
    assert!(client.health().await.is_ok());
    assert!(client.kv2_read("secret", "app", None).await.is_ok());
}
