//! What `iaso init` proposes: a configuration that watches the containers that run, and says of every other one why not.
//! Nothing of a container's environment is known here, and of its labels only names are written down.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use iaso_policy::id::Identity;

use super::commands::{Failure, containers};
use super::own;
use crate::config::validated::{Config, Host, HostAddress};
use crate::config::watch::{self, Verdict};
use crate::config::{self, presets, quoted};
use crate::engine::{ContainerDetail, ContainerId, ContainerState};
use crate::supervisor::container::leads_to_the_engine;
use crate::system::clock::Clock;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;

/// A configuration, and what it is about.
#[derive(Debug)]
pub struct Proposal {
    /// The file.
    pub text: String,
    /// Services that it has Iaso watch.
    pub services: usize,
    /// Containers that it leaves out.
    pub left_out: usize,
}

/// Looks at the engines at these addresses (`unix:///PATH`, `tcp://HOST:PORT`), or at the usual one where there is none.
///
/// # Errors
/// When an address is none, or an engine cannot be reached.
pub async fn propose(addresses: &[String]) -> Result<Proposal, Failure> {
    let config = hosts(addresses)?;
    let (resolver, tasks) = (Resolver::system(Clock::new()), Tasks::new());
    let mut found = Vec::new();
    for host in &config.hosts {
        found.push(containers(host, &resolver, &tasks).await.map_err(|failure| match failure {
            Failure::Unavailable(why) => Failure::Unavailable(format!("{why}; --host or DOCKER_HOST name another")),
            other => other,
        })?);
    }
    Ok(draft(&config, found, own::container().as_ref()))
}

/// A configuration of these hosts alone.
fn hosts(addresses: &[String]) -> Result<Config, Failure> {
    let mut source = String::new();
    for (address, number) in addresses.iter().zip(1..) {
        let name = if number == 1 { "local".to_owned() } else { format!("host{number}") };
        let _infallible = write!(source, "[hosts.{name}]\nurl = {}\n", quoted(address));
    }
    config::decode("--host", &source, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .map_err(|mistakes| Failure::Configuration(mistakes.to_string()))
}

/// A service to be: one container, or the replicas of a Compose service.
#[derive(Default)]
struct Candidate {
    containers: Vec<ContainerDetail>,
    /// They ask to be watched by their own labels, under this name.
    by_labels: Option<String>,
}

/// The proposal for what was found on each host of `config`.
fn draft(config: &Config, found: Vec<Vec<ContainerDetail>>, own: Option<&ContainerId>) -> Proposal {
    // By host, name and what finds its containers: two services may make up the same name.
    let mut candidates: BTreeMap<(usize, String, String), Candidate> = BTreeMap::new();
    let (mut left_out, mut stopped) = (BTreeMap::new(), BTreeSet::new());
    for ((host, mut containers), number) in config.hosts.iter().zip(found).zip(0..) {
        containers.sort_by(|one, other| one.name.cmp(&other.name));
        for container in containers {
            let shown = on_host(&container.name, &host.name, number);
            if let Some(why) = never_a_target(host, &container, own) {
                left_out.insert(shown, why);
                continue;
            }
            if matches!(container.state, ContainerState::Exited(_)) {
                stopped.insert(shown);
                continue;
            }
            let Ok(identity) = watch::identity(&host.name, &container.name, &container.labels) else {
                left_out.insert(shown, "its name is none that a service can have");
                continue;
            };
            let by_labels = match watch::judge(config, &host.name, &container.name, &container.image, &container.labels)
            {
                Verdict::Watched(watched) => Some(watched.name),
                Verdict::Disabled | Verdict::Unwatched(_) => None,
            };
            let (name, target) = described(&identity, &container.name);
            let candidate: &mut Candidate = candidates.entry((number, name, target)).or_default();
            candidate.by_labels = candidate.by_labels.take().or(by_labels);
            candidate.containers.push(container);
        }
    }
    let mut text = head(config);
    let mut services = 0;
    let mut taken = BTreeSet::new();
    for ((host, name, target), candidate) in candidates {
        services += 1;
        let host = (host > 0).then(|| &config.hosts[host]);
        section(&mut text, host, &free(&name, &mut taken), &target, &candidate);
    }
    if services == 0 {
        text.push_str(NOTHING);
    }
    tail(&mut text, &left_out, &stopped);
    Proposal { text, services, left_out: left_out.len() + stopped.len() }
}

/// Why Iaso would never touch a container; none when it would.
fn never_a_target(host: &Host, container: &ContainerDetail, own: Option<&ContainerId>) -> Option<&'static str> {
    match container.state {
        ContainerState::Created => return Some("it was created and never started"),
        ContainerState::Removing | ContainerState::Dead => return Some("it is being removed"),
        ContainerState::Running(_)
        | ContainerState::Paused
        | ContainerState::Restarting
        | ContainerState::Exited(_) => {}
    }
    if own == Some(&container.id) {
        Some("Iaso itself runs in it")
    } else if leads_to_the_engine(&host.address, container, None) {
        Some("Iaso reaches the engine through it")
    } else if config::labels::is_disabled(&container.labels) {
        Some("its label iaso.enable says so")
    } else if watch::is_orchestrated(&container.labels) {
        Some("another orchestrator owns it")
    } else if container.auto_remove {
        Some("it removes itself when it exits (--rm)")
    } else if watch::is_one_off(&container.labels) {
        Some("it is a one-off of `docker compose run`")
    } else {
        None
    }
}

