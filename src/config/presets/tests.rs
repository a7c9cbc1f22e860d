use std::collections::BTreeSet;
use std::fmt::Write;

use iaso_policy::id::{HostId, Identity};
use iaso_policy::spec::{OnFailure, RecoverySpec, ServiceSpec};

use super::*;
use crate::config::validated::{Config, Probe, UrlHost};
use crate::config::values;
use crate::config::watch::{Labels, Verdict, Watched, judge};

fn config(source: &str) -> Config {
    crate::config::decode("iaso.toml", source, &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn watched(source: &str, image: &str, labels: &[(&str, &str)]) -> Watched {
    let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    match judge(&config(source), "local", "db", image, &labels) {
        Verdict::Watched(watched) => *watched,
        other => panic!("{other:?}"),
    }
}

fn spec(source: &str, image: &str, labels: &[(&str, &str)]) -> ServiceSpec {
    let watched = watched(source, image, labels);
    assert_eq!(watched.mistakes, [], "{labels:?}");
    watched.service.spec(Identity::container("local", "db").unwrap(), HostId(0), watched.stateful)
}

const SERVICE: &str = "[services.db]\ncontainer = \"db\"\n";
const ENABLED: (&str, &str) = ("iaso.enable", "true");

#[test]
fn every_preset_is_in_order_and_goes_to_its_container_alone() {
    let names: Vec<_> = TABLE.iter().map(|preset| preset.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    let images: Vec<_> = TABLE.iter().flat_map(|preset| preset.images).collect();
    assert_eq!(images.iter().collect::<BTreeSet<_>>().len(), images.len(), "an image is of one application");
    for preset in TABLE {
        assert!(values::name(preset.name).is_ok() && preset.name != NONE, "{}", preset.name);
        for text in preset.checks {
            let check = check(text, &Defaults::default()).unwrap_or_else(|| panic!("{}: {text}", preset.name));
            let own = match &*check.probe {
                Probe::Http(http) => http.url.host == UrlHost::Container && !http.url.https,
                Probe::Tcp(tcp) => tcp.peer.host == UrlHost::Container,
                other => panic!("{}: {other:?}", preset.name),
            };
            assert!(own, "{}: {text}", preset.name);
        }
    }
}

#[test]
fn an_image_is_known_by_its_last_parts_whatever_is_around_them() {
    for image in [
        "postgres",
        "postgres:16-alpine",
        "docker.io/library/postgres:16",
        "registry.lan:5000/team/postgres",
        "registry.lan:5000/team/postgres:16",
        "postgres@sha256:0123",
        "postgres:16@sha256:0123",
        "postgis/postgis:16-3.4",
        "mcr.microsoft.com/mssql/server:2022-latest",
    ] {
        assert!(is_stateful(image), "{image}");
    }
    for image in ["", "nginx", "postgres-exporter", "mypostgres", "server:2022", "postgres/exporter:1", "sha256:0123"] {
        assert!(!is_stateful(image), "{image}");
    }
    assert_eq!(of_image("ghcr.io/gethomepage/homepage:v1").map(|preset| preset.name), Some("homepage"));
    assert!(!is_stateful("grafana/grafana"));
}

#[test]
fn an_image_that_keeps_data_is_treated_with_care_and_gets_no_checks() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for (source, labels) in [(SERVICE, &[][..]), ("", &[ENABLED])] {
        let spec = spec(source, "postgres:16", labels);
        assert!(spec.stateful && spec.checks.is_empty());
        assert_eq!((spec.start_period, spec.recovery.notice), (minutes(5), minutes(1)));
        assert_eq!((spec.recovery.stop_timeout, spec.recovery.least_grace), (None, minutes(1)));
        assert_eq!(spec.recovery.quarantine_retry, None);
    }
    let plain = spec(SERVICE, "nginx", &[]);
    assert!(!plain.stateful);
    assert_eq!((plain.start_period, plain.recovery), (minutes(1), RecoverySpec::default()));
}

#[test]
fn a_name_brings_its_checks_and_the_services_own_come_first() {
    let of = |lines: &str| {
        let watched = watched(&format!("{SERVICE}{lines}"), "anything", &[]);
        let told = watched.service.checks.iter().map(|check| (check.name.clone(), check.on_failure, check.interval));
        told.collect::<Vec<_>>()
    };
    let (heal, alert) = (OnFailure::Heal, OnFailure::Alert);
    let seconds = Duration::from_secs;
    assert_eq!(
        of("preset = \"authentik\"\ninterval = \"7s\"\n"),
        [("live".to_owned(), heal, seconds(7)), ("ready".to_owned(), alert, seconds(7))]
    );
    let own = "preset = \"grafana\"\n[[services.db.checks]]\nname = \"health\"\ntype = \"docker\"\ninterval = \"9s\"\n";
    assert_eq!(of(own), [("health".to_owned(), heal, seconds(9))]);
    let labelled = watched("", "anything", &[ENABLED, ("iaso.preset", "homepage")]);
    let Probe::Http(http) = &*labelled.service.checks[0].probe else { panic!() };
    assert_eq!((http.url.host.clone(), http.headers.len()), (UrlHost::Container, 1));
    let careful = spec("", "anything", &[ENABLED, ("iaso.preset", "redis")]);
    assert!(careful.stateful && careful.checks.len() == 1);
}

#[test]
fn who_says_something_is_heard_before_the_preset_and_that_before_the_defaults() {
    let seconds = Duration::from_secs;
    for (source, labels) in [
        (format!("{SERVICE}preset = \"none\"\n"), &[][..]),
        (format!("{SERVICE}stateful = false\npreset = \"postgres\"\n"), &[]),
        (String::new(), &[ENABLED, ("iaso.preset", "none")]),
        (String::new(), &[ENABLED, ("iaso.stateful", "no")]),
    ] {
        let spec = spec(&source, "postgres:16", labels);
        assert!(!spec.stateful, "{source} {labels:?}");
        assert_eq!(spec.recovery, RecoverySpec::default());
    }
    assert!(spec(&format!("{SERVICE}stateful = true\n"), "nginx", &[]).stateful);
    assert!(spec("", "nginx", &[ENABLED, ("iaso.stateful", "true")]).stateful);

    let shorter =
        "[defaults]\nstart_period = \"5s\"\n[defaults.recovery]\nstop_timeout = \"5s\"\nquarantine_retry = \"1m\"\n";
    let spec_of = |defaults: &str, own: &str| spec(&format!("{defaults}{SERVICE}{own}"), "postgres:16", &[]);
    let kept = spec_of(shorter, "");
    assert_eq!((kept.start_period, kept.recovery.stop_timeout), (seconds(300), None));
    assert_eq!((kept.recovery.least_grace, kept.recovery.quarantine_retry), (seconds(60), None));
    let longer =
        spec_of("[defaults]\nstart_period = \"10m\"\nrecovery = { stop_timeout = \"5m\", notice = \"2m\" }\n", "");
    assert_eq!((longer.start_period, longer.recovery.least_grace), (seconds(600), seconds(300)));
    assert_eq!(longer.recovery.notice, seconds(120));

    let own =
        "start_period = \"3s\"\nrecovery = { stop_timeout = \"4s\", notice = \"0s\", quarantine_retry = \"2m\" }\n";
    let said = spec_of(shorter, own);
    assert_eq!((said.start_period, said.recovery.stop_timeout), (seconds(3), Some(seconds(4))));
    assert_eq!((said.recovery.notice, said.recovery.quarantine_retry), (seconds(0), Some(seconds(120))));
    let labels = [ENABLED, ("iaso.recovery.notice", "9s"), ("autoheal.stop.timeout", "8")];
    let labelled = spec(shorter, "postgres:16", &labels);
    assert_eq!((labelled.recovery.notice, labelled.recovery.stop_timeout), (seconds(9), Some(seconds(8))));
}

#[test]
fn an_unknown_name_is_an_error_in_the_file_and_a_warning_in_a_label() {
    let source = format!("{SERVICE}preset = \"postgress\"\n");
    let mistakes = crate::config::decode("iaso.toml", &source, &|_| None).unwrap_err();
    let told = mistakes.to_string();
    assert!(told.contains("unknown preset \"postgress\"") && told.contains("`postgres`"), "{told}");
    let watched = watched("", "nginx", &[ENABLED, ("iaso.preset", "gitee")]);
    assert_eq!(watched.mistakes.len(), 1);
    assert_eq!(watched.mistakes[0].suggestion.as_deref(), Some("gitea"));
    assert!(watched.service.checks.is_empty() && !watched.stateful);
}

/// What `docs/presets.md` has below its mark.
pub(in crate::config) fn document() -> String {
    let mut out = String::from("\n| preset | images | keeps data | checks |\n| --- | --- | --- | --- |\n");
    for preset in TABLE {
        let images: Vec<String> = preset.images.iter().map(|image| format!("`{image}`")).collect();
        let checks: Vec<String> = preset.checks.iter().map(|text| row(text)).collect();
        let keeps = if preset.stateful { "yes" } else { "" };
        let _ = writeln!(out, "| `{}` | {} | {keeps} | {} |", preset.name, images.join(", "), checks.join(", "));
    }
    out
}

/// A check in a cell: where it goes, and whether it only alerts.
fn row(text: &str) -> String {
    let table: toml::Table = text.parse().unwrap();
    let goal = table.get("url").or_else(|| table.get("address")).and_then(toml::Value::as_str).unwrap();
    let goal = goal.trim_start_matches("http://").replace("{address}", "");
    let alerts = if table.get("on_failure").is_some() { " (alerts)" } else { "" };
    format!("{} `{goal}`{alerts}", table["type"].as_str().unwrap())
}
