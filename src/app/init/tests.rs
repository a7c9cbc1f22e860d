use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::config::validated::Target;
use crate::engine::Healthcheck;
use crate::engine::scripted::running;

fn container(name: &str, labels: &[(&str, &str)]) -> ContainerDetail {
    let number = name.bytes().fold(7_u128, |sum, byte| sum.wrapping_mul(31).wrapping_add(u128::from(byte)));
    ContainerDetail {
        name: name.to_owned(),
        image: "shop/web:1".to_owned(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..running(ContainerId::new(&format!("{number:064x}")).unwrap(), 1)
    }
}

fn replica(project: &str, service: &str, number: &str) -> ContainerDetail {
    let labels = [
        ("com.docker.compose.project", project),
        ("com.docker.compose.service", service),
        ("com.docker.compose.container-number", number),
        ("shop.password", "hunter2"),
    ];
    container(&format!("{project}-{service}-{number}"), &labels)
}

fn drafted(containers: Vec<ContainerDetail>) -> Proposal {
    let hosts = hosts(&["unix:///run/a.sock".to_owned()]).unwrap();
    draft(&hosts, vec![containers], None)
}

fn read(text: &str) -> Config {
    config::decode("iaso.toml", text, &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
}

/// The file with its proposals accepted: each commented line that is TOML becomes one.
fn accepted(text: &str) -> Config {
    let is_toml =
        |line: &str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let lines = text.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_toml(rest)).unwrap_or(line));
    read(&lines.collect::<Vec<&str>>().join("\n"))
}

#[test]
fn each_container_is_a_service_and_replicas_are_one() {
    let proposal = drafted(vec![
        replica("shop", "web", "2"),
        replica("shop", "web", "1"),
        container("cache", &[]),
        container("a.b_c-d", &[]),
    ]);
    let config = read(&proposal.text);
    let targets: Vec<(&str, &Target)> =
        config.services.iter().map(|(name, service)| (name.as_str(), &service.target)).collect();
    let web = Target::Compose { project: "shop".to_owned(), service: "web".to_owned() };
    let named = |name: &str| Target::Container(name.to_owned());
    assert_eq!(targets, [("a.b_c-d", &named("a.b_c-d")), ("cache", &named("cache")), ("shop-web", &web)]);
    assert!(proposal.text.contains("2 replicas"), "{}", proposal.text);
    assert_eq!((proposal.services, proposal.left_out), (3, 0));
    assert!(!proposal.text.contains("hunter2"), "a label's value is in it: {}", proposal.text);
}

#[test]
fn the_order_of_the_engine_does_not_matter() {
    let publishes = |port, container| ContainerDetail { ports: vec![(80, [0, 0, 0, 0].into(), port)], ..container };
    let mut containers = vec![
        publishes(32_768, replica("shop", "web", "1")),
        publishes(32_769, replica("shop", "web", "2")),
        container("cache", &[]),
        container("zoo", &[]),
    ];
    let one = drafted(containers.clone()).text;
    containers.reverse();
    assert_eq!(drafted(containers).text, one);
}

#[test]
fn two_services_of_one_name_keep_their_tables_apart() {
    let proposal = drafted(vec![replica("a-b", "c", "1"), replica("a", "b-c", "1"), container("a-b-c", &[])]);
    let config = read(&proposal.text);
    assert_eq!(config.services.len(), 3, "{}", proposal.text);
    assert_eq!(proposal.services, 3);
}

#[test]
fn what_is_never_a_target_is_left_out_and_told() {
    let state = |name, state| ContainerDetail { state, ..container(name, &[]) };
    let proposal = drafted(vec![
        ContainerDetail { auto_remove: true, ..container("brief", &[]) },
        container("task", &[("com.docker.swarm.task.id", "x")]),
        container("refuses", &[("iaso.enable", "No")]),
        container("once", &[("com.docker.compose.oneoff", "True")]),
        state("created", ContainerState::Created),
        state("dead", ContainerState::Dead),
        state("exited", ContainerState::Exited(0)),
        state("frozen", ContainerState::Paused),
        container("bad\n[services.evil]\ncontainer = \"x\"", &[]),
    ]);
    let config = read(&proposal.text);
    assert_eq!(config.services.keys().collect::<Vec<_>>(), ["frozen"]);
    for part in ["brief: it removes itself", "task: another orch", "refuses: its label", "once: it is a one-off"] {
        assert!(proposal.text.contains(part), "{part} is not in {}", proposal.text);
    }
    assert!(proposal.text.contains("bad\\n[services.evil]"), "{}", proposal.text);
    assert!(proposal.text.contains("did not run:\n#   exited\n"), "{}", proposal.text);
    assert_eq!((proposal.services, proposal.left_out), (1, 8));
}

