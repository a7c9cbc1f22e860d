//! The whole task against Vault's double, in virtual time: both live in one runtime whose clock moves on when neither has
//! anything to do.

mod leases;
mod left;
mod logins;
mod outlive;
mod rotating;
mod values;

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::*;
use crate::config;
use crate::config::secret::Secret;
use crate::config::validated::Reference;
use crate::credentials::kept::wrapping::Wrapping;
use crate::credentials::rotation::{NotRun, Services, Setup, share_a_service};
use crate::in_use::{Missing, Which};
use crate::rollouts::{RollOut, RolledOut};
use crate::snapshot::{ComponentStatus, CredentialStatus, HostStatus};
use crate::system::meters::Meters;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;

#[path = "../../../tests/support/vault/mod.rs"]
mod double;

use double::{Options, Time, Vault as Double};

/// The task, its double, and who listens to both.
struct Rig {
    vault: Arc<Double>,
    folder: tempfile::TempDir,
    clock: Clock,
    pictures: watch::Receiver<Arc<CredentialsPicture>>,
    in_use: CredentialValues,
    /// While this lives, the task listens for orders.
    orders: mpsc::Sender<CredentialRequest>,
    /// With which code commands in containers end; none: not yet.
    commands: watch::Sender<Option<i64>>,
    seen: watch::Sender<Arc<Snapshot>>,
    heard: mpsc::Receiver<FromCredentials>,
    stop: CancellationToken,
    tasks: Tasks,
    desk: tokio::task::AbortHandle,
}

impl Rig {
    async fn vault() -> Arc<Double> {
        crate::system::tls::install_provider();
        Arc::new(Double::start_with(Options { time: Time::Running, ..Options::default() }).await)
    }

    /// A task for these credentials, whose files lie in `folder` (`DIR`).
    async fn over(vault: Arc<Double>, folder: tempfile::TempDir, credentials: &str) -> Self {
        Self::with_queue(4096, vault, folder, credentials).await
    }

    /// The same, where so many words may wait for the supervisor.
    async fn with_queue(queue: usize, vault: Arc<Double>, folder: tempfile::TempDir, credentials: &str) -> Self {
        let auth = r#"auth = { type = "token", token_file = "DIR/token" }"#;
        Self::made(queue, vault, folder, auth, credentials, Clock::of_tokio()).await
    }

    /// Likewise, with these lines under `[vault]` and this clock.
    async fn with(vault: Arc<Double>, folder: tempfile::TempDir, auth: &str, credentials: &str, clock: Clock) -> Self {
        Self::made(4096, vault, folder, auth, credentials, clock).await
    }

    async fn made(
        queue: usize,
        vault: Arc<Double>,
        folder: tempfile::TempDir,
        auth: &str,
        credentials: &str,
        clock: Clock,
    ) -> Self {
        let dir = folder.path().display();
        std::fs::write(folder.path().join("token"), &vault.root_token).unwrap();
        let text = format!(
            "[vault]\naddress = \"{}\"\n{}\n[services.web]\ncontainer = \"web\"\n{}",
            vault.address,
            auth.replace("DIR", &dir.to_string()),
            credentials.replace("DIR", &dir.to_string())
        );
        let loaded = config::decode("iaso.toml", &text, &|_| None).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let tasks = Tasks::new();
        let meters = Meters::new(clock);
        let resolver = Resolver::system(clock);
        let sealer = Arc::new(Sealer::open(folder.path()).unwrap());
        let settings = loaded.vault.clone().unwrap();
        let kept = settings.keep.then(|| Arc::new(Kept::open(folder.path(), Arc::clone(&sealer)).unwrap()));
        let client = Vault::new(&settings, &resolver, meters.clone()).unwrap();
        let client = Arc::new(client.remembering(Wrapping::of(folder.path(), kept.clone())));
        let means = Means {
            vault: Some(Arc::clone(&client)),
            aws: None,
            kept,
            ledger: LedgerFile::of(folder.path()),
            sealer: Arc::clone(&sealer),
            login_files: vec![folder.path().join("token")],
            logins_per_hour: settings.logins_per_hour,
            login_makes: !matches!(settings.auth, config::validated::Auth::Token(_)),
        };
        let (commands, ends) = watch::channel(None);
        let setup = Setup {
            folder: folder.path().join("rotation"),
            sealer,
            services: Arc::new(Containers(ends)),
            resolver,
            clock,
            together: share_a_service,
        };
        let rotations = Rotations::recover(setup, &loaded.credentials, Some(&client)).await;
        let (supervisor, heard) = mpsc::channel(queue);
        let (orders, ordered) = mpsc::channel(8);
        let (published, pictures) = watch::channel(Arc::default());
        let in_use = CredentialValues::default();
        let (seen, snapshots) = watch::channel(Arc::new(listed(clock.now())));
        let ports = Ports {
            supervisor,
            orders: ordered,
            pictures: published,
            in_use: in_use.clone(),
            snapshots,
            clock,
            observe: false,
            seed: 7,
        };
        let stop = CancellationToken::new();
        let desk = Desk::new(&loaded.credentials, means, rotations, ports);
        let desk = tasks.spawn("credentials", desk.run(stop.clone())).abort_handle();
        Self { vault, folder, clock, pictures, in_use, orders, commands, seen, heard, stop, tasks, desk }
    }

