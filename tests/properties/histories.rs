//! Random histories, plausible and not, judged by the laws and by what must hold whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso_policy::Input;
use iaso_policy::action::{Cause, Charge, Operation, RolloutResult};
use iaso_policy::id::{AttemptId, CheckId, CredentialKey, Instance, OrderId, RolloutId, ServiceId};
use iaso_policy::input::{
    CheckResult, Exempt, HostLink, Order, Outcome, RestartPolicy, RolloutStep, Sight, State, Witness,
};
use iaso_policy::laws::Violation;
use iaso_policy::record::{Event, Verdict};
use iaso_policy::spec::{AfterGap, Budget, FleetSpec, Lifecycle, Mode, OnFailure, ServiceSpec, Step, Threshold};
use iaso_policy::time::Mono;
use iaso_policy::view::ServiceView;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::rig::{HEALTHY, HOST, RUNNING, Rig, UNHEALTHY, check, secs, spec};

const SERVICES: u32 = 3;

/// The same cases in each run, unless `PROPTEST_RNG_SEED` or `PROPTEST_CASES` ask for others.
pub(crate) fn config() -> ProptestConfig {
    let wanted = ProptestConfig::default();
    let rng_seed = if std::env::var_os("PROPTEST_RNG_SEED").is_some() { wanted.rng_seed } else { RngSeed::Fixed(20) };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { wanted.cases } else { 100 };
    ProptestConfig { failure_persistence: None, rng_seed, max_shrink_iters: 20_000, cases, ..wanted }
}

/// One thing that happens to a service, to the engine, or to Iaso.
#[derive(Debug, Clone)]
enum Move {
    Pass(u32),
    Skip(u32),
    WallJumps(i64),
    Becomes(u32, State, bool),
    Starts(u32, State, bool),
    Recreated(u32, State),
    StopSignal(u32),
    Change(u32),
    Check(u32, usize, CheckResult),
    OldCheck(u32, usize, CheckResult),
    Finish(Outcome),
    CarryOut,
    LateFinish(usize, Outcome),
    Order(u32, Order),
    /// A calendar's window is open for so many milliseconds, or none is.
    Window(u32, Option<u32>),
    /// A person orders so many milliseconds of it.
    Maintain(u32, u32, bool),
    Store(bool),
    /// The disk of the engine is full, or has room again.
    Disk(bool),
    Link(HostLink),
    Redefine(u32, Box<ServiceSpec>),
    /// Out of the configuration, and after a while in it again.
    Undeclare(u32, u32),
    Rules(u32, u32),
    /// For one of two credentials.
    RollOut {
        credential: u64,
        steps: Vec<(u32, bool, bool)>,
        splay: u32,
        undoable: bool,
    },
    /// Of the rollout so many before the newest.
    Undo(u64),
    Settle(u64),
    Kill {
        clean: bool,
        away: u32,
        reboot: bool,
    },
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        4 => Just(RUNNING),
        2 => Just(HEALTHY),
        2 => Just(UNHEALTHY),
        1 => Just(State::Paused),
        1 => Just(State::Restarting),
        1 => Just(State::Gone),
        1 => Just(State::Created),
        1 => Just(State::Removing),
        6 => prop_oneof![Just(0), Just(1), Just(137), Just(143)]
            .prop_map(|code| State::Exited { code, witness: Witness::Event }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(Outcome::Done),
        1 => Just(Outcome::Moot),
        2 => Just(Outcome::Failed),
        1 => Just(Outcome::CommandFailed),
        1 => Just(Outcome::NotPermitted),
        1 => Just(Outcome::NotFound),
        1 => Just(Outcome::TimedOut),
        1 => Just(Outcome::Unreachable),
        1 => Just(Outcome::Uncharged),
        1 => Just(Outcome::Refused),
        1 => Just(Outcome::LeftAlone),
        1 => Just(Outcome::Crashed),
    ]
}

