//! What is kept of a rotation.

use alloc::vec::Vec;

use crate::id::Digest;
use crate::time::Now;

/// One rotation of one credential. Counted; never reused while its journal exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RotationId(pub u64);

/// Why a rotation begins, and thereby where its new value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Origin {
    /// It is due; the value is generated.
    Scheduled,
    /// A person wants it; the value is generated.
    Ordered,
    /// A person wants the version before this one back.
    Rollback,
    /// A person gives the value, and has told the service.
    Set,
}

/// One of the two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that replaces.
    New,
    /// The one that is replaced.
    Old,
}

/// How far a rotation has come. What comes after a step may have been begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Step {
    /// It has its id and knows the old version.
    Begun,
    /// The new value is in the journal.
    Generated,
    /// The new value is the newest version; consumers use the old one.
    Stored,
    /// The service was told of the new value.
    Applied,
    /// The service accepts the new value.
    Verified,
    /// The new version is marked as current, and rendered.
    Published,
    /// Every consumer uses it and is healthy.
    RolledOut,
    /// The old value is being retired: from here it only goes on.
    Retiring,
    /// On the way back: the service is told of the old value.
    Reapplying,
    /// On the way back: the old data becomes a new version.
    Restoring,
    /// On the way back: the old data is marked as current, and rendered.
    Republishing,
    /// On the way back: the consumers learn of it.
    Unrolling,
}

impl Step {
    /// The word for pictures and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Generated => "generated",
            Self::Stored => "stored",
            Self::Applied => "applied",
            Self::Verified => "verified",
            Self::Published => "published",
            Self::RolledOut => "rolled_out",
            Self::Retiring => "retiring",
            Self::Reapplying => "reapplying",
            Self::Restoring => "restoring",
            Self::Republishing => "republishing",
            Self::Unrolling => "unrolling",
        }
    }

    /// Whether it is on the way back.
    pub const fn is_back(self) -> bool {
        matches!(self, Self::Reapplying | Self::Restoring | Self::Republishing | Self::Unrolling)
    }
}

/// Why a rotation did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Trouble {
    /// There was no new value to be had.
    NotMade,
    /// Iaso ended before there was a new value.
    Interrupted,
    /// The store refuses the new version.
    NotStored,
    /// The newest version is not the one it should be: somebody else wrote.
    Conflict,
    /// Another rotation of the same credential is under way elsewhere.
    Elsewhere,
    /// The service refuses to be told.
    ApplyRefused,
    /// The service could not be told.
    NotApplied,
    /// The service refuses the new value.
    NotAccepted,
    /// Nobody could say whether the service accepts the new value.
    NotVerified,
    /// It could not be rendered.
    NotPublished,
    /// A consumer did not become healthy.
    Unhealthy,
    /// The consumers may not be told.
    RolloutRefused,
    /// A person took it back.
    Ordered,
}

impl Trouble {
    /// In words, after "the rotation failed: ".
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotMade => "there was no new value to be had",
            Self::Interrupted => "Iaso ended before there was a new value",
            Self::NotStored => "the store refuses the new version",
            Self::Conflict => "somebody else has written a version meanwhile",
            Self::Elsewhere => "another Iaso is rotating it",
            Self::ApplyRefused => "the service refuses to be told of the new value",
            Self::NotApplied => "the service could not be told of the new value",
            Self::NotAccepted => "the service refuses the new value",
            Self::NotVerified => "nobody could say whether the service accepts the new value",
            Self::NotPublished => "the new value could not be rendered",
            Self::Unhealthy => "a service did not become healthy with the new value",
            Self::RolloutRefused => "the services that use it may not be told",
            Self::Ordered => "a person took it back",
        }
    }
}

/// Why it waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Halt {
    /// Somebody else has written a version meanwhile.
    Conflict,
    /// The service accepts neither value; both are kept.
    NeitherAccepted,
    /// There is no old value to go back to.
    NoOld,
    /// All is back as it was, and yet a consumer is not healthy.
    StillUnhealthy,
    /// Too many rotations have failed in a row.
    Breaker,
    /// The journal could not be read: whether a rotation was under way is not known.
    JournalLost,
}

impl Halt {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Conflict => "somebody else has written a version meanwhile: rotate, roll back or set a value by hand",
            Self::NeitherAccepted => {
                "the service accepts neither the old value nor the new one; both are kept: put the service right, then rotate \
                 (go on with the new), roll back, or set a value by hand"
            }
            Self::NoOld => "there is no old value to go back to: rotate again, or set a value by hand",
            Self::StillUnhealthy => "all is back as it was, and yet a service is not healthy",
            Self::JournalLost => {
                "its journal could not be read and was moved aside: see whether the services accept the newest version, then \
                 rotate, roll back or set a value by hand"
            }
            Self::Breaker => "too many rotations have failed in a row: none begins by itself until one is ordered",
        }
    }
}

/// How a rotation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Ending {
    /// Everything uses the new value, and the old one is retired.
    Rotated,
    /// Everything uses the new value; the old one could not be retired and may still be valid.
    OldRemains,
    /// The new value is the old one; nothing was done.
    Unchanged,
    /// The old value is back.
    Returned(Trouble),
    /// Nothing was changed outside.
    Failed(Trouble),
}

/// A rotation under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Run {
    /// Which.
    pub id: RotationId,
    /// Why.
    pub origin: Origin,
    /// The version that it is based on; 0: there was none.
    pub base: u64,
    /// That version's data; none: there was none, or it was deleted.
    pub old: Option<Digest>,
    /// The new data; none before it is made.
    pub new: Option<Digest>,
    /// How far it has come.
    pub step: Step,
    /// Since when.
    pub since: Now,
    /// The service may have been told of the new value.
    pub applied: bool,
    /// The new value may have been rendered.
    pub published: bool,
    /// Consumers may have learned of the new value.
    pub rolled: bool,
    /// Why it goes back.
    pub trouble: Option<Trouble>,
    /// The version that holds the old data again.
    pub put_back: u64,
}

impl Run {
    /// The new data's version: check-and-set allows no other.
    pub const fn version(&self) -> u64 {
        self.base + 1
    }

    /// Which value the consumers' files hold, as far as they were rendered without fault.
    pub const fn in_use(&self) -> (Side, u64) {
        match self.step {
            Step::Published | Step::RolledOut | Step::Retiring => (Side::New, self.version()),
            Step::Reapplying | Step::Restoring if self.published => (Side::New, self.version()),
            Step::Republishing | Step::Unrolling => (Side::Old, self.put_back),
            _ => (Side::Old, self.base),
        }
    }
}

/// What is kept of the rotations of one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct State {
    /// Rotations begun so far: the latest's id.
    pub count: u64,
    /// The one under way.
    pub run: Option<Run>,
    /// Why it waits for a person.
    pub halt: Option<Halt>,
    /// Rotations that failed in a row.
    pub failures: u32,
    /// When the last one succeeded; before that, when the credential was first known.
    pub settled: Now,
    /// How and when the last one ended.
    pub last: Option<(Ending, Now)>,
    /// When those of the last hour began.
    pub recent: Vec<Now>,
}

impl State {
    /// Nothing was ever rotated.
    pub const fn new(now: Now) -> Self {
        Self { count: 0, run: None, halt: None, failures: 0, settled: now, last: None, recent: Vec::new() }
    }
}
