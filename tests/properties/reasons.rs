//! Every reason to hold: what brings it about, and that `iaso explain` then names it, in the words of `docs/reasons.md`.
//!
//! Each story is one of the policy's own, told what an engine, a store or a person would tell it. What is asked is the answer that
//! `iaso explain` prints and the API gives, made from the picture of that moment. `tests/daemon/reasons.rs` asks a running daemon
//! for those that a real engine brings about cheaply.

use std::sync::Arc;
use std::time::Duration;

use iaso::config::validated::Severity;
use iaso::snapshot::{CheckStatus, ServiceStatus, Snapshot};
use iaso::telemetry::explain::{Explanation, explain, explain_json};
use iaso_policy::Input;
use iaso_policy::id::{CredentialKey, RolloutId, ServiceId};
use iaso_policy::input::{CheckResult, Exempt, HostLink, Order, Outcome, RestartPolicy, RolloutStep, State, Witness};
use iaso_policy::memory::Restored;
use iaso_policy::record::{Event, Hold};
use iaso_policy::spec::{Budget, Condition, FleetSpec, Mode, Need, Restarts, ServiceSpec, Step};
use jiff::tz::TimeZone;

use crate::rig::{HEALTHY, HOST, RUNNING, Rig, UNHEALTHY, check, secs, spec};

/// The one that is explained.
const WEB: ServiceId = ServiceId(0);
const DB: ServiceId = ServiceId(1);

/// Brings a reason about, for [`WEB`].
type Story = fn() -> Rig;

/// A reason that is not here fails [`every_reason_has_a_story`].
const STORIES: [(Hold, Story); 29] = [
    (Hold::Dependency, what_it_needs_is_down),
    (Hold::Backoff, the_last_attempt_did_not_last),
    (Hold::Budget, its_budget_is_spent),
    (Hold::HostBudget, its_neighbour_spent_the_host_s_budget),
    (Hold::Concurrency, its_neighbour_has_the_only_place),
    (Hold::Quarantine, its_only_attempt_failed),
    (Hold::Maintenance, it_dies_under_maintenance),
    (Hold::Paused, it_dies_while_paused),
    (Hold::ContainerPaused, its_container_is_frozen),
    (Hold::OperatorStopped, a_person_stops_it),
    (Hold::UnknownStop, it_is_found_stopped),
    (Hold::Completed, it_ends_with_0),
    (Hold::PlannedChange, it_is_deployed_anew),
    (Hold::StartPeriod, it_fails_just_after_its_start),
    (Hold::QuietStart, it_fails_just_after_iaso_s_start),
    (Hold::MassFailure, most_fail_at_once),
    (Hold::HostDown, its_host_goes_away),
    (Hold::InFlight, a_changed_credential_broke_it),
    (Hold::EngineRestarting, the_engine_starts_it_again),
    (Hold::NeverSucceeded, its_check_never_passed),
    (Hold::Mode, it_is_only_to_be_told_of),
    (Hold::Observe, iaso_only_observes),
    (Hold::Itself, it_is_iaso_itself),
    (Hold::Orchestrated, it_is_a_task_of_swarm_s),
    (Hold::NotPermitted, a_proxy_denies_the_step),
    (Hold::Store, a_credential_changes_while_the_store_is_down),
    (Hold::Internal, a_judge_and_the_rules_disagree),
    (Hold::Notice, it_keeps_data_and_is_sick),
    (Hold::DiskFull, it_keeps_data_on_a_full_disk),
];

fn web() -> ServiceSpec {
    spec("web")
}

fn running(spec: ServiceSpec) -> Rig {
    Rig::with(spec, RestartPolicy::No)
}

/// It and its neighbour, under these rules.
fn two(fleet: FleetSpec) -> Rig {
    let mut rig = Rig::new(fleet);
    rig.add(WEB, web(), RestartPolicy::No, RUNNING);
    rig.add(DB, spec("db"), RestartPolicy::No, RUNNING);
    rig
}

