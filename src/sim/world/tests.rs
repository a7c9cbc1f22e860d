use std::time::Duration;

use iaso_policy::input::EngineHealth;

use super::*;
use crate::engine::{Change, ContainerState};
use crate::sim::script::{Ailment, Cure, Lives, Manner, OnStop, Reliance, RestartMode};

use EventAction::{Create, Destroy, Die, Health, Kill, Oom, Pause, Rename, Restart, Start, Stop, Unpause};

/// A world at rest with one container, whose first events are over.
fn world_with(script: ContainerScript) -> (World, u128) {
    let mut world = World::new(1);
    let id = world.add(script).short();
    world.advance(0, &mut Vec::new());
    (world, id)
}

fn run(world: &mut World, ms: i64) -> Vec<WorldEvent> {
    let mut out = Vec::new();
    let to = world.now() + ms;
    world.advance(to, &mut out);
    out
}

fn actions(events: &[WorldEvent]) -> Vec<EventAction> {
    events
        .iter()
        .filter_map(|e| if let Happening::Event(event) = &e.what { Some(event.action) } else { None })
        .collect()
}

fn answers(events: &[WorldEvent]) -> Vec<(i64, Result<Changed, EngineError>)> {
    events
        .iter()
        .filter_map(
            |e| if let Happening::Answered { result, .. } = &e.what { Some((e.at, result.clone())) } else { None },
        )
        .collect()
}

fn state(world: &World, id: u128) -> ContainerState {
    world.inspect(id).unwrap().state
}

fn exits(code: i32, after_ms: i64, lives: Lives) -> Ailment {
    Ailment::Exits { code, after_ms, lives }
}

#[test]
fn a_restart_of_a_running_container_takes_its_stop_and_its_start() {
    let (mut world, id) = world_with(ContainerScript::new("web"));
    let first = world.inspect(id).unwrap().started;
    world.begin_change(id, &Change::Restart, None);
    let events = run(&mut world, 60_000);
    assert_eq!(actions(&events), [Kill(15), Die(0), Stop, Start, Restart]);
    assert_eq!(answers(&events), [(405, Ok(Changed::Done))]);
    assert_eq!(state(&world, id), ContainerState::Running(EngineHealth::None));
    assert!(world.inspect(id).unwrap().started > first);
}

#[test]
fn who_ignores_the_stop_signal_takes_the_whole_grace_and_who_is_stuck_never_answers() {
    let mut script = ContainerScript::new("deaf");
    script.on_stop = OnStop::Ignores;
    let (mut world, id) = world_with(script.clone());
    world.begin_change(id, &Change::Restart, Some(Duration::from_secs(2)));
    let events = run(&mut world, 60_000);
    assert_eq!(actions(&events), [Kill(15), Kill(9), Die(137), Stop, Start, Restart]);
    assert_eq!(answers(&events)[0].0, 2_000 + 5 + 300 + 5);

    script.on_stop = OnStop::Stuck;
    let (mut world, id) = world_with(script);
    world.begin_change(id, &Change::Stop, None);
    let events = run(&mut world, 86_400_000);
    assert_eq!((actions(&events), answers(&events)), (vec![Kill(15), Kill(9)], vec![]));
}

#[test]
fn what_is_stopped_is_started_by_a_restart_and_stopping_it_again_changes_nothing() {
    let (mut world, id) = world_with(ContainerScript::new("web"));
    world.person("web", &Act::Stop).unwrap();
    assert_eq!(actions(&run(&mut world, 1_000)), [Kill(15), Die(0), Stop]);
    assert!(world.truth(id).unwrap().stopped_by_person);
    world.begin_change(id, &Change::Stop, None);
    let events = run(&mut world, 1_000);
    assert_eq!((actions(&events), answers(&events)[0].1.clone()), (vec![], Ok(Changed::Already)));
    world.begin_change(id, &Change::Restart, None);
    assert_eq!(actions(&run(&mut world, 1_000)), [Start, Restart]);
    assert!(!world.truth(id).unwrap().stopped_by_person, "it runs, whoever wanted that");
    // A stop that comes while it is being restarted holds all the same.
    world.begin_change(id, &Change::Restart, None);
    world.person("web", &Act::Stop).unwrap();
    assert_eq!(actions(&run(&mut world, 2_000)), [Kill(15), Die(0), Stop, Start, Restart, Kill(15), Die(0), Stop]);
    assert!(world.truth(id).unwrap().stopped_by_person);
    world.person("web", &Act::Restart).unwrap();
    run(&mut world, 1_000);
    world.begin_change(id, &Change::Start, None);
    assert_eq!(answers(&run(&mut world, 1_000))[0].1, Ok(Changed::Already));
}

