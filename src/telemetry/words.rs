//! The sentences that log lines and explanations share.

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::action::{RolloutResult, Trouble};
use iaso_policy::alert::AlertKey;
use iaso_policy::input::Outcome;
use iaso_policy::record::{AlertKind, Hold, Verdict};
use iaso_policy::spec::Step;

/// What so many failures at once mean.
pub fn storm(failed: u32, of: u32) -> String {
    format!(
        "{failed} of the {of} services on its host failed at once: look at the host, its network or Iaso itself; nothing is \
         recovered for five minutes, or until most are well, and then one after the other"
    )
}

/// What a host that cannot be reached means.
pub fn host_lost(services: u32, unreached: Duration) -> String {
    format!(
        "its engine has not been reached for {}: nobody knows how its services are ({services}), and nothing is done there until \
         it answers; look at the host, its engine and the way there",
        span(unreached)
    )
}

/// Why Iaso does not act, and what ends that: a full sentence for every reason.
pub const fn hold_sentence(reason: Hold) -> &'static str {
    match reason {
        Hold::Dependency => "Something it depends on is down or not yet stable; that is healed first.",
        Hold::Backoff => {
            "The last attempt did not last, so the wait before the next one grows; `iaso restart` does not wait."
        }
        Hold::Budget => {
            "Its restart budget is spent; an attempt comes free when the oldest one leaves the window, and `iaso restart` \
             costs nothing."
        }
        Hold::HostBudget => {
            "Its host's budget for automatic operations is spent by it and its neighbours; an attempt comes free when the \
             oldest one leaves the window."
        }
        Hold::Concurrency => {
            "As many engine calls as allowed are in flight on its host; its turn comes when one of them ends."
        }
        Hold::Quarantine => {
            "Recovery has failed too often, so Iaso gave up on it for now: it needs a person. `iaso restart` or `iaso \
             resume` ends the quarantine, and so does its becoming healthy."
        }
        Hold::Maintenance => {
            "It is under maintenance; Iaso acts again when that ends, or `iaso maintenance end` ends it."
        }
        Hold::Paused => "Somebody paused it in Iaso; `iaso resume` ends that.",
        Hold::ContainerPaused => "Its container is frozen; `docker unpause` thaws it.",
        Hold::OperatorStopped => {
            "Somebody stopped its container on purpose, or is stopping it; starting it puts it back under Iaso's care."
        }
        Hold::UnknownStop => {
            "Its container stopped while Iaso could not see why, so it may have been a person; start it, or set `after_gap \
             = \"start\"`."
        }
        Hold::Completed => "Its container has done its work and ended; set `lifecycle = \"running\"` if it should not.",
        Hold::Notice => {
            "A person is told before the first attempt, and may take the outage over with `iaso ack`; while they have, and until \
             `recovery.notice` is over, Iaso waits."
        }
        Hold::DiskFull => {
            "The disk that holds its engine's data is full, and what keeps data is not restarted on a full disk; it goes on \
             once there is room."
        }
        Hold::PlannedChange => "A deployment of it is under way; Iaso waits for it, five minutes at most.",
        Hold::StartPeriod => "It started a short while ago and is given its start period to become healthy.",
        Hold::QuietStart => {
            "Iaso, the engine or the host has just started; verdicts that are this young lead to nothing yet."
        }
        Hold::MassFailure => {
            "Too much on this host failed at once, which points to the host or the network; five minutes later, or once most of \
             it is well, one service is recovered, and then the others one at a time."
        }
        Hold::HostDown => "Its engine cannot be reached; Iaso goes on as soon as it answers.",
        Hold::InFlight => "An operation for it is in flight or being verified.",
        Hold::EngineRestarting => {
            "The engine's own restart policy is at it and goes first; Iaso acts when that is exhausted."
        }
        Hold::NeverSucceeded => {
            "The check that fails has never succeeded, so the check is more likely wrong than the service; `iaso probe` \
             shows its every step."
        }
        Hold::Mode => "Its recovery mode tells Iaso not to act; `mode = \"auto\"` lets it.",
        Hold::Observe => "Iaso runs with `--observe`: it decides and touches nothing.",
        Hold::Itself => "It is Iaso itself, or the proxy that Iaso talks through.",
        Hold::Orchestrated => "Another orchestrator owns its container and is left to it.",
        Hold::NotPermitted => {
            "The engine, or the proxy before it, denies the step; allow it there, or choose another step for the ladder."
        }
        Hold::Store => {
            "Iaso's store takes no writes, and without a record this step is too much of a risk; it goes on once the store \
             does."
        }
        Hold::Internal => "A law forbade what was decided, which is a fault of Iaso's own; please report it.",
    }
}

