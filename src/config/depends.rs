//! What Compose's own label says of who needs whom. Compose 2 writes it; Compose 1 does not. It is foreign input: what is wrong
//! with an entry is told, and the others count.

pub mod compose_file;

use iaso_policy::spec::Condition;

use super::labels::LabelMistake;
use super::mistake::shown;
use super::values;
use super::watch::Labels;

const LABEL: &str = "com.docker.compose.depends_on";

/// The most entries that are read.
const MAX_ENTRIES: usize = 256;
/// The most mistakes that are told of one container.
const MAX_MISTAKES: usize = 16;

/// Another service of the same Compose project, which is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its name in the project.
    pub service: String,
    /// How it must be.
    pub until: Condition,
    /// Whoever starts it anew on purpose starts the one that needs it anew, too.
    pub restart: bool,
}

/// What a container's label lists; none where it carries none.
pub fn of_label(labels: &Labels) -> Option<Vec<Dependency>> {
    Some(entries(labels.get(LABEL)?).filter_map(Result::ok).collect())
}

/// What is wrong with a container's label.
pub(super) fn mistakes(container: &str, labels: &Labels) -> Vec<LabelMistake> {
    let wrong = labels.get(LABEL).into_iter().flat_map(|text| entries(text)).filter_map(Result::err);
    let mistake = |entry: &str| LabelMistake {
        container: container.to_owned(),
        key: LABEL.to_owned(),
        got: format!("found {}", shown(entry)),
        expected: "SERVICE:CONDITION:RESTART, as Compose writes it".to_owned(),
        suggestion: None,
    };
    wrong.take(MAX_MISTAKES).map(mistake).collect()
}

/// `SERVICE`, `SERVICE:CONDITION` or `SERVICE:CONDITION:RESTART`, with commas between.
fn entries(text: &str) -> impl Iterator<Item = Result<Dependency, &str>> {
    let written = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    written.take(MAX_ENTRIES).map(|entry| dependency(entry).ok_or(entry))
}

fn dependency(entry: &str) -> Option<Dependency> {
    let mut parts = entry.split(':');
    let service = values::name(parts.next()?).ok()?.to_owned();
    let until = parts.next().map_or(Some(Condition::Started), condition)?;
    let restart = match parts.next() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return None,
    };
    parts.next().is_none().then_some(Dependency { service, until, restart })
}

/// A condition, by Compose's word for it.
fn condition(word: &str) -> Option<Condition> {
    Some(match word {
        "service_started" => Condition::Started,
        "service_healthy" => Condition::Healthy,
        "service_completed_successfully" => Condition::Completed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        Labels::from([(LABEL.to_owned(), text.to_owned())])
    }

    fn read(text: &str) -> Vec<(String, Condition, bool)> {
        let found = of_label(&labels(text)).unwrap();
        found.into_iter().map(|found| (found.service, found.until, found.restart)).collect()
    }

    #[test]
    fn what_compose_writes_is_read() {
        let own = |name: &str, until, restart| (name.to_owned(), until, restart);
        assert_eq!(
            read("db:service_healthy:false,migrate:service_completed_successfully:false,vpn:service_started:true"),
            [
                own("db", Condition::Healthy, false),
                own("migrate", Condition::Completed, false),
                own("vpn", Condition::Started, true)
            ]
        );
        assert_eq!(
            read("db,cache:service_healthy"),
            [own("db", Condition::Started, false), own("cache", Condition::Healthy, false)],
            "older ones"
        );
        assert_eq!(read(""), [], "it needs nothing");
        assert_eq!(of_label(&Labels::new()), None, "nobody has said");
    }

    #[test]
    fn a_strange_entry_is_told_and_the_others_count() {
        let strange = [
            "db:service_fine",
            ":service_started",
            "db:service_started:yes",
            "db:service_started:true:x",
            "a b",
            "../db",
            "db:",
            "-db",
        ];
        for entry in strange {
            let text = format!("one,,{entry}, two ");
            assert_eq!(read(&text).len(), 2, "{entry}");
            let told = mistakes("web", &labels(&text));
            assert_eq!(told.len(), 1, "{entry}");
            let words = told[0].to_string();
            assert!(words.contains("label \"com.docker.compose.depends_on\": found"), "{words}");
        }
        assert_eq!(mistakes("web", &labels("db:service_healthy:true")), []);
    }

    #[test]
    fn a_flood_of_entries_is_cut() {
        let many = vec!["db"; 100_000].join(",");
        assert_eq!(read(&many).len(), MAX_ENTRIES);
        let wrong = vec!["?"; 100_000].join(",");
        assert_eq!((read(&wrong).len(), mistakes("web", &labels(&wrong)).len()), (0, MAX_MISTAKES));
    }
}
