//! The table of services: the worst first, and all of them counted at the end, where a terminal shows it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use super::ask::Status;
use super::terminal::Look;
use crate::api::services::Summary;
use crate::telemetry::words;

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

/// How a service may be, the worst first.
const HEALTHS: [&str; 7] = ["unhealthy", "degraded", "unknown", "starting", "stopped", "paused", "healthy"];

/// A name is not made shorter than this, however narrow the terminal.
const SHORTEST_NAME: usize = 12;
/// What the last column keeps before names are made shorter.
const DOING: usize = 20;

const NOBODY: &str = "\
No service is watched yet: label a container with iaso.enable=true or autoheal=true, or name it in the
configuration, which `iaso init` proposes.
";

/// What a service's line has: its name, its host where there are several, its health and for how long, what Iaso does.
type Row = [String; 5];

/// Every service, a line each; columns as wide as they need, lines no longer than the terminal.
pub(super) fn services(status: &Status, look: Look) -> String {
    let mut text = String::new();
    let mut services: Vec<&Summary> = status.services.services.iter().collect();
    services.sort_by_key(|service| (rank(&service.health), &service.name));
    let hosts: BTreeSet<&str> = services.iter().map(|service| &*service.host).collect();
    let mut cells: Vec<Row> = services.iter().map(|service| row(service, hosts.len() > 1)).collect();
    if cells.is_empty() {
        text.push_str(NOBODY);
    } else {
        let host = if hosts.len() > 1 { "HOST" } else { "" };
        cells.insert(0, ["SERVICE", host, "HEALTH", "FOR", "IASO"].map(str::to_owned));
        let shortened = look.width.is_some_and(|width| fit(&mut cells, width));
        let widths: [usize; 4] = std::array::from_fn(|column| widest(&cells, column));
        for (row, at) in cells.iter().zip(0..) {
            line(&mut text, row, widths, (look.colour && at > 0).then(|| shade(&row[2])));
        }
        if shortened {
            text.push_str("Some lines were shortened to fit; `iaso status | cat` shows them whole.\n");
        }
        text.push_str(&count(&services));
    }
    for (name, part) in status.components.iter().filter(|(_, part)| part.status != "healthy") {
        let message = part.message.as_deref().map(|message| format!(": {}", words::printable(message)));
        let _ = writeln!(text, "{name} is {} since {}{}", part.status, part.since, message.unwrap_or_default());
    }
    for name in &status.services.waiting {
        let _ = writeln!(text, "{name} is configured, and no container of it exists yet.");
    }
    if status.services.observe {
        text.push_str("Iaso runs with --observe: it decides and touches nothing.\n");
    }
    text
}

/// Keeps what programs in containers may have written from steering the terminal.
pub(super) fn fit_for_a_terminal(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

fn rank(health: &str) -> usize {
    HEALTHS.iter().position(|known| *known == health).unwrap_or(0)
}

/// `12 services: 1 unhealthy, 11 healthy`.
fn count(services: &[&Summary]) -> String {
    let of = |health: &&str| services.iter().filter(|service| service.health == **health).count();
    let counts = HEALTHS.iter().map(|health| (of(health), health)).filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, health)| format!("{count} {health}")).collect();
    let noun = if services.len() == 1 { "service" } else { "services" };
    format!("{} {noun}: {}.\n", services.len(), counts.join(", "))
}

/// Shortens the last column, then the names, to lines of `width` columns; whether there was need to.
fn fit(rows: &mut [Row], width: usize) -> bool {
    let host = widest(rows, 1);
    let gaps = if host > 0 { 4 } else { 3 };
    let fixed = host + widest(rows, 2) + widest(rows, 3) + gaps * 2;
    let room = width.saturating_sub(fixed);
    let doing = widest(rows, 4).min(DOING);
    let names = room.saturating_sub(doing).max(SHORTEST_NAME).min(widest(rows, 0));
    let rest = room.saturating_sub(names);
    let mut shortened = false;
    for row in rows {
        for (column, most) in [(0, names), (4, rest)] {
            if length(&row[column]) > most {
                row[column] = if column == 0 { middle_out(&row[0], most) } else { cut(&row[4], most) };
                shortened = true;
            }
        }
    }
    shortened
}

fn widest(rows: &[Row], column: usize) -> usize {
    rows.iter().map(|row| length(&row[column])).max().unwrap_or_default()
}

pub(super) fn length(text: &str) -> usize {
    text.chars().count()
}

/// Without its end.
pub(super) fn cut(text: &str, most: usize) -> String {
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    if most == 0 { kept } else { kept + "…" }
}

/// Without its middle: names of one project differ at their ends.
fn middle_out(text: &str, most: usize) -> String {
    let kept = most.saturating_sub(1);
    let (start, end) = (kept - kept / 2, kept / 2);
    let head: String = text.chars().take(start).collect();
    let tail: String = text.chars().skip(length(text) - end).collect();
    format!("{head}…{tail}")
}

fn line(text: &mut String, row: &Row, [service, host, health, age]: [usize; 4], shade: Option<&str>) {
    let (on, off) = shade.map_or(("", ""), |shade| (shade, PLAIN));
    let [name, on_host, state, since, doing] = row;
    let on_host = if host > 0 { format!("{on_host:host$}  ") } else { String::new() };
    let whole = format!("{name:service$}  {on_host}{on}{state:health$}{off}  {since:age$}  {doing}");
    text.push_str(whole.trim_end());
    text.push('\n');
}

fn row(service: &Summary, several_hosts: bool) -> Row {
    let age = words::span(Duration::from_secs(service.age_seconds));
    let host = if several_hosts { service.host.clone() } else { String::new() };
    [service.name.clone(), host, service.health.clone(), age, doing(service)].map(|cell| words::printable(&cell))
}

/// What Iaso does about it, in a few words, and whether somebody else does something.
fn doing(service: &Summary) -> String {
    let own = iaso_does(service);
    match service.acknowledged {
        true if own.is_empty() => "acknowledged".to_owned(),
        true => format!("{own}, acknowledged"),
        false => own,
    }
}

fn iaso_does(service: &Summary) -> String {
    match (&*service.phase, &service.hold) {
        ("operating", _) => "operating on it".to_owned(),
        ("verifying", _) => "verifying".to_owned(),
        (_, Some(reason)) => format!("holding ({reason})"),
        (_, None) if service.paused => "holding (paused)".to_owned(),
        (_, None) if service.maintenance_until.is_some() => "holding (maintenance)".to_owned(),
        (_, None) => service.trouble.clone().unwrap_or_default(),
    }
}

fn shade(health: &str) -> &'static str {
    match health {
        "healthy" => GREEN,
        "unhealthy" => RED,
        _ => YELLOW,
    }
}
