//! The sections of the file, validated. What one value cannot show by itself is judged here: names that must exist or be
//! unique, keys that exclude each other, and budgets that contradict.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::spec::{AfterGap, BackoffSpec, Budget, FleetSpec, Lifecycle, MassFailure, RecoverySpec, Threshold};

use super::checks;
use super::credentials;
use super::decode::{self, Table, duration_of, integer_of, join, number_of, text_of, word_of};
use super::references::References;
use super::report::Report;
use super::validated::{
    Api, Config, Daemon, Defaults, Discovery, History, Host, LabelMatch, Log, LogFormat, Recovery, Service, Severity,
    Target,
};
use super::{host_tls, maintenance, presets, unwise, values, vault, whole};

/// With less than this many bytes free a disk counts as full.
const DISK_FULL: u64 = 256 << 20;

/// Makes the configuration of a file that agrees with the table of keys; `usual` is the host without `[hosts]`, and `env` what
/// the environment says where the file is silent.
pub(super) fn config(report: &mut Report, file: &Table, usual: Host, env: &dyn Fn(&str) -> Option<String>) -> Config {
    let state_directory = env("STATE_DIRECTORY").and_then(|paths| super::first_path(&paths));
    let mut hosts = hosts(report, file);
    if hosts.is_empty() {
        hosts.push(usual);
    }
    let defaults = defaults(report, file);
    let empty = Table::new();
    let daemon = decode::table(file, "daemon").unwrap_or(&empty);
    let commands = daemon.get("allow_commands").and_then(|value| value.get_ref().as_bool()).unwrap_or(false);
    let credentials = credentials::credentials(report, file);
    let references = References::resolve(report, file, &credentials);
    let services = services(report, file, &hosts, &defaults, commands, &references);
    whole::judge(report, file, &hosts, &services);
    let vault = vault::vault(report, file, env);
    let discovery = discovery(decode::table(file, "discovery").unwrap_or(&empty));
    let maintenance = maintenance::windows(report, file, &hosts, &services, discovery.enabled);
    let api = decode::table(file, "api").unwrap_or(&empty);
    let config = Config {
        daemon: self::daemon(daemon, state_directory),
        hosts,
        discovery,
        defaults,
        fleet: fleet(decode::table(file, "recovery").unwrap_or(&empty)),
        disk_full: decode::table(file, "recovery")
            .and_then(|table| decode::size_of(table, "disk_full"))
            .unwrap_or(DISK_FULL),
        api: Api {
            listen: text_of(api, "listen")
                .and_then(|text| values::listen(text).ok())
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9797))),
        },
        services,
        vault,
        credentials,
        maintenance,
        reporters: Vec::new(),
        inherited: Vec::new(),
    };
    credentials::targets::judge(report, file, &config);
    config
}

fn daemon(table: &Table, state_directory: Option<PathBuf>) -> Daemon {
    let empty = Table::new();
    let log = decode::table(table, "log").unwrap_or(&empty);
    let path = |name, default: &str| PathBuf::from(text_of(table, name).unwrap_or(default));
    Daemon {
        data_dir: state_directory.unwrap_or_else(|| path("data_dir", "/var/lib/iaso")),
        socket: path("socket", "/run/iaso/iaso.sock"),
        log: Log {
            level: word_of(log, "level").unwrap_or(tracing::Level::INFO),
            format: word_of(log, "format").unwrap_or(LogFormat::Auto),
            file: text_of(log, "file").map(PathBuf::from),
        },
        shutdown_grace: duration_of(table, "shutdown_grace").unwrap_or(Duration::from_secs(8)),
        history: history(decode::table(table, "history").unwrap_or(&empty)),
    }
}

fn history(table: &Table) -> History {
    let default = History::default();
    History {
        keep: duration_of(table, "keep").unwrap_or(default.keep),
        max_bytes: decode::size_of(table, "max_size").unwrap_or(default.max_bytes),
    }
}

fn hosts(report: &mut Report, file: &Table) -> Vec<Host> {
    let mut hosts = Vec::new();
    for (name, span, table) in decode::named(file, "hosts") {
        match table.get("url") {
            None => report.mistake(
                span,
                &format!("hosts.{name}"),
                "no url".to_owned(),
                "url = \"unix://...\" or \"tcp://...\"",
            ),
            Some(url) => {
                let address = text_of(table, "url").and_then(|text| values::host_address(text).ok());
                let (path, folder) = (join("hosts", name), report.folder_at(span.start));
                let address = address.and_then(|address| host_tls::address(report, &path, table, address, folder));
                let Some(address) = address else { continue };
                unwise::plain_host(report, &format!("{path}.url"), &address, url.span());
                hosts.push(Host { name: name.to_owned(), address });
            }
        }
    }
    hosts
}

