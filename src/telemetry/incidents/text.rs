//! The account of an outage as people read it.

use std::fmt::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Account, Moment, Part, Seen, occasion, span};
use crate::incidents::{CheckSeen, ContainerSeen};

/// Holds that follow each other for the same reason are one line.
const HELD: &str = "held";

impl Account {
    /// The whole story, with times told in `zone`.
    pub fn text(&self, zone: &TimeZone) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, zone);
        text
    }

    fn write(&self, text: &mut String, zone: &TimeZone) -> fmt::Result {
        let incident = &self.incident;
        let severity = incident.severity.as_deref().map(|severity| format!(" ({severity})")).unwrap_or_default();
        writeln!(text, "Outage {} of {} on host {}{severity}: {}.", incident.id, incident.service, incident.host, {
            &incident.problem
        })?;
        let lasted = span(incident.lasted_seconds);
        let began = local(&incident.opened, zone, true);
        match &incident.ending {
            Some(ending) => writeln!(text, "  Began {began}, lasted {lasted}: {ending}.")?,
            None => writeln!(text, "  Began {began}, and goes on for {lasted} by now.")?,
        }
        if let Some(seconds) = self.time_to_recover_seconds {
            writeln!(text, "  Time to recover: {}.", span(seconds))?;
        }
        let noun = if incident.attempts == 1 { "attempt" } else { "attempts" };
        writeln!(text, "  {} {noun}, {} failed.", incident.attempts, incident.failed)?;
        if let Some(at) = &incident.acknowledged {
            writeln!(text, "  Acknowledged {}.", local(at, zone, true))?;
        }
        if let Some(root) = &incident.part_of {
            writeln!(text, "  Part of outage {root}, of something that it needs.")?;
        }
        if !self.parts.is_empty() {
            let state = |part: &Part| part.ending.clone().unwrap_or_else(|| "goes on".to_owned());
            let who = self.parts.iter().map(|part| format!("{} ({}, {})", part.service, part.incident, state(part)));
            writeln!(text, "  Affected: {}.", who.collect::<Vec<_>>().join("; "))?;
        }
        for seen in &self.evidence {
            write_seen(text, seen, zone)?;
        }
        if !self.timeline.is_empty() {
            writeln!(text, "\nWhat was decided:")?;
        }
        let mut held: Option<&str> = None;
        for moment in &self.timeline {
            let reason = moment.reason.as_deref().filter(|_| moment.event == HELD);
            if reason.is_none() || reason != held {
                write_moment(text, moment, zone)?;
            }
            held = reason;
        }
        Ok(())
    }
}

fn write_moment(text: &mut String, moment: &Moment, zone: &TimeZone) -> fmt::Result {
    let reason = moment.reason.as_deref().map(|reason| format!(" [{reason}]")).unwrap_or_default();
    writeln!(text, "  {}  {}{reason}: {}", local(&moment.at, zone, false), moment.event, moment.what)
}

fn write_seen(text: &mut String, seen: &Seen, zone: &TimeZone) -> fmt::Result {
    writeln!(text, "\nSeen {}, {}:", local(&seen.at, zone, false), occasion(&seen.event))?;
    if let Some(container) = &seen.container {
        write_container(text, container)?;
    }
    for check in &seen.checks {
        write_check(text, check)?;
    }
    if let Some(error) = &seen.engine_error {
        writeln!(text, "  The operation: {error}.")?;
    }
    match (&seen.log, &seen.log_missing) {
        (Some(lines), _) if lines.is_empty() => writeln!(text, "  It has printed nothing."),
        (Some(lines), _) => {
            writeln!(text, "  The last that it printed:")?;
            lines.iter().try_for_each(|line| writeln!(text, "    | {line}"))
        }
        (None, Some(why)) => writeln!(text, "  What it printed could not be had: {why}."),
        (None, None) => Ok(()),
    }
}

fn write_container(text: &mut String, container: &ContainerSeen) -> fmt::Result {
    let ContainerSeen { name, image, id, state, .. } = container;
    let code = container.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    let memory = if container.oom_killed { "; out of memory: the kernel killed it, or a process in it" } else { "" };
    writeln!(text, "  Container {name} ({id}) of image {image}: {state}{code}{memory}.")?;
    if let Some((code, output)) = &container.healthcheck {
        let said = if output.is_empty() { "it printed nothing" } else { output };
        writeln!(text, "  Its HEALTHCHECK returned {code}: {said}")?;
    }
    Ok(())
}

/// One that has not spoken yet has nothing to tell.
fn write_check(text: &mut String, check: &CheckSeen) -> fmt::Result {
    let CheckSeen { name, kind, .. } = check;
    let output = check.output.as_deref().map(|output| format!(": {output}")).unwrap_or_default();
    match (check.failures, check.passing) {
        (0, None) if check.output.is_none() => Ok(()),
        (0, Some(false)) => writeln!(text, "  Check {name} ({kind}) passes again, not yet often enough{output}"),
        (0, _) => writeln!(text, "  Check {name} ({kind}) passes{output}"),
        (1, _) => writeln!(text, "  Check {name} ({kind}) has failed once{output}"),
        (failures, _) => writeln!(text, "  Check {name} ({kind}) has failed {failures} times in a row{output}"),
    }
}

/// A moment in a time zone: `14:03:12`, or with its date; as it is where it is no time.
pub(super) fn local(time: &str, zone: &TimeZone, date: bool) -> String {
    let form = if date { "%Y-%m-%d %H:%M:%S" } else { "%H:%M:%S" };
    let told = time.parse::<Timestamp>().map(|at| at.to_zoned(zone.clone()).strftime(form).to_string());
    told.unwrap_or_else(|_| time.to_owned())
}