fn result() -> impl Strategy<Value = CheckResult> {
    prop_oneof![3 => Just(CheckResult::Failed), 2 => Just(CheckResult::Passed), 1 => Just(CheckResult::Late)]
}

prop_compose! {
    fn any_spec(name: &'static str)(
        checks in vec((0_u64..4, prop::bool::weighted(0.7), 1_u8..4, 0_u8..3, 1_u8..3), 0..3),
        ladder in vec(
            prop_oneof![3 => Just(Step::Restart), 1 => Just(Step::Start), 1 => Just(Step::Signal(1)), 1 => Just(Step::Exec(0))],
            1..3,
        ),
        (max, window, attempts) in (0_u32..4, 1_u64..900, 1_u32..5),
        (gap, heal_exits, mode) in (any::<bool>(), prop::bool::weighted(0.9), 0_u8..10),
        (lifecycle, start_period, stable) in (0_u8..3, 0_u64..90, 0_u64..20),
        retry in prop::option::of(1_u64..2000),
        (stateful, notice) in (prop::bool::weighted(0.3), prop_oneof![3 => Just(0), 1 => 0_u64..100]),
    ) -> ServiceSpec {
        let mut made = spec(name);
        made.checks = checks
            .into_iter()
            .map(|(fingerprint, heals, failures, more, success_threshold)| iaso_policy::spec::CheckSpec {
                on_failure: if heals { OnFailure::Heal } else { OnFailure::Alert },
                failure: Threshold { failures, of: failures + more },
                success_threshold,
                ..check(fingerprint)
            })
            .collect();
        made.checks.dedup_by_key(|check| check.fingerprint);
        made.recovery.ladder = ladder;
        made.recovery.restarts = Budget { max, window: secs(window) };
        made.recovery.max_attempts = attempts;
        made.recovery.verify_stable = secs(stable);
        made.recovery.quarantine_retry = retry.map(secs);
        made.recovery.mode = match mode { 0 => Mode::Notify, 1 => Mode::Off, _ => Mode::Auto };
        made.after_gap = if gap { AfterGap::Start } else { AfterGap::Leave };
        made.lifecycle = [Lifecycle::Auto, Lifecycle::Running, Lifecycle::Completed][usize::from(lifecycle)];
        made.heal_exits = heal_exits;
        made.start_period = secs(start_period);
        (made.stateful, made.recovery.notice) = (stateful, secs(notice));
        made
    }
}

