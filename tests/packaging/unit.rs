//! The unit of systemd, as systemd itself judges it.

use std::fs;
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::{Need, test};
use crate::{output, scratch, shipped};

pub fn tests() -> Vec<Trial> {
    let needs = [Need::Program("systemd-analyze")];
    vec![
        test("unit::systemd_finds_nothing_wrong_with_it", &needs, || {
            systemd_finds_nothing_wrong_with_it();
            Ok(())
        }),
        test("unit::its_exposure_is_at_most_2_and_what_is_open_is_explained", &needs, || {
            its_exposure_is_at_most_2_and_what_is_open_is_explained();
            Ok(())
        }),
    ]
}

const UNIT: &str = "packaging/systemd/iaso.service";

fn systemd_finds_nothing_wrong_with_it() {
    let root = scratch();
    let place = root.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&place).unwrap();
    for program in ["usr/bin/iaso", "bin/kill"] {
        let program = root.path().join(program);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy("/bin/true", program).unwrap();
    }
    // What the unit names and only an installed system has.
    for (name, text) in
        [("sysinit.target", "[Unit]\n"), ("basic.target", "[Unit]\n"), ("network-online.target", "[Unit]\n")]
    {
        fs::write(place.join(name), text).unwrap();
    }
    let verdict = |text: &str| {
        fs::write(place.join("iaso.service"), text).unwrap();
        let output = Command::new("systemd-analyze")
            .arg("verify")
            .arg("--man=no")
            .arg("--root")
            .arg(root.path())
            .arg("iaso.service")
            .output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let unit = fs::read_to_string(shipped(UNIT)).unwrap();
    assert_eq!(verdict(&unit), (true, String::new()));
    let (_, said) = verdict(&unit.replace("WatchdogSec", "WatchDogSec"));
    assert!(said.contains("WatchDogSec"), "a mistake is not seen: {said}");
}

fn its_exposure_is_at_most_2_and_what_is_open_is_explained() {
    let unit = shipped(UNIT);
    let analyze = |more: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--no-pager", "--offline=yes"]).args(more).arg(&unit);
        command
    };
    output(&mut analyze(&["--threshold=20"]));
    let found: serde_json::Value = serde_json::from_str(&output(&mut analyze(&["--json=short"]))).unwrap();
    let text = fs::read_to_string(&unit).unwrap();
    let explained: Vec<&str> = text.lines().filter(|line| line.starts_with("# OPEN (")).collect();
    let mut open = 0;
    for item in found.as_array().unwrap().iter().filter(|item| item["set"] == false) {
        // "RestrictAddressFamilies=~AF_UNIX" is told where RestrictAddressFamilies is.
        let name = item["name"].as_str().unwrap();
        let setting = name.split('=').next().unwrap();
        assert!(explained.iter().any(|line| line.contains(setting)), "{name} is open and not explained: {item}");
        open += 1;
    }
    assert!(open > 3, "{found}");
}
