//! One change to one container, as the policy ordered it: the look that precedes it, its charge, its bound, its outcome.

use std::time::Duration;

use iaso_policy::id::Instance;
use iaso_policy::input::Outcome;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::{Change, Changed, ContainerDetail, ContainerId, ContainerState, Engine, EngineError};
use crate::system::retry::Client;

/// How long the store may take to accept a charge; after that the operation is off.
const CHARGE_BOUND: Duration = Duration::from_millis(100);
/// How long the look before a change may take.
const LOOK_BOUND: Duration = Duration::from_secs(5);
/// The engine's stop grace for a container that names none.
const ENGINE_GRACE: Duration = Duration::from_secs(10);
/// What a change may take beyond the stop grace before it gives its place back.
const MARGIN: Duration = Duration::from_secs(5);

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operated {
    /// For the policy.
    pub outcome: Outcome,
    /// For people: what was found, or what the engine said.
    pub detail: String,
}

/// The container's life that a change was decided for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Which.
    pub instance: Instance,
    /// Whether it was under way, as far as was known then; else the container had exited.
    pub alive: bool,
}

impl Operated {
    fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: detail.into() }
    }
}

/// Changes `container`, if it is still in the life that the change was decided for, and that has not ended meanwhile: who
/// ended it is for the policy to learn first. Never repeats anything.
///
/// The look runs beside `charged`, which must come true within 100 ms; a life that has ended is begun anew without one, since
/// `start` harms nothing that runs. A life counts as the expected one when it began no
/// later than that: a life learned from an event carries the event's stamp, slightly later than the engine's own record.
/// `grace` is the stop grace to ask for; none leaves it to the container or the engine. A change that takes 5 s longer than
/// its grace is [`Outcome::TimedOut`]; the engine may still finish it.
pub async fn operate(
    engine: &dyn Engine,
    container: &ContainerId,
    expected: Expected,
    change: &Change,
    grace: Option<Duration>,
    charged: impl Future<Output = bool>,
) -> Operated {
    if !expected.alive && matches!(change, Change::Start | Change::Restart) {
        return start(engine, container, charged).await;
    }
    let (charged, look) = tokio::join!(timeout(CHARGE_BOUND, charged), timeout(LOOK_BOUND, engine.inspect(container)));
    if charged != Ok(true) {
        return uncharged();
    }
    let found = match look {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return refused(&error, "the look before it failed"),
        Err(_) => {
            let detail =
                format!("the engine did not answer the look before it within {LOOK_BOUND:?}; nothing was done");
            return Operated::new(Outcome::Unreachable, detail);
        }
    };
    if let Some(obstacle) = obstacle(&found, expected, change) {
        return obstacle;
    }
    let bound = grace.or(found.stop_grace).unwrap_or(ENGINE_GRACE) + MARGIN;
    answered_within(bound, timeout(bound, engine.change(container, change, grace)).await)
}

/// Lets an operation through the circuit breaker before its engine, and tells that whether the engine was reached. What is
/// wrong with one container says nothing of its engine.
pub async fn through(breaker: &Client, operation: impl Future<Output = Operated>) -> Operated {
    if let Err(wait) = breaker.admit() {
        let wait = wait.as_secs().max(1);
        let detail =
            format!("the engine was not asked: too many calls in a row had not reached it; a trial in {wait} s");
        return Operated::new(Outcome::LeftAlone, detail);
    }
    let operated = operation.await;
    breaker.ended(operated.outcome != Outcome::Unreachable);
    operated
}

/// Begins a life in place of one that has ended. A look would wait until the engine has cleaned up after the death (some
/// 70 ms), and could tell nothing that `start` does not: it does nothing to a container that runs, and says so.
async fn start(engine: &dyn Engine, container: &ContainerId, charged: impl Future<Output = bool>) -> Operated {
    if timeout(CHARGE_BOUND, charged).await != Ok(true) {
        return uncharged();
    }
    let bound = ENGINE_GRACE + MARGIN;
    match timeout(bound, engine.change(container, &Change::Start, None)).await {
        Ok(Ok(Changed::Already)) => Operated::new(Outcome::Moot, "it was started meanwhile"),
        answer => answered_within(bound, answer),
    }
}

fn answered_within(bound: Duration, answer: Result<Result<Changed, EngineError>, Elapsed>) -> Operated {
    match answer {
        Ok(answer) => answered(answer),
        Err(_) => {
            Operated::new(Outcome::TimedOut, format!("no answer within {bound:?}; the engine may still finish it"))
        }
    }
}

fn uncharged() -> Operated {
    Operated::new(Outcome::Uncharged, "the store did not take the charge in time; the engine was not asked")
}

