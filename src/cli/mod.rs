//! The command line: what can be asked, and how the answer looks.

mod args;
mod ask;
mod check;
pub mod client;
mod credentials;
mod demo;
mod exit;
mod generate;
mod help;
mod incidents;
mod init;
mod maintenance;
mod table;
mod terminal;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use serde::Serialize;

pub use exit::Exit;

use self::args::{Ask, Cli, Command, Form, Output};
use self::client::ClientError;
use self::terminal::Look;
use crate::app::commands::{self, Failure};
use crate::app::{probe, replay};
use crate::demo::patient;
use crate::system::build::{REVISION, VERSION};

/// The argument that makes the process the program inside the containers of the demo and of tests. It is no command of
/// people's, so it is in no help and in no completion.
const PATIENT: &str = "patient";

/// What a command says on standard output, and how it ends.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    text: String,
    exit: Exit,
}

/// Does what the process's arguments ask for.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == PATIENT) {
        return patient::run(std::env::args_os().skip(2).map(|arg| arg.to_string_lossy().into_owned()));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return tell(&told),
    };
    if cli.connection.socket.is_some() && !matches!(cli.command, Command::Ask(_)) {
        let why = "--socket is for the commands that ask a running daemon; where it listens is [daemon] socket\n";
        return tell(&Cli::command().error(ErrorKind::ArgumentConflict, why));
    }
    let look = Look::of_stdout(cli.color);
    match cli.command {
        Command::Run { config, observe } => work(2, commands::daemon(config.file.as_deref(), observe)),
        Command::Check(check) => say(&check.run(look.colour)),
        Command::Init(init) => work(1, init.run()),
        Command::Probe { service, config, form } => {
            work(1, probe::once(config.file.as_deref(), &service, form.output == Output::Json))
        }
        Command::Replay { file, anyway, form } => conclude(replay::print(&file, anyway, form.output == Output::Json)),
        Command::Demo(demo) => work(2, demo.run(look)),
        Command::Completions { shell } => done(generate::completions(shell)),
        Command::Man { output_dir: None } => match generate::page() {
            Ok(page) => done(page),
            Err(failure) => conclude(Err(failure)),
        },
        Command::Man { output_dir: Some(folder) } => match generate::pages(&folder) {
            Ok(count) => done(format!("{}: {count} pages\n", folder.display())),
            Err(failure) => conclude(Err(failure)),
        },
        Command::Version { form } => done(version(form)),
        Command::Ask(ask) => {
            let socket = ask.socket().cloned().or(cli.connection.socket);
            let socket = socket.or_else(named_socket).unwrap_or_else(commands::socket);
            match runtime(1) {
                Ok(runtime) => match runtime.block_on(answer(ask, socket, look)) {
                    Ok(exit) => exit,
                    Err(error) => complain(&error, error.exit(), error.advice()),
                },
                Err(error) => complain(&error, Exit::Internal, None),
            }
        }
    }
}

/// Help and version are "errors" too, and go to standard output.
fn tell(told: &clap::Error) -> ExitCode {
    match told.print().and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => unwritten(&error),
        _ if told.use_stderr() => Exit::Usage.into(),
        _ => Exit::Done.into(),
    }
}

async fn answer(ask: Ask, socket: PathBuf, look: Look) -> Result<ExitCode, ClientError> {
    if let Ask::Status { form, watch: true, .. } = ask {
        return Ok(match ask::watch(form, socket, look).await? {
            Ok(()) => Exit::Done.into(),
            Err(error) => unwritten(&error),
        });
    }
    ask::run(ask, socket, look).await.map(|said| say(&said))
}

/// The socket that the environment names; an empty name counts as none.
fn named_socket() -> Option<PathBuf> {
    std::env::var_os("IASO_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn runtime(workers: usize) -> io::Result<tokio::runtime::Runtime> {
    match workers {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        _ => tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
}

/// Does what needs no daemon, or is the daemon.
fn work(workers: usize, work: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    match runtime(workers) {
        Ok(runtime) => {
            let done = runtime.block_on(work);
            // A name look-up or a disk that hangs in a thread of the runtime must not keep the process.
            runtime.shutdown_background();
            conclude(done)
        }
        Err(error) => complain(&error, Exit::Internal, None),
    }
}

fn conclude(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            let exit = match failure {
                Failure::Configuration(_) => Exit::Configuration,
                Failure::Unavailable(_) => Exit::Unavailable,
                Failure::NotPermitted(_) => Exit::NotPermitted,
                Failure::No(_) => Exit::No,
                Failure::Internal(_) => Exit::Internal,
            };
            complain(&failure, exit, None)
        }
    }
}

#[derive(Serialize)]
struct Build {
    version: &'static str,
    revision: &'static str,
}

fn version(form: Form) -> String {
    match form.output {
        Output::Table => format!("iaso {VERSION} ({REVISION})\n"),
        Output::Json => json(&Build { version: VERSION, revision: REVISION }),
    }
}

fn json(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

fn done(text: String) -> ExitCode {
    say(&Said { text, exit: Exit::Done })
}

fn say(said: &Said) -> ExitCode {
    match terminal::write(&said.text) {
        Ok(()) => said.exit.into(),
        Err(error) => unwritten(&error),
    }
}

/// An answer that cannot be given is none: whoever keeps it in a file must not take it for whole.
fn unwritten(error: &io::Error) -> ExitCode {
    complain(&format_args!("standard output: {error}"), Exit::Internal, None)
}

fn complain(error: &dyn std::fmt::Display, exit: Exit, advice: Option<&str>) -> ExitCode {
    let advice = advice.map(|advice| format!("\n{advice}")).unwrap_or_default();
    let _ = writeln!(io::stderr(), "iaso: {error}{advice}");
    exit.into()
}
