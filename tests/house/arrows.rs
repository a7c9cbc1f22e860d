//! Which module may name which. A single crate has no wall between its modules; this is the wall.

use crate::Sources;
use crate::modules::{Reference, Walk, walk};

/// One folder per foreign system or duty. They do not name each other.
const EDGES: [&str; 9] =
    ["api", "credentials", "engine", "evidence", "probe", "report", "schedule", "store", "telemetry"];

/// What the edges, the supervisor and all above them share. `system` serves every edge and names none.
const SHARED: [&str; 10] =
    ["config", "in_use", "incidents", "journal", "orders", "policy", "redact", "rollouts", "snapshot", "system"];

/// The map: what a module of the root crate may name besides itself; none for a module that has no place in it.
fn may_name(module: &str) -> Option<Vec<&'static str>> {
    Some(match module {
        "main" => vec!["cli", "system"],
        "cli" => [&SHARED[..], &EDGES, &["app", "demo", "sim", "supervisor"]].concat(),
        "demo" => [&SHARED[..], &EDGES, &["app", "sim"]].concat(),
        "app" => [&SHARED[..], &EDGES, &["sim", "supervisor"]].concat(),
        // It stands in for these edges, behind their own traits, and for the world around the supervisor's own mapping.
        "sim" => [&SHARED[..], &["engine", "probe", "store", "supervisor"]].concat(),
        // It holds the trait and the handles of those that it drives, and never a library of theirs.
        "supervisor" => [&SHARED[..], &["engine", "probe", "schedule", "store"]].concat(),
        "api" | "credentials" | "engine" | "evidence" | "probe" | "report" | "schedule" | "store" | "telemetry" => {
            SHARED.to_vec()
        }
        "journal" => vec!["config", "policy", "rollouts"],
        "redact" => vec!["config", "in_use"],
        "in_use" | "incidents" | "orders" | "rollouts" | "snapshot" | "system" => vec!["config", "policy"],
        "config" => vec!["policy"],
        _ => return None,
    })
}

/// What stands in for the real world, and the words in the name of a file of `cli`, `app` or `demo` that may name it.
const STAND_INS: [&str; 2] = ["demo", "sim"];
const STAND_INS_FILES: [&str; 4] = ["demo", "patient", "replay", "simulate"];