/// What the engine's answer to the change means.
pub(crate) fn answered(answer: Result<Changed, EngineError>) -> Operated {
    match answer {
        Ok(Changed::Done) => Operated::new(Outcome::Done, "done"),
        Ok(Changed::Already) => Operated::new(Outcome::Done, "it was in that state already"),
        Ok(Changed::CommandFailed(code)) => {
            Operated::new(Outcome::CommandFailed, format!("the command ended with code {code}"))
        }
        Err(EngineError::Broken(why)) => {
            Operated::new(Outcome::TimedOut, format!("the connection broke ({why}); the engine may still finish it"))
        }
        Err(error) => refused(&error, "the engine did not do it"),
    }
}

/// Why the change must not or cannot be made to what the look found.
pub(crate) fn obstacle(found: &ContainerDetail, expected: Expected, change: &Change) -> Option<Operated> {
    let moot = |why: &str| Some(Operated::new(Outcome::Moot, why));
    if found.id.short() != expected.instance.container || found.started > expected.instance.started {
        return moot("it was started anew meanwhile");
    }
    match found.state {
        ContainerState::Paused => moot("it is paused"),
        ContainerState::Removing | ContainerState::Dead => moot("it is being removed"),
        ContainerState::Created => moot("it was never started"),
        ContainerState::Running(_) if *change == Change::Start => moot("it runs"),
        ContainerState::Exited(_) if expected.alive => moot("it ended meanwhile"),
        ContainerState::Restarting | ContainerState::Exited(_)
            if matches!(change, Change::Signal(_) | Change::Exec(_)) =>
        {
            Some(Operated::new(Outcome::Failed, "it does not run: a signal or a command cannot reach it"))
        }
        ContainerState::Running(_) | ContainerState::Restarting | ContainerState::Exited(_) => None,
    }
}

