//! The one place that chooses the cryptography and whom to trust. There is no switch that turns verification off.

use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::config::validated::HostTls;

/// A certificate given as a root cannot serve as one.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("root certificate {number} of those given cannot be used: {cause}")]
pub struct BadRoot {
    /// Which, counted from 1.
    pub number: usize,
    /// Why.
    pub cause: rustls::Error,
}

/// Makes ring the process's crypto provider, for libraries that ask for the process's. Later calls change nothing.
pub fn install_provider() {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
}

/// A client's side of TLS 1.2 and 1.3: trusts the machine's roots (where it has none, as in an empty image, the bundled
/// ones), and `extra_roots` beside them.
///
/// # Errors
/// When one of `extra_roots` is no certificate that can be trusted as a root.
pub fn client_config(extra_roots: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, BadRoot> {
    let mut roots = machine_roots();
    for (at, root) in extra_roots.iter().enumerate() {
        roots.add(root.clone()).map_err(|cause| BadRoot { number: at + 1, cause })?;
    }
    Ok(Arc::new(builder(roots).with_no_client_auth()))
}

/// A client's side of TLS 1.2 and 1.3 to an engine: trusts the authorities that are named for it and no other (where none are
/// named, the machine's), and shows its identity where it has one.
///
/// # Errors
/// When one of them cannot be used.
pub fn engine_config(tls: &HostTls) -> Result<Arc<ClientConfig>, rustls::Error> {
    let roots = match &tls.authorities {
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            authorities.iter().try_for_each(|authority| roots.add(authority.clone()))?;
            roots
        }
        None => machine_roots(),
    };
    Ok(Arc::new(match &tls.identity {
        Some(own) => builder(roots).with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
        None => builder(roots).with_no_client_auth(),
    }))
}

fn builder(roots: RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    install_provider();
    ClientConfig::builder().with_root_certificates(roots)
}

/// The machine's roots, else the bundled ones.
pub(super) fn machine_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // One damaged file among the machine's roots does not spoil the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_no_certificate_is_named() {
        let good = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let roots = [good.cert.der().clone(), CertificateDer::from(b"rubbish".to_vec())];
        assert_eq!(client_config(&roots).unwrap_err().number, 2);
    }
}
