//! Rotations against the double and a small service that checks the value.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use iaso::config::secret::Secret;
use iaso::config::validated::{self, Apply, Auth, Call, Credential, Generator, OnChange, SecretFrom, Source};
use iaso::credentials::rotation::{Fact, NotRun, Rotations, Services, Setup, Wanted, share_a_service};
use iaso::credentials::seal::Sealer;
use iaso::credentials::vault::Vault as Client;
use iaso::orders::{CredentialOrder, CredentialReply};
use iaso::rollouts::RolledOut;
use iaso::system::clock::Clock;
use iaso::system::meters::Meters;
use iaso::system::resolver::Resolver;
use iaso::system::tasks::Tasks;
use libtest_mimic::Trial;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::{Need, test};
use crate::vault::{Fault, Rule, Vault};
use crate::wait;

/// Only a hang takes that long.
const PATIENCE: Duration = Duration::from_secs(120);
const OLD: &str = "the-0ld-value";

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("rotation::", stringify!($name)), &[Need::Nothing], || { wait($name()); Ok(()) })),+]
        };
    }
    suite![
        a_rotation_reaches_the_store_the_service_and_the_file,
        a_new_value_that_the_service_refuses_is_taken_back_and_the_service_serves_throughout,
        a_rollout_that_fails_is_undone,
        a_fault_before_or_after_each_write_changes_nothing_in_the_end,
        an_end_of_iaso_at_any_point_is_made_up_for,
        of_two_one_rotates_and_the_other_touches_nothing,
        the_version_in_use_is_marked_before_the_next_is_stored,
        a_value_set_by_hand_is_the_next_version_and_a_rollback_the_one_after,
        a_command_gets_the_value_on_its_input_alone,
        a_plan_does_nothing_and_shows_no_value,
    ]
}

/// The service that checks the value.
#[derive(Default)]
struct Service {
    accepts: String,
    refuses_new: bool,
    /// How often it was told a value.
    told: u32,
    /// It did not serve who came with what it accepted, or with what the file held.
    gaps: u32,
}

type Shared = Arc<Mutex<Service>>;

async fn set(State(service): State<Shared>, headers: HeaderMap, body: String) -> StatusCode {
    let mut service = service.lock().unwrap();
    service.told += 1;
    let authorized = headers.get("authorization").is_some_and(|value| value == "Bearer adm1n");
    match (authorized, service.refuses_new && body != OLD) {
        (false, _) => StatusCode::FORBIDDEN,
        (true, true) => StatusCode::UNPROCESSABLE_ENTITY,
        (true, false) => {
            service.accepts = body;
            StatusCode::NO_CONTENT
        }
    }
}

async fn check(State(service): State<Shared>, headers: HeaderMap) -> StatusCode {
    let accepted = headers.get("x-value").is_some_and(|value| value == service.lock().unwrap().accepts.as_str());
    if accepted { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
}

/// Containers whose command keeps what it reads.
#[derive(Default)]
struct Inside {
    heard: Mutex<Vec<(String, Vec<String>, String)>>,
    service: Shared,
}

impl Services for Inside {
    fn exec<'a>(
        &'a self,
        service: &'a str,
        command: &'a [String],
        input: &'a Secret,
        _bound: Duration,
    ) -> BoxFuture<'a, Result<i64, NotRun>> {
        self.heard.lock().unwrap().push((service.to_owned(), command.to_vec(), input.expose().to_owned()));
        self.service.lock().unwrap().accepts = input.expose().to_owned();
        async { Ok(0) }.boxed()
    }
}

struct Rig {
    vault: Vault,
    service: Shared,
    address: String,
    inside: Arc<Inside>,
    disks: Vec<TempDir>,
}

/// What one Iaso's consumers see, and what it told.
#[derive(Default)]
struct Outside {
    file: Option<String>,
    published: Vec<u64>,
    told: Vec<String>,
    undone: u32,
    rollout_fails: bool,
    ended: bool,
}

