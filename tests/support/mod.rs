//! What the libtest-mimic executables share: tests that say what they need, and are reported as ignored, with the reason,
//! where it is missing. `CI=true` turns a missing need into a failure.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use libtest_mimic::{Arguments, Failed, Trial};

/// What a test needs of the machine it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each executable uses some")]
pub enum Need {
    /// Nothing.
    Nothing,
    /// A container engine at the default socket, which the test does not disturb.
    Engine,
    /// Root, and the executables to start an engine of its own.
    OwnEngine,
    /// Root.
    Root,
    /// A program of this name, from Debian's packages.
    Program(&'static str),
    /// A program of this name, from Python's packages, which `.ci/run` installs under the target directory.
    Python(&'static str),
}

impl Need {
    /// Why this machine does not meet it; none when it does.
    fn missing(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Engine => {
                static ENGINE: LazyLock<bool> = LazyLock::new(|| {
                    Command::new("docker")
                        .args(["version", "--format", "{{.Server.Version}}"])
                        .output()
                        .is_ok_and(|o| o.status.success())
                });
                (!*ENGINE).then(|| "no container engine answers `docker version`".to_owned())
            }
            Self::OwnEngine => Self::Root.missing().or_else(|| Self::Program("dockerd").missing()),
            Self::Root => (!rustix::process::geteuid().is_root()).then(|| "not root".to_owned()),
            Self::Program(name) => {
                let found = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
                    .iter()
                    .any(|dir| Path::new(dir).join(name).exists());
                (!found).then(|| format!("{name} is not installed"))
            }
            Self::Python(name) => installed(name).is_none().then(|| format!("{name} is not in {}", PYTHON.display())),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Engine => f.write_str("engine"),
            Self::OwnEngine => f.write_str("own-engine"),
            Self::Root => f.write_str("root"),
            Self::Program(name) | Self::Python(name) => f.write_str(name),
        }
    }
}

/// Where `.ci/run` installs programs of Python's.
static PYTHON: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python").join("bin"));

/// Where such a program is.
pub fn installed(name: &str) -> Option<PathBuf> {
    Some(PYTHON.join(name)).filter(|path| path.exists())
}

/// A test that runs where all its needs are met.
pub fn test(name: &str, needs: &[Need], run: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    let missing: Vec<String> = needs.iter().filter_map(|need| need.missing()).collect();
    if missing.is_empty() {
        return Trial::test(name, run);
    }
    let why = missing.join("; ");
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        return Trial::test(name, move || Err(Failed::from(format!("cannot run here: {why}"))));
    }
    Trial::test(format!("{name} (ignored: {why})"), run).with_ignored_flag(true)
}

/// Runs the tests as `cargo test` expects, and ends the process with its verdict.
#[allow(dead_code, reason = "each executable uses some")]
pub fn conclude(tests: Vec<Trial>) -> std::process::ExitCode {
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// The same, so many at once unless the command line says otherwise: for tests that wait more than they work.
#[allow(dead_code, reason = "each executable uses some")]
pub fn conclude_at_once(threads: usize, tests: Vec<Trial>) -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(threads);
    libtest_mimic::run(&arguments, tests).exit_code()
}
