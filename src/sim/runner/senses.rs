//! What the simulated worlds tell: events, lists, looks and probes become inputs, as in the daemon.

use super::life::{Due, Probes};
use super::*;

impl Runner<'_> {
    pub(super) fn hear(&mut self, host: usize, event: WorldEvent) {
        match event.what {
            Happening::EngineUp => self.engine_starts[host] += 1,
            Happening::StreamsEnded => {
                if self.is_linked(host) {
                    if let Some(iaso) = &mut self.iaso {
                        iaso.links[host].up_since = None;
                    }
                    self.report.lost_hosts += 1;
                    self.step(Input::Host { host: id_of(host), link: HostLink::Down });
                    self.plan(RECONNECT, Due::Connect(host));
                }
            }
            Happening::Event(event) => {
                if self.is_linked(host) {
                    self.hear_event(host, &event);
                }
            }
            // Who asked takes it for lost when the time is up.
            Happening::Answered { .. } if self.worlds[host].is_cut_off() => {}
            Happening::Answered { ticket, result } => {
                let call = self.iaso.as_mut().and_then(|iaso| iaso.calls.remove(&(host, ticket)));
                if let Some((service, attempt)) = call {
                    self.finished(service, attempt, answered(result).outcome);
                }
            }
        }
    }

    fn hear_event(&mut self, host: usize, event: &EngineEvent) {
        let now = self.now();
        let described = matches!(event.action, EventAction::Create | EventAction::Start | EventAction::Rename);
        let detail = self.worlds[host].inspect(event.container.short()).filter(|_| described);
        self.books.told_event(&self.worlds[host], host, event);
        let Some(iaso) = &mut self.iaso else { return };
        let news = iaso.fleet.event(id_of(host), event, detail, now.mono, now);
        self.take(news);
    }

    pub(super) fn list(&mut self, host: usize) {
        let now = self.now();
        let world = &self.worlds[host];
        let Reach::After(_) = world.reach() else { return };
        for id in world.ids() {
            self.books.told_look(world, host, id, now.mono.0);
        }
        let Some(iaso) = &mut self.iaso else { return };
        let news = iaso.fleet.listed(id_of(host), world.list(), now.mono, now);
        self.take(news);
    }

    pub(super) fn looked(&mut self, host: usize, id: &ContainerId, began: Mono) {
        let now = self.now();
        let world = &self.worlds[host];
        let Reach::After(_) = world.reach() else { return };
        self.books.told_look(world, host, id.short(), began.0);
        let Some(iaso) = &mut self.iaso else { return };
        let news = iaso.fleet.looked(id_of(host), id, world.inspect(id.short()), began, now);
        self.take(news);
    }

    pub(super) fn take(&mut self, news: News) {
        let others = news.inputs.iter().any(|input| matches!(input, Input::Define { .. } | Input::Forget { .. }));
        if others || news.rewired {
            let Some(iaso) = &mut self.iaso else { return };
            for input in iaso.needs.news(&iaso.fleet) {
                self.step(input);
            }
        }
        for input in news.inputs {
            let defined = if let Input::Define { service, .. } = &input { Some(*service) } else { None };
            self.step(input);
            if let Some(service) = defined {
                if let Some(iaso) = &mut self.iaso {
                    iaso.windows_told.remove(&service);
                }
                self.tell_window(service);
            }
        }
        for service in news.replan {
            let Some(iaso) = &mut self.iaso else { return };
            let check = iaso.fleet.service(service).and_then(|watched| watched.service.checks.first());
            let Some(interval) = check.map(|check| check.interval) else { continue };
            if let Entry::Vacant(probes) = iaso.probes.entry(service) {
                probes.insert(Probes { interval, plan: 0 });
                self.plan(1, Due::Probe(service, 0));
            }
        }
    }

    pub(super) fn probe(&mut self, service: ServiceId, plan: Option<u64>) {
        let Some(iaso) = &self.iaso else { return };
        let Some(probes) = iaso.probes.get(&service) else { return };
        if plan.is_some_and(|plan| plan != probes.plan) {
            return;
        }
        let Some(watched) = iaso.fleet.service(service) else { return };
        let Some(check) = watched.service.checks.first() else { return };
        let (again, timeout, plan) = (millis(probes.interval), check.timeout, probes.plan);
        let known = iaso.fleet.container_of(watched).map(|known| (known.detail.id.short(), known.instance()));
        let host = usize::from(watched.host.0);
        self.plan(again, Due::Probe(service, plan));
        let Some((id, instance)) = known else { return };
        let world = &self.worlds[host];
        if !world.truth(id).is_some_and(|truth| truth.running && !truth.paused) {
            return;
        }
        let answer = world.probe(id, PORT);
        let passes = answer.passes(timeout);
        let after = match answer {
            ProbeResult::Answered { after_ms, .. } => after_ms.min(millis(timeout)),
            ProbeResult::Refused => 1,
            ProbeResult::Hung => millis(timeout),
        };
        let result = if passes { CheckResult::Passed } else { CheckResult::Failed };
        let began = self.now().mono;
        self.plan(after, Due::Probed { service, instance, began, result });
    }

    pub(super) fn probed(&mut self, service: ServiceId, instance: Instance, began: Mono, result: CheckResult) {
        if let Some(watched) = self.iaso.as_ref().and_then(|iaso| iaso.fleet.service(service)) {
            let host = usize::from(watched.host.0);
            let identity = &watched.subject.identity;
            let (id, passed) = (instance.container, result == CheckResult::Passed);
            self.books.told_probe(&self.worlds[host], host, id, identity, began.0, passed);
        }
        self.step(Input::Checked { service, check: CheckId(0), instance, began, result });
    }
}
