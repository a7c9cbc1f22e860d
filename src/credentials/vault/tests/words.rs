//! What is said and shown holds nothing secret.

use super::*;

#[tokio::test]
async fn words_quote_nothing_that_was_sent() {
    // Whole, cut, and with quoting marks in its midst.
    let long = "correct-horse-battery-staple";
    for said in [long.to_owned(), long[..9].to_owned(), format!("{}\\n{}", &long[..12], &long[12..]), "pin".to_owned()]
    {
        let server =
            Server::new(vec![status(400, &serde_json::json!({"errors": [format!("bad value {said}!")]}).to_string())]);
        let fields = [("long", long), ("short", "pin"), ("empty", "")];
        let fields: Fields = fields.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
        let failure = session(&server).kv2_write("secret", "app", &fields, 0).await.unwrap_err();
        assert_eq!(failure.fault, Fault::Refused);
        assert!(failure.words.contains("withheld") && !failure.words.contains("bad value"), "{said}: {failure}");
    }
    // The token, even on a read.
    let (_, words) = read_fault(status(400, &format!(r#"{{"errors":["no such token {SESSION}"]}}"#))).await;
    assert!(words.contains("withheld"), "{words}");
    // What is harmless is told: on one line, and not for ever.
    let (_, words) =
        read_fault(status(400, r#"{"errors":["1 error occurred:\n\t* no \u001b[31mway\n\n","and"]}"#)).await;
    assert_eq!(words, "secret/data/app: status 400: 1 error occurred: * no [31mway ; and");
    let (_, words) = read_fault(status(400, &format!(r#"{{"errors":["{}"]}}"#, "é".repeat(999)))).await;
    assert_eq!(words.chars().count(), "secret/data/app: status 400: ".len() + 200 + 3);
    // A page may hold anything.
    let (_, words) = read_fault(status(502, "<html>hunter2</html>")).await;
    assert_eq!(words, "secret/data/app: status 502: a page that is not the server's, perhaps a proxy's");
}

#[tokio::test]
async fn nothing_that_is_shown_holds_a_secret() {
    let server = Server::new(vec![
        login_answer(SESSION),
        ok(r#"{"data":{"data":{"value":"hunter2"},"metadata":{"version":1}}}"#),
    ]);
    let with = settings(server.address(), approle(text(SECRET_ID), None));
    let vault = client(&with);
    let login = vault.login().await.unwrap();
    let read = vault.kv2_read("secret", "app", None).await.unwrap();
    let shown = format!("{vault:?} {with:?} {login:?} {read:?} {:#?}", token_header_of(SESSION));
    for planted in [SESSION, ROLE_ID, SECRET_ID, "hunter2"] {
        assert!(!shown.contains(planted), "{shown}");
    }
    assert!(shown.contains("127.0.0.1"));
}

fn token_header_of(token: &str) -> impl fmt::Debug {
    wire::token_header(&Secret::new(token)).unwrap()
}