fn fails(rig: &mut Rig) {
    for _ in 0..3 {
        rig.check(WEB, 0, CheckResult::Failed);
    }
}

fn what_it_needs_is_down() -> Rig {
    let mut rig = two(FleetSpec::default());
    let need = Need { on: vec![DB], unwatched: None, until: Condition::Healthy, restarts: Restarts::Never };
    rig.step(Input::Needs { service: WEB, needs: vec![need] });
    rig.order(DB, Order::Pause);
    rig.dies(DB, 1);
    rig.dies(WEB, 1);
    rig
}

fn the_last_attempt_did_not_last() -> Rig {
    let mut rig = running(web());
    rig.dies(WEB, 1);
    rig.carry_out();
    rig.dies(WEB, 1);
    rig
}

fn its_budget_is_spent() -> Rig {
    let mut once = web();
    once.recovery.restarts = Budget { max: 1, window: secs(600) };
    let mut rig = running(once);
    rig.dies(WEB, 1);
    rig.carry_out();
    rig.pass(secs(30));
    rig.dies(WEB, 1);
    rig
}

fn its_neighbour_spent_the_host_s_budget() -> Rig {
    let mut rig = two(FleetSpec { host_budget: Budget { max: 1, window: secs(600) }, ..FleetSpec::default() });
    rig.dies(DB, 1);
    rig.carry_out();
    rig.pass(secs(30));
    rig.dies(WEB, 1);
    rig
}

fn its_neighbour_has_the_only_place() -> Rig {
    let mut rig = two(FleetSpec { max_concurrent: 1, ..FleetSpec::default() });
    rig.dies(DB, 1);
    rig.dies(WEB, 1);
    rig
}

fn its_only_attempt_failed() -> Rig {
    let mut once = web();
    once.recovery.max_attempts = 1;
    let mut rig = running(once);
    rig.dies(WEB, 1);
    rig.carry_out();
    rig.dies(WEB, 1);
    rig
}

fn it_dies_under_maintenance() -> Rig {
    let mut rig = running(web());
    let until = rig.now.mono + secs(600);
    rig.order(WEB, Order::Maintain { until, everything: false });
    rig.dies(WEB, 1);
    rig
}

fn it_dies_while_paused() -> Rig {
    let mut rig = running(web());
    rig.order(WEB, Order::Pause);
    rig.dies(WEB, 1);
    rig
}

fn its_container_is_frozen() -> Rig {
    let mut rig = running(web());
    rig.becomes(WEB, State::Paused);
    rig
}

fn a_person_stops_it() -> Rig {
    let mut rig = running(web());
    rig.stopped_by_a_person(WEB);
    rig
}

fn it_is_found_stopped() -> Rig {
    let mut rig = running(web());
    rig.secretly(WEB, State::Exited { code: 1, witness: Witness::Look });
    rig.look(WEB);
    rig
}

fn it_ends_with_0() -> Rig {
    let mut rig = running(web());
    rig.dies(WEB, 0);
    rig
}

fn it_is_deployed_anew() -> Rig {
    let mut rig = running(web());
    rig.stopped_by_a_person(WEB);
    rig.step(Input::Change { service: WEB });
    rig
}

fn it_fails_just_after_its_start() -> Rig {
    let mut rig = running(ServiceSpec { checks: vec![check(1)], ..web() });
    rig.starts(WEB, RUNNING);
    fails(&mut rig);
    rig
}

fn it_fails_just_after_iaso_s_start() -> Rig {
    let mut rig = Rig::restored(FleetSpec::default(), &Restored::nothing(), 0);
    rig.add(WEB, ServiceSpec { checks: vec![check(1)], ..web() }, RestartPolicy::No, RUNNING);
    rig.link(HostLink::Up { engine_started: false });
    rig.check(WEB, 0, CheckResult::Passed);
    fails(&mut rig);
    rig
}

fn most_fail_at_once() -> Rig {
    let mut rig = Rig::new(FleetSpec::default());
    for number in 0..8 {
        rig.add(ServiceId(number), spec(&format!("s{number}")), RestartPolicy::No, HEALTHY);
    }
    for number in [1, 2, 3, 4, 0] {
        rig.becomes(ServiceId(number), UNHEALTHY);
    }
    rig
}

