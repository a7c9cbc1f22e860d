//! What credentials cost. Rendering a thousand files on a change, from a template of ten lines each, beside the least that a
//! crash-proof change can be: the same bytes written, synced and renamed. In turns, on a disk and in memory.
//!
//! `cargo bench --bench credentials [-- --runs N]`, 5 runs by default. Needs no engine.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(unreachable_pub, reason = "an executable's modules have no outside")]

mod rig;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use iaso::config::secret::Secret;
use iaso::config::validated::{TargetFile, Template};
use iaso::credentials::provider::Fields;
use iaso::credentials::render::{Outcome, render};
use iaso::credentials::template::{Context, contents};
use iaso::system::clock::stopwatch;
use rig::figures::{Spans, heading, ratio};
use rig::{PREFIX, Result, after};
use tempfile::TempDir;

const FILES: usize = 1000;
/// All files after a change.
const TARGET: Duration = Duration::from_secs(2);
const TEMPLATE: &str = "\
# {{ credential }}, version {{ version }}
[database]
host = db.internal
port = {{ port|default('5432') }}
user = {{ user }}
password = {{ value }}
url = postgres://{{ user|urlencode }}:{{ value|urlencode }}@db.internal/app
{% if fields['tls.crt'] is defined %}certificate = {{ fields['tls.crt']|b64encode }}
{% endif %}
quoted = {{ value|tojson }}
";

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let runs = after("--runs").and_then(|runs| runs.parse().ok()).unwrap_or(5);
    println!("{FILES} files, {runs} runs");
    let disk = TempDir::with_prefix_in(PREFIX, env!("CARGO_TARGET_TMPDIR"))?;
    rendering("a disk", disk.path(), runs)?;
    match TempDir::with_prefix_in(PREFIX, "/dev/shm") {
        Ok(memory) => rendering("memory", memory.path(), runs),
        Err(error) => {
            println!("not run in memory: {error}");
            Ok(())
        }
    }
}

/// The bare calls, Iaso's rendering of a change, and Iaso's rendering of what has not changed.
fn rendering(name: &str, dir: &Path, runs: usize) -> Result<()> {
    let (bare, rendered) = (dir.join("bare"), dir.join("rendered"));
    fs::create_dir(&bare)?;
    fs::create_dir(&rendered)?;
    let targets: Vec<TargetFile> = (0..FILES).map(|number| target(rendered.join(format!("{number}.conf")))).collect();
    let (mut floor, mut changed, mut unchanged) = (Spans::default(), Spans::default(), Spans::default());
    for run in 0..=runs {
        let fields: Vec<Fields> = (0..FILES).map(|number| fields(run, number)).collect();
        let text = contents(&targets[0], 0, &context(run, &fields[0]))?;
        let elapsed = stopwatch();
        for number in 0..FILES {
            replace(&bare.join(format!("{number}.conf")), text.expose().as_bytes())?;
        }
        let spent = elapsed();
        let first = run == 0;
        let expected = if first { Outcome::Created } else { Outcome::Replaced { bytes_changed: true } };
        let change = all(run, &targets, &fields, expected)?;
        let same = all(run, &targets, &fields, Outcome::Unchanged)?;
        // The first makes the files.
        if !first {
            floor.push(spent);
            changed.push(change);
            unchanged.push(same);
        }
    }
    println!("{}", heading(&format!("{FILES} files on {name}")));
    println!("{}", floor.line("  written, synced, renamed"));
    println!("{}", changed.line("  rendered on a change"));
    println!("{}", unchanged.line("  found unchanged"));
    println!("  ratio of a change to the bare calls: {}", ratio(&changed, &floor));
    let met = changed.median() < TARGET.as_secs_f64() * 1000.0;
    println!("  a change in under {TARGET:?}: {}", if met { "yes" } else { "no" });
    Ok(())
}

fn all(run: usize, targets: &[TargetFile], fields: &[Fields], expected: Outcome) -> Result<Duration> {
    let elapsed = stopwatch();
    for (target, fields) in targets.iter().zip(fields) {
        let text = contents(target, 0, &context(run, fields))?;
        let outcome = render(target, text.expose().as_bytes())?;
        if outcome != expected {
            return Err(format!("{}: {outcome:?}", target.path.display()).into());
        }
    }
    Ok(elapsed())
}

fn target(path: PathBuf) -> TargetFile {
    TargetFile { path, mode: 0o640, owner: None, template: Some(Template::Text(TEMPLATE.to_owned())) }
}

fn context(run: usize, fields: &Fields) -> Context<'_> {
    Context { credential: "db", field: "password", fields, version: Some(run as u64), old: None }
}

fn fields(run: usize, number: usize) -> Fields {
    let field = |name: &str, value: String| (name.to_owned(), Secret::new(value));
    Fields::from([
        field("user", format!("user-{number}")),
        field("password", format!("{run:08}&{number:08}/aBcDeFgH")),
        field("tls.crt", "certificate\n".repeat(100)),
    ])
}

/// The least that leaves the old file or the new one after a crash.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(fs::rename(&beside, path)?)
}
