//! When to ask a foreign system again, and when to leave it alone. The only user of the `backoff` crate.
//!
//! Every call to a foreign system goes through its [`Client`], and nothing below or above that tries again. Exempt are probes
//! and the event stream: a probe that is retried hides a failure.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backoff::backoff::Backoff;
use backoff::exponential::ExponentialBackoff;
use iaso_policy::time::Mono;
use tokio::time::{sleep, timeout};

use super::meters::{Breaker, Meters};

/// How often a call is tried that may be repeated.
const TRIES: u32 = 3;
/// The wait before the second try.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Calls that failed in a row after which the circuit breaker opens.
const FAILURES: u32 = 5;
/// How long an open breaker lets no call through; then one, to try.
const TRIAL: Duration = Duration::from_secs(60);

/// One foreign system, as everyone who calls it shares it: who may call it now, how often, and for how long.
pub struct Client {
    name: String,
    circuit: Mutex<Circuit>,
    born: tokio::time::Instant,
    meters: Meters,
}

/// Whether a call may be made again when nobody knows what the first one did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice is as good as once, or better than not at all.
    Allowed,
    /// What mints or changes something: it is tried once.
    Never,
}

/// Why one try failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault<E> {
    /// It may pass: the system is down, overloaded or out of reach.
    Passing(E),
    /// It will not: the system is well and refused the call.
    Lasting(E),
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E: fmt::Display> {
    /// The system was not asked: its circuit breaker is open.
    #[error("not asked, since it failed {FAILURES} times in a row; the next trial may be in {} s", wait.as_secs().max(1))]
    Open {
        /// Until a trial may be made.
        wait: Duration,
    },
    /// The time for all tries is over.
    #[error("no answer within {total:?}{}", last.as_ref().map(|last| format!("; before that: {last}")).unwrap_or_default())]
    TimedOut {
        /// That time.
        total: Duration,
        /// How the last try that ended failed.
        last: Option<E>,
    },
    /// The last try failed.
    #[error("{error}{}", if *tries > 1 { format!(" ({tries} tries)") } else { String::new() })]
    Failed {
        /// How many there were.
        tries: u32,
        /// How.
        error: E,
    },
}

impl Client {
    /// A system that nobody has called yet. Names are few and fixed: they become a metric's label.
    pub fn new(name: &str, meters: Meters) -> Self {
        meters.breaker(name, Breaker::Closed);
        let circuit = Mutex::new(Circuit::default());
        Self { name: name.to_owned(), circuit, born: tokio::time::Instant::now(), meters }
    }

