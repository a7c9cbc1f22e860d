use iaso_policy::input::EngineHealth;
use iaso_policy::time::{Boot, Wall};

use super::*;

const HOST: HostId = HostId(0);
const RUNNING: ContainerState = ContainerState::Running(EngineHealth::None);

fn fleet() -> Fleet {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[services.web]\ncontainer = \"web\"\n").unwrap();
    let config = crate::config::load(Some(file.path()), &|_| None).unwrap().config;
    Fleet::new(Arc::new(config), None)
}

fn detail(state: ContainerState, started: i64) -> ContainerDetail {
    ContainerDetail {
        id: ContainerId::new(&"a".repeat(64)).unwrap(),
        name: "web".to_owned(),
        image: "web:1".to_owned(),
        labels: BTreeMap::new(),
        state,
        started,
        finished: 0,
        oom_killed: false,
        restart: iaso_policy::input::RestartPolicy::No,
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

/// What is told of an event after which the container is found in this state.
fn told(fleet: &mut Fleet, action: EventAction, found: ContainerState, at: i64) -> Vec<Input> {
    let detail = detail(found, if found == ContainerState::Created { 0 } else { 5 });
    let event = EngineEvent { container: detail.id.clone(), name: None, labels: BTreeMap::new(), time: 6, action };
    let now = Now { mono: Mono(at), wall: Wall(at), boot: Boot(1) };
    fleet.event(HOST, &event, Some(detail), Mono(at), now).inputs
}

fn is_change(input: &Input) -> bool {
    matches!(input, Input::Change { .. })
}

#[test]
fn a_creation_is_waited_for_only_until_the_container_was_started() {
    assert!(told(&mut fleet(), EventAction::Create, ContainerState::Created, 1).iter().any(is_change));
    for found in [RUNNING, ContainerState::Exited(3)] {
        let inputs = told(&mut fleet(), EventAction::Create, found, 1);
        assert!(!inputs.iter().any(is_change), "{inputs:?}");
    }
    assert!(told(&mut fleet(), EventAction::Rename, RUNNING, 1).iter().any(is_change));
}

#[test]
fn one_that_was_started_is_seen_running_however_short_its_life() {
    let mut fleet = fleet();
    told(&mut fleet, EventAction::Create, ContainerState::Created, 1);
    let inputs = told(&mut fleet, EventAction::Start, ContainerState::Exited(3), 2);
    let ran = |input: &Input| matches!(input, Input::Seen { sight, .. } if matches!(sight.state, State::Running(_)));
    assert!(inputs.iter().any(ran), "{inputs:?}");
    let inputs = told(&mut fleet, EventAction::Die(3), ContainerState::Exited(3), 3);
    let died = |input: &Input| matches!(input, Input::Seen { sight, .. } if sight.state == State::Exited { code: 3, witness: Witness::Event });
    assert!(inputs.iter().any(died), "{inputs:?}");
}
