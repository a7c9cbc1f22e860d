//! Windows of maintenance: which of the configuration's are open, and which services were told so. The one place that looks at
//! them, by the wall clock: when the next change has come, and whenever that clock was set.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::ServiceId;
use iaso_policy::input::Input;
use iaso_policy::time::{Mono, Now};
use jiff::Timestamp;

use super::Supervisor;
use super::fleet::Watched;
use super::rollouts::is_named;
use crate::config::validated::Window;
use crate::schedule::{self, Outlook};
use crate::snapshot::WindowStatus;

/// A clock that drifts this far, in milliseconds, was set: ends of windows are told anew.
const SET: i64 = 1000;

/// The windows, and what follows from them. Times are milliseconds since 1970.
#[derive(Default)]
pub(super) struct Calendars {
    windows: Vec<Window>,
    /// Since when each is in the configuration; always, for those that were at Iaso's start.
    known: Vec<Mono>,
    /// When each window that is open has opened, and when it ends.
    open: Vec<Option<(i64, i64)>>,
    /// When one of them opens or ends next.
    next: Option<i64>,
    /// The wall clock's lead over the monotonic one at the newest look; none before the first.
    lead: Option<i64>,
    /// Until when each service was told.
    told: BTreeMap<ServiceId, i64>,
    /// When a person last ended what was open for a service: on the monotonic clock, which is never set.
    ended: BTreeMap<ServiceId, Mono>,
}

impl Calendars {
    pub(super) fn new(windows: Vec<Window>) -> Self {
        Self { known: windows.iter().map(|_| Mono(i64::MIN)).collect(), windows, ..Self::default() }
    }

    /// Other windows; those that are the same stay ended where a person has ended them.
    pub(super) fn replace(&mut self, windows: &[Window], now: Mono) {
        if self.windows != windows {
            let before = |window| self.windows.iter().position(|known| known == window).map(|place| self.known[place]);
            self.known = windows.iter().map(|window| before(window).unwrap_or(now)).collect();
            (self.windows, self.open, self.lead) = (windows.to_vec(), Vec::new(), None);
        }
    }

    /// How long until a window opens or ends.
    pub(super) fn rest(&self, now: Now) -> Option<Duration> {
        let ahead = self.next?.saturating_sub(now.wall.0);
        Some(Duration::from_millis(u64::try_from(ahead).unwrap_or(0)))
    }

    /// The clock was set since the newest look, or there was none.
    fn clock_was_set(&self, now: Now) -> bool {
        self.lead.is_none_or(|lead| now.wall.0.saturating_sub(now.mono.0).abs_diff(lead) >= SET.unsigned_abs())
    }

    fn is_due(&self, now: Now) -> bool {
        self.clock_was_set(now) || self.next.is_some_and(|next| next <= now.wall.0)
    }

    fn look(&mut self, now: Now) {
        let at = moment(now.wall.0);
        let Outlook { open_until, next_change } = schedule::outlook(self.windows.iter().map(|window| &window.when), at);
        let before = std::mem::take(&mut self.open);
        let opened = |when, until: Timestamp| {
            let since = schedule::open_since(when, at).unwrap_or(until);
            (since.as_millisecond(), until.as_millisecond())
        };
        let open = self.windows.iter().zip(&open_until);
        self.open = open.map(|(window, until)| until.map(|until| opened(&window.when, until))).collect();
        for (place, (window, until)) in self.windows.iter().zip(open_until).enumerate() {
            match (before.get(place).copied().flatten(), until) {
                (None, Some(until)) => tracing::info!(window = %window.name, %until, "a maintenance window is open"),
                (Some(_), None) => tracing::info!(window = %window.name, "a maintenance window is over"),
                _ => {}
            }
        }
        self.next = next_change.map(|next| next.as_millisecond());
        self.lead = Some(now.wall.0.saturating_sub(now.mono.0));
    }

