//! Tokens: look-up, renewal, revocation, uses, policies.

use serde_json::{Value, json};

use super::server::{Reply, Server, text, until};
use super::{Promise, promises};

pub fn promises() -> Vec<Promise> {
    promises![
        a_look_up_tells_what_is_set,
        the_root_token_never_ends,
        renewal_counts_from_now_so_a_small_increment_shortens,
        renewal_is_capped_with_a_warning,
        a_period_wins_over_what_is_asked,
        what_is_not_renewable_says_so,
        a_batch_token_is_neither_renewed_nor_revoked,
        a_revoked_token_is_dead,
        children_end_with_their_parent_and_orphans_do_not,
        a_token_ends,
        uses_are_spent_on_denied_calls_too,
        what_no_policy_allows_is_denied,
        a_deny_wins,
        nobody_is_refused,
        a_bearer_is_as_good_as_the_header,
    ]
}

async fn own(server: &Server, token: &str) -> Reply {
    server.ask_as(token, "GET", "auth/token/lookup-self").send().await
}

async fn renew(server: &Server, token: &str, body: Value) -> Reply {
    server.ask_as(token, "POST", "auth/token/renew-self").json(body).send().await
}

async fn a_look_up_tells_what_is_set(server: &Server) {
    let fields =
        json!({ "ttl": "10m", "policies": ["iaso-test-none"], "meta": { "for": "web" }, "display_name": "web" });
    let token = server.token_with(fields).await;
    let shown = own(server, &token).await.is(200).body["data"].take();
    assert_eq!(shown["id"], token);
    assert_eq!(shown["policies"], json!(["default", "iaso-test-none"]));
    assert_eq!(shown["path"], "auth/token/create");
    assert_eq!(shown["meta"], json!({ "for": "web" }));
    assert_eq!(shown["display_name"], "token-web");
    assert_eq!(shown["num_uses"], 0);
    assert_eq!(shown["orphan"], false);
    assert_eq!(shown["creation_ttl"], 600);
    assert_eq!(shown["explicit_max_ttl"], 0);
    assert_eq!(shown["type"], "service");
    assert_eq!(shown["renewable"], true);
    assert!((590..=600).contains(&shown["ttl"].as_u64().unwrap()), "{}", shown["ttl"]);
    assert!(shown["creation_time"].as_u64().unwrap() > 1_600_000_000);
    for time in ["expire_time", "issue_time"] {
        assert!(text(&shown[time]).parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
    for unset in ["period", "role", "last_renewal", "last_renewal_time"] {
        assert_eq!(shown.get(unset), None, "{unset}");
    }
    renew(server, &token, json!({})).await.is(200);
    let shown = own(server, &token).await.is(200).body["data"].take();
    assert!(shown["last_renewal_time"].is_u64() && shown["last_renewal"].is_string());
}

async fn the_root_token_never_ends(server: &Server) {
    let shown = own(server, &server.token).await.is(200).body["data"].take();
    assert_eq!((&shown["ttl"], &shown["expire_time"]), (&json!(0), &Value::Null));
    assert_eq!(shown["policies"], json!(["root"]));
}

async fn renewal_counts_from_now_so_a_small_increment_shortens(server: &Server) {
    let token = server.token_with(json!({ "ttl": "1h" })).await;
    let renewed = renew(server, &token, json!({ "increment": "5m" })).await.is(200).body["auth"].take();
    assert_eq!(renewed["lease_duration"], 300);
    assert_eq!(renewed["client_token"], token);
    assert!(own(server, &token).await.is(200).body["data"]["ttl"].as_u64().unwrap() <= 300);
    assert_eq!(renew(server, &token, json!({ "increment": 7200 })).await.is(200).body["auth"]["lease_duration"], 7200);
    // Nothing asked: what it was made with.
    assert_eq!(renew(server, &token, json!({})).await.is(200).body["auth"]["lease_duration"], 3600);
}

async fn renewal_is_capped_with_a_warning(server: &Server) {
    let token = server.token_with(json!({ "ttl": "1m", "explicit_max_ttl": "5m" })).await;
    let renewed = renew(server, &token, json!({ "increment": "1h" })).await.is(200).body;
    let left = renewed["auth"]["lease_duration"].as_u64().unwrap();
    assert!((270..=300).contains(&left), "{left}");
    let warning = text(&renewed["warnings"][0]);
    assert!(warning.starts_with("TTL of \"1h"), "{warning}");
    assert!(warning.contains("exceeded the effective max_ttl of"), "{warning}");
    assert!(warning.ends_with("TTL value is capped accordingly"), "{warning}");
}

async fn a_period_wins_over_what_is_asked(server: &Server) {
    let token = server.token_with(json!({ "period": "10m" })).await;
    let renewed = renew(server, &token, json!({ "increment": "1h" })).await.is(200).body;
    assert_eq!(renewed["auth"]["lease_duration"], 600);
    assert_eq!(own(server, &token).await.is(200).body["data"]["period"], 600);
}

async fn what_is_not_renewable_says_so(server: &Server) {
    let token = server.token_with(json!({ "ttl": "10m", "renewable": false })).await;
    renew(server, &token, json!({})).await.fails(400, "lease is not renewable");
    let root = server.token_with(json!({ "policies": ["root"], "ttl": 0 })).await;
    renew(server, &root, json!({})).await.fails(400, "lease is not renewable");
    server.ask_as(&root, "POST", "auth/token/revoke-self").send().await.is_empty(204);
}

async fn a_batch_token_is_neither_renewed_nor_revoked(server: &Server) {
    let token = server.token_with(json!({ "type": "batch", "ttl": "10m" })).await;
    let shown = own(server, &token).await.is(200).body["data"].take();
    assert_eq!(shown["type"], "batch");
    renew(server, &token, json!({})).await.fails(400, "batch tokens cannot be renewed");
    server.ask_as(&token, "POST", "auth/token/revoke-self").send().await.is(400);
    own(server, &token).await.is(200);
}

async fn a_revoked_token_is_dead(server: &Server) {
    let token = server.token_with(json!({ "ttl": "10m" })).await;
    server.ask_as(&token, "POST", "auth/token/revoke-self").send().await.is_empty(204);
    own(server, &token).await.is_of_a_dead_token();
    own(server, "iaso-test-bogus").await.is_of_a_dead_token();
}

async fn children_end_with_their_parent_and_orphans_do_not(server: &Server) {
    let parent = server.token_with(json!({ "policies": ["root"], "ttl": "10m" })).await;
    let create = async |fields: Value| {
        let made = server.ask_as(&parent, "POST", "auth/token/create").json(fields).send().await.is(200).body;
        text(&made["auth"]["client_token"])
    };
    let child = create(json!({ "policies": ["default"], "ttl": "10m" })).await;
    let orphan = create(json!({ "policies": ["default"], "ttl": "10m", "no_parent": true })).await;
    server.ask_as(&parent, "POST", "auth/token/revoke-self").send().await.is_empty(204);
    until(async || own(server, &child).await, |reply| reply.status == 403).await.is_of_a_dead_token();
    assert_eq!(own(server, &orphan).await.is(200).body["data"]["orphan"], true);
    server.post("auth/token/revoke", json!({ "token": orphan })).await.is_empty(204);
}

async fn a_token_ends(server: &Server) {
    let token = server.token_with(json!({ "ttl": "1s" })).await;
    own(server, &token).await.is(200);
    until(async || own(server, &token).await, |reply| reply.status != 200).await.is_of_a_dead_token();
}

async fn uses_are_spent_on_denied_calls_too(server: &Server) {
    let token = server.token_with(json!({ "ttl": "10m", "num_uses": 3 })).await;
    assert_eq!(own(server, &token).await.is(200).body["data"]["num_uses"], 2);
    server.ask_as(&token, "GET", "sys/mounts").send().await.is_denied();
    own(server, &token).await.is(200);
    own(server, &token).await.is_of_a_dead_token();
}

async fn what_no_policy_allows_is_denied(server: &Server) {
    let kv = server.kv2().await;
    let policy = server.policy(&format!("{kv}/data/open/*"), &["read"]).await;
    let token = server.token_with(json!({ "ttl": "10m", "policies": [policy] })).await;
    for path in ["open/x", "shut/x"] {
        server.post(&format!("{kv}/data/{path}"), json!({ "data": {} })).await.is(200);
    }
    server.ask_as(&token, "GET", &format!("{kv}/data/open/x")).send().await.is(200);
    server.ask_as(&token, "GET", &format!("{kv}/data/shut/x")).send().await.is_denied();
    server.ask_as(&token, "POST", &format!("{kv}/data/open/x")).json(json!({ "data": {} })).send().await.is_denied();
    // Whether there is a mount is not told either.
    server.ask_as(&token, "GET", &format!("{}/x", server.name())).send().await.is_denied();
    own(server, &token).await.is(200);
}

async fn a_deny_wins(server: &Server) {
    let kv = server.kv2().await;
    let path = format!("{kv}/data/x");
    let (allow, deny) = (server.policy(&path, &["read"]).await, server.policy(&path, &["deny"]).await);
    server.post(&path, json!({ "data": {} })).await.is(200);
    let token = server.token_with(json!({ "ttl": "10m", "policies": [allow, deny] })).await;
    server.ask_as(&token, "GET", &path).send().await.is_denied();
}

async fn nobody_is_refused(server: &Server) {
    let reply = server.ask_anonymously("GET", "auth/token/lookup-self").send().await;
    match reply.status {
        400 => reply.fails(400, "missing client token"),
        _ => reply.fails(403, "permission denied"),
    }
}

async fn a_bearer_is_as_good_as_the_header(server: &Server) {
    let bearer = format!("Bearer {}", server.token);
    let request = server.ask_anonymously("GET", "auth/token/lookup-self").header("Authorization", &bearer);
    request.send().await.is(200);
}
