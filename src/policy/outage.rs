//! An outage from its beginning to its end, and why nothing is done about it meanwhile.

use crate::action::Trouble;
use crate::id::ServiceId;
use crate::record::{Ending, Event, Hold, Release};
use crate::service::{Incident, Service};
use crate::spec::Step;
use crate::time::Mono;
use crate::turn::Turn;

impl Service {
    pub(crate) fn open_incident(&mut self, turn: &mut Turn<'_>, trouble: Trouble) {
        if self.incident.is_none() {
            let id = turn.shared.ids.incident();
            let opened = turn.now;
            self.incident =
                Some(Incident { id, opened, attempts: 0, failed: 0, asked: None, acknowledged: None, root: None });
            turn.shared.note_outage(self.id, id, opened.mono);
            self.record(turn, Event::IncidentOpened { trouble });
            let now = turn.now.mono;
            turn.host_mut(self.spec.host).note_failure(self.id, trouble, now);
            turn.shared.stirred.insert(self.spec.host);
        }
    }

    pub(crate) fn close_incident(&mut self, turn: &mut Turn<'_>, ending: Ending) {
        let Some(incident) = self.incident else { return };
        match ending {
            Ending::Healed | Ending::Recovered => self.release(turn, Release::Healthy),
            Ending::Gone => self.release(turn, Release::Gone),
            Ending::Stopped => {}
        }
        let lasted = turn.now.mono.since(turn.now.place(incident.opened));
        self.record(turn, Event::IncidentClosed { ending, lasted });
        self.incident = None;
        turn.shared.end_outage(incident.id);
        turn.shared.stirred.insert(self.spec.host);
    }

    /// Nothing holds any more.
    pub(crate) fn let_go(&mut self, turn: &mut Turn<'_>) {
        if let Some(hold) = self.hold.take() {
            self.record(turn, Event::Unheld { reason: hold.reason });
        }
    }

    /// Says once why nothing is done.
    pub(crate) fn hold(&mut self, turn: &mut Turn<'_>, reason: Hold, until: Option<Mono>, step: Option<Step>) {
        self.hold_behind(turn, reason, until, step, None);
    }

    /// Says once why nothing is done, and for whom it waits.
    pub(crate) fn hold_behind(
        &mut self,
        turn: &mut Turn<'_>,
        reason: Hold,
        until: Option<Mono>,
        step: Option<Step>,
        behind: Option<ServiceId>,
    ) {
        if let Some(held) = self.hold.as_mut().filter(|held| held.reason == reason && held.behind == behind) {
            held.until = until;
            return;
        }
        self.hold = Some(crate::view::HoldView { reason, since: turn.now.mono, until, behind });
        self.record(turn, Event::Held { reason, until, step, behind });
        if self.is_left_as_it_is() && turn.host(self.spec.host).storm.is_some() {
            turn.shared.stirred.insert(self.spec.host);
        }
    }
}
