//! The spanned tree of all files: each file's own, its references filled in, merged into one, and overridden by the
//! environment.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::decode::{self, Table, Value, join};
use super::environment::Override;
use super::interpolate::{self, Filled, Wrong, fill};
use super::references::{Late, Piece};
use super::report::Report;
use super::secret::Secret;
use super::texts::{self, Source, Text};

/// Reads every file among `texts` into one tree. Tables are merged; a list of tables goes on where it was left. Any other key
/// that two files give is a mistake: which of them holds would be a trap at night.
///
/// Tells whether every file is sound TOML; else the tree lacks what the parser skipped.
pub(super) fn read<'s>(
    report: &mut Report,
    texts: &'s [Text],
    env: &dyn Fn(&str) -> Option<String>,
) -> (Table<'s>, bool) {
    let mut tree = Table::new();
    let mut sound = true;
    for (text, start) in texts.iter().zip(texts::starts(texts)) {
        let folder = match &text.source {
            Source::Variable => continue,
            Source::File { folder, .. } => Some(folder.as_path()),
            Source::Memory => None,
        };
        let (file, errors) = DeTable::parse_recoverable(&text.content);
        for error in &errors {
            report.syntax(moved(error.span().unwrap_or(0..0), start), error.message());
        }
        sound &= errors.is_empty();
        let mut settler = Settler { report: &mut *report, start, env, folder };
        let file = settler.table(file.into_inner(), "");
        merge(report, &mut tree, file, "");
    }
    (tree, sound)
}

fn moved(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

/// Moves the places of one file's tree to where its text is among all, and fills in references.
struct Settler<'r, 's, 'e> {
    report: &'r mut Report<'s>,
    start: usize,
    env: &'e dyn Fn(&str) -> Option<String>,
    folder: Option<&'e Path>,
}

impl Settler<'_, '_, '_> {
    fn table<'t>(&mut self, table: Table<'t>, path: &str) -> Table<'t> {
        let settled = |(key, value): (Spanned<_>, Value<'t>)| {
            let span = moved(key.span(), self.start);
            let key: std::borrow::Cow<'t, str> = key.into_inner();
            let value = self.value(value, &join(path, &key));
            (Spanned::new(span, key), value)
        };
        table.into_iter().map(settled).collect()
    }

    fn value<'t>(&mut self, value: Value<'t>, path: &str) -> Value<'t> {
        let span = moved(value.span(), self.start);
        let value = match value.into_inner() {
            DeValue::Table(table) => DeValue::Table(self.table(table, path)),
            DeValue::Array(items) => {
                let item = |(index, item)| self.value(item, &format!("{path}[{index}]"));
                DeValue::Array(items.into_iter().enumerate().map(item).collect())
            }
            DeValue::String(text) => match fill(&text, self.env, self.folder) {
                Ok(None) => DeValue::String(text),
                Ok(Some(Filled::Now(filled))) => {
                    self.report.fill(&span);
                    DeValue::String(filled.into())
                }
                Ok(Some(Filled::Later(pieces))) => {
                    self.report.fill(&span);
                    DeValue::String(self.later(&span, path, pieces).into())
                }
                Err(wrong) => {
                    self.report.fill(&span);
                    wrong.into_iter().for_each(|wrong| self.tell(&span, path, wrong));
                    self.report.give_up(&span);
                    DeValue::String(text)
                }
            },
            plain => plain,
        };
        Spanned::new(span, value)
    }

    /// Notes what is put in later. What stands for it meanwhile is judged by its key as any text is.
    fn later(&mut self, span: &Range<usize>, path: &str, pieces: Vec<interpolate::Piece>) -> String {
        let mut stand_in = String::new();
        let noted = pieces.into_iter().map(|piece| match piece {
            interpolate::Piece::Text(text) => {
                stand_in.push_str(&text);
                Piece::Text(Secret::new(text))
            }
            interpolate::Piece::Credential(name) => {
                stand_in.push('x');
                let place = self.place(span, &format!("${{credential:{name}}}"));
                Piece::Credential(name, place)
            }
        });
        let late = Late { path: path.to_owned(), pieces: noted.collect() };
        self.report.fill_later(span, late);
        stand_in
    }

    fn tell(&mut self, span: &Range<usize>, path: &str, Wrong { reference, got, expected }: Wrong) {
        self.report.mistake(self.place(span, &reference), path, got, expected);
    }

    /// Where a reference stands in a text, where that has no escapes of TOML's before it; else the whole text.
    fn place(&self, span: &Range<usize>, reference: &str) -> Range<usize> {
        self.report.written(span).find(reference).map_or(span.clone(), |at| {
            let start = span.start + at;
            start..start + reference.len()
        })
    }
}

fn merge<'s>(report: &mut Report, into: &mut Table<'s>, from: Table<'s>, path: &str) {
    for (key, value) in from {
        let path = join(path, key.get_ref());
        let Some((first, _)) = into.get_key_value(key.get_ref().as_ref()) else {
            into.insert(key, value);
            continue;
        };
        let first = first.span();
        let Some(there) = into.get_mut(key.get_ref().as_ref()) else { continue };
        match (there.get_mut(), value.into_inner()) {
            (DeValue::Table(there), DeValue::Table(table)) => merge(report, there, table, &path),
            (DeValue::Array(there), DeValue::Array(items)) if all_tables(there) && all_tables(&items) => {
                items.into_iter().for_each(|item| there.push(item));
            }
            _ => {
                let got = format!("a second value; the first is at {}", report.whereabouts(&first));
                report.mistake(key.span(), &path, got, "each key in one file only");
            }
        }
    }
}

fn all_tables(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| item.get_ref().is_table())
}

/// Puts the environment's values in their places, over the files'.
pub(super) fn override_with<'s>(tree: &mut Table<'s>, overrides: &[Override], texts: &'s [Text]) {
    let variables = texts.iter().zip(texts::starts(texts)).filter(|(text, _)| text.source == Source::Variable);
    for (text, start) in variables {
        let Some(of) = overrides.iter().find(|of| text.origin.strip_prefix('$') == Some(&of.variable)) else {
            continue;
        };
        let span = start..start + text.content.len();
        put(tree, &of.steps, decode::from_text(of.kind, &text.content, span));
    }
}

/// Where the file has something else than a table on the way, its own mistake is told.
fn put<'s>(tree: &mut Table<'s>, steps: &[&'static str], value: Value<'s>) {
    let Some((first, rest)) = steps.split_first() else { return };
    let key = Spanned::new(value.span(), (*first).into());
    if rest.is_empty() {
        // The key in the tree keeps its place, the value brings its own.
        tree.insert(key, value);
        return;
    }
    let inner = tree.entry(key).or_insert_with(|| Spanned::new(value.span(), DeValue::Table(Table::new())));
    if let DeValue::Table(inner) = inner.get_mut() {
        put(inner, rest, value);
    }
}