    /// Waits until a credential stands as wanted; the longest wait is an hour of the virtual clock.
    async fn until(&mut self, name: &str, wanted: impl Fn(&CredentialStatus) -> bool) -> Arc<CredentialStatus> {
        let found = tokio::time::timeout(Duration::from_secs(3600), async {
            loop {
                let picture = Arc::clone(&self.pictures.borrow_and_update());
                if let Some(status) = picture.credentials.iter().find(|status| &*status.name == name && wanted(status))
                {
                    return Arc::clone(status);
                }
                self.pictures.changed().await.unwrap();
            }
        });
        found.await.unwrap_or_else(|_| panic!("{name} never stood as wanted: {:?}", self.pictures.borrow()))
    }

    /// What was heard so far: the words of records, and rollouts, which are answered by `answer`.
    fn heard(&mut self, answer: impl Fn(&RollOut) -> RolledOut) -> (Vec<CredentialEntry>, usize) {
        let (mut told, mut rollouts) = (Vec::new(), 0);
        while let Ok(news) = self.heard.try_recv() {
            match news {
                FromCredentials::Told(entry) => told.push(entry),
                FromCredentials::RollOut(rollout) => {
                    rollouts += 1;
                    let result = answer(&rollout);
                    let _gone = rollout.ended.send(result);
                }
                FromCredentials::Undo { ended, .. } => drop(ended.send(RolledOut::Done)),
                FromCredentials::Settle { .. } => {}
            }
        }
        (told, rollouts)
    }

    /// The next rollout, which is for the test to answer.
    async fn rollout(&mut self) -> RollOut {
        let next = tokio::time::timeout(Duration::from_secs(86_400), async {
            loop {
                if let FromCredentials::RollOut(rollout) = self.heard.recv().await.unwrap() {
                    return rollout;
                }
            }
        });
        next.await.expect("a rollout within a day")
    }

    /// The next order to undo, which is for the test to answer.
    async fn undo(&mut self) -> tokio::sync::oneshot::Sender<RolledOut> {
        loop {
            if let FromCredentials::Undo { ended, .. } = self.heard.recv().await.unwrap() {
                return ended;
            }
        }
    }

    /// What a check would send.
    fn used(&self) -> Result<String, Missing> {
        let reference = Reference { credential: "key".into(), field: "value".to_owned() };
        self.in_use.find(&reference, Which::InUse).map(|value| value.expose().to_owned())
    }

    /// What it would send besides, while values change.
    fn other(&self) -> String {
        let reference = Reference { credential: "key".into(), field: "value".to_owned() };
        self.in_use.find(&reference, Which::Other).unwrap().expose().to_owned()
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Kills it where it stands, and returns what outlives it.
    async fn kill(self) -> (Arc<Double>, tempfile::TempDir) {
        self.desk.abort();
        self.tasks.end(Duration::from_secs(10)).await;
        (self.vault, self.folder)
    }

    /// From now on the service runs, left alone or not.
    fn runs(&self, left_alone: bool) {
        let mut web = crate::snapshot::example::service("web");
        web.view.paused = left_alone;
        let seen = Snapshot { services: vec![web.into()], waiting: Vec::new(), ..listed(self.clock.now()) };
        self.seen.send_replace(Arc::new(seen));
    }

    /// Whether the database takes what such a file holds.
    fn accepts(&self, text: &str) -> bool {
        text.split_once(':').is_some_and(|(user, password)| self.vault.database_accepts(user, password))
    }

    /// Ends it in order, and returns what outlives it.
    async fn end(self) -> (Arc<Double>, tempfile::TempDir) {
        self.stop.cancel();
        self.tasks.end(Duration::from_secs(10)).await;
        (self.vault, self.folder)
    }
}

/// A host that has told its containers; the service is not among them.
fn listed(now: Now) -> Snapshot {
    let link = ComponentStatus { up: true, since: now, message: None };
    let host = HostStatus {
        name: "local".into(),
        link,
        events_connected: true,
        version: None,
        denied: Vec::new(),
        storm: None,
        lost: None,
        disk_full: None,
    };
    Snapshot { hosts: vec![host], waiting: vec!["web".into()], ..Snapshot::nothing(now) }
}

/// Containers whose commands take as long as the test wants.
struct Containers(watch::Receiver<Option<i64>>);

impl Services for Containers {
    fn exec<'a>(
        &'a self,
        _service: &'a str,
        _command: &'a [String],
        _input: &'a Secret,
        _bound: Duration,
    ) -> BoxFuture<'a, Result<i64, NotRun>> {
        let mut ends = self.0.clone();
        Box::pin(async move {
            let code = ends.wait_for(Option::is_some).await.map(|code| *code);
            code.ok().flatten().ok_or_else(|| NotRun::Lost("the test is over".to_owned()))
        })
    }
}

const KEY: &str = r#"
[credentials.key]
type = "kv2"
path = "services/web/key"
services = ["web"]
[[credentials.key.files]]
path = "DIR/key"
"#;

const DYNAMIC: &str = r#"
[credentials.db]
type = "dynamic"
path = "database/creds/app"
services = ["web"]
on_change = "restart"
[[credentials.db.files]]
path = "DIR/db"
template = "{{ username }}:{{ password }}"
"#;

/// Its service is restarted for each of its values.
fn restarted() -> String {
    KEY.replace("services = [\"web\"]", "services = [\"web\"]\non_change = \"restart\"")
}

fn put(vault: &Double, value: &str) {
    vault.write("secret/data/services/web/key", json!({"data": {"value": value}}));
}
