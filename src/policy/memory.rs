//! What survives a restart of Iaso: the fold of the durable records, one per identity.

use alloc::vec::Vec;
use core::time::Duration;

use crate::action::{Cause, Charge, Trouble};
use crate::alert::{self, Announced};
use crate::id::{AttemptId, CredentialKey, Identity, IncidentId, Instance};
use crate::input::Outcome;
use crate::record::{Event, Record, Verdict};
use crate::spec::Step;
use crate::time::{Mono, Now};

/// Charges older than this are in no window any more ([`crate::spec::Budget::window`] is at most a day).
pub const CHARGES_KEPT: Duration = Duration::from_secs(86_400);

/// What the store held when Iaso started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Restored {
    /// The store takes writes.
    pub store_up: bool,
    /// The store could be read whole. When not, budgets are halved for their first window.
    pub intact: bool,
    /// The last run ended in order. When not, containers that started after `last` are charged for.
    pub clean: bool,
    /// The newest durable record. None: the store is new, or could not be read.
    pub last: Option<Now>,
    /// What is remembered of each identity.
    pub services: Vec<Memory>,
}

impl Restored {
    /// A first start: a new store that takes writes.
    pub const fn nothing() -> Self {
        Self { store_up: true, intact: true, clean: true, last: None, services: Vec::new() }
    }
}

/// What is remembered of one identity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Memory {
    /// Whose.
    pub identity: Identity,
    /// Charged operations of the last day, oldest first; those for credentials' sake aside.
    pub charges: Vec<Now>,
    /// Those of the last day for credentials' sake, oldest first: charged to the credential and to the host.
    pub credential_charges: Vec<(CredentialKey, Now)>,
    /// An attempt that had not ended.
    pub attempt: Option<OpenAttempt>,
    /// An outage that had not ended.
    pub incident: Option<OpenIncident>,
    /// The newest outage of something that it needs that one of its own was part of.
    pub part_of: Option<IncidentId>,
    /// Announcements that nobody has taken yet, and of each outage that goes on the newest.
    pub alerts: Vec<Announced>,
    /// Automatic attempts since health was last sustained, and when the last of them ended: the backoff's count.
    pub streak: u32,
    /// When the last of the streak's attempts ended.
    pub last_ended: Option<Now>,
    /// Quarantine in force.
    pub quarantine: Option<QuarantineMemory>,
    /// The life that a person stopped, and when.
    pub stopped: Option<(Instance, Now)>,
    /// The life that ended by no person's hand, and its exit code.
    pub exited: Option<(Instance, i32)>,
    /// The newest life that a recovery began and that was verified.
    pub healed_life: Option<Instance>,
    /// A container of this identity was once seen running.
    pub seen_running: bool,
    /// A person paused automatic operations.
    pub paused: bool,
    /// A person's newest word on its maintenance.
    pub maintenance: Option<OrderedMaintenance>,
    /// Fingerprints of the checks that have passed once, in order.
    pub proven: Vec<u64>,
}

/// An attempt in flight or being verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OpenAttempt {
    /// Its id.
    pub attempt: AttemptId,
    /// What.
    pub step: Step,
    /// Why it was allowed.
    pub cause: Cause,
    /// What was wrong.
    pub trouble: Option<Trouble>,
    /// The life it was decided for.
    pub instance: Instance,
    /// When it began.
    pub begun: Now,
    /// The engine's answer, where it came.
    pub outcome: Option<Outcome>,
}

/// An outage that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OpenIncident {
    /// Its id.
    pub incident: IncidentId,
    /// When it opened.
    pub opened: Now,
    /// What was wrong when it opened.
    pub trouble: Trouble,
    /// Attempts begun within it.
    pub attempts: u32,
    /// Attempts that ended without healing.
    pub failed: u32,
    /// A person takes care of it.
    pub acknowledged: Option<Acknowledged>,
    /// The outage of something that it needs that it is, or was, part of.
    pub root: Option<IncidentId>,
}

/// That a person takes care of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Acknowledged {
    /// Since when.
    pub since: Now,
    /// How long; none: until it is over.
    pub lasting: Option<Duration>,
}

/// Maintenance that a person ordered, or ended: then it lasts no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OrderedMaintenance {
    /// Since when.
    pub since: Now,
    /// How long.
    pub lasting: Duration,
    /// It is, or its end is, for everything.
    pub everything: bool,
}

impl OrderedMaintenance {
    /// When it ends, or ended, on the clock of `now`.
    pub fn until(&self, now: Now) -> Mono {
        now.place(self.since) + self.lasting
    }
}

/// Quarantine in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QuarantineMemory {
    /// Since when (the last failed trial renews it).
    pub since: Now,
    /// Trials that failed.
    pub trials: u32,
    /// When the next trial comes, from `since`; none: never.
    pub retry_after: Option<Duration>,
}

impl Memory {
    /// Nothing remembered yet.
    pub const fn new(identity: Identity) -> Self {
        Self {
            identity,
            charges: Vec::new(),
            credential_charges: Vec::new(),
            attempt: None,
            incident: None,
            part_of: None,
            alerts: Vec::new(),
            streak: 0,
            last_ended: None,
            quarantine: None,
            stopped: None,
            exited: None,
            healed_life: None,
            seen_running: false,
            paused: false,
            maintenance: None,
            proven: Vec::new(),
        }
    }

