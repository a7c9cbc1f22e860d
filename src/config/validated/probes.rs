//! What checks probe.

use std::fmt;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::composed::Composed;
use crate::config::secret::Secret;

/// What a check probes.
#[derive(Clone, PartialEq, Eq)]
pub enum Probe {
    /// An HTTP request.
    Http(HttpProbe),
    /// A TCP connection, and what is said over it.
    Tcp(TcpProbe),
    /// A TLS handshake and the certificate that is shown.
    Tls(TlsProbe),
    /// A name that must resolve.
    Dns(DnsProbe),
    /// The standard gRPC health protocol.
    Grpc(GrpcProbe),
    /// An echo request (ping).
    Icmp(UrlHost),
    /// A program inside the container (argument vector) that must exit with 0.
    Exec(Vec<String>),
    /// A program on Iaso's own host (argument vector) that must exit with 0.
    Command(Vec<String>),
    /// The container as its engine sees it: running, and not unhealthy.
    Docker,
    /// The service tells Iaso that it lives.
    Heartbeat(HeartbeatProbe),
}

impl Probe {
    /// The check's type, as the configuration spells it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Dns(_) => "dns",
            Self::Grpc(_) => "grpc",
            Self::Icmp(_) => "icmp",
            Self::Exec(_) => "exec",
            Self::Command(_) => "command",
            Self::Docker => "docker",
            Self::Heartbeat(_) => "heartbeat",
        }
    }

    /// What it sends and expects that may name credentials.
    pub fn texts(&self) -> impl Iterator<Item = &Composed> {
        let (headers, answers, texts) = match self {
            Self::Http(http) => (&http.headers[..], &http.expect.headers[..], [&http.expect.body_contains, &None]),
            Self::Tcp(tcp) => (&[][..], &[][..], [&tcp.send, &tcp.expect]),
            _ => (&[][..], &[][..], [&None, &None]),
        };
        headers.iter().chain(answers).map(|(_, text)| text).chain(texts.into_iter().flatten())
    }

    /// Whether its failure is the container's own by the way it takes, so that it heals unless the check says otherwise. A
    /// certificate, a name, a ping and a command of the host's tell of the way there at least as much.
    pub fn is_own(&self) -> bool {
        match self {
            Self::Http(http) => http.url.is_own(),
            Self::Tcp(tcp) => tcp.peer.is_own(),
            Self::Grpc(grpc) => grpc.peer.is_own(),
            Self::Exec(_) | Self::Docker | Self::Heartbeat(_) => true,
            Self::Tls(_) | Self::Dns(_) | Self::Icmp(_) | Self::Command(_) => false,
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(probe) => probe.fmt(f),
            Self::Tcp(probe) => probe.fmt(f),
            Self::Tls(probe) => probe.fmt(f),
            Self::Dns(probe) => probe.fmt(f),
            Self::Grpc(probe) => probe.fmt(f),
            Self::Icmp(host) => f.debug_tuple("Icmp").field(host).finish(),
            Self::Exec(argv) => f.debug_tuple("Exec").field(&Program(argv)).finish(),
            Self::Command(argv) => f.debug_tuple("Command").field(&Program(argv)).finish(),
            Self::Docker => f.write_str("Docker"),
            Self::Heartbeat(probe) => probe.fmt(f),
        }
    }
}

/// An argument vector as `Debug` may show it: arguments may hold secrets, so of them only the number.
pub(super) struct Program<'a>(pub(super) &'a [String]);

impl fmt::Debug for Program<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_first() {
            Some((program, arguments)) => write!(f, "{program:?} and {} arguments", arguments.len()),
            None => f.write_str("nothing"),
        }
    }
}

/// Where a probe connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The container, or a name or address as written.
    pub host: UrlHost,
    /// Its port.
    pub port: UrlPort,
}

impl Peer {
    /// Whether it is the container itself.
    pub fn is_own(&self) -> bool {
        self.host == UrlHost::Container || matches!(self.port, UrlPort::Published(_))
    }
}

/// Whom a TLS client trusts. Empty: the machine's roots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Trust {
    /// These roots instead of the machine's (`ca_file`).
    pub roots: Vec<CertificateDer<'static>>,
    /// SHA-256 hashes of public keys (SubjectPublicKeyInfo, DER). Where there are any, the certificate shown must have one of
    /// these keys; without `roots` that is all it must have: neither chain, name nor dates count then.
    pub pins: Vec<[u8; 32]>,
    /// The name that is asked for (SNI) and that the certificate must bear; none: the host's.
    pub server_name: Option<String>,
}

