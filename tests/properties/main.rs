//! The policy under random and chosen histories, judged by its laws.
#![expect(clippy::unwrap_used, reason = "what a test expects and does not find fails it")]

mod histories;
mod rig;
mod simulated;
mod stories;
