//! Services that run, and were left alone when a value was rolled out: they go on with the one before.

use std::sync::Arc;
use std::time::Duration;

use iaso_policy::id::{CredentialId, Digest, Identity};
use iaso_policy::input::{Container, State};
use iaso_policy::time::Mono;
use iaso_policy::view::ServiceView;

use super::Desk;
use super::holding::Value;
use crate::config::validated::Credential;
use crate::snapshot::Snapshot;

/// Where services were left out, it is tried again after this long though nothing was seen to change: their mode may be another.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// A value that services which run were left alone with: they go on with the one before, which is not given up.
pub(super) struct Left {
    /// Everybody else uses it.
    pub(super) value: Value,
    /// The first of those that do not.
    pub(super) service: Arc<str>,
    /// How those who use the credential stood then. While they stand so, a rollout would come to the same.
    users: Vec<Standing>,
    at: Mono,
}

/// What of a service decides whether it can be told, as far as it is seen: its container, its state, and whether it is paused.
pub(super) type Standing = (Identity, Option<Container>, Option<State>, bool);

impl Desk {
    /// How those who use a credential stand now.
    pub(super) fn users(&self, credential: CredentialId) -> Vec<Standing> {
        let Some(holding) = self.holdings.get(&credential) else { return Vec::new() };
        users(&holding.spec, &self.ports.snapshots.borrow())
    }

    /// Services go on without this value; its rollout began while its users stood as `before`.
    pub(super) fn leave(&mut self, credential: CredentialId, value: Value, service: Arc<str>, before: &[Standing]) {
        let (mut users, at) = (self.users(credential), self.ports.clock.mono());
        // Who became free meanwhile was left before that. Who was started meanwhile has the value.
        for stands in &mut users {
            let life = |(_, container, ..): &Standing| container.map(|container| container.instance);
            let earlier = before.iter().find(|earlier| earlier.0 == stands.0 && life(earlier) == life(stands));
            if let Some(earlier) = earlier {
                stands.clone_from(earlier);
            }
        }
        let Some(holding) = self.holdings.get_mut(&credential) else { return };
        holding.left = Some(Left { value, service, users, at });
    }

    /// Who goes on without this value, where nothing has changed about those who use it since that was found.
    pub(super) fn is_still_left(&self, credential: CredentialId, digest: Digest) -> Option<Arc<str>> {
        let holding = self.holdings.get(&credential)?;
        let left = holding.left.as_ref().filter(|left| left.value.digest == digest)?;
        let is_new = self.ports.clock.mono() < left.at + LOOK_AGAIN;
        (is_new && left.users == self.users(credential)).then(|| Arc::clone(&left.service))
    }
}

/// How those who use a credential stand: replicas of a Compose service are one.
fn users(spec: &Credential, snapshot: &Snapshot) -> Vec<Standing> {
    let mut users = Vec::new();
    for named in snapshot.services.iter().filter(|known| spec.services.contains(&known.name)) {
        let alike = snapshot.services.iter().filter(|known| known.identity.is_replica_of(&named.identity));
        users.extend(alike.map(|known| {
            let ServiceView { container, state, paused, .. } = known.view;
            (known.identity.clone(), container, state, paused)
        }));
    }
    users
}

/// That a service goes on without the new value, in words.
pub(super) fn left_words(service: &str) -> String {
    format!(
        "{service} runs and is to be left alone: it goes on with the value before, which is not given up until it is restarted"
    )
}
