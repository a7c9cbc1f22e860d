//! Law 6 by the world's truth: when what all containers of a host share is away, and so many fail of it that it can be known,
//! none is recovered before the cause is gone or five minutes have passed; then one at a time.

use std::collections::BTreeMap;

use iaso_policy::input::EngineHealth;

use super::{Books, is_asked_for, is_disabled};
use crate::sim::world::{Fault, Truth, World};

/// So many at least, so close together.
const MIN: usize = 5;
const WINDOW: i64 = 60_000;
/// How long nothing is recovered; less by the window in which Iaso may have begun to count.
const WAIT: i64 = 300_000 - WINDOW;
/// Nobody is found to be healed sooner after a recovery began: two of them that follow each other are so far apart.
const APART: i64 = 10_000;

/// What all share is away.
#[derive(Debug)]
pub(super) struct CommonCause {
    began: i64,
    until: i64,
    /// Who needs nobody, was well until then, and may be seen to fail: in which life. What it does in another may be forgiven.
    well: BTreeMap<u128, u32>,
    /// When Iaso was told that each is in an outage.
    failed: BTreeMap<u128, i64>,
    /// When enough was told.
    known: Option<i64>,
    /// When the newest recovery began since then, and whose.
    recovered: Option<(i64, u128)>,
}

/// Whom Iaso is asked to watch there.
fn watched(world: &World) -> impl Iterator<Item = u128> {
    world.ids().into_iter().filter(|id| {
        let detail = world.inspect(*id);
        detail.is_some_and(|detail| is_asked_for(&detail) && !is_disabled(&detail))
    })
}

impl Books {
    /// How many common causes could be known.
    pub(in super::super) const fn common_causes(&self) -> u64 {
        self.common_causes
    }

    /// Hears what befalls an engine. Storms do not outlive Iaso: what begins while it is away is not judged.
    pub(in super::super) fn befalls(
        &mut self,
        world: &World,
        host: usize,
        fault: Fault,
        is_watching: bool,
        operating: &[u128],
    ) {
        if let Fault::Shutdown { .. } = fault {
            self.shuts_down(world);
            // Whom it stops is in no outage any more: what fails once it is back is counted anew.
            self.causes[host] = None;
        }
        let Fault::NothingServes { for_ms } = fault else { return };
        let now = world.now();
        if let Some(cause) = self.causes[host].as_mut().filter(|cause| cause.until > now) {
            cause.until = now + for_ms;
            return;
        }
        if !is_watching {
            return;
        }
        let well = watched(world).filter(|id| {
            !operating.contains(id) && self.needs_nobody(world, *id) && self.is_known_to_be_well(world, *id)
        });
        let well = well.filter_map(|id| Some((id, world.truth(id)?.lives))).collect();
        let (failed, known, recovered) = (BTreeMap::new(), None, None);
        self.causes[host] = Some(CommonCause { began: now, until: now + for_ms, well, failed, known, recovered });
    }

    fn needs_nobody(&self, world: &World, id: u128) -> bool {
        let needs = world.script(id).and_then(|script| self.needs.get(&script.name));
        needs.is_some_and(Vec::is_empty)
    }

    fn is_known_to_be_well(&self, world: &World, id: u128) -> bool {
        let Some((truth, told)) = world.truth(id).zip(self.told.get(&id)) else { return false };
        let is_checked = truth.health == EngineHealth::Healthy || told.probe == Some((truth.lives, true));
        // Iaso has seen it well for so long that an outage before this is over.
        let is_over = told.failed_at.is_none_or(|at| world.now() - at >= 2 * WINDOW);
        is_over
            && truth.serves
            && is_checked
            && !told.unhealthy
            && told.failing_since.is_none()
            && told.knows_life(&truth)
    }

    /// Iaso was told that a container fails, as often as makes it an outage.
    pub(super) fn fails(&mut self, world: &World, host: usize, id: u128, since: i64) {
        self.note_failure(world, host, id);
        let now = world.now();
        let Some(cause) = self.causes[host].as_mut().filter(|cause| now < cause.until) else { return };
        let life = world.truth(id).map(|truth| truth.lives);
        if since < cause.began || life.is_none() || cause.well.get(&id).copied() != life {
            return;
        }
        // Who is or was to be left alone meanwhile tells nothing of the host.
        if self.maintained.get(&id).is_some_and(|until| *until > cause.began) {
            return;
        }
        // It is weighed when an outage begins.
        if cause.failed.contains_key(&id) {
            return;
        }
        cause.failed.insert(id, now);
        let recent = cause.failed.values().filter(|at| now - **at < WINDOW).count();
        // Who came meanwhile is there, too, and who has ended without Iaso's having heard of it. What waits for its engine to
        // start it again is none of those that are stopped.
        let is_up = |truth: Truth| truth.running || (truth.lives > 0 && truth.exited.is_none());
        let is_said_up = |id: &u128| self.told.get(id).is_some_and(|told| told.down.is_some_and(|(down, _)| !down));
        let is_there =
            |id: &u128| !cause.failed.contains_key(id) && (is_said_up(id) || world.truth(*id).is_some_and(is_up));
        let of = cause.failed.len() + watched(world).filter(is_there).count();
        if cause.known.is_none() && recent >= MIN && 2 * recent > of {
            cause.known = Some(now);
            self.common_causes += 1;
        }
    }

    pub(super) fn amid_the_storm(&mut self, world: &World, host: usize, id: u128) -> Option<String> {
        let at = world.now();
        let cause = self.causes[host].as_mut().filter(|cause| at < cause.until)?;
        let known = cause.known?;
        let before = cause.recovered.replace((at, id));
        if at < known + WAIT {
            return Some(format!("what all share there is away, as was known at {known} ms"));
        }
        let (before, whose) = before.filter(|(before, _)| at - before < APART)?;
        // What a person has stopped or replaced meanwhile is not waited for.
        let goes_on = world.truth(whose).is_some_and(|it| !it.stopped_by_person && !it.replaced && !it.paused);
        goes_on.then(|| format!("another was recovered at {before} ms in the same storm"))
    }
}
