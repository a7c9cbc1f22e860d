//! Engines behind TLS: a real one, which asks for a certificate, and false ones with every fault that certificates have.

use std::fs::{self, File};
use std::future::ready;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use iaso::config::validated::{ClientIdentity, HostAddress, HostTls};
use iaso::engine::docker::Docker;
use iaso::engine::operate::{Expected, operate};
use iaso::engine::{Change, ContainerState, EventAction};
use iaso::policy::id::Instance;
use iaso::policy::input::Outcome;
use iaso::system::clock::Clock;
use iaso::system::resolver::Resolver;
use iaso::system::tasks::Tasks;
use libtest_mimic::{Failed, Trial};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OnceCell, watch};
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, Signed, Valid};
use crate::docker_rig::{DockerRig, block_on};
use crate::fake::Fake;
use crate::faults::Watched;
use crate::own_dockerd::OwnDockerd;
use crate::rig::{Hurt, Patient, Rig, inspect, until_state};
use crate::support::{Need, test};

/// What the tests of a real engine behind TLS need.
pub const NEEDS: &[Need] = &[Need::OwnEngine, Need::Program("ip"), Need::Program("nsenter")];

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($needs:expr; $($name:ident),+ $(,)?) => {
            vec![$(test(concat!("tls::", stringify!($name)), $needs, || { block_on($name()); Ok(()) })),+]
        };
    }
    let mut tests = suite![NEEDS;
        a_container_behind_tls_is_healed,
        an_engine_behind_tls_refuses_who_shows_no_good_certificate,
        an_engine_of_another_authority_is_not_spoken_to,
        an_engine_behind_tls_says_so_to_who_speaks_plainly,
    ];
    tests.extend(suite![&[Need::Nothing];
        a_certificate_that_has_expired_is_told_until_it_is_renewed,
        a_certificate_for_another_name_is_told_until_it_is_the_right_one,
        a_peer_without_tls_is_told_until_it_has_it,
        a_peer_that_accepts_and_never_answers_is_told_until_it_does,
        a_link_that_goes_silent_is_noticed_and_made_again,
        an_authority_of_its_own_is_the_only_one,
    ]);
    tests
}

/// The name that the engines go by.
const NAME: &str = "engine.iaso.test";

/// A directory with a file that knows the name.
fn scratch() -> TempDir {
    let dir = TempDir::with_prefix_in("iaso-test-", Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a directory");
    fs::write(dir.path().join("hosts"), format!("127.0.0.1 {NAME}\n")).expect("a hosts file");
    dir
}

/// Knows the name, and nothing else.
fn resolver(dir: &Path) -> Resolver {
    Resolver::over(Clock::new(), dir.join("no-resolv.conf"), dir.join("hosts"))
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("certificates")
}

fn key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("a key")
}

/// Trusts this authority only, and shows this.
fn trusting(authority: &Authority, shown: Option<&Signed>) -> HostTls {
    let identity = shown.map(|own| ClientIdentity { chain: chain(&own.cert), key: key(&own.key) });
    HostTls { authorities: Some(chain(&authority.pem)), identity }
}

/// A real engine that only speaks to who shows a certificate of its authority. In a network of its own, reached by a relay.
struct TlsEngine {
    dockerd: OwnDockerd,
    authority: Authority,
    port: u16,
    dir: TempDir,
}

/// The one engine of all tests here.
static ENGINE: OnceCell<Mutex<Option<Arc<TlsEngine>>>> = OnceCell::const_new();

impl TlsEngine {
    async fn shared() -> Arc<Self> {
        let kept = ENGINE.get_or_init(|| async { Mutex::new(Some(Arc::new(Self::start().await))) }).await;
        kept.lock().unwrap_or_else(PoisonError::into_inner).clone().expect("not stopped yet")
    }

