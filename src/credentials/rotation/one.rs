//! The rotation of one credential: the policy's actions in their order, one call at a time.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iaso_policy::Now;
use iaso_policy::credential::rotation::{Action, Answer, Input, Order, Outcome, Rolled, Rotation, Side, Spec, State};
use iaso_policy::id::CredentialId;
use iaso_policy::time::Mono;
use tokio::time::sleep;

use super::carry::{Hand, Heard, Seen, fields_of};
use super::journal::{self, Found, Values};
use super::{Fact, InUse, Setup, Wanted, words};
use crate::config::secret::Secret;
use crate::config::validated::{Apply, Credential};
use crate::credentials::provider::Fields;
use crate::credentials::vault::Vault;
use crate::rollouts::{CredentialEntry, RolledOut};
use crate::snapshot::RotationStatus;

/// From one trial to read or to write a journal to the next. Until that is done nothing else is.
pub(super) const DISK: Duration = Duration::from_secs(30);

/// What is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    Nothing,
    /// A call of this folder's.
    Call,
    /// [`Fact::Published`].
    Publish,
    /// [`Fact::RolledOut`].
    RollOut,
    /// [`Fact::Undone`].
    Undo,
}

/// What came of a call.
pub(super) enum Landed {
    /// The journal is on disk.
    Kept,
    Looked(Heard, Option<Seen>),
    Made(Heard, Option<Fields>),
    /// The marks are set, as well as they can be; now it is to be rendered.
    MarkedForPublish {
        side: Side,
        version: u64,
        outcome: Outcome,
        words: Option<String>,
    },
    Other(Heard),
}

/// The rotation of one credential.
pub(super) struct One {
    id: CredentialId,
    hand: Hand,
    /// What it is by the newest configuration; none: nothing any more.
    wanted: Option<(Arc<Credential>, Arc<Vault>)>,
    rotation: Rotation,
    queue: VecDeque<Action>,
    flight: Flight,
    values: Values,
    seen: Option<Seen>,
    given: Option<Secret>,
    /// Why the last call brought nothing better, without any value.
    last_words: Option<String>,
}

impl One {
    /// Goes on from what was found of its journal.
    ///
    /// # Errors
    /// In words, when the journal cannot be looked at now.
    pub(super) fn recover(
        id: CredentialId,
        setup: Arc<Setup>,
        credential: Arc<Credential>,
        vault: Arc<Vault>,
        found: Found,
        wanted: &mut VecDeque<Wanted>,
    ) -> Result<Self, String> {
        let now = setup.clock.now();
        let (state, values) = match found {
            Found::Nothing => (None, Values::default()),
            Found::Journal(state, values) => (Some(state), values),
            Found::PutAside(state, why) => {
                let level = tracing::Level::ERROR;
                let (credential, words) =
                    (Arc::clone(&credential.name), format!("a rotation's journal was lost: {why}"));
                wanted.push_back(Wanted::Told(CredentialEntry { now, credential, what: "rotation", level, words }));
                (Some(state), Values::default())
            }
            Found::Unreadable(why) => return Err(why),
        };
        let mut seed = DefaultHasher::new();
        credential.name.hash(&mut seed);
        let mut out = Vec::new();
        let rotation = Rotation::restore(spec(&credential), seed.finish(), state, now, &mut out);
        let wanted = Some((Arc::clone(&credential), Arc::clone(&vault)));
        let hand = Hand { setup, vault, credential };
        let (queue, flight) = (out.into(), Flight::Nothing);
        Ok(Self { id, hand, wanted, rotation, queue, flight, values, seen: None, given: None, last_words: None })
    }

