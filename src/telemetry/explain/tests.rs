use iaso_policy::action::{Charge, Trouble};
use iaso_policy::id::{CheckId, HostId, Instance, ServiceId};
use iaso_policy::input::Outcome;
use iaso_policy::record::{Ending, Verdict};
use iaso_policy::spec::Step;
use iaso_policy::view::QuarantineView;

use super::*;
use crate::snapshot::LostHost;
use crate::snapshot::example::{at, broken, down, held, record, secs, service, snapshot};

/// The whole text, in UTC.
fn text(service: &ServiceStatus, timeline: &[Record]) -> String {
    explain(&snapshot(), service, timeline, at(0), &TimeZone::UTC).to_string()
}

fn begun(seconds: i64, attempt: u64, ordinal: u32) -> Record {
    let instance = Instance { container: 1, started: 1 };
    record(
        seconds,
        Event::Begun {
            attempt: AttemptId(attempt),
            step: Step::Restart,
            cause: Cause::Recovery,
            trouble: Some(Trouble::EngineUnhealthy),
            instance,
            charge: Charge::Stored,
            ordinal,
        },
    )
}

fn ended(seconds: i64, attempt: u64, verdict: Verdict, took: u64) -> Record {
    record(seconds, Event::Ended { attempt: AttemptId(attempt), step: Step::Restart, verdict, took: secs(took) })
}

#[test]
fn healthy() {
    assert_eq!(
        text(&service("web"), &[]),
        "\
web is healthy since 13:51:40 (8 min).
  Container web (0123456789ab) of image shop:1 on host local.
Now: nothing needs to be done.
Next: it goes on being watched.
"
    );
}

#[test]
fn healthy_after_an_outage_tells_the_outage() {
    let closed = Event::IncidentClosed { ending: Ending::Healed, lasted: secs(70) };
    assert_eq!(
        text(&service("web"), &[begun(-900, 1, 1), ended(-850, 1, Verdict::Healed, 50), record(-850, closed)]),
        "\
web is healthy since 13:51:40 (8 min).
  Container web (0123456789ab) of image shop:1 on host local.
So far:
  13:45:00  restart (attempt 1): it healed, after 50 s
  13:45:50  the outage was over after 70 s (healed)
Now: nothing needs to be done.
Next: it goes on being watched.
"
    );
}

#[test]
fn waiting_before_the_next_attempt() {
    let mut web = broken("web", Trouble::Check(CheckId(0)));
    web.view.checks[0].failures = 4;
    web.checks[0].evidence = Some("status 500, expected 200-299".into());
    web.view.hold = held(Hold::Backoff, Some(40));
    web.view.budget_remaining = 3;
    let incident = web.view.incident.as_mut().unwrap();
    (incident.attempts, incident.failed) = (2, 2);
    let timeline = [
        begun(-110, 1, 1),
        record(-100, Event::Finished { attempt: AttemptId(1), outcome: Outcome::TimedOut }),
        ended(-100, 1, Verdict::OperationFailed, 10),
        begun(-90, 2, 2),
        ended(-60, 2, Verdict::NotHealed, 30),
    ];
    assert_eq!(
        text(&web, &timeline),
        "\
web is unhealthy since 13:58:00 (2 min): its check `api` fails.
  Container web (0123456789ab) of image shop:1 on host local.
  Outage 00000000000000ab began at 13:58:00; 2 attempts, 2 failed.
  Check api (http) has failed 4 times in a row: status 500, expected 200-299.
So far:
  13:58:10  restart (attempt 1): it failed, the engine did not answer in time, after 10 s
  13:58:30  restart (attempt 2): it did not help, after 30 s
Now: nothing (backoff, since 13:59:00 (60 s)). The last attempt did not last, so the wait before the next one grows; \
         `iaso restart` does not wait.
Next: restart at 14:00:40 (in 40 s), if it is still needed; 3 left in the budget.
"
    );
}

