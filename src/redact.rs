//! What may be told and kept of a foreign text. Programs print secrets, and some print what steers a terminal: values that Iaso
//! keeps itself are replaced, lines that look as if they held another are kept back, and only printable text gets through.

use crate::in_use::CredentialValues;

/// Stands for a line that may hold a secret.
pub const KEPT_BACK: &str = "[a line is kept back: it may hold a secret]";
/// Stands for a word that looks like one.
const HIDDEN: &str = "[hidden]";

/// The longest line of a tail, in bytes: what is longer loses its end.
const LINE: usize = 1000;

/// What stands beside a secret, in lower case.
const SECRETIVE: [&str; 18] = [
    "password",
    "passwd",
    "pwd=",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "accesskey",
    "access key",
    "private key",
    "private_key",
    "credential=",
    "cookie",
    "authorization",
    "bearer ",
];

/// Letters and digits that are mixed like this are rather a key than a word: at least so many characters in a row.
const KEY: usize = 24;

/// Makes foreign text fit to be told. Clones share the credentials whose values they know.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    in_use: CredentialValues,
}

impl Redactor {
    /// One that knows these values.
    pub const fn new(in_use: CredentialValues) -> Self {
        Self { in_use }
    }

    /// One printable line of at most `most` bytes.
    pub fn line(&self, text: &str, most: usize) -> String {
        let line = printable(&self.in_use.hide(text));
        cut(&self.told(&line), most)
    }

    /// The newest printable lines: at most `lines` of them, in all at most `most` bytes. Of lines that do not fit the oldest go
    /// whole; one that is longer than 1000 bytes loses its end.
    pub fn tail(&self, text: &str, lines: usize, most: usize) -> String {
        let text = self.in_use.hide(text);
        let all: Vec<String> = text.lines().map(printable).collect();
        let blocks = blocks(&all);
        let told = all.iter().zip(blocks).rev().skip_while(|(line, _)| line.is_empty()).take(lines);
        let mut kept = Vec::new();
        let mut room = most;
        for (line, in_block) in told {
            let line = if in_block { KEPT_BACK.to_owned() } else { cut(&self.told(line), LINE) };
            let Some(left) = room.checked_sub(line.len() + 1) else { break };
            room = left;
            kept.push(line);
        }
        kept.reverse();
        kept.join("\n")
    }

    /// A printable line without what may be secret. Values are looked for again: what was hidden between their characters is
    /// gone by now.
    fn told(&self, line: &str) -> String {
        let line = self.in_use.hide(line);
        if may_hold_a_secret(&line) { KEPT_BACK.to_owned() } else { without_keys(&line) }
    }
}

/// A line without what moves the cursor, colours or hides text.
pub fn printable(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            // Such as a zero-width space, or what writes from right to left.
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {}
            c if c.is_control() => kept.push(' '),
            c => kept.push(c),
        }
    }
    kept.trim().to_owned()
}

/// The rest of a terminal's control sequence.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => drop(rest.find(|c| ('@'..='~').contains(c))),
        Some(']') => drop(rest.find(|c| matches!(c, '\u{7}' | '\\' | '\u{9c}'))),
        _ => {}
    }
}

/// Whether a printable line names a secret, or shows a URL with a user's password.
pub fn may_hold_a_secret(line: &str) -> bool {
    let lower = line.to_lowercase();
    let mut urls = lower.split("://").skip(1);
    SECRETIVE.iter().any(|word| lower.contains(word))
        || urls.any(|rest| rest.split(['/', ' ', '"', '\'']).next().is_some_and(|host| host.contains('@')))
}

/// By line: whether it belongs to a block such as a private key's, from `-----BEGIN` to `-----END`. What ends without having
/// begun began before the first line.
fn blocks(lines: &[String]) -> Vec<bool> {
    let (begins, ends) = (|line: &String| line.contains("-----BEGIN"), |line: &String| line.contains("-----END"));
    let first = lines.iter().find(|line| begins(line) || ends(line));
    let mut inside = first.is_some_and(|line| !begins(line));
    let of = lines.iter().map(|line| {
        let belongs = inside || begins(line);
        inside = belongs && !ends(line);
        belongs
    });
    of.collect()
}

/// A line without the words that look like keys.
fn without_keys(line: &str) -> String {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '_' | '-' | '=');
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(is_of_word) {
        let end = rest[start..].find(|c| !is_of_word(c)).map_or(rest.len(), |length| start + length);
        kept.push_str(&rest[..start]);
        let word = &rest[start..end];
        kept.push_str(if looks_like_a_key(word) { HIDDEN } else { word });
        rest = &rest[end..];
    }
    kept.push_str(rest);
    kept
}

fn looks_like_a_key(word: &str) -> bool {
    let count = |is: fn(&u8) -> bool| word.bytes().filter(is).count();
    word.len() >= KEY
        && count(u8::is_ascii_digit) >= 2
        && count(u8::is_ascii_uppercase) >= 2
        && count(u8::is_ascii_lowercase) >= 2
}

