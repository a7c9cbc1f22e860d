//! Prometheus' rules, the dashboard, and a real outage on its way from a container through Prometheus and Alertmanager.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::daemon::{Home, Settings};
use crate::site::Site;
use crate::support::{Need, test};
use crate::{output, scratch, shipped, until};

pub fn tests() -> Vec<Trial> {
    const PROMETHEUS: [Need; 2] = [Need::Program("promtool"), Need::Program("prometheus")];
    const ALERTMANAGER: [Need; 2] = [Need::Program("amtool"), Need::Program("prometheus-alertmanager")];
    let all = [&PROMETHEUS[..], &ALERTMANAGER, &[Need::Engine]].concat();
    macro_rules! suite {
        ($($name:ident: $needs:expr),+ $(,)?) => {
            vec![$(test(concat!("prometheus::", stringify!($name)), $needs, || { $name(); Ok(()) })),+]
        };
    }
    suite![
        every_alert_is_tested_and_has_a_runbook: &PROMETHEUS[..1],
        only_metrics_that_exist_are_named: &[Need::Nothing],
        its_configurations_are_valid: &[PROMETHEUS[0], ALERTMANAGER[0]],
        a_real_outage_fires_through_alertmanager_and_every_panel_can_be_drawn: &all,
    ]
}

const RULES: &str = "deploy/prometheus/iaso.rules.yml";
const TESTS: &str = "deploy/prometheus/iaso.rules.test.yml";

fn text(path: &str) -> String {
    fs::read_to_string(shipped(path)).unwrap()
}

/// What stands behind this word, wherever a line has it.
fn named(text: &str, word: &str) -> BTreeSet<String> {
    let values = text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(word));
    values.map(|value| value.trim().trim_matches('"').to_owned()).collect()
}

fn every_alert_is_tested_and_has_a_runbook() {
    let promtool = |arguments: &[&str]| output(Command::new("promtool").args(arguments).current_dir(shipped(".")));
    promtool(&["check", "rules", RULES]);
    promtool(&["test", "rules", TESTS]);
    let (rules, runbooks) = (text(RULES), text("docs/runbooks.md"));
    let alerts = named(&rules, "alert:");
    assert!(alerts.len() > 15, "{alerts:?}");
    assert_eq!(named(&text(TESTS), "alertname:"), alerts);
    let links: BTreeSet<String> =
        alerts.iter().map(|alert| format!("docs/runbooks.md#{}", alert.to_lowercase())).collect();
    assert_eq!(named(&rules, "runbook_url:"), links);
    let headings: BTreeSet<String> =
        runbooks.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(headings, alerts);
}

