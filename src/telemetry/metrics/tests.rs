use std::collections::BTreeMap;
use std::sync::Arc;

use iaso_policy::action::{Cause, Charge, Trouble};
use iaso_policy::id::{AttemptId, HostId, Instance};
use iaso_policy::record::{Ending, Event, Hold, Verdict};
use iaso_policy::spec::Step;
use iaso_policy::time::Wall;
use prometheus::proto::MetricType;

use super::credentials::Done;
use super::*;
use crate::journal::{Entry, Subject};
use crate::snapshot::example::{at, broken, credential, credentials, record, secs, service, snapshot};
use crate::snapshot::{OPERATION_BOUNDS, OperationCount, QueueStatus, ServiceStatus};
use crate::system::meters::{Breaker, OPERATION_BUCKETS};

fn entry(status: &ServiceStatus, event: Event) -> Entry {
    let subject = Subject {
        name: Arc::clone(&status.name),
        identity: status.identity.clone(),
        host: Arc::clone(&status.host),
        severity: status.severity,
        checks: Vec::new(),
    };
    Entry { record: record(-1, event), subject: Arc::new(subject) }
}

fn history(status: &ServiceStatus, listener: &mut impl Listener) {
    let (attempt, step) = (AttemptId(7), Step::Restart);
    for event in [
        Event::Held { reason: Hold::Backoff, until: None, step: None, behind: None },
        Event::Begun {
            attempt,
            step,
            cause: Cause::Recovery,
            trouble: Some(Trouble::EngineUnhealthy),
            instance: Instance { container: 1, started: 1 },
            charge: Charge::Stored,
            ordinal: 1,
        },
        Event::Ended { attempt, step, verdict: Verdict::Healed, took: secs(12) },
        Event::IncidentClosed { ending: Ending::Healed, lasted: secs(40) },
        Event::StormBegan { host: HostId(0), failed: 5, of: 8 },
        Event::HostLost { host: HostId(0), services: 8, unreached: secs(30) },
    ] {
        listener.hear(&entry(status, event));
    }
}

/// Metrics in which every name of the table has a series.
fn busy() -> String {
    let mut picture = snapshot();
    picture.at = Clock::new().now();
    picture.services = vec![service("api").into(), broken("web", Trouble::EngineUnhealthy).into()];
    Arc::make_mut(&mut picture.services[0]).checks[0].certificate_expiry = Some(1_800_000_000);
    picture.law_violations = vec![(2, 1)];
    picture.inputs.observe(Duration::from_millis(4));
    picture.queues = vec![
        QueueStatus { name: "checks".into(), waiting: Some((3, 4096)), full: 1, last_full: None },
        QueueStatus { name: "history".into(), waiting: None, full: 7, last_full: None },
    ];
    let (_sender, receiver) = watch::channel(Arc::new(picture));
    let (clock, tasks) = (Clock::new(), Tasks::new());
    let meters = Meters::new(clock);
    meters.breaker("mail", Breaker::Open);
    meters.configured(true);
    meters.configured(false);
    meters.notified("mail", Some(&"web".into()), true, secs(2));
    meters.lost_lines("file", 3);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { tasks.spawn("probe", async { panic!("on purpose") }).await }).unwrap().unwrap_err();
    let (_sender, credentials) = watch::channel(Arc::new(credentials(credential("db"))));
    let metrics = Metrics::new(clock, receiver, credentials, tasks, meters).unwrap();
    history(&service("web"), &mut metrics.listener());
    String::from_utf8(metrics.exposition().to_vec()).unwrap()
}

