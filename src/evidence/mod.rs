//! Gathers what is seen of a broken service, for whoever looks at its outage later: its checks, its container, what the engine
//! said, and the end of what the container printed.
//!
//! What the supervisor saw is kept at once. What only the engine knows is asked for by a task of each host, a few at a time and
//! for a few seconds: an engine that hangs costs these parts, and neither healing nor another host's.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join};
use futures_util::{StreamExt, stream};
use iaso_policy::Now;
use iaso_policy::id::IncidentId;
use iaso_policy::record::Event;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::incidents::{CheckSeen, ContainerSeen, Evidence, LogTail};
use crate::journal::{CheckScene, ContainerScene, Entry, Listener, Scene};
use crate::redact::Redactor;
use crate::system::tasks::Tasks;

/// How long an engine may take for each of its answers.
const BOUND: Duration = Duration::from_secs(3);
/// Outages of one host that its engine is asked about at once.
const AT_ONCE: usize = 2;
/// Outages of one host that may wait for that.
const QUEUE: usize = 64;
/// The longest tail of a log, in bytes.
const LOG: usize = 16 << 10;
/// The longest other text, in bytes.
const TEXT: usize = 1 << 10;
/// Checks of one service that are kept.
const CHECKS: usize = 32;

/// What is asked of a host's engine. An error is in words.
pub trait Containers: Send + Sync {
    /// How a container stands, by its id.
    fn life<'a>(&'a self, host: &'a str, container: &'a str) -> BoxFuture<'a, Result<Life, String>>;

    /// The newest `lines` of what it printed.
    fn log<'a>(&'a self, host: &'a str, container: &'a str, lines: u16) -> BoxFuture<'a, Result<String, String>>;
}

/// What an engine tells of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// When the life that it is in, or was in last, began: nanoseconds since the epoch on the engine's clock.
    pub started: i64,
    /// How that ended, where it has.
    pub exit_code: Option<i32>,
    /// The kernel killed it, or a process in it, for want of memory.
    pub oom_killed: bool,
    /// What its HEALTHCHECK printed last when it failed, and the code that it returned.
    pub healthcheck: Option<(i64, String)>,
}

/// Takes a piece of evidence, and may take it again with more in it; must return at once.
pub type Keep = Arc<dyn Fn(Evidence) + Send + Sync>;

/// Hears the decisions, and makes a piece of evidence for each that is worth one.
pub struct Gatherer {
    redactor: Redactor,
    keep: Keep,
    hosts: HashMap<Arc<str>, mpsc::Sender<Asked>>,
    /// Of which outage, and of what moment, the newest piece is: decisions of one moment share what is seen.
    newest: Option<(IncidentId, Now)>,
}

/// A piece that lacks what only the engine knows.
struct Asked {
    piece: Evidence,
    container: String,
    started: i64,
    lines: u16,
}

impl Gatherer {
    /// Starts a task for each of these hosts.
    pub fn start(
        hosts: impl IntoIterator<Item = Arc<str>>,
        containers: &Arc<dyn Containers>,
        redactor: &Redactor,
        keep: &Keep,
        tasks: &Tasks,
    ) -> Self {
        let start = |host: Arc<str>| {
            let (asks, asked) = mpsc::channel(QUEUE);
            let asker = Asker {
                host: Arc::clone(&host),
                containers: Arc::clone(containers),
                redactor: redactor.clone(),
                keep: Arc::clone(keep),
            };
            let (asker, asked, stop) = (Arc::new(asker), Arc::new(Mutex::new(asked)), tasks.stop_token());
            tasks.keep("evidence", move || {
                let (asker, asked, stop) = (Arc::clone(&asker), Arc::clone(&asked), stop.clone());
                async move {
                    stop.run_until_cancelled(asker.run(&mut *asked.lock().await)).await;
                }
            });
            (host, asks)
        };
        let hosts = hosts.into_iter().map(start).collect();
        Self { redactor: redactor.clone(), keep: Arc::clone(keep), hosts, newest: None }
    }

