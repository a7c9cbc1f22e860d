//! Sliding windows of charged operations.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::memory::CHARGES_KEPT;
use crate::spec::Budget;
use crate::time::Mono;

/// When operations were charged, oldest first. Bounded: what no window can reach is forgotten.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Ledger(VecDeque<Mono>);

impl Ledger {
    /// Every charge, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Mono> {
        self.0.iter().copied()
    }

    /// Takes in charges in any order.
    pub(crate) fn add(&mut self, at: Mono) {
        let place = self.0.partition_point(|then| *then <= at);
        self.0.insert(place, at);
    }

    /// Takes back what was charged at this moment: it was never spent.
    pub(crate) fn refund(&mut self, at: Mono) {
        if let Some(place) = self.0.iter().rposition(|then| *then == at) {
            self.0.remove(place);
        }
    }

    /// How many lie within `window` before `now`.
    pub(crate) fn spent(&self, now: Mono, window: Duration) -> u32 {
        let within = self.0.iter().rev().take_while(|then| now.since(**then) < window).count();
        u32::try_from(within).unwrap_or(u32::MAX)
    }

    /// How many may still be charged.
    pub(crate) fn remaining(&self, now: Mono, budget: Budget) -> u32 {
        budget.max.saturating_sub(self.spent(now, budget.window))
    }

    /// When so many more may be charged, if not now; none when they may, or never will.
    pub(crate) fn free_at(&self, now: Mono, budget: Budget, more: u32) -> Option<Mono> {
        if self.remaining(now, budget) >= more {
            return None;
        }
        let stay = budget.max.checked_sub(more)? as usize;
        let last_in_the_way = self.0.len().checked_sub(stay + 1)?;
        self.0.get(last_in_the_way).map(|then| *then + budget.window)
    }

    /// Forgets what no window can reach.
    pub(crate) fn prune(&mut self, now: Mono) {
        while self.0.front().is_some_and(|then| now.since(*then) >= CHARGES_KEPT) {
            self.0.pop_front();
        }
    }
}

/// What is left of a budget while the store cannot vouch for it: half, but at least one; a zero stays zero.
pub(crate) fn halved(budget: Budget) -> Budget {
    Budget { max: budget.max.min(1).max(budget.max / 2), ..budget }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { max: 2, window: Duration::from_secs(10) };

    #[test]
    fn a_charge_leaves_the_window_exactly_at_its_length() {
        let mut ledger = Ledger::default();
        ledger.add(Mono(0));
        ledger.add(Mono(4_000));
        assert_eq!(ledger.remaining(Mono(9_999), BUDGET), 0);
        assert_eq!(ledger.free_at(Mono(9_999), BUDGET, 1), Some(Mono(10_000)));
        assert_eq!(ledger.free_at(Mono(9_999), BUDGET, 2), Some(Mono(14_000)));
        assert_eq!(ledger.free_at(Mono(9_999), BUDGET, 3), None, "never");
        assert_eq!(ledger.remaining(Mono(10_000), BUDGET), 1);
        assert_eq!(ledger.free_at(Mono(10_000), BUDGET, 1), None);
    }

    #[test]
    fn more_than_the_budget_waits_for_enough_to_leave() {
        let mut ledger = Ledger::default();
        for at in [3_000, 1_000, 2_000] {
            ledger.add(Mono(at));
        }
        assert_eq!(ledger.free_at(Mono(5_000), BUDGET, 1), Some(Mono(12_000)));
    }

    #[test]
    fn half_a_budget_is_at_least_one_unless_nothing_is_allowed() {
        for (max, half) in [(0, 0), (1, 1), (2, 1), (3, 1), (5, 2), (20, 10)] {
            assert_eq!(halved(Budget { max, ..BUDGET }).max, half);
        }
    }
}