fn discovery(table: &Table) -> Discovery {
    let label = |key: &str| LabelMatch { key: key.to_owned(), value: "true".to_owned() };
    Discovery {
        enabled: table.get("enabled").and_then(|value| value.get_ref().as_bool()).unwrap_or(true),
        labels: decode::labels_of(table, "labels")
            .unwrap_or_else(|| ["iaso.enable", "autoheal", "deunhealth.restart.on.unhealthy"].map(label).into()),
        autoheal: None,
    }
}

fn fleet(table: &Table) -> FleetSpec {
    let default = FleetSpec::default();
    FleetSpec {
        max_concurrent: integer_of(table, "max_concurrent").unwrap_or(default.max_concurrent),
        host_budget: decode::table(table, "host_budget").map_or(default.host_budget, |budget| Budget {
            max: integer_of(budget, "max").unwrap_or(default.host_budget.max),
            window: duration_of(budget, "window").unwrap_or(default.host_budget.window),
        }),
        mass_failure: decode::table(table, "mass_failure").map_or(default.mass_failure, |rule| MassFailure {
            min: integer_of(rule, "min").unwrap_or(default.mass_failure.min),
            ratio: number_of(rule, "ratio").unwrap_or(default.mass_failure.ratio),
            window: duration_of(rule, "window").unwrap_or(default.mass_failure.window),
        }),
        quiet_start: duration_of(table, "quiet_start").unwrap_or(default.quiet_start),
        host_lost_after: duration_of(table, "host_lost_after").unwrap_or(default.host_lost_after),
        ..default
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            failure: Threshold::in_a_row(3),
            success_threshold: 1,
            start_period: Duration::from_secs(60),
            lifecycle: Lifecycle::Auto,
            after_gap: AfterGap::Leave,
            incident_log_lines: 50,
            recovery: Recovery::default(),
        }
    }
}

fn defaults(report: &mut Report, file: &Table) -> Defaults {
    let default = Defaults::default();
    let Some(table) = decode::table(file, "defaults") else { return default };
    let recovery = recovery(report, table, "defaults", &default.recovery);
    inherited(table, &default, recovery)
}

/// What a service's checks, and the service itself, go by where they say nothing: its own table on top of `base`.
fn inherited(table: &Table, base: &Defaults, recovery: Recovery) -> Defaults {
    Defaults {
        interval: duration_of(table, "interval").unwrap_or(base.interval),
        timeout: duration_of(table, "timeout").unwrap_or(base.timeout),
        failure: threshold(table).unwrap_or(base.failure),
        success_threshold: integer_of(table, "success_threshold").unwrap_or(base.success_threshold),
        start_period: duration_of(table, "start_period").unwrap_or(base.start_period),
        lifecycle: word_of(table, "lifecycle").unwrap_or(base.lifecycle),
        after_gap: word_of(table, "after_gap").unwrap_or(base.after_gap),
        incident_log_lines: integer_of(table, "incident_log_lines").unwrap_or(base.incident_log_lines),
        recovery,
    }
}

pub(super) fn threshold(table: &Table) -> Option<Threshold> {
    decode::threshold_of(table.get("failure_threshold")?).ok()
}

/// `[PATH.recovery]`, on top of what it inherits.
fn recovery(report: &mut Report, parent: &Table, path: &str, base: &Recovery) -> Recovery {
    let recovery = recovery_of(parent, base);
    let backoff = recovery.spec.backoff;
    if let Some(value) = parent.get("recovery").filter(|_| backoff.base > backoff.max) {
        let got = "base is over max".to_owned();
        report.mistake(value.span(), &format!("{path}.recovery.backoff"), got, "base at most max");
    }
    recovery
}

