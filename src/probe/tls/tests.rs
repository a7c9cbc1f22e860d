use std::io::{Read, Write};
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::config::validated::{Peer as To, Trust, UrlHost, UrlPort};
use crate::probe::report::Verdict;
use crate::probe::tls_peer::{Authority, Peer, Shown, Wanted, in_days, listening};
use crate::system::resolver::Resolver;
use crate::system::trust::TlsClients;

/// Long enough for whatever ends by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what never does.
const SHORT: Duration = Duration::from_millis(300);

fn prober() -> TlsProber {
    let clock = Clock::new();
    TlsProber::new(Connector::new(Resolver::system(clock), TlsClients::new(clock)), clock)
}

fn trusting(authority: &Authority) -> Trust {
    Trust { roots: vec![authority.der.clone()], ..Trust::default() }
}

fn pinning(shown: &Shown) -> Trust {
    Trust { pins: vec![shown.pin()], ..Trust::default() }
}

async fn probe_within(limit: Duration, address: SocketAddr, trust: Trust, min_days_left: u16) -> Report {
    let peer = To { host: UrlHost::Fixed("127.0.0.1".to_owned()), port: UrlPort::Number(address.port()) };
    let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: address.port() };
    prober().probe(&TlsProbe { peer, trust, min_days_left }, &endpoint, limit).await
}

async fn probe(address: SocketAddr, trust: Trust) -> Report {
    probe_within(PATIENCE, address, trust, 14).await
}

#[track_caller]
fn passed(report: &Report) {
    assert!(report.verdict == Verdict::Passed, "{report:?}");
}

#[track_caller]
fn failed(report: &Report, step: &str, words: &str) {
    let last = report.steps.last().unwrap();
    assert!(report.verdict == Verdict::Failed && last.name == step && !last.ok, "{report:?}");
    assert!(report.evidence.contains(words), "{report:?}");
}

#[tokio::test]
async fn a_chain_to_the_given_root_is_trusted_and_its_end_is_told() {
    let root = Authority::root();
    let peer = Peer::showing(&root.signs(&Wanted { ends: in_days(60), ..Wanted::default() }));
    let report = probe(peer.address, trusting(&root)).await;
    passed(&report);
    let steps: Vec<_> = report.steps.iter().map(|step| (step.name, step.detail.as_str())).collect();
    let (to, ends) = (format!("to {}", peer.address), format!("certificate ends {} (60 days left)", day(in_days(60))));
    assert_eq!(steps, [("connect", &*to), ("tls", "TLS 1.3, trusted"), ("expiry", &*ends)]);
    assert!((in_days(60) - report.certificate_expiry.unwrap()).abs() < 600);
}

#[tokio::test]
async fn whole_days_left_are_counted() {
    let root = Authority::root();
    let ends = in_days(10);
    let peer = Peer::showing(&root.signs(&Wanted { ends, ..Wanted::default() }));
    let report = probe_within(PATIENCE, peer.address, trusting(&root), 14).await;
    let words = format!("certificate ends {} (10 days left), expected 14 days or more", day(ends));
    failed(&report, "expiry", &words);
    assert_eq!(report.evidence, words);
    assert_eq!(report.certificate_expiry, Some(ends));
    for enough in [5, 10] {
        passed(&probe_within(PATIENCE, peer.address, trusting(&root), enough).await);
    }
    failed(&probe_within(PATIENCE, peer.address, trusting(&root), 11).await, "expiry", "(10 days left)");
}

