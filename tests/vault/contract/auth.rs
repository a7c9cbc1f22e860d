//! The auth methods: AppRole and userpass. Client certificates need a server that asks for them.

use serde_json::{Value, json};

use super::server::{Reply, Server, text, until};
use super::{Promise, promises};

pub fn promises() -> Vec<Promise> {
    promises![
        approle_gives_a_token_and_names_the_role,
        approle_refuses_with_status_400,
        a_secret_id_has_so_many_uses,
        a_secret_id_ends,
        a_use_is_spent_before_the_address_is_compared,
        a_role_without_secret_ids_asks_for_none,
        too_many_bad_tries_lock_a_role_out,
        a_token_of_a_role_that_is_gone_is_not_renewed,
        renewal_follows_the_role_as_it_is_now,
        userpass_gives_a_token,
        userpass_refuses_a_wrong_password,
        fields_that_nobody_reads_are_warned_about,
    ]
}

struct Role {
    mount: String,
    role_id: String,
    secret_id: String,
}

impl Role {
    async fn new(server: &Server, fields: Value) -> Self {
        let mount = server.auth("approle").await;
        server.post(&format!("{mount}/role/web"), fields).await.is(204);
        let role_id = server.get(&format!("{mount}/role/web/role-id")).await.is(200).body;
        let secret_id = server.post(&format!("{mount}/role/web/secret-id"), json!({})).await;
        let secret_id =
            if secret_id.status == 200 { text(&secret_id.body["data"]["secret_id"]) } else { String::new() };
        Self { role_id: text(&role_id["data"]["role_id"]), secret_id, mount }
    }

    async fn log_in(&self, server: &Server) -> Reply {
        self.log_in_with(server, json!({ "role_id": self.role_id, "secret_id": self.secret_id })).await
    }

    async fn log_in_with(&self, server: &Server, body: Value) -> Reply {
        server.ask_anonymously("POST", &format!("{}/login", self.mount)).json(body).send().await
    }
}

async fn approle_gives_a_token_and_names_the_role(server: &Server) {
    let role = Role::new(server, json!({ "token_ttl": "10m", "token_policies": ["iaso-test-none"] })).await;
    let body = role.log_in(server).await.is(200).body;
    assert_eq!((&body["data"], &body["lease_id"], &body["wrap_info"]), (&Value::Null, &json!(""), &Value::Null));
    let auth = &body["auth"];
    assert!(!text(&auth["client_token"]).is_empty());
    assert!(!text(&auth["accessor"]).is_empty());
    assert_eq!(auth["policies"], json!(["default", "iaso-test-none"]));
    assert_eq!(auth["token_policies"], auth["policies"]);
    assert_eq!(auth.get("identity_policies"), None);
    assert_eq!(auth["metadata"]["role_name"], "web");
    assert_eq!(auth["lease_duration"], 600);
    assert_eq!(auth["renewable"], true);
    assert_eq!(auth["token_type"], "service");
    assert_eq!(auth["orphan"], true);
    assert_eq!(auth["num_uses"], 0);
    assert_eq!(auth["mfa_requirement"], Value::Null);
    assert!(auth["entity_id"].is_string());
}

async fn approle_refuses_with_status_400(server: &Server) {
    let role = Role::new(server, json!({})).await;
    let (id, secret) = (&role.role_id, &role.secret_id);
    role.log_in_with(server, json!({ "secret_id": secret })).await.fails(400, "missing role_id");
    role.log_in_with(server, json!({ "role_id": id })).await.fails(400, "missing secret_id");
    let invalid = "invalid role or secret ID";
    role.log_in_with(server, json!({ "role_id": "x", "secret_id": secret })).await.fails(400, invalid);
    role.log_in_with(server, json!({ "role_id": id, "secret_id": "x" })).await.fails(400, invalid);
    role.log_in(server).await.is(200);
}

async fn a_secret_id_has_so_many_uses(server: &Server) {
    let role = Role::new(server, json!({ "secret_id_num_uses": 2, "secret_id_ttl": "1h" })).await;
    let made = server.post(&format!("{}/role/web/secret-id", role.mount), json!({})).await.is(200).body["data"].take();
    assert_eq!((&made["secret_id_num_uses"], &made["secret_id_ttl"]), (&json!(2), &json!(3600)));
    assert!(!text(&made["secret_id"]).is_empty() && !text(&made["secret_id_accessor"]).is_empty());
    role.log_in(server).await.is(200);
    role.log_in(server).await.is(200);
    role.log_in(server).await.fails(400, "invalid role or secret ID");
}