impl Rig {
    async fn new() -> Self {
        let vault = Vault::start().await;
        vault.write("secret/data/db", json!({"data": {"value": OLD, "user": "app"}}));
        let service = Shared::default();
        service.lock().unwrap().accepts = OLD.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let routes =
            Router::new().route("/set", post(set)).route("/check", get(check)).with_state(Arc::clone(&service));
        // Ends with the test's runtime.
        Tasks::new().spawn("test_service", async move { axum::serve(listener, routes).await });
        let inside = Arc::new(Inside { service: Arc::clone(&service), ..Inside::default() });
        let disks = vec![TempDir::new().unwrap(), TempDir::new().unwrap()];
        Self { vault, service, address, inside, disks }
    }

    fn credential(&self) -> Credential {
        let call = |method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>| Call::Http {
            method: method.to_owned(),
            url: format!("{}{path}", self.address),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect(),
            body: body.map(Secret::new),
            expect: vec![(200, 299)],
            roots: Vec::new(),
            timeout: Duration::from_secs(20),
        };
        Credential {
            name: Arc::from("db"),
            source: Source::Kv2 { mount: "secret".to_owned(), path: "db".to_owned() },
            field: "value".to_owned(),
            refresh: Duration::from_secs(300),
            warn_before: Duration::ZERO,
            files: Vec::new(),
            services: vec![Arc::from("web")],
            on_change: OnChange::Restart,
            splay: Duration::ZERO,
            max_per_hour: 10,
            mints_per_hour: 10,
            rotation: Some(validated::Rotation {
                every: None,
                generator: Generator::Uuid,
                apply: Apply::Call(call("POST", "/set", &[("authorization", "Bearer adm1n")], Some("{{ value }}"))),
                verify: Some(call("GET", "/check", &[("x-value", "{{ value }}")], None)),
                grace: Duration::ZERO,
                retire: None,
                retry: Duration::from_secs(60),
            }),
        }
    }

    async fn iaso(&self, disk: usize, credential: &Credential) -> Rotations {
        let settings = validated::Vault {
            address: self.vault.address.clone(),
            namespace: None,
            roots: Vec::new(),
            identity: None,
            server_name: None,
            timeout: Duration::from_secs(20),
            auth: Auth::Token(SecretFrom::Text(Secret::new(self.vault.root_token.clone()))),
            keep: true,
            logins_per_hour: 10,
        };
        let resolver = Resolver::system(Clock::new());
        let client = Client::new(&settings, &resolver, Meters::new(Clock::new())).unwrap();
        client.login().await.unwrap();
        let data = self.disks[disk].path();
        let setup = Setup {
            folder: data.join("rotation"),
            sealer: Arc::new(Sealer::open(data).unwrap()),
            services: Arc::clone(&self.inside) as Arc<dyn Services>,
            resolver,
            clock: Clock::new(),
            together: share_a_service,
        };
        Rotations::recover(setup, &[Arc::new(credential.clone())], Some(&Arc::new(client))).await
    }

    fn accepts(&self) -> String {
        self.service.lock().unwrap().accepts.clone()
    }

    /// The newest version and its value.
    fn newest(&self) -> (u64, String) {
        let found = self.vault.read("secret/data/db").unwrap();
        let version = found["data"]["metadata"]["version"].as_u64().unwrap();
        assert_eq!(found["data"]["data"]["user"], "app", "the other fields stay");
        (version, found["data"]["data"]["value"].as_str().unwrap().to_owned())
    }

    fn marks(&self) -> BTreeMap<String, String> {
        let found = self.vault.read("secret/metadata/db").unwrap();
        serde_json::from_value(found["data"]["custom_metadata"].clone()).unwrap_or_default()
    }

    /// Whoever comes with the file's value is served.
    fn note_gap(&self, outside: &Outside) {
        let mut service = self.service.lock().unwrap();
        let shown = outside.file.as_deref().unwrap_or(OLD);
        service.gaps += u32::from(service.accepts != shown);
    }

