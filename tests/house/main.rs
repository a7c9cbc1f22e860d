//! The house rules that no compiler holds: which module may name which, what stays out of the dependency tree, and how
//! long a file may grow, and that what is promised of credentials is tested. These tests read the sources, and each checker is shown bad examples that it must refuse.

mod arrows;
mod files;
mod lock;
mod modules;
mod properties;
mod tokens;

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// Source files by their path from the root of the repository (`src/engine/mod.rs`).
type Sources = BTreeMap<String, String>;

/// What the repository holds under `src/`.
fn sources() -> Sources {
    sources_under("src")
}

fn sources_under(folder: &str) -> Sources {
    let mut found = Sources::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    collect(root, folder, &mut found).unwrap_or_else(|error| panic!("{}: {error}", root.join(folder).display()));
    assert!(found.len() > 20, "only {} source files found: is this the repository?", found.len());
    found
}

fn collect(root: &Path, folder: &str, found: &mut Sources) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().display());
        if entry.file_type()?.is_dir() {
            collect(root, &path, found)?;
        } else if path.ends_with(".rs") {
            found.insert(path, fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} broken house rules:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn arrows_point_one_way() {
    assert_none(&arrows::violations(&sources()));
    assert_none(&arrows::idle_rules(&read("Cargo.toml")));
}

#[test]
fn the_policy_needs_nothing_but_core_and_alloc() {
    assert_none(&arrows::policy_manifest(&read("src/policy/Cargo.toml")));
}

#[test]
fn the_lock_holds_one_tls_library_and_one_http_stack() {
    assert_none(&lock::violations(&read("Cargo.lock")));
}

#[test]
fn every_silenced_lint_says_why() {
    assert_none(&files::silenced_without_reason(&sources()));
}

#[test]
fn each_property_of_credentials_has_its_tests() {
    let sources: Vec<String> = ["src", "tests"].into_iter().flat_map(sources_under).map(|(_, text)| text).collect();
    assert_none(&properties::violations(&read("tests/properties/main.rs"), &sources));
}

#[test]
fn files_stay_short() {
    assert_none(&files::too_long(&sources()));
}
