//! What the files of a Compose project say of who needs whom, for Compose 1, which writes no label. Only each service's
//! `depends_on` is looked at: nothing is filled in (`${...}`), and neither `extends` nor `include` is followed. The files are
//! foreign input that a label names: what is told of them is never a part of what they hold.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use iaso_policy::spec::Condition;
use saphyr_parser::{Event, Parser};

use super::{Dependency, condition};
use crate::config::files;
use crate::config::mistake::printable;
use crate::config::values;
use crate::config::watch::Labels;

const FILES: &str = "com.docker.compose.project.config_files";
const FOLDER: &str = "com.docker.compose.project.working_dir";

/// The most files of one project.
const MAX_FILES: usize = 16;
/// What is told of a path at most, in characters.
const MAX_PATH: usize = 4096;
/// The largest file, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// The most entries of maps that are looked at in one file, each as often as an alias leads there.
const MAX_ENTRIES: usize = 200_000;

/// The most needs of one service that are heeded.
const MAX_NEEDS: usize = 256;

/// What each service of a project needs, by its name.
pub type Project = BTreeMap<String, Vec<Dependency>>;

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {got}", printed(path))]
pub struct Unreadable {
    path: PathBuf,
    got: String,
}

/// A path in words: a label names it, with whatever characters.
pub fn printed(path: &Path) -> String {
    path.to_string_lossy().chars().take(MAX_PATH).map(printable).collect()
}

/// The files that a container's project was made from, in Compose's order; none where its labels name none.
pub fn files_of(labels: &Labels) -> Option<Vec<PathBuf>> {
    let folder = Path::new(labels.get(FOLDER).map_or("", String::as_str));
    let named = labels.get(FILES)?.split(',').map(str::trim).filter(|name| !name.is_empty());
    let paths: Vec<PathBuf> = named.take(MAX_FILES + 1).map(|name| folder.join(name)).collect();
    let are_some = (1..=MAX_FILES).contains(&paths.len());
    // A label's word is no reason to read anything else.
    let is_one = |path: &Path| path.is_absolute() && path.extension().is_some_and(|end| end == "yml" || end == "yaml");
    (are_some && paths.iter().all(|path| is_one(path))).then_some(paths)
}

/// Reads a project's files. May wait for a disk.
///
/// # Errors
/// When one of them cannot be read, is larger than 1 MiB, or is no YAML.
pub fn read(paths: &[PathBuf]) -> Result<Project, Unreadable> {
    let mut project: BTreeMap<String, Needs> = BTreeMap::new();
    for path in paths {
        let unreadable = |got: String| Unreadable { path: path.clone(), got };
        let bytes = files::bounded(path, MAX_BYTES).map_err(|unread| unreadable(unread.got))?;
        let text = str::from_utf8(&bytes.content).map_err(|_| unreadable("not UTF-8".to_owned()))?;
        // What a later file says of a service beats the earlier ones, need by need.
        for (service, needs) in services(text).map_err(unreadable)? {
            project.entry(service).or_default().extend(needs);
        }
    }
    let heeded = |needs: Needs| needs.into_values().flatten().take(MAX_NEEDS).collect();
    let needs = project.into_iter().map(|(service, needs)| (service, heeded(needs)));
    Ok(needs.filter(|(_, needs): &(_, Vec<Dependency>)| !needs.is_empty()).collect())
}

/// What one service needs, by name; none where it is not required.
type Needs = BTreeMap<String, Option<Dependency>>;

fn services(text: &str) -> Result<BTreeMap<String, Needs>, String> {
    let mut tree = Tree::parse(text)?;
    let mut all = BTreeMap::new();
    let services = tree.entries(0)?.get("services").copied();
    for (name, service) in services.map_or_else(|| Ok(BTreeMap::new()), |at| tree.entries(at))? {
        let Some(depends_on) = tree.entries(service)?.get("depends_on").copied() else { continue };
        all.insert(name.to_owned(), needs(&mut tree, depends_on)?);
    }
    Ok(all)
}

fn needs(tree: &mut Tree<'_>, depends_on: usize) -> Result<Needs, String> {
    let mut needs = Needs::new();
    let mut need = |name: &str, until: Option<Condition>, restart: bool, required: bool| {
        // What is filled in, or strange, is nobody's name.
        if let (Ok(service), Some(until)) = (values::name(name), until) {
            let service = service.to_owned();
            needs.insert(service.clone(), required.then_some(Dependency { service, until, restart }));
        }
    };
    if let Some(Node::List(items)) = tree.nodes.get(depends_on) {
        tree.left = tree.left.checked_sub(items.len()).ok_or("too many entries")?;
        for item in items {
            if let Some(Node::Text(name)) = tree.nodes.get(*item) {
                need(name, Some(Condition::Started), false, true);
            }
        }
        return Ok(needs);
    }
    for (name, how) in tree.entries(depends_on)? {
        let how = tree.entries(how)?;
        let text = |key: &str| how.get(key).and_then(|at| tree.text(*at));
        let until = text("condition").map_or(Some(Condition::Started), condition);
        need(&name, until, text("restart") == Some("true"), text("required") != Some("false"));
    }
    Ok(needs)
}

