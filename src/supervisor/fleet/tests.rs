use iaso_policy::input::EngineHealth;
use iaso_policy::time::{Boot, Wall};

use super::*;
use crate::engine::scripted::{id, running};

const HOST: HostId = HostId(0);
const RUNNING: ContainerState = ContainerState::Running(EngineHealth::None);

fn fleet() -> Fleet {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[services.web]\ncontainer = \"web\"\n").unwrap();
    let config = crate::config::load(Some(file.path()), &BTreeMap::new()).unwrap().config;
    Fleet::new(Arc::new(config), None)
}

fn detail(state: ContainerState, started: i64) -> ContainerDetail {
    ContainerDetail { state, ..running(id('a'), started) }
}

/// What is told of an event after which the container is found in this state.
fn told(fleet: &mut Fleet, action: EventAction, found: ContainerState, at: i64) -> Vec<Input> {
    let detail = detail(found, if found == ContainerState::Created { 0 } else { 5 });
    // It started at 5.
    let time = if action == EventAction::Create { 4 } else { 6 };
    let event = EngineEvent { container: detail.id.clone(), name: None, labels: BTreeMap::new(), time, action };
    let now = Now { mono: Mono(at), wall: Wall(at), boot: Boot(1) };
    fleet.event(HOST, &event, Some(detail), Mono(at), now).inputs
}

fn is_change(input: &Input) -> bool {
    matches!(input, Input::Change { .. })
}

#[test]
fn a_creation_is_waited_for_only_until_the_container_was_started() {
    for found in [ContainerState::Created, RUNNING, ContainerState::Exited(3)] {
        let mut fleet = fleet();
        let inputs = told(&mut fleet, EventAction::Create, found, 1);
        assert!(inputs.iter().any(is_change), "{inputs:?}");
        // As if it had been asked for at once, however late the answer came.
        let seen: Vec<State> = inputs.iter().filter_map(seen).collect();
        assert_eq!(seen, [State::Created], "{found:?}");
    }
    assert!(told(&mut fleet(), EventAction::Rename, RUNNING, 1).iter().any(is_change));
}

/// What is seen of a container.
fn seen(input: &Input) -> Option<State> {
    if let Input::Seen { sight, .. } = input { Some(sight.state) } else { None }
}

/// Its creation is told with what it was when the engine answered at last, and the rest without.
#[test]
fn one_that_died_before_it_could_be_asked_for_is_seen_created_running_and_dead() {
    let mut fleet = fleet();
    told(&mut fleet, EventAction::Create, ContainerState::Exited(3), 1);
    let now = Now { mono: Mono(2), wall: Wall(2), boot: Boot(1) };
    let mut bare = |action, time| {
        let event = EngineEvent { container: id('a'), name: None, labels: BTreeMap::new(), time, action };
        fleet.event(HOST, &event, None, Mono(2), now).inputs.iter().find_map(seen)
    };
    assert_eq!(bare(EventAction::Start, 6), Some(State::Running(EngineHealth::None)));
    assert_eq!(bare(EventAction::Die(3), 7), Some(State::Exited { code: 3, witness: Witness::Event }));
}

