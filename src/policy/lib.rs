//! The rules that decide when Iaso heals, holds and gives up.
//!
//! No clock, file, thread, environment or random state: everything comes in through [`Input`] with the moment it is about,
//! everything goes out as [`Action`]. The same inputs and seed give the same actions, so a night can be replayed.
#![no_std]

extern crate alloc;

pub mod action;
mod affected;
pub mod alert;
mod announce;
mod backoff;
mod budget;
mod check;
pub mod credential;
mod decide;
mod disk;
mod host;
pub mod id;
pub mod input;
mod intake;
pub mod laws;
mod lives;
mod maintenance;
pub mod memory;
mod needs;
mod order;
mod outage;
mod policy;
mod recall;
pub mod record;
mod recover;
mod review;
mod rollout;
mod service;
pub mod spec;
mod storm;
pub mod time;
mod turn;
pub mod view;
mod weather;

pub use action::Action;
pub use input::Input;
pub use policy::Policy;
pub use record::Record;
pub use time::Now;
