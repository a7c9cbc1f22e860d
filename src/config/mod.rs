//! Configuration: as written, decoded with every mistake reported, and validated.

mod decode;
mod example;
mod fingerprint;
mod keys;
pub mod labels;
mod mistake;
mod sections;
#[cfg(test)]
mod tests;
mod url;
pub mod validated;
mod values;
pub mod watch;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use self::example::example;
use self::mistake::Report;
pub use self::mistake::{Mistake, Mistakes, Place};
use self::validated::{Config, Host, HostAddress};

/// The file that is read when nothing names another.
const USUAL_FILE: &str = "/etc/iaso/iaso.toml";

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// A configuration and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// The file; none when only defaults hold.
    pub file: Option<PathBuf>,
}

/// Reads the configuration: from `path`, else `$IASO_CONFIG`, else `/etc/iaso/iaso.toml` where it exists; without any,
/// containers are found by their labels with every default. `env` looks up a variable of the environment; an empty one counts
/// as unset.
///
/// # Errors
/// Every mistake of the file at once. A file that is named must be there.
pub fn load(path: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Mistakes> {
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
    let named = path.map(Path::to_owned).or_else(|| env("IASO_CONFIG").map(PathBuf::from));
    let usual = Path::new(USUAL_FILE);
    // Only a file that is surely absent is none: one that cannot be looked at must not be passed over.
    let file = named.or_else(|| (!matches!(usual.try_exists(), Ok(false))).then(|| usual.to_owned()));
    let config = match &file {
        Some(path) => decode(&path.display().to_string(), &read(path)?, &env)?,
        None => decode(USUAL_FILE, "", &env)?,
    };
    Ok(Loaded { config, file })
}

/// The text of a file, bounded.
fn read(path: &Path) -> Result<String, Mistakes> {
    let origin = path.display().to_string();
    let refused = |error: std::io::Error| Mistakes::of(&origin, error.to_string(), "a file that Iaso may read");
    // Opening a pipe that nobody writes to would wait for ever.
    if !std::fs::metadata(path).map_err(refused)?.is_file() {
        return Err(Mistakes::of(&origin, "not a regular file".to_owned(), "a TOML file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(refused)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Mistakes::of(&origin, "larger than 1 MiB".to_owned(), "a TOML file of at most 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Mistakes::of(&origin, format!("line {line} is not UTF-8"), "a TOML file in UTF-8")
    })
}

/// The configuration in a text; `origin` names it in mistakes.
pub(crate) fn decode(origin: &str, source: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
    let mut report = Report::new(origin, source);
    let (tree, errors) = DeTable::parse_recoverable(source);
    let file = tree.get_ref();
    for error in &errors {
        report.syntax(error.span().unwrap_or(0..0), error.message());
    }
    decode::check_table(&mut report, "", file, keys::ROOT);
    let usual = usual_host(env, &|path| path.exists());
    // A broken file lacks what the parser skipped: what only the whole can show would be told wrongly.
    let config = errors.is_empty().then(|| {
        let fallback = Host { name: "local".to_owned(), address: HostAddress::Unix("/var/run/docker.sock".into()) };
        let state_directory = env("STATE_DIRECTORY").and_then(|paths| first_path(&paths));
        let usual = usual.clone().unwrap_or(fallback);
        sections::config(&mut report, file, usual, state_directory)
    });
    let has_hosts = decode::table(file, "hosts").is_some_and(|hosts| !hosts.is_empty());
    let mistakes_of_environment = usual.err().filter(|_| !has_hosts).map(|mistakes| mistakes.0).unwrap_or_default();
    match config {
        Some(config) if report.is_empty() && mistakes_of_environment.is_empty() => Ok(config),
        _ => Err(Mistakes([report.finish(), mistakes_of_environment].concat())),
    }
}

/// systemd gives several directories with colons between.
fn first_path(paths: &str) -> Option<PathBuf> {
    paths.split(':').next().filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The host without `[hosts]`: `$DOCKER_HOST`, else the first of the usual sockets that exists, else Docker's, waited for.
fn usual_host(env: &dyn Fn(&str) -> Option<String>, exists: &dyn Fn(&Path) -> bool) -> Result<Host, Mistakes> {
    let host = |address| Host { name: "local".to_owned(), address };
    if let Some(url) = env("DOCKER_HOST") {
        return values::host_address(&url).map(host).map_err(|expected| {
            // The variable may hold a user name and password.
            Mistakes::of("$DOCKER_HOST", "another address".to_owned(), &expected)
        });
    }
    let docker = PathBuf::from("/var/run/docker.sock");
    let runtime = env("XDG_RUNTIME_DIR").map(PathBuf::from);
    let rootless = runtime.iter().flat_map(|dir| [dir.join("docker.sock"), dir.join("podman/podman.sock")]);
    let all = std::iter::once(docker.clone()).chain(rootless).chain([PathBuf::from("/run/podman/podman.sock")]);
    Ok(host(HostAddress::Unix(all.into_iter().find(|path| exists(path)).unwrap_or(docker))))
}
