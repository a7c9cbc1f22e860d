//! What goes wrong with the engine itself.

use std::time::Duration;

use super::operations::{Kind, Operation};
use super::{Due, Happening, Phase, Ticket, World};
use crate::engine::{Change, EngineEvent};
use crate::sim::random::Random;

/// From an engine's start until it answers; its restart policies are carried out meanwhile.
const ENGINE_START_MS: i64 = 1_000;

/// Something that goes wrong with the engine. Spans are virtual milliseconds; a fault given again replaces its earlier self.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The engine stops as a service does: every container gets its stop signal, the streams end, and it starts again.
    Shutdown {
        /// From its end to its start.
        down_ms: i64,
    },
    /// Machine and engine lose their power: every process ends unseen, and the engine starts again.
    PowerCut {
        /// From its end to its start.
        down_ms: i64,
    },
    /// The engine does nothing at all, then goes on where it was.
    Hang {
        /// For so long.
        for_ms: i64,
    },
    /// Its open streams end; it takes new ones at once.
    DropStreams,
    /// Events are lost for good.
    LoseEvents {
        /// For so long.
        for_ms: i64,
    },
    /// Events come late, in order.
    DelayEvents {
        /// By so much.
        by_ms: i64,
        /// For so long.
        for_ms: i64,
    },
    /// Events come twice, the second time a millisecond later.
    RepeatEvents {
        /// For so long.
        for_ms: i64,
    },
    /// Of a hundred events so many are lost for good, so many come twice, and so many come late and hold up those behind them.
    Noise {
        /// Lost.
        lost: u8,
        /// Twice.
        twice: u8,
        /// Late.
        late: u8,
        /// By so much.
        by_ms: i64,
        /// For so long.
        for_ms: i64,
    },
    /// Lists, inspections and the answers to changes come late.
    SlowAnswers {
        /// By so much.
        by_ms: i64,
        /// For so long.
        for_ms: i64,
    },
    /// What all containers share is away, the network or a disk say: none of them serves, whatever is done to it.
    NothingServes {
        /// For so long.
        for_ms: i64,
    },
    /// The way to it is cut: nobody hears of it or reaches it, while it goes on by itself.
    CutOff {
        /// For so long.
        for_ms: i64,
    },
    /// A proxy before it denies every change.
    DenyChanges {
        /// For so long.
        for_ms: i64,
    },
}

/// How a question asked now would fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Answered after so many milliseconds.
    After(i64),
    /// Nobody is there.
    Refused,
    /// Not answered before the hang is over.
    Hangs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Power {
    #[default]
    On,
    /// It stops its containers, and takes no calls any more.
    Stopping,
    Off,
    /// It carries out restart policies, and takes no calls yet.
    Starting,
}

#[derive(Debug)]
pub(super) struct Faults {
    pub(super) power: Power,
    pub(super) hangs: bool,
    /// Changes asked for while it hung.
    pub(super) parked: Vec<(Ticket, u128, Change, Option<Duration>)>,
    thaws_at: i64,
    down_ms: i64,
    lose_until: i64,
    repeat_until: i64,
    delay: (i64, i64),
    slow: (i64, i64),
    deny_until: i64,
    nothing_serves_until: i64,
    cut_until: i64,
    noise: Noise,
    chance: Random,
}

/// Of a hundred events.
#[derive(Debug, Clone, Copy, Default)]
struct Noise {
    lost: u8,
    twice: u8,
    late: u8,
    by_ms: i64,
    until: i64,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            power: Power::On,
            hangs: false,
            parked: Vec::new(),
            thaws_at: 0,
            down_ms: 0,
            lose_until: 0,
            repeat_until: 0,
            delay: (0, 0),
            slow: (0, 0),
            deny_until: 0,
            nothing_serves_until: 0,
            cut_until: 0,
            noise: Noise::default(),
            chance: Random::new(!seed),
        }
    }

    /// Whether an event of this moment is lost. Each of these three draws anew whenever it is asked.
    pub(super) fn loses(&mut self, now: i64) -> bool {
        now < self.lose_until || now < self.noise.until && self.chance.chance(self.noise.lost.into())
    }

    pub(super) fn repeats(&mut self, now: i64) -> bool {
        now < self.repeat_until || now < self.noise.until && self.chance.chance(self.noise.twice.into())
    }

    pub(super) fn lets_serve(&self, now: i64) -> bool {
        now >= self.nothing_serves_until
    }

    pub(super) fn denies(&self, now: i64) -> bool {
        now < self.deny_until
    }

    pub(super) fn event_delay(&mut self, now: i64) -> i64 {
        let usual = if now < self.delay.1 { self.delay.0 } else { 0 };
        let is_late = now < self.noise.until && self.chance.chance(self.noise.late.into());
        usual + if is_late { self.noise.by_ms } else { 0 }
    }

    pub(super) fn answer_delay(&self, now: i64) -> i64 {
        if now < self.slow.1 { self.slow.0 } else { 0 }
    }
}

