//! A fleet and what happens to it over some virtual hours, drawn from a seed: data only, printed when a run fails.

use std::time::Duration;

use iaso_policy::input::Exempt;

pub use self::rollouts::Change;
use super::random::Random;
use super::script::{Ailment, ContainerScript, Cure, Lives, Manner, OnStop, RestartMode};
use super::world::{Act, Deployment, Fault, World};

mod rollouts;

/// The port that Iaso's own checks go to.
pub(super) const PORT: u16 = 80;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A fleet on one host and a timeline of what befalls engine, containers, store and Iaso itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What it was drawn from.
    pub seed: u64,
    /// Its end, in virtual milliseconds.
    pub length_ms: i64,
    /// Its containers at the beginning.
    pub fleet: Vec<Member>,
    /// What happens, by time.
    pub timeline: Vec<Moment>,
}

/// One container of the fleet, and how Iaso comes to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The container; its labels say what the other fields say.
    pub script: ContainerScript,
    /// It was started; else only created, and Iaso must not be the first to start it.
    pub started: bool,
    /// Who was asked to heal it.
    pub healer: Healer,
    /// Why Iaso must never touch it, where it must not.
    pub exempt: Option<Exempt>,
    /// A one-off container of Compose: its exit is natural.
    pub one_off: bool,
    /// Iaso's own check of it.
    pub check: Option<OwnCheck>,
}

/// Who was asked to heal a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healer {
    /// Iaso, by its own label: exits are healed too.
    Iaso,
    /// Another healer, by its label: only what runs and is unhealthy is healed.
    Autoheal,
    /// Nobody: Iaso must never touch it.
    Nobody,
}

/// A check of Iaso's own: it passes when [`World::probe`] of the container's port passes within `timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnCheck {
    /// Its cadence.
    pub interval: Duration,
    /// Its whole time.
    pub timeout: Duration,
    /// Failures in a row that make a verdict.
    pub failures: u8,
    /// Whether its failure is to be healed, not only told.
    pub heals: bool,
}

/// Something that happens at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When, in virtual milliseconds.
    pub at: i64,
    /// What.
    pub turn: Turn,
}

/// What a runner has to let happen. Spans are virtual milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// To the engine: [`World::fault`].
    Engine(Fault),
    /// A person acts: [`World::person`]. It may be refused: people try things.
    Person {
        /// On the container that has this name then.
        container: String,
        /// How.
        act: Act,
    },
    /// A container is made, unless its name is taken.
    Make(Box<Member>),
    /// A person orders Iaso.
    Order {
        /// For the container that has this name then.
        container: String,
        /// What.
        order: OrderKind,
    },
    /// Iaso is killed (`kill -9`) and started again. What it has handed to the store is kept; what waits in its queues is lost.
    KillIaso {
        /// Once it has emitted so many more actions, in the middle of a step if it comes so; 0: at once.
        after_actions: u32,
        /// From its end to its start.
        down_ms: i64,
    },
    /// Iaso is stopped in order and started again.
    StopIaso {
        /// From its end to its start.
        down_ms: i64,
    },
    /// The store refuses writes.
    StoreRefuses {
        /// For so long.
        for_ms: i64,
    },
    /// The configuration is read again.
    Reload {
        /// Whether containers are watched for their labels by it; else none is.
        discovery: bool,
    },
    /// The wall clock jumps.
    WallJumps {
        /// By so much, either way.
        by_ms: i64,
    },
    /// A credential changed, and its users are to learn of it.
    RollOut(Box<Change>),
    /// The newest change but so many is put back, whether it failed or not.
    Undo(u64),
}

/// What a person orders of Iaso.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// Leave it alone.
    Pause,
    /// Take care of it again.
    Resume,
    /// Restart it now.
    Restart {
        /// Rather end an attempt in flight than be refused.
        now: bool,
    },
}

