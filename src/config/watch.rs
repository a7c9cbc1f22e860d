//! Which containers are services of the file, and the names that they go by.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use iaso_policy::id::{Identity, InvalidIdentity};

use super::depends;
use super::labels::{self, Asked, LabelMistake};
use super::presets;
use super::validated::{Config, Host, Service, Target};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const NUMBER: &str = "com.docker.compose.container-number";
const ONE_OFF: &str = "com.docker.compose.oneoff";

/// A container's labels.
pub type Labels = BTreeMap<String, String>;

/// What a container keeps across its recreation: host, Compose project, service and replica, else its name. A one-off
/// container (`docker compose run`) goes by its name, since it is no replica.
///
/// # Errors
/// When the container's name is not made of the characters of names.
pub fn identity(host: &str, container: &str, labels: &Labels) -> Result<Identity, InvalidIdentity> {
    let compose = compose(labels).filter(|_| !is_one_off(labels)).and_then(|(project, service)| {
        let number = labels.get(NUMBER).map_or(Some(1), |number| number.parse().ok().filter(|n| *n > 0))?;
        Identity::compose(host, project, service, number).ok()
    });
    compose.map_or_else(|| Identity::container(host, container), Ok)
}

/// What Iaso is to do with a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Watch it.
    Watched(Box<Watched>),
    /// Leave it alone: it says so, which beats everything.
    Disabled,
    /// Nobody asked for it; a mistake in its labels may be why.
    Unwatched(Vec<LabelMistake>),
}

/// A container to watch.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// What its memory is kept under.
    pub identity: Identity,
    /// The name that people use.
    pub name: String,
    /// How it is watched and healed.
    pub service: Arc<Service>,
    /// It keeps data: somebody says so, or else its image does.
    pub stateful: bool,
    /// Labels of it that mean nothing as they stand.
    pub mistakes: Vec<LabelMistake>,
}

/// The services of the file by what they name: a list of thousands of containers is judged by them.
#[derive(Debug)]
pub struct Targets {
    /// In the order of the containers that they name.
    containers: Vec<Arc<Service>>,
    /// In the order of the Compose services that they name.
    compose: Vec<Arc<Service>>,
    selectors: Vec<Arc<Service>>,
}

impl Targets {
    /// Those of this configuration.
    pub fn new(config: &Config) -> Self {
        let of_kind = |is_it: fn(&Target) -> bool| -> Vec<Arc<Service>> {
            config.services.values().filter(|service| is_it(&service.target)).cloned().collect()
        };
        let mut containers = of_kind(|target| matches!(target, Target::Container(_)));
        let mut compose = of_kind(|target| matches!(target, Target::Compose { .. }));
        for services in [&mut containers, &mut compose] {
            services.sort_by(|one, other| one.target.cmp(&other.target));
        }
        Self { containers, compose, selectors: of_kind(|target| matches!(target, Target::Selector(_))) }
    }

    /// Decides about a container: its own `iaso.enable=false` beats the file, the file beats its other labels, and those beat
    /// `[defaults]`. `self` is of `config`, `image` is its image as the engine names it.
    pub fn judge(&self, config: &Config, host: &str, container: &str, image: &str, labels: &Labels) -> Verdict {
        if labels::is_disabled(labels) {
            return Verdict::Disabled;
        }
        // An engine takes no such name; nothing could be kept for it.
        let Ok(identity) = identity(host, container, labels) else { return Verdict::Unwatched(Vec::new()) };
        let stateful = |service: &Service| service.stateful.unwrap_or_else(|| presets::is_stateful(image));
        let first = config.hosts.first().map_or(host, |host| host.name.as_str());
        if let Some(service) = self.service(host, container, labels) {
            let name = display_name(&identity, Some(&service.name), first);
            let service = Arc::clone(service);
            let mistakes = depends::mistakes(container, labels);
            let stateful = stateful(&service);
            return Verdict::Watched(Box::new(Watched { identity, name, service, stateful, mistakes }));
        }
        match labels::read(&identity, container, labels, &config.discovery, &config.defaults) {
            Asked::Watched(service, mut mistakes) => {
                mistakes.extend(depends::mistakes(container, labels));
                let own = (*service.name != *identity.short_name()).then_some(service.name.as_str());
                let (name, stateful) = (display_name(&identity, own, first), stateful(&service));
                Verdict::Watched(Box::new(Watched { identity, name, service, stateful, mistakes }))
            }
            Asked::Nothing(mistakes) => Verdict::Unwatched(mistakes),
        }
    }

