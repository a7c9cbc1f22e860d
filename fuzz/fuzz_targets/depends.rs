//! What Compose says of who needs whom is foreign: no label and no file makes Iaso panic or run away, and what is heeded are names.
//! The input is the text of both.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use iaso::config::depends::{Dependency, compose_file, of_label};
use libfuzzer_sys::fuzz_target;

/// In memory, one for each process.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder =
        if std::path::Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    folder.join(format!("iaso-test-fuzz-{}.yaml", std::process::id()))
});

fuzz_target!(|text: &str| {
    let labels = [("com.docker.compose.depends_on".to_owned(), text.to_owned())].into();
    judge(&of_label(&labels).expect("the label is there"));
    std::fs::write(&*FILE, text).expect("a file in memory can be written");
    match compose_file::read(std::slice::from_ref(&*FILE)) {
        Ok(project) => project.values().for_each(|needs| judge(needs)),
        // What it says of a file is in no part what the file holds.
        Err(unreadable) => assert!(unreadable.to_string().len() < 1000, "{unreadable}"),
    }
});

fn judge(needs: &[Dependency]) {
    assert!(needs.len() <= 256);
    for need in needs {
        let is_name = need.service.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        assert!(is_name && (1..=255).contains(&need.service.len()), "{need:?}");
    }
}