impl Scenario {
    /// A scenario for the seed: 3 to 20 containers, 1 to 4 hours.
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let length_ms = random.between(1..=4) * HOUR;
        let count = random.between(3..=20);
        let fleet: Vec<Member> = (0..count).map(|n| member(&mut random, n)).collect();
        let mut timeline = Vec::new();
        for _ in 0..random.between(0..=6 * (length_ms / HOUR)) {
            let at = random.between(SECOND..=length_ms - SECOND);
            let subject = random.pick(&fleet).clone();
            turns(&mut random, at, &subject, &mut timeline);
        }
        rollouts::draw(&mut Random::new(!seed), &fleet, length_ms, &mut timeline);
        outages(&mut Random::new(seed.rotate_left(32)), length_ms, &mut timeline);
        timeline.retain(|moment| moment.at < length_ms);
        timeline.sort_by_key(|moment| moment.at);
        Self { seed, length_ms, fleet, timeline }
    }

    /// The world at the scenario's beginning, what runs just started; that is no news any more.
    pub fn world(&self) -> World {
        let mut world = World::new(self.seed);
        for member in &self.fleet {
            member.make(&mut world);
        }
        world.advance(0, &mut Vec::new());
        world
    }
}

impl Member {
    fn make(&self, world: &mut World) {
        if world.find(&self.script.name).is_some() {
            return;
        }
        if self.started {
            world.add(self.script.clone());
        } else {
            world.create(self.script.clone());
        }
    }
}

impl Turn {
    /// Lets it happen to the world, when it is of the world; false when it is for the runner. What the engine refuses a
    /// person counts as having happened.
    pub fn befall(&self, world: &mut World) -> bool {
        match self {
            Self::Engine(fault) => world.fault(*fault),
            Self::Person { container, act } => drop(world.person(container, act)),
            Self::Make(member) => member.make(world),
            _ => return false,
        }
        true
    }
}

fn member(random: &mut Random, number: i64) -> Member {
    let name = format!("c{number:02}");
    let mut script = ContainerScript::new(&name);
    script.start_ms = random.between(50..=2_000);
    script.boot_ms = *random.pick(&[0, 0, 500, 8_000, 40_000]);
    script.restart = *random.pick(&[
        RestartMode::No,
        RestartMode::No,
        RestartMode::Always,
        RestartMode::UnlessStopped,
        RestartMode::OnFailure(0),
        RestartMode::OnFailure(3),
    ]);
    script.on_stop = match random.between(0..=9) {
        0 => OnStop::Ignores,
        1 => OnStop::Stuck,
        2..=4 => OnStop::Exits { code: 143, after_ms: 5 },
        _ => OnStop::Exits { code: 0, after_ms: random.between(1..=3_000) },
    };
    if random.chance(20) {
        script.stop_grace = Some(Duration::from_secs(2));
    }
    let healer = match random.between(0..=9) {
        0 => Healer::Nobody,
        1..=2 => Healer::Autoheal,
        _ => Healer::Iaso,
    };
    script = match healer {
        Healer::Iaso => script.label("iaso.enable", "true"),
        Healer::Autoheal => script.label("autoheal", "true"),
        Healer::Nobody => script,
    };
    let one_off = random.chance(5);
    if one_off || random.chance(50) {
        script = script.compose("shop", &name, 1);
    }
    if one_off {
        script = script.label("com.docker.compose.oneoff", "True");
    }
    let exempt = match random.between(0..=19) {
        0 => Some(Exempt::AutoRemove),
        1 => Some(Exempt::Orchestrated),
        2 => Some(Exempt::Disabled),
        _ => None,
    };
    match exempt {
        Some(Exempt::AutoRemove) => {
            script.auto_remove = true;
            // An engine takes no restart policy beside `--rm`.
            script.restart = RestartMode::No;
        }
        Some(Exempt::Orchestrated) => script = script.label("com.docker.swarm.task.id", "task"),
        Some(Exempt::Disabled) => {
            script = script.label("iaso.enable", random.pick::<&str>(&["false", "0", "No", "OFF"]));
        }
        _ => {}
    }
    if random.chance(50) {
        let interval = Duration::from_secs(*random.pick(&[2, 5, 30]));
        script = script.healthcheck(interval, u32::try_from(random.between(1..=4)).unwrap_or(1));
    }
    let check = random.chance(50).then(|| OwnCheck {
        interval: Duration::from_secs(*random.pick(&[5, 30])),
        timeout: Duration::from_secs(5),
        failures: u8::try_from(random.between(1..=4)).unwrap_or(1),
        heals: random.chance(80),
    });
    for _ in 0..*random.pick(&[0, 0, 1, 1, 1, 2]) {
        script.ailments.push(ailment(random));
    }
    if random.chance(15) {
        script.cures.push(*random.pick(&[Cure::Signal(1), Cure::Exec]));
        script = script.label("iaso.recovery.ladder", "signal:HUP, restart");
    }
    if let Some(check) = check {
        script = script
            .label("iaso.check.app.url", &format!("http://{{address}}:{PORT}/"))
            .label("iaso.check.app.interval", &format!("{}s", check.interval.as_secs()))
            .label("iaso.check.app.timeout", &format!("{}s", check.timeout.as_secs()))
            .label("iaso.check.app.failure_threshold", &check.failures.to_string())
            .label("iaso.check.app.on_failure", if check.heals { "heal" } else { "alert" });
    }
    Member { script, started: random.chance(93), healer, exempt, one_off, check }
}

