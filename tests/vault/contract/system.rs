//! `sys`: health, seal, mounts.

use serde_json::json;

use super::server::{Server, text};
use super::{Promise, promises};

pub fn promises() -> Vec<Promise> {
    promises![
        health_is_told_to_everybody,
        the_seal_is_told_to_everybody,
        a_mount_tells_its_version,
        a_mount_is_not_told_to_who_may_do_nothing_there,
        mounts_are_listed_and_go,
        capabilities_are_told,
        a_namespace_that_is_not_there_is_said_so,
        a_body_that_is_no_json_is_refused,
    ]
}

async fn health_is_told_to_everybody(server: &Server) {
    let health =
        server.ask_anonymously("GET", "sys/health?standbyok=true&perfstandbyok=true").send().await.is(200).body;
    assert_eq!((&health["initialized"], &health["sealed"]), (&json!(true), &json!(false)));
    assert!(health["standby"].is_boolean());
    assert!(health["server_time_utc"].as_u64().unwrap() > 1_600_000_000);
    assert!(!text(&health["version"]).is_empty());
    assert!(health["replication_dr_mode"].is_string() && health["replication_performance_mode"].is_string());
    assert!(health["cluster_name"].is_string() && health["cluster_id"].is_string());
    server.ask_anonymously("GET", "sys/health?activecode=299&standbycode=299").send().await.is(299);
}

async fn the_seal_is_told_to_everybody(server: &Server) {
    let status = server.ask_anonymously("GET", "sys/seal-status").send().await.is(200).body;
    assert_eq!((&status["initialized"], &status["sealed"]), (&json!(true), &json!(false)));
    for number in ["t", "n", "progress"] {
        assert!(status[number].is_u64(), "{number}");
    }
    for word in ["type", "nonce", "version", "storage_type"] {
        assert!(status[word].is_string(), "{word}");
    }
    for flag in ["migration", "recovery_seal"] {
        assert!(status[flag].is_boolean(), "{flag}");
    }
}

async fn a_mount_tells_its_version(server: &Server) {
    for version in ["1", "2"] {
        let kv = server.engine(json!({ "type": "kv", "options": { "version": version } })).await;
        let shown = server.get(&format!("sys/internal/ui/mounts/{kv}/some/key")).await.is(200).body["data"].take();
        assert_eq!(shown["path"], format!("{kv}/"));
        assert_eq!(shown["type"], "kv");
        assert_eq!(shown["options"]["version"], version);
    }
}

async fn a_mount_is_not_told_to_who_may_do_nothing_there(server: &Server) {
    let words = "preflight capability check returned 403";
    let none = format!("sys/internal/ui/mounts/{}/x", server.name());
    server.get(&none).await.fails(403, words);
    let (open, shut) = (server.kv2().await, server.kv2().await);
    let policy = server.policy(&format!("{open}/data/x"), &["read"]).await;
    let token = server.token_with(json!({ "ttl": "10m", "policies": [policy] })).await;
    server.ask_as(&token, "GET", &format!("sys/internal/ui/mounts/{open}/x")).send().await.is(200);
    server.ask_as(&token, "GET", &format!("sys/internal/ui/mounts/{shut}/x")).send().await.fails(403, words);
}

async fn mounts_are_listed_and_go(server: &Server) {
    let kv = server.kv2().await;
    let mounts = server.get("sys/mounts").await.is(200).body;
    let key = format!("{kv}/");
    assert_eq!(mounts["data"][&key]["type"], "kv");
    assert_eq!(mounts["data"][&key]["options"]["version"], "2");
    assert!(text(&mounts["data"][&key]["accessor"]).starts_with("kv_"));
    server.post(&format!("sys/mounts/{kv}"), json!({ "type": "kv" })).await.fails(400, "path is already in use");
    server.delete(&format!("sys/mounts/{kv}")).await.is_empty(204);
    server.get(&format!("{kv}/data/x")).await.fails(404, "no handler for route");
}

async fn capabilities_are_told(server: &Server) {
    let path = format!("{}/x", server.name());
    let policy = server.policy(&path, &["read", "list"]).await;
    let token = server.token_with(json!({ "ttl": "10m", "policies": [policy] })).await;
    let body = json!({ "paths": [path, "sys/seal"] });
    let shown = server.ask_as(&token, "POST", "sys/capabilities-self").json(body).send().await.is(200).body;
    assert_eq!(shown["data"][&path], json!(["list", "read"]));
    assert_eq!(shown["data"]["sys/seal"], json!(["deny"]));
    // As older clients read it.
    assert_eq!(shown[&path], json!(["list", "read"]));
}

async fn a_namespace_that_is_not_there_is_said_so(server: &Server) {
    let request = server.ask("GET", "secret/data/x").header("X-Vault-Namespace", &server.name());
    request.send().await.fails(404, "namespace not found");
}

async fn a_body_that_is_no_json_is_refused(server: &Server) {
    let kv = server.kv2().await;
    let request = server.ask("POST", &format!("{kv}/data/x")).json(json!("no object"));
    let reply = request.send().await.is(400).body;
    assert!(reply["errors"].is_array());
}
