//! Containers that ask by their labels to be watched. Labels are foreign input: who may start a container must not thereby
//! reach another one, run a command or read a secret. What is not on the list of keys is a mistake and changes nothing, and
//! `${...}` is never filled in.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::Identity;
use iaso_policy::spec::{Mode, Step};
use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::checks::{self, Around, Wrong};
use super::decode::{self, Table, Value, duration_of, text_of, word_of};
use super::keys::{self, Key, Kind, LABELS};
use super::mistake::{nearest, one_of, shown};
use super::presets;
use super::references::References;
use super::sections;
use super::validated::{
    AutohealLabel, Check, Defaults, Discovery, Peer, Probe, Recovery, Service, Severity, Target, UrlHost, UrlPort,
};
use super::values;
use super::watch::Labels;

const ENABLE: &str = "iaso.enable";
const AUTOHEAL: &str = super::autoheal::LABEL;
const AUTOHEAL_TIMEOUT: &str = "autoheal.stop.timeout";
const AUTOHEAL_ACTION: &str = "autoheal.action";
const DEUNHEALTH: &str = "deunhealth.restart.on.unhealthy";

/// The longest value that is read, in bytes.
const MAX_VALUE: usize = 4096;
/// The most checks that one container may ask for.
const MAX_CHECKS: usize = 16;
/// The most mistakes that are told of one container.
const MAX_MISTAKES: usize = 16;

/// A label that means nothing as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMistake {
    /// The container's name.
    pub container: String,
    /// The label's key.
    pub key: String,
    /// What was found. Never the value of a header.
    pub got: String,
    /// What would have been right.
    pub expected: String,
    /// The nearest right name.
    pub suggestion: Option<String>,
}

impl fmt::Display for LabelMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { container, key, got, expected, suggestion } = self;
        write!(f, "container {}: label {}: {got}; expected {expected}", shown(container), shown(key))?;
        match suggestion {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => Ok(()),
        }
    }
}

/// What a container's labels ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// To be watched; mistakes leave their defaults.
    Watched(Arc<Service>, Vec<LabelMistake>),
    /// Nothing; a mistake may be why.
    Nothing(Vec<LabelMistake>),
}

/// Whether a container says `iaso.enable=false` (`0`, `no`, `off`, in any case), which beats everything, the file too.
pub fn is_disabled(labels: &Labels) -> bool {
    labels.get(ENABLE).is_some_and(|value| values::flag(value) == Ok(false))
}

/// Reads what a container that is not disabled, and that the file does not name, asks for.
pub fn read(
    identity: &Identity,
    container: &str,
    labels: &Labels,
    discovery: &Discovery,
    defaults: &Defaults,
) -> Asked {
    let mut reader = Reader { container, mistakes: Vec::new() };
    let enabled = labels.get(ENABLE).is_some_and(|value| values::flag(value) == Ok(true));
    let carried: Vec<&str> = discovery
        .labels
        .iter()
        .filter(|wanted| {
            labels.get(&wanted.key).is_some_and(|value| {
                let flags = wanted.key == ENABLE && values::flag(&wanted.value).is_ok();
                value.trim().eq_ignore_ascii_case(&wanted.value)
                    || flags && values::flag(value) == values::flag(&wanted.value)
            })
        })
        .map(|wanted| wanted.key.as_str())
        .collect();
    let by_autoheal = discovery.autoheal.as_ref().is_some_and(|wanted| reader.autoheal_asks(wanted, labels));
    if !discovery.enabled || carried.is_empty() && !by_autoheal {
        if let Some(value) = labels.get(ENABLE).filter(|value| discovery.enabled && values::flag(value).is_err()) {
            reader.mistake(ENABLE, format!("found {}", shown(value)), "true or false".to_owned());
        }
        return Asked::Nothing(reader.mistakes);
    }
    let tree = reader.tree(labels);
    let mut recovery = reader.foreign(labels, &defaults.recovery);
    let own = sections::recovery_of(&tree, &recovery);
    if own.spec.backoff.base <= own.spec.backoff.max {
        recovery = own;
    } else {
        let got = "base is over max, so that no iaso.recovery label counts".to_owned();
        reader.mistake("iaso.recovery.backoff.base", got, "base at most max".to_owned());
    }
    let short_name = identity.short_name();
    let mut checks = reader.checks(&tree, defaults);
    presets::add_checks(&tree, defaults, &mut checks);
    let says_stop = labels.get(AUTOHEAL_TIMEOUT).is_some_and(|text| autoheal_seconds(text).is_some());
    let careful = presets::careful(&tree, &recovery, says_stop, defaults);
    let service = Service {
        name: text_of(&tree, "name").unwrap_or(&short_name).to_owned(),
        host: identity.host().to_owned(),
        target: Target::Container(container.to_owned()),
        severity: word_of(&tree, "severity").unwrap_or(Severity::Warning),
        checks,
        recovery,
        depends_on: decode::names_of(&tree, "depends_on").into_iter().map(|(name, _)| name.to_owned()).collect(),
        lifecycle: word_of(&tree, "lifecycle").unwrap_or(defaults.lifecycle),
        after_gap: word_of(&tree, "after_gap").unwrap_or(defaults.after_gap),
        heal_exits: enabled || carried.iter().any(|key| ![AUTOHEAL, DEUNHEALTH].contains(key)),
        start_period: duration_of(&tree, "start_period").unwrap_or(defaults.start_period),
        incident_log_lines: defaults.incident_log_lines,
        stateful: presets::said(&tree),
        careful,
    };
    Asked::Watched(Arc::new(service), reader.mistakes)
}

