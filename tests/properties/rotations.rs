//! Rotations under random faults, orders and crashes.

use std::time::Duration;

use iaso_policy::credential::rotation::{
    Action, Answer, Ending, Event, Halt, Input, Look, Made, Mark, Order, Outcome, Rolled, Rotation, Side, Spec, Step,
    Stored, Turns,
};
use iaso_policy::id::{CredentialId, Digest};
use iaso_policy::time::Mono;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use self::world::{Daemon, ENDLESS, OLD, World, at, spec};

mod world;

fn config(cases: u32) -> ProptestConfig {
    let wanted = ProptestConfig::default();
    let rng_seed = if std::env::var_os("PROPTEST_RNG_SEED").is_some() { wanted.rng_seed } else { RngSeed::Fixed(6) };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { wanted.cases } else { cases };
    ProptestConfig { failure_persistence: None, rng_seed, max_shrink_iters: 20_000, cases, ..wanted }
}

fn orders() -> impl Strategy<Value = Vec<(u8, Order)>> {
    let order = prop_oneof![3 => Just(Order::Rotate), 2 => Just(Order::Rollback), 1 => Just(Order::Set)];
    vec((0..40_u8, order), 1..4)
}

/// The service is told by hand before a value is set by hand.
fn give(daemon: &mut Daemon, world: &mut World, order: Order) {
    if daemon.rotation.state().halt == Some(Halt::StillUnhealthy) {
        // Who orders anything then has seen to the consumers first.
        for consumer in &mut daemon.consumers {
            (consumer.loaded, consumer.healthy) = (daemon.file, true);
        }
    }
    let told = if order == Order::Set { world.made + 1000 } else { 0 };
    if order == Order::Set {
        daemon.given = Some(Digest(told));
    }
    if daemon.order(world, order) == Answer::Taken && order == Order::Set {
        world.made += 1000;
    }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn whatever_fails_and_wherever_iaso_ends_nothing_is_lost_and_it_comes_to_rest(
        verify in any::<bool>(), retire in any::<bool>(), apply in any::<bool>(),
        dice in vec(any::<u8>(), 0..80), orders in orders(),
    ) {
        let mut world = World::new(dice);
        // Without a call the service learns from the file, which this world's does not.
        let mut daemon = Daemon::new(spec(apply, verify && apply, retire), at(world.now));
        for (after, order) in orders {
            for _ in 0..after {
                daemon.act(&mut world);
            }
            if order != Order::Set {
                give(&mut daemon, &mut world, order);
            }
        }
        daemon.settle(&mut world);
        if apply {
            daemon.judge_at_rest(&world);
        }
    }

    #[test]
    fn of_two_that_rotate_one_wins_and_the_other_changes_nothing(
        dice in prop_oneof![Just(Vec::new()), vec(any::<u8>(), 0..40)], turns in vec(any::<bool>(), 0..60),
    ) {
        // Faults come to neither before the race is run: what is judged is the race.
        let mut world = World::new(Vec::new());
        let mut daemons = [0, 1].map(|_| Daemon::new(spec(true, true, true), at(1000)));
        for daemon in &mut daemons {
            give(daemon, &mut world, Order::Rotate);
        }
        for second in turns {
            let (one, other) = (usize::from(second), usize::from(!second));
            // Time does not pass while one of them has something to do.
            if !daemons[one].queue.is_empty() || daemons[other].queue.is_empty() {
                daemons[one].act(&mut world);
            }
        }
        world.dice = dice.into_iter().filter(|die| die % 12 > 2).collect();
        let faults = !world.dice.is_empty();
        for daemon in &mut daemons {
            daemon.settle(&mut world);
        }
        let won = daemons.iter().any(|daemon| daemon.endings.contains(&Ending::Rotated));
        prop_assert!(won || faults, "without a fault one of them wins");
        let halted = daemons.iter().any(|daemon| daemon.rotation.state().run.is_some());
        prop_assert!(halted || world.accepts == world.newest().1, "the service accepts the newest version");
    }
}