#[test]
fn the_exposition_tells_state_and_counts_by_their_names() {
    let text = busy();
    for line in [
        "iaso_service_state{service=\"web\",state=\"unhealthy\"} 1",
        "iaso_service_state{service=\"web\",state=\"healthy\"} 0",
        "service_health_status{service=\"api\"} 1",
        "service_health_status{service=\"web\"} 0",
        "iaso_restart_budget_remaining{service=\"web\"} 5",
        "iaso_quarantined{service=\"web\"} 0",
        "iaso_incidents_open{severity=\"warning\"} 1",
        "iaso_incidents_open{severity=\"critical\"} 0",
        "iaso_host_up{host=\"local\"} 1",
        "iaso_engine_events_connected{host=\"local\"} 1",
        "iaso_checks_total{service=\"api\",check=\"api\",result=\"passed\"} 40",
        "iaso_check_duration_seconds{service=\"api\",check=\"api\"} 0.003",
        "iaso_certificate_expiry_timestamp_seconds{service=\"api\",check=\"api\"} 1800000000",
        "iaso_law_violations_total{law=\"2\"} 1",
        "iaso_input_duration_seconds_bucket{le=\"0.003\"} 0",
        "iaso_input_duration_seconds_bucket{le=\"0.005\"} 1",
        "iaso_queue_length{queue=\"checks\"} 3",
        "iaso_queue_capacity{queue=\"checks\"} 4096",
        "iaso_queue_full_total{queue=\"checks\"} 1",
        "iaso_queue_dropped_total{queue=\"history\"} 7",
        "automation_operations_total{operation=\"recovery\",service=\"web\",status=\"success\"} 1",
        "automation_operations_total{operation=\"notification\",service=\"web\",status=\"success\"} 1",
        "automation_operation_duration_seconds_bucket{operation=\"recovery\",service=\"web\",le=\"5\"} 0",
        "automation_operation_duration_seconds_bucket{operation=\"recovery\",service=\"web\",le=\"15\"} 1",
        "automation_operation_duration_seconds_bucket{operation=\"recovery\",service=\"web\",le=\"+Inf\"} 1",
        "automation_operation_duration_seconds_sum{operation=\"recovery\",service=\"web\"} 12",
        "iaso_recoveries_total{service=\"web\",action=\"restart\",result=\"healed\"} 1",
        "iaso_holds_total{service=\"web\",reason=\"backoff\"} 1",
        "iaso_time_to_recover_seconds_bucket{le=\"30\"} 0",
        "iaso_time_to_recover_seconds_bucket{le=\"60\"} 1",
        "iaso_time_to_recover_seconds_count 1",
        "iaso_credential_refreshes_total{credential=\"db\",result=\"success\"} 12",
        "iaso_credential_refreshes_total{credential=\"db\",result=\"failure\"} 1",
        "iaso_credential_expiry_timestamp_seconds{credential=\"db\"} 1772377200",
        "iaso_vault_up 1",
        "automation_operations_total{operation=\"refresh\",service=\"web\",status=\"success\"} 1",
        "automation_operation_duration_seconds_bucket{operation=\"refresh\",service=\"web\",le=\"1\"} 0",
        "automation_operation_duration_seconds_bucket{operation=\"refresh\",service=\"web\",le=\"5\"} 1",
        "automation_operation_duration_seconds_sum{operation=\"refresh\",service=\"web\"} 2",
        "iaso_notifications_total{reporter=\"mail\",result=\"delivered\"} 1",
        "iaso_circuit_breaker_state{client=\"mail\"} 2",
        "iaso_config_last_reload_successful 0",
        "iaso_log_lines_lost_total{sink=\"file\"} 3",
        "iaso_task_restarts_total{task=\"probe\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
}

/// A metric as an exposition shows it: help, type and the labels of its series.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    help: String,
    kind: String,
    labels: Vec<String>,
}

fn shown(text: &str) -> BTreeMap<String, Shown> {
    let mut shown: BTreeMap<String, Shown> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            shown.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            shown.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let (name, labels) = line.split_once('{').unwrap_or((line.split(' ').next().unwrap(), ""));
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let name = base.filter(|base| shown.contains_key(*base)).unwrap_or(name);
            let pairs = labels.rsplit_once('}').map_or("", |(pairs, _)| pairs).split(',');
            let names = pairs.filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned());
            let labels: Vec<String> = names.filter(|label| label != "le").collect();
            shown.get_mut(name).unwrap_or_else(|| panic!("{name} has no help")).labels = labels;
        }
    }
    shown
}

fn kind(metric: &names::Metric) -> &'static str {
    match metric.kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        other => panic!("{}: no metric of this daemon is a {other:?}", metric.name),
    }
}

#[test]
fn the_exposition_and_the_table_are_the_same_list() {
    let process = if cfg!(target_os = "linux") { names::PROCESS } else { &[] };
    let listed = names::ALL.iter().chain(process).map(|metric| {
        let labels = metric.labels.iter().map(ToString::to_string).collect();
        (metric.name.to_owned(), Shown { help: metric.help.to_owned(), kind: kind(metric).to_owned(), labels })
    });
    let listed: BTreeMap<String, Shown> = listed.collect();
    assert_eq!(shown(&busy()), listed);
}

#[test]
fn the_four_given_names_have_exactly_the_given_labels() {
    // Dashboards exist for them; the fourth comes with drift.
    let given: [(&str, &[&str]); 3] = [
        ("automation_operations_total", &["operation", "service", "status"]),
        ("automation_operation_duration_seconds", &["operation", "service"]),
        ("service_health_status", &["service"]),
    ];
    for (name, labels) in given {
        let found = names::ALL.iter().find(|metric| metric.name == name).unwrap();
        assert_eq!(found.labels, labels, "{name}");
    }
}

