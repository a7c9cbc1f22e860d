//! `docs/configuration.md` and `docs/labels.md`: what stands below their mark is made from the table of keys.

use std::fmt::Write;

use super::*;
use crate::config::environment::overrides;
use crate::config::keys::{DEFAULTS, Key, Kind, LABELS, ROOT, Sample, Types};
use crate::config::mistake::one_of;
use crate::config::values::spell;

const MARK: &str = "<!-- Made from the table of keys: IASO_UPDATE_EXAMPLE=1 cargo test config:: writes it anew. -->\n";

/// Compares, or writes anew, what is below the mark.
fn check(name: &str, made: &str) {
    let made = &made.replace("\n\n\n", "\n\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let (written, below) = text.split_once(MARK).unwrap_or_else(|| panic!("{name} has no mark"));
    if is_updating() {
        std::fs::write(&path, format!("{written}{MARK}{made}")).unwrap();
    } else {
        assert_eq!(below, made, "{name}: IASO_UPDATE_EXAMPLE=1 cargo test config:: writes it anew");
    }
}

#[test]
fn the_document_of_the_configuration_is_current() {
    let mut out = String::new();
    for key in ROOT {
        section(&mut out, key, key.name);
    }
    check("configuration.md", &out);
}

#[test]
fn the_document_of_labels_is_current() {
    let mut out = String::new();
    heading(&mut out, "##", "`iaso.KEY`", "");
    table(&mut out, LABELS, "iaso.", Columns::Few);
    for key in LABELS {
        match &key.kind {
            Kind::Table(keys) => {
                heading(&mut out, "##", &format!("`iaso.{}.KEY`", key.name), key.note);
                table(&mut out, keys, &format!("iaso.{}.", key.name), Columns::Few);
            }
            Kind::NamedTyped(types) => {
                let prefix = format!("iaso.{}.NAME.", key.name);
                heading(&mut out, "##", &format!("`{prefix}KEY`"), "What every type of check has.");
                table(&mut out, types.common, &prefix, Columns::Few);
                each_type(&mut out, types, &prefix);
            }
            _ => {}
        }
    }
    check("labels.md", &out);
}

#[test]
fn the_document_of_presets_is_current() {
    check("presets.md", &crate::config::presets::tests::document());
}

#[derive(Debug, Clone, Copy)]
enum Columns {
    /// With the default and the variable of each key.
    All,
    /// What a label has.
    Few,
}

/// A table of the file and those within it.
fn section(out: &mut String, key: &Key, path: &str) {
    match &key.kind {
        Kind::Table(keys) => {
            heading(out, "##", &format!("`[{path}]`"), key.note);
            keys_of(out, keys, path);
        }
        Kind::Named(keys) => {
            let path = format!("{path}.NAME");
            heading(out, "##", &format!("`[{path}]`"), key.note);
            keys_of(out, keys, &path);
        }
        Kind::Tables(keys) => {
            heading(out, "##", &format!("`[[{path}]]`"), key.note);
            keys_of(out, keys, path);
        }
        Kind::Typed(types) => {
            heading(out, "##", &format!("`[[{path}]]`"), "What every type of check has.");
            table(out, types.common, &format!("{path}."), Columns::All);
            each_type(out, types, &format!("{path}."));
        }
        Kind::NamedTyped(types) => with_types(out, key, types, &format!("{path}.NAME")),
        Kind::OneTyped(types) => with_types(out, key, types, path),
        _ => {}
    }
}

/// One table whose keys depend on its type, and the tables within it.
fn with_types(out: &mut String, key: &Key, types: &Types, path: &str) {
    heading(out, "##", &format!("`[{path}]`"), key.note);
    table(out, types.common, &format!("{path}."), Columns::All);
    each_type(out, types, &format!("{path}."));
    for key in types.common.iter().filter(|key| matches!(key.sample, Sample::Section)) {
        section(out, key, &format!("{path}.{}", key.name));
    }
}

fn keys_of(out: &mut String, keys: &[Key], path: &str) {
    table(out, keys, &format!("{path}."), Columns::All);
    for key in keys.iter().filter(|key| matches!(key.sample, Sample::Section)) {
        section(out, key, &format!("{path}.{}", key.name));
    }
}

fn each_type(out: &mut String, types: &Types, path: &str) {
    for (word, keys) in types.own {
        heading(
            out,
            "###",
            &format!("`type = \"{word}\"`"),
            if keys.is_empty() { "It has no keys of its own." } else { "" },
        );
        if !keys.is_empty() {
            table(out, keys, path, if path.starts_with("iaso.") { Columns::Few } else { Columns::All });
        }
    }
}

fn heading(out: &mut String, level: &str, title: &str, note: &str) {
    let mut note = note.replace('|', "\\|");
    if !note.is_empty() {
        note[..1].make_ascii_uppercase();
        note = format!("\n{}{}\n", note, if note.ends_with('.') { "" } else { "." });
    }
    let _ = writeln!(out, "\n{level} {title}\n{note}");
}

/// The keys of a table that need no heading of their own.
fn table(out: &mut String, keys: &[Key], prefix: &str, columns: Columns) {
    let head = match columns {
        Columns::All => "| key | value | default | variable | meaning |\n| --- | --- | --- | --- | --- |\n",
        Columns::Few => "| label | value | meaning |\n| --- | --- | --- |\n",
    };
    out.push_str(head);
    rows(out, keys, prefix, "", None, columns);
}

/// `within` is what the keys' own table is called in theirs, and `whole` its default.
fn rows(out: &mut String, keys: &[Key], prefix: &str, within: &str, whole: Option<&str>, columns: Columns) {
    for key in keys {
        let inherits = prefix.starts_with("services.") && DEFAULTS.iter().any(|default| default.name == key.name);
        let default = match key.sample {
            _ if inherits => None,
            Sample::Default(value) => Some(value.to_owned()),
            _ => whole.and_then(|whole| part(whole, key.name)),
        };
        match &key.kind {
            Kind::Named(_) | Kind::Typed(_) | Kind::NamedTyped(_) | Kind::Tables(_) => continue,
            Kind::Table(_) | Kind::OneTyped(_) if matches!(key.sample, Sample::Section) => continue,
            // The keys of a table on one line have rows of their own; what has a heading elsewhere is named by its note.
            Kind::Table(inner) if inner.iter().all(|key| matches!(key.sample, Sample::Hidden)) => {
                let within = format!("{within}{}.", key.name);
                if !key.note.is_empty() {
                    row(out, key, prefix, &within[..within.len() - 1], None, columns);
                }
                rows(out, inner, prefix, &within, default.as_deref(), columns);
            }
            _ => row(out, key, prefix, &format!("{within}{}", key.name), default.as_deref(), columns),
        }
    }
}

fn row(out: &mut String, key: &Key, prefix: &str, name: &str, default: Option<&str>, columns: Columns) {
    let mut steps = format!("{prefix}{name}");
    let variable =
        overrides().into_iter().find(|of| of.steps.join(".") == steps).map(|of| format!("`{}`", of.variable));
    let (mut value, mut note) = (meaning(&key.kind), key.note);
    let cells = match columns {
        Columns::All => {
            let default = default.map(|default| format!("`{default}`")).unwrap_or_default();
            vec![format!("`{name}`"), value, default, variable.unwrap_or_default(), note.to_owned()]
        }
        Columns::Few => {
            match key.kind {
                Kind::Ladder => {
                    value = "`start`, `restart`, `stop`, `signal:NAME`, with commas between".to_owned();
                    note = "the last step repeats";
                }
                Kind::Names => value = "names, with commas between".to_owned(),
                Kind::Headers => (steps, value) = (format!("{steps}.NAME"), "text".to_owned()),
                Kind::Json => (steps, value) = (format!("{steps}.POINTER"), "text".to_owned()),
                Kind::Statuses => value = "`204`, `200-299`, with commas between".to_owned(),
                Kind::Secret | Kind::Composed => value = "text, never shown".to_owned(),
                _ => {}
            }
            vec![format!("`{steps}`"), value.replace("`\"", "`").replace("\"`", "`"), note.to_owned()]
        }
    };
    // A bar within a cell would end it.
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

/// One value of a table on one line.
fn part(table: &str, key: &str) -> Option<String> {
    let table: toml::Table = format!("x = {table}").parse().unwrap();
    Some(table["x"].get(key)?.to_string())
}

/// What a value must be, for people.
fn meaning(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Flag => "`true`, `1`, `yes`, `on` or their opposites".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Name => "name".to_owned(),
        Kind::Preset => "name of a [preset](presets.md), or `\"none\"`".to_owned(),
        Kind::Size(0) => "size such as `\"256MiB\"`, or `\"0\"`".to_owned(),
        Kind::Size(least) => format!("size such as `\"256MiB\"`, at least `\"{least}MiB\"`"),
        Kind::Duration(min, max) => format!("duration, `{}` to `{}`", spell(*min), spell(*max)),
        Kind::DurationOrNever(min, max) => format!("duration, `{}` to `{}`, or `\"never\"`", spell(*min), spell(*max)),
        Kind::Integer(min, max) => format!("whole number, {min} to {max}"),
        Kind::Number(min, max) => format!("number, {min} to {max}"),
        Kind::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            one_of(words.iter().map(String::as_str))
        }
        Kind::Threshold => "`3` in a row, or `\"3/10\"`; 64 at most".to_owned(),
        Kind::Ladder => "list of steps".to_owned(),
        Kind::Listen => "`\"ADDRESS:PORT\"`".to_owned(),
        Kind::HostUrl => "`\"unix:///PATH\"` or `\"tcp://HOST:PORT\"`".to_owned(),
        Kind::Label => "`\"KEY=VALUE\"`".to_owned(),
        Kind::Labels => "list of `\"KEY=VALUE\"`".to_owned(),
        Kind::Names => "list of names".to_owned(),
        Kind::Compose => "`\"PROJECT/SERVICE\"`".to_owned(),
        Kind::HttpUrl => "URL, `http` or `https`".to_owned(),
        Kind::Peer => "`\"HOST:PORT\"`, or with `{address}` or `{port:N}`".to_owned(),
        Kind::Host => "name or address, or `{address}`".to_owned(),
        Kind::Argv => "program and arguments: one text, or a list".to_owned(),
        Kind::Texts => "list of texts".to_owned(),
        Kind::Secret => "secret: `\"${VARIABLE}\"` or `\"${file:PATH}\"`".to_owned(),
        Kind::Private => "text, never shown".to_owned(),
        Kind::Composed => "text, never shown; `${credential:NAME}`".to_owned(),
        Kind::Pins => "list of SHA-256 in base64".to_owned(),
        Kind::Statuses => "`204`, `\"200-299\"`, or a list of these".to_owned(),
        Kind::Json => "table of JSON pointers and values".to_owned(),
        Kind::Headers => "table of header names and texts; `${credential:NAME}`".to_owned(),
        Kind::CallHeaders => "table of header names and templates".to_owned(),
        Kind::CallUrl => "URL, `http` or `https`; its path and query may be templates".to_owned(),
        Kind::VaultAddress => "`\"https://HOST:PORT\"`, with a path before `/v1` if there is one".to_owned(),
        Kind::VaultPath => "path within Vault".to_owned(),
        Kind::AwsEndpoint => "`\"https://HOST\"`".to_owned(),
        Kind::AwsSecret => "name or ARN of a secret of AWS's".to_owned(),
        Kind::Absolute => "whole path of a file".to_owned(),
        Kind::FileMode => "octal digits in quotes; never for everybody to write".to_owned(),
        Kind::Owner => "`\"USER\"`, `\"USER:GROUP\"` or `\":GROUP\"`".to_owned(),
        Kind::OnChange => "`\"none\"`, `\"restart\"` or `\"signal:NAME\"`".to_owned(),
        Kind::Days => "list of `\"mon\"` to `\"sun\"`".to_owned(),
        Kind::Moment => "`\"22:00\"`, or `\"2026-12-24T22:00\"` with an offset or without".to_owned(),
        Kind::TimeZone => "name of the IANA database".to_owned(),
        Kind::Cron => "cron expression of five fields".to_owned(),
        Kind::Alphabet => "name of a set, or 10 or more characters".to_owned(),
        Kind::Counts => "table of characters and whole numbers".to_owned(),
        Kind::OneTyped(types) => format!("table with a `type`: {}", one_of(types.words())),
        Kind::Table(_) => "table".to_owned(),
        Kind::Named(_) | Kind::NamedTyped(_) => "table of tables".to_owned(),
        Kind::Typed(_) | Kind::Tables(_) => "list of tables".to_owned(),
    }
}
