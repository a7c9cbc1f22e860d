//! The executable as an operator runs it: a real daemon, real engines, real faults.
#![allow(unreachable_pub, reason = "an executable of several files has no other public")]
#![allow(clippy::unwrap_used, reason = "a test ends by a panic")]

mod alerts;
#[path = "../support/authority.rs"]
mod authority;
mod autoheal;
mod bad_input;
#[path = "../support/cable.rs"]
mod cable;
mod certificates;
mod checks;
mod compose;
mod containers;
mod credentials;
mod daemon;
mod denied;
mod disk;
mod foreign;
mod front;
#[path = "../support/haproxy.rs"]
mod haproxy;
mod hosts;
mod incidents;
mod init;
mod loops;
mod maintenance;
#[path = "../support/mount.rs"]
mod mount;
mod needs;
mod outage;
#[path = "../support/own_dockerd.rs"]
mod own_dockerd;
mod people;
mod probes;
mod proxy;
mod reasons;
mod reload;
mod secrets;
mod shutdown;
mod site;
mod stateful;
mod storms;
#[path = "../support/mod.rs"]
mod support;
mod systemd;
mod target;
mod telemetry;
#[path = "../support/vault/mod.rs"]
mod vault;
#[path = "../support/waiting.rs"]
mod waiting;
mod zero;

use std::process::ExitCode;

use waiting::{scratch, until, wait};

fn main() -> ExitCode {
    let mut tests = zero::tests();
    tests.extend(loops::tests());
    tests.extend(needs::tests());
    tests.extend(alerts::tests());
    tests.extend(reasons::tests());
    tests.extend(bad_input::tests());
    tests.extend(compose::tests());
    tests.extend(storms::tests());
    tests.extend(stateful::tests());
    tests.extend(denied::tests());
    tests.extend(outage::tests());
    tests.extend(hosts::tests());
    tests.extend(containers::tests());
    tests.extend(probes::tests());
    tests.extend(certificates::tests());
    tests.extend(checks::tests());
    tests.extend(people::tests());
    tests.extend(maintenance::tests());
    tests.extend(incidents::tests());
    tests.extend(shutdown::tests());
    tests.extend(reload::tests());
    tests.extend(systemd::tests());
    tests.extend(disk::tests());
    tests.extend(foreign::tests());
    tests.extend(secrets::tests());
    tests.extend(autoheal::tests());
    tests.extend(telemetry::tests());
    tests.extend(init::tests());
    tests.extend(credentials::tests());
    let code = support::conclude_at_once(4, tests);
    site::remove_images();
    code
}
