//! A certificate that will end, as the daemon sees and tells it.

use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::daemon::{Home, Settings};
use crate::site::{Site, clock};
use crate::support::{Need, test};
use crate::{scratch, until};

pub fn tests() -> Vec<Trial> {
    let watched = || -> Result<(), Failed> {
        a_tls_check_ten_days_before_the_end_alerts_and_never_restarts();
        Ok(())
    };
    vec![test("certificates::a_tls_check_ten_days_before_the_end_alerts_and_never_restarts", &[Need::Engine], watched)]
}

fn a_tls_check_ten_days_before_the_end_alerts_and_never_restarts() {
    let site = Site::shared();
    let (authority, folder) = (Authority::new(), scratch());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let (server, port) = serve(authority.lasting(60));
    let container = site.name("web");
    let more = format!(
        "[recovery]\nquiet_start = \"0s\"\n[services.web]\ncontainer = \"{container}\"\n[[services.web.checks]]\n\
         name = \"certificate\"\ntype = \"tls\"\naddress = \"localhost:{port}\"\nca_file = {ca:?}\ninterval = \"1s\"\n\
         timeout = \"30s\"\nfailure_threshold = 1\n"
    );
    let home = Home::new(&site, &Settings { more, ..Settings::default() });
    let events = site.events();
    let name = site.patient("web", &["--network=none"], &[]);
    let daemon = home.start(&[]);
    // It has worked, so it is not for lack of proof that it does not heal.
    daemon.until_health("web", "healthy");
    server.show(authority.lasting(10));
    daemon.until_health("web", "degraded");
    let failed = || daemon.metric("iaso_checks_total", &[("service", "web"), ("result", "failed")]);
    until("it has failed often", || (failed() >= Some(10.0)).then_some(()));
    daemon.until_explained("web", &["is degraded", "(10 days left), expected 14 days or more"]);
    for decision in ["held", "operation_begun", "incident_opened"] {
        assert_eq!(daemon.count("web", decision), 0, "{decision}");
    }
    let labels = [("service", "web"), ("check", "certificate")];
    let ends = daemon.metric("iaso_certificate_expiry_timestamp_seconds", &labels).unwrap();
    let days = (ends - clock().as_secs_f64()) / 86400.0;
    assert!((9.9..10.1).contains(&days), "{days}");
    events.are(&name, &["create", "start"]);
    let said = home.iaso(&["probe", "web", "--config", home.config().to_str().unwrap()]);
    assert_eq!(said.code, 1, "{said:?}");
    for step in ["certificate: FAILED", "resolve", "connect", "tls", "TLS 1.3, trusted", "expiry"] {
        assert!(said.out.contains(step), "{step} is not in {}", said.out);
    }
    server.show(authority.lasting(60));
    daemon.until_health("web", "healthy");
    events.are(&name, &["create", "start"]);
    daemon.stop();
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for localhost that ends in so many days, and an hour.
    fn lasting(&self, days: u64) -> Arc<CertifiedKey> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(1970, 1, 1) + clock() + Duration::from_hours(24 * days + 1);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Arc::new(CertifiedKey::new(vec![der], rustls::crypto::ring::sign::any_supported_type(&key).unwrap()))
    }
}

/// What the server shows.
#[derive(Debug)]
struct Shown(Mutex<Arc<CertifiedKey>>);

impl Shown {
    fn show(&self, certificate: Arc<CertifiedKey>) {
        *self.0.lock().unwrap() = certificate;
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().unwrap()))
    }
}

/// A TLS server, and its port; its thread ends with the test's process.
fn serve(certificate: Arc<CertifiedKey>) -> (Arc<Shown>, u16) {
    iaso::system::tls::install_provider();
    let shown = Arc::new(Shown(Mutex::new(certificate)));
    let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&shown) as _;
    let config = Arc::new(ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let each = move || {
        for client in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let _gone = StreamOwned::new(connection, client).read(&mut [0; 64]);
        }
    };
    thread::Builder::new().spawn(each).unwrap();
    (shown, port)
}
