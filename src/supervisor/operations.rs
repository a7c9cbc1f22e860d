//! Engine calls in flight: each runs in a task of its own and comes back, whatever becomes of the task.

use std::sync::Arc;

use iaso_policy::Record;
use iaso_policy::action::{Charge, Operation};
use iaso_policy::id::AttemptId;
use iaso_policy::input::Outcome;
use iaso_policy::record::Event;
use iaso_policy::spec::Step;
use tokio::sync::mpsc;

use super::asked::Asked;
use crate::engine::operate::{Expected, Operated, operate, through};
use crate::engine::{Change, ContainerId, Engine};
use crate::store::StoreError;
use crate::system::queue::Queued;
use crate::system::retry::Client;
use crate::system::tasks::Tasks;

/// The operations that have not come back.
pub(super) struct Operations {
    tasks: Tasks,
    back: mpsc::UnboundedSender<Queued<Returned>>,
    returned: mpsc::UnboundedReceiver<Queued<Returned>>,
    in_flight: usize,
    /// The requests behind them.
    pub(super) asked: Asked,
}

/// An operation that has come back.
pub(super) struct Returned {
    pub(super) operation: Operation,
    pub(super) operated: Operated,
}

impl Operations {
    pub(super) fn new(tasks: Tasks) -> Self {
        let (back, returned) = mpsc::unbounded_channel();
        Self { tasks, back, returned, in_flight: 0, asked: Asked::default() }
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The next one to come back. Waits for ever while there is none.
    pub(super) async fn next(&mut self) -> Queued<Returned> {
        match self.returned.recv().await {
            Some(returned) => {
                self.in_flight -= 1;
                returned
            }
            // The other end is held right here.
            None => std::future::pending().await,
        }
    }

    /// One that has come back by now.
    pub(super) fn ready(&mut self) -> Option<Queued<Returned>> {
        let returned = self.returned.try_recv().ok()?;
        self.in_flight -= 1;
        Some(returned)
    }

    /// Begins an operation, through the breaker before its engine. `charged` says when its charge is in the store's hands; none where it was not handed there.
    pub(super) fn begin(
        &mut self,
        operation: Operation,
        (engine, breaker): (Arc<dyn Engine>, Arc<Client>),
        target: Option<(ContainerId, Expected)>,
        change: Option<Change>,
        charged: Option<impl Future<Output = Result<(), StoreError>> + Send + 'static>,
    ) {
        self.in_flight += 1;
        let work = self.tasks.spawn("operation", async move {
            let (Some((container, expected)), Some(change)) = (target, change) else {
                let detail = "the container it was decided for is not there".to_owned();
                return Operated { outcome: Outcome::Moot, detail };
            };
            let charged = async {
                match charged {
                    Some(charged) => charged.await.is_ok(),
                    None => operation.charge != Charge::Stored,
                }
            };
            let operating = operate(&*engine, &container, expected, &change, operation.stop_grace, charged);
            through(&breaker, operating).await
        });
        let back = self.back.clone();
        self.tasks.spawn("operation-result", async move {
            let operated = match work.await {
                Ok(Ok(operated)) => operated,
                Ok(Err(panicked)) => Operated { outcome: Outcome::Crashed, detail: panicked.to_string() },
                Err(cancelled) => Operated { outcome: Outcome::Crashed, detail: cancelled.to_string() },
            };
            // Nobody listens any more only when the supervisor has ended.
            let _ended = back.send(Queued::now(Returned { operation, operated }));
        });
    }
}

/// Whether this is the record of the charge for that attempt.
pub(super) fn is_charge_of(record: &Record, wanted: AttemptId) -> bool {
    matches!(record.event, Event::Begun { attempt, .. } if attempt == wanted)
}

/// What a step is for the engine; none for a command that the service's configuration does not have.
pub(crate) fn change_of(step: Step, commands: &[Vec<String>]) -> Option<Change> {
    Some(match step {
        Step::Start => Change::Start,
        Step::Restart => Change::Restart,
        Step::Stop => Change::Stop,
        Step::Signal(number) => Change::Signal(number),
        Step::Exec(command) => Change::Exec(commands.get(usize::from(command))?.clone()),
    })
}
