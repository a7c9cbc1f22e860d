//! What people ask of the running daemon, on its way to the supervisor.

use iaso_policy::action::Answer;
use iaso_policy::input::Order;
use tokio::sync::oneshot;

use crate::config::secret::Secret;

/// A person's order.
#[derive(Debug)]
pub struct Request {
    /// The service's name; none: every service.
    pub service: Option<String>,
    /// What to do.
    pub order: Order,
    /// Why, in the person's words; for the log.
    pub comment: Option<String>,
    /// The id of the HTTP request that brought it, for the log lines that it causes.
    pub request_id: String,
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

/// What a person wants done with a credential.
#[derive(Debug)]
pub enum CredentialOrder {
    /// Read it again now.
    Refresh,
    /// Replace it by a new one now.
    Rotate,
    /// Put the value before this one back, as a new version.
    Rollback,
    /// Store this value.
    Set(Secret),
    /// Say what a rotation would do, and do nothing.
    Plan,
}

/// An order about a credential, from whoever may give one.
#[derive(Debug)]
pub struct CredentialRequest {
    /// The credential's name.
    pub credential: String,
    /// What is wanted.
    pub order: CredentialOrder,
    /// Who wants it, for the log.
    pub by: String,
    /// The id of the HTTP request that brought it.
    pub request_id: String,
    /// Where the answer goes.
    pub reply: oneshot::Sender<CredentialReply>,
}

/// The answer to such an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialReply {
    /// It is under way, or done; in words.
    Taken(String),
    /// What a rotation would do, a line each.
    Planned(Vec<String>),
    /// It cannot be done, and why.
    Refused(String),
    /// There is no such credential.
    NoSuchCredential,
}
