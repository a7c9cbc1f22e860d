//! Rotations in words, for logs, answers and plans. Never a value.

use std::sync::Arc;

use iaso_policy::Now;
use iaso_policy::credential::rotation::{Ending, Event, Order, Origin, Trouble};
use tracing::Level;

use crate::config::validated::{Apply, Call, Credential, Generator, OnChange, Rotation};
use crate::rollouts::CredentialEntry;
use crate::snapshot::RotationStatus;

/// What is told of an event. `why` is what the last call brought.
pub(super) fn entry(now: Now, credential: Arc<str>, event: Event, why: Option<&str>) -> CredentialEntry {
    let because = why.map(|why| format!(" ({why})")).unwrap_or_default();
    let (level, words) = match event {
        Event::Began(origin) => (Level::INFO, began(origin).to_owned()),
        Event::Reached(step) => (Level::DEBUG, format!("the rotation has come to: {}", step.name())),
        Event::Held(step) => (Level::WARN, format!("the rotation waits at: {}{because}", step.name())),
        Event::GoingBack(Trouble::Ordered) => (Level::INFO, "the rotation is taken back, as ordered".to_owned()),
        Event::GoingBack(trouble) => (Level::WARN, format!("the rotation is taken back: {}{because}", trouble.words())),
        Event::Ended(ended @ (Ending::Rotated | Ending::Unchanged | Ending::Returned(Trouble::Ordered))) => {
            (Level::INFO, ending(ended))
        }
        Event::Ended(ended) => (Level::WARN, format!("{}{because}", ending(ended))),
        Event::Halted(halt) => (Level::ERROR, format!("its rotation needs a person: {}", halt.words())),
    };
    let what = match event {
        Event::Ended(Ending::Rotated | Ending::OldRemains) => "rotated",
        Event::Ended(Ending::Returned(_)) => "rolled_back",
        _ => "rotation",
    };
    CredentialEntry { now, credential, what, level, words }
}

/// That the marks beside the versions could not be set.
pub(super) fn unmarked(now: Now, credential: Arc<str>, why: &str) -> CredentialEntry {
    let words = format!("the version in use could not be marked in Vault, where another Iaso would look: {why}");
    CredentialEntry { now, credential, what: "rotation", level: Level::WARN, words }
}

const fn began(origin: Origin) -> &'static str {
    match origin {
        Origin::Scheduled => "a rotation begins, since it is due",
        Origin::Ordered => "a rotation begins, as ordered",
        Origin::Rollback => "the version before is put back as a new one, as ordered",
        Origin::Set => "a value given by hand is stored, as ordered",
    }
}

/// How a rotation ended.
pub(super) fn ending(ending: Ending) -> String {
    match ending {
        Ending::Rotated => "everything uses the new value".to_owned(),
        Ending::OldRemains => {
            "everything uses the new value, but the old one was not retired and may still be valid".to_owned()
        }
        Ending::Unchanged => "the new value is the old one: nothing was done".to_owned(),
        Ending::Returned(trouble) => format!("the old value is back: {}", trouble.words()),
        Ending::Failed(trouble) => format!("nothing was changed: {}", trouble.words()),
    }
}

/// The answer to an order that is taken.
pub(super) const fn taken(order: Order) -> &'static str {
    match order {
        Order::Rotate => "the rotation is under way",
        Order::Rollback => "the value before is being put back",
        Order::Set => "the value is being stored",
    }
}

/// What a rotation would do, a line each.
pub(super) fn plan(credential: &Credential, status: Option<&RotationStatus>) -> Vec<String> {
    let Some(rotation) = &credential.rotation else { return vec!["it has no [rotation]".to_owned()] };
    let mut lines = Vec::new();
    if let Some(status) = status.filter(|status| status.step != "idle") {
        lines.push(format!("a rotation is under way and has come to: {}", status.step));
    }
    lines.push(format!("make a new value for the field {}: {}", credential.field, generator(&rotation.generator)));
    lines.push("store it as a new version, if nobody has written another since; the old one stays in use".to_owned());
    match &rotation.apply {
        Apply::Call(call) => lines.push(format!("tell the service: {}", call_words(call))),
        Apply::Render => lines.push("tell no service by a call: it learns from what is rendered".to_owned()),
    }
    let verify = rotation.verify.as_ref().map(|call| format!("try the new value: {}", call_words(call)));
    let before = matches!(rotation.apply, Apply::Call(_));
    lines.extend(verify.clone().filter(|_| before));
    lines.extend(credential.files.iter().map(|file| format!("render {}", file.path.display())));
    lines.extend(roll_out(credential));
    lines.extend(verify.filter(|_| !before));
    lines.push(retire(rotation));
    lines.push(format!(
        "if any of this fails before the old value is retired: {}store the old data as a new version, render it, and undo what \
         the services were told",
        if before { "tell the service the old value, " } else { "" }
    ));
    lines
}

fn roll_out(credential: &Credential) -> Option<String> {
    let how = match credential.on_change {
        OnChange::None => return None,
        OnChange::Signal(number) => format!("send signal {number} to"),
        OnChange::Restart => "restart".to_owned(),
    };
    let services: Vec<&str> = credential.services.iter().map(|service| &**service).collect();
    (!services.is_empty())
        .then(|| format!("{how} {}, one after the other, each verified by its own checks", services.join(", ")))
}

fn retire(rotation: &Rotation) -> String {
    match &rotation.retire {
        Some(call) => format!("after {:?} retire the old value: {}", rotation.grace, call_words(call)),
        None => format!("after {:?} forget the old value", rotation.grace),
    }
}

fn generator(generator: &Generator) -> String {
    match generator {
        Generator::Characters { length, alphabet, .. } => {
            format!("{length} characters of {} different ones", alphabet.chars().count())
        }
        Generator::Passphrase { words, .. } => format!("{words} words"),
        Generator::Uuid => "a UUID".to_owned(),
    }
}

/// A call without what may hold a secret: no URL beyond its host, no header, no body, no argument.
fn call_words(call: &Call) -> String {
    match call {
        Call::Http { method, url, .. } => {
            let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
            format!("{method} at {}", host.as_deref().unwrap_or("an address made of the value"))
        }
        Call::Exec { service, command, .. } => {
            let program = command.first().map_or("nothing", String::as_str);
            format!("run {program} in {service}, the value on its standard input")
        }
    }
}

#[cfg(test)]
mod tests {
    use iaso_policy::credential::rotation::Step;

    use super::*;

    #[test]
    fn what_failed_is_told_with_its_reason_and_what_succeeded_without() {
        let now = crate::system::clock::Clock::new().now();
        let told = |event| entry(now, Arc::from("db"), event, Some("status 500"));
        assert_eq!(told(Event::Held(Step::Stored)).words, "the rotation waits at: stored (status 500)");
        assert_eq!(told(Event::Ended(Ending::Rotated)).words, "everything uses the new value");
        assert_eq!(told(Event::Ended(Ending::Returned(Trouble::NotAccepted))).what, "rolled_back");
    }
}
