//! Which probe carries out which check.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::config::validated::Probe;
use crate::in_use::CredentialValues;
use crate::probe::address::Way;
use crate::probe::connect::Connector;
use crate::probe::heartbeat::Heartbeats;
use crate::probe::http::HttpProber;
use crate::probe::inside::Containers;
use crate::probe::report::Report;
use crate::probe::scheduler::{Planned, Prober};
use crate::probe::tls::TlsProber;
use crate::probe::{command, dns, grpc, heartbeat, icmp, inside, tcp};
use crate::system::clock::Clock;
use crate::system::resolver::Resolver;
use crate::system::tasks::Tasks;
use crate::system::trust::TlsClients;

/// What carries out each type of check.
#[derive(Clone)]
pub struct Probers {
    /// `http`.
    pub http: HttpProber,
    /// `tls`.
    pub tls: TlsProber,
    /// `tcp`, `grpc`, and the names of `icmp`.
    pub connector: Connector,
    /// `dns`.
    pub resolver: Resolver,
    /// `exec` and `docker`.
    pub containers: Arc<dyn Containers>,
    /// `heartbeat`; none in a process that no pings come to.
    pub heartbeats: Option<Heartbeats>,
    /// What goes into the texts of `http` and `tcp`; none in a process that keeps no credentials.
    pub values: Option<CredentialValues>,
    /// Where a connection of `grpc` works beside its probe.
    pub tasks: Tasks,
}

/// Runs checks with the real probes.
pub fn prober(probers: Probers) -> Prober {
    Arc::new(move |planned: Arc<Planned>| {
        let probers = probers.clone();
        async move { probers.run(&planned).await }.boxed()
    })
}

impl Probers {
    /// All of them, over one resolver and one set of TLS configurations.
    pub fn new(
        resolver: Resolver,
        clock: Clock,
        containers: Arc<dyn Containers>,
        heartbeats: Option<Heartbeats>,
        values: Option<CredentialValues>,
        tasks: Tasks,
    ) -> Self {
        let connector = Connector::new(resolver.clone(), TlsClients::new(clock));
        Self {
            http: HttpProber::new(connector.clone(), values.clone()),
            tls: TlsProber::new(connector.clone(), clock),
            connector,
            resolver,
            containers,
            heartbeats,
            values,
            tasks,
        }
    }

    async fn run(&self, planned: &Planned) -> Report {
        let way = match &planned.way {
            Ok(way) => way,
            Err(none) => return Report::failed("address", &none.to_string(), Duration::ZERO),
        };
        let (connector, timeout) = (&self.connector, planned.timeout);
        match (&*planned.probe, way) {
            (Probe::Http(probe), Way::Port(endpoint)) => self.http.probe(probe, endpoint, timeout).await,
            (Probe::Tls(probe), Way::Port(endpoint)) => self.tls.probe(probe, endpoint, timeout).await,
            (Probe::Tcp(probe), Way::Port(endpoint)) => {
                tcp::probe(probe, endpoint, connector, self.values.as_ref(), timeout).await
            }
            (Probe::Dns(probe), Way::Port(server)) => {
                dns::probe(probe, Some(server), connector, &self.resolver, timeout).await
            }
            (Probe::Dns(probe), Way::Direct) => dns::probe(probe, None, connector, &self.resolver, timeout).await,
            (Probe::Grpc(probe), Way::Port(endpoint)) => {
                grpc::probe(probe, endpoint, connector, &self.tasks, timeout).await
            }
            (Probe::Icmp(_), Way::Host(host)) => icmp::probe(host, connector, timeout).await,
            (Probe::Exec(argv), Way::Direct) => inside::exec(&*self.containers, planned, argv).await,
            (Probe::Command(argv), Way::Direct) => command::probe(argv, planned).await,
            (Probe::Docker, Way::Direct) => inside::look(&*self.containers, planned).await,
            (Probe::Heartbeat(probe), Way::Direct) => heartbeat::probe(probe, planned, self.heartbeats.as_ref()),
            (probe, _) => {
                let why = format!("checks of type {} cannot be carried out", probe.kind());
                Report::failed("probe", &why, Duration::ZERO)
            }
        }
    }
}
