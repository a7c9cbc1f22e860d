//! Reads values that the table of keys has been compared with. One that it refused reads as none.

use std::ops::Range;

use iaso_policy::spec::{Step, Threshold};
use toml::de::DeValue;

use super::{Table, Value};
use crate::config::secret::Secret;
use crate::config::validated::LabelMatch;
use crate::config::values::{self, Read};

/// A key's table; an empty one where there is none.
pub(in crate::config) fn table<'t, 's>(table: &'t Table<'s>, name: &str) -> Option<&'t Table<'s>> {
    table.get(name)?.get_ref().as_table()
}

/// Names and tables under a key, in the order of the file, with the place of each name.
pub(in crate::config) fn named<'t, 's>(
    parent: &'t Table<'s>,
    name: &str,
) -> Vec<(&'t str, Range<usize>, &'t Table<'s>)> {
    let mut found: Vec<_> = table(parent, name)
        .into_iter()
        .flatten()
        .filter(|(name, _)| values::name(name.get_ref()).is_ok())
        .filter_map(|(name, value)| Some((name.get_ref().as_ref(), name.span(), value.get_ref().as_table()?)))
        .collect();
    found.sort_by_key(|(_, span, _)| span.start);
    found
}

pub(in crate::config) fn text_of<'t>(table: &'t Table, name: &str) -> Option<&'t str> {
    text(table.get(name)?).ok()
}

pub(in crate::config) fn word_of<T: values::Word>(table: &Table, name: &str) -> Option<T> {
    T::of(text_of(table, name)?)
}

/// A duration of any length: its bounds were judged before.
pub(in crate::config) fn duration_of(table: &Table, name: &str) -> Option<std::time::Duration> {
    values::duration(text_of(table, name)?, 0, u64::MAX).ok()
}

pub(in crate::config) fn integer_of<T: TryFrom<i64>>(table: &Table, name: &str) -> Option<T> {
    T::try_from(integer(table.get(name)?)?).ok()
}

pub(in crate::config) fn number_of(table: &Table, name: &str) -> Option<f64> {
    number(table.get(name)?)
}

/// A ladder as it is written.
pub(in crate::config) struct Ladder {
    pub(in crate::config) steps: Vec<Step>,
    /// The commands that they name.
    pub(in crate::config) commands: Vec<Vec<String>>,
    /// It ends with `restart-dependents`.
    pub(in crate::config) restart_dependents: bool,
}

/// The ladder under a key.
pub(in crate::config) fn ladder_of(table: &Table, name: &str) -> Option<Ladder> {
    let mut commands = Vec::new();
    let items = table.get(name)?.get_ref().as_array()?;
    let restart_dependents = values::dependents_follow(items, items.len().checked_sub(1)?);
    let own = items.len() - usize::from(restart_dependents);
    let steps: Option<Vec<Step>> =
        items.iter().take(own).map(|item| values::step(text(item).ok()?, &mut commands).ok()).collect();
    Some(Ladder { steps: steps.filter(|steps| !steps.is_empty())?, commands, restart_dependents })
}

pub(in crate::config) fn size_of(table: &Table, name: &str) -> Option<u64> {
    values::size(text_of(table, name)?, 0).ok()
}

pub(in crate::config) fn labels_of(table: &Table, name: &str) -> Option<Vec<LabelMatch>> {
    table.get(name)?.get_ref().as_array()?.iter().map(|item| values::label(text(item).ok()?).ok()).collect()
}

/// Names and their places.
pub(in crate::config) fn names_of<'t>(table: &'t Table, name: &str) -> Vec<(&'t str, Range<usize>)> {
    let items = table.get(name).and_then(|value| value.get_ref().as_array()).into_iter().flatten();
    items.filter_map(|item| Some((values::name(text(item).ok()?).ok()?, item.span()))).collect()
}

pub(in crate::config) fn threshold_of(value: &Value) -> Read<Threshold> {
    match value.get_ref() {
        DeValue::String(text) => values::threshold(text),
        _ => values::threshold(&integer(value).unwrap_or_default().to_string()),
    }
}

/// Statuses from a number, a text, or a list of both.
pub(in crate::config) fn statuses_of(value: &Value) -> Read<Vec<(u16, u16)>> {
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

/// Argument vectors from one line or a list.
pub(in crate::config) fn argv_of(table: &Table, name: &str) -> Option<Vec<String>> {
    let value = table.get(name)?.get_ref();
    match value.as_array() {
        Some(items) => items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect(),
        None => values::argv(value.as_str()?).ok(),
    }
}

pub(in crate::config) fn texts_of(table: &Table, name: &str) -> Vec<String> {
    let items = table.get(name).and_then(|value| value.get_ref().as_array()).into_iter().flatten();
    items.filter_map(|item| text(item).ok().map(str::to_owned)).collect()
}

/// Pins from a list, or one from a text.
pub(in crate::config) fn pins_of(table: &Table, name: &str) -> Vec<[u8; 32]> {
    let Some(value) = table.get(name) else { return Vec::new() };
    let one = text(value).ok().and_then(|text| values::pin(text).ok());
    one.into_iter().chain(texts_of(table, name).iter().filter_map(|text| values::pin(text).ok())).collect()
}

/// Headers by name in lower case.
pub(in crate::config) fn headers_of(parent: &Table, name: &str) -> Vec<(String, Secret)> {
    let headers = table(parent, name).into_iter().flatten();
    headers
        .filter_map(|(name, value)| {
            let secret = values::header_value(text(value).ok()?).ok()?;
            Some((values::header_name(name.get_ref()).ok()?, Secret::new(secret)))
        })
        .collect()
}

/// A plain value as JSON has it.
pub(in crate::config) fn json(value: &Value) -> Read<serde_json::Value> {
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
pub(super) fn text<'v>(value: &'v Value) -> Read<&'v str> {
    value.get_ref().as_str().filter(|text| !text.is_empty()).ok_or_else(|| "a text in quotes".to_owned())
}

pub(super) fn integer(value: &Value) -> Option<i64> {
    let number = value.get_ref().as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A finite number, whole or not.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value.get_ref() {
        DeValue::Float(number) => number.as_str().parse().ok().filter(|n: &f64| n.is_finite()),
        DeValue::Integer(number) => {
            number.as_str().parse().ok().filter(|n: &f64| n.is_finite() && number.radix() == 10)
        }
        _ => None,
    }
}
