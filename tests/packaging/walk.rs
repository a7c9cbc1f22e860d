//! A new user's walk: every block for the shell in the documents is run as it stands, in the order of the page, or is named here
//! with the reason why it cannot be.

use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;

use crate::debian::package;
use crate::documents::{blocks, pages};
use crate::image::{examples, is_healthy};
use crate::machine::{self, Machine};
use crate::own_dockerd::OwnDockerd;
use crate::site::Site;
use crate::support::{Need, test};
use crate::{PROGRAM, output, scratch, shipped, wait};

/// The page that a new user walks along.
const START: &str = "docs/getting-started.md";

/// Blocks that are not run: their page and first words, and why not.
const NOT_RUN: [(&str, &str, &str); 4] = [
    ("README.md", "cargo run --release -- demo", "tests/engine/demo.rs runs what it builds"),
    ("README.md", "cargo test", "this is it"),
    ("CONTRIBUTING.md", "cargo test", "this is it, and what calls it"),
    (
        "docs/hosts.md",
        "dockerd -H unix:///var/run/docker.sock",
        "tests/daemon/hosts.rs starts engines by these arguments",
    ),
];

/// An image of Debian's busybox, by the name that everybody knows it by.
const BUSYBOX: &str = "mkdir -p /root/busybox/bin && cp /bin/busybox /root/busybox/bin/ && \
    ln -s busybox /root/busybox/bin/httpd && tar -C /root/busybox -c . | docker import -c 'ENV PATH=/bin' - busybox";

pub fn tests() -> Vec<Trial> {
    let needs = [&machine::NEEDS[..], &[Need::OwnEngine, Need::Program("dpkg-deb"), Need::Program("docker-compose")]];
    vec![test("walk::every_block_for_the_shell_runs_that_can", &needs.concat(), || {
        every_block_for_the_shell_runs_that_can();
        Ok(())
    })]
}

/// The blocks of all pages which nobody has asked for so far.
struct Blocks(Vec<(String, String)>);

impl Blocks {
    fn read() -> Self {
        let of = |(page, text): (String, String)| {
            let blocks: Vec<_> =
                blocks(&text, "sh").into_iter().map(|block| (page.clone(), block.to_owned())).collect();
            blocks
        };
        Self(pages().into_iter().flat_map(of).collect())
    }

    /// The page's next block, which begins with these words.
    fn take(&mut self, page: &str, begins: &str) -> String {
        let next = self.0.iter().position(|(of, _)| of == page).unwrap_or_else(|| panic!("{page} has no more blocks"));
        let (_, block) = self.0.remove(next);
        assert!(block.starts_with(begins), "{page}: `{begins}` is expected to be next:\n{block}");
        block
    }
}

fn every_block_for_the_shell_runs_that_can() {
    let mut blocks = Blocks::read();
    for (page, begins, _) in NOT_RUN {
        let block = blocks.0.iter().position(|(of, block)| of == page && block.starts_with(begins));
        blocks.0.remove(block.unwrap_or_else(|| panic!("{page} has no `{begins}`")));
    }
    let dockerd = wait(OwnDockerd::start());
    let site = Site::own(&dockerd.socket());
    let machine = Machine::boot(&dockerd.socket());
    machine.put(&client(), "/usr/local/bin/docker");
    machine.run(BUSYBOX);

    is_installed(&mut blocks, &machine);
    as_a_container(&mut blocks, &dockerd, &site);
    heals(&mut blocks, &machine);
    is_observed(&mut blocks, &machine);
    is_configured(&mut blocks, &machine);
    labels(&mut blocks, &machine);
    is_under_maintenance(&mut blocks, &machine);
    answers(&mut blocks, &machine);
    assert!(blocks.0.is_empty(), "run them, or say why they cannot be: {:?}", blocks.0);
}

/// Docker's command.
fn client() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join("docker")).find(|file| file.exists()).unwrap()
}

/// The package is built by the command that the page gives, but of the tests' executable: another takes minutes.
fn is_installed(blocks: &mut Blocks, machine: &Machine) {
    let install = blocks.take(START, "packaging/debian/build ");
    let (_, install) = install.split_once('\n').unwrap();
    let folder = scratch();
    let package = package(folder.path(), "1");
    machine.run("mkdir -p /root/iaso/target/packages");
    machine.put(&package, "/root/iaso/target/packages/");
    let architecture = output(Command::new("dpkg").arg("--print-architecture"));
    let said = machine.run(&format!("cd /root/iaso && {}", install.replace("amd64", &architecture)));
    assert!(said.contains("active (running)"), "{said}");
}

/// The image likewise. Of the example nothing is another but where the engine's socket is.
fn as_a_container(blocks: &mut Blocks, dockerd: &OwnDockerd, site: &Site) {
    let build = shipped("packaging/container/build");
    let run = blocks
        .take(START, "packaging/container/build ")
        .replace("packaging/container/build", &format!("{} --executable {PROGRAM}", build.display()));
    let (folder, examples) = (scratch(), examples(dockerd));
    std::os::unix::fs::symlink(examples.path(), folder.path().join("deploy")).unwrap();
    let bash = |script: &str| {
        let mut bash = Command::new("bash");
        bash.args(["-eo", "pipefail", "-c", script]).current_dir(folder.path());
        output(bash.env("DOCKER_HOST", &site.engine))
    };
    bash(&run);
    is_healthy(site, "minimal_iaso_1");
    let status = bash("docker exec minimal_iaso_1 /iaso status");
    assert!(status.starts_with("No service is watched yet"), "{status}");
    bash("docker-compose -f deploy/minimal/compose.yaml down --volumes");
}

