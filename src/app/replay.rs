//! `iaso replay FILE`: runs a flight recording through the policy and prints every decision.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use iaso_policy::action::Action;
use iaso_policy::id::{Identity, ServiceId};
use iaso_policy::input::Input;
use iaso_policy::record::Event;
use iaso_policy::{Now, Policy, Record};
use serde_json::json;

use super::commands::Failure;
use crate::store::flight;

/// Prints one line for each decision of a segment, or of every segment in a folder: in words, or as a JSON document. `anyway`
/// accepts a recording of another version.
///
/// # Errors
/// When a file cannot be read, is not a recording, or is another version's.
pub fn print(path: &Path, anyway: bool, as_json: bool) -> Result<(), Failure> {
    let read = |error: io::Error| Failure::No(format!("{}: {error}", path.display()));
    let segments = if path.is_dir() { flight::segments(path).map_err(read)? } else { vec![path.to_owned()] };
    if segments.is_empty() {
        return Err(Failure::No(format!("{}: there is no recording in this folder", path.display())));
    }
    let mut out = io::stdout().lock();
    for segment in segments {
        match replay(&segment, anyway, as_json, &mut out) {
            Ok(()) => {}
            // A reader that has seen enough, such as `head`, is no failure.
            Err(Problem::Output) => return Ok(()),
            Err(Problem::Recording(why)) => return Err(Failure::No(why)),
        }
    }
    Ok(())
}

enum Problem {
    Output,
    Recording(String),
}

fn replay(segment: &Path, anyway: bool, as_json: bool, out: &mut impl Write) -> Result<(), Problem> {
    let recording = |error: flight::FlightError| Problem::Recording(error.to_string());
    let (header, lines) = flight::read::<Policy>(segment, anyway).map_err(recording)?;
    let seed = format!("{:016x}", header.seed);
    let head = if as_json {
        json!({ "segment": segment.display().to_string(), "version": header.version, "seed": seed }).to_string()
    } else {
        format!("{}: version {}, seed {seed}", segment.display(), header.version)
    };
    writeln!(out, "{head}").map_err(|_| Problem::Output)?;
    let mut policy: Policy = header.state;
    let mut names: BTreeMap<ServiceId, Identity> =
        policy.identities().map(|(service, identity)| (service, identity.clone())).collect();
    let mut actions = Vec::new();
    for line in lines {
        let line = line.map_err(recording)?;
        if let Input::Define { service, spec } = &line.input {
            names.insert(*service, spec.identity.clone());
        }
        policy.step(line.now, line.input, &mut actions);
        for action in actions.drain(..) {
            let Some((record, what)) = decision(&action) else { continue };
            let name = names.get(&record.service).map_or_else(|| "?".into(), Identity::short_name);
            let (at, incident) = (stamp(line.now), record.incident.map(|incident| incident.to_string()));
            let told = if as_json {
                let event = record.event.name();
                json!({ "at": at, "service": name, "event": event, "what": what, "incident": incident }).to_string()
            } else {
                format!("{at}  {name}  {what}{}", incident.map(|id| format!(" [{id}]")).unwrap_or_default())
            };
            writeln!(out, "{told}").map_err(|_| Problem::Output)?;
        }
    }
    Ok(())
}

fn stamp(now: Now) -> String {
    jiff::Timestamp::from_millisecond(now.wall.0).map_or_else(|_| now.wall.0.to_string(), |at| format!("{at:.3}"))
}

/// What a person would call a decision; the rest is housekeeping.
fn decision(action: &Action) -> Option<(&Record, String)> {
    match action {
        Action::Record(record) => {
            let what = match record.event {
                Event::Begun { step, ordinal, attempt, .. } => {
                    format!("begins {} (attempt {ordinal}, {attempt})", step.name())
                }
                Event::Ended { step, verdict, took, .. } => {
                    format!("ends {}: {} after {took:?}", step.name(), verdict.name())
                }
                Event::Health { from, to, .. } => format!("is {} (was {})", to.name(), from.name()),
                Event::Held { reason, .. } => format!("holds: {}", reason.name()),
                Event::Unheld { reason } => format!("holds no more: {}", reason.name()),
                event => event.name().replace('_', " "),
            };
            Some((record, what))
        }
        Action::Operate(_)
        | Action::Probe { .. }
        | Action::Look { .. }
        | Action::Cadence { .. }
        | Action::Answer { .. }
        | Action::Announce(_)
        | Action::RolledOut { .. } => None,
    }
}
