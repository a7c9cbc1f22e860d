//! What happens to engines, containers, store and Iaso, and what people do, one thing at a time.

use super::wiring::any;
use super::{HOUR, MINUTE, Member, Moment, OrderKind, Random, SECOND, Turn};
use crate::sim::world::{Act, Deployment, Fault};

/// One happening with what belongs to it.
pub(super) fn draw(random: &mut Random, at: i64, member: &Member, timeline: &mut Vec<Moment>) {
    let name = &member.script.name;
    let mut push = |at: i64, turn: Turn| timeline.push(Moment { at, turn });
    let person = |act: Act| Turn::Person { container: name.clone(), act };
    let engine = |fault: Fault| Turn::Engine { host: member.host, fault };
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
            push(at, engine(Fault::Shutdown { down_ms }));
        }
        9 => {
            // What a person stops just before the engine does is a person's stop all the same.
            push(at, person(Act::Stop));
            push(soon, engine(Fault::Shutdown { down_ms: random.between(SECOND..=MINUTE) }));
        }
        10 => push(at, engine(Fault::PowerCut { down_ms: random.between(SECOND..=5 * MINUTE) })),
        11 => {
            let for_ms = random.between(SECOND..=3 * MINUTE);
            push(at, engine(if random.chance(60) { Fault::Hang { for_ms } } else { Fault::CutOff { for_ms } }));
        }
        12 => {
            push(at, engine(Fault::LoseEvents { for_ms: 3 * MINUTE }));
            push(soon, person(random.pick(&[Act::Stop, Act::Kill(9), Act::Restart]).clone()));
            push(at + 3 * MINUTE, engine(Fault::DropStreams));
        }
        13 => {
            let for_ms = random.between(SECOND..=10 * MINUTE);
            push(
                at,
                engine(match random.between(0..=3) {
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

/// Outages of what all containers share.
pub(super) fn outages(random: &mut Random, hosts: usize, length_ms: i64, timeline: &mut Vec<Moment>) {
    for _ in 0..*random.pick(&[0, 0, 1, 1, 2]) {
        let for_ms = *random.pick(&[10 * SECOND, MINUTE, 4 * MINUTE, 20 * MINUTE]) + random.between(0..=MINUTE);
        let turn = Turn::Engine { host: any(random, hosts), fault: Fault::NothingServes { for_ms } };
        timeline.push(Moment { at: random.between(MINUTE..=length_ms), turn });
    }
}

/// Streams of events that cannot be relied on, all the time or for a while.
pub(super) fn noise(random: &mut Random, hosts: usize, length_ms: i64, timeline: &mut Vec<Moment>) {
    for host in 0..hosts {
        if !random.chance(35) {
            continue;
        }
        let whole = random.chance(50);
        let fault = Fault::Noise {
            lost: *random.pick(&[0, 3, 10, 40]),
            twice: *random.pick(&[0, 0, 10, 40]),
            late: *random.pick(&[0, 0, 10, 40]),
            by_ms: *random.pick(&[50, 2 * SECOND, 20 * SECOND]),
            for_ms: if whole { length_ms } else { random.between(MINUTE..=HOUR) },
        };
        let at = if whole { SECOND } else { random.between(SECOND..=length_ms) };
        timeline.push(Moment { at, turn: Turn::Engine { host, fault } });
    }
}