fn ailment(random: &mut Random) -> Ailment {
    let lives = match random.between(0..=9) {
        0..=3 => Lives::First(1),
        4..=6 => Lives::First(u32::try_from(random.between(2..=8)).unwrap_or(2)),
        7 => Lives::After(1),
        _ => Lives::Every,
    };
    let after_ms = match random.between(0..=2) {
        0 => random.between(10..=2 * SECOND),
        1 => random.between(2 * SECOND..=5 * MINUTE),
        _ => random.between(5 * MINUTE..=2 * HOUR),
    };
    match random.between(0..=9) {
        0..=2 => Ailment::Exits { code: *random.pick(&[1, 3, 127, 139]), after_ms, lives },
        3 => Ailment::Exits { code: 0, after_ms, lives },
        4 => Ailment::OutOfMemory { after_ms, lives },
        5 => Ailment::WontStart { lives: Lives::After(u32::try_from(random.between(1..=3)).unwrap_or(1)) },
        _ => {
            let manner =
                *random.pick(&[Manner::Status(500), Manner::Hangs, Manner::Refuses, Manner::Slow(20 * SECOND)]);
            let for_ms = random.chance(30).then(|| random.between(SECOND..=20 * MINUTE));
            Ailment::Sick { manner, after_ms, for_ms, lives }
        }
    }
}

/// Outages of what all containers share.
fn outages(random: &mut Random, length_ms: i64, timeline: &mut Vec<Moment>) {
    for _ in 0..*random.pick(&[0, 0, 1, 1, 2]) {
        let for_ms = *random.pick(&[10 * SECOND, MINUTE, 4 * MINUTE, 20 * MINUTE]) + random.between(0..=MINUTE);
        let turn = Turn::Engine(Fault::NothingServes { for_ms });
        timeline.push(Moment { at: random.between(MINUTE..=length_ms), turn });
    }
}