    /// At rest all agree.
    fn agree(&self, outside: &Outside) {
        let (_, value) = self.newest();
        assert_eq!(self.accepts(), value, "the service accepts the newest version");
        assert_eq!(outside.file.as_deref().unwrap_or(OLD), value, "and the file holds it");
        let told = outside.told.join("\n");
        assert!(!told.contains(&value) && !told.contains(OLD) && !told.contains("adm1n"), "{told}");
    }
}

/// Does what is wanted until the rotation has ended.
async fn drive(rotations: &mut Rotations, outside: &mut Outside) {
    while !outside.ended {
        let wanted =
            timeout(PATIENCE, rotations.next()).await.unwrap_or_else(|_| panic!("it hangs: {:?}", outside.told));
        carry_out(rotations, outside, wanted);
    }
}

fn carry_out(rotations: &mut Rotations, outside: &mut Outside, wanted: Wanted) {
    match wanted {
        Wanted::Publish { credential, version, fields } => {
            outside.file = Some(fields["value"].expose().to_owned());
            outside.published.push(version);
            rotations.fact(&credential, Fact::Published(Ok(())));
        }
        Wanted::RollOut { credential, .. } if outside.rollout_fails => {
            let ended = RolledOut::Failed { service: Arc::from("web") };
            rotations.fact(&credential, Fact::RolledOut(ended));
        }
        Wanted::RollOut { credential, .. } => rotations.fact(&credential, Fact::RolledOut(RolledOut::Done)),
        Wanted::Undo { credential } => {
            outside.undone += 1;
            rotations.fact(&credential, Fact::Undone(RolledOut::Done));
        }
        Wanted::Settle { .. } => {}
        Wanted::Told(entry) => {
            let over = ["everything uses", "the old value is back", "nothing was changed"];
            let over = over.iter().any(|words| entry.words.starts_with(words));
            outside.ended |= over || entry.level == tracing::Level::ERROR;
            outside.told.push(entry.words);
        }
    }
}

fn order(rotations: &mut Rotations, order: CredentialOrder) {
    let answer = rotations.order("db", order);
    assert!(matches!(answer, CredentialReply::Taken(_)), "{answer:?}");
}

async fn a_rotation_reaches_the_store_the_service_and_the_file() {
    let rig = Rig::new().await;
    let mut iaso = rig.iaso(0, &rig.credential()).await;
    let mut outside = Outside::default();
    order(&mut iaso, CredentialOrder::Rotate);
    drive(&mut iaso, &mut outside).await;
    let (version, value) = rig.newest();
    assert_eq!((version, outside.published.as_slice()), (2, &[2][..]));
    assert_ne!(value, OLD);
    let marks = rig.marks();
    let marks: Vec<_> = marks.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(marks, [("current", "2"), ("managed-by", "iaso"), ("previous", "1")]);
    rig.agree(&outside);
    let journal = std::fs::read_to_string(rig.disks[0].path().join("rotation/db")).unwrap();
    assert!(!journal.contains(&value) && !journal.contains(OLD));
    assert!(iaso.in_use("db").is_none(), "nothing is under way");
}

async fn a_new_value_that_the_service_refuses_is_taken_back_and_the_service_serves_throughout() {
    let rig = Rig::new().await;
    rig.service.lock().unwrap().refuses_new = true;
    let mut iaso = rig.iaso(0, &rig.credential()).await;
    let mut outside = Outside::default();
    order(&mut iaso, CredentialOrder::Rotate);
    while !outside.ended {
        let wanted = timeout(PATIENCE, iaso.next()).await.unwrap();
        carry_out(&mut iaso, &mut outside, wanted);
        rig.note_gap(&outside);
    }
    assert_eq!(rig.newest(), (3, OLD.to_owned()), "the old data is a new version");
    assert_eq!(rig.service.lock().unwrap().gaps, 0);
    assert!(outside.told.iter().any(|words| words.contains("refuses to be told")), "{:?}", outside.told);
    rig.agree(&outside);
}

