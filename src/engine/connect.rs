//! Connections to one engine: over its Unix socket, TCP, or TCP with TLS. Names are resolved in the process.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error as TlsError};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::EngineError;
use crate::config::validated::HostAddress;
use crate::system::resolver::Resolver;
use crate::system::{tls, trust};

/// A whole connection: name, TCP and TLS. Less than a question to the engine may take, so that the cause is told.
const CONNECT_BOUND: Duration = Duration::from_secs(4);

/// How long a TLS session may be taken up again. Each request has a connection of its own, and a list has many; but a session
/// that is taken up again shows no certificate, so that one that has ended would go on to be trusted.
const SESSIONS: Duration = Duration::from_secs(10);

/// The way to one engine.
pub(super) enum Way {
    Unix(PathBuf),
    Tcp { peer: Peer, resolver: Resolver, tls: Option<Box<Tls>> },
}

/// A host and a port.
pub(super) struct Peer {
    /// IPv6 without brackets.
    host: String,
    port: u16,
    /// Both, as an URL has them.
    pub(super) authority: String,
}

/// TLS to one engine.
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// With sessions of its own, and when it was made.
    newest: Mutex<Option<(TlsConnector, Instant)>>,
}

/// A connection.
pub(super) enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Way {
    /// # Errors
    /// When the address or its certificates cannot be used.
    pub(super) fn new(address: HostAddress, resolver: Resolver) -> Result<Self, EngineError> {
        Ok(match address {
            HostAddress::Unix(path) => Self::Unix(path),
            HostAddress::Tcp(address) => Self::Tcp { peer: Peer::new(address)?, resolver, tls: None },
            HostAddress::Tls { address, tls } => {
                let peer = Peer::new(address)?;
                let unusable =
                    |why: String| EngineError::Unreachable(format!("{}: TLS cannot be set up: {why}", peer.authority));
                let name = ServerName::try_from(peer.host.clone()).map_err(|error| unusable(error.to_string()))?;
                let config = tls::engine_config(&tls).map_err(|error| unusable(error.to_string()))?;
                let tls = Tls { config, name, newest: Mutex::new(None) };
                Self::Tcp { peer, resolver, tls: Some(Box::new(tls)) }
            }
        })
    }

    /// Connects, within 4 s.
    ///
    /// # Errors
    /// Says to where and why not. `NotFound` and `ConnectionRefused` mean that nobody listens.
    pub(super) async fn connect(&self) -> io::Result<Connection> {
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                stream.map(Connection::Unix).map_err(|error| at(&path.display().to_string(), &error))
            }
            Self::Tcp { peer, resolver, tls } => {
                let connecting = async {
                    let stream = peer.connect(resolver).await?;
                    Ok(match tls.as_deref() {
                        None => Connection::Tcp(stream),
                        Some(tls) => {
                            let shaken = tls.connector().connect(tls.name.clone(), stream).await;
                            Connection::Tls(Box::new(shaken.map_err(|error| tls_error(&error).unwrap_or(error))?))
                        }
                    })
                };
                let connected = timeout(CONNECT_BOUND, connecting).await;
                let late =
                    || Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT_BOUND:?}")));
                connected.unwrap_or_else(|_| late()).map_err(|error| at(&peer.authority, &error))
            }
        }
    }

    /// What the `Host` header says.
    pub(super) fn authority(&self) -> &str {
        match self {
            Self::Unix(_) => "localhost",
            Self::Tcp { peer, .. } => &peer.authority,
        }
    }
}

impl Tls {
    /// One whose sessions are not too old.
    fn connector(&self) -> TlsConnector {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((connector, _)) = newest.as_ref().filter(|(_, made)| made.elapsed() < SESSIONS) {
            return connector.clone();
        }
        let mut config = (*self.config).clone();
        config.resumption = Resumption::default();
        let connector = TlsConnector::from(Arc::new(config));
        *newest = Some((connector.clone(), Instant::now()));
        connector
    }
}

impl Peer {
    fn new(authority: String) -> Result<Self, EngineError> {
        let split = authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = split else {
            return Err(EngineError::Unreachable(format!("{authority:?} is not a host and a port")));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, authority })
    }

    /// Tries each address of the host in turn, each with its share of the time.
    async fn connect(&self, resolver: &Resolver) -> io::Result<TcpStream> {
        let addresses = resolver.lookup(&self.host).await.map_err(io::Error::other)?;
        let share = CONNECT_BOUND / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut last = io::Error::other("the name has no address");
        for address in addresses {
            match timeout(share, connect(address, self.port)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")),
            }
        }
        Err(last)
    }
}

async fn connect(address: IpAddr, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::new(address, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An error that says where.
pub(super) fn at(place: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{place}: {error}"))
}

/// What TLS made of a connection, in words; none where the error is not TLS's.
pub(super) fn tls_error(error: &io::Error) -> Option<io::Error> {
    let cause = error.get_ref()?.downcast_ref::<TlsError>()?;
    let words = match cause {
        TlsError::InvalidMessage(_) => "it does not speak TLS".to_owned(),
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate is not from an authority that is trusted (ca_file)".to_owned()
        }
        TlsError::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            format!("its certificate, or its authority's, has expired: it was valid until {}", trust::moment(not_after))
        }
        TlsError::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => format!(
            "its certificate, or its authority's, is not valid before {}, if this machine's clock is right",
            trust::moment(not_before)
        ),
        TlsError::InvalidCertificate(why) => format!("its certificate is refused: {why}"),
        TlsError::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => format!("it refuses Iaso's certificate (cert_file): {alert:?}"),
        other => other.to_string(),
    };
    Some(io::Error::other(format!("TLS: {words}")))
}
