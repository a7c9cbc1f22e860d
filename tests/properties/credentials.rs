//! The keeper of credentials against a small Vault that breaks at random, crashes of Iaso included.

use iaso_policy::credential::Fault;
use iaso_policy::credential::keeper::{Kind, Task};
use iaso_policy::time::Mono;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use self::world::{HOUR, Mode, Move, Request, SECOND, Secret, Setup, World};
use crate::rig::secs;

mod world;

fn config() -> ProptestConfig {
    let wanted = ProptestConfig::default();
    let rng_seed = if std::env::var_os("PROPTEST_RNG_SEED").is_some() { wanted.rng_seed } else { RngSeed::Fixed(40) };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { wanted.cases } else { 100 };
    ProptestConfig { failure_persistence: None, rng_seed, max_shrink_iters: 20_000, cases, ..wanted }
}

fn secret() -> impl Strategy<Value = Secret> {
    let kind = prop_oneof![1 => Just(Kind::Local), 3 => Just(Kind::Stored), 6 => Just(Kind::Minted)];
    (kind, 5..900_u64, 1..8_u32, 20..7200_u64, prop::option::of(20..20_000_u64), prop::bool::weighted(0.2)).prop_map(
        |(kind, refresh, mints_per_hour, ttl, max, certificate)| Secret {
            kind,
            refresh,
            mints_per_hour,
            ttl,
            max,
            certificate,
        },
    )
}

fn setup() -> impl Strategy<Value = Setup> {
    let token = (prop::option::weighted(0.8, 60..7200_u64), prop::option::weighted(0.7, 60..40_000_u64));
    (2..12_u32, token, prop::option::weighted(0.2, 1..40_u32), 1..5000_i64).prop_map(
        |(logins_per_hour, (token_ttl, token_max), uses, latency)| Setup {
            logins_per_hour,
            token_ttl,
            token_max,
            uses,
            latency,
        },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Unreachable),
        Just(Fault::Ambiguous),
        Just(Fault::Sealed),
        Just(Fault::Standby),
        prop::option::of(0..2000_u64).prop_map(|after| Fault::RateLimited { after: after.map(secs) }),
        Just(Fault::Failing),
        Just(Fault::Denied),
        Just(Fault::NotFound),
        Just(Fault::Refused),
        Just(Fault::Malformed),
        Just(Fault::Tampered),
    ]
}

fn step() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (1..120 * SECOND).prop_map(Move::Pass),
        4 => (1..2 * HOUR).prop_map(Move::Pass),
        3 => Just(Move::Mode(Mode::Well)),
        3 => fault().prop_map(|fault| Move::Mode(Mode::Answers(fault))),
        1 => Just(Move::Mode(Mode::Breaks)),
        1 => Just(Move::Mode(Mode::Silent)),
        1 => Just(Move::Mode(Mode::Slow)),
        3 => (0..5_usize).prop_map(Move::Write),
        1 => (0..5_usize, any::<bool>()).prop_map(|(i, yes)| Move::Missing(i, yes)),
        1 => (0..5_usize, any::<bool>()).prop_map(|(i, yes)| Move::Denied(i, yes)),
        1 => Just(Move::RevokeTokens),
        1 => any::<bool>().prop_map(Move::Publishing),
        1 => (-100 * HOUR..100 * HOUR).prop_map(Move::WallJumps),
        1 => (0..5_usize).prop_map(Move::Refresh),
        1 => (0..20_usize).prop_map(Move::Forget),
        1 => Just(Move::LoginChanged),
        2 => Just(Move::Crash),
    ]
}

fn run(setup: Setup, secrets: &[Secret], moves: &[Move]) -> World {
    let mut world = World::new(setup, secrets.to_vec());
    for step in moves {
        world.make(step);
        if !world.wrong.is_empty() {
            break;
        }
    }
    world
}