#[test]
fn kill_pause_rename_and_removal() {
    let (mut world, id) = world_with(ContainerScript::new("web"));
    world.person("web", &Act::Kill(9)).unwrap();
    assert_eq!(actions(&run(&mut world, 1_000)), [Kill(9), Die(137)]);
    assert!(matches!(world.person("web", &Act::Kill(9)), Err(EngineError::Conflict(_))));
    world.person("web", &Act::Start).unwrap();
    run(&mut world, 1_000);
    world.person("web", &Act::Pause).unwrap();
    assert_eq!(state(&world, id), ContainerState::Paused);
    assert_eq!(world.probe(id, 80), ProbeResult::Hung);
    world.begin_change(id, &Change::Start, None);
    let events = run(&mut world, 1_000);
    assert!(matches!(answers(&events)[0].1, Err(EngineError::Conflict(_))));
    world.begin_change(id, &Change::Restart, None);
    assert_eq!(actions(&run(&mut world, 1_000)), [Kill(15), Unpause, Die(0), Stop, Start, Restart]);
    world.person("web", &Act::Rename("www".to_owned())).unwrap();
    world.person("www", &Act::Remove).unwrap();
    assert_eq!(actions(&run(&mut world, 1_000)), [Rename, Kill(9), Die(137), Destroy]);
    assert_eq!(world.inspect(id), None);
    world.begin_change(id, &Change::Start, None);
    assert_eq!(answers(&run(&mut world, 1_000))[0].1, Err(EngineError::NotFound));
}

#[test]
fn a_crash_is_a_die_and_want_of_memory_comes_before_it() {
    let (mut world, id) = world_with(ContainerScript::new("job").ailment(exits(3, 1_000, Lives::First(1))));
    assert_eq!(actions(&run(&mut world, 10_000)), [Die(3)]);
    assert_eq!(state(&world, id), ContainerState::Exited(3));
    world.begin_change(id, &Change::Start, None);
    assert_eq!(actions(&run(&mut world, 10_000)), [Start], "well in its second life");

    let hungry = Ailment::OutOfMemory { after_ms: 500, lives: Lives::Every };
    let (mut world, id) = world_with(ContainerScript::new("hungry").ailment(hungry));
    assert_eq!(actions(&run(&mut world, 10_000)), [Oom, Die(137)]);
    assert!(world.inspect(id).unwrap().oom_killed);
}

#[test]
fn what_was_to_end_one_life_does_not_end_the_next() {
    let (mut world, id) = world_with(ContainerScript::new("job").ailment(exits(3, 10_000, Lives::First(1))));
    run(&mut world, 5_000);
    world.begin_change(id, &Change::Restart, None);
    assert_eq!(actions(&run(&mut world, 60_000)), [Kill(15), Die(0), Stop, Start, Restart]);
}

#[test]
fn a_frozen_program_crashes_when_it_thaws() {
    let (mut world, _) = world_with(ContainerScript::new("job").ailment(exits(3, 1_000, Lives::Every)));
    world.person("job", &Act::Pause).unwrap();
    assert_eq!(actions(&run(&mut world, 10_000)), [Pause]);
    world.person("job", &Act::Unpause).unwrap();
    assert_eq!(actions(&run(&mut world, 10_000)), [Unpause, Die(3)]);
}

