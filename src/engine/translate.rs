//! From the engine's words to ours. Whatever is missing or strange becomes the harmless value; environment variables are not
//! taken over at all, and of health logs only the last failure, where it is asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{
    ContainerInspectResponse, ContainerState as Reported, ContainerStateStatusEnum as Status, EventMessage,
    HealthConfig, HealthStatusEnum, MountPoint, NetworkSettings, RestartPolicy as ReportedRestart,
    RestartPolicyNameEnum,
};
use iaso_policy::input::{EngineHealth, RestartPolicy};
use jiff::Timestamp;

use super::{ContainerDetail, ContainerId, ContainerState, EngineEvent, EventAction, Healthcheck, Mount};

/// The stop signal of a container that names none.
const TERM: u8 = 15;

/// A container as inspected; none when the answer lacks its id or state.
pub(super) fn detail(found: ContainerInspectResponse) -> Option<ContainerDetail> {
    let id = ContainerId::new(&found.id?)?;
    let state = found.state?;
    let config = found.config.unwrap_or_default();
    let host = found.host_config.unwrap_or_default();
    let networks = found.network_settings.unwrap_or_default();
    Some(ContainerDetail {
        id,
        name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        started: nanoseconds(state.started_at.as_deref()),
        finished: nanoseconds(state.finished_at.as_deref()),
        oom_killed: state.oom_killed.unwrap_or_default(),
        state: container_state(&state),
        restart: host.restart_policy.as_ref().map_or(RestartPolicy::No, restart_policy),
        restart_count: found.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        auto_remove: host.auto_remove.unwrap_or_default(),
        healthcheck: config.healthcheck.as_ref().and_then(healthcheck),
        stop_signal: config.stop_signal.as_deref().and_then(signal_number).unwrap_or(TERM),
        stop_grace: config.stop_timeout.and_then(|secs| u64::try_from(secs).ok()).map(Duration::from_secs),
        ports: ports(&networks),
        links: links(&host.links.unwrap_or_default(), &networks),
        networks: addresses(networks),
        network_mode: host.network_mode.unwrap_or_default(),
        mounts: mounts(found.mounts.unwrap_or_default()),
    })
}

/// What a HEALTHCHECK returned and printed when it last failed, taken out of the answer.
pub(super) fn failed_healthcheck(found: &mut ContainerInspectResponse) -> Option<(i64, String)> {
    let log = found.state.as_mut()?.health.as_mut()?.log.take()?;
    let failed = log.into_iter().rev().find(|run| run.exit_code.is_some_and(|code| code != 0))?;
    Some((failed.exit_code?, failed.output.unwrap_or_default()))
}

fn container_state(state: &Reported) -> ContainerState {
    let health = state.health.as_ref().and_then(|health| health.status);
    let exited = || ContainerState::Exited(state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1));
    match state.status {
        Some(Status::CREATED) => ContainerState::Created,
        Some(Status::PAUSED) => ContainerState::Paused,
        Some(Status::RESTARTING) => ContainerState::Restarting,
        Some(Status::REMOVING) => ContainerState::Removing,
        Some(Status::DEAD) => ContainerState::Dead,
        Some(Status::EXITED) => exited(),
        Some(Status::RUNNING | Status::STOPPING) => ContainerState::Running(health.map_or(EngineHealth::None, verdict)),
        Some(Status::EMPTY) | None if state.running == Some(true) => ContainerState::Running(EngineHealth::None),
        Some(Status::EMPTY) | None => exited(),
    }
}

fn verdict(status: HealthStatusEnum) -> EngineHealth {
    match status {
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => EngineHealth::None,
        HealthStatusEnum::STARTING => EngineHealth::Starting,
        HealthStatusEnum::HEALTHY => EngineHealth::Healthy,
        HealthStatusEnum::UNHEALTHY => EngineHealth::Unhealthy,
    }
}

fn restart_policy(policy: &ReportedRestart) -> RestartPolicy {
    match policy.name {
        Some(RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED) => RestartPolicy::Always,
        Some(RestartPolicyNameEnum::ON_FAILURE) => {
            let most = policy.maximum_retry_count.and_then(|count| u32::try_from(count).ok());
            RestartPolicy::OnFailure(most.unwrap_or_default())
        }
        Some(RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO) | None => RestartPolicy::No,
    }
}

