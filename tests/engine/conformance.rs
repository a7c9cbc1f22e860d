//! What every engine must do, the simulated one too.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso::config::secret::Secret;
use iaso::engine::EventAction::{Create, Destroy, Die, Health, Kill, Pause, Rename, Restart, Start, Stop, Unpause};
use iaso::engine::{Change, Changed, ContainerId, ContainerState, EngineError};
use iaso::policy::input::{EngineHealth, RestartPolicy};
use libtest_mimic::Trial;

use crate::docker_rig::with_shared;
use crate::rig::{Hurt, PATIENCE, Patient, Rig, actions, inspect, story, until_state};
use crate::sim_rig::with_sim;
use crate::support::{Need, test};
use crate::tls::{NEEDS, with_tls};

/// The suite as tests named `PREFIX::NAME`, each run by `$with` (a function that hands it a rig) where `$needs` are met.
macro_rules! suite {
    ($prefix:literal, $needs:expr, $with:path) => {
        suite!(@ $prefix, $needs, $with,
            says_hello,
            lists_what_it_inspects,
            tells_a_crash,
            tells_a_persons_stop,
            tells_a_kill,
            tells_a_pause,
            tells_a_restart_by_the_api,
            tells_a_change_of_health,
            tells_a_rename_and_a_removal,
            runs_a_command,
            tells_what_a_command_said_and_how_it_ended,
            says_why_a_command_cannot_run,
            gives_a_command_up_after_its_bound,
            hands_a_command_its_input_and_does_not_mind_one_that_does_not_read,
            says_when_there_is_nothing_to_do,
            says_when_there_is_no_such_container,
            says_when_the_state_forbids_it,
            restarts_what_has_exited,
            keeps_the_grace_of_one_that_ignores_sigterm,
            thaws_what_it_stops,
            tells_the_end_of_the_logs,
            restarts_by_its_own_policy,
            gives_its_policy_up_when_it_is_exhausted,
            gives_its_policy_up_after_a_persons_kill,
            gives_its_policy_up_after_a_signal
        )
    };
    (@ $prefix:literal, $needs:expr, $with:path, $($name:ident),+) => {
        vec![$(test(concat!($prefix, "::", stringify!($name)), $needs, || $with(|rig| async move { $name(&rig).await }))),+]
    };
}

/// The suite over every engine there is.
pub fn tests() -> Vec<Trial> {
    let mut tests = suite!("conformance::docker", &[Need::Engine], with_shared);
    tests.extend(suite!("conformance::tls", NEEDS, with_tls));
    tests.extend(suite!("conformance::sim", &[Need::Nothing], with_sim));
    tests
}

fn running(state: ContainerState) -> bool {
    matches!(state, ContainerState::Running(_))
}

async fn says_hello<R: Rig>(rig: &R) {
    let info = rig.engine().hello().await.expect("hello");
    assert!(info.api >= (1, 41), "{info:?}");
    assert!(!info.version.is_empty());
    rig.engine().ping().await.expect("ping");
}

async fn lists_what_it_inspects<R: Rig>(rig: &R) {
    let labels = BTreeMap::from([("iaso.enable".to_owned(), "true".to_owned())]);
    let patient = Patient {
        healthcheck: true,
        restart: RestartPolicy::OnFailure(4),
        stop_grace: Some(Duration::from_secs(7)),
        labels: labels.clone(),
        ..Patient::default()
    };
    let id = rig.make(patient).await;
    let inspected = until_state(rig, &id, |state| state == ContainerState::Running(EngineHealth::Healthy)).await;
    let listed = rig.engine().list().await.expect("list");
    let listed = listed.into_iter().find(|detail| detail.id == id).expect("it is in the list");
    assert_eq!(listed, inspected);
    assert_eq!(inspected.restart, RestartPolicy::OnFailure(4));
    assert_eq!(inspected.stop_grace, Some(Duration::from_secs(7)));
    assert_eq!(inspected.labels.get("iaso.enable"), labels.get("iaso.enable"));
    assert_eq!(inspected.stop_signal, 15);
    let check = inspected.healthcheck.expect("its HEALTHCHECK");
    assert_eq!((check.interval, check.retries), (Duration::from_millis(100), 2));
    assert!(inspected.started > 1_700_000_000_000_000_000, "{}", inspected.started);
    assert!(!format!("{inspected:?}").contains("s3cret"), "the environment is not taken over");
}