    /// Calls the system: `try_once` up to three times where that is allowed, with growing waits between, all within `total`.
    ///
    /// # Errors
    /// When the breaker is open, the time is over, or the last try failed. Each call that failed counts for the breaker, except where the
    /// system refused it in good health.
    pub async fn call<T, E, F>(
        &self,
        total: Duration,
        repeat: Repeat,
        mut try_once: impl FnMut() -> F,
    ) -> Result<T, CallError<E>>
    where
        E: fmt::Display,
        F: Future<Output = Result<T, Fault<E>>>,
    {
        self.admit().map_err(|wait| CallError::Open { wait })?;
        let mut last = None;
        let mut tries = 0;
        let (begun, mut pacing) = (tokio::time::Instant::now(), Pacing::new(FIRST_WAIT, LONGEST_WAIT));
        let tried = timeout(total, async {
            loop {
                tries += 1;
                let ended = try_once().await;
                let wait = pacing.next_wait();
                let again = repeat == Repeat::Allowed && tries < TRIES && begun.elapsed() + wait < total;
                match ended {
                    Err(Fault::Passing(error)) if again => last = Some(error),
                    ended => return ended,
                }
                sleep(wait).await;
            }
        })
        .await;
        let is_well = matches!(tried, Ok(Ok(_) | Err(Fault::Lasting(_))));
        self.ended(is_well);
        match tried {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Fault::Passing(error) | Fault::Lasting(error))) => Err(CallError::Failed { tries, error }),
            Err(_) => Err(CallError::TimedOut { total, last }),
        }
    }

    /// For a call that its caller makes and bounds: whether it may be made now. How it ended is for [`Self::ended`] to hear.
    ///
    /// # Errors
    /// When the breaker is open: until a trial may be made.
    pub fn admit(&self) -> Result<(), Duration> {
        self.turn(Circuit::admit)
    }

    /// A call that was admitted has ended, and the system was well or not.
    pub fn ended(&self, is_well: bool) {
        self.turn(|circuit, now| if is_well { circuit.succeeded() } else { circuit.failed(now) });
    }

    /// The system has shown in another way that it is well: calls go through again at once.
    pub fn answered(&self) {
        self.turn(|circuit, _| circuit.succeeded());
    }

    /// Moves the breaker, and tells the metrics where it stands then.
    fn turn<R>(&self, turn: impl FnOnce(&mut Circuit, Mono) -> R) -> R {
        let mut circuit = self.lock();
        let before = circuit.state();
        let now = Mono(self.born.elapsed().as_millis().try_into().unwrap_or(i64::MAX));
        let result = turn(&mut circuit, now);
        let after = circuit.state();
        if after != before {
            self.meters.breaker(&self.name, after);
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The circuit breaker's rules, without a clock.
#[derive(Debug, Default)]
struct Circuit {
    /// Calls that failed in a row.
    failures: u32,
    /// When the next trial may be made; none while it is closed.
    trial_at: Option<Mono>,
    /// A trial is under way. One that never ends is followed by the next when that is due.
    trying: bool,
}

impl Circuit {
    /// Whether a call may be made now; otherwise how long not.
    fn admit(&mut self, now: Mono) -> Result<(), Duration> {
        match self.trial_at {
            Some(at) if at > now => return Err(at.since(now)),
            Some(_) => (self.trial_at, self.trying) = (Some(now + TRIAL), true),
            None => {}
        }
        Ok(())
    }

    fn succeeded(&mut self) {
        *self = Self::default();
    }

    fn failed(&mut self, now: Mono) {
        self.failures = self.failures.saturating_add(1);
        self.trying = false;
        if self.failures >= FAILURES {
            self.trial_at = Some(now + TRIAL);
        }
    }

    const fn state(&self) -> Breaker {
        match (self.trial_at, self.trying) {
            (None, _) => Breaker::Closed,
            (Some(_), false) => Breaker::Open,
            (Some(_), true) => Breaker::HalfOpen,
        }
    }
}

/// Growing waits between tries, without an end: doubling, each varied by up to 10 %, never over the cap.
#[derive(Debug)]
pub struct Pacing(ExponentialBackoff<TokioClock>);

impl Pacing {
    /// From `base`, doubling, up to `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self(ExponentialBackoff {
            current_interval: base,
            initial_interval: base,
            randomization_factor: 0.1,
            multiplier: 2.0,
            max_interval: cap,
            start_time: TokioClock.now_std(),
            // The crate gives up after 15 minutes by default; what we watch may be away for a night.
            max_elapsed_time: None,
            clock: TokioClock,
        })
    }

    /// The wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let cap = self.0.max_interval;
        // The crate varies a wait after capping it.
        self.0.next_backoff().unwrap_or(cap).min(cap)
    }

    /// The next wait is the first again: a try succeeded.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// Tokio's clock, which tests can pause.
#[derive(Debug)]
struct TokioClock;

