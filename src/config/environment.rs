//! Keys that a variable of the environment overrides: those of the tables that every configuration has, by section and key.

use std::collections::BTreeMap;

use super::keys::{Key, Kind, ROOT};
use super::mistake::nearest;
use super::report::Report;
use super::texts::{self, Source, Text};

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// Variables that mean something else than a key, or belong to tests and to the build.
const OTHERS: [&str; 5] = ["IASO_CONFIG", "IASO_SOCKET", "IASO_API_KEY", "IASO_URL", "IASO_RUN_AS"];
const OTHERS_START: [&str; 5] = ["IASO_TEST_", "IASO_UPDATE_", "IASO_DEMO_", "IASO_BENCH_", "IASO_SEEDS"];

/// A key that a variable overrides.
pub(super) struct Override {
    pub(super) variable: String,
    /// From the root to the key.
    pub(super) steps: Vec<&'static str>,
    pub(super) kind: &'static Kind,
}

/// Every key that a variable may override.
pub(super) fn overrides() -> Vec<Override> {
    let mut found = Vec::new();
    collect(ROOT, &[], &mut found);
    found
}

fn collect(keys: &'static [Key], path: &[&'static str], found: &mut Vec<Override>) {
    for key in keys {
        let steps = [path, &[key.name]].concat();
        match &key.kind {
            Kind::Table(inner) => collect(inner, &steps, found),
            kind if is_scalar(kind) => found.push(Override { variable: variable(&steps), steps, kind }),
            _ => {}
        }
    }
}

/// `IASO_DAEMON_LOG_LEVEL`.
fn variable(steps: &[&str]) -> String {
    format!("IASO_{}", steps.join("_").to_ascii_uppercase())
}

/// Whether one text can hold such a value.
pub(super) fn is_scalar(kind: &Kind) -> bool {
    let list =
        matches!(kind, Kind::Ladder | Kind::Labels | Kind::Names | Kind::Argv | Kind::Texts | Kind::Pins | Kind::Days);
    let table = matches!(kind, Kind::Table(_) | Kind::Named(_) | Kind::Json | Kind::Counts);
    let typed = matches!(kind, Kind::Typed(_) | Kind::OneTyped(_) | Kind::Tables(_) | Kind::NamedTyped(_));
    !list && !table && !typed && !matches!(kind, Kind::Statuses | Kind::Headers | Kind::CallHeaders)
}

/// The variables that look like Iaso's configuration, as texts; an empty one counts as unset.
pub(super) fn texts(env: &Environment) -> Vec<Text> {
    env.iter()
        .filter(|(name, value)| {
            let other = OTHERS.contains(&name.as_str()) || OTHERS_START.iter().any(|start| name.starts_with(start));
            name.starts_with("IASO_") && !other && !value.is_empty()
        })
        .map(|(name, value)| Text::variable(name, value))
        .collect()
}

/// Tells the variables that override nothing: surely mistaken ones as mistakes, the others as warnings.
pub(super) fn check(report: &mut Report, texts: &[Text], overrides: &[Override]) {
    for (text, start) in texts.iter().zip(texts::starts(texts)).filter(|(text, _)| text.source == Source::Variable) {
        let name = text.origin.trim_start_matches('$');
        if overrides.iter().any(|of| of.variable == name) {
            continue;
        }
        let names = overrides.iter().map(|of| of.variable.as_str());
        let near = nearest(name, names).map(str::to_owned);
        let section = |key: &&Key| {
            let section = variable(&[key.name]);
            name.strip_prefix(section.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        };
        let expected = "IASO_ and the name of a key that has one value, such as IASO_API_LISTEN";
        let place = start..start;
        match ROOT.iter().find(section) {
            Some(Key { name: section, kind: Kind::Named(_) | Kind::NamedTyped(_), .. }) => {
                report.suggest(place, format!("[{section}] is not for variables"), "it in a file", None);
            }
            Some(_) => report.suggest(place, "it overrides no key that has one value".to_owned(), expected, near),
            None if near.is_some() => report.suggest(place, "it overrides no key".to_owned(), expected, near),
            None => report.warning(place, "", "it means nothing to Iaso".to_owned(), expected),
        }
    }
}
