use tokio::net::UdpSocket;

use super::*;
use crate::config::validated::{Peer, UrlHost, UrlPort};
use crate::probe::example::{PATIENCE, SHORT, connector, probers, steps};
use crate::probe::report::Verdict;
use crate::system::tasks::Tasks;

fn check(query: &str, record: DnsRecord, expect: &[&str]) -> DnsProbe {
    let server = Some(Peer { host: UrlHost::Container, port: UrlPort::Number(53) });
    let expect = expect.iter().map(|text| (*text).to_owned()).collect();
    DnsProbe { query: query.to_owned(), record, server, expect }
}

/// A name server that answers every question with the address 192.0.2.7; none: it never answers.
async fn server(answers: bool) -> Endpoint {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    Tasks::new().spawn("name-server", async move {
        let mut packet = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
            if !answers {
                continue;
            }
            // The question without its EDNS record, then an answer that points to the question's name.
            let question = &packet[12..length - 11];
            let head = [packet[0], packet[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
            let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 7];
            socket.send_to(&[&head, question, &record[..]].concat(), peer).await.unwrap();
        }
    });
    Endpoint { host: "127.0.0.1".to_owned(), port }
}

async fn ask(probe: &DnsProbe, server: &Endpoint, limit: Duration) -> Report {
    super::probe(probe, Some(server), &connector(), &probers().resolver, limit).await
}

#[tokio::test]
async fn what_is_expected_must_be_among_the_answers() {
    let server = server(true).await;
    let report = ask(&check("web.example", DnsRecord::A, &["192.0.2.7"]), &server, PATIENCE).await;
    assert_eq!((report.verdict, &*steps(&report)), (Verdict::Passed, "question expect"), "{}", report.evidence);
    let report = ask(&check("web.example", DnsRecord::A, &[]), &server, PATIENCE).await;
    assert_eq!((report.verdict, &*report.evidence), (Verdict::Passed, "web.example A: 192.0.2.7"));
    let report = ask(&check("web.example", DnsRecord::A, &["192.0.2.7", "192.0.2.8"]), &server, PATIENCE).await;
    assert_eq!((report.verdict, &*steps(&report)), (Verdict::Failed, "question expect expect!"));
    assert_eq!(report.evidence, "\"192.0.2.8\" is not among the answers to web.example A");
}

#[tokio::test]
async fn silence_and_names_that_are_not_asked_for_fail_in_words() {
    let silent = server(false).await;
    let report = ask(&check("web.example", DnsRecord::A, &[]), &silent, SHORT).await;
    assert_eq!((report.verdict, &*steps(&report)), (Verdict::Failed, "question!"));
    assert!(report.evidence.contains("did not answer"), "{}", report.evidence);
    let report = ask(&check("printer.local", DnsRecord::A, &[]), &silent, PATIENCE).await;
    assert!(report.evidence.contains("multicast"), "{}", report.evidence);
    let nowhere = Endpoint { host: "ns.local".to_owned(), port: 53 };
    let report = ask(&check("web.example", DnsRecord::A, &[]), &nowhere, PATIENCE).await;
    assert_eq!(steps(&report), "resolve!");
}

#[test]
fn addresses_count_in_any_spelling_names_in_any_case_and_texts_to_the_letter() {
    assert!(same(DnsRecord::Aaaa, "2001:DB8:0::7", "2001:db8::7"));
    assert!(!same(DnsRecord::A, "192.0.2.70", "192.0.2.7"));
    assert!(same(DnsRecord::Mx, "10 Mail.Example.", "10 mail.example"));
    assert!(!same(DnsRecord::Mx, "mail.example", "10 mail.example"));
    assert!(same(DnsRecord::Txt, "v=spf1 -all", "v=spf1 -all") && !same(DnsRecord::Txt, "V=spf1 -all", "v=spf1 -all"));
}