/// Without a fault: what is done, in order.
fn story(daemon: &mut Daemon, world: &mut World) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..ENDLESS {
        if let Some(Action::Tell(Event::Reached(step))) = daemon.queue.front() {
            steps.push(*step);
        }
        if !daemon.act(world) {
            return steps;
        }
    }
    panic!("it does not end");
}

#[test]
fn a_rotation_goes_through_its_steps_in_order() {
    let mut world = World::new(Vec::new());
    let mut daemon = Daemon::new(spec(true, true, true), at(world.now));
    daemon.order(&world, Order::Rotate);
    let steps = story(&mut daemon, &mut world);
    let expected = [
        Step::Generated,
        Step::Stored,
        Step::Applied,
        Step::Verified,
        Step::Published,
        Step::RolledOut,
        Step::Retiring,
    ];
    assert_eq!(steps, expected);
    assert_eq!(daemon.endings, [Ending::Rotated]);
    assert_eq!((world.current, world.pending), (2, None));
    daemon.judge_at_rest(&world);
}

#[test]
fn a_value_set_by_hand_is_stored_and_published_and_no_service_is_told() {
    let mut world = World::new(Vec::new());
    let mut daemon = Daemon::new(spec(true, true, true), at(world.now));
    daemon.given = Some(Digest(7));
    assert_eq!(daemon.order(&world, Order::Set), Answer::Taken);
    while !matches!(daemon.queue.front(), Some(Action::Store { .. })) {
        assert!(daemon.act(&mut world));
    }
    // The person has told the service.
    world.accepts = Digest(7);
    daemon.settle(&mut world);
    assert!(!daemon.touched.iter().any(|action| matches!(action, Action::Apply(_))), "{:?}", daemon.touched);
    assert_eq!((daemon.endings.as_slice(), world.newest()), (&[Ending::Rotated][..], (2, Digest(7))));
    daemon.judge_at_rest(&world);
}

#[test]
fn a_rollback_stores_the_version_before_as_a_new_one() {
    let mut world = World::new(Vec::new());
    let mut daemon = Daemon::new(spec(true, true, false), at(world.now));
    daemon.order(&world, Order::Rotate);
    daemon.settle(&mut world);
    daemon.order(&world, Order::Rollback);
    daemon.settle(&mut world);
    assert_eq!(world.versions, [OLD, Digest(2), OLD]);
    daemon.judge_at_rest(&world);
}

/// A rotation by schedule whose service refuses whatever is new.
fn refusing(daemon: &mut Daemon, world: &mut World) {
    for _ in 0..ENDLESS {
        if matches!(daemon.queue.front(), Some(Action::Apply(Side::New))) {
            daemon.queue.pop_front();
            daemon.hear(world, Input::Applied(Outcome::Refused));
        } else if !daemon.act(world) || matches!(daemon.queue.front(), Some(Action::Tell(Event::Ended(_)))) {
            return;
        }
    }
    panic!("it does not end");
}

#[test]
fn failures_are_tried_again_later_and_later_and_five_in_a_row_end_the_trials() {
    let mut world = World::new(Vec::new());
    let every = Duration::from_secs(1_000_000);
    let mut daemon = Daemon::new(Spec { every: Some(every), ..spec(true, true, true) }, at(world.now));
    daemon.act(&mut world);
    let first = daemon.rotation.next_deadline(at(world.now)).unwrap().since(Mono(world.now));
    assert!(first <= every && first >= every.mul_f64(0.9), "early by a tenth at most: {first:?}");
    let mut waits = Vec::new();
    for _ in 0..5 {
        refusing(&mut daemon, &mut world);
        daemon.act(&mut world);
        let deadline = daemon.rotation.next_deadline(at(world.now));
        waits.push(deadline.map(|deadline| deadline.since(Mono(world.now)).as_secs_f64().round()));
    }
    assert_eq!(waits, [Some(600.0), Some(1200.0), Some(2400.0), Some(4800.0), None]);
    while daemon.act(&mut world) {}
    assert_eq!(daemon.halted, Some(Halt::Breaker));
    assert_eq!(world.accepts, OLD);
    daemon.judge_at_rest(&world);
    assert_eq!(daemon.order(&world, Order::Rotate), Answer::Taken, "a person may");
}

