//! What the store's handles and threads share: its status, its counters, and whose turn it is to write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iaso_policy::Now;
use tokio::sync::{oneshot, watch};

use super::{StoreError, StoreStatus};
use crate::system::clock::Clock;

#[derive(Debug)]
pub(super) struct Shared {
    clock: Clock,
    status: watch::Sender<StoreStatus>,
    dropped: AtomicU64,
    /// SQLite's own wait for a lock polls; connections of this process take turns here instead.
    turn: Mutex<()>,
}

impl Shared {
    /// Up, or down for the given reason.
    pub(super) fn new(clock: Clock, down: Option<String>) -> Self {
        let status = StoreStatus { up: down.is_none(), since: clock.now(), message: down };
        Self { clock, status: watch::Sender::new(status), dropped: AtomicU64::new(0), turn: Mutex::new(()) }
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(super) fn status(&self) -> watch::Receiver<StoreStatus> {
        self.status.subscribe()
    }

    pub(super) fn up(&self) {
        self.change(|status| {
            if status.up {
                return false;
            }
            tracing::info!("the store takes writes again");
            *status = StoreStatus { up: true, since: self.clock.now(), message: None };
            true
        });
    }

    pub(super) fn down(&self, message: &str) {
        self.change(|status| self.set_down(status, message));
    }

    /// Says something about a store that works.
    pub(super) fn remark(&self, message: String) {
        self.change(|status| {
            status.message = Some(message);
            true
        });
    }

    fn set_down(&self, status: &mut StoreStatus, message: &str) -> bool {
        if !status.up && status.message.as_deref() == Some(message) {
            return false;
        }
        tracing::warn!(%message, "the store is down");
        let since = if status.up { self.clock.now() } else { status.since };
        *status = StoreStatus { up: false, since, message: Some(message.to_owned()) };
        true
    }

    fn change(&self, change: impl FnOnce(&mut StoreStatus) -> bool) {
        self.status.send_if_modified(change);
    }

    pub(super) fn drop_history(&self, count: usize) {
        let before = self.dropped.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        if before == 0 && count > 0 {
            tracing::warn!("the store drops history: its queue or the disk is full");
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a charge that is on its way.
pub(super) struct Waiting(pub(super) oneshot::Receiver<Result<(), StoreError>>);

impl Waiting {
    pub(super) async fn wait(self, shared: Arc<Shared>) -> Result<(), StoreError> {
        let mut guard = Impatience { answer: Some(self.0), shared };
        let answer = match &mut guard.answer {
            Some(answer) => answer.await.unwrap_or(Err(StoreError::Closed)),
            None => Err(StoreError::Closed),
        };
        guard.answer = None;
        answer
    }
}

/// Marks the store as down when a caller stops waiting before the answer is there.
struct Impatience {
    answer: Option<oneshot::Receiver<Result<(), StoreError>>>,
    shared: Arc<Shared>,
}

impl Drop for Impatience {
    fn drop(&mut self) {
        let Some(mut answer) = self.answer.take() else { return };
        // Under the status's lock: the writer answers before it reports success there, so that a success just now is
        // either seen here, or undoes this.
        self.shared.change(|status| {
            answer.close();
            answer.try_recv().is_err() && self.shared.set_down(status, "a charge was not written in time")
        });
    }
}
