//! Rust's words and marks, enough of them to follow paths. Unlike a syntax tree, they show what macros are given too.

/// A word, mark or text of a source file, and its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    /// As written; a text's without its quotes.
    pub(crate) text: &'a str,
    /// Counted from 1.
    pub(crate) line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier, keyword or number.
    Word,
    /// `::`, or one other character.
    Mark,
    /// A string, byte string or character.
    Text,
}

impl Token<'_> {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Text && self.text == text
    }
}

/// All tokens of a source; comments and lifetimes are left out.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut reader = Reader { source, at: 0, line: 1, found: Vec::new() };
    while reader.at < source.len() {
        reader.step();
    }
    reader.found
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    found: Vec<Token<'a>>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn step(&mut self) {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return };
        if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(comment(rest));
        } else if let Some((start, end, length)) = string(rest) {
            self.push(Kind::Text, &rest[start..end], length);
        } else if first == '\'' {
            match character(rest) {
                Some(length) => self.push(Kind::Text, &rest[1..length - 1], length),
                None => self.skip(1 + word(&rest[1..])),
            }
        } else if first.is_alphanumeric() || first == '_' {
            let raw = if rest.starts_with("r#") { 2 } else { 0 };
            let length = raw + word(&rest[raw..]);
            self.push(Kind::Word, &rest[raw..length], length);
        } else if rest.starts_with("::") {
            self.push(Kind::Mark, &rest[..2], 2);
        } else if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else {
            self.push(Kind::Mark, &rest[..first.len_utf8()], first.len_utf8());
        }
    }

    fn push(&mut self, kind: Kind, text: &'a str, length: usize) {
        self.found.push(Token { kind, text, line: self.line });
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        self.line += self.rest()[..length].matches('\n').count();
        self.at += length;
    }
}

fn word(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

/// The length of the comment that `rest` starts with; they nest.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let (change, length) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += change;
        at += length;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Start and end of the text, and the length with quotes, of the string that `rest` starts with.
fn string(rest: &str) -> Option<(usize, usize, usize)> {
    let prefix = ["br", "cr", "r", "b", "c", ""]
        .into_iter()
        .find(|prefix| rest.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"')))?;
    let hashes = rest[prefix.len()..].find('"')?;
    if hashes > 0 && !prefix.ends_with('r') {
        return None;
    }
    let start = prefix.len() + hashes + 1;
    if prefix.ends_with('r') {
        let close = format!("\"{}", "#".repeat(hashes));
        let end = start + rest[start..].find(&close).unwrap_or(rest.len() - start);
        return Some((start, end, (end + close.len()).min(rest.len())));
    }
    let end = start + closing(&rest[start..], b'"');
    Some((start, end, (end + 1).min(rest.len())))
}

/// The length of the character that `rest` starts with; none when it is a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut inside = rest[1..].chars();
    let first = inside.next()?;
    if first == '\\' {
        return Some((1 + closing(&rest[1..], b'\'') + 1).min(rest.len()));
    }
    (inside.next() == Some('\'')).then(|| 1 + first.len_utf8() + 1)
}

/// Where the first unescaped `quote` stands.
fn closing(rest: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return at,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<&str> {
        tokens(source).into_iter().filter(|token| token.kind != Kind::Text).map(|token| token.text).collect()
    }

    #[test]
    fn comments_strings_and_characters_hide_what_they_hold() {
        assert_eq!(texts("a // crate::x\nb"), ["a", "b"]);
        assert_eq!(texts("a /* crate /* :: */ x */ b"), ["a", "b"]);
        assert_eq!(texts(r##"a("crate::x \" y", r#"q " crate"#, b"z")"##), ["a", "(", ",", ",", ")"]);
        assert_eq!(texts(r"a '\'' '{' '\\' b"), ["a", "b"]);
        assert_eq!(texts("fn f<'a>(x: &'a str)"), ["fn", "f", "<", ">", "(", "x", ":", "&", "str", ")"]);
        assert_eq!(texts("r#mod::b"), ["mod", "::", "b"]);
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let found = tokens("\"1\n2\"\n/*\n*/ x");
        assert_eq!(found.last().unwrap().line, 4);
    }
}