#[test]
fn a_rollout_that_cannot_be_undone_is_settled_and_so_is_one_that_a_value_set_by_hand_replaces() {
    let (mut out, now) = (Vec::new(), at(1000));
    let mut rotation = Rotation::restore(spec(false, false, false), 1, None, now, &mut out);
    rotation.order(now, Order::Rotate, &mut out);
    let new = Digest(2);
    let inputs = [
        Input::Looked(Look::Nothing { version: 0 }),
        Input::Made(Made::Value(new)),
        Input::Stored(Stored::Landed),
        Input::Marked(Outcome::Done),
        Input::Looked(Look::Found { version: 1, digest: new, mark: Mark::Pending }),
        Input::Published(Outcome::Done),
        Input::RolledOut(Rolled::Failed),
    ];
    for input in inputs {
        out.clear();
        rotation.step(now, input, &mut out);
    }
    assert_eq!(rotation.state().halt, Some(Halt::NoOld));
    assert!(out.contains(&Action::Settle), "{out:?}");
    out.clear();
    assert_eq!(rotation.order(now, Order::Set, &mut out), Answer::Taken);
    assert!(out.contains(&Action::Settle), "{out:?}");
}

#[test]
fn a_restart_keeps_the_schedule() {
    let spec = Spec { every: Some(Duration::from_secs(86_400)), ..spec(true, true, true) };
    let mut world = World::new(Vec::new());
    let mut daemon = Daemon::new(spec, at(world.now));
    daemon.act(&mut world);
    let due = daemon.rotation.next_deadline(at(world.now));
    world.now += 3_600_000;
    daemon.crash(&world);
    assert_eq!(daemon.rotation.next_deadline(at(world.now)), due);
    world.now += 864_000_000;
    assert_eq!(daemon.rotation.next_deadline(at(world.now)), Some(Mono(world.now)), "never in the past");
}

#[test]
fn while_the_store_does_not_answer_a_rotation_holds_and_nothing_is_touched() {
    let mut world = World::new(Vec::new());
    let mut daemon = Daemon::new(spec(true, true, true), at(world.now));
    daemon.order(&world, Order::Rotate);
    let (mut calls, until) = (0, world.now + 86_400_000);
    while world.now < until {
        if matches!(daemon.queue.front(), Some(Action::Store { .. } | Action::Look)) && calls > 0 {
            daemon.queue.pop_front();
            let unanswered =
                daemon.rotation.state().run.map_or(Input::Looked(Look::Unknown), |_| Input::Stored(Stored::NotDone));
            daemon.hear(&world, unanswered);
            calls += 1;
        } else {
            calls += u32::from(matches!(daemon.queue.front(), Some(Action::Look)));
            assert!(daemon.act(&mut world));
        }
    }
    assert!(calls < 330, "one call in five minutes: {calls}");
    assert!(daemon.touched.is_empty(), "{:?}", daemon.touched);
    daemon.settle(&mut world);
    assert_eq!(daemon.endings, [Ending::Rotated]);
}

#[test]
fn who_shares_services_takes_turns() {
    let (one, other, third) = (CredentialId(1), CredentialId(2), CredentialId(3));
    let shares = |a: CredentialId, b: CredentialId| a != third && b != third;
    let mut turns = Turns::default();
    assert_eq!(turns.take(one, shares), Ok(()));
    assert_eq!(turns.take(other, shares), Err(one));
    assert_eq!(turns.take(third, shares), Ok(()));
    turns.give_back(one);
    assert_eq!(turns.take(other, shares), Ok(()));
}
