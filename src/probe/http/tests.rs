mod credentials;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::judge::BODY;
use super::*;
use crate::config::validated::{HttpExpect, UrlTemplate};
use crate::probe::report::Verdict;
use crate::probe::tls_peer::{Authority, Peer, Wanted, in_days};
use crate::system::clock::Clock;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;
use crate::system::trust::TlsClients;

/// Long enough for whatever ends by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what never does.
const SHORT: Duration = Duration::from_millis(300);

fn prober() -> HttpProber {
    over(Resolver::system(Clock::new()))
}

fn over(resolver: Resolver) -> HttpProber {
    HttpProber::new(Connector::new(resolver, TlsClients::new(Clock::new())), None)
}

fn get() -> HttpProbe {
    let expect =
        HttpExpect { status: vec![(200, 299)], body_contains: None, json: vec![], headers: vec![], max_latency: None };
    let url = UrlTemplate { https: false, host: UrlHost::Container, port: None, path: "/health?key=s3cret".to_owned() };
    HttpProbe { url, method: HttpMethod::Get, headers: vec![], redirects: 0, expect, trust: Trust::default() }
}

fn to(address: SocketAddr) -> Endpoint {
    Endpoint { host: address.ip().to_string(), port: address.port() }
}

/// A server on loopback that hands each connection to `serve` once the request's head has come; the heads it got.
async fn server<F, R>(serve: F) -> (SocketAddr, Arc<Mutex<Vec<String>>>)
where
    F: Fn(TcpStream, usize) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let (tasks, noted, serve) = (Tasks::new(), Arc::clone(&heads), Arc::new(serve));
    let each = tasks.clone();
    tasks.spawn("server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (noted, serve) = (Arc::clone(&noted), Arc::clone(&serve));
            each.spawn("connection", async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let count = {
                    let mut noted = noted.lock().unwrap();
                    noted.push(String::from_utf8(head).unwrap());
                    noted.len()
                };
                serve(stream, count).await;
            });
        }
    });
    (address, heads)
}

/// A server that answers every request with these bytes and closes.
async fn answering(answer: impl Into<Vec<u8>>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let answer = Arc::new(answer.into());
    server(move |mut stream, _| {
        let answer = Arc::clone(&answer);
        async move {
            let _gone = stream.write_all(&answer).await;
            let _gone = stream.shutdown().await;
        }
    })
    .await
}

fn ok_with(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Kind: alpha beta\r\n\r\n{body}", body.len())
}

async fn probe_of(probe: &HttpProbe, address: SocketAddr) -> Report {
    prober().probe(probe, &to(address), PATIENCE).await
}

#[tokio::test]
async fn a_good_answer_passes_and_every_expectation_is_judged() {
    let body = r#"{"status":"up","parts":[{"ok":true}],"secret":"hunter2"}"#;
    let (address, heads) = answering(ok_with(body)).await;
    let mut probe = get();
    probe.headers = vec![("host".into(), "shop.example".into()), ("authorization".into(), "Bearer t0ken".into())];
    probe.expect.body_contains = Some("\"up\"".into());
    probe.expect.json = vec![("/parts/0/ok".into(), true.into()), ("/status".into(), "up".into())];
    probe.expect.headers = vec![("x-kind".into(), "beta".into())];
    let report = probe_of(&probe, address).await;
    assert!(report.verdict == Verdict::Passed, "{report:?}");
    let names: Vec<_> = report.steps.iter().map(|step| step.name).collect();
    assert_eq!(names, ["connect", "request", "status", "header", "body", "body", "json", "json"]);
    let head = heads.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get /health?key=s3cret http/1.1\r\n"), "{head}");
    assert_eq!(head.matches("host:").count(), 1, "{head}");
    assert!(head.contains("host: shop.example\r\n") && head.contains("authorization: bearer t0ken"), "{head}");
    assert!(!format!("{report:?}").contains("s3cret") && !format!("{report:?}").contains("t0ken"));
}

