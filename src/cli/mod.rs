//! The command line: what can be asked, and how the answer looks.

pub mod client;
mod demo;
mod exit;
mod table;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

pub use exit::Exit;

use self::client::{ClientError, Daemon};
use crate::api::services::{Accepted, Services};
use crate::app::commands::{self, Failure};
use crate::app::{probe, replay};
use crate::system::build::{REVISION, VERSION};
use crate::telemetry::explain::Explanation;

/// Where the daemon serves health and metrics when nothing says otherwise.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9797);

/// Heals containers, and says what it did and why.
#[derive(Debug, Parser)]
#[command(name = "iaso", version = VERSION, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    /// The running daemon's Unix socket [default: the configuration's]
    #[arg(long, global = true, env = "IASO_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The daemon: watches, heals, explains
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Decide and record everything, touch nothing
        #[arg(long)]
        observe: bool,
    },
    /// Run a service's checks once, without a daemon, and show every step
    Probe {
        /// The service's name
        #[arg(value_parser = service_name)]
        service: String,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Run a flight recording through the policy and print every decision
    Replay {
        /// A segment (DATA_DIR/flight/*.jsonl), or a folder of them
        file: PathBuf,
        /// Accept another version's recording
        #[arg(long)]
        anyway: bool,
    },
    /// Watch Iaso heal: sick containers of its own making, on this machine's engine or simulated
    Demo(demo::Demo),
    #[command(flatten)]
    Ask(Ask),
    /// Which version this is
    Version,
    /// The program that the demo's and the tests' containers run
    #[command(hide = true, disable_help_flag = true)]
    Patient(demo::Patient),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration [default: $IASO_CONFIG, else /etc/iaso/iaso.toml, else discovery by labels only]
    #[arg(long = "config", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What a running daemon is asked.
#[derive(Debug, Subcommand)]
enum Ask {
    /// Every service, and what Iaso does about it
    Status {
        /// How the answer looks
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// What is with a service, what was tried, and what comes next
    Explain {
        /// The service's name
        #[arg(value_parser = service_name)]
        service: String,
        /// The answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Restart a service now; costs nothing of its budget
    Restart {
        /// The service's name
        #[arg(value_parser = service_name)]
        service: String,
        /// End an operation that is in flight rather than be refused
        #[arg(long)]
        now: bool,
    },
    /// No automatic operations for a service until it is resumed
    Pause {
        /// The service's name
        #[arg(value_parser = service_name)]
        service: String,
    },
    /// End a service's pause and its quarantine
    Resume {
        /// The service's name
        #[arg(value_parser = service_name)]
        service: String,
    },
    /// Whether the daemon is alive: exit 0 or 1, for a container's HEALTHCHECK
    Health {
        /// Ask at this TCP address rather than the socket
        #[arg(long, value_name = "ADDRESS:PORT")]
        address: Option<SocketAddr>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What a command says on standard output, and how it ends.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    text: String,
    exit: Exit,
}

/// Does what the process's arguments ask for.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" too, and go to standard output.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    match cli.command {
        Command::Run { config, observe } => work(2, commands::daemon(config.file.as_deref(), observe)),
        Command::Probe { service, config } => work(1, probe::once(config.file.as_deref(), &service)),
        Command::Replay { file, anyway } => conclude(replay::print(&file, anyway)),
        Command::Demo(demo) => demo.run(),
        Command::Patient(patient) => patient.run(),
        Command::Version => say(&Said { text: format!("iaso {VERSION} ({REVISION})\n"), exit: Exit::Done }),
        Command::Ask(ask) => {
            let socket = cli.socket.unwrap_or_else(commands::socket);
            match runtime(1) {
                Ok(runtime) => match runtime.block_on(run(ask, socket, wants_colour())) {
                    Ok(said) => say(&said),
                    Err(error) => complain(&error, error.exit()),
                },
                Err(error) => complain(&error, Exit::Internal),
            }
        }
    }
}

fn runtime(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
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
        Err(error) => complain(&error, Exit::Internal),
    }
}

fn conclude(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            let exit = match failure {
                Failure::Configuration(_) => Exit::Configuration,
                Failure::Unavailable(_) => Exit::Unavailable,
                Failure::No(_) => Exit::No,
                Failure::Internal(_) => Exit::Internal,
            };
            complain(&failure, exit)
        }
    }
}

fn say(said: &Said) -> ExitCode {
    // A reader that has seen enough, such as `head`, is no failure.
    let _ = std::io::stdout().write_all(said.text.as_bytes());
    said.exit.into()
}

async fn run(ask: Ask, socket: PathBuf, colour: bool) -> Result<Said, ClientError> {
    let daemon = Daemon::Socket(socket.clone());
    let text = match ask {
        Ask::Status { output: Output::Table } => table::services(&daemon.get("/api/v1/services").await?, colour),
        Ask::Status { output: Output::Json } => json(&daemon.get::<Services>("/api/v1/services").await?),
        Ask::Explain { service, json: as_json } => {
            let answer: Explained = daemon.get(&format!("/api/v1/services/{service}")).await?;
            if as_json { json(&answer.explain) } else { answer.explain.to_string() }
        }
        Ask::Restart { service, now } => {
            let answer = daemon.post(&format!("/api/v1/services/{service}/restart?now={now}")).await?;
            accepted(&answer, "is being restarted")
        }
        Ask::Pause { service } => {
            let answer = daemon.post(&format!("/api/v1/services/{service}/pause")).await?;
            accepted(&answer, "is paused: Iaso leaves it alone until `iaso resume`")
        }
        Ask::Resume { service } => {
            let answer = daemon.post(&format!("/api/v1/services/{service}/resume")).await?;
            accepted(&answer, "is in Iaso's care again")
        }
        Ask::Health { address } => {
            let daemon = match address {
                Some(address) => Daemon::Tcp(address),
                None if socket.exists() => daemon,
                None => Daemon::Tcp(DEFAULT_LISTEN),
            };
            return Ok(health(&daemon).await);
        }
    };
    Ok(Said { text, exit: Exit::Done })
}

/// The part of a service's document that `explain` shows.
#[derive(Deserialize)]
struct Explained {
    explain: Explanation,
}

/// A container engine knows only two answers, so no daemon at all is a "no" here.
async fn health(daemon: &Daemon) -> Said {
    match daemon.status("/livez").await {
        Ok(status) if status.is_success() => Said { text: "alive\n".to_owned(), exit: Exit::Done },
        Ok(status) => Said { text: format!("not alive: the daemon answers {status}\n"), exit: Exit::No },
        Err(error) => Said { text: format!("not alive: {error}\n"), exit: Exit::No },
    }
}

fn accepted(answer: &Accepted, what: &str) -> String {
    let attempt = if answer.begun { format!(" (attempt {})", answer.id) } else { String::new() };
    format!("{} {what}{attempt}\n", answer.service)
}

fn json(document: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

fn complain(error: &dyn std::error::Error, exit: Exit) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "iaso: {error}");
    exit.into()
}

/// Colours go to a terminal whose user has not set `NO_COLOR`.
fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A service's name, as it may stand in a request's path.
fn service_name(name: &str) -> Result<String, String> {
    let fit = (1..=255).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if fit {
        Ok(name.to_owned())
    } else {
        Err("expected a letter or digit, then letters, digits, '_', '.' and '-', 255 in all at most".to_owned())
    }
}
