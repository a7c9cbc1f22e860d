//! What only an event tells in time: a container that is started again right after the kill looks as if it had never happened.

use iaso_policy::id::HostId;

use super::Fleet;
use crate::engine::EngineEvent;

impl Fleet {
    /// The kernel killed something in a container for want of memory.
    pub(super) fn out_of_memory(&mut self, host: HostId, event: &EngineEvent) {
        let known = self.hosts[usize::from(host.0)].get_mut(&event.container);
        if let Some(known) = known.filter(|known| event.time >= known.started) {
            known.detail.oom_killed = true;
        }
    }
}
