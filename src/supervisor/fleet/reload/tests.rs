use std::collections::BTreeMap;

use iaso_policy::id::CheckId;
use iaso_policy::input::{Sight, State};
use iaso_policy::time::{Boot, Mono, Wall};

use super::*;
use crate::config;
use crate::engine::scripted::running;
use crate::engine::{ContainerDetail, EngineEvent, EventAction};
use crate::probe::address::EngineSite;
use crate::supervisor::plan::plan;

const HOST: HostId = HostId(0);
const WEB: ServiceId = ServiceId(0);

fn now(mono: i64) -> Now {
    Now { mono: Mono(mono), wall: Wall(1_000_000 + mono), boot: Boot(1) }
}

fn configured(text: &str) -> Arc<Config> {
    let text = format!("hosts.local.url = 'unix:///none'\n{text}");
    Arc::new(config::decode("iaso.toml", &text, &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}")))
}

fn service(name: &str, container: &str, checks: &[(&str, &str)]) -> String {
    let checks = checks.iter().map(|(check, path)| {
        format!("[[services.{name}.checks]]\nname = '{check}'\ntype = 'http'\nurl = 'http://{{address}}/{path}'\n")
    });
    format!("[services.{name}]\ncontainer = '{container}'\n{}", checks.collect::<String>())
}

/// A container that runs; the digit is its id.
fn container(digit: char, name: &str, labels: &[(&str, &str)]) -> ContainerDetail {
    ContainerDetail {
        name: name.to_owned(),
        image: "web:1".to_owned(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..running(ContainerId::new(&digit.to_string().repeat(64)).unwrap(), 1_000_000_000_000)
    }
}

/// A fleet that has listed these containers at 5 s.
fn fleet(text: &str, containers: Vec<ContainerDetail>) -> Fleet {
    let mut fleet = Fleet::new(configured(text), None);
    fleet.listed(HOST, containers, Mono(5_000), now(5_100));
    fleet
}

fn reload(fleet: &mut Fleet, text: &str) -> Vec<Input> {
    fleet.reload(configured(text), now(9_000)).inputs
}

fn names(fleet: &Fleet) -> Vec<(&str, &str)> {
    let declared = fleet.services.iter().filter(|watched| watched.declared);
    declared.map(|watched| (&*watched.subject.name, watched.subject.identity.as_str())).collect()
}

#[test]
fn nothing_is_said_of_what_is_as_it_was() {
    let text = service("web", "web", &[("api", "a")]);
    let mut fleet = fleet(&text, vec![container('a', "web", &[]), container('b', "other", &[])]);
    let news = fleet.reload(configured(&text), now(9_000));
    assert_eq!((news.inputs, news.replan), (vec![], vec![]));
    let news =
        fleet.reload(configured(&(text + "[api]\nlisten = '127.0.0.1:1'\n[defaults]\ninterval = '7s'\n")), now(9_000));
    // The service of the file inherits the interval; nobody asks for the other container.
    assert!(matches!(&news.inputs[..], [Input::Define { service: WEB, .. }]), "{:?}", news.inputs);
    assert_eq!(news.replan, [WEB]);
}

#[test]
fn one_that_is_newly_watched_is_told_as_old_as_it_is_known() {
    let mut fleet = fleet("", vec![container('a', "web", &[])]);
    let died = EngineEvent {
        time: 1_000_000_000_001,
        container: container('a', "web", &[]).id,
        name: Some("web".to_owned()),
        labels: BTreeMap::new(),
        action: EventAction::Die(3),
    };
    fleet.event(HOST, &died, None, Mono(8_000), now(8_000));
    let told = reload(&mut fleet, &service("web", "web", &[]));
    let [Input::Define { .. }, Input::Described { .. }, Input::Seen { sight: Sight { began, state, .. }, .. }] =
        told[..]
    else {
        panic!("{told:?}")
    };
    // What happened since, and waits to be heard, is news.
    assert_eq!(began, Mono(8_000));
    assert!(matches!(state, State::Exited { code: 3, .. }));
}

#[test]
fn one_that_is_no_longer_watched_is_forgotten_once_and_comes_back_as_the_same() {
    let text = service("web", "web", &[]);
    let mut fleet = fleet(&text, vec![container('a', "web", &[])]);
    assert_eq!(reload(&mut fleet, ""), [Input::Forget { service: WEB }]);
    assert_eq!((fleet.named("web"), fleet.service_of(HOST, &container('a', "web", &[]).id)), (None, None));
    assert_eq!(reload(&mut fleet, "discovery.enabled = false"), []);
    let back = reload(&mut fleet, &text);
    assert!(
        matches!(&back[..], [Input::Define { service: WEB, .. }, Input::Described { .. }, Input::Seen { .. }]),
        "{back:?}"
    );
    assert_eq!(fleet.named("web"), Some(WEB));
}

#[test]
fn names_that_change_hands_are_free_for_each_other() {
    let of = |a, b| service("a", a, &[]) + &service("b", b, &[]);
    let mut fleet = fleet(&of("one", "two"), vec![container('a', "one", &[]), container('b', "two", &[])]);
    assert_eq!(names(&fleet), [("a", "local//one"), ("b", "local//two")]);
    reload(&mut fleet, &of("two", "one"));
    assert_eq!(names(&fleet), [("b", "local//one"), ("a", "local//two")]);
    // And so is that of one which is watched no more.
    reload(&mut fleet, &service("a", "one", &[]));
    assert_eq!(names(&fleet), [("a", "local//one")]);
}

#[test]
fn results_of_what_a_check_was_before_are_not_its_own() {
    let checks = |checks| service("web", "web", checks);
    let mut fleet = fleet(&checks(&[("one", "1"), ("two", "2"), ("three", "3")]), vec![container('a', "web", &[])]);
    let name = |fleet: &Fleet, number, began| fleet.check(WEB, CheckId(number), Mono(began)).map(ToString::to_string);
    assert_eq!(name(&fleet, 1, 1), Some("two".to_owned()));
    reload(&mut fleet, &checks(&[("one", "1"), ("two", "other"), ("four", "3")]));
    // The first is the same, the second another by its definition, the third by its name.
    assert_eq!([0, 1, 2].map(|number| name(&fleet, number, 9_000)), [Some("one".to_owned()), None, None]);
    assert_eq!([1, 2].map(|number| name(&fleet, number, 9_001)), [Some("two".to_owned()), Some("four".to_owned())]);
    reload(&mut fleet, &checks(&[("one", "1")]));
    assert_eq!(name(&fleet, 1, 9_001), None);
}

#[test]
fn a_ping_is_waited_for_only_since_somebody_listens() {
    let beat = |age: &str, interval: &str| {
        let check = "[[services.web.checks]]\nname = 'beat'\ntype = 'heartbeat'";
        format!("[services.web]\ncontainer = 'web'\n{check}\nmax_age = '{age}'\ninterval = '{interval}'\n")
    };
    let since = |fleet: &Fleet| plan(fleet, WEB, &EngineSite::Local)[0].since;
    let mut web = container('a', "web", &[]);
    let mut fleet = fleet(&beat("5m", "30s"), vec![web.clone()]);
    assert_eq!(since(&fleet), Mono(5_100));
    reload(&mut fleet, &beat("5m", "7s"));
    assert_eq!(since(&fleet), Mono(5_100), "it was listened to all the while");
    reload(&mut fleet, &beat("1m", "7s"));
    assert_eq!(since(&fleet), Mono(9_000), "another age was promised");
    reload(&mut fleet, "");
    fleet.reload(configured(&beat("1m", "7s")), now(12_000));
    assert_eq!(since(&fleet), Mono(12_000), "its pings were turned away meanwhile");
    web.started += 20_000_000_000;
    fleet.listed(HOST, vec![web], Mono(20_000), now(20_000));
    assert_eq!(since(&fleet), Mono(20_000), "another life");
}

#[test]
fn a_service_without_a_container_goes_only_when_the_file_lets_it_go() {
    let text = service("web", "web", &[]);
    let mut fleet = fleet(&text, vec![container('a', "web", &[])]);
    // It is being deployed: removed, and not there again yet.
    fleet.listed(HOST, vec![], Mono(6_000), now(6_000));
    assert_eq!(reload(&mut fleet, &(text + "[recovery]\nmax_concurrent = 1\n")), []);
    assert_eq!(reload(&mut fleet, &service("web", "web", &[("api", "a")])), []);
    assert_eq!(reload(&mut fleet, ""), [Input::Forget { service: WEB }]);
    assert_eq!(fleet.waiting().count(), 0);
}

#[test]
fn of_two_containers_that_are_one_service_the_one_that_stays_takes_over() {
    const REPLICA: [(&str, &str); 2] = [("com.docker.compose.project", "shop"), ("com.docker.compose.service", "web")];
    let marked = |more| [&REPLICA[..], &[("mark", more)]].concat();
    let containers = vec![container('a', "old", &marked("x")), container('b', "new", &marked("y"))];
    let text = |mark| format!("discovery.labels = ['mark=x', 'mark={mark}']");
    let mut fleet = fleet(&text("y"), containers);
    let held = fleet.services[0].container.clone().unwrap();
    assert_eq!(held, container('b', "new", &[]).id);
    let told = reload(&mut fleet, &text("z"));
    assert!(!told.iter().any(|input| matches!(input, Input::Forget { .. })), "{told:?}");
    assert_eq!(fleet.services[0].container, Some(container('a', "old", &[]).id));
    assert!(fleet.services[0].declared);
    assert_eq!(reload(&mut fleet, "discovery.labels = ['mark=z']"), [Input::Forget { service: WEB }]);
}
