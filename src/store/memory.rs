//! A store without a file: the simulator's, the tests', and the last resort where no file can be written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iaso_policy::id::{Identity, IncidentId};
use iaso_policy::memory::{Memory, Restored};
use iaso_policy::record::Event;
use iaso_policy::{Now, Record};
use tokio::sync::oneshot;

use super::shared::{Shared, Waiting};
use super::{StoreError, StoredRecord};
use crate::incidents::{Account, Evidence, Outage, Page, Wanted};

/// Records that are held, at most: the oldest go first.
const RECORDS: usize = 20_000;
/// Incidents that are held, at most.
const INCIDENTS: usize = 2_000;
/// Pieces of evidence that are held, at most.
const PIECES: usize = 500;

/// What a store holds, by the definition that every store is judged by: the fold of the durable records.
#[derive(Debug, Clone)]
pub struct Ledger {
    services: BTreeMap<Identity, Memory>,
    records: VecDeque<StoredRecord>,
    incidents: VecDeque<Outage>,
    evidence: VecDeque<Evidence>,
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
            evidence: VecDeque::new(),
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
        if let (Some(id), Event::IncidentClosed { ending, lasted }) = (before, record.event)
            && let Some(known) = self.incidents.iter_mut().rev().find(|one| one.id == id && one.identity == *identity)
        {
            known.closed = Some((record.now, ending));
            // Kept to the millisecond.
            known.lasted = Some(Duration::from_millis(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX)));
        }
        let Some(open) = self.services.get(identity).and_then(|memory| memory.incident) else { return };
        let now_known = Outage {
            id: open.incident,
            identity: identity.clone(),
            opened: open.opened,
            trouble: open.trouble,
            attempts: open.attempts,
            failed: open.failed,
            acknowledged: open.acknowledged,
            closed: None,
            root: open.root,
            lasted: None,
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

    /// Keeps a piece of evidence, in the place of an earlier one about the same decision.
    pub fn keep_evidence(&mut self, piece: Evidence) {
        let decision = |one: &Evidence| (one.incident, one.identity.clone(), one.now.wall, one.event.clone());
        let wanted = decision(&piece);
        match self.evidence.iter_mut().find(|one| decision(one) == wanted) {
            Some(known) => *known = piece,
            None => self.evidence.push_back(piece),
        }
        if self.evidence.len() > PIECES {
            self.evidence.pop_front();
        }
    }

    /// The outages that are, or were, part of this one, in the order in which they began.
    pub fn incidents_within(&self, root: IncidentId) -> Vec<Outage> {
        let mut parts: Vec<Outage> = self
            .incidents
            .iter()
            .filter(|one| self.parts.contains(&(root, one.id, one.identity.clone())))
            .cloned()
            .collect();
        parts.sort_by(|a, b| {
            let place = |one: &Outage| (one.opened.wall, one.id);
            place(a).cmp(&place(b)).then_with(|| a.identity.cmp(&b.identity))
        });
        parts
    }

    /// The outages that are asked for, newest first.
    pub fn outages(&self, wanted: &Wanted) -> Page {
        let place = |one: &Outage| (one.opened.wall, one.id);
        let before = wanted.before.map(|id| self.incidents.iter().find(|one| one.id == id).map(place));
        let is_wanted = |one: &&Outage| {
            wanted.identity.as_ref().is_none_or(|identity| one.identity == *identity)
                && (!wanted.open || one.closed.is_none())
                && before.is_none_or(|before| before.is_some_and(|before| place(one) < before))
        };
        let mut all: Vec<Outage> = self.incidents.iter().filter(is_wanted).cloned().collect();
        all.sort_by_key(|one| std::cmp::Reverse(place(one)));
        all.truncate(wanted.limit);
        let parts = |root: IncidentId| self.incidents_within(root).into_iter().map(move |part| (root, part));
        let within = all.iter().flat_map(|outage| parts(outage.id)).collect();
        Page { outages: all, within }
    }

    /// The ids of outages that begin with these digits, `limit` at most.
    pub fn outage_ids(&self, digits: &str, limit: usize) -> Vec<IncidentId> {
        let ids = self.incidents.iter().map(|one| one.id).filter(|id| id.to_string().starts_with(digits));
        ids.collect::<BTreeSet<_>>().into_iter().take(limit).collect()
    }

    /// Everyone who was in an outage that is still known.
    pub fn identities_with_outages(&self) -> Vec<Identity> {
        self.incidents.iter().map(|one| one.identity.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// An outage and all that is kept of it.
    pub fn account(&self, id: IncidentId) -> Option<Account> {
        let outage = self.incidents.iter().find(|one| one.id == id)?.clone();
        let stored: Vec<&StoredRecord> = self.records.iter().filter(|stored| stored.incident == Some(id)).collect();
        let evidence = self.evidence.iter().filter(|piece| piece.incident == id).cloned().collect();
        let records = stored.into_iter().map(StoredRecord::record).collect();
        Some(Account { outage, records, evidence, within: self.incidents_within(id) })
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

    pub(super) fn keep_evidence(&self, piece: Evidence) {
        let mut state = self.lock();
        match state.mode {
            _ if state.closed => {}
            Mode::Works | Mode::WithoutFile(_) => state.ledger.keep_evidence(piece),
            Mode::Refuses | Mode::Stalls => self.shared.drop_history(1),
        }
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
