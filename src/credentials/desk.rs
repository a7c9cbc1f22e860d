//! The one task that keeps credentials: it drives the [`Keeper`], carries out what that asks for, and lends rotations its hands.
//!
//! It decides nothing by itself. Calls run beside each other and come back as facts; a slow server delays only what waits for it.

mod files;
mod holding;
mod in_use;
mod ledger;
mod left;
mod observe;
mod order;
mod perform;
mod picture;
mod publish;
mod recall;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use iaso_policy::credential::keeper::{CredentialSpec, Event, Fact, Keeper, Kind, LeaseKey, SessionSpec, Task};
use iaso_policy::id::{CredentialId, Digest};
use iaso_policy::time::{Mono, Now};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use super::kept::ledger::{Ledger, LedgerFile};
use super::provider::Provider;
use super::rotation::{self, Rotations, Wanted};
use super::seal::Sealer;
use super::vault::Vault;
use crate::config::validated::{Credential, Source};
use crate::in_use::CredentialValues;
use crate::orders::CredentialRequest;
use crate::rollouts::{CredentialEntry, FromCredentials};
use crate::snapshot::{CredentialsPicture, Snapshot};
use crate::system::clock::Clock;

use holding::{Holding, LeaseRecord, Value};
use left::Standing;
use perform::Answer;
use publish::{Published, Rendered};
use recall::{Writing, Written};

/// Pictures are published at most this often.
const PICTURE_EVERY: Duration = Duration::from_millis(250);
/// While Vault does not let Iaso in, the files that it logs in with are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Records that may wait for the supervisor.
const UNTOLD: usize = 1000;
/// How long calls in flight may take to end when Iaso stops: what they mint is not to be forgotten.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Everything that the task is connected to.
pub struct Ports {
    /// The supervisor's ear.
    pub supervisor: mpsc::Sender<FromCredentials>,
    /// What people want.
    pub orders: mpsc::Receiver<CredentialRequest>,
    /// Where its picture is published.
    pub pictures: watch::Sender<Arc<CredentialsPicture>>,
    /// Where the values in use are noted.
    pub in_use: CredentialValues,
    /// How services stand: their containers' mounts and starts.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The time.
    pub clock: Clock,
    /// Decide and record, and touch nothing.
    pub observe: bool,
    /// For ids and jitter; random.
    pub seed: u64,
}

/// Where credentials come from and go to.
pub(super) struct Means {
    pub(super) vault: Option<Arc<Vault>>,
    /// AWS Secrets Manager; none where no credential is from there.
    pub(super) aws: Option<Arc<dyn Provider>>,
    pub(super) sealer: Arc<Sealer>,
    /// Last good values on disk; none where the operator forbids it, or the disk does.
    pub(super) kept: Option<Arc<Kept>>,
    /// What counts across runs, whether or not values are kept.
    pub(super) ledger: LedgerFile,
    /// The files that Iaso logs in with.
    pub(super) login_files: Vec<PathBuf>,
    /// Logins at most in an hour.
    pub(super) logins_per_hour: u32,
    /// A login makes a token: it counts over restarts. One that somebody else made is only looked at.
    pub(super) login_makes: bool,
}

/// What comes back from a call.
enum Done {
    /// An answer for the keeper.
    Answered(Answer),
    /// A value was put to use, or could not be.
    Published(Published),
    /// What follows from a step at once.
    Fact(Fact),
    /// Something was written down, or could not be.
    Written(Written),
    /// A rotation's value was rendered.
    Rendered { credential: CredentialId, value: Value, rendered: Rendered },
    /// What a rotation waits for.
    ForRotation { name: Arc<str>, users: Vec<Standing>, fact: rotation::Fact },
    /// Nothing that anybody waits for.
    Nothing,
}

