//! Whom checks trust over TLS, and in people's words why a peer is not trusted.
//!
//! A [`Trust`] becomes one TLS configuration, made once. Its verifier wants what the trust says: a chain to the machine's roots
//! or to the given ones, a pinned key, or both; nothing turns it off. Sessions are not resumed: a peer shows its certificate in
//! every handshake.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, OtherError,
    RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::validated::Trust;
use crate::system::clock::Clock;
use crate::system::tls::{BadRoot, machine_roots};

/// Configurations kept at most. More distinct ones than a file plausibly names are left-overs of earlier files.
const KEPT: usize = 512;
/// Names of a certificate that are told at most, and characters of each.
const NAMES: (usize, usize) = (5, 80);

/// TLS configurations of checks. Clones share them.
#[derive(Debug, Clone)]
pub struct TlsClients {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    provider: Arc<CryptoProvider>,
    /// Read when they are first needed.
    machine: OnceLock<Arc<RootCertStore>>,
    /// Never held across an await.
    made: Mutex<Made>,
}

/// By trust and offered protocol.
type Made = HashMap<(Trust, Option<&'static str>), Arc<ClientConfig>>;

/// A trust that no configuration can be made of.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unusable {
    /// A root certificate.
    #[error(transparent)]
    Root(#[from] BadRoot),
    /// The roots together.
    #[error("the roots cannot be used: {0}")]
    Roots(#[from] VerifierBuilderError),
    /// The TLS library refuses its settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] Error),
}

/// When what a peer showed ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Seconds since 1970.
    pub at: i64,
    /// It is not the peer's own certificate that ends first but an authority's that it sent along.
    pub of_authority: bool,
}

/// Why a handshake failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// One line; the peer's own words in it are bounded and without control characters.
    pub why: String,
    /// When the certificate that was shown ends, in seconds since 1970; none where none was seen.
    pub ends: Option<i64>,
}

impl TlsClients {
    /// Makes none yet. Certificates are judged by this clock.
    pub fn new(clock: Clock) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self { shared: Arc::new(Shared { clock, provider, machine: OnceLock::new(), made: Mutex::default() }) }
    }

    /// The configuration for a trust, offering `protocol` (ALPN: `http/1.1`, `h2`) where one is given.
    ///
    /// # Errors
    /// When one of the roots cannot be used.
    pub fn config(&self, trust: &Trust, protocol: Option<&'static str>) -> Result<Arc<ClientConfig>, Unusable> {
        let key = (trust.clone(), protocol);
        let mut made = self.shared.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.shared.make(trust, protocol)?);
        if made.len() == KEPT {
            made.clear();
        }
        made.insert(key, Arc::clone(&config));
        Ok(config)
    }

    /// When the first of a chain that was trusted just now ends, the peer's own certificate being the first of the chain.
    /// Roots that were sent along do not count, nor does what had ended already: the trust cannot have come from there.
    pub fn end(&self, chain: &[CertificateDer<'_>]) -> Option<End> {
        let (own, others) = chain.split_first()?;
        let now = self.shared.clock.now().wall.0 / 1000;
        let own = End { at: end_of(own)?, of_authority: false };
        let others = others.iter().filter(|der| parse(der).is_some_and(|shown| !is_self_signed(&shown)));
        let others = others.filter_map(|der| end_of(der)).filter(|at| *at > now);
        let others = others.map(|at| End { at, of_authority: true });
        others.chain([own]).min_by_key(|end| (end.at, end.of_authority))
    }
}

impl Shared {
    fn make(&self, trust: &Trust, protocol: Option<&'static str>) -> Result<ClientConfig, Unusable> {
        let roots = match (trust.roots.is_empty(), trust.pins.is_empty()) {
            (true, false) => None,
            (true, true) => Some(Arc::clone(self.machine.get_or_init(|| Arc::new(machine_roots())))),
            (false, _) => {
                let mut roots = RootCertStore::empty();
                for (root, number) in trust.roots.iter().zip(1..) {
                    roots.add(root.clone()).map_err(|cause| BadRoot { number, cause })?;
                }
                Some(Arc::new(roots))
            }
        };
        let provider = || Arc::clone(&self.provider);
        let chain = roots.map(|roots| WebPkiServerVerifier::builder_with_provider(roots, provider()).build());
        let verifier = Verifier { chain: chain.transpose()?, pins: trust.pins.clone(), provider: provider() };
        let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Wall(self.clock)))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = protocol.map(|name| name.as_bytes().to_vec()).into_iter().collect();
        Ok(config)
    }
}

