//! The answer to "what is with this service, and why does Iaso do what it does": what is wrong, since when, what was tried,
//! why nothing is being done now, and what will happen next and when.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::Record;
use iaso_policy::action::Cause;
use iaso_policy::id::{AttemptId, IncidentId};
use iaso_policy::record::{Event, Health, Hold};
use iaso_policy::time::{Mono, Now, Wall};
use iaso_policy::view::{HoldView, Phase, ServiceView};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::words;
use crate::snapshot::{ServiceStatus, Snapshot};

/// The newest lines of what was tried that are told.
const TOLD: usize = 12;

/// The answer, in sentences. Its [`Display`](fmt::Display) is the whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The service's name.
    pub service: String,
    /// How it is: a word of [`Health`].
    pub health: String,
    /// The outage that goes on: the id that its log lines carry.
    pub incident: Option<String>,
    /// What is wrong, since when.
    pub problem: String,
    /// What stands behind it: the container, the checks.
    pub facts: Vec<String>,
    /// What was done and decided, oldest first.
    pub tried: Vec<Tried>,
    /// Why Iaso does not act: a word of [`Hold`].
    pub hold: Option<String>,
    /// Why a changed credential waits before it: a word of [`Hold`].
    #[serde(default)]
    pub rollout_hold: Option<String>,
    /// What Iaso does now, or why it does nothing.
    pub doing: String,
    /// What will happen next, and when.
    pub next: String,
}

/// One thing that was done or decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// When, local time.
    pub at: String,
    /// What, and what came of it.
    pub what: String,
}

/// Explains one service from a picture and its newest records (oldest first; none where they cannot be read), with times
/// told in `zone`.
pub fn explain(
    snapshot: &Snapshot,
    service: &ServiceStatus,
    timeline: &[Record],
    now: Now,
    zone: &TimeZone,
) -> Explanation {
    let times = Times { now, zone };
    let view = &service.view;
    let names: Vec<Arc<str>> = service.checks.iter().map(|check| Arc::clone(&check.name)).collect();
    Explanation {
        service: service.name.to_string(),
        health: view.health.name().to_owned(),
        incident: view.incident.map(|incident| incident.incident.to_string()),
        problem: problem(service, &names, times),
        facts: facts(snapshot, service, times),
        tried: tried(view, timeline, times),
        hold: view.hold.map(|hold| hold.reason.name().to_owned()),
        rollout_hold: view.rollout.map(|hold| hold.reason.name().to_owned()),
        doing: doing(view, times),
        next: next(service, times),
    }
}

/// [`explain`] as JSON, with times told in the machine's own zone.
pub fn explain_json(snapshot: &Snapshot, service: &ServiceStatus, timeline: &[Record], now: Now) -> serde_json::Value {
    serde_json::to_value(explain(snapshot, service, timeline, now, &TimeZone::system())).unwrap_or_default()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.problem)?;
        for fact in &self.facts {
            writeln!(f, "  {fact}")?;
        }
        if !self.tried.is_empty() {
            writeln!(f, "So far:")?;
            for tried in &self.tried {
                writeln!(f, "  {}  {}", tried.at, tried.what)?;
            }
        }
        writeln!(f, "Now: {}", self.doing)?;
        writeln!(f, "Next: {}", self.next)
    }
}

/// Tells moments as people do.
#[derive(Clone, Copy)]
struct Times<'a> {
    now: Now,
    zone: &'a TimeZone,
}

impl Times<'_> {
    /// `14:03:12`, with the date where that is another day than today.
    fn wall(self, wall: Wall) -> String {
        let local = |ms| Timestamp::from_millisecond(ms).ok().map(|time| time.to_zoned(self.zone.clone()));
        match (local(wall.0), local(self.now.wall.0)) {
            (Some(then), Some(today)) if then.date() == today.date() => then.strftime("%H:%M:%S").to_string(),
            (Some(then), _) => then.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            (None, _) => "an unknown time".to_owned(),
        }
    }

    fn mono(self, mono: Mono) -> String {
        let ahead = mono.0.saturating_sub(self.now.mono.0);
        self.wall(Wall(self.now.wall.0.saturating_add(ahead)))
    }

    /// `since 14:03:12 (2 min)`.
    fn since(self, mono: Mono) -> String {
        format!("since {} ({})", self.mono(mono), words::span(self.now.mono.since(mono)))
    }

    /// `at 14:03:12 (in 2 min)`, or `now` for what is due.
    fn due(self, mono: Mono) -> String {
        match mono.since(self.now.mono) {
            Duration::ZERO => "now".to_owned(),
            wait => format!("at {} (in {})", self.mono(mono), words::span(wait)),
        }
    }
}