fn one_move() -> impl Strategy<Value = Move> {
    let who = || 0..SERVICES;
    let seen = || prop::bool::weighted(0.8);
    let link = prop_oneof![
        Just(HostLink::Down),
        Just(HostLink::Up { engine_started: false }),
        Just(HostLink::Up { engine_started: true }),
    ];
    let order = prop_oneof![
        Just(Order::Pause),
        Just(Order::Resume),
        any::<bool>().prop_map(|everything| Order::EndMaintenance { everything }),
        Just(Order::Acknowledge { until: None }),
        Just(Order::Restart { now: false }),
        Just(Order::Restart { now: true }),
    ];
    prop_oneof![
        8 => prop_oneof![0_u32..3_000, 0_u32..60_000, 0_u32..2_000_000].prop_map(Move::Pass),
        1 => (0_u32..30_000).prop_map(Move::Skip),
        1 => (-90_000_000_i64..90_000_000).prop_map(Move::WallJumps),
        10 => (who(), state(), seen()).prop_map(|(w, s, seen)| Move::Becomes(w, s, seen)),
        4 => (who(), state(), seen()).prop_map(|(w, s, seen)| Move::Starts(w, s, seen)),
        1 => (who(), state()).prop_map(|(w, s)| Move::Recreated(w, s)),
        2 => who().prop_map(Move::StopSignal),
        1 => who().prop_map(Move::Change),
        10 => (who(), 0_usize..3, result()).prop_map(|(w, c, r)| Move::Check(w, c, r)),
        1 => (who(), 0_usize..3, result()).prop_map(|(w, c, r)| Move::OldCheck(w, c, r)),
        4 => outcome().prop_map(Move::Finish),
        6 => Just(Move::CarryOut),
        1 => (0_usize..8, outcome()).prop_map(|(n, o)| Move::LateFinish(n, o)),
        2 => (who(), order).prop_map(|(w, o)| Move::Order(w, o)),
        2 => (who(), prop::option::weighted(0.6, 0_u32..900_000)).prop_map(|(w, open)| Move::Window(w, open)),
        1 => (who(), 1_u32..900_000, any::<bool>()).prop_map(|(w, ms, everything)| Move::Maintain(w, ms, everything)),
        1 => any::<bool>().prop_map(Move::Store),
        1 => any::<bool>().prop_map(Move::Disk),
        3 => link.prop_map(Move::Link),
        1 => (who(), any_spec("web")).prop_map(|(w, s)| Move::Redefine(w, Box::new(s))),
        2 => (who(), prop_oneof![Just(0_u32), 0_u32..30_000]).prop_map(|(w, away)| Move::Undeclare(w, away)),
        1 => (1_u32..3, 0_u32..8).prop_map(|(places, max)| Move::Rules(places, max)),
        5 => (0_u64..2, vec((who(), prop::bool::weighted(0.3), prop::bool::weighted(0.2)), 1..4), 0_u32..20_000, prop::bool::weighted(0.7))
            .prop_map(|(credential, steps, splay, undoable)| Move::RollOut { credential, steps, splay, undoable }),
        3 => (0_u64..3).prop_map(Move::Undo),
        1 => (0_u64..3).prop_map(Move::Settle),
        1 => (any::<bool>(), 0_u32..100_000, any::<bool>())
            .prop_map(|(clean, away, reboot)| Move::Kill { clean, away, reboot }),
    ]
}

#[derive(Debug, Clone)]
struct History {
    fleet: FleetSpec,
    services: Vec<(ServiceSpec, RestartPolicy, Option<Exempt>)>,
    moves: Vec<Move>,
}

fn history(length: usize) -> impl Strategy<Value = History> {
    let restart = prop_oneof![3 => Just(RestartPolicy::No), 1 => Just(RestartPolicy::Always), 1 => Just(RestartPolicy::OnFailure(2))];
    let exempt = prop_oneof![
        9 => Just(None),
        1 => prop_oneof![Just(Exempt::Itself), Just(Exempt::Orchestrated), Just(Exempt::AutoRemove), Just(Exempt::Disabled)]
            .prop_map(Some),
    ];
    let service = (any_spec("web"), restart, exempt);
    (vec(service, SERVICES as usize), 1_u32..3, 1_u32..8, vec(one_move(), 1..length)).prop_map(
        |(services, max_concurrent, host_max, moves)| History {
            fleet: FleetSpec {
                max_concurrent,
                host_budget: Budget { max: host_max, window: secs(600) },
                ..FleetSpec::default()
            },
            services,
            moves,
        },
    )
}

/// A run of a history.
struct Run {
    rig: Rig,
    fleet: FleetSpec,
    specs: BTreeMap<u32, ServiceSpec>,
    wall_jumped: bool,
    rebooted: bool,
    store_up: bool,
    /// What a kill made forgotten that was durable.
    forgotten: Vec<String>,
    /// When operations were charged, whatever Iaso remembers of it, in time that no boot begins anew.
    charged: Vec<(ServiceId, AttemptId, i64, Cause)>,
    /// What a boot's clock has to be set forward by.
    earlier_boots: i64,
    accounted: usize,
    rollouts: u64,
}

/// What is done for a credential's sake in an hour.
const fn cap(credential: u64) -> Budget {
    Budget { max: if credential == 0 { 4 } else { 8 }, window: Duration::from_secs(3600) }
}

impl Run {
    fn of(history: &History) -> Self {
        let mut run = Self::begin(history);
        for step in &history.moves {
            run.make(step);
        }
        run
    }

