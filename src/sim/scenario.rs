//! A fleet and what happens to it over some virtual hours, drawn from a seed: data only, printed when a run fails.

use std::time::Duration;

use iaso_policy::input::Exempt;

pub use self::people::Deed;
pub use self::rollouts::Change;
pub use self::wiring::Needed;
use super::random::Random;
use super::script::ContainerScript;
use super::world::{Act, Fault, World};

mod member;
mod people;
mod rollouts;
mod turns;
mod wiring;

/// The port that Iaso's own checks go to.
pub(super) const PORT: u16 = 80;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A fleet on one to three hosts and a timeline of what befalls engines, containers, store and Iaso itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// What it was drawn from.
    pub seed: u64,
    /// Its end, in virtual milliseconds.
    pub length_ms: i64,
    /// How many hosts there are.
    pub hosts: usize,
    /// Their containers at the beginning. No two have the same name, on whichever host.
    pub fleet: Vec<Member>,
    /// What happens, by time.
    pub timeline: Vec<Moment>,
}

/// One container of the fleet, and how Iaso comes to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The container; its labels say what the other fields say.
    pub script: ContainerScript,
    /// Where it lives.
    pub host: usize,
    /// What it needs by its labels.
    pub needs: Vec<Needed>,
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
    /// To an engine: [`World::fault`].
    Engine {
        /// Which.
        host: usize,
        /// What.
        fault: Fault,
    },
    /// A person acts: [`World::person`]. It may be refused: people try things.
    Person {
        /// On the container that has this name then.
        container: String,
        /// How.
        act: Act,
    },
    /// A person does something to whatever Iaso has its engine change next.
    Meet(Deed),
    /// A calendar's window of maintenance opens.
    Window {
        /// For this host.
        host: usize,
        /// Or only for the container that had this name at the beginning, wherever it is.
        container: Option<String>,
        /// For so long.
        for_ms: i64,
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
    /// Leave it alone for so many virtual milliseconds.
    Maintain {
        /// How long.
        for_ms: i64,
    },
    /// Its maintenance is over, by whoever it was ordered.
    EndMaintenance,
    /// Somebody takes care of its outage.
    Acknowledge,
    /// Restart it now.
    Restart {
        /// Rather end an attempt in flight than be refused.
        now: bool,
    },
}

