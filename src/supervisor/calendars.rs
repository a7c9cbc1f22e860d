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
    /// When each window ends that is open.
    open: Vec<Option<i64>>,
    /// When one of them opens or ends next.
    next: Option<i64>,
    /// The wall clock's lead over the monotonic one at the newest look; none before the first.
    lead: Option<i64>,
    /// Until when each service was told.
    told: BTreeMap<ServiceId, i64>,
    /// The openings of windows that a person has ended for this service, each with its end.
    ended: BTreeMap<ServiceId, Vec<(Window, i64)>>,
}

impl Calendars {
    pub(super) fn new(windows: Vec<Window>) -> Self {
        Self { windows, ..Self::default() }
    }

    /// Other windows; those that are the same stay ended where a person has ended them.
    pub(super) fn replace(&mut self, windows: &[Window]) {
        if self.windows != windows {
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
        self.open = open_until.iter().map(|until| until.map(|until| until.as_millisecond())).collect();
        for (place, (window, until)) in self.windows.iter().zip(open_until).enumerate() {
            match (before.get(place).copied().flatten(), until) {
                (None, Some(until)) => tracing::info!(window = %window.name, %until, "a maintenance window is open"),
                (Some(_), None) => tracing::info!(window = %window.name, "a maintenance window is over"),
                _ => {}
            }
        }
        self.next = next_change.map(|next| next.as_millisecond());
        self.lead = Some(now.wall.0.saturating_sub(now.mono.0));
        self.ended.retain(|_, ended| {
            ended.retain(|(_, end)| *end > now.wall.0);
            !ended.is_empty()
        });
    }

    /// The open windows that cover a service, each with its end.
    fn covering(&self, watched: &Watched, first_host: Option<&str>) -> impl Iterator<Item = (&Window, i64)> {
        let covers = move |window: &Window| {
            window.hosts.is_empty() && window.services.is_empty()
                || window.hosts.iter().any(|host| **host == *watched.subject.host)
                || window.services.iter().any(|name| is_named(watched, first_host, name))
        };
        let open = self.windows.iter().zip(&self.open);
        open.filter_map(move |(window, until)| Some((window, until.filter(|_| covers(window))?)))
    }

    /// When the last of the open windows ends that cover this service, but for those that a person has ended.
    fn until(&self, id: ServiceId, watched: &Watched, first_host: Option<&str>) -> Option<i64> {
        let is_ended = |window: &Window, until: i64| {
            let mut ended = self.ended.get(&id).into_iter().flatten();
            ended.any(|(ended, end)| *end == until && ended == window)
        };
        let open = self.covering(watched, first_host).filter(|(window, until)| !is_ended(window, *until));
        open.map(|(_, until)| until).max()
    }

    fn statuses(&self, now: Now) -> Vec<WindowStatus> {
        let status = |(window, open_until): (&Window, &Option<i64>)| WindowStatus {
            name: Arc::from(window.name.as_str()),
            hosts: window.hosts.clone(),
            services: window.services.clone(),
            open_until: *open_until,
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
        let Some(watched) = self.fleet.service(id) else { return };
        let first_host = self.config.hosts.first().map(|host| host.name.as_str());
        let open: Vec<_> = self.calendars.covering(watched, first_host).map(|(one, end)| (one.clone(), end)).collect();
        self.calendars.told.remove(&id);
        self.calendars.ended.entry(id).or_default().extend(open);
    }

    fn window_until(&self, id: ServiceId) -> Option<i64> {
        let first_host = self.config.hosts.first().map(|host| host.name.as_str());
        self.calendars.until(id, self.fleet.service(id)?, first_host)
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
