//! Pings of services, over TCP and over the socket.

use super::*;

/// A service with a heartbeat for each of these names and tokens.
fn with_heartbeats(name: &str, beats: &[(&str, Option<&str>)]) -> ServiceStatus {
    let mut service = service(name);
    let example = service.checks[0].clone();
    service.checks.extend(beats.iter().map(|(name, token)| CheckStatus {
        name: Arc::from(*name),
        kind: "heartbeat",
        ping_token: token.map(Secret::new),
        ..example.clone()
    }));
    service
}

#[tokio::test]
async fn a_ping_over_tcp_needs_the_check_s_token_and_over_the_socket_none() {
    let mut rig = Rig::new();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&taken);
    rig.state.ping = Arc::new(move |service, check| noted.lock().unwrap().push(format!("{service}/{check}")));
    let (nightly, hourly) = ("correct horse battery staple", "another token of its own");
    rig.change(|picture| {
        let beats = [("nightly", Some(nightly)), ("hourly", Some(hourly)), ("local", None)];
        picture.services.push(with_heartbeats("jobs", &beats).into());
    });
    let ping = async |who, method, path: &str, authorization: Option<&str>| {
        let mut request = Request::builder().method(method).uri(format!("/api/v1/heartbeat/{path}"));
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(who);
        let answered = answered(router(rig.state.clone()), request).await;
        (answered, taken.lock().unwrap().drain(..).collect::<Vec<String>>())
    };
    let bearer = |token: &str| format!("Bearer {token}");
    // Over TCP: what the token opens, and nothing else.
    let anyone = Principal::Anonymous;
    for (path, token, opened) in [
        ("jobs/nightly", nightly, vec!["jobs/nightly"]),
        ("jobs", nightly, vec!["jobs/nightly"]),
        ("jobs", hourly, vec!["jobs/hourly"]),
    ] {
        let (answer, pings) = ping(anyone, "POST", path, Some(&bearer(token))).await;
        assert_eq!((answer.status, pings), (StatusCode::NO_CONTENT, opened.iter().map(ToString::to_string).collect()));
    }
    let (unknown, _) = ping(anyone, "POST", "nobody", Some(&bearer(nightly))).await;
    let unknown = unknown.assert_problem(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    let wrong = [
        ("jobs/hourly", Some(bearer(nightly))),
        ("jobs/local", Some(bearer(""))),
        ("jobs/local", Some(bearer(nightly))),
        ("jobs/nothing", Some(bearer(nightly))),
        ("jobs", Some(bearer(""))),
        ("jobs", Some(bearer(&nightly[1..]))),
        ("jobs", Some(format!("Basic {nightly}"))),
        ("jobs", Some(nightly.to_owned())),
        ("jobs", None),
        ("web", Some(bearer(nightly))),
    ];
    for (path, authorization) in wrong {
        let (answer, pings) = ping(anyone, "POST", path, authorization.as_deref()).await;
        let problem = answer.assert_problem(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        assert!(pings.is_empty(), "{path} {authorization:?}");
        assert_eq!(problem["detail"], unknown["detail"], "it tells whether the service exists");
        assert!(!answer.text.contains("horse"));
    }
    // Over the socket: all of the service, or one.
    let (answer, pings) = ping(ROOT, "POST", "jobs", None).await;
    assert_eq!((answer.status, pings.len()), (StatusCode::NO_CONTENT, 3));
    let (_, pings) = ping(ROOT, "POST", "jobs/local", None).await;
    assert_eq!(pings, ["jobs/local"]);
    let (answer, _) = ping(ROOT, "POST", "jbos", None).await;
    let problem = answer.assert_problem(StatusCode::NOT_FOUND, "SERVICE_NOT_FOUND");
    assert!(problem["detail"].as_str().unwrap().contains("did you mean `jobs`"), "{problem}");
    for (path, words) in [("web", "no check of type heartbeat"), ("jobs/daily", "it has nightly, hourly, local")] {
        let (answer, _) = ping(ROOT, "POST", path, None).await;
        let problem = answer.assert_problem(StatusCode::NOT_FOUND, "HEARTBEAT_NOT_FOUND");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    let (answer, pings) = ping(ROOT, "GET", "jobs", None).await;
    assert_eq!((answer.status, pings.len()), (StatusCode::METHOD_NOT_ALLOWED, 0));
}