/// The one clock, as the TLS library asks for the time.
#[derive(Debug)]
struct Wall(Clock);

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().wall.0 / 1000).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Wants a pinned key where keys are pinned, a chain where there are roots. There is always one of them.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    pins: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(shown) = parse(own) else {
            return Err(refused("its certificate cannot be read".to_owned(), None));
        };
        let ends = shown.validity().not_after.timestamp();
        let pin = ring::digest::digest(&ring::digest::SHA256, shown.tbs_certificate.subject_pki.raw);
        if !self.pins.is_empty() && self.pins.iter().all(|pinned| pinned != pin.as_ref()) {
            let why = format!("its public key is not the pinned one: its pin_sha256 is \"{}\"", STANDARD.encode(pin));
            return Err(refused(why, Some(ends)));
        }
        match &self.chain {
            None => Ok(ServerCertVerified::assertion()),
            Some(chain) => chain.verify_server_cert(own, others, name, ocsp, now).map_err(|error| {
                let ended = match &error {
                    Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => unix(not_after),
                    _ => ends,
                };
                refused(distrust(&error, &shown, name), Some(ends.min(ended)))
            }),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, own, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, own, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// As the TLS library carries it to [`handshake`].
fn refused(why: String, ends: Option<i64>) -> Error {
    CertificateError::Other(OtherError(Arc::new(Refused { why, ends }))).into()
}

/// Why a chain is not trusted.
fn distrust(error: &Error, shown: &X509Certificate<'_>, name: &ServerName<'_>) -> String {
    let Error::InvalidCertificate(error) = error else { return error.to_string() };
    match error {
        CertificateError::ExpiredContext { not_after, .. }
            if unix(not_after) < shown.validity().not_after.timestamp() =>
        {
            format!("an authority's certificate in its chain ended {}", moment(not_after))
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate ended {}", moment(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid before {}", moment(not_before))
        }
        CertificateError::NotValidForNameContext { .. } | CertificateError::NotValidForName => {
            let names = names(shown);
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            format!("its certificate is not for {}: it bears {names}", name.to_str())
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature if is_self_signed(shown) => {
            "its certificate is self-signed: trust it by ca_file or pin_sha256".to_owned()
        }
        // A bad signature: an authority of the same name, with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "its certificate is from an authority that is not trusted ({}), or it leaves out a certificate between",
            plain(&shown.issuer().to_string())
        ),
        // An authority's own certificate serves no other purpose.
        CertificateError::Other(_) if shown.is_ca() => {
            "its certificate is an authority's own, not a server's: trust it by pin_sha256".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}

/// Why a handshake, or what was read after it, failed; none where TLS has no part in it.
pub fn tls_words(error: &io::Error) -> Option<Refused> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    if let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error
        && let Some(refused) = cause.downcast_ref::<Refused>()
    {
        return Some(refused.clone());
    }
    let why = match error {
        Error::InvalidCertificate(why) => format!("it does not hold its certificate's key: {why}"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "it does not speak TLS".to_owned()
        }
        Error::InvalidMessage(
            InvalidMessage::CertificatePayloadTooLarge
            | InvalidMessage::HandshakePayloadTooLarge
            | InvalidMessage::MessageTooLarge,
        ) => "its certificates are longer than 64 KiB".to_owned(),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it requires a client's certificate, which checks do not have".to_owned()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) => "it speaks neither TLS 1.2 nor 1.3".to_owned(),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it knows nothing of this name: server_name asks for another".to_owned()
        }
        Error::AlertReceived(alert) => format!("it ends the handshake: {alert:?}"),
        Error::PeerIncompatible(why) => format!("it and Iaso have no TLS in common: {why:?}"),
        other => other.to_string(),
    };
    Some(Refused { why, ends: None })
}

/// Why a handshake failed.
pub fn handshake_words(error: &io::Error) -> Refused {
    let closed = || match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection in the middle of the handshake".to_owned(),
        _ => format!("the handshake broke off: {error}"),
    };
    tls_words(error).unwrap_or_else(|| Refused { why: closed(), ends: None })
}

/// A day, as `2026-12-01`.
pub fn day(seconds: i64) -> String {
    spelled(seconds, "%Y-%m-%d")
}

/// A moment, as `2026-12-01 13:05 UTC`.
pub fn moment(time: &UnixTime) -> String {
    spelled(unix(time), "%Y-%m-%d %H:%M UTC")
}

fn spelled(seconds: i64, form: &str) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "in no year that can be told".to_owned(), |at| at.strftime(form).to_string())
}

fn unix(time: &UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, shown)| shown)
}

fn end_of(der: &CertificateDer<'_>) -> Option<i64> {
    Some(parse(der)?.validity().not_after.timestamp())
}

fn is_self_signed(shown: &X509Certificate<'_>) -> bool {
    shown.subject().as_raw() == shown.issuer().as_raw()
}

/// The hosts that a certificate is for.
fn names(shown: &X509Certificate<'_>) -> Vec<String> {
    let extension = shown.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(plain(name)),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|address| address.to_string())
        }
        _ => None,
    });
    names.take(NAMES.0).collect()
}

/// Foreign text that people will read.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAMES.1).collect()
}
