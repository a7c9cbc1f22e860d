//! What goes into a rotation and what comes out: closed types, numbers and times, never a value.

use alloc::boxed::Box;
use core::time::Duration;

use super::state::{Ending, Halt, Origin, RotationId, Side, State, Step, Trouble};
use crate::id::Digest;
use crate::time::Now;

/// What is configured of a rotation, as far as it decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// From one rotation to the next, at most; none: by order alone.
    pub every: Option<Duration>,
    /// The service that checks the value is told by a call; otherwise it learns of it like every consumer.
    pub apply: bool,
    /// There is a call that tries a value.
    pub verify: bool,
    /// There is a call that retires the old value.
    pub retire: bool,
    /// How long the old value stays valid once everything uses the new one.
    pub grace: Duration,
    /// A rotation that has failed is tried again after this long, then doubling to a day.
    pub retry: Duration,
    /// Rotations that begin by themselves in an hour.
    pub per_hour: u32,
}

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Replace the value by a new one. Where a person is waited for: go on with the new value.
    Rotate,
    /// Put the value before this one back, as a new version; during a rotation: take it back.
    Rollback,
    /// Store a value that the caller holds.
    Set,
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is under way.
    Taken,
    /// A rotation is under way.
    Busy,
    /// The old value is being retired, or the old one is back already: there is no other way any more.
    TooLate,
}

/// A fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Tick {
        /// A rotation that is due may begin: no other of its group is under way.
        may_begin: bool,
    },
    /// What [`Action::Look`] saw.
    Looked(Look),
    /// What came of [`Action::Make`].
    Made(Made),
    /// What came of [`Action::Store`].
    Stored(Stored),
    /// What came of [`Action::Mark`].
    Marked(Outcome),
    /// What came of [`Action::Apply`].
    Applied(Outcome),
    /// What came of [`Action::Try`].
    Tried(Tried),
    /// What came of [`Action::Publish`].
    Published(Outcome),
    /// What came of [`Action::RollOut`].
    RolledOut(Rolled),
    /// What came of [`Action::Undo`].
    Undone(Rolled),
    /// What came of [`Action::Retire`].
    Retired(Outcome),
}

/// The newest version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// This one.
    Found {
        /// Its number.
        version: u64,
        /// Its data.
        digest: Digest,
        /// What its mark says.
        mark: Mark,
    },
    /// There is no data: never (0), or this version of it is deleted.
    Nothing {
        /// The number that a check-and-set is based on.
        version: u64,
    },
    /// It could not be seen.
    Unknown,
}

/// What is marked beside the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Nothing, or that the newest version is in use.
    Current,
    /// The newest version is that of a rotation which has not published it yet.
    Pending,
    /// Another version is in use: a rotation has stored the newest a moment ago, or a person has.
    Behind,
}

/// Whether there is a new value now, kept beside the state before the next thing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// This one.
    Value(Digest),
    /// There is none to be had: the version before this one is destroyed.
    Impossible,
    /// Not now: where the version before this one is kept does not answer.
    NotDone,
}

/// What came of storing a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    Landed,
    /// It may be stored.
    Ambiguous,
    /// The newest version is another than the one it was based on.
    Conflict,
    /// It is not stored, and will not be.
    Refused,
    /// It did not arrive.
    NotDone,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It will not be done.
    Refused,
    /// It may be done.
    Ambiguous,
    /// It did not arrive.
    NotDone,
}

/// What came of trying a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// The service accepts it.
    Accepted,
    /// The service refuses it.
    Refused,
    /// Nobody answered.
    Unknown,
}

/// How a rollout, or its undoing, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rolled {
    /// Every consumer uses the value and is healthy.
    Done,
    /// Likewise, but for some that run and are to be left alone: they go on with what they had.
    Left,
    /// One did not become healthy.
    Failed,
    /// It may not begin; nothing was done.
    Refused,
    /// A newer one took its place; nothing was done.
    Replaced,
}

/// Something to do. In order; what follows a [`Action::Journal`] waits until the state is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Keep this state, and both values while it has a run, durably; without a run the values may go.
    Journal(Box<State>),
    /// See what the newest version is.
    Look,
    /// Get the new value, as its origin says. Once for each id, but for [`Made::NotDone`].
    Make {
        /// For which rotation.
        id: RotationId,
        /// Where from.
        origin: Origin,
    },
    /// Store a side's data as a new version, if the newest is this one.
    Store {
        /// Whose data.
        side: Side,
        /// The version that it is based on.
        cas: u64,
    },
    /// Mark the version in use and the one that is not published yet.
    Mark {
        /// In use.
        current: u64,
        /// Not published yet.
        pending: u64,
    },
    /// Tell the service that checks it that this is the value.
    Apply(Side),
    /// Try a value on the service.
    Try(Side),
    /// Mark this version as the one in use and render it.
    Publish {
        /// Whose data.
        side: Side,
        /// Its version.
        version: u64,
    },
    /// Have the consumers learn of it, each verified.
    RollOut {
        /// When the value was published: who started after that knows it.
        published: Now,
    },
    /// Take that back.
    Undo,
    /// It will not be taken back.
    Settle,
    /// Retire the old value.
    Retire,
    /// Tell people.
    Tell(Event),
}

/// What people should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It has begun.
    Began(Origin),
    /// A step is done.
    Reached(Step),
    /// It goes on failing, or not being possible, at this step; it is tried on.
    Held(Step),
    /// It is being taken back.
    GoingBack(Trouble),
    /// It is over.
    Ended(Ending),
    /// It needs a person.
    Halted(Halt),
}
