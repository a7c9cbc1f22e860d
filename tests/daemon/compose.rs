//! Who needs whom as Compose, labels and the engine tell it, on real containers.

use std::fs;
use std::path::Path;
use std::process::Command;

use iaso::engine::image;
use libtest_mimic::Trial;

use crate::daemon::{Daemon, Home, Settings, message};
use crate::site::Site;
use crate::support::{Need, test};
use crate::{scratch, until};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($needs:expr; $($name:ident),+ $(,)?) => {
            [$(test(concat!("compose::", stringify!($name)), $needs, || { $name(); Ok(()) })),+]
        };
    }
    let labelled = suite![
        &[Need::Engine];
        what_compose_2_tells_is_waited_for,
        who_lives_in_the_network_of_another_follows_its_restart,
        a_circle_of_labels_is_told_and_holds_nobody,
    ];
    let composed = suite![
        &[Need::Engine, Need::Program("docker-compose")];
        a_stack_of_compose_1_is_known_by_its_file,
        what_compose_1_replaces_is_left_alone,
    ];
    labelled.into_iter().chain(composed).collect()
}

const NONE: &str = "--network=none";

/// The services that were operated on, in order.
fn begun(daemon: &Daemon) -> Vec<String> {
    daemon.attempts().iter().map(|line| line["service"].as_str().unwrap().to_owned()).collect()
}

fn what_compose_2_tells_is_waited_for() {
    let site = Site::shared();
    let project = site.name("shop");
    let labels = |service: &str, depends_on: &str| {
        [
            format!("--label=com.docker.compose.project={project}"),
            format!("--label=com.docker.compose.service={service}"),
            format!("--label=com.docker.compose.depends_on={depends_on}"),
        ]
    };
    let [a, b, c] = labels("job", "");
    let job = site.patient("job", &[NONE, "--label=iaso.enable=no", &a, &b, &c], &[]);
    let [a, b, c] = labels("db", "");
    let db = site.checked_patient("db", &[NONE, &a, &b, &c], &[]);
    let [a, b, c] = labels("api", "db:service_healthy:false,job:service_completed_successfully:false");
    let api = site.checked_patient("api", &[NONE, &a, &b, &c], &[]);
    // This one is well, and follows when the database is healed.
    let [a, b, c] = labels("page", "db:service_healthy:true");
    let page = site.checked_patient("page", &[NONE, &a, &b, &c], &[]);
    // It has not done its work.
    site.ask(&job, "/exit?code=1");
    until("the job has ended", || (!site.runs(&job)).then_some(()));

    let home = Home::new(&site, &Settings::default());
    let daemon = home.start(&[]);
    let events = site.events();
    let [db_service, api_service, page_service] = ["db", "api", "page"].map(|short| format!("{project}-{short}"));
    for service in [&db_service, &api_service, &page_service] {
        daemon.until_health(service, "healthy");
    }
    assert_eq!(home.iaso(&["pause", &db_service]).code, 0);
    site.ask(&db, "/sick");
    daemon.until_event(&db_service, "held", Some("paused"));
    site.ask(&api, "/sick");
    daemon.until_explained(&api_service, &["dependency", &format!("It waits for {db_service}")]);
    assert_eq!(home.iaso(&["resume", &db_service]).code, 0);
    daemon.until_event(&db_service, "incident_closed", Some("healed"));
    // Nobody watches the job, and the engine knows how it ended.
    until("only the job is waited for", || {
        let said = daemon.explain(&api_service);
        let names = |name: &str| said.contains(&format!("It waits for {name}"));
        (said.contains("dependency") && names(&job) && !names(&db_service)).then_some(())
    });
    daemon.until_event(&page_service, "incident_closed", Some("healed"));
    assert_eq!(begun(&daemon), [&*db_service, &page_service]);
    site.docker(&["start", &job]);
    site.ask(&job, "/exit?code=0");
    daemon.until_event(&api_service, "incident_closed", Some("healed"));
    assert_eq!(begun(&daemon), [db_service, page_service, api_service]);
    events.come_to(&page, "restart", 1);
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
}

fn who_lives_in_the_network_of_another_follows_its_restart() {
    let site = Site::shared();
    let vpn = site.patient("vpn", &[], &[]);
    let app = site.patient("app", &[&format!("--network=container:{vpn}")], &["--port", "0"]);
    let home = Home::new(&site, &Settings::default());
    let events = site.events();
    let daemon = home.start(&[]);
    for service in [&vpn, &app] {
        daemon.until_health(service, "healthy");
    }
    let reaches = || {
        let probe = ["patient", "--probe", "http://127.0.0.1:8080/health"];
        site.try_docker(&[&["exec", &app, image::EXECUTABLE], &probe[..]].concat()).is_ok()
    };
    until("they share a network", || reaches().then_some(()));
    site.ask(&vpn, "/exit?code=3");
    daemon.until_event(&vpn, "incident_closed", Some("healed"));
    daemon.until_event(&app, "incident_closed", Some("healed"));
    until("they share a network again", || reaches().then_some(()));
    assert_eq!(begun(&daemon), [&*vpn, &app]);
    events.come_to(&app, "restart", 1);
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
}

