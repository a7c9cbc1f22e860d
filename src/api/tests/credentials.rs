//! Credentials: how they are told, what is ordered, and that no value comes out.

use super::*;
use crate::orders::{CredentialOrder, CredentialReply, CredentialRequest};
use crate::snapshot::example::{credential, credentials};

/// A request from the socket's root.
fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
    request.extensions_mut().insert(ROOT);
    request
}

/// Sends a request and answers the order that it becomes; what the order was.
async fn ordered(rig: &mut Rig, request: Request<Body>, reply: CredentialReply) -> (Answered, CredentialRequest) {
    let keeper = async {
        let CredentialRequest { credential, order, by, request_id, reply: sender } = rig.kept.recv().await.unwrap();
        sender.send(reply).unwrap();
        let (unused, _) = tokio::sync::oneshot::channel();
        CredentialRequest { credential, order, by, request_id, reply: unused }
    };
    tokio::join!(answered(router(rig.state.clone()), request), keeper)
}

#[tokio::test]
async fn credentials_are_told_without_a_value() {
    let rig = Rig::new();
    let none = rig.ask(ROOT, "GET", "/api/v1/credentials").await.json();
    assert_eq!(none, json!({ "vault": null, "credentials": [] }));
    let mut db = credential("db");
    let Now { wall: iaso_policy::time::Wall(now), .. } = rig.state.clock.now();
    (db.fetched, db.advice) = (Some(now - 60_000), vec!["look here".to_owned()]);
    rig.pictures.send_replace(Arc::new(credentials(db)));
    let list = rig.ask(ROOT, "GET", "/api/v1/credentials").await.json();
    let one = rig.ask(ROOT, "GET", "/api/v1/credentials/db").await.json();
    assert_eq!(list["vault"]["health"], "healthy");
    assert!(list["vault"]["token_ends"].as_str().unwrap().ends_with('Z'), "{list}");
    assert_eq!((&one["name"], &one["kind"], &one["version"]), (&json!("db"), &json!("kv2"), &json!(7)));
    assert!((60..90).contains(&one["age_seconds"].as_u64().unwrap()), "{one}");
    assert_eq!((&one["expires"], &one["kept"]), (&json!("2026-03-01T15:00:00.000Z"), &json!(false)));
    assert_eq!((&one["services"], &one["files"]), (&json!(["web"]), &json!(["/srv/web/db"])));
    assert_eq!((&one["rotation"]["step"], &one["advice"]), (&json!("idle"), &json!(["look here"])));
    let none = rig.ask(ROOT, "GET", "/api/v1/credentials/bd").await;
    let problem = none.assert_problem(StatusCode::NOT_FOUND, "CREDENTIAL_NOT_FOUND");
    assert_eq!(problem["detail"], "there is no credential `bd`; did you mean `db`?");
    let odd = rig.ask(ROOT, "GET", "/api/v1/credentials/%1b%5b2J").await;
    odd.assert_problem(StatusCode::NOT_FOUND, "CREDENTIAL_NOT_FOUND");
    assert!(!odd.text.contains("2J"), "{}", odd.text);
}

#[tokio::test]
async fn orders_for_a_credential_reach_who_keeps_it() {
    let mut rig = Rig::new();
    for path in ["refresh", "rotate", "rollback"] {
        let asked = request("POST", &format!("/api/v1/credentials/db/{path}"), Body::empty());
        let (answer, order) = ordered(&mut rig, asked, CredentialReply::Taken("under way".to_owned())).await;
        assert_eq!(
            (answer.status, answer.json()),
            (StatusCode::ACCEPTED, json!({ "credential": "db", "words": "under way" }))
        );
        assert_eq!((&*order.credential, &*order.by), ("db", "uid 0"));
        assert_eq!(order.request_id, answer.headers["x-request-id"].to_str().unwrap());
        let right = match order.order {
            CredentialOrder::Refresh => "refresh",
            CredentialOrder::Rotate => "rotate",
            CredentialOrder::Rollback => "rollback",
            CredentialOrder::Set(_) | CredentialOrder::Plan => "another",
        };
        assert_eq!(right, path);
    }
    let plan = request("GET", "/api/v1/credentials/db/plan", Body::empty());
    let (answer, order) = ordered(&mut rig, plan, CredentialReply::Planned(vec!["make".to_owned()])).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({ "credential": "db", "plan": ["make"] })));
    assert!(matches!(order.order, CredentialOrder::Plan));
    for (reply, status, code) in [
        (CredentialReply::Refused("it has no rotation".to_owned()), StatusCode::CONFLICT, "CREDENTIAL_REFUSED"),
        (CredentialReply::NoSuchCredential, StatusCode::NOT_FOUND, "CREDENTIAL_NOT_FOUND"),
    ] {
        let asked = request("POST", "/api/v1/credentials/db/rotate", Body::empty());
        ordered(&mut rig, asked, reply).await.0.assert_problem(status, code);
    }
}

#[tokio::test]
async fn who_keeps_no_credentials_has_none_and_who_stops_says_so() {
    let Rig { state, kept, pictures, snapshots: _snapshots, orders: _orders } = Rig::new();
    drop(kept);
    let ask = async || {
        answered(router(state.clone()), request("POST", "/api/v1/credentials/db/refresh", Body::empty())).await
    };
    ask().await.assert_problem(StatusCode::NOT_FOUND, "CREDENTIAL_NOT_FOUND");
    pictures.send_replace(Arc::new(credentials(credential("db"))));
    ask().await.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "STOPPING");
}

