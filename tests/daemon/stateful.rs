//! What keeps data, a full disk under it, and what follows a service that was healed; on real containers.

use std::fs;

use libtest_mimic::Trial;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::daemon::{Home, Settings};
use crate::mount::Mount;
use crate::own_dockerd::OwnDockerd;
use crate::site::Site;
use crate::support::{Need, test};
use crate::{until, wait};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($needs:expr; $($name:ident),+ $(,)?) => {
            vec![$(test(concat!("stateful::", stringify!($name)), $needs, || { $name(); Ok(()) })),+]
        };
    }
    let mut tests = suite![
        &[Need::Engine];
        a_database_is_known_by_its_image_and_left_to_whoever_takes_it_over,
        what_needs_a_service_follows_it_in_order_once_it_is_healed,
    ];
    tests.extend(suite![
        &[Need::OwnEngine, Need::Root, Need::Program("mkfs.ext4"), Need::Program("mount")];
        a_full_disk_of_the_engine_holds_what_keeps_data_and_nothing_else,
    ]);
    tests
}

/// Another name of an image, gone when it is dropped.
struct Tag<'s>(&'s Site, String);

impl<'s> Tag<'s> {
    fn of(site: &'s Site, image: &str, name: &str) -> Self {
        let tag = format!("iaso-test-{}/{name}", site.run);
        site.docker(&["tag", &site.image(image), &tag]);
        Self(site, tag)
    }
}

impl Drop for Tag<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_docker(&["rmi", "-f", &self.1]);
    }
}

fn a_database_is_known_by_its_image_and_left_to_whoever_takes_it_over() {
    let site = Site::shared();
    let tag = Tag::of(&site, "checked", "postgres:16");
    let home = Home::new(&site, &Settings { recovery: "verify_stable = \"1s\"\n", ..Settings::default() });
    let events = site.events();
    let daemon = home.start(&[]);
    let (db, label) = (site.name("db"), site.label());
    let run = ["run", "--detach", "--name", &db, "--label", &label, "--network=none", &tag.1, "patient"];
    site.docker(&run);
    let web = site.checked_patient("web", &["--network=none"], &[]);
    for name in [&db, &web] {
        daemon.until_health(name, "healthy");
    }
    daemon.until_explained(&db, &["It keeps data"]);
    assert!(!daemon.explain(&web).contains("It keeps data"));

    site.ask(&db, "/sick");
    daemon.until_event(&db, "held", Some("notice"));
    until("it is taken over", || (home.iaso(&["ack", &db]).code == 0).then_some(()));
    daemon.until_explained(&db, &["nothing (notice", "nothing, until that changes"]);
    site.ask(&web, "/sick");
    until("the other is healed", || (daemon.count(&web, "incident_closed") == 1).then_some(()));
    events.catch_up();
    assert_eq!((events.count(&db, "restart"), events.count(&web, "restart")), (0, 1), "{:?}", events.all());
    // Whoever took it over restarts it themselves.
    assert_eq!(home.iaso(&["restart", &db]).code, 0);
    daemon.until_health(&db, "healthy");
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
}

fn what_needs_a_service_follows_it_in_order_once_it_is_healed() {
    let site = Site::shared();
    let none = "--network=none";
    let [db, api, web] = ["db", "api", "web"].map(|short| site.patient(short, &[none], &[]));
    let of = |short: &str, more: &str| format!("[services.{short}]\ncontainer = \"{}\"\n{more}\n", site.name(short));
    let more = [
        of("db", "recovery = { ladder = [\"restart\", \"restart-dependents\"] }"),
        of("api", "depends_on = [\"db\"]"),
        of("web", "depends_on = [\"api\"]"),
    ];
    let home = Home::new(&site, &Settings { more: more.concat(), discovery: false, ..Settings::default() });
    let events = site.events();
    let daemon = home.start(&[]);
    for service in ["db", "api", "web"] {
        daemon.until_health(service, "healthy");
    }
    site.ask(&db, "/exit?code=3");
    for service in ["db", "api", "web"] {
        until(&format!("{service} is healed"), || (daemon.count(service, "incident_closed") == 1).then_some(()));
    }
    events.catch_up();
    let starts: Vec<_> = events.timed().into_iter().filter(|event| event.action == "start").map(|it| it.name).collect();
    assert_eq!(starts, [db, api, web]);
    let healed = daemon.until_event("db", "incident_closed", Some("healed"));
    let attempts = daemon.attempts();
    let told: Vec<_> = attempts.iter().map(|line| (&line["service"], &line["reason"])).collect();
    assert_eq!(told[1..], [(&"api".into(), &"outlived".into()), (&"web".into(), &"outlived".into())]);
    assert!(healed["timestamp"].as_str() <= attempts[1]["timestamp"].as_str(), "not before it is healed: {attempts:?}");
    let api_healed = daemon.until_event("api", "incident_closed", Some("healed"));
    assert!(api_healed["timestamp"].as_str() <= attempts[2]["timestamp"].as_str(), "one after the other: {attempts:?}");
    daemon.stop();
}

/// What the test leaves free on the disk when it fills it: enough for an engine that works on.
const LEFT: u64 = 32 << 20;

fn a_full_disk_of_the_engine_holds_what_keeps_data_and_nothing_else() {
    let mount = Mount::ext4_of(2 << 30);
    let root = mount.at.join("data");
    let dockerd = wait(OwnDockerd::with(vec!["--data-root".to_owned(), root.display().to_string()]));
    let site = Site::own(&dockerd.socket());
    let more = "[recovery]\ndisk_full = \"64MiB\"\n".to_owned();
    let home = Home::new(&site, &Settings { more, ..Settings::default() });
    let daemon = home.start(&[]);
    let none = "--network=none";
    let db = site.patient("db", &[none, "--label=iaso.stateful=true"], &[]);
    let web = site.patient("web", &[none], &[]);
    for name in [&db, &web] {
        daemon.until_health(name, "healthy");
    }
    let full = || daemon.metric("iaso_engine_disk_full", &[("host", "local")]);
    assert_eq!(full(), Some(0.0));

    let disk = statvfs(&mount.at).unwrap();
    let filler = fs::File::create(mount.at.join("filler")).unwrap();
    fallocate(&filler, FallocateFlags::empty(), 0, disk.f_bavail * disk.f_frsize - LEFT).unwrap();
    until("the disk is told as full", || (full() == Some(1.0)).then_some(()));
    site.ask(&db, "/exit?code=3");
    daemon.until_event(&db, "held", Some("disk_full"));
    site.ask(&web, "/exit?code=3");
    until("the other is healed", || (daemon.count(&web, "incident_closed") == 1).then_some(()));
    assert!(!site.runs(&db));
    daemon.until_explained(&db, &["disk_full", "once there is room"]);
    let health = daemon.whole_health();
    assert_eq!(health["components"]["docker/local"]["status"], "degraded", "{health}");
    assert!(health["components"]["docker/local"]["message"].as_str().unwrap().contains("disk is full"), "{health}");

    drop(filler);
    fs::remove_file(mount.at.join("filler")).unwrap();
    until("it is healed", || (daemon.count(&db, "incident_closed") == 1).then_some(()));
    assert!(site.runs(&db));
    assert_eq!(full(), Some(0.0));
    let told = |event: &str| daemon.lines().iter().filter(|line| line["event"] == event).count();
    assert_eq!((told("disk_filled"), told("disk_freed")), (1, 1), "one alert for the host");
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
}