fn heals(blocks: &mut Blocks, machine: &Machine) {
    machine.run(&blocks.take(START, "docker run -d --name hello"));
    machine.until(&format!("{} | grep -c '^hello *healthy '", blocks.take(START, "iaso status").trim()), "1");
    machine.run(&blocks.take(START, "docker kill --signal KILL hello"));
    machine
        .until(&format!("{} | grep -c ' restart (attempt 1)'", blocks.take(START, "iaso explain hello").trim()), "1");
    machine.until_told(0, "\"event\":\"incident_closed\"");
    assert_eq!(machine.run("docker inspect -f '{{.State.Running}}' hello"), "true");
    machine.until("iaso status | grep -c '^hello *healthy '", "1");
}

/// What the page's comments say is what a person types into the editor, which wants a terminal.
fn is_observed(blocks: &mut Blocks, machine: &Machine) {
    let block = blocks.take(START, "sudo systemctl edit iaso");
    let typed: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    assert_eq!(typed.len(), 3, "{block}");
    machine.run(&format!("printf '%s\\n' '{}' >/root/typed", typed.join("' '")));
    machine.run(
        "printf '%s\\n' '#!/bin/sh' 'for file; do :; done' 'cp /root/typed \"$file\"' >/usr/local/bin/editor && \
         chmod +x /usr/local/bin/editor",
    );
    machine.run(
        "cat >/root/edit <<'END'\nset -e\n{block}END\nTERM=dumb script -qec 'sh /root/edit' /dev/null"
            .replace("{block}", &block)
            .as_str(),
    );
    machine.until("systemctl is-active iaso", "active");
    let runs = machine.run("systemctl show iaso -P ExecStart");
    assert!(runs.contains("argv[]=/usr/bin/iaso run --observe"), "{runs}");
    machine.run("systemctl revert iaso && systemctl restart iaso");
}

fn is_configured(blocks: &mut Blocks, machine: &Machine) {
    let proposed = machine.run(&blocks.take(START, "iaso init --output - | less"));
    assert!(proposed.contains("hello"), "{proposed}");
    let page = std::fs::read_to_string(shipped(START)).unwrap();
    let homepage = scratch();
    let file = homepage.path().join("homepage.toml");
    std::fs::write(&file, crate::documents::blocks(&page, "toml")[0]).unwrap();
    machine.put(&file, "/etc/iaso/conf.d/homepage.toml");
    machine.run("chown root:iaso /etc/iaso/conf.d/homepage.toml");
    let told = machine.journal().lines().count();
    machine.run(&blocks.take(START, "iaso check\nsudo systemctl reload iaso"));
    machine.until_told(told, "the configuration is reloaded");
    machine.until("iaso status | grep -c '^homepage '", "1");
}

/// What the labels of other healers and of Iaso itself ask for; how Iaso is then started is every other test's.
fn labels(blocks: &mut Blocks, machine: &Machine) {
    let block = blocks.take("README.md", "docker run -d --label iaso.enable=true");
    let (starts, run): (Vec<&str>, Vec<&str>) = block.lines().partition(|line| line.starts_with("docker run "));
    assert!(starts.len() == 2 && run.iter().all(|line| line.starts_with("iaso run")), "{block}");
    for (label, start) in ["iaso.enable=true", "autoheal=true"].iter().zip(starts) {
        machine.run(&start.replace("...", "busybox httpd -f"));
        let name = machine.run(&format!("docker ps --filter label={label} --format '{{{{.Names}}}}' | head -n 1"));
        machine.until(&format!("iaso explain {name} | grep -c '^{name} is '"), "1");
    }
}

fn is_under_maintenance(blocks: &mut Blocks, machine: &Machine) {
    for name in ["shop-web", "shop-db"] {
        machine.run(&format!("docker run -d --name {name} --label iaso.enable=true busybox httpd -f"));
        machine.until(&format!("iaso explain {name} | grep -c '{name} is healthy'"), "1");
    }
    let said = machine.run(&blocks.take("docs/maintenance.md", "iaso maintenance start shop-web shop-db --for 30m"));
    let (ordered, listed) = said.split_once("shop-web is under maintenance no longer\n").unwrap();
    assert!(ordered.lines().any(|line| line.starts_with("everything is under maintenance until ")), "{said}");
    assert!(listed.lines().any(|line| line.starts_with("shop-db is under maintenance until ")), "{said}");
    assert!(!listed.contains("shop-web"), "{said}");
    machine.run("iaso maintenance end --all");
}

fn answers(blocks: &mut Blocks, machine: &Machine) {
    let said = machine.run(&blocks.take("docs/http.md", "curl -s http://127.0.0.1:9797/health"));
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("\"healthy\""), "{said}");
    assert!(lines.any(|name| name == "\"hello\""), "{said}");
}