/// A HEALTHCHECK's timing; the engine's defaults where it says zero.
fn healthcheck(config: &HealthConfig) -> Option<Healthcheck> {
    let test = config.test.as_deref().unwrap_or_default();
    if test.first().is_none_or(|kind| kind == "NONE") {
        return None;
    }
    let span =
        |nanos: Option<i64>| nanos.and_then(|n| u64::try_from(n).ok()).map_or(Duration::ZERO, Duration::from_nanos);
    let or = |given: Duration, default: u64| if given.is_zero() { Duration::from_secs(default) } else { given };
    Some(Healthcheck {
        interval: or(span(config.interval), 30),
        timeout: or(span(config.timeout), 30),
        retries: config.retries.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(3),
        start_period: span(config.start_period),
    })
}

fn addresses(settings: NetworkSettings) -> BTreeMap<String, Vec<IpAddr>> {
    let networks = settings.networks.unwrap_or_default().into_iter();
    networks
        .map(|(name, endpoint)| {
            let written = [endpoint.ip_address, endpoint.global_ipv6_address];
            (name, written.into_iter().flatten().filter_map(|address| address.parse().ok()).collect())
        })
        .collect()
}

/// The containers that are linked to: `/db:/web/alias` on the default network, `db:alias` on others.
fn links(of_default: &[String], settings: &NetworkSettings) -> BTreeSet<String> {
    let of_networks = settings.networks.iter().flat_map(|networks| networks.values());
    let of_networks = of_networks.flat_map(|endpoint| endpoint.links.iter().flatten());
    let all = of_default.iter().chain(of_networks);
    let names = all.filter_map(|link| link.trim_start_matches('/').split(':').next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn ports(settings: &NetworkSettings) -> Vec<(u16, IpAddr, u16)> {
    let mut ports = Vec::new();
    for (container_port, bindings) in settings.ports.iter().flatten() {
        let Some(container_port) = container_port.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else {
            continue;
        };
        for binding in bindings.iter().flatten() {
            let host = binding.host_ip.as_deref().and_then(|ip| ip.parse().ok());
            if let Some(port) = binding.host_port.as_deref().and_then(|port| port.parse().ok()) {
                ports.push((container_port, host.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port));
            }
        }
    }
    ports.sort_unstable();
    ports
}

fn mounts(points: Vec<MountPoint>) -> Vec<Mount> {
    let filled = |path: Option<String>| path.filter(|path| !path.is_empty()).map(PathBuf::from);
    let mounts = points.into_iter();
    let mut mounts: Vec<Mount> = mounts
        .filter_map(|point| Some(Mount { source: filled(point.source)?, destination: filled(point.destination)? }))
        .collect();
    mounts.sort_unstable_by(|a, b| a.destination.cmp(&b.destination));
    mounts
}

/// Nanoseconds since the epoch; zero for what is missing, unreadable, or the engine's year 1 ("never").
fn nanoseconds(stamp: Option<&str>) -> i64 {
    let stamp = stamp.and_then(|stamp| stamp.parse::<Timestamp>().ok());
    stamp.and_then(|stamp| i64::try_from(stamp.as_nanosecond()).ok()).unwrap_or_default().max(0)
}

/// `15`, `TERM`, `SIGTERM`, `SIGRTMIN+3`: the number that Linux gives it (1 to 64).
fn signal_number(name: &str) -> Option<u8> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = name.parse::<u8>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |rest: &str| if rest.is_empty() { Some(0) } else { rest[1..].parse::<u8>().ok() };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(rest).map(|n| 34_u8.saturating_add(n)).filter(|n| *n <= 64);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(rest).map(|n| 64_u8.saturating_sub(n)).filter(|n| *n >= 34);
    }
    NAMES.iter().zip(1..).find_map(|(known, number)| (*known == name).then_some(number))
}

/// A container's event; none for what was not asked for.
pub(super) fn event(message: EventMessage) -> Option<EngineEvent> {
    let actor = message.actor?;
    let container = ContainerId::new(&actor.id?)?;
    let mut attributes = actor.attributes.unwrap_or_default();
    let action = event_action(&message.action?, &attributes)?;
    let name = attributes.remove("name");
    // The engine mixes labels and its own words about the event; these are its own.
    for own in ["image", "exitCode", "signal", "oldName", "execDuration", "execID"] {
        attributes.remove(own);
    }
    let time = message.time_nano.or(message.time.map(|secs| secs.saturating_mul(1_000_000_000))).unwrap_or_default();
    Some(EngineEvent { container, name, labels: attributes.into_iter().collect(), time, action })
}

