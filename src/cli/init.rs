//! `iaso init`: where the proposed configuration goes.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::terminal;
use crate::app::commands::Failure;
use crate::app::init;

/// Its group may be the one that the daemon runs as; others may not read what will hold secrets one day.
const MODE: u32 = 0o640;

/// What is looked at, and where it is written down.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The file to write; `-` is standard output
    #[arg(long, short, default_value = "iaso.toml", value_name = "FILE")]
    output: PathBuf,
    /// An engine to look at, unix:///PATH/TO/SOCKET or tcp://HOST:PORT, as often as there are engines [default:
    /// $DOCKER_HOST, else the first of the usual sockets]
    #[arg(long = "host", value_name = "URL")]
    hosts: Vec<String>,
    /// Replace the file where there is one
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let to_stdout = self.output.as_os_str() == "-";
        // Said before anybody waits for an engine.
        if !to_stdout && self.output.is_dir() {
            return Err(is_folder(&self.output));
        }
        if !to_stdout && !self.force && self.output.symlink_metadata().is_ok() {
            return Err(taken(&self.output));
        }
        let proposal = init::propose(&self.hosts).await?;
        if to_stdout {
            return terminal::write(&proposal.text)
                .map_err(|error| Failure::Internal(format!("standard output: {error}")));
        }
        write(&self.output, &proposal.text, self.force)?;
        let file = self.output.display();
        let told = format!(
            "{file}: {} watched, {} left out; the file says why.\n\
             Next: read it, then `iaso check --config {file}` and `iaso run --observe --config {file}`.\n",
            counted(proposal.services, "service"),
            counted(proposal.left_out, "container"),
        );
        terminal::write(&told).map_err(|error| Failure::Internal(format!("standard output: {error}")))
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn taken(file: &Path) -> Failure {
    Failure::No(format!("{} exists already; --force replaces it, --output names another", file.display()))
}

fn is_folder(place: &Path) -> Failure {
    Failure::No(format!("{} is a folder; --output names a file", place.display()))
}

/// Writes the whole file or nothing, beside it first and then in its place.
fn write(file: &Path, text: &str, replace: bool) -> Result<(), Failure> {
    let refused = |error: io::Error| {
        let why = format!("{}: {error}", file.display());
        if error.kind() == io::ErrorKind::PermissionDenied { Failure::NotPermitted(why) } else { Failure::No(why) }
    };
    // What a link points to is replaced, not the link.
    let file = if replace { fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()) } else { file.to_owned() };
    let Some(name) = file.file_name().filter(|_| !file.is_dir()) else { return Err(is_folder(&file)) };
    let draft = file.with_file_name(format!(".{}.{}", name.display(), std::process::id()));
    let written = fill(&draft, &file, text).and_then(|()| {
        let how = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        Ok(renameat_with(CWD, &draft, CWD, &file, how)?)
    });
    written.map_err(|error| {
        let _may_not_exist = fs::remove_file(&draft);
        if error.kind() == io::ErrorKind::AlreadyExists { taken(&file) } else { refused(error) }
    })
}

fn fill(draft: &Path, file: &Path, text: &str) -> io::Result<()> {
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(draft)?;
    out.set_permissions(fs::Permissions::from_mode(MODE))?;
    // A daemon that could read the file before must be able to read its successor.
    if let Ok(before) = fs::metadata(file) {
        use std::os::unix::fs::MetadataExt;
        std::os::unix::fs::fchown(&out, Some(before.uid()), Some(before.gid()))?;
    }
    out.write_all(text.as_bytes())?;
    out.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_never_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("iaso.toml");
        write(&file, "one", false).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, MODE);
        let told = write(&file, "two", false).unwrap_err();
        assert!(matches!(&told, Failure::No(why) if why.contains("--force")), "{told:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        write(&file, "two", true).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a draft was left behind");
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("real.toml"), dir.path().join("iaso.toml"));
        fs::write(&file, "one").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(write(&link, "two", false).is_err());
        write(&link, "two", true).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (place, word) in [(dir.path().to_owned(), "folder"), (dir.path().join("none/iaso.toml"), "No such file")] {
            let told = write(&place, "text", true).unwrap_err().to_string();
            assert!(told.contains(word) && told.contains(dir.path().to_str().unwrap()), "{told}");
        }
    }
}
