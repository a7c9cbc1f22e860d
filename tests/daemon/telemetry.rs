//! What Iaso tells of itself: metrics that Prometheus' own programs accept and read, log lines that name the request which
//! caused them, and a log that no stuck or full sink turns into trouble.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Home, PROGRAM, Settings, message};
use crate::mount::Mount;
use crate::site::Site;
use crate::support::{Need, test};
use crate::target::{Manner, Target};
use crate::vault::Vault;
use crate::{scratch, until};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($needs:expr; $($name:ident),+ $(,)?) => {
            vec![$(test(concat!("telemetry::", stringify!($name)), $needs, || { $name(); Ok(()) })),+]
        };
    }
    let mut tests = suite![
        &[Need::Engine];
        a_real_run_exposes_the_documented_names_and_no_other,
        every_line_that_a_request_causes_carries_its_id,
        the_log_file_has_every_line_and_comes_back_when_its_folder_goes,
        a_reader_who_reads_no_log_stops_nothing,
    ];
    tests.extend(suite![&[Need::Engine, Need::Program("promtool")]; promtool_finds_nothing_to_complain_about]);
    tests.extend(suite![&[Need::Engine, Need::Program("prometheus")]; a_prometheus_scrapes_it_and_knows_its_services]);
    let mounted = [Need::Engine, Need::Root, Need::Program("mount")];
    tests.extend(suite![&mounted; a_full_disk_costs_log_lines_and_says_so_once]);
    let frozen =
        [Need::Engine, Need::Root, Need::Program("mkfs.ext4"), Need::Program("fsfreeze"), Need::Program("mount")];
    tests.extend(suite![&frozen; a_disk_that_hangs_costs_log_lines_and_no_healing]);
    tests
}

/// A daemon that has seen a check pass and fail, has healed, has held back, and keeps a credential.
struct Busy {
    daemon: Daemon,
    _home: Home,
    _target: Target,
    _vault: Vault,
    /// Last: its containers go after the daemon.
    _site: Site,
}

fn busy() -> Busy {
    let site = Site::shared();
    let target = Target::new(Manner::Well("up"));
    let vault = Vault::on_a_thread();
    vault.database("web", json!({"default_ttl": "1h", "max_ttl": "24h"}));
    let token = vault.token(json!({"ttl": "24h", "policies": ["root"]}));
    let more = format!(
        "[vault]\naddress = \"{}\"\nauth = {{ type = \"token\", token = \"{token}\" }}\n\
         [credentials.db]\ntype = \"dynamic\"\npath = \"database/creds/web\"\n\
         [recovery]\nquiet_start = \"0s\"\n[services.web]\ncontainer = \"{}\"\n[[services.web.checks]]\nname = \"front\"\n\
         type = \"http\"\nurl = \"http://127.0.0.1:{}/\"\ninterval = \"1s\"\non_failure = \"heal\"\n",
        vault.address,
        site.name("web"),
        target.port
    );
    // Its first attempt fails, and that soon.
    let recovery = "stop_timeout = \"1s\"\nverify_stable = \"1s\"\nverify_timeout = \"5s\"\n\
                    backoff = { base = \"200ms\", factor = 1.0, max = \"1s\", jitter = 0.0, reset_after = \"10m\" }\n";
    let home = Home::new(&site, &Settings { more, recovery, ..Settings::default() });
    let daemon = home.start(&[]);
    site.patient("web", &["--network=none"], &[]);
    daemon.until_health("web", "healthy");
    target.behave(Manner::Sick("down"));
    daemon.until_event("web", "held", Some("backoff"));
    target.behave(Manner::Well("up"));
    daemon.until_event("web", "incident_closed", Some("healed"));
    // The picture and the exposition follow within a second.
    until("the metrics tell it", || {
        let healthy = daemon.metric("service_health_status", &[]) == Some(1.0);
        let lent = daemon.metric("iaso_credential_expiry_timestamp_seconds", &[]).is_some();
        (healthy && lent && daemon.metric("iaso_time_to_recover_seconds_count", &[]) == Some(1.0)).then_some(())
    });
    Busy { daemon, _home: home, _target: target, _vault: vault, _site: site }
}

