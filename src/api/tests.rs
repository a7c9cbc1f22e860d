mod clients;
mod credentials;
mod heartbeat;
mod incidents;
mod maintenance;

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use futures_util::FutureExt;
use iaso_policy::action::{Answer, Trouble};
use iaso_policy::id::{AttemptId, IncidentId};
use iaso_policy::input::Order;
use iaso_policy::record::Hold;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::config::secret::Secret;
use crate::orders::Reply;
use crate::snapshot::example::{broken, down, held, service, snapshot, up};
use crate::snapshot::{CheckStatus, LostHost};
use crate::system::meters::{Breaker, Meters};
use crate::system::tasks::Tasks;

const ROOT: Principal = Principal::Socket { uid: 0, gid: 0, pid: Some(1) };

/// No history.
struct Nothing;

impl Timeline for Nothing {
    fn newest<'a>(&'a self, _: &'a Identity, _: usize) -> BoxFuture<'a, Vec<Record>> {
        async { Vec::new() }.boxed()
    }

    fn outages(&self, _: Wanted) -> BoxFuture<'_, Result<Page, String>> {
        async { Ok(Default::default()) }.boxed()
    }

    fn outage_ids<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<IncidentId>, String>> {
        async { Ok(Default::default()) }.boxed()
    }

    fn identities_with_outages(&self) -> BoxFuture<'_, Result<Vec<Identity>, String>> {
        async { Ok(Default::default()) }.boxed()
    }

    fn account(&self, _: IncidentId) -> BoxFuture<'_, Result<Option<Account>, String>> {
        async { Ok(Default::default()) }.boxed()
    }
}

/// A store that never answers.
struct Hanging;

impl Timeline for Hanging {
    fn newest<'a>(&'a self, _: &'a Identity, _: usize) -> BoxFuture<'a, Vec<Record>> {
        std::future::pending().boxed()
    }

    fn outages(&self, _: Wanted) -> BoxFuture<'_, Result<Page, String>> {
        std::future::pending().boxed()
    }

    fn outage_ids<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<IncidentId>, String>> {
        std::future::pending().boxed()
    }

    fn identities_with_outages(&self) -> BoxFuture<'_, Result<Vec<Identity>, String>> {
        std::future::pending().boxed()
    }

    fn account(&self, _: IncidentId) -> BoxFuture<'_, Result<Option<Account>, String>> {
        std::future::pending().boxed()
    }
}

/// The router, and the supervisor's end of it.
struct Rig {
    state: ApiState,
    snapshots: watch::Sender<Arc<Snapshot>>,
    orders: mpsc::Receiver<orders::Request>,
    pictures: watch::Sender<Arc<CredentialsPicture>>,
    kept: mpsc::Receiver<orders::CredentialRequest>,
}

impl Rig {
    fn new() -> Self {
        let mut picture = snapshot();
        picture.services = vec![service("api").into(), broken("web", Trouble::EngineUnhealthy).into()];
        Arc::make_mut(&mut picture.services[1]).view.hold = held(Hold::Backoff, Some(40));
        let (snapshots, receiver) = watch::channel(Arc::new(picture));
        let (sender, orders) = mpsc::channel(1);
        let (pictures, credentials) = watch::channel(Arc::default());
        let (credential_orders, kept) = mpsc::channel(1);
        let state = ApiState {
            snapshots: receiver,
            orders: sender,
            credentials,
            credential_orders,
            heartbeat: Heartbeat::new(),
            clock: Clock::new(),
            timeline: Arc::new(Nothing),
            metrics: Arc::new(|| Bytes::from_static(b"up 1\n")),
            meters: Meters::new(Clock::new()),
            explain: |_, service, _, _| json!({ "problem": format!("{} is fine", service.name) }),
            incidents: |_, page, limit, _| json!({ "ids": page.outages.iter().map(|one| one.id.to_string()).collect::<Vec<_>>(), "limit": limit }),
            account: |_, account, _| json!({ "id": account.outage.id.to_string() }),
            ping: Arc::new(|_, _| {}),
        };
        Self { state, snapshots, orders, pictures, kept }
    }

    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshots.send_modify(|picture| change(Arc::make_mut(picture)));
    }

    async fn ask(&self, who: Principal, method: &str, uri: &str) -> Answered {
        let mut request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        request.extensions_mut().insert(who);
        answered(router(self.state.clone()), request).await
    }

    /// A supervisor that gives every order this reply.
    fn replying(mut self, reply: Reply) -> ApiState {
        Tasks::new().spawn("supervisor", async move {
            while let Some(request) = self.orders.recv().await {
                let _ = request.reply.send(reply);
            }
        });
        self.state
    }
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// Whether this is a whole problem document with this code.
    fn assert_problem(&self, status: StatusCode, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, &problem["code"]), (status, &code.into()), "{problem}");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(problem["status"], status.as_u16());
        assert_eq!(problem["request_id"], self.headers["x-request-id"].to_str().unwrap());
        problem
    }
}