/// The task's state.
pub(super) struct Desk {
    ports: Ports,
    means: Means,
    keeper: Keeper,
    rotations: Rotations,
    writing: Writing,
    holdings: BTreeMap<CredentialId, Holding>,
    leases: BTreeMap<LeaseKey, LeaseRecord>,
    /// What earlier runs recorded of credentials that this one does not keep.
    earlier: Ledger,
    /// Numbers handed out so far, for leases and rollouts.
    numbered: u64,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    tasks: Vec<Task>,
    /// Records that the supervisor has not taken yet.
    untold: VecDeque<CredentialEntry>,
    /// Why the session does not stand, in words.
    session_words: Option<String>,
    login_files: Vec<observe::Stamp>,
    picture_due: Option<Mono>,
    stopping: bool,
    /// What was noted as in use.
    told_values: BTreeMap<CredentialId, (Option<Digest>, Option<Digest>)>,
}

impl Desk {
    /// Begins with what was kept and journaled.
    pub(super) fn new(credentials: &[Arc<Credential>], means: Means, rotations: Rotations, ports: Ports) -> Self {
        let now = ports.clock.now();
        let spec = SessionSpec { logins_per_hour: means.logins_per_hour };
        let holdings = (0..).map(CredentialId).zip(credentials.iter().map(|spec| Holding::new(Arc::clone(spec), now)));
        let login_files = observe::stamps(&means.login_files);
        let mut desk = Self {
            keeper: Keeper::new(spec, ports.seed, now.mono),
            holdings: holdings.collect(),
            rotations,
            writing: Writing::default(),
            leases: BTreeMap::new(),
            earlier: Ledger::default(),
            numbered: 0,
            jobs: FuturesUnordered::new(),
            tasks: Vec::new(),
            untold: VecDeque::new(),
            session_words: None,
            login_files,
            picture_due: None,
            stopping: false,
            told_values: BTreeMap::new(),
            means,
            ports,
        };
        desk.begin();
        desk
    }

    /// Declares every credential, and recalls what was kept of it.
    fn begin(&mut self) {
        self.open_ledger();
        for id in self.holdings.keys().copied().collect::<Vec<_>>() {
            let spec = spec_of(&self.holdings[&id].spec);
            if self.ports.observe && spec.kind == Kind::Minted {
                continue;
            }
            self.step(Fact::Define { credential: id, spec });
            self.recall_charges(id);
            self.recall(id);
            self.recall_leases(id);
        }
        self.step(Fact::Tick);
    }

