//! What `--help`, the manual pages and the document say.

use std::path::Path;

use super::super::*;

#[test]
fn each_command_s_help_has_an_example_and_its_exit_codes() {
    let iaso = Cli::command();
    iaso.clone().debug_assert();
    let codes = ["0", "1", "2", "69", "70", "77", "78"];
    for mut command in iaso.get_subcommands().cloned() {
        let (name, help) = (command.get_name().to_owned(), command.render_long_help().to_string());
        let (_, below) = help.split_once("Exit codes:\n").unwrap_or_else(|| panic!("{name}: no exit codes"));
        for line in below.lines() {
            let code = line.split_whitespace().next().unwrap();
            assert!(codes.contains(&code), "{name}: {line}");
        }
        assert!(below.contains("  2   the command line is wrong"), "{name}");
        assert!(help.contains(&format!("  iaso {name}")), "{name}: no example");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{name}: {help}");
    }
}

#[test]
fn manual_pages_are_one_for_each_command() {
    let dir = tempfile::tempdir().unwrap();
    let count = generate::pages(dir.path()).unwrap();
    let mut pages: Vec<String> =
        std::fs::read_dir(dir.path()).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    let named =
        Cli::command().get_subcommands().map(|command| format!("iaso-{}.1", command.get_name())).collect::<Vec<_>>();
    assert!(named.iter().all(|page| pages.contains(page)), "{pages:?}");
    assert!(pages.contains(&"iaso.1".to_owned()) && count == pages.len(), "{pages:?}");
    for page in pages {
        let text = std::fs::read_to_string(dir.path().join(&page)).unwrap();
        assert!(text.contains("Exit codes:"), "{page}: {text}");
    }
}

/// `docs/command-line.md`: what every `--help` says.
fn handbook() -> String {
    let mut text = String::from(
        "# The command line\n\nWhat each `--help` says; made from the program itself by\n\
         `IASO_UPDATE_DOCS=1 cargo test --lib the_command_line_is_documented`.\n\n",
    );
    let mut iaso = Cli::command().term_width(100).disable_help_subcommand(true);
    iaso.build();
    for command in generate::all(&iaso) {
        let mut command = command.clone().term_width(100);
        let name = command.get_bin_name().unwrap_or("iaso").to_owned();
        let help = command.render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        text.push_str(&format!("## `{name}`\n\n```text\n{}\n```\n\n", help.join("\n").trim_end()));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[test]
fn the_command_line_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/command-line.md");
    let made = handbook();
    if std::env::var_os("IASO_UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/command-line.md is not what --help says; IASO_UPDATE_DOCS=1 writes it anew");
}
