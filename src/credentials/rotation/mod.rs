//! Rotations carried out: the policy's [`Rotation`] decides each step, this folder keeps its journal, speaks to the store and to
//! the service that checks the value, and asks its owner, the credentials task, for the rest ([`Wanted`]).

mod call;
mod carry;
mod journal;
mod one;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use iaso_policy::Now;
use iaso_policy::credential::rotation::{Answer, Order, Turns};
use iaso_policy::id::CredentialId;
use tokio::time::sleep;

pub use self::call::{NotRun, Services};
use self::journal::Found;
use self::one::{Landed, One};
use crate::config::secret::Secret;
use crate::config::validated::{Credential, Source};
use crate::credentials::provider::Fields;
use crate::credentials::seal::Sealer;
use crate::credentials::vault::Vault;
use crate::orders::{CredentialOrder, CredentialReply};
use crate::rollouts::{CredentialEntry, RolledOut};
use crate::snapshot::RotationStatus;
use crate::system::clock::Clock;
use crate::system::resolver::Resolver;

/// What rotations work with.
pub struct Setup {
    /// Where the journals are: `rotation` in the data directory.
    pub folder: PathBuf,
    /// Seals the values in them.
    pub sealer: Arc<Sealer>,
    /// The containers.
    pub services: Arc<dyn Services>,
    /// For HTTP calls.
    pub resolver: Resolver,
    /// The time.
    pub clock: Clock,
    /// Whether two credentials may not be rotated side by side: they share a service, or services that need each other.
    pub together: fn(&Credential, &Credential) -> bool,
}

/// Why nothing is begun of a credential whose journal cannot be read.
const HELD: &str = "its rotation waits until its journal can be read";

/// Reads a journal beside the tasks.
async fn look(setup: Arc<Setup>, name: Arc<str>) -> Found {
    let read = move || journal::load(&setup.folder, &name, &setup.sealer, setup.clock.now());
    let panicked = |error: tokio::task::JoinError| Found::Unreadable(error.to_string());
    tokio::task::spawn_blocking(read).await.unwrap_or_else(panicked)
}

/// Whether two credentials have a service in common.
pub fn share_a_service(one: &Credential, other: &Credential) -> bool {
    one.services.iter().any(|service| other.services.contains(service))
}

/// What the credentials task does for a rotation.
#[derive(Debug)]
pub enum Wanted {
    /// Render these fields as this version, and read no other until the next such wish or until the rotation is over. To render
    /// what is rendered changes nothing. Answered by [`Fact::Published`].
    Publish {
        /// Of which credential.
        credential: Arc<str>,
        /// Its version.
        version: u64,
        /// Its data.
        fields: Fields,
    },
    /// Have the services learn of it, so that it can be undone. Answered by [`Fact::RolledOut`]; at once with
    /// [`RolledOut::Done`], where they need not be told.
    RollOut {
        /// Of which credential.
        credential: Arc<str>,
        /// When it was published: the same is asked for again after a restart of Iaso, and a container that was started
        /// after this moment has learned of it.
        published: Now,
    },
    /// Undo that; where nothing is known of it any more, roll out what is published now. Answered by [`Fact::Undone`]. A
    /// rollout that has not ended has no answer any more.
    Undo {
        /// Of which credential.
        credential: Arc<str>,
    },
    /// It stays. No answer.
    Settle {
        /// Of which credential.
        credential: Arc<str>,
    },
    /// Pass it on to all who listen. No answer.
    Told(CredentialEntry),
}

/// The answer to a wish.
#[derive(Debug)]
pub enum Fact {
    /// It is rendered, or why not, in words without any value.
    Published(Result<(), String>),
    /// How the rollout ended.
    RolledOut(RolledOut),
    /// How its undoing ended.
    Undone(RolledOut),
}

/// What a rotation that is under way has published: in use until the next [`Wanted::Publish`].
#[derive(Debug, Clone, Copy)]
pub struct InUse<'r> {
    /// The version.
    pub version: u64,
    /// The data; none where there was nothing before.
    pub fields: Option<&'r Fields>,
}

/// The rotations of all credentials that are kept in versions (KV v2), whether or not one is configured: values are set by
/// hand and put back through the same steps.
pub struct Rotations {
    setup: Arc<Setup>,
    ones: BTreeMap<Arc<str>, One>,
    numbered: u32,
    turns: Turns,
    flights: FuturesUnordered<BoxFuture<'static, (Arc<str>, Landed)>>,
    wanted: VecDeque<Wanted>,
    /// Those whose journals cannot be read now: whether anything is under way is not known, so nothing is begun.
    unread: BTreeMap<Arc<str>, Unread>,
    late: FuturesUnordered<BoxFuture<'static, (Arc<str>, Found)>>,
}

/// A credential whose journal cannot be read now.
struct Unread {
    credential: Arc<Credential>,
    vault: Arc<Vault>,
    since: Now,
    why: String,
}

