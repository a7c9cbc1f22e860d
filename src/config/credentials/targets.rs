//! Where credentials are rendered: over nothing that Iaso itself lives by or reads.

use std::path::{Path, PathBuf};

use crate::config::decode::{self, Table, join, text_of};
use crate::config::report::Report;
use crate::config::validated::{Auth, Config, SecretFrom, Source, Template};
use crate::config::{texts, values};

/// A place that is not to be written over.
struct Taken {
    /// With and without the links followed that it is itself.
    paths: [PathBuf; 2],
    covers: Covers,
    /// What it is, as a mistake names it.
    what: String,
}

enum Covers {
    Itself,
    Everything,
    /// Each `*.toml` in it, as the folder `conf.d` of the configuration.
    Configuration,
}

impl Taken {
    fn new(path: &Path, covers: Covers, what: impl Into<String>) -> Self {
        Self { paths: [place_of(path), followed(path)], covers, what: what.into() }
    }

    fn has(&self, place: &Path) -> bool {
        self.paths.iter().any(|path| match self.covers {
            Covers::Itself => place == path,
            Covers::Everything => place.starts_with(path),
            Covers::Configuration => place.parent() == Some(path) && place.extension().is_some_and(|end| end == "toml"),
        })
    }
}

/// Tells each target that is a file of Iaso's own, or one that it reads.
pub(in crate::config) fn judge(report: &mut Report, file: &Table, config: &Config) {
    let taken = taken(report, config);
    for (name, _, table) in decode::named(file, "credentials") {
        let items = table.get("files").and_then(|value| value.get_ref().as_array()).into_iter().flatten();
        for (index, item) in items.enumerate() {
            let Some(table) = item.get_ref().as_table() else { continue };
            let (Some(value), Some(text)) = (table.get("path"), text_of(table, "path")) else { continue };
            let Ok(path) = values::absolute(text) else { continue };
            let place = place_of(&path);
            let Some(own) = taken.iter().find(|own| own.has(&place)) else { continue };
            let way = if place == path { String::new() } else { format!(", by way of {}", place.display()) };
            let here = format!("{}.files[{index}].path", join("credentials", name));
            report.mistake(value.span(), &here, format!("{}{way}", own.what), "a file that Iaso does not use itself");
        }
    }
}

fn taken(report: &Report, config: &Config) -> Vec<Taken> {
    let mut taken = vec![
        Taken::new(&config.daemon.data_dir, Covers::Everything, "in Iaso's data directory"),
        Taken::new(&config.daemon.socket, Covers::Itself, "Iaso's socket"),
    ];
    taken.extend(config.daemon.log.file.iter().map(|path| Taken::new(path, Covers::Itself, "Iaso's log")));
    for (path, folder) in report.texts().iter().filter_map(texts::Text::file) {
        taken.push(Taken::new(path, Covers::Itself, "Iaso's configuration"));
        let parts = if folder.ends_with("conf.d") { folder.to_owned() } else { folder.join("conf.d") };
        taken.push(Taken::new(&parts, Covers::Configuration, "a part of Iaso's configuration"));
    }
    let secrets = match config.vault.as_ref().map(|vault| &vault.auth) {
        Some(Auth::Token(token)) => vec![token],
        Some(Auth::AppRole { role_id, secret_id, .. }) => [role_id].into_iter().chain(secret_id).collect(),
        Some(Auth::Userpass { password, .. }) => vec![password],
        Some(Auth::Cert { .. }) | None => Vec::new(),
    };
    for secret in secrets {
        if let SecretFrom::File(path) = secret {
            taken.push(Taken::new(path, Covers::Itself, "what Iaso logs in to Vault with"));
        }
    }
    for credential in &config.credentials {
        let what = format!("what credentials.{} is read from", credential.name);
        match &credential.source {
            Source::File { path } => taken.push(Taken::new(path, Covers::Itself, what)),
            Source::Directory { path } => taken.push(Taken::new(path, Covers::Everything, what)),
            _ => {}
        }
        for file in &credential.files {
            if let Some(Template::File(path)) = &file.template {
                taken.push(Taken::new(path, Covers::Itself, format!("a template of credentials.{}", credential.name)));
            }
        }
    }
    taken
}

/// The place that a file of this path has, or would have: the links of its folder followed, as far as that is there.
pub(super) fn place_of(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => followed(folder).join(name),
        _ => path.to_owned(),
    }
}

/// Every link followed, as far as something is there.
fn followed(path: &Path) -> PathBuf {
    // A name alone stands in this folder.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(folder), Some(name)) => followed(folder).join(name),
        (Err(_), ..) => path.to_owned(),
    }
}