proptest! {
    #![proptest_config(config())]

    /// No value that was not read last is published, and none twice; every lease is tracked, none is renewed past its end or
    /// revoked while it is in use; no deadline lies in the past; one request at a time.
    #[test]
    fn law_7_the_keeper_holds_its_rules_under_any_fault(
        setup in setup(), secrets in vec(secret(), 1..5), moves in vec(step(), 1..80)
    ) {
        prop_assert_eq!(run(setup, &secrets, &moves).wrong, Vec::<String>::new());
    }

    /// Logins and mints keep to the hour's caps, over crashes too, and nothing spins.
    #[test]
    fn law_1_logins_and_mints_are_bounded_under_any_fault(
        setup in setup(), secrets in vec(secret(), 1..5), moves in vec(step(), 1..80)
    ) {
        let world = run(setup, &secrets, &moves);
        prop_assert!(World::most_in_an_hour(&world.logins) <= setup.logins_per_hour as usize, "{:?}", world.logins);
        for (i, secret) in secrets.iter().enumerate() {
            let mints: Vec<_> = world.mints.iter().filter(|(who, _)| *who == i).map(|&(_, at)| at).collect();
            prop_assert!(World::most_in_an_hour(&mints) <= secret.mints_per_hour as usize, "{i}: {mints:?}");
        }
        let crowd = 20 + 10 * secrets.len();
        for (n, &(at, _)) in world.requests.iter().enumerate() {
            let within = world.requests[n..].iter().take_while(|(then, _)| then - at < 10 * SECOND).count();
            let orders = world.orders.iter().filter(|&&order| (order - at).abs() < 10 * SECOND).count();
            prop_assert!(within <= crowd + 5 * orders, "{within} requests in the ten seconds from {at}");
        }
    }

    /// A wall clock that jumps changes nothing.
    #[test]
    fn law_7_a_wall_clock_that_jumps_changes_no_task(
        setup in setup(), secrets in vec(secret(), 1..5), moves in vec(step(), 1..40)
    ) {
        let still: Vec<_> = moves.iter().filter(|m| !matches!(m, Move::WallJumps(_))).cloned().collect();
        prop_assert_eq!(run(setup, &secrets, &moves).log, run(setup, &secrets, &still).log);
    }

    /// Without faults nothing that is in use ends: it is replaced before, and before the token that it depends on ends.
    #[test]
    fn law_7_nothing_in_use_ends_while_vault_is_well(
        token_ttl in prop::option::of(600..7200_u64),
        token_max in prop::option::of(600..40_000_u64),
        latency in 1..2000_i64,
        secrets in vec(secret(), 1..5),
    ) {
        let setup = Setup { logins_per_hour: 1000, token_ttl, token_max, uses: None, latency };
        let secrets: Vec<_> = secrets.into_iter().map(|s| Secret { mints_per_hour: 1000, ttl: s.ttl + 100, ..s }).collect();
        let secrets: Vec<_> = secrets.into_iter().map(|s| Secret { max: s.max.map(|max| max + 100), ..s }).collect();
        let world = run(setup, &secrets, &[Move::Pass(24 * HOUR)]);
        prop_assert_eq!(&world.wrong, &Vec::<String>::new());
        prop_assert_eq!(world.lapsed, vec![]);
    }
}

const WELL: Setup =
    Setup { logins_per_hour: 10, token_ttl: Some(3600), token_max: Some(40 * 3600), uses: None, latency: 5 };
const STORED: Secret =
    Secret { kind: Kind::Stored, refresh: 300, mints_per_hour: 5, ttl: 3600, max: None, certificate: false };

/// The most requests in any time this long.
fn most_within(requests: &[(i64, Request)], window: i64) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (n, &(at, _)) in requests.iter().enumerate() {
        while at - requests[first].0 >= window {
            first += 1;
        }
        most = most.max(n + 1 - first);
    }
    most
}

#[test]
fn a_thousand_credentials_are_read_evenly_from_the_start_and_hardly_more_often_than_they_are_due() {
    let mut world = World::new(WELL, vec![STORED; 1000]);
    world.pass(20 * 60 * SECOND);
    assert_eq!(world.wrong, Vec::<String>::new());
    assert_eq!(world.in_use.len(), 1000);
    let mean = 1000.0 / 300.0;
    for window in [1, 10, 60, 300] {
        let most = most_within(&world.requests, window * SECOND);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let allowed = 2.0 * mean * window as f64;
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let many = most as f64;
        assert!(many <= allowed, "{most} in {window} s, of {allowed}");
    }
    // That is four times the refresh.
    let asked = world.requests.len();
    assert!((3400..4800).contains(&asked), "{asked}");
}

#[test]
fn a_day_without_vault_changes_nothing_and_all_is_fresh_within_a_minute_of_its_return() {
    let minted = Secret { kind: Kind::Minted, ..STORED };
    let mut secrets = vec![STORED; 270];
    secrets.extend([minted; 30]);
    let mut world = World::new(WELL, secrets);
    world.pass(10 * 60 * SECOND);
    world.mode = Mode::Answers(Fault::Sealed);
    world.pass(SECOND);
    world.requests.clear();
    world.log.clear();
    world.pass(24 * HOUR);
    let most = most_within(&world.requests, 10 * SECOND);
    assert!(most <= 8 && world.requests.len() < 9000, "{most}, {}", world.requests.len());
    assert!(world.log.iter().all(|(_, task)| !matches!(task, Task::Publish { .. })));
    assert!(world.keeper.credentials(Mono(world.now)).all(|view| view.digest.is_some() && view.stale));
    assert!(!world.keeper.session(Mono(world.now)).up);
    world.mode = Mode::Well;
    let back = Mono(world.now);
    world.pass(60 * SECOND);
    assert!(world.keeper.session(Mono(world.now)).up);
    for view in world.keeper.credentials(Mono(world.now)) {
        assert!(view.read.is_some_and(|read| read >= back) && !view.stale, "{view:?}");
    }
    assert!(most_within(&world.requests, SECOND) <= 10, "a burst");
    assert_eq!(world.wrong, Vec::<String>::new());
}
