//! `config.example.toml`, made from the table of keys.

use std::fmt::Write;

use super::keys::{Key, Kind, ROOT, Sample};

/// The text of `config.example.toml`: every default as it stands, and the rest in comments that `#` alone begins.
pub fn example() -> String {
    let mut out = String::from(
        "# Every key of Iaso's configuration, with its default. Lines that begin with `#` and no space are examples.\n\
         # Durations are \"500ms\", \"30s\", \"5m\", \"1h\" or \"7d\".\n",
    );
    section(&mut out, ROOT, "", "");
    out
}

/// Plain keys first, since a header ends the table before it.
fn section(out: &mut String, keys: &[Key], path: &str, comment: &str) {
    for key in keys {
        let line = match key.sample {
            Sample::Default(value) => format!("{comment}{} = {value}", key.name),
            Sample::Unset(value) => format!("#{} = {value}", key.name),
            Sample::Section | Sample::Named(_) | Sample::Hidden => continue,
        };
        noted(out, &line, key.note);
    }
    for key in keys {
        let (name, comment) = match key.sample {
            Sample::Section => (format!("{path}{}", key.name), comment),
            Sample::Named(name) => (format!("{path}{}.{name}", key.name), "#"),
            Sample::Default(_) | Sample::Unset(_) | Sample::Hidden => continue,
        };
        let (Kind::Table(inner) | Kind::Named(inner) | Kind::Tables(inner)) = key.kind else { continue };
        let header = if matches!(key.kind, Kind::Tables(_)) { format!("[[{name}]]") } else { format!("[{name}]") };
        out.push('\n');
        noted(out, &format!("{comment}{header}"), key.note);
        section(out, inner, &format!("{name}."), comment);
    }
}

fn noted(out: &mut String, line: &str, note: &str) {
    // Writing to a String cannot fail.
    let _ = if note.is_empty() { writeln!(out, "{line}") } else { writeln!(out, "{line:40} # {note}") };
}
