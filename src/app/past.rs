//! The store as those see it who look back, and the engines as those see them who gather evidence.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use iaso_policy::Record;
use iaso_policy::id::{Identity, IncidentId};

use crate::api::Timeline;
use crate::engine::{ContainerId, ContainerState, Engine};
use crate::evidence::{Containers, Life};
use crate::incidents::{Account, Page, Wanted};
use crate::store::{Store, StoreError, StoredRecord};

/// From one look for what is too old to the next.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// The store, looked back on.
pub(super) struct StoreTimeline(pub(super) Store);

impl Timeline for StoreTimeline {
    fn newest<'a>(&'a self, identity: &'a Identity, limit: usize) -> BoxFuture<'a, Vec<Record>> {
        Box::pin(async move {
            let read: Result<_, StoreError> = self.0.timeline(identity, limit).await;
            let records =
                read.inspect_err(|error| tracing::warn!(%error, "the timeline cannot be read")).unwrap_or_default();
            records.iter().map(StoredRecord::record).collect()
        })
    }

    fn outages(&self, wanted: Wanted) -> BoxFuture<'_, Result<Page, String>> {
        async { self.0.outages(wanted).await.map_err(|error| error.to_string()) }.boxed()
    }

    fn outage_ids<'a>(&'a self, digits: &'a str) -> BoxFuture<'a, Result<Vec<IncidentId>, String>> {
        async { self.0.outage_ids(digits).await.map_err(|error| error.to_string()) }.boxed()
    }

    fn identities_with_outages(&self) -> BoxFuture<'_, Result<Vec<Identity>, String>> {
        async { self.0.identities_with_outages().await.map_err(|error| error.to_string()) }.boxed()
    }

    fn account(&self, id: IncidentId) -> BoxFuture<'_, Result<Option<Account>, String>> {
        async move { self.0.account(id).await.map_err(|error| error.to_string()) }.boxed()
    }
}

/// Ends what is too old in the store, also while nothing happens.
pub(super) async fn prune(store: Store) {
    loop {
        store.prune();
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}

/// The engines, by their hosts' names.
pub(super) struct Engines(pub(super) Vec<(Arc<str>, Arc<dyn Engine>)>);

impl Engines {
    fn find(&self, host: &str, container: &str) -> Result<(&dyn Engine, ContainerId), String> {
        let engine = self.0.iter().find(|(name, _)| **name == *host).map(|(_, engine)| &**engine);
        engine.zip(ContainerId::new(container)).ok_or_else(|| "there is no such host or container".to_owned())
    }
}

impl Containers for Engines {
    fn life<'a>(&'a self, host: &'a str, container: &'a str) -> BoxFuture<'a, Result<Life, String>> {
        async move {
            let (engine, id) = self.find(host, container)?;
            let words = engine.last_words(&id).await.map_err(|error| error.to_string())?;
            Ok(Life {
                started: words.detail.started,
                exit_code: match words.detail.state {
                    ContainerState::Exited(code) => Some(code),
                    _ => None,
                },
                oom_killed: words.detail.oom_killed,
                healthcheck: words.healthcheck,
            })
        }
        .boxed()
    }

    fn log<'a>(&'a self, host: &'a str, container: &'a str, lines: u16) -> BoxFuture<'a, Result<String, String>> {
        async move {
            let (engine, id) = self.find(host, container)?;
            engine.logs(&id, lines).await.map_err(|error| error.to_string())
        }
        .boxed()
    }
}
