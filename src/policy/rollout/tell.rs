//! What is said of a rollout, to whoever asked for it and about the services on its way.

use alloc::vec::Vec;

use super::{Leg, Rollout, Stage};
use crate::action::{Action, RolloutResult};
use crate::id::ServiceId;
use crate::policy::Policy;
use crate::record::{Event, Hold, Record};
use crate::time::Mono;
use crate::view::HoldView;

impl Policy {
    pub(super) fn wait(
        &self,
        rollout: &mut Rollout,
        place: usize,
        reason: Hold,
        until: Option<Mono>,
        out: &mut Vec<Action>,
    ) {
        let leg = rollout.legs[place];
        rollout.wake = until;
        let told = rollout.held.filter(|(service, held)| *service == leg.service && held.reason == reason);
        let since = told.map_or(self.now.mono, |(_, held)| held.since);
        rollout.held = Some((leg.service, HoldView { reason, since, until, behind: None }));
        if told.is_none() {
            self.tell_hold(rollout, &leg, reason, until, out);
        }
    }

    /// Why a changed credential waits before a service.
    pub(crate) fn held_rollout(&self, id: ServiceId) -> Option<HoldView> {
        self.rollouts.iter().find_map(|rollout| {
            let (Stage::Going { leg, .. } | Stage::Following { leg }) = rollout.stage else { return None };
            let is_next = rollout.legs.get(leg).is_some_and(|leg| leg.service == id);
            rollout.held.filter(|(service, _)| is_next && *service == id).map(|(_, held)| held)
        })
    }

    pub(super) fn tell_hold(
        &self,
        rollout: &Rollout,
        leg: &Leg,
        reason: Hold,
        until: Option<Mono>,
        out: &mut Vec<Action>,
    ) {
        let Rollout { id, credential, .. } = *rollout;
        self.tell(leg.service, Event::RolloutHeld { rollout: id, credential, reason, until, step: leg.step }, out);
    }

    pub(super) fn tell_end(&self, rollout: &Rollout, result: RolloutResult, out: &mut Vec<Action>) {
        let Rollout { id, credential, .. } = *rollout;
        let undo = rollout.is_undo();
        let about = match result {
            RolloutResult::Failed(service) | RolloutResult::Left(service) => Some(service),
            RolloutResult::Done => rollout.legs.last().map(|leg| leg.service),
            RolloutResult::Refused(_) | RolloutResult::Replaced => rollout.legs.first().map(|leg| leg.service),
        };
        if let Some(service) = about {
            self.tell(service, Event::RolloutEnded { rollout: id, credential, undo, result }, out);
        }
        out.push(Action::RolledOut { rollout: id, undo, result });
    }

    /// Says and keeps it about a service that there still is.
    pub(super) fn tell(&self, service: ServiceId, event: Event, out: &mut Vec<Action>) {
        if let Some(service) = self.service(service) {
            let incident = service.incident.map(|incident| incident.id);
            out.push(Action::Record(Record { now: self.now, service: service.id, incident, event }));
        }
    }
}
