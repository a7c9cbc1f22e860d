//! Log lines: how they look, who may write them, and the line that each decision becomes.

mod file;
mod json;
mod outlet;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::action::RolloutResult;
use iaso_policy::alert::AlertKey;
use iaso_policy::record::{AlertKind, Event, Hold, Verdict};
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields, Writer, debug_fn};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

use self::file::LogFile;
use self::json::JsonLine;
use self::outlet::Outlet;
use super::words;
use crate::config::validated::{Log, LogFormat};
use crate::journal::{Entry, Listener};
use crate::rollouts::CredentialEntry;
use crate::system::meters::Meters;

/// How long the end of the process may wait for lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The process's log; when it is dropped, it waits a moment for what is not yet written.
pub struct Logs {
    outlets: Vec<Outlet>,
    level: reload::Handle<Targets, Layered<Vec<Lines>, Registry>>,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No thread, or no standard error.
    #[error("{0}")]
    System(#[from] io::Error),
    /// The process has a log already.
    #[error("{0}")]
    Twice(#[from] TryInitError),
}

/// Sends every log line of the process to standard error from now on, and to the configured file as well. Colours go only to
/// a terminal and without `NO_COLOR`. Lines that a sink does not take are counted in `meters`.
///
/// # Errors
/// When the process has a log already, or the operating system refuses.
pub fn init(log: &Log, meters: &Meters) -> Result<Logs, SetupError> {
    // A descriptor of its own: whoever writes to standard error through the library's lock must not wait for this thread.
    let mut stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let terminal = stderr.is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let stderr = Outlet::start("stderr", meters.clone(), move |line| stderr.write_all(line))?;
    let mut layers = vec![if text { text_lines(colour, stderr.clone()) } else { json_lines(stderr.clone()) }];
    let mut outlets = vec![stderr];
    if let Some(path) = &log.file {
        let mut file = LogFile::new(path.clone());
        let file = Outlet::start("file", meters.clone(), move |line| file.append(line))?;
        let text = log.format == LogFormat::Text;
        layers.push(if text { plain_lines(file.clone()) } else { json_lines(file.clone()) });
        outlets.push(file);
    }
    let (filter, level) = reload::Layer::new(allowed(log.level));
    subscriber(filter, layers).try_init()?;
    Ok(Logs { outlets, level })
}

impl Logs {
    /// Sets the lowest level of the lines that are told from then on.
    pub fn level_setter(&self) -> impl Fn(Level) + Send + 'static {
        let handle = self.level.clone();
        // Only a log that has ended cannot be told.
        move |level| drop(handle.reload(allowed(level)))
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        for outlet in &self.outlets {
            outlet.flush(LAST_LINES);
        }
    }
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

fn subscriber<F>(filter: F, layers: Vec<Lines>) -> impl Subscriber + Send + Sync
where
    F: Layer<Layered<Vec<Lines>, Registry>> + Send + Sync,
{
    tracing_subscriber::registry().with(layers).with(filter)
}

fn json_lines<W>(writer: W) -> Lines
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().fmt_fields(JsonFields::new()).event_format(JsonLine);
    layer.with_ansi(false).with_writer(writer).boxed()
}

fn text_lines<W>(colour: bool, writer: W) -> Lines
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().fmt_fields(DefaultFields::new());
    layer.with_ansi(colour).with_target(false).with_writer(writer).boxed()
}

/// Text for a file. What is kept of a span is shared by all who format its fields the same way, so a terminal's colours would
/// end up in the file; these format them differently.
fn plain_lines<W>(writer: W) -> Lines
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| match field.name() {
        "message" => write!(writer, "{value:?}"),
        name => write!(writer, "{name}={value:?}"),
    };
    let layer = tracing_subscriber::fmt::layer().fmt_fields(debug_fn(field).delimited(" "));
    layer.with_ansi(false).with_target(false).with_writer(writer).boxed()
}

/// Iaso's own lines from `level` on; of foreign crates warnings at most, at any level, since their details hold bodies and
/// headers (an engine client's tell container environments), and nothing at all of those whose errors hold secrets.
fn allowed(level: Level) -> Targets {
    let own = LevelFilter::from_level(level);
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("iaso", own)
        // Every crate of AWS's: their warnings quote files with keys in them.
        .with_target("aws_", LevelFilter::OFF)
        .with_target("vaultrs", LevelFilter::OFF)
        .with_target("rustify", LevelFilter::OFF)
}

