//! The exposition, made of the published snapshot and of what was counted.
//!
//! Series of state come from the snapshot, counts from the stream of decisions and from [`Meters`]; all end with their service.

mod counts;
mod credentials;
mod names;
mod series;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iaso_policy::time::Mono;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::sync::watch;

use self::counts::{Counting, Counts};
use crate::journal::Listener;
use crate::snapshot::{CredentialsPicture, Snapshot};
use crate::system::clock::Clock;
use crate::system::meters::Meters;
use crate::system::tasks::Tasks;

/// An exposition is made anew after this long: at most two a second.
const SHARED_FOR: Duration = Duration::from_millis(500);

/// Makes the exposition. Clones share one.
#[derive(Clone)]
pub struct Metrics {
    clock: Clock,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    credentials: watch::Receiver<Arc<CredentialsPicture>>,
    tasks: Tasks,
    meters: Meters,
    /// What the library collects of the process.
    process: Registry,
    counts: Arc<Mutex<Counts>>,
    made: Arc<Mutex<Option<Exposition>>>,
}

/// A text exposition, and when it was made.
type Exposition = (Mono, Bytes);

impl Metrics {
    /// Metrics of the daemon whose pictures come from `snapshots` and `credentials`, whose tasks `tasks` keeps and whose clients count in
    /// `meters`.
    ///
    /// # Errors
    /// When the library refuses to collect what it knows of the process.
    pub fn new(
        clock: Clock,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        credentials: watch::Receiver<Arc<CredentialsPicture>>,
        tasks: Tasks,
        meters: Meters,
    ) -> prometheus::Result<Self> {
        let process = Registry::new();
        #[cfg(target_os = "linux")]
        process.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let counts = Arc::new(Mutex::new(Counts::new(meters.clone())));
        Ok(Self { clock, snapshots, credentials, tasks, meters, process, counts, made: Arc::default() })
    }

    /// What counts the stream of decisions.
    pub fn listener(&self) -> impl Listener + use<> {
        Counting(Arc::clone(&self.counts))
    }

    /// The text exposition (format 0.0.4), made at most twice a second.
    pub fn exposition(&self) -> Bytes {
        let mut made = lock(&self.made);
        let now = self.clock.mono();
        if let Some((when, text)) = &*made
            && now.since(*when) < SHARED_FOR
        {
            return text.clone();
        }
        let text = Bytes::from(self.encode());
        *made = Some((now, text.clone()));
        text
    }

    fn encode(&self) -> Vec<u8> {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let credentials = Arc::clone(&self.credentials.borrow());
        let mut families = self.process.gather();
        families.extend(state::families(&snapshot));
        families.extend(credentials::families(&credentials, self.clock.now().wall));
        families.extend(counts::metered(&self.meters, &snapshot, &credentials));
        families.push(counts::panics(&self.tasks));
        families.extend(lock(&self.counts).families(&snapshot));
        // The encoder refuses families without a series.
        families.retain(|family| !family.get_metric().is_empty());
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::error!(%error, "the metrics cannot be encoded");
        }
        text
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
