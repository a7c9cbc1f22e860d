//! Containers that ask by their labels to be watched. Labels are foreign input: who may start a container must not thereby
//! reach another one, run a command or read a secret. What is not on the list of keys is a mistake and changes nothing, and
//! `${...}` is never filled in.

use std::fmt;
use std::time::Duration;

use iaso_policy::id::Identity;
use iaso_policy::spec::{Mode, Step};
use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::decode::{self, Table, Value, duration_of, integer_of, text_of, word_of};
use super::keys::{Key, Kind, LABELS};
use super::mistake::{nearest, one_of, shown};
use super::sections;
use super::url;
use super::validated::{Check, Defaults, Discovery, Recovery, Service, Severity, Target, UrlHost, UrlTemplate};
use super::values;
use super::watch::Labels;

const ENABLE: &str = "iaso.enable";
const AUTOHEAL: &str = "autoheal";
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
    Watched(Box<Service>, Vec<LabelMistake>),
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
    if !discovery.enabled || carried.is_empty() {
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
    let service = Service {
        name: text_of(&tree, "name").unwrap_or(&short_name).to_owned(),
        host: identity.host().to_owned(),
        target: Target::Container(container.to_owned()),
        severity: word_of(&tree, "severity").unwrap_or(Severity::Warning),
        checks: reader.checks(&tree, defaults),
        recovery,
        lifecycle: word_of(&tree, "lifecycle").unwrap_or(defaults.lifecycle),
        after_gap: word_of(&tree, "after_gap").unwrap_or(defaults.after_gap),
        heal_exits: enabled || carried.iter().any(|key| ![AUTOHEAL, DEUNHEALTH].contains(key)),
        start_period: duration_of(&tree, "start_period").unwrap_or(defaults.start_period),
    };
    Asked::Watched(Box::new(service), reader.mistakes)
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

    /// The `iaso.` labels that are right, as the file would have them.
    fn tree<'l>(&mut self, labels: &'l Labels) -> Table<'l> {
        let mut tree = Table::new();
        for (label, text) in labels {
            let Some(path) = label.strip_prefix("iaso.") else { continue };
            let (kind, steps) = match lookup(LABELS, path) {
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
            match value(kind, text) {
                Ok(value) => insert(&mut tree, &steps, value),
                Err(expected) => {
                    let secret = matches!(kind, Kind::Headers) || text.contains('@');
                    let got = if secret { "found another value".to_owned() } else { format!("found {}", shown(text)) };
                    self.mistake(label, got, expected);
                }
            }
        }
        tree
    }

    /// What autoheal's own labels change.
    fn foreign(&mut self, labels: &Labels, base: &Recovery) -> Recovery {
        let mut recovery = base.clone();
        if let Some(text) = labels.get(AUTOHEAL_TIMEOUT) {
            match text.trim().parse::<u64>().ok().filter(|seconds| *seconds <= 3600) {
                Some(seconds) => recovery.spec.stop_timeout = Some(Duration::from_secs(seconds)),
                None => self.mistake(
                    AUTOHEAL_TIMEOUT,
                    format!("found {}", shown(text)),
                    "seconds from 0 to 3600".to_owned(),
                ),
            }
        }
        if let Some(text) = labels.get(AUTOHEAL_ACTION) {
            match text.trim().to_ascii_lowercase().as_str() {
                "restart" => recovery.spec.ladder = vec![Step::Restart],
                "stop" => recovery.spec.ladder = vec![Step::Stop],
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
            match own_url(text_of(table, "url"), integer_of(table, "port")) {
                Ok(url) => checks.push(sections::http_check(table, name.get_ref(), url, defaults)),
                Err(expected) => {
                    self.mistake(&format!("{key}.url"), "no URL of the container's own".to_owned(), expected);
                }
            }
        }
        checks
    }
}

/// The URL of a check: whole, or a path beside a port.
fn own_url(text: Option<&str>, port: Option<u16>) -> values::Read<UrlTemplate> {
    const FORM: &str = "a URL such as \"http://{address}:3000/health\", or a path beside a port";
    let text = match (text.unwrap_or("/"), port) {
        (path, Some(port)) if path.starts_with('/') => format!("http://{{address}}:{port}{path}"),
        (url, None) if !url.starts_with('/') => url.to_owned(),
        _ => return Err(FORM.to_owned()),
    };
    url::template(&text).and_then(|url| if url.host == UrlHost::Container { Ok(url) } else { Err(FORM.to_owned()) })
}

struct Unknown {
    expected: String,
    suggestion: Option<String>,
}

