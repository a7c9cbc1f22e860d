//! The reasons to hold that a real engine brings about cheaply, each asked of one running daemon. Every reason has a story in
//! `tests/properties/reasons.rs`; the rarer ones are brought about for real by the tests of what they are about.

use iaso::engine::image::EXECUTABLE;
use libtest_mimic::Trial;

use crate::daemon::{Home, Settings};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    vec![test("reasons::each_that_an_engine_brings_about_is_named_by_explain", &[Need::Engine], || {
        each_that_an_engine_brings_about_is_named_by_explain();
        Ok(())
    })]
}

const NONE: &str = "--network=none";
/// It fails once and for all, and then nothing is tried for long.
const SLOW: &str = "--label=iaso.recovery.backoff.base=1h";

/// What the page says of a reason.
fn meaning(reason: &str) -> &'static str {
    let (_, page) = include_str!("../../docs/reasons.md").split_once("## Reasons to hold").unwrap();
    let row = page.lines().find_map(|line| line.strip_prefix(&format!("| `{reason}` | ")));
    row.and_then(|row| row.split_once(" | ")).unwrap_or_else(|| panic!("no row of {reason}")).0
}

fn each_that_an_engine_brings_about_is_named_by_explain() {
    let site = Site::shared();
    let found = site.patient("found", &[NONE], &[]);
    site.docker(&["kill", &found]);
    // Nobody watches it, and it is as no need of another's may be.
    let plain = site.patient("plain", &[NONE, "--label=iaso.enable=no"], &[]);
    site.ask(&plain, "/exit?code=3");
    until("it has ended", || (!site.runs(&plain)).then_some(()));

    // So much fails here at once that it would be a storm.
    let more =
        "[recovery]\nquiet_start = \"0s\"\nmass_failure = { ratio = 1.0 }\nhost_budget = { max = 100 }\n".to_owned();
    let recovery = "stop_timeout = \"1s\"\nverify_stable = \"30s\"\n";
    let home = Home::new(&site, &Settings { more, recovery, ..Settings::default() });
    let daemon = home.start(&[]);
    let made = |short: &str, flags: &[&str]| {
        let name = site.patient(short, &[&[NONE], flags].concat(), &[]);
        daemon.until_health(&name, "healthy");
        name
    };
    let crashing =
        |short: &str, flags: &[&str]| site.patient(short, &[&[NONE], flags].concat(), &["--exit-after", "300ms:7"]);
    let db = made("db", &[]);
    let web = made("web", &[&format!("--label=iaso.depends_on={db}")]);
    let api = made("api", &[&format!("--label=iaso.depends_on={plain}")]);
    let kept = made("kept", &[]);
    let told = made("told", &["--label=iaso.recovery.mode=notify"]);
    let task = made("task", &["--label=com.docker.swarm.task.id=1", "--label=com.docker.swarm.task.name=x.1"]);
    let (frozen, stopped, done) = (made("frozen", &[]), made("stopped", &[]), made("done", &[]));
    let wrong = format!("[{EXECUTABLE:?}, \"patient\", \"--probe\", \"http://127.0.0.1:9/\"]");
    let wrong = site.patient(
        "wrong",
        &[NONE, "--label=iaso.check.a.type=exec", &format!("--label=iaso.check.a.command={wrong}")],
        &[],
    );
    let tried = crashing("tried", &[SLOW]);
    let given_up = crashing("given-up", &["--label=iaso.recovery.max_attempts=1"]);
    let spent =
        crashing("spent", &["--label=iaso.recovery.max_restarts=1", "--label=iaso.recovery.backoff.base=100ms"]);
    let engines = crashing("engines", &["--restart=unless-stopped"]);

    assert_eq!(home.iaso(&["pause", &db]).code, 0);
    assert_eq!(home.iaso(&["maintenance", "start", &kept, "--for", "1d"]).code, 0);
    for name in [&db, &web, &api, &kept, &told, &task] {
        site.ask(name, "/exit?code=3");
    }
    site.ask(&done, "/exit?code=0");
    site.docker(&["pause", &frozen]);
    site.docker(&["stop", "-t", "1", &stopped]);

    let expected = [
        (&web, "dependency"),
        (&api, "dependency"),
        (&tried, "backoff"),
        (&spent, "budget"),
        (&given_up, "quarantine"),
        (&kept, "maintenance"),
        (&db, "paused"),
        (&frozen, "container_paused"),
        (&stopped, "operator_stopped"),
        (&found, "unknown_stop"),
        (&done, "completed"),
        (&engines, "engine_restarting"),
        (&wrong, "never_succeeded"),
        (&told, "mode"),
        (&task, "orchestrated"),
    ];
    for (name, reason) in expected {
        daemon.until_explained(name, &[&format!("nothing ({reason}, since "), meaning(reason)]);
        until(&format!("{name}: {reason} in JSON"), || {
            let said = home.iaso(&["explain", name, "--output", "json"]);
            let json: serde_json::Value = serde_json::from_str(&said.out).ok()?;
            (json["hold"] == reason).then_some(())
        });
    }
    daemon.until_explained(&web, &[&format!("It waits for {db}, which is unhealthy.")]);
    daemon.until_explained(&api, &[&format!("It waits for {plain}, which Iaso does not watch.")]);
    for name in [&web, &api, &kept, &db, &stopped, &found, &done, &told, &task, &wrong] {
        assert_eq!(daemon.count(name, "operation_begun"), 0, "{name}");
    }
    assert_eq!(daemon.metric("iaso_law_violations_total", &[]), None);
    site.docker(&["unpause", &frozen]);
    daemon.stop();
}