#[test]
fn budget_spent() {
    let mut web = broken("web", Trouble::Exited { code: 3 });
    web.view.hold = held(Hold::Budget, Some(300));
    web.view.budget_remaining = 0;
    assert_eq!(
        text(&web, &[]),
        "\
web is unhealthy since 13:58:00 (2 min): its container exited by itself with code 3.
  Container web (0123456789ab) of image shop:1 on host local.
  Outage 00000000000000ab began at 13:58:00; nothing tried yet.
Now: nothing (budget, since 13:59:00 (60 s)). Its restart budget is spent; an attempt comes free when the oldest one \
         leaves the window, and `iaso restart` costs nothing.
Next: it looks again at 14:05:00 (in 5 min); the budget is spent.
"
    );
}

#[test]
fn quarantined_with_a_trial_to_come() {
    let mut web = broken("web", Trouble::Exited { code: 137 });
    web.view.hold = held(Hold::Quarantine, Some(1740));
    web.view.quarantine = Some(QuarantineView { since: at(-60).mono, trials: 0, retry_at: Some(at(1740).mono) });
    let quarantined = Event::Quarantined { trials: 0, retry_after: Some(secs(1800)) };
    assert_eq!(
        text(&web, &[record(-60, quarantined)]),
        "\
web is unhealthy since 13:58:00 (2 min): its container was killed (exit code 137).
  Container web (0123456789ab) of image shop:1 on host local.
  Outage 00000000000000ab began at 13:58:00; nothing tried yet.
So far:
  13:59:00  quarantined: recovery has failed too often
Now: nothing (quarantine, since 13:59:00 (60 s)). Recovery has failed too often, so Iaso gave up on it for now: it needs a \
         person. `iaso restart` or `iaso resume` ends the quarantine, and so does its becoming healthy.
Next: one trial (restart) at 14:29:00 (in 29 min); `iaso restart web` does not wait for it.
"
    );
}

#[test]
fn quarantined_for_good() {
    let mut db = broken("db", Trouble::EngineUnhealthy);
    db.view.hold = held(Hold::Quarantine, None);
    db.view.quarantine = Some(QuarantineView { since: at(-60).mono, trials: 0, retry_at: None });
    let text = text(&db, &[]);
    assert!(
        text.starts_with("db is unhealthy since 13:58:00 (2 min): its own HEALTHCHECK says unhealthy.\n"),
        "{text}"
    );
    let next = "Next: nothing by itself; `iaso restart db` or `iaso resume db` when it is mended.\n";
    assert!(text.ends_with(next), "{text}");
}

#[test]
fn operating() {
    let mut web = broken("web", Trouble::EngineUnhealthy);
    web.view.phase = Phase::Operating { attempt: AttemptId(7), step: Step::Restart, since: at(-3).mono };
    web.view.incident.as_mut().unwrap().attempts = 1;
    assert_eq!(
        text(&web, &[begun(-3, 7, 1)]),
        "\
web is unhealthy since 13:58:00 (2 min): its own HEALTHCHECK says unhealthy.
  Container web (0123456789ab) of image shop:1 on host local.
  Outage 00000000000000ab began at 13:58:00; 1 attempt, 0 failed.
Now: the engine has been asked to restart 3 s ago (attempt 0000000000000007).
Next: once the engine has done it, its effect is verified.
"
    );
}

#[test]
fn verifying() {
    let mut web = broken("web", Trouble::EngineUnhealthy);
    web.view.phase = Phase::Verifying {
        attempt: AttemptId(7),
        step: Step::Restart,
        since: at(-8).mono,
        healthy_since: Some(at(-4).mono),
        until: at(90).mono,
    };
    let text = text(&web, &[]);
    let end = "\
Now: the restart is done and its effect is being verified: it has been healthy for 4 s (attempt 0000000000000007).
Next: it counts as healed when it stays healthy; the attempt has failed if not by 14:01:30 (in 90 s).
";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn stopped_by_a_person() {
    let mut web = service("web");
    web.view.health = Health::Stopped;
    web.view.since = at(-90_000).mono;
    web.view.hold = held(Hold::OperatorStopped, None);
    assert_eq!(
        text(&web, &[]),
        "\
web is stopped since 2026-02-28 13:00:00 (25 h 0 min).
  Container web (0123456789ab) of image shop:1 on host local.
Now: nothing (operator_stopped, since 13:59:00 (60 s)). Somebody stopped its container on purpose, or is stopping it; starting it puts it back \
         under Iaso's care.
Next: nothing, until that changes.
"
    );
}