#[test]
fn the_restart_policy_waits_longer_each_time() {
    let mut script = ContainerScript::new("loop").restart(RestartMode::Always).ailment(exits(3, 10, Lives::Every));
    script.start_ms = 0;
    let (mut world, id) = world_with(script);
    let dies: Vec<i64> = run(&mut world, 300_000)
        .iter()
        .filter(|e| matches!(&e.what, Happening::Event(event) if event.action == Die(3)))
        .map(|e| e.at)
        .collect();
    let gaps: Vec<i64> = dies.windows(2).map(|pair| pair[1] - pair[0] - 10).collect();
    assert_eq!(gaps[..11], [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000]);
    assert_eq!(state(&world, id), ContainerState::Restarting);
    assert_eq!(world.inspect(id).unwrap().restart_count, u32::try_from(dies.len()).unwrap());
}

#[test]
fn an_exhausted_policy_leaves_it_exited() {
    let script = ContainerScript::new("loop").restart(RestartMode::OnFailure(2)).ailment(exits(3, 10, Lives::Every));
    let (mut world, id) = world_with(script);
    assert_eq!(actions(&run(&mut world, 60_000)), [Die(3), Start, Die(3), Start, Die(3)]);
    assert_eq!((state(&world, id), world.inspect(id).unwrap().restart_count), (ContainerState::Exited(3), 2));
}

#[test]
fn changes_during_the_policy_s_wait() {
    let script = ContainerScript::new("loop").restart(RestartMode::Always).ailment(exits(3, 10, Lives::First(1)));
    let (mut world, id) = world_with(script.clone());
    run(&mut world, 20);
    assert_eq!(state(&world, id), ContainerState::Restarting);
    world.begin_change(id, &Change::Restart, None);
    assert_eq!(actions(&run(&mut world, 60_000)), [Stop, Start, Restart], "no kill: there is no process");
    assert_eq!(world.inspect(id).unwrap().restart_count, 0);

    let (mut world, id) = world_with(script);
    run(&mut world, 20);
    world.begin_change(id, &Change::Stop, None);
    assert_eq!(actions(&run(&mut world, 60_000)), [Stop]);
    assert_eq!(state(&world, id), ContainerState::Exited(3));
}

#[test]
fn a_signal_on_request_turns_the_policy_off() {
    let script = ContainerScript::new("web").restart(RestartMode::Always).ailment(exits(7, 1_000, Lives::Every));
    let (mut world, _) = world_with(script);
    world.begin_change(world.find("web").unwrap(), &Change::Signal(1), None);
    assert_eq!(actions(&run(&mut world, 60_000)), [Kill(1), Die(7)]);
}

#[test]
fn while_what_all_share_is_away_nothing_serves() {
    let (mut world, id) = world_with(ContainerScript::new("web").healthcheck(Duration::from_secs(5), 2));
    run(&mut world, 6_000);
    world.fault(Fault::NothingServes { for_ms: 20_000 });
    assert_eq!(world.probe(id, 80), ProbeResult::Refused);
    assert_eq!(actions(&run(&mut world, 15_000)), [Health(EngineHealth::Unhealthy)]);
    assert_eq!(actions(&run(&mut world, 15_000)), [Health(EngineHealth::Healthy)]);
    assert!(matches!(world.probe(id, 80), ProbeResult::Answered { .. }));
}

#[test]
fn a_healthcheck_follows_what_a_probe_meets() {
    let sick =
        Ailment::Sick { manner: Manner::Status(500), after_ms: 12_000, for_ms: Some(20_000), lives: Lives::Every };
    let script = ContainerScript::new("web").healthcheck(Duration::from_secs(5), 2).ailment(sick);
    let (mut world, id) = world_with(script);
    assert_eq!(state(&world, id), ContainerState::Running(EngineHealth::Starting));
    assert_eq!(actions(&run(&mut world, 6_000)), [Health(EngineHealth::Healthy)]);
    assert_eq!(actions(&run(&mut world, 20_000)), [Health(EngineHealth::Unhealthy)]);
    assert!(!world.truth(id).unwrap().serves);
    assert_eq!(actions(&run(&mut world, 20_000)), [Health(EngineHealth::Healthy)]);
    assert!(world.truth(id).unwrap().serves);
}

