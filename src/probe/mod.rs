//! Probes: where they go ([`address`]), what they ask (a file for each type), and when they run ([`scheduler`]).

pub mod address;
mod command;
pub mod connect;
mod dns;
#[cfg(test)]
mod example;
mod fill;
mod grpc;
pub mod heartbeat;
pub mod http;
mod icmp;
pub mod inside;
mod output;
pub mod prober;
pub mod report;
mod run;
pub mod scheduler;
mod slots;
mod tcp;
pub mod tls;
#[cfg(test)]
mod tls_peer;