impl TokioClock {
    fn now_std(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl backoff::Clock for TokioClock {
    fn now(&self) -> Instant {
        self.now_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_begin_anew_after_a_success() {
        let (base, cap) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut pacing = Pacing::new(base, cap);
        for expected in [100, 200, 400, 800] {
            let wait = pacing.next_wait().as_millis();
            assert!((expected * 9 / 10..=expected * 11 / 10).contains(&wait), "{wait} for {expected}");
        }
        for _ in 0..1000 {
            let wait = pacing.next_wait();
            assert!(wait <= cap && wait >= cap.mul_f64(0.89), "{wait:?}");
        }
        pacing.reset();
        assert!(pacing.next_wait() <= base.mul_f64(1.1));
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_gives_up() {
        let mut pacing = Pacing::new(Duration::from_secs(1), Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert!(pacing.next_wait() > Duration::ZERO);
    }

    const FAILING: Fault<&str> = Fault::Passing("status 503");

    fn client() -> (Client, Meters) {
        let meters = Meters::new(crate::system::clock::Clock::new());
        (Client::new("it", meters.clone()), meters)
    }

    /// A call of which each try ends as `answers` says, and how many tries there were.
    async fn called<E: fmt::Display + Clone>(
        client: &Client,
        repeat: Repeat,
        answers: &[Result<(), Fault<E>>],
    ) -> (Result<(), CallError<E>>, usize) {
        let mut tries = 0;
        let ended = client
            .call(Duration::from_secs(120), repeat, || {
                tries += 1;
                let answer = answers[(tries - 1).min(answers.len() - 1)].clone();
                async { answer }
            })
            .await;
        (ended, tries)
    }

    #[test]
    fn five_failures_open_the_breaker_and_a_trial_comes_after_a_minute() {
        let mut circuit = Circuit::default();
        for at in 0..4 {
            assert_eq!(circuit.admit(Mono(at)), Ok(()));
            circuit.failed(Mono(at));
        }
        assert_eq!(circuit.state(), Breaker::Closed);
        circuit.failed(Mono(4));
        assert_eq!(circuit.state(), Breaker::Open);
        assert_eq!(circuit.admit(Mono(5)), Err(Duration::from_millis(59_999)));
        assert_eq!(circuit.admit(Mono(60_004)), Ok(()));
        assert_eq!(circuit.state(), Breaker::HalfOpen);
        assert_eq!(circuit.admit(Mono(60_005)), Err(Duration::from_millis(59_999)), "one trial at a time");
        circuit.failed(Mono(70_000));
        assert_eq!((circuit.state(), circuit.admit(Mono(129_999)).is_err()), (Breaker::Open, true));
        assert_eq!(circuit.admit(Mono(130_000)), Ok(()));
        assert_eq!(circuit.admit(Mono(190_000)), Ok(()), "a trial that never ended is followed by another");
        circuit.succeeded();
        assert_eq!((circuit.state(), circuit.admit(Mono(190_001))), (Breaker::Closed, Ok(())));
        circuit.failed(Mono(190_002));
        assert_eq!(circuit.state(), Breaker::Closed, "failures are counted in a row");
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_repeated_is_tried_three_times_with_growing_waits() {
        let (client, _) = client();
        let begun = tokio::time::Instant::now();
        let (ended, tries) = called(&client, Repeat::Allowed, &[Err(FAILING)]).await;
        assert_eq!(ended, Err(CallError::Failed { tries: 3, error: "status 503" }));
        assert_eq!(ended.unwrap_err().to_string(), "status 503 (3 tries)");
        let took = begun.elapsed().as_millis();
        assert!(tries == 3 && (2700..=3300).contains(&took), "{tries} tries, 1 s and 2 s between: {took} ms");
        assert_eq!(called(&client, Repeat::Allowed, &[Err(FAILING), Ok(())]).await, (Ok(()), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_mints_or_is_refused_is_tried_once() {
        let (client, _) = client();
        assert_eq!(called(&client, Repeat::Never, &[Err(FAILING)]).await.1, 1);
        let refused = Fault::Lasting("status 404");
        assert_eq!(called(&client, Repeat::Allowed, &[Err(refused)]).await.1, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_time_covers_every_try() {
        let (client, _) = client();
        let total = Duration::from_secs(2);
        let never = client.call(total, Repeat::Allowed, std::future::pending::<Result<(), Fault<&str>>>).await;
        assert_eq!(never.unwrap_err().to_string(), "no answer within 2s");
        let mut tries = 0;
        let stuck = client.call(total, Repeat::Allowed, || {
            tries += 1;
            async move { if tries == 1 { Err(FAILING) } else { std::future::pending::<Result<(), _>>().await } }
        });
        assert_eq!(stuck.await.unwrap_err().to_string(), "no answer within 2s; before that: status 503");
        let begun = tokio::time::Instant::now();
        let failing = client.call(total, Repeat::Allowed, || async { Err::<(), _>(FAILING) }).await;
        assert_eq!(failing.unwrap_err().to_string(), "status 503 (2 tries)", "the third would come too late");
        assert!(begun.elapsed() < total, "so it is not waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_system_that_fails_is_left_alone_and_tried_again() {
        let (client, meters) = client();
        let state = || meters.readings().breakers["it"];
        let refused = Fault::Lasting("status 404");
        for _ in 0..10 {
            let _ = called(&client, Repeat::Never, &[Err(refused.clone())]).await;
        }
        assert_eq!(state(), Breaker::Closed, "a refusal is an answer");
        for _ in 0..5 {
            let _ = called(&client, Repeat::Never, &[Err(FAILING)]).await;
        }
        assert_eq!(state(), Breaker::Open);
        let (ended, tries) = called(&client, Repeat::Allowed, &[Ok::<_, Fault<&str>>(())]).await;
        assert_eq!(tries, 0, "it is not asked");
        let Err(CallError::Open { wait }) = ended else { panic!("{ended:?}") };
        sleep(wait).await;
        let trial = client.call(TRIAL, Repeat::Never, || async {
            assert_eq!(state(), Breaker::HalfOpen);
            Ok::<_, Fault<&str>>(())
        });
        assert_eq!(trial.await, Ok(()));
        assert_eq!(state(), Breaker::Closed);
    }
}
