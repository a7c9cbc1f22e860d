//! What passes between `credentials/` and the supervisor: a changed credential on its way to the containers that use it, and
//! what was done, for whoever listens.

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::Now;
use iaso_policy::id::{CredentialKey, RolloutId};
use iaso_policy::spec::Step;
use tokio::sync::oneshot;

/// What the supervisor hears from `credentials/`.
#[derive(Debug)]
pub enum FromCredentials {
    /// Something was done or noticed; every listener hears it.
    Told(CredentialEntry),
    /// The containers that use a credential are to learn that it changed.
    RollOut(RollOut),
    /// The credential was put back as it was: whoever learned of the change learns of that. It was paid for with the rollout,
    /// and nothing holds it.
    Undo {
        /// Which.
        rollout: RolloutId,
        /// Told when it is over.
        ended: oneshot::Sender<RolledOut>,
    },
    /// The change stays: what was reserved to undo it is given back.
    Settle {
        /// Which.
        rollout: RolloutId,
    },
}

/// A changed credential on its way to the containers that use it, one after the other, each verified by its own checks.
#[derive(Debug)]
pub struct RollOut {
    /// Its number.
    pub rollout: RolloutId,
    /// The credential's name.
    pub credential: Arc<str>,
    /// What its charges are kept under.
    pub key: CredentialKey,
    /// The services, by name, in any order: what is needed by others goes first.
    pub services: Vec<Arc<str>>,
    /// When what is new was written, in milliseconds since 1970: whose container was started later has loaded it, and is left
    /// to that. None: nobody has it.
    pub written: Option<i64>,
    /// [`Step::Restart`] or [`Step::Signal`].
    pub step: Step,
    /// Operations in an hour for this credential's sake.
    pub max_per_hour: u32,
    /// The wait between two services.
    pub splay: Duration,
    /// Whether it may have to be undone: as many operations again are reserved.
    pub undoable: bool,
    /// Told when it is over. While it is held it is not over, and nothing was done.
    pub ended: oneshot::Sender<RolledOut>,
}

/// How a rollout, or its undoing, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolledOut {
    /// Every service that runs has learned of it and is healthy.
    Done,
    /// Likewise, but for those that run and are to be left alone: they go on with what they had.
    Left {
        /// The first of them.
        service: Arc<str>,
    },
    /// This service did not become healthy after it; those after it were not touched.
    Failed {
        /// Its name.
        service: Arc<str>,
    },
    /// It may not begin, for a reason that does not pass with time; nothing was done.
    Refused {
        /// Why, in words.
        why: String,
    },
    /// A newer rollout of the same credential took its place before it began.
    Replaced,
}

/// What was done about a credential, for the log, the timeline and the audit.
#[derive(Debug, Clone)]
pub struct CredentialEntry {
    /// When.
    pub now: Now,
    /// The credential's name.
    pub credential: Arc<str>,
    /// The word for it: `read`, `rendered`, `rotated` and so on.
    pub what: &'static str,
    /// How loud.
    pub level: tracing::Level,
    /// In words, without any value. One line.
    pub words: String,
}