/// A document, flat: what holds others knows their places. An alias is one more place where a value is known, never a copy.
struct Tree<'t> {
    nodes: Vec<Node<'t>>,
    /// How many more entries may be looked at.
    left: usize,
}

enum Node<'t> {
    Text(Cow<'t, str>),
    List(Vec<usize>),
    /// Keys and values in turn.
    Map(Vec<usize>),
}

impl<'t> Tree<'t> {
    /// The first document.
    fn parse(text: &'t str) -> Result<Self, String> {
        let mut nodes: Vec<Node<'t>> = Vec::new();
        let (mut anchors, mut open) = (BTreeMap::new(), Vec::new());
        for event in Parser::new_from_str(text) {
            let (event, _) = event.map_err(|error| format!("no YAML at line {}", error.marker().line()))?;
            let (place, opens) = match event {
                Event::Alias(anchor) => (anchors.get(&anchor).copied().ok_or("an alias of nothing")?, false),
                Event::SequenceEnd | Event::MappingEnd => {
                    open.pop();
                    continue;
                }
                Event::DocumentEnd => break,
                Event::Scalar(text, _, anchor, _) => {
                    anchors.insert(anchor, nodes.len());
                    nodes.push(Node::Text(text));
                    (nodes.len() - 1, false)
                }
                Event::SequenceStart(anchor, _) => {
                    anchors.insert(anchor, nodes.len());
                    nodes.push(Node::List(Vec::new()));
                    (nodes.len() - 1, true)
                }
                Event::MappingStart(anchor, _) => {
                    anchors.insert(anchor, nodes.len());
                    nodes.push(Node::Map(Vec::new()));
                    (nodes.len() - 1, true)
                }
                _ => continue,
            };
            if let Some(Node::List(items) | Node::Map(items)) = open.last().and_then(|at: &usize| nodes.get_mut(*at)) {
                items.push(place);
            }
            if opens {
                open.push(place);
            }
        }
        Ok(Self { nodes, left: MAX_ENTRIES })
    }

    fn text(&self, at: usize) -> Option<&str> {
        match self.nodes.get(at)? {
            Node::Text(text) => Some(text),
            Node::List(_) | Node::Map(_) => None,
        }
    }