/// Writes one line for each decision. Holds are told once, not at every renewal.
#[derive(Debug, Default)]
pub struct LogLines {
    held: HashMap<Arc<str>, Hold>,
}

impl LogLines {
    /// Nothing told yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn level(&mut self, entry: &Entry) -> Level {
        match entry.record.event {
            Event::Held { reason, .. } => {
                let known = self.held.insert(Arc::clone(&entry.subject.name), reason);
                if known == Some(reason) || reason == Hold::InFlight { Level::DEBUG } else { Level::INFO }
            }
            Event::Unheld { .. } => {
                self.held.remove(&entry.subject.name);
                Level::DEBUG
            }
            Event::Announced { key: AlertKey { kind: AlertKind::Resolved, .. }, .. } => Level::INFO,
            Event::Quarantined { .. }
            | Event::StormBegan { .. }
            | Event::HostLost { .. }
            | Event::DiskFilled { .. } => Level::ERROR,
            Event::IncidentOpened { .. } | Event::ChargedForGap { .. } | Event::Announced { .. } => Level::WARN,
            Event::EngineRestarted { looping, .. } => {
                if looping {
                    Level::WARN
                } else {
                    Level::INFO
                }
            }
            Event::Ended { verdict: Verdict::NotHealed | Verdict::OperationFailed | Verdict::Denied, .. } => {
                Level::WARN
            }
            Event::Finished { outcome, .. } => match words::failure(outcome) {
                Some(_) => Level::WARN,
                None => Level::DEBUG,
            },
            Event::RolloutEnded {
                result: RolloutResult::Left(_) | RolloutResult::Failed(_) | RolloutResult::Refused(_),
                ..
            } => Level::WARN,
            Event::Reserved { .. } | Event::GivenBack { .. } | Event::Delivered { .. } => Level::DEBUG,
            Event::Health { .. }
            | Event::Settled
            | Event::LifeHealed { .. }
            | Event::SeenRunning
            | Event::Proven { .. } => Level::DEBUG,
            Event::IncidentClosed { .. }
            | Event::Begun { .. }
            | Event::Ended { .. }
            | Event::Released { .. }
            | Event::OperatorStopped { .. }
            | Event::OperatorStopEnded
            | Event::Exited { .. }
            | Event::Paused
            | Event::Resumed
            | Event::MaintenanceBegan { .. }
            | Event::MaintenanceEnded { .. }
            | Event::Acknowledged { .. }
            | Event::Joined { .. }
            | Event::RolloutHeld { .. }
            | Event::RolloutSkipped { .. }
            | Event::RolloutEnded { .. }
            | Event::StormEnded { .. }
            | Event::HostBack { .. }
            | Event::DiskFreed { .. } => Level::INFO,
        }
    }
}

impl Listener for LogLines {
    fn hear(&mut self, entry: &Entry) {
        // The level of a line must be known where it is written, so each level has its place.
        macro_rules! line {
            ($level:ident) => {{
                let fields = Fields::of(&entry.record.event);
                tracing::$level!(
                    event = entry.record.event.name(),
                    service = %entry.subject.name,
                    host = %entry.subject.host,
                    incident = entry.record.incident.map(tracing::field::display),
                    attempt = fields.attempt.map(tracing::field::display),
                    step = fields.step,
                    reason = fields.reason,
                    cause = fields.cause,
                    "{}: {}",
                    about(entry),
                    message(entry),
                );
            }};
        }
        match self.level(entry) {
            Level::ERROR => line!(error),
            Level::WARN => line!(warn),
            Level::INFO => line!(info),
            _ => line!(debug),
        }
    }

    fn hear_credential(&mut self, entry: &CredentialEntry) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    event = entry.what,
                    credential = %entry.credential,
                    "{}: {}",
                    entry.credential,
                    words::printable(&entry.words)
                )
            };
        }
        match entry.level {
            Level::ERROR => line!(error),
            Level::WARN => line!(warn),
            Level::INFO => line!(info),
            _ => line!(debug),
        }
    }
}