struct Reader<'c> {
    container: &'c str,
    mistakes: Vec<LabelMistake>,
}

impl Reader<'_> {
    fn mistake(&mut self, key: &str, got: String, expected: String) {
        self.tell(key, got, expected, None);
    }

    fn tell(&mut self, key: &str, got: String, expected: String, suggestion: Option<String>) {
        if self.mistakes.len() < MAX_MISTAKES {
            let (container, key) = (self.container.to_owned(), key.to_owned());
            self.mistakes.push(LabelMistake { container, key, got, expected, suggestion });
        }
    }

    /// Whether a mistake was told of a label under `key`.
    fn has_told_of(&self, key: &str) -> bool {
        let under = |told: &str| told.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        self.mistakes.iter().any(|mistake| under(&mistake.key))
    }

    /// The `iaso.` labels that are right, as the file would have them.
    fn tree<'l>(&mut self, labels: &'l Labels) -> Table<'l> {
        let mut tree = Table::new();
        for (label, text) in labels {
            let Some(path) = label.strip_prefix("iaso.") else { continue };
            let (kind, steps) = match lookup(LABELS, path, labels) {
                Ok(found) => found,
                Err(Unknown { expected, suggestion }) => {
                    self.tell(label, "unknown label".to_owned(), expected, suggestion);
                    continue;
                }
            };
            if text.len() > MAX_VALUE {
                self.mistake(label, format!("{} bytes", text.len()), format!("at most {MAX_VALUE} bytes"));
                continue;
            }
            if text.contains("${credential:") {
                let expected = "a check of the file: no label may name a credential".to_owned();
                self.mistake(label, "a credential".to_owned(), expected);
                continue;
            }
            match value(kind, text) {
                Ok(value) => insert(&mut tree, &steps, value),
                Err(expected) => {
                    let secret = matches!(kind, Kind::Headers | Kind::Composed | Kind::Secret | Kind::Private)
                        || text.contains('@');
                    let got = if secret { "found another value".to_owned() } else { format!("found {}", shown(text)) };
                    let nearest = nearest(text, presets::names()).filter(|_| matches!(kind, Kind::Preset));
                    self.tell(label, got, expected, nearest.map(str::to_owned));
                }
            }
        }
        tree
    }

    /// Whether autoheal, told by its environment what to watch, would watch the container.
    fn autoheal_asks(&mut self, wanted: &AutohealLabel, labels: &Labels) -> bool {
        let is_wanted = match wanted {
            AutohealLabel::All => true,
            AutohealLabel::Named(key) => labels.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("true")),
        };
        match labels.get(AUTOHEAL).filter(|_| is_wanted).map(|text| (text, values::flag(text))) {
            Some((text, Err(expected))) => {
                self.mistake(AUTOHEAL, format!("found {}", shown(text)), expected);
                true
            }
            Some((_, Ok(yes))) => yes,
            None => is_wanted,
        }
    }

    /// What autoheal's own labels change.
    fn foreign(&mut self, labels: &Labels, base: &Recovery) -> Recovery {
        let mut recovery = base.clone();
        if let Some(text) = labels.get(AUTOHEAL_TIMEOUT) {
            match autoheal_seconds(text) {
                Some(timeout) => recovery.spec.stop_timeout = Some(timeout),
                None => self.mistake(
                    AUTOHEAL_TIMEOUT,
                    format!("found {}", shown(text)),
                    "seconds from 0 to 3600".to_owned(),
                ),
            }
        }
        if let Some(text) = labels.get(AUTOHEAL_ACTION) {
            match text.trim().to_ascii_lowercase().as_str() {
                "restart" => (recovery.spec.ladder, recovery.spec.restart_dependents) = (vec![Step::Restart], false),
                "stop" => (recovery.spec.ladder, recovery.spec.restart_dependents) = (vec![Step::Stop], false),
                "notify" => recovery.spec.mode = Mode::Notify,
                "none" => recovery.spec.mode = Mode::Off,
                _ => {
                    let expected = "restart, stop, notify or none".to_owned();
                    self.mistake(AUTOHEAL_ACTION, format!("found {}", shown(text)), expected);
                }
            }
        }
        recovery
    }

    fn checks(&mut self, tree: &Table, defaults: &Defaults) -> Vec<Check> {
        let mut checks: Vec<Check> = Vec::new();
        for (index, (name, table)) in decode::table(tree, "check").into_iter().flatten().enumerate() {
            let key = format!("iaso.check.{}", name.get_ref());
            if index == MAX_CHECKS {
                self.mistake(&key, "one check too many".to_owned(), format!("at most {MAX_CHECKS}"));
                break;
            }
            let Some(table) = table.get_ref().as_table() else { continue };
            let kind = text_of(table, "type").unwrap_or("http");
            if !keys::label_check_types().any(|known| known == kind) {
                let types = keys::label_check_types;
                let suggestion = nearest(kind, types()).map(str::to_owned);
                self.tell(&format!("{key}.type"), format!("unknown type {}", shown(kind)), one_of(types()), suggestion);
                continue;
            }
            let references = &References::default();
            let around = Around { defaults, folder: Path::new(""), commands: false, references };
            match checks::check(table, kind, name.get_ref(), &around).and_then(own) {
                Ok(check) => checks.push(check),
                // What it lacks may be a label that was refused.
                Err(Wrong { key: None, .. }) if self.has_told_of(&key) => {}
                Err(Wrong { key: wrong, got, expected }) => {
                    let key = wrong.map_or(key.clone(), |wrong| format!("{key}.{wrong}"));
                    self.mistake(&key, got, expected);
                }
            }
        }
        checks.shrink_to_fit();
        checks
    }
}

