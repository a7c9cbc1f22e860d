//! The configuration, read again whenever somebody asks.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::Level;

use crate::config::validated::Config;
use crate::supervisor::Reread;
use crate::system::meters::Meters;
use crate::system::systemd::Manager;

/// Reads the configuration; every mistake in words where it cannot be used. May block.
pub type Load = Arc<dyn Fn() -> Result<Config, Vec<String>> + Send + Sync>;

/// How a daemon comes to another configuration.
pub struct Reloads {
    /// Somebody asks for it.
    pub asked: mpsc::UnboundedReceiver<()>,
    /// Reads it.
    pub load: Load,
    /// Sets the log's level.
    pub set_level: Box<dyn Fn(Level) + Send>,
}

impl Reloads {
    /// Reads it whenever somebody asks, and hands it to the supervisor; ends with it. Who asks during a reload is served by
    /// another one after it, so that what was written last holds in the end.
    pub(super) async fn run(mut self, supervisor: mpsc::Sender<Reread>, manager: Manager, meters: Meters) {
        while let Some(()) = self.asked.recv().await {
            // One reading from now on serves them all.
            while self.asked.try_recv().is_ok() {}
            manager.reloading();
            let load = Arc::clone(&self.load);
            let read = tokio::task::spawn_blocking(move || load()).await;
            let read = read.unwrap_or_else(|error| Err(vec![format!("it could not be read: {error}")]));
            let level = read.as_ref().map(|config| config.daemon.log.level).ok();
            let (done, told) = oneshot::channel();
            let sent = supervisor.send(Reread { read, done }).await;
            // Too late: the supervisor ends, and the manager is told so.
            let (Ok(()), Ok(is_in_force)) = (sent, told.await) else { return };
            meters.configured(is_in_force);
            if let Some(level) = level.filter(|_| is_in_force) {
                (self.set_level)(level);
            }
            manager.ready();
        }
    }
}
