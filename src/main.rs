//! The `iaso` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    iaso::cli::main()
}
