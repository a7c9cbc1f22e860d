//! What can be asked on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::maintenance::{self, MaintenanceAsk};
use super::terminal::Colour;
use super::{check, demo, generate, help, incidents, init};
use crate::system::build::VERSION;

/// Heals containers, and says what it did and why
#[derive(Debug, Parser)]
#[command(name = "iaso", version = VERSION, max_term_width = 100, after_help = help::IASO)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) connection: Connection,
    /// auto, always or never; auto: to a terminal, unless $NO_COLOR is set or $TERM is dumb
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN", display_order = 100)]
    #[arg(hide_possible_values = true)]
    pub(super) color: Colour,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The daemon: watches, heals, explains
    ///
    /// Watches the containers of its engines, heals those that are broken, within their budgets, and records why it acts and
    /// why it holds back. Runs in the foreground until SIGTERM or Ctrl-C; a second one ends it at once.
    #[command(after_help = help::RUN)]
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Decide and record everything, touch nothing
        #[arg(long)]
        observe: bool,
    },
    /// Tell every mistake of the configuration in one run
    ///
    /// Reads every file that `iaso run` would read, and the environment, and tells each mistake with its line, what was expected
    /// and the nearest right name; then what is right and yet unwise. Nothing is connected to.
    #[command(after_help = help::CHECK)]
    Check(check::Check),
    /// Write a configuration from the containers that run
    ///
    /// Looks at the containers that run now and writes a commented TOML file that watches them: a table for each container or
    /// Compose service, with proposals for checks in comments. Changes nothing else, and never replaces a file unasked.
    #[command(after_help = help::INIT)]
    Init(init::Init),
    /// Run a service's checks once, without a daemon, and show every step
    ///
    /// Finds the service by the configuration and its engine, as the daemon would, runs each of its checks once and shows what
    /// was asked, what came back and how long it took. Nothing is restarted.
    #[command(after_help = help::PROBE)]
    Probe {
        /// The service's name
        #[arg(value_parser = service_name)]
        service: String,
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        form: Form,
    },
    #[command(flatten)]
    Ask(Ask),
    /// Run a flight recording through the policy and print every decision
    ///
    /// The daemon records what it was told. The same inputs lead to the same decisions, so any night can be looked at again,
    /// on any machine.
    #[command(after_help = help::REPLAY)]
    Replay {
        /// A segment (DATA_DIR/flight/*.jsonl), or a folder of them
        file: PathBuf,
        /// Accept another version's recording
        #[arg(long)]
        anyway: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Watch Iaso heal: sick containers of its own making, on this machine's engine or simulated
    ///
    /// Starts a few sick containers among healthy ones, heals them before your eyes with shortened times, and removes all that
    /// it made. Touches nothing else. Without an engine within reach it runs a simulated one.
    #[command(after_help = help::DEMO)]
    Demo(demo::Demo),
    /// Print a shell's completion script
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: generate::Shell,
    },
    /// Print the manual page, or write one for each command
    #[command(after_help = help::MAN)]
    Man {
        /// Write iaso.1 and a page for each command into this folder, which must exist
        #[arg(long, value_name = "DIR")]
        output_dir: Option<PathBuf>,
    },
    /// Which version this is
    #[command(after_help = help::VERSION)]
    Version {
        #[command(flatten)]
        form: Form,
    },
}

/// Where the running daemon is; before or after the command that asks it.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The running daemon's Unix socket [default: $IASO_SOCKET, else the configuration's]
    #[arg(long, value_name = "PATH", display_order = 99)]
    pub(super) socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration [default: $IASO_CONFIG, else /etc/iaso/iaso.toml, else discovery by labels only]
    #[arg(long = "config", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

