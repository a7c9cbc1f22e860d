//! The simulated world behind the engine's trait, in the runtime's own time: real in a demonstration without an engine,
//! paused in tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::world::{Happening, Reach, Ticket, World};
use crate::config::secret::Secret;
use crate::engine::{
    Change, Changed, ContainerDetail, ContainerId, Engine, EngineError, EngineEvent, EngineInfo, EventStream,
    ExecOutput,
};

/// The world's time zero lies at this object's making. Clones share one world.
#[derive(Debug, Clone)]
pub struct SimEngine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// The world's present at `started`.
    offset_ms: i64,
    /// Held for the length of a step, never across an await.
    state: Mutex<State>,
    /// Told whenever something may have happened other than by time passing.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    world: World,
    /// What each open stream has not read yet; it ends after `None`.
    streams: BTreeMap<u64, VecDeque<Option<EngineEvent>>>,
    streams_opened: u64,
    answers: BTreeMap<Ticket, Result<Changed, EngineError>>,
    /// Changes whose askers still wait.
    awaited: Vec<Ticket>,
}

impl SimEngine {
    /// Lets `world` live from its present on, as time passes on the runtime's clock.
    ///
    /// # Panics
    /// Nowhere by itself; its calls need a Tokio runtime with time.
    pub fn new(world: World) -> Self {
        let offset_ms = world.now();
        let state =
            State { world, streams: BTreeMap::new(), streams_opened: 0, answers: BTreeMap::new(), awaited: Vec::new() };
        let (state, changed) = (Mutex::new(state), Notify::new());
        Self { shared: Arc::new(Shared { started: Instant::now(), offset_ms, state, changed }) }
    }

    /// Reads or changes the world as it is now: for what people do to it, for its faults, and for the truth.
    pub fn with_world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut state = self.shared.catch_up();
        let result = act(&mut state.world);
        drop(state);
        self.shared.changed.notify_waiters();
        result
    }

    /// Waits until the engine answers a question asked now, then asks it.
    async fn ask<T>(&self, question: impl FnOnce(&World) -> T) -> Result<T, EngineError> {
        let asked = self.shared.wait_for(|state| match state.world.reach() {
            Reach::After(ms) => Some(Ok(span(ms))),
            Reach::Refused => Some(Err(EngineError::Unreachable("the simulated engine is down".to_owned()))),
            Reach::Hangs => None,
        });
        let latency = asked.await?;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        Ok(question(&self.shared.catch_up().world))
    }
}

