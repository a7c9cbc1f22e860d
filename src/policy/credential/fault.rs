//! What a provider's failure amounts to. What a server said stays with the edge that heard it.

use core::time::Duration;

/// Why a call to Vault, or to another provider, brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Fault {
    /// No connection, TLS included: the call did not arrive.
    Unreachable,
    /// It may have arrived and been carried out: no answer in time, or one that broke off.
    Ambiguous,
    /// The server is sealed, not initialised, or has no leader.
    Sealed,
    /// A standby that cannot forward, or a redirect to a host that is not trusted.
    Standby,
    /// Too many requests; how long to wait, where it says.
    RateLimited {
        /// `Retry-After`.
        after: Option<Duration>,
    },
    /// Another 5xx, or a proxy's page in the server's place.
    Failing,
    /// 403. Whether token or policy is the reason is not known from it.
    Denied,
    /// 404: there is no such path, mount or version.
    NotFound,
    /// 404 of a KV v2 secret whose newest version is deleted or destroyed.
    Deleted,
    /// 400 and the other 4xx: the server is well and will not do it.
    Refused,
    /// A check-and-set found another version than the one it was based on.
    Conflict,
    /// The answer, or the file, is not what it must be: a field is missing, it is no text, it is too large.
    Malformed,
    /// A wrapped secret was opened by somebody else before, or was not made where it should be: an alarm.
    Tampered,
    /// Iaso itself did not ask: what may come of it could not be written down first, for want of a disk or of room.
    Unrecorded,
}

impl Fault {
    /// Every word, for documents and tests.
    pub const NAMES: [&'static str; 14] = [
        "unreachable",
        "ambiguous",
        "sealed",
        "standby",
        "rate_limited",
        "failing",
        "denied",
        "not_found",
        "deleted",
        "refused",
        "conflict",
        "malformed",
        "tampered",
        "unrecorded",
    ];

    /// The word for logs, metric labels and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Ambiguous => "ambiguous",
            Self::Sealed => "sealed",
            Self::Standby => "standby",
            Self::RateLimited { .. } => "rate_limited",
            Self::Failing => "failing",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Deleted => "deleted",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Malformed => "malformed",
            Self::Tampered => "tampered",
            Self::Unrecorded => "unrecorded",
        }
    }

    /// Whether it is the server, or the way to it, that is unwell, and not this one request.
    pub const fn is_outage(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Ambiguous
                | Self::Sealed
                | Self::Standby
                | Self::RateLimited { .. }
                | Self::Failing
        )
    }
}