#[tokio::test]
async fn what_is_not_trusted_is_told_in_words() {
    let root = Authority::root();
    let other = Authority::root();
    let between = root.between(in_days(100));
    let signed = |names, begins, ends| root.signs(&Wanted { names, begins, ends });
    let own_authority = Shown::of_an_authority();
    let rows = [
        (signed(&["127.0.0.1"], 0, 1_577_836_800), trusting(&root), "its certificate ended 2020-01-01 00:00 UTC"),
        (
            signed(&["127.0.0.1"], 4_070_908_800, 4_070_995_200),
            trusting(&root),
            "its certificate is not valid before 2099-01-01 00:00 UTC",
        ),
        (
            signed(&["shop.example", "*.shop.example", "10.0.0.1"], in_days(-1), in_days(60)),
            trusting(&root),
            "its certificate is not for 127.0.0.1: it bears shop.example, *.shop.example, 10.0.0.1",
        ),
        (signed(&[], in_days(-1), in_days(60)), trusting(&root), "it bears no name at all"),
        (Shown::self_signed(&Wanted::default()), Trust::default(), "its certificate is self-signed: trust it by"),
        (root.signs(&Wanted::default()), Trust::default(), "from an authority that is not trusted (CN=Private Root)"),
        (root.signs(&Wanted::default()), trusting(&other), "from an authority that is not trusted"),
        (between.signs(&Wanted::default()), trusting(&root), "or it leaves out a certificate between"),
        (
            own_authority.clone(),
            Trust { roots: own_authority.chain.clone(), ..Trust::default() },
            "an authority's own, not a server's: trust it by pin_sha256",
        ),
        (root.signs(&Wanted::default()).stolen(), trusting(&root), "it does not hold its certificate's key"),
    ];
    for (shown, trust, words) in rows {
        let report = probe(Peer::showing(&shown).address, trust).await;
        failed(&report, "tls", words);
        assert!(report.evidence.starts_with("TLS: "), "{report:?}");
    }
}

#[tokio::test]
async fn an_end_is_told_of_a_certificate_that_is_not_trusted_too() {
    let root = Authority::root();
    let peer = Peer::showing(&root.signs(&Wanted { ends: 1_577_836_800, begins: 0, ..Wanted::default() }));
    assert_eq!(probe(peer.address, trusting(&root)).await.certificate_expiry, Some(1_577_836_800));
}

#[tokio::test]
async fn the_name_is_the_hosts_unless_another_is_given() {
    let root = Authority::root();
    let peer = Peer::showing(&root.signs(&Wanted { names: &["shop.example"], ..Wanted::default() }));
    let named = |name: &str| Trust { server_name: Some(name.to_owned()), ..trusting(&root) };
    passed(&probe(peer.address, named("shop.example")).await);
    passed(&probe(peer.address, named("shop.example.")).await);
    failed(&probe(peer.address, named("other.example")).await, "tls", "not for other.example: it bears shop.example");
}

#[tokio::test]
async fn the_whole_chain_counts_but_no_root_and_nothing_that_trust_cannot_come_from() {
    let root = Authority::root();
    let short_lived = root.between(in_days(7));
    let peer = Peer::showing(&short_lived.signs(&Wanted::default()).followed_by([short_lived.der.clone()]));
    let report = probe(peer.address, trusting(&root)).await;
    failed(&report, "expiry", "certificate of an authority in its chain ends");
    assert!(report.evidence.contains("(7 days left)"), "{report:?}");

    let ended = root.between(in_days(-5));
    let peer = Peer::showing(&ended.signs(&Wanted::default()).followed_by([ended.der.clone()]));
    failed(&probe(peer.address, trusting(&root)).await, "tls", "an authority's certificate in its chain ended");

    // What an old cross-signature leaves behind.
    let good = root.signs(&Wanted::default()).followed_by([ended.der.clone(), root.der.clone()]);
    let peer = Peer::showing(&good);
    let report = probe(peer.address, trusting(&root)).await;
    passed(&report);
    assert!(report.evidence.contains("(60 days left)"), "{report:?}");
}

