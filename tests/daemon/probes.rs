//! Checks of the file whose targets misbehave.

use libtest_mimic::Trial;

use crate::daemon::{Home, Settings};
use crate::site::Site;
use crate::support::{Need, test};
use crate::target::{Manner, Target};
use crate::until;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("probes::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        targets_that_misbehave_are_told_apart_and_harm_only_their_own_service,
        a_container_is_asked_at_its_own_address_and_healed_when_it_hangs,
        a_wrong_new_check_never_restarts_a_healthy_service,
    ]
}

/// What fails together here is no storm.
const SETTINGS: &str = "[recovery]\nquiet_start = \"0s\"\nmass_failure = { ratio = 1.0 }\n";

/// A service of the file with one check of this URL.
fn service(site: &Site, short: &str, url: &str, more: &str) -> String {
    let container = site.name(short);
    format!(
        "[services.{short}]\ncontainer = \"{container}\"\n[[services.{short}.checks]]\nname = \"api\"\ntype = \"http\"\n\
         url = \"{url}\"\ninterval = \"1s\"\ntimeout = \"2s\"\non_failure = \"heal\"\n{more}\n"
    )
}

fn targets_that_misbehave_are_told_apart_and_harm_only_their_own_service() {
    let site = Site::shared();
    let ills = [
        ("silent", Manner::Silent, "no whole answer within 2s"),
        ("huge", Manner::Huge, "1 MiB"),
        ("garbage", Manner::Garbage, "HTTP"),
        ("reset", Manner::Reset, "reset"),
        ("sick", Manner::Sick("out"), "500"),
    ];
    let targets: Vec<Target> = ills.iter().map(|_| Target::new(Manner::Well("up"))).collect();
    let neighbour = Target::new(Manner::Well("up"));
    let url = |target: &Target| format!("http://127.0.0.1:{}/", target.port);
    let expect = "expect = { status = \"200\", body_contains = \"up\" }";
    let mut more = SETTINGS.to_owned();
    for ((short, ..), target) in ills.iter().zip(&targets) {
        more.push_str(&service(&site, short, &url(target), expect));
    }
    more.push_str(&service(&site, "neighbour", &url(&neighbour), expect));
    more.push_str("[services.neighbour.recovery]\nmax_restarts = 50\n");
    // Five ills at once would be five alike; one after the other keeps them apart.
    let home = Home::new(&site, &Settings { more, ..Settings::default() });
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.patient("neighbour", &["--network=none"], &[]);
    daemon.until_health("neighbour", "healthy");
    for ((short, manner, evidence), target) in ills.into_iter().zip(&targets) {
        let container = site.patient(short, &["--network=none"], &[]);
        daemon.until_health(short, "healthy");
        target.behave(manner);
        daemon.until_event(short, "operation_begun", Some("check"));
        daemon.until_explained(short, &["Check api (http) has failed", evidence]);
        // Meanwhile the neighbour is healed as ever.
        let before = daemon.count("neighbour", "incident_closed");
        site.ask(&name, "/exit?code=3");
        until("it is healed", || (daemon.count("neighbour", "incident_closed") > before).then_some(()));
        target.behave(Manner::Well("up"));
        daemon.until_event(short, "incident_closed", None);
        daemon.until_health(short, "healthy");
        events.catch_up();
        assert!(events.count(&container, "start") <= 1 + 5, "{:?}", events.all());
        daemon.until_health("neighbour", "healthy");
    }
    for (short, ..) in ills {
        assert_eq!(daemon.count(short, "incident_opened"), 1, "{short}");
    }
    daemon.stop();
}

fn a_container_is_asked_at_its_own_address_and_healed_when_it_hangs() {
    let site = Site::shared();
    let check = service(&site, "web", "http://{address}:8080/", "expect = { body_contains = \"up\" }");
    // Its own patience ends with nothing but a hang.
    let check = check.replace("timeout = \"2s\"", "timeout = \"8s\"");
    let home = Home::new(&site, &Settings { more: SETTINGS.to_owned() + &check, ..Settings::default() });
    let events = site.events();
    let daemon = home.start(&[]);
    let name = site.patient("web", &[], &[]);
    daemon.until_health("web", "healthy");
    site.ask(&name, "/hang");
    daemon.until_event("web", "incident_closed", Some("healed"));
    events.come_to(&name, "restart", 1);
    let said = home.iaso(&["probe", "web", "--config", home.config().to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    for step in ["api: passed", "request", "status", "body"] {
        assert!(said.out.contains(step), "{step} is not in {}", said.out);
    }
    daemon.stop();
    site.ask(&name, "/sick");
    let said = home.iaso(&["probe", "web", "--output", "json", "--config", home.config().to_str().unwrap()]);
    let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &document["passed"]), (1, &false.into()), "{said:?}");
    assert_eq!((&document["checks"][0]["name"], &document["checks"][0]["result"]), (&"api".into(), &"failed".into()));
    let said = home.iaso(&["probe", "web", "--config", home.config().to_str().unwrap()]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("FAILED") && said.out.contains("500"), "{}", said.out);
    let said = home.iaso(&["probe", "nobody", "--config", home.config().to_str().unwrap()]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("watched services: web"), "{}", said.err);
    let said = home.iaso(&["probe", "wbe", "--config", home.config().to_str().unwrap()]);
    assert!(said.code == 1 && said.err.contains("did you mean web?"), "{said:?}");
}

fn a_wrong_new_check_never_restarts_a_healthy_service() {
    let site = Site::shared();
    let target = Target::new(Manner::Garbage);
    let url = format!("http://127.0.0.1:{}/", target.port);
    let check = service(&site, "web", &url, "failure_threshold = 1");
    let home = Home::new(&site, &Settings { more: SETTINGS.to_owned() + &check, ..Settings::default() });
    let events = site.events();
    let name = site.patient("web", &["--network=none"], &[]);
    let daemon = home.start(&[]);
    daemon.until_event("web", "held", Some("never_succeeded"));
    let failed = || daemon.metric("iaso_checks_total", &[("service", "web"), ("result", "failed")]);
    until("it has failed often", || (failed() >= Some(8.0)).then_some(()));
    daemon.until_explained("web", &["is degraded", "never_succeeded", "it has never passed"]);
    events.are(&name, &["create", "start"]);
    // Once it has passed, it may.
    target.behave(Manner::Well("up"));
    daemon.until_health("web", "healthy");
    target.behave(Manner::Garbage);
    until("it restarts it", || (events.count(&name, "restart") > 0).then_some(()));
    daemon.stop();
}