#[test]
fn sickness_shows_in_probes_and_ends_with_a_life_or_a_cure() {
    let sick = |manner| Ailment::Sick { manner, after_ms: 1_000, for_ms: None, lives: Lives::First(1) };
    for (manner, met) in [(Manner::Hangs, ProbeResult::Hung), (Manner::Refuses, ProbeResult::Refused)] {
        let (mut world, id) = world_with(ContainerScript::new("web").ailment(sick(manner)));
        assert!(world.probe(id, 80).passes(Duration::from_secs(1)));
        run(&mut world, 1_000);
        assert_eq!(world.probe(id, 80), met);
        assert_eq!(world.probe(id, 81), ProbeResult::Refused);
        world.begin_change(id, &Change::Restart, None);
        run(&mut world, 2_000);
        assert!(world.truth(id).unwrap().serves);
    }
    let mut script = ContainerScript::new("web").ailment(sick(Manner::Slow(9_000)));
    script.cures = vec![Cure::Signal(1)];
    let (mut world, id) = world_with(script);
    run(&mut world, 1_000);
    assert!(!world.truth(id).unwrap().serves);
    world.begin_change(id, &Change::Exec(vec!["check".to_owned()]), None);
    assert_eq!(answers(&run(&mut world, 10))[0].1, Ok(Changed::CommandFailed(1)));
    world.begin_change(id, &Change::Signal(1), None);
    run(&mut world, 10);
    assert!(world.truth(id).unwrap().serves);
}

#[test]
fn what_will_not_start_says_so() {
    let script = ContainerScript::new("web").ailment(Ailment::WontStart { lives: Lives::After(1) });
    let (mut world, id) = world_with(script);
    world.begin_change(id, &Change::Restart, None);
    let events = run(&mut world, 1_000);
    assert_eq!(actions(&events), [Kill(15), Die(0), Stop]);
    assert!(matches!(answers(&events)[0].1, Err(EngineError::Failed { status: 500, .. })));
    assert_eq!(state(&world, id), ContainerState::Exited(128));
}

#[test]
fn rm_containers_go_when_they_exit() {
    let mut script = ContainerScript::new("tmp").ailment(exits(0, 10, Lives::Every));
    script.auto_remove = true;
    let (mut world, id) = world_with(script);
    assert_eq!(actions(&run(&mut world, 1_000)), [Die(0), Destroy]);
    assert_eq!(world.inspect(id), None);
}

#[test]
fn deployments_follow_their_tools() {
    for (by, expected) in [
        (Deployment::Compose1, vec![Kill(15), Die(0), Stop, Rename, Create, Start, Destroy]),
        (Deployment::Compose2, vec![Create, Kill(15), Die(0), Stop, Destroy, Rename, Start]),
        (Deployment::Watchtower, vec![Kill(15), Die(0), Stop, Destroy, Create, Start]),
    ] {
        let (mut world, old) = world_with(ContainerScript::new("web").compose("shop", "web", 1));
        world.person("web", &Act::Deploy(by)).unwrap();
        assert_eq!(actions(&run(&mut world, 5_000)), expected, "{by:?}");
        let new = world.find("web").unwrap();
        assert!(new != old && world.list().len() == 1 && world.truth(new).unwrap().serves, "{by:?}");
    }
}

#[test]
fn changes_to_one_container_wait_for_each_other() {
    let (mut world, id) = world_with(ContainerScript::new("web"));
    world.begin_change(id, &Change::Restart, None);
    run(&mut world, 50);
    world.person("web", &Act::Stop).unwrap();
    assert_eq!(actions(&run(&mut world, 5_000)), [Die(0), Stop, Start, Restart, Kill(15), Die(0), Stop]);
}

