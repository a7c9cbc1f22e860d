//! `iaso demo`, and the program inside its containers.

use std::process::ExitCode;

use clap::Args;

use super::{wants_colour, work};
use crate::demo::{self, Options, patient};

/// How the demo is shown.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Use the simulated engine, even where there is a real one
    #[arg(long)]
    simulated: bool,
    /// Go on after the summary, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(super) fn run(self) -> ExitCode {
        let Self { simulated, keep } = self;
        work(2, demo::run(Options { simulated, keep, colour: wants_colour() }))
    }
}

/// The program inside the containers.
#[derive(Debug, Args)]
pub(super) struct Patient {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

impl Patient {
    pub(super) fn run(self) -> ExitCode {
        patient::run(self.args.into_iter())
    }
}
