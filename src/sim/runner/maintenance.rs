//! Calendars' windows of maintenance, told to the policy as the supervisor tells them.

use std::collections::BTreeSet;

use super::life::Due;
use super::*;

/// Every window so far.
#[derive(Debug, Default)]
pub(super) struct Windows(Vec<Window>);

#[derive(Debug)]
struct Window {
    until: i64,
    host: usize,
    container: Option<String>,
    /// For whom a person has ended it.
    ended: BTreeSet<Identity>,
}

impl Window {
    fn covers(&self, watched: &Watched) -> bool {
        let is_it = match &self.container {
            Some(name) => watched.subject.name.ends_with(name.as_str()),
            None => watched.host == id_of(self.host),
        };
        is_it && !self.ended.contains(&watched.subject.identity)
    }
}

impl Windows {
    /// When the last window ends that is open for a service now.
    pub(super) fn until(&self, watched: &Watched, at: i64) -> Option<i64> {
        self.0.iter().filter(|window| window.until > at && window.covers(watched)).map(|window| window.until).max()
    }

    /// What people have ended, a life of Iaso knows as long as it lasts.
    pub(super) fn forget_ended(&mut self) {
        self.0.iter_mut().for_each(|window| window.ended.clear());
    }
}

impl Runner<'_> {
    pub(super) fn open_window(&mut self, host: usize, container: Option<String>, for_ms: i64) {
        let until = self.at() + for_ms;
        self.windows.0.push(Window { until, host, container, ended: BTreeSet::new() });
        self.plan(for_ms, Due::WindowsEnd);
        self.tell_windows();
    }

    /// Another life of Iaso finds its calendars as they are.
    pub(super) fn plan_window_ends(&mut self) {
        let now = self.at();
        let ends: Vec<i64> = self.windows.0.iter().map(|window| window.until - now).filter(|ends| *ends > 0).collect();
        for ends in ends {
            self.plan(ends, Due::WindowsEnd);
        }
    }

    /// A person ends what is open for a service.
    pub(super) fn end_windows(&mut self, service: ServiceId, identity: &Identity) {
        for window in &mut self.windows.0 {
            window.ended.insert(identity.clone());
        }
        if let Some(iaso) = &mut self.iaso {
            iaso.windows_told.remove(&service);
        }
    }

    pub(super) fn tell_windows(&mut self) {
        let count = self.iaso.as_ref().map_or(0, |iaso| iaso.fleet.services.len());
        for number in 0..count {
            self.tell_window(ServiceId(u32::try_from(number).unwrap_or(u32::MAX)));
        }
    }

    /// Tells what the calendars say of a service, where that is news.
    pub(super) fn tell_window(&mut self, service: ServiceId) {
        let at = self.at();
        let Some(iaso) = &mut self.iaso else { return };
        let Some(watched) = iaso.fleet.service(service).filter(|watched| watched.declared) else { return };
        let until = self.windows.until(watched, at);
        if let (Some(until), Some(container)) = (until, &watched.container) {
            self.books.maintains(container.short(), until);
        }
        let told = iaso.windows_told.get(&service).copied();
        if until == told {
            return;
        }
        match until {
            Some(until) => drop(iaso.windows_told.insert(service, until)),
            None => drop(iaso.windows_told.remove(&service)),
        }
        self.step(Input::Maintenance { service, until: until.map(Mono) });
    }
}