#[test]
fn an_engine_that_stops_takes_its_containers_with_it_and_revives_what_its_policy_wants() {
    let mut world = World::new(1);
    let plain = world.add(ContainerScript::new("plain")).short();
    let kept = world.add(ContainerScript::new("kept").restart(RestartMode::UnlessStopped)).short();
    let stopped = world.add(ContainerScript::new("stopped").restart(RestartMode::UnlessStopped)).short();
    world.person("stopped", &Act::Stop).unwrap();
    run(&mut world, 1_000);
    let ticket = world.begin_change(plain, &Change::Restart, None);
    world.fault(Fault::Shutdown { down_ms: 60_000 });
    assert_eq!(world.reach(), Reach::Refused);
    let events = run(&mut world, 30_000);
    assert_eq!(events.last().unwrap().what, Happening::StreamsEnded);
    assert_eq!(actions(&events).iter().filter(|a| **a == Stop).count(), 2);
    assert!(events.iter().any(|e| matches!(&e.what,
        Happening::Answered { ticket: t, result: Err(EngineError::Unreachable(_)) } if *t == ticket)));
    let events = run(&mut world, 60_000);
    assert_eq!(events.iter().map(|e| &e.what).collect::<Vec<_>>(), [&Happening::EngineUp]);
    assert_eq!(world.events_since(0).iter().map(|e| e.action).collect::<Vec<_>>(), [Start], "the ring began anew");
    assert_eq!([plain, kept, stopped].map(|id| world.truth(id).unwrap().running), [false, true, false]);
}

#[test]
fn who_ignores_an_engine_s_stop_holds_it_up_and_a_waiting_one_is_only_stopped() {
    let mut world = World::new(1);
    let mut deaf = ContainerScript::new("deaf");
    deaf.on_stop = OnStop::Ignores;
    let deaf = world.add(deaf).short();
    let crashes = ContainerScript::new("loop").restart(RestartMode::Always).ailment(exits(3, 10, Lives::Every));
    let crashes = world.add(crashes).short();
    run(&mut world, 20);
    world.fault(Fault::Shutdown { down_ms: 5_000 });
    let events = run(&mut world, 12_000);
    assert_eq!(actions(&events), [Stop, Kill(15), Kill(9), Die(137), Stop]);
    assert_eq!((events.last().unwrap().at, &events.last().unwrap().what), (10_025, &Happening::StreamsEnded));
    run(&mut world, 60_000);
    assert_eq!([deaf, crashes].map(|id| world.truth(id).unwrap().lives > 1), [false, true]);
}

#[test]
fn a_start_that_the_engine_s_end_cut_off_never_happens() {
    let mut script = ContainerScript::new("slow");
    script.start_ms = 3_000;
    let (mut world, id) = world_with(script);
    world.begin_change(id, &Change::Restart, None);
    run(&mut world, 500);
    world.fault(Fault::Shutdown { down_ms: 100 });
    run(&mut world, 60_000);
    assert_eq!(state(&world, id), ContainerState::Exited(0));
}

#[test]
fn a_power_cut_ends_everything_unseen() {
    let (mut world, id) = world_with(ContainerScript::new("web"));
    world.fault(Fault::PowerCut { down_ms: 5_000 });
    let events = run(&mut world, 60_000);
    assert_eq!(events.iter().map(|e| &e.what).collect::<Vec<_>>(), [&Happening::StreamsEnded, &Happening::EngineUp]);
    assert_eq!(state(&world, id), ContainerState::Exited(255));
}

#[test]
fn a_hung_engine_goes_on_where_it_was() {
    let (mut world, id) = world_with(ContainerScript::new("web"));
    world.fault(Fault::Hang { for_ms: 60_000 });
    assert_eq!(world.reach(), Reach::Hangs);
    world.begin_change(id, &Change::Restart, None);
    assert_eq!(run(&mut world, 59_000), []);
    let events = run(&mut world, 10_000);
    assert_eq!(actions(&events), [Kill(15), Die(0), Stop, Start, Restart]);
    assert_eq!(answers(&events), [(60_405, Ok(Changed::Done))]);
}

#[test]
fn events_are_lost_late_or_repeated() {
    let crash = || ContainerScript::new("job").ailment(exits(3, 1_000, Lives::Every));
    let (mut world, _) = world_with(crash());
    world.fault(Fault::LoseEvents { for_ms: 2_000 });
    assert_eq!(run(&mut world, 10_000), []);
    let (mut world, _) = world_with(crash());
    world.fault(Fault::DelayEvents { by_ms: 4_000, for_ms: 2_000 });
    let events = run(&mut world, 10_000);
    assert_eq!((events[0].at, actions(&events)), (5_000, vec![Die(3)]));
    let (mut world, _) = world_with(crash());
    world.fault(Fault::RepeatEvents { for_ms: 2_000 });
    let events = run(&mut world, 10_000);
    assert_eq!(events[0].what, events[1].what);
    assert_eq!(events.len(), 2);
}

