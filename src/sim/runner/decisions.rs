//! What the policy decides is judged, kept, and carried out in the simulated world.

use super::life::Due;
use super::*;

impl Runner<'_> {
    /// One step of the policy, judged, and what follows from it.
    pub(super) fn step(&mut self, input: Input) {
        let now = self.now();
        let Some(iaso) = &mut self.iaso else { return };
        self.report.inputs += 1;
        // A tick and a check's result have no room for one; they are most of what comes.
        let has_room = !matches!(input, Input::Tick | Input::Checked { .. });
        if has_room && serde_json::to_string(&input).is_ok_and(|text| text.contains("planted-secret")) {
            self.books.problems.push(format!("a secret went into the policy: {input:?}"));
        }
        iaso.judges.hear(&input);
        let mut out = Vec::new();
        iaso.policy.step(now, input, &mut out);
        let mut out = out.into_iter();
        while let Some(action) = out.next() {
            let Some(iaso) = &mut self.iaso else { return };
            if let Err(violation) = iaso.judges.judge(now, &action) {
                self.books.problems.push(format!("{} ms: {violation}: {action:?}", now.mono.0));
            }
            let doomed = iaso.doomed.as_mut().is_some_and(|(left, _)| {
                *left -= 1;
                *left == 0
            });
            let down_ms = iaso.doomed.map_or(0, |(_, down_ms)| down_ms);
            self.perform(&action);
            if doomed {
                // What the step would have told died with it.
                if out.any(|action| matches!(action, Action::Record(Record { event: Event::Announced { .. }, .. }))) {
                    self.books.forget_told();
                }
                return self.end(false, down_ms);
            }
        }
        if let Some(iaso) = &mut self.iaso
            && let Err(violation) = iaso.judges.conclude()
        {
            self.books.problems.push(format!("{} ms: {violation}", now.mono.0));
        }
    }

    pub(super) fn perform(&mut self, action: &Action) {
        match *action {
            Action::Record(record) => self.write(record),
            Action::Operate(ref operation) => self.operate(operation),
            Action::Look { service } => {
                let began = self.now().mono;
                let Some(watched) = self.iaso.as_ref().and_then(|iaso| iaso.fleet.service(service)) else { return };
                let (host, container) = (usize::from(watched.host.0), watched.container.clone());
                if let (Reach::After(ms), Some(container)) = (self.worlds[host].reach(), container) {
                    self.plan(ms.max(1), Due::Looked(host, container, began));
                }
            }
            Action::Probe { service, .. } => self.probe(service, None),
            Action::Cadence { service, every, .. } => {
                let Some(probes) = self.iaso.as_mut().and_then(|iaso| iaso.probes.get_mut(&service)) else { return };
                probes.interval = every;
                probes.plan += 1;
                let plan = probes.plan;
                self.plan(millis(every), Due::Probe(service, plan));
            }
            Action::RolledOut { rollout, undo, result } => self.rolled_out(rollout, undo, result),
            Action::Announce(ref alert) => {
                let watched = self.iaso.as_ref().and_then(|iaso| iaso.fleet.service(alert.service));
                if let Some((watched, container)) = watched.and_then(|it| Some((it, it.container.as_ref()?.short()))) {
                    self.books.announced(&self.worlds[usize::from(watched.host.0)], container, alert);
                }
                self.plan(DELIVERED_AFTER, Due::Delivered(alert.service, alert.key));
            }
            Action::Answer { .. } => {}
        }
    }

    pub(super) fn write(&mut self, record: Record) {
        self.report.healed +=
            u64::from(matches!(record.event, Event::Ended { verdict: iaso_policy::record::Verdict::Healed, .. }));
        self.report.storms += u64::from(matches!(record.event, Event::StormBegan { .. }));
        if let Event::Held { reason, .. } = record.event {
            self.report.behind += u64::from(reason == Hold::Dependency);
            self.report.planned += u64::from(reason == Hold::PlannedChange);
            self.report.maintained += u64::from(reason == Hold::Maintenance);
            self.judge_hold(record.service, reason);
        }
        self.report.joined += u64::from(matches!(record.event, Event::Joined { .. }));
        if !record.event.is_durable() {
            return;
        }
        let refused = self.store.refuses_until > self.at();
        match &mut self.iaso {
            Some(iaso) if refused || !iaso.store_up => iaso.backlog.push(record),
            _ => self.keep(&record),
        }
    }

    pub(super) fn keep(&mut self, record: &Record) {
        let watched = self.iaso.as_ref().and_then(|iaso| iaso.fleet.service(record.service));
        let Some(identity) = watched.map(|watched| watched.subject.identity.clone()) else { return };
        if let Event::Delivered { key } = record.event {
            self.books.taking_kept(key);
        }
        self.store.last = Some(record.now);
        self.store.memories.entry(identity.clone()).or_insert_with(|| Memory::new(identity)).apply(record);
    }

    /// First the charge, then a look, then the call.
    pub(super) fn operate(&mut self, operation: &Operation) {
        let Operation { service, attempt, .. } = *operation;
        let refused = self.store.refuses_until > self.at();
        self.books.begun(usize::from(operation.host.0), attempt);
        let Some(iaso) = &mut self.iaso else { return };
        let Some(watched) = iaso.fleet.service(service) else { return };
        if operation.charge == Charge::Stored && refused {
            iaso.store_up = false;
            return self.answer(operation, Outcome::Uncharged, 100);
        }
        let known = iaso.fleet.container_of(watched);
        let known = known.filter(|known| known.detail.id.short() == operation.instance.container);
        let target = known.map(|known| (known.detail.id.short(), known.expected(operation.instance)));
        let host = usize::from(watched.host.0);
        let spec = watched.spec();
        let maintained = self.windows.until(watched, self.worlds[host].now()).is_some();
        let change = change_of(operation.step, &watched.service.recovery.commands);
        let (Some((id, expected)), Some(change)) = (target, change) else {
            return self.answer(operation, Outcome::Moot, 1);
        };
        let meeting = self.meetings.pop_front();
        if let Some(deed @ Deed::Before(_)) = &meeting
            && let Some(name) = self.worlds[host].inspect(id).map(|detail| detail.name)
        {
            self.meet(&name, deed.clone());
        }
        match self.worlds[host].reach() {
            Reach::Refused => return self.answer(operation, Outcome::Unreachable, 1),
            Reach::Hangs => return self.answer(operation, Outcome::TimedOut, millis(bound(operation))),
            Reach::After(_) => {}
        }
        let Some(detail) = self.worlds[host].inspect(id) else { return self.answer(operation, Outcome::NotFound, 1) };
        if let Some(obstacle) = obstacle(&detail, expected, &change) {
            return self.answer(operation, obstacle.outcome, 1);
        }
        self.books.call(&self.worlds[host], host, &detail, operation, &spec, maintained);
        self.report.operations += 1;
        self.report.for_credentials += u64::from(matches!(operation.cause, Cause::Credential { .. }));
        let ticket = self.worlds[host].begin_change(id, &change, operation.stop_grace);
        if let Some(iaso) = &mut self.iaso {
            iaso.calls.insert((host, ticket), (service, attempt));
        }
        self.plan(millis(bound(operation)), Due::TimesOut(host, ticket));
        if let Some(deed) = meeting {
            self.plan_meeting(detail.name, deed);
        }
    }

    pub(super) fn answer(&mut self, operation: &Operation, outcome: Outcome, after: i64) {
        let Operation { service, attempt, .. } = *operation;
        self.plan(after, Due::Answered(service, attempt, outcome));
    }
}