    /// What was seen, as far as the supervisor saw it.
    fn piece(&self, incident: IncidentId, entry: &Entry, scene: &Scene) -> Evidence {
        Evidence {
            incident,
            identity: entry.subject.identity.clone(),
            now: entry.record.now,
            event: entry.record.event.name().to_owned(),
            checks: scene.checks.iter().take(CHECKS).map(|check| self.check(check)).collect(),
            container: scene.container.as_ref().map(|container| self.container(container)),
            engine_error: scene.engine_error.as_deref().map(|error| self.redactor.line(error, TEXT)),
            log: LogTail::NotAsked,
        }
    }

    fn check(&self, check: &CheckScene) -> CheckSeen {
        CheckSeen {
            name: check.name.to_string(),
            kind: check.kind.to_owned(),
            passing: check.passing,
            failures: check.failures,
            output: check.output.as_deref().map(|output| self.redactor.line(output, TEXT)),
        }
    }

    fn container(&self, container: &ContainerScene) -> ContainerSeen {
        ContainerSeen {
            name: self.redactor.line(&container.name, TEXT),
            image: self.redactor.line(&container.image, TEXT),
            id: container.id.chars().take(12).collect(),
            state: container.state.to_owned(),
            exit_code: container.exit_code.map(i64::from),
            oom_killed: container.oom_killed,
            healthcheck: None,
        }
    }
}

impl Listener for Gatherer {
    fn hear(&mut self, _entry: &Entry) {}

    fn hear_scene(&mut self, entry: &Entry, scene: &Scene) {
        let Some(incident) = entry.record.incident else { return };
        let moment = (incident, entry.record.now);
        if self.newest.replace(moment) == Some(moment) {
            return;
        }
        let mut piece = self.piece(incident, entry, scene);
        let is_over = matches!(entry.record.event, Event::IncidentClosed { .. });
        if let Some(container) = scene.container.as_ref().filter(|_| !is_over) {
            let asked = Asked {
                piece: Evidence {
                    log: if scene.log_lines == 0 { LogTail::NotAsked } else { LogTail::Asked },
                    ..piece.clone()
                },
                container: container.id.clone(),
                started: container.started,
                lines: scene.log_lines,
            };
            let sent = self.hosts.get(&entry.subject.host).is_some_and(|asks| asks.try_send(asked).is_ok());
            piece.log = match sent {
                _ if scene.log_lines == 0 => LogTail::NotAsked,
                true => LogTail::Asked,
                false => LogTail::Missing("too many outages at once".to_owned()),
            };
        }
        (self.keep)(piece);
    }
}

/// Asks one host's engine.
struct Asker {
    host: Arc<str>,
    containers: Arc<dyn Containers>,
    redactor: Redactor,
    keep: Keep,
}

impl Asker {
    /// Until nobody asks any more.
    async fn run(&self, asked: &mut mpsc::Receiver<Asked>) {
        let asked = stream::poll_fn(|context| asked.poll_recv(context));
        asked.for_each_concurrent(AT_ONCE, |asked| self.ask(asked)).await;
    }

    async fn ask(&self, asked: Asked) {
        let Asked { mut piece, container, started, lines } = asked;
        let life = timeout(BOUND, self.containers.life(&self.host, &container));
        let (life, log) = join(life, self.log(&container, lines)).await;
        piece.log = log;
        if let (Some(seen), Ok(Ok(life))) = (&mut piece.container, life) {
            seen.healthcheck = life.healthcheck.map(|(code, output)| (code, self.redactor.line(&output, TEXT)));
            // A life that began since is another story. One that was learned from an event carries a slightly later stamp.
            if life.started <= started {
                seen.oom_killed |= life.oom_killed;
                seen.exit_code = seen.exit_code.or(life.exit_code.map(i64::from));
            }
        }
        (self.keep)(piece);
    }

    async fn log(&self, container: &str, lines: u16) -> LogTail {
        if lines == 0 {
            return LogTail::NotAsked;
        }
        match timeout(BOUND, self.containers.log(&self.host, container, lines)).await {
            Ok(Ok(text)) => LogTail::Lines(self.redactor.tail(&text, usize::from(lines), LOG)),
            Ok(Err(why)) => LogTail::Missing(self.redactor.line(&why, TEXT)),
            Err(_) => LogTail::Missing(format!("the engine did not answer within {} s", BOUND.as_secs())),
        }
    }
}
