//! What answers amount to, and what is asked again.

use super::*;

/// What a write, which is done once, amounts to.
async fn write_fault(reply: Reply) -> (Fault, String) {
    let vault = session(&Server::new(vec![reply]));
    let fields = Fields::from([("value".to_owned(), Secret::new("hunter2"))]);
    let failure = vault.kv2_write("secret", "app", &fields, 0).await.unwrap_err();
    (clean(&failure).fault, failure.words)
}

#[tokio::test]
async fn answers_have_the_faults_of_the_reference() {
    for (reply, fault) in [
        (status(403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#), Fault::Denied),
        (
            status(403, r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#),
            Fault::Denied,
        ),
        (status(400, r#"{"errors":["missing client token"]}"#), Fault::Denied),
        (status(404, r#"{"errors":[]}"#), Fault::NotFound),
        (status(404, r#"{"errors":["namespace not found"]}"#), Fault::NotFound),
        (status(404, r#"{"errors":["no handler for route \"x/y\". route entry not found."]}"#), Fault::NotFound),
        (
            status(404, r#"{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine"]}"#),
            Fault::NotFound,
        ),
        (status(404, ""), Fault::NotFound),
        (
            status(
                404,
                r#"{"request_id":"1","data":{"data":null,"metadata":{"version":2,"destroyed":true}},"auth":null}"#,
            ),
            Fault::Deleted,
        ),
        (status(412, r#"{"errors":["required index state not present"]}"#), Fault::Failing),
        (status(413, r#"{"errors":["too large"]}"#), Fault::Refused),
        (status(400, r#"{"errors":["unknown role: x"]}"#), Fault::Refused),
        (status(400, r#"{"errors":["Upgrading from non-versioned to versioned data"]}"#), Fault::Failing),
        (
            status(429, r#"{"errors":["request path \"x\": rate limit quota exceeded"]}"#),
            Fault::RateLimited { after: None },
        ),
        (status(500, r#"{"errors":["internal error"]}"#), Fault::Failing),
        (status(502, "<html>bad gateway</html>"), Fault::Failing),
        (status(403, "<html>who are you</html>"), Fault::Failing),
        (status(503, "<html>maintenance</html>"), Fault::Failing),
        (status(503, SEALED), Fault::Sealed),
        (status(503, r#"{"errors":["no active Vault instance found"]}"#), Fault::Sealed),
        (status(503, r#"{"errors":["something else"]}"#), Fault::Failing),
        (status(301, ""), Fault::Standby),
        (ok("<html>welcome</html>"), Fault::Malformed),
        (ok(r#"{"data":null}"#), Fault::Malformed),
        (ok(""), Fault::Malformed),
        (ok(r#"{"data":{"data":{"value":"hunter2"}}}"#), Fault::Malformed),
        (Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"data\":".to_owned()), Fault::Malformed),
        (Reply::Raw(String::new()), Fault::Ambiguous),
        (Reply::Raw("rubbish".to_owned()), Fault::Ambiguous),
        (Reply::Hang, Fault::Ambiguous),
    ] {
        let sent = match &reply {
            Reply::Http(status, _, body) => format!("{status} {body}"),
            Reply::Raw(bytes) => bytes.clone(),
            Reply::Hang => "nothing".to_owned(),
        };
        assert_eq!(read_fault(reply).await.0, fault, "{sent}");
    }
}

#[tokio::test]
async fn of_a_change_a_lost_answer_leaves_open_what_was_done() {
    for (reply, fault) in [
        (ok("<html>welcome</html>"), Fault::Ambiguous),
        (Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"data\":".to_owned()), Fault::Ambiguous),
        (ok(r#"{"data":null}"#), Fault::Ambiguous),
        (ok(&format!(r#"{{"data":"{}"}}"#, "x".repeat(3 << 20))), Fault::Ambiguous),
        (Reply::Hang, Fault::Ambiguous),
        (status(400, r#"{"errors":["check-and-set parameter did not match the current version"]}"#), Fault::Conflict),
        (status(400, r#"{"errors":["check-and-set parameter required for this call"]}"#), Fault::Refused),
    ] {
        assert_eq!(write_fault(reply).await.0, fault);
    }
}

#[tokio::test]
async fn who_cannot_be_reached_was_not_asked() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let vault = client(&settings(format!("http://{nobody}"), Auth::Token(text(SESSION))));
    vault.swap(Some(Secret::new(SESSION)));
    let failure = vault.kv2_write("secret", "app", &Fields::new(), 0).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Unreachable, "{failure}");
    assert!(failure.words.contains("refused"), "{failure}");

    // Its queue of connections is full: a further one is not taken on.
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let address = full.local_addr().unwrap();
    let queued: Vec<_> = (0..2).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200))).collect();
    let vault = client(&settings(format!("http://{address}"), Auth::Token(text(SESSION))));
    vault.swap(Some(Secret::new(SESSION)));
    let failure = vault.kv2_write("secret", "app", &Fields::new(), 0).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Unreachable, "{failure}");
    drop(queued);
}

#[tokio::test]
async fn a_limit_that_names_a_wait_is_not_tried_again() {
    let limited = || Reply::Http(429, "retry-after: 7\r\n", r#"{"errors":["rate limit quota exceeded"]}"#.to_owned());
    let server = Server::new(vec![limited(), limited()]);
    let mut patient = settings(server.address(), Auth::Token(text(SESSION)));
    patient.timeout = Duration::from_secs(10);
    let vault = client(&patient);
    vault.swap(Some(Secret::new(SESSION)));
    let failure = vault.kv2_read("secret", "app", None).await.unwrap_err();
    assert_eq!(failure.fault, Fault::RateLimited { after: Some(Duration::from_secs(7)) });
    assert_eq!(server.lines().len(), 1);
    let (fault, _) = read_fault(Reply::Http(429, "retry-after: soon\r\n", String::new())).await;
    assert_eq!(fault, Fault::RateLimited { after: None });
}

#[tokio::test]
async fn reads_are_tried_again_and_changes_are_not() {
    let answer = r#"{"data":{"data":{"value":"hunter2"},"metadata":{"version":4}}}"#;
    let server = Server::new(vec![status(503, SEALED), ok(answer), status(503, SEALED), ok("{}")]);
    let mut patient = settings(server.address(), Auth::Token(text(SESSION)));
    patient.timeout = Duration::from_secs(10);
    let vault = client(&patient);
    vault.swap(Some(Secret::new(SESSION)));
    assert_eq!(vault.kv2_read("secret", "app", None).await.unwrap().version, Some(4));
    assert_eq!(vault.kv2_write("secret", "app", &Fields::new(), 0).await.unwrap_err().fault, Fault::Sealed);
    assert_eq!(server.lines(), ["GET /v1/secret/data/app", "GET /v1/secret/data/app", "POST /v1/secret/data/app"]);
}

#[tokio::test]
async fn a_server_that_is_down_is_left_alone_until_it_serves() {
    let sealed = r#"{"initialized":true,"sealed":true,"standby":true}"#;
    let well = r#"{"initialized":true,"sealed":false,"standby":false}"#;
    let answer = r#"{"data":{"data":{},"metadata":{"version":4}}}"#;
    let mut replies: Vec<_> = (0..5).map(|_| status(502, "")).collect();
    replies.extend([status(503, sealed), ok(well), ok(answer), ok(answer)]);
    let server = Server::new(replies);
    let vault = session(&server);
    let read = async || vault.kv2_read("secret", "app", None).await;
    for _ in 0..5 {
        assert_eq!(read().await.unwrap_err().fault, Fault::Failing);
    }
    // Its health is asked for in its place, once in a while.
    for _ in 0..3 {
        let failure = read().await.unwrap_err();
        assert_eq!((failure.fault, server.lines().len()), (Fault::Sealed, 6), "{failure}");
        assert!(failure.words.starts_with("secret/data/app: not asked"), "{failure}");
    }
    assert!(server.lines()[5].starts_with("GET /v1/sys/health"));
    *vault.looked.lock().unwrap() = None;
    assert!(read().await.is_ok() && read().await.is_ok());
    let (read, health) = ("GET /v1/secret/data/app", "GET /v1/sys/health?standbyok=true&perfstandbyok=true");
    assert_eq!(server.lines()[6..], [health, read, read]);
}
