//! The Debian package: what is in it, and its whole life under systemd, by the commands that the documents give.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use crate::machine::{self, Machine};
use crate::own_dockerd::OwnDockerd;
use crate::site::Site;
use crate::support::{Need, test};
use crate::{PROGRAM, output, scratch, shipped, until, wait};

pub fn tests() -> Vec<Trial> {
    const DPKG: Need = Need::Program("dpkg-deb");
    let life = [&machine::NEEDS[..], &[DPKG, Need::OwnEngine]].concat();
    vec![
        test("debian::the_same_executable_gives_the_same_package", &[DPKG], || {
            the_same_executable_gives_the_same_package();
            Ok(())
        }),
        test("debian::lintian_finds_nothing", &[DPKG, Need::Program("lintian")], || {
            lintian_finds_nothing();
            Ok(())
        }),
        test("debian::installed_it_heals_reloads_is_watched_upgraded_removed_and_purged", &life, || {
            installed_it_heals_reloads_is_watched_upgraded_removed_and_purged();
            Ok(())
        }),
    ]
}

/// Builds the package. It is not compressed: that takes time, and tells nothing.
pub fn package(out: &Path, revision: &str) -> PathBuf {
    let mut build = Command::new(shipped("packaging/debian/build"));
    build.args(["--executable", PROGRAM, "--revision", revision, "--compression", "none", "--out"]).arg(out);
    output(&mut build).into()
}

fn the_same_executable_gives_the_same_package() {
    let folders = [scratch(), scratch()];
    let [first, second] = folders.each_ref().map(|folder| package(folder.path(), "1"));
    assert_eq!(first.file_name(), second.file_name());
    let (once, again) = (fs::read(&first).unwrap(), fs::read(&second).unwrap());
    assert!(once == again, "{} and {} differ", first.display(), second.display());

    let field = |name: &str| output(Command::new("dpkg-deb").arg("--field").arg(&first).arg(name));
    assert_eq!(field("Version"), format!("{}-1", env!("CARGO_PKG_VERSION")));
    let listed = output(Command::new("dpkg-deb").arg("--contents").arg(&first));
    for (mode, file) in [
        ("-rwxr-xr-x root/root", "./usr/bin/iaso"),
        ("-rw-r--r-- root/root", "./usr/lib/systemd/system/iaso.service"),
        ("-rw-r--r-- root/root", "./usr/share/man/man1/iaso-explain.1.gz"),
        ("-rw-r--r-- root/root", "./usr/share/bash-completion/completions/iaso"),
        ("-rw-r--r-- root/root", "./usr/share/zsh/vendor-completions/_iaso"),
        ("-rw-r--r-- root/root", "./usr/share/fish/vendor_completions.d/iaso.fish"),
        ("-rw-r--r-- root/root", "./usr/share/doc/iaso/copyright"),
    ] {
        assert!(listed.lines().any(|line| line.starts_with(mode) && line.ends_with(file)), "{mode} {file}: {listed}");
    }
    // The example says every key, and sets none: a key may stand in one file only.
    let info = Command::new("dpkg-deb").arg("--info").arg(&first).arg("conffiles").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&info.stdout), "/etc/iaso/iaso.toml\n");
}

