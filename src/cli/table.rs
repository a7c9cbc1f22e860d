//! The table of services.

use std::fmt::Write;
use std::time::Duration;

use crate::api::services::{Services, Summary};
use crate::telemetry::words;

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const RED: &str = "\u{1b}[31m";
const PLAIN: &str = "\u{1b}[0m";

/// Every service, a line each; columns as wide as they need.
pub(super) fn services(answer: &Services, colour: bool) -> String {
    let mut text = String::new();
    let rows: Vec<[String; 4]> = answer.services.iter().map(row).collect();
    if rows.is_empty() {
        text.push_str("No service is watched yet: label a container with iaso.enable=true or autoheal=true.\n");
    } else {
        let head = ["SERVICE", "HEALTH", "FOR", "IASO"];
        let widths: [usize; 3] = std::array::from_fn(|column| {
            rows.iter().map(|row| row[column].len()).chain([head[column].len()]).max().unwrap_or_default()
        });
        line(&mut text, &head.map(str::to_owned), widths, None);
        for row in &rows {
            line(&mut text, row, widths, colour.then(|| shade(&row[1])));
        }
    }
    for name in &answer.waiting {
        let _ = writeln!(text, "{name} is configured, and no container of it exists yet.");
    }
    if answer.observe {
        text.push_str("Iaso runs with --observe: it decides and touches nothing.\n");
    }
    text
}

fn line(text: &mut String, row: &[String; 4], [service, health, age]: [usize; 3], shade: Option<&str>) {
    let (on, off) = shade.map_or(("", ""), |shade| (shade, PLAIN));
    let whole = format!("{:service$}  {on}{:health$}{off}  {:age$}  {}", row[0], row[1], row[2], row[3]);
    text.push_str(whole.trim_end());
    text.push('\n');
}

fn row(service: &Summary) -> [String; 4] {
    let age = words::span(Duration::from_secs(service.age_seconds));
    [service.name.clone(), service.health.clone(), age, doing(service)]
}

/// What Iaso does about it, in a few words.
fn doing(service: &Summary) -> String {
    match (&*service.phase, &service.hold) {
        ("operating", _) => "operating on it".to_owned(),
        ("verifying", _) => "verifying".to_owned(),
        (_, Some(reason)) => format!("holding ({reason})"),
        (_, None) if service.paused => "holding (paused)".to_owned(),
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
