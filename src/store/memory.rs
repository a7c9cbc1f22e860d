//! A store without a file: the simulator's, the tests', and the last resort where no file can be written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iaso_policy::id::{Identity, IncidentId};
use iaso_policy::memory::{Memory, Restored};
use iaso_policy::record::Event;
use iaso_policy::{Now, Record};
use tokio::sync::oneshot;

use super::shared::{Shared, Waiting};
use super::{StoreError, StoredIncident, StoredRecord};

/// Records that are held, at most: the oldest go first.
const RECORDS: usize = 20_000;
/// Incidents that are held, at most.
const INCIDENTS: usize = 2_000;

/// What a store holds, by the definition that every store is judged by: the fold of the durable records.
#[derive(Debug, Clone)]
pub struct Ledger {
    services: BTreeMap<Identity, Memory>,
    records: VecDeque<StoredRecord>,
    incidents: VecDeque<StoredIncident>,
    /// Every outage that each of those was ever part of.
    parts: BTreeSet<(IncidentId, IncidentId, Identity)>,
    last: Option<Now>,
    clean: bool,
    next_id: i64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            records: VecDeque::new(),
            incidents: VecDeque::new(),
            parts: BTreeSet::new(),
            last: None,
            clean: true,
            next_id: 1,
        }
    }
}

impl Ledger {
    /// Takes in one record.
    pub fn apply(&mut self, identity: &Identity, record: &Record) {
        self.clean = false;
        let stored = StoredRecord {
            id: self.next_id,
            identity: identity.clone(),
            now: record.now,
            incident: record.incident,
            event: record.event,
        };
        self.next_id += 1;
        self.records.push_back(stored);
        if self.records.len() > RECORDS {
            self.records.pop_front();
        }
        if record.event.is_durable() {
            self.last = Some(record.now);
            let memory = self.services.entry(identity.clone()).or_insert_with(|| Memory::new(identity.clone()));
            let open = memory.incident.map(|open| open.incident);
            memory.apply(record);
            self.keep_incident(identity, open, record);
        }
    }

    fn keep_incident(&mut self, identity: &Identity, before: Option<IncidentId>, record: &Record) {
        if let (Some(id), Event::IncidentClosed { ending, .. }) = (before, record.event)
            && let Some(known) = self.incidents.iter_mut().rev().find(|one| one.id == id && one.identity == *identity)
        {
            known.closed = Some((record.now, ending));
        }
        let Some(open) = self.services.get(identity).and_then(|memory| memory.incident) else { return };
        let now_known = StoredIncident {
            id: open.incident,
            identity: identity.clone(),
            opened: open.opened,
            trouble: open.trouble,
            attempts: open.attempts,
            failed: open.failed,
            closed: None,
            root: open.root,
        };
        let known = self.incidents.iter_mut().rev().find(|one| one.id == open.incident && one.identity == *identity);
        match known {
            Some(known) => *known = now_known,
            None => self.incidents.push_back(now_known),
        }
        if let Event::Joined { root } = record.event {
            self.parts.insert((root, open.incident, identity.clone()));
        }
        if self.incidents.len() > INCIDENTS
            && let Some(gone) = self.incidents.pop_front()
        {
            self.parts.retain(|(_, id, identity)| (*id, identity) != (gone.id, &gone.identity));
        }
    }

    /// Marks the end as orderly.
    pub fn close(&mut self) {
        self.clean = true;
    }

    /// What the next run finds.
    pub fn restored(&self) -> Restored {
        Restored {
            store_up: true,
            intact: true,
            clean: self.clean,
            last: self.last,
            services: self.services.values().cloned().collect(),
        }
    }

    /// The newest `limit` records about an identity, oldest first.
    pub fn timeline(&self, identity: &Identity, limit: usize) -> Vec<StoredRecord> {
        let about = self.records.iter().rev().filter(|stored| stored.identity == *identity);
        let mut newest_first: Vec<StoredRecord> = about.take(limit).cloned().collect();
        newest_first.reverse();
        newest_first
    }

    /// An outage and its records, oldest first.
    pub fn incident(&self, id: IncidentId) -> Option<(StoredIncident, Vec<StoredRecord>)> {
        let found = self.incidents.iter().find(|one| one.id == id)?;
        let records = self.records.iter().filter(|stored| stored.incident == Some(id)).cloned().collect();
        Some((found.clone(), records))
    }

