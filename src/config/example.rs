//! `config.example.toml`, made from the table of keys.

use std::fmt::Write;

use super::keys::{Key, Kind, ROOT, Sample, Types};

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
    plain(out, keys.iter(), comment);
    for key in keys {
        let (name, comment) = match key.sample {
            Sample::Section => (format!("{path}{}", key.name), comment),
            Sample::Commented => (format!("{path}{}", key.name), "#"),
            Sample::Named(name) => (format!("{path}{}.{name}", key.name), "#"),
            Sample::Default(_) | Sample::Unset(_) | Sample::Hidden => continue,
        };
        out.push('\n');
        match key.kind {
            Kind::Table(inner) | Kind::Named(inner) => {
                noted(out, &format!("{comment}[{name}]"), key.note);
                section(out, inner, &format!("{name}."), comment);
            }
            Kind::Typed(types) => {
                noted(out, &format!("{comment}[[{name}]]"), key.note);
                typed(out, types, &|_| format!("{comment}[[{name}]]"), "");
            }
            // Two tables cannot have one name: those of the other types are called by it.
            Kind::NamedTyped(types) => {
                noted(out, &format!("{comment}[{name}]"), key.note);
                typed(out, types, &|word| format!("{comment}[{path}{}.{word}]", key.name), &format!("{name}."));
            }
            Kind::Tables(inner) => {
                noted(out, &format!("{comment}[[{name}]]"), key.note);
                section(out, inner, &format!("{name}."), comment);
            }
            // There can be only one of them.
            Kind::OneTyped(types) => {
                noted(out, &format!("{comment}[{name}]"), key.note);
                first(out, types, &format!("{name}."));
            }
            _ => {}
        }
    }
}

/// The first type with all that it has in common with the others, then the others with what is their own.
fn typed(out: &mut String, types: &Types, header: &dyn Fn(&str) -> String, path: &str) {
    first(out, types, path);
    for (word, keys) in types.own.iter().skip(1) {
        let _ = writeln!(out, "\n{}", header(word));
        let _ = writeln!(out, "#type = \"{word}\"");
        plain(out, keys.iter(), "#");
    }
}

/// The first type, with its own keys and those that all have.
fn first(out: &mut String, types: &Types, path: &str) {
    let Some((word, keys)) = types.own.first() else { return };
    let _ = writeln!(out, "#type = \"{word}\"");
    plain(out, keys.iter(), "#");
    section(out, types.common, path, "#");
}

fn plain<'k>(out: &mut String, keys: impl Iterator<Item = &'k Key>, comment: &str) {
    for key in keys.filter(|key| key.name != "type") {
        let line = match key.sample {
            Sample::Default(value) => format!("{comment}{} = {value}", key.name),
            Sample::Unset(value) => format!("#{} = {value}", key.name),
            Sample::Section | Sample::Commented | Sample::Named(_) | Sample::Hidden => continue,
        };
        noted(out, &line, key.note);
    }
}

fn noted(out: &mut String, line: &str, note: &str) {
    // Writing to a String cannot fail.
    let _ = if note.is_empty() { writeln!(out, "{line}") } else { writeln!(out, "{line:40} # {note}") };
}
