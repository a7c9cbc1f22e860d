//! AWS Secrets Manager: the client and the daemon against moto, which stands in for AWS's server, and against servers that are unwell.
#![allow(unreachable_pub, reason = "an executable of several files has no other public")]
#![allow(clippy::unwrap_used, reason = "a test ends by a panic")]

mod daemon;
mod moto;
mod reader;
mod reads;
mod strange;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/waiting.rs"]
mod waiting;

use std::process::ExitCode;

use waiting::{scratch, until, wait};

fn main() -> ExitCode {
    iaso::system::tls::install_provider();
    if std::env::var_os(reader::MARK).is_some() {
        return reader::serve();
    }
    let mut tests = reads::tests();
    tests.extend(strange::tests());
    tests.extend(daemon::tests());
    let code = support::conclude_at_once(8, tests);
    moto::end_shared();
    code
}
