//! What an engine's words come to for the policy, for whoever has no policy at hand: the fuzz targets.

use std::sync::Arc;

use iaso_policy::Input;
use iaso_policy::id::HostId;
use iaso_policy::time::{Boot, Mono, Now, Wall};

use super::fleet::Fleet;
use crate::config::validated::Config;
use crate::engine::{ContainerDetail, EngineEvent};

/// Hears the configuration's first engine.
pub struct Ear {
    fleet: Fleet,
    /// Milliseconds since the first word.
    now: i64,
}

impl Ear {
    /// It has heard nothing yet.
    pub fn new(config: Config) -> Self {
        Self { fleet: Fleet::new(Arc::new(config), None), now: 0 }
    }

    /// The engine lists these containers.
    pub fn list(&mut self, containers: Vec<ContainerDetail>) -> Vec<Input> {
        let now = self.tick();
        self.fleet.listed(HostId(0), containers, now.mono, now).inputs
    }

    /// The engine tells of an event, and of the container as it was right afterwards.
    pub fn event(&mut self, event: &EngineEvent, detail: Option<ContainerDetail>) -> Vec<Input> {
        let now = self.tick();
        self.fleet.event(HostId(0), event, detail, now.mono, now).inputs
    }

    fn tick(&mut self) -> Now {
        self.now += 1;
        Now { mono: Mono(self.now), wall: Wall(1_767_225_600_000 + self.now), boot: Boot(1) }
    }
}
