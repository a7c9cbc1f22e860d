//! What the documents and the examples say: every link leads somewhere, and what can be run is run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use crate::haproxy::documented;
use crate::support::{Need, test};
use crate::{PROGRAM, output, scratch, shipped};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident: $needs:expr),+ $(,)?) => {
            vec![$(test(concat!("documents::", stringify!($name)), &$needs, || { $name(); Ok(()) })),+]
        };
    }
    suite![
        every_link_leads_somewhere: [Need::Nothing],
        every_endpoint_is_told: [Need::Nothing],
        every_command_of_iaso_s_is_one: [Need::Nothing],
        every_block_for_the_shell_is_one: [Need::Program("bash")],
        every_configuration_in_them_is_one: [Need::Nothing],
        the_sidecar_s_proxy_has_the_documented_rules: [Need::Nothing],
        compose_takes_the_examples: [Need::Program("docker-compose")],
    ]
}

/// The pages, by their path in the repository.
pub fn pages() -> Vec<(String, String)> {
    let mut found: Vec<String> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(str::to_owned).into();
    for entry in fs::read_dir(shipped("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            found.push(format!("docs/{name}"));
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(shipped(&path)).unwrap())).collect()
}

/// The blocks of a language, without their fences.
pub fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(&*fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// The text without its blocks of code.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        let prose = prose(&text);
        for link in prose.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default()) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (file, section) = link.split_once('#').map_or((link, None), |(file, section)| (file, Some(section)));
            let folder = Path::new(&page).parent().unwrap();
            let target: PathBuf = if file.is_empty() { PathBuf::from(&page) } else { folder.join(file) };
            let Ok(there) = fs::metadata(shipped(target.to_str().unwrap())) else {
                broken.push(format!("{page}: {link}: there is no such file"));
                continue;
            };
            seen += 1;
            let Some(section) = section.filter(|_| there.is_file()) else { continue };
            let text = fs::read_to_string(shipped(target.to_str().unwrap())).unwrap();
            let headings = text.lines().filter(|line| line.starts_with('#'));
            if !headings.map(|line| anchor(line.trim_start_matches('#'))).any(|known| known == section) {
                broken.push(format!("{page}: {link}: there is no such heading"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(seen > 40, "{seen} links");
}

/// The router's paths, with each method that it takes, and those of the page.
fn every_endpoint_is_told() {
    let router = fs::read_to_string(shipped("src/api/mod.rs")).unwrap();
    let mut served = BTreeSet::new();
    for route in router.split(".route(").skip(1) {
        let (path, handlers) = route.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')).unwrap();
        let handlers = handlers.lines().take(3).take_while(|line| !line.contains(".layer(from_fn"));
        for line in handlers {
            for method in ["get", "post", "put", "delete"] {
                if line.contains(&format!("{method}(")) {
                    served.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
    }
    let page = fs::read_to_string(shipped("docs/http.md")).unwrap();
    let told: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned)).collect();
    assert!(served.len() > 15, "{served:?}");
    assert_eq!(told, served, "docs/http.md tells each endpoint of src/api/mod.rs once");
}

/// A command that the documents give has to be one that the command line knows.
fn every_command_of_iaso_s_is_one() {
    let help = output(Command::new(PROGRAM).arg("--help"));
    let known: BTreeSet<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let mut seen = 0;
    for (page, text) in pages() {
        for block in ["sh", "console"].iter().flat_map(|language| blocks(&text, language)) {
            for line in block.lines() {
                let line = line.trim_start_matches("$ ").trim_start_matches("sudo ");
                let Some(command) = line.strip_prefix("iaso ").and_then(|rest| rest.split_whitespace().next()) else {
                    continue;
                };
                assert!(known.contains(command) || command.starts_with('-'), "{page}: {line}");
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "{seen} commands");
}

/// Whatever a block of the shell's says, it is something that the shell reads.
fn every_block_for_the_shell_is_one() {
    let folder = scratch();
    let file = folder.path().join("block.sh");
    let mut seen = 0;
    for (page, text) in pages() {
        for block in blocks(&text, "sh") {
            fs::write(&file, block).unwrap();
            let said = Command::new("bash").arg("-n").arg(&file).output().unwrap();
            assert!(said.status.success(), "{page}:\n{block}\n{}", String::from_utf8_lossy(&said.stderr));
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} blocks");
}

/// What can be run without anything else: each block of a configuration passes `iaso check`, but for files that are elsewhere.
fn every_configuration_in_them_is_one() {
    let folder = scratch();
    let mut seen = 0;
    for page in ["README.md", "docs/getting-started.md", "docs/migration-from-monit.md", "docs/performance-tuning.md"] {
        let text = fs::read_to_string(shipped(page)).unwrap();
        for block in blocks(&text, "toml") {
            let file = folder.path().join("iaso.toml");
            // Part of one is as good as a whole one, but that it may name services which stand elsewhere.
            let services = "\n[services.homepage]\ncontainer = \"homepage\"\n";
            let elsewhere = block.contains("services = [\"homepage\"]") && !block.contains("[services.homepage]");
            fs::write(&file, [block, if elsewhere { services } else { "" }].concat()).unwrap();
            let mut check = Command::new(PROGRAM);
            let said = check.args(["check", "--config"]).arg(&file).output().unwrap();
            let text = String::from_utf8_lossy(&said.stderr) + String::from_utf8_lossy(&said.stdout);
            assert!(said.status.success(), "{page}:\n{block}\n{text}");
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen} blocks");
}

/// Of which a test of the code's says that they are those for what the code asks.
fn the_sidecar_s_proxy_has_the_documented_rules() {
    let ours = fs::read_to_string(shipped("deploy/sidecar/haproxy.cfg")).unwrap();
    let plain: Vec<&str> = ours.lines().filter(|line| !line.trim().starts_with('#')).collect();
    assert_eq!(plain.join("\n").replace(" gid 65532", ""), documented().trim_end());
    let allowed = |method: &str, path: &str| {
        let word = path.rsplit('/').next().unwrap();
        let kind = if method == "GET" { "acl may_read" } else { "acl may_" };
        plain.iter().any(|line| line.trim().starts_with(kind) && line.contains(word))
    };
    for endpoint in iaso::engine::denied::ENDPOINTS {
        assert!(allowed(endpoint.method, endpoint.path), "{endpoint} is not allowed");
    }
}

fn compose_takes_the_examples() {
    for example in ["minimal", "sidecar", "full"] {
        let file = shipped(&format!("deploy/{example}/compose.yaml"));
        output(Command::new("docker-compose").arg("-f").arg(file).args(["config", "--quiet"]));
    }
}