    pub(super) const fn id(&self) -> CredentialId {
        self.id
    }

    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(&self.hand.credential.name)
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.hand.credential
    }

    pub(super) fn is_configured(&self) -> bool {
        self.hand.credential.rotation.is_some()
    }

    /// Nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.rotation.is_idle() && self.queue.is_empty() && self.flight == Flight::Nothing
    }

    /// Time may move it: nothing else is being done.
    pub(super) fn is_ready(&self) -> bool {
        self.queue.is_empty() && self.flight == Flight::Nothing
    }

    pub(super) const fn is_unwanted(&self) -> bool {
        self.wanted.is_none()
    }

    pub(super) fn next_deadline(&self, now: Now) -> Option<Mono> {
        self.rotation.next_deadline(now)
    }

    pub(super) fn redefine(&mut self, wanted: Option<(Arc<Credential>, Arc<Vault>)>) {
        self.wanted = wanted;
        self.take_definition();
    }

    fn take_definition(&mut self) {
        if let Some((credential, vault)) = &self.wanted
            && self.is_idle()
            && self.rotation.redefine(spec(credential))
        {
            (self.hand.credential, self.hand.vault) = (Arc::clone(credential), Arc::clone(vault));
        }
    }

    pub(super) fn tick(&mut self, now: Now, may_begin: bool) {
        self.step(now, Input::Tick { may_begin });
    }

    pub(super) fn order(&mut self, order: Order, given: Option<Secret>) -> Answer {
        let mut out = Vec::new();
        let answer = self.rotation.order(self.hand.setup.clock.now(), order, &mut out);
        if answer == Answer::Taken && given.is_some() {
            self.given = given;
        }
        // A rollout is the one call that is not waited for to its end.
        if self.flight == Flight::RollOut && !out.is_empty() {
            self.flight = Flight::Nothing;
        }
        self.queue.extend(out);
        answer
    }

    pub(super) fn fact(&mut self, fact: Fact) {
        let (input, words) = match (fact, self.flight) {
            (Fact::Published(Ok(())), Flight::Publish) => (Input::Published(Outcome::Done), None),
            (Fact::Published(Err(words)), Flight::Publish) => (Input::Published(Outcome::Refused), Some(words)),
            (Fact::RolledOut(ended), Flight::RollOut) => {
                let (rolled, words) = rolled(&ended);
                (Input::RolledOut(rolled), words)
            }
            (Fact::Undone(ended), Flight::Undo) => {
                let (rolled, words) = rolled(&ended);
                (Input::Undone(rolled), words)
            }
            _ => return,
        };
        self.hear(Heard { input, words });
    }

    /// Begins the next call, when there is one to begin.
    pub(super) fn take_off(&mut self, wanted: &mut VecDeque<Wanted>) -> Option<BoxFuture<'static, Landed>> {
        while self.flight == Flight::Nothing {
            let Some(action) = self.queue.pop_front() else {
                self.take_definition();
                return None;
            };
            let hand = self.hand.clone();
            let values = self.values.clone();
            let call = match action {
                Action::Tell(event) => {
                    wanted.push_back(Wanted::Told(words::entry(
                        self.hand.setup.clock.now(),
                        self.name(),
                        event,
                        self.last_words.as_deref(),
                    )));
                    continue;
                }
                Action::Settle => {
                    wanted.push_back(Wanted::Settle { credential: self.name() });
                    continue;
                }
                Action::RollOut { published } => {
                    self.flight = Flight::RollOut;
                    wanted.push_back(Wanted::RollOut { credential: self.name(), published });
                    continue;
                }
                Action::Undo => {
                    self.flight = Flight::Undo;
                    wanted.push_back(Wanted::Undo { credential: self.name() });
                    continue;
                }
                Action::Journal(state) => {
                    if state.run.is_none() {
                        self.values = Values::default();
                    }
                    keep(hand, *state, values).boxed()
                }
                Action::Look => async move {
                    let (heard, seen) = hand.look().await;
                    Landed::Looked(heard, seen)
                }
                .boxed(),
                Action::Make { origin, .. } => {
                    let (seen, given) = (self.seen.clone(), self.given.take());
                    async move {
                        let (heard, fields) = hand.make(origin, seen, given).await;
                        Landed::Made(heard, fields)
                    }
                    .boxed()
                }
                Action::Store { side, cas } => {
                    async move { Landed::Other(hand.store(&values, side, cas).await) }.boxed()
                }
                Action::Mark { current, pending } => async move {
                    let (outcome, words) = hand.mark(current, None, Some(pending)).await;
                    Landed::Other(Heard { input: Input::Marked(outcome), words })
                }
                .boxed(),
                Action::Apply(side) => async move { Landed::Other(hand.apply(&values, side).await) }.boxed(),
                Action::Try(side) => async move { Landed::Other(hand.try_value(&values, side).await) }.boxed(),
                Action::Publish { side, version } => {
                    let before = self.rotation.state().run.filter(|_| side == Side::New).map(|run| run.base);
                    async move {
                        let (outcome, words) = hand.mark(version, before, None).await;
                        Landed::MarkedForPublish { side, version, outcome, words }
                    }
                    .boxed()
                }
                Action::Retire => async move { Landed::Other(hand.retire(&values).await) }.boxed(),
            };
            self.flight = Flight::Call;
            return Some(call);
        }
        None
    }

    pub(super) fn land(&mut self, landed: Landed, wanted: &mut VecDeque<Wanted>) {
        self.flight = Flight::Nothing;
        match landed {
            Landed::Kept => {}
            Landed::Looked(heard, seen) => {
                if self.rotation.state().run.is_none()
                    && let Some(seen) = seen
                {
                    self.values = Values { old: seen.fields.clone(), new: None };
                    self.seen = Some(seen);
                }
                self.hear(heard);
            }
            Landed::Made(heard, fields) => {
                self.values.new = fields;
                self.hear(heard);
            }
            // Without the marks others know less; that is no reason to stop halfway.
            Landed::MarkedForPublish { side, version, outcome: Outcome::Done | Outcome::Refused, words } => {
                if let Some(why) = words {
                    wanted.push_back(Wanted::Told(words::unmarked(self.hand.setup.clock.now(), self.name(), &why)));
                }
                match fields_of(&self.values, side).cloned() {
                    Some(fields) => {
                        self.flight = Flight::Publish;
                        wanted.push_back(Wanted::Publish { credential: self.name(), version, fields });
                    }
                    None => self.hear(Heard { input: Input::Published(Outcome::Refused), words: None }),
                }
            }
            Landed::MarkedForPublish { outcome, words, .. } => {
                self.hear(Heard { input: Input::Published(outcome), words });
            }
            Landed::Other(heard) => self.hear(heard),
        }
    }

    fn hear(&mut self, heard: Heard) {
        self.flight = Flight::Nothing;
        self.last_words = heard.words;
        self.step(self.hand.setup.clock.now(), heard.input);
    }

    fn step(&mut self, now: Now, input: Input) {
        let mut out = Vec::new();
        self.rotation.step(now, input, &mut out);
        self.queue.extend(out);
    }

    pub(super) fn in_use(&self) -> Option<InUse<'_>> {
        let (side, version) = self.rotation.state().run?.in_use();
        Some(InUse { version, fields: fields_of(&self.values, side) })
    }

    pub(super) fn status(&self) -> Option<RotationStatus> {
        let state = self.rotation.state();
        if !self.is_configured() && state.last.is_none() && state.run.is_none() && state.halt.is_none() {
            return None;
        }
        let now = self.hand.setup.clock.now();
        let next = match (state.run, state.halt) {
            (None, None) => self.rotation.due(now).map(|due| now.at(due).wall.0),
            _ => None,
        };
        let waits = self.last_words.as_ref().filter(|_| state.run.is_some() && self.rotation.is_held());
        let last = waits.cloned().or_else(|| state.last.map(|(ending, _)| words::ending(ending)));
        Some(RotationStatus {
            step: state.run.map_or("idle", |run| run.step.name()),
            since: state.run.map_or_else(|| state.last.map_or(state.settled, |(_, ended)| ended), |run| run.since),
            next,
            last: state.halt.map(|halt| halt.words().to_owned()).or(last),
            needs_a_person: state.halt.is_some(),
        })
    }
}

