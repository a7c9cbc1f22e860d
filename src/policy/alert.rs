//! What people are told of an outage, and under which key.

use alloc::vec::Vec;
use core::fmt;

use crate::action::Trouble;
use crate::id::{HostId, IncidentId, ServiceId};
use crate::record::{AlertKind, Ending, Hold};
use crate::time::{Mono, Now};

/// Of announcements that nobody has taken, so many are remembered of each service: the oldest go first.
const REMEMBERED: usize = 8;

/// What tells one announcement from every other, in every run: a receiver that keeps keys takes each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AlertKey {
    /// The outage; a host's own where it is about a host.
    pub incident: IncidentId,
    /// What is told of it.
    pub kind: AlertKind,
    /// Its number within outage and kind, from 1.
    pub ordinal: u32,
}

/// Spelled `INCIDENT/KIND/ORDINAL`.
impl fmt::Display for AlertKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.incident, self.kind.name(), self.ordinal)
    }
}

/// One announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Alert {
    /// The same whenever it is announced again.
    pub key: AlertKey,
    /// About whom; of a host's trouble, in whose name it is kept.
    pub service: ServiceId,
    /// It is about this whole host.
    pub host: Option<HostId>,
    /// When the outage began.
    pub opened: Now,
    /// What is wrong, while something is.
    pub trouble: Option<Trouble>,
    /// Why nothing more is done, where nothing is.
    pub reason: Option<Hold>,
    /// When that is looked at again by itself.
    pub until: Option<Mono>,
    /// Automatic attempts begun.
    pub attempts: u32,
    /// Those that ended without healing.
    pub failed: u32,
    /// Whose outages are, or were, part of it.
    pub affected: Vec<ServiceId>,
    /// How it ended, once it has.
    pub ending: Option<Ending>,
}

/// An announcement that was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Announced {
    /// Its key.
    pub key: AlertKey,
    /// When it was decided.
    pub at: Now,
    /// When the outage began.
    pub opened: Now,
    /// It is about the service's host.
    pub of_host: bool,
    /// Why nothing more was done.
    pub reason: Option<Hold>,
    /// How the outage ended; of one that asked for attention only where that its end is to be told died with an earlier run.
    pub ending: Option<Ending>,
    /// A reporter has taken it.
    pub delivered: bool,
}

impl Announced {
    fn is_of_unproven_check(&self) -> bool {
        self.reason == Some(Hold::NeverSucceeded)
    }

    /// It asks for attention, in this outage.
    fn is_loud_of(&self, incident: IncidentId) -> bool {
        self.key.incident == incident && self.key.kind != AlertKind::Resolved
    }
}

/// Remembers that this was decided. Of each outage the newest that asks for attention is remembered until its end was told, and
/// whatever nobody has taken; and the newest that told of a check that has never worked, until it has.
pub(crate) fn decide(alerts: &mut Vec<Announced>, announced: Announced) {
    let key = announced.key;
    let is_replaced = |known: &Announced| {
        if known.is_of_unproven_check() { announced.is_of_unproven_check() } else { known.key.incident == key.incident }
    };
    alerts.retain(|known| known.key != key && !(known.delivered && is_replaced(known)));
    for known in alerts.iter_mut().filter(|known| known.is_loud_of(key.incident) && key.kind == AlertKind::Resolved) {
        known.ending = None;
    }
    if alerts.len() >= REMEMBERED {
        alerts.remove(0);
    }
    alerts.push(announced);
}

/// Remembers that a reporter has taken this.
pub(crate) fn deliver(alerts: &mut Vec<Announced>, key: AlertKey) {
    for known in alerts.iter_mut().filter(|known| known.key == key) {
        known.delivered = true;
    }
    if key.kind == AlertKind::Resolved {
        let is_kept = |known: &Announced| known.delivered && known.is_of_unproven_check();
        alerts.retain(|known| known.key.incident != key.incident || is_kept(known));
    }
}

/// An outage has ended, which is to be told where the outage was.
pub(crate) fn end(alerts: &mut [Announced], incident: IncidentId, ending: Ending) {
    for known in alerts.iter_mut().filter(|known| known.is_loud_of(incident)) {
        known.ending = Some(ending);
    }
}

/// An end that is to be told, as a run before this one died between writing down the one and the other.
pub(crate) fn untold_end(alerts: &[Announced]) -> Option<&Announced> {
    alerts.iter().find(|known| known.key.kind != AlertKind::Resolved && known.ending.is_some())
}

/// A check has worked for the first time: that it never had is remembered for no other outage than the one that is open.
pub(crate) fn prove(alerts: &mut Vec<Announced>, open: Option<IncidentId>) {
    let is_over = |known: &Announced| known.delivered && Some(known.key.incident) != open;
    alerts.retain(|known| !(known.is_of_unproven_check() && is_over(known)));
}

/// The newest that told of a check that has never worked.
pub(crate) fn told_unproven(alerts: &[Announced]) -> Option<&Announced> {
    alerts.iter().rev().find(|known| known.is_of_unproven_check())
}

/// The newest that asks for attention, of this outage.
pub(crate) fn told(alerts: &[Announced], incident: IncidentId) -> Option<&Announced> {
    alerts.iter().rev().find(|known| known.is_loud_of(incident))
}
