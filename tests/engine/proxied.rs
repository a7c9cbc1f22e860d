//! A real engine behind Debian's HAProxy: what it lets through works, and what it denies is found out and named.

use std::path::Path;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptions;
use iaso::config::validated::HostAddress;
use iaso::engine::denied::ENDPOINTS;
use iaso::engine::docker::Docker;
use iaso::engine::{Change, Changed, Engine, EngineError};
use iaso::system::clock::Clock;
use iaso::system::resolver::Resolver;
use iaso::system::tasks::Tasks;
use libtest_mimic::Trial;

use crate::docker_rig::{DockerRig, block_on};
use crate::faults::Watched;
use crate::haproxy::{Haproxy, PROGRAM, documented};
use crate::rig::{Patient, Rig};
use crate::support::{Need, test};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("proxied::", stringify!($name)), &[Need::Engine, PROGRAM], || { block_on($name()); Ok(()) })),+]
        };
    }
    suite![
        the_documented_rules_let_everything_through_that_iaso_asks_for_and_nothing_else,
        what_the_rules_leave_out_is_named_with_what_it_costs,
        a_proxy_that_lets_nothing_through_is_named_too,
        plain_tcp_leads_to_the_engine,
    ]
}

const ENGINE: &str = "/var/run/docker.sock";

fn over(address: HostAddress) -> Docker {
    Docker::new(address, Resolver::system(Clock::new()), Tasks::new()).expect("a client")
}

fn behind(proxy: &Haproxy) -> Docker {
    over(HostAddress::Unix(proxy.socket()))
}

async fn the_documented_rules_let_everything_through_that_iaso_asks_for_and_nothing_else() {
    let rig = DockerRig::shared().await;
    let id = rig.make(Patient::default()).await;
    let proxy = Haproxy::start(&documented(), Path::new(ENGINE));
    let engine = behind(&proxy);
    for _ in 0..2 {
        assert_eq!(engine.denied().await, Ok(Vec::new()));
        // And once more with the version in each path.
        engine.hello().await.expect("hello");
    }
    let mut watched = Watched::over(std::sync::Arc::new(behind(&proxy)));
    watched.until_up().await;
    for change in [Change::Restart, Change::Signal(1), Change::Stop, Change::Start] {
        assert_eq!(engine.change(&id, &change, None).await, Ok(Changed::Done), "{change:?}");
    }
    watched.until_event(&id, iaso::engine::EventAction::Restart).await;
    let mut ran = engine.exec(&id, &rig.command(true), Duration::from_secs(60)).await;
    // Started anew, it may not serve at once.
    while ran.as_ref().is_ok_and(|ran| ran.code != 0) {
        ran = engine.exec(&id, &rig.command(true), Duration::from_secs(60)).await;
    }
    assert_eq!(ran.map(|ran| ran.code), Ok(0));
    let options = CreateContainerOptions { name: Some(rig.free_name()), ..Default::default() };
    let created = engine.client().create_container(Some(options), ContainerCreateBody::default()).await;
    assert!(created.is_err_and(|error| error.to_string().contains("403")));
}

async fn what_the_rules_leave_out_is_named_with_what_it_costs() {
    let rig = DockerRig::shared().await;
    let id = rig.make(Patient::default()).await;
    let rules = documented().replace("(start|restart|stop|kill)", "(start|restart)");
    let rules = rules.replace("    http-request allow if changes may_run\n", "");
    let proxy = Haproxy::start(&rules, Path::new(ENGINE));
    let engine = behind(&proxy);
    let denied: Vec<String> = engine.denied().await.expect("an engine").iter().map(ToString::to_string).collect();
    assert_eq!(
        denied,
        ["POST /containers/ID/stop", "POST /containers/ID/kill", "POST /containers/ID/exec", "POST /exec/ID/start"]
    );
    for change in [Change::Stop, Change::Signal(1), Change::Exec(rig.command(true))] {
        match engine.change(&id, &change, None).await {
            Err(EngineError::NotPermitted(why)) => assert!(!why.contains('<'), "its page is not quoted: {why}"),
            other => panic!("{change:?}: {other:?}"),
        }
    }
    assert_eq!(engine.change(&id, &Change::Restart, None).await, Ok(Changed::Done));
}

async fn a_proxy_that_lets_nothing_through_is_named_too() {
    let rules: String =
        documented().lines().filter(|line| !line.contains(" allow ")).map(|line| format!("{line}\n")).collect();
    let proxy = Haproxy::start(&rules, Path::new(ENGINE));
    let mut watched = Watched::over(std::sync::Arc::new(behind(&proxy)));
    let why = watched.until_down().await;
    assert!(why.contains("not permitted"), "{why}");
    let denied = watched
        .until("what is denied", |update| match update {
            iaso::engine::watch::Update::Denied(denied) => Some(denied),
            _ => None,
        })
        .await;
    assert_eq!(denied.len(), ENDPOINTS.len());
}

async fn plain_tcp_leads_to_the_engine() {
    let rig = DockerRig::shared().await;
    let id = rig.make(Patient::default()).await;
    // Nobody else has this address of the machine's own, so its port is free.
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = format!("127.77.{high}.{low}:2375");
    let rules = documented().replace("mode http\n", "mode tcp\n");
    let rules: String = rules
        .lines()
        .filter(|line| !line.contains("acl") && !line.contains("http-request"))
        .map(|line| format!("{line}\n"))
        .collect();
    let rules = rules.replace("frontend proxy\n", &format!("frontend proxy\n    bind {address}\n"));
    let _proxy = Haproxy::start(&rules, Path::new(ENGINE));
    let engine = over(HostAddress::Tcp(address.clone()));
    let mut watched = Watched::over(std::sync::Arc::new(over(HostAddress::Tcp(address))));
    watched.until_up().await;
    assert_eq!(engine.change(&id, &Change::Restart, None).await, Ok(Changed::Done));
    watched.until_event(&id, iaso::engine::EventAction::Restart).await;
    assert_eq!(engine.denied().await, Ok(Vec::new()));
}
