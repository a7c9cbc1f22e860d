//! What a check asks: a server in the test, which answers as it is told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// 200, and this body.
    Well(&'static str),
    /// 500, and this body.
    Sick(&'static str),
    /// Never.
    Silent,
    /// 200, and 100 MiB.
    Huge,
    /// Bytes that are not HTTP.
    Garbage,
    /// A reset connection.
    Reset,
}

/// A secret that every answer carries.
const COOKIE: &str = "session=s3cret-0f-a-test-cookie";

/// The server; its threads end with the test's process.
pub struct Target {
    pub port: u16,
    manner: Arc<Mutex<Manner>>,
    asked: Arc<AtomicU32>,
}

impl Target {
    pub fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let manner = Arc::new(Mutex::new(manner));
        let asked = Arc::<AtomicU32>::default();
        let (ours, count) = (Arc::clone(&manner), Arc::clone(&asked));
        let accept = move || {
            for client in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::Relaxed);
                let manner = *ours.lock().unwrap();
                // A client that goes away concerns nobody else.
                thread::Builder::new().spawn(move || drop(answer(client, manner))).unwrap();
            }
        };
        thread::Builder::new().spawn(accept).unwrap();
        Self { port, manner, asked }
    }

    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

fn answer(mut client: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut request = [0; 8192];
    let _ = client.read(&mut request)?;
    let whole = |status: &str, body: &str| {
        let head = format!("HTTP/1.1 {status}\r\nset-cookie: {COOKIE}\r\ncontent-length: {}\r\n", body.len());
        format!("{head}connection: close\r\n\r\n{body}")
    };
    match manner {
        Manner::Well(body) => client.write_all(whole("200 OK", body).as_bytes()),
        Manner::Sick(body) => client.write_all(whole("500 Sick", body).as_bytes()),
        Manner::Silent => {
            thread::sleep(Duration::from_secs(600));
            Ok(())
        }
        Manner::Huge => {
            client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n")?;
            let piece = vec![b'x'; 1 << 20];
            (0..100).try_for_each(|_| client.write_all(&piece))
        }
        Manner::Garbage => client.write_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n"),
        Manner::Reset => rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).map_err(Into::into),
    }
}