    async fn start() -> Self {
        const PORT: u16 = 2376;
        let (dir, authority) = (scratch(), Authority::new("the engine's"));
        let server = authority.server(&[NAME], Valid::Now);
        let own = authority.client(Valid::Now);
        for (name, content) in [
            ("ca.pem", &authority.pem),
            ("server.pem", &server.cert),
            ("server-key.pem", &server.key),
            ("cert.pem", &own.cert),
            ("key.pem", &own.key),
        ] {
            fs::write(dir.path().join(name), content).expect("a file");
        }
        let file = |name: &str| dir.path().join(name).display().to_string();
        let dockerd = OwnDockerd::with(vec![
            format!("--host=tcp://127.0.0.1:{PORT}"),
            "--tlsverify".to_owned(),
            format!("--tlscacert={}", file("ca.pem")),
            format!("--tlscert={}", file("server.pem")),
            format!("--tlskey={}", file("server-key.pem")),
        ])
        .await;
        let network = dockerd.network();
        let into = format!("--net={}", network.display());
        let up = Command::new("nsenter").args([&*into, "ip", "link", "set", "lo", "up"]).status();
        assert!(up.expect("nsenter").success());
        let port = relay_into(File::open(network).expect("its network"), PORT);
        let engine = Self { dockerd, authority, port, dir };
        engine.rig().import().await;
        engine
    }

    fn address(&self, tls: HostTls) -> HostAddress {
        HostAddress::Tls { address: format!("{NAME}:{}", self.port), tls }
    }

    fn docker(&self, address: HostAddress) -> Docker {
        Docker::new(address, resolver(self.dir.path()), Tasks::new()).expect("a client")
    }

    fn rig(&self) -> DockerRig {
        let own = Signed { cert: self.read("cert.pem"), key: self.read("key.pem") };
        DockerRig::over(self.docker(self.address(trusting(&self.authority, Some(&own)))), &self.dockerd.socket())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).expect("a file")
    }
}

