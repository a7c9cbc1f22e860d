//! Maintenance and acknowledgement: what is told, what reaches the supervisor, and what does not.

use std::time::Duration;

use super::*;
use crate::snapshot::WindowStatus;

fn request(path: &str, body: &Value) -> Request<Body> {
    let mut request = Request::post(path).body(Body::from(body.to_string())).unwrap();
    request.extensions_mut().insert(ROOT);
    request
}

/// Sends a request and has so many orders done; what they were.
async fn ordered(rig: &mut Rig, request: Request<Body>, number: usize) -> (Answered, Vec<(Option<String>, Order)>) {
    let supervisor = async {
        let mut taken = Vec::new();
        for _ in 0..number {
            let order = rig.orders.recv().await.unwrap();
            assert_eq!(order.comment.as_deref(), Some("new disk"));
            order.reply.send(Reply::Answered(Answer::Done)).unwrap();
            taken.push((order.service, order.order));
        }
        taken
    };
    tokio::join!(answered(router(rig.state.clone()), request), supervisor)
}

#[tokio::test]
async fn windows_and_what_is_under_maintenance_are_told() {
    let rig = Rig::new();
    assert_eq!(rig.ask(ROOT, "GET", "/api/v1/maintenance").await.json(), json!({ "windows": [], "services": [] }));
    let until = rig.state.clock.mono() + Duration::from_secs(3600);
    rig.change(|picture| {
        picture.windows.push(WindowStatus {
            name: "backup".into(),
            hosts: vec!["nas".to_owned()],
            services: Vec::new(),
            open_until: None,
            next: Some(1_772_373_600_000),
        });
        Arc::make_mut(&mut picture.services[0]).view.maintained_until = Some(until);
    });
    let told = rig.ask(ROOT, "GET", "/api/v1/maintenance").await.json();
    let window = json!({ "name": "backup", "hosts": ["nas"], "services": [], "open_until": null, "next": "2026-03-01T14:00:00.000Z" });
    assert_eq!(told["windows"], json!([window]));
    assert_eq!(told["services"][0]["service"], "api");
    assert!(rig.ask(ROOT, "GET", "/api/v1/services").await.json()["services"][0]["maintenance_until"].is_string());
    let refused = rig.ask(Principal::Anonymous, "GET", "/api/v1/maintenance").await;
    refused.assert_problem(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
}

#[tokio::test]
async fn maintenance_is_ordered_for_named_services_or_for_everything() {
    let mut rig = Rig::new();
    let body = json!({ "services": ["api", "web"], "for_seconds": 60, "comment": "new disk" });
    let (answer, orders) = ordered(&mut rig, request("/api/v1/maintenance", &body), 2).await;
    assert_eq!((answer.status, &answer.json()["services"]), (StatusCode::ACCEPTED, &json!(["api", "web"])));
    assert!(answer.json()["until"].is_string());
    assert!(matches!(&orders[..], [
        (Some(api), Order::Maintain { everything: false, .. }),
        (Some(_), Order::Maintain { .. })
    ] if api == "api"));
    let body = json!({ "everything": true, "for_seconds": 60, "comment": "new disk" });
    let (_, orders) = ordered(&mut rig, request("/api/v1/maintenance", &body), 1).await;
    assert!(matches!(&orders[..], [(None, Order::Maintain { everything: true, .. })]), "{orders:?}");
    let body = json!({ "everything": true, "comment": "new disk" });
    let (answer, orders) = ordered(&mut rig, request("/api/v1/maintenance/end", &body), 1).await;
    assert_eq!(orders, [(None, Order::EndMaintenance { everything: true })]);
    assert_eq!(answer.json(), json!({ "services": [], "until": null }));
}

#[tokio::test]
async fn an_outage_is_acknowledged_by_its_id() {
    let mut rig = Rig::new();
    let body = json!({ "comment": "new disk" });
    let asked = request("/api/v1/incidents/00000000000000ab/ack", &body);
    let (answer, orders) = ordered(&mut rig, asked, 1).await;
    assert_eq!(
        (answer.status, orders),
        (StatusCode::ACCEPTED, vec![(Some("web".to_owned()), Order::Acknowledge { until: None })])
    );
    let unknown = answered(router(rig.state.clone()), request("/api/v1/incidents/cd/ack", &json!({}))).await;
    unknown.assert_problem(StatusCode::NOT_FOUND, "INCIDENT_NOT_FOUND");
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_said_and_orders_nothing() {
    let mut rig = Rig::new();
    let long = "x".repeat(501);
    for (path, body, part) in [
        ("/api/v1/maintenance", json!({ "services": ["api"] }), "for_seconds"),
        ("/api/v1/maintenance", json!({ "services": ["api"], "for_seconds": 0 }), "from 1 to"),
        ("/api/v1/maintenance", json!({ "services": ["api"], "for_seconds": 31 * 86_400 + 1 }), "from 1 to"),
        ("/api/v1/maintenance", json!({ "for_seconds": 60 }), "expected services"),
        (
            "/api/v1/maintenance",
            json!({ "services": ["api"], "everything": true, "for_seconds": 60 }),
            "expected services",
        ),
        ("/api/v1/maintenance", json!({ "service": "api", "for_seconds": 60 }), "unknown field"),
        ("/api/v1/maintenance", json!({ "services": ["api"], "for_seconds": 60, "comment": "a\nb" }), "on one line"),
        ("/api/v1/maintenance", json!({ "services": ["api"], "for_seconds": 60, "comment": long }), "500 characters"),
        ("/api/v1/maintenance/end", json!({ "services": ["api"], "for_seconds": 60 }), "no for_seconds"),
        ("/api/v1/maintenance/end", json!([]), "expected services"),
        ("/api/v1/incidents/00000000000000ab/ack", json!({ "for_seconds": 0 }), "from 1 to"),
    ] {
        let answer = answered(router(rig.state.clone()), request(path, &body)).await;
        let problem = answer.assert_problem(StatusCode::BAD_REQUEST, "BAD_REQUEST");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{body}: {problem}");
    }
    let unknown = request("/api/v1/maintenance", &json!({ "services": ["api", "wbe"], "for_seconds": 60 }));
    let answer = answered(router(rig.state.clone()), unknown).await;
    assert_eq!(
        answer.assert_problem(StatusCode::NOT_FOUND, "SERVICE_NOT_FOUND")["detail"],
        "there is no service `wbe`"
    );
    assert!(rig.orders.try_recv().is_err(), "not even for the one that there is");
}
