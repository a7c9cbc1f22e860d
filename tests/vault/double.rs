//! What the double alone can show: its clock, its faults, its log, its TLS, and the engines that need a service of their own.

use std::time::Duration;

use libtest_mimic::Trial;
use reqwest::{Client, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::authority::{Authority, Signed, Valid};
use crate::support::{Need, test};
use crate::vault::{Denial, Fault, Flavour, Options, Role, Rule, Time, Tls, Vault};
use crate::{wait, wait_paused};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($wait:ident; $($name:ident),+ $(,)?) => {
            vec![$(test(concat!("double::", stringify!($name)), &[Need::Nothing], || { $wait($name()); Ok(()) })),+]
        };
    }
    let mut tests = suite![wait;
        a_user_ends_with_its_lease_and_a_lease_with_its_token,
        a_lease_is_renewed_up_to_its_max_and_revoked,
        a_static_user_gets_a_new_password_in_time,
        a_login_is_renewed_up_to_its_max,
        a_lockout_ends,
        a_fault_strikes_before_or_after_what_is_asked_is_done,
        faults_look_as_they_do_on_the_wire,
        a_rule_counts_skips_and_chooses,
        a_truncated_and_a_dripping_body,
        a_stale_read_tells_what_was,
        each_role_has_its_health,
        a_sealed_server_answers_nothing_but_its_seal,
        namespaces_keep_to_themselves,
        a_path_prefix_is_before_everything,
        a_long_body_is_refused,
        a_client_certificate_logs_in,
        the_log_names_no_token_and_counts_what_was_minted,
        the_two_flavours_differ_where_they_should,
    ];
    tests.extend(suite![wait_paused;
        the_clock_goes_with_virtual_time,
        a_delay_is_virtual_too,
    ]);
    tests.push(test("double::a_thread_of_its_own_serves_who_blocks_and_ends", &[Need::Nothing], || {
        a_thread_of_its_own_serves_who_blocks_and_ends();
        Ok(())
    }));
    tests
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// One request with a token; a write has a KV body.
async fn ask(vault: &Vault, method: &str, path: &str, token: &str) -> Result<Response, reqwest::Error> {
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let request = client.request(method.parse().unwrap(), format!("{}/v1/{path}", vault.address));
    let request = request.header("x-vault-token", token);
    if method == "GET" { request } else { request.body(r#"{"data":{"value":"1"}}"#) }.send().await
}

async fn status(vault: &Vault, method: &str, path: &str, token: &str) -> u16 {
    ask(vault, method, path, token).await.unwrap().status().as_u16()
}

async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn accepts(vault: &Vault, minted: &Value) -> bool {
    vault.database_accepts(text(&minted["data"]["username"]), text(&minted["data"]["password"]))
}

async fn a_user_ends_with_its_lease_and_a_lease_with_its_token() {
    let vault = Vault::start().await;
    vault.database("app", json!({ "default_ttl": "1h", "max_ttl": "3h" }));
    vault.policy("app", &[("database/creds/app", &["read"])]);
    let token = vault.token(json!({ "policies": ["app"], "ttl": "2h" }));
    let one = json(ask(&vault, "GET", "database/creds/app", &token).await.unwrap()).await;
    assert!(accepts(&vault, &one));
    assert!(text(&one["lease_id"]).starts_with("database/creds/app/"));
    assert_eq!((&one["lease_duration"], &one["renewable"]), (&json!(3600), &json!(true)));
    vault.advance(HOUR - SECOND);
    assert!(accepts(&vault, &one));
    let lease = json!({ "lease_id": one["lease_id"], "increment": 7200 });
    assert_eq!(vault.write("sys/leases/renew", lease)["lease_duration"], 7200);
    vault.advance(HOUR);
    assert!(accepts(&vault, &one), "renewed");
    vault.advance(SECOND);
    assert!(!accepts(&vault, &one), "its token has ended");
    assert_eq!(status(&vault, "GET", "database/creds/app", &token).await, 403);
    assert_eq!((vault.mints(), vault.database_users().len()), (1, 0));
}

async fn a_lease_is_renewed_up_to_its_max_and_revoked() {
    let vault = Vault::start().await;
    vault.database("app", json!({ "default_ttl": "1h", "max_ttl": "3h" }));
    let minted = vault.read("database/creds/app").unwrap();
    vault.advance(HOUR - SECOND);
    let renewal = json!({ "lease_id": minted["lease_id"], "increment": 36_000 });
    let renewed = vault.write("sys/leases/renew", renewal.clone());
    assert_eq!(renewed["lease_duration"], 7201);
    assert_eq!((&renewed["data"], &renewed["lease_id"]), (&Value::Null, &minted["lease_id"]));
    assert!(text(&renewed["warnings"][0]).contains("exceeded the effective max_ttl of \"2h0m1s\""));
    assert_eq!(vault.call("PUT", "sys/leases/revoke", &json!({ "lease_id": minted["lease_id"] })).0, 202);
    assert!(!accepts(&vault, &minted));
    assert_eq!(vault.call("PUT", "sys/leases/renew", &renewal).0, 400);
    let (status, unknown) = vault.call("GET", "database/creds/none", &Value::Null);
    assert_eq!((status, unknown), (400, json!({ "errors": ["unknown role: none"] })));
    let left = vault.read("database/creds/app").unwrap();
    vault.advance(HOUR);
    assert!(!accepts(&vault, &left), "its lease has ended");
}

async fn a_static_user_gets_a_new_password_in_time() {
    let vault = Vault::start().await;
    vault.database("unused", json!({}));
    vault.write("database/static-roles/app", json!({ "username": "app", "rotation_period": "1h" }));
    let first = vault.read("database/static-creds/app").unwrap();
    assert_eq!((&first["lease_id"], &first["data"]["rotation_period"]), (&json!(""), &json!(3600)));
    assert_eq!(first["data"]["ttl"], 3600);
    vault.advance(HOUR - SECOND);
    assert_eq!(vault.read("database/static-creds/app").unwrap()["data"]["ttl"], 1);
    assert!(accepts(&vault, &first));
    vault.advance(SECOND);
    assert!(!accepts(&vault, &first));
    let second = vault.read("database/static-creds/app").unwrap();
    assert!(accepts(&vault, &second));
    assert_ne!(first["data"]["last_vault_rotation"], second["data"]["last_vault_rotation"]);
}

async fn a_login_is_renewed_up_to_its_max() {
    let vault = Vault::start().await;
    let role = vault.approle("web", json!({ "token_ttl": "1h", "token_max_ttl": "2h" }));
    let login = vault.write("auth/approle/login", json!({ "role_id": role.role_id, "secret_id": role.secret_id }));
    let token = text(&login["auth"]["client_token"]);
    vault.advance(HOUR - SECOND);
    let renewed = vault.write("auth/token/renew", json!({ "token": token }));
    assert_eq!((&renewed["auth"]["lease_duration"], &renewed["warnings"]), (&json!(3600), &Value::Null));
    vault.advance(HOUR - SECOND);
    let renewed = vault.write("auth/token/renew", json!({ "token": token }));
    assert_eq!(renewed["auth"]["lease_duration"], 2);
    assert!(text(&renewed["warnings"][0]).contains("exceeded the effective max_ttl"));
    vault.advance(SECOND * 2);
    assert_eq!(status(&vault, "GET", "auth/token/lookup-self", token).await, 403);
}

async fn a_lockout_ends() {
    let vault = Vault::start().await;
    vault.userpass("bob", "open sesame", json!({}));
    let log_in = |password: &str| vault.call("POST", "auth/userpass/login/bob", &json!({ "password": password })).0;
    for _ in 0..5 {
        assert_eq!(log_in("wrong"), 400);
    }
    vault.advance(Duration::from_secs(899));
    assert_eq!(log_in("open sesame"), 403);
    vault.advance(SECOND);
    assert_eq!(log_in("open sesame"), 200);
}

async fn a_fault_strikes_before_or_after_what_is_asked_is_done() {
    let vault = Vault::start().await;
    let version =
        || vault.read("secret/data/x").map_or(0, |read| read["data"]["metadata"]["version"].as_u64().unwrap());
    vault.inject(Rule::on("POST", "secret/data/").once(), Fault::Drop);
    assert!(ask(&vault, "POST", "secret/data/x", &vault.root_token).await.is_err());
    assert_eq!(version(), 0);
    vault.inject(Rule::on("POST", "secret/data/").once().after_commit(), Fault::Drop);
    assert!(ask(&vault, "POST", "secret/data/x", &vault.root_token).await.is_err());
    assert_eq!(version(), 1);
    vault.inject(Rule::on("POST", "secret/data/").once().after_commit(), Fault::Html503);
    assert_eq!(status(&vault, "POST", "secret/data/x", &vault.root_token).await, 503);
    assert_eq!(version(), 2);
    assert_eq!(status(&vault, "POST", "secret/data/x", &vault.root_token).await, 200);
    let statuses: Vec<_> = vault.requests().iter().map(|entry| (entry.status, entry.fault)).collect();
    assert_eq!(statuses, [(None, true), (None, true), (Some(503), true), (Some(200), false)]);
}

async fn faults_look_as_they_do_on_the_wire() {
    let vault = Vault::start().await;
    let header = |response: &Response, name: &str| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
    let limited = r#"{"errors":["request path \"secret/data/x\": rate limit quota exceeded"]}"#;
    let dead = r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#;
    let denied = r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#;
    let elsewhere = "http://elsewhere.test/v1/x".to_owned();
    for (fault, status, body) in [
        (Fault::Html(502), 502, "<html>"),
        (Fault::Html503, 503, "<html>"),
        (Fault::Errors(400, vec!["failed to renew entry"]), 400, r#"{"errors":["failed to renew entry"]}"#),
        (Fault::Internal500, 500, r#"{"errors":["internal error"]}"#),
        (Fault::Redirect(elsewhere.clone()), 307, ""),
        (Fault::MissingIndex412, 412, r#"{"errors":["#),
        (Fault::RateLimited { retry_after: None }, 429, limited),
        (Fault::RateLimited { retry_after: Some(7) }, 429, limited),
        (Fault::Denied(Denial::Policy), 403, denied),
        (Fault::Denied(Denial::DeadOpenBao), 403, r#"{"errors":["permission denied"]}"#),
        (Fault::Denied(Denial::DeadVault), 403, dead),
        (Fault::Sealed, 503, r#"{"errors":["Vault is sealed"]}"#),
        (Fault::NotJson, 200, "{\"data\""),
        (Fault::Huge(1_000_000), 200, "  "),
    ] {
        vault.inject(Rule::any().once(), fault.clone());
        let response = ask(&vault, "GET", "secret/data/x", &vault.root_token).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{fault:?}");
        let waits = (fault == Fault::RateLimited { retry_after: Some(7) }).then(|| "7".to_owned());
        assert_eq!(header(&response, "retry-after"), waits, "{fault:?}");
        let leads = (status == 307).then(|| elsewhere.clone());
        assert_eq!(header(&response, "location"), leads, "{fault:?}");
        let got = response.bytes().await.unwrap();
        assert!(got.starts_with(body.as_bytes()), "{fault:?}: {got:?}");
        assert!(fault != Fault::Huge(1_000_000) || got.len() == 1_000_000);
    }
}

async fn a_rule_counts_skips_and_chooses() {
    let vault = Vault::start().await;
    let twice = Rule::on("POST", "secret/data/").skip(1).times(2).when(|asked| asked.body["data"]["value"] == "1");
    vault.inject(twice, Fault::Internal500);
    vault.inject(Rule::on("*", "secret/data/x").when(|asked| asked.namespace == "none/"), Fault::Drop);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(status(&vault, "POST", "secret/data/x", &vault.root_token).await);
    }
    assert_eq!(seen, [200, 500, 500, 200]);
    vault.inject(Rule::any(), Fault::Sealed);
    assert_eq!(status(&vault, "GET", "secret/data/x", &vault.root_token).await, 503);
    vault.heal();
    assert_eq!(status(&vault, "GET", "secret/data/x", &vault.root_token).await, 200);
}

async fn a_truncated_and_a_dripping_body() {
    let vault = Vault::start().await;
    vault.write("secret/data/x", json!({ "data": { "value": "s3cret" } }));
    vault.inject(Rule::on("GET", "secret/").once(), Fault::Truncate(10));
    let response = ask(&vault, "GET", "secret/data/x", &vault.root_token).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.content_length().unwrap() > 10);
    assert!(response.bytes().await.is_err());
    vault.inject(Rule::on("GET", "secret/").once(), Fault::Drip { bytes: 100, every: Duration::from_millis(1) });
    let response = ask(&vault, "GET", "secret/data/x", &vault.root_token).await.unwrap();
    assert_eq!(json(response).await["data"]["data"]["value"], "s3cret");
}

async fn a_stale_read_tells_what_was() {
    let vault = Vault::start().await;
    let value = async || json(ask(&vault, "GET", "secret/data/x", &vault.root_token).await.unwrap()).await;
    vault.write("secret/data/x", json!({ "data": { "value": "old" } }));
    vault.inject(Rule::on("GET", "secret/").times(2), Fault::Stale);
    vault.write("secret/data/x", json!({ "data": { "value": "new" } }));
    assert_eq!(value().await["data"]["data"]["value"], "old");
    assert_eq!(value().await["data"]["metadata"]["version"], 1);
    assert_eq!(value().await["data"]["data"]["value"], "new");
}

async fn each_role_has_its_health() {
    let vault = Vault::start().await;
    for (role, code, forgiving, other) in [
        (Role::Active, 200, 200, 200),
        (Role::Standby, 429, 200, 200),
        (Role::PerformanceStandby, 473, 200, 200),
        (Role::DrSecondary, 472, 472, 200),
        (Role::CutOff, 474, 474, 503),
        (Role::Uninitialized, 501, 501, 503),
    ] {
        vault.role(role);
        assert_eq!(status(&vault, "GET", "sys/health", "").await, code, "{role:?}");
        let forgive = "sys/health?standbyok=true&perfstandbyok=true";
        assert_eq!(status(&vault, "GET", forgive, "").await, forgiving, "{role:?}");
        assert_eq!(status(&vault, "GET", "auth/token/lookup-self", &vault.root_token).await, other, "{role:?}");
    }
}

async fn a_sealed_server_answers_nothing_but_its_seal() {
    let vault = Vault::start().await;
    assert_eq!(status(&vault, "POST", "sys/seal", &vault.root_token).await, 204);
    assert_eq!(status(&vault, "GET", "sys/health", "").await, 503);
    let refused = ask(&vault, "GET", "secret/data/x", &vault.root_token).await.unwrap();
    assert_eq!((refused.status().as_u16(), json(refused).await), (503, json!({ "errors": ["Vault is sealed"] })));
    assert_eq!(json(ask(&vault, "GET", "sys/seal-status", "").await.unwrap()).await["sealed"], true);
    assert_eq!(vault.call("PUT", "sys/unseal", &json!({ "key": "wrong" })).0, 400);
    assert_eq!(vault.call("PUT", "sys/unseal", &json!({ "key": vault.unseal_key })).1["sealed"], false);
    assert_eq!(status(&vault, "GET", "sys/health", "").await, 200);
    vault.seal();
    assert_eq!(status(&vault, "GET", "secret/data/x", &vault.root_token).await, 503);
    vault.unseal();
    assert_eq!(status(&vault, "GET", "secret/data/x", &vault.root_token).await, 404);
}

async fn namespaces_keep_to_themselves() {
    let vault = Vault::start().await;
    vault.write("sys/namespaces/team", json!({}));
    let kv = json!({ "type": "kv", "options": { "version": "2" } });
    assert_eq!(vault.call_in("team/", "POST", "sys/mounts/own", &kv).0, 204);
    let write = json!({ "data": { "value": "team" } });
    assert_eq!(vault.call_in("team/", "POST", "own/data/x", &write).0, 200);
    assert_eq!(vault.call("GET", "own/data/x", &Value::Null).0, 404);
    let created =
        vault.call_in("team/", "POST", "auth/token/create", &json!({ "policies": ["default"], "ttl": "1h" })).1;
    let token = text(&created["auth"]["client_token"]);
    let own = Client::new().get(format!("{}/v1/auth/token/lookup-self", vault.address)).header("x-vault-token", token);
    assert_eq!(own.try_clone().unwrap().header("x-vault-namespace", "team").send().await.unwrap().status(), 200);
    assert_eq!(own.send().await.unwrap().status(), 403);
    assert_eq!(vault.requests()[0].namespace, "team/");
}

async fn a_path_prefix_is_before_everything() {
    let vault = Vault::start_with(Options { prefix: "/proxy/vault".into(), ..Options::default() }).await;
    assert!(vault.address.ends_with("/proxy/vault"));
    assert_eq!(status(&vault, "GET", "sys/health", "").await, 200);
    let bare = vault.address.strip_suffix("/proxy/vault").unwrap();
    let elsewhere = Client::new().get(format!("{bare}/v1/sys/health")).send().await.unwrap();
    assert_eq!(elsewhere.status(), 404);
    assert!(elsewhere.bytes().await.unwrap().starts_with(b"<html>"));
}

async fn a_long_body_is_refused() {
    let vault = Vault::start_with(Options { max_body: 10, ..Options::default() }).await;
    assert_eq!(status(&vault, "POST", "secret/data/x", &vault.root_token).await, 413);
    assert_eq!(vault.read("secret/data/x"), None);
}

async fn a_client_certificate_logs_in() {
    let authority = Authority::new("iaso-test");
    let server = authority.server(&["localhost"], Valid::Now);
    let tls = Tls { cert_pem: server.cert, key_pem: server.key, clients: Some(authority.pem.clone()) };
    let vault = Vault::start_with(Options { tls: Some(tls), ..Options::default() }).await;
    vault.cert_role("other", &authority.pem, json!({ "allowed_names": "other" }));
    let shown = authority.client(Valid::Now);
    let login = async |identity: Option<&Signed>, body: Value| {
        let client = Client::builder().tls_backend_preconfigured(tls_client(&authority, identity)).build().unwrap();
        let request = client.post(format!("{}/v1/auth/cert/login", vault.address)).body(body.to_string());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), json(response).await)
    };
    let nobody = login(None, json!({})).await;
    assert_eq!(nobody, (400, json!({ "errors": ["client certificate must be supplied"] })));
    assert_eq!(login(Some(&shown), json!({})).await.0, 400, "a role for another name alone");
    vault.cert_role("web", &authority.pem, json!({ "allowed_names": "iaso", "token_ttl": "1h" }));
    let (status, known) = login(Some(&shown), json!({ "name": "web" })).await;
    assert_eq!((status, &known["auth"]["metadata"]["cert_name"]), (200, &json!("web")));
    assert_eq!(login(Some(&shown), json!({ "name": "other" })).await.0, 400);
}

/// Trusts this authority, and shows this.
fn tls_client(authority: &Authority, identity: Option<&Signed>) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(signed) => {
            let chain = vec![CertificateDer::from_pem_slice(signed.cert.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

async fn the_log_names_no_token_and_counts_what_was_minted() {
    let vault = Vault::start().await;
    vault.database("app", json!({}));
    let token = vault.token(json!({ "ttl": "1h", "policies": ["root"] }));
    vault.inject(Rule::on("GET", "database/creds/").skip(1).once(), Fault::Drop);
    vault.inject(Rule::on("GET", "database/creds/").skip(1).once().after_commit(), Fault::Drop);
    for lost in [false, true, true] {
        assert_eq!(ask(&vault, "GET", "database/creds/app", &token).await.is_err(), lost);
    }
    assert_eq!((vault.mints(), vault.database_users().len()), (2, 2));
    assert_eq!(status(&vault, "POST", "auth/approle/login", "").await, 403);
    assert_eq!(vault.logins(), 1);
    let accessor = vault.read("auth/token/lookup-self").map(|own| own["data"]["accessor"].clone());
    assert_ne!(vault.requests()[0].accessor.as_deref(), accessor.as_ref().and_then(Value::as_str));
    assert!(!format!("{:?}", vault.requests()).contains(&token));
    vault.advance(HOUR);
    status(&vault, "GET", "auth/token/lookup-self", &token).await;
    let last = vault.requests().pop().unwrap();
    assert_eq!((last.accessor, last.status, last.at), (None, Some(403), vault.now()));
    vault.forget_requests();
    let asked = vault.until(|vault| vault.count(|entry| entry.path == "sys/health") == 2);
    let asking = async {
        for _ in 0..2 {
            status(&vault, "GET", "sys/health", "").await;
        }
    };
    tokio::join!(asked, asking);
}

async fn the_two_flavours_differ_where_they_should() {
    for (flavour, dead, performance, mount_type) in [
        (Flavour::OpenBao, "permission denied", None, None),
        (
            Flavour::Vault,
            "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n",
            Some(json!(false)),
            Some(json!("kv")),
        ),
    ] {
        let vault = Vault::start_with(Options { flavour, ..Options::default() }).await;
        let refused = json(ask(&vault, "GET", "secret/data/x", "bogus").await.unwrap()).await;
        assert_eq!(refused, json!({ "errors": [dead] }));
        let health = vault.read("sys/health").unwrap();
        assert_eq!(health.get("performance_standby"), performance.as_ref());
        let written = vault.write("secret/data/x", json!({ "data": {} }));
        assert_eq!(written.get("mount_type"), mount_type.as_ref());
    }
}

async fn the_clock_goes_with_virtual_time() {
    let vault = Vault::start_with(Options { time: Time::Running, ..Options::default() }).await;
    let token = vault.token(json!({ "ttl": "1h" }));
    assert_eq!(status(&vault, "GET", "auth/token/lookup-self", &token).await, 200);
    let before = vault.now();
    tokio::time::sleep(HOUR).await;
    assert!(vault.now().duration_since(before).as_secs() >= 3600);
    assert_eq!(status(&vault, "GET", "auth/token/lookup-self", &token).await, 403);
}

async fn a_delay_is_virtual_too() {
    let vault = Vault::start().await;
    for rule in [Rule::any().once(), Rule::any().once().after_commit()] {
        vault.inject(rule, Fault::Delay(HOUR));
        let began = tokio::time::Instant::now();
        assert_eq!(status(&vault, "GET", "sys/health", "").await, 200);
        assert!(began.elapsed() >= HOUR);
    }
    vault.inject(Rule::any(), Fault::Hang);
    let asking = ask(&vault, "GET", "sys/health", "");
    assert!(tokio::time::timeout(HOUR, asking).await.is_err());
}

fn a_thread_of_its_own_serves_who_blocks_and_ends() {
    let vault = Vault::on_a_thread();
    let address = vault.address.strip_prefix("http://").unwrap().to_owned();
    let ask = || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&address)?;
        stream.write_all(b"GET /v1/sys/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).map(|_| reply)
    };
    assert!(ask().unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(vault.requests().len(), 1);
    drop(vault);
    assert_eq!(ask().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}
