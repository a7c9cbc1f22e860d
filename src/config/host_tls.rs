//! The PEM files of a host: read while the configuration is, so that a wrong one is a mistake and no surprise at night.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};

use super::decode::{Table, text_of};
use super::files::{self, Unread};
use super::report::Report;
use super::validated::{ClientIdentity, HostAddress, HostTls};

/// The largest key that is read, in bytes.
const MAX_KEY: u64 = 64 << 10;

/// The keys that name a file, in the order of [`Files`].
const KEYS: [&str; 3] = ["ca_file", "cert_file", "key_file"];

/// The files that a host names.
pub(super) struct Files {
    /// The authorities.
    pub(super) ca: Option<PathBuf>,
    /// Iaso's certificate.
    pub(super) cert: Option<PathBuf>,
    /// Its key.
    pub(super) key: Option<PathBuf>,
}

/// What is wrong with one of the files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The key that would name it.
    pub(super) key: &'static str,
    pub(super) got: String,
    pub(super) expected: &'static str,
}

/// The address of a host with the files that its table names, relative ones from `folder`; none, and a mistake, when one of
/// them is wrong. With any of them, `tcp://` means TLS.
pub(super) fn address(
    report: &mut Report,
    path: &str,
    table: &Table,
    address: HostAddress,
    folder: &Path,
) -> Option<HostAddress> {
    let file = |key| text_of(table, key).map(|name| folder.join(name));
    let [ca, cert, key] = KEYS.map(file);
    let named = KEYS.iter().find_map(|key| table.get(*key));
    let (address, tls) = match (address, named) {
        (HostAddress::Tcp(address) | HostAddress::Tls { address, .. }, Some(_)) => {
            (address, read(&Files { ca, cert, key }))
        }
        (HostAddress::Unix(_), Some(value)) => {
            let got = "files for TLS, and a Unix socket, which has none".to_owned();
            report.mistake(value.span(), path, got, "url = \"tcp://HOST:PORT\", or no files");
            return None;
        }
        (plain, None) => return Some(plain),
    };
    match tls {
        Ok(tls) => Some(HostAddress::Tls { address, tls }),
        Err(Wrong { key, got, expected }) => {
            let at = table.get(key).or(named).map_or(0..0, |value| value.span());
            // A path that was filled in is nobody's to see.
            let got = if report.is_filled(&at) { "found another file".to_owned() } else { got };
            report.mistake(at, &format!("{path}.{key}"), got, expected);
            None
        }
    }
}

/// Reads the files.
pub(super) fn read(files: &Files) -> Result<HostTls, Wrong> {
    let authorities = files.ca.as_deref().map(authorities).transpose()?;
    let identity = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => Some(identity(cert, key)?),
        (None, None) => None,
        (Some(_), None) => return Err(alone("key_file", "a certificate without its key")),
        (None, Some(_)) => return Err(alone("cert_file", "a key without its certificate")),
    };
    Ok(HostTls { authorities, identity })
}

fn alone(key: &'static str, got: &str) -> Wrong {
    Wrong { key, got: got.to_owned(), expected: "cert_file and key_file together" }
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let wrong = wrong("ca_file", "certificates of authorities in PEM");
    let found = files::certificates(path).map_err(&wrong)?;
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(&found) {
        let unfit =
            |error| wrong(format!("{}: certificate {number} cannot be an authority's: {error}", path.display()));
        roots.add(certificate.clone()).map_err(unfit)?;
    }
    Ok(found)
}