/// Crates that only these modules may name, so that each foreign system stays behind one folder.
const CONFINED: [(&str, &[&str]); 26] = [
    ("aws_config", &["credentials::aws"]),
    ("aws_credential_types", &["credentials::aws"]),
    ("aws_sdk_secretsmanager", &["credentials::aws"]),
    ("aws_smithy_runtime_api", &["credentials::aws"]),
    ("axum", &["api"]),
    ("backoff", &["system::retry"]),
    ("bollard", &["demo::stage", "engine"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("croner", &["config"]),
    ("hickory_resolver", &["system::resolver"]),
    ("hyper", &["api", "cli::client", "engine", "probe"]),
    ("minijinja", &["config::credentials", "credentials::template"]),
    ("reqwest", &["credentials", "report", "system"]),
    ("ring", &["credentials::seal", "system::trust"]),
    ("rusqlite", &["store"]),
    ("rustify", &["credentials::vault"]),
    ("saphyr_parser", &["config::depends"]),
    ("subtle", &["api::pings"]),
    ("toml", &["config"]),
    ("tonic", &["probe::grpc"]),
    ("tonic_health", &["probe::grpc"]),
    ("tower_http", &["api"]),
    ("vaultrs", &["credentials::vault"]),
    ("x509_parser", &["system::trust"]),
];

/// The modules of `config/` that others see: the validated shape, what reads it, and mistakes. Never the shape as written.
const CONFIG_OPENS: [&str; 9] =
    ["depends", "environment", "example", "labels", "mistake", "presets", "secret", "validated", "watch"];

/// Every arrow that points the wrong way, as `file:line: what`.
pub(crate) fn violations(sources: &Sources) -> Vec<String> {
    let mut root = Walk::default();
    walk(sources, "src/lib.rs", &mut root);
    let mut main = Walk::default();
    walk(sources, "src/main.rs", &mut main);
    let mut policy = Walk::default();
    walk(sources, "src/policy/lib.rs", &mut policy);

    let mut found = [&root.errors[..], &main.errors, &policy.errors].concat();
    found.extend(
        root.references.iter().filter_map(|reference| wrong(reference, reference.from.first().map(String::as_str))),
    );
    found.extend(main.references.iter().filter_map(|reference| wrong(reference, Some("main"))));
    found.extend(policy.references.iter().filter_map(wrong_in_policy));
    if !sources["src/policy/lib.rs"].lines().any(|line| line.trim_end() == "#![no_std]") {
        found.push("src/policy/lib.rs: `#![no_std]` is missing".to_owned());
    }
    if let Some(config) = sources.get("src/config/mod.rs") {
        found.extend(config_opens_too_much(config));
    }
    found.dedup();
    let reached = |file: &String| [&root, &main, &policy].iter().any(|walk| walk.files.contains(file));
    found.extend(sources.keys().filter(|file| !reached(file)).map(|file| format!("{file}: no `mod` item leads to it")));
    found
}

/// What is wrong with a reference from the module `top` of the root crate (none: from `lib.rs` itself, the crate's map).
fn wrong(reference: &Reference, top: Option<&str>) -> Option<String> {
    let place = &reference.place;
    let Some(named) = within_crate(reference, top) else {
        return confined(reference, top?);
    };
    let top = top?;
    let Some(target) = named.first().filter(|target| *target != "*") else {
        return Some(format!("{place}: {top} names the whole crate: name the module that is meant"));
    };
    if target == top {
        return None;
    }
    let Some(allowed) = may_name(top) else {
        return Some(format!("{place}: {top} has no place in the map of arrows: give it one in tests/house/arrows.rs"));
    };
    let stand_in = STAND_INS.contains(&target.as_str());
    if stand_in && reference.test {
        return None;
    }
    if !allowed.contains(&target.as_str()) {
        return Some(format!("{place}: {top} names {target}; it may name {}", allowed.join(", ")));
    }
    // The command line's own file dispatches to the demonstration's commands.
    let dispatches = target == "demo" && reference.from == ["cli"];
    let stands_in = reference.from.iter().any(|part| STAND_INS_FILES.iter().any(|word| part.contains(word)));
    let may_stand_in = top == "demo" || dispatches || stands_in;
    (stand_in && !may_stand_in).then(|| format!("{place}: {target} is for {} and tests", STAND_INS_FILES.join(", ")))
}

/// The path from the crate's root, where the reference stays within the repository's crates.
fn within_crate(reference: &Reference, top: Option<&str>) -> Option<Vec<String>> {
    let (first, rest) = reference.path.split_first()?;
    match first.as_str() {
        "iaso_policy" => Some(vec!["policy".to_owned()]),
        "iaso" if top == Some("main") => Some(rest.to_vec()),
        // `main.rs` is a crate of its own.
        "crate" | "self" | "super" if top == Some("main") => Some(vec!["main".to_owned()]),
        "crate" => Some(rest.to_vec()),
        "self" => Some([&reference.from[..], rest].concat()),
        "super" => {
            let up = reference.path.iter().take_while(|part| *part == "super").count();
            let stays = reference.from.len().saturating_sub(up);
            Some([&reference.from[..stays], &reference.path[up..]].concat())
        }
        _ => None,
    }
}

fn confined(reference: &Reference, top: &str) -> Option<String> {
    let (name, homes) = CONFINED.iter().find(|(name, _)| *name == reference.path[0])?;
    let from = if top == "main" { "main".to_owned() } else { reference.from.join("::") };
    let at_home = homes.iter().any(|home| from == *home || from.starts_with(&format!("{home}::")));
    (!at_home && !reference.test)
        .then(|| format!("{}: {from} names the crate {name}, which only {} may", reference.place, homes.join(", ")))
}

fn wrong_in_policy(reference: &Reference) -> Option<String> {
    let first = reference.path[0].as_str();
    let foreign = ["std", "iaso", "tokio", "rand", "jiff"].contains(&first) && !reference.test;
    foreign.then(|| format!("{}: the policy names {first}; it may name core, alloc and itself", reference.place))
}

/// The policy's package may depend on nothing but `serde`, behind its feature and without `std`.
pub(crate) fn policy_manifest(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("src/policy/Cargo.toml is TOML");
    let mut found = Vec::new();
    for table in ["build-dependencies", "target"] {
        if manifest.contains_key(table) {
            found.push(format!("src/policy/Cargo.toml: the policy may have no [{table}]"));
        }
    }
    for (name, wanted) in manifest.get("dependencies").and_then(toml::Value::as_table).into_iter().flatten() {
        let is = |key: &str, value: bool| wanted.get(key).and_then(toml::Value::as_bool) == Some(value);
        if name != "serde" {
            found.push(format!("src/policy/Cargo.toml: the policy may not depend on {name}"));
        } else if !(is("optional", true) && is("default-features", false)) {
            found.push("src/policy/Cargo.toml: serde must be optional and without default features".to_owned());
        }
    }
    found
}

/// Crates of the rules above that are no dependency: a rule about them could not fail.
pub(crate) fn idle_rules(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
    let known = |name: &str| {
        manifest["dependencies"].get(name).or_else(|| manifest["dependencies"].get(name.replace('_', "-")))
    };
    let idle = CONFINED.iter().filter(|(name, _)| known(name).is_none());
    idle.map(|(name, _)| format!("tests/house/arrows.rs: {name} is no dependency; drop its rule")).collect()
}

/// Modules that `config/mod.rs` makes visible, or takes public items from, beside [`CONFIG_OPENS`].
fn config_opens_too_much(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in source.lines().enumerate() {
        let Some(item) = line.strip_prefix("pub") else { continue };
        let item = item.strip_prefix("(crate)").unwrap_or(item).trim_start();
        let path = item.strip_prefix("mod ").or_else(|| item.strip_prefix("use "));
        let Some(path) = path else { continue };
        let path = path.strip_prefix("self::").unwrap_or(path);
        let module = path.split([':', ';', ' ', '{']).next().unwrap_or_default();
        if !CONFIG_OPENS.contains(&module) {
            let line = at + 1;
            found.push(format!(
                "src/config/mod.rs:{line}: `{module}` leaves config/, which opens {}",
                CONFIG_OPENS.join(", ")
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The violations of a small crate: these files, and the least that the checker reads besides.
    fn judge(files: &[(&str, &str)]) -> Vec<String> {
        let least = [("src/lib.rs", ""), ("src/main.rs", ""), ("src/policy/lib.rs", "#![no_std]\n")];
        let sources = least.iter().chain(files).map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        violations(&sources)
    }

    #[track_caller]
    fn refused(files: &[(&str, &str)], place: &str, why: &str) {
        let found = judge(files);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(place) && found[0].contains(why), "{found:?}");
    }

    /// An `engine` of this text beside empty neighbours.
    fn engine(text: &str) -> Vec<String> {
        let lib = "pub mod app; pub mod engine; pub mod store; pub mod sim; pub mod supervisor; pub mod system;";
        let empty = ["app", "store", "sim", "supervisor", "system"].map(|name| format!("src/{name}/mod.rs"));
        let mut files = vec![("src/lib.rs", lib), ("src/engine/mod.rs", text)];
        files.extend(empty.iter().map(|file| (file.as_str(), "")));
        judge(&files)
    }

    #[test]
    fn arrows_that_point_down_pass() {
        let text = "use crate::system::clock::Clock;\nuse crate::snapshot::Snapshot;\nuse iaso_policy::Now;\nuse std::fmt;\n\
                    use bollard::Docker;\nuse super::engine::Engine;\nfn f() { self::g(); crate::engine::g(); x.store(1); }";
        assert_eq!(engine(text), Vec::<String>::new());
    }

    #[test]
    fn an_edge_may_not_name_another_however_it_is_written() {
        for text in [
            "\nuse crate::store::Store;",
            "\nuse crate::{store::Store};",
            "\nuse crate::{system::clock, store};",
            "\nuse crate::{system::{clock, tasks}, store::{self as kept}};",
            "\nuse super::store;",
            "\nfn f() -> crate::store::Store {}",
            "\nfn f() { x!(crate::store::open()) }",
            "\nfn f() { let a = 1..crate::store::LIMIT; }",
            "\nfn f<T: Into<crate::store::Store>>() {}",
            "\npub(in crate::store) fn f() {}",
            "\n#[cfg(test)] mod tests { use crate::store::Store; }",
            "\nmod inner { use super::super::store::Store; }",
        ] {
            let found = engine(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with("src/engine/mod.rs:2: engine names store;"), "{text}: {found:?}");
        }
    }

    #[test]
    fn an_edge_may_name_neither_what_is_above_it_nor_the_whole_crate() {
        for (text, why) in [
            ("use crate::supervisor::Supervisor;", "engine names supervisor"),
            ("use crate::app;", "engine names app"),
            ("use crate::sim::Sim;", "engine names sim"),
            ("use crate::*;", "names the whole crate"),
            ("use super::*;", "names the whole crate"),
            ("use crate as root;", "names the whole crate"),
            ("use crate::Reexported;", "engine names Reexported"),
        ] {
            let found = engine(text);
            assert!(found.len() == 1 && found[0].contains(why), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_path_is_none() {
        for text in
            ["// use crate::store::X;", "/// [`crate::store::X`]\nfn f() {}", "const T: &str = \"crate::store::X\";"]
        {
            assert_eq!(engine(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn tests_may_name_the_stand_ins_and_the_commands_that_run_them_may() {
        assert_eq!(engine("#[cfg(test)]\nmod tests {\n    use crate::sim::Sim;\n}"), Vec::<String>::new());
        assert_eq!(engine("#[cfg(not(test))]\nuse crate::sim::Sim;").len(), 1);
        assert_eq!(engine("#[cfg(test)]\nuse crate::sim::Sim;\nfn f() { crate::sim::g() }").len(), 1);
        let cli = |file: &str, module: &str| {
            let stands = ("src/cli/mod.rs", format!("mod {module};"));
            judge(&[
                ("src/lib.rs", "mod cli; mod sim;"),
                ("src/sim.rs", ""),
                (stands.0, &stands.1),
                (file, "use crate::sim::Sim;"),
            ])
        };
        assert_eq!(cli("src/cli/simulate.rs", "simulate"), Vec::<String>::new());
        assert!(cli("src/cli/run.rs", "run")[0].contains("sim is for"), "{:?}", cli("src/cli/run.rs", "run"));
        let dispatch = |text: &str| {
            judge(&[
                ("src/lib.rs", "mod cli; mod demo; mod sim;"),
                ("src/demo.rs", ""),
                ("src/sim.rs", ""),
                ("src/cli.rs", text),
            ])
        };
        assert_eq!(dispatch("use crate::demo::patient;"), Vec::<String>::new());
        assert_eq!(dispatch("use crate::sim::Sim;").len(), 1);
    }

    #[test]
    fn the_lower_half_names_less_than_the_edges() {
        let lib = ("src/lib.rs", "mod config; mod system; mod supervisor; mod store; mod snapshot; mod api;");
        let empty = [("src/config.rs", ""), ("src/system.rs", ""), ("src/supervisor.rs", ""), ("src/snapshot.rs", "")];
        for (file, text, why) in [
            ("src/config.rs", "use crate::system::clock;", "config names system"),
            ("src/system.rs", "use crate::store::Store;", "system names store"),
            ("src/snapshot.rs", "use crate::system::clock;", "snapshot names system"),
            ("src/supervisor.rs", "use crate::api::router;", "supervisor names api"),
        ] {
            let mut files = vec![lib, ("src/store.rs", ""), ("src/api.rs", "")];
            files.extend(empty.iter().filter(|(other, _)| *other != file));
            files.push((file, text));
            refused(&files, &format!("{file}:1"), why);
        }
    }

    #[test]
    fn main_knows_the_commands_alone() {
        refused(&[("src/main.rs", "fn main() { iaso::engine::run() }")], "src/main.rs:1", "main names engine");
        assert_eq!(judge(&[("src/main.rs", "fn main() { iaso::cli::run() }")]), Vec::<String>::new());
    }

    #[test]
    fn foreign_systems_stay_behind_their_folder() {
        for text in [
            "use rusqlite::Connection;",
            "use rusqlite as sql;",
            "use ::rusqlite::Row;",
            "extern crate rusqlite as sql;",
            "impl ::rusqlite::ToSql for X {}",
            "fn f() { return ::rusqlite::open() }",
            "fn f() { let x = ::rusqlite::open(); }",
            "fn f(e: rusqlite::Error) {}",
        ] {
            let found = engine(text);
            assert!(found.len() == 1 && found[0].contains("engine names the crate rusqlite"), "{text}: {found:?}");
        }
        assert_eq!(engine("#[cfg(test)] mod tests { use axum::Router; }"), Vec::<String>::new());
        let system = |module: &str, text: &str| {
            let stands = format!("pub mod {module};");
            judge(&[
                ("src/lib.rs", "mod system;"),
                ("src/system/mod.rs", &stands),
                (&format!("src/system/{module}.rs"), text),
            ])
        };
        assert_eq!(system("retry", "use backoff::backoff::Backoff;"), Vec::<String>::new());
        assert_eq!(system("retries", "use backoff::backoff::Backoff;").len(), 1);
    }

    #[test]
    fn a_file_that_nothing_leads_to_and_a_module_without_a_place_are_found() {
        refused(&[("src/engine/old.rs", "")], "src/engine/old.rs", "no `mod` item leads to it");
        refused(&[("src/lib.rs", "mod gone;")], "src/lib.rs:1", "no file for `mod gone`");
        refused(
            &[("src/lib.rs", "mod utils; mod store;"), ("src/store.rs", ""), ("src/utils.rs", "use crate::store::X;")],
            "src/utils.rs:1",
            "no place in the map",
        );
    }

    #[test]
    fn the_policy_stays_pure() {
        let policy = |text: &'static str| judge(&[("src/policy/lib.rs", text)]);
        assert_eq!(
            policy("#![no_std]\nextern crate alloc;\nuse core::fmt;\nuse alloc::vec::Vec;"),
            Vec::<String>::new()
        );
        assert!(policy("use core::fmt;")[0].contains("`#![no_std]` is missing"));
        assert!(
            policy("#![no_std]\nuse std::time::Instant;")[0].starts_with("src/policy/lib.rs:2: the policy names std")
        );
        assert_eq!(policy("#![no_std]\n#[cfg(test)] mod tests { use std::vec::Vec; }"), Vec::<String>::new());

        let serde = "[dependencies]\nserde = { version = \"1\", default-features = false, optional = true }\n";
        assert_eq!(policy_manifest(serde), Vec::<String>::new());
        assert_eq!(policy_manifest("[dependencies]\nserde = \"1\"\n").len(), 1);
        assert_eq!(policy_manifest(&format!("{serde}rand = \"0.9\"\n")).len(), 1);
        assert_eq!(policy_manifest("[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n").len(), 1);
    }

    #[test]
    fn rules_about_crates_that_are_gone_are_found() {
        let line = |name: &str| format!("{} = \"1\"\n", name.replace('_', "-"));
        let manifest = |rules: &[(&str, &[&str])]| {
            format!("[dependencies]\n{}", rules.iter().map(|rule| line(rule.0)).collect::<String>())
        };
        assert_eq!(idle_rules(&manifest(&CONFINED)), Vec::<String>::new());
        assert_eq!(
            idle_rules(&manifest(&CONFINED[1..])),
            [format!("tests/house/arrows.rs: {} is no dependency; drop its rule", CONFINED[0].0)]
        );
    }

    #[test]
    fn only_the_validated_shape_leaves_config() {
        let open = "mod decode;\npub mod validated;\npub use self::mistake::Mistake;\npub fn load() {}";
        assert_eq!(config_opens_too_much(open), Vec::<String>::new());
        for text in
            ["pub mod decode;", "pub(crate) mod decode;", "pub use self::decode::Raw;", "pub use decode::{Raw, Tree};"]
        {
            assert_eq!(config_opens_too_much(text).len(), 1, "{text}");
        }
    }
}