#[tokio::test]
async fn each_unmet_expectation_fails_and_says_what_is_missing_but_not_what_was_there() {
    let (address, _) = answering(ok_with(r#"{"status":"hunter2"}"#)).await;
    type Change = fn(&mut HttpProbe);
    let cases: [(Change, &str); 7] = [
        (|p| p.expect.status = vec![(201, 204), (404, 404)], "status 200, expected 201-204, 404"),
        (|p| p.expect.body_contains = Some("up".into()), "the body does not hold the expected text"),
        (
            |p| p.expect.json = vec![("/status".into(), "t0ken".into())],
            r#"JSON "/status" is another string than expected"#,
        ),
        (
            |p| p.expect.json = vec![("/status".into(), 3.into())],
            r#"JSON "/status" is a value of type string, expected number"#,
        ),
        (
            |p| p.expect.json = vec![("/no".into(), "t0ken".into())],
            r#"JSON "/no" is not there, expected a value of type string"#,
        ),
        (
            |p| p.expect.headers = vec![("x-kind".into(), "gamma".into())],
            "header x-kind does not hold the expected text",
        ),
        (|p| p.expect.headers = vec![("x-none".into(), "".into())], "header x-none is not there"),
    ];
    for (change, evidence) in cases {
        let mut probe = get();
        change(&mut probe);
        let report = probe_of(&probe, address).await;
        assert!(report.verdict == Verdict::Failed);
        assert_eq!(report.evidence, evidence);
        assert!(!format!("{report:?}").contains("hunter2") && !format!("{report:?}").contains("t0ken"));
    }
}

#[tokio::test]
async fn garbage_where_json_was_expected_is_told() {
    let (address, _) = answering(ok_with("<html>hunter2</html>")).await;
    let mut probe = get();
    probe.expect.json = vec![(String::new(), 1.into())];
    assert_eq!(probe_of(&probe, address).await.evidence, "the body is not JSON");
}

#[tokio::test]
async fn a_slow_answer_is_late_and_passes_all_the_same() {
    let (address, _) = answering(ok_with("up")).await;
    let mut probe = get();
    probe.expect.max_latency = Some(Duration::ZERO);
    let report = probe_of(&probe, address).await;
    assert!(report.verdict == Verdict::Late, "{report:?}");
    assert!(report.evidence.ends_with("expected at most 0 ms"), "{}", report.evidence);
    probe.expect.max_latency = Some(PATIENCE);
    let report = probe_of(&probe, address).await;
    assert!(report.verdict == Verdict::Passed, "{report:?}");
}

#[tokio::test]
async fn what_never_answers_or_drips_is_cut_by_the_one_time_limit() {
    let (silent, _) = server(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let report = prober().probe(&get(), &to(silent), SHORT).await;
    assert!(report.verdict == Verdict::Failed && report.evidence.ends_with("waiting for the answer"), "{report:?}");

    let (dripping, _) = server(|mut stream, _| async move {
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let report = prober().probe(&get(), &to(dripping), SHORT).await;
    assert!(report.verdict == Verdict::Failed && report.evidence.ends_with("the body was being read"), "{report:?}");
}

#[tokio::test]
async fn only_the_first_mebibyte_of_a_huge_body_is_read_and_judged() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let (address, _) = server(move |mut stream, _| {
        let sent = Arc::clone(&counted);
        async move {
            let total = 100 * BODY;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\nstart");
            let _gone = stream.write_all(head.as_bytes()).await;
            let piece = vec![b'x'; 64 * 1024];
            while sent.load(Ordering::Relaxed) < total && stream.write_all(&piece).await.is_ok() {
                sent.fetch_add(piece.len(), Ordering::Relaxed);
            }
        }
    })
    .await;
    let mut probe = get();
    probe.expect.body_contains = Some("start".into());
    let report = probe_of(&probe, address).await;
    assert!(report.verdict == Verdict::Passed, "{report:?}");
    assert!(report.steps.iter().any(|step| step.detail == "1048576 bytes read, the rest not asked for"), "{report:?}");
    assert!(sent.load(Ordering::Relaxed) < 50 * BODY, "the rest was not waited for");

    probe.expect.body_contains = None;
    probe.expect.json = vec![("/a".into(), 1.into())];
    assert!(probe_of(&probe, address).await.evidence.contains("longer than 1 MiB"));
}

#[tokio::test]
async fn broken_answers_fail_in_words_of_their_own() {
    let huge_header = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "h".repeat(2 * BODY));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: h\r\n".repeat(5000));
    let cases: [(Vec<u8>, &str); 5] = [
        (b"\x00\xff\x13garbage from another protocol\r\n\r\n".to_vec(), "request"),
        (huge_header.into(), "request"),
        (many_headers.into(), "request"),
        (Vec::new(), "request"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf".to_vec(), "body"),
    ];
    for (answer, step) in cases {
        let (address, _) = answering(answer).await;
        let report = probe_of(&get(), address).await;
        let last = report.steps.last().unwrap();
        assert!(report.verdict == Verdict::Failed && last.name == step && !last.ok, "{report:?}");
        assert!(!report.evidence.is_empty() && report.evidence.len() < 400, "{report:?}");
        assert!(!report.evidence.contains("http://") && !report.evidence.contains("s3cret"), "{report:?}");
    }
}

#[tokio::test]
async fn a_reset_a_half_closed_connection_and_a_refusal_fail_at_once() {
    let (address, _) = server(|stream, _| async move {
        // Closing with the linger time at zero resets.
        stream.set_zero_linger().unwrap();
    })
    .await;
    let report = probe_of(&get(), address).await;
    assert!(
        report.verdict == Verdict::Failed && report.steps[1].name == "request" && !report.evidence.contains("within"),
        "{report:?}"
    );

    let (half_closed, _) = server(|mut stream, _| async move {
        stream.shutdown().await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let report = probe_of(&get(), half_closed).await;
    assert!(
        report.verdict == Verdict::Failed && report.steps[1].name == "request" && !report.evidence.contains("within"),
        "{report:?}"
    );

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let report = probe_of(&get(), closed).await;
    assert!(report.verdict == Verdict::Failed && report.steps[0].name == "connect", "{report:?}");
    assert!(report.evidence.contains("refused"), "{report:?}");
}

#[tokio::test]
async fn each_probe_makes_a_connection_of_its_own() {
    let (address, heads) = server(|mut stream, _| async move {
        // Offers to keep the connection, and answers only its first request.
        let _gone = stream.write_all(ok_with("up").as_bytes()).await;
        std::future::pending::<()>().await;
    })
    .await;
    let prober = prober();
    for _ in 0..3 {
        assert!(prober.probe(&get(), &to(address), PATIENCE).await.verdict == Verdict::Passed);
    }
    assert_eq!(heads.lock().unwrap().len(), 3);
}

/// The environment of a running process is not to be changed, so this test runs another in a process of its own.
#[test]
fn proxies_of_the_environment_are_ignored() {
    let probing = "probe::http::tests::each_unmet_expectation_fails_and_says_what_is_missing_but_not_what_was_there";
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(proxy, "http://127.0.0.1:1");
    }
    let run = command.args([probing, "--exact"]).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn redirects_are_answers_unless_they_are_allowed_and_then_counted() {
    let (address, heads) = answering(redirect("/again")).await;
    let report = probe_of(&get(), address).await;
    assert_eq!(report.evidence, "status 302, expected 200-299");
    assert_eq!(heads.lock().unwrap().len(), 1);

    let mut probe = get();
    probe.redirects = 3;
    let report = probe_of(&probe, address).await;
    assert_eq!((report.verdict, &*report.evidence), (Verdict::Failed, "more than 3 redirects"));
    assert_eq!(heads.lock().unwrap().len(), 1 + 4);

    let (moved, heads) = server(|mut stream, count| async move {
        let answer = if count == 1 { redirect("/new") } else { ok_with("up") };
        let _gone = stream.write_all(answer.as_bytes()).await;
        let _gone = stream.shutdown().await;
    })
    .await;
    probe.headers = vec![("x-key".into(), "k3y".into())];
    assert!(probe_of(&probe, moved).await.verdict == Verdict::Passed);
    let heads = heads.lock().unwrap();
    assert!(
        heads[1].starts_with("GET /new ") && heads[1].contains("k3y"),
        "the same origin gets the headers: {heads:?}"
    );
}

#[tokio::test]
async fn given_headers_never_reach_another_origin_and_a_container_cannot_send_the_probe_elsewhere() {
    let (other, seen) = answering(ok_with("up")).await;
    let (first, _) = answering(redirect(&format!("http://{other}/else"))).await;
    let mut probe = get();
    probe.redirects = 5;
    probe.headers = vec![
        ("authorization".into(), "Bearer t0ken".into()),
        ("x-key".into(), "k3y".into()),
        ("host".into(), "a".into()),
    ];
    let report = probe_of(&probe, first).await;
    assert!(report.verdict == Verdict::Failed && report.evidence.contains("another address"), "{report:?}");
    assert!(seen.lock().unwrap().is_empty());

    probe.url.host = UrlHost::Fixed("127.0.0.1".into());
    assert!(probe_of(&probe, first).await.verdict == Verdict::Passed);
    let head = seen.lock().unwrap()[0].to_lowercase();
    assert!(!head.contains("t0ken") && !head.contains("k3y") && head.contains(&format!("host: {other}")), "{head}");

    let (odd, _) = answering(redirect("file:///etc/passwd")).await;
    assert!(probe_of(&probe, odd).await.evidence.contains("no http or https URL"));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named() {
    let mut probe = get();
    probe.url.host = UrlHost::Fixed("printer.local".into());
    let report = prober().probe(&probe, &Endpoint { host: "printer.local".into(), port: 80 }, PATIENCE).await;
    assert_eq!((report.verdict, report.steps[0].name), (Verdict::Failed, "resolve"));
    assert!(report.evidence.contains("printer.local") && report.evidence.contains("multicast"), "{report:?}");
}

#[tokio::test]
async fn the_client_resolves_by_the_one_resolver() {
    let (address, heads) = answering(ok_with("up")).await;
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 shop.internal\n").unwrap();
    // No other resolver of this machine knows the name.
    let resolver = Resolver::over(Clock::new(), dir.path().join("resolv.conf"), hosts);
    let endpoint = Endpoint { host: "shop.internal".into(), port: address.port() };
    let report = over(resolver).probe(&get(), &endpoint, PATIENCE).await;
    assert!(report.verdict == Verdict::Passed, "{report:?}");
    assert_eq!(report.steps[0].detail, "127.0.0.1");
    assert!(heads.lock().unwrap()[0].contains("shop.internal"));
}

#[tokio::test]
async fn localhost_needs_no_name_server_and_head_no_body() {
    let (address, heads) = answering("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n").await;
    let mut probe = get();
    probe.method = HttpMethod::Head;
    let report = prober().probe(&probe, &Endpoint { host: "localhost".into(), port: address.port() }, PATIENCE).await;
    assert!(report.verdict == Verdict::Passed, "{report:?}");
    assert_eq!(report.steps[0].name, "resolve");
    assert!(heads.lock().unwrap()[0].starts_with("HEAD "));
}

#[tokio::test]
async fn over_tls_the_peer_is_verified_by_the_checks_own_trust() {
    let root = Authority::root();
    let trust = || Trust { roots: vec![root.der.clone()], ..Trust::default() };
    let mut probe = get();
    probe.url.https = true;
    probe.trust = trust();
    let ends = in_days(60);
    let good = Peer::showing(&root.signs(&Wanted { ends, ..Wanted::default() }));
    let report = probe_of(&probe, good.address).await;
    assert!(report.verdict == Verdict::Passed, "{report:?}");
    let names: Vec<_> = report.steps.iter().map(|step| step.name).collect();
    assert_eq!(names, ["connect", "tls", "request", "status", "body"]);
    assert_eq!(report.certificate_expiry, Some(ends));

    let wrong_name = Peer::showing(&root.signs(&Wanted { names: &["shop.example"], ..Wanted::default() }));
    let expired = Peer::showing(&root.signs(&Wanted { begins: 0, ends: 86400, ..Wanted::default() }));
    let cases = [
        (Trust::default(), good.address, "an authority that is not trusted"),
        (trust(), wrong_name.address, "not for 127.0.0.1: it bears shop.example"),
        (trust(), expired.address, "ended 1970-01-02"),
        (Trust { pins: vec![[0; 32]], ..trust() }, good.address, "not the pinned one"),
    ];
    for (trust, address, words) in cases {
        probe.trust = trust;
        let report = probe_of(&probe, address).await;
        let last = report.steps.last().unwrap();
        assert!(report.verdict == Verdict::Failed && last.name == "tls", "{report:?}");
        assert!(report.evidence.contains(words), "{report:?}");
    }
    probe.trust = Trust { server_name: Some("shop.example".into()), ..trust() };
    assert!(probe_of(&probe, wrong_name.address).await.verdict == Verdict::Passed);
}

#[tokio::test]
async fn a_server_that_wants_a_clients_certificate_is_told() {
    let root = Authority::root();
    let mut probe = get();
    probe.url.https = true;
    probe.trust = Trust { roots: vec![root.der.clone()], ..Trust::default() };
    for versions in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let peer = Peer::speaking(&root.signs(&Wanted::default()), &[versions], Some(&root));
        let report = probe_of(&probe, peer.address).await;
        assert!(report.verdict == Verdict::Failed, "{report:?}");
        assert!(report.evidence.contains("it requires a client's certificate"), "{report:?}");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_bears_that_hosts_own_name() {
    let root = Authority::root();
    let other = Peer::showing(&root.signs(&Wanted::default()));
    let (first, _) = answering(redirect(&format!("https://{}/", other.address))).await;
    let mut probe = get();
    probe.redirects = 1;
    probe.url.host = UrlHost::Fixed("localhost".into());
    probe.trust = Trust { roots: vec![root.der.clone()], pins: vec![], server_name: Some("shop.example".into()) };
    let to = Endpoint { host: "localhost".into(), port: first.port() };
    let report = prober().probe(&probe, &to, PATIENCE).await;
    assert!(report.verdict == Verdict::Passed, "{report:?}");
    assert!(report.certificate_expiry.is_some());
}

#[tokio::test]
async fn the_second_address_serves_where_the_first_refuses() {
    let (address, _) = answering(ok_with("up")).await;
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.9 shop.internal\n127.0.0.1 shop.internal\n").unwrap();
    let resolver = Resolver::over(Clock::new(), dir.path().join("resolv.conf"), hosts);
    let endpoint = Endpoint { host: "shop.internal".into(), port: address.port() };
    let report = over(resolver).probe(&get(), &endpoint, PATIENCE).await;
    assert!(report.verdict == Verdict::Passed, "{report:?}");
    assert_eq!(report.steps[0].detail, "127.0.0.9 127.0.0.1");
    assert_eq!(report.steps[1].detail, format!("to {address}"));
}

#[tokio::test]
async fn https_to_what_speaks_no_tls_fails_in_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    tasks.spawn("plain", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        std::future::pending::<()>().await;
    });
    let mut probe = get();
    probe.url.https = true;
    let report = prober().probe(&probe, &to(address), PATIENCE).await;
    assert!(report.verdict == Verdict::Failed && report.steps[1].name == "tls", "{report:?}");
}