async fn tells_a_crash<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let before = inspect(rig, &id).await;
    let mut events = rig.engine().events().await.expect("events");
    rig.hurt(&id, Hurt::Exit(3)).await;
    let story = story(&mut events, &id, Die(3)).await;
    assert_eq!(actions(&story), [Die(3)], "no stop signal before it");
    let after = until_state(rig, &id, |state| state == ContainerState::Exited(3)).await;
    assert_eq!(after.started, before.started, "the same life");
    assert!(after.finished > after.started);
    assert!(story[0].1 > after.started, "events and records share the engine's clock");
}

async fn tells_a_persons_stop<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let mut events = rig.engine().events().await.expect("events");
    rig.hurt(&id, Hurt::Stop).await;
    let story = actions(&story(&mut events, &id, Stop).await);
    assert_eq!(story, [Kill(15), Die(0), Stop]);
}

async fn tells_a_kill<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let mut events = rig.engine().events().await.expect("events");
    rig.hurt(&id, Hurt::Kill).await;
    let story = actions(&story(&mut events, &id, Die(137)).await);
    assert_eq!(story, [Kill(9), Die(137)]);
}

async fn tells_a_pause<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let mut events = rig.engine().events().await.expect("events");
    rig.hurt(&id, Hurt::Pause).await;
    assert_eq!(inspect(rig, &id).await.state, ContainerState::Paused);
    rig.hurt(&id, Hurt::Unpause).await;
    assert_eq!(actions(&story(&mut events, &id, Unpause).await), [Pause, Unpause]);
    assert!(running(inspect(rig, &id).await.state));
}

async fn tells_a_restart_by_the_api<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let before = inspect(rig, &id).await;
    let mut events = rig.engine().events().await.expect("events");
    assert_eq!(rig.engine().change(&id, &Change::Restart, None).await, Ok(Changed::Done));
    let story = story(&mut events, &id, Restart).await;
    assert_eq!(actions(&story), [Kill(15), Die(0), Stop, Start, Restart]);
    let after = inspect(rig, &id).await;
    assert!(after.started > before.started, "a new life");
    let start = story.iter().find(|(action, _)| *action == Start).expect("the start").1;
    assert!(start >= after.started, "an event's stamp is never earlier than the life it begins");
}

async fn tells_a_change_of_health<R: Rig>(rig: &R) {
    let id = rig.make(Patient { healthcheck: true, ..Patient::default() }).await;
    until_state(rig, &id, |state| state == ContainerState::Running(EngineHealth::Healthy)).await;
    let mut events = rig.engine().events().await.expect("events");
    rig.hurt(&id, Hurt::Sick).await;
    let verdict = Health(EngineHealth::Unhealthy);
    assert_eq!(actions(&story(&mut events, &id, verdict).await), [verdict], "no exec events among them");
    assert_eq!(inspect(rig, &id).await.state, ContainerState::Running(EngineHealth::Unhealthy));
    assert_eq!(rig.engine().change(&id, &Change::Restart, None).await, Ok(Changed::Done));
    until_state(rig, &id, |state| state == ContainerState::Running(EngineHealth::Healthy)).await;
}

