//! What is sent, and to whom.

use super::*;

#[tokio::test]
async fn each_request_has_its_headers_and_the_prefix() {
    let server = Server::new(vec![
        ok(r#"{"data":{"data":{},"metadata":{"version":1}}}"#),
        login_answer(SESSION),
        status(404, ""),
    ]);
    let mut with = settings(format!("{}/some/prefix", server.address()), approle(text(SECRET_ID), None));
    with.namespace = Some("team/a".to_owned());
    let vault = client(&with);
    vault.swap(Some(Secret::new(SESSION)));
    vault.kv2_read("secret", "app", Some(2)).await.unwrap();
    vault.login().await.unwrap();
    vault.health().await.unwrap_err();
    let [read, login, health] = &server.asked()[..] else { panic!("three") };
    assert!(read.starts_with("GET /some/prefix/v1/secret/data/app?version=2 HTTP/1.1\r\n"), "{read}");
    for header in [
        format!("x-vault-token: {SESSION}"),
        "x-vault-request: true".to_owned(),
        "x-vault-namespace: team/a".to_owned(),
    ] {
        assert!(read.contains(&format!("\r\n{header}\r\n")), "{read}");
    }
    assert!(login.starts_with("POST /some/prefix/v1/auth/approle/login "), "{login}");
    assert!(login.contains("x-vault-namespace: team/a\r\n") && !login.contains("x-vault-token"), "{login}");
    assert!(login.ends_with(&format!(r#"{{"role_id":"{ROLE_ID}","secret_id":"{SECRET_ID}"}}"#)), "{login}");
    assert!(health.starts_with("GET /some/prefix/v1/sys/health?"), "{health}");
    assert!(!health.contains("x-vault-namespace") && !health.contains("x-vault-token"), "{health}");
}

#[tokio::test]
async fn a_standbys_redirect_is_followed_to_the_same_host_alone() {
    let to = |location: String| {
        Reply::Raw(format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"))
    };
    // The same host: once, with method, token and body.
    let relative = || to("/v1/secret/data/app".to_owned());
    let written = || ok(r#"{"data":{"version":1}}"#);
    let server = Server::new(vec![relative(), written()]);
    let fields = Fields::from([("value".to_owned(), Secret::new("hunter2"))]);
    assert_eq!(session(&server).kv2_write("secret", "app", &fields, 0).await.unwrap(), 1);
    let [first, second] = &server.asked()[..] else { panic!("two") };
    assert_eq!(first, second);
    assert!(second.contains(SESSION) && second.contains("hunter2"));
    // Not for ever.
    let server = Server::new(vec![relative(), relative(), written()]);
    let failure = session(&server).kv2_write("secret", "app", &fields, 0).await.unwrap_err();
    assert_eq!((failure.fault, server.lines().len()), (Fault::Standby, 2));
    // Not to another host, port, scheme, or path than the server's.
    let other = Server::new(vec![written()]);
    for (location, told) in [
        (format!("{}/v1/secret/data/app", other.address()), other.address()),
        ("http://vault.example.org/v1/secret/data/app".to_owned(), "http://vault.example.org".to_owned()),
        ("//localhost/v1/secret/data/app".to_owned(), "http://localhost".to_owned()),
        ("https://127.0.0.1/v1/secret/data/app".to_owned(), "https://127.0.0.1".to_owned()),
        ("/other/v1/secret/data/app".to_owned(), "another path".to_owned()),
        ("/v1x".to_owned(), "another path".to_owned()),
        ("/v1/../elsewhere".to_owned(), "another path".to_owned()),
        ("file:///etc/passwd".to_owned(), "null".to_owned()),
    ] {
        let server = Server::new(vec![to(location.clone()), written()]);
        let failure = session(&server).kv2_write("secret", "app", &fields, 0).await.unwrap_err();
        assert_eq!((failure.fault, server.lines().len()), (Fault::Standby, 1), "{location}");
        assert!(clean(&failure).words.contains(&told), "{failure}");
    }
    assert!(other.asked().is_empty());
}

#[test]
fn settings_that_cannot_serve_are_refused() {
    let clock = Clock::new();
    let resolver = Resolver::system(clock);
    let make = |change: fn(&mut Settings)| {
        let mut with = settings("https://vault.example.org".to_owned(), Auth::Token(text(SESSION)));
        change(&mut with);
        Vault::new(&with, &resolver, Meters::new(clock)).map(|_| ())
    };
    assert!(make(|_| ()).is_ok());
    assert!(make(|with| with.server_name = Some("vault.internal".to_owned())).is_ok());
    assert!(matches!(make(|with| with.address = "vault.example.org:8200".to_owned()), Err(SetupError::Address)));
    assert!(matches!(make(|with| with.address = "unix:/run/vault".to_owned()), Err(SetupError::Address)));
    assert!(matches!(make(|with| with.server_name = Some("10.0.0.1".to_owned())), Err(SetupError::ServerName)));
    assert!(matches!(make(|with| with.server_name = Some("a/b".to_owned())), Err(SetupError::ServerName)));
    assert!(matches!(make(|with| with.namespace = Some("a\r\nx: y".to_owned())), Err(SetupError::Namespace)));
    assert!(matches!(make(|with| with.roots = vec![b"rubbish".to_vec().into()]), Err(SetupError::Tls(_))));
}
