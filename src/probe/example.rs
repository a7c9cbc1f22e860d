//! A check, its container and its server, for tests.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iaso_policy::id::{CheckId, HostId, Instance};
use iaso_policy::time::Mono;

use tokio::net::{TcpListener, TcpStream};

use super::address::{Endpoint, Way};
use super::connect::Connector;
use super::inside::{Containers, Ran, Seen, Unanswered};
use super::prober::Probers;
use super::report::Report;
use super::scheduler::Planned;
use crate::config::validated::Probe;
use crate::system::clock::Clock;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;

/// Long enough for whatever ends by itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// For what never does.
pub(super) const SHORT: Duration = Duration::from_millis(300);

pub(super) fn connector() -> Connector {
    probers().connector
}

/// The real probes, over an engine without containers.
pub(super) fn probers() -> Probers {
    let clock = Clock::new();
    Probers::new(Resolver::system(clock), clock, Arc::new(NoContainers), None, None, Tasks::new())
}

struct NoContainers;

impl Containers for NoContainers {
    fn exec<'a>(
        &'a self,
        _: HostId,
        _: &'a str,
        _: &'a [String],
        _: Duration,
    ) -> BoxFuture<'a, Result<Ran, Unanswered>> {
        ready(Err(Unanswered::ByContainer("no such container".to_owned()))).boxed()
    }

    fn look<'a>(&'a self, _: HostId, _: &'a str) -> BoxFuture<'a, Result<Seen, Unanswered>> {
        ready(Err(Unanswered::ByContainer("no such container".to_owned()))).boxed()
    }
}

/// A server on loopback that hands each connection to `serve`.
pub(super) async fn server<F, R>(serve: F) -> Endpoint
where
    F: Fn(TcpStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = Tasks::new();
    let each = tasks.clone();
    tasks.spawn("server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            each.spawn("connection", serve(stream));
        }
    });
    Endpoint { host: "127.0.0.1".to_owned(), port }
}

/// A port of loopback that nobody listens on.
pub(super) async fn nobody() -> Endpoint {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    Endpoint { host: "127.0.0.1".to_owned(), port }
}

/// The steps' names, the last with a `!` where it did not hold.
pub(super) fn steps(report: &Report) -> String {
    let steps = report.steps.iter().map(|step| format!("{}{}", step.name, if step.ok { "" } else { "!" }));
    steps.collect::<Vec<_>>().join(" ")
}

/// The check `check` of the service `web`, which goes nowhere.
pub(super) fn planned(probe: Probe, timeout: Duration) -> Planned {
    Planned {
        check: CheckId(0),
        name: "check".to_owned(),
        probe: Arc::new(probe),
        instance: Instance { container: 1, started: 1 },
        since: Mono(0),
        service: "web".into(),
        host: HostId(0),
        container: "c0".into(),
        way: Ok(Way::Direct),
        timeout,
        interval: Duration::from_secs(30),
    }
}
