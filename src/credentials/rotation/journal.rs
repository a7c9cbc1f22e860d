//! Journals: what is kept of each credential's rotations, one file each, with both values sealed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use iaso_policy::Now;
use iaso_policy::credential::rotation::{Halt, State};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use crate::config::secret::Secret;
use crate::credentials::provider::Fields;
use crate::credentials::render::write_private;
use crate::credentials::seal::Sealer;

/// The data of both sides of a rotation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Values {
    /// What is replaced; none: there was nothing.
    pub(super) old: Option<Fields>,
    /// What replaces it; none: it is not made yet.
    pub(super) new: Option<Fields>,
}

/// As it is on disk.
#[derive(Serialize, Deserialize)]
struct File {
    state: State,
    /// Base64 of the sealed [`Plain`]; none while nothing is under way.
    values: Option<String>,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Plain {
    old: Option<Vec<(String, String)>>,
    new: Option<Vec<(String, String)>>,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// No journal.
    Nothing,
    /// This.
    Journal(State, Values),
    /// One that cannot be used. It lies aside, and that a person is needed is journaled in its place.
    PutAside(State, String),
    /// It cannot be looked at now, or not be replaced; it is as it was.
    Unreadable(String),
}

/// Keeps a state, and the values while it has a run. It blocks on the disk.
///
/// # Errors
/// In words, with the path.
pub(super) fn save(folder: &Path, name: &str, sealer: &Sealer, state: &State, values: &Values) -> Result<(), String> {
    let path = folder.join(name);
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| failed(&error))?;
    let values = match &state.run {
        None => None,
        Some(run) => {
            let listed = |fields: &Option<Fields>| {
                let fields = fields.as_ref()?.iter();
                Some(fields.map(|(name, value)| (name.clone(), value.expose().to_owned())).collect())
            };
            let plain = Plain { old: listed(&values.old), new: listed(&values.new) };
            let plain = Zeroizing::new(serde_json::to_vec(&plain).map_err(|error| failed(&error))?);
            Some(STANDARD.encode(sealer.seal(&bound(name, run.id.0), &plain)))
        }
    };
    let text = serde_json::to_vec(&File { state: state.clone(), values }).map_err(|error| failed(&error))?;
    write_private(&path, &text).map_err(|error| error.to_string())
}

/// What is kept of this credential. It blocks on the disk.
pub(super) fn load(folder: &Path, name: &str, sealer: &Sealer, now: Now) -> Found {
    let path = folder.join(name);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) => return Found::Unreadable(format!("{}: {error}", path.display())),
    };
    match open(name, sealer, &text) {
        Ok((state, values)) => Found::Journal(state, values),
        Err(why) => lost(folder, name, sealer, now, &why),
    }
}

fn open(name: &str, sealer: &Sealer, text: &[u8]) -> Result<(State, Values), String> {
    // What JSON says of a mistake may quote the text.
    let file: File = serde_json::from_slice(text).map_err(|_| "it is no journal".to_owned())?;
    let (Some(run), Some(sealed)) = (&file.state.run, &file.values) else {
        return match file.state.run {
            None => Ok((file.state, Values::default())),
            Some(_) => Err("its values are missing".to_owned()),
        };
    };
    let sealed = STANDARD.decode(sealed).map_err(|_| "its values are damaged".to_owned())?;
    let plain = sealer.unseal(&bound(name, run.id.0), &sealed).map_err(|error| error.to_string())?;
    let plain: Plain = serde_json::from_slice(&plain).map_err(|_| "its values are damaged".to_owned())?;
    let fields = |listed: Option<Vec<(String, String)>>| {
        listed.map(|listed| listed.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
    };
    Ok((file.state, Values { old: fields(plain.old), new: fields(plain.new) }))
}

/// The name that values are sealed under: they fit no other credential and no other rotation.
fn bound(name: &str, id: u64) -> String {
    format!("rotation/{name}/{id}")
}

/// Lays a damaged journal aside, and writes one in its place that waits for a person: no run takes it for none.
fn lost(folder: &Path, name: &str, sealer: &Sealer, now: Now, why: &str) -> Found {
    let path = folder.join(name);
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".aside-{}", now.wall.0));
    let aside = PathBuf::from(aside);
    let state = State { halt: Some(Halt::JournalLost), ..State::new(now) };
    let linked = fs::hard_link(&path, &aside).or_else(|_| fs::copy(&path, &aside).map(|_| ()));
    let replaced = linked
        .map_err(|error| format!("it cannot be laid aside: {error}"))
        .and_then(|()| save(folder, name, sealer, &state, &Values::default()));
    let words = format!("{} cannot be used, {why}", path.display());
    match replaced {
        Ok(()) => Found::PutAside(state, format!("{words}: moved to {}", aside.display())),
        Err(failed) => Found::Unreadable(format!("{words}; {failed}")),
    }
}