fn lintian_finds_nothing() {
    let folder = scratch();
    let package = package(folder.path(), "1");
    let mut lintian = Command::new("lintian");
    let said = lintian.args(["--allow-root", "--fail-on", "error,warning"]).arg(&package).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    // The tests' package is not compressed.
    let ours =
        |line: &&str| (line.starts_with("E:") || line.starts_with("W:")) && !line.contains("uses-no-compression");
    assert_eq!(text.lines().filter(ours).collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(text.contains("uses-no-compression"), "it has not looked: {text}{}", String::from_utf8_lossy(&said.stderr));
}

fn installed_it_heals_reloads_is_watched_upgraded_removed_and_purged() {
    let dockerd = wait(OwnDockerd::start());
    let site = Site::own(&dockerd.socket());
    let folder = scratch();
    let (first, second) = (package(folder.path(), "1"), package(folder.path(), "2"));
    let machine = Machine::boot(&dockerd.socket());
    machine.put(&first, "/root/first.deb");
    machine.put(&second, "/root/second.deb");

    heals(&machine, &site);
    has_nothing_that_it_does_not_need(&machine);
    reloads(&machine);
    reads_its_credentials(&machine);
    is_watched(&machine);
    does_not_give_up(&machine);
    is_upgraded(&machine, &site);
    is_removed_and_purged(&machine);
}

fn pid(machine: &Machine) -> String {
    machine.run("systemctl show iaso -P MainPID")
}

/// From nothing to the first healed container, by one command.
fn heals(machine: &Machine, site: &Site) {
    let started = iaso::system::clock::stopwatch();
    machine.run("dpkg -i /root/first.deb");
    assert_eq!(machine.run("systemctl is-enabled iaso"), "enabled");
    machine.until("systemctl is-active iaso", "active");
    let running = started();
    let name = site.patient("web", &["--network=none", "--label=iaso.enable=true"], &[]);
    machine.until(&format!("iaso explain {name} | grep -c 'is healthy'"), "1");
    site.ask(&name, "/exit?code=3");
    until("it runs again", || (site.inspect(&name, ".RestartCount") == "0" && site.runs(&name)).then_some(()));
    machine.until_told(0, "\"event\":\"incident_closed\"");
    println!(
        "active after {:.1} s, the first container verified healthy after {:.1} s",
        running.as_secs_f64(),
        started().as_secs_f64()
    );
    machine.until(&format!("iaso status | grep -c '{name} *healthy'"), "1");
    let refused = machine.try_run("runuser -u nobody -- iaso status").unwrap_err();
    assert!(refused.contains("77") && refused.contains("members of group iaso"), "{refused}");
}

/// What the unit asks for, the kernel grants: an unprivileged user without capabilities, behind a filter.
fn has_nothing_that_it_does_not_need(machine: &Machine) {
    let process = format!("/proc/{}", pid(machine));
    let status = machine.run(&format!("cat {process}/status"));
    let line =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    for (name, wanted) in
        [("CapEff:", "0000000000000000"), ("CapBnd:", "0000000000000000"), ("NoNewPrivs:", "1"), ("Seccomp:", "2")]
    {
        assert_eq!(line(name), wanted, "{name} {status}");
    }
    let user = machine.run("id -u iaso");
    assert_eq!(line("Uid:"), [&*user; 4].join("\t"));
    assert_eq!(machine.run(&format!("grep -c ' / ro' {process}/mountinfo")), "1");
    assert_eq!(machine.run("stat -c '%a %U' /var/lib/iaso /var/lib/iaso/iaso.db"), "700 iaso\n600 iaso");
    assert_eq!(machine.run("stat -c '%a %U %G' /run/iaso/iaso.sock"), "660 iaso iaso");
    assert_eq!(machine.run("stat -c '%a %U %G' /etc/iaso"), "750 root iaso");
}

/// A bad configuration fails the reload and changes nothing; a good one is taken on by the same process.
fn reloads(machine: &Machine) {
    let before = pid(machine);
    machine.run("echo '[recovery]\nmax_concurent = 4' >/etc/iaso/conf.d/10-own.toml");
    let told = machine.journal().lines().count();
    assert!(machine.try_run("systemctl reload iaso").is_err(), "a configuration with a mistake is reloaded");
    let told = machine.until_told(told, "max_concurrent");
    machine.until("systemctl show iaso -P StatusText | grep -c 'configuration was refused'", "1");
    assert_eq!(machine.run("systemctl is-active iaso"), "active");
    machine.run("echo '[recovery]\nmax_concurrent = 4' >/etc/iaso/conf.d/10-own.toml");
    machine.run("systemctl reload iaso");
    machine.until_told(told, "the configuration is reloaded");
    assert_eq!(pid(machine), before);
}

/// A secret that root alone may read on disk reaches Iaso alone; one that is missing has not stopped the start so far.
fn reads_its_credentials(machine: &Machine) {
    machine.run("install -d -m 700 /etc/credstore && umask 077 && echo s.first >/etc/credstore/iaso.vault-token");
    machine.run(
        "echo '[vault]\naddress = \"https://127.0.0.1:1\"\n\
         auth = { type = \"token\", token_file = \"${CREDENTIALS_DIRECTORY}/iaso.vault-token\" }' >/etc/iaso/conf.d/20-vault.toml",
    );
    machine.run("systemctl restart iaso");
    let kept = format!("/proc/{}/root/run/credentials/iaso.service/iaso.vault-token", pid(machine));
    assert_eq!(machine.run(&format!("cat {kept}")), "s.first");
    assert_eq!(machine.run(&format!("stat -c '%a %U' {kept}")), "400 iaso");
    assert!(!machine.journal().contains("s.first"), "the journal holds a secret");
    machine.run("rm /etc/iaso/conf.d/20-vault.toml");
}

/// A process that does not run at all is ended and started again.
fn is_watched(machine: &Machine) {
    machine.run("mkdir -p /etc/systemd/system/iaso.service.d");
    machine.run("echo '[Service]\nWatchdogSec=4s\nRestartSec=1s' >/etc/systemd/system/iaso.service.d/watch.conf");
    machine.run("systemctl daemon-reload && systemctl restart iaso");
    let (frozen, told) = (pid(machine), machine.journal().lines().count());
    machine.run(&format!("kill -STOP {frozen}"));
    machine.until_told(told, "Watchdog timeout");
    machine.until("systemctl show iaso -P NRestarts", "1");
    machine.until("systemctl is-active iaso", "active");
    assert_ne!(pid(machine), frozen);
    assert!(machine.try_run(&format!("test -d /proc/{frozen}")).is_err(), "the frozen process is still there");
}

/// More failed starts than systemd's own limit allows, and it starts as soon as it can.
fn does_not_give_up(machine: &Machine) {
    machine.run(
        "echo '[Service]\nRestartSec=100ms' >/etc/systemd/system/iaso.service.d/watch.conf && systemctl daemon-reload",
    );
    machine.run("echo '[recovery]\nmax_concurrent = -4' >/etc/iaso/conf.d/10-own.toml");
    assert!(machine.try_run("systemctl restart iaso").is_err());
    until("it has failed more often than by systemd's own limit", || {
        let restarts: u32 = machine.run("systemctl show iaso -P NRestarts").parse().unwrap();
        (restarts >= 7).then_some(())
    });
    machine.run("echo '[recovery]\nmax_concurrent = 4' >/etc/iaso/conf.d/10-own.toml");
    machine.until("systemctl is-active iaso", "active");
    machine.run("rm -r /etc/systemd/system/iaso.service.d && systemctl daemon-reload");
}

/// The new one runs, with the state and the configuration of the old one.
fn is_upgraded(machine: &Machine, site: &Site) {
    let name = site.name("web");
    machine.until(&format!("iaso explain {name} | grep -c 'is healthy'"), "1");
    machine.run(&format!("iaso pause {name}"));
    machine.run("echo '# ours' >>/etc/iaso/iaso.toml");
    let before = pid(machine);
    machine.run("dpkg -i /root/second.deb");
    assert_eq!(machine.run("dpkg-query -W -f '${Version}' iaso"), format!("{}-2", env!("CARGO_PKG_VERSION")));
    machine.until("systemctl is-active iaso", "active");
    assert_ne!(pid(machine), before);
    machine.until(&format!("iaso explain {name} | grep -c 'paused'"), "1");
    assert_eq!(
        machine.run("tail -n 1 /etc/iaso/iaso.toml; cat /etc/iaso/conf.d/10-own.toml"),
        "# ours\n[recovery]\nmax_concurrent = 4"
    );
    assert_eq!(machine.run("stat -c '%a %U %G' /etc/iaso"), "750 root iaso");
}

fn is_removed_and_purged(machine: &Machine) {
    machine.run("dpkg -r iaso");
    assert!(machine.try_run("systemctl is-active iaso").is_err());
    machine.run("test ! -e /usr/bin/iaso && test -s /var/lib/iaso/iaso.db && test -s /etc/iaso/iaso.toml");
    machine.run("dpkg -P iaso");
    let left = "find / -xdev -not -path '/proc/*' -not -path '/sys/*' -not -path '/var/lib/dpkg/*' -not -path '/root/*' \
                -not -path '/var/log/journal/*' -name '*iaso*' -not -name 'Telia*'";
    assert_eq!(machine.run(left), "");
    assert!(machine.try_run("getent passwd iaso || getent group iaso").is_err(), "its user is left");
    assert!(machine.try_run("dpkg-query -W iaso").is_err());
    assert!(machine.try_run("systemctl cat iaso").is_err());
}
