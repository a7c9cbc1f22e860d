//! The file against the table of keys: every unknown key, wrong type and value out of bounds, each with its place.

use std::ops::Range;

use iaso_policy::spec::{Step, Threshold};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Key, Kind};
use super::mistake::{Report, one_of, shown};
use super::url;
use super::validated::LabelMatch;
use super::values::{self, Read};

pub(super) type Table<'s> = DeTable<'s>;
pub(super) type Value<'s> = Spanned<DeValue<'s>>;

/// Checks a table, and the tables in it, against its keys.
pub(super) fn check_table(report: &mut Report, path: &str, table: &Table, keys: &[Key]) {
    for (name, value) in table {
        let name_path = join(path, name.get_ref());
        match keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
            Some(key) => check(report, &name_path, value, &key.kind),
            None => {
                report.unknown(name.span(), &name_path, "key", name.get_ref(), keys.iter().map(|key| key.name));
                hide_all(report, value);
            }
        }
    }
}

fn check(report: &mut Report, path: &str, value: &Value, kind: &Kind) {
    match (kind, value.get_ref()) {
        (Kind::Table(keys), DeValue::Table(table)) => check_table(report, path, table, keys),
        (Kind::Named(keys), DeValue::Table(tables)) => {
            for (name, value) in tables {
                let path = join(path, name.get_ref());
                if let Err(expected) = values::name(name.get_ref()) {
                    report.mistake(name.span(), &path, format!("found {}", shown(name.get_ref())), expected);
                }
                check(report, &path, value, &Kind::Table(keys));
            }
        }
        (Kind::Tables(keys), DeValue::Array(tables)) => {
            for (index, value) in tables.iter().enumerate() {
                check(report, &format!("{path}[{index}]"), value, &Kind::Table(keys));
            }
        }
        (Kind::Ladder | Kind::Labels | Kind::Statuses, DeValue::Array(items)) => {
            if items.is_empty() && !matches!(kind, Kind::Labels) {
                report.mistake(value.span(), path, "found an empty list".to_owned(), "at least one");
            }
            for (index, item) in items.iter().enumerate() {
                let result = match kind {
                    Kind::Ladder => text(item).and_then(|text| values::step(text, &mut Vec::new()).map(drop)),
                    Kind::Labels => text(item).and_then(|text| values::label(text).map(drop)),
                    _ => statuses_of(item).map(drop),
                };
                tell(report, &format!("{path}[{index}]"), item, result);
            }
        }
        (Kind::Headers, DeValue::Table(headers)) => {
            for (name, value) in headers {
                let path = join(path, name.get_ref());
                report.hide(value.span());
                if let Err(expected) = values::header_name(name.get_ref()) {
                    report.mistake(name.span(), &path, format!("found {}", shown(name.get_ref())), expected);
                }
                if let Err(expected) = text(value).and_then(values::header_value) {
                    report.mistake(value.span(), &path, "found another value".to_owned(), expected);
                }
            }
        }
        (Kind::Json, DeValue::Table(pointers)) => {
            for (name, value) in pointers {
                let path = join(path, name.get_ref());
                if let Err(expected) = values::pointer(name.get_ref()) {
                    report.mistake(name.span(), &path, format!("found {}", shown(name.get_ref())), expected);
                }
                tell(report, &path, value, json(value).map(drop));
            }
        }
        (Kind::Word(words), DeValue::String(word)) if !words.contains(&word.as_ref()) => {
            report.unknown(value.span(), path, "word", word, words.iter().copied());
        }
        (Kind::HttpUrl | Kind::HostUrl, DeValue::String(text)) if text.contains('@') => {
            report.hide(value.span());
            let got = "found a user name or password, which is not shown".to_owned();
            report.mistake(value.span(), path, got, "a URL without one");
        }
        _ => tell(report, path, value, scalar(value, kind)),
    }
}