/// A metric, as the document or an exposition has it.
#[derive(Debug, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    help: String,
}

/// The tables of `docs/metrics.md`.
fn documented() -> BTreeMap<String, Metric> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ").collect();
        let [name, kind, labels, help] = cells[..] else { return None };
        let labels = labels.split(", ").map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        Some((name.trim_end_matches('`').to_owned(), Metric { kind: kind.to_owned(), labels, help: help.to_owned() }))
    });
    rows.collect()
}

/// The metrics of an exposition.
fn exposed(text: &str) -> BTreeMap<String, Metric> {
    let mut found: BTreeMap<String, Metric> = BTreeMap::new();
    let mut helps = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name, help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let help = helps[name].to_owned();
            found.insert(name.to_owned(), Metric { kind: kind.to_owned(), labels: BTreeSet::new(), help });
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let name = base.filter(|base| found.contains_key(*base)).unwrap_or(name);
            let pairs = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            let names = pairs.split(',').filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned());
            found.get_mut(name).unwrap().labels.extend(names.filter(|label| label != "le"));
        }
    }
    found
}

fn a_real_run_exposes_the_documented_names_and_no_other() {
    /// What a good run has no series of.
    const ABSENT: [&str; 7] = [
        "iaso_certificate_expiry_timestamp_seconds",
        "iaso_host_losses_total",
        "iaso_law_violations_total",
        "iaso_log_lines_lost_total",
        "iaso_notifications_total",
        "iaso_storms_total",
        "iaso_task_restarts_total",
    ];
    let busy = busy();
    let (code, text) = busy.daemon.get("/metrics");
    assert_eq!(code, 200);
    let mut documented = documented();
    for name in ABSENT {
        assert!(documented.remove(name).is_some(), "{name} is not documented");
    }
    assert_eq!(exposed(&text), documented);
    for line in [
        "service_health_status{service=\"web\"} 1",
        "iaso_checks_total{service=\"web\",check=\"front\",result=\"failed\"} ",
        "automation_operations_total{operation=\"recovery\",service=\"web\",status=\"success\"} 1",
        "iaso_holds_total{service=\"web\",reason=\"backoff\"} ",
        "iaso_config_last_reload_successful 1",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "no `{line}` in\n{text}");
    }
    busy.daemon.stop();
}

fn promtool_finds_nothing_to_complain_about() {
    let busy = busy();
    let (_, text) = busy.daemon.get("/metrics");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let complaints = [said.stdout, said.stderr].concat();
    assert!(said.status.success() && complaints.is_empty(), "{}", String::from_utf8_lossy(&complaints));
    busy.daemon.stop();
}

