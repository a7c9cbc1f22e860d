//! Which files a configuration is made of, their texts, and the files that it names.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::mistake::{Mistake, Mistakes};
use super::texts::{Source, Text};
use super::values;

/// The largest configuration file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The files where none is named: `FILE` where it exists, then `conf.d/*.toml` beside it in the order of their names.
///
/// # Errors
/// When the folder is there and cannot be listed: a part of the configuration must not be passed over.
pub(super) fn usual(file: &Path) -> (Vec<PathBuf>, Option<Mistake>) {
    // Only a file that is surely absent is none: one that cannot be looked at must not be passed over.
    let mut files: Vec<PathBuf> =
        (!matches!(file.try_exists(), Ok(false)) || file.is_symlink()).then(|| file.to_owned()).into_iter().collect();
    let folder = file.with_file_name("conf.d");
    match parts(&folder) {
        Ok(names) => {
            files.extend(names.iter().map(|name| folder.join(name)));
            (files, None)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => (files, None),
        Err(error) => {
            let origin = folder.display().to_string();
            (files, Some(Mistake::of(&origin, error.to_string(), "a folder that Iaso may list")))
        }
    }
}

/// The names of a folder's `*.toml`, in order. What editors leave behind begins with a dot or ends otherwise.
fn parts(folder: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.ends_with(b".toml") && !bytes.starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The text of a configuration file.
///
/// # Errors
/// Why there is none.
pub(super) fn read(path: &Path) -> Result<Text, Mistakes> {
    let origin = path.display().to_string();
    let Bytes { content, mode } =
        bounded(path, MAX_FILE).map_err(|Unread { got, expected }| Mistakes::of(&origin, got, expected))?;
    let content = String::from_utf8(content).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Mistakes::of(&origin, format!("line {line} is not UTF-8"), "a TOML file in UTF-8")
    })?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    Ok(Text { origin, content, source: Source::File { folder, mode } })
}

/// The certificates of a PEM file, at least one.
///
/// # Errors
/// What is wrong with the file, with its path.
pub(super) fn certificates(path: &Path) -> values::Read<Vec<CertificateDer<'static>>> {
    let bytes = bounded(path, MAX_FILE).map_err(|Unread { got, .. }| format!("{}: {got}", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes.content).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("no certificate in {}", path.display())),
        Err(error) => Err(format!("{} is not PEM: {error}", path.display())),
    }
}

/// What a file holds.
pub(super) struct Bytes {
    pub(super) content: Vec<u8>,
    /// Its permission bits.
    pub(super) mode: u32,
}

/// Why a file could not be read: what is there, and what should be.
pub(super) struct Unread {
    pub(super) got: String,
    pub(super) expected: &'static str,
}

/// Reads a regular file of at most `most` bytes.
pub(super) fn bounded(path: &Path, most: u64) -> Result<Bytes, Unread> {
    let failed = |error: std::io::Error| Unread { got: error.to_string(), expected: "a file that Iaso may read" };
    let irregular = || Unread { got: "not a regular file".to_owned(), expected: "a regular file" };
    // Opening a device may do something to it, and a pipe that nobody writes to would be waited for without end. The second
    // look is for what took the file's place meanwhile.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(irregular());
    }
    let not_waiting = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(not_waiting).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(irregular());
    }
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > most {
        let got = if most >= 1 << 20 {
            format!("larger than {} MiB", most >> 20)
        } else {
            format!("larger than {} KiB", most >> 10)
        };
        return Err(Unread { got, expected: "a smaller file" });
    }
    Ok(Bytes { content, mode: metadata.permissions().mode() & 0o7777 })
}