async fn a_rollout_that_fails_is_undone() {
    let rig = Rig::new().await;
    let mut iaso = rig.iaso(0, &rig.credential()).await;
    let mut outside = Outside { rollout_fails: true, ..Outside::default() };
    order(&mut iaso, CredentialOrder::Rotate);
    drive(&mut iaso, &mut outside).await;
    assert_eq!((rig.newest(), outside.published.as_slice()), ((3, OLD.to_owned()), &[2, 3][..]));
    assert_eq!(outside.undone, 1);
    rig.agree(&outside);
}

async fn a_fault_before_or_after_each_write_changes_nothing_in_the_end() {
    // The marks are set before the version is stored, after it, and when it is published.
    let writes =
        [("secret/data/db", 0), ("secret/metadata/db", 0), ("secret/metadata/db", 1), ("secret/metadata/db", 2)];
    let faults = || [Fault::Drop, Fault::Html503, Fault::Internal500, Fault::Truncate(10)];
    let mut cases = Vec::new();
    for (path, earlier) in writes {
        for after in [false, true] {
            for fault in faults() {
                let rule = Rule::on("POST", path).skip(earlier).once();
                cases.push(async move {
                    let rig = Rig::new().await;
                    rig.vault.inject(if after { rule.after_commit() } else { rule }, fault);
                    let mut iaso = rig.iaso(0, &rig.credential()).await;
                    let mut outside = Outside::default();
                    order(&mut iaso, CredentialOrder::Rotate);
                    drive(&mut iaso, &mut outside).await;
                    assert_eq!((rig.newest().0, rig.marks()["current"].as_str()), (2, "2"), "{path} {earlier} {after}");
                    rig.agree(&outside);
                });
            }
        }
    }
    futures_util::future::join_all(cases).await;
}

/// Polls a future so many times and then drops it; whether it ended before that.
async fn poll_times(future: impl Future<Output = ()>, mut times: u32) -> bool {
    let mut future = pin!(future);
    poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending if times == 0 => Poll::Ready(false),
        Poll::Pending => {
            times -= 1;
            Poll::Pending
        }
    })
    .await
}

async fn an_end_of_iaso_at_any_point_is_made_up_for() {
    let points = stream::iter(0..).map(ended_after).buffered(8);
    let ends = points.take_while(|under_way| std::future::ready(*under_way)).count().await;
    assert!(ends > 10, "it was ended at {ends} points");
}

/// Ends Iaso after so many polls, and starts it anew; whether the rotation was still under way then.
async fn ended_after(polls: u32) -> bool {
    let rig = Rig::new().await;
    let mut outside = Outside::default();
    let mut iaso = rig.iaso(0, &rig.credential()).await;
    order(&mut iaso, CredentialOrder::Rotate);
    let over = poll_times(drive(&mut iaso, &mut outside), polls).await;
    drop(iaso);
    if over {
        return false;
    }
    let mut iaso = rig.iaso(0, &rig.credential()).await;
    if iaso.in_use("db").is_some() {
        drive(&mut iaso, &mut outside).await;
    }
    rig.agree(&outside);
    // Whatever it was, the next one works; before it is told of one that had no value yet.
    let before = rig.newest().0;
    order(&mut iaso, CredentialOrder::Rotate);
    while rig.newest().0 == before || !outside.ended {
        outside.ended = false;
        drive(&mut iaso, &mut outside).await;
    }
    rig.agree(&outside);
    true
}