/// At most so many bytes, whole characters.
fn cut(text: &str, most: usize) -> String {
    const MORE: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(MORE.len()));
    if most < MORE.len() { String::new() } else { format!("{}{MORE}", &text[..end]) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::config::secret::Secret;

    fn knowing(values: &[&str]) -> Redactor {
        let in_use = CredentialValues::default();
        let fields: BTreeMap<String, Secret> =
            values.iter().enumerate().map(|(at, value)| (at.to_string(), Secret::new(*value))).collect();
        in_use.put(&Arc::from("db"), Some(fields), None);
        Redactor::new(in_use)
    }

    #[test]
    fn a_line_that_may_hold_a_secret_is_kept_back() {
        for line in [
            "FATAL: Password hunter2 is wrong",
            "cannot reach postgres://shop:hunter2@db/shop",
            "X_TOKEN=hunter2",
            "Authorization: Basic hunter2",
            "redis://:hunter2@cache",
            "pass\u{200b}word hunter2",
            "\u{1b}[1mpass\u{1b}[0mword: hunter2",
            "Set-Cookie: id=hunter2",
        ] {
            let told = Redactor::default().tail(line, 5, 1000);
            assert_eq!(told, KEPT_BACK, "{line}");
            assert_eq!(Redactor::default().line(line, 1000), KEPT_BACK, "{line}");
        }
        let told = Redactor::default().tail("GET http://db/ failed: mail a@b\nhere is the tokenizer", 5, 1000);
        assert_eq!(told, format!("GET http://db/ failed: mail a@b\n{KEPT_BACK}"));
    }

    #[test]
    fn values_that_iaso_keeps_are_replaced_wherever_they_stand() {
        let redactor = knowing(&["hunter2!", "line one of it\nline two of it", "abc"]);
        let told = redactor.tail("got hunter2! from x\nhun\u{200b}ter2!\nline two of it,\nabc", 9, 1000);
        assert_eq!(told, "got [credential db] from x\n[credential db]\n[credential db],\nabc");
        assert_eq!(redactor.line("a hunter2! b", 100), "a [credential db] b");
    }

    #[test]
    fn keys_that_stand_alone_are_hidden_and_names_are_not() {
        let told = |line: &str| Redactor::default().line(line, 1000);
        assert_eq!(told("made Zm9vYmFyMTIzNDU2Nzg5MGFiY2RlZg== today"), "made [hidden] today");
        assert_eq!(told("hvs.CAESIJ1xPq3vJk0WfH7aBcD9eF2gH"), "hvs.[hidden]");
        for plain in [
            "o.s.OAuth2AuthenticationProcessingFilter started",
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "123e4567-e89b-12d3-a456-426614174000",
            "2026-12-01T01:02:03.456Z WARN a-long-name-with-many-parts",
        ] {
            assert_eq!(told(plain), plain);
        }
    }

    #[test]
    fn blocks_of_keys_are_kept_back_whole() {
        let text = "start\n-----BEGIN PRIVATE KEY-----\nabc\ndef\n-----END PRIVATE KEY-----\ngo";
        let told = Redactor::default().tail(text, 9, 1000);
        assert_eq!(told, ["start", KEPT_BACK, KEPT_BACK, KEPT_BACK, KEPT_BACK, "go"].join("\n"));
        let told = Redactor::default().tail("def\n-----END PRIVATE KEY-----\ngo", 9, 1000);
        assert_eq!(told, [KEPT_BACK, KEPT_BACK, "go"].join("\n"));
    }

    #[test]
    fn the_newest_lines_are_kept_whole_and_within_bounds() {
        let redactor = Redactor::default();
        assert_eq!(redactor.tail("a\nb\r\n\nc\n\n\n", 2, 100), "\nc");
        assert_eq!(redactor.tail("a\nbb\ncc", 9, 7), "bb\ncc");
        assert_eq!(redactor.tail("", 9, 100), "");
        assert_eq!(redactor.line("\u{1b}[2Jred\u{7} \u{1b}]0;title\u{7}x\t", 100), "red  x");
        let long = redactor.tail(&"\u{e9}".repeat(5000), 9, 16_384);
        assert!(long.len() <= LINE && long.ends_with("é…"), "{}", long.len());
    }

    proptest! {
        /// Whatever a program prints around a value that Iaso keeps, or beside a word that tells of one.
        #[test]
        fn no_text_leads_beyond_the_bounds_or_to_a_planted_secret(
            pieces in proptest::collection::vec((any::<String>(), 0..4_usize), 0..20),
            secret in "[A-Z0-9#]{5,40}",
            lines in 0..40_usize,
            most in 0..3000_usize,
        ) {
            let planted = [secret.clone(), format!("\u{1b}[31m{secret}\u{1b}[0m"), "\n".to_owned(), "password ".to_owned()];
            let text: String = pieces.iter().flat_map(|(text, which)| [text.as_str(), &planted[*which]]).collect();
            let redactor = knowing(&[&secret]);
            let is_fit = |c: char| !c.is_control();
            let tail = redactor.tail(&text, lines, most);
            prop_assert!(tail.len() <= most && tail.lines().count() <= lines);
            prop_assert!(tail.chars().all(|c| c == '\n' || is_fit(c)), "{tail:?}");
            prop_assert!(!tail.contains(&secret), "{tail:?}");
            let line = redactor.line(&text, most);
            prop_assert!(line.len() <= most && line.chars().all(is_fit) && !line.contains(&secret), "{line:?}");
        }
    }
}
