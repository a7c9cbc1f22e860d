//! Outages, told whole: what was wrong and when, what was seen, what was decided and why, who else was affected, and how long it took.

mod text;

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::Identity;
use iaso_policy::record::Ending;
use iaso_policy::time::{Now, Wall};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::logs::{self, Fields};
use super::words;
use crate::config::validated::Severity;
use crate::incidents::{self, Evidence, LogTail, Outage, Page};
use crate::journal::{Entry, Subject};
use crate::snapshot::{ServiceStatus, Snapshot};

/// Outages, newest first. Times are ISO 8601, words are the policy's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incidents {
    /// When it was so.
    pub at: String,
    /// The outages.
    pub incidents: Vec<Incident>,
    /// There are older ones: they come before the outage with this id.
    pub next: Option<String>,
}

/// One outage, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// The service's name.
    pub service: String,
    /// Its host's name.
    pub host: String,
    /// How bad its outages are; none for a service that is not watched any more.
    pub severity: Option<String>,
    /// What was wrong when it opened, as a word.
    pub trouble: String,
    /// The same in words.
    pub problem: String,
    /// When it opened.
    pub opened: String,
    /// When it closed; none while it goes on.
    pub closed: Option<String>,
    /// How it closed.
    pub ending: Option<String>,
    /// How long it lasted, or has lasted so far, in seconds.
    pub lasted_seconds: u64,
    /// Automatic attempts begun.
    pub attempts: u32,
    /// Attempts that did not heal.
    pub failed: u32,
    /// When a person acknowledged it.
    pub acknowledged: Option<String>,
    /// The outage of something that it needs that it is, or was, part of.
    pub part_of: Option<String>,
    /// The services whose outages are, or were, part of it.
    pub affected: Vec<String>,
}

/// One outage, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// In short.
    #[serde(flatten)]
    pub incident: Incident,
    /// What the service's memory is kept under.
    pub identity: String,
    /// From its beginning until the service was well again, in seconds; none where it goes on or ended in another way.
    pub time_to_recover_seconds: Option<u64>,
    /// What was seen of the service, oldest first.
    pub evidence: Vec<Seen>,
    /// What was decided and what changed, oldest first.
    pub timeline: Vec<Moment>,
    /// The outages that are, or were, part of it.
    pub parts: Vec<Part>,
}

/// One decision or change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When.
    pub at: String,
    /// What, as a word.
    pub event: String,
    /// Why, as a reason code or another of the policy's words.
    pub reason: Option<String>,
    /// The attempt that it is about.
    pub attempt: Option<String>,
    /// The same in words.
    pub what: String,
}

/// An outage that is, or was, part of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Whose.
    pub service: String,
    /// Its id.
    pub incident: String,
    /// When it opened.
    pub opened: String,
    /// How it closed; none while it goes on.
    pub ending: Option<String>,
}

/// What was seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub at: String,
    /// The decision that it belongs to, as a word.
    pub event: String,
    /// The checks as they stood.
    pub checks: Vec<incidents::CheckSeen>,
    /// The container as it stood.
    pub container: Option<incidents::ContainerSeen>,
    /// What the engine said to the operation that failed.
    pub engine_error: Option<String>,
    /// The newest lines that the container printed, oldest first; none where they are not kept.
    pub log: Option<Vec<String>>,
    /// Why they could not be had.
    pub log_missing: Option<String>,
}

/// The outages as a document; of one more than `limit` only that there is more.
pub fn list_json(snapshot: &Snapshot, page: &Page, limit: usize, now: Now) -> serde_json::Value {
    let Page { outages, within } = page;
    let shown = &outages[..outages.len().min(limit)];
    let told = |outage: &Outage| {
        let parts = within.iter().filter(|(root, _)| *root == outage.id).map(|(_, part)| part);
        incident(snapshot, outage, &self::parts(snapshot, parts), None, now)
    };
    let list = Incidents {
        at: time(now.wall),
        incidents: shown.iter().map(told).collect(),
        next: shown.last().filter(|_| outages.len() > limit).map(|last| last.id.to_string()),
    };
    serde_json::to_value(list).unwrap_or_default()
}

/// An outage, whole, as a document.
pub fn account_json(snapshot: &Snapshot, account: &incidents::Account, now: Now) -> serde_json::Value {
    serde_json::to_value(self::account(snapshot, account, now)).unwrap_or_default()
}

/// An outage, whole.
pub fn account(snapshot: &Snapshot, account: &incidents::Account, now: Now) -> Account {
    let incidents::Account { outage, records, evidence, within } = account;
    let subject = subject(snapshot, &outage.identity, evidence);
    let moments = records.iter().map(|record| {
        let entry = Entry { record: *record, subject: Arc::clone(&subject) };
        let fields = Fields::of(&record.event);
        Moment {
            at: time(record.now.wall),
            event: record.event.name().to_owned(),
            reason: fields.reason.map(str::to_owned),
            attempt: fields.attempt.map(|attempt| attempt.to_string()),
            what: logs::message(&entry),
        }
    });
    let parts = parts(snapshot, within.iter());
    let incident = incident(snapshot, outage, &parts, Some(&subject.checks), now);
    let well_again = matches!(outage.closed, Some((_, Ending::Healed | Ending::Recovered)));
    Account {
        identity: outage.identity.to_string(),
        time_to_recover_seconds: well_again.then_some(incident.lasted_seconds),
        incident,
        evidence: evidence.iter().map(seen).collect(),
        timeline: moments.collect(),
        parts,
    }
}