    fn begin(history: &History) -> Self {
        let mut rig = Rig::new(history.fleet);
        let mut specs = BTreeMap::new();
        for (number, (made, restart, exempt)) in (0..).zip(&history.services) {
            let named = named(number, made);
            rig.add_unproven(ServiceId(number), named.clone(), *restart, RUNNING);
            rig.truth.get_mut(&ServiceId(number)).unwrap().container.exempt = *exempt;
            rig.describe(ServiceId(number));
            specs.insert(number, named);
        }
        Self {
            rig,
            fleet: history.fleet,
            specs,
            wall_jumped: false,
            rebooted: false,
            store_up: true,
            forgotten: Vec::new(),
            charged: Vec::new(),
            earlier_boots: 0,
            accounted: 0,
            rollouts: 0,
        }
    }

    /// With a reload of what is configured already after every move.
    fn reloaded_ever_again(history: &History) -> Self {
        let mut run = Self::begin(history);
        for step in &history.moves {
            run.make(step);
            for (number, spec) in &run.specs {
                run.rig.step(Input::Define { service: ServiceId(*number), spec: Box::new(spec.clone()) });
            }
            run.rig.step(Input::Rules { fleet: run.fleet });
        }
        run
    }

    fn make(&mut self, step: &Move) {
        self.carry(step);
        self.account();
    }

    fn carry(&mut self, step: &Move) {
        let rig = &mut self.rig;
        let millis = |ms: u32| Duration::from_millis(u64::from(ms));
        match step {
            Move::Pass(ms) => rig.pass(millis(*ms)),
            Move::Skip(ms) => rig.skip(millis(*ms)),
            Move::WallJumps(by) => {
                self.wall_jumped = true;
                rig.wall_jumps(*by);
            }
            Move::Becomes(who, state, true) => rig.becomes(ServiceId(*who), *state),
            Move::Becomes(who, state, false) => rig.secretly(ServiceId(*who), *state),
            Move::Starts(who, state, true) => rig.starts(ServiceId(*who), *state),
            Move::Starts(who, state, false) => rig.secretly_starts(ServiceId(*who), *state),
            Move::Recreated(who, state) => {
                rig.truth.get_mut(&ServiceId(*who)).unwrap().container.instance.container += 100;
                rig.starts(ServiceId(*who), *state);
            }
            Move::StopSignal(who) => rig.stop_signal(ServiceId(*who)),
            Move::Change(who) => rig.step(Input::Change { service: ServiceId(*who) }),
            Move::Check(who, number, result) => rig.check(ServiceId(*who), *number, *result),
            Move::OldCheck(who, number, result) => {
                let instance = rig.truth[&ServiceId(*who)].container.instance;
                let began = Mono(rig.now.mono.0 - 500);
                let check = CheckId(u16::try_from(*number).unwrap());
                rig.step(Input::Checked { service: ServiceId(*who), check, instance, began, result: *result });
            }
            Move::Finish(outcome) => {
                if !rig.operations.is_empty() {
                    self.store_up &= *outcome != Outcome::Uncharged;
                    rig.finish(*outcome);
                }
            }
            Move::CarryOut => {
                if !rig.operations.is_empty() {
                    rig.carry_out();
                }
            }
            Move::LateFinish(place, outcome) => {
                if let Some(Operation { service, attempt, .. }) = rig.operations.iter().rev().nth(*place).copied() {
                    self.store_up &= *outcome != Outcome::Uncharged;
                    rig.step(Input::Finished { service, attempt, outcome: *outcome });
                }
            }
            Move::Order(who, order) => {
                rig.step(Input::Order { service: ServiceId(*who), id: OrderId(1), order: *order });
            }
            Move::Window(who, open) => {
                let until = open.map(|ms| rig.now.mono + millis(ms));
                rig.step(Input::Maintenance { service: ServiceId(*who), until });
            }
            Move::Maintain(who, ms, everything) => {
                let order = Order::Maintain { until: rig.now.mono + millis(*ms), everything: *everything };
                rig.step(Input::Order { service: ServiceId(*who), id: OrderId(1), order });
            }
            Move::Disk(full) => rig.step(Input::Disk { host: HOST, full: *full }),
            Move::Store(up) => {
                self.store_up = *up;
                rig.step(Input::Store { up: *up });
            }
            Move::Link(link) => {
                if matches!(link, HostLink::Up { .. }) {
                    list(rig);
                }
                rig.link(*link);
            }
            Move::Redefine(who, made) => {
                let mut made = named(*who, made);
                made.recovery.restarts = self.specs[who].recovery.restarts;
                rig.step(Input::Define { service: ServiceId(*who), spec: Box::new(made.clone()) });
                self.specs.insert(*who, made);
            }
            Move::Undeclare(who, away) => {
                rig.undeclare(ServiceId(*who));
                rig.pass(millis(*away));
                rig.declare(ServiceId(*who), self.specs[who].clone());
            }
            Move::Rules(max_concurrent, max) => {
                self.fleet.max_concurrent = *max_concurrent;
                self.fleet.host_budget.max = *max;
                rig.rules(self.fleet);
            }
            Move::RollOut { credential, steps, splay, undoable } => {
                self.rollouts += 1;
                let step = |signals| if signals { Step::Signal(1) } else { Step::Restart };
                rig.step(Input::RollOut {
                    rollout: RolloutId(self.rollouts),
                    credential: CredentialKey(*credential),
                    steps: steps
                        .iter()
                        .map(|(who, signals, has_it)| RolloutStep {
                            service: ServiceId(*who),
                            step: step(*signals),
                            has_it: *has_it,
                        })
                        .collect(),
                    cap: cap(*credential),
                    splay: millis(*splay),
                    undoable: *undoable,
                });
            }
            Move::Undo(back) => rig.step(Input::Undo { rollout: RolloutId(self.rollouts.saturating_sub(*back)) }),
            Move::Settle(back) => rig.step(Input::Settle { rollout: RolloutId(self.rollouts.saturating_sub(*back)) }),
            Move::Kill { clean, away, reboot } => self.kill(*clean, millis(*away), *reboot),
        }
    }

