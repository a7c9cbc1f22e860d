//! What befalls the worlds and Iaso, and what people do and order.

use iaso_policy::spec::Step;
use iaso_policy::view::Phase;

use super::life::Due;
use super::*;

impl Runner<'_> {
    pub(super) fn befall(&mut self, turn: &Turn) {
        match turn {
            Turn::Person { container, act } => return self.person(container, act),
            Turn::Engine { host, fault } => {
                let at_work_on: Vec<u128> = self.operating().into_iter().map(|(id, _)| id).collect();
                self.books.befalls(&self.worlds[*host], *host, *fault, self.iaso.is_some(), &at_work_on);
            }
            _ => {}
        }
        if turn.befall(&mut self.worlds) {
            return;
        }
        match turn {
            Turn::Order { container, order } => self.order(container, *order),
            Turn::Meet(deed) => self.meetings.push_back(deed.clone()),
            Turn::Window { host, container, for_ms } => self.open_window(*host, container.clone(), *for_ms),
            Turn::KillIaso { after_actions: 0, down_ms } => self.end(false, *down_ms),
            Turn::KillIaso { after_actions, down_ms } => {
                if let Some(iaso) = &mut self.iaso {
                    iaso.doomed = Some((*after_actions, *down_ms));
                }
            }
            Turn::StopIaso { down_ms } => {
                self.step(Input::Stopping);
                self.end(true, *down_ms);
            }
            Turn::StoreRefuses { for_ms } => self.store.refuses_until = self.at() + for_ms,
            Turn::WallJumps { by_ms } => self.wall_offset += by_ms,
            Turn::Reload { discovery } => self.reload(*discovery),
            Turn::RollOut(change) => self.roll_out(change),
            Turn::Undo(back) => self.step(Input::Undo { rollout: RolloutId(self.rollouts.saturating_sub(*back)) }),
            Turn::Engine { .. } | Turn::Person { .. } | Turn::Make(_) => {}
        }
    }

    /// A person acts on the container of this name.
    pub(super) fn person(&mut self, container: &str, act: &Act) {
        let Some((host, id)) = self.find(container) else { return };
        let is_being_stopped = self.operating().contains(&(id, true));
        let world = &mut self.worlds[host];
        // An engine that does not answer does nothing for anybody.
        if world.heeds_people() {
            self.books.acted(world, id, act, is_being_stopped);
        }
        // People try things.
        drop(world.person(container, act));
    }

    /// A person comes upon what Iaso is having changed.
    pub(super) fn meet(&mut self, container: &str, deed: Deed) {
        match deed {
            Deed::Before(act) | Deed::During(act, _) => self.person(container, &act),
            Deed::Order(order, _) => self.order(container, order),
        }
        self.report.met += 1;
    }

    pub(super) fn order(&mut self, container: &str, order: OrderKind) {
        let Some((host, id)) = self.find(container) else { return };
        let Some(detail) = self.worlds[host].inspect(id) else { return };
        let Some(iaso) = &self.iaso else { return };
        let known = iaso.fleet.known(id_of(host)).get(&detail.id);
        let Some(service) = known.and_then(|known| known.service) else { return };
        let Some(watched) = iaso.fleet.service(service).filter(|watched| watched.declared) else { return };
        let now = self.now().mono;
        let identity = watched.subject.identity.clone();
        self.books.ordered(&identity, now.0, order);
        match order {
            OrderKind::Maintain { for_ms } => self.books.maintains(id, now.0 + for_ms),
            OrderKind::EndMaintenance => self.end_windows(service, &identity),
            _ => {}
        }
        let order = match order {
            OrderKind::Pause => Order::Pause,
            OrderKind::Resume => Order::Resume,
            OrderKind::Restart { now } => Order::Restart { now },
            OrderKind::Maintain { for_ms } => Order::Maintain { until: Mono(now.0 + for_ms), everything: false },
            OrderKind::EndMaintenance => Order::EndMaintenance { everything: false },
            OrderKind::Acknowledge => Order::Acknowledge { until: None },
        };
        self.step(Input::Order { service, id: OrderId(1), order });
    }

    /// Another configuration, with fewer places for operations where nothing is watched.
    fn reload(&mut self, discovery: bool) {
        let mut config = config(self.worlds.len());
        config.discovery.enabled = discovery;
        config.fleet.max_concurrent = if discovery { config.fleet.max_concurrent } else { 1 };
        self.config = Arc::new(config);
        let (now, fleet) = (self.now(), self.config.fleet);
        self.books.forget_broken();
        self.books.forget_told();
        let Some(iaso) = &mut self.iaso else { return };
        let news = iaso.fleet.reload(Arc::clone(&self.config), now);
        self.step(Input::Rules { fleet });
        self.take(news);
        self.step(Input::Tick);
    }

    /// Containers that Iaso is at work on, and whether that stops them.
    fn operating(&self) -> Vec<(u128, bool)> {
        let Some(iaso) = &self.iaso else { return Vec::new() };
        let busy = iaso.policy.views().filter_map(|view| {
            let stops = match view.phase {
                Phase::Idle => return None,
                Phase::Operating { step, .. } => matches!(step, Step::Restart | Step::Stop),
                Phase::Verifying { .. } => false,
            };
            Some((view.container?.instance.container, stops))
        });
        busy.collect()
    }

    pub(super) fn plan_meeting(&mut self, container: String, deed: Deed) {
        let (Deed::During(_, after) | Deed::Order(_, after)) = deed else { return };
        self.plan(after, Due::Met(container, deed));
    }
}
