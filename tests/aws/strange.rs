//! Servers that are away, hang or talk nonsense, and machines without credentials of AWS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::Trial;

use crate::moto::{self, REGION};
use crate::reader::{Asked, Reader};
use crate::support::{Need, test};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($need:expr => $($name:ident),+ $(,)?) => {
            vec![$(test(concat!("strange::", stringify!($name)), &[$need], || { $name(); Ok(()) })),+]
        };
    }
    let mut tests = suite![Need::Nothing =>
        each_refusal_has_its_class,
        what_is_not_the_servers_is_malformed_or_fails,
        a_server_that_is_away_or_hangs_is_told,
        what_may_pass_is_asked_again_by_one_alone,
        without_credentials_or_region_there_are_words,
        a_metadata_service_that_hangs_blocks_nothing,
    ];
    tests.extend(suite![moto::PROGRAM => the_instances_role_is_used]);
    tests
}

/// What a request is answered by; none: never.
type Answers = fn(&str) -> Option<String>;

/// A server that speaks as it is told.
struct Server {
    address: String,
    requests: Arc<AtomicU32>,
}

impl Server {
    fn start(answers: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&requests);
        let serve = move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                match answers(&request(&stream)) {
                    Some(answer) => drop(stream.write_all(answer.as_bytes())),
                    None => open.push(stream),
                }
            }
        };
        std::thread::Builder::new().name("server".to_owned()).spawn(serve).unwrap();
        Self { address, requests }
    }

    /// One that always answers so.
    fn saying(answer: String) -> Self {
        Self::start(move |_| Some(answer.clone()))
    }
}

