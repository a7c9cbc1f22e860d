//! An outage from its beginning to its end, and why nothing is done about it meanwhile.

use crate::action::Trouble;
use crate::id::{IncidentId, ServiceId};
use crate::memory::Acknowledged;
use crate::record::{Ending, Event, Hold, Release};
use crate::service::Service;
use crate::spec::Step;
use crate::time::{Mono, Now};
use crate::turn::Turn;

/// An outage that goes on.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Incident {
    pub(crate) id: IncidentId,
    pub(crate) opened: Now,
    pub(crate) attempts: u32,
    pub(crate) failed: u32,
    /// When what it needs was asked how it is, before the first attempt.
    pub(crate) asked: Option<Mono>,
    /// When a person was told of it, before the first attempt.
    pub(crate) noticed: Option<Mono>,
    /// It waited for something that it needs: it is no outage of its own.
    pub(crate) dragged: bool,
    /// A person takes care of it, or did.
    pub(crate) acknowledged: Option<Acknowledged>,
    /// The outage of something that it needs that it is, or was, part of.
    pub(crate) root: Option<IncidentId>,
    /// It was not to be told when that was last asked.
    pub(crate) muted: bool,
    /// Since when it is: since its beginning, or since it was to be told again.
    pub(crate) counts_from: Option<Mono>,
}

impl Incident {
    /// Since when a person takes care of it, as far as they still do.
    pub(crate) fn acknowledged_at(&self, now: Now) -> Option<Now> {
        self.cared_for(now).map(|by| by.since)
    }

    /// That a person takes care of it, as far as they still do.
    pub(crate) fn cared_for(&self, now: Now) -> Option<Acknowledged> {
        let holds = |by: &Acknowledged| by.lasting.is_none_or(|lasting| now.place(by.since) + lasting > now.mono);
        self.acknowledged.filter(holds)
    }

    /// When they no longer do, where they said so and it lies ahead.
    pub(crate) fn acknowledged_until(&self, now: Now) -> Option<Mono> {
        let by = self.acknowledged?;
        Some(now.place(by.since) + by.lasting?).filter(|until| *until > now.mono)
    }
}

impl Service {
    pub(crate) fn open_incident(&mut self, turn: &mut Turn<'_>, trouble: Trouble) {
        if self.incident.is_none() {
            let id = turn.shared.ids.incident();
            let opened = turn.now;
            self.incident = Some(Incident {
                id,
                opened,
                attempts: 0,
                failed: 0,
                asked: None,
                noticed: None,
                dragged: false,
                acknowledged: None,
                root: None,
                muted: false,
                counts_from: None,
            });
            turn.shared.note_outage(self.id, id, opened.mono);
            self.record(turn, Event::IncidentOpened { trouble });
            let now = turn.now.mono;
            if self.maintained_until(now).is_none() {
                turn.host_mut(self.spec.host).note_failure(self.id, trouble, !self.leaving, now);
            }
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
        self.announce_end(turn, incident.id, ending);
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
        if let Some(incident) = self.incident.as_mut().filter(|_| reason == Hold::Dependency) {
            incident.dragged = true;
        }
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
