//! The file against the table of keys: every unknown key, wrong type and value out of bounds, each with its place.

mod read;

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) use self::read::{
    Ladder, argv_of, duration_of, headers_of, integer_of, json, labels_of, ladder_of, named, names_of, number_of,
    pins_of, size_of, statuses_of, table, text_of, texts_of, threshold_of, word_of,
};
use self::read::{integer, number, text};
use super::keys::{Key, Kind, Types};
use super::maintenance;
use super::mistake::{one_of, shown};
use super::presets;
use super::references;
use super::report::Report;
use super::unwise;
use super::url;
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
                    Kind::Ladder if values::dependents_follow(items, index) => Ok(()),
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
        (Kind::Preset, DeValue::String(name)) if !presets::names().any(|known| known == name) => {
            report.unknown(value.span(), path, "preset", name, presets::names());
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
        Kind::Preset => match text(value)? {
            name if presets::names().any(|known| known == name) => Ok(()),
            _ => Err(one_of(presets::names())),
        },
        Kind::Size(least) => text(value).and_then(|text| values::size(text, *least)).map(drop),
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
