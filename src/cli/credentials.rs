//! `iaso credentials`: how they are, and orders for one. A value goes in, and never comes out.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::args::{CredentialAsk, Form};
use super::ask::said;
use super::client::{ClientError, Daemon};
use super::terminal;
use crate::api::credentials::{Credential, Credentials, LARGEST_VALUE, Plan, Taken};
use crate::api::health::Status;
use crate::telemetry::words;

const HEAD: [&str; 7] = ["CREDENTIAL", "TYPE", "HEALTH", "VERSION", "AGE", "EXPIRES", "ROTATION"];

/// Asks, or orders, and says the answer; `form` is for the list without a word.
///
/// # Errors
/// When no daemon answers, it refuses, or there is no value to hand over.
pub(super) async fn answer(daemon: &Daemon, ask: Option<CredentialAsk>, form: Form) -> Result<String, ClientError> {
    let path = |name: &str, rest: &str| format!("/api/v1/credentials/{name}/{rest}");
    let (taken, form): (Taken, Form) = match ask {
        None => return list(daemon, form).await,
        Some(CredentialAsk::List { form, .. }) => return list(daemon, form).await,
        Some(CredentialAsk::Plan(which)) => {
            let plan: Plan = daemon.get(&path(&which.name, "plan")).await?;
            let lines = |plan: &Plan| plan.plan.iter().map(|line| format!("{}\n", words::printable(line))).collect();
            return Ok(said(which.form, &plan, lines));
        }
        Some(CredentialAsk::Set { which, file }) => {
            let value = value(&which.name, file.as_deref())?;
            (daemon.put(&path(&which.name, "value"), value).await?, which.form)
        }
        Some(CredentialAsk::Refresh(which)) => (daemon.post(&path(&which.name, "refresh")).await?, which.form),
        Some(CredentialAsk::Rotate(which)) => (daemon.post(&path(&which.name, "rotate")).await?, which.form),
        Some(CredentialAsk::Rollback(which)) => (daemon.post(&path(&which.name, "rollback")).await?, which.form),
    };
    Ok(said(form, &taken, |taken| format!("{}: {}\n", taken.credential, words::printable(&taken.words))))
}

async fn list(daemon: &Daemon, form: Form) -> Result<String, ClientError> {
    let credentials: Credentials = daemon.get("/api/v1/credentials").await?;
    Ok(said(form, &credentials, table))
}

/// The value from a file, from standard input, or from a person: text without the line break at its end.
fn value(name: &str, file: Option<&Path>) -> Result<Bytes, ClientError> {
    let read = match file {
        Some(path) => File::open(path).and_then(whole),
        None if io::stdin().is_terminal() => terminal::ask_in_secret(&format!("The value of {name}: ")).map(Vec::from),
        None => whole(io::stdin()),
    };
    let refused = |why: String| {
        let from = file.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
        ClientError::NoValue(format!("{from}: {why}"))
    };
    let mut value = read.map_err(|error| refused(error.to_string()))?;
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    match value.len() {
        0 => Err(refused("it is empty, expected a value".to_owned())),
        length if length > LARGEST_VALUE => Err(refused("expected a value of at most 1 MiB".to_owned())),
        _ if std::str::from_utf8(&value).is_err() => Err(refused("expected text in UTF-8".to_owned())),
        _ => Ok(value.into()),
    }
}

/// All of it, as far as a value may be long, and a little more.
fn whole(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LARGEST_VALUE as u64 + 3).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A line for each, and below what is to be said of one.
fn table(all: &Credentials) -> String {
    if all.credentials.is_empty() {
        return "No credential is configured: a table [credentials.NAME] makes one.\n".to_owned();
    }
    let rows: Vec<[String; 7]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(all.credentials.iter().map(row)).collect();
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _infallible = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    for credential in &all.credentials {
        let kept = "what is in use comes from the last run; its source has not confirmed it yet".to_owned();
        let told = credential.message.iter().chain(&credential.advice).cloned().chain(credential.kept.then_some(kept));
        for words in told {
            let _infallible = writeln!(text, "{}: {}", credential.name, words::printable(&words));
        }
    }
    if let Some(vault) = all.vault.as_ref().filter(|vault| vault.health != Status::Healthy) {
        let message = vault.message.as_deref().map(|message| format!(": {}", words::printable(message)));
        let _infallible =
            writeln!(text, "vault is {} since {}{}", word(vault.health), vault.since, message.unwrap_or_default());
    }
    text
}

fn row(credential: &Credential) -> [String; 7] {
    let rotation = credential.rotation.as_ref().map(|rotation| match rotation.needs_a_person {
        true => "needs a person".to_owned(),
        false => match &rotation.next {
            Some(next) if rotation.step == "idle" => format!("next {}", minute(next)),
            _ => rotation.step.clone(),
        },
    });
    [
        credential.name.clone(),
        credential.kind.clone(),
        word(credential.health).to_owned(),
        credential.version.map_or_else(dash, |version| version.to_string()),
        credential.age_seconds.map_or_else(dash, |age| words::span(Duration::from_secs(age))),
        credential.expires.as_deref().map_or_else(dash, minute),
        rotation.unwrap_or_else(dash),
    ]
    .map(|cell| words::printable(&cell))
}

fn dash() -> String {
    "-".to_owned()
}

/// A time to the minute.
fn minute(time: &str) -> String {
    time.parse::<Timestamp>().map_or_else(|_| time.to_owned(), |time| time.strftime("%Y-%m-%d %H:%MZ").to_string())
}

const fn word(health: Status) -> &'static str {
    match health {
        Status::Healthy => "healthy",
        Status::Degraded => "degraded",
        Status::Unhealthy => "unhealthy",
    }
}
