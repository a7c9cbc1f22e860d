use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{CNAME, MX, SRV, TXT};
use tokio::net::TcpListener;

use super::*;
use crate::system::clock::Clock;
use crate::system::tasks::Tasks;

/// How a name server behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Well,
    /// Long answers are cut; over TCP they are whole.
    Cut,
    /// Long answers are cut, and there is no TCP.
    CutOnly,
    /// The first packet is lost.
    Lossy,
    Silent,
    Garbage,
    /// It answers another question.
    Astray,
    /// A stranger's packet comes first.
    Spoofed,
    Code(ResponseCode),
}

fn name(text: &str) -> Name {
    let mut name = Name::from_str_relaxed(text).unwrap();
    name.set_fqdn(true);
    name
}

/// The zone `example`.
fn answer(question: &Message, manner: Manner) -> Message {
    let mut message = question.clone();
    message.metadata.message_type = MessageType::Response;
    message.edns = None;
    let query = question.queries[0].clone();
    let mut add = |data| {
        message.answers.push(Record::from_rdata(query.name().clone(), 0, data));
    };
    match (query.name().to_ascii().as_str(), query.query_type()) {
        ("web.example.", RecordType::A) => {
            add(RData::CNAME(CNAME(name("front.example"))));
            add(RData::A(Ipv4Addr::new(192, 0, 2, 7).into()));
            add(RData::A(Ipv4Addr::new(192, 0, 2, 8).into()));
        }
        ("web.example.", RecordType::CNAME) => add(RData::CNAME(CNAME(name("Front.Example")))),
        ("web.example.", RecordType::AAAA) => add(RData::AAAA("2001:db8::7".parse::<Ipv6Addr>().unwrap().into())),
        ("example.", RecordType::MX) => add(RData::MX(MX::new(10, name("mail.example")))),
        ("_sip._tcp.example.", RecordType::SRV) => add(RData::SRV(SRV::new(0, 5, 5060, name("sip.example")))),
        ("example.", RecordType::TXT) => add(RData::TXT(TXT::new(vec!["v=spf1 ".to_owned(), "-all".to_owned()]))),
        ("web.example.", _) => {}
        _ => message.metadata.response_code = ResponseCode::NXDomain,
    }
    match manner {
        Manner::Code(code) => {
            message.answers.clear();
            message.metadata.response_code = code;
        }
        Manner::Cut | Manner::CutOnly => {
            message.answers.clear();
            message.metadata.truncation = true;
        }
        Manner::Astray => message.queries[0] = Query::query(name("other.example"), RecordType::A),
        _ => {}
    }
    message
}

/// A name server on loopback, over UDP and TCP at one port; and how often it was asked over UDP.
async fn server(manner: Manner) -> (SocketAddr, Arc<AtomicU32>) {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let (address, asked, tasks) = (udp.local_addr().unwrap(), Arc::new(AtomicU32::new(0)), Tasks::new());
    let count = Arc::clone(&asked);
    tasks.spawn("udp", async move {
        let mut packet = [0; 2048];
        while let Ok((length, peer)) = udp.recv_from(&mut packet).await {
            let times = count.fetch_add(1, Ordering::Relaxed);
            let question = Message::from_vec(&packet[..length]).unwrap();
            let mut bytes = answer(&question, manner).to_vec().unwrap();
            match manner {
                Manner::Silent => continue,
                Manner::Lossy if times == 0 => continue,
                // The question's number, and then nothing that makes sense.
                Manner::Garbage => bytes = [&bytes[..2], &[0xff; 20]].concat(),
                Manner::Spoofed => {
                    let stranger = [!bytes[0], !bytes[1], 0xff];
                    udp.send_to(&stranger, peer).await.unwrap();
                }
                _ => {}
            }
            udp.send_to(&bytes, peer).await.unwrap();
        }
    });
    if manner != Manner::CutOnly {
        tasks.spawn("tcp", async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let length = stream.read_u16().await.unwrap();
                let mut packet = vec![0; length.into()];
                stream.read_exact(&mut packet).await.unwrap();
                let bytes = answer(&Message::from_vec(&packet).unwrap(), Manner::Well).to_vec().unwrap();
                let length = u16::try_from(bytes.len()).unwrap();
                stream.write_all(&[&length.to_be_bytes(), &bytes[..]].concat()).await.unwrap();
            }
        });
    }
    (address, asked)
}

fn resolver() -> Resolver {
    Resolver::system(Clock::new())
}

async fn ask_one(manner: Manner, name: &str, record: DnsRecord) -> Result<Vec<String>, NoAnswer> {
    let (server, _) = server(manner).await;
    resolver().ask(Some(server), name, record).await
}

