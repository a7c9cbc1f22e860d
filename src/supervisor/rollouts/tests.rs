use std::collections::BTreeMap;

use iaso_policy::id::HostId;
use iaso_policy::input::EngineHealth;
use iaso_policy::time::{Boot, Mono, Now, Wall};

use super::*;
use crate::engine::scripted::{id, running};
use crate::engine::{ContainerDetail, ContainerState};

pub(in crate::supervisor) fn config(text: &str) -> Arc<Config> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Arc::new(crate::config::load(Some(file.path()), &BTreeMap::new()).unwrap().config)
}

/// Containers, by name, Compose service of the project `shop` (or none) and replica.
pub(in crate::supervisor) fn fleet(config: &Arc<Config>, containers: &[(&str, Option<(&str, u32)>)]) -> Fleet {
    let mut fleet = Fleet::new(Arc::clone(config), None);
    let listed = containers.iter().zip('a'..).map(|((name, compose), letter)| {
        let state = ContainerState::Running(EngineHealth::None);
        let mut labels = BTreeMap::from([("iaso.enable".to_owned(), "true".to_owned())]);
        if let Some((service, replica)) = compose {
            labels.insert("com.docker.compose.project".to_owned(), "shop".to_owned());
            labels.insert("com.docker.compose.service".to_owned(), (*service).to_owned());
            labels.insert("com.docker.compose.container-number".to_owned(), replica.to_string());
        }
        ContainerDetail { name: (*name).to_owned(), labels, state, ..running(id(letter), 5) }
    });
    let now = Now { mono: Mono(1), wall: Wall(1), boot: Boot(1) };
    fleet.listed(HostId(0), listed.collect(), Mono(1), now);
    fleet
}

fn order(config: &Arc<Config>, fleet: &Fleet, services: &[&str]) -> Vec<String> {
    let services: Vec<Arc<str>> = services.iter().map(|name| Arc::from(*name)).collect();
    let steps = steps(config, fleet, &services, Step::Restart, None);
    assert!(steps.iter().all(|asked| !asked.has_it), "nobody has what was never written");
    let name = |id: ServiceId| fleet.service(id).unwrap().subject.name.to_string();
    steps.into_iter().map(|asked| name(asked.service)).collect()
}

#[test]
fn what_is_needed_by_others_goes_first_also_through_what_does_not_use_the_credential() {
    let config = config(
        "[services.front]\ncontainer = \"front\"\ndepends_on = [\"api\"]\n[services.api]\ncontainer = \"api\"\n\
         depends_on = [\"cache\"]\n[services.cache]\ncontainer = \"cache\"\ndepends_on = [\"db\"]\n[services.db]\ncontainer = \"db\"\n",
    );
    let fleet = fleet(&config, &[("front", None), ("api", None), ("cache", None), ("db", None)]);
    assert_eq!(order(&config, &fleet, &["front", "api", "db"]), ["db", "api", "front"]);
    assert_eq!(order(&config, &fleet, &["front", "db"]), ["db", "front"]);
}

#[test]
fn a_name_stands_for_every_replica_and_an_unknown_one_for_none() {
    let config = config("[services.front]\ncompose = \"shop/web\"\n");
    let containers = [("shop-web-1", Some(("web", 1))), ("shop-web-2", Some(("web", 2))), ("other", None)];
    let named = fleet(&config, &containers);
    assert_eq!(order(&config, &named, &["front"]), ["front", "front-2"]);
    assert_eq!(order(&config, &named, &["front-2"]), ["front-2"]);
    assert_eq!(order(&config, &named, &["nobody", "other"]), ["other"]);
    let bare = self::config("");
    let discovered = fleet(&bare, &containers);
    assert_eq!(order(&bare, &discovered, &["shop-web"]), ["shop-web", "shop-web-2"]);
    assert_eq!(order(&bare, &discovered, &["shop-web-2"]), ["shop-web-2"]);
}

#[test]
fn who_was_started_after_what_is_new_was_written_has_it_each_replica_by_itself() {
    let config = config("[services.front]\ncompose = \"shop/web\"\n");
    let mut fleet = fleet(&config, &[("shop-web-1", Some(("web", 1))), ("shop-web-2", Some(("web", 2)))]);
    let (service, started) = (ServiceId(1), 60_000_000_000);
    let held = fleet.service(service).unwrap().container.clone().unwrap();
    let listed = fleet.known(HostId(0)).values().map(|known| {
        let started = if known.detail.id == held { started } else { known.detail.started };
        ContainerDetail { started, ..known.detail.clone() }
    });
    let (listed, now) = (listed.collect(), Now { mono: Mono(2), wall: Wall(60_001), boot: Boot(1) });
    fleet.listed(HostId(0), listed, Mono(2), now);
    let has_it = |written| {
        let steps = steps(&config, &fleet, &["front".into()], Step::Restart, Some(written));
        steps.into_iter().map(|asked| asked.has_it).collect::<Vec<bool>>()
    };
    assert_eq!(has_it(59_999), [false, true]);
    assert_eq!(has_it(60_000), [false, false], "in the same millisecond it may have read what was there before");
}

#[test]
fn a_refusal_names_its_numbers_and_what_would_help() {
    let of_host = Budget { max: 20, window: Duration::from_secs(600) };
    let words = refused(Hold::Budget, 8, 6, of_host);
    assert!(
        words.contains("takes up to 8 operations, and max_per_hour = 6; max_per_hour = 8 would allow it"),
        "{words}"
    );
    let words = refused(Hold::HostBudget, 24, 30, of_host);
    assert!(
        words.contains("takes up to 24 operations, and recovery.host_budget allows each host 20 in 600 s"),
        "{words}"
    );
    assert_eq!(refused(Hold::Observe, 8, 6, of_host), Hold::Observe.name());
}