#[test]
fn late_answers_and_denials() {
    let (mut world, id) = world_with(ContainerScript::new("web"));
    world.fault(Fault::SlowAnswers { by_ms: 700, for_ms: 5_000 });
    assert_eq!(world.reach(), Reach::After(700));
    world.begin_change(id, &Change::Restart, None);
    assert_eq!(answers(&run(&mut world, 5_000)), [(405 + 700, Ok(Changed::Done))]);
    world.fault(Fault::DenyChanges { for_ms: 5_000 });
    world.begin_change(id, &Change::Restart, None);
    let events = run(&mut world, 1_000);
    assert!(matches!(answers(&events)[0].1, Err(EngineError::NotPermitted(_))));
    assert_eq!(actions(&events), []);
}

#[test]
fn the_past_is_kept_256_events_long() {
    let (mut world, _) = world_with(ContainerScript::new("web"));
    for n in 0..200 {
        world.person("web", if n % 2 == 0 { &Act::Pause } else { &Act::Unpause }).unwrap();
    }
    for _ in 0..100 {
        world.person("web", &Act::Pause).unwrap();
        world.person("web", &Act::Unpause).unwrap();
    }
    let kept = world.events_since(0);
    assert_eq!(kept.len(), 256);
    assert_eq!(world.events_since(kept[200].time).len(), 56);
    assert!(kept.windows(2).all(|pair| pair[0].time < pair[1].time));
}

#[test]
fn a_line_is_logged_at_each_start_and_no_failed_one() {
    let script = ContainerScript::new("web").ailment(Ailment::WontStart { lives: Lives::After(2) });
    let (mut world, id) = world_with(script);
    for _ in 0..3 {
        world.begin_change(id, &Change::Restart, None);
        run(&mut world, 1_000);
    }
    let logs = world.logs(id, 10).unwrap();
    let starts: Vec<&str> = logs.lines().map(|line| &line[..12]).collect();
    assert_eq!((starts, world.truth(id).unwrap().lives), (vec!["web start 1:", "web start 2:"], 4));
    assert!(logs.ends_with(&world.logs(id, 1).unwrap()) && world.logs(id, 1).unwrap().starts_with("web start 2:"));
    assert_eq!(world.logs(id, 0).unwrap(), "");
}

#[test]
fn what_can_be_run_in_a_container() {
    let (mut world, id) = world_with(ContainerScript::new("web"));
    let mut run_in_it = |command: &str| {
        world.begin_change(id, &Change::Exec(vec![command.to_owned()]), None);
        answers(&run(&mut world, 10)).remove(0).1
    };
    assert_eq!(run_in_it("true"), Ok(Changed::Done));
    assert_eq!(run_in_it("check"), Ok(Changed::Done));
    assert_eq!(run_in_it("false"), Ok(Changed::CommandFailed(1)));
    assert!(matches!(run_in_it("/bin/true"), Err(EngineError::CannotExecute { code: 127, .. })));
}

#[test]
fn secrets_are_planted_in_answers_and_logs() {
    let (world, id) = world_with(ContainerScript::new("web"));
    let ProbeResult::Answered { body, .. } = world.probe(id, 80) else { panic!("it serves") };
    assert!(body.contains("planted-secret-of-web"));
    assert!(world.logs(id, 10).unwrap().contains("planted-secret-of-web"));
}

#[test]
fn nothing_is_due_in_a_world_at_rest() {
    let (mut world, id) = world_with(ContainerScript::new("web"));
    assert_eq!(world.next_due(), None);
    world.begin_change(id, &Change::Restart, None);
    assert_eq!(world.next_due(), Some(0), "the kill event waits to be handed out");
    run(&mut world, 0);
    assert_eq!(world.next_due(), Some(100));
}

