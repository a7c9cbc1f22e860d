//! How an engine is reached, and whom Iaso trusts on the way there.

use std::fmt;
use std::path::PathBuf;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// One engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `[A-Za-z0-9][A-Za-z0-9_.-]{0,254}`.
    pub name: String,
    /// How to reach it.
    pub address: HostAddress,
}

/// How an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain TCP, for a socket proxy: `host:port`.
    Tcp(String),
    /// TCP with TLS.
    Tls {
        /// `host:port`; the certificate must be for this host.
        address: String,
        /// Whom to trust, and what to show.
        tls: HostTls,
    },
}

/// As a URL that means it.
impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls { address, .. } => write!(f, "https://{address}"),
        }
    }
}

/// TLS to an engine. Nothing here turns verification off.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HostTls {
    /// The only authorities that are trusted, each usable as a root; none: those of the machine.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// What Iaso shows to the engine.
    pub identity: Option<ClientIdentity>,
}

/// Certificates are long and tell a reader nothing.
impl fmt::Debug for HostTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostTls")
            .field("authorities", &self.authorities.as_ref().map(Vec::len))
            .field("identity", &self.identity)
            .finish()
    }
}

/// A certificate and its key.
#[derive(PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, and those that lead from it to an authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key: it fits the certificate.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for ClientIdentity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// The key is a secret.
impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}