#[test]
fn its_host_is_down() {
    let mut web = service("web");
    web.view.health = Health::Unknown;
    web.view.since = at(-60).mono;
    web.view.hold = held(Hold::HostDown, None);
    let mut picture = snapshot();
    picture.hosts[0].link = down("connection refused");
    assert_eq!(
        explain(&picture, &web, &[], at(0), &TimeZone::UTC).to_string(),
        "\
web is in an unknown state since 13:59:00 (60 s).
  Container web (0123456789ab) of image shop:1 on host local.
  The engine of local has not answered since 13:59:00 (60 s).
Now: nothing (host_down, since 13:59:00 (60 s)). Its engine cannot be reached; Iaso goes on as soon as it answers.
Next: nothing, until that changes.
"
    );
}

#[test]
fn a_lost_host_s_incident_is_named_and_is_none_of_the_service() {
    let mut web = service("web");
    web.view.health = Health::Unknown;
    let mut picture = snapshot();
    picture.hosts[0].link = down("connection refused");
    picture.hosts[0].lost = Some(LostHost { incident: IncidentId(0xcd), since: at(-60) });
    let attempt = AttemptId(7);
    let mut healed =
        record(-90, Event::Ended { attempt, step: Step::Restart, verdict: Verdict::Healed, took: secs(9) });
    let mut lost = record(-30, Event::HostLost { host: HostId(0), services: 1, unreached: secs(30) });
    (healed.incident, lost.incident) = (Some(IncidentId(0xab)), Some(IncidentId(0xcd)));
    let explained = explain(&picture, &web, &[healed, lost], at(0), &TimeZone::UTC);
    assert!(explained.facts.iter().any(|fact| fact.ends_with("; the host is lost, incident 00000000000000cd.")));
    assert_eq!((explained.incident, explained.tried.len()), (None, 1), "what was done about the service itself");
}

#[test]
fn a_check_that_never_passed() {
    let mut web = broken("web", Trouble::Check(CheckId(0)));
    web.view.health = Health::Degraded;
    web.view.hold = held(Hold::NeverSucceeded, None);
    web.view.checks[0].failures = 1;
    web.view.checks[0].proven = false;
    web.checks[0].evidence = Some("connection\u{1b}[2J refused".into());
    assert_eq!(
        text(&web, &[]),
        "\
web is degraded since 13:58:00 (2 min): its check `api` fails.
  Container web (0123456789ab) of image shop:1 on host local.
  Outage 00000000000000ab began at 13:58:00; nothing tried yet.
  Check api (http) has failed once; it has never passed: connection [2J refused.
Now: nothing (never_succeeded, since 13:59:00 (60 s)). The check that fails has never succeeded, so the check is more likely \
         wrong than the service; `iaso probe` shows its every step.
Next: nothing, until that changes.
"
    );
}

#[test]
fn a_check_that_cannot_be_made() {
    let mut web = service("web");
    (web.checks[0].pending, web.checks[0].evidence) = (true, Some("the credential api has no value yet".into()));
    let told = text(&web, &[]);
    assert!(told.contains("  Check api (http) cannot be made: the credential api has no value yet.\n"), "{told}");
}

#[test]
fn who_waits_for_whom() {
    let mut seen = snapshot();
    let (mut web, mut db) = (broken("web", Trouble::EngineUnhealthy), broken("db", Trouble::EngineUnhealthy));
    (web.view.service, db.view.service) = (ServiceId(1), ServiceId(2));
    web.view.hold = held(Hold::Dependency, None).map(|hold| HoldView { behind: Some(ServiceId(2)), ..hold });
    seen.services = vec![db.clone().into(), web.clone().into()];
    let told = |service| explain(&seen, service, &[], at(0), &TimeZone::UTC).facts;
    assert!(told(&web).contains(&"It waits for db, which is unhealthy.".to_owned()), "{:?}", told(&web));
    assert!(told(&db).contains(&"Held until it is well: web.".to_owned()), "{:?}", told(&db));
}

#[test]
fn observing() {
    let mut web = broken("web", Trouble::Exited { code: 1 });
    web.view.hold = held(Hold::Observe, None);
    web.view.next_step = Some(Step::Start);
    let would = Event::Held { reason: Hold::Observe, until: None, step: Some(Step::Start), behind: None };
    let text = text(&web, &[record(-110, would)]);
    let end = "\
So far:
  13:58:10  would start
Now: nothing (observe, since 13:59:00 (60 s)). Iaso runs with `--observe`: it decides and touches nothing.
Next: nothing; without `--observe` it would start.
";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn the_engine_goes_first() {
    let mut web = broken("web", Trouble::EngineRestarting);
    web.container = None;
    web.view.hold = held(Hold::EngineRestarting, None);
    web.view.engine_restarts = 4;
    assert_eq!(
        text(&web, &[]),
        "\
web is unhealthy since 13:58:00 (2 min): its container keeps ending and the engine restarts it.
  There is no container of it on host local.
  Outage 00000000000000ab began at 13:58:00; nothing tried yet.
  The engine itself restarted it 4 times in the last ten minutes.
Now: nothing (engine_restarting, since 13:59:00 (60 s)). The engine's own restart policy is at it and goes first; Iaso acts \
         when that is exhausted.
Next: nothing, until that changes.
"
    );
}

#[test]
fn times_are_local() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let text = explain(&snapshot(), &service("web"), &[], at(0), &zone).to_string();
    assert!(text.starts_with("web is healthy since 14:51:40 (8 min).\n"), "{text}");
}