#[test]
fn an_ailment_can_come_later() {
    let (mut world, id) = world_with(ContainerScript::new("web"));
    run(&mut world, 60_000);
    world.afflict(id, Ailment::Sick { manner: Manner::Status(500), after_ms: 0, for_ms: None, lives: Lives::First(1) });
    assert!(matches!(world.probe(id, 80), ProbeResult::Answered { status: 500, .. }));
    world.afflict(id, exits(3, 0, Lives::First(1)));
    assert_eq!(actions(&run(&mut world, 0)), [Die(3)]);
    world.begin_change(id, &Change::Start, None);
    run(&mut world, 60_000);
    assert!(world.truth(id).unwrap().serves);
}

#[test]
fn of_many_events_some_are_lost_some_come_twice_and_some_late() {
    let noise = |lost, twice, late| Fault::Noise { lost, twice, late, by_ms: 700, for_ms: 1_000_000 };
    let told = |fault: Fault| {
        let (mut world, _) = world_with(ContainerScript::new("web"));
        world.fault(fault);
        let mut heard = 0;
        for at in 0..100 {
            world.person("web", if at % 2 == 0 { &Act::Pause } else { &Act::Unpause }).unwrap();
            heard += run(&mut world, 1_000).len();
        }
        (heard, world.events_lost())
    };
    assert_eq!(told(noise(0, 0, 0)), (100, 0));
    let (heard, lost) = told(noise(30, 0, 0));
    assert!((10..60).contains(&lost) && heard + usize::try_from(lost).unwrap() == 100, "{lost} lost, {heard} heard");
    assert!((110..160).contains(&told(noise(0, 30, 0)).0));
    let (mut world, _) = world_with(ContainerScript::new("web"));
    world.fault(noise(0, 0, 100));
    world.person("web", &Act::Pause).unwrap();
    world.person("web", &Act::Unpause).unwrap();
    assert_eq!(run(&mut world, 699), []);
    assert_eq!(actions(&run(&mut world, 1_000)), [Pause, Unpause], "in order");
}

#[test]
fn who_is_cut_off_goes_on_by_itself() {
    let (mut world, id) = world_with(ContainerScript::new("job").ailment(exits(3, 5_000, Lives::Every)));
    world.fault(Fault::CutOff { for_ms: 10_000 });
    assert_eq!(run(&mut world, 1).iter().map(|e| &e.what).collect::<Vec<_>>(), [&Happening::StreamsEnded]);
    assert_eq!((world.reach(), world.is_cut_off()), (Reach::Refused, true));
    assert_eq!(world.person("job", &Act::Pause), Ok(()));
    assert_eq!(world.person("job", &Act::Unpause), Ok(()));
    run(&mut world, 9_999);
    assert_eq!((world.reach(), state(&world, id)), (Reach::After(0), ContainerState::Exited(3)));
}

#[test]
fn who_relies_on_another_fails_with_it() {
    let relies = |reconnects| vec![Reliance { on: "db".to_owned(), reconnects }];
    let mut world = World::new(1);
    let db = world.add(ContainerScript::new("db")).short();
    let [patient, stubborn] = [("patient", true), ("stubborn", false)].map(|(name, reconnects)| {
        let mut script = ContainerScript::new(name);
        script.relies_on = relies(reconnects);
        world.add(script).short()
    });
    let serve = |world: &World| [db, patient, stubborn].map(|id| world.truth(id).unwrap().serves);
    run(&mut world, 1_000);
    assert_eq!(serve(&world), [true; 3]);
    world.person("db", &Act::Stop).unwrap();
    run(&mut world, 1_000);
    assert_eq!(serve(&world), [false; 3]);
    assert!(matches!(world.probe(patient, 80), ProbeResult::Answered { status: 503, .. }));
    world.person("db", &Act::Start).unwrap();
    run(&mut world, 1_000);
    assert_eq!(serve(&world), [true, true, false], "one does not connect again by itself");
    world.begin_change(stubborn, &Change::Restart, None);
    run(&mut world, 1_000);
    assert_eq!(serve(&world), [true; 3]);
}
