//! The file against the table of keys: every unknown key, wrong type and value out of bounds, each with its place.

use std::ops::Range;

use iaso_policy::spec::{Step, Threshold};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Key, Kind, Types};
use super::maintenance;
use super::mistake::{one_of, shown};
use super::references;
use super::report::Report;
use super::secret::Secret;
use super::unwise;
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
    references::judge(report, value, kind);
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
        (Kind::NamedTyped(types), DeValue::Table(tables)) => {
            for (name, value) in tables {
                let path = join(path, name.get_ref());
                if let Err(expected) = values::name(name.get_ref()) {
                    report.mistake(name.span(), &path, format!("found {}", shown(name.get_ref())), expected);
                }
                check(report, &path, value, &Kind::OneTyped(types));
            }
        }
        (Kind::OneTyped(types), DeValue::Table(table)) => check_typed(report, path, table, types),
        (Kind::Tables(keys), DeValue::Array(tables)) => {
            for (index, value) in tables.iter().enumerate() {
                check(report, &format!("{path}[{index}]"), value, &Kind::Table(keys));
            }
        }
        (Kind::Typed(types), DeValue::Array(tables)) => {
            for (index, value) in tables.iter().enumerate() {
                let path = format!("{path}[{index}]");
                match value.get_ref().as_table() {
                    Some(table) => check_typed(report, &path, table, types),
                    None => tell(report, &path, value, Err("a table with a type".to_owned())),
                }
            }
        }
        (
            Kind::Ladder
            | Kind::Labels
            | Kind::Names
            | Kind::Statuses
            | Kind::Argv
            | Kind::Texts
            | Kind::Pins
            | Kind::Days,
            DeValue::Array(items),
        ) => {
            if items.is_empty() && !matches!(kind, Kind::Labels | Kind::Names) {
                report.mistake(value.span(), path, "found an empty list".to_owned(), "at least one");
            }
            for (index, item) in items.iter().enumerate() {
                let result = match kind {
                    Kind::Ladder => text(item).and_then(|text| values::step(text, &mut Vec::new()).map(drop)),
                    Kind::Labels => text(item).and_then(|text| values::label(text).map(drop)),
                    Kind::Days => text(item).and_then(|text| values::day(text).map(drop)),
                    Kind::Names => text(item).and_then(|text| values::name(text).map(drop)),
                    Kind::Argv if index > 0 => item.get_ref().as_str().map(drop).ok_or_else(|| "a text".to_owned()),
                    Kind::Argv | Kind::Texts => text(item).map(drop),
                    Kind::Pins => text(item).and_then(|text| values::pin(text).map(drop)),
                    _ => statuses_of(item).map(drop),
                };
                tell(report, &format!("{path}[{index}]"), item, result);
            }
        }
        (Kind::Headers | Kind::CallHeaders, DeValue::Table(headers)) => {
            for (name, value) in headers {
                let path = join(path, name.get_ref());
                report.hide(value.span());
                if let Err(expected) = values::header_name(name.get_ref()) {
                    report.mistake(name.span(), &path, format!("found {}", shown(name.get_ref())), expected);
                }
                match text(value).and_then(values::header_value) {
                    // Of what is put in later nothing stands there.
                    Ok(text) if matches!(kind, Kind::CallHeaders) && text.contains("{{") => {}
                    Ok(_) => unwise::header(report, &path, name.get_ref(), value.span()),
                    Err(expected) => {
                        report.mistake(value.span(), &path, "found another value".to_owned(), expected);
                    }
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
        (Kind::Counts, DeValue::Table(counts)) => {
            for (name, value) in counts {
                tell(report, &join(path, name.get_ref()), value, scalar(value, &Kind::Integer(1, 4096)));
            }
        }
        (Kind::Word(words), DeValue::String(word)) if !words.contains(&word.as_ref()) => {
            report.unknown(value.span(), path, "word", word, words.iter().copied());
        }
        (Kind::Secret | Kind::Private | Kind::Composed, _) => {
            report.hide(value.span());
            match text(value) {
                Ok(_) if matches!(kind, Kind::Secret) => unwise::plain_secret(report, path, value.span()),
                Ok(_) => {}
                Err(expected) => report.mistake(value.span(), path, "found another value".to_owned(), expected),
            }
        }
        (
            Kind::HttpUrl | Kind::HostUrl | Kind::Peer | Kind::VaultAddress | Kind::AwsEndpoint | Kind::CallUrl,
            DeValue::String(text),
        ) if text.contains('@') => {
            report.hide(value.span());
            let got = "found a user name or password, which is not shown".to_owned();
            report.mistake(value.span(), path, got, "a URL without one");
        }
        _ => tell(report, path, value, scalar(value, kind)),
    }
}

/// Checks a table against the keys of its type. Where that is unknown or missing, a key that any type has may be right.
fn check_typed(report: &mut Report, path: &str, table: &Table, types: &Types) {
    let word = table.get("type").filter(|value| value.get_ref().is_str());
    let own = word.and_then(|word| types.of(word.get_ref().as_str()?));
    if let (Some(word), None) = (word, own) {
        report.unknown(
            word.span(),
            &join(path, "type"),
            "type",
            word.get_ref().as_str().unwrap_or_default(),
            types.words(),
        );
    }
    let all: Vec<&Key> = match own {
        Some(own) => own.iter().collect(),
        None => types.own.iter().flat_map(|(_, keys)| *keys).collect(),
    };
    for (name, value) in table {
        let name_path = join(path, name.get_ref());
        let is_it = |key: &&Key| key.name == name.get_ref().as_ref();
        let (common, of_type) = (types.common.iter().find(is_it), all.iter().copied().find(is_it));
        match (common, of_type, own) {
            (Some(key), ..) => check(report, &name_path, value, &key.kind),
            (None, Some(key), Some(_)) => check(report, &name_path, value, &key.kind),
            (None, Some(_), None) => hide_all(report, value),
            (None, None, _) => {
                let names = types.common.iter().chain(all.iter().copied()).map(|key| key.name);
                report.unknown(name.span(), &name_path, "key", name.get_ref(), names);
                hide_all(report, value);
            }
        }
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
        Kind::Peer => text(value).and_then(url::peer).map(drop),
        Kind::Host => text(value).and_then(url::host).map(drop),
        Kind::Argv => text(value).and_then(values::argv).map(drop),
        Kind::Secret | Kind::Private | Kind::Composed => text(value).map(drop),
        Kind::Texts => Err("a list of texts".to_owned()),
        Kind::Pins => text(value).and_then(values::pin).map(drop),
        Kind::Statuses => statuses_of(value).map(drop),
        Kind::Ladder => Err("a list of steps, such as [\"signal:HUP\", \"restart\"]".to_owned()),
        Kind::Labels => Err("a list of labels, such as [\"iaso.enable=true\"]".to_owned()),
        Kind::Names => Err("a list of names, such as [\"db\"]".to_owned()),
        Kind::CallUrl => text(value).and_then(values::call_url).map(drop),
        Kind::VaultAddress => text(value).and_then(values::vault_address).map(drop),
        Kind::VaultPath => text(value).and_then(values::vault_path).map(drop),
        Kind::AwsEndpoint => text(value).and_then(values::aws_endpoint).map(drop),
        Kind::AwsSecret => text(value).and_then(values::aws_secret).map(drop),
        Kind::Absolute => text(value).and_then(values::absolute).map(drop),
        Kind::FileMode => text(value).and_then(values::mode).map(drop),
        Kind::Owner => text(value).and_then(values::owner).map(drop),
        Kind::OnChange => text(value).and_then(values::on_change).map(drop),
        Kind::Alphabet => text(value).and_then(values::alphabet).map(drop),
        Kind::Days => Err("a list of days, such as [\"sat\", \"sun\"]".to_owned()),
        Kind::Moment => maintenance::moment_of(value).map(drop),
        Kind::TimeZone => text(value).and_then(values::time_zone).map(drop),
        Kind::Cron => text(value).and_then(values::cron).map(drop),
        Kind::Counts => Err("a table of characters and numbers, such as { upper = 1, digits = 2 }".to_owned()),
        Kind::OneTyped(types) => Err(format!("a table with a type: {}", one_of(types.words()))),
        Kind::Headers | Kind::CallHeaders => {
            Err("a table of names and texts, such as { Host = \"localhost\" }".to_owned())
        }
        Kind::Json => Err("a table of JSON pointers and values, such as { \"/status\" = \"up\" }".to_owned()),
        Kind::Table(keys) => Err(format!("a table with {}", one_of(keys.iter().map(|key| key.name)))),
        Kind::Named(_) | Kind::NamedTyped(_) => Err("a table of tables, each with a name of your own".to_owned()),
        Kind::Typed(_) | Kind::Tables(_) => Err("a list of tables: [[...]] in double brackets".to_owned()),
    }
}

fn tell(report: &mut Report, path: &str, value: &Value, result: Read<()>) {
    if let Err(expected) = result {
        report.mistake(value.span(), path, format!("found {}", describe(report, value)), expected);
    }
}

/// A value in a few words. What is not a plain value is named by its type.
fn describe(report: &Report, value: &Value) -> String {
    match value.get_ref() {
        DeValue::String(text) => report.shown(&value.span(), text),
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

/// A text that is no part of a file as the file would have it: a number where a number is wanted, and so on. What is none
/// stays a text, and is refused as one.
pub(super) fn from_text<'t>(kind: &Kind, text: &'t str, span: Range<usize>) -> Value<'t> {
    let plain = match kind {
        Kind::Integer(..) | Kind::Number(..) => DeValue::parse(text).ok().map(Spanned::into_inner),
        Kind::Bool => values::flag(text).ok().map(DeValue::Boolean),
        _ => None,
    };
    Spanned::new(span, plain.unwrap_or_else(|| DeValue::String(text.into())))
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

/// Names and their places.
pub(super) fn names_of<'t>(table: &'t Table, name: &str) -> Vec<(&'t str, Range<usize>)> {
    let items = table.get(name).and_then(|value| value.get_ref().as_array()).into_iter().flatten();
    items.filter_map(|item| Some((values::name(text(item).ok()?).ok()?, item.span()))).collect()
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

/// Argument vectors from one line or a list.
pub(super) fn argv_of(table: &Table, name: &str) -> Option<Vec<String>> {
    let value = table.get(name)?.get_ref();
    match value.as_array() {
        Some(items) => items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect(),
        None => values::argv(value.as_str()?).ok(),
    }
}

pub(super) fn texts_of(table: &Table, name: &str) -> Vec<String> {
    let items = table.get(name).and_then(|value| value.get_ref().as_array()).into_iter().flatten();
    items.filter_map(|item| text(item).ok().map(str::to_owned)).collect()
}

/// Pins from a list, or one from a text.
pub(super) fn pins_of(table: &Table, name: &str) -> Vec<[u8; 32]> {
    let Some(value) = table.get(name) else { return Vec::new() };
    let one = text(value).ok().and_then(|text| values::pin(text).ok());
    one.into_iter().chain(texts_of(table, name).iter().filter_map(|text| values::pin(text).ok())).collect()
}

/// Headers by name in lower case.
pub(super) fn headers_of(parent: &Table, name: &str) -> Vec<(String, Secret)> {
    let headers = table(parent, name).into_iter().flatten();
    headers
        .filter_map(|(name, value)| {
            let secret = values::header_value(text(value).ok()?).ok()?;
            Some((values::header_name(name.get_ref()).ok()?, Secret::new(secret)))
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
