//! Maintenance and acknowledgement, on the command line.

use std::fmt::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::args::{Connection, Form, service_name};
use super::ask::said;
use super::client::{ClientError, Daemon};
use super::help;
use crate::api::maintenance::{Acknowledgement, LONGEST, Maintenance, MaintenanceOrder, Ordered, Window};
use crate::api::services::{Accepted, Services};
use crate::config;
use crate::telemetry::words;

/// What is asked of maintenance.
#[derive(Debug, Subcommand)]
pub(super) enum MaintenanceAsk {
    /// The windows of the configuration, and what is under maintenance now
    #[command(after_help = help::MAINTENANCE_LIST)]
    List {
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        connection: Connection,
    },
    /// Leave services alone for a while
    ///
    /// Takes the place of an earlier order for the same services. It outlives a restart of Iaso, and ends by itself.
    #[command(after_help = help::MAINTENANCE_START)]
    Start {
        #[command(flatten)]
        whom: Whom,
        /// How long, from now, 31 days at most: "30m", "2h", "1d"
        #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
        lasting: Duration,
    },
    /// End maintenance now, that of a window of the configuration included
    ///
    /// What is still broken is healed. A window that is ended early is open again when it opens next.
    #[command(after_help = help::MAINTENANCE_END)]
    End {
        #[command(flatten)]
        whom: Whom,
    },
}

/// The services that an order is for.
#[derive(Debug, Args)]
pub(super) struct Whom {
    /// The services' names
    #[arg(value_parser = service_name, value_name = "SERVICE", required_unless_present = "all")]
    pub(super) services: Vec<String>,
    /// Every service, and those that come meanwhile
    #[arg(long, conflicts_with = "services")]
    pub(super) all: bool,
    /// Why; for the daemon's log
    #[arg(long, value_name = "TEXT")]
    pub(super) comment: Option<String>,
    #[command(flatten)]
    pub(super) form: Form,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl MaintenanceAsk {
    pub(super) const fn connection(&self) -> &Connection {
        match self {
            Self::List { connection, .. } => connection,
            Self::Start { whom, .. } | Self::End { whom } => &whom.connection,
        }
    }
}

/// Asks, and says what came of it.
///
/// # Errors
/// When no daemon answers, or it refuses.
pub(super) async fn answer(daemon: &Daemon, ask: Option<MaintenanceAsk>, form: Form) -> Result<String, ClientError> {
    let (whom, lasting, path) = match ask {
        None => return list(daemon, form).await,
        Some(MaintenanceAsk::List { form, .. }) => return list(daemon, form).await,
        Some(MaintenanceAsk::Start { whom, lasting }) => (whom, Some(lasting), "/api/v1/maintenance"),
        Some(MaintenanceAsk::End { whom }) => (whom, None, "/api/v1/maintenance/end"),
    };
    let Whom { services, all, comment, form, .. } = whom;
    let order =
        MaintenanceOrder { services, everything: all, for_seconds: lasting.map(|span| span.as_secs()), comment };
    let answer: Ordered = daemon.order(path, &order).await?;
    Ok(said(form, &answer, ordered))
}

/// Acknowledges an outage by its id, or the one that a service is in.
///
/// # Errors
/// When no daemon answers, there is no such outage, or it refuses.
pub(super) async fn acknowledge(
    daemon: &Daemon,
    what: &str,
    lasting: Option<Duration>,
    comment: Option<String>,
    form: Form,
) -> Result<String, ClientError> {
    let known: Services = daemon.get("/api/v1/services").await?;
    let incident = match known.services.iter().find(|service| service.name == what) {
        Some(service) => service
            .incident
            .as_deref()
            .ok_or_else(|| ClientError::NoValue(format!("{what} is in no outage: there is nothing to acknowledge")))?,
        None => {
            let open = known.services.iter().filter_map(|service| service.incident.as_deref());
            let begin_so: Vec<&str> = open.filter(|id| id.starts_with(&what.to_ascii_lowercase())).collect();
            match begin_so[..] {
                [id] => id,
                [] => {
                    let detail = format!("there is no service, and no outage that goes on, `{what}`");
                    return Err(ClientError::NoSuchService { detail, hint: None });
                }
                _ => {
                    let several = format!("several outages' ids begin with `{what}`: {}", begin_so.join(", "));
                    return Err(ClientError::NoValue(several));
                }
            }
        }
    };
    let order = Acknowledgement { for_seconds: lasting.map(|span| span.as_secs()), comment };
    let answer: Accepted = daemon.order(&format!("/api/v1/incidents/{incident}/ack"), &order).await?;
    let until = lasting.map_or_else(|| "until it is over".to_owned(), |span| format!("for {}", words::span(span)));
    Ok(said(form, &answer, |answer| format!("the outage of {} is acknowledged {until}\n", answer.service)))
}

async fn list(daemon: &Daemon, form: Form) -> Result<String, ClientError> {
    let all: Maintenance = daemon.get("/api/v1/maintenance").await?;
    Ok(said(form, &all, table))
}

fn ordered(answer: &Ordered) -> String {
    let (who, are) = match &answer.services[..] {
        [] => ("everything".to_owned(), "is"),
        [one] => (one.clone(), "is"),
        several => (several.join(", "), "are"),
    };
    match &answer.until {
        Some(until) => format!("{who} {are} under maintenance until {}\n", minute(until)),
        None => format!("{who} {are} under maintenance no longer\n"),
    }
}

/// A line for each window, and for each service that is under maintenance.
fn table(all: &Maintenance) -> String {
    let mut text = String::new();
    for window in &all.windows {
        let open = window.open_until.as_deref().map(|until| format!("open until {}", minute(until)));
        let next = window.next.as_deref().map(|next| format!("next {}", minute(next)));
        let when: Vec<String> = open.into_iter().chain(next).collect();
        let when = if when.is_empty() { "over".to_owned() } else { when.join(", ") };
        let _infallible = writeln!(text, "{} ({}): {when}", words::printable(&window.name), covered(window));
    }
    if all.windows.is_empty() {
        text.push_str("No window is configured: [[maintenance]] makes one.\n");
    }
    for service in &all.services {
        let _infallible = writeln!(text, "{} is under maintenance until {}", service.service, minute(&service.until));
    }
    if all.services.is_empty() {
        text.push_str("Nothing is under maintenance now.\n");
    }
    text
}

fn covered(window: &Window) -> String {
    let hosts = window.hosts.iter().map(|host| format!("host {host}"));
    let names: Vec<String> = hosts.chain(window.services.iter().cloned()).collect();
    if names.is_empty() { "everything".to_owned() } else { names.join(", ") }
}

/// A time to the minute.
fn minute(time: &str) -> String {
    time.parse::<Timestamp>().map_or_else(|_| time.to_owned(), |time| time.strftime("%Y-%m-%d %H:%MZ").to_string())
}

/// A duration from a second to the longest that there is.
pub(super) fn lasting(text: &str) -> Result<Duration, String> {
    let span = config::duration(text).map_err(|expected| format!("expected {expected}"))?;
    if (1..=LONGEST).contains(&span.as_secs()) {
        Ok(Duration::from_secs(span.as_secs()))
    } else {
        Err("expected a duration from \"1s\" to \"31d\"".to_owned())
    }
}
