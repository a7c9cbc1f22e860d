//! What is wrong with a configuration, or unwise in it, told so that a person can mend it in one go.

use std::fmt;

/// The longest piece of what was found, in characters.
const FOUND: usize = 60;

/// The most right names that are listed.
const NAMES: usize = 50;

/// One mistake, or one warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Whether the configuration can be used all the same.
    pub level: Level,
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

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The configuration cannot be used.
    Error,
    /// It can, and should be changed.
    Warning,
}

/// Where a mistake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The part of the line around it, without what may be secret.
    pub(super) excerpt: String,
    /// What of the excerpt to underline: characters before it, and its own.
    pub(super) underline: (usize, usize),
}

/// Every mistake of one run, in the order of the files. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// One mistake about a file or a variable as a whole.
    pub(super) fn of(origin: &str, got: String, expected: &str) -> Self {
        Self(vec![Mistake::of(origin, got, expected)])
    }
}

impl std::error::Error for Mistakes {}

/// Each as a block with its excerpt, and how many there are.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            writeln!(f, "{}", mistake.block(false))?;
        }
        f.write_str(&counted(self.0.len(), "mistake"))
    }
}

/// `1 mistake`, `2 mistakes`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// On one line, for a log.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at(), self.what())?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected)?;
        }
        match &self.suggestion {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => Ok(()),
        }
    }
}

impl Mistake {
    /// About a file or a variable as a whole.
    pub(super) fn of(origin: &str, got: String, expected: &str) -> Self {
        let (origin, path, expected) = (origin.to_owned(), String::new(), expected.to_owned());
        Self { level: Level::Error, origin, place: None, path, got, expected, suggestion: None }
    }

    /// `FILE:LINE:COLUMN`, or what of it there is.
    fn at(&self) -> String {
        match self.place {
            Some(Place { line, column, .. }) => format!("{}:{line}:{column}", self.origin),
            None => self.origin.clone(),
        }
    }

    fn what(&self) -> String {
        if self.path.is_empty() { self.got.clone() } else { format!("{}: {}", self.path, self.got) }
    }

    /// The mistake over several lines, as compilers tell theirs: what, where, the line with the part underlined, and help.
    /// Ends with a line break; `colour` is for terminals.
    pub fn block(&self, colour: bool) -> String {
        let paint = |code: &str, text: &str| {
            if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        let (word, hue) = match self.level {
            Level::Error => ("error", "1;31"),
            Level::Warning => ("warning", "1;33"),
        };
        let margin = self.place.as_ref().map_or(1, |place| place.line.to_string().len());
        let bar = |mark: &str| paint("1;34", &format!("{:margin$} {mark}", ""));
        let mut text = format!("{}{}\n", paint(hue, word), paint("1", &format!(": {}", self.what())));
        text += &format!("{} {}\n", paint("1;34", &format!("{:margin$}-->", "")), self.at());
        let expected = if self.expected.is_empty() { String::new() } else { format!("expected {}", self.expected) };
        match &self.place {
            Some(Place { line, excerpt, underline: (before, width), .. }) => {
                let number = paint("1;34", &format!("{line:margin$} |"));
                let marks = format!("{} {expected}", "^".repeat(*width));
                text += &format!("{}\n{number} {excerpt}\n", bar("|"));
                text += &format!("{} {:before$}{}\n", bar("|"), "", paint(hue, marks.trim_end()));
            }
            None if expected.is_empty() => {}
            None => text += &format!("{} {expected}\n", bar("=")),
        }
        if let Some(name) = &self.suggestion {
            text += &format!("{} {}: did you mean `{name}`?\n", bar("="), paint("1", "help"));
        }
        text
    }
}

/// Text of a file or a label as an error may show it: quoted, short, without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(FOUND).map(printable).collect();
    if chars.next().is_some() { format!("\"{start}...\"") } else { format!("\"{start}\"") }
}

pub(super) fn printable(c: char) -> char {
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

/// `a, b or c`; of very many names only the first.
pub(super) fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    if let (shown, rest @ [_, ..]) = names.split_at(names.len().min(NAMES)) {
        return format!("{} or one of {} more", shown.join(", "), rest.len());
    }
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// The name that was probably meant: at most a third of it mistyped.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
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
