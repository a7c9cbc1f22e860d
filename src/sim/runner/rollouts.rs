//! Changed credentials: what the simulated credentials task asks for, and what it makes of the end.

use iaso_policy::action::RolloutResult;
use iaso_policy::id::CredentialKey;
use iaso_policy::input::RolloutStep;
use iaso_policy::spec::{Budget, Step};

use super::life::Due;
use super::*;
use crate::sim::scenario::Change;

/// From the end of a rollout to what follows from it: the files are written meanwhile.
const DECIDES: i64 = 700;

impl Runner<'_> {
    pub(super) fn roll_out(&mut self, change: &Change) {
        let Some(iaso) = &self.iaso else { return };
        self.rollouts += 1;
        let written = EPOCH_NS + (self.at() - change.written_ago_ms) * 1_000_000;
        let step = if change.signal { Step::Signal(1) } else { Step::Restart };
        let steps = change.users.iter().filter_map(|name| {
            let (host, id) = self.find(name)?;
            let detail = self.worlds[host].inspect(id)?;
            let known = iaso.fleet.known(id_of(host)).get(&detail.id)?;
            Some(RolloutStep { service: known.service?, step, has_it: known.instance().started > written })
        });
        let input = Input::RollOut {
            rollout: RolloutId(self.rollouts),
            credential: CredentialKey(change.credential),
            steps: steps.collect(),
            cap: Budget { max: change.max_per_hour, window: Duration::from_secs(3600) },
            splay: Duration::from_millis(change.splay_ms.unsigned_abs()),
            undoable: change.undoable,
        };
        self.step(input);
    }

    pub(super) fn rolled_out(&mut self, rollout: RolloutId, undo: bool, result: RolloutResult) {
        if !matches!(result, RolloutResult::Refused(_)) {
            self.books.rolled_out(self.at(), rollout, undo);
        }
        match result {
            RolloutResult::Done if undo => self.report.undone += 1,
            RolloutResult::Done | RolloutResult::Left(_) if !undo => self.plan(DECIDES, Due::Decided(rollout, true)),
            RolloutResult::Failed(_) if !undo => self.plan(DECIDES, Due::Decided(rollout, false)),
            _ => {}
        }
    }
}
