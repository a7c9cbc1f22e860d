//! One question to a name server, asked afresh: no cache, no other spelling of the name, and each way to fail told apart.
//! Over UDP, and over TCP where the answer does not fit.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::{Resolver, TRY};
use crate::config::validated::DnsRecord;
use crate::system::clock::random_u64;

/// A datagram may be lost, so it is sent again this often.
const AGAIN: Duration = Duration::from_secs(1);
/// The largest datagram that is asked for: what passes everywhere in one piece.
const DATAGRAM: u16 = 1232;

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It cannot be a name.
    #[error("it is not a name")]
    NotAName,
    /// A multicast name.
    #[error("names under .local are announced by multicast, which Iaso does not use")]
    Local,
    /// There are no name servers to ask.
    #[error("there are no name servers to ask: {0}")]
    NoServers(String),
    /// NXDOMAIN.
    #[error("NXDOMAIN: there is no such name")]
    NoSuchName,
    /// The name exists, and has nothing of this type.
    #[error("the name has no record of this type")]
    NoRecord,
    /// SERVFAIL.
    #[error("SERVFAIL: the name server failed at it")]
    ServerFailed,
    /// REFUSED.
    #[error("REFUSED: the name server does not answer this question, or not to Iaso")]
    Refused,
    /// Another code.
    #[error("the name server answered with code {0}")]
    Code(u16),
    /// The answer did not fit into a datagram, and TCP did not work.
    #[error("the answer was truncated, and over TCP there was none: {0}")]
    Truncated(String),
    /// What came is no answer to the question.
    #[error("what came is no DNS answer")]
    Malformed,
    /// Nobody is there.
    #[error("the name server cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("the name server did not answer in time")]
    TimedOut,
}

impl Resolver {
    /// The records of a type that name servers have for a name, spelled as in zone files, names in lower case and without a
    /// final dot. Asks `server`, without a time limit of its own; else those of `resolv.conf`, one after the other, 2 s each
    /// but the last.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn ask(
        &self,
        server: Option<SocketAddr>,
        name: &str,
        record: DnsRecord,
    ) -> Result<Vec<String>, NoAnswer> {
        let mut query = Name::from_str_relaxed(name).map_err(|_| NoAnswer::NotAName)?;
        query.set_fqdn(true);
        if query.is_root() && !name.starts_with('.') {
            return Err(NoAnswer::NotAName);
        }
        let lower = name.trim_end_matches('.').to_ascii_lowercase();
        if lower == "local" || lower.ends_with(".local") {
            return Err(NoAnswer::Local);
        }
        let query = Query::query(query, kind(record));
        match server {
            Some(server) => ask(server, &query).await,
            None => ask_each(&self.servers()?, &query).await,
        }
    }

    /// The name servers of `resolv.conf`, as it is now.
    fn servers(&self) -> Result<Vec<SocketAddr>, NoAnswer> {
        let path = &self.shared.resolv_conf;
        let no_servers = |why: &dyn fmt::Display| NoAnswer::NoServers(format!("{}: {why}", path.display()));
        let text = std::fs::read(path).map_err(|error| no_servers(&error))?;
        let (config, _) = system_conf::parse_resolv_conf(text).map_err(|error| no_servers(&error))?;
        let mut servers: Vec<SocketAddr> =
            config.name_servers().iter().map(|server| SocketAddr::new(server.ip, 53)).collect();
        servers.dedup();
        if servers.is_empty() { Err(no_servers(&"it names none")) } else { Ok(servers) }
    }
}

