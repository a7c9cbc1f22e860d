//! What a step carries along: the moment, what all services share, and where actions go.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::action::Action;
use crate::affected::Outage;
use crate::announce::HostAlert;
use crate::backoff::Jitter;
use crate::budget::{Ledger, halved};
use crate::host::Loss;
use crate::id::{AttemptId, CredentialKey, HostId, IncidentId, RolloutId, ServiceId};
use crate::maintenance::Ordered;
use crate::record::Verdict;
use crate::spec::{Budget, FleetSpec};
use crate::storm::Storm;
use crate::time::{Mono, Now};
use crate::weather::Weather;

pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) shared: &'a mut Shared,
    pub(crate) out: &'a mut Vec<Action>,
}

impl Turn<'_> {
    pub(crate) fn host(&self, host: HostId) -> &Host {
        &self.shared.hosts[usize::from(host.0)]
    }

    pub(crate) fn host_mut(&mut self, host: HostId) -> &mut Host {
        &mut self.shared.hosts[usize::from(host.0)]
    }
}

/// What all services share.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Shared {
    pub(crate) fleet: FleetSpec,
    pub(crate) hosts: Vec<Host>,
    pub(crate) credentials: BTreeMap<CredentialKey, Account>,
    /// Attempts for credentials' sake that have just ended: their rollouts have not heard of it yet.
    pub(crate) ended: Vec<(RolloutId, AttemptId, Verdict)>,
    /// Hosts on which something that was set aside has just become free.
    pub(crate) freed: Vec<HostId>,
    pub(crate) jitter: Jitter,
    pub(crate) ids: Ids,
    pub(crate) started: Mono,
    pub(crate) stopping: bool,
    /// Maintenance of everything, as a person ordered it.
    pub(crate) everything: Option<Ordered>,
    pub(crate) store_up: bool,
    /// The store was not intact at start: halved budgets count for their first window.
    pub(crate) intact: bool,
    /// The last run ended badly and the store could not tell how: one recovery per service in the first window.
    pub(crate) blind: bool,
    /// After an unclean stop: containers that started after this moment (milliseconds since the epoch) are charged for.
    pub(crate) gap_from: Option<i64>,
    /// Services that need others.
    pub(crate) needy: BTreeSet<ServiceId>,
    /// Services that would be recovered if what they need, and the weather on their host, lets them.
    pub(crate) gated: VecDeque<ServiceId>,
    /// Services that need others and have begun another life.
    pub(crate) reborn: Vec<ServiceId>,
    /// Every outage that goes on.
    pub(crate) outages: BTreeMap<IncidentId, Outage>,
    /// Services in an outage of which it is not told yet whose it is part of, or that may be part of another's now.
    pub(crate) unsorted: BTreeSet<ServiceId>,
    /// Services of which something may have to be told.
    pub(crate) tellable: BTreeSet<ServiceId>,
    /// Services that others need and that stand otherwise now.
    pub(crate) moved: BTreeSet<ServiceId>,
    /// Counts how often it changed how services stand for each other, and who needs whom.
    pub(crate) moves: u64,
    /// Hosts on which an outage began or ended, or a recovery ended.
    pub(crate) stirred: BTreeSet<HostId>,
    /// Observations dropped as older than what was known.
    pub(crate) stale: u64,
    /// Services that may stand otherwise since this was last asked for, each once.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) touched: Vec<ServiceId>,
}

impl Shared {
    /// A service's budget as it stands: halved or cut while the store cannot vouch for what was spent.
    pub(crate) fn service_budget(&self, budget: Budget, now: Mono) -> Budget {
        if self.blind && now < self.started + budget.window {
            return Budget { max: budget.max.min(1), ..budget };
        }
        self.host_budget(budget, now)
    }

    /// A host's or a credential's budget as it stands.
    pub(crate) fn host_budget(&self, budget: Budget, now: Mono) -> Budget {
        let unsure = !self.store_up || (!self.intact && now < self.started + budget.window);
        if unsure { halved(budget) } else { budget }
    }

    /// One operation for a credential's sake begins: what was set aside for it is spent.
    pub(crate) fn spend(&mut self, credential: CredentialKey, host: HostId, now: Mono) {
        let host = &mut self.hosts[usize::from(host.0)];
        for (ledger, reserved) in
            [self.credentials.entry(credential).or_default().parts(), (&mut host.charges, &mut host.reserved)]
        {
            ledger.prune(now);
            ledger.add(now);
            *reserved = reserved.saturating_sub(1);
        }
    }

    /// It was never carried out: what was spent at that moment is set aside again.
    pub(crate) fn unspend(&mut self, credential: CredentialKey, host: HostId, at: Mono) {
        let host = &mut self.hosts[usize::from(host.0)];
        for (ledger, reserved) in
            [self.credentials.entry(credential).or_default().parts(), (&mut host.charges, &mut host.reserved)]
        {
            ledger.refund(at);
            *reserved += 1;
        }
    }
}

/// What was done for one credential's sake.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Account {
    pub(crate) charges: Ledger,
    /// Operations that were set aside and have not begun.
    pub(crate) reserved: u32,
}

impl Account {
    const fn parts(&mut self) -> (&mut Ledger, &mut u32) {
        (&mut self.charges, &mut self.reserved)
    }
}

/// One engine.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Host {
    pub(crate) up: bool,
    /// It was up once since Iaso's start.
    pub(crate) reached: bool,
    /// What the store remembered of its charges has been taken in.
    pub(crate) recalled: bool,
    pub(crate) down_since: Option<Mono>,
    /// Verdicts of probes wait until then.
    pub(crate) quiet_until: Option<Mono>,
    pub(crate) charges: Ledger,
    /// Operations that rollouts have set aside and that have not begun.
    pub(crate) reserved: u32,
    /// Engine calls in flight.
    pub(crate) in_flight: u32,
    /// Services that wait for one of them to end, in order.
    pub(crate) queue: VecDeque<ServiceId>,
    pub(crate) weather: Weather,
    pub(crate) storm: Option<Storm>,
    /// Its own trouble, which was told.
    pub(crate) alert: Option<HostAlert>,
    /// It was lost.
    pub(crate) loss: Option<Loss>,
    /// Its disk is full, as was told.
    pub(crate) disk_full: Option<HostAlert>,
}

impl Host {
    /// Its own troubles.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = HostAlert> {
        self.alert.into_iter().chain(self.disk_full)
    }
}

/// Ids that never repeat: the run's own part above, a count below.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Ids(u64);

impl Ids {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed & !0xff_ffff)
    }

    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    pub(crate) fn attempt(&mut self) -> AttemptId {
        AttemptId(self.next())
    }

    pub(crate) fn incident(&mut self) -> IncidentId {
        IncidentId(self.next())
    }
}