#[test]
fn the_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let made = document();
    if std::env::var_os("IASO_UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(kept, made, "IASO_UPDATE_DOCS=1 cargo test --lib telemetry:: writes it anew");
}

/// What every label's values are.
fn labels() -> [(&'static str, String); 20] {
    let verdicts: Vec<String> = Verdict::ALL.iter().map(|verdict| format!("`{}`", verdict.name())).collect();
    let verdicts = verdicts.join(", ");
    [
        ("action", "a step of the ladder: `start`, `restart`, `signal`, `exec`, `stop`"),
        ("check", "a check's name in its service"),
        ("client", "what the circuit breaker stands before"),
        ("credential", "a credential's name in the configuration"),
        ("host", "an engine's name in the configuration"),
        ("law", "the number of the law that was nearly broken: a fault of Iaso's own, please report it"),
        ("le", "the upper bound of a histogram's bucket"),
        (
            "operation",
            "`recovery`, `operator` (a person's order), `credential` (a restart or signal for one's sake), `notification`; of credentials `refresh`, `render`, `rotation`",
        ),
        (
            "queue",
            "`engine/HOST`, `checks`, `orders`, `credentials`; of what drops, `looks/HOST`, `history`, `flight`",
        ),
        ("reason", "why Iaso held back, see [reasons.md](reasons.md)"),
        ("reporter", "a reporter's name in the configuration"),
        (
            "result",
            &format!("of checks `passed`, `failed`; of reads of credentials `success`, `failure`; of notifications `delivered`, `failed`; of recoveries {verdicts}"),
        ),
        ("revision", "the commit that was built"),
        (
            "service",
            "a service's name; a series ends with its service. What is done about a credential counts for the first service \
             that uses it, else under the credential's own name",
        ),
        ("severity", "`info`, `warning`, `critical`"),
        ("sink", "`stderr`, `file`"),
        ("state", "a health, see [reasons.md](reasons.md)"),
        ("status", "`success`, `failure`, `skipped` (not carried out to its end)"),
        ("task", "a task's name, of a fixed few"),
        ("version", "the version that was built"),
    ]
    .map(|(label, values)| (label, values.to_owned()))
}

fn document() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         `GET /metrics` serves them in Prometheus' text format, made at most twice a second and shared by all who ask. Units\n\
         are in the names. Counters start at 0 with each start of Iaso. Made from `src/telemetry/metrics/names.rs`.\n\n\
         | name | type | labels | what it tells |\n| --- | --- | --- | --- |\n",
    );
    for metric in names::ALL {
        text.push_str(&row(metric));
    }
    text.push_str(
        "\nOf the process itself, on Linux:\n\n| name | type | labels | what it tells |\n| --- | --- | --- | --- |\n",
    );
    for metric in names::PROCESS {
        text.push_str(&row(metric));
    }
    text.push_str("\n## Labels\n\n| label | values |\n| --- | --- |\n");
    for (label, values) in labels() {
        text.push_str(&format!("| `{label}` | {values} |\n"));
    }
    text
}

fn row(metric: &names::Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {} | {} | {} |\n", metric.name, kind(metric), labels.join(", "), metric.help)
}

#[test]
fn every_label_is_explained() {
    let explained = labels();
    for metric in names::ALL {
        for label in metric.labels {
            let known = explained.iter().any(|(name, _)| name == label);
            assert!(known, "{}: the label {label} is not explained", metric.name);
        }
    }
}

#[test]
fn series_end_with_their_service() {
    let clock = Clock::new();
    let meters = Meters::new(clock);
    let mut counts = Counts::new(meters.clone());
    let mut picture = snapshot();
    picture.services = vec![service("web").into()];
    for event in [
        Event::Held { reason: Hold::Budget, until: None, step: None, behind: None },
        Event::Ended { attempt: AttemptId(1), step: Step::Start, verdict: Verdict::Healed, took: secs(1) },
    ] {
        counts.count(&entry(&service("web"), event));
    }
    meters.notified("mail", Some(&"web".into()), false, secs(1));
    let mut of_web = |picture: &Snapshot| -> Vec<String> {
        let families = [
            &counts.families(picture)[..],
            &counts::metered(&meters, picture, &CredentialsPicture::default()),
            &state::families(picture),
        ];
        let mut names = Vec::new();
        for family in families.concat() {
            let series = family.get_metric().iter();
            let ours = series.filter(|series| series.get_label().iter().any(|label| label.value() == "web"));
            names.extend(ours.map(|_| family.name().to_owned()));
        }
        names
    };
    let expected = [names::HOLDS.name, names::RECOVERIES.name, names::OPERATIONS.name, names::SERVICE_STATE.name];
    let found = of_web(&picture);
    assert!(expected.iter().all(|name| found.iter().any(|found| found == name)), "{found:?}");
    picture.services.clear();
    picture.at.mono = picture.at.mono.max(clock.mono()) + secs(1);
    assert_eq!(of_web(&picture), Vec::<String>::new());
}

