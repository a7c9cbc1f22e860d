//! Response wrapping.

use serde_json::{Value, json};

use super::server::{Reply, Server, text, until};
use super::{Promise, promises};

pub fn promises() -> Vec<Promise> {
    promises![
        a_wrapped_reply_shows_its_wrapping_alone,
        a_look_up_needs_nobody_and_spends_nothing,
        the_wrapping_token_itself_unwraps_without_a_body,
        another_token_unwraps_what_the_body_names,
        a_second_use_and_a_bogus_token_are_refused,
        a_wrapping_ends,
        a_wrapped_login_names_the_accessor_and_keeps_its_token,
        a_wrapped_secret_id_says_where_it_was_made,
    ]
}

const INVALID: &str = "wrapping token is not valid or does not exist";

async fn wrapped(server: &Server, ttl: &str) -> Value {
    let request = server.ask("POST", "sys/wrapping/wrap").header("X-Vault-Wrap-TTL", ttl);
    request.json(json!({ "value": "s3cret" })).send().await.is(200).body
}

async fn unwrap(server: &Server, token: &str) -> Reply {
    server.ask_as(token, "POST", "sys/wrapping/unwrap").send().await
}

async fn a_wrapped_reply_shows_its_wrapping_alone(server: &Server) {
    let kv = server.kv2().await;
    server.post(&format!("{kv}/data/x"), json!({ "data": { "value": "s3cret" } })).await.is(200);
    let request = server.ask("GET", &format!("{kv}/data/x")).header("X-Vault-Wrap-TTL", "90s");
    let reply = request.send().await.is(200).body;
    assert_eq!((&reply["data"], &reply["auth"], &reply["request_id"]), (&Value::Null, &Value::Null, &json!("")));
    let info = &reply["wrap_info"];
    assert!(!text(&info["token"]).is_empty() && !text(&info["accessor"]).is_empty());
    assert_eq!(info["ttl"], 90);
    assert_eq!(info["creation_path"], format!("{kv}/data/x"));
    assert!(text(&info["creation_time"]).parse::<jiff::Timestamp>().is_ok());
    let original = unwrap(server, &text(&info["token"])).await.is(200).body;
    assert_eq!(original["data"]["data"]["value"], "s3cret");
    assert_eq!(original["wrap_info"], Value::Null);
}

async fn a_look_up_needs_nobody_and_spends_nothing(server: &Server) {
    let token = text(&wrapped(server, "60").await["wrap_info"]["token"]);
    for _ in 0..2 {
        let look = server.ask_anonymously("POST", "sys/wrapping/lookup").json(json!({ "token": token }));
        let shown = look.send().await.is(200).body["data"].take();
        assert_eq!(shown["creation_path"], "sys/wrapping/wrap");
        assert_eq!(shown["creation_ttl"].to_string().trim_matches('"'), "60");
    }
    unwrap(server, &token).await.is(200);
}

async fn the_wrapping_token_itself_unwraps_without_a_body(server: &Server) {
    let token = text(&wrapped(server, "60s").await["wrap_info"]["token"]);
    assert_eq!(unwrap(server, &token).await.is(200).body["data"], json!({ "value": "s3cret" }));
}

async fn another_token_unwraps_what_the_body_names(server: &Server) {
    let token = text(&wrapped(server, "60s").await["wrap_info"]["token"]);
    let own = server.token_with(json!({ "ttl": "10m" })).await;
    let ask = server.ask_as(&own, "POST", "sys/wrapping/unwrap").json(json!({ "token": token }));
    assert_eq!(ask.send().await.is(200).body["data"], json!({ "value": "s3cret" }));
    server.ask_as(&own, "GET", "auth/token/lookup-self").send().await.is(200);
}

async fn a_second_use_and_a_bogus_token_are_refused(server: &Server) {
    let token = text(&wrapped(server, "60s").await["wrap_info"]["token"]);
    unwrap(server, &token).await.is(200);
    unwrap(server, &token).await.fails(400, INVALID);
    server.post("sys/wrapping/unwrap", json!({ "token": token })).await.fails(400, INVALID);
    server.post("sys/wrapping/lookup", json!({ "token": token })).await.fails(400, INVALID);
    unwrap(server, "iaso-test-bogus").await.fails(400, INVALID);
}

async fn a_wrapping_ends(server: &Server) {
    let token = text(&wrapped(server, "1s").await["wrap_info"]["token"]);
    let look = async || server.post("sys/wrapping/lookup", json!({ "token": token })).await;
    until(look, |reply| reply.status != 200).await.fails(400, INVALID);
    unwrap(server, &token).await.fails(400, INVALID);
}

async fn a_wrapped_login_names_the_accessor_and_keeps_its_token(server: &Server) {
    let mount = server.auth("userpass").await;
    server.post(&format!("{mount}/users/bob"), json!({ "password": "open sesame" })).await.is(204);
    let login = server.ask_anonymously("POST", &format!("{mount}/login/bob")).header("X-Vault-Wrap-TTL", "60s");
    let info = login.json(json!({ "password": "open sesame" })).send().await.is(200).body["wrap_info"].take();
    let original = unwrap(server, &text(&info["token"])).await.is(200).body;
    assert_eq!(info["wrapped_accessor"], original["auth"]["accessor"]);
    let token = text(&original["auth"]["client_token"]);
    server.ask_as(&token, "GET", "auth/token/lookup-self").send().await.is(200);
}

async fn a_wrapped_secret_id_says_where_it_was_made(server: &Server) {
    let mount = server.auth("approle").await;
    server.post(&format!("{mount}/role/web"), json!({})).await.is(204);
    let path = format!("{mount}/role/web/secret-id");
    let made = server.ask("POST", &path).header("X-Vault-Wrap-TTL", "60s").json(json!({})).send().await.is(200).body;
    assert_eq!(made["wrap_info"]["creation_path"], path);
    let original = unwrap(server, &text(&made["wrap_info"]["token"])).await.is(200).body;
    assert!(!text(&original["data"]["secret_id"]).is_empty());
}
