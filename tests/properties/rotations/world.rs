//! The small world that rotations are judged in: a store of versions, a service that accepts one value, and daemons with a disk,
//! a file and consumers that load it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use iaso_policy::credential::rotation::{
    Action, Answer, Ending, Event, Halt, Input, Look, Made, Mark, Order, Origin, Outcome, Rolled, Rotation, RotationId,
    Side, Spec, State, Stored, Tried, Trouble,
};
use iaso_policy::id::Digest;
use iaso_policy::time::{Boot, Mono, Now, Wall};

pub(super) const OLD: Digest = Digest(1);
/// Steps of one daemon after which a story counts as endless.
pub(super) const ENDLESS: usize = 3000;

pub(super) fn spec(apply: bool, verify: bool, retire: bool) -> Spec {
    Spec {
        every: None,
        apply,
        verify,
        retire,
        grace: Duration::from_secs(60),
        retry: Duration::from_secs(600),
        per_hour: 4,
    }
}

pub(super) fn at(mono: i64) -> Now {
    Now { mono: Mono(mono), wall: Wall(1_700_000_000_000 + mono), boot: Boot(1) }
}

/// What all daemons share.
pub(super) struct World {
    pub(super) versions: Vec<Digest>,
    pub(super) current: u64,
    pub(super) pending: Option<u64>,
    /// What the service accepts.
    pub(super) accepts: Digest,
    pub(super) made: u128,
    pub(super) now: i64,
    pub(super) dice: VecDeque<u8>,
}

impl World {
    pub(super) fn new(dice: Vec<u8>) -> Self {
        Self { versions: vec![OLD], current: 1, pending: None, accepts: OLD, made: 1, now: 1000, dice: dice.into() }
    }

    /// Fate: 0 is that all goes well, and so it goes once the dice are spent.
    pub(super) fn roll(&mut self, sides: u8) -> u8 {
        self.dice.pop_front().map_or(0, |die| die % sides)
    }

    pub(super) fn mark(&self) -> Mark {
        match self.newest().0 {
            newest if self.pending == Some(newest) => Mark::Pending,
            newest if self.current == newest => Mark::Current,
            _ => Mark::Behind,
        }
    }

    pub(super) fn newest(&self) -> (u64, Digest) {
        (self.versions.len() as u64, self.versions[self.versions.len() - 1])
    }
}

/// One consumer of the file.
#[derive(Clone)]
pub(super) struct Consumer {
    pub(super) loaded: Digest,
    pub(super) started: i64,
    pub(super) healthy: bool,
}

/// One Iaso with its disk, its file and its consumers.
pub(super) struct Daemon {
    pub(super) spec: Spec,
    pub(super) rotation: Rotation,
    pub(super) queue: VecDeque<Action>,
    /// On disk: the state, and beside it the new value while there is a run.
    pub(super) disk: Option<State>,
    pub(super) disk_values: BTreeSet<Digest>,
    pub(super) new: Option<Digest>,
    pub(super) given: Option<Digest>,
    pub(super) file: Digest,
    pub(super) consumers: Vec<Consumer>,
    /// Restarts by consumer, of the present change.
    pub(super) restarts: Vec<u32>,
    pub(super) makes: BTreeMap<RotationId, u32>,
    /// Outward changes of the run that is under way.
    pub(super) touched: Vec<Action>,
    pub(super) endings: Vec<Ending>,
    pub(super) halted: Option<Halt>,
    pub(super) crashes: u32,
    pub(super) rolled_out_at: Option<i64>,
}

impl Daemon {
    pub(super) fn new(spec: Spec, now: Now) -> Self {
        let mut out = Vec::new();
        let rotation = Rotation::restore(spec, 1, None, now, &mut out);
        Self {
            spec,
            rotation,
            queue: out.into(),
            disk: None,
            disk_values: BTreeSet::new(),
            new: None,
            given: None,
            file: OLD,
            consumers: vec![Consumer { loaded: OLD, started: 0, healthy: true }; 2],
            restarts: vec![0; 2],
            makes: BTreeMap::new(),
            touched: Vec::new(),
            endings: Vec::new(),
            halted: None,
            crashes: 0,
            rolled_out_at: None,
        }
    }

    pub(super) fn order(&mut self, world: &World, order: Order) -> Answer {
        let mut out = Vec::new();
        let answer = self.rotation.order(at(world.now), order, &mut out);
        self.queue.extend(out);
        answer
    }