/// The check, if it looks at the container itself and nothing else.
fn own(mut check: Check) -> Result<Check, Wrong> {
    const OWN: &str = "{address} with a port of the container's, or {port:N}";
    let is_own = |peer: &Peer| peer.host == UrlHost::Container;
    let wrong = |key: &'static str| Wrong {
        key: Some(key),
        got: "found another address than the container's".to_owned(),
        expected: OWN.to_owned(),
    };
    match Arc::make_mut(&mut check.probe) {
        Probe::Http(http) if http.url.host != UrlHost::Container => Err(wrong("url")),
        Probe::Tcp(tcp) if !is_own(&tcp.peer) => Err(wrong("address")),
        Probe::Tls(tls) if !is_own(&tls.peer) => Err(wrong("address")),
        Probe::Grpc(grpc) if !is_own(&grpc.peer) => Err(wrong("address")),
        Probe::Icmp(UrlHost::Fixed(_)) => Err(wrong("address")),
        Probe::Dns(dns) => {
            let server = dns.server.get_or_insert(Peer { host: UrlHost::Container, port: UrlPort::Number(53) });
            if is_own(server) { Ok(check) } else { Err(wrong("server")) }
        }
        Probe::Command(_) => Err(wrong("type")),
        _ => Ok(check),
    }
}

/// What `autoheal.stop.timeout` says.
fn autoheal_seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().filter(|seconds| *seconds <= 3600).map(Duration::from_secs)
}

struct Unknown {
    expected: String,
    suggestion: Option<String>,
}

