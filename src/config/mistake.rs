//! What is wrong with a configuration, told so that a person can mend it in one go.

use std::fmt;
use std::ops::Range;

/// The longest excerpt of a source line, in characters.
const EXCERPT: usize = 120;
/// The longest piece of what was found, in characters.
const FOUND: usize = 60;

/// The most mistakes that are told one by one; a file that has more is hardly a configuration.
const MOST: usize = 1000;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file, or the variable of the environment.
    pub origin: String,
    /// Where in the file; none when it is about the file or the variable as a whole.
    pub place: Option<Place>,
    /// The key, such as `services.web.checks[0].url`; empty where there is none.
    pub path: String,
    /// What was found. Never a value that may be secret.
    pub got: String,
    /// What would have been right.
    pub expected: String,
    /// The nearest right name.
    pub suggestion: Option<String>,
}

/// Where a mistake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The part of the line around it, without what may be secret.
    excerpt: String,
    /// What of the excerpt to underline: characters before it, and its own.
    underline: (usize, usize),
}

/// Every mistake of one run, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// One mistake about a file or a variable as a whole.
    pub(super) fn of(origin: &str, got: String, expected: &str) -> Self {
        let (path, expected) = (String::new(), expected.to_owned());
        Self(vec![Mistake { origin: origin.to_owned(), place: None, path, got, expected, suggestion: None }])
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            writeln!(f, "{mistake}\n")?;
        }
        match self.0.len() {
            1 => f.write_str("1 mistake"),
            n => write!(f, "{n} mistakes"),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(Place { line, column, .. }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.got)?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected)?;
        }
        if let Some(Place { line, excerpt, underline: (before, width), .. }) = &self.place {
            let margin = line.to_string().len();
            write!(f, "\n {line} | {excerpt}\n {:margin$} | {:before$}{}", "", "", "^".repeat(*width))?;
        }
        if let Some(name) = &self.suggestion {
            write!(f, "\n help: did you mean `{name}`?")?;
        }
        Ok(())
    }
}

/// The mistakes of one file while it is read.
#[derive(Debug)]
pub(super) struct Report<'s> {
    origin: &'s str,
    source: &'s str,
    /// Where each line begins.
    lines: Vec<usize>,
    /// Values that are never shown; none overlap.
    secrets: Vec<Range<usize>>,
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    span: Range<usize>,
    path: String,
    got: String,
    expected: String,
    suggestion: Option<String>,
    syntax: bool,
}

impl<'s> Report<'s> {
    pub(super) fn new(origin: &'s str, source: &'s str) -> Self {
        let lines = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { origin, source, lines, secrets: Vec::new(), found: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Keeps what stands there out of every excerpt.
    pub(super) fn hide(&mut self, span: Range<usize>) {
        self.secrets.push(span);
    }

    pub(super) fn mistake(&mut self, span: Range<usize>, path: &str, got: String, expected: impl Into<String>) {
        self.push(span, path, got, expected.into(), None, false);
    }

    /// The file is not TOML here.
    pub(super) fn syntax(&mut self, span: Range<usize>, got: &str) {
        self.push(span, "", got.to_owned(), String::new(), None, true);
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
        let suggestion = nearest(name, names.clone()).map(str::to_owned);
        let expected = one_of(names);
        self.push(span, path, format!("unknown {what} {}", shown(name)), expected, suggestion, false);
    }

    fn push(
        &mut self,
        span: Range<usize>,
        path: &str,
        got: String,
        expected: String,
        suggestion: Option<String>,
        syntax: bool,
    ) {
        self.found.push(Found { span, path: path.to_owned(), got, expected, suggestion, syntax });
    }

    /// Everything found, in the order of the file. What only follows from broken syntax on the same line is left out.
    pub(super) fn finish(mut self) -> Vec<Mistake> {
        self.found.sort_by_key(|found| (found.span.start, !found.syntax));
        self.secrets.sort_by_key(|span| span.start);
        let broken: Vec<usize> =
            self.found.iter().filter(|found| found.syntax).map(|found| self.line_of(found.span.start)).collect();
        let mut all = std::mem::take(&mut self.found);
        all.retain(|found| found.syntax || broken.binary_search(&self.line_of(found.span.start)).is_err());
        let more = all.len().saturating_sub(MOST);
        let rest = (more > 0).then(|| Mistakes::of(self.origin, format!("{more} more mistakes"), "").0);
        all.into_iter()
            .take(MOST)
            .map(|found| Mistake {
                origin: self.origin.to_owned(),
                place: Some(self.place(&found)),
                path: found.path,
                got: found.got,
                expected: found.expected,
                suggestion: found.suggestion,
            })
            .chain(rest.into_iter().flatten())
            .collect()
    }

    /// From 0.
    fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at) - 1
    }

    fn is_secret(&self, at: usize) -> bool {
        let before = self.secrets.partition_point(|span| span.start <= at);
        before > 0 && self.secrets[before - 1].contains(&at)
    }

    fn place(&self, found: &Found) -> Place {
        let line = self.line_of(found.span.start);
        let start = self.lines[line];
        let end = self.lines.get(line + 1).map_or(self.source.len(), |&next| next - 1);
        let text = &self.source[start..end];
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
        Place { line: line + 1, column, excerpt: excerpt.trim_end().to_owned(), underline: (before, width) }
    }
}

/// Broken syntax hides where values begin and end, so that such a line is judged by its words.
fn may_hold_secret(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["auth", "token", "secret", "passw", "cookie", "key", "header", "@"].iter().any(|word| line.contains(word))
}

/// Text of a file or a label as an error may show it: quoted, short, without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(FOUND).map(printable).collect();
    if chars.next().is_some() { format!("\"{start}...\"") } else { format!("\"{start}\"") }
}

fn printable(c: char) -> char {
    // Directional marks and the like would make the line read as something else.
    let invisible =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    if c == '\t' {
        ' '
    } else if c.is_control() || invisible {
        '\u{fffd}'
    } else {
        c
    }
}

/// `a, b or c`.
pub(super) fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// The name that was probably meant: at most a third of it mistyped.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > 64 {
        return None;
    }
    let name = name.to_ascii_lowercase();
    names
        .map(|right| (strsim::damerau_levenshtein(&name, &right.to_ascii_lowercase()), right))
        .filter(|(distance, right)| *distance <= right.chars().count().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, right)| right)
}