fn problem(service: &ServiceStatus, checks: &[Arc<str>], times: Times<'_>) -> String {
    let view = &service.view;
    let state = match view.health {
        Health::Unknown => "in an unknown state",
        Health::Paused => "frozen",
        other => other.name(),
    };
    let why = view.trouble.map(|trouble| format!(": {}", words::trouble(trouble, checks))).unwrap_or_default();
    format!("{} is {state} {}{why}.", service.name, times.since(view.since))
}

fn facts(snapshot: &Snapshot, service: &ServiceStatus, times: Times<'_>) -> Vec<String> {
    let view = &service.view;
    let mut facts = Vec::new();
    match &service.container {
        Some(container) => facts.push(format!(
            "Container {} ({}) of image {} on host {}.",
            words::printable(&container.name),
            container.short_id(),
            words::printable(&container.image),
            service.host
        )),
        None => facts.push(format!("There is no container of it on host {}.", service.host)),
    }
    if view.stateful {
        facts.push("It keeps data, and is healed with care.".to_owned());
    }
    if let Some(host) = snapshot.hosts.iter().find(|host| host.name == service.host && !host.link.up) {
        let lost = host.lost.map(|lost| format!("; the host is lost, incident {}", lost.incident)).unwrap_or_default();
        facts.push(format!(
            "The engine of {} has not answered {}{lost}.",
            host.name,
            times.since(times.now.place(host.link.since))
        ));
    }
    if let Some(incident) = view.incident {
        let failed = match (incident.attempts, incident.failed) {
            (0, _) => "nothing tried yet".to_owned(),
            (1, failed) => format!("1 attempt, {failed} failed"),
            (attempts, failed) => format!("{attempts} attempts, {failed} failed"),
        };
        let known =
            incident.acknowledged.map(|at| format!("; acknowledged at {}", times.wall(at.wall))).unwrap_or_default();
        facts.push(format!(
            "Outage {} began at {}; {failed}{known}.",
            incident.incident,
            times.wall(incident.opened.wall)
        ));
    }
    if let Some(until) = view.maintained_until {
        facts.push(format!(
            "Under maintenance until {} (in {}).",
            times.mono(until),
            words::span(until.since(times.now.mono))
        ));
    }
    facts.extend(outages(snapshot, view));
    facts.extend(neighbours(snapshot, service));
    if let Some(HoldView { reason, since, .. }) = view.rollout {
        facts.push(format!(
            "A changed credential waits before it ({}, {}). {}",
            reason.name(),
            times.since(since),
            words::hold_sentence(reason)
        ));
    }
    for (check, status) in view.checks.iter().zip(&service.checks) {
        let saying = status.evidence.as_deref().map(|text| format!(": {}", words::printable(text))).unwrap_or_default();
        if check.failures > 0 {
            let often = if check.failures == 1 { "once" } else { "times in a row" };
            let count = if check.failures == 1 { String::new() } else { format!("{} ", check.failures) };
            let never = if check.proven { "" } else { "; it has never passed" };
            facts.push(format!("Check {} ({}) has failed {count}{often}{never}{saying}.", status.name, status.kind));
        } else if status.pending {
            facts.push(format!("Check {} ({}) cannot be made{saying}.", status.name, status.kind));
        }
    }
    if view.engine_restarts > 0 {
        facts.push(format!("The engine itself restarted it {} times in the last ten minutes.", view.engine_restarts));
    }
    facts
}

/// Whose outage its own is part of, and whose are part of it.
fn outages(snapshot: &Snapshot, view: &ServiceView) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(root) = view.incident.and_then(|incident| incident.root) {
        let is_in = |known: &&Arc<ServiceStatus>| known.view.incident.is_some_and(|incident| incident.incident == root);
        said.push(match snapshot.services.iter().find(is_in) {
            Some(known) => format!("Part of {}'s outage {root}.", known.name),
            None => format!("It was part of outage {root}, which is over."),
        });
    }
    let affected = snapshot.services.iter().filter(|known| view.affected.contains(&known.view.service));
    let affected: Vec<String> = affected
        .map(|known| match known.view.incident {
            Some(_) => known.name.to_string(),
            None => format!("{} (well again)", known.name),
        })
        .collect();
    if !affected.is_empty() {
        said.push(format!("Affected: {}.", affected.join(", ")));
    }
    said
}

