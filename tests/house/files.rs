//! Rules for single files: their length, and silenced lints.

use crate::Sources;
use crate::tokens::{Kind, Token, tokens};

/// The most lines that a file may have before its tests. Files read top-down and hold one idea; a longer one holds two.
const LINES: usize = 450;

/// Files with more than [`LINES`] lines before their `#[cfg(test)] mod`. Files of tests alone are not counted.
pub(crate) fn too_long(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources {
        let tests_alone = file.ends_with("/tests.rs") || file.contains("/tests/");
        let lines: Vec<&str> = text.lines().collect();
        let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && opens_module(pair[1]));
        let length = tests.unwrap_or(lines.len());
        if length > LINES && !tests_alone {
            found
                .push(format!("{file}: {length} lines before its tests, {LINES} at most: it holds more than one idea"));
        }
    }
    found
}

/// `mod tests {`, not `mod tests;`, after which the file goes on.
fn opens_module(line: &str) -> bool {
    line.starts_with("mod ") && line.ends_with('{')
}

/// Every `allow` and `expect` attribute without `reason = "..."`.
pub(crate) fn silenced_without_reason(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources {
        let tokens = tokens(text);
        for at in 0..tokens.len() {
            if tokens[at].is("#") && tokens.get(at + 1).is_some_and(|next| next.is("[") || next.is("!")) {
                found.extend(
                    unexplained(&tokens[at..]).map(|line| format!("{file}:{line}: a silenced lint without a reason")),
                );
            }
        }
    }
    found
}

/// The line of the first `allow(..)` or `expect(..)` without a reason in the attribute that `tokens` starts with.
fn unexplained(tokens: &[Token<'_>]) -> Option<usize> {
    let end = tokens.iter().position(|token| token.is("]")).unwrap_or(tokens.len());
    let attribute = &tokens[..end];
    for at in 0..attribute.len() {
        let silences = ["allow", "expect"].iter().any(|word| attribute[at].is(word));
        if silences && attribute.get(at + 1).is_some_and(|next| next.is("(")) {
            let close = attribute[at..].iter().position(|token| token.is(")")).map_or(end, |length| at + length);
            let explained = attribute[at..close].windows(3).any(|three| {
                three[0].is("reason")
                    && three[1].is("=")
                    && three[2].kind == Kind::Text
                    && !three[2].text.trim().is_empty()
            });
            if !explained {
                return Some(attribute[at].line);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(file: &str, text: &str) -> Sources {
        Sources::from([(file.to_owned(), text.to_owned())])
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let (short, long) = ("fn f() {}\n".repeat(LINES), "fn f() {}\n".repeat(LINES + 1));
        assert_eq!(too_long(&one("src/a.rs", &short)).len(), 0);
        assert_eq!(too_long(&one("src/a.rs", &long)).len(), 1);
        assert_eq!(too_long(&one("src/a/tests.rs", &long)).len(), 0);
        assert_eq!(too_long(&one("src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{long}}}"))).len(), 0);
        assert_eq!(too_long(&one("src/a.rs", &format!("#[cfg(test)]\nmod tests;\n{long}"))).len(), 1);
    }

    #[test]
    fn a_silenced_lint_without_a_reason_is_found() {
        for bad in [
            "#[allow(dead_code)]",
            "#![expect(clippy::x)]",
            "#[expect(dead_code, reason = \"\")]",
            "#[cfg_attr(test, allow(dead_code))]",
            "#[derive(Debug)] #[allow(a, b)]",
        ] {
            assert_eq!(
                silenced_without_reason(&one("a.rs", bad)),
                ["a.rs:1: a silenced lint without a reason"],
                "{bad}"
            );
        }
        for good in [
            "#[expect(dead_code, reason = \"why\")]",
            "// #[allow(dead_code)]",
            "fn allow(x: u8) {}",
            "x.expect(\"y\")",
        ] {
            assert_eq!(silenced_without_reason(&one("a.rs", good)), Vec::<String>::new(), "{good}");
        }
    }
}
