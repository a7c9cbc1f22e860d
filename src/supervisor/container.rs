//! A container in one of its lives, and what of it the policy is told.

use std::net::IpAddr;
use std::time::Duration;

use iaso_policy::id::{Instance, ServiceId};
use iaso_policy::input::{Container, EngineHealth, Exempt, State, Witness};
use iaso_policy::time::{Mono, Now};

use crate::config::validated::HostAddress;
use crate::config::watch;
use crate::engine::operate::Expected;
use crate::engine::{ContainerDetail, ContainerState};

/// News of before a life comes at most this much later than the list that told of that life: both were asked for at once.
const LATE: Duration = Duration::from_secs(60);

/// A start that is earlier by so many nanoseconds than the one that is known: the stamp of an event is only slightly later.
const SET_BACK: i64 = 60_000_000_000;

/// A container, and the life it is in.
pub(crate) struct Known {
    pub(crate) detail: ContainerDetail,
    pub(crate) service: Option<ServiceId>,
    /// The start that names its present life: that of `detail`, unless the engine's clock was set back since an earlier life. Each
    /// life has a later one.
    pub(super) started: i64,
    /// Since when that life is known, on Iaso's clock.
    pub(super) learned: Mono,
    /// When that was, on Iaso's clock.
    pub(crate) since: Mono,
    /// When its newest event came: what a list or a look saw before that is old news.
    pub(super) changed: Mono,
    /// When it was described to the policy as it is, by the fleet's count; 0: it was not.
    pub(super) told: u64,
}

impl Known {
    pub(crate) fn instance(&self) -> Instance {
        Instance { container: self.detail.id.short(), started: self.started }
    }

    /// Whether what an event stamped so, which has come at `received`, was before its present life. Such news comes soon after
    /// that life was learned of; later, the engine's clock was set back.
    pub(super) fn is_old_news(&self, stamp: i64, received: Mono) -> bool {
        stamp < self.detail.started && received.since(self.learned) < LATE
    }

    /// Whether the start that was told when it was asked for at `began` is another life's: a later one, or one by a clock that
    /// was set back.
    pub(super) fn is_over(&self, start: i64, began: Mono) -> bool {
        let was_set_back = start != 0 && start + SET_BACK < self.detail.started;
        began >= self.learned && (start > self.detail.started || was_set_back)
    }

    /// What an operation on its life `instance`, decided now, expects to find.
    pub(crate) const fn expected(&self, instance: Instance) -> Expected {
        Expected { instance, alive: is_alive(self.detail.state) }
    }

    /// What the policy needs to know of it; `is_own` says that Iaso itself runs in it, or reaches the engine through it.
    pub(super) fn describe(&self, is_own: bool) -> Container {
        let detail = &self.detail;
        let exempt = if is_own {
            Some(Exempt::Itself)
        } else if watch::is_orchestrated(&detail.labels) {
            Some(Exempt::Orchestrated)
        } else if detail.auto_remove {
            Some(Exempt::AutoRemove)
        } else {
            None
        };
        Container {
            instance: self.instance(),
            restart: detail.restart,
            exempt,
            one_off: watch::is_one_off(&detail.labels),
            healthcheck: detail.healthcheck.map(|check| check.start_period + check.interval * check.retries),
            stop_grace: detail.stop_grace,
            stop_signal: detail.stop_signal,
        }
    }
}

/// What HEALTHCHECK says of a container that has just begun to run.
pub(super) const fn health_at_start(detail: &ContainerDetail) -> EngineHealth {
    if detail.healthcheck.is_some() { EngineHealth::Starting } else { EngineHealth::None }
}

/// When a life began, on Iaso's clock: the engine's clock is believed to show the same wall time.
pub(super) fn estimate(started: i64, began: Mono, now: Now) -> Mono {
    let age = now.wall.0.saturating_sub(started / 1_000_000).max(0);
    Mono(now.mono.0.saturating_sub(age)).min(began)
}

pub(crate) const fn is_alive(state: ContainerState) -> bool {
    matches!(state, ContainerState::Running(_) | ContainerState::Paused | ContainerState::Restarting)
}

pub(super) const fn state_of(state: ContainerState, witness: Witness) -> State {
    match state {
        ContainerState::Created => State::Created,
        ContainerState::Running(health) => State::Running(health),
        ContainerState::Paused => State::Paused,
        ContainerState::Restarting => State::Restarting,
        ContainerState::Exited(code) => State::Exited { code, witness },
        ContainerState::Removing | ContainerState::Dead => State::Removing,
    }
}

/// Whether a container is the socket proxy at a host's address, as the address names it: by the container's name or address,
/// by a port that it publishes on this machine, or by its service in the Compose project of Iaso's `own` container.
pub(crate) fn leads_to_the_engine(
    address: &HostAddress,
    container: &ContainerDetail,
    own: Option<&ContainerDetail>,
) -> bool {
    let (HostAddress::Tcp(address) | HostAddress::Tls { address, .. }) = address else { return false };
    let Some((name, port)) = address.rsplit_once(':') else { return false };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let (ip, port) = (name.parse::<IpAddr>().ok(), port.parse::<u16>().ok());
    let inside = ip.is_some_and(|ip| container.networks.values().flatten().any(|own| *own == ip));
    let here = name == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
    let published = here && container.ports.iter().any(|(_, _, on_host)| Some(*on_host) == port);
    let beside = own.and_then(|own| watch::compose(&own.labels)).map(|(project, _)| project);
    let service = beside.is_some_and(|project| watch::compose(&container.labels) == Some((project, name)));
    container.name == name || inside || published || service
}