/// A Prometheus of the test's own; ended when it is dropped.
struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    fn start(folder: &Path, target: &str) -> Self {
        let config = folder.join("prometheus.yml");
        let scrape = format!("[{{job_name: iaso, static_configs: [{{targets: ['{target}']}}]}}]");
        fs::write(&config, format!("{{global: {{scrape_interval: 3s}}, scrape_configs: {scrape}}}")).unwrap();
        until("Prometheus serves", || {
            // Somebody else may be given the port in the moment between: then it ends, and gets another one.
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let child = Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
                .arg(format!("--web.listen-address={address}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::File::create(folder.join("prometheus.log")).unwrap())
                .spawn()
                .unwrap();
            let mut started = Self { child, address };
            let serves = until("it serves, or has ended", || {
                let serves = started.get("/api/v1/status/runtimeinfo").is_some();
                let ended = started.child.try_wait().unwrap().is_some();
                (serves || ended).then_some(serves && !ended)
            });
            serves.then_some(started)
        })
    }

    /// The values of an instant query, once it has any.
    fn until_answered(&self, query: &str) -> Vec<(Value, String)> {
        until(&format!("{query} has an answer"), || {
            let answer = self.get(&format!("/api/v1/query?query={query}"))?;
            let found: Vec<(Value, String)> = answer["data"]["result"]
                .as_array()?
                .iter()
                .map(|one| (one["metric"].clone(), one["value"][1].as_str().unwrap().to_owned()))
                .collect();
            (!found.is_empty()).then_some(found)
        })
    }

    fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: prometheus\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn a_prometheus_scrapes_it_and_knows_its_services() {
    let (busy, folder) = (busy(), scratch());
    let prometheus = Prometheus::start(folder.path(), &busy.daemon.address);
    let found = prometheus.until_answered("service_health_status");
    assert_eq!((found.len(), &found[0].0["service"], &*found[0].1), (1, &"web".into(), "1"));
    // A few scrapes, each taken.
    prometheus.until_answered("sum_over_time(up[5m])%3E=3");
    until("the target is up, and nothing is wrong with it", || {
        let targets = prometheus.get("/api/v1/targets")?;
        let target = &targets["data"]["activeTargets"][0];
        (target["health"] == "up" && target["lastError"] == "").then_some(())
    });
    prometheus.until_answered("histogram_quantile(0.5,iaso_time_to_recover_seconds_bucket)");
    busy.daemon.stop();
}

fn every_line_that_a_request_causes_carries_its_id() {
    let site = Site::shared();
    let home = Home::new(&site, &Settings { level: "debug", ..Settings::default() });
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    let ask = |id: &str| {
        let mut stream = UnixStream::connect(home.socket()).unwrap();
        let path = format!("/api/v1/services/{name}/restart");
        write!(stream, "POST {path} HTTP/1.1\r\nhost: iaso\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap().to_owned()
    };
    assert_eq!(ask("the-test.s_own-1"), "the-test.s_own-1");
    let of = |id: &str| -> Vec<Value> { daemon.lines().into_iter().filter(|line| line["request_id"] == id).collect() };
    until("it is answered and done", || {
        let lines = of("the-test.s_own-1");
        lines.iter().any(|line| message(line) == "request answered").then_some(())
    });
    daemon.until_event(&name, "operation_ended", None);
    let lines = of("the-test.s_own-1");
    for wanted in ["order taken", "order answered", "request answered"] {
        assert!(lines.iter().any(|line| message(line) == wanted), "no `{wanted}` in {lines:?}");
    }
    // What the order came to, long after it was answered.
    for event in ["operation_begun", "operation_finished", "operation_ended"] {
        assert!(lines.iter().any(|line| line["event"] == event && line["service"] == *name), "no {event} in {lines:?}");
    }
    // One that would forge a line is not taken.
    let other = ask("a b\"c");
    assert_ne!(other, "a b\"c");
    until("it is answered", || (!of(&other).is_empty()).then_some(()));
    daemon.stop();
}

fn logged(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
}

fn the_log_file_has_every_line_and_comes_back_when_its_folder_goes() {
    let site = Site::shared();
    let folder = scratch();
    let path = folder.path().join("log/iaso.log");
    let home = Home::new(&site, &Settings { log_file: Some(path.clone()), ..Settings::default() });
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    let said = |line: &str| line.contains("are served on http://");
    until("it is in the file", || logged(&path).iter().any(|line| said(line)).then_some(()));
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & !0o640, 0, "{mode:o}");
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "incident_closed", None);
    until("the file is back", || logged(&path).iter().any(|line| line.contains("incident_closed")).then_some(()));
    daemon.stop();
    // Each has its own time.
    let untimed = |line: &String| line.split_once(',').map(|(_, rest)| rest.to_owned());
    let stderr: Vec<_> = logged(&home.path().join("log-0")).iter().map(untimed).collect();
    let file = logged(&path);
    assert!(file.len() > 2 && file.iter().all(|line| stderr.contains(&untimed(line))), "{file:?} in {stderr:?}");
    assert!(file.last().unwrap().contains("\"stopped\""), "the last words are in the file: {file:?}");
}

fn a_reader_who_reads_no_log_stops_nothing() {
    let (site, folder) = (Site::shared(), scratch());
    let path = folder.path().join("iaso.log");
    let settings = Settings { level: "debug", log_file: Some(path.clone()), ..Settings::default() };
    let home = Home::new(&site, &settings);
    let (unread, stderr) = std::io::pipe().unwrap();
    let daemon = home.start_with(Command::new(PROGRAM), &[], stderr.into(), path);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    flood(&daemon, "stderr");
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "incident_closed", None);
    assert_eq!(daemon.get("/livez").0, 200);
    daemon.until_line("the loss is told where it can be", |line| {
        line["sink"] == "stderr" && message(line).starts_with("log lines are lost")
    });
    drop(unread);
    daemon.stop();
}

