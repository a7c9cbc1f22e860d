//! Real sockets: a server that answers each request with the next of its answers, and keeps what it was asked.

mod faults;
mod reads;
mod requests;
mod session;
mod words;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::*;
use crate::config::validated::{Auth, SecretFrom};
use crate::credentials::provider::{Fields, Lease};
use crate::system::clock::Clock;

const SESSION: &str = "hvs.session-t0ken-of-the-test";
const ROLE_ID: &str = "role-1d-of-the-test";
const SECRET_ID: &str = "secret-1d-of-the-test";
const SEALED: &str = r#"{"errors":["Vault is sealed"]}"#;

/// What is done with a request.
enum Reply {
    /// Status, more header lines, body.
    Http(u16, &'static str, String),
    /// These bytes, then the end of the connection.
    Raw(String),
    /// The connection stays silent.
    Hang,
}

/// A server; its threads end with the test's process.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let ours = Arc::clone(&asked);
        let serve = move || {
            let mut silent = Vec::new();
            for (stream, reply) in listener.incoming().map_while(std::io::Result::ok).zip(replies) {
                let mut stream: TcpStream = stream;
                ours.lock().unwrap().push(request(&mut stream));
                // A client that hangs up is what some of these ask for.
                let _ = match reply {
                    Reply::Http(status, headers, body) => write!(
                        stream,
                        "HTTP/1.1 {status} said\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                        body.len()
                    ),
                    Reply::Raw(text) => stream.write_all(text.as_bytes()),
                    Reply::Hang => {
                        silent.push(stream);
                        Ok(())
                    }
                };
            }
        };
        thread::Builder::new().spawn(serve).unwrap();
        Self { port, asked }
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it was asked: whole requests.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The first lines of what it was asked.
    fn lines(&self) -> Vec<String> {
        self.asked().iter().map(|asked| asked.split(" HTTP").next().unwrap_or_default().to_owned()).collect()
    }
}

/// A request's text, whole.
fn request(stream: &mut TcpStream) -> String {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut piece).unwrap_or(0);
        request.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let wanted = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            body.len() >= wanted.unwrap_or(0)
        });
        if whole || length == 0 {
            return text;
        }
    }
}

fn ok(body: &str) -> Reply {
    Reply::Http(200, "", body.to_owned())
}

fn status(status: u16, body: &str) -> Reply {
    Reply::Http(status, "", body.to_owned())
}

fn text(text: &str) -> SecretFrom {
    SecretFrom::Text(Secret::new(text))
}

fn approle(secret_id: SecretFrom, wrapped_at: Option<&str>) -> Auth {
    let wrapped_at = wrapped_at.map(str::to_owned);
    Auth::AppRole { mount: "approle".to_owned(), role_id: text(ROLE_ID), secret_id: Some(secret_id), wrapped_at }
}

/// One try fits into the time, and not the wait before a second.
fn settings(address: String, auth: Auth) -> Settings {
    Settings {
        address,
        namespace: None,
        roots: Vec::new(),
        identity: None,
        server_name: None,
        timeout: Duration::from_millis(900),
        auth,
        keep: false,
        logins_per_hour: 10,
    }
}

fn client(settings: &Settings) -> Vault {
    let clock = Clock::new();
    Vault::new(settings, &Resolver::system(clock), Meters::new(clock)).unwrap()
}

/// Logged in, without asking.
fn session(server: &Server) -> Vault {
    let vault = client(&settings(server.address(), Auth::Token(text(SESSION))));
    vault.swap(Some(Secret::new(SESSION)));
    vault
}

fn login_answer(token: &str) -> Reply {
    ok(&format!(
        r#"{{"auth":{{"client_token":"{token}","accessor":"acc","policies":["default"],"lease_duration":3600,
        "renewable":true,"token_type":"service","new_field":[1]}},"data":null,"lease_id":"","warnings":null}}"#
    ))
}

/// No words of a failure hold any of what the tests plant.
fn clean(failure: &Failure) -> &Failure {
    let shown = format!("{failure} {failure:?}");
    for planted in [SESSION, ROLE_ID, SECRET_ID, "hunter2"] {
        assert!(!shown.contains(planted), "{shown}");
    }
    assert!(!failure.words.contains('\n') && !failure.words.is_empty());
    failure
}

/// What a read of KV v2 amounts to when the server answers so.
async fn read_fault(reply: Reply) -> (Fault, String) {
    let vault = session(&Server::new(vec![reply]));
    let failure = vault.kv2_read("secret", "app", None).await.unwrap_err();
    let failure = clean(&failure);
    assert!(failure.words.starts_with("secret/data/app: ") || failure.words.contains(": secret/data/app"));
    (failure.fault, failure.words.clone())
}
