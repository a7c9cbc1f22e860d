//! What only the whole configuration can show: services that need each other in a circle, that need what is not there, or that
//! claim the same containers or the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::decode::{self, Table, join};
use super::report::Report;
use super::validated::{Host, Service, Target};

/// Judges all services together.
pub(super) fn judge(report: &mut Report, file: &Table, hosts: &[Host], services: &BTreeMap<String, Arc<Service>>) {
    let named = decode::named(file, "services");
    let needs = needs(report, &named);
    cycles(report, &named, &needs);
    claims(report, &named, hosts, services);
}

type Named<'t, 's> = [(&'t str, Range<usize>, &'t Table<'s>)];

/// One entry of a `depends_on`.
struct Need<'t> {
    on: &'t str,
    path: String,
    place: Range<usize>,
}

/// What each service needs, as far as there is such another one; tells the rest.
fn needs<'t>(report: &mut Report, named: &'t Named<'_, '_>) -> BTreeMap<&'t str, Vec<Need<'t>>> {
    let mut all = BTreeMap::new();
    let names: BTreeSet<&str> = named.iter().map(|(name, ..)| *name).collect();
    for (name, _, table) in named {
        let (mut needs, mut seen) = (Vec::new(), BTreeSet::new());
        for (index, (on, place)) in decode::names_of(table, "depends_on").into_iter().enumerate() {
            let path = format!("{}.depends_on[{index}]", join("services", name));
            if on == *name {
                report.mistake(place, &path, "it depends on itself".to_owned(), "another service");
            } else if !names.contains(on) {
                let others = named.iter().map(|(other, ..)| *other).filter(|other| other != name);
                report.unknown(place, &path, "service", on, others);
            } else if !seen.insert(on) {
                let got = format!("{} a second time", report.shown(&place, on));
                report.mistake(place, &path, got, "each service once");
            } else {
                needs.push(Need { on, path, place });
            }
        }
        all.insert(*name, needs);
    }
    all
}

/// Tells each circle once, from the service in it that the file names first.
fn cycles(report: &mut Report, named: &Named, needs: &BTreeMap<&str, Vec<Need>>) {
    let mut done: BTreeMap<&str, bool> = BTreeMap::new();
    for (root, ..) in named {
        if done.contains_key(root) {
            continue;
        }
        // The way from the root down to where the search is, each with the number of the need that is next. No recursion: a
        // file may hold a chain of any length.
        let mut way: Vec<(&str, usize)> = vec![(root, 0)];
        done.insert(root, false);
        while let Some((at, next)) = way.last_mut() {
            let (at, index) = (*at, *next);
            *next += 1;
            let Some(need) = needs.get(at).and_then(|needs| needs.get(index)) else {
                done.insert(at, true);
                way.pop();
                continue;
            };
            match done.get(need.on) {
                None => {
                    done.insert(need.on, false);
                    way.push((need.on, 0));
                }
                Some(true) => {}
                Some(false) => {
                    let start = way.iter().position(|(name, _)| *name == need.on).unwrap_or_default();
                    let circle: Vec<&str> = way[start..].iter().map(|(name, _)| *name).chain([need.on]).collect();
                    let first = needs.get(need.on).and_then(|needs| needs.get(way[start].1 - 1)).unwrap_or(need);
                    let got = format!("a circle: {}", way_of(&circle));
                    report.mistake(
                        first.place.clone(),
                        &first.path,
                        got,
                        "services that need each other in one direction",
                    );
                }
            }
        }
    }
}

/// `a -> b -> a`; of a long way only the start and the end.
fn way_of(names: &[&str]) -> String {
    const MOST: usize = 20;
    match names.split_at_checked(MOST) {
        Some((start, [between @ .., last])) if !between.is_empty() => {
            format!("{} -> ({} more) -> {last}", start.join(" -> "), between.len())
        }
        _ => names.join(" -> "),
    }
}

/// Two services of which only one can ever have the containers, or that go by one name.
fn claims(report: &mut Report, named: &Named, hosts: &[Host], services: &BTreeMap<String, Arc<Service>>) {
    let mut targets: BTreeMap<(&str, String), &str> = BTreeMap::new();
    let mut shown: BTreeMap<String, &str> = BTreeMap::new();
    let first_host = hosts.first().map_or("", |host| host.name.as_str());
    for (name, span, _) in named {
        let Some(service) = services.get(*name) else { continue };
        let (what, key) = match &service.target {
            Target::Container(container) => ("container", format!("container {container}")),
            Target::Compose { project, service } => ("Compose service", format!("compose {project}/{service}")),
            // Values are compared without regard to case.
            Target::Selector(label) => ("selector", format!("label {}={}", label.key, label.value.to_lowercase())),
        };
        if let Some(other) = targets.insert((&service.host, key), name) {
            let got = format!("the same {what} as services.{other}");
            report.mistake(span.clone(), &join("services", name), got, "containers of its own");
        }
        let display = if service.host == first_host { (*name).to_owned() } else { format!("{}.{name}", service.host) };
        if let Some(other) = shown.insert(display.clone(), name) {
            let got = format!("shown as {display}, as services.{other} is");
            report.mistake(span.clone(), &join("services", name), got, "a name of its own");
        }
    }
}
