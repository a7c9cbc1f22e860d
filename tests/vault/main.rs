//! Vault: the contract that the double and a real server both keep, and what the double alone can show.
#![allow(unreachable_pub, reason = "an executable of several files has no other public")]
#![allow(clippy::unwrap_used, reason = "a test ends by a panic")]

#[path = "../support/authority.rs"]
mod authority;
mod client;
mod contract;
mod double;
mod rotation;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/vault/mod.rs"]
mod vault;
#[path = "../support/waiting.rs"]
mod waiting;

use std::process::ExitCode;

use waiting::wait;

fn main() -> ExitCode {
    iaso::system::tls::install_provider();
    let mut tests = Vec::new();
    tests.extend(client::tests());
    tests.extend(contract::tests());
    tests.extend(double::tests());
    tests.extend(rotation::tests());
    support::conclude(tests)
}

/// The same, in virtual time.
fn wait_paused<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(future)
}
