//! A certificate authority of a test's own, and what it signs.
#![allow(dead_code, reason = "each executable uses some")]

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub pem: String,
}

/// A certificate and its key, both in PEM.
pub struct Signed {
    pub cert: String,
    pub key: String,
}

/// When a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Valid {
    Now,
    NoMore,
    /// Until then, since 1970.
    Until(Duration),
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// For a server of these names and addresses.
    pub fn server(&self, names: &[&str], valid: Valid) -> Signed {
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, valid)
    }

    /// For a client.
    pub fn client(&self, valid: Valid) -> Signed {
        self.sign(&["iaso"], ExtendedKeyUsagePurpose::ClientAuth, valid)
    }

    fn sign(&self, names: &[&str], usage: ExtendedKeyUsagePurpose, valid: Valid) -> Signed {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![usage];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = match valid {
            Valid::Now => date_time_ymd(2200, 1, 1),
            Valid::NoMore => date_time_ymd(2001, 1, 1),
            Valid::Until(end) => date_time_ymd(1970, 1, 1) + end,
        };
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Signed { cert: cert.pem(), key: key.serialize_pem() }
    }
}
