//! Which probes a service's container gets, and where they lead.

use std::sync::Arc;

use iaso_policy::id::{CheckId, ServiceId};

use super::container::is_alive;
use super::fleet::Fleet;
use crate::probe::address::{self, EngineSite, Own, OwnContainer, Place};
use crate::probe::scheduler::Planned;

/// The service's checks, ready for its container as it is; none while it does not run.
pub(crate) fn plan(fleet: &Fleet, service: ServiceId, site: &EngineSite) -> Vec<Planned> {
    let Some(watched) = fleet.service(service) else { return Vec::new() };
    let container = fleet.container_of(watched).filter(|known| is_alive(known.detail.state));
    let Some(known) = container.filter(|_| !watched.service.checks.is_empty()) else { return Vec::new() };
    let in_container = fleet.own_on(watched.host).map(|own| OwnContainer {
        id: own.id.as_str().to_owned(),
        networks: own.networks.keys().cloned().collect(),
        network_mode: own.network_mode.clone(),
    });
    let own = Own { in_container, engine: site.clone() };
    // Who lives in another's network namespace is found where that one is.
    let parent = known.detail.network_mode.strip_prefix("container:").and_then(|id| fleet.detail(watched.host, id));
    let net = parent.unwrap_or(&known.detail);
    let place = Place {
        id: known.detail.id.as_str().to_owned(),
        networks: net.networks.clone(),
        network_mode: known.detail.network_mode.clone(),
        ports: net.ports.clone(),
    };
    let checks = watched.service.checks.iter().zip(&watched.asked_since).zip(0..);
    let planned = checks.map(|((check, asked_since), number)| Planned {
        check: CheckId(number),
        name: check.name.clone(),
        probe: Arc::clone(&check.probe),
        instance: known.instance(),
        since: known.since.max(*asked_since),
        service: Arc::clone(&watched.subject.name),
        host: watched.host,
        container: Arc::from(known.detail.id.as_str()),
        way: address::way(&check.probe, &place, &own),
        timeout: check.timeout,
        interval: check.interval,
    });
    planned.collect()
}
