//! Spreads recurring starts over slots, so that no slot has more than its share. Pure: slots are numbers.
//!
//! Checks of one interval form a ring as long as the interval; each has a place in its ring and starts whenever the ring comes
//! round. The places of a ring hold equally many, give or take one, whatever joins and leaves: a place left empty is filled by
//! one check from a fuller place, all others stay where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;

/// Which keys start in which slot.
#[derive(Debug)]
pub(super) struct Slots<K> {
    rings: BTreeMap<NonZeroU64, Ring<K>>,
    members: BTreeMap<K, Member>,
    /// The next start of every member; agrees with `members`.
    agenda: BTreeSet<(u64, K)>,
}

#[derive(Debug)]
struct Ring<K> {
    count: u64,
    /// Places that hold somebody.
    places: BTreeMap<u64, BTreeSet<K>>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    ring: NonZeroU64,
    place: u64,
    next: u64,
}

impl<K: Copy + Ord + Hash> Slots<K> {
    pub(super) fn new() -> Self {
        Self { rings: BTreeMap::new(), members: BTreeMap::new(), agenda: BTreeSet::new() }
    }

    /// Starts `key` every `every` slots, first within `every` slots after `now`. One that does so already stays where it is.
    pub(super) fn join(&mut self, key: K, every: NonZeroU64, now: u64) {
        if self.members.get(&key).is_some_and(|member| member.ring == every) {
            return;
        }
        self.leave(key, now);
        let ring = self.rings.entry(every).or_insert_with(|| Ring { count: 0, places: BTreeMap::new() });
        let share = ring.count / every;
        // From a place of its own, so that rings of different length do not all begin at the same one.
        let mut place = hash(&key) % every;
        while ring.load(place) > share {
            place = (place + 1) % every;
        }
        ring.count += 1;
        self.put(key, every, place, now);
    }

    /// Ends the starts of `key`.
    pub(super) fn leave(&mut self, key: K, now: u64) {
        let Some(member) = self.take(key) else { return };
        let Some(ring) = self.rings.get_mut(&member.ring) else { return };
        ring.count -= 1;
        if ring.count == 0 {
            self.rings.remove(&member.ring);
            return;
        }
        let left = ring.load(member.place);
        let fuller = ring.places.iter().find(|(_, keys)| keys.len() as u64 > left + 1);
        if let Some(moved) = fuller.and_then(|(_, keys)| keys.first().copied()) {
            self.take(moved);
            self.put(moved, member.ring, member.place, now);
        }
    }

    /// The slot of the earliest start.
    pub(super) fn next(&self) -> Option<u64> {
        self.agenda.first().map(|(slot, _)| *slot)
    }

    /// Takes one start that is due in slot `now` or before, and plans its next.
    pub(super) fn due(&mut self, now: u64) -> Option<K> {
        let (slot, key) = *self.agenda.first().filter(|(slot, _)| *slot <= now)?;
        self.agenda.remove(&(slot, key));
        if let Some(member) = self.members.get_mut(&key) {
            member.next = slot + member.ring.get();
            self.agenda.insert((member.next, key));
        }
        Some(key)
    }

    fn put(&mut self, key: K, ring: NonZeroU64, place: u64, now: u64) {
        let ahead = (place + ring.get() - (now + 1) % ring) % ring;
        let member = Member { ring, place, next: now + 1 + ahead };
        if let Some(ring) = self.rings.get_mut(&ring) {
            ring.places.entry(place).or_default().insert(key);
        }
        self.agenda.insert((member.next, key));
        self.members.insert(key, member);
    }

    fn take(&mut self, key: K) -> Option<Member> {
        let member = self.members.remove(&key)?;
        self.agenda.remove(&(member.next, key));
        if let Some(places) = self.rings.get_mut(&member.ring).map(|ring| &mut ring.places)
            && let Some(keys) = places.get_mut(&member.place)
        {
            keys.remove(&key);
            if keys.is_empty() {
                places.remove(&member.place);
            }
        }
        Some(member)
    }
}

impl<K> Ring<K> {
    fn load(&self, place: u64) -> u64 {
        self.places.get(&place).map_or(0, |keys| keys.len() as u64)
    }
}

fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slots(n: u64) -> NonZeroU64 {
        NonZeroU64::new(n).unwrap()
    }

    #[test]
    fn a_member_starts_once_a_round_in_its_own_slot() {
        let mut plan = Slots::new();
        plan.join(7_u32, slots(20), 100);
        let first = plan.next().unwrap();
        assert!((101..=120).contains(&first));
        assert_eq!(plan.due(first - 1), None);
        assert_eq!(plan.due(first), Some(7));
        assert_eq!(plan.due(first), None);
        plan.join(7, slots(20), first);
        assert_eq!(plan.next(), Some(first + 20), "joining again changes nothing");
        plan.leave(7, first);
        assert_eq!(plan.next(), None);
    }

    proptest! {
        #[test]
        fn no_slot_has_more_than_its_share(
            moves in proptest::collection::vec((0_u32..60, proptest::option::of(prop_oneof![Just(4_u64), Just(9), Just(40)])), 1..200),
        ) {
            let mut plan = Slots::new();
            for (now, (key, every)) in moves.into_iter().enumerate() {
                match every {
                    Some(every) => plan.join(key, slots(every), now as u64),
                    None => plan.leave(key, now as u64),
                }
                while plan.due(now as u64).is_some() {}
                for (every, ring) in &plan.rings {
                    let most = ring.places.values().map(|keys| keys.len() as u64).max().unwrap_or(0);
                    prop_assert!(most <= ring.count.div_ceil(every.get()), "{most} of {} in a ring of {every}", ring.count);
                    prop_assert_eq!(ring.count, ring.places.values().map(|keys| keys.len() as u64).sum::<u64>());
                }
                prop_assert_eq!(plan.members.len(), plan.agenda.len());
            }
        }
    }
}