    /// Takes in one record about this identity; those that are not durable change nothing.
    pub fn apply(&mut self, record: &Record) {
        let now = record.now;
        match record.event {
            Event::IncidentOpened { trouble } => {
                self.incident = record.incident.map(|incident| OpenIncident {
                    incident,
                    opened: now,
                    trouble,
                    attempts: 0,
                    failed: 0,
                    acknowledged: None,
                    root: None,
                });
            }
            Event::IncidentClosed { ending, .. } => {
                self.incident = None;
                if let Some(incident) = record.incident {
                    alert::end(&mut self.alerts, incident, ending);
                }
            }
            Event::Begun { attempt, step, cause, trouble, instance, charge, .. } => {
                match cause {
                    Cause::Credential { credential, .. } => self.charge_for(credential, now),
                    Cause::Recovery | Cause::Operator if charge != Charge::Free => self.charge(now),
                    Cause::Recovery | Cause::Operator => {}
                }
                if cause == Cause::Recovery
                    && let Some(incident) = &mut self.incident
                {
                    incident.attempts += 1;
                }
                self.attempt = Some(OpenAttempt { attempt, step, cause, trouble, instance, begun: now, outcome: None });
            }
            Event::Finished { attempt, outcome } => {
                if let Some(open) = self.attempt.as_mut().filter(|open| open.attempt == attempt) {
                    open.outcome = Some(outcome);
                }
            }
            Event::Ended { attempt, verdict, .. } => {
                if let Some(open) = self.attempt.take_if(|open| open.attempt == attempt) {
                    self.end(&open, verdict, now);
                }
            }
            Event::Quarantined { trials, retry_after } => {
                self.quarantine = Some(QuarantineMemory { since: now, trials, retry_after });
            }
            Event::Released { .. } => {
                self.quarantine = None;
                if let Some(incident) = &mut self.incident {
                    incident.failed = 0;
                }
            }
            Event::Settled => {
                self.streak = 0;
                self.last_ended = None;
            }
            Event::OperatorStopped { instance } => self.stopped = Some((instance, now)),
            Event::OperatorStopEnded => self.stopped = None,
            Event::Exited { instance, code } => self.exited = Some((instance, code)),
            Event::LifeHealed { instance } => self.healed_life = Some(instance),
            Event::SeenRunning => self.seen_running = true,
            Event::Proven { fingerprint, .. } => {
                if let Err(place) = self.proven.binary_search(&fingerprint) {
                    self.proven.insert(place, fingerprint);
                }
                alert::prove(&mut self.alerts, record.incident);
            }
            Event::Paused => self.paused = true,
            Event::Resumed => self.paused = false,
            Event::MaintenanceBegan { lasting, everything } => {
                self.maintenance = Some(OrderedMaintenance { since: now, lasting, everything });
            }
            Event::MaintenanceEnded { everything } => {
                self.maintenance = Some(OrderedMaintenance { since: now, lasting: Duration::ZERO, everything });
            }
            Event::Acknowledged { lasting } => {
                if let Some(incident) = &mut self.incident {
                    incident.acknowledged = Some(Acknowledged { since: now, lasting });
                }
            }
            Event::Joined { root } => {
                self.part_of = Some(root);
                if let Some(incident) = &mut self.incident {
                    incident.root = Some(root);
                }
            }
            Event::Announced { key, opened, of_host, reason, ending } => {
                alert::decide(
                    &mut self.alerts,
                    Announced { key, at: now, opened, of_host, reason, ending, delivered: false },
                );
            }
            Event::Delivered { key } => alert::deliver(&mut self.alerts, key),
            Event::ChargedForGap { .. } => self.charge(now),
            Event::Health { .. }
            | Event::Held { .. }
            | Event::Unheld { .. }
            | Event::EngineRestarted { .. }
            | Event::Reserved { .. }
            | Event::GivenBack { .. }
            | Event::RolloutHeld { .. }
            | Event::RolloutSkipped { .. }
            | Event::RolloutEnded { .. }
            | Event::StormBegan { .. }
            | Event::StormEnded { .. }
            | Event::HostLost { .. }
            | Event::HostBack { .. }
            | Event::DiskFilled { .. }
            | Event::DiskFreed { .. } => {}
        }
    }

    fn end(&mut self, open: &OpenAttempt, verdict: Verdict, now: Now) {
        match open.cause {
            Cause::Operator => {}
            Cause::Recovery => {
                self.streak = self.streak.saturating_add(u32::from(verdict.counts()));
                self.last_ended = Some(now);
                if verdict == Verdict::Dropped {
                    self.refund(open.begun);
                }
                if let Some(incident) = self.incident.as_mut() {
                    incident.failed += u32::from(verdict.failed());
                    incident.attempts -= u32::from(verdict == Verdict::Dropped).min(incident.attempts);
                }
            }
            Cause::Credential { undo, .. } => {
                if verdict == Verdict::Dropped {
                    self.credential_charges.retain(|(_, charge)| *charge != open.begun);
                }
                // In quarantine the new credential was the half-open trial.
                if let Some(incident) = self.incident.as_mut().filter(|_| self.quarantine.is_some() && !undo) {
                    incident.failed += u32::from(verdict.failed());
                }
            }
        }
    }

    /// The engine was never asked.
    fn refund(&mut self, begun: Now) {
        if let Some(place) = self.charges.iter().rposition(|charge| *charge == begun) {
            self.charges.remove(place);
        }
    }

    fn charge(&mut self, now: Now) {
        self.charges.retain(|then| now.mono.since(now.place(*then)) < CHARGES_KEPT);
        self.charges.push(now);
    }

    fn charge_for(&mut self, credential: CredentialKey, now: Now) {
        self.credential_charges.retain(|(_, then)| now.mono.since(now.place(*then)) < CHARGES_KEPT);
        self.credential_charges.push((credential, now));
    }
}
