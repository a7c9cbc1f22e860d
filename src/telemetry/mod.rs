//! What Iaso tells of itself: log lines, metrics, and the answer to "why".

pub mod explain;
pub mod logs;
pub mod metrics;
pub mod words;
