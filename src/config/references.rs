//! `${credential:NAME}` and `${credential:NAME.FIELD}` in the file's texts: which keys may name a credential, and which one is
//! named. The value is put in when a check is made, see [`Composed`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::de::DeValue;

use super::decode::{self, Table, Value};
use super::keys::Kind;
use super::mistake::nearest;
use super::report::Report;
use super::secret::Secret;
use super::validated::{Composed, Credential, Part, Reference, Source};
use super::values;

/// Where a credential may be named, for whoever did so elsewhere.
const ALLOWED: &str =
    "it in headers, body_contains, send or expect of a check; elsewhere ${file:PATH}, or [[credentials.NAME.files]]";

/// A text of the file that names credentials.
#[derive(Debug)]
pub(super) struct Late {
    /// Its key.
    pub(super) path: String,
    pub(super) pieces: Vec<Piece>,
}

/// A part of it.
#[derive(Debug)]
pub(super) enum Piece {
    Text(Secret),
    /// What follows `${credential:`, and where the whole reference stands.
    Credential(String, Range<usize>),
}

impl Late {
    pub(super) fn places(&self) -> impl Iterator<Item = &Range<usize>> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Credential(_, place) => Some(place),
        })
    }
}

/// Tells each credential that is named under a key of this kind, unless that may be; what is in tables is judged by its own key.
pub(super) fn judge(report: &mut Report, value: &Value, kind: &Kind) {
    match kind {
        Kind::Headers | Kind::Composed => {}
        Kind::Table(_) | Kind::Named(_) | Kind::NamedTyped(_) => {}
        Kind::OneTyped(_) | Kind::Typed(_) | Kind::Tables(_) => {}
        _ => refuse(report, value),
    }
}

fn refuse(report: &mut Report, value: &Value) {
    match value.get_ref() {
        DeValue::Table(table) => table.values().for_each(|value| refuse(report, value)),
        DeValue::Array(items) => items.iter().for_each(|value| refuse(report, value)),
        DeValue::String(_) => {
            let Some(late) = report.late(&value.span()) else { return };
            let (path, places): (String, Vec<_>) = (late.path.clone(), late.places().cloned().collect());
            for place in places {
                report.mistake(place, &path, "a credential cannot be named here".to_owned(), ALLOWED);
            }
            report.give_up(&value.span());
        }
        _ => {}
    }
}

/// The texts of a configuration that name credentials, by where they begin. Labels have none: they are foreign input.
#[derive(Debug, Default)]
pub(super) struct References(BTreeMap<usize, Composed>);

impl References {
    /// Looks up what is named, and tells what there is not.
    pub(super) fn resolve(report: &mut Report, file: &Table, credentials: &[Arc<Credential>]) -> Self {
        // One with a mistake of its own is known all the same.
        let named = decode::named(file, "credentials");
        let names: Vec<&str> = named.iter().map(|(name, ..)| *name).collect();
        let mut composed = BTreeMap::new();
        for (start, Late { path, pieces }) in report.take_late() {
            let mut parts = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => parts.push(Part::Text(text)),
                    Piece::Credential(written, place) => {
                        let reference = reference(report, &written, &place, &path, &names, credentials);
                        parts.extend(reference.map(Part::Value));
                    }
                }
            }
            composed.insert(start, Composed::new(parts));
        }
        Self(composed)
    }

    /// The text under a key.
    pub(super) fn text_of(&self, table: &Table, key: &str) -> Option<Composed> {
        let text = decode::text_of(table, key)?;
        Some(self.of(table.get(key)?, text))
    }

    /// Headers by name in lower case.
    pub(super) fn headers_of(&self, parent: &Table, key: &str) -> Vec<(String, Composed)> {
        let headers = decode::table(parent, key).into_iter().flatten();
        headers
            .filter_map(|(name, value)| {
                let text = values::header_value(value.get_ref().as_str().filter(|text| !text.is_empty())?).ok()?;
                Some((values::header_name(name.get_ref()).ok()?, self.of(value, &text)))
            })
            .collect()
    }

    fn of(&self, value: &Value, text: &str) -> Composed {
        self.0.get(&value.span().start).cloned().unwrap_or_else(|| Composed::from(text))
    }
}

fn reference(
    report: &mut Report,
    written: &str,
    place: &Range<usize>,
    path: &str,
    names: &[&str],
    credentials: &[Arc<Credential>],
) -> Option<Reference> {
    let Some((name, field)) = split(written, names) else {
        // A misspelled name may have a field behind it.
        let heads = written.match_indices('.').map(|(at, _)| &written[..at]);
        let near = |name: &&str| nearest(name, names.iter().copied()).is_some();
        let name = std::iter::once(written).chain(heads).find(near).unwrap_or(written);
        report.unknown(place.clone(), path, "credential", name, names.iter().copied());
        return None;
    };
    let credential = credentials.iter().find(|credential| *credential.name == *name)?;
    let field = field.unwrap_or(&credential.field).to_owned();
    if let (Source::Environment { .. } | Source::File { .. }, false) = (&credential.source, field == "value") {
        let got = format!("what is of type {} has no field of its own", credential.source.kind());
        report.mistake(place.clone(), path, got, format!("${{credential:{name}}}"));
    }
    Some(Reference { credential: Arc::clone(&credential.name), field })
}

/// The name and the field: the longest name of a credential that the text is, or begins with before a dot.
fn split<'w>(written: &'w str, names: &[&str]) -> Option<(&'w str, Option<&'w str>)> {
    if names.contains(&written) {
        return Some((written, None));
    }
    let mut dots = written.rmatch_indices('.').map(|(at, _)| (&written[..at], &written[at + 1..]));
    dots.find(|(name, field)| names.contains(name) && !field.is_empty()).map(|(name, field)| (name, Some(field)))
}