    /// The service that a container is. One that names the container comes before one that names a Compose service, and that
    /// before one with a selector; of several such, the first by name.
    fn service(&self, host: &str, container: &str, labels: &Labels) -> Option<&Arc<Service>> {
        let by_container = named(&self.containers, |target| match target {
            Target::Container(name) => name.as_str().cmp(container),
            Target::Compose { .. } | Target::Selector(_) => Ordering::Less,
        });
        let by_compose = compose(labels).filter(|_| !is_one_off(labels)).map(|wanted| {
            named(&self.compose, |target| match target {
                Target::Compose { project, service } => (project.as_str(), service.as_str()).cmp(&wanted),
                Target::Container(_) | Target::Selector(_) => Ordering::Less,
            })
        });
        let selects = |service: &&Arc<Service>| match &service.target {
            Target::Selector(label) => {
                labels.get(&label.key).is_some_and(|value| value.trim().eq_ignore_ascii_case(&label.value))
            }
            Target::Container(_) | Target::Compose { .. } => false,
        };
        let here = |service: &&Arc<Service>| service.host == host;
        let by_name = by_container.iter().find(here).or_else(|| by_compose.unwrap_or_default().iter().find(here));
        by_name.or_else(|| self.selectors.iter().filter(here).find(selects))
    }
}

/// Those of `services`, which are in this order, that name what is looked for.
fn named(services: &[Arc<Service>], order: impl Fn(&Target) -> Ordering) -> &[Arc<Service>] {
    let from = services.partition_point(|service| order(&service.target) == Ordering::Less);
    let to = services.partition_point(|service| order(&service.target) != Ordering::Greater);
    &services[from..to]
}

/// Decides about one container; see [`Targets::judge`].
pub fn judge(config: &Config, host: &str, container: &str, image: &str, labels: &Labels) -> Verdict {
    Targets::new(config).judge(config, host, container, image, labels)
}