/// The kind of a label's path, and the path's steps.
fn lookup<'p>(keys: &'static [Key], path: &'p str, labels: &Labels) -> Result<(&'static Kind, Vec<&'p str>), Unknown> {
    let (head, rest) = match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    let names = || keys.iter().map(|key| key.name);
    let Some(key) = keys.iter().find(|key| key.name == head) else {
        return Err(Unknown { expected: one_of(names()), suggestion: nearest(head, names()).map(str::to_owned) });
    };
    let unknown = |expected: &str| Unknown { expected: expected.to_owned(), suggestion: None };
    let (kind, mut steps) = match (&key.kind, rest) {
        (Kind::Table(inner), Some(rest)) => lookup(inner, rest, labels)?,
        (Kind::NamedTyped(types), Some(rest)) => {
            let (name, rest) = rest.split_once('.').ok_or_else(|| unknown("iaso.check.NAME.KEY"))?;
            values::name(name).map_err(|expected| unknown(&expected))?;
            let word = labels.get(&format!("iaso.check.{name}.type")).map_or("http", String::as_str);
            let common = lookup(types.common, rest, labels);
            let own = types.of(word).map(|keys| lookup(keys, rest, labels));
            let (kind, mut steps) = match (common, own) {
                (Ok(found), _) | (Err(_), Some(Ok(found))) => found,
                (Err(common), None) => return Err(common),
                (Err(common), Some(Err(own))) => {
                    let expected = format!("{}, {}", own.expected, common.expected);
                    return Err(Unknown { expected, suggestion: own.suggestion.or(common.suggestion) });
                }
            };
            steps.push(name);
            (kind, steps)
        }
        (Kind::Headers | Kind::Json, Some(name)) => (&key.kind, vec![name]),
        (Kind::Table(_) | Kind::NamedTyped(_) | Kind::Headers | Kind::Json, None) => {
            return Err(unknown("a key after it"));
        }
        (_, Some(_)) => return Err(unknown("nothing after it")),
        (kind, None) => (kind, Vec::new()),
    };
    steps.push(head);
    Ok((kind, steps))
}

/// A label's text as the file would have it, judged as the file's would be.
fn value<'l>(kind: &Kind, text: &'l str) -> values::Read<Value<'l>> {
    let spanned = |value| Spanned::new(0..0, value);
    let string = |text: &'l str| spanned(DeValue::String(text.into()));
    match kind {
        Kind::Ladder => {
            let mut steps = DeArray::new();
            for step in text.split(',').map(str::trim) {
                match values::step(step, &mut Vec::new()) {
                    Ok(Step::Start | Step::Restart | Step::Signal(_) | Step::Stop) => steps.push(string(step)),
                    _ => return Err("start, restart, stop and signal:NAME, with commas between".to_owned()),
                }
            }
            Ok(spanned(DeValue::Array(steps)))
        }
        Kind::Names => {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            let names: values::Read<DeArray> = names.map(|name| values::name(name).map(string)).collect();
            Ok(spanned(DeValue::Array(names?)))
        }
        Kind::Headers => values::header_value(text).map(|_| string(text)),
        Kind::Json => Ok(string(text)),
        _ => {
            let value = decode::from_text(kind, text, 0..0);
            decode::scalar(&value, kind).map(|()| value)
        }
    }
}

