//! Who runs on with what it needs anew from a life that is over, and is started anew because of it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::{Action, Cause, Trouble};
use crate::id::ServiceId;
use crate::input::{Sight, State};
use crate::needs::Barrier;
use crate::policy::Policy;
use crate::record::Hold;
use crate::spec::Restarts;

/// Which of two lives began first is known by Iaso's own clock where they began this far apart.
const UNCLEAR: Duration = Duration::from_secs(60);

/// Something that was started, and who asked that others follow it.
#[derive(Clone, Copy)]
struct Start {
    sight: Sight,
    asked_by: Option<ServiceId>,
}

impl Policy {
    /// Whoever may have to be started anew, now that this one stands otherwise.
    pub(crate) fn followers(&self, id: ServiceId) -> BTreeSet<ServiceId> {
        if self.service(id).is_some_and(|service| service.spec.recovery.restart_dependents) {
            return self.graph.dependents(id);
        }
        self.graph.direct_dependents(id).collect()
    }

    /// Whether a service runs on with what it needs anew from a life that is over.
    pub(crate) fn compare_lives(&mut self, id: ServiceId, out: &mut Vec<Action>) {
        let Some(service) = self.service(id) else { return };
        let newer = self.running_sight(id).and_then(|own| self.started_after(id, own));
        let (outlived, follows) = (newer.is_some(), newer.and_then(|start| start.asked_by));
        if (service.outlived, service.follows) != (outlived, follows) {
            self.with(id, out, |service, turn| {
                (service.outlived, service.follows) = (outlived, follows);
                service.review(turn, None);
            });
        }
    }

    /// What it needs anew and was started after this life of it.
    fn started_after(&self, id: ServiceId, own: Sight) -> Option<Start> {
        let host = self.service(id)?.spec.host;
        let is_newer = |needed: ServiceId, sight: Sight| {
            let apart = sight.since.since(own.since).max(own.since.since(sight.since));
            // One engine's clock tells exactly, unless it was set meanwhile; of two hosts each has its own.
            if apart < UNCLEAR && self.service(needed).is_some_and(|service| service.spec.host == host) {
                sight.instance.started > own.instance.started
            } else {
                sight.since > own.since
            }
        };
        let by_need = self.graph.of(id).iter().flat_map(|need| need.on.iter().map(|on| (*on, need.restarts)));
        let by_need = by_need.filter_map(|(on, restarts)| {
            let sight = match restarts {
                Restarts::Never => return None,
                Restarts::Healed => self.healed_sight(on)?,
                Restarts::Started => self.running_sight(on)?,
            };
            is_newer(on, sight).then_some(Start { sight, asked_by: None })
        });
        if let Some(start) = by_need.max_by_key(|start| start.sight.since) {
            return Some(start);
        }
        let asked = self.graph.everything_needed(id).into_iter().filter_map(|needed| {
            self.service(needed).filter(|service| service.spec.recovery.restart_dependents)?;
            let sight = self.healed_sight(needed).filter(|sight| is_newer(needed, *sight))?;
            Some(Start { sight, asked_by: Some(needed) })
        });
        asked.max_by_key(|start| start.sight.since)
    }

    fn running_sight(&self, id: ServiceId) -> Option<Sight> {
        self.service(id)?.sight.filter(|sight| matches!(sight.state, State::Running(_)))
    }

    /// The life that it is in, if that was begun by a recovery and verified.
    fn healed_sight(&self, id: ServiceId) -> Option<Sight> {
        let healed = self.service(id)?.healed_life?;
        self.running_sight(id).filter(|sight| sight.instance == healed)
    }

    /// Those whom a ladder has started anew go one after the other.
    pub(crate) fn waits_for_another_follower(&self, id: ServiceId) -> Option<Barrier> {
        let service = self.service(id).filter(|service| service.trouble == Some(Trouble::Outlived))?;
        let is_being_recovered = |other: &ServiceId| {
            *other != id
                && self.service(*other).and_then(|other| other.attempt()).is_some_and(|it| it.cause == Cause::Recovery)
        };
        let other = self.graph.dependents(service.follows?).into_iter().find(is_being_recovered)?;
        let until = Some(self.now.mono + self.shared.fleet.verify_interval);
        Some(Barrier { reason: Hold::Dependency, behind: Some(other), until })
    }
}