    fn kill(&mut self, clean: bool, away: Duration, reboot: bool) {
        self.rig.skip(away);
        // Views are as of the newest step.
        self.rig.step(Input::Forget { service: ServiceId(99) });
        let before: Vec<ServiceView> = self.rig.policy.views().collect();
        self.rebooted |= reboot;
        // Across a reboot only the wall clock can tell an age.
        let restores_budgets = self.store_up && !(self.rebooted && self.wall_jumped);
        if reboot {
            self.account();
            self.earlier_boots += self.rig.now.mono.0;
            self.rig.reboots();
            self.earlier_boots -= self.rig.now.mono.0;
        }
        self.rig.killed(clean, Duration::ZERO);
        self.store_up = true;
        for (number, spec) in self.specs.clone() {
            self.rig.step(Input::Define { service: ServiceId(number), spec: Box::new(spec) });
        }
        for old in before {
            let new = self.rig.view(old.service);
            let durable = |view: &ServiceView| {
                let proven: Vec<bool> = view.checks.iter().map(|check| check.proven).collect();
                (view.incident, view.paused, view.quarantine.map(|quarantine| quarantine.trials), proven)
            };
            if durable(&old) != durable(&new) {
                self.forgotten.push(format!("{:?}\nbecame\n{:?}", durable(&old), durable(&new)));
            }
            if !(reboot || self.rebooted && self.wall_jumped) && old.quarantine != new.quarantine {
                self.forgotten.push(format!("{:?} became {:?}", old.quarantine, new.quarantine));
            }
            if restores_budgets && old.budget_remaining != new.budget_remaining {
                self.forgotten.push(format!("budget {} became {}", old.budget_remaining, new.budget_remaining));
            }
        }
        list(&mut self.rig);
        self.rig.link(HostLink::Up { engine_started: reboot });
    }