fn identity(cert: &Path, key: &Path) -> Result<ClientIdentity, Wrong> {
    let wrong_cert = wrong("cert_file", "a certificate in PEM, and those that lead to its authority");
    let wrong_key = wrong("key_file", "the certificate's private key in PEM, without a passphrase");
    let chain = files::certificates(cert).map_err(&wrong_cert)?;
    let of_key = |why: &str| wrong_key(format!("{}: {why}", key.display()));
    let read = files::bounded(key, MAX_KEY).map_err(|Unread { got, .. }| of_key(&got))?;
    // What a key's file holds is not for an error to quote.
    let private =
        PrivateKeyDer::from_pem_slice(&read.content).map_err(|_| of_key("no private key that can be read"))?;
    // Whoever signs with it asks the process's own provider; which keys there are is the same for all.
    match CertifiedKey::from_der(chain.clone(), private.clone_key(), &rustls::crypto::ring::default_provider()) {
        Ok(_) => Ok(ClientIdentity { chain, key: private }),
        Err(Error::InconsistentKeys(_)) => Err(of_key("the key of another certificate")),
        Err(Error::InvalidCertificate(error)) => {
            Err(wrong_cert(format!("{}: a certificate that cannot be used: {error}", cert.display())))
        }
        Err(error) => Err(of_key(&format!("a key that cannot be used: {error}"))),
    }
}

/// How what is wrong with one file is told.
fn wrong(key: &'static str, expected: &'static str) -> impl Fn(String) -> Wrong {
    move |got| Wrong { key, got, expected }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (name, content) in files {
                std::fs::write(dir.path().join(name), content).unwrap();
            }
            Self(dir)
        }

        fn read(&self, ca: Option<&str>, cert: Option<&str>, key: Option<&str>) -> Result<HostTls, Wrong> {
            let file = |name: Option<&str>| name.map(|name| self.0.path().join(name));
            read(&Files { ca: file(ca), cert: file(cert), key: file(key) })
        }
    }

    fn made() -> (String, String) {
        let Made { cert, signing_key } = generate_simple_self_signed(["iaso".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn the_key_of_a_certificate_is_read_and_never_shown() {
        let (cert, key) = made();
        let folder = Folder::with(&[("ca.pem", &format!("{cert}{cert}")), ("cert.pem", &cert), ("key.pem", &key)]);
        let tls = folder.read(Some("ca.pem"), Some("cert.pem"), Some("key.pem")).unwrap();
        assert_eq!(tls.authorities.as_ref().map(Vec::len), Some(2));
        assert_eq!(tls.clone(), tls);
        assert_eq!(
            format!("{tls:?}"),
            "HostTls { authorities: Some(2), identity: Some(ClientIdentity { chain: 1, .. }) }"
        );
    }

    #[test]
    fn each_wrong_file_is_named_with_what_it_holds() {
        let ((cert, key), (_, other)) = (made(), made());
        let damaged = cert.replace('\n', "!\n");
        let sealed = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let folder = Folder::with(&[
            ("cert.pem", &cert),
            ("key.pem", &key),
            ("other.pem", &other),
            ("damaged.pem", &damaged),
            ("sealed.pem", &sealed),
            ("empty.pem", ""),
            ("rubbish.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
        ]);
        let (cert, key) = (Some("cert.pem"), Some("key.pem"));
        for (ca, cert, key, named, why) in [
            (Some("missing.pem"), None, None, "ca_file", "missing.pem: No such file"),
            (Some("."), None, None, "ca_file", "not a regular file"),
            (Some("empty.pem"), None, None, "ca_file", "no certificate in"),
            (Some("key.pem"), None, None, "ca_file", "no certificate in"),
            (Some("damaged.pem"), None, None, "ca_file", "damaged.pem is not PEM"),
            (Some("rubbish.pem"), None, None, "ca_file", "certificate 1 cannot be an authority's"),
            (None, Some("rubbish.pem"), key, "cert_file", "cannot be used"),
            (None, cert, Some("other.pem"), "key_file", "the key of another certificate"),
            (None, cert, Some("sealed.pem"), "key_file", "no private key that can be read"),
            (None, cert, Some("cert.pem"), "key_file", "no private key that can be read"),
            (None, cert, None, "key_file", "a certificate without its key"),
            (None, None, key, "cert_file", "a key without its certificate"),
        ] {
            let wrong = folder.read(ca, cert, key).unwrap_err();
            assert!(wrong.key == named && wrong.got.contains(why), "{ca:?} {cert:?} {key:?}: {wrong:?}");
        }
    }
}
