//! What may be told of a program's end. People need its words; programs print secrets. So only one short line is told, and
//! none that looks as if it held one.

use crate::redact::{may_hold_a_secret, printable};

/// The most characters of a line that are told.
const LINE: usize = 100;

/// How a program ended, and the last line of what it printed.
pub(super) fn words(code: i64, output: &str) -> String {
    let ended = format!("exit code {code}");
    match output.lines().rev().map(printable).find(|line| !line.is_empty()) {
        None => format!("{ended}, and it printed nothing"),
        Some(line) if may_hold_a_secret(&line) => {
            format!("{ended}; the last line that it printed is kept back, since it may hold a secret")
        }
        Some(line) if line.chars().count() > LINE => {
            format!("{ended}: {}...", line.chars().take(LINE).collect::<String>())
        }
        Some(line) => format!("{ended}: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_told_short_and_printable() {
        assert_eq!(words(0, ""), "exit code 0, and it printed nothing");
        assert_eq!(words(2, "starting\nno response\r\n\n \n"), "exit code 2: no response");
        assert_eq!(words(1, "\u{1b}[2Jred\u{7}"), "exit code 1: red");
        let told = words(1, &"\u{e9}".repeat(5000));
        assert_eq!(told.chars().count(), "exit code 1: ...".len() + LINE);
    }

    #[test]
    fn a_line_that_may_hold_a_secret_is_kept_back() {
        // What such a line is, `redact` knows.
        let told = words(1, "FATAL: Password hunter2 is wrong");
        assert!(!told.contains("hunter2") && told.contains("kept back"), "{told}");
        assert_eq!(words(1, "GET http://db/ failed: mail a@b"), "exit code 1: GET http://db/ failed: mail a@b");
    }
}
