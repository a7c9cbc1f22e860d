//! What Iaso was told of each container: what came through, and what that said. Content counts, not arrival: an event that came
//! late tells of its own moment, and what a look saw is as old as the look.

use iaso_policy::id::Identity;
use iaso_policy::input::EngineHealth;

use super::Books;
use crate::engine::{EngineEvent, EventAction};
use crate::sim::world::{EPOCH_NS, Truth, World};

/// What Iaso was told of one container.
#[derive(Debug)]
pub(super) struct Told {
    /// When anything last came: what a look or a probe began before that is not news any more.
    touched: i64,
    /// It is frozen or does not run, as far as the newest news goes; and the moment that this is from.
    pub(super) down: Option<(bool, i64)>,
    /// Which life is known: when it began.
    life: Option<i64>,
    /// Its HEALTHCHECK says so.
    pub(super) unhealthy: bool,
    /// The newest result of Iaso's own check in the life that it is about.
    pub(super) probe: Option<(u32, bool)>,
    /// The newest life in which Iaso's own check failed.
    pub(super) failed_in: Option<u32>,
    /// Since when it is known to fail while it runs.
    pub(super) failing_since: Option<i64>,
    /// How often Iaso's own check has failed since it last passed, or since the life began.
    failures: u32,
    /// When it was last known to fail, or to have ended.
    pub(super) failed_at: Option<i64>,
    /// It was heard that somebody sent its stop signal to the life that began then.
    pub(super) stop_signal: Option<i64>,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            touched: i64::MIN,
            down: None,
            life: None,
            unhealthy: false,
            probe: None,
            failed_in: None,
            failing_since: None,
            failures: 0,
            failed_at: None,
            stop_signal: None,
        }
    }
}

impl Told {
    /// It does not run, or is frozen, and Iaso was told so since that is the case.
    pub(super) fn knows_down(&self, truth: &Truth) -> bool {
        (!truth.running || truth.paused) && self.down.is_some_and(|(down, from)| down && from >= truth.changed)
    }

    /// Something came after `at`.
    pub(super) fn has_come_after(&self, at: i64) -> bool {
        self.touched > at
    }

    /// It is known to fail at `at`: since when it is.
    fn failed(&mut self, at: i64) -> i64 {
        self.failed_at = Some(at);
        *self.failing_since.get_or_insert(at)
    }

    pub(super) fn is_known_to_have_run(&self) -> bool {
        self.life.is_some()
    }

    /// Iaso was told of its present life.
    pub(super) fn knows_life(&self, truth: &Truth) -> bool {
        self.life.is_some_and(|life| life >= truth.since)
    }
}

impl Books {
    /// An event came through.
    pub(in super::super) fn told_event(&mut self, world: &World, host: usize, event: &EngineEvent) {
        let (id, at) = (event.container.short(), world.now());
        let from = (event.time - EPOCH_NS) / 1_000_000;
        let Some(truth) = world.truth(id) else { return };
        let stop_signal = world.script(id).map(|script| script.stop_signal);
        self.note_wellness(world, id);
        let told = self.told.entry(id).or_default();
        told.touched = at;
        match event.action {
            EventAction::Start => {
                told.down = Some((false, from));
                told.life = told.life.max(Some(from));
                (told.unhealthy, told.failing_since) = (false, None);
            }
            EventAction::Die(_) => {
                (told.down, told.failed_at) = (Some((true, from)), Some(at));
                self.heard_to_die(id, truth.since);
                self.note_failure(world, host, id);
            }
            EventAction::Pause => told.down = Some((true, from)),
            EventAction::Unpause => told.down = Some((false, from)),
            EventAction::Kill(signal) if Some(signal) == stop_signal => told.stop_signal = Some(truth.since),
            EventAction::Health(health) => {
                told.unhealthy = health == EngineHealth::Unhealthy;
                if health == EngineHealth::Healthy {
                    told.failing_since = None;
                    self.has_served(id);
                } else if told.unhealthy {
                    let since = told.failed(at);
                    self.fails(world, host, id, since);
                }
            }
            _ => {}
        }
    }

    /// A look, or a list, that began at `began` has told of a container as it is.
    pub(in super::super) fn told_look(&mut self, world: &World, host: usize, id: u128, began: i64) {
        let Some(truth) = world.truth(id) else { return };
        self.note_wellness(world, id);
        let told = self.told.entry(id).or_default();
        if began < told.touched {
            return;
        }
        told.touched = began;
        told.down = Some((!truth.running || truth.paused, began));
        if truth.running {
            told.life = told.life.max(Some(began));
        }
        told.unhealthy = truth.running && !truth.paused && truth.health == EngineHealth::Unhealthy;
        if told.unhealthy {
            let since = told.failed(world.now());
            self.fails(world, host, id, since);
        }
    }

    /// A probe of Iaso's own has ended.
    pub(in super::super) fn told_probe(
        &mut self,
        world: &World,
        host: usize,
        id: u128,
        identity: &Identity,
        began: i64,
        passed: bool,
    ) {
        let Some(truth) = world.truth(id).filter(|truth| began >= truth.since) else { return };
        self.note_wellness(world, id);
        if passed {
            self.has_served(id);
        }
        let heals = world.script(id).is_some_and(|script| {
            script.labels.get("iaso.check.app.on_failure").is_some_and(|on_failure| on_failure == "heal")
        });
        let is_verdict = |failures: u32| {
            let threshold = world.script(id)?.labels.get("iaso.check.app.failure_threshold")?.parse().ok()?;
            Some(failures >= threshold)
        };
        let told = self.told.entry(id).or_default();
        if !passed && heals {
            told.failed_in = Some(truth.lives);
        }
        if began <= told.touched || !told.knows_life(&truth) {
            return;
        }
        told.failures = match told.probe {
            _ if passed => 0,
            Some((life, false)) if life == truth.lives => told.failures + 1,
            _ => 1,
        };
        told.probe = Some((truth.lives, passed));
        if passed {
            self.proven.insert(identity.clone());
            told.failing_since = None;
        } else if heals && self.proven.contains(identity) {
            let (since, failures) = (told.failed(world.now()), told.failures);
            // What has begun to fail is weighed for a storm, too.
            self.note_failure(world, host, id);
            if is_verdict(failures).unwrap_or(true) {
                self.fails(world, host, id, since);
            }
        }
    }
}
