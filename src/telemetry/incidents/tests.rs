use iaso_policy::Record;
use iaso_policy::action::{Cause, Charge, Trouble};
use iaso_policy::id::{AttemptId, CheckId, IncidentId, Instance};
use iaso_policy::input::Outcome;
use iaso_policy::memory::Acknowledged;
use iaso_policy::record::{Event, Hold, Verdict};
use iaso_policy::spec::Step;
use jiff::tz::TimeZone;

use super::*;
use crate::incidents::{CheckSeen, ContainerSeen, Page};
use crate::snapshot::example::{INCIDENT, at, broken, record, secs, service, snapshot};

fn outage(identity: &Identity) -> Outage {
    Outage {
        id: INCIDENT,
        identity: identity.clone(),
        opened: at(-120),
        trouble: Trouble::Check(CheckId(0)),
        attempts: 1,
        failed: 0,
        acknowledged: Some(Acknowledged { since: at(-100), lasting: None }),
        closed: Some((at(-60), Ending::Healed)),
        lasted: Some(secs(60)),
        root: None,
    }
}

/// An outage that is part of that one.
fn part(identity: &Identity, id: u64) -> Outage {
    Outage { id: IncidentId(id), root: Some(INCIDENT), closed: None, lasted: None, ..outage(identity) }
}

fn piece(identity: &Identity, seconds: i64, event: &str, log: LogTail) -> Evidence {
    Evidence {
        incident: INCIDENT,
        identity: identity.clone(),
        now: at(seconds),
        event: event.to_owned(),
        checks: vec![CheckSeen {
            name: "api".to_owned(),
            kind: "http".to_owned(),
            passing: Some(false),
            failures: 3,
            output: Some("status 500, expected 200-299".to_owned()),
        }],
        container: Some(ContainerSeen {
            name: "shop-web".to_owned(),
            image: "shop:1".to_owned(),
            id: "0123456789ab".to_owned(),
            state: "exited".to_owned(),
            exit_code: Some(137),
            oom_killed: true,
            healthcheck: Some((1, "no route".to_owned())),
        }),
        engine_error: None,
        log,
    }
}

fn hold(seconds: i64) -> Record {
    let (reason, until, step) = (Hold::Backoff, Some(at(seconds + 10).mono), None);
    record(seconds, Event::Held { reason, until, step, behind: None })
}

/// A web shop that failed, could not be restarted at once, and healed; another failed with it.
fn story() -> (Snapshot, incidents::Account) {
    let mut picture = snapshot();
    let web = service("web");
    let identity = web.identity.clone();
    picture.services = vec![web.into(), service("api").into()];
    let (attempt, step) = (AttemptId(0xfe), Step::Restart);
    let begun = Event::Begun {
        attempt,
        step,
        cause: Cause::Recovery,
        trouble: Some(Trouble::Check(CheckId(0))),
        instance: Instance { container: 1, started: 1 },
        charge: Charge::Stored,
        ordinal: 1,
    };
    let records = vec![
        record(-120, Event::IncidentOpened { trouble: Trouble::Check(CheckId(0)) }),
        hold(-119),
        hold(-115),
        record(-110, begun),
        record(-109, Event::Finished { attempt, outcome: Outcome::Done }),
        record(-60, Event::Ended { attempt, step, verdict: Verdict::Healed, took: secs(50) }),
        record(-60, Event::IncidentClosed { ending: Ending::Healed, lasted: secs(60) }),
    ];
    let mut failed = piece(&identity, -109, "operation_finished", LogTail::Missing("it hangs".to_owned()));
    failed.engine_error = Some("the engine answered 500: no space left".to_owned());
    let evidence = vec![piece(&identity, -120, "incident_opened", LogTail::Lines("one\n\ntwo".to_owned())), failed];
    let api = Identity::container("local", "api").unwrap();
    let within = vec![part(&api, 0xcd)];
    (picture, incidents::Account { outage: outage(&identity), records, evidence, within })
}