#[tokio::test]
async fn a_value_comes_in_whole_as_text_and_is_told_to_nobody() {
    const PATH: &str = "/api/v1/credentials/db/value";
    let mut rig = Rig::new();
    for value in ["hunter2", "line\nbreaks\n", &"x".repeat(1 << 20)] {
        let (answer, order) =
            ordered(&mut rig, request("PUT", PATH, value.to_owned()), CredentialReply::Taken("stored".to_owned()))
                .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert!(!format!("{} {order:?}", answer.text).contains(value), "{order:?}");
        let CredentialOrder::Set(secret) = order.order else { panic!("{order:?}") };
        assert_eq!(secret.expose(), value);
    }
    for (body, status, code) in [
        (Body::from(vec![b'x'; (1 << 20) + 1]), StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE"),
        (Body::from(&b"hunter2\xff"[..]), StatusCode::BAD_REQUEST, "VALUE_IS_NO_TEXT"),
        (Body::empty(), StatusCode::BAD_REQUEST, "VALUE_IS_EMPTY"),
    ] {
        let answer = answered(router(rig.state.clone()), request("PUT", PATH, body)).await;
        answer.assert_problem(status, code);
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    }
    assert!(rig.kept.try_recv().is_err(), "what was refused came through");
}

#[tokio::test]
async fn a_value_is_logged_at_no_level() {
    let mut rig = Rig::new();
    let text = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&text);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || Writing(Arc::clone(&sink)))
        .finish();
    crate::system::others_listen_too();
    let guard = tracing::subscriber::set_default(subscriber);
    let put = request("PUT", "/api/v1/credentials/db/value", "hunter2");
    ordered(&mut rig, put, CredentialReply::Taken("stored".to_owned())).await;
    drop(guard);
    let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
    assert!(text.contains("order answered") && !text.contains("hunter2"), "{text}");
}

/// Log lines for a test.
struct Writing(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nobody_orders_or_reads_over_the_network() {
    let mut rig = Rig::new();
    rig.pictures.send_replace(Arc::new(credentials(credential("db"))));
    for (method, path) in [
        ("GET", "/api/v1/credentials"),
        ("GET", "/api/v1/credentials/db"),
        ("GET", "/api/v1/credentials/db/plan"),
        ("POST", "/api/v1/credentials/db/refresh"),
        ("POST", "/api/v1/credentials/db/rotate"),
        ("POST", "/api/v1/credentials/db/rollback"),
        ("PUT", "/api/v1/credentials/db/value"),
    ] {
        let answer = rig.ask(Principal::Anonymous, method, path).await;
        answer.assert_problem(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    }
    assert!(rig.kept.try_recv().is_err(), "an order came through");
    // Whoever may order some day may not hand over a value; one that were taken would find that nobody keeps it.
    rig.kept.close();
    let answer = crate::api::credentials::set(
        State(rig.state.clone()),
        axum::extract::Path("db".to_owned()),
        axum::Extension(Principal::Anonymous),
        axum::Extension(access::RequestId("x".to_owned())),
        Ok(Bytes::from_static(b"hunter2")),
    )
    .await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn health_tells_of_vault_and_of_each_credential() {
    let rig = Rig::new();
    let parts = async |who| {
        let health = rig.ask(who, "GET", "/health").await;
        let report = health.json();
        let part = |name: &str| report["components"][name].clone();
        (health.status, report["status"].clone(), part("vault"), part("credential/db"))
    };
    let mut db = credential("db");
    rig.pictures.send_replace(Arc::new(credentials(db.clone())));
    let (code, status, vault, own) = parts(Principal::Anonymous).await;
    assert_eq!((code, status), (StatusCode::OK, json!("healthy")));
    assert_eq!((&vault["status"], &own["status"]), (&json!("healthy"), &json!("healthy")));
    assert!(own["since"].as_str().unwrap().ends_with('Z'), "{own}");

    db.component = down("permission denied at secret/data/db");
    let mut picture = credentials(db.clone());
    picture.vault.as_mut().unwrap().link = down("sealed");
    rig.pictures.send_replace(Arc::new(picture));
    rig.state.meters.breaker("vault", Breaker::Closed);
    let (code, status, vault, own) = parts(Principal::Anonymous).await;
    assert_eq!((code, status), (StatusCode::OK, json!("degraded")), "Vault never keeps Iaso from its work");
    assert_eq!((&vault["status"], &own["status"]), (&json!("unhealthy"), &json!("degraded")));
    assert!(own.get("message").is_none() && vault.get("message").is_none(), "messages are not for anyone");
    assert_eq!(parts(ROOT).await.3["message"], "permission denied at secret/data/db");
    db.fetched = None;
    rig.pictures.send_replace(Arc::new(credentials(db)));
    assert_eq!(parts(ROOT).await.3["status"], "unhealthy", "there is no value at all");
}

#[tokio::test]
async fn readyz_waits_until_each_credential_was_tried() {
    let rig = Rig::new();
    let ready = async || rig.ask(Principal::Anonymous, "GET", "/readyz").await.status;
    assert_eq!(ready().await, StatusCode::OK, "there is none");
    rig.pictures.send_modify(|picture| {
        *picture = Arc::new(CredentialsPicture { tried: false, ..credentials(credential("db")) });
    });
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
    rig.pictures.send_replace(Arc::new(credentials(credential("db"))));
    assert_eq!(ready().await, StatusCode::OK);
}
