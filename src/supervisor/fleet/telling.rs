//! What the policy is told of a container.

use iaso_policy::id::ServiceId;
use iaso_policy::input::{Input, Sight, State, Witness};
use iaso_policy::time::Mono;

use super::{Fleet, News};
use crate::engine::{ContainerId, ContainerState};
use crate::supervisor::container::{leads_to_the_engine, state_of};

impl Fleet {
    /// Tells the policy of a container as a list or a look showed it.
    pub(super) fn tell(
        &self,
        service: ServiceId,
        id: &ContainerId,
        state: ContainerState,
        began: Mono,
        news: &mut News,
    ) {
        let watched = &self.services[service.0 as usize];
        let Some(known) = self.known(watched.host).get(id) else { return };
        if watched.container.as_ref() == Some(id) {
            let address = &self.config.hosts[usize::from(watched.host.0)].address;
            let is_own =
                self.own.as_ref() == Some(id) || leads_to_the_engine(address, &known.detail, self.own_on(watched.host));
            news.inputs.push(Input::Described { service, container: known.describe(is_own) });
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
