//! Leases, on certificates: those need nothing but the server. And certificates themselves.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::server::{Reply, Server, text, until};
use super::{Promise, promises};

pub fn promises() -> Vec<Promise> {
    promises![
        a_certificate_comes_with_its_key_and_its_end,
        an_unknown_role_is_named,
        a_lease_is_named_after_its_path,
        a_lease_that_is_not_renewable_says_so,
        an_unknown_lease_is_not_renewed,
        revocation_is_queued_or_done,
        a_lease_ends_with_its_token,
        the_last_use_of_a_token_cannot_read_what_is_leased,
    ]
}

async fn issue(server: &Server, token: &str, pki: &str) -> Reply {
    let body = json!({ "common_name": "web.iaso.test", "ttl": "10m" });
    server.ask_as(token, "POST", &format!("{pki}/issue/web")).json(body).send().await
}

async fn look_up(server: &Server, lease: &Value) -> Reply {
    server.post("sys/leases/lookup", json!({ "lease_id": lease })).await
}

async fn a_certificate_comes_with_its_key_and_its_end(server: &Server) {
    let pki = server.leasing_pki().await;
    let issued = issue(server, &server.token, &pki).await.is(200).body["data"].take();
    assert!(text(&issued["private_key"]).contains("PRIVATE KEY"));
    assert!(text(&issued["serial_number"]).contains(':'));
    assert!(text(&issued["issuing_ca"]).contains("BEGIN CERTIFICATE"));
    assert!(issued["ca_chain"].is_array());
    assert!(issued["private_key_type"].is_string());
    let pem = text(&issued["certificate"]);
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let ends = certificate.validity().not_after.timestamp();
    assert_eq!(issued["expiration"], ends);
    let ends = UNIX_EPOCH + Duration::from_secs(ends.try_into().unwrap());
    let left = ends.duration_since(iaso_now()).unwrap();
    assert!((540..=600).contains(&left.as_secs()), "{left:?}");
}

fn iaso_now() -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_millis(iaso::system::clock::Clock::new().now().wall.0.try_into().unwrap())
}

async fn an_unknown_role_is_named(server: &Server) {
    let pki = server.leasing_pki().await;
    let body = json!({ "common_name": "web.iaso.test" });
    server.post(&format!("{pki}/issue/none"), body).await.fails(400, "unknown role: none");
}

async fn a_lease_is_named_after_its_path(server: &Server) {
    let pki = server.leasing_pki().await;
    let issued = issue(server, &server.token, &pki).await.is(200).body;
    assert!(text(&issued["lease_id"]).starts_with(&format!("{pki}/issue/web/")));
    let left = issued["lease_duration"].as_u64().unwrap();
    assert!((590..=600).contains(&left), "{left}");
    assert_eq!(issued["auth"], Value::Null);
    let shown = look_up(server, &issued["lease_id"]).await.is(200).body["data"].take();
    assert_eq!(shown["id"], issued["lease_id"]);
    assert_eq!(shown["renewable"], false);
}

async fn a_lease_that_is_not_renewable_says_so(server: &Server) {
    let pki = server.leasing_pki().await;
    let issued = issue(server, &server.token, &pki).await.is(200).body;
    assert_eq!(issued["renewable"], false);
    let renewal = json!({ "lease_id": issued["lease_id"], "increment": 60 });
    server.post("sys/leases/renew", renewal).await.fails(400, "lease is not renewable");
}

async fn an_unknown_lease_is_not_renewed(server: &Server) {
    let renewal = json!({ "lease_id": "iaso-test/none", "increment": 60 });
    server.post("sys/leases/renew", renewal).await.fails(400, "lease not found");
}

async fn revocation_is_queued_or_done(server: &Server) {
    let pki = server.leasing_pki().await;
    for (sync, status) in [(true, 204), (false, 202)] {
        let lease = issue(server, &server.token, &pki).await.is(200).body["lease_id"].take();
        look_up(server, &lease).await.is(200);
        let revocation = json!({ "lease_id": lease, "sync": sync });
        server.post("sys/leases/revoke", revocation.clone()).await.is(status);
        until(async || look_up(server, &lease).await, |reply| reply.status != 200).await.is(400);
        // What is gone can be revoked again.
        server.post("sys/leases/revoke", revocation).await.is(status);
    }
}

async fn a_lease_ends_with_its_token(server: &Server) {
    let pki = server.leasing_pki().await;
    let policy = server.policy(&format!("{pki}/issue/web"), &["create", "update"]).await;
    let token = server.token_with(json!({ "policies": [policy], "ttl": "10m" })).await;
    let lease = issue(server, &token, &pki).await.is(200).body["lease_id"].take();
    look_up(server, &lease).await.is(200);
    server.ask_as(&token, "POST", "auth/token/revoke-self").send().await.is_empty(204);
    until(async || look_up(server, &lease).await, |reply| reply.status != 200).await.is(400);
}

async fn the_last_use_of_a_token_cannot_read_what_is_leased(server: &Server) {
    let pki = server.leasing_pki().await;
    let policy = server.policy(&format!("{pki}/issue/web"), &["create", "update"]).await;
    let token = server.token_with(json!({ "policies": [policy], "ttl": "10m", "num_uses": 1 })).await;
    let reply = issue(server, &token, &pki).await;
    assert!(reply.status >= 400 && reply.body["errors"].is_array(), "{reply:?}");
}