/// Makes the daemon write more lines than may wait, until it counts that some are lost.
fn flood(daemon: &Daemon, sink: &str) {
    until(&format!("lines to {sink} are lost"), || {
        daemon.ask_often();
        daemon.metric("iaso_log_lines_lost_total", &[("sink", sink)]).map(drop)
    });
}

/// How often a line of this beginning is on standard error.
fn times(home: &Home, beginning: &str) -> usize {
    logged(&home.path().join("log-0")).iter().filter(|line| line.contains(beginning)).count()
}

/// What one page of a file holds, and the shortest line, in bytes.
const PAGE: usize = 4096;
const SHORTEST: usize = 100;

const LOST: &str = "\"message\":\"log lines are lost: ";
const BACK: &str = "\"message\":\"log lines are written again\"";

fn a_full_disk_costs_log_lines_and_says_so_once() {
    let (site, mount) = (Site::shared(), Mount::tmpfs("1m"));
    let path = mount.at.join("iaso.log");
    let home = Home::new(&site, &Settings { log_file: Some(path.clone()), level: "debug", ..Settings::default() });
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    fs::write(mount.at.join("filler"), vec![0; 2 << 20]).unwrap_err();
    let lost = || daemon.metric("iaso_log_lines_lost_total", &[("sink", "file")]);
    until("many lines are lost", || {
        daemon.ask_often();
        (lost() >= Some(500.0)).then_some(())
    });
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "incident_closed", Some("healed"));
    // The last page of the file has room for a short line here and there, after which the next loss is told anew.
    let told = times(&home, LOST);
    assert!((1..=PAGE / SHORTEST).contains(&told), "{told} times");
    fs::remove_file(mount.at.join("filler")).unwrap();
    until("lines are written again, and that is told as often", || {
        daemon.ask_often();
        let (lost, back) = (times(&home, LOST), times(&home, BACK));
        (back > 0 && lost == back).then_some(())
    });
    daemon.stop();
    for line in logged(&path) {
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("a torn line, {error}: {line}"));
    }
}

fn a_disk_that_hangs_costs_log_lines_and_no_healing() {
    let (site, mount) = (Site::shared(), Mount::ext4());
    let path: PathBuf = mount.at.join("iaso.log");
    let settings = Settings { level: "debug", log_file: Some(path.clone()), ..Settings::default() };
    let home = Home::new(&site, &settings);
    let daemon = home.start(&[]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    let frozen = mount.freeze();
    flood(&daemon, "file");
    site.ask(&name, "/exit?code=3");
    daemon.until_event(&name, "incident_closed", None);
    assert_eq!((daemon.get("/livez").0, times(&home, LOST)), (200, 1));
    drop(frozen);
    until("lines are written again", || (times(&home, BACK) > 0).then_some(()));
    until("what waited is written", || logged(&path).iter().any(|line| line.contains(BACK)).then_some(()));
    daemon.stop();
    let (stderr, file) = (logged(&home.path().join("log-0")), logged(&path).len());
    let told = stderr.iter().filter(|line| line.contains(BACK)).filter_map(|line| serde_json::from_str(line).ok());
    let lost: u64 = told.map(|line: Value| line["lost"].as_u64().unwrap()).sum();
    assert_eq!(stderr.len(), file + usize::try_from(lost).unwrap(), "every line is in the file or counted");
}
