//! `iaso check`: every mistake and warning of the configuration in one run.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::args::{ConfigFile, Form, Output};
use super::{Exit, Said, json};
use crate::app::commands;
use crate::config::mistake::{Level, Mistake, counted};
use crate::config::validated::Config;
use crate::config::{self, Environment, Examined};

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    form: Form,
    /// End with 78 for warnings too
    #[arg(long)]
    strict: bool,
}

impl Check {
    pub(super) fn run(&self, colour: bool) -> Said {
        self.said(self.config.file.as_deref(), &commands::environment(), colour)
    }

    fn said(&self, file: Option<&Path>, env: &Environment, colour: bool) -> Said {
        let Examined { files, outcome, warnings } = config::examine(file, env);
        let mistakes = outcome.as_ref().map_or_else(|mistakes| &mistakes.0[..], |_| &[]);
        let text = match self.form.output {
            Output::Json => json(&mistakes.iter().chain(&warnings).map(Finding::of).collect::<Vec<_>>()),
            Output::Table => {
                let blocks = mistakes.iter().chain(&warnings).map(|finding| finding.block(colour) + "\n");
                let last = match &outcome {
                    Ok(config) => summary(&files, config, warnings.len()),
                    Err(_) => told(mistakes.len(), warnings.len()),
                };
                blocks.chain([last, "\n".to_owned()]).collect()
            }
        };
        let wrong = !mistakes.is_empty() || (self.strict && !warnings.is_empty());
        Said { text, exit: if wrong { Exit::Configuration } else { Exit::Done } }
    }
}

/// `ok: FILE, FILE: 3 services, 5 checks, 1 host`.
fn summary(files: &[std::path::PathBuf], config: &Config, warnings: usize) -> String {
    let mut from = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    if files.is_empty() {
        from.push_str("no file, discovery by labels only");
    }
    let checks = config.services.values().map(|service| service.checks.len()).sum();
    let mut counts =
        vec![counted(config.services.len(), "service"), counted(checks, "check"), counted(config.hosts.len(), "host")];
    if !config.credentials.is_empty() {
        counts.push(counted(config.credentials.len(), "credential"));
    }
    let warnings = if warnings == 0 { String::new() } else { format!("; {}", counted(warnings, "warning")) };
    format!("ok: {from}: {}{warnings}", counts.join(", "))
}

fn told(mistakes: usize, warnings: usize) -> String {
    let mistakes = counted(mistakes, "mistake");
    if warnings == 0 { mistakes } else { format!("{mistakes}, {}", counted(warnings, "warning")) }
}

/// A mistake or warning, for programs.
#[derive(Debug, Serialize)]
struct Finding<'m> {
    /// `error` or `warning`.
    severity: &'static str,
    /// A path, or `$NAME` for a variable.
    file: &'m str,
    line: Option<usize>,
    column: Option<usize>,
    key: Option<&'m str>,
    found: &'m str,
    expected: Option<&'m str>,
    suggestion: Option<&'m str>,
}

impl<'m> Finding<'m> {
    fn of(mistake: &'m Mistake) -> Self {
        let text = |text: &'m String| Some(text.as_str()).filter(|text| !text.is_empty());
        Self {
            severity: match mistake.level {
                Level::Error => "error",
                Level::Warning => "warning",
            },
            file: &mistake.origin,
            line: mistake.place.as_ref().map(|place| place.line),
            column: mistake.place.as_ref().map(|place| place.column),
            key: text(&mistake.path),
            found: &mistake.got,
            expected: text(&mistake.expected),
            suggestion: mistake.suggestion.as_deref(),
        }
    }
}