async fn answered(router: Router, request: Request<Body>) -> Answered {
    let response = router.oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    Answered { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
}

#[tokio::test]
async fn livez_reads_the_heartbeat() {
    let rig = Rig::new();
    assert_eq!(rig.ask(Principal::Anonymous, "GET", "/livez").await.status, StatusCode::OK);
    while rig.state.heartbeat.is_alive() {
        rig.state.heartbeat.miss();
    }
    assert_eq!(rig.ask(Principal::Anonymous, "GET", "/livez").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let health = rig.ask(Principal::Anonymous, "GET", "/health").await;
    assert_eq!((health.status, &health.json()["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unhealthy")));
}

#[tokio::test]
async fn metrics_are_open_and_typed() {
    let metrics = Rig::new().ask(Principal::Anonymous, "GET", "/metrics").await;
    assert_eq!((metrics.status, &*metrics.text), (StatusCode::OK, "up 1\n"));
    assert_eq!(metrics.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
}

#[tokio::test]
async fn readyz_waits_for_the_first_round() {
    let rig = Rig::new();
    rig.change(|picture| picture.ready = false);
    assert_eq!(rig.ask(Principal::Anonymous, "GET", "/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    rig.change(|picture| picture.ready = true);
    assert_eq!(rig.ask(Principal::Anonymous, "GET", "/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn health_counts_services_and_tells_components() {
    let health = Rig::new().ask(Principal::Anonymous, "GET", "/health").await;
    let report = health.json();
    assert_eq!((health.status, &report["status"]), (StatusCode::OK, &json!("healthy")));
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert!(report["uptime_seconds"].is_u64() && report["timestamp"].as_str().unwrap().ends_with('Z'), "{report}");
    for (key, count) in [("healthy", 1), ("unhealthy", 1), ("total", 2), ("held", 1), ("quarantined", 0), ("paused", 0)]
    {
        assert_eq!(report["services"][key], count, "{key}: {report}");
    }
    let components: Vec<&String> = report["components"].as_object().unwrap().keys().collect();
    assert_eq!(components, ["configuration", "docker/local", "store", "supervisor"]);
}

#[tokio::test]
async fn health_is_degraded_by_a_supervisor_that_does_not_keep_up() {
    let rig = Rig::new();
    rig.change(|picture| picture.supervisor = down("the queue engine/local was full (4096 waited)"));
    let health = rig.ask(Principal::Anonymous, "GET", "/health").await;
    let report = health.json();
    assert_eq!((health.status, &report["status"]), (StatusCode::OK, &json!("degraded")));
    assert_eq!(report["components"]["supervisor"]["status"], "degraded");
    let told = rig.ask(ROOT, "GET", "/health").await.json();
    assert_eq!(told["components"]["supervisor"]["message"], "the queue engine/local was full (4096 waited)");
}

#[tokio::test]
async fn health_is_degraded_without_a_store_and_unhealthy_without_an_engine() {
    let rig = Rig::new();
    rig.change(|picture| picture.store = down("disk full at /var"));
    let health = rig.ask(Principal::Anonymous, "GET", "/health").await;
    assert_eq!((health.status, &health.json()["status"]), (StatusCode::OK, &json!("degraded")));
    assert!(!health.text.contains("disk full"), "messages are not for anyone: {}", health.text);
    let told = rig.ask(ROOT, "GET", "/health").await.json();
    assert_eq!(told["components"]["store"]["message"], "disk full at /var");

    rig.change(|picture| {
        let mut nas = picture.hosts[0].clone();
        nas.name = "nas".into();
        picture.hosts.push(nas);
        picture.hosts[0].link = down("connection refused");
    });
    assert_eq!(rig.ask(Principal::Anonymous, "GET", "/health").await.status, StatusCode::OK, "one of two answers");
    rig.change(|picture| picture.hosts[1].link = down("connection refused"));
    let health = rig.ask(Principal::Anonymous, "GET", "/health").await;
    assert_eq!((health.status, &health.json()["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unhealthy")));
}

#[tokio::test]
async fn a_storm_degrades_its_host() {
    let rig = Rig::new();
    rig.change(|picture| picture.hosts[0].storm = Some(picture.at));
    let health = rig.ask(ROOT, "GET", "/health").await;
    let told = &health.json()["components"]["docker/local"];
    assert_eq!((health.status, &told["status"]), (StatusCode::OK, &json!("degraded")));
    assert!(told["message"].as_str().unwrap().contains("failed at once"), "{told}");
}

#[tokio::test]
async fn a_lost_host_is_told_with_its_incident_and_is_well_as_soon_as_it_is_reached() {
    let rig = Rig::new();
    let told = async || rig.ask(ROOT, "GET", "/health").await.json()["components"]["docker/local"].clone();
    rig.change(|picture| {
        picture.hosts[0].link = down("192.0.2.7:2376: connection refused");
        picture.hosts[0].lost = Some(LostHost { incident: IncidentId(0xcd), since: picture.at });
    });
    let lost = told().await;
    assert_eq!(lost["status"], "unhealthy");
    let message = lost["message"].as_str().unwrap();
    assert!(message.starts_with("192.0.2.7:2376: connection refused; the host is lost"), "{message}");
    assert!(message.ends_with("incident 00000000000000cd"), "{message}");
    // The incident goes on for a while.
    rig.change(|picture| picture.hosts[0].link = up());
    assert_eq!((&told().await["status"], &told().await["message"]), (&json!("healthy"), &Value::Null));
}

#[tokio::test]
async fn a_reporter_that_is_left_alone_degrades_health_until_a_trial_succeeds() {
    let rig = Rig::new();
    let reporter = async || {
        let report = rig.ask(ROOT, "GET", "/health").await.json();
        let part = report["components"]["reporter/webhook"].clone();
        (report["status"].clone(), part["status"].clone(), part["since"].clone(), part["message"].is_string())
    };
    rig.state.meters.breaker("reporter/webhook", Breaker::Closed);
    let (status, part, since, has_message) = reporter().await;
    assert_eq!((status, part, has_message), (json!("healthy"), json!("healthy"), false));
    assert!(since.as_str().unwrap().ends_with('Z'), "{since}");
    for state in [Breaker::Open, Breaker::HalfOpen] {
        rig.state.meters.breaker("reporter/webhook", state);
        let (status, part, _, has_message) = reporter().await;
        assert_eq!((status, part, has_message), (json!("degraded"), json!("unhealthy"), true), "{state:?}");
        let anyone = rig.ask(Principal::Anonymous, "GET", "/health").await;
        assert_eq!(anyone.status, StatusCode::OK);
        assert!(anyone.json()["components"]["reporter/webhook"].get("message").is_none(), "{}", anyone.text);
    }
    rig.state.meters.breaker("reporter/webhook", Breaker::Closed);
    assert_eq!(reporter().await.0, json!("healthy"));
}

#[tokio::test]
async fn strict_health_fails_with_any_service() {
    let rig = Rig::new();
    assert_eq!(rig.ask(Principal::Anonymous, "GET", "/health").await.status, StatusCode::OK);
    let strict = rig.ask(Principal::Anonymous, "GET", "/health?strict=true").await;
    assert_eq!((strict.status, &strict.json()["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("healthy")));
    rig.change(|picture| picture.services.truncate(1));
    assert_eq!(rig.ask(Principal::Anonymous, "GET", "/health?strict=true").await.status, StatusCode::OK);
    let wrong = rig.ask(Principal::Anonymous, "GET", "/health?strict=perhaps").await;
    wrong.assert_problem(StatusCode::BAD_REQUEST, "BAD_REQUEST");
}

#[tokio::test]
async fn one_service_s_health_is_open() {
    let rig = Rig::new();
    assert_eq!(rig.ask(Principal::Anonymous, "GET", "/health/services/api").await.status, StatusCode::OK);
    let web = rig.ask(Principal::Anonymous, "GET", "/health/services/web").await;
    assert_eq!((web.status, &web.json()["health"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unhealthy")));
    let none = rig.ask(Principal::Anonymous, "GET", "/health/services/none").await;
    none.assert_problem(StatusCode::NOT_FOUND, "SERVICE_NOT_FOUND");
    let odd = rig.ask(Principal::Anonymous, "GET", "/health/services/%1b%5b2J").await;
    odd.assert_problem(StatusCode::NOT_FOUND, "SERVICE_NOT_FOUND");
    assert!(!odd.text.contains("2J"), "{}", odd.text);
}

#[tokio::test]
async fn anyone_is_kept_out_of_the_rest() {
    let mut rig = Rig::new();
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/api/v1/services"),
        ("GET", "/api/v1/services/web"),
        ("GET", "/nothing"),
        ("GET", "/health/"),
        ("GET", "//health"),
        ("GET", "/health/../api/v1/services"),
        ("GET", "/health/services/../../api/v1/services/web/restart"),
        ("POST", "/health"),
        ("POST", "/health/services/web"),
        ("DELETE", "/metrics"),
        ("POST", "/api/v1/services/web/restart"),
        ("POST", "/api/v1/services/web/pause"),
        ("POST", "/api/v1/services/web/resume"),
    ] {
        let answer = rig.ask(Principal::Anonymous, method, path).await;
        assert!(matches!(answer.status.as_u16(), 401 | 404), "{method} {path}: {}", answer.status);
        if !path.starts_with("/health/services/") || method == "POST" {
            answer.assert_problem(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
            assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
        }
    }
    assert!(rig.orders.try_recv().is_err(), "an order came through");
    // Where no listener said who asks, nobody does.
    let request = Request::builder().uri("/api/v1/services").body(Body::empty()).unwrap();
    let unnamed = answered(router(rig.state.clone()), request).await;
    unnamed.assert_problem(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}

#[tokio::test]
async fn services_are_listed_and_explained() {
    let rig = Rig::new();
    let list = rig.ask(ROOT, "GET", "/api/v1/services").await.json();
    assert_eq!(list["services"][1]["name"], "web");
    assert_eq!(
        (&list["services"][1]["health"], &list["services"][1]["hold"]),
        (&json!("unhealthy"), &json!("backoff"))
    );
    let web = rig.ask(ROOT, "GET", "/api/v1/services/web").await.json();
    assert_eq!(web["explain"]["problem"], "web is fine");
    assert_eq!((&web["identity"], &web["checks"][0]["kind"]), (&json!("local//web"), &json!("http")));
    rig.ask(ROOT, "GET", "/api/v1/services/none").await.assert_problem(StatusCode::NOT_FOUND, "SERVICE_NOT_FOUND");
    rig.ask(ROOT, "GET", "/nothing").await.assert_problem(StatusCode::NOT_FOUND, "NOT_FOUND");
    rig.ask(ROOT, "PUT", "/api/v1/services").await.assert_problem(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn orders_reach_the_supervisor_with_who_asks() {
    let mut rig = Rig::new();
    for (path, order) in [
        ("restart", Order::Restart { now: false }),
        ("restart?now=true", Order::Restart { now: true }),
        ("pause", Order::Pause),
        ("resume", Order::Resume),
    ] {
        let asked = Request::builder().method("POST").uri(format!("/api/v1/services/web/{path}"));
        let mut request = asked.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Principal::Socket { uid: 1000, gid: 1, pid: None });
        let supervisor = async {
            let taken = rig.orders.recv().await.unwrap();
            assert_eq!((taken.service.as_deref(), taken.order, &*taken.by), (Some("web"), order, "uid 1000"));
            taken.reply.send(Reply::Answered(Answer::Begun(AttemptId(9)))).unwrap();
        };
        let (answer, ()) = tokio::join!(answered(router(rig.state.clone()), request), supervisor);
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(answer.json(), json!({ "id": "0000000000000009", "service": "web", "begun": true }));
    }
}

#[tokio::test]
async fn each_answer_to_an_order_has_its_status() {
    for (reply, status, code) in [
        (Reply::NoSuchService, 404, "SERVICE_NOT_FOUND"),
        (Reply::Answered(Answer::Busy(AttemptId(9))), 409, "OPERATION_IN_FLIGHT"),
        (Reply::Answered(Answer::NoTarget), 409, "NO_CONTAINER"),
        (Reply::Answered(Answer::NoIncident), 409, "NO_INCIDENT"),
        (Reply::Answered(Answer::HostDown), 503, "HOST_DOWN"),
        (Reply::Answered(Answer::Stopping), 503, "STOPPING"),
    ] {
        let mut request = Request::post("/api/v1/services/web/restart").body(Body::empty()).unwrap();
        request.extensions_mut().insert(ROOT);
        let answer = answered(router(Rig::new().replying(reply)), request).await;
        let problem = answer.assert_problem(StatusCode::from_u16(status).unwrap(), code);
        assert_eq!(problem.get("attempt").is_some(), code == "OPERATION_IN_FLIGHT", "{problem}");
    }
    let mut request =
        Request::post("/api/v1/services/web/pause").header("x-request-id", "mine").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ROOT);
    let done = answered(router(Rig::new().replying(Reply::Answered(Answer::Done))), request).await;
    assert_eq!((done.status, &done.json()["id"]), (StatusCode::ACCEPTED, &json!("mine")));
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_does_not_answer_costs_the_asker_four_seconds() {
    let rig = Rig::new();
    let (asked, full) = tokio::join!(
        rig.ask(ROOT, "POST", "/api/v1/services/web/pause"),
        rig.ask(ROOT, "POST", "/api/v1/services/web/pause")
    );
    asked.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "TIMEOUT");
    full.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_ORDERS");
    let Rig { state, orders, .. } = rig;
    drop(orders);
    let mut request = Request::post("/api/v1/services/web/pause").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ROOT);
    answered(router(state), request).await.assert_problem(StatusCode::SERVICE_UNAVAILABLE, "STOPPING");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_keep_the_explanation() {
    let mut rig = Rig::new();
    rig.state.timeline = Arc::new(Hanging);
    assert_eq!(rig.ask(ROOT, "GET", "/api/v1/services/web").await.json()["explain"]["problem"], "web is fine");
}

#[tokio::test]
async fn a_panic_is_an_answer_without_internals() {
    let mut rig = Rig::new();
    rig.state.explain = |_, _, _, _| panic!("SECRET");
    let answer = rig.ask(ROOT, "GET", "/api/v1/services/web").await;
    answer.assert_problem(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL");
    assert!(!answer.text.contains("SECRET"), "{}", answer.text);
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused() {
    let rig = Rig::new();
    let mut request =
        Request::post("/api/v1/services/web/pause").header("content-length", "10485761").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ROOT);
    let answer = answered(router(rig.state.clone()), request).await;
    answer.assert_problem(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_fit_request_id_comes_back_and_an_unfit_one_is_replaced() {
    let rig = Rig::new();
    for (given, kept) in [("abc-1.2_3", true), ("a b", false), ("", false), (&*"x".repeat(65), false)] {
        let request = Request::get("/livez").header("x-request-id", given).body(Body::empty()).unwrap();
        let answer = answered(router(rig.state.clone()), request).await;
        assert_eq!(answer.headers["x-request-id"] == given, kept, "{given}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}