#[test]
fn the_whole_story_is_told() {
    let (picture, kept) = story();
    let account = account(&picture, &kept, at(0));
    assert_eq!(
        account.text(&TimeZone::UTC),
        "\
Outage 00000000000000ab of web on host local (warning): its check `api` fails.
  Began 2026-03-01 13:58:00, lasted 60 s: healed.
  Time to recover: 60 s.
  1 attempt, 0 failed.
  Acknowledged 2026-03-01 13:58:20.
  Affected: api (00000000000000cd, goes on).

Seen 13:58:00, when it began:
  Container shop-web (0123456789ab) of image shop:1: exited, exit code 137; out of memory: the kernel killed it, or a process in it.
  Its HEALTHCHECK returned 1: no route
  Check api (http) has failed 3 times in a row: status 500, expected 200-299
  The last that it printed:
    | one
    | 
    | two

Seen 13:58:11, when an operation did not go through:
  Container shop-web (0123456789ab) of image shop:1: exited, exit code 137; out of memory: the kernel killed it, or a process in it.
  Its HEALTHCHECK returned 1: no route
  Check api (http) has failed 3 times in a row: status 500, expected 200-299
  The operation: the engine answered 500: no space left.
  What it printed could not be had: it hangs.

What was decided:
  13:58:00  incident_opened [check]: an outage began: its check `api` fails
  13:58:01  held [backoff]: holding back (backoff). The last attempt did not last, so the wait before the next one grows; `iaso restart` does not wait.
  13:58:10  operation_begun [check]: restart, attempt 1
  13:58:11  operation_finished: the operation went through
  13:59:00  operation_ended [healed]: restart: it healed (50 s)
  13:59:00  incident_closed [healed]: the outage is over after 60 s (healed)
"
    );
    let document = account_json(&picture, &kept, at(0));
    assert_eq!(serde_json::from_value::<Account>(document.clone()).unwrap(), account, "the command line reads it back");
    assert_eq!(document["time_to_recover_seconds"], 60);
    assert_eq!(document["timeline"].as_array().unwrap().len(), 7, "a program gets every record");
    assert_eq!(document["timeline"][3]["attempt"], "00000000000000fe");
    assert_eq!(document["evidence"][0]["log"], serde_json::json!(["one", "", "two"]));
}

#[test]
fn a_list_tells_what_goes_on_and_that_there_is_more() {
    let mut picture = snapshot();
    let web = broken("web", Trouble::EngineUnhealthy);
    let (identity, api) = (web.identity.clone(), service("api"));
    let within = [0xcd, 0xce].map(|id| (INCIDENT, part(&api.identity, id))).to_vec();
    picture.services = vec![api.into(), web.into()];
    let mut open = outage(&identity);
    (open.closed, open.lasted, open.trouble) = (None, None, Trouble::Exited { code: 7 });
    open.root = Some(IncidentId(5));
    let gone = Identity::compose("nas", "shop", "db", 2).unwrap();
    let of_gone = |id| Outage { id: IncidentId(id), ..outage(&gone) };
    let page = Page { outages: vec![open, of_gone(2), of_gone(1)], within };
    let list: Incidents = serde_json::from_value(list_json(&picture, &page, 2, at(0))).unwrap();
    let [first, second] = &list.incidents[..] else { panic!("{list:?}") };
    assert_eq!((first.service.as_str(), first.lasted_seconds, first.ending.as_deref()), ("web", 120, None));
    assert_eq!((&first.affected[..], first.part_of.as_deref()), (&["api".to_owned()][..], Some("0000000000000005")));
    assert_eq!(first.problem, "its container exited by itself with code 7");
    assert_eq!((second.service.as_str(), second.host.as_str(), &second.severity), ("shop-db-2", "nas", &None));
    assert_eq!((second.lasted_seconds, second.ending.as_deref()), (60, Some("healed")));
    assert_eq!(list.next.as_deref(), Some("0000000000000002"));
    let all: Incidents = serde_json::from_value(list_json(&picture, &page, 3, at(0))).unwrap();
    assert_eq!(all.next, None);
}