#[test]
fn its_own_container_and_the_proxy_before_the_engine_are_left_out() {
    let own = container("iaso", &[]);
    let proxy = ContainerDetail {
        networks: BTreeMap::from([("net".to_owned(), vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9))])]),
        ..container("proxy", &[])
    };
    let published =
        ContainerDetail { ports: vec![(2375, IpAddr::V4(Ipv4Addr::LOCALHOST), 2399)], ..container("published", &[]) };
    for (address, left) in
        [("tcp://proxy:2375", "proxy"), ("tcp://10.0.0.9:2375", "proxy"), ("tcp://127.0.0.1:2399", "published")]
    {
        let hosts = hosts(&[address.to_owned()]).unwrap();
        let found = vec![own.clone(), proxy.clone(), published.clone()];
        let text = draft(&hosts, vec![found], Some(&own.id)).text;
        assert!(text.contains("#   iaso: Iaso itself runs in it"), "{text}");
        assert!(text.contains(&format!("#   {left}: Iaso reaches the engine through it")), "{text}");
        assert_eq!(read(&text).services.len(), 1, "{text}");
    }
}

#[test]
fn proposals_hold_once_they_are_accepted() {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let check = Healthcheck {
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        retries: 3,
        start_period: Duration::ZERO,
    };
    let ports = vec![(80, any, 8080), (80, "::".parse().unwrap(), 8080), (443, any, 8443), (5432, any, 5432)];
    let proposal = drafted(vec![
        ContainerDetail { ports: ports.clone(), ..container("web.1", &[]) },
        ContainerDetail { ports, healthcheck: Some(check), ..container("checked", &[]) },
        container("labelled", &[("iaso.enable", "true"), ("iaso.name", "nice")]),
        container("quiet", &[]),
    ]);
    let config = read(&proposal.text);
    assert_eq!(config.services.keys().collect::<Vec<_>>(), ["checked", "quiet", "web.1"], "{}", proposal.text);
    assert!(config.services.values().all(|service| service.checks.is_empty()));
    let config = accepted(&proposal.text);
    let checks: Vec<&str> = config.services["web.1"].checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(checks, ["port-80", "port-443", "port-5432"], "{}", proposal.text);
    for part in ["url = \"http://{address}:80/\"", "url = \"https://{address}:443/\"", "address = \"{address}:5432\""] {
        assert!(proposal.text.contains(part), "{part} is not in {}", proposal.text);
    }
    assert!(config.services["checked"].checks.is_empty() && config.services.contains_key("labelled"));
    for part in ["Its HEALTHCHECK is heeded", "watched already, as nice", "It publishes no port"] {
        assert!(proposal.text.contains(part), "{part} is not in {}", proposal.text);
    }
}

#[test]
fn known_applications_are_proposed_by_their_names() {
    let of = |name: &str, image: &str| ContainerDetail { image: image.to_owned(), ..container(name, &[]) };
    let text = drafted(vec![of("dashboards", "grafana/grafana:11"), of("db", "postgres:16"), of("web", "nginx")]).text;
    let config = accepted(&text);
    let checks = |name: &str| config.services[name].checks.len();
    assert_eq!((checks("dashboards"), checks("db"), checks("web")), (1, 1, 0), "{text}");
    assert_eq!(text.matches("It keeps data").count(), 1, "{text}");
}

#[test]
fn several_hosts_keep_their_services() {
    let hosts = hosts(&["unix:///run/a.sock".to_owned(), "tcp://10.0.0.9:2375".to_owned()]).unwrap();
    let text = draft(&hosts, vec![vec![container("db", &[])], vec![container("db", &[])]], None).text;
    let config = read(&text);
    let by_host: Vec<(&str, &str)> =
        config.services.values().map(|service| (service.name.as_str(), service.host.as_str())).collect();
    assert_eq!(by_host, [("db", "local"), ("db.2", "host2")], "{text}");
}

#[test]
fn an_empty_engine_gives_a_file_that_explains() {
    let proposal = drafted(Vec::new());
    assert!(read(&proposal.text).services.is_empty());
    assert!(proposal.text.contains("No container ran"), "{}", proposal.text);
    assert!(accepted(&proposal.text).services.contains_key("web"), "{}", proposal.text);
}

#[test]
fn an_address_that_is_none_is_a_mistake() {
    for address in ["", "foo", "unix://x", "unix:///run/a\"b\n.sock"] {
        let read = hosts(&[address.to_owned()]);
        let quoted_path = address.contains('"');
        assert_eq!(read.is_ok(), quoted_path, "{address:?}: {read:?}");
    }
}