/// Stops the engine of these tests.
pub fn stop_engine() {
    if let Some(kept) = ENGINE.get() {
        drop(kept.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Runs a test with the rig over a real engine behind TLS.
pub fn with_tls<F>(test: impl FnOnce(DockerRig) -> F) -> Result<(), Failed>
where
    F: Future<Output = ()>,
{
    block_on(async { test(TlsEngine::shared().await.rig()).await });
    Ok(())
}

/// A port of this machine that leads to a port in another network: the thread that connects has moved there.
fn relay_into(network: File, port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let ours = listener.local_addr().expect("its address").port();
    spawn(move || {
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), Some(LinkNameSpaceType::Network)).expect("setns");
        for outer in listener.incoming().map_while(Result::ok) {
            let Ok(inner) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let (from, to) = (outer.try_clone().expect("a socket"), inner.try_clone().expect("a socket"));
            spawn(move || pump(from, to));
            spawn(move || pump(inner, outer));
        }
    });
    ours
}

/// The threads end with their connections, the accepting one with the test's process.
fn spawn(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().spawn(work).expect("a thread");
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let _broken = io::copy(&mut from, &mut to);
    let _gone = to.shutdown(Shutdown::Write);
}

async fn a_container_behind_tls_is_healed() {
    let engine = TlsEngine::shared().await;
    let file = engine.dir.path().join("iaso.toml");
    let (url, files) = (
        format!("tcp://{NAME}:{}", engine.port),
        "ca_file = \"ca.pem\"\ncert_file = \"cert.pem\"\nkey_file = \"key.pem\"",
    );
    fs::write(&file, format!("[hosts.nas]\nurl = \"{url}\"\n{files}\n")).expect("a configuration");
    let loaded = iaso::config::load(Some(&file), &iaso::config::Environment::new())
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let rig = DockerRig::over(engine.docker(loaded.config.hosts[0].address.clone()), &engine.dockerd.socket());
    let id = rig.make(Patient::default()).await;
    let mut watched = Watched::over(rig.engine());
    watched.until_up().await;
    rig.hurt(&id, Hurt::Exit(3)).await;
    watched.until_event(&id, EventAction::Die(3)).await;
    let ended = until_state(&rig, &id, |state| state == ContainerState::Exited(3)).await;
    let instance = Instance { container: id.short(), started: ended.started };
    let expected = Expected { instance, alive: false };
    let operated = operate(&*rig.engine(), &id, expected, &Change::Restart, None, ready(true)).await;
    assert_eq!(operated.outcome, Outcome::Done, "{}", operated.detail);
    watched.until_event(&id, EventAction::Start).await;
    assert!(matches!(inspect(&rig, &id).await.state, ContainerState::Running(_)));
}

async fn an_engine_behind_tls_refuses_who_shows_no_good_certificate() {
    let engine = TlsEngine::shared().await;
    let expired = engine.authority.client(Valid::NoMore);
    let stranger = Authority::new("another").client(Valid::Now);
    for shown in [None, Some(&expired), Some(&stranger)] {
        let docker = engine.docker(engine.address(trusting(&engine.authority, shown)));
        let mut watched = Watched::over(Arc::new(docker));
        let why = watched.until_down().await;
        assert!(why.contains(NAME) && why.contains("refuses Iaso's certificate"), "{why}");
    }
}

async fn an_engine_of_another_authority_is_not_spoken_to() {
    let engine = TlsEngine::shared().await;
    let other = Authority::new("another");
    let own = engine.authority.client(Valid::Now);
    let docker = engine.docker(engine.address(trusting(&other, Some(&own))));
    let why = Watched::over(Arc::new(docker)).until_down().await;
    assert!(why.contains(NAME) && why.contains("not from an authority that is trusted"), "{why}");
}

async fn an_engine_behind_tls_says_so_to_who_speaks_plainly() {
    let engine = TlsEngine::shared().await;
    let docker = engine.docker(HostAddress::Tcp(format!("{NAME}:{}", engine.port)));
    let why = Watched::over(Arc::new(docker)).until_down().await;
    assert!(why.contains("it speaks TLS"), "{why}");
}

/// How the front of a false engine treats its clients.
#[derive(Clone)]
enum Front {
    Tls(Arc<ServerConfig>),
    Plain,
    /// Takes connections, says nothing, and carries nothing more on those that stand.
    Silent,
}

/// A false engine behind a front that can change.
struct Fronted {
    fake: Fake,
    authority: Authority,
    front: watch::Sender<Front>,
    address: SocketAddr,
    _tasks: Tasks,
    dir: TempDir,
}

impl Fronted {
    async fn start() -> Self {
        let (fake, tasks) = (Fake::listening(), Tasks::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (front, seen) = watch::channel(Front::Silent);
        let (socket, relays) = (fake.socket(), tasks.clone());
        tasks.spawn("front", async move {
            while let Ok((outer, _)) = listener.accept().await {
                let (socket, mut front) = (socket.clone(), seen.clone());
                relays.spawn("relay", async move {
                    let now = front.borrow().clone();
                    let carried = async {
                        let mut inner = tokio::net::UnixStream::connect(&socket).await?;
                        match now {
                            Front::Tls(config) => {
                                let mut outer = TlsAcceptor::from(config).accept(outer).await?;
                                tokio::io::copy_bidirectional(&mut outer, &mut inner).await
                            }
                            Front::Plain => {
                                let mut outer = outer;
                                outer.readable().await?;
                                outer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.map(|()| (0, 0))
                            }
                            Front::Silent => {
                                let _open = outer;
                                std::future::pending().await
                            }
                        }
                    };
                    tokio::pin!(carried);
                    let silent = async { drop(front.wait_for(|front| matches!(front, Front::Silent)).await) };
                    tokio::select! {
                        _ = &mut carried => {}
                        () = silent => std::future::pending().await,
                    }
                });
            }
        });
        Self { fake, authority: Authority::new("the front's"), front, address, _tasks: tasks, dir: scratch() }
    }

    fn show(&self, signed: &Signed) {
        iaso::system::tls::install_provider();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(chain(&signed.cert), key(&signed.key)).expect("a certificate");
        self.front.send_replace(Front::Tls(Arc::new(config)));
    }

    fn show_good(&self) {
        self.show(&self.authority.server(&[NAME], Valid::Now));
    }

    fn watched(&self, tls: HostTls) -> Watched {
        let address = HostAddress::Tls { address: format!("{NAME}:{}", self.address.port()), tls };
        Watched::over(Arc::new(Docker::new(address, resolver(self.dir.path()), Tasks::new()).expect("a client")))
    }

    /// What is wrong is told as such, and the link comes by itself once it is right.
    async fn is_told_until_it_is_good(&self, words: &str) {
        let mut watched = self.watched(trusting(&self.authority, None));
        let why = watched.until_down().await;
        assert!(why.contains(NAME) && why.contains(words), "{why}");
        self.show_good();
        assert_eq!(watched.until_up().await, (false, 1), "and the engine had never been down");
    }
}

async fn a_certificate_that_has_expired_is_told_until_it_is_renewed() {
    let fronted = Fronted::start().await;
    fronted.show(&fronted.authority.server(&[NAME], Valid::NoMore));
    fronted.is_told_until_it_is_good("expired").await;
}

async fn a_certificate_for_another_name_is_told_until_it_is_the_right_one() {
    let fronted = Fronted::start().await;
    fronted.show(&fronted.authority.server(&["other.iaso.test"], Valid::Now));
    fronted.is_told_until_it_is_good("not valid for name").await;
}

async fn a_peer_without_tls_is_told_until_it_has_it() {
    let fronted = Fronted::start().await;
    fronted.front.send_replace(Front::Plain);
    fronted.is_told_until_it_is_good("does not speak TLS").await;
}

async fn a_peer_that_accepts_and_never_answers_is_told_until_it_does() {
    let fronted = Fronted::start().await;
    fronted.is_told_until_it_is_good("no connection within 4s").await;
}

async fn a_link_that_goes_silent_is_noticed_and_made_again() {
    let fronted = Fronted::start().await;
    fronted.show_good();
    let mut watched = fronted.watched(trusting(&fronted.authority, None));
    assert_eq!(watched.until_up().await, (false, 1));
    fronted.fake.tell("{}\n");
    fronted.front.send_replace(Front::Silent);
    let why = watched.until_down().await;
    assert!(why.contains("no connection within 4s"), "{why}");
    fronted.show_good();
    assert_eq!(watched.until_up().await, (false, 1), "nobody takes it for a start of the engine");
}

async fn an_authority_of_its_own_is_the_only_one() {
    let fronted = Fronted::start().await;
    fronted.show(&fronted.authority.server(&["127.0.0.1"], Valid::Now));
    let file = |name: &str, content: &str| {
        let path = fronted.dir.path().join(name);
        fs::write(&path, content).expect("a file");
        path
    };
    file("other.pem", &Authority::new("another").pem);
    let machine = file("machine.pem", &fronted.authority.pem);
    // Looks at the engine, and then for a service that nobody has.
    let ask = |keys: &str| {
        let config = file("iaso.toml", &format!("[hosts.nas]\nurl = \"https://{}\"\n{keys}\n", fronted.address));
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_iaso"));
        command.args(["probe", "nobody", "--config"]).arg(config).env("SSL_CERT_FILE", &machine);
        async move { String::from_utf8_lossy(&command.output().await.expect("iaso probe").stderr).into_owned() }
    };
    let said = ask("").await;
    assert!(said.contains("no service is named nobody"), "without one the machine's hold: {said}");
    let said = ask("ca_file = \"other.pem\"").await;
    assert!(said.contains("not from an authority that is trusted"), "{said}");
}