fn its_host_goes_away() -> Rig {
    let mut rig = it_dies_while_paused();
    rig.link(HostLink::Down);
    rig
}

fn change_of_a_credential() -> Input {
    Input::RollOut {
        rollout: RolloutId(1),
        credential: CredentialKey(1),
        steps: vec![RolloutStep { service: WEB, step: Step::Restart, has_it: false }],
        cap: Budget { max: 6, window: secs(3600) },
        splay: Duration::ZERO,
        undoable: true,
    }
}

/// Whoever changed it is to say first whether the old one comes back.
fn a_changed_credential_broke_it() -> Rig {
    let mut rig = Rig::new(FleetSpec::default());
    rig.add(WEB, web(), RestartPolicy::No, HEALTHY);
    rig.step(change_of_a_credential());
    rig.starts(WEB, UNHEALTHY);
    rig.finish(Outcome::Done);
    rig
}

fn the_engine_starts_it_again() -> Rig {
    let mut rig = Rig::with(web(), RestartPolicy::Always);
    rig.dies(WEB, 1);
    rig
}

fn its_check_never_passed() -> Rig {
    let mut rig = Rig::new(FleetSpec::default());
    rig.add_unproven(WEB, ServiceSpec { checks: vec![check(1)], ..web() }, RestartPolicy::No, RUNNING);
    fails(&mut rig);
    rig
}

fn it_is_only_to_be_told_of() -> Rig {
    let mut told = web();
    told.recovery.mode = Mode::Notify;
    let mut rig = running(told);
    rig.dies(WEB, 1);
    rig
}

fn iaso_only_observes() -> Rig {
    let mut rig = two(FleetSpec { observe: true, ..FleetSpec::default() });
    rig.dies(WEB, 1);
    rig
}

fn exempt(why: Exempt) -> Rig {
    let mut rig = running(web());
    rig.truth.get_mut(&WEB).unwrap().container.exempt = Some(why);
    rig.describe(WEB);
    rig.dies(WEB, 1);
    rig
}

fn it_is_iaso_itself() -> Rig {
    exempt(Exempt::Itself)
}

fn it_is_a_task_of_swarm_s() -> Rig {
    exempt(Exempt::Orchestrated)
}

fn a_proxy_denies_the_step() -> Rig {
    let mut rig = running(web());
    rig.dies(WEB, 1);
    rig.finish(Outcome::NotPermitted);
    rig
}

/// Plain restarts go on while the store is down; a credential's change waits for it.
fn a_credential_changes_while_the_store_is_down() -> Rig {
    let mut rig = running(web());
    rig.step(Input::Store { up: false });
    rig.step(change_of_a_credential());
    rig
}

/// No rule is known to break a law, so here the judge is told of a window that the rules are not. What it then refuses does not
/// leave, and is answered as the supervisor answers it.
fn a_judge_and_the_rules_disagree() -> Rig {
    let mut rig = running(web());
    let until = Some(rig.now.mono + secs(600));
    rig.judges.hear(&Input::Maintenance { service: WEB, until });
    rig.dies(WEB, 1);
    let refused: Vec<u8> = std::mem::take(&mut rig.violations).into_iter().map(|violation| violation.law).collect();
    assert_eq!(refused, [5]);
    rig.judges.hear(&Input::Maintenance { service: WEB, until: None });
    rig.finish(Outcome::Refused);
    rig
}

