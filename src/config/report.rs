//! What is found while the texts of a configuration are read: mistakes and warnings by their places, and what of the texts
//! must not be shown.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use super::mistake::{Level, Mistake, Place, nearest, one_of, printable, shown};
use super::references::Late;
use super::texts::{self, Source, Text};

/// The longest excerpt of a source line, in characters.
const EXCERPT: usize = 120;

/// The most mistakes that are told one by one; a configuration that has more is hardly one.
const MOST: usize = 1000;

/// The findings of one run. Places count through all texts, see [`texts`].
#[derive(Debug)]
pub(super) struct Report<'s> {
    texts: &'s [Text],
    /// Where each text begins.
    starts: Vec<usize>,
    /// Where each line of each text begins.
    lines: Vec<usize>,
    /// Values that are never shown; none overlap.
    secrets: Vec<Range<usize>>,
    /// Where values begin that the environment or another file filled in: they are shown as written only.
    filled: BTreeSet<usize>,
    /// Texts that name credentials, by where they begin.
    late: BTreeMap<usize, Late>,
    /// Values that are known to be wrong: what follows from that is not told.
    given_up: BTreeSet<usize>,
    /// Where texts begin that everybody may read, and that hold a secret.
    exposed: BTreeSet<usize>,
    found: Vec<Found>,
    /// What is told of variables that are no texts of the configuration.
    foreign: Vec<Mistake>,
}

#[derive(Debug)]
struct Found {
    level: Level,
    span: Range<usize>,
    path: String,
    got: String,
    expected: String,
    suggestion: Option<String>,
    syntax: bool,
}

impl<'s> Report<'s> {
    /// `texts` has at least one.
    pub(super) fn new(texts: &'s [Text]) -> Self {
        let starts = texts::starts(texts);
        let lines = |(text, start): (&Text, &usize)| {
            let breaks: Vec<usize> = text.content.match_indices('\n').map(|(at, _)| start + at + 1).collect();
            std::iter::once(*start).chain(breaks)
        };
        let lines = texts.iter().zip(&starts).flat_map(lines).collect();
        Self {
            texts,
            starts,
            lines,
            secrets: Vec::new(),
            filled: BTreeSet::new(),
            late: BTreeMap::new(),
            given_up: BTreeSet::new(),
            exposed: BTreeSet::new(),
            found: Vec::new(),
            foreign: Vec::new(),
        }
    }

    /// Whether a mistake is told of just this place.
    pub(super) fn has_at(&self, span: &Range<usize>) -> bool {
        self.found.iter().any(|found| found.level == Level::Error && found.span == *span)
    }

    /// Keeps what stands there out of every excerpt, but for the names of credentials.
    pub(super) fn hide(&mut self, span: Range<usize>) {
        let mut start = span.start;
        for place in self.late.get(&span.start).into_iter().flat_map(Late::places).filter(|place| **place != span) {
            self.secrets.push(start..place.start.max(start));
            start = place.end.max(start);
        }
        self.secrets.push(start..span.end);
    }

    /// What stands there names credentials, which are put in later.
    pub(super) fn fill_later(&mut self, span: &Range<usize>, late: Late) {
        self.late.insert(span.start, late);
    }

    /// The credentials that are named there.
    pub(super) fn late(&self, span: &Range<usize>) -> Option<&Late> {
        self.late.get(&span.start)
    }

    /// Every text that names credentials where that may be.
    pub(super) fn take_late(&mut self) -> BTreeMap<usize, Late> {
        let mut late = std::mem::take(&mut self.late);
        late.retain(|start, _| !self.given_up.contains(start));
        late
    }

    /// What stands there was filled in, and its text is nobody's to see.
    pub(super) fn fill(&mut self, span: &Range<usize>) {
        self.filled.insert(span.start);
    }

    /// Takes no more mistakes about a value: what is wrong with it was told.
    pub(super) fn give_up(&mut self, span: &Range<usize>) {
        self.given_up.insert(span.start);
    }

    pub(super) fn is_filled(&self, span: &Range<usize>) -> bool {
        self.filled.contains(&span.start)
    }

    /// A value's text as a mistake may show it: what was filled in as it is written.
    pub(super) fn shown(&self, span: &Range<usize>, text: &str) -> String {
        if self.is_filled(span) { shown(self.written(span).trim_matches(['"', '\''])) } else { shown(text) }
    }

    /// Notes that the text of this place is open to everybody and holds a secret. Tells whether that is news.
    pub(super) fn expose(&mut self, span: &Range<usize>) -> bool {
        let (_, start) = self.text_at(span.start);
        self.exposed.insert(start)
    }

