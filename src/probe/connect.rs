//! The way to a peer, step by step: its name, a fresh TCP connection, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::validated::Trust;
use crate::probe::address::Endpoint;
use crate::probe::run::{Failed, Run};
use crate::system::clock::stopwatch;
use crate::system::resolver::Resolver;
use crate::system::trust::{End, TlsClients, handshake_words};

/// How long one address of several is tried alone before the next joins in (as RFC 8305 recommends).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects for probes. Clones share the names and the TLS configurations that are known already.
#[derive(Debug, Clone)]
pub struct Connector {
    resolver: Resolver,
    tls: TlsClients,
}

impl Connector {
    /// Connects to what `resolver` finds, and trusts by `tls`.
    pub fn new(resolver: Resolver, tls: TlsClients) -> Self {
        Self { resolver, tls }
    }

    /// The addresses of a name, IPv4 first: the step `resolve`, which an address does not need.
    pub(super) async fn resolve(&self, host: &str, run: &mut Run) -> Result<Vec<IpAddr>, Failed> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        run.doing("resolve", "the name was being resolved");
        let took = stopwatch();
        let found = self.resolver.lookup(host).await;
        let found = run.value("resolve", found.map_err(|error| error.to_string()))?;
        run.did("resolve", took(), found.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "));
        Ok(found)
    }

    /// A fresh connection: the steps `resolve` (of a name) and `connect`.
    pub(super) async fn tcp(&self, to: &Endpoint, run: &mut Run) -> Result<TcpStream, Failed> {
        let addresses = self.resolve(&to.host, run).await?;
        run.doing("connect", "the connection was being opened");
        let took = stopwatch();
        match first(&addresses, to.port).await {
            Ok((stream, address)) => {
                run.did("connect", took(), format!("to {address}"));
                Ok(stream)
            }
            Err(error) => run.broke("connect", took(), format!("no connection to port {}: {error}", to.port)),
        }
    }

    /// TLS over it, as a client of `name` unless the trust has another: the step `tls`. Offers `protocol` (ALPN).
    pub(super) async fn tls(
        &self,
        stream: TcpStream,
        name: &str,
        trust: &Trust,
        protocol: Option<&'static str>,
        run: &mut Run,
    ) -> Result<(TlsStream<TcpStream>, Option<End>), Failed> {
        run.doing("tls", "the TLS handshake was under way");
        let name = trust.server_name.as_deref().unwrap_or(name).trim_end_matches('.');
        let server = ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is no name of a server"));
        let server = run.value("tls", server)?;
        let config = self.tls.config(trust, protocol).map_err(|error| error.to_string());
        let config = run.value("tls", config)?;
        let took = stopwatch();
        match TlsConnector::from(config).connect(server, stream).await {
            Ok(stream) => {
                let connection = stream.get_ref().1;
                let end = self.tls.end(connection.peer_certificates().unwrap_or_default());
                let version = connection.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
                let trusted = if trust.pins.is_empty() { "trusted" } else { "its key is pinned" };
                run.did("tls", took(), format!("{}, {trusted}", version.replace("TLSv1_", "TLS 1.")));
                saw(run, end.map(|end| end.at));
                Ok((stream, end))
            }
            Err(error) => {
                let refused = handshake_words(&error);
                saw(run, refused.ends);
                run.broke("tls", took(), format!("TLS: {}", refused.why))
            }
        }
    }
}

/// Of several certificates (a redirect shows another) the first that ends counts.
fn saw(run: &mut Run, end: Option<i64>) {
    run.certificate_expiry = [run.certificate_expiry, end].into_iter().flatten().min();
}

/// The first connection that comes about.
async fn first(addresses: &[IpAddr], port: u16) -> io::Result<(TcpStream, SocketAddr)> {
    let mut left = addresses.iter().map(|address| SocketAddr::new(*address, port));
    let mut trying = FuturesUnordered::new();
    let mut last = io::Error::other("the name has no address");
    loop {
        let next = left.next();
        trying.extend(next.map(|address| async move { (TcpStream::connect(address).await, address) }));
        let tried = match left.len() {
            0 => trying.next().await,
            _ => tokio::time::timeout(HEAD_START, trying.next()).await.unwrap_or(None),
        };
        match tried {
            Some((Ok(stream), address)) => return Ok((stream, address)),
            Some((Err(error), _)) => last = error,
            None if left.len() == 0 => return Err(last),
            None => {}
        }
    }
}