/// What a program finds in a line beside its subject.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) attempt: Option<iaso_policy::id::AttemptId>,
    step: Option<&'static str>,
    pub(super) reason: Option<&'static str>,
    cause: Option<&'static str>,
}

impl Fields {
    pub(super) fn of(event: &Event) -> Self {
        let none = Self::default();
        match *event {
            Event::Health { trouble, .. } => Self { reason: trouble.map(|t| t.name()), ..none },
            Event::IncidentOpened { trouble } => Self { reason: Some(trouble.name()), ..none },
            Event::IncidentClosed { ending, .. } => Self { reason: Some(ending.name()), ..none },
            Event::Begun { attempt, step, cause, trouble, .. } => Self {
                attempt: Some(attempt),
                step: Some(step.name()),
                reason: trouble.map(|t| t.name()),
                cause: Some(cause.name()),
            },
            Event::Finished { attempt, .. } => Self { attempt: Some(attempt), ..none },
            Event::Ended { attempt, step, verdict, .. } => {
                Self { attempt: Some(attempt), step: Some(step.name()), reason: Some(verdict.name()), ..none }
            }
            Event::Held { reason, step, .. } => {
                Self { reason: Some(reason.name()), step: step.map(|s| s.name()), ..none }
            }
            Event::RolloutHeld { reason, step, .. } => {
                Self { reason: Some(reason.name()), step: Some(step.name()), ..none }
            }
            Event::RolloutSkipped { reason, .. } => Self { reason: reason.map(Hold::name), ..none },
            Event::RolloutEnded { result, .. } => Self { reason: Some(result.name()), ..none },
            Event::Unheld { reason } => Self { reason: Some(reason.name()), ..none },
            Event::Announced { reason, .. } => Self { reason: reason.map(Hold::name), ..none },
            Event::StormBegan { .. } => Self { reason: Some(Hold::MassFailure.name()), ..none },
            Event::HostLost { .. } => Self { reason: Some(Hold::HostDown.name()), ..none },
            Event::DiskFilled { .. } => Self { reason: Some(Hold::DiskFull.name()), ..none },
            Event::Released { by } => Self { reason: Some(by.name()), ..none },
            _ => none,
        }
    }
}

/// What a line for people is about: the service, or its whole host.
fn about(entry: &Entry) -> &str {
    match entry.record.event {
        Event::HostLost { .. } | Event::HostBack { .. } => &entry.subject.host,
        _ => &entry.subject.name,
    }
}

