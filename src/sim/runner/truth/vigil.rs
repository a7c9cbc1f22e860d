//! Nobody is forgotten, whatever goes on elsewhere: what Iaso could see to be broken for long enough is being healed, or a
//! reason is given why not.

use std::time::Duration;

use iaso_policy::input::RestartPolicy;
use iaso_policy::record::{Health, Hold};
use iaso_policy::view::Phase;

use super::{Books, is_watched};
use crate::sim::runner::{LIST_EVERY, Runner, id_of};
use crate::sim::scenario::PORT;
use crate::sim::world::World;

/// By then a list has told what no event did, and the slowest check has failed often enough: four times 35 s.
const SEEN_BY: i64 = LIST_EVERY + 60_000;

impl Books {
    /// Whatever was watched until now is watched anew.
    pub(in super::super) fn forget_broken(&mut self) {
        self.broken.clear();
    }

    /// Iaso was told that it serves: should the vigil's next moment find it broken, it is so anew, and was not all the time.
    pub(super) fn has_served(&mut self, id: u128) {
        self.broken.remove(&id);
    }
}

impl Runner<'_> {
    /// Compares what is broken, on every host that Iaso has been linked to for so long, with what Iaso says of it.
    pub(in super::super) fn keep_vigil(&mut self) {
        let now = self.at();
        let Some(iaso) = &self.iaso else { return };
        let mut forgotten = Vec::new();
        for (world, host) in self.worlds.iter().zip(0..) {
            let is_reached = iaso.links[host].up_since.is_some_and(|since| now - since >= SEEN_BY);
            for it in iaso.fleet.known(id_of(host)).values() {
                let id = it.detail.id.short();
                if !is_reached || !is_broken(world, id) {
                    self.books.broken.remove(&id);
                    continue;
                }
                let life = world.truth(id).map_or(0, |truth| truth.lives);
                let (known, since) = *self.books.broken.entry(id).or_insert((life, now));
                if known != life {
                    self.books.broken.insert(id, (life, now));
                    continue;
                }
                let Some(service) = it.service.filter(|_| now - since >= SEEN_BY) else { continue };
                let held_by = iaso.fleet.service(service).and_then(|watched| watched.container.as_ref());
                let Some(view) = iaso.policy.view(service).filter(|_| held_by == Some(&it.detail.id)) else { continue };
                let is_told = view.hold.is_some_and(|hold| hold.reason != Hold::HostDown)
                    || view.phase != Phase::Idle
                    || view.health == Health::Stopped;
                if !is_told {
                    forgotten.push(format!(
                        "{now} ms: {} is broken since {since} ms, and nothing is said or done: {view:?}",
                        it.detail.name
                    ));
                }
            }
        }
        self.books.problems.extend(forgotten);
    }
}

/// It is broken for everybody to see, and to be healed.
fn is_broken(world: &World, id: u128) -> bool {
    let Some((truth, detail)) = world.truth(id).zip(world.inspect(id)) else { return false };
    if !is_watched(&detail) || truth.stopped_by_person || truth.paused || truth.replaced {
        return false;
    }
    let label = |key: &str| detail.labels.get(key).map(String::as_str);
    if !truth.running {
        let crashed = truth.exited.is_some_and(|code| code != 0 && truth.lives > 0);
        return crashed && detail.restart == RestartPolicy::No && label("autoheal").is_none();
    }
    let is_checked = label("iaso.check.app.on_failure") == Some("heal") || detail.healthcheck.is_some();
    is_checked && !world.probe(id, PORT).passes(Duration::from_secs(5))
}