    /// The entries of a map, with those that it takes over from others by `<<`; of what is no map, none.
    fn entries(&mut self, map: usize) -> Result<BTreeMap<String, usize>, String> {
        let mut entries = BTreeMap::new();
        let mut next = vec![map];
        while let Some(at) = next.pop() {
            let Some(Node::List(items) | Node::Map(items)) = self.nodes.get(at) else { continue };
            self.left = self.left.checked_sub(items.len() + 1).ok_or("too many entries")?;
            match &self.nodes[at] {
                // Several are taken over: the first beats the others.
                Node::List(items) if at != map => next.extend(items.iter().rev()),
                Node::Map(items) => {
                    for pair in items.chunks_exact(2) {
                        match self.text(pair[0]) {
                            Some("<<") => next.push(pair[1]),
                            Some(key) => drop(entries.entry(key.to_owned()).or_insert(pair[1])),
                            None => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// `service needs`: conditions by their first letter, `+` for a restart.
    fn told(texts: &[&str]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..texts.len()).map(|number| folder.path().join(number.to_string())).collect();
        for (path, text) in paths.iter().zip(texts) {
            std::fs::write(path, text).unwrap();
        }
        let project = read(&paths).map_err(|unreadable| unreadable.got)?;
        let needs = |needs: Vec<Dependency>| {
            let shown = needs.into_iter().map(|Dependency { service, until, restart }| {
                let until = format!("{until:?}").to_lowercase();
                format!(" {service}:{}{}", &until[..1], if restart { "+" } else { "" })
            });
            shown.collect::<String>()
        };
        Ok(project.into_iter().map(|(service, found)| format!("{service}{}", needs(found))).collect())
    }

    #[test]
    fn both_forms_are_read_with_anchors_and_merges() {
        let text = "
version: \"2.4\"
x-common: &common
  restart: always
  depends_on: [db, 'cache', '${OTHER}', a b, {x: y}]
x-both: &both
  db: {condition: service_healthy}
services:
  web: *common
  api:
    <<: *common
    image: api
  page:
    <<: [{depends_on: [one]}, *common]
  job:
    depends_on:
      <<: *both
      migrate:
        condition: service_completed_successfully
        restart: true
      maybe: {condition: service_healthy, required: false}
      odd: {condition: service_fine}
      plain: {}
      bare:
  db: {image: db}
  strange: [depends_on]
  other: {depends_on: db}
---
services: {second: {depends_on: [db]}}
";
        let expected = ["api cache:s db:s", "job bare:s db:h migrate:c+ plain:s", "page one:s", "web cache:s db:s"];
        assert_eq!(told(&[text]).unwrap(), expected);
    }

    #[test]
    fn a_later_file_beats_the_earlier_ones() {
        let first = "services: {web: {depends_on: [db, cache]}, api: {depends_on: [db]}}";
        let second =
            "services: {web: {depends_on: {db: {condition: service_healthy}, cache: {required: false}, x: {}}}}";
        assert_eq!(told(&[first, second]).unwrap(), ["api db:s", "web db:h x:s"]);
    }

    #[test]
    fn what_is_no_compose_file_says_nothing_or_where_it_ends_to_make_sense() {
        for text in ["", "text", "[1, 2]", "services:", "services: [a]", "services: {web: }", "a: &a {<<: *a}"] {
            assert_eq!(told(&[text]), Ok(vec![]), "{text:?}");
        }
        assert_eq!(told(&["root:$6$secret:1:\n\tx: [", ""]).unwrap_err(), "no YAML at line 2");
        let deep = "[".repeat(1_000_000);
        assert!(told(&[&deep]).is_err());
        assert!(told(&[&" ".repeat(1 << 21)]).unwrap_err().contains("larger than 1 MiB"));
    }

    #[test]
    fn aliases_cannot_make_much_of_little() {
        let mut text = "a0: &a0 {x: y}\n".to_owned();
        for level in 1..30 {
            let below = level - 1;
            text.push_str(&format!("a{level}: &a{level} {{<<: [*a{below}, *a{below}]}}\n"));
        }
        text.push_str("services: {web: *a29}\n");
        assert_eq!(told(&[&text]).unwrap_err(), "too many entries");
        assert_eq!(told(&["services: &s {web: {<<: *s, depends_on: [db]}}"]).unwrap(), ["web db:s"]);
        let names: String = (0..1000).map(|name| format!("n{name},")).collect();
        let many: String = (0..1000).map(|service| format!("s{service}: *s,")).collect();
        let text = format!("x: &s {{depends_on: [{names}]}}\nservices: {{{many}}}\n");
        assert_eq!(told(&[&text]).unwrap_err(), "too many entries");
        let one = told(&[&format!("services: {{web: {{depends_on: [{names}]}}}}")]).unwrap();
        assert_eq!(one[0].matches(":s").count(), MAX_NEEDS);
    }

    #[test]
    fn files_are_found_beside_the_project() {
        let found = |files: &str, folder: &str| files_of(&labels(&[(FILES, files), (FOLDER, folder)]));
        let paths = |paths: &[&str]| Some(paths.iter().map(PathBuf::from).collect());
        assert_eq!(found("docker-compose.yml", "/srv/shop"), paths(&["/srv/shop/docker-compose.yml"]));
        assert_eq!(found("/srv/a.yml, b.yml", "/srv/shop"), paths(&["/srv/a.yml", "/srv/shop/b.yml"]));
        for (files, folder) in
            [("a.yml", "shop"), ("a.yml", ""), ("", "/srv"), (",", "/srv"), ("-", "/srv"), ("/proc/kmsg", "/srv")]
        {
            assert_eq!(found(files, folder), None, "{files} {folder}");
        }
        assert_eq!(found(&"a,".repeat(17), "/srv"), None);
        assert_eq!(files_of(&labels(&[(FOLDER, "/srv")])), None);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for (path, got) in [(pipe.as_path(), "not a regular file"), (&folder.path().join("no"), "No such file")] {
            let words = read(&[path.to_owned()]).unwrap_err().to_string();
            assert!(words.contains(got) && words.contains(path.to_str().unwrap()), "{words}");
        }
        let words = read(&["/no\nsuch\u{1b}.yml".into()]).unwrap_err().to_string();
        assert!(!words.contains(['\n', '\u{1b}']), "{words:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_it_panic(text in prop_oneof![
            any::<String>(),
            "(services:|depends_on:|  |\n|- |a: |&a |\\*a|<<: |\\{|\\}|\\[|\\]|,|\"|'|#|---|\\?|!x ){0,40}",
        ]) {
            drop(services(&text));
        }
    }
}
