//! What is printed, and how it looks: at most 80 columns, colours to a terminal only.

use std::io::{self, Write};
use std::time::Duration;

/// The widest line.
const COLUMNS: usize = 80;
/// Where a live line's text begins.
const INDENT: usize = 21;

/// How a live line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Something falls.
    Bad,
    /// Something is well again.
    Good,
    /// Iaso holds back.
    Held,
    /// Anything else.
    Plain,
}

/// Prints. Every call fails once nobody reads any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrator {
    colour: bool,
}

impl Narrator {
    pub(super) fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// A paragraph, wrapped.
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        self.write(&format!("{}\n", wrap(text, 0, 0)))
    }

    /// A heading, with an empty line before it.
    pub(super) fn heading(&self, text: &str) -> io::Result<()> {
        self.write(&format!("\n{}\n", self.paint("1", text)))
    }

    /// One line of the live account.
    pub(super) fn event(&self, at: Duration, name: &str, tone: Tone, text: &str) -> io::Result<()> {
        let code = match tone {
            Tone::Bad => "31",
            Tone::Good => "32",
            Tone::Held => "33",
            Tone::Plain => "",
        };
        let text = self.paint(code, &wrap(text, INDENT, INDENT));
        self.write(&format!("{:6.1} s  {} {text}\n", at.as_secs_f64(), self.paint("1", &format!("{name:10}"))))
    }

    /// A remark, wrapped and indented.
    pub(super) fn note(&self, text: &str) -> io::Result<()> {
        self.write(&format!("  {}\n", wrap(text, 2, 2)))
    }

    /// Lines in columns of these widths, the last as wide as it is.
    pub(super) fn row<const N: usize>(&self, cells: [&str; N], widths: [usize; N]) -> io::Result<()> {
        let line: String = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        self.write(&format!("  {}\n", line.trim_end()))
    }

    /// Somebody else's text, indented and wrapped; its own indentation is kept.
    pub(super) fn quote(&self, text: &str) -> io::Result<()> {
        let quoted: String = text
            .lines()
            .map(|line| {
                let own = line.len() - line.trim_start().len();
                format!("{:1$}{2}\n", "", 4 + own, wrap(line.trim_start(), 4 + own, 8 + own))
            })
            .collect();
        self.write(&quoted)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour && !code.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// Breaks a text at spaces so that no line is longer than 80 columns; the first begins at `first`, the others at `hanging`.
fn wrap(text: &str, first: usize, hanging: usize) -> String {
    let (mut wrapped, mut column) = (String::new(), first);
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > first.min(hanging) && !wrapped.is_empty() && column + 1 + width > COLUMNS {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(hanging));
            column = hanging;
        } else if !wrapped.is_empty() {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_before_the_80th_column() {
        let text = "word ".repeat(40);
        let wrapped = wrap(text.trim_end(), 4, 6);
        for (number, line) in wrapped.lines().enumerate() {
            assert!(line.len() + if number == 0 { 4 } else { 0 } <= COLUMNS, "{line}");
            assert!(number == 0 || line.starts_with("      w"), "{line}");
        }
        assert_eq!(wrapped.split_whitespace().count(), 40);
        assert_eq!(wrap("a b", 0, 0), "a b");
    }

    #[test]
    fn a_word_that_fits_nowhere_is_not_broken() {
        let long = "x".repeat(100);
        assert_eq!(wrap(&format!("a {long} b"), 0, 2), format!("a\n  {long}\n  b"));
    }
}
