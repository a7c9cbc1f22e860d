//! Configuration: as written, decoded with every mistake reported, and validated.

mod autoheal;
mod checks;
mod credentials;
mod decode;
pub mod depends;
mod environment;
mod example;
mod files;
mod fingerprint;
mod fixed;
mod host_tls;
mod interpolate;
mod keys;
pub mod labels;
mod maintenance;
pub mod mistake;
pub mod presets;
mod references;
mod report;
pub mod secret;
mod sections;
#[cfg(test)]
mod tests;
mod texts;
mod tree;
mod unwise;
mod url;
pub mod validated;
mod values;
mod vault;
pub mod watch;
mod whole;

use std::path::{Path, PathBuf};

pub use self::environment::Environment;
pub use self::example::example;
pub(crate) use self::mistake::nearest;
pub use self::mistake::{Mistake, Mistakes};
use self::report::Report;
use self::texts::Text;
use self::validated::{Config, Host, HostAddress};

/// The file that is read when nothing names another, with those in `conf.d` beside it.
const USUAL_FILE: &str = "/etc/iaso/iaso.toml";

/// A configuration and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// The files, in the order in which they are read; none when only defaults and the environment hold.
    pub files: Vec<PathBuf>,
    /// What is right and yet unwise, in the order of the files.
    pub warnings: Vec<Mistake>,
}

/// What is to be said of a configuration, whether or not it can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// The files, in the order in which they are read.
    pub files: Vec<PathBuf>,
    /// What would hold, else every mistake.
    pub outcome: Result<Config, Mistakes>,
    /// What is right and yet unwise, in the order of the files.
    pub warnings: Vec<Mistake>,
}

/// Reads the configuration: from `path`, else `$IASO_CONFIG`, else `/etc/iaso/iaso.toml` and `/etc/iaso/conf.d/*.toml` as far
/// as they exist; without any, containers are found by their labels with every default. Variables of `env` fill in references
/// and override keys; an empty one counts as unset.
///
/// # Errors
/// Every mistake of all files at once. A file that is named must be there.
pub fn load(path: Option<&Path>, env: &Environment) -> Result<Loaded, Mistakes> {
    let Examined { files, outcome, warnings } = examine(path, env);
    outcome.map(|config| Loaded { config, files, warnings })
}

/// Reads the configuration as [`load`] does, and keeps the warnings beside mistakes too.
pub fn examine(path: Option<&Path>, env: &Environment) -> Examined {
    examine_at(path, env, Path::new(USUAL_FILE))
}

fn examine_at(path: Option<&Path>, env: &Environment, usual: &Path) -> Examined {
    let named = path.map(Path::to_owned).or_else(|| set(env, "IASO_CONFIG").map(PathBuf::from));
    let (files, unlisted) = match named {
        Some(file) => (vec![file], None),
        None => files::usual(usual),
    };
    let mut unread: Vec<Mistake> = unlisted.into_iter().collect();
    let mut texts = Vec::new();
    for file in &files {
        match files::read(file) {
            Ok(text) => texts.push(text),
            Err(mistakes) => unread.extend(mistakes.0),
        }
    }
    let (outcome, warnings) = judge(texts, unread, env);
    Examined { files, outcome, warnings }
}

/// The configuration in a text, which may read no file; `origin` names it in mistakes. The environment overrides nothing.
///
/// # Errors
/// Every mistake of the text.
pub fn decode(origin: &str, source: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
    judge_texts(&[Text::memory(origin, source)], Vec::new(), env).0
}

/// The configuration of all files that could be read, and the environment; `unread` tells of the other files.
fn judge(mut texts: Vec<Text>, unread: Vec<Mistake>, env: &Environment) -> (Result<Config, Mistakes>, Vec<Mistake>) {
    if texts.is_empty() {
        texts.push(Text::memory(USUAL_FILE, ""));
    }
    texts.extend(environment::texts(env));
    judge_texts(&texts, unread, &|name| set(env, name))
}

