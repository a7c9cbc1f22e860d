//! Whose turn it is: rotations that touch the same services do not run side by side.

use alloc::collections::BTreeSet;

use crate::id::CredentialId;

/// Rotations at once, all groups together.
const SIDE_BY_SIDE: usize = 4;

/// Who is rotating.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    taken: BTreeSet<CredentialId>,
}

impl Turns {
    /// Who keeps this one from beginning; none: nobody. `shares` tells whether two of them have a service in common, or services
    /// that depend on each other.
    ///
    /// # Errors
    /// With the other one of its group; or, where there are too many at once, with the first of them.
    pub fn take(
        &mut self,
        who: CredentialId,
        shares: impl Fn(CredentialId, CredentialId) -> bool,
    ) -> Result<(), CredentialId> {
        let others = || self.taken.iter().copied().filter(|other| *other != who);
        if let Some(other) = others().find(|other| shares(who, *other)) {
            return Err(other);
        }
        match others().next() {
            Some(other) if others().count() >= SIDE_BY_SIDE => Err(other),
            _ => {
                self.taken.insert(who);
                Ok(())
            }
        }
    }

    /// What a journal shows to be under way keeps its turn, whoever shares.
    pub fn keep(&mut self, who: CredentialId) {
        self.taken.insert(who);
    }

    /// It has ended.
    pub fn give_back(&mut self, who: CredentialId) {
        self.taken.remove(&who);
    }
}
