//! Law 10 where it is hardest to keep: what a program prints is kept with its outage, and no secret with it.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iaso::config::secret::Secret;
use iaso::config::validated::Severity;
use iaso::evidence::{Containers, Gatherer, Keep, Life};
use iaso::in_use::CredentialValues;
use iaso::incidents::{Evidence, LogTail};
use iaso::journal::{ContainerScene, Entry, Listener, Scene, Subject};
use iaso::policy::Record;
use iaso::policy::action::Trouble;
use iaso::policy::id::{Identity, IncidentId, ServiceId};
use iaso::policy::record::Event;
use iaso::policy::time::{Boot, Mono, Now, Wall};
use iaso::redact::{KEPT_BACK, Redactor};
use iaso::system::tasks::Tasks;

/// A secret that nobody knows but the program that prints it, beside a word that tells of one.
const UNKNOWN: &str = "hunter2-planted";
/// The value of a credential, printed bare.
const KNOWN: &str = "correct horse";

/// An engine whose containers print both.
struct Chatty;

impl Containers for Chatty {
    fn life<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Life, String>> {
        let healthcheck = Some((1, format!("no answer for {KNOWN}")));
        async { Ok(Life { started: 0, exit_code: Some(7), oom_killed: false, healthcheck }) }.boxed()
    }

    fn log<'a>(&'a self, _: &'a str, _: &'a str, _: u16) -> BoxFuture<'a, Result<String, String>> {
        async { Ok(format!("opening\nconnecting with password {UNKNOWN}\nusing {KNOWN}\ngone\n")) }.boxed()
    }
}

#[test]
fn a_planted_secret_is_kept_with_no_outage() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pieces: Vec<Evidence> = runtime.block_on(async {
        let values = CredentialValues::default();
        values.put(&Arc::from("key"), Some(BTreeMap::from([("value".to_owned(), Secret::new(KNOWN))])), None);
        let (kept, pieces) = mpsc::channel();
        let (tasks, keep): (_, Keep) = (Tasks::new(), Arc::new(move |piece| kept.send(piece).unwrap()));
        let containers: Arc<dyn Containers> = Arc::new(Chatty);
        let hosts = [Arc::from("local")];
        let mut gatherer = Gatherer::start(hosts, &containers, &Redactor::new(values), &keep, &tasks);
        gatherer.hear_scene(&opened(), &scene());
        let mut all: Vec<Evidence> = Vec::new();
        while all.len() < 2 {
            tokio::task::yield_now().await;
            all.extend(pieces.try_iter());
        }
        all
    });
    for piece in &pieces {
        let kept = serde_json::to_string(piece).unwrap();
        assert!(!kept.contains(UNKNOWN) && !kept.contains(KNOWN), "{kept}");
    }
    let expected = format!("opening\n{KEPT_BACK}\nusing [credential key]\ngone");
    assert_eq!(pieces[1].log, LogTail::Lines(expected), "and all else is");
}

fn opened() -> Entry {
    let subject = Subject {
        name: Arc::from("web"),
        identity: Identity::container("local", "web").unwrap(),
        host: Arc::from("local"),
        severity: Severity::Warning,
        checks: Vec::new(),
    };
    let now = Now { mono: Mono(1), wall: Wall(1), boot: Boot(1) };
    let event = Event::IncidentOpened { trouble: Trouble::Exited { code: 7 } };
    let record = Record { now, service: ServiceId(0), incident: Some(IncidentId(1)), event };
    Entry { record, subject: Arc::new(subject) }
}

fn scene() -> Scene {
    let container = ContainerScene {
        id: "ab".repeat(32),
        name: "web".to_owned(),
        image: "shop:1".to_owned(),
        state: "exited",
        exit_code: Some(7),
        oom_killed: false,
        started: 0,
    };
    Scene {
        checks: Vec::new(),
        container: Some(container),
        engine_error: Some(format!("the engine answered 500: {KNOWN}")),
        log_lines: 50,
    }
}