#[tokio::test]
async fn each_type_of_record_is_spelled_as_zone_files_do() {
    let (server, asked) = server(Manner::Well).await;
    let rows = [
        ("web.example", DnsRecord::A, vec!["192.0.2.7", "192.0.2.8"]),
        ("WEB.Example.", DnsRecord::Cname, vec!["front.example"]),
        ("web.example", DnsRecord::Aaaa, vec!["2001:db8::7"]),
        ("example", DnsRecord::Mx, vec!["10 mail.example"]),
        ("_sip._tcp.example", DnsRecord::Srv, vec!["0 5 5060 sip.example"]),
        ("example", DnsRecord::Txt, vec!["v=spf1 -all"]),
    ];
    let resolver = resolver();
    for (name, record, wanted) in rows {
        assert_eq!(resolver.ask(Some(server), name, record).await.unwrap(), wanted, "{name} {record:?}");
    }
    let before = asked.load(Ordering::Relaxed);
    resolver.ask(Some(server), "web.example", DnsRecord::A).await.unwrap();
    assert!(asked.load(Ordering::Relaxed) > before, "an answer was kept");
}

#[tokio::test]
async fn each_way_to_fail_has_its_own_word() {
    let rows = [
        (Manner::Well, "nobody.example", NoAnswer::NoSuchName),
        (Manner::Well, "web.example", NoAnswer::NoRecord),
        (Manner::Code(ResponseCode::ServFail), "web.example", NoAnswer::ServerFailed),
        (Manner::Code(ResponseCode::Refused), "web.example", NoAnswer::Refused),
        (Manner::Code(ResponseCode::NotImp), "web.example", NoAnswer::Code(4)),
        (Manner::Garbage, "web.example", NoAnswer::Malformed),
        (Manner::Astray, "web.example", NoAnswer::Malformed),
        (Manner::Well, "printer.local", NoAnswer::Local),
        (Manner::Well, "a..b", NoAnswer::NotAName),
    ];
    for (manner, name, wanted) in rows {
        assert_eq!(ask_one(manner, name, DnsRecord::Ptr).await.unwrap_err(), wanted);
    }
    let error = ask_one(Manner::CutOnly, "web.example", DnsRecord::A).await;
    assert!(matches!(error, Err(NoAnswer::Truncated(_))), "{error:?}");
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = resolver().ask(Some(gone), "web.example", DnsRecord::A).await;
    assert!(matches!(error, Err(NoAnswer::Unreachable(_))), "{error:?}");
}

#[tokio::test]
async fn what_is_cut_comes_over_tcp_what_is_lost_again_and_what_a_stranger_sends_is_passed_over() {
    for manner in [Manner::Cut, Manner::Lossy, Manner::Spoofed] {
        assert_eq!(ask_one(manner, "web.example", DnsRecord::A).await.unwrap(), ["192.0.2.7", "192.0.2.8"]);
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_servers_one_that_fails_makes_room_for_the_next() {
    let (silent, failing, well) =
        (server(Manner::Silent).await, server(Manner::Code(ResponseCode::ServFail)).await, server(Manner::Well).await);
    let query = Query::query(name("web.example"), RecordType::A);
    let found = ask_each(&[silent.0, failing.0, well.0], &query).await.unwrap();
    assert_eq!(found.len(), 2);
    let query = Query::query(name("nobody.example"), RecordType::A);
    assert_eq!(ask_each(&[well.0, silent.0], &query).await, Err(NoAnswer::NoSuchName), "a word is a word");
    assert_eq!(ask_each(&[well.0, failing.0], &query).await, Err(NoAnswer::NoSuchName));
    assert_eq!(ask_each(&[failing.0], &query).await, Err(NoAnswer::ServerFailed));
}

#[test]
fn the_machine_s_servers_are_read_afresh() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resolv.conf");
    let resolver = Resolver::over(Clock::new(), file.clone(), dir.path().join("hosts"));
    assert!(matches!(resolver.servers(), Err(NoAnswer::NoServers(why)) if why.contains("resolv.conf")));
    std::fs::write(&file, "nameserver 192.0.2.1\nnameserver 2001:db8::1\n").unwrap();
    let servers = ["192.0.2.1:53", "[2001:db8::1]:53"].map(|text| text.parse().unwrap());
    assert_eq!(resolver.servers().unwrap(), servers);
    std::fs::write(&file, "nameserver 192.0.2.2\n").unwrap();
    assert_eq!(resolver.servers().unwrap(), ["192.0.2.2:53".parse().unwrap()]);
}
