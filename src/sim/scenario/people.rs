//! People and their tools, drawn to come at bad moments: while Iaso is at work on what they touch, and while much is down.

use super::wiring::any;
use super::{HOUR, MINUTE, Member, Moment, OrderKind, Random, SECOND, Turn};
use crate::sim::world::{Act, Deployment, Fault};

/// What a person does to the very container that Iaso asks its engine to change next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Something to the container, before the engine has heard of Iaso's wish: the charge is taken, the look is to come.
    Before(Act),
    /// Something to the container while the engine is at work, so long after it began.
    During(Act, i64),
    /// An order to Iaso meanwhile, so long after.
    Order(OrderKind, i64),
}

pub(super) fn draw(random: &mut Random, fleet: &[Member], hosts: usize, length_ms: i64, timeline: &mut Vec<Moment>) {
    let outages: Vec<(i64, usize)> = timeline
        .iter()
        .filter_map(|moment| match moment.turn {
            Turn::Engine { host, fault: Fault::NothingServes { .. } } => Some((moment.at, host)),
            _ => None,
        })
        .collect();
    for (at, host) in outages {
        let here: Vec<&Member> = fleet.iter().filter(|member| member.host == host).collect();
        if here.is_empty() || random.chance(50) {
            continue;
        }
        for _ in 0..random.between(1..=3) {
            let container = random.pick(&here).script.name.clone();
            let at = at + random.between(-20 * SECOND..=6 * MINUTE);
            timeline.push(Moment { at: at.max(SECOND), turn: in_trouble(random, container) });
        }
    }
    for _ in 0..random.between(0..=2 * (length_ms / HOUR)) {
        let at = random.between(SECOND..=length_ms);
        timeline.push(Moment { at, turn: Turn::Meet(deed(random)) });
    }
    for _ in 0..*random.pick(&[0, 0, 1, 2]) {
        let for_ms = random.between(SECOND..=40 * MINUTE);
        let container = if random.chance(50) { None } else { Some(random.pick(fleet).script.name.clone()) };
        let turn = Turn::Window { host: any(random, hosts), container, for_ms };
        timeline.push(Moment { at: random.between(SECOND..=length_ms), turn });
    }
    for _ in 0..random.between(0..=2 * (length_ms / HOUR)) {
        let container = random.pick(fleet).script.name.clone();
        let at = random.between(SECOND..=length_ms);
        let order = order(random);
        timeline.push(Moment { at, turn: Turn::Order { container: container.clone(), order } });
        if random.chance(30) {
            let at = at + random.between(SECOND..=20 * MINUTE);
            timeline.push(Moment { at, turn: Turn::Order { container, order: OrderKind::EndMaintenance } });
        }
    }
}

fn order(random: &mut Random) -> OrderKind {
    match random.between(0..=3) {
        0 => OrderKind::Acknowledge,
        1 => OrderKind::Pause,
        _ => OrderKind::Maintain { for_ms: random.between(SECOND..=30 * MINUTE) },
    }
}

fn in_trouble(random: &mut Random, container: String) -> Turn {
    match random.between(0..=3) {
        0 => Turn::Person { container, act: Act::Stop },
        1 => Turn::Person { container, act: Act::Deploy(tool(random)) },
        2 => Turn::Person { container, act: random.pick(&[Act::Restart, Act::Pause, Act::Kill(9)]).clone() },
        _ => Turn::Order { container, order: order(random) },
    }
}

fn deed(random: &mut Random) -> Deed {
    let act = match random.between(0..=4) {
        0 | 1 => Act::Stop,
        2 => Act::Pause,
        3 => Act::Deploy(tool(random)),
        _ => Act::Remove,
    };
    let after = *random.pick(&[1, 40, 400, 3 * SECOND]);
    match random.between(0..=2) {
        0 => Deed::Before(act),
        1 => Deed::During(act, after),
        _ => Deed::Order(order(random), after),
    }
}

fn tool(random: &mut Random) -> Deployment {
    *random.pick(&[Deployment::Compose1, Deployment::Compose2, Deployment::Watchtower])
}
