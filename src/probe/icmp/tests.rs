use super::*;
use crate::probe::example::{PATIENCE, SHORT, connector, steps};
use crate::probe::report::Verdict;

/// Whether this machine lets this process ping at all; a test's machine that does must not be told that it does not.
fn may_ping() -> bool {
    Socket::open("127.0.0.1".parse().unwrap()).is_ok()
}

#[tokio::test]
async fn loopback_replies_over_both_protocols() {
    for host in ["127.0.0.1", "::1", "localhost"] {
        let report = probe(host, &connector(), PATIENCE).await;
        if may_ping() {
            assert_eq!(report.verdict, Verdict::Passed, "{host}: {}", report.evidence);
            assert!(report.evidence.ends_with("replied"), "{}", report.evidence);
        } else {
            assert!(report.evidence.contains("CAP_NET_RAW"), "{}", report.evidence);
        }
    }
}

#[tokio::test]
async fn no_way_there_and_no_name_fail_in_words() {
    if may_ping() {
        // To all of a network at once, which nobody may by accident.
        let report = probe("127.255.255.255", &connector(), PATIENCE).await;
        assert_eq!((report.verdict, &*steps(&report)), (Verdict::Failed, "echo!"), "{}", report.evidence);
        assert!(report.evidence.starts_with("no echo from 127.255.255.255: "), "{}", report.evidence);
    }
    let report = probe("printer.local", &connector(), PATIENCE).await;
    assert_eq!((report.verdict, &*steps(&report)), (Verdict::Failed, "resolve!"), "{}", report.evidence);
}

#[tokio::test]
async fn only_the_answer_to_the_own_question_counts() {
    let address: IpAddr = "127.0.0.1".parse().unwrap();
    let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    ours.connect(theirs.local_addr().unwrap()).await.unwrap();
    theirs.connect(ours.local_addr().unwrap()).await.unwrap();
    let socket = Socket { packets: ours, raw: false };
    let asked = timeout(SHORT, socket.echo(address)).await;
    assert!(asked.is_err(), "nothing came, and yet: {asked:?}");
    let right = |request: &[u8]| {
        let mut answer = request.to_vec();
        answer[0] = ECHO_V4.1;
        answer
    };
    let rubbish = async {
        let mut request = [0; 64];
        // The first one is what nobody answered.
        theirs.recv(&mut request).await.unwrap();
        let length = theirs.recv(&mut request).await.unwrap();
        let (mut asks, mut other) = (right(&request[..length]), right(&request[..length]));
        (asks[0], other[length - 1]) = (ECHO_V4.0, !request[length - 1]);
        for packet in [vec![], vec![0; 7], vec![0; 400], asks, other] {
            theirs.send(&packet).await.unwrap();
        }
    };
    let (echoed, ()) = tokio::join!(timeout(SHORT, socket.echo(address)), rubbish);
    assert!(echoed.is_err(), "rubbish is no answer: {echoed:?}");
    let answers = async {
        let mut request = [0; 64];
        let length = theirs.recv(&mut request).await.unwrap();
        theirs.send(&right(&request[..length])).await.unwrap();
    };
    let (echoed, ()) = tokio::join!(socket.echo(address), answers);
    echoed.unwrap();
}

#[tokio::test]
async fn a_raw_socket_finds_its_own_reply_among_all_others() {
    let address: IpAddr = "127.0.0.1".parse().unwrap();
    // Needs CAP_NET_RAW; without it the datagram socket is all there is.
    let Ok(fd) = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(ipproto::ICMP),
    ) else {
        return;
    };
    let socket = Socket { packets: UdpSocket::from_std(fd.into()).unwrap(), raw: true };
    let other = Socket::open(address).unwrap();
    for packets in [&socket.packets, &other.packets] {
        packets.connect((address, 0)).await.unwrap();
    }
    let (first, second) = tokio::join!(socket.echo(address), other.echo(address));
    first.unwrap();
    second.unwrap();
}

#[test]
fn the_checksum_is_the_published_one() {
    // The example of RFC 1071.
    assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    assert_eq!(checksum(&[0xff; 64]), 0);
}