/// The first word of a server that knows. One that fails or is silent makes room for the next.
async fn ask_each(servers: &[SocketAddr], query: &Query) -> Result<Vec<String>, NoAnswer> {
    let mut last = NoAnswer::TimedOut;
    for (at, server) in servers.iter().enumerate() {
        let answer = if at + 1 < servers.len() {
            timeout(TRY, ask(*server, query)).await.unwrap_or(Err(NoAnswer::TimedOut))
        } else {
            ask(*server, query).await
        };
        match answer {
            Ok(_) | Err(NoAnswer::NoSuchName | NoAnswer::NoRecord) => return answer,
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn ask(server: SocketAddr, query: &Query) -> Result<Vec<String>, NoAnswer> {
    let [high, low, ..] = random_u64().to_be_bytes();
    let mut question = Message::new(u16::from_be_bytes([high, low]), MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(DATAGRAM);
    question.set_edns(edns);
    let bytes = question.to_vec().map_err(|_| NoAnswer::NotAName)?;
    let mut answer = over_udp(server, &question, &bytes).await?;
    if answer.metadata.truncation {
        answer = over_tcp(server, &question, &bytes).await.map_err(|why| NoAnswer::Truncated(why.to_string()))?;
    }
    match answer.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Err(NoAnswer::NoSuchName),
        ResponseCode::ServFail => return Err(NoAnswer::ServerFailed),
        ResponseCode::Refused => return Err(NoAnswer::Refused),
        other => return Err(NoAnswer::Code(other.into())),
    }
    let wanted = answer.answers.iter().filter(|record| record.record_type() == query.query_type());
    let found: Vec<String> = wanted.map(|record| spelled(&record.data)).collect();
    if found.is_empty() { Err(NoAnswer::NoRecord) } else { Ok(found) }
}

async fn over_udp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, NoAnswer> {
    let any = if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    // A port of its own for each question, and only this server's packets.
    let socket = UdpSocket::bind((any, 0)).await.map_err(unreachable)?;
    socket.connect(server).await.map_err(unreachable)?;
    let mut packet = vec![0; usize::from(u16::MAX)];
    loop {
        socket.send(bytes).await.map_err(unreachable)?;
        let until = Instant::now() + AGAIN;
        while let Ok(received) = tokio::time::timeout_at(until, socket.recv(&mut packet)).await {
            let length = received.map_err(unreachable)?;
            // Whoever does not know the question's number may be anybody.
            if packet[..length].get(..2) == bytes.get(..2) {
                return answer_to(question, &packet[..length]);
            }
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> Result<Message, NoAnswer> {
    let mut stream = TcpStream::connect(server).await.map_err(unreachable)?;
    let length = u16::try_from(bytes.len()).map_err(|_| NoAnswer::NotAName)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await.map_err(unreachable)?;
    let length = stream.read_u16().await.map_err(unreachable)?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(unreachable)?;
    answer_to(question, &answer)
}

fn answer_to(question: &Message, bytes: &[u8]) -> Result<Message, NoAnswer> {
    let answer = Message::from_vec(bytes).map_err(|_| NoAnswer::Malformed)?;
    let is_answer = answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        // Those that fail early may leave the question out.
        && (answer.queries.is_empty() || answer.queries == question.queries);
    if is_answer { Ok(answer) } else { Err(NoAnswer::Malformed) }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn unreachable(error: io::Error) -> NoAnswer {
    NoAnswer::Unreachable(error.to_string())
}

const fn kind(record: DnsRecord) -> RecordType {
    match record {
        DnsRecord::A => RecordType::A,
        DnsRecord::Aaaa => RecordType::AAAA,
        DnsRecord::Cname => RecordType::CNAME,
        DnsRecord::Mx => RecordType::MX,
        DnsRecord::Ns => RecordType::NS,
        DnsRecord::Ptr => RecordType::PTR,
        DnsRecord::Srv => RecordType::SRV,
        DnsRecord::Txt => RecordType::TXT,
    }
}

fn spelled(data: &RData) -> String {
    match data {
        RData::CNAME(name) => plain(&name.0),
        RData::NS(name) => plain(&name.0),
        RData::PTR(name) => plain(&name.0),
        RData::MX(mx) => format!("{} {}", mx.preference, plain(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, plain(&srv.target)),
        other => other.to_string(),
    }
}

fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').filter(|rest| !rest.is_empty()).map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests;