fn a_circle_of_labels_is_told_and_holds_nobody() {
    let site = Site::shared();
    let needs = |short: &str| format!("--label=iaso.depends_on={}", site.name(short));
    let one = site.checked_patient("one", &[NONE, &needs("two")], &[]);
    let two = site.checked_patient("two", &[NONE, &needs("one")], &[]);
    let home = Home::new(&site, &Settings::default());
    let daemon = home.start(&[]);
    for service in [&one, &two] {
        daemon.until_health(service, "healthy");
    }
    site.ask(&one, "/sick");
    site.ask(&two, "/sick");
    for service in [&one, &two] {
        daemon.until_event(service, "incident_closed", Some("healed"));
    }
    let told = daemon.lines().into_iter().filter(|line| message(line).contains("need each other in a circle"));
    let told: Vec<String> = told.map(|line| message(&line).to_owned()).collect();
    assert!(told.len() == 1 && told[0].contains(&one) && told[0].contains(&two), "{told:?}");
    daemon.stop();
}

/// Five services; none of them has a network of its own beside that of `api`.
const STACK: &str = "\
version: \"2.4\"
x-all: &all
  image: IMAGE
  command: patient
  network_mode: none
  labels:
    iaso-test.run: RUN
services:
  db:
    <<: *all
  cache:
    <<: *all
  api:
    <<: *all
    depends_on:
      db:
        condition: service_healthy
      cache:
        condition: service_started
  worker:
    <<: *all
    depends_on: [api]
  sidecar:
    <<: *all
    network_mode: service:api
    command: [patient, --port, \"0\"]
    healthcheck: {disable: true}
";

/// `docker-compose` on the project in this folder.
fn compose(site: &Site, project: &str, folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("docker-compose");
    command.args(["-H", &site.engine, "-p", project]).args(arguments).current_dir(folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn a_stack_of_compose_1_is_known_by_its_file() {
    let site = Site::shared();
    let (project, folder) = (site.name("stack"), scratch());
    let stack = STACK.replace("IMAGE", &site.image("checked")).replace("RUN", &site.run);
    fs::write(folder.path().join("docker-compose.yml"), stack).unwrap();
    compose(&site, &project, folder.path(), &["up", "-d"]);
    let container = |service: &str| format!("{project}_{service}_1");
    let service = |service: &str| format!("{project}-{service}");
    let labels = site.inspect(&container("api"), ".Config.Labels");
    assert!(labels.contains("com.docker.compose.project.config_files") && !labels.contains("depends_on"), "{labels}");

    let home = Home::new(&site, &Settings::default());
    let daemon = home.start(&[]);
    for short in ["db", "cache", "api", "worker", "sidecar"] {
        daemon.until_health(&service(short), "healthy");
    }
    let events = site.events();
    assert_eq!(home.iaso(&["pause", &service("db")]).code, 0);
    site.ask(&container("db"), "/sick");
    daemon.until_event(&service("db"), "held", Some("paused"));
    for short in ["worker", "api"] {
        site.ask(&container(short), "/sick");
        daemon.until_explained(&service(short), &["dependency", &format!("It waits for {}", service("db"))]);
    }
    // What needs nothing does not wait.
    site.ask(&container("cache"), "/sick");
    daemon.until_event(&service("cache"), "incident_closed", Some("healed"));
    assert_eq!(home.iaso(&["resume", &service("db")]).code, 0);
    for short in ["db", "api", "worker", "sidecar"] {
        daemon.until_event(&service(short), "incident_closed", Some("healed"));
    }
    let order = begun(&daemon);
    assert_eq!(order[..3], [service("cache"), service("db"), service("api")]);
    let mut last = order[3..].to_vec();
    last.sort();
    assert_eq!(last, [service("sidecar"), service("worker")], "one needs it, and one lives in its network");
    for short in ["db", "cache", "api", "worker", "sidecar"] {
        events.come_to(&container(short), "restart", 1);
    }
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
}

fn what_compose_1_replaces_is_left_alone() {
    let site = Site::shared();
    let (project, folder) = (site.name("deployed"), scratch());
    let deploy = |image: &str| {
        let stack = format!(
            "version: \"2.4\"\nservices:\n  web:\n    image: {}\n    command: patient\n    network_mode: none\n    \
             restart: always\n    labels: {{ iaso-test.run: \"{}\" }}\n",
            site.image(image),
            site.run
        );
        fs::write(folder.path().join("docker-compose.yml"), stack).unwrap();
        compose(&site, &project, folder.path(), &["up", "-d"]);
    };
    deploy("1");
    let (container, service) = (format!("{project}_web_1"), format!("{project}-web"));
    let first = site.inspect(&container, ".Id");
    let home = Home::new(&site, &Settings::default());
    let daemon = home.start(&[]);
    daemon.until_health(&service, "healthy");
    let events = site.events();
    deploy("checked");
    assert_ne!(site.inspect(&container, ".Id"), first, "it was replaced");
    assert_eq!(site.inspect(&container, ".Config.Image"), site.image("checked"));
    daemon.until_event(&service, "held", Some("planned_change"));
    let second = site.inspect(&container, ".Id");
    daemon.until_explained(&service, &[&second[..12]]);
    daemon.until_health(&service, "healthy");
    assert_eq!(begun(&daemon), Vec::<String>::new());
    events.catch_up();
    assert_eq!(events.count(&container, "restart"), 0);
    assert_eq!(daemon.count(&service, "incident_opened"), 0);
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    daemon.stop();
}
