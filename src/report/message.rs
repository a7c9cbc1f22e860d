//! The words of a notification. They begin as autoheal's do, for those who match on them.

use std::fmt::Write;
use std::sync::Arc;

use iaso_policy::action::Trouble;
use iaso_policy::id::IncidentId;
use iaso_policy::input::Outcome;
use iaso_policy::spec::Step;
use serde_json::{Map, Value, json};

use super::Attempt;
use crate::config::validated::Message;
use crate::journal::{Announcement, Subject};
use crate::rollouts::CredentialEntry;

/// The title that autoheal gives Apprise.
const TITLE: &str = "Autoheal";

/// One thing to tell.
#[derive(Debug, Clone)]
pub(super) enum Notice {
    /// What became of an attempt to heal a service.
    Attempt(Told),
    /// An outage that is not healed, or its end.
    Announcement(Arc<Announcement>),
    /// What became of a credential.
    Credential(CredentialEntry),
}

/// What became of an attempt.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) subject: Arc<Subject>,
    pub(super) incident: Option<IncidentId>,
    pub(super) attempt: Attempt,
    pub(super) result: Result,
}

/// What came of an attempt, as far as it is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Result {
    /// The engine did it.
    Done,
    /// It did not; why.
    Failed(&'static str),
}

impl Result {
    /// None: nothing was tried.
    pub(super) const fn of(outcome: Outcome) -> Option<Self> {
        Some(match outcome {
            Outcome::Done => Self::Done,
            Outcome::Failed => Self::Failed("the engine refused it"),
            Outcome::CommandFailed => Self::Failed("the command failed"),
            Outcome::NotPermitted => Self::Failed("the engine or a proxy does not permit it"),
            Outcome::TimedOut => Self::Failed("the engine did not answer in time"),
            Outcome::Unreachable => Self::Failed("the engine could not be reached"),
            Outcome::Crashed => Self::Failed("the task that carried it out died"),
            Outcome::Moot | Outcome::NotFound | Outcome::Uncharged | Outcome::Refused | Outcome::LeftAlone => {
                return None;
            }
        })
    }
}

impl Notice {
    /// The name of the service or the credential that it is about.
    pub(super) fn about(&self) -> &Arc<str> {
        match self {
            Self::Attempt(told) => &told.subject.name,
            Self::Announcement(told) if told.alert.host.is_some() => &told.subject.host,
            Self::Announcement(told) => &told.subject.name,
            Self::Credential(entry) => &entry.credential,
        }
    }

    /// The service that it is about.
    pub(super) fn service(&self) -> Option<&Arc<str>> {
        match self {
            Self::Attempt(told) => Some(&told.subject.name),
            Self::Announcement(told) => Some(&told.subject.name).filter(|_| told.alert.host.is_none()),
            Self::Credential(_) => None,
        }
    }

    /// The outage that it belongs to.
    pub(super) fn incident(&self) -> Option<IncidentId> {
        match self {
            Self::Attempt(told) => told.incident,
            Self::Announcement(told) => Some(told.alert.key.incident),
            Self::Credential(_) => None,
        }
    }
}

/// Whether it is for people at once: what is wrong with a credential, and what was taken back. Other warnings, such as a read that
/// failed and is tried again, come to one of these where they last.
pub(super) fn is_for_people(entry: &CredentialEntry) -> bool {
    let lasts = ["expiring", "not_in_use", "rolled_back", "rotated", "rotation", "stale"];
    entry.level == tracing::Level::ERROR || entry.level == tracing::Level::WARN && lasts.contains(&entry.what)
}

/// The text about a credential.
pub(super) fn credential_text(entry: &CredentialEntry) -> String {
    format!("Credential {} ({}): {}.", entry.credential, entry.what.replace('_', " "), entry.words)
}

impl Told {
    /// The text, about a container that goes by this name.
    pub(super) fn text(&self, container: &str) -> String {
        let Self { subject, attempt, .. } = self;
        // The engine's short id: twelve of the digits that the policy keeps.
        let id = format!("{:032x}", attempt.instance.container);
        let (done, to_do) = verb(attempt.step);
        let mut text = format!("Container {container} ({}) {}. ", &id[..12], self.trouble());
        match self.result {
            Result::Done => text.extend(["Successfully ", done, " the container!"]),
            Result::Failed(why) => text.extend(["Failed to ", to_do, " the container! Why: ", why, "."]),
        }
        // Writing to a text cannot fail.
        let _ = write!(text, " Host {}, service {}, attempt {}", subject.host, subject.name, attempt.ordinal);
        if let Some(incident) = self.incident {
            let _ = write!(text, ", incident {incident}");
        }
        text.push('.');
        text
    }

    fn trouble(&self) -> String {
        match self.attempt.trouble {
            Some(Trouble::Check(check)) => match self.subject.checks.get(usize::from(check.0)) {
                Some(name) => format!("found to be unhealthy by its check {name}"),
                None => "found to be unhealthy".to_owned(),
            },
            Some(Trouble::Exited { code }) => format!("exited by itself with code {code}"),
            Some(Trouble::StoppedInGap) => "stopped while nobody could look".to_owned(),
            Some(Trouble::Outlived) => "left behind by a start of what it needs".to_owned(),
            Some(Trouble::EngineUnhealthy | Trouble::EngineRestarting) | None => "found to be unhealthy".to_owned(),
        }
    }
}

/// A step in autoheal's sentences: what was done, and what was to be done.
const fn verb(step: Step) -> (&'static str, &'static str) {
    match step {
        Step::Start => ("started", "start"),
        Step::Restart => ("restarted", "restart"),
        Step::Stop => ("stopped", "stop"),
        Step::Signal(_) => ("signalled", "signal"),
        Step::Exec(_) => ("ran a command in", "run a command in"),
    }
}

/// The JSON that carries a text.
pub(super) fn json(message: &Message, text: &str) -> Vec<u8> {
    let value = match message {
        Message::Text { keys } => {
            Value::Object(keys.iter().map(|key| (key.clone(), text.into())).collect::<Map<_, _>>())
        }
        Message::Apprise => json!({ "title": TITLE, "body": text }),
    };
    value.to_string().into_bytes()
}