fn event_action(action: &str, attributes: &HashMap<String, String>) -> Option<EventAction> {
    Some(match action {
        "create" => EventAction::Create,
        "start" => EventAction::Start,
        "kill" => EventAction::Kill(attributes.get("signal").and_then(|signal| signal_number(signal)).unwrap_or(TERM)),
        "die" => EventAction::Die(attributes.get("exitCode").and_then(|code| code.parse().ok()).unwrap_or(-1)),
        "stop" => EventAction::Stop,
        "restart" => EventAction::Restart,
        "pause" => EventAction::Pause,
        "unpause" => EventAction::Unpause,
        "oom" => EventAction::Oom,
        "rename" => EventAction::Rename,
        "destroy" => EventAction::Destroy,
        _ => EventAction::Health(match action.strip_prefix("health_status: ")? {
            "healthy" => EngineHealth::Healthy,
            "unhealthy" => EngineHealth::Unhealthy,
            "starting" => EngineHealth::Starting,
            _ => return None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_in_every_spelling() {
        let cases = [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37), ("SIGRTMAX-1", 63), ("RTMIN", 34)];
        for (name, number) in cases {
            assert_eq!(signal_number(name), Some(number), "{name}");
        }
        for name in ["", "0", "65", "SIGNOPE", "SIGRTMIN+31", "SIGRTMIN+x", "256"] {
            assert_eq!(signal_number(name), None, "{name}");
        }
    }

    #[test]
    fn links_lead_to_containers_by_name_on_every_network() {
        let endpoint = |links: &[&str]| bollard::models::EndpointSettings {
            links: Some(links.iter().map(|link| (*link).to_owned()).collect()),
            ..Default::default()
        };
        let networks = HashMap::from([("shop".to_owned(), endpoint(&["db:data", "db:db_1", "cache", ":", ""]))]);
        let settings = NetworkSettings { networks: Some(networks), ..NetworkSettings::default() };
        let found = links(&["/old:/web/alias".to_owned()], &settings);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["cache", "db", "old"]);
    }

    #[test]
    fn never_is_zero() {
        assert_eq!(nanoseconds(Some("0001-01-01T00:00:00Z")), 0);
        assert_eq!(nanoseconds(Some("1970-01-01T00:00:01.000000002Z")), 1_000_000_002);
        assert_eq!(nanoseconds(Some("yesterday")), 0);
        assert_eq!(nanoseconds(None), 0);
    }

    #[test]
    fn mounts_are_those_that_show_something_of_the_host() {
        let point = |source: &str, destination: &str| MountPoint {
            source: Some(source.to_owned()),
            destination: Some(destination.to_owned()),
            ..MountPoint::default()
        };
        let found = vec![
            point("/srv/web/key", "/run/key"),
            point("", "/tmp"),
            MountPoint::default(),
            point("/srv/web", "/etc/web"),
        ];
        let expected = [("/srv/web", "/etc/web"), ("/srv/web/key", "/run/key")]
            .map(|(source, destination)| Mount { source: source.into(), destination: destination.into() });
        assert_eq!(mounts(found), expected);
    }

    #[test]
    fn a_health_event_and_an_exec_event_are_told_apart() {
        let none = HashMap::new();
        assert_eq!(event_action("health_status: unhealthy", &none), Some(EventAction::Health(EngineHealth::Unhealthy)));
        assert_eq!(event_action("exec_die", &none), None);
        assert_eq!(event_action("exec_create: /iaso patient", &none), None);
    }

    #[test]
    fn zeros_in_a_healthcheck_are_the_engines_defaults() {
        let config = HealthConfig { test: Some(vec!["CMD".into(), "/x".into()]), ..HealthConfig::default() };
        let check = healthcheck(&config).unwrap();
        assert_eq!((check.interval, check.retries), (Duration::from_secs(30), 3));
        assert_eq!(healthcheck(&HealthConfig { test: Some(vec!["NONE".into()]), ..config }), None);
    }
}
