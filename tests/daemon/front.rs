//! What stands before the machine's engine as a remote one: TLS with certificates of its own, and bad manners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use iaso::system::tasks::Tasks;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, Signed, Valid};
use crate::wait;

/// How it treats who connects. What stands is cut whenever that changes.
#[derive(Clone)]
enum Manner {
    /// Shows a certificate, and hands on what is asked after so long.
    Tls(Arc<ServerConfig>, Duration),
    /// Takes connections and says nothing.
    Silent,
}

/// The front; its thread ends with the test's process.
pub struct Front {
    pub address: SocketAddr,
    pub authority: Authority,
    manner: watch::Sender<Manner>,
    connections: Arc<AtomicU32>,
}

impl Front {
    /// Silent at first.
    pub fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, seen) = watch::channel(Manner::Silent);
        let connections = Arc::<AtomicU32>::default();
        let count = Arc::clone(&connections);
        let serve = move || {
            wait(async move {
                let (listener, tasks) = (TcpListener::from_std(listener).unwrap(), Tasks::new());
                while let Ok((outer, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::Relaxed);
                    let mut seen = seen.clone();
                    let now = seen.borrow_and_update().clone();
                    tasks.spawn("relay", async move {
                        tokio::select! {
                            _broken = serve(outer, now) => {}
                            _changed = seen.changed() => {}
                        }
                    });
                }
            });
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        Self { address, authority: Authority::new("the front's"), manner, connections }
    }

    /// Shows a certificate for its address, valid so long, and answers after `delay`.
    pub fn answer(&self, valid: Valid, delay: Duration) {
        iaso::system::tls::install_provider();
        let Signed { cert, key } = self.authority.server(&["127.0.0.1"], valid);
        let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        self.manner.send_replace(Manner::Tls(Arc::new(config), delay));
    }

    /// Takes connections and never answers.
    pub fn fall_silent(&self) {
        self.manner.send_replace(Manner::Silent);
    }

    /// How often somebody has connected.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(outer: TcpStream, manner: Manner) -> std::io::Result<()> {
    match manner {
        Manner::Silent => {
            let _open = outer;
            std::future::pending().await
        }
        Manner::Tls(config, delay) => {
            let mut outer = TlsAcceptor::from(config).accept(outer).await?;
            tokio::time::sleep(delay).await;
            let mut inner = UnixStream::connect("/var/run/docker.sock").await?;
            tokio::io::copy_bidirectional(&mut outer, &mut inner).await.map(drop)
        }
    }
}