/// What a service of this identity is called, and the key that finds its containers.
fn described(identity: &Identity, container: &str) -> (String, String) {
    let parts: Vec<&str> = identity.as_str().split('/').collect();
    match parts[..] {
        [_, project, service, _] => {
            (format!("{project}-{service}"), format!("compose = {}", quoted(&format!("{project}/{service}"))))
        }
        _ => (container.to_owned(), format!("container = {}", quoted(container))),
    }
}

/// A name that no other table has.
fn free(name: &str, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}.{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    let free = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(free.clone());
    free
}

fn on_host(container: &str, host: &str, number: usize) -> String {
    let container: String = container.escape_debug().collect();
    if number == 0 { container } else { format!("{container} on {host}") }
}

const NOTHING: &str = "\
# No container ran when this was written. Containers that ask for it by a label (iaso.enable=true, autoheal=true) are found
# without a word here; others are named like this:
#
# [services.web]
# container = \"web\"             # or compose = \"PROJECT/SERVICE\"
";

fn head(config: &Config) -> String {
    let mut text = String::from(
        "# Iaso's configuration, as `iaso init` proposes it: every table [services.NAME] is watched, and healed when its container
# dies by itself or is unhealthy. Next:
#
#   1. Take out what must not be restarted, or give it recovery = { mode = \"notify\" }.
#   2. iaso check --config FILE            tells every mistake at once
#   3. iaso run --observe --config FILE    decides and records everything, touches nothing
#   4. iaso run --config FILE              heals; without --config it reads /etc/iaso/iaso.toml
#
# Checks are proposed in comments, since a wrong one is worse than none: `iaso probe NAME` tries them. What is not set here has
# its default; config.example.toml lists every key.

",
    );
    for host in &config.hosts {
        let files = match &host.address {
            HostAddress::Tls { .. } => "# Its certificates are for ca_file, cert_file and key_file to name.\n",
            HostAddress::Unix(_) | HostAddress::Tcp(_) => "",
        };
        let url = quoted(&host.address.to_string());
        let _infallible = writeln!(text, "[hosts.{}]\nurl = {url}\n{files}", host.name);
    }
    text
}

