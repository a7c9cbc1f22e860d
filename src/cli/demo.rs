//! `iaso demo`.

use clap::Args;

use super::terminal::Look;
use crate::app::commands::Failure;
use crate::demo::{self, Options};

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
    pub(super) async fn run(self, look: Look) -> Result<(), Failure> {
        let Self { simulated, keep } = self;
        demo::run(Options { simulated, keep, colour: look.colour }).await
    }
}