/// Every expression of the dashboard.
fn expressions() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, field)| match field {
                Value::String(text) if name == "expr" => found.push(text.clone()),
                field => collect(field, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(&serde_json::from_str(&text("deploy/grafana/iaso.json")).unwrap(), &mut found);
    found
}

/// `docs/metrics.md` is made from the code's names, and a test of the code's compares them.
fn only_metrics_that_exist_are_named() {
    let known: BTreeSet<String> = text("docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
        .collect();
    let recorded = named(&text(RULES), "record:");
    let rules = text(RULES);
    let expressions = expressions();
    assert!(expressions.len() > 25, "{expressions:?}");
    let mut seen = 0;
    for place in expressions.iter().map(String::as_str).chain(rules.lines().filter(|line| !line.contains("alert:"))) {
        for word in place.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c))) {
            let ours = ["iaso_", "service_", "automation_", "process_", "configuration_", "service:", "instance:"];
            if !ours.iter().any(|start| word.starts_with(start)) || rules.contains(&format!("name: {word}\n")) {
                continue;
            }
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
            let word = word.trim_end_matches(':');
            assert!(
                [word, base].iter().any(|name| known.contains(*name)) || recorded.contains(word),
                "{word} is no metric: {place}"
            );
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

fn its_configurations_are_valid() {
    let folder = scratch();
    for file in ["deploy/full/prometheus.yml", RULES] {
        let name = Path::new(file).file_name().unwrap();
        fs::copy(shipped(file), folder.path().join(name)).unwrap();
    }
    output(Command::new("promtool").args(["check", "config"]).arg(folder.path().join("prometheus.yml")));
    output(Command::new("amtool").arg("check-config").arg(shipped("deploy/full/alertmanager.yml")));
}

/// A program in the background, ended when it is dropped.
struct Background(Child);

impl Background {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        Self(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that nobody listens on.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// `GET`; the body as JSON.
fn get(address: &str, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// Where Alertmanager's messages come, and their bodies; its thread ends with the test's process.
fn receiver() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = Arc::<Mutex<String>>::default();
    let all = Arc::clone(&heard);
    thread::Builder::new()
        .spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let mut piece = [0; 8192];
                // Its connection is kept open; a message ends with its JSON.
                while let Ok(length @ 1..) = client.read(&mut piece) {
                    let mut all = all.lock().unwrap();
                    all.push_str(&String::from_utf8_lossy(&piece[..length]));
                    if all.trim_end().ends_with('}') {
                        let _ = client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                        break;
                    }
                }
            }
        })
        .unwrap();
    (address, heard)
}

fn a_real_outage_fires_through_alertmanager_and_every_panel_can_be_drawn() {
    let (site, folder) = (Site::shared(), scratch());
    let at = |name: &str| folder.path().join(name);
    let recovery = "stop_timeout = \"1s\"\nverify_stable = \"30s\"\nmax_attempts = 2\n\
                    backoff = { base = \"200ms\", factor = 1.0, max = \"1s\", jitter = 0.0, reset_after = \"10m\" }\n";
    let home = Home::new(&site, &Settings { recovery, ..Settings::default() });
    let daemon = home.start(&[]);
    let (prometheus, alertmanager) = (free_address(), free_address());
    let (people, heard) = receiver();

    // What is shipped, with the addresses of this test and without its waits.
    let config = text("deploy/full/alertmanager.yml").replace("alerts.example.org", &people);
    fs::write(at("alertmanager.yml"), config.replace("group_wait: 30s", "group_wait: 100ms")).unwrap();
    let config = text("deploy/full/prometheus.yml").replace("15s", "1s");
    let config = config.replace("alertmanager:9093", &alertmanager).replace("iaso:9797", &daemon.address);
    fs::write(at("prometheus.yml"), config).unwrap();
    fs::write(at("iaso.rules.yml"), text(RULES).replace("interval: 1m", "interval: 1s")).unwrap();
    let mut command = Command::new("prometheus-alertmanager");
    command.arg(format!("--config.file={}", at("alertmanager.yml").display()));
    command.arg(format!("--storage.path={}", at("alerts").display()));
    command.arg(format!("--web.listen-address={alertmanager}")).arg("--cluster.listen-address=");
    let _alertmanager = Background::start(&mut command, &at("alertmanager.log"));
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", at("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", at("metrics").display()));
    command.arg(format!("--web.listen-address={prometheus}"));
    let _prometheus = Background::start(&mut command, &at("prometheus.log"));
    let query = |expression: &str| {
        let asked: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        get(&prometheus, &format!("/api/v1/query?{asked}"))
    };
    let rows = |expression: &str| {
        query(expression).map_or(0, |answer| answer["data"]["result"].as_array().map_or(0, Vec::len))
    };
    until("Prometheus scrapes it", || (rows("up{job=\"iaso\"} == 1") == 1).then_some(()));
    assert_eq!(rows("ALERTS{alertstate=\"firing\"}"), 0);

    // A container that no restart helps.
    let hopeless = site.crashing("hopeless");
    daemon.until_event(&hopeless, "quarantined", None);
    until("the alert is told", || {
        let heard = heard.lock().unwrap();
        let all = ["IasoServiceQuarantined", &hopeless, "docs/runbooks.md#iasoservicequarantined"];
        all.iter().all(|part| heard.contains(*part)).then_some(())
    });
    let firing = format!("ALERTS{{alertstate=\"firing\",alertname=\"IasoServiceQuarantined\",service=\"{hopeless}\"}}");
    assert_eq!(rows(&firing), 1);

    // Each panel's question is one that Prometheus can answer, and those about services have an answer now.
    for expression in expressions() {
        let asked = expression.replace("$instance", ".*").replace("$service", ".*").replace("$__rate_interval", "1m");
        let answer = query(&asked).unwrap();
        assert_eq!(answer["status"], "success", "{asked}: {answer}");
        let certain = ["iaso_service_state", "iaso_quarantined", "iaso_host_up", "process_resident", "iaso_recoveries"];
        if certain.iter().any(|name| asked.contains(name)) {
            assert!(rows(&asked) > 0, "{asked} has no answer");
        }
    }
    // And it is over when it is over.
    site.docker(&["rm", "-f", &hopeless]);
    until("it fires no more", || (rows(&firing) == 0).then_some(()));
    daemon.stop();
}