    /// Keeps the books of law 1 without any of Iaso's memory.
    fn account(&mut self) {
        for record in &self.rig.records[self.accounted..] {
            match record.event {
                Event::Begun { attempt, cause, charge: Charge::Stored | Charge::Memory, .. } => {
                    self.charged.push((record.service, attempt, record.now.mono.0 + self.earlier_boots, cause));
                }
                Event::Ended { attempt, verdict: Verdict::Dropped, .. } => {
                    self.charged.retain(|(_, charged, ..)| *charged != attempt);
                }
                _ => {}
            }
        }
        self.accounted = self.rig.records.len();
    }

    fn violations_of(mut self, law: u8) -> Vec<Violation> {
        let all = std::mem::take(&mut self.rig.violations);
        all.into_iter().filter(|violation| violation.law == law).collect()
    }

    /// Ends without the judges' verdict, which other tests give.
    fn end(mut self) -> Self {
        self.rig.violations.clear();
        self
    }
}

fn credential_of(cause: Cause) -> Option<u64> {
    match cause {
        Cause::Credential { credential, .. } => Some(credential.0),
        Cause::Recovery | Cause::Operator => None,
    }
}

fn named(number: u32, made: &ServiceSpec) -> ServiceSpec {
    let name = ["web", "db", "cache"][number as usize];
    ServiceSpec { identity: spec(name).identity, ..made.clone() }
}

fn list(rig: &mut Rig) {
    for service in rig.truth.keys().copied().collect::<Vec<_>>() {
        rig.describe(service);
        rig.look(service);
    }
}

macro_rules! laws {
    ($($name:ident = $law:literal,)+) => {
        proptest! {
            #![proptest_config(config())]
            $(
                #[test]
                fn $name(history in history(120)) {
                    prop_assert_eq!(Run::of(&history).violations_of($law), []);
                }
            )+
        }
    };
}

