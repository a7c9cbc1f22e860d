//! Law 13: bad input gets a clear error that names what, where and what was expected; and, of law 10, shows no secret.

use super::*;
use crate::config::examine;

const SECRET: &str = "hunter2";

/// The example with everything in it, references among it, and a folder with the files that it names.
fn example_with_references() -> (tempfile::TempDir, String) {
    let (folder, source) = whole_example();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let secret = "Host = \"localhost:3000\", Authorization = \"Bearer ${SECRET}\", Cookie = \"${file:secret}\"";
    (folder, source.replace("Host = \"localhost:3000\"", secret))
}

/// One change to a file.
#[derive(Debug, Clone)]
enum Change {
    /// A line goes.
    Drop(usize),
    /// A line comes twice.
    Double(usize),
    /// A line's value becomes this one.
    Value(usize, String),
    /// A character becomes this text.
    Character(usize, String),
    /// The file ends here.
    Cut(usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let value = prop_oneof![
        Just("\"${SECRET}\"".to_owned()),
        Just("\"x${SECRET}\"".to_owned()),
        Just("[\"${SECRET}\", \"a${SECRET}\"]".to_owned()),
        Just("{ a = \"${SECRET}\" }".to_owned()),
        Just("\"${UNSET} ${file:secret} ${credential:x} ${\"".to_owned()),
        "-?[0-9]{1,20}",
        "\"[a-z0-9:/{}@. -]{0,12}\"",
        "(true|nan|\\[\\]|\\{\\}|\"\"|'''|1979-05-27)",
    ];
    let at = any::<usize>();
    let change = prop_oneof![
        at.prop_map(Change::Drop),
        any::<usize>().prop_map(Change::Double),
        (any::<usize>(), value.clone()).prop_map(|(line, value)| Change::Value(line, value)),
        (any::<usize>(), value).prop_map(|(line, value)| Change::Value(line, value)),
        (any::<usize>(), "\\PC{0,3}|[\\[\\]\"'=#\\n]").prop_map(|(at, text)| Change::Character(at, text)),
        any::<usize>().prop_map(Change::Cut),
    ];
    proptest::collection::vec(change, 1..6)
}

fn changed(mut text: String, changes: &[Change]) -> String {
    for change in changes {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let number = lines.len().max(1);
        let place = |at: usize| text.floor_char_boundary(at % text.len().max(1));
        text = match change {
            Change::Character(at, with) => {
                let (head, tail) = text.split_at(place(*at));
                format!("{head}{with}{}", tail.chars().skip(1).collect::<String>())
            }
            // Mostly near the end, so that something is left to be read.
            Change::Cut(at) => text[..text.len() - (place(*at) % 64).min(text.len())].to_owned(),
            Change::Drop(line) if !lines.is_empty() => {
                lines.remove(line % number);
                lines.join("\n")
            }
            Change::Double(line) if !lines.is_empty() => {
                let line = line % number;
                lines.insert(line, lines[line].clone());
                lines.join("\n")
            }
            Change::Value(line, value) if !lines.is_empty() => {
                let line = &mut lines[line % number];
                if let Some((key, _)) = line.split_once(" = ") {
                    *line = format!("{key} = {value}");
                }
                lines.join("\n")
            }
            Change::Drop(_) | Change::Double(_) | Change::Value(..) => continue,
        };
        text.truncate(text.floor_char_boundary(1 << 16));
    }
    text
}

proptest! {
    // A failure's seed is printed; a file of seeds would land in the tree's root.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn law_13_a_changed_file_is_accepted_or_told_with_its_places(changes in changes()) {
        let (dir, source) = example_with_references();
        let source = changed(source, &changes);
        let file = dir.path().join("iaso.toml");
        std::fs::write(&file, &source).unwrap();
        let told = examine(Some(&file), &env([("SECRET", SECRET)]));
        let mistakes = told.outcome.map_or_else(|mistakes| mistakes.0, |_| Vec::new());
        let lines = source.split('\n').count();
        for mistake in mistakes.iter().chain(&told.warnings) {
            let said = format!("{mistake} {mistake:?} {}", mistake.block(true));
            prop_assert!(!said.contains(SECRET), "{said}\n{source}");
            prop_assert_eq!(&mistake.origin, &file.display().to_string());
            prop_assert!(!mistake.got.is_empty(), "{said}");
            let place = mistake.place.as_ref();
            prop_assert!(place.is_some_and(|place| (1..=lines).contains(&place.line) && place.column > 0), "{said}");
        }
    }
}

#[test]
fn law_13_every_key_of_the_example_refuses_what_it_cannot_mean() {
    let (dir, source) = example_with_references();
    let file = dir.path().join("iaso.toml");
    for (number, line) in source.lines().enumerate() {
        let Some((key, _)) = line.split_once(" = ") else { continue };
        let wrong: String = source
            .lines()
            .enumerate()
            .map(|(at, line)| if at == number { format!("{key} = 1979-05-27\n") } else { format!("{line}\n") })
            .collect();
        std::fs::write(&file, &wrong).unwrap();
        let told = load(Some(&file), &env([("SECRET", SECRET)])).unwrap_err().0;
        assert_eq!(told[0].place.as_ref().map(|place| place.line), Some(number + 1), "{key}: {told:?}");
        assert!(told[0].path.ends_with(key) && !told[0].expected.is_empty(), "{key}: {told:?}");
    }
}
