//! The words of an announcement: whose outage, since when, what was tried, why nothing more is done, who else is affected.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::action::Trouble;
use iaso_policy::record::{AlertKind, Ending, Hold};
use iaso_policy::time::Wall;
use jiff::Timestamp;

use crate::journal::Announcement;

/// Of more who are affected only the number is told.
const NAMED: usize = 20;

/// The text.
pub(super) fn text(told: &Announcement) -> String {
    let mut text = match told.alert.host {
        Some(_) => of_host(told),
        None => of_service(told),
    };
    if told.alert.host.is_none() && !told.affected.is_empty() {
        text.extend([" Affected: ", &names(&told.affected), "."]);
    }
    let key = told.alert.key;
    // Writing to a text cannot fail.
    let _ = write!(text, " Host {}, incident {}, key {key}.", told.subject.host, key.incident);
    text
}

fn of_service(told: &Announcement) -> String {
    let (alert, name) = (&told.alert, &told.subject.name);
    let still = match alert.key.kind {
        AlertKind::NotHealed => "",
        AlertKind::Reminder => " still",
        AlertKind::Resolved => return format!("Service {name} {}, after {}.", ending(alert.ending), lasted(told)),
    };
    let what =
        alert.trouble.map_or_else(|| "it is not well".to_owned(), |trouble| wrong(trouble, &told.subject.checks));
    let tried = match (alert.attempts, alert.failed) {
        (0, _) => "nothing was tried".to_owned(),
        (1, failed) => format!("1 attempt, {failed} failed"),
        (attempts, failed) => format!("{attempts} attempts, {failed} failed"),
    };
    let why = match alert.reason {
        Some(reason) => format!("{} ({})", why(reason), reason.name()),
        None => "it goes on being tried".to_owned(),
    };
    let next = alert.until.map(|until| until.since(told.now.mono)).filter(|wait| !wait.is_zero());
    let next = next.map(|wait| format!("; looked at again in {}", span(wait))).unwrap_or_default();
    format!("Service {name} is{still} not healed: {what}, {}. Tried: {tried}. Now: {why}{next}.", since(told))
}

fn of_host(told: &Announcement) -> String {
    let (alert, host) = (&told.alert, &told.subject.host);
    match (alert.key.kind, alert.reason) {
        (AlertKind::Resolved, Some(Hold::DiskFull)) => {
            format!("Host {host}: there is room again on the disk with its engine's data, after {}.", lasted(told))
        }
        (AlertKind::Resolved, _) => format!("Host {host} is itself again, after {}.", lasted(told)),
        (_, Some(Hold::MassFailure)) => format!(
            "Host {host}: {} of its services failed at once: {}. Look at the host, its network or Iaso itself: nothing is \
             recovered for 5 min, or until most are well, and then one after the other.",
            told.affected.len(),
            names(&told.affected)
        ),
        (_, Some(Hold::DiskFull)) => format!(
            "Host {host}: the disk with its engine's data is full, {}. What keeps data there is not restarted before there is room; \
             everything else is healed as ever.",
            since(told)
        ),
        _ => format!("Host {host} cannot be reached, {}: nothing on it is watched or healed.", since(told)),
    }
}

fn names(all: &[Arc<str>]) -> String {
    let named = all.get(..NAMED).unwrap_or(all).join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// `since 2026-03-01 14:00:00Z (12 min)`.
fn since(told: &Announcement) -> String {
    let Wall(opened) = told.alert.opened.wall;
    let opened = Timestamp::from_millisecond(opened).map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
    format!("since {} ({})", opened.unwrap_or_else(|_| "an unknown time".to_owned()), lasted(told))
}

fn lasted(told: &Announcement) -> String {
    span(told.now.mono.since(told.now.place(told.alert.opened)))
}

fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

const fn ending(ending: Option<Ending>) -> &'static str {
    match ending {
        Some(Ending::Healed) => "is healed",
        Some(Ending::Stopped) => "was stopped by a person, or has done its work",
        Some(Ending::Gone) => "is gone, or not watched any more",
        Some(Ending::Recovered) | None => "is well again",
    }
}

fn wrong(trouble: Trouble, checks: &[Arc<str>]) -> String {
    match trouble {
        Trouble::Exited { code } => format!("its container exited by itself with code {code}"),
        Trouble::StoppedInGap => "its container stopped while nobody could look".to_owned(),
        Trouble::EngineRestarting => "its container keeps ending, and the engine restarts it".to_owned(),
        Trouble::EngineUnhealthy => "its HEALTHCHECK says unhealthy".to_owned(),
        Trouble::Outlived => "what it needs has started anew after it".to_owned(),
        Trouble::Check(check) => match checks.get(usize::from(check.0)) {
            Some(name) => format!("its check {name} fails"),
            None => "a check of it fails".to_owned(),
        },
    }
}

const fn why(reason: Hold) -> &'static str {
    match reason {
        Hold::Dependency => "something that it needs is not well",
        Hold::Backoff => "the next attempt waits",
        Hold::Budget => "its restart budget is spent",
        Hold::HostBudget => "its host's budget is spent",
        Hold::Concurrency => "it waits for its turn",
        Hold::Quarantine => "recovery has failed too often, it waits for a person",
        Hold::Maintenance => "it is under maintenance",
        Hold::Paused => "a person has paused it",
        Hold::ContainerPaused => "a person has frozen its container",
        Hold::OperatorStopped => "a person has stopped it",
        Hold::UnknownStop => "nobody saw why it stopped",
        Hold::Completed => "it has done its work",
        Hold::Notice => "it is restarted in a moment unless somebody takes it over",
        Hold::DiskFull => "the disk of its engine is full, and it keeps data",
        Hold::PlannedChange => "a deployment is under way",
        Hold::StartPeriod => "it is in its start period",
        Hold::QuietStart => "Iaso, the engine or the host has just started",
        Hold::MassFailure => "much on its host failed at once",
        Hold::HostDown => "its host cannot be reached",
        Hold::InFlight => "an operation is in flight",
        Hold::EngineRestarting => "the engine's own restart policy goes first",
        Hold::NeverSucceeded => "the check that fails has never succeeded, it is more likely wrong than the service",
        Hold::Mode => "its mode tells Iaso not to act",
        Hold::Observe => "Iaso only observes",
        Hold::Itself => "it is Iaso itself, or the proxy that it talks through",
        Hold::Orchestrated => "another orchestrator owns it",
        Hold::NotPermitted => "the engine, or the proxy before it, denies the step",
        Hold::Store => "Iaso's store takes no writes",
        Hold::Internal => "a law forbade what was decided, a fault of Iaso's own",
    }
}
