//! Watches one engine: its events as they happen, its full list after every gap, its silence.
//!
//! The order is subscribe, then list: what happens while the list is made is told by the events, which are held back until
//! the list is out. Any gap (the stream ends or errs, a ping fails) ends the session; the next one begins with a full list
//! again. A full list every 30 s repairs whatever else may have been missed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use iaso_policy::time::Mono;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::denied::Endpoint;
use super::{ContainerDetail, ContainerId, Engine, EngineError, EngineEvent, EngineInfo, EventAction, EventStream};
use crate::system::clock::Clock;
use crate::system::queue::Queued;
use crate::system::retry::{Client, Pacing};

/// How long an engine may take to say hello, to subscribe, to answer a ping or a look.
const ANSWER_BOUND: Duration = Duration::from_secs(5);
/// How long it may take to find out what is denied.
const DENIED_BOUND: Duration = Duration::from_secs(15);
/// How long it may take to list everything.
const LIST_BOUND: Duration = Duration::from_secs(30);
/// Between full lists.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// The silence after which it is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Between tries to reach it: from, to.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Looks that may wait at once.
const LOOKS: usize = 1024;
/// Events of a new container that may wait for the answer to what it is.
const FIRST_EVENTS: usize = 64;

/// What is learned of one engine, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The link stands, and this is everything there is.
    Up {
        /// The engine.
        info: EngineInfo,
        /// The engine itself went down since the link was last up (or since the watch began): nobody listened, or a ping
        /// sent right after an answer broke off was broken off too. A link alone that breaks, or an engine that hangs and comes
        /// back, is not that. Where a service manager holds the engine's socket open, its restart looks like a hang.
        engine_started: bool,
        /// Every container.
        containers: Vec<ContainerDetail>,
        /// When the list was asked for.
        began: Mono,
    },
    /// The periodic full list.
    Listed {
        /// Every container.
        containers: Vec<ContainerDetail>,
        /// When the list was asked for.
        began: Mono,
    },
    /// Something happened.
    Event {
        /// What.
        event: EngineEvent,
        /// When it came.
        received: Mono,
        /// For a create, start or rename: the container as it was right afterwards; none where the engine did not tell, or, but
        /// for a create, not before the container's next event.
        detail: Option<Box<ContainerDetail>>,
    },
    /// The answer to [`WatchHandle::look`].
    Looked {
        /// Which container.
        id: ContainerId,
        /// As it is; none when it is gone. A look that fails otherwise has no answer: the link is about to be given up.
        detail: Option<Box<ContainerDetail>>,
        /// When it was asked for.
        began: Mono,
    },
    /// What a proxy before the engine denies: told after each [`Update::Up`], and where it is why there is none.
    Denied(Vec<&'static Endpoint>),
    /// The link is lost, or could not be made for another reason than before.
    Down {
        /// Why.
        error: String,
    },
}

/// Asks a watch for more.
#[derive(Debug, Clone)]
pub struct WatchHandle {
    looks: mpsc::Sender<ContainerId>,
}

impl WatchHandle {
    /// Asks for a container's state now. False when 1,024 looks wait already: ask again later.
    pub fn look(&self, container: ContainerId) -> bool {
        self.looks.try_send(container).is_ok()
    }
}

/// The watch over one engine.
pub struct Watch {
    engine: Arc<dyn Engine>,
    clock: Clock,
    updates: mpsc::Sender<Queued<Update>>,
    looks: Mutex<mpsc::Receiver<ContainerId>>,
    /// Told of every sign of life.
    breaker: Option<Arc<Client>>,
}

impl Watch {
    /// A watch that tells `updates`, and the handle to ask it for more.
    pub fn new(engine: Arc<dyn Engine>, clock: Clock, updates: mpsc::Sender<Queued<Update>>) -> (Self, WatchHandle) {
        let (looks, asked) = mpsc::channel(LOOKS);
        (Self { engine, clock, updates, looks: Mutex::new(asked), breaker: None }, WatchHandle { looks })
    }

