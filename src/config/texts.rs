//! The texts that a configuration is made of, laid end to end, so that one number tells both the text and the place in it.

use std::path::{Path, PathBuf};

/// One text.
#[derive(Debug)]
pub(super) struct Text {
    /// As mistakes name it: a file's path, or `$NAME`.
    pub(super) origin: String,
    pub(super) content: String,
    pub(super) source: Source,
}

/// Where a text came from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A file.
    File {
        /// What paths in it are relative to.
        folder: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A text without a file: it may read none.
    Memory,
    /// The value of a variable of the environment.
    Variable,
}

impl Text {
    pub(super) fn memory(origin: &str, content: &str) -> Self {
        Self { origin: origin.to_owned(), content: content.to_owned(), source: Source::Memory }
    }

    /// Its path and its folder, where it is a file.
    pub(super) fn file(&self) -> Option<(&Path, &Path)> {
        match &self.source {
            Source::File { folder, .. } => Some((Path::new(&self.origin), folder)),
            Source::Memory | Source::Variable => None,
        }
    }

    pub(super) fn variable(name: &str, content: &str) -> Self {
        Self { origin: format!("${name}"), content: content.to_owned(), source: Source::Variable }
    }
}

/// Where each text begins. One place lies between two texts, so that the end of one is not the start of the next.
pub(super) fn starts(texts: &[Text]) -> Vec<usize> {
    let begin = |next: &mut usize, text: &Text| {
        let start = *next;
        *next += text.content.len() + 1;
        Some(start)
    };
    texts.iter().scan(0, begin).collect()
}
