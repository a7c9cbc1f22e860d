//! One container, drawn: what it is, who was asked to heal it, and what ails it.

use std::time::Duration;

use iaso_policy::input::Exempt;

use super::{HOUR, Healer, MINUTE, Member, OwnCheck, PORT, Random, SECOND};
use crate::sim::script::{Ailment, ContainerScript, Cure, Lives, Manner, OnStop, RestartMode};

pub(super) fn draw(random: &mut Random, number: i64) -> Member {
    let name = format!("c{number:02}");
    let mut script = ContainerScript::new(&name);
    script.start_ms = random.between(50..=2_000);
    script.boot_ms = *random.pick(&[0, 0, 500, 8_000, 40_000]);
    script.restart = *random.pick(&[
        RestartMode::No,
        RestartMode::No,
        RestartMode::Always,
        RestartMode::UnlessStopped,
        RestartMode::OnFailure(0),
        RestartMode::OnFailure(3),
    ]);
    script.on_stop = match random.between(0..=9) {
        0 => OnStop::Ignores,
        1 => OnStop::Stuck,
        2..=4 => OnStop::Exits { code: 143, after_ms: 5 },
        _ => OnStop::Exits { code: 0, after_ms: random.between(1..=3_000) },
    };
    if random.chance(20) {
        script.stop_grace = Some(Duration::from_secs(2));
    }
    let healer = match random.between(0..=9) {
        0 => Healer::Nobody,
        1..=2 => Healer::Autoheal,
        _ => Healer::Iaso,
    };
    script = match healer {
        Healer::Iaso => script.label("iaso.enable", "true"),
        Healer::Autoheal => script.label("autoheal", "true"),
        Healer::Nobody => script,
    };
    let one_off = random.chance(5);
    if one_off || random.chance(50) {
        script = script.compose("shop", &name, 1);
    }
    if one_off {
        script = script.label("com.docker.compose.oneoff", "True");
    }
    let exempt = match random.between(0..=19) {
        0 => Some(Exempt::AutoRemove),
        1 => Some(Exempt::Orchestrated),
        2 => Some(Exempt::Disabled),
        _ => None,
    };
    match exempt {
        Some(Exempt::AutoRemove) => {
            script.auto_remove = true;
            // An engine takes no restart policy beside `--rm`.
            script.restart = RestartMode::No;
        }
        Some(Exempt::Orchestrated) => script = script.label("com.docker.swarm.task.id", "task"),
        Some(Exempt::Disabled) => {
            script = script.label("iaso.enable", random.pick::<&str>(&["false", "0", "No", "OFF"]));
        }
        _ => {}
    }
    if random.chance(50) {
        let interval = Duration::from_secs(*random.pick(&[2, 5, 30]));
        script = script.healthcheck(interval, u32::try_from(random.between(1..=4)).unwrap_or(1));
    }
    let check = random.chance(50).then(|| OwnCheck {
        interval: Duration::from_secs(*random.pick(&[5, 30])),
        timeout: Duration::from_secs(5),
        failures: u8::try_from(random.between(1..=4)).unwrap_or(1),
        heals: random.chance(80),
    });
    for _ in 0..*random.pick(&[0, 0, 1, 1, 1, 2]) {
        script.ailments.push(ailment(random));
    }
    if random.chance(15) {
        script.cures.push(*random.pick(&[Cure::Signal(1), Cure::Exec]));
        script = script.label("iaso.recovery.ladder", "signal:HUP, restart");
    }
    if let Some(check) = check {
        script = script
            .label("iaso.check.app.url", &format!("http://{{address}}:{PORT}/"))
            .label("iaso.check.app.interval", &format!("{}s", check.interval.as_secs()))
            .label("iaso.check.app.timeout", &format!("{}s", check.timeout.as_secs()))
            .label("iaso.check.app.failure_threshold", &check.failures.to_string())
            .label("iaso.check.app.on_failure", if check.heals { "heal" } else { "alert" });
    }
    Member { script, host: 0, needs: Vec::new(), started: random.chance(93), healer, exempt, one_off, check }
}

fn ailment(random: &mut Random) -> Ailment {
    let lives = match random.between(0..=9) {
        0..=3 => Lives::First(1),
        4..=6 => Lives::First(u32::try_from(random.between(2..=8)).unwrap_or(2)),
        7 => Lives::After(1),
        _ => Lives::Every,
    };
    let after_ms = match random.between(0..=2) {
        0 => random.between(10..=2 * SECOND),
        1 => random.between(2 * SECOND..=5 * MINUTE),
        _ => random.between(5 * MINUTE..=2 * HOUR),
    };
    match random.between(0..=9) {
        0..=2 => Ailment::Exits { code: *random.pick(&[1, 3, 127, 139]), after_ms, lives },
        3 => Ailment::Exits { code: 0, after_ms, lives },
        4 => Ailment::OutOfMemory { after_ms, lives },
        5 => Ailment::WontStart { lives: Lives::After(u32::try_from(random.between(1..=3)).unwrap_or(1)) },
        _ => {
            let manner =
                *random.pick(&[Manner::Status(500), Manner::Hangs, Manner::Refuses, Manner::Slow(20 * SECOND)]);
            let for_ms = random.chance(30).then(|| random.between(SECOND..=20 * MINUTE));
            Ailment::Sick { manner, after_ms, for_ms, lives }
        }
    }
}