#[tokio::test]
async fn a_pin_alone_decides_and_beside_roots_both_do() {
    let root = Authority::root();
    let old = Shown::self_signed(&Wanted { names: &["elsewhere.example"], begins: 0, ends: 1_577_836_800 });
    let peer = Peer::showing(&old);
    let report = probe(peer.address, pinning(&old)).await;
    passed(&report);
    assert!(report.evidence.ends_with("which does not count beside its pin"), "{report:?}");
    assert_eq!(report.certificate_expiry, Some(1_577_836_800));
    let of_an_authority = Shown::of_an_authority();
    passed(&probe(Peer::showing(&of_an_authority).address, pinning(&of_an_authority)).await);

    let other = Shown::self_signed(&Wanted::default());
    let several = Trust { pins: vec![other.pin(), old.pin()], ..Trust::default() };
    passed(&probe(peer.address, several).await);
    let pin = STANDARD.encode(old.pin());
    failed(&probe(peer.address, pinning(&other)).await, "tls", &format!("its pin_sha256 is \"{pin}\""));

    let signed = root.signs(&Wanted::default());
    let peer = Peer::showing(&signed);
    let both = |authority: &Authority, shown: &Shown| Trust { pins: vec![shown.pin()], ..trusting(authority) };
    passed(&probe(peer.address, both(&root, &signed)).await);
    failed(&probe(peer.address, both(&root, &other)).await, "tls", "not the pinned one");
    failed(&probe(peer.address, both(&Authority::root(), &signed)).await, "tls", "not trusted");
    // Beside roots dates count.
    let soon = root.signs(&Wanted { ends: in_days(3), ..Wanted::default() });
    failed(&probe(Peer::showing(&soon).address, both(&root, &soon)).await, "expiry", "(3 days left)");
}

#[tokio::test]
async fn a_pinned_key_must_be_held_and_not_only_shown() {
    for version in [&TLS12, &TLS13] {
        let shown = Shown::self_signed(&Wanted::default());
        let trust = pinning(&shown);
        let peer = Peer::speaking(&shown.stolen(), &[version], None);
        failed(&probe(peer.address, trust).await, "tls", "it does not hold its certificate's key");
    }
}

#[tokio::test]
async fn a_new_certificate_is_seen_in_the_next_handshake() {
    let root = Authority::root();
    let peer = Peer::speaking(&root.signs(&Wanted::default()), &[&TLS12], None);
    let prober = prober();
    let to = To { host: UrlHost::Fixed("127.0.0.1".to_owned()), port: UrlPort::Number(peer.address.port()) };
    let check = TlsProbe { peer: to, trust: trusting(&root), min_days_left: 14 };
    let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: peer.address.port() };
    let report = prober.probe(&check, &endpoint, PATIENCE).await;
    passed(&report);
    assert_eq!(report.steps[1].detail, "TLS 1.2, trusted");
    peer.shows(&root.signs(&Wanted { ends: in_days(1), ..Wanted::default() }));
    failed(&prober.probe(&check, &endpoint, PATIENCE).await, "expiry", "(1 day left)");
}

#[tokio::test]
async fn a_peer_that_wants_a_clients_certificate_is_told() {
    let root = Authority::root();
    let shown = root.signs(&Wanted::default());
    // Of no concern to the certificate that it shows itself.
    passed(&probe(Peer::speaking(&shown, &[&TLS13], Some(&root)).address, trusting(&root)).await);
    let report = probe(Peer::speaking(&shown, &[&TLS12], Some(&root)).address, trusting(&root)).await;
    failed(&report, "tls", "it requires a client's certificate");
}

#[tokio::test]
async fn what_speaks_no_tls_or_breaks_off_is_told() {
    let plain = listening(|mut client| {
        let _gone = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _gone = std::io::copy(&mut client, &mut std::io::sink());
    });
    failed(&probe(plain, Trust::default()).await, "tls", "it does not speak TLS");

    let closing = listening(|mut client| {
        let _gone = client.read(&mut [0; 4096]);
    });
    failed(&probe(closing, Trust::default()).await, "tls", "it closed the connection in the middle of the handshake");

    let silent = listening(|mut client| drop(std::io::copy(&mut client, &mut std::io::sink())));
    let report = probe_within(SHORT, silent, Trust::default(), 14).await;
    failed(&report, "tls", "no whole answer within 300ms: the TLS handshake was under way");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    failed(&probe(nobody, Trust::default()).await, "connect", "refused");
}

#[tokio::test]
async fn a_huge_chain_is_refused_and_a_long_one_is_judged() {
    let root = Authority::root();
    let shown = root.signs(&Wanted::default());
    let long = shown.clone().followed_by(vec![root.between(in_days(50)).der; 50]);
    passed(&probe(Peer::showing(&long).address, trusting(&root)).await);
    let huge = shown.followed_by(vec![root.der.clone(); 1000]);
    failed(
        &probe(Peer::showing(&huge).address, trusting(&root)).await,
        "tls",
        "its certificates are longer than 64 KiB",
    );
}
