//! `[credentials.NAME.rotation]`, validated.

use std::collections::BTreeSet;
use std::time::Duration;

use super::read;
use crate::config::checks::Wrong;
use crate::config::decode::{self, Table, Value, duration_of, integer_of, text_of};
use crate::config::report::Report;
use crate::config::secret::Secret;
use crate::config::validated::{Apply, Call, Generator, Rotation};
use crate::config::{files, unwise, values};

/// Bits of randomness under which a secret may be guessed.
const FEWEST_BITS: f64 = 64.0;

/// The rotation of the credential at `path`; its mistakes are told.
pub(super) fn rotation(report: &mut Report, path: &str, parent: &Table, services: &BTreeSet<&str>) -> Option<Rotation> {
    let table = decode::table(parent, "rotation")?;
    let path = format!("{path}.rotation");
    let generator = generator(report, &path, table);
    let [apply, verify, retire] = ["apply", "verify", "retire"].map(|key| call(report, &path, table, key, services));
    Some(Rotation {
        every: duration_of(table, "every"),
        generator,
        apply: apply.map_or(Apply::Render, Apply::Call),
        verify,
        grace: duration_of(table, "grace").unwrap_or(Duration::from_secs(3600)),
        retire,
        retry: duration_of(table, "retry").unwrap_or(Duration::from_secs(900)),
    })
}

fn generator(report: &mut Report, path: &str, parent: &Table) -> Generator {
    let empty = Table::new();
    let table = decode::table(parent, "generator").unwrap_or(&empty);
    let path = format!("{path}.generator");
    let span = parent.get("generator").map_or(0..0, Value::span);
    match text_of(table, "type") {
        Some("passphrase") => Generator::Passphrase {
            words: integer_of(table, "words").unwrap_or(6),
            separator: text_of(table, "separator").unwrap_or("-").to_owned(),
        },
        Some("uuid") => Generator::Uuid,
        kind => {
            if kind.is_none() && parent.contains_key("generator") {
                Wrong::lacks(table, "type", "\"characters\", \"passphrase\" or \"uuid\"").tell(
                    report,
                    &path,
                    table,
                    span.clone(),
                );
            }
            let length = integer_of(table, "length").unwrap_or(32);
            let alphabet = read(table, "alphabet", values::alphabet)
                .or_else(|| values::alphabet("alphanumeric").ok())
                .unwrap_or_default();
            let at_least = at_least(table, length, &alphabet).unwrap_or_else(|wrong| {
                wrong.tell(report, &path, table, span.clone());
                Vec::new()
            });
            // The conversions are exact: both numbers are small.
            let bits = length as f64 * (alphabet.chars().count() as f64).log2();
            if bits < FEWEST_BITS && kind == Some("characters") {
                let got = format!("{bits:.0} bits of randomness: what it makes can be guessed");
                report.warning(span, &path, got, "more characters: 64 bits or more");
            }
            Generator::Characters { length, alphabet, at_least }
        }
    }
}

/// The classes that must come, as far as the alphabet has them.
fn at_least(table: &Table, length: usize, alphabet: &str) -> Result<Vec<(String, usize)>, Wrong> {
    let mut classes = Vec::new();
    for (name, value) in decode::table(table, "at_least").into_iter().flatten() {
        let counted = Table::from_iter([(name.clone(), value.clone())]);
        let Some(count) = integer_of(&counted, name.get_ref()) else { continue };
        let class: String = values::class(name.get_ref()).chars().filter(|c| alphabet.contains(*c)).collect();
        if class.is_empty() {
            let got = format!("nothing of {} in the alphabet", crate::config::mistake::shown(name.get_ref()));
            return Err(Wrong::at("at_least", got, "classes of which the alphabet has some"));
        }
        classes.push((class, count));
    }
    if classes.iter().map(|(_, count): &(String, usize)| count).sum::<usize>() > length {
        return Err(Wrong::at("at_least", "more characters than length has", "length = a larger number"));
    }
    Ok(classes)
}

/// The call under a key; none where there is none, or one that was told of, or where it is of type render.
fn call(report: &mut Report, path: &str, parent: &Table, key: &str, services: &BTreeSet<&str>) -> Option<Call> {
    let value = parent.get(key)?;
    let (table, path) = (value.get_ref().as_table()?, format!("{path}.{key}"));
    let timeout = duration_of(table, "timeout").unwrap_or(Duration::from_secs(30));
    let call = match text_of(table, "type") {
        Some("http") => http(report, &path, table, timeout),
        Some("exec") => exec(report, &path, table, timeout, services),
        Some(_) => return None,
        None => Err(Wrong::lacks(table, "type", "\"http\" or \"exec\"")),
    };
    call.map_err(|wrong| wrong.tell(report, &path, table, value.span())).ok()
}

fn http(report: &mut Report, path: &str, table: &Table, timeout: Duration) -> Result<Call, Wrong> {
    let url = text_of(table, "url").ok_or_else(|| Wrong::lacks(table, "url", "\"https://...\""))?;
    if let (Ok(parsed), Some(value)) = (values::call_url(url), table.get("url")) {
        unwise::plain_call(report, &format!("{path}.url"), &parsed, value.span());
    }
    let body = text_of(table, "body").map(Secret::new);
    let usual = if body.is_some() { "POST" } else { "GET" };
    let folder = report.folder_at(table.get("url").map_or(0, |value| value.span().start));
    let roots = match text_of(table, "ca_file") {
        Some(path) => files::certificates(&folder.join(path))
            .map_err(|why| Wrong::at("ca_file", why, "a readable file with certificates in PEM"))?,
        None => Vec::new(),
    };
    Ok(Call::Http {
        method: text_of(table, "method").unwrap_or(usual).to_owned(),
        url: url.to_owned(),
        headers: decode::headers_of(table, "headers"),
        body,
        expect: table
            .get("expect")
            .and_then(|value| decode::statuses_of(value).ok())
            .unwrap_or_else(|| vec![(200, 299)]),
        roots,
        timeout,
    })
}

fn exec(
    report: &mut Report,
    path: &str,
    table: &Table,
    timeout: Duration,
    services: &BTreeSet<&str>,
) -> Result<Call, Wrong> {
    let service = text_of(table, "service").ok_or_else(|| Wrong::lacks(table, "service", "\"NAME\""))?;
    if let Some(value) = table.get("service").filter(|_| !services.contains(service) && values::name(service).is_ok()) {
        report.unknown(value.span(), &format!("{path}.service"), "service", service, services.iter().copied());
    }
    let command = decode::argv_of(table, "command").filter(|command| !command.is_empty());
    let command = command.ok_or_else(|| Wrong::lacks(table, "command", "[\"psql\"]"))?;
    if command.iter().any(|word| word.contains("{{")) {
        let expected = "input = \"...{{ value }}...\": whoever is on the machine reads arguments";
        return Err(Wrong::at("command", "a template among the arguments", expected));
    }
    // Without any the command reads the value alone.
    let input = text_of(table, "input").unwrap_or("{{ value }}");
    Ok(Call::Exec { service: service.into(), command, input: Some(Secret::new(input)), timeout })
}
