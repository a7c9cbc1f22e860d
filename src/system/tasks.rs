//! The one registry of tasks: every task has a name, is joined, and its panic is counted, never lost.
#![expect(clippy::disallowed_methods, reason = "this file owns tokio::spawn")]

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts tasks and knows which run. Clones share one registry.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// How many tasks of each name run.
    running: BTreeMap<String, u32>,
    /// How many tasks of each name have panicked.
    panics: BTreeMap<String, u64>,
}

/// A task ended by a panic; its message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub String);

impl Tasks {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when everything is asked to end.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. Its handle tells how it ended; dropping the handle leaves it running. Names are few and fixed: they
    /// become a metric's label.
    pub fn spawn<F>(&self, name: &str, future: F) -> tokio::task::JoinHandle<Result<F::Output, Panicked>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let entry = Entry::new(self.clone(), name);
        self.tracker.spawn(async move {
            let ended = AssertUnwindSafe(future).catch_unwind().await;
            ended.map_err(|panic| entry.panicked(&*panic))
        })
    }

    /// Starts a task that is made anew, after a second, whenever it panics, until it ends by itself or everything stops.
    pub fn keep<F, M>(&self, name: &str, mut make: M) -> tokio::task::JoinHandle<Result<(), Panicked>>
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (tasks, name) = (self.clone(), name.to_owned());
        let entry = Entry::new(self.clone(), &name);
        self.tracker.spawn(async move {
            while let Err(panic) = AssertUnwindSafe(make()).catch_unwind().await {
                entry.panicked(&*panic);
                tokio::select! {
                    () = tasks.stop.cancelled() => break,
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
            Ok(())
        })
    }

    /// Panics counted so far, by task name.
    pub fn panics(&self) -> BTreeMap<String, u64> {
        self.lock().panics.clone()
    }

    /// Asks every task to end and waits at most `grace`; the names of those that still run then.
    pub async fn end(&self, grace: Duration) -> Vec<String> {
        self.stop.cancel();
        self.tracker.close();
        match tokio::time::timeout(grace, self.tracker.wait()).await {
            Ok(()) => Vec::new(),
            Err(_) => self.lock().running.keys().cloned().collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running task's place in the registry, given back however it ends.
struct Entry {
    tasks: Tasks,
    name: String,
}

impl Entry {
    fn new(tasks: Tasks, name: &str) -> Self {
        *tasks.lock().running.entry(name.to_owned()).or_default() += 1;
        Self { tasks, name: name.to_owned() }
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> Panicked {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a message".to_owned());
        *self.tasks.lock().panics.entry(self.name.clone()).or_default() += 1;
        tracing::error!(task = %self.name, %message, "a task panicked");
        Panicked(message)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.tasks.lock();
        if let Some(count) = state.running.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                state.running.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn a_panic_is_returned_and_counted() {
        let tasks = Tasks::new();
        let ended = tasks.spawn("probe", async { panic!("boom {}", 1) }).await.unwrap();
        assert_eq!(ended, Err::<(), _>(Panicked("boom 1".to_owned())));
        assert_eq!(tasks.panics(), BTreeMap::from([("probe".to_owned(), 1)]));
        assert_eq!(tasks.end(Duration::from_secs(5)).await, Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_task_comes_back_after_a_panic() {
        let tasks = Tasks::new();
        let runs = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&runs);
        let handle = tasks.keep("watch", move || {
            let run = seen.fetch_add(1, Ordering::Relaxed);
            async move { assert!(run >= 2, "not yet") }
        });
        handle.await.unwrap().unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 3);
        assert_eq!(tasks.panics()["watch"], 2);
    }

    #[tokio::test(start_paused = true)]
    async fn stragglers_are_named() {
        let tasks = Tasks::new();
        tasks.spawn("stuck", std::future::pending::<()>());
        assert_eq!(tasks.end(Duration::from_secs(8)).await, ["stuck"]);
    }
}