/// What it waits for, and who waits for it.
fn neighbours(snapshot: &Snapshot, service: &ServiceStatus) -> Vec<String> {
    let view = &service.view;
    let behind = |view: &ServiceView| view.hold.and_then(|hold| hold.behind);
    let root = behind(view).and_then(|root| snapshot.services.iter().find(|known| known.view.service == root));
    let root = root.map(|root| format!("It waits for {}, which is {}.", root.name, root.view.health.name()));
    let unwatched = service.waits_for.join(", ");
    let unwatched = (!unwatched.is_empty())
        .then(|| format!("It waits for {}, which Iaso does not watch.", words::printable(&unwatched)));
    let waiting = snapshot.services.iter().filter(|known| behind(&known.view) == Some(view.service));
    let waiting: Vec<&str> = waiting.map(|known| &*known.name).collect();
    let waiting = (!waiting.is_empty()).then(|| format!("Held until it is well: {}.", waiting.join(", ")));
    root.into_iter().chain(unwatched).chain(waiting).collect()
}

/// The lines of the outage that goes on; without one, of the newest.
fn tried(view: &ServiceView, timeline: &[Record], times: Times<'_>) -> Vec<Tried> {
    let outage: Option<IncidentId> = match view.incident {
        Some(incident) => Some(incident.incident),
        // Its host's incident is told of under its name where it is the first there.
        None => timeline.iter().rev().find_map(|record| match record.event {
            Event::HostLost { .. } | Event::HostBack { .. } => None,
            _ => record.incident,
        }),
    };
    let mut begun = HashMap::new();
    let mut failures = HashMap::new();
    let mut places = HashMap::new();
    let mut lines = Vec::new();
    for (place, record) in
        timeline.iter().filter(|record| record.incident.is_some() && record.incident == outage).enumerate()
    {
        // An attempt is told where it began: what came of it did so before what it ended with.
        let mut told_at = place;
        match record.event {
            Event::Begun { attempt, cause, ordinal, .. } => {
                places.insert(attempt, place);
                begun.insert(attempt, (record.now, cause, ordinal));
            }
            Event::Finished { attempt, outcome } => {
                failures.insert(attempt, words::failure(outcome));
            }
            Event::Ended { attempt, .. } => told_at = places.get(&attempt).copied().unwrap_or(place),
            _ => {}
        }
        if let Some((at, what)) = line(record, &begun, &failures) {
            lines.push((told_at, Tried { at: times.wall(at.wall), what }));
        }
    }
    lines.sort_by_key(|(told_at, _)| *told_at);
    let mut lines: Vec<Tried> = lines.into_iter().map(|(_, tried)| tried).collect();
    lines.split_off(lines.len().saturating_sub(TOLD))
}

type Begun = HashMap<AttemptId, (Now, Cause, u32)>;
type Failures = HashMap<AttemptId, Option<&'static str>>;

/// One record as a line, at the moment that it tells of.
fn line(record: &Record, begun: &Begun, failures: &Failures) -> Option<(Now, String)> {
    let what = match record.event {
        Event::Ended { attempt, step, verdict, took } => {
            let (at, who) = match begun.get(&attempt) {
                Some((at, Cause::Recovery, ordinal)) => (*at, format!(" (attempt {ordinal})")),
                Some((at, Cause::Operator, _)) => (*at, " (a person's order)".to_owned()),
                Some((at, Cause::Credential { undo: false, .. }, _)) => (*at, " (a changed credential)".to_owned()),
                Some((at, Cause::Credential { undo: true, .. }, _)) => (*at, " (a credential put back)".to_owned()),
                None => (record.now, String::new()),
            };
            let why = failures.get(&attempt).copied().flatten().map(|why| format!(", {why}")).unwrap_or_default();
            let came = words::verdict(verdict);
            return Some((at, format!("{}{who}: {came}{why}, after {}", words::step(step), words::span(took))));
        }
        Event::Held { reason: Hold::Observe, step: Some(step), .. } => format!("would {}", words::step(step)),
        Event::Quarantined { trials: 0, .. } => "quarantined: recovery has failed too often".to_owned(),
        Event::Quarantined { trials, .. } => format!("quarantined again: trial {trials} failed"),
        Event::Released { by } => format!("the quarantine ended ({})", by.name()),
        Event::Exited { code, .. } => format!("its container exited with code {code}"),
        Event::OperatorStopped { .. } => "a person stopped it".to_owned(),
        Event::Paused => "a person paused it".to_owned(),
        Event::Resumed => "a person resumed it".to_owned(),
        Event::MaintenanceBegan { lasting, .. } => {
            format!("a person put it under maintenance, for {}", words::span(lasting))
        }
        Event::MaintenanceEnded { .. } => "a person ended its maintenance".to_owned(),
        Event::Acknowledged { lasting: None } => "a person acknowledged the outage".to_owned(),
        Event::Acknowledged { lasting: Some(lasting) } => {
            format!("a person acknowledged the outage, for {}", words::span(lasting))
        }
        Event::Announced { key, of_host, .. } => words::announced(key, of_host),
        Event::Joined { root } => format!("its outage became part of outage {root}"),
        Event::IncidentClosed { ending, lasted } => {
            format!("the outage was over after {} ({})", words::span(lasted), ending.name())
        }
        _ => return None,
    };
    Some((record.now, what))
}