/// Whether a value is what a kind without a structure of its own wants.
pub(super) fn scalar(value: &Value, kind: &Kind) -> Read<()> {
    match kind {
        Kind::Bool => value.get_ref().as_bool().map(drop).ok_or_else(|| "true or false".to_owned()),
        Kind::Flag => text(value).and_then(values::flag).map(drop),
        Kind::Text => text(value).map(drop),
        Kind::Name => text(value).and_then(values::name).map(drop),
        Kind::Duration(min, max) => text(value).and_then(|text| values::duration(text, *min, *max)).map(drop),
        Kind::DurationOrNever(min, max) => match text(value)? {
            "never" => Ok(()),
            text => {
                values::duration(text, *min, *max).map(drop).map_err(|expected| format!("{expected}, or \"never\""))
            }
        },
        Kind::Integer(min, max) => values::integer(integer(value), *min, *max).map(drop),
        Kind::Number(min, max) => number(value)
            .filter(|n| (*min..=*max).contains(n))
            .map(drop)
            .ok_or_else(|| format!("a number from {min:?} to {max:?}")),
        Kind::Word(words) => match value.get_ref().as_str() {
            Some(word) if words.contains(&word) => Ok(()),
            _ => Err(one_of(words.iter().copied())),
        },
        Kind::Threshold => threshold_of(value).map(drop),
        Kind::Listen => text(value).and_then(values::listen).map(drop),
        Kind::HostUrl => text(value).and_then(values::host_address).map(drop),
        Kind::Label => text(value).and_then(values::label).map(drop),
        Kind::Compose => text(value).and_then(values::compose).map(drop),
        Kind::HttpUrl => text(value).and_then(url::template).map(drop),
        Kind::Statuses => statuses_of(value).map(drop),
        Kind::Ladder => Err("a list of steps, such as [\"signal:HUP\", \"restart\"]".to_owned()),
        Kind::Labels => Err("a list of labels, such as [\"iaso.enable=true\"]".to_owned()),
        Kind::Headers => Err("a table of names and texts, such as { Host = \"localhost\" }".to_owned()),
        Kind::Json => Err("a table of JSON pointers and values, such as { \"/status\" = \"up\" }".to_owned()),
        Kind::Table(keys) => Err(format!("a table with {}", one_of(keys.iter().map(|key| key.name)))),
        Kind::Named(_) => Err("a table of tables, each with a name of your own".to_owned()),
        Kind::Tables(_) => Err("a list of tables: [[...]] in double brackets".to_owned()),
    }
}

fn tell(report: &mut Report, path: &str, value: &Value, result: Read<()>) {
    if let Err(expected) = result {
        report.mistake(value.span(), path, format!("found {}", describe(value)), expected);
    }
}

