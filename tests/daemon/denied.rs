//! A proxy that denies a step of the ladder: told at the start, and a hold where the step is due.

use std::path::Path;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::daemon::{Home, Settings};
use crate::haproxy::{Haproxy, PROGRAM, documented};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    vec![test("denied::a_step_that_a_proxy_denies_is_told_at_the_start_and_held", &[Need::Engine, PROGRAM], || {
        a_step_that_a_proxy_denies_is_told_at_the_start_and_held();
        Ok(())
    })]
}

fn a_step_that_a_proxy_denies_is_told_at_the_start_and_held() {
    let site = Site::shared();
    let rules = documented().replace("(start|restart|stop|kill)", "(start|restart|stop)");
    let proxy = Haproxy::start(&rules, Path::new("/var/run/docker.sock"));
    let recovery = format!("{}ladder = [\"signal:HUP\"]\n", Settings::default().recovery);
    let settings = Settings { recovery: Box::leak(recovery.into_boxed_str()), ..Settings::default() };
    let home = Home::with_engine(&format!("unix://{}", proxy.socket().display()), &site.label(), &settings);
    let events = site.events();
    let daemon = home.start(&[]);
    let told = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("its proxy denies"));
    let line = daemon.until_line("what is denied", told);
    assert_eq!(
        line["message"],
        "host local: its proxy denies POST /containers/ID/kill: `signal:` steps hold (not_permitted)"
    );
    let name = site.checked_patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    site.ask(&name, "/sick");
    daemon.until_event(&name, "held", Some("not_permitted"));
    daemon.until_explained(&name, &["not_permitted"]);
    // What is not denied goes on, and a denial is no failed attempt.
    assert_eq!(home.iaso(&["restart", &name]).code, 0);
    until("it is started anew", || (events.count(&name, "restart") > 0).then_some(()));
    daemon.until_health(&name, "healthy");
    assert_eq!(daemon.lines().iter().filter(|line| told(line)).count(), 1, "said once");
    daemon.stop();
}