/// The table `recovery`, on top of what it inherits.
pub(super) fn recovery_of(parent: &Table, base: &Recovery) -> Recovery {
    let Some(table) = decode::table(parent, "recovery") else { return base.clone() };
    let spec = &base.spec;
    let decode::Ladder { steps, commands, restart_dependents } =
        decode::ladder_of(table, "ladder").unwrap_or_else(|| decode::Ladder {
            steps: spec.ladder.clone(),
            commands: base.commands.clone(),
            restart_dependents: spec.restart_dependents,
        });
    let backoff = decode::table(table, "backoff").map_or(spec.backoff, |table| backoff(table, spec.backoff));
    let spec = RecoverySpec {
        mode: word_of(table, "mode").unwrap_or(spec.mode),
        ladder: steps,
        restart_dependents,
        notice: duration_of(table, "notice").unwrap_or(spec.notice),
        stop_timeout: duration_of(table, "stop_timeout").or(spec.stop_timeout),
        least_grace: spec.least_grace,
        verify_timeout: duration_of(table, "verify_timeout").or(spec.verify_timeout),
        verify_stable: duration_of(table, "verify_stable").unwrap_or(spec.verify_stable),
        max_attempts: integer_of(table, "max_attempts").unwrap_or(spec.max_attempts),
        restarts: Budget {
            max: integer_of(table, "max_restarts").unwrap_or(spec.restarts.max),
            window: duration_of(table, "window").unwrap_or(spec.restarts.window),
        },
        backoff,
        quarantine_retry: match text_of(table, "quarantine_retry") {
            Some("never") => None,
            _ => duration_of(table, "quarantine_retry").or(spec.quarantine_retry),
        },
        on_quarantine: word_of(table, "on_quarantine").unwrap_or(spec.on_quarantine),
    };
    Recovery { spec, commands }
}

fn backoff(table: &Table, base: BackoffSpec) -> BackoffSpec {
    BackoffSpec {
        base: duration_of(table, "base").unwrap_or(base.base),
        factor: number_of(table, "factor").unwrap_or(base.factor),
        max: duration_of(table, "max").unwrap_or(base.max),
        jitter: number_of(table, "jitter").unwrap_or(base.jitter),
        reset_after: duration_of(table, "reset_after").unwrap_or(base.reset_after),
    }
}

fn services(
    report: &mut Report,
    file: &Table,
    hosts: &[Host],
    defaults: &Defaults,
    commands: bool,
    references: &References,
) -> BTreeMap<String, Arc<Service>> {
    let mut services = BTreeMap::new();
    for (name, span, table) in decode::named(file, "services") {
        let path = join("services", name);
        let host = host(report, table, &path, file, hosts);
        let recovery = recovery(report, table, &path, &defaults.recovery);
        let own = inherited(table, defaults, recovery);
        let mut checks = checks::checks(report, table, &path, &own, commands, references);
        presets::add_checks(table, &own, &mut checks);
        let careful = presets::careful(table, &own.recovery, false, defaults);
        let Some(target) = target(report, table, &path, span) else { continue };
        let service = Service {
            name: name.to_owned(),
            host,
            target,
            severity: word_of(table, "severity").unwrap_or(Severity::Warning),
            checks,
            recovery: own.recovery,
            depends_on: decode::names_of(table, "depends_on").into_iter().map(|(name, _)| name.to_owned()).collect(),
            lifecycle: own.lifecycle,
            after_gap: own.after_gap,
            heal_exits: true,
            start_period: own.start_period,
            incident_log_lines: own.incident_log_lines,
            stateful: presets::said(table),
            careful,
        };
        services.insert(name.to_owned(), Arc::new(service));
    }
    services
}

fn host(report: &mut Report, table: &Table, path: &str, file: &Table, hosts: &[Host]) -> String {
    let first = || hosts.first().map(|host| host.name.clone()).unwrap_or_default();
    let (Some(value), Some(name)) = (table.get("host"), text_of(table, "host")) else { return first() };
    // A host with a mistake of its own is known all the same.
    let named = decode::named(file, "hosts");
    let known = || named.iter().map(|(name, ..)| *name).chain(hosts.iter().map(|host| host.name.as_str()));
    if known().any(|known| known == name) {
        return name.to_owned();
    }
    if values::name(name).is_ok() {
        let names: BTreeSet<&str> = known().collect();
        report.unknown(value.span(), &format!("{path}.host"), "host", name, names.iter().copied());
    }
    first()
}

/// Exactly one of `container`, `compose` and `selector`.
fn target(report: &mut Report, table: &Table, path: &str, span: Range<usize>) -> Option<Target> {
    const ONE: &str = "exactly one of container, compose and selector";
    let present: Vec<&str> =
        ["container", "compose", "selector"].into_iter().filter(|key| table.contains_key(*key)).collect();
    let [key] = present[..] else {
        let got = if present.is_empty() { "none of them".to_owned() } else { present.join(" and ") };
        report.mistake(span, path, format!("found {got}"), ONE);
        return None;
    };
    match key {
        "container" => text_of(table, key).map(|name| Target::Container(name.trim_start_matches('/').to_owned())),
        "compose" => text_of(table, key).and_then(|text| values::compose(text).ok()),
        _ => {
            let selector = decode::table(table, key)?;
            if !selector.contains_key("label") {
                let path = format!("{path}.selector");
                report.mistake(span, &path, "no label".to_owned(), "label = \"KEY=VALUE\"");
            }
            text_of(selector, "label").and_then(|text| values::label(text).ok()).map(Target::Selector)
        }
    }
}
