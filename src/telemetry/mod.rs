//! What Iaso tells of itself: log lines, metrics, the answer to "why", and the whole story of an outage.

pub mod explain;
pub mod incidents;
pub mod logs;
pub mod metrics;
pub mod words;
