//! Engines that are missing, hang, lie and break off.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use iaso::config::validated::HostAddress;
use iaso::engine::docker::Docker;
use iaso::engine::operate::{Expected, operate};
use iaso::engine::watch::{Update, Watch, WatchHandle};
use iaso::engine::{Change, ContainerId, Engine, EngineError, EventAction};
use iaso::policy::id::Instance;
use iaso::policy::input::Outcome;
use iaso::system::clock::Clock;
use iaso::system::queue::Queued;
use iaso::system::resolver::Resolver;
use iaso::system::tasks::Tasks;
use libtest_mimic::Trial;
use tokio::sync::mpsc;

use crate::docker_rig::block_on;
use crate::fake::{CONTAINER, Fake, Manner};
use crate::rig::PATIENCE;
use crate::support::{Need, test};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("faults::", stringify!($name)), &[Need::Nothing], || { block_on($name()); Ok(()) })),+]
        };
    }
    suite![
        a_socket_that_is_missing_at_start_is_waited_for,
        an_engine_that_hangs_at_start_is_waited_for,
        an_event_stream_that_ends_is_made_again,
        half_an_event_is_no_event,
        an_event_that_is_not_json_ends_the_link_and_not_the_watch,
        an_engine_that_fails_is_down_in_its_own_words,
        a_proxys_refusal_is_not_permitted_and_its_page_is_not_quoted,
        what_is_not_an_engine_is_said_to_be_none,
        the_newest_common_version_is_agreed_on_each_time,
        an_engine_that_is_updated_and_refuses_old_versions_is_followed,
        an_engine_without_a_common_version_is_refused_in_words,
        a_restart_that_hangs_gives_its_place_back,
        a_command_that_the_engine_does_not_begin_is_the_engines_fault,
        a_container_that_hangs_stays_in_the_list,
        the_engine_filters_the_events,
        an_engine_behind_plain_tcp_is_one_too,
        a_name_that_only_multicast_knows_is_refused_in_words,
    ]
}

fn docker(fake: &Fake) -> Docker {
    over(HostAddress::Unix(fake.socket()))
}

fn over(address: HostAddress) -> Docker {
    Docker::new(address, Resolver::system(Clock::new()), Tasks::new()).expect("a client")
}

fn the_container() -> ContainerId {
    ContainerId::new(CONTAINER).expect("an id")
}

/// A watch that runs until this is dropped.
pub struct Watched {
    updates: mpsc::Receiver<Queued<Update>>,
    /// What came, for whoever reads why a test failed.
    seen: Vec<String>,
    _handle: WatchHandle,
    _tasks: Tasks,
}

impl Watched {
    pub fn over(engine: Arc<dyn Engine>) -> Self {
        let (told, updates) = mpsc::channel(64);
        let (watch, handle) = Watch::new(engine, Clock::new(), told);
        let tasks = Tasks::new();
        tasks.spawn("watch", async move { watch.run().await });
        Self { updates, seen: Vec::new(), _handle: handle, _tasks: tasks }
    }

    /// The first update that is as wanted.
    pub async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(Update) -> Option<T>) -> T {
        let wait = async {
            loop {
                let update = self.updates.recv().await.expect("the watch ended").what;
                self.seen.push(format!("{update:?}"));
                if let Some(found) = wanted(update) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} never came"))
    }

    pub async fn until_down(&mut self) -> String {
        self.until("down", |update| if let Update::Down { error } = update { Some(error) } else { None }).await
    }

    /// Waits for the link; whether the engine itself had started, and how many containers it has.
    pub async fn until_up(&mut self) -> (bool, usize) {
        self.until("up", |update| match update {
            Update::Up { engine_started, containers, .. } => Some((engine_started, containers.len())),
            _ => None,
        })
        .await
    }

    /// Waits for an event of this container.
    pub async fn until_event(&mut self, id: &ContainerId, action: EventAction) {
        self.until(&format!("{action:?}"), |update| match update {
            Update::Event { event, .. } => (event.container == *id && event.action == action).then_some(()),
            _ => None,
        })
        .await;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the watch told: {:#?}", self.seen);
        }
    }
}

fn die(code: i32) -> String {
    format!(
        r#"{{"Type":"container","Action":"die","Actor":{{"ID":"{CONTAINER}","Attributes":{{"exitCode":"{code}","name":"web","team":"blue"}}}},"timeNano":7}}"#
    ) + "\n"
}

async fn a_socket_that_is_missing_at_start_is_waited_for() {
    let fake = Fake::new();
    let mut watched = Watched::over(Arc::new(docker(&fake)));
    let why = watched.until_down().await;
    assert!(why.contains("not running") && why.contains("engine.sock"), "{why}");
    fake.listen();
    assert_eq!(watched.until_up().await, (true, 1));
}

