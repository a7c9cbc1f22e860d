//! What people are told leaves with the names that they know, and comes back once a reporter has taken it.

use std::sync::Arc;

use iaso_policy::alert::Alert;
use iaso_policy::time::Now;

use super::Supervisor;
use crate::journal::Announcement;

impl Supervisor {
    pub(super) fn announce(&mut self, now: Now, alert: Alert) {
        let Some(subject) = self.subject(alert.service) else { return };
        let affected = alert.affected.iter().filter_map(|id| self.subject(*id));
        let mut affected: Vec<_> = affected.map(|subject| Arc::clone(&subject.name)).collect();
        affected.sort();
        let announcement = Announcement { now, alert, subject, affected };
        for listener in &mut self.listeners {
            listener.announce(&announcement);
        }
    }
}
