//! What the simulated world tells: events, lists, looks and probes become inputs, as in the daemon.

use super::*;

impl Runner<'_> {
    pub(super) fn hear(&mut self, event: WorldEvent) {
        match event.what {
            Happening::EngineUp => self.engine_starts += 1,
            Happening::StreamsEnded => {
                if let Some(iaso) = self.iaso.as_mut().filter(|iaso| iaso.linked) {
                    iaso.linked = false;
                    self.step(Input::Host { host: HOST, link: HostLink::Down });
                    self.plan(RECONNECT, Due::Connect);
                }
            }
            Happening::Event(event) => {
                if self.iaso.as_ref().is_some_and(|iaso| iaso.linked) {
                    self.hear_event(&event);
                }
            }
            Happening::Answered { ticket, result } => {
                if let Some((service, attempt)) = self.iaso.as_mut().and_then(|iaso| iaso.calls.remove(&ticket)) {
                    self.step(Input::Finished { service, attempt, outcome: answered(result).outcome });
                }
            }
        }
    }

    pub(super) fn hear_event(&mut self, event: &EngineEvent) {
        let now = self.now();
        let described = matches!(event.action, EventAction::Create | EventAction::Start | EventAction::Rename);
        let detail = self.world.inspect(event.container.short()).filter(|_| described);
        let Some(iaso) = &mut self.iaso else { return };
        let news = iaso.fleet.event(HOST, event, detail, now.mono, now);
        self.take(news);
    }

    pub(super) fn list(&mut self) {
        let now = self.now();
        let Reach::After(_) = self.world.reach() else { return };
        let Some(iaso) = &mut self.iaso else { return };
        let news = iaso.fleet.listed(HOST, self.world.list(), now.mono, now);
        self.take(news);
    }

    pub(super) fn looked(&mut self, id: &ContainerId, began: Mono) {
        let now = self.now();
        let Reach::After(_) = self.world.reach() else { return };
        let Some(iaso) = &mut self.iaso else { return };
        let news = iaso.fleet.looked(HOST, id, self.world.inspect(id.short()), began, now);
        self.take(news);
    }

    /// Another configuration, with fewer places for operations where nothing is watched.
    pub(super) fn reload(&mut self, discovery: bool) {
        let mut config = config();
        config.discovery.enabled = discovery;
        config.fleet.max_concurrent = if discovery { config.fleet.max_concurrent } else { 1 };
        self.config = Arc::new(config);
        let (now, fleet) = (self.now(), self.config.fleet);
        let Some(iaso) = &mut self.iaso else { return };
        let news = iaso.fleet.reload(Arc::clone(&self.config), now);
        self.step(Input::Rules { fleet });
        self.take(news);
        self.step(Input::Tick);
    }

    pub(super) fn take(&mut self, news: News) {
        for input in news.inputs {
            self.step(input);
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
        self.plan(again, Due::Probe(service, plan));
        let Some((id, instance)) = known else { return };
        if !self.world.truth(id).is_some_and(|truth| truth.running && !truth.paused) {
            return;
        }
        let answer = self.world.probe(id, PORT);
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
}