async fn an_engine_that_hangs_at_start_is_waited_for() {
    let fake = Fake::listening();
    fake.behave(Manner::Silent);
    let mut watched = Watched::over(Arc::new(docker(&fake)));
    assert!(watched.until_down().await.contains("did not answer within 5s"));
    fake.behave(Manner::Proper);
    assert_eq!(watched.until_up().await, (false, 1));
}

async fn an_event_stream_that_ends_is_made_again() {
    let fake = Fake::listening();
    let mut watched = Watched::over(Arc::new(docker(&fake)));
    watched.until_up().await;
    fake.end_events();
    assert!(watched.until_down().await.contains("its event stream ended"));
    assert_eq!(watched.until_up().await, (false, 1), "a full list again, and the engine had not gone");
    fake.tell(&die(3));
    watched.until_event(&the_container(), EventAction::Die(3)).await;
}

async fn half_an_event_is_no_event() {
    let fake = Fake::listening();
    let mut watched = Watched::over(Arc::new(docker(&fake)));
    watched.until_up().await;
    let whole = die(4);
    let (half, rest) = whole.split_at(40);
    fake.tell(half);
    fake.tell(rest);
    watched.until_event(&the_container(), EventAction::Die(4)).await;
    fake.tell(half);
    fake.end_events();
    watched.until_down().await;
    watched.until_up().await;
}

async fn an_event_that_is_not_json_ends_the_link_and_not_the_watch() {
    let fake = Fake::listening();
    let mut watched = Watched::over(Arc::new(docker(&fake)));
    watched.until_up().await;
    fake.tell("s3cret\n");
    let why = watched.until_down().await;
    assert!(why.contains("unexpected JSON") && !why.contains("s3cret"), "{why}");
    watched.until_up().await;
}

