//! One host never delays another: a hold for a host's sake is about that host.

use iaso_policy::id::{AttemptId, ServiceId};
use iaso_policy::record::Hold;

use super::Books;
use crate::sim::runner::Runner;
use crate::sim::world::World;

/// Fewer failures on a host are no storm.
const MASS: usize = 5;

impl Books {
    /// Iaso was told that a container failed. That counts whatever becomes of it.
    pub(super) fn note_failure(&mut self, world: &World, host: usize, id: u128) {
        self.failed[host].extend(world.names().find(|(known, _)| *known == id).map(|(_, name)| name.to_owned()));
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
            Hold::MassFailure => self.books.failed[host].len() >= MASS,
            _ => true,
        };
        if !is_its_host_s {
            let (at, name) = (self.at(), &watched.subject.name);
            self.books.problems.push(format!("{at} ms: {name} is held ({reason:?}), and its own host is no reason"));
        }
    }
}
