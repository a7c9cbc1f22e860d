//! Root first, on real containers.

use std::net::TcpListener;

use libtest_mimic::Trial;

use crate::daemon::{Home, Settings};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    vec![test("needs::a_database_that_fails_is_healed_before_anything_that_needs_it", &[Need::Engine], || {
        a_database_that_fails_is_healed_before_anything_that_needs_it();
        Ok(())
    })]
}

fn a_database_that_fails_is_healed_before_anything_that_needs_it() {
    let site = Site::shared();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let publish = format!("127.0.0.1:{port}:8080");
    let db = site.patient("db", &["--publish", &publish], &[]);
    let none = "--network=none";
    let (api, web) = (site.patient("api", &[none], &[]), site.patient("web", &[none], &[]));
    let own = site.checked_patient("own", &[none], &[]);

    // Two of them are well as long as the database answers; the third has an illness of its own. The database fails for long
    // before that counts as an outage, so that all of them are seen to wait for it at the same time.
    let asks = |short: &str, failures: u8, needs: &str| {
        format!(
            "[services.{short}]\ncontainer = \"{}\"\n{needs}\n[[services.{short}.checks]]\nname = \"db\"\ntype = \"http\"\n\
             url = \"http://127.0.0.1:{port}/\"\ninterval = \"1s\"\nfailure_threshold = {failures}\n\
             on_failure = \"heal\"\n",
            site.name(short)
        )
    };
    let services = [
        asks("db", 15, ""),
        asks("api", 1, "depends_on = [\"db\"]"),
        asks("web", 1, "depends_on = [\"api\"]"),
        format!("[services.own]\ncontainer = \"{own}\"\ndepends_on = [\"db\"]\n"),
    ];
    let more = format!("[recovery]\nquiet_start = \"0s\"\n{}", services.concat());
    let home = Home::new(
        &site,
        &Settings {
            more,
            recovery: "stop_timeout = \"1s\"\nverify_stable = \"4s\"\n",
            discovery: false,
            ..Settings::default()
        },
    );
    let events = site.events();
    let daemon = home.start(&[]);
    for service in ["db", "api", "web", "own"] {
        daemon.until_health(service, "healthy");
    }
    site.ask(&db, "/sick");
    until("its dependents are held", || {
        ["api", "web"].iter().all(|service| daemon.count(service, "held") > 0).then_some(())
    });
    site.ask(&own, "/sick");
    for service in ["api", "web", "own"] {
        daemon.until_explained(service, &["dependency", "It waits for db"]);
    }
    daemon.until_explained("db", &["Held until it is well: api, own, web."]);
    for service in ["db", "api", "web", "own"] {
        until("its outage is over", || (daemon.count(service, "incident_closed") == 1).then_some(()));
        daemon.until_health(service, "healthy");
    }
    let begun = daemon.attempts();
    let of: Vec<_> = begun.iter().map(|line| line["service"].as_str().unwrap()).collect();
    assert_eq!(of, ["db", "own"], "the root, then who is still broken, and nobody who got well by itself");
    let healed = daemon.until_event("db", "incident_closed", Some("healed"));
    assert!(healed["timestamp"].as_str() < begun[1]["timestamp"].as_str(), "not before the root is stable: {begun:?}");
    for (name, restarts) in [(&db, 1), (&own, 1), (&api, 0), (&web, 0)] {
        until("the engine has told", || (events.count(name, "restart") >= restarts).then_some(()));
        assert_eq!(events.count(name, "restart"), restarts, "{name}: {:?}", events.all());
    }
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
}