impl Rotations {
    /// Reads the journals and goes on with what was under way. Nothing is sent before [`Rotations::next`].
    pub async fn recover(setup: Setup, credentials: &[Arc<Credential>], vault: Option<&Arc<Vault>>) -> Self {
        let mut rotations = Self {
            setup: Arc::new(setup),
            ones: BTreeMap::new(),
            numbered: 0,
            turns: Turns::default(),
            flights: FuturesUnordered::new(),
            wanted: VecDeque::new(),
            unread: BTreeMap::new(),
            late: FuturesUnordered::new(),
        };
        rotations.replace(credentials, vault).await;
        rotations
    }

    /// Takes another configuration. What is under way goes on by its old definition until it is over.
    pub async fn replace(&mut self, credentials: &[Arc<Credential>], vault: Option<&Arc<Vault>>) {
        for one in self.ones.values_mut() {
            one.redefine(None);
        }
        let Some(vault) = vault else { return self.sweep() };
        for credential in credentials.iter().filter(|credential| matches!(credential.source, Source::Kv2 { .. })) {
            match self.ones.get_mut(&credential.name) {
                Some(one) => one.redefine(Some((Arc::clone(credential), Arc::clone(vault)))),
                None => {
                    let found = look(Arc::clone(&self.setup), Arc::clone(&credential.name)).await;
                    self.enter(Arc::clone(credential), Arc::clone(vault), found);
                }
            }
        }
        self.sweep();
    }

    /// Takes on a credential, or tries to read its journal again later.
    fn enter(&mut self, credential: Arc<Credential>, vault: Arc<Vault>, found: Found) {
        let name = Arc::clone(&credential.name);
        let now = self.setup.clock.now();
        let id = CredentialId(self.numbered);
        let (setup, taken) = (Arc::clone(&self.setup), (Arc::clone(&credential), Arc::clone(&vault)));
        let before = self.unread.remove(&name);
        let told = |words: String| {
            let (credential, level) = (Arc::clone(&name), tracing::Level::WARN);
            Wanted::Told(CredentialEntry { now, credential, what: "rotation", level, words })
        };
        match One::recover(id, setup, taken.0, taken.1, found, &mut self.wanted) {
            Ok(one) => {
                self.numbered += 1;
                if !one.is_idle() {
                    self.turns.keep(id);
                }
                if before.is_some() {
                    self.wanted.push_back(told("the journal of its rotations was read at last".to_owned()));
                }
                self.ones.insert(name, one);
            }
            Err(why) => {
                if before.is_none() {
                    self.wanted.push_back(told(format!("{HELD}: {why}")));
                }
                let since = before.map_or(now, |before| before.since);
                let (setup, again) = (Arc::clone(&self.setup), Arc::clone(&name));
                self.unread.insert(name, Unread { credential, vault, since, why });
                self.late.push(Box::pin(async move {
                    sleep(one::DISK).await;
                    (Arc::clone(&again), look(setup, again).await)
                }));
            }
        }
    }

    /// Whether its journal cannot be read now.
    pub fn is_unread(&self, credential: &str) -> bool {
        self.unread.contains_key(credential)
    }

    /// The next thing to do for a rotation. Rotations go on only while this is waited for; it may be given up at any point.
    pub async fn next(&mut self) -> Wanted {
        loop {
            self.pump();
            if let Some(wanted) = self.wanted.pop_front() {
                return wanted;
            }
            let now = self.setup.clock.now();
            let wait = self.deadline(now);
            tokio::select! {
                Some((name, landed)) = self.flights.next(), if !self.flights.is_empty() => {
                    if let Some(one) = self.ones.get_mut(&name) {
                        one.land(landed, &mut self.wanted);
                    }
                }
                Some((name, found)) = self.late.next(), if !self.late.is_empty() => {
                    if let Some(Unread { credential, vault, .. }) = self.unread.get(&name) {
                        let (credential, vault) = (Arc::clone(credential), Arc::clone(vault));
                        self.enter(credential, vault, found);
                    }
                }
                () = async { match wait { Some(wait) => sleep(wait).await, None => std::future::pending().await } } => {
                    self.tick();
                }
            }
        }
    }

    /// Takes the answer to a wish. One that nobody waits for any more changes nothing.
    pub fn fact(&mut self, credential: &str, fact: Fact) {
        if let Some(one) = self.ones.get_mut(credential) {
            one.fact(fact);
        }
    }

    /// Takes a person's order; [`CredentialOrder::Refresh`] is none for rotations.
    pub fn order(&mut self, credential: &str, order: CredentialOrder) -> CredentialReply {
        if let Some(Unread { why, .. }) = self.unread.get(credential) {
            return CredentialReply::Refused(format!("{HELD}: {why}"));
        }
        let Some(name) = self.ones.get(credential).map(One::name) else {
            return CredentialReply::Refused(
                "only secrets of a KV engine of version 2 can be rotated or set".to_owned(),
            );
        };
        let (order, given) = match order {
            CredentialOrder::Plan => return self.plan(&name),
            CredentialOrder::Refresh => return CredentialReply::Refused("this is no matter of rotations".to_owned()),
            CredentialOrder::Rotate => (Order::Rotate, None),
            CredentialOrder::Rollback => (Order::Rollback, None),
            CredentialOrder::Set(value) => (Order::Set, Some(value)),
        };
        self.order_one(&name, order, given)
    }

