//! `[[maintenance]]`, validated: which keys go together, that a window has a length, and whom it covers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use toml::de::DeValue;

use super::decode::{self, Table, Value, duration_of, text_of};
use super::report::Report;
use super::validated::{Host, Service, When, Window, first_meant, last_meant};
use super::values::{self, Moment, Read};

const ONE: &str = "from and to, or cron and duration";

/// The windows of a file that agrees with the table of keys. With `discovered`, labels may name services that it does not.
pub(super) fn windows(
    report: &mut Report,
    file: &Table,
    hosts: &[Host],
    services: &BTreeMap<String, Arc<Service>>,
    discovered: bool,
) -> Vec<Window> {
    let items = file.get("maintenance").and_then(|value| value.get_ref().as_array()).into_iter().flatten();
    let tables = items.enumerate().filter_map(|(index, item)| Some((index, item.span(), item.get_ref().as_table()?)));
    let windows = tables.filter_map(|(index, span, table)| {
        let path = format!("maintenance[{index}]");
        let (covered, when) =
            (covered(report, table, &path, hosts, services, discovered), when(report, table, &path, span));
        let name = text_of(table, "name").map_or_else(|| format!("window {}", index + 1), str::to_owned);
        let (hosts, services) = covered;
        Some(Window { name, when: when?, hosts, services })
    });
    windows.collect()
}

fn covered(
    report: &mut Report,
    table: &Table,
    path: &str,
    hosts: &[Host],
    services: &BTreeMap<String, Arc<Service>>,
    discovered: bool,
) -> (Vec<String>, Vec<String>) {
    for (index, (name, place)) in decode::names_of(table, "hosts").into_iter().enumerate() {
        let known = hosts.iter().map(|host| host.name.as_str());
        if !known.clone().any(|known| known == name) {
            report.unknown(place, &format!("{path}.hosts[{index}]"), "host", name, known);
        }
    }
    for (index, (name, place)) in decode::names_of(table, "services").into_iter().enumerate() {
        let (path, known) = (format!("{path}.services[{index}]"), services.keys().map(String::as_str));
        if services.contains_key(name) {
            continue;
        }
        // What is nearly the name of one that is written down is that one mistyped.
        if !discovered || super::nearest(name, known.clone()).is_some() {
            report.unknown(place, &path, "service", name, known);
        } else {
            let got = format!("no service of the file is called {}", report.shown(&place, name));
            report.warning(place, &path, got, "the name of one that is found by its labels");
        }
    }
    for key in ["hosts", "services"] {
        // Of nothing at all it would be for everything.
        if let Some(value) = table.get(key).filter(|_| decode::names_of(table, key).is_empty()) {
            report.mistake(
                value.span(),
                &format!("{path}.{key}"),
                "found none".to_owned(),
                "one name or more; without the key it covers everything",
            );
        }
    }
    let names = |key| decode::names_of(table, key).into_iter().map(|(name, _)| name.to_owned()).collect();
    (names("hosts"), names("services"))
}

fn when(report: &mut Report, table: &Table, path: &str, span: Range<usize>) -> Option<When> {
    let present: Vec<&str> =
        ["cron", "duration", "from", "to", "days"].into_iter().filter(|key| table.contains_key(*key)).collect();
    let zone = match text_of(table, "time_zone") {
        Some(name) => values::time_zone(name).ok()?,
        None => TimeZone::system(),
    };
    match present[..] {
        ["cron", "duration"] => {
            let cron = Box::new(values::cron(text_of(table, "cron")?).ok()?);
            Some(When::Cron { cron, lasting: duration_of(table, "duration")?, zone })
        }
        ["from", "to"] | ["from", "to", "days"] => {
            let (from, to) = (table.get("from")?, table.get("to")?);
            match (moment_of(from).ok()?, moment_of(to).ok()?) {
                (Moment::Daily(from), Moment::Daily(to)) => Some(When::Weekly { days: days(table)?, from, to, zone }),
                (Moment::Daily(_), _) => {
                    report.mistake(
                        to.span(),
                        &format!("{path}.to"),
                        "found a date".to_owned(),
                        "a time of day, as from has",
                    );
                    None
                }
                (_, Moment::Daily(_)) => {
                    report.mistake(
                        to.span(),
                        &format!("{path}.to"),
                        "found a time of day".to_owned(),
                        "a date with a time, as from has",
                    );
                    None
                }
                _ if present.contains(&"days") => {
                    report.mistake(span, path, "found days beside dates".to_owned(), "times of day in from and to");
                    None
                }
                (begins, ends) => {
                    let (from, ends) = (moment(begins, &zone, false)?, moment(ends, &zone, true)?);
                    if ends <= from {
                        report.mistake(
                            to.span(),
                            &format!("{path}.to"),
                            "it ends before it begins".to_owned(),
                            "a later end",
                        );
                        return None;
                    }
                    Some(When::Once { from, to: ends })
                }
            }
        }
        _ => {
            let got = if present.is_empty() { "none of them".to_owned() } else { present.join(" and ") };
            report.mistake(span, path, format!("found {got}"), format!("{ONE} (and days beside times of day)"));
            None
        }
    }
}

/// A moment as text, or as TOML spells it without quotes.
pub(super) fn moment_of(value: &Value) -> Read<Moment> {
    match value.get_ref() {
        DeValue::Datetime(at) => values::moment(&at.to_string()),
        other => values::moment(other.as_str().unwrap_or_default()),
    }
}

/// The days on which a window begins; every day where none is named.
fn days(table: &Table) -> Option<Vec<Weekday>> {
    let named: Option<Vec<Weekday>> =
        decode::texts_of(table, "days").iter().map(|word| values::day(word).ok()).collect();
    let mut days = named.filter(|days| !days.is_empty() || !table.contains_key("days"))?;
    if days.is_empty() {
        days.extend(Weekday::Monday.cycle_forward().take(7));
    }
    days.sort_by_key(|day| day.to_monday_zero_offset());
    days.dedup();
    Some(days)
}

/// When a window begins, or `ends`.
fn moment(moment: Moment, zone: &TimeZone, ends: bool) -> Option<Timestamp> {
    match moment {
        Moment::Daily(_) => None,
        Moment::Exact(at) => Some(at),
        Moment::Local(at) if ends => last_meant(at, zone),
        Moment::Local(at) => first_meant(at, zone),
    }
}