/// Writes the journal, however often that takes.
async fn keep(hand: Hand, state: State, values: Values) -> Landed {
    loop {
        let (setup, name) = (Arc::clone(&hand.setup), Arc::clone(&hand.credential.name));
        let (state, values) = (state.clone(), values.clone());
        let write = move || journal::save(&setup.folder, &name, &setup.sealer, &state, &values);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => return Landed::Kept,
            Ok(Err(why)) => {
                tracing::warn!(credential = %hand.credential.name, "a rotation waits for its journal: {why}");
            }
            Err(_) => tracing::warn!(credential = %hand.credential.name, "writing a rotation's journal panicked"),
        }
        sleep(DISK).await;
    }
}

fn rolled(ended: &RolledOut) -> (Rolled, Option<String>) {
    match ended {
        RolledOut::Done => (Rolled::Done, None),
        RolledOut::Left { service } => {
            (Rolled::Left, Some(format!("{service} runs and is to be left alone: it goes on with the other value")))
        }
        RolledOut::Failed { service } => (Rolled::Failed, Some(format!("{service} did not become healthy"))),
        RolledOut::Refused { why } => (Rolled::Refused, Some(format!("it may not be rolled out: {why}"))),
        RolledOut::Replaced => (Rolled::Replaced, None),
    }
}

/// What the policy needs to know of a credential's definition.
fn spec(credential: &Credential) -> Spec {
    let rotation = credential.rotation.as_ref();
    Spec {
        every: rotation.and_then(|rotation| rotation.every),
        apply: rotation.is_some_and(|rotation| matches!(rotation.apply, Apply::Call(_))),
        verify: rotation.is_some_and(|rotation| rotation.verify.is_some()),
        retire: rotation.is_some_and(|rotation| rotation.retire.is_some()),
        grace: rotation.map_or(Duration::ZERO, |rotation| rotation.grace),
        retry: rotation.map_or(Duration::ZERO, |rotation| rotation.retry),
        per_hour: credential.mints_per_hour,
    }
}