laws! {
    law_1_budgets_hold = 1,
    law_2_one_at_a_time = 2,
    law_4_healed_means_verified = 4,
    law_5_the_operator_wins = 5,
    law_8_every_decision_has_a_reason = 8,
    law_9_nothing_is_told_twice_or_against_the_rules = 9,
    law_11_what_a_reload_has_ended_is_left_alone = 11,
    law_16_a_check_must_have_worked_before_it_may_kill = 16,
    law_17_the_engines_own_policy_goes_first = 17,
    law_18_some_are_never_targets = 18,
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn budgets_hold_whatever_iaso_remembers(history in history(120)) {
        let run = Run::of(&history).end();
        if !run.wall_jumped {
            for (service, _, at, cause) in &run.charged {
                let credential = credential_of(*cause);
                let budget = credential.map_or(run.specs[&service.0].recovery.restarts, cap);
                let window = i64::try_from(budget.window.as_millis()).unwrap();
                let within = run.charged.iter().filter(|(who, _, then, other)| {
                    let same = credential_of(*other) == credential && (credential.is_some() || who == service);
                    same && *then <= *at && at - then < window
                });
                prop_assert!(within.count() <= budget.max as usize, "{:?} {service:?} at {at}", run.charged);
            }
        }
    }

    #[test]
    fn a_change_of_a_credential_reaches_each_service_once_and_one_after_the_other(history in history(120)) {
        let run = Run::of(&history).end();
        let mut done = BTreeMap::new();
        let mut open = BTreeMap::new();
        for record in &run.rig.records {
            match record.event {
                Event::Begun { attempt, cause: Cause::Credential { rollout, undo, .. }, .. } => {
                    prop_assert_eq!(open.insert((rollout, undo), attempt), None, "the one before it is not over");
                    let before = done.insert((rollout, undo, record.service), attempt);
                    prop_assert_eq!(before, None, "twice to {:?} by {:?}", record.service, rollout);
                }
                Event::Ended { attempt, verdict, .. } => {
                    open.retain(|_, begun| *begun != attempt);
                    done.retain(|_, begun| *begun != attempt || verdict != Verdict::Dropped);
                }
                _ => {}
            }
        }
        let mut told = BTreeMap::new();
        for (rollout, undo, _) in run.rig.rolled_out.iter().filter(|(.., result)| !matches!(result, RolloutResult::Refused(_))) {
            *told.entry((*rollout, *undo)).or_insert(0) += 1;
        }
        prop_assert!(told.values().all(|times| *times == 1), "{told:?}");
    }

    #[test]
    fn a_restart_of_iaso_forgets_nothing_durable(history in history(120)) {
        prop_assert_eq!(Run::of(&history).end().forgotten, Vec::<String>::new());
    }

    #[test]
    fn the_same_history_gives_the_same_run(history in history(60)) {
        let (one, other) = (Run::of(&history).end(), Run::of(&history).end());
        prop_assert_eq!(&one.rig.log, &other.rig.log);
    }

    #[test]
    fn law_11_a_reload_of_the_same_changes_nothing(history in history(60)) {
        let (one, other) = (Run::of(&history).end(), Run::reloaded_ever_again(&history).end());
        prop_assert_eq!(&one.rig.log, &other.rig.log);
    }

    #[test]
    fn ticks_are_few(history in history(60)) {
        let mut run = Run::of(&history).end();
        let mut ticks = 0;
        let end = run.rig.now.mono + secs(3600);
        while let Some(due) = run.rig.policy.next_deadline().filter(|due| *due <= end) {
            let span = due.since(run.rig.now.mono);
            run.rig.pass(span);
            ticks += 1;
        }
        prop_assert!(ticks <= 3600 * SERVICES, "{ticks} ticks in an hour");
        let _ = run.end();
    }

    #[test]
    fn late_and_unknown_inputs_change_nothing(history in history(60), who in 0..SERVICES, old in state(), result in result(), outcome in outcome()) {
        let mut run = Run::of(&history).end();
        let rig = &mut run.rig;
        let service = ServiceId(who);
        // A transition at this very moment: whatever began before is old.
        rig.pass(Duration::from_millis(5));
        let other = if rig.view(service).state == Some(State::Paused) { RUNNING } else { State::Paused };
        rig.becomes(service, other);
        let instance = rig.truth[&service].container.instance;
        let earlier = Instance { started: instance.started - 1, ..instance };
        let (now, before) = (rig.now.mono, Mono(rig.now.mono.0 - 1));
        let views: Vec<ServiceView> = rig.policy.views().collect();
        let sight = |instance, began| Sight { instance, began, since: began, state: old };
        let check = CheckId(0);
        let unknown = ServiceId(99);
        for input in [
            Input::Seen { service, sight: sight(instance, before) },
            Input::Seen { service, sight: sight(earlier, now) },
            Input::StopSignal { service, instance, at: before },
            Input::StopSignal { service, instance: earlier, at: now },
            Input::Checked { service, check, instance, began: before, result },
            Input::Checked { service, check, instance: earlier, began: now, result },
            Input::Checked { service, check: CheckId(9), instance, began: now, result },
            Input::Finished { service, attempt: AttemptId(3), outcome },
            Input::Seen { service: unknown, sight: sight(instance, now) },
            Input::Checked { service: unknown, check, instance, began: now, result },
            Input::Finished { service: unknown, attempt: AttemptId(3), outcome },
            Input::Change { service: unknown },
            Input::Forget { service: unknown },
        ] {
            rig.step(input.clone());
            prop_assert_eq!(&rig.out, &[], "{:?}", input);
            prop_assert_eq!(rig.policy.views().collect::<Vec<_>>(), views.clone(), "{:?}", input);
        }
        let _ = run.end();
        let _ = HOST;
    }
}