/// Whether it is a container of `docker compose run`: exit is its natural end.
pub fn is_one_off(labels: &Labels) -> bool {
    labels.get(ONE_OFF).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Whether an orchestrator made the container, and replaces it by itself.
pub fn is_orchestrated(labels: &Labels) -> bool {
    const TASK: [&str; 2] = ["com.docker.swarm.task.id", "com.hashicorp.nomad.alloc_id"];
    const OWNED: [&str; 4] = ["io.kubernetes.", "io.rancher.", "com.amazonaws.ecs.", "com.hashicorp.nomad."];
    labels.keys().any(|key| TASK.contains(&key.as_str()) || OWNED.iter().any(|prefix| key.starts_with(prefix)))
}

/// The name that people use: `name` from the file or a label, with `-N` from replica 2 on, else what the identity says;
/// `HOST.` in front on other hosts than the first.
pub fn display_name(identity: &Identity, name: Option<&str>, first_host: &str) -> String {
    let short = match name {
        None => identity.short_name().into_string(),
        Some(name) => match replica(identity) {
            Some(number) if number != "1" => format!("{name}-{number}"),
            _ => name.to_owned(),
        },
    };
    if identity.host() == first_host { short } else { format!("{}.{short}", identity.host()) }
}

/// Whether a service of the file goes by this name, on the first host or on its own.
pub fn is_of_file(config: &Config, name: &str) -> bool {
    let is_on = |host: &Host| {
        let short = name.strip_prefix(&host.name).and_then(|rest| rest.strip_prefix('.'));
        short.and_then(|short| config.services.get(short)).is_some_and(|service| service.host == host.name)
    };
    config.services.contains_key(name) || config.hosts.iter().any(is_on)
}

/// The replica number in `HOST/PROJECT/SERVICE/REPLICA`.
fn replica(identity: &Identity) -> Option<&str> {
    identity.as_str().split('/').nth(3)
}

/// The Compose project and service that a container is of.
pub fn compose(labels: &Labels) -> Option<(&str, &str)> {
    Some((labels.get(PROJECT)?.as_str(), labels.get(SERVICE)?.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn compose_labels_outlive_the_container() {
        let shop = [(PROJECT, "shop"), (SERVICE, "web"), (NUMBER, "2")];
        let of = |extra: &[(&str, &str)]| {
            identity("local", "shop-web-2", &labels(&[&shop[..], extra].concat())).unwrap().as_str().to_owned()
        };
        assert_eq!(of(&[]), "local/shop/web/2");
        assert_eq!(of(&[(ONE_OFF, "True")]), "local//shop-web-2");
        assert_eq!(of(&[(NUMBER, "x")]), "local//shop-web-2");
        assert_eq!(of(&[(SERVICE, "a/b")]), "local//shop-web-2");
        assert!(identity("local", "a b", &Labels::new()).is_err());
    }

    #[test]
    fn of_several_services_one_is_found() {
        let text = "hosts.local.url = 'unix:///a'\nhosts.nas.url = 'unix:///b'\n\
                    services.by-label.selector.label = 'app=Web'\n\
                    services.another.selector.label = 'tier=front'\n\
                    services.of-project.compose = 'shop/web'\n\
                    services.first.container = 'web'\n\
                    services.there = { host = 'nas', container = 'web' }\n\
                    services.there-too = { host = 'nas', compose = 'shop/web' }\n\
                    services.last.container = 'zebra'\n";
        let config = crate::config::decode("test", text, &|_| None).unwrap();
        let targets = Targets::new(&config);
        let found = |host: &str, container: &str, pairs: &[(&str, &str)]| {
            targets.service(host, container, &labels(pairs)).map(|service| service.name.clone())
        };
        let shop = [(PROJECT, "shop"), (SERVICE, "web"), ("app", " WEB "), ("tier", "front")];
        assert_eq!(found("local", "web", &shop).as_deref(), Some("first"));
        assert_eq!(found("local", "shop-web-1", &shop).as_deref(), Some("of-project"));
        assert_eq!(
            found("local", "shop-web-1", &[&shop[..], &[(ONE_OFF, "True")]].concat()).as_deref(),
            Some("another")
        );
        assert_eq!(found("local", "zebra", &[]).as_deref(), Some("last"));
        assert_eq!(found("nas", "web", &shop).as_deref(), Some("there"));
        assert_eq!(found("nas", "other", &shop).as_deref(), Some("there-too"));
        assert_eq!(found("nas", "other", &[("app", "web")]), None);
        assert_eq!(found("local", "we", &[(PROJECT, "shop")]), None);
    }

    #[test]
    fn names_follow_the_contract() {
        let web = Identity::compose("local", "shop", "web", 2).unwrap();
        assert_eq!(display_name(&web, None, "local"), "shop-web-2");
        assert_eq!(display_name(&web, Some("front"), "local"), "front-2");
        assert_eq!(display_name(&web, None, "other"), "local.shop-web-2");
        let db = Identity::container("nas", "db").unwrap();
        assert_eq!(display_name(&db, Some("data"), "nas"), "data");
    }

    #[test]
    fn orchestrators_are_known_by_their_labels() {
        for key in [
            "com.docker.swarm.task.id",
            "io.kubernetes.pod.name",
            "io.rancher.stack.name",
            "com.hashicorp.nomad.alloc_id",
        ] {
            assert!(is_orchestrated(&labels(&[(key, "x")])), "{key}");
        }
        assert!(!is_orchestrated(&labels(&[(PROJECT, "shop")])));
    }
}