    pub(super) fn crash(&mut self, world: &World) {
        let mut out = Vec::new();
        self.crashes += 1;
        self.rotation = Rotation::restore(self.spec, 1, self.disk.clone(), at(world.now), &mut out);
        self.new = self.disk.as_ref().and_then(|state| state.run).and_then(|run| run.new);
        self.given = None;
        self.queue = out.into();
    }

    pub(super) fn value(&self, side: Side) -> Digest {
        let run = self.rotation.state().run.expect("a run");
        match side {
            Side::New => self.new.expect("the new value is known whenever it is used"),
            Side::Old => run.old.expect("the old value is known whenever it is used"),
        }
    }

    /// Does the next thing; false when there is nothing to do now or later.
    pub(super) fn act(&mut self, world: &mut World) -> bool {
        let Some(action) = self.queue.pop_front() else {
            let Some(deadline) = self.rotation.next_deadline(at(world.now)) else { return false };
            assert!(deadline.0 >= world.now, "no wake in the past");
            world.now = deadline.0;
            let before = self.rotation.next_deadline(at(world.now));
            self.hear(world, Input::Tick { may_begin: true });
            let moved = !self.queue.is_empty() || self.rotation.next_deadline(at(world.now)) != before;
            assert!(moved, "a tick at its deadline moves it");
            return true;
        };
        world.now += 1;
        if let Action::Journal(state) = &action {
            match world.roll(12) {
                1 => {
                    self.crash(world);
                    return true;
                }
                die => {
                    self.disk_values = match &state.run {
                        Some(run) => [run.old, run.new].into_iter().flatten().collect(),
                        None => BTreeSet::new(),
                    };
                    self.disk = Some((**state).clone());
                    if die == 2 {
                        self.crash(world);
                    }
                }
            }
            return true;
        }
        if let Some(input) = self.carry_out(world, &action) {
            self.hear(world, input);
        }
        self.judge(world);
        true
    }

    pub(super) fn hear(&mut self, world: &World, input: Input) {
        let mut out = Vec::new();
        self.rotation.step(at(world.now), input, &mut out);
        self.queue.extend(out);
    }

    pub(super) fn carry_out(&mut self, world: &mut World, action: &Action) -> Option<Input> {
        Some(match *action {
            Action::Journal(_) => unreachable!("kept above"),
            Action::Look => Input::Looked(match world.roll(5) {
                1 => Look::Unknown,
                _ => {
                    let (version, digest) = world.newest();
                    Look::Found { version, digest, mark: world.mark() }
                }
            }),
            Action::Make { id, origin } => {
                *self.makes.entry(id).or_default() += 1;
                world.made += 1;
                let made = match origin {
                    Origin::Rollback => world.versions.iter().rev().nth(1).copied(),
                    Origin::Set => self.given.take(),
                    Origin::Scheduled | Origin::Ordered => Some(Digest(world.made)),
                };
                self.new = made;
                Input::Made(made.map_or(Made::Impossible, Made::Value))
            }
            Action::Store { side, cas } => Input::Stored(self.store(world, side, cas)),
            Action::Mark { current, pending } => {
                self.touched.push(action.clone());
                let outcome = outcome(world.roll(6));
                if outcome == Outcome::Done {
                    (world.current, world.pending) = (current, Some(pending));
                }
                Input::Marked(outcome)
            }
            Action::Apply(side) => {
                self.touched.push(action.clone());
                let die = world.roll(7);
                let outcome = outcome(die);
                // One of the ambiguous is carried out, the other is not.
                if outcome == Outcome::Done || die == 4 {
                    world.accepts = self.value(side);
                }
                Input::Applied(outcome)
            }
            Action::Try(side) => Input::Tried(match world.roll(6) {
                1 => Tried::Unknown,
                _ if world.accepts == self.value(side) => Tried::Accepted,
                _ => Tried::Refused,
            }),
            Action::Publish { side, version } => {
                self.touched.push(action.clone());
                let outcome = outcome(world.roll(6));
                if matches!(outcome, Outcome::Done | Outcome::Ambiguous) {
                    (world.current, world.pending) = (version, None);
                    if self.file != self.value(side) {
                        self.restarts = vec![0; self.consumers.len()];
                    }
                    self.file = self.value(side);
                }
                Input::Published(outcome)
            }
            Action::RollOut { published } => {
                self.touched.push(action.clone());
                assert_eq!(self.file, self.value(Side::New), "rolled out before it was published");
                let fails = world.roll(6);
                let published = published.mono.0;
                let rolled = self.roll_out(world, fails, |consumer, _| consumer.started < published);
                self.rolled_out_at = (rolled == Rolled::Done).then_some(world.now);
                Input::RolledOut(rolled)
            }
            Action::Undo => {
                assert_eq!(self.file, self.value(Side::Old), "undone before the old value was published");
                let fails = world.roll(9);
                Input::Undone(self.roll_out(world, fails, |consumer, file| consumer.loaded != file))
            }
            Action::Settle => return None,
            Action::Retire => {
                let since = self.rolled_out_at.expect("rolled out before the old value is retired");
                assert!(world.now - since >= 60_000, "retired after the grace");
                assert!(self.consumers.iter().all(|consumer| consumer.healthy), "retired with all healthy");
                assert!(self.consumers.iter().all(|consumer| consumer.loaded == self.value(Side::New)));
                let die = world.roll(6);
                Input::Retired(outcome(die))
            }
            Action::Tell(event) => {
                match event {
                    Event::Began(_) => self.touched.clear(),
                    Event::Ended(ending) => self.ended(ending),
                    Event::Halted(halt) => self.halted = Some(halt),
                    Event::Reached(_) | Event::Held(_) | Event::GoingBack(_) => {}
                }
                return None;
            }
        })
    }

