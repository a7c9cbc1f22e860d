//! `iaso init` on an engine with containers of every kind. Other tests' containers may be there too: only its own are judged.

use std::fs;
use std::path::Path;
use std::process::Command;

use iaso::config::validated::{Config, Service, Target};
use libtest_mimic::Trial;

use crate::daemon::{Home, PROGRAM, Said, Settings};
use crate::site::Site;
use crate::support::{Need, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("init::what_runs_is_proposed_and_then_watched", &[Need::Engine], || {
            what_runs_is_proposed_and_then_watched();
            Ok(())
        }),
        test("init::an_engine_without_containers_gives_a_file_that_loads", &[Need::OwnEngine], || {
            an_engine_without_containers_gives_a_file_that_loads();
            Ok(())
        }),
    ]
}

const SECRET: &str = "hunter2-in-the-environment";

/// Runs `iaso init` into this file; what it wrote.
fn init(site: &Site, file: &Path) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(["init", "--host", &site.engine, "--output"]).arg(file).env_remove("DOCKER_HOST");
    let said = Said::of(&mut command);
    assert!(said.code == 0 && said.out.contains("iaso run --observe"), "{said:?}");
    fs::read_to_string(file).unwrap()
}

/// The configuration in a file, in which nothing is wrong.
fn loaded(file: &Path) -> Config {
    let loaded = iaso::config::load(Some(file), &iaso::config::Environment::new());
    let loaded = loaded.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    loaded.config
}

/// The one service whose containers are found so.
fn service<'a>(config: &'a Config, target: &Target) -> Option<&'a Service> {
    config.services.values().map(|service| &**service).find(|service| service.target == *target)
}

fn what_runs_is_proposed_and_then_watched() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    let named = |name: &str| Target::Container(name.to_owned());
    let project = format!("iaso-test-{}", site.run);
    let compose = |number: &str| {
        let labels = [("project", project.as_str()), ("service", "web"), ("container-number", number)];
        let labels = labels.map(|(key, value)| format!("--label=com.docker.compose.{key}={value}"));
        let flags: Vec<&str> = labels.iter().map(String::as_str).chain(["--network=none"]).collect();
        site.patient(&format!("web-{number}"), &flags, &[])
    };
    for number in ["1", "2"] {
        compose(number);
    }
    let odd = site.patient("odd_.-name.1", &["--network=none"], &[]);
    let open = site.patient("open", &["--publish=127.0.0.1::8080"], &[]);
    let checked = site.checked_patient("checked", &["--publish=127.0.0.1::8080"], &[]);
    let secret = format!("--env=PASSWORD={SECRET}");
    let labelled = site.patient(
        "labelled",
        &["--network=none", "--label=iaso.enable=true", &secret, &format!("--label=shop.key={SECRET}")],
        &[],
    );
    let brief = site.patient("brief", &["--network=none", "--rm"], &[]);
    let refuses = site.patient("refuses", &["--network=none", "--label=iaso.enable=off"], &[]);
    let task = site.patient("task", &["--network=none", "--label=com.docker.swarm.task.id=x"], &[]);
    let stopped = site.patient("stopped", &["--network=none"], &[]);
    site.docker(&["stop", "-t", "1", &stopped]);

    let file = home.path().join("proposed.toml");
    let text = init(&site, &file);
    let said = home.iaso(&["check", "--strict", "--config", file.to_str().unwrap()]);
    assert!(said.code == 0 && said.out.starts_with("ok: "), "{said:?}");
    let config = loaded(&file);
    let web = Target::Compose { project: project.clone(), service: "web".to_owned() };
    for target in [&web, &named(&odd), &named(&open), &named(&checked)] {
        assert!(service(&config, target).is_some(), "{target:?} is not in {text}");
    }
    for name in [&labelled, &brief, &refuses, &task, &stopped] {
        assert!(service(&config, &named(name)).is_none() && text.contains(name.as_str()), "{name}: {text}");
    }
    for (name, why) in [(&brief, "--rm"), (&refuses, "iaso.enable"), (&task, "orchestrator")] {
        let line = text.lines().find(|line| line.contains(&format!("{name}:"))).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(why), "{line}");
    }
    assert!(!text.contains(SECRET), "a secret is in {text}");
    let table = text.split("\n\n").find(|table| table.contains(&format!("container = \"{open}\""))).unwrap();
    assert!(table.contains("# url = \"http://{address}:8080/\""), "{table}");

    // It is run as it stands, but for the places that are the machine's own.
    let (data, socket) = (home.data().display(), home.socket());
    let places = format!(
        "[daemon]\ndata_dir = \"{data}\"\nsocket = \"{}\"\nlog = {{ level = \"info\", format = \"json\" }}\n\
         [api]\nlisten = \"127.0.0.1:0\"\n",
        socket.display()
    );
    fs::write(home.config(), format!("{text}\n{places}")).unwrap();
    let events = site.events();
    let daemon = home.start(&["--observe"]);
    for name in [&format!("{project}-web"), &format!("{project}-web-2"), &odd, &open, &checked, &labelled] {
        daemon.until_health(name, "healthy");
    }
    let status = home.iaso(&["status"]).out;
    for name in [&brief, &refuses, &task] {
        assert!(!status.contains(name.as_str()), "{name} is watched: {status}");
    }
    daemon.stop();
    events.catch_up();
    assert!(events.timed().is_empty(), "observing touched something: {:?}", events.all());
}

fn an_engine_without_containers_gives_a_file_that_loads() {
    let own = crate::wait(crate::own_dockerd::OwnDockerd::start());
    let dir = crate::scratch();
    let file = dir.path().join("iaso.toml");
    let engine = format!("unix://{}", own.socket().display());
    let mut command = Command::new(PROGRAM);
    let said = Said::of(command.args(["init", "--host", &engine, "--output"]).arg(&file));
    assert!(said.code == 0 && said.out.contains("0 services"), "{said:?}");
    assert!(loaded(&file).services.is_empty());
    assert!(fs::read_to_string(&file).unwrap().contains("No container ran"));
}
