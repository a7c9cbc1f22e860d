//! The table of `iaso status`.

use super::super::ask::{Component, Status};
use super::super::*;
use crate::api::services::{Services, Summary};

/// How these services stand, each by its name and health.
fn status(services: &[(&str, &str)]) -> Status {
    let template = Summary {
        name: String::new(),
        host: "local".to_owned(),
        health: String::new(),
        since: String::new(),
        age_seconds: 90,
        trouble: None,
        incident: None,
        phase: "idle".to_owned(),
        hold: Some("quarantine".to_owned()),
        hold_until: None,
        budget_remaining: 5,
        quarantined: false,
        paused: false,
        maintenance_until: None,
        acknowledged: false,
        part_of: None,
        affected: Vec::new(),
        container: None,
        image: None,
    };
    let services = services.iter().map(|(name, health)| {
        let (name, health) = ((*name).to_owned(), (*health).to_owned());
        Summary { name, health, ..template.clone() }
    });
    let services = Services { at: String::new(), observe: false, services: services.collect(), waiting: Vec::new() };
    Status { services, components: [].into() }
}

fn shown(status: &Status, width: Option<usize>) -> String {
    table::services(status, Look { colour: false, erases: false, width })
}

#[test]
fn an_empty_house_says_how_to_begin() {
    let mut empty = status(&[]);
    empty.services.observe = true;
    assert_eq!(
        shown(&empty, None),
        "No service is watched yet: label a container with iaso.enable=true or autoheal=true, or name it in the\n\
         configuration, which `iaso init` proposes.\n\
         Iaso runs with --observe: it decides and touches nothing.\n"
    );
}

#[test]
fn the_worst_come_first_and_all_are_counted() {
    let healths = ["healthy", "paused", "stopped", "starting", "unknown", "degraded", "unhealthy"];
    let named: Vec<(String, &str)> = healths.iter().map(|health| (format!("a-{health}"), *health)).collect();
    let mut all: Vec<(&str, &str)> = named.iter().map(|(name, health)| (&**name, *health)).collect();
    all.push(("b", "healthy"));
    let text = shown(&status(&all), None);
    let names: Vec<&str> = text.lines().skip(1).take(8).map(|line| line.split(' ').next().unwrap()).collect();
    let worst_first = ["unhealthy", "degraded", "unknown", "starting", "stopped", "paused", "healthy"];
    assert_eq!(names[..7], worst_first.map(|health| format!("a-{health}")));
    assert_eq!(names[7], "b");
    let count = "8 services: 1 unhealthy, 1 degraded, 1 unknown, 1 starting, 1 stopped, 1 paused, 2 healthy.";
    assert_eq!(text.lines().last(), Some(count));
}

#[test]
fn hosts_are_a_column_where_there_are_several() {
    let mut status = status(&[("web", "healthy"), ("nas.db", "unknown")]);
    assert!(!shown(&status, None).contains("HOST"));
    status.services.services[1].host = "nas".to_owned();
    let text = shown(&status, None);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(lines[..3], [["SERVICE", "HOST", "HEALTH"], ["nas.db", "nas", "unknown"], ["web", "local", "healthy"]]);
    assert!(shown(&status, Some(30)).lines().take(3).all(|line| line.chars().count() <= 12 + 2 + 5 + 2 + 7 + 2 + 4));
}

#[test]
fn lines_fit_a_narrow_terminal_and_lose_nothing_elsewhere() {
    let long = format!("shop-{}-1", "x".repeat(240));
    let other = format!("shop-{}-2", "x".repeat(240));
    let status = status(&[(&long, "unhealthy"), (&other, "healthy"), ("db", "healthy")]);
    for width in [10, 20, 40, 80, 132] {
        let text = shown(&status, Some(width));
        let rows: Vec<&str> = text.lines().take(4).collect();
        let longest = rows.iter().map(|row| row.chars().count()).max().unwrap();
        // The shortest name, the health and the age are shown in any case.
        assert!(longest <= width.max(12 + 2 + 9 + 2 + 4), "{width}: {longest}\n{text}");
        assert!(rows[1].contains("-1 ") && rows[3].contains("-2 "), "{text}");
        assert!(text.contains("`iaso status | cat`"), "{text}");
    }
    for width in [None, Some(400)] {
        let text = shown(&status, width);
        assert!(text.contains(&long) && !text.contains('…') && !text.contains("cat"), "{text}");
    }
}

#[test]
fn what_programs_wrote_does_not_steer_the_terminal() {
    assert_eq!(table::fit_for_a_terminal("a\u{1b}[2Jb\nc\td\r"), "a [2Jb\nc d ");
}

#[test]
fn parts_of_iaso_that_ail_are_told() {
    let mut status = status(&[("web", "unknown")]);
    let part = |status: &str, message: &str| Component {
        status: status.to_owned(),
        since: "2026-01-01T00:00:00Z".to_owned(),
        message: Some(message.to_owned()),
    };
    status.components.insert("docker/local".to_owned(), part("unhealthy", "the engine\u{1b}[2J is not running"));
    status.components.insert("store".to_owned(), part("healthy", "fine"));
    let text = shown(&status, None);
    let told = "docker/local is unhealthy since 2026-01-01T00:00:00Z: the engine [2J is not running\n";
    assert!(text.contains(told) && !text.contains("store"), "{text}");
}