impl World {
    /// Lets something go wrong with the engine, from now on.
    pub fn fault(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Shutdown { down_ms } => self.shut_down(down_ms),
            Fault::PowerCut { down_ms } => self.lose_power(down_ms),
            Fault::Hang { for_ms } => self.hang(for_ms),
            Fault::DropStreams => self.drop_streams(),
            Fault::LoseEvents { for_ms } => self.faults.lose_until = now + for_ms,
            Fault::NothingServes { for_ms } => self.faults.nothing_serves_until = now + for_ms,
            Fault::DelayEvents { by_ms, for_ms } => self.faults.delay = (by_ms, now + for_ms),
            Fault::RepeatEvents { for_ms } => self.faults.repeat_until = now + for_ms,
            Fault::CutOff { for_ms } => {
                self.faults.cut_until = now + for_ms;
                self.drop_streams();
            }
            Fault::Noise { lost, twice, late, by_ms, for_ms } => {
                self.faults.noise = Noise { lost, twice, late, by_ms, until: now.saturating_add(for_ms) };
            }
            Fault::SlowAnswers { by_ms, for_ms } => self.faults.slow = (by_ms, now + for_ms),
            Fault::DenyChanges { for_ms } => self.faults.deny_until = now + for_ms,
        }
    }

    /// How a question asked now would fare. [`World::list`] and its like answer whatever this says: they are the truth.
    pub fn reach(&self) -> Reach {
        match self.faults.power {
            Power::On if self.is_cut_off() => Reach::Refused,
            Power::On if self.faults.hangs => Reach::Hangs,
            Power::On => Reach::After(self.faults.answer_delay(self.now)),
            Power::Stopping | Power::Off | Power::Starting => Reach::Refused,
        }
    }

    /// Answers to what was asked of it reach nobody now.
    pub fn is_cut_off(&self) -> bool {
        self.now < self.faults.cut_until
    }

    /// It does what people on its own machine ask.
    pub fn heeds_people(&self) -> bool {
        self.faults.power == Power::On && !self.faults.hangs
    }

    /// What all its containers share is away.
    pub fn nothing_serves(&self) -> bool {
        !self.faults.lets_serve(self.now)
    }

    fn shut_down(&mut self, down_ms: i64) {
        if self.faults.power != Power::On {
            return;
        }
        self.end_hang();
        self.faults.power = Power::Stopping;
        self.faults.down_ms = down_ms;
        self.abandon_operations();
        for id in self.ids() {
            self.begin(id, Operation { kind: Kind::Shutdown, ticket: None, grace_ms: None });
        }
        self.shut_down_when_all_stopped();
    }

    pub(super) fn shut_down_when_all_stopped(&mut self) {
        let all = self.containers.values().all(|c| !c.alive() && !matches!(c.phase, Phase::Waiting(_)));
        if all && self.faults.power == Power::Stopping {
            self.go_off();
        }
    }

    fn lose_power(&mut self, down_ms: i64) {
        if matches!(self.faults.power, Power::Off | Power::Starting) {
            return;
        }
        self.faults.hangs = false;
        self.held.clear();
        self.faults.down_ms = down_ms;
        for (ticket, ..) in std::mem::take(&mut self.faults.parked) {
            let result = Err(super::operations::unreachable_engine());
            self.tell(Happening::Answered { ticket, result });
        }
        self.abandon_operations();
        self.everything_dies();
        self.go_off();
    }

    fn go_off(&mut self) {
        self.take_deliveries();
        self.faults.power = Power::Off;
        self.tell(Happening::StreamsEnded);
        self.after(self.faults.down_ms, Due::EngineStarts);
    }

    pub(super) fn engine_starts(&mut self) {
        self.faults.power = Power::Starting;
        self.ring.clear();
        for id in self.ids() {
            self.revive_by_policy(id);
        }
        self.after(ENGINE_START_MS, Due::EngineServes);
    }

    pub(super) fn engine_serves(&mut self) {
        self.faults.power = Power::On;
        self.tell(Happening::EngineUp);
    }

    fn hang(&mut self, for_ms: i64) {
        if self.faults.power != Power::On {
            return;
        }
        self.faults.hangs = true;
        self.faults.thaws_at = self.now + for_ms;
        self.at(self.faults.thaws_at, Due::Thaw);
    }

    pub(super) fn thaw(&mut self) {
        if self.now >= self.faults.thaws_at {
            self.end_hang();
        }
    }

    fn end_hang(&mut self) {
        self.faults.hangs = false;
        for due in std::mem::take(&mut self.held) {
            self.carry_out(due);
        }
        for (ticket, id, change, grace) in std::mem::take(&mut self.faults.parked) {
            self.take_up(ticket, id, &change, grace);
        }
    }

    /// Events on their way are lost with the streams; the engine keeps them for who asks for the past.
    fn drop_streams(&mut self) {
        if self.faults.power != Power::On {
            return;
        }
        for event in self.take_deliveries() {
            self.keep(event);
        }
        self.tell(Happening::StreamsEnded);
    }

    fn take_deliveries(&mut self) -> Vec<EngineEvent> {
        self.last_delivery = self.now;
        let on_their_way = self.due.extract_if(.., |_, due| matches!(due, Due::Deliver(_)));
        let deliveries: Vec<Due> = on_their_way.map(|(_, due)| due).collect();
        deliveries
            .into_iter()
            .filter_map(|due| if let Due::Deliver(event) = due { Some(event) } else { None })
            .collect()
    }
}