impl Scenario {
    /// A scenario for the seed: 3 to 20 containers on 1 to 3 hosts, 1 to 4 hours.
    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let length_ms = random.between(1..=4) * HOUR;
        let count = random.between(3..=20);
        let mut fleet: Vec<Member> = (0..count).map(|n| member::draw(&mut random, n)).collect();
        // Each kind of thing has numbers of its own: more of one changes nothing about the others.
        let hosts = wiring::draw(&mut Random::new(seed.rotate_left(16)), &mut fleet);
        let mut timeline = Vec::new();
        for _ in 0..random.between(0..=6 * (length_ms / HOUR)) {
            let at = random.between(SECOND..=length_ms - SECOND);
            let subject = random.pick(&fleet).clone();
            turns::draw(&mut random, at, &subject, &mut timeline);
        }
        rollouts::draw(&mut Random::new(!seed), &fleet, length_ms, &mut timeline);
        turns::outages(&mut Random::new(seed.rotate_left(32)), hosts, length_ms, &mut timeline);
        turns::noise(&mut Random::new(seed.rotate_left(40)), hosts, length_ms, &mut timeline);
        people::draw(&mut Random::new(seed.rotate_left(48)), &fleet, hosts, length_ms, &mut timeline);
        timeline.retain(|moment| moment.at < length_ms);
        timeline.sort_by_key(|moment| moment.at);
        Self { seed, length_ms, hosts, fleet, timeline }
    }

    /// The world of each host at the scenario's beginning, what runs just started; that is no news any more.
    pub fn worlds(&self) -> Vec<World> {
        let seeds = (0..).map(|host: u64| self.seed ^ (host << 48));
        let mut worlds: Vec<World> = seeds.take(self.hosts).map(World::new).collect();
        for member in &self.fleet {
            member.make(&mut worlds[member.host]);
        }
        for world in &mut worlds {
            world.advance(0, &mut Vec::new());
        }
        worlds
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
    /// Lets it happen to the worlds, when it is of them; false when it is for the runner. What the engine refuses a person
    /// counts as having happened.
    pub fn befall(&self, worlds: &mut [World]) -> bool {
        match self {
            Self::Engine { host, fault } => worlds[*host].fault(*fault),
            Self::Person { container, act } => {
                if let Some(world) = worlds.iter_mut().find(|world| world.find(container).is_some()) {
                    drop(world.person(container, act));
                }
            }
            Self::Make(member) => member.make(&mut worlds[member.host]),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::engine::{Change, EventAction};
    use crate::sim::script::OnStop;
    use crate::sim::world::{Happening, Ticket, WorldEvent};

    /// A host, what it told, and what was asked of it and not answered.
    struct Ran {
        world: World,
        events: Vec<WorldEvent>,
        asked: BTreeMap<Ticket, u128>,
    }

    /// Runs the scenario's engines and people, with a healer that restarts something at random every ten seconds.
    fn run(scenario: &Scenario) -> Vec<Ran> {
        let mut worlds = scenario.worlds();
        let mut random = Random::new(!scenario.seed);
        let mut turns = scenario.timeline.iter().peekable();
        let mut at = 0;
        let (mut events, mut asked) = (vec![Vec::new(); scenario.hosts], vec![BTreeMap::new(); scenario.hosts]);
        while at < scenario.length_ms {
            while let Some(moment) = turns.next_if(|moment| moment.at <= at) {
                moment.turn.befall(&mut worlds);
            }
            for (world, asked) in worlds.iter_mut().zip(&mut asked) {
                let ids = world.ids();
                if !ids.is_empty() {
                    let changes = [Change::Restart, Change::Start, Change::Signal(1), Change::Stop];
                    let (change, id) = (random.pick(&changes).clone(), *random.pick(&ids));
                    asked.insert(world.begin_change(id, &change, None), id);
                }
            }
            at = (at + 10 * SECOND).min(turns.peek().map_or(i64::MAX, |moment| moment.at));
            worlds.iter_mut().zip(&mut events).for_each(|(world, events)| world.advance(at, events));
        }
        worlds.iter_mut().zip(&mut events).for_each(|(world, events)| world.advance(at + HOUR, events));
        worlds.into_iter().zip(events).zip(asked).map(|((world, events), asked)| Ran { world, events, asked }).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_scenario_and_the_same_run() {
        for seed in 0..5 {
            let scenario = Scenario::random(seed);
            assert_eq!(scenario, Scenario::random(seed));
            for (ran, again) in run(&scenario).into_iter().zip(run(&scenario)) {
                assert!(ran.events == again.events && ran.world.list() == again.world.list(), "seed {seed}");
            }
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
                seen.insert(format!("host{}", member.host));
                seen.extend(member.needs.iter().map(|need| format!("{:?}{}", need.until, need.counts)));
                seen.extend(member.script.relies_on.iter().map(|on| format!("reconnects{}", on.reconnects)));
                seen.extend(member.script.ailments.iter().map(|ailment| first_words(format!("{ailment:?}"))));
            }
            for moment in &scenario.timeline {
                seen.insert(match &moment.turn {
                    Turn::Engine { fault, .. } => first_words(format!("{fault:?}")),
                    Turn::Person { act, .. } => first_words(format!("{act:?}")),
                    Turn::Order { order, .. } => first_words(format!("Order{order:?}")),
                    Turn::Meet(deed) => first_words(format!("{deed:?}")),
                    turn => first_words(format!("{turn:?}")),
                });
            }
        }
        for expected in
            "AutoRemove Orchestrated Disabled Exits OutOfMemory Sick WontStart Start Stop Restart Kill Pause Unpause \
            Remove Rename Make Deploy Shutdown PowerCut Hang CutOff DropStreams LoseEvents DelayEvents RepeatEvents SlowAnswers \
            DenyChanges Noise OrderPause OrderResume OrderRestart OrderMaintain OrderEndMaintenance OrderAcknowledge Before \
            During Window KillIaso StopIaso StoreRefuses Reload WallJumps RollOut Undo host0 host2 Startedtrue \
            Healthytrue Healthyfalse Completedtrue reconnectstrue reconnectsfalse"
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
            for Ran { world, events, mut asked } in run(&scenario) {
                for WorldEvent { at, what } in events {
                    if let Happening::Answered { ticket, .. } = what {
                        assert!(asked.remove(&ticket).is_some(), "seed {seed}, {at} ms: {ticket:?} answered again");
                    }
                }
                for (ticket, id) in asked {
                    let name = world.inspect(id).unwrap().name;
                    let is_it = |m: &&Member| name.contains(&m.script.name);
                    let stuck = scenario.fleet.iter().filter(is_it).any(|m| m.script.on_stop == OnStop::Stuck);
                    assert!(stuck, "seed {seed}: {ticket:?} to {name} was never answered");
                }
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
                    Turn::Engine {
                        fault: Fault::LoseEvents { .. }
                            | Fault::RepeatEvents { .. }
                            | Fault::DelayEvents { .. }
                            | Fault::Noise { .. }
                            | Fault::PowerCut { .. }
                            | Fault::Shutdown { .. },
                        ..
                    }
                )
            };
            scenario.timeline.retain(|moment| !unheard(&moment.turn));
            for (ran, beginning) in run(&scenario).into_iter().zip(scenario.worlds()) {
                let alive = lives(seed, &beginning, &ran.events);
                let living = ran.world.ids().into_iter().filter(|id| ran.world.truth(*id).unwrap().running).count();
                assert_eq!(living, alive.values().filter(|alive| **alive).count(), "seed {seed}");
            }
        }
    }

    /// Who lives after all that was told.
    fn lives(seed: u64, beginning: &World, events: &[WorldEvent]) -> BTreeMap<u128, bool> {
        let mut alive: BTreeMap<u128, bool> =
            beginning.ids().into_iter().map(|id| (id, beginning.truth(id).unwrap().running)).collect();
        for WorldEvent { at, what } in events {
            let Happening::Event(event) = what else { continue };
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
        alive
    }
}
