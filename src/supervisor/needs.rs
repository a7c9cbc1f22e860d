//! Who needs whom: names become numbers whenever a service comes or goes.

use std::collections::BTreeMap;

use iaso_policy::Input;
use iaso_policy::id::ServiceId;
use iaso_policy::spec::{Condition, Need};

use super::Supervisor;
use super::fleet::Fleet;

impl Supervisor {
    /// Tells the policy what has changed in who needs whom.
    pub(super) fn tell_needs(&mut self) {
        let mut news = needs(&self.fleet);
        for (service, known) in &self.needs {
            match news.get(service) {
                Some(needs) if needs == known => drop(news.remove(service)),
                Some(_) => {}
                None if known.is_empty() => {}
                None => drop(news.insert(*service, Vec::new())),
            }
        }
        for (service, needs) in news {
            self.needs.insert(service, needs.clone());
            self.step(Input::Needs { service, needs });
        }
    }
}

/// What each service of the file needs that needs something. Nobody else's name stands for a service of the file.
fn needs(fleet: &Fleet) -> BTreeMap<ServiceId, Vec<Need>> {
    let mut numbers: BTreeMap<&str, Vec<ServiceId>> = BTreeMap::new();
    let declared = (0..).map(ServiceId).zip(&fleet.services).filter(|(_, watched)| watched.declared);
    let of_file = declared.filter(|(_, watched)| {
        fleet.config.services.get(&watched.service.name).is_some_and(|wanted| *wanted == watched.service)
    });
    let of_file: Vec<_> = of_file.collect();
    for (id, watched) in &of_file {
        numbers.entry(&watched.service.name).or_default().push(*id);
    }
    let needy = of_file.into_iter().filter(|(_, watched)| !watched.service.depends_on.is_empty());
    let need = |name: &String| {
        let on = numbers.get(name.as_str()).cloned().unwrap_or_default();
        Need { on, until: Condition::Healthy, restarts: false }
    };
    needy.map(|(id, watched)| (id, watched.service.depends_on.iter().map(need).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::rollouts::tests::{config, fleet};

    #[test]
    fn names_stand_for_services_of_the_file_alone() {
        let text = "[services.web]\ncontainer = \"web\"\ndepends_on = [\"db\", \"job\"]\n[services.db]\ncontainer = \"database\"\n\
                    [services.job]\ncontainer = \"job\"\n";
        let config = config(text);
        // A container that goes by the name of another's service is not that service.
        let fleet = fleet(&config, &[("db", None), ("database", None), ("web", None)]);
        let number =
            |name: &str| (0..).map(ServiceId).find(|id| *fleet.service(*id).unwrap().subject.name == *name).unwrap();
        let need = |on: Vec<ServiceId>| Need { on, until: Condition::Healthy, restarts: false };
        let expected = vec![need(vec![number("db")]), need(Vec::new())];
        assert_eq!(needs(&fleet), BTreeMap::from([(number("web"), expected)]));
    }
}