    pub(super) fn ended(&mut self, ending: Ending) {
        self.endings.push(ending);
        if ending == Ending::Failed(Trouble::Conflict) || ending == Ending::Failed(Trouble::Elsewhere) {
            let only_marks = self.touched.iter().all(|action| matches!(action, Action::Mark { .. }));
            assert!(only_marks, "the loser has changed something: {:?}", self.touched);
        }
    }

    pub(super) fn store(&mut self, world: &mut World, side: Side, cas: u64) -> Stored {
        let die = world.roll(7);
        let lands = die <= 2;
        match (lands, world.newest().0 == cas, die) {
            (true, false, 0) => Stored::Conflict,
            (true, true, die) => {
                world.versions.push(self.value(side));
                if die == 0 { Stored::Landed } else { Stored::Ambiguous }
            }
            (_, _, 3) => Stored::Refused,
            (_, _, 4) => Stored::NotDone,
            _ => Stored::Ambiguous,
        }
    }

    /// Restarts whoever has still to learn of the file.
    fn roll_out(&mut self, world: &World, fate: u8, has_to: impl Fn(&Consumer, Digest) -> bool) -> Rolled {
        match fate {
            1 => return Rolled::Refused,
            2 => return Rolled::Replaced,
            _ => {}
        }
        let fails = fate == 3;
        let most = if fails { 1 } else { self.consumers.len() };
        for (consumer, restarts) in self.consumers.iter_mut().zip(&mut self.restarts).take(most) {
            if has_to(consumer, self.file) {
                *restarts += 1;
                assert!(*restarts <= 1, "one restart for each change");
                (consumer.started, consumer.loaded) = (world.now, self.file);
            }
            consumer.healthy = !fails;
        }
        if fails { Rolled::Failed } else { Rolled::Done }
    }

    /// What holds at every moment.
    pub(super) fn judge(&self, world: &World) {
        let known =
            |value: Digest| world.versions.contains(&value) || self.disk_values.contains(&value) || self.file == value;
        assert!(known(world.accepts), "what the service accepts is lost");
        assert!(self.makes.values().all(|makes| *makes == 1), "one value for each id: {:?}", self.makes);
    }

    /// What holds when nothing is under way and nobody is waited for.
    pub(super) fn judge_at_rest(&self, world: &World) {
        let state = self.rotation.state();
        assert!(state.run.is_none() || state.halt.is_some(), "at rest: {state:?}");
        if state.run.is_some() || matches!(state.halt, Some(Halt::Conflict | Halt::StillUnhealthy)) {
            return;
        }
        let newest = world.newest().1;
        assert_eq!(world.accepts, newest, "the service accepts what the store calls newest");
        assert_eq!(self.file, newest, "the file holds it");
        assert!(self.consumers.iter().all(|consumer| consumer.loaded == newest), "the consumers have loaded it");
        assert!(world.pending.is_none_or(|pending| pending != world.newest().0), "nothing is pending");
    }

    pub(super) fn settle(&mut self, world: &mut World) {
        for _ in 0..ENDLESS {
            if !self.act(world) {
                return;
            }
        }
        panic!("it does not end: {:?}", self.rotation);
    }
}

pub(super) fn outcome(die: u8) -> Outcome {
    match die {
        1 => Outcome::NotDone,
        2 => Outcome::Refused,
        3 | 4 => Outcome::Ambiguous,
        _ => Outcome::Done,
    }
}