/// The next event of the container is there before the answer to what it is: then its creation, or its renaming, is told
/// without.
#[test]
fn what_a_list_found_started_already_is_not_waited_for() {
    let bare = |action, at| EngineEvent {
        container: detail(RUNNING, 5).id,
        name: None,
        labels: BTreeMap::new(),
        time: at,
        action,
    };
    let now = Now { mono: Mono(1), wall: Wall(1), boot: Boot(1) };
    for found in [detail(RUNNING, 5), detail(ContainerState::Exited(3), 5)] {
        for action in [EventAction::Create, EventAction::Rename] {
            let mut fleet = fleet();
            fleet.listed(HOST, vec![found.clone()], Mono(1), now);
            let inputs = fleet.event(HOST, &bare(action, 4), None, Mono(2), now).inputs;
            assert!(!inputs.iter().any(is_change), "{action:?}: {inputs:?}");
        }
    }
    let mut fleet = fleet();
    fleet.listed(HOST, vec![detail(ContainerState::Created, 0)], Mono(1), now);
    let inputs = fleet.event(HOST, &bare(EventAction::Create, 4), None, Mono(2), now).inputs;
    assert!(inputs.iter().any(is_change), "one that is to be started is waited for: {inputs:?}");
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

#[test]
fn the_proxy_that_iaso_talks_through_is_never_a_target() {
    let exempt = |url: &str, change: fn(&mut ContainerDetail)| {
        let text = format!("[hosts.local]\nurl = \"{url}\"\n[services.web]\ncontainer = \"web\"\n");
        let config = crate::config::decode("iaso.toml", &text, &|_| None).unwrap();
        let label = |key: &str, value: &str| (format!("com.docker.compose.{key}"), value.to_owned());
        let own = ContainerDetail {
            id: ContainerId::new(&"b".repeat(64)).unwrap(),
            name: "iaso".to_owned(),
            labels: [label("project", "shop"), label("service", "iaso")].into(),
            ..detail(RUNNING, 5)
        };
        let mut fleet = Fleet::new(Arc::new(config), Some(own.id.clone()));
        let mut found = detail(RUNNING, 5);
        found.labels = [label("project", "shop"), label("service", "front")].into();
        change(&mut found);
        let now = Now { mono: Mono(1), wall: Wall(1), boot: Boot(1) };
        let inputs = fleet.listed(HOST, vec![own, found], Mono(1), now).inputs;
        inputs.into_iter().find_map(|input| match input {
            Input::Described { container, .. } => Some(container.exempt),
            _ => None,
        })
    };
    let itself = Some(Some(iaso_policy::input::Exempt::Itself));
    assert_eq!(exempt("tcp://web:2375", |_| ()), itself, "by its name");
    assert_eq!(exempt("tcp://front:2375", |_| ()), itself, "by its service");
    let elsewhere =
        |found: &mut ContainerDetail| _ = found.labels.insert("com.docker.compose.project".into(), "x".into());
    assert_eq!(exempt("tcp://front:2375", elsewhere), Some(None), "another project's service");
    let addressed = |found: &mut ContainerDetail| _ = found.networks.insert("n".into(), vec![[10, 0, 0, 2].into()]);
    assert_eq!(exempt("tcp://10.0.0.2:2375", addressed), itself, "by its address");
    let published = |found: &mut ContainerDetail| found.ports.push((2375, [127, 0, 0, 1].into(), 9999));
    assert_eq!(exempt("tcp://127.0.0.1:9999", published), itself, "by its published port");
    assert_eq!(exempt("tcp://127.0.0.1:2375", published), Some(None));
    assert_eq!(exempt("unix:///var/run/docker.sock", |_| ()), Some(None));
}

#[test]
fn a_label_takes_no_name_of_the_file_s_whichever_container_comes_first() {
    let mut fleet = fleet();
    let now = Now { mono: Mono(1), wall: Wall(1), boot: Boot(1) };
    let labels = [("iaso.enable", "true"), ("iaso.name", "web")];
    let impostor = ContainerDetail {
        id: ContainerId::new(&"b".repeat(64)).unwrap(),
        name: "impostor".to_owned(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..detail(RUNNING, 5)
    };
    fleet.listed(HOST, vec![impostor, detail(RUNNING, 5)], Mono(1), now);
    let named = |name| fleet.named(name).map(|id| fleet.service(id).unwrap().subject.identity.to_string());
    assert_eq!(named("web").as_deref(), Some("local//web"));
    assert_eq!(named("web-impostor").as_deref(), Some("local//impostor"));
}

#[test]
fn what_keeps_data_goes_by_the_image_of_the_container_that_it_is_now() {
    let mut fleet = fleet();
    let now = Now { mono: Mono(1), wall: Wall(1), boot: Boot(1) };
    let of = |number: &str, image: &str, started| ContainerDetail {
        id: ContainerId::new(&number.repeat(64)).unwrap(),
        image: image.to_owned(),
        ..detail(RUNNING, started)
    };
    let mut stateful = |container: ContainerDetail| {
        let inputs = fleet.listed(HOST, vec![container], Mono(1), now).inputs;
        inputs.into_iter().find_map(|input| match input {
            Input::Define { spec, .. } => Some(spec.stateful),
            _ => None,
        })
    };
    assert_eq!(stateful(of("a", "postgres:16", 5)), Some(true));
    assert_eq!(stateful(of("b", "postgres:17", 6)), None, "another version is no other definition");
    assert_eq!(stateful(of("c", "nginx", 7)), Some(false));
}

const HOUR: i64 = 3_600_000_000_000;

/// What happens to a container whose life began at three o'clock by its engine, and is known for ten minutes on Iaso's clock.
struct SetBack(Fleet);

impl SetBack {
    fn new() -> Self {
        let mut fleet = fleet();
        fleet.listed(HOST, vec![detail(RUNNING, 3 * HOUR)], Mono(1), Self::now(1));
        Self(fleet)
    }

    fn now(mono: i64) -> Now {
        Now { mono: Mono(mono), wall: Wall(mono), boot: Boot(1) }
    }

    fn event(&mut self, action: EventAction, stamp: i64, at: i64) -> Vec<Sight> {
        let event = EngineEvent { container: id('a'), name: None, labels: BTreeMap::new(), time: stamp, action };
        Self::sights(self.0.event(HOST, &event, None, Mono(at), Self::now(at)))
    }

    fn look(&mut self, state: ContainerState, started: i64, at: i64) -> Vec<Sight> {
        Self::sights(self.0.looked(HOST, &id('a'), Some(detail(state, started)), Mono(at), Self::now(at)))
    }

    fn sights(news: News) -> Vec<Sight> {
        let sight = |input| if let Input::Seen { sight, .. } = input { Some(sight) } else { None };
        news.inputs.into_iter().filter_map(sight).collect()
    }
}

#[test]
fn a_death_is_noticed_though_its_engine_s_clock_was_set_back_by_hours() {
    let mut container = SetBack::new();
    // Soon after the list, what came before that life may still be on its way.
    assert_eq!(container.event(EventAction::Die(1), HOUR, 2_000).len(), 0);
    let died = container.event(EventAction::Die(1), HOUR, 600_000);
    assert_eq!(died[0].state, State::Exited { code: 1, witness: Witness::Event });
}

#[test]
fn a_life_that_begins_after_the_clock_was_set_back_is_another() {
    let states = |sights: &[Sight]| sights.iter().map(|sight| sight.state).collect::<Vec<_>>();
    let running = [State::Running(EngineHealth::None)];
    for by_event in [true, false] {
        let mut container = SetBack::new();
        let first = container.event(EventAction::Die(1), HOUR, 600_000)[0].instance;
        let started = if by_event {
            container.event(EventAction::Start, HOUR + 7, 601_000)
        } else {
            container.look(RUNNING, HOUR + 5, 601_000)
        };
        assert_eq!(states(&started), running, "by an event: {by_event}");
        let second = started[0].instance;
        assert!(second.started > first.started && started[0].since > Mono(1), "by an event: {by_event}");
        // A look that confirms it begins none, nor does one that was asked for before it.
        assert_eq!(container.look(RUNNING, HOUR + 5, 602_000)[0].instance, second);
        assert!(container.look(RUNNING, 3 * HOUR, 600_500).iter().all(|sight| sight.instance == second));
        assert_eq!(container.look(RUNNING, HOUR + 5, 700_000)[0].instance, second);
        // Nor is its own death, or the next life, missed.
        assert_eq!(container.event(EventAction::Die(2), 2 * HOUR, 701_000)[0].instance, second);
        let third = container.event(EventAction::Start, 2 * HOUR + 5, 702_000);
        assert!(third[0].instance.started > second.started);
    }
}

#[test]
fn a_life_began_after_all_that_is_known_of_the_one_before_whatever_the_engine_s_clock_shows() {
    let mut container = SetBack::new();
    container.event(EventAction::Die(1), 4 * HOUR, 600_000);
    // Its engine's clock is days behind Iaso's.
    let now = Now { wall: Wall(200 * HOUR / 1_000_000), ..SetBack::now(601_000) };
    let found = |started| Some(detail(RUNNING, started));
    let since = |news| SetBack::sights(news)[0].since;
    let start = EngineEvent {
        container: id('a'),
        name: None,
        labels: BTreeMap::new(),
        time: 5 * HOUR,
        action: EventAction::Start,
    };
    let started = container.0.event(HOST, &start, found(5 * HOUR), Mono(601_000), now);
    assert_eq!(since(started), Mono(601_000), "by an event");
    let looked = container.0.looked(HOST, &id('a'), found(6 * HOUR), Mono(700_000), now);
    assert_eq!(since(looked), Mono(601_000), "by a look");
}

#[test]
fn what_is_removed_may_be_replaced_before_it_is_gone() {
    let told = |inputs: &[Input], what: fn(&Input) -> bool| inputs.iter().position(what);
    let mut container = SetBack::new();
    let destroy = EngineEvent {
        container: id('a'),
        name: None,
        labels: BTreeMap::new(),
        time: 4 * HOUR,
        action: EventAction::Destroy,
    };
    let inputs = container.0.event(HOST, &destroy, None, Mono(600_000), SetBack::now(600_000)).inputs;
    let is_gone = |input: &Input| seen(input) == Some(State::Gone);
    assert!(told(&inputs, is_change).unwrap() < told(&inputs, is_gone).unwrap(), "{inputs:?}");
}

/// Two containers that ask for one name, listed in this order.
fn claimants(order: [char; 2]) -> Fleet {
    let mut fleet = fleet();
    let claims = |letter: char| ContainerDetail {
        id: id(letter),
        name: format!("shop-{letter}"),
        labels: [("iaso.enable", "true"), ("iaso.name", "shop")].map(|(key, value)| (key.into(), value.into())).into(),
        ..detail(RUNNING, 5)
    };
    fleet.listed(HOST, order.map(claims).into(), Mono(1), SetBack::now(1));
    fleet
}

#[test]
fn of_two_that_ask_for_one_name_the_same_gets_it_each_time_and_each_is_a_service_of_its_own() {
    let named = |fleet: &Fleet, name: &str| {
        let id = fleet.named(name).unwrap_or_else(|| panic!("no {name}"));
        (id, fleet.service(id).unwrap().container.clone().map(|id| id.as_str()[..1].to_owned()))
    };
    for order in [['b', 'c'], ['c', 'b']] {
        let mut fleet = claimants(order);
        let (first, second) = (named(&fleet, "shop"), named(&fleet, "shop-shop-c"));
        assert_eq!((first.1.as_deref(), second.1.as_deref()), (Some("b"), Some("c")), "{order:?}");
        assert_ne!(first.0, second.0);
        // Whatever becomes of them, neither takes the other's name or life.
        for (letter, state) in [('b', ContainerState::Exited(1)), ('b', RUNNING), ('c', ContainerState::Exited(1))] {
            let action = if state == RUNNING { EventAction::Start } else { EventAction::Die(1) };
            let event = EngineEvent { container: id(letter), name: None, labels: BTreeMap::new(), time: 9, action };
            let told = fleet.event(HOST, &event, None, Mono(9), SetBack::now(9)).inputs;
            let about = if letter == 'b' { first.0 } else { second.0 };
            assert!(
                told.iter().all(|input| matches!(input, Input::Seen { service, .. } if *service == about)),
                "{told:?}"
            );
        }
        fleet.looked(HOST, &id('b'), None, Mono(20), SetBack::now(20));
        assert_eq!((named(&fleet, "shop").0, named(&fleet, "shop-shop-c").0), (first.0, second.0));
    }
}