#[test]
fn an_attempt_comes_before_what_came_of_it() {
    let web = broken("web", Trouble::Exited { code: 3 });
    let crashed = Event::Exited { instance: Instance { container: 1, started: 2 }, code: 3 };
    let timeline = [begun(-50, 1, 1), record(-45, crashed), ended(-45, 1, Verdict::NotHealed, 5)];
    let explanation = explain(&snapshot(), &web, &timeline, at(0), &TimeZone::UTC);
    let told: Vec<&str> = explanation.tried.iter().map(|tried| tried.at.as_str()).collect();
    assert_eq!(told, ["13:59:10", "13:59:15"]);
}

#[test]
fn only_the_newest_lines_of_this_outage_are_told() {
    let web = broken("web", Trouble::EngineUnhealthy);
    let mut timeline: Vec<Record> = (0..40).map(|n| ended(-100 + n, 1, Verdict::NotHealed, 1)).collect();
    timeline.push(Record { incident: Some(IncidentId(1)), ..ended(0, 9, Verdict::Healed, 1) });
    let explanation = explain(&snapshot(), &web, &timeline, at(0), &TimeZone::UTC);
    assert_eq!(explanation.tried.len(), TOLD);
    assert!(explanation.tried.iter().all(|tried| tried.what.starts_with("restart: it did not help")));
}

#[test]
fn an_outage_that_is_part_of_another_names_it_and_that_one_lists_it() {
    let (mut db, mut api, mut web) =
        (broken("db", Trouble::Exited { code: 1 }), broken("api", Trouble::EngineUnhealthy), service("web"));
    db.view.incident.as_mut().unwrap().incident = IncidentId(7);
    api.view.incident.as_mut().unwrap().root = Some(IncidentId(7));
    (api.view.service, web.view.service) = (ServiceId(1), ServiceId(2));
    db.view.affected = vec![ServiceId(2), ServiceId(1)];
    let all = [&api, &db, &web].map(|service| service.clone().into()).to_vec();
    let picture = Snapshot { services: all, ..snapshot() };
    let facts = |picture: &Snapshot, of: &ServiceStatus| explain(picture, of, &[], at(0), &TimeZone::UTC).facts;
    assert!(facts(&picture, &api).contains(&"Part of db's outage 0000000000000007.".to_owned()));
    assert!(facts(&picture, &db).contains(&"Affected: api, web (well again).".to_owned()));
    let over = Snapshot { services: vec![api.clone().into()], ..snapshot() };
    assert!(facts(&over, &api).contains(&"It was part of outage 0000000000000007, which is over.".to_owned()));
}