    /// The same, that closes this breaker whenever the engine gives a sign of life.
    pub fn closing(self, breaker: Arc<Client>) -> Self {
        Self { breaker: Some(breaker), ..self }
    }

    /// The engine has answered.
    fn is_well(&self) {
        if let Some(breaker) = &self.breaker {
            breaker.answered();
        }
    }

    /// Watches until nobody listens to the updates. May be dropped at any time, and run again.
    pub async fn run(&self) {
        let mut looks = self.looks.lock().await;
        let mut pacing = Pacing::new(RECONNECT.0, RECONNECT.1);
        let mut went_down = false;
        let mut told: Option<String> = None;
        loop {
            let since = self.clock.mono();
            let mut session = Session::new(self);
            let Ended::Lost(error) = session.run(&mut looks, went_down).await else { return };
            let was_up = session.held.is_none();
            let not_listening = not_running(&error);
            let text = error.to_string();
            let is_news = was_up || told.as_ref() != Some(&text);
            told = Some(text.clone());
            let tell = async { !is_news || self.updates.send(Queued::now(Update::Down { error: text })).await.is_ok() };
            // An engine may be back before the next try: whether it is gone shows at once or never.
            let (listened_to, gone) =
                tokio::join!(tell, async { matches!(error, EngineError::Broken(_)) && self.is_gone().await });
            if !listened_to {
                return;
            }
            if is_news && matches!(error, EngineError::NotPermitted(_)) {
                self.tell_denied().await;
            }
            went_down = not_listening || gone || (went_down && !was_up);
            // A link that held is made again at once; one that breaks whenever it is made is not.
            if was_up && self.clock.mono().since(since) > RECONNECT.1 {
                pacing.reset();
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(pacing.next_wait()) => {}
                () = self.updates.closed() => return,
            }
        }
    }

    /// Where a denial is why there is no link.
    async fn tell_denied(&self) {
        if let Ok(denied) = bounded(DENIED_BOUND, self.engine.denied()).await {
            // Whether anybody listens shows at the next update.
            let _ = self.updates.send(Queued::now(Update::Denied(denied))).await;
        }
    }

    /// Asked right after a link broke. An engine that is just dying may still take the call, and breaks it off.
    async fn is_gone(&self) -> bool {
        let answered = bounded(ANSWER_BOUND, self.engine.ping()).await;
        answered.is_err_and(|error| not_running(&error) || matches!(error, EngineError::Broken(_)))
    }
}

/// Whether the engine itself does not run, as far as an error can tell. A proxy in front of it answers 502 to 504 then.
fn not_running(error: &EngineError) -> bool {
    matches!(error, EngineError::NotRunning(_) | EngineError::Failed { status: 502..=504, .. })
}

/// Why a session ended.
enum Ended {
    /// The link is lost, or was never made.
    Lost(EngineError),
    /// Nobody listens to the updates any more.
    Closed,
}

impl From<EngineError> for Ended {
    fn from(error: EngineError) -> Self {
        Self::Lost(error)
    }
}

/// What was asked of the engine beside the events.
enum Answer {
    Listed { began: Mono, listed: Result<Vec<ContainerDetail>, EngineError> },
    Pinged(Result<(), EngineError>),
    Denied(Result<Vec<&'static Endpoint>, EngineError>),
    Detail { id: ContainerId, number: u64, detail: Option<Box<ContainerDetail>> },
    Looked { id: ContainerId, began: Mono, looked: Result<Box<ContainerDetail>, EngineError> },
}

/// An event that waits for its container's detail.
struct Waiting {
    number: u64,
    event: EngineEvent,
    received: Mono,
    /// What came after a creation: nobody knows yet whom it is about.
    later: Vec<(EngineEvent, Mono)>,
}

/// One unbroken link.
struct Session<'a> {
    watch: &'a Watch,
    /// Questions in flight.
    asked: FuturesUnordered<BoxFuture<'a, Answer>>,
    listing: bool,
    pinging: bool,
    /// At most one event per container waits: the next one pushes it out. A creation is not pushed out, the next ones wait
    /// behind it: a container may live and die before it can be asked for.
    waiting: HashMap<ContainerId, Waiting>,
    /// Counts waiting events, so that a late detail finds only its own.
    numbered: u64,
    /// Events that came before the first list was out; none once it is.
    held: Option<Vec<(EngineEvent, Mono)>>,
}

