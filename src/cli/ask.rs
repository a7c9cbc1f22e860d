//! What a running daemon is asked and ordered, and how its answers are said.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::args::{Ask, Form, Output};
use super::client::{ClientError, Daemon};
use super::exit::Exit;
use super::terminal::{self, Look};
use super::{Said, credentials, incidents, json, maintenance, table};
use crate::api::services::{Accepted, Services};
use crate::app::commands;
use crate::telemetry::explain::Explanation;

/// From one look to the next of `iaso status --watch`.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How everything stands: the answer of `iaso status`.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    #[serde(flatten)]
    pub(super) services: Services,
    /// Iaso's own parts, by name.
    pub(super) components: BTreeMap<String, Component>,
}

/// A part of Iaso, as `/health` tells it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Component {
    /// `healthy`, `degraded` or `unhealthy`.
    pub(super) status: String,
    /// Since when, ISO 8601.
    pub(super) since: String,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

/// The part of `/health` that `status` shows.
#[derive(Debug, Default, Deserialize)]
struct Health {
    components: BTreeMap<String, Component>,
}

/// The part of a service's document that `explain` shows.
#[derive(Deserialize)]
struct Explained {
    explain: Explanation,
}

/// Asks the daemon at `socket`, once.
///
/// # Errors
/// When no daemon answers, or it refuses.
pub(super) async fn run(ask: Ask, socket: PathBuf, look: Look) -> Result<Said, ClientError> {
    let daemon = Daemon::Socket(socket.clone());
    let text = match ask {
        Ask::Status { form, .. } => {
            let status = status(&daemon).await?;
            said(form, &status, |status| table::services(status, look))
        }
        Ask::Explain { service, form, json: as_json, .. } => {
            let answer: Explained = hint(&daemon, &service, daemon.get(&path(&service, "")).await).await?;
            let form = if as_json { Form { output: Output::Json } } else { form };
            said(form, &answer.explain, explained)
        }
        Ask::Incidents(which) => incidents::answer(&daemon, which, look).await?,
        Ask::Restart { service, now, form, .. } => {
            let order = path(&service, &format!("/restart?now={now}"));
            let answer = hint(&daemon, &service, daemon.post(&order).await).await?;
            said(form, &answer, |answer| accepted(answer, "is being restarted"))
        }
        Ask::Pause { service, form, .. } => {
            let answer = hint(&daemon, &service, daemon.post(&path(&service, "/pause")).await).await?;
            said(form, &answer, |answer| accepted(answer, "is paused: Iaso leaves it alone until `iaso resume`"))
        }
        Ask::Resume { service, form, .. } => {
            let answer = hint(&daemon, &service, daemon.post(&path(&service, "/resume")).await).await?;
            said(form, &answer, |answer| accepted(answer, "is in Iaso's care again"))
        }
        Ask::Ack { what, lasting, comment, form, .. } => {
            maintenance::acknowledge(&daemon, &what, lasting, comment, form).await?
        }
        Ask::Maintenance { ask, form, .. } => maintenance::answer(&daemon, ask, form).await?,
        Ask::Credentials { order, form, .. } => credentials::answer(&daemon, order, form).await?,
        Ask::Health { address, form, .. } => {
            let daemon = match address {
                Some(address) => Daemon::Tcp(address),
                None if socket.exists() => daemon,
                None => Daemon::Tcp(commands::address()),
            };
            return Ok(health(&daemon, form).await);
        }
    };
    Ok(Said { text, exit: Exit::Done })
}

