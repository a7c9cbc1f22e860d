//! The `iaso` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("patient") => iaso::demo::patient::run(args),
        _ => ExitCode::SUCCESS,
    }
    iaso::cli::main()
}