#[test]
fn credentials_are_told_as_they_stand_now() {
    let Wall(now) = at(0).wall;
    let shown = |picture: &CredentialsPicture| -> BTreeMap<String, f64> {
        let families = credentials::families(picture, Wall(now));
        let series = families.iter().flat_map(|family| family.get_metric().iter().map(|one| (family.name(), one)));
        series.map(|(name, one)| (name.to_owned(), one.get_gauge().get_value())).collect()
    };
    let told = shown(&credentials(credential("db")));
    assert_eq!((told[names::CREDENTIAL_AGE.name], told[names::VAULT_TOKEN_TTL.name]), (60.0, 3600.0));
    let mut old = credential("db");
    (old.fetched, old.expires) = (None, None);
    let mut picture = credentials(old);
    let vault = picture.vault.as_mut().unwrap();
    (vault.link.up, vault.token_ends) = (false, Some(now - 1));
    let told = shown(&picture);
    assert_eq!((told[names::VAULT_UP.name], told[names::VAULT_TOKEN_TTL.name]), (0.0, 0.0));
    assert!(!told.contains_key(names::CREDENTIAL_AGE.name) && !told.contains_key(names::CREDENTIAL_EXPIRY.name));
    assert_eq!(shown(&CredentialsPicture::default()), BTreeMap::new());
}

#[test]
fn what_is_done_about_credentials_adds_up_for_a_service() {
    let mut picture = credentials(credential("db"));
    let mut other = credential("api");
    other.operations.push(OperationCount::none("refresh", false));
    other.operations[1].add(secs(100));
    picture.credentials.push(other.into());
    let mut lonely = credential("lonely");
    lonely.services.clear();
    picture.credentials.push(lonely.into());
    let done = Done::of(&picture);
    let ended: Vec<_> = done.ended().collect();
    assert_eq!(
        ended,
        [
            (["refresh", "lonely", "success"], 1.0),
            (["refresh", "web", "failure"], 1.0),
            (["refresh", "web", "success"], 2.0),
        ]
    );
    let (labels, took) = done.durations().last().unwrap();
    assert_eq!((labels, took.get_sample_count(), took.get_sample_sum()), (["refresh", "web"], 3, 104.0));
    let within: Vec<u64> = took.get_bucket().iter().map(|bucket| bucket.cumulative_count()).collect();
    assert_eq!(within, [0, 2, 2, 2, 3]);
    // One metric has one set of buckets.
    assert_eq!(OPERATION_BOUNDS, OPERATION_BUCKETS);
}

#[test]
fn a_service_newer_than_the_snapshot_keeps_its_counts() {
    let mut counts = Counts::new(Meters::new(Clock::new()));
    let mut news = entry(&service("new"), Event::Held { reason: Hold::Budget, until: None, step: None, behind: None });
    news.record.now = at(1);
    counts.count(&news);
    assert_eq!(counts.families(&snapshot())[1].get_metric().len(), 1);
}

#[test]
fn scrapes_share_one_exposition() {
    let (sender, receiver) = watch::channel(Arc::new(snapshot()));
    let clock = Clock::new();
    let credentials = watch::channel(Arc::default()).1;
    let metrics = Metrics::new(clock, receiver, credentials, Tasks::new(), Meters::new(clock)).unwrap();
    let first = metrics.exposition();
    let made = lock(&metrics.made).as_ref().unwrap().0;
    sender.send_replace(Arc::new(Snapshot { services: vec![service("late").into()], ..snapshot() }));
    // As if it had been made this very moment.
    *lock(&metrics.made) = Some((metrics.clock.mono(), first.clone()));
    assert_eq!(first.as_ptr(), metrics.exposition().as_ptr());
    *lock(&metrics.made) = Some((made - secs(1), first));
    assert!(String::from_utf8_lossy(&metrics.exposition()).contains("late"));
}
