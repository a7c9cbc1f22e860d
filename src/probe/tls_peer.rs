//! TLS servers for the probes' tests, on loopback, with certificates made for the purpose.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use crate::system::clock::Clock;
use crate::system::tls;

const DAY: i64 = 86400;

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    Clock::new().now().wall.0 / 1000
}

/// The moment in so many days, and an hour.
pub(super) fn in_days(days: i64) -> i64 {
    now() + days * DAY + DAY / 24
}

/// Who signs certificates.
pub(super) struct Authority {
    pub(super) der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// What a server shows, and the key that it proves to hold.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) chain: Vec<CertificateDer<'static>>,
    key: Arc<KeyPair>,
}

/// What a certificate is to say: its names, and its first and last second.
pub(super) struct Wanted<'a> {
    pub(super) names: &'a [&'a str],
    pub(super) begins: i64,
    pub(super) ends: i64,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self { names: &["127.0.0.1"], begins: in_days(-30), ends: in_days(60) }
    }
}

fn params(wanted: &Wanted) -> CertificateParams {
    let names: Vec<String> = wanted.names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let at = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.try_into().unwrap());
    (params.not_before, params.not_after) = (at(wanted.begins), at(wanted.ends));
    params
}

fn authority(name: &str, ends: i64) -> CertificateParams {
    let mut params = params(&Wanted { names: &[], ends, ..Wanted::default() });
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Authority {
    /// One that signs itself.
    pub(super) fn root() -> Self {
        let (params, key) = (authority("Private Root", in_days(3000)), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { der, issuer: Issuer::new(params, key) }
    }

    /// One between it and the servers.
    pub(super) fn between(&self, ends: i64) -> Self {
        let (params, key) = (authority("Private Between", ends), KeyPair::generate().unwrap());
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { der, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a server.
    pub(super) fn signs(&self, wanted: &Wanted) -> Shown {
        let key = KeyPair::generate().unwrap();
        let der = params(wanted).signed_by(&key, &self.issuer).unwrap().der().clone();
        Shown { chain: vec![der], key: Arc::new(key) }
    }
}

impl Shown {
    /// A certificate that its own key signed.
    pub(super) fn self_signed(wanted: &Wanted) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { chain: vec![params(wanted).self_signed(&key).unwrap().der().clone()], key: Arc::new(key) }
    }

    /// An authority's own certificate, shown by a server.
    pub(super) fn of_an_authority() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&Wanted::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { chain: vec![params.self_signed(&key).unwrap().der().clone()], key: Arc::new(key) }
    }

    /// The same, followed by others.
    pub(super) fn followed_by(mut self, others: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        self.chain.extend(others);
        self
    }

    /// The same, by somebody who has only copied it.
    pub(super) fn stolen(mut self) -> Self {
        self.key = Arc::new(KeyPair::generate().unwrap());
        self
    }

    /// The hash of its public key, by other means than the product's.
    pub(super) fn pin(&self) -> [u8; 32] {
        let hash = ring::digest::digest(&ring::digest::SHA256, &self.key.subject_public_key_info());
        hash.as_ref().try_into().unwrap()
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der()).into();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        Arc::new(CertifiedKey::new(self.chain.clone(), key))
    }
}

/// A server that answers each request with `200 OK`. Its threads end with the tests.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    shows: Arc<Shows>,
}

#[derive(Debug)]
struct Shows(Mutex<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap()))
    }
}

impl Peer {
    pub(super) fn showing(shown: &Shown) -> Self {
        Self::speaking(shown, rustls::ALL_VERSIONS, None)
    }

    /// One that speaks these versions and, where an authority is given, wants clients to show a certificate of its.
    pub(super) fn speaking(
        shown: &Shown,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> Self {
        tls::install_provider();
        let shows = Arc::new(Shows(Mutex::new(shown.certified())));
        let builder = ServerConfig::builder_with_protocol_versions(versions);
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der.clone()).unwrap();
                builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
            }
        };
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&shows) as _;
        let config = Arc::new(builder.with_cert_resolver(resolver));
        let address = listening(move |client| {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), client);
            let _refused = stream.read(&mut [0; 4096]);
            let _refused = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup");
            stream.conn.send_close_notify();
            let _refused = stream.flush();
            // Not before the other side: closing with unread bytes resets what was sent.
            let _refused = stream.sock.shutdown(std::net::Shutdown::Write);
            let _refused = std::io::copy(&mut stream.sock, &mut std::io::sink());
        });
        Self { address, shows }
    }

    /// From now on it shows this.
    pub(super) fn shows(&self, shown: &Shown) {
        *self.shows.0.lock().unwrap() = shown.certified();
    }
}

/// A listener on loopback that treats each client so, one after the other.
pub(super) fn listening(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let each = move || listener.incoming().map_while(Result::ok).for_each(serve);
    thread::Builder::new().name("peer".to_owned()).spawn(each).unwrap();
    address
}
