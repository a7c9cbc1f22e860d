//! What people order of services, and the answers to them.

use std::collections::HashMap;

use iaso_policy::action::Answer;
use iaso_policy::id::OrderId;
use iaso_policy::input::{Input, Order};
use tokio::sync::{mpsc, oneshot};

use super::Supervisor;
use crate::orders::{Reply, Request};

/// The orders under way.
pub(super) struct Orders {
    pub(super) requests: mpsc::Receiver<Request>,
    taken: u64,
    /// Who waits for the policy's answer.
    replies: HashMap<OrderId, oneshot::Sender<Reply>>,
    /// Answers that leave once what they tell of is shown: whoever looks after an answer sees what was ordered.
    answered: Vec<(oneshot::Sender<Reply>, Answer)>,
}

impl Orders {
    pub(super) fn new(requests: mpsc::Receiver<Request>) -> Self {
        Self { requests, taken: 0, replies: HashMap::new(), answered: Vec::new() }
    }
}

impl Supervisor {
    pub(super) fn order(&mut self, request: Request) {
        if request.reply.is_closed() {
            // Who asked was told that it took too long: nothing may happen behind their back.
            return;
        }
        let Request { service, order, comment, request_id, by, reply } = request;
        let services = match &service {
            Some(name) => self.fleet.named(name).into_iter().collect::<Vec<_>>(),
            None => self.every_service(),
        };
        if services.is_empty() {
            let _asker_gone = reply.send(Reply::NoSuchService);
            return;
        }
        let _request_id = self.operations.asked.taken(request_id).entered();
        let (service, comment) = (service.as_deref(), comment.as_deref());
        tracing::info!(service, %by, ?order, comment, "order taken");
        // Whoever asks hears of the last.
        self.orders.replies.insert(OrderId(self.orders.taken + services.len() as u64), reply);
        for service in services {
            self.orders.taken += 1;
            self.step(Input::Order { service, id: OrderId(self.orders.taken), order });
            if matches!(order, Order::EndMaintenance { .. }) {
                self.end_windows(service);
            }
        }
        self.operations.asked.stepped();
    }

    pub(super) fn answer(&mut self, order: OrderId, answer: Answer) {
        self.orders.answered.extend(self.orders.replies.remove(&order).map(|reply| (reply, answer)));
    }

    /// Shows what was ordered, and answers.
    pub(super) fn reply(&mut self) {
        if self.orders.answered.is_empty() {
            return;
        }
        self.publish();
        for (reply, answer) in self.orders.answered.drain(..) {
            let _asker_gone = reply.send(Reply::Answered(answer));
        }
    }
}