impl<'a> Session<'a> {
    fn new(watch: &'a Watch) -> Self {
        Self {
            watch,
            asked: FuturesUnordered::new(),
            listing: false,
            pinging: false,
            waiting: HashMap::new(),
            numbered: 0,
            held: Some(Vec::new()),
        }
    }

    async fn run(&mut self, looks: &mut mpsc::Receiver<ContainerId>, went_down: bool) -> Ended {
        match self.follow(looks, went_down).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn follow(
        &mut self,
        looks: &mut mpsc::Receiver<ContainerId>,
        went_down: bool,
    ) -> Result<std::convert::Infallible, Ended> {
        let info = bounded(ANSWER_BOUND, self.watch.engine.hello()).await?;
        self.watch.is_well();
        let mut events: EventStream = bounded(ANSWER_BOUND, self.watch.engine.events()).await?;
        let mut up = Some((info, went_down));
        self.ask_list();
        let mut lists = tokio::time::interval_at(tokio::time::Instant::now() + LIST_EVERY, LIST_EVERY);
        let mut quiet = tokio::time::interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
        loop {
            tokio::select! {
                event = events.next() => {
                    quiet.reset();
                    let event = event.unwrap_or_else(|| Err(EngineError::Broken("its event stream ended".to_owned())))?;
                    self.on_event(event, self.watch.clock.mono()).await?;
                }
                Some(answer) = self.asked.next() => self.on_answer(answer, &mut up).await?,
                Some(id) = looks.recv() => self.ask_look(id),
                _ = lists.tick() => self.ask_list(),
                _ = quiet.tick() => self.ask_ping(),
                () = self.watch.updates.closed() => return Err(Ended::Closed),
            }
        }
    }

    async fn on_event(&mut self, event: EngineEvent, received: Mono) -> Result<(), Ended> {
        if let Some(held) = &mut self.held {
            held.push((event, received));
            return Ok(());
        }
        if let Some(created) = self.waiting.get_mut(&event.container)
            && created.event.action == EventAction::Create
            && created.later.len() < FIRST_EVENTS
        {
            created.later.push((event, received));
            return Ok(());
        }
        if let Some(earlier) = self.waiting.remove(&event.container) {
            self.tell_bare(earlier).await?;
        }
        if matches!(event.action, EventAction::Create | EventAction::Start | EventAction::Rename) {
            self.numbered += 1;
            let (id, number) = (event.container.clone(), self.numbered);
            self.waiting.insert(id.clone(), Waiting { number, event, received, later: Vec::new() });
            let engine = &self.watch.engine;
            self.ask(async move {
                let detail = bounded(ANSWER_BOUND, engine.inspect(&id)).await.ok().map(Box::new);
                Answer::Detail { id, number, detail }
            });
            return Ok(());
        }
        self.tell(Update::Event { event, received, detail: None }).await
    }

    async fn on_answer(&mut self, answer: Answer, up: &mut Option<(EngineInfo, bool)>) -> Result<(), Ended> {
        match answer {
            Answer::Listed { began, listed } => {
                self.listing = false;
                match (listed, up.take()) {
                    (Ok(containers), Some((info, engine_started))) => {
                        self.tell(Update::Up { info, engine_started, containers, began }).await?;
                        for (event, received) in self.held.take().unwrap_or_default() {
                            self.on_event(event, received).await?;
                        }
                        self.ask_denied();
                        Ok(())
                    }
                    (Ok(containers), None) => self.tell(Update::Listed { containers, began }).await,
                    (Err(error), Some(_)) => Err(error.into()),
                    (Err(error), None) => {
                        // The events go on; whether the link does is for the ping to say.
                        tracing::warn!(%error, "the engine's list of containers failed");
                        self.ask_ping();
                        Ok(())
                    }
                }
            }
            Answer::Pinged(answered) => {
                self.pinging = false;
                answered?;
                self.watch.is_well();
                Ok(())
            }
            Answer::Denied(Ok(denied)) => self.tell(Update::Denied(denied)).await,
            // The next session asks again; whether this one holds is for the ping to say.
            Answer::Denied(Err(_)) => Ok(()),
            Answer::Detail { id, number, detail } => {
                if self.waiting.get(&id).is_none_or(|waiting| waiting.number != number) {
                    return Ok(());
                }
                let Some(waited) = self.waiting.remove(&id) else { return Ok(()) };
                if detail.is_none() {
                    return self.tell_bare(waited).await;
                }
                let Waiting { event, received, later, .. } = waited;
                self.tell(Update::Event { event, received, detail }).await?;
                for (event, received) in later {
                    self.on_event(event, received).await?;
                }
                Ok(())
            }
            Answer::Looked { id, began, looked } => match looked {
                Ok(detail) => self.tell(Update::Looked { id, detail: Some(detail), began }).await,
                Err(EngineError::NotFound) => self.tell(Update::Looked { id, detail: None, began }).await,
                Err(_) => {
                    self.ask_ping();
                    Ok(())
                }
            },
        }
    }

    fn ask_list(&mut self) {
        if std::mem::replace(&mut self.listing, true) {
            return;
        }
        let (engine, began) = (&self.watch.engine, self.watch.clock.mono());
        self.ask(async move { Answer::Listed { began, listed: bounded(LIST_BOUND, engine.list()).await } });
    }

    fn ask_denied(&mut self) {
        let engine = &self.watch.engine;
        self.ask(async move { Answer::Denied(bounded(DENIED_BOUND, engine.denied()).await) });
    }

    fn ask_ping(&mut self) {
        if std::mem::replace(&mut self.pinging, true) {
            return;
        }
        let engine = &self.watch.engine;
        self.ask(async move { Answer::Pinged(bounded(ANSWER_BOUND, engine.ping()).await) });
    }

    fn ask_look(&mut self, id: ContainerId) {
        let (engine, began) = (&self.watch.engine, self.watch.clock.mono());
        self.ask(async move {
            let looked = bounded(ANSWER_BOUND, engine.inspect(&id)).await.map(Box::new);
            Answer::Looked { id, began, looked }
        });
    }

    fn ask(&mut self, question: impl Future<Output = Answer> + Send + 'a) {
        self.asked.push(question.boxed());
    }

    /// Tells of events about whose container nothing is known, or nothing in time.
    async fn tell_bare(&mut self, waited: Waiting) -> Result<(), Ended> {
        let first = (waited.event, waited.received);
        for (event, received) in std::iter::once(first).chain(waited.later) {
            // It may have another address now, and the one before may be somebody else's.
            let started = (event.action == EventAction::Start).then(|| event.container.clone());
            self.tell(Update::Event { event, received, detail: None }).await?;
            started.into_iter().for_each(|id| self.ask_look(id));
        }
        Ok(())
    }

    async fn tell(&mut self, update: Update) -> Result<(), Ended> {
        self.watch.updates.send(Queued::now(update)).await.map_err(|_| Ended::Closed)
    }
}

async fn bounded<T>(bound: Duration, call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    timeout(bound, call).await.unwrap_or(Err(EngineError::TimedOut(bound)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scripted::{Call, Scripted, event, id, running};

    struct Watched {
        engine: Arc<Scripted>,
        updates: mpsc::Receiver<Queued<Update>>,
        handle: WatchHandle,
        _tasks: crate::system::tasks::Tasks,
    }

    impl Watched {
        fn over(engine: Scripted) -> Self {
            let engine = Arc::new(engine);
            let (told, updates) = mpsc::channel(16);
            let (watch, handle) = Watch::new(Arc::clone(&engine) as Arc<dyn Engine>, Clock::new(), told);
            let tasks = crate::system::tasks::Tasks::new();
            tasks.spawn("watch", async move { watch.run().await });
            Self { engine, updates, handle, _tasks: tasks }
        }

        /// Over an engine with the containers `a` and `b`, up already.
        async fn up() -> Self {
            let engine = Scripted::default();
            for digit in ['a', 'b'] {
                engine.containers.lock().unwrap().insert(id(digit), running(id(digit), 100));
            }
            let mut watched = Self::over(engine);
            assert!(
                matches!(watched.next().await, Update::Up { engine_started: false, containers, .. } if containers.len() == 2)
            );
            watched
        }

        /// The next update, but for the word after each [`Update::Up`] that nothing is denied.
        async fn next(&mut self) -> Update {
            loop {
                match self.updates.recv().await.unwrap().what {
                    Update::Denied(denied) => assert!(denied.is_empty()),
                    update => return update,
                }
            }
        }

        /// The next event: whose, what, and whether it came with detail.
        async fn next_event(&mut self) -> (ContainerId, EventAction, bool) {
            loop {
                match self.next().await {
                    Update::Event { event, detail, .. } => return (event.container, event.action, detail.is_some()),
                    // Of what started and could not be asked for.
                    Update::Looked { detail: None, .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_die_is_told_while_another_containers_inspect_hangs() {
        let mut watched = Watched::up().await;
        watched.engine.hang(Call::Inspect(id('a')));
        watched.engine.tell(event(id('a'), EventAction::Start));
        watched.engine.tell(event(id('b'), EventAction::Die(1)));
        let begun = tokio::time::Instant::now();
        assert_eq!(watched.next_event().await, (id('b'), EventAction::Die(1), false));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(watched.next_event().await, (id('a'), EventAction::Start, false));
        assert_eq!(begun.elapsed(), ANSWER_BOUND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_containers_events_keep_their_order() {
        let mut watched = Watched::up().await;
        watched.engine.hang(Call::Inspect(id('a')));
        for action in [EventAction::Start, EventAction::Die(1), EventAction::Start, EventAction::Die(2)] {
            watched.engine.tell(event(id('a'), action));
        }
        for action in [EventAction::Start, EventAction::Die(1), EventAction::Start, EventAction::Die(2)] {
            assert_eq!(watched.next_event().await, (id('a'), action, false));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_comes_with_the_container_as_it_is() {
        let mut watched = Watched::up().await;
        watched.engine.tell(event(id('a'), EventAction::Start));
        assert_eq!(watched.next_event().await, (id('a'), EventAction::Start, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_without_the_container_is_followed_by_a_look() {
        let mut watched = Watched::up().await;
        let call = Call::Inspect(id('a'));
        watched.engine.hang(call.clone());
        watched.engine.tell(event(id('a'), EventAction::Start));
        watched.engine.tell(event(id('a'), EventAction::Kill(1)));
        assert_eq!(watched.next_event().await, (id('a'), EventAction::Start, false));
        watched.engine.release(&call);
        assert_eq!(watched.next_event().await, (id('a'), EventAction::Kill(1), false));
        let looked = timeout(ANSWER_BOUND, watched.next()).await.expect("long before the next list");
        assert!(matches!(looked, Update::Looked { id: seen, detail: Some(_), .. } if seen == id('a')), "a look");
    }

    /// A whole life, from a container that nobody has heard of before.
    const BRIEF: [EventAction; 3] = [EventAction::Create, EventAction::Start, EventAction::Die(9)];

    #[tokio::test(start_paused = true)]
    async fn a_life_that_is_over_before_the_first_answer_is_told_whole_after_it() {
        let mut watched = Watched::up().await;
        let died = ContainerDetail { state: super::super::ContainerState::Exited(9), ..running(id('c'), 100) };
        watched.engine.containers.lock().unwrap().insert(id('c'), died);
        watched.engine.hang(Call::Inspect(id('c')));
        for action in BRIEF {
            watched.engine.tell(event(id('c'), action));
        }
        watched.engine.tell(event(id('b'), EventAction::Die(1)));
        assert_eq!(watched.next_event().await, (id('b'), EventAction::Die(1), false), "others do not wait");
        assert!(watched.updates.is_empty(), "held back");
        watched.engine.release(&Call::Inspect(id('c')));
        assert_eq!(watched.next_event().await, (id('c'), EventAction::Create, true));
        assert_eq!(watched.next_event().await, (id('c'), EventAction::Start, false), "its die was there already");
        assert_eq!(watched.next_event().await, (id('c'), EventAction::Die(9), false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_that_is_over_after_the_first_answer_is_told_as_it_happens() {
        let mut watched = Watched::up().await;
        watched.engine.containers.lock().unwrap().insert(id('c'), running(id('c'), 100));
        for (action, with_detail) in BRIEF.into_iter().zip([true, true, false]) {
            watched.engine.tell(event(id('c'), action));
            assert_eq!(watched.next_event().await, (id('c'), action, with_detail));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_gone_or_cannot_be_asked_for_is_waited_for_no_longer_than_an_answer() {
        let mut watched = Watched::up().await;
        for hangs in [false, true] {
            if hangs {
                watched.engine.hang(Call::Inspect(id('c')));
            }
            let begun = tokio::time::Instant::now();
            for action in BRIEF {
                watched.engine.tell(event(id('c'), action));
            }
            for action in BRIEF {
                assert_eq!(watched.next_event().await, (id('c'), action, false));
            }
            assert_eq!(begun.elapsed(), if hangs { ANSWER_BOUND } else { Duration::ZERO });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_events_wait_for_one_answer() {
        let mut watched = Watched::up().await;
        watched.engine.hang(Call::Inspect(id('c')));
        watched.engine.tell(event(id('c'), EventAction::Create));
        let begun = tokio::time::Instant::now();
        for _ in 0..=FIRST_EVENTS {
            watched.engine.tell(event(id('c'), EventAction::Kill(1)));
        }
        assert_eq!(watched.next_event().await, (id('c'), EventAction::Create, false));
        for _ in 0..=FIRST_EVENTS {
            assert_eq!(watched.next_event().await, (id('c'), EventAction::Kill(1), false));
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_while_the_first_list_is_made_is_told_after_it() {
        let engine = Scripted::default();
        engine.hang(Call::List);
        let mut watched = Watched::over(engine);
        tokio::time::sleep(Duration::from_secs(1)).await;
        watched.engine.tell(event(id('a'), EventAction::Die(1)));
        watched.engine.tell(event(id('b'), EventAction::Die(2)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(watched.updates.is_empty(), "held back");
        watched.engine.release(&Call::List);
        assert!(matches!(watched.next().await, Update::Up { .. }));
        assert_eq!(watched.next_event().await, (id('a'), EventAction::Die(1), false));
        assert_eq!(watched.next_event().await, (id('b'), EventAction::Die(2), false));
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_never_lists_is_not_up() {
        let engine = Scripted::default();
        engine.hang(Call::List);
        let mut watched = Watched::over(engine);
        assert!(matches!(watched.next().await, Update::Down { error } if error.contains("did not answer")));
        watched.engine.release(&Call::List);
        assert!(matches!(watched.next().await, Update::Up { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_hangs_is_down_and_not_started_anew_when_it_comes_back() {
        let mut watched = Watched::up().await;
        watched.engine.hang(Call::Ping);
        let begun = tokio::time::Instant::now();
        assert!(matches!(watched.next().await, Update::Down { error } if error.contains("did not answer")));
        assert_eq!(begun.elapsed(), PING_EVERY + ANSWER_BOUND);
        watched.engine.release(&Call::Ping);
        assert!(matches!(watched.next().await, Update::Up { engine_started: false, .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_hangs_and_then_breaks_off_has_gone_down() {
        let mut watched = Watched::up().await;
        watched.engine.hang(Call::Ping);
        assert!(matches!(watched.next().await, Update::Down { error } if error.contains("did not answer")));
        *watched.engine.hello.lock().unwrap() = Some(EngineError::Broken("reset".to_owned()));
        watched.engine.release(&Call::Ping);
        assert!(matches!(watched.next().await, Update::Down { error } if error.contains("reset")));
        *watched.engine.hello.lock().unwrap() = None;
        assert!(matches!(watched.next().await, Update::Up { engine_started: true, .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_life_closes_the_breaker_at_once() {
        let engine = Arc::new(Scripted::default());
        let (told, mut updates) = mpsc::channel(16);
        let (watch, _handle) = Watch::new(Arc::clone(&engine) as Arc<dyn Engine>, Clock::new(), told);
        let breaker = Arc::new(Client::new("docker/local", crate::system::meters::Meters::new(Clock::new())));
        let watch = watch.closing(Arc::clone(&breaker));
        let tasks = crate::system::tasks::Tasks::new();
        tasks.spawn("watch", async move { watch.run().await });
        while !matches!(updates.recv().await.unwrap().what, Update::Denied(_)) {}
        (0..5).for_each(|_| breaker.ended(false));
        assert!(breaker.admit().is_err());
        let begun = tokio::time::Instant::now();
        while breaker.admit().is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(begun.elapsed() <= PING_EVERY + Duration::from_secs(1), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_did_not_listen_has_started_anew() {
        let mut watched = Watched::up().await;
        *watched.engine.hello.lock().unwrap() = Some(EngineError::NotRunning("refused".to_owned()));
        watched.engine.end_events();
        assert!(matches!(watched.next().await, Update::Down { error } if error.contains("stream ended")));
        assert!(matches!(watched.next().await, Update::Down { error } if error.contains("not running")));
        tokio::time::sleep(Duration::from_secs(60)).await;
        *watched.engine.hello.lock().unwrap() = None;
        assert!(
            matches!(watched.next().await, Update::Up { engine_started: true, .. }),
            "and told once, not at each try"
        );
        let tries = *watched.engine.hellos.lock().unwrap();
        assert!((10..30).contains(&tries), "{tries} tries in a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_broke_is_not_an_engine_that_started() {
        let mut watched = Watched::up().await;
        watched.engine.end_events();
        assert!(matches!(watched.next().await, Update::Down { .. }));
        assert!(matches!(watched.next().await, Update::Up { engine_started: false, .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_list_comes_every_half_minute_and_its_failure_is_not_the_links() {
        let mut watched = Watched::up().await;
        let begun = tokio::time::Instant::now();
        assert!(matches!(watched.next().await, Update::Listed { containers, .. } if containers.len() == 2));
        assert_eq!(begun.elapsed(), LIST_EVERY);
        watched.engine.hang(Call::List);
        tokio::time::sleep(LIST_EVERY + LIST_BOUND * 2).await;
        watched.engine.tell(event(id('a'), EventAction::Die(1)));
        assert_eq!(watched.next_event().await.1, EventAction::Die(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_tells_what_is_or_that_nothing_is() {
        let mut watched = Watched::up().await;
        for (digit, there) in [('a', true), ('c', false)] {
            assert!(watched.handle.look(id(digit)));
            match watched.next().await {
                Update::Looked { id: whose, detail, .. } => assert_eq!((whose, detail.is_some()), (id(digit), there)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_nobody_listens() {
        let engine = Arc::new(Scripted::default());
        *engine.hello.lock().unwrap() = Some(EngineError::NotRunning("missing".to_owned()));
        let (told, updates) = mpsc::channel(16);
        let (watch, _handle) = Watch::new(engine, Clock::new(), told);
        drop(updates);
        watch.run().await;
    }
}
