//! The operating system: clock, tasks, names, TLS, signals, the service manager. Every edge may use it; it uses none.

pub mod build;
pub mod clock;
pub mod heartbeat;
pub mod resolver;
pub mod retry;
pub mod signals;
pub mod tasks;
pub mod tls;