    /// Keeps credentials until `stop` is cancelled, and then until what was asked for is answered, for a short time.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let supervisor = self.ports.supervisor.clone();
        self.publish_picture();
        self.tell_values();
        while !stop.is_cancelled() {
            let rest = self.rest();
            tokio::select! {
                () = stop.cancelled() => {}
                Some(done) = self.jobs.next() => self.done(done),
                wanted = self.rotations.next() => self.wanted(wanted),
                Some(request) = self.ports.orders.recv() => self.order(request),
                Ok(place) = supervisor.reserve(), if !self.untold.is_empty() => {
                    if let Some(entry) = self.untold.pop_front() {
                        place.send(FromCredentials::Told(entry));
                    }
                }
                () = tokio::time::sleep(rest) => self.tick(),
            }
            self.after_rotations();
            self.tell_values();
            if self.picture_due.is_some_and(|due| due <= self.ports.clock.mono()) {
                self.publish_picture();
            }
        }
        self.stopping = true;
        self.step(Fact::Stopping);
        let last = async {
            while let Some(done) = self.jobs.next().await {
                self.done(done);
            }
        };
        // What is not answered by then is found again by the next start, as far as it was written down.
        let _late = tokio::time::timeout(LAST_ANSWERS, last).await;
        for entry in std::mem::take(&mut self.untold) {
            if self.ports.supervisor.try_send(FromCredentials::Told(entry)).is_err() {
                tracing::warn!("a record about a credential is lost: Iaso stops");
            }
        }
    }

    /// How long nothing needs to be done unless something happens.
    fn rest(&self) -> Duration {
        let now = self.ports.clock.mono();
        let due = self.keeper.next_deadline().into_iter().chain(self.picture_due).min();
        let rest = due.map_or(LOOK_EVERY, |at| at.since(now).max(Duration::from_millis(1)));
        if self.keeper.session(now).up { rest } else { rest.min(LOOK_EVERY) }
    }

    fn tick(&mut self) {
        if self.login_changed() {
            self.step(Fact::LoginChanged);
        } else {
            self.step(Fact::Tick);
        }
    }

    /// One step of the keeper, and what follows from it.
    fn step(&mut self, fact: Fact) {
        self.mark_told(&fact);
        let mut tasks = std::mem::take(&mut self.tasks);
        self.keeper.step(self.ports.clock.now(), fact, &mut tasks);
        for task in tasks.drain(..) {
            self.carry_out(task);
        }
        self.tasks = tasks;
        self.changed();
    }

    fn carry_out(&mut self, task: Task) {
        match task {
            Task::Note { credential, event } => self.note(credential, event),
            Task::Publish { credential, digest } => self.begin_publishing(credential, digest),
            Task::Login => self.log_in(),
            Task::LookUpToken | Task::RenewToken { .. } => self.ask_session(task),
            Task::Read { credential } if self.mints(credential) => self.mint(credential),
            Task::Read { credential } => self.read(credential),
            Task::RenewLease { lease, increment } => self.renew_lease(lease, increment),
            Task::Revoke { lease } => self.revoke_lease(lease),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Answered(answer) => self.answered(answer),
            Done::Published(published) => self.published(published),
            Done::Fact(fact) => self.step(fact),
            Done::Written(written) => self.written(written),
            Done::Rendered { credential, value, rendered } => self.rendered_for_rotation(credential, value, &rendered),
            Done::ForRotation { name, users, fact } => self.for_rotation(&name, &users, fact),
            Done::Nothing => {}
        }
    }

    fn note(&mut self, credential: Option<CredentialId>, event: Event) {
        let holding = credential.and_then(|id| self.holdings.get(&id));
        let words = holding.map_or(self.session_words.as_deref(), |holding| holding.words.as_deref());
        let Some(told) = words::tell(&event, words, &|at| self.ports.clock.wall_at(at)) else { return };
        let name = holding.map_or_else(|| Arc::from("vault"), |holding| Arc::clone(&holding.spec.name));
        self.tell(name, told);
    }

    /// Hands a record to whoever listens, in order, as soon as the supervisor takes it.
    fn tell(&mut self, credential: Arc<str>, (what, level, words): (&'static str, tracing::Level, String)) {
        let now = self.ports.clock.now();
        self.pass_on(CredentialEntry { now, credential, what, level, words });
    }

    fn pass_on(&mut self, entry: CredentialEntry) {
        if self.untold.len() >= UNTOLD {
            tracing::warn!("a record about a credential is lost: {UNTOLD} wait for the supervisor already");
            self.untold.pop_front();
        }
        self.untold.push_back(entry);
    }

    fn id_of(&self, name: &str) -> Option<CredentialId> {
        self.holdings.iter().find(|(_, holding)| &*holding.spec.name == name).map(|(id, _)| *id)
    }

    fn next_number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    fn changed(&mut self) {
        let due = self.ports.clock.mono() + PICTURE_EVERY;
        self.picture_due = Some(self.picture_due.map_or(due, |at| at.min(due)));
    }

    fn publish_picture(&mut self) {
        self.picture_due = None;
        let picture = self.picture(self.ports.clock.now());
        self.ports.pictures.send_replace(Arc::new(picture));
    }
}

/// The policy's view of a credential.
fn spec_of(credential: &Credential) -> CredentialSpec {
    let kind = match credential.source {
        Source::Kv2 { .. } | Source::Kv1 { .. } => Kind::Stored,
        Source::Dynamic { .. } | Source::Pki { .. } => Kind::Minted,
        Source::Aws(_) | Source::Environment { .. } | Source::File { .. } | Source::Directory { .. } => Kind::Local,
    };
    CredentialSpec {
        kind,
        refresh: credential.refresh,
        warn_before: credential.warn_before,
        mints_per_hour: credential.mints_per_hour,
    }
}

/// How long it is from now to `then`, in milliseconds since 1970; zero for what is past.
fn left(now: Now, then: i64) -> Duration {
    Duration::from_millis(u64::try_from(then.saturating_sub(now.wall.0)).unwrap_or(0))
}