/// One service's table. What its labels ask for stands in a comment: a table would take their place.
fn section(text: &mut String, host: Option<&Host>, name: &str, target: &str, candidate: &Candidate) {
    let Candidate { containers, by_labels } = candidate;
    let images: BTreeSet<String> =
        containers.iter().map(|container| container.image.escape_debug().collect()).collect();
    let images: Vec<String> = images.into_iter().collect();
    let replicas = if containers.len() > 1 { format!(", {} replicas", containers.len()) } else { String::new() };
    let mut lines = vec![format!("# Image {}{replicas}.", images.join(", "))];
    if containers.iter().all(|container| container.healthcheck.is_some()) {
        lines.push("# Its HEALTHCHECK is heeded: it needs no check here.".to_owned());
    }
    let known = containers.first().and_then(|container| presets::of_image(&container.image));
    if known.is_some_and(|preset| preset.stateful) {
        lines.push(
            "# It keeps data, so it is healed with care: a person is told first, and it has longer to stop and start."
                .to_owned(),
        );
    }
    let comment = match by_labels {
        Some(name) => {
            lines.push(format!(
                "# Its labels have it watched already, as {name}. This table would replace what they say:"
            ));
            "# "
        }
        None => "",
    };
    lines.push(format!("{comment}[services.{}]", key(name)));
    lines.extend(host.map(|host| format!("{comment}host = {}", quoted(&host.name))));
    lines.push(format!("{comment}{target}"));
    if containers.iter().any(|container| container.healthcheck.is_none()) {
        lines.extend(match known.filter(|preset| !preset.checks.is_empty()) {
            Some(preset) => vec![format!("# preset = {}  # its checks: see docs/presets.md", quoted(preset.name))],
            None => proposed_checks(name, containers),
        });
    }
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text.push('\n');
}

/// Ports at which programs listen that do not speak HTTP: mail, name servers, brokers and databases.
const NOT_HTTP: [u16; 16] = [21, 22, 25, 53, 110, 143, 465, 587, 993, 1883, 3306, 5432, 5672, 6379, 11_211, 27_017];
/// Ports at which it is HTTPS.
const HTTPS: [u16; 2] = [443, 8443];

/// A check for each port that a container without a HEALTHCHECK publishes, in comments: what answers there is unknown.
fn proposed_checks(name: &str, containers: &[ContainerDetail]) -> Vec<String> {
    let mut published: BTreeMap<u16, u16> = BTreeMap::new();
    for (own, _, on_host) in containers.iter().flat_map(|container| &container.ports) {
        published.entry(*own).or_insert(*on_host);
    }
    if published.is_empty() {
        return vec!["# It publishes no port: watched is whether it runs.".to_owned()];
    }
    let mut lines = Vec::new();
    for (port, on_host) in published {
        let (kind, goal) = match port {
            port if NOT_HTTP.contains(&port) => ("tcp", format!("address = \"{{address}}:{port}\"")),
            port if HTTPS.contains(&port) => ("http", format!("url = \"https://{{address}}:{port}/\"")),
            port => ("http", format!("url = \"http://{{address}}:{port}/\"")),
        };
        lines.push(format!("# Port {port} is published as {on_host}:"));
        lines.push(format!("# [[services.{}.checks]]", key(name)));
        lines.push(format!("# name = \"port-{port}\""));
        lines.push(format!("# type = \"{kind}\""));
        lines.push(format!("# {goal}"));
    }
    lines
}

/// A key of TOML.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare { name.to_owned() } else { quoted(name) }
}

fn tail(text: &mut String, left_out: &BTreeMap<String, &str>, stopped: &BTreeSet<String>) {
    if !left_out.is_empty() {
        text.push_str("\n# Left out, since Iaso never touches them:\n");
    }
    for (name, why) in left_out {
        let _infallible = writeln!(text, "#   {name}: {why}");
    }
    if !stopped.is_empty() {
        text.push_str("\n# Left out, since they did not run:\n");
    }
    for name in stopped {
        let _infallible = writeln!(text, "#   {name}");
    }
}

#[cfg(test)]
mod tests;