/// Puts a value where its steps lead, which are given from the last to the first.
fn insert<'l>(tree: &mut Table<'l>, steps: &[&'l str], value: Value<'l>) {
    let Some((first, rest)) = steps.split_last() else { return };
    let key = Spanned::new(0..0, (*first).into());
    if rest.is_empty() {
        tree.insert(key, value);
        return;
    }
    let inner = tree.entry(key).or_insert_with(|| Spanned::new(0..0, DeValue::Table(Table::new())));
    if let DeValue::Table(inner) = inner.get_mut() {
        insert(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use iaso_policy::spec::{AfterGap, Lifecycle, OnFailure, Threshold};
    use proptest::prelude::*;

    use super::*;
    use crate::config::validated::{Config, Trust, UrlPort};
    use crate::config::watch::{Verdict, Watched, judge};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn config(source: &str) -> Config {
        crate::config::decode("iaso.toml", source, &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    fn verdict(source: &str, pairs: &[(&str, &str)]) -> Verdict {
        judge(&config(source), "local", "web", "example/web", &labels(pairs))
    }

    fn watched(pairs: &[(&str, &str)]) -> Watched {
        match verdict("", pairs) {
            Verdict::Watched(watched) => *watched,
            other => panic!("{pairs:?}: {other:?}"),
        }
    }

    /// The keys of the mistakes.
    fn told(pairs: &[(&str, &str)]) -> Vec<String> {
        let pairs = [&[(ENABLE, "true")], pairs].concat();
        watched(&pairs).mistakes.into_iter().map(|mistake| mistake.key).collect()
    }

    /// Whoever may start a container must not thereby read a credential of the file's.
    #[test]
    fn no_label_names_a_credential() {
        let file = "[credentials.api]\ntype = \"file\"\npath = \"/run/secrets/api\"\n";
        let ways = [
            ("iaso.check.a.headers.authorization", "Bearer ${credential:api}"),
            ("iaso.check.a.headers.authorization", "$${credential:api}"),
            ("iaso.check.a.expect.body_contains", "${credential:api.value}"),
            ("iaso.check.a.expect.headers.x-key", "${credential:api}"),
            ("iaso.check.a.url", "http://{address}:80/?key=${credential:api}"),
            ("iaso.name", "${credential:api}"),
        ];
        for (key, text) in ways {
            let pairs = [(ENABLE, "true"), ("iaso.check.a.type", "http"), ("iaso.check.a.port", "80"), (key, text)];
            let Verdict::Watched(watched) = verdict(file, &pairs) else { panic!("{key} is not watched") };
            let told: Vec<&LabelMistake> = watched.mistakes.iter().filter(|mistake| mistake.key == key).collect();
            assert_eq!((told.len(), told[0].got.as_str()), (1, "a credential"), "{key}: {:?}", watched.mistakes);
            for check in &watched.service.checks {
                assert!(check.probe.texts().next().is_none(), "{key}: nothing of it is sent");
            }
        }
    }

    #[test]
    fn only_what_asks_is_watched() {
        for pairs in [&[][..], &[("iaso.name", "x")], &[(AUTOHEAL, "false")], &[(ENABLE, "")], &[("Autoheal", "true")]]
        {
            assert!(matches!(verdict("", pairs), Verdict::Unwatched(_)), "{pairs:?}");
        }
        for yes in ["true", "TRUE", "1", "yes", "On", " true "] {
            assert!(watched(&[(ENABLE, yes)]).service.heal_exits, "{yes}");
        }
        let off = "[discovery]\nenabled = false\n";
        assert_eq!(verdict(off, &[(ENABLE, "true")]), Verdict::Unwatched(Vec::new()));
        let Verdict::Unwatched(mistakes) = verdict("", &[(ENABLE, "ture")]) else { panic!() };
        assert_eq!(
            mistakes[0].to_string(),
            "container \"web\": label \"iaso.enable\": found \"ture\"; expected true or false"
        );
    }

    #[test]
    fn a_no_beats_everything() {
        let file = "[services.web]\ncontainer = \"web\"\n";
        for no in ["false", "FALSE", "0", "no", "Off"] {
            assert_eq!(verdict(file, &[(ENABLE, no), (AUTOHEAL, "true")]), Verdict::Disabled, "{no}");
        }
        assert!(matches!(verdict(file, &[]), Verdict::Watched(_)));
    }

    #[test]
    fn others_labels_keep_their_meaning() {
        let foreign = watched(&[(AUTOHEAL, "True"), (AUTOHEAL_TIMEOUT, "42"), (AUTOHEAL_ACTION, "stop")]).service;
        assert!(!foreign.heal_exits);
        assert_eq!(foreign.recovery.spec.stop_timeout, Some(Duration::from_secs(42)));
        assert_eq!(foreign.recovery.spec.ladder, [Step::Stop]);
        assert!(!watched(&[(DEUNHEALTH, "true")]).service.heal_exits);
        assert!(watched(&[(DEUNHEALTH, "true"), (ENABLE, "true")]).service.heal_exits);
        for (action, mode) in [("restart", Mode::Auto), ("notify", Mode::Notify), ("none", Mode::Off)] {
            assert_eq!(watched(&[(AUTOHEAL, "true"), (AUTOHEAL_ACTION, action)]).service.recovery.spec.mode, mode);
        }
        let own = watched(&[(AUTOHEAL, "true"), (AUTOHEAL_TIMEOUT, "42"), ("iaso.recovery.stop_timeout", "7s")]);
        assert_eq!(own.service.recovery.spec.stop_timeout, Some(Duration::from_secs(7)));
        assert_eq!(told(&[(AUTOHEAL_TIMEOUT, "10s"), (AUTOHEAL_ACTION, "x")]), [AUTOHEAL_TIMEOUT, AUTOHEAL_ACTION]);
    }

    #[test]
    fn every_allowed_key_is_read() {
        let watched = watched(&[
            (ENABLE, "true"),
            ("iaso.name", "front"),
            ("iaso.severity", "critical"),
            ("iaso.lifecycle", "running"),
            ("iaso.after_gap", "start"),
            ("iaso.start_period", "5s"),
            ("iaso.recovery.ladder", "signal:HUP, restart"),
            ("iaso.recovery.max_attempts", "2"),
            ("iaso.recovery.backoff.base", "1s"),
            ("iaso.recovery.quarantine_retry", "never"),
            ("iaso.check.api.url", "/health"),
            ("iaso.check.api.port", "3000"),
            ("iaso.check.api.expect.status", "200-299,401"),
            ("iaso.check.api.expect.json./status", "up"),
            ("iaso.check.api.headers.Host", "localhost"),
            ("iaso.check.api.failure_threshold", "3/10"),
            ("iaso.check.ui.url", "https://{address}:{port:443}/"),
            ("iaso.check.ui.on_failure", "alert"),
        ]);
        assert_eq!(watched.mistakes, []);
        assert_eq!(watched.name, "front");
        let service = watched.service;
        assert_eq!(service.severity, Severity::Critical);
        assert_eq!((service.lifecycle, service.after_gap), (Lifecycle::Running, AfterGap::Start));
        assert_eq!(service.start_period, Duration::from_secs(5));
        assert_eq!(service.recovery.spec.ladder, [Step::Signal(1), Step::Restart]);
        assert_eq!((service.recovery.spec.max_attempts, service.recovery.spec.quarantine_retry), (2, None));
        assert_eq!(service.recovery.spec.backoff.base, Duration::from_secs(1));
        let [api, ui] = &service.checks[..] else { panic!("{:?}", service.checks) };
        let Probe::Http(http) = &*api.probe else { panic!() };
        assert_eq!((&http.url.host, http.url.port), (&UrlHost::Container, Some(UrlPort::Number(3000))));
        assert_eq!((http.url.path.as_str(), &http.expect.status[..]), ("/health", &[(200, 299), (401, 401)][..]));
        assert_eq!(http.expect.json, [("/status".to_owned(), "up".into())]);
        assert_eq!(http.headers, [("host".to_owned(), "localhost".into())]);
        assert_eq!((api.on_failure, api.failure), (OnFailure::Heal, Threshold { failures: 3, of: 10 }));
        assert_eq!(ui.on_failure, OnFailure::Alert);
    }

    #[test]
    fn what_is_not_allowed_is_a_mistake_and_changes_nothing() {
        for (key, value) in [
            ("iaso.check.a.url", "http://example.org/"),
            ("iaso.check.a.url", "http://127.0.0.1:{port:80}/"),
            ("iaso.check.a.url", "http://{address}.example.org/"),
            ("iaso.check.a.url", "http://{address}@example.org/"),
            ("iaso.check.a.url", "/health"),
            ("iaso.check.a.url", "http://${SECRET}/"),
            ("iaso.check.a.redirects", "3"),
            ("iaso.check.a.type", "command"),
            ("iaso.check.a.interval", "1ms"),
            ("iaso.check.a", "x"),
            ("iaso.check..url", "x"),
            ("iaso.host", "nas"),
            ("iaso.container", "other"),
            ("iaso.recovery.ladder", "exec:rm -rf /"),
            ("iaso.recovery.ladder", "restart,command:reboot"),
            ("iaso.recovery.ladder", ""),
            ("iaso.recovery.window", "30d"),
            ("iaso.recovery.max_attempts", "0"),
            ("iaso.recovery.backoff.base", "1h"),
            ("iaso.severity", "CRITICAL!"),
            ("iaso.name", "a b"),
            ("iaso.name.x", "a"),
            ("iaso.", ""),
        ] {
            let told = told(&[(key, value)]);
            assert_eq!(told.len(), 1, "{key}={value}: {told:?}");
            assert_eq!(watched(&[(ENABLE, "true"), (key, value)]).service, watched(&[(ENABLE, "true")]).service);
        }
        let typo = watched(&[(ENABLE, "true"), ("iaso.recovery.max_atempts", "3")]);
        assert_eq!(typo.mistakes[0].suggestion.as_deref(), Some("max_attempts"));
    }

    #[test]
    fn mistakes_and_checks_are_bounded_and_hold_no_secret() {
        let many: Labels = (0..200)
            .flat_map(|n| [(format!("iaso.check.c{n}.port"), "80".to_owned()), (format!("iaso.x{n}"), "y".to_owned())])
            .chain([(ENABLE.to_owned(), "true".to_owned())])
            .collect();
        let Verdict::Watched(watched) = judge(&config(""), "local", "web", "example/web", &many) else { panic!() };
        assert_eq!((watched.service.checks.len(), watched.mistakes.len()), (MAX_CHECKS, MAX_MISTAKES));
        let secret = [
            (ENABLE, "true"),
            ("iaso.check.a.headers.Authorization", "hunter2\u{7f}"),
            ("iaso.check.a.url", "http://me:hunter2@a"),
        ];
        assert!(!format!("{:?}", self::watched(&secret).mistakes).contains("hunter2"));
    }

    #[test]
    fn the_file_beats_labels_and_labels_beat_defaults() {
        let file = "[services.front]\ncontainer = \"web\"\nseverity = \"info\"\n[services.any]\nselector = { label = \"a=b\" }\n\
                    [defaults]\nstart_period = \"7s\"\nlifecycle = \"running\"\n";
        let pairs = [(ENABLE, "true"), ("a", "B"), ("iaso.severity", "critical"), ("iaso.lifecycle", "completed")];
        let Verdict::Watched(web) = verdict(file, &pairs) else { panic!() };
        assert_eq!((web.name.as_str(), web.service.severity), ("front", Severity::Info));
        let Verdict::Watched(other) = judge(&config(file), "local", "other", "example/web", &labels(&pairs)) else {
            panic!()
        };
        assert_eq!(other.service.name, "any");
        let Verdict::Watched(labelled) = judge(&config(file), "nas", "web", "example/web", &labels(&pairs)) else {
            panic!()
        };
        assert_eq!((labelled.name.as_str(), labelled.service.severity), ("nas.web", Severity::Critical));
        assert_eq!(labelled.service.lifecycle, Lifecycle::Completed);
        assert_eq!(labelled.service.start_period, Duration::from_secs(7));
    }

    #[test]
    fn law_19_labels_see_none_of_iaso_s_references() {
        let text = "${HOME} ${file:/etc/passwd} $${A}";
        let watched = watched(&[
            (ENABLE, "true"),
            ("iaso.check.a.port", "80"),
            ("iaso.check.a.headers.X-Told", text),
            ("iaso.check.a.expect.body_contains", text),
        ]);
        let Probe::Http(http) = &*watched.service.checks[0].probe else { panic!() };
        assert_eq!(http.headers, [("x-told".to_owned(), text.into())]);
        assert_eq!(http.expect.body_contains, Some(text.into()));
    }

    #[test]
    fn law_19_addresses_of_others_are_refused() {
        for kind in ["tcp", "tls"] {
            let with =
                |address| watched(&[(ENABLE, "true"), ("iaso.check.a.type", kind), ("iaso.check.a.address", address)]);
            let others = with("db.example.org:443");
            assert!(others.service.checks.is_empty() && !others.mistakes.is_empty(), "{kind}: {:?}", others.mistakes);
            assert_eq!(with("{address}:443").service.checks.len(), 1, "{kind}");
        }
    }

    /// What labels may lead to, judged without the reader's own rules.
    fn is_allowed(service: &Service, container: &str) -> bool {
        let own = |peer: &Peer| peer.host == UrlHost::Container;
        // A file of this host, which trust could be taken from.
        let no_file = |trust: &Trust| trust.roots.is_empty();
        let steps = service.recovery.spec.ladder.iter().all(|step| !matches!(step, Step::Exec(_)));
        let checks = service.checks.iter().all(|check| {
            check.interval >= Duration::from_secs(1)
                && match &*check.probe {
                    Probe::Http(http) => {
                        http.url.host == UrlHost::Container && http.redirects == 0 && no_file(&http.trust)
                    }
                    Probe::Tcp(tcp) => own(&tcp.peer),
                    Probe::Tls(tls) => own(&tls.peer) && no_file(&tls.trust),
                    Probe::Dns(dns) => dns.server.as_ref().is_some_and(own),
                    Probe::Grpc(grpc) => own(&grpc.peer) && grpc.tls.as_ref().is_none_or(no_file),
                    Probe::Icmp(host) => *host == UrlHost::Container,
                    // In the container itself.
                    Probe::Exec(_) | Probe::Docker | Probe::Heartbeat(_) => true,
                    Probe::Command(_) => false,
                }
        });
        steps
            && checks
            && service.recovery.commands.is_empty()
            && service.depends_on.iter().all(|name| values::name(name).is_ok())
            && service.target == Target::Container(container.to_owned())
    }

    /// A check of any type, with the keys that could lead somewhere.
    fn a_check() -> impl Strategy<Value = Labels> {
        let kind = "(http|tcp|tls|dns|grpc|icmp|exec|command|docker|heartbeat)";
        let place = "(\\{address\\}|example\\.org|127\\.0\\.0\\.1|\\[::1\\])(:[0-9]{1,4}|:\\{port:[0-9]{1,4}\\})?";
        let path = "(/etc/passwd|ca\\.pem|true|reboot)";
        let keys = (kind, place, place, proptest::option::of(path), proptest::option::of("[0-9]{1,4}"));
        keys.prop_map(|(kind, address, server, file, port)| {
            let pairs = [
                ("type", Some(kind)),
                ("url", Some(format!("http://{address}/"))),
                ("address", Some(address)),
                ("server", Some(server)),
                ("query", Some("a.example".to_owned())),
                ("command", file.clone()),
                ("ca_file", file),
                ("tls", Some("true".to_owned())),
                ("redirects", port.clone()),
                ("port", port),
            ];
            let label = |(key, value): (&str, Option<String>)| Some((format!("iaso.check.d.{key}"), value?));
            pairs.into_iter().filter_map(label).collect()
        })
    }

    fn pairs() -> impl Strategy<Value = Labels> {
        let key = prop_oneof![
            "iaso\\.check\\.[a-c]\\.(url|url|url|port|type|redirects|headers\\.[a-zA-Z]{1,3}|expect\\.(status|json\\./a))",
            "iaso\\.(host|name|depends_on|check|recovery\\.(mode|window|max_attempts|stop_timeout|backoff\\.(base|max|factor)))",
            "(autoheal|autoheal\\.action|autoheal\\.stop\\.timeout|deunhealth\\.restart\\.on\\.unhealthy)",
            "com\\.docker\\.compose\\.(project|service|container-number|oneoff)",
            any::<String>(),
        ];
        let url = "https?://(\\{address\\}|example\\.org|\\[::1\\])(:[0-9]{1,4}|:\\{port:[0-9]{1,5}\\})?(|/|[@./\\\\?#a-z]{1,6})";
        let value = prop_oneof![
            "(true|false|stop|[0-9]{1,6}|[0-9]{1,3}(ms|s|m|h|d)|-?[0-9]\\.[0-9]e[0-9]{1,3})",
            url,
            "[\\[\\]{}=,'\"$A-Z]{0,64}",
            any::<String>(),
        ];
        let ladder = "(start|restart|stop|signal:9|exec:sh|command:x|recreate)(,(restart|exec:sh|webhook:x))?";
        let checks = proptest::collection::btree_map("iaso\\.check\\.[a-c]\\.url", url, 0..3);
        let any = proptest::collection::btree_map(key, value, 0..12);
        (any, proptest::option::of(ladder), checks, a_check()).prop_map(|(mut labels, ladder, checks, check)| {
            labels.extend(ladder.map(|ladder| ("iaso.recovery.ladder".to_owned(), ladder)));
            labels.extend(checks);
            labels.extend(check);
            labels
        })
    }

    proptest! {
        // A failure's seed is printed; a file of seeds would land in the tree's root.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn law_19_no_labels_lead_beyond_the_container(mut labels in pairs(), name in prop_oneof!["[a-z]{1,8}", any::<String>()]) {
            let config = config("");
            for enabled in [false, true] {
                if enabled {
                    labels.insert(ENABLE.to_owned(), "true".to_owned());
                }
                match judge(&config, "local", &name, "example/web", &labels) {
                    Verdict::Watched(watched) => prop_assert!(is_allowed(&watched.service, &name), "{watched:?}"),
                    Verdict::Disabled => prop_assert!(!enabled),
                    Verdict::Unwatched(mistakes) => prop_assert!(!enabled || has_no_identity(&name), "{mistakes:?}"),
                }
            }
        }
    }

    fn has_no_identity(name: &str) -> bool {
        Identity::container("local", name).is_err()
    }
}