async fn tells_a_rename_and_a_removal<R: Rig>(rig: &R) {
    let mut events = rig.engine().events().await.expect("events");
    let id = rig.make(Patient::default()).await;
    assert_eq!(actions(&story(&mut events, &id, Start).await), [Create, Start]);
    let name = rig.free_name();
    rig.hurt(&id, Hurt::Rename(name.clone())).await;
    story(&mut events, &id, Rename).await;
    assert_eq!(inspect(rig, &id).await.name, name);
    rig.hurt(&id, Hurt::Remove).await;
    story(&mut events, &id, Destroy).await;
    assert_eq!(rig.engine().inspect(&id).await, Err(EngineError::NotFound));
    assert!(rig.engine().list().await.expect("list").iter().all(|detail| detail.id != id));
}

async fn runs_a_command<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    assert_eq!(rig.engine().change(&id, &Change::Exec(rig.command(true)), None).await, Ok(Changed::Done));
    let failed = rig.engine().change(&id, &Change::Exec(rig.command(false)), None).await;
    assert!(matches!(failed, Ok(Changed::CommandFailed(code)) if code != 0), "{failed:?}");
    let missing = rig.engine().change(&id, &Change::Exec(vec!["/no/such/command".to_owned()]), None).await;
    assert!(!matches!(missing, Ok(Changed::Done | Changed::Already)), "{missing:?}");
}

async fn tells_what_a_command_said_and_how_it_ended<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let engine = rig.engine();
    let well = engine.exec(&id, &rig.command(true), PATIENCE).await.expect("a command");
    assert_eq!(well.code, 0, "{well:?}");
    let ill = engine.exec(&id, &rig.command(false), PATIENCE).await.expect("a command");
    assert_ne!(ill.code, 0);
    assert!(ill.output.contains(rig.command(false).last().expect("a word")), "{ill:?}");
    assert!(ill.output.len() <= 16 << 10);
}

async fn says_why_a_command_cannot_run<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let (engine, command) = (rig.engine(), rig.command(true));
    let missing = engine.exec(&id, &["/no/such/command".to_owned()], PATIENCE).await;
    match missing {
        Err(EngineError::CannotExecute { code: 126 | 127, message }) => {
            assert!(message.contains("/no/such/command"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    rig.hurt(&id, Hurt::Pause).await;
    assert_eq!(engine.exec(&id, &command, PATIENCE).await, Err(EngineError::ContainerPaused));
    rig.hurt(&id, Hurt::Unpause).await;
    assert_eq!(engine.exec(&id, &command, PATIENCE).await.map(|ran| ran.code), Ok(0));
    rig.hurt(&id, Hurt::Stop).await;
    assert_eq!(engine.exec(&id, &command, PATIENCE).await, Err(EngineError::ContainerStopped));
    rig.hurt(&id, Hurt::Remove).await;
    assert_eq!(engine.exec(&id, &command, PATIENCE).await, Err(EngineError::NotFound));
}

async fn gives_a_command_up_after_its_bound<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let endless = rig.endless_command();
    given_up(async |bound| rig.engine().exec(&id, &endless, bound).await.map(drop)).await;
    let next = rig.engine().exec(&id, &rig.command(true), PATIENCE).await;
    assert_eq!(next.map(|ran| ran.code), Ok(0), "the container takes others meanwhile");
}

/// A command goes on beyond its bound. A busy engine has not begun it by then: it is given longer.
async fn given_up(run: impl AsyncFn(Duration) -> Result<(), EngineError>) {
    for bound in [1, 5, 30].map(Duration::from_secs) {
        let ran = run(bound).await;
        if ran != Err(EngineError::TimedOut(bound)) {
            assert_eq!(ran, Err(EngineError::CommandGoesOn(bound)));
            return;
        }
    }
    panic!("the engine never began it");
}

async fn hands_a_command_its_input_and_does_not_mind_one_that_does_not_read<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let engine = rig.engine();
    let large = Secret::new(format!("{}the end", "0123456789abcdef".repeat(1 << 16)));
    for input in [Secret::new(""), Secret::new("s3cret"), large] {
        let heard = engine.exec_with_input(&id, &rig.echo_command(), &input, PATIENCE).await.expect("a command");
        assert_eq!(heard.code, 0);
        let end = &input.expose()[input.expose().len().saturating_sub(16 << 10)..];
        assert!(heard.output == end, "it heard {} bytes of {}", heard.output.len(), input.expose().len());
        for (ends_well, command) in [(true, rig.command(true)), (false, rig.command(false))] {
            let deaf = engine.exec_with_input(&id, &command, &input, PATIENCE).await.expect("a command");
            assert_eq!(deaf.code == 0, ends_well, "{}", deaf.code);
        }
        let missing = engine.exec_with_input(&id, &["/no/such/command".to_owned()], &input, PATIENCE).await;
        assert!(matches!(missing, Err(EngineError::CannotExecute { .. })), "{missing:?}");
    }
    let (endless, input) = (rig.endless_command(), Secret::new("s3cret"));
    given_up(async |bound| engine.exec_with_input(&id, &endless, &input, bound).await.map(drop)).await;
    rig.hurt(&id, Hurt::Stop).await;
    let stopped = engine.exec_with_input(&id, &rig.echo_command(), &Secret::new("s3cret"), PATIENCE).await;
    assert_eq!(stopped, Err(EngineError::ContainerStopped));
}

async fn says_when_there_is_nothing_to_do<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    assert_eq!(rig.engine().change(&id, &Change::Start, None).await, Ok(Changed::Already));
    assert_eq!(rig.engine().change(&id, &Change::Stop, None).await, Ok(Changed::Done));
    assert_eq!(rig.engine().change(&id, &Change::Stop, None).await, Ok(Changed::Already));
}