/// A request's head, with its body read past.
fn request(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    drop(lines.read_exact(&mut vec![0; length]));
    head
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

/// An error as AWS tells it, whose message quotes a secret.
fn refusal(status: &str, headers: &str, code: &str) -> String {
    http(status, headers, &format!(r#"{{"__type":"{code}","Message":"canonical hunter2 request"}}"#))
}

fn each_refusal_has_its_class() {
    for (status, headers, code, fault) in [
        ("400 Bad Request", "", "ThrottlingException", "rate_limited"),
        ("429 Too Many Requests", "retry-after: 7\r\n", "TooManyRequestsException", "rate_limited"),
        ("400 Bad Request", "", "AccessDeniedException", "denied"),
        ("403 Forbidden", "", "InvalidSignatureException", "denied"),
        ("400 Bad Request", "", "ExpiredTokenException", "denied"),
        ("400 Bad Request", "", "DecryptionFailure", "refused"),
        ("400 Bad Request", "", "InvalidParameterException", "refused"),
        ("400 Bad Request", "", "ResourceNotFoundException", "not_found"),
        ("500 Internal Server Error", "", "InternalServiceError", "failing"),
        ("503 Service Unavailable", "", "ServiceUnavailable", "failing"),
    ] {
        let server = Server::saying(refusal(status, headers, code));
        let told = Reader::new().refusal(&Asked::of("a/b", &server.address));
        assert!(told.fault == fault && told.words.contains(code) && told.words.contains(&status[..3]), "{told:?}");
        assert!(!told.words.contains("hunter2"), "{told:?}");
    }
    let server = Server::saying(refusal("400 Bad Request", "", "not a code hunter2"));
    let told = Reader::new().refusal(&Asked::of("a/b", &server.address));
    assert!(told.fault == "refused" && !told.words.contains("hunter2"), "{told:?}");
}

fn what_is_not_the_servers_is_malformed_or_fails() {
    let page = "<html>hunter2</html>";
    for (answer, fault) in [
        (http("200 OK", "", page), "malformed"),
        (http("200 OK", "", "{}"), "malformed"),
        (http("200 OK", "", r#"{"SecretString": 7}"#), "malformed"),
        (http("200 OK", "", &"x".repeat(3 << 20)), "malformed"),
        (http("502 Bad Gateway", "", page), "failing"),
        (http("404 Not Found", "", page), "failing"),
        (http("302 Found", "location: http://127.0.0.1:1/\r\n", ""), "failing"),
        ("\0\0 hunter2 is no HTTP\r\n\r\n".to_owned(), "ambiguous"),
        (http("200 OK", "", "{\"SecretString\":").replace("length: 16", "length: 99"), "ambiguous"),
    ] {
        let server = Server::saying(answer.clone());
        let told = Reader::new().refusal(&Asked::of("a/b", &server.address));
        assert!(
            told.fault == fault && !told.words.contains("hunter2"),
            "{}: {told:?}",
            &answer[..40.min(answer.len())]
        );
    }
}

fn a_server_that_is_away_or_hangs_is_told() {
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told = Reader::new().refusal(&Asked::of("a/b", &format!("http://{away}")));
    assert!(told.fault == "unreachable" && told.words.contains("127.0.0.1: no connection"), "{told:?}");
    let nowhere = Reader::new().refusal(&Asked::of("a/b", "http://nowhere.invalid"));
    assert!(nowhere.fault == "unreachable" && nowhere.words.contains("nowhere.invalid"), "{nowhere:?}");
    let hangs = Server::start(|_| None);
    let told = Reader::new().refusal(&Asked::of("a/b", &hangs.address));
    assert!(told.fault == "ambiguous" && told.words.contains("no answer within 10s"), "{told:?}");
}

fn what_may_pass_is_asked_again_by_one_alone() {
    for (answer, requests) in [
        (refusal("500 Internal Server Error", "", "InternalServiceError"), 3),
        (refusal("429 Too Many Requests", "retry-after: 7\r\n", "TooManyRequestsException"), 1),
        (refusal("400 Bad Request", "", "AccessDeniedException"), 1),
    ] {
        let server = Server::saying(answer);
        let told = Reader::new().refusal(&Asked::of("a/b", &server.address));
        assert_eq!(server.requests.load(Ordering::Relaxed), requests, "{told:?}");
    }
}

fn without_credentials_or_region_there_are_words() {
    let server = Server::saying(http("200 OK", "", "{}"));
    let told = Reader::with(&[]).refusal(&Asked::of("a/b", &server.address));
    assert!(told.fault == "denied" && told.words.contains("no credentials of AWS"), "{told:?}");
    let told = Reader::with(&[]).refusal(&Asked { region: None, ..Asked::of("a/b", &server.address) });
    assert!(told.fault == "refused" && told.words.contains("region"), "{told:?}");
    assert_eq!(server.requests.load(Ordering::Relaxed), 0);
}

fn a_metadata_service_that_hangs_blocks_nothing() {
    let (metadata, server) = (Server::start(|_| None), Server::saying(http("200 OK", "", "{}")));
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*metadata.address)];
    for region in [Some(REGION), None] {
        let told = Reader::with(&variables).refusal(&Asked { region, ..Asked::of("a/b", &server.address) });
        assert!(matches!(&*told.fault, "unreachable" | "denied" | "refused"), "{told:?}");
        assert!(told.words.contains(if region.is_some() { "credentials of AWS" } else { "region" }), "{told:?}");
    }
    assert!(metadata.requests.load(Ordering::Relaxed) > 0);
    assert_eq!(server.requests.load(Ordering::Relaxed), 0);
}

fn the_instances_role_is_used() {
    let moto = moto::shared();
    moto.create("of-a-role", "hunter2");
    let answers: Answers = |head| {
        let path = head.split(' ').nth(1)?;
        let keys = r#"{"Code":"Success","LastUpdated":"2026-01-01T00:00:00Z","Type":"AWS-HMAC","AccessKeyId":"ASIATEST",
            "SecretAccessKey":"key","Token":"token","Expiration":"2099-01-01T00:00:00Z"}"#;
        let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n";
        Some(match path.trim_end_matches('/') {
            "/latest/api/token" => http("200 OK", ttl, "token"),
            path if path.ends_with("security-credentials") => http("200 OK", "", "role"),
            path if path.ends_with("security-credentials/role") => http("200 OK", "", keys),
            "/latest/meta-data/placement/region" => http("200 OK", "", REGION),
            _ => http("404 Not Found", "", ""),
        })
    };
    let metadata = Server::start(answers);
    let mut reader = Reader::with(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.address)]);
    let asked = Asked { region: None, ..Asked::of("of-a-role", &moto.address) };
    assert_eq!(reader.value(&asked), "hunter2");
}
