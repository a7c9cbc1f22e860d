//! A Debian with systemd as its first process, in a container of the shared engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::Need;
use crate::{output, until};

/// What such a machine needs of this one.
pub const NEEDS: [Need; 3] = [Need::Engine, Need::Root, Need::Program("debootstrap")];

/// What is in it beside the smallest Debian: systemd, and what the documents' commands are given to.
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,libnss-systemd,ca-certificates,procps,busybox-static,curl,jq,less,sudo";

/// The machine; gone when it is dropped.
pub struct Machine {
    name: String,
}

impl Machine {
    /// Booted, with this engine's socket where Docker's package puts it, in the hands of a group `docker`.
    pub fn boot(engine: &Path) -> Self {
        static IMAGE: LazyLock<()> = LazyLock::new(import);
        static COUNT: AtomicU32 = AtomicU32::new(0);
        LazyLock::force(&IMAGE);
        let name = format!("iaso-test-machine-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let machine = Self { name };
        let socket = format!("{}:/run/docker.sock", engine.display());
        // A private set of cgroups on a file system of its own: the host's would be mounted anew for all. Shared mounts, or
        // else credentials are an empty folder.
        let mut run = docker(&["run", "-d", "-t", "--name", &machine.name, "--cap-add=ALL", "--cap-drop=SYS_RESOURCE"]);
        run.args(["--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined", "--cgroupns=private"]);
        run.args(["--network=none", "--stop-signal=SIGRTMIN+3", "--tmpfs=/run", "--tmpfs=/run/lock"]);
        run.args(["--tmpfs=/tmp:exec", "--tmpfs=/sys/fs/cgroup:mode=755", "-v", &socket, &image()]);
        output(run.args(["sh", "-c", "mount --make-rshared / && exec /sbin/init"]));
        until("systemd is up", || {
            let state = machine.try_run("systemctl is-system-running || true").unwrap_or_default();
            ["running", "degraded"].contains(&state.as_str()).then_some(())
        });
        machine.run("groupadd --system --non-unique --gid $(stat -c %g /run/docker.sock) docker");
        machine
    }

    /// Runs a script of bash's as root, in which nothing may fail; what it printed.
    pub fn run(&self, script: &str) -> String {
        self.try_run(script).unwrap_or_else(|said| panic!("{script}: {said}"))
    }

    /// The same; what it said where it failed.
    pub fn try_run(&self, script: &str) -> Result<String, String> {
        let mut command = docker(&["exec", "-e", "DEBIAN_FRONTEND=noninteractive", &self.name]);
        command.args(["bash", "-eo", "pipefail", "-c", script]);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        if output.status.success() { Ok(out) } else { Err(format!("{}\n{out}\n{err}", output.status)) }
    }

    /// Puts a file into it.
    pub fn put(&self, file: &Path, place: &str) {
        output(&mut docker(&["cp", file.to_str().unwrap(), &format!("{}:{place}", self.name)]));
    }

    /// Waits until a script prints this.
    pub fn until(&self, script: &str, wanted: &str) {
        until(&format!("`{script}` prints {wanted}"), || (self.try_run(script).as_deref() == Ok(wanted)).then_some(()));
    }

    /// Waits until the journal of the unit has a line with this in it, after its first `after` lines; how many there are then.
    pub fn until_told(&self, after: usize, wanted: &str) -> usize {
        until(&format!("the journal tells {wanted}"), || {
            let journal = self.journal();
            journal.lines().skip(after).any(|line| line.contains(wanted)).then(|| journal.lines().count())
        })
    }

    pub fn journal(&self) -> String {
        // Of systemd about the unit as well.
        self.run("journalctl --no-pager -o cat -u iaso")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told =
                self.try_run("systemctl status iaso --no-pager || true; journalctl --no-pager -u iaso | tail -n 40");
            eprintln!("{}", told.unwrap_or_else(|said| said));
        }
        let _ = docker(&["rm", "-f", "-v", &self.name]).output();
    }
}

fn docker(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(["-H", "unix:///var/run/docker.sock"]).args(arguments);
    command
}

fn image() -> String {
    format!("iaso-test-machine-{}:1", std::process::id())
}

/// Takes the image away again.
pub fn remove() {
    let _ = docker(&["rmi", "-f", &image()]).output();
}

/// The release of Debian that the executable was built on: it may need its C library.
fn release() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    match (field("ID="), field("VERSION_CODENAME=")) {
        (Some(id), Some(release)) if id == "debian" => release,
        _ => "bookworm".to_owned(),
    }
}

/// Debian's files, kept under the target directory for the next time.
fn archive() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("machines");
    let (release, archive) = (release(), folder.join(format!("{}+{PACKAGES}.tar", release())));
    if archive.exists() {
        return archive;
    }
    fs::create_dir_all(&folder).unwrap();
    let making = tempfile::Builder::new().prefix("iaso-test-").tempdir_in(&folder).unwrap();
    let (root, half) = (making.path().join("root"), making.path().join("tar"));
    output(
        Command::new("debootstrap").args(["--variant=minbase", &format!("--include={PACKAGES}"), &release]).arg(&root),
    );
    fs::write(root.join("etc/machine-id"), "").unwrap();
    // It would set what counts for the whole host.
    std::os::unix::fs::symlink("/dev/null", root.join("etc/systemd/system/systemd-sysctl.service")).unwrap();
    output(Command::new("tar").arg("-C").arg(&root).args(["--exclude=./var/cache/apt/*", "-cf"]).arg(&half).arg("."));
    fs::rename(&half, &archive).unwrap();
    archive
}

fn import() {
    let changes = ["-c", "CMD [\"/sbin/init\"]", "-c", "ENV container=docker"];
    output(docker(&["import"]).args(changes).arg(archive()).arg(image()));
}
