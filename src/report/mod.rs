//! Telling people and programs what was done. Each reporter has a bounded queue and a task of its own: one that is slow, dead
//! or lying delays neither healing nor another reporter.

mod alert;
mod later;
mod message;
mod send;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use iaso_policy::action::{Cause, Trouble};
use iaso_policy::id::{AttemptId, Instance};
use iaso_policy::record::Event;
use iaso_policy::spec::Step;
use tokio::sync::{Mutex, mpsc, watch};

use self::message::{Notice, Result, Told};
use self::send::Sender;
pub use self::send::SetupError;
use crate::config::validated::Reporter;
use crate::journal::{Announcement, Delivered, Entry, Listener};
use crate::rollouts::CredentialEntry;
use crate::snapshot::Snapshot;
use crate::system::meters::Meters;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;

/// Notices that may wait for one reporter; what comes on top is dropped and counted.
const QUEUE: usize = 64;

/// Hears what is decided, and hands what is worth telling to every reporter.
pub struct Reporters {
    queues: Vec<Queue>,
    delivered: mpsc::UnboundedSender<Delivered>,
    meters: Meters,
    /// The newest automatic attempt of each service's outage.
    attempts: HashMap<Arc<str>, Attempt>,
}

struct Queue {
    reporter: String,
    notices: mpsc::Sender<Notice>,
}

/// What of an attempt's beginning is told at its end.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    id: AttemptId,
    step: Step,
    trouble: Option<Trouble>,
    instance: Instance,
    ordinal: u32,
}

impl Reporters {
    /// Starts a task for each reporter. Containers' names are found in `snapshots`; who has taken an announcement says so in
    /// `delivered`.
    ///
    /// # Errors
    /// When the HTTP library refuses its settings; not for anything about the receivers.
    pub fn start(
        reporters: &[Reporter],
        tasks: &Tasks,
        resolver: &Resolver,
        snapshots: &watch::Receiver<Arc<Snapshot>>,
        meters: &Meters,
        delivered: &mpsc::UnboundedSender<Delivered>,
    ) -> std::result::Result<Self, SetupError> {
        let mut queues = Vec::new();
        for reporter in reporters {
            let (notices, waiting) = mpsc::channel(QUEUE);
            let sender =
                Arc::new(Sender::new(reporter, resolver, snapshots.clone(), meters.clone(), delivered.clone())?);
            let (waiting, stop) = (Arc::new(Mutex::new(waiting)), tasks.stop_token());
            tasks.keep("reporter", move || {
                let (sender, waiting, stop) = (Arc::clone(&sender), Arc::clone(&waiting), stop.clone());
                async move {
                    stop.run_until_cancelled(sender.run(&mut *waiting.lock().await)).await;
                }
            });
            queues.push(Queue { reporter: reporter.name.clone(), notices });
        }
        Ok(Self { queues, delivered: delivered.clone(), meters: meters.clone(), attempts: HashMap::new() })
    }

    /// What a record is worth telling.
    fn notice(&mut self, entry: &Entry) -> Option<Notice> {
        let service = &entry.subject.name;
        let (attempt, result) = match entry.record.event {
            Event::Begun { attempt, step, cause: Cause::Recovery, trouble, instance, ordinal, .. } => {
                let attempt = Attempt { id: attempt, step, trouble, instance, ordinal };
                self.attempts.insert(Arc::clone(service), attempt);
                return None;
            }
            Event::IncidentClosed { .. } => {
                self.attempts.remove(service);
                return None;
            }
            Event::Finished { attempt, outcome } => {
                let begun = self.attempts.get(service).filter(|begun| begun.id == attempt)?;
                (*begun, Result::of(outcome)?)
            }
            _ => return None,
        };
        let subject = Arc::clone(&entry.subject);
        Some(Notice::Attempt(Told { subject, incident: entry.record.incident, attempt, result }))
    }

    fn tell(&self, notice: &Notice) {
        for Queue { reporter, notices } in &self.queues {
            if notices.try_send(notice.clone()).is_err() {
                self.meters.notified(reporter, notice.service(), false, std::time::Duration::ZERO);
                tracing::warn!(%reporter, about = %notice.about(), "a notification was dropped: {QUEUE} wait already");
            }
        }
    }
}

impl Listener for Reporters {
    fn hear(&mut self, entry: &Entry) {
        if let Some(notice) = self.notice(entry) {
            self.tell(&notice);
        }
    }

    fn announce(&mut self, announcement: &Announcement) {
        if self.queues.is_empty() {
            // There is nobody to take it.
            let delivered = Delivered { service: announcement.alert.service, key: announcement.alert.key };
            let _stopping = self.delivered.send(delivered);
        }
        self.tell(&Notice::Announcement(Arc::new(announcement.clone())));
    }

    fn hear_credential(&mut self, entry: &CredentialEntry) {
        if message::is_for_people(entry) {
            self.tell(&Notice::Credential(entry.clone()));
        }
    }
}