    /// The open windows that cover a service: since when they are known, when they opened, and when they end.
    fn covering(&self, watched: &Watched, first_host: Option<&str>) -> impl Iterator<Item = (Mono, i64, i64)> {
        let covers = move |window: &Window| {
            window.hosts.is_empty() && window.services.is_empty()
                || window.hosts.iter().any(|host| **host == *watched.subject.host)
                || window.services.iter().any(|name| is_named(watched, first_host, name))
        };
        let open = self.windows.iter().zip(&self.known).zip(&self.open);
        open.filter_map(move |((window, known), open)| {
            let (since, until) = open.filter(|_| covers(window))?;
            Some((*known, since, until))
        })
    }

    /// When the last of the open windows ends that cover this service, but for those that had opened when a person ended
    /// what was open.
    fn until(&self, watched: &Watched, first_host: Option<&str>, ended: Option<Now>) -> Option<i64> {
        let open = self
            .covering(watched, first_host)
            .filter(|(known, since, _)| ended.is_none_or(|ended| *known > ended.mono || *since > ended.wall.0));
        open.map(|(.., until)| until).max()
    }

    fn statuses(&self, now: Now) -> Vec<WindowStatus> {
        let status = |(window, open): (&Window, &Option<(i64, i64)>)| WindowStatus {
            name: Arc::from(window.name.as_str()),
            hosts: window.hosts.clone(),
            services: window.services.clone(),
            open_until: open.map(|(_, until)| until),
            next: schedule::next_start(&window.when, moment(now.wall.0)).map(|next| next.as_millisecond()),
        };
        self.windows.iter().zip(&self.open).map(status).collect()
    }
}

/// What no calendar reaches is at the end of it.
fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

impl Supervisor {
    /// Every service that is watched.
    pub(super) fn every_service(&self) -> Vec<ServiceId> {
        let all = (0..).map(ServiceId).zip(&self.fleet.services);
        all.filter(|(_, watched)| watched.declared).map(|(id, _)| id).collect()
    }

    /// Tells services of windows that have opened or ended since the last look.
    pub(super) fn look_at_calendars(&mut self) {
        let now = self.clock.now();
        if !self.calendars.is_due(now) {
            return;
        }
        let anew = self.calendars.clock_was_set(now);
        self.calendars.look(now);
        self.picture.windows(self.calendars.statuses(now));
        for id in self.every_service() {
            self.tell_maintenance(id, anew);
        }
        self.changed();
    }

    /// Tells services of the windows of another configuration that are open, before anything else of it counts. What is over
    /// by it is told by the next look.
    pub(super) fn tell_what_is_open(&mut self) {
        let now = self.clock.now();
        if !self.calendars.is_due(now) {
            return;
        }
        self.calendars.look(now);
        for id in self.every_service() {
            if self.window_until(id).is_some() {
                self.tell_maintenance(id, false);
            }
        }
        self.calendars.lead = None;
    }

    /// A person ends what is open for a service.
    pub(super) fn end_windows(&mut self, id: ServiceId) {
        self.calendars.told.remove(&id);
        self.calendars.ended.insert(id, self.clock.mono());
    }

    fn window_until(&self, id: ServiceId) -> Option<i64> {
        let first_host = self.config.hosts.first().map(|host| host.name.as_str());
        // The policy also knows of those that were ended before Iaso's start.
        let ended = self.calendars.ended.get(&id).copied().max(self.policy.maintenance_ended(id));
        self.calendars.until(self.fleet.service(id)?, first_host, ended.map(|ended| self.clock.now().at(ended)))
    }

    /// Tells a service until when a window is open for it, where that is news; or `anew`, since it or the clock is.
    pub(super) fn tell_maintenance(&mut self, id: ServiceId, anew: bool) {
        let now = self.clock.now();
        let until = self.window_until(id);
        let told = match until {
            Some(until) => self.calendars.told.insert(id, until),
            None => self.calendars.told.remove(&id),
        };
        if told != until || anew && until.is_some() {
            let until = until.map(|until| Mono(now.mono.0.saturating_add(until.saturating_sub(now.wall.0))));
            self.step(Input::Maintenance { service: id, until });
        }
    }
}

#[cfg(test)]
mod tests;