fn doing(view: &ServiceView, times: Times<'_>) -> String {
    match view.phase {
        Phase::Operating { attempt, step, since } => {
            let how_long = words::span(times.now.mono.since(since));
            return format!("the engine has been asked to {} {how_long} ago (attempt {attempt}).", words::step(step));
        }
        Phase::Verifying { attempt, step, healthy_since, .. } => {
            let so_far = match healthy_since {
                Some(since) => format!("it has been healthy for {}", words::span(times.now.mono.since(since))),
                None => "it is not healthy yet".to_owned(),
            };
            let step = words::step(step);
            return format!("the {step} is done and its effect is being verified: {so_far} (attempt {attempt}).");
        }
        Phase::Idle => {}
    }
    match view.hold {
        Some(HoldView { reason, since, .. }) => {
            format!("nothing ({}, {}). {}", reason.name(), times.since(since), words::hold_sentence(reason))
        }
        None if view.paused => format!("nothing. {}", words::hold_sentence(Hold::Paused)),
        None => match view.health {
            Health::Unhealthy => "deciding; nothing holds it back.".to_owned(),
            Health::Degraded => "telling, not healing: what fails only asks for attention.".to_owned(),
            Health::Starting => "waiting for it to come up.".to_owned(),
            Health::Unknown => "waiting for news of it.".to_owned(),
            Health::Healthy => "nothing needs to be done.".to_owned(),
            Health::Stopped | Health::Paused => "nothing; that is nobody's fault.".to_owned(),
        },
    }
}

fn next(service: &ServiceStatus, times: Times<'_>) -> String {
    let (view, name) = (&service.view, &service.name);
    match view.phase {
        Phase::Operating { .. } => return "once the engine has done it, its effect is verified.".to_owned(),
        Phase::Verifying { until, .. } => {
            let by = times.due(until).replacen("at ", "by ", 1);
            return format!("it counts as healed when it stays healthy; the attempt has failed if not {by}.");
        }
        Phase::Idle => {}
    }
    let step = view.next_step.map_or_else(|| "nothing".to_owned(), words::step);
    if let Some(quarantine) = view.quarantine
        && view.hold.is_none_or(|hold| hold.reason == Hold::Quarantine)
    {
        return match quarantine.retry_at {
            Some(at) => format!("one trial ({step}) {}; `iaso restart {name}` does not wait for it.", times.due(at)),
            None => format!("nothing by itself; `iaso restart {name}` or `iaso resume {name}` when it is mended."),
        };
    }
    match view.hold {
        Some(HoldView { reason: Hold::Observe, .. }) => format!("nothing; without `--observe` it would {step}."),
        Some(HoldView { until: Some(until), .. }) => match view.budget_remaining {
            0 => format!("it looks again {}; the budget is spent.", times.due(until)),
            left => format!("{step} {}, if it is still needed; {left} left in the budget.", times.due(until)),
        },
        Some(HoldView { until: None, .. }) => "nothing, until that changes.".to_owned(),
        None if view.paused => "nothing, until it is resumed.".to_owned(),
        None => match view.health {
            Health::Unhealthy => format!("{step}, as soon as its turn comes."),
            Health::Stopped | Health::Paused => "nothing, until it runs again.".to_owned(),
            _ => "it goes on being watched.".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