/// A value in a few words. What is not a plain value is named by its type.
pub(super) fn describe(value: &Value) -> String {
    match value.get_ref() {
        DeValue::String(text) => shown(text),
        DeValue::Integer(number) => shown(&number.to_string()).replace('"', ""),
        DeValue::Float(number) => shown(&number.to_string()).replace('"', ""),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Under a mistyped key there may be headers: nothing of what they hold is shown.
fn hide_all(report: &mut Report, value: &Value) {
    match value.get_ref() {
        DeValue::Table(table) => table.values().for_each(|value| hide_all(report, value)),
        DeValue::Array(items) => items.iter().for_each(|value| hide_all(report, value)),
        DeValue::String(_) => report.hide(value.span()),
        _ => {}
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let name = if bare { name.to_owned() } else { shown(name) };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

// What follows reads values that `check_table` has judged; one that it refused reads as none.

/// A key's table; an empty one where there is none.
pub(super) fn table<'t, 's>(table: &'t Table<'s>, name: &str) -> Option<&'t Table<'s>> {
    table.get(name)?.get_ref().as_table()
}

/// Names and tables under a key, in the order of the file, with the place of each name.
pub(super) fn named<'t, 's>(parent: &'t Table<'s>, name: &str) -> Vec<(&'t str, Range<usize>, &'t Table<'s>)> {
    let mut found: Vec<_> = table(parent, name)
        .into_iter()
        .flatten()
        .filter(|(name, _)| values::name(name.get_ref()).is_ok())
        .filter_map(|(name, value)| Some((name.get_ref().as_ref(), name.span(), value.get_ref().as_table()?)))
        .collect();
    found.sort_by_key(|(_, span, _)| span.start);
    found
}

pub(super) fn text_of<'t>(table: &'t Table, name: &str) -> Option<&'t str> {
    text(table.get(name)?).ok()
}

pub(super) fn word_of<T: values::Word>(table: &Table, name: &str) -> Option<T> {
    T::of(text_of(table, name)?)
}

/// A duration of any length: its bounds were judged before.
pub(super) fn duration_of(table: &Table, name: &str) -> Option<std::time::Duration> {
    values::duration(text_of(table, name)?, 0, u64::MAX).ok()
}

pub(super) fn integer_of<T: TryFrom<i64>>(table: &Table, name: &str) -> Option<T> {
    T::try_from(integer(table.get(name)?)?).ok()
}

pub(super) fn number_of(table: &Table, name: &str) -> Option<f64> {
    number(table.get(name)?)
}

/// The steps under a key, and the commands that they name.
pub(super) fn ladder_of(table: &Table, name: &str) -> Option<(Vec<Step>, Vec<Vec<String>>)> {
    let mut commands = Vec::new();
    let items = table.get(name)?.get_ref().as_array()?;
    let steps: Option<Vec<Step>> =
        items.iter().map(|item| values::step(text(item).ok()?, &mut commands).ok()).collect();
    Some((steps.filter(|steps| !steps.is_empty())?, commands))
}

pub(super) fn labels_of(table: &Table, name: &str) -> Option<Vec<LabelMatch>> {
    table.get(name)?.get_ref().as_array()?.iter().map(|item| values::label(text(item).ok()?).ok()).collect()
}

pub(super) fn threshold_of(value: &Value) -> Read<Threshold> {
    match value.get_ref() {
        DeValue::String(text) => values::threshold(text),
        _ => values::threshold(&integer(value).unwrap_or_default().to_string()),
    }
}

/// Statuses from a number, a text, or a list of both.
pub(super) fn statuses_of(value: &Value) -> Read<Vec<(u16, u16)>> {
    match value.get_ref() {
        DeValue::String(text) => values::statuses(text),
        DeValue::Array(items) => {
            let mut all = Vec::new();
            for item in items {
                if item.get_ref().is_array() {
                    return values::statuses("");
                }
                all.extend(statuses_of(item)?);
            }
            Ok(all)
        }
        _ => values::statuses(&integer(value).unwrap_or_default().to_string()),
    }
}

/// Headers by name in lower case.
pub(super) fn headers_of(parent: &Table, name: &str) -> Vec<(String, String)> {
    let headers = table(parent, name).into_iter().flatten();
    headers
        .filter_map(|(name, value)| {
            Some((values::header_name(name.get_ref()).ok()?, values::header_value(text(value).ok()?).ok()?))
        })
        .collect()
}

/// A plain value as JSON has it.
pub(super) fn json(value: &Value) -> Read<serde_json::Value> {
    const FORM: &str = "a text, a number, true or false";
    match value.get_ref() {
        DeValue::String(text) => Ok(text.as_ref().into()),
        DeValue::Boolean(value) => Ok((*value).into()),
        DeValue::Integer(_) => integer(value).map(Into::into).ok_or_else(|| FORM.to_owned()),
        DeValue::Float(_) => {
            number(value).and_then(serde_json::Number::from_f64).map(Into::into).ok_or_else(|| FORM.to_owned())
        }
        _ => Err(FORM.to_owned()),
    }
}

/// Text that is not empty.
fn text<'v>(value: &'v Value) -> Read<&'v str> {
    value.get_ref().as_str().filter(|text| !text.is_empty()).ok_or_else(|| "a text in quotes".to_owned())
}

fn integer(value: &Value) -> Option<i64> {
    let number = value.get_ref().as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A finite number, whole or not.
fn number(value: &Value) -> Option<f64> {
    match value.get_ref() {
        DeValue::Float(number) => number.as_str().parse().ok().filter(|n: &f64| n.is_finite()),
        DeValue::Integer(number) => {
            number.as_str().parse().ok().filter(|n: &f64| n.is_finite() && number.radix() == 10)
        }
        _ => None,
    }
}
