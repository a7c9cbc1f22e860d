//! Iaso, a self-healing daemon for container hosts.
//!
//! Dependencies point one way: `main -> cli -> app -> supervisor -> edges -> config -> policy`. Edges (`credentials`, `engine`, `evidence`,
//! `probe`, `report`, `schedule`, `store`, `api`, `telemetry`) do not name each other; `app` wires them, and all may use `system`. `sim` and `demo` may be
//! named by the commands and tests that run them, and by nothing else. A test reads the sources and holds these arrows.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod demo;
pub mod engine;
pub mod evidence;
pub mod in_use;
pub mod incidents;
pub mod journal;
pub mod orders;
pub mod probe;
pub mod redact;
pub mod report;
pub mod rollouts;
pub mod schedule;
pub mod sim;
pub mod snapshot;
pub mod store;
pub mod supervisor;
pub mod system;
pub mod telemetry;

pub use iaso_policy as policy;