/// A TCP connection. What is sent may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpProbe {
    /// Where.
    pub peer: Peer,
    /// Sent once it is open.
    pub send: Option<Composed>,
    /// What the answer (its first 64 KiB) must contain.
    pub expect: Option<Composed>,
}

/// A TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsProbe {
    /// Where.
    pub peer: Peer,
    /// Whom it trusts.
    pub trust: Trust,
    /// Whole days that the certificate must still be good for.
    pub min_days_left: u16,
}

/// A question to a name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsProbe {
    /// The name that is asked for.
    pub query: String,
    /// What is asked about it.
    pub record: DnsRecord,
    /// Who is asked; none: the machine's resolvers.
    pub server: Option<Peer>,
    /// Each of these must be among the answers, spelled as zone files do (addresses, names without a final dot).
    pub expect: Vec<String>,
}

/// A type of DNS record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsRecord {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// An alias.
    Cname,
    /// Mail exchangers.
    Mx,
    /// Name servers.
    Ns,
    /// A reverse name.
    Ptr,
    /// A service's hosts and ports.
    Srv,
    /// Texts.
    Txt,
}

/// A call of `grpc.health.v1.Health/Check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcProbe {
    /// Where.
    pub peer: Peer,
    /// The service that is asked about; empty: the server as a whole.
    pub service: String,
    /// With TLS, whom it trusts; none: in plain text (HTTP/2 with prior knowledge).
    pub tls: Option<Trust>,
}

/// A ping from the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatProbe {
    /// The longest time from one ping to the next.
    pub max_age: Duration,
    /// What a ping over TCP must carry; none: pings come over the Unix socket only.
    pub token: Option<Secret>,
}

/// An HTTP request and what is expected of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// The URL, in which `{address}` and `{port:N}` stand for the container's own.
    pub url: UrlTemplate,
    /// `GET`, `HEAD` or `POST`.
    pub method: HttpMethod,
    /// Headers to send, names in lower case; `host` replaces the one made from the URL.
    pub headers: Vec<(String, Composed)>,
    /// Redirects to follow, 0 to 10.
    pub redirects: u8,
    /// What must hold.
    pub expect: HttpExpect,
    /// Over https, whom it trusts.
    pub trust: Trust,
}

/// The method of an HTTP probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`, without a body.
    Post,
}

/// What must hold of an HTTP answer. Texts and values may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpExpect {
    /// Accepted statuses, as inclusive ranges.
    pub status: Vec<(u16, u16)>,
    /// The body (its first MiB) contains this.
    pub body_contains: Option<Composed>,
    /// The body is JSON in which this pointer (RFC 6901) leads to this value.
    pub json: Vec<(String, serde_json::Value)>,
    /// Headers that must be there, with a value that contains the given text.
    pub headers: Vec<(String, Composed)>,
    /// Longest time from the start to the body's end.
    pub max_latency: Option<Duration>,
}

/// Of what is expected of JSON only the pointers are shown.
impl fmt::Debug for HttpExpect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, body_contains, json, headers, max_latency } = self;
        let pointers: Vec<&String> = json.iter().map(|(pointer, _)| pointer).collect();
        f.debug_struct("HttpExpect")
            .field("status", status)
            .field("body_contains", body_contains)
            .field("json", &pointers)
            .field("headers", headers)
            .field("max_latency", max_latency)
            .finish()
    }
}

/// A URL with placeholders, split so that filling it in cannot fail on its form.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    /// `http` or `https`.
    pub https: bool,
    /// Where to connect.
    pub host: UrlHost,
    /// The port; none is the scheme's own.
    pub port: Option<UrlPort>,
    /// Path and query, beginning with `/`.
    pub path: String,
}

/// A query may hold a key: of the path only what stands before it is shown.
impl fmt::Debug for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { https, host, port, path } = self;
        let path = path.split('?').next().unwrap_or_default();
        f.debug_struct("UrlTemplate")
            .field("https", https)
            .field("host", host)
            .field("port", port)
            .field("path", &path)
            .finish()
    }
}

/// The host of a [`UrlTemplate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlHost {
    /// `{address}`: the container's own address.
    Container,
    /// A name or address as written (IPv6 without brackets).
    Fixed(String),
}

/// The port of a [`UrlTemplate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlPort {
    /// A number as written; with `{address}` it is the container's own port.
    Number(u16),
    /// `{port:N}`: the host's port that the container's port N is published on.
    Published(u16),
}