fn refused(error: &EngineError, what: &str) -> Operated {
    let outcome = match error {
        EngineError::NotRunning(_) | EngineError::Unreachable(_) | EngineError::Broken(_) => Outcome::Unreachable,
        EngineError::TimedOut(_) | EngineError::CommandGoesOn(_) => Outcome::TimedOut,
        EngineError::NotFound => Outcome::NotFound,
        EngineError::NotPermitted(_) => Outcome::NotPermitted,
        EngineError::Conflict(_)
        | EngineError::ContainerStopped
        | EngineError::ContainerPaused
        | EngineError::CannotExecute { .. }
        | EngineError::Failed { .. }
        | EngineError::Unsupported(_)
        | EngineError::Malformed(_) => Outcome::Failed,
    };
    Operated::new(outcome, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use iaso_policy::input::EngineHealth;

    use super::*;
    use crate::engine::scripted::{Call, Scripted, id, running};

    fn engine_with(state: ContainerState) -> Scripted {
        let engine = Scripted::default();
        engine.containers.lock().unwrap().insert(id('a'), ContainerDetail { state, ..running(id('a'), 100) });
        engine
    }

    fn well() -> Scripted {
        engine_with(ContainerState::Running(EngineHealth::None))
    }

    fn life(started: i64) -> Expected {
        Expected { instance: Instance { container: id('a').short(), started }, alive: true }
    }

    async fn restart(engine: &Scripted, expected: Expected) -> Outcome {
        operate(engine, &id('a'), expected, &Change::Restart, None, ready(true)).await.outcome
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_made_once_to_the_life_it_was_decided_for() {
        let engine = well();
        // Learned from an event, a life's stamp is slightly later than the engine's record.
        for expected in [life(100), life(101)] {
            assert_eq!(restart(&engine, expected).await, Outcome::Done);
        }
        assert_eq!(engine.asked.lock().unwrap().len(), 2);
        assert_eq!(restart(&engine, life(99)).await, Outcome::Moot, "a newer life");
        assert_eq!(engine.asked.lock().unwrap().len(), 2, "and the engine is not asked");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_paused_or_going_is_left_alone() {
        for state in [ContainerState::Paused, ContainerState::Removing, ContainerState::Dead, ContainerState::Created] {
            let engine = engine_with(state);
            assert_eq!(restart(&engine, life(100)).await, Outcome::Moot, "{state:?}");
            assert_eq!(*engine.asked.lock().unwrap(), [], "{state:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_since_the_decision_is_left_alone_until_it_is_known_why() {
        let engine = engine_with(ContainerState::Exited(0));
        assert_eq!(restart(&engine, life(100)).await, Outcome::Moot);
        assert_eq!(*engine.asked.lock().unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_or_a_command_needs_something_that_runs() {
        let engine = engine_with(ContainerState::Exited(1));
        let expected = Expected { alive: false, ..life(100) };
        for change in [Change::Signal(1), Change::Exec(vec!["/heal".to_owned()])] {
            let operated = operate(&engine, &id('a'), expected, &change, None, ready(true)).await;
            assert_eq!(operated.outcome, Outcome::Failed);
            assert!(operated.detail.contains("does not run"), "{}", operated.detail);
        }
        assert_eq!(restart(&engine, expected).await, Outcome::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_is_started_without_a_look_that_the_engine_would_keep_waiting() {
        let engine = engine_with(ContainerState::Exited(1));
        engine.hang(Call::Inspect(id('a')));
        let expected = Expected { alive: false, ..life(100) };
        assert_eq!(restart(&engine, expected).await, Outcome::Done);
        assert_eq!(*engine.asked.lock().unwrap(), [Change::Start], "start, for a restart would end what runs by now");
        let late = operate(&engine, &id('a'), expected, &Change::Restart, None, ready(false)).await;
        assert_eq!(late.outcome, Outcome::Uncharged);
        assert_eq!(engine.asked.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_its_charge_in_time_the_engine_is_not_asked() {
        let engine = well();
        let refused = operate(&engine, &id('a'), life(100), &Change::Restart, None, ready(false)).await;
        assert_eq!(refused.outcome, Outcome::Uncharged);
        let begun = tokio::time::Instant::now();
        let slow = operate(&engine, &id('a'), life(100), &Change::Restart, None, pending()).await;
        assert_eq!(slow.outcome, Outcome::Uncharged);
        assert_eq!(begun.elapsed(), CHARGE_BOUND);
        assert_eq!(*engine.asked.lock().unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_hangs_gives_its_place_back() {
        let engine = well();
        engine.hang(Call::Change);
        for (own, asked, bound) in [(None, None, 15), (Some(3), None, 8), (Some(3), Some(20), 25)] {
            let own = own.map(Duration::from_secs);
            engine.containers.lock().unwrap().get_mut(&id('a')).unwrap().stop_grace = own;
            let begun = tokio::time::Instant::now();
            let grace = asked.map(Duration::from_secs);
            let operated = operate(&engine, &id('a'), life(100), &Change::Stop, grace, ready(true)).await;
            assert_eq!(operated.outcome, Outcome::TimedOut);
            assert_eq!(begun.elapsed(), Duration::from_secs(bound));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_is_an_engine_out_of_reach_and_nothing_is_done() {
        let engine = well();
        engine.hang(Call::Inspect(id('a')));
        assert_eq!(restart(&engine, life(100)).await, Outcome::Unreachable);
        assert_eq!(*engine.asked.lock().unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_five_calls_did_not_reach_is_left_alone_until_a_trial_or_a_sign_of_life() {
        let breaker =
            Client::new("docker/local", crate::system::meters::Meters::new(crate::system::clock::Clock::new()));
        let engine = well();
        let restart = async || {
            through(&breaker, operate(&engine, &id('a'), life(100), &Change::Restart, None, ready(true))).await.outcome
        };
        // One container that does not let itself be stopped is not its engine.
        engine.hang(Call::Change);
        for _ in 0..7 {
            assert_eq!(restart().await, Outcome::TimedOut);
        }
        engine.release(&Call::Change);
        *engine.answer.lock().unwrap() = Some(EngineError::Unreachable("no route to host".to_owned()));
        for _ in 0..5 {
            assert_eq!(restart().await, Outcome::Unreachable);
        }
        let asked = engine.asked.lock().unwrap().len();
        assert_eq!(restart().await, Outcome::LeftAlone);
        assert_eq!(engine.asked.lock().unwrap().len(), asked);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(restart().await, Outcome::Unreachable, "the trial");
        assert_eq!(restart().await, Outcome::LeftAlone);
        *engine.answer.lock().unwrap() = None;
        breaker.answered();
        assert_eq!(restart().await, Outcome::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn each_refusal_has_its_outcome() {
        let denied = "by a proxy".to_owned();
        for (error, outcome) in [
            (EngineError::NotRunning(String::new()), Outcome::Unreachable),
            (EngineError::Broken(String::new()), Outcome::TimedOut),
            (EngineError::NotFound, Outcome::NotFound),
            (EngineError::NotPermitted(denied), Outcome::NotPermitted),
            (EngineError::Conflict(String::new()), Outcome::Failed),
            (EngineError::Failed { status: 500, message: String::new() }, Outcome::Failed),
        ] {
            let engine = well();
            *engine.answer.lock().unwrap() = Some(error);
            assert_eq!(restart(&engine, life(100)).await, outcome);
        }
        assert_eq!(restart(&Scripted::default(), life(100)).await, Outcome::NotFound);
    }
}
