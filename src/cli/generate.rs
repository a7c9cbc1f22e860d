//! What is made from the command line's own definition: completion scripts and manual pages.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::args::Cli;
use crate::app::commands::Failure;

pub(super) use clap_complete::Shell;

/// A shell's completion script.
pub(super) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "iaso", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page of `iaso` itself.
///
/// # Errors
/// When clap cannot write it to memory.
pub(super) fn page() -> Result<String, Failure> {
    let mut page = Vec::new();
    Man::new(Cli::command()).render(&mut page).map_err(|error| Failure::Internal(error.to_string()))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// A command and those within it, each before its own.
pub(super) fn all(command: &Command) -> Vec<&Command> {
    let within = command.get_subcommands().filter(|command| command.get_name() != "help");
    std::iter::once(command).chain(within.flat_map(all)).collect()
}

/// Writes `iaso.1` and a page for each command into a folder; returns how many there are.
///
/// # Errors
/// When the folder is not there, or a page cannot be written.
pub(super) fn pages(folder: &Path) -> Result<usize, Failure> {
    let refused = |error: io::Error| {
        let why = format!("{}: {error}", folder.display());
        if error.kind() == io::ErrorKind::PermissionDenied { Failure::NotPermitted(why) } else { Failure::No(why) }
    };
    if !fs::metadata(folder).map_err(refused)?.is_dir() {
        return Err(Failure::No(format!("{}: expected a folder", folder.display())));
    }
    let mut iaso = Cli::command().disable_help_subcommand(true);
    iaso.build();
    let pages: Vec<Man> = all(&iaso).into_iter().cloned().map(Man::new).collect();
    for page in &pages {
        page.generate_to(folder).map_err(refused)?;
    }
    Ok(pages.len())
}
