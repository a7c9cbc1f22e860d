//! What waits in a bounded queue.

use super::clock::Arrival;

/// Something on its way, and when it was ready to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued<T> {
    /// What.
    pub what: T,
    /// Since when it waits, for room in the queue too.
    pub since: Arrival,
}

impl<T> Queued<T> {
    /// From now on it waits.
    pub fn now(what: T) -> Self {
        Self { what, since: Arrival::now() }
    }
}
