//! What the environment overrides and fills in.

use super::*;
use crate::config::examine;
use crate::config::keys::{Key, Kind, ROOT};
use crate::config::mistake::Level;
use crate::config::watch::{Labels, Verdict, judge};

/// A file of this text, read in this environment.
fn examined(source: &str, variables: &Environment) -> Examined {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), source).unwrap();
    examine(Some(file.path()), variables)
}

fn accepted(source: &str, variables: &Environment) -> Config {
    examined(source, variables).outcome.unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn refused(source: &str, variables: &Environment) -> Vec<Mistake> {
    examined(source, variables).outcome.unwrap_err().0
}

#[test]
fn variables_override_the_file() {
    let source = "[api]\nlisten = \"127.0.0.1:1\"\n[defaults]\nfailure_threshold = 5\n[daemon]\nlog.level = \"warn\"\n";
    let config = accepted(
        source,
        &env([
            ("IASO_API_LISTEN", "[::]:9797"),
            ("IASO_DAEMON_LOG_LEVEL", "debug"),
            ("IASO_DAEMON_LOG_FORMAT", "json"),
            ("IASO_DEFAULTS_FAILURE_THRESHOLD", "3/10"),
            ("IASO_DEFAULTS_INTERVAL", ""),
            ("IASO_DEFAULTS_RECOVERY_MAX_RESTARTS", "7"),
            ("IASO_DEFAULTS_RECOVERY_BACKOFF_FACTOR", "3"),
            ("IASO_DISCOVERY_ENABLED", "off"),
            ("IASO_RECOVERY_HOST_BUDGET_MAX", "9"),
        ]),
    );
    assert_eq!(config.api.listen.to_string(), "[::]:9797");
    assert_eq!((config.daemon.log.level, config.daemon.log.format), (tracing::Level::DEBUG, LogFormat::Json));
    assert_eq!(config.defaults.failure, Threshold { failures: 3, of: 10 });
    assert_eq!(config.defaults.interval, Duration::from_secs(30), "an empty variable is none");
    let recovery = &config.defaults.recovery.spec;
    assert_eq!((recovery.restarts.max, recovery.backoff.factor), (7, 3.0));
    assert_eq!((config.discovery.enabled, config.fleet.host_budget.max), (false, 9));
}

#[test]
fn what_a_variable_says_is_judged_as_the_file_s() {
    for (name, value) in [
        ("IASO_API_LISTEN", "localhost"),
        ("IASO_DEFAULTS_INTERVAL", "30 seconds"),
        ("IASO_DEFAULTS_RECOVERY_MAX_RESTARTS", "many"),
        ("IASO_DEFAULTS_RECOVERY_MAX_RESTARTS", "-1"),
        ("IASO_DISCOVERY_ENABLED", "perhaps"),
        ("IASO_DAEMON_LOG_LEVEL", "verbose"),
        ("IASO_API_LISTEN", "${HOME}"),
    ] {
        let told = refused("", &env([(name, value)]));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].origin.as_str(), &told[0].place), (format!("${name}").as_str(), &None), "{told:?}");
        assert!(!told[0].path.is_empty() && !told[0].expected.is_empty(), "{told:?}");
    }
}

#[test]
fn a_variable_that_overrides_nothing_is_told() {
    let told = |name: &str| refused("", &env([(name, "1")])).remove(0);
    assert_eq!(told("IASO_API_LISTNE").suggestion.as_deref(), Some("IASO_API_LISTEN"));
    assert_eq!(told("IASO_DEAMON_SOCKET").suggestion.as_deref(), Some("IASO_DAEMON_SOCKET"));
    assert!(told("IASO_DISCOVERY_LABELS").got.contains("no key that has one value"));
    assert!(told("IASO_SERVICES_WEB_HOST").got.contains("[services] is not for variables"));
    let others =
        env([("IASO_SOCKET", "x"), ("IASO_API_KEY", "x"), ("IASO_TEST_X", "x"), ("IASOX", "x"), ("PATH", "x")]);
    let examined = examined("", &others);
    assert!(examined.outcome.is_ok() && examined.warnings.is_empty(), "{examined:?}");
    let odd = self::examined("", &env([("IASO_PORT_9797_TCP", "tcp://172.17.0.2:9797")]));
    assert!(odd.outcome.is_ok());
    assert_eq!((odd.warnings[0].level, odd.warnings[0].origin.as_str()), (Level::Warning, "$IASO_PORT_9797_TCP"));
}

#[test]
fn every_single_key_of_a_fixed_table_has_a_variable() {
    fn count(keys: &[Key]) -> usize {
        keys.iter()
            .map(|key| match &key.kind {
                Kind::Table(inner) => count(inner),
                kind => usize::from(crate::config::environment::is_scalar(kind)),
            })
            .sum()
    }
    let overrides = crate::config::environment::overrides();
    let names: std::collections::BTreeSet<&str> = overrides.iter().map(|of| of.variable.as_str()).collect();
    assert_eq!(names.len(), count(ROOT), "no two keys may share a variable");
    // Each of them leads to its own key, which refuses what is surely wrong.
    for of in &overrides {
        let source = "";
        let told = examined(source, &env([(&of.variable, "\u{7}")]));
        match told.outcome {
            Err(mistakes) => assert_eq!(mistakes.0[0].path, of.steps.join(".")),
            Ok(_) => assert!(matches!(of.kind, Kind::Text), "{}", of.variable),
        }
    }
}

