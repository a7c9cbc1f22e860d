use iaso_policy::record::Health;

use super::*;

#[test]
fn every_hold_has_a_whole_sentence_of_its_own() {
    let mut seen = std::collections::BTreeSet::new();
    for &reason in Hold::ALL {
        let sentence = hold_sentence(reason);
        assert!(sentence.ends_with('.') && sentence.starts_with(char::is_uppercase), "{sentence}");
        assert!(seen.insert(sentence), "{sentence}");
    }
}

#[test]
fn spans_are_said_in_two_units_at_most() {
    let said = |s| span(Duration::from_secs(s));
    assert_eq!([said(0), said(119), said(120), said(7199)], ["a moment", "119 s", "2 min", "119 min"]);
    assert_eq!([said(7200), said(172_799), said(200_000)], ["2 h 0 min", "47 h 59 min", "2 days"]);
}

#[test]
fn foreign_text_cannot_move_the_cursor() {
    assert_eq!(printable("a\u{1b}[2Jb\nc"), "a [2Jb c");
    assert_eq!(printable(&"x".repeat(400)).chars().count(), 301);
}

#[test]
fn the_document_of_reasons_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reasons.md");
    let made = document();
    if std::env::var_os("IASO_UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(kept, made, "IASO_UPDATE_DOCS=1 cargo test --lib telemetry:: writes it anew");
}

/// `docs/reasons.md`: every health and every hold, in the policy's own words and order.
fn document() -> String {
    let mut text = String::from(
        "# Why Iaso acts, and why it does not\n\n\
         `iaso explain SERVICE` says all of this about one service, with times. The words are the same in log lines (`reason`),\n\
         metrics (`iaso_service_state`, `iaso_holds_total`), the API and the explanation.\n\n\
         ## Health\n\n| health | what it means | what to do |\n| --- | --- | --- |\n",
    );
    for &health in Health::ALL {
        let (means, advice) = of_health(health);
        text.push_str(&format!("| `{}` | {means} | {advice} |\n", health.name()));
    }
    text.push_str(
        "\n## Reasons to hold\n\nA hold is a decision not to act. The first reason that applies is the one that is told. Where \
         a changed credential waits before a\nservice, `iaso explain` says so beside it, with a reason of its own \
         (`rollout_hold` in JSON); `store` is one that only such a change\nhas: plain restarts go on without the store, at \
         half the budget.\n\n\
         | reason | what it means, and what ends it | what to do |\n| --- | --- | --- |\n",
    );
    for &reason in Hold::ALL {
        text.push_str(&format!("| `{}` | {} | {} |\n", reason.name(), hold_sentence(reason), advice(reason)));
    }
    text
}

const fn of_health(health: Health) -> (&'static str, &'static str) {
    match health {
        Health::Unknown => (
            "Nothing has been seen of it yet, or its engine cannot be reached.",
            "Look at `iaso_host_up` and `/health`.",
        ),
        Health::Starting => ("It runs, and no check has spoken for it yet.", "Wait for its start period."),
        Health::Healthy => ("It runs, and everything speaks for it.", "Nothing."),
        Health::Degraded => (
            "Only a check that alerts fails, or a verdict is uncertain. Iaso does not act on it.",
            "`iaso explain` names the check and what it saw.",
        ),
        Health::Unhealthy => (
            "It is broken, and an incident is open: Iaso heals it, or says why it holds back.",
            "Nothing while attempts go on; else see the reason below.",
        ),
        Health::Stopped => (
            "It does not run, and that is nobody's fault: a person stopped it, or it has done its work.",
            "Start it if it should run.",
        ),
        Health::Paused => ("Its container is frozen.", "`docker unpause` it if it should run."),
    }
}

/// What a person can do, at night.
const fn advice(reason: Hold) -> &'static str {
    match reason {
        Hold::Dependency => "Look at what it depends on first: `iaso explain` names it.",
        Hold::Backoff | Hold::Concurrency | Hold::StartPeriod | Hold::QuietStart | Hold::InFlight => "Wait.",
        Hold::Budget => "It flaps: find out why before it is restarted once more.",
        Hold::HostBudget => "Look at the whole host: several services fail again and again.",
        Hold::Quarantine => {
            "Read the last attempts and the container's log, mend the cause, then `iaso resume SERVICE`."
        }
        Hold::Maintenance | Hold::Paused | Hold::Observe | Hold::Mode => "Nothing: somebody wanted it so.",
        Hold::ContainerPaused => "`docker unpause CONTAINER`.",
        Hold::OperatorStopped | Hold::UnknownStop => "`docker start CONTAINER` if it should run.",
        Hold::Completed => "Nothing, unless it should go on running.",
        Hold::Notice => "See to it yourself with `iaso ack SERVICE` or `iaso pause SERVICE`, or wait.",
        Hold::DiskFull => "Make room: `docker system df`, then `docker system prune`, logs, old volumes.",
        Hold::PlannedChange => "Wait for the deployment; look at it if it hangs.",
        Hold::MassFailure => "Look at the host: disk, memory, network, the engine itself.",
        Hold::HostDown => "Look at the host and its engine: `docker -H ... info`.",
        Hold::EngineRestarting => "Read the container's log: it ends again and again.",
        Hold::NeverSucceeded => "Mend the check: `iaso probe SERVICE`.",
        Hold::Itself | Hold::Orchestrated => "Nothing: it is never a target.",
        Hold::NotPermitted => "Allow the step at the proxy, or take it out of the ladder.",
        Hold::Store => "Look at the disk of `data_dir`; `/health` over the socket says what is wrong.",
        Hold::Internal => "Restart the service by hand, and report the fault with the log.",
    }
}
