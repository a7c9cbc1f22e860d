//! One alert per outage, on real containers: who depends on a database that is down is listed, not told of.

use std::process::Command;
use std::sync::{Arc, Mutex};

use iaso::policy::id::IncidentId;
use iaso::store::Store;
use iaso::system::clock::Clock;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::autoheal::webhook;
use crate::daemon::{Daemon, Home, PROGRAM, Settings};
use crate::site::{Events, Site};
use crate::support::{Need, test};
use crate::target::{Manner, Target};
use crate::{until, wait};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("alerts::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        a_database_that_dies_is_healed_once_and_who_got_well_by_itself_is_not_touched,
        a_database_that_cannot_be_healed_is_told_once_with_all_that_it_drags_down,
    ]
}

const DEPENDENTS: [&str; 3] = ["api", "own", "web"];

/// A database, what the checks of all ask for, and three that need it: two are well when it answers, one has an illness of
/// its own. What it needs to come up, or to be mended, is in the test's hands.
struct Stack<'s> {
    site: &'s Site,
    home: Home,
    answers: Target,
    bodies: Arc<Mutex<Vec<String>>>,
    url: String,
}

impl<'s> Stack<'s> {
    /// Of the database's check so many failures count.
    fn new(site: &'s Site, failures: u8, recovery: &str) -> Self {
        let answers = Target::new(Manner::Well("up"));
        for short in ["db", "api", "web"] {
            site.patient(short, &["--network=none"], &[]);
        }
        site.checked_patient("own", &["--network=none"], &[]);
        let asks = |short: &str, failures: u8, more: &str| {
            format!(
                "[services.{short}]\ncontainer = \"{}\"\n{more}\n[[services.{short}.checks]]\nname = \"db\"\ntype = \"http\"\n\
                 url = \"http://127.0.0.1:{}/\"\ninterval = \"1s\"\nfailure_threshold = {failures}\non_failure = \"heal\"\n",
                site.name(short),
                answers.port
            )
        };
        let more = [
            "[recovery]\nquiet_start = \"0s\"\n".to_owned(),
            asks("db", failures, recovery),
            asks("api", 1, "depends_on = [\"db\"]"),
            asks("web", 1, "depends_on = [\"api\"]"),
            format!("[services.own]\ncontainer = \"{}\"\ndepends_on = [\"db\"]\n", site.name("own")),
        ];
        let settings = Settings {
            more: more.concat(),
            recovery: "stop_timeout = \"1s\"\nverify_stable = \"4s\"\nverify_timeout = \"60s\"\n",
            discovery: false,
            ..Settings::default()
        };
        let (url, bodies) = webhook();
        Self { site, home: Home::new(site, &settings), answers, bodies, url }
    }

    /// A daemon that has found all of them well.
    fn start(&self) -> Daemon {
        let mut command = Command::new(PROGRAM);
        command.env("WEBHOOK_URL", &self.url);
        let daemon = self.home.start_by(command, &[]);
        for service in ["db", "api", "web", "own"] {
            daemon.until_health(service, "healthy");
        }
        daemon
    }

    /// All three are found to be down with the database; its outage's id.
    fn drags_down(&self, daemon: &Daemon) -> String {
        self.site.ask(&self.site.name("own"), "/sick");
        let db = until("the database lists them", || {
            let db = daemon.status("db")?;
            (db["affected"].as_array()?.iter().filter_map(Value::as_str).eq(DEPENDENTS)).then_some(db)
        });
        let incident = db["incident"].as_str().unwrap().to_owned();
        for service in DEPENDENTS {
            daemon.until_explained(service, &["dependency", &format!("Part of db's outage {incident}.")]);
        }
        daemon.until_explained("db", &["Affected: api, own, web."]);
        incident
    }

    /// What the store has as parts of this outage, and whether each is over.
    fn parts(&self, incident: &str) -> Vec<(String, bool)> {
        let (store, _) = Store::open(self.home.data(), Clock::new());
        let root = IncidentId(u64::from_str_radix(incident, 16).unwrap());
        let parts = wait(store.incidents_within(root)).unwrap();
        let mut parts: Vec<_> =
            parts.iter().map(|part| (part.identity.as_str().to_owned(), part.closed.is_some())).collect();
        parts.sort();
        wait(store.close());
        parts
    }

    fn expected_parts(&self) -> Vec<(String, bool)> {
        DEPENDENTS.map(|short| (format!("local//{}", self.site.name(short)), true)).to_vec()
    }