/// One happening with what belongs to it.
fn turns(random: &mut Random, at: i64, member: &Member, timeline: &mut Vec<Moment>) {
    let name = &member.script.name;
    let mut push = |at: i64, turn: Turn| timeline.push(Moment { at, turn });
    let person = |act: Act| Turn::Person { container: name.clone(), act };
    let order = |order: OrderKind| Turn::Order { container: name.clone(), order };
    let soon = at + random.between(0..=2 * MINUTE);
    let later = at + random.between(SECOND..=30 * MINUTE);
    match random.between(0..=18) {
        0 | 1 => {
            push(at, person(Act::Stop));
            if random.chance(50) {
                push(later, person(Act::Start));
            }
        }
        2 => push(at, person(Act::Restart)),
        3 => push(at, person(Act::Kill(*random.pick(&[9, 9, 15, 1])))),
        4 => {
            push(at, person(Act::Pause));
            push(later, person(Act::Unpause));
        }
        5 => {
            push(at, person(if random.chance(50) { Act::Remove } else { Act::Rename(format!("{name}-old")) }));
            if random.chance(70) {
                push(later, Turn::Make(Box::new(member.clone())));
            }
        }
        6 | 7 => {
            let by = *random.pick(&[Deployment::Compose1, Deployment::Compose2, Deployment::Watchtower]);
            push(at, person(Act::Deploy(by)));
        }
        8 => {
            let down_ms = random.between(100..=10 * MINUTE);
            push(at, Turn::Engine(Fault::Shutdown { down_ms }));
        }
        9 => {
            // What a person stops just before the engine does is a person's stop all the same.
            push(at, person(Act::Stop));
            push(soon, Turn::Engine(Fault::Shutdown { down_ms: random.between(SECOND..=MINUTE) }));
        }
        10 => push(at, Turn::Engine(Fault::PowerCut { down_ms: random.between(SECOND..=5 * MINUTE) })),
        11 => push(at, Turn::Engine(Fault::Hang { for_ms: random.between(SECOND..=3 * MINUTE) })),
        12 => {
            push(at, Turn::Engine(Fault::LoseEvents { for_ms: 3 * MINUTE }));
            push(soon, person(random.pick(&[Act::Stop, Act::Kill(9), Act::Restart]).clone()));
            push(at + 3 * MINUTE, Turn::Engine(Fault::DropStreams));
        }
        13 => {
            let for_ms = random.between(SECOND..=10 * MINUTE);
            push(
                at,
                Turn::Engine(match random.between(0..=3) {
                    0 => Fault::DelayEvents { by_ms: random.between(1..=20 * SECOND), for_ms },
                    1 => Fault::RepeatEvents { for_ms },
                    2 => Fault::SlowAnswers { by_ms: random.between(1..=20 * SECOND), for_ms },
                    _ => Fault::DenyChanges { for_ms },
                }),
            );
        }
        14 | 15 => {
            let down_ms = random.between(100..=2 * MINUTE);
            let after_actions = u32::try_from(random.between(0..=30)).unwrap_or_default();
            push(at, Turn::KillIaso { after_actions, down_ms });
        }
        16 => {
            push(at, Turn::StoreRefuses { for_ms: random.between(SECOND..=20 * MINUTE) });
            if random.chance(50) {
                push(soon, Turn::KillIaso { after_actions: 0, down_ms: SECOND });
            }
        }
        17 => push(at, Turn::WallJumps { by_ms: random.between(-48 * HOUR..=48 * HOUR) }),
        _ => match random.between(0..=3) {
            3 => {
                push(at, Turn::Reload { discovery: false });
                push(if random.chance(50) { soon } else { later }, Turn::Reload { discovery: true });
            }
            0 => {
                push(at, order(OrderKind::Pause));
                push(later, order(OrderKind::Resume));
            }
            1 => push(at, order(OrderKind::Restart { now: random.chance(50) })),
            _ => push(at, Turn::StopIaso { down_ms: random.between(100..=5 * MINUTE) }),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::engine::{Change, EventAction};
    use crate::sim::world::{Happening, Ticket, WorldEvent};

    /// Runs the scenario's engine and people, with a healer that restarts something at random every ten seconds.
    fn run(scenario: &Scenario) -> (World, Vec<WorldEvent>, BTreeMap<Ticket, u128>) {
        let (mut world, mut out, mut asked) = (scenario.world(), Vec::new(), BTreeMap::new());
        let mut random = Random::new(!scenario.seed);
        let mut turns = scenario.timeline.iter().peekable();
        let mut at = 0;
        while at < scenario.length_ms {
            while let Some(moment) = turns.next_if(|moment| moment.at <= at) {
                moment.turn.befall(&mut world);
            }
            let ids = world.ids();
            if !ids.is_empty() {
                let change = random.pick(&[Change::Restart, Change::Start, Change::Signal(1), Change::Stop]).clone();
                let id = *random.pick(&ids);
                asked.insert(world.begin_change(id, &change, None), id);
            }
            at = (at + 10 * SECOND).min(turns.peek().map_or(i64::MAX, |moment| moment.at));
            world.advance(at, &mut out);
        }
        world.advance(at + HOUR, &mut out);
        (world, out, asked)
    }

    #[test]
    fn the_same_seed_gives_the_same_scenario_and_the_same_run() {
        for seed in 0..5 {
            let scenario = Scenario::random(seed);
            assert_eq!(scenario, Scenario::random(seed));
            let (world, events, _) = run(&scenario);
            let (again, events_again, _) = run(&scenario);
            assert!(events == events_again && world.list() == again.list(), "seed {seed}");
            assert_ne!(scenario.fleet, Scenario::random(seed + 1).fleet);
        }
    }

    #[test]
    fn seeds_reach_every_kind_of_fleet_and_turn() {
        let mut seen = BTreeSet::new();
        for seed in 0..300 {
            let scenario = Scenario::random(seed);
            assert!((3..=20).contains(&scenario.fleet.len()));
            assert!(scenario.timeline.is_sorted_by_key(|moment| moment.at));
            let first_words = |text: String| text.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
            for member in &scenario.fleet {
                seen.insert(format!("{:?} {:?}", member.healer, member.exempt.is_some()));
                seen.extend(member.exempt.map(|exempt| format!("{exempt:?}")));
                seen.extend(member.script.ailments.iter().map(|ailment| first_words(format!("{ailment:?}"))));
            }
            for moment in &scenario.timeline {
                seen.insert(match &moment.turn {
                    Turn::Engine(fault) => first_words(format!("{fault:?}")),
                    Turn::Person { act, .. } => first_words(format!("{act:?}")),
                    turn => first_words(format!("{turn:?}")),
                });
            }
        }
        for expected in
            "AutoRemove Orchestrated Disabled Exits OutOfMemory Sick WontStart Start Stop Restart Kill Pause Unpause \
            Remove Rename Make Deploy Shutdown PowerCut Hang DropStreams LoseEvents DelayEvents RepeatEvents SlowAnswers \
            DenyChanges Order KillIaso StopIaso StoreRefuses Reload WallJumps RollOut Undo"
                .split_whitespace()
        {
            assert!(seen.contains(expected), "{expected} in {seen:?}");
        }
    }

    /// Whatever goes wrong with the engine, each change is answered once, but for those to what is stuck.
    #[test]
    fn changes_are_answered_once() {
        for seed in 0..60 {
            let scenario = Scenario::random(seed);
            let (world, events, mut asked) = run(&scenario);
            for event in events {
                if let Happening::Answered { ticket, .. } = event.what {
                    assert!(asked.remove(&ticket).is_some(), "seed {seed}, {} ms: {ticket:?} answered again", event.at);
                }
            }
            for (ticket, id) in asked {
                let name = world.inspect(id).unwrap().name;
                let stuck =
                    scenario.fleet.iter().any(|m| name.contains(&m.script.name) && m.script.on_stop == OnStop::Stuck);
                assert!(stuck, "seed {seed}: {ticket:?} to {name} was never answered");
            }
        }
    }

    /// No process dies twice or starts while it lives, and nothing happens to what is gone.
    #[test]
    fn events_tell_possible_lives() {
        for seed in 0..60 {
            let mut scenario = Scenario::random(seed);
            let unheard = |turn: &Turn| {
                matches!(
                    turn,
                    Turn::Engine(
                        Fault::LoseEvents { .. }
                            | Fault::RepeatEvents { .. }
                            | Fault::DelayEvents { .. }
                            | Fault::PowerCut { .. }
                            | Fault::Shutdown { .. }
                    )
                )
            };
            scenario.timeline.retain(|moment| !unheard(&moment.turn));
            let (world, events, _) = run(&scenario);
            let beginning = scenario.world();
            let mut alive: BTreeMap<u128, bool> =
                beginning.ids().into_iter().map(|id| (id, beginning.truth(id).unwrap().running)).collect();
            for WorldEvent { at, what } in events {
                match what {
                    Happening::Event(event) => {
                        let id = event.container.short();
                        let was = alive.get(&id).copied();
                        let possible = match event.action {
                            EventAction::Create => alive.insert(id, false).is_none(),
                            EventAction::Start => alive.insert(id, true) == Some(false),
                            EventAction::Die(_) => alive.insert(id, false) == Some(true),
                            EventAction::Destroy => alive.remove(&id) == Some(false),
                            EventAction::Stop | EventAction::Rename => was.is_some(),
                            _ => was == Some(true),
                        };
                        assert!(possible, "seed {seed}, {at} ms: {:?} of {:?} cannot be", event.action, event.name);
                    }
                    Happening::Answered { .. } | Happening::StreamsEnded | Happening::EngineUp => {}
                }
            }
            let living = world.ids().into_iter().filter(|id| world.truth(*id).unwrap().running).count();
            assert_eq!(living, alive.values().filter(|alive| **alive).count(), "seed {seed}");
        }
    }
}