/// Shows the status again and again until nobody reads it; a daemon that goes away meanwhile is told of and waited for.
///
/// # Errors
/// When no daemon answers at first.
pub(super) async fn watch(form: Form, socket: PathBuf, look: Look) -> Result<io::Result<()>, ClientError> {
    let daemon = Daemon::Socket(socket);
    let mut shown = status(&daemon).await.map(|status| frame(form, &status, look))?;
    loop {
        // Standard output is written even when there is nothing new, so that a reader that left is noticed.
        if let Err(error) = terminal::write_frame(&shown, look) {
            return Ok(if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        shown = match (status(&daemon).await, form.output) {
            (Ok(status), _) => frame(form, &status, look),
            (Err(error), Output::Table) => format!("{error}\n"),
            (Err(error), Output::Json) => format!("{}\n", serde_json::json!({ "error": error.to_string() })),
        };
    }
}

fn frame(form: Form, status: &Status, look: Look) -> String {
    match form.output {
        Output::Table => table::services(status, look),
        Output::Json => format!("{}\n", serde_json::to_string(status).unwrap_or_default()),
    }
}

async fn status(daemon: &Daemon) -> Result<Status, ClientError> {
    let services = daemon.get("/api/v1/services").await?;
    // A daemon whose `/health` is closed still tells its services.
    let health: Health = daemon.report("/health").await.unwrap_or_default();
    Ok(Status { services, components: health.components })
}

fn path(service: &str, rest: &str) -> String {
    format!("/api/v1/services/{service}{rest}")
}

pub(super) fn said<T: Serialize>(form: Form, answer: &T, in_words: impl FnOnce(&T) -> String) -> String {
    match form.output {
        Output::Table => in_words(answer),
        Output::Json => json(answer),
    }
}

/// The answer about a service; where there is none of this name, with the name that was probably meant.
pub(super) async fn hint<T>(daemon: &Daemon, wanted: &str, answer: Result<T, ClientError>) -> Result<T, ClientError> {
    let error = match answer {
        Err(ClientError::Refused(problem)) if problem.code == "SERVICE_NOT_FOUND" => problem,
        other => return other,
    };
    let known = daemon.get::<Services>("/api/v1/services").await.ok();
    let hint = known.and_then(|known| meant(wanted, &known));
    Err(ClientError::NoSuchService { detail: error.detail.unwrap_or(error.title), hint })
}

/// What somebody probably meant who named a service that is not watched.
fn meant(wanted: &str, known: &Services) -> Option<String> {
    if known.waiting.iter().any(|name| name == wanted) {
        return Some("it is configured, and no container of it exists yet".to_owned());
    }
    if let Some(service) = known.services.iter().find(|service| service.container.as_deref() == Some(wanted)) {
        return Some(format!("the container of that name is service `{}`", service.name));
    }
    let names = || known.services.iter().map(|service| service.name.as_str());
    let mut longer = names().filter(|name| name.contains(wanted));
    let nearest = match (crate::config::nearest(wanted, names()), longer.next(), longer.next()) {
        (Some(name), _, _) | (None, Some(name), None) => name,
        _ => return None,
    };
    Some(format!("did you mean `{nearest}`?"))
}

/// The explanation, and where there is more of it.
fn explained(explanation: &Explanation) -> String {
    let mut text = table::fit_for_a_terminal(&explanation.to_string());
    if let Some(incident) = &explanation.incident {
        let _infallible = writeln!(text, "`iaso incidents {incident}` tells all that was seen and decided.");
    }
    text
}

/// A container engine knows only two answers, so no daemon at all is a "no" here.
async fn health(daemon: &Daemon, form: Form) -> Said {
    let trouble = match daemon.status("/livez").await {
        Ok(status) if status.is_success() => None,
        Ok(status) => Some(format!("the daemon answers {status}")),
        Err(error) => Some(error.to_string()),
    };
    let exit = if trouble.is_none() { Exit::Done } else { Exit::No };
    let text = match (form.output, trouble) {
        (Output::Json, trouble) => json(&serde_json::json!({ "alive": trouble.is_none(), "message": trouble })),
        (Output::Table, None) => "alive\n".to_owned(),
        (Output::Table, Some(trouble)) => format!("not alive: {trouble}\n"),
    };
    Said { text, exit }
}

fn accepted(answer: &Accepted, what: &str) -> String {
    let mut text = format!("{} {what}", answer.service);
    if answer.begun {
        let _infallible = write!(text, " (attempt {})", answer.id);
    }
    text.push('\n');
    text
}
