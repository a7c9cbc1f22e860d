use super::*;
use crate::config::validated::{Peer, Probe, UrlHost, UrlPort};
use crate::probe::example::{PATIENCE, SHORT, connector, nobody, server, steps};
use crate::probe::report::Verdict;

fn check(send: Option<&str>, expect: Option<&str>) -> TcpProbe {
    let peer = Peer { host: UrlHost::Container, port: UrlPort::Number(1) };
    TcpProbe { peer, send: send.map(Into::into), expect: expect.map(Into::into) }
}

async fn ask(probe: &TcpProbe, endpoint: &Endpoint, limit: Duration) -> (Verdict, String, String) {
    let report = super::probe(probe, endpoint, &connector(), None, limit).await;
    (report.verdict, steps(&report), report.evidence)
}

#[tokio::test]
async fn what_is_expected_may_come_in_pieces_once_something_was_said() {
    let echo = server(|mut stream| async move {
        let mut said = [0; 6];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"PING\r\n");
        for byte in b"-LOADING\r\n+PONG\r\n" {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        // The connection stays open: the text is enough.
        std::future::pending::<()>().await;
    })
    .await;
    let (verdict, steps, evidence) = ask(&check(Some("PING\r\n"), Some("+PONG")), &echo, PATIENCE).await;
    assert_eq!((verdict, &*steps), (Verdict::Passed, "connect send expect"), "{evidence}");
    let (verdict, steps, evidence) = ask(&check(None, None), &echo, PATIENCE).await;
    assert_eq!((verdict, &*steps), (Verdict::Passed, "connect"), "{evidence}");
    assert!(evidence.contains("to 127.0.0.1"), "{evidence}");
}

#[tokio::test]
async fn ways_to_fail_are_told_apart() {
    let silent = server(|stream| async move {
        let _kept_open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let closing = server(|mut stream| async move { stream.write_all(b"go away").await.unwrap() }).await;
    let half_closed = server(|mut stream| async move {
        stream.shutdown().await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let resetting = server(|stream| async move {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    })
    .await;
    let nowhere = Endpoint { host: "printer.local".to_owned(), port: 1 };
    let rows = [
        (nobody().await, PATIENCE, "connect!", "refused"),
        (nowhere, PATIENCE, "resolve!", "multicast"),
        (silent, SHORT, "connect expect!", "the expected text did not come"),
        (closing, PATIENCE, "connect expect!", "closed after 7 bytes"),
        (half_closed, PATIENCE, "connect expect!", "closed after 0 bytes"),
        (resetting, PATIENCE, "connect expect!", "broke after 0 bytes"),
    ];
    for (endpoint, limit, wanted, words) in rows {
        let (verdict, steps, evidence) = ask(&check(None, Some("+PONG")), &endpoint, limit).await;
        assert_eq!((verdict, &*steps), (Verdict::Failed, wanted), "{evidence}");
        assert!(evidence.contains(words), "{evidence}");
    }
}

#[tokio::test]
async fn the_first_64_kib_count_and_no_more_is_read() {
    let long = |before: usize| {
        server(move |mut stream| async move {
            let _enough = stream.write_all(&vec![b'x'; before]).await;
            let _enough = stream.write_all(b"+PONG").await;
            let endless = vec![b'y'; 1 << 20];
            while stream.write_all(&endless).await.is_ok() {}
        })
    };
    let (verdict, _, evidence) = ask(&check(None, Some("+PONG")), &long(64 * 1024 - 5).await, PATIENCE).await;
    assert_eq!(verdict, Verdict::Passed, "{evidence}");
    let (verdict, _, evidence) = ask(&check(None, Some("+PONG")), &long(64 * 1024 - 4).await, PATIENCE).await;
    assert_eq!(verdict, Verdict::Failed);
    assert!(evidence.contains("first 64 KiB"), "{evidence}");
}

#[tokio::test]
async fn neither_what_is_sent_nor_what_comes_is_shown() {
    let telling = server(|mut stream| async move {
        let mut said = [0; 64];
        let length = stream.read(&mut said).await.unwrap();
        stream.write_all(&said[..length]).await.unwrap();
    })
    .await;
    let probe = check(Some("AUTH hunter2"), Some("OK"));
    let report = super::probe(&probe, &telling, &connector(), None, PATIENCE).await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert!(!format!("{report:?} {probe:?}").contains("hunter2"), "{report:?}");
}

#[tokio::test]
async fn what_is_said_and_heard_may_hold_a_credential() {
    let echo = server(|mut stream| async move {
        let mut said = [0; 8];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&said).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let source = "[services.web]\ncontainer = \"web\"\n[[services.web.checks]]\ntype = \"tcp\"\naddress = \"{address}:1\"\n\
                  send = \"AUTH ${credential:api}\"\nexpect = \"${credential:api}\"\n\
                  [credentials.api]\ntype = \"file\"\npath = \"/run/secrets/api\"\n";
    let config = crate::config::decode("iaso.toml", source, &|_| None).unwrap_or_else(|wrong| panic!("{wrong}"));
    let Probe::Tcp(probe) = &*config.services["web"].checks[0].probe else { panic!() };
    let values = CredentialValues::default();
    let report = super::probe(probe, &echo, &connector(), Some(&values), PATIENCE).await;
    assert!(report.verdict == Verdict::Pending && report.evidence.contains("credential api"), "{report:?}");
    values.put(&"api".into(), Some([("value".to_owned(), "key".into())].into()), None);
    let report = super::probe(probe, &echo, &connector(), Some(&values), PATIENCE).await;
    assert_eq!((report.verdict, &*steps(&report)), (Verdict::Passed, "connect send expect"), "{report:?}");
}
