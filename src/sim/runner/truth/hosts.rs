//! One host never delays another: a hold for a host's sake is about that host.

use iaso_policy::id::{AttemptId, ServiceId};
use iaso_policy::record::Hold;

use super::Books;
use crate::sim::runner::Runner;
use crate::sim::world::World;

/// Fewer failures on a host are no storm.
const MASS: usize = 5;

impl Books {
    /// Of how many containers Iaso was told that they failed.
    fn have_failed(&self, world: &World) -> usize {
        world.ids().iter().filter(|id| self.told.get(id).is_some_and(|told| told.failed_at.is_some())).count()
    }

    pub(in super::super) fn begun(&mut self, host: usize, attempt: AttemptId) {
        self.in_flight[host].insert(attempt);
    }

    pub(in super::super) fn finished(&mut self, attempt: AttemptId) {
        for here in &mut self.in_flight {
            here.remove(&attempt);
        }
    }
}

impl Runner<'_> {
    /// Judges a reason not to act by how its own host stands.
    pub(in super::super) fn judge_hold(&mut self, service: ServiceId, reason: Hold) {
        let Some(watched) = self.iaso.as_ref().and_then(|iaso| iaso.fleet.service(service)) else { return };
        let host = usize::from(watched.host.0);
        let is_its_host_s = match reason {
            Hold::HostDown => !self.is_linked(host),
            Hold::Concurrency => self.books.in_flight[host].len() >= self.config.fleet.max_concurrent as usize,
            Hold::MassFailure => self.books.have_failed(&self.worlds[host]) >= MASS,
            _ => true,
        };
        if !is_its_host_s {
            let (at, name) = (self.at(), &watched.subject.name);
            self.books.problems.push(format!("{at} ms: {name} is held ({reason:?}), and its own host is no reason"));
        }
    }
}
