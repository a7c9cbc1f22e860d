//! Changes of credentials, drawn to come at bad moments.

use super::{HOUR, MINUTE, Member, Moment, Random, SECOND, Turn};

/// A change of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which credential.
    pub credential: u64,
    /// The containers that use it, by the names that they have then.
    pub users: Vec<String>,
    /// They are signalled, not restarted.
    pub signal: bool,
    /// Operations for its sake in an hour.
    pub max_per_hour: u32,
    /// It may have to be undone.
    pub undoable: bool,
    /// From one of its users to the next.
    pub splay_ms: i64,
    /// It was written so long before: who was started since has it.
    pub written_ago_ms: i64,
}

/// Draws changes, most of them while something else is going on.
pub(super) fn draw(random: &mut Random, fleet: &[Member], length_ms: i64, timeline: &mut Vec<Moment>) {
    let troubles: Vec<i64> = timeline.iter().map(|moment| moment.at).collect();
    for _ in 0..random.between(0..=3 * (length_ms / HOUR)) {
        let in_peace = troubles.is_empty() || random.chance(25);
        let moment = if in_peace { random.between(MINUTE..=length_ms) } else { *random.pick(&troubles) };
        let at = (moment + random.between(-30 * SECOND..=30 * SECOND)).max(SECOND);
        let users = (0..random.between(1..=4)).map(|_| random.pick(fleet).script.name.clone()).collect();
        let change = Change {
            credential: u64::from(random.chance(30)),
            users,
            signal: random.chance(25),
            max_per_hour: *random.pick(&[4, 8, 20]),
            undoable: random.chance(80),
            splay_ms: *random.pick(&[0, 5 * SECOND, MINUTE]),
            written_ago_ms: if random.chance(20) { random.between(SECOND..=10 * MINUTE) } else { 0 },
        };
        timeline.push(Moment { at, turn: Turn::RollOut(Box::new(change)) });
        if random.chance(30) {
            let at = at + random.between(1..=5 * MINUTE);
            timeline.push(Moment { at, turn: Turn::Undo(u64::from(random.chance(20))) });
        }
    }
}