fn span(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

impl Shared {
    /// Carries the world on to this moment and hands out what happened.
    fn catch_up(&self) -> MutexGuard<'_, State> {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mut happened = Vec::new();
        state.world.advance(self.offset_ms.saturating_add(elapsed), &mut happened);
        for event in happened {
            match event.what {
                Happening::Event(event) => {
                    state.streams.values_mut().for_each(|queue| queue.push_back(Some(event.clone())));
                }
                Happening::StreamsEnded => state.streams.values_mut().for_each(|queue| queue.push_back(None)),
                Happening::EngineUp => {}
                Happening::Answered { ticket, result } => {
                    if let Some(place) = state.awaited.iter().position(|awaited| *awaited == ticket) {
                        state.awaited.swap_remove(place);
                        state.answers.insert(ticket, result);
                    }
                }
            }
        }
        guard
    }

    /// Waits until `look` finds something, looking again whenever the world has moved.
    async fn wait_for<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            // Made before the look: what changes after it wakes this.
            let changed = self.changed.notified();
            let next_due = {
                let mut state = self.catch_up();
                if let Some(found) = look(&mut state) {
                    return found;
                }
                state.world.next_due()
            };
            match next_due {
                Some(due) => {
                    let at = self.started + span(due.saturating_sub(self.offset_ms));
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = changed => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    fn open_stream(&self) -> u64 {
        let mut state = self.catch_up();
        state.streams_opened += 1;
        let number = state.streams_opened;
        state.streams.insert(number, VecDeque::new());
        number
    }
}

impl Engine for SimEngine {
    fn hello(&self) -> BoxFuture<'_, Result<EngineInfo, EngineError>> {
        Box::pin(self.ask(|_| EngineInfo {
            version: "simulated".to_owned(),
            api: (1, 41),
            id: Some("SIMULATED".to_owned()),
            data_root: None,
        }))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(self.ask(|_| ()))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ContainerDetail>, EngineError>> {
        Box::pin(self.ask(World::list))
    }

    fn inspect<'a>(&'a self, container: &'a ContainerId) -> BoxFuture<'a, Result<ContainerDetail, EngineError>> {
        Box::pin(async { self.ask(|world| world.inspect(container.short())).await?.ok_or(EngineError::NotFound) })
    }

    fn events(&self) -> BoxFuture<'_, Result<EventStream, EngineError>> {
        Box::pin(async {
            self.ask(|_| ()).await?;
            let open = OpenStream { number: self.shared.open_stream(), shared: Arc::clone(&self.shared) };
            Ok(stream::unfold(open, |open| async { open.next().await.map(|event| (Ok(event), open)) }).boxed())
        })
    }

    fn change<'a>(
        &'a self,
        container: &'a ContainerId,
        change: &'a Change,
        grace: Option<Duration>,
    ) -> BoxFuture<'a, Result<Changed, EngineError>> {
        Box::pin(async move {
            let ticket = {
                let mut state = self.shared.catch_up();
                let ticket = state.world.begin_change(container.short(), change, grace);
                state.awaited.push(ticket);
                ticket
            };
            self.shared.changed.notify_waiters();
            let asked = Asked { ticket, shared: &self.shared };
            self.shared.wait_for(|state| state.answers.remove(&asked.ticket)).await
        })
    }

    fn exec<'a>(
        &'a self,
        container: &'a ContainerId,
        command: &'a [String],
        bound: Duration,
    ) -> BoxFuture<'a, Result<ExecOutput, EngineError>> {
        Box::pin(async move {
            let run = async {
                let output = self.ask(|world| world.exec(container.short(), command)).await??;
                match command.first().map(String::as_str) {
                    Some("sleep") => std::future::pending().await,
                    _ => Ok(output),
                }
            };
            tokio::time::timeout(bound, run).await.unwrap_or(Err(EngineError::CommandGoesOn(bound)))
        })
    }

    fn exec_with_input<'a>(
        &'a self,
        container: &'a ContainerId,
        command: &'a [String],
        input: &'a Secret,
        bound: Duration,
    ) -> BoxFuture<'a, Result<ExecOutput, EngineError>> {
        Box::pin(async move {
            let ran = self.exec(container, command, bound).await?;
            // The one command of this world that reads.
            let reads = command.first().is_some_and(|program| program == "cat");
            Ok(if reads { ExecOutput { output: end_of(input.expose()), ..ran } } else { ran })
        })
    }

    fn logs<'a>(&'a self, container: &'a ContainerId, lines: u16) -> BoxFuture<'a, Result<String, EngineError>> {
        Box::pin(
            async move { self.ask(|world| world.logs(container.short(), lines)).await?.ok_or(EngineError::NotFound) },
        )
    }
}

/// The part of a command's output that an engine keeps.
fn end_of(output: &str) -> String {
    let bytes = &output.as_bytes()[output.len().saturating_sub(16 << 10)..];
    String::from_utf8_lossy(bytes).into_owned()
}

/// A stream's place in the world, given back when it is dropped.
struct OpenStream {
    number: u64,
    shared: Arc<Shared>,
}

impl OpenStream {
    async fn next(&self) -> Option<EngineEvent> {
        self.shared.wait_for(|state| state.streams.get_mut(&self.number)?.pop_front()).await
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.streams.remove(&self.number);
    }
}

