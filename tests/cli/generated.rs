//! Completions and manual pages, used by the programs that they are for.

use libtest_mimic::Trial;

use crate::support::{Need, test};
use crate::{iaso, shell};

pub fn tests() -> Vec<Trial> {
    vec![
        test("generated::bash_completes_commands_and_options", &[Need::Program("bash")], || {
            bash_completes_commands_and_options();
            Ok(())
        }),
        test("generated::each_shell_has_its_script", &[], || {
            each_shell_has_its_script();
            Ok(())
        }),
        test("generated::man_reads_the_pages", &[Need::Program("man")], || {
            man_reads_the_pages();
            Ok(())
        }),
    ]
}

fn bash_completes_commands_and_options() {
    let dir = tempfile::tempdir().unwrap();
    let complete = |words: &str| {
        let script = format!(
            "set -eu; source <(\"$IASO\" completions bash); COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _iaso iaso \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let said = shell("bash", &script, dir.path());
        assert_eq!((said.code, &*said.err), (0, ""), "{words}");
        said.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("iaso re"), ["restart", "resume", "replay"]);
    assert_eq!(complete("iaso p"), ["probe", "pause"], "`patient` is no command of people's");
    assert_eq!(complete("iaso status --output ''"), ["table", "json"]);
    assert_eq!(complete("iaso run --ob"), ["--observe"]);
    assert_eq!(complete("iaso completions fi"), ["fish"]);
}

fn each_shell_has_its_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = iaso(&["completions", shell]);
        assert!(said.code == 0 && said.out.contains("iaso") && said.out.contains("explain"), "{shell}: {said:?}");
        assert!(!said.out.contains("patient"), "{shell}");
    }
    let said = iaso(&["completions", "tcsh"]);
    assert!(said.code == 2 && said.err.contains("elvish"), "{said:?}");
}

fn man_reads_the_pages() {
    let dir = tempfile::tempdir().unwrap();
    let said = iaso(&["man", "--output-dir", dir.path().to_str().unwrap()]);
    assert!(said.code == 0 && said.out.contains("pages"), "{said:?}");
    for (page, part) in [
        ("iaso.1", "Exit codes:"),
        ("iaso-status.1", "--watch"),
        ("iaso-init.1", "--force"),
        ("iaso-credentials-set.1", "--file"),
    ] {
        let read = shell("sh", &format!("MANWIDTH=100 man -l --warnings {page}"), dir.path());
        assert!(read.code == 0 && read.err.is_empty() && read.out.contains(part), "{page}: {read:?}");
    }
    assert!(iaso(&["man"]).out.starts_with(".ie"), "no manual page");
    let said = iaso(&["man", "--output-dir", dir.path().join("none").to_str().unwrap()]);
    assert!(said.code == 1 && said.err.contains("none"), "{said:?}");
}