fn judge_texts(
    texts: &[Text],
    mut mistakes: Vec<Mistake>,
    env: &dyn Fn(&str) -> Option<String>,
) -> (Result<Config, Mistakes>, Vec<Mistake>) {
    let mut report = Report::new(texts);
    let overrides = environment::overrides();
    let (mut tree, sound) = tree::read(&mut report, texts, env);
    environment::check(&mut report, texts, &overrides);
    tree::override_with(&mut tree, &overrides, texts);
    decode::check_table(&mut report, "", &tree, keys::ROOT);
    let usual = usual_host(env, &|path| path.exists());
    // A broken file lacks what the parser skipped: what only the whole can show would be told wrongly.
    let mut config = (sound && mistakes.is_empty()).then(|| {
        let fallback = Host { name: "local".to_owned(), address: HostAddress::Unix("/var/run/docker.sock".into()) };
        let usual = usual.clone().unwrap_or(fallback);
        sections::config(&mut report, &tree, usual, env)
    });
    let has_hosts = decode::table(&tree, "hosts").is_some_and(|hosts| !hosts.is_empty());
    let (told, mut warnings) = report.finish();
    mistakes.extend(told);
    mistakes.extend(usual.err().filter(|_| !has_hosts).into_iter().flat_map(|mistakes| mistakes.0));
    if let Some(config) = &mut config {
        match autoheal::inherit(config, &tree, env) {
            Ok(useless) => warnings.extend(useless),
            Err(wrong) => mistakes.extend(wrong.0),
        }
    }
    match config {
        Some(config) if mistakes.is_empty() => (Ok(config), warnings),
        _ => (Err(Mistakes(mistakes)), warnings),
    }
}

/// A text as the file spells it: in quotes, whatever is in it, on one line.
pub(crate) fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\U{:08X}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// A duration as the file spells it: `"30s"`, `"2h"`.
///
/// # Errors
/// What was expected.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    values::duration(text, 0, u64::MAX)
}

/// A variable's value; an empty one counts as unset.
fn set(env: &Environment, name: &str) -> Option<String> {
    env.get(name).filter(|value| !value.is_empty()).cloned()
}

/// systemd gives several directories with colons between.
fn first_path(paths: &str) -> Option<PathBuf> {
    paths.split(':').next().filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The host without `[hosts]`: `$DOCKER_SOCK`, else `$DOCKER_HOST`, else the first of the usual sockets that exists, else Docker's, waited for.
fn usual_host(env: &dyn Fn(&str) -> Option<String>, exists: &dyn Fn(&Path) -> bool) -> Result<Host, Mistakes> {
    let host = |address| Host { name: "local".to_owned(), address };
    if let Some(address) = autoheal::engine(env)? {
        return Ok(host(address));
    }
    if let Some(url) = env("DOCKER_HOST") {
        return docker_host(&url, env).map(host);
    }
    let docker = PathBuf::from("/var/run/docker.sock");
    let runtime = env("XDG_RUNTIME_DIR").map(PathBuf::from);
    let rootless = runtime.iter().flat_map(|dir| [dir.join("docker.sock"), dir.join("podman/podman.sock")]);
    let all = std::iter::once(docker.clone()).chain(rootless).chain([PathBuf::from("/run/podman/podman.sock")]);
    Ok(host(HostAddress::Unix(all.into_iter().find(|path| exists(path)).unwrap_or(docker))))
}

/// `$DOCKER_HOST`, with TLS where `$DOCKER_TLS_VERIFY` asks for it: `ca.pem`, and `cert.pem` with `key.pem` where they exist,
/// in `$DOCKER_CERT_PATH`, else in `~/.docker`.
fn docker_host(url: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<HostAddress, Mistakes> {
    // The variable may hold a user name and password.
    let address = values::host_address(url)
        .map_err(|expected| Mistakes::of("$DOCKER_HOST", "another address".to_owned(), &expected))?;
    let (HostAddress::Tcp(tcp) | HostAddress::Tls { address: tcp, .. }) = &address else { return Ok(address) };
    if env("DOCKER_TLS_VERIFY").is_none() {
        return Ok(address);
    }
    let folder = match (env("DOCKER_CERT_PATH"), env("HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => Path::new(&home).join(".docker"),
        (None, None) => {
            let got = "no folder for the certificates of $DOCKER_TLS_VERIFY".to_owned();
            return Err(Mistakes::of("$DOCKER_CERT_PATH", got, "a folder with ca.pem, cert.pem and key.pem"));
        }
    };
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
    let shown = cert.exists() || key.exists();
    let files = host_tls::Files { ca: Some(ca), cert: shown.then_some(cert), key: shown.then_some(key) };
    match host_tls::read(&files) {
        Ok(tls) => Ok(HostAddress::Tls { address: tcp.clone(), tls }),
        Err(host_tls::Wrong { got, expected, .. }) => Err(Mistakes::of("$DOCKER_CERT_PATH", got, expected)),
    }
}
