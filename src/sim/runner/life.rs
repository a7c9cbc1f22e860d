//! One life of Iaso: from its start to its end, and what it does when its time has come.

use super::*;

/// One life of Iaso.
pub(super) struct Iaso {
    pub(super) policy: Policy,
    pub(super) judges: Judges,
    pub(super) fleet: Fleet,
    pub(super) needs: Needs,
    pub(super) probes: BTreeMap<ServiceId, Probes>,
    /// By host and ticket.
    pub(super) calls: BTreeMap<(usize, Ticket), (ServiceId, AttemptId)>,
    /// What is to come, by time and order of entry.
    pub(super) due: BTreeMap<(i64, u64), Due>,
    entries: u64,
    /// By host.
    pub(super) links: Vec<Link>,
    pub(super) store_up: bool,
    /// Durable records that the store has not taken.
    pub(super) backlog: Vec<Record>,
    /// Killed after so many more actions, for so long.
    pub(super) doomed: Option<(u32, i64)>,
    /// Until when each service was told that it is under maintenance by a calendar.
    pub(super) windows_told: BTreeMap<ServiceId, i64>,
}

/// The link to one engine.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Link {
    /// Since when it has been up.
    pub(super) up_since: Option<i64>,
    engine_starts: Option<u64>,
}

/// The probes of a service's own check.
pub(super) struct Probes {
    pub(super) interval: Duration,
    /// The newest probe that was planned; earlier plans are void.
    pub(super) plan: u64,
}

pub(super) enum Due {
    Connect(usize),
    Connected(usize),
    List(usize),
    Looked(usize, ContainerId, Mono),
    Probe(ServiceId, u64),
    Probed {
        service: ServiceId,
        instance: Instance,
        began: Mono,
        result: CheckResult,
    },
    TimesOut(usize, Ticket),
    Answered(ServiceId, AttemptId, Outcome),
    /// A reporter has taken an announcement.
    Delivered(ServiceId, AlertKey),
    /// It stays, or is undone.
    Decided(RolloutId, bool),
    /// A person comes to the container of this name.
    Met(String, Deed),
    WindowsEnd,
    /// What is broken is compared with what Iaso says of it.
    Vigil,
}

/// Between two comparisons of what is broken with what Iaso says of it.
const VIGIL_EVERY: i64 = 60_000;

impl Runner<'_> {
    pub(super) fn start(&mut self) {
        let now = self.now();
        self.lives += 1;
        let store_up = self.store.refuses_until <= now.mono.0;
        let restored = Restored {
            store_up,
            intact: true,
            clean: self.clean,
            last: self.store.last,
            services: self.store.memories.values().cloned().collect(),
        };
        let fleet = self.config.fleet;
        let seed = (self.scenario.seed << 32) ^ (self.lives << 24);
        self.clean = false;
        self.iaso = Some(Iaso {
            judges: Judges::new(&fleet, &restored, now),
            policy: Policy::restore(fleet, seed, restored, now),
            fleet: Fleet::new(Arc::clone(&self.config), None),
            needs: Needs::new(Tasks::new()),
            probes: BTreeMap::new(),
            calls: BTreeMap::new(),
            due: BTreeMap::new(),
            entries: 0,
            links: vec![Link::default(); self.worlds.len()],
            store_up,
            backlog: Vec::new(),
            doomed: None,
            windows_told: BTreeMap::new(),
        });
        for host in 0..self.worlds.len() {
            self.plan(0, Due::Connect(host));
        }
        self.plan_window_ends();
        self.plan(VIGIL_EVERY, Due::Vigil);
    }

    pub(super) fn end(&mut self, clean: bool, down_ms: i64) {
        let Some(iaso) = self.iaso.take() else { return };
        self.report.kills += u64::from(!clean);
        for record in iaso.backlog {
            if let Some(watched) = iaso.fleet.service(record.service) {
                self.books.record_lost(&watched.subject.identity, &record.event);
            }
        }
        self.books.life_ended();
        self.windows.forget_ended();
        self.clean = clean;
        self.starts_at = self.at() + down_ms.max(1);
    }

    pub(super) fn plan(&mut self, after: i64, due: Due) {
        let at = self.at() + after.max(0);
        if let Some(iaso) = &mut self.iaso {
            iaso.entries += 1;
            iaso.due.insert((at, iaso.entries), due);
        }
    }

    pub(super) fn is_linked(&self, host: usize) -> bool {
        self.iaso.as_ref().is_some_and(|iaso| iaso.links[host].up_since.is_some())
    }

    pub(super) fn carry_out(&mut self, due: Due) {
        match due {
            Due::Connect(host) => match self.worlds[host].reach() {
                Reach::After(ms) => self.plan(ms, Due::Connected(host)),
                Reach::Refused | Reach::Hangs => self.plan(RECONNECT, Due::Connect(host)),
            },
            Due::Connected(host) => self.connected(host),
            Due::List(host) => {
                if self.is_linked(host) {
                    self.list(host);
                    self.plan(LIST_EVERY, Due::List(host));
                }
            }
            Due::Looked(host, id, began) => self.looked(host, &id, began),
            Due::Probe(service, plan) => self.probe(service, Some(plan)),
            Due::Probed { service, instance, began, result } => self.probed(service, instance, began, result),
            Due::TimesOut(host, ticket) => {
                if let Some((service, attempt)) = self.iaso.as_mut().and_then(|iaso| iaso.calls.remove(&(host, ticket)))
                {
                    self.finished(service, attempt, Outcome::TimedOut);
                }
            }
            Due::Decided(rollout, true) => self.step(Input::Settle { rollout }),
            Due::Decided(rollout, false) => self.step(Input::Undo { rollout }),
            Due::Delivered(service, key) => {
                self.books.taken(key);
                self.step(Input::Delivered { service, key });
            }
            Due::Answered(service, attempt, outcome) => self.finished(service, attempt, outcome),
            Due::Met(container, deed) => self.meet(&container, deed),
            Due::WindowsEnd => self.tell_windows(),
            Due::Vigil => {
                self.keep_vigil();
                self.plan(VIGIL_EVERY, Due::Vigil);
            }
        }
    }

    fn connected(&mut self, host: usize) {
        let Reach::After(_) = self.worlds[host].reach() else { return self.plan(RECONNECT, Due::Connect(host)) };
        self.list(host);
        let (at, starts) = (self.at(), self.engine_starts[host]);
        let Some(iaso) = &mut self.iaso else { return };
        let link = &mut iaso.links[host];
        let engine_started = link.engine_starts.replace(starts).is_some_and(|known| known != starts);
        link.up_since = Some(at);
        self.step(Input::Host { host: id_of(host), link: HostLink::Up { engine_started } });
        self.plan(LIST_EVERY, Due::List(host));
    }

    pub(super) fn finished(&mut self, service: ServiceId, attempt: AttemptId, outcome: Outcome) {
        self.books.finished(attempt);
        self.step(Input::Finished { service, attempt, outcome });
    }
}
