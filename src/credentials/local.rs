//! Credentials of this machine itself: a variable of the environment, a file, a folder of files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iaso_policy::credential::Fault;
use rustix::fs::OFlags;
use secrecy::zeroize::Zeroizing;

use super::provider::{Failure, Fetched, Fields, Provider};
use crate::config::secret::Secret;
use crate::config::validated::Source;

/// The largest value, and all of a folder's together, in bytes.
const LARGEST: usize = 1 << 20;
/// Files of a folder at most.
const MOST: usize = 100;
/// The only field of what has no fields of its own.
const VALUE: &str = "value";

/// Reads the environment, files and folders.
#[derive(Debug, Clone, Copy, Default)]
pub struct Local;

impl Provider for Local {
    fn read<'a>(&'a self, source: &'a Source) -> BoxFuture<'a, Result<Fetched, Failure>> {
        let source = source.clone();
        async move {
            // A disk or a network's file system can hang.
            let read = tokio::task::spawn_blocking(move || fields(&source)).await;
            let fields = read.unwrap_or_else(|_| Err(failure(Fault::Failing, "reading it was broken off")))?;
            Ok(Fetched { fields, version: None, lease: None, not_after: None })
        }
        .boxed()
    }
}

fn fields(source: &Source) -> Result<Fields, Failure> {
    match source {
        Source::Environment { variable } => {
            let what = format!("the variable {variable}");
            let Some(value) = std::env::var_os(variable) else {
                return Err(failure(Fault::NotFound, format!("{what} is not set")));
            };
            let value =
                value.into_string().map_err(|_| failure(Fault::Malformed, format!("{what} is not UTF-8 text")))?;
            Ok(Fields::from([(VALUE.to_owned(), text(value.into_bytes(), &what)?)]))
        }
        Source::File { path } => Ok(Fields::from([(VALUE.to_owned(), file(path)?)])),
        Source::Directory { path } => directory(path),
        Source::Kv2 { .. } | Source::Kv1 { .. } | Source::Dynamic { .. } | Source::Pki { .. } | Source::Aws(_) => {
            Err(failure(Fault::Refused, format!("{} is not of this machine", source.kind())))
        }
    }
}

/// The files directly in a folder. Names that begin with a dot, folders and what is no regular file are passed over; symbolic
/// links are followed within the folder, as Kubernetes lays its volumes out.
fn directory(path: &Path) -> Result<Fields, Failure> {
    let files = listed(path)?;
    let (shown, mut size, mut fields) = (path.display(), 0, Fields::new());
    for (name, file_path) in &files {
        let value = file(file_path)?;
        size += value.expose().len();
        if size > LARGEST {
            return Err(failure(Fault::Malformed, format!("{shown} holds more than {LARGEST} bytes")));
        }
        fields.insert(name.clone(), value);
    }
    if fields.is_empty() {
        return Err(failure(Fault::Malformed, format!("{shown} holds no file")));
    }
    // A volume is renewed by pointing a link elsewhere: a user of before and a password of after do not belong together.
    if listed(path)? != files {
        return Err(failure(Fault::Failing, format!("{shown} changed while it was read")));
    }
    Ok(fields)
}

/// A folder's files by name, and where each really is.
fn listed(path: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let shown = path.display();
    let refused = |error: io::Error| unreadable(path, &error);
    let real = path.canonicalize().map_err(refused)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(&real).map_err(refused)? {
        let name = entry.map_err(refused)?.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let name = name.into_string();
        let name =
            name.map_err(|_| failure(Fault::Malformed, format!("{shown} holds a name that is not UTF-8 text")))?;
        let target = real.join(&name).canonicalize().map_err(|error| unreadable(&path.join(&name), &error))?;
        if !target.starts_with(&real) {
            return Err(failure(Fault::Malformed, format!("{} leads out of its folder", path.join(&name).display())));
        }
        if target.metadata().map_err(refused)?.is_file() {
            files.push((name, target));
        }
        if files.len() > MOST {
            return Err(failure(Fault::Malformed, format!("{shown} holds more than {MOST} files")));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// A file's text.
fn file(path: &Path) -> Result<Secret, Failure> {
    let shown = path.display();
    let refused = |error: io::Error| unreadable(path, &error);
    // A pipe would keep who opens it waiting.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened: File = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(refused)?;
    if !opened.metadata().map_err(refused)?.is_file() {
        return Err(failure(Fault::Malformed, format!("{shown} is not a regular file")));
    }
    // With a line break of two bytes, and one byte that is too many.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    opened.take(LARGEST as u64 + 3).read_to_end(&mut bytes).map_err(refused)?;
    let value = without_line_break(&bytes);
    if value.len() > LARGEST {
        return Err(failure(Fault::Malformed, format!("{shown} has more than {LARGEST} bytes")));
    }
    text(value.to_vec(), &shown.to_string())
}

/// Editors and `echo` end a file with one.
fn without_line_break(bytes: &[u8]) -> &[u8] {
    let value = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if value.len() < bytes.len() { value.strip_suffix(b"\r").unwrap_or(value) } else { value }
}

fn text(value: Vec<u8>, what: &str) -> Result<Secret, Failure> {
    if value.is_empty() {
        return Err(failure(Fault::Malformed, format!("{what} is empty")));
    }
    match String::from_utf8(value) {
        Ok(value) => Ok(Secret::new(value)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(failure(Fault::Malformed, format!("{what} is not UTF-8 text")))
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let fault = match error.kind() {
        io::ErrorKind::NotFound => Fault::NotFound,
        io::ErrorKind::PermissionDenied => Fault::Denied,
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => Fault::Malformed,
        _ => Fault::Failing,
    };
    failure(fault, format!("{} cannot be read: {error}", path.display()))
}

fn failure(fault: Fault, words: impl Into<String>) -> Failure {
    Failure { fault, words: words.into() }
}

#[cfg(test)]
mod tests;