    fn order_one(&mut self, name: &str, order: Order, given: Option<Secret>) -> CredentialReply {
        let refused = |why: &str| CredentialReply::Refused(why.to_owned());
        let Some(one) = self.ones.get(name) else { return CredentialReply::NoSuchCredential };
        if order == Order::Rotate && !one.is_configured() {
            return refused("it has no [rotation]");
        }
        if one.is_idle()
            && let Err(other) = self.take_turn(name)
        {
            return CredentialReply::Refused(format!(
                "{other} is being rotated: one at a time where services are shared"
            ));
        }
        let Some(one) = self.ones.get_mut(name) else { return CredentialReply::NoSuchCredential };
        match one.order(order, given) {
            Answer::Taken => CredentialReply::Taken(words::taken(order).to_owned()),
            Answer::Busy => refused("a rotation of it is under way"),
            Answer::TooLate => {
                refused("it is too late for that: the rotation can only go on as it does; set a value by hand")
            }
        }
    }

    fn plan(&self, name: &str) -> CredentialReply {
        let Some(one) = self.ones.get(name) else { return CredentialReply::NoSuchCredential };
        CredentialReply::Planned(words::plan(one.credential(), one.status().as_ref()))
    }

    /// What is in use of a credential whose rotation is under way, or may be: no data then. As long as there is such, reads of it are neither rendered
    /// nor rolled out.
    pub fn in_use(&self, credential: &str) -> Option<InUse<'_>> {
        if self.is_unread(credential) {
            return Some(InUse { version: 0, fields: None });
        }
        self.ones.get(credential)?.in_use()
    }

    /// Where the rotation of a credential stands; none: it has none, and none was ordered.
    pub fn status(&self, credential: &str) -> Option<RotationStatus> {
        if let Some(Unread { since, why, .. }) = self.unread.get(credential) {
            let last = Some(format!("{HELD}: {why}"));
            return Some(RotationStatus { step: "idle", since: *since, next: None, last, needs_a_person: false });
        }
        self.ones.get(credential)?.status()
    }

    /// Begins what can begin, and lets go of what is over.
    fn pump(&mut self) {
        for (name, one) in &mut self.ones {
            if let Some(flight) = one.take_off(&mut self.wanted) {
                let name = Arc::clone(name);
                self.flights.push(Box::pin(async move { (name, flight.await) }));
            }
        }
        self.sweep();
    }

    /// What is over gives its turn back; what is also no longer configured is forgotten. Its journal stays.
    fn sweep(&mut self) {
        let turns = &mut self.turns;
        self.ones.retain(|_, one| {
            if one.is_idle() {
                turns.give_back(one.id());
            }
            !(one.is_idle() && one.is_unwanted())
        });
    }

    /// None: nothing waits for time.
    fn deadline(&self, now: Now) -> Option<std::time::Duration> {
        // Whose turn it is costs a look at all others: only those are asked about that wait for time.
        let ready = self.ones.values().filter(|one| one.is_ready());
        let waiting = ready.filter_map(|one| one.next_deadline(now).map(|deadline| (one, deadline)));
        let mine = waiting.filter(|(one, _)| !one.is_idle() || self.may_begin(one));
        let deadline = mine.map(|(_, deadline)| deadline).min()?;
        Some(deadline.since(now.mono))
    }

    fn tick(&mut self) {
        let now = self.setup.clock.now();
        let due = |one: &One| one.is_ready() && one.next_deadline(now).is_some_and(|deadline| deadline <= now.mono);
        let due: Vec<Arc<str>> =
            self.ones.iter().filter(|(_, one)| due(one)).map(|(name, _)| Arc::clone(name)).collect();
        for name in due {
            let idle = self.ones.get(&name).is_some_and(One::is_idle);
            let may_begin = idle && self.take_turn(&name).is_ok();
            if let Some(one) = self.ones.get_mut(&name) {
                one.tick(now, may_begin);
            }
        }
    }

    fn may_begin(&self, one: &One) -> bool {
        self.turns.clone().take(one.id(), |a, b| self.together(a, b)).is_ok()
    }

    /// # Errors
    /// With the name of the one that is under way.
    fn take_turn(&mut self, name: &str) -> Result<(), Arc<str>> {
        let Some(id) = self.ones.get(name).map(One::id) else { return Ok(()) };
        let mut turns = std::mem::take(&mut self.turns);
        let taken = turns.take(id, |a, b| self.together(a, b));
        self.turns = turns;
        let other = |other: CredentialId| self.ones.values().find(|one| one.id() == other).map(One::name);
        taken.map_err(|id| other(id).unwrap_or_else(|| Arc::from("another")))
    }

    fn together(&self, a: CredentialId, b: CredentialId) -> bool {
        let by_id = |id| self.ones.values().find(|one| one.id() == id).map(One::credential);
        by_id(a).zip(by_id(b)).is_some_and(|(a, b)| (self.setup.together)(a, b))
    }
}
