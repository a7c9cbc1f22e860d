use std::sync::atomic::{AtomicU32, Ordering};

use hickory_resolver::proto::op::{Message, MessageType};
use hickory_resolver::proto::rr::{RData, Record};
use tempfile::TempDir;
use tokio::net::UdpSocket;

use super::*;
use crate::system::tasks::Tasks;

fn files(resolv_conf: Option<&str>, hosts: &str) -> (TempDir, Resolver) {
    let dir = tempfile::tempdir().unwrap();
    let (resolv_path, hosts_path) = (dir.path().join("resolv.conf"), dir.path().join("hosts"));
    if let Some(text) = resolv_conf {
        std::fs::write(&resolv_path, text).unwrap();
    }
    std::fs::write(&hosts_path, hosts).unwrap();
    let resolver = Resolver::over(Clock::new(), resolv_path, hosts_path);
    (dir, resolver)
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Waits until the files count as old enough to be looked at again.
async fn until_looked_again(resolver: &Resolver) {
    let looked = || resolver.shared.files.lock().unwrap().as_ref().map(|files| files.looked);
    let before = looked();
    while looked() == before {
        let _whatever = resolver.lookup("localhost").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn without_name_servers_addresses_the_hosts_file_and_localhost_still_serve() {
    let (_dir, resolver) = files(None, "10.1.2.3 nas nas.local shop_web_1 # the box\nfd00::3 nas\nnonsense\n");
    assert_eq!(resolver.lookup("192.0.2.7").await.unwrap(), addresses(&["192.0.2.7"]));
    assert_eq!(resolver.lookup("fd00::7").await.unwrap(), addresses(&["fd00::7"]));
    assert_eq!(resolver.lookup("NAS").await.unwrap(), addresses(&["10.1.2.3", "fd00::3"]));
    assert_eq!(resolver.lookup("shop_web_1").await.unwrap(), addresses(&["10.1.2.3"]));
    assert_eq!(resolver.lookup("nas.local").await.unwrap(), addresses(&["10.1.2.3"]));
    assert_eq!(resolver.lookup("LocalHost.").await.unwrap(), addresses(&["127.0.0.1", "::1"]));
    let error = resolver.lookup("example.org").await.unwrap_err();
    assert!(matches!(error.cause, Cause::NoServers(_)), "{error}");
    assert!(error.to_string().contains("example.org") && error.to_string().contains("resolv.conf"), "{error}");
}

#[tokio::test]
async fn local_names_and_what_is_no_name_are_refused_in_words() {
    let (_dir, resolver) = files(Some("nameserver 192.0.2.1\nsearch .\noptions ndots:0 nonsense\n"), "");
    for name in ["printer.local", "Printer.LOCAL.", "local"] {
        let error = resolver.lookup(name).await.unwrap_err();
        assert_eq!((&*error.name, &error.cause), (name, &Cause::Local));
        assert!(error.to_string().contains("multicast"));
    }
    let long = "a".repeat(64);
    for name in ["", ".", "a..b", &long] {
        assert_eq!(resolver.lookup(name).await.unwrap_err().cause, Cause::NotAName, "{name:?}");
    }
}

#[tokio::test]
async fn files_that_change_are_read_again() {
    let (dir, resolver) = files(None, "10.0.0.1 nas\n");
    assert_eq!(resolver.lookup("nas").await.unwrap(), addresses(&["10.0.0.1"]));
    assert!(matches!(resolver.lookup("web").await.unwrap_err().cause, Cause::NoServers(_)));
    std::fs::write(dir.path().join("hosts"), "10.0.0.25 nas\n").unwrap();
    std::fs::write(dir.path().join("resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
    until_looked_again(&resolver).await;
    assert_eq!(resolver.lookup("nas").await.unwrap(), addresses(&["10.0.0.25"]));
    let servers = resolver.shared.files.lock().unwrap().as_ref().map(|files| files.dns.is_ok());
    assert_eq!(servers, Some(true));
    std::fs::remove_file(dir.path().join("resolv.conf")).unwrap();
    until_looked_again(&resolver).await;
    assert!(matches!(resolver.lookup("web").await.unwrap_err().cause, Cause::NoServers(_)));
}

/// A name server on loopback that knows `shop.example` and nothing else; how often it was asked.
async fn with_server() -> (TempDir, Resolver, Arc<AtomicU32>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    Tasks::new().spawn("name-server", async move {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let query = message.queries[0].clone();
            match query.name().to_ascii().as_str() {
                "shop.example." | "shop_db_1." if query.query_type() == RecordType::A => {
                    let data = RData::A(Ipv4Addr::new(198, 51, 100, 4).into());
                    message.add_answer(Record::from_rdata(query.name().clone(), 0, data));
                }
                "shop.example." | "shop_db_1." => {}
                _ => message.metadata.response_code = ResponseCode::NXDomain,
            }
            socket.send_to(&message.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    let (dir, resolver) = wired_to(port);
    (dir, resolver, asked)
}

/// A resolver whose name server is on this port of loopback: wired in by hand, since `resolv.conf` cannot name a port.
fn wired_to(port: u16) -> (TempDir, Resolver) {
    let (dir, resolver) = files(Some("nameserver 127.0.0.1\n"), "");
    let (config, options) = system_conf::parse_resolv_conf("nameserver 127.0.0.1\n").unwrap();
    let mut server = config.name_servers()[0].clone();
    server.connections.iter_mut().for_each(|connection| connection.port = port);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    drop(resolver.files());
    resolver.shared.files.lock().unwrap().as_mut().unwrap().dns = Ok(build(config, options).unwrap());
    (dir, resolver)
}

#[tokio::test]
async fn name_servers_answer_once_for_a_while_and_their_refusals_are_told_apart() {
    let (_dir, resolver, asked) = with_server().await;
    assert_eq!(resolver.lookup("shop.example").await.unwrap(), addresses(&["198.51.100.4"]));
    let first = asked.load(Ordering::Relaxed);
    assert_eq!(resolver.lookup("shop.example").await.unwrap(), addresses(&["198.51.100.4"]));
    assert_eq!(asked.load(Ordering::Relaxed), first, "an answer that may not be kept is kept for a second");
    // The names that engines give containers may hold underscores.
    assert_eq!(resolver.lookup("shop_db_1").await.unwrap(), addresses(&["198.51.100.4"]));
    let error = resolver.lookup("gone.example").await.unwrap_err();
    assert_eq!(error.cause, Cause::NoSuchName, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_never_answers_is_given_up() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (_dir, resolver) = wired_to(silent.local_addr().unwrap().port());
    let error = resolver.lookup("shop.example").await.unwrap_err();
    assert_eq!(error.to_string(), "the name shop.example does not resolve: no name server answered in time");
}
