//! Who lives on which host, and who needs whom there.

use std::collections::BTreeSet;

use iaso_policy::spec::Condition;

use super::{Healer, Member, Random};
use crate::sim::script::Reliance;

/// What Compose 2 writes of who needs whom.
const COMPOSE: &str = "com.docker.compose.depends_on";

/// One container's label says that it needs another one of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// That one's name.
    pub on: String,
    /// How it must be.
    pub until: Condition,
    /// It is a service of the Compose project; else a container by its name.
    pub by_compose: bool,
    /// It leads in no circle of labels: those do not count.
    pub counts: bool,
}

/// One of the hosts.
pub(super) fn any(random: &mut Random, hosts: usize) -> usize {
    let last = i64::try_from(hosts).unwrap_or(1) - 1;
    usize::try_from(random.between(0..=last)).unwrap_or_default()
}

/// Spreads the fleet over one to three hosts, which are returned, and lets some need others that come before them; now and
/// then labels lead in a circle as well.
pub(super) fn draw(random: &mut Random, fleet: &mut [Member]) -> usize {
    let hosts = *random.pick(&[1, 1, 1, 2, 2, 3]);
    for member in fleet.iter_mut() {
        member.host = any(random, hosts);
    }
    if random.chance(35) {
        return hosts;
    }
    for place in 0..fleet.len() {
        if !random.chance(45) {
            continue;
        }
        for _ in 0..*random.pick(&[1, 1, 2]) {
            let needed = random.between(0..=i64::try_from(place).unwrap_or_default() - 1);
            let needed = usize::try_from(needed).unwrap_or_default();
            wire(random, fleet, place, needed);
        }
    }
    if random.chance(10) {
        let wired = fleet.iter().position(|member| !member.needs.is_empty());
        let back = wired.and_then(|place| {
            let needed = fleet.iter().position(|member| member.script.name == fleet[place].needs[0].on)?;
            Some((needed, place))
        });
        if let Some((from, to)) = back {
            need(fleet, from, to, Condition::Healthy);
        }
    }
    write_labels(fleet);
    hosts
}

/// Lets one need another, and fail with it.
fn wire(random: &mut Random, fleet: &mut [Member], from: usize, to: usize) {
    let until = *random.pick(&[Condition::Healthy, Condition::Healthy, Condition::Started, Condition::Completed]);
    // A job is waited for to end; nothing ends well that serves.
    let until = if until == Condition::Completed && !random.chance(40) { Condition::Healthy } else { until };
    let (relies, reconnects) = (random.chance(75), random.chance(70));
    let name = fleet[to].script.name.clone();
    if need(fleet, from, to, until) && relies && until != Condition::Completed {
        fleet[from].script.relies_on.push(Reliance { on: name, reconnects });
    }
}

fn need(fleet: &mut [Member], from: usize, to: usize, until: Condition) -> bool {
    let on = fleet[to].script.name.clone();
    let by_compose = is_of_project(&fleet[from]) && is_of_project(&fleet[to]);
    let is_possible = from != to
        && fleet[from].host == fleet[to].host
        && !fleet[from].one_off
        && !fleet[to].one_off
        && (by_compose || fleet[from].healer == Healer::Iaso)
        && fleet[from].needs.iter().all(|needed| needed.on != on);
    // Iaso's own label knows no conditions.
    let until = if by_compose { until } else { Condition::Healthy };
    if is_possible {
        fleet[from].needs.push(Needed { on, until, by_compose, counts: true });
    }
    is_possible
}

fn is_of_project(member: &Member) -> bool {
    member.script.labels.contains_key("com.docker.compose.project")
}

fn write_labels(fleet: &mut [Member]) {
    let of_project: BTreeSet<String> =
        fleet.iter().filter(|member| is_of_project(member)).map(|member| member.script.name.clone()).collect();
    let in_circles: BTreeSet<(String, String)> = fleet
        .iter()
        .flat_map(|member| member.needs.iter().map(|needed| (member.script.name.clone(), needed.on.clone())))
        .filter(|(from, on)| reaches(fleet, on, from))
        .collect();
    for member in fleet.iter_mut() {
        let name = member.script.name.clone();
        let (mut compose, mut own) = (Vec::new(), Vec::new());
        for needed in &mut member.needs {
            needed.counts = !in_circles.contains(&(name.clone(), needed.on.clone()));
            if of_project.contains(&name) && of_project.contains(&needed.on) {
                let condition = match needed.until {
                    Condition::Started => "service_started",
                    Condition::Healthy => "service_healthy",
                    Condition::Completed => "service_completed_successfully",
                };
                compose.push(format!("{}:{condition}:false", needed.on));
            } else {
                own.push(needed.on.clone());
            }
        }
        for (key, entries) in [(COMPOSE, compose), ("iaso.depends_on", own)] {
            if !entries.is_empty() {
                member.script.labels.insert(key.to_owned(), entries.join(","));
            }
        }
    }
}

/// Whether one needs the other, directly or through others.
fn reaches(fleet: &[Member], from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(name) = next.pop() {
        if name == to {
            return true;
        }
        let member = fleet.iter().find(|member| member.script.name == name);
        next.extend(member.iter().flat_map(|m| &m.needs).map(|needed| &*needed.on).filter(|on| seen.insert(*on)));
    }
    false
}
