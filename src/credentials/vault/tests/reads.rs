//! Secrets as they are read, written and lent.

use super::*;

#[tokio::test]
async fn what_is_no_text_becomes_its_json_text() {
    let data = r#"{"text":"a\nb","number":12345678901234567890123,"flag":false,"none":null,"object":{"b":[1,"x"]},"float":1.50}"#;
    let server = Server::new(vec![ok(&format!(
        r#"{{"data":{{"data":{data},"metadata":{{"version":7,"custom_metadata":null,"new":{{}}}}}},"mount_type":"kv"}}"#
    ))]);
    let found = session(&server).kv2_read("secret", "app", None).await.unwrap();
    let fields: Vec<_> = found.fields.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    let expected = [
        ("flag", "false"),
        ("float", "1.50"),
        ("number", "12345678901234567890123"),
        ("object", r#"{"b":[1,"x"]}"#),
        ("text", "a\nb"),
    ];
    assert_eq!(fields, expected);
    assert_eq!((found.version, found.lease, found.not_after), (Some(7), None, None));
}

#[tokio::test]
async fn a_secret_may_have_a_mebibyte() {
    let of = |length: usize| {
        ok(&format!(r#"{{"data":{{"data":{{"value":"{}"}},"metadata":{{"version":1}}}}}}"#, "x".repeat(length)))
    };
    let server = Server::new(vec![of(1 << 20), of((1 << 20) + 1), of(3 << 20)]);
    let vault = session(&server);
    assert!(vault.kv2_read("secret", "app", None).await.is_ok());
    for words in ["1 MiB", "2 MiB"] {
        let failure = vault.kv2_read("secret", "app", None).await.unwrap_err();
        assert_eq!(failure.fault, Fault::Malformed);
        assert!(failure.words.len() < 200 && failure.words.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn a_write_keeps_what_other_fields_are() {
    let before = r#"{"data":{"data":{"port":5432,"value":"old","list":[1,2]},"metadata":{"version":3}}}"#;
    let server = Server::new(vec![ok(before), ok(r#"{"data":{"version":4}}"#)]);
    let fields = [("port", "5432"), ("value", "hunter2"), ("list", "[1]")];
    let fields: Fields = fields.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
    assert_eq!(session(&server).kv2_write("secret", "app", &fields, 3).await.unwrap(), 4);
    assert_eq!(server.lines(), ["GET /v1/secret/data/app?version=3", "POST /v1/secret/data/app"]);
    let sent = r#"{"options":{"cas":3},"data":{"list":"[1]","port":5432,"value":"hunter2"}}"#;
    assert!(server.asked()[1].ends_with(sent), "{}", server.asked()[1]);
}

#[tokio::test]
async fn a_deletion_in_the_future_is_not_yet_one() {
    let metadata = r#"{"data":{"current_version":3,"oldest_version":1,"max_versions":0,"cas_required":false,
        "custom_metadata":{"managed-by":"iaso","note":"kept"},"versions":{
        "1":{"created_time":"2026-01-01T00:00:00Z","deletion_time":"2026-02-01T00:00:00.5Z","destroyed":false},
        "2":{"created_time":"2026-01-01T00:00:00Z","deletion_time":"","destroyed":true},
        "3":{"created_time":"2026-01-01T00:00:00Z","deletion_time":"2036-02-01T00:00:00.123456789Z","destroyed":false}}}}"#;
    let server = Server::new(vec![ok(metadata), ok(metadata), status(204, ""), ok(metadata)]);
    let vault = session(&server);
    let found = vault.kv2_metadata("secret", "app").await.unwrap();
    let now = 1_790_000_000; // in September 2026
    let readable: Vec<_> = found.versions.iter().map(|(number, version)| (*number, version.is_readable(now))).collect();
    assert_eq!((found.current_version, readable), (3, vec![(1, false), (2, false), (3, true)]));

    let change =
        |value: &str| BTreeMap::from([("managed-by".to_owned(), None), ("current".to_owned(), Some(value.to_owned()))]);
    vault.kv2_annotate("secret", "app", &change("3")).await.unwrap();
    let sent = &server.asked()[2];
    assert!(sent.starts_with("POST /v1/secret/metadata/app "), "{sent}");
    let body: serde_json::Value = serde_json::from_str(sent.rsplit("\r\n").next().unwrap()).unwrap();
    assert_eq!(body, serde_json::json!({"custom_metadata": {"current": "3", "note": "kept"}}));
    // What is so already is not written.
    let same = BTreeMap::from([("note".to_owned(), Some("kept".to_owned())), ("absent".to_owned(), None)]);
    vault.kv2_annotate("secret", "app", &same).await.unwrap();
    assert_eq!(server.lines().len(), 4);
}

fn marked(version: u64, marks: &str) -> Reply {
    ok(&format!(
        r#"{{"data":{{"data":{{"value":"v{version}"}},"metadata":{{"version":{version},"custom_metadata":{marks}}}}}}}"#
    ))
}

#[tokio::test]
async fn a_version_that_a_rotation_has_not_published_is_not_the_value() {
    let source = Source::Kv2 { mount: "secret".to_owned(), path: "app".to_owned() };
    let (newest, second) = ("GET /v1/secret/data/app", "GET /v1/secret/data/app?version=2");
    let ours = |marks: &str| format!(r#"{{"managed-by":"iaso",{marks}}}"#);
    let pending = ours(r#""current":"2","pending":"3""#);
    let behind = ours(r#""current":"2""#);
    let nothing = status(404, r#"{"errors":[]}"#);
    let deleted = status(404, r#"{"data":{"data":null,"metadata":{"version":2,"destroyed":true}}}"#);
    let first = ours(r#""current":"0","pending":"3""#);
    let unknown = ours(r#""pending":"3""#);
    let foreign = r#"{"managed-by":"another","current":"2","pending":"3"}"#;
    for (replies, found, asked) in [
        (vec![marked(3, &ours(r#""current":"3","previous":"2""#))], Ok(3), vec![newest]),
        (vec![marked(3, &pending), marked(2, &pending)], Ok(2), vec![newest, second]),
        // What was written after it ends its wait.
        (vec![marked(4, &pending), marked(4, &pending)], Ok(4), vec![newest, newest]),
        // A rotation's mark that was on its way, and none: a person has written.
        (vec![marked(3, &behind), marked(3, &pending), marked(2, &pending)], Ok(2), vec![newest, newest, second]),
        (vec![marked(3, &behind), marked(3, &behind)], Ok(3), vec![newest, newest]),
        (vec![marked(3, &pending), nothing], Err(Fault::NotFound), vec![newest, second]),
        (vec![marked(3, &pending), deleted], Err(Fault::Deleted), vec![newest, second]),
        (vec![marked(3, &first)], Err(Fault::NotFound), vec![newest]),
        (vec![marked(3, &unknown)], Err(Fault::NotFound), vec![newest]),
        (vec![marked(3, foreign)], Ok(3), vec![newest]),
        (vec![marked(3, r#"{"managed-by":"iaso","pending":3}"#)], Ok(3), vec![newest]),
    ] {
        let server = Server::new(replies);
        let read = session(&server).read(&source).await;
        let read = read.map(|found| (found.version, found.fields["value"].expose().to_owned()));
        assert_eq!(read.map_err(|failure| failure.fault), found.map(|n: u64| (Some(n), format!("v{n}"))), "{asked:?}");
        assert_eq!(server.lines(), asked);
    }
}

#[tokio::test]
async fn leases_are_renewed_and_revoked() {
    let renewed = r#"{"lease_id":"database/creds/app/x","lease_duration":60,"renewable":true,"data":null}"#;
    let server = Server::new(vec![
        ok(renewed),
        status(400, r#"{"errors":["lease not found"]}"#),
        status(400, r#"{"errors":["failed to renew entry: connection refused"]}"#),
        ok("{}"),
        status(204, ""),
        ok(r#"{"data":{"id":"database/creds/app/x","ttl":59,"renewable":true,"issue_time":"2026-01-01T00:00:00Z"}}"#),
    ]);
    let vault = session(&server);
    let second = Duration::from_secs(1);
    let lease = vault.renew_lease("database/creds/app/x", 60 * second).await.unwrap();
    assert_eq!((lease.id.as_str(), lease.ttl, lease.renewable), ("database/creds/app/x", 60 * second, true));
    for fault in [Fault::Refused, Fault::Failing, Fault::Malformed] {
        assert_eq!(vault.renew_lease("x", second).await.unwrap_err().fault, fault);
    }
    vault.revoke_lease("").await.unwrap();
    vault.revoke_lease("database/creds/app/x").await.unwrap();
    assert_eq!(vault.lookup_lease("database/creds/app/x").await.unwrap().ttl, 59 * second);
    let asked = server.asked();
    assert!(
        asked[4].starts_with("POST /v1/sys/leases/revoke ") && asked[4].ends_with(r#","sync":true}"#),
        "{}",
        asked[4]
    );
}

#[tokio::test]
async fn each_source_is_read() {
    let server = Server::new(vec![
        ok(r#"{"data":{"data":{"value":"a"},"metadata":{"version":2}}}"#),
        ok(r#"{"data":{"value":"b"},"lease_id":"","lease_duration":2764800,"renewable":false}"#),
        ok(r#"{"data":{"value":"b","ttl":"1h"},"lease_id":"","lease_duration":3600,"renewable":false}"#),
        ok(
            r#"{"data":{"username":"u","password":"p"},"lease_id":"database/creds/app/x","lease_duration":60,"renewable":true}"#,
        ),
        ok(
            r#"{"data":{"username":"u","password":"p","ttl":40,"rotation_period":60},"lease_id":"","lease_duration":0}"#,
        ),
        ok(
            r#"{"data":{"certificate":"C","private_key":"K","ca_chain":["A","B"],"expiration":1790000000,"serial_number":"1"}}"#,
        ),
        ok(r#"{"data":{"certificate":"C","private_key":"K"}}"#),
        status(404, r#"{"errors":["no handler for route \"x\""]}"#),
    ]);
    let vault = session(&server);
    let of = |mount: &str| (mount.to_owned(), "app".to_owned());
    let lease = |id: &str, seconds: u64, renewable: bool| {
        Some(Lease { id: id.to_owned(), ttl: Duration::from_secs(seconds), renewable })
    };
    let (mount, path) = of("secret");
    assert_eq!(vault.read(&Source::Kv2 { mount, path }).await.unwrap().version, Some(2));
    let (mount, path) = of("kv1");
    let kv1 = Source::Kv1 { mount, path };
    assert_eq!(vault.read(&kv1).await.unwrap().lease, None, "the engine's default says nothing of the secret");
    assert_eq!(vault.read(&kv1).await.unwrap().lease, lease("", 3600, false));
    let dynamic = Source::Dynamic { path: "database/creds/app".to_owned() };
    let found = vault.read(&dynamic).await.unwrap();
    assert_eq!((found.fields["username"].expose(), found.lease), ("u", lease("database/creds/app/x", 60, true)));
    assert_eq!(vault.read(&dynamic).await.unwrap().lease, lease("", 41, false), "what the server replaces itself");
    let request =
        BTreeMap::from([("common_name".to_owned(), "a.example".to_owned()), ("ttl".to_owned(), "72h".to_owned())]);
    let pki = Source::Pki { mount: "pki".to_owned(), role: "web".to_owned(), request };
    let found = vault.read(&pki).await.unwrap();
    assert_eq!((found.not_after, found.fields["ca_chain"].expose()), (Some(1_790_000_000), "A\nB"));
    assert_eq!(vault.read(&pki).await.unwrap_err().fault, Fault::Malformed);
    assert_eq!(vault.read(&kv1).await.unwrap_err().fault, Fault::NotFound);
    let elsewhere = Source::Environment { variable: "X".to_owned() };
    assert_eq!(vault.read(&elsewhere).await.unwrap_err().fault, Fault::Refused);
    let asked = server.asked();
    assert!(
        asked[5].starts_with("POST /v1/pki/issue/web ")
            && asked[5].ends_with(r#"{"common_name":"a.example","ttl":"72h"}"#)
    );
}

#[tokio::test]
async fn what_mints_is_asked_once() {
    for reply in [Reply::Hang, status(500, r#"{"errors":["internal"]}"#), Reply::Raw(String::new())] {
        let server = Server::new(vec![reply, ok("{}")]);
        let mut patient = settings(server.address(), Auth::Token(text(SESSION)));
        patient.timeout = Duration::from_secs(2);
        let vault = client(&patient);
        vault.swap(Some(Secret::new(SESSION)));
        let dynamic = Source::Dynamic { path: "database/creds/app".to_owned() };
        let fault = vault.read(&dynamic).await.unwrap_err().fault;
        assert!(matches!(fault, Fault::Ambiguous | Fault::Failing), "{fault:?}");
        assert_eq!(server.lines(), ["GET /v1/database/creds/app"]);
    }
}

#[tokio::test]
async fn a_mount_tells_its_version() {
    let server =
        Server::new(vec![ok(r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"},"uuid":"x"}}"#)]);
    let mount = session(&server).mount_of("secret/app").await.unwrap();
    assert_eq!((mount.path.as_str(), mount.kind.as_str(), mount.version), ("secret/", "kv", Some(2)));
    assert_eq!(server.lines(), ["GET /v1/sys/internal/ui/mounts/secret/app"]);
}
