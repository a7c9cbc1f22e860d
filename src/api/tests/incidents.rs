//! Outages: what is asked of the past, what is answered, and what is no question.

use iaso_policy::record::Ending;

use super::*;
use crate::incidents::Outage;
use crate::snapshot::example::{INCIDENT, at, secs};

/// Knows one outage of a service that is watched and one of a service that is gone, and what it was asked.
#[derive(Default)]
struct Past {
    asked: Arc<Mutex<Vec<Wanted>>>,
}

fn gone() -> Identity {
    Identity::compose("nas", "shop", "db", 1).unwrap()
}

fn outage(id: IncidentId) -> Outage {
    Outage {
        id,
        identity: gone(),
        opened: at(-100),
        trouble: Trouble::EngineUnhealthy,
        attempts: 0,
        failed: 0,
        acknowledged: None,
        closed: Some((at(-90), Ending::Recovered)),
        lasted: Some(secs(10)),
        root: None,
    }
}

impl Timeline for Past {
    fn newest<'a>(&'a self, _: &'a Identity, _: usize) -> BoxFuture<'a, Vec<Record>> {
        async { Vec::new() }.boxed()
    }

    fn outages(&self, wanted: Wanted) -> BoxFuture<'_, Result<Page, String>> {
        self.asked.lock().unwrap().push(wanted);
        async { Ok(Page { outages: vec![outage(INCIDENT)], within: Vec::new() }) }.boxed()
    }

    fn outage_ids<'a>(&'a self, digits: &'a str) -> BoxFuture<'a, Result<Vec<IncidentId>, String>> {
        let ids = [INCIDENT, IncidentId(0xac), IncidentId(1 << 60)];
        async move { Ok(ids.into_iter().filter(|id| id.to_string().starts_with(digits)).collect()) }.boxed()
    }

    fn identities_with_outages(&self) -> BoxFuture<'_, Result<Vec<Identity>, String>> {
        async { Ok(vec![gone()]) }.boxed()
    }

    fn account(&self, id: IncidentId) -> BoxFuture<'_, Result<Option<Account>, String>> {
        let account =
            |id| Account { outage: outage(id), records: Vec::new(), evidence: Vec::new(), within: Vec::new() };
        async move { Ok(Some(id).filter(|id| id.0 > 1).map(account)) }.boxed()
    }
}

fn rig() -> (Rig, Arc<Mutex<Vec<Wanted>>>) {
    let (mut rig, past) = (Rig::new(), Past::default());
    let asked = Arc::clone(&past.asked);
    rig.state.timeline = Arc::new(past);
    (rig, asked)
}

#[tokio::test]
async fn outages_are_asked_for_by_service_page_and_number() {
    let (rig, asked) = rig();
    let answer = rig.ask(ROOT, "GET", "/api/v1/incidents").await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({ "ids": ["00000000000000ab"], "limit": 20 })));
    let path = "/api/v1/incidents?service=web&open=true&limit=2&before=00000000000000ac";
    assert_eq!(rig.ask(ROOT, "GET", path).await.json()["limit"], 2);
    assert_eq!(rig.ask(ROOT, "GET", "/api/v1/incidents?service=shop-db").await.status, StatusCode::OK);
    let wanted = |identity, open, before, limit| Wanted { identity, open, before, limit };
    let web = Identity::container("local", "web").unwrap();
    assert_eq!(
        *asked.lock().unwrap(),
        [
            wanted(None, false, None, 21),
            wanted(Some(web), true, Some(IncidentId(0xac)), 3),
            wanted(Some(gone()), false, None, 21),
        ]
    );
}

#[tokio::test]
async fn what_is_no_question_gets_a_clear_answer() {
    let (rig, asked) = rig();
    for (path, told) in [
        ("?limit=0", "expected limit from 1 to 500, found 0"),
        ("?limit=501", "found 501"),
        ("?limit=x", "limit"),
        ("?open=perhaps", "open"),
        ("?before=ab", "expected before: an outage's id, 16 hexadecimal digits"),
        ("?since=1", "unknown field `since`"),
    ] {
        let answer = rig.ask(ROOT, "GET", &format!("/api/v1/incidents{path}")).await;
        let problem = answer.assert_problem(StatusCode::BAD_REQUEST, "BAD_REQUEST");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{path}: {problem}");
    }
    let nobody = rig.ask(ROOT, "GET", "/api/v1/incidents?service=nobody").await;
    nobody.assert_problem(StatusCode::NOT_FOUND, "SERVICE_NOT_FOUND");
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_outage_is_found_by_the_first_digits_of_its_id() {
    let (rig, _) = rig();
    for digits in ["00000000000000ab", "00000000000000AB", "10", "1000000000000000"] {
        let answer = rig.ask(ROOT, "GET", &format!("/api/v1/incidents/{digits}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{digits}: {}", answer.text);
    }
    let several = rig.ask(ROOT, "GET", "/api/v1/incidents/00000000000000a").await;
    let problem = several.assert_problem(StatusCode::CONFLICT, "AMBIGUOUS_ID");
    assert!(problem["detail"].as_str().unwrap().ends_with("00000000000000ab, 00000000000000ac"), "{problem}");
    for digits in ["f", "0000000000000001"] {
        let unknown = rig.ask(ROOT, "GET", &format!("/api/v1/incidents/{digits}")).await;
        unknown.assert_problem(StatusCode::NOT_FOUND, "INCIDENT_NOT_FOUND");
    }
    for digits in ["web", "00000000000000abc", "%27"] {
        let wrong = rig.ask(ROOT, "GET", &format!("/api/v1/incidents/{digits}")).await;
        wrong.assert_problem(StatusCode::BAD_REQUEST, "BAD_REQUEST");
    }
}

#[tokio::test]
async fn outages_are_for_the_socket_alone_and_a_store_that_hangs_is_not_waited_for() {
    let (mut rig, _) = rig();
    for path in ["/api/v1/incidents", "/api/v1/incidents/00000000000000ab"] {
        rig.ask(Principal::Anonymous, "GET", path).await.assert_problem(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    }
    tokio::time::pause();
    rig.state.timeline = Arc::new(Hanging);
    assert_eq!(rig.ask(ROOT, "GET", "/api/v1/incidents").await.status, StatusCode::SERVICE_UNAVAILABLE);
}
