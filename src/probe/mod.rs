//! Probes: where they go ([`address`]), what they ask ([`http`]), and when they run ([`scheduler`]).

pub mod address;
pub mod http;
pub mod report;
pub mod scheduler;
mod slots;