/// What a running daemon is asked.
#[derive(Debug, Subcommand)]
pub(super) enum Ask {
    /// Every service, and what Iaso does about it
    ///
    /// The worst come first, a count of all comes last. To a terminal, lines are shortened to its width.
    #[command(after_help = help::STATUS)]
    Status {
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
        /// Show it again every 2 s, until Ctrl-C; as JSON: one document per line
        #[arg(long)]
        watch: bool,
    },
    /// What is with a service, what was tried, and what comes next
    #[command(after_help = help::EXPLAIN)]
    Explain {
        /// The service's name
        #[arg(value_parser = service_name)]
        service: String,
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
        /// The same as --output json
        #[arg(long, conflicts_with = "output")]
        json: bool,
    },
    /// Outages, newest first, or the whole story of one
    ///
    /// With an id: what was wrong and for how long, what was seen of the service (its checks, its container, the end of its log
    /// without what may be secret), every decision with its reason, and whose outages are part of it.
    #[command(after_help = help::INCIDENTS)]
    Incidents(incidents::Which),
    /// Restart a service now; costs nothing of its budget
    ///
    /// Ends the service's quarantine, too. The daemon verifies what came of it as it does after a restart of its own.
    #[command(after_help = help::RESTART)]
    Restart {
        /// The service's name
        #[arg(value_parser = service_name)]
        service: String,
        /// End an operation that is in flight rather than be refused
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
    },
    /// No automatic operations for a service until it is resumed
    ///
    /// Its checks go on, and what Iaso would do is recorded. A pause outlives a restart of Iaso.
    #[command(after_help = help::PAUSE)]
    Pause {
        /// The service's name
        #[arg(value_parser = service_name)]
        service: String,
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
    },
    /// End a service's pause and its quarantine
    #[command(after_help = help::RESUME)]
    Resume {
        /// The service's name
        #[arg(value_parser = service_name)]
        service: String,
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
    },
    /// Say that somebody takes care of an outage
    ///
    /// It is shown as acknowledged until it is over. Iaso goes on healing: `iaso pause` or `iaso maintenance` keep it from that.
    #[command(after_help = help::ACK)]
    Ack {
        /// The service that is in it, or the outage's id, of which the first digits do where no other's begins with them
        #[arg(value_parser = service_name, value_name = "SERVICE|INCIDENT")]
        what: String,
        /// Only for so long: "30m", "2h", "1d"; else until it is over
        #[arg(long = "for", value_name = "DURATION", value_parser = maintenance::lasting)]
        lasting: Option<Duration>,
        /// Why; for the daemon's log
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
    },
    /// Leave services alone for a while, and see what is
    ///
    /// Under maintenance checks go on and outages are recorded, but Iaso heals nothing before the end. Without a further command,
    /// or with `list`, tells of every window of the configuration and of every service that is under maintenance now.
    #[command(after_help = help::MAINTENANCE, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
    Maintenance {
        #[command(subcommand)]
        ask: Option<MaintenanceAsk>,
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
    },
    /// Every credential, and orders for one
    ///
    /// Without a further command, or with `list`, tells of every credential how it is, how old and until when. No command ever
    /// shows a value.
    #[command(after_help = help::CREDENTIALS, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
    Credentials {
        #[command(subcommand)]
        order: Option<CredentialAsk>,
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
    },
    /// Whether the daemon is alive, for a container's HEALTHCHECK
    ///
    /// Asks the daemon's socket for /livez or, where there is no socket, the address of [api] listen.
    #[command(after_help = help::HEALTH)]
    Health {
        /// Ask at this TCP address rather than the socket
        #[arg(long, value_name = "ADDRESS:PORT", value_parser = socket_address)]
        address: Option<SocketAddr>,
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
    },
}

/// What is asked of credentials.
#[derive(Debug, Subcommand)]
pub(super) enum CredentialAsk {
    /// Every credential: how it is, how old, until when
    #[command(after_help = help::CREDENTIALS_LIST)]
    List {
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
    },
    /// Store a value by hand
    ///
    /// Reads the value from standard input, or asks for it without showing it; never from the arguments, which others can read.
    /// A line break at its end is no part of it. Stored as a new version where the credential is read from, then published.
    #[command(after_help = help::CREDENTIALS_SET)]
    Set {
        #[command(flatten)]
        which: Which,
        /// Read the value from this file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Read it again now
    #[command(after_help = help::CREDENTIALS_REFRESH)]
    Refresh(Which),
    /// Replace it by a new one now
    ///
    /// The new one is made, stored, applied and verified as [credentials.NAME.rotation] says, and rolled back where it fails.
    #[command(after_help = help::CREDENTIALS_ROTATE)]
    Rotate(Which),
    /// Put the value before this one back, as a new version
    #[command(after_help = help::CREDENTIALS_ROLLBACK)]
    Rollback(Which),
    /// Say what a rotation would do, and do nothing
    #[command(after_help = help::CREDENTIALS_PLAN)]
    Plan(Which),
}

/// One credential of the daemon's.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The credential's name
    #[arg(value_parser = service_name, value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) form: Form,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl CredentialAsk {
    const fn connection(&self) -> &Connection {
        match self {
            Self::List { connection, .. } => connection,
            Self::Set { which, .. }
            | Self::Refresh(which)
            | Self::Rotate(which)
            | Self::Rollback(which)
            | Self::Plan(which) => &which.connection,
        }
    }
}

impl Ask {
    /// Where the daemon is that is asked, as far as the command itself says.
    pub(super) fn socket(&self) -> Option<&PathBuf> {
        let (Self::Status { connection, .. }
        | Self::Explain { connection, .. }
        | Self::Incidents(incidents::Which { connection, .. })
        | Self::Restart { connection, .. }
        | Self::Pause { connection, .. }
        | Self::Resume { connection, .. }
        | Self::Ack { connection, .. }
        | Self::Maintenance { connection, .. }
        | Self::Credentials { connection, .. }
        | Self::Health { connection, .. }) = self;
        let within = match self {
            Self::Credentials { order, .. } => order.as_ref().map(CredentialAsk::connection),
            Self::Maintenance { ask, .. } => ask.as_ref().map(MaintenanceAsk::connection),
            _ => None,
        };
        within.and_then(|within| within.socket.as_ref()).or(connection.socket.as_ref())
    }
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Form {
    /// table: for people; json: for programs
    #[arg(long, short, value_enum, default_value_t = Output::Table, value_name = "FORM")]
    pub(super) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Table,
    Json,
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:9797 or [::1]:9797")
}

/// A service's name, as it may stand in a request's path.
pub(super) fn service_name(name: &str) -> Result<String, String> {
    let fit = (1..=255).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if fit {
        Ok(name.to_owned())
    } else {
        Err("expected a letter or digit, then letters, digits, '_', '.' and '-', 255 in all at most".to_owned())
    }
}