    /// The announcements so far, by what carries a key.
    fn told(&self) -> Vec<String> {
        let bodies = self.bodies.lock().unwrap();
        let texts = bodies.iter().map(|body| serde_json::from_str::<Value>(body).unwrap()["text"].to_string());
        texts.filter(|text| text.contains(", key ")).collect()
    }
}

/// The services that were operated on, in order, with the moment of each.
fn begun(daemon: &Daemon) -> Vec<(String, String)> {
    let field = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    daemon.attempts().iter().map(|line| (field(line, "service"), field(line, "timestamp"))).collect()
}

fn was_restarted(site: &Site, events: &Events<'_>, restarts: [(&str, usize); 4]) {
    for (short, times) in restarts {
        // An engine tells a restart of what does not run as a start.
        events.come_to(&site.name(short), "start", times);
    }
}

fn a_database_that_dies_is_healed_once_and_who_got_well_by_itself_is_not_touched() {
    let site = Site::shared();
    // It is long in coming up, which is no failure of its restart.
    let stack = Stack::new(&site, 64, "");
    let events = site.events();
    let daemon = stack.start();
    stack.answers.behave(Manner::Reset);
    site.ask(&site.name("db"), "/exit?code=3");
    let incident = stack.drags_down(&daemon);
    assert!(begun(&daemon).iter().all(|(service, _)| service == "db"), "{:?}", begun(&daemon));
    stack.answers.behave(Manner::Well("up"));
    let healed = daemon.until_event("db", "incident_closed", Some("healed"));
    for service in DEPENDENTS {
        daemon.until_event(service, "incident_closed", None);
        daemon.until_health(service, "healthy");
    }
    let begun = begun(&daemon);
    let of: Vec<&str> = begun.iter().map(|(service, _)| service.as_str()).collect();
    assert_eq!(of, ["db", "own"], "the root once, then who is still broken, and nobody who got well by itself");
    assert!(healed["timestamp"].as_str().unwrap() < begun[1].1.as_str(), "not before it is stable: {begun:?}");
    was_restarted(&site, &events, [("db", 1), ("own", 1), ("api", 0), ("web", 0)]);
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
    assert_eq!(stack.parts(&incident), stack.expected_parts());
    assert_eq!(stack.told(), Vec::<String>::new(), "what is healed quietly is quiet");
}

fn a_database_that_cannot_be_healed_is_told_once_with_all_that_it_drags_down() {
    let site = Site::shared();
    let stack = Stack::new(&site, 1, "[services.db.recovery]\nmax_attempts = 2\nquarantine_retry = \"never\"\n");
    let events = site.events();
    let daemon = stack.start();
    // Nobody gives it up before all of them are down.
    assert_eq!(stack.home.iaso(&["pause", "db"]).code, 0);
    stack.answers.behave(Manner::Reset);
    let incident = stack.drags_down(&daemon);
    assert_eq!(stack.home.iaso(&["resume", "db"]).code, 0);
    daemon.until_event("db", "quarantined", None);
    let told = until("it is told", || Some(stack.told()).filter(|told| !told.is_empty()));
    let said = &told[0];
    for part in [
        "Service db is not healed: its check db fails, since ",
        "Tried: 2 attempts, 2 failed.",
        "it waits for a person (quarantine)",
        "Affected: api, own, web.",
        "Host local",
        &format!("key {incident}/not_healed/1."),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // It is said in the log once who was told has answered.
    daemon.until_event("db", "announced", None);
    assert_eq!(daemon.count("db", "announced"), 1);
    stack.answers.behave(Manner::Well("up"));
    daemon.until_event("db", "incident_closed", Some("recovered"));
    for service in DEPENDENTS {
        daemon.until_event(service, "incident_closed", None);
    }
    let told = until("its end is told", || Some(stack.told()).filter(|told| told.len() > 1));
    assert!(told[1].contains("Service db is well again, after "), "{told:?}");
    assert!(told[1].contains(&format!("key {incident}/resolved/1.")), "{told:?}");
    was_restarted(&site, &events, [("db", 2), ("own", 1), ("api", 0), ("web", 0)]);
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
    assert_eq!(stack.parts(&incident), stack.expected_parts());
    assert_eq!(stack.told().len(), 2, "one outage, one alert, one end: {:?}", stack.told());
}