async fn an_engine_that_fails_is_down_in_its_own_words() {
    let fake = Fake::listening();
    let mut watched = Watched::over(Arc::new(docker(&fake)));
    watched.until_up().await;
    fake.behave(Manner::Refusing(500, "application/json", r#"{"message":"no space left on device"}"#));
    fake.end_events();
    watched
        .until("its words", |update| {
            matches!(update, Update::Down { error } if error.contains("500: no space left")).then_some(())
        })
        .await;
    // What a proxy says of an engine that does not listen.
    fake.behave(Manner::Refusing(503, "text/html", "<html>No server is available</html>"));
    watched
        .until("the proxy's", |update| matches!(update, Update::Down { error } if error.contains("503")).then_some(()))
        .await;
    fake.behave(Manner::Proper);
    assert_eq!(watched.until_up().await, (true, 1));
}

async fn a_proxys_refusal_is_not_permitted_and_its_page_is_not_quoted() {
    let fake = Fake::listening();
    fake.behave(Manner::Refusing(403, "text/html", "<html><h1>403 Forbidden</h1> administrative rules</html>"));
    let docker = docker(&fake);
    for change in [Change::Restart, Change::Exec(vec!["/x".to_owned()])] {
        match docker.change(&the_container(), &change, None).await {
            Err(EngineError::NotPermitted(why)) => assert!(!why.contains('<'), "{why}"),
            other => panic!("{change:?}: {other:?}"),
        }
    }
    assert!(matches!(docker.events().await.map(drop), Err(EngineError::NotPermitted(_))));
    assert!(matches!(docker.logs(&the_container(), 5).await, Err(EngineError::NotPermitted(_))));
}

async fn what_is_not_an_engine_is_said_to_be_none() {
    let fake = Fake::listening();
    let docker = docker(&fake);
    fake.behave(Manner::Garbage);
    assert!(matches!(docker.hello().await, Err(EngineError::Malformed(_))), "{:?}", docker.hello().await);
    fake.behave(Manner::Refusing(200, "text/html", "<html>s3cret</html>"));
    for error in [
        docker.hello().await.map(drop),
        docker.list().await.map(drop),
        docker.inspect(&the_container()).await.map(drop),
    ] {
        let error = error.expect_err("no engine");
        assert!(matches!(error, EngineError::Malformed(_)) && !error.to_string().contains("s3cret"), "{error}");
    }
    fake.behave(Manner::Cut);
    assert!(docker.list().await.is_err(), "half an answer is none");
}

async fn the_newest_common_version_is_agreed_on_each_time() {
    let fake = Fake::listening();
    let docker = docker(&fake);
    for (oldest, newest, agreed) in [("1.44", "1.99", "1.53"), ("1.24", "1.41", "1.41"), ("1.44", "1.47", "1.47")] {
        fake.speak(oldest, newest);
        let info = docker.hello().await.expect("hello");
        assert_eq!(format!("{}.{}", info.api.0, info.api.1), agreed);
        fake.asked();
        docker.inspect(&the_container()).await.expect("inspect");
        drop(docker.events().await.expect("events"));
        for path in fake.asked() {
            assert!(path.starts_with(&format!("/v{agreed}/")), "{path}");
        }
    }
}

async fn an_engine_that_is_updated_and_refuses_old_versions_is_followed() {
    let fake = Fake::listening();
    fake.speak("1.24", "1.41");
    let docker = docker(&fake);
    docker.hello().await.expect("hello");
    // Docker 29 takes nothing below 1.44.
    fake.speak("1.44", "1.52");
    let refused = docker.list().await;
    assert!(
        matches!(&refused, Err(EngineError::Failed { status: 400, message }) if message.contains("too old")),
        "{refused:?}"
    );
    docker.hello().await.expect("hello");
    assert_eq!(docker.list().await.expect("list").len(), 1);
}

async fn an_engine_without_a_common_version_is_refused_in_words() {
    let fake = Fake::listening();
    for (oldest, newest) in [("1.12", "1.40"), ("1.90", "1.99")] {
        fake.speak(oldest, newest);
        match docker(&fake).hello().await {
            Err(EngineError::Unsupported(why)) => assert!(why.contains(newest), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

async fn a_restart_that_hangs_gives_its_place_back() {
    let fake = Fake::listening();
    fake.behave(Manner::StuckChange);
    let docker = docker(&fake);
    let life = docker.inspect(&the_container()).await.expect("inspect").started;
    let instance = Instance { container: the_container().short(), started: life };
    let expected = Expected { instance, alive: true };
    let grace = Some(Duration::ZERO);
    let operated = operate(&docker, &the_container(), expected, &Change::Restart, grace, ready(true)).await;
    assert_eq!(operated.outcome, Outcome::TimedOut);
    // And the engine answers others meanwhile.
    docker.ping().await.expect("ping");
}

async fn a_command_that_the_engine_does_not_begin_is_the_engines_fault() {
    let fake = Fake::listening();
    fake.behave(Manner::StuckChange);
    let bound = Duration::from_millis(200);
    // Not `CommandGoesOn`, which is the container's and fails its checks.
    let ran = docker(&fake).exec(&the_container(), &["true".to_owned()], bound).await;
    assert_eq!(ran, Err(EngineError::TimedOut(bound)));
}

async fn a_container_that_hangs_stays_in_the_list() {
    let fake = Fake::listening();
    let docker = docker(&fake);
    let before = docker.list().await.expect("list");
    assert_eq!(before.len(), 1);
    fake.behave(Manner::StuckInspect);
    assert_eq!(docker.list().await, Ok(before), "as it was last seen");
}

async fn the_engine_filters_the_events() {
    let fake = Fake::listening();
    drop(docker(&fake).events().await.expect("events"));
    let asked = fake.asked().pop().expect("a request");
    let query = asked.split_once('?').expect("a query").1;
    let filters = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "filters").expect("filters").1;
    let filters: serde_json::Value = serde_json::from_str(&filters).expect("JSON");
    assert_eq!(filters["type"], serde_json::json!(["container"]));
    let events: Vec<&str> =
        filters["event"].as_array().expect("events").iter().filter_map(|name| name.as_str()).collect();
    for needed in ["die", "kill", "start", "health_status", "destroy"] {
        assert!(events.contains(&needed), "{needed} is not among {events:?}");
    }
    // Every HEALTHCHECK makes three of them.
    assert!(events.iter().all(|name| !name.starts_with("exec")), "{events:?}");
}

async fn an_engine_behind_plain_tcp_is_one_too() {
    let fake = Fake::listening();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let (socket, tasks) = (fake.socket(), Tasks::new());
    let relays = tasks.clone();
    tasks.spawn("relay", async move {
        while let Ok((mut outer, _)) = listener.accept().await {
            let mut inner = tokio::net::UnixStream::connect(&socket).await.expect("the engine");
            relays.spawn("relay", async move { tokio::io::copy_bidirectional(&mut outer, &mut inner).await });
        }
    });
    let docker = over(HostAddress::Tcp(address));
    let mut watched = Watched::over(Arc::new(docker));
    assert_eq!(watched.until_up().await, (false, 1));
    fake.tell(&die(5));
    watched.until_event(&the_container(), EventAction::Die(5)).await;
}

async fn a_name_that_only_multicast_knows_is_refused_in_words() {
    let error = over(HostAddress::Tcp("nas.local:2375".to_owned())).ping().await.expect_err("a name");
    let EngineError::Unreachable(why) = error else { panic!("{error:?}") };
    assert!(why.starts_with("nas.local:2375: ") && why.contains("multicast"), "{why}");
}