/// The line for people.
pub(super) fn message(entry: &Entry) -> String {
    let checks = &entry.subject.checks;
    match entry.record.event {
        Event::Health { from, to, trouble } => {
            let why = trouble.map(|trouble| format!(": {}", words::trouble(trouble, checks))).unwrap_or_default();
            format!("{}, was {}{why}", to.name(), from.name())
        }
        Event::IncidentOpened { trouble } => format!("an outage began: {}", words::trouble(trouble, checks)),
        Event::IncidentClosed { ending, lasted } => {
            format!("the outage is over after {} ({})", words::span(lasted), ending.name())
        }
        Event::Begun { step, cause, ordinal, .. } => match cause {
            iaso_policy::action::Cause::Recovery => format!("{}, attempt {ordinal}", words::step(step)),
            iaso_policy::action::Cause::Operator => format!("{}, ordered by a person", words::step(step)),
            iaso_policy::action::Cause::Credential { undo, .. } => {
                format!("{}, for {}", words::step(step), words::rollout(undo))
            }
        },
        Event::Finished { outcome, .. } => match words::failure(outcome) {
            Some(why) => format!("the operation did not go through: {why}"),
            None => "the operation went through".to_owned(),
        },
        Event::Ended { step, verdict, took, .. } => {
            format!("{}: {} ({})", words::step(step), words::verdict(verdict), words::span(took))
        }
        Event::Held { reason, step, .. } => match (reason, step) {
            (Hold::Observe, Some(step)) => format!("would {} now. {}", words::step(step), words::hold_sentence(reason)),
            _ => format!("holding back ({}). {}", reason.name(), words::hold_sentence(reason)),
        },
        Event::Unheld { reason } => format!("no longer held back ({})", reason.name()),
        Event::Quarantined { retry_after, .. } => match retry_after {
            Some(after) => format!("quarantined: recovery has failed too often; one trial in {}", words::span(after)),
            None => "quarantined: recovery has failed too often; it waits for a person".to_owned(),
        },
        Event::Released { by } => format!("the quarantine is over ({})", by.name()),
        Event::Settled => "healthy for long enough: the next wait starts small again".to_owned(),
        Event::OperatorStopped { .. } => "a person stopped it: left alone".to_owned(),
        Event::OperatorStopEnded => "the person's stop no longer counts: back in care".to_owned(),
        Event::Exited { code, .. } => format!("its container exited with code {code}"),
        Event::LifeHealed { .. } => "the container's new life is well".to_owned(),
        Event::SeenRunning => "seen running for the first time".to_owned(),
        Event::Proven { check, .. } => match checks.get(usize::from(check.0)) {
            Some(name) => format!("its check `{name}` passed for the first time"),
            None => "a check of it passed for the first time".to_owned(),
        },
        Event::Paused => "paused by a person".to_owned(),
        Event::Resumed => "resumed by a person".to_owned(),
        Event::MaintenanceBegan { lasting, .. } => {
            format!("put under maintenance by a person, for {}", words::span(lasting))
        }
        Event::MaintenanceEnded { .. } => "its maintenance was ended by a person".to_owned(),
        Event::Acknowledged { lasting } => match lasting {
            Some(lasting) => format!("the outage is acknowledged by a person, for {}", words::span(lasting)),
            None => "the outage is acknowledged by a person".to_owned(),
        },
        Event::Joined { root } => format!("its outage is part of outage {root}, of something that it needs"),
        Event::Announced { key, of_host, .. } => words::announced(key, of_host),
        Event::Delivered { key } => format!("a reporter has taken {key}"),
        Event::EngineRestarted { recently, looping } => {
            let verdict = if looping { ": it loops" } else { "" };
            format!("the engine restarted it, {recently} times within ten minutes{verdict}")
        }
        Event::ChargedForGap { .. } => {
            "it started around Iaso's own unclean end: one recovery is charged, for it may have been Iaso's".to_owned()
        }
        Event::Reserved { operations, .. } => format!("{operations} operations set aside for a changed credential"),
        Event::GivenBack { undo, .. } => format!("the operation set aside for {} is not needed", words::rollout(undo)),
        Event::RolloutHeld { reason, step, .. } => {
            format!("a changed credential waits ({}) to {} it", reason.name(), words::step(step))
        }
        Event::RolloutSkipped { reason: Some(reason), .. } => {
            format!("left out for a changed credential ({}). {}", reason.name(), words::hold_sentence(reason))
        }
        Event::RolloutSkipped { reason: None, .. } => {
            "left out for a changed credential: it has loaded what is new, or loads it when it starts".to_owned()
        }
        Event::RolloutEnded { undo, result, .. } => {
            format!("{} is through: {}", words::rollout(undo), words::rollout_result(result))
        }
        Event::DiskFilled { .. } => {
            "the disk of its host's engine is full: what keeps data there is not restarted".to_owned()
        }
        Event::DiskFreed { lasted, .. } => {
            format!("there is room again on the disk of its host's engine, after {}", words::span(lasted))
        }
        Event::StormBegan { failed, of, .. } => words::storm(failed, of),
        Event::StormEnded { failed, lasted, .. } => {
            format!("the storm on its host, in which {failed} services failed, is over after {}", words::span(lasted))
        }
        Event::HostLost { services, unreached, .. } => words::host_lost(services, unreached),
        Event::HostBack { lasted, .. } => {
            format!("its engine is reached again, after {}: its services are looked at anew", words::span(lasted))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use iaso_policy::action::{Cause, Charge, Trouble};
    use iaso_policy::id::{AttemptId, CheckId, Instance};
    use iaso_policy::spec::Step;

    use crate::config::validated::Severity;
    use crate::journal::Subject;
    use crate::snapshot::example::{record, secs, service};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, text: bool, write: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let sink = buffer.clone();
        let sink = move || sink.clone();
        let lines = if text { text_lines(false, sink) } else { json_lines(sink) };
        crate::system::others_listen_too();
        tracing::subscriber::with_default(subscriber(allowed(level), vec![lines]), write);
        buffer.text()
    }

    fn entry(event: Event) -> Entry {
        let status = service("web");
        Entry {
            record: record(0, event),
            subject: Arc::new(Subject {
                name: status.name,
                identity: status.identity,
                host: status.host,
                severity: Severity::Warning,
                checks: vec!["api".into()],
            }),
        }
    }

    const BEGUN: Event = Event::Begun {
        attempt: AttemptId(7),
        step: Step::Restart,
        cause: Cause::Recovery,
        trouble: Some(Trouble::Check(CheckId(0))),
        instance: Instance { container: 1, started: 1 },
        charge: Charge::Stored,
        ordinal: 2,
    };

    #[test]
    fn a_json_line_carries_the_incident_and_the_reason() {
        let text = logged(Level::INFO, false, || LogLines::new().hear(&entry(BEGUN)));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["incident"], "00000000000000ab");
        assert_eq!(line["attempt"], "0000000000000007");
        assert_eq!((&line["service"], &line["step"]), (&"web".into(), &"restart".into()));
        assert_eq!((&line["reason"], &line["cause"]), (&"check".into(), &"recovery".into()));
        assert_eq!(line["message"], "web: restart, attempt 2");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "ISO 8601 in UTC: {text}");
    }

    #[test]
    fn another_level_holds_from_the_next_line_on() {
        let buffer = Buffer::default();
        let sink = buffer.clone();
        let (filter, level) = reload::Layer::new(allowed(Level::WARN));
        let lines = text_lines(false, move || sink.clone());
        crate::system::others_listen_too();
        tracing::subscriber::with_default(subscriber(filter, vec![lines]), || {
            for (wanted, word) in [(None, "one"), (Some(Level::DEBUG), "two"), (Some(Level::ERROR), "three")] {
                if let Some(wanted) = wanted {
                    level.reload(allowed(wanted)).unwrap();
                }
                tracing::debug!(target: "iaso::probe", "{word}");
                tracing::debug!(target: "hyper::proto", "foreign {word}");
            }
        });
        let text = buffer.text();
        assert!(text.contains("two") && !text.contains("one") && !text.contains("three"), "{text}");
        assert!(!text.contains("foreign"), "{text}");
    }

    #[test]
    fn a_text_line_reads_well_and_has_no_escape_codes() {
        let ended =
            Event::Ended { attempt: AttemptId(7), step: Step::Restart, verdict: Verdict::Healed, took: secs(12) };
        let text = logged(Level::INFO, true, || LogLines::new().hear(&entry(ended)));
        assert!(text.contains(" INFO web: restart: it healed (12 s) "), "{text}");
        assert!(text.contains("incident=00000000000000ab") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_hold_is_told_once_until_it_ends() {
        let held = entry(Event::Held { reason: Hold::Backoff, until: None, step: None, behind: None });
        let text = logged(Level::INFO, true, || {
            let mut lines = LogLines::new();
            lines.hear(&held);
            lines.hear(&held);
            lines.hear(&entry(Event::Unheld { reason: Hold::Backoff }));
            lines.hear(&held);
        });
        assert_eq!(text.matches("holding back (backoff)").count(), 2, "{text}");
    }

    #[test]
    fn what_is_done_about_a_credential_is_told_at_its_level() {
        let entry = |level, words: &str| CredentialEntry {
            now: crate::snapshot::example::at(0),
            credential: "db".into(),
            what: "rotated",
            level,
            words: words.to_owned(),
        };
        for (level, least, lines) in [
            (Level::ERROR, Level::ERROR, 1),
            (Level::WARN, Level::WARN, 1),
            (Level::WARN, Level::ERROR, 0),
            (Level::INFO, Level::INFO, 1),
            (Level::DEBUG, Level::INFO, 0),
            (Level::DEBUG, Level::DEBUG, 1),
        ] {
            let text = logged(least, true, || LogLines::new().hear_credential(&entry(level, "version 7")));
            assert_eq!(text.lines().count(), lines, "{level} at {least}: {text}");
            assert!(lines == 0 || text.contains(&format!("{level} db: version 7")), "{text}");
        }
        let text = logged(Level::INFO, false, || LogLines::new().hear_credential(&entry(Level::INFO, "a\nb\u{1b}c")));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["credential"], &line["event"]), (&"db".into(), &"rotated".into()));
        assert_eq!(line["message"], "db: a b c", "one line, and nothing steers the terminal");
    }

    #[test]
    fn quarantine_is_an_error() {
        let text = logged(Level::ERROR, true, || {
            let mut lines = LogLines::new();
            lines.hear(&entry(Event::Quarantined { trials: 0, retry_after: Some(secs(1800)) }));
            lines.hear(&entry(BEGUN));
        });
        assert!(text.contains("ERROR web: quarantined") && text.contains("one trial in 30 min"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn foreign_crates_tell_no_details_at_any_level() {
        macro_rules! details {
            ($($target:literal)+) => {$(
                tracing::info!(target: $target, "body SECRET");
                tracing::debug!(target: $target, "body SECRET");
                tracing::trace!(target: $target, "body SECRET");
            )+};
        }
        let text = logged(Level::TRACE, true, || {
            details!("bollard::docker" "hyper::proto::h1" "hyper_util::client" "reqwest::connect" "rustls::client::hs");
            details!("h2" "hickory_proto::udp" "tower_http::trace" "axum::rejection" "vaultrs" "rustify");
            // A span of theirs around a line of ours must not lend it their fields either.
            let span = tracing::debug_span!(target: "bollard", "request", body = "SECRET");
            span.in_scope(|| tracing::trace!(target: "iaso::probe", "own"));
            tracing::error!(target: "vaultrs", "token SECRET");
            tracing::warn!(target: "aws_runtime::env_config::normalize", "line SECRET");
            tracing::error!(target: "aws_config::meta::credentials::chain", "answer SECRET");
            tracing::error!(target: "rustify::endpoint", "token SECRET");
            tracing::warn!(target: "reqwest", "kept");
        });
        assert!(!text.contains("SECRET"), "{text}");
        assert!(text.contains("kept") && text.contains("own"), "{text}");
    }

    #[test]
    fn a_line_carries_the_fields_of_the_spans_around_it() {
        let write = || {
            let span = tracing::error_span!("request", request_id = %"abc");
            span.in_scope(|| tracing::warn!(number = 7, flag = true, text = "a \"b\"\n", "said"));
        };
        let line: serde_json::Value = serde_json::from_str(&logged(Level::ERROR, false, || {
            tracing::error_span!("request", request_id = "abc").in_scope(|| tracing::error!(number = 7, "said"));
        }))
        .unwrap();
        assert_eq!(
            (&line["request_id"], &line["number"], &line["message"]),
            (&"abc".into(), &7.into(), &"said".into())
        );
        let line: serde_json::Value = serde_json::from_str(&logged(Level::WARN, false, write)).unwrap();
        assert_eq!(
            (&line["request_id"], &line["flag"], &line["text"]),
            (&"abc".into(), &true.into(), &"a \"b\"\n".into())
        );
        let text = logged(Level::WARN, true, write);
        assert!(text.contains("request_id=abc") && text.contains("number=7") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn a_file_of_text_has_no_colours_beside_a_coloured_terminal() {
        let (terminal, file) = (Buffer::default(), Buffer::default());
        let (to_terminal, to_file) = (terminal.clone(), file.clone());
        let layers = vec![text_lines(true, move || to_terminal.clone()), plain_lines(move || to_file.clone())];
        crate::system::others_listen_too();
        tracing::subscriber::with_default(subscriber(allowed(Level::INFO), layers), || {
            tracing::error_span!("request", request_id = "abc").in_scope(|| tracing::info!(number = 7, "said"));
        });
        assert!(terminal.text().contains('\u{1b}'), "{}", terminal.text());
        let text = file.text();
        assert!(!text.contains('\u{1b}') && text.contains("request_id=\"abc\"") && text.contains("number=7"), "{text}");
    }
}