/// Somebody waits for an answer, until this is dropped. The change goes on without them.
struct Asked<'a> {
    ticket: Ticket,
    shared: &'a Shared,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.awaited.retain(|ticket| *ticket != self.ticket);
        state.answers.remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ContainerState, EventAction};
    use crate::sim::script::{Ailment, ContainerScript, Lives, OnStop};
    use crate::sim::world::{Act, Fault};
    use EventAction::{Die, Kill, Pause, Restart, Start, Stop};

    fn engine_with(script: ContainerScript) -> (SimEngine, ContainerId) {
        let mut world = World::new(1);
        let id = world.add(script);
        (SimEngine::new(world), id)
    }

    async fn read(events: &mut EventStream, count: usize) -> Vec<EventAction> {
        events.by_ref().take(count).map(|event| event.unwrap().action).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_takes_its_time_and_every_stream_sees_it() {
        let (engine, id) = engine_with(ContainerScript::new("web"));
        let mut all = engine.events().await.unwrap();
        let began = Instant::now();
        assert_eq!(engine.change(&id, &Change::Restart, None).await, Ok(Changed::Done));
        assert_eq!(began.elapsed(), Duration::from_millis(405));
        assert_eq!(read(&mut all, 5).await, [Kill(15), Die(0), Stop, Start, Restart]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_is_heard_when_it_is_due() {
        let crash = Ailment::Exits { code: 3, after_ms: 90_000, lives: Lives::First(1) };
        let (engine, id) = engine_with(ContainerScript::new("job").ailment(crash));
        let began = Instant::now();
        assert_eq!(read(&mut engine.events().await.unwrap(), 1).await, [Die(3)]);
        assert_eq!(began.elapsed(), Duration::from_secs(90));
        assert_eq!(engine.list().await.unwrap()[0].state, ContainerState::Exited(3));
        assert_eq!(engine.change(&id, &Change::Start, None).await, Ok(Changed::Done));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_person_does_wakes_who_listens() {
        let (engine, _) = engine_with(ContainerScript::new("web"));
        let mut events = engine.events().await.unwrap();
        let listening = read(&mut events, 1);
        let acting = async {
            tokio::task::yield_now().await;
            engine.with_world(|world| world.person("web", &Act::Pause)).unwrap();
        };
        assert_eq!(tokio::join!(listening, acting).0, [Pause]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_is_down_refuses_and_ends_its_streams() {
        let (engine, id) = engine_with(ContainerScript::new("web"));
        let mut events = engine.events().await.unwrap();
        let listening = async {
            let mut seen = Vec::new();
            while let Some(event) = events.next().await {
                seen.push(event.unwrap().action);
            }
            seen
        };
        let failing = async {
            tokio::task::yield_now().await;
            engine.with_world(|world| world.fault(Fault::Shutdown { down_ms: 60_000 }));
        };
        assert_eq!(tokio::join!(listening, failing).0, [Kill(15), Die(0), Stop]);
        assert!(matches!(engine.list().await, Err(EngineError::Unreachable(_))));
        assert!(matches!(engine.hello().await, Err(EngineError::Unreachable(_))));
        assert!(matches!(engine.change(&id, &Change::Start, None).await, Err(EngineError::Unreachable(_))));
        assert!(matches!(engine.events().await.map(|_| ()), Err(EngineError::Unreachable(_))));
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(engine.list().await.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_engine_answers_nothing_until_it_thaws() {
        let (engine, id) = engine_with(ContainerScript::new("web"));
        engine.with_world(|world| world.fault(Fault::Hang { for_ms: 30_000 }));
        let limit = Duration::from_secs(20);
        assert!(tokio::time::timeout(limit, engine.list()).await.is_err());
        assert!(engine.list().await.is_ok());
        assert!(engine.inspect(&id).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_on_a_change_leaves_nothing_behind() {
        let mut script = ContainerScript::new("stuck");
        script.on_stop = OnStop::Stuck;
        let (engine, id) = engine_with(script);
        let limit = Duration::from_secs(3_600);
        assert!(tokio::time::timeout(limit, engine.change(&id, &Change::Restart, None)).await.is_err());
        drop(engine.events());
        let state = engine.shared.catch_up();
        assert!(state.awaited.is_empty() && state.answers.is_empty() && state.streams.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_lives_in_real_time_too() {
        let (engine, id) = engine_with(ContainerScript::new("web"));
        let mut events = engine.events().await.unwrap();
        let (seen, changed) = tokio::join!(
            async {
                events.by_ref().skip_while(|e| std::future::ready(e.as_ref().unwrap().action != Restart)).next().await
            },
            async {
                engine.with_world(|world| world.fault(Fault::SlowAnswers { by_ms: 50, for_ms: 60_000 }));
                engine.change(&id, &Change::Restart, None).await
            }
        );
        assert_eq!((seen.unwrap().unwrap().action, changed), (Restart, Ok(Changed::Done)));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_come_late() {
        let (engine, id) = engine_with(ContainerScript::new("web"));
        engine.with_world(|world| world.fault(Fault::SlowAnswers { by_ms: 800, for_ms: 60_000 }));
        let began = Instant::now();
        assert!(engine.logs(&id, 5).await.unwrap().contains("planted"));
        assert_eq!(began.elapsed(), Duration::from_millis(800));
    }
}
