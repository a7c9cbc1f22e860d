//! What the policy is told of a container.

use iaso_policy::Input;
use iaso_policy::id::{HostId, ServiceId};
use iaso_policy::input::{Sight, State, Witness};
use iaso_policy::time::Mono;

use super::{Fleet, News};
use crate::engine::{ContainerDetail, ContainerId, ContainerState};
use crate::supervisor::container::{leads_to_the_engine, state_of};

impl Fleet {
    /// Where a list or a look shows a container just as it was described before, that it was seen is all there is to tell; most
    /// of a list is like that. False: there may be more.
    pub(super) fn tell_the_same(&self, host: HostId, detail: &ContainerDetail, began: Mono, news: &mut News) -> bool {
        let Some(known) = self.known(host).get(&detail.id) else { return false };
        let is_described = known.told == self.tellings && began >= known.changed && known.detail == *detail;
        // Whoever lives in another's network is reached where that one is.
        let stands_alone = !detail.network_mode.starts_with("container:");
        let Some(service) = known.service.filter(|_| is_described && stands_alone) else { return false };
        if self.services[service.0 as usize].container.as_ref() != Some(&detail.id) {
            return false;
        }
        let state = state_of(detail.state, Witness::Look);
        let sight = Sight { instance: known.instance(), began, since: known.since, state };
        news.inputs.push(Input::Seen { service, sight });
        true
    }

    /// Tells the policy of a container as a list or a look showed it.
    pub(super) fn tell(
        &mut self,
        service: ServiceId,
        id: &ContainerId,
        state: ContainerState,
        began: Mono,
        news: &mut News,
    ) {
        let watched = &self.services[service.0 as usize];
        let host = usize::from(watched.host.0);
        let Some(known) = self.known(watched.host).get(id) else { return };
        if watched.container.as_ref() == Some(id) {
            let address = &self.config.hosts[host].address;
            let is_own =
                self.own.as_ref() == Some(id) || leads_to_the_engine(address, &known.detail, self.own_on(watched.host));
            news.inputs.push(Input::Described { service, container: known.describe(is_own) });
            let tellings = self.tellings;
            if let Some(known) = self.hosts[host].get_mut(id) {
                known.told = tellings;
            }
        }
        self.push_sight(service, id, state_of(state, Witness::Look), began, news);
    }

    pub(super) fn push_sight(&self, service: ServiceId, id: &ContainerId, state: State, began: Mono, news: &mut News) {
        let watched = &self.services[service.0 as usize];
        let Some(known) = self.known(watched.host).get(id) else { return };
        if watched.container.as_ref() == Some(id) {
            let sight = Sight { instance: known.instance(), began, since: known.since, state };
            news.inputs.push(Input::Seen { service, sight });
            news.replan.push(service);
        }
    }
}