async fn says_when_there_is_no_such_container<R: Rig>(rig: &R) {
    let engine = rig.engine();
    let nobody = ContainerId::new(&"0123456789abcdef".repeat(4)).expect("an id");
    assert_eq!(engine.inspect(&nobody).await, Err(EngineError::NotFound));
    assert_eq!(engine.logs(&nobody, 10).await, Err(EngineError::NotFound));
    let command = Change::Exec(rig.command(true));
    for change in [Change::Start, Change::Stop, Change::Restart, Change::Signal(1), command] {
        assert_eq!(engine.change(&nobody, &change, None).await, Err(EngineError::NotFound), "{change:?}");
    }
}

async fn says_when_the_state_forbids_it<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    rig.hurt(&id, Hurt::Stop).await;
    let refused = rig.engine().change(&id, &Change::Signal(1), None).await;
    assert!(matches!(refused, Err(EngineError::Conflict(_))), "{refused:?}");
    let command = Change::Exec(rig.command(true));
    assert_eq!(rig.engine().change(&id, &command, None).await, Err(EngineError::ContainerStopped));
}

async fn restarts_what_has_exited<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let before = inspect(rig, &id).await;
    rig.hurt(&id, Hurt::Exit(1)).await;
    until_state(rig, &id, |state| state == ContainerState::Exited(1)).await;
    assert_eq!(rig.engine().change(&id, &Change::Restart, None).await, Ok(Changed::Done));
    let after = until_state(rig, &id, running).await;
    assert!(after.started > before.started);
}

async fn keeps_the_grace_of_one_that_ignores_sigterm<R: Rig>(rig: &R) {
    let id = rig.make(Patient { ignores_term: true, ..Patient::default() }).await;
    let mut events = rig.engine().events().await.expect("events");
    let grace = Duration::from_secs(2);
    assert_eq!(rig.engine().change(&id, &Change::Stop, Some(grace)).await, Ok(Changed::Done));
    let story = story(&mut events, &id, Stop).await;
    assert_eq!(actions(&story), [Kill(15), Kill(9), Die(137), Stop]);
    let waited = Duration::from_nanos((story[2].1 - story[0].1).try_into().expect("in order"));
    assert!(waited >= grace, "{waited:?}");
}

