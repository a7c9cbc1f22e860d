//! What is said of a rollout, to whoever asked for it and about the services on its way.

use alloc::vec::Vec;

use super::{Leg, Rollout};
use crate::action::{Action, RolloutResult};
use crate::id::ServiceId;
use crate::policy::Policy;
use crate::record::{Event, Hold, Record};
use crate::time::Mono;

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
        if rollout.held.replace((leg.service, reason)) != Some((leg.service, reason)) {
            self.tell_hold(rollout, &leg, reason, until, out);
        }
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