/// What is wrong, to follow a colon.
pub fn trouble(trouble: Trouble, checks: &[Arc<str>]) -> String {
    match trouble {
        Trouble::Exited { code: 137 } => "its container was killed (exit code 137)".to_owned(),
        Trouble::Exited { code } => format!("its container exited by itself with code {code}"),
        Trouble::StoppedInGap => "its container stopped while Iaso could not look".to_owned(),
        Trouble::EngineRestarting => "its container keeps ending and the engine restarts it".to_owned(),
        Trouble::EngineUnhealthy => "its own HEALTHCHECK says unhealthy".to_owned(),
        Trouble::Outlived => "what it needs has started anew after it".to_owned(),
        Trouble::Check(check) => match checks.get(usize::from(check.0)) {
            Some(name) => format!("its check `{name}` fails"),
            None => "a check of it fails".to_owned(),
        },
    }
}

/// A ladder's step with what it carries.
pub fn step(step: Step) -> String {
    match step {
        Step::Signal(number) => format!("signal {number}"),
        Step::Exec(_) => "command in the container".to_owned(),
        plain => plain.name().to_owned(),
    }
}

/// What came of an attempt, to follow a colon.
pub const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healed => "it healed",
        Verdict::NotHealed => "it did not help",
        Verdict::OperationFailed => "it failed",
        Verdict::Moot => "it was not needed any more",
        Verdict::Denied => "it was denied",
        Verdict::Superseded => "a person's order took its place",
        Verdict::Done => "it was done",
        Verdict::Dropped => "it was never carried out",
    }
}

/// That people are told.
pub fn announced(key: AlertKey, of_host: bool) -> String {
    let whose = if of_host { "its host's trouble" } else { "the outage" };
    match key.kind {
        AlertKind::NotHealed => format!("people are told of {whose} ({key})"),
        AlertKind::Reminder => format!("people are reminded of {whose} ({key})"),
        AlertKind::Resolved => format!("people are told that {whose} is over ({key})"),
    }
}

/// What an operation for a credential's sake is for.
pub const fn rollout(undo: bool) -> &'static str {
    if undo { "a credential put back" } else { "a changed credential" }
}

/// How a credential's change, or its undoing, ended, to follow a colon.
pub const fn rollout_result(result: RolloutResult) -> &'static str {
    match result {
        RolloutResult::Done => "every service that runs has learned of it",
        RolloutResult::Left(_) => "this service runs and was left alone: it goes on with the value before",
        RolloutResult::Failed(_) => "this service did not become healthy after it",
        RolloutResult::Refused(Hold::Observe) => "Iaso only observes, and nothing was done",
        RolloutResult::Refused(_) => "it asks for more operations than are ever allowed, and nothing was done",
        RolloutResult::Replaced => "something newer took its place",
    }
}

/// Why an operation did not do what was asked, to follow a comma; none where it did.
pub const fn failure(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Done | Outcome::Moot => None,
        Outcome::Failed => Some("the engine refused it"),
        Outcome::CommandFailed => Some("the command returned another code than 0"),
        Outcome::NotPermitted => Some("the engine or a proxy does not permit it"),
        Outcome::NotFound => Some("the container was gone"),
        Outcome::TimedOut => Some("the engine did not answer in time"),
        Outcome::Unreachable => Some("the engine could not be reached"),
        Outcome::Uncharged => Some("the store did not take its charge in time"),
        Outcome::Refused => Some("a law forbade it"),
        Outcome::LeftAlone => Some("the engine was not asked, since too many calls in a row had not reached it"),
        Outcome::Crashed => Some("the task that carried it out died"),
    }
}

/// A span as people say it: `a moment`, `42 s`, `12 min`, `5 h 12 min`, `3 days`.
pub fn span(span: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match span.as_secs() {
        0 => "a moment".to_owned(),
        s if s < 2 * MINUTE => format!("{s} s"),
        s if s < 2 * HOUR => format!("{} min", s / MINUTE),
        s if s < 2 * DAY => format!("{} h {} min", s / HOUR, s % HOUR / MINUTE),
        s => format!("{} days", s / DAY),
    }
}

/// Foreign text made fit for a terminal and one line: at most 300 characters, control characters replaced by spaces.
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut line: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests;
