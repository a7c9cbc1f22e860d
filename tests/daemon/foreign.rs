//! Clients that send garbage, half of something, or never read.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use libtest_mimic::Trial;

use crate::daemon::{Home, Settings};
use crate::site::Site;
use crate::support::{Need, test};

pub fn tests() -> Vec<Trial> {
    vec![test("foreign::clients_that_misbehave_cost_no_healing", &[Need::Engine], || {
        clients_that_misbehave_cost_no_healing();
        Ok(())
    })]
}

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: iaso\r\n\r\n";

/// What a client may do to a server.
fn misbehave(mut stream: impl Read + Write, nth: usize) {
    // The server may hang up at any time.
    let _ = match nth % 5 {
        0 => stream.write_all(&[0x16, 3, 1, 0, 0xff, b'\r', b'\n', b'\r', b'\n', 0]),
        1 => stream.write_all(&vec![b'A'; 1 << 20]),
        2 => stream.write_all(
            b"POST /api/v1/services/web/restart HTTP/1.1\r\nhost: iaso\r\ncontent-length: 99999999\r\n\r\nx",
        ),
        3 => stream.write_all(b"GET /health HTTP/1.1\r\nho"),
        _ => (0..64).try_for_each(|_| stream.write_all(GET)),
    };
    // It never reads, and stays until the test ends.
    std::mem::forget(stream);
}

fn clients_that_misbehave_cost_no_healing() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    for nth in 0..50 {
        let (unix, tcp) = (UnixStream::connect(home.socket()).unwrap(), TcpStream::connect(&daemon.address).unwrap());
        unix.set_nonblocking(true).unwrap();
        tcp.set_nonblocking(true).unwrap();
        misbehave(unix, nth);
        misbehave(tcp, nth);
    }
    for starts in 2..=3 {
        site.ask(&name, "/exit?code=3");
        events.come_to(&name, "start", starts);
    }
    // And people are still served.
    daemon.until_explained(&name, &["is healthy"]);
    assert_eq!(daemon.get("/livez").0, 200);
    assert_eq!(daemon.count(&name, "operation_begun"), 2, "{:?}", events.all());
    daemon.stop();
}
