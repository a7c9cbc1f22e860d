//! What a person orders.

use crate::action::{Action, Answer, Cause};
use crate::id::OrderId;
use crate::input::Order;
use crate::memory::Acknowledged;
use crate::record::{Event, Release, Verdict};
use crate::service::{Doing, Service};
use crate::spec::Step;
use crate::turn::Turn;

impl Service {
    /// A person's order.
    pub(crate) fn order(&mut self, turn: &mut Turn<'_>, id: OrderId, order: Order) {
        let answer = match order {
            Order::Pause => {
                if !self.paused {
                    self.paused = true;
                    self.record(turn, Event::Paused);
                }
                Answer::Done
            }
            Order::Resume => {
                if self.paused {
                    self.paused = false;
                    self.record(turn, Event::Resumed);
                }
                self.release(turn, Release::Operator);
                (self.denied_until, self.refused_until, self.backoff_until) = (None, None, None);
                Answer::Done
            }
            Order::Maintain { until, everything } => {
                self.maintain(turn, until, everything);
                turn.shared.everything = self.ordered.filter(|_| everything).or(turn.shared.everything);
                Answer::Done
            }
            Order::EndMaintenance { everything } => {
                self.end_maintenance(turn, everything);
                turn.shared.everything = turn.shared.everything.filter(|_| !everything);
                Answer::Done
            }
            Order::Acknowledge { until } => match &mut self.incident {
                Some(incident) => {
                    let lasting = until.map(|until| until.since(turn.now.mono));
                    incident.acknowledged = Some(Acknowledged { since: turn.now, lasting });
                    self.record(turn, Event::Acknowledged { lasting });
                    Answer::Done
                }
                None => Answer::NoIncident,
            },
            Order::Restart { now } => self.ordered_restart(turn, now),
        };
        turn.out.push(Action::Answer { order: id, answer });
    }

    fn ordered_restart(&mut self, turn: &mut Turn<'_>, at_once: bool) -> Answer {
        if turn.shared.stopping {
            return Answer::Stopping;
        }
        if !turn.host(self.spec.host).up {
            return Answer::HostDown;
        }
        if self.instance().is_none() {
            return Answer::NoTarget;
        }
        if let Some(attempt) = self.attempt() {
            if !at_once || attempt.is_undo() {
                return Answer::Busy(attempt.id);
            }
            if matches!(self.phase, Doing::Operating(_)) {
                self.give_back_place(turn);
            }
            self.end(turn, attempt, Verdict::Superseded);
        }
        self.release(turn, Release::Operator);
        match self.begin(turn, Step::Restart, Cause::Operator, None) {
            Some(attempt) => Answer::Begun(attempt.id),
            None => Answer::NoTarget,
        }
    }
}
