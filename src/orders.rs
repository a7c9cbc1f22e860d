//! What people ask of the running daemon, on its way to the supervisor.

use iaso_policy::action::Answer;
use iaso_policy::input::Order;
use tokio::sync::oneshot;

/// A person's order for one service.
#[derive(Debug)]
pub struct Request {
    /// The service's name.
    pub service: String,
    /// What to do.
    pub order: Order,
    /// Who asks, for the audit log: `uid 0`, a key's id.
    pub by: String,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
}

/// The supervisor's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// There is no service of this name.
    NoSuchService,
    /// What the policy said.
    Answered(Answer),
}