#[test]
fn environment_beats_file_and_file_beats_labels_and_labels_beat_defaults() {
    let source = "[services.front]\ncontainer = \"web\"\nstart_period = \"1s\"\n[defaults]\nstart_period = \"3s\"\n";
    let labels: Labels = [("iaso.enable", "true"), ("iaso.start_period", "2s")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let unlabelled: Labels = [("iaso.enable".to_owned(), "true".to_owned())].into();
    let start_period = |variables: &Environment, container: &str, labels: &Labels| {
        let Verdict::Watched(watched) = judge(&accepted(source, variables), "local", container, "example/web", labels)
        else {
            panic!("{container} is not watched")
        };
        watched.service.start_period.as_secs()
    };
    let (with, without) = (env([("IASO_DEFAULTS_START_PERIOD", "4s")]), Environment::new());
    for variables in [&with, &without] {
        assert_eq!(start_period(variables, "web", &labels), 1, "the service's own table beats its labels");
        assert_eq!(start_period(variables, "other", &labels), 2, "labels beat [defaults], whoever wrote them");
    }
    assert_eq!(start_period(&with, "other", &unlabelled), 4, "the environment beats the file");
    assert_eq!(start_period(&without, "other", &unlabelled), 3);
}

#[test]
fn references_are_filled_in() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "hunter2\n").unwrap();
    let file = dir.path().join("iaso.toml");
    let source = r#"
[services.web]
container = "${NAME}"
checks = [{ type = "http", url = "http://{address}:${PORT}/$${x}", headers = { Authorization = "Bearer ${file:token}" } }]
"#;
    std::fs::write(&file, source).unwrap();
    let loaded = load(Some(&file), &env([("NAME", "shop"), ("PORT", "3000")])).unwrap_or_else(|m| panic!("{m}"));
    let web = &loaded.config.services["web"];
    assert_eq!(web.target, Target::Container("shop".to_owned()));
    let Probe::Http(http) = &*web.checks[0].probe else { panic!() };
    assert_eq!(http.url.path, "/$%7Bx%7D");
    assert_eq!(http.headers, [("authorization".to_owned(), "Bearer hunter2".into())]);
    assert_eq!(loaded.warnings, [], "what is filled in is not in plain text");
}

#[test]
fn a_reference_that_leads_nowhere_is_underlined() {
    let told = refused("[api]\nlisten = \"127.0.0.1:${PROT}\"\n", &env([("PORT", "1")]));
    let block = told[0].block(false);
    assert!(block.contains("api.listen: the variable is not set"), "{block}");
    assert!(block.contains("2 | listen = \"127.0.0.1:${PROT}\"\n  |                     ^^^^^^^ expected"), "{block}");
    assert_eq!(told.len(), 1, "what follows from it is not told: {told:?}");
}

#[test]
fn what_was_filled_in_is_shown_as_written() {
    const SECRET: &str = "hunter2-s3cret";
    let variables = env([("S", SECRET), ("ALSO", SECRET)]);
    for source in [
        "[api]\nlisten = \"${S}\"\n",
        "[daemon]\nlog.level = \"${S}\"\n",
        "[defaults]\ninterval = \"x${S}\"\n",
        "[hosts.a]\nurl = \"tcp://${S}\"\n",
        "[services.web]\nhost = \"${S}\"\ncontainer = \"a\"\n",
        "[services.web]\ncompose = \"${S}\"\n",
        "[services.web]\ncontainer = \"a\"\ndepends_on = [\"${S}\"]\n",
        "[services.web]\nselector.label = \"${S}\"\n",
        "[services.web]\ncontainer = \"a\"\nrecovery.ladder = [\"exec:${S} '\", \"${S}\"]\n",
        "[services.web]\ncontainer = \"a\"\nchecks = [{ type = \"http\", url = \"${S}://a\", method = \"${S}\" }]\n",
        "[services.web]\ncontainer = \"a\"\nchecks = [{ name = \"${S}\", type = \"http\", url = \"http://a\" }, \
         { name = \"${ALSO}\", type = \"http\", url = \"http://a\" }]\n",
        "[services.web]\ncontainer = \"${S}\"\n[services.also]\ncontainer = \"${ALSO}\"\n",
        "unknown = \"${S}\"\n",
    ] {
        let told = examined(source, &variables);
        let mistakes = told.outcome.expect_err(source);
        let said = format!("{mistakes} {mistakes:?} {:?} {}", told.warnings, mistakes.0[0]);
        assert!(!said.contains("hunter2"), "{source}: {said}");
    }
}
