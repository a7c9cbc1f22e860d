//! Log lines: how they look, who may write them, and the line that each decision becomes.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Arc;

use iaso_policy::record::{Event, Hold, Verdict};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

use super::words;
use crate::config::validated::LogFormat;
use crate::journal::{Entry, Listener};

/// Sends every log line of the process to standard error from now on, colours only to a terminal and without `NO_COLOR`.
///
/// # Errors
/// When the process has a log already.
pub fn init(level: Level, format: LogFormat) -> Result<(), TryInitError> {
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = match format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    subscriber(level, text, colour, std::io::stderr).try_init()
}

fn subscriber<W>(level: Level, text: bool, colour: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::registry().with(lines(text, colour, writer)).with(allowed(level))
}

fn lines<W>(text: bool, colour: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    Registry: for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    if text {
        layer.with_ansi(colour).with_target(false).boxed()
    } else {
        layer.json().flatten_event(true).with_target(false).with_current_span(false).with_span_list(false).boxed()
    }
}

/// Iaso's own lines from `level` on; of foreign crates warnings at most, at any level, since their details hold bodies and
/// headers (an engine client's tell container environments), and nothing at all of those whose errors hold secrets.
fn allowed(level: Level) -> Targets {
    let own = LevelFilter::from_level(level);
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("iaso", own)
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
            Event::Quarantined { .. } => Level::ERROR,
            Event::IncidentOpened { .. } | Event::ChargedForGap { .. } => Level::WARN,
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
            Event::Health { .. } | Event::Settled | Event::SeenRunning | Event::Proven { .. } => Level::DEBUG,
            Event::IncidentClosed { .. }
            | Event::Begun { .. }
            | Event::Ended { .. }
            | Event::Released { .. }
            | Event::OperatorStopped { .. }
            | Event::OperatorStopEnded
            | Event::Exited { .. }
            | Event::Paused
            | Event::Resumed => Level::INFO,
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
                    entry.subject.name,
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
}

/// What a program finds in a line beside its subject.
#[derive(Default)]
struct Fields {
    attempt: Option<iaso_policy::id::AttemptId>,
    step: Option<&'static str>,
    reason: Option<&'static str>,
    cause: Option<&'static str>,
}

impl Fields {
    fn of(event: &Event) -> Self {
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
            Event::Unheld { reason } => Self { reason: Some(reason.name()), ..none },
            Event::Released { by } => Self { reason: Some(by.name()), ..none },
            _ => none,
        }
    }
}

/// The line for people.
fn message(entry: &Entry) -> String {
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
        Event::SeenRunning => "seen running for the first time".to_owned(),
        Event::Proven { check, .. } => match checks.get(usize::from(check.0)) {
            Some(name) => format!("its check `{name}` passed for the first time"),
            None => "a check of it passed for the first time".to_owned(),
        },
        Event::Paused => "paused by a person".to_owned(),
        Event::Resumed => "resumed by a person".to_owned(),
        Event::EngineRestarted { recently, looping } => {
            let verdict = if looping { ": it loops" } else { "" };
            format!("the engine restarted it, {recently} times within ten minutes{verdict}")
        }
        Event::ChargedForGap { .. } => {
            "it started around Iaso's own unclean end: one recovery is charged, for it may have been Iaso's".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
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
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, text: bool, write: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let sink = buffer.clone();
        tracing::subscriber::with_default(subscriber(level, text, false, move || sink.clone()), write);
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
    fn a_text_line_reads_well_and_has_no_escape_codes() {
        let ended =
            Event::Ended { attempt: AttemptId(7), step: Step::Restart, verdict: Verdict::Healed, took: secs(12) };
        let text = logged(Level::INFO, true, || LogLines::new().hear(&entry(ended)));
        assert!(text.contains(" INFO web: restart: it healed (12 s) "), "{text}");
        assert!(text.contains("incident=00000000000000ab") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_hold_is_told_once_until_it_ends() {
        let held = entry(Event::Held { reason: Hold::Backoff, until: None, step: None });
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
        let text = logged(Level::TRACE, true, || {
            tracing::debug!(target: "bollard::docker", "body SECRET");
            tracing::info!(target: "hyper::proto", "header SECRET");
            tracing::error!(target: "vaultrs", "token SECRET");
            tracing::warn!(target: "reqwest", "kept");
            tracing::trace!(target: "iaso::probe", "own");
        });
        assert!(!text.contains("SECRET"), "{text}");
        assert!(text.contains("kept") && text.contains("own"), "{text}");
    }
}
