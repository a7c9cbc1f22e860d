use iaso_policy::input::RestartPolicy;

use super::*;
use crate::system::clock::Clock;

fn container(state: ContainerState) -> ContainerDetail {
    ContainerDetail {
        id: ContainerId::new(&"a".repeat(64)).unwrap(),
        name: "web".to_owned(),
        image: "web:1".to_owned(),
        labels: BTreeMap::from([("iaso.enable".to_owned(), "true".to_owned())]),
        state,
        started: if state == ContainerState::Created { 0 } else { 100 },
        finished: 0,
        oom_killed: false,
        restart: RestartPolicy::No,
        restart_count: 0,
        auto_remove: false,
        healthcheck: None,
        stop_signal: 15,
        stop_grace: None,
        networks: BTreeMap::new(),
        network_mode: "bridge".to_owned(),
        ports: Vec::new(),
    }
}

fn fleet() -> Fleet {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = crate::config::load(Some(file.path()), &|_| None).unwrap().config;
    Fleet::new(Arc::new(config), None)
}

/// Whether a deployment is told of, and then what the container looks like.
fn order_of(news: &News) -> Vec<&'static str> {
    let word = |input: &Input| match input {
        Input::Change { .. } => Some("change"),
        Input::Seen { .. } => Some("seen"),
        _ => None,
    };
    news.inputs.iter().filter_map(word).collect()
}

#[test]
fn a_creation_that_is_heard_of_late_is_told_before_the_run_that_ends_it() {
    for state in [ContainerState::Created, ContainerState::Running(EngineHealth::None)] {
        let (mut fleet, now) = (fleet(), Clock::new().now());
        let detail = container(state);
        let event = EngineEvent {
            container: detail.id.clone(),
            name: None,
            labels: BTreeMap::new(),
            time: 100,
            action: EventAction::Create,
        };
        let news = fleet.event(HostId(0), &event, Some(detail), now.mono, now);
        assert_eq!(order_of(&news), ["change", "seen"], "{state:?}");
        assert!(matches!(news.inputs[0], Input::Define { .. }), "and after the service is known");
    }
}
