//! Logins, tokens and health.

use super::*;

#[tokio::test]
async fn an_approle_logs_in_with_its_files_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret-id");
    std::fs::write(&file, format!("{SECRET_ID}\r\n")).unwrap();
    let refused = || status(400, &format!(r#"{{"errors":["invalid role or secret ID: \"{SECRET_ID}\""]}}"#));
    let server = Server::new(vec![login_answer(SESSION), refused()]);
    let vault = client(&settings(server.address(), approle(SecretFrom::File(file.clone()), None)));
    assert!(!vault.is_logged_in());
    let failure = vault.kv2_read("secret", "app", None).await.unwrap_err();
    assert_eq!((failure.fault, server.lines().len()), (Fault::Denied, 0), "not asked");

    let login = vault.login().await.unwrap();
    assert_eq!((login.token.ttl, login.token.renewable, login.same), (Some(Duration::from_secs(3600)), true, false));
    assert!(server.asked()[0].ends_with(&format!(r#""secret_id":"{SECRET_ID}"}}"#)), "without the line break");
    assert_eq!(vault.session().unwrap().expose(), SESSION);
    std::fs::write(&file, "another-1d").unwrap();
    let failure = vault.login().await.unwrap_err();
    assert!(server.asked()[1].ends_with(r#""secret_id":"another-1d"}"#));
    assert_eq!(failure.fault, Fault::Refused);
    assert_eq!(vault.session().unwrap().expose(), SESSION, "the former token stays");
    std::fs::remove_file(&file).unwrap();
    let failure = vault.login().await.unwrap_err();
    assert!(failure.fault == Fault::Malformed && failure.words.contains("secret-id in /"), "{failure}");
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once() {
    const MADE_AT: &str = "auth/approle/role/web/secret-id";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrapped");
    std::fs::write(&file, "hvs.wrapping-1\n").unwrap();
    let made_at = |path: &str| ok(&format!(r#"{{"data":{{"creation_path":"{path}","creation_ttl":600}}}}"#));
    let inside = || ok(&format!(r#"{{"data":{{"secret_id":"{SECRET_ID}","secret_id_ttl":0}},"wrap_info":null}}"#));
    let spent = || status(400, r#"{"errors":["wrapping token is not valid or does not exist"]}"#);
    let server = Server::new(vec![
        made_at(MADE_AT),
        inside(),
        status(503, SEALED),
        login_answer(SESSION),
        login_answer(SESSION),
        made_at(MADE_AT),
        spent(),
        spent(),
        made_at("auth/approle/role/web2/secret-id"),
    ]);
    let vault = client(&settings(server.address(), approle(SecretFrom::File(file.clone()), Some(MADE_AT))));
    assert_eq!(vault.login().await.unwrap_err().fault, Fault::Sealed, "after it was unwrapped");
    vault.login().await.unwrap();
    std::fs::remove_file(&file).unwrap();
    vault.login().await.unwrap();
    let lookup = "POST /v1/sys/wrapping/lookup";
    let (unwrap, login) = ("POST /v1/sys/wrapping/unwrap", "POST /v1/auth/approle/login");
    assert_eq!(server.lines(), [lookup, unwrap, login, login, login]);
    let asked = server.asked();
    assert!(asked[0].ends_with(r#"{"token":"hvs.wrapping-1"}"#) && !asked[0].contains("x-vault-token"));
    assert!(asked[1].contains("x-vault-token: hvs.wrapping-1\r\n") && asked[1].ends_with("\r\n\r\n"), "without a body");
    assert!(asked[4].ends_with(&format!(r#""secret_id":"{SECRET_ID}"}}"#)));

    for (wrapping, asked) in [("hvs.wrapping-2", 7), ("hvs.wrapping-3", 8), ("hvs.wrapping-4", 9)] {
        std::fs::write(&file, wrapping).unwrap();
        let failure = vault.login().await.unwrap_err();
        assert_eq!((failure.fault, server.lines().len()), (Fault::Tampered, asked), "{failure}");
        assert!(!clean(&failure).words.contains("wrapping-"), "{failure}");
    }
}

#[tokio::test]
async fn a_token_of_a_file_is_looked_at_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let looked =
        |ttl: u64| ok(&format!(r#"{{"data":{{"accessor":"a","policies":["root"],"ttl":{ttl},"type":"service"}}}}"#));
    let server =
        Server::new(vec![looked(0), looked(60), looked(60), status(403, r#"{"errors":["permission denied"]}"#)]);
    let vault = client(&settings(server.address(), Auth::Token(SecretFrom::File(file.clone()))));
    for bad in ["", "\n", "hvs.two\nlines\n", "hvs.with space", "hvs.nul\0", "hvs.\u{fc}ml"] {
        std::fs::write(&file, bad).unwrap();
        let failure = vault.login().await.unwrap_err();
        assert_eq!((failure.fault, server.lines().len()), (Fault::Malformed, 0), "{bad:?}");
        assert!(!failure.words.contains("hvs."), "{failure}");
    }
    std::fs::write(&file, [b'x', 0xff]).unwrap();
    assert_eq!(vault.login().await.unwrap_err().fault, Fault::Malformed);

    std::fs::write(&file, format!("{SESSION}\n")).unwrap();
    let login = vault.login().await.unwrap();
    assert_eq!((login.token.ttl, login.token.renewable, login.token.uses, login.same), (None, false, None, false));
    assert!(vault.login().await.unwrap().same);
    std::fs::write(&file, "hvs.another").unwrap();
    assert!(!vault.login().await.unwrap().same);
    std::fs::write(&file, "hvs.dead").unwrap();
    assert_eq!(vault.login().await.unwrap_err().fault, Fault::Denied);
    assert_eq!(vault.session().unwrap().expose(), "hvs.another");
}

#[tokio::test]
async fn a_userpass_and_a_certificate_log_in() {
    let server = Server::new(vec![
        login_answer(SESSION),
        login_answer(SESSION),
        login_answer("two\\nlines"),
        ok(r#"{"auth":null}"#),
    ]);
    let userpass =
        Auth::Userpass { mount: "people".to_owned(), username: "b/ob".to_owned(), password: text("hunter2") };
    client(&settings(server.address(), userpass)).login().await.unwrap();
    let cert = |name: Option<&str>| Auth::Cert { mount: "cert".to_owned(), name: name.map(str::to_owned) };
    client(&settings(server.address(), cert(Some("web")))).login().await.unwrap();
    for _ in 0..2 {
        let vault = client(&settings(server.address(), cert(None)));
        assert_eq!(vault.login().await.unwrap_err().fault, Fault::Malformed);
        assert!(!vault.is_logged_in());
    }
    let asked = server.asked();
    assert!(
        asked[0].starts_with("POST /v1/auth/people/login/b/ob ") && asked[0].ends_with(r#"{"password":"hunter2"}"#)
    );
    assert!(asked[1].starts_with("POST /v1/auth/cert/login ") && asked[1].ends_with(r#"{"name":"web"}"#));
    assert!(asked[2].ends_with("{}"));
}

#[tokio::test]
async fn a_token_is_renewed_looked_at_and_revoked() {
    let denied = status(403, r#"{"errors":["permission denied"]}"#);
    let server = Server::new(vec![
        ok(r#"{"auth":{"lease_duration":300,"renewable":true,"num_uses":0},"warnings":["TTL of \"1h\" exceeded"]}"#),
        status(400, r#"{"errors":["lease is not renewable"]}"#),
        ok(r#"{"data":{"ttl":77,"num_uses":3,"type":"batch","renewable":false,"expire_time":null}}"#),
        denied,
        status(204, ""),
    ]);
    let vault = session(&server);
    assert_eq!(vault.renew_self(Duration::from_secs(3600)).await.unwrap().ttl, Some(Duration::from_secs(300)));
    assert_eq!(vault.renew_self(Duration::ZERO).await.unwrap_err().fault, Fault::Refused);
    let facts = vault.lookup_self().await.unwrap();
    assert_eq!((facts.ttl, facts.uses, facts.batch), (Some(Duration::from_secs(77)), Some(3), true));
    assert_eq!(vault.revoke_self().await.unwrap_err().fault, Fault::Denied);
    assert!(vault.is_logged_in());
    vault.revoke_self().await.unwrap();
    assert!(!vault.is_logged_in());
    let asked = server.asked();
    assert!(asked[0].starts_with("POST /v1/auth/token/renew-self ") && asked[0].ends_with(r#"{"increment":"3600s"}"#));
    assert!(asked[1].ends_with("\r\n\r\n"));
    assert!(asked[2].starts_with("GET /v1/auth/token/lookup-self "));
}

#[tokio::test]
async fn the_servers_health_is_told_by_its_status() {
    let body = |sealed: bool, standby: bool| {
        format!(r#"{{"initialized":true,"sealed":{sealed},"standby":{standby},"version":"2.6.0","server_time_utc":1}}"#)
    };
    for (code, body, expected) in [
        (200, body(false, false), Ok(false)),
        (200, body(false, true), Ok(true)),
        (429, body(false, true), Ok(true)),
        (473, body(false, true), Ok(true)),
        (472, body(false, true), Err(Fault::Standby)),
        (474, body(false, true), Err(Fault::Standby)),
        (501, r#"{"initialized":false,"sealed":true}"#.to_owned(), Err(Fault::Sealed)),
        (503, body(true, false), Err(Fault::Sealed)),
        (530, body(false, true), Err(Fault::Failing)),
        (429, "<html>slow down</html>".to_owned(), Err(Fault::RateLimited { after: None })),
        (503, "<html>maintenance</html>".to_owned(), Err(Fault::Failing)),
        (404, String::new(), Err(Fault::NotFound)),
        (200, "{}".to_owned(), Err(Fault::Malformed)),
    ] {
        let server = Server::new(vec![status(code, &body)]);
        let told = client(&settings(server.address(), Auth::Token(text("unused")))).health().await;
        let told = told.map(|health| health.standby).map_err(|failure| clean(&failure).fault);
        assert_eq!(told, expected, "{code} {body}");
    }
}
