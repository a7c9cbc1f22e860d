//! Outages on the command line: a table of them, and the whole story of one.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::args::{Connection, Form, service_name};
use super::ask::{hint, said};
use super::client::{ClientError, Daemon};
use super::table::{cut, fit_for_a_terminal, length};
use super::terminal::Look;
use crate::api::incidents::{MOST, USUAL};
use crate::telemetry::incidents::{Account, Incident, Incidents};
use crate::telemetry::words;

/// Which outages are asked for.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Tell everything about this one; the first digits of its id do where no other's begins with them
    #[arg(value_parser = incident_id, conflicts_with_all = ["service", "open", "limit"])]
    id: Option<String>,
    /// Only those of this service
    #[arg(long, value_name = "NAME", value_parser = service_name)]
    service: Option<String>,
    /// Only those that go on
    #[arg(long)]
    open: bool,
    /// The newest so many, 500 at most
    #[arg(long, value_name = "N", default_value_t = USUAL, value_parser = limit)]
    limit: usize,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// Asks, and says what came of it.
///
/// # Errors
/// When no daemon answers, or there is no such outage or service.
pub(super) async fn answer(daemon: &Daemon, which: Which, look: Look) -> Result<String, ClientError> {
    let Which { id, service, open, limit, form, .. } = which;
    if let Some(id) = id {
        let account: Account = daemon.get(&format!("/api/v1/incidents/{id}")).await?;
        return Ok(said(form, &account, |account| fit_for_a_terminal(&account.text(&TimeZone::system()))));
    }
    let mut path = format!("/api/v1/incidents?limit={limit}&open={open}");
    if let Some(service) = &service {
        let _infallible = write!(path, "&service={service}");
    }
    let answer = daemon.get(&path).await;
    let incidents: Incidents = match &service {
        Some(service) => hint(daemon, service, answer).await?,
        None => answer?,
    };
    Ok(said(form, &incidents, |incidents| table(incidents, look, &TimeZone::system())))
}

const HEAD: [&str; 8] = ["ID", "SERVICE", "BEGAN", "LASTED", "WHAT WAS WRONG", "ATTEMPTS", "ENDED", "AFFECTED"];
/// The column that is shortened for a narrow terminal, and what it keeps.
const FLEXIBLE: (usize, usize) = (4, 20);

/// A line for each outage.
fn table(all: &Incidents, look: Look, zone: &TimeZone) -> String {
    if all.incidents.is_empty() {
        return "There are none.\n".to_owned();
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(all.incidents.iter().map(|incident| row(incident, zone)));
    let widest = |rows: &[[String; 8]], column: usize| rows.iter().map(|row| length(&row[column])).max().unwrap_or(0);
    let (flexible, least) = FLEXIBLE;
    if let Some(width) = look.width {
        let others: usize =
            (0..HEAD.len()).filter(|column| *column != flexible).map(|column| widest(&rows, column)).sum();
        let room = width.saturating_sub(others + 2 * (HEAD.len() - 1)).max(least);
        for row in rows.iter_mut().filter(|row| length(&row[flexible]) > room) {
            row[flexible] = cut(&row[flexible], room);
        }
    }
    let widths: [usize; 8] = std::array::from_fn(|column| widest(&rows, column));
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    if all.next.is_some() {
        text.push_str("There are older ones: --limit shows more.\n");
    }
    text
}

fn row(incident: &Incident, zone: &TimeZone) -> [String; 8] {
    let began = incident.opened.parse::<Timestamp>();
    let began = began.map(|at| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string());
    let lasted = words::span(Duration::from_secs(incident.lasted_seconds));
    let is_open = incident.ending.is_none();
    let known = if is_open && incident.acknowledged.is_some() { "open, acknowledged" } else { "open" };
    let problem = match &incident.part_of {
        Some(root) => format!("{}, part of {root}", incident.problem),
        None => incident.problem.clone(),
    };
    let row = [
        incident.id.clone(),
        incident.service.clone(),
        began.unwrap_or_else(|_| incident.opened.clone()),
        lasted,
        problem,
        incident.attempts.to_string(),
        incident.ending.clone().unwrap_or_else(|| known.to_owned()),
        incident.affected.join(", "),
    ];
    row.map(|cell| words::printable(&cell))
}

fn incident_id(text: &str) -> Result<String, &'static str> {
    let fit = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if fit { Ok(text.to_ascii_lowercase()) } else { Err("expected an outage's id: up to 16 hexadecimal digits") }
}

fn limit(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MOST}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(id: &str, service: &str) -> Incident {
        Incident {
            id: id.to_owned(),
            service: service.to_owned(),
            host: "local".to_owned(),
            severity: Some("warning".to_owned()),
            trouble: "exited".to_owned(),
            problem: "its container exited by itself with code 7".to_owned(),
            opened: "2026-03-01T14:00:00.000Z".to_owned(),
            closed: Some("2026-03-01T14:00:12.000Z".to_owned()),
            ending: Some("healed".to_owned()),
            lasted_seconds: 12,
            attempts: 1,
            failed: 0,
            acknowledged: None,
            part_of: None,
            affected: Vec::new(),
        }
    }

    #[test]
    fn the_table_fits_a_terminal_and_says_when_there_is_more() {
        let mut db = incident("c8a4eeb99d000002", "db");
        (db.closed, db.ending, db.attempts) = (None, None, 0);
        db.acknowledged = Some("2026-03-01T14:00:05.000Z".to_owned());
        db.affected = vec!["api".to_owned(), "web".to_owned()];
        let next = Some("c8a4eeb99d000001".to_owned());
        let all = Incidents { at: String::new(), incidents: vec![db, incident("c8a4eeb99d000001", "web")], next };
        let look = |width| Look { colour: false, erases: false, width };
        let whole = table(&all, look(None), &TimeZone::UTC);
        let lines: Vec<&str> = whole.lines().collect();
        assert_eq!(
            lines[1],
            "c8a4eeb99d000002  db       2026-03-01 14:00:00  12 s    its container exited by itself with code 7  0         \
             open, acknowledged  api, web"
        );
        assert!(lines[2].ends_with("  1         healed"), "{whole}");
        assert_eq!(lines[3], "There are older ones: --limit shows more.");
        let narrow = table(&all, look(Some(130)), &TimeZone::UTC);
        assert!(narrow.lines().all(|line| length(line) <= 130), "{narrow}");
        assert!(narrow.contains("…") && narrow.contains("api, web"), "{narrow}");
    }

    #[test]
    fn what_is_no_id_is_told_so() {
        assert_eq!(incident_id("C8A4"), Ok("c8a4".to_owned()));
        for wrong in ["", "web", "c8a4eeb99d0000011"] {
            assert!(incident_id(wrong).is_err(), "{wrong}");
        }
    }
}
