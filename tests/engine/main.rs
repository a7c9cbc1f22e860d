//! The engine edge against real engines, and against false ones that misbehave.
#![allow(unreachable_pub, reason = "an executable has no outside")]

#[path = "../support/authority.rs"]
mod authority;
mod conformance;
mod demo;
mod docker_rig;
mod fake;
mod faults;
#[path = "../support/haproxy.rs"]
mod haproxy;
mod outage;
#[path = "../support/own_dockerd.rs"]
mod own_dockerd;
mod patient;
mod proxied;
mod rig;
mod sim_rig;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod walk;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut tests = conformance::tests();
    tests.extend(demo::tests());
    tests.extend(faults::tests());
    tests.extend(outage::tests());
    tests.extend(patient::tests());
    tests.extend(proxied::tests());
    tests.extend(tls::tests());
    tests.extend(walk::tests());
    let code = support::conclude(tests);
    tls::stop_engine();
    docker_rig::remove_image();
    code
}