/// The picture of this moment, as the supervisor would publish it.
fn picture(rig: &Rig) -> Snapshot {
    let names: Vec<_> = rig.policy.identities().map(|(_, identity)| identity.clone()).collect();
    let status = |view: iaso_policy::view::ServiceView| {
        let identity = names[view.service.0 as usize].clone();
        let check = |number| CheckStatus {
            name: format!("check-{number}").into(),
            kind: "http",
            ping_token: None,
            pending: false,
            evidence: Some("status 500, expected 200-299".into()),
            took: None,
            counts: (0, 0),
            certificate_expiry: None,
        };
        Arc::new(ServiceStatus {
            name: identity.short_name().into(),
            identity,
            host: "local".into(),
            severity: Severity::Warning,
            container: None,
            checks: (0..view.checks.len()).map(check).collect(),
            waits_for: Vec::new(),
            view,
        })
    };
    Snapshot { services: rig.policy.views().map(status).collect(), ..Snapshot::nothing(rig.now) }
}

fn explained(rig: &Rig) -> (Explanation, serde_json::Value) {
    let seen = picture(rig);
    let timeline: Vec<_> = rig.records.iter().filter(|record| record.service == WEB).copied().collect();
    let json = explain_json(&seen, &seen.services[0], &timeline, rig.now);
    (explain(&seen, &seen.services[0], &timeline, rig.now, &TimeZone::UTC), json)
}

/// What the page says of a reason.
fn meaning(reason: Hold) -> &'static str {
    let row = format!("| `{}` | ", reason.name());
    let (_, page) = include_str!("../../docs/reasons.md").split_once("## Reasons to hold").unwrap();
    let told = page.lines().find_map(|line| line.strip_prefix(&row)).unwrap_or_else(|| panic!("no {row}"));
    told.split_once(" | ").unwrap().0
}

#[test]
fn every_reason_is_named_by_explain_where_it_holds() {
    for (reason, story) in STORIES {
        let rig = story();
        let (explanation, json) = explained(&rig);
        let (text, name) = (explanation.to_string(), reason.name());
        // A credential's change waits by itself: the service is not held.
        let field = if reason == Hold::Store { "rollout_hold" } else { "hold" };
        assert_eq!(json[field], name, "{name}: {json:#}");
        assert!(text.contains(&format!("({name}, since ")), "{name}:\n{text}");
        assert!(text.contains(meaning(reason)), "{name}:\n{text}");
        // The log line and the metric are made of the same stream.
        let says = |event: Event| match event {
            Event::Held { reason, .. } | Event::RolloutHeld { reason, .. } => Some(reason),
            _ => None,
        };
        assert!(rig.records.iter().any(|record| record.service == WEB && says(record.event) == Some(reason)), "{name}");
        assert!(rig.operations.iter().filter(|operation| operation.service == WEB).count() <= 1, "{name}");
    }
}

fn keeping_data() -> ServiceSpec {
    let mut web = ServiceSpec { stateful: true, ..web() };
    web.recovery.notice = secs(60);
    web
}

fn it_keeps_data_and_is_sick() -> Rig {
    let mut rig = running(keeping_data());
    rig.becomes(WEB, UNHEALTHY);
    rig
}

fn it_keeps_data_on_a_full_disk() -> Rig {
    let mut rig = running(keeping_data());
    rig.step(Input::Disk { host: HOST, full: true });
    rig.dies(WEB, 1);
    rig
}

#[test]
fn every_reason_has_a_story() {
    let told: Vec<Hold> = STORIES.iter().map(|(reason, _)| *reason).collect();
    let untold: Vec<&str> =
        Hold::ALL.iter().filter(|reason| !told.contains(reason)).map(|reason| reason.name()).collect();
    assert!(untold.is_empty(), "no story brings about {untold:?}: write one, and add it to STORIES");
}

#[test]
fn whom_it_waits_for_is_named() {
    let (explanation, _) = explained(&what_it_needs_is_down());
    assert!(explanation.facts.contains(&"It waits for db, which is unhealthy.".to_owned()), "{explanation:?}");
}

#[test]
fn what_is_over_is_not_told_any_more() {
    let mut rig = a_credential_changes_while_the_store_is_down();
    rig.step(Input::Store { up: true });
    let (explanation, _) = explained(&rig);
    assert_eq!((explanation.rollout_hold, explanation.hold), (None, None));
    let mut rig = it_dies_while_paused();
    rig.order(WEB, Order::Resume);
    assert_eq!(explained(&rig).0.hold, None);
}