async fn a_secret_id_ends(server: &Server) {
    let role = Role::new(server, json!({ "secret_id_ttl": "1s" })).await;
    let refused = until(async || role.log_in(server).await, |reply| reply.status != 200).await;
    refused.fails(400, "invalid role or secret ID");
}

async fn a_use_is_spent_before_the_address_is_compared(server: &Server) {
    let mut role = Role::new(server, json!({})).await;
    let bound = json!({ "num_uses": 1, "cidr_list": ["192.0.2.1/32"] });
    let made = server.post(&format!("{}/role/web/secret-id", role.mount), bound).await.is(200).body;
    role.secret_id = text(&made["data"]["secret_id"]);
    role.log_in(server).await.fails(400, "unauthorized");
    role.log_in(server).await.fails(400, "invalid role or secret ID");
}

async fn a_role_without_secret_ids_asks_for_none(server: &Server) {
    let role = Role::new(server, json!({ "bind_secret_id": false, "token_bound_cidrs": ["0.0.0.0/0"] })).await;
    role.log_in_with(server, json!({ "role_id": role.role_id })).await.is(200);
}

async fn too_many_bad_tries_lock_a_role_out(server: &Server) {
    let role = Role::new(server, json!({})).await;
    for _ in 0..5 {
        let bad = role.log_in_with(server, json!({ "role_id": role.role_id, "secret_id": "x" })).await;
        bad.fails(400, "invalid role or secret ID");
    }
    role.log_in(server).await.fails(403, "permission denied");
}

async fn a_token_of_a_role_that_is_gone_is_not_renewed(server: &Server) {
    let role = Role::new(server, json!({ "token_ttl": "10m" })).await;
    let token = text(&role.log_in(server).await.is(200).body["auth"]["client_token"]);
    server.ask_as(&token, "POST", "auth/token/renew-self").send().await.is(200);
    server.delete(&format!("{}/role/web", role.mount)).await.is_empty(204);
    server.ask_as(&token, "POST", "auth/token/renew-self").send().await.is(500);
    server.ask_as(&token, "GET", "auth/token/lookup-self").send().await.is(200);
}

async fn renewal_follows_the_role_as_it_is_now(server: &Server) {
    let role = Role::new(server, json!({ "token_ttl": "10m" })).await;
    let token = text(&role.log_in(server).await.is(200).body["auth"]["client_token"]);
    server.post(&format!("{}/role/web", role.mount), json!({ "token_ttl": "20m" })).await.is(204);
    let renewed = server.ask_as(&token, "POST", "auth/token/renew-self").send().await.is(200).body;
    assert_eq!(renewed["auth"]["lease_duration"], 1200);
    assert_eq!(renewed["auth"]["client_token"], token);
}

async fn userpass_gives_a_token(server: &Server) {
    let mount = server.auth("userpass").await;
    server.post(&format!("{mount}/users/bob"), json!({ "password": "open sesame" })).await.is(204);
    let login = server.ask_anonymously("POST", &format!("{mount}/login/bob"));
    let auth = login.json(json!({ "password": "open sesame" })).send().await.is(200).body["auth"].take();
    assert_eq!(auth["metadata"]["username"], "bob");
    assert_eq!(auth["lease_duration"], 2_764_800);
    assert_eq!(auth["policies"], json!(["default"]));
}

async fn userpass_refuses_a_wrong_password(server: &Server) {
    let mount = server.auth("userpass").await;
    server.post(&format!("{mount}/users/bob"), json!({ "password": "open sesame" })).await.is(204);
    for user in ["bob", "nobody"] {
        let login = server.ask_anonymously("POST", &format!("{mount}/login/{user}"));
        let refused = login.json(json!({ "password": "wrong" })).send().await;
        refused.fails(400, "invalid username or password");
    }
}

async fn fields_that_nobody_reads_are_warned_about(server: &Server) {
    let role = Role::new(server, json!({})).await;
    let body = json!({ "role_id": role.role_id, "secret_id": role.secret_id, "colour": "red" });
    let warnings = role.log_in_with(server, body).await.is(200).body["warnings"].take();
    let ignored = "Endpoint ignored these unrecognized parameters: [colour]";
    assert!(warnings.as_array().unwrap().iter().any(|warning| warning == ignored), "{warnings}");
}
