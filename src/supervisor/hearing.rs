//! What the engines tell, and what it means for services and their probes.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use iaso_policy::id::{HostId, ServiceId};
use iaso_policy::input::{HostLink, Input};

use super::fleet::News;
use super::picture::HostNews;
use super::{HostPort, Supervisor, plan};
use crate::config::validated::Target;
use crate::engine::watch::Update;
use crate::system::clock::Arrival;
use crate::system::queue::Queued;

/// So long a list is taken in before what has ended meanwhile is.
const SLICE: Duration = Duration::from_millis(2);

impl Supervisor {
    pub(super) fn update(&mut self, host: HostId, update: Update) {
        let now = self.clock.now();
        match update {
            Update::Up { info, engine_started, containers, began } => {
                tracing::info!(host = %self.picture.host_name(host), version = %info.version, containers = containers.len(), "engine connected");
                let news = self.fleet.listed(host, containers, began, now);
                self.take_in_slices(news);
                self.found_disk(host, info.data_root.as_deref());
                self.picture.host(host, now, HostNews::Up(info));
                self.step(Input::Host { host, link: HostLink::Up { engine_started } });
                self.tell_waiting();
            }
            Update::Listed { containers, began } => {
                let news = self.fleet.listed(host, containers, began, now);
                self.take_in_slices(news);
            }
            Update::Event { event, received, detail } => {
                let news = self.fleet.event(host, &event, detail.map(|detail| *detail), received, now);
                self.take(news);
            }
            Update::Looked { id, detail, began } => {
                let news = self.fleet.looked(host, &id, detail.map(|detail| *detail), began, now);
                self.take(news);
            }
            Update::Denied(denied) => {
                for told in self.picture.denied(host, &denied) {
                    tracing::warn!("host {}: its proxy denies {told}", self.picture.host_name(host));
                }
            }
            Update::Down { error } => {
                tracing::warn!(host = %self.picture.host_name(host), %error, "engine not reachable");
                self.picture.host(host, now, HostNews::Down(error));
                self.step(Input::Host { host, link: HostLink::Down });
            }
        }
    }

    /// Said once for each service of the file that has no container yet.
    pub(super) fn tell_waiting(&mut self) {
        for service in self.fleet.waiting() {
            if self.picture.is_first_wait_of(&service.name) {
                let target = target_in_words(&service.target);
                tracing::info!(service = %service.name, "waiting for {target}, which does not exist yet");
            }
        }
    }

    pub(super) fn take(&mut self, news: News) {
        self.take_between(news, |_| {});
    }

    /// The same of a list of all there is. What ends meanwhile does not wait for thousands of others.
    fn take_in_slices(&mut self, news: News) {
        let mut slice = Arrival::now();
        self.take_between(news, |supervisor| {
            if slice.elapsed() >= SLICE {
                supervisor.take_what_ended();
                slice = Arrival::now();
            }
        });
    }

    /// Takes in what has ended by now: operations and checks.
    fn take_what_ended(&mut self) {
        for _ in 0..self.operations.in_flight() {
            let Some(done) = self.operations.ready() else { break };
            self.returned(&done);
        }
        for _ in 0..self.results.len() {
            let Ok(result) = self.results.try_recv() else { break };
            self.checked(&result);
        }
    }

    /// Takes in what an engine's word means; `between` has its turn after each input.
    fn take_between(&mut self, news: News, mut between: impl FnMut(&mut Self)) {
        let others = news.inputs.iter().any(|input| matches!(input, Input::Define { .. } | Input::Forget { .. }));
        if others || news.rewired {
            // What somebody needs is known before it is seen how that one is.
            self.tell_needs();
        }
        for input in news.inputs {
            // Cadences are asked of checks that are there.
            if let Input::Define { service, .. } = &input {
                self.plan(*service);
            }
            let defined = if let Input::Define { service, .. } = &input { Some(*service) } else { None };
            self.step(input);
            // Before it is seen how it stands.
            if let Some(service) = defined {
                self.tell_maintenance(service, true);
            }
            between(self);
        }
        for service in news.replan {
            self.plan(service);
        }
    }

    /// Hands the service's checks to the scheduler, for the container as it is.
    fn plan(&self, id: ServiceId) {
        let Some(watched) = self.fleet.service(id) else { return };
        let planned = plan::plan(&self.fleet, id, &self.hosts[usize::from(watched.host.0)].site);
        if planned.is_empty() { self.probes.remove(id) } else { self.probes.set(id, planned) }
    }
}

/// The next word of any engine; those that have something to say are heard in turn.
pub(super) async fn next_update(hosts: &mut [HostPort], turn: &mut usize) -> (HostId, Queued<Update>) {
    poll_fn(|context| {
        let count = hosts.len();
        for place in (0..count).map(|step| (*turn + step) % count) {
            if let Poll::Ready(Some(update)) = hosts[place].updates.poll_recv(context) {
                *turn = (place + 1) % count;
                return Poll::Ready((HostId(u16::try_from(place).unwrap_or(u16::MAX)), update));
            }
        }
        Poll::Pending
    })
    .await
}

/// What a waiting service waits for, in words.
fn target_in_words(target: &Target) -> String {
    match target {
        Target::Container(name) => format!("a container named {name}"),
        Target::Compose { project, service } => format!("Compose service {project}/{service}"),
        Target::Selector(label) => format!("a container with the label {}={}", label.key, label.value),
    }
}
