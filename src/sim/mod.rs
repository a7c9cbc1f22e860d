//! Simulated edges: a container engine with a fleet on it, in virtual time, from one seed. Only demonstrations, simulations
//! and tests may name this module.

pub mod engine;
pub mod random;
pub mod runner;
pub mod scenario;
pub mod script;
pub mod world;