    /// What stands in the text itself.
    pub(super) fn written(&self, span: &Range<usize>) -> &'s str {
        let (text, start) = self.text_at(span.start);
        text.content.get(span.start - start..span.end - start).unwrap_or_default()
    }

    /// All that is read.
    pub(super) fn texts(&self) -> &'s [Text] {
        self.texts
    }

    /// The text that a place is in, and where that begins.
    pub(super) fn text_at(&self, at: usize) -> (&'s Text, usize) {
        let index = self.starts.partition_point(|&start| start <= at) - 1;
        (&self.texts[index], self.starts[index])
    }

    /// What the paths in a text are relative to.
    pub(super) fn folder_at(&self, at: usize) -> &'s Path {
        match &self.text_at(at).0.source {
            Source::File { folder, .. } => folder,
            Source::Memory | Source::Variable => Path::new(""),
        }
    }

    pub(super) fn mistake(&mut self, span: Range<usize>, path: &str, got: String, expected: impl Into<String>) {
        self.push(Level::Error, span, path, got, expected.into(), None);
    }

    pub(super) fn warning(&mut self, span: Range<usize>, path: &str, got: String, expected: impl Into<String>) {
        self.push(Level::Warning, span, path, got, expected.into(), None);
    }

    /// The file is not TOML here.
    pub(super) fn syntax(&mut self, span: Range<usize>, got: &str) {
        self.push(Level::Error, span, "", got.to_owned(), String::new(), None);
        if let Some(found) = self.found.last_mut() {
            found.syntax = true;
        }
    }

    /// `name` is none of `names`.
    pub(super) fn unknown<'n>(
        &mut self,
        span: Range<usize>,
        path: &str,
        what: &str,
        name: &str,
        names: impl Iterator<Item = &'n str> + Clone,
    ) {
        let got = format!("unknown {what} {}", self.shown(&span, name));
        // Comparing names takes its time, and of so many hardly one is read.
        if self.found.len() > MOST {
            return self.push(Level::Error, span, path, got, "one that there is".to_owned(), None);
        }
        let near = nearest(name, names.clone()).filter(|_| !self.is_filled(&span)).map(str::to_owned);
        self.push(Level::Error, span, path, got, one_of(names), near);
    }

    /// A mistake in a variable that another program gave its name, `$VAULT_ADDR` for instance.
    pub(super) fn variable(&mut self, name: &str, got: &str, expected: &str) {
        self.foreign.push(Mistake::of(&format!("${name}"), got.to_owned(), expected));
    }

    /// A mistake with the nearest right name.
    pub(super) fn suggest(&mut self, span: Range<usize>, got: String, expected: &str, suggestion: Option<String>) {
        self.push(Level::Error, span, "", got, expected.to_owned(), suggestion);
    }

    fn push(
        &mut self,
        level: Level,
        span: Range<usize>,
        path: &str,
        got: String,
        expected: String,
        suggestion: Option<String>,
    ) {
        if self.given_up.contains(&span.start) {
            return;
        }
        self.found.push(Found { level, span, path: path.to_owned(), got, expected, suggestion, syntax: false });
    }

    /// Mistakes and warnings, each in the order of the texts. What only follows from broken syntax on the same line is left out.
    pub(super) fn finish(mut self) -> (Vec<Mistake>, Vec<Mistake>) {
        self.found.sort_by_key(|found| (found.span.start, !found.syntax));
        self.secrets.sort_by_key(|span| span.start);
        let broken: Vec<usize> =
            self.found.iter().filter(|found| found.syntax).map(|found| self.line_of(found.span.start)).collect();
        let mut all = std::mem::take(&mut self.found);
        all.retain(|found| found.syntax || broken.binary_search(&self.line_of(found.span.start)).is_err());
        let (mistakes, warnings): (Vec<Found>, Vec<Found>) =
            all.into_iter().partition(|found| found.level == Level::Error);
        let foreign = std::mem::take(&mut self.foreign);
        (self.told(mistakes).into_iter().chain(foreign).collect(), self.told(warnings))
    }

    fn told(&self, found: Vec<Found>) -> Vec<Mistake> {
        let more = found.len().saturating_sub(MOST);
        let rest = found.get(MOST).map(|first| {
            let origin = &self.text_at(first.span.start).0.origin;
            Mistake { level: first.level, ..Mistake::of(origin, format!("{more} more of them"), "") }
        });
        let told = |found: Found| Mistake {
            level: found.level,
            origin: self.text_at(found.span.start).0.origin.clone(),
            place: self.place(&found),
            path: found.path,
            got: found.got,
            expected: found.expected,
            suggestion: found.suggestion,
        };
        found.into_iter().take(MOST).map(told).chain(rest).collect()
    }

    /// Through all texts, from 0.
    fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at) - 1
    }

    /// `FILE:LINE:COLUMN` of a place.
    pub(super) fn whereabouts(&self, span: &Range<usize>) -> String {
        let (text, start) = self.text_at(span.start);
        let line = self.line_of(span.start);
        let before = text.content.get(self.lines[line] - start..span.start - start).unwrap_or_default();
        let number = 1 + line - self.line_of(start);
        format!("{}:{number}:{}", text.origin, before.chars().count() + 1)
    }

    fn is_secret(&self, at: usize) -> bool {
        let before = self.secrets.partition_point(|span| span.start <= at);
        before > 0 && self.secrets[before - 1].contains(&at)
    }

    /// A variable is named, and its value is not shown.
    fn place(&self, found: &Found) -> Option<Place> {
        let (source, base) = self.text_at(found.span.start);
        if source.source == Source::Variable {
            return None;
        }
        let line = self.line_of(found.span.start);
        let start = self.lines[line];
        let rest = &source.content[start - base..];
        let text = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let hidden = found.syntax && may_hold_secret(text);
        let (head, tail) = text.split_at(text.floor_char_boundary(found.span.start - start));
        let window = head.char_indices().rev().nth(EXCERPT / 2 - 1).map_or(0, |(at, _)| at);
        let before = head[window..].chars().count();
        let marked = found.span.end.saturating_sub(found.span.start);
        let width = tail.char_indices().take(EXCERPT - before).take_while(|(at, _)| *at < marked).count().max(1);
        let excerpt: String = text[window..]
            .char_indices()
            .take(EXCERPT)
            .map(|(at, c)| if hidden || self.is_secret(start + window + at) { '*' } else { printable(c) })
            .collect();
        let column = head.chars().count() + 1;
        let number = 1 + line - self.line_of(base);
        Some(Place { line: number, column, excerpt: excerpt.trim_end().to_owned(), underline: (before, width) })
    }
}

/// Broken syntax hides where values begin and end, so that such a line is judged by its words.
fn may_hold_secret(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["auth", "token", "secret", "passw", "cookie", "key", "header", "@"].iter().any(|word| line.contains(word))
}