    /// The outages that are, or were, part of this one, in the order in which they began.
    pub fn incidents_within(&self, root: IncidentId) -> Vec<StoredIncident> {
        let mut parts: Vec<StoredIncident> = self
            .incidents
            .iter()
            .filter(|one| self.parts.contains(&(root, one.id, one.identity.clone())))
            .cloned()
            .collect();
        parts.sort_by(|a, b| {
            let place = |one: &StoredIncident| (one.opened.wall, one.id);
            place(a).cmp(&place(b)).then_with(|| a.identity.cmp(&b.identity))
        });
        parts
    }

    /// The newest `limit` outages, newest first.
    pub fn incidents(&self, limit: usize) -> Vec<StoredIncident> {
        let mut all: Vec<StoredIncident> = self.incidents.iter().cloned().collect();
        all.sort_by_key(|one| std::cmp::Reverse((one.opened.wall, one.id)));
        all.truncate(limit);
        all
    }
}

/// A [`Ledger`] behind [`super::Store`]'s handle, with switches for what can go wrong.
#[derive(Debug)]
pub struct Double {
    state: Mutex<State>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    mode: Mode,
    closed: bool,
    /// What was not taken in yet, in order, and who waits for it.
    pending: Vec<(Identity, Record, Option<Reply>)>,
}

type Reply = oneshot::Sender<Result<(), StoreError>>;

/// How a [`Double`] treats writes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Works,
    /// Durable records wait, charges are told so.
    Refuses,
    /// Durable records wait, and nobody is told anything.
    Stalls,
    /// There is no file, and will be none.
    WithoutFile(String),
}

impl Double {
    pub(super) fn working(shared: Arc<Shared>) -> Self {
        Self::new(shared, Mode::Works)
    }

    pub(super) fn without_file(shared: Arc<Shared>, why: String) -> Self {
        Self::new(shared, Mode::WithoutFile(why))
    }

    fn new(shared: Arc<Shared>, mode: Mode) -> Self {
        let state = State { ledger: Ledger::default(), mode, closed: false, pending: Vec::new() };
        Self { state: Mutex::new(state), shared }
    }

    /// Fails every write from now on, as a full disk does, until [`Double::work`].
    pub fn refuse(&self) {
        self.lock().mode = Mode::Refuses;
    }

    /// Answers no write from now on, as a stalled disk does, until [`Double::work`].
    pub fn stall(&self) {
        self.lock().mode = Mode::Stalls;
    }

    /// Works again: what waited is written, in order.
    pub fn work(&self) {
        let mut state = self.lock();
        state.mode = Mode::Works;
        for (identity, record, reply) in std::mem::take(&mut state.pending) {
            state.ledger.apply(&identity, &record);
            if let Some(reply) = reply {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(Ok(()));
            }
        }
        self.shared.up();
    }

    /// A copy of what it holds.
    pub fn ledger(&self) -> Ledger {
        self.lock().ledger.clone()
    }

    pub(super) fn charge(&self, identity: &Identity, record: &Record) -> Waiting {
        let (reply, waiting) = oneshot::channel();
        self.take(identity, record, Some(reply));
        Waiting(waiting)
    }

    pub(super) fn keep(&self, identity: &Identity, record: &Record) {
        self.take(identity, record, None);
    }

    fn take(&self, identity: &Identity, record: &Record, reply: Option<Reply>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let answer = match &state.mode {
            Mode::Works => Ok(()),
            Mode::WithoutFile(why) => Err(StoreError::MemoryOnly(why.clone())),
            Mode::Refuses | Mode::Stalls if !record.event.is_durable() => {
                self.shared.drop_history(1);
                return;
            }
            Mode::Stalls => {
                state.pending.push((identity.clone(), *record, reply));
                return;
            }
            Mode::Refuses => {
                state.pending.push((identity.clone(), *record, None));
                let error = StoreError::Failed("told to refuse".to_owned());
                self.shared.down(&error.to_string());
                if let Some(reply) = reply {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.send(Err(error));
                }
                return;
            }
        };
        state.ledger.apply(identity, record);
        if let Some(reply) = reply {
            let _ = reply.send(answer);
        }
        if state.mode == Mode::Works {
            self.shared.up();
        }
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        if state.pending.is_empty() {
            state.ledger.close();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
