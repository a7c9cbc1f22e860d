//! The `iaso` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(still_root) = iaso::system::run_as::take_over() {
        eprintln!("iaso: {still_root}");
        return iaso::cli::Exit::NotPermitted.into();
    }
    iaso::cli::main()
}