/// The kind of a label's path, and the path's steps.
fn lookup<'p>(keys: &'static [Key], path: &'p str) -> Result<(&'static Kind, Vec<&'p str>), Unknown> {
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
        (Kind::Table(inner), Some(rest)) => lookup(inner, rest)?,
        (Kind::Named(inner), Some(rest)) => {
            let (name, rest) = rest.split_once('.').ok_or_else(|| unknown("iaso.check.NAME.KEY"))?;
            values::name(name).map_err(|expected| unknown(&expected))?;
            let (kind, mut steps) = lookup(inner, rest)?;
            steps.push(name);
            (kind, steps)
        }
        (Kind::Headers | Kind::Json, Some(name)) => (&key.kind, vec![name]),
        (Kind::Table(_) | Kind::Named(_) | Kind::Headers | Kind::Json, None) => return Err(unknown("a key after it")),
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
        Kind::Headers => values::header_value(text).map(|_| string(text)),
        Kind::Json => Ok(string(text)),
        Kind::Integer(..) | Kind::Number(..) => {
            // A text that is no number stays a text, which is then refused as one.
            let value = DeValue::parse(text).map_or_else(|_| string(text), |value| spanned(value.into_inner()));
            decode::scalar(&value, kind).map(|()| value)
        }
        _ => {
            let value = string(text);
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
    use crate::config::validated::{Config, Probe, UrlPort};
    use crate::config::watch::{Verdict, Watched, judge};

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn config(source: &str) -> Config {
        crate::config::decode("iaso.toml", source, &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    fn verdict(source: &str, pairs: &[(&str, &str)]) -> Verdict {
        judge(&config(source), "local", "web", &labels(pairs))
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
        let Probe::Http(http) = &api.probe;
        assert_eq!((&http.url.host, http.url.port), (&UrlHost::Container, Some(UrlPort::Number(3000))));
        assert_eq!((http.url.path.as_str(), &http.expect.status[..]), ("/health", &[(200, 299), (401, 401)][..]));
        assert_eq!(http.expect.json, [("/status".to_owned(), "up".into())]);
        assert_eq!(http.headers, [("host".to_owned(), "localhost".to_owned())]);
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
        let Verdict::Watched(watched) = judge(&config(""), "local", "web", &many) else { panic!() };
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
        let Verdict::Watched(other) = judge(&config(file), "local", "other", &labels(&pairs)) else { panic!() };
        assert_eq!(other.service.name, "any");
        let Verdict::Watched(labelled) = judge(&config(file), "nas", "web", &labels(&pairs)) else { panic!() };
        assert_eq!((labelled.name.as_str(), labelled.service.severity), ("nas.web", Severity::Critical));
        assert_eq!(labelled.service.lifecycle, Lifecycle::Completed);
        assert_eq!(labelled.service.start_period, Duration::from_secs(7));
    }

    /// What labels may lead to, judged without the reader's own rules.
    fn is_allowed(service: &Service, container: &str) -> bool {
        let steps = service.recovery.spec.ladder.iter().all(|step| !matches!(step, Step::Exec(_)));
        let checks = service.checks.iter().all(|check| {
            let Probe::Http(http) = &check.probe;
            http.url.host == UrlHost::Container && http.redirects == 0 && check.interval >= Duration::from_secs(1)
        });
        steps
            && checks
            && service.recovery.commands.is_empty()
            && service.target == Target::Container(container.to_owned())
    }

    fn pairs() -> impl Strategy<Value = Labels> {
        let key = prop_oneof![
            "iaso\\.check\\.[a-c]\\.(url|url|url|port|type|redirects|headers\\.[a-zA-Z]{1,3}|expect\\.(status|json\\./a))",
            "iaso\\.(host|name|check|recovery\\.(mode|window|max_attempts|stop_timeout|backoff\\.(base|max|factor)))",
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
        (proptest::collection::btree_map(key, value, 0..12), proptest::option::of(ladder), checks).prop_map(
            |(mut labels, ladder, checks)| {
                labels.extend(ladder.map(|ladder| ("iaso.recovery.ladder".to_owned(), ladder)));
                labels.extend(checks);
                labels
            },
        )
    }

    proptest! {
        // A failure's seed is printed; a file of seeds would land in the tree's root.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_labels_lead_beyond_the_container(mut labels in pairs(), name in prop_oneof!["[a-z]{1,8}", any::<String>()]) {
            let config = config("");
            for enabled in [false, true] {
                if enabled {
                    labels.insert(ENABLE.to_owned(), "true".to_owned());
                }
                match judge(&config, "local", &name, &labels) {
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
