//! Every exit code of the command line.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The answer is "no": unhealthy, not found, a check failed.
    No = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The daemon or the engine cannot be reached.
    Unavailable = 69,
    /// A fault of Iaso's own.
    Internal = 70,
    /// Not permitted.
    NotPermitted = 77,
    /// The configuration is wrong.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
