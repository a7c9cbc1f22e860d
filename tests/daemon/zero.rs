//! Without any configuration: started as `iaso run`, everything where it is by default, in a mount and network namespace of
//! its own so that nothing of this machine's is met.

use std::process::Command;

use libtest_mimic::Trial;

use crate::daemon::{Daemon, PROGRAM, Said};
use crate::own_dockerd::OwnDockerd;
use crate::site::Site;
use crate::support::{Need, test};
use crate::{scratch, until, wait};

pub fn tests() -> Vec<Trial> {
    let needs = [Need::OwnEngine, Need::Program("unshare"), Need::Program("nsenter")];
    vec![test("zero::labels_alone_say_what_is_healed", &needs, || {
        labels_alone_say_what_is_healed();
        Ok(())
    })]
}

fn labels_alone_say_what_is_healed() {
    let dockerd = wait(OwnDockerd::start());
    let site = Site::own(&dockerd.socket());
    let (scratch, events) = (scratch(), site.events());
    let fresh = "set -e; ip link set lo up; mount -t tmpfs none /run; mount -t tmpfs none /var/lib; \
                 test ! -e /etc/iaso/iaso.toml; exec \"$0\" run";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "sh", "-c", fresh, PROGRAM]).env("DOCKER_HOST", &site.engine);
    let log = scratch.path().join("log");
    let stderr = std::fs::File::create(&log).unwrap().into();
    let mut daemon = Daemon::start(command, stderr, log, "/run/iaso/iaso.sock".into());
    let pid = daemon.pid().to_string();
    let iaso = |arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--mount", "--net", PROGRAM]).args(arguments);
        Said::of(&mut command)
    };
    until("the daemon answers", || (iaso(&["health"]).code == 0).then_some(()));

    let none = "--network=none";
    let sick = site.checked_patient("sick", &[none, "--label=autoheal=true"], &[]);
    let crash = site.patient("crash", &[none, "--label=iaso.enable=true"], &[]);
    let stopped = site.patient("stopped", &[none, "--label=iaso.enable=true"], &[]);
    let done = site.patient("done", &[none, "--label=iaso.enable=true"], &[]);
    let stranger = site.checked_patient("stranger", &[none], &[]);
    let refused = site.patient("refused", &[none, "--label=iaso.enable=No", "--label=autoheal=true"], &[]);
    let passing = site.patient("passing", &[none, "--rm", "--label=iaso.enable=true"], &[]);
    until("the daemon knows them", || {
        let said = iaso(&["status"]);
        [&sick, &crash, &stopped, &done, &passing].iter().all(|name| said.out.contains(name.as_str())).then_some(())
    });

    site.docker(&["stop", &stopped]);
    site.ask(&done, "/exit?code=0");
    site.ask(&stranger, "/sick");
    site.ask(&refused, "/exit?code=3");
    site.ask(&passing, "/exit?code=3");
    site.ask(&sick, "/sick");
    site.ask(&crash, "/exit?code=3");
    until("what asked for it is healed", || {
        let said = iaso(&["status"]);
        let is = |name: &str, health: &str| {
            said.out.lines().any(|line| line.starts_with(name) && line.split_whitespace().nth(1) == Some(health))
        };
        (is(&sick, "healthy")
            && is(&crash, "healthy")
            && events.count(&crash, "start") > 1
            && events.count(&sick, "restart") > 0)
            .then_some(())
    });
    site.ask(&stranger, "/exit?code=3");
    // A second fall is handled after everything before it: by then all else would have been touched, too.
    site.ask(&crash, "/exit?code=3");
    events.come_to(&crash, "start", 3);

    events.come_to(&sick, "restart", 1);
    for name in [&stopped, &done, &stranger, &refused, &passing] {
        events.come_to(name, "die", 1);
        events.come_to(name, "start", 1);
        assert!(!site.runs(name), "{name}");
    }
    // A stranger is not touched.
    events.are(&stranger, &["create", "start", "die"]);
    for (name, reason) in [(&stopped, "operator_stopped"), (&done, "completed")] {
        until(&format!("{name} is explained"), || {
            let said = iaso(&["explain", name]).out;
            (said.contains(reason) && said.contains("is stopped")).then_some(())
        });
    }
    for name in [&stranger, &refused] {
        assert_eq!(iaso(&["explain", name]).code, 1, "{name} is watched");
    }
    assert!(daemon.runs());
    daemon.stop();
}