async fn of_two_one_rotates_and_the_other_touches_nothing() {
    let rig = Rig::new().await;
    let (mut one, mut other) = (rig.iaso(0, &rig.credential()).await, rig.iaso(1, &rig.credential()).await);
    let (mut outside_one, mut outside_other) = (Outside::default(), Outside::default());
    order(&mut one, CredentialOrder::Rotate);
    order(&mut other, CredentialOrder::Rotate);
    tokio::join!(drive(&mut one, &mut outside_one), drive(&mut other, &mut outside_other));
    let versions = rig.newest().0;
    let published = outside_one.published.len() + outside_other.published.len();
    assert_eq!(versions, 1 + published as u64, "each version that was stored was published");
    assert_eq!(
        rig.service.lock().unwrap().told,
        u32::try_from(published).unwrap(),
        "the loser told the service nothing"
    );
    assert_eq!(rig.accepts(), rig.newest().1);
}

async fn the_version_in_use_is_marked_before_the_next_is_stored() {
    let rig = Rig::new().await;
    let mut iaso = rig.iaso(0, &rig.credential()).await;
    let mut outside = Outside::default();
    order(&mut iaso, CredentialOrder::Rotate);
    let mut rotation = pin!(drive(&mut iaso, &mut outside));
    let stored = poll_fn(|context| match (rig.newest().0, rotation.as_mut().poll(context)) {
        (2.., _) => Poll::Ready(true),
        (_, Poll::Ready(())) => Poll::Ready(false),
        (_, Poll::Pending) => Poll::Pending,
    });
    assert!(stored.await, "it is seen before the rotation has ended");
    assert_eq!(rig.marks().get("current").map(String::as_str), Some("1"), "{:?}", rig.marks());
}

async fn a_value_set_by_hand_is_the_next_version_and_a_rollback_the_one_after() {
    let rig = Rig::new().await;
    let mut iaso = rig.iaso(0, &rig.credential()).await;
    let mut outside = Outside::default();
    rig.service.lock().unwrap().accepts = "by-hand".to_owned();
    order(&mut iaso, CredentialOrder::Set(Secret::new("by-hand")));
    drive(&mut iaso, &mut outside).await;
    assert_eq!(rig.newest(), (2, "by-hand".to_owned()));
    assert_eq!(rig.service.lock().unwrap().told, 0, "the person has told the service");
    outside.ended = false;
    order(&mut iaso, CredentialOrder::Rollback);
    drive(&mut iaso, &mut outside).await;
    assert_eq!(rig.newest(), (3, OLD.to_owned()));
    rig.agree(&outside);
}

async fn a_command_gets_the_value_on_its_input_alone() {
    let rig = Rig::new().await;
    let mut credential = rig.credential();
    let rotation = credential.rotation.as_mut().unwrap();
    rotation.apply = Apply::Call(Call::Exec {
        service: Arc::from("postgres"),
        command: ["psql", "--quiet"].map(str::to_owned).to_vec(),
        input: Some(Secret::new("{{ value }}")),
        timeout: Duration::from_secs(20),
    });
    let mut iaso = rig.iaso(0, &credential).await;
    let mut outside = Outside::default();
    order(&mut iaso, CredentialOrder::Rotate);
    drive(&mut iaso, &mut outside).await;
    let value = rig.newest().1;
    let heard = rig.inside.heard.lock().unwrap().clone();
    let command = ["psql", "--quiet"].map(str::to_owned).to_vec();
    assert_eq!(heard, [("postgres".to_owned(), command, value)]);
    rig.agree(&outside);
}

async fn a_plan_does_nothing_and_shows_no_value() {
    let rig = Rig::new().await;
    let mut iaso = rig.iaso(0, &rig.credential()).await;
    rig.vault.forget_requests();
    let CredentialReply::Planned(lines) = iaso.order("db", CredentialOrder::Plan) else { panic!("a plan") };
    let text = lines.join("\n");
    assert!(text.contains("POST at 127.0.0.1") && text.contains("restart web"), "{text}");
    assert!(!text.contains("adm1n") && !text.contains(OLD), "{text}");
    assert_eq!(rig.vault.count(|_| true), 0);
    assert_eq!(rig.service.lock().unwrap().told, 0);
}