async fn thaws_what_it_stops<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    rig.hurt(&id, Hurt::Pause).await;
    let refused = rig.engine().change(&id, &Change::Start, None).await;
    assert!(matches!(refused, Err(EngineError::Conflict(_))), "{refused:?}");
    let command = Change::Exec(rig.command(true));
    assert_eq!(rig.engine().change(&id, &command, None).await, Err(EngineError::ContainerPaused));
    let mut events = rig.engine().events().await.expect("events");
    assert_eq!(rig.engine().change(&id, &Change::Restart, None).await, Ok(Changed::Done));
    let mut story = actions(&story(&mut events, &id, Restart).await);
    // The signal waits for the thaw; which of the two is told first is open.
    let thawed = story.iter().position(|action| *action == Unpause).expect("it is thawed");
    story.remove(thawed);
    assert!(thawed < 2, "before it dies");
    assert_eq!(story, [Kill(15), Die(0), Stop, Start, Restart]);
    assert!(running(inspect(rig, &id).await.state));
}

async fn tells_the_end_of_the_logs<R: Rig>(rig: &R) {
    let id = rig.make(Patient::default()).await;
    let first = until_said(rig, &id, 1).await;
    assert_eq!(rig.engine().change(&id, &Change::Restart, None).await, Ok(Changed::Done));
    let both = until_said(rig, &id, 2).await;
    assert_eq!(both.lines().next(), first.lines().next());
    let last = rig.engine().logs(&id, 1).await.expect("logs");
    assert_eq!(both.lines().last(), last.lines().next());
    assert_eq!(last.lines().count(), 1);
}

/// Waits until the container has said so many lines, one in each life.
async fn until_said<R: Rig>(rig: &R, id: &ContainerId, lines: usize) -> String {
    let said = async {
        loop {
            let logs = rig.engine().logs(id, 10).await.expect("logs");
            if logs.lines().count() == lines {
                return logs;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, said).await.expect("a line in each life")
}

async fn restarts_by_its_own_policy<R: Rig>(rig: &R) {
    let id = rig.make(Patient { restart: RestartPolicy::Always, ..Patient::default() }).await;
    let mut events = rig.engine().events().await.expect("events");
    rig.hurt(&id, Hurt::Exit(1)).await;
    assert_eq!(actions(&story(&mut events, &id, Start).await), [Die(1), Start]);
    let after = until_state(rig, &id, running).await;
    assert_eq!(after.restart_count, 1);
    assert_eq!(rig.engine().change(&id, &Change::Restart, None).await, Ok(Changed::Done));
    assert_eq!(inspect(rig, &id).await.restart_count, 0, "it counts anew once it is asked to");
}

async fn gives_its_policy_up_when_it_is_exhausted<R: Rig>(rig: &R) {
    let id = rig.make(Patient { restart: RestartPolicy::OnFailure(1), ..Patient::default() }).await;
    let mut events = rig.engine().events().await.expect("events");
    rig.hurt(&id, Hurt::Exit(1)).await;
    story(&mut events, &id, Start).await;
    until_state(rig, &id, running).await;
    rig.hurt(&id, Hurt::Exit(2)).await;
    let after = until_state(rig, &id, |state| state == ContainerState::Exited(2)).await;
    assert_eq!(after.restart_count, 1);
}

async fn gives_its_policy_up_after_a_persons_kill<R: Rig>(rig: &R) {
    let id = rig.make(Patient { restart: RestartPolicy::Always, ..Patient::default() }).await;
    rig.hurt(&id, Hurt::Kill).await;
    until_state(rig, &id, |state| state == ContainerState::Exited(137)).await;
}

async fn gives_its_policy_up_after_a_signal<R: Rig>(rig: &R) {
    let id = rig.make(Patient { restart: RestartPolicy::Always, ..Patient::default() }).await;
    // One that it takes no notice of.
    assert_eq!(rig.engine().change(&id, &Change::Signal(1), None).await, Ok(Changed::Done));
    rig.hurt(&id, Hurt::Exit(1)).await;
    until_state(rig, &id, |state| state == ContainerState::Exited(1)).await;
}