fn incident(snapshot: &Snapshot, outage: &Outage, parts: &[Part], checks: Option<&[Arc<str>]>, now: Now) -> Incident {
    let service = find(snapshot, &outage.identity);
    let names: Vec<Arc<str>> = match (checks, service) {
        (Some(names), _) => names.to_vec(),
        (None, Some(service)) => service.checks.iter().map(|check| Arc::clone(&check.name)).collect(),
        (None, None) => Vec::new(),
    };
    let so_far = || now.mono.since(now.place(outage.opened));
    let (closed, ending) = outage.closed.unzip();
    Incident {
        id: outage.id.to_string(),
        service: name(snapshot, &outage.identity),
        host: outage.identity.host().to_owned(),
        severity: service.map(|service| severity(service.severity).to_owned()),
        trouble: outage.trouble.name().to_owned(),
        problem: words::trouble(outage.trouble, &names),
        opened: time(outage.opened.wall),
        closed: closed.map(|at| time(at.wall)),
        ending: ending.map(|ending| ending.name().to_owned()),
        lasted_seconds: outage.lasted.unwrap_or_else(so_far).as_secs(),
        attempts: outage.attempts,
        failed: outage.failed,
        acknowledged: outage.acknowledged.map(|by| time(by.since.wall)),
        part_of: outage.root.map(|root| root.to_string()),
        affected: affected(parts),
    }
}

/// The outages that are, or were, part of one.
fn parts<'a>(snapshot: &Snapshot, within: impl Iterator<Item = &'a Outage>) -> Vec<Part> {
    let part = |part: &Outage| Part {
        service: name(snapshot, &part.identity),
        incident: part.id.to_string(),
        opened: time(part.opened.wall),
        ending: part.closed.map(|(_, ending)| ending.name().to_owned()),
    };
    within.map(part).collect()
}

/// Who was affected, each once.
fn affected(parts: &[Part]) -> Vec<String> {
    let mut names: Vec<String> = parts.iter().map(|part| part.service.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn seen(piece: &Evidence) -> Seen {
    let (log, log_missing) = match &piece.log {
        LogTail::NotAsked => (None, None),
        LogTail::Asked => (None, Some("the engine had not answered yet".to_owned())),
        LogTail::Missing(why) => (None, Some(why.clone())),
        LogTail::Lines(lines) => (Some(lines.lines().map(str::to_owned).collect()), None),
    };
    Seen {
        at: time(piece.now.wall),
        event: piece.event.clone(),
        checks: piece.checks.clone(),
        container: piece.container.clone(),
        engine_error: piece.engine_error.clone(),
        log,
        log_missing,
    }
}

/// Whom the outage is about, with its checks as they were called when it began, where that was kept.
fn subject(snapshot: &Snapshot, identity: &Identity, evidence: &[Evidence]) -> Arc<Subject> {
    let service = find(snapshot, identity);
    let today = || service.into_iter().flat_map(|service| &service.checks).map(|check| Arc::clone(&check.name));
    let checks = match evidence.first() {
        Some(piece) => piece.checks.iter().map(|check| Arc::from(check.name.as_str())).collect(),
        None => today().collect(),
    };
    Arc::new(Subject {
        name: Arc::from(name(snapshot, identity)),
        identity: identity.clone(),
        host: Arc::from(identity.host()),
        severity: service.map_or(Severity::Warning, |service| service.severity),
        checks,
    })
}

fn find<'a>(snapshot: &'a Snapshot, identity: &Identity) -> Option<&'a ServiceStatus> {
    snapshot.services.iter().map(|service| &**service).find(|service| service.identity == *identity)
}

/// The service's name; of one that is not watched any more the one that its identity makes.
fn name(snapshot: &Snapshot, identity: &Identity) -> String {
    find(snapshot, identity).map_or_else(|| identity.short_name().into(), |service| service.name.to_string())
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// ISO 8601 in UTC, to the millisecond.
fn time(wall: Wall) -> String {
    Timestamp::from_millisecond(wall.0).map(|time| format!("{time:.3}")).unwrap_or_default()
}

/// What an evidence's or a moment's word means where it stands alone.
fn occasion(event: &str) -> &str {
    match event {
        "incident_opened" => "when it began",
        "operation_finished" => "when an operation did not go through",
        "operation_ended" => "when an attempt had failed",
        "quarantined" => "when Iaso gave up on it",
        "incident_closed" => "when it was over",
        other => other,
    }
}

/// A span of so many seconds.
fn span(seconds: u64) -> String {
    words::span(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
